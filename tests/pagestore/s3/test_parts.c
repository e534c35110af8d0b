/*
 * test_parts.c - reading many parts, where it ends before it began.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "pagestore/s3/s3store.h"

#define PARTS 8u

static enum ramet_rc
take(void *ctx, const struct ramet_part *part, size_t got,
     struct ramet_err *err)
{
    (void)part;
    (void)got;
    (void)err;
    ++*(unsigned *)ctx;
    return RAMET_OK;
}

/* What is allocated next has something in it. */
static void
soil_memory(void)
{
    enum { COUNT = 8, SIZE = 100000 };
    void *blocks[COUNT];

    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = malloc(SIZE);
        assert_non_null(blocks[i]);
        memset(blocks[i], 0x5a, SIZE);
    }
    for (unsigned i = 0; i < COUNT; i++)
        free(blocks[i]);
}

/* Of requests that never went out nothing is to be ended. */
static void
parts__without_credentials__are_none(void **state)
{
    static uint8_t bufs[PARTS][16];
    const struct ramet_s3_options options = {.configured = false};
    struct ramet_part parts[PARTS];
    struct ramet_objstore *store;
    struct ramet_err err;
    unsigned taken = 0;

    (void)state;
    assert_int_equal(setenv("HOME", "/nonexistent", 1), 0);
    assert_int_equal(setenv("AWS_EC2_METADATA_DISABLED", "true", 1), 0);
    assert_int_equal(unsetenv("AWS_ACCESS_KEY_ID"), 0);
    assert_int_equal(ramet_s3store_open("s3://bucket-of-nobody/x",
                                        "region=eu-west-1", &options, &store,
                                        &err),
                     RAMET_OK);
    for (unsigned i = 0; i < PARTS; i++)
        parts[i] =
            (struct ramet_part){.key = "ramet.json", .len = 16, .buf = bufs[i]};
    soil_memory();
    assert_int_equal(
        ramet_objstore_read_parts(store, parts, PARTS, take, &taken, &err),
        RAMET_EAUTH);
    assert_int_equal(taken, 0);
    ramet_objstore_close(store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts__without_credentials__are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
