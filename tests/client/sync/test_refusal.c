/*
 * test_refusal.c - a remote that refuses though nobody else was first: nothing
 * is lost, and what was refused is made anew only where that fares better, and
 * never lands beside it.
 */
#include "tests/support/cmocka_all.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/os.h"
#include "tests/client/sync/world.h"
#include "tests/support/faultstore.h"

enum { SIZE = 40000, LARGE = 400000 };
#define HOUR_MS 3600000u

static uint8_t bytes[LARGE];

/* The file's clock, which an administrator may set. */
static struct ramet_os clocked;
static _Atomic int64_t shift_ms;

static uint64_t
shifted_wall(void *ctx)
{
    const struct ramet_os *const os = ramet_os_system();

    (void)ctx;
    return (uint64_t)((int64_t)os->wall_ms(os->ctx) + atomic_load(&shift_ms));
}

static struct ramet_file *
open_clocked(struct world *world)
{
    struct ramet_file_options options;
    struct ramet_file *file;

    clocked = *ramet_os_system();
    clocked.wall_ms = shifted_wall;
    world_options(world, 0, &options);
    options.os = &clocked;
    OK(ramet_file_open(world_path(world, "a"), &options, &file, e));
    return file;
}

static struct ramet_file *
make_volume(struct world *world, size_t size)
{
    struct ramet_file *file;

    atomic_store(&shift_ms, 0);
    file = open_clocked(world);
    world_fill(bytes, size, 1);
    world_write(file, 0, bytes, size);
    OK(ramet_file_push(file, NULL, e));
    return file;
}

static void
change(struct ramet_file *file, size_t size, uint64_t seed)
{
    world_fill(bytes, size, seed);
    world_write(file, 0, bytes, size);
}

/* Push, with the nth request refused; false: there was none. */
static bool
push_refused(struct world *world, struct ramet_file *file, uint64_t nth,
             enum ramet_rc refusal)
{
    struct ramet_err err;
    enum ramet_rc rc;

    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, nth, refusal);
    rc = ramet_file_push(file, NULL, &err);
    if (!ramet_faultstore_fired(world->faults[0])) {
        assert_int_equal(rc, RAMET_OK);
        return false;
    }
    if (rc != RAMET_OK) {
        assert_int_equal(rc, refusal);
        assert_int_equal(world_status(file).local_commits, 1);
    }
    return true;
}

static bool
is_fence(struct world *world, uint64_t lsn)
{
    struct ramet_history *history;
    struct ramet_commit_object commit;
    struct ramet_vid volume;
    bool fence;

    OK(ramet_catalog_resolve(world->store, "vol", &volume, e));
    OK(ramet_history_open(world->store, &volume, NULL, &history, e));
    OK(ramet_history_commit(history, lsn, &commit, e));
    fence = commit.role == RAMET_COMMIT_FENCE;
    ramet_commit_done(&commit);
    ramet_history_close(history);
    return fence;
}

/* The clock was right all along: whatever passed, the same bytes go again. */
static void
push__refused_for_a_while__goes_as_it_was(void **state)
{
    static const enum ramet_rc refusals[] = {RAMET_ECLOCK,  RAMET_EREFUSED,
                                             RAMET_EFULL,   RAMET_EAUTH,
                                             RAMET_ETOOBIG, RAMET_EREADONLY};
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    uint64_t lsn = 1;

    for (size_t r = 0; r < sizeof(refusals) / sizeof(refusals[0]); r++) {
        bool fired = true;

        for (uint64_t nth = 0; fired; nth++) {
            assert_true(nth < 30);
            change(a, SIZE, 10 + nth);
            fired = push_refused(world, a, nth, refusals[r]);
            OK(ramet_file_push(a, NULL, e));
            assert_int_equal(world_status(a).durable_lsn, ++lsn);
            assert_false(is_fence(world, lsn));
            world_expect(a, bytes, SIZE);
        }
    }
    world_expect_remote(world, lsn, bytes, SIZE);
    ramet_file_close(a);
}

/* Refused for its time, and the clock was set back since. */
static void
push__refused_by_a_clock_that_was_wrong__is_made_anew_behind_a_fence(
    void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    unsigned fences = 0;
    bool fired = true;

    for (uint64_t nth = 0; fired; nth++) {
        const uint64_t before = world_status(a).durable_lsn;
        bool fenced;

        assert_true(nth < 30);
        change(a, SIZE, 10 + nth);
        fired = push_refused(world, a, nth, RAMET_ECLOCK);
        atomic_store(&shift_ms, -(int64_t)HOUR_MS);
        for (uint64_t again = 0; again < 30; again++)
            if (!push_refused(world, a, again, RAMET_ECLOCK))
                break;
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
        OK(ramet_file_push(a, NULL, e));
        assert_in_range(world_status(a).durable_lsn, before + 1, before + 2);
        fenced = is_fence(world, before + 1);
        assert_int_equal(world_status(a).durable_lsn, before + 1 + fenced);
        fences += fenced;
        world_expect(a, bytes, SIZE);
        world_expect_remote(world, world_status(a).durable_lsn, bytes, SIZE);
        atomic_store(&shift_ms, 0);
    }
    assert_true(fences > 0);
    ramet_file_close(a);
}

/* The first try hangs in the network; the second is refused for its time. When
 * the first arrives at last, its slot is taken. */
static void
push__prepared_again__is_not_joined_by_the_old_bytes(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_err err;
    bool refused = false;

    change(a, SIZE, 2);
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EUNKNOWN);
    atomic_store(&shift_ms, -(int64_t)HOUR_MS);
    change(a, SIZE, 3);
    for (uint64_t nth = 0; !refused; nth++) { /* until it is the put */
        assert_true(nth < 20);
        ramet_faultstore_reset_counts(world->faults[0]);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, nth,
                             RAMET_ECLOCK);
        refused = ramet_file_push(a, NULL, &err) == RAMET_OK;
    }
    assert_true(is_fence(world, 2));
    ramet_faultstore_land(world->faults[0]);
    assert_int_equal(world_status(a).durable_lsn, 3);
    OK(ramet_file_pull(a, NULL, e));
    world_expect(a, bytes, SIZE);
    world_expect_remote(world, 3, bytes, SIZE);
    ramet_file_close(a);
}

/* "Somebody was first", and nobody is: the bytes may land yet, and then they
 * are known as what was sent. */
static void
push__refused_for_nobody__knows_its_own_commit(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_err err;

    change(a, SIZE, 2);
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EUNKNOWN);
    for (uint64_t nth = 0;; nth++) {
        assert_true(nth < 20);
        ramet_faultstore_reset_counts(world->faults[0]);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, nth,
                             RAMET_ECONFLICT);
        assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_ECONFLICT);
        if (ramet_faultstore_counts(world->faults[0]).puts > 0)
            break;
    }
    change(a, SIZE, 3);
    ramet_faultstore_land(world->faults[0]);
    OK(ramet_file_push(a, NULL, e));
    assert_int_equal(world_status(a).durable_lsn, 3);
    world_expect(a, bytes, SIZE);
    world_expect_remote(world, 3, bytes, SIZE);
    ramet_file_close(a);
}

/* A fence of whoever's on what the replica stands on. */
static void
put_fence(struct world *world)
{
    const struct ramet_rid writer = {.id = {{7}}};
    struct ramet_history *history;
    struct ramet_vid volume;
    struct ramet_head newest;
    struct ramet_buf object;
    struct ramet_cid id;

    OK(ramet_catalog_resolve(world->store, "vol", &volume, e));
    OK(ramet_history_open(world->store, &volume, NULL, &history, e));
    OK(ramet_history_newest(history, &newest, e));
    ramet_buf_init(&object, 1u << 20);
    OK(ramet_history_fence(history, &newest, &writer, newest.kind, &object, &id,
                           e));
    OK(ramet_history_append(history, object.data, object.len, NULL, e));
    ramet_buf_done(&object);
    ramet_history_close(history);
}

/* Also of our own, whose author died before he knew it. */
static void
fence__beside_local_commits__is_no_divergence(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world, SIZE);
    struct ramet_err err;

    change(a, SIZE, 2);
    put_fence(world);
    put_fence(world);
    OK(ramet_file_pull(a, NULL, e));
    assert_int_equal(world_status(a).durable_lsn, 3);
    assert_int_equal(world_status(a).local_commits, 1);
    put_fence(world);
    OK(ramet_file_push(a, NULL, e));
    assert_int_equal(world_status(a).durable_lsn, 5);
    change(a, SIZE, 3); /* in the way of an intent, too */
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EUNKNOWN);
    put_fence(world);
    change(a, SIZE, 4);
    OK(ramet_file_push(a, NULL, e));
    ramet_faultstore_land(world->faults[0]);
    OK(ramet_file_pull(a, NULL, e));
    world_expect(a, bytes, SIZE);
    world_expect_remote(world, 7, bytes, SIZE);
    ramet_file_close(a);
}

static bool
remove_segment(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)size_bytes;
    snprintf(ctx, RAMET_KEY_MAX, "%s", key); /* the last one stays */
    return true;
}

static void
push_without_its_segment(struct world *world, bool leaves_a_part)
{
    static const struct iovec part = {bytes, 100};
    struct ramet_file *const a = make_volume(world, LARGE);
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX], key[RAMET_KEY_MAX];
    struct ramet_vid volume;
    struct ramet_err err;

    OK(ramet_catalog_resolve(world->store, "vol", &volume, e));
    ramet_id_format(&volume.id, vid);
    snprintf(prefix, sizeof(prefix), "volumes/%s/segments/", vid);
    change(a, LARGE, 2);
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LATE, 1, RAMET_OK);
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EUNKNOWN);
    key[0] = '\0';
    OK(ramet_objstore_list(world->store, prefix, "", remove_segment, key, e));
    OK(ramet_objstore_remove(world->store, key, e));
    if (leaves_a_part)
        OK(ramet_objstore_put(world->store, key, &part, 1, e));
    for (uint64_t nth = 0;; nth++) {
        enum ramet_rc rc;

        assert_true(nth < 20);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, nth,
                             RAMET_EREFUSED);
        rc = ramet_file_push(a, NULL, &err);
        if (rc == RAMET_OK)
            break;
        assert_int_equal(rc, RAMET_EREFUSED);
    }
    ramet_faultstore_land(world->faults[0]);
    assert_true(is_fence(world, 2));
    world_expect_remote(world, 3, bytes, LARGE);
    ramet_file_close(a);
}

/* Segments were sent, and the store lost them before the commit came. */
static void
push__refused_for_segments_that_are_lost__is_prepared_again(void **state)
{
    push_without_its_segment(*state, false);
}

static void
push__refused_for_segments_that_are_cut__is_prepared_again(void **state)
{
    push_without_its_segment(*state, true);
}

enum shape { AS_LARGE, CUT, CUT_AND_GROWN };

/* A commit that may be under way, and what came after it. */
static size_t
commit_unknown(struct world *world, struct ramet_file *file, enum shape shape)
{
    size_t size = SIZE;
    struct ramet_err err;

    change(file, SIZE, 2);
    if (shape != AS_LARGE) {
        size = SIZE / 4;
        world_truncate(file, size);
    }
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(ramet_file_push(file, NULL, &err), RAMET_EUNKNOWN);
    if (shape == CUT_AND_GROWN) {
        world_truncate(file, SIZE);
        memset(bytes + size, 0, SIZE - size);
        size = SIZE;
    }
    return size;
}

static void
reset_what_is_refused(struct world *world, enum shape shape)
{
    struct ramet_file *const a = make_volume(world, SIZE);
    char kept[500];
    uint8_t first[SIZE];
    struct ramet_err err;
    enum ramet_rc rc = RAMET_ECLOCK;
    size_t size;

    memcpy(first, bytes, SIZE);
    size = commit_unknown(world, a, shape);
    for (uint64_t nth = 0; rc != RAMET_OK; nth++) {
        assert_true(nth < 20);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_FAIL, nth,
                             RAMET_ECLOCK);
        rc = ramet_file_reset(a, false, kept, sizeof(kept), NULL, &err);
    }
    ramet_faultstore_land(world->faults[0]);
    OK(ramet_file_pull(a, NULL, e));
    world_expect(a, first, SIZE);
    world_expect_plain(kept, bytes, size);
    assert_true(is_fence(world, 2));
    world_expect_remote(world, 2, first, SIZE);
    ramet_file_close(a);
}

/* What is refused for good can be given up: it does not come back. */
static void
reset__of_what_is_refused__fences_it(void **state)
{
    reset_what_is_refused(*state, AS_LARGE);
}

/* Its pages are had again from the remote, that were cut off here. */
static void
reset__of_a_cut_that_is_refused__has_all_again(void **state)
{
    reset_what_is_refused(*state, CUT);
}

static void
reset__of_a_cut_that_is_refused_and_grew_since__has_all_again(void **state)
{
    reset_what_is_refused(*state, CUT_AND_GROWN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            push__refused_for_a_while__goes_as_it_was, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            push__refused_by_a_clock_that_was_wrong__is_made_anew_behind_a_fence,
            world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            push__prepared_again__is_not_joined_by_the_old_bytes, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            push__refused_for_nobody__knows_its_own_commit, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            fence__beside_local_commits__is_no_divergence, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            push__refused_for_segments_that_are_lost__is_prepared_again,
            world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            push__refused_for_segments_that_are_cut__is_prepared_again,
            world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(reset__of_what_is_refused__fences_it,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            reset__of_a_cut_that_is_refused__has_all_again, world_setup,
            world_teardown),
        cmocka_unit_test_setup_teardown(
            reset__of_a_cut_that_is_refused_and_grew_since__has_all_again,
            world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
