/*
 * test_park.c - a process with many replicas: each does with few descriptors, and
 * finds again what it let go of.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "core/thread.h"

#define CROWD 16u
#define PAGES 8u
#define ROUNDS 150u

struct crowd {
    struct place *others[CROWD];
    struct ramet_session *sessions[CROWD];
    struct place *place;
};

static int
setup(void **state)
{
    struct crowd *const c = calloc(1, sizeof(*c));

    for (unsigned i = 0; i < CROWD; i++) {
        void *place = NULL;

        assert_int_equal(place_setup(&place), 0);
        c->others[i] = place;
        c->sessions[i] = place_open(c->others[i], RAMET_OPEN_CREATE);
    }
    assert_int_equal(place_setup((void **)&c->place), 0);
    *state = c;
    return 0;
}

static int
teardown(void **state)
{
    struct crowd *const c = *state;

    for (unsigned i = 0; i < CROWD; i++) {
        void *place = c->others[i];

        ramet_session_close(c->sessions[i]);
        place_teardown(&place);
    }
    place_teardown((void **)&c->place);
    free(c);
    return 0;
}

/* This process's descriptors of files in the replica's directory, that included. */
static unsigned
count_files(const struct place *p)
{
    DIR *const fds = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(fds);
    for (struct dirent *entry = readdir(fds); entry != NULL;
         entry = readdir(fds)) {
        char target[512];
        const ssize_t len =
            readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);

        if (len <= 0)
            continue;
        target[len] = '\0';
        count += strncmp(target, p->dir, strlen(p->dir)) == 0;
    }
    closedir(fds);
    return count;
}

static void
commit(struct ramet_session *session, uint64_t seed)
{
    struct image *const image = place_image(seed, 9 * PLACE_PAGE);

    OK(place_commit(session, image, e));
    place_expect(session, image, __LINE__);
    image_unref(image);
}

static void
replica_that_is_parked__keeps_its_directory_and_a_lock_and_goes_on(void **state)
{
    struct crowd *const c = *state;
    struct ramet_session *const session =
        place_open(c->place, RAMET_OPEN_CREATE);

    for (uint64_t seed = 1; seed < 4; seed++) {
        commit(session, seed);
        assert_true(count_files(c->place) > 2);
        ramet_session_park(session);
        assert_int_equal(count_files(c->place), 2);
    }
    commit(session, 4);
    ramet_session_close(session);
    assert_int_equal(count_files(c->place), 0);
}

/* Where the system can't write what it has of a file, a sync by another descriptor
 * need not tell. */
static void
replica_with_a_log_that_is_not_synced__keeps_that_open(void **state)
{
    struct crowd *const c = *state;
    struct ramet_session *const session =
        place_open(c->place, RAMET_OPEN_CREATE);

    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, "some", 4, e));
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    ramet_session_park(session);
    assert_int_equal(count_files(c->place), 3);
    commit(session, 2);
    ramet_session_park(session);
    assert_int_equal(count_files(c->place), 2);
    ramet_session_close(session);
}

static void
replica_at_work__is_not_parked(void **state)
{
    struct crowd *const c = *state;
    struct ramet_session *const session =
        place_open(c->place, RAMET_OPEN_CREATE);
    struct ramet_session *const writer = place_open(c->place, 0);
    unsigned before;

    commit(session, 1);
    OK(ramet_session_pin(writer, e));
    OK(ramet_session_reserve(writer, e));
    before = count_files(c->place);
    ramet_session_park(session);
    assert_int_equal(count_files(c->place), before);
    ramet_session_release(writer);
    ramet_session_unpin(writer);
    ramet_session_park(session);
    assert_true(count_files(c->place) < before);
    ramet_session_close(writer);
    ramet_session_close(session);
}

static void
reader_of_an_old_snapshot__goes_on_while_the_replica_is_parked(void **state)
{
    struct crowd *const c = *state;
    struct ramet_session *const session =
        place_open(c->place, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(c->place, 0);
    struct image *const old = place_image(1, 9 * PLACE_PAGE);
    uint8_t buf[9 * PLACE_PAGE];
    size_t got = 0;

    OK(place_commit(session, old, e));
    OK(ramet_session_pin(reader, e));
    for (uint64_t seed = 2; seed < 5; seed++) {
        ramet_session_park(session);
        commit(session, seed);
    }
    ramet_session_park(session);
    OK(ramet_session_read(reader, 0, buf, sizeof(buf), &got, e));
    assert_int_equal(got, sizeof(buf));
    assert_memory_equal(buf, old->bytes, sizeof(buf));
    ramet_session_unpin(reader);
    image_unref(old);
    ramet_session_close(reader);
    ramet_session_close(session);
}

/* ---- all at once ---------------------------------------------------------------- */

struct stress {
    struct place *place;
    atomic_bool over;
    atomic_uint wrong, read;
};

static void *
park_on(void *arg)
{
    struct stress *const s = arg;
    struct ramet_session *const session = place_open(s->place, 0);

    while (!atomic_load(&s->over))
        ramet_session_park(session);
    ramet_session_close(session);
    return NULL;
}

/* Each snapshot is of one byte. */
static void *
read_on(void *arg)
{
    struct stress *const s = arg;
    struct ramet_session *const session = place_open(s->place, 0);
    uint8_t buf[PAGES * PLACE_PAGE];

    while (!atomic_load(&s->over)) {
        size_t got = 0;

        if (ramet_session_pin(session, NULL) != RAMET_OK)
            continue;
        if (ramet_session_read(session, 0, buf, sizeof(buf), &got, NULL) !=
                RAMET_OK ||
            (got > 0 && (got != sizeof(buf) ||
                         memcmp(buf, buf + 1, sizeof(buf) - 1) != 0)))
            atomic_fetch_add(&s->wrong, 1);
        atomic_fetch_add(&s->read, 1);
        ramet_session_unpin(session);
    }
    ramet_session_close(session);
    return NULL;
}

static void
write_round(struct ramet_session *session, unsigned round)
{
    uint8_t page[PLACE_PAGE];
    enum ramet_rc rc;

    memset(page, (int)(round % 251 + 1), sizeof(page));
    do /* who parks has the lock for a moment */
        rc = ramet_session_pin(session, NULL);
    while (rc == RAMET_EBUSY);
    assert_int_equal(rc, RAMET_OK);
    OK(ramet_session_reserve(session, e));
    for (unsigned i = 0; i < PAGES; i++)
        OK(ramet_session_write(session, (uint64_t)i * PLACE_PAGE, page,
                               sizeof(page), e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

static void
replica_that_is_always_parked__serves_readers_and_a_writer(void **state)
{
    struct crowd *const c = *state;
    struct stress s = {.place = c->place};
    struct ramet_session *const session =
        place_open(c->place, RAMET_OPEN_CREATE);
    struct ramet_thread threads[3] = {{.running = false}};

    write_round(session, 0);
    OK(ramet_thread_start(&threads[0], "park", park_on, &s, e));
    OK(ramet_thread_start(&threads[1], "read", read_on, &s, e));
    OK(ramet_thread_start(&threads[2], "read", read_on, &s, e));
    for (unsigned round = 1; round < ROUNDS; round++)
        write_round(session, round);
    while (atomic_load(&s.read) == 0)
        usleep(100);
    atomic_store(&s.over, true);
    for (unsigned i = 0; i < 3; i++)
        ramet_thread_join(&threads[i]);
    assert_int_equal(atomic_load(&s.wrong), 0);
    ramet_session_close(session);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(replica_that_is_parked__keeps_its_directory_and_a_lock_and_goes_on),
        T(replica_with_a_log_that_is_not_synced__keeps_that_open),
        T(replica_at_work__is_not_parked),
        T(reader_of_an_old_snapshot__goes_on_while_the_replica_is_parked),
        T(replica_that_is_always_parked__serves_readers_and_a_writer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
