/*
 * delta_blocks.h - blocks of deltas as they were last decoded: a scan comes to each of
 * them with several slices of pages, and so do those who scan the same volume.
 *
 * A block is known by its volume and the hash of its front, which vouches for all of it; only
 * what was verified is put here. Bounded; what was not used for longest goes first.
 *
 * Thread-safe. Layer: server.
 */
#ifndef RAMET_SERVER_DELTA_BLOCKS_H
#define RAMET_SERVER_DELTA_BLOCKS_H

#include "core/lru_table.h"
#include "pagestore/delta.h"

struct ramet_delta_blocks;

/* Whoever has one gives it back; it does not change. */
struct ramet_decoded_block {
    struct ramet_lru_link link; /* first */
    struct ramet_vid volume;
    uint32_t page_size;
    struct ramet_hash hash;
    unsigned users; /* with the lock; the cache is one of them */
    uint32_t page_count;
    uint32_t front_bytes;
    struct ramet_delta *deltas; /* of its pages, in memory behind them */
};

/* NULL: no memory. */
struct ramet_delta_blocks *ramet_delta_blocks_new(size_t max_bytes);
/* Nobody has one of it. NULL is fine. */
void ramet_delta_blocks_free(struct ramet_delta_blocks *blocks);
/* NULL: it is not here. */
struct ramet_decoded_block *
ramet_delta_blocks_get(struct ramet_delta_blocks *blocks,
                       const struct ramet_extent *extent, uint32_t page_size);
/* Front and content, verified, of the block there: kept, and the caller's as by
 * get. RAMET_ECORRUPT, RAMET_ENOMEM. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_blocks_add(struct ramet_delta_blocks *blocks,
                       const struct ramet_extent *extent,
                       const uint8_t *content, size_t len, uint32_t page_size,
                       struct ramet_decoded_block **out_block,
                       struct ramet_err *err);
void ramet_delta_blocks_put(struct ramet_delta_blocks *blocks,
                            struct ramet_decoded_block *block);

#endif
