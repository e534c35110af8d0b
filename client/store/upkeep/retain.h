/*
 * retain.h - what a checkpoint keeps for the readers that it passes.
 *
 * Layer: client, store/upkeep.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_RETAIN_H
#define RAMET_CLIENT_STORE_UPKEEP_RETAIN_H

#include "client/store/shared/index.h"
#include "client/store/shared/session.h"

struct ramet_retain_job {
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
ramet_retain(struct ramet_retain_job *job, const struct ramet_pageset *pages,
             struct ramet_err *err);

#endif
