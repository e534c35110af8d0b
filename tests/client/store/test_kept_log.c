/*
 * test_kept_log.c - the log file that a clean close leaves for the next
 * session to write over, and what an open, a commit and a close cost.
 */
#define _GNU_SOURCE
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
#include "client/store/format/frames.h"

#define PAGES 9u

static int
open_log(const struct place *p)
{
    char path[300];
    const int length =
        snprintf(path, sizeof(path), "%s/log-0000000000000001", p->dir);

    assert_true(length > 0 && (size_t)length < sizeof(path));
    return open(path, O_RDWR);
}

/* 0: there is none. */
static ino_t
inode_of_log(const struct place *p)
{
    const int fd = open_log(p);
    struct stat st;

    if (fd < 0)
        return 0;
    assert_int_equal(fstat(fd, &st), 0);
    close(fd);
    return st.st_ino;
}

static void
read_log_header(const struct place *p,
                uint8_t out[RAMET_FRAME_FILE_HEADER_SIZE])
{
    const int fd = open_log(p);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, out, RAMET_FRAME_FILE_HEADER_SIZE, 0),
                     RAMET_FRAME_FILE_HEADER_SIZE);
    close(fd);
}

/* Another byte in each of some pages, one commit for each. */
static void
commit_some(struct ramet_session *session, struct image *image, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        image->bytes[i % PAGES * PLACE_PAGE + 200] ^= (uint8_t)(i + 1);
        OK(place_commit(session, image, e));
    }
}

/* A child that commits so often and is killed. */
static void
commit_and_die(struct place *p, struct image *image, unsigned count)
{
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_session *const session = place_open_in_child(p);

        commit_some(session, image, count);
        _exit(0);
    }
    child_await(child);
}

static void
expect_when_open(struct place *p, const struct image *image)
{
    struct ramet_session *const session = place_open(p, 0);

    place_expect(session, image, __LINE__);
    ramet_session_close(session);
}

static struct image *
make(struct place *p, unsigned commits)
{
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, image, e));
    commit_some(session, image, commits);
    ramet_session_close(session);
    return image;
}

static void
clean_close__leaves_a_small_log__which_is_written_over(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p, 3);
    const ino_t inode = inode_of_log(p);

    assert_true(inode != 0);
    for (unsigned life = 0; life < 4; life++) {
        struct ramet_session *const session = place_open(p, 0);

        place_expect(session, image, __LINE__);
        commit_some(session, image, 1 + life * 2);
        place_expect(session, image, __LINE__);
        ramet_session_close(session);
        assert_int_equal(inode_of_log(p), inode);
    }
    expect_when_open(p, image);
    image_unref(image);
}

/* Records of before stand behind those that count, and are none of theirs. */
static void
kill__over_a_kept_log__leaves_what_was_committed(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p, 7);

    for (unsigned count = 1; count < 6; count++) {
        struct image *const seen = place_image(1, PAGES * PLACE_PAGE);

        memcpy(seen->bytes, image->bytes, image->size);
        commit_and_die(p, image, count); /* in its own memory */
        for (unsigned i = 0; i < count; i++)
            seen->bytes[i % PAGES * PLACE_PAGE + 200] ^= (uint8_t)(i + 1);
        memcpy(image->bytes, seen->bytes, image->size);
        expect_when_open(p, image);
        image_unref(seen);
    }
    image_unref(image);
}

/* The power takes the new header, and with it what was not synced yet; behind it
 * stand records, old and new, of which some say that the log was on disk. */
static void
power_cut__before_the_kept_log_is_synced__leaves_what_was_closed(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p, 7);
    uint8_t old[RAMET_FRAME_FILE_HEADER_SIZE];
    uint8_t new[RAMET_FRAME_FILE_HEADER_SIZE];
    int fd;

    read_log_header(p, old);
    commit_and_die(p, image, 2);
    read_log_header(p, new);
    assert_memory_not_equal(old, new, sizeof(old));
    fd = open_log(p);
    assert_int_equal(pwrite(fd, old, sizeof(old), 0), sizeof(old));
    close(fd);
    expect_when_open(p, image);
    expect_when_open(p, image); /* and closed clean */
    image_unref(image);
}

/* ---- a close that fails --------------------------------------------------- */

static uint8_t lost_state[4096]; /* written by it, and not synced */
static off_t lost_at;
static int state_fd = -1;

static ssize_t
pwritev_and_keep_state(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                       uint64_t offset)
{
    if (iov->iov_len == sizeof(lost_state) && state_fd < 0 &&
        memcmp(iov->iov_base, "RAMTSTA", 7) == 0) {
        memcpy(lost_state, iov->iov_base, sizeof(lost_state));
        lost_at = (off_t)offset;
        state_fd = fd;
    }
    return ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

static int
datasync_but_state(void *ctx, int fd)
{
    return fd == state_fd ? -EIO : ramet_os_system()->datasync(ctx, fd);
}

/* Its state, which said that the log is to be written over, was on disk after
 * all, and comes back with the power: what was committed since then counts. */
static void
power_cut__after_a_close_that_failed__leaves_what_was_committed(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p, 2);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *const session = place_open_on(p, 0, &os);
    char path[300];
    int fd;

    commit_some(session, image, 2);
    os.pwritev = pwritev_and_keep_state;
    os.datasync = datasync_but_state;
    state_fd = -1;
    ramet_session_close(session);
    assert_true(state_fd >= 0);
    commit_and_die(p, image, 1);
    image->bytes[200] ^= 1;
    snprintf(path, sizeof(path), "%s/state", p->dir);
    fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, lost_state, sizeof(lost_state), lost_at),
                     sizeof(lost_state));
    close(fd);
    expect_when_open(p, image);
    image_unref(image);
}

static void
kept_log__removed__is_made_again_and_lasts(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p, 3);
    char path[300];

    snprintf(path, sizeof(path), "%s/log-0000000000000001", p->dir);
    assert_int_equal(unlink(path), 0);
    commit_and_die(p, image, 1);
    image->bytes[200] ^= 1;
    expect_when_open(p, image);
    image_unref(image);
}

/* Positions begin anew in it: what somebody folded before has others. */
static void
fold__kept_over_a_clean_close__starts_over(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p, 3);
    struct ramet_session *session = place_open(p, 0);
    struct ramet_replica_state kept;

    memset(&kept, 0, sizeof(kept));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    for (unsigned life = 0; life < 4; life++) {
        commit_some(session, image, 3 + life);
        OK(ramet_session_state(session, &kept, e));
        assert_int_equal(kept.newest.seq, ramet_session_snapshot(session)->seq);
        ramet_session_close(session);
        session = place_open(p, 0);
    }
    ramet_replica_state_done(&kept);
    ramet_session_close(session);
    image_unref(image);
}

static void
log__that_grew_large__is_not_kept(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 100 * PLACE_PAGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, image, e));
    ramet_session_close(session);
    assert_int_equal(inode_of_log(p), 0);
    session = place_open(p, 0);
    image->bytes[5000] ^= 1;
    OK(place_commit(session, image, e));
    ramet_session_close(session);
    expect_when_open(p, image);
    image_unref(image);
}

static unsigned full_syncs;
static unsigned data_syncs;

static int
count_sync(void *ctx, int fd)
{
    full_syncs++;
    return ramet_os_system()->sync(ctx, fd);
}

static int
count_datasync(void *ctx, int fd)
{
    data_syncs++;
    return ramet_os_system()->datasync(ctx, fd);
}

static void
commit_unsynced(struct ramet_session *session, const struct image *image)
{
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, image->bytes, image->size, e));
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* Of the log; the mark; pages; the state, with words of presence; the header.
 * None makes a name, or a length, last: those are there already. */
static void
open_commit_close__syncs_data_five_times(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p, 1);
    struct ramet_os os = *ramet_os_system();

    os.sync = count_sync;
    os.datasync = count_datasync;
    for (unsigned i = 0; i < 3; i++) {
        struct ramet_session *const session = place_open_on(p, 0, &os);

        image->bytes[5000] ^= 1;
        full_syncs = data_syncs = 0;
        commit_unsynced(session, image);
        ramet_session_close(session);
        assert_int_equal(data_syncs, 5);
        assert_int_equal(full_syncs, 0);
        expect_when_open(p, image);
    }
    image_unref(image);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(clean_close__leaves_a_small_log__which_is_written_over),
        TEST(kill__over_a_kept_log__leaves_what_was_committed),
        TEST(power_cut__before_the_kept_log_is_synced__leaves_what_was_closed),
        TEST(power_cut__after_a_close_that_failed__leaves_what_was_committed),
        TEST(kept_log__removed__is_made_again_and_lasts),
        TEST(fold__kept_over_a_clean_close__starts_over),
        TEST(log__that_grew_large__is_not_kept),
        TEST(open_commit_close__syncs_data_five_times),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
