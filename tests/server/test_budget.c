/*
 * test_budget.c - the memory of bodies and answers: a bound, and room for
 * whoever comes.
 */
#include "tests/support/cmocka_all.h"

#include "server/http_budget.h"

#define TOTAL 8000u
#define LONG_PART 7000u

static size_t
take_all(struct ramet_budget *budget, enum ramet_holding kind, uint32_t client,
         size_t step)
{
    size_t taken = 0;

    while (ramet_budget_hold(budget, kind, client, step))
        taken += step;
    return taken;
}

static void
budget__is_a_bound(void **state)
{
    struct ramet_budget budget;
    size_t taken[200];
    size_t sum = 0;

    (void)state;
    ramet_budget_init(&budget, TOTAL);
    for (uint32_t client = 0; client < 200; client++) {
        taken[client] = take_all(&budget, RAMET_HOLD_LONG, client, 7);
        sum += taken[client];
        assert_int_equal(ramet_budget_held(&budget), sum);
    }
    assert_true(sum <= LONG_PART);
    assert_false(ramet_budget_hold(&budget, RAMET_HOLD_LONG, 0, SIZE_MAX));
    assert_true(ramet_budget_is_crowded(&budget));
    for (uint32_t client = 0; client < 200; client++)
        ramet_budget_let_go(&budget, RAMET_HOLD_LONG, client, taken[client]);
    assert_int_equal(ramet_budget_held(&budget), 0);
    assert_false(ramet_budget_is_crowded(&budget));
    ramet_budget_done(&budget);
}

static void
budget__short_answers_have_their_own_part(void **state)
{
    struct ramet_budget budget;
    size_t longs[100] = {0}, shorts, others;

    (void)state;
    ramet_budget_init(&budget, TOTAL);
    for (uint32_t client = 0; client < 100; client++)
        longs[client] = take_all(&budget, RAMET_HOLD_LONG, client, 1);
    shorts = take_all(&budget, RAMET_HOLD_SHORT, 3, 1);
    assert_true(shorts > (TOTAL - LONG_PART) / 10 * 7);
    others = take_all(&budget, RAMET_HOLD_SHORT, 4, 1);
    assert_true(others > (TOTAL - LONG_PART) / 10);
    assert_true(ramet_budget_held(&budget) <= TOTAL);
    ramet_budget_let_go(&budget, RAMET_HOLD_SHORT, 3, shorts);
    ramet_budget_let_go(&budget, RAMET_HOLD_SHORT, 4, others);
    for (uint32_t client = 0; client < 100; client++)
        ramet_budget_let_go(&budget, RAMET_HOLD_LONG, client, longs[client]);
    ramet_budget_done(&budget);
}

static void
budget__nobody_takes_all(void **state)
{
    struct ramet_budget budget;
    size_t first, second, third;

    (void)state;
    ramet_budget_init(&budget, TOTAL);
    first = take_all(&budget, RAMET_HOLD_LONG, 1, 1);
    assert_true(first > LONG_PART / 10 * 7 && first <= LONG_PART / 5 * 4 + 4);
    second = take_all(&budget, RAMET_HOLD_LONG, 2, 1);
    assert_true(second > LONG_PART / 8);
    third = take_all(&budget, RAMET_HOLD_LONG, 3, 1);
    assert_true(third > 0);
    /* What one lets go is there for the others, not for itself alone. */
    ramet_budget_let_go(&budget, RAMET_HOLD_LONG, 1, first);
    assert_true(take_all(&budget, RAMET_HOLD_LONG, 2, 1) > 0);
    ramet_budget_let_go(&budget, RAMET_HOLD_LONG, 3, third);
    assert_true(ramet_budget_held(&budget) < LONG_PART);
    ramet_budget_let_go(&budget, RAMET_HOLD_LONG, 2,
                        ramet_budget_held(&budget));
    ramet_budget_done(&budget);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budget__is_a_bound),
        cmocka_unit_test(budget__short_answers_have_their_own_part),
        cmocka_unit_test(budget__nobody_takes_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
