/*
 * test_delta_front.c - fronts of blocks of deltas, and what they vouch for.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "pagestore/delta.h"

/* docs/format.md's test vector: front and frame. */
static const uint8_t vector[] = {
    0x02,                                           /* pages */
    0xf0, 0x8e, 0xf1, 0x4f, 0x2f, 0x53, 0x8e, 0x17, /* sums */
    0xea, 0xfa, 0xcd, 0x8e, 0x34, 0xc2, 0x88, 0x1b, /* */
    0xf9, 0x9a, 0xfa, 0x8d, 0x36, 0xdf, 0xa1, 0xe7, /* the frame's */
    0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x11, 0x89, 0x00, 0x00, 0x0f,
    0x00, 0x8c, 0x03, 0x00, 0x01, 0x00,                         /* steps */
    0x00, 0x00, 0x09, 0x00, 0x00, 0x22, 0x00, 0x00, 0x0f, 0x62, /* a literal */
};
static const struct ramet_hash hash = {{0x20, 0x2b, 0xc3, 0x44, 0x58, 0x7a,
                                        0x72, 0x0d, 0xcf, 0xc8, 0x63, 0x9d,
                                        0xbe, 0x30, 0xf1, 0x13}};
enum { FRONT = 25 };

static void
front__of_the_vector_vouches_for_its_block(void **state)
{
    struct ramet_delta_front front;

    (void)state;
    assert_int_equal(ramet_delta_front_length(vector, sizeof(vector)), FRONT);
    assert_true(ramet_delta_front_read(vector, FRONT, &front));
    assert_int_equal(front.page_count, 2);
    assert_int_equal(front.length_bytes, FRONT);
    assert_true(ramet_delta_front_sum(&front, 0) == 0xf08ef14f2f538e17u);
    assert_true(ramet_delta_front_sum(&front, 1) == 0xeafacd8e34c2881bu);
    assert_true(front.frame_sum == 0xf99afa8d36dfa1e7u);
    assert_true(ramet_delta_front_matches(vector, FRONT, &hash));
    assert_true(ramet_delta_block_matches(vector, sizeof(vector), &hash));
}

/* Of the front alone those of the front, of the block all; and so says its extent. */
static void
block__with_another_bit_or_cut_off_is_not_the_one(void **state)
{
    struct ramet_extent extent = {.length_bytes = sizeof(vector),
                                  .hash_algo = RAMET_HASH_FRONT,
                                  .hash = hash};

    (void)state;
    assert_true(ramet_extent_matches(&extent, vector));
    for (size_t bit = 0; bit < sizeof(vector) * 8; bit++) {
        uint8_t *const bytes = malloc(sizeof(vector));

        memcpy(bytes, vector, sizeof(vector));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(
            ramet_delta_front_matches(bytes, sizeof(vector), &hash),
            bit / 8 >= FRONT);
        assert_false(ramet_delta_block_matches(bytes, sizeof(vector), &hash));
        assert_false(ramet_extent_matches(&extent, bytes));
        free(bytes);
    }
    for (size_t len = 0; len < sizeof(vector); len++) {
        uint8_t *const bytes = malloc(len + 1);
        struct ramet_delta_front front;

        memcpy(bytes, vector, len);
        assert_int_equal(ramet_delta_front_read(bytes, len, &front),
                         len >= FRONT);
        assert_int_equal(ramet_delta_front_matches(bytes, len, &hash),
                         len >= FRONT);
        assert_false(ramet_delta_block_matches(bytes, len, &hash));
        free(bytes);
    }
}

static void
front__of_no_pages_or_too_many_is_none(void **state)
{
    static const uint8_t counts[][3] = {
        {0x00, 0x00, 0x00}, /* none */
        {0x81, 0x20, 0x00}, /* 4097 */
        {0x80, 0x00, 0x00}, /* a long varint */
        {0x80, 0x80, 0x01}, /* 16384 */
    };
    static const uint8_t most[] = {0x80, 0x20};

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        assert_int_equal(ramet_delta_front_length(counts[i], 3), 0);
    assert_int_equal(ramet_delta_front_length(most, 1), 0);
    assert_int_equal(ramet_delta_front_length(most, 2), RAMET_DELTA_FRONT_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(front__of_the_vector_vouches_for_its_block),
        cmocka_unit_test(block__with_another_bit_or_cut_off_is_not_the_one),
        cmocka_unit_test(front__of_no_pages_or_too_many_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
