/*
 * test_os.c - the system's table on a folder of its own, and locks between
 * handles of one process.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/os.h"
#include "tests/core/os_fixture.h"

static void
open__gives_cloexec_and_no_standard_descriptor(void **state)
{
    struct os_fixture *const f = *state;
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

/* A file of somebody else, which only its owner may keep the times of. */
static int
read_as_another_user(struct os_fixture *f)
{
    uint8_t byte;
    struct iovec iov = {&byte, 1};
    int fd;

    if (setuid(65534) != 0) /* no root: there is no other user to be */
        return 0;
    fd = f->os->open(NULL, f->dirfd, "file", O_RDONLY, 0);
    return fd >= 0 && f->os->preadv(NULL, fd, &iov, 1, 0) == 1 ? 0 : 1;
}

static void
open__leaves_the_time_of_access_alone_where_it_may(void **state)
{
    static const struct timespec old[2] = {{1000, 0}, {2000, 0}};
    struct os_fixture *const f = *state;
    uint8_t byte = 1;
    struct iovec iov = {&byte, 1};
    struct stat st;
    int fd;

    assert_int_equal(f->os->pwritev(NULL, f->fd, &iov, 1, 0), 1);
    assert_int_equal(futimens(f->fd, old), 0);
    fd = f->os->open(NULL, f->dirfd, "file", O_RDONLY, 0);
    assert_true(fd >= 0);
    assert_int_equal(f->os->preadv(NULL, fd, &iov, 1, 0), 1);
    assert_int_equal(f->os->close(NULL, fd), 0);
    assert_int_equal(fstat(f->fd, &st), 0);
    assert_int_equal(st.st_atim.tv_sec, 1000);

    assert_int_equal(fchmod(f->fd, 0644), 0);
    assert_int_equal(fchmod(f->dirfd, 0755), 0);
    assert_int_equal(os_wait_child(os_start_child(read_as_another_user, f)), 0);
}

static int
never_called(void *ctx, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    *(bool *)ctx = true;
    return 0;
}

static void
table__returns_negated_errno(void **state)
{
    bool called = false;
    struct os_fixture *const f = *state;
    struct ramet_os_stat st;
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
    assert_int_equal(f->os->list(NULL, f->dirfd, "none", never_called, &called),
                     -ENOENT);
    assert_false(called);
}

static void
file__is_written_read_and_measured(void **state)
{
    struct os_fixture *const f = *state;
    char a[4] = "";
    char b[8] = "";
    struct iovec in[] = {{a, 3}, {b, 7}};
    struct iovec out[] = {{"abc", 3}, {"defgh", 5}};
    struct ramet_os_stat st;
    struct ramet_os_stat by_path;

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
    struct os_fixture *const f = *state;
    const size_t mega = 1u << 20;
    struct iovec out = {"x", 1};
    struct ramet_os_stat st;

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
    struct os_fixture *const f = *state;
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
    struct os_fixture *const f = *state;
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
    struct os_fixture *const f = *state;
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
    struct os_fixture *const f = *state;
    const struct ramet_os *const os = f->os;
    const int other = os->open(NULL, f->dirfd, "file", O_RDWR, 0);
    const int copy = os->dup(NULL, other);

    assert_int_equal(os->lock(NULL, other, 0, 1, RAMET_LOCK_EXCLUSIVE), 0);
    assert_int_equal(os->close(NULL, other), 0);
    assert_int_equal(os->lock_held(NULL, f->fd, 0, 1, RAMET_LOCK_SHARED), 1);
    assert_int_equal(os->close(NULL, copy), 0);
    assert_int_equal(os->lock_held(NULL, f->fd, 0, 1, RAMET_LOCK_SHARED), 0);
}

static void
open__survives_want_of_memory(void **state)
{
    struct os_fixture *const f = *state;
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
    struct os_fixture *const f = *state;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, os_setup, os_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(open__gives_cloexec_and_no_standard_descriptor),
        TEST(open__leaves_the_time_of_access_alone_where_it_may),
        TEST(table__returns_negated_errno),
        TEST(file__is_written_read_and_measured),
        TEST(file__has_holes_and_blocks),
        TEST(map__shows_what_the_file_holds),
        TEST(list__visits_each_entry_until_told_to_stop),
        TEST(lock__conflicts_between_handles_of_one_process),
        TEST(lock__lives_until_the_last_duplicate_is_closed),
        TEST(open__survives_want_of_memory),
        TEST(clock_and_random__answer),
    };
    return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
