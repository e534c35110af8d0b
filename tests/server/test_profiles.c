/*
 * test_profiles.c - what a server keeps of warm profiles: who opens costs the store
 * nothing for a minute, and what changed here is told at once.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "server/profiles.h"
#include "tests/support/faultstore.h"

#define MINUTE_NS UINT64_C(60000000000)

static uint64_t clock_ns;

static uint64_t
read_clock(void *ctx)
{
    (void)ctx;
    return clock_ns;
}

struct fixture {
    struct ramet_objstore *memory, *store; /* the second counts */
    struct ramet_os os;
    struct ramet_profiles *profiles;
    struct ramet_vid volume;
    uint8_t object[RAMET_PROFILE_OBJECT_MAX];
    size_t len;
};

static int
setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    f.os = *ramet_os_system();
    f.os.mono_ns = read_clock;
    clock_ns = 5 * MINUTE_NS;
    f.volume.id.bytes[0] = 1;
    if (ramet_memstore_open(&f.memory, NULL) != RAMET_OK)
        return -1;
    f.store = ramet_faultstore_new(f.memory);
    f.profiles = ramet_profiles_new(&f.os);
    *state = &f;
    return f.store != NULL && f.profiles != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
    struct fixture *const f = *state;

    ramet_profiles_free(f->profiles);
    ramet_objstore_close(f->store);
    ramet_objstore_close(f->memory);
    return 0;
}

/* The next of that name, of so many pages, as somebody else would. */
static void
write_profile(struct fixture *f, const char *name, uint32_t pages)
{
    struct ramet_profile profile;
    struct ramet_pageset touched;

    ramet_profile_init(&profile);
    ramet_pageset_init(&touched);
    assert_int_equal(
        ramet_pageset_add_run(&touched, (struct ramet_run){1, pages}),
        RAMET_OK);
    assert_int_equal(
        ramet_profile_read(f->memory, &f->volume, name, &profile, NULL),
        RAMET_OK);
    profile.lsn = 1;
    profile.page_size = 4096;
    assert_int_equal(ramet_profile_turn(&profile, &touched), RAMET_OK);
    assert_int_equal(
        ramet_profile_write(f->memory, &f->volume, name, &profile, NULL),
        RAMET_OK);
    ramet_pageset_done(&touched);
    ramet_profile_done(&profile);
}

/* Pages of it as they are told; *out_requests of the store. */
static uint64_t
pages_told(struct fixture *f, const char *name, uint64_t *out_requests)
{
    struct ramet_profile profile;
    struct ramet_store_counts counts;
    uint64_t pages = 0;

    ramet_faultstore_reset_counts(f->store);
    assert_int_equal(ramet_profiles_read(f->profiles, f->store, &f->volume,
                                         name, f->object, &f->len, NULL),
                     RAMET_OK);
    counts = ramet_faultstore_counts(f->store);
    *out_requests = counts.reads + counts.lists + counts.sizes;
    if (f->len == 0)
        return 0;
    ramet_profile_init(&profile);
    assert_int_equal(ramet_profile_decode(&f->volume, name, f->object, f->len,
                                          &profile, NULL),
                     RAMET_OK);
    pages = ramet_profile_pages(&profile);
    ramet_profile_done(&profile);
    return pages;
}

static void
profile__is_read_once_a_minute(void **state)
{
    struct fixture *const f = *state;
    uint64_t requests;

    write_profile(f, "web", 10);
    assert_int_equal(pages_told(f, "web", &requests), 10);
    assert_int_equal(requests, 2); /* a list and a read */
    write_profile(f, "web", 20);   /* by another server */
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(pages_told(f, "web", &requests), 10);
        assert_int_equal(requests, 0);
    }
    clock_ns += MINUTE_NS - 1000000;
    assert_int_equal(pages_told(f, "web", &requests), 10);
    clock_ns += 1000000;
    assert_int_equal(pages_told(f, "web", &requests), 20);
    assert_int_equal(requests, 2);
}

static void
profile__that_is_not_there_is_looked_for_once_a_minute(void **state)
{
    struct fixture *const f = *state;
    uint64_t requests;

    assert_int_equal(pages_told(f, "web", &requests), 0);
    assert_int_equal(requests, 1);
    assert_int_equal(pages_told(f, "web", &requests), 0);
    assert_int_equal(requests, 0);
    clock_ns += MINUTE_NS;
    write_profile(f, "web", 3);
    assert_int_equal(pages_told(f, "web", &requests), 3);
}

static void
profile__that_was_written_here_is_told_at_once(void **state)
{
    struct fixture *const f = *state;
    uint64_t requests;

    write_profile(f, "web", 10);
    write_profile(f, "jobs", 5);
    assert_int_equal(pages_told(f, "web", &requests), 10);
    assert_int_equal(pages_told(f, "jobs", &requests), 5);
    write_profile(f, "web", 20);
    ramet_profiles_forget(f->profiles, &f->volume, "web");
    assert_int_equal(pages_told(f, "jobs", &requests), 5);
    assert_int_equal(requests, 0);
    assert_int_equal(pages_told(f, "web", &requests), 20);
}

static void
profile__of_another_volume_is_another(void **state)
{
    struct fixture *const f = *state;
    uint64_t requests;

    write_profile(f, "web", 10);
    assert_int_equal(pages_told(f, "web", &requests), 10);
    f->volume.id.bytes[0] = 2;
    assert_int_equal(pages_told(f, "web", &requests), 0);
    f->volume.id.bytes[0] = 1;
    assert_int_equal(pages_told(f, "web", &requests), 10);
    assert_int_equal(requests, 0);
}

static void
write_meanwhile(void *ctx)
{
    struct fixture *const f = ctx;

    write_profile(f, "web", 20);
    ramet_profiles_forget(f->profiles, &f->volume, "web");
}

/* While it is read another is written here: whether what came is the one or the
 * other can't be told. */
static void
profile__that_is_replaced_while_it_is_read_is_not_kept(void **state)
{
    struct fixture *const f = *state;
    uint64_t requests;

    write_profile(f, "web", 10);
    ramet_faultstore_meanwhile(f->store, 0, write_meanwhile, f);
    (void)pages_told(f, "web", &requests);
    assert_int_equal(pages_told(f, "web", &requests), 20);
    assert_int_equal(requests, 2);
    assert_int_equal(pages_told(f, "web", &requests), 20);
    assert_int_equal(requests, 0);
}

static void
profile__that_cannot_be_read_is_not_kept(void **state)
{
    struct fixture *const f = *state;
    uint64_t requests;

    write_profile(f, "web", 10);
    ramet_faultstore_set_down(f->store, RAMET_EUNREACHABLE);
    assert_int_equal(ramet_profiles_read(f->profiles, f->store, &f->volume,
                                         "web", f->object, &f->len, NULL),
                     RAMET_EUNREACHABLE);
    ramet_faultstore_set_down(f->store, RAMET_OK);
    assert_int_equal(pages_told(f, "web", &requests), 10);
}

static void
profiles__of_many_names_are_bounded(void **state)
{
    struct fixture *const f = *state;
    uint64_t requests;
    char name[32];

    write_profile(f, "web", 10);
    for (unsigned i = 0; i < 3 * RAMET_PROFILES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%u", i);
        (void)pages_told(f, name, &requests);
        assert_int_equal(pages_told(f, "web", &requests), 10);
        assert_int_equal(requests, i == 0 ? 2 : 0); /* it is in use */
    }
    assert_int_equal(pages_told(f, "n0", &requests), 0);
    assert_int_equal(requests, 1); /* it had to go */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(profile__is_read_once_a_minute, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            profile__that_is_not_there_is_looked_for_once_a_minute, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            profile__that_was_written_here_is_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(profile__of_another_volume_is_another,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            profile__that_is_replaced_while_it_is_read_is_not_kept, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            profile__that_cannot_be_read_is_not_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(profiles__of_many_names_are_bounded,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
