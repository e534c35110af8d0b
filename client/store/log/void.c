/*
 * void.c - taking back a record that is complete in the log.
 *
 * A word in its trailer makes a record void. Where that can't be written the
 * trailer goes with the end of its file; where that fails too its void is
 * *pending*: the index names it, and who would publish it does not.
 *
 *   (1) the void is pending before anything is tried, and until it is on disk:
 *       whoever dies or fails in between leaves the record named
 *   (2) no record begins, and no log file is closed, while a void is pending:
 *       of two successors of one record the wrong one might be found first
 *   (3) the name outlives the processes, and the index file is synced where
 *       that is all there is: who makes the next index keeps it
 *   (4) its place is used by no other record: within a millisecond that might be the
 *       same one, bytes and all, and be void by the name that the disk still has
 *       where it could not be forgotten there
 */
#include "client/store/log/void.h"

#include <assert.h>

#include "client/store/format/frames.h"
#include "client/store/log/log_sync.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/bytes.h"

enum ramet_rc
ramet_record_write_word(struct ramet_replica *replica,
                        const struct ramet_frame_file *file,
                        const struct ramet_record_span *span, uint64_t value,
                        struct ramet_err *err)
{
    uint8_t word[8];

    assert(file->number == ramet_pos_file(span->trailer_pos));
    assert(ramet_may_publish(replica));
    ramet_put_le64(word, value);
    return ramet_os_write_full(
        replica->os, file->fd, word, sizeof(word),
        ramet_pos_offset(span->trailer_pos) + span->void_offset, "log", err);
}

static enum ramet_rc
write_void_word(struct ramet_replica *replica,
                const struct ramet_frame_file *file,
                const struct ramet_record_span *span, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    enum ramet_rc rc =
        ramet_record_write_word(replica, file, span, span->void_value, err);

    assert(ramet_pos_file(span->start) == ramet_pos_file(span->trailer_pos));
    /* Nothing that counts stands behind it. What is before it may be used by the
     * transaction, prepared again: record.c, invariant (5). */
    if (rc != RAMET_OK &&
        os->truncate(os->ctx, file->fd, ramet_pos_offset(span->trailer_pos)) ==
            0)
        rc = RAMET_OK;
    return rc;
}

enum ramet_rc
ramet_void_record(struct ramet_replica *replica,
                  const struct ramet_record_span *span, struct ramet_err *err)
{
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_frame_file *file;
    bool was_pending;
    enum ramet_rc rc;

    assert(!ramet_pos_before(span->trailer_pos, span->start));
    assert(ramet_pos_before(span->trailer_pos, span->tail));
    assert(ramet_may_publish(replica));
    was_pending = atomic_exchange(&header->log.void_pending,
                                  span->void_value) != 0; /* invariant (1) */
    ramet_pos_raise(&header->log.used, span->tail);       /* invariant (4) */
    ramet_log_unsync(replica, span->start, span->tail);
    rc = ramet_frame_file_get(replica, RAMET_FRAMES_LOG,
                              ramet_pos_file(span->start), &file, err);
    if (rc == RAMET_OK)
        rc = write_void_word(replica, file, span, err);
    if (rc == RAMET_OK)
        rc = ramet_log_flush(replica, file, err);
    if (rc == RAMET_OK)
        atomic_store(&header->log.void_pending, 0);
    /* Invariant (3), if it can be; and not longer than there is a reason. */
    if (rc != RAMET_OK || was_pending)
        ramet_index_sync(replica);
    return rc;
}

enum ramet_rc
ramet_void_flush(struct ramet_replica *replica, struct ramet_err *err)
{
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_frame_file *file;
    enum ramet_rc rc;

    assert(ramet_may_publish(replica));
    if (atomic_load(&header->log.void_pending) == 0)
        return RAMET_OK;
    rc = ramet_frame_file_get(
        replica, RAMET_FRAMES_LOG,
        ramet_pos_file(ramet_pos_load(&header->log.write_pos)), &file, err);
    if (rc == RAMET_OK)
        rc = ramet_log_flush(replica, file, err);
    if (rc == RAMET_ENOTFOUND) /* it went with its file */
        rc = RAMET_OK;
    if (rc == RAMET_OK) {
        atomic_store(&header->log.void_pending, 0);
        ramet_index_sync(replica);
    }
    return rc;
}
