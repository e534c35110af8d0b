/*
 * play.c - a simulated process: its handles, each a thread, and the reading
 * and checking that all of them do.
 */
#include "tests/sim/image/play.h"

#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "tests/sim/image/heap.h"
#include "tests/sim/os.h"
#include "tests/sim/store.h"

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
    case RAMET_EWENTBACK:
        return sim_restores() > 0;
    case RAMET_ECORRUPT:
    case RAMET_EVERSION: /* it was the number of the format that rotted */
    case RAMET_EREFUSED: /* by a server that can't check a commit for it */
        return sim_place_is_rotten(sim_env->place) || sim_store_is_rotten();
    case RAMET_EFOREIGN: /* the base's mark, or its identity */
        return sim_env->role == SIM_MENDS;
    case RAMET_EIO:
    case RAMET_EFULL:
    case RAMET_EAUTH:
        return t->kinds != 0;
    default:
        return false;
    }
}

static void
note_code(enum ramet_rc rc)
{
    if (rc == RAMET_ECONFLICT)
        sim_count(SIM_COUNT_CONFLICTS);
    else if (rc == RAMET_EDIVERGED)
        sim_count(SIM_COUNT_DIVERGENCES);
    else if (rc == RAMET_ESNAPSHOT)
        sim_count(SIM_COUNT_SNAPSHOTS_GONE);
    else if (rc == RAMET_EBUSY)
        sim_count(SIM_COUNT_BUSY);
    else if (rc == RAMET_EWENTBACK)
        sim_count(SIM_COUNT_RESTORES_TOLD);
    else if (rc == RAMET_ECORRUPT || rc == RAMET_EFOREIGN)
        sim_count(SIM_COUNT_TOLD_DAMAGED);
}

void
sim_expect_rc(const struct sim_handle *h, const char *call, enum ramet_rc rc,
              const struct ramet_err *err)
{
    if (rc != RAMET_OK)
        sim_trace("%s: %s: %s", call, ramet_rc_name(rc), err->text);
    note_code(rc);
    if (!may_happen(rc))
        sim_fail("%s: %s: %s: %s", h->name, call, ramet_rc_name(rc), err->text);
}

/* ---- what all drivers have --------------------------------------------------- */

const struct sim_driver *
sim_driver(void)
{
    return sim_env->is_sql ? &sim_sql_driver : &sim_pages_driver;
}

const char *
sim_verb_name(enum sim_verb verb)
{
    static const char *const names[] = {
        [SIM_PUSH] = "push",       [SIM_PULL] = "pull",
        [SIM_FETCH] = "fetch",     [SIM_SYNC] = "sync",
        [SIM_HYDRATE] = "hydrate", [SIM_RESET] = "reset",
        [SIM_EVICT] = "evict",     [SIM_CHECKPOINT] = "checkpoint",
        [SIM_VERIFY] = "verify",   [SIM_DISCARD] = "discard",
    };

    return names[verb];
}

void
sim_begins(struct sim_handle *h, enum sim_deed deed)
{
    sim_env->doing[h->number] = deed + 1u;
    sim_count_deed(deed, false);
}

/* An LSN of which this process was told when there had been so many restores. */
struct past {
    uint64_t lsn;
    unsigned restores;
};

/* `past`: NULL but where a restore may have taken it. */
static void *
open_file(struct sim_handle *h, const char *at, const struct past *past)
{
    for (unsigned i = 0; i < OPEN_TRIES; i++) {
        struct ramet_err err = {.text = ""};
        void *file = NULL;
        const enum ramet_rc rc = sim_driver()->open(h, at, &file, &err);

        if (rc == RAMET_OK)
            return file;
        if (rc == RAMET_ENOTFOUND && past != NULL &&
            sim_lsn_was_taken(past->lsn, past->restores)) {
            sim_trace("open: %s", err.text);
            return NULL;
        }
        sim_expect_rc(h, "open", rc, &err);
        sim_sleep_ns(UINT64_C(50000000));
    }
    return NULL;
}

void *
sim_open(struct sim_handle *h, const char *at)
{
    return open_file(h, at, NULL);
}

void *
sim_open_lsn(struct sim_handle *h, uint64_t lsn, unsigned restores)
{
    const struct past past = {lsn, restores};
    char at[24];

    snprintf(at, sizeof(at), "%llu", (unsigned long long)lsn);
    return open_file(h, at, &past);
}

uint32_t
sim_read(struct sim_handle *h, void *file, bool all)
{
    struct ramet_err err = {.text = ""};
    uint32_t version = 0;
    const enum ramet_rc rc = sim_driver()->read(h, file, all, &version, &err);

    sim_expect_rc(h, "read", rc, &err);
    return rc == RAMET_OK ? version : SIM_NO_VERSION;
}

/* ---- what a process does -------------------------------------------------------- */

static void *
play(void *arg)
{
    struct sim_handle *const h = arg;

    sim_begins(h, SIM_DOES_OPEN);
    h->file = sim_open(h, NULL);
    if (h->file == NULL)
        return NULL;
    for (unsigned i = 0; i < sim_env->steps; i++) {
        const struct sim_step_id step = {sim_env->number, h->number, i};
        uint64_t rng = h->seed + i;

        /* Whatever others are left out. */
        h->rng = sim_random(&rng);
        if (sim_takes(&step))
            sim_act(h);
    }
    sim_begins(h, SIM_DOES_CLOSE);
    if (h->file != NULL)
        sim_driver()->close(h->file);
    sim_env->doing[h->number] = 0;
    return NULL;
}

static void
prepare_handle(struct sim_handle *h, unsigned number)
{
    uint64_t rng = sim_env->seed + number;

    memset(h, 0, sizeof(*h));
    h->seed = h->rng = sim_random(&rng);
    h->number = number;
    h->bytes = ramet_alloc(SIM_FILE_MAX);
    snprintf(h->name, sizeof(h->name), "%.10s/%u", sim_thread_name(), number);
}

static void
play_all(void)
{
    struct sim_handle handles[SIM_HANDLES_MAX];
    struct ramet_thread threads[SIM_HANDLES_MAX] = {{.running = false}};
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

static void *
must_open(struct sim_handle *h, const char *at)
{
    void *const file = sim_open(h, at);

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

static uint64_t
must_run(struct sim_handle *h, enum sim_verb verb)
{
    struct ramet_err err = {.text = ""};
    uint64_t lsn = 0;

    must(sim_verb_name(verb), sim_driver()->verb(h, verb, &lsn, &err), &err);
    return lsn;
}

static uint32_t
must_read(struct sim_handle *h, void *file)
{
    struct ramet_err err = {.text = ""};
    uint32_t version;

    must("pin", sim_driver()->pin(file, &err), &err);
    version = sim_read(h, file, true);
    sim_driver()->unpin(file);
    if (version == SIM_NO_VERSION && sim_restores() == 0)
        sim_fail("a snapshot can't be read, and nothing is wrong any more");
    return version;
}

static void
set_up(struct sim_handle *h)
{
    h->file = must_open(h, NULL);
    sim_write(h);
    if (!sim_env->pushes_late && !sim_push(h))
        sim_fail("the first push fails");
    for (unsigned i = 1; !sim_env->pushes_late && i < sim_env->first_commits;
         i++) {
        sim_write(h);
        sim_push(h);
    }
    sim_driver()->close(h->file);
}

/* Every LSN, as who knows nothing sees it. */
static void
audit(struct sim_handle *h)
{
    uint64_t newest;

    h->file = must_open(h, NULL);
    newest = must_run(h, SIM_PULL);
    for (uint64_t lsn = 1; lsn <= newest; lsn++) {
        char at[24];
        void *view;

        snprintf(at, sizeof(at), "%llu", (unsigned long long)lsn);
        view = must_open(h, at);
        sim_at_lsn(lsn, must_read(h, view), "the audit");
        sim_driver()->close(view);
    }
    sim_model_settled(must_read(h, h->file));
    sim_driver()->close(h->file);
}

static void
look_at_newest(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};
    uint64_t lsn = 0;
    uint32_t version;

    h->file = sim_open(h, NULL);
    if (h->file == NULL)
        return;
    if (sim_driver()->verb(h, SIM_PULL, &lsn, &err) == RAMET_OK &&
        sim_driver()->pin(h->file, &err) == RAMET_OK) {
        version = sim_read(h, h->file, true);
        sim_driver()->unpin(h->file);
        if (version != SIM_NO_VERSION)
            sim_newest_seen(lsn, version);
    }
    sim_driver()->close(h->file);
}

/* It went well, as it must where nothing rotted; false: it is told of damage. */
static bool
is_well(const char *call, enum ramet_rc rc, const struct ramet_err *err)
{
    if ((rc == RAMET_ECORRUPT || rc == RAMET_EVERSION) &&
        sim_place_is_rotten(sim_env->place)) {
        sim_trace("%s: %s", call, err->text);
        sim_env->is_damaged = true;
        return false;
    }
    must(call, rc, err);
    return true;
}

static bool
runs_well(struct sim_handle *h, enum sim_verb verb)
{
    struct ramet_err err = {.text = ""};
    uint64_t lsn = 0;

    return is_well(sim_verb_name(verb), sim_driver()->verb(h, verb, &lsn, &err),
                   &err);
}

/* *out_version SIM_NO_VERSION: the remote lacks a page, as a restore took it. */
static bool
reads_well(struct sim_handle *h, uint32_t *out_version)
{
    struct ramet_err err = {.text = ""};

    if (!is_well("pin", sim_driver()->pin(h->file, &err), &err))
        return false;
    *out_version = sim_read(h, h->file, true);
    sim_driver()->unpin(h->file);
    if (*out_version != SIM_NO_VERSION || sim_restores() > 0)
        return true;
    if (!sim_place_is_rotten(sim_env->place))
        sim_fail("a snapshot can't be read, and nothing is wrong any more");
    sim_env->is_damaged = true;
    return false;
}

/* What rotted of the base, and of what is known of it, is brought again. */
static bool
mends(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};
    uint64_t bad = 0;
    const enum ramet_rc rc = sim_driver()->verb(h, SIM_VERIFY, &bad, &err);

    sim_trace("verify: %s: %llu %s", ramet_rc_name(rc), (unsigned long long)bad,
              err.text);
    if (rc != RAMET_OK || bad > 0)
        sim_env->is_damaged = true;
    return !sim_env->is_damaged;
}

static void
mend(struct sim_handle *h)
{
    h->file = sim_open(h, NULL);
    if (h->file == NULL) {
        sim_env->is_damaged = true;
        return;
    }
    mends(h);
    sim_driver()->close(h->file);
}

/* Its own commits are given up; what nobody else has is kept if it is all here. */
static bool
gives_way(struct sim_handle *h, enum ramet_rc why)
{
    struct ramet_err err = {.text = ""};
    uint64_t lsn = 0;
    enum ramet_rc rc;

    if (why != RAMET_EWENTBACK && !runs_well(h, SIM_HYDRATE))
        return false;
    sim_upheaval(sim_env->place, true);
    rc = sim_driver()->verb(h, SIM_RESET, &lsn, &err);
    if (rc == RAMET_EWENTBACK) {
        sim_place_cannot_be_kept(sim_env->place);
        rc = sim_driver()->verb(h, SIM_DISCARD, &lsn, &err);
    }
    sim_upheaval(sim_env->place, false);
    return is_well("reset", rc, &err);
}

static bool
comes_to_newest(struct sim_handle *h)
{
    const struct sim_look look = sim_look_begin(sim_env->place);
    struct ramet_err err = {.text = ""};
    uint64_t lsn = 0;
    uint32_t here;
    enum ramet_rc rc;

    if (!reads_well(h, &here))
        return false;
    if (here != SIM_NO_VERSION)
        sim_look_end(sim_env->place, &look, here, "settling");
    rc = sim_driver()->verb(h, SIM_SYNC, &lsn, &err);
    sim_trace("settling: %s %s", ramet_rc_name(rc), err.text);
    if (rc == RAMET_EDIVERGED || rc == RAMET_ECONFLICT ||
        (rc == RAMET_EWENTBACK && sim_restores() > 0))
        return gives_way(h, rc);
    return is_well("sync", rc, &err);
}

/* The replica comes to the remote's newest, with what is its own if that goes. */
static void
settle(struct sim_handle *h)
{
    const bool is_rotten = sim_place_is_rotten(sim_env->place);
    uint32_t version = 0;

    h->file = is_rotten ? sim_open(h, NULL) : must_open(h, NULL);
    if (h->file == NULL) {
        sim_env->is_damaged = true;
        return;
    }
    if ((!is_rotten || mends(h)) && comes_to_newest(h) &&
        runs_well(h, SIM_HYDRATE) && runs_well(h, SIM_CHECKPOINT) &&
        reads_well(h, &version) && version == SIM_NO_VERSION)
        sim_fail("what is all here can't be read");
    sim_driver()->close(h->file);
}

static void
run(struct sim_env *env)
{
    struct sim_handle h;

    sim_env = env;
    if (env->role == SIM_SERVES) {
        sim_serve();
        env->is_done = true;
        return;
    }
    sim_driver()->begin();
    if (env->role == SIM_PLAYS) {
        play_all();
    } else {
        prepare_handle(&h, 0);
        if (env->role == SIM_SETS_UP)
            set_up(&h);
        else if (env->role == SIM_AUDITS)
            audit(&h);
        else if (env->role == SIM_LOOKS)
            look_at_newest(&h);
        else if (env->role == SIM_SETTLES)
            settle(&h);
        else if (env->role == SIM_MENDS)
            mend(&h);
        else if (env->role == SIM_REBINDS)
            sim_rebind(&h);
        else if (env->role == SIM_ASKS)
            sim_ask(&h);
        else if (env->role == SIM_LEAVES)
            sim_leave(&h);
        else if (env->role == SIM_BINDS)
            sim_bind(&h);
        else
            sim_sql_read_plain(&h, env->path);
        ramet_free(h.bytes);
    }
    sim_driver()->end();
    env->is_done = true;
}

SIM_API extern const struct sim_image sim_image;
const struct sim_image sim_image = {
    .run = run,
    .heap_count = sim_heap_count,
    .heap_free = sim_heap_free,
};
