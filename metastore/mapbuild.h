/*
 * mapbuild.h - the parts of making a page map: its object, and its tree.
 *
 * Layer: metastore, private to mapplan.c, mapbuild.c and mapwriter.c.
 */
#ifndef RAMET_METASTORE_MAPBUILD_H
#define RAMET_METASTORE_MAPBUILD_H

#include "core/bytes.h"
#include "metastore/maproot.h"
#include "metastore/overlay.h"

/* ---- mapwriter.c: a map's object, streamed out node by node ----------------- */

struct ramet_map_writer {
    struct ramet_history *history;
    struct ramet_upload *upload; /* NULL: all is still in `out` */
    struct ramet_buf out;
    uint64_t flushed_bytes;
    uint64_t lsn;
    struct ramet_mid id;
    char key[RAMET_KEY_MAX];
    uint8_t header[RAMET_MAP_HEADER_SIZE];
};

/* In any case ramet_map_writer_done(), which leaves nothing of a map that was not
 * finished. */
RAMET_NODISCARD enum ramet_rc
ramet_map_writer_begin(struct ramet_map_writer *writer,
                       struct ramet_history *history, uint64_t lsn,
                       struct ramet_err *err);
void ramet_map_writer_done(struct ramet_map_writer *writer);
/* Add a node; *out_ref says where it is and its hash, but not of when. */
RAMET_NODISCARD enum ramet_rc
ramet_map_writer_add(struct ramet_map_writer *writer,
                     const struct ramet_buf *node,
                     struct ramet_node_ref *out_ref, struct ramet_err *err);
/* `root` was added last. When it returns RAMET_OK the map is there. */
RAMET_NODISCARD enum ramet_rc
ramet_map_writer_finish(struct ramet_map_writer *writer,
                        const struct ramet_hash *commit_hash,
                        const struct ramet_node_ref *root,
                        struct ramet_err *err);

/* ---- mapbuild.c: the tree ---------------------------------------------------- */

/* The tree of the overlay's state. `rolled`: the pages that the roll-ups of its map
 * have. *out_root has no length where no page lies anywhere. */
RAMET_NODISCARD enum ramet_rc
ramet_tree_build(const struct ramet_overlay *overlay,
                 const struct ramet_map_root *old,
                 const struct ramet_pageset *rolled,
                 struct ramet_map_writer *writer,
                 struct ramet_node_ref *out_root, struct ramet_err *err);

#endif
