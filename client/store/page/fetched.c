/*
 * fetched.c - pages that were fetched, until the next checkpoint moves them.
 *
 *   (1) a fetched page enters the index by compare-and-swap against the entry
 *       whose version it is; if the page has changed since, it is dropped
 *   (2) fetch files are written under the base lock; each checkpoint moves or
 *       carries over what they hold and begins a new one, so that after a
 *       crash those that are left belong to the base as it is
 *   (3) nothing here is synced: what is lost is fetched again
 *   (4) pages of zeros have a frame without a page, so that holes stay holes
 *   (5) a checkpoint for the sake of fetched pages waits until as many bytes were
 *       fetched as the last one went through and could not move: so each is
 *       gone through a few times in all, however long a reader pins them
 */
#include "client/store/page/fetched.h"

#include <assert.h>

#include "client/snapshot.h"
#include "client/store/format/frames.h"
#include "client/store/page/pageframe.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"
#include "core/bytes.h"

#define FETCHED_ENOUGH (16u << 20) /* bytes, then a checkpoint moves them */
#define FETCHED_FILES_MAX 8u

/* Headers and pages, one behind the other from `pos` on; the end of all. */
static struct ramet_pos
lay_out(const struct ramet_frame_file *file, struct ramet_pos pos,
        const struct ramet_fetched_page *pages, size_t count,
        const struct ramet_point *at,
        uint8_t headers[RAMET_FETCHED_RUN][RAMET_FETCHED_HEADER_SIZE],
        struct iovec iov[2 * RAMET_FETCHED_RUN])
{
    const uint32_t page_size = file->page_size;

    for (size_t i = 0; i < count; i++) {
        const uint8_t *const page = pages[i].page;
        const size_t page_len = page == NULL ? 0 : page_size;

        ramet_fetched_encode(headers[i], pages[i].pgno,
                             page == NULL ? RAMET_LOGFRAME_ZERO
                                          : RAMET_LOGFRAME_IMAGE,
                             pages[i].replaced, pos, at, file->salt,
                             page == NULL ? 0 : ramet_hash64(page, page_size));
        iov[2 * i] = (struct iovec){headers[i], RAMET_FETCHED_HEADER_SIZE};
        iov[2 * i + 1] = (struct iovec){(void *)(uintptr_t)page, page_len};
        pos = ramet_pos_add(pos, RAMET_FETCHED_HEADER_SIZE + page_len);
    }
    return pos;
}

enum ramet_rc
ramet_fetched_append(struct ramet_replica *replica,
                     const struct ramet_fetched_page *pages, size_t count,
                     const struct ramet_point *at, uint32_t page_size,
                     struct ramet_err *err)
{
    struct ramet_index_header *const header = &replica->head->header;
    uint8_t headers[RAMET_FETCHED_RUN][RAMET_FETCHED_HEADER_SIZE];
    struct iovec iov[2 * RAMET_FETCHED_RUN];
    struct ramet_frame_file *file;
    struct ramet_pos pos, end;
    enum ramet_rc rc = ramet_frame_file_at_end(replica, RAMET_FRAMES_FETCHED,
                                               &header->fetched.pos, page_size,
                                               &pos, &file, err);

    assert(ramet_page_size_ok(page_size) && ramet_may_write_base(replica));
    assert(count >= 1 && count <= RAMET_FETCHED_RUN &&
           count * page_size <= RAMET_FETCHED_RUN_BYTES);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++)
        rc = ramet_index_reserve(replica, pages[i].pgno, err);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_pos_offset(pos) == RAMET_FRAME_FILE_HEADER_SIZE)
        atomic_store(&header->all.fetched_seen, 0); /* (5): a new file */
    end = lay_out(file, pos, pages, count, at, headers, iov);
    rc = ramet_os_writev_full(replica->os, file->fd, iov, 2 * (int)count,
                              ramet_pos_offset(pos), "fetched pages", err);
    if (rc != RAMET_OK)
        return rc;
    ramet_pos_store(&header->fetched.pos, end);
    atomic_store(&header->all.was_written, 1);
    for (size_t i = 0; i < count; i++) {
        ramet_index_swap(
            replica, pages[i].pgno, pages[i].expected,
            ramet_entry_of_pos(RAMET_ENTRY_FETCHED, pos)); /* (1) */
        pos = ramet_pos_add(pos, RAMET_FETCHED_HEADER_SIZE +
                                     (pages[i].page == NULL ? 0 : page_size));
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_fetched_see_through(struct ramet_replica *replica, uint32_t pgno,
                          struct ramet_entry *io_entry, struct ramet_err *err)
{
    struct ramet_pageframe_room room = {.out = NULL};
    struct ramet_pageframe frame;
    enum ramet_rc rc;

    assert(pgno >= 1);
    if (ramet_entry_kind(*io_entry) != RAMET_ENTRY_FETCHED)
        return RAMET_OK;
    rc = ramet_pageframe_read(replica, RAMET_ENTRY_FETCHED,
                              ramet_entry_pos(*io_entry), pgno, &room, &frame,
                              err);
    ramet_free(room.spare);
    if (rc == RAMET_OK && !frame.is_right)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "%s: fetched page %u fails its checksum", replica->path,
                        pgno);
    if (rc == RAMET_OK && ramet_entry_in_log(frame.head.replaced))
        *io_entry = frame.head.replaced;
    return rc;
}

uint64_t
ramet_fetched_enough(const struct ramet_replica *replica)
{
    const uint64_t limit = replica->cache_limit_bytes;

    return limit != 0 && limit / 4 < FETCHED_ENOUGH ? limit / 4
                                                    : FETCHED_ENOUGH;
}

bool
ramet_fetched_is_much(struct ramet_replica *replica)
{
    const struct ramet_index_header *const header = &replica->head->header;
    const struct ramet_pos pos = ramet_pos_load(&header->fetched.pos);
    const uint64_t seen = atomic_load(&header->all.fetched_seen); /* (5) */
    uint64_t enough = ramet_fetched_enough(replica);

    if (seen > enough)
        enough = seen;
    return ramet_pos_offset(pos) >=
               seen + enough + RAMET_FRAME_FILE_HEADER_SIZE ||
           ramet_pos_file(pos) - atomic_load(&header->fetched.oldest) >
               FETCHED_FILES_MAX;
}

void
ramet_fetched_was_seen(struct ramet_replica *replica)
{
    struct ramet_index_header *const header = &replica->head->header;

    assert(!replica->is_readonly);
    atomic_store(&header->all.fetched_seen,
                 ramet_pos_offset(ramet_pos_load(&header->fetched.pos)) -
                     RAMET_FRAME_FILE_HEADER_SIZE);
}

/* ---- reading the files --------------------------------------------------- */

/* The most that a frame of `file` may take. */
static size_t
frame_size_max(const struct ramet_frame_file *file)
{
    assert(ramet_page_size_ok(file->page_size));
    return RAMET_FETCHED_HEADER_SIZE + (size_t)file->page_size;
}

/* The frame at `pos`, of which `raw` has `len` bytes: is it there, and its one
 * checksum over header and page right? *out points into `raw`. */
static bool
decode_frame(const struct ramet_frame_file *file, struct ramet_pos pos,
             const uint8_t *raw, size_t len, struct ramet_fetched *out)
{
    uint64_t hash;

    if (len < RAMET_FETCHED_HEADER_SIZE ||
        !ramet_fetched_decode(raw, pos, file->salt, &out->frame, &out->at,
                              &hash))
        return false;
    out->page_size = file->page_size;
    out->page = NULL;
    if (out->frame.kind == RAMET_LOGFRAME_ZERO)
        return hash == 0;
    out->page = raw + RAMET_FETCHED_HEADER_SIZE;
    return len >= frame_size_max(file) &&
           ramet_hash64(out->page, file->page_size) == hash;
}

/* A window on a fetch file: walking reads it in pieces of this size. */
#define WINDOW_SIZE (256u << 10)

static_assert(WINDOW_SIZE >= RAMET_FETCHED_HEADER_SIZE + RAMET_PAGE_SIZE_MAX,
              "a frame fits");

struct window {
    uint8_t *bytes;
    uint64_t offset; /* of bytes[0] in the file */
    size_t len;
};

/* Have the frame at `offset` in the window, or what there is of it. */
static enum ramet_rc
move_window(struct ramet_replica *replica, const struct ramet_frame_file *file,
            struct window *window, uint64_t offset, struct ramet_err *err)
{
    const bool is_last = window->len < WINDOW_SIZE; /* the file ends in it */

    assert(window->bytes != NULL && window->len <= WINDOW_SIZE);
    if (window->len != 0 && offset >= window->offset &&
        offset <= window->offset + window->len &&
        (is_last ||
         offset + frame_size_max(file) <= window->offset + window->len))
        return RAMET_OK;
    window->offset = offset;
    window->len = 0;
    return ramet_os_read_some(replica->os, file->fd, window->bytes, WINDOW_SIZE,
                              offset, &window->len, "fetched pages", err);
}

static enum ramet_rc
walk_file(struct ramet_replica *replica, uint64_t number, struct window *window,
          ramet_fetched_visit *visit, void *ctx, struct ramet_pos *out_end,
          struct ramet_err *err)
{
    struct ramet_pos pos = ramet_pos_first(number);
    struct ramet_frame_file *file;
    enum ramet_rc rc =
        ramet_frame_file_get(replica, RAMET_FRAMES_FETCHED, number, &file, err);

    assert(window->bytes != NULL);
    *out_end = pos;
    window->len = 0;
    while (rc == RAMET_OK) {
        const uint64_t offset = ramet_pos_offset(pos);
        struct ramet_fetched fetched;

        rc = move_window(replica, file, window, offset, err);
        if (rc != RAMET_OK ||
            !decode_frame(file, pos, window->bytes + (offset - window->offset),
                          window->len - (size_t)(offset - window->offset),
                          &fetched))
            break;
        rc = visit(ctx, &fetched, err);
        pos = ramet_pos_add(pos,
                            RAMET_FETCHED_HEADER_SIZE +
                                (fetched.page == NULL ? 0 : file->page_size));
        *out_end = pos;
    }
    return rc;
}

enum ramet_rc
ramet_fetched_walk(struct ramet_replica *replica, uint64_t first, uint64_t last,
                   ramet_fetched_visit *visit, void *ctx,
                   struct ramet_pos *out_end, struct ramet_err *err)
{
    struct window window = {.bytes = ramet_alloc(WINDOW_SIZE)};
    enum ramet_rc rc = RAMET_OK;

    assert(first <= last);
    if (window.bytes == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for fetched pages");
    for (uint64_t number = first; rc == RAMET_OK && number <= last; number++) {
        rc = walk_file(replica, number, &window, visit, ctx, out_end, err);
        if (rc == RAMET_ENOTFOUND) /* nothing was fetched while it was begun */
            rc = RAMET_OK;
    }
    ramet_free(window.bytes);
    return rc;
}

/* ---- after a crash ------------------------------------------------------- */

/* LSN of the record that wrote the frame at `pos`; 0 if that can't be told. */
struct recovery {
    struct ramet_session *session;
    struct ramet_published newest;
};

/*
 * A fetched version of an absent page of the base belongs to it, by invariant (2). One of
 * a page that a pull made absent must be of the commit that this pulled: after
 * a crash another pull may stand where the one that it belonged to stood, and
 * that of another line.
 *
 * Presence may tell that page 1 is held though its first bytes are nowhere but
 * in its fetched frame: they go into the state at the end of a checkpoint, which died.
 */
static enum ramet_rc
is_wanted(struct recovery *r, const struct ramet_fetched *fetched,
          bool *out_wanted, struct ramet_entry *out_entry,
          struct ramet_err *err)
{
    enum ramet_rc rc =
        ramet_index_load(r->session, fetched->frame.pgno, out_entry, err);
    const enum ramet_entry_kind was = ramet_entry_kind(fetched->frame.replaced);
    const struct ramet_point newest_at =
        ramet_snapshot_point(&r->newest.snapshot);
    enum ramet_entry_kind is;

    assert(fetched->frame.pgno != 0);
    *out_wanted = false;
    if (rc != RAMET_OK)
        return rc;
    is = ramet_entry_kind(*out_entry);
    if (is == RAMET_ENTRY_ABSENT ||
        (is == RAMET_ENTRY_HELD && fetched->frame.pgno == 1))
        *out_wanted = was == RAMET_ENTRY_ABSENT;
    else if (is == RAMET_ENTRY_REMOTE)
        *out_wanted = ramet_entry_same(fetched->frame.replaced, *out_entry) &&
                      ramet_point_equal(&fetched->at, &newest_at);
    return RAMET_OK;
}

static enum ramet_rc
recover_fetched(void *ctx, const struct ramet_fetched *fetched,
                struct ramet_err *err)
{
    struct recovery *const r = ctx;
    struct ramet_replica *const replica = r->session->replica;
    const struct ramet_snapshot *const s = &r->newest.snapshot;
    struct ramet_entry entry;
    bool wanted;
    enum ramet_rc rc;

    assert(ramet_is_alone(replica));
    if (fetched->page_size != s->page_size ||
        fetched->frame.pgno > s->page_count)
        return RAMET_OK;
    rc = is_wanted(r, fetched, &wanted, &entry, err);
    if (rc == RAMET_OK && wanted)
        rc = ramet_index_reserve(replica, fetched->frame.pgno, err);
    if (rc == RAMET_OK && wanted)
        ramet_index_swap(
            replica, fetched->frame.pgno, entry,
            ramet_entry_of_pos(RAMET_ENTRY_FETCHED, fetched->frame.pos));
    return rc;
}

enum ramet_rc
ramet_fetched_recover(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const uint64_t first = atomic_load(&header->fetched.oldest);
    struct recovery r = {.session = session};
    uint64_t last = first;
    struct ramet_pos end = RAMET_NO_POS;
    struct ramet_frame_file *file;
    enum ramet_rc rc;

    assert(ramet_is_alone(session->replica));
    while (ramet_frame_file_get(replica, RAMET_FRAMES_FETCHED, last + 1, &file,
                                NULL) == RAMET_OK)
        last++;
    ramet_index_newest(replica, &r.newest);
    rc = ramet_fetched_walk(replica, first, last, recover_fetched, &r, &end,
                            err);
    if (rc != RAMET_OK)
        return rc;
    /* Go on in a new file: this one may end in a torn frame. */
    if (ramet_frame_file_get(replica, RAMET_FRAMES_FETCHED, last, &file,
                             NULL) == RAMET_OK)
        last++;
    ramet_pos_store(&header->fetched.pos, ramet_pos_first(last));
    return RAMET_OK;
}
