/*
 * delta_front.h - what stands before the frame of a block of deltas: how many pages it
 * has, their sums, and the frame's. Byte layout: docs/format.md, "Deltas".
 *
 *   (1) The block's hash, which its parent has, is the front's alone: whoever has that is
 *       sure of each page's sum, and needs no more of the frame than the deltas that he
 *       wants. Whoever reads the whole block checks the frame by its sum.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_DELTA_FRONT_H
#define RAMET_PAGESTORE_DELTA_FRONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/hash.h"

#define RAMET_DELTA_BLOCK_PAGES_MAX 4096u
#define RAMET_DELTA_SUM_SIZE 8u
/* A varint, and all sums with that of the frame. */
#define RAMET_DELTA_FRONT_MAX                                                  \
    (2u + (RAMET_DELTA_BLOCK_PAGES_MAX + 1) * RAMET_DELTA_SUM_SIZE)

struct ramet_delta_front {
    uint32_t page_count;
    uint32_t length_bytes; /* of the front itself */
    const uint8_t *sums;   /* in the block, one behind the other */
    uint64_t frame_sum;    /* XXH3-64 of the frame */
};

/* How long the front is that begins with these bytes, of which three tell; 0: none
 * begins so. */
uint32_t ramet_delta_front_length(const uint8_t *body, size_t len);
/* The front of a block, or a front by itself, which lives as long as `body` does. False:
 * it is none. Hostile bytes. */
bool ramet_delta_front_read(const uint8_t *body, size_t len,
                            struct ramet_delta_front *out_front);
/* The sum of page `position` of the block. */
uint64_t
ramet_delta_front_sum(const struct ramet_delta_front *front, uint32_t position);
/* Has the front that hash? */
bool ramet_delta_front_matches(const uint8_t *body, size_t len,
                               const struct ramet_hash *hash);
/* Has the front of this whole block that hash, and the frame behind it its sum? */
bool ramet_delta_block_matches(const uint8_t *body, size_t len,
                               const struct ramet_hash *hash);

#endif
