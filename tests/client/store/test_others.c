/*
 * test_others.c - what others do to a replica's files: copies, edits,
 * programs that know nothing of replicas, folders that can't be written, full
 * disks, and clones over what is there.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- other people's hands -------------------------------------------------- */

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
    struct image *const image = place_image(1, 9 * PLACE_PAGE + 77);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_rid first;
    struct ramet_rid second;

    OK(place_commit(session, image, e));
    first = replica_id(session);
    for (int clean = 0; clean < 2; clean++) {
        snprintf(copy.path, sizeof(copy.path), "%s/copy%d.db", p->folder,
                 clean);
        if (clean == 1)
            ramet_session_close(session); /* else it is copied while in use */
        place_copy(p, copy.path);
        if (clean == 1)
            session = place_open(p, 0);
        {
            struct ramet_session *other = place_open(&copy, 0);

            place_expect(other, image, __LINE__);
            second = replica_id(other);
            assert_memory_not_equal(&first, &second, sizeof(first));
            OK(place_commit(other, image, e));
            ramet_session_close(other);
            other = place_open(&copy, 0);
            first = replica_id(other);
            assert_memory_equal(&first, &second, sizeof(first));
            ramet_session_close(other);
        }
        first = replica_id(session);
    }
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

static void
base__edited_by_others__is_foreign_until_adopted(void **state)
{
    struct place *const p = *state;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *image = place_image(1, 9 * PLACE_PAGE + 77);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_replica_state s;
    uint64_t changed = 0;

    OK(place_commit(session, image, e));
    OK(ramet_session_sum(session, e));
    ramet_session_close(session);
    session = place_open(p, 0); /* nothing was done: it stays clean */
    ramet_session_close(session);

    image->bytes[3 * PLACE_PAGE + 5] ^= 1;
    store_write_plain(p->path, image);
    assert_int_equal(place_try_open(p->path, 0, NULL), RAMET_EFOREIGN);
    assert_int_equal(place_try_open(p->path, RAMET_OPEN_READONLY, NULL),
                     RAMET_EFOREIGN);
    OK(ramet_replica_adopt_base(p->path, &options, &changed, e));
    assert_int_equal(changed, 1);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    memset(&s, 0, sizeof(s));
    OK(ramet_session_state(session, &s, e));
    assert_true(ramet_pageset_contains(&s.later, 4));
    ramet_replica_state_done(&s);
    ramet_session_close(session);

    image_resize(image, 5 * PLACE_PAGE + 1); /* shorter */
    store_write_plain(p->path, image);
    assert_int_equal(place_try_open(p->path, 0, NULL), RAMET_EFOREIGN);
    OK(ramet_replica_adopt_base(p->path, &options, &changed, e));
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);

    assert_int_equal(unlink(p->path), 0); /* gone */
    assert_int_equal(place_try_open(p->path, 0, NULL), RAMET_EFOREIGN);
    image_unref(image);
}

/* Only the time was changed: the pages say that it is the same. */
static void
base__touched__opens(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 9 * PLACE_PAGE + 77);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, image, e));
    OK(ramet_session_sum(session, e));
    ramet_session_close(session);
    store_write_plain(p->path, image);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    OK(place_commit(session, image, e));
    ramet_session_close(session);
    image_unref(image);
}

/* A program with SQLite's own lock for reading on a clean base: reading goes
 * on, writing has to wait. */
static void
native_reader__holds_a_lock__writes_are_busy(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 9 * PLACE_PAGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    struct flock lock = {.l_type = F_RDLCK,
                         .l_whence = SEEK_SET,
                         .l_start = 0x40000002,
                         .l_len = 510};
    int fd;

    OK(place_commit(session, image, e));
    ramet_session_close(session);
    fd = open(p->path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    assert_int_equal(place_commit(session, image, NULL), RAMET_EBUSY);
    close(fd);
    OK(place_commit(session, image, e));
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* ---- disks ----------------------------------------------------------------- */

/* What `body` returns where this machine does not let it do what it is for. */
#define NOT_HERE 77

/* Run `body` in a child; its result is 0, NOT_HERE, or a line number. */
static void
in_child(struct place *p, int (*body)(struct place *p))
{
    int status;
    pid_t pid;

    pid = child_fork();
    if (pid == 0)
        _exit(body(p));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE) {
        print_message("NOT TESTED: this user may not do here what it takes\n");
        skip();
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the child ended with status %#x", (unsigned)status);
}

static int
read_as_nobody(struct place *p)
{
    const struct ramet_replica_options options = {.flags = RAMET_OPEN_READONLY};
    struct image *const image = place_image(1, 9 * PLACE_PAGE + 77);
    struct ramet_err err = {.text = ""};
    struct ramet_session *session;
    bool equal = false;

    if (geteuid() == 0 &&
        (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        return NOT_HERE;
    child_require(ramet_session_open(p->path, &options, &session, &err) ==
                      RAMET_OK,
                  "open", &err);
    child_require(ramet_session_pin(session, &err) == RAMET_OK, "pin", &err);
    child_require(store_compare(session, image, &equal, &err) == RAMET_OK,
                  "read", &err);
    child_require(equal, "what was read", NULL);
    child_require(ramet_session_reserve(session, &err) == RAMET_EREADONLY,
                  "reserve", &err);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
    return 0;
}

static void
folder_that_cannot_be_written__read__works(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 9 * PLACE_PAGE + 77);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    char command[1000];

    OK(place_commit(session, image, e));
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
    struct image *const small = place_image(1, 4 * PLACE_PAGE);
    struct image *const big = place_image(2, 3 << 20);
    struct ramet_session *session;
    struct ramet_err err = {.text = ""};
    bool equal = false;

    if ((unshare(CLONE_NEWNS) != 0 &&
         unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("ramet", p->folder, "tmpfs", 0, "size=2m") != 0)
        return NOT_HERE;
    session = place_open(p, RAMET_OPEN_CREATE);
    child_require(place_commit(session, small, &err) == RAMET_OK, "commit",
                  &err);
    for (int i = 0; i < 3; i++) {
        child_require(place_commit(session, big, &err) == RAMET_EFULL,
                      "a commit that does not fit", &err);
        child_require(ramet_session_pin(session, &err) == RAMET_OK, "pin",
                      &err);
        child_require(store_compare(session, small, &equal, &err) == RAMET_OK &&
                          equal,
                      "the content", &err);
        ramet_session_unpin(session);
    }
    child_require(place_commit(session, small, &err) == RAMET_OK,
                  "a small commit", &err);
    ramet_session_close(session);
    session = place_open(p, 0);
    child_require(ramet_session_pin(session, &err) == RAMET_OK, "pin", &err);
    child_require(store_compare(session, small, &equal, &err) == RAMET_OK &&
                      equal,
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
    struct image *const image = place_image(5, 20 * PLACE_PAGE);
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
            session = place_open(p, 0);
            OK(ramet_session_pin(session, e));
            OK(ramet_session_reserve(session, e));
            OK(ramet_session_write(session, 0, image->bytes, 10, e));
            OK(ramet_session_prepare(session, NULL, e));
            ramet_session_publish(session);
            ramet_session_close(session);
        }
        assert_int_equal(unlink(path), 0);
        /* Without its state it is no file that could be adopted, either. */
        assert_int_equal(place_try_open(p->path, RAMET_OPEN_ADOPT, NULL),
                         RAMET_ENOTFOUND);
    }
    assert_int_equal(ramet_replica_create_clone(p->path, &options,
                                                STORE_REMOTE_URL, &store_volume,
                                                &point, NULL, NULL),
                     RAMET_EEXIST);
    image_unref(image);
}

/* Both logs begin with nothing before them: a header says whose it is. */
static void
log_of_another_replica__counts_for_nothing(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(9, 3 * PLACE_PAGE);
    struct image *const empty = image_new(0, PLACE_PAGE);
    struct place other = *p;
    struct ramet_session *session;
    char command[1000];
    pid_t child;

    snprintf(other.path, sizeof(other.path), "%s/other.db", p->folder);
    session = place_open(p, RAMET_OPEN_CREATE);
    ramet_session_close(session);
    child = child_fork();
    if (child == 0) {
        OK(place_commit(place_open(&other, RAMET_OPEN_CREATE), image, e));
        _exit(0);
    }
    child_await(child);
    snprintf(command, sizeof(command), "cp '%s-ramet'/log-* '%s'", other.path,
             p->dir);
    assert_int_equal(system(command), 0);
    session = place_open(p, 0);
    place_expect(session, empty, __LINE__);
    OK(place_commit(session, image, e));
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(empty);
    image_unref(image);
}

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(copy_of_a_replica__opened__has_a_new_id),
        TEST(base__edited_by_others__is_foreign_until_adopted),
        TEST(base__touched__opens),
        TEST(log_of_another_replica__counts_for_nothing),
        TEST(native_reader__holds_a_lock__writes_are_busy),
        TEST(folder_that_cannot_be_written__read__works),
        TEST(disk_full__commit__refused_and_nothing_lost),
        TEST(clone__over_something__only_over_what_a_clone_left),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
