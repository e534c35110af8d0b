/*
 * checkpoint_move.c - pages go into the base, and it gets its length; by the
 * invariants of checkpoint.c.
 *
 * Most are the newest image of what is moved from the log, whatever was committed
 * since, or were fetched: those are read where they lie, neighbours at once. All
 * others are looked for as a reader would.
 */
#include "client/store/upkeep/checkpoint_impl.h"

#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/page/pageframe.h"
#include "client/store/page/placed.h"
#include "client/store/page/version.h"
#include "client/store/shared/base.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"

/* ---- a page -------------------------------------------------------------- */

static enum ramet_rc
move_zeros(struct checkpoint *c, uint32_t pgno, struct ramet_err *err)
{
    struct ramet_snapshot *const s = &c->state.fold.newest;
    enum ramet_rc rc;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (pgno == 1)
        memset(s->header, 0, RAMET_TRUE_HEADER_SIZE);
    rc = ramet_base_punch(c->replica, s->page_size, pgno, err);
    return rc == RAMET_OK
               ? ramet_checkpoint_note(c, pgno, RAMET_PRESENCE_ZERO, err)
               : rc;
}

static enum ramet_rc
note_moved(struct checkpoint *c, uint32_t pgno, struct ramet_err *err)
{
    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    return ramet_pageset_add(&c->filled, pgno) == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
}

/* It was moved already. */
static enum ramet_rc
leave_as_it_is(struct checkpoint *c, uint32_t pgno, struct ramet_err *err)
{
    uint64_t value;
    const enum ramet_rc rc =
        ramet_presence_read(c->replica, pgno, 1, &value, err);

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    return rc == RAMET_OK ? ramet_checkpoint_note(c, pgno, value, err) : rc;
}

/* As any reader of the checkpoint's snapshot finds it. */
static enum ramet_rc
move_page(struct checkpoint *c, uint32_t pgno, struct ramet_err *err)
{
    struct ramet_snapshot *const s = &c->state.fold.newest;
    struct ramet_page_version version;
    struct ramet_entry entry;
    uint32_t count = 1;
    uint8_t *page;
    enum ramet_rc rc = ramet_checkpoint_room(c, pgno, &count, &page, err);

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    /* Under the base lock, which a read would take to load the entry. */
    if (rc == RAMET_OK)
        rc = ramet_index_load_locked(c->session, pgno, &entry, err);
    if (rc == RAMET_OK)
        rc = ramet_read_version(c->session, s->tail, s->page_size, pgno, page,
                                &version, err);
    if (rc == RAMET_OK && version.kind == RAMET_ENTRY_FETCHED)
        rc = note_moved(c, pgno, err);
    if (rc != RAMET_OK)
        return rc;
    switch (version.kind) {
    case RAMET_ENTRY_FETCHED:
    case RAMET_ENTRY_IMAGE:
        return version.has_hash
                   ? ramet_checkpoint_write(c, 1, &version.hash, err)
                   : move_zeros(c, pgno, err);
    case RAMET_ENTRY_LOG_ZERO:
    case RAMET_ENTRY_ZERO:
        return move_zeros(c, pgno, err);
    case RAMET_ENTRY_REMOTE:
    case RAMET_ENTRY_ABSENT:
        return ramet_checkpoint_note(c, pgno, RAMET_PRESENCE_ABSENT, err);
    case RAMET_ENTRY_HELD:
    case RAMET_ENTRY_NONE:
        break;
    }
    return leave_as_it_is(c, pgno, err);
}

/* ---- neighbours ---------------------------------------------------------- */

/* Where the page's version lies, if it takes no search: the newest of what is moved
 * from the log, or a fetched page, of which no reader kept another. */
static struct ramet_entry
place_of(const struct checkpoint *c, uint32_t pgno)
{
    const struct ramet_entry newest = ramet_writeset_get(&c->newest, pgno);
    const struct ramet_entry entry = ramet_index_peek(c->replica, pgno);

    assert(pgno >= 1);
    if (ramet_entry_kind(newest) == RAMET_ENTRY_IMAGE) {
        assert(ramet_entry_is_from(entry, newest)); /* invariant (6) */
        return newest;
    }
    return ramet_entry_kind(entry) == RAMET_ENTRY_FETCHED &&
                   c->retain.pin_count == 0
               ? entry
               : RAMET_NO_ENTRY;
}

/* How many pages from `pgno` to `last` lie one behind the other. */
static uint32_t
count_neighbours(const struct checkpoint *c, uint32_t pgno, uint32_t last,
                 struct ramet_entry place)
{
    const enum ramet_entry_kind kind = ramet_entry_kind(place);
    const size_t stride =
        ramet_pageframe_stride(kind, c->state.fold.newest.page_size);
    uint32_t count = 1;

    assert(pgno <= last && !ramet_entry_is_none(place));
    while (count < RAMET_PAGEFRAME_RUN && count <= last - pgno &&
           ramet_entry_same(
               place_of(c, pgno + count),
               ramet_entry_of_pos(kind, ramet_pos_add(ramet_entry_pos(place),
                                                      count * stride))))
        count++;
    return count;
}

/* Of a fetched page: it is the base's version, or that of a pull that is moved. */
static bool
is_of_base(const struct checkpoint *c, const struct ramet_pageframe *frame)
{
    assert(frame->is_right);
    return !ramet_entry_in_log(frame->head.replaced) ||
           ramet_pos_before(ramet_entry_pos(frame->head.replaced),
                            c->state.fold.newest.tail);
}

/* Those at `place`; *io_count is how many it were. Of the first that is none of
 * them move_page() tells what it is. */
static enum ramet_rc
move_neighbours(struct checkpoint *c, uint32_t pgno, uint32_t *io_count,
                struct ramet_entry place, struct ramet_err *err)
{
    const bool is_fetched = ramet_entry_kind(place) == RAMET_ENTRY_FETCHED;
    struct ramet_pageframe frames[RAMET_PAGEFRAME_RUN];
    uint64_t hashes[RAMET_PAGEFRAME_RUN];
    uint8_t *pages;
    uint32_t i = 0;
    enum ramet_rc rc = ramet_checkpoint_room(c, pgno, io_count, &pages, err);

    assert(*io_count >= 1 && *io_count <= RAMET_PAGEFRAME_RUN);
    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (rc == RAMET_OK)
        rc = ramet_pageframe_read_run(
            c->replica, ramet_entry_kind(place), ramet_entry_pos(place), pgno,
            io_count, c->state.fold.newest.page_size, pages, frames, err);
    for (; rc == RAMET_OK && i < *io_count; i++) {
        if (is_fetched && !is_of_base(c, &frames[i]))
            break;
        hashes[i] = frames[i].hash;
        if (is_fetched)
            rc = note_moved(c, pgno + i, err);
    }
    *io_count = i;
    return rc == RAMET_OK ? ramet_checkpoint_write(c, i, hashes, err) : rc;
}

static enum ramet_rc
move_run(struct checkpoint *c, struct ramet_run run, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(run.first >= 1 && run.first <= run.last);
    for (uint64_t p = run.first; rc == RAMET_OK && p <= run.last;) {
        const uint32_t pgno = (uint32_t)p;
        const struct ramet_entry place = place_of(c, pgno);
        const uint64_t placed = ramet_placed_value(
            c->replica, pgno, ramet_index_peek(c->replica, pgno));
        uint32_t count = 0;

        if (placed != 0) {
            count = 1;
            rc = ramet_checkpoint_note(c, pgno, placed, err);
        } else if (!ramet_entry_is_none(place)) {
            count = count_neighbours(c, pgno, run.last, place);
            rc = move_neighbours(c, pgno, &count, place, err);
        }
        if (rc == RAMET_OK && count == 0)
            rc = move_page(c, pgno, err);
        p += count == 0 ? 1 : count;
    }
    return rc;
}

enum ramet_rc
ramet_checkpoint_move_pages(struct checkpoint *c, struct ramet_err *err)
{
    const uint64_t count = ramet_pageset_count(&c->pages);
    enum ramet_rc rc;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (count == 0)
        return RAMET_OK;
    rc = ramet_checkpoint_write_begin(c, count, err);
    for (size_t i = 0; rc == RAMET_OK && i < c->pages.run_count; i++)
        rc = move_run(c, c->pages.runs[i], err);
    return rc == RAMET_OK ? ramet_checkpoint_write_end(c, err) : rc;
}

/* ---- the base's end ------------------------------------------------------ */

/* What presence says of the pages that the base is about to lose: the count of
 * absent pages counts them, until their entries are cleared. */
enum ramet_rc
ramet_checkpoint_load_cut(struct checkpoint *c, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;
    uint64_t at = c->state.fold.newest.page_count;
    struct ramet_entry entry;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (c->absent == 0)
        return RAMET_OK;
    while (rc == RAMET_OK && at < c->state.base_page_count) {
        rc = ramet_index_load_locked(c->session, (uint32_t)at + 1, &entry, err);
        at = (at / RAMET_LOAD_BLOCK + 1) * RAMET_LOAD_BLOCK;
    }
    return rc;
}

/* The base's length; and what presence says beyond what the base had, which a
 * checkpoint that died may have written, goes. Where the base is cut, presence is
 * cut by invariant (5) only after the state. */
enum ramet_rc
ramet_checkpoint_resize_base(struct checkpoint *c, struct ramet_err *err)
{
    const struct ramet_os *const os = c->replica->os;
    const struct ramet_snapshot *const s = &c->state.fold.newest;
    const uint64_t size = s->byte_length > RAMET_TRUE_HEADER_SIZE
                              ? s->byte_length
                              : RAMET_TRUE_HEADER_SIZE;
    enum ramet_rc rc = RAMET_OK;
    int result;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (s->page_size != c->state.base_page_size) {
        c->absent = 0;
        result =
            os->truncate(os->ctx, c->replica->base_fd, RAMET_TRUE_HEADER_SIZE);
        if (result < 0)
            return RAMET_FAIL_OS(err, result, "empty %s", c->replica->path);
    } else if (s->page_count < c->old_page_count) {
        uint64_t left = 0;

        if (c->absent != 0)
            rc = ramet_presence_count_absent(c->replica, s->page_count, &left,
                                             err);
        c->absent = left;
    }
    if (rc == RAMET_OK && !c->defers_words)
        rc = ramet_presence_truncate(c->replica, c->old_page_count, err);
    if (rc != RAMET_OK)
        return rc;
    result = os->truncate(os->ctx, c->replica->base_fd, size);
    return result == 0
               ? RAMET_OK
               : RAMET_FAIL_OS(err, result, "resize %s", c->replica->path);
}
