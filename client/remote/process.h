/*
 * process.h - the lock of what the client keeps once per process.
 *
 * Handles of one process share remote clients and what syncs a replica; they
 * find each other in two short lists (remote_clients.c, replica_syncs.c), both
 * under this lock. It is held for list work only, never over I/O, and across
 * fork(), so that a child finds it free and the lists whole.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_PROCESS_H
#define RAMET_CLIENT_REMOTE_PROCESS_H

void ramet_process_lock(void);
void ramet_process_unlock(void);

#endif
