/*
 * test_dirstore.c - a directory as a store: power loss after each change,
 * failing system calls, processes that race, leftovers, unusable directories.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "pagestore/objstore.h"
#include "tests/support/child.h"
#include "tests/support/powercut.h"

struct fixture {
    char root[64];  /* the simulated disk */
    char store[80]; /* below it: made by the store */
    struct faultos *faults;
};

static void
shell(const char *format, const char *path)
{
    char command[512];

    snprintf(command, sizeof(command), format, path);
    assert_int_equal(system(command), 0);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->root, "/tmp/ramet-test-dirstore-XXXXXX");
    if (mkdtemp(f->root) == NULL)
        return -1;
    snprintf(f->store, sizeof(f->store), "%s/a/b", f->root);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    faultos_free(f->faults);
    shell("chmod -R u+rwx '%s'; rm -rf '%1$s' '%1$s.vault'", f->root);
    free(f);
    return 0;
}

static enum ramet_rc
put_text(struct ramet_objstore *store, const char *key, const char *text)
{
    const struct iovec part = {(void *)(uintptr_t)text, strlen(text)};

    return ramet_objstore_put(store, key, &part, 1, NULL);
}

/* Content of `key`: its first byte, 0 if it is absent, and -1 if it is neither
 * absent nor whole (objects here are `len` equal bytes). */
static int
content_of(struct ramet_objstore *store, const char *key, size_t len)
{
    char buf[64];
    size_t got = 0;
    const enum ramet_rc rc =
        ramet_objstore_read(store, key, 0, buf, sizeof(buf), &got, NULL);

    if (rc == RAMET_ENOTFOUND)
        return 0;
    if (rc != RAMET_OK || got != len)
        return -1;
    for (size_t i = 1; i < got; i++)
        if (buf[i] != buf[0])
            return -1;
    return buf[0];
}

/* ---- power loss ----------------------------------------------------------- */

/* What was reported of each step before the power went. */
struct report {
    enum ramet_rc put_a;
    enum ramet_rc put_a_again; /* by another handle, as another process */
    enum ramet_rc upload_b;
    enum ramet_rc put_c;
    enum ramet_rc remove_c;
};

static void
run_upload(struct ramet_objstore *store, const char *key, enum ramet_rc *out)
{
    struct ramet_upload *upload;

    *out = ramet_objstore_upload_begin(store, key, &upload, NULL);
    if (*out != RAMET_OK)
        return;
    *out = ramet_objstore_upload_write(upload, "bbbb", 4, NULL);
    if (*out == RAMET_OK)
        *out = ramet_objstore_upload_write(upload, "bb", 2, NULL);
    if (*out == RAMET_OK)
        *out = ramet_objstore_upload_finish(upload, NULL);
    else
        ramet_objstore_upload_abort(upload);
}

/* Anything that was not reached is reported as unknown. */
static struct report
run_steps(const struct fixture *f)
{
    const struct ramet_os *os = faultos_os(f->faults);
    struct report report = {RAMET_EUNKNOWN, RAMET_EUNKNOWN, RAMET_EUNKNOWN,
                            RAMET_EUNKNOWN, RAMET_EUNKNOWN};
    struct ramet_objstore *store = NULL;
    struct ramet_objstore *other = NULL;

    if (ramet_dirstore_open(os, f->store, true, &store, NULL) == RAMET_OK &&
        ramet_dirstore_open(os, f->store, true, &other, NULL) == RAMET_OK) {
        report.put_a = put_text(store, "v/x/commits/1", "aaaaa");
        report.put_a_again = put_text(other, "v/x/commits/1", "zzzzz");
        run_upload(other, "v/x/segments/b", &report.upload_b);
        report.put_c = put_text(store, "v/x/commits/2", "ccccc");
        report.remove_c = ramet_objstore_remove(store, "v/x/commits/2", NULL);
    }
    ramet_objstore_close(store);
    ramet_objstore_close(other);
    return report;
}

/* After the crash: what was reported holds, and nothing is there in part. */
static void
check_steps(const struct fixture *f, const struct report *report)
{
    struct ramet_objstore *store = NULL;
    int a;
    int b;
    int c;

    assert_int_equal(ramet_dirstore_open(NULL, f->store, true, &store, NULL),
                     RAMET_OK);
    a = content_of(store, "v/x/commits/1", 5);
    b = content_of(store, "v/x/segments/b", 6);
    c = content_of(store, "v/x/commits/2", 5);
    assert_true(a == 0 || a == 'a' || a == 'z');
    if (report->put_a == RAMET_OK || report->put_a_again == RAMET_EEXIST)
        assert_int_equal(a, 'a');
    if (report->put_a_again == RAMET_OK)
        assert_int_equal(a, 'z');
    assert_true(b == 0 || b == 'b');
    if (report->upload_b == RAMET_OK)
        assert_int_equal(b, 'b');
    assert_true(c == 0 || c == 'c');
    if (report->remove_c == RAMET_OK)
        assert_int_equal(c, 0);
    /* and it goes on */
    assert_int_equal(put_text(store, "v/x/commits/9", "9"), RAMET_OK);
    ramet_objstore_close(store);
}

static void
crash__after_each_change_keeps_what_was_reported(void **state)
{
    struct fixture *f = *state;
    struct powercut cut;

    powercut_begin(&cut, NULL);
    while (powercut_next(&cut)) {
        for (uint64_t seed = 0; seed < 8; seed++) {
            struct report report;

            shell("rm -rf '%s'/* '%1$s.vault'", f->root);
            f->faults = cut.faults = faultos_new(f->root);
            faultos_settle(f->faults);
            powercut_arm(&cut);
            report = run_steps(f);
            powercut_strike_always(&cut, seed);
            faultos_free(f->faults);
            f->faults = NULL;
            check_steps(f, &report);
        }
    }
    assert_true(cut.round > 30); /* there were so many changes to stop at */
}

/* A process dies between link and sync; another finds the object, says so, and
 * then the power goes. What it said must hold. */
static void
crash__after_exists_was_reported_keeps_the_object(void **state)
{
    struct fixture *f = *state;
    unsigned tried = 0;

    for (long at = 0; at < 60; at++)
        for (uint64_t seed = 0; seed < 8; seed++) {
            struct ramet_objstore *first = NULL;
            struct ramet_objstore *second = NULL;
            const struct ramet_os *os;
            enum ramet_rc rc;

            shell("rm -rf '%s'/* '%1$s.vault'", f->root);
            f->faults = faultos_new(f->root);
            faultos_settle(f->faults);
            os = faultos_os(f->faults);
            faultos_stop_at(f->faults, at); /* the first dies here */
            if (ramet_dirstore_open(os, f->store, true, &first, NULL) ==
                RAMET_OK)
                (void)!put_text(first, "v/k", "aaaaa");
            ramet_objstore_close(first);
            faultos_stop_at(f->faults, -1);
            assert_int_equal(
                ramet_dirstore_open(os, f->store, true, &second, NULL),
                RAMET_OK);
            rc = put_text(second, "v/k", "zzzzz");
            ramet_objstore_close(second);
            tried += rc == RAMET_EEXIST ? 1 : 0;
            faultos_crash(f->faults, seed);
            faultos_free(f->faults);
            f->faults = NULL;

            assert_int_equal(
                ramet_dirstore_open(NULL, f->store, true, &second, NULL),
                RAMET_OK);
            assert_true(rc == RAMET_OK || rc == RAMET_EEXIST);
            assert_int_equal(content_of(second, "v/k", 5),
                             rc == RAMET_OK ? 'z' : 'a');
            ramet_objstore_close(second);
        }
    assert_true(tried > 0);
}

/* ---- failing calls -------------------------------------------------------- */

static void
put__with_each_system_call_failing_never_lies(void **state)
{
    static const int errors[] = {EIO, ENOSPC, EACCES};
    struct fixture *f = *state;

    for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
        bool failed = true;

        for (long at = 0; failed; at++) {
            struct ramet_objstore *store = NULL;
            enum ramet_rc opened;
            enum ramet_rc rc = RAMET_EIO;
            int found;

            assert_true(at < 200);
            shell("rm -rf '%s'/* '%1$s.vault'", f->root);
            f->faults = faultos_new(f->root);
            faultos_fail_at(f->faults, FAULTOS_ALL, at, errors[e], false);
            opened = ramet_dirstore_open(faultos_os(f->faults), f->store, true,
                                         &store, NULL);
            if (opened == RAMET_OK)
                rc = put_text(store, "v/k", "aaaaa");
            failed = faultos_has_failed(f->faults);
            faultos_fail_at(f->faults, FAULTOS_ALL, -1, 0, false);
            if (opened == RAMET_OK) {
                found = content_of(store, "v/k", 5);
                assert_true(found == 0 || found == 'a');
                if (rc == RAMET_OK)
                    assert_int_equal(found, 'a');
                else if (rc != RAMET_EUNKNOWN)
                    assert_int_equal(found, 0);
                /* trying again resolves it */
                rc = put_text(store, "v/k", "aaaaa");
                assert_true(rc == RAMET_OK || rc == RAMET_EEXIST);
                assert_int_equal(content_of(store, "v/k", 5), 'a');
            }
            ramet_objstore_close(store);
            faultos_free(f->faults);
            f->faults = NULL;
        }
    }
}

static void
transfers__may_be_short(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;
    char *text = malloc(100001);
    char *back = malloc(100000);

    memset(text, 'q', 100000);
    text[100000] = '\0';
    f->faults = faultos_new(f->root);
    faultos_cut_transfers(f->faults, 7);
    assert_int_equal(ramet_dirstore_open(faultos_os(f->faults), f->store, true,
                                         &store, NULL),
                     RAMET_OK);
    assert_int_equal(put_text(store, "k", text), RAMET_OK);
    assert_int_equal(
        ramet_objstore_read_full(store, "k", 0, back, 100000, NULL), RAMET_OK);
    assert_memory_equal(text, back, 100000);
    ramet_objstore_close(store);
    free(text);
    free(back);
}

/* ---- processes ------------------------------------------------------------ */

#define RACERS 6
#define ROUNDS 40

/* The number of puts won, as exit status; 255 if something was wrong. */
static int
race(const char *path, char name)
{
    struct ramet_objstore *store = NULL;
    int won = 0;

    if (ramet_dirstore_open(NULL, path, true, &store, NULL) != RAMET_OK)
        return 255;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const char text[6] = {name, name, name, name, name, '\0'};
        char key[32];
        enum ramet_rc rc;
        int found;

        snprintf(key, sizeof(key), "r/%u/%u", round % 3, round);
        rc = put_text(store, key, text);
        found = content_of(store, key, 5);
        if ((rc != RAMET_OK && rc != RAMET_EEXIST) ||
            (found == name) != (rc == RAMET_OK))
            return 255;
        won += rc == RAMET_OK ? 1 : 0;
    }
    ramet_objstore_close(store);
    return won;
}

static void
put__lets_exactly_one_of_many_processes_win(void **state)
{
    struct fixture *f = *state;
    pid_t pids[RACERS];
    int won = 0;

    for (size_t i = 0; i < RACERS; i++) {
        pids[i] = child_fork();
        if (pids[i] == 0)
            _exit(race(f->store, (char)('a' + i)));
    }
    for (size_t i = 0; i < RACERS; i++) {
        const int status = child_status(pids[i]);

        assert_int_not_equal(status, 255);
        won += status;
    }
    assert_int_equal(won, ROUNDS);
}

/* ---- the directory itself ------------------------------------------------- */

static int
count_entry(void *ctx, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    ++*(int *)ctx;
    return 0;
}

static int
count_entries(const char *dir)
{
    const struct ramet_os *os = ramet_os_system();
    int count = 0;

    assert_int_equal(os->list(os->ctx, AT_FDCWD, dir, count_entry, &count), 0);
    return count;
}

static void
open__removes_leftovers_older_than_an_hour(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;
    char tmp[96];

    snprintf(tmp, sizeof(tmp), "%s/tmp", f->store);
    assert_int_equal(ramet_dirstore_open(NULL, f->store, true, &store, NULL),
                     RAMET_OK);
    assert_int_equal(put_text(store, "k", "x"), RAMET_OK);
    assert_int_equal(count_entries(tmp), 0);
    ramet_objstore_close(store);

    shell("touch -d '61 minutes ago' '%s/tmp/old'", f->store);
    shell("touch -d '59 minutes ago' '%s/tmp/young'", f->store);
    shell("touch -d '+2 hours' '%s/tmp/future'", f->store);
    assert_int_equal(ramet_dirstore_open(NULL, f->store, false, &store, NULL),
                     RAMET_OK);
    ramet_objstore_close(store);
    assert_int_equal(count_entries(tmp), 2);
}

static void
put__leaves_no_temporary_file(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;
    struct ramet_upload *upload;
    char tmp[96];

    snprintf(tmp, sizeof(tmp), "%s/tmp", f->store);
    assert_int_equal(ramet_dirstore_open(NULL, f->store, true, &store, NULL),
                     RAMET_OK);
    assert_int_equal(put_text(store, "k", "x"), RAMET_OK);
    assert_int_equal(put_text(store, "k", "y"), RAMET_EEXIST);
    assert_int_equal(ramet_objstore_upload_begin(store, "u", &upload, NULL),
                     RAMET_OK);
    assert_int_equal(count_entries(tmp), 1);
    ramet_objstore_upload_abort(upload);
    assert_int_equal(count_entries(tmp), 0);
    /* its own folder is not for objects, nor listed as some */
    assert_int_equal(put_text(store, "tmp/k", "x"), RAMET_EINVAL);
    ramet_objstore_close(store);
}

static void
put__makes_a_directory_again_that_was_removed(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;

    assert_int_equal(ramet_dirstore_open(NULL, f->store, true, &store, NULL),
                     RAMET_OK);
    assert_int_equal(put_text(store, "d/e/k", "x"), RAMET_OK);
    shell("rm -r '%s/d' '%1$s/tmp'", f->store);
    assert_int_equal(put_text(store, "d/e/k", "yyyyy"), RAMET_OK);
    assert_int_equal(content_of(store, "d/e/k", 5), 'y');
    ramet_objstore_close(store);
}

/* A link that is made, and answered as if it had been there. */
static int
link_twice(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
           const char *new_path)
{
    const struct ramet_os *os = ramet_os_system();

    (void)ctx;
    (void)!os->link(os->ctx, old_dirfd, old_path, new_dirfd, new_path);
    return os->link(os->ctx, old_dirfd, old_path, new_dirfd, new_path);
}

/* Somebody copies the store by hard links at the worst moment. */
static int
link_after_copy(void *ctx, int old_dirfd, const char *old_path, int new_dirfd,
                const char *new_path)
{
    const struct ramet_os *os = ramet_os_system();

    (void)ctx;
    (void)!os->link(os->ctx, old_dirfd, old_path, old_dirfd, "a-copy");
    return os->link(os->ctx, old_dirfd, old_path, new_dirfd, new_path);
}

static void
put__tells_its_own_link_from_another_s(void **state)
{
    struct fixture *f = *state;
    struct ramet_os os = *ramet_os_system();
    struct ramet_objstore *store = NULL;

    os.link = link_twice;
    assert_int_equal(ramet_dirstore_open(&os, f->store, true, &store, NULL),
                     RAMET_OK);
    assert_int_equal(put_text(store, "k", "aaaaa"), RAMET_OK);
    assert_int_equal(put_text(store, "k", "zzzzz"), RAMET_EEXIST);
    assert_int_equal(content_of(store, "k", 5), 'a');
    ramet_objstore_close(store);

    os.link = link_after_copy;
    assert_int_equal(ramet_dirstore_open(&os, f->store, true, &store, NULL),
                     RAMET_OK);
    assert_int_equal(put_text(store, "k", "zzzzz"), RAMET_EEXIST);
    assert_int_equal(content_of(store, "k", 5), 'a');
    ramet_objstore_close(store);
}

static bool
count_any(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    ++*(int *)ctx;
    return true;
}

static void
list__never_leaves_the_store(void **state)
{
    static const char *const prefixes[] = {
        "../", "../../", "/", "/etc/", "d/../", "./", "d//", "tmp/", "tmp/x/"};
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;
    int count = 0;

    assert_int_equal(ramet_dirstore_open(NULL, f->store, true, &store, NULL),
                     RAMET_OK);
    assert_int_equal(put_text(store, "d/k", "x"), RAMET_OK);
    shell("mkdir '%s/tmp/x'; touch '%1$s/../outside' '%1$s/tmp/a' "
          "'%1$s/tmp/x/b'",
          f->store);
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        assert_int_equal(ramet_objstore_list(store, prefixes[i], NULL,
                                             count_any, &count, NULL),
                         RAMET_OK);
    assert_int_equal(count, 0);
    assert_int_equal(
        ramet_objstore_list(store, "", NULL, count_any, &count, NULL),
        RAMET_OK);
    assert_int_equal(count, 1);
    ramet_objstore_close(store);
}

/* Below the store there is nothing but what it made itself. */
static void
links__in_the_store_lead_nowhere(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;
    struct ramet_upload *upload = NULL;
    uint64_t size = 0;
    int count = 0;

    assert_int_equal(ramet_dirstore_open(NULL, f->store, true, &store, NULL),
                     RAMET_OK);
    assert_int_equal(put_text(store, "v/x/a", "x"), RAMET_OK);
    shell("mkdir '%s/../else'; echo secret > '%1$s/../else/a'; "
          "ln -s ../../../else/a '%1$s/v/x/link'; ln -s ../../else '%1$s/v/y'; "
          "ln -s ../else '%1$s/w'; mkfifo '%1$s/v/x/fifo'",
          f->store);

    assert_int_equal(content_of(store, "v/x/link", 7), -1);
    assert_int_equal(content_of(store, "v/x/fifo", 7), -1);
    assert_int_equal(ramet_objstore_size(store, "v/x/link", &size, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(content_of(store, "v/y/a", 7), 0);
    assert_int_equal(content_of(store, "w/a", 7), 0);
    assert_int_equal(ramet_objstore_size(store, "w/a", &size, NULL),
                     RAMET_ENOTFOUND);

    assert_int_equal(put_text(store, "v/x/link", "x"), RAMET_EEXIST);
    assert_int_not_equal(put_text(store, "v/y/b", "x"), RAMET_OK);
    assert_int_not_equal(put_text(store, "w/b", "x"), RAMET_OK);
    assert_int_equal(ramet_objstore_upload_begin(store, "w/c", &upload, NULL),
                     RAMET_OK);
    assert_int_not_equal(ramet_objstore_upload_finish(upload, NULL), RAMET_OK);
    assert_int_equal(ramet_objstore_remove(store, "w/a", NULL), RAMET_OK);
    shell("test \"$(ls -A '%s/../else')\" = a", f->store);
    shell("test \"$(cat '%s/../else/a')\" = secret", f->store);

    assert_int_equal(
        ramet_objstore_list(store, "", NULL, count_any, &count, NULL),
        RAMET_OK);
    assert_int_equal(count, 1);
    assert_int_equal(
        ramet_objstore_list(store, "v/y/", NULL, count_any, &count, NULL),
        RAMET_OK);
    assert_int_equal(count, 1);
    ramet_objstore_close(store);
}

static void
links__in_the_place_of_tmp_are_not_written_through(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;

    shell("mkdir -p '%s' '%1$s/../else'; touch -d '2 hours ago' "
          "'%1$s/../else/old'; ln -s ../else '%1$s/tmp'",
          f->store);
    assert_int_equal(ramet_dirstore_open(NULL, f->store, true, &store, NULL),
                     RAMET_OK);
    assert_int_not_equal(put_text(store, "v/a", "x"), RAMET_OK);
    shell("test \"$(ls -A '%s/../else')\" = old", f->store);
    ramet_objstore_close(store);
}

static void
links__on_the_way_to_the_root_are_followed(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;

    char path[100];

    shell("mkdir -p '%s/real/store'; ln -s real '%1$s/by'; "
          "ln -s by/store '%1$s/link'",
          f->root);
    snprintf(path, sizeof(path), "%s/link", f->root);
    assert_int_equal(ramet_dirstore_open(NULL, path, true, &store, NULL),
                     RAMET_OK);
    assert_int_equal(put_text(store, "v/a", "x"), RAMET_OK);
    assert_int_equal(content_of(store, "v/a", 1), 'x');
    shell("test -f '%s/real/store/v/a'", f->root);
    ramet_objstore_close(store);
}

static void
open__says_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;
    struct ramet_err err = {0};
    char path[96];

    assert_int_equal(ramet_dirstore_open(NULL, f->store, false, &store, &err),
                     RAMET_ENOTFOUND);
    assert_non_null(strstr(err.text, f->store));
    shell("touch '%s/file'", f->root);
    snprintf(path, sizeof(path), "%s/file", f->root);
    assert_int_equal(ramet_dirstore_open(NULL, path, true, &store, &err),
                     RAMET_EIO);
    snprintf(path, sizeof(path), "%s/file/below", f->root);
    assert_int_equal(ramet_dirstore_open(NULL, path, true, &store, &err),
                     RAMET_EIO);
    assert_null(store);
    if (geteuid() != 0) {
        shell("mkdir '%s/locked'; chmod 0 '%1$s/locked'", f->root);
        snprintf(path, sizeof(path), "%s/locked/store", f->root);
        assert_int_equal(ramet_dirstore_open(NULL, path, true, &store, &err),
                         RAMET_EAUTH);
    }
}

static void
open__survives_failure_of_each_allocation(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;
    enum ramet_rc rc = RAMET_ENOMEM;

    for (long nth = 0; rc == RAMET_ENOMEM; nth++) {
        assert_true(nth < 50);
        ramet_alloc_fail_at(nth);
        rc = ramet_dirstore_open(NULL, f->store, true, &store, NULL);
        ramet_alloc_fail_at(-1);
    }
    assert_int_equal(rc, RAMET_OK);
    ramet_objstore_close(store);
}

/* More names than the walk keeps at a time. */
#define MANY 40000u

struct counter {
    uint32_t next;
    bool wrong;
};

static bool
count_key(void *ctx, const char *key, uint64_t size_bytes)
{
    struct counter *counter = ctx;
    char expected[32];

    snprintf(expected, sizeof(expected), "d/%06u", counter->next++);
    counter->wrong |= strcmp(key, expected) != 0 || size_bytes != 0;
    return true;
}

static void
list__of_a_huge_directory_is_whole_and_sorted(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;
    struct counter counter = {0};

    assert_int_equal(ramet_dirstore_open(NULL, f->store, true, &store, NULL),
                     RAMET_OK);
    shell("mkdir '%s/d' && cd '%1$s/d' && seq -f %%06.0f 0 39999 | shuf "
          "--random-source=/bin/sh | xargs touch",
          f->store);
    assert_int_equal(
        ramet_objstore_list(store, "d/", NULL, count_key, &counter, NULL),
        RAMET_OK);
    assert_int_equal(counter.next, MANY);
    assert_false(counter.wrong);
    counter.next = 20001;
    assert_int_equal(
        ramet_objstore_list(store, "d/", "d/020000", count_key, &counter, NULL),
        RAMET_OK);
    assert_int_equal(counter.next, MANY);
    assert_false(counter.wrong);
    ramet_objstore_close(store);
}

/* A directory's name belongs behind those that continue it with '-' or '.',
 * also where a batch of names ends between them. */
static void
list__finds_a_directory_behind_a_batch_of_names(void **state)
{
    struct fixture *f = *state;
    struct ramet_objstore *store = NULL;
    int count = 0;

    assert_int_equal(ramet_dirstore_open(NULL, f->store, true, &store, NULL),
                     RAMET_OK);
    shell("cd '%s' && mkdir b && touch b/k && seq -f b-%%05.0f 1 16384 | "
          "xargs touch",
          f->store);
    assert_int_equal(
        ramet_objstore_list(store, "b", NULL, count_any, &count, NULL),
        RAMET_OK);
    assert_int_equal(count, 16385);
    ramet_objstore_close(store);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(crash__after_each_change_keeps_what_was_reported),
        TEST(crash__after_exists_was_reported_keeps_the_object),
        TEST(put__with_each_system_call_failing_never_lies),
        TEST(transfers__may_be_short),
        TEST(put__lets_exactly_one_of_many_processes_win),
        TEST(open__removes_leftovers_older_than_an_hour),
        TEST(put__leaves_no_temporary_file),
        TEST(put__makes_a_directory_again_that_was_removed),
        TEST(put__tells_its_own_link_from_another_s),
        TEST(list__never_leaves_the_store),
        TEST(links__in_the_store_lead_nowhere),
        TEST(links__in_the_place_of_tmp_are_not_written_through),
        TEST(links__on_the_way_to_the_root_are_followed),
        TEST(open__says_what_is_wrong),
        TEST(open__survives_failure_of_each_allocation),
        TEST(list__of_a_huge_directory_is_whole_and_sorted),
        TEST(list__finds_a_directory_behind_a_batch_of_names),
    };
    return cmocka_run_group_tests_name("dirstore", tests, NULL, NULL);
}
