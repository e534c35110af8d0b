/*
 * test_hash.c - XXH3 against its published values, whole and in parts.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/alloc.h"
#include "core/hash.h"

static void
hash__of_nothing_is_the_published_value(void **state)
{
    static const uint8_t expected[RAMET_HASH_SIZE] = {
        0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
        0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f,
    };
    const struct ramet_hash hash = ramet_hash128(NULL, 0);

    (void)state;
    assert_true(ramet_hash64(NULL, 0) == UINT64_C(0x2d06800538d394c2));
    assert_memory_equal(hash.bytes, expected, sizeof(expected));
}

/* By xxHash's own library, which is compiled for any processor: lengths on
 * either side of every threshold, at any alignment. */
static void
hash__is_that_of_the_library_at_any_length(void **state)
{
    uint8_t data[9000];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 131 + i / 256);
    for (size_t len = 0; len < 8200; len += len < 1100 ? 1 : 397) {
        const uint8_t *const at = data + len % 67;
        const struct ramet_hash hash = ramet_hash128(at, len);
        XXH128_canonical_t canonical;

        XXH128_canonicalFromHash(&canonical, XXH3_128bits(at, len));
        assert_memory_equal(hash.bytes, canonical.digest, RAMET_HASH_SIZE);
        assert_true(ramet_hash64(at, len) == XXH3_64bits(at, len));
        assert_true(ramet_hash64_seeded(at, len, 77) ==
                    XXH3_64bits_withSeed(at, len, 77));
    }
}

static void
hash64__takes_the_seed_into_account(void **state)
{
    (void)state;
    assert_true(ramet_hash64_seeded("abc", 3, 0) == ramet_hash64("abc", 3));
    assert_true(ramet_hash64_seeded("abc", 3, 1) != ramet_hash64("abc", 3));
    assert_true(ramet_hash64_seeded("abc", 3, 1) ==
                ramet_hash64_seeded("abc", 3, 1));
}

static void
hasher__gives_the_same_in_parts_of_any_size(void **state)
{
    struct ramet_hasher *const hasher = ramet_hasher_new();
    uint8_t data[3000];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t part = 1; part <= sizeof(data); part = part * 3 + 1) {
        const struct ramet_hash whole = ramet_hash128(data, sizeof(data));
        struct ramet_hash parts;

        ramet_hasher_reset(hasher);
        for (size_t at = 0; at < sizeof(data); at += part) {
            const size_t left = sizeof(data) - at;

            ramet_hasher_update(hasher, data + at, left < part ? left : part);
            ramet_hasher_update(hasher, NULL, 0);
        }
        parts = ramet_hasher_digest(hasher);
        assert_true(ramet_hash_equal(&whole, &parts));
    }
    ramet_hasher_free(hasher);
}

static void
hasher__new_is_ready_and_survives_want_of_memory(void **state)
{
    const struct ramet_hash whole = ramet_hash128("x", 1);
    struct ramet_hasher *hasher;
    struct ramet_hash parts;

    (void)state;
    ramet_alloc_fail_at(0);
    assert_null(ramet_hasher_new());
    hasher = ramet_hasher_new();
    ramet_hasher_update(hasher, "x", 1);
    parts = ramet_hasher_digest(hasher);
    assert_true(ramet_hash_equal(&whole, &parts));
    ramet_hasher_free(hasher);
    ramet_hasher_free(NULL);
}

static void
hash_equal__sees_each_bit(void **state)
{
    const struct ramet_hash a = ramet_hash128("a", 1);

    (void)state;
    for (size_t bit = 0; bit < RAMET_HASH_SIZE * 8; bit++) {
        struct ramet_hash b = a;

        b.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(ramet_hash_equal(&a, &b));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash__of_nothing_is_the_published_value),
        cmocka_unit_test(hash__is_that_of_the_library_at_any_length),
        cmocka_unit_test(hash64__takes_the_seed_into_account),
        cmocka_unit_test(hasher__gives_the_same_in_parts_of_any_size),
        cmocka_unit_test(hasher__new_is_ready_and_survives_want_of_memory),
        cmocka_unit_test(hash_equal__sees_each_bit),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
