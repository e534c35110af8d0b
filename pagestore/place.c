/*
 * place.c - see place.h.
 */
#include "pagestore/place.h"

#include <inttypes.h>
#include <stdio.h>

void
ramet_place_key(const struct ramet_place *place, char out[RAMET_KEY_MAX])
{
    char volume[RAMET_ID_TEXT_SIZE];
    char segment[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&place->volume.id, volume);
    if (place->kind == RAMET_IN_COMMIT) {
        snprintf(out, RAMET_KEY_MAX, "volumes/%s/commits/%016" PRIx64, volume,
                 UINT64_MAX - place->lsn);
        return;
    }
    ramet_id_format(&place->segment.id, segment);
    snprintf(out, RAMET_KEY_MAX, "volumes/%s/segments/%s", volume, segment);
}
