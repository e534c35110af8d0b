/*
 * remove.h - removing replicas.
 *
 * Layer: client, store/life.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_REMOVE_H
#define RAMET_CLIENT_STORE_LIFE_REMOVE_H

#include "client/store/shared/session.h"

struct ramet_os;
struct ramet_replica_location;

/* In the directory of a replica that is being removed. */
#define RAMET_TOMBSTONE "deleted"
/* The folder in it whose files nobody but the user removes. */
#define RAMET_LOST "lost"

/* Remove file and directory, but for what is in lost/. The open byte is held;
 * others may have it open, and what they have open goes on until they close it. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_remove(struct ramet_replica_location *location,
                     struct ramet_err *err);
/* What somebody who was cut off had begun to remove: where the tombstone is there
 * under the lock. A replica that was made since is left. */
RAMET_NODISCARD enum ramet_rc
ramet_remove_deleted(const struct ramet_os *os, const char *path,
                     struct ramet_err *err);
/* All in the directory but lost/, the tombstone last, and the directory if it is
 * empty then. The open byte is held. 0 or a negated errno. */
int ramet_remove_directory(const struct ramet_replica_location *location,
                           const char *tombstone);
enum ramet_rc
ramet_remove_leftover(const struct ramet_replica_location *location,
                      struct ramet_err *err);

#endif
