/*
 * test_fresh.c - how old what is here is, by what the remote told of itself.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "client/remote/remote.h"
#include "client/store/store.h"
#include "client/volume/file_impl.h"
#include "metastore/catalog.h"
#include "metastore/commit.h"
#include "tests/client/sync/world.h"

enum { LEN = 20000, EARLY_MS = 1000000, NOW_MS = 1060000 };

static uint64_t now_ms;
static struct ramet_heard told;
static uint8_t bytes[LEN];
static struct ramet_os os;
static struct ramet_remote_ops ops; /* the remote's, who is closed last */

static uint64_t
fake_boot_ns(void *ctx)
{
    (void)ctx;
    return now_ms * 1000000u;
}

static bool
hear(struct ramet_remote *remote, const struct ramet_vid *volume,
     struct ramet_heard *out)
{
    (void)remote;
    (void)volume;
    *out = told;
    return true;
}

/* A replica on machine 0 that stands on LSN 2: so it asked at EARLY_MS. What the remote
 * tells by itself is `told`. */
struct fresh {
    struct ramet_file *file;
    struct ramet_point at;
};

static void
fresh_open(struct fresh *f, struct world *world)
{
    struct ramet_file_options options;
    struct ramet_file *const other = world_open(world, 1, "b");
    struct ramet_remote *remote;

    world_fill(bytes, LEN, 1);
    world_write(other, 0, bytes, LEN);
    OK(ramet_file_push(other, NULL, e));
    world_fill(bytes, 100, 5);
    world_write(other, 0, bytes, 100);
    OK(ramet_file_push(other, NULL, e));
    ramet_file_close(other);
    ramet_file_close(world_clone(world, 0, "a", true));

    now_ms = EARLY_MS;
    os = *ramet_os_system();
    os.boot_ns = fake_boot_ns;
    world_options(world, 0, &options);
    options.os = &os;
    options.bounds_age = true;
    options.max_stale_ms = 1000;
    options.fetch_timeout_ms = 1;
    OK(ramet_file_open(world_path(world, "a"), &options, &f->file, e));
    remote = ramet_remote_client_remote(world->clients[0]);
    ops = *remote->ops;
    ops.heard = hear;
    remote->ops = &ops;
    OK(ramet_file_pull(f->file, NULL, e));
    OK(ramet_session_pin(f->file->session, e));
    f->at = ramet_snapshot_point(ramet_session_snapshot(f->file->session));
    ramet_session_unpin(f->file->session);
    assert_int_equal(f->at.lsn, 2);
    now_ms = NOW_MS;
}

static void
what_is_told__of_a_commit_that_is_not_here__makes_nothing_fresh(void **state)
{
    static const struct ramet_point none = {.lsn = 0};
    struct fresh f;
    struct ramet_point other;

    fresh_open(&f, *state);
    told = (struct ramet_heard){.is_alive = true, .confirmed_ms = 0};
    assert_int_equal(ramet_file_age_ms(f.file, &f.at), NOW_MS - EARLY_MS);
    for (uint64_t lsn = 0; lsn <= 4; lsn++) {
        other = (struct ramet_point){.lsn = lsn, .hash = f.at.hash};
        told.newest = told.confirmed = lsn > 0 ? other : none;
        told.confirmed_ms = NOW_MS - 10;
        assert_int_equal(ramet_file_age_ms(f.file, &f.at),
                         lsn <= f.at.lsn ? 10 : NOW_MS - EARLY_MS);
    }
    /* Another commit of the same number. */
    other = f.at;
    other.hash.bytes[3] ^= 1;
    told.newest = told.confirmed = other;
    assert_int_equal(ramet_file_age_ms(f.file, &f.at), NOW_MS - EARLY_MS);
    ramet_file_close(f.file);
}

/* Nor is a read let off what it asked for: it asks, and has what it lacked. */
static void
read__that_is_to_be_fresh__asks_when_more_is_told_than_is_here(void **state)
{
    struct world *const world = *state;
    struct ramet_file *other;
    struct fresh f;

    fresh_open(&f, world);
    other = world_open(world, 1, "b");
    world_fill(bytes, 300, 2);
    world_write(other, 0, bytes, 300);
    OK(ramet_file_push(other, NULL, e));
    OK(ramet_session_pin(other->session, e));
    told = (struct ramet_heard){
        .is_alive = true,
        .newest = ramet_snapshot_point(ramet_session_snapshot(other->session)),
        .confirmed_ms = NOW_MS};
    told.confirmed = told.newest;
    ramet_session_unpin(other->session);
    assert_int_equal(told.confirmed.lsn, 3);
    OK(ramet_file_pin_fresh(f.file, e));
    assert_int_equal(ramet_session_snapshot(f.file->session)->lsn, 3);
    ramet_session_unpin(f.file->session);
    world_expect(f.file, bytes, LEN);
    ramet_file_close(other);
    ramet_file_close(f.file);
}

/* The remote was asked, and does not have what is here: no answer of it says how old that
 * is. */
static void
look__at_a_line_that_is_gone__makes_nothing_fresh(void **state)
{
    struct world *const world = *state;
    struct ramet_vid volume;
    struct ramet_err err;
    char key[RAMET_KEY_MAX];
    struct fresh f;

    fresh_open(&f, world);
    told = (struct ramet_heard){.is_alive = false};
    OK(ramet_catalog_resolve(world->store, "vol", &volume, e));
    ramet_commit_key(&volume, 2, key);
    OK(ramet_objstore_remove(world->store, key, e));
    assert_int_equal(ramet_file_pull(f.file, NULL, &err), RAMET_EWENTBACK);
    assert_true(ramet_file_age_ms(f.file, &f.at) >= NOW_MS - EARLY_MS);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(ramet_file_pin_fresh(f.file, &err), RAMET_EWENTBACK);
    ramet_file_close(f.file);
}

/* That the remote was asked makes nothing fresh that lacks what it said. */
static void
look__that_found_more_than_is_here__makes_nothing_fresh(void **state)
{
    struct world *const world = *state;
    struct ramet_file *other;
    struct fresh f;

    fresh_open(&f, world);
    told = (struct ramet_heard){.is_alive = false};
    other = world_open(world, 1, "b");
    world_write(other, 0, "newer", 5);
    OK(ramet_file_push(other, NULL, e));
    ramet_file_close(other);
    OK(ramet_file_fetch(f.file, NULL, e));
    assert_true(ramet_file_age_ms(f.file, &f.at) >= NOW_MS - EARLY_MS);
    ramet_file_close(f.file);
}

static unsigned begun;

static void
count_begin(struct ramet_remote *remote)
{
    (void)remote;
    begun++;
}

/* What the remote told an opening answers no verb: each asks for itself. */
static void
verbs__ask_the_remote_anew(void **state)
{
    struct fresh f;

    fresh_open(&f, *state);
    ops.begin = count_begin;
    begun = 0;
    OK(ramet_file_pull(f.file, NULL, e));
    assert_int_equal(begun, 1);
    OK(ramet_file_fetch(f.file, NULL, e));
    assert_int_equal(begun, 2);
    world_write(f.file, 0, "pushed", 6);
    OK(ramet_file_push(f.file, NULL, e));
    assert_int_equal(begun, 3);
    ramet_file_close(f.file);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_told__of_a_commit_that_is_not_here__makes_nothing_fresh),
        T(read__that_is_to_be_fresh__asks_when_more_is_told_than_is_here),
        T(look__at_a_line_that_is_gone__makes_nothing_fresh),
        T(look__that_found_more_than_is_here__makes_nothing_fresh),
        T(verbs__ask_the_remote_anew),
    };
    return cmocka_run_group_tests_name("fresh", tests, NULL, NULL);
}
