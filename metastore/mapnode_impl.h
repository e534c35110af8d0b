/*
 * mapnode_impl.h - what the nodes of page maps have in common: their fronts, and
 * tables of maps.
 *
 * Layer: metastore, private to mapleaf.c, mapnode.c, maprun.c and rollup.c.
 */
#ifndef RAMET_METASTORE_MAPNODE_IMPL_H
#define RAMET_METASTORE_MAPNODE_IMPL_H

#include "metastore/mapnode.h"

struct ramet_node_front {
    unsigned level;
    uint32_t index;
    uint64_t latest; /* >= 1, and >= gone */
    uint64_t gone;
};

void ramet_node_front_encode(const struct ramet_node_front *front,
                             struct ramet_buf *out);
/* A front of the place in the tree that `level` and `index` say. */
RAMET_NODISCARD enum ramet_rc
ramet_node_front_decode(struct ramet_reader *in, unsigned level, uint32_t index,
                        struct ramet_node_front *out_front,
                        struct ramet_err *err);
/* The maps in which other nodes lie. Of a decoded one only lsn and id are set. */
void ramet_map_table_encode(const struct ramet_node_ref *const *maps,
                            unsigned count, struct ramet_buf *out);
bool
ramet_map_table_decode(struct ramet_reader *in, struct ramet_node_ref *out_maps,
                       unsigned most, unsigned *out_count);
/* Two nodes lie in the same map's object. */
bool ramet_node_same_map(const struct ramet_node_ref *a,
                         const struct ramet_node_ref *b);
enum ramet_rc ramet_node_bad(const char *what, unsigned level, uint32_t index,
                             struct ramet_err *err);

#endif
