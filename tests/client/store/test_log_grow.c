/*
 * test_log_grow.c - a log file grows by zeros before records need the room, and
 * nothing that counts depends on them.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/log/log_grow.h"
#include "client/store/shared/index.h"
#include "client/store/shared/session.h"

#define PAGES 4u
#define COMMITS 60u /* of a page: four pieces, more or less */

static const uint8_t zeros[RAMET_LOG_PIECE];

/* Zeros alone, as many as end a piece. */
static bool
is_growth(const struct iovec *iov, int iovcnt, uint64_t offset)
{
    return iovcnt == 1 && iov->iov_len <= sizeof(zeros) &&
           (offset + iov->iov_len) % RAMET_LOG_PIECE == 0 &&
           memcmp(iov->iov_base, zeros, iov->iov_len) == 0;
}

/* The system's table, but that zeros find no room. */
static ssize_t
pwritev_no_zeros(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                 uint64_t offset)
{
    return is_growth(iov, iovcnt, offset)
               ? -ENOSPC
               : ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

/* ... that its process ends with the first of them. */
static ssize_t
pwritev_and_die(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                uint64_t offset)
{
    const ssize_t put =
        ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);

    if (is_growth(iov, iovcnt, offset))
        _exit(0);
    return put;
}

static int
open_log(const struct place *p)
{
    char path[300];
    int fd;

    snprintf(path, sizeof(path), "%s/log-0000000000000001", p->dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static uint64_t
tail_of(struct ramet_session *session)
{
    struct ramet_published newest;

    ramet_index_newest(session->replica, &newest);
    assert_int_equal(ramet_pos_file(newest.snapshot.tail), 1);
    return ramet_pos_offset(newest.snapshot.tail);
}

static void
mark_page(struct image *image, unsigned i)
{
    memset(image->bytes + i % PAGES * PLACE_PAGE, (int)(i + 1), 64);
}

/* One page of the image becomes another; nothing is synced. */
static enum ramet_rc
change_page(struct ramet_session *session, struct image *image, unsigned i,
            struct ramet_err *err)
{
    const uint64_t at = (uint64_t)(i % PAGES) * PLACE_PAGE;
    enum ramet_rc rc = ramet_session_pin(session, err);

    mark_page(image, i);
    if (rc == RAMET_OK)
        rc = ramet_session_reserve(session, err);
    if (rc == RAMET_OK)
        rc = ramet_session_write(session, at, image->bytes + at, PLACE_PAGE,
                                 err);
    if (rc == RAMET_OK)
        rc = ramet_session_prepare(session, NULL, err);
    if (rc == RAMET_OK)
        ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    return rc;
}

static void
expect_when_open(struct place *p, const struct image *image)
{
    struct ramet_session *const session = place_open(p, 0);

    place_expect(session, image, __LINE__);
    ramet_session_close(session);
}

/* What is in it is `tail` bytes long, and the rest is zeros. */
static void
expect_zeros_past(const struct place *p, uint64_t tail, uint64_t size)
{
    uint8_t *const bytes = malloc(size);
    const int fd = open_log(p);

    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, size, 0), size);
    for (uint64_t at = tail; at < size; at++)
        assert_int_equal(bytes[at], 0);
    close(fd);
    free(bytes);
}

static uint64_t
size_of_log(const struct place *p)
{
    const int fd = open_log(p);
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    close(fd);
    return (uint64_t)st.st_size;
}

static void
log_file__past_its_first_piece__grows_by_whole_pieces(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    unsigned grown = 0;
    uint64_t before = 0;

    for (unsigned i = 0; i < COMMITS; i++) {
        uint64_t tail, size;

        OK(change_page(session, image, i, e));
        tail = tail_of(session);
        size = size_of_log(p);
        if (tail <= RAMET_LOG_PIECE) { /* a short session writes no more */
            assert_int_equal(size, tail);
            continue;
        }
        assert_true(size >= tail);
        assert_int_equal(size % RAMET_LOG_PIECE, 0);
        expect_zeros_past(p, tail, size);
        grown += size != before;
        before = size;
    }
    assert_in_range(grown, 2, COMMITS / 10);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    expect_when_open(p, image);
    image_unref(image);
}

static void
zeros_without_room__cost_no_commit(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *session;

    os.pwritev = pwritev_no_zeros;
    session = place_open_on(p, RAMET_OPEN_CREATE, &os);
    for (unsigned i = 0; i < COMMITS; i++) {
        OK(change_page(session, image, i, e));
        assert_int_equal(size_of_log(p), tail_of(session));
    }
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    expect_when_open(p, image);
    image_unref(image);
}

/* In a child, which dies with the first zeros; tells how many were committed. */
static void
commit_until_zeros(struct place *p, struct image *image, unsigned *done)
{
    struct ramet_os os = *ramet_os_system();
    const struct ramet_replica_options options = {.os = &os};
    struct ramet_session *session;

    os.pwritev = pwritev_and_die;
    child_require(ramet_session_open(p->path, &options, &session, NULL) ==
                      RAMET_OK,
                  "open", NULL);
    for (; *done < COMMITS; ++*done)
        child_require(change_page(session, image, *done, NULL) == RAMET_OK,
                      "commit", NULL);
    child_require(false, "no zeros came", NULL);
}

static void
kill__between_zeros_and_their_record__leaves_what_was_committed(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    unsigned *const done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child;

    assert_ptr_not_equal(done, MAP_FAILED);
    ramet_session_close(place_open(p, RAMET_OPEN_CREATE));
    child = child_fork();
    if (child == 0)
        commit_until_zeros(p, image, done);
    child_await(child);
    assert_in_range(*done, PAGES, COMMITS - 1);
    for (unsigned i = 0; i < *done; i++)
        mark_page(image, i);
    assert_int_equal(size_of_log(p), RAMET_LOG_PIECE); /* up to its end */
    expect_when_open(p, image);
    munmap(done, sizeof(*done));
    image_unref(image);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(log_file__past_its_first_piece__grows_by_whole_pieces),
        T(zeros_without_room__cost_no_commit),
        T(kill__between_zeros_and_their_record__leaves_what_was_committed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
