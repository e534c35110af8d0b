/*
 * log_grow.c - see log_grow.h.
 *
 * A file that the committer made himself grows by pieces of zeros, each written
 * at once, for two reasons. A sync of what then goes into them need not flush the
 * file's size. And the system keeps in one piece in memory what was written in
 * one: a record that is written or read there takes it half of the time that it
 * takes in pages that came one by one.
 *
 *   (1) only what is past the file's end is written, under the write lock: no
 *       byte that anybody wrote or reads is touched
 *   (2) zeros are no record: who reads the log ends there as at the file's end
 */
#include "client/store/log/log_grow.h"

#include <assert.h>

#include "client/store/format/frames.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"

#define PIECES_MAX 8u /* written at a time */
#define SIZE_MAX_GROWN (RAMET_LOG_FILE_SIZE + RAMET_LOG_PIECE)

/* Where the file shall end: about as many zeros follow as there are bytes. */
static uint64_t
choose_size(uint64_t end)
{
    const uint64_t full = end / RAMET_LOG_PIECE;
    const uint64_t more = full < PIECES_MAX ? full : PIECES_MAX;
    const uint64_t size = (full + (more > 0 ? more : 1)) * RAMET_LOG_PIECE;

    assert(size > end && end < RAMET_LOG_FILE_SIZE);
    return size < SIZE_MAX_GROWN ? size : SIZE_MAX_GROWN;
}

void
ramet_log_grow(struct ramet_session *session,
               const struct ramet_frame_file *file, uint64_t end)
{
    static const uint8_t zeros[RAMET_LOG_PIECE];
    const struct ramet_os *const os = session->replica->os;
    struct ramet_os_stat st;
    uint64_t at;

    assert(ramet_holds(session, RAMET_LOCK_WRITE)); /* invariant (1) */
    assert(file->type == RAMET_FRAMES_LOG);
    if (end >= RAMET_LOG_FILE_SIZE ||
        !ramet_pos_before(session->extended_to,
                          ramet_pos_make(file->number, end)) ||
        os->stat(os->ctx, file->fd, &st) < 0)
        return;
    at = st.size_bytes;
    if (at <= end) {
        const uint64_t size = choose_size(end);

        while (at < size) {
            const size_t piece =
                RAMET_LOG_PIECE - (size_t)(at % RAMET_LOG_PIECE);

            if (ramet_os_write_full(os, file->fd, zeros, piece, at, "log",
                                    NULL) != RAMET_OK)
                return;
            at += piece;
        }
    }
    session->extended_to = ramet_pos_make(file->number, at);
}

void
ramet_log_grow_ahead(struct ramet_session *session,
                     const struct ramet_frame_file *file, uint64_t end,
                     size_t len)
{
    assert(len <= end);
    if (end > RAMET_LOG_PIECE && len < RAMET_LOG_PIECE)
        ramet_log_grow(session, file, end);
}
