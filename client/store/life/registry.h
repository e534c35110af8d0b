/*
 * registry.h - the replicas that this process has open, one object each.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_REGISTRY_H
#define RAMET_CLIENT_STORE_LIFE_REGISTRY_H

#include "client/store/life/location.h"
#include "client/store/shared/session.h"

/*
 * The object for the place, made if it is not there, with a reference. Takes
 * the place's descriptors (not lock_fd) if it is made.
 */
RAMET_NODISCARD enum ramet_rc
ramet_registry_get(struct ramet_replica_location *location,
                   struct ramet_replica **out_replica, struct ramet_err *err);
/* Drop a reference; the last one frees it and closes everything. */
void ramet_registry_put(struct ramet_replica *replica);
/* Has this process so many replicas open that each should do with few
 * descriptors? Cheap. */
bool ramet_registry_is_crowded(void);
/* Does this process have the place open? */
bool ramet_registry_has(const struct ramet_replica_location *location);

#endif
