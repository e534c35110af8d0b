/*
 * commit.c - prepare, publish, void; and finishing what a dead writer began.
 *
 * The life of a commit: prepare writes the record, sync makes it durable,
 * publish sets the index entries, the ring slot and `newest`. In between it is
 * in doubt: whoever takes the write lock next recovers it from the log alone.
 *
 *   (1) header.log.prepared is not 0 while a record past the newest snapshot may
 *       be complete in the log, unless its void is pending (void.c) or it is
 *       known to be in doubt (doubt.c)
 *   (2) publish needs nothing that can fail: prepare made room in the index
 */
#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/format/writeset.h"
#include "client/store/log/publish.h"
#include "client/store/log/recent.h"
#include "client/store/log/void.h"
#include "client/store/page/version.h"
#include "client/store/session/barrier.h"
#include "client/store/session/pin.h"
#include "client/store/session/record.h"
#include "client/store/session/repage.h"
#include "client/store/session/write.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "client/store/upkeep/checkpoint_due.h"
#include "core/bytes.h"
#include "sqliteformat/dbheader.h"

/* ---- the end of a transaction --------------------------------------------- */

static void
after_transaction(struct ramet_session *session)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;

    assert(session->is_pinned && session->is_reserved);
    ramet_record_reset(session);
    if (session->prepared.raised_barrier)
        ramet_session_lower_barrier(session);
    memset(&session->prepared, 0, sizeof(session->prepared));
    session->has_writes = false;
    session->prepared_is_stale = false;
    session->truncated_after = false;
    session->must_compare = session->replica->kind == RAMET_KIND_BLOB;
    session->page_size = s->page_size;
    session->size = s->byte_length;
    session->least_page_count = s->page_count;
    session->own_high = 0;
    memset(&session->doubt, 0, sizeof(session->doubt));
}

/* Frames that can't be taken out of the record any more. */
static bool
has_spilled(const struct ramet_session *session)
{
    return session->spilled_count != 0 || session->buf_fixed != 0;
}

/* What was spilled takes no room any more: the disk may be full. */
static void
cut_spilled(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_frame_file *file;

    assert(session->is_reserved);
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    if (!session->has_record || !has_spilled(session) ||
        ramet_frame_file_get(replica, RAMET_FRAMES_LOG,
                             ramet_pos_file(session->rec_start), &file,
                             NULL) != RAMET_OK)
        return;
    if (replica->os->truncate(replica->os->ctx, file->fd,
                              ramet_pos_offset(session->rec_start)) == 0)
        session->extended_to = RAMET_NO_POS;
}

/* Take back what is prepared, drop what is pending. It can't fail: a
 * void that can't be written is pending. */
static void
drop_pending(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    if (!session->prepared.is_set || session->prepared.is_void ||
        ramet_void_record(replica, &session->prepared.span, NULL) == RAMET_OK)
        cut_spilled(session);
    ramet_pos_store(&replica->head->header.log.prepared, RAMET_NO_POS);
    after_transaction(session);
}

/* ---- prepare ------------------------------------------------------------- */

/* The page size that page 1 of the transaction names; 0 if it does not. */
static uint32_t
named_page_size(struct ramet_session *session, const uint8_t *page1)
{
    const uint32_t size = ramet_dbheader_page_size(page1);

    assert(session->is_reserved);
    if (session->replica->kind != RAMET_KIND_SQLITE ||
        !ramet_dbheader_is(page1, RAMET_DBHEADER_SIZE))
        return 0;
    return ramet_page_size_ok(size) ? size : 0;
}

/* The first 100 bytes of page 1 as the transaction has it, or NULL in *out. */
static enum ramet_rc
own_header(struct ramet_session *session, uint8_t buf[RAMET_TRUE_HEADER_SIZE],
           const uint8_t **out, struct ramet_err *err)
{
    const struct ramet_entry entry = ramet_writeset_get(&session->writes, 1);
    const struct ramet_pos pos = ramet_entry_pos(entry);
    struct ramet_frame_file *file;
    enum ramet_rc rc;

    assert(session->is_reserved && session->has_writes);
    *out = NULL;
    if (ramet_entry_kind(entry) != RAMET_ENTRY_IMAGE)
        return RAMET_OK;
    if (!ramet_pos_before(pos, session->buf_pos)) {
        *out = session->buf + ramet_pos_bytes(session->buf_pos, pos) +
               RAMET_LOGFRAME_HEADER_SIZE;
        return RAMET_OK;
    }
    rc = ramet_frame_file_get(session->replica, RAMET_FRAMES_LOG,
                              ramet_pos_file(pos), &file, err);
    if (rc == RAMET_OK)
        rc = ramet_os_read_full(
            session->replica->os, file->fd, buf, RAMET_TRUE_HEADER_SIZE,
            ramet_pos_offset(pos) + RAMET_LOGFRAME_HEADER_SIZE, "log", err);
    *out = buf;
    return rc;
}

/* Does the frame at `header` equal what the snapshot has? */
static enum ramet_rc
is_page_equal(struct ramet_session *session, const uint8_t *header,
              uint8_t *scratch, bool *out_equal, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    const uint32_t pgno = ramet_get_le32(header + 8);
    struct ramet_page_version version;
    enum ramet_rc rc;

    assert(pgno >= 1);
    *out_equal = false;
    /* With frames spilled, an older one of this page could come to count. */
    if (pgno > session->least_page_count || has_spilled(session) ||
        session->page_size != s->page_size)
        return RAMET_OK;
    rc = ramet_read_version(session, s->tail, s->page_size, pgno, scratch,
                            &version, err);
    if (rc == RAMET_OK)
        *out_equal = version.kind != RAMET_ENTRY_ABSENT &&
                     version.kind != RAMET_ENTRY_REMOTE &&
                     memcmp(scratch, header + RAMET_LOGFRAME_HEADER_SIZE,
                            s->page_size) == 0;
    return rc;
}

/* Move a frame down in the buffer, and what names it along. */
static enum ramet_rc
move_frame(struct ramet_session *session, size_t to, size_t from, size_t size,
           struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const uint32_t pgno = ramet_get_le32(session->buf + from + 8);
    const struct ramet_entry entry = ramet_writeset_get(&session->writes, pgno);

    assert(to % RAMET_POS_UNIT == 0 && from % RAMET_POS_UNIT == 0);
    assert(to <= from && from + size <= session->buf_len);
    if (to == from)
        return RAMET_OK;
    memmove(session->buf + to, session->buf + from, size);
    if (ramet_entry_is_none(entry) ||
        !ramet_pos_same(ramet_entry_pos(entry),
                        ramet_pos_add(session->buf_pos, from)))
        return RAMET_OK;
    return ramet_writeset_put(
        &session->writes, replica->os, replica->dir_fd, session->slot, pgno,
        ramet_entry_of_pos(ramet_entry_kind(entry),
                           ramet_pos_add(session->buf_pos, to)),
        err);
}

/*
 * Take out of the buffer what equals the snapshot (a rollback after a spill
 * writes pages back as they were), and what is dead, moving the rest down.
 */
static enum ramet_rc
drop_equal_pages(struct ramet_session *session, struct ramet_err *err)
{
    uint8_t *const scratch = ramet_session_scratch(session, err);
    size_t size;
    size_t to = session->buf_fixed;

    assert(session->has_writes && session->must_compare);
    if (scratch == NULL)
        return RAMET_ENOMEM;
    for (size_t from = to; from < session->buf_len; from += size) {
        const uint8_t *const header = session->buf + from;
        const uint32_t kind = ramet_get_le32(header + 12);
        bool drop = kind == RAMET_LOGFRAME_DEAD;
        enum ramet_rc rc = RAMET_OK;

        size = RAMET_LOGFRAME_HEADER_SIZE;
        if (ramet_logframe_has_page((enum ramet_logframe_kind)kind))
            size += session->page_size;
        if (kind == RAMET_LOGFRAME_IMAGE) {
            rc = is_page_equal(session, header, scratch, &drop, err);
            if (rc == RAMET_OK && drop)
                ramet_writeset_remove(&session->writes,
                                      ramet_get_le32(header + 8));
        }
        if (rc == RAMET_OK && !drop) {
            rc = move_frame(session, to, from, size, err);
            to += size;
        }
        if (rc != RAMET_OK)
            return rc;
    }
    assert(to <= session->buf_len);
    session->buf_len = to;
    return RAMET_OK;
}

/*
 * Pages that came back by growth and were not written are zeros now, whatever
 * they were before they went: say so in the record, where anything older of
 * them can be found.
 */
static enum ramet_rc
add_zero_frames(struct ramet_session *session, uint32_t page_count,
                struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    uint64_t high = atomic_load(&replica->head->header.log.high_water);
    const bool spilled = has_spilled(session);

    assert(session->has_record);
    assert(session->is_reserved && session->has_writes);
    if (session->own_high > high)
        high = session->own_high;
    if (high > page_count)
        high = page_count;
    for (uint64_t pgno = (uint64_t)session->least_page_count + 1; pgno <= high;
         pgno++) {
        struct ramet_entry entry;
        struct ramet_pos pos;
        enum ramet_rc rc;

        if (!ramet_entry_is_none(
                ramet_writeset_get(&session->writes, (uint32_t)pgno)))
            continue;
        rc = ramet_index_load(session, (uint32_t)pgno, &entry, err);
        if (rc != RAMET_OK)
            return rc;
        if (!spilled && (ramet_entry_kind(entry) == RAMET_ENTRY_ZERO ||
                         ramet_entry_kind(entry) == RAMET_ENTRY_LOG_ZERO))
            continue;
        rc = ramet_record_add(session, (uint32_t)pgno, RAMET_LOGFRAME_ZERO,
                              NULL, &pos, err);
        if (rc == RAMET_OK)
            rc = ramet_writeset_put(
                &session->writes, replica->os, replica->dir_fd, session->slot,
                (uint32_t)pgno, ramet_entry_of_pos(RAMET_ENTRY_LOG_ZERO, pos),
                err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

static void
fill_trailer(struct ramet_session *session, const uint8_t *header,
             const char *super_journal, struct ramet_trailer *t)
{
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    assert(ramet_page_size_ok(session->page_size));
    ramet_record_trailer(&session->pin, RAMET_RECORD_COMMIT, t);
    t->byte_length = session->size;
    t->page_size = session->page_size;
    t->page_count = ramet_pages_of(session->size, session->page_size);
    t->least_page_count = session->least_page_count < t->page_count
                              ? session->least_page_count
                              : t->page_count;
    if (header != NULL)
        memcpy(t->header, header, RAMET_TRUE_HEADER_SIZE);
    else if (session->least_page_count == 0) /* page 1 went, or came as zeros */
        memset(t->header, 0, RAMET_TRUE_HEADER_SIZE);
    t->counter = ramet_dbheader_count_on(t->counter, t->header, t->byte_length);
    if (!ramet_id_is_nil(&session->doubt.id)) {
        t->flags |= RAMET_RECORD_DOUBT;
        t->commit = session->doubt;
    }
    t->super_journal = super_journal;
    t->super_length =
        super_journal == NULL ? 0 : (uint32_t)strlen(super_journal);
}

static enum ramet_rc
prepare_record(struct ramet_session *session, const char *super_journal,
               struct ramet_err *err)
{
    uint8_t header_buf[RAMET_TRUE_HEADER_SIZE];
    const uint8_t *header;
    struct ramet_trailer trailer;
    enum ramet_rc rc = own_header(session, header_buf, &header, err);

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    if (rc != RAMET_OK)
        return rc;
    if (header != NULL) {
        const uint32_t named = named_page_size(session, header);

        if (named != 0 && named != session->page_size) {
            rc = ramet_repage(session, named, err);
        }
    }
    if (rc == RAMET_OK && session->must_compare)
        rc = drop_equal_pages(session, err);
    if (rc == RAMET_OK)
        rc = add_zero_frames(
            session, ramet_pages_of(session->size, session->page_size), err);
    if (rc != RAMET_OK)
        return rc;
    if (session->buf_len == 0 && session->spilled_count == 0 &&
        session->size == session->pin.snapshot.byte_length &&
        session->page_size == session->pin.snapshot.page_size &&
        !session->prepared.is_set) {
        ramet_record_reset(session); /* nothing is left of it */
        session->has_writes = false;
        return RAMET_OK;
    }
    if (session->page_size != session->pin.snapshot.page_size &&
        atomic_load(&session->replica->head->header.log.high_water) != 0 &&
        !session->prepared.raised_barrier) {
        rc = ramet_wait_alone(session, err);
        if (rc != RAMET_OK)
            return rc;
    }
    rc = own_header(session, header_buf, &header, err); /* it may have moved */
    if (rc == RAMET_OK && header == NULL &&
        ramet_entry_kind(ramet_writeset_get(&session->writes, 1)) ==
            RAMET_ENTRY_LOG_ZERO) {
        memset(header_buf, 0, sizeof(header_buf)); /* cut off and grown back */
        header = header_buf;
    }
    if (rc == RAMET_OK && header != NULL && header != header_buf) {
        memcpy(header_buf, header, sizeof(header_buf));
        header = header_buf;
    }
    if (rc != RAMET_OK)
        return rc;
    fill_trailer(session, header, super_journal, &trailer);
    return ramet_record_finish(session, &trailer, err);
}

enum ramet_rc
ramet_session_prepare(struct ramet_session *session, const char *super_journal,
                      struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK)
        return rc;
    if (!session->is_reserved)
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: commit without the lock",
                          session->replica->path);
    if (super_journal != NULL && strlen(super_journal) > RAMET_SUPER_NAME_MAX) {
        rc = RAMET_FAIL(err, RAMET_ETOOBIG, "super-journal's name");
        goto failed;
    }
    if (!session->has_writes)
        return RAMET_OK;
    if (session->truncated_after) {
        rc = ramet_finish_truncate(session, err);
        if (rc != RAMET_OK)
            goto failed;
    }
    if (session->prepared.is_set && !session->prepared_is_stale)
        return RAMET_OK;
    assert(session->is_pinned);
    rc = prepare_record(session, super_journal, err);
    if (rc == RAMET_OK) {
        session->prepared_is_stale = false;
        return RAMET_OK;
    }

failed:
    drop_pending(session);
    session->must_compare = true; /* a rollback writes pages back now */
    return rc;
}

enum ramet_rc
ramet_session_prepare_in_doubt(struct ramet_session *session,
                               const struct ramet_cid *commit,
                               struct ramet_err *err)
{
    assert(session->is_reserved && !session->prepared.is_set);
    assert(!ramet_id_is_nil(&commit->id));
    session->doubt = *commit;
    return ramet_session_prepare(session, NULL, err);
}

/* ---- what is prepared ----------------------------------------------------- */

enum ramet_rc
ramet_session_prepared_pages(struct ramet_session *session,
                             struct ramet_pageset *out_set,
                             struct ramet_snapshot *out_after,
                             uint32_t *out_least, struct ramet_err *err)
{
    uint64_t cursor = 0;
    struct ramet_entry entry;
    uint32_t pgno;

    if (!session->prepared.is_set)
        return RAMET_FAIL(err, RAMET_EINVAL, "nothing is prepared");
    assert(session->is_reserved && !session->prepared_is_stale);
    ramet_pageset_clear(out_set);
    while (ramet_writeset_next(&session->writes, &cursor, &pgno, &entry))
        if (ramet_entry_kind(entry) == RAMET_ENTRY_IMAGE &&
            pgno <= session->prepared.after.snapshot.page_count &&
            ramet_pageset_add(out_set, pgno) != RAMET_OK)
            return RAMET_FAIL(err, RAMET_ENOMEM,
                              "no memory for the set of changed pages");
    *out_after = session->prepared.after.snapshot;
    *out_least = session->prepared.least_page_count;
    return RAMET_OK;
}

bool
ramet_session_has_prepared(const struct ramet_session *session)
{
    return session->prepared.is_set;
}

/* ---- publish and void ---------------------------------------------------- */

/*
 * A record without frames that only lowers the size. It comes after the commit
 * point, so it may fail: then the file stays as long as the log says, which
 * SQLite expects of a crash at this moment.
 */
static void
append_truncation(struct ramet_session *session)
{
    const struct ramet_published before = session->prepared.after;
    const uint32_t page_size = before.snapshot.page_size;
    struct ramet_trailer t;

    assert(session->truncated_after && session->prepared.is_set);
    assert(session->size < before.snapshot.byte_length);
    ramet_record_trailer(&before, RAMET_RECORD_COMMIT, &t);
    t.flags = RAMET_RECORD_TAIL;
    t.byte_length = session->size;
    t.page_count = ramet_pages_of(session->size, page_size);
    t.least_page_count = t.page_count;
    session->rec_start = before.snapshot.tail;
    session->buf_pos = before.snapshot.tail;
    session->buf_len = 0;
    session->spilled_count = 0;
    session->spilled_sum = 0;
    session->prepared.is_set = false; /* not superseded: followed */
    if (ramet_record_finish(session, &t, NULL) == RAMET_OK)
        return;
    session->prepared.is_set = true;
    session->prepared.after = before;
}

/* Of the record, which has `page_count` pages, though it may have been cut off
 * since: whoever reads the log after a crash finds it whole before it is cut, and
 * what grows over those pages says that they are zeros. */
static void
set_entries(struct ramet_session *session, uint32_t page_count)
{
    struct ramet_replica *const replica = session->replica;
    uint64_t cursor = 0;
    struct ramet_entry entry;
    uint32_t pgno;

    assert(ramet_may_publish(replica));
    while (ramet_writeset_next(&session->writes, &cursor, &pgno, &entry))
        if (pgno <= page_count)
            ramet_index_set(replica, pgno, entry);
    ramet_index_raise(&replica->head->header.log.high_water, page_count);
}

void
ramet_session_publish(struct ramet_session *session)
{
    const uint32_t page_count = session->prepared.after.snapshot.page_count;

    if (!session->prepared.is_set || ramet_session_is_parents(session))
        return;
    assert(session->is_reserved && session->is_pinned);
    if (session->truncated_after)
        append_truncation(session);
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    set_entries(session, page_count);
    ramet_publish_snapshot(session->replica, &session->prepared.after,
                           session->prepared.marks);
    assert(!session->prepared_is_stale);
    ramet_recent_note(session->replica, &session->prepared.trailer,
                      &session->writes);
    ramet_session_move_pin(session);
    after_transaction(session);
    ramet_checkpoint_keep_up(session);
}

void
ramet_session_discard(struct ramet_session *session)
{
    if (!session->is_reserved || ramet_session_is_parents(session))
        return;
    if (!session->has_writes && !session->prepared.is_set)
        return;
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    drop_pending(session);
    session->must_compare = true;
}

/* ---- release ------------------------------------------------------------- */

void
ramet_session_release(struct ramet_session *session)
{
    if (!session->is_reserved || ramet_session_is_parents(session))
        return;
    ramet_session_discard(session);
    session->is_reserved = false;
    ramet_epoch_leave(session, session->has_entered);
    assert(!session->prepared.is_set && !session->has_writes);
    ramet_write_unlock(session);
}
