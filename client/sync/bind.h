/*
 * bind.h - the replica gets its volume.
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_BIND_H
#define RAMET_CLIENT_SYNC_BIND_H

#include "client/sync/sync.h"

/* Bind the replica to the volume that the remote's name stands for, which is
 * made if there is none. Needs the push lock and a connection; after it there
 * is a history. RAMET_EEXIST: the volume has commits of somebody else's. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_bind(struct ramet_sync *sync, struct ramet_err *err);

#endif
