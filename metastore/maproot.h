/*
 * maproot.h - the root of a page map, read and taken apart: its roll-ups, and
 * where its tree begins.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_MAPROOT_H
#define RAMET_METASTORE_MAPROOT_H

#include "metastore/history_core.h"
#include "metastore/rollup.h"

struct ramet_map_root {
    struct ramet_top top; /* count 0 where the root is the tree's */
    unsigned level;       /* of the tree's root */
};

/* One read at most. An empty map has neither roll-ups nor a tree. The times of
 * the tree's root are not known to it: ramet_node_times(). */
RAMET_NODISCARD enum ramet_rc
ramet_map_root_open(struct ramet_history *history,
                    const struct ramet_map_ref *map,
                    struct ramet_map_root *out_root, struct ramet_err *err);
void ramet_map_root_close(struct ramet_map_root *root);
/* Is it there, and what a root should be? */
RAMET_NODISCARD enum ramet_rc
ramet_map_root_check(struct ramet_history *history,
                     const struct ramet_map_ref *map, struct ramet_err *err);
/* The root as a node: of the tree, or the top. */
struct ramet_node_ref ramet_map_root_node(const struct ramet_map_ref *map);
/* The first node on the way to a page, down from the tree's root, that is not in the
 * cache; length 0: all are, or it ends before. No I/O. */
RAMET_NODISCARD enum ramet_rc
ramet_map_root_missing(struct ramet_history *history,
                       const struct ramet_map_root *root, uint32_t pgno,
                       struct ramet_node_ref *out_ref, struct ramet_err *err);

#endif
