/*
 * test_pagecache.c - the stateless readers' page cache, and the guess at read-ahead.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "client/remote/pagecache.h"

enum { PAGE = 4096 };

/* The commit at `lsn` of a line. */
static struct ramet_point
in_line(char line, uint64_t lsn)
{
    struct ramet_point at = {.lsn = lsn};

    memset(at.hash.bytes, line + (int)lsn, sizeof(at.hash.bytes));
    return at;
}

static void
put(struct ramet_pagecache *cache, uint64_t lsn, uint32_t pgno, int value)
{
    const struct ramet_point at = in_line('A', lsn);
    uint8_t page[PAGE];

    memset(page, value, sizeof(page));
    ramet_pagecache_put(cache, &at, pgno, page, sizeof(page));
}

/* The value of the page, or -1. */
static int
get_at(struct ramet_pagecache *cache, const struct ramet_point *at,
       uint32_t pgno)
{
    uint8_t got[2];

    if (!ramet_pagecache_get(cache, at, pgno, PAGE - 2, got, 2))
        return -1;
    assert_int_equal(got[0], got[1]);
    return got[0];
}

static int
get(struct ramet_pagecache *cache, uint64_t lsn, uint32_t pgno)
{
    const struct ramet_point at = in_line('A', lsn);

    return get_at(cache, &at, pgno);
}

static void
pagecache__answers_for_its_lsn_alone(void **state)
{
    struct ramet_pagecache *const cache = ramet_pagecache_new(1 << 20);

    (void)state;
    assert_int_equal(get(cache, 5, 1), -1);
    put(cache, 5, 1, 51);
    put(cache, 7, 1, 71);
    assert_int_equal(get(cache, 5, 1), 51);
    assert_int_equal(get(cache, 6, 1), -1);
    assert_int_equal(get(cache, 7, 1), 71);
    assert_int_equal(get(cache, 5, 2), -1);
    ramet_pagecache_free(cache);
}

/* A scan: half of the room is ahead of the reader, and is asked for before it is
 * read, to see whether it is here. */
static void
pagecache__keeps_what_is_ahead_until_it_is_read(void **state)
{
    enum { ROOM = 64, AHEAD = ROOM / 2 };
    struct ramet_pagecache *const cache = ramet_pagecache_new(ROOM * PAGE);
    const struct ramet_point at = in_line('A', 5);
    unsigned lost = 0;

    (void)state;
    for (uint32_t pgno = 1; pgno <= 1000; pgno++) {
        put(cache, 5, pgno, 7);
        assert_true(ramet_pagecache_get(cache, &at, pgno, 0, NULL, 0));
        if (pgno > AHEAD && get(cache, 5, pgno - AHEAD) == -1)
            lost++;
    }
    assert_int_equal(lost, 0);
    ramet_pagecache_free(cache);
}

static void
pagecache__has_nothing_of_another_line(void **state)
{
    struct ramet_pagecache *const cache = ramet_pagecache_new(1 << 20);
    const struct ramet_point from = in_line('A', 5), to = in_line('A', 9);
    struct ramet_pageset none;

    (void)state;
    ramet_pageset_init(&none);
    put(cache, 5, 1, 1);
    ramet_pagecache_advance(cache, &from, &to, &none);
    for (uint64_t lsn = 4; lsn < 11; lsn++) {
        const struct ramet_point other = in_line('a', lsn);

        assert_int_equal(get_at(cache, &other, 1), -1);
    }
    assert_int_equal(get(cache, 5, 1), 1);
    assert_int_equal(get(cache, 9, 1), 1);
    ramet_pageset_done(&none);
    ramet_pagecache_free(cache);
}

static void
pagecache__carries_over_what_did_not_change(void **state)
{
    struct ramet_pagecache *const cache = ramet_pagecache_new(1 << 20);
    const struct ramet_point from = in_line('A', 5), to = in_line('A', 9);
    struct ramet_pageset changed;

    (void)state;
    ramet_pageset_init(&changed);
    assert_int_equal(ramet_pageset_add(&changed, 2), RAMET_OK);
    put(cache, 5, 1, 1);
    put(cache, 5, 2, 2);
    put(cache, 4, 3, 3); /* not known to be right at 5 */
    ramet_pagecache_advance(cache, &from, &to, &changed);
    assert_int_equal(get(cache, 9, 1), 1);
    assert_int_equal(get(cache, 5, 1), 1);
    assert_int_equal(get(cache, 10, 1), -1);
    assert_int_equal(get(cache, 9, 2), -1);
    assert_int_equal(get(cache, 5, 2), 2);
    assert_int_equal(get(cache, 9, 3), -1);
    ramet_pageset_done(&changed);
    ramet_pagecache_free(cache);
}

/* A limit of 100 pages, 10,000 pages through it: bounded, and each answer is
 * right; a page that is used again and again stays. */
static void
pagecache__stays_within_its_limit(void **state)
{
    struct ramet_pagecache *const cache = ramet_pagecache_new(100 * PAGE);
    unsigned held = 0;

    (void)state;
    put(cache, 1, 1, 1);
    for (uint32_t pgno = 2; pgno < 10000; pgno++) {
        put(cache, 1, pgno, (int)(pgno % 251));
        assert_int_equal(get(cache, 1, 1), 1);
    }
    for (uint32_t pgno = 1; pgno < 10000; pgno++) {
        const int value = get(cache, 1, pgno);

        if (value < 0)
            continue;
        assert_int_equal(value, (int)(pgno % 251));
        held++;
    }
    assert_in_range(held, 50, 100);
    ramet_pagecache_free(cache);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pagecache__answers_for_its_lsn_alone),
        cmocka_unit_test(pagecache__keeps_what_is_ahead_until_it_is_read),
        cmocka_unit_test(pagecache__has_nothing_of_another_line),
        cmocka_unit_test(pagecache__carries_over_what_did_not_change),
        cmocka_unit_test(pagecache__stays_within_its_limit),
    };
    return cmocka_run_group_tests_name("pagecache", tests, NULL, NULL);
}
