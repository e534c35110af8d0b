/*
 * past.h - pages as older snapshots have them, where the base has moved on.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_PAGE_PAST_H
#define RAMET_CLIENT_STORE_PAGE_PAST_H

#include "client/store/format/logfile.h"
#include "client/store/shared/index.h"
#include "client/store/shared/session.h"

/* Does a snapshot with this tail look into the past? */
static inline bool
ramet_past_counts(const struct ramet_replica *replica, struct ramet_pos tail)
{
    return tail.raw < atomic_load_explicit(&replica->head->header.past.tail.raw,
                                           memory_order_acquire);
}

struct ramet_past_version {
    enum ramet_entry_kind kind; /* IMAGE, ZERO, ABSENT; NONE: not kept */
    uint64_t hash;              /* of an image */
};

/*
 * What is kept of page `pgno` for the snapshot at `tail`; an image into `out`,
 * unless NULL. NONE: what the base has, or a fill of it, is the snapshot's
 * version; the caller has read it, and the index, before. In an era.
 */
RAMET_NODISCARD enum ramet_rc
ramet_past_find(struct ramet_replica *replica, struct ramet_pos tail,
                uint32_t page_size, uint32_t pgno, uint8_t *out,
                struct ramet_past_version *out_version, struct ramet_err *err);

struct ramet_past_job {
    struct ramet_session *session;
    struct ramet_pos end;    /* tail of what the base is going to have */
    uint32_t page_size;      /* ... */
    uint32_t page_count;     /* ... */
    uint32_t base_page_size; /* as it is */
    unsigned pin_count;
    /* Tails of snapshots that are read, before `end` or kept for already,
     * descending; one for each slot, and the session's own. */
    struct ramet_pos pins[RAMET_PIN_SLOTS + 1];
    uint8_t *page; /* RAMET_PAGE_SIZE_MAX */
};

/* Keep, of these pages, all that pins see otherwise than the base will have
 * it. Needs checkpoint and base lock; nothing was written to the base yet. */
RAMET_NODISCARD enum ramet_rc
ramet_past_keep(struct ramet_past_job *job, const struct ramet_pageset *pages,
                struct ramet_err *err);
/* Delete all, if it is for nobody any more. Needs the checkpoint lock. */
void ramet_past_trim(struct ramet_session *session);

#endif
