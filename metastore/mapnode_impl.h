/*
 * mapnode_impl.h - what leaves and inner nodes have in common: their front.
 *
 * Layer: metastore, private to mapleaf.c and mapnode.c.
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
enum ramet_rc ramet_node_bad(const char *what, unsigned level, uint32_t index,
                             struct ramet_err *err);
/* Two places lie in the same object. */
bool ramet_place_same_object(const struct ramet_place *a,
                             const struct ramet_place *b);

#endif
