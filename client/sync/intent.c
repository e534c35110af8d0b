/*
 * intent.c - see intent.h.
 *
 * Layer: client, sync.
 */
#include "client/sync/intent.h"

#include <assert.h>
#include <inttypes.h>

#include "client/store/exchange.h"
#include "client/sync/durable_resolve.h"
#include "client/sync/fence.h"
#include "client/sync/kept.h"
#include "client/sync/point.h"
#include "client/sync/refusal.h"
#include "client/sync/replica_sync.h"
#include "core/alloc.h"

/*
 * The intent was refused: for `winner`, or, where its LSN is 0, for whoever is
 * there. Only what is in the slot resolves it; with nothing there the same bytes
 * may land yet, and the intent stays. RAMET_ESNAPSHOT: a fence is there, which
 * changed nothing; what is pending goes after it.
 */
static enum ramet_rc
lose_slot(struct ramet_sync *sync, const struct ramet_remote_point *point,
          struct ramet_head *winner, const struct ramet_err *refusal,
          struct ramet_err *err)
{
    const struct ramet_snapshot *const now = &sync->state->newest;
    enum ramet_rc rc = RAMET_OK;

    assert(sync->has_push_lock);
    if (winner->lsn == 0)
        rc = ramet_sync_newest(sync, winner, err);
    if (rc == RAMET_OK && winner->lsn < point->lsn) {
        if (err != NULL)
            *err = *refusal;
        return RAMET_ECONFLICT;
    }
    if (rc == RAMET_OK)
        rc = ramet_fence_conclude(sync, point, err);
    if (rc != RAMET_OK)
        return rc;
    if (now->lsn == point->lsn &&
        ramet_hash_equal(&now->lsn_hash, &point->hash))
        return RAMET_OK; /* it was ours */
    if (now->lsn >= winner->lsn)
        return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                          "%s: LSN %" PRIu64 " is a fence, and the replica "
                          "moved on to it",
                          sync->replica_sync->path, now->lsn);
    ramet_replica_sync_note_remote(sync->replica_sync, winner->lsn,
                                   winner->time_ms);
    return ramet_sync_diverged(sync, winner->lsn, err);
}

/* The remote says that it lacks what the intent is based on: our own look tells
 * whether it does. The intent stays; it goes on where the remote has its base
 * again. */
static enum ramet_rc
look_for_base(struct ramet_sync *sync, const struct ramet_err *refusal,
              struct ramet_err *err)
{
    struct ramet_head newest;
    const enum ramet_rc rc = ramet_sync_newest(sync, &newest, err);

    if (rc == RAMET_OK && err != NULL)
        *err = *refusal;
    return rc == RAMET_OK ? RAMET_EWENTBACK : rc;
}

/* Send the kept object (again), and tell the replica what became of it. */
enum ramet_rc
ramet_intent_send(struct ramet_sync *sync, const uint8_t *object, size_t len,
                  struct ramet_err *err)
{
    const struct ramet_snapshot base = sync->state->newest;
    struct ramet_remote_point point;
    struct ramet_cid id;
    struct ramet_head winner = {.lsn = 0};
    struct ramet_err refusal;
    enum ramet_rc rc;

    assert(sync->has_push_lock && sync->history != NULL);
    rc = ramet_sync_point(object, len, &sync->volume, &point, &id, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_history_append(sync->history, object, len, &winner, &refusal);
    if (rc == RAMET_OK)
        return ramet_session_mark_durable(sync->session, &base, &point, err);
    if (rc == RAMET_ECONFLICT)
        return lose_slot(sync, &point, &winner, &refusal, err);
    if (rc == RAMET_EWENTBACK)
        return look_for_base(sync, &refusal, err);
    if (err != NULL) /* RAMET_EUNKNOWN and others: invariant (1) */
        *err = refusal;
    return rc;
}

static enum ramet_rc
send_again(struct ramet_sync *sync, const uint8_t *object, size_t len,
           struct ramet_err *err)
{
    struct ramet_head newest;
    struct ramet_err refusal;
    enum ramet_rc rc;

    assert(sync->has_push_lock);
    /* Into a gap, into a remote that went back, nothing is sent. */
    rc = ramet_sync_newest(sync, &newest, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_intent_send(sync, object, len, &refusal);
    if (ramet_refusal_is_one(rc))
        rc = ramet_refusal_resolve(sync, object, len, &refusal);
    else if (rc == RAMET_ESNAPSHOT && ramet_id_is_nil(&sync->state->intent.id))
        rc = RAMET_OK; /* behind a fence: resolved */
    if (rc != RAMET_OK && err != NULL)
        *err = refusal;
    return rc;
}

/* The bytes of the state's intent (ramet_free); RAMET_ENOTFOUND: not kept. What
 * may lie there are those of an intent before it, which landed. */
static enum ramet_rc
load_intent(struct ramet_sync *sync, uint8_t **out_object, size_t *out_len,
            struct ramet_err *err)
{
    const struct ramet_cid *const intent = &sync->state->intent;
    uint8_t *object = NULL;
    size_t len = 0;
    struct ramet_remote_point point;
    struct ramet_cid id;
    enum ramet_rc rc;

    assert(!ramet_id_is_nil(&sync->state->intent.id));
    rc = ramet_session_load_intent(sync->session, &object, &len, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_point(object, len, &sync->volume, &point, &id, err);
    if (rc == RAMET_OK && ramet_id_compare(&id.id, &intent->id) == 0) {
        *out_object = object;
        *out_len = len;
        return rc;
    }
    ramet_free(object);
    return rc == RAMET_OK || rc == RAMET_ENOTFOUND
               ? ramet_kept_read(sync->replica_sync, intent, out_object,
                                 out_len, err)
               : rc;
}

/* The intent that there is: send it, or drop one of which nothing was sent. */
static enum ramet_rc
resolve_intent(struct ramet_sync *sync, struct ramet_err *err)
{
    uint8_t *object = NULL;
    size_t len = 0;
    enum ramet_rc rc;

    assert(sync->has_push_lock);
    rc = load_intent(sync, &object, &len, err);
    if (rc == RAMET_ENOTFOUND) {
        /* Killed before this intent's bytes were kept, so none were sent. */
        rc = ramet_session_abandon_intent(sync->session, err);
    } else if (rc == RAMET_OK) {
        rc = send_again(sync, object, len, err);
    }
    ramet_free(object);
    return rc == RAMET_OK ? ramet_sync_look(sync, err) : rc;
}

enum ramet_rc
ramet_intent_resolve(struct ramet_sync *sync, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(sync->has_push_lock);
    do {
        if (!ramet_id_is_nil(&sync->state->intent.id))
            rc = resolve_intent(sync, err);
        if (rc == RAMET_OK)
            rc = ramet_durable_resolve(sync, err);
    } while (rc == RAMET_OK && (!ramet_id_is_nil(&sync->state->intent.id) ||
                                !ramet_id_is_nil(&sync->doubt.id)));
    return rc;
}
