/*
 * session_read.c - which version of a page a snapshot sees, and its bytes.
 *
 *   (1) nothing is locked; after each read the reader makes sure that what it
 *       read from was not retired or changed meanwhile, or begins again
 *   (2) a version in the log or a fill file is used only if its frame names
 *       the page and the place, and the checksum is right
 */
#include <assert.h>
#include <string.h>

#include "client/base.h"
#include "client/past.h"
#include "core/alloc.h"

#define DELIVER_WAIT_MS 200u
#define RESTARTS_MAX 100000u

struct ramet_fetch {
    struct ramet_session *session;
    uint64_t tail;
    struct ramet_point at;
    uint32_t page_size;
    uint32_t pgno;
    uint64_t entry; /* that of `pgno`, if a fetched page may replace it; or 0 */
    uint8_t *out;
    bool is_alone; /* what is here does not count, and nothing is kept */
    bool got_it;
};

uint8_t *
ramet_session_scratch(struct ramet_session *session, struct ramet_err *err)
{
    if (session->scratch == NULL) {
        session->scratch = ramet_alloc(RAMET_PAGE_SIZE_MAX);
        if (session->scratch == NULL)
            (void)RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a page");
    }
    return session->scratch;
}

/* Walking from version to version. */
struct lookup {
    struct ramet_session *session;
    uint64_t tail;
    uint32_t page_size;
    uint32_t pgno;
    uint8_t *out;
    uint8_t *spare; /* for pages that are only checked; made when needed */
    uint64_t at;    /* the entry looked at */
    uint64_t bound; /* each version in the log stands before the one after it:
                       no damage leads round in a circle */
    struct ramet_version *version;
    bool again; /* the ground moved: begin anew */
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
is_log_retired(const struct lookup *l, uint64_t pos)
{
    atomic_thread_fence(memory_order_acquire); /* after what was read */
    return ramet_pos_gen(pos) <
           atomic_load_explicit(&l->session->replica->head->header.oldest,
                                memory_order_acquire);
}

static bool
is_fill_retired(const struct lookup *l, uint64_t pos)
{
    atomic_thread_fence(memory_order_acquire);
    return ramet_pos_gen(pos) <
           atomic_load_explicit(&l->session->replica->head->header.fill_oldest,
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
read_bytes(struct lookup *l, const struct ramet_gen *gen, uint64_t pos,
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
               const uint8_t *header, bool is_fill, uint64_t pos, void *page,
               struct frame_read *read)
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
read_frame(struct lookup *l, enum ramet_entry_kind kind, uint64_t pos,
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
    l->at = 0;
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
    const uint64_t pos = ramet_entry_pos(l->at);
    const enum ramet_entry_kind kind = ramet_entry_kind(l->at);
    const bool is_newer = pos >= l->tail;
    struct frame_read read;
    enum ramet_rc rc;

    if (pos >= l->bound)
        return RAMET_ECORRUPT;
    l->bound = pos;
    if (is_newer && is_log_retired(l, pos)) { /* the base is too new */
        rc = look_in_past(l, err);
        return rc == RAMET_OK && !l->is_found ? RAMET_ECORRUPT : rc;
    }
    if (is_log_retired(l, pos)) { /* it is in the base now */
        l->at = ramet_entry_make(kind == RAMET_ENTRY_IMAGE ? RAMET_ENTRY_HELD
                                 : kind == RAMET_ENTRY_LOG_ZERO
                                     ? RAMET_ENTRY_ZERO
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
    const uint64_t pos = ramet_entry_pos(l->at);
    struct frame_read read;
    enum ramet_rc rc = read_frame(l, RAMET_ENTRY_FILL, pos, &read, err);

    if (is_fill_retired(l, pos)) {
        /* Reached through a later version it can be fetched again. */
        l->again = l->at == l->version->top;
        l->at = ramet_entry_make(RAMET_ENTRY_ABSENT, 0);
        return RAMET_OK;
    }
    if (rc != RAMET_OK)
        return rc == RAMET_ENOTFOUND ? RAMET_ECORRUPT : rc;
    if (!read.is_right)
        return RAMET_ECORRUPT;
    if (ramet_entry_in_log(read.frame.replaced) &&
        ramet_entry_pos(read.frame.replaced) >= l->tail) {
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
    uint64_t now;
    enum ramet_rc rc = RAMET_OK;

    if (kind == RAMET_ENTRY_HELD && l->out != NULL)
        rc = ramet_base_read(l->session->replica, l->page_size, l->pgno, l->out,
                             err);
    if (rc != RAMET_OK)
        return rc;
    atomic_thread_fence(memory_order_acquire);
    rc = ramet_index_load(l->session, l->pgno, &now, err);
    l->again = rc == RAMET_OK && now != l->version->top;
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
        l->bound = UINT64_MAX;
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
    return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: page %u can't be read in peace",
                      l->session->replica->path, l->pgno);
}

enum ramet_rc
ramet_read_version(struct ramet_session *session, uint64_t tail,
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

    ramet_free(l.spare);
    out_version->found = l.at;
    if (rc == RAMET_OK && out != NULL &&
        (out_version->kind == RAMET_ENTRY_ZERO ||
         out_version->kind == RAMET_ENTRY_LOG_ZERO))
        memset(out, 0, page_size);
    return rc;
}

/* ---- fetching ------------------------------------------------------------ */

enum ramet_rc
ramet_fetch_deliver(struct ramet_fetch *sink, uint32_t pgno,
                    const uint8_t *page, struct ramet_err *err)
{
    struct ramet_session *const session = sink->session;
    uint64_t entry = sink->entry;
    struct ramet_past_version past;
    enum ramet_rc rc;

    if (pgno == sink->pgno) {
        memcpy(sink->out, page, sink->page_size);
        sink->got_it = true;
    } else if (sink->is_alone) {
        return RAMET_OK;
    } else {
        rc = ramet_index_load(session, pgno, &entry, err);
        if (rc != RAMET_OK)
            return rc;
        if (!ramet_entry_is_absent(entry) ||
            (ramet_entry_in_log(entry) && ramet_entry_pos(entry) >= sink->tail))
            return RAMET_OK; /* not wanted, or not this version of it */
        rc = ramet_past_find(session->replica, sink->tail, sink->page_size,
                             pgno, NULL, &past, err);
        if (rc != RAMET_OK || past.kind != RAMET_ENTRY_NONE)
            return rc;
    }
    if (entry == 0)
        return RAMET_OK;
    rc = ramet_fill_keep(session, pgno, entry, &sink->at, sink->page_size, page,
                         DELIVER_WAIT_MS, err);
    /* A page that can't be kept was still had. */
    return rc == RAMET_ENOMEM ? rc : RAMET_OK;
}

static bool
is_elsewhere(const struct ramet_version *version)
{
    return version->kind == RAMET_ENTRY_ABSENT ||
           version->kind == RAMET_ENTRY_REMOTE;
}

enum ramet_rc
ramet_fetch_look_again(struct ramet_fetch *sink, bool *out_here,
                       struct ramet_err *err)
{
    struct ramet_version version;
    enum ramet_rc rc;

    *out_here = false;
    if (sink->is_alone)
        return RAMET_OK;
    rc = ramet_read_version(sink->session, sink->tail, sink->page_size,
                            sink->pgno, sink->out, &version, err);
    if (rc != RAMET_OK)
        return rc;
    sink->got_it = !is_elsewhere(&version);
    *out_here = sink->got_it;
    return RAMET_OK;
}

/* What a page at the pinned LSN is asked for with. */
static struct ramet_fetch
make_sink(struct ramet_session *session, uint32_t pgno, uint8_t *out)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;

    return (struct ramet_fetch){.session = session,
                                .tail = s->tail,
                                .at = ramet_snapshot_point(s),
                                .page_size = s->page_size,
                                .pgno = pgno,
                                .out = out};
}

static enum ramet_rc
ask_fetcher(struct ramet_fetch *sink, struct ramet_err *err)
{
    struct ramet_replica *const replica = sink->session->replica;
    const uint32_t pgno = sink->pgno;
    ramet_fetcher *fetcher;
    void *ctx;
    enum ramet_rc rc;

    ramet_mutex_lock(&replica->mutex);
    fetcher = replica->fetcher;
    ctx = replica->fetcher_ctx;
    ramet_mutex_unlock(&replica->mutex);
    if (fetcher == NULL)
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "%s: page %u is not here, and there is no remote to "
                          "ask",
                          replica->path, pgno);
    rc = fetcher(ctx, &sink->at, pgno, sink, err);
    if (rc == RAMET_OK && !sink->got_it)
        rc = RAMET_FAIL(err, RAMET_EUNREACHABLE,
                        "%s: the remote did not give page %u", replica->path,
                        pgno);
    return rc;
}

static enum ramet_rc
fetch_page(struct ramet_session *session, uint32_t pgno, uint8_t *out,
           const struct ramet_version *version, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    struct ramet_fetch sink = make_sink(session, pgno, out);

    if (pgno > s->remote_page_count) {
        memset(out, 0, s->page_size);
        return RAMET_OK;
    }
    if (version->found == version->top && ramet_entry_is_absent(version->top))
        sink.entry = version->top;
    return ask_fetcher(&sink, err);
}

enum ramet_rc
ramet_fetch_alone(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                  struct ramet_err *err)
{
    struct ramet_fetch sink = make_sink(session, pgno, out);

    assert(session->is_pinned && pgno <= session->pin.snapshot.page_count);
    sink.is_alone = true;
    return ask_fetcher(&sink, err);
}

/* The long way, which may lead over the network. */
static enum ramet_rc
read_or_fetch(struct ramet_session *session, uint32_t pgno, uint8_t *out,
              struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &session->pin.snapshot;
    struct ramet_version version;
    enum ramet_rc rc;

    rc = ramet_read_version(session, s->tail, s->page_size, pgno, out, &version,
                            err);
    if (rc == RAMET_OK && is_elsewhere(&version))
        rc = fetch_page(session, pgno, out, &version, err);
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
    return ramet_shortcut_read(session, pgno, out)
               ? RAMET_OK
               : read_or_fetch(session, pgno, out, err);
}

/* ---- own writes on top --------------------------------------------------- */

static enum ramet_rc
read_written(struct ramet_session *session, uint64_t entry, uint8_t *out,
             struct ramet_err *err)
{
    const uint64_t pos = ramet_entry_pos(entry);
    struct ramet_gen *gen;
    enum ramet_rc rc;

    if (ramet_entry_kind(entry) == RAMET_ENTRY_LOG_ZERO) {
        memset(out, 0, session->page_size);
        return RAMET_OK;
    }
    if (pos >= session->buf_pos) {
        memcpy(out,
               session->buf + (pos - session->buf_pos) * RAMET_POS_UNIT +
                   RAMET_LOGFRAME_HEADER_SIZE,
               session->page_size);
        return RAMET_OK;
    }
    rc = ramet_gen_get(session->replica, RAMET_GEN_LOG, ramet_pos_gen(pos),
                       &gen, err);
    if (rc != RAMET_OK)
        return rc;
    return ramet_os_read_full(
        session->replica->os, gen->fd, out, session->page_size,
        ramet_pos_offset(pos) + RAMET_LOGFRAME_HEADER_SIZE, "log", err);
}

enum ramet_rc
ramet_read_own_page(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                    struct ramet_err *err)
{
    uint64_t entry;

    if (!session->has_writes)
        return ramet_read_page(session, pgno, out, err);
    entry = ramet_writeset_get(&session->writes, pgno);
    if (entry != 0)
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
    return session->is_reserved ? session->size
                                : session->pin.snapshot.byte_length;
}

static enum ramet_rc
read_pieces(struct ramet_session *session, uint64_t offset, uint8_t *buf,
            size_t len, uint32_t page_size, struct ramet_err *err)
{
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
    pgno = (uint32_t)(offset / len) + 1;
    if (!ramet_shortcut_read(session, pgno, buf))
        rc = read_or_fetch(session, pgno, buf, err);
    if (rc == RAMET_OK)
        *out_got = len;
    return rc;
}
