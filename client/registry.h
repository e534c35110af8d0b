/*
 * registry.h - the replicas that this process has open, one object each.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REGISTRY_H
#define RAMET_CLIENT_REGISTRY_H

#include "client/replica_impl.h"

/* Where a path leads. Zeroed with descriptors at -1 is valid for _done. */
struct ramet_replica_place {
    const struct ramet_os *os;
    char *path;     /* of the base, resolved: client/path.h */
    char *name;     /* of the base in parent_fd */
    char *dir_name; /* name "-ramet" */
    int parent_fd;
    int dir_fd;
    int lock_fd;
    bool is_readonly; /* the directory can't be written */
};
RAMET_NODISCARD enum ramet_rc
ramet_replica_place_find(const struct ramet_os *os, const char *path,
                         struct ramet_replica_place *out_place,
                         struct ramet_err *err);
void ramet_replica_place_done(struct ramet_replica_place *place);
/* Open the directory and its lock file. RAMET_ENOTFOUND: not there; `make`
 * makes them. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_place_enter(struct ramet_replica_place *place, bool make,
                          struct ramet_err *err);
/* 1 if `name` is in the replica's directory, else 0 or a negated errno. */
int ramet_replica_place_has(const struct ramet_replica_place *place,
                            const char *name);

/*
 * The object for the place, made if it is not there, with a reference. Takes
 * the place's descriptors (not lock_fd) if it is made.
 */
RAMET_NODISCARD enum ramet_rc
ramet_registry_get(struct ramet_replica_place *place,
                   struct ramet_replica **out_replica, struct ramet_err *err);
/* Is the replica's lock file still under the place's name? */
bool ramet_replica_place_is_current(const struct ramet_replica_place *place,
                                    const struct ramet_replica *replica);
/* Drop a reference; the last one frees it and closes everything. */
void ramet_registry_put(struct ramet_replica *replica);
/* Does this process have the place open? */
bool ramet_registry_has(const struct ramet_replica_place *place);

#endif
