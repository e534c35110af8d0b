/*
 * test_log_places.c - what stood in a place of the log before it was taken back, or
 * written once more, comes back where a sync fails and the system lets go of what it
 * did not write: no reader takes it for what was published.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/format/frames.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"

#define PAGE_COUNT 3u
#define SPILLED ((2u * RAMET_BUFFER_MAX) / PLACE_PAGE) /* pages */

enum { FIRST = 1, TAKEN_BACK = 2, LAST = 3 }; /* bytes that pages are full of */

/* The system's table, but that large writes to files fail, and are there all the
 * same, while it is said so. */
static struct {
    struct ramet_os os;
    bool fails;
} disk;

static ssize_t
write_and_fail(void *ctx, int fd, const struct iovec *iov, int iovcnt,
               uint64_t offset)
{
    const ssize_t put =
        ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);

    return disk.fails && put > (ssize_t)PLACE_PAGE ? -EIO : put;
}

static struct ramet_session *
open_first(struct place *p)
{
    struct ramet_session *session;
    uint8_t page[PAGE_COUNT * PLACE_PAGE];

    disk.fails = false;
    disk.os = *ramet_os_system();
    disk.os.pwritev = write_and_fail;
    session = place_open_on(p, RAMET_OPEN_CREATE, &disk.os);
    memset(page, FIRST, sizeof(page));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, page, sizeof(page), e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    return session;
}

/* ---- files of the log ------------------------------------------------------ */

#define FILES_MAX 16u

/* As the disk has them. */
struct files {
    struct {
        char name[256];
        uint8_t *bytes;
        size_t size;
    } of[FILES_MAX];
    size_t count;
};

static uint8_t *
read_all(const char *path, size_t *out_size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *const bytes = malloc((size_t)size + 1);

    assert_true(fd >= 0 && size >= 0);
    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, (size_t)size, 0), size);
    close(fd);
    *out_size = (size_t)size;
    return bytes;
}

static void
note_files(const struct place *p, struct files *out)
{
    char path[512];
    DIR *const dir = opendir(p->dir);

    assert_non_null(dir);
    out->count = 0;
    for (const struct dirent *d; (d = readdir(dir)) != NULL;) {
        if (strncmp(d->d_name, "log-", 4) != 0)
            continue;
        assert_true(out->count < FILES_MAX);
        snprintf(out->of[out->count].name, sizeof(out->of[0].name), "%s",
                 d->d_name);
        snprintf(path, sizeof(path), "%s/%s", p->dir, d->d_name);
        out->of[out->count].bytes = read_all(path, &out->of[out->count].size);
        out->count++;
    }
    closedir(dir);
    assert_true(out->count >= 1);
}

/* What was written since is let go of; of files that came since, all but the header,
 * and what is past the end of what was there reads as zeros. */
static void
let_go(const struct place *p, struct files *files)
{
    char path[512];
    DIR *const dir = opendir(p->dir);

    assert_non_null(dir);
    for (const struct dirent *d; (d = readdir(dir)) != NULL;) {
        size_t keep = RAMET_FRAME_FILE_HEADER_SIZE;
        int fd;
        off_t size;

        if (strncmp(d->d_name, "log-", 4) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", p->dir, d->d_name);
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        size = lseek(fd, 0, SEEK_END);
        for (size_t i = 0; i < files->count; i++) {
            if (strcmp(files->of[i].name, d->d_name) != 0)
                continue;
            keep = files->of[i].size;
            assert_int_equal(pwrite(fd, files->of[i].bytes, keep, 0), keep);
        }
        assert_int_equal(ftruncate(fd, (off_t)keep), 0);
        if (size > (off_t)keep)
            assert_int_equal(ftruncate(fd, size), 0);
        close(fd);
    }
    closedir(dir);
    for (size_t i = 0; i < files->count; i++)
        free(files->of[i].bytes);
}

/* ---- transactions ------------------------------------------------------------ */

static void
begin(struct ramet_session *session)
{
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
}

static enum ramet_rc
write_pages(struct ramet_session *session, size_t count, uint8_t byte)
{
    uint8_t page[PLACE_PAGE];
    enum ramet_rc rc = RAMET_OK;

    memset(page, byte, sizeof(page));
    for (size_t i = 0; rc == RAMET_OK && i < count; i++)
        rc = ramet_session_write(session, i * PLACE_PAGE, page, PLACE_PAGE,
                                 NULL);
    return rc;
}

static void
end(struct ramet_session *session)
{
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* Not synced: that fails some time. */
static void
publish(struct ramet_session *session)
{
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    end(session);
}

/* Each page is what was published, or nothing can be said of it. */
static void
expect_none_taken_back(struct place *p, struct ramet_session *session)
{
    struct ramet_session *const other = place_open(p, 0);
    struct ramet_session *const readers[] = {session, other};
    uint8_t page[PLACE_PAGE];
    size_t got = 0;

    for (size_t i = 0; i < 2; i++) {
        OK(ramet_session_pin(readers[i], e));
        for (unsigned at = 0; at < PAGE_COUNT; at++) {
            const enum ramet_rc rc = ramet_session_read(
                readers[i], at * PLACE_PAGE, page, sizeof(page), &got, NULL);

            if (rc == RAMET_OK)
                assert_int_equal(page[0], LAST);
            else
                assert_int_equal(rc, RAMET_ECORRUPT);
        }
        ramet_session_unpin(readers[i]);
    }
    ramet_session_close(other);
    ramet_session_close(session);
}

/* ---- tests -------------------------------------------------------------------- */

static void
record_taken_back__comes_back__is_read_by_nobody(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_first(p);
    struct files files;

    begin(session);
    OK(write_pages(session, PAGE_COUNT, TAKEN_BACK));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    note_files(p, &files);
    end(session);
    begin(session);
    OK(write_pages(session, PAGE_COUNT, LAST));
    publish(session);
    let_go(p, &files);
    expect_none_taken_back(p, session);
}

/* It is in the log without a trailer. */
static void
pages_that_were_spilled__come_back__are_read_by_nobody(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_first(p);
    struct files files;

    begin(session);
    OK(write_pages(session, SPILLED, TAKEN_BACK));
    note_files(p, &files);
    end(session);
    begin(session);
    OK(write_pages(session, SPILLED, LAST));
    publish(session);
    let_go(p, &files);
    expect_none_taken_back(p, session);
}

static void
record_that_another_superseded__comes_back__is_read_by_nobody(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_first(p);
    struct files files;

    begin(session);
    OK(write_pages(session, PAGE_COUNT, TAKEN_BACK));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    note_files(p, &files);
    OK(write_pages(session, PAGE_COUNT, LAST));
    publish(session);
    let_go(p, &files);
    expect_none_taken_back(p, session);
}

/* The pages in memory are changed, and written once more. */
static void
pages_whose_write_failed__come_back__are_read_by_nobody(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_first(p);
    struct files files;

    begin(session);
    disk.fails = true;
    assert_int_equal(write_pages(session, SPILLED, TAKEN_BACK), RAMET_EIO);
    disk.fails = false;
    note_files(p, &files);
    OK(write_pages(session, SPILLED, LAST));
    publish(session);
    let_go(p, &files);
    expect_none_taken_back(p, session);
}

/* A process dies with pages in the log that it had spilled: of others that live, and
 * of who comes after all have gone, none writes over them. */
static void
die_with_spilled_pages(struct place *p)
{
    struct ramet_session *const session = place_open_in_child(p);

    child_require(ramet_session_pin(session, NULL) == RAMET_OK, "pin", NULL);
    child_require(ramet_session_reserve(session, NULL) == RAMET_OK, "reserve",
                  NULL);
    child_require(write_pages(session, SPILLED, TAKEN_BACK) == RAMET_OK,
                  "write", NULL);
    _exit(0);
}

static void
die_with_a_commit(struct place *p)
{
    struct ramet_session *const session = place_open_in_child(p);

    child_require(ramet_session_pin(session, NULL) == RAMET_OK, "pin", NULL);
    child_require(ramet_session_reserve(session, NULL) == RAMET_OK, "reserve",
                  NULL);
    child_require(write_pages(session, PAGE_COUNT, FIRST + 3) == RAMET_OK,
                  "write", NULL);
    child_require(ramet_session_prepare(session, NULL, NULL) == RAMET_OK,
                  "prepare", NULL);
    ramet_session_publish(session);
    _exit(0);
}

static void
expect_none_of_the_dead(struct place *p, bool others_live)
{
    struct ramet_session *session = open_first(p);
    struct files files;
    pid_t child;

    if (!others_live) {
        OK(ramet_session_checkpoint(session, true, e));
        ramet_session_close(session);
    }
    child = child_fork();
    if (child == 0)
        die_with_spilled_pages(p);
    child_await(child);
    note_files(p, &files);
    if (!others_live)
        session = place_open(p, 0);
    begin(session);
    OK(write_pages(session, SPILLED, LAST));
    publish(session);
    let_go(p, &files);
    expect_none_taken_back(p, session);
}

static void
pages_of_a_dead_writer__come_back__are_read_by_nobody(void **state)
{
    expect_none_of_the_dead(*state, true);
}

static void
pages_of_the_last_one__who_died__come_back__are_read_by_nobody(void **state)
{
    expect_none_of_the_dead(*state, false);
}

/* Each dies of large pages in a log file that has no record, after one that has. */
static void
pages_of_several__who_died_in_turn__come_back__are_read_by_nobody(void **state)
{
    struct place *const p = *state;
    struct ramet_session *session = open_first(p);
    struct files files;

    ramet_session_close(session);
    for (unsigned i = 0; i < 3; i++) {
        const pid_t child = child_fork();

        if (child == 0 && i == 0)
            die_with_a_commit(p);
        else if (child == 0)
            die_with_spilled_pages(p);
        child_await(child);
    }
    note_files(p, &files);
    session = place_open(p, 0);
    begin(session);
    OK(write_pages(session, SPILLED, LAST));
    publish(session);
    let_go(p, &files);
    expect_none_taken_back(p, session);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(record_taken_back__comes_back__is_read_by_nobody),
        T(pages_that_were_spilled__come_back__are_read_by_nobody),
        T(record_that_another_superseded__comes_back__is_read_by_nobody),
        T(pages_whose_write_failed__come_back__are_read_by_nobody),
        T(pages_of_a_dead_writer__come_back__are_read_by_nobody),
        T(pages_of_the_last_one__who_died__come_back__are_read_by_nobody),
        T(pages_of_several__who_died_in_turn__come_back__are_read_by_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
