/*
 * delta.h - what differs between a page and an image that was stored before.
 *
 * A delta is a list of steps: bytes of its own, runs of its base, zeros, and tables
 * of 16-bit numbers that follow what they point to. The deltas of one commit are packed
 * into blocks of about 4 KiB, each one frame of kind RAMET_FRAME_DELTAS. Byte layout:
 * docs/format.md, "Deltas".
 *
 *   (1) A delta carries the checksum of the page that has to come out: with a
 *       wrong base there is a wrong page and no error.
 *   (2) What a block says is hostile: steps stay within page and base, and take
 *       time in proportion to the page.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_DELTA_H
#define RAMET_PAGESTORE_DELTA_H

#include "core/bytes.h"
#include "core/err.h"
#include "core/hash.h"
#include "pagestore/delta_front.h"
#include "pagestore/frame.h"

#define RAMET_DELTA_BODY_BYTES 4096u /* of a block, about, as it is written */
#define RAMET_DELTA_CONTENT_BYTES_MAX 16384u /* as well */
#define RAMET_DELTA_BLOCK_MAX (256u << 10)   /* content and body, for readers */
/* Runs of its base that a delta with numbers has at most. */
#define RAMET_DELTA_COPIES_MAX 256u

enum ramet_delta_kind {
    RAMET_DELTA_COPY = 0,    /* bytes of the base */
    RAMET_DELTA_NUMBERS = 1, /* 16-bit numbers of the base, moved with what they
                                point to */
    RAMET_DELTA_ZEROS = 2,
    RAMET_DELTA_END = 3, /* none: the page is full; never written */
};

/* One block as its commit describes it; it begins where the one before ends. */
struct ramet_delta_block {
    uint32_t page_count;
    uint32_t length_bytes;
    struct ramet_hash hash; /* of the front */
    /* Of a commit that was read, so that a page is found without walking the
     * set: its first page, the run of the set which has that, and what is before it. */
    uint32_t first_pgno;
    uint32_t first_run;
    uint32_t deltas_before;
    uint64_t bytes_before; /* of blocks */
};

/* Where the blocks of a commit came to lie, and they: the caller's
 * (ramet_free). */
struct ramet_delta_extent {
    bool is_inline;
    struct ramet_sid id;   /* nil if inline */
    uint64_t size_bytes;   /* of the segment; 0 if inline */
    uint64_t offset_bytes; /* of the first block in it */
    uint32_t block_count;
    struct ramet_delta_block *blocks;
};

/* One page's part of a block's content. */
struct ramet_delta {
    const uint8_t *steps;
    uint32_t steps_len;
    const uint8_t *literals;
    uint32_t literals_len;
    uint64_t sum; /* XXH3-64 of the page */
};

/* A block's content as it is gone through, which costs one walk for all of its pages
 * if they are asked for in ascending order. */
struct ramet_delta_cursor {
    uint32_t page_size;
    struct ramet_delta_front front;
    const uint8_t *steps, *literals;
    size_t steps_len, literals_len;
    uint32_t position; /* of the page whose part begins at: */
    size_t steps_at, literals_at;
};

/* At a block's content, which is hostile: its front, and what its frame holds; it lives
 * as long as the cursor. RAMET_ECORRUPT. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_cursor_open(struct ramet_delta_cursor *cursor,
                        const uint8_t *content, size_t len, uint32_t page_size,
                        struct ramet_err *err);
/* The same of so many deltas without a front: their sums are 0. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_cursor_open_loose(struct ramet_delta_cursor *cursor,
                              uint32_t page_count, const uint8_t *content,
                              size_t len, uint32_t page_size,
                              struct ramet_err *err);
/* The part of page `position` (from 0). RAMET_ECORRUPT. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_cursor_find(struct ramet_delta_cursor *cursor, uint32_t position,
                        struct ramet_delta *out_delta, struct ramet_err *err);
/* Make the page of a delta (hostile) and its base, both page_size bytes; `out` is
 * not `base`. RAMET_ECORRUPT: it is not what its sum says. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_apply(const struct ramet_delta *delta, const uint8_t *base,
                  uint32_t page_size, uint8_t *out, struct ramet_err *err);
/* Does a delta of our own make `page` of its base? Its sum is not looked at; `made` has
 * room for a page. */
bool ramet_delta_makes(const struct ramet_delta *delta, const uint8_t *base,
                       const uint8_t *page, uint32_t page_size, uint8_t *made);
/* The same delta in memory of its own, which is returned (ramet_free); NULL: there is
 * none. */
uint8_t *ramet_delta_copy(const struct ramet_delta *delta,
                          struct ramet_delta *out_delta);

#endif
