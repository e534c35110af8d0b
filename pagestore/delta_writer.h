/*
 * delta_writer.h - the blocks of deltas of one commit.
 *
 * Layout: docs/format.md, "Deltas".
 *
 *   (1) None is taken that was not applied to its base, and gave the page.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_DELTA_WRITER_H
#define RAMET_PAGESTORE_DELTA_WRITER_H

#include "pagestore/delta.h"

/* What is known of a page: it has 16-bit numbers that say where in it things
 * lie, as SQLite's b-trees have: one at `lone`, and `count` from `table` on,
 * which lies behind. */
struct ramet_delta_shape {
    uint32_t lone, table, count; /* count 0: nothing is known */
};

/* The blocks of one commit. */
struct ramet_delta_writer;

/* `level` of zstd; `max_bytes` of bodies in all. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_writer_new(uint32_t page_size, int level, size_t max_bytes,
                       struct ramet_delta_writer **out_writer,
                       struct ramet_err *err);
void ramet_delta_writer_free(struct ramet_delta_writer *writer);
/* Images are compressed with this dictionary, which lives as long as the writer:
 * ramet_delta_writer_is_less() counts with it. Without memory it counts without. */
void ramet_delta_writer_set_dict(struct ramet_delta_writer *writer,
                                 const uint8_t *dict, size_t len);
/* Another page than the one tried so far: forget what was tried of that. */
void ramet_delta_writer_forget(struct ramet_delta_writer *writer);
/* Try a delta of `page` over `base`: *out_length is about what it takes in a block, kept
 * in place of what was tried before; or 0, and nothing changes: it would be more
 * than `most`, or too much in all. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_writer_try(struct ramet_delta_writer *writer, const uint8_t *base,
                       const struct ramet_delta_shape *base_shape,
                       const uint8_t *page,
                       const struct ramet_delta_shape *shape, uint32_t most,
                       uint32_t *out_length, struct ramet_err *err);
/* Does what is kept take at most so many quarters of what an image of `page` does?
 * *out_image: what that is, about. Compressed to see are images of the first pages that
 * are asked about, and of those where others before do not tell. */
bool ramet_delta_writer_is_less(struct ramet_delta_writer *writer,
                                const uint8_t *page,
                                const struct ramet_delta_shape *shape,
                                uint32_t quarters, uint32_t *out_image);
/* What is kept, until it is taken or forgotten; something must be. */
const struct ramet_delta *
ramet_delta_writer_kept(const struct ramet_delta_writer *writer);
/* Take what is kept. Pages come in ascending order. */
RAMET_NODISCARD enum ramet_rc
ramet_delta_writer_take(struct ramet_delta_writer *writer,
                        struct ramet_err *err);

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
