/*
 * care.c - keeping pages and letting go of them: checksums of held pages,
 * verification, eviction, and taking a base that somebody else edited.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "client/recover.h"
#include "client/registry.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define BLOCK 512u /* pages looked at under one hold of the base lock */

/* ---- checksums ----------------------------------------------------------- */

/* Is the page's newest version the base's? */
static bool
is_in_base(struct ramet_replica *replica, uint32_t pgno, uint64_t value)
{
    const uint64_t entry = ramet_index_peek(replica, pgno);

    return entry == 0 ? ramet_presence_kind(value, replica->default_held) ==
                            RAMET_ENTRY_HELD
                      : ramet_entry_kind(entry) == RAMET_ENTRY_HELD;
}

static enum ramet_rc
sum_block(struct ramet_session *session, uint32_t first, uint32_t count,
          uint32_t page_size, uint8_t *page, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    uint64_t values[BLOCK];
    uint64_t zeros;
    uint32_t hole_end = 0; /* index of the page behind the hole we are in */
    bool changed = false;
    enum ramet_rc rc = ramet_presence_read(replica, first, count, values, err);

    memset(page, 0, page_size);
    zeros = ramet_presence_of_hash(ramet_hash64(page, page_size));
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++) {
        if (values[i] > RAMET_PRESENCE_HELD ||
            !is_in_base(replica, first + i, values[i]))
            continue;
        if (hole_end <= i)
            hole_end =
                i + ramet_base_hole(replica, page_size, first + i, count - i);
        if (i >= hole_end)
            rc = ramet_base_read(replica, page_size, first + i, page, err);
        values[i] = i < hole_end
                        ? zeros
                        : ramet_presence_of_hash(ramet_hash64(page, page_size));
        changed = true;
    }
    return rc == RAMET_OK && changed
               ? ramet_presence_write(replica, first, count, values, err)
               : rc;
}

enum ramet_rc
ramet_session_sum(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_state_file *state = NULL;
    uint8_t *page = NULL;
    uint32_t count = 0;
    uint32_t page_size = 0;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK)
        return rc;
    if (replica->is_readonly)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s can't be written",
                          replica->path);
    state = ramet_calloc(1, sizeof(*state));
    page = ramet_alloc(RAMET_PAGE_SIZE_MAX);
    if (state == NULL || page == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for checksums");
    for (uint64_t first = 1; rc == RAMET_OK; first += BLOCK) {
        rc = ramet_base_lock(session, RAMET_LOCK_WAIT_MS, err);
        if (rc != RAMET_OK)
            break;
        if (first == 1) {
            rc =
                ramet_state_file_read(replica->os, replica->dir_fd, state, err);
            page_size = state->base_page_size;
        }
        count = (uint32_t)atomic_load(&header->base_page_count);
        if (rc == RAMET_OK && first <= count)
            rc = sum_block(session, (uint32_t)first,
                           count - first + 1 < BLOCK
                               ? (uint32_t)(count - first + 1)
                               : BLOCK,
                           page_size, page, err);
        if (rc == RAMET_OK && first + BLOCK > count)
            rc = ramet_presence_sync(replica, err);
        ramet_base_unlock(session);
        if (first + BLOCK > count)
            break;
    }
    if (state != NULL)
        ramet_state_file_done(state);
    ramet_free(state);
    ramet_free(page);
    return rc;
}

/* Can the page be had from the remote again as it is? Page 1 stays, which all
 * readers look at; a page that was cut off since, and came back as zeros, is
 * in no set. */
static bool
is_clean(const struct ramet_replica_state *fold, uint32_t pgno)
{
    return pgno != 1 && pgno <= fold->newest.remote_page_count &&
           (fold->commits_later == 0 || pgno <= fold->least_page_count_later) &&
           (fold->commits_in_flight == 0 ||
            pgno <= fold->least_page_count_in_flight) &&
           !ramet_pageset_contains(&fold->later, pgno) &&
           !ramet_pageset_contains(&fold->in_flight, pgno);
}

/* ---- eviction ------------------------------------------------------------ */

struct eviction {
    struct ramet_session *session;
    struct ramet_replica_state fold;
    struct ramet_state_file state;
    uint64_t held;
    uint64_t keep; /* pages */
};

/*
 * The entry first, so that readers who are at it read again; then presence;
 * and only when that is on disk the bytes.
 */
static enum ramet_rc
evict_block(struct eviction *e, uint32_t first, uint32_t count,
            struct ramet_pageset *gone, struct ramet_err *err)
{
    struct ramet_replica *const replica = e->session->replica;
    const uint64_t stamp =
        atomic_fetch_add(&replica->head->header.stamp, 1) + 1;
    uint64_t values[BLOCK];
    bool changed = false;
    enum ramet_rc rc = ramet_presence_read(replica, first, count, values, err);

    for (uint32_t i = 0; rc == RAMET_OK && i < count && e->held > e->keep;
         i++) {
        uint64_t entry;

        if (!is_clean(&e->fold, first + i) ||
            !is_in_base(replica, first + i, values[i]))
            continue;
        rc = ramet_index_reserve(replica, first + i, err);
        if (rc == RAMET_OK)
            rc = ramet_index_load_locked(e->session, first + i, &entry, err);
        if (rc != RAMET_OK ||
            !ramet_index_swap(replica, first + i, entry,
                              ramet_entry_make(RAMET_ENTRY_ABSENT, stamp)))
            continue;
        values[i] = RAMET_PRESENCE_ABSENT;
        changed = true;
        e->held--;
        e->state.base_absent++;
        if (ramet_pageset_add(gone, first + i) != RAMET_OK)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a set");
    }
    return changed ? ramet_presence_write(replica, first, count, values,
                                          rc == RAMET_OK ? err : NULL)
                   : rc;
}

static enum ramet_rc
punch_pages(struct eviction *e, const struct ramet_pageset *gone,
            struct ramet_err *err)
{
    struct ramet_replica *const replica = e->session->replica;
    enum ramet_rc rc = RAMET_OK;

    for (size_t i = 0; rc == RAMET_OK && i < gone->run_count; i++)
        for (uint64_t p = gone->runs[i].first;
             rc == RAMET_OK && p <= gone->runs[i].last; p++)
            rc = ramet_base_punch(replica, e->state.base_page_size, (uint32_t)p,
                                  err);
    return rc;
}

/* With write, checkpoint and base lock. */
static enum ramet_rc
evict_pages(struct eviction *e, struct ramet_err *err)
{
    struct ramet_replica *const replica = e->session->replica;
    struct ramet_pageset gone;
    enum ramet_rc rc = ramet_base_begin(e->session, err);

    ramet_pageset_init(&gone);
    if (rc == RAMET_OK)
        rc =
            ramet_state_file_read(replica->os, replica->dir_fd, &e->state, err);
    if (rc == RAMET_OK)
        rc = ramet_presence_begin(replica, e->state.base_page_count,
                                  &e->state.base_absent, err);
    for (uint64_t first = 1;
         rc == RAMET_OK && first <= e->state.base_page_count &&
         e->held > e->keep;
         first += BLOCK) {
        const uint64_t left = e->state.base_page_count - first + 1;

        rc = evict_block(e, (uint32_t)first,
                         left < BLOCK ? (uint32_t)left : BLOCK, &gone, err);
    }
    if (gone.run_count != 0) {
        if (rc == RAMET_OK)
            rc = ramet_presence_sync(replica, err);
        e->state.is_clean = false;
        if (rc == RAMET_OK)
            rc = ramet_state_file_write(replica->os, replica->dir_fd, &e->state,
                                        err);
        if (rc == RAMET_OK)
            rc = punch_pages(e, &gone, err);
    }
    if (rc == RAMET_OK)
        ramet_presence_end(replica, e->state.base_absent);
    ramet_pageset_done(&gone);
    return rc;
}

/* All that hold pins must see the LSN from which pages would be fetched again:
 * at an older one they may have been local. */
static bool
are_pins_past_lsn(struct ramet_session *session)
{
    struct ramet_index_header *const header = &session->replica->head->header;
    const uint64_t tail = atomic_load(&header->lsn_tail);

    ramet_index_raise(&header->target, tail);
    atomic_thread_fence(memory_order_seq_cst);
    return ramet_index_least_pin(session, 0) >= tail &&
           (!session->is_pinned || session->pin.snapshot.tail >= tail);
}

static enum ramet_rc
evict_locked(struct eviction *e, uint64_t limit_bytes, struct ramet_err *err)
{
    struct ramet_session *const session = e->session;
    const struct ramet_snapshot *s;
    bool entered;
    enum ramet_rc rc = ramet_session_state(session, &e->fold, err);

    if (rc != RAMET_OK)
        return rc;
    s = &e->fold.newest;
    e->held = e->fold.held_pages;
    e->keep = s->page_size == 0 ? UINT64_MAX : limit_bytes / s->page_size;
    if (s->lsn == 0 || e->held <= e->keep || !are_pins_past_lsn(session))
        return RAMET_OK;
    rc = ramet_base_lock(session, RAMET_LOCK_WAIT_MS, err);
    if (rc != RAMET_OK)
        return rc;
    entered = ramet_era_enter(session);
    rc = evict_pages(e, err);
    ramet_era_leave(session, entered);
    ramet_base_unlock(session);
    return rc;
}

enum ramet_rc
ramet_session_evict(struct ramet_session *session, uint64_t limit_bytes,
                    struct ramet_err *err)
{
    const struct ramet_os *const os = session->replica->os;
    const int fd = session->lock_fd;
    struct eviction *e;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK || session->replica->is_readonly || session->is_reserved)
        return rc;
    if (ramet_write_lock_briefly(session, 0, NULL) != RAMET_OK)
        return RAMET_OK; /* a writer is at work: another time */
    if (atomic_load(&session->replica->head->header.prepared) != 0)
        rc = ramet_settle(session, err);
    e = ramet_calloc(1, sizeof(*e));
    if (rc == RAMET_OK && e == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory to evict");
    if (rc == RAMET_OK &&
        ramet_lock_try(os, fd, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE, "",
                       NULL) == RAMET_OK) {
        if (ramet_lock_try(os, fd, RAMET_LOCK_UNLISTED, RAMET_LOCK_EXCLUSIVE,
                           "", NULL) == RAMET_OK) {
            e->session = session;
            rc = evict_locked(e, limit_bytes, err);
            ramet_replica_state_done(&e->fold);
            ramet_state_file_done(&e->state);
            ramet_lock_drop(os, fd, RAMET_LOCK_UNLISTED);
        }
        ramet_lock_drop(os, fd, RAMET_LOCK_CHECKPOINT);
    }
    ramet_free(e);
    ramet_write_unlock_briefly(session);
    return rc;
}

/* ---- verification -------------------------------------------------------- */

/* Mark a bad page of the base absent, if the remote has it. With checkpoint
 * and base lock. */
static enum ramet_rc
drop_bad_page(struct ramet_session *session, uint32_t pgno,
              const struct ramet_replica_state *fold, uint64_t *io_bad,
              struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const uint64_t absent = RAMET_PRESENCE_ABSENT;
    uint64_t count;
    uint64_t entry;
    enum ramet_rc rc;

    (*io_bad)++;
    if (replica->is_readonly || !is_clean(fold, pgno))
        return RAMET_OK;
    rc = ramet_base_begin(session, err);
    if (rc == RAMET_OK)
        rc = ramet_index_reserve(replica, pgno, err);
    if (rc == RAMET_OK)
        rc = ramet_index_load_locked(session, pgno, &entry, err);
    if (rc != RAMET_OK || ramet_entry_kind(entry) != RAMET_ENTRY_HELD)
        return rc;
    rc = ramet_presence_begin(
        replica, (uint32_t)atomic_load(&header->base_page_count), &count, err);
    if (rc != RAMET_OK ||
        !ramet_index_swap(
            replica, pgno, entry,
            ramet_entry_make(RAMET_ENTRY_ABSENT,
                             atomic_fetch_add(&header->stamp, 1) + 1)))
        return rc;
    rc = ramet_presence_write(replica, pgno, 1, &absent, err);
    if (rc == RAMET_OK)
        rc = ramet_presence_sync(replica, err);
    if (rc == RAMET_OK)
        ramet_presence_end(replica, count + 1);
    return rc;
}

static enum ramet_rc
verify_page(struct ramet_session *session, uint32_t pgno, uint8_t *page,
            const struct ramet_replica_state *fold, uint64_t *io_checked,
            uint64_t *io_bad, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    struct ramet_version version;
    uint64_t value;
    enum ramet_rc rc = ramet_read_version(session, s->tail, s->page_size, pgno,
                                          page, &version, err);

    if (rc == RAMET_ECORRUPT) {
        (*io_checked)++;
        (*io_bad)++;
        return RAMET_OK;
    }
    if (rc != RAMET_OK || version.kind == RAMET_ENTRY_ABSENT ||
        version.kind == RAMET_ENTRY_REMOTE)
        return rc;
    (*io_checked)++;
    if (version.kind != RAMET_ENTRY_HELD)
        return RAMET_OK;
    rc = ramet_base_lock(session, RAMET_LOCK_WAIT_MS, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_presence_read(session->replica, pgno, 1, &value, err);
    if (rc == RAMET_OK && value > RAMET_PRESENCE_ABSENT &&
        is_in_base(session->replica, pgno, value)) {
        rc = ramet_base_read(session->replica, s->page_size, pgno, page, err);
        if (rc == RAMET_OK &&
            ramet_presence_of_hash(ramet_hash64(page, s->page_size)) != value)
            rc = drop_bad_page(session, pgno, fold, io_bad, err);
    }
    ramet_base_unlock(session);
    return rc;
}

enum ramet_rc
ramet_session_verify(struct ramet_session *session, uint64_t *out_checked,
                     uint64_t *out_bad, struct ramet_err *err)
{
    const bool was_pinned = session->is_pinned;
    const struct ramet_os *const os = session->replica->os;
    const bool repairs = !session->replica->is_readonly;
    struct ramet_replica_state fold;
    uint8_t *page;
    uint64_t checked = 0;
    uint64_t bad = 0;
    enum ramet_rc rc = ramet_session_pin(session, err);

    if (rc != RAMET_OK)
        return rc;
    if (repairs)
        rc = ramet_lock_wait(os, session->lock_fd, RAMET_LOCK_CHECKPOINT,
                             RAMET_LOCK_EXCLUSIVE, RAMET_LOCK_WAIT_MS,
                             "a checkpoint is under way", err);
    if (rc != RAMET_OK) {
        if (!was_pinned)
            ramet_session_unpin(session);
        return rc;
    }
    memset(&fold, 0, sizeof(fold));
    page = ramet_alloc(RAMET_PAGE_SIZE_MAX);
    if (page == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a page");
    if (rc == RAMET_OK)
        rc = ramet_session_state(session, &fold, err);
    for (uint64_t p = 1;
         rc == RAMET_OK && p <= session->pin.snapshot.page_count; p++)
        rc =
            verify_page(session, (uint32_t)p, page, &fold, &checked, &bad, err);
    ramet_replica_state_done(&fold);
    ramet_free(page);
    if (repairs)
        ramet_lock_drop(os, session->lock_fd, RAMET_LOCK_CHECKPOINT);
    if (!was_pinned)
        ramet_session_unpin(session);
    if (rc == RAMET_OK) {
        *out_checked = checked;
        *out_bad = bad;
    }
    return rc;
}
