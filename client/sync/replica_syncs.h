/*
 * replica_syncs.h - the sync states of this process: found, made and closed.
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_REPLICA_SYNCS_H
#define RAMET_CLIENT_SYNC_REPLICA_SYNCS_H

#include "client/sync/replica_sync.h"

/* That of `session`'s replica, made if there is none; one reference. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_sync_open(struct ramet_session *session, const char *path,
                        const struct ramet_os *os, uint64_t fetch_timeout_ms,
                        struct ramet_replica_sync **out_replica_sync,
                        struct ramet_err *err);
/* One reference less; the last one stops the background thread first. In a
 * child of fork(): nothing. */
void ramet_replica_sync_close(struct ramet_replica_sync *replica_sync);

#endif
