/*
 * evict.c - clean pages beyond the cache limit go.
 */
#include <assert.h>

#include "client/store/exchange.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "client/store/upkeep/drop_pages.h"

struct eviction {
    struct ramet_replica *replica;
    uint64_t held;
    uint64_t keep; /* pages */
};

static bool
is_too_much(void *ctx, uint32_t pgno, uint64_t value)
{
    struct eviction *const e = ctx;

    assert(ramet_is_held(e->replica, RAMET_LOCK_BASE));
    if (e->held <= e->keep || !ramet_is_page_in_base(e->replica, pgno, value))
        return false;
    e->held--;
    return true;
}

static enum ramet_rc
evict_pages(struct eviction *e, struct ramet_page_drop *l,
            struct ramet_err *err)
{
    const uint64_t count =
        atomic_load(&e->replica->head->header.checkpoint.page_count);
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(l->session, RAMET_LOCK_BASE));
    for (uint64_t first = 1;
         rc == RAMET_OK && first <= count && e->held > e->keep;
         first += RAMET_DROP_AT_ONCE) {
        const uint64_t left = count - first + 1;

        rc = ramet_drop_pages(l, (uint32_t)first,
                              left < RAMET_DROP_AT_ONCE ? (uint32_t)left
                                                        : RAMET_DROP_AT_ONCE,
                              is_too_much, e, err);
    }
    return rc;
}

enum ramet_rc
ramet_session_evict(struct ramet_session *session, uint64_t limit_bytes,
                    struct ramet_err *err)
{
    struct eviction e = {.replica = session->replica};
    struct ramet_page_drop l;
    bool may;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    assert(session->lock_fd >= 0);
    if (rc == RAMET_OK) /* in the way is somebody: another time */
        rc = ramet_drop_begin(&l, session, 0, &may, err);
    if (rc != RAMET_OK || !may)
        return rc;
    e.held = l.fold.held_pages;
    e.keep = l.fold.newest.page_size == 0
                 ? UINT64_MAX
                 : limit_bytes / l.fold.newest.page_size;
    return ramet_drop_end(&l, evict_pages(&e, &l, err), err);
}
