/*
 * test_background.c - sync=auto: commits go and come by themselves. Nothing
 * here depends on how long something takes: tests wait for what they expect,
 * and fail when it does not come in a minute.
 */
#include "tests/support/cmocka_all.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/thread.h"
#include "tests/client/sync/world.h"
#include "tests/support/child.h"
#include "tests/support/faultstore.h"

enum { SIZE = 40000, PATIENCE = 60000 };

static uint8_t bytes[SIZE];

static struct ramet_file *
open_auto(struct world *world, unsigned machine, const char *name)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    world_options(world, machine, &options);
    options.sync = RAMET_SYNC_AUTO;
    options.close_wait_ms = PATIENCE;
    OK(ramet_file_open(world_path(world, name), &options, &file, e));
    return file;
}

static bool
is_durable(struct ramet_file *file, uint64_t lsn)
{
    const struct ramet_file_status status = world_status(file);

    return status.durable_lsn >= lsn && status.local_commits == 0;
}

static bool
is_diverged(struct ramet_file *file, uint64_t unused)
{
    (void)unused;
    return world_status(file).state == RAMET_STATE_DIVERGED;
}

static bool
has_error(struct ramet_file *file, uint64_t unused)
{
    (void)unused;
    return world_status(file).last_error[0] != '\0';
}

static void
wait_until(struct ramet_file *file, bool (*is)(struct ramet_file *, uint64_t),
           uint64_t arg)
{
    for (unsigned ms = 0; !is(file, arg); ms += 2) {
        if (ms > PATIENCE)
            fail_msg("waited in vain: lsn %llu, %s",
                     (unsigned long long)world_status(file).durable_lsn,
                     world_status(file).last_error);
        usleep(2000);
    }
}

static void
expect_remote(struct world *world)
{
    struct ramet_file_options options;
    struct ramet_file *stateless = NULL;

    world_restart(world, 2);
    world_options(world, 2, &options);
    options.stateless = true;
    OK(ramet_file_open(world_path(world, "stateless"), &options, &stateless,
                       e));
    world_expect(stateless, bytes, SIZE);
    ramet_file_close(stateless);
}

static void
commits__go_and_come_by_themselves(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = open_auto(world, 0, "a");
    struct ramet_file *b;

    world_fill(bytes, SIZE, 1);
    world_write(a, 0, bytes, SIZE);
    wait_until(a, is_durable, 1);
    b = open_auto(world, 1, "b");
    world_expect(b, bytes, SIZE);
    for (unsigned i = 0; i < 6; i++) {
        struct ramet_file *const from = i % 2 == 0 ? a : b;
        struct ramet_file *const to = i % 2 == 0 ? b : a;
        const uint64_t lsn = world_status(from).durable_lsn + 1;

        world_fill(bytes + 1000 * i, 100, i + 5);
        world_write(from, 1000 * i, bytes + 1000 * i, 100);
        wait_until(from, is_durable, lsn);
        wait_until(to, is_durable, lsn);
        world_expect(to, bytes, SIZE);
    }
    ramet_file_close(a);
    ramet_file_close(b);
}

static void
close__waits_for_the_last_push(void **state)
{
    struct world *const world = *state;

    world_fill(bytes, SIZE, 1);
    for (unsigned i = 0; i < 5; i++) {
        struct ramet_file *const a = open_auto(world, 0, "a");

        world_fill(bytes + i, 3000, i);
        world_write(a, 0, bytes, SIZE);
        ramet_file_close(a);
        expect_remote(world);
    }
}

static void
outage__ends_by_itself(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = open_auto(world, 0, "a");

    world_fill(bytes, SIZE, 1);
    world_write(a, 0, bytes, SIZE);
    wait_until(a, is_durable, 1);
    ramet_faultstore_set_down(world->faults[0], RAMET_EUNREACHABLE);
    world_write(a, 5, "offline", 7);
    memcpy(bytes + 5, "offline", 7);
    wait_until(a, has_error, 0);
    world_expect(a, bytes, SIZE);
    ramet_faultstore_set_down(world->faults[0], RAMET_OK);
    wait_until(a, is_durable, 2);
    expect_remote(world);
    ramet_file_close(a);
}

static void
divergence__is_reported_and_ended_by_a_reset(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = open_auto(world, 0, "a");
    struct ramet_file *b;

    world_fill(bytes, SIZE, 1);
    world_write(a, 0, bytes, SIZE);
    wait_until(a, is_durable, 1);
    b = world_open(world, 1, "b");
    ramet_faultstore_set_down(world->faults[0], RAMET_EUNREACHABLE);
    world_write(a, 5, "local", 5);
    wait_until(a, has_error, 0);
    world_write(b, 5, "remote", 6);
    memcpy(bytes + 5, "remote", 6);
    OK(ramet_file_push(b, NULL, e));
    ramet_faultstore_set_down(world->faults[0], RAMET_OK);
    wait_until(a, is_diverged, 0);
    OK(ramet_file_reset(a, false, NULL, 0, NULL, e));
    world_expect(a, bytes, SIZE);
    world_write(a, 100, "again", 5);
    memcpy(bytes + 100, "again", 5);
    wait_until(a, is_durable, 3);
    expect_remote(world);
    ramet_file_close(a);
    ramet_file_close(b);
}

struct writer {
    struct world *world;
    unsigned index;
    struct ramet_thread thread;
};

enum { WRITERS = 4, WRITES = 50 };

static void *
write_many(void *arg)
{
    struct writer *const writer = arg;
    struct ramet_file *const file = open_auto(writer->world, 0, "a");

    for (unsigned i = 0; i < WRITES;) {
        const uint8_t value = (uint8_t)(i + 1);
        struct ramet_err err;
        const enum ramet_rc rc =
            world_try_write(file, writer->index * 5000u, &value, 1, &err);

        if (rc == RAMET_OK)
            i++;
        else if (rc != RAMET_EBUSY && rc != RAMET_ESNAPSHOT)
            fail_msg("%s", err.text);
        else
            usleep(200);
    }
    ramet_file_close(file);
    return NULL;
}

static void
threads__share_one_replica_and_one_pusher(void **state)
{
    struct world *const world = *state;
    struct writer writers[WRITERS];
    struct ramet_file *const a = open_auto(world, 0, "a");

    world_fill(bytes, SIZE, 1);
    world_write(a, 0, bytes, SIZE);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.world = world, .index = i};
        OK(ramet_thread_start(&writers[i].thread, "writer", write_many,
                              &writers[i], e));
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        ramet_thread_join(&writers[i].thread);
        bytes[i * 5000] = WRITES;
    }
    world_expect(a, bytes, SIZE);
    ramet_file_close(a);
    expect_remote(world);
}

/* A child of fork() has no threads of its parent's and must not hang. */
static void
fork__leaves_the_parents_thread_alone(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = open_auto(world, 0, "a");
    pid_t child;

    world_fill(bytes, SIZE, 1);
    world_write(a, 0, bytes, SIZE);
    wait_until(a, is_durable, 1);
    child = child_fork();
    if (child == 0) {
        struct ramet_err err;

        if (ramet_file_push(a, NULL, &err) != RAMET_EFORKED)
            _exit(2);
        ramet_file_close(a);
        _exit(0);
    }
    child_await(child);
    world_write(a, 5, "on", 2);
    memcpy(bytes + 5, "on", 2);
    ramet_file_close(a);
    expect_remote(world);
}

/* Closes its file, once it may, when another thread than the test's asks the
 * time. */
static struct {
    struct ramet_os os;
    struct ramet_file *file;
    pthread_t tester;
    atomic_bool is_armed, may_close, is_closed;
} closer;

static uint64_t
close_and_tell_time(void *ctx)
{
    if (!pthread_equal(pthread_self(), closer.tester) &&
        atomic_exchange(&closer.is_armed, false)) {
        while (!atomic_load(&closer.may_close))
            usleep(100);
        ramet_file_close(closer.file);
        atomic_store(&closer.is_closed, true);
    }
    return ramet_os_system()->mono_ns(ctx);
}

/* As the thread begins to look whether its last commit is due. */
static void
last_pusher__leaves_as_a_turn_begins(void **state)
{
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_file *reader;

    closer.os = *ramet_os_system();
    closer.os.mono_ns = close_and_tell_time;
    closer.tester = pthread_self();
    world_options(world, 0, &options);
    options.os = &closer.os;
    options.sync = RAMET_SYNC_AUTO;
    options.close_wait_ms = 0;
    OK(ramet_file_open(world_path(world, "a"), &options, &closer.file, e));
    world_fill(bytes, SIZE, 1);
    world_write(closer.file, 0, bytes, SIZE);
    wait_until(closer.file, is_durable, 1);
    options.flags = RAMET_OPEN_READONLY;
    OK(ramet_file_open(world_path(world, "a"), &options, &reader, e));
    usleep(20000); /* it rests, most likely: else it takes another turn */
    atomic_store(&closer.is_armed, true);
    world_write(closer.file, 5, "on", 2);
    memcpy(bytes + 5, "on", 2);
    atomic_store(&closer.may_close, true);
    for (unsigned ms = 0; !atomic_load(&closer.is_closed); ms += 2) {
        assert_true(ms < PATIENCE);
        usleep(2000);
    }
    world_expect(reader, bytes, SIZE);
    ramet_file_close(reader);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

/* Who may only read follows in the background: what another left under way is not sent
 * by the reader's rights, however often it looks. */
static void
follower__sends_nothing_that_others_left(void **state)
{
    struct world *const world = *state;
    struct ramet_objstore *const store = world->faults[0];
    struct ramet_file *a = world_open(world, 0, "a");
    struct ramet_file_options options;
    struct ramet_store_counts counts;
    struct ramet_err err;

    world_fill(bytes, SIZE, 1);
    world_write(a, 0, bytes, SIZE);
    OK(ramet_file_push(a, NULL, e));
    world_write(a, 0, "left", 4);
    memcpy(bytes, "left", 4);
    ramet_faultstore_arm(store, RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EUNKNOWN);
    ramet_file_close(a);

    world_options(world, 0, &options);
    options.sync = RAMET_SYNC_AUTO;
    options.flags = RAMET_OPEN_READONLY;
    ramet_faultstore_reset_counts(store);
    OK(ramet_file_open(world_path(world, "a"), &options, &a, e));
    for (unsigned ms = 0; ms < PATIENCE; ms += 2) {
        counts = ramet_faultstore_counts(store);
        if (counts.reads + counts.lists + counts.sizes >= 12)
            break;
        usleep(2000);
    }
    assert_int_equal(ramet_faultstore_counts(store).puts, 0);
    assert_int_equal(world_status(a).local_commits, 1);
    ramet_file_close(a);

    a = world_open(world, 0, "a");
    OK(ramet_file_push(a, NULL, e));
    assert_int_equal(world_status(a).durable_lsn, 2);
    ramet_file_close(a);
    expect_remote(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(commits__go_and_come_by_themselves),
        T(close__waits_for_the_last_push),
        T(outage__ends_by_itself),
        T(divergence__is_reported_and_ended_by_a_reset),
        T(last_pusher__leaves_as_a_turn_begins),
        T(follower__sends_nothing_that_others_left),
        T(threads__share_one_replica_and_one_pusher),
        T(fork__leaves_the_parents_thread_alone),
    };
    return cmocka_run_group_tests_name("background", tests, NULL, NULL);
}
