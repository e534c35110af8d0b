/*
 * checkpoint_words.c - pages that a checkpoint moved enter presence.
 *
 *   (1) presence learns of a page only after a sync of the base since it was
 *       written
 *   (2) a page that comes twice comes with the same bytes
 *   (3) words that are *deferred* go into the state alone (unsynced.h): by a clean
 *       close, as long as they are few, and final. The file is left as it is then,
 *       also behind the base's end: what it has there of pages that come is
 *       covered by words of theirs
 */
#include "client/store/upkeep/checkpoint_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/format/state.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"

#define WORDS 512u  /* of presence, written at once */
#define GAP_MAX 16u /* words: rather written anew than passed over */

/* ---- beginning ----------------------------------------------------------- */

/* Are there new pages of which the log, and so no word, says anything? */
static bool
has_untold_pages(const struct checkpoint *c)
{
    const uint32_t page_count = c->state.fold.newest.page_count;
    uint32_t pgno = c->old_page_count;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    while (pgno < page_count && ramet_pageset_contains(&c->pages, pgno + 1))
        pgno++;
    return pgno < page_count;
}

enum ramet_rc
ramet_checkpoint_begin_words(struct checkpoint *c, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &c->state.fold.newest;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    assert(s->page_size == c->state.base_page_size || c->old_page_count == 0);
    c->defers_words =
        c->session->is_closing && c->absent == 0 && !has_untold_pages(c);
    if (!c->defers_words)
        rc = ramet_presence_take_up(c->replica, &c->state, err);
    ramet_unsynced_truncate(
        &c->state.unsynced,
        s->page_size == c->state.base_page_size ? s->page_count : 0);
    return rc;
}

/* ---- pages --------------------------------------------------------------- */

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
        c->absent--;
    if (ramet_presence_is_missing(now, held))
        c->absent++;
}

/* Of pages that ascend, and of those between them what it said before. */
static enum ramet_rc
write_words(struct checkpoint *c, const struct moved *moved, uint32_t count,
            struct ramet_err *err)
{
    const uint32_t first = moved[0].pgno;
    const uint32_t span = moved[count - 1].pgno - first + 1;
    const bool had_absent = c->absent != 0;
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

/* No more of them: what was deferred goes into the file, as all that follows. */
static enum ramet_rc
end_deferring(struct checkpoint *c, struct ramet_err *err)
{
    const enum ramet_rc rc =
        ramet_presence_put(c->replica, &c->state.unsynced, err);

    assert(c->defers_words && c->session->is_closing);
    c->defers_words = false;
    if (rc == RAMET_OK) /* the next sync is theirs */
        ramet_unsynced_truncate(&c->state.unsynced, 0);
    return rc;
}

/* How many of the batch could be deferred. */
static uint32_t
defer_words(struct checkpoint *c)
{
    uint32_t i = 0;

    assert(c->defers_words && c->absent == 0);
    while (i < c->batch_count &&
           ramet_unsynced_put(&c->state.unsynced, c->batch[i].pgno,
                              c->batch[i].value))
        i++;
    return i;
}

enum ramet_rc
ramet_checkpoint_tell(struct checkpoint *c, struct ramet_err *err)
{
    const struct moved *const moved = c->batch;
    enum ramet_rc rc = RAMET_OK;
    uint32_t from = 0;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    put_in_order(c);
    if (c->batch_count != 0 && moved[0].pgno == 1 &&
        ramet_pageset_contains(&c->filled, 1))
        rc = keep_header(c, err);
    if (rc == RAMET_OK && c->defers_words) {
        from = defer_words(c);
        if (from != c->batch_count)
            rc = end_deferring(c, err);
    }
    for (uint32_t i = from; rc == RAMET_OK && i < c->batch_count; i++)
        if (i + 1 == c->batch_count ||
            moved[i + 1].pgno - moved[i].pgno > GAP_MAX ||
            moved[i + 1].pgno - moved[from].pgno >= WORDS) {
            rc = write_words(c, moved + from, i + 1 - from, err);
            from = i + 1;
        }
    c->batch_count = 0;
    return rc;
}

/* ---- the end ------------------------------------------------------------- */

enum ramet_rc
ramet_checkpoint_end_words(struct checkpoint *c, bool is_clean,
                           struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (c->defers_words && is_clean)
        return RAMET_OK;
    if (c->defers_words)
        rc = end_deferring(c, err);
    return rc == RAMET_OK ? ramet_presence_sync(c->replica, &c->state, err)
                          : rc;
}
