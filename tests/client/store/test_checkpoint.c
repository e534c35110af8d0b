/*
 * test_checkpoint.c - what a checkpoint leaves in the base, and what it
 * leaves alone.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/store.h"

static void
base__after_it__has_the_newest_bytes_behind_the_mark(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(8, 30 * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    static uint8_t have[30 * PLACE_PAGE];
    static uint8_t want[30 * PLACE_PAGE];
    size_t got = 0;
    int fd;

    OK(place_commit(session, image, e));
    assert_false(ramet_log_is_empty(session->replica));
    OK(ramet_session_checkpoint(session, true, e));
    assert_true(ramet_log_is_empty(session->replica));
    place_expect(session, image, __LINE__);
    OK(ramet_session_pin(session, e));
    OK(ramet_session_read(session, 0, want, sizeof(want), &got, e));
    ramet_session_unpin(session);
    fd = open(p->path, O_RDONLY);
    assert_int_equal(pread(fd, have, sizeof(have), 0), sizeof(have));
    close(fd);
    assert_memory_equal(have + 100, want + 100, sizeof(have) - 100);
    assert_memory_equal(have, "This is a Ramet replica", 23);
    ramet_session_close(session);
    image_unref(image);
}

static void
older_reader__is_passed__and_keeps_its_bytes(void **state)
{
    struct place *const p = *state;
    struct image *const old = place_image(1, 12 * PLACE_PAGE);
    struct image *const new = place_image(2, 12 * PLACE_PAGE);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, RAMET_OPEN_CREATE);
    static uint8_t have[12 * PLACE_PAGE];
    static uint8_t want[12 * PLACE_PAGE];
    size_t got = 0;

    OK(place_commit(writer, old, e));
    OK(ramet_session_pin(reader, e));
    OK(ramet_session_read(reader, 0, want, sizeof(want), &got, e));
    for (unsigned i = 0; i < 8; i++) {
        OK(place_commit(writer, i % 2 == 0 ? new : old, e));
        OK(ramet_session_checkpoint(writer, true, e));
    }
    OK(place_commit(writer, new, e));
    OK(ramet_session_checkpoint(writer, true, e));
    OK(ramet_session_read(reader, 0, have, sizeof(have), &got, e));
    assert_memory_equal(have, want, sizeof(have));
    ramet_session_unpin(reader);
    place_expect(reader, new, __LINE__);
    ramet_session_close(reader);
    ramet_session_close(writer);
    image_unref(old);
    image_unref(new);
}

static void
another_one__is_at_it__nothing_is_done(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(4, 5 * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const other = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, image, e));
    OK(ramet_lock(other, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE, 0, "",
                  e));
    OK(ramet_session_checkpoint(session, true, e));
    assert_false(ramet_log_is_empty(session->replica));
    ramet_unlock(other, RAMET_LOCK_CHECKPOINT);
    /* Nor under who reads state and base without a pin. */
    OK(ramet_lock(other, RAMET_LOCK_UNPINNED, RAMET_LOCK_SHARED, 0, "", e));
    OK(ramet_session_checkpoint(session, true, e));
    assert_false(ramet_log_is_empty(session->replica));
    assert_false(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    ramet_unlock(other, RAMET_LOCK_UNPINNED);
    OK(ramet_session_checkpoint(session, true, e));
    assert_true(ramet_log_is_empty(session->replica));
    place_expect(session, image, __LINE__);
    ramet_session_close(other);
    ramet_session_close(session);
    image_unref(image);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(base__after_it__has_the_newest_bytes_behind_the_mark),
        T(older_reader__is_passed__and_keeps_its_bytes),
        T(another_one__is_at_it__nothing_is_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
