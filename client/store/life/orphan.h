/*
 * orphan.h - a directory whose file somebody deleted.
 *
 * Layer: client, store/life.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_ORPHAN_H
#define RAMET_CLIENT_STORE_LIFE_ORPHAN_H

#include "client/store/shared/session.h"

struct ramet_replica_location;

/* A directory was just made or entered: bring into its lost/ what a crash left
 * beside it (orphan.c). */
RAMET_NODISCARD enum ramet_rc
ramet_orphan_finish(const struct ramet_replica_location *location,
                    struct ramet_err *err);

#endif
