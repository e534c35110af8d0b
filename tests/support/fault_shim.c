/*
 * fault_shim.c - for LD_PRELOAD: the n-th call of a kind that Ramet makes fails.
 *
 * The file that RAMET_FAULTS names is shared with whoever runs the test; it is a
 * struct control. Counted are calls from Ramet's own code (the command, ramet.so),
 * and those of the network from the whole process, since libraries make them.
 * Blocks that Ramet's code has allocated and not freed are counted, too.
 *
 *   (1) countdown < 0 is off; the call that finds it at 0 fails, and takes it on
 *       in the same step: exactly one fails, and then `fired` is set
 *   (2) nothing is counted, and nothing fails, once main() is left: in a program
 *       built for gcov its library, which is linked into Ramet's code and does not
 *       bear a failed allocation, writes its counts then
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    ALLOC = 1,
    READ = 2,
    WRITE = 4,
    SYNC = 8,
    NAME = 16,
    OPEN = 32,
    LOCK = 64,
    NETWORK = 128,
    SHORT = 256, /* not an error: half of what was asked for */
    LOOK = 512,  /* what is never interrupted: stat, list, map */
    KINDS = 10,
};

#define SITES_MAX 16384u /* of a kind */
#define SITE_DEPTH 6     /* callers by which sites are told apart */

/* tests/support/faults.py has the same. */
struct control {
    _Atomic uint64_t kinds;
    _Atomic int64_t countdown;
    _Atomic uint64_t errnum;
    _Atomic uint64_t fired;
    _Atomic int64_t live;           /* blocks */
    _Atomic uint64_t counts[KINDS]; /* calls, by kind */
    _Atomic uint64_t notes_sites;
    uint32_t sites[KINDS][SITES_MAX]; /* where the n-th call comes from */
};

static struct control none = {.countdown = -1};
static struct control *control = &none;

/* ---- whose call it is ------------------------------------------------------ */

#define SPANS_MAX 8

static struct span {
    uintptr_t begin, end;
} spans[SPANS_MAX];
static _Atomic unsigned span_count;

static bool
is_ramet(const char *path)
{
    const char *const slash = strrchr(path, '/');
    const char *const name = slash == NULL ? path : slash + 1;

    return strcmp(name, "ramet") == 0 || strcmp(name, "ramet.so") == 0;
}

static int
note_span(struct dl_phdr_info *info, size_t size, void *ctx)
{
    char self[4096] = "";
    const char *path = info->dlpi_name;
    unsigned *const count = ctx;

    (void)size;
    if (path[0] == '\0' &&
        readlink("/proc/self/exe", self, sizeof(self) - 1) > 0)
        path = self;
    if (!is_ramet(path))
        return 0;
    for (int i = 0; i < info->dlpi_phnum && *count < SPANS_MAX; i++) {
        const ElfW(Phdr) *const part = &info->dlpi_phdr[i];

        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0)
            spans[(*count)++] =
                (struct span){info->dlpi_addr + part->p_vaddr,
                              info->dlpi_addr + part->p_vaddr + part->p_memsz};
    }
    return 0;
}

static bool
is_ours(const void *caller)
{
    const uintptr_t at = (uintptr_t)caller;

    for (unsigned i = 0; i < span_count; i++)
        if (at >= spans[i].begin && at < spans[i].end)
            return true;
    return false;
}

/* By who loads the extension later. */
void ramet_faults_look(void);

void
ramet_faults_look(void)
{
    unsigned count = 0;

    span_count = 0;
    dl_iterate_phdr(note_span, &count);
    span_count = count;
}

__attribute__((constructor)) static void
begin(void)
{
    const char *const path = getenv("RAMET_FAULTS");
    const int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *shared;

    ramet_faults_look();
    if (fd < 0)
        return;
    shared =
        mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared != MAP_FAILED)
        control = shared;
    close(fd);
}

static int (*program_main)(int argc, char **argv, char **env);
static _Atomic bool main_is_left;

static void
note_end(void)
{
    main_is_left = true;
}

/* What is registered here runs before the program's own destructors. */
static int
main_until_left(int argc, char **argv, char **env)
{
    atexit(note_end);
    return program_main(argc, argv, env);
}

int __libc_start_main(int (*to_run)(int, char **, char **), int argc,
                      char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end);

int
__libc_start_main(int (*to_run)(int, char **, char **), int argc, char **argv,
                  void (*init)(void), void (*fini)(void),
                  void (*rtld_fini)(void), void *stack_end)
{
    program_main = to_run;
    return (
        (__typeof__(&__libc_start_main))dlsym(RTLD_NEXT, "__libc_start_main"))(
        main_until_left, argc, argv, init, fini, rtld_fini, stack_end);
}

/* Invariants (1) and (2). */
static bool
fails_now(unsigned kinds)
{
    if (main_is_left)
        return false;
    for (unsigned i = 0; i < KINDS; i++)
        if ((kinds >> i & 1) != 0)
            atomic_fetch_add_explicit(&control->counts[i], 1,
                                      memory_order_relaxed);
    if ((control->kinds & kinds) == 0 || control->countdown < 0 ||
        atomic_fetch_sub(&control->countdown, 1) != 0)
        return false;
    control->fired = 1;
    return true;
}

/* Of the n-th call of each kind, n being what was counted so far: a number that
 * stands for Ramet's functions that lead to it. */
static void
note_site(unsigned kinds)
{
    static __thread bool is_at_work; /* it may allocate */
    void *callers[SITE_DEPTH + 12];
    uint64_t hash = 0;
    unsigned depth = 0;
    int count;

    if (control->notes_sites == 0 || is_at_work)
        return;
    is_at_work = true;
    count = backtrace(callers, SITE_DEPTH + 12);
    is_at_work = false;
    for (int i = 0; i < count && depth < SITE_DEPTH; i++)
        if (is_ours(callers[i])) {
            hash =
                (hash ^ (uintptr_t)callers[i]) * UINT64_C(0x9e3779b97f4a7c15);
            hash ^= hash >> 29;
            depth++;
        }
    for (unsigned i = 0; i < KINDS; i++)
        if ((kinds >> i & 1) != 0 && control->counts[i] < SITES_MAX)
            control->sites[i][control->counts[i]] = (uint32_t)hash;
}

static bool
fails(unsigned kinds, const void *caller)
{
    if (!is_ours(caller))
        return false;
    note_site(kinds);
    if (!fails_now(kinds))
        return false;
    errno = (int)control->errnum;
    return true;
}

/* ---- memory ---------------------------------------------------------------- */

#define BLOCKS (1u << 17)

static void *blocks[BLOCKS]; /* open addressing */
static unsigned block_count;
static atomic_flag blocks_lock = ATOMIC_FLAG_INIT;

static unsigned
place_of(const void *block)
{
    return (unsigned)(((uintptr_t)block >> 4) * UINT64_C(0x9e3779b97f4a7c15) >>
                      40) %
           BLOCKS;
}

static void
lock_blocks(void)
{
    while (
        atomic_flag_test_and_set_explicit(&blocks_lock, memory_order_acquire))
        continue;
}

static void
unlock_blocks(void)
{
    atomic_flag_clear_explicit(&blocks_lock, memory_order_release);
}

static void *
note_block(void *block, const void *caller)
{
    unsigned at = place_of(block);

    if (block == NULL || !is_ours(caller))
        return block;
    lock_blocks();
    if (block_count < BLOCKS / 2) {
        while (blocks[at] != NULL)
            at = (at + 1) % BLOCKS;
        blocks[at] = block;
        block_count++;
        atomic_fetch_add(&control->live, 1);
    }
    unlock_blocks();
    return block;
}

/* Whoever frees it. */
static void
forget_block(const void *block)
{
    unsigned at = place_of(block);

    if (block == NULL || block_count == 0)
        return;
    lock_blocks();
    while (blocks[at] != NULL && blocks[at] != block)
        at = (at + 1) % BLOCKS;
    if (blocks[at] != NULL) {
        blocks[at] = NULL;
        block_count--;
        atomic_fetch_sub(&control->live, 1);
        for (unsigned next = (at + 1) % BLOCKS; blocks[next] != NULL;
             next = (next + 1) % BLOCKS) { /* what stands behind its place */
            void *const moved = blocks[next];
            unsigned to = place_of(moved);

            blocks[next] = NULL;
            while (blocks[to] != NULL)
                to = (to + 1) % BLOCKS;
            blocks[to] = moved;
        }
    }
    unlock_blocks();
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void __libc_free(void *block);

#define CALLER __builtin_return_address(0)

void *
malloc(size_t size)
{
    return fails(ALLOC, CALLER) ? NULL
                                : note_block(__libc_malloc(size), CALLER);
}

void *
calloc(size_t count, size_t size)
{
    return fails(ALLOC, CALLER)
               ? NULL
               : note_block(__libc_calloc(count, size), CALLER);
}

void *
realloc(void *block, size_t size)
{
    void *moved;

    if (fails(ALLOC, CALLER))
        return NULL;
    forget_block(block);
    moved = __libc_realloc(block, size);
    return note_block(moved == NULL && size != 0 ? block : moved, CALLER) ==
                   NULL
               ? NULL
               : moved;
}

void
free(void *block)
{
    forget_block(block);
    __libc_free(block);
}

/* ---- system calls ---------------------------------------------------------- */

ssize_t getdents64(int fd, void *to, size_t len);
int renameat(int from, const char *name, int to, const char *fresh);

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* RESULT name(PARAMETERS), with ARGUMENTS, of these kinds. */
#define WRAP(result, name, kinds, parameters, arguments)                       \
    result name parameters                                                     \
    {                                                                          \
        static __typeof__(&name) next;                                         \
                                                                               \
        if (next == NULL)                                                      \
            next = NEXT(name);                                                 \
        if (fails(kinds, CALLER))                                              \
            return (result)-1;                                                 \
        return next arguments;                                                 \
    }

WRAP(int, fstat64, LOOK, (int fd, struct stat64 *st), (fd, st))
WRAP(int, fstatat64, LOOK,
     (int fd, const char *restrict path, struct stat64 *restrict st, int flags),
     (fd, path, st, flags))
WRAP(ssize_t, getdents64, LOOK, (int fd, void *to, size_t len), (fd, to, len))
WRAP(void *, mmap64, LOOK,
     (void *at, size_t len, int prot, int flags, int fd, off64_t offset),
     (at, len, prot, flags, fd, offset))
WRAP(int, ftruncate64, WRITE, (int fd, off64_t len), (fd, len))
WRAP(int, fallocate64, WRITE, (int fd, int mode, off64_t at, off64_t len),
     (fd, mode, at, len))
WRAP(int, fchmod, WRITE, (int fd, mode_t mode), (fd, mode))
WRAP(int, futimens, WRITE, (int fd, const struct timespec times[2]),
     (fd, times))
WRAP(int, fsync, SYNC, (int fd), (fd))
WRAP(int, fdatasync, SYNC, (int fd), (fd))
WRAP(int, linkat, NAME,
     (int from, const char *name, int to, const char *fresh, int flags),
     (from, name, to, fresh, flags))
WRAP(int, renameat, NAME,
     (int from, const char *name, int to, const char *fresh),
     (from, name, to, fresh))
WRAP(int, unlinkat, NAME, (int fd, const char *name, int flags),
     (fd, name, flags))
WRAP(int, mkdirat, NAME, (int fd, const char *name, mode_t mode),
     (fd, name, mode))
WRAP(int, dup3, OPEN, (int fd, int to, int flags), (fd, to, flags))

int
posix_fallocate64(int fd, off64_t at, off64_t len)
{
    return fails(WRITE, CALLER) ? errno : NEXT(posix_fallocate64)(fd, at, len);
}

static unsigned
kind_of_open(int flags)
{
    return (flags & O_CREAT) != 0 ? NAME | OPEN : OPEN;
}

int
open64(const char *path, int flags, ...)
{
    va_list more;
    mode_t mode;

    va_start(more, flags);
    mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails(kind_of_open(flags), CALLER) ? -1
                                              : NEXT(open64)(path, flags, mode);
}

int
openat64(int fd, const char *path, int flags, ...)
{
    va_list more;
    mode_t mode;

    va_start(more, flags);
    mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails(kind_of_open(flags), CALLER)
               ? -1
               : NEXT(openat64)(fd, path, flags, mode);
}

int
fcntl64(int fd, int command, ...)
{
    va_list more;
    void *argument;

    va_start(more, command);
    argument = va_arg(more, void *);
    va_end(more);
    if ((command == F_OFD_SETLK || command == F_OFD_GETLK) &&
        ((const struct flock *)argument)->l_type != F_UNLCK &&
        fails(LOCK, CALLER)) /* what gives back does not fail */
        return -1;
    return NEXT(fcntl64)(fd, command, argument);
}

/* Of a transfer of more than a byte a part is done, which is no error. */
static bool
is_short(size_t len, const void *caller)
{
    return len > 1 && fails(SHORT, caller);
}

ssize_t
pread64(int fd, void *to, size_t len, off64_t at)
{
    if (fails(READ, CALLER))
        return -1;
    return NEXT(pread64)(fd, to, is_short(len, CALLER) ? len / 2 : len, at);
}

ssize_t
pwrite64(int fd, const void *from, size_t len, off64_t at)
{
    if (fails(WRITE, CALLER))
        return -1;
    return NEXT(pwrite64)(fd, from, is_short(len, CALLER) ? len / 2 : len, at);
}

/* Half of the first piece. */
static int
first_half(const struct iovec *iov, int count, struct iovec *out)
{
    if (count == 0)
        return 0;
    *out = iov[0];
    out->iov_len = (out->iov_len + 1) / 2;
    return 1;
}

ssize_t
preadv64(int fd, const struct iovec *iov, int count, off64_t at)
{
    struct iovec half;

    if (fails(READ, CALLER))
        return -1;
    if (count > 0 && is_short(iov[0].iov_len, CALLER))
        return NEXT(preadv64)(fd, &half, first_half(iov, count, &half), at);
    return NEXT(preadv64)(fd, iov, count, at);
}

ssize_t
pwritev64(int fd, const struct iovec *iov, int count, off64_t at)
{
    struct iovec half;

    if (fails(WRITE, CALLER))
        return -1;
    if (count > 0 && is_short(iov[0].iov_len, CALLER))
        return NEXT(pwritev64)(fd, &half, first_half(iov, count, &half), at);
    return NEXT(pwritev64)(fd, iov, count, at);
}

/* ---- the network, whoever calls --------------------------------------------- */

static bool
network_fails(void)
{
    if (!fails_now(NETWORK))
        return false;
    errno = (int)control->errnum;
    return true;
}

int
socket(int domain, int type, int protocol)
{
    return network_fails() ? -1 : NEXT(socket)(domain, type, protocol);
}

int
connect(int fd, const struct sockaddr *to, socklen_t len)
{
    return network_fails() ? -1 : NEXT(connect)(fd, to, len);
}

ssize_t
send(int fd, const void *from, size_t len, int flags)
{
    return network_fails() ? -1 : NEXT(send)(fd, from, len, flags);
}

ssize_t
recv(int fd, void *to, size_t len, int flags)
{
    return network_fails() ? -1 : NEXT(recv)(fd, to, len, flags);
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    return network_fails() ? -1 : NEXT(sendmsg)(fd, message, flags);
}
