/*
 * extent.c - see extent.h.
 */
#include "pagestore/extent.h"

#include <inttypes.h>
#include <stdio.h>

void
ramet_extent_key(const struct ramet_extent *extent, char out[RAMET_KEY_MAX])
{
    char volume[RAMET_ID_TEXT_SIZE];
    char segment[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&extent->volume.id, volume);
    if (extent->kind == RAMET_IN_COMMIT) {
        snprintf(out, RAMET_KEY_MAX, "volumes/%s/commits/%016" PRIx64, volume,
                 UINT64_MAX - extent->lsn);
        return;
    }
    ramet_id_format(&extent->segment.id, segment);
    snprintf(out, RAMET_KEY_MAX, "volumes/%s/segments/%s", volume, segment);
}
