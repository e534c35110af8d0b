/*
 * checkpoint_impl.h - one checkpoint under way: what checkpoint.c (all of it),
 * checkpoint_move.c (which pages go into the base), checkpoint_write.c (how),
 * checkpoint_words.c (what enters presence) and
 * checkpoint_publish.c (the index learns of it) share.
 *
 * Layer: client, store/upkeep.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_CHECKPOINT_IMPL_H
#define RAMET_CLIENT_STORE_UPKEEP_CHECKPOINT_IMPL_H

#include "client/store/format/state.h"
#include "client/store/format/writeset.h"
#include "client/store/page/fetched.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/upkeep/retain.h"

struct moved {
    uint64_t value; /* of presence */
    uint32_t pgno;
};

struct checkpoint {
    struct ramet_session *session;
    struct ramet_replica *replica;
    struct ramet_state_file state; /* as it will be */
    uint32_t old_page_count;       /* the base's, before */
    uint64_t absent;               /* pages of the base, as it will be */
    bool defers_words;             /* of presence: the state has them alone */
    uint64_t last; /* log file; oldest - 1: only fetched pages */
    uint64_t oldest;
    struct ramet_pos in_base; /* what is before it in the log was moved already,
                                 perhaps by somebody who died before the index
                                 was told */
    uint64_t first_fetched, last_fetched;
    struct ramet_pageset pages;   /* to be moved */
    struct ramet_writeset newest; /* of the log: where each was written last */
    struct ramet_pageset
        filled; /* of them, those that were fetched and moved */
    struct ramet_retain_job retain;
    bool is_newest_unknown;
    bool has_carries; /* fetched pages that belong to what stays in the log */
    struct {
        uint8_t *bytes;
        uint32_t first;
        uint32_t count;
    } run;               /* neighbours, yet to be written */
    struct moved *batch; /* written, or in the run; presence not yet */
    uint32_t batch_count;
    uint32_t batch_capacity;
    uint8_t *page;
};

/* All that follow need checkpoint and base lock. checkpoint_write.c, for
 * `page_count` pages at most: */
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_write_begin(struct checkpoint *c, uint64_t page_count,
                             struct ramet_err *err);
/* Where pages from `pgno` on may be put, *io_count of them at most; what is put
 * there counts only once it is written. */
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_room(struct checkpoint *c, uint32_t pgno, uint32_t *io_count,
                      uint8_t **out, struct ramet_err *err);
/* The first `count` of those pages, with their hashes. */
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_write(struct checkpoint *c, uint32_t count,
                       const uint64_t *hashes, struct ramet_err *err);
/* A page of which presence is to be told, no more. */
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_note(struct checkpoint *c, uint32_t pgno, uint64_t value,
                      struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_write_end(struct checkpoint *c, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_sync_base(struct checkpoint *c, struct ramet_err *err);
/* checkpoint_words.c; `pages` and `absent` are known, and the base is as it was: */
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_begin_words(struct checkpoint *c, struct ramet_err *err);
/* The batch is on disk. */
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_tell(struct checkpoint *c, struct ramet_err *err);
/* What presence says lasts from here on, or with the state. */
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_end_words(struct checkpoint *c, bool is_clean,
                           struct ramet_err *err);
/* checkpoint_move.c: */
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_move_pages(struct checkpoint *c, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_load_cut(struct checkpoint *c, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_resize_base(struct checkpoint *c, struct ramet_err *err);
/* checkpoint_publish.c: */
bool ramet_checkpoint_has_fetched(const struct checkpoint *c);
/* It replaced a pull that stays in the log, and goes on to a new file. */
bool ramet_checkpoint_is_carried(const struct checkpoint *c,
                                 const struct ramet_fetched *fetched);
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_carry_fetched(struct checkpoint *c, struct ramet_err *err);
void ramet_checkpoint_publish_base(struct checkpoint *c);

#endif
