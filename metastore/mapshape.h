/*
 * mapshape.h - what a page map is made of, for those who tell of it.
 *
 * Layer: metastore.
 */
#ifndef RAMET_METASTORE_MAPSHAPE_H
#define RAMET_METASTORE_MAPSHAPE_H

#include "metastore/history.h"

/* What the page map that a commit refers to is made of. */
struct ramet_map_shape {
    uint64_t lsn;
    uint64_t tree_lsn; /* of the tree under the roll-ups */
    uint32_t rollups;
    uint32_t pieces; /* of all of them */
    uint64_t rollup_bytes;
};
/* One read at most beside the heads. */
RAMET_NODISCARD enum ramet_rc
ramet_history_map_shape(struct ramet_history *history,
                        const struct ramet_point *at,
                        struct ramet_map_shape *out_shape,
                        struct ramet_err *err);

#endif
