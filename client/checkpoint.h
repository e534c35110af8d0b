/*
 * checkpoint.h - what checkpoint.c and fill.c share.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_CHECKPOINT_H
#define RAMET_CLIENT_CHECKPOINT_H

#include "client/replica_impl.h"

struct ramet_fill {
    struct ramet_logframe frame;
    struct ramet_point at; /* which commit has it so */
    const uint8_t *page;   /* NULL: zeros */
    uint32_t page_size;
};
typedef enum ramet_rc ramet_fill_visit(void *ctx, const struct ramet_fill *fill,
                                       struct ramet_err *err);
/* Each whole frame of fill files `first` … `last`; *out_end: where they end. */
RAMET_NODISCARD enum ramet_rc
ramet_fill_walk(struct ramet_replica *replica, uint64_t first, uint64_t last,
                ramet_fill_visit *visit, void *ctx, uint64_t *out_end,
                struct ramet_err *err);
/* Append a fill and swap the entry from `expected` to it, if it is still that.
 * `replaced` is what the frame names. Base lock. */
RAMET_NODISCARD enum ramet_rc
ramet_fill_append(struct ramet_replica *replica, uint32_t pgno,
                  uint64_t expected, uint64_t replaced,
                  const struct ramet_point *at, uint32_t page_size,
                  const uint8_t *page, struct ramet_err *err);

#endif
