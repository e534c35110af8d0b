/*
 * test_model.c - random operations against a model.
 *
 * The first plays are the same in each run; then others follow, from a seed of
 * the clock on, until the time is up. Each has a seed one above that of the play
 * before. RAMET_TEST_SEED repeats from one on, RAMET_TEST_SECONDS makes it long.
 */
#include "client/store/exchange.h"
#include "tests/client/store/store_play.h"

#include "tests/support/cmocka_all.h"

#include <stdio.h>

#define OPERATIONS 300
#define SAME_PLAYS 16u

/* Shrink in one commit, regrow in another: what was cut off is zeros. */
static void
shrink_and_regrow(struct play *play)
{
    for (int i = 0; i < 2; i++) {
        if (play->writer < 0)
            play_reserve(play);
        if (play->writer < 0)
            return;
        play_truncate(play);
        play_publish(play);
        play_release(play);
        if (store_chance(&play->rng, 30))
            play_upkeep(play);
    }
}

static const struct play_choice choices[] = {
    PLAY_CHOICE(4, play_open),          PLAY_CHOICE(4, play_close),
    PLAY_CHOICE(1, play_close_all),     PLAY_CHOICE(8, play_pin),
    PLAY_CHOICE(6, play_unpin),         PLAY_CHOICE(14, play_read),
    PLAY_CHOICE(4, play_read_all),      PLAY_CHOICE(8, play_reserve),
    PLAY_CHOICE(12, play_write),        PLAY_CHOICE(4, play_truncate),
    PLAY_CHOICE(5, play_prepare),       PLAY_CHOICE(5, play_publish),
    PLAY_CHOICE(2, play_discard),       PLAY_CHOICE(3, play_release),
    PLAY_CHOICE(8, play_commit),        PLAY_CHOICE(3, shrink_and_regrow),
    PLAY_CHOICE(2, play_remote_commit), PLAY_CHOICE(4, play_pull),
    PLAY_CHOICE(3, play_freeze),        PLAY_CHOICE(3, play_resolve_intent),
    PLAY_CHOICE(2, play_state),         PLAY_CHOICE(4, play_fetched),
    PLAY_CHOICE(2, play_absent),        PLAY_CHOICE(6, play_upkeep),
    PLAY_CHOICE(3, play_log_files),
};

static struct play play;

static int
teardown(void **state)
{
    (void)state;
    play_told_and_dropped(&play);
    return 0;
}

static void
play_it(uint64_t seed, bool is_old)
{
    play_begin(&play, seed);
    play.is_old = is_old;
    for (int i = 0; i < OPERATIONS; i++)
        play_choose(&play, choices, sizeof(choices) / sizeof(choices[0]));
    play_end(&play);
}

static void
one_play(uint64_t seed)
{
    play_it(seed, false);
}

static void
one_old_play(uint64_t seed)
{
    play_it(seed, true);
}

static void
store__the_same_operations__as_the_model(void **state)
{
    (void)state;
    play_first(one_play, SAME_PLAYS);
}

/* 769662991: a checkpoint wrote what was cut off before the file grew again. */
static void
store__operations_that_once_failed__as_the_model(void **state)
{
    static const uint64_t seeds[] = {769662991};

    (void)state;
    play_seeds(one_old_play, seeds, sizeof(seeds) / sizeof(seeds[0]));
}

static void
store__random_operations__as_the_model(void **state)
{
    (void)state;
    play_on(one_play, "test_store_model", 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(store__the_same_operations__as_the_model,
                                  teardown),
        cmocka_unit_test_teardown(
            store__operations_that_once_failed__as_the_model, teardown),
        cmocka_unit_test_teardown(store__random_operations__as_the_model,
                                  teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
