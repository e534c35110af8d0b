/*
 * located.h - where one version of a page lies.
 *
 * Layer: metastore.
 */
#ifndef RAMET_METASTORE_LOCATED_H
#define RAMET_METASTORE_LOCATED_H

#include "pagestore/frame.h"

/* Where one version of a page lies: an image, and perhaps a delta over it. */
struct ramet_located {
    struct ramet_frame image; /* page_count 0: a page of zeros (never written,
                                 or cut off and grown again) */
    uint32_t image_pgno;      /* which page of that frame: its own, or the one
                                 that its delta names */
    struct ramet_frame block; /* its delta's; length_bytes 0: it has none */
    uint32_t position;        /* of the delta in the block */
    uint64_t lsn;             /* of its last change; 0: zeros */
};

static inline bool
ramet_located_has_delta(const struct ramet_located *located)
{
    return located->block.extent.length_bytes > 0;
}

#endif
