/*
 * test_opening.c - what it costs to open a replica that nobody has open, and to
 * close it: each file of it is opened once, and nothing is asked twice.
 *
 * Programs that come and go pay for all of it each time. What is counted are
 * calls of the table, which do not depend on how busy the machine is.
 */
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/shared/index_header.h"
#include "client/volume/file.h"

#define PAGES 9u

static struct {
    unsigned opens;
    unsigned closes;
    unsigned stats;
    unsigned reads;
    unsigned lists;
    unsigned locks;
    unsigned maps;
    unsigned users;
} calls;

static int
count_open(void *ctx, int dirfd, const char *path, int flags, unsigned mode)
{
    calls.opens++;
    return ramet_os_system()->open(ctx, dirfd, path, flags, mode);
}

static int
count_close(void *ctx, int fd)
{
    calls.closes++;
    return ramet_os_system()->close(ctx, fd);
}

static int
count_stat(void *ctx, int fd, struct ramet_os_stat *out)
{
    calls.stats++;
    return ramet_os_system()->stat(ctx, fd, out);
}

static int
count_stat_at(void *ctx, int dirfd, const char *path, struct ramet_os_stat *out)
{
    calls.stats++;
    return ramet_os_system()->stat_at(ctx, dirfd, path, out);
}

static ssize_t
count_preadv(void *ctx, int fd, const struct iovec *iov, int iovcnt,
             uint64_t offset)
{
    calls.reads++;
    return ramet_os_system()->preadv(ctx, fd, iov, iovcnt, offset);
}

static int
count_list(void *ctx, int dirfd, const char *path, ramet_dir_visit *visit,
           void *visit_ctx)
{
    calls.lists++;
    return ramet_os_system()->list(ctx, dirfd, path, visit, visit_ctx);
}

static int
count_lock(void *ctx, int fd, uint64_t offset, uint64_t len,
           enum ramet_lock_mode mode)
{
    calls.locks++;
    return ramet_os_system()->lock(ctx, fd, offset, len, mode);
}

static int
count_map(void *ctx, int fd, uint64_t offset, size_t len, bool writable,
          void **out)
{
    calls.maps++;
    return ramet_os_system()->map(ctx, fd, offset, len, writable, out);
}

static unsigned
count_user(void *ctx)
{
    calls.users++;
    return ramet_os_system()->user(ctx);
}

static struct ramet_os
counting_os(void)
{
    struct ramet_os os = *ramet_os_system();

    os.open = count_open;
    os.close = count_close;
    os.stat = count_stat;
    os.stat_at = count_stat_at;
    os.preadv = count_preadv;
    os.list = count_list;
    os.lock = count_lock;
    os.map = count_map;
    os.user = count_user;
    return os;
}

/* A replica that was written and closed. */
static void
make(struct place *p)
{
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, image, e));
    ramet_session_close(session);
    image_unref(image);
}

static void
open_and_close(const struct place *p, const struct ramet_os *os)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    ramet_file_options_init(&options);
    options.os = os;
    options.flags = RAMET_OPEN_CREATE | RAMET_OPEN_ADOPT;
    options.sync = RAMET_SYNC_MANUAL;
    OK(ramet_file_open(p->path, &options, &file, e));
    ramet_file_close(file);
}

/* Opened: the folder, the directory, lock, state, base, index, the log that was
 * kept, and the place of a journal, which is not there. Looked at: the base by its
 * path, beside the directory and by its descriptor; what is in the directory by
 * the names of the tombstone and the state; the directory, and each file that was
 * opened in it; and the lock's name once the lock is held. */
static void
open_and_close__opens_each_file_once_and_asks_nothing_twice(void **state)
{
    struct place *const p = *state;
    const struct ramet_os os = counting_os();

    make(p);
    open_and_close(p, &os); /* what came after the first commit is recovered */
    memset(&calls, 0, sizeof(calls));
    open_and_close(p, &os);
    assert_int_equal(calls.opens, 8);
    assert_int_equal(calls.closes, 7); /* a journal was not there */
    assert_in_range(calls.stats, 1, 11);
    assert_in_range(calls.reads, 1, 4);
    assert_int_equal(calls.lists, 1);
    assert_in_range(calls.locks, 1, 8);
    assert_int_equal(calls.maps, 1);
    assert_in_range(calls.users, 1, 2);
}

/* Bits of an index from before, of blocks that went as it was cut, count no more:
 * also of those far behind, where a file mostly has a hole. */
static void
index__of_an_earlier_life__leaves_no_bits(void **state)
{
    struct place *const p = *state;
    struct ramet_session *session;
    const uint64_t ones = UINT64_MAX;
    const off_t first = offsetof(struct ramet_index_head, blocks);
    char path[300];
    int fd;

    make(p);
    open_and_close(p, NULL);
    snprintf(path, sizeof(path), "%s/index", p->dir);
    for (unsigned i = 0; i < 3; i++) {
        const off_t at =
            first + (off_t)(i * RAMET_BITS_STEP) + (off_t)(i * sizeof(ones));
        uint64_t word = 1;

        fd = open(path, O_RDWR);
        assert_int_equal(pwrite(fd, &ones, sizeof(ones), at), sizeof(ones));
        session = place_open(p, 0);
        assert_int_equal(pread(fd, &word, sizeof(word), at), sizeof(word));
        assert_int_equal(word, 0);
        ramet_session_close(session);
        close(fd);
    }
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(open_and_close__opens_each_file_once_and_asks_nothing_twice),
        TEST(index__of_an_earlier_life__leaves_no_bits),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
