/*
 * log_sync.c - making the log durable.
 *
 *   (1) `synced` in the index: the log is on disk up to there, names and all. It
 *       is the tail of a record, never where the next file begins: of what will be
 *       there a crash may leave the second record alone, which would say then that
 *       more was on disk than whoever recovers finds
 *   (2) after a sync that failed the system may take for written what it did
 *       not write: then all past `synced` is written once more before the next
 *       sync is believed, a file's header as this process knows it
 *   (3) and it may have let go of it, so that what was there before is read
 *       instead: a commit is acknowledged only if the log is whole up to it
 *   (4) who died does not tell that a sync failed, and of whom the system has what
 *       it did not write in memory yet: so who recovers does as if it had, from
 *       where the last record found says that the log was on disk
 */
#include "client/store/log/log_sync.h"

#include <assert.h>

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/log/log_grow.h"
#include "client/store/log/logscan.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"

#define COPY_SIZE (64u << 10)

static enum ramet_rc
write_header_again(struct ramet_replica *replica,
                   const struct ramet_frame_file *file, struct ramet_err *err)
{
    const struct ramet_frame_file_header header = {.type = file->type,
                                                   .number = file->number,
                                                   .page_size = file->page_size,
                                                   .base_id = replica->base_id,
                                                   .salt = file->salt};
    uint8_t raw[RAMET_FRAME_FILE_HEADER_SIZE];

    assert(file->type == RAMET_FRAMES_LOG);
    ramet_frame_file_header_encode(&header, raw);
    return ramet_os_write_full(replica->os, file->fd, raw, sizeof(raw), 0,
                               "log header", err);
}

/* What of the file lies at `at` and after it, up to `end`. */
static enum ramet_rc
write_rest_again(struct ramet_replica *replica,
                 const struct ramet_frame_file *file, uint64_t at, uint64_t end,
                 struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    size_t want = COPY_SIZE;
    size_t got = COPY_SIZE;
    uint8_t *const buf = ramet_alloc(COPY_SIZE);
    enum ramet_rc rc = RAMET_OK;

    assert(at >= RAMET_FRAME_FILE_HEADER_SIZE);
    if (buf == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to sync the log");
    for (; rc == RAMET_OK && got == want && at < end; at += got) {
        want = end - at < COPY_SIZE ? (size_t)(end - at) : COPY_SIZE;
        rc = ramet_os_read_some(os, file->fd, buf, want, at, &got, "log", err);
        if (rc == RAMET_OK)
            rc = ramet_os_write_full(os, file->fd, buf, got, at, "log", err);
    }
    ramet_free(buf);
    return rc;
}

/* Invariant (2): what of `file` lies past `synced`, up to `end`. A file before
 * which all is synced is not: its header comes with its first record. */
static enum ramet_rc
write_again(struct ramet_replica *replica, const struct ramet_frame_file *file,
            uint64_t end, struct ramet_err *err)
{
    struct ramet_index_header *const header = &replica->head->header;
    const struct ramet_pos synced = ramet_pos_load(&header->all.synced);
    uint64_t at = RAMET_FRAME_FILE_HEADER_SIZE;
    enum ramet_rc rc = RAMET_OK;

    assert(file->type == RAMET_FRAMES_LOG);
    if (atomic_load(&header->all.sync_failed) == 0 ||
        ramet_pos_file(synced) > file->number)
        return RAMET_OK;
    if (ramet_pos_file(synced) == file->number && ramet_pos_offset(synced) > at)
        at = ramet_pos_offset(synced);
    if (at == RAMET_FRAME_FILE_HEADER_SIZE)
        rc = write_header_again(replica, file, err);
    return rc == RAMET_OK ? write_rest_again(replica, file, at, end, err) : rc;
}

/* Is the prepared record what follows the newest commit? */
static enum ramet_rc
look_for_prepared(struct ramet_session *session, bool *out_found,
                  struct ramet_err *err)
{
    const struct ramet_prepared *const prepared = &session->prepared;
    const bool entered = ramet_epoch_enter(session);
    struct ramet_scan scan;
    enum ramet_rc rc;

    assert(prepared->is_set);
    ramet_scan_init(&scan, session->replica);
    rc = ramet_scan_record(&scan, prepared->span.start, out_found, err);
    *out_found = *out_found && ramet_pos_same(scan.trailer.tail,
                                              prepared->after.snapshot.tail);
    ramet_scan_done(&scan);
    ramet_epoch_leave(session, entered);
    return rc;
}

/* Invariant (3): as whoever recovers would read it. */
static enum ramet_rc
check_whole(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica_state state = {.whole = false};
    bool found = false;
    enum ramet_rc rc = ramet_session_state(session, &state, err);

    ramet_replica_state_done(&state);
    if (rc == RAMET_OK)
        rc = look_for_prepared(session, &found, err);
    if (rc == RAMET_ECORRUPT || (rc == RAMET_OK && !found))
        return RAMET_FAIL(
            err, RAMET_EIO,
            "%s: a sync of the log failed, and what was not on disk by then is "
            "lost: close it everywhere, check the disk, and open it again",
            session->replica->path);
    return rc;
}

static enum ramet_rc
sync_failed(struct ramet_replica *replica, int result, struct ramet_err *err)
{
    assert(result < 0);
    atomic_store(&replica->head->header.all.sync_failed, 1);
    return RAMET_FAIL_OS(err, result, "sync the log of %s", replica->path);
}

enum ramet_rc
ramet_log_flush(struct ramet_replica *replica,
                const struct ramet_frame_file *file, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    enum ramet_rc rc = write_again(replica, file, UINT64_MAX, err);
    int result;

    if (rc != RAMET_OK)
        return rc;
    result = os->datasync(os->ctx, file->fd);
    return result == 0 ? RAMET_OK : sync_failed(replica, result, err);
}

/* The file's bytes, and its name if nobody did that yet. */
static int
sync_file(struct ramet_replica *replica, const struct ramet_frame_file *file)
{
    const struct ramet_os *const os = replica->os;
    _Atomic uint64_t *const named = &replica->head->header.all.named_log;
    int result;

    assert(file->fd >= 0);
    if (atomic_load(named) >= file->number)
        return os->datasync(os->ctx, file->fd);
    result = os->sync(os->ctx, file->fd);
    if (result == 0)
        result = os->sync(os->ctx, replica->dir_fd);
    if (result == 0)
        ramet_index_raise(named, file->number);
    return result;
}

/* One file of the log; after a sync that failed, what it has, up to `end`, is written
 * again. */
static enum ramet_rc
make_durable(struct ramet_replica *replica, struct ramet_frame_file *file,
             uint64_t end, struct ramet_err *err)
{
    const enum ramet_rc rc = write_again(replica, file, end, err);
    int result;

    if (rc != RAMET_OK)
        return rc;
    result = sync_file(replica, file);
    return result < 0 ? sync_failed(replica, result, err) : RAMET_OK;
}

enum ramet_rc
ramet_session_sync(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    const struct ramet_pos tail = session->prepared.after.snapshot.tail;
    const uint64_t number = ramet_pos_file(tail);
    struct ramet_published newest;
    struct ramet_frame_file *file;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK || !session->prepared.is_set ||
        session->prepared.is_synced)
        return rc;
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    rc = ramet_frame_file_get(replica, RAMET_FRAMES_LOG, number, &file, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_log_grow(session, file, ramet_pos_offset(tail));
    ramet_index_newest(replica, &newest);
    rc = ramet_log_sync_before(session, number, newest.snapshot.tail, err);
    if (rc == RAMET_OK)
        rc = make_durable(replica, file, UINT64_MAX, err);
    if (rc == RAMET_OK && atomic_load(&header->all.sync_failed) != 0)
        rc = check_whole(session, err);
    if (rc != RAMET_OK)
        return rc;
    session->prepared.is_synced = true;
    ramet_pos_raise(&header->all.synced, tail);
    atomic_store(&header->all.sync_failed, 0);
    return RAMET_OK;
}

enum ramet_rc
ramet_log_sync_before(struct ramet_session *session, uint64_t number,
                      struct ramet_pos tail, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    uint64_t first = ramet_pos_file(ramet_pos_load(&header->all.synced));

    assert(number <= RAMET_FRAME_FILE_MAX + 1);
    if (first < atomic_load(&header->checkpoint.oldest))
        first = atomic_load(&header->checkpoint.oldest);
    for (uint64_t from = first; from < number; from++) {
        struct ramet_frame_file *file;
        enum ramet_rc rc =
            ramet_frame_file_get(replica, RAMET_FRAMES_LOG, from, &file, err);

        if (rc == RAMET_ENOTFOUND)
            continue; /* retired meanwhile */
        if (rc == RAMET_OK)
            rc = make_durable(replica, file, UINT64_MAX, err);
        if (rc != RAMET_OK)
            return rc;
    }
    if (ramet_pos_file(tail) >= first && ramet_pos_file(tail) < number)
        ramet_pos_raise(&header->all.synced, tail);
    return RAMET_OK;
}

enum ramet_rc
ramet_log_sync_found(struct ramet_session *session, struct ramet_pos proven,
                     struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    struct ramet_published newest;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_is_alone(replica));
    ramet_index_newest(replica, &newest);
    ramet_pos_raise(&header->all.synced, proven);
    atomic_store(&header->all.sync_failed, 1); /* invariant (4) */
    for (uint64_t number = atomic_load(&header->checkpoint.oldest);
         rc == RAMET_OK && number <= ramet_pos_file(newest.snapshot.tail);
         number++) {
        struct ramet_frame_file *file;

        rc =
            ramet_frame_file_get(replica, RAMET_FRAMES_LOG, number, &file, err);
        if (rc == RAMET_OK)
            rc = make_durable(replica, file,
                              number == ramet_pos_file(newest.snapshot.tail)
                                  ? ramet_pos_offset(newest.snapshot.tail)
                                  : UINT64_MAX,
                              err);
        else if (rc == RAMET_ENOTFOUND)
            rc = RAMET_OK; /* nothing of the log is in it */
    }
    if (rc != RAMET_OK)
        return rc;
    ramet_pos_raise(&header->all.synced, newest.snapshot.tail); /* (1) */
    atomic_store(&header->all.sync_failed, 0);
    return RAMET_OK;
}

void
ramet_log_unsync(struct ramet_replica *replica, struct ramet_pos start,
                 struct ramet_pos tail)
{
    struct ramet_published newest;
    uint64_t seen = tail.raw;

    assert(ramet_pos_before(start, tail));
    assert(ramet_may_publish(replica));
    ramet_index_newest(replica, &newest); /* `start` may begin a file: (1) */
    if (!ramet_pos_before(start, newest.snapshot.tail))
        start = newest.snapshot.tail;
    atomic_compare_exchange_strong(&replica->head->header.all.synced.raw, &seen,
                                   start.raw);
}
