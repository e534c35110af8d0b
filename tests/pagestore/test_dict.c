/*
 * test_dict.c - when a dictionary is worth it, and that it comes back whole.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/segment.h"
#include "tests/support/faultstore.h"

static uint64_t
next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* Pages of rows with many words in common. */
static uint8_t *
text_pages(uint32_t count, uint32_t page_size)
{
    static const char *const words[] = {"package",
                                        "library",
                                        "depends",
                                        "maintainer",
                                        "Debian",
                                        "version",
                                        "https://www.example.org/projects/",
                                        "optional",
                                        "architecture"};
    uint8_t *pages = calloc(count, page_size);
    uint64_t x = 42;

    for (uint32_t i = 0; i < count; i++) {
        char *at = (char *)pages + (size_t)i * page_size;
        size_t left = page_size;

        while (left > 80) {
            const uint64_t r = next_random(&x);
            const int len =
                snprintf(at, left, "%s %s %06u;", words[r % 9],
                         words[(r >> 8) % 9], (unsigned)(r >> 16) % 1000000u);

            at += len;
            left -= (size_t)len;
        }
    }
    return pages;
}

static enum ramet_rc
train(const uint8_t *pages, uint32_t count, uint32_t page_size, bool *out_worth,
      uint8_t **out_dict, size_t *out_len)
{
    return ramet_dict_train(pages, count, page_size, out_worth, out_dict,
                            out_len, NULL);
}

static void
train__is_worth_it_for_rows(void **state)
{
    uint8_t *pages = text_pages(1000, 4096);
    uint8_t *dict = NULL;
    size_t len = 0;
    bool worth = false;

    (void)state;
    assert_int_equal(train(pages, 1000, 4096, &worth, &dict, &len), RAMET_OK);
    assert_true(worth);
    assert_true(len > 1000 && len <= RAMET_DICT_BYTES_MAX);
    ramet_free(dict);
    free(pages);
}

static void
train__gives_the_same_for_the_same_pages(void **state)
{
    uint8_t *pages = text_pages(1000, 4096);
    uint8_t *dicts[2] = {0};
    size_t lens[2] = {0};
    bool worth = false;

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(train(pages, 1000, 4096, &worth, &dicts[i], &lens[i]),
                         RAMET_OK);
    assert_int_equal(lens[0], lens[1]);
    assert_memory_equal(dicts[0], dicts[1], lens[0]);
    ramet_free(dicts[0]);
    ramet_free(dicts[1]);
    free(pages);
}

static void
expect_not_worth(const uint8_t *pages, uint32_t count, uint32_t page_size)
{
    uint8_t *dict = NULL;
    size_t len = 0;
    bool worth = true;

    assert_int_equal(train(pages, count, page_size, &worth, &dict, &len),
                     RAMET_OK);
    assert_false(worth);
    assert_null(dict); /* untouched */
    assert_int_equal(len, 0);
}

static void
train__is_not_worth_it_for_noise_zeros_or_few(void **state)
{
    uint8_t *noise = malloc(500 * 4096);
    uint8_t *zeros = calloc(500, 4096);
    uint8_t *few = text_pages(60, 4096);
    uint64_t x = 7;

    (void)state;
    for (size_t i = 0; i < 500 * 4096; i++)
        noise[i] = (uint8_t)next_random(&x);
    expect_not_worth(noise, 500, 4096);
    expect_not_worth(zeros, 500, 4096);
    expect_not_worth(few, 0, 4096);
    expect_not_worth(few, 1, 4096);
    expect_not_worth(few, 15, 4096);
    expect_not_worth(few, 60, 4096); /* less than it costs */
    free(noise);
    free(zeros);
    free(few);
}

static void
train__takes_every_page_size_and_any_amount(void **state)
{
    (void)state;
    for (uint32_t size = 512; size <= 65536; size *= 2)
        for (uint32_t count = 16; (uint64_t)count * size <= 12u << 20;
             count *= 3) {
            uint8_t *pages = text_pages(count, size);
            uint8_t *dict = NULL;
            size_t len = 0;
            bool worth = false;

            assert_int_equal(train(pages, count, size, &worth, &dict, &len),
                             RAMET_OK);
            assert_int_equal(dict != NULL, worth);
            ramet_free(dict);
            free(pages);
        }
}

static void
train__survives_failure_of_each_allocation(void **state)
{
    uint8_t *pages = text_pages(300, 4096);
    enum ramet_rc rc = RAMET_ENOMEM;
    long nth;

    (void)state;
    for (nth = 0; rc == RAMET_ENOMEM; nth++) {
        uint8_t *dict = NULL;
        size_t len = 0;
        bool worth = false;

        assert_true(nth < 100);
        ramet_alloc_fail_at(nth);
        rc = train(pages, 300, 4096, &worth, &dict, &len);
        ramet_alloc_fail_at(-1);
        ramet_free(dict);
    }
    assert_int_equal(rc, RAMET_OK);
    assert_true(nth > 4);
    free(pages);
}

/* ---- keeping -------------------------------------------------------------- */

struct kept {
    struct ramet_objstore *memory;
    struct ramet_objstore *store;
    uint8_t *dict;
    size_t len;
    struct ramet_extent extent;
};

static int
setup(void **state)
{
    const struct ramet_vid volume = {{{9}}};
    struct kept *k = calloc(1, sizeof(*k));
    uint8_t *pages = text_pages(1000, 4096);
    bool worth = false;
    enum ramet_rc rc = train(pages, 1000, 4096, &worth, &k->dict, &k->len);

    free(pages);
    *state = k;
    if (rc != RAMET_OK || !worth ||
        ramet_memstore_open(&k->memory, NULL) != RAMET_OK)
        return -1;
    k->store = ramet_faultstore_new(k->memory);
    rc = ramet_dict_store(k->store, &volume, k->dict, k->len, &k->extent, NULL);
    return rc == RAMET_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    struct kept *k = *state;

    ramet_objstore_close(k->store);
    ramet_objstore_close(k->memory);
    ramet_free(k->dict);
    free(k);
    return 0;
}

static void
store__keeps_it_compressed_as_a_segment(void **state)
{
    struct kept *k = *state;
    uint8_t header[RAMET_SEGMENT_HEADER_SIZE];
    uint8_t *dict = NULL;
    uint32_t page_size = 7;
    uint64_t size = 0;
    size_t len = 0;
    char key[RAMET_KEY_MAX];

    assert_int_equal(ramet_dict_load(k->store, &k->extent, &dict, &len, NULL),
                     RAMET_OK);
    assert_int_equal(len, k->len);
    assert_memory_equal(dict, k->dict, len);
    ramet_free(dict);
    assert_int_equal(ramet_faultstore_counts(k->store).reads, 1);
    assert_int_equal(ramet_faultstore_counts(k->store).puts, 1);

    ramet_extent_key(&k->extent, key);
    assert_int_equal(ramet_objstore_size(k->store, key, &size, NULL), RAMET_OK);
    assert_int_equal(size, 32u + k->extent.length_bytes);
    assert_true(size < k->len);
    assert_int_equal(ramet_objstore_read_full(k->store, key, 0, header,
                                              sizeof(header), NULL),
                     RAMET_OK);
    assert_int_equal(ramet_segment_header_check(header, &k->extent.segment,
                                                &page_size, NULL),
                     RAMET_OK);
    assert_int_equal(page_size, 0);
}

static void
load__notices_what_the_store_does_wrong(void **state)
{
    static const enum ramet_fault faults[] = {RAMET_FAULT_FLIP_BIT,
                                              RAMET_FAULT_SHORT};
    struct kept *k = *state;
    struct ramet_extent bad = k->extent;
    uint8_t *dict = NULL;
    size_t len = 0;

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        ramet_faultstore_arm(k->store, faults[i], 0, RAMET_OK);
        assert_int_equal(
            ramet_dict_load(k->store, &k->extent, &dict, &len, NULL),
            RAMET_ECORRUPT);
    }
    bad.offset_bytes += 1;
    assert_int_equal(ramet_dict_load(k->store, &bad, &dict, &len, NULL),
                     RAMET_ECORRUPT);
    bad = k->extent;
    bad.segment.id.bytes[0] ^= 1;
    assert_int_equal(ramet_dict_load(k->store, &bad, &dict, &len, NULL),
                     RAMET_ENOTFOUND);
    assert_null(dict);
}

static void
store_and_load__survive_failure_of_each_allocation(void **state)
{
    const struct ramet_vid volume = {{{9}}};
    struct kept *k = *state;
    enum ramet_rc rc = RAMET_ENOMEM;
    long nth;

    for (nth = 0; rc == RAMET_ENOMEM; nth++) {
        struct ramet_extent extent;
        uint8_t *dict = NULL;
        size_t len = 0;

        assert_true(nth < 100);
        ramet_alloc_fail_at(nth);
        rc =
            ramet_dict_store(k->store, &volume, k->dict, k->len, &extent, NULL);
        if (rc == RAMET_OK)
            rc = ramet_dict_load(k->store, &extent, &dict, &len, NULL);
        ramet_alloc_fail_at(-1);
        ramet_free(dict);
    }
    assert_int_equal(rc, RAMET_OK);
    assert_true(nth > 6);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(train__is_worth_it_for_rows),
        cmocka_unit_test(train__gives_the_same_for_the_same_pages),
        cmocka_unit_test(train__is_not_worth_it_for_noise_zeros_or_few),
        cmocka_unit_test(train__takes_every_page_size_and_any_amount),
        cmocka_unit_test(train__survives_failure_of_each_allocation),
        TEST(store__keeps_it_compressed_as_a_segment),
        TEST(load__notices_what_the_store_does_wrong),
        TEST(store_and_load__survive_failure_of_each_allocation),
    };
    return cmocka_run_group_tests_name("dict", tests, NULL, NULL);
}
