/*
 * test_processes.c - the local store among real processes.
 *
 * Writers move amounts between counters of one file, readers check that the
 * sum stays, one process checkpoints and evicts; each is killed at random and
 * started again. The same in threads; and fork().
 *
 * RAMET_TEST_SECONDS makes the killing long, RAMET_TEST_SEED repeats its
 * choices, though not the moments.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNTERS 32u /* one a page */
#define START 1000u
#define WRITERS 3u
#define STAY_ROUNDS 200 /* of a reader that checkpoints pass meanwhile */

/* ---- transfers ------------------------------------------------------------- */

static struct image *
new_bank(void)
{
    struct image *const image = image_new(COUNTERS * PLACE_PAGE, PLACE_PAGE);

    for (unsigned i = 0; i < COUNTERS; i++) {
        const uint64_t amount = START;

        memcpy(image->bytes + i * PLACE_PAGE, &amount, sizeof(amount));
    }
    return image;
}

/* In a child: what is wrong ends it with a message and status 1. */
static uint64_t
read_counter(struct ramet_session *session, unsigned counter)
{
    struct ramet_err err = {.text = ""};
    uint64_t amount = 0;
    size_t got;

    child_require(ramet_session_read(session, counter * PLACE_PAGE, &amount,
                                     sizeof(amount), &got, &err) == RAMET_OK,
                  "read", &err);
    return amount;
}

static void
write_counter(struct ramet_session *session, unsigned counter, uint64_t amount)
{
    struct ramet_err err = {.text = ""};
    uint8_t page[PLACE_PAGE];

    memset(page, (int)(amount & 0xff), sizeof(page));
    memcpy(page, &amount, sizeof(amount));
    child_require(ramet_session_write(session, counter * PLACE_PAGE, page,
                                      sizeof(page), &err) == RAMET_OK,
                  "write", &err);
}

/* True if it was done. */
static bool
transfer(struct ramet_session *session, uint64_t *rng)
{
    const unsigned from = (unsigned)store_below(rng, COUNTERS);
    const unsigned to =
        (from + 1 + (unsigned)store_below(rng, COUNTERS - 1)) % COUNTERS;
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc = ramet_session_pin(session, &err);
    bool done = false;

    child_require(rc == RAMET_OK || rc == RAMET_EBUSY, "pin", &err);
    if (rc != RAMET_OK)
        return false;
    rc = ramet_session_reserve(session, &err);
    child_require(rc == RAMET_OK || rc == RAMET_EBUSY || rc == RAMET_ESNAPSHOT,
                  "reserve", &err);
    if (rc == RAMET_OK) {
        const uint64_t had = read_counter(session, from);
        const uint64_t amount = had == 0 ? 0 : store_below(rng, had);

        write_counter(session, to, read_counter(session, to) + amount);
        write_counter(session, from, had - amount);
        child_require(ramet_session_prepare(session, NULL, &err) == RAMET_OK,
                      "prepare", &err);
        if (store_chance(rng, 50))
            child_require(ramet_session_sync(session, &err) == RAMET_OK, "sync",
                          &err);
        if (store_chance(rng, 85))
            ramet_session_publish(session);
        ramet_session_release(session);
        done = true;
    }
    ramet_session_unpin(session);
    return done;
}

static void
check_sum(struct ramet_session *session, int rounds)
{
    struct ramet_err err = {.text = ""};
    const enum ramet_rc rc = ramet_session_pin(session, &err);
    uint64_t sum = 0;

    child_require(rc == RAMET_OK || rc == RAMET_EBUSY, "pin", &err);
    if (rc != RAMET_OK)
        return;
    for (int round = 0; round < rounds; round++) { /* the snapshot stays */
        sum = 0;
        for (unsigned i = 0; i < COUNTERS; i++)
            sum += read_counter(session, i);
        if (sum != COUNTERS * START)
            snprintf(err.text, sizeof(err.text), "%llu",
                     (unsigned long long)sum);
        child_require(sum == COUNTERS * START, "the sum", &err);
    }
    ramet_session_unpin(session);
}

static void
look_after(struct ramet_session *session, uint64_t *rng)
{
    struct ramet_err err = {.text = ""};

    if (store_chance(rng, 30))
        child_require(ramet_session_evict(session,
                                          store_below(rng, 20) * PLACE_PAGE,
                                          &err) == RAMET_OK,
                      "evict", &err);
    else
        child_require(ramet_session_checkpoint(session, store_chance(rng, 70),
                                               &err) == RAMET_OK,
                      "checkpoint", &err);
}

/* Roles: writers first, then two readers, then the keeper. */
#define ROLES (WRITERS + 3u)

static void
play_role(struct place *p, unsigned role, uint64_t seed)
{
    struct ramet_session *session = place_open_in_child(p);
    uint64_t rng = seed;

    for (;;) {
        if (role < WRITERS)
            transfer(session, &rng);
        else if (role < WRITERS + 2)
            check_sum(session, store_chance(&rng, 10) ? STAY_ROUNDS : 2);
        else
            look_after(session, &rng);
        if (store_chance(&rng, 2)) { /* programs come and go */
            ramet_session_close(session);
            session = place_open_in_child(p);
        }
    }
}

static pid_t
start_role(struct place *p, unsigned role, uint64_t seed)
{
    pid_t pid;

    pid = child_fork();
    if (pid == 0) {
        play_role(p, role, seed);
        _exit(0);
    }
    return pid;
}

static void
run_bank(struct place *p, double seconds)
{
    uint64_t rng = store_seed("test_store_processes");
    const double end = store_now() + seconds;
    pid_t pids[ROLES];
    unsigned kills = 0;

    for (unsigned i = 0; i < ROLES; i++)
        pids[i] = start_role(p, i, store_random(&rng));
    while (store_now() < end) {
        const unsigned role = (unsigned)store_below(&rng, ROLES);
        const bool all = store_chance(&rng, 5);

        usleep((useconds_t)store_below(&rng, 40000));
        for (unsigned i = 0; i < ROLES; i++)
            if (all || i == role)
                child_kill(pids[i]);
        for (unsigned i = 0; i < ROLES; i++)
            if (all || i == role)
                pids[i] = start_role(p, i, store_random(&rng));
        kills += all ? ROLES : 1;
    }
    for (unsigned i = 0; i < ROLES; i++)
        child_kill(pids[i]);
    printf("%u processes killed\n", kills);
}

static void
check_bank_after(struct place *p)
{
    struct ramet_session *session = place_open(p, 0);
    uint64_t checked;
    uint64_t bad;
    uint64_t rng = 3;

    check_sum(session, 2);
    OK(ramet_session_verify(session, &checked, &bad, e));
    assert_int_equal(bad, 0);
    assert_true(transfer(session, &rng)); /* no lock is left behind */
    OK(ramet_session_pin(session, e));
    assert_true(ramet_session_snapshot(session)->seq > 100);
    ramet_session_unpin(session);
    ramet_session_close(session);
}

static void
processes__killed__sum_stays(void **state)
{
    struct place *const p = *state;
    struct image *const bank = new_bank();
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, bank, e));
    ramet_session_close(session);
    image_unref(bank);
    run_bank(p, store_seconds(5) / 2);
    check_bank_after(p);
}

/* The same on a clone, where pages come and go. */
static void
processes_of_a_clone__killed__sum_stays(void **state)
{
    struct place *const p = *state;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct ramet_remote_point point;

    remote_add(&p->remote, new_bank());
    point = remote_point(&p->remote, 1);
    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    run_bank(p, store_seconds(5) / 2);
    check_bank_after(p);
}

/* ---- threads --------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    struct ramet_session *session;
    unsigned role;
    double end;
    uint64_t rng;
    unsigned done;
};

static void *
work(void *arg)
{
    struct worker *const w = arg;

    while (store_now() < w->end) {
        if (w->role < WRITERS)
            w->done += transfer(w->session, &w->rng);
        else if (w->role < WRITERS + 2)
            check_sum(w->session, store_chance(&w->rng, 10) ? STAY_ROUNDS : 2);
        else
            look_after(w->session, &w->rng);
    }
    return NULL;
}

static void
threads__at_once__sum_stays(void **state)
{
    struct place *const p = *state;
    struct worker workers[ROLES] = {{.done = 0}};
    struct image *const bank = new_bank();
    struct ramet_session *first = place_open(p, RAMET_OPEN_CREATE);
    unsigned done = 0;

    OK(place_commit(first, bank, e));
    image_unref(bank);
    for (unsigned i = 0; i < ROLES; i++) {
        workers[i].role = i;
        workers[i].rng = i + 1;
        workers[i].end = store_now() + store_seconds(3) / 2;
        OK(ramet_session_clone(first, &workers[i].session, e));
    }
    for (unsigned i = 0; i < ROLES; i++)
        assert_int_equal(
            pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    for (unsigned i = 0; i < ROLES; i++) {
        pthread_join(workers[i].thread, NULL);
        done += workers[i].done;
        ramet_session_close(workers[i].session);
    }
    assert_true(done > 0);
    ramet_session_close(first);
    first = place_open(p, 0);
    check_sum(first, 2);
    ramet_session_close(first);
}

/* ---- fork ------------------------------------------------------------------ */

static int
use_parents_session(struct place *p, struct ramet_session *inherited,
                    const struct image *image)
{
    struct ramet_err err = {.text = ""};
    struct ramet_session *own;
    uint8_t byte = 1;
    size_t got;
    bool equal = false;

    if (ramet_session_read(inherited, 0, &byte, 1, &got, &err) !=
            RAMET_EFORKED ||
        ramet_session_reserve(inherited, &err) != RAMET_EFORKED ||
        ramet_session_write(inherited, 0, &byte, 1, &err) != RAMET_EFORKED)
        return 2;
    ramet_session_close(inherited);
    own = place_open_in_child(p);
    if (ramet_session_reserve(own, &err) == RAMET_OK)
        return 3; /* the parent writes; and there is no pin */
    if (ramet_session_pin(own, &err) != RAMET_OK)
        return 4;
    if (ramet_session_reserve(own, &err) != RAMET_EBUSY)
        return 5;
    if (store_compare(own, image, &equal, &err) != RAMET_OK || !equal)
        return 6;
    ramet_session_unpin(own);
    ramet_session_close(own);
    return 0;
}

static void
fork__with_a_transaction_open__child_has_no_part_in_it(void **state)
{
    struct place *const p = *state;
    struct image *const before = place_image(1, 10 * PLACE_PAGE);
    struct image *const after = place_image(2, 10 * PLACE_PAGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    pid_t pid;

    OK(place_commit(session, before, e));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, after->bytes, after->size, e));
    pid = child_fork();
    if (pid == 0)
        _exit(use_parents_session(p, session, before));
    child_await(pid);
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    place_expect(session, after, __LINE__);
    ramet_session_close(session);
    session = place_open(p, 0);
    place_expect(session, after, __LINE__);
    ramet_session_close(session);
    image_unref(before);
    image_unref(after);
}

/* Every call that says nothing of failure, in an order that no program has. */
static int
undo_parents_session(struct ramet_session *inherited)
{
    ramet_session_publish(inherited);
    ramet_session_discard(inherited);
    ramet_session_release(inherited);
    ramet_session_lower_barrier(inherited);
    ramet_session_unlock_push(inherited);
    ramet_session_note_super(inherited, true);
    ramet_session_unpin(inherited);
    ramet_session_close(inherited);
    return 0;
}

static void
fork__with_a_record_prepared__leaves_it_to_the_parent(void **state)
{
    struct place *const p = *state;
    struct image *const before = place_image(1, 10 * PLACE_PAGE);
    struct image *const after = place_image(2, 10 * PLACE_PAGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *other = place_open(p, 0);
    pid_t pid;

    OK(place_commit(session, before, e));
    OK(ramet_session_lock_push(session, e));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_raise_barrier(session, e));
    OK(ramet_session_write(session, 0, after->bytes, after->size, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    pid = child_fork();
    if (pid == 0)
        _exit(undo_parents_session(session));
    child_await(pid);

    assert_int_equal(ramet_session_lock_push(other, NULL), RAMET_EBUSY);
    assert_int_equal(ramet_session_pin(other, NULL), RAMET_EBUSY);
    ramet_session_lower_barrier(session);
    place_expect(other, before, __LINE__);
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unlock_push(session);
    place_expect(other, after, __LINE__);
    ramet_session_close(session);
    ramet_session_close(other);
    session = place_open(p, 0);
    place_expect(session, after, __LINE__);
    ramet_session_close(session);
    image_unref(before);
    image_unref(after);
}

/* Begin a transaction and fork; the child says when it runs, and waits. */
static void
write_and_fork(struct place *p, const struct image *image, int out_fd)
{
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    pid_t pid;

    child_require(place_commit(session, image, NULL) == RAMET_OK, "commit",
                  NULL);
    child_require(ramet_session_pin(session, NULL) == RAMET_OK, "pin", NULL);
    child_require(ramet_session_reserve(session, NULL) == RAMET_OK, "reserve",
                  NULL);
    pid = child_fork();
    if (pid == 0) {
        alarm(60); /* also if the test fails */
        pid = getpid();
        child_require(write(out_fd, &pid, sizeof(pid)) == (ssize_t)sizeof(pid),
                      "write", NULL);
    }
    for (;;)
        pause();
}

/* The parent dies, its child lives on with what it inherited: no lock stays. */
static void
fork__and_parent_dies__its_locks_go(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 3 * PLACE_PAGE);
    struct ramet_session *session;
    int pipe_fds[2];
    pid_t pid;
    pid_t grandchild = 0;

    assert_int_equal(pipe(pipe_fds), 0);
    pid = child_fork();
    if (pid == 0)
        write_and_fork(p, image, pipe_fds[1]);
    assert_int_equal(read(pipe_fds[0], &grandchild, sizeof(grandchild)),
                     sizeof(grandchild));
    child_kill(pid);
    session = place_open(p, RAMET_OPEN_EXCLUSIVE);
    place_expect(session, image, __LINE__);
    OK(place_commit(session, image, e));
    ramet_session_close(session);
    kill(grandchild, SIGKILL);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    image_unref(image);
}

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(processes__killed__sum_stays),
        TEST(processes_of_a_clone__killed__sum_stays),
        TEST(threads__at_once__sum_stays),
        TEST(fork__with_a_transaction_open__child_has_no_part_in_it),
        TEST(fork__with_a_record_prepared__leaves_it_to_the_parent),
        TEST(fork__and_parent_dies__its_locks_go),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
