/*
 * test_pacer.c - when to push, with a clock of the test's own.
 */
#include "tests/support/cmocka_all.h"

#include "client/sync/pacer.h"

#define INTERVAL 50u

static void
add(struct ramet_pageset *set, uint32_t first, uint32_t last)
{
    assert_int_equal(
        ramet_pageset_add_run(set, (struct ramet_run){first, last}), RAMET_OK);
}

static void
pacer__sends_a_small_commit_after_the_interval(void **state)
{
    struct ramet_pacer pacer;
    struct ramet_pageset pages;

    (void)state;
    ramet_pacer_init(&pacer, INTERVAL);
    ramet_pageset_init(&pages);
    add(&pages, 1, 2);
    assert_true(ramet_pacer_due(&pacer, 1000, NULL) == UINT64_MAX);
    ramet_pacer_commit(&pacer, 1000);
    assert_int_equal(ramet_pacer_due(&pacer, 1000, NULL), INTERVAL);
    ramet_pacer_commit(&pacer, 1030); /* does not put it off */
    assert_int_equal(ramet_pacer_due(&pacer, 1040, NULL), 10);
    assert_int_equal(ramet_pacer_due(&pacer, 1050, &pages), 0);
    ramet_pacer_pushed(&pacer, 1050, 1052, &pages, 4000, false);
    assert_true(ramet_pacer_due(&pacer, 1060, NULL) == UINT64_MAX);
    /* And so does one that comes a day later. */
    ramet_pacer_commit(&pacer, 86401000);
    assert_int_equal(ramet_pacer_due(&pacer, 86401050, &pages), 0);
    ramet_pageset_done(&pages);
    ramet_pacer_done(&pacer);
}

static void
pacer__leaves_four_times_the_last_push_between(void **state)
{
    struct ramet_pacer pacer;
    struct ramet_pageset pages;

    (void)state;
    ramet_pacer_init(&pacer, INTERVAL);
    ramet_pageset_init(&pages);
    add(&pages, 1, 100);
    ramet_pacer_commit(&pacer, 1000);
    ramet_pacer_commit(&pacer, 1100);
    ramet_pacer_pushed(&pacer, 1050, 1150, &pages, 100000, true);
    assert_int_equal(ramet_pacer_due(&pacer, 1150, NULL), 400);
    assert_int_equal(ramet_pacer_due(&pacer, 1550, NULL), 0);
    ramet_pageset_done(&pages);
    ramet_pacer_done(&pacer);
}

/* Writers that commit every 10 ms for a minute, and a push that takes 5 ms. */
static void
pacer__never_holds_back_a_small_steady_writer(void **state)
{
    struct ramet_pacer pacer;
    struct ramet_pageset pages;
    uint64_t worst = 0;
    uint64_t oldest = 0;

    (void)state;
    ramet_pacer_init(&pacer, INTERVAL);
    ramet_pageset_init(&pages);
    add(&pages, 1, 8); /* the same pages each time, 16 KB of them */
    for (uint64_t now = 1000; now < 61000; now += 10) {
        ramet_pacer_commit(&pacer, now);
        if (oldest == 0)
            oldest = now;
        if (ramet_pacer_due(&pacer, now, &pages) == 0) {
            if (now - oldest > worst)
                worst = now - oldest;
            ramet_pacer_pushed(&pacer, now, now + 5, &pages, 16384, false);
            oldest = 0;
        }
    }
    assert_true(worst <= 2 * INTERVAL);
    ramet_pageset_done(&pages);
    ramet_pacer_done(&pacer);
}

/*
 * A bulk load: every 5 ms a commit that appends 100 pages and dirties an index
 * of 5,000 all over, for 20 s. What is stored must stay near one copy.
 */
static void
pacer__stores_a_bulk_load_nearly_once(void **state)
{
    const uint64_t page_bytes = 2000;
    struct ramet_pacer pacer;
    struct ramet_pageset pending;
    uint64_t stored = 0;
    uint32_t last = 5000;
    uint64_t now;

    (void)state;
    ramet_pacer_init(&pacer, INTERVAL);
    ramet_pageset_init(&pending);
    for (now = 1000; now < 21000; now += 5) {
        add(&pending, 1, 5000);
        add(&pending, last + 1, last + 25);
        last += 25;
        ramet_pacer_commit(&pacer, now);
        if (ramet_pacer_due(&pacer, now, &pending) == 0) {
            const uint64_t pages = ramet_pageset_count(&pending);

            stored += pages;
            ramet_pacer_pushed(&pacer, now, now + pages / 50, &pending,
                               pages * page_bytes, false);
            ramet_pageset_clear(&pending);
        }
    }
    /* When it pauses, the rest goes out soon. */
    if (ramet_pageset_count(&pending) > 0) {
        uint64_t waited = 0;
        uint64_t wait;

        while ((wait = ramet_pacer_due(&pacer, now + waited, &pending)) > 0)
            waited += wait;
        assert_true(waited <= 1000);
        stored += ramet_pageset_count(&pending);
    }
    assert_true(stored * 2 <= (uint64_t)last * 3); /* 1.5 copies at most */
    ramet_pageset_done(&pending);
    ramet_pacer_done(&pacer);
}

/*
 * A load of 200 MB in six seconds, two fifths of it indexes that are dirty all over
 * after each commit, as large as they are by then: what goes out early goes out again.
 */
static void
pacer__stores_hardly_more_of_a_load_with_indexes(void **state)
{
    enum { COMMITS = 100, TABLE = 300, INDEX = 200 }; /* pages a commit */
    struct ramet_pacer pacer;
    struct ramet_pageset pending;
    uint64_t stored = 0, now = 1000;

    (void)state;
    ramet_pacer_init(&pacer, INTERVAL);
    ramet_pageset_init(&pending);
    for (uint32_t i = 0; i < COMMITS; i++, now += 60) {
        add(&pending, 1, (i + 1) * INDEX);
        add(&pending, COMMITS * INDEX + i * TABLE + 1,
            COMMITS * INDEX + (i + 1) * TABLE);
        ramet_pacer_commit(&pacer, now);
        if (ramet_pacer_due(&pacer, now + 55, &pending) == 0) {
            const uint64_t pages = ramet_pageset_count(&pending);

            stored += pages;
            ramet_pacer_pushed(&pacer, now + 55, now + 55 + pages / 50,
                               &pending, pages * 2000, false);
            ramet_pageset_clear(&pending);
        }
    }
    stored += ramet_pageset_count(&pending);
    assert_true(stored > COMMITS * (TABLE + INDEX)); /* some did go out early */
    assert_true(stored * 100 <= (uint64_t)COMMITS * (TABLE + INDEX) * 105);
    ramet_pageset_done(&pending);
    ramet_pacer_done(&pacer);
}

/*
 * The same on a slow disk, where each transaction takes 280 ms: were each of them followed
 * by a pause, all that it dirtied would go out each time, twenty copies in all.
 */
static void
pacer__takes_slow_transactions_for_no_pauses(void **state)
{
    enum { COMMITS = 100, TABLE = 300, INDEX = 200 }; /* pages a commit */
    struct ramet_pacer pacer;
    struct ramet_pageset pending;
    uint64_t stored = 0, now = 1000, end;

    (void)state;
    ramet_pacer_init(&pacer, INTERVAL);
    ramet_pageset_init(&pending);
    for (uint32_t i = 0; i < COMMITS; i++) {
        add(&pending, 1, (i + 1) * INDEX);
        add(&pending, COMMITS * INDEX + i * TABLE + 1,
            COMMITS * INDEX + (i + 1) * TABLE);
        ramet_pacer_commit(&pacer, now);
        for (end = now + 280; now < end; now += 10) {
            const uint64_t pages = ramet_pageset_count(&pending);

            if (ramet_pacer_due(&pacer, now, &pending) > 0)
                continue;
            stored += pages;
            ramet_pacer_pushed(&pacer, now, now + pages / 50, &pending,
                               pages * 2000, false);
            ramet_pageset_clear(&pending);
        }
    }
    stored += ramet_pageset_count(&pending);
    /* One copy, what the allowance permits, and once what was there in between. */
    assert_true(stored * 100 <= (uint64_t)COMMITS * (TABLE + INDEX) * 125);
    ramet_pageset_done(&pending);
    ramet_pacer_done(&pacer);
}

/* A transaction that waits for its disk for seconds is no pause, and not for ever. */
static void
pacer__takes_a_transaction_under_way_for_no_pause(void **state)
{
    struct ramet_pacer pacer;
    struct ramet_pageset pages;
    uint64_t now = 1000;

    (void)state;
    ramet_pacer_init(&pacer, INTERVAL);
    ramet_pageset_init(&pages);
    add(&pages, 1, 5000);
    ramet_pacer_commit(&pacer, now);
    ramet_pacer_pushed(&pacer, now + 50, now + 150, &pages, 10000000, false);
    ramet_pacer_commit(&pacer, now + 160);
    pacer.is_writing = true;
    assert_true(ramet_pacer_due(&pacer, now + 6000, &pages) > 0);
    pacer.is_writing = false;
    assert_true(ramet_pacer_due(&pacer, now + 6000, &pages) == 0);
    pacer.is_writing = true;
    assert_true(ramet_pacer_due(&pacer,
                                now + 160 + 2 * RAMET_PACER_DEFER_MS +
                                    RAMET_PACER_DEFER_MAX_MS,
                                &pages) == 0);
    ramet_pageset_done(&pages);
    ramet_pacer_done(&pacer);
}

static void
pacer__gives_up_holding_back_in_the_end(void **state)
{
    struct ramet_pacer pacer;
    struct ramet_pageset pages;
    uint64_t now = 1000;
    uint64_t held_from;

    (void)state;
    ramet_pacer_init(&pacer, INTERVAL);
    ramet_pageset_init(&pages);
    add(&pages, 1, 50000);
    ramet_pacer_commit(&pacer, now);
    assert_int_equal(ramet_pacer_due(&pacer, now + 50, &pages), 0);
    ramet_pacer_pushed(&pacer, now + 50, now + 150, &pages, 100000000, false);
    held_from = now = now + 160;
    for (;; now += 20) {
        ramet_pacer_commit(&pacer, now);
        if (ramet_pacer_due(&pacer, now, &pages) == 0)
            break;
        assert_true(now - held_from <
                    3 * RAMET_PACER_DEFER_MS + RAMET_PACER_DEFER_MAX_MS);
    }
    assert_true(now - held_from >= RAMET_PACER_DEFER_MS);
    ramet_pageset_done(&pages);
    ramet_pacer_done(&pacer);
}

static void
pacer__bounds_its_memory(void **state)
{
    struct ramet_pacer pacer;
    struct ramet_pageset pages;

    (void)state;
    ramet_pacer_init(&pacer, INTERVAL);
    ramet_pageset_init(&pages);
    for (uint32_t i = 0; i <= RAMET_PACER_RUNS_MAX; i++)
        add(&pages, 1 + 2 * i, 1 + 2 * i);
    ramet_pacer_commit(&pacer, 1000);
    ramet_pacer_pushed(&pacer, 1050, 1060, &pages, 1, false);
    assert_true(pacer.pushed.run_count <= RAMET_PACER_RUNS_MAX);
    ramet_pageset_done(&pages);
    ramet_pacer_done(&pacer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pacer__sends_a_small_commit_after_the_interval),
        cmocka_unit_test(pacer__leaves_four_times_the_last_push_between),
        cmocka_unit_test(pacer__never_holds_back_a_small_steady_writer),
        cmocka_unit_test(pacer__stores_a_bulk_load_nearly_once),
        cmocka_unit_test(pacer__stores_hardly_more_of_a_load_with_indexes),
        cmocka_unit_test(pacer__takes_slow_transactions_for_no_pauses),
        cmocka_unit_test(pacer__takes_a_transaction_under_way_for_no_pause),
        cmocka_unit_test(pacer__gives_up_holding_back_in_the_end),
        cmocka_unit_test(pacer__bounds_its_memory),
    };
    return cmocka_run_group_tests_name("pacer", tests, NULL, NULL);
}
