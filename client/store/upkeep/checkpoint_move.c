/*
 * checkpoint_move.c - pages go into the base; by the invariants of checkpoint.c.
 */
#include "client/store/upkeep/checkpoint_impl.h"

#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/format/logfile.h"
#include "client/store/page/version.h"
#include "client/store/shared/base.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "core/alloc.h"

#define BATCH 16384u /* pages written to the base between two syncs */

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
    struct ramet_page_version version;
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
enum ramet_rc
ramet_checkpoint_sync_base(struct checkpoint *c, struct ramet_err *err)
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
        rc = ramet_checkpoint_sync_base(c, err);
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

enum ramet_rc
ramet_checkpoint_move_pages(struct checkpoint *c, struct ramet_err *err)
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
enum ramet_rc
ramet_checkpoint_load_cut(struct checkpoint *c, struct ramet_err *err)
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
