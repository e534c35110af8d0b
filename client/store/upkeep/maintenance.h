/*
 * maintenance.h - the thread that checkpoints.
 *
 * Layer: client, store/upkeep.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_MAINTENANCE_H
#define RAMET_CLIENT_STORE_UPKEEP_MAINTENANCE_H

#include "client/store/shared/session.h"

/* A log file was closed: have it looked after. */
void ramet_maintenance_wake(struct ramet_replica *replica);
/* A session was opened: have missing checksums computed, if there are any; few
 * are when this returns. */
void ramet_maintenance_begin(struct ramet_session *session);
void ramet_maintenance_stop(struct ramet_replica *replica);
/* The process's last session is about to close: stop, and do a little of what
 * would not be done. */
void ramet_maintenance_close(struct ramet_session *session);

#endif
