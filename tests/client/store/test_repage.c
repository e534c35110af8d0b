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

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(transaction__prepared_again_in_another_file__leaves_nothing_of_the_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
