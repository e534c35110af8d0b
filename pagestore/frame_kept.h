/*
 * frame_kept.h - bytes of objects that came along with others, and blocks of deltas,
 * which have pages of several batches: frames that lie in them cost no read.
 *
 *   (1) They are what the store said, unverified, as what is read is: who uses a
 *       frame of them looks at its hash, and drops them if it is another.
 *   (2) RAMET_KEPT_MAX of them, and RAMET_KEPT_BYTES in all; the oldest goes first.
 *
 * Layer: pagestore, internal.
 */
#ifndef RAMET_PAGESTORE_FRAME_KEPT_H
#define RAMET_PAGESTORE_FRAME_KEPT_H

#include "core/thread.h"
#include "pagestore/extent.h"

#define RAMET_KEPT_MAX 64u
#define RAMET_KEPT_BYTES (256u << 10)

struct ramet_kept_bytes {
    struct ramet_extent place; /* its hash is not looked at */
    uint8_t *bytes;            /* NULL: none here */
};

struct ramet_kept {
    struct ramet_mutex mutex;                    /* guards what follows */
    struct ramet_kept_bytes all[RAMET_KEPT_MAX]; /* oldest first */
    unsigned count;
    size_t bytes;
};

void ramet_kept_init(struct ramet_kept *kept);
void ramet_kept_done(struct ramet_kept *kept);
/* A copy of `bytes`, place->length_bytes of them. Without memory, or with more than
 * fit, nothing is kept. */
void ramet_kept_add(struct ramet_kept *kept, const struct ramet_extent *place,
                    const uint8_t *bytes);
/* Copy `len` bytes of the object that `in` points into, from `offset` on; false: they
 * are not here. */
bool ramet_kept_find(struct ramet_kept *kept, const struct ramet_extent *in,
                     uint64_t offset, size_t len, uint8_t *out);
/* Are all bytes of `place` here? */
bool ramet_kept_has(struct ramet_kept *kept, const struct ramet_extent *place);
void ramet_kept_clear(struct ramet_kept *kept);
/* What is kept of that object is not what it should be. */
void ramet_kept_drop(struct ramet_kept *kept, const struct ramet_extent *in);

#endif
