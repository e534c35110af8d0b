/*
 * test_os.c - the system's table on a folder of its own; locks between
 * handles, processes and across fork(); the helpers on a table that answers
 * short, and a file replaced by many at once.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/os.h"
#include "core/thread.h"

struct fixture {
    const struct ramet_os *os;
    char path[64];
    int dirfd;
    int fd; /* "file", empty */
};

static int
setup(void **state)
{
    struct fixture *const f = calloc(1, sizeof(*f));

    f->os = ramet_os_system();
    strcpy(f->path, "/tmp/ramet-test-os-XXXXXX");
    if (mkdtemp(f->path) == NULL)
        return -1;
    f->dirfd = f->os->open(NULL, AT_FDCWD, f->path, O_RDONLY | O_DIRECTORY, 0);
    f->fd =
        f->os->open(NULL, f->dirfd, "file", O_RDWR | O_CREAT | O_EXCL, 0600);
    *state = f;
    return f->dirfd >= 0 && f->fd >= 0 ? 0 : -1;
}

static int
remove_entry(void *ctx, const char *name, bool is_dir)
{
    const struct fixture *const f = ctx;

    return f->os->unlink(NULL, f->dirfd, name, is_dir);
}

static int
teardown(void **state)
{
    struct fixture *const f = *state;

    f->os->list(NULL, f->dirfd, ".", remove_entry, f);
    f->os->close(NULL, f->fd);
    f->os->close(NULL, f->dirfd);
    rmdir(f->path);
    free(f);
    return 0;
}

/* Run `body` in a child; its result is the exit status. */
static pid_t
start_child(int (*body)(struct fixture *f), struct fixture *f)
{
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(body(f));
    return pid;
}

static int
wait_child(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
open__gives_cloexec_and_no_standard_descriptor(void **state)
{
    struct fixture *const f = *state;
    const int saved = dup(STDIN_FILENO);
    int low;
    int copy;

    close(STDIN_FILENO);
    low = f->os->open(NULL, f->dirfd, "file", O_RDONLY, 0);
    copy = f->os->dup(NULL, f->fd);
    assert_int_equal(fcntl(STDIN_FILENO, F_GETFD), -1); /* still free */
    dup2(saved, STDIN_FILENO);
    close(saved);
    assert_true(low > 2);
    assert_true(copy > 2);
    assert_int_equal(fcntl(low, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(copy, F_GETFD), FD_CLOEXEC);
    assert_int_equal(f->os->close(NULL, low), 0);
    assert_int_equal(f->os->close(NULL, copy), 0);
    assert_int_equal(f->os->close(NULL, copy), -EBADF);
    assert_int_equal(f->os->close(NULL, -1), -EBADF);
}

static void
table__returns_negated_errno(void **state)
{
    struct fixture *const f = *state;
    struct ramet_stat st;
    struct iovec iov = {&st, 1};
    void *at;

    assert_int_equal(f->os->open(NULL, f->dirfd, "none", O_RDONLY, 0), -ENOENT);
    assert_int_equal(
        f->os->open(NULL, f->dirfd, "file", O_RDWR | O_CREAT | O_EXCL, 0600),
        -EEXIST);
    assert_int_equal(f->os->stat_at(NULL, f->dirfd, "none", &st), -ENOENT);
    assert_int_equal(f->os->unlink(NULL, f->dirfd, "none", false), -ENOENT);
    assert_int_equal(f->os->rename(NULL, f->dirfd, "none", f->dirfd, "x"),
                     -ENOENT);
    assert_int_equal(f->os->link(NULL, f->dirfd, "file", f->dirfd, "file"),
                     -EEXIST);
    assert_int_equal(f->os->mkdir(NULL, f->dirfd, "file", 0700), -EEXIST);
    assert_int_equal(f->os->dup(NULL, -1), -EBADF);
    assert_int_equal(f->os->preadv(NULL, -1, &iov, 1, 0), -EBADF);
    assert_int_equal(f->os->pwritev(NULL, f->fd, &iov, 1, UINT64_MAX), -EINVAL);
    assert_int_equal(f->os->preadv(NULL, f->fd, &iov, 1, UINT64_MAX), -EINVAL);
    assert_int_equal(f->os->truncate(NULL, f->fd, UINT64_MAX), -EFBIG);
    assert_int_equal(f->os->allocate(NULL, f->fd, 1, UINT64_MAX), -EFBIG);
    assert_int_equal(f->os->punch(NULL, f->fd, UINT64_MAX, 1), -EFBIG);
    assert_int_equal(f->os->seek_data(NULL, f->fd, 0), -ENXIO);
    assert_int_equal(f->os->map(NULL, f->fd, 1, 4096, false, &at), -EINVAL);
    assert_int_equal(f->os->lock(NULL, f->fd, 0, 0, RAMET_LOCK_SHARED),
                     -EINVAL);
    assert_int_equal(f->os->lock(NULL, -1, 0, 1, RAMET_LOCK_SHARED), -EBADF);
    assert_int_equal(f->os->list(NULL, f->dirfd, "none", remove_entry, f),
                     -ENOENT);
}

static void
file__is_written_read_and_measured(void **state)
{
    struct fixture *const f = *state;
    char a[4] = "";
    char b[8] = "";
    struct iovec in[] = {{a, 3}, {b, 7}};
    struct iovec out[] = {{"abc", 3}, {"defgh", 5}};
    struct ramet_stat st;
    struct ramet_stat by_path;

    assert_int_equal(f->os->pwritev(NULL, f->fd, out, 2, 2), 8);
    assert_int_equal(f->os->preadv(NULL, f->fd, in, 2, 2), 8);
    assert_string_equal(a, "abc");
    assert_string_equal(b, "defgh");
    assert_int_equal(f->os->datasync(NULL, f->fd), 0);
    assert_int_equal(f->os->sync(NULL, f->dirfd), 0);
    assert_int_equal(f->os->set_mtime(NULL, f->fd, INT64_C(-1500000000)), 0);
    assert_int_equal(f->os->stat(NULL, f->fd, &st), 0);
    assert_int_equal(f->os->stat_at(NULL, f->dirfd, "file", &by_path), 0);
    assert_int_equal(st.size_bytes, 10);
    assert_int_equal(st.mtime_ns, INT64_C(-1500000000));
    assert_int_equal(st.inode, by_path.inode);
    assert_int_equal(st.device, by_path.device);
    assert_int_equal(st.link_count, 1);
    assert_true(S_ISREG(st.mode));
    assert_int_equal(f->os->truncate(NULL, f->fd, 3), 0);
    assert_int_equal(f->os->preadv(NULL, f->fd, in, 2, 0), 3);
    assert_memory_equal(a, "\0\0a", 3);
}

static void
file__has_holes_and_blocks(void **state)
{
    struct fixture *const f = *state;
    const size_t mega = 1u << 20;
    struct iovec out = {"x", 1};
    struct ramet_stat st;

    assert_int_equal(f->os->pwritev(NULL, f->fd, &out, 1, mega), 1);
    assert_int_equal(f->os->seek_data(NULL, f->fd, 0), (int64_t)mega);
    assert_int_equal(f->os->seek_data(NULL, f->fd, mega + 1), -ENXIO);
    assert_int_equal(f->os->allocate(NULL, f->fd, 0, 2 * mega), 0);
    assert_int_equal(f->os->stat(NULL, f->fd, &st), 0);
    assert_int_equal(st.size_bytes, 2 * mega);
    assert_true(st.block_bytes >= 2 * mega);
    assert_int_equal(f->os->punch(NULL, f->fd, 0, 2 * mega), 0);
    assert_int_equal(f->os->stat(NULL, f->fd, &st), 0);
    assert_int_equal(st.size_bytes, 2 * mega);
    assert_true(st.block_bytes < mega);
    assert_int_equal(f->os->allocate(NULL, f->fd, 0, 0), 0);
    assert_int_equal(f->os->punch(NULL, f->fd, 0, 0), 0);
}

static void
map__shows_what_the_file_holds(void **state)
{
    struct fixture *const f = *state;
    struct iovec out = {"hello", 5};
    char back[6] = "";
    struct iovec in = {back, 5};
    void *shared = NULL;
    void *anonymous = NULL;

    assert_int_equal(f->os->allocate(NULL, f->fd, 0, 8192), 0);
    assert_int_equal(f->os->pwritev(NULL, f->fd, &out, 1, 4096), 5);
    assert_int_equal(f->os->map(NULL, f->fd, 4096, 4096, true, &shared), 0);
    assert_memory_equal(shared, "hello", 5);
    memcpy(shared, "HELLO", 5);
    assert_int_equal(f->os->preadv(NULL, f->fd, &in, 1, 4096), 5);
    assert_string_equal(back, "HELLO");
    assert_int_equal(f->os->map(NULL, -1, 0, 4096, true, &anonymous), 0);
    memset(anonymous, 1, 4096);
    assert_int_equal(f->os->unmap(NULL, shared, 4096), 0);
    assert_int_equal(f->os->unmap(NULL, anonymous, 4096), 0);
}

static int
stop_at_second(void *ctx, const char *name, bool is_dir)
{
    int *const seen = ctx;

    assert_true(name[0] != '.');
    seen[0]++;
    seen[1] += is_dir;
    return seen[2] != 0 && seen[0] == 2 ? -ECANCELED : 0;
}

static void
list__visits_each_entry_until_told_to_stop(void **state)
{
    struct fixture *const f = *state;
    int seen[3] = {0};

    assert_int_equal(f->os->mkdir(NULL, f->dirfd, "dir", 0700), 0);
    assert_int_equal(f->os->link(NULL, f->dirfd, "file", f->dirfd, "two"), 0);
    assert_int_equal(f->os->list(NULL, f->dirfd, ".", stop_at_second, seen), 0);
    assert_int_equal(seen[0], 3);
    assert_int_equal(seen[1], 1);
    seen[0] = 0;
    seen[2] = 1;
    assert_int_equal(f->os->list(NULL, f->dirfd, ".", stop_at_second, seen),
                     -ECANCELED);
    assert_int_equal(seen[0], 2);
    assert_int_equal(f->os->unlink(NULL, f->dirfd, "dir", false), -EISDIR);
    assert_int_equal(f->os->unlink(NULL, f->dirfd, "dir", true), 0);
}

static void
lock__conflicts_between_handles_of_one_process(void **state)
{
    struct fixture *const f = *state;
    const struct ramet_os *const os = f->os;
    const int other = os->open(NULL, f->dirfd, "file", O_RDWR, 0);
    int third;

    assert_int_equal(os->lock(NULL, f->fd, 5, 1, RAMET_LOCK_SHARED), 0);
    assert_int_equal(os->lock(NULL, other, 5, 1, RAMET_LOCK_SHARED), 0);
    assert_int_equal(os->lock(NULL, other, 5, 1, RAMET_LOCK_EXCLUSIVE),
                     -EAGAIN);
    assert_int_equal(os->lock(NULL, other, 6, 1, RAMET_LOCK_EXCLUSIVE), 0);
    assert_int_equal(os->lock_held(NULL, f->fd, 6, 1, RAMET_LOCK_SHARED), 1);
    assert_int_equal(os->lock_held(NULL, f->fd, 5, 1, RAMET_LOCK_SHARED), 0);
    assert_int_equal(os->lock_held(NULL, f->fd, 5, 1, RAMET_LOCK_EXCLUSIVE), 1);
    assert_int_equal(os->lock_held(NULL, f->fd, 5, 1, RAMET_UNLOCK), -EINVAL);
    assert_int_equal(os->lock(NULL, other, 0, 100, RAMET_UNLOCK), 0);
    assert_int_equal(os->lock(NULL, f->fd, 5, 2, RAMET_LOCK_EXCLUSIVE), 0);

    /* The end of another descriptor of the file changes nothing. */
    os->close(NULL, other);
    third = os->open(NULL, f->dirfd, "file", O_RDWR, 0);
    assert_int_equal(os->lock(NULL, third, 5, 1, RAMET_LOCK_SHARED), -EAGAIN);
    os->close(NULL, third);
}

static void
lock__lives_until_the_last_duplicate_is_closed(void **state)
{
    struct fixture *const f = *state;
    const struct ramet_os *const os = f->os;
    const int other = os->open(NULL, f->dirfd, "file", O_RDWR, 0);
    const int copy = os->dup(NULL, other);

    assert_int_equal(os->lock(NULL, other, 0, 1, RAMET_LOCK_EXCLUSIVE), 0);
    assert_int_equal(os->close(NULL, other), 0);
    assert_int_equal(os->lock_held(NULL, f->fd, 0, 1, RAMET_LOCK_SHARED), 1);
    assert_int_equal(os->close(NULL, copy), 0);
    assert_int_equal(os->lock_held(NULL, f->fd, 0, 1, RAMET_LOCK_SHARED), 0);
}

/* Descriptors for the children of the fork tests: the locked one, a duplicate
 * made before the lock, one made after it, and one never locked. */
static int family[4];

static int
child_inspects_its_descriptors(struct fixture *f)
{
    struct ramet_stat st;
    char byte;
    struct iovec iov = {&byte, 1};
    int fresh;

    if (ramet_os_fork_count() != 1)
        return 1;
    for (int i = 0; i < 3; i++) {
        /* Taken, so that it is nobody else's, and good for nothing. */
        if (fcntl(family[i], F_GETFD) != FD_CLOEXEC)
            return 2;
        if (f->os->preadv(NULL, family[i], &iov, 1, 0) != -EBADF ||
            f->os->pwritev(NULL, family[i], &iov, 1, 0) != -EBADF ||
            f->os->truncate(NULL, family[i], 0) != -EBADF ||
            f->os->lock(NULL, family[i], 0, 1, RAMET_UNLOCK) != -EBADF)
            return 3;
    }
    if (f->os->stat(NULL, family[3], &st) != 0 || st.size_bytes != 1)
        return 4;
    if (f->os->close(NULL, family[0]) != 0)
        return 5;
    /* The parent's lock holds against us, and did not go with our close. */
    fresh = f->os->open(NULL, f->dirfd, "file", O_RDWR, 0);
    if (fresh < 0)
        return 6;
    return f->os->lock(NULL, fresh, 0, 1, RAMET_LOCK_EXCLUSIVE) == -EAGAIN ? 0
                                                                           : 7;
}

static void
fork__leaves_no_locked_descriptor_to_the_child(void **state)
{
    struct fixture *const f = *state;
    const struct ramet_os *const os = f->os;
    struct iovec iov = {"x", 1};

    assert_int_equal(os->pwritev(NULL, f->fd, &iov, 1, 0), 1);
    family[0] = os->open(NULL, f->dirfd, "file", O_RDWR, 0);
    family[1] = os->dup(NULL, family[0]);
    assert_int_equal(os->lock(NULL, family[0], 0, 1, RAMET_LOCK_EXCLUSIVE), 0);
    family[2] = os->dup(NULL, family[1]);
    family[3] = os->open(NULL, f->dirfd, "file", O_RDWR, 0);

    assert_int_equal(ramet_os_fork_count(), 0);
    assert_int_equal(wait_child(start_child(child_inspects_its_descriptors, f)),
                     0);
    assert_int_equal(ramet_os_fork_count(), 0);
    assert_int_equal(os->lock_held(NULL, family[3], 0, 1, RAMET_LOCK_SHARED),
                     1);
    for (int i = 0; i < 4; i++)
        os->close(NULL, family[i]);
}

/* Two pipes: the child waits on one and says so on the other. */
static int ready_pipe[2];
static int go_pipe[2];

static int
child_waits(struct fixture *f)
{
    char byte = 0;

    (void)f;
    if (write(ready_pipe[1], "r", 1) != 1)
        return 1;
    return read(go_pipe[0], &byte, 1) == 1 ? 0 : 2;
}

static void
fork__child_does_not_keep_the_parents_lock_alive(void **state)
{
    struct fixture *const f = *state;
    const struct ramet_os *const os = f->os;
    const int locked = os->open(NULL, f->dirfd, "file", O_RDWR, 0);
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready_pipe), 0);
    assert_int_equal(pipe(go_pipe), 0);
    assert_int_equal(os->lock(NULL, locked, 0, 1, RAMET_LOCK_EXCLUSIVE), 0);
    pid = start_child(child_waits, f);
    assert_int_equal(read(ready_pipe[0], &byte, 1), 1);
    assert_int_equal(os->lock_held(NULL, f->fd, 0, 1, RAMET_LOCK_SHARED), 1);
    os->close(NULL, locked); /* the parent ends; the child is still there */
    assert_int_equal(os->lock_held(NULL, f->fd, 0, 1, RAMET_LOCK_SHARED), 0);
    assert_int_equal(write(go_pipe[1], "g", 1), 1);
    assert_int_equal(wait_child(pid), 0);
    for (int i = 0; i < 2; i++) {
        close(ready_pipe[i]);
        close(go_pipe[i]);
    }
}

static int
child_at_the_limit_of_descriptors(struct fixture *f)
{
    (void)f;
    /* Nothing could be opened when the handler ran, but what it closed. */
    for (int i = 0; i < 3; i++)
        if (fcntl(family[i], F_GETFD) != FD_CLOEXEC ||
            write(family[i], "x", 1) != -1)
            return 1;
    return 0;
}

static void
fork__works_when_no_descriptor_is_free(void **state)
{
    struct fixture *const f = *state;
    struct rlimit before;
    struct rlimit lowered;
    int fillers[100];
    int count = 0;
    pid_t pid;

    for (int i = 0; i < 3; i++) {
        family[i] = f->os->open(NULL, f->dirfd, "file", O_RDWR, 0);
        assert_int_equal(
            f->os->lock(NULL, family[i], (uint64_t)i, 1, RAMET_LOCK_EXCLUSIVE),
            0);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    lowered = before;
    lowered.rlim_cur = 100;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &lowered), 0);
    while (count < 100 && (fillers[count] = dup(f->dirfd)) >= 0)
        count++;
    assert_true(count < 100); /* the limit was reached */
    pid = start_child(child_at_the_limit_of_descriptors, f);
    while (count > 0)
        close(fillers[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(wait_child(pid), 0);
    for (int i = 0; i < 3; i++)
        f->os->close(NULL, family[i]);
}

static void *
open_and_close(void *arg)
{
    const struct fixture *const f = arg;

    for (int i = 0; i < 2000; i++) {
        const int fd = f->os->open(NULL, f->dirfd, "file", O_RDWR, 0);
        const int copy = f->os->dup(NULL, fd);

        if (fd < 0 || copy < 0 ||
            f->os->lock(NULL, fd, 0, 1, RAMET_LOCK_SHARED) != 0 ||
            f->os->close(NULL, fd) != 0 || f->os->close(NULL, copy) != 0)
            return arg;
    }
    return NULL;
}

static int
child_uses_the_table(struct fixture *f)
{
    const int fd = f->os->open(NULL, f->dirfd, "file", O_RDWR, 0);

    if (fd < 0 || f->os->lock(NULL, fd, 7, 1, RAMET_LOCK_EXCLUSIVE) != 0)
        return 1;
    return f->os->close(NULL, fd) == 0 ? 0 : 2;
}

static void
fork__while_threads_open_and_lock_finds_the_table_whole(void **state)
{
    struct fixture *const f = *state;
    struct ramet_thread threads[2] = {{0}};

    for (int i = 0; i < 2; i++)
        assert_int_equal(
            ramet_thread_start(&threads[i], "open", open_and_close, f, NULL),
            RAMET_OK);
    for (int i = 0; i < 30; i++)
        assert_int_equal(wait_child(start_child(child_uses_the_table, f)), 0);
    for (int i = 0; i < 2; i++)
        ramet_thread_join(&threads[i]);
    /* Nothing was left locked by any child or thread. */
    assert_int_equal(f->os->lock_held(NULL, f->fd, 0, 8, RAMET_LOCK_EXCLUSIVE),
                     0);
}

static void
open__survives_want_of_memory(void **state)
{
    struct fixture *const f = *state;
    int fds[300];
    bool failed = false;

    for (int i = 0; i < 300; i++) {
        ramet_alloc_fail_at(0);
        fds[i] = f->os->open(NULL, f->dirfd, "file", O_RDONLY, 0);
        if (fds[i] == -ENOMEM) { /* the registry had to grow */
            ramet_alloc_fail_at(-1);
            failed = true;
            fds[i] = f->os->open(NULL, f->dirfd, "file", O_RDONLY, 0);
        }
        assert_true(fds[i] >= 0);
    }
    ramet_alloc_fail_at(-1);
    assert_true(failed);
    for (int i = 0; i < 300; i++)
        assert_int_equal(f->os->close(NULL, fds[i]), 0);
}

static void
clock_and_random__answer(void **state)
{
    struct fixture *const f = *state;
    const uint64_t before = f->os->mono_ns(NULL);
    uint8_t a[600] = {0};
    uint8_t b[600] = {0};

    f->os->sleep_us(NULL, 2000);
    assert_true(f->os->mono_ns(NULL) - before >= 2000000);
    assert_true(f->os->wall_ms(NULL) > UINT64_C(1577836800000)); /* 2020 */
    assert_int_equal(f->os->random(NULL, a, sizeof(a)), 0);
    assert_int_equal(f->os->random(NULL, b, sizeof(b)), 0);
    assert_memory_not_equal(a, b, sizeof(a));
}

/* ---- the helpers --------------------------------------------------------- */

/* A table whose transfers are at most `step` bytes, or end in `result`. */
struct stingy {
    const struct ramet_os *os;
    size_t step;
    int result; /* if not 0, what every transfer answers */
    int calls;
};

static ssize_t
transfer(struct stingy *s, int fd, const struct iovec *iov, int iovcnt,
         uint64_t offset, bool is_write)
{
    struct iovec one = *iov;

    s->calls++;
    if (s->result != 0)
        return s->result;
    assert_true(iovcnt >= 1 && iovcnt <= 1024);
    if (one.iov_len > s->step)
        one.iov_len = s->step;
    return is_write ? s->os->pwritev(NULL, fd, &one, 1, offset)
                    : s->os->preadv(NULL, fd, &one, 1, offset);
}

static ssize_t
stingy_preadv(void *ctx, int fd, const struct iovec *iov, int iovcnt,
              uint64_t offset)
{
    return transfer(ctx, fd, iov, iovcnt, offset, false);
}

static ssize_t
stingy_pwritev(void *ctx, int fd, const struct iovec *iov, int iovcnt,
               uint64_t offset)
{
    return transfer(ctx, fd, iov, iovcnt, offset, true);
}

static void
helpers__loop_over_short_transfers(void **state)
{
    struct fixture *const f = *state;
    struct ramet_os os = *f->os;
    struct stingy stingy = {f->os, 1, 0, 0};
    char back[64] = "";

    os.ctx = &stingy;
    os.preadv = stingy_preadv;
    os.pwritev = stingy_pwritev;
    for (size_t step = 1; step < 13; step++) {
        struct iovec iov[] = {{"", 0},     {"abc", 3},   {"", 0}, {"", 0},
                              {"defg", 4}, {"hijkl", 5}, {"", 0}};
        size_t got = 99;

        stingy.step = step;
        assert_int_equal(
            ramet_os_writev_full(&os, f->fd, iov, 7, step, "f", NULL),
            RAMET_OK);
        assert_int_equal(
            ramet_os_read_full(&os, f->fd, back, 12, step, "f", NULL),
            RAMET_OK);
        assert_memory_equal(back, "abcdefghijkl", 12);
        assert_int_equal(
            ramet_os_read_some(&os, f->fd, back, 50, step, &got, "f", NULL),
            RAMET_OK);
        assert_int_equal(got, 12);
    }
    assert_int_equal(ramet_os_write_full(&os, f->fd, "x", 0, 0, "f", NULL),
                     RAMET_OK);
    assert_int_equal(ramet_os_read_full(&os, f->fd, back, 0, 9999, "f", NULL),
                     RAMET_OK);
}

static void
helpers__fail_once_and_say_where(void **state)
{
    static const struct {
        int result;
        enum ramet_rc rc;
    } cases[] = {
        {-EIO, RAMET_EIO},
        {-EAGAIN, RAMET_EIO},
        {-ENOSPC, RAMET_EFULL},
        {-EROFS, RAMET_EREADONLY},
    };
    struct fixture *const f = *state;
    struct ramet_os os = *f->os;
    struct stingy stingy = {f->os, 1, 0, 0};
    struct ramet_err err;
    char back[8];

    os.ctx = &stingy;
    os.preadv = stingy_preadv;
    os.pwritev = stingy_pwritev;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        stingy.result = cases[i].result;
        stingy.calls = 0;
        assert_int_equal(
            ramet_os_read_full(&os, f->fd, back, 8, 77, "the log", &err),
            cases[i].rc);
        assert_int_equal(stingy.calls, 1);
        assert_int_equal(err.sys_errno, -cases[i].result);
        assert_non_null(strstr(err.text, "the log at 77"));
        assert_int_equal(
            ramet_os_write_full(&os, f->fd, back, 8, 78, "the log", &err),
            cases[i].rc);
        assert_int_equal(stingy.calls, 2);
        assert_non_null(strstr(err.text, "the log at 78"));
    }
}

static void
read_full__calls_an_early_end_corrupt(void **state)
{
    struct fixture *const f = *state;
    struct ramet_err err;
    char back[8];

    assert_int_equal(ramet_os_write_full(f->os, f->fd, "abc", 3, 0, "f", NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_os_read_full(f->os, f->fd, back, 8, 1, "the log", &err),
        RAMET_ECORRUPT);
    assert_string_equal(err.text, "the log ends at 3, 6 bytes short");
}

static void
writev_full__takes_more_parts_than_the_system(void **state)
{
    struct fixture *const f = *state;
    struct iovec *const iov = calloc(3000, sizeof(*iov));
    uint8_t *const back = malloc(6000);

    for (int i = 0; i < 3000; i++)
        iov[i] = (struct iovec){"ab", 2};
    assert_int_equal(
        ramet_os_writev_full(f->os, f->fd, iov, 3000, 0, "f", NULL), RAMET_OK);
    assert_int_equal(ramet_os_read_full(f->os, f->fd, back, 6000, 0, "f", NULL),
                     RAMET_OK);
    for (int i = 0; i < 6000; i++)
        assert_int_equal(back[i], i % 2 == 0 ? 'a' : 'b');
    free(back);
    free(iov);
}

static void
read_file__takes_up_to_the_limit(void **state)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 10000};
    struct fixture *const f = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *const data = calloc(1, sizes[i] + 1);
        uint8_t *back = NULL;
        size_t len = 99;

        for (size_t j = 0; j < sizes[i]; j++)
            data[j] = (uint8_t)(j * 31);
        assert_int_equal(f->os->truncate(NULL, f->fd, 0), 0);
        assert_int_equal(
            ramet_os_write_full(f->os, f->fd, data, sizes[i], 0, "f", NULL),
            RAMET_OK);
        for (size_t more = 0; more < 2; more++) {
            assert_int_equal(ramet_os_read_file(f->os, f->dirfd, "file",
                                                sizes[i] + more * 9000, &back,
                                                &len, NULL),
                             RAMET_OK);
            assert_int_equal(len, sizes[i]);
            assert_memory_equal(back, data, sizes[i] + 1); /* ends in 0 */
            ramet_free(back);
        }
        back = NULL;
        if (sizes[i] > 0)
            assert_int_equal(ramet_os_read_file(f->os, f->dirfd, "file",
                                                sizes[i] - 1, &back, &len,
                                                NULL),
                             RAMET_ETOOBIG);
        assert_null(back);
        free(data);
    }
}

static void
read_file__says_what_is_not_there_or_no_file(void **state)
{
    struct fixture *const f = *state;
    uint8_t *back = NULL;
    size_t len;

    assert_int_equal(
        ramet_os_read_file(f->os, f->dirfd, "none", 10, &back, &len, NULL),
        RAMET_ENOTFOUND);
    assert_int_equal(f->os->mkdir(NULL, f->dirfd, "dir", 0700), 0);
    assert_int_equal(
        ramet_os_read_file(f->os, f->dirfd, "dir", 99999, &back, &len, NULL),
        RAMET_EIO);
    assert_int_equal(mkfifoat(f->dirfd, "fifo", 0600), 0);
    assert_int_equal(/* and returns, though nobody writes */
                     ramet_os_read_file(f->os, f->dirfd, "fifo", 10, &back,
                                        &len, NULL),
                     RAMET_EIO);
    f->os->unlink(NULL, f->dirfd, "dir", true);
    assert_null(back);
}

/* /proc files have no size beforehand. */
static void
read_file__goes_by_what_it_reads_not_by_the_size(void **state)
{
    struct fixture *const f = *state;
    uint8_t *back = NULL;
    size_t len = 0;

    assert_int_equal(ramet_os_read_file(f->os, AT_FDCWD, "/proc/cpuinfo",
                                        1u << 20, &back, &len, NULL),
                     RAMET_OK);
    assert_true(len > 100);
    assert_int_equal(strlen((char *)back), len);
    ramet_free(back);
    back = NULL;
    assert_int_equal(ramet_os_read_file(f->os, AT_FDCWD, "/proc/cpuinfo", 100,
                                        &back, &len, NULL),
                     RAMET_ETOOBIG);
    assert_null(back);
}

static void
expect_content(struct fixture *f, const char *path, const char *text)
{
    uint8_t *back = NULL;
    size_t len;

    assert_int_equal(
        ramet_os_read_file(f->os, f->dirfd, path, 1000, &back, &len, NULL),
        RAMET_OK);
    assert_string_equal((char *)back, text);
    ramet_free(back);
}

static void
replace_file__makes_and_replaces(void **state)
{
    struct fixture *const f = *state;
    struct ramet_stat st;

    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", "one", 3, NULL), RAMET_OK);
    expect_content(f, "r", "one");
    assert_int_equal(ramet_os_replace_file(f->os, f->dirfd, "r", "", 0, NULL),
                     RAMET_OK);
    expect_content(f, "r", "");
    assert_int_equal(f->os->stat_at(NULL, f->dirfd, "r.tmp", &st), -ENOENT);
}

static void
replace_file__uses_up_what_a_crash_left(void **state)
{
    struct fixture *const f = *state;
    struct ramet_stat st;
    const int left =
        f->os->open(NULL, f->dirfd, "r.tmp", O_RDWR | O_CREAT, 0600);

    assert_int_equal(ramet_os_write_full(f->os, left, "longer than the new", 19,
                                         0, "f", NULL),
                     RAMET_OK);
    f->os->close(NULL, left);
    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", "new", 3, NULL), RAMET_OK);
    expect_content(f, "r", "new");
    assert_int_equal(f->os->stat_at(NULL, f->dirfd, "r.tmp", &st), -ENOENT);
}

static void
replace_file__fails_without_a_trace(void **state)
{
    struct fixture *const f = *state;
    struct ramet_os os = *f->os;
    struct stingy stingy = {f->os, 1, -ENOSPC, 0};
    struct ramet_stat st;
    struct ramet_err err;

    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", "old", 3, NULL), RAMET_OK);
    os.ctx = &stingy;
    os.pwritev = stingy_pwritev;
    assert_int_equal(ramet_os_replace_file(&os, f->dirfd, "r", "new", 3, &err),
                     RAMET_EFULL);
    assert_int_equal(f->os->stat_at(NULL, f->dirfd, "r.tmp", &st), -ENOENT);
    expect_content(f, "r", "old");

    assert_int_equal(f->os->mkdir(NULL, f->dirfd, "d", 0700), 0);
    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "d", "new", 3, &err), RAMET_EIO);
    assert_int_equal(f->os->stat_at(NULL, f->dirfd, "d.tmp", &st), -ENOENT);
    f->os->unlink(NULL, f->dirfd, "d", true);
}

static int
child_replaces_often(struct fixture *f)
{
    char text[301];

    for (int i = 0; i < 40; i++) {
        memset(text, 'a' + (int)(getpid() % 26), 300);
        if (ramet_os_replace_file(f->os, f->dirfd, "r", text, 300, NULL) !=
            RAMET_OK)
            return 1;
    }
    return 0;
}

/* Writers at once, some killed: the file is always one writer's, whole. */
static void
replace_file__by_many_at_once_is_always_whole(void **state)
{
    struct fixture *const f = *state;
    pid_t pids[4];

    assert_int_equal(ramet_os_replace_file(f->os, f->dirfd, "r", "", 0, NULL),
                     RAMET_OK);
    for (int i = 0; i < 4; i++)
        pids[i] = start_child(child_replaces_often, f);
    for (int i = 0; i < 200; i++) {
        uint8_t *back = NULL;
        size_t len;

        assert_int_equal(
            ramet_os_read_file(f->os, f->dirfd, "r", 1000, &back, &len, NULL),
            RAMET_OK);
        assert_true(len == 0 || len == 300);
        for (size_t j = 1; j < len; j++)
            assert_int_equal(back[j], back[0]);
        ramet_free(back);
        if (i == 100)
            kill(pids[0], SIGKILL);
    }
    wait_child(pids[0]);
    for (int i = 1; i < 4; i++)
        assert_int_equal(wait_child(pids[i]), 0);
    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", "end", 3, NULL), RAMET_OK);
    expect_content(f, "r", "end");
}

static void
read_and_replace__survive_failure_of_each_allocation(void **state)
{
    struct fixture *const f = *state;
    enum ramet_rc rc = RAMET_ENOMEM;
    uint8_t *back = NULL;
    size_t len;

    for (long nth = 0; rc == RAMET_ENOMEM; nth++) {
        assert_true(nth < 10);
        ramet_alloc_fail_at(nth);
        rc = ramet_os_replace_file(f->os, f->dirfd, "r", "text", 4, NULL);
    }
    assert_int_equal(rc, RAMET_OK);
    rc = RAMET_ENOMEM;
    for (long nth = 0; rc == RAMET_ENOMEM; nth++) {
        assert_true(nth < 10);
        ramet_alloc_fail_at(nth);
        rc = ramet_os_read_file(f->os, f->dirfd, "r", 10, &back, &len, NULL);
    }
    ramet_alloc_fail_at(-1);
    assert_int_equal(rc, RAMET_OK);
    ramet_free(back);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(open__gives_cloexec_and_no_standard_descriptor),
        TEST(table__returns_negated_errno),
        TEST(file__is_written_read_and_measured),
        TEST(file__has_holes_and_blocks),
        TEST(map__shows_what_the_file_holds),
        TEST(list__visits_each_entry_until_told_to_stop),
        TEST(lock__conflicts_between_handles_of_one_process),
        TEST(lock__lives_until_the_last_duplicate_is_closed),
        TEST(fork__leaves_no_locked_descriptor_to_the_child),
        TEST(fork__child_does_not_keep_the_parents_lock_alive),
        TEST(fork__works_when_no_descriptor_is_free),
        TEST(fork__while_threads_open_and_lock_finds_the_table_whole),
        TEST(open__survives_want_of_memory),
        TEST(clock_and_random__answer),
        TEST(helpers__loop_over_short_transfers),
        TEST(helpers__fail_once_and_say_where),
        TEST(read_full__calls_an_early_end_corrupt),
        TEST(writev_full__takes_more_parts_than_the_system),
        TEST(read_file__takes_up_to_the_limit),
        TEST(read_file__says_what_is_not_there_or_no_file),
        TEST(read_file__goes_by_what_it_reads_not_by_the_size),
        TEST(replace_file__makes_and_replaces),
        TEST(replace_file__uses_up_what_a_crash_left),
        TEST(replace_file__fails_without_a_trace),
        TEST(replace_file__by_many_at_once_is_always_whole),
        TEST(read_and_replace__survive_failure_of_each_allocation),
    };
    return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
