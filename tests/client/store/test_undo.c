/*
 * test_undo.c - commits that are taken back, where the disk refuses to
 * have it written, and what comes after the commit point, likewise.
 */
#include "tests/client/store/store_place.h"
#include "tests/support/faultos.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a disk that refuses ---------------------------------------------------- */

static bool writes_are_refused;
static bool cuts_are_refused;
static bool syncs_are_refused;

static ssize_t
pwritev_or_refuse(void *ctx, int fd, const struct iovec *iov, int count,
                  uint64_t offset)
{
    return writes_are_refused
               ? -EIO
               : ramet_os_system()->pwritev(ctx, fd, iov, count, offset);
}

static int
truncate_or_refuse(void *ctx, int fd, uint64_t size)
{
    return cuts_are_refused ? -EIO : ramet_os_system()->truncate(ctx, fd, size);
}

static int
datasync_or_refuse(void *ctx, int fd)
{
    return syncs_are_refused ? -EIO : ramet_os_system()->datasync(ctx, fd);
}

static void
refuse(bool writes, bool cuts, bool syncs)
{
    writes_are_refused = writes;
    cuts_are_refused = cuts;
    syncs_are_refused = syncs;
}

static struct ramet_os
refusing_os(void)
{
    struct ramet_os os = *ramet_os_system();

    os.pwritev = pwritev_or_refuse;
    os.truncate = truncate_or_refuse;
    os.datasync = datasync_or_refuse;
    refuse(false, false, false);
    return os;
}

static void
begin(struct ramet_session *session)
{
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
}

static void
end(struct ramet_session *session)
{
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* A transaction as far as its commit point. */
static void
prepare(struct ramet_session *session, const struct image *image)
{
    begin(session);
    OK(ramet_session_write(session, 0, image->bytes, image->size, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
}

/* In a child: `first` is committed, `second` taken back, so far as that can be
 * done, and the child dies. */
static void
die_after_refused_rollback(struct place *p, const struct image *first,
                           const struct image *second)
{
    const pid_t child = child_fork();

    if (child == 0) {
        const struct ramet_os os = refusing_os();
        struct ramet_session *const session =
            place_open_on(p, RAMET_OPEN_CREATE, &os);

        child_require(place_commit(session, first, NULL) == RAMET_OK, "commit",
                      NULL);
        prepare(session, second);
        refuse(true, true, false);
        end(session);
        _exit(0);
    }
    child_await(child);
}

/* ---- tests ------------------------------------------------------------------ */

static void
rollback__that_cannot_be_written__holds_after_the_process(void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, 3 * PLACE_PAGE);
    struct image *const second = place_image(2, 3 * PLACE_PAGE);
    struct ramet_session *session;

    die_after_refused_rollback(p, first, second);
    for (unsigned i = 0; i < 2; i++) { /* also where nobody wrote since */
        session = place_open(p, 0);
        place_expect(session, first, __LINE__);
        ramet_session_close(session);
    }
    image_unref(first);
    image_unref(second);
}

/* What was not synced is gone, and so is the disk. */
static void
expect_after_power_cut(struct place *p, struct ramet_session *session,
                       struct faultos *disk, const struct image *expected)
{
    faultos_stop_at(disk, 0);
    ramet_session_close(session);
    faultos_fail_at(disk, 0, -1, 0, false);
    faultos_crash(disk, 0);
    faultos_free(disk);
    session = place_open(p, 0);
    place_expect(session, expected, __LINE__);
    ramet_session_close(session);
}

/* Nothing of it was written, but that it was taken back: that is in the index, and
 * on disk. */
static void
rollback__that_cannot_be_written__holds_after_a_power_cut(void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, 3 * PLACE_PAGE);
    struct image *const second = place_image(2, 3 * PLACE_PAGE);
    struct faultos *const disk = faultos_new(p->folder);
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, faultos_os(disk));

    OK(place_commit(session, first, e));
    prepare(session, second);
    faultos_fail_at(disk, FAULTOS_WRITE, 0, EIO, true);
    end(session);
    expect_after_power_cut(p, session, disk, first);
    image_unref(first);
    image_unref(second);
}

static uint64_t
one_moment(void *ctx)
{
    (void)ctx;
    return 1700000000000u;
}

/* The commit is made once more in that millisecond: its record is the same, and the
 * name of the one that was taken back must not be found on disk. */
static void
expect_no_hold_on_what_follows(struct place *p, unsigned kind)
{
    struct image *const first = place_image(1, 3 * PLACE_PAGE);
    struct image *const second = place_image(2, 3 * PLACE_PAGE);
    struct faultos *const disk = faultos_new(p->folder);
    struct ramet_os os = *faultos_os(disk);
    struct ramet_session *session;

    os.wall_ms = one_moment;
    session = place_open_on(p, RAMET_OPEN_CREATE, &os);
    OK(place_commit(session, first, e));
    prepare(session, second);
    faultos_fail_at(disk, kind, 0, EIO, kind == FAULTOS_WRITE);
    end(session);
    faultos_fail_at(disk, 0, -1, 0, false);
    OK(place_commit(session, second, e));
    expect_after_power_cut(p, session, disk, second);
    image_unref(first);
    image_unref(second);
}

/* A record without a frame, so that nothing of it is different. */
static void
cut_to_two_pages(struct ramet_session *session)
{
    begin(session);
    OK(ramet_session_truncate(session, 2 * (uint64_t)PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
}

/* The name stays on disk, for the index can't be synced. */
static void
rollback__that_cannot_be_forgotten__takes_nothing_of_what_follows(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 3 * PLACE_PAGE);
    struct faultos *const disk = faultos_new(p->folder);
    struct ramet_os os = *faultos_os(disk);
    struct ramet_session *session;

    os.wall_ms = one_moment;
    session = place_open_on(p, RAMET_OPEN_CREATE, &os);
    OK(place_commit(session, image, e));
    cut_to_two_pages(session);
    faultos_fail_at(disk, FAULTOS_WRITE, 0, EIO, true);
    end(session);
    faultos_fail_at(disk, FAULTOS_SYNC, 1, EIO, false); /* not the log's */
    begin(session);
    end(session);
    assert_true(faultos_has_failed(disk));
    faultos_fail_at(disk, 0, -1, 0, false);
    cut_to_two_pages(session);
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    end(session);
    image->size = 2 * PLACE_PAGE;
    expect_after_power_cut(p, session, disk, image);
    image_unref(image);
}

static void
rollback__that_could_not_be_written__takes_nothing_of_what_follows(void **state)
{
    expect_no_hold_on_what_follows(*state, FAULTOS_WRITE);
}

static void
rollback__that_could_not_be_synced__takes_nothing_of_what_follows(void **state)
{
    expect_no_hold_on_what_follows(*state, FAULTOS_SYNC);
}

static void
rollback__that_cannot_be_written__holds_for_open_sessions(void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, 3 * PLACE_PAGE);
    struct image *const second = place_image(2, 3 * PLACE_PAGE);
    struct image *const third = place_image(3, 3 * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    die_after_refused_rollback(p, first, second);
    place_expect(session, first, __LINE__);
    begin(session); /* who takes the write lock recovers what it finds */
    end(session);
    place_expect(session, first, __LINE__);
    OK(place_commit(session, third, e));
    place_expect(session, third, __LINE__);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
    image_unref(third);
}

static void
rollback__that_cannot_be_written__keeps_writers_waiting(void **state)
{
    struct place *const p = *state;
    const struct ramet_os os = refusing_os();
    struct image *const first = place_image(1, 3 * PLACE_PAGE);
    struct image *const second = place_image(2, 3 * PLACE_PAGE);
    struct image *const third = place_image(3, 5 * PLACE_PAGE);
    struct ramet_session *session = place_open_on(p, RAMET_OPEN_CREATE, &os);

    OK(place_commit(session, first, e));
    prepare(session, second);
    refuse(true, true, false);
    end(session);
    OK(ramet_session_pin(session, e));
    assert_int_equal(ramet_session_reserve(session, NULL), RAMET_EIO);
    ramet_session_unpin(session);
    place_expect(session, first, __LINE__);
    refuse(true, false, false); /* its file can be cut, if no more */
    begin(session);
    end(session);
    refuse(false, false, false);
    place_expect(session, first, __LINE__);
    OK(place_commit(session, third, e));
    ramet_session_close(session);
    session = place_open(p, 0);
    place_expect(session, third, __LINE__);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
    image_unref(third);
}

static void
rollback__that_cannot_be_synced__is_synced_before_the_next(void **state)
{
    struct place *const p = *state;
    const struct ramet_os os = refusing_os();
    struct image *const first = place_image(1, 3 * PLACE_PAGE);
    struct image *const second = place_image(2, 3 * PLACE_PAGE);
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, &os);

    OK(place_commit(session, first, e));
    prepare(session, second);
    refuse(false, false, true);
    end(session);
    OK(ramet_session_pin(session, e));
    assert_int_equal(ramet_session_reserve(session, NULL), RAMET_EIO);
    ramet_session_unpin(session);
    refuse(false, false, false);
    OK(place_commit(session, second, e));
    place_expect(session, second, __LINE__);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

static void
rollback__that_cannot_be_written__in_midst_of_a_transaction(void **state)
{
    struct place *const p = *state;
    const struct ramet_os os = refusing_os();
    struct image *const first = place_image(1, 3 * PLACE_PAGE);
    struct image *const second = place_image(2, 3 * PLACE_PAGE);
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, &os);

    OK(place_commit(session, first, e));
    prepare(session, second);
    refuse(true, true, false);
    ramet_session_discard(session);
    assert_int_equal(
        ramet_session_write(session, 0, second->bytes, PLACE_PAGE, NULL),
        RAMET_EIO);
    refuse(false, false, false);
    OK(ramet_session_write(session, 0, second->bytes, second->size, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    end(session);
    place_expect(session, second, __LINE__);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

/* A native VFS may cut a file after its commit point. */
static void
cut_after_the_commit__refused__the_log_is_right(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 5 * PLACE_PAGE);
    const pid_t child = child_fork();
    struct ramet_session *session;

    if (child == 0) {
        const struct ramet_os os = refusing_os();

        session = place_open_on(p, RAMET_OPEN_CREATE, &os);
        prepare(session, image);
        OK(ramet_session_truncate(session, 2 * PLACE_PAGE, e));
        refuse(true, true, false);
        ramet_session_publish(session);
        child_require(ramet_session_size(session) == image->size,
                      "the size is the log's", NULL);
        end(session);
        _exit(0);
    }
    child_await(child);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* Pages that went after a prepare and came back by growth are zeros. */
static void
cut_after_the_commit__and_grown_again__leaves_zeros(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 8 * PLACE_PAGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, image, e));
    begin(session);
    OK(ramet_session_write(session, 0, image->bytes + PLACE_PAGE, PLACE_PAGE,
                           e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_truncate(session, 2 * PLACE_PAGE, e));
    OK(ramet_session_write(session, 6 * PLACE_PAGE, image->bytes, PLACE_PAGE,
                           e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    end(session);
    memmove(image->bytes + 6 * PLACE_PAGE, image->bytes, PLACE_PAGE);
    memmove(image->bytes, image->bytes + PLACE_PAGE, PLACE_PAGE);
    memset(image->bytes + 2 * PLACE_PAGE, 0, 4 * PLACE_PAGE);
    image->size = 7 * PLACE_PAGE;
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(rollback__that_cannot_be_written__holds_after_the_process),
        TEST(rollback__that_cannot_be_written__holds_after_a_power_cut),
        TEST(
            rollback__that_could_not_be_written__takes_nothing_of_what_follows),
        TEST(rollback__that_cannot_be_forgotten__takes_nothing_of_what_follows),
        TEST(rollback__that_could_not_be_synced__takes_nothing_of_what_follows),
        TEST(rollback__that_cannot_be_written__holds_for_open_sessions),
        TEST(rollback__that_cannot_be_written__keeps_writers_waiting),
        TEST(rollback__that_cannot_be_synced__is_synced_before_the_next),
        TEST(rollback__that_cannot_be_written__in_midst_of_a_transaction),
        TEST(cut_after_the_commit__refused__the_log_is_right),
        TEST(cut_after_the_commit__and_grown_again__leaves_zeros),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
