/*
 * test_crash.c - the power goes, and calls fail, at each operation.
 *
 * RAMET_TEST_SEED repeats a run, RAMET_TEST_SECONDS (60 and more) makes it
 * long: then more of the operations are tried, with more seeds.
 * RAMET_TEST_ONLY is a pattern for the names of the tests to run.
 *
 *   test_store_crash cuts     the power goes, at each of the operations
 *   test_store_crash faults   calls fail
 *   test_store_crash memory   allocations fail
 *   test_store_crash          all of it
 */
#include "client/store/exchange.h"
#include "tests/client/store/store_crash.h"

#include "tests/support/cmocka_all.h"
#include "tests/support/powercut.h"

#include "core/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct crash_world world;
static uint64_t seed;
static unsigned stops_wanted = 100;
static unsigned seeds_wanted = 1;
static unsigned kills_wanted = 60;
static unsigned faults_wanted = 24; /* one after another, before it skips */

static int
teardown(void **state)
{
    (void)state;
    if (world.faults != NULL)
        crash_end(&world);
    return 0;
}

/* State-changing operations of the whole act. */
static long
count_changes(const struct crash_scenario *scenario)
{
    long before;
    long changes;

    crash_begin(&world, scenario, seed);
    before = faultos_changes(world.faults);
    CRASH_OK(&world, scenario->act(&world, e));
    changes = faultos_changes(world.faults) - before;
    crash_end(&world);
    return changes;
}

static void
cut_power(const struct crash_scenario *scenario, long stop, uint64_t crash_seed)
{
    struct powercut cut;

    crash_begin(&world, scenario, seed);
    world.stop = stop;
    world.crash_seed = crash_seed;
    powercut_begin(&cut, world.faults);
    cut.round = stop;
    powercut_arm(&cut);
    (void)!scenario->act(&world, NULL);
    crash_close(&world);
    powercut_strike_always(&cut, crash_seed);
    crash_check(&world);
    crash_end(&world);
}

static void
power_cut__at_each_operation__loses_nothing(void **state)
{
    const struct crash_scenario *const scenario = *state;
    const long changes = count_changes(scenario);
    const long step = changes / (long)stops_wanted + 1;
    uint64_t rng = seed;

    /* What the background does may come on top. */
    for (long at = 0; at < changes + 3; at += step) {
        const long stop = at + (long)store_below(&rng, (uint64_t)step);

        cut_power(scenario, stop, 0);
        cut_power(scenario, stop, 1);
        for (unsigned i = 0; i < seeds_wanted; i++)
            cut_power(scenario, stop, store_random(&rng));
    }
    printf("%s: %ld operations\n", scenario->name, changes);
}

/* A process dies at some operation, the next one at another, and then the power goes:
 * what the first had not synced yet may go with it, though the second has seen it. */
static void
power_cut__after_a_kill__loses_nothing(void **state)
{
    const struct crash_scenario *const scenario = *state;
    const long changes = count_changes(scenario);
    const long step = changes / (long)kills_wanted + 1;
    uint64_t rng = seed;

    for (long at = 0; at < changes; at += step) {
        crash_begin(&world, scenario, seed);
        world.stop = at + (long)store_below(&rng, (uint64_t)step);
        world.crash_seed =
            store_chance(&rng, 70) ? store_below(&rng, 4) : store_random(&rng);
        faultos_stop_at(world.faults, world.stop);
        (void)!scenario->act(&world, NULL);
        crash_close(&world);
        faultos_stop_at(world.faults, (long)store_below(&rng, 12));
        (void)!crash_open(&world, world.open_flags, &world.session, NULL);
        crash_close(&world);
        faultos_stop_at(world.faults, 0);
        faultos_crash(world.faults, world.crash_seed);
        crash_check(&world);
        crash_end(&world);
    }
}

/* Seed 3: the name of presence was not synced by whoever made it, and died, nor by who
 * wrote words into it then. */
static void
power_cut__after_a_kill_of_old__loses_nothing(void **state)
{
    const uint64_t before = seed;

    seed = 3;
    power_cut__after_a_kill__loses_nothing(state);
    seed = before;
}

/* One call fails. True when it did not come to that. */
static bool
fail_once(const struct crash_scenario *scenario, unsigned classes, long nth,
          int errnum, bool and_later)
{
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc;
    bool failed;

    crash_begin(&world, scenario, seed);
    world.stop = nth;
    world.crash_seed = classes * 1000 + (uint64_t)errnum;
    faultos_fail_at(world.faults, classes, nth, errnum, and_later);
    rc = scenario->act(&world, &err);
    failed = faultos_has_failed(world.faults);
    faultos_fail_at(world.faults, 0, -1, 0, false);
    if (rc != RAMET_OK && !failed)
        crash_fail(&world, __LINE__, "the act", err.text);
    if (rc != RAMET_OK && err.text[0] == '\0')
        crash_fail(&world, __LINE__, "an error", "without words");
    if (!and_later && failed)
        crash_check_open(&world);
    crash_close(&world);
    crash_check(&world);
    crash_end(&world);
    return !failed;
}

static void
run_faults(const struct crash_scenario *scenario, unsigned classes, int errnum,
           bool and_later)
{
    const unsigned wanted = faults_wanted;
    uint64_t rng = seed;
    long nth = 0;

    for (unsigned i = 0; i < wanted * 3; i++) {
        if (fail_once(scenario, classes, nth, errnum, and_later))
            return;
        nth += i < wanted ? 1 : 1 + (long)store_below(&rng, 20);
    }
}

static void
call__fails__error_and_nothing_lost(void **state)
{
    const struct crash_scenario *const scenario = *state;

    run_faults(scenario, FAULTOS_WRITE, EIO, false);
    run_faults(scenario, FAULTOS_WRITE | FAULTOS_NAME, ENOSPC, true);
    run_faults(scenario, FAULTOS_SYNC, EIO, false);
    run_faults(scenario, FAULTOS_READ, EIO, false);
    run_faults(scenario, FAULTOS_OPEN | FAULTOS_NAME, EMFILE, false);
}

/* One allocation fails, in the act or in what goes on beside it; whoever comes then
 * has enough again. True when it did not come to that. */
static bool
starve_once(const struct crash_scenario *scenario, long nth)
{
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc;

    crash_begin(&world, scenario, seed);
    world.stop = nth;
    ramet_alloc_fail_at(nth);
    rc = scenario->act(&world, &err);
    ramet_alloc_fail_at(-1);
    if (rc != RAMET_OK && err.text[0] == '\0')
        crash_fail(&world, __LINE__, "an error", "without words");
    crash_check_open(&world);
    crash_close(&world);
    crash_check(&world);
    crash_end(&world);
    return rc == RAMET_OK;
}

static void
allocation__fails__error_and_nothing_lost(void **state)
{
    const struct crash_scenario *const scenario = *state;
    uint64_t rng = seed;
    unsigned fine = 0; /* in a row: it does without, or there are no more */
    long nth = 0;

    for (unsigned i = 0; i < 2 * faults_wanted && fine < 12; i++) {
        fine = starve_once(scenario, nth) ? fine + 1 : 0;
        nth += i < faults_wanted ? 1 : 1 + (long)store_below(&rng, 12);
    }
}

/* A sync fails, the next succeeds, the power goes: what the next sync has
 * acknowledged is there. */
static void
power_cut__after_a_failed_sync__loses_nothing(void **state)
{
    const struct crash_scenario *const scenario = *state;
    uint64_t rng = seed;
    bool done = false;

    for (long nth = 0; nth < 40 && !done; nth++) {
        crash_begin(&world, scenario, seed);
        world.stop = nth;
        world.crash_seed = store_random(&rng);
        faultos_fail_at(world.faults, FAULTOS_SYNC, nth, EIO, false);
        (void)!scenario->act(&world, NULL);
        done = !faultos_has_failed(world.faults);
        faultos_fail_at(world.faults, 0, -1, 0, false);
        if (world.session != NULL)
            CRASH_OK(&world, crash_commit(&world, 3, true, e));
        faultos_stop_at(world.faults, 0);
        crash_close(&world);
        faultos_crash(world.faults, world.crash_seed);
        crash_check(&world);
        crash_end(&world);
    }
}

/* A sync fails, and with it a checkpoint; the next one is cut off somewhere: what
 * the failed sync was to make durable has to be written again before it counts. */
static void
power_cut__in_a_checkpoint_after_a_failed_sync__loses_nothing(void **state)
{
    const struct crash_scenario *const scenario = *state;
    uint64_t rng = seed;
    bool done = false;

    for (long nth = 0; nth < 40 && !done; nth++) {
        crash_begin(&world, scenario, seed);
        world.stop = nth;
        world.crash_seed = store_random(&rng);
        faultos_fail_at(world.faults, FAULTOS_SYNC, nth, EIO, false);
        (void)!scenario->act(&world, NULL);
        if (world.session != NULL)
            (void)!ramet_session_checkpoint(world.session, true, NULL);
        done = !faultos_has_failed(world.faults);
        faultos_fail_at(world.faults, 0, -1, 0, false);
        faultos_stop_at(world.faults, (long)store_below(&rng, 40));
        if (world.session != NULL)
            (void)!ramet_session_checkpoint(world.session, true, NULL);
        crash_close(&world);
        faultos_crash(world.faults, world.crash_seed);
        crash_check(&world);
        crash_end(&world);
    }
}

static void
transfers__cut_short__as_if_whole(void **state)
{
    const struct crash_scenario *const scenario = *state;

    crash_begin(&world, scenario, seed);
    faultos_cut_transfers(world.faults, seed | 1);
    CRASH_OK(&world, scenario->act(&world, e));
    crash_check_open(&world);
    crash_close(&world);
    faultos_cut_transfers(world.faults, 0);
    crash_check(&world);
    crash_end(&world);
}

enum { TESTS_MAX = 256 };

static struct CMUnitTest
test_of(const char *name, CMUnitTestFunction run, unsigned i)
{
    static char names[TESTS_MAX][96];
    static unsigned used;
    char *const full = names[used++];

    assert_true(used <= TESTS_MAX);
    snprintf(full, sizeof(names[0]), "%s: %s", name, crash_scenarios[i].name);
    return (struct CMUnitTest){full, run, NULL, teardown,
                               (void *)(uintptr_t)&crash_scenarios[i]};
}

int
main(int argc, char **argv)
{
    const bool cuts = argc < 2 || strcmp(argv[1], "cuts") == 0;
    const bool faults = argc < 2 || strcmp(argv[1], "faults") == 0;
    const bool memory = argc < 2 || strcmp(argv[1], "memory") == 0;
    struct CMUnitTest tests[TESTS_MAX];
    unsigned count = 0;

    seed = store_seed("test_store_crash");
    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    if (store_seconds(0) >= 60) {
        stops_wanted = kills_wanted = faults_wanted = 1000;
        seeds_wanted = (unsigned)(store_seconds(0) / 10);
    }
    for (unsigned i = 0; i < crash_scenario_count; i++) {
        if (cuts) {
            tests[count++] = test_of(
                "power cut", power_cut__at_each_operation__loses_nothing, i);
            tests[count++] = test_of("kill, power cut",
                                     power_cut__after_a_kill__loses_nothing, i);
            if (strcmp(crash_scenarios[i].name, "adopt") == 0)
                tests[count++] =
                    test_of("kill, power cut, seed 3",
                            power_cut__after_a_kill_of_old__loses_nothing, i);
        }
        if (memory)
            tests[count++] =
                test_of("memory", allocation__fails__error_and_nothing_lost, i);
        if (!faults)
            continue;
        tests[count++] =
            test_of("fault", call__fails__error_and_nothing_lost, i);
        tests[count++] = test_of(
            "failed sync", power_cut__after_a_failed_sync__loses_nothing, i);
        tests[count++] = test_of(
            "failed sync, checkpoint",
            power_cut__in_a_checkpoint_after_a_failed_sync__loses_nothing, i);
        tests[count++] =
            test_of("short transfers", transfers__cut_short__as_if_whole, i);
    }
    return _cmocka_run_group_tests("store_crash", tests, count, NULL, NULL);
}
