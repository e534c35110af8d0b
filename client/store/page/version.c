/*
 * version.c - which version of a page a snapshot sees.
 *
 *   (1) nothing is locked; after each read the reader makes sure that what it
 *       read from was not retired or changed meanwhile, or begins again
 *   (2) a version in the log or a fill file is used only if its frame names
 *       the page and the place, and the checksum is right
 */
#include "client/store/page/version.h"

#include <assert.h>
#include <string.h>

#include "client/store/format/logfile.h"
#include "client/store/page/past.h"
#include "client/store/shared/base.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/gens.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"

#define RESTARTS_MAX 100000u

/* Walking from version to version. */
struct lookup {
    struct ramet_session *session;
    struct ramet_pos tail;
    uint32_t page_size;
    uint32_t pgno;
    uint8_t *out;
    uint8_t *spare; /* for pages that are only checked; made when needed */
    struct ramet_entry at; /* the entry looked at */
    struct ramet_pos
        bound; /* each version in the log stands before the one after it:
                       no damage leads round in a circle */
    struct ramet_version *version;
    bool again; /* the index changed during the read: retry */
    bool is_found;
};

/* A frame that was read with its page; neither is believed before `is_right`:
 * the one checksum is over both. */
struct frame_read {
    struct ramet_logframe frame;
    uint32_t page_size;
    uint64_t hash; /* the page's; 0 without one */
    bool is_right;
};

static bool
is_log_retired(const struct lookup *l, struct ramet_pos pos)
{
    atomic_thread_fence(memory_order_acquire); /* after what was read */
    return ramet_pos_gen(pos) <
           atomic_load_explicit(
               &l->session->replica->head->header.checkpoint.oldest,
               memory_order_acquire);
}

static bool
is_fill_retired(const struct lookup *l, struct ramet_pos pos)
{
    atomic_thread_fence(memory_order_acquire);
    return ramet_pos_gen(pos) <
           atomic_load_explicit(&l->session->replica->head->header.fill.oldest,
                                memory_order_acquire);
}

/* Room for a page of a frame; the reader's own, where it fits. */
static uint8_t *
room_for_page(struct lookup *l, uint32_t page_size)
{
    if (l->out != NULL && page_size == l->page_size)
        return l->out;
    if (l->spare == NULL)
        l->spare = ramet_alloc(RAMET_PAGE_SIZE_MAX);
    return l->spare;
}

/* Header and page, if there is one, at `pos`. */
static enum ramet_rc
read_bytes(struct lookup *l, const struct ramet_gen *gen, struct ramet_pos pos,
           struct iovec iov[2], struct ramet_err *err)
{
    const struct ramet_os *const os = l->session->replica->os;
    const uint64_t offset = ramet_pos_offset(pos);
    const size_t want = iov[0].iov_len + iov[1].iov_len;
    const ssize_t got =
        os->preadv(os->ctx, gen->fd, iov, iov[1].iov_len == 0 ? 1 : 2, offset);
    size_t page_got = 0;
    enum ramet_rc rc;

    if (got == (ssize_t)want)
        return RAMET_OK;
    if (got < 0)
        return RAMET_FAIL_SYS(err, ramet_rc_of_errno((int)-got), (int)-got,
                              "read page %u of %s", l->pgno,
                              l->session->replica->path);
    /* A short read, which files give at their end: byte by byte then. A page
     * that is not whole fails its checksum, unless the frame has none. */
    rc = ramet_os_read_full(os, gen->fd, iov[0].iov_base, iov[0].iov_len,
                            offset, "log", err);
    if (rc == RAMET_OK && iov[1].iov_len != 0)
        rc = ramet_os_read_some(os, gen->fd, iov[1].iov_base, iov[1].iov_len,
                                offset + iov[0].iov_len, &page_got, "log", err);
    if (rc == RAMET_OK && page_got < iov[1].iov_len)
        memset((uint8_t *)iov[1].iov_base + page_got, 0,
               iov[1].iov_len - page_got);
    return rc;
}

/* Does the header name page and place, and is the checksum over it and the page
 * right? Invariant (2). A fill without a page gives zeros. */
static bool
is_frame_right(const struct lookup *l, const struct ramet_gen *gen,
               const uint8_t *header, bool is_fill, struct ramet_pos pos,
               void *page, struct frame_read *read)
{
    uint64_t claimed;
    struct ramet_point at;

    if (is_fill) {
        if (!ramet_fill_decode(header, pos, gen->salt, &read->frame, &at,
                               &claimed))
            return false;
        if (read->frame.kind == RAMET_LOGFRAME_ZERO) {
            memset(page, 0, gen->page_size);
            read->hash = 0;
        }
    } else {
        if (!ramet_logframe_decode(header, pos, &read->frame))
            return false;
        claimed = ramet_logframe_page_hash(header, gen->salt);
    }
    return read->frame.pgno == l->pgno && read->hash == claimed;
}

/* The frame of `kind` at `pos`. Its page is in `out` if that is one of its
 * size. */
static enum ramet_rc
read_frame(struct lookup *l, enum ramet_entry_kind kind, struct ramet_pos pos,
           struct frame_read *out, struct ramet_err *err)
{
    const bool is_fill = kind == RAMET_ENTRY_FILL;
    uint8_t header[RAMET_FILL_HEADER_SIZE];
    struct iovec iov[2] = {
        {header, is_fill ? RAMET_FILL_HEADER_SIZE : RAMET_LOGFRAME_HEADER_SIZE},
        {NULL, 0}};
    struct ramet_gen *gen = NULL;
    enum ramet_rc rc = ramet_gen_get(l->session->replica,
                                     is_fill ? RAMET_GEN_FILL : RAMET_GEN_LOG,
                                     ramet_pos_gen(pos), &gen, err);

    if (rc == RAMET_OK && (is_fill || kind == RAMET_ENTRY_IMAGE)) {
        iov[1].iov_base = room_for_page(l, gen->page_size);
        iov[1].iov_len = gen->page_size;
        if (iov[1].iov_base == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a page");
    }
    if (rc == RAMET_OK)
        rc = read_bytes(l, gen, pos, iov, err);
    if (rc != RAMET_OK)
        return rc;
    out->page_size = gen->page_size;
    out->hash = 0;
    if (iov[1].iov_len != 0)
        out->hash = ramet_hash64(iov[1].iov_base, iov[1].iov_len);
    out->is_right =
        is_frame_right(l, gen, header, is_fill, pos, iov[1].iov_base, out);
    return RAMET_OK;
}

static void
find_version(struct lookup *l, enum ramet_entry_kind kind)
{
    l->version->kind = kind;
    l->is_found = true;
}

/* The version is in the frame that was read. */
static enum ramet_rc
find_in_frame(struct lookup *l, enum ramet_entry_kind kind,
              const struct frame_read *read)
{
    if (l->out != NULL && read->page_size != l->page_size)
        return RAMET_ECORRUPT;
    l->version->hash = read->hash;
    l->version->has_hash = read->frame.kind == RAMET_LOGFRAME_IMAGE;
    find_version(l, kind);
    return RAMET_OK;
}

/* What a checkpoint kept for old snapshots is theirs at any time. Where they
 * come to the base they look once more: it may have been kept just now. */
static enum ramet_rc
look_in_past(struct lookup *l, struct ramet_err *err)
{
    struct ramet_past_version past;
    const enum ramet_rc rc =
        ramet_past_find(l->session->replica, l->tail, l->page_size, l->pgno,
                        l->out, &past, err);

    if (rc != RAMET_OK || past.kind == RAMET_ENTRY_NONE)
        return rc;
    l->at = RAMET_NO_ENTRY;
    l->again = false;
    l->version->hash = past.hash;
    l->version->has_hash = past.kind == RAMET_ENTRY_IMAGE;
    find_version(l, past.kind);
    return RAMET_OK;
}

/* The entry is a log position. */
static enum ramet_rc
look_in_log(struct lookup *l, struct ramet_err *err)
{
    const struct ramet_pos pos = ramet_entry_pos(l->at);
    const enum ramet_entry_kind kind = ramet_entry_kind(l->at);
    const bool is_newer = !ramet_pos_before(pos, l->tail);
    struct frame_read read;
    enum ramet_rc rc;

    if (!ramet_pos_before(pos, l->bound))
        return RAMET_ECORRUPT;
    l->bound = pos;
    if (is_newer && is_log_retired(l, pos)) { /* the base is too new */
        rc = look_in_past(l, err);
        return rc == RAMET_OK && !l->is_found ? RAMET_ECORRUPT : rc;
    }
    if (is_log_retired(l, pos)) { /* it is in the base now */
        l->at = ramet_entry_of_stamp(
            kind == RAMET_ENTRY_IMAGE      ? RAMET_ENTRY_HELD
            : kind == RAMET_ENTRY_LOG_ZERO ? RAMET_ENTRY_ZERO
                                           : RAMET_ENTRY_ABSENT,
            0);
        return RAMET_OK;
    }
    if (!is_newer && (kind != RAMET_ENTRY_IMAGE || l->out == NULL)) {
        find_version(l, kind);
        return RAMET_OK;
    }
    rc = read_frame(l, kind, pos, &read, err);
    if (is_log_retired(l, pos)) { /* invariant (1) */
        l->again = true;
        return RAMET_OK;
    }
    if (rc != RAMET_OK)
        return rc == RAMET_ENOTFOUND ? RAMET_ECORRUPT : rc;
    if (!read.is_right) /* invariant (2) */
        return RAMET_ECORRUPT;
    if (is_newer) {
        l->at = read.frame.replaced;
        return RAMET_OK;
    }
    return find_in_frame(l, kind, &read);
}

/* The entry is a fill: as good as what it replaced, if that is visible. */
static enum ramet_rc
look_in_fill(struct lookup *l, struct ramet_err *err)
{
    const struct ramet_pos pos = ramet_entry_pos(l->at);
    struct frame_read read;
    enum ramet_rc rc = read_frame(l, RAMET_ENTRY_FILL, pos, &read, err);

    if (is_fill_retired(l, pos)) {
        /* Reached through a later version it can be fetched again. */
        l->again = ramet_entry_same(l->at, l->version->top);
        l->at = ramet_entry_of_stamp(RAMET_ENTRY_ABSENT, 0);
        return RAMET_OK;
    }
    if (rc != RAMET_OK)
        return rc == RAMET_ENOTFOUND ? RAMET_ECORRUPT : rc;
    if (!read.is_right)
        return RAMET_ECORRUPT;
    if (ramet_entry_in_log(read.frame.replaced) &&
        !ramet_pos_before(ramet_entry_pos(read.frame.replaced), l->tail)) {
        l->at = read.frame.replaced;
        return RAMET_OK;
    }
    if (!ramet_entry_in_log(read.frame.replaced)) { /* of the base's version */
        rc = look_in_past(l, err);
        if (rc != RAMET_OK || l->is_found)
            return rc;
    }
    return find_in_frame(l, RAMET_ENTRY_FILL, &read);
}

static enum ramet_rc
look_in_base(struct lookup *l, struct ramet_err *err)
{
    const enum ramet_entry_kind kind = ramet_entry_kind(l->at);
    struct ramet_entry now;
    enum ramet_rc rc = RAMET_OK;

    if (kind == RAMET_ENTRY_HELD && l->out != NULL)
        rc = ramet_base_read(l->session->replica, l->page_size, l->pgno, l->out,
                             err);
    if (rc != RAMET_OK)
        return rc;
    atomic_thread_fence(memory_order_acquire);
    rc = ramet_index_load(l->session, l->pgno, &now, err);
    l->again = rc == RAMET_OK && !ramet_entry_same(now, l->version->top);
    find_version(l, kind);
    return rc == RAMET_OK ? look_in_past(l, err) : rc;
}

static enum ramet_rc
look(struct lookup *l, struct ramet_err *err)
{
    switch (ramet_entry_kind(l->at)) {
    case RAMET_ENTRY_IMAGE:
    case RAMET_ENTRY_LOG_ZERO:
    case RAMET_ENTRY_REMOTE:
        return look_in_log(l, err);
    case RAMET_ENTRY_FILL:
        return look_in_fill(l, err);
    case RAMET_ENTRY_HELD:
    case RAMET_ENTRY_ABSENT:
    case RAMET_ENTRY_ZERO:
        return look_in_base(l, err);
    case RAMET_ENTRY_NONE:
        break;
    }
    return RAMET_ECORRUPT;
}

/* Until a version is found with the ground at rest. */
static enum ramet_rc
look_up(struct lookup *l, struct ramet_err *err)
{
    struct ramet_version *const version = l->version;
    enum ramet_rc rc = RAMET_OK;

    for (unsigned i = 0; i < RESTARTS_MAX; i++) {
        l->again = false;
        l->is_found = false;
        l->bound = RAMET_POS_MAX;
        version->has_hash = false;
        rc = ramet_index_load(l->session, l->pgno, &version->top, err);
        l->at = version->top;
        if (rc == RAMET_OK)
            rc = look_in_past(l, err);
        while (rc == RAMET_OK && !l->again && !l->is_found)
            rc = look(l, err);
        if (rc == RAMET_ECORRUPT)
            return RAMET_FAIL(
                err, RAMET_ECORRUPT,
                "%s: page %u fails its checksum (log position "
                "%llu:%llu)",
                l->session->replica->path, l->pgno,
                (unsigned long long)ramet_pos_gen(ramet_entry_pos(l->at)),
                (unsigned long long)ramet_pos_offset(ramet_entry_pos(l->at)));
        if (rc != RAMET_OK || !l->again)
            return rc;
    }
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "%s: page %u kept changing while it was read",
                      l->session->replica->path, l->pgno);
}

bool
ramet_version_is_elsewhere(const struct ramet_version *version)
{
    return version->kind == RAMET_ENTRY_ABSENT ||
           version->kind == RAMET_ENTRY_REMOTE;
}

enum ramet_rc
ramet_read_version(struct ramet_session *session, struct ramet_pos tail,
                   uint32_t page_size, uint32_t pgno, uint8_t *out,
                   struct ramet_version *out_version, struct ramet_err *err)
{
    struct lookup l = {.session = session,
                       .tail = tail,
                       .page_size = page_size,
                       .pgno = pgno,
                       .out = out,
                       .version = out_version};
    const enum ramet_rc rc = look_up(&l, err);

    assert(pgno != 0 && ramet_page_size_ok(page_size));
    assert(session->epoch != 0);
    ramet_free(l.spare);
    out_version->found = l.at;
    if (rc == RAMET_OK && out != NULL &&
        (out_version->kind == RAMET_ENTRY_ZERO ||
         out_version->kind == RAMET_ENTRY_LOG_ZERO))
        memset(out, 0, page_size);
    return rc;
}
