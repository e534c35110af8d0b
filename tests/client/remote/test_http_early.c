/*
 * test_http_early.c - an answer that came before its question.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "client/remote/http_early.h"

#define PREFIX "volumes/1/commits/"
#define KEY "volumes/1/commits/1"

struct asked {
    struct ramet_http_early *early;
    bool was_told;
};

static void *
note_it(void *ctx)
{
    struct asked *const asked = ctx;

    ramet_http_early_note(asked->early, PREFIX, KEY, NULL);
    return NULL;
}

static void *
take_it(void *ctx)
{
    struct asked *const asked = ctx;
    char key[RAMET_KEY_MAX];
    struct ramet_hash hash;

    asked->was_told = ramet_http_early_take(asked->early, PREFIX, key, &hash);
    return NULL;
}

/* From its beginning to its end. */
static void
run_thread(void *(*run)(void *), struct asked *asked)
{
    struct ramet_thread thread = {.running = false};
    struct ramet_err err;

    assert_int_equal(ramet_thread_start(&thread, "asker", run, asked, &err),
                     RAMET_OK);
    ramet_thread_join(&thread);
}

static void
answer__is_had_once_by_who_was_told(void **state)
{
    struct ramet_http_early early;
    struct asked asked = {.early = &early};
    const struct ramet_hash told = {.bytes = {7}};
    struct ramet_hash hash;
    char key[RAMET_KEY_MAX];

    (void)state;
    ramet_http_early_init(&early);
    ramet_http_early_note(&early, PREFIX, KEY, &told);
    run_thread(take_it, &asked);
    assert_false(asked.was_told);
    assert_false(ramet_http_early_take(&early, "volumes/1/maps/", key, &hash));
    assert_true(ramet_http_early_take(&early, PREFIX, key, &hash));
    assert_string_equal(key, KEY);
    assert_memory_equal(&hash, &told, sizeof(hash));
    assert_false(ramet_http_early_take(&early, PREFIX, key, &hash));
    ramet_http_early_done(&early);
}

static void
answer__that_was_forgotten_is_had_by_nobody(void **state)
{
    struct ramet_http_early early;
    struct asked asked = {.early = &early};

    (void)state;
    ramet_http_early_init(&early);
    ramet_http_early_note(&early, PREFIX, KEY, NULL);
    ramet_http_early_forget(&early);
    take_it(&asked);
    assert_false(asked.was_told);
    ramet_http_early_done(&early);
}

/* Whose memory may be where the first one's was. */
static void
answer__of_a_thread_that_ended_is_not_the_next_threads(void **state)
{
    struct ramet_http_early early;
    struct asked asked = {.early = &early};

    (void)state;
    ramet_http_early_init(&early);
    run_thread(note_it, &asked);
    run_thread(take_it, &asked);
    assert_false(asked.was_told);
    ramet_http_early_done(&early);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answer__is_had_once_by_who_was_told),
        cmocka_unit_test(answer__that_was_forgotten_is_had_by_nobody),
        cmocka_unit_test(
            answer__of_a_thread_that_ended_is_not_the_next_threads),
    };

    return cmocka_run_group_tests_name("http_early", tests, NULL, NULL);
}
