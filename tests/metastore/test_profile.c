/*
 * test_profile.c - warm profiles: their bytes, how they age, and what a store has
 * of them.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "metastore/profile.h"

static const struct ramet_vid volume = {
    .id = {{0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
            0x11, 0x11, 0x11, 0x11, 0x11}}};

struct fixture {
    struct ramet_objstore *store, *other;
    struct ramet_profile profile;
    struct ramet_pageset touched;
};

static int
setup(void **state)
{
    static struct fixture f;

    if (ramet_memstore_open(&f.store, NULL) != RAMET_OK ||
        ramet_memstore_open(&f.other, NULL) != RAMET_OK)
        return -1;
    ramet_profile_init(&f.profile);
    f.profile.page_size = 4096;
    f.profile.lsn = 9;
    f.profile.time_ms = 1795430000123;
    ramet_pageset_init(&f.touched);
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *const f = *state;

    ramet_profile_done(&f->profile);
    ramet_pageset_done(&f->touched);
    ramet_objstore_close(f->store);
    ramet_objstore_close(f->other);
    return 0;
}

/* A start that read these pages: the profile after it. */
static void
start(struct fixture *f, uint32_t first, uint32_t last)
{
    ramet_pageset_clear(&f->touched);
    assert_int_equal(
        ramet_pageset_add_run(&f->touched, (struct ramet_run){first, last}),
        RAMET_OK);
    assert_int_equal(ramet_profile_turn(&f->profile, &f->touched), RAMET_OK);
}

static void
profile__is_the_bytes_of_the_document(void **state)
{
    static const uint8_t expected[] = {
        0x52, 0x41, 0x4d, 0x54, 0x50, 0x52, 0x46, 0x01, 0x02, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
        0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x09, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0xfb, 0xa5, 0xf7, 0x07, 0xa2, 0x01, 0x00, 0x00,
        0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x06,
        0x02, 0x01, 0x04, 0x00, 0xa0, 0x79, 0x74, 0xd0, 0xcd, 0x16, 0x5a, 0x75,
        0x59, 0x30, 0xa6, 0x04, 0x90, 0xe2, 0xb4, 0x60};
    struct fixture *const f = *state;
    struct ramet_profile again;
    struct ramet_buf out;

    start(f, 5, 5);
    start(f, 1, 1);
    assert_int_equal(
        ramet_pageset_add_run(&f->profile.recent, (struct ramet_run){8, 10}),
        RAMET_OK);
    f->profile.seq = 2;
    ramet_buf_init(&out, RAMET_PROFILE_OBJECT_MAX);
    assert_int_equal(ramet_profile_encode(&volume, "web", &f->profile, &out),
                     RAMET_OK);
    assert_int_equal(out.len, sizeof(expected));
    assert_memory_equal(out.data, expected, sizeof(expected));
    ramet_profile_init(&again);
    assert_int_equal(
        ramet_profile_decode(&volume, "web", out.data, out.len, &again, NULL),
        RAMET_OK);
    assert_true(ramet_pageset_equal(&again.recent, &f->profile.recent));
    assert_true(ramet_pageset_equal(&again.older, &f->profile.older));
    assert_int_equal(again.seq, 2);
    assert_int_equal(again.lsn, 9);
    ramet_profile_done(&again);
    ramet_buf_done(&out);
}

static void
profile__with_any_changed_byte_is_refused(void **state)
{
    struct fixture *const f = *state;
    struct ramet_profile again;
    struct ramet_buf out;
    const struct ramet_vid stranger = {.id = {{0x12}}};

    start(f, 1, 100);
    f->profile.seq = 1;
    ramet_buf_init(&out, RAMET_PROFILE_OBJECT_MAX);
    assert_int_equal(ramet_profile_encode(&volume, "web", &f->profile, &out),
                     RAMET_OK);
    ramet_profile_init(&again);
    for (size_t i = 0; i < out.len; i++) {
        out.data[i] ^= 0x40;
        assert_int_equal(ramet_profile_decode(&volume, "web", out.data, out.len,
                                              &again, NULL),
                         i == 7 ? RAMET_EVERSION : RAMET_ECORRUPT);
        out.data[i] ^= 0x40;
    }
    for (size_t len = 0; len < out.len; len++)
        assert_int_equal(
            ramet_profile_decode(&volume, "web", out.data, len, &again, NULL),
            RAMET_ECORRUPT);
    assert_int_equal(
        ramet_profile_decode(&volume, "wec", out.data, out.len, &again, NULL),
        RAMET_ECORRUPT);
    assert_int_equal(
        ramet_profile_decode(&stranger, "web", out.data, out.len, &again, NULL),
        RAMET_ECORRUPT);
    ramet_buf_done(&out);
}

static void
page__that_two_starts_did_not_touch_is_gone(void **state)
{
    struct fixture *const f = *state;

    start(f, 1, 100);
    start(f, 51, 150);
    assert_int_equal(ramet_pageset_count(&f->profile.recent), 100);
    assert_int_equal(ramet_pageset_count(&f->profile.older), 50);
    assert_true(ramet_pageset_contains(&f->profile.older, 50));
    start(f, 51, 150);
    assert_int_equal(ramet_profile_pages(&f->profile), 100);
    assert_false(ramet_pageset_contains(&f->profile.older, 50));
}

static void
start__that_is_much_like_the_last_changes_nothing(void **state)
{
    struct fixture *const f = *state;

    start(f, 1, 100);
    assert_false(ramet_profile_differs(&f->profile, &f->touched));
    assert_int_equal(
        ramet_pageset_add_run(&f->touched, (struct ramet_run){101, 106}),
        RAMET_OK);
    assert_false(ramet_profile_differs(&f->profile, &f->touched));
    assert_int_equal(ramet_pageset_add(&f->touched, 107), RAMET_OK);
    assert_true(ramet_profile_differs(&f->profile, &f->touched));
    ramet_pageset_truncate(&f->touched, 80);
    assert_true(ramet_profile_differs(&f->profile, &f->touched));
}

static void
profile__has_no_more_pages_than_it_may(void **state)
{
    struct fixture *const f = *state;
    struct ramet_buf out;

    f->profile.page_size = 65536;
    start(f, 1, 100);
    start(f, 1001, 1000000);
    assert_int_equal(ramet_pageset_count(&f->profile.recent), 128);
    assert_int_equal(ramet_pageset_count(&f->profile.older), 0);
    assert_int_equal(ramet_pageset_next(&f->profile.recent, 0), 1001);
    f->profile.page_size = 512;
    ramet_pageset_clear(&f->touched);
    for (uint32_t i = 0; i < RAMET_PROFILE_PAGES_MAX + 10; i++)
        assert_int_equal(ramet_pageset_add(&f->touched, 1 + i * 1000000),
                         RAMET_OK);
    assert_int_equal(ramet_profile_turn(&f->profile, &f->touched), RAMET_OK);
    assert_int_equal(ramet_profile_pages(&f->profile), RAMET_PROFILE_PAGES_MAX);
    f->profile.seq = 1;
    ramet_buf_init(&out, RAMET_PROFILE_OBJECT_MAX);
    assert_int_equal(ramet_profile_encode(&volume, "web", &f->profile, &out),
                     RAMET_OK);
    ramet_buf_done(&out);
}

/* ---- in a store ---------------------------------------------------------------- */

static bool
count_key(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    ++*(unsigned *)ctx;
    return true;
}

static unsigned
objects_in(struct ramet_objstore *store)
{
    unsigned count = 0;

    assert_int_equal(
        ramet_objstore_list(store, "volumes/", "", count_key, &count, NULL),
        RAMET_OK);
    return count;
}

static void
profile__replaces_the_one_before(void **state)
{
    struct fixture *const f = *state;
    struct ramet_profile read, late;

    start(f, 1, 10);
    assert_int_equal(
        ramet_profile_write(f->store, &volume, "web", &f->profile, NULL),
        RAMET_OK);
    start(f, 1, 20);
    assert_int_equal(
        ramet_profile_write(f->store, &volume, "web", &f->profile, NULL),
        RAMET_OK);
    assert_int_equal(objects_in(f->store), 1);
    ramet_profile_init(&read);
    assert_int_equal(ramet_profile_read(f->store, &volume, "web", &read, NULL),
                     RAMET_OK);
    assert_int_equal(read.seq, 2);
    assert_int_equal(ramet_profile_pages(&read), 20);
    late = read;
    late.seq = 1; /* of who had read the first one */
    assert_int_equal(ramet_profile_write(f->store, &volume, "web", &late, NULL),
                     RAMET_EEXIST);
    ramet_profile_done(&read);
    ramet_profile_init(&read);
    assert_int_equal(ramet_profile_read(f->store, &volume, "we", &read, NULL),
                     RAMET_OK);
    assert_int_equal(read.seq, 0);
}

/* Whole, and under the key of a later one. */
static void
profile__with_the_number_of_another_is_none(void **state)
{
    struct fixture *const f = *state;
    struct ramet_profile again;
    struct ramet_buf out;
    struct iovec part;
    char key[RAMET_KEY_MAX];

    start(f, 1, 100);
    f->profile.seq = 1;
    ramet_buf_init(&out, RAMET_PROFILE_OBJECT_MAX);
    assert_int_equal(ramet_profile_encode(&volume, "web", &f->profile, &out),
                     RAMET_OK);
    part = (struct iovec){out.data, out.len};
    for (uint64_t seq = 1; seq < 3; seq++) {
        ramet_profile_key(&volume, "web", seq, key);
        assert_int_equal(ramet_objstore_put(f->store, key, &part, 1, NULL),
                         RAMET_OK);
        ramet_profile_init(&again);
        assert_int_equal(
            ramet_profile_read(f->store, &volume, "web", &again, NULL),
            seq == 1 ? RAMET_OK : RAMET_ECORRUPT);
        ramet_profile_done(&again);
    }
    ramet_buf_done(&out);
}

static void
damaged_profile__is_overwritten(void **state)
{
    struct fixture *const f = *state;
    static const char junk[] = "this is no profile";
    const struct iovec part = {(void *)(uintptr_t)junk, sizeof(junk)};
    struct ramet_profile read;
    char key[RAMET_KEY_MAX];

    ramet_profile_key(&volume, "web", 7, key);
    assert_int_equal(ramet_objstore_put(f->store, key, &part, 1, NULL),
                     RAMET_OK);
    ramet_profile_init(&read);
    assert_int_equal(ramet_profile_read(f->store, &volume, "web", &read, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(read.seq, 7);
    start(f, 1, 10);
    f->profile.seq = read.seq;
    assert_int_equal(
        ramet_profile_write(f->store, &volume, "web", &f->profile, NULL),
        RAMET_OK);
    assert_int_equal(objects_in(f->store), 1);
}

/* Of the highest number there is, which a store may say. */
static void
last_profile__has_none_after_it_and_can_be_removed(void **state)
{
    struct fixture *const f = *state;
    struct ramet_profile read;

    start(f, 1, 10);
    f->profile.seq = UINT64_MAX - 1;
    assert_int_equal(
        ramet_profile_write(f->store, &volume, "web", &f->profile, NULL),
        RAMET_OK);
    ramet_profile_init(&read);
    assert_int_equal(ramet_profile_read(f->store, &volume, "web", &read, NULL),
                     RAMET_OK);
    assert_true(read.seq == UINT64_MAX);
    assert_int_equal(ramet_profile_write(f->store, &volume, "web", &read, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(objects_in(f->store), 1);
    assert_int_equal(ramet_profile_remove(f->store, &volume, "web", NULL),
                     RAMET_OK);
    assert_int_equal(objects_in(f->store), 0);
    ramet_profile_done(&read);
}

static void
next_profile__is_the_one_after_and_of_one_of_64_names(void **state)
{
    struct fixture *const f = *state;
    char name[16];

    start(f, 1, 10);
    for (unsigned i = 0; i < RAMET_PROFILE_NAMES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%u", i);
        f->profile.seq = 0;
        assert_int_equal(
            ramet_profile_follows(f->store, &volume, name, 1, NULL), RAMET_OK);
        assert_int_equal(
            ramet_profile_write(f->store, &volume, name, &f->profile, NULL),
            RAMET_OK);
    }
    assert_int_equal(ramet_profile_follows(f->store, &volume, "n1", 1, NULL),
                     RAMET_EEXIST);
    assert_int_equal(ramet_profile_follows(f->store, &volume, "n1", 2, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_profile_follows(f->store, &volume, "n1", 3, NULL),
                     RAMET_ECONFLICT);
    assert_int_equal(ramet_profile_follows(f->store, &volume, "new", 1, NULL),
                     RAMET_ETOOBIG);
    f->profile.seq = 0;
    assert_int_equal(
        ramet_profile_write(f->store, &volume, "new", &f->profile, NULL),
        RAMET_ETOOBIG);
    assert_int_equal(
        ramet_profile_write(f->store, &volume, "n1", &f->profile, NULL),
        RAMET_EEXIST);
    assert_int_equal(ramet_profile_remove(f->store, &volume, "n1", NULL),
                     RAMET_OK);
    assert_int_equal(ramet_profile_remove(f->store, &volume, "n1", NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(ramet_profile_follows(f->store, &volume, "new", 1, NULL),
                     RAMET_OK);
}

static void
copy__brings_what_is_newer_there_than_here(void **state)
{
    struct fixture *const f = *state;
    struct ramet_profile read;

    start(f, 1, 10);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            ramet_profile_write(f->store, &volume, "web", &f->profile, NULL),
            RAMET_OK);
    assert_int_equal(ramet_profile_copy(f->store, f->other, &volume, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_profile_copy(f->store, f->other, &volume, NULL),
                     RAMET_OK);
    ramet_profile_init(&read);
    assert_int_equal(ramet_profile_read(f->other, &volume, "web", &read, NULL),
                     RAMET_OK);
    assert_int_equal(read.seq, 1); /* it counts by itself */
    assert_int_equal(ramet_profile_pages(&read), 10);
    read.time_ms++;
    assert_int_equal(ramet_profile_write(f->other, &volume, "web", &read, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_profile_copy(f->store, f->other, &volume, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_profile_read(f->other, &volume, "web", &read, NULL),
                     RAMET_OK);
    assert_int_equal(read.seq, 2);
    ramet_profile_done(&read);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(profile__is_the_bytes_of_the_document),
        TEST(profile__with_any_changed_byte_is_refused),
        TEST(page__that_two_starts_did_not_touch_is_gone),
        TEST(start__that_is_much_like_the_last_changes_nothing),
        TEST(profile__has_no_more_pages_than_it_may),
        TEST(profile__replaces_the_one_before),
        TEST(profile__with_the_number_of_another_is_none),
        TEST(damaged_profile__is_overwritten),
        TEST(last_profile__has_none_after_it_and_can_be_removed),
        TEST(next_profile__is_the_one_after_and_of_one_of_64_names),
        TEST(copy__brings_what_is_newer_there_than_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
