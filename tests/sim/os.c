/*
 * os.c - see os.h.
 */
#include "tests/sim/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/sim/count.h"
#include "tests/sim/model.h"
#include "tests/sim/process.h"

#define FD_MIN 3
#define FD_MAX 512
#define ANONYMOUS_MAX 512

/* An open file description. */
struct opened {
    struct sim_node *node;
    unsigned refs;
    bool can_write, appends;
};

struct sim_os {
    struct ramet_os table;
    struct sim_disk *disk;
    struct sim_trouble *trouble;
    uint64_t rng;
    struct opened *fds[FD_MAX];
    struct {
        void *at;
        size_t len;
    } anonymous[ANONYMOUS_MAX];
};

/* A call begins: others may run first; the negated errno with which it fails. */
static int
enter(struct sim_os *os, unsigned kind, const struct sim_node *node)
{
    struct sim_trouble *const t = os->trouble;

    sim_yield();
    if ((t->kinds & kind) == 0 || t->fail_for == 0 ||
        (node != NULL && node->disk != os->disk))
        return 0;
    if (t->fail_in > 0) {
        t->fail_in--;
        return 0;
    }
    t->fail_for--;
    sim_count(kind == SIM_OS_SYNC ? SIM_COUNT_SYNCS_FAILED
                                  : SIM_COUNT_CALLS_REFUSED);
    sim_trace("the system refuses a call: %s", strerror(t->errnum));
    return -t->errnum;
}

static struct opened *
opened_at(const struct sim_os *os, int fd)
{
    return fd >= FD_MIN && fd < FD_MAX ? os->fds[fd] : NULL;
}

static struct sim_node *
folder_at(const struct sim_os *os, int dirfd)
{
    const struct opened *const opened = opened_at(os, dirfd);

    return opened != NULL ? opened->node : NULL;
}

/* Is a path relative to a descriptor that is none? */
static bool
is_bad_folder(const struct sim_os *os, int dirfd, const char *path)
{
    return path[0] != '/' && dirfd != AT_FDCWD && folder_at(os, dirfd) == NULL;
}

/* ---- descriptors ----------------------------------------------------------- */

static int
new_fd(struct sim_os *os, struct opened *opened)
{
    for (int fd = FD_MIN; fd < FD_MAX; fd++)
        if (os->fds[fd] == NULL) {
            os->fds[fd] = opened;
            opened->refs++;
            return fd;
        }
    return -EMFILE;
}

static int
find_or_make(struct sim_os *os, int dirfd, const char *path, int flags,
             unsigned mode, struct sim_node **out_node)
{
    struct sim_node *const dir = folder_at(os, dirfd);
    int result = sim_find(dir, path, out_node);

    if (result == -ENOENT && (flags & O_CREAT) != 0) {
        sim_trace("makes %s", path);
        return sim_make(dir, path, false, mode, out_node);
    }
    if (result < 0)
        return result;
    if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
        return -EEXIST;
    if ((flags & O_DIRECTORY) != 0 && !(*out_node)->is_dir)
        return -ENOTDIR;
    if ((*out_node)->is_dir && (flags & O_ACCMODE) != O_RDONLY)
        return -EISDIR;
    return 0;
}

static int
os_open(void *ctx, int dirfd, const char *path, int flags, unsigned mode)
{
    struct sim_os *const os = ctx;
    struct sim_node *node = NULL;
    struct opened *opened;
    int result =
        enter(os, (flags & O_CREAT) != 0 ? SIM_OS_NAME : SIM_OS_OPEN, NULL);

    if (result == 0 && is_bad_folder(os, dirfd, path))
        result = -EBADF;
    if (result == 0)
        result = find_or_make(os, dirfd, path, flags, mode, &node);
    if (result < 0)
        return result;
    if ((flags & O_TRUNC) != 0)
        sim_file_resize(node, 0);
    opened = calloc(1, sizeof(*opened));
    if (opened == NULL)
        abort();
    opened->node = node;
    opened->can_write = (flags & O_ACCMODE) != O_RDONLY;
    opened->appends = (flags & O_APPEND) != 0;
    result = new_fd(os, opened);
    sim_trace("opens %s, file %llu", path, (unsigned long long)node->inode);
    if (result < 0)
        free(opened);
    return result;
}

static void
let_go(struct opened *opened)
{
    if (--opened->refs > 0)
        return;
    sim_lock_set(opened->node, opened, 0, UINT64_MAX, RAMET_UNLOCK);
    free(opened);
}

static int
os_close(void *ctx, int fd)
{
    struct sim_os *const os = ctx;
    struct opened *opened;

    sim_yield();
    opened = opened_at(os, fd);
    if (opened == NULL)
        return -EBADF;
    os->fds[fd] = NULL;
    let_go(opened);
    return 0;
}

static int
os_dup(void *ctx, int fd)
{
    struct sim_os *const os = ctx;
    const int result = enter(os, SIM_OS_OPEN, NULL);
    struct opened *const opened = opened_at(os, fd);

    if (result < 0)
        return result;
    return opened == NULL ? -EBADF : new_fd(os, opened);
}

/* The file behind a descriptor, for a call of this kind; NULL: *out_error. */
static struct sim_node *
file_for(struct sim_os *os, int fd, unsigned kind, int *out_error)
{
    const struct opened *opened = opened_at(os, fd);
    struct sim_node *const node = opened != NULL ? opened->node : NULL;

    *out_error = enter(os, kind, node);
    if (*out_error < 0)
        return NULL;
    opened = opened_at(os, fd); /* others may have closed it */
    if (opened == NULL || (kind == SIM_OS_WRITE && !opened->can_write))
        *out_error = -EBADF;
    else if (opened->node->is_dir && kind != SIM_OS_SYNC)
        *out_error = -EISDIR;
    return *out_error < 0 ? NULL : opened->node;
}

/* ---- content --------------------------------------------------------------- */

static ssize_t
os_preadv(void *ctx, int fd, const struct iovec *iov, int iovcnt,
          uint64_t offset)
{
    int error;
    const struct sim_node *const node = file_for(ctx, fd, SIM_OS_READ, &error);
    ssize_t sum = 0;

    if (node == NULL)
        return error;
    for (int i = 0; i < iovcnt; i++) {
        const size_t got =
            sim_file_read(node, offset, iov[i].iov_base, iov[i].iov_len);

        sum += (ssize_t)got;
        offset += got;
        if (got < iov[i].iov_len)
            break;
    }
    return sum;
}

static ssize_t
os_pwritev(void *ctx, int fd, const struct iovec *iov, int iovcnt,
           uint64_t offset)
{
    struct sim_os *const os = ctx;
    int error;
    struct sim_node *const node = file_for(os, fd, SIM_OS_WRITE, &error);
    ssize_t sum = 0;

    if (node == NULL)
        return error;
    if (os->fds[fd]->appends)
        offset = node->size;
    sim_trace("writes file %llu from %llu on", (unsigned long long)node->inode,
              (unsigned long long)offset);
    for (int i = 0; i < iovcnt; i++) {
        sim_file_write(node, offset, iov[i].iov_base, iov[i].iov_len);
        sum += (ssize_t)iov[i].iov_len;
        offset += iov[i].iov_len;
    }
    return sum;
}

/* At once, at times, it lets go of what was not written; else later (world.c). */
static void
fail_sync(struct sim_os *os, struct sim_node *node)
{
    struct sim_place *const place =
        sim_process_env(sim_process_of_caller())->place;

    sim_node_sync_fails(node, sim_random(&os->rng));
    if (place != NULL)
        sim_place_fails_sync(place);
    if (sim_chance(&os->rng, 40) && sim_node_lets_go(node)) {
        sim_trace("and lets go of what was to be written");
        sim_count(SIM_COUNT_LET_GO);
        if (place != NULL)
            sim_place_lets_go(place);
    }
}

static int
sync_node(struct sim_os *os, int fd, bool whole)
{
    const struct opened *const opened = opened_at(os, fd);
    int error;
    struct sim_node *const node = file_for(os, fd, SIM_OS_SYNC, &error);

    if (node == NULL) {
        if (error != -EBADF && opened_at(os, fd) == opened)
            fail_sync(os, opened->node);
        return error;
    }
    sim_trace("syncs file %llu", (unsigned long long)node->inode);
    sim_node_sync(node, whole);
    return 0;
}

static int
os_datasync(void *ctx, int fd)
{
    return sync_node(ctx, fd, false);
}

static int
os_sync(void *ctx, int fd)
{
    return sync_node(ctx, fd, true);
}

static int
os_truncate(void *ctx, int fd, uint64_t size)
{
    int error;
    struct sim_node *const node = file_for(ctx, fd, SIM_OS_WRITE, &error);

    if (node == NULL)
        return error;
    sim_file_resize(node, size);
    return 0;
}

static int
os_allocate(void *ctx, int fd, uint64_t offset, uint64_t len)
{
    int error;
    struct sim_node *const node = file_for(ctx, fd, SIM_OS_WRITE, &error);

    if (node == NULL)
        return error;
    if (len > 0)
        sim_file_allocate(node, offset, len);
    return 0;
}

static int
os_punch(void *ctx, int fd, uint64_t offset, uint64_t len)
{
    int error;
    struct sim_node *const node = file_for(ctx, fd, SIM_OS_WRITE, &error);

    if (node == NULL)
        return error;
    sim_file_punch(node, offset, len);
    return 0;
}

static int64_t
os_seek_data(void *ctx, int fd, uint64_t offset)
{
    int error;
    const struct sim_node *const node = file_for(ctx, fd, SIM_OS_READ, &error);

    return node == NULL ? error : sim_file_seek_data(node, offset);
}

static int
os_map(void *ctx, int fd, uint64_t offset, size_t len, bool writable,
       void **out)
{
    struct sim_os *const os = ctx;
    struct sim_node *node;
    int error;

    (void)writable;
    if (fd >= 0) {
        node = file_for(os, fd, 0, &error);
        if (node == NULL)
            return error;
        if (offset + len > SIM_MAPPING_MAX)
            return -ENOMEM;
        *out = sim_file_map(node) + offset;
        return 0;
    }
    for (size_t i = 0; i < ANONYMOUS_MAX; i++)
        if (os->anonymous[i].at == NULL) {
            *out = mmap(NULL, len, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (*out == MAP_FAILED)
                return -ENOMEM;
            os->anonymous[i].at = *out;
            os->anonymous[i].len = len;
            return 0;
        }
    return -ENOMEM;
}

/* What is mapped of a file stays where it is: it goes with the disk. */
static int
os_unmap(void *ctx, void *addr, size_t len)
{
    struct sim_os *const os = ctx;

    for (size_t i = 0; i < ANONYMOUS_MAX; i++)
        if (os->anonymous[i].at == addr) {
            munmap(addr, len);
            os->anonymous[i].at = NULL;
        }
    return 0;
}

/* ---- what files are -------------------------------------------------------- */

static void
describe(const struct sim_node *node, struct ramet_os_stat *out)
{
    *out = (struct ramet_os_stat){
        .size_bytes = node->size,
        .block_bytes = node->is_dir ? 0 : sim_file_block_bytes(node),
        .device = 77,
        .inode = node->inode,
        .mtime_ns = node->mtime_ns,
        .ctime_ns = node->ctime_ns,
        .mode = node->mode,
        .link_count = node->link_count,
        .uid = node->uid,
        .gid = node->gid,
    };
}

static int
os_stat(void *ctx, int fd, struct ramet_os_stat *out)
{
    struct sim_os *const os = ctx;
    const struct opened *opened;

    sim_yield();
    opened = opened_at(os, fd);
    if (opened == NULL)
        return -EBADF;
    describe(opened->node, out);
    return 0;
}

static int
os_stat_at(void *ctx, int dirfd, const char *path, struct ramet_os_stat *out)
{
    struct sim_os *const os = ctx;
    struct sim_node *node;
    int result;

    sim_yield();
    if (is_bad_folder(os, dirfd, path))
        return -EBADF;
    result = sim_find(folder_at(os, dirfd), path, &node);
    if (result == 0)
        describe(node, out);
    return result;
}

static int
os_read_link(void *ctx, int dirfd, const char *path, char *out, size_t size)
{
    struct sim_node *node;
    const int result = sim_find(folder_at(ctx, dirfd), path, &node);

    (void)out;
    (void)size;
    return result < 0 ? result : -EINVAL;
}

static int
os_set_mtime(void *ctx, int fd, int64_t mtime_ns)
{
    struct sim_os *const os = ctx;
    const struct opened *opened;

    sim_yield();
    opened = opened_at(os, fd);
    if (opened == NULL)
        return -EBADF;
    opened->node->mtime_ns = mtime_ns;
    opened->node->ctime_ns = sim_file_time();
    return 0;
}

static int
os_chmod(void *ctx, int fd, unsigned mode)
{
    const struct opened *const opened = opened_at(ctx, fd);

    if (opened == NULL)
        return -EBADF;
    opened->node->mode = (opened->node->mode & S_IFMT) | (mode & 07777);
    opened->node->ctime_ns = sim_file_time();
    return 0;
}

static int
os_chown(void *ctx, int fd, unsigned uid, unsigned gid)
{
    const struct opened *const opened = opened_at(ctx, fd);

    if (opened == NULL)
        return -EBADF;
    opened->node->uid = uid;
    opened->node->gid = gid;
    return 0;
}

static unsigned
os_user(void *ctx)
{
    (void)ctx;
    return 0;
}

/* ---- names ----------------------------------------------------------------- */

static int
os_link(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
        const char *new_path)
{
    struct sim_os *const os = ctx;
    struct sim_node *node;
    int result = enter(os, SIM_OS_NAME, folder_at(os, new_dirfd));

    if (result == 0)
        result = sim_find(folder_at(os, old_dirfd), old_path, &node);
    return result < 0 ? result
                      : sim_link(node, folder_at(os, new_dirfd), new_path);
}

static int
os_rename(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
          const char *new_path)
{
    struct sim_os *const os = ctx;
    const int result = enter(os, SIM_OS_NAME, folder_at(os, new_dirfd));

    sim_trace("renames %s %s", old_path, new_path);
    return result < 0 ? result
                      : sim_rename(folder_at(os, old_dirfd), old_path,
                                   folder_at(os, new_dirfd), new_path);
}

static int
os_unlink(void *ctx, int dirfd, const char *path, bool is_dir)
{
    struct sim_os *const os = ctx;
    const int result = enter(os, SIM_OS_NAME, folder_at(os, dirfd));

    return result < 0 ? result : sim_unlink(folder_at(os, dirfd), path, is_dir);
}

static int
os_mkdir(void *ctx, int dirfd, const char *path, unsigned mode)
{
    struct sim_os *const os = ctx;
    struct sim_node *node;
    const int result = enter(os, SIM_OS_NAME, folder_at(os, dirfd));

    return result < 0 ? result
                      : sim_make(folder_at(os, dirfd), path, true, mode, &node);
}

static int
os_list(void *ctx, int dirfd, const char *path, ramet_dir_visit *visit,
        void *visit_ctx)
{
    struct sim_os *const os = ctx;
    struct sim_node *node;
    int result = enter(os, SIM_OS_READ, folder_at(os, dirfd));

    if (result == 0)
        result = sim_find(folder_at(os, dirfd), path, &node);
    if (result == 0 && !node->is_dir)
        result = -ENOTDIR;
    return result < 0 ? result : sim_list(node, visit, visit_ctx);
}

/* ---- locks, time, chance --------------------------------------------------- */

static int
os_lock(void *ctx, int fd, uint64_t offset, uint64_t len,
        enum ramet_lock_mode mode)
{
    struct sim_os *const os = ctx;
    struct opened *opened;

    sim_yield();
    opened = opened_at(os, fd);
    return opened == NULL
               ? -EBADF
               : sim_lock_set(opened->node, opened, offset, offset + len, mode);
}

static int
os_lock_held(void *ctx, int fd, uint64_t offset, uint64_t len,
             enum ramet_lock_mode mode)
{
    struct sim_os *const os = ctx;
    const struct opened *opened;

    sim_yield();
    opened = opened_at(os, fd);
    return opened == NULL ? -EBADF
                          : sim_lock_conflicts(opened->node, opened, offset,
                                               offset + len, mode);
}

static uint64_t
os_wall_ms(void *ctx)
{
    (void)ctx;
    return (uint64_t)sim_file_time() / 1000000;
}

static uint64_t
os_mono_ns(void *ctx)
{
    (void)ctx;
    return sim_now_ns();
}

static void
os_sleep_us(void *ctx, uint64_t us)
{
    (void)ctx;
    sim_sleep_ns(us * 1000);
}

static int
os_random(void *ctx, void *out, size_t len)
{
    struct sim_os *const os = ctx;

    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)sim_random(&os->rng);
    return 0;
}

struct sim_os *
sim_os_new(struct sim_disk *disk, struct sim_trouble *trouble, uint64_t seed)
{
    struct sim_os *const os = calloc(1, sizeof(*os));

    if (os == NULL)
        abort();
    os->disk = disk;
    os->trouble = trouble;
    os->rng = seed;
    os->table = (struct ramet_os){
        .ctx = os,
        .open = os_open,
        .close = os_close,
        .dup = os_dup,
        .preadv = os_preadv,
        .pwritev = os_pwritev,
        .datasync = os_datasync,
        .sync = os_sync,
        .truncate = os_truncate,
        .allocate = os_allocate,
        .punch = os_punch,
        .seek_data = os_seek_data,
        .stat = os_stat,
        .stat_at = os_stat_at,
        .read_link = os_read_link,
        .set_mtime = os_set_mtime,
        .chmod = os_chmod,
        .chown = os_chown,
        .user = os_user,
        .link = os_link,
        .rename = os_rename,
        .unlink = os_unlink,
        .mkdir = os_mkdir,
        .list = os_list,
        .lock = os_lock,
        .lock_held = os_lock_held,
        .map = os_map,
        .unmap = os_unmap,
        .wall_ms = os_wall_ms,
        .mono_ns = os_mono_ns,
        .boot_ns = os_mono_ns, /* machines do not sleep */
        .sleep_us = os_sleep_us,
        .random = os_random,
    };
    return os;
}

const struct ramet_os *
sim_os_table(struct sim_os *os)
{
    return &os->table;
}

unsigned
sim_os_free(struct sim_os *os)
{
    unsigned left = 0;

    for (int fd = 0; fd < FD_MAX; fd++)
        if (os->fds[fd] != NULL) {
            let_go(os->fds[fd]);
            left++;
        }
    for (size_t i = 0; i < ANONYMOUS_MAX; i++)
        if (os->anonymous[i].at != NULL) {
            munmap(os->anonymous[i].at, os->anonymous[i].len);
            left++;
        }
    free(os);
    return left;
}
