/*
 * store_mortal.c - see store_mortal.h.
 */
#include "tests/client/store/store_mortal.h"

#include <sys/uio.h>
#include <unistd.h>

/* Before each change of the disk is a moment, and right after it: what this process
 * still stores in memory that it shares may come before the next one. < 0: any
 * number. */
static long moments_left = -1;

static void
pass_moment(void)
{
    if (moments_left >= 0 && moments_left-- == 0)
        _exit(0);
}

static int
passed(int result)
{
    pass_moment();
    return result;
}

static ssize_t
passed_write(ssize_t result)
{
    pass_moment();
    return result;
}

static ssize_t
count_pwritev(void *ctx, int fd, const struct iovec *iov, int iovcnt,
              uint64_t offset)
{
    pass_moment();
    return passed_write(
        ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset));
}

static int
count_sync(void *ctx, int fd)
{
    pass_moment();
    return passed(ramet_os_system()->sync(ctx, fd));
}

static int
count_datasync(void *ctx, int fd)
{
    pass_moment();
    return passed(ramet_os_system()->datasync(ctx, fd));
}

static int
count_truncate(void *ctx, int fd, uint64_t size)
{
    pass_moment();
    return passed(ramet_os_system()->truncate(ctx, fd, size));
}

static int
count_allocate(void *ctx, int fd, uint64_t offset, uint64_t len)
{
    pass_moment();
    return passed(ramet_os_system()->allocate(ctx, fd, offset, len));
}

static int
count_punch(void *ctx, int fd, uint64_t offset, uint64_t len)
{
    pass_moment();
    return passed(ramet_os_system()->punch(ctx, fd, offset, len));
}

static int
count_rename(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
             const char *new_path)
{
    pass_moment();
    return passed(ramet_os_system()->rename(ctx, old_dirfd, old_path, new_dirfd,
                                            new_path));
}

static int
count_unlink(void *ctx, int dirfd, const char *path, bool is_dir)
{
    pass_moment();
    return passed(ramet_os_system()->unlink(ctx, dirfd, path, is_dir));
}

static struct ramet_os mortal;

const struct ramet_os *
store_mortal_os(void)
{
    mortal = *ramet_os_system();
    mortal.pwritev = count_pwritev;
    mortal.sync = count_sync;
    mortal.datasync = count_datasync;
    mortal.truncate = count_truncate;
    mortal.allocate = count_allocate;
    mortal.punch = count_punch;
    mortal.rename = count_rename;
    mortal.unlink = count_unlink;
    return &mortal;
}

void
store_dies_after(long moments)
{
    moments_left = moments;
}
