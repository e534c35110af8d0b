/*
 * mapshape.c - see mapshape.h.
 */
#include "metastore/mapshape.h"

#include <assert.h>

#include "metastore/maproot.h"
#include "metastore/overlay.h"

enum ramet_rc
ramet_history_map_shape(struct ramet_history *history,
                        const struct ramet_point *at,
                        struct ramet_map_shape *out_shape,
                        struct ramet_err *err)
{
    struct ramet_map_shape shape = {.lsn = 0};
    struct ramet_map_root root;
    struct ramet_overlay overlay;
    enum ramet_rc rc = ramet_overlay_open(history, at, &overlay, err);

    assert(out_shape != NULL);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_map_root_open(history, &overlay.map, &root, err);
    if (rc == RAMET_OK) {
        shape.lsn = overlay.map.lsn;
        shape.tree_lsn = root.top.tree_lsn;
        shape.rollups = root.top.count;
        for (unsigned r = 0; r < root.top.count; r++) {
            const struct ramet_rollup *const rollup = &root.top.rollups[r];

            shape.pieces += rollup->piece_count;
            for (unsigned i = 0; i < rollup->piece_count; i++)
                shape.rollup_bytes += rollup->pieces[i].node.length_bytes;
        }
        ramet_map_root_close(&root);
        *out_shape = shape;
    }
    ramet_overlay_close(&overlay);
    return rc;
}
