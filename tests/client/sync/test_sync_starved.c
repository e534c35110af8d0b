/*
 * test_sync_starved.c - every verb with the n-th allocation, or the n-th system
 * call, failing: an error that says so, nothing lost, and the same verb works
 * when there is enough again. And several processes that push one replica.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "tests/client/sync/world.h"
#include "tests/support/child.h"
#include "tests/support/faultos.h"

enum { SIZE = 30000, QUIET = 15 };

static uint8_t bytes[SIZE];
static char path[400];

/* Breaks the n-th something; disarm() tells whether that happened. */
struct breaker {
    struct faultos *os; /* NULL: allocations */
    int errnum;
};

static void
arm(const struct breaker *breaker, long nth)
{
    if (breaker->os != NULL)
        faultos_fail_at(breaker->os,
                        FAULTOS_READ | FAULTOS_WRITE | FAULTOS_SYNC |
                            FAULTOS_NAME | FAULTOS_OPEN,
                        nth, breaker->errnum, false);
    else
        ramet_alloc_fail_at(nth);
}

/* Did it happen? Of an allocation that somebody could do without, nothing is
 * seen: then a while of successes is the end. */
static bool
disarm(const struct breaker *breaker, enum ramet_rc rc, unsigned *quiet)
{
    bool happened;

    if (breaker->os == NULL) {
        ramet_alloc_fail_at(-1);
        *quiet = rc == RAMET_OK ? *quiet + 1 : 0;
        return *quiet < QUIET;
    }
    happened = faultos_has_failed(breaker->os);
    faultos_fail_at(breaker->os, FAULTOS_ALL, -1, 0, false);
    return happened;
}

static struct ramet_file *
open_file(struct world *world, unsigned machine, const struct breaker *breaker)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;

    world_options(world, machine, &options);
    options.os = breaker->os != NULL ? faultos_os(breaker->os) : NULL;
    OK(ramet_file_open(path, &options, &file, e));
    return file;
}

/* The other machine commits something: there is something to pull. */
static void
commit_elsewhere(struct world *world, uint64_t seed)
{
    struct ramet_file *const b = world_open(world, 1, "b");

    OK(ramet_file_pull(b, NULL, e));
    world_fill(bytes + 10000, 300, seed);
    world_write(b, 10000, bytes + 10000, 300);
    OK(ramet_file_push(b, NULL, e));
    ramet_file_close(b);
}

enum verb { PUSH, PULL, RESET };

static enum ramet_rc
run_verb(struct ramet_file *file, enum verb verb, struct ramet_err *err)
{
    switch (verb) {
    case PUSH:
        return ramet_file_push(file, NULL, err);
    case PULL:
        return ramet_file_pull(file, NULL, err);
    case RESET:
        break;
    }
    return ramet_file_reset(file, true, NULL, 0, NULL, err);
}

static void
prepare_verb(struct world *world, struct ramet_file *file, enum verb verb,
             long nth)
{
    if (verb == PUSH) {
        world_fill(bytes + 2000, 9000, (uint64_t)nth + 3);
        world_write(file, 2000, bytes + 2000, 9000);
    } else {
        commit_elsewhere(world, (uint64_t)nth + 5);
    }
    if (verb == RESET)
        world_write(file, 20000, "given up", 8);
}

/* What was pushed is what others read, whatever failed of deltas and bases. */
static void
expect_pushed(struct world *world, struct ramet_file *file)
{
    world_expect_remote(world, world_status(file).durable_lsn, bytes, SIZE);
}

static void
starve(struct world *world, const struct breaker *breaker, enum verb verb)
{
    bool happened = true;
    unsigned quiet = 0;

    for (long nth = 0; happened; nth++) {
        struct ramet_file *file = open_file(world, 0, breaker);
        struct ramet_err err = {.text = ""};
        enum ramet_rc rc;

        assert_true(nth < 2000);
        prepare_verb(world, file, verb, nth);
        arm(breaker, nth);
        rc = run_verb(file, verb, &err);
        happened = disarm(breaker, rc, &quiet);
        if (rc != RAMET_OK)
            assert_string_not_equal(err.text, "");
        if (!happened)
            assert_int_equal(rc, RAMET_OK);
        if (nth % 2 == 0) { /* as well in the process that it hit */
            ramet_file_close(file);
            file = open_file(world, 0, breaker);
        }
        OK(run_verb(file, verb, e));
        world_expect(file, bytes, SIZE);
        if (verb == PUSH && nth % 8 == 3)
            expect_pushed(world, file);
        ramet_file_close(file);
    }
}

static void
make_volume(struct world *world, const struct breaker *breaker)
{
    struct ramet_file *file;

    snprintf(path, sizeof(path), "%s/disk", world->dir);
    if (breaker->os == NULL)
        assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/disk/a", world->dir);
    world_fill(bytes, SIZE, 1);
    file = open_file(world, 0, breaker);
    world_write(file, 0, bytes, SIZE);
    OK(ramet_file_push(file, NULL, e));
    ramet_file_close(file);
}

static void
verbs__survive_failure_of_each_allocation(void **state)
{
    const struct breaker breaker = {.os = NULL};

    make_volume(*state, &breaker);
    for (enum verb verb = PUSH; verb <= RESET; verb++)
        starve(*state, &breaker, verb);
}

static void
verbs__survive_failure_of_each_system_call(void **state)
{
    struct world *const world = *state;
    struct breaker breaker = {.errnum = EIO};

    assert_int_equal(mkdir(world_path(world, "disk"), 0700), 0);
    breaker.os = faultos_new(world_path(world, "disk"));
    make_volume(world, &breaker);
    for (enum verb verb = PUSH; verb <= RESET; verb++)
        starve(world, &breaker, verb);
    breaker.errnum = ENOSPC;
    starve(world, &breaker, PUSH);
    faultos_free(breaker.os);
}

/* ---- several processes ---------------------------------------------------- */

enum { PROCESSES = 4, ROUNDS = 15 };

static void
write_and_push(struct world *world, unsigned index)
{
    struct ramet_file_options options;
    struct ramet_file *file = NULL;
    struct ramet_err err;
    char url[400];

    snprintf(url, sizeof(url), "file://%s/store/vol", world->dir);
    world_options(world, 0, &options);
    options.remote = url;
    if (ramet_file_open(world_path(world, "a"), &options, &file, &err) !=
        RAMET_OK)
        _exit(10);
    for (unsigned i = 0; i < ROUNDS;) {
        const uint8_t value = (uint8_t)(i + 1);
        enum ramet_rc rc =
            world_try_write(file, 100 + index * 5000u + i, &value, 1, &err);

        if (rc == RAMET_EBUSY || rc == RAMET_ESNAPSHOT) {
            usleep(500);
            continue;
        }
        if (rc == RAMET_OK)
            rc = ramet_file_push(file, NULL, &err);
        if (rc != RAMET_OK) {
            fprintf(stderr, "process %u: %s\n", index, err.text);
            _exit(11);
        }
        i++;
    }
    ramet_file_close(file);
    _exit(0);
}

static void
processes__push_one_replica_in_turn(void **state)
{
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_file *file = NULL;
    pid_t children[PROCESSES];
    char url[400];

    snprintf(url, sizeof(url), "file://%s/store/vol", world->dir);
    world_options(world, 0, &options);
    options.remote = NULL;
    world_fill(bytes, SIZE, 1);
    world_write_plain(world_path(world, "a"), bytes, SIZE);
    OK(ramet_file_init(world_path(world, "a"), url, &options, NULL, NULL, NULL,
                       e));
    for (unsigned i = 0; i < PROCESSES; i++) {
        children[i] = child_fork();
        if (children[i] == 0)
            write_and_push(world, i);
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        child_await(children[i]);
        for (unsigned k = 0; k < ROUNDS; k++)
            bytes[100 + i * 5000u + k] = (uint8_t)(k + 1);
    }
    OK(ramet_file_open(world_path(world, "a"), &options, &file, e));
    world_expect(file, bytes, SIZE);
    assert_int_equal(world_status(file).local_commits, 0);
    assert_in_range(world_status(file).durable_lsn, 2, 1 + PROCESSES * ROUNDS);
    ramet_file_close(file);
    OK(ramet_file_clone(url, world_path(world, "b"), &options, NULL, NULL, NULL,
                        e));
    world_expect_plain(world_path(world, "b"), bytes, SIZE);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(verbs__survive_failure_of_each_allocation),
        T(verbs__survive_failure_of_each_system_call),
        T(processes__push_one_replica_in_turn),
    };
    return cmocka_run_group_tests_name("sync_starved", tests, NULL, NULL);
}
