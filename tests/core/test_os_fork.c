/*
 * test_os_fork.c - a child of fork() neither keeps nor loses its parent's
 * locks, and finds the registry of descriptors whole.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/os.h"
#include "core/thread.h"
#include "tests/core/os_fixture.h"

/* Descriptors for the children of the fork tests: the locked one, a duplicate
 * made before the lock, one made after it, and one that only reads. */
static int family[4];

static int
child_inspects_its_descriptors(struct os_fixture *f)
{
    struct ramet_os_stat st;
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
    struct os_fixture *const f = *state;
    const struct ramet_os *const os = f->os;
    struct iovec iov = {"x", 1};

    assert_int_equal(os->pwritev(NULL, f->fd, &iov, 1, 0), 1);
    family[0] = os->open(NULL, f->dirfd, "file", O_RDWR, 0);
    family[1] = os->dup(NULL, family[0]);
    assert_int_equal(os->lock(NULL, family[0], 0, 1, RAMET_LOCK_EXCLUSIVE), 0);
    family[2] = os->dup(NULL, family[1]);
    family[3] = os->open(NULL, f->dirfd, "file", O_RDONLY, 0);

    assert_int_equal(ramet_os_fork_count(), 0);
    assert_int_equal(
        os_wait_child(os_start_child(child_inspects_its_descriptors, f)), 0);
    assert_int_equal(ramet_os_fork_count(), 0);
    assert_int_equal(os->lock_held(NULL, family[3], 0, 1, RAMET_LOCK_SHARED),
                     1);
    for (int i = 0; i < 4; i++)
        os->close(NULL, family[i]);
}

static int
child_writes_by_inherited_descriptors(struct os_fixture *f)
{
    struct iovec iov = {"child", 5};

    if (f->os->pwritev(NULL, family[0], &iov, 1, 0) != -EBADF ||
        f->os->truncate(NULL, family[0], 0) != -EBADF ||
        f->os->pwritev(NULL, family[1], &iov, 1, 0) != -EBADF)
        return 1;
    return write(family[2], "child", 5) == 5 ? 0 : 2; /* a log goes on */
}

static void
fork__leaves_no_descriptor_that_overwrites_to_the_child(void **state)
{
    struct os_fixture *const f = *state;
    const struct ramet_os *const os = f->os;
    struct iovec iov = {"parent", 6};
    struct ramet_os_stat st;

    family[0] = os->open(NULL, f->dirfd, "file", O_RDWR, 0);
    family[1] = os->open(NULL, f->dirfd, "file", O_WRONLY, 0);
    family[2] = os->open(NULL, f->dirfd, "file", O_WRONLY | O_APPEND, 0);
    assert_int_equal(
        os_wait_child(os_start_child(child_writes_by_inherited_descriptors, f)),
        0);
    assert_int_equal(os->pwritev(NULL, family[0], &iov, 1, 0), 6);
    assert_int_equal(os->stat(NULL, family[0], &st), 0);
    assert_int_equal(st.size_bytes, 6); /* over the child's five */
    for (int i = 0; i < 3; i++)
        os->close(NULL, family[i]);
}

static _Atomic uint64_t *shared;

static int
child_stores_to_shared_memory(struct os_fixture *f)
{
    if (*shared != 0)
        return 1;
    *shared = 13;
    return f->os->unmap(NULL, (void *)(uintptr_t)shared, 4096) == 0 ? 0 : 2;
}

static void
fork__leaves_no_shared_memory_to_the_child(void **state)
{
    struct os_fixture *const f = *state;
    void *at[40];

    assert_int_equal(f->os->truncate(NULL, f->fd, 40 * 4096), 0);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(
            f->os->map(NULL, f->fd, i * UINT64_C(4096), 4096, true, &at[i]), 0);
        memset(at[i], 7, 4096);
    }
    assert_int_equal(f->os->unmap(NULL, at[3], 4096), 0); /* no longer ours */
    for (unsigned i = 0; i < 40; i++) {
        if (i == 3)
            continue;
        shared = at[i];
        assert_int_equal(
            os_wait_child(os_start_child(child_stores_to_shared_memory, f)), 0);
        assert_int_equal(*shared, UINT64_C(0x0707070707070707));
        assert_int_equal(f->os->unmap(NULL, at[i], 4096), 0);
    }
}

/* fork() without a handler: as _Fork(), or what a run-time does by itself. */
static void
fork__without_handlers_is_noticed_by_who_asks(void **state)
{
    struct os_fixture *const f = *state;
    void *at = NULL;
    pid_t pid;

    assert_int_equal(f->os->truncate(NULL, f->fd, 4096), 0);
    assert_int_equal(f->os->map(NULL, f->fd, 0, 4096, true, &at), 0);
    shared = at;
    *shared = 1;
    pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    assert_true(pid >= 0);
    if (pid == 0) {
        if (ramet_os_fork_count() != 1 || ramet_os_fork_count() != 1)
            _exit(1);
        *shared = 13;
        _exit(f->os->truncate(NULL, f->fd, 0) == -EBADF ? 0 : 2);
    }
    assert_int_equal(os_wait_child(pid), 0);
    assert_int_equal(*shared, 1);
    assert_int_equal(ramet_os_fork_count(), 0);
    assert_int_equal(f->os->unmap(NULL, at, 4096), 0);
}

/* Two pipes: the child waits on one and says so on the other. */
static int ready_pipe[2];
static int go_pipe[2];

static int
child_waits(struct os_fixture *f)
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
    struct os_fixture *const f = *state;
    const struct ramet_os *const os = f->os;
    const int locked = os->open(NULL, f->dirfd, "file", O_RDWR, 0);
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready_pipe), 0);
    assert_int_equal(pipe(go_pipe), 0);
    assert_int_equal(os->lock(NULL, locked, 0, 1, RAMET_LOCK_EXCLUSIVE), 0);
    pid = os_start_child(child_waits, f);
    assert_int_equal(read(ready_pipe[0], &byte, 1), 1);
    assert_int_equal(os->lock_held(NULL, f->fd, 0, 1, RAMET_LOCK_SHARED), 1);
    os->close(NULL, locked); /* the parent ends; the child is still there */
    assert_int_equal(os->lock_held(NULL, f->fd, 0, 1, RAMET_LOCK_SHARED), 0);
    assert_int_equal(write(go_pipe[1], "g", 1), 1);
    assert_int_equal(os_wait_child(pid), 0);
    for (int i = 0; i < 2; i++) {
        close(ready_pipe[i]);
        close(go_pipe[i]);
    }
}

static int
child_at_the_limit_of_descriptors(struct os_fixture *f)
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
    struct os_fixture *const f = *state;
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
    pid = os_start_child(child_at_the_limit_of_descriptors, f);
    while (count > 0)
        close(fillers[--count]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(os_wait_child(pid), 0);
    for (int i = 0; i < 3; i++)
        f->os->close(NULL, family[i]);
}

static void *
open_and_close(void *arg)
{
    const struct os_fixture *const f = arg;

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
child_uses_the_table(struct os_fixture *f)
{
    const int fd = f->os->open(NULL, f->dirfd, "file", O_RDWR, 0);

    if (fd < 0 || f->os->lock(NULL, fd, 7, 1, RAMET_LOCK_EXCLUSIVE) != 0)
        return 1;
    return f->os->close(NULL, fd) == 0 ? 0 : 2;
}

static void
fork__while_threads_open_and_lock_finds_the_table_whole(void **state)
{
    struct os_fixture *const f = *state;
    struct ramet_thread threads[2] = {{0}};

    for (int i = 0; i < 2; i++)
        assert_int_equal(
            ramet_thread_start(&threads[i], "open", open_and_close, f, NULL),
            RAMET_OK);
    for (int i = 0; i < 30; i++)
        assert_int_equal(os_wait_child(os_start_child(child_uses_the_table, f)),
                         0);
    for (int i = 0; i < 2; i++)
        ramet_thread_join(&threads[i]);
    /* Nothing was left locked by any child or thread. */
    assert_int_equal(f->os->lock_held(NULL, f->fd, 0, 8, RAMET_LOCK_EXCLUSIVE),
                     0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, os_setup, os_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fork__leaves_no_locked_descriptor_to_the_child),
        TEST(fork__leaves_no_descriptor_that_overwrites_to_the_child),
        TEST(fork__leaves_no_shared_memory_to_the_child),
        TEST(fork__without_handlers_is_noticed_by_who_asks),
        TEST(fork__child_does_not_keep_the_parents_lock_alive),
        TEST(fork__works_when_no_descriptor_is_free),
        TEST(fork__while_threads_open_and_lock_finds_the_table_whole),
    };
    return cmocka_run_group_tests_name("os_fork", tests, NULL, NULL);
}
