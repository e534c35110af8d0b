/*
 * test_index.c - the shared index: its ring, its entries, and what a new
 * one does not believe of an old one.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/store.h"

static void
newest__after_more_publications_than_the_ring_has_slots__is_the_last(
    void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_replica *const replica = session->replica;
    struct ramet_published snapshot, seen;
    const uint64_t before = ramet_index_newest(replica, &snapshot);

    OK(ramet_write_lock_internally(session, 0, e));
    for (unsigned i = 1; i <= 3 * RAMET_RING_SLOTS; i++) {
        snapshot.snapshot.counter++;
        ramet_index_publish(replica, &snapshot);
        assert_int_equal(ramet_index_newest(replica, &seen), before + i);
        assert_int_equal(seen.snapshot.counter, snapshot.snapshot.counter);
    }
    ramet_write_unlock(session);
    ramet_session_close(session);
}

static void
swap__of_an_entry_that_moved_on__is_refused(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_replica *const replica = session->replica;
    const struct ramet_entry held = ramet_entry_of_stamp(RAMET_ENTRY_HELD, 7);
    const struct ramet_entry gone = ramet_entry_of_stamp(RAMET_ENTRY_ABSENT, 8);
    const struct ramet_entry later = ramet_entry_of_stamp(RAMET_ENTRY_HELD, 9);
    _Atomic uint64_t *const absent = &replica->head->header.all.absent_now;
    const uint64_t before = atomic_load(absent);

    OK(ramet_base_lock(session, RAMET_LOCK_WAIT_MS, e));
    OK(ramet_index_reserve(replica, 5, e));
    ramet_index_set(replica, 5, held);
    assert_true(ramet_index_swap(replica, 5, held, gone));
    assert_int_equal(atomic_load(absent), before + 1);
    assert_false(ramet_index_swap(replica, 5, held, later));
    assert_true(ramet_entry_same(ramet_index_peek(replica, 5), gone));
    assert_true(ramet_index_swap(replica, 5, gone, later));
    assert_int_equal(atomic_load(absent), before);
    ramet_base_unlock(session);
    ramet_session_close(session);
}

static void
entries__near_and_far__are_each_their_own(void **state)
{
    static const uint32_t pages[] = {
        1,        2,         RAMET_CHUNK_ENTRIES, RAMET_CHUNK_ENTRIES + 1,
        1u << 31, UINT32_MAX};
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_replica *const replica = session->replica;
    const size_t count = sizeof(pages) / sizeof(pages[0]);

    assert_true(ramet_entry_is_none(ramet_index_peek(replica, UINT32_MAX)));
    OK(ramet_base_lock(session, RAMET_LOCK_WAIT_MS, e));
    for (size_t i = 0; i < count; i++) {
        OK(ramet_index_reserve(replica, pages[i], e));
        OK(ramet_index_reserve_retained(replica, pages[i], e));
        ramet_index_set(replica, pages[i],
                        ramet_entry_of_stamp(RAMET_ENTRY_HELD, 100 + i));
    }
    for (size_t i = 0; i < count; i++) {
        _Atomic uint64_t *const past =
            ramet_index_slot_at(replica, ramet_index_retained_slot(pages[i]));

        assert_true(
            ramet_entry_same(ramet_index_peek(replica, pages[i]),
                             ramet_entry_of_stamp(RAMET_ENTRY_HELD, 100 + i)));
        assert_non_null(past);
        assert_int_equal(atomic_load(past), 0);
    }
    ramet_base_unlock(session);
    ramet_session_close(session);
}

static void
words__that_only_grow__are_never_lowered(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_pos_word *const word =
        &session->replica->head->header.all.synced;
    const struct ramet_pos far = ramet_pos_make(1000, 4096);

    ramet_pos_raise(word, far);
    ramet_pos_raise(word, ramet_pos_first(999));
    assert_true(ramet_pos_same(ramet_pos_load(word), far));
    ramet_session_close(session);
}

/* It is a cache: what counts is state and log. */
static void
index__that_is_stale__is_rebuilt(void **state)
{
    static const size_t words[] = {0, 8, 16, 64, 72, 128, 4096, 8192};
    struct place *const p = *state;
    struct image *const image = place_image(3, 9 * PLACE_PAGE + 11);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    char path[300];

    OK(place_commit(session, image, e));
    ramet_session_close(session);
    snprintf(path, sizeof(path), "%s/index", p->dir);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        const uint64_t nonsense = UINT64_C(0xfeedfacecafebeef);
        const int fd = open(path, O_RDWR);

        assert_true(fd >= 0);
        assert_int_equal(
            pwrite(fd, &nonsense, sizeof(nonsense), (off_t)words[i]),
            sizeof(nonsense));
        close(fd);
        session = place_open(p, RAMET_OPEN_CREATE);
        place_expect(session, image, __LINE__);
        ramet_session_close(session);
    }
    image_unref(image);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(newest__after_more_publications_than_the_ring_has_slots__is_the_last),
        T(swap__of_an_entry_that_moved_on__is_refused),
        T(entries__near_and_far__are_each_their_own),
        T(words__that_only_grow__are_never_lowered),
        T(index__that_is_stale__is_rebuilt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
