/*
 * retained.h - pages as older snapshots have them, where the base has moved on.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_PAGE_RETAINED_H
#define RAMET_CLIENT_STORE_PAGE_RETAINED_H

#include "client/store/format/frames.h"
#include "client/store/shared/index.h"
#include "client/store/shared/session.h"

/* Does a snapshot with this tail look at what is retained? */
static inline bool
ramet_retained_counts(const struct ramet_replica *replica,
                      struct ramet_pos tail)
{
    return tail.raw <
           atomic_load_explicit(&replica->head->header.retained.tail.raw,
                                memory_order_acquire);
}

struct ramet_retained_version {
    enum ramet_entry_kind kind; /* IMAGE, ZERO, ABSENT; NONE: not kept */
    uint64_t hash;              /* of an image */
};

/*
 * What is kept of page `pgno` for the snapshot at `tail`; an image into `out`,
 * unless NULL. NONE: what the base has, or a fetched version of it, is the snapshot's
 * version; the caller has read it, and the index, before. In an epoch.
 */
RAMET_NODISCARD enum ramet_rc
ramet_retained_find(struct ramet_replica *replica, struct ramet_pos tail,
                    uint32_t page_size, uint32_t pgno, uint8_t *out,
                    struct ramet_retained_version *out_version,
                    struct ramet_err *err);

/* ---- for who keeps: under checkpoint and base lock ------------------------ */

/* Where the page's newest frame is; NULL: not mapped, or there is none. */
_Atomic uint64_t *
ramet_retained_word(struct ramet_replica *replica, uint32_t pgno);
bool ramet_retained_is_retired(const struct ramet_replica *replica,
                               struct ramet_pos pos);
RAMET_NODISCARD enum ramet_rc
ramet_retained_read_header(struct ramet_replica *replica, uint32_t pgno,
                           struct ramet_pos pos,
                           struct ramet_retained_frame *out,
                           struct ramet_frame_file **out_file,
                           struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_retained_read_image(struct ramet_replica *replica,
                          const struct ramet_retained_frame *frame,
                          const struct ramet_frame_file *file,
                          uint32_t page_size, uint8_t *out,
                          struct ramet_err *err);
/* Sets the frame's position; `page` counts for an image. */
RAMET_NODISCARD enum ramet_rc
ramet_retained_append(struct ramet_replica *replica, uint32_t page_size,
                      struct ramet_retained_frame *frame, const uint8_t *page,
                      struct ramet_err *err);
/* A file to begin with; returns its number. */
uint64_t ramet_retained_begin(struct ramet_index_header *header);
/* Remove the files before `fresh`: no word leads there any more, or nobody
 * follows it. Whoever dies in between leaves them to the next. */
void ramet_retained_retire(struct ramet_replica *replica, uint64_t fresh);
/* Delete all, if it is for nobody any more. Needs the checkpoint lock. */
void ramet_retained_trim(struct ramet_session *session);

#endif
