/*
 * checkpoint_publish.c - what is in the base now is said of it in the index, and
 * fetched pages that replaced what is still in the log go on to a new file.
 */
#include "client/store/upkeep/checkpoint_impl.h"

#include <assert.h>

#include "client/snapshot.h"
#include "client/store/page/fetched.h"
#include "client/store/page/placed.h"
#include "client/store/shared/base.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"

bool
ramet_checkpoint_is_carried(const struct checkpoint *c,
                            const struct ramet_fetched *fetched)
{
    const struct ramet_entry replaced = fetched->frame.replaced;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    return ramet_entry_same(
               ramet_index_peek(c->replica, fetched->frame.pgno),
               ramet_entry_of_pos(RAMET_ENTRY_FETCHED, fetched->frame.pos)) &&
           ramet_entry_in_log(replaced) &&
           ramet_pos_file(ramet_entry_pos(replaced)) > c->last &&
           !ramet_pos_before(ramet_entry_pos(replaced), c->in_base);
}

static enum ramet_rc
carry_fetched(void *ctx, const struct ramet_fetched *fetched,
              struct ramet_err *err)
{
    struct checkpoint *const c = ctx;
    const struct ramet_fetched_page page = {
        .pgno = fetched->frame.pgno,
        .expected = ramet_entry_of_pos(RAMET_ENTRY_FETCHED, fetched->frame.pos),
        .replaced = fetched->frame.replaced,
        .page = fetched->page};

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (!ramet_checkpoint_is_carried(c, fetched))
        return RAMET_OK;
    return ramet_fetched_append(c->replica, &page, 1, &fetched->at,
                                fetched->page_size, err);
}

bool
ramet_checkpoint_has_fetched(const struct checkpoint *c)
{
    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    return c->first_fetched != c->last_fetched ||
           ramet_pos_offset(
               ramet_pos_load(&c->replica->head->header.fetched.pos)) !=
               RAMET_FRAME_FILE_HEADER_SIZE;
}

enum ramet_rc
ramet_checkpoint_carry_fetched(struct checkpoint *c, struct ramet_err *err)
{
    struct ramet_index_header *const header = &c->replica->head->header;
    struct ramet_pos end;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(c->session, RAMET_LOCK_BASE));
    if (!ramet_checkpoint_has_fetched(c))
        return RAMET_OK; /* nothing was fetched */
    ramet_pos_store(&header->fetched.pos, ramet_pos_first(c->last_fetched + 1));
    c->state.oldest_fetched = c->last_fetched + 1;
    if (c->has_carries)
        rc = ramet_fetched_walk(c->replica, c->first_fetched, c->last_fetched,
                                carry_fetched, c, &end, err);
    ramet_fetched_was_seen(c->replica);
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

            if (kind == RAMET_ENTRY_FETCHED) {
                if (ramet_pos_file(ramet_entry_pos(entry)) > c->last_fetched ||
                    !ramet_pageset_contains(&c->filled, pgno))
                    continue;
            } else if (kind == RAMET_ENTRY_ABSENT) {
                const uint64_t placed =
                    ramet_placed_value(replica, pgno, entry);

                if (placed == 0)
                    continue;
                now = ramet_presence_kind(placed, replica->default_held);
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
            !(kind == RAMET_ENTRY_FETCHED &&
              ramet_pos_file(ramet_entry_pos(entry)) > c->last_fetched))
            ramet_index_swap(replica, (uint32_t)p, entry,
                             ramet_entry_of_stamp(RAMET_ENTRY_ZERO, stamp));
    }
}

void
ramet_checkpoint_publish_base(struct checkpoint *c)
{
    struct ramet_index_header *const header = &c->replica->head->header;

    assert(c->state.oldest_fetched >= c->first_fetched);
    assert(ramet_holds(c->session, RAMET_LOCK_CHECKPOINT) &&
           ramet_holds(c->session, RAMET_LOCK_BASE));
    ramet_base_header_set(c->replica, c->state.fold.newest.header);
    atomic_store(&header->base.mark_next, c->state.mark_next);
    ramet_base_rest(c->replica);
    ramet_presence_end(c->replica, c->absent);
    atomic_store(&header->base.is_unsynced, c->state.unsynced.count != 0);
    atomic_store(&header->checkpoint.page_count, c->state.base_page_count);
    atomic_store(&header->checkpoint.page_size, c->state.base_page_size);
    atomic_store(&header->checkpoint.oldest, c->last + 1);
    swap_entries(c);
    ramet_placed_forget(c->replica);
    clear_cut_entries(c);
    atomic_store(&header->fetched.oldest, c->state.oldest_fetched);
}
