/*
 * test_os_helpers.c - the helpers on a table that answers short, whole files,
 * and a file replaced by many at once.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/os.h"
#include "tests/core/os_fixture.h"

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
    struct os_fixture *const f = *state;
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
    struct os_fixture *const f = *state;
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
    struct os_fixture *const f = *state;
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
    struct os_fixture *const f = *state;
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
    struct os_fixture *const f = *state;

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
    struct os_fixture *const f = *state;
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
    struct os_fixture *const f = *state;
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
expect_content(struct os_fixture *f, const char *path, const char *text)
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
    struct os_fixture *const f = *state;
    struct ramet_os_stat st;

    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", NULL, "one", 3, NULL),
        RAMET_OK);
    expect_content(f, "r", "one");
    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", NULL, "", 0, NULL),
        RAMET_OK);
    expect_content(f, "r", "");
    assert_int_equal(f->os->stat_at(NULL, f->dirfd, "r.tmp", &st), -ENOENT);
}

static void
replace_file__uses_up_what_a_crash_left(void **state)
{
    struct os_fixture *const f = *state;
    struct ramet_os_stat st;
    const int left =
        f->os->open(NULL, f->dirfd, "r.tmp", O_RDWR | O_CREAT, 0600);

    assert_int_equal(ramet_os_write_full(f->os, left, "longer than the new", 19,
                                         0, "f", NULL),
                     RAMET_OK);
    f->os->close(NULL, left);
    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", NULL, "new", 3, NULL),
        RAMET_OK);
    expect_content(f, "r", "new");
    assert_int_equal(f->os->stat_at(NULL, f->dirfd, "r.tmp", &st), -ENOENT);
}

static void
replace_file__fails_without_a_trace(void **state)
{
    struct os_fixture *const f = *state;
    struct ramet_os os = *f->os;
    struct stingy stingy = {f->os, 1, -ENOSPC, 0};
    struct ramet_os_stat st;
    struct ramet_err err;

    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", NULL, "old", 3, NULL),
        RAMET_OK);
    os.ctx = &stingy;
    os.pwritev = stingy_pwritev;
    assert_int_equal(
        ramet_os_replace_file(&os, f->dirfd, "r", NULL, "new", 3, &err),
        RAMET_EFULL);
    assert_int_equal(f->os->stat_at(NULL, f->dirfd, "r.tmp", &st), -ENOENT);
    expect_content(f, "r", "old");

    assert_int_equal(f->os->mkdir(NULL, f->dirfd, "d", 0700), 0);
    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "d", NULL, "new", 3, &err),
        RAMET_EIO);
    assert_int_equal(f->os->stat_at(NULL, f->dirfd, "d.tmp", &st), -ENOENT);
    f->os->unlink(NULL, f->dirfd, "d", true);
}

static int
child_replaces_often(struct os_fixture *f)
{
    char text[301];

    for (int i = 0; i < 40; i++) {
        memset(text, 'a' + (int)(getpid() % 26), 300);
        if (ramet_os_replace_file(f->os, f->dirfd, "r", NULL, text, 300,
                                  NULL) != RAMET_OK)
            return 1;
    }
    return 0;
}

/* Writers at once, some killed: the file is always one writer's, whole. */
static void
replace_file__by_many_at_once_is_always_whole(void **state)
{
    struct os_fixture *const f = *state;
    pid_t pids[4];

    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", NULL, "", 0, NULL),
        RAMET_OK);
    for (int i = 0; i < 4; i++)
        pids[i] = os_start_child(child_replaces_often, f);
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
    os_wait_child(pids[0]);
    for (int i = 1; i < 4; i++)
        assert_int_equal(os_wait_child(pids[i]), 0);
    assert_int_equal(
        ramet_os_replace_file(f->os, f->dirfd, "r", NULL, "end", 3, NULL),
        RAMET_OK);
    expect_content(f, "r", "end");
}

static void
read_and_replace__survive_failure_of_each_allocation(void **state)
{
    struct os_fixture *const f = *state;
    enum ramet_rc rc = RAMET_ENOMEM;
    uint8_t *back = NULL;
    size_t len;

    for (long nth = 0; rc == RAMET_ENOMEM; nth++) {
        assert_true(nth < 10);
        ramet_alloc_fail_at(nth);
        rc = ramet_os_replace_file(f->os, f->dirfd, "r", NULL, "text", 4, NULL);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, os_setup, os_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
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
    return cmocka_run_group_tests_name("os_helpers", tests, NULL, NULL);
}
