/*
 * frame_files.c - the frame files that this process has open.
 *
 * A reader looks a file up without a lock and uses its descriptor. It
 * must not be closed under it, and its number not be given to another file.
 * So each session tells, by `epoch`, since when it may be using what it looked
 * up:
 *
 *   (1) a session stores the replica's epoch, then a full fence, before it looks
 *       anything up, and 0 when it is done
 *   (2) a file is taken out of its bucket before the epoch goes up; it is
 *       closed when every session's epoch is 0 or later than that
 *   (3) a bucket's list changes under the replica's mutex only
 */
#include "client/store/shared/frame_files.h"
#include "client/store/shared/locks.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/shared/index.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/alloc.h"

static struct ramet_frame_file *_Atomic *
bucket_of(struct ramet_replica *replica, enum ramet_frames_type type,
          uint64_t number)
{
    const uint64_t key = number * RAMET_FRAMES_RETAINED + type;

    assert(type >= RAMET_FRAMES_LOG && type <= RAMET_FRAMES_RETAINED);
    return &replica->frame_files[key % RAMET_FRAME_FILE_BUCKETS];
}

static struct ramet_frame_file *
find_file(struct ramet_replica *replica, enum ramet_frames_type type,
          uint64_t number)
{
    struct ramet_frame_file *at = atomic_load_explicit(
        bucket_of(replica, type, number), memory_order_acquire);

    while (at != NULL && (at->number != number || at->type != type))
        at = atomic_load_explicit(&at->next, memory_order_acquire);
    return at;
}

/* Needs the mutex. Owns `fd` on success. */
static enum ramet_rc
add_file(struct ramet_replica *replica,
         const struct ramet_frame_file_header *header, int fd,
         struct ramet_frame_file **out_file, struct ramet_err *err)
{
    struct ramet_frame_file *_Atomic *const bucket =
        bucket_of(replica, header->type, header->number);
    struct ramet_frame_file *const file = ramet_calloc(1, sizeof(*file));

    assert(fd >= 0 && header->number >= 1 &&
           header->number <= RAMET_FRAME_FILE_MAX);
    assert(find_file(replica, header->type, header->number) == NULL);
    if (file == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a file's entry");
    file->number = header->number;
    file->type = header->type;
    file->fd = fd;
    file->salt = header->salt;
    file->page_size = header->page_size;
    atomic_store_explicit(&file->next, *bucket, memory_order_relaxed);
    atomic_store_explicit(bucket, file, memory_order_release);
    *out_file = file;
    return RAMET_OK;
}

/* Left by a clean close, and nobody has begun to write. */
static bool
is_kept(const struct ramet_replica *replica,
        const struct ramet_frame_file_header *header)
{
    return header->type == RAMET_FRAMES_LOG &&
           header->number == replica->kept_log &&
           header->salt == replica->kept_salt;
}

/* Open by name and check the header. RAMET_ENOTFOUND also where the header is
 * not this file's: then *out_fd is open all the same, for its maker. */
static enum ramet_rc
open_file(struct ramet_replica *replica, enum ramet_frames_type type,
          uint64_t number, int *out_fd,
          struct ramet_frame_file_header *out_header, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    uint8_t raw[RAMET_FRAME_FILE_HEADER_SIZE];
    char name[32];
    size_t got = 0;
    enum ramet_rc rc;
    int fd;

    ramet_frame_file_name(type, number, name);
    fd = ramet_dir_open(os, replica->dir_fd, name,
                        replica->is_readonly ? O_RDONLY : O_RDWR);
    if (fd < 0)
        return RAMET_FAIL_OS(err, fd, "open %s", name);
    rc = ramet_os_read_some(os, fd, raw, sizeof(raw), 0, &got, name, err);
    if (rc != RAMET_OK) {
        os->close(os->ctx, fd);
        return rc;
    }
    *out_fd = fd;
    if (got < sizeof(raw) || !ramet_frame_file_header_decode(raw, out_header) ||
        out_header->type != type || out_header->number != number ||
        ramet_id_compare(&out_header->base_id, &replica->base_id) != 0 ||
        is_kept(replica, out_header))
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%s does not belong to this replica", name);
    return RAMET_OK;
}

bool
ramet_frame_file_is_kept(struct ramet_replica *replica)
{
    struct ramet_frame_file_header header = {.number = 0};
    int fd = -1;
    const enum ramet_rc rc =
        replica->kept_log == 0
            ? RAMET_OK
            : open_file(replica, RAMET_FRAMES_LOG, replica->kept_log, &fd,
                        &header, NULL);

    if (fd >= 0)
        replica->os->close(replica->os->ctx, fd);
    return rc == RAMET_ENOTFOUND && fd >= 0 && is_kept(replica, &header);
}

enum ramet_rc
ramet_frame_file_get(struct ramet_replica *replica, enum ramet_frames_type type,
                     uint64_t number, struct ramet_frame_file **out_file,
                     struct ramet_err *err)
{
    struct ramet_frame_file *found = find_file(replica, type, number);
    struct ramet_frame_file_header header;
    enum ramet_rc rc = RAMET_OK;
    int fd = -1;

    if (found != NULL) {
        assert(found->fd >= 0 && found->number == number &&
               found->type == type);
        *out_file = found;
        return RAMET_OK;
    }
    ramet_mutex_lock(&replica->mutex);
    found = find_file(replica, type, number);
    if (found == NULL) {
        rc = open_file(replica, type, number, &fd, &header, err);
        if (rc == RAMET_OK)
            rc = add_file(replica, &header, fd, &found, err);
        if (rc != RAMET_OK && fd >= 0)
            replica->os->close(replica->os->ctx, fd);
    }
    ramet_mutex_unlock(&replica->mutex);
    if (rc == RAMET_OK)
        *out_file = found;
    return rc;
}

enum ramet_rc
ramet_frame_file_write_header(const struct ramet_replica *replica,
                              enum ramet_frames_type type, uint64_t number,
                              uint32_t page_size, int fd,
                              struct ramet_frame_file_header *out_header,
                              struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    uint8_t raw[RAMET_FRAME_FILE_HEADER_SIZE];
    int result;

    assert(fd >= 0 && number >= 1);
    assert(ramet_page_size_ok(page_size) && number <= RAMET_FRAME_FILE_MAX);
    out_header->type = type;
    out_header->number = number;
    out_header->page_size = page_size;
    out_header->base_id = replica->base_id;
    result = os->random(os->ctx, &out_header->salt, sizeof(out_header->salt));
    if (result < 0)
        return RAMET_FAIL_OS(err, result, "random salt");
    ramet_frame_file_header_encode(out_header, raw);
    return ramet_os_write_full(os, fd, raw, sizeof(raw), 0, "log header", err);
}

/* A kept file may have been taken away by somebody. */
static void
note_unnamed(struct ramet_replica *replica, uint64_t number)
{
    _Atomic uint64_t *const named = &replica->head->header.all.named_log;

    assert(number >= 1);
    if (atomic_load(named) >= number)
        atomic_store(named, number - 1);
}

/* Needs the mutex. */
static enum ramet_rc
create_file(struct ramet_replica *replica, enum ramet_frames_type type,
            uint64_t number, uint32_t page_size,
            struct ramet_frame_file **out_file, struct ramet_err *err)
{
    const struct ramet_os *const os = replica->os;
    struct ramet_frame_file_header header;
    char name[32];
    bool is_new;
    int fd = -1;
    enum ramet_rc rc = open_file(replica, type, number, &fd, &header, NULL);

    assert(ramet_page_size_ok(page_size));
    ramet_frame_file_name(type, number, name);
    if (rc == RAMET_ENOTFOUND) {
        /* One that was made ahead may get the name just now: not with another
         * salt then, since others may have read the one that it has. */
        is_new = fd < 0;
        if (is_new)
            fd = ramet_dir_make(os, replica->dir_fd, name);
        if (fd == -EEXIST)
            return RAMET_FAIL(err, RAMET_EEXIST,
                              "%s was created just now by another process",
                              name);
        if (fd < 0)
            return RAMET_FAIL_OS(err, fd, "create %s", name);
        if (type == RAMET_FRAMES_LOG && is_new)
            note_unnamed(replica, number);
        rc = ramet_frame_file_write_header(replica, type, number, page_size, fd,
                                           &header, err);
    } else if (rc != RAMET_OK) {
        return RAMET_FAIL(err, rc, "can't open %s", name);
    }
    if (rc == RAMET_OK && header.page_size != page_size)
        rc = RAMET_FAIL(err, RAMET_EEXIST, "%s has another page size", name);
    if (rc == RAMET_OK)
        rc = add_file(replica, &header, fd, out_file, err);
    if (rc != RAMET_OK)
        os->close(os->ctx, fd);
    return rc;
}

enum ramet_rc
ramet_frame_file_create(struct ramet_replica *replica,
                        enum ramet_frames_type type, uint64_t number,
                        uint32_t page_size, struct ramet_frame_file **out_file,
                        struct ramet_err *err)
{
    struct ramet_frame_file *found;
    enum ramet_rc rc = RAMET_OK;

    assert(number >= 1 && ramet_page_size_ok(page_size));
    assert(type == RAMET_FRAMES_LOG ? ramet_may_publish(replica)
                                    : ramet_may_write_base(replica));
    if (number > RAMET_FRAME_FILE_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG,
                          "%s: log positions are used up; close it everywhere "
                          "once, and they begin anew",
                          replica->path);
    ramet_mutex_lock(&replica->mutex);
    found = find_file(replica, type, number);
    if (found == NULL)
        rc = create_file(replica, type, number, page_size, &found, err);
    else if (found->page_size != page_size)
        rc =
            RAMET_FAIL(err, RAMET_EEXIST, "the file has pages of another size");
    ramet_mutex_unlock(&replica->mutex);
    if (rc == RAMET_OK)
        *out_file = found;
    return rc;
}

/* ---- closing them -------------------------------------------------------- */

enum ramet_rc
ramet_frame_file_at_end(struct ramet_replica *replica,
                        enum ramet_frames_type type, struct ramet_pos_word *end,
                        uint32_t page_size, struct ramet_pos *out_pos,
                        struct ramet_frame_file **out_file,
                        struct ramet_err *err)
{
    struct ramet_pos pos = ramet_pos_load(end);
    enum ramet_rc rc = RAMET_EEXIST;

    assert(ramet_may_write_base(replica));
    if (ramet_pos_offset(pos) <
        RAMET_FRAME_OFFSET_MAX - 2 * RAMET_PAGE_SIZE_MAX)
        rc = ramet_frame_file_create(replica, type, ramet_pos_file(pos),
                                     page_size, out_file, err);
    if (rc == RAMET_EEXIST) { /* of another page size, or full */
        pos = ramet_pos_first(ramet_pos_file(pos) + 1);
        ramet_pos_store(end, pos);
        rc = ramet_frame_file_create(replica, type, ramet_pos_file(pos),
                                     page_size, out_file, err);
    }
    assert(rc != RAMET_OK || (*out_file)->number == ramet_pos_file(pos));
    *out_pos = pos;
    return rc;
}

static bool
is_retired(const struct ramet_replica *replica,
           const struct ramet_frame_file *file)
{
    const struct ramet_index_header *const header = &replica->head->header;

    return file->number < atomic_load(file->type == RAMET_FRAMES_LOG
                                          ? &header->checkpoint.oldest
                                      : file->type == RAMET_FRAMES_FETCHED
                                          ? &header->fetched.oldest
                                          : &header->retained.oldest);
}

static void
free_file(struct ramet_replica *replica, struct ramet_frame_file *file)
{
    assert(file->fd >= 0);
    replica->os->close(replica->os->ctx, file->fd);
    ramet_free(file);
}

/* Which files go that are not retired. */
enum trim {
    TRIM_RETIRED,
    TRIM_RETAINED, /* those of retained versions as well */
    TRIM_ALL
};

/* To the list of retired ones: still open, not to be found any more. */
static void
unlink_retired(struct ramet_replica *replica, enum trim what, uint64_t epoch)
{
    for (unsigned i = 0; i < RAMET_FRAME_FILE_BUCKETS; i++) {
        struct ramet_frame_file *_Atomic *from = &replica->frame_files[i];

        while (*from != NULL) {
            struct ramet_frame_file *const file = *from;

            if (what != TRIM_ALL && !is_retired(replica, file) &&
                !(what == TRIM_RETAINED &&
                  file->type == RAMET_FRAMES_RETAINED)) {
                from = &file->next;
                continue;
            }
            atomic_store_explicit(from, file->next, memory_order_release);
            file->retired_epoch = epoch;
            file->retired_next = replica->retired;
            replica->retired = file;
        }
    }
}

static void
trim(struct ramet_replica *replica, enum trim what)
{
    const struct ramet_index_header *const header = &replica->head->header;
    struct ramet_frame_file **from = &replica->retired;
    uint64_t least = UINT64_MAX;
    uint64_t epoch;

    assert(replica->head != NULL);
    ramet_mutex_lock(&replica->mutex);
    atomic_store(&replica->seen_oldest,
                 atomic_load(&header->checkpoint.oldest));
    atomic_store(&replica->seen_fetched_oldest,
                 atomic_load(&header->fetched.oldest));
    epoch = atomic_load(&replica->epoch);
    unlink_retired(replica, what, epoch);
    atomic_fetch_add(&replica->epoch, 1); /* invariant (2) */
    atomic_thread_fence(memory_order_seq_cst);
    for (struct ramet_session *s = replica->sessions; s != NULL; s = s->next) {
        const uint64_t in = atomic_load(&s->epoch);

        if (in != 0 && in < least)
            least = in;
    }
    while (*from != NULL) {
        struct ramet_frame_file *const file = *from;

        if (file->retired_epoch >= least) {
            from = &file->retired_next;
            continue;
        }
        *from = file->retired_next;
        free_file(replica, file);
    }
    ramet_mutex_unlock(&replica->mutex);
}

void
ramet_frame_files_trim(struct ramet_replica *replica)
{
    trim(replica, TRIM_RETIRED);
}

void
ramet_frame_files_trim_retained(struct ramet_replica *replica)
{
    trim(replica, TRIM_RETAINED);
}

void
ramet_frame_files_let_go(struct ramet_replica *replica)
{
    assert(ramet_may_publish(replica) && ramet_may_write_base(replica));
    trim(replica, TRIM_ALL);
}

void
ramet_frame_files_close_all(struct ramet_replica *replica)
{
    for (unsigned i = 0; i < RAMET_FRAME_FILE_BUCKETS; i++) {
        struct ramet_frame_file *file = replica->frame_files[i];

        while (file != NULL) {
            struct ramet_frame_file *const next = file->next;

            free_file(replica, file);
            file = next;
        }
        replica->frame_files[i] = NULL;
    }
    while (replica->retired != NULL) {
        struct ramet_frame_file *const file = replica->retired;

        replica->retired = file->retired_next;
        free_file(replica, file);
    }
}
