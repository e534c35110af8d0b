/*
 * extent.c - see extent.h.
 */
#include "pagestore/extent.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "pagestore/delta_front.h"

void
ramet_extent_key(const struct ramet_extent *extent, char out[RAMET_KEY_MAX])
{
    char volume[RAMET_ID_TEXT_SIZE];
    char segment[RAMET_ID_TEXT_SIZE];

    assert(extent->kind == RAMET_IN_COMMIT ? extent->lsn > 0
                                           : extent->kind == RAMET_IN_SEGMENT);
    ramet_id_format(&extent->volume.id, volume);
    if (extent->kind == RAMET_IN_COMMIT) {
        snprintf(out, RAMET_KEY_MAX, "volumes/%s/commits/%016" PRIx64, volume,
                 UINT64_MAX - extent->lsn);
        return;
    }
    ramet_id_format(&extent->segment.id, segment);
    snprintf(out, RAMET_KEY_MAX, "volumes/%s/segments/%s", volume, segment);
}

bool
ramet_extent_same_object(const struct ramet_extent *a,
                         const struct ramet_extent *b)
{
    return a->kind == b->kind &&
           ramet_id_compare(&a->volume.id, &b->volume.id) == 0 &&
           (a->kind == RAMET_IN_COMMIT
                ? a->lsn == b->lsn
                : ramet_id_compare(&a->segment.id, &b->segment.id) == 0);
}

bool
ramet_extent_equal(const struct ramet_extent *a, const struct ramet_extent *b)
{
    return ramet_extent_same_object(a, b) &&
           a->offset_bytes == b->offset_bytes &&
           a->length_bytes == b->length_bytes && a->hash_algo == b->hash_algo &&
           ramet_hash_equal(&a->hash, &b->hash);
}

bool
ramet_extent_matches(const struct ramet_extent *extent, const uint8_t *bytes)
{
    struct ramet_hash hash;

    assert(bytes != NULL && extent->length_bytes > 0);
    if (extent->hash_algo == RAMET_HASH_FRONT)
        return ramet_delta_block_matches(bytes, extent->length_bytes,
                                         &extent->hash);
    if (extent->hash_algo != RAMET_HASH_XXH3_128)
        return true;
    hash = ramet_hash128(bytes, extent->length_bytes);
    return ramet_hash_equal(&hash, &extent->hash);
}
