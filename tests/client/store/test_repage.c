/*
 * test_repage.c - transactions that change the size of pages, such as VACUUM's,
 * and what of them is in the log.
 */
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "client/store/store.h"

#define LARGER (2 * PLACE_PAGE)

static struct ramet_session *
open_database(const char *path, unsigned flags)
{
    const struct ramet_replica_options options = {
        .flags = flags, .kind = RAMET_KIND_SQLITE, .page_size = PLACE_PAGE};
    struct ramet_session *session;

    OK(ramet_session_open(path, &options, &session, e));
    return session;
}

static struct image *
database(uint64_t seed, uint32_t page_size)
{
    struct image *const image = place_image(seed, 8 * PLACE_PAGE);

    image_put_header(image, page_size, (uint32_t)seed);
    return image;
}

/* Of a transaction that is prepared twice, as SQLite does where it is synced before
 * its end, both records stand behind the same one: in files of their own, where the
 * size of pages changed between. */
static void
transaction__prepared_again_in_another_file__leaves_nothing_of_the_first(
    void **state)
{
    struct place *const p = *state;
    struct image *const before = database(1, PLACE_PAGE);
    struct image *const first = database(2, PLACE_PAGE);
    struct image *const second = database(2, LARGER);
    struct ramet_session *session = open_database(p->path, RAMET_OPEN_CREATE);
    char copy[200];

    snprintf(copy, sizeof(copy), "%s/copy", p->folder);
    memcpy(second->bytes + 100, first->bytes + 100, first->size - 100);
    OK(place_commit(session, before, e));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    for (uint64_t at = 0; at < first->size; at += PLACE_PAGE)
        OK(ramet_session_write(session, at, first->bytes + at, PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    OK(ramet_session_write(session, 0, second->bytes, PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    place_copy(p, copy); /* as a kill leaves it */
    second->page_size = LARGER;
    place_expect(session, second, __LINE__);
    ramet_session_close(session);

    session = open_database(copy, 0);
    place_expect(session, second, __LINE__);
    ramet_session_close(session);
    image_unref(second);
    image_unref(first);
    image_unref(before);
}

/* Who waits is told that time is over as soon as he has looked once. */
static uint64_t slept_ns;

static void
sleep_in_no_time(void *ctx, uint64_t us)
{
    (void)ctx;
    slept_ns += us * 1000 + 10000000000;
}

static uint64_t
mono_ns_slept(void *ctx)
{
    return ramet_os_system()->mono_ns(ctx) + slept_ns;
}

/* Readers of the empty file before it don't care; one of a file before that does. */
static void
emptied_file__gets_larger_pages__waits_for_who_reads_the_older_ones(
    void **state)
{
    struct place *const p = *state;
    struct ramet_os os = *ramet_os_system();
    const struct ramet_replica_options options = {.flags = RAMET_OPEN_CREATE,
                                                  .os = &os,
                                                  .kind = RAMET_KIND_SQLITE,
                                                  .page_size = PLACE_PAGE};
    struct image *const before = database(1, PLACE_PAGE);
    struct image *const after = database(2, LARGER);
    struct ramet_session *session, *reader;

    os.sleep_us = sleep_in_no_time;
    os.mono_ns = mono_ns_slept;
    OK(ramet_session_open(p->path, &options, &session, e));
    OK(ramet_session_open(p->path, &options, &reader, e));
    OK(place_commit(session, before, e));
    OK(ramet_session_pin(reader, e));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_truncate(session, 0, e));
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    for (uint64_t at = 0; at < after->size; at += LARGER)
        OK(ramet_session_write(session, at, after->bytes + at, LARGER, e));
    assert_int_equal(ramet_session_prepare(session, NULL, NULL),
                     RAMET_ESNAPSHOT);
    store_expect(reader, before, __LINE__);
    ramet_session_unpin(reader);
    for (uint64_t at = 0; at < after->size; at += LARGER)
        OK(ramet_session_write(session, at, after->bytes + at, LARGER, e));
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    after->page_size = LARGER;
    place_expect(reader, after, __LINE__);
    ramet_session_close(reader);
    ramet_session_close(session);
    image_unref(after);
    image_unref(before);
}

/* The snapshot's stands in memory: a transaction of one's own is over it. */
static void
header__written_in_a_transaction__is_read_there(void **state)
{
    struct place *const p = *state;
    struct image *const before = database(1, PLACE_PAGE);
    struct image *const after = database(2, PLACE_PAGE);
    struct ramet_session *const session =
        open_database(p->path, RAMET_OPEN_CREATE);
    uint8_t header[100];
    size_t got;

    OK(place_commit(session, before, e));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, after->bytes, PLACE_PAGE, e));
    OK(ramet_session_read(session, 0, header, sizeof(header), &got, e));
    assert_memory_equal(header, after->bytes, sizeof(header));
    ramet_session_discard(session);
    OK(ramet_session_read(session, 0, header, sizeof(header), &got, e));
    assert_memory_equal(header, before->bytes, sizeof(header));
    ramet_session_close(session);
    image_unref(after);
    image_unref(before);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(transaction__prepared_again_in_another_file__leaves_nothing_of_the_first),
        T(header__written_in_a_transaction__is_read_there),
        T(emptied_file__gets_larger_pages__waits_for_who_reads_the_older_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
