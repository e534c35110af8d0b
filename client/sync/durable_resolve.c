/*
 * durable_resolve.c - what a commit with sync=commit left that nobody knows the end of.
 *
 * Layer: client, sync.
 */
#include "client/sync/durable_resolve.h"

#include <assert.h>

#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/fence.h"
#include "client/sync/kept.h"
#include "client/sync/point.h"
#include "client/sync/refusal.h"
#include "core/alloc.h"

/* The kept bytes of the commit in doubt, sent (again): they land, or have
 * landed, or the slot is somebody else's for good. Without an answer it stays
 * in doubt. */
static enum ramet_rc
send_kept(struct ramet_sync *sync, const struct ramet_cid *id,
          const uint8_t *object, size_t len, struct ramet_err *err)
{
    struct ramet_remote_point point;
    struct ramet_snapshot base;
    struct ramet_head newest;
    struct ramet_head winner = {.lsn = 0}; /* stays so where nobody is named */
    struct ramet_cid named;
    enum ramet_rc rc;

    assert(sync->has_push_lock && sync->history != NULL);
    rc = ramet_sync_point(object, len, &sync->volume, &point, &named, err);
    if (rc == RAMET_OK) /* into a gap, into another line, nothing is sent */
        rc = ramet_sync_newest(sync, &newest, err);
    if (rc == RAMET_OK)
        rc = ramet_history_append(sync->history, object, len, &winner, err);
    if (rc == RAMET_ECONFLICT && winner.lsn > 0) {
        ramet_replica_sync_note_remote(sync->replica_sync, winner.lsn,
                                       winner.time_ms);
        rc = ramet_session_end_doubt(sync->session, id, false, err);
        return rc == RAMET_OK ? ramet_sync_look(sync, err) : rc;
    }
    if (rc == RAMET_OK)
        rc = ramet_session_end_doubt(sync->session, id, true, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_look(sync, err);
    base = sync->state->newest;
    if (rc == RAMET_OK)
        rc = ramet_session_mark_durable(sync->session, &base, &point, err);
    return rc == RAMET_OK ? ramet_sync_look(sync, err) : rc;
}

enum ramet_rc
ramet_durable_give_up(struct ramet_sync *sync, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(sync->has_push_lock);
    if (!ramet_id_is_nil(&sync->doubt.id))
        rc = ramet_session_end_doubt(sync->session, &sync->doubt, false, err);
    return rc == RAMET_OK ? ramet_sync_look(sync, err) : rc;
}

static enum ramet_rc
resolve_doubt(struct ramet_sync *sync, struct ramet_err *err)
{
    const struct ramet_cid id = sync->doubt;
    uint8_t *object = NULL;
    size_t len = 0;
    enum ramet_rc rc =
        ramet_kept_read(sync->replica_sync, &id, &object, &len, err);

    assert(!ramet_id_is_nil(&sync->doubt.id));
    if (rc == RAMET_OK)
        rc = send_kept(sync, &id, object, len, err);
    else if (rc == RAMET_ENOTFOUND) /* it died before it kept it: not sent */
        rc = ramet_durable_give_up(sync, err);
    /* Nobody was told that it is there, and these bytes will not be: what
     * follows fences them. */
    if (ramet_refusal_is_one(rc))
        rc = ramet_durable_give_up(sync, err);
    ramet_free(object);
    return rc;
}

enum ramet_rc
ramet_durable_take_back(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_cid id;
    enum ramet_rc rc = ramet_session_doubt(session, &id, err);

    assert(!ramet_session_is_reserved(session));
    if (rc != RAMET_OK || ramet_id_is_nil(&id.id))
        return rc;
    rc = ramet_session_lock_push(session, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_session_end_doubt(session, &id, false, err);
    ramet_session_unlock_push(session);
    return rc == RAMET_ESNAPSHOT ? RAMET_OK : rc; /* somebody else did it */
}

/*
 * What is kept may be what somebody is committing now, under the write lock, or
 * has committed since the last look. Once nobody writes, its end is in the log, also
 * where the writer died between the word that confirms it and its publication. Another
 * can begin only once a pull has brought the replica to the LSN of this one: until then
 * he would need the push lock, to end it first.
 */
static enum ramet_rc
await_writer(struct ramet_sync *sync, struct ramet_err *err)
{
    uint64_t spent_ms = 0;
    enum ramet_rc rc;

    assert(sync->has_push_lock);
    do
        rc = ramet_session_write_locked(sync->session)
                 ? RAMET_EBUSY
                 : ramet_sync_look_settled(sync, err);
    while (rc == RAMET_EBUSY && ramet_sync_retry(sync, &spent_ms));
    if (rc == RAMET_EBUSY)
        return RAMET_FAIL(err, rc,
                          "%s: a commit is under way that may be in the "
                          "remote already",
                          sync->replica_sync->path);
    return rc;
}

/* The slot of what was kept and rolled back: it may be on its way. In a remote that
 * went back behind its base it can't land. */
static enum ramet_rc
fence_kept(struct ramet_sync *sync, const struct ramet_kept *kept,
           struct ramet_err *err)
{
    const uint64_t lsn = kept->lsn;
    struct ramet_head newest;
    enum ramet_rc rc = ramet_sync_newest(sync, &newest, err);

    assert(sync->has_push_lock && lsn > sync->state->newest.lsn);
    if (rc == RAMET_OK && newest.lsn + 1 == lsn)
        rc = ramet_fence_slot(sync, &newest, err);
    if (rc == RAMET_OK && newest.lsn + 1 >= lsn)
        rc = ramet_fence_pass(sync, lsn, err);
    if (rc == RAMET_OK)
        ramet_kept_forget(sync->replica_sync, sync->session, kept);
    return rc;
}

static bool
is_undecided(const struct ramet_sync *sync)
{
    return !ramet_id_is_nil(&sync->state->intent.id) ||
           !ramet_id_is_nil(&sync->doubt.id);
}

enum ramet_rc
ramet_durable_resolve(struct ramet_sync *sync, struct ramet_err *err)
{
    struct ramet_kept kept;
    enum ramet_rc rc = RAMET_OK;

    assert(sync->has_push_lock && sync->history != NULL);
    assert(ramet_id_is_nil(&sync->state->intent.id));
    if (!ramet_id_is_nil(&sync->doubt.id))
        rc = resolve_doubt(sync, err);
    if (rc == RAMET_OK)
        rc = ramet_kept_look(sync->replica_sync, &kept, err);
    if (rc != RAMET_OK || kept.lsn <= sync->state->newest.lsn)
        return rc;
    rc = await_writer(sync, err);
    if (rc != RAMET_OK || kept.lsn <= sync->state->newest.lsn ||
        is_undecided(sync))
        return rc;
    return fence_kept(sync, &kept, err);
}

enum ramet_rc
ramet_durable_is_resolved(const struct ramet_replica_sync *replica_sync,
                          struct ramet_session *session,
                          const struct ramet_replica_state *state,
                          bool *out_resolved, struct ramet_err *err)
{
    struct ramet_cid doubt;
    struct ramet_kept kept;
    enum ramet_rc rc = ramet_session_doubt(session, &doubt, err);

    if (rc == RAMET_OK)
        rc = ramet_kept_look(replica_sync, &kept, err);
    if (rc == RAMET_OK)
        *out_resolved = ramet_id_is_nil(&doubt.id) &&
                        (kept.lsn <= state->newest.lsn ||
                         !ramet_id_is_nil(&state->intent.id) ||
                         ramet_session_write_locked(session));
    return rc;
}
