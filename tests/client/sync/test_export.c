/*
 * test_export.c - a file is written whole or not at all, whichever call fails and
 * whenever the power goes.
 */
#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/sync/export.h"
#include "core/alloc.h"
#include "tests/support/faultos.h"

#define LENGTH (700u << 10) /* some pieces, and a part of one */

struct place {
    char folder[96];
    char path[128];
    struct faultos *faults;
};

static uint8_t
byte_at(uint64_t offset)
{
    return offset % 65536 < 20000 ? 0 : (uint8_t)(offset % 251);
}

static enum ramet_rc
read_made_up(void *ctx, uint64_t offset, void *buf, size_t len,
             struct ramet_err *err)
{
    (void)err;
    assert_true(offset + len <= LENGTH);
    *(unsigned *)ctx += 1;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)buf)[i] = byte_at(offset + i);
    return RAMET_OK;
}

static void
set_up(struct place *p)
{
    const char *const base = getenv("RAMET_TEST_TMP");

    snprintf(p->folder, sizeof(p->folder), "%s/ramet-export-XXXXXX",
             base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->path, sizeof(p->path), "%s/out.db", p->folder);
    p->faults = faultos_new(p->folder);
}

static void
tear_down(struct place *p)
{
    faultos_free(p->faults);
    (void)unlink(p->path);
    assert_int_equal(rmdir(p->folder), 0); /* nothing else was left in it */
}

static enum ramet_rc
write_it(struct place *p, struct ramet_err *err)
{
    unsigned reads = 0;
    const enum ramet_rc rc = ramet_export_write(
        faultos_os(p->faults), AT_FDCWD, p->path, NULL, LENGTH,
        RAMET_EXPORT_AT_ONCE, read_made_up, &reads, err);

    assert_true(rc != RAMET_OK || reads >= 3);
    return rc;
}

static unsigned
count_names(const char *folder)
{
    DIR *const dir = opendir(folder);
    unsigned count = 0;

    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

static bool
is_whole(const char *path)
{
    uint8_t *const bytes = malloc(LENGTH + 1);
    const int fd = open(path, O_RDONLY);
    bool whole = fd >= 0 && read(fd, bytes, LENGTH + 1) == LENGTH;

    for (uint64_t i = 0; whole && i < LENGTH; i++)
        whole = bytes[i] == byte_at(i);
    if (fd >= 0)
        close(fd);
    free(bytes);
    return whole;
}

static void
write_old(struct place *p)
{
    const int fd = open(p->path, O_CREAT | O_WRONLY, 0600);

    assert_int_equal(write(fd, "old", 3), 3);
    close(fd);
    faultos_settle(p->faults);
}

/* Each call in turn, until none is left to fail. */
static void
each_call_fails(bool is_there)
{
    static const int errors[] = {ENOSPC, EIO};
    bool fails = true;

    for (long nth = 0; fails; nth++) {
        struct ramet_err err = {.code = RAMET_OK};
        struct place p;

        set_up(&p);
        if (is_there)
            write_old(&p);
        faultos_fail_at(p.faults,
                        FAULTOS_ALL & ~(FAULTOS_READ | FAULTOS_RANDOM), nth,
                        errors[nth % 2], false);
        fails = write_it(&p, &err) != RAMET_OK;
        faultos_fail_at(p.faults, FAULTOS_ALL, -1, 0, false);
        if (fails) {
            struct stat st;
            const bool is_old = stat(p.path, &st) == 0 && st.st_size == 3;

            assert_int_not_equal(err.text[0], '\0');
            assert_int_equal(count_names(p.folder), is_there);
            assert_true(!is_there || is_old || is_whole(p.path));
            assert_int_equal(write_it(&p, NULL), RAMET_OK);
        }
        assert_true(is_whole(p.path));
        assert_int_equal(count_names(p.folder), 1);
        tear_down(&p);
        assert_true(!fails || nth < 100);
        assert_true(fails || nth > 6);
    }
}

static void
new_name__each_call_fails_and_nothing_is_there(void **state)
{
    (void)state;
    each_call_fails(false);
}

static void
name_that_is_there__each_call_fails_and_it_is_whole(void **state)
{
    (void)state;
    each_call_fails(true);
}

static void
no_memory__nothing_is_there(void **state)
{
    bool fails = true;

    (void)state;
    for (long nth = 0; fails; nth++) {
        struct ramet_err err = {.code = RAMET_OK};
        struct place p;

        set_up(&p);
        ramet_alloc_fail_at(nth);
        fails = write_it(&p, &err) != RAMET_OK;
        ramet_alloc_fail_at(-1);
        assert_true(!fails || err.code == RAMET_ENOMEM);
        assert_int_equal(count_names(p.folder), fails ? 0 : 1);
        tear_down(&p);
        assert_true(fails || nth > 2);
    }
}

/* Remove what the power left under a name of its own. */
static void
sweep(const char *folder)
{
    DIR *const dir = opendir(folder);

    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
}

/* Once after each change of the disk, and once after the end: what is reported as
 * written is there, all of it, and what was there before until then. */
static void
power_goes(bool is_there, uint64_t seed)
{
    bool stopped = true;

    for (long n = 0; stopped; n++) {
        struct place p;
        struct stat st;
        enum ramet_rc rc;

        set_up(&p);
        if (is_there)
            write_old(&p);
        faultos_stop_at(p.faults, n);
        rc = write_it(&p, NULL);
        stopped = faultos_has_stopped(p.faults);
        assert_true(stopped || rc == RAMET_OK);
        faultos_crash(p.faults, seed);
        if (rc == RAMET_OK || is_there)
            assert_int_equal(stat(p.path, &st), 0);
        if (rc == RAMET_OK)
            assert_true(is_whole(p.path));
        else if (stat(p.path, &st) == 0)
            assert_true((is_there && st.st_size == 3) || is_whole(p.path));
        assert_int_equal(write_it(&p, NULL), RAMET_OK); /* it works again */
        assert_true(is_whole(p.path));
        sweep(p.folder);
        tear_down(&p);
        assert_true(n < 100 && (stopped || n > 4));
    }
}

static void
power_cut__at_each_change__leaves_what_was_reported(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        power_goes(false, seed);
        power_goes(true, seed);
    }
}

static void
what_is_replaced__leaves_its_mode(void **state)
{
    struct stat st;
    struct place p;
    int fd;

    (void)state;
    set_up(&p);
    fd = open(p.path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(fchmod(fd, 0640), 0);
    close(fd);
    faultos_settle(p.faults);
    assert_int_equal(write_it(&p, NULL), RAMET_OK);
    assert_int_equal(stat(p.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_true((uint64_t)st.st_blocks * 512 < LENGTH); /* zeros are holes */
    tear_down(&p);
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_name__each_call_fails_and_nothing_is_there),
        cmocka_unit_test(name_that_is_there__each_call_fails_and_it_is_whole),
        cmocka_unit_test(no_memory__nothing_is_there),
        cmocka_unit_test(power_cut__at_each_change__leaves_what_was_reported),
        cmocka_unit_test(what_is_replaced__leaves_its_mode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
