/*
 * acts.c - what a handle does in one step, and what the model is told of it.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/image/play.h"
#include "tests/sim/store.h"

/* How often what is done here, or has failed, is the moment of a fate. */
#define VERB_PERCENT 3u
#define COMMIT_PERCENT 3u
#define FAILURE_PERCENT 15u

/* A verb that may find that lines parted has ended. */
static void
note_parting(const struct sim_look *look, enum ramet_rc rc)
{
    if (rc == RAMET_EDIVERGED)
        sim_diverged(sim_env->place, look, sim_store_commits());
}

static bool
run_verb(struct sim_handle *h, enum sim_verb verb, uint64_t *out_lsn)
{
    const struct sim_look look = sim_look_begin(sim_env->place);
    struct ramet_err err = {.text = ""};
    const bool is_pushed = !sim_env->pushes_late || sim_durable_floor() != 0;
    enum ramet_rc rc;

    sim_moment(VERB_PERCENT);
    rc = sim_driver()->verb(h, verb, out_lsn, &err);
    if (rc != RAMET_OK)
        sim_moment(FAILURE_PERCENT);
    if (!is_pushed && (rc == RAMET_EINVAL || rc == RAMET_ENOTFOUND))
        return false; /* there is nothing that it could be done with */
    sim_expect_rc(h, sim_verb_name(verb), rc, &err);
    note_parting(&look, rc);
    if (rc == RAMET_OK && (verb == SIM_PULL || verb == SIM_FETCH))
        sim_in_step(sim_env->place, &look, sim_store_commits(),
                    sim_verb_name(verb), h->name);
    if (rc == RAMET_OK && verb == SIM_PUSH)
        sim_pushed(sim_env->place, &look, h->name);
    if (rc == RAMET_OK)
        sim_trace("%s: LSN %llu", sim_verb_name(verb),
                  (unsigned long long)*out_lsn);
    return rc == RAMET_OK;
}

/* ---- reading ------------------------------------------------------------------ */

static void
pause_a_while(struct sim_handle *h, bool stays)
{
    if (stays)
        sim_sleep_ns(1000000 * sim_below(&h->rng, 200));
    else if (sim_chance(&h->rng, 50))
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
    const enum ramet_rc rc = sim_driver()->pin(h->file, &err);
    const bool stays = sim_chance(&h->rng, 8); /* so that others pass it */
    const unsigned rounds = stays ? 6 : sim_chance(&h->rng, 25) ? 3 : 1;
    uint32_t first = SIM_NO_VERSION;

    sim_expect_rc(h, "pin", rc, &err);
    if (rc != RAMET_OK)
        return;
    for (unsigned i = 0; i < rounds; i++) {
        const uint32_t version = sim_read(h, h->file, sim_chance(&h->rng, 60));

        if (version == SIM_NO_VERSION)
            break;
        if (first == SIM_NO_VERSION) {
            first = version;
            sim_look_end(sim_env->place, &look, version, h->name);
            sim_trace("reads version %u", version);
        }
        if (version != first)
            sim_fail("%s: a pinned snapshot was version %u, and is %u", h->name,
                     first, version);
        if (i + 1 < rounds)
            pause_a_while(h, stays);
    }
    sim_driver()->unpin(h->file);
}

/* Some LSN, as it was. */
static void
act_view(struct sim_handle *h)
{
    const unsigned restores = sim_restores();
    struct ramet_err err = {.text = ""};
    uint64_t lsn = 0;
    enum ramet_rc rc = RAMET_OK;
    void *view;

    if (!run_verb(h, SIM_FETCH, &lsn) || lsn == 0)
        return;
    lsn = 1 + sim_below(&h->rng, lsn);
    view = sim_open_lsn(h, lsn, restores);
    if (view == NULL)
        return;
    rc = sim_driver()->pin(view, &err);
    sim_expect_rc(h, "pin", rc, &err);
    if (rc == RAMET_OK) {
        const uint32_t version = sim_read(h, view, true);

        if (version != SIM_NO_VERSION && restores == sim_restores())
            sim_at_lsn(lsn, version, h->name);
        sim_driver()->unpin(view);
    }
    sim_driver()->close(view);
}

/* ---- writing ------------------------------------------------------------------ */

static enum ramet_rc
write_page(struct sim_handle *h, uint32_t version, uint32_t pgno,
           struct ramet_err *err)
{
    sim_version_write(version, pgno);
    return sim_driver()->write(h, version, pgno, err);
}

/* Some pages; perhaps the file grows, or is cut. */
static enum ramet_rc
change_pages(struct sim_handle *h, uint32_t version, struct ramet_err *err)
{
    const uint32_t pages = sim_version_pages(version);
    const bool parent_is_empty = pages == 0 && sim_env->first_pages > 0;
    const uint64_t kind = sim_below(&h->rng, 10);
    enum ramet_rc rc = RAMET_OK;
    uint64_t count = 1 + sim_below(&h->rng, 4);
    uint32_t most = pages + 1;

    if (kind == 0 && pages > 2) {
        most = 1 + (uint32_t)sim_below(&h->rng, pages - 1);
        sim_version_resize(version, most);
        rc = sim_driver()->resize(h, most, err);
    } else if (kind < 4) {
        most = pages + 1 + (uint32_t)sim_below(&h->rng, 12);
    } else if (kind == 4) {
        count = pages < 64 ? pages : 64;
    }
    if (parent_is_empty)
        most = sim_env->first_pages;
    if (most > sim_pages_max())
        most = sim_pages_max();
    for (uint32_t p = 2; rc == RAMET_OK && parent_is_empty && p <= most; p++)
        rc = write_page(h, version, p, err);
    for (uint64_t i = 0; rc == RAMET_OK && i < count; i++)
        rc =
            write_page(h, version, 1 + (uint32_t)sim_below(&h->rng, most), err);
    return rc == RAMET_OK ? write_page(h, version, 1, err) : rc;
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
commit(struct sim_handle *h, uint32_t version)
{
    const bool syncs =
        sim_env->sync == RAMET_SYNC_COMMIT || !sim_chance(&h->rng, 20);
    const struct sim_look look = sim_look_begin(sim_env->place);
    const unsigned restores = sim_restores();
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc;

    sim_begins(h, SIM_DOES_COMMIT);
    sim_moment(COMMIT_PERCENT);
    rc = sim_driver()->commit(h, version, syncs, &err);
    sim_expect_rc(h, "commit", rc, &err);
    if (rc != RAMET_OK) {
        sim_version_is(version, fate_of(rc));
        sim_moment(FAILURE_PERCENT);
        return;
    }
    sim_acknowledged(sim_env->place, &look, version, syncs);
    if (sim_env->sync == RAMET_SYNC_COMMIT && restores == sim_restores())
        sim_durable(version, h->name);
    sim_trace("commits version %u%s", version, syncs ? "" : ", not synced");
    sim_moment(COMMIT_PERCENT);
}

/* A version that is taken back shows nowhere, whether it was prepared or not,
 * and whatever becomes of the power. */
static void
give_up(struct sim_handle *h, uint32_t version)
{
    struct ramet_err err = {.text = ""};

    sim_begins(h, SIM_DOES_TAKE_BACK);
    if (sim_driver()->reconsider != NULL &&
        sim_env->sync != RAMET_SYNC_COMMIT && sim_chance(&h->rng, 50)) {
        enum ramet_rc rc;

        sim_version_is(version, SIM_PREPARED);
        rc = sim_driver()->reconsider(h, &err);
        sim_version_is(version, SIM_ROLLED_BACK);
        sim_expect_rc(h, "prepare", rc, &err);
        sim_trace("takes version %u back, that was prepared", version);
        sim_moment(FAILURE_PERCENT);
        return;
    }
    sim_version_is(version, SIM_ROLLED_BACK);
    sim_driver()->rollback(h->file);
    sim_trace("rolls version %u back", version);
}

static void
transact(struct sim_handle *h, uint32_t parent)
{
    struct ramet_err err = {.text = ""};
    const uint32_t version = sim_version_new(sim_env->place, parent);
    const enum ramet_rc rc = change_pages(h, version, &err);

    sim_expect_rc(h, "write", rc, &err);
    if (rc == RAMET_OK && !sim_chance(&h->rng, 10)) {
        commit(h, version);
        return;
    }
    give_up(h, version);
}

void
sim_write(struct sim_handle *h)
{
    const struct sim_look look = sim_look_begin(sim_env->place);
    struct ramet_err err = {.text = ""};
    uint32_t parent;
    enum ramet_rc rc = sim_driver()->pin(h->file, &err);

    sim_expect_rc(h, "pin", rc, &err);
    if (rc != RAMET_OK)
        return;
    parent = sim_read(h, h->file, false);
    if (parent != SIM_NO_VERSION) {
        sim_trace("begins to write on version %u", parent);
        sim_look_end(sim_env->place, &look, parent, h->name);
        rc = sim_driver()->reserve(h->file, &err);
        sim_expect_rc(h, "reserve", rc, &err);
        if (rc == RAMET_OK)
            transact(h, parent);
    }
    sim_driver()->unpin(h->file);
}

/* ---- verbs -------------------------------------------------------------------- */

/* One of which only is wanted whether it succeeds. */
static bool
run_alone(struct sim_handle *h, enum sim_verb verb)
{
    uint64_t lsn = 0;

    return run_verb(h, verb, &lsn);
}

bool
sim_push(struct sim_handle *h)
{
    return run_alone(h, SIM_PUSH);
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

    sim_trace("pull begins; the remote has version %u", there);
    if (run_alone(h, SIM_PULL))
        sim_pulled(sim_env->place, &look, there);
}

static void
act_fetch(struct sim_handle *h)
{
    run_alone(h, SIM_FETCH);
}

static void
act_hydrate(struct sim_handle *h)
{
    run_alone(h, SIM_HYDRATE);
}

static void
act_reset(struct sim_handle *h)
{
    if (!run_alone(h, SIM_HYDRATE))
        return;
    sim_trace("reset begins");
    sim_upheaval(sim_env->place, true);
    run_alone(h, SIM_RESET);
    sim_upheaval(sim_env->place, false);
}

static void
act_checkpoint(struct sim_handle *h)
{
    run_alone(h, SIM_CHECKPOINT);
}

static void
act_evict(struct sim_handle *h)
{
    run_alone(h, SIM_EVICT);
}

static void
act_reopen(struct sim_handle *h)
{
    sim_driver()->close(h->file);
    h->file = sim_open(h, NULL);
}

static void
act_pause(struct sim_handle *h)
{
    sim_sleep_ns(1000000 * sim_below(&h->rng, 400));
}

/* A view of the newest, which goes on and never back. */
static void
act_follow(struct sim_handle *h)
{
    const uint32_t there = sim_durable_floor();
    const unsigned restores = sim_restores();
    uint32_t before = there;
    void *const view = there == 0 ? NULL : sim_open(h, SIM_NEWEST);

    if (view == NULL)
        return;
    for (unsigned i = 0; i < 3; i++) {
        struct ramet_err err = {.text = ""};
        enum ramet_rc rc = sim_driver()->pin(view, &err);
        uint32_t version = SIM_NO_VERSION;

        sim_expect_rc(h, "pin", rc, &err);
        if (rc == RAMET_OK)
            version = sim_read(h, view, sim_chance(&h->rng, 60));
        if (rc == RAMET_OK)
            sim_driver()->unpin(view);
        if (version != SIM_NO_VERSION) {
            if (restores == sim_restores() && !sim_comes_from(version, before))
                sim_fail("%s: a view shows version %u, after %u", h->name,
                         version, before);
            sim_visible(version, h->name);
            before = version;
        }
        sim_sleep_ns(UINT64_C(1000000) * sim_below(&h->rng, 1200));
    }
    sim_driver()->close(view);
}

static void
act_verify(struct sim_handle *h)
{
    uint64_t bad = 0;

    if (run_verb(h, SIM_VERIFY, &bad) && bad != 0 &&
        !sim_place_is_rotten(sim_env->place))
        sim_fail("%s: verify finds %llu rotten pages", h->name,
                 (unsigned long long)bad);
}

static const struct {
    enum sim_deed deed;
    unsigned weight;
    void (*run)(struct sim_handle *h);
} acts[] = {
    {SIM_DOES_READ, 30, act_read},   {SIM_DOES_WRITE, 30, sim_write},
    {SIM_DOES_PUSH, 14, act_push},   {SIM_DOES_PULL, 12, act_pull},
    {SIM_DOES_FETCH, 2, act_fetch},  {SIM_DOES_HYDRATE, 3, act_hydrate},
    {SIM_DOES_RESET, 3, act_reset},  {SIM_DOES_CHECKPOINT, 6, act_checkpoint},
    {SIM_DOES_EVICT, 4, act_evict},  {SIM_DOES_VERIFY, 1, act_verify},
    {SIM_DOES_CLOSE, 5, act_reopen}, {SIM_DOES_PAUSE, 8, act_pause},
    {SIM_DOES_VIEW, 4, act_view},    {SIM_DOES_FOLLOW, 2, act_follow},
};
#define ACTS (sizeof(acts) / sizeof(acts[0]))

/* Each as often as its weight, and the schedule's taste, have it. */
void
sim_act(struct sim_handle *h)
{
    unsigned total = 0;
    uint64_t nth;

    if (h->file == NULL) { /* it could not be reopened */
        h->file = sim_open(h, NULL);
        return;
    }
    for (size_t i = 0; i < ACTS; i++)
        total += acts[i].weight * sim_env->weights[acts[i].deed];
    nth = sim_below(&h->rng, total);
    for (size_t i = 0; i < ACTS; i++) {
        const unsigned weight = acts[i].weight * sim_env->weights[acts[i].deed];

        if (nth < weight) {
            sim_begins(h, acts[i].deed);
            acts[i].run(h);
            sim_env->doing[h->number] = 0;
            return;
        }
        nth -= weight;
    }
}
