/*
 * test_sync.c - init, clone, push, pull, fetch, hydrate, reset, export: two
 * machines and a store between them.
 */
#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/format/state.h"
#include "client/store/store.h"
#include "metastore/catalog.h"
#include "tests/client/sync/world.h"
#include "tests/support/faultstore.h"

enum { SIZE = 300000 };

static uint8_t bytes[SIZE];

/* A replica of a new volume on machine 0, with `len` bytes, pushed. */
static struct ramet_file *
make_volume(struct world *world, size_t len)
{
    struct ramet_file_options options;

    world_fill(bytes, sizeof(bytes), 1);
    world_write_plain(world_path(world, "a"), bytes, len);
    world_options(world, 0, &options);
    OK(ramet_file_init(world_path(world, "a"), world->urls[0], &options, NULL,
                       NULL, NULL, e));
    return world_open(world, 0, "a");
}

static void
change(struct ramet_file *file, uint64_t offset, uint64_t seed)
{
    uint8_t piece[100];

    world_fill(piece, sizeof(piece), seed);
    memcpy(bytes + offset, piece, sizeof(piece));
    world_write(file, offset, piece, sizeof(piece));
}

static void
init__makes_a_volume_that_others_clone(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_file *const b = world_clone(world, 1, "b", false);

    world_expect(a, bytes, SIZE);
    world_expect(b, bytes, SIZE);
    assert_int_equal(world_status(a).durable_lsn, 1);
    assert_int_equal(world_status(a).state, RAMET_STATE_CLEAN);
    assert_int_equal(world_status(b).durable_lsn, 1);
    ramet_file_close(a);
    ramet_file_close(b);
    /* Closed and whole: both are plain files. */
    world_expect_plain(world_path(world, "a"), bytes, SIZE);
    world_expect_plain(world_path(world, "b"), bytes, SIZE);
}

static void
init__twice_does_nothing(void **state)
{
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_sync_result result;

    ramet_file_close(make_volume(world, SIZE));
    world_options(world, 0, &options);
    ramet_faultstore_reset_counts(world->faults[0]);
    OK(ramet_file_init(world_path(world, "a"), world->urls[0], &options, NULL,
                       NULL, &result, e));
    assert_int_equal(result.durable_lsn, 1);
    assert_int_equal(ramet_faultstore_counts(world->faults[0]).puts, 0);
}

static void
init__refuses_a_name_that_is_taken(void **state)
{
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_err err;

    ramet_file_close(make_volume(world, SIZE));
    world_write_plain(world_path(world, "c"), bytes, 1000);
    world_options(world, 1, &options);
    assert_int_equal(ramet_file_init(world_path(world, "c"), world->urls[1],
                                     &options, NULL, NULL, NULL, &err),
                     RAMET_EEXIST);
    assert_non_null(strstr(err.text, "is there already"));
    world_expect_plain(world_path(world, "c"), bytes, 1000);
}

static void
init__goes_on_after_a_crash_at_each_request(void **state)
{
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_err err;
    enum ramet_rc rc = RAMET_EUNREACHABLE;

    world_fill(bytes, sizeof(bytes), 1);
    world_write_plain(world_path(world, "a"), bytes, SIZE);
    world_options(world, 0, &options);
    for (uint64_t nth = 0; rc != RAMET_OK; nth++) {
        assert_true(nth < 50);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, nth,
                             RAMET_EUNREACHABLE);
        rc = ramet_file_init(world_path(world, "a"), world->urls[0], &options,
                             NULL, NULL, NULL, &err);
        if (rc != RAMET_OK)
            assert_int_equal(rc, RAMET_EUNREACHABLE);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
    }
    ramet_file_close(world_clone(world, 1, "b", false));
    world_expect_plain(world_path(world, "b"), bytes, SIZE);
}

/* A file of `len` bytes to a store in a directory, and back, both ways. */
static void
send_around(struct world *world, size_t len)
{
    struct ramet_file_options options;
    struct ramet_file *a = NULL;
    struct ramet_file *b = NULL;
    uint8_t expected[SIZE];
    char name[32];
    char copy[32];
    char url[400];

    snprintf(name, sizeof(name), "f%zu", len);
    snprintf(copy, sizeof(copy), "g%zu", len);
    snprintf(url, sizeof(url), "file://%s/st/v%zu", world->dir, len);
    world_write_plain(world_path(world, name), bytes, len);
    world_options(world, 0, &options);
    options.remote = NULL;
    OK(ramet_file_init(world_path(world, name), url, &options, NULL, NULL, NULL,
                       e));
    OK(ramet_file_clone(url, world_path(world, copy), &options, NULL, NULL,
                        NULL, e));
    world_expect_plain(world_path(world, copy), bytes, len);
    OK(ramet_file_open(world_path(world, name), &options, &a, e));
    OK(ramet_file_open(world_path(world, copy), &options, &b, e));
    world_expect(a, bytes, len);
    world_expect(b, bytes, len);
    world_truncate(b, len / 2);
    world_write(b, len / 2 + 5, "tail", 4);
    OK(ramet_file_push(b, NULL, e));
    OK(ramet_file_pull(a, NULL, e));
    memcpy(expected, bytes, len / 2);
    memset(expected + len / 2, 0, 5);
    memcpy(expected + len / 2 + 5, "tail", 4);
    world_expect(a, expected, len / 2 + 9);
    ramet_file_close(a);
    ramet_file_close(b);
    world_expect_plain(world_path(world, name), expected, len / 2 + 9);
}

static void
files__of_odd_lengths_come_through(void **state)
{
    static const size_t lengths[] = {0,    1,    99,   100,  511,
                                     4095, 4096, 4097, 8192, 65537};

    world_fill(bytes, sizeof(bytes), 9);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        send_around(*state, lengths[i]);
}

static void
commits__travel_both_ways(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_file *const b = world_clone(world, 1, "b", false);
    struct ramet_sync_result result;

    for (unsigned i = 0; i < 100; i++) {
        struct ramet_file *const from = i % 2 == 0 ? a : b;
        struct ramet_file *const to = i % 2 == 0 ? b : a;

        change(from, (i * 7919u) % (SIZE - 100), i + 10);
        assert_int_equal(world_status(from).state, RAMET_STATE_AHEAD);
        OK(ramet_file_push(from, &result, e));
        assert_int_equal(result.durable_lsn, i + 2);
        OK(ramet_file_fetch(to, &result, e));
        assert_int_equal(result.remote_lsn, i + 2);
        assert_int_equal(world_status(to).state, RAMET_STATE_BEHIND);
        OK(ramet_file_pull(to, &result, e));
        assert_int_equal(result.durable_lsn, i + 2);
        world_expect(to, bytes, SIZE);
        assert_int_equal(world_status(to).state, RAMET_STATE_CLEAN);
    }
    ramet_file_close(a);
    ramet_file_close(b);
}

static void
push__with_nothing_to_push_does_nothing(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_sync_result result;

    ramet_faultstore_reset_counts(world->faults[0]);
    OK(ramet_file_push(a, &result, e));
    assert_int_equal(result.durable_lsn, 1);
    assert_int_equal(ramet_faultstore_counts(world->faults[0]).puts, 0);
    ramet_file_close(a);
}

/* A small commit is one PUT, and a look for the newest commit. */
static void
push__of_a_small_commit_is_one_put(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_store_counts counts;

    change(a, 5000, 2);
    OK(ramet_file_push(a, NULL, e));
    change(a, 5000, 3);
    ramet_faultstore_reset_counts(world->faults[0]);
    OK(ramet_file_push(a, NULL, e));
    counts = ramet_faultstore_counts(world->faults[0]);
    assert_int_equal(counts.puts, 1);
    assert_int_equal(counts.reads + counts.lists + counts.sizes, 1);
    ramet_file_close(a);
}

/* The volume on a store that takes a commit on top of its newest only, and
 * two commits pushed there: this process has seen the newest. */
static struct ramet_file *
make_checked_volume(struct world *world)
{
    struct ramet_file *file;

    ramet_remote_client_store(world->clients[0])->traits |=
        RAMET_STORE_CHECKS_COMMITS;
    file = make_volume(world, SIZE);
    change(file, 5000, 2);
    OK(ramet_file_push(file, NULL, e));
    change(file, 5000, 3);
    ramet_faultstore_reset_counts(world->faults[0]);
    return file;
}

static atomic_uint_least64_t bytes_read;

static ssize_t
count_preadv(void *ctx, int fd, const struct iovec *iov, int iovcnt,
             uint64_t offset)
{
    const ssize_t got = ramet_os_system()->preadv(ctx, fd, iov, iovcnt, offset);

    atomic_fetch_add(&bytes_read, got > 0 ? (uint64_t)got : 0);
    return got;
}

/* `len` bytes of a stateless reader of the volume at `offset`, compared. */
static void
expect_remote_at(struct world *world, uint64_t offset, const uint8_t *expected,
                 size_t len)
{
    struct ramet_file_options options;
    struct ramet_file *stateless = NULL;
    uint8_t *const buf = malloc(len);
    size_t got;

    world_options(world, 2, &options);
    options.stateless = true;
    OK(ramet_file_open(world_path(world, "stateless"), &options, &stateless,
                       e));
    OK(ramet_file_pin(stateless, e));
    OK(ramet_file_read(stateless, offset, buf, len, &got, e));
    assert_int_equal(got, len);
    assert_memory_equal(buf, expected, len);
    ramet_file_unpin(stateless);
    ramet_file_close(stateless);
    free(buf);
}

/* A hole is not read to find that it is zeros. */
static void
push__of_a_sparse_file_reads_what_is_there(void **state)
{
    static const uint8_t zeros[SIZE];
    const uint64_t at = UINT64_C(40) << 30;
    struct world *const world = *state;
    struct ramet_os os = *ramet_os_system();
    struct ramet_file_options options;
    const char *const path = world_path(world, "sparse");
    const int fd = open(path, O_RDWR | O_CREAT, 0600);

    assert_true(fd >= 0);
    if (ftruncate(fd, (off_t)(UINT64_C(64) << 30) + 5) != 0) {
        close(fd);
        skip(); /* no such large files here */
    }
    world_fill(bytes, SIZE, 3);
    assert_int_equal(pwrite(fd, bytes, SIZE, (off_t)at), SIZE);
    close(fd);
    os.preadv = count_preadv;
    world_options(world, 0, &options);
    options.os = &os;
    atomic_store(&bytes_read, 0);
    OK(ramet_file_init(path, world->urls[0], &options, NULL, NULL, NULL, e));
    assert_in_range(atomic_load(&bytes_read), SIZE, 64u << 20);
    expect_remote_at(world, at, bytes, SIZE);
    expect_remote_at(world, at + (UINT64_C(5) << 30), zeros, SIZE);
}

static void
push__to_a_store_that_checks_is_one_request(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_checked_volume(world);
    struct ramet_store_counts counts;

    OK(ramet_file_push(a, NULL, e));
    counts = ramet_faultstore_counts(world->faults[0]);
    assert_int_equal(counts.puts, 1);
    assert_int_equal(counts.reads + counts.lists + counts.sizes, 0);
    /* What others did meanwhile shows all the same. */
    ramet_file_close(world_clone(world, 1, "b", false));
    {
        struct ramet_file *const b = world_open(world, 1, "b");
        struct ramet_err err;

        world_write(b, 100, "other", 5);
        OK(ramet_file_push(b, NULL, e));
        change(a, 9000, 4);
        assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EDIVERGED);
        assert_int_equal(world_status(a).local_commits, 1);
        world_expect(a, bytes, SIZE);
        ramet_file_close(b);
    }
    ramet_file_close(a);
}

/* A refusal that names nobody is looked into. */
static void
push__that_is_refused_looks_why(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_checked_volume(world);
    struct ramet_vid volume;
    struct ramet_err err;
    char key[RAMET_KEY_MAX];

    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, 0,
                         RAMET_ECONFLICT);
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_ECONFLICT);
    assert_true(ramet_faultstore_fired(world->faults[0]));
    assert_int_equal(world_status(a).local_commits, 1);
    OK(ramet_file_push(a, NULL, e)); /* there is no reason any more */
    assert_int_equal(world_status(a).durable_lsn, 3);
    OK(ramet_catalog_resolve(world->store, "vol", &volume, e));
    ramet_commit_key(&volume, 3, key);
    OK(ramet_objstore_remove(world->store, key, e));
    change(a, 5000, 4);
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, 0,
                         RAMET_ECONFLICT);
    assert_int_not_equal(ramet_file_push(a, NULL, &err), RAMET_OK);
    assert_non_null(strstr(err.text, "went back in time"));
    assert_int_equal(world_status(a).local_commits, 1);
    world_expect(a, bytes, SIZE);
    ramet_file_close(a);
}

static void
push__against_another_commit_diverges_and_loses_nothing(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_file *const b = world_clone(world, 1, "b", false);
    struct ramet_err err;
    char kept[512];
    uint8_t mine[SIZE];

    change(a, 100, 2);
    OK(ramet_file_push(a, NULL, e));
    memcpy(mine, bytes, SIZE);
    memcpy(mine + 200000, "local", 5);
    /* b has not got a's change: its own bytes are the first ones. */
    world_fill(mine, SIZE, 1);
    memcpy(mine + 200000, "local", 5);
    world_write(b, 200000, "local", 5);
    assert_int_equal(ramet_file_push(b, NULL, &err), RAMET_EDIVERGED);
    assert_non_null(strstr(err.text, "ramet reset"));
    assert_int_equal(world_status(b).state, RAMET_STATE_DIVERGED);
    assert_int_equal(world_status(b).local_commits, 1);
    assert_int_equal(ramet_file_pull(b, NULL, &err), RAMET_EDIVERGED);
    world_expect(b, mine, SIZE);
    /* Reads and local writes go on. */
    world_write(b, 200010, "more", 4);
    memcpy(mine + 200010, "more", 4);
    world_expect(b, mine, SIZE);
    OK(ramet_file_reset(b, false, kept, sizeof(kept), NULL, e));
    world_expect(b, bytes, SIZE);
    world_expect_plain(kept, mine, SIZE);
    assert_non_null(strstr(kept, "/b-ramet/lost/"));
    assert_int_equal(world_status(b).state, RAMET_STATE_CLEAN);
    assert_string_equal(world_status(b).last_error, "");
    change(b, 4000, 5);
    OK(ramet_file_push(b, NULL, e));
    OK(ramet_file_pull(a, NULL, e));
    world_expect(a, bytes, SIZE);
    ramet_file_close(a);
    ramet_file_close(b);
}

/* Every shape of what a reset gives up: grown, cut, cut and regrown. */
static void
reset__brings_back_what_local_commits_cut_off(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_file *b;
    struct ramet_file *const c = world_clone(world, 2, "c", false);

    change(a, 100, 2);
    OK(ramet_file_push(a, NULL, e));
    for (unsigned shape = 0; shape < 4; shape++) {
        char name[8];

        snprintf(name, sizeof(name), "b%u", shape);
        b = world_clone(world, 1, name, false);
        if (shape == 0)
            world_truncate(b, 5000);
        if (shape == 1) {
            world_truncate(b, 0);
            world_write(b, SIZE - 10, "0123456789", 10);
        }
        if (shape == 2)
            world_write(b, SIZE + 100000, "far out", 7);
        if (shape == 3) {
            world_write(b, SIZE + 100000, "far out", 7);
            world_truncate(b, 1);
        }
        change(a, 250000, shape + 20);
        OK(ramet_file_push(a, NULL, e));
        OK(ramet_file_reset(b, shape == 3, NULL, 0, NULL, e));
        world_expect(b, bytes, SIZE);
        ramet_file_close(b);
        world_expect_plain(world_path(world, name), bytes, SIZE);
    }
    OK(ramet_file_reset(c, false, NULL, 0, NULL, e)); /* merely behind */
    world_expect(c, bytes, SIZE);
    ramet_file_close(a);
    ramet_file_close(c);
}

/* The store is put back to what it was: commits 2 and 3 are gone. */
static void
remote__that_went_back_in_time_is_refused(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_vid volume;
    struct ramet_err err;
    char key[RAMET_KEY_MAX];
    char kept[512];
    struct ramet_file *b;
    uint8_t newest[SIZE];
    uint8_t first[SIZE];

    memcpy(first, bytes, SIZE);
    OK(ramet_catalog_resolve(world->store, "vol", &volume, e));
    for (unsigned i = 0; i < 2; i++) {
        change(a, 1000 * i, i + 2);
        OK(ramet_file_push(a, NULL, e));
    }
    memcpy(newest, bytes, SIZE);
    ramet_file_close(a);
    for (uint64_t lsn = 2; lsn <= 3; lsn++) {
        ramet_commit_key(&volume, lsn, key);
        OK(ramet_objstore_remove(world->store, key, e));
    }
    world_restart(world, 0);
    b = world_open(world, 0, "a");
    assert_int_equal(ramet_file_pull(b, NULL, &err), RAMET_EWENTBACK);
    assert_non_null(strstr(err.text, "went back in time"));
    world_write(b, 7, "local", 5);
    memcpy(newest + 7, "local", 5);
    assert_int_equal(ramet_file_push(b, NULL, &err), RAMET_EWENTBACK);
    assert_non_null(strstr(err.text, "went back in time"));
    assert_int_equal(world_status(b).state, RAMET_STATE_WENTBACK);
    world_expect(b, newest, SIZE);
    OK(ramet_file_reset(b, false, kept, sizeof(kept), NULL, e));
    world_expect_plain(kept, newest, SIZE);
    world_expect(b, first, SIZE);
    assert_int_equal(world_status(b).durable_lsn, 1);
    assert_int_equal(world_status(b).state, RAMET_STATE_CLEAN);
    ramet_file_close(b);
}

/* The remote has other commits under the same numbers. */
static void
remote__with_another_history_is_refused(void **state)
{
    struct world *const world = *state;
    struct ramet_file *a = make_volume(world, SIZE);
    struct ramet_file *const b = world_clone(world, 1, "b", false);
    struct ramet_vid volume;
    struct ramet_err err;
    char key[RAMET_KEY_MAX];
    uint8_t mine[SIZE];

    change(a, 0, 2);
    OK(ramet_file_push(a, NULL, e));
    memcpy(mine, bytes, SIZE);
    ramet_file_close(a);
    OK(ramet_catalog_resolve(world->store, "vol", &volume, e));
    ramet_commit_key(&volume, 2, key);
    OK(ramet_objstore_remove(world->store, key, e));
    change(b, 500, 3);
    OK(ramet_file_push(b, NULL, e)); /* another LSN 2 */
    change(b, 600, 3);
    OK(ramet_file_push(b, NULL, e));
    world_restart(world, 0);
    a = world_open(world, 0, "a");
    assert_int_equal(ramet_file_pull(a, NULL, &err), RAMET_EWENTBACK);
    assert_non_null(strstr(err.text, "went back in time"));
    world_expect(a, mine, SIZE);
    ramet_file_close(a);
    ramet_file_close(b);
}

static void
blob__edited_in_place_is_pushed_as_it_is(void **state)
{
    struct world *const world = *state;
    struct ramet_file *a = make_volume(world, SIZE);
    struct ramet_file *b = world_clone(world, 1, "b", false);
    struct ramet_sync_result result;
    int fd;

    ramet_file_close(a);
    for (unsigned i = 0; i < 3; i++) {
        memcpy(bytes + 70000 + i, "edited", 6);
        world_write_plain(world_path(world, "a"), bytes, SIZE - i * 1000);
        a = world_open(world, 0, "a");
        OK(ramet_file_push(a, &result, e));
        assert_int_equal(result.durable_lsn, i + 2);
        ramet_file_close(a);
        OK(ramet_file_pull(b, NULL, e));
        world_expect(b, bytes, SIZE - i * 1000);
    }
    ramet_file_close(b);
    /* One byte in place sends one page. */
    fd = open(world_path(world, "a"), O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, "x", 1, 5000) == 1);
    close(fd);
    bytes[5000] = 'x';
    a = world_open(world, 0, "a");
    OK(ramet_file_push(a, &result, e));
    assert_int_equal(result.durable_lsn, 5);
    assert_int_equal(result.pages, 1);
    ramet_file_close(a);
    b = world_open(world, 1, "b");
    OK(ramet_file_pull(b, NULL, e));
    ramet_file_close(b);
    world_expect_plain(world_path(world, "b"), bytes, SIZE - 2000);
}

static void
open__without_the_remote_serves_what_is_here(void **state)
{
    struct world *const world = *state;
    struct ramet_file *a = make_volume(world, SIZE);
    struct ramet_err err;

    ramet_file_close(a);
    ramet_faultstore_set_down(world->faults[0], RAMET_EUNREACHABLE);
    a = world_open(world, 0, "a");
    change(a, 100, 2);
    world_expect(a, bytes, SIZE);
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EUNREACHABLE);
    assert_int_equal(world_status(a).state, RAMET_STATE_OFFLINE);
    assert_string_not_equal(world_status(a).last_error, "");
    ramet_faultstore_set_down(world->faults[0], RAMET_OK);
    OK(ramet_file_push(a, NULL, e));
    assert_int_equal(world_status(a).state, RAMET_STATE_CLEAN);
    assert_int_equal(world_status(a).durable_lsn, 2);
    ramet_file_close(a);
}

static void
open__of_a_replica_bound_elsewhere_is_refused(void **state)
{
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_file *file = NULL;
    struct ramet_err err;

    ramet_file_close(make_volume(world, 1000));
    world_options(world, 0, &options);
    options.remote = world->urls[1]; /* the same volume by another way */
    OK(ramet_file_open(world_path(world, "a"), &options, &file, e));
    ramet_file_close(file);
    {
        char url[400];

        snprintf(url, sizeof(url), "file://%s/st/other", world->dir);
        world_write_plain(world_path(world, "o"), bytes, 1000);
        OK(ramet_file_init(world_path(world, "o"), url, &options, NULL, NULL,
                           NULL, e));
        options.remote = url;
        assert_int_equal(
            ramet_file_open(world_path(world, "a"), &options, &file, &err),
            RAMET_EEXIST);
        assert_non_null(strstr(err.text, "belongs to"));
    }
}

static void
verbs__are_refused_inside_a_write_transaction(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, 1000);
    struct ramet_err err;

    OK(ramet_file_pin(a, e));
    OK(ramet_file_reserve(a, e));
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EINVAL);
    assert_int_equal(ramet_file_pull(a, NULL, &err), RAMET_EINVAL);
    assert_int_equal(ramet_file_reset(a, false, NULL, 0, NULL, &err),
                     RAMET_EINVAL);
    assert_int_equal(ramet_file_export(a, world_path(world, "x"), NULL, &err),
                     RAMET_EINVAL);
    ramet_file_release(a);
    ramet_file_unpin(a);
    ramet_file_close(a);
}

static void
export__is_sparse_and_replaces_only_plain_files(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, 1000);
    struct ramet_err err;
    struct stat st;
    uint8_t *const big = calloc(1, 10000010);

    assert_non_null(big);
    memcpy(big, bytes, 1000);
    memcpy(big + 10000000, "0123456789", 10);
    world_write(a, 10000000, "0123456789", 10);
    OK(ramet_file_export(a, world_path(world, "out"), NULL, e));
    world_expect_plain(world_path(world, "out"), big, 10000010);
    assert_int_equal(stat(world_path(world, "out"), &st), 0);
    assert_true(st.st_blocks * 512 < 200000);
    world_truncate(a, 10);
    OK(ramet_file_export(a, world_path(world, "out"), NULL, e));
    world_expect_plain(world_path(world, "out"), big, 10);
    assert_int_equal(ramet_file_export(a, world_path(world, "a"), NULL, &err),
                     RAMET_EEXIST);
    world_write_plain(world_path(world, "out-wal"), "x", 1);
    assert_int_equal(ramet_file_export(a, world_path(world, "out"), NULL, &err),
                     RAMET_EBUSY);
    assert_int_equal(
        ramet_file_export(a, world_path(world, "no/out"), NULL, &err),
        RAMET_ENOTFOUND);
    free(big);
    ramet_file_close(a);
}

/* Who reads goes on in the snapshot that he has, and so does the copy. */
static void
export__of_a_snapshot_that_is_read__leaves_it_pinned(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, 9000);
    struct ramet_file *const other = world_open(world, 0, "a");
    uint8_t got[5] = {0};
    size_t count = 0;

    OK(ramet_file_pin(a, e));
    world_write(other, 5000, "later", 5);
    OK(ramet_file_export(a, world_path(world, "out"), NULL, e));
    world_expect_plain(world_path(world, "out"), bytes, 9000);
    world_write(other, 0, "later", 5);
    assert_true(ramet_session_is_pinned(ramet_file_session(a)));
    OK(ramet_file_read(a, 5000, got, 5, &count, e));
    assert_memory_equal(got, bytes + 5000, 5);
    OK(ramet_file_read(a, 0, got, 5, &count, e));
    assert_memory_equal(got, bytes, 5);
    ramet_file_unpin(a);
    ramet_file_close(other);
    ramet_file_close(a);
}

static bool
cancel_at_once(void *ctx, const struct ramet_progress *progress)
{
    unsigned *const calls = ctx;

    assert_true(progress->pages_done <= progress->pages_total);
    return ++*calls < 1;
}

static void
push__can_be_cancelled_and_begun_again(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_err err;
    unsigned calls = 0;

    world_fill(bytes, sizeof(bytes), 77);
    world_write(a, 0, bytes, SIZE);
    ramet_file_set_progress(a, cancel_at_once, &calls);
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_ECANCELLED);
    assert_int_equal(calls, 1);
    ramet_file_set_progress(a, NULL, NULL);
    assert_int_equal(world_status(a).durable_lsn, 1);
    OK(ramet_file_push(a, NULL, e));
    assert_int_equal(world_status(a).durable_lsn, 2);
    ramet_file_close(a);
    ramet_file_close(world_clone(world, 1, "b", false));
    world_expect_plain(world_path(world, "b"), bytes, SIZE);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(init__makes_a_volume_that_others_clone),
        T(init__twice_does_nothing),
        T(init__refuses_a_name_that_is_taken),
        T(init__goes_on_after_a_crash_at_each_request),
        T(files__of_odd_lengths_come_through),
        T(commits__travel_both_ways),
        T(push__with_nothing_to_push_does_nothing),
        T(push__of_a_small_commit_is_one_put),
        T(push__of_a_sparse_file_reads_what_is_there),
        T(push__to_a_store_that_checks_is_one_request),
        T(push__that_is_refused_looks_why),
        T(push__against_another_commit_diverges_and_loses_nothing),
        T(reset__brings_back_what_local_commits_cut_off),
        T(remote__that_went_back_in_time_is_refused),
        T(remote__with_another_history_is_refused),
        T(blob__edited_in_place_is_pushed_as_it_is),
        T(open__without_the_remote_serves_what_is_here),
        T(open__of_a_replica_bound_elsewhere_is_refused),
        T(verbs__are_refused_inside_a_write_transaction),
        T(export__of_a_snapshot_that_is_read__leaves_it_pinned),
        T(export__is_sparse_and_replaces_only_plain_files),
        T(push__can_be_cancelled_and_begun_again),
    };
    return cmocka_run_group_tests_name("sync", tests, NULL, NULL);
}
