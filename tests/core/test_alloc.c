/*
 * test_alloc.c - the counter fails exactly the allocation that it was told to.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "core/alloc.h"

static void
alloc_fail_at__fails_that_one_and_no_other(void **state)
{
    (void)state;
    for (long nth = 0; nth < 3; nth++) {
        void *blocks[4];

        ramet_alloc_fail_at(nth);
        for (long i = 0; i < 4; i++)
            blocks[i] = ramet_alloc(10);
        for (long i = 0; i < 4; i++) {
            assert_int_equal(blocks[i] == NULL, i == nth);
            ramet_free(blocks[i]);
        }
    }
}

static void
alloc_fail_at__is_turned_off_by_minus_one(void **state)
{
    void *block;

    (void)state;
    ramet_alloc_fail_at(0);
    ramet_alloc_fail_at(-1);
    block = ramet_alloc(1);
    assert_non_null(block);
    ramet_free(block);
}

static void
alloc_fail_at__reaches_every_kind_of_allocation(void **state)
{
    char *block = ramet_strdup("text");

    (void)state;
    assert_string_equal(block, "text");
    ramet_alloc_fail_at(0);
    assert_null(ramet_calloc(1, 1));
    ramet_alloc_fail_at(0);
    assert_null(ramet_strdup("x"));
    ramet_alloc_fail_at(0);
    assert_null(ramet_asprintf("%d", 1));
    ramet_alloc_fail_at(0);
    assert_null(ramet_realloc(block, 100));
    assert_string_equal(block, "text"); /* untouched and still ours */
    ramet_free(block);
}

static void
alloc__of_nothing_is_a_block(void **state)
{
    void *const a = ramet_alloc(0);
    void *const b = ramet_calloc(0, 8);
    void *const c = ramet_realloc(NULL, 0);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    ramet_free(a);
    ramet_free(b);
    ramet_free(c);
    ramet_free(NULL);
}

static void
alloc__refuses_what_overflows(void **state)
{
    volatile size_t huge = SIZE_MAX; /* volatile: no warning at build time */

    (void)state;
    assert_null(ramet_alloc(huge));
    assert_null(ramet_calloc(huge / 2, 3));
    assert_null(ramet_calloc(huge / 4 + 2, 4));
    assert_null(ramet_realloc(NULL, huge));
}

static void
calloc__gives_zeros(void **state)
{
    static const char zeros[100];
    char *const block = ramet_calloc(25, 4);

    (void)state;
    assert_memory_equal(block, zeros, 100);
    ramet_free(block);
}

static void
asprintf__formats_any_length(void **state)
{
    char *const text = ramet_asprintf("%s-%0500d", "a", 7);

    (void)state;
    assert_int_equal(strlen(text), 502);
    assert_int_equal(text[501], '7');
    ramet_free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_fail_at__fails_that_one_and_no_other),
        cmocka_unit_test(alloc_fail_at__is_turned_off_by_minus_one),
        cmocka_unit_test(alloc_fail_at__reaches_every_kind_of_allocation),
        cmocka_unit_test(alloc__of_nothing_is_a_block),
        cmocka_unit_test(alloc__refuses_what_overflows),
        cmocka_unit_test(calloc__gives_zeros),
        cmocka_unit_test(asprintf__formats_any_length),
    };
    return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
