/*
 * pageframe.h - reading one frame of the log, or of the pages that were fetched, with
 * its page.
 *
 * Layer: client, store/page.
 */
#ifndef RAMET_CLIENT_STORE_PAGE_PAGEFRAME_H
#define RAMET_CLIENT_STORE_PAGE_PAGEFRAME_H

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/shared/session.h"

/* Where the page goes. */
struct ramet_pageframe_room {
    uint8_t *out;       /* NULL: the page is only checked */
    uint32_t page_size; /* of `out`; pages of another size go elsewhere */
    uint8_t *spare;     /* made when needed; the caller frees it */
};

/* Neither frame nor page is to be believed unless `is_right`: the frame names the
 * page and its own position, and the one checksum over both holds. */
struct ramet_pageframe {
    struct ramet_logframe head;
    struct ramet_point at; /* of a fetched page: which commit has it so */
    uint32_t page_size;
    uint64_t hash; /* the page's; 0 without one */
    bool is_right;
};

/* The frame of page `pgno` at `pos`: of a fetched page (FETCHED), or one in the log
 * with an image or without. The caller is in an epoch. RAMET_ENOTFOUND: its file
 * is gone. */
RAMET_NODISCARD enum ramet_rc
ramet_pageframe_read(struct ramet_replica *replica, enum ramet_entry_kind kind,
                     struct ramet_pos pos, uint32_t pgno,
                     struct ramet_pageframe_room *room,
                     struct ramet_pageframe *out, struct ramet_err *err);

/* Frames with an image of neighbouring pages from `first` on, which should lie one
 * behind the other from `pos` on: read at once, RAMET_PAGEFRAME_RUN at most, their
 * pages to `out`. *io_count: of so many, how many from the first on are right. */
#define RAMET_PAGEFRAME_RUN 16u
RAMET_NODISCARD enum ramet_rc
ramet_pageframe_read_run(struct ramet_replica *replica,
                         enum ramet_entry_kind kind, struct ramet_pos pos,
                         uint32_t first, uint32_t *io_count, uint32_t page_size,
                         uint8_t *out, struct ramet_pageframe *frames,
                         struct ramet_err *err);
/* How far from one to the next. */
static inline size_t
ramet_pageframe_stride(enum ramet_entry_kind kind, uint32_t page_size)
{
    return (kind == RAMET_ENTRY_FETCHED ? RAMET_FETCHED_HEADER_SIZE
                                        : RAMET_LOGFRAME_HEADER_SIZE) +
           (size_t)page_size;
}

#endif
