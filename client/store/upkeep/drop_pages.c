/*
 * drop_pages.c - dropping pages of the base that the remote has: what eviction does
 * for room, and `ramet verify` with a page that rotted.
 *
 * A page that is absent is asked of the remote at its reader's LSN, and what
 * comes becomes everybody's page. So:
 *
 *   (1) a page is given up only if no local commit is in it, and every pin is at
 *       or past the newest record that set the LSN: at an older one it may have
 *       been local. The target keeps new pins there, and the write lock the LSN
 *   (2) the entry first, so that readers who are at it read again; then
 *       presence; and only when that is on disk the bytes
 *   (3) no reader of a directory that can't be written: it has no pin to be
 *       seen, and looks into presence by itself
 *   (4) no commit of a dead writer is in doubt: once it is published, readers of
 *       before go by the entries that it replaced, which say that a page is here
 */
#include "client/store/upkeep/drop_pages.h"

#include <assert.h>
#include <string.h>

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/log/publish.h"
#include "client/store/shared/base.h"
#include "client/store/shared/base_check.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/mark.h"
#include "client/store/shared/pins.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"

/* Page 1 stays, which all readers look at; a page that was cut off since, and
 * came back as zeros, is in no set. */
bool
ramet_is_page_clean(const struct ramet_replica_state *fold, uint32_t pgno)
{
    assert(pgno >= 1);
    return fold->newest.lsn != 0 && pgno != 1 &&
           pgno <= fold->newest.remote_page_count &&
           (fold->commits_later == 0 || pgno <= fold->least_page_count_later) &&
           (fold->commits_in_flight == 0 ||
            pgno <= fold->least_page_count_in_flight) &&
           !ramet_pageset_contains(&fold->later, pgno) &&
           !ramet_pageset_contains(&fold->in_flight, pgno);
}

bool
ramet_is_page_in_base(struct ramet_replica *replica, uint32_t pgno,
                      uint64_t value)
{
    const struct ramet_entry entry = ramet_index_peek(replica, pgno);

    assert(pgno >= 1);
    if (!ramet_entry_is_none(entry))
        return ramet_entry_kind(entry) == RAMET_ENTRY_HELD;
    /* Behind the base's end presence has what a dead checkpoint left. */
    return pgno <= atomic_load(&replica->head->header.checkpoint.page_count) &&
           ramet_presence_kind(value, replica->default_held) ==
               RAMET_ENTRY_HELD;
}

/* ---- beginning ----------------------------------------------------------- */

/* Invariant (1). */
static bool
are_pins_past_lsn(struct ramet_session *session)
{
    struct ramet_index_header *const header = &session->replica->head->header;
    const struct ramet_pos tail = ramet_pos_load(&header->log.lsn_tail);

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    ramet_pos_raise(&header->checkpoint.target, tail);
    atomic_thread_fence(memory_order_seq_cst);
    return !ramet_pos_before(ramet_index_least_pin(session, RAMET_NO_POS),
                             tail) &&
           (!session->is_pinned ||
            !ramet_pos_before(session->pin.snapshot.tail, tail));
}

static void
drop_locks(struct ramet_session *session)
{
    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    ramet_unlock(session, RAMET_LOCK_UNPINNED);
    ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
    ramet_write_unlock(session);
}

/* Write, checkpoint, unpinned, in the order of all; false: one can't be had. */
static bool
take_locks(struct ramet_session *session, uint64_t wait_ms)
{
    assert(!ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    if (session->is_reserved ||
        ramet_write_lock_internally(session, wait_ms, NULL) != RAMET_OK)
        return false;
    if (ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE, 0, "",
                   NULL) == RAMET_OK) {
        if (ramet_lock(session, RAMET_LOCK_UNPINNED, RAMET_LOCK_EXCLUSIVE, 0,
                       "", NULL) == RAMET_OK)
            return true; /* invariant (3) */
        ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
    }
    ramet_write_unlock(session);
    return false;
}

/* With all locks but that of the base: may it be? */
static enum ramet_rc
look_around(struct ramet_page_drop *l, bool *out_may, struct ramet_err *err)
{
    struct ramet_session *const session = l->session;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(l->session, RAMET_LOCK_WRITE) &&
           ramet_holds(l->session, RAMET_LOCK_UNPINNED));
    if (!ramet_is_recovered(session->replica))
        rc = ramet_recover_prepared(session, err);
    if (rc == RAMET_OK)
        rc = ramet_session_state(session, &l->fold, err);
    *out_may =
        rc == RAMET_OK && l->fold.newest.lsn != 0 && are_pins_past_lsn(session);
    return rc;
}

static void
drop_done(struct ramet_page_drop *l)
{
    assert(!ramet_holds(l->session, RAMET_LOCK_BASE));
    ramet_replica_state_done(&l->fold);
    ramet_state_file_done(&l->state);
    ramet_pageset_done(&l->gone);
}

enum ramet_rc
ramet_drop_begin(struct ramet_page_drop *l, struct ramet_session *session,
                 uint64_t wait_ms, bool *out_may, struct ramet_err *err)
{
    enum ramet_rc rc;

    memset(l, 0, sizeof(*l));
    l->session = session;
    *out_may = false;
    if (session->replica->is_readonly || !take_locks(session, wait_ms))
        return RAMET_OK;
    rc = ramet_is_in_doubt(session->replica) ? RAMET_OK /* (4) */
                                             : look_around(l, out_may, err);
    if (rc == RAMET_OK && *out_may)
        rc = ramet_base_lock(session, RAMET_LOCK_WAIT_MS, err);
    if (rc != RAMET_OK || !*out_may) {
        *out_may = false;
        drop_done(l);
        drop_locks(session);
        return rc;
    }
    assert(ramet_holds(session, RAMET_LOCK_BASE)); /* with all before it */
    l->entered = ramet_epoch_enter(session);
    return RAMET_OK;
}

/* ---- pages --------------------------------------------------------------- */

/* Before the first page: the base, presence and state are about to change. */
static enum ramet_rc
open_base(struct ramet_page_drop *l, struct ramet_err *err)
{
    struct ramet_replica *const replica = l->session->replica;
    enum ramet_rc rc;

    assert(ramet_holds(l->session, RAMET_LOCK_CHECKPOINT) &&
           ramet_holds(l->session, RAMET_LOCK_BASE));
    if (l->is_open)
        return RAMET_OK;
    rc = ramet_state_file_read(replica->os, replica->dir_fd, &l->state, err);
    if (rc == RAMET_OK) {
        atomic_store(&replica->head->header.base.mark_next, l->state.mark_next);
        l->was_at_rest = ramet_base_is_at_rest(replica);
        rc = l->is_mending ? ramet_base_begin_mending(l->session, err)
                           : ramet_base_begin(l->session, err);
    }
    if (rc == RAMET_OK)
        rc = ramet_presence_begin(replica, l->state.base_page_count, &l->absent,
                                  err);
    l->is_open = rc == RAMET_OK;
    return rc;
}

/* The entry says absent from now on; false: it has moved on. A page whose word
 * in presence is damaged has none yet, and was counted as absent. */
static enum ramet_rc
mark_entry(struct ramet_page_drop *l, uint32_t pgno, uint64_t stamp,
           uint64_t value, bool *out_marked, struct ramet_err *err)
{
    struct ramet_replica *const replica = l->session->replica;
    const bool is_damaged = value == RAMET_PRESENCE_DAMAGED;
    struct ramet_entry entry = RAMET_NO_ENTRY;
    enum ramet_rc rc = open_base(l, err);

    assert(ramet_holds(l->session, RAMET_LOCK_BASE));
    *out_marked = false;
    if (rc == RAMET_OK)
        rc = ramet_index_reserve(replica, pgno, err);
    if (rc == RAMET_OK && !is_damaged)
        rc = ramet_index_load_locked(l->session, pgno, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    *out_marked = ramet_index_swap(
        replica, pgno, entry, ramet_entry_of_stamp(RAMET_ENTRY_ABSENT, stamp));
    if (*out_marked && is_damaged)
        ramet_index_uncount_absent(replica);
    return RAMET_OK;
}

enum ramet_rc
ramet_drop_pages(struct ramet_page_drop *l, uint32_t first, uint32_t count,
                 ramet_drop_wants *wants, void *ctx, struct ramet_err *err)
{
    struct ramet_replica *const replica = l->session->replica;
    const uint64_t stamp =
        atomic_fetch_add(&replica->head->header.base.stamp, 1) + 1;
    uint64_t values[RAMET_DROP_AT_ONCE];
    bool changed = false;
    enum ramet_rc rc = ramet_presence_read(replica, first, count, values, err);

    assert(first >= 1 && count >= 1);
    assert(ramet_holds(l->session, RAMET_LOCK_BASE));
    assert(count <= RAMET_DROP_AT_ONCE);
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++) {
        const uint32_t pgno = first + i;
        const bool was_missing =
            ramet_presence_is_missing(values[i], replica->default_held);
        bool marked;

        if (!ramet_is_page_clean(&l->fold, pgno) ||
            !wants(ctx, pgno, values[i]))
            continue;
        rc = mark_entry(l, pgno, stamp, values[i], &marked, err);
        if (rc != RAMET_OK || !marked)
            continue;
        values[i] = RAMET_PRESENCE_ABSENT;
        changed = true;
        l->absent += was_missing ? 0 : 1;
        if (ramet_pageset_add(&l->gone, pgno) != RAMET_OK)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a set");
    }
    return changed ? ramet_presence_write(replica, first, count, values,
                                          rc == RAMET_OK ? err : NULL)
                   : rc;
}

/* ---- the end ------------------------------------------------------------- */

static enum ramet_rc
punch_pages(struct ramet_page_drop *l, struct ramet_err *err)
{
    struct ramet_replica *const replica = l->session->replica;
    enum ramet_rc rc = RAMET_OK;

    assert(l->is_open); /* pages are gone only from a base that is marked */
    assert(ramet_holds(l->session, RAMET_LOCK_BASE));
    for (size_t i = 0; rc == RAMET_OK && i < l->gone.run_count; i++)
        for (uint64_t p = l->gone.runs[i].first;
             rc == RAMET_OK && p <= l->gone.runs[i].last; p++)
            rc = ramet_base_punch(replica, l->state.base_page_size, (uint32_t)p,
                                  err);
    return rc;
}

enum ramet_rc
ramet_drop_end(struct ramet_page_drop *l, enum ramet_rc rc,
               struct ramet_err *err)
{
    struct ramet_session *const session = l->session;
    struct ramet_replica *const replica = session->replica;

    assert(ramet_holds(l->session, RAMET_LOCK_BASE));
    if (rc == RAMET_OK && l->gone.run_count != 0) { /* invariant (2) */
        l->state.is_clean = false;
        rc = ramet_presence_sync(replica, &l->state, err);
        if (rc == RAMET_OK)
            rc = ramet_state_file_write(replica->os, replica->dir_fd, &l->state,
                                        err);
        if (rc == RAMET_OK)
            rc = punch_pages(l, err);
    }
    if (rc == RAMET_OK && l->is_open)
        ramet_presence_end(replica, l->absent);
    if (l->is_open && (l->was_at_rest || !l->is_mending))
        ramet_base_rest(replica);
    ramet_epoch_leave(session, l->entered);
    ramet_base_unlock(session);
    drop_done(l);
    drop_locks(session);
    return rc;
}
