/*
 * fill.h - pages that were fetched, until a checkpoint moves them.
 *
 * Layer: client, store/page.
 */
#ifndef RAMET_CLIENT_STORE_PAGE_FILL_H
#define RAMET_CLIENT_STORE_PAGE_FILL_H

#include "client/store/format/logfile.h"
#include "client/store/shared/session.h"

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
                ramet_fill_visit *visit, void *ctx, struct ramet_pos *out_end,
                struct ramet_err *err);
/* Append a fill and swap the entry from `expected` to it, if it is still that.
 * `replaced` is what the frame names. Base lock. */
RAMET_NODISCARD enum ramet_rc
ramet_fill_append(struct ramet_replica *replica, uint32_t pgno,
                  struct ramet_entry expected, struct ramet_entry replaced,
                  const struct ramet_point *at, uint32_t page_size,
                  const uint8_t *page, struct ramet_err *err);
/* A fill of page `pgno` that had replaced a version in the log: that version instead.
 * RAMET_ENOTFOUND: its file is gone, and it is no entry any more. */
RAMET_NODISCARD enum ramet_rc
ramet_fill_see_through(struct ramet_replica *replica, uint32_t pgno,
                       struct ramet_entry *io_entry, struct ramet_err *err);
/* Enough was fetched to be worth a checkpoint. */
bool ramet_fill_is_much(struct ramet_replica *replica);
/* A checkpoint has been over all of it. */
void ramet_fill_was_seen(struct ramet_replica *replica);
/* Apply the fill files after a crash; alone. */
RAMET_NODISCARD enum ramet_rc
ramet_fill_recover(struct ramet_session *session, struct ramet_err *err);

#endif
