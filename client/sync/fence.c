/*
 * fence.c - see fence.h.
 *
 * Layer: client.
 */
#include "client/sync/fence.h"
#include "client/store/exchange.h"
#include "client/sync/point.h"

#include <assert.h>

#include "client/snapshot.h"
#include "client/store/store.h"
#include "client/sync/sync.h"
#include "core/bytes.h"

/* In one run: a remote may claim any number. */
#define FENCES_MAX 64u

enum ramet_rc
ramet_fence_slot(struct ramet_sync *sync, const struct ramet_head *base,
                 struct ramet_err *err)
{
    struct ramet_buf object;
    struct ramet_head winner;
    struct ramet_cid id;
    enum ramet_rc rc;

    assert(sync->has_push_lock && sync->history != NULL);
    ramet_buf_init(&object, RAMET_COMMIT_HEAD_MAX);
    rc = ramet_history_fence(sync->history, base, &sync->state->replica,
                             sync->state->kind, &object, &id, err);
    if (rc == RAMET_OK)
        rc = ramet_history_append(sync->history, object.data, object.len,
                                  &winner, err);
    if (rc == RAMET_ECONFLICT)
        rc = RAMET_OK; /* the slot is taken: nothing can land in it any more */
    ramet_buf_done(&object);
    return rc;
}

/* If the commit after the one that the replica stands on is a fence. */
static enum ramet_rc
pass_one(struct ramet_sync *sync, bool *out_passed, struct ramet_err *err)
{
    const struct ramet_snapshot own = sync->state->newest;
    struct ramet_remote_point point;
    struct ramet_commit commit;
    struct ramet_head head;
    enum ramet_rc rc;

    ramet_commit_init(&commit);
    rc = ramet_history_commit(sync->history, own.lsn + 1, &commit, err);
    *out_passed = rc == RAMET_OK && commit.fence &&
                  commit.changed.run_count == 0 &&
                  commit.page_count == own.remote_page_count &&
                  ramet_hash_equal(&commit.predecessor, &own.lsn_hash);
    ramet_commit_done(&commit);
    if (!*out_passed)
        return rc;
    rc = ramet_history_head(sync->history, own.lsn + 1, &head, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_sync_point_of(&head, &point);
    rc = ramet_session_mark_durable(sync->session, &own, &point, err);
    return rc == RAMET_OK ? ramet_sync_look(sync, err) : rc;
}

enum ramet_rc
ramet_fence_pass(struct ramet_sync *sync, uint64_t newest_lsn,
                 struct ramet_err *err)
{
    const struct ramet_replica_state *const state = sync->state;
    bool passed = true;
    enum ramet_rc rc = RAMET_OK;

    assert(sync->has_push_lock && sync->history != NULL);
    assert(ramet_id_is_nil(&state->intent.id) && state->commits_in_flight == 0);
    for (unsigned i = 0; rc == RAMET_OK && passed && i < FENCES_MAX &&
                         state->newest.lsn < newest_lsn;
         i++)
        rc = pass_one(sync, &passed, err);
    return rc;
}

enum ramet_rc
ramet_fence_conclude(struct ramet_sync *sync,
                     const struct ramet_remote_point *point,
                     struct ramet_err *err)
{
    const struct ramet_snapshot base = sync->state->newest;
    struct ramet_head head;
    enum ramet_rc rc =
        ramet_history_head(sync->history, point->lsn, &head, err);

    if (rc != RAMET_OK)
        return rc;
    if (ramet_hash_equal(&head.hash, &point->hash))
        rc = ramet_session_mark_durable(sync->session, &base, point, err);
    else
        rc = ramet_session_abandon_intent(sync->session, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_look(sync, err);
    return rc == RAMET_OK ? ramet_fence_pass(sync, point->lsn, err) : rc;
}
