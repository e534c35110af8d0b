/*
 * fold_record.c - what a record does to the state of a replica (docs/replica.md,
 * "Log, positions, snapshots"): the fold that recovery, the pusher and checkpoints
 * go on with.
 *
 * Layer: client, store/format.
 */
#include <assert.h>
#include <string.h>

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"

void
ramet_replica_state_done(struct ramet_replica_state *state)
{
    ramet_pageset_done(&state->in_flight);
    ramet_pageset_done(&state->later);
    memset(state, 0, sizeof(*state));
}

enum ramet_rc
ramet_fold_copy(struct ramet_replica_state *dst,
                const struct ramet_replica_state *src, struct ramet_err *err)
{
    struct ramet_pageset in_flight;
    struct ramet_pageset later;
    enum ramet_rc rc;

    assert(dst != src);
    ramet_pageset_init(&in_flight);
    ramet_pageset_init(&later);
    rc = ramet_pageset_copy(&in_flight, &src->in_flight);
    if (rc == RAMET_OK)
        rc = ramet_pageset_copy(&later, &src->later);
    if (rc != RAMET_OK) {
        ramet_pageset_done(&in_flight);
        ramet_pageset_done(&later);
        return RAMET_FAIL(err, rc, "no memory for the sets of changed pages");
    }
    ramet_replica_state_done(dst);
    *dst = *src;
    dst->in_flight = in_flight;
    dst->later = later;
    return RAMET_OK;
}

static uint32_t
min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Invariant (1), and a new page size: all pages that there are. */
static enum ramet_rc
pend_all(struct ramet_replica_state *fold, uint32_t page_count)
{
    ramet_pageset_clear(&fold->later);
    return page_count == 0
               ? RAMET_OK
               : ramet_pageset_add_run(&fold->later,
                                       (struct ramet_run){1, page_count});
}

static enum ramet_rc
begin_commit(struct ramet_replica_state *fold, const struct ramet_trailer *t)
{
    const bool resized =
        fold->newest.page_size != 0 && t->page_size != fold->newest.page_size;

    assert(t->type == RAMET_RECORD_COMMIT);
    if ((t->flags & RAMET_RECORD_TAIL) == 0)
        fold->commits_later++;
    if (fold->oldest_later_ms == 0)
        fold->oldest_later_ms = t->time_ms;
    fold->least_page_count_later =
        min_u32(fold->least_page_count_later, t->least_page_count);
    ramet_pageset_truncate(&fold->later, t->least_page_count);
    if (resized && t->page_count != 0) {
        fold->page_size_changed_later = true;
        fold->least_page_count_later = 0;
    }
    return RAMET_OK;
}

static enum ramet_rc
abandon_intent(struct ramet_replica_state *fold)
{
    const uint32_t least = fold->least_page_count_later;
    enum ramet_rc rc;

    ramet_pageset_truncate(&fold->in_flight, least);
    rc = ramet_pageset_add_set(&fold->later, &fold->in_flight);
    if (rc != RAMET_OK)
        return rc;
    ramet_pageset_clear(&fold->in_flight);
    fold->least_page_count_later =
        min_u32(least, fold->least_page_count_in_flight);
    fold->commits_later += fold->commits_in_flight;
    fold->commits_in_flight = 0;
    if (fold->oldest_in_flight_ms != 0)
        fold->oldest_later_ms = fold->oldest_in_flight_ms;
    fold->oldest_in_flight_ms = 0;
    fold->page_size_changed_later |= fold->page_size_changed_in_flight;
    fold->page_size_changed_in_flight = false;
    memset(&fold->intent, 0, sizeof(fold->intent));
    return RAMET_OK;
}

static void
freeze_intent(struct ramet_replica_state *fold, const struct ramet_trailer *t)
{
    assert(ramet_id_is_nil(&fold->intent.id)); /* one intent at a time */
    assert(t->type == RAMET_RECORD_INTENT ||
           (t->flags & RAMET_RECORD_DOUBT) != 0);
    ramet_pageset_clear(&fold->in_flight);
    ramet_pageset_swap(&fold->in_flight, &fold->later);
    fold->least_page_count_in_flight = fold->least_page_count_later;
    fold->least_page_count_later = t->page_count;
    fold->commits_in_flight = fold->commits_later;
    fold->commits_later = 0;
    fold->oldest_in_flight_ms = fold->oldest_later_ms;
    fold->oldest_later_ms = 0;
    fold->page_size_changed_in_flight = fold->page_size_changed_later;
    fold->page_size_changed_later = false;
    fold->intent = t->commit;
}

static void
clear_in_flight(struct ramet_replica_state *fold)
{
    ramet_pageset_clear(&fold->in_flight);
    fold->commits_in_flight = 0;
    fold->oldest_in_flight_ms = 0;
    fold->page_size_changed_in_flight = false;
    fold->least_page_count_in_flight = 0;
    memset(&fold->intent, 0, sizeof(fold->intent));
}

static void
clear_later(struct ramet_replica_state *fold, const struct ramet_trailer *t)
{
    assert(t->type == RAMET_RECORD_PULL || t->type == RAMET_RECORD_RESET);
    ramet_pageset_clear(&fold->later);
    fold->commits_later = 0;
    fold->oldest_later_ms = 0;
    fold->page_size_changed_later = false;
    fold->least_page_count_later = t->page_count;
}

enum ramet_rc
ramet_fold_begin(struct ramet_replica_state *fold,
                 const struct ramet_trailer *trailer, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(trailer->type >= RAMET_RECORD_COMMIT &&
           trailer->type <= RAMET_RECORD_RESET);
    switch (trailer->type) {
    case RAMET_RECORD_COMMIT:
        rc = begin_commit(fold, trailer);
        break;
    case RAMET_RECORD_INTENT:
        /* Of a pusher that died as it wrote it: whoever came next did not see
         * it. Nothing of it was sent, and this one covers both. */
        if (!ramet_id_is_nil(&fold->intent.id))
            rc = abandon_intent(fold);
        if (rc == RAMET_OK)
            freeze_intent(fold, trailer);
        break;
    case RAMET_RECORD_DURABLE:
        clear_in_flight(fold);
        break;
    case RAMET_RECORD_ABANDON:
        rc = abandon_intent(fold);
        break;
    case RAMET_RECORD_PULL:
    case RAMET_RECORD_RESET:
        clear_in_flight(fold);
        clear_later(fold, trailer);
        if ((trailer->flags & RAMET_RECORD_SAME_SCHEMA) == 0)
            fold->schema_moved = true;
        break;
    }
    return rc == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, rc, "no memory for the set of changed pages");
}

enum ramet_rc
ramet_fold_frame(struct ramet_replica_state *fold,
                 const struct ramet_trailer *trailer,
                 const struct ramet_logframe *frame, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(frame->pgno != 0);
    if (trailer->type != RAMET_RECORD_COMMIT ||
        frame->pgno > trailer->page_count)
        return RAMET_OK;
    if (frame->kind == RAMET_LOGFRAME_IMAGE)
        rc = ramet_pageset_add(&fold->later, frame->pgno);
    else if (frame->kind == RAMET_LOGFRAME_ZERO &&
             ramet_pageset_contains(&fold->later, frame->pgno))
        rc = ramet_pageset_remove_run(
            &fold->later, (struct ramet_run){frame->pgno, frame->pgno});
    return rc == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, rc, "no memory for the set of changed pages");
}

/* Of an intent before the fold's beginning all that is known is that. */
static void
note_tails(struct ramet_replica_state *fold, const struct ramet_trailer *t)
{
    assert(ramet_pos_same(fold->newest.tail, t->tail));
    if (t->type == RAMET_RECORD_INTENT || (t->flags & RAMET_RECORD_DOUBT) != 0)
        fold->frozen_tail = t->tail;
    else if (t->type == RAMET_RECORD_DURABLE)
        fold->remote_tail = fold->frozen_tail;
    else if (t->type == RAMET_RECORD_PULL || t->type == RAMET_RECORD_RESET)
        fold->remote_tail = t->tail;
}

enum ramet_rc
ramet_fold_end(struct ramet_replica_state *fold,
               const struct ramet_trailer *trailer, struct ramet_err *err)
{
    struct ramet_snapshot *const s = &fold->newest;
    const bool all_pend =
        fold->page_size_changed_later ||
        (trailer->lsn == 0 && ramet_id_is_nil(&fold->intent.id));

    if (trailer->type == RAMET_RECORD_COMMIT && all_pend &&
        pend_all(fold, trailer->page_count) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM,
                          "no memory for the set of changed pages");
    if ((trailer->flags & RAMET_RECORD_DOUBT) != 0) {
        if (fold->commits_later != 1 || !ramet_id_is_nil(&fold->intent.id))
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "the log has a commit that was sent by itself on "
                              "top of others that were not");
        freeze_intent(fold, trailer); /* as which it was sent */
    }
    *s = (struct ramet_snapshot){
        .seq = trailer->seq,
        .tail = trailer->tail,
        .page_size = trailer->page_size,
        .page_count = trailer->page_count,
        .byte_length = trailer->byte_length,
        .counter = trailer->counter,
        .lsn = trailer->lsn,
        .lsn_hash = trailer->lsn_hash,
        .remote_page_count = trailer->remote_page_count,
    };
    memcpy(s->header, trailer->header, sizeof(s->header));
    note_tails(fold, trailer);
    fold->lsn_time_ms = trailer->lsn_time_ms;
    fold->record_sum = trailer->sum;
    fold->page_size_changed =
        fold->page_size_changed_in_flight || fold->page_size_changed_later;
    return RAMET_OK;
}
