/*
 * delta.h - what differs between a page and an image that was stored before.
 *
 * A delta is made with its base as zstd's prefix; the deltas of one commit are
 * packed into blocks of about 4 KiB, each one frame of kind RAMET_FRAME_DELTAS.
 * Byte layout: docs/format.md, "Deltas".
 *
 *   (1) A delta carries the checksum of the page that has to come out: with a
 *       wrong base zstd gives a wrong page and no error.
 *   (2) None is taken that was not applied to its base, and gave the page.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_DELTA_H
#define RAMET_PAGESTORE_DELTA_H

#include "core/bytes.h"
#include "core/err.h"
#include "core/hash.h"
#include "pagestore/frame.h"

#define RAMET_DELTA_BLOCK_BYTES                                                \
    4096u /* of content: a writer begins a new one */
#define RAMET_DELTA_BLOCK_MAX (256u << 10) /* content and body, for readers */
#define RAMET_DELTA_BLOCK_PAGES_MAX 4096u

/* One block as its commit describes it; it begins where the one before ends. */
struct ramet_delta_block {
    uint32_t page_count;
    uint32_t length_bytes;
    struct ramet_hash hash;
};

/* One page's part of a block's content. */
struct ramet_delta {
    const uint8_t *bytes;
    uint32_t length_bytes;
    uint64_t sum; /* XXH3-64 of the page */
};

/* ---- reading -------------------------------------------------------------- */

/* The part of page `position` (from 0) in a block's content, which is hostile.
 * RAMET_ECORRUPT. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_find(const uint8_t *content, size_t len, uint32_t page_size,
                 uint32_t position, struct ramet_delta *out_delta,
                 struct ramet_err *err);
/* ---- writing -------------------------------------------------------------- */

/* The blocks of one commit. */
struct ramet_delta_writer;

/* `level` of zstd; `max_bytes` of bodies in all. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_writer_new(uint32_t page_size, int level, size_t max_bytes,
                       struct ramet_delta_writer **out_writer,
                       struct ramet_err *err);
void ramet_delta_writer_free(struct ramet_delta_writer *writer);
/* Images are compressed with this dictionary: ramet_delta_writer_image_size()
 * counts with it. Without memory it counts without. */
void ramet_delta_writer_set_dict(struct ramet_delta_writer *writer,
                                 const uint8_t *dict, size_t len);
/* Another page than the one tried so far: forget what was tried of that. */
void ramet_delta_writer_forget(struct ramet_delta_writer *writer);
/* Try a delta of `page` over `base`: *out_length bytes of it, kept in place of
 * what was tried before; or 0, and nothing changes: it would be more than
 * `most`, or too much in all. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_writer_try(struct ramet_delta_writer *writer, const uint8_t *base,
                       const uint8_t *page, uint32_t most, uint32_t *out_length,
                       struct ramet_err *err);
/* How many bytes an image of `page` takes, about. */
uint32_t ramet_delta_writer_image_size(struct ramet_delta_writer *writer,
                                       const uint8_t *page);
/* Take what is kept. Pages come in ascending order. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_writer_take(struct ramet_delta_writer *writer,
                        struct ramet_err *err);

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

/* How many bytes all blocks have at most, with the one that is open. */
size_t ramet_delta_writer_size(const struct ramet_delta_writer *writer);
/*
 * End the last block, and put the blocks behind the inline segment *io_inline
 * (NULL and 0: there is none yet), which grows, if `allow_inline` and it stays
 * within RAMET_SEGMENT_INLINE_MAX; else into a segment of their own in `store`.
 * There must be one. RAMET_ENOMEM, or any code of ramet_objstore_put().
 */
RAMET_NODISCARD enum ramet_rc
ramet_delta_writer_extent(struct ramet_delta_writer *writer,
                          struct ramet_objstore *store,
                          const struct ramet_vid *volume, bool allow_inline,
                          uint8_t **io_inline, size_t *io_inline_len,
                          struct ramet_delta_extent *out_place,
                          struct ramet_err *err);

#endif
