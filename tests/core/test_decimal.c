/*
 * test_decimal.c - decimal numbers in text that others wrote.
 */
#include "core/decimal.h"

#include "tests/support/cmocka_all.h"

static void
parse__takes_digits_below_2_to_the_64(void **state)
{
    uint64_t value = 1;

    (void)state;
    assert_true(ramet_decimal_parse("0", &value));
    assert_int_equal(value, 0);
    assert_true(ramet_decimal_parse("0042", &value));
    assert_int_equal(value, 42);
    assert_true(ramet_decimal_parse("18446744073709551615", &value));
    assert_true(value == UINT64_MAX);
}

static void
parse__of_anything_else__is_refused_and_writes_nothing(void **state)
{
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "-1",
                                      "0x1",
                                      "1e3",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "184467440737095516150"};
    uint64_t value = 7;

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(ramet_decimal_parse(bad[i], &value));
    assert_int_equal(value, 7);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__takes_digits_below_2_to_the_64),
        cmocka_unit_test(
            parse__of_anything_else__is_refused_and_writes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
