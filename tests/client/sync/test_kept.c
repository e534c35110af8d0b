/*
 * test_kept.c - the bytes that are kept of a commit with sync=commit while it is
 * being sent: who pushes or pulls the same replica meanwhile, in another process,
 * neither takes them for what was rolled back, nor the commit for a stranger's.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "tests/client/sync/world.h"
#include "tests/support/child.h"
#include "tests/support/faultstore.h"

enum { SIZE = 9000 };

/* What the committer does before the other's n-th opening of a file, or lock, or request. */
struct meanwhile {
    struct ramet_os
        os;        /* the system's, but that it counts openings and locks */
    int committer; /* a socket to its process */
    pid_t child;   /* that process; 0: it is dead */
    long openings_left; /* until it happens; -1: it does not */
    long locks_left;    /* the same, of those that keep all others out */
    bool is_prepared;   /* ... sent, and confirmed in the log */
    uint8_t byte;       /* of its newest commit */
};

/* ---- the committer's process --------------------------------------------------- */

static void
require(enum ramet_rc rc, const struct ramet_err *err)
{
    if (rc == RAMET_OK)
        return;
    fprintf(stderr, "the committer: %s: %s\n", ramet_rc_name(rc), err->text);
    _exit(1);
}

static bool
wait_no_longer(void *ctx)
{
    (void)ctx;
    return false;
}

static bool
is_never_over(void *ctx)
{
    (void)ctx;
    return false;
}

static const struct ramet_waiter impatient = {wait_no_longer, is_never_over,
                                              NULL};

/* It pushes what pends, or pulls, where nothing does; and has a commit of its own in
 * the remote, that it has not published yet. False: the other has a lock. */
static bool
prepare_commit(struct ramet_file *file, bool pulls, uint8_t byte)
{
    struct ramet_err err;
    enum ramet_rc rc;

    ramet_file_set_waiter(file, &impatient);
    rc = pulls ? ramet_file_pull(file, NULL, &err)
               : ramet_file_push(file, NULL, &err);
    ramet_file_set_waiter(file, NULL);
    if (rc == RAMET_EBUSY)
        return false;
    require(rc, &err);
    require(ramet_file_pin(file, &err), &err);
    rc = ramet_file_reserve(file, &err);
    if (rc == RAMET_EBUSY) {
        ramet_file_unpin(file);
        return false;
    }
    require(rc, &err);
    require(ramet_file_write(file, 700, &byte, 1, &err), &err);
    require(ramet_file_prepare(file, NULL, &err), &err);
    require(ramet_file_sync_local(file, &err), &err);
    return true;
}

/* Nobody can note that it is durable now: the next push does. */
static void
publish_commit(struct ramet_file *file, struct ramet_session *pusher)
{
    struct ramet_err err;

    const enum ramet_rc rc = ramet_session_lock_push(pusher, &err);

    if (rc != RAMET_EBUSY) /* else the other has it */
        require(rc, &err);
    ramet_file_publish(file);
    ramet_file_release(file);
    ramet_file_unpin(file);
    if (rc == RAMET_OK)
        ramet_session_unlock_push(pusher);
}

/* Told a byte: a commit of it is prepared; told again, it is published. */
static void
commit_as_told(struct world *world, bool pulls, int socket)
{
    struct ramet_file_options options;
    struct ramet_session *pusher = NULL;
    struct ramet_file *file = NULL;
    struct ramet_err err;
    uint8_t byte;

    require(ramet_dirstore_open(NULL, world_path(world, "store"), false,
                                &world->store, &err),
            &err);
    world->faults[0] = ramet_faultstore_new(world->store);
    world_restart(world, 0);
    world_options(world, 0, &options);
    options.sync = RAMET_SYNC_COMMIT;
    require(ramet_file_open(world_path(world, "a"), &options, &file, &err),
            &err);
    require(ramet_session_clone(ramet_file_session(file), &pusher, &err), &err);
    while (read(socket, &byte, 1) == 1) {
        uint8_t answer = prepare_commit(file, pulls, byte);

        if (write(socket, &answer, 1) != 1)
            _exit(1);
        if (!answer)
            continue;
        if (read(socket, &byte, 1) != 1)
            _exit(1);
        publish_commit(file, pusher);
        if (write(socket, &answer, 1) != 1)
            _exit(1);
    }
    ramet_session_close(pusher);
    ramet_file_close(file);
    _exit(0);
}

static bool
tell(struct meanwhile *m, uint8_t byte)
{
    uint8_t answer = 0;

    assert_int_equal(write(m->committer, &byte, 1), 1);
    assert_int_equal(read(m->committer, &answer, 1), 1);
    return answer != 0;
}

/* ---- the other ------------------------------------------------------------------ */

static int
counted_open(void *ctx, int dirfd, const char *path, int flags, unsigned mode)
{
    struct meanwhile *const m = ctx;

    if (m->openings_left >= 0 && m->openings_left-- == 0)
        m->is_prepared = tell(m, (uint8_t)(m->byte + 1));
    return ramet_os_system()->open(NULL, dirfd, path, flags, mode);
}

static int
counted_lock(void *ctx, int fd, uint64_t offset, uint64_t len,
             enum ramet_lock_mode mode)
{
    struct meanwhile *const m = ctx;

    if (mode == RAMET_LOCK_EXCLUSIVE && m->locks_left >= 0 &&
        m->locks_left-- == 0) {
        m->is_prepared = tell(m, (uint8_t)(m->byte + 1));
        if (m->is_prepared)
            assert_true(tell(m, 0));
    }
    return ramet_os_system()->lock(NULL, fd, offset, len, mode);
}

/* The committer publishes what it prepared; then nothing pends, and all have it. */
static void
publish_and_expect(struct world *world, struct meanwhile *m,
                   struct ramet_file *other, uint8_t *bytes)
{
    struct ramet_sync_result result;

    assert_true(tell(m, 0));
    bytes[700] = ++m->byte;
    OK(ramet_file_push(other, &result, e));
    assert_int_equal(world_status(other).local_commits, 0);
    assert_int_equal(world_status(other).state, RAMET_STATE_CLEAN);
    world_expect(other, bytes, SIZE);
    world_expect_remote(world, result.durable_lsn, bytes, SIZE);
}

/* False: there was no nth opening before the other had the push lock. */
static bool
act_beside_commit(struct world *world, struct meanwhile *m,
                  struct ramet_file *other, uint8_t *bytes)
{
    enum ramet_rc rc;

    world_write(other, 500, bytes + 500, 1);
    m->is_prepared = false;
    ramet_file_set_waiter(other, &impatient);
    rc = ramet_file_push(other, NULL, NULL);
    ramet_file_set_waiter(other, NULL);
    m->openings_left = -1;
    if (!m->is_prepared)
        return false;
    assert_true(rc == RAMET_OK || rc == RAMET_EBUSY);
    publish_and_expect(world, m, other, bytes);
    return true;
}

static struct ramet_file *
open_other(struct world *world, struct meanwhile *m, enum ramet_sync_mode sync)
{
    struct ramet_file_options options;
    struct ramet_file *other = NULL;

    m->os = *ramet_os_system();
    m->os.ctx = m; /* the system's own calls do not look at it */
    m->os.open = counted_open;
    m->os.lock = counted_lock;
    world_options(world, 0, &options);
    options.os = &m->os;
    options.sync = sync;
    OK(ramet_file_open(world_path(world, "a"), &options, &other, e));
    return other;
}

static void
start_committer(struct world *world, struct meanwhile *m, bool pulls)
{
    int sockets[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    m->child = child_fork();
    if (m->child == 0) {
        close(sockets[0]);
        commit_as_told(world, pulls, sockets[1]);
    }
    close(sockets[1]);
    m->committer = sockets[0];
}

static void
push__beside_a_commit_that_is_being_sent__leaves_it_alone(void **state)
{
    struct world *const world = *state;
    struct meanwhile m = {.openings_left = -1, .locks_left = -1};
    struct ramet_file *const other = open_other(world, &m, RAMET_SYNC_MANUAL);
    uint8_t bytes[SIZE];
    long nth = 0;

    world_fill(bytes, SIZE, 5);
    bytes[700] = 0;
    world_write(other, 0, bytes, SIZE);
    OK(ramet_file_push(other, NULL, e));
    start_committer(world, &m, false);
    do {
        bytes[500]++;
        m.openings_left = nth++;
    } while (act_beside_commit(world, &m, other, bytes));
    assert_true(nth > 1); /* between its look and the push lock */
    close(m.committer);
    child_await(m.child);
    ramet_file_close(other);
}

static void
end_committer(struct meanwhile *m)
{
    if (m->child == 0)
        return;
    child_kill(m->child);
    close(m->committer);
    m->child = 0;
}

/* The first time that somebody is waited for, he dies. */
static bool
wait_for_a_death(void *ctx)
{
    struct meanwhile *const m = ctx;
    const bool lives = m->child != 0;

    end_committer(m);
    return lives;
}

/* The remote has it and the log says so; but nobody was shown it yet. */
static void
push__beside_a_committer_that_dies__takes_its_commit_for_its_own(void **state)
{
    struct world *const world = *state;
    struct meanwhile m = {.openings_left = -1, .locks_left = -1};
    const struct ramet_waiter mourner = {wait_for_a_death, is_never_over, &m};
    struct ramet_file *const other = open_other(world, &m, RAMET_SYNC_MANUAL);
    struct ramet_sync_result result;
    uint8_t bytes[SIZE];
    unsigned deaths = 0;
    long nth = 0;

    world_fill(bytes, SIZE, 5);
    bytes[700] = 0;
    world_write(other, 0, bytes, SIZE);
    OK(ramet_file_push(other, NULL, e));
    do {
        enum ramet_rc rc;

        start_committer(world, &m, false);
        bytes[500]++;
        world_write(other, 500, bytes + 500, 1);
        m.is_prepared = false;
        m.openings_left = nth++;
        ramet_file_set_waiter(other, &mourner);
        rc = ramet_file_push(other, &result, NULL);
        ramet_file_set_waiter(other, NULL);
        m.openings_left = -1;
        assert_true(rc == RAMET_OK || rc == RAMET_EBUSY);
        deaths += m.child == 0;
        end_committer(&m);
        if (m.is_prepared)
            bytes[700] = ++m.byte;
        OK(ramet_file_push(other, &result, e));
        world_expect(other, bytes, SIZE);
        world_expect_remote(world, result.durable_lsn, bytes, SIZE);
    } while (m.is_prepared);
    assert_true(deaths > 0);
    ramet_file_close(other);
}

/* ---- one that was kept before it --------------------------------------------------- */

/* A commit without an answer, which never arrives, since machine 1 takes its slot: it
 * is rolled back, and its bytes are kept. */
static void
leave_kept(struct world *world, struct ramet_file *other,
           struct ramet_file *stranger, uint8_t *bytes)
{
    struct ramet_err err;

    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(world_try_write(other, 900, "never", 5, &err),
                     RAMET_EUNKNOWN);
    ramet_faultstore_arm(world->faults[0], RAMET_FAULT_NONE, 0, RAMET_OK);
    OK(ramet_file_pull(stranger, NULL, e));
    bytes[500]++;
    world_write(stranger, 500, bytes + 500, 1);
    OK(ramet_file_push(stranger, NULL, e));
}

static void
prepare_next(void *ctx)
{
    struct meanwhile *const m = ctx;

    m->is_prepared = tell(m, (uint8_t)(m->byte + 1));
    assert_true(m->is_prepared);
}

/* False: the push asked the remote less than `nth` times. */
static bool
resolve_beside_next(struct world *world, struct meanwhile *m,
                    struct ramet_file *other, unsigned nth, uint8_t *bytes)
{
    enum ramet_rc rc;

    m->is_prepared = false;
    ramet_faultstore_meanwhile(world->faults[0], nth, prepare_next, m);
    ramet_file_set_waiter(other, &impatient);
    rc = ramet_file_push(other, NULL, NULL);
    ramet_file_set_waiter(other, NULL);
    ramet_faultstore_meanwhile(world->faults[0], 0, NULL, NULL);
    assert_true(rc == RAMET_OK || rc == RAMET_EBUSY);
    if (!m->is_prepared)
        return false;
    publish_and_expect(world, m, other, bytes);
    return true;
}

/* The committer's pull goes past what is being resolved, and what it commits then is
 * kept in the same place. */
static void
push__resolving_what_was_kept__leaves_what_is_kept_after_it(void **state)
{
    struct world *const world = *state;
    struct meanwhile m = {.openings_left = -1, .locks_left = -1};
    struct ramet_file *const other = open_other(world, &m, RAMET_SYNC_COMMIT);
    struct ramet_file *stranger;
    uint8_t bytes[SIZE];
    unsigned nth = 0;

    world_fill(bytes, SIZE, 5);
    bytes[700] = 0;
    world_write(other, 0, bytes, SIZE);
    stranger = world_clone(world, 1, "b", true);
    start_committer(world, &m, true);
    do
        leave_kept(world, other, stranger, bytes);
    while (resolve_beside_next(world, &m, other, nth++, bytes));
    assert_true(nth > 1);
    close(m.committer);
    child_await(m.child);
    ramet_file_close(stranger);
    ramet_file_close(other);
}

/* Before a lock that the other takes it is committed, and published; that it is durable
 * could not be noted, so what is kept is all that says so. */
static void
push__resolving_what_was_kept__looks_again_under_the_lock(void **state)
{
    struct world *const world = *state;
    struct meanwhile m = {.openings_left = -1, .locks_left = -1};
    struct ramet_file *const other = open_other(world, &m, RAMET_SYNC_COMMIT);
    struct ramet_sync_result result;
    struct ramet_file *stranger;
    uint8_t bytes[SIZE];
    unsigned prepared = 0;
    bool is_over = false;

    world_fill(bytes, SIZE, 5);
    bytes[700] = 0;
    world_write(other, 0, bytes, SIZE);
    stranger = world_clone(world, 1, "b", true);
    start_committer(world, &m, true);
    for (long nth = 0; !is_over; nth++) {
        enum ramet_rc rc;

        leave_kept(world, other, stranger, bytes);
        m.is_prepared = false;
        m.locks_left = nth;
        ramet_file_set_waiter(other, &impatient);
        rc = ramet_file_push(other, NULL, NULL);
        ramet_file_set_waiter(other, NULL);
        is_over = m.locks_left >= 0;
        m.locks_left = -1;
        assert_true(rc == RAMET_OK || rc == RAMET_EBUSY);
        bytes[700] += m.is_prepared;
        m.byte = bytes[700];
        OK(ramet_file_push(other, &result, e));
        OK(ramet_file_pull(other, &result, e));
        world_expect(other, bytes, SIZE);
        world_expect_remote(world, result.durable_lsn, bytes, SIZE);
        prepared += m.is_prepared;
    }
    assert_true(prepared > 1);
    close(m.committer);
    child_await(m.child);
    ramet_file_close(stranger);
    ramet_file_close(other);
}

int
main(void)
{
#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup_dir, world_teardown)
    const struct CMUnitTest tests[] = {
        T(push__beside_a_commit_that_is_being_sent__leaves_it_alone),
        T(push__beside_a_committer_that_dies__takes_its_commit_for_its_own),
        T(push__resolving_what_was_kept__leaves_what_is_kept_after_it),
        T(push__resolving_what_was_kept__looks_again_under_the_lock),
    };
#undef T

    return cmocka_run_group_tests_name("kept", tests, NULL, NULL);
}
