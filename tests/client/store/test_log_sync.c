/*
 * test_log_sync.c - a sync of the log fails, and the system lets go of what it did
 * not write: what a later sync acknowledges lasts, or is not acknowledged.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"
#include "tests/support/faultos.h"

#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/format/pos.h"
#include "client/store/shared/index.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"

/* The system's table, but that syncs of files fail while it is said so, or writes,
 * which are on the disk all the same, or those of single words, which are not. */
static struct {
    struct ramet_os os;
    bool fails;
    unsigned lasts; /* not 0: so many more succeed, then they fail */
    bool writes_fail;
    bool words_fail;
    uint64_t seen; /* what begins here is written: so often */
    unsigned seen_count;
    int watched; /* a file, or -1; what it had at the last sync that succeeded: */
    uint8_t synced[256u << 10];
    size_t synced_len;
} disk;

static ssize_t
write_and_fail(void *ctx, int fd, const struct iovec *iov, int iovcnt,
               uint64_t offset)
{
    ssize_t put;

    if (disk.words_fail && iovcnt == 1 && iov[0].iov_len == sizeof(uint64_t))
        return -EIO;
    put = ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
    if (disk.seen != 0 && offset == disk.seen)
        disk.seen_count++;
    return disk.writes_fail ? -EIO : put;
}

static void
note_synced(void)
{
    const ssize_t got =
        pread(disk.watched, disk.synced, sizeof(disk.synced), 0);

    assert_true(got > 0 && (size_t)got < sizeof(disk.synced));
    disk.synced_len = (size_t)got;
}

static bool
fails_now(void)
{
    if (disk.lasts != 0 && --disk.lasts == 0)
        disk.fails = true;
    return disk.fails;
}

static int
sync_or_fail(void *ctx, int fd)
{
    return fails_now() ? -EIO : ramet_os_system()->sync(ctx, fd);
}

static int
datasync_or_fail(void *ctx, int fd)
{
    const int result =
        fails_now() ? -EIO : ramet_os_system()->datasync(ctx, fd);

    if (result == 0 && disk.watched >= 0)
        note_synced();
    return result;
}

static struct ramet_session *
open_on_disk(const struct place *p)
{
    disk.fails = disk.writes_fail = disk.words_fail = false;
    disk.lasts = 0;
    disk.seen = 0;
    disk.watched = -1;
    disk.os = *ramet_os_system();
    disk.os.pwritev = write_and_fail;
    disk.os.sync = sync_or_fail;
    disk.os.datasync = datasync_or_fail;
    return place_open_on((struct place *)(uintptr_t)p, RAMET_OPEN_CREATE,
                         &disk.os);
}

static void
end_transaction(struct ramet_session *session)
{
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* A page of this byte, published, synced or not. */
static enum ramet_rc
commit(struct ramet_session *session, unsigned page_index, uint8_t byte,
       bool is_synced)
{
    uint8_t page[PLACE_PAGE];
    enum ramet_rc rc;

    memset(page, byte, sizeof(page));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, (uint64_t)page_index * PLACE_PAGE, page,
                           sizeof(page), e));
    OK(ramet_session_prepare(session, NULL, e));
    rc = is_synced ? ramet_session_sync(session, NULL) : RAMET_OK;
    if (rc == RAMET_OK)
        ramet_session_publish(session);
    end_transaction(session);
    return rc;
}

/* Or it was made ahead, and is zeros. */
static bool
has_begun(const struct place *p, const char *name)
{
    static const uint8_t zeros[RAMET_LOGFRAME_HEADER_SIZE];
    uint8_t bytes[sizeof(zeros)] = {0};
    char path[512];
    ssize_t got;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    got = pread(fd, bytes, sizeof(bytes), RAMET_FRAME_FILE_HEADER_SIZE);
    close(fd);
    return got > 0 && memcmp(bytes, zeros, sizeof(bytes)) != 0;
}

/* The newest file of the log that has a record, opened. */
static int
open_log(const struct place *p)
{
    char newest[256] = "", path[512];
    DIR *const dir = opendir(p->dir);
    int fd;

    assert_non_null(dir);
    for (const struct dirent *d; (d = readdir(dir)) != NULL;)
        if (strncmp(d->d_name, "log-", 4) == 0 &&
            strcmp(d->d_name, newest) > 0 && has_begun(p, d->d_name))
            snprintf(newest, sizeof(newest), "%s", d->d_name);
    closedir(dir);
    snprintf(path, sizeof(path), "%s/%s", p->dir, newest);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void
let_go(const struct place *p, uint64_t at, size_t len)
{
    static const uint8_t zeros[PLACE_PAGE];
    const int fd = open_log(p);

    assert_true(len <= sizeof(zeros));
    assert_int_equal(pwrite(fd, zeros, len, (off_t)at), len);
    close(fd);
}

/* All that was written since the last sync that succeeded. */
static void
let_go_of_what_is_watched(void)
{
    assert_int_equal(pwrite(disk.watched, disk.synced, disk.synced_len, 0),
                     disk.synced_len);
    assert_int_equal(ftruncate(disk.watched, (off_t)disk.synced_len), 0);
    close(disk.watched);
    disk.watched = -1;
}

/* As it is on the disk now, after a crash. */
static void
expect_after_crash(const struct place *p, uint8_t byte)
{
    struct place copy = *p;
    struct ramet_session *session;
    uint8_t page[PLACE_PAGE];
    size_t got = 0;

    snprintf(copy.path, sizeof(copy.path), "%s/copy", p->folder);
    snprintf(copy.dir, sizeof(copy.dir), "%s-ramet", copy.path);
    place_copy(p, copy.path);
    session = place_open(&copy, 0);
    OK(ramet_session_pin(session, e));
    OK(ramet_session_read(session, 0, page, sizeof(page), &got, e));
    assert_int_equal(got, sizeof(page));
    assert_int_equal(page[0], byte);
    ramet_session_unpin(session);
    ramet_session_close(session);
}

/* Of two commits at the beginning of a file, unsynced, the power takes the first. */
static void
expect_without_the_first_of_two(const struct place *p,
                                struct ramet_session *session, uint8_t byte)
{
    assert_int_equal(commit(session, 0, 4, false), RAMET_OK);
    assert_int_equal(commit(session, 0, 5, false), RAMET_OK);
    let_go(p, RAMET_FRAME_FILE_HEADER_SIZE, 64);
    expect_after_crash(p, byte);
}

/* What another sees stays in the log. */
static struct ramet_session *
pin_another(struct ramet_session *session)
{
    struct ramet_session *reader;

    OK(ramet_session_clone(session, &reader, e));
    OK(ramet_session_pin(reader, e));
    return reader;
}

/* A page of 2, to be prepared. */
static void
begin_commit(struct ramet_session *session)
{
    uint8_t page[PLACE_PAGE];

    memset(page, 2, sizeof(page));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, page, sizeof(page), e));
}

/* The transaction ends. A new file of the log, and a commit in it. */
static void
expect_commit_in_another_file(const struct place *p,
                              struct ramet_session *session)
{
    end_transaction(session);
    OK(ramet_session_checkpoint(session, true, e));
    assert_int_equal(commit(session, 0, 3, true), RAMET_OK);
    expect_after_crash(p, 3);
}

static void
commit_that_failed_and_was_written__hides_none(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_on_disk(p);
    struct ramet_session *reader;

    assert_int_equal(commit(session, 0, 1, true), RAMET_OK);
    reader = pin_another(session);
    assert_int_equal(commit(session, 1, 1, true), RAMET_OK);
    begin_commit(session);
    disk.writes_fail = true;
    assert_int_equal(ramet_session_prepare(session, NULL, NULL), RAMET_EIO);
    disk.writes_fail = false;
    expect_commit_in_another_file(p, session);
    ramet_session_close(reader);
    ramet_session_close(session);
}

/* The file is to become shorter, after the commit that it belongs to. */
static void
cut_that_failed_and_was_written__hides_no_commit(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_on_disk(p);
    struct ramet_session *reader;

    assert_int_equal(commit(session, 1, 1, true), RAMET_OK);
    reader = pin_another(session);
    begin_commit(session);
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    OK(ramet_session_truncate(session, PLACE_PAGE, e));
    disk.writes_fail = true;
    ramet_session_publish(session);
    disk.writes_fail = false;
    expect_commit_in_another_file(p, session);
    ramet_session_close(reader);
    ramet_session_close(session);
}

/* Nothing of the file was ever on disk. */
static void
head_of_the_log_that_was_let_go__is_written_again(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_on_disk(p);

    disk.fails = true;
    assert_int_equal(commit(session, 0, 1, true), RAMET_EIO);
    disk.fails = false;
    let_go(p, 0, RAMET_FRAME_FILE_HEADER_SIZE);
    assert_int_equal(commit(session, 0, 2, true), RAMET_OK);
    expect_after_crash(p, 2);
    ramet_session_close(session);
}

static void
commit_after_one_that_was_let_go__is_not_acknowledged(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_on_disk(p);
    struct ramet_published newest;
    uint64_t at;

    assert_int_equal(commit(session, 0, 1, true), RAMET_OK);
    ramet_index_newest(session->replica, &newest);
    at = ramet_pos_offset(newest.snapshot.tail);
    assert_int_equal(commit(session, 1, 2, false), RAMET_OK);
    disk.fails = true;
    assert_int_equal(commit(session, 0, 3, true), RAMET_EIO);
    disk.fails = false;
    let_go(p, at, 64);
    assert_int_equal(commit(session, 0, 4, true), RAMET_EIO);
    assert_int_equal(commit(session, 0, 5, true), RAMET_EIO);
    expect_after_crash(p, 1);
    ramet_session_close(session);
}

/* Commits, the last of which is there, but its sync failed, and nobody is left who
 * knows: the system has not written it, and will not by itself. */
static void
commit_whose_sync_failed__its_process_dead__is_written_again(void **state)
{
    struct place *const p = *state;
    struct ramet_session *session = open_on_disk(p);
    struct ramet_published newest;
    pid_t child;

    assert_int_equal(commit(session, 0, 1, true), RAMET_OK);
    ramet_index_newest(session->replica, &newest);
    ramet_session_close(session);
    child = child_fork();
    if (child == 0) {
        struct ramet_session *const dies = open_on_disk(p);

        child_require(commit(dies, 0, 2, true) == RAMET_OK, "commit", NULL);
        ramet_index_newest(dies->replica, &newest);
        child_require(commit(dies, 0, 4, false) == RAMET_OK, "commit", NULL);
        disk.fails = true;
        child_require(commit(dies, 1, 5, true) == RAMET_EIO, "no sync", NULL);
        _exit((int)(ramet_pos_offset(newest.snapshot.tail) / 32));
    }
    disk.seen = 32 * (uint64_t)child_status(child);
    assert_true(disk.seen > 0);
    session = place_open_on(p, 0, &disk.os);
    assert_int_equal(disk.seen_count, 1);
    assert_int_equal(commit(session, 2, 6, true), RAMET_OK);
    expect_after_crash(p, 4);
    ramet_session_close(session);
}

static void
commit_after_a_sync_that_failed__is_acknowledged_where_nothing_was_lost(
    void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_on_disk(p);

    assert_int_equal(commit(session, 0, 1, true), RAMET_OK);
    assert_int_equal(commit(session, 1, 2, false), RAMET_OK);
    disk.fails = true;
    assert_int_equal(commit(session, 0, 3, true), RAMET_EIO);
    disk.fails = false;
    assert_int_equal(commit(session, 0, 4, true), RAMET_OK);
    expect_after_crash(p, 4);
    ramet_session_close(session);
}

/* The checkpoint that closed the file before has synced it, and no more. */
static void
records_after_a_checkpoint_that_failed__the_first_is_lost__read_as_a_crash(
    void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_on_disk(p);

    assert_int_equal(commit(session, 0, 1, true), RAMET_OK);
    disk.lasts = 2; /* the log; the mark of the base then fails */
    assert_int_equal(ramet_session_checkpoint(session, true, NULL), RAMET_EIO);
    assert_true(disk.fails);
    disk.fails = false;
    expect_without_the_first_of_two(p, session, 1);
    ramet_session_close(session);
}

/* So it is with a commit that synced the file before, and failed at its own. */
static void
records_after_a_commit_that_failed__the_first_is_lost__read_as_a_crash(
    void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_on_disk(p);
    struct ramet_session *reader;

    assert_int_equal(commit(session, 0, 1, true), RAMET_OK);
    reader = pin_another(session);
    assert_int_equal(commit(session, 0, 2, true), RAMET_OK);
    OK(ramet_session_checkpoint(session, true, e)); /* closes the file */
    disk.lasts = 2;
    assert_int_equal(commit(session, 0, 3, true), RAMET_EIO);
    assert_true(disk.fails);
    disk.fails = false;
    expect_without_the_first_of_two(p, session, 2);
    ramet_session_close(reader);
    ramet_session_close(session);
}

/* The first record of a file was synced and is taken back. */
static void
records_over_one_taken_back__the_first_is_lost__read_as_a_crash(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_on_disk(p);
    struct ramet_session *reader;

    assert_int_equal(commit(session, 0, 1, true), RAMET_OK);
    reader = pin_another(session);
    assert_int_equal(commit(session, 1, 1, true), RAMET_OK);
    OK(ramet_session_checkpoint(session, true, e)); /* closes the file */
    begin_commit(session);
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    end_transaction(session);
    expect_without_the_first_of_two(p, session, 1);
    ramet_session_close(reader);
    ramet_session_close(session);
}

/* One record over another that was synced: what lay there is no part of it. */
static void
record__over_one_that_was_synced__is_written_again_as_a_whole(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 3 * PLACE_PAGE);
    struct faultos *const f = faultos_new(p->folder);
    struct ramet_session *session =
        place_open_on(p, RAMET_OPEN_CREATE, faultos_os(f));

    OK(place_commit(session, image, e));
    memset(image->bytes + PLACE_PAGE, 0x33, PLACE_PAGE);
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, PLACE_PAGE, image->bytes + 2 * PLACE_PAGE,
                           PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    OK(ramet_session_write(session, PLACE_PAGE, image->bytes + PLACE_PAGE,
                           PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    faultos_fail_at(f, FAULTOS_SYNC, 0, EIO, false);
    assert_int_equal(ramet_session_sync(session, NULL), RAMET_EIO);
    assert_true(faultos_has_failed(f));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session); /* acknowledged */
    end_transaction(session);

    faultos_stop_at(f, 0);
    ramet_session_close(session);
    faultos_crash(f, 0);
    faultos_free(f);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* Of a transaction over two databases the other one can't be synced: SQLite puts the
 * pages back, that is prepared over the first record, and its sync fails. */
static void
record__over_one_that_was_synced__let_go__leaves_none(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = open_on_disk(p);
    uint8_t page[PLACE_PAGE];

    assert_int_equal(commit(session, 0, 1, true), RAMET_OK);
    begin_commit(session);
    OK(ramet_session_prepare(session, NULL, e));
    disk.watched = open_log(p);
    OK(ramet_session_sync(session, e));
    memset(page, 1, sizeof(page));
    OK(ramet_session_write(session, 0, page, sizeof(page), e));
    OK(ramet_session_prepare(session, NULL, e));
    disk.fails = true;
    assert_int_equal(ramet_session_sync(session, NULL), RAMET_EIO);
    end_transaction(session);
    let_go_of_what_is_watched();
    disk.fails = false;
    assert_int_equal(commit(session, 1, 3, true), RAMET_OK);
    expect_after_crash(p, 1);
    ramet_session_close(session);
}

/* One transaction is prepared twice: first with `first` of its pages. */
static void
expect_all_of_one_prepared_twice(struct place *p, size_t first, size_t all)
{
    struct image *const image = place_image(1, all * PLACE_PAGE);
    struct ramet_session *session = open_on_disk(p);

    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, image->bytes, first * PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    memset(image->bytes, 0x33, PLACE_PAGE);
    disk.words_fail = true; /* the first record goes with the end of its file */
    OK(ramet_session_write(session, 0, image->bytes, PLACE_PAGE, e));
    OK(ramet_session_write(session, first * PLACE_PAGE,
                           image->bytes + first * PLACE_PAGE,
                           (all - first) * PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    disk.words_fail = false;
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    end_transaction(session);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

#define SPILLED ((2u * RAMET_BUFFER_MAX) / PLACE_PAGE) /* pages */

static void
record__over_one_that_was_spilled__has_that_ones_pages(void **state)
{
    expect_all_of_one_prepared_twice(*state, SPILLED, SPILLED + 1);
}

static void
record__spilled_over_another__is_whole(void **state)
{
    expect_all_of_one_prepared_twice(*state, 3, SPILLED);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(commit_that_failed_and_was_written__hides_none),
        T(record__over_one_that_was_synced__is_written_again_as_a_whole),
        T(record__over_one_that_was_synced__let_go__leaves_none),
        T(record__over_one_that_was_spilled__has_that_ones_pages),
        T(record__spilled_over_another__is_whole),
        T(cut_that_failed_and_was_written__hides_no_commit),
        T(head_of_the_log_that_was_let_go__is_written_again),
        T(commit_after_one_that_was_let_go__is_not_acknowledged),
        T(records_after_a_checkpoint_that_failed__the_first_is_lost__read_as_a_crash),
        T(records_after_a_commit_that_failed__the_first_is_lost__read_as_a_crash),
        T(records_over_one_taken_back__the_first_is_lost__read_as_a_crash),
        T(commit_whose_sync_failed__its_process_dead__is_written_again),
        T(commit_after_a_sync_that_failed__is_acknowledged_where_nothing_was_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
