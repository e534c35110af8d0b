/*
 * refusal.c - see refusal.h.
 *
 * Layer: client.
 */
#include "client/sync/refusal.h"
#include "client/sync/point.h"

#include <assert.h>
#include <inttypes.h>

#include "client/remote/remote.h"
#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/sync/fence.h"
#include "client/sync/replica_sync.h"
#include "client/sync/sync.h"
#include "core/log.h"

/* A Date has whole seconds, and an answer was under way for a while. */
#define CLOCK_GRAIN_MS 5000

static void
warn_once(struct ramet_replica_sync *replica_sync, int64_t behind_ms)
{
    char number[RAMET_LOG_NUM_SIZE];

    assert(behind_ms > 0);
    if (atomic_exchange(&replica_sync->told_clock, true))
        return;
    ramet_log(RAMET_LOG_WARN,
              "this machine's clock is behind the remote's: commits made here "
              "are dated too early",
              "file", replica_sync->path, "minutes",
              ramet_log_num(number, (uint64_t)behind_ms / 60000), NULL);
}

enum ramet_rc
ramet_refusal_by_clock(struct ramet_replica_sync *replica_sync,
                       struct ramet_remote_client *client,
                       const struct ramet_head *base, struct ramet_err *err)
{
    const int64_t limit_ms = (int64_t)RAMET_SKEW_MAX_MS + CLOCK_GRAIN_MS;
    struct ramet_remote *const remote = ramet_remote_client_remote(client);
    int64_t ahead_ms;

    if (remote == NULL || remote->ops->clock_ahead == NULL ||
        !remote->ops->clock_ahead(remote, &ahead_ms))
        return RAMET_OK;
    if (ahead_ms < -limit_ms)
        warn_once(replica_sync, -ahead_ms);
    /* The time of what it stands on and 1 ms is always taken. */
    if (ahead_ms <= limit_ms ||
        replica_sync->os->wall_ms(replica_sync->os->ctx) <= base->time_ms + 1)
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ECLOCK,
                      "%s: this machine's clock is %" PRId64
                      " minutes ahead of %.200s, which takes no commit from "
                      "the future: nothing was sent, and nothing is lost",
                      replica_sync->path, ahead_ms / 60000,
                      ramet_remote_client_text(client));
}

static enum ramet_rc
has_segment(struct ramet_sync *sync, const struct ramet_sid *id,
            uint64_t size_bytes, bool *out_has, struct ramet_err *err)
{
    const struct ramet_extent extent = {
        .volume = sync->volume, .kind = RAMET_IN_SEGMENT, .segment = *id};
    char key[RAMET_KEY_MAX];
    uint64_t size = 0;
    enum ramet_rc rc;

    assert(sync->client != NULL);
    ramet_extent_key(&extent, key);
    rc = ramet_objstore_size(ramet_remote_client_store(sync->client), key,
                             &size, err);
    *out_has = rc == RAMET_OK && size == size_bytes;
    return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
}

/* Is every segment that the commit names in the store, with its size? */
static enum ramet_rc
has_segments(struct ramet_sync *sync, const uint8_t *object, size_t len,
             bool *out_all, struct ramet_err *err)
{
    struct ramet_commit_object commit;
    const struct ramet_delta_extent *const deltas = &commit.deltas.extent;
    struct ramet_hash hash;
    uint32_t head_len;
    enum ramet_rc rc;

    assert(sync->has_push_lock);
    *out_all = true;
    rc = ramet_commit_head_length(object, &head_len, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_commit_decode(object, head_len, &sync->volume,
                             sync->state->newest.lsn + 1, len, &commit, &hash,
                             err);
    if (rc != RAMET_OK)
        return rc;
    for (uint32_t i = 0; rc == RAMET_OK && *out_all && i < commit.segment_count;
         i++) {
        if (!ramet_commit_is_inline(&commit, i))
            rc = has_segment(sync, &commit.segments[i].id,
                             commit.segments[i].size_bytes, out_all, err);
    }
    if (rc == RAMET_OK && *out_all && deltas->block_count > 0 &&
        !deltas->is_inline)
        rc = has_segment(sync, &deltas->id, deltas->size_bytes, out_all, err);
    ramet_commit_done(&commit);
    return rc;
}

/* Would the same pages fare better in a new commit? */
static enum ramet_rc
is_worth_it(struct ramet_sync *sync, const struct ramet_head *newest,
            const struct ramet_remote_point *point, const uint8_t *object,
            size_t len, enum ramet_rc refusal, bool *out_worth,
            struct ramet_err *err)
{
    const struct ramet_os *const os = sync->replica_sync->os;
    bool all = true;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_refusal_is_one(refusal));
    if (refusal == RAMET_ECLOCK) {
        *out_worth = os->wall_ms(os->ctx) < point->time_ms &&
                     ramet_refusal_by_clock(sync->replica_sync, sync->client,
                                            newest, NULL) == RAMET_OK;
        return RAMET_OK;
    }
    rc = has_segments(sync, object, len, &all, err);
    *out_worth = rc == RAMET_OK && !all;
    return rc;
}

enum ramet_rc
ramet_refusal_resolve(struct ramet_sync *sync, const uint8_t *object,
                      size_t len, struct ramet_err *err)
{
    const struct ramet_err refusal = *err;
    struct ramet_remote_point point;
    struct ramet_head newest;
    struct ramet_cid id;
    bool worth = false;
    enum ramet_rc rc;

    assert(ramet_refusal_is_one(refusal.code));
    rc = ramet_sync_point(object, len, &sync->volume, &point, &id, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_newest(sync, &newest, err);
    if (rc == RAMET_OK)
        rc = is_worth_it(sync, &newest, &point, object, len, refusal.code,
                         &worth, err);
    if (rc != RAMET_OK)
        return rc;
    if (!worth) {
        *err = refusal;
        return refusal.code;
    }
    if (newest.lsn + 1 == point.lsn)
        rc = ramet_fence_slot(sync, &newest, err);
    return rc == RAMET_OK ? ramet_fence_conclude(sync, &point, err) : rc;
}

enum ramet_rc
ramet_refusal_fence(struct ramet_sync *sync, struct ramet_err *err)
{
    struct ramet_head newest;
    enum ramet_rc rc = ramet_sync_newest(sync, &newest, err);

    assert(sync->has_push_lock);
    if (rc == RAMET_OK && newest.lsn == sync->state->newest.lsn)
        rc = ramet_fence_slot(sync, &newest, err);
    return rc;
}
