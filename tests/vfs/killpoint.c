/*
 * killpoint.c - preloaded (LD_PRELOAD) into a process that a test wants to
 * see killed in the midst of its work: SIGKILL before the n-th system call
 * that changes a file, where KILLPOINT=n, counted once the file named by
 * KILLPOINT_ARMED is there.
 */
#undef _FILE_OFFSET_BITS /* pwrite and pwrite64 are to be two functions */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls_left = -1;
static atomic_int is_armed;

static void
count_call(void)
{
    const char *armed = getenv("KILLPOINT_ARMED");
    const char *point = getenv("KILLPOINT");

    if (armed == NULL || point == NULL)
        return;
    if (!atomic_load(&is_armed)) {
        if (access(armed, F_OK) != 0)
            return;
        if (atomic_exchange(&is_armed, 1) == 0)
            atomic_store(&calls_left, atol(point));
    }
    if (atomic_fetch_sub(&calls_left, 1) == 1)
        kill(getpid(), SIGKILL);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRAP(type, name, parameters, arguments)                                \
    type name parameters                                                       \
    {                                                                          \
        static __typeof__(&name) real;                                         \
                                                                               \
        if (real == NULL)                                                      \
            real = REAL(name);                                                 \
        count_call();                                                          \
        return real arguments;                                                 \
    }

WRAP(ssize_t, pwrite, (int fd, const void *buf, size_t len, off_t at),
     (fd, buf, len, at))
WRAP(ssize_t, pwrite64, (int fd, const void *buf, size_t len, off64_t at),
     (fd, buf, len, at))
WRAP(ssize_t, pwritev, (int fd, const struct iovec *iov, int count, off_t at),
     (fd, iov, count, at))
WRAP(ssize_t, pwritev64,
     (int fd, const struct iovec *iov, int count, off64_t at),
     (fd, iov, count, at))
/* How many times the process asked for a sync so far; for tests of what each
 * `synchronous` costs and promises. */
static atomic_long sync_calls;
long killpoint_syncs(void);

long
killpoint_syncs(void)
{
    return atomic_load(&sync_calls);
}

#define WRAP_SYNC(name)                                                        \
    int name(int fd)                                                           \
    {                                                                          \
        static __typeof__(&name) real;                                         \
                                                                               \
        if (real == NULL)                                                      \
            real = REAL(name);                                                 \
        count_call();                                                          \
        atomic_fetch_add(&sync_calls, 1);                                      \
        return real(fd);                                                       \
    }

WRAP_SYNC(fdatasync)
WRAP_SYNC(fsync)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size))
WRAP(int, ftruncate64, (int fd, off64_t size), (fd, size))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, unlinkat, (int dirfd, const char *path, int flags),
     (dirfd, path, flags))
WRAP(int, renameat, (int from, const char *old, int to, const char *name),
     (from, old, to, name))
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t len),
     (fd, mode, at, len))
WRAP(int, fallocate64, (int fd, int mode, off64_t at, off64_t len),
     (fd, mode, at, len))
