/*
 * frame_impl.h - what frame.c and frame_ranges.c share.
 *
 *   (1) A body is used only after its hash was checked against its extent.
 *   (2) idle is touched under `mutex` only; a scratch that was taken out is one
 *       call's.
 *   (3) large buffers stay with idle scratches while other calls are under way, which
 *       will want as large ones soon; the last of them gives all back.
 *
 * Layer: pagestore, internal.
 */
#ifndef RAMET_PAGESTORE_FRAME_IMPL_H
#define RAMET_PAGESTORE_FRAME_IMPL_H

#include "pagestore/dict_cache.h"
#include "pagestore/frame.h"
#include "pagestore/frame_kept.h"

/* What one call works with. */
struct ramet_scratch {
    struct ramet_scratch *next;
    ZSTD_DCtx *dctx;
    uint8_t *body;
    size_t body_capacity;
    uint8_t *pages;
    size_t pages_capacity;
};

struct ramet_frame_reader {
    struct ramet_objstore *store;
    struct ramet_dict_cache dicts;
    struct ramet_kept kept;
    struct ramet_mutex mutex;
    struct ramet_scratch *idle; /* invariant (2) */
    unsigned idle_count;
    unsigned busy_count; /* scratches that were taken out */
};

/* NULL: no memory. */
struct ramet_scratch *ramet_scratch_get(struct ramet_frame_reader *reader);
void ramet_scratch_put(struct ramet_frame_reader *reader,
                       struct ramet_scratch *scratch);
/* Room for `len` bytes in *buf, whose content may go; false: no memory. */
bool ramet_scratch_reserve(uint8_t **buf, size_t *capacity, size_t len);

/* What a parent said of a frame is foreign too. RAMET_ECORRUPT, RAMET_EVERSION. */
RAMET_NODISCARD enum ramet_rc
ramet_frame_check(const struct ramet_frame *frame, struct ramet_err *err);
/* Decode a body that was verified, with its dictionary if it has one. */
RAMET_NODISCARD enum ramet_rc
ramet_frame_decode_body(struct ramet_frame_reader *reader,
                        struct ramet_scratch *scratch,
                        const struct ramet_frame *frame, const uint8_t *body,
                        size_t content_bytes, uint8_t *out, const char *key,
                        struct ramet_err *err);

#endif
