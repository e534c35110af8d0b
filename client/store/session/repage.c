/*
 * repage.c - a transaction that changes the page size, such as VACUUM's.
 *
 * Its writes came in pages of the old size. The whole new file is read through
 * them and written again in pages of the new one, as a record in a log file
 * of its own: each page has a frame there, so that nothing older is ever
 * looked at by a reader of the new snapshot. Readers of older ones must be
 * gone first, since page numbers mean other bytes from here on.
 */
#include "client/store/session/repage.h"

#include <assert.h>
#include <string.h>

#include "client/store/format/frames.h"
#include "client/store/format/writeset.h"
#include "client/store/session/barrier.h"
#include "client/store/session/record.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"
#include "core/bytes.h"

/* Bytes of the file as `old` sees it; past its end, zeros. */
static enum ramet_rc
read_old(struct ramet_session *old, uint64_t offset, uint8_t *out, uint32_t len,
         struct ramet_err *err)
{
    size_t got;

    assert(offset % len == 0);
    assert(old->is_pinned);
    return ramet_session_read(old, offset, out, len, &got, err);
}

static enum ramet_rc
copy_page(struct ramet_session *session, struct ramet_session *old,
          uint32_t pgno, uint8_t *page, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    enum ramet_entry_kind kind = RAMET_ENTRY_LOG_ZERO;
    uint8_t *to;
    struct ramet_pos pos;
    enum ramet_rc rc = read_old(old, (uint64_t)(pgno - 1) * session->page_size,
                                page, session->page_size, err);

    assert(pgno >= 1 && ramet_page_size_ok(session->page_size));
    if (rc != RAMET_OK)
        return rc;
    if (ramet_bytes_are_zero(page, session->page_size)) {
        rc = ramet_record_add(session, pgno, RAMET_LOGFRAME_ZERO, NULL, &pos,
                              err);
    } else {
        kind = RAMET_ENTRY_IMAGE;
        rc = ramet_record_add(session, pgno, RAMET_LOGFRAME_IMAGE, &to, &pos,
                              err);
        if (rc == RAMET_OK)
            memcpy(to, page, session->page_size);
    }
    if (rc == RAMET_OK)
        rc = ramet_writeset_put(&session->writes, replica->os, replica->dir_fd,
                                session->slot, pgno,
                                ramet_entry_of_pos(kind, pos), err);
    return rc;
}

/* The session begins anew; `old` owns what it had. */
static enum ramet_rc
part_ways(struct ramet_session *session, struct ramet_session **out_old,
          struct ramet_err *err)
{
    struct ramet_session *const old = ramet_alloc(sizeof(*old));

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    assert(session->is_reserved);
    if (old == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a transaction");
    *old = *session;
    old->scratch = NULL;
    old->ahead = NULL;
    session->buf = NULL;
    session->buf_len = 0;
    session->buf_capacity = 0;
    session->has_record = false;
    ramet_writeset_init(&session->writes);
    *out_old = old;
    return RAMET_OK;
}

static void
free_old(struct ramet_session *old)
{
    assert(old->scratch == NULL || old->scratch != old->buf);
    ramet_free(old->buf);
    ramet_free(old->scratch);
    ramet_free(old->ahead);
    ramet_writeset_done(&old->writes, old->replica->os);
    ramet_free(old);
}

enum ramet_rc
ramet_repage(struct ramet_session *session, uint32_t page_size,
             struct ramet_err *err)
{
    struct ramet_session *old = NULL;
    const uint32_t page_count = ramet_pages_of(session->size, page_size);
    uint8_t *const page = ramet_alloc(page_size);
    bool has_lock = false;
    enum ramet_rc rc = RAMET_OK;

    assert(session->is_reserved && session->has_writes);
    assert(page_size != session->page_size);
    if (page == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a page");
    if (rc == RAMET_OK && page_size != session->pin.snapshot.page_size &&
        atomic_load(&session->replica->head->header.log.high_water) != 0 &&
        !session->prepared.raised_barrier)
        rc = ramet_wait_alone(session, err);
    /* What was spilled already must not go with its log file meanwhile. */
    if (rc == RAMET_OK) {
        rc = ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE,
                        RAMET_LOCK_WAIT_MS, "a checkpoint is under way", err);
        has_lock = rc == RAMET_OK;
        if (rc == RAMET_EBUSY) /* which a commit never answers */
            rc = RAMET_ESNAPSHOT;
    }
    if (rc == RAMET_OK)
        rc = part_ways(session, &old, err);
    if (rc == RAMET_OK)
        rc = ramet_record_begin(session, page_size, err);
    for (uint64_t pgno = 1; rc == RAMET_OK && pgno <= page_count; pgno++)
        rc = copy_page(session, old, (uint32_t)pgno, page, err);
    if (rc == RAMET_OK) {
        /* Every page has a frame: none is to be compared or made zero. */
        session->must_compare = false;
        session->least_page_count = page_count;
        session->own_high = page_count;
    }
    if (has_lock)
        ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
    if (old != NULL)
        free_old(old);
    ramet_free(page);
    return rc;
}
