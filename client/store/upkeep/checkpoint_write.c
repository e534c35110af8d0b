/*
 * checkpoint_write.c - pages go into the base, neighbours at once; when they are on
 * disk they enter presence.
 *
 *   (1) presence learns of a page only after a sync of the base since it was
 *       written
 *   (2) a page that comes twice comes with the same bytes
 */
#include "client/store/upkeep/checkpoint_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/store/format/frames.h"
#include "client/store/shared/base.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "core/alloc.h"

#define BATCH 16384u          /* pages written to the base between two syncs */
#define RUN_SIZE (128u << 10) /* bytes written to the base at once */
#define WORDS 512u            /* of presence, written at once */
#define GAP_MAX 16u           /* words: rather written anew than passed over */

static_assert(RUN_SIZE >= RAMET_PAGE_SIZE_MAX, "a page fits");

/* What the inode says lasts as well, but at the end: the clean close's sync is
 * yet to come. */
enum ramet_rc
ramet_checkpoint_sync_base(struct checkpoint *c, struct ramet_err *err)
{
    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    return c->session->is_closing ? ramet_base_datasync(c->replica, err)
                                  : ramet_base_sync(c->replica, err);
}

/* ---- presence ------------------------------------------------------------ */

static int
compare_moved(const void *a, const void *b)
{
    const uint32_t x = ((const struct moved *)a)->pgno;
    const uint32_t y = ((const struct moved *)b)->pgno;

    return (x > y) - (x < y);
}

/* Ascending, and each page once, by invariant (2). */
static void
put_in_order(struct checkpoint *c)
{
    uint32_t kept = 0;

    assert(c->batch_count <= c->batch_capacity);
    for (uint32_t i = 1; i < c->batch_count; i++)
        if (c->batch[i].pgno <= c->batch[i - 1].pgno) {
            qsort(c->batch, c->batch_count, sizeof(*c->batch), compare_moved);
            break;
        }
    for (uint32_t i = 0; i < c->batch_count; i++)
        if (kept == 0 || c->batch[i].pgno != c->batch[kept - 1].pgno)
            c->batch[kept++] = c->batch[i];
    c->batch_count = kept;
}

/* Pages more or less that are absent in the base. `before` NULL: none was. */
static void
count_absent(struct checkpoint *c, uint32_t pgno, const uint64_t *before,
             uint64_t now)
{
    const bool held = c->replica->default_held;

    assert(pgno >= 1);
    if (pgno <= c->old_page_count && before != NULL &&
        ramet_presence_is_missing(*before, held))
        c->state.base_absent--;
    if (ramet_presence_is_missing(now, held))
        c->state.base_absent++;
}

/* Of pages that ascend, and of those between them what it said before. */
static enum ramet_rc
write_words(struct checkpoint *c, const struct moved *moved, uint32_t count,
            struct ramet_err *err)
{
    const uint32_t first = moved[0].pgno;
    const uint32_t span = moved[count - 1].pgno - first + 1;
    const bool had_absent = c->state.base_absent != 0;
    uint64_t values[WORDS] = {0};
    enum ramet_rc rc = RAMET_OK;

    assert(count >= 1 && moved[0].pgno <= moved[count - 1].pgno);
    assert(span <= WORDS);
    if (span != count || had_absent)
        rc = ramet_presence_read(c->replica, first, span, values, err);
    if (rc != RAMET_OK)
        return rc;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t *const value = &values[moved[i].pgno - first];

        count_absent(c, moved[i].pgno, had_absent ? value : NULL,
                     moved[i].value);
        *value = moved[i].value;
    }
    assert(ramet_holds(c->session, RAMET_LOCK_BASE)); /* and invariant (1) */
    return ramet_presence_write(c->replica, first, span, values, err);
}

/* By invariant (4) of checkpoint.c: the state as it was, but for the header of a
 * page that is not held in it. */
static enum ramet_rc
keep_header(struct checkpoint *c, struct ramet_err *err)
{
    const struct ramet_os *const os = c->replica->os;
    struct ramet_state_file before;
    enum ramet_rc rc =
        ramet_state_file_read(os, c->replica->dir_fd, &before, err);

    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT));
    if (rc != RAMET_OK)
        return rc;
    memcpy(before.fold.newest.header, c->state.fold.newest.header,
           RAMET_TRUE_HEADER_SIZE);
    rc = ramet_state_file_write(os, c->replica->dir_fd, &before, err);
    ramet_state_file_done(&before);
    return rc;
}

static enum ramet_rc
tell_presence(struct checkpoint *c, struct ramet_err *err)
{
    const struct moved *const moved = c->batch;
    enum ramet_rc rc = RAMET_OK;
    uint32_t from = 0;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    put_in_order(c);
    if (c->batch_count != 0 && moved[0].pgno == 1 &&
        ramet_pageset_contains(&c->filled, 1))
        rc = keep_header(c, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < c->batch_count; i++)
        if (i + 1 == c->batch_count ||
            moved[i + 1].pgno - moved[i].pgno > GAP_MAX ||
            moved[i + 1].pgno - moved[from].pgno >= WORDS) {
            rc = write_words(c, moved + from, i + 1 - from, err);
            from = i + 1;
        }
    c->batch_count = 0;
    return rc;
}

/* ---- the base ------------------------------------------------------------ */

static enum ramet_rc
write_run(struct checkpoint *c, struct ramet_err *err)
{
    const uint32_t count = c->run.count;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    c->run.count = 0;
    return count == 0
               ? RAMET_OK
               : ramet_base_write(c->replica, c->state.fold.newest.page_size,
                                  c->run.first, count, c->run.bytes, err);
}

enum ramet_rc
ramet_checkpoint_write_begin(struct checkpoint *c, uint64_t page_count,
                             struct ramet_err *err)
{
    assert(ramet_holds(c->session, RAMET_LOCK_BASE) && page_count >= 1);
    assert(c->batch == NULL && c->run.bytes == NULL);
    c->batch_capacity = page_count < BATCH ? (uint32_t)page_count : BATCH;
    c->batch = ramet_alloc(c->batch_capacity * sizeof(*c->batch));
    c->run.bytes = ramet_alloc(RUN_SIZE);
    return c->batch != NULL && c->run.bytes != NULL
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a checkpoint");
}

enum ramet_rc
ramet_checkpoint_write_end(struct checkpoint *c, struct ramet_err *err)
{
    enum ramet_rc rc = write_run(c, err);

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (rc == RAMET_OK && c->batch_count != 0)
        rc = ramet_checkpoint_sync_base(c, err); /* invariant (1) */
    return rc == RAMET_OK ? tell_presence(c, err) : rc;
}

enum ramet_rc
ramet_checkpoint_note(struct checkpoint *c, uint32_t pgno, uint64_t value,
                      struct ramet_err *err)
{
    assert(c->batch_count < c->batch_capacity && pgno >= 1);
    c->batch[c->batch_count++] = (struct moved){value, pgno};
    return c->batch_count < c->batch_capacity
               ? RAMET_OK
               : ramet_checkpoint_write_end(c, err);
}

enum ramet_rc
ramet_checkpoint_room(struct checkpoint *c, uint32_t pgno, uint32_t *io_count,
                      uint8_t **out, struct ramet_err *err)
{
    const uint32_t fit = RUN_SIZE / c->state.fold.newest.page_size;

    assert(*io_count >= 1 && pgno >= 1);
    if (c->run.count == fit || pgno != c->run.first + c->run.count) {
        const enum ramet_rc rc = write_run(c, err);

        if (rc != RAMET_OK)
            return rc;
        c->run.first = pgno;
    }
    if (*io_count > fit - c->run.count)
        *io_count = fit - c->run.count;
    *out = c->run.bytes + (size_t)c->run.count * c->state.fold.newest.page_size;
    return RAMET_OK;
}

enum ramet_rc
ramet_checkpoint_write(struct checkpoint *c, uint32_t count,
                       const uint64_t *hashes, struct ramet_err *err)
{
    const uint32_t page_size = c->state.fold.newest.page_size;
    const uint32_t first = c->run.first + c->run.count;
    const uint8_t *const pages =
        c->run.bytes + (size_t)c->run.count * page_size;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    assert(c->run.count + count <= RUN_SIZE / page_size);
    c->run.count += count; /* first: telling of them may write them */
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++) {
        uint64_t value = ramet_presence_of_hash(hashes[i]);

        if (first + i == 1) {
            value = ramet_presence_sum(1, pages, page_size);
            memcpy(c->state.fold.newest.header, pages, RAMET_TRUE_HEADER_SIZE);
        }
        rc = ramet_checkpoint_note(c, first + i, value, err);
    }
    return rc;
}
