/*
 * faultos.c - see faultos.h. Every operation goes the same way: enter() counts
 * it and may refuse it; the system's table does it; faultdisk.c is told. The
 * mutex is held throughout, but for reading, locking and sleeping.
 */
#define _GNU_SOURCE
#include "tests/support/faultos.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/faultdisk.h"

struct faultos {
    struct ramet_os table;
    const struct ramet_os *system;
    struct faultdisk *disk;
    pthread_mutex_t mutex;

    unsigned fail_classes;
    long fail_in; /* operations until the failure; -1: off */
    int fail_errnum;
    bool fail_later_too;
    bool has_failed;
    uint64_t cut_rng; /* 0: transfers are not cut */

    long stop_in; /* changes until the power is cut; -1: never */
    bool has_stopped;
    long changes;
};

static void
lock_state(struct faultos *f)
{
    pthread_mutex_lock(&f->mutex);
}

static void
unlock_state(struct faultos *f)
{
    pthread_mutex_unlock(&f->mutex);
}

/* 0, or the negated errno with which the operation must fail. */
static int
enter(struct faultos *f, unsigned class, bool is_change)
{
    if (f->has_stopped)
        return -EIO;
    if (is_change && f->stop_in == 0) {
        f->has_stopped = true;
        return -EIO;
    }
    if ((class & f->fail_classes) != 0 && f->fail_in >= 0) {
        if (f->fail_in == 0) {
            f->has_failed = true;
            if (!f->fail_later_too)
                f->fail_in = -1;
            return -f->fail_errnum;
        }
        f->fail_in--;
    }
    if (is_change) {
        f->changes++;
        if (f->stop_in > 0)
            f->stop_in--;
    }
    return 0;
}

/* For what holds no lock while it works. */
static int
enter_unlocked(struct faultos *f, unsigned class)
{
    int result;

    lock_state(f);
    result = enter(f, class, false);
    unlock_state(f);
    return result;
}

/* The node that a descriptor is open on, NULL if not under the root. */
static struct faultnode *
node_of(struct faultos *f, int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? faultdisk_find(f->disk, &st) : NULL;
}

static struct faultnode *
node_at(struct faultos *f, int dirfd, const char *path, int flags)
{
    struct stat st;

    return fstatat(dirfd, path, &st, flags) == 0 ? faultdisk_find(f->disk, &st)
                                                 : NULL;
}

/* The folder of `path`, NULL if not under the root; *out_name is the last
 * component, within `path`. */
static struct faultnode *
folder_of(struct faultos *f, int dirfd, const char *path, const char **out_name)
{
    const char *const slash = strrchr(path, '/');
    struct faultnode *node;
    char *folder;

    if (slash == NULL) {
        *out_name = path;
        return node_at(f, dirfd, ".", 0);
    }
    *out_name = slash + 1;
    folder = strndup(path, (size_t)(slash - path) + 1);
    faultdisk_require(folder != NULL, "no memory", path);
    node = node_at(f, dirfd, folder, 0);
    free(folder);
    return node;
}

/* ---- descriptors ---------------------------------------------------------- */

/* What an open() that succeeded means for the disk. */
static void
note_open(struct faultos *f, int dirfd, const char *path, int flags, int fd,
          bool existed)
{
    const char *name;
    struct faultnode *const folder = folder_of(f, dirfd, path, &name);
    struct faultnode *node;
    char fd_path[32];

    snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", fd);
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        if (node_at(f, dirfd, path, 0) != NULL)
            faultdisk_made(f->disk, AT_FDCWD, fd_path);
    } else if (!existed && (flags & O_CREAT) != 0) {
        if (folder != NULL) {
            node = faultdisk_made(f->disk, AT_FDCWD, fd_path);
            faultdisk_renamed(f->disk, NULL, NULL, folder, name, node);
        }
    } else if ((flags & O_TRUNC) != 0) {
        node = node_of(f, fd);
        if (node != NULL)
            faultdisk_resized(f->disk, node, 0);
    }
}

static int
fault_open(void *ctx, int dirfd, const char *path, int flags, unsigned mode)
{
    struct faultos *const f = ctx;
    struct stat st;
    bool existed;
    bool is_change;
    int result;

    lock_state(f);
    existed = fstatat(dirfd, path, &st, 0) == 0;
    is_change = (flags & O_TMPFILE) == O_TMPFILE || (flags & O_TRUNC) != 0 ||
                ((flags & O_CREAT) != 0 && !existed);
    result = enter(f, (flags & O_CREAT) != 0 ? FAULTOS_NAME : FAULTOS_OPEN,
                   is_change);
    if (result == 0)
        result = f->system->open(NULL, dirfd, path, flags, mode);
    if (result >= 0)
        note_open(f, dirfd, path, flags, result, existed);
    unlock_state(f);
    return result;
}

static int
fault_close(void *ctx, int fd)
{
    struct faultos *const f = ctx;

    return f->system->close(NULL, fd);
}

static int
fault_dup(void *ctx, int fd)
{
    struct faultos *const f = ctx;
    const int result = enter_unlocked(f, FAULTOS_OPEN);

    return result < 0 ? result : f->system->dup(NULL, fd);
}

/* ---- content -------------------------------------------------------------- */

/* A transfer as it will be tried: with cutting on, a random part of the first
 * non-empty vector. Returns the vector to use and sets *io_count. */
static const struct iovec *
cut_transfer(struct faultos *f, const struct iovec *iov, int *io_count,
             struct iovec *one)
{
    if (f->cut_rng == 0)
        return iov;
    while (*io_count > 1 && iov->iov_len == 0) {
        iov++;
        (*io_count)--;
    }
    if (*io_count < 1)
        return iov;
    *one = *iov;
    *io_count = 1;
    if (one->iov_len > 1)
        one->iov_len =
            1 + (size_t)(faultdisk_random(&f->cut_rng) % one->iov_len);
    return one;
}

static ssize_t
fault_preadv(void *ctx, int fd, const struct iovec *iov, int iovcnt,
             uint64_t offset)
{
    struct faultos *const f = ctx;
    struct iovec one;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_READ, false);
    if (result == 0)
        iov = cut_transfer(f, iov, &iovcnt, &one);
    unlock_state(f);
    if (result < 0)
        return result;
    return f->system->preadv(NULL, fd, iov, iovcnt, offset);
}

static ssize_t
fault_pwritev(void *ctx, int fd, const struct iovec *iov, int iovcnt,
              uint64_t offset)
{
    struct faultos *const f = ctx;
    struct faultnode *node;
    struct iovec one;
    ssize_t result;

    lock_state(f);
    result = enter(f, FAULTOS_WRITE, true);
    if (result == 0) {
        iov = cut_transfer(f, iov, &iovcnt, &one);
        result = f->system->pwritev(NULL, fd, iov, iovcnt, offset);
    }
    node = result > 0 ? node_of(f, fd) : NULL;
    if (node != NULL) {
        size_t left = (size_t)result;

        for (int i = 0; i < iovcnt && left > 0; i++) {
            const size_t part = iov[i].iov_len < left ? iov[i].iov_len : left;

            faultdisk_wrote(f->disk, node, offset, iov[i].iov_base, part);
            offset += part;
            left -= part;
        }
    }
    unlock_state(f);
    return result;
}

static int
sync_file(struct faultos *f, int fd, bool whole)
{
    struct faultnode *node;
    int result;

    lock_state(f);
    node = node_of(f, fd);
    result = enter(f, FAULTOS_SYNC, true);
    if (result == 0 && fcntl(fd, F_GETFD) < 0)
        result = -errno;
    else if (result == 0 && node != NULL)
        faultdisk_synced(f->disk, node, fd, whole);
    else if (result < 0 && node != NULL && !f->has_stopped)
        faultdisk_sync_failed(f->disk, node, fd);
    unlock_state(f);
    return result;
}

static int
fault_datasync(void *ctx, int fd)
{
    return sync_file(ctx, fd, false);
}

static int
fault_sync(void *ctx, int fd)
{
    return sync_file(ctx, fd, true);
}

static int
fault_truncate(void *ctx, int fd, uint64_t size)
{
    struct faultos *const f = ctx;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_WRITE, true);
    if (result == 0)
        result = f->system->truncate(NULL, fd, size);
    if (result == 0 && node_of(f, fd) != NULL)
        faultdisk_resized(f->disk, node_of(f, fd), size);
    unlock_state(f);
    return result;
}

static int
fault_allocate(void *ctx, int fd, uint64_t offset, uint64_t len)
{
    struct faultos *const f = ctx;
    struct stat st;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_WRITE, true);
    if (result == 0)
        result = f->system->allocate(NULL, fd, offset, len);
    if (result == 0 && node_of(f, fd) != NULL && fstat(fd, &st) == 0)
        faultdisk_resized(f->disk, node_of(f, fd), (uint64_t)st.st_size);
    unlock_state(f);
    return result;
}

static int
fault_punch(void *ctx, int fd, uint64_t offset, uint64_t len)
{
    struct faultos *const f = ctx;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_WRITE, true);
    if (result == 0)
        result = f->system->punch(NULL, fd, offset, len);
    if (result == 0 && node_of(f, fd) != NULL)
        faultdisk_zeroed(f->disk, node_of(f, fd), offset, len);
    unlock_state(f);
    return result;
}

static int64_t
fault_seek_data(void *ctx, int fd, uint64_t offset)
{
    struct faultos *const f = ctx;
    const int result = enter_unlocked(f, FAULTOS_READ);

    return result < 0 ? result : f->system->seek_data(NULL, fd, offset);
}

static int
fault_map(void *ctx, int fd, uint64_t offset, size_t len, bool writable,
          void **out)
{
    struct faultos *const f = ctx;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_READ, false);
    if (result == 0)
        result = f->system->map(NULL, fd, offset, len, writable, out);
    if (result == 0 && writable && node_of(f, fd) != NULL)
        faultdisk_mapped(node_of(f, fd));
    unlock_state(f);
    return result;
}

static int
fault_unmap(void *ctx, void *addr, size_t len)
{
    struct faultos *const f = ctx;

    return f->system->unmap(NULL, addr, len);
}

/* ---- names ---------------------------------------------------------------- */

/* The vault's link to each file is none of the tested code's business. */
static void
hide_vault_link(struct faultos *f, struct ramet_os_stat *out)
{
    struct stat st = {
        .st_dev = (dev_t)out->device,
        .st_ino = (ino_t)out->inode,
    };

    if (S_ISREG(out->mode) && faultdisk_find(f->disk, &st) != NULL)
        out->link_count--;
}

static int
fault_stat(void *ctx, int fd, struct ramet_os_stat *out)
{
    struct faultos *const f = ctx;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_READ, false);
    if (result == 0)
        result = f->system->stat(NULL, fd, out);
    if (result == 0)
        hide_vault_link(f, out);
    unlock_state(f);
    return result;
}

static int
fault_stat_at(void *ctx, int dirfd, const char *path, struct ramet_os_stat *out)
{
    struct faultos *const f = ctx;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_READ, false);
    if (result == 0)
        result = f->system->stat_at(NULL, dirfd, path, out);
    if (result == 0)
        hide_vault_link(f, out);
    unlock_state(f);
    return result;
}

/* No operation that is counted: it changes nothing, and whoever makes a name
 * absolute asks once for each of its elements. */
static int
fault_read_link(void *ctx, int dirfd, const char *path, char *out, size_t size)
{
    struct faultos *const f = ctx;

    return f->system->read_link(NULL, dirfd, path, out, size);
}

static int
fault_set_mtime(void *ctx, int fd, int64_t mtime_ns)
{
    struct faultos *const f = ctx;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_WRITE, true);
    if (result == 0)
        result = f->system->set_mtime(NULL, fd, mtime_ns);
    unlock_state(f);
    return result;
}

static int
fault_chmod(void *ctx, int fd, unsigned mode)
{
    struct faultos *const f = ctx;
    struct faultnode *node;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_WRITE, true);
    if (result == 0)
        result = f->system->chmod(NULL, fd, mode);
    node = result == 0 ? node_of(f, fd) : NULL;
    if (node != NULL)
        faultdisk_mode_set(node, mode);
    unlock_state(f);
    return result;
}

/* The owner is not modelled: tests give nothing away. */
static int
fault_chown(void *ctx, int fd, unsigned uid, unsigned gid)
{
    struct faultos *const f = ctx;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_WRITE, true);
    if (result == 0)
        result = f->system->chown(NULL, fd, uid, gid);
    unlock_state(f);
    return result;
}

static unsigned
fault_user(void *ctx)
{
    return ((struct faultos *)ctx)->system->user(NULL);
}

static int
fault_link(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
           const char *new_path)
{
    struct faultos *const f = ctx;
    struct faultnode *node;
    struct faultnode *to;
    const char *to_name;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_NAME, true);
    node = node_at(f, old_dirfd, old_path, AT_SYMLINK_NOFOLLOW);
    to = folder_of(f, new_dirfd, new_path, &to_name);
    if (result == 0)
        result =
            f->system->link(NULL, old_dirfd, old_path, new_dirfd, new_path);
    if (result == 0 && to != NULL && node != NULL)
        faultdisk_renamed(f->disk, NULL, NULL, to, to_name, node);
    unlock_state(f);
    return result;
}

static int
fault_rename(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
             const char *new_path)
{
    struct faultos *const f = ctx;
    struct faultnode *node;
    struct faultnode *replaced;
    struct faultnode *from;
    struct faultnode *to;
    const char *from_name;
    const char *to_name;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_NAME, true);
    node = node_at(f, old_dirfd, old_path, AT_SYMLINK_NOFOLLOW);
    replaced = node_at(f, new_dirfd, new_path, AT_SYMLINK_NOFOLLOW);
    from = folder_of(f, old_dirfd, old_path, &from_name);
    to = folder_of(f, new_dirfd, new_path, &to_name);
    if (result == 0)
        result =
            f->system->rename(NULL, old_dirfd, old_path, new_dirfd, new_path);
    /* Two names of one file: rename() does nothing. */
    if (result == 0 && node != NULL && node != replaced)
        faultdisk_renamed(f->disk, from, from_name, to, to_name, node);
    unlock_state(f);
    return result;
}

static int
fault_unlink(void *ctx, int dirfd, const char *path, bool is_dir)
{
    struct faultos *const f = ctx;
    struct faultnode *node;
    struct faultnode *from;
    const char *name;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_NAME, true);
    node = node_at(f, dirfd, path, AT_SYMLINK_NOFOLLOW);
    from = folder_of(f, dirfd, path, &name);
    if (result == 0)
        result = f->system->unlink(NULL, dirfd, path, is_dir);
    if (result == 0 && from != NULL && node != NULL)
        faultdisk_renamed(f->disk, from, name, NULL, NULL, node);
    unlock_state(f);
    return result;
}

static int
fault_mkdir(void *ctx, int dirfd, const char *path, unsigned mode)
{
    struct faultos *const f = ctx;
    struct faultnode *to;
    const char *name;
    int result;

    lock_state(f);
    result = enter(f, FAULTOS_NAME, true);
    if (result == 0)
        result = f->system->mkdir(NULL, dirfd, path, mode);
    to = folder_of(f, dirfd, path, &name);
    if (result == 0 && to != NULL)
        faultdisk_renamed(f->disk, NULL, NULL, to, name,
                          faultdisk_made(f->disk, dirfd, path));
    unlock_state(f);
    return result;
}

/* The visitor may call the table: no lock is held. */
static int
fault_list(void *ctx, int dirfd, const char *path, ramet_dir_visit *visit,
           void *visit_ctx)
{
    struct faultos *const f = ctx;
    const int result = enter_unlocked(f, FAULTOS_READ);

    return result < 0 ? result
                      : f->system->list(NULL, dirfd, path, visit, visit_ctx);
}

/* ---- the rest ------------------------------------------------------------- */

static int
fault_lock(void *ctx, int fd, uint64_t offset, uint64_t len,
           enum ramet_lock_mode mode)
{
    struct faultos *const f = ctx;
    const int result =
        mode == RAMET_UNLOCK ? 0 : enter_unlocked(f, FAULTOS_LOCK);

    return result < 0 ? result : f->system->lock(NULL, fd, offset, len, mode);
}

static int
fault_lock_held(void *ctx, int fd, uint64_t offset, uint64_t len,
                enum ramet_lock_mode mode)
{
    struct faultos *const f = ctx;
    const int result = enter_unlocked(f, FAULTOS_LOCK);

    return result < 0 ? result
                      : f->system->lock_held(NULL, fd, offset, len, mode);
}

static uint64_t
fault_wall_ms(void *ctx)
{
    return ((struct faultos *)ctx)->system->wall_ms(NULL);
}

static uint64_t
fault_mono_ns(void *ctx)
{
    return ((struct faultos *)ctx)->system->mono_ns(NULL);
}

static uint64_t
fault_boot_ns(void *ctx)
{
    return ((struct faultos *)ctx)->system->boot_ns(NULL);
}

static void
fault_sleep_us(void *ctx, uint64_t us)
{
    ((struct faultos *)ctx)->system->sleep_us(NULL, us);
}

static int
fault_random(void *ctx, void *out, size_t len)
{
    struct faultos *const f = ctx;
    const int result = enter_unlocked(f, FAULTOS_RANDOM);

    return result < 0 ? result : f->system->random(NULL, out, len);
}

static const struct ramet_os fault_table = {
    .open = fault_open,
    .close = fault_close,
    .dup = fault_dup,
    .preadv = fault_preadv,
    .pwritev = fault_pwritev,
    .datasync = fault_datasync,
    .sync = fault_sync,
    .truncate = fault_truncate,
    .allocate = fault_allocate,
    .punch = fault_punch,
    .seek_data = fault_seek_data,
    .stat = fault_stat,
    .stat_at = fault_stat_at,
    .read_link = fault_read_link,
    .set_mtime = fault_set_mtime,
    .chmod = fault_chmod,
    .chown = fault_chown,
    .user = fault_user,
    .link = fault_link,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .mkdir = fault_mkdir,
    .list = fault_list,
    .lock = fault_lock,
    .lock_held = fault_lock_held,
    .map = fault_map,
    .unmap = fault_unmap,
    .wall_ms = fault_wall_ms,
    .mono_ns = fault_mono_ns,
    .boot_ns = fault_boot_ns,
    .sleep_us = fault_sleep_us,
    .random = fault_random,
};

/* ---- what tests call ------------------------------------------------------- */

struct faultos *
faultos_new(const char *root)
{
    struct faultos *const f = calloc(1, sizeof(*f));

    faultdisk_require(f != NULL, "no memory", root);
    f->system = ramet_os_system();
    f->table = fault_table;
    f->table.ctx = f;
    f->disk = faultdisk_new(root);
    f->fail_in = -1;
    f->stop_in = -1;
    faultdisk_require(pthread_mutex_init(&f->mutex, NULL) == 0, "mutex", root);
    return f;
}

void
faultos_free(struct faultos *f)
{
    if (f == NULL)
        return;
    faultdisk_free(f->disk);
    pthread_mutex_destroy(&f->mutex);
    free(f);
}

const struct ramet_os *
faultos_os(struct faultos *f)
{
    return &f->table;
}

void
faultos_fail_at(struct faultos *f, unsigned classes, long nth, int errnum,
                bool and_later)
{
    lock_state(f);
    f->fail_classes = classes;
    f->fail_in = nth;
    f->fail_errnum = errnum;
    f->fail_later_too = and_later;
    f->has_failed = false;
    unlock_state(f);
}

bool
faultos_has_failed(const struct faultos *f)
{
    return f->has_failed;
}

void
faultos_cut_transfers(struct faultos *f, uint64_t seed)
{
    f->cut_rng = seed;
}

void
faultos_stop_at(struct faultos *f, long count)
{
    lock_state(f);
    f->stop_in = count;
    f->has_stopped = false;
    unlock_state(f);
}

bool
faultos_has_stopped(const struct faultos *f)
{
    return f->has_stopped;
}

long
faultos_changes(const struct faultos *f)
{
    return f->changes;
}

void
faultos_settle(struct faultos *f)
{
    lock_state(f);
    faultdisk_settle(f->disk);
    unlock_state(f);
}

void
faultos_crash(struct faultos *f, uint64_t seed)
{
    lock_state(f);
    faultdisk_crash(f->disk, seed);
    f->stop_in = -1;
    f->has_stopped = false;
    f->fail_in = -1;
    f->cut_rng = 0;
    unlock_state(f);
}
