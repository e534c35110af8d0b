/*
 * test_store_processes.c - the local store among real processes.
 *
 * Writers move amounts between counters of one file, readers check that the
 * sum stays, one process checkpoints and evicts; each is killed at random and
 * started again. And what else only processes do: fork(), copies, programs
 * that know nothing of replicas, folders that can't be written, full disks,
 * damaged files.
 *
 * RAMET_TEST_SECONDS makes the killing long, RAMET_TEST_SEED repeats its
 * choices, though not the moments.
 */
#define _GNU_SOURCE
#include "tests/client/store_world.h"

#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define COUNTERS 32u /* one a page */
#define START 1000u
#define WRITERS 3u

struct place {
    char folder[128];
    char path[160];
    char dir[176]; /* path-ramet */
    struct remote remote;
};

static int
setup(void **state)
{
    struct place *const p = calloc(1, sizeof(*p));

    store_folder_make(p->folder);
    snprintf(p->path, sizeof(p->path), "%s/app.db", p->folder);
    snprintf(p->dir, sizeof(p->dir), "%s-ramet", p->path);
    remote_init(&p->remote, 1);
    *state = p;
    return 0;
}

static int
teardown(void **state)
{
    struct place *const p = *state;

    store_folder_remove(p->folder);
    remote_done(&p->remote);
    free(p);
    return 0;
}

static struct ramet_session *
open_flags(struct place *p, unsigned flags)
{
    const struct ramet_replica_options options = {
        .flags = flags,
        .kind = RAMET_KIND_BLOB,
        .page_size = PAGE,
    };
    struct ramet_session *session;

    OK(ramet_session_open(p->path, &options, &session, e));
    ramet_replica_set_fetcher(ramet_session_replica(session), remote_fetch,
                              &p->remote);
    return session;
}

static enum ramet_rc
try_open(const char *path, unsigned flags, struct ramet_err *err)
{
    const struct ramet_replica_options options = {
        .flags = flags,
        .kind = RAMET_KIND_BLOB,
        .page_size = PAGE,
    };
    struct ramet_session *session;
    const enum ramet_rc rc = ramet_session_open(path, &options, &session, err);

    if (rc == RAMET_OK)
        ramet_session_close(session);
    return rc;
}

static enum ramet_rc
commit_image(struct ramet_session *session, const struct image *image,
             struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_pin(session, err);

    if (rc == RAMET_OK)
        rc = ramet_session_reserve(session, err);
    if (rc == RAMET_OK)
        rc = ramet_session_write(session, 0, image->bytes, image->size, err);
    if (rc == RAMET_OK)
        rc = ramet_session_truncate(session, image->size, err);
    if (rc == RAMET_OK)
        rc = ramet_session_prepare(session, NULL, err);
    if (rc == RAMET_OK)
        rc = ramet_session_sync(session, err);
    if (rc == RAMET_OK)
        ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    return rc;
}

static struct image *
random_image(uint64_t seed, uint64_t size)
{
    struct image *const image = image_new(size, PAGE);

    store_random_bytes(&seed, image->bytes, size);
    return image;
}

static void
expect(struct ramet_session *session, const struct image *image, int line)
{
    ramet_session_unpin(session);
    OK(ramet_session_pin(session, e));
    store_expect(session, image, line);
    ramet_session_unpin(session);
}

/* ---- transfers ------------------------------------------------------------- */

static struct image *
new_bank(void)
{
    struct image *const image = image_new(COUNTERS * PAGE, PAGE);

    for (unsigned i = 0; i < COUNTERS; i++) {
        const uint64_t amount = START;

        memcpy(image->bytes + i * PAGE, &amount, sizeof(amount));
    }
    return image;
}

/* In a child: what is wrong ends it with a message and status 1. */
static void
require(bool ok, const char *what, const struct ramet_err *err)
{
    if (ok)
        return;
    fprintf(stderr, "process %d: %s: %s\n", (int)getpid(), what,
            err == NULL ? "" : err->text);
    fflush(stderr);
    _exit(1);
}

static uint64_t
read_counter(struct ramet_session *session, unsigned counter)
{
    struct ramet_err err = {.text = ""};
    uint64_t amount = 0;
    size_t got;

    require(ramet_session_read(session, counter * PAGE, &amount, sizeof(amount),
                               &got, &err) == RAMET_OK,
            "read", &err);
    return amount;
}

static void
write_counter(struct ramet_session *session, unsigned counter, uint64_t amount)
{
    struct ramet_err err = {.text = ""};
    uint8_t page[PAGE];

    memset(page, (int)(amount & 0xff), sizeof(page));
    memcpy(page, &amount, sizeof(amount));
    require(ramet_session_write(session, counter * PAGE, page, sizeof(page),
                                &err) == RAMET_OK,
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

    require(rc == RAMET_OK || rc == RAMET_EBUSY, "pin", &err);
    if (rc != RAMET_OK)
        return false;
    rc = ramet_session_reserve(session, &err);
    require(rc == RAMET_OK || rc == RAMET_EBUSY || rc == RAMET_ESNAPSHOT,
            "reserve", &err);
    if (rc == RAMET_OK) {
        const uint64_t had = read_counter(session, from);
        const uint64_t amount = had == 0 ? 0 : store_below(rng, had);

        write_counter(session, to, read_counter(session, to) + amount);
        write_counter(session, from, had - amount);
        require(ramet_session_prepare(session, NULL, &err) == RAMET_OK,
                "prepare", &err);
        if (store_chance(rng, 50))
            require(ramet_session_sync(session, &err) == RAMET_OK, "sync",
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
check_sum(struct ramet_session *session)
{
    struct ramet_err err = {.text = ""};
    const enum ramet_rc rc = ramet_session_pin(session, &err);
    uint64_t sum = 0;

    require(rc == RAMET_OK || rc == RAMET_EBUSY, "pin", &err);
    if (rc != RAMET_OK)
        return;
    for (int round = 0; round < 2; round++) { /* the snapshot stays */
        sum = 0;
        for (unsigned i = 0; i < COUNTERS; i++)
            sum += read_counter(session, i);
        if (sum != COUNTERS * START)
            snprintf(err.text, sizeof(err.text), "%llu",
                     (unsigned long long)sum);
        require(sum == COUNTERS * START, "the sum", &err);
    }
    ramet_session_unpin(session);
}

static void
look_after(struct ramet_session *session, uint64_t *rng)
{
    struct ramet_err err = {.text = ""};

    if (store_chance(rng, 30))
        require(ramet_session_evict(session, store_below(rng, 20) * PAGE,
                                    &err) == RAMET_OK,
                "evict", &err);
    else
        require(ramet_session_checkpoint(session, store_chance(rng, 70),
                                         &err) == RAMET_OK,
                "checkpoint", &err);
}

/* Roles: writers first, then two readers, then the keeper. */
#define ROLES (WRITERS + 3u)

static struct ramet_session *
open_in_child(struct place *p)
{
    const struct ramet_replica_options options = {.flags = 0};
    struct ramet_err err = {.text = ""};
    struct ramet_session *session = NULL;
    enum ramet_rc rc;

    do /* killed openers leave nothing, but others may be at it */
        rc = ramet_session_open(p->path, &options, &session, &err);
    while (rc == RAMET_EBUSY);
    require(rc == RAMET_OK, "open", &err);
    ramet_replica_set_fetcher(ramet_session_replica(session), remote_fetch,
                              &p->remote);
    return session;
}

static void
play_role(struct place *p, unsigned role, uint64_t seed)
{
    struct ramet_session *session = open_in_child(p);
    uint64_t rng = seed;

    for (;;) {
        if (role < WRITERS)
            transfer(session, &rng);
        else if (role < WRITERS + 2)
            check_sum(session);
        else
            look_after(session, &rng);
        if (store_chance(&rng, 2)) { /* programs come and go */
            ramet_session_close(session);
            session = open_in_child(p);
        }
    }
}

static pid_t
start_role(struct place *p, unsigned role, uint64_t seed)
{
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        play_role(p, role, seed);
        _exit(0);
    }
    return pid;
}

static void
kill_role(pid_t pid)
{
    int status;

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("a process ended by itself: status %#x", (unsigned)status);
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
                kill_role(pids[i]);
        for (unsigned i = 0; i < ROLES; i++)
            if (all || i == role)
                pids[i] = start_role(p, i, store_random(&rng));
        kills += all ? ROLES : 1;
    }
    for (unsigned i = 0; i < ROLES; i++)
        kill_role(pids[i]);
    printf("%u processes killed\n", kills);
}

static void
check_bank_after(struct place *p)
{
    struct ramet_session *session = open_flags(p, 0);
    uint64_t checked;
    uint64_t bad;
    uint64_t rng = 3;

    check_sum(session);
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
    struct ramet_session *session = open_flags(p, RAMET_OPEN_CREATE);

    OK(commit_image(session, bank, e));
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
            check_sum(w->session);
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
    struct ramet_session *first = open_flags(p, RAMET_OPEN_CREATE);
    unsigned done = 0;

    OK(commit_image(first, bank, e));
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
    first = open_flags(p, 0);
    check_sum(first);
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
    own = open_in_child(p);
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
    struct image *const before = random_image(1, 10 * PAGE);
    struct image *const after = random_image(2, 10 * PAGE);
    struct ramet_session *session = open_flags(p, RAMET_OPEN_CREATE);
    int status;
    pid_t pid;

    OK(commit_image(session, before, e));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, after->bytes, after->size, e));
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(use_parents_session(p, session, before));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    expect(session, after, __LINE__);
    ramet_session_close(session);
    session = open_flags(p, 0);
    expect(session, after, __LINE__);
    ramet_session_close(session);
    image_unref(before);
    image_unref(after);
}

/* The parent dies, its child lives on with what it inherited: no lock stays. */
static void
fork__and_parent_dies__its_locks_go(void **state)
{
    struct place *const p = *state;
    struct image *const image = random_image(1, 3 * PAGE);
    struct ramet_session *session;
    int pipe_fds[2];
    pid_t pid;
    pid_t grandchild = 0;
    char byte = 0;

    assert_int_equal(pipe(pipe_fds), 0);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct ramet_session *own = open_flags(p, RAMET_OPEN_CREATE);

        require(commit_image(own, image, NULL) == RAMET_OK, "commit", NULL);
        require(ramet_session_pin(own, NULL) == RAMET_OK, "pin", NULL);
        require(ramet_session_reserve(own, NULL) == RAMET_OK, "reserve", NULL);
        grandchild = fork();
        if (grandchild == 0) {
            for (;;)
                pause();
        }
        require(write(pipe_fds[1], &grandchild, sizeof(grandchild)) ==
                    (ssize_t)sizeof(grandchild),
                "write", NULL);
        for (;;)
            pause();
    }
    assert_int_equal(read(pipe_fds[0], &grandchild, sizeof(grandchild)),
                     sizeof(grandchild));
    kill_role(pid);
    session = open_flags(p, RAMET_OPEN_EXCLUSIVE);
    expect(session, image, __LINE__);
    OK(commit_image(session, image, e));
    ramet_session_close(session);
    kill(grandchild, SIGKILL);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    (void)byte;
    image_unref(image);
}

/* ---- other people's hands -------------------------------------------------- */

static void
copy_tree(const struct place *p, const char *to)
{
    char command[1000];

    snprintf(command, sizeof(command),
             "cp -a --sparse=always '%s' '%s' && cp -a '%s' '%s-ramet'",
             p->path, to, p->dir, to);
    assert_int_equal(system(command), 0);
}

static struct ramet_rid
replica_id(struct ramet_session *session)
{
    struct ramet_replica_state s;
    struct ramet_rid id;

    memset(&s, 0, sizeof(s));
    OK(ramet_session_state(session, &s, e));
    id = s.replica;
    ramet_replica_state_done(&s);
    return id;
}

static void
copy_of_a_replica__opened__has_a_new_id(void **state)
{
    struct place *const p = *state;
    struct place copy = *p;
    struct image *const image = random_image(1, 9 * PAGE + 77);
    struct ramet_session *session = open_flags(p, RAMET_OPEN_CREATE);
    struct ramet_rid first;
    struct ramet_rid second;

    OK(commit_image(session, image, e));
    first = replica_id(session);
    for (int clean = 0; clean < 2; clean++) {
        snprintf(copy.path, sizeof(copy.path), "%s/copy%d.db", p->folder,
                 clean);
        if (clean == 1)
            ramet_session_close(session); /* else it is copied while in use */
        copy_tree(p, copy.path);
        if (clean == 1)
            session = open_flags(p, 0);
        {
            struct ramet_session *other = open_flags(&copy, 0);

            expect(other, image, __LINE__);
            second = replica_id(other);
            assert_memory_not_equal(&first, &second, sizeof(first));
            OK(commit_image(other, image, e));
            ramet_session_close(other);
            other = open_flags(&copy, 0);
            first = replica_id(other);
            assert_memory_equal(&first, &second, sizeof(first));
            ramet_session_close(other);
        }
        first = replica_id(session);
    }
    expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

static void
base__edited_by_others__is_foreign_until_adopted(void **state)
{
    struct place *const p = *state;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *image = random_image(1, 9 * PAGE + 77);
    struct ramet_session *session = open_flags(p, RAMET_OPEN_CREATE);
    struct ramet_replica_state s;
    uint64_t changed = 0;

    OK(commit_image(session, image, e));
    OK(ramet_session_sum(session, e));
    ramet_session_close(session);
    session = open_flags(p, 0); /* nothing was done: it stays clean */
    ramet_session_close(session);

    image->bytes[3 * PAGE + 5] ^= 1;
    store_write_plain(p->path, image);
    assert_int_equal(try_open(p->path, 0, NULL), RAMET_EFOREIGN);
    assert_int_equal(try_open(p->path, RAMET_OPEN_READONLY, NULL),
                     RAMET_EFOREIGN);
    OK(ramet_replica_adopt_base(p->path, &options, &changed, e));
    assert_int_equal(changed, 1);
    session = open_flags(p, 0);
    expect(session, image, __LINE__);
    memset(&s, 0, sizeof(s));
    OK(ramet_session_state(session, &s, e));
    assert_true(ramet_pageset_contains(&s.later, 4));
    ramet_replica_state_done(&s);
    ramet_session_close(session);

    image_resize(image, 5 * PAGE + 1); /* shorter */
    store_write_plain(p->path, image);
    assert_int_equal(try_open(p->path, 0, NULL), RAMET_EFOREIGN);
    OK(ramet_replica_adopt_base(p->path, &options, &changed, e));
    session = open_flags(p, 0);
    expect(session, image, __LINE__);
    ramet_session_close(session);

    assert_int_equal(unlink(p->path), 0); /* gone */
    assert_int_equal(try_open(p->path, 0, NULL), RAMET_EFOREIGN);
    image_unref(image);
}

/* Only the time was changed: the pages say that it is the same. */
static void
base__touched__opens(void **state)
{
    struct place *const p = *state;
    struct image *const image = random_image(1, 9 * PAGE + 77);
    struct ramet_session *session = open_flags(p, RAMET_OPEN_CREATE);

    OK(commit_image(session, image, e));
    OK(ramet_session_sum(session, e));
    ramet_session_close(session);
    store_write_plain(p->path, image);
    session = open_flags(p, 0);
    expect(session, image, __LINE__);
    OK(commit_image(session, image, e));
    ramet_session_close(session);
    image_unref(image);
}

/* A program with SQLite's own lock for reading on a clean base: reading goes
 * on, writing has to wait. */
static void
native_reader__holds_a_lock__writes_are_busy(void **state)
{
    struct place *const p = *state;
    struct image *const image = random_image(1, 9 * PAGE);
    struct ramet_session *session = open_flags(p, RAMET_OPEN_CREATE);
    struct flock lock = {.l_type = F_RDLCK,
                         .l_whence = SEEK_SET,
                         .l_start = 0x40000002,
                         .l_len = 510};
    int fd;

    OK(commit_image(session, image, e));
    ramet_session_close(session);
    fd = open(p->path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    session = open_flags(p, 0);
    expect(session, image, __LINE__);
    assert_int_equal(commit_image(session, image, NULL), RAMET_EBUSY);
    close(fd);
    OK(commit_image(session, image, e));
    expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* ---- disks ----------------------------------------------------------------- */

/* Run `body` in a child; its result is 0, or a line number. */
static void
in_child(struct place *p, int (*body)(struct place *p))
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(body(p));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the child ended with status %#x", (unsigned)status);
}

static int
read_as_nobody(struct place *p)
{
    const struct ramet_replica_options options = {.flags = RAMET_OPEN_READONLY};
    struct image *const image = random_image(1, 9 * PAGE + 77);
    struct ramet_err err = {.text = ""};
    struct ramet_session *session;
    bool equal = false;

    if (geteuid() == 0 &&
        (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        return 77;
    require(ramet_session_open(p->path, &options, &session, &err) == RAMET_OK,
            "open", &err);
    require(ramet_session_pin(session, &err) == RAMET_OK, "pin", &err);
    require(store_compare(session, image, &equal, &err) == RAMET_OK, "read",
            &err);
    require(equal, "what was read", NULL);
    require(ramet_session_reserve(session, &err) == RAMET_EREADONLY, "reserve",
            &err);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
    return 0;
}

static void
folder_that_cannot_be_written__read__works(void **state)
{
    struct place *const p = *state;
    struct image *const image = random_image(1, 9 * PAGE + 77);
    struct ramet_session *session = open_flags(p, RAMET_OPEN_CREATE);
    char command[1000];

    OK(commit_image(session, image, e));
    for (int closed = 0; closed < 2; closed++) {
        if (closed == 1) /* clean; before that: beside a writer */
            ramet_session_close(session);
        snprintf(command, sizeof(command),
                 "chmod -R a+rX,go-w '%s' && chmod a-w '%s' '%s'", p->folder,
                 p->folder, p->dir);
        assert_int_equal(system(command), 0);
        in_child(p, read_as_nobody);
        snprintf(command, sizeof(command), "chmod -R u+w '%s'", p->folder);
        assert_int_equal(system(command), 0);
    }
    image_unref(image);
}

/* On a file system of a megabyte: what does not fit is refused, and what was
 * there stays. */
static int
fill_disk(struct place *p)
{
    struct image *const small = random_image(1, 4 * PAGE);
    struct image *const big = random_image(2, 3 << 20);
    struct ramet_session *session;
    struct ramet_err err = {.text = ""};
    bool equal = false;

    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("ramet", p->folder, "tmpfs", 0, "size=2m") != 0)
        return 77;
    session = open_flags(p, RAMET_OPEN_CREATE);
    require(commit_image(session, small, &err) == RAMET_OK, "commit", &err);
    for (int i = 0; i < 3; i++) {
        require(commit_image(session, big, &err) == RAMET_EFULL,
                "a commit that does not fit", &err);
        require(ramet_session_pin(session, &err) == RAMET_OK, "pin", &err);
        require(store_compare(session, small, &equal, &err) == RAMET_OK &&
                    equal,
                "the content", &err);
        ramet_session_unpin(session);
    }
    require(commit_image(session, small, &err) == RAMET_OK, "a small commit",
            &err);
    ramet_session_close(session);
    session = open_flags(p, 0);
    require(ramet_session_pin(session, &err) == RAMET_OK, "pin", &err);
    require(store_compare(session, small, &equal, &err) == RAMET_OK && equal,
            "the content", &err);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(small);
    image_unref(big);
    return 0;
}

static void
disk_full__commit__refused_and_nothing_lost(void **state)
{
    in_child(*state, fill_disk);
}

/* ---- what a clone left ----------------------------------------------------- */

static void
clone__over_something__only_over_what_a_clone_left(void **state)
{
    struct place *const p = *state;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *const image = random_image(5, 20 * PAGE);
    struct ramet_remote_point point;
    struct ramet_session *session;
    char path[300];

    remote_add(&p->remote, image_ref(image));
    point = remote_point(&p->remote, 1);
    store_write_plain(p->path, image);
    assert_int_equal(ramet_replica_create_clone(p->path, &options,
                                                STORE_REMOTE_URL, &store_volume,
                                                &point, NULL, NULL),
                     RAMET_EEXIST);
    assert_int_equal(unlink(p->path), 0);
    snprintf(path, sizeof(path), "%s/state", p->dir);
    for (int with_log = 0; with_log < 2; with_log++) {
        OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                      &store_volume, &point, NULL, e));
        assert_int_equal(
            ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                       &store_volume, &point, NULL, NULL),
            RAMET_EEXIST);
        if (with_log == 1) {
            session = open_flags(p, 0);
            OK(ramet_session_pin(session, e));
            OK(ramet_session_reserve(session, e));
            OK(ramet_session_write(session, 0, image->bytes, 10, e));
            OK(ramet_session_prepare(session, NULL, e));
            ramet_session_publish(session);
            ramet_session_close(session);
        }
        assert_int_equal(unlink(path), 0);
        /* Without its state it is no file that could be adopted, either. */
        assert_int_equal(try_open(p->path, RAMET_OPEN_ADOPT, NULL),
                         RAMET_ENOTFOUND);
    }
    assert_int_equal(ramet_replica_create_clone(p->path, &options,
                                                STORE_REMOTE_URL, &store_volume,
                                                &point, NULL, NULL),
                     RAMET_EEXIST);
    image_unref(image);
}

/* ---- damage ---------------------------------------------------------------- */

/* A replica that was left in the midst: a log, fills, pages in the base. */
static struct image *
leave_unclean(struct place *p)
{
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *const first = random_image(5, 20 * PAGE);
    struct image *image = image_copy(first);
    struct ramet_remote_point point;
    int status;
    pid_t pid;

    remote_add(&p->remote, first);
    point = remote_point(&p->remote, 1);
    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    memset(image->bytes, 7, 5 * PAGE);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct ramet_session *session = open_in_child(p);
        uint8_t buf[4 * PAGE];
        size_t got;

        p->remote.brings_neighbours = false;
        require(ramet_session_pin(session, NULL) == RAMET_OK, "pin", NULL);
        require(ramet_session_read(session, 6 * PAGE, buf, sizeof(buf), &got,
                                   NULL) == RAMET_OK,
                "read", NULL);
        ramet_session_unpin(session);
        require(ramet_session_checkpoint(session, true, NULL) == RAMET_OK,
                "checkpoint", NULL);
        require(ramet_session_pin(session, NULL) == RAMET_OK, "pin", NULL);
        require(ramet_session_read(session, 12 * PAGE, buf, sizeof(buf), &got,
                                   NULL) == RAMET_OK,
                "read", NULL);
        ramet_session_unpin(session);
        for (unsigned i = 0; i < 5; i++) {
            memset(buf, 7, PAGE);
            require(
                ramet_session_pin(session, NULL) == RAMET_OK &&
                    ramet_session_reserve(session, NULL) == RAMET_OK &&
                    ramet_session_write(session, i * PAGE, buf, PAGE, NULL) ==
                        RAMET_OK &&
                    ramet_session_prepare(session, NULL, NULL) == RAMET_OK &&
                    ramet_session_sync(session, NULL) == RAMET_OK,
                "commit", NULL);
            ramet_session_publish(session);
            ramet_session_release(session);
            ramet_session_unpin(session);
        }
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return image;
}

static void
flip_bit(const char *path, uint64_t at, unsigned bit)
{
    const int fd = open(path, O_RDWR);
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= (uint8_t)(1u << bit);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* What can be opened and read is right; what can't says so. A log that is cut
 * where it ends may give any of the commits, whole; `*io_errors` counts. */
static void
read_damaged(struct place *p, const struct image *image,
             const struct image *first, bool may_be_older, const char *what,
             unsigned *io_errors)
{
    const struct ramet_replica_options options = {.flags = 0};
    struct ramet_err err = {.text = ""};
    struct ramet_session *session;
    uint8_t page[PAGE];
    size_t got;
    bool older = false;

    if (ramet_session_open(p->path, &options, &session, &err) != RAMET_OK) {
        assert_true(err.text[0] != '\0');
        (*io_errors)++;
        return;
    }
    ramet_replica_set_fetcher(ramet_session_replica(session), remote_fetch,
                              &p->remote);
    OK(ramet_session_pin(session, e));
    for (uint64_t at = 0; at < ramet_session_size(session); at += PAGE) {
        if (ramet_session_read(session, at, page, PAGE, &got, &err) !=
            RAMET_OK) {
            assert_true(err.text[0] != '\0');
            (*io_errors)++;
            continue;
        }
        if (memcmp(page, image->bytes + at, PAGE) == 0 && !older)
            continue;
        /* Commits came page after page: from the first old one on, all are. */
        older = true;
        if (!may_be_older || memcmp(page, first->bytes + at, PAGE) != 0)
            if (at < 5 * PAGE || memcmp(page, image->bytes + at, PAGE) != 0)
                fail_msg("%s: page %u is wrong", what,
                         (unsigned)(at / PAGE) + 1);
    }
    ramet_session_unpin(session);
    ramet_session_close(session);
}

static void
damage_file(struct place *p, const struct image *image, const char *name,
            uint64_t limit, uint64_t step, bool may_be_older)
{
    struct place copy = *p;
    char path[500];
    char command[1000];
    struct stat st;
    unsigned errors = 0;
    unsigned flips = 0;
    uint64_t rng = 9;

    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    assert_int_equal(stat(path, &st), 0);
    snprintf(copy.path, sizeof(copy.path), "%s/damaged.db", p->folder);
    for (uint64_t at = 0; at < (uint64_t)st.st_size && at < limit;
         at += 1 + store_below(&rng, step)) {
        copy_tree(p, copy.path);
        snprintf(path, sizeof(path), "%s-ramet/%s", copy.path, name);
        flip_bit(path, at, (unsigned)store_below(&rng, 8));
        snprintf(command, sizeof(command), "%s, bit flipped in byte %llu", name,
                 (unsigned long long)at);
        read_damaged(&copy, image, p->remote.at[1], may_be_older, command,
                     &errors);
        flips++;
        snprintf(command, sizeof(command), "rm -rf '%s' '%s-ramet'", copy.path,
                 copy.path);
        assert_int_equal(system(command), 0);
    }
    printf("%s: %u flips, %u errors\n", name, flips, errors);
}

/* The first file of the directory whose name begins like this. */
static void
find_file(const struct place *p, const char *prefix, char out[256])
{
    struct dirent **entries;
    const int count = scandir(p->dir, &entries, NULL, alphasort);

    assert_true(count > 0);
    out[0] = '\0';
    for (int i = 0; i < count; i++) {
        if (out[0] == '\0' &&
            !strncmp(entries[i]->d_name, prefix, strlen(prefix)))
            snprintf(out, 256, "%s", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (out[0] == '\0')
        fail_msg("there is no %s*", prefix);
}

static void
bit_flips__anywhere__error_or_right_data(void **state)
{
    struct place *const p = *state;
    struct image *const image = leave_unclean(p);
    char name[256];

    damage_file(p, image, "state", 4096, 12, true);
    find_file(p, "log-", name);
    damage_file(p, image, name, 24000, 900, true);
    find_file(p, "fill-", name);
    damage_file(p, image, name, 20000, 900, false);
    damage_file(p, image, "index", 200000, 9000, false);
    image_unref(image);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(processes__killed__sum_stays),
        TEST(processes_of_a_clone__killed__sum_stays),
        TEST(threads__at_once__sum_stays),
        TEST(fork__with_a_transaction_open__child_has_no_part_in_it),
        TEST(fork__and_parent_dies__its_locks_go),
        TEST(copy_of_a_replica__opened__has_a_new_id),
        TEST(base__edited_by_others__is_foreign_until_adopted),
        TEST(base__touched__opens),
        TEST(native_reader__holds_a_lock__writes_are_busy),
        TEST(folder_that_cannot_be_written__read__works),
        TEST(disk_full__commit__refused_and_nothing_lost),
        TEST(clone__over_something__only_over_what_a_clone_left),
        TEST(bit_flips__anywhere__error_or_right_data),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
