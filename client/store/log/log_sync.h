/*
 * log_sync.h - syncing the log.
 *
 * Layer: client, store/log.
 */
#ifndef RAMET_CLIENT_STORE_LOG_LOG_SYNC_H
#define RAMET_CLIENT_STORE_LOG_LOG_SYNC_H

#include "client/store/shared/session.h"

/* Sync the log's files before `number` that were not. `tail` is that of the last
 * record in them; or of one that is not, and then `synced` stays. */
RAMET_NODISCARD enum ramet_rc
ramet_log_sync_before(struct ramet_session *session, uint64_t number,
                      struct ramet_pos tail, struct ramet_err *err);
/* The record from `start` to `tail` is void: what follows the one before it is not
 * on disk yet. Needs the write lock. */
void ramet_log_unsync(struct ramet_replica *replica, struct ramet_pos start,
                      struct ramet_pos tail);
/* Sync one log file, whatever is said of it to be on disk. */
RAMET_NODISCARD enum ramet_rc
ramet_log_flush(struct ramet_replica *replica,
                const struct ramet_frame_file *file, struct ramet_err *err);

/* What recovery found in the log: the next record is to say that it was on disk. It was
 * up to `proven`; what is past that is written again, as it was read. Where that
 * fails, the next sync begins here. */
RAMET_NODISCARD enum ramet_rc
ramet_log_sync_found(struct ramet_session *session, struct ramet_pos proven,
                     struct ramet_err *err);

#endif
