/*
 * hydrate.c - bring every page that is not here.
 *
 * Layer: client.
 */
#include <assert.h>
#include <inttypes.h>

#include "client/remote/pipeline.h"
#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/absent_list.h"
#include "client/sync/fetcher.h"
#include "client/sync/sync.h"
#include "core/alloc.h"

/* How often whoever asked is told how far it is. */
#define STEP_MS 200u

/* One round over the absent pages of a snapshot. */
struct round {
    struct ramet_sync *sync;
    struct ramet_bulk_read bulk;
    struct ramet_absent_list absent;
    uint64_t came; /* pages, and how many of them were reported */
};

/* Ask for the next absent pages, `max` of them at most; *out_any false: none is
 * left. */
static enum ramet_rc
ask_for_more(struct round *round, size_t max, bool *out_any,
             struct ramet_err *err)
{
    const uint32_t *pgnos = NULL;
    size_t count = 0;
    enum ramet_rc rc;

    assert(max >= 1);
    rc = ramet_absent_list_next(&round->absent, round->sync->session, max,
                                false, &pgnos, &count, err);
    *out_any = count > 0;
    return rc == RAMET_OK && count > 0
               ? ramet_bulk_add(&round->bulk, pgnos, count, err)
               : rc;
}

/* Wait until few enough are to come, and say how far it is. */
static enum ramet_rc
wait_for_some(struct round *round, size_t most, size_t *out_pending,
              struct ramet_err *err)
{
    uint64_t came;
    enum ramet_rc rc, step;

    assert(round->sync->replica_sync->fetcher != NULL);
    rc = ramet_bulk_wait(&round->bulk, most, STEP_MS, out_pending, &came, err);
    assert(rc != RAMET_OK || came >= round->came);
    step = came > round->came ? ramet_sync_step(round->sync, came - round->came,
                                                rc == RAMET_OK ? err : NULL)
                              : RAMET_OK;
    round->sync->result.pages += came - round->came;
    round->came = came;
    if (rc == RAMET_OK)
        rc =
            ramet_page_fetcher_failure(round->sync->replica_sync->fetcher, err);
    return rc != RAMET_OK ? rc : step;
}

/* Keep the link full until nothing is absent: what is under way, and as much
 * again that waits, so that the link is not idle while the next are looked for. */
static enum ramet_rc
read_all(struct round *round, struct ramet_err *err)
{
    bool any = true;
    size_t pending = 0;
    enum ramet_rc rc;

    assert(ramet_session_is_pinned(round->sync->session));
    do {
        const size_t depth = ramet_bulk_depth(&round->bulk);

        rc = RAMET_OK;
        if (any && pending < 3 * depth)
            rc = ask_for_more(round, 3 * depth - pending, &any, err);
        if (rc == RAMET_OK)
            rc = wait_for_some(round, any ? 2 * depth : 0, &pending, err);
    } while (rc == RAMET_OK && (any || pending > 0));
    return rc;
}

/* All absent pages of the newest snapshot, of *out_lsn; *out_got counts them. */
static enum ramet_rc
fill_all(struct ramet_sync *sync, uint64_t *out_lsn, uint64_t *out_got,
         struct ramet_err *err)
{
    struct round round = {.sync = sync};
    struct ramet_pipeline *pipeline = NULL;
    struct ramet_point at;
    struct ramet_head head;
    uint64_t spent_ms = 0;
    enum ramet_rc rc;

    assert(sync->history != NULL);
    do
        rc = ramet_session_pin(sync->session, err);
    while (rc == RAMET_EBUSY && ramet_sync_retry(sync, &spent_ms));
    if (rc != RAMET_OK)
        return rc;
    at = ramet_snapshot_point(ramet_session_snapshot(sync->session));
    *out_lsn = at.lsn;
    rc = ramet_history_head_of(sync->history, &at, &head, err);
    if (rc == RAMET_OK)
        rc = ramet_page_fetcher_pipeline(sync->replica_sync->fetcher,
                                         sync->session, true, &pipeline, err);
    if (rc == RAMET_OK)
        rc = ramet_absent_list_begin(&round.absent, sync->history, &head, 0,
                                     err);
    if (rc == RAMET_OK) { /* what failed before is not ours */
        (void)!ramet_page_fetcher_failure(sync->replica_sync->fetcher, NULL);
        ramet_bulk_begin(&round.bulk, pipeline, &head);
        rc = read_all(&round, err);
        ramet_bulk_end(&round.bulk);
    }
    ramet_absent_list_end(&round.absent);
    ramet_session_unpin(sync->session);
    *out_got = round.came;
    return rc;
}

/* The same, each page written once where that can be; what came before a failure
 * stays, too. *io_places false: pages are not placed, since what was could not be
 * settled, and is brought again. */
static enum ramet_rc
fill_in_place(struct ramet_sync *sync, bool *io_places, uint64_t *out_lsn,
              uint64_t *out_got, struct ramet_err *err)
{
    struct ramet_page_fetcher *const fetcher = sync->replica_sync->fetcher;
    bool settled;
    enum ramet_rc rc, settling;

    assert(fetcher != NULL && !ramet_session_is_pinned(sync->session));
    ramet_page_fetcher_place(fetcher, *io_places);
    rc = fill_all(sync, out_lsn, out_got, err);
    ramet_page_fetcher_place(fetcher, false);
    settling = ramet_session_settle(sync->session, &settled,
                                    rc == RAMET_OK ? err : NULL);
    *io_places = *io_places && settled;
    return rc == RAMET_OK ? settling : rc;
}

/* A pull in between leaves pages absent at the newest snapshot: again until a
 * whole round finds nothing. What a round brought and the next one mostly misses
 * again, at the same LSN, does not stay here. */
static enum ramet_rc
fill_until_whole(struct ramet_sync *sync, struct ramet_err *err)
{
    bool places = true;
    uint64_t lsn_before = 0;
    uint64_t got_before = 0;
    uint64_t lsn = 0;
    uint64_t got = 0;
    enum ramet_rc rc;

    for (;;) {
        const bool did_place = places;

        rc = fill_in_place(sync, &places, &lsn, &got, err);
        if (rc != RAMET_OK || got == 0)
            return rc;
        if (did_place && !places)
            continue;
        if (lsn == lsn_before && got > got_before / 2)
            return RAMET_FAIL(err, RAMET_EBUSY,
                              "%s: %" PRIu64 " pages were brought and did not "
                              "stay; raise cache_limit, or try again when "
                              "programs that read old snapshots are done",
                              sync->replica_sync->path, got);
        lsn_before = lsn;
        got_before = got;
    }
}

enum ramet_rc
ramet_sync_hydrate(struct ramet_sync *sync, struct ramet_err *err)
{
    const struct ramet_replica_state *const state = sync->state;
    enum ramet_rc rc;

    if (state->whole)
        return RAMET_OK;
    if (!ramet_session_can_keep(sync->session))
        return RAMET_FAIL(err, RAMET_EREADONLY,
                          "%s: can't be written, so pages that are brought "
                          "can't be kept; they come as they are read",
                          sync->replica_sync->path);
    rc = ramet_sync_connect(sync, err);
    if (rc == RAMET_OK && (sync->history == NULL || state->newest.lsn == 0))
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "%s: was never pushed, and pages of it count as not "
                        "here: %s-ramet/presence is damaged",
                        sync->replica_sync->path, sync->replica_sync->path);
    if (rc != RAMET_OK)
        return rc;
    if (state->newest.page_count > state->held_pages)
        sync->report.pages_total +=
            state->newest.page_count - state->held_pages;
    rc = fill_until_whole(sync, err);
    return rc == RAMET_OK ? ramet_sync_look(sync, err) : rc;
}
