/*
 * checkpoint_impl.h - one checkpoint under way: what checkpoint.c (all of it),
 * checkpoint_move.c (pages go into the base) and checkpoint_publish.c (the index
 * learns of it) share.
 *
 * Layer: client, store/upkeep.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_CHECKPOINT_IMPL_H
#define RAMET_CLIENT_STORE_UPKEEP_CHECKPOINT_IMPL_H

#include "client/store/format/state.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/upkeep/keep_past.h"

struct moved {
    uint64_t value; /* of presence */
    uint32_t pgno;
};

struct checkpoint {
    struct ramet_session *session;
    struct ramet_replica *replica;
    struct ramet_state_file state; /* as it will be */
    uint32_t old_page_count;       /* the base's, before */
    uint64_t last;                 /* generation; oldest - 1: only fills */
    uint64_t oldest;
    struct ramet_pos in_base; /* what is before it in the log was moved already,
                                 perhaps by somebody who died before the index
                                 was told */
    uint64_t first_fill, last_fill;
    struct ramet_pageset pages;  /* to be moved */
    struct ramet_pageset filled; /* of them, those whose fill was moved */
    struct ramet_past_job past;
    struct moved *batch; /* written, presence not yet */
    uint32_t batch_count;
    uint32_t batch_capacity;
    uint8_t *page;
};

/* All that follow need checkpoint and base lock. checkpoint_move.c: */
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_sync_base(struct checkpoint *c, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_move_pages(struct checkpoint *c, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_load_cut(struct checkpoint *c, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_resize_base(struct checkpoint *c, struct ramet_err *err);
/* checkpoint_publish.c: */
bool ramet_checkpoint_has_fills(const struct checkpoint *c);
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_carry_fills(struct checkpoint *c, struct ramet_err *err);
void ramet_checkpoint_publish_base(struct checkpoint *c);

#endif
