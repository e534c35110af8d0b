/*
 * test_pageset.c - sets against a model of flags, their bytes against vectors,
 * the decoder on damaged bytes, and every call without memory.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/pageset.h"

#define PAGES 200u

struct model {
    bool has[PAGES + 1];
};

static uint64_t rng_state;

/* xorshift64*: the same seed gives the same run anywhere. */
static uint32_t
next_random(uint32_t below)
{
    rng_state ^= rng_state >> 12;
    rng_state ^= rng_state << 25;
    rng_state ^= rng_state >> 27;
    return (uint32_t)(rng_state * UINT64_C(0x2545f4914f6cdd1d) >> 33) % below;
}

static void
add(struct ramet_pageset *set, uint32_t first, uint32_t last)
{
    assert_int_equal(
        ramet_pageset_add_run(set, (struct ramet_run){first, last}), RAMET_OK);
}

static void
check(const struct ramet_pageset *set, const struct model *model)
{
    uint64_t count = 0;
    uint32_t next = 0;

    for (size_t i = 0; i < set->run_count; i++) {
        assert_true(set->runs[i].first >= 1);
        assert_true(set->runs[i].first <= set->runs[i].last);
        if (i > 0)
            assert_true(set->runs[i].first > set->runs[i - 1].last + 1);
    }
    for (uint32_t pgno = PAGES; pgno >= 1; pgno--) {
        assert_int_equal(ramet_pageset_contains(set, pgno), model->has[pgno]);
        assert_int_equal(ramet_pageset_next(set, pgno), next);
        if (model->has[pgno])
            next = pgno;
        count += model->has[pgno];
    }
    assert_int_equal(ramet_pageset_next(set, 0), next);
    assert_int_equal(ramet_pageset_count(set), count);
}

/* Random operations on two sets; few and many runs, so that the paths for
 * small and for large operands are both taken. */
static void
pageset__agrees_with_a_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct ramet_pageset a = {0};
        struct ramet_pageset b = {0};
        struct model ma = {{0}};
        struct model mb = {{0}};
        const uint32_t width = 1 + (uint32_t)seed % 12;

        rng_state = seed;
        for (int i = 0; i < 400; i++) {
            const uint32_t first = 1 + next_random(PAGES);
            const uint32_t more = next_random(width);
            const uint32_t last = first + more < PAGES ? first + more : PAGES;
            const struct ramet_run run = {first, last};
            bool common = false;

            switch (next_random(12)) {
            default:
                add(&a, first, last);
                for (uint32_t p = first; p <= last; p++)
                    ma.has[p] = true;
                break;
            case 0:
                assert_int_equal(ramet_pageset_add(&a, first), RAMET_OK);
                ma.has[first] = true;
                break;
            case 1:
            case 2:
            case 3:
                assert_int_equal(ramet_pageset_remove_run(&a, run), RAMET_OK);
                for (uint32_t p = first; p <= last; p++)
                    ma.has[p] = false;
                break;
            case 4:
                assert_int_equal(ramet_pageset_add_set(&a, &b), RAMET_OK);
                for (uint32_t p = 1; p <= PAGES; p++)
                    ma.has[p] |= mb.has[p];
                break;
            case 5:
                assert_int_equal(ramet_pageset_remove_set(&a, &b), RAMET_OK);
                for (uint32_t p = 1; p <= PAGES; p++)
                    ma.has[p] &= !mb.has[p];
                break;
            case 6: {
                const struct model tmp = ma;

                ramet_pageset_swap(&a, &b);
                ma = mb;
                mb = tmp;
                break;
            }
            case 7:
                if (next_random(8) != 0)
                    break;
                ramet_pageset_truncate(&a, first);
                for (uint32_t p = first + 1; p <= PAGES; p++)
                    ma.has[p] = false;
                break;
            }
            check(&a, &ma);
            check(&b, &mb);
            for (uint32_t p = 1; p <= PAGES; p++)
                common |= ma.has[p] && mb.has[p];
            assert_int_equal(ramet_pageset_intersects(&a, &b), common);
            assert_int_equal(ramet_pageset_equal(&a, &b),
                             memcmp(&ma, &mb, sizeof(ma)) == 0);
        }
        ramet_pageset_done(&a);
        ramet_pageset_done(&b);
    }
}

/* What was added is in it, the bound is kept, and what is far from anything
 * added stays out. */
static void
pageset__with_a_bound_joins_what_is_near(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct ramet_pageset set = {.run_max = 1 + seed % 9};
        struct ramet_pageset other = {0};
        uint32_t added[100];

        rng_state = seed;
        for (unsigned i = 0; i < 100; i++) {
            added[i] = 1 + next_random(1000000);
            if (i % 7 != 0) {
                add(&set, added[i], added[i]);
            } else {
                ramet_pageset_clear(&other);
                add(&other, added[i], added[i]);
                assert_int_equal(ramet_pageset_add_set(&set, &other), RAMET_OK);
            }
            assert_in_range(set.run_count, 1, set.run_max);
            for (unsigned k = 0; k <= i; k++)
                assert_true(ramet_pageset_contains(&set, added[k]));
        }
        ramet_pageset_done(&other);
        ramet_pageset_done(&set);
    }
}

static void
pageset__with_a_bound_keeps_large_gaps(void **state)
{
    struct ramet_pageset set = {.run_max = 4};

    (void)state;
    for (uint32_t p = 1; p < 1000; p += 2) {
        add(&set, p, p);
        add(&set, 1000000 + p, 1000000 + p);
    }
    assert_false(ramet_pageset_contains(&set, 500000));
    assert_true(ramet_pageset_count(&set) < 2000);
    ramet_pageset_done(&set);
}

static void
pageset__reaches_the_last_page_number(void **state)
{
    struct ramet_pageset set = {0};
    struct ramet_pageset other = {0};

    (void)state;
    assert_int_equal(ramet_pageset_add(&set, UINT32_MAX), RAMET_OK);
    assert_int_equal(ramet_pageset_add(&set, UINT32_MAX), RAMET_OK);
    assert_int_equal(ramet_pageset_add(&set, UINT32_MAX - 1), RAMET_OK);
    assert_int_equal(set.run_count, 1);
    assert_int_equal(ramet_pageset_next(&set, UINT32_MAX - 1), UINT32_MAX);
    assert_int_equal(ramet_pageset_next(&set, UINT32_MAX), 0);
    add(&set, 1, UINT32_MAX);
    assert_int_equal(set.run_count, 1);
    assert_true(ramet_pageset_count(&set) == UINT32_MAX);
    add(&other, 5, UINT32_MAX);
    assert_int_equal(ramet_pageset_remove_set(&set, &other), RAMET_OK);
    assert_int_equal(ramet_pageset_count(&set), 4);
    assert_int_equal(
        ramet_pageset_remove_run(&other, (struct ramet_run){7, UINT32_MAX}),
        RAMET_OK);
    assert_int_equal(ramet_pageset_count(&other), 2);
    ramet_pageset_truncate(&other, 0);
    assert_int_equal(other.run_count, 0);
    ramet_pageset_done(&set);
    ramet_pageset_done(&other);
    ramet_pageset_done(NULL);
}

static void
pageset__with_itself_is_no_surprise(void **state)
{
    struct ramet_pageset set = {0};

    (void)state;
    add(&set, 3, 9);
    assert_int_equal(ramet_pageset_add_set(&set, &set), RAMET_OK);
    assert_int_equal(ramet_pageset_copy(&set, &set), RAMET_OK);
    assert_int_equal(ramet_pageset_count(&set), 7);
    assert_true(ramet_pageset_equal(&set, &set));
    assert_int_equal(ramet_pageset_remove_set(&set, &set), RAMET_OK);
    assert_int_equal(ramet_pageset_count(&set), 0);
    ramet_pageset_done(&set);
}

/* docs/format.md, "Page set", has the same vectors. */
static const struct {
    size_t run_count;
    struct ramet_run runs[3];
    size_t len;
    const char *bytes;
} vectors[] = {
    {0, {{0, 0}}, 1, "\x00"},
    {1, {{1, 1}}, 3, "\x01\x00\x00"},
    {1, {{2, 5}}, 3, "\x01\x01\x03"},
    {2, {{1, 1}, {3, 3}}, 5, "\x02\x00\x00\x01\x00"},
    {3,
     {{1, 3}, {7, 7}, {300, 70000}},
     10,
     "\x03\x00\x02\x03\x00\xa4\x02\xc4\xa0\x04"},
    {1, {{1, UINT32_MAX}}, 7, "\x01\x00\xfe\xff\xff\xff\x0f"},
    {1, {{UINT32_MAX, UINT32_MAX}}, 7, "\x01\xfe\xff\xff\xff\x0f\x00"},
};
#define VECTOR_COUNT (sizeof(vectors) / sizeof(vectors[0]))

static enum ramet_rc
decode(struct ramet_pageset *set, const void *bytes, size_t len,
       uint32_t max_pgno, size_t max_runs, struct ramet_err *err)
{
    struct ramet_reader in;
    enum ramet_rc rc;

    ramet_reader_init(&in, bytes, len);
    rc = ramet_pageset_decode(set, &in, max_pgno, max_runs, err);
    if (rc == RAMET_ECORRUPT)
        assert_true(in.bad);
    return rc;
}

static void
pageset_encode__gives_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTOR_COUNT; i++) {
        struct ramet_pageset set = {0};
        struct ramet_pageset back = {0};
        struct ramet_buf out;

        for (size_t j = 0; j < vectors[i].run_count; j++)
            add(&set, vectors[i].runs[j].first, vectors[i].runs[j].last);
        ramet_buf_init(&out, 100);
        assert_int_equal(ramet_pageset_encode(&set, &out), RAMET_OK);
        assert_int_equal(out.len, vectors[i].len);
        assert_memory_equal(out.data, vectors[i].bytes, out.len);
        assert_int_equal(decode(&back, vectors[i].bytes, vectors[i].len,
                                UINT32_MAX, 3, NULL),
                         RAMET_OK);
        assert_true(ramet_pageset_equal(&set, &back));
        ramet_buf_done(&out);
        ramet_pageset_done(&set);
        ramet_pageset_done(&back);
    }
}

static void
pageset_decode__replaces_what_was_there_and_stops_at_its_end(void **state)
{
    struct ramet_pageset set = {0};
    struct ramet_reader in;

    (void)state;
    add(&set, 100, 200);
    ramet_reader_init(&in, "\x01\x01\x03\x77", 4);
    assert_int_equal(ramet_pageset_decode(&set, &in, 5, 1, NULL), RAMET_OK);
    assert_int_equal(in.pos, 3);
    assert_int_equal(ramet_pageset_count(&set), 4);
    ramet_pageset_done(&set);
}

static void
pageset_decode__refuses_every_truncation(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTOR_COUNT; i++)
        for (size_t len = 0; len < vectors[i].len; len++) {
            struct ramet_pageset set = {0};
            struct ramet_err err = {0};

            assert_int_equal(
                decode(&set, vectors[i].bytes, len, UINT32_MAX, 100, &err),
                RAMET_ECORRUPT);
            assert_int_equal(err.code, RAMET_ECORRUPT);
            assert_true(err.text[0] != '\0');
            assert_null(set.runs);
        }
}

static void
pageset_decode__refuses_nonsense(void **state)
{
    static const struct {
        size_t len;
        const char *bytes;
    } cases[] = {
        {5, "\x02\x00\x00\x00\x00"},         /* runs touch */
        {3, "\x01\x0a\x00"},                 /* page 11 of 10 */
        {3, "\x01\x09\x01"},                 /* 10 to 11 of 10 */
        {3, "\x01\x00\x0a"},                 /* 1 to 11 of 10 */
        {7, "\x01\xff\xff\xff\xff\x0f\x00"}, /* gap of 2^32 - 1 */
        {12, "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"},
        {12, "\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
        {4, "\x81\x00\x00\x00"},                     /* long varint */
        {9, "\x04\x00\x00\x01\x00\x01\x00\x01\x00"}, /* 4 runs, limit 3 */
        {10, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ramet_pageset set = {0};
        struct ramet_err err = {0};

        assert_int_equal(
            decode(&set, cases[i].bytes, cases[i].len, 10, 3, &err),
            RAMET_ECORRUPT);
        assert_int_equal(err.code, RAMET_ECORRUPT);
        assert_null(set.runs);
    }
}

static void
pageset_decode__with_no_pages_takes_the_empty_set_alone(void **state)
{
    struct ramet_pageset set = {0};

    (void)state;
    assert_int_equal(decode(&set, "\x00", 1, 0, 0, NULL), RAMET_OK);
    assert_int_equal(decode(&set, "\x01\x00\x00", 3, 0, 1, NULL),
                     RAMET_ECORRUPT);
    ramet_pageset_done(&set);
}

/* Any bit flip gives a valid set that encodes to those bytes, or a refusal. */
static void
pageset_decode__accepts_one_encoding_of_each_set(void **state)
{
    uint8_t bytes[10];

    (void)state;
    memcpy(bytes, vectors[4].bytes, sizeof(bytes));
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        struct ramet_pageset set = {0};
        struct ramet_reader in;
        struct ramet_buf out;

        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ramet_buf_init(&out, 100);
        ramet_reader_init(&in, bytes, sizeof(bytes));
        if (ramet_pageset_decode(&set, &in, UINT32_MAX, 100, NULL) ==
            RAMET_OK) {
            assert_int_equal(ramet_pageset_encode(&set, &out), RAMET_OK);
            assert_int_equal(out.len, in.pos);
            assert_memory_equal(out.data, bytes, out.len);
        }
        ramet_buf_done(&out);
        ramet_pageset_done(&set);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* Each call that may want memory, without it: as before, and ENOMEM. */
static void
pageset__is_untouched_when_memory_fails(void **state)
{
    struct ramet_pageset set = {0};
    struct ramet_pageset other = {0};
    struct ramet_pageset before = {0};
    struct ramet_pageset fresh = {0};
    struct ramet_buf out;

    (void)state;
    for (uint32_t i = 0; i < 64; i++) { /* capacity is full at a power of 2 */
        add(&set, 1000 + i * 10, 1003 + i * 10);
        add(&other, 1002 + i * 10, 1006 + i * 10);
    }
    assert_int_equal(set.run_count, set.run_capacity);
    assert_int_equal(ramet_pageset_copy(&before, &set), RAMET_OK);

    ramet_alloc_fail_at(0);
    assert_int_equal(ramet_pageset_add(&set, 5), RAMET_ENOMEM);
    ramet_alloc_fail_at(0);
    assert_int_equal(
        ramet_pageset_remove_run(&set, (struct ramet_run){1001, 1002}),
        RAMET_ENOMEM);
    ramet_alloc_fail_at(0);
    assert_int_equal(ramet_pageset_add_set(&set, &other), RAMET_ENOMEM);
    ramet_alloc_fail_at(0);
    assert_int_equal(ramet_pageset_remove_set(&set, &other), RAMET_ENOMEM);
    ramet_alloc_fail_at(0);
    assert_int_equal(ramet_pageset_copy(&fresh, &set), RAMET_ENOMEM);
    assert_true(ramet_pageset_equal(&set, &before));

    ramet_buf_init(&out, 1000);
    ramet_alloc_fail_at(0);
    assert_int_equal(ramet_pageset_encode(&set, &out), RAMET_ENOMEM);
    ramet_buf_clear(&out);
    assert_int_equal(ramet_pageset_encode(&set, &out), RAMET_OK);
    ramet_alloc_fail_at(0);
    assert_int_equal(decode(&fresh, out.data, out.len, UINT32_MAX, 1000, NULL),
                     RAMET_ENOMEM);
    ramet_alloc_fail_at(-1);
    assert_int_equal(fresh.run_count, 0);

    ramet_buf_done(&out);
    ramet_pageset_done(&set);
    ramet_pageset_done(&other);
    ramet_pageset_done(&before);
    ramet_pageset_done(&fresh);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pageset__agrees_with_a_model),
        cmocka_unit_test(pageset__with_a_bound_joins_what_is_near),
        cmocka_unit_test(pageset__with_a_bound_keeps_large_gaps),
        cmocka_unit_test(pageset__reaches_the_last_page_number),
        cmocka_unit_test(pageset__with_itself_is_no_surprise),
        cmocka_unit_test(pageset_encode__gives_the_vectors),
        cmocka_unit_test(
            pageset_decode__replaces_what_was_there_and_stops_at_its_end),
        cmocka_unit_test(pageset_decode__refuses_every_truncation),
        cmocka_unit_test(pageset_decode__refuses_nonsense),
        cmocka_unit_test(
            pageset_decode__with_no_pages_takes_the_empty_set_alone),
        cmocka_unit_test(pageset_decode__accepts_one_encoding_of_each_set),
        cmocka_unit_test(pageset__is_untouched_when_memory_fails),
    };
    return cmocka_run_group_tests_name("pageset", tests, NULL, NULL);
}
