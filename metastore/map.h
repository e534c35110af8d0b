/*
 * map.h - making a page map of a snapshot, and finding one that was made.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_MAP_H
#define RAMET_METASTORE_MAP_H

#include "metastore/overlay.h"

/* A map of overlay's state, with `lsn` in its name and `commit_hash` (zero: own)
 * in its trailer. */
RAMET_NODISCARD enum ramet_rc
ramet_map_build(const struct ramet_overlay *overlay, uint64_t lsn,
                const struct ramet_hash *commit_hash,
                struct ramet_map_ref *out_map, struct ramet_err *err);
/* A map that this process knows of or can find in the store, newer than `after`,
 * not later than `lsn`, and of the commit that this process has there; lsn 0 in
 * *out_map if there is none. Whoever refers to it looks whether that commit is in
 * the line that he goes on with. */
RAMET_NODISCARD enum ramet_rc
ramet_map_find(struct ramet_history *history, uint64_t after, uint64_t lsn,
               bool look_in_store, struct ramet_known_map *out_map,
               struct ramet_err *err);
/* This one was just made, or found: the next who looks has it without a request. */
void ramet_map_remember(struct ramet_history *history,
                        const struct ramet_map_ref *map,
                        const struct ramet_hash *commit_hash);
/* It is of another line. */
void ramet_map_forget(struct ramet_history *history,
                      const struct ramet_known_map *map);

#endif
