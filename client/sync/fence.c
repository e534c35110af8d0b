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

enum ramet_rc
ramet_fence_slot(struct ramet_sync *sync, const struct ramet_head *base,
                 struct ramet_err *err)
{
    struct ramet_buf object;
    struct ramet_head winner = {.lsn = 0}; /* stays so where nobody is named */
    struct ramet_cid id;
    enum ramet_rc rc;

    assert(base->lsn < UINT64_MAX);
    assert(sync->has_push_lock && sync->history != NULL);
    ramet_buf_init(&object, RAMET_COMMIT_HEAD_MAX);
    rc = ramet_history_fence(sync->history, base, &sync->state->replica,
                             sync->state->kind, &object, &id, err);
    if (rc == RAMET_OK)
        rc = ramet_history_append(sync->history, object.data, object.len,
                                  &winner, err);
    if (rc == RAMET_ECONFLICT && winner.lsn > 0)
        rc = RAMET_OK; /* the slot is taken: nothing can land in it any more */
    ramet_buf_done(&object);
    return rc;
}

/* What the last commit that changed pages is, up to the one that the replica
 * stands on. No request while that one's head is known. */
static enum ramet_rc
own_content(struct ramet_sync *sync, struct ramet_point *out,
            struct ramet_err *err)
{
    const struct ramet_snapshot *const own = &sync->state->newest;
    const struct ramet_point at = ramet_snapshot_point(own);
    struct ramet_head head;
    const enum ramet_rc rc =
        ramet_history_head_of(sync->history, &at, &head, err);

    assert(sync->history != NULL);
    if (rc == RAMET_OK)
        *out = head.content;
    return rc;
}

enum ramet_rc
ramet_fence_pass(struct ramet_sync *sync, uint64_t newest_lsn,
                 struct ramet_err *err)
{
    const struct ramet_snapshot own = sync->state->newest;
    struct ramet_remote_point point;
    struct ramet_point content;
    struct ramet_head head;
    enum ramet_rc rc;

    assert(sync->has_push_lock && sync->history != NULL);
    assert(ramet_id_is_nil(&sync->state->intent.id) &&
           sync->state->commits_in_flight == 0);
    if (own.lsn >= newest_lsn)
        return RAMET_OK;
    rc = own_content(sync, &content, err);
    if (rc == RAMET_OK)
        rc = ramet_history_head(sync->history, newest_lsn, &head, err);
    if (rc != RAMET_OK || !ramet_point_equal(&head.content, &content) ||
        head.page_count != own.remote_page_count)
        return rc;
    ramet_sync_point_of(&head, &point);
    rc = ramet_session_mark_durable(sync->session, &own, &point, err);
    return rc == RAMET_OK ? ramet_sync_look(sync, err) : rc;
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

    assert(sync->has_push_lock && sync->history != NULL);
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
