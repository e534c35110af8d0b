/*
 * pages_ranges.c - the list of ranges that a slice of pages needs.
 *
 * Layer: server.
 */
#include <assert.h>

#include "server/pages_answer_impl.h"

struct ramet_answer_range
ramet_answer_range_of(const struct ramet_extent *extent)
{
    return (struct ramet_answer_range){
        .object = {.object = extent->kind == RAMET_IN_COMMIT ? 1 : 0,
                   .volume = extent->volume,
                   .id = extent->segment.id,
                   .lsn = extent->lsn,
                   .offset = extent->offset_bytes},
        .length = extent->length_bytes,
        .hash_algo = extent->hash_algo,
        .hash = extent->hash,
    };
}

void
ramet_answer_add_range(struct ramet_answer *answer,
                       const struct ramet_answer_range *range)
{
    assert(answer->range_count < RAMET_SLICE_RANGES_MAX);
    answer->ranges[answer->range_count++] = *range;
}
