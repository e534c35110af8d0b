/*
 * codec.h - zstd with our allocator, and the checks that a body must pass.
 *
 * The only header that includes zstd's. Contexts come from the functions with
 * an allocator argument (in zstd's "static" API, unchanged since 1.3), so that
 * tests can fail each allocation and memory is counted in one place.
 *
 * Layer: pagestore, internal.
 */
#ifndef RAMET_PAGESTORE_CODEC_H
#define RAMET_PAGESTORE_CODEC_H

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include "pagestore/frame.h"

#define RAMET_CODEC_LEVEL_DEFAULT 2

/* zstd's memory, from ramet_alloc(). */
extern const ZSTD_customMem ramet_codec_mem;

/*
 * A dictionary made ready for compressing frames of about `frame_bytes`, or
 * NULL on no memory. Copies the bytes. It lives in *out_block, which is the
 * caller's to ramet_free() after its last use. (zstd's own allocating functions
 * crash up to 1.5.4 where there is no memory.)
 */
const ZSTD_CDict *ramet_codec_cdict(const uint8_t *dict, size_t len, int level,
                                    size_t frame_bytes, void **out_block);

/*
 * One frame body, verified before: behind `front` bytes exactly one zstd frame, exactly
 * `page_bytes` of content. `ddict` NULL: plain. `what` names the object in errors.
 */
RAMET_NODISCARD enum ramet_rc
ramet_codec_decode(ZSTD_DCtx *dctx, const ZSTD_DDict *ddict,
                   const struct ramet_frame *frame, size_t front,
                   const uint8_t *body, size_t page_bytes, uint8_t *out,
                   const char *what, struct ramet_err *err);

/* Are these `len` bytes the ones that `extent` promises? */
RAMET_NODISCARD enum ramet_rc
ramet_codec_verify(const struct ramet_extent *extent, const uint8_t *body,
                   const char *what, struct ramet_err *err);
/* The same of a body that was read of `store`, where it is object `key`: what somebody
 * kept wrong is read anew, in its place. */
RAMET_NODISCARD enum ramet_rc
ramet_codec_verify_read(struct ramet_objstore *store,
                        const struct ramet_extent *extent, uint8_t *body,
                        const char *key, struct ramet_err *err);

/* Is it one whole standard zstd frame, with nothing after it? */
bool ramet_codec_is_one_frame(const uint8_t *body, size_t len);

#endif
