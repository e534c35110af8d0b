/*
 * test_cuts.c - short transactions that cut a small file and let it grow, prepare
 * more than once and are taken back: what a transaction sees of itself, what its
 * record says to who has nothing else, and what is in the base in the end.
 *
 * Each round is a process of its own, which leaves without a close: the next one
 * has what the log says. RAMET_TEST_SEED chooses them, RAMET_TEST_ROUNDS how many.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES_MAX 7u
#define ROUNDS 1000u
#define TRANSACTIONS 3u /* a round */
#define STEPS 6u        /* of a transaction, at most */

/* ---- a transaction -------------------------------------------------------- */

static struct ramet_err failure;

static void
require(enum ramet_rc rc, const char *what)
{
    child_require(rc == RAMET_OK, what, &failure);
}

/* What the session sees is the image, its own writes included. */
static void
compare(struct ramet_session *session, const struct image *image)
{
    const uint64_t size = ramet_session_size(session);
    uint8_t *const bytes = malloc(image->size + 1);
    size_t got = 0;

    child_require(size == image->size, "the size is another", NULL);
    require(
        ramet_session_read(session, 0, bytes, image->size + 1, &got, &failure),
        "read");
    child_require(got == image->size &&
                      memcmp(bytes, image->bytes, image->size) == 0,
                  "the bytes are others", NULL);
    free(bytes);
}

/* A page mostly, else any bytes. */
static void
write_some(struct ramet_session *session, struct image *image, uint64_t *rng)
{
    uint8_t bytes[PLACE_PAGE];
    uint64_t offset = store_below(rng, PAGES_MAX) * PLACE_PAGE;
    size_t len = sizeof(bytes);

    store_random_bytes(rng, bytes, sizeof(bytes));
    if (store_chance(rng, 20)) {
        offset += store_below(rng, PLACE_PAGE);
        len = 1 + store_below(rng, PLACE_PAGE);
    }
    image_write(image, offset, bytes, len);
    if (session != NULL)
        require(ramet_session_write(session, offset, bytes, len, &failure),
                "write");
}

/* Cut it, or let it grow. */
static void
resize(struct ramet_session *session, struct image *image, uint64_t *rng)
{
    uint64_t size = store_below(rng, PAGES_MAX + 1) * PLACE_PAGE;

    if (store_chance(rng, 20))
        size += store_below(rng, PLACE_PAGE);
    image_resize(image, size);
    if (session != NULL)
        require(ramet_session_truncate(session, size, &failure), "truncate");
}

/* `session` NULL: the image alone. Returns what is there afterwards. */
static struct image *
play(struct ramet_session *session, struct image *before, uint64_t *rng)
{
    struct image *image = image_copy(before);

    if (session != NULL) {
        require(ramet_session_pin(session, &failure), "pin");
        require(ramet_session_reserve(session, &failure), "reserve");
        compare(session, image);
    }
    for (uint64_t i = 1 + store_below(rng, STEPS); i > 0; i--) {
        const uint64_t what = store_below(rng, 16);

        if (what < 6)
            write_some(session, image, rng);
        else if (what < 12)
            resize(session, image, rng);
        else if (what < 15 && session != NULL)
            require(ramet_session_prepare(session, NULL, &failure), "prepare");
        else if (what == 15) {
            image_unref(image);
            image = image_copy(before);
            if (session != NULL)
                ramet_session_discard(session);
        }
        if (session != NULL)
            compare(session, image);
    }
    if (session != NULL) {
        require(ramet_session_prepare(session, NULL, &failure), "prepare");
        require(ramet_session_sync(session, &failure), "sync");
        ramet_session_publish(session);
        ramet_session_release(session);
        ramet_session_unpin(session);
    }
    image_unref(before);
    return image;
}

/* ---- rounds --------------------------------------------------------------- */

static struct image *
play_all(struct ramet_session *session, struct image *image, uint64_t *rng)
{
    for (unsigned i = 0; i < TRANSACTIONS; i++) {
        image = play(session, image, rng);
        if (store_chance(rng, 25) && session != NULL)
            require(ramet_session_checkpoint(session, true, &failure),
                    "checkpoint");
    }
    return image;
}

/* By a process that closes nothing. */
static struct image *
play_in_child(struct place *p, struct image *image, uint64_t *rng)
{
    const pid_t child = child_fork();

    if (child == 0) {
        (void)play_all(place_open_in_child(p), image, rng);
        _exit(0);
    }
    child_await(child);
    return play_all(NULL, image, rng);
}

/* Closed, the plain file is it, to the byte. */
static void
expect_plain(const struct place *p, const struct image *image)
{
    uint8_t *const bytes = malloc(image->size + 1);
    const int fd = open(p->path, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, image->size + 1), image->size);
    assert_memory_equal(bytes, image->bytes, image->size);
    close(fd);
    free(bytes);
}

static void
transactions_that_cut_and_grow__are_what_the_log_says(void **state)
{
    struct place *const p = *state;
    const char *const asked = getenv("RAMET_TEST_ROUNDS");
    const unsigned long rounds =
        asked == NULL ? ROUNDS : strtoul(asked, NULL, 10);
    uint64_t rng = store_seed("test_store_cuts");
    struct image *image = image_new(0, PLACE_PAGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);

    ramet_session_close(session);
    for (unsigned long i = 0; i < rounds; i++) {
        const bool closes = store_chance(&rng, 50);

        image = play_in_child(p, image, &rng);
        if (!closes)
            continue;
        session = place_open(p, 0);
        place_expect(session, image, __LINE__);
        ramet_session_close(session);
        expect_plain(p, image);
    }
    image_unref(image);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            transactions_that_cut_and_grow__are_what_the_log_says, place_setup,
            place_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
