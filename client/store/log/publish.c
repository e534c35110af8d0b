/*
 * publish.c - a complete record becomes visible, or is found not to count.
 *
 *   (1) a record that a dead writer prepared is recovered before anything else is
 *       written, by whoever has the write lock
 *   (2) order: index entries, ring slot, `newest`
 */
#include "client/store/log/publish.h"

#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/log/logscan.h"
#include "client/store/log/void.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/shared/super.h"
#include "core/bytes.h"

void
ramet_publish_snapshot(struct ramet_replica *replica,
                       const struct ramet_published *after, unsigned marks)
{
    struct ramet_index_header *const header = &replica->head->header;

    assert(!ramet_pos_is_none(after->snapshot.tail)); /* a pin of 0 is none */
    assert(ramet_may_publish(replica));
    ramet_index_raise(&header->log.high_water, after->snapshot.page_count);
    if ((marks & RAMET_MARKS_LSN) != 0)
        ramet_pos_raise(&header->log.lsn_tail, after->snapshot.tail);
    if ((marks & RAMET_MARKS_INTENT) != 0)
        ramet_pos_raise(&header->log.sync_tail, after->snapshot.tail);
    atomic_store_explicit(&header->all.was_written, 1, memory_order_relaxed);
    ramet_index_publish(replica, after);
    atomic_store_explicit(&header->log.write_pos.raw, after->snapshot.tail.raw,
                          memory_order_release);
    atomic_store_explicit(&header->log.prepared.raw, 0, memory_order_release);
}

unsigned
ramet_record_marks(const struct ramet_trailer *trailer)
{
    switch (trailer->type) {
    case RAMET_RECORD_COMMIT:
        return (trailer->flags & RAMET_RECORD_DOUBT) != 0 ? RAMET_MARKS_INTENT
                                                          : 0;
    case RAMET_RECORD_INTENT:
    case RAMET_RECORD_ABANDON:
        return RAMET_MARKS_INTENT;
    case RAMET_RECORD_DURABLE:
    case RAMET_RECORD_PULL:
    case RAMET_RECORD_RESET:
        break;
    }
    return RAMET_MARKS_INTENT | RAMET_MARKS_LSN;
}

struct apply {
    struct ramet_session *session;
    uint32_t page_count;
};

static enum ramet_rc
apply_frame(void *ctx, const struct ramet_logframe *frame,
            struct ramet_err *err)
{
    const struct apply *const apply = ctx;
    struct ramet_session *const session = apply->session;
    const struct ramet_entry entry = ramet_entry_of_pos(
        ramet_entry_kind_of_logframe(frame->kind), frame->pos);
    struct ramet_entry before;
    enum ramet_rc rc;

    assert(ramet_may_publish(session->replica));
    if (frame->kind == RAMET_LOGFRAME_DEAD || frame->pgno > apply->page_count)
        return RAMET_OK;
    rc = ramet_index_reserve(session->replica, frame->pgno, err);
    if (rc == RAMET_OK)
        rc = ramet_index_load(session, frame->pgno, &before, err);
    if (rc == RAMET_OK && !ramet_entry_same(before, entry))
        ramet_index_set(session->replica, frame->pgno, entry);
    return rc;
}

enum ramet_rc
ramet_apply_record(struct ramet_session *session, struct ramet_scan *scan,
                   struct ramet_err *err)
{
    const struct ramet_trailer trailer = scan->trailer;
    struct apply apply = {session, trailer.page_count};
    struct ramet_published after;
    const enum ramet_rc rc = ramet_scan_frames(scan, apply_frame, &apply, err);

    assert(ramet_may_publish(session->replica));
    if (rc != RAMET_OK)
        return rc;
    ramet_index_newest(session->replica, &after);
    ramet_trailer_to_published(&trailer, &after.snapshot, &after);
    ramet_publish_snapshot(session->replica, &after,
                           ramet_record_marks(&trailer));
    return RAMET_OK;
}

/* Apply or void the complete record that stands past the newest snapshot;
 * *out_doubt: it is in doubt, and stays as it is. */
static enum ramet_rc
recover_record(struct ramet_session *session, struct ramet_scan *scan,
               struct ramet_pos *out_doubt, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_record_span span = ramet_record_span_of(&scan->trailer);
    bool apply;
    const bool void_pending = ramet_is_void_pending(replica, &scan->trailer);
    enum ramet_rc rc;

    assert(ramet_may_publish(session->replica));
    if (!void_pending && ramet_trailer_in_doubt(&scan->trailer)) {
        *out_doubt = scan->trailer.start;
        return RAMET_OK;
    }
    rc = ramet_super_decide(replica, &scan->trailer, &apply, err);
    if (rc != RAMET_OK)
        return rc;
    if (apply && !void_pending)
        return ramet_apply_record(session, scan, err);
    rc = ramet_void_record(replica, &span, err);
    if (rc == RAMET_OK)
        rc = ramet_super_forget(replica, &scan->trailer, err);
    return rc;
}

enum ramet_rc
ramet_recover_prepared(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const bool entered = ramet_epoch_enter(session);
    struct ramet_published newest;
    struct ramet_scan scan;
    struct ramet_pos doubt = RAMET_NO_POS;
    bool found = true;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(session, RAMET_LOCK_WRITE) || ramet_is_alone(replica));
    ramet_scan_init(&scan, replica);
    scan.oldest = atomic_load(&header->checkpoint.oldest);
    while (rc == RAMET_OK && found) {
        const uint64_t number = ramet_index_newest(replica, &newest);

        rc = ramet_scan_next(&scan, newest.snapshot.tail, newest.sum, &found,
                             err);
        if (rc == RAMET_OK && found)
            rc = recover_record(session, &scan, &doubt, err);
        if (rc == RAMET_OK && number == atomic_load(&header->log.newest))
            found = false; /* it was voided, or is in doubt */
    }
    if (rc == RAMET_OK)
        rc = ramet_void_flush(replica, err);
    if (rc == RAMET_OK) {
        if (ramet_pos_file(ramet_pos_load(&header->log.write_pos)) ==
            ramet_pos_file(newest.snapshot.tail))
            ramet_pos_store(&header->log.write_pos, newest.snapshot.tail);
        ramet_pos_store(&header->log.doubt, doubt);
        ramet_pos_store(&header->log.prepared, RAMET_NO_POS);
        rc = ramet_super_clean(replica, err);
    }
    ramet_scan_done(&scan);
    ramet_epoch_leave(session, entered);
    return rc;
}

void
ramet_trailer_to_published(const struct ramet_trailer *trailer,
                           const struct ramet_snapshot *before,
                           struct ramet_published *out)
{
    const bool is_commit = trailer->type == RAMET_RECORD_COMMIT;
    const bool is_from_elsewhere = trailer->type == RAMET_RECORD_PULL ||
                                   trailer->type == RAMET_RECORD_RESET;
    const bool header_pends =
        is_commit &&
        (before->header_pends ||
         memcmp(trailer->header, before->header, RAMET_TRUE_HEADER_SIZE) != 0);
    uint64_t pages_seq = before->pages_seq;
    uint64_t schema_seq = before->schema_seq;

    assert(!ramet_pos_is_none(trailer->tail));
    if (is_from_elsewhere || is_commit)
        pages_seq = trailer->seq;
    if (is_from_elsewhere && (trailer->flags & RAMET_RECORD_SAME_SCHEMA) == 0)
        schema_seq = trailer->seq;
    memset(out, 0, sizeof(*out)); /* padding too: it is compared as words */
    out->snapshot.seq = trailer->seq;
    out->snapshot.tail = trailer->tail;
    out->snapshot.page_size = trailer->page_size;
    out->snapshot.page_count = trailer->page_count;
    out->snapshot.byte_length = trailer->byte_length;
    out->snapshot.counter = trailer->counter;
    out->snapshot.lsn = trailer->lsn;
    out->snapshot.remote_page_count = trailer->remote_page_count;
    memcpy(out->snapshot.header, trailer->header, RAMET_TRUE_HEADER_SIZE);
    out->snapshot.pages_seq = pages_seq;
    out->snapshot.schema_seq = schema_seq;
    out->snapshot.header_pends = header_pends;
    out->sum = trailer->sum;
    out->snapshot.lsn_hash = trailer->lsn_hash;
    out->lsn_time_ms = trailer->lsn_time_ms;
}

void
ramet_record_trailer(const struct ramet_published *newest,
                     enum ramet_record_type type, struct ramet_trailer *out)
{
    const struct ramet_snapshot *const s = &newest->snapshot;

    assert(type >= RAMET_RECORD_COMMIT && type <= RAMET_RECORD_RESET);
    memset(out, 0, sizeof(*out));
    out->type = type;
    out->seq = s->seq + 1;
    out->prev = newest->sum;
    out->byte_length = s->byte_length;
    out->page_size = s->page_size;
    out->page_count = s->page_count;
    out->least_page_count = s->page_count;
    out->counter = s->counter;
    out->remote_page_count = s->remote_page_count;
    out->lsn = s->lsn;
    out->lsn_time_ms = newest->lsn_time_ms;
    out->lsn_hash = s->lsn_hash;
    memcpy(out->header, s->header, RAMET_TRUE_HEADER_SIZE);
}
