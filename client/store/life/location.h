/*
 * location.h - where a replica is: the file, and the directory beside it.
 *
 * The directory tells what is in the file and decides what comes out of it. So
 * it is used only if nobody else can have prepared it, and it is open to
 * exactly those to whom the file is (docs/replica.md, "Access").
 *
 *   (1) Once entered, everything in it goes by its descriptor, and by names
 *       without following links: what becomes of its path does not matter.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_LOCATION_H
#define RAMET_CLIENT_STORE_LIFE_LOCATION_H

#include <stdbool.h>

#include "core/rights.h"

/* Where a path leads. Zeroed with descriptors at -1 is valid for _done. */
struct ramet_replica_location {
    const struct ramet_os *os;
    char *path;     /* of the base, as ramet_path_resolve() has it */
    char *name;     /* of the base in parent_fd */
    char *dir_name; /* name "-ramet" */
    int parent_fd;
    int dir_fd;
    int lock_fd;
    struct ramet_os_stat lock; /* once entered; its device and inode stay */
    struct ramet_os_stat base; /* as far as has_base says so */
    int has_base;     /* 1, 0 or a negated errno, when it was looked at */
    bool is_seen;     /* it was looked at */
    bool is_readonly; /* the directory can't be written */
};
RAMET_NODISCARD enum ramet_rc
ramet_replica_location_find(const struct ramet_os *os, const char *path,
                            struct ramet_replica_location *out_location,
                            struct ramet_err *err);
/* ... of a path as ramet_path_resolve() has it: no link is looked for. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_location_at(const struct ramet_os *os, const char *resolved,
                          struct ramet_replica_location *out_location,
                          struct ramet_err *err);
void ramet_replica_location_done(struct ramet_replica_location *location);
/* Open the directory and its lock file. RAMET_ENOTFOUND: not there; `make`
 * makes them. RAMET_EAUTH: somebody else's, or open to more than the file. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_location_enter(struct ramet_replica_location *location, bool make,
                             struct ramet_err *err);
/* Look at the base, and at the directory, which is not entered yet: it goes into
 * location->dir_fd if it is there. Again: at what is there now. */
void ramet_replica_location_look(struct ramet_replica_location *location);
/* 1 if `name` was in the directory that was looked at, else 0 or a negated errno. */
int ramet_replica_location_sees(const struct ramet_replica_location *location,
                                const char *name);
/* The same of the directory that is there now. */
int ramet_replica_location_has(const struct ramet_replica_location *location,
                               const char *name);

/* Entered: the lock file that is open is that of the place still. Who waited for a
 * lock may have it when it is gone, or was moved away with the directory, and keeps
 * nobody out by it. `parent_fd`: the location's, if the registry has not taken that. */
bool
ramet_replica_location_has_lock(const struct ramet_replica_location *location,
                                int parent_fd);

/* The base, if it was there and a file. */
bool ramet_replica_location_base(const struct ramet_replica_location *location,
                                 struct ramet_os_stat *out);

/* ---- trust.c -------------------------------------------------------------- */

/* The directory is open: refuse one that others may have prepared, and give it
 * the access of the base if that has changed. */
RAMET_NODISCARD enum ramet_rc
ramet_location_check(const struct ramet_replica_location *location,
                     struct ramet_err *err);

#endif
