/*
 * test_binding.c - a replica that another process bound to its volume, by the
 * first push, after it was opened here.
 *
 * Handles with different tables of the system share nothing within a process but
 * what processes share.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "client/store/exchange.h"
#include "tests/client/sync/world.h"
#include "tests/support/faultstore.h"

enum { SIZE = 30000 };

struct two {
    struct ramet_os os; /* the system's, by another address */
    struct ramet_file *first, *second;
    struct ramet_objstore *faults;
    uint8_t bytes[SIZE];
};

/* Both have it open, and nobody made the volume. */
static void
open_both(struct world *world, struct two *two, enum ramet_sync_mode second)
{
    struct ramet_file_options options;

    two->os = *ramet_os_system();
    two->first = world_open(world, 0, "a");
    world_options(world, 0, &options);
    options.os = &two->os;
    options.sync = second;
    OK(ramet_file_open(world_path(world, "a"), &options, &two->second, e));
    world_fill(two->bytes, SIZE, 3);
    world_write(two->first, 0, two->bytes, SIZE);
}

/* Both have it open; then the first makes the volume. */
static void
open_two(struct world *world, struct two *two, enum ramet_sync_mode second)
{
    open_both(world, two, second);
    OK(ramet_file_push(two->first, NULL, e));
}

static void
close_two(struct two *two)
{
    ramet_file_close(two->first);
    ramet_file_close(two->second);
}

static void
bound_by_another__is_pushed_to(void **state)
{
    struct world *const world = *state;
    struct ramet_sync_result result;
    struct two two;

    open_two(world, &two, RAMET_SYNC_MANUAL);
    two.bytes[9]++;
    world_write(two.second, 9, two.bytes + 9, 1);
    OK(ramet_file_push(two.second, &result, e));
    assert_int_equal(world_status(two.second).state, RAMET_STATE_CLEAN);
    world_expect_remote(world, result.durable_lsn, two.bytes, SIZE);
    close_two(&two);
}

static void
bound_by_another__takes_a_durable_commit(void **state)
{
    struct world *const world = *state;
    struct two two;

    open_two(world, &two, RAMET_SYNC_COMMIT);
    two.bytes[9]++;
    world_write(two.second, 9, two.bytes + 9, 1);
    world_expect_remote(world, world_status(two.second).durable_lsn, two.bytes,
                        SIZE);
    close_two(&two);
}

static void
bound_by_another__has_pages_that_it_evicted(void **state)
{
    struct world *const world = *state;
    struct ramet_session *session;
    struct two two;

    open_two(world, &two, RAMET_SYNC_MANUAL);
    session = ramet_file_session(two.first);
    OK(ramet_session_checkpoint(session, true, e));
    OK(ramet_session_evict(session, 4096, e));
    assert_true(world_status(two.first).cached_pages < 3);
    world_expect(two.second, two.bytes, SIZE);
    close_two(&two);
}

/* The first makes the volume; then it sends a commit, and is not told that it
 * landed. */
static void
bind_and_send(void *ctx)
{
    struct two *const two = ctx;

    OK(ramet_file_push(two->first, NULL, e));
    two->bytes[9]++;
    world_write(two->first, 9, two->bytes + 9, 1);
    ramet_faultstore_arm(two->faults, RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    assert_int_equal(ramet_file_push(two->first, NULL, NULL), RAMET_EUNKNOWN);
}

static void
bound_by_another__as_a_pull_begins__its_push_is_resolved(void **state)
{
    struct world *const world = *state;
    struct ramet_sync_result result;
    struct two two = {.faults = world->faults[0]};

    open_both(world, &two, RAMET_SYNC_MANUAL);
    ramet_faultstore_meanwhile(two.faults, 0, bind_and_send, &two);
    OK(ramet_file_pull(two.second, &result, e));
    assert_int_equal(result.durable_lsn, 2);
    assert_int_equal(world_status(two.second).state, RAMET_STATE_CLEAN);
    world_expect_remote(world, 2, two.bytes, SIZE);
    close_two(&two);
}

/* There is nothing to adopt: neither where nobody made the volume, nor where another
 * has the name. */
static void
never_pushed__is_not_reset(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = world_open(world, 0, "a");
    struct ramet_file *b;
    struct ramet_err err;

    world_write(a, 0, "mine", 4);
    assert_int_equal(ramet_file_reset(a, false, NULL, 0, NULL, &err),
                     RAMET_EINVAL);
    assert_non_null(strstr(err.text, "was never pushed"));
    b = world_open(world, 0, "b");
    world_write(b, 0, "others", 6);
    OK(ramet_file_push(b, NULL, e));
    assert_int_equal(ramet_file_reset(a, false, NULL, 0, NULL, &err),
                     RAMET_EINVAL);
    assert_non_null(strstr(err.text, "was never pushed"));
    world_expect(a, "mine", 4);
    ramet_file_close(a);
    ramet_file_close(b);
}

int
main(void)
{
#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(bound_by_another__is_pushed_to),
        T(bound_by_another__takes_a_durable_commit),
        T(bound_by_another__has_pages_that_it_evicted),
        T(bound_by_another__as_a_pull_begins__its_push_is_resolved),
        T(never_pushed__is_not_reset),
    };
#undef T

    return cmocka_run_group_tests_name("binding", tests, NULL, NULL);
}
