/*
 * pageframe.c - see pageframe.h.
 */
#include "client/store/page/pageframe.h"

#include <assert.h>
#include <string.h>

#include "client/store/shared/frame_files.h"
#include "client/store/shared/replica.h"
#include "core/alloc.h"

static uint8_t *
page_in(struct ramet_pageframe_room *room, uint32_t page_size)
{
    assert(page_size <= RAMET_PAGE_SIZE_MAX);
    if (room->out != NULL && page_size == room->page_size)
        return room->out;
    if (room->spare == NULL)
        room->spare = ramet_alloc(RAMET_PAGE_SIZE_MAX);
    return room->spare;
}

/* Header and page, if there is one, at `pos`. */
static enum ramet_rc
read_bytes(const struct ramet_replica *replica,
           const struct ramet_frame_file *file, struct ramet_pos pos,
           uint32_t pgno, struct iovec iov[2], struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const uint64_t offset = ramet_pos_offset(pos);
    const size_t want = iov[0].iov_len + iov[1].iov_len;
    const ssize_t got =
        os->preadv(os->ctx, file->fd, iov, iov[1].iov_len == 0 ? 1 : 2, offset);
    size_t page_got = 0;
    enum ramet_rc rc;

    assert(pgno >= 1);
    if (got == (ssize_t)want)
        return RAMET_OK;
    if (got < 0)
        return RAMET_FAIL_OS(err, (int)got, "read page %u of %s", pgno,
                             replica->path);
    /* A short read, which files give at their end: byte by byte then. A page
     * that is not whole fails its checksum, unless the frame has none. */
    rc = ramet_os_read_full(os, file->fd, iov[0].iov_base, iov[0].iov_len,
                            offset, "log", err);
    if (rc == RAMET_OK && iov[1].iov_len != 0)
        rc = ramet_os_read_some(os, file->fd, iov[1].iov_base, iov[1].iov_len,
                                offset + iov[0].iov_len, &page_got, "log", err);
    if (rc == RAMET_OK && page_got < iov[1].iov_len)
        memset((uint8_t *)iov[1].iov_base + page_got, 0,
               iov[1].iov_len - page_got);
    return rc;
}

/* Decode what was read. A fetched page that is zeros has no bytes: it gets
 * them. */
static bool
is_right(const struct ramet_frame_file *file, bool is_fetched,
         const uint8_t *header, struct ramet_pos pos, uint32_t pgno, void *page,
         struct ramet_pageframe *out)
{
    uint64_t claimed;

    if (is_fetched) {
        if (!ramet_fetched_decode(header, pos, file->salt, &out->head, &out->at,
                                  &claimed))
            return false;
        if (out->head.kind == RAMET_LOGFRAME_ZERO) {
            memset(page, 0, file->page_size);
            out->hash = 0;
        }
    } else {
        if (!ramet_logframe_decode(header, pos, &out->head))
            return false;
        claimed = ramet_logframe_page_hash(header, file->salt);
    }
    return out->head.pgno == pgno && out->hash == claimed;
}

enum ramet_rc
ramet_pageframe_read(struct ramet_replica *replica, enum ramet_entry_kind kind,
                     struct ramet_pos pos, uint32_t pgno,
                     struct ramet_pageframe_room *room,
                     struct ramet_pageframe *out, struct ramet_err *err)
{
    const bool is_fetched = kind == RAMET_ENTRY_FETCHED;
    uint8_t header[RAMET_FETCHED_HEADER_SIZE];
    struct iovec iov[2] = {{header, is_fetched ? RAMET_FETCHED_HEADER_SIZE
                                               : RAMET_LOGFRAME_HEADER_SIZE},
                           {NULL, 0}};
    struct ramet_frame_file *file = NULL;
    enum ramet_rc rc = ramet_frame_file_get(
        replica, is_fetched ? RAMET_FRAMES_FETCHED : RAMET_FRAMES_LOG,
        ramet_pos_file(pos), &file, err);

    assert(is_fetched || kind >= RAMET_ENTRY_IMAGE);
    assert(pgno >= 1);
    if (rc == RAMET_OK && (is_fetched || kind == RAMET_ENTRY_IMAGE)) {
        iov[1].iov_base = page_in(room, file->page_size);
        iov[1].iov_len = file->page_size;
        if (iov[1].iov_base == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a page");
    }
    if (rc == RAMET_OK)
        rc = read_bytes(replica, file, pos, pgno, iov, err);
    if (rc != RAMET_OK)
        return rc;
    out->page_size = file->page_size;
    out->hash = 0;
    if (iov[1].iov_len != 0)
        out->hash = ramet_hash64(iov[1].iov_base, iov[1].iov_len);
    out->is_right =
        is_right(file, is_fetched, header, pos, pgno, iov[1].iov_base, out);
    return RAMET_OK;
}

enum ramet_rc
ramet_pageframe_read_run(struct ramet_replica *replica,
                         enum ramet_entry_kind kind, struct ramet_pos pos,
                         uint32_t first, uint32_t *io_count, uint32_t page_size,
                         uint8_t *out, struct ramet_pageframe *frames,
                         struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    const bool is_fetched = kind == RAMET_ENTRY_FETCHED;
    const size_t stride = ramet_pageframe_stride(kind, page_size);
    const uint32_t count = *io_count;
    uint8_t headers[RAMET_PAGEFRAME_RUN][RAMET_FETCHED_HEADER_SIZE];
    struct iovec iov[2 * RAMET_PAGEFRAME_RUN];
    struct ramet_frame_file *file;
    ssize_t got;
    enum ramet_rc rc = ramet_frame_file_get(
        replica, is_fetched ? RAMET_FRAMES_FETCHED : RAMET_FRAMES_LOG,
        ramet_pos_file(pos), &file, err);

    assert(kind == RAMET_ENTRY_FETCHED || kind == RAMET_ENTRY_IMAGE);
    assert(count <= RAMET_PAGEFRAME_RUN);
    *io_count = 0;
    if (rc != RAMET_OK || file->page_size != page_size)
        return rc;
    for (uint32_t i = 0; i < count; i++) {
        iov[2 * i] = (struct iovec){headers[i], stride - page_size};
        iov[2 * i + 1] = (struct iovec){out + (size_t)i * page_size, page_size};
    }
    got = os->preadv(os->ctx, file->fd, iov, 2 * (int)count,
                     ramet_pos_offset(pos));
    if (got < 0)
        return RAMET_FAIL_OS(err, (int)got, "read page %u of %s", first,
                             replica->path);
    for (uint32_t i = 0; i < count && (i + 1) * stride <= (size_t)got; i++) {
        uint8_t *const page = out + (size_t)i * page_size;

        frames[i].page_size = page_size;
        frames[i].hash = ramet_hash64(page, page_size);
        frames[i].is_right = is_right(file, is_fetched, headers[i],
                                      ramet_pos_add(pos, i * stride), first + i,
                                      page, &frames[i]);
        if (!frames[i].is_right || frames[i].head.kind != RAMET_LOGFRAME_IMAGE)
            break;
        (*io_count)++;
    }
    return RAMET_OK;
}
