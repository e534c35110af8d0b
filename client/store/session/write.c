/*
 * write.c - the write lock, the reader barrier, and the writes of a
 * transaction before they are prepared.
 *
 *   (1) while the write lock is held the pin is the newest snapshot
 *   (2) a page in the write set has its newest bytes in the frame that the set
 *       names; older frames of it in the record are dead or come before it
 */
#include "client/store/session/write.h"

#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/format/writeset.h"
#include "client/store/log/publish.h"
#include "client/store/session/doubt.h"
#include "client/store/session/pin.h"
#include "client/store/session/read.h"
#include "client/store/session/record.h"
#include "client/store/shared/base.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/mark.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/shared/super.h"
#include "client/store/store.h"
#include "core/bytes.h"

/* ---- the write lock ------------------------------------------------------ */

static void
begin_transaction(struct ramet_session *session)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;

    assert(!session->prepared.is_set);
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    assert(session->is_pinned && !session->is_reserved);
    session->is_reserved = true;
    session->has_entered = ramet_epoch_enter(session);
    session->has_writes = false;
    session->must_compare = session->replica->kind == RAMET_KIND_BLOB;
    session->has_record = false;
    session->page_size = s->page_size;
    session->size = s->byte_length;
    session->least_page_count = s->page_count;
    session->own_high = 0;
    session->truncated_after = false;
    memset(&session->doubt, 0, sizeof(session->doubt));
}

/* Invariant (1). What came since the pin may have changed no page (a push):
 * then the newest snapshot is to its reader the one that it has. */
static enum ramet_rc
move_to_newest(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_published newest;

    assert(session->is_pinned);
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    if (ramet_index_newest(replica, &newest) == session->number)
        return RAMET_OK;
    if (newest.snapshot.pages_seq != session->pin.snapshot.pages_seq)
        return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                          "%s: the snapshot is no longer the newest",
                          replica->path);
    ramet_session_move_pin(session);
    return RAMET_OK;
}

enum ramet_rc
ramet_session_reserve(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_index_header *const header = &replica->head->header;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK || session->is_reserved)
        return rc;
    if (session->is_readonly)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s is open for reading only",
                          replica->path);
    if (!session->is_pinned)
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: write without a snapshot",
                          replica->path);
    rc = ramet_write_lock(session, err);
    if (rc != RAMET_OK)
        return rc;
    if (!ramet_is_recovered(replica))
        rc = ramet_recover_prepared(session, err);
    if (rc == RAMET_OK &&
        atomic_load(&header->all.supers) != atomic_load(&replica->seen_supers))
        ramet_super_sweep(replica, false);
    if (rc == RAMET_OK)
        rc = ramet_doubt_check(replica, err);
    if (rc == RAMET_OK)
        rc = move_to_newest(session, err);
    if (rc == RAMET_OK)
        rc = ramet_base_unclean(session, err);
    if (rc != RAMET_OK) {
        ramet_write_unlock(session);
        return rc;
    }
    assert(ramet_is_recovered(replica));
    begin_transaction(session);
    return RAMET_OK;
}

enum ramet_rc
ramet_reserve_locked(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(session, RAMET_LOCK_WRITE) && !session->is_reserved);
    if (!ramet_is_recovered(replica))
        rc = ramet_recover_prepared(session, err);
    if (rc == RAMET_OK)
        rc = ramet_doubt_check(replica, err);
    if (rc == RAMET_OK)
        rc = ramet_base_unclean(session, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_session_move_pin(session);
    begin_transaction(session);
    return RAMET_OK;
}

bool
ramet_session_is_reserved(const struct ramet_session *session)
{
    return session->is_reserved;
}

bool
ramet_session_write_locked(struct ramet_session *session)
{
    const struct ramet_os *const os = session->replica->os;

    if (session->is_reserved)
        return true;
    if (ramet_session_check_fork(session, NULL) != RAMET_OK)
        return false;
    return os->lock_held(os->ctx, session->lock_fd, RAMET_LOCK_WRITE, 1,
                         RAMET_LOCK_SHARED) == 1;
}

/* ---- writes -------------------------------------------------------------- */

/* The frame of the page, in the buffer, to be written whole. */
static enum ramet_rc
frame_for(struct ramet_session *session, uint32_t pgno, uint8_t **out_page,
          struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_entry entry = ramet_writeset_get(&session->writes, pgno);
    struct ramet_pos pos;
    enum ramet_rc rc;

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    assert(session->has_writes && pgno >= 1);
    if (!ramet_entry_is_none(entry))
        session->must_compare = true;
    if (ramet_entry_kind(entry) == RAMET_ENTRY_IMAGE &&
        !ramet_pos_before(
            ramet_entry_pos(entry),
            ramet_pos_add(session->buf_pos, session->buf_fixed))) {
        *out_page = session->buf +
                    ramet_pos_bytes(session->buf_pos, ramet_entry_pos(entry)) +
                    RAMET_LOGFRAME_HEADER_SIZE;
        return RAMET_OK;
    }
    rc = ramet_record_add(session, pgno, RAMET_LOGFRAME_IMAGE, out_page, &pos,
                          err);
    if (rc == RAMET_OK)
        rc = ramet_writeset_put(
            &session->writes, replica->os, replica->dir_fd, session->slot, pgno,
            ramet_entry_of_pos(RAMET_ENTRY_IMAGE, pos), err);
    if (rc == RAMET_OK && pgno > session->own_high)
        session->own_high = pgno;
    return rc;
}

/* A part of a page: the rest stays as it is. */
static enum ramet_rc
write_part(struct ramet_session *session, uint32_t pgno, uint32_t within,
           const void *buf, size_t len, struct ramet_err *err)
{
    uint8_t *const scratch = ramet_session_scratch(session, err);
    uint8_t *page;
    enum ramet_rc rc;

    assert(session->is_reserved && pgno >= 1);
    assert(len < session->page_size && within <= session->page_size - len);
    if (scratch == NULL)
        return RAMET_ENOMEM;
    if (pgno <= ramet_pages_of(session->size, session->page_size)) {
        rc = ramet_read_own_page(session, pgno, scratch, err);
        if (rc != RAMET_OK)
            return rc;
    } else {
        memset(scratch, 0, session->page_size);
    }
    memcpy(scratch + within, buf, len);
    rc = frame_for(session, pgno, &page, err);
    if (rc == RAMET_OK)
        memcpy(page, scratch, session->page_size);
    return rc;
}

/* Pages above `last` leave the transaction; their frames must not count. */
static void
drop_pages_above(struct ramet_session *session, uint32_t last)
{
    size_t at = session->buf_fixed;

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    assert(session->is_reserved);
    while (at < session->buf_len) {
        uint8_t *const header = session->buf + at;
        const enum ramet_logframe_kind kind =
            (enum ramet_logframe_kind)ramet_get_le32(header + 12);

        if (kind == RAMET_LOGFRAME_IMAGE && ramet_get_le32(header + 8) > last)
            ramet_put_le32(header + 12, RAMET_LOGFRAME_DEAD);
        at += RAMET_LOGFRAME_HEADER_SIZE +
              (ramet_logframe_has_page(kind) ? session->page_size : 0);
    }
    ramet_writeset_truncate(&session->writes, last);
}

/* Bytes of the last page past the new end must be zero if it grows again. */
static enum ramet_rc
clear_tail(struct ramet_session *session, uint64_t byte_length,
           struct ramet_err *err)
{
    static const uint8_t zeros[RAMET_PAGE_SIZE_MAX];
    const uint32_t within = (uint32_t)(byte_length % session->page_size);

    assert(ramet_page_size_ok(session->page_size));
    if (within == 0)
        return RAMET_OK;
    return write_part(session, (uint32_t)(byte_length / session->page_size) + 1,
                      within, zeros, session->page_size - within, err);
}

/* A truncation that came after the record was prepared: since more is written
 * it becomes a part of the transaction like any other. */
enum ramet_rc
ramet_finish_truncate(struct ramet_session *session, struct ramet_err *err)
{
    const uint32_t page_count =
        ramet_pages_of(session->size, session->page_size);
    const enum ramet_rc rc = ramet_record_go_on(session, err);

    assert(session->is_reserved && session->has_writes);
    assert(session->truncated_after);
    if (rc != RAMET_OK)
        return rc;
    session->truncated_after = false;
    session->prepared_is_stale = true;
    drop_pages_above(session, page_count);
    if (page_count < session->least_page_count)
        session->least_page_count = page_count;
    return clear_tail(session, session->size, err);
}

static enum ramet_rc
begin_writes(struct ramet_session *session, uint64_t first_length,
             struct ramet_err *err)
{
    uint32_t page_size = session->page_size;
    enum ramet_rc rc;

    if (!session->is_reserved)
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: write without the lock",
                          session->replica->path);
    if (session->has_writes && session->has_record)
        return session->truncated_after ? ramet_finish_truncate(session, err)
                                        : ramet_record_go_on(session, err);
    if (session->size == 0 && session->replica->kind == RAMET_KIND_SQLITE &&
        ramet_page_size_ok(first_length))
        page_size = (uint32_t)first_length;
    if (page_size == 0)
        page_size = 4096;
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    rc = ramet_record_begin(session, page_size, err);
    if (rc == RAMET_OK)
        session->has_writes = true;
    return rc;
}

enum ramet_rc
ramet_session_write(struct ramet_session *session, uint64_t offset,
                    const void *buf, size_t len, struct ramet_err *err)
{
    const uint8_t *bytes = buf;
    const uint64_t end = offset + len;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK || len == 0)
        return rc;
    if (rc == RAMET_OK)
        rc = begin_writes(session, len, err);
    if (rc != RAMET_OK)
        return rc;
    if (end < offset || end > (uint64_t)UINT32_MAX * session->page_size)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "%s would have too many pages",
                          session->replica->path);
    assert(session->is_reserved && session->has_record);
    session->prepared_is_stale = true;
    while (len != 0) {
        const uint32_t pgno = (uint32_t)(offset / session->page_size) + 1;
        const uint32_t within = (uint32_t)(offset % session->page_size);
        const size_t piece = len < session->page_size - within
                                 ? len
                                 : session->page_size - within;
        uint8_t *page;

        if (piece == session->page_size) {
            rc = frame_for(session, pgno, &page, err);
            if (rc == RAMET_OK)
                memcpy(page, bytes, piece);
        } else {
            rc = write_part(session, pgno, within, bytes, piece, err);
        }
        if (rc != RAMET_OK)
            return rc;
        offset += piece;
        bytes += piece;
        len -= piece;
        if (offset > session->size)
            session->size = offset;
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_session_truncate(struct ramet_session *session, uint64_t byte_length,
                       struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_check_fork(session, err);
    uint32_t page_count;

    if (rc != RAMET_OK)
        return rc;
    if (session->is_reserved && byte_length == session->size)
        return RAMET_OK;
    if (session->prepared.is_set && !session->prepared_is_stale &&
        byte_length < session->size && session->is_reserved) {
        session->size = byte_length; /* published with what is prepared */
        session->truncated_after = true;
        return RAMET_OK;
    }
    rc = begin_writes(session, 0, err);
    if (rc != RAMET_OK)
        return rc;
    if (byte_length > (uint64_t)UINT32_MAX * session->page_size)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "%s would have too many pages",
                          session->replica->path);
    session->prepared_is_stale = true;
    assert(session->is_reserved && ramet_page_size_ok(session->page_size));
    page_count = ramet_pages_of(byte_length, session->page_size);
    if (byte_length < session->size) {
        rc = clear_tail(session, byte_length, err);
        if (rc != RAMET_OK)
            return rc;
        drop_pages_above(session, page_count);
        if (page_count < session->least_page_count)
            session->least_page_count = page_count;
    }
    session->size = byte_length;
    return RAMET_OK;
}

bool
ramet_replica_is_written(const struct ramet_replica *replica)
{
    return ramet_is_held(replica, RAMET_LOCK_WRITE) ||
           ramet_is_held(replica, RAMET_LOCK_CHECKPOINT);
}
