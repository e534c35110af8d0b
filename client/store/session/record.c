/*
 * record.c - building one record: frames in a buffer, spilled to the log when
 * that is full, and the trailer that makes them count.
 *
 *   (1) the caller holds the write lock from begin to publish or discard, so
 *       the place where the record goes is its own
 *   (2) a frame's header is finished when it is written: it names the entry
 *       that it replaces, which by (1) only a fetched page can change
 *   (3) no entry of the index names a frame before its trailer is in the log
 *   (4) none begins while one that was taken back may yet be found: void.c
 *   (5) a record that was prepared is void, on disk, before another is written
 *       in its place: what a failed sync, or a power cut, leaves of the two is
 *       then none, and not the first one, which nobody names
 *   (6) where a frame was written no other is ever written: after a sync that
 *       failed the system may let go of what it did not write, and read what was
 *       there before. So there is the frame that the index names, or none. What
 *       was prepared, or could not be written, stays as it is in the record that
 *       goes on; after one that was taken back the next begins a log file
 */
#include "client/store/session/record.h"

#include <assert.h>

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/format/writeset.h"
#include "client/store/log/log_grow.h"
#include "client/store/log/log_sync.h"
#include "client/store/log/publish.h"
#include "client/store/log/void.h"
#include "client/store/page/fetched.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/upkeep/maintenance.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define BUFFER_FIRST (20u << 10)

void
ramet_record_reset(struct ramet_session *session)
{
    assert(session->buf_len <= session->buf_capacity);
    ramet_writeset_clear(&session->writes, session->replica->os);
    session->has_record = false;
    session->buf_len = 0;
    session->buf_fixed = 0;
    session->spilled_count = 0;
    session->spilled_sum = 0;
    if (session->buf_capacity > RAMET_BUFFER_KEEP) {
        ramet_free(session->buf);
        session->buf = NULL;
        session->buf_capacity = 0;
    }
}

static enum ramet_rc
make_room(struct ramet_session *session, size_t more, struct ramet_err *err)
{
    size_t capacity = session->buf_capacity;
    uint8_t *buf;

    assert(more <= RAMET_BUFFER_MAX);
    assert(session->buf_len <= capacity);
    if (session->buf_len + more <= capacity)
        return RAMET_OK;
    if (capacity < BUFFER_FIRST)
        capacity = BUFFER_FIRST;
    while (capacity < session->buf_len + more)
        capacity *= 2;
    buf = ramet_realloc(session->buf, capacity);
    if (buf == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a transaction");
    session->buf = buf;
    session->buf_capacity = capacity;
    return RAMET_OK;
}

/* The log file at `pos`, to be written, with pages of `page_size`. */
static enum ramet_rc
enter_file(struct ramet_session *session, struct ramet_pos pos,
           uint32_t page_size, struct ramet_frame_file **out_file,
           struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    assert(ramet_page_size_ok(page_size));
    if (ramet_pos_offset(pos) > RAMET_FRAME_FILE_HEADER_SIZE) {
        rc = ramet_frame_file_get(session->replica, RAMET_FRAMES_LOG,
                                  ramet_pos_file(pos), out_file, err);
        if (rc == RAMET_OK && (*out_file)->page_size != page_size)
            return RAMET_EEXIST;
        return rc;
    }
    return ramet_frame_file_create(session->replica, RAMET_FRAMES_LOG,
                                   ramet_pos_file(pos), page_size, out_file,
                                   err);
}

enum ramet_rc
ramet_record_begin(struct ramet_session *session, uint32_t page_size,
                   struct ramet_err *err)
{
    struct ramet_index_header *const header = &session->replica->head->header;
    struct ramet_frame_file *file;
    struct ramet_pos before;
    struct ramet_pos used;
    struct ramet_pos pos;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_page_size_ok(page_size));
    assert(session->is_reserved && !session->has_record);
    assert(!ramet_is_in_doubt(session->replica));
    if (atomic_load(&header->log.void_pending) != 0) /* invariant (4) */
        rc = ramet_recover_prepared(session, err);
    if (rc != RAMET_OK)
        return rc;
    pos = before = ramet_pos_load(&header->log.write_pos);
    used = ramet_pos_load(&header->log.used);
    if (ramet_pos_before(pos, used)) /* (6); it may be in a later file */
        pos = ramet_pos_first(ramet_pos_file(used) + 1);
    else if (ramet_pos_offset(pos) >= RAMET_LOG_FILE_SIZE)
        pos = ramet_pos_first(ramet_pos_file(pos) + 1);
    for (;;) {
        rc = enter_file(session, pos, page_size, &file, err);
        if (rc != RAMET_EEXIST)
            break;
        pos = ramet_pos_first(ramet_pos_file(pos) + 1);
    }
    if (rc != RAMET_OK)
        return rc;
    if (!ramet_pos_same(pos, before)) {
        ramet_pos_store(&header->log.write_pos, pos);
        ramet_maintenance_wake(session->replica);
    }
    session->page_size = page_size;
    session->rec_start = pos;
    session->buf_pos = pos;
    session->buf_len = 0;
    session->buf_fixed = 0;
    session->spilled_count = 0;
    session->spilled_sum = 0;
    session->has_record = true;
    return RAMET_OK;
}

/*
 * A fetch file may go while readers of older versions are here. A frame that
 * took the place of a fetched page names what that page had replaced, if it is
 * in the log; else older readers could not find their way past it.
 */
static enum ramet_rc
see_through_fetched(struct ramet_session *session, uint32_t pgno,
                    struct ramet_entry *io_replaced, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(pgno >= 1);
    for (unsigned i = 0; i < 3; i++) {
        rc = ramet_fetched_see_through(session->replica, pgno, io_replaced,
                                       rc == RAMET_OK ? err : NULL);
        if (rc != RAMET_ENOTFOUND) /* retired: it has another entry now */
            break;
        rc = ramet_index_load(session, pgno, io_replaced, err);
        if (rc != RAMET_OK)
            break;
    }
    return rc;
}

/* Finish the headers of all frames in the buffer, by invariant (2). */
static enum ramet_rc
finish_frames(struct ramet_session *session, uint64_t salt, uint64_t *io_count,
              uint64_t *io_sum, struct ramet_err *err)
{
    struct ramet_pos pos = session->buf_pos;
    size_t at = 0;

    assert(session->buf_pos.raw >= session->rec_start.raw);
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    while (at < session->buf_len) {
        uint8_t *const header = session->buf + at;
        const uint32_t pgno = ramet_get_le32(header + 8);
        const enum ramet_logframe_kind kind =
            (enum ramet_logframe_kind)ramet_get_le32(header + 12);
        const bool has_page = ramet_logframe_has_page(kind);
        size_t size = RAMET_LOGFRAME_HEADER_SIZE;
        struct ramet_entry replaced = RAMET_NO_ENTRY;
        uint64_t hash = 0;

        if (kind != RAMET_LOGFRAME_DEAD) {
            enum ramet_rc rc = ramet_index_reserve(session->replica, pgno, err);

            if (rc == RAMET_OK)
                rc = ramet_index_load(session, pgno, &replaced, err);
            if (rc == RAMET_OK)
                rc = see_through_fetched(session, pgno, &replaced, err);
            if (rc != RAMET_OK)
                return rc;
        }
        if (has_page) {
            hash = ramet_hash64(header + size, session->page_size);
            size += session->page_size;
        }
        *io_sum = ramet_logframes_sum(
            *io_sum, ramet_logframe_encode(header, pgno, kind, replaced, pos,
                                           salt, hash));
        (*io_count)++;
        pos = ramet_pos_add(pos, size);
        at += size;
    }
    assert(at == session->buf_len);
    return RAMET_OK;
}

enum ramet_rc
ramet_record_go_on(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_prepared *const prepared = &session->prepared;
    enum ramet_rc rc;

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    if (!prepared->is_set || prepared->is_void)
        return RAMET_OK;
    rc = ramet_void_record(session->replica, &prepared->span,
                           err); /* invariant (5) */
    prepared->is_void = rc == RAMET_OK;
    if (rc != RAMET_OK)
        return rc;
    /* Invariant (6): as if they had been spilled; what comes is written over the
     * trailer. */
    session->spilled_count = prepared->trailer.frame_count;
    session->spilled_sum = prepared->trailer.frames_sum;
    session->buf_pos = prepared->trailer.pos;
    session->buf_len = 0;
    session->buf_fixed = 0;
    return RAMET_OK;
}

/* Invariant (6), before it is done: whoever dies in it leaves that as well. */
static void
note_use(struct ramet_session *session)
{
    if (session->buf_len != 0)
        ramet_pos_raise(&session->replica->head->header.log.used,
                        ramet_pos_add(session->buf_pos, session->buf_len));
}

static enum ramet_rc
spill(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_frame_file *file;
    uint64_t count = session->spilled_count;
    uint64_t sum = session->spilled_sum;
    enum ramet_rc rc =
        ramet_frame_file_get(session->replica, RAMET_FRAMES_LOG,
                             ramet_pos_file(session->buf_pos), &file, err);

    assert(session->buf_len <= RAMET_BUFFER_MAX);
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    assert(!session->prepared.is_set || session->prepared.is_void);
    if (rc == RAMET_OK)
        rc = finish_frames(session, file->salt, &count, &sum, err);
    if (rc == RAMET_OK &&
        ramet_pos_offset(session->buf_pos) >
            RAMET_FRAME_OFFSET_MAX - 2 * (uint64_t)RAMET_BUFFER_MAX)
        rc = RAMET_FAIL(err, RAMET_ETOOBIG,
                        "%s: a transaction of more than 511 GiB",
                        session->replica->path);
    if (rc != RAMET_OK)
        return rc;
    note_use(session);
    session->buf_fixed =
        session->buf_len; /* it may be there, though it fails */
    rc = ramet_os_write_full(session->replica->os, file->fd, session->buf,
                             session->buf_len,
                             ramet_pos_offset(session->buf_pos), "log", err);
    if (rc != RAMET_OK)
        return rc;
    session->spilled_count = count;
    session->spilled_sum = sum;
    session->buf_pos = ramet_pos_add(session->buf_pos, session->buf_len);
    session->buf_len = 0;
    session->buf_fixed = 0;
    return RAMET_OK;
}

enum ramet_rc
ramet_record_add(struct ramet_session *session, uint32_t pgno,
                 enum ramet_logframe_kind kind, uint8_t **out_page,
                 struct ramet_pos *out_pos, struct ramet_err *err)
{
    const size_t size =
        RAMET_LOGFRAME_HEADER_SIZE +
        (ramet_logframe_has_page(kind) ? session->page_size : 0);
    uint8_t *header;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(session, RAMET_LOCK_WRITE)); /* invariant (1) */
    assert(session->has_record && pgno != 0);
    if (session->buf_len + size + RAMET_TRAILER_MAX > RAMET_BUFFER_MAX)
        rc = spill(session, err);
    if (rc == RAMET_OK)
        rc = make_room(session, size, err);
    if (rc != RAMET_OK)
        return rc;
    header = session->buf + session->buf_len;
    ramet_put_le32(header + 8, pgno);
    ramet_put_le32(header + 12, (uint32_t)kind);
    *out_pos = ramet_pos_add(session->buf_pos, session->buf_len);
    if (out_page != NULL)
        *out_page = header + RAMET_LOGFRAME_HEADER_SIZE;
    assert(session->buf_len + size <= session->buf_capacity);
    session->buf_len += size;
    return RAMET_OK;
}

void
ramet_trailer_set_point(struct ramet_trailer *trailer,
                        const struct ramet_remote_point *point)
{
    assert(trailer->type != RAMET_RECORD_COMMIT);
    trailer->lsn = point->lsn;
    trailer->lsn_hash = point->hash;
    trailer->lsn_time_ms = point->time_ms;
    trailer->remote_page_count = point->page_count;
}

/* It may be in the log all the same: whoever recovers would take it, and nothing of
 * what follows in another file. A void that can't be written is pending. */
static void
void_what_failed(struct ramet_session *session,
                 const struct ramet_trailer *trailer)
{
    const struct ramet_record_span span = ramet_record_span_of(trailer);

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    (void)!ramet_void_record(session->replica, &span, NULL);
}

enum ramet_rc
ramet_record_finish(struct ramet_session *session,
                    struct ramet_trailer *trailer, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_prepared *const prepared = &session->prepared;
    struct ramet_frame_file *file;
    size_t size;
    enum ramet_rc rc =
        ramet_frame_file_get(replica, RAMET_FRAMES_LOG,
                             ramet_pos_file(session->buf_pos), &file, err);

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    assert(session->has_record);
    assert(!prepared->is_set || prepared->is_void); /* invariant (5) */
    trailer->frame_count = session->spilled_count;
    trailer->frames_sum = session->spilled_sum;
    if (rc == RAMET_OK)
        rc = finish_frames(session, file->salt, &trailer->frame_count,
                           &trailer->frames_sum, err);
    if (rc == RAMET_OK)
        rc = make_room(session, RAMET_TRAILER_MAX, err);
    if (rc != RAMET_OK)
        return rc;
    trailer->time_ms = replica->os->wall_ms(replica->os->ctx);
    trailer->start = session->rec_start;
    trailer->pos = ramet_pos_add(session->buf_pos, session->buf_len);
    trailer->synced = ramet_pos_load(&header->all.synced);
    if (ramet_pos_before(trailer->start, trailer->synced))
        trailer->synced = trailer->start; /* that was of what stood here */
    size = ramet_trailer_encode(trailer, file->salt,
                                session->buf + session->buf_len);
    assert(session->buf_len + size <= session->buf_capacity);
    assert(!ramet_pos_before(trailer->start, trailer->synced));
    ramet_log_grow_ahead(session, file,
                         ramet_pos_offset(session->buf_pos) + session->buf_len +
                             size,
                         session->buf_len + size);
    note_use(session);
    /* Set first: whoever finds us dead after this looks into the log. */
    ramet_pos_store(&header->log.prepared, session->rec_start);
    rc = ramet_os_write_full(replica->os, file->fd, session->buf,
                             session->buf_len + size,
                             ramet_pos_offset(session->buf_pos), "log", err);
    if (rc != RAMET_OK) {
        void_what_failed(session, trailer);
        return rc;
    }
    prepared->is_set = true;
    prepared->is_synced = false;
    prepared->is_void = false;
    prepared->span = ramet_record_span_of(trailer);
    prepared->trailer = *trailer;
    prepared->least_page_count = trailer->least_page_count;
    prepared->marks = ramet_record_marks(trailer);
    ramet_trailer_to_published(trailer, &session->pin.snapshot,
                               &prepared->after);
    return RAMET_OK;
}
