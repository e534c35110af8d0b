/*
 * test_pace.c - what a link is found to be like, with a clock of the test's own.
 */
#include "tests/support/cmocka_all.h"

#include "client/remote/pace.h"

#define MS UINT64_C(1000000)

/* A request alone at `at`: 20 ms to its answer, then 12.5 MB/s. */
static void
run_alone(struct ramet_pace *pace, uint64_t at, size_t bytes)
{
    struct ramet_pace_run run;
    const uint64_t first = at + 20 * MS;
    const uint64_t end = first + bytes * 80; /* ns a byte */

    ramet_pace_begin(pace, &run);
    ramet_pace_bytes(pace, &run, 1000, first);
    ramet_pace_bytes(pace, &run, bytes, end);
    ramet_pace_end(pace, &run, 20 * MS, end);
}

static void
pace__budget_is_four_times_what_the_link_holds(void **state)
{
    struct ramet_pace pace;

    (void)state;
    ramet_pace_init(&pace);
    assert_int_equal(ramet_pace_budget(&pace), RAMET_PACE_BUDGET_FIRST);
    for (unsigned i = 0; i < 20; i++)
        run_alone(&pace, i * 1000 * MS, 1000000);
    assert_int_equal(ramet_pace_delay_ns(&pace), 20 * MS);
    assert_in_range(ramet_pace_budget(&pace), 980000, 1020000);
    assert_int_equal(ramet_pace_moved(&pace), 20 * 1001000);
    ramet_pace_done(&pace);
}

/* What waits behind others would make the link seem longer, and more be asked
 * for, which waits longer still. */
static void
pace__delay_of_requests_that_queue_does_not_count(void **state)
{
    struct ramet_pace_run one, two;
    struct ramet_pace pace;

    (void)state;
    ramet_pace_init(&pace);
    run_alone(&pace, 0, 1000000);
    for (unsigned i = 0; i < 50; i++) {
        ramet_pace_begin(&pace, &one);
        ramet_pace_begin(&pace, &two);
        ramet_pace_end(&pace, &two, 200 * MS, 0);
        ramet_pace_end(&pace, &one, 20 * MS, 0);
    }
    assert_in_range(ramet_pace_delay_ns(&pace), 19 * MS, 21 * MS);
    ramet_pace_done(&pace);
}

/* Two answers at a time are one stream. */
static void
pace__rate_is_that_of_all_answers_together(void **state)
{
    struct ramet_pace_run one, two;
    struct ramet_pace pace;
    uint64_t now = 100 * MS;

    (void)state;
    ramet_pace_init(&pace);
    ramet_pace_begin(&pace, &one);
    ramet_pace_begin(&pace, &two);
    for (unsigned i = 0; i < 1000; i++) {
        ramet_pace_bytes(&pace, i % 2 == 0 ? &one : &two, 1250, now);
        now += MS / 10;
    }
    ramet_pace_end(&pace, &one, 20 * MS, now);
    ramet_pace_end(&pace, &two, 0, now);
    assert_in_range(ramet_pace_budget(&pace), 980000, 1020000);
    ramet_pace_done(&pace);
}

/* Whoever takes what comes may be held up: the link is as fast as it was. */
static void
pace__rate_that_was_low_once_changes_little(void **state)
{
    struct ramet_pace_run run;
    struct ramet_pace pace;

    (void)state;
    ramet_pace_init(&pace);
    run_alone(&pace, 0, 1000000);
    ramet_pace_begin(&pace, &run);
    ramet_pace_bytes(&pace, &run, 1000, 1000 * MS);
    ramet_pace_bytes(&pace, &run, 1000000, 2000 * MS); /* 1 MB/s */
    ramet_pace_end(&pace, &run, 20 * MS, 2000 * MS);
    assert_in_range(ramet_pace_budget(&pace), 920000, 1020000);
    for (unsigned i = 0; i < 100; i++) { /* but it may have become slow */
        const uint64_t at = (i + 3) * 1000 * MS;

        ramet_pace_begin(&pace, &run);
        ramet_pace_bytes(&pace, &run, 1000, at);
        ramet_pace_bytes(&pace, &run, 800000, at + 100 * MS); /* 8 MB/s */
        ramet_pace_end(&pace, &run, 20 * MS, at + 100 * MS);
    }
    assert_in_range(ramet_pace_budget(&pace), 620000, 680000);
    ramet_pace_done(&pace);
}

static void
pace__budget_is_bounded_whatever_was_measured(void **state)
{
    struct ramet_pace_run run;
    struct ramet_pace pace;

    (void)state;
    ramet_pace_init(&pace);
    ramet_pace_begin(&pace, &run);
    ramet_pace_bytes(&pace, &run, 1, 1);
    ramet_pace_bytes(&pace, &run, SIZE_MAX / 4096, 3 * MS);
    ramet_pace_end(&pace, &run, UINT64_MAX / 2, 3 * MS);
    assert_in_range(ramet_pace_budget(&pace), RAMET_PACE_BUDGET_MIN,
                    RAMET_PACE_BUDGET_MAX);
    run_alone(&pace, 0, 40000);
    assert_in_range(ramet_pace_budget(&pace), RAMET_PACE_BUDGET_MIN,
                    RAMET_PACE_BUDGET_MAX);
    ramet_pace_done(&pace);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pace__budget_is_four_times_what_the_link_holds),
        cmocka_unit_test(pace__delay_of_requests_that_queue_does_not_count),
        cmocka_unit_test(pace__rate_is_that_of_all_answers_together),
        cmocka_unit_test(pace__rate_that_was_low_once_changes_little),
        cmocka_unit_test(pace__budget_is_bounded_whatever_was_measured),
    };

    return cmocka_run_group_tests_name("pace", tests, NULL, NULL);
}
