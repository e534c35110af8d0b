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
#include <stdlib.h>

#define OPERATIONS 300
#define SAME_PLAYS 16u

struct choice {
    unsigned weight;
    const char *name;
    void (*act)(struct play *play);
};
#define CHOICE(weight, act)                                                    \
    {                                                                          \
        weight, #act, act                                                      \
    }

static void
whole_commit(struct play *play)
{
    if (play->writer < 0)
        play_reserve(play);
    if (play->writer < 0)
        return;
    for (uint64_t i = 1 + store_below(&play->rng, 4); i > 0; i--)
        play_write(play);
    play_publish(play);
    play_release(play);
}

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

/* So many that checkpoints pass whoever stays pinned; mostly by one session, so
 * that others do. */
static void
many_generations(struct play *play)
{
    for (uint64_t i = 5 + store_below(&play->rng, 6); i > 0; i--) {
        play_reserve_newest(play);
        if (store_chance(&play->rng, 20))
            play_truncate(play);
        play_write(play);
        play_publish(play);
        play_release(play);
        if (store_chance(&play->rng, 20))
            play_pull(play);
        if (store_chance(&play->rng, 10))
            play_pin(play);
        if (play->writer < 0)
            OK(ramet_session_checkpoint(play_any(play)->session, true, e));
        play_read(play);
    }
    play_read_all(play);
    play_read_all(play);
}

static const struct choice choices[] = {
    CHOICE(4, play_open),          CHOICE(4, play_close),
    CHOICE(1, play_close_all),     CHOICE(8, play_pin),
    CHOICE(6, play_unpin),         CHOICE(14, play_read),
    CHOICE(4, play_read_all),      CHOICE(8, play_reserve),
    CHOICE(12, play_write),        CHOICE(4, play_truncate),
    CHOICE(5, play_prepare),       CHOICE(5, play_publish),
    CHOICE(2, play_discard),       CHOICE(3, play_release),
    CHOICE(8, whole_commit),       CHOICE(3, shrink_and_regrow),
    CHOICE(2, play_remote_commit), CHOICE(4, play_pull),
    CHOICE(3, play_freeze),        CHOICE(3, play_settle_intent),
    CHOICE(2, play_state),         CHOICE(4, play_fill),
    CHOICE(2, play_absent),        CHOICE(6, play_upkeep),
    CHOICE(3, many_generations),
};
#define CHOICES (sizeof(choices) / sizeof(choices[0]))

static void
act(struct play *play)
{
    unsigned total = 0;
    uint64_t at;

    for (size_t i = 0; i < CHOICES; i++)
        total += choices[i].weight;
    at = store_below(&play->rng, total);
    for (size_t i = 0; i < CHOICES; i++) {
        if (at < choices[i].weight) {
            if (getenv("RAMET_TEST_TRACE") != NULL)
                printf("%s\n", choices[i].name);
            choices[i].act(play);
            return;
        }
        at -= choices[i].weight;
    }
}

static struct play play;

static int
teardown(void **state)
{
    (void)state;
    if (play.folder[0] != '\0')
        printf("the play with RAMET_TEST_SEED=%llu failed\n",
               (unsigned long long)play.seed);
    play_drop(&play);
    return 0;
}

static void
one_play(uint64_t seed)
{
    play_begin(&play, seed);
    for (int i = 0; i < OPERATIONS; i++)
        act(&play);
    play_end(&play);
}

static void
store__the_same_operations__as_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SAME_PLAYS; seed++)
        one_play(seed);
}

/* 769662991: a checkpoint wrote what was cut off before the file grew again. */
static void
store__operations_that_once_failed__as_the_model(void **state)
{
    static const uint64_t seeds[] = {769662991};

    (void)state;
    for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
        one_play(seeds[i]);
}

static void
store__random_operations__as_the_model(void **state)
{
    const double end = store_now() + store_seconds(10);
    uint64_t seed = store_seed("test_store_model");
    unsigned plays = 0;

    (void)state;
    do {
        one_play(seed++);
        plays++;
    } while (store_now() < end);
    printf("%u plays of %d operations\n", plays, OPERATIONS);
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
