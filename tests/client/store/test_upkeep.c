/*
 * test_upkeep.c - random checkpoints, evictions, fetched pages, pulls and closes, over
 * files that are cut and grow again, with readers that stay and processes that
 * die, against a model.
 *
 * The first plays are the same in each run; then others follow, from a seed of
 * the clock on, until the time is up. RAMET_TEST_SEED repeats from one on,
 * RAMET_TEST_SECONDS makes it long.
 */
#include "tests/client/store/store_play.h"

#include "tests/support/cmocka_all.h"

#include <stdio.h>

#define OPERATIONS 120
#define SAME_PLAYS 8u

static const struct play_choice choices[] = {
    PLAY_CHOICE(3, play_open),           PLAY_CHOICE(3, play_close),
    PLAY_CHOICE(2, play_close_all),      PLAY_CHOICE(8, play_pin),
    PLAY_CHOICE(4, play_unpin),          PLAY_CHOICE(6, play_read),
    PLAY_CHOICE(4, play_read_all),       PLAY_CHOICE(6, play_commit),
    PLAY_CHOICE(12, play_cuts),          PLAY_CHOICE(2, play_stairs),
    PLAY_CHOICE(6, play_pull),           PLAY_CHOICE(2, play_freeze),
    PLAY_CHOICE(3, play_resolve_intent), PLAY_CHOICE(1, play_state),
    PLAY_CHOICE(6, play_fetched),        PLAY_CHOICE(2, play_absent),
    PLAY_CHOICE(16, play_upkeep),        PLAY_CHOICE(3, play_log_files),
    PLAY_CHOICE(8, play_death),          PLAY_CHOICE(3, play_lonely_death),
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
    play.remote.brings_neighbours = seed % 2 == 1;
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
upkeep__the_same_operations__as_the_model(void **state)
{
    (void)state;
    play_first(one_play, SAME_PLAYS);
}

/* 773963066: a checkpoint died over a cut, and the file grew again. 10000712: an
 * eviction died before presence knew. */
static void
upkeep__operations_that_once_failed__as_the_model(void **state)
{
    static const uint64_t seeds[] = {773963066, 10000712};

    (void)state;
    play_seeds(one_old_play, seeds, sizeof(seeds) / sizeof(seeds[0]));
}

/* 13: who put the mark on died right after it. */
static void
upkeep__deaths_that_once_left_something__leave_nothing(void **state)
{
    static const uint64_t seeds[] = {13};

    (void)state;
    play_seeds(one_play, seeds, sizeof(seeds) / sizeof(seeds[0]));
}

static void
upkeep__random_operations__as_the_model(void **state)
{
    (void)state;
    play_on(one_play, "test_store_upkeep", 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(upkeep__the_same_operations__as_the_model,
                                  teardown),
        cmocka_unit_test_teardown(
            upkeep__operations_that_once_failed__as_the_model, teardown),
        cmocka_unit_test_teardown(
            upkeep__deaths_that_once_left_something__leave_nothing, teardown),
        cmocka_unit_test_teardown(upkeep__random_operations__as_the_model,
                                  teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
