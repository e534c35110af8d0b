/*
 * test_deleted.c - what a deleted file left: it is set aside, and made a replica
 * again, whole or not at all, whichever call fails and whenever the power goes.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "tests/support/faultos.h"

#define PAGES 8u
#define MANY_PAGES ((5u << 20) / PLACE_PAGE)
#define CALLS_MAX 1000

struct deleted {
    struct place place;
    struct faultos *faults;
    const struct ramet_os *os;
    struct image *image; /* that was committed, and never pushed */
    char out[200];
    char lost[200]; /* its folder */
    bool has_older; /* what a reset kept in it before */
};

/* ---- a file that was deleted under a program that then was killed --------------- */

static struct ramet_session *
open_bound(struct place *p)
{
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    return session;
}

static void
work_and_die(struct deleted *d, void (*work)(struct deleted *d))
{
    const pid_t child = child_fork();

    if (child == 0) {
        work(d);
        _exit(0);
    }
    child_await(child);
}

static void
commit_it(struct deleted *d)
{
    OK(place_commit(open_bound(&d->place), d->image, e));
}

/* And a reset had kept something before. */
static void
commit_after_a_reset(struct deleted *d)
{
    char older[230];
    int fd;

    commit_it(d);
    snprintf(older, sizeof(older), "%s/older.db", d->lost);
    child_require(mkdir(d->lost, 0700) == 0, "make lost/", NULL);
    fd = open(older, O_WRONLY | O_CREAT, 0600);
    child_require(fd >= 0 && write(fd, "kept", 4) == 4, "write", NULL);
    close(fd);
}

/* In more than one file of the log. */
static void
commit_much(struct deleted *d)
{
    struct image *const before = place_image(5, MANY_PAGES * PLACE_PAGE);
    struct ramet_session *const session = open_bound(&d->place);

    OK(place_commit(session, before, e));
    image_unref(before);
    OK(place_commit(session, d->image, e));
}

static struct deleted *
deleted_new(void (*work)(struct deleted *d))
{
    struct deleted *const d = calloc(1, sizeof(*d));
    struct place *const p = &d->place;

    store_folder_make(p->folder);
    snprintf(p->path, sizeof(p->path), "%s/app.db", p->folder);
    snprintf(p->dir, sizeof(p->dir), "%s-ramet", p->path);
    snprintf(d->out, sizeof(d->out), "%s/again.db", p->folder);
    snprintf(d->lost, sizeof(d->lost), "%s/lost", p->dir);
    remote_init(&p->remote, 1);
    d->image =
        place_image(3, (work == commit_much ? MANY_PAGES : PAGES) * PLACE_PAGE);
    d->has_older = work == commit_after_a_reset;
    work_and_die(d, work);
    assert_int_equal(unlink(p->path), 0);
    d->faults = faultos_new(p->folder);
    d->os = faultos_os(d->faults);
    return d;
}

static void
deleted_free(struct deleted *d)
{
    faultos_free(d->faults);
    image_unref(d->image);
    remote_done(&d->place.remote);
    store_folder_remove(d->place.folder);
    free(d);
}

/* The one name of a deleted file in lost/, into `out`; the number of them. What
 * was in it before is. */
static unsigned
find_lost(const struct deleted *d, char *out, size_t size)
{
    DIR *const dir = opendir(d->lost);
    unsigned count = 0;
    char older[230];
    struct stat st;

    snprintf(older, sizeof(older), "%s/older.db", d->lost);
    if (d->has_older) {
        assert_int_equal(stat(older, &st), 0);
        assert_int_equal(st.st_size, 4);
    }
    if (dir == NULL)
        return 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, "deleted-", 8) != 0)
            continue;
        snprintf(out, size, "%.90s", e->d_name);
        count++;
    }
    closedir(dir);
    return count;
}

/* What was committed is in lost/, once, and there is room for a new file. */
static void
check_set_aside(struct deleted *d)
{
    char name[100] = "";

    OK(ramet_replica_clear_orphan(d->os, d->place.path, e));
    assert_false(ramet_replica_is_orphan(d->os, d->place.path));
    ramet_session_close(place_open_on(&d->place, RAMET_OPEN_CREATE, d->os));
    assert_int_equal(find_lost(d, name, sizeof(name)), 1);
    OK(ramet_replica_rescue(d->os, d->place.path, name, d->out, e));
}

static void
check_rescued(struct deleted *d)
{
    struct place out = d->place;
    struct ramet_session *session;
    char name[100];

    snprintf(out.path, sizeof(out.path), "%.150s", d->out);
    session = place_open_on(&out, 0, d->os);
    place_expect(session, d->image, __LINE__);
    ramet_session_close(session);
    assert_int_equal(find_lost(d, name, sizeof(name)), 1);
}

/* ---- each call fails --------------------------------------------------------------- */

/* How call n is made to fail, and that it no longer is: did it come to that? */
struct failing {
    void (*arm)(struct deleted *d, long n);
    bool (*disarm)(struct deleted *d, enum ramet_rc rc);
};

static void
arm_call(struct deleted *d, long n)
{
    static const int errors[] = {EIO, ENOSPC, EACCES, EMFILE};

    faultos_settle(d->faults);
    faultos_fail_at(d->faults, FAULTOS_ALL, n, errors[n % 4], false);
}

static bool
disarm_call(struct deleted *d, enum ramet_rc rc)
{
    const bool failed = faultos_has_failed(d->faults);

    (void)rc;
    faultos_fail_at(d->faults, 0, -1, 0, false);
    return failed;
}

static void
arm_memory(struct deleted *d, long n)
{
    (void)d;
    ramet_alloc_fail_at(n);
}

static bool
disarm_memory(struct deleted *d, enum ramet_rc rc)
{
    (void)d;
    ramet_alloc_fail_at(-1);
    return rc == RAMET_ENOMEM;
}

static const struct failing calls = {arm_call, disarm_call};
static const struct failing memory = {arm_memory, disarm_memory};

static bool
set_aside_once(const struct failing *failing, long n)
{
    struct deleted *const d = deleted_new(commit_it);
    struct ramet_err err = {.text = ""};
    enum ramet_rc rc;
    bool failed;

    failing->arm(d, n);
    rc = ramet_replica_clear_orphan(d->os, d->place.path, &err);
    failed = failing->disarm(d, rc);
    assert_true(failed || rc == RAMET_OK);
    assert_true(rc == RAMET_OK || err.text[0] != '\0');
    check_set_aside(d);
    check_rescued(d);
    deleted_free(d);
    return failed;
}

static bool
rescue_once(const struct failing *failing, long n)
{
    struct deleted *const d = deleted_new(commit_it);
    struct ramet_err err = {.text = ""};
    char name[100];
    enum ramet_rc rc;
    bool failed;

    OK(ramet_replica_clear_orphan(d->os, d->place.path, e));
    assert_int_equal(find_lost(d, name, sizeof(name)), 1);
    failing->arm(d, n);
    rc = ramet_replica_rescue(d->os, d->place.path, name, d->out, &err);
    failed = failing->disarm(d, rc);
    assert_true(failed || rc == RAMET_OK);
    assert_true(rc == RAMET_OK || err.text[0] != '\0');
    if (rc != RAMET_OK)
        OK(ramet_replica_rescue(d->os, d->place.path, name, d->out, e));
    check_rescued(d);
    deleted_free(d);
    return failed;
}

static void
all_of_them(bool (*once)(const struct failing *failing, long n),
            const struct failing *failing, long least)
{
    long n = 0;

    while (once(failing, n))
        assert_true(++n < CALLS_MAX);
    assert_true(n >= least);
}

static void
setting_aside__a_call_fails__loses_nothing(void **state)
{
    (void)state;
    all_of_them(set_aside_once, &calls, 15);
}

static void
setting_aside__without_memory__loses_nothing(void **state)
{
    (void)state;
    all_of_them(set_aside_once, &memory, 3);
}

static void
rescue__a_call_fails__can_be_done_again(void **state)
{
    (void)state;
    all_of_them(rescue_once, &calls, 15);
}

static void
rescue__without_memory__can_be_done_again(void **state)
{
    (void)state;
    all_of_them(rescue_once, &memory, 5);
}

/* ---- the power goes ------------------------------------------------------------------ */

static bool
cut_setting_aside(long n, uint64_t seed)
{
    struct deleted *const d = deleted_new(commit_after_a_reset);
    bool stopped;

    faultos_settle(d->faults);
    faultos_stop_at(d->faults, n);
    (void)!ramet_replica_clear_orphan(d->os, d->place.path, NULL);
    stopped = faultos_has_stopped(d->faults);
    faultos_crash(d->faults, seed);
    check_set_aside(d);
    check_rescued(d);
    deleted_free(d);
    return stopped;
}

static void
setting_aside__power_goes__loses_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        long n = 0;

        while (cut_setting_aside(n, seed))
            assert_true(++n < CALLS_MAX);
        assert_true(n >= 4);
    }
}

/* Where it is deleted in part, whoever comes finishes it; nothing that was told to be
 * gone comes back, as a replica or as a plain file. */
static bool
cut_deletion(long n, uint64_t seed)
{
    struct deleted *const d = deleted_new(commit_it);
    const struct ramet_replica_options again = {.os = d->os};
    struct ramet_session *session;
    enum ramet_rc deleted, opened;
    bool stopped;

    OK(ramet_replica_delete(d->os, d->place.path, e)); /* nothing is in lost/ */
    session = place_open_on(&d->place, RAMET_OPEN_CREATE, d->os);
    OK(place_commit(session, d->image, e));
    ramet_session_close(session);
    faultos_settle(d->faults);
    faultos_stop_at(d->faults, n);
    deleted = ramet_replica_delete(d->os, d->place.path, NULL);
    stopped = faultos_has_stopped(d->faults);
    assert_true(stopped || deleted == RAMET_OK);
    faultos_crash(d->faults, seed);
    opened = ramet_session_open(d->place.path, &again, &session, NULL);
    if (opened == RAMET_OK && deleted != RAMET_OK) {
        place_expect(session, d->image, __LINE__);
        ramet_session_close(session);
    } else {
        assert_int_equal(opened, RAMET_ENOTFOUND);
        assert_int_equal(access(d->place.path, F_OK), -1);
    }
    deleted_free(d);
    return stopped;
}

static void
deletion__power_goes__is_whole_or_was_not_begun(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 16; seed++) {
        long n = 0;

        while (cut_deletion(n, seed))
            assert_true(++n < CALLS_MAX);
        assert_true(n >= 6);
    }
}

static bool
cut_rescue(long n, uint64_t seed)
{
    struct deleted *const d = deleted_new(commit_it);
    char name[100];
    enum ramet_rc rc;
    bool stopped;

    OK(ramet_replica_clear_orphan(d->os, d->place.path, e));
    assert_int_equal(find_lost(d, name, sizeof(name)), 1);
    faultos_settle(d->faults);
    faultos_stop_at(d->faults, n);
    rc = ramet_replica_rescue(d->os, d->place.path, name, d->out, NULL);
    stopped = faultos_has_stopped(d->faults);
    assert_true(stopped || rc == RAMET_OK);
    faultos_crash(d->faults, seed);
    if (rc != RAMET_OK) { /* what is left is in the way of that name alone */
        snprintf(d->out, sizeof(d->out), "%s/once-more.db", d->place.folder);
        OK(ramet_replica_rescue(d->os, d->place.path, name, d->out, e));
    }
    check_rescued(d);
    deleted_free(d);
    return stopped;
}

static void
rescue__power_goes__has_what_it_reported(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        long n = 0;

        while (cut_rescue(n, seed))
            assert_true(++n < CALLS_MAX);
        assert_true(n >= 8);
    }
}

/* ---- what went with the file ----------------------------------------------------------- */

static void
rescue__of_several_log_files__has_all_of_them(void **state)
{
    struct deleted *const d = deleted_new(commit_much);

    (void)state;
    check_set_aside(d);
    check_rescued(d);
    deleted_free(d);
}

/* Half is in the base alone, and on its way to the remote. */
static void
commit_freeze_and_move(struct deleted *d)
{
    struct image *const first = place_image(4, 2 * PAGES * PLACE_PAGE);
    struct ramet_session *const session = open_bound(&d->place);
    struct ramet_snapshot base;
    struct ramet_cid id;

    OK(place_commit(session, first, e));
    base = store_newest(session);
    OK(ramet_id_new(&id.id, e));
    OK(ramet_session_lock_push(session, e));
    OK(ramet_session_freeze(session, &base, &id, e));
    ramet_session_unpin(session);
    ramet_session_unlock_push(session);
    OK(ramet_session_checkpoint(session, true, e));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, d->image->bytes, PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    image_unref(first);
}

static void
rescue__of_commits_under_way_whose_pages_are_gone__is_refused(void **state)
{
    struct deleted *const d = deleted_new(commit_freeze_and_move);
    struct ramet_err err = {.text = ""};
    char name[100];

    (void)state;
    OK(ramet_replica_clear_orphan(d->os, d->place.path, e));
    assert_int_equal(find_lost(d, name, sizeof(name)), 1);
    assert_int_equal(
        ramet_replica_rescue(d->os, d->place.path, name, d->out, &err),
        RAMET_ENOTFOUND);
    assert_non_null(strstr(err.text, "only in the file that was deleted"));
    assert_int_equal(access(d->out, F_OK), -1);
    assert_int_equal(find_lost(d, name, sizeof(name)), 1);
    deleted_free(d);
}

/* All of it is on its way to the remote, and may never come there. */
static void
commit_and_freeze(struct deleted *d)
{
    struct ramet_session *const session = open_bound(&d->place);
    struct ramet_snapshot base;
    struct ramet_cid id;

    OK(place_commit(session, d->image, e));
    base = store_newest(session);
    OK(ramet_id_new(&id.id, e));
    OK(ramet_session_lock_push(session, e));
    OK(ramet_session_freeze(session, &base, &id, e));
}

static void
setting_aside__of_commits_under_way__keeps_them(void **state)
{
    struct deleted *const d = deleted_new(commit_and_freeze);

    (void)state;
    check_set_aside(d);
    check_rescued(d);
    deleted_free(d);
}

/* In a child: one commit, and another when the parent has cleared the way. */
static void
commit_go_on_and_close(struct deleted *d, int said, int told)
{
    struct ramet_session *const session = place_open_in_child(&d->place);
    struct image *const first = place_image(6, PAGES * PLACE_PAGE);
    char byte = 0;

    child_require(place_commit(session, first, NULL) == RAMET_OK, "commit",
                  NULL);
    child_require(write(said, &byte, 1) == 1 && read(told, &byte, 1) == 1,
                  "wait", NULL);
    child_require(place_commit(session, d->image, NULL) == RAMET_OK, "commit",
                  NULL);
    ramet_session_close(session);
    _exit(0);
}

/* No remote is to have it; but a process that has it open goes on. Then another file
 * is made in its place. */
static void
clear_while_it_is_open(struct deleted *d)
{
    int said[2], told[2];
    char byte;
    pid_t child;

    ramet_session_close(place_open(&d->place, RAMET_OPEN_CREATE));
    child_require(pipe(said) == 0 && pipe(told) == 0, "pipe", NULL);
    child = child_fork();
    if (child == 0)
        commit_go_on_and_close(d, said[1], told[0]);
    close(said[1]);
    child_require(read(said[0], &byte, 1) == 1 && unlink(d->place.path) == 0 &&
                      ramet_replica_clear_orphan(NULL, d->place.path, NULL) ==
                          RAMET_OK &&
                      write(told[1], &byte, 1) == 1,
                  "clear", NULL);
    child_await(child);
    ramet_session_close(place_open(&d->place, RAMET_OPEN_CREATE));
}

static void
setting_aside__of_what_somebody_has_open__keeps_what_comes(void **state)
{
    struct deleted *const d = deleted_new(clear_while_it_is_open);

    (void)state;
    check_set_aside(d);
    check_rescued(d);
    deleted_free(d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_aside__a_call_fails__loses_nothing),
        cmocka_unit_test(setting_aside__without_memory__loses_nothing),
        cmocka_unit_test(setting_aside__power_goes__loses_nothing),
        cmocka_unit_test(deletion__power_goes__is_whole_or_was_not_begun),
        cmocka_unit_test(rescue__a_call_fails__can_be_done_again),
        cmocka_unit_test(rescue__without_memory__can_be_done_again),
        cmocka_unit_test(rescue__power_goes__has_what_it_reported),
        cmocka_unit_test(rescue__of_several_log_files__has_all_of_them),
        cmocka_unit_test(
            rescue__of_commits_under_way_whose_pages_are_gone__is_refused),
        cmocka_unit_test(setting_aside__of_commits_under_way__keeps_them),
        cmocka_unit_test(
            setting_aside__of_what_somebody_has_open__keeps_what_comes),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
