/*
 * log_files.c - see log_files.h.
 *
 *   (1) a file gets its number's name only when its header is whole and synced:
 *       a committer may be making one of the same name at this moment, and then
 *       its own counts
 *   (2) a file that goes on under another name is below the oldest log file,
 *       of the state on disk as well: whoever still reads in it finds a foreign
 *       salt, looks whether it was retired, and begins again
 */
#include "client/store/upkeep/log_files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "core/alloc.h"

#define AHEAD_NAME "ahead.tmp"
#define ZEROS_SIZE (256u << 10)
#define AHEAD_SIZE (RAMET_LOG_FILE_SIZE + ZEROS_SIZE)
#define AHEAD_MAX 8u /* files that wait: as many as a checkpoint moves */
#define RECYCLE_SIZE_MAX (8u << 20)
#define KEEP_SIZE_MAX (128u << 10)

static uint64_t
size_of_log_file(const struct ramet_replica *replica, uint64_t number)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_os_stat st;
    char name[32];

    assert(number >= 1);
    ramet_frame_file_name(RAMET_FRAMES_LOG, number, name);
    return os->stat_at(os->ctx, replica->dir_fd, name, &st) == 0 ? st.size_bytes
                                                                 : 0;
}

static void
unlink_log_file(const struct ramet_replica *replica, uint64_t number)
{
    const struct ramet_os *const os = replica->os;
    char name[32];

    assert(number >= 1 && ramet_is_held(replica, RAMET_LOCK_CHECKPOINT));
    ramet_frame_file_name(RAMET_FRAMES_LOG, number, name);
    os->unlink(os->ctx, replica->dir_fd, name, false);
}

/* ---- one file ------------------------------------------------------------ */

static enum ramet_rc
write_zeros(struct ramet_replica *replica, int fd, struct ramet_err *err)
{
    uint8_t *const zeros = ramet_calloc(1, ZEROS_SIZE);
    enum ramet_rc rc = RAMET_OK;

    assert(fd >= 0);
    if (zeros == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a log file");
    for (uint64_t at = 0; rc == RAMET_OK && at < AHEAD_SIZE; at += ZEROS_SIZE)
        rc = ramet_os_write_full(replica->os, fd, zeros, ZEROS_SIZE, at,
                                 AHEAD_NAME, err);
    ramet_free(zeros);
    return rc;
}

/* One that was in use goes on under another name. It has the access of the day
 * when it was made; where it can't be given today's, another is made. */
static int
open_recycled(struct ramet_replica *replica, uint64_t number)
{
    const struct ramet_os *const os = replica->os;
    char name[32];
    int result;
    int fd;

    assert(ramet_is_held(replica, RAMET_LOCK_CHECKPOINT));
    ramet_frame_file_name(RAMET_FRAMES_LOG, number, name);
    result =
        os->rename(os->ctx, replica->dir_fd, name, replica->dir_fd, AHEAD_NAME);
    if (result < 0)
        return result;
    fd = ramet_rights_open(os, replica->dir_fd, AHEAD_NAME, O_RDWR);
    result = fd < 0 ? fd : ramet_dir_give_rights(os, replica->dir_fd, fd);
    if (result == 0)
        return fd;
    if (fd >= 0)
        os->close(os->ctx, fd);
    return result;
}

/* A log file of that number as AHEAD_NAME, by invariant (1). */
static enum ramet_rc
prepare_file(struct ramet_replica *replica, uint64_t number, uint32_t page_size,
             uint64_t recycle, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_frame_file_header header;
    enum ramet_rc rc = RAMET_OK;
    bool is_old;
    int fd = -ENOENT;

    assert(ramet_page_size_ok(page_size));
    os->unlink(os->ctx, replica->dir_fd, AHEAD_NAME, false);
    if (recycle != 0)
        fd = open_recycled(replica, recycle);
    is_old = fd >= 0;
    if (!is_old)
        fd = ramet_dir_make_anew(os, replica->dir_fd, AHEAD_NAME);
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "create %s", AHEAD_NAME);
    if (!is_old)
        rc = write_zeros(replica, fd, err);
    if (rc == RAMET_OK)
        rc = ramet_frame_file_write_header(replica, RAMET_FRAMES_LOG, number,
                                           page_size, fd, &header, err);
    if (rc == RAMET_OK) {
        const int result = os->sync(os->ctx, fd);

        if (result < 0)
            rc = RAMET_FAIL_OS(err, result, "sync %s", AHEAD_NAME);
    }
    os->close(os->ctx, fd);
    return rc;
}

/* From a retired file if `recycle` is not 0. The name may not last yet. */
static enum ramet_rc
make_file(struct ramet_replica *replica, uint64_t number, uint32_t page_size,
          uint64_t recycle, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    char name[32];
    int result;
    enum ramet_rc rc;

    assert(number > recycle && ramet_page_size_ok(page_size));
    assert(ramet_is_held(replica, RAMET_LOCK_CHECKPOINT));
    ramet_frame_file_name(RAMET_FRAMES_LOG, number, name);
    rc = prepare_file(replica, number, page_size, recycle, err);
    if (rc == RAMET_OK) {
        result = os->link(os->ctx, replica->dir_fd, AHEAD_NAME, replica->dir_fd,
                          name);
        if (result < 0 && result != -EEXIST)
            rc = RAMET_FAIL_OS(err, result, "make %s", name);
    }
    os->unlink(os->ctx, replica->dir_fd, AHEAD_NAME, false);
    return rc;
}

/* ---- those that wait for their turn -------------------------------------- */

/* Files with the numbers from `first` to before `end`. */
struct ahead {
    uint64_t first;
    uint64_t end;
};

/* Those that are there, or will be when the current one is full. */
static struct ahead
look_ahead(const struct ramet_replica *replica)
{
    const struct ramet_pos pos =
        ramet_pos_load(&replica->head->header.log.write_pos);
    struct ahead ahead = {ramet_pos_file(pos), ramet_pos_file(pos)};

    if (ramet_pos_offset(pos) > RAMET_FRAME_FILE_HEADER_SIZE)
        ahead.first = ++ahead.end;
    while (ahead.end - ahead.first < AHEAD_MAX &&
           ahead.end <= RAMET_FRAME_FILE_MAX &&
           size_of_log_file(replica, ahead.end) != 0)
        ahead.end++;
    assert(ahead.first <= ahead.end && ahead.end - ahead.first <= AHEAD_MAX);
    return ahead;
}

/* Their names last now, and with them those of all before: nobody begins one while
 * the one before it has no file. */
static void
sync_names(struct ramet_replica *replica, struct ahead made)
{
    const struct ramet_os *const os = replica->os;

    assert(made.first <= made.end);
    if (made.first < made.end && os->sync(os->ctx, replica->dir_fd) == 0)
        ramet_index_raise(&replica->head->header.all.named_log, made.end - 1);
}

void
ramet_log_file_make_ahead(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;
    const struct ahead ahead = look_ahead(replica);
    struct ramet_published newest;

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    ramet_index_newest(replica, &newest);
    if (newest.snapshot.page_size == 0 || ahead.first != ahead.end ||
        ahead.end > RAMET_FRAME_FILE_MAX)
        return;
    /* A failure costs the committer time, no more. */
    if (make_file(replica, ahead.end, newest.snapshot.page_size, 0, NULL) !=
        RAMET_OK)
        return;
    sync_names(replica, (struct ahead){ahead.end, ahead.end + 1});
}

/* False: not that one, or no more of them. */
static bool
recycle_file(struct ramet_replica *replica, uint64_t number, uint64_t end)
{
    const uint64_t size = size_of_log_file(replica, number);
    struct ramet_published newest;

    assert(number < end); /* invariant (2) */
    ramet_index_newest(replica, &newest);
    return newest.snapshot.page_size != 0 && end <= RAMET_FRAME_FILE_MAX &&
           size >= RAMET_LOG_FILE_SIZE && size <= RECYCLE_SIZE_MAX &&
           make_file(replica, end, newest.snapshot.page_size, number, NULL) ==
               RAMET_OK;
}

void
ramet_log_files_recycle(struct ramet_session *session, uint64_t first,
                        uint64_t last)
{
    struct ramet_replica *const replica = session->replica;
    struct ahead ahead = look_ahead(replica);
    struct ahead made = {ahead.end, ahead.end};

    assert(last < made.first); /* invariant (2): they are retired */
    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    for (uint64_t g = first; g <= last; g++) {
        if (made.end - ahead.first < AHEAD_MAX &&
            recycle_file(replica, g, made.end))
            made.end++;
        unlink_log_file(replica, g);
    }
    sync_names(replica, made);
}

void
ramet_log_files_remove(struct ramet_session *session, uint64_t first,
                       uint64_t last, uint64_t kept)
{
    const struct ramet_replica *const replica = session->replica;
    const struct ahead ahead = look_ahead(replica);

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    for (uint64_t g = first; g <= last; g++)
        if (g != kept)
            unlink_log_file(replica, g);
    for (uint64_t g = ahead.end; g-- > ahead.first + 1;)
        unlink_log_file(replica, g);
}
bool
ramet_log_file_may_be_kept(struct ramet_session *session, uint64_t number,
                           uint64_t *out_salt)
{
    struct ramet_replica *const replica = session->replica;
    const uint64_t size = size_of_log_file(replica, number);
    struct ramet_frame_file *file;

    assert(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    if (size == 0 || size > KEEP_SIZE_MAX ||
        number > RAMET_FRAME_FILE_MAX / 2 ||
        atomic_load(&replica->head->header.all.named_log) < number ||
        ramet_frame_file_get(replica, RAMET_FRAMES_LOG, number, &file, NULL) !=
            RAMET_OK)
        return false;
    *out_salt = file->salt;
    return true;
}
