/*
 * play.c - a simulated process: its handles, each a thread, and the reading
 * and checking that all of them do.
 */
#include "tests/sim/image/play.h"

#include <stdio.h>
#include <string.h>

#include "client/store/exchange.h"
#include "core/alloc.h"
#include "core/thread.h"
#include "tests/sim/image/heap.h"
#include "tests/sim/os.h"

#define HANDLES_MAX 4u
#define OPEN_TRIES 40u

/* ---- what may go wrong ------------------------------------------------------- */

static bool
may_happen(enum ramet_rc rc)
{
    const struct sim_trouble *const t = sim_env->trouble;

    switch (rc) {
    case RAMET_OK:
    case RAMET_EBUSY:
    case RAMET_ESNAPSHOT:
    case RAMET_ECONFLICT:
    case RAMET_EDIVERGED:
    case RAMET_EUNREACHABLE:
    case RAMET_ETIMEOUT:
    case RAMET_EUNKNOWN:
        return true;
    case RAMET_EIO:
    case RAMET_EFULL:
    case RAMET_EAUTH:
        return t->kinds != 0;
    default:
        return false;
    }
}

void
sim_expect_rc(const struct sim_handle *h, const char *call, enum ramet_rc rc,
              const struct ramet_err *err)
{
    if (rc != RAMET_OK)
        sim_trace("%s: %s: %s", call, ramet_rc_name(rc), err->text);
    if (!may_happen(rc))
        sim_fail("%s: %s: %s: %s", h->name, call, ramet_rc_name(rc), err->text);
}

/* ---- opening ------------------------------------------------------------------ */

struct ramet_file *
sim_open(struct sim_handle *h, const char *at)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    ramet_file_options_init(&options);
    options.flags = RAMET_OPEN_CREATE | RAMET_OPEN_ADOPT;
    options.remote = sim_env->url;
    options.kind = at == NULL ? sim_env->kind : 0;
    options.page_size = sim_page_size();
    options.sync = at == NULL ? sim_env->sync : RAMET_SYNC_MANUAL;
    options.at = at;
    options.cache_limit_bytes = sim_env->cache_limit;
    options.fetch_timeout_ms = 2000;
    options.commit_timeout_ms = 2000;
    for (unsigned i = 0; i < OPEN_TRIES; i++) {
        struct ramet_err err = {.text = ""};
        const enum ramet_rc rc =
            ramet_file_open(sim_env->path, &options, &file, &err);

        if (rc == RAMET_OK)
            return file;
        sim_expect_rc(h, "open", rc, &err);
        sim_sleep_ns(UINT64_C(50000000));
    }
    return NULL;
}

/* ---- reading ------------------------------------------------------------------ */

/* Bytes of the pinned snapshot; false: it is not to be had, for a reason that
 * there may be. */
static bool
read_bytes(struct sim_handle *h, struct ramet_file *file, uint64_t offset,
           size_t len)
{
    struct ramet_err err = {.text = ""};
    size_t got = 0;
    const enum ramet_rc rc =
        ramet_file_read(file, offset, h->bytes + offset, len, &got, &err);

    sim_expect_rc(h, "read", rc, &err);
    if (rc == RAMET_OK && got != len)
        sim_fail("%s: reads %zu of %zu bytes at %llu", h->name, got, len,
                 (unsigned long long)offset);
    return rc == RAMET_OK;
}

uint32_t
sim_read_version(struct sim_handle *h, struct ramet_file *file)
{
    const uint32_t page_size = sim_page_size();
    const uint64_t size = ramet_file_size(file);
    uint32_t version;

    if (size == 0)
        return 0;
    if (size % page_size != 0 || size > SIM_FILE_MAX)
        sim_fail("%s: the file has %llu bytes", h->name,
                 (unsigned long long)size);
    if (!read_bytes(h, file, 0, page_size))
        return SIM_NO_VERSION;
    version = sim_page1_version(h->bytes, h->name);
    if (sim_version_pages(version) != size / page_size)
        sim_fail("%s: version %u has %llu pages, not %u", h->name, version,
                 (unsigned long long)(size / page_size),
                 sim_version_pages(version));
    sim_page_check(version, 1, h->bytes, h->name);
    return version;
}

uint32_t
sim_read_all(struct sim_handle *h, struct ramet_file *file)
{
    const uint32_t page_size = sim_page_size();
    const uint32_t version = sim_read_version(h, file);
    uint32_t pages;

    if (version == SIM_NO_VERSION || version == 0)
        return version;
    pages = sim_version_pages(version);
    if (!read_bytes(h, file, 0, (size_t)pages * page_size))
        return SIM_NO_VERSION;
    for (uint32_t pgno = 1; pgno <= pages; pgno++)
        sim_page_check(version, pgno, h->bytes + (size_t)(pgno - 1) * page_size,
                       h->name);
    return version;
}

/* ---- what a process does -------------------------------------------------------- */

static void *
play(void *arg)
{
    struct sim_handle *const h = arg;

    h->file = sim_open(h, NULL);
    if (h->file == NULL)
        return NULL;
    for (unsigned i = 0; i < sim_env->steps; i++)
        sim_act(h);
    ramet_file_close(h->file);
    return NULL;
}

static void
prepare_handle(struct sim_handle *h, unsigned number)
{
    uint64_t rng = sim_env->seed + number;

    memset(h, 0, sizeof(*h));
    h->rng = sim_random(&rng);
    h->bytes = ramet_alloc(SIM_FILE_MAX);
    snprintf(h->name, sizeof(h->name), "%.10s/%u", sim_thread_name(), number);
}

static void
play_all(void)
{
    struct sim_handle handles[HANDLES_MAX];
    struct ramet_thread threads[HANDLES_MAX] = {{.running = false}};
    struct ramet_err err;

    for (unsigned i = 0; i < sim_env->handles; i++) {
        prepare_handle(&handles[i], i);
        if (ramet_thread_start(&threads[i], handles[i].name, play, &handles[i],
                               &err) != RAMET_OK)
            sim_fail("a thread can't be started");
    }
    for (unsigned i = 0; i < sim_env->handles; i++) {
        ramet_thread_join(&threads[i]);
        ramet_free(handles[i].bytes);
    }
}

static struct ramet_file *
must_open(struct sim_handle *h, const char *at)
{
    struct ramet_file *const file = sim_open(h, at);

    if (file == NULL)
        sim_fail("%s can't be opened", at != NULL ? at : "the replica");
    return file;
}

static void
must(const char *call, enum ramet_rc rc, const struct ramet_err *err)
{
    if (rc != RAMET_OK)
        sim_fail("%s: %s: %s", call, ramet_rc_name(rc), err->text);
}

static uint32_t
must_read(struct sim_handle *h, struct ramet_file *file)
{
    struct ramet_err err = {.text = ""};
    uint32_t version;

    must("pin", ramet_file_pin(file, &err), &err);
    version = sim_read_all(h, file);
    ramet_file_unpin(file);
    if (version == SIM_NO_VERSION)
        sim_fail("a snapshot can't be read, and nothing is wrong any more");
    return version;
}

static void
set_up(struct sim_handle *h)
{
    h->file = must_open(h, NULL);
    sim_write(h);
    if (!sim_push(h))
        sim_fail("the first push fails");
    ramet_file_close(h->file);
}

/* Every LSN, as who knows nothing sees it. */
static void
audit(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};
    struct ramet_sync_result result;
    struct ramet_file_status status;
    uint64_t newest;

    h->file = must_open(h, NULL);
    must("status", ramet_file_status(h->file, &status, &err), &err);
    must("pull", ramet_file_pull(h->file, &result, &err), &err);
    must("pin", ramet_file_pin(h->file, &err), &err);
    newest = ramet_file_snapshot(h->file)->lsn;
    ramet_file_unpin(h->file);
    for (uint64_t lsn = 1; lsn <= newest; lsn++) {
        struct ramet_file *view;
        char at[24];

        snprintf(at, sizeof(at), "%llu", (unsigned long long)lsn);
        view = must_open(h, at);
        sim_at_lsn(lsn, must_read(h, view), "the audit");
        ramet_file_close(view);
    }
    sim_model_settled(must_read(h, h->file));
    ramet_file_close(h->file);
}

/* The replica comes to the remote's newest, with what is its own if that goes. */
static void
settle(struct sim_handle *h)
{
    const struct sim_look look = sim_look_begin(sim_env->place);
    struct ramet_err err = {.text = ""};
    struct ramet_sync_result result;
    enum ramet_rc rc;

    h->file = must_open(h, NULL);
    sim_look_end(sim_env->place, &look, must_read(h, h->file), "settling");
    rc = ramet_file_sync(h->file, &result, &err);
    sim_trace("settling: %s %s", ramet_rc_name(rc), err.text);
    if (rc == RAMET_EDIVERGED || rc == RAMET_ECONFLICT) {
        must("hydrate", ramet_file_hydrate(h->file, &result, &err), &err);
        sim_upheaval(sim_env->place, true);
        rc = ramet_file_reset(h->file, false, NULL, 0, &result, &err);
        sim_upheaval(sim_env->place, false);
    }
    must("sync or reset", rc, &err);
    must_read(h, h->file);
    must("hydrate", ramet_file_hydrate(h->file, &result, &err), &err);
    must("checkpoint",
         ramet_session_checkpoint(ramet_file_session(h->file), true, &err),
         &err);
    must_read(h, h->file);
    ramet_file_close(h->file);
}

static void
run(struct sim_env *env)
{
    struct sim_handle h;

    sim_env = env;
    if (env->role == SIM_PLAYS) {
        play_all();
    } else {
        prepare_handle(&h, 0);
        if (env->role == SIM_SETS_UP)
            set_up(&h);
        else if (env->role == SIM_AUDITS)
            audit(&h);
        else
            settle(&h);
        ramet_free(h.bytes);
    }
    env->is_done = true;
}

SIM_API extern const struct sim_image sim_image;
const struct sim_image sim_image = {
    .run = run,
    .heap_count = sim_heap_count,
    .heap_free = sim_heap_free,
};
