/*
 * kept.h - the commit with sync=commit that may have been sent.
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_KEPT_H
#define RAMET_CLIENT_SYNC_KEPT_H

#include "client/sync/replica_sync.h"

/* In place of what is kept; synced before it is sent. */
RAMET_NODISCARD enum ramet_rc
ramet_kept_write(const struct ramet_replica_sync *replica_sync, uint64_t lsn,
                 const struct ramet_cid *id, const struct ramet_buf *object,
                 struct ramet_err *err);
void ramet_kept_forget(const struct ramet_replica_sync *replica_sync);
/* The LSN of the kept commit, 0 if there is none. One small read. */
RAMET_NODISCARD enum ramet_rc
ramet_kept_lsn(const struct ramet_replica_sync *replica_sync, uint64_t *out_lsn,
               struct ramet_err *err);
/* The kept object (ramet_free) of the commit `id`; RAMET_ENOTFOUND if none, or
 * another, is kept. */
RAMET_NODISCARD enum ramet_rc
ramet_kept_read(const struct ramet_replica_sync *replica_sync,
                const struct ramet_cid *id, uint8_t **out_object,
                size_t *out_len, struct ramet_err *err);

#endif
