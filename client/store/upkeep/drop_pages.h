/*
 * drop_pages.h - dropping pages of the base that the remote has.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_DROP_PAGES_H
#define RAMET_CLIENT_STORE_UPKEEP_DROP_PAGES_H

#include "client/store/exchange.h"
#include "client/store/format/state.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"

struct ramet_page_drop {
    struct ramet_session *session;
    struct ramet_replica_state fold; /* of the newest snapshot */
    struct ramet_state_file state;   /* as it will be */
    struct ramet_pageset gone;
    bool is_mending;  /* what rotted, whatever became of the other pages */
    uint64_t absent;  /* pages of the base, as it will be */
    bool was_at_rest; /* the base, before that */
    bool is_open;     /* the base has the mark, durably; `state` was read */
    bool entered;     /* an epoch */
};

/* Can the page be had from the remote again as it is? */
bool ramet_is_page_clean(const struct ramet_replica_state *fold, uint32_t pgno);
/* Is the page's newest version the base's? `value` is from presence. */
bool ramet_is_page_in_base(struct ramet_replica *replica, uint32_t pgno,
                           uint64_t value);
/*
 * Take the locks and see whether pages may be given up now; false: a writer, a
 * checkpoint or a reader that may not see it is in the way, and nothing is
 * held. Waits for a writer up to `wait_ms`. True: to be ended.
 */
RAMET_NODISCARD enum ramet_rc
ramet_drop_begin(struct ramet_page_drop *l, struct ramet_session *session,
                 uint64_t wait_ms, bool *out_may, struct ramet_err *err);

/* Of these pages of the base, give up those that are clean and that `wants`
 * names; `value` is from presence. */
typedef bool ramet_drop_wants(void *ctx, uint32_t pgno, uint64_t value);

RAMET_NODISCARD enum ramet_rc
ramet_drop_pages(struct ramet_page_drop *l, uint32_t first, uint32_t count,
                 ramet_drop_wants *wants, void *ctx, struct ramet_err *err);

#define RAMET_DROP_AT_ONCE 512u /* pages */

/* Make it last, and give the locks back; `rc` is what came of it so far, and is
 * returned if it is an error. */
RAMET_NODISCARD enum ramet_rc
ramet_drop_end(struct ramet_page_drop *l, enum ramet_rc rc,
               struct ramet_err *err);

#endif
