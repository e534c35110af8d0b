/*
 * checkpoint.c - from the log and the fetch files into the base.
 *
 *   (1) log files are moved only when every pin is at or past their end, but
 *       for old ones, and the target keeps new pins there: nobody else needs
 *       the base's version any more of a page that they hold. What old pins
 *       see is kept before the first page is written (retained.c)
 *   (2) order: log synced, mark synced, pages, sync, presence, sync, state; only
 *       then is `oldest` raised, and only after that are files reused. A clean close
 *       that changes few words of presence has them in the state alone
 *   (3) until the state is replaced all can be done again from the log
 *   (4) what was fetched is in no log, and fetch files are not synced: before
 *       presence says that a fetched page 1 is held, its header, which is not in
 *       the base, is in the state on disk
 *   (5) what presence says of a page that the base is about to lose stays until
 *       the state is replaced: where it says zero no record says so again if the
 *       file grows. Only a change of page size, after which all pages are in the
 *       log, empties it before
 *   (6) the index has had each frame of the log, in order: what is the newest image
 *       of a page there, however often it was cut off, is in it, or something later
 */
#include "client/store/upkeep/checkpoint.h"

#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/log/log_sync.h"
#include "client/store/log/logscan.h"
#include "client/store/log/publish.h"
#include "client/store/log/recent.h"
#include "client/store/page/fetched.h"
#include "client/store/page/placed.h"
#include "client/store/page/retained.h"
#include "client/store/shared/base.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/mark.h"
#include "client/store/shared/pins.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/upkeep/checkpoint_due.h"
#include "client/store/upkeep/checkpoint_impl.h"
#include "client/store/upkeep/clean_base.h"
#include "client/store/upkeep/log_files.h"
#include "client/store/upkeep/retain.h"
#include "core/alloc.h"

static_assert(RAMET_OLD_AFTER < RAMET_CLOSED_ENOUGH, "it moves something");

/* ---- what is to be moved ------------------------------------------------- */

struct look {
    struct checkpoint *c;
    const struct ramet_scan *scan;
};

/* Where a page was written last. A full disk may have no room for so many: then
 * nothing is known of any, and each is looked for. */
static void
note_newest(struct checkpoint *c, const struct ramet_logframe *frame)
{
    const struct ramet_os *const os = c->replica->os;

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    if (c->is_newest_unknown ||
        ramet_writeset_put(
            &c->newest, os, c->replica->dir_fd, c->session->slot, frame->pgno,
            ramet_entry_of_pos(ramet_entry_kind_of_logframe(frame->kind),
                               frame->pos),
            NULL) == RAMET_OK)
        return;
    ramet_writeset_done(&c->newest, os);
    c->is_newest_unknown = true;
}

static enum ramet_rc
look_at_frame(void *ctx, const struct ramet_logframe *frame,
              struct ramet_err *err)
{
    const struct look *const look = ctx;
    struct checkpoint *const c = look->c;

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    if (frame->kind == RAMET_LOGFRAME_DEAD)
        return RAMET_OK;
    if (ramet_pageset_add(&c->pages, frame->pgno) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
    if (frame->pgno <= look->scan->trailer.page_count) /* else: cut off again */
        note_newest(c, frame);
    return RAMET_OK;
}

/* Was the page absent in the base? Also by a pull that is in the base, though
 * its entry was not swapped: whoever moved it died before that. */
static bool
was_absent(const struct checkpoint *c, struct ramet_entry replaced)
{
    assert(!ramet_pos_is_none(c->in_base));
    return ramet_entry_kind(replaced) == RAMET_ENTRY_ABSENT ||
           (ramet_entry_kind(replaced) == RAMET_ENTRY_REMOTE &&
            ramet_pos_before(ramet_entry_pos(replaced), c->in_base));
}

/* A fetched page that was absent in the base. */
static enum ramet_rc
note_fetched(void *ctx, const struct ramet_fetched *fetched,
             struct ramet_err *err)
{
    struct checkpoint *const c = ctx;
    const struct ramet_entry entry =
        ramet_index_peek(c->replica, fetched->frame.pgno);

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    assert(fetched->frame.pgno >= 1);
    c->has_carries = c->has_carries || ramet_checkpoint_is_carried(c, fetched);
    if (!ramet_entry_same(entry, ramet_entry_of_pos(RAMET_ENTRY_FETCHED,
                                                    fetched->frame.pos)) ||
        !was_absent(c, fetched->frame.replaced) ||
        fetched->page_size != c->state.fold.newest.page_size)
        return RAMET_OK;
    return ramet_pageset_add(&c->pages, fetched->frame.pgno) == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
}

/* The last log file whose end no pin from `old` on is before. */
static void
choose_last(struct checkpoint *c, uint64_t write_file, struct ramet_pos old,
            struct ramet_pos newest)
{
    const struct ramet_session *const session = c->session;
    struct ramet_pos least = ramet_index_least_pin(c->session, old);

    assert(write_file >= 1);
    if (session->is_pinned &&
        !ramet_pos_before(session->pin.snapshot.tail, old) &&
        ramet_pos_before(session->pin.snapshot.tail, least))
        least = session->pin.snapshot.tail;
    c->last = write_file - 1;
    if (ramet_pos_before(least, newest) && ramet_pos_file(least) - 1 < c->last)
        c->last = ramet_pos_file(least) - 1;
    if (c->last < c->oldest)
        c->last = c->oldest - 1;
}

/* New pins keep to the end now. Which are before it, and are all of them old? */
static bool
look_at_pins(struct checkpoint *c, struct ramet_pos old)
{
    struct ramet_index_header *const header = &c->replica->head->header;
    struct ramet_retain_job *const retain = &c->retain;
    const struct ramet_pos end = c->state.fold.newest.tail;
    const struct ramet_pos kept_for = ramet_pos_load(&header->retained.tail);

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    ramet_pos_raise(&header->checkpoint.target, end);
    atomic_thread_fence(memory_order_seq_cst);
    retain->pin_count = ramet_index_pins(
        c->session, ramet_pos_before(kept_for, end) ? end : kept_for,
        retain->pins);
    for (unsigned i = 0; i < retain->pin_count; i++)
        if (ramet_pos_before(retain->pins[i], end) &&
            !ramet_pos_before(retain->pins[i], old))
            return false;
    return true;
}

/* Which log files may go; by invariant (1). */
static enum ramet_rc
choose_log_files(struct checkpoint *c, bool *out_go, struct ramet_err *err)
{
    const uint64_t write_file =
        ramet_pos_file(ramet_pos_load(&c->replica->head->header.log.write_pos));
    const struct ramet_pos old =
        write_file < RAMET_OLD_AFTER
            ? RAMET_NO_POS
            : ramet_pos_make(write_file - RAMET_OLD_AFTER + 1, 0);
    struct ramet_published newest;
    struct ramet_scan scan;
    struct look look = {c, &scan};
    struct ramet_pos until;
    enum ramet_rc rc;

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    ramet_index_newest(c->replica, &newest);
    choose_last(c, write_file, old, newest.snapshot.tail);
    if (c->last < c->oldest)
        return RAMET_OK;
    until = ramet_pos_make(c->last + 1, 0);
    if (ramet_pos_before(newest.snapshot.tail, until))
        until = newest.snapshot.tail;
    ramet_scan_init(&scan, c->replica);
    scan.oldest = c->oldest;
    rc = ramet_scan_fold(&scan, &c->state.fold, until, look_at_frame, &look,
                         err);
    ramet_scan_done(&scan);
    if (rc == RAMET_OK)
        *out_go = look_at_pins(c, old);
    return rc;
}

/* ---- afterwards ---------------------------------------------------------- */

static void
remove_files(struct checkpoint *c)
{
    const struct ramet_os *const os = c->replica->os;
    char name[32];

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    if (c->session->is_closing)
        ramet_log_files_remove(c->session, c->oldest, c->last,
                               c->state.kept_log);
    else
        ramet_log_files_recycle(c->session, c->oldest, c->last);
    for (uint64_t f = c->first_fetched; f < c->state.oldest_fetched; f++) {
        ramet_frame_file_name(RAMET_FRAMES_FETCHED, f, name);
        os->unlink(os->ctx, c->replica->dir_fd, name, false);
    }
    ramet_frame_files_trim(c->replica);
    ramet_recent_forget(c->replica, ramet_pos_make(c->last + 1, 0));
}

/* ---- all of it ----------------------------------------------------------- */

/* Fetched pages that a dead checkpoint moved are left behind until the end. */
static bool
is_nothing_to_do(const struct checkpoint *c)
{
    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    return c->last < c->oldest && c->pages.run_count == 0 &&
           !(c->session->is_closing && ramet_checkpoint_has_fetched(c));
}

/* For old pins: of what is moved, and of what the base loses at its end. */
static enum ramet_rc
retain_versions(struct checkpoint *c, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &c->state.fold.newest;

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    if (c->retain.pin_count == 0)
        return RAMET_OK;
    if (s->page_count < c->old_page_count &&
        s->page_size == c->state.base_page_size &&
        ramet_pageset_add_run(
            &c->pages, (struct ramet_run){s->page_count + 1,
                                          c->old_page_count}) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
    c->retain.session = c->session;
    c->retain.end = s->tail;
    c->retain.page_size = s->page_size;
    c->retain.page_count = s->page_count;
    c->retain.base_page_size = c->state.base_page_size;
    c->retain.page = c->page;
    return ramet_retain(&c->retain, &c->pages, err);
}

/* All is in the base, and nobody is here to write more. */
static bool
becomes_clean(const struct checkpoint *c)
{
    const struct ramet_index_header *const header = &c->replica->head->header;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    return c->session->is_closing && c->absent == 0 &&
           ramet_pos_same(ramet_pos_load(&header->log.write_pos),
                          ramet_pos_first(c->last + 1)) &&
           ramet_pos_same(ramet_pos_load(&header->fetched.pos),
                          ramet_pos_first(c->state.oldest_fetched));
}

/* Of what the base has now. */
static enum ramet_rc
write_state(struct checkpoint *c, struct ramet_err *err)
{
    const struct ramet_os *const os = c->replica->os;
    const struct ramet_snapshot *const s = &c->state.fold.newest;
    const bool is_clean = becomes_clean(c);
    enum ramet_rc rc = ramet_checkpoint_end_words(c, is_clean, err);

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    c->state.is_clean = false;
    /* It never goes back: a pin may keep what a dead checkpoint has moved. */
    if (c->state.oldest_log < c->last + 1)
        c->state.oldest_log = c->last + 1;
    if (c->state.kept_log != c->state.oldest_log)
        c->state.kept_log = 0; /* it was begun, and is moved */
    c->state.base_page_count = s->page_count;
    c->state.base_page_size = s->page_size;
    if (rc == RAMET_OK && is_clean)
        rc = ramet_clean_describe(c->session, &c->state,
                                  c->last >= c->oldest ? c->last : 0, err);
    assert(c->state.oldest_log > c->last || c->state.is_clean); /* (2) */
    if (rc == RAMET_OK)
        rc = ramet_state_file_write(os, c->replica->dir_fd, &c->state, err);
    if (rc == RAMET_OK && s->page_count < c->old_page_count && /* (5) */
        !c->defers_words)
        rc = ramet_presence_truncate(c->replica, s->page_count, err);
    if (rc == RAMET_OK)
        ramet_checkpoint_publish_base(c);
    if (rc == RAMET_OK && is_clean)
        rc = ramet_clean_put_header_on(c->replica, &c->state, err);
    return rc;
}

/* With the base lock. */
static enum ramet_rc
write_base(struct checkpoint *c, struct ramet_err *err)
{
    struct ramet_replica *const replica = c->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const struct ramet_snapshot *const s = &c->state.fold.newest;
    struct ramet_pos end;
    enum ramet_rc rc;

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT) &&
           ramet_holds(c->session, RAMET_LOCK_BASE));
    c->first_fetched = atomic_load(&header->fetched.oldest);
    c->last_fetched = ramet_pos_file(ramet_pos_load(&header->fetched.pos));
    rc = ramet_fetched_walk(replica, c->first_fetched, c->last_fetched,
                            note_fetched, c, &end, err);
    if (rc == RAMET_OK)
        rc = ramet_placed_list(replica, s->page_size, &c->pages, err);
    if (s->page_size != c->state.base_page_size)
        c->old_page_count = 0; /* page numbers mean other bytes now */
    if (rc == RAMET_OK && !replica->default_held &&
        s->page_count > c->old_page_count &&
        ramet_pageset_add_run(&c->pages,
                              (struct ramet_run){c->old_page_count + 1,
                                                 s->page_count}) != RAMET_OK)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
    if (rc == RAMET_OK)
        rc = retain_versions(c, err);
    ramet_pageset_truncate(&c->pages, s->page_count);
    if (rc != RAMET_OK || is_nothing_to_do(c))
        return rc;
    rc = ramet_log_sync_before(c->session, c->last + 1, s->tail, err);
    /* As the state on disk has it, which was written though that failed. */
    atomic_store(&header->base.mark_next, c->state.mark_next);
    if (rc == RAMET_OK)
        rc = ramet_base_begin(c->session, err);
    /* A state that was written, though that was said to have failed, knows the
     * base's header better than the index does. */
    if (c->state.oldest_log == c->oldest)
        ramet_base_header_get(replica, c->state.fold.newest.header);
    if (s->page_count == 0)
        memset(c->state.fold.newest.header, 0, RAMET_TRUE_HEADER_SIZE);
    if (rc == RAMET_OK)
        rc = ramet_presence_begin(replica, c->old_page_count, &c->absent, err);
    if (rc == RAMET_OK)
        rc = ramet_checkpoint_begin_words(c, err);
    if (rc == RAMET_OK)
        rc = ramet_checkpoint_load_cut(c, err);
    if (rc == RAMET_OK)
        rc = ramet_checkpoint_resize_base(c, err);
    if (rc == RAMET_OK)
        rc = ramet_checkpoint_move_pages(c, err);
    if (rc == RAMET_OK && c->pages.run_count == 0) /* else it is synced */
        rc = ramet_checkpoint_sync_base(c, err);
    if (rc == RAMET_OK)
        rc = ramet_checkpoint_carry_fetched(c, err);
    if (rc == RAMET_OK)
        rc = ramet_base_leave(replica, &c->state, err);
    if (rc != RAMET_OK)
        return rc;
    return write_state(c, err);
}

/* With the checkpoint lock, and no unpinned reader. */
static enum ramet_rc
run_checkpoint(struct checkpoint *c, struct ramet_err *err)
{
    struct ramet_replica *const replica = c->replica;
    bool go = true;
    enum ramet_rc rc =
        ramet_state_file_read(replica->os, replica->dir_fd, &c->state, err);

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT) &&
           ramet_holds(c->session, RAMET_LOCK_UNPINNED));
    if (rc != RAMET_OK)
        return rc;
    c->oldest = atomic_load(&replica->head->header.checkpoint.oldest);
    c->in_base = c->state.fold.newest.tail;
    c->old_page_count = c->state.base_page_count;
    c->page = ramet_alloc(RAMET_PAGE_SIZE_MAX);
    if (c->page == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
    rc = choose_log_files(c, &go, err);
    if (rc == RAMET_OK && go) {
        rc = ramet_base_lock(c->session, RAMET_LOCK_WAIT_MS, err);
        if (rc == RAMET_OK) {
            rc = write_base(c, err);
            ramet_base_unlock(c->session);
        }
        if (rc == RAMET_OK)
            remove_files(c);
    }
    ramet_retained_trim(c->session);
    if (!c->session->is_closing)
        ramet_log_file_make_ahead(c->session);
    return rc;
}

/* Close the current log file, if there is anything in it. */
static enum ramet_rc
close_file(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const bool was_reserved = session->is_reserved;
    struct ramet_pos pos;
    enum ramet_rc rc = RAMET_OK;

    assert(was_reserved == ramet_holds(session, RAMET_LOCK_WRITE));
    if (was_reserved && session->has_record)
        return RAMET_OK; /* in the midst of a transaction */
    if (!was_reserved &&
        ramet_write_lock_internally(session, 0, NULL) != RAMET_OK)
        return RAMET_OK; /* a writer is at work: without it then */
    if (!ramet_is_recovered(replica))
        rc = ramet_recover_prepared(session, err);
    pos = ramet_pos_load(&header->log.write_pos);
    if (rc == RAMET_OK && !ramet_is_in_doubt(replica) &&
        (ramet_pos_offset(pos) > RAMET_FRAME_FILE_HEADER_SIZE ||
         ramet_pos_before(pos, ramet_pos_load(&header->log.used))))
        ramet_pos_store(&header->log.write_pos,
                        ramet_pos_first(ramet_pos_file(pos) + 1));
    if (!was_reserved)
        ramet_write_unlock(session);
    return rc;
}

enum ramet_rc
ramet_checkpoint_run(struct ramet_session *session, bool all, uint64_t wait_ms,
                     struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct checkpoint *c;
    bool entered;
    enum ramet_rc rc = RAMET_OK;

    assert(!ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    if (replica->is_readonly)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s can't be written",
                          replica->path);
    if (all)
        rc = close_file(session, err);
    if (rc != RAMET_OK ||
        ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE,
                   wait_ms, "", NULL) != RAMET_OK)
        return rc;
    if (ramet_lock(session, RAMET_LOCK_UNPINNED, RAMET_LOCK_EXCLUSIVE, 0, "",
                   NULL) != RAMET_OK) {
        ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
        return RAMET_OK;
    }
    c = ramet_calloc(1, sizeof(*c));
    if (c == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
        goto done;
    }
    c->session = session;
    c->replica = replica;
    ramet_writeset_init(&c->newest);
    entered = ramet_epoch_enter(session);
    rc = run_checkpoint(c, err);
    ramet_epoch_leave(session, entered);
    if (c->retain.pin_count != 0)
        ramet_frame_files_trim_retained(replica);
    ramet_state_file_done(&c->state);
    ramet_pageset_done(&c->pages);
    ramet_writeset_done(&c->newest, replica->os);
    ramet_pageset_done(&c->filled);
    ramet_free(c->run.bytes);
    ramet_free(c->batch);
    ramet_free(c->page);
    ramet_free(c);

done:
    ramet_unlock(session, RAMET_LOCK_UNPINNED);
    ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
    return rc;
}

enum ramet_rc
ramet_session_checkpoint(struct ramet_session *session, bool all,
                         struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_session_check_fork(session, err);

    assert(session->lock_fd >= 0);
    return rc == RAMET_OK ? ramet_checkpoint_run(session, all, 0, err) : rc;
}
