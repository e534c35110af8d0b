/*
 * checkpoint.c - from the log and the fills into the base.
 *
 *   (1) generations are moved only when every pin is at or past their end, but
 *       for old ones, and the target keeps new pins there: nobody else needs
 *       the base's version any more of a page that they hold. What old pins
 *       see is kept before the first page is written (past.c)
 *   (2) order: log synced, mark synced, pages, sync, presence, sync, state; only
 *       then is `oldest` raised, and only after that are files reused
 *   (3) until the state is replaced all can be done again from the log
 */
#include "client/store/upkeep/checkpoint.h"

#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/logfile.h"
#include "client/store/format/state.h"
#include "client/store/log/log_sync.h"
#include "client/store/log/logscan.h"
#include "client/store/log/settle.h"
#include "client/store/page/fill.h"
#include "client/store/page/past.h"
#include "client/store/page/version.h"
#include "client/store/shared/base.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/gens.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/mark.h"
#include "client/store/shared/pins.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "client/store/upkeep/clean_base.h"
#include "client/store/upkeep/keep_past.h"
#include "client/store/upkeep/log_files.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define OLD_AFTER 6u /* generations: pins so far back are passed */
#define BATCH 16384u /* pages written to the base between two syncs */

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
    uint64_t first_fill, last_fill;
    struct ramet_pageset pages;  /* to be moved */
    struct ramet_pageset filled; /* of them, those whose fill was moved */
    struct ramet_past_job past;
    struct moved *batch; /* written, presence not yet */
    uint32_t batch_count;
    uint32_t batch_capacity;
    uint8_t *page;
};

/* ---- what is to be moved ------------------------------------------------- */

static enum ramet_rc
add_page(struct checkpoint *c, uint32_t pgno, struct ramet_err *err)
{
    return ramet_pageset_add(&c->pages, pgno) == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
}

static enum ramet_rc
note_frame(void *ctx, const struct ramet_logframe *frame, struct ramet_err *err)
{
    return frame->kind == RAMET_LOGFRAME_DEAD ? RAMET_OK
                                              : add_page(ctx, frame->pgno, err);
}

/* Was the page absent in the base? Also by a pull that is in the base, though
 * its entry was not swapped: whoever moved it died before that. */
static bool
was_absent(const struct checkpoint *c, struct ramet_entry replaced)
{
    return ramet_entry_kind(replaced) == RAMET_ENTRY_ABSENT ||
           (ramet_entry_kind(replaced) == RAMET_ENTRY_REMOTE &&
            ramet_pos_gen(ramet_entry_pos(replaced)) < c->state.oldest_gen);
}

/* A fetched page that was absent in the base. */
static enum ramet_rc
note_fill(void *ctx, const struct ramet_fill *fill, struct ramet_err *err)
{
    struct checkpoint *const c = ctx;
    const struct ramet_entry entry =
        ramet_index_peek(c->replica, fill->frame.pgno);

    if (!ramet_entry_same(
            entry, ramet_entry_of_pos(RAMET_ENTRY_FILL, fill->frame.pos)) ||
        !was_absent(c, fill->frame.replaced) ||
        fill->page_size != c->state.fold.newest.page_size)
        return RAMET_OK;
    return add_page(c, fill->frame.pgno, err);
}

/* The last generation whose end no pin from `old` on is before. */
static void
choose_last(struct checkpoint *c, uint64_t write_gen, struct ramet_pos old,
            struct ramet_pos newest)
{
    const struct ramet_session *const session = c->session;
    struct ramet_pos least = ramet_index_least_pin(c->session, old);

    if (session->is_pinned &&
        !ramet_pos_before(session->pin.snapshot.tail, old) &&
        ramet_pos_before(session->pin.snapshot.tail, least))
        least = session->pin.snapshot.tail;
    c->last = write_gen - 1;
    if (ramet_pos_before(least, newest) && ramet_pos_gen(least) - 1 < c->last)
        c->last = ramet_pos_gen(least) - 1;
    if (c->last < c->oldest)
        c->last = c->oldest - 1;
}

/* New pins keep to the end now. Which are before it, and are all of them old? */
static bool
look_at_pins(struct checkpoint *c, struct ramet_pos old)
{
    struct ramet_index_header *const header = &c->replica->head->header;
    struct ramet_past_job *const past = &c->past;
    const struct ramet_pos end = c->state.fold.newest.tail;
    const struct ramet_pos kept_for = ramet_pos_load(&header->past.tail);

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    ramet_pos_raise(&header->checkpoint.target, end);
    atomic_thread_fence(memory_order_seq_cst);
    past->pin_count = ramet_index_pins(
        c->session, ramet_pos_before(kept_for, end) ? end : kept_for,
        past->pins);
    for (unsigned i = 0; i < past->pin_count; i++)
        if (ramet_pos_before(past->pins[i], end) &&
            !ramet_pos_before(past->pins[i], old))
            return false;
    return true;
}

/* Which generations may go; by invariant (1). */
static enum ramet_rc
choose_generations(struct checkpoint *c, bool *out_go, struct ramet_err *err)
{
    const uint64_t write_gen =
        ramet_pos_gen(ramet_pos_load(&c->replica->head->header.log.write_pos));
    const struct ramet_pos old =
        write_gen < OLD_AFTER ? RAMET_NO_POS
                              : ramet_pos_make(write_gen - OLD_AFTER + 1, 0);
    struct ramet_published newest;
    struct ramet_scan scan;
    struct ramet_pos until;
    enum ramet_rc rc;

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    ramet_index_newest(c->replica, &newest);
    choose_last(c, write_gen, old, newest.snapshot.tail);
    if (c->last < c->oldest)
        return RAMET_OK;
    until = ramet_pos_make(c->last + 1, 0);
    if (ramet_pos_before(newest.snapshot.tail, until))
        until = newest.snapshot.tail;
    ramet_scan_init(&scan, c->replica);
    scan.oldest = c->oldest;
    rc = ramet_scan_fold(&scan, &c->state.fold, until, note_frame, c, err);
    ramet_scan_done(&scan);
    if (rc == RAMET_OK)
        *out_go = look_at_pins(c, old);
    return rc;
}

/* ---- moving -------------------------------------------------------------- */

/* The page in c->page. */
static enum ramet_rc
move_image(struct checkpoint *c, uint32_t pgno, uint64_t hash,
           uint64_t *out_value, struct ramet_err *err)
{
    struct ramet_snapshot *const s = &c->state.fold.newest;

    *out_value = pgno == 1 ? ramet_presence_sum(pgno, c->page, s->page_size)
                           : ramet_presence_of_hash(hash);
    if (pgno == 1)
        memcpy(s->header, c->page, RAMET_TRUE_HEADER_SIZE);
    return ramet_base_write(c->replica, s->page_size, pgno, c->page, err);
}

static enum ramet_rc
move_zeros(struct checkpoint *c, uint32_t pgno, uint64_t *out_value,
           struct ramet_err *err)
{
    struct ramet_snapshot *const s = &c->state.fold.newest;

    *out_value = RAMET_PRESENCE_ZERO;
    if (pgno == 1)
        memset(s->header, 0, RAMET_TRUE_HEADER_SIZE);
    return ramet_base_punch(c->replica, s->page_size, pgno, err);
}

static enum ramet_rc
move_page(struct checkpoint *c, uint32_t pgno, uint64_t *out_value,
          struct ramet_err *err)
{
    struct ramet_snapshot *const s = &c->state.fold.newest;
    struct ramet_version version;
    struct ramet_entry entry;
    enum ramet_rc rc;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    /* Under the base lock, which a read would take to load the entry. */
    rc = ramet_index_load_locked(c->session, pgno, &entry, err);
    if (rc == RAMET_OK)
        rc = ramet_read_version(c->session, s->tail, s->page_size, pgno,
                                c->page, &version, err);
    if (rc != RAMET_OK)
        return rc;
    switch (version.kind) {
    case RAMET_ENTRY_FILL:
        if (ramet_pageset_add(&c->filled, pgno) != RAMET_OK)
            return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
        return version.has_hash
                   ? move_image(c, pgno, version.hash, out_value, err)
                   : move_zeros(c, pgno, out_value, err);
    case RAMET_ENTRY_IMAGE:
        return move_image(c, pgno, version.hash, out_value, err);
    case RAMET_ENTRY_LOG_ZERO:
    case RAMET_ENTRY_ZERO:
        return move_zeros(c, pgno, out_value, err);
    case RAMET_ENTRY_REMOTE:
    case RAMET_ENTRY_ABSENT:
        *out_value = RAMET_PRESENCE_ABSENT;
        return RAMET_OK;
    case RAMET_ENTRY_HELD: /* was moved already */
    case RAMET_ENTRY_NONE:
        break;
    }
    return ramet_presence_read(c->replica, pgno, 1, out_value, err);
}

/* What the inode says lasts as well, but at the end: the clean close's sync is
 * yet to come. */
static enum ramet_rc
sync_base(struct checkpoint *c, struct ramet_err *err)
{
    const struct ramet_os *const os = c->replica->os;
    int result;

    if (c->session->is_closing)
        return ramet_base_datasync(c->replica, err);
    result = os->sync(os->ctx, c->replica->base_fd);
    return result == 0
               ? RAMET_OK
               : RAMET_FAIL_OS(err, result, "sync %s", c->replica->path);
}

/* One page more or less that is absent in the base. */
static enum ramet_rc
count_absent(struct checkpoint *c, const struct moved *moved,
             struct ramet_err *err)
{
    const bool held = c->replica->default_held;
    uint64_t before = RAMET_PRESENCE_ZERO;
    enum ramet_rc rc = RAMET_OK;

    if (c->state.base_absent != 0 && moved->pgno <= c->old_page_count)
        rc = ramet_presence_read(c->replica, moved->pgno, 1, &before, err);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_presence_is_missing(before, held))
        c->state.base_absent--;
    if (ramet_presence_is_missing(moved->value, held))
        c->state.base_absent++;
    return RAMET_OK;
}

static enum ramet_rc
flush_batch(struct checkpoint *c, struct ramet_err *err)
{
    uint64_t values[512];
    uint32_t count = 0;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (c->batch_count != 0)
        rc = sync_base(c, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < c->batch_count; i++) {
        const struct moved *const moved = &c->batch[i];
        const bool is_last = i + 1 == c->batch_count;

        rc = count_absent(c, moved, err);
        values[count++] = moved->value;
        if (rc == RAMET_OK &&
            (is_last || moved[1].pgno != moved->pgno + 1 || count == 512)) {
            rc = ramet_presence_write(c->replica, moved->pgno + 1 - count,
                                      count, values, err);
            count = 0;
        }
    }
    c->batch_count = 0;
    return rc;
}

static enum ramet_rc
move_pages(struct checkpoint *c, struct ramet_err *err)
{
    const uint64_t count = ramet_pageset_count(&c->pages);
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (count == 0)
        return RAMET_OK;
    c->batch_capacity = count < BATCH ? (uint32_t)count : BATCH;
    c->batch = ramet_alloc(c->batch_capacity * sizeof(*c->batch));
    if (c->batch == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
    for (size_t i = 0; rc == RAMET_OK && i < c->pages.run_count; i++) {
        const struct ramet_run run = c->pages.runs[i];

        for (uint64_t pgno = run.first; rc == RAMET_OK && pgno <= run.last;
             pgno++) {
            struct moved *const moved = &c->batch[c->batch_count++];

            moved->pgno = (uint32_t)pgno;
            rc = move_page(c, moved->pgno, &moved->value, err);
            if (rc == RAMET_OK && c->batch_count == c->batch_capacity)
                rc = flush_batch(c, err);
        }
    }
    return rc == RAMET_OK ? flush_batch(c, err) : rc;
}

/* What presence says of the pages that the base is about to lose: the count of
 * absent pages counts them, until their entries are cleared. */
static enum ramet_rc
load_cut_entries(struct checkpoint *c, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;
    uint64_t at = c->state.fold.newest.page_count;
    struct ramet_entry entry;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (c->state.base_absent == 0)
        return RAMET_OK;
    while (rc == RAMET_OK && at < c->state.base_page_count) {
        rc = ramet_index_load_locked(c->session, (uint32_t)at + 1, &entry, err);
        at = (at / RAMET_LOAD_BLOCK + 1) * RAMET_LOAD_BLOCK;
    }
    return rc;
}

/* The base's length, and presence beyond it. */
static enum ramet_rc
resize_base(struct checkpoint *c, struct ramet_err *err)
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
        c->state.base_absent = 0;
        result =
            os->truncate(os->ctx, c->replica->base_fd, RAMET_TRUE_HEADER_SIZE);
        if (result < 0)
            return RAMET_FAIL_OS(err, result, "empty %s", c->replica->path);
    } else if (s->page_count < c->old_page_count) {
        uint64_t left = 0;

        if (c->state.base_absent != 0)
            rc = ramet_presence_count_absent(c->replica, s->page_count, &left,
                                             err);
        c->state.base_absent = left;
        c->old_page_count = s->page_count;
    }
    /* A checkpoint that died may have written past it. */
    if (rc == RAMET_OK)
        rc = ramet_presence_truncate(c->replica, c->old_page_count, err);
    if (rc != RAMET_OK)
        return rc;
    result = os->truncate(os->ctx, c->replica->base_fd, size);
    return result == 0
               ? RAMET_OK
               : RAMET_FAIL_OS(err, result, "resize %s", c->replica->path);
}

/* ---- afterwards ---------------------------------------------------------- */

/* Fills that replaced a pull which is still in the log go on to a new file. */
static enum ramet_rc
carry_fill(void *ctx, const struct ramet_fill *fill, struct ramet_err *err)
{
    struct checkpoint *const c = ctx;
    const struct ramet_entry entry =
        ramet_entry_of_pos(RAMET_ENTRY_FILL, fill->frame.pos);

    if (!ramet_entry_same(ramet_index_peek(c->replica, fill->frame.pgno),
                          entry) ||
        !ramet_entry_in_log(fill->frame.replaced) ||
        ramet_pos_gen(ramet_entry_pos(fill->frame.replaced)) <= c->last)
        return RAMET_OK;
    return ramet_fill_append(c->replica, fill->frame.pgno, entry,
                             fill->frame.replaced, &fill->at, fill->page_size,
                             fill->page, err);
}

static bool
has_fills(const struct checkpoint *c)
{
    return c->first_fill != c->last_fill ||
           ramet_pos_offset(ramet_pos_load(
               &c->replica->head->header.fill.pos)) != RAMET_GEN_HEADER_SIZE;
}

static enum ramet_rc
carry_fills(struct checkpoint *c, struct ramet_err *err)
{
    struct ramet_index_header *const header = &c->replica->head->header;
    struct ramet_pos end;
    enum ramet_rc rc;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (!has_fills(c))
        return RAMET_OK; /* nothing was fetched */
    ramet_pos_store(&header->fill.pos, ramet_pos_first(c->last_fill + 1));
    c->state.oldest_fill = c->last_fill + 1;
    rc = ramet_fill_walk(c->replica, c->first_fill, c->last_fill, carry_fill, c,
                         &end, err);
    ramet_fill_was_seen(c->replica);
    return rc;
}

/* Entries that name what is in the base now. */
static void
swap_entries(struct checkpoint *c)
{
    struct ramet_replica *const replica = c->replica;
    const uint64_t stamp =
        atomic_fetch_add(&replica->head->header.base.stamp, 1) + 1;
    const struct ramet_pos end = ramet_pos_make(c->last + 1, 0);

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    for (size_t i = 0; i < c->pages.run_count; i++) {
        const struct ramet_run run = c->pages.runs[i];

        for (uint64_t p = run.first; p <= run.last; p++) {
            const uint32_t pgno = (uint32_t)p;
            const struct ramet_entry entry = ramet_index_peek(replica, pgno);
            const enum ramet_entry_kind kind = ramet_entry_kind(entry);
            enum ramet_entry_kind now = RAMET_ENTRY_HELD;

            if (kind == RAMET_ENTRY_FILL) {
                if (ramet_pos_gen(ramet_entry_pos(entry)) > c->last_fill ||
                    !ramet_pageset_contains(&c->filled, pgno))
                    continue;
            } else if (!ramet_entry_in_log(entry) ||
                       !ramet_pos_before(ramet_entry_pos(entry), end)) {
                continue;
            } else if (kind == RAMET_ENTRY_LOG_ZERO) {
                now = RAMET_ENTRY_ZERO;
            } else if (kind == RAMET_ENTRY_REMOTE) {
                now = RAMET_ENTRY_ABSENT;
            }
            ramet_index_swap(replica, pgno, entry,
                             ramet_entry_of_stamp(now, stamp));
        }
    }
}

/* What is past the end now counts no more, for whoever counts absent pages. If
 * the file has grown again since, those pages have frames in later records. */
static void
clear_cut_entries(struct checkpoint *c)
{
    struct ramet_replica *const replica = c->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const uint64_t high = atomic_load(&header->log.high_water);
    const uint64_t stamp = atomic_fetch_add(&header->base.stamp, 1) + 1;
    const struct ramet_pos end = ramet_pos_make(c->last + 1, 0);

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    for (uint64_t p = (uint64_t)c->state.base_page_count + 1; p <= high; p++) {
        const struct ramet_entry entry = ramet_index_peek(replica, (uint32_t)p);
        const enum ramet_entry_kind kind = ramet_entry_kind(entry);

        if (kind != RAMET_ENTRY_NONE && kind != RAMET_ENTRY_ZERO &&
            !(ramet_entry_in_log(entry) &&
              !ramet_pos_before(ramet_entry_pos(entry), end)) &&
            !(kind == RAMET_ENTRY_FILL &&
              ramet_pos_gen(ramet_entry_pos(entry)) > c->last_fill))
            ramet_index_swap(replica, (uint32_t)p, entry,
                             ramet_entry_of_stamp(RAMET_ENTRY_ZERO, stamp));
    }
}

static void
publish_base(struct checkpoint *c)
{
    struct ramet_index_header *const header = &c->replica->head->header;

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT) &&
           ramet_holds(c->session, RAMET_LOCK_BASE));
    ramet_base_header_set(c->replica, c->state.fold.newest.header);
    atomic_store(&header->base.mark_next, c->state.mark_next);
    ramet_base_rest(c->replica);
    ramet_presence_end(c->replica, c->state.base_absent);
    atomic_store(&header->checkpoint.page_count, c->state.base_page_count);
    atomic_store(&header->checkpoint.page_size, c->state.base_page_size);
    atomic_store(&header->checkpoint.oldest, c->last + 1);
    swap_entries(c);
    clear_cut_entries(c);
    atomic_store(&header->fill.oldest, c->state.oldest_fill);
}

static void
remove_files(struct checkpoint *c)
{
    const struct ramet_os *const os = c->replica->os;
    char name[32];

    ramet_log_files_remove(c->session, c->oldest, c->last, c->state.kept_gen);
    for (uint64_t f = c->first_fill; f < c->state.oldest_fill; f++) {
        ramet_gen_name(RAMET_GEN_FILL, f, name);
        os->unlink(os->ctx, c->replica->dir_fd, name, false);
    }
    ramet_gens_trim(c->replica);
}

/* ---- all of it ----------------------------------------------------------- */

/* Fills whose pages a dead checkpoint moved are left behind until the end. */
static bool
is_nothing_to_do(const struct checkpoint *c)
{
    return c->last < c->oldest && c->pages.run_count == 0 &&
           !(c->session->is_closing && has_fills(c));
}

/* For old pins: of what is moved, and of what the base loses at its end. */
static enum ramet_rc
keep_past(struct checkpoint *c, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &c->state.fold.newest;

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    if (c->past.pin_count == 0)
        return RAMET_OK;
    if (s->page_count < c->old_page_count &&
        s->page_size == c->state.base_page_size &&
        ramet_pageset_add_run(
            &c->pages, (struct ramet_run){s->page_count + 1,
                                          c->old_page_count}) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
    c->past.session = c->session;
    c->past.end = s->tail;
    c->past.page_size = s->page_size;
    c->past.page_count = s->page_count;
    c->past.base_page_size = c->state.base_page_size;
    c->past.page = c->page;
    return ramet_past_keep(&c->past, &c->pages, err);
}

/* All is in the base, and nobody is here to write more. */
static bool
becomes_clean(const struct checkpoint *c)
{
    const struct ramet_index_header *const header = &c->replica->head->header;

    return c->session->is_closing && c->state.base_absent == 0 &&
           ramet_pos_same(ramet_pos_load(&header->log.write_pos),
                          ramet_pos_first(c->last + 1)) &&
           ramet_pos_same(ramet_pos_load(&header->fill.pos),
                          ramet_pos_first(c->state.oldest_fill));
}

/* Of what the base has now. */
static enum ramet_rc
write_state(struct checkpoint *c, struct ramet_err *err)
{
    const struct ramet_os *const os = c->replica->os;
    const struct ramet_snapshot *const s = &c->state.fold.newest;
    const bool is_clean = becomes_clean(c);
    enum ramet_rc rc = RAMET_OK;

    c->state.is_clean = false;
    c->state.oldest_gen = c->last + 1;
    c->state.base_page_count = s->page_count;
    c->state.base_page_size = s->page_size;
    if (is_clean)
        rc = ramet_clean_describe(c->session, &c->state,
                                  c->last >= c->oldest ? c->last : 0, err);
    if (rc == RAMET_OK)
        rc = ramet_state_file_write(os, c->replica->dir_fd, &c->state, err);
    if (rc == RAMET_OK)
        publish_base(c);
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
    c->first_fill = atomic_load(&header->fill.oldest);
    c->last_fill = ramet_pos_gen(ramet_pos_load(&header->fill.pos));
    rc = ramet_fill_walk(replica, c->first_fill, c->last_fill, note_fill, c,
                         &end, err);
    if (s->page_size != c->state.base_page_size)
        c->old_page_count = 0; /* page numbers mean other bytes now */
    if (rc == RAMET_OK && !replica->default_held &&
        s->page_count > c->old_page_count &&
        ramet_pageset_add_run(&c->pages,
                              (struct ramet_run){c->old_page_count + 1,
                                                 s->page_count}) != RAMET_OK)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
    if (rc == RAMET_OK)
        rc = keep_past(c, err);
    ramet_pageset_truncate(&c->pages, s->page_count);
    if (rc != RAMET_OK || is_nothing_to_do(c))
        return rc;
    rc = ramet_log_sync_before(c->session, c->last + 1, err);
    /* As the state on disk has it, which was written though that failed. */
    atomic_store(&header->base.mark_next, c->state.mark_next);
    if (rc == RAMET_OK)
        rc = ramet_base_begin(c->session, err);
    /* A state that was written, though that was said to have failed, knows the
     * base's header better than the index does. */
    if (c->state.oldest_gen == c->oldest)
        ramet_base_header_get(replica, c->state.fold.newest.header);
    if (s->page_count == 0)
        memset(c->state.fold.newest.header, 0, RAMET_TRUE_HEADER_SIZE);
    if (rc == RAMET_OK)
        rc = ramet_presence_begin(replica, c->old_page_count,
                                  &c->state.base_absent, err);
    if (rc == RAMET_OK)
        rc = load_cut_entries(c, err);
    if (rc == RAMET_OK)
        rc = resize_base(c, err);
    if (rc == RAMET_OK)
        rc = move_pages(c, err);
    if (rc == RAMET_OK && c->pages.run_count == 0) /* else it is synced */
        rc = sync_base(c, err);
    if (rc == RAMET_OK)
        rc = ramet_presence_sync(replica, err);
    if (rc == RAMET_OK)
        rc = carry_fills(c, err);
    if (rc == RAMET_OK)
        rc = ramet_base_leave(replica, &c->state, err);
    if (rc != RAMET_OK)
        return rc;
    return write_state(c, err);
}

/* With the checkpoint lock, and no unlisted reader. */
static enum ramet_rc
run_checkpoint(struct checkpoint *c, struct ramet_err *err)
{
    struct ramet_replica *const replica = c->replica;
    bool go = true;
    enum ramet_rc rc =
        ramet_state_file_read(replica->os, replica->dir_fd, &c->state, err);

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT) &&
           ramet_holds(c->session, RAMET_LOCK_UNLISTED));
    if (rc != RAMET_OK)
        return rc;
    c->oldest = atomic_load(&replica->head->header.checkpoint.oldest);
    c->old_page_count = c->state.base_page_count;
    c->page = ramet_alloc(RAMET_PAGE_SIZE_MAX);
    if (c->page == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
    rc = choose_generations(c, &go, err);
    if (rc == RAMET_OK && go) {
        rc = ramet_base_lock(c->session, RAMET_LOCK_WAIT_MS, err);
        if (rc == RAMET_OK) {
            rc = write_base(c, err);
            ramet_base_unlock(c->session);
        }
        if (rc == RAMET_OK)
            remove_files(c);
    }
    ramet_past_trim(c->session);
    if (!c->session->is_closing)
        ramet_log_file_make_ahead(c->session, 0);
    return rc;
}

/* Close the current generation, if there is anything in it. */
static enum ramet_rc
close_gen(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const bool was_reserved = session->is_reserved;
    struct ramet_pos pos;
    enum ramet_rc rc = RAMET_OK;

    if (was_reserved && session->has_record)
        return RAMET_OK; /* in the midst of a transaction */
    if (!was_reserved && ramet_write_lock_briefly(session, 0, NULL) != RAMET_OK)
        return RAMET_OK; /* a writer is at work: without it then */
    if (!ramet_is_settled(replica))
        rc = ramet_settle(session, err);
    pos = ramet_pos_load(&header->log.write_pos);
    if (rc == RAMET_OK && !ramet_is_in_doubt(replica) &&
        ramet_pos_offset(pos) > RAMET_GEN_HEADER_SIZE)
        ramet_pos_store(&header->log.write_pos,
                        ramet_pos_first(ramet_pos_gen(pos) + 1));
    if (!was_reserved)
        ramet_write_unlock_briefly(session);
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

    if (replica->is_readonly)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s can't be written",
                          replica->path);
    if (all)
        rc = close_gen(session, err);
    if (rc != RAMET_OK ||
        ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE,
                   wait_ms, "", NULL) != RAMET_OK)
        return rc;
    if (ramet_lock(session, RAMET_LOCK_UNLISTED, RAMET_LOCK_EXCLUSIVE, 0, "",
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
    entered = ramet_era_enter(session);
    rc = run_checkpoint(c, err);
    ramet_era_leave(session, entered);
    if (c->past.pin_count != 0)
        ramet_gens_trim_past(replica);
    ramet_state_file_done(&c->state);
    ramet_pageset_done(&c->pages);
    ramet_pageset_done(&c->filled);
    ramet_free(c->batch);
    ramet_free(c->page);
    ramet_free(c);

done:
    ramet_unlock(session, RAMET_LOCK_UNLISTED);
    ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
    return rc;
}

enum ramet_rc
ramet_session_checkpoint(struct ramet_session *session, bool all,
                         struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_session_check_fork(session, err);

    return rc == RAMET_OK ? ramet_checkpoint_run(session, all, 0, err) : rc;
}
