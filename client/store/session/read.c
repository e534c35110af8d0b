/*
 * read.c - which version of a page a snapshot sees, and its bytes.
 *
 *   (1) nothing is locked; after each read the reader makes sure that what it
 *       read from was not retired or changed meanwhile, or begins again
 *   (2) a version in the log or a fetch file is used only if its frame names
 *       the page and the place, and the checksum is right
 */
#include "client/store/session/read.h"

#include <assert.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/format/writeset.h"
#include "client/store/page/fast_read.h"
#include "client/store/page/version.h"
#include "client/store/session/fetch.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/bytes.h"

/* ---- fetching ------------------------------------------------------------ */

/* The long way, which may lead over the network. */
static enum ramet_rc
read_or_fetch(struct ramet_session *session, uint32_t pgno, uint8_t *out,
              struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    struct ramet_page_version version;
    enum ramet_rc rc;

    assert(session->is_pinned && pgno >= 1 && pgno <= s->page_count);
    rc = ramet_read_version(session, s->tail, s->page_size, pgno, out, &version,
                            err);
    if (rc == RAMET_OK && ramet_version_is_elsewhere(&version))
        return ramet_fetch_page(session, pgno, out, &version, err);
    if (rc == RAMET_OK)
        ramet_fetch_tell(session, pgno, out);
    return rc;
}

enum ramet_rc
ramet_read_page(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;

    assert(session->is_pinned);
    if (pgno > s->page_count) {
        memset(out, 0, s->page_size);
        return RAMET_OK;
    }
    if (!ramet_fast_read(session, pgno, out))
        return read_or_fetch(session, pgno, out, err);
    ramet_fetch_tell(session, pgno, out);
    return RAMET_OK;
}

/* ---- own writes on top --------------------------------------------------- */

static enum ramet_rc
read_written(struct ramet_session *session, struct ramet_entry entry,
             uint8_t *out, struct ramet_err *err)
{
    const struct ramet_pos pos = ramet_entry_pos(entry);
    struct ramet_frame_file *file;
    enum ramet_rc rc;

    assert(session->has_writes);
    if (ramet_entry_kind(entry) == RAMET_ENTRY_LOG_ZERO) {
        memset(out, 0, session->page_size);
        return RAMET_OK;
    }
    if (!ramet_pos_before(pos, session->buf_pos)) {
        memcpy(out,
               session->buf + ramet_pos_bytes(session->buf_pos, pos) +
                   RAMET_LOGFRAME_HEADER_SIZE,
               session->page_size);
        return RAMET_OK;
    }
    rc = ramet_frame_file_get(session->replica, RAMET_FRAMES_LOG,
                              ramet_pos_file(pos), &file, err);
    if (rc != RAMET_OK)
        return rc;
    return ramet_os_read_full(
        session->replica->os, file->fd, out, session->page_size,
        ramet_pos_offset(pos) + RAMET_LOGFRAME_HEADER_SIZE, "log", err);
}

enum ramet_rc
ramet_read_own_page(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                    struct ramet_err *err)
{
    struct ramet_entry entry;

    assert(session->is_pinned && pgno >= 1);
    if (!session->has_writes)
        return ramet_read_page(session, pgno, out, err);
    entry = ramet_writeset_get(&session->writes, pgno);
    if (!ramet_entry_is_none(entry))
        return read_written(session, entry, out, err);
    if (pgno > session->least_page_count ||
        session->page_size != session->pin.snapshot.page_size) {
        memset(out, 0, session->page_size);
        return RAMET_OK;
    }
    return ramet_read_page(session, pgno, out, err);
}

uint64_t
ramet_session_size(struct ramet_session *session)
{
    assert(session->is_reserved || !session->has_writes);
    return session->is_reserved ? session->size
                                : session->pin.snapshot.byte_length;
}

static enum ramet_rc
read_pieces(struct ramet_session *session, uint64_t offset, uint8_t *buf,
            size_t len, uint32_t page_size, struct ramet_err *err)
{
    assert(len == 0 || ramet_page_size_ok(page_size));
    while (len != 0) {
        const uint32_t pgno = (uint32_t)(offset / page_size) + 1;
        const uint32_t within = (uint32_t)(offset % page_size);
        const size_t piece =
            len < page_size - within ? len : page_size - within;
        uint8_t *page = buf;
        enum ramet_rc rc;

        if (piece != page_size) {
            page = ramet_session_scratch(session, err);
            if (page == NULL)
                return RAMET_ENOMEM;
        }
        rc = ramet_read_own_page(session, pgno, page, err);
        if (rc != RAMET_OK)
            return rc;
        if (page != buf)
            memcpy(buf, page + within, piece);
        offset += piece;
        buf += piece;
        len -= piece;
    }
    return RAMET_OK;
}

/* Nearly every read: a whole page, and nothing of our own hides it. */
static bool
is_plain(struct ramet_session *session, uint64_t offset, size_t len)
{
    const uint64_t size = ramet_session_size(session);

    assert(session->is_pinned);
    return !session->has_writes && len == session->pin.snapshot.page_size &&
           offset < size && size - offset >= len && (offset & (len - 1)) == 0;
}

/* Any bytes; what is past the end of the file is zeros. */
static enum ramet_rc
read_bytes_at(struct ramet_session *session, uint64_t offset, uint8_t *buf,
              size_t len, size_t *out_got, struct ramet_err *err)
{
    const uint64_t size = ramet_session_size(session);
    const uint32_t page_size = session->has_writes
                                   ? session->page_size
                                   : session->pin.snapshot.page_size;
    size_t here = 0;
    enum ramet_rc rc = RAMET_OK;

    assert(session->is_pinned);
    if (offset < size)
        here = size - offset < len ? (size_t)(size - offset) : len;
    /* What SQLite looks at in each transaction needs no page. */
    if (!session->has_writes && offset + here <= RAMET_TRUE_HEADER_SIZE &&
        session->replica->kind == RAMET_KIND_SQLITE)
        memcpy(buf, session->pin.snapshot.header + offset, here);
    else
        rc = read_pieces(session, offset, buf, here, page_size, err);
    if (rc != RAMET_OK)
        return rc;
    memset(buf + here, 0, len - here);
    *out_got = here;
    return RAMET_OK;
}

enum ramet_rc
ramet_session_read(struct ramet_session *session, uint64_t offset, void *buf,
                   size_t len, size_t *out_got, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_check_fork(session, err);
    uint32_t pgno;

    if (rc != RAMET_OK)
        return rc;
    if (!session->is_pinned)
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: read without a snapshot",
                          session->replica->path);
    if (!is_plain(session, offset, len))
        return read_bytes_at(session, offset, buf, len, out_got, err);
    pgno = (uint32_t)(offset >> __builtin_ctzll(len)) + 1; /* a power of two */
    if (ramet_fast_read(session, pgno, buf))
        ramet_fetch_tell(session, pgno, buf);
    else
        rc = read_or_fetch(session, pgno, buf, err);
    if (rc == RAMET_OK)
        *out_got = len;
    return rc;
}

enum ramet_rc
ramet_session_absent(struct ramet_session *session, uint32_t after, size_t max,
                     struct ramet_pageset *out_set, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    uint32_t end = s->page_count;
    size_t count = 0;
    bool entered;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK)
        return rc;
    if (!session->is_pinned)
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: absent without a snapshot",
                          replica->path);
    assert(!ramet_session_has_own(session) || session->is_reserved);
    ramet_pageset_clear(out_set);
    if (end > s->remote_page_count)
        end = s->remote_page_count;
    entered = ramet_epoch_enter(session);
    for (uint64_t p = (uint64_t)after + 1;
         rc == RAMET_OK && p <= end && count < max; p++) {
        struct ramet_page_version version;

        rc = ramet_read_version(session, s->tail, s->page_size, (uint32_t)p,
                                NULL, &version, err);
        if (rc != RAMET_OK || (version.kind != RAMET_ENTRY_ABSENT &&
                               version.kind != RAMET_ENTRY_REMOTE))
            continue;
        if (ramet_pageset_add(out_set, (uint32_t)p) != RAMET_OK)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a set");
        count++;
    }
    ramet_epoch_leave(session, entered);
    return rc;
}

bool
ramet_session_read_before(struct ramet_session *session, struct ramet_pos tail,
                          uint32_t pgno, uint8_t *out_page)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    struct ramet_page_version version;
    bool entered;
    enum ramet_rc rc;

    assert(session->is_pinned && pgno >= 1);
    if (ramet_session_check_fork(session, NULL) != RAMET_OK ||
        ramet_pos_is_none(tail) || ramet_pos_before(s->tail, tail) ||
        !ramet_page_size_ok(s->page_size))
        return false;
    entered = ramet_epoch_enter(session);
    rc = ramet_read_version(session, tail, s->page_size, pgno, out_page,
                            &version, NULL);
    ramet_epoch_leave(session, entered);
    return rc == RAMET_OK && !ramet_version_is_elsewhere(&version);
}
