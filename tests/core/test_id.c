/*
 * test_id.c - the example of RFC 9562, order, and what parse refuses.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "core/id.h"

/* RFC 9562, appendix A.6. */
#define EXAMPLE "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
#define EXAMPLE_MS UINT64_C(0x17f22e279b0)
static const uint8_t example_random[10] = {0xfc, 0xc3, 0xd8, 0xc4, 0xdc,
                                           0x0c, 0x0c, 0x07, 0x39, 0x8f};

static void
id_make__gives_the_example_of_the_rfc(void **state)
{
    const struct ramet_id id = ramet_id_make(EXAMPLE_MS, example_random);
    char text[RAMET_ID_TEXT_SIZE];

    (void)state;
    ramet_id_format(&id, text);
    assert_string_equal(text, EXAMPLE);
    assert_true(ramet_id_time_ms(&id) == EXAMPLE_MS);
}

static void
id_parse__reads_what_format_wrote(void **state)
{
    const struct ramet_id id = ramet_id_make(EXAMPLE_MS, example_random);
    struct ramet_id parsed;

    (void)state;
    assert_true(ramet_id_parse(EXAMPLE, &parsed));
    assert_int_equal(ramet_id_compare(&id, &parsed), 0);
}

static void
id_parse__refuses_every_other_spelling(void **state)
{
    static const struct ramet_id untouched = {{1, 2, 3}};
    struct ramet_id out = untouched;

    (void)state;
    assert_false(ramet_id_parse(EXAMPLE "0", &out));
    assert_false(ramet_id_parse(" " EXAMPLE, &out));
    assert_false(ramet_id_parse("017F22e2-79b0-7cc3-98c4-dc0c0c07398f", &out));
    assert_false(ramet_id_parse("017f22e279b07cc398c4dc0c0c07398f", &out));
    for (size_t len = 0; len < 36; len++) {
        char text[37] = EXAMPLE;

        text[len] = '\0';
        assert_false(ramet_id_parse(text, &out));
        for (const char *bad = "gG/:@`-. "; *bad != '\0'; bad++) {
            memcpy(text, EXAMPLE, sizeof(text));
            if (text[len] == '-' && *bad == '-')
                continue;
            text[len] = *bad;
            assert_false(ramet_id_parse(text, &out));
        }
    }
    assert_memory_equal(&out, &untouched, sizeof(out));
}

static void
id_new__sorts_by_time_and_differs(void **state)
{
    struct ramet_id ids[100];

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(ramet_id_new(&ids[i], NULL), RAMET_OK);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(ids[i].bytes[6] >> 4, 7);
        assert_int_equal(ids[i].bytes[8] >> 6, 2);
        assert_false(ramet_id_is_nil(&ids[i]));
        for (int j = 0; j < i; j++)
            assert_int_not_equal(ramet_id_compare(&ids[i], &ids[j]), 0);
    }
}

static void
id_compare__orders_by_time_first(void **state)
{
    static const uint8_t low[10];
    static const uint8_t high[10] = {255, 255, 255, 255, 255,
                                     255, 255, 255, 255, 255};
    const struct ramet_id earlier = ramet_id_make(0xff, high);
    const struct ramet_id later = ramet_id_make(0x100, low);
    const struct ramet_id last = ramet_id_make(UINT64_C(0xffffffffffff), high);

    (void)state;
    assert_true(ramet_id_compare(&earlier, &later) < 0);
    assert_true(ramet_id_compare(&later, &earlier) > 0);
    assert_true(ramet_id_time_ms(&last) == UINT64_C(0xffffffffffff));
}

static void
id_is_nil__is_true_for_zeros_only(void **state)
{
    struct ramet_id id = {{0}};

    (void)state;
    assert_true(ramet_id_is_nil(&id));
    for (size_t i = 0; i < RAMET_ID_SIZE; i++) {
        id.bytes[i] = 1;
        assert_false(ramet_id_is_nil(&id));
        id.bytes[i] = 0;
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(id_make__gives_the_example_of_the_rfc),
        cmocka_unit_test(id_parse__reads_what_format_wrote),
        cmocka_unit_test(id_parse__refuses_every_other_spelling),
        cmocka_unit_test(id_new__sorts_by_time_and_differs),
        cmocka_unit_test(id_compare__orders_by_time_first),
        cmocka_unit_test(id_is_nil__is_true_for_zeros_only),
    };
    return cmocka_run_group_tests_name("id", tests, NULL, NULL);
}
