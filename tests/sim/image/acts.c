/*
 * acts.c - what a handle does in one step, and what the model is told of it.
 */
#include <stdio.h>
#include <string.h>

#include "client/store/exchange.h"
#include "tests/sim/bucket.h"
#include "tests/sim/image/play.h"

/* ---- reading ------------------------------------------------------------------ */

static void
pause_a_while(struct sim_handle *h)
{
    if (sim_chance(&h->rng, 50))
        sim_sleep_ns(1000 * sim_below(&h->rng, 30000));
    else
        sim_yield();
}

/* Pin, read, perhaps stay and read again: always the same. */
static void
act_read(struct sim_handle *h)
{
    const struct sim_look look = sim_look_begin(sim_env->place);
    struct ramet_err err = {.text = ""};
    const enum ramet_rc rc = ramet_file_pin(h->file, &err);
    const unsigned rounds = sim_chance(&h->rng, 25) ? 3 : 1;
    uint32_t first = SIM_NO_VERSION;

    sim_expect_rc(h, "pin", rc, &err);
    if (rc != RAMET_OK)
        return;
    for (unsigned i = 0; i < rounds; i++) {
        const uint32_t version = sim_chance(&h->rng, 60)
                                     ? sim_read_all(h, h->file)
                                     : sim_read_version(h, h->file);

        if (version == SIM_NO_VERSION)
            continue;
        if (first == SIM_NO_VERSION) {
            first = version;
            sim_look_end(sim_env->place, &look, version, h->name);
            sim_trace("reads version %u, LSN %llu", version,
                      (unsigned long long)ramet_file_snapshot(h->file)->lsn);
        }
        if (version != first)
            sim_fail("%s: a pinned snapshot was version %u, and is %u", h->name,
                     first, version);
        if (i + 1 < rounds)
            pause_a_while(h);
    }
    ramet_file_unpin(h->file);
}

/* Some LSN, as it was. */
static void
act_view(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};
    struct ramet_file_status status;
    struct ramet_file *view;
    enum ramet_rc rc = ramet_file_status(h->file, &status, &err);
    uint64_t lsn;
    char at[24];

    sim_expect_rc(h, "status", rc, &err);
    if (rc != RAMET_OK || status.durable_lsn == 0)
        return;
    lsn = 1 + sim_below(&h->rng, status.durable_lsn);
    snprintf(at, sizeof(at), "%llu", (unsigned long long)lsn);
    view = sim_open(h, at);
    if (view == NULL)
        return;
    rc = ramet_file_pin(view, &err);
    sim_expect_rc(h, "pin", rc, &err);
    if (rc == RAMET_OK) {
        const uint32_t version = sim_read_all(h, view);

        if (version != SIM_NO_VERSION)
            sim_at_lsn(lsn, version, h->name);
        ramet_file_unpin(view);
    }
    ramet_file_close(view);
}

/* ---- writing ------------------------------------------------------------------ */

static enum ramet_rc
write_page(struct sim_handle *h, uint32_t version, uint32_t pgno,
           struct ramet_err *err)
{
    const uint32_t page_size = sim_page_size();

    sim_version_write(version, pgno);
    sim_page_fill(version, pgno, h->bytes);
    return ramet_file_write(h->file, (uint64_t)(pgno - 1) * page_size, h->bytes,
                            page_size, err);
}

/* Some pages; perhaps the file grows, or is cut. */
static enum ramet_rc
change_pages(struct sim_handle *h, uint32_t version, struct ramet_err *err)
{
    const uint32_t page_size = sim_page_size();
    const uint32_t pages = sim_version_pages(version);
    const uint64_t kind = sim_below(&h->rng, 10);
    enum ramet_rc rc = RAMET_OK;
    uint64_t count = 1 + sim_below(&h->rng, 4);
    uint32_t most = pages + 1;

    if (kind == 0 && pages > 2) {
        const uint32_t left = 1 + (uint32_t)sim_below(&h->rng, pages - 1);

        sim_version_resize(version, left);
        rc = ramet_file_truncate(h->file, (uint64_t)left * page_size, err);
        most = left;
    } else if (kind < 4) {
        most = pages + 1 + (uint32_t)sim_below(&h->rng, 12);
    } else if (kind == 4) {
        count = pages;
    }
    if (most > SIM_PAGES_MAX)
        most = SIM_PAGES_MAX;
    for (uint64_t i = 0; rc == RAMET_OK && i < count; i++)
        rc =
            write_page(h, version, 1 + (uint32_t)sim_below(&h->rng, most), err);
    return rc == RAMET_OK ? write_page(h, version, 1, err) : rc;
}

/* The commit, from prepare to publish. */
static enum ramet_rc
commit(struct sim_handle *h, uint32_t version, struct ramet_err *err)
{
    const bool syncs =
        sim_env->sync == RAMET_SYNC_COMMIT || !sim_chance(&h->rng, 20);
    enum ramet_rc rc;

    sim_version_is(version, sim_env->sync == RAMET_SYNC_COMMIT ? SIM_SENDING
                                                               : SIM_PREPARED);
    rc = ramet_file_prepare(h->file, NULL, err);
    if (rc == RAMET_OK && syncs)
        rc = ramet_file_sync_local(h->file, err);
    if (rc != RAMET_OK)
        return rc;
    sim_version_is(version, SIM_COMMITTED);
    ramet_file_publish(h->file);
    sim_acknowledged(sim_env->place, version, syncs);
    if (sim_env->sync == RAMET_SYNC_COMMIT)
        sim_durable(version, h->name);
    sim_trace("commits version %u%s", version, syncs ? "" : ", not synced");
    return RAMET_OK;
}

/* What a failed commit leaves of its version. */
static enum sim_state
fate_of(enum ramet_rc rc)
{
    const bool is_decided = sim_env->sync != RAMET_SYNC_COMMIT ||
                            rc == RAMET_ECONFLICT || rc == RAMET_ESNAPSHOT ||
                            rc == RAMET_EBUSY;

    return is_decided ? SIM_ROLLED_BACK : SIM_UNCERTAIN;
}

static void
transact(struct sim_handle *h, uint32_t parent)
{
    struct ramet_err err = {.text = ""};
    const uint32_t version = sim_version_new(sim_env->place, parent);
    enum ramet_rc rc = change_pages(h, version, &err);

    if (rc == RAMET_OK && sim_chance(&h->rng, 10)) {
        sim_version_is(version, SIM_ROLLED_BACK);
        ramet_file_discard(h->file);
        sim_trace("rolls version %u back", version);
        return;
    }
    if (rc == RAMET_OK)
        rc = commit(h, version, &err);
    sim_expect_rc(h, "commit", rc, &err);
    if (rc != RAMET_OK) {
        sim_version_is(version, fate_of(rc));
        ramet_file_discard(h->file);
    }
}

void
sim_write(struct sim_handle *h)
{
    const struct sim_look look = sim_look_begin(sim_env->place);
    struct ramet_err err = {.text = ""};
    uint32_t parent;
    enum ramet_rc rc = ramet_file_pin(h->file, &err);

    sim_expect_rc(h, "pin", rc, &err);
    if (rc != RAMET_OK)
        return;
    parent = sim_read_version(h, h->file);
    if (parent != SIM_NO_VERSION) {
        sim_trace("begins to write on version %u", parent);
        sim_look_end(sim_env->place, &look, parent, h->name);
    }
    rc = parent == SIM_NO_VERSION ? RAMET_EBUSY
                                  : ramet_file_reserve(h->file, &err);
    sim_expect_rc(h, "reserve", rc, &err);
    if (rc == RAMET_OK) {
        transact(h, parent);
        ramet_file_release(h->file);
    }
    ramet_file_unpin(h->file);
}

/* A verb that may find that lines parted has ended. */
static void
note_parting(const struct sim_look *look, enum ramet_rc rc)
{
    if (rc == RAMET_EDIVERGED && strncmp(sim_env->url, "s3:", 3) == 0)
        sim_diverged(sim_env->place, look, sim_link_commits(sim_env->bucket));
}

/* ---- verbs -------------------------------------------------------------------- */

bool
sim_push(struct sim_handle *h)
{
    const struct sim_look look = sim_look_begin(sim_env->place);
    struct ramet_err err = {.text = ""};
    struct ramet_sync_result result;
    const enum ramet_rc rc = ramet_file_push(h->file, &result, &err);

    sim_expect_rc(h, "push", rc, &err);
    note_parting(&look, rc);
    if (rc == RAMET_OK) {
        sim_pushed(sim_env->place, &look, h->name);
        sim_trace("pushed version %u, LSN %llu", look.floor,
                  (unsigned long long)result.durable_lsn);
    }
    return rc == RAMET_OK;
}

static void
act_push(struct sim_handle *h)
{
    sim_push(h);
}

static void
act_pull(struct sim_handle *h)
{
    const struct sim_look look = sim_look_begin(sim_env->place);
    const uint32_t there = sim_durable_floor();
    struct ramet_err err = {.text = ""};
    struct ramet_sync_result result;
    enum ramet_rc rc;

    sim_trace("pull begins; the remote has version %u", there);
    rc = ramet_file_pull(h->file, &result, &err);
    sim_expect_rc(h, "pull", rc, &err);
    note_parting(&look, rc);
    if (rc == RAMET_OK) {
        sim_pulled(sim_env->place, &look, there);
        sim_trace("pulled LSN %llu", (unsigned long long)result.durable_lsn);
    }
}

static void
act_fetch(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};
    struct ramet_sync_result result;

    sim_expect_rc(h, "fetch", ramet_file_fetch(h->file, &result, &err), &err);
}

static void
act_hydrate(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};
    struct ramet_sync_result result;

    sim_expect_rc(h, "hydrate", ramet_file_hydrate(h->file, &result, &err),
                  &err);
}

static void
act_reset(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};
    struct ramet_sync_result result;
    enum ramet_rc rc = ramet_file_hydrate(h->file, &result, &err);

    sim_expect_rc(h, "hydrate", rc, &err);
    if (rc != RAMET_OK)
        return;
    sim_trace("reset begins");
    sim_upheaval(sim_env->place, true);
    rc = ramet_file_reset(h->file, false, NULL, 0, &result, &err);
    sim_upheaval(sim_env->place, false);
    sim_expect_rc(h, "reset", rc, &err);
    sim_trace("reset ends: %s", ramet_rc_name(rc));
}

static void
act_checkpoint(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};

    sim_expect_rc(h, "checkpoint",
                  ramet_session_checkpoint(ramet_file_session(h->file),
                                           sim_chance(&h->rng, 60), &err),
                  &err);
}

static void
act_evict(struct sim_handle *h)
{
    struct ramet_err err = {.text = ""};

    sim_expect_rc(h, "evict",
                  ramet_session_evict(ramet_file_session(h->file),
                                      sim_below(&h->rng, 8) * sim_page_size(),
                                      &err),
                  &err);
}

static void
act_reopen(struct sim_handle *h)
{
    ramet_file_close(h->file);
    h->file = sim_open(h, NULL);
}

static void
act_pause(struct sim_handle *h)
{
    sim_sleep_ns(1000000 * sim_below(&h->rng, 400));
}

void
sim_act(struct sim_handle *h)
{
    static const struct {
        unsigned weight;
        const char *name;
        void (*run)(struct sim_handle *h);
    } acts[] = {
        {30, "read", act_read},  {30, "write", sim_write},
        {14, "push", act_push},  {12, "pull", act_pull},
        {2, "fetch", act_fetch}, {3, "hydrate", act_hydrate},
        {3, "reset", act_reset}, {6, "checkpoint", act_checkpoint},
        {4, "evict", act_evict}, {5, "reopen", act_reopen},
        {8, "pause", act_pause}, {4, "view", act_view},
    };
    uint64_t nth = sim_below(&h->rng, 121);

    if (h->file == NULL) { /* it could not be reopened */
        h->file = sim_open(h, NULL);
        return;
    }
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        if (nth < acts[i].weight) {
            acts[i].run(h);
            return;
        }
        nth -= acts[i].weight;
    }
}
