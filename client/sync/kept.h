/*
 * kept.h - the commit with sync=commit that may have been sent.
 *
 *   (1) it is written and removed with the write lock, by its writer, who has that; or
 *       removed by who found that it can't land any more, who had the push lock alone
 *       while he asked. A writer whose replica was pulled past it may have kept the
 *       next one since, and sent it: so he removes the very one that he looked at
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_KEPT_H
#define RAMET_CLIENT_SYNC_KEPT_H

#include "client/sync/replica_sync.h"

/* What it is, without its bytes; LSN 0: nothing is kept. */
struct ramet_kept {
    uint64_t lsn;
    struct ramet_cid id;
};

/* In place of what is kept; synced before it is sent. Its writer has the write lock. */
RAMET_NODISCARD enum ramet_rc
ramet_kept_write(const struct ramet_replica_sync *replica_sync, uint64_t lsn,
                 const struct ramet_cid *id, const struct ramet_buf *object,
                 struct ramet_err *err);
/* Its writer's, who has the write lock still: nobody will send it again. */
void ramet_kept_take_back(const struct ramet_replica_sync *replica_sync);
/* Anybody's who saw under the push lock that it can't land: it goes, unless it is
 * another by now. Takes the write lock for that; where it can't, it stays until the next
 * look. */
void
ramet_kept_forget(const struct ramet_replica_sync *replica_sync,
                  struct ramet_session *session, const struct ramet_kept *kept);
/* One small read. */
RAMET_NODISCARD enum ramet_rc
ramet_kept_look(const struct ramet_replica_sync *replica_sync,
                struct ramet_kept *out, struct ramet_err *err);
/* The kept object (ramet_free) of the commit `id`; RAMET_ENOTFOUND if none, or
 * another, is kept. */
RAMET_NODISCARD enum ramet_rc
ramet_kept_read(const struct ramet_replica_sync *replica_sync,
                const struct ramet_cid *id, uint8_t **out_object,
                size_t *out_len, struct ramet_err *err);

#endif
