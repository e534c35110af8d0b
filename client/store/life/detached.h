/*
 * detached.h - what a replica that became a plain file again left beside it.
 *
 * Layer: client, store/life.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_DETACHED_H
#define RAMET_CLIENT_STORE_LIFE_DETACHED_H

#include "core/os.h"

struct ramet_replica_location;

/* What `state` is called in a directory that is no replica's any more. */
#define RAMET_DETACHED "detached"

/* Somebody is about to make a replica at `path`: clear what a crash in the midst
 * of a detachment left beside the file. Nothing to do is fine. */
RAMET_NODISCARD enum ramet_rc
ramet_detached_finish(const struct ramet_os *os, const char *path,
                      struct ramet_err *err);
/* All of the directory but lost/; with its lock held. */
RAMET_NODISCARD enum ramet_rc
ramet_detached_clear(const struct ramet_replica_location *location,
                     struct ramet_err *err);

#endif
