/*
 * retained.c - the files that have what a checkpoint keeps for readers that it
 * passes (retain.c decides what that is).
 *
 * A reader that stays for long must not hold up the log. So a checkpoint moves
 * versions into the base that old pins don't see, and first copies what they
 * do see into a file of retained versions. An array in the index tells where the newest
 * frame of each page is, a frame where the one before it is, and for which
 * snapshots it holds.
 *
 *   (1) for each snapshot before `retained_tail` that is read: where nothing is
 *       kept of a page, the base's version is its version too
 *   (2) so all that is to be kept is there before the first page of the base is
 *       overwritten, by whoever does it: a checkpoint that dies in between
 *       leaves nothing to be found out. Readers look at the base first
 *   (3) a frame is whole, and its place taken, before anything names it; then
 *       it never changes
 *   (4) nothing here outlives the readers: it is not synced, and the files go
 *       when the index is made anew
 */
#include "client/store/page/retained.h"

#include <assert.h>

#include "client/store/format/frames.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/pins.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"

#define TRIES_MAX 1000u

/* Where the page's newest frame is; NULL: not mapped, or there is none. */
_Atomic uint64_t *
ramet_retained_word(struct ramet_replica *replica, uint32_t pgno)
{
    assert(pgno >= 1);
    return ramet_index_slot_at(replica, ramet_index_retained_slot(pgno));
}

bool
ramet_retained_is_retired(const struct ramet_replica *replica,
                          struct ramet_pos pos)
{
    atomic_thread_fence(memory_order_acquire); /* after what was read */
    return ramet_pos_file(pos) <
           atomic_load(&replica->head->header.retained.oldest);
}

static enum ramet_rc
damaged(const struct ramet_replica *replica, uint32_t pgno,
        struct ramet_err *err)
{
    return RAMET_FAIL(
        err, RAMET_ECORRUPT,
        "%s: page %u, retained for an older snapshot, fails its checksum",
        replica->path, pgno);
}

enum ramet_rc
ramet_retained_read_header(struct ramet_replica *replica, uint32_t pgno,
                           struct ramet_pos pos,
                           struct ramet_retained_frame *out,
                           struct ramet_frame_file **out_file,
                           struct ramet_err *err)
{
    uint8_t raw[RAMET_RETAINED_HEADER_SIZE];
    enum ramet_rc rc = ramet_frame_file_get(replica, RAMET_FRAMES_RETAINED,
                                            ramet_pos_file(pos), out_file, err);

    assert(pgno >= 1);
    if (rc == RAMET_OK)
        rc =
            ramet_os_read_full(replica->os, (*out_file)->fd, raw, sizeof(raw),
                               ramet_pos_offset(pos), "retained versions", err);
    if (rc == RAMET_OK &&
        (!ramet_retained_frame_decode(raw, pos, (*out_file)->salt, out) ||
         out->pgno != pgno))
        rc = damaged(replica, pgno, err);
    return rc;
}

enum ramet_rc
ramet_retained_read_image(struct ramet_replica *replica,
                          const struct ramet_retained_frame *frame,
                          const struct ramet_frame_file *file,
                          uint32_t page_size, uint8_t *out,
                          struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(ramet_page_size_ok(page_size));
    if (file->page_size != page_size)
        return damaged(replica, frame->pgno, err);
    rc = ramet_os_read_full(replica->os, file->fd, out, page_size,
                            ramet_pos_offset(frame->pos) +
                                RAMET_RETAINED_HEADER_SIZE,
                            "retained versions", err);
    if (rc == RAMET_OK && ramet_hash64(out, page_size) != frame->page_hash)
        rc = damaged(replica, frame->pgno, err);
    return rc;
}

/* ---- looking ------------------------------------------------------------- */

struct search {
    struct ramet_replica *replica;
    struct ramet_pos tail;
    uint32_t page_size;
    uint32_t pgno;
    uint8_t *out;
    bool is_cut_off; /* the way led into a file that is retired */
};

static enum ramet_rc
search_from(struct search *s, struct ramet_pos at,
            struct ramet_retained_version *out, struct ramet_err *err)
{
    assert(s->pgno >= 1);
    while (!ramet_pos_is_none(at)) {
        struct ramet_retained_frame frame;
        struct ramet_frame_file *file;
        bool is_it;
        enum ramet_rc rc;

        rc = ramet_retained_read_header(s->replica, s->pgno, at, &frame, &file,
                                        err);
        is_it = rc == RAMET_OK && !ramet_pos_before(s->tail, frame.least) &&
                !ramet_pos_before(frame.most, s->tail);
        if (is_it && s->out != NULL && frame.kind == RAMET_ENTRY_IMAGE)
            rc = ramet_retained_read_image(s->replica, &frame, file,
                                           s->page_size, s->out, err);
        s->is_cut_off = ramet_retained_is_retired(s->replica, at);
        if (s->is_cut_off || rc != RAMET_OK)
            return rc;
        if (is_it) {
            out->kind = frame.kind;
            out->hash = frame.page_hash;
            return RAMET_OK;
        }
        at = frame.before;
    }
    s->is_cut_off = false;
    return RAMET_OK;
}

enum ramet_rc
ramet_retained_find(struct ramet_replica *replica, struct ramet_pos tail,
                    uint32_t page_size, uint32_t pgno, uint8_t *out,
                    struct ramet_retained_version *out_version,
                    struct ramet_err *err)
{
    struct search s = {replica, tail, page_size, pgno, out, false};
    _Atomic uint64_t *word;
    enum ramet_rc rc;

    assert(pgno != 0 && ramet_page_size_ok(page_size));
    out_version->kind = RAMET_ENTRY_NONE;
    if (!ramet_retained_counts(replica, tail))
        return RAMET_OK;
    if (!ramet_index_has_room(replica, ramet_index_retained_slot(pgno)))
        return RAMET_OK;
    word = ramet_retained_word(replica, pgno);
    if (word == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "map the index of %s",
                          replica->path);
    for (unsigned i = 0; i < TRIES_MAX; i++) {
        const struct ramet_pos first = (struct ramet_pos){atomic_load(word)};

        rc = search_from(&s, first, out_version, err);
        if (!s.is_cut_off && rc != RAMET_ENOTFOUND)
            return rc;
        /* What was retired and not packed elsewhere is for nobody. */
        if (atomic_load(word) == first.raw)
            return s.is_cut_off ? RAMET_OK : damaged(replica, pgno, err);
    }
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "%s: page %u kept changing while it was read",
                      replica->path, pgno);
}

/* ---- appending, retiring -------------------------------------------------- */

enum ramet_rc
ramet_retained_append(struct ramet_replica *replica, uint32_t page_size,
                      struct ramet_retained_frame *frame, const uint8_t *page,
                      struct ramet_err *err)
{
    struct ramet_index_header *const header = &replica->head->header;
    const size_t size = ramet_retained_frame_size(frame, page_size);
    uint8_t raw[RAMET_RETAINED_HEADER_SIZE];
    struct iovec iov[2] = {{raw, sizeof(raw)},
                           {(void *)(uintptr_t)page, page_size}};
    struct ramet_frame_file *file;
    enum ramet_rc rc = ramet_frame_file_at_end(replica, RAMET_FRAMES_RETAINED,
                                               &header->retained.pos, page_size,
                                               &frame->pos, &file, err);

    assert(ramet_may_write_base(replica));
    assert(frame->kind != RAMET_ENTRY_IMAGE || page != NULL);
    if (rc != RAMET_OK)
        return rc;
    ramet_retained_frame_encode(raw, frame, file->salt);
    rc = ramet_os_writev_full(
        replica->os, file->fd, iov, frame->kind == RAMET_ENTRY_IMAGE ? 2 : 1,
        ramet_pos_offset(frame->pos), "retained versions", err);
    if (rc != RAMET_OK)
        return rc;
    ramet_pos_store(&header->retained.pos,
                    ramet_pos_add(frame->pos, size)); /* (3) */
    atomic_fetch_add(&header->retained.size, size);
    return RAMET_OK;
}

/* Files before `fresh` are done with: no word leads there any more, or nobody goes by
 * it. Each is retired before it goes: who found one gone that is not would take that
 * for damage. Whoever dies in between leaves all but one to the next, who removes
 * that one, too. */
void
ramet_retained_retire(struct ramet_replica *replica, uint64_t fresh)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_index_header *const header = &replica->head->header;
    const uint64_t oldest = atomic_load(&header->retained.oldest);
    char name[32];

    assert(fresh > oldest);
    for (uint64_t g = oldest > 1 ? oldest - 1 : 1; g < fresh; g++) {
        if (g >= oldest)
            atomic_store(&header->retained.oldest, g + 1);
        ramet_frame_file_name(RAMET_FRAMES_RETAINED, g, name);
        os->unlink(os->ctx, replica->dir_fd, name, false);
    }
    ramet_frame_files_trim(replica);
}

/* A file to begin with; returns its number. */
uint64_t
ramet_retained_begin(struct ramet_index_header *header)
{
    const uint64_t fresh =
        ramet_pos_file(ramet_pos_load(&header->retained.pos)) + 1;

    assert(ramet_pos_file(ramet_pos_load(&header->retained.pos)) <=
           RAMET_FRAME_FILE_MAX);
    ramet_pos_store(&header->retained.pos, ramet_pos_first(fresh));
    return fresh;
}

void
ramet_retained_trim(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const struct ramet_pos tail = ramet_pos_load(&header->retained.tail);

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT) ||
           ramet_is_alone(replica));
    if (ramet_pos_same(
            ramet_pos_load(&header->retained.pos),
            ramet_pos_first(atomic_load(&header->retained.oldest))) ||
        (session->is_pinned &&
         ramet_pos_before(session->pin.snapshot.tail, tail)) ||
        ramet_pos_before(ramet_index_least_pin(session, RAMET_NO_POS), tail))
        return;
    ramet_retained_retire(replica, ramet_retained_begin(header));
    atomic_store(&header->retained.size, 0);
    atomic_store(&header->retained.packed, 0);
}
