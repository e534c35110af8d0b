/*
 * test_prefetch.c - what a predictor asks for, and what it never does.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "prefetch/prefetch.h"

enum { PAGE = 512, PAGES = 4000 };

struct volume {
    struct ramet_prefetch *predictor;
    bool is_here[PAGES + 1];
    bool is_under_way[PAGES + 1];
    unsigned under_way;
    unsigned taken;
};

static const uint8_t zeros[PAGE];

static bool
is_here(void *ctx, uint32_t pgno)
{
    struct volume *const v = ctx;

    assert_in_range(pgno, 1, PAGES);
    return v->is_here[pgno];
}

static void
begin(struct volume *v, bool is_database, uint32_t budget)
{
    const struct ramet_prefetch_options options = {
        .page_size = PAGE,
        .page_count = PAGES,
        .is_database = is_database,
        .view = {is_here, NULL, v},
    };

    memset(v, 0, sizeof(*v));
    v->predictor = ramet_prefetch_new(&options);
    assert_non_null(v->predictor);
    ramet_prefetch_set_budget(v->predictor, budget);
}

/* All that may be asked for now. */
static unsigned
take(struct volume *v)
{
    uint32_t pgnos[16];
    unsigned count = 0;
    size_t n;

    while ((n = ramet_prefetch_take(v->predictor, pgnos, 16)) > 0)
        for (size_t i = 0; i < n; i++, count++) {
            assert_in_range(pgnos[i], 1, PAGES);
            assert_false(v->is_here[pgnos[i]]); /* invariant (1) */
            assert_false(v->is_under_way[pgnos[i]]);
            v->is_under_way[pgnos[i]] = true;
            v->under_way++;
        }
    v->taken += count;
    return count;
}

static void
arrive(struct volume *v, uint32_t pgno, const uint8_t *page)
{
    if (v->is_under_way[pgno])
        v->under_way--;
    v->is_under_way[pgno] = false;
    v->is_here[pgno] = true;
    ramet_prefetch_arrived(v->predictor, pgno, page);
}

static void
arrive_all(struct volume *v)
{
    for (uint32_t pgno = 1; pgno <= PAGES; pgno++)
        if (v->is_under_way[pgno])
            arrive(v, pgno, zeros);
}

/* True: the reader had to wait. */
static bool
read_page(struct volume *v, uint32_t pgno)
{
    const bool missed = !v->is_here[pgno] && !v->is_under_way[pgno];

    ramet_prefetch_want(v->predictor, pgno, v->is_here[pgno]);
    take(v);
    if (!v->is_here[pgno])
        arrive(v, pgno, zeros);
    arrive_all(v);
    ramet_prefetch_read(v->predictor, pgno, zeros);
    return missed;
}

static void
blob__read_in_order_is_brought_ahead(void **state)
{
    static struct volume v;
    struct ramet_prefetch_counts counts;
    unsigned missed = 0;

    (void)state;
    begin(&v, false, 200);
    for (uint32_t pgno = 1; pgno <= 2000; pgno++)
        missed += read_page(&v, pgno);
    assert_in_range(missed, 1, 3);
    counts = ramet_prefetch_counts(v.predictor);
    assert_int_equal(counts.asked, v.taken);
    assert_int_equal(counts.used, 2000 - missed);
    assert_int_equal(counts.vain, 0);
    ramet_prefetch_free(v.predictor);
}

/* What came out of order waits here for its turn, and the link goes on; as far as
 * whoever keeps it has room. */
static void
blob__has_as_much_here_as_is_under_way(void **state)
{
    static struct volume v;
    uint32_t pgno = 1;
    unsigned before;

    (void)state;
    begin(&v, false, 100);
    while (pgno <= 1000)
        read_page(&v, pgno++);
    ramet_prefetch_want(v.predictor, pgno, v.is_here[pgno]);
    take(&v);
    arrive_all(&v); /* and the reader does not go on */
    before = v.taken;
    for (unsigned i = 0; i < 100; i++) {
        ramet_prefetch_want(v.predictor, pgno, true);
        ramet_prefetch_read(v.predictor, pgno++, zeros);
    }
    take(&v);
    assert_in_range(v.taken - before, 80, 200);
    while (v.is_here[pgno])
        pgno++;
    assert_in_range(pgno, 1100 + 200, 1100 + 401);
    ramet_prefetch_free(v.predictor);
}

static unsigned
ahead_of_a_long_scan(uint32_t budget, uint32_t room)
{
    static struct volume v;
    uint32_t pgno = 1;
    uint32_t end;

    begin(&v, false, budget);
    ramet_prefetch_set_room(v.predictor, room);
    while (pgno <= 1200)
        read_page(&v, pgno++);
    for (end = pgno; v.is_here[end];)
        end++;
    ramet_prefetch_free(v.predictor);
    return end - pgno;
}

static void
blob__has_no_more_here_than_there_is_room_for(void **state)
{
    (void)state;
    assert_in_range(ahead_of_a_long_scan(100, UINT32_MAX), 250, 401);
    assert_in_range(ahead_of_a_long_scan(100, 150), 80, 151);
    assert_in_range(ahead_of_a_long_scan(100, 0), 2, 9);
}

/* Three readers at a time, each skipping a page now and then. */
static void
blob__read_by_several_is_brought_ahead_for_each(void **state)
{
    static struct volume v;
    unsigned missed = 0;

    (void)state;
    begin(&v, false, 100);
    for (uint32_t i = 1; i <= 900; i++)
        for (uint32_t reader = 0; reader < 3; reader++)
            if (i % 7 != 3)
                missed += read_page(&v, reader * 1200 + i);
    assert_in_range(missed, 3, 12);
    ramet_prefetch_free(v.predictor);
}

static void
blob__read_in_no_order_brings_nothing(void **state)
{
    static struct volume v;

    (void)state;
    begin(&v, false, 200);
    for (uint32_t i = 1; i <= 1000; i++)
        (void)read_page(&v, i * 1877 % PAGES + 1);
    assert_in_range(v.taken, 0, 40);
    ramet_prefetch_free(v.predictor);
}

/* A copy of a database reads it by number, whatever its pages are. */
static void
database__that_is_copied_is_brought_by_number(void **state)
{
    static struct volume v;
    unsigned missed = 0;

    (void)state;
    begin(&v, true, 200);
    for (uint32_t pgno = 1; pgno <= 2000; pgno++)
        missed += read_page(&v, pgno);
    assert_in_range(missed, 1, 12);
    ramet_prefetch_free(v.predictor);
}

static void
pages__under_way_are_at_most_twice_the_budget(void **state)
{
    static struct volume v;
    unsigned peak = 0;

    (void)state;
    begin(&v, false, RAMET_PREFETCH_BUDGET_MIN);
    for (uint32_t pgno = 1; pgno <= 500; pgno++) {
        for (uint32_t reader = 0; reader < 7; reader++) {
            const uint32_t at = reader * 550 + pgno;

            ramet_prefetch_want(v.predictor, at, v.is_here[at]);
            take(&v);
            if (v.under_way > peak)
                peak = v.under_way;
            if (!v.is_here[at])
                arrive(&v, at, zeros);
        }
        if (pgno % 5 == 0)
            arrive_all(&v);
    }
    assert_in_range(peak, RAMET_PREFETCH_BUDGET_MIN,
                    2 * RAMET_PREFETCH_BUDGET_MIN);
    ramet_prefetch_free(v.predictor);
}

static void
page__that_was_lost_is_asked_for_again(void **state)
{
    static struct volume v;

    (void)state;
    begin(&v, false, 100);
    for (uint32_t pgno = 1; pgno <= 20; pgno++)
        (void)read_page(&v, pgno);
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t pgno = 1; pgno <= PAGES; pgno++)
            if (v.is_under_way[pgno]) {
                v.is_under_way[pgno] = false;
                v.under_way--;
                ramet_prefetch_lost(v.predictor, pgno);
            }
        v.taken = 0;
        for (uint32_t pgno = 21; pgno <= 60; pgno++) {
            v.is_here[pgno] = false;
            ramet_prefetch_want(v.predictor, pgno, false);
            take(&v);
            ramet_prefetch_lost(v.predictor, pgno);
        }
        assert_true(v.taken > 10);
    }
    ramet_prefetch_free(v.predictor);
}

/* A root whose children are leaves, of which four in a row are read. */
static void
window__shrinks_where_much_was_in_vain(void **state)
{
    static struct volume v;
    unsigned first = 0;
    unsigned last = 0;

    (void)state;
    begin(&v, false, 400);
    for (unsigned turn = 0; turn < 30; turn++) {
        const uint32_t from = turn * 120 + 1;

        v.taken = 0;
        for (uint32_t pgno = from; pgno < from + 16; pgno++)
            (void)read_page(&v, pgno);
        if (turn == 0)
            first = v.taken;
        last = v.taken;
    }
    assert_true(first >= 16);
    assert_true(last <= first); /* half of it was read: as before, or less */
    for (unsigned turn = 0; turn < 200; turn++) {
        const uint32_t from = turn * 1999 % 3900 + 1;

        memset(v.is_here, 0, sizeof(v.is_here));
        v.taken = 0;
        for (uint32_t pgno = from; pgno < from + 2; pgno++)
            (void)read_page(&v, pgno);
        last = v.taken;
    }
    assert_in_range(last, 0, 4);
    ramet_prefetch_free(v.predictor);
}

/* Whatever allocation fails, it predicts less and does no harm. */
static void
memory__that_is_short_costs_predictions_alone(void **state)
{
    static struct volume v;

    (void)state;
    for (long n = 0; n < 40; n++) {
        const struct ramet_prefetch_options options = {
            .page_size = PAGE,
            .page_count = PAGES,
            .is_database = true,
            .view = {is_here, NULL, &v},
        };

        memset(&v, 0, sizeof(v));
        ramet_alloc_fail_at(n);
        v.predictor = ramet_prefetch_new(&options);
        if (v.predictor != NULL) {
            ramet_prefetch_set_budget(v.predictor, 2000);
            for (uint32_t pgno = 1; pgno <= 300; pgno++)
                (void)read_page(&v, pgno);
        }
        ramet_alloc_fail_at(-1);
        ramet_prefetch_free(v.predictor);
    }
}

/* A volume moves on to a commit with fewer pages: none beyond is asked for. */
static void
volume__that_shrank_is_not_read_past_its_end(void **state)
{
    static struct volume v;
    uint32_t pgnos[512];
    size_t count;

    (void)state;
    begin(&v, false, 400);
    for (uint32_t pgno = 1; pgno <= 100; pgno++)
        (void)read_page(&v, pgno);
    ramet_prefetch_want(v.predictor, 150, false);
    ramet_prefetch_move(v.predictor, 180);
    count = ramet_prefetch_take(v.predictor, pgnos, 512);
    for (size_t i = 0; i < count; i++)
        assert_in_range(pgnos[i], 1, 180);
    ramet_prefetch_want(v.predictor, 4000, false); /* beyond it: nothing */
    ramet_prefetch_free(v.predictor);
}

/* ---- a tree that is too deep ------------------------------------------------ */

enum { FANOUT = 64, DEPTH = 14, LEAF_FIRST = 1000, FILLER = 3000 };

static uint8_t deep[DEPTH][PAGE];

static void
put_be16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* An interior page of FANOUT children from `first` on, or all of them `first`; the
 * last is `last`. */
static void
make_interior(uint8_t *page, uint32_t first, uint32_t step, uint32_t last)
{
    uint32_t at = PAGE;

    memset(page, 0, PAGE);
    page[0] = 5;
    put_be16(page + 3, FANOUT - 1);
    ramet_put_be32(page + 8, last);
    for (uint32_t i = 0; i + 1 < FANOUT; i++) {
        at -= 5;
        ramet_put_be32(page + at, first + i * step);
        page[at + 4] = (uint8_t)(i + 1);
        put_be16(page + 12 + 2 * i, at);
    }
    put_be16(page + 5, at);
}

/* Each interior page is the last child of the one above: below the root there would be
 * more leaves than 64 bits count, which a database may claim. */
static void
tree__that_claims_more_leaves_than_can_be_counted_is_read(void **state)
{
    static struct volume v;
    static uint8_t leaf[PAGE];

    (void)state;
    begin(&v, true, 200);
    leaf[0] = 13;
    put_be16(leaf + 5, PAGE);
    for (uint32_t i = 0; i < DEPTH; i++) {
        const uint32_t pgno = 10 + i;

        if (i + 1 < DEPTH)
            make_interior(deep[i], FILLER, 0, pgno + 1);
        else
            make_interior(deep[i], LEAF_FIRST, 1, LEAF_FIRST + FANOUT - 1);
        ramet_prefetch_want(v.predictor, pgno, false);
        take(&v);
        arrive(&v, pgno, deep[i]);
        ramet_prefetch_read(v.predictor, pgno, deep[i]);
    }
    for (uint32_t i = 0; i < FANOUT; i++) {
        const uint32_t pgno = LEAF_FIRST + i;

        ramet_prefetch_want(v.predictor, pgno, v.is_here[pgno]);
        take(&v);
        if (!v.is_here[pgno])
            arrive(&v, pgno, leaf);
        for (uint32_t other = 1; other <= PAGES; other++)
            if (v.is_under_way[other])
                arrive(&v, other, leaf);
        ramet_prefetch_read(v.predictor, pgno, leaf);
    }
    assert_true(v.taken > FANOUT / 2); /* the scan was followed */
    ramet_prefetch_free(v.predictor);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blob__read_in_order_is_brought_ahead),
        cmocka_unit_test(blob__has_as_much_here_as_is_under_way),
        cmocka_unit_test(blob__has_no_more_here_than_there_is_room_for),
        cmocka_unit_test(blob__read_by_several_is_brought_ahead_for_each),
        cmocka_unit_test(blob__read_in_no_order_brings_nothing),
        cmocka_unit_test(database__that_is_copied_is_brought_by_number),
        cmocka_unit_test(pages__under_way_are_at_most_twice_the_budget),
        cmocka_unit_test(page__that_was_lost_is_asked_for_again),
        cmocka_unit_test(window__shrinks_where_much_was_in_vain),
        cmocka_unit_test(
            tree__that_claims_more_leaves_than_can_be_counted_is_read),
        cmocka_unit_test(memory__that_is_short_costs_predictions_alone),
        cmocka_unit_test(volume__that_shrank_is_not_read_past_its_end),
    };
    return cmocka_run_group_tests_name("prefetch", tests, NULL, NULL);
}
