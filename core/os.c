/*
 * os.c - the table of Linux calls; see os.h. os_fork.c knows the descriptors
 * that must not outlive a fork(), os_helpers.c has what loops over the table.
 *
 *   (1) a result is >= 0 or a negated errno, never -EINTR
 *   (2) no descriptor returned is 0, 1 or 2: a program that closed those and
 *       then prints must not print into a database
 */
#include "core/os.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/os_fork.h"

#define FD_MIN 3         /* invariant (2) */
#define LIST_BYTES 4096u /* entries of a folder read at a time */
#define NS_PER_S UINT64_C(1000000000)

/* result = call, by invariant (1); on EINTR `call` is evaluated again. */
#define RETRY(type, result, call)                                              \
    do {                                                                       \
        do                                                                     \
            (result) = (type)(call);                                           \
        while ((result) < 0 && errno == EINTR);                                \
        if ((result) < 0)                                                      \
            (result) = -errno;                                                 \
    } while (0)

/* What off_t can say; the table speaks of uint64_t. */
static bool
is_range(uint64_t offset, uint64_t len)
{
    return offset <= (uint64_t)INT64_MAX && len <= (uint64_t)INT64_MAX - offset;
}

/* The time of each read is not noted, where the file is ours: that is a twelfth
 * of what reading a page costs (docs/performance.md). */
static int
open_unnoted(int dirfd, const char *path, int flags, mode_t mode)
{
    int fd;

    RETRY(int, fd, openat(dirfd, path, flags | O_NOATIME, mode));
    if (fd == -EPERM)
        RETRY(int, fd, openat(dirfd, path, flags, mode));
    return fd;
}

static int
sys_open(void *ctx, int dirfd, const char *path, int flags, unsigned mode)
{
    int fd;
    int tracked;

    (void)ctx;
    fd = open_unnoted(dirfd, path, flags | O_CLOEXEC, (mode_t)mode);
    if (fd >= 0 && fd < FD_MIN) {
        const int low = fd;

        RETRY(int, fd, fcntl(low, F_DUPFD_CLOEXEC, FD_MIN));
        close(low);
    }
    if (fd < 0)
        return fd;
    tracked = ramet_os_fork_track(fd, (flags & O_ACCMODE) != O_RDONLY &&
                                          (flags & O_APPEND) == 0);
    if (tracked < 0) {
        close(fd);
        return tracked;
    }
    return fd;
}

static int
sys_close(void *ctx, int fd)
{
    (void)ctx;
    return ramet_os_fork_close(fd);
}

static int
sys_dup(void *ctx, int fd)
{
    (void)ctx;
    return ramet_os_fork_dup(fd);
}

static ssize_t
sys_preadv(void *ctx, int fd, const struct iovec *iov, int iovcnt,
           uint64_t offset)
{
    ssize_t result;

    (void)ctx;
    if (!is_range(offset, 0))
        return -EINVAL;
    if (iovcnt == 1) { /* the usual case, and a shorter way in the kernel */
        RETRY(ssize_t, result,
              pread(fd, iov->iov_base, iov->iov_len, (off_t)offset));
    } else {
        RETRY(ssize_t, result, preadv(fd, iov, iovcnt, (off_t)offset));
    }
    return result;
}

static ssize_t
sys_pwritev(void *ctx, int fd, const struct iovec *iov, int iovcnt,
            uint64_t offset)
{
    ssize_t result;

    (void)ctx;
    if (!is_range(offset, 0))
        return -EINVAL;
    if (iovcnt == 1) {
        RETRY(ssize_t, result,
              pwrite(fd, iov->iov_base, iov->iov_len, (off_t)offset));
    } else {
        RETRY(ssize_t, result, pwritev(fd, iov, iovcnt, (off_t)offset));
    }
    return result;
}

static int
sys_datasync(void *ctx, int fd)
{
    int result;

    (void)ctx;
    RETRY(int, result, fdatasync(fd));
    return result;
}

static int
sys_sync(void *ctx, int fd)
{
    int result;

    (void)ctx;
    RETRY(int, result, fsync(fd));
    return result;
}

static int
sys_truncate(void *ctx, int fd, uint64_t size)
{
    int result;

    (void)ctx;
    if (!is_range(size, 0))
        return -EFBIG;
    RETRY(int, result, ftruncate(fd, (off_t)size));
    return result;
}

static int
sys_allocate(void *ctx, int fd, uint64_t offset, uint64_t len)
{
    int result;

    (void)ctx;
    if (!is_range(offset, len))
        return -EFBIG;
    if (len == 0)
        return 0;
    RETRY(int, result, fallocate(fd, 0, (off_t)offset, (off_t)len));
    if (result != -EOPNOTSUPP)
        return result;
    /* The C library writes to each block then; it returns its error. */
    do
        result = posix_fallocate(fd, (off_t)offset, (off_t)len);
    while (result == EINTR);
    return -result;
}

static int
sys_punch(void *ctx, int fd, uint64_t offset, uint64_t len)
{
    int result;

    (void)ctx;
    if (!is_range(offset, len))
        return -EFBIG;
    if (len == 0)
        return 0;
    RETRY(int, result,
          fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    (off_t)offset, (off_t)len));
    return result;
}

static int64_t
sys_seek_data(void *ctx, int fd, uint64_t offset)
{
    int64_t result;

    (void)ctx;
    if (!is_range(offset, 0))
        return -ENXIO;
    RETRY(int64_t, result, lseek(fd, (off_t)offset, SEEK_DATA));
    return result;
}

static int64_t
ns_of(const struct timespec *time)
{
    return (int64_t)time->tv_sec * (int64_t)NS_PER_S + time->tv_nsec;
}

static void
convert_stat(const struct stat *from, struct ramet_os_stat *to)
{
    *to = (struct ramet_os_stat){
        .size_bytes = (uint64_t)from->st_size,
        .block_bytes = (uint64_t)from->st_blocks * 512,
        .device = (uint64_t)from->st_dev,
        .inode = (uint64_t)from->st_ino,
        .mtime_ns = ns_of(&from->st_mtim),
        .ctime_ns = ns_of(&from->st_ctim),
        .mode = from->st_mode,
        .link_count = (uint32_t)from->st_nlink,
        .uid = from->st_uid,
        .gid = from->st_gid,
    };
}

static int
sys_stat(void *ctx, int fd, struct ramet_os_stat *out)
{
    struct stat st;
    int result;

    (void)ctx;
    RETRY(int, result, fstat(fd, &st));
    if (result == 0)
        convert_stat(&st, out);
    return result;
}

static int
sys_stat_at(void *ctx, int dirfd, const char *path, struct ramet_os_stat *out)
{
    struct stat st;
    int result;

    (void)ctx;
    RETRY(int, result, fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW));
    if (result == 0)
        convert_stat(&st, out);
    return result;
}

static int
sys_read_link(void *ctx, int dirfd, const char *path, char *out, size_t size)
{
    ssize_t result;

    (void)ctx;
    RETRY(ssize_t, result, readlinkat(dirfd, path, out, size));
    return (int)result;
}

static int
sys_set_mtime(void *ctx, int fd, int64_t mtime_ns)
{
    int64_t seconds = mtime_ns / (int64_t)NS_PER_S;
    int64_t rest = mtime_ns % (int64_t)NS_PER_S;
    struct timespec times[2];
    int result;

    (void)ctx;
    if (rest < 0) { /* before 1970 */
        rest += (int64_t)NS_PER_S;
        seconds--;
    }
    times[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
    times[1] = (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
    RETRY(int, result, futimens(fd, times));
    return result;
}

static int
sys_chmod(void *ctx, int fd, unsigned mode)
{
    int result;

    (void)ctx;
    RETRY(int, result, fchmod(fd, (mode_t)mode));
    return result;
}

static int
sys_chown(void *ctx, int fd, unsigned uid, unsigned gid)
{
    int result;

    (void)ctx;
    RETRY(int, result, fchown(fd, (uid_t)uid, (gid_t)gid));
    return result;
}

static unsigned
sys_user(void *ctx)
{
    (void)ctx;
    return (unsigned)geteuid();
}

static int
sys_link(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
         const char *new_path)
{
    int result;

    (void)ctx;
    RETRY(int, result, linkat(old_dirfd, old_path, new_dirfd, new_path, 0));
    return result;
}

static int
sys_rename(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
           const char *new_path)
{
    int result;

    (void)ctx;
    RETRY(int, result, renameat(old_dirfd, old_path, new_dirfd, new_path));
    return result;
}

static int
sys_unlink(void *ctx, int dirfd, const char *path, bool is_dir)
{
    int result;

    (void)ctx;
    RETRY(int, result, unlinkat(dirfd, path, is_dir ? AT_REMOVEDIR : 0));
    return result;
}

static int
sys_mkdir(void *ctx, int dirfd, const char *path, unsigned mode)
{
    int result;

    (void)ctx;
    RETRY(int, result, mkdirat(dirfd, path, (mode_t)mode));
    return result;
}

static bool
entry_is_dir(int dirfd, const struct dirent64 *entry)
{
    struct stat st;

    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(st.st_mode);
}

/* The entries of one getdents64(). */
static int
visit_entries(int dirfd, const uint8_t *entries, size_t len,
              ramet_dir_visit *visit, void *visit_ctx)
{
    int result = 0;

    for (size_t at = 0; result == 0 && at < len;) {
        const struct dirent64 *const entry = (const void *)(entries + at);

        at += entry->d_reclen;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result =
                visit(visit_ctx, entry->d_name, entry_is_dir(dirfd, entry));
    }
    return result;
}

/* The visit's own result if it stopped the walk. By the system call: opendir()
 * asks three more of each folder, and allocates for a long one. */
static int
sys_list(void *ctx, int dirfd, const char *path, ramet_dir_visit *visit,
         void *visit_ctx)
{
    _Alignas(struct dirent64) uint8_t entries[LIST_BYTES];
    int result;
    int fd;

    (void)ctx;
    RETRY(int, fd, openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0)
        return fd;
    do {
        RETRY(int, result, getdents64(fd, entries, sizeof(entries)));
        if (result <= 0)
            break;
        result = visit_entries(fd, entries, (size_t)result, visit, visit_ctx);
    } while (result == 0);
    close(fd);
    return result;
}

/* False for what fcntl() can't say: a length of 0 means "to the end" there. */
static bool
make_flock(uint64_t offset, uint64_t len, enum ramet_lock_mode mode,
           struct flock *out)
{
    static const short types[] = {
        [RAMET_UNLOCK] = F_UNLCK,
        [RAMET_LOCK_SHARED] = F_RDLCK,
        [RAMET_LOCK_EXCLUSIVE] = F_WRLCK,
    };

    if (len == 0 || !is_range(offset, len))
        return false;
    *out = (struct flock){
        .l_type = types[mode],
        .l_whence = SEEK_SET,
        .l_start = (off_t)offset,
        .l_len = (off_t)len,
    };
    return true;
}

static int
sys_lock(void *ctx, int fd, uint64_t offset, uint64_t len,
         enum ramet_lock_mode mode)
{
    struct flock lock;
    int result;

    (void)ctx;
    if (fd < 0)
        return -EBADF;
    if (!make_flock(offset, len, mode, &lock))
        return -EINVAL;
    if (mode != RAMET_UNLOCK) {
        result = ramet_os_fork_mark(fd); /* before there is a lock to leak */
        if (result < 0)
            return result;
    }
    RETRY(int, result, fcntl(fd, F_OFD_SETLK, &lock));
    return result == -EACCES ? -EAGAIN : result;
}

static int
sys_lock_held(void *ctx, int fd, uint64_t offset, uint64_t len,
              enum ramet_lock_mode mode)
{
    struct flock lock;
    int result;

    (void)ctx;
    if (mode == RAMET_UNLOCK || !make_flock(offset, len, mode, &lock))
        return -EINVAL;
    RETRY(int, result, fcntl(fd, F_OFD_GETLK, &lock));
    if (result < 0)
        return result;
    return lock.l_type != F_UNLCK;
}

static int
sys_map(void *ctx, int fd, uint64_t offset, size_t len, bool writable,
        void **out)
{
    const int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    const int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void *at;

    (void)ctx;
    if (!is_range(offset, len))
        return -EINVAL;
    at = mmap(NULL, len, prot, flags, fd < 0 ? -1 : fd, (off_t)offset);
    if (at == MAP_FAILED)
        return -errno;
    if (fd >= 0) {
        const int result = ramet_os_fork_map(at, len);

        if (result < 0) {
            munmap(at, len);
            return result;
        }
    }
    *out = at;
    return 0;
}

static int
sys_unmap(void *ctx, void *addr, size_t len)
{
    (void)ctx;
    ramet_os_fork_unmap(addr);
    return munmap(addr, len) == 0 ? 0 : -errno;
}

static uint64_t
clock_ns(clockid_t clock)
{
    struct timespec now;
    const int result = clock_gettime(clock, &now);

    assert(result == 0);
    (void)result;
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t
sys_wall_ms(void *ctx)
{
    (void)ctx;
    return clock_ns(CLOCK_REALTIME) / 1000000;
}

static uint64_t
sys_mono_ns(void *ctx)
{
    (void)ctx;
    return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t
sys_boot_ns(void *ctx)
{
    (void)ctx;
    return clock_ns(CLOCK_BOOTTIME);
}

static void
sys_sleep_us(void *ctx, uint64_t us)
{
    struct timespec left = {
        .tv_sec = (time_t)(us / 1000000),
        .tv_nsec = (long)(us % 1000000) * 1000,
    };

    (void)ctx;
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        continue;
}

static int
sys_random(void *ctx, void *out, size_t len)
{
    uint8_t *at = out;

    (void)ctx;
    while (len > 0) {
        ssize_t got;

        RETRY(ssize_t, got, getrandom(at, len, 0));
        if (got < 0)
            return (int)got;
        at += got;
        len -= (size_t)got;
    }
    return 0;
}

const struct ramet_os *
ramet_os_system(void)
{
    static const struct ramet_os table = {
        .open = sys_open,
        .close = sys_close,
        .dup = sys_dup,
        .preadv = sys_preadv,
        .pwritev = sys_pwritev,
        .datasync = sys_datasync,
        .sync = sys_sync,
        .truncate = sys_truncate,
        .allocate = sys_allocate,
        .punch = sys_punch,
        .seek_data = sys_seek_data,
        .stat = sys_stat,
        .stat_at = sys_stat_at,
        .read_link = sys_read_link,
        .set_mtime = sys_set_mtime,
        .chmod = sys_chmod,
        .chown = sys_chown,
        .user = sys_user,
        .link = sys_link,
        .rename = sys_rename,
        .unlink = sys_unlink,
        .mkdir = sys_mkdir,
        .list = sys_list,
        .lock = sys_lock,
        .lock_held = sys_lock_held,
        .map = sys_map,
        .unmap = sys_unmap,
        .wall_ms = sys_wall_ms,
        .mono_ns = sys_mono_ns,
        .boot_ns = sys_boot_ns,
        .sleep_us = sys_sleep_us,
        .random = sys_random,
    };

    return &table;
}
