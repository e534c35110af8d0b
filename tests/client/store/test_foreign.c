/*
 * test_foreign.c - a base that somebody else wrote to, replaced, moved or
 * touched: what tells that something happened, and that content decides.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"
#include "tests/support/faultos.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGES 40u
#define STATE_SIZE 8192u /* read twice at an opening */

/* ---- what others do ------------------------------------------------------- */

static struct stat
stat_base(const struct place *p)
{
    struct stat st;

    assert_int_equal(stat(p->path, &st), 0);
    return st;
}

static void
set_times(const struct place *p, const struct stat *st)
{
    assert_int_equal(utimensat(AT_FDCWD, p->path,
                               (struct timespec[]){st->st_atim, st->st_mtim},
                               0),
                     0);
}

/* In the shell, with the base's path as $B. */
static void
shell(const struct place *p, const char *command)
{
    place_await_tick(p);
    assert_int_equal(setenv("B", p->path, 1), 0);
    assert_int_equal(system(command), 0);
}

/* Other bytes, but for the first 200, in the same file, which keeps its time of
 * modification if `keeps_time`. */
static void
write_over(const struct place *p, bool keeps_time)
{
    const struct stat before = stat_base(p);
    const int fd = open(p->path, O_RDWR);
    uint8_t bytes[PLACE_PAGE];
    uint64_t rng = 99;

    assert_true(fd >= 0);
    place_await_tick(p);
    for (uint64_t at = 200; at + sizeof(bytes) < (uint64_t)before.st_size;
         at += sizeof(bytes)) {
        store_random_bytes(&rng, bytes, sizeof(bytes));
        assert_int_equal(pwrite(fd, bytes, sizeof(bytes), (off_t)at),
                         sizeof(bytes));
    }
    close(fd);
    if (keeps_time)
        set_times(p, &before);
}

static void
is_foreign(const struct place *p)
{
    struct ramet_err err = {.text = ""};

    assert_int_equal(place_try_open(p->path, 0, &err), RAMET_EFOREIGN);
    assert_non_null(strstr(err.text, "ramet restore"));
    assert_non_null(strstr(err.text, "ramet adopt"));
    assert_int_equal(place_try_open(p->path, RAMET_OPEN_READONLY, NULL),
                     RAMET_EFOREIGN);
}

static void
is_ours(struct place *p, const struct image *image)
{
    struct ramet_session *const session = place_open(p, 0);

    place_expect(session, image, __LINE__);
    ramet_session_close(session);
}

/* A commit, and the process is killed; the base is marked, and with
 * `checkpoint` it has the commit. */
static void
commit_and_die(struct place *p, struct image *image, bool checkpoint)
{
    pid_t child;

    child = child_fork();
    if (child == 0) {
        struct ramet_session *const session = place_open_in_child(p);

        child_require(place_commit(session, image, NULL) == RAMET_OK, "commit",
                      NULL);
        child_require(!checkpoint || ramet_session_checkpoint(session, true,
                                                              NULL) == RAMET_OK,
                      "checkpoint", NULL);
        _exit(0);
    }
    child_await(child);
}

/* ---- a clean file ---------------------------------------------------------- */

static struct image *
make_clean(struct place *p)
{
    struct image *const image = place_image(1, PAGES * PLACE_PAGE + 77);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, image, e));
    ramet_session_close(session);
    return image;
}

static void
clean_base__written_by_others__is_foreign(void **state)
{
    struct place *const p = *state;
    struct image *const image = make_clean(p);

    is_ours(p, image);
    write_over(p, false);
    is_foreign(p);
    store_write_plain(p->path, image);
    is_ours(p, image);
    write_over(p, true); /* nothing but the time of change tells */
    is_foreign(p);
    image_unref(image);
}

static void
clean_base__replaced_by_another__is_foreign(void **state)
{
    struct place *const p = *state;
    struct image *const image = make_clean(p);
    const struct stat before = stat_base(p);

    shell(p, "cp $B $B.ours");
    write_over(p, false);
    shell(p, "cp $B $B.other && mv $B.other $B");
    set_times(p, &before); /* size, times and first bytes are the same */
    is_foreign(p);
    shell(p, "mv $B.ours $B");
    is_ours(p, image);
    image_unref(image);
}

/* Nothing but time, inode or owner changes: content says that it is the same. */
static void
clean_base__that_was_moved_or_touched__is_ours(void **state)
{
    static const char *const harmless[] = {
        "chmod 640 $B", "touch $B", "mv $B $B.x && mv $B.x $B",
        "cp $B $B.x && mv $B.x $B", "ln $B $B.x && rm $B.x"};
    struct place *const p = *state;
    struct image *const image = make_clean(p);

    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        shell(p, harmless[i]);
        is_ours(p, image);
    }
    image_unref(image);
}

/* Not one byte of a clean base is read at its opening beyond the first. */
static uint64_t base_bytes_read;

static ssize_t
count_preadv(void *ctx, int fd, const struct iovec *iov, int iovcnt,
             uint64_t offset)
{
    const ssize_t got = ramet_os_system()->preadv(ctx, fd, iov, iovcnt, offset);

    if (got > 0)
        base_bytes_read += (uint64_t)got;
    return got;
}

static uint64_t
bytes_of_an_open(struct place *p)
{
    struct ramet_os os = *ramet_os_system();

    os.preadv = count_preadv;
    base_bytes_read = 0;
    ramet_session_close(place_open_on(p, 0, &os));
    return base_bytes_read;
}

static void
clean_base__is_read_at_its_opening_only_if_something_happened(void **state)
{
    struct place *const p = *state;
    struct image *const image = make_clean(p);

    assert_true(bytes_of_an_open(p) < 2 * STATE_SIZE);
    shell(p, "chmod 640 $B");
    assert_true(bytes_of_an_open(p) > PAGES * PLACE_PAGE);
    assert_true(bytes_of_an_open(p) < 2 * STATE_SIZE); /* it was looked at */
    shell(p, "touch $B");
    assert_true(bytes_of_an_open(p) > PAGES * PLACE_PAGE);
    assert_true(bytes_of_an_open(p) < 2 * STATE_SIZE);
    image_unref(image);
}

/* ---- a dirty one ------------------------------------------------------------ */

/* After a kill a backup is copied back: of the clean file, or of the marked one
 * at another time. */
static void
dirty_base__that_is_another_times_copy__is_foreign(void **state)
{
    struct place *const p = *state;
    struct image *const first = make_clean(p);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE + 77);
    struct image *const third = place_image(3, PAGES * PLACE_PAGE + 77);
    uint64_t changed;

    shell(p, "cp $B $B.clean");
    commit_and_die(p, second, true);
    shell(p, "cp $B $B.second");
    commit_and_die(p, third, true);
    shell(p, "cp $B $B.third");

    shell(p, "cp $B.clean $B");
    is_foreign(p);
    shell(p, "cp $B.second $B"); /* our own mark, and other pages */
    is_foreign(p);
    assert_int_equal(ramet_replica_adopt_base(p->path, NULL, &changed, NULL),
                     RAMET_EFOREIGN); /* it is no database by itself */
    shell(p, "cp $B.third $B");
    is_ours(p, third);
    image_unref(first);
    image_unref(second);
    image_unref(third);
}

/* So is a copy that was made of it, and put back. */
static void
dirty_base__as_a_kill_leaves_it__is_ours(void **state)
{
    struct place *const p = *state;
    struct image *const first = make_clean(p);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE + 77);
    struct image *const third = place_image(3, 12 * PLACE_PAGE);

    commit_and_die(p, second, false);
    shell(p, "cp $B $B.x && mv $B.x $B"); /* the log has all that differs */
    is_ours(p, second);
    commit_and_die(p, third, true);
    shell(p, "chmod 640 $B && touch $B");
    is_ours(p, third);
    commit_and_die(p, first, false);
    is_ours(p, first);
    image_unref(first);
    image_unref(second);
    image_unref(third);
}

static void
dirty_base__copied_with_its_directory__is_another_replica(void **state)
{
    struct place *const p = *state;
    struct image *const first = make_clean(p);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE + 77);
    struct place copy = *p;

    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        commit_and_die(p, second, checkpoint == 1);
        snprintf(copy.path, sizeof(copy.path), "%s/copy%d.db", p->folder,
                 checkpoint);
        snprintf(copy.dir, sizeof(copy.dir), "%s-ramet", copy.path);
        place_copy(p, copy.path);
        is_ours(&copy, second);
        is_ours(p, second);
    }
    image_unref(first);
    image_unref(second);
}

/* ---- one that was adopted --------------------------------------------------- */

/* Killed before its checksums were known, with a commit in the log; then a twin
 * of the same size, and the same first bytes, is put in its place. */
static void
adopted_base__replaced_after_a_kill__is_foreign(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 200 * PLACE_PAGE);
    struct image *const twin = place_image(2, 200 * PLACE_PAGE);
    struct image *const other = image_copy(image);
    pid_t child;

    memcpy(twin->bytes, image->bytes, 200);
    store_write_plain(p->path, image);
    other->bytes[5 * PLACE_PAGE] ^= 1;
    child = child_fork();
    if (child == 0) {
        struct ramet_session *const session = place_open(p, RAMET_OPEN_ADOPT);

        child_require(place_commit(session, other, NULL) == RAMET_OK, "commit",
                      NULL);
        _exit(0);
    }
    child_await(child);
    shell(p, "cp $B $B.was");
    store_write_plain(p->path, twin);
    is_foreign(p);
    shell(p, "cp $B.was $B"); /* and nothing was lost */
    is_ours(p, other);
    image_unref(image);
    image_unref(twin);
    image_unref(other);
}

/* ---- while it is in use ------------------------------------------------------ */

static void
base__written_over_while_it_is_open__gets_nothing_of_ours(void **state)
{
    struct place *const p = *state;
    struct image *const image = make_clean(p);
    struct image *const next = place_image(4, 3 * PLACE_PAGE);
    struct ramet_session *session = place_open(p, 0);
    struct image *before;
    struct image *after;

    OK(ramet_session_pin(session, e));
    ramet_session_unpin(session);
    write_over(p, false);
    before = store_read_plain(p->path, PLACE_PAGE);
    assert_int_equal(place_commit(session, next, NULL), RAMET_EFOREIGN);
    ramet_session_close(session);
    after = store_read_plain(p->path, PLACE_PAGE);
    assert_int_equal(after->size, before->size);
    assert_memory_equal(after->bytes, before->bytes, before->size);
    is_foreign(p);
    image_unref(before);
    image_unref(after);

    store_write_plain(p->path, image); /* and again, when it is dirty */
    session = place_open(p, 0);
    OK(place_commit(session, next, e));
    OK(ramet_session_checkpoint(session, true, e));
    next->bytes[5] ^= 1;
    OK(place_commit(session, next, e));
    write_over(p, false);
    assert_int_equal(ramet_session_checkpoint(session, true, NULL),
                     RAMET_EFOREIGN);
    ramet_session_close(session);
    image_unref(image);
    image_unref(next);
}

/* What was committed before stays in the log, and counts again with the file. */
static void
base__replaced_while_it_is_open__takes_no_commit_with_it(void **state)
{
    struct place *const p = *state;
    struct image *const image = make_clean(p);
    struct image *const next = place_image(4, 3 * PLACE_PAGE);
    struct ramet_session *session = place_open(p, 0);

    OK(place_commit(session, next, e));
    shell(p, "cp $B $B.other && mv $B $B.ours && mv $B.other $B");
    assert_true(ramet_session_has_moved(session));
    assert_int_equal(ramet_session_checkpoint(session, true, NULL),
                     RAMET_EFOREIGN);
    ramet_session_close(session);
    shell(p, "mv $B.ours $B");
    is_ours(p, next);
    image_unref(image);
    image_unref(next);
}

/* As a blob is that was edited; but not over commits that it does not have. */
static void
base__adopted_unasked__gives_up_no_commit(void **state)
{
    const struct ramet_replica_options unasked = {.flags = RAMET_OPEN_UNASKED};
    struct place *const p = *state;
    struct image *const image = make_clean(p);
    struct image *const next = place_image(4, 3 * PLACE_PAGE);
    uint64_t changed;

    image->bytes[7] ^= 1;
    store_write_plain(p->path, image);
    OK(ramet_replica_adopt_base(p->path, &unasked, &changed, e));
    assert_int_equal(changed, 1);
    commit_and_die(p, next, false);
    image->bytes[9] ^= 1;
    store_write_plain(p->path, image);
    assert_int_equal(
        ramet_replica_adopt_base(p->path, &unasked, &changed, NULL),
        RAMET_EFOREIGN);
    is_foreign(p);
    OK(ramet_replica_adopt_base(p->path, NULL, &changed, e));
    is_ours(p, image);
    image_unref(image);
    image_unref(next);
}

/* Nobody wrote: who took it for an edit would send it to all. */
static void
base__that_is_corrupt__is_not_adopted_unasked(void **state)
{
    const struct ramet_replica_options unasked = {.flags = RAMET_OPEN_UNASKED};
    struct place *const p = *state;
    struct image *const image = make_clean(p);
    uint64_t changed;

    image->bytes[7] ^= 1;
    shell(p, "touch -r $B $B.time");
    store_write_plain(p->path, image);
    shell(p, "touch -r $B.time $B");
    is_foreign(p);
    assert_int_equal(
        ramet_replica_adopt_base(p->path, &unasked, &changed, NULL),
        RAMET_EFOREIGN);
    is_foreign(p);
    OK(ramet_replica_adopt_base(p->path, NULL, &changed, e)); /* asked */
    assert_int_equal(changed, 1);
    is_ours(p, image);
    image_unref(image);
}

static void
refuses_to_adopt(const struct place *p)
{
    const struct ramet_replica_options unasked = {.flags = RAMET_OPEN_UNASKED};
    uint64_t changed;

    is_foreign(p);
    assert_int_equal(
        ramet_replica_adopt_base(p->path, &unasked, &changed, NULL),
        RAMET_EFOREIGN);
}

/* What lies under it is no file of anybody's: who took it for an edit would send
 * that to all, zeros and all. */
static void
mark__that_is_corrupt__is_no_edit(void **state)
{
    struct place *const p = *state;
    struct image *const image = make_clean(p);
    struct image *const next = place_image(4, 3 * PLACE_PAGE);
    uint64_t changed;

    commit_and_die(p, next, true);
    shell(p, "cp -p $B $B.ours; printf x | dd of=$B bs=1 seek=48 conv=notrunc "
             "status=none");
    refuses_to_adopt(p);
    assert_int_equal(ramet_replica_adopt_base(p->path, NULL, &changed, NULL),
                     RAMET_EFOREIGN);
    /* A sector that is gone, of a file to which nobody wrote. */
    shell(p, "cat $B.ours > $B; dd if=/dev/zero of=$B bs=512 count=1 "
             "conv=notrunc status=none; touch -r $B.ours $B");
    refuses_to_adopt(p);
    shell(p, "cat $B.ours > $B");
    is_ours(p, next);
    image_unref(image);
    image_unref(next);
}

/* A database beside which nobody left a journal: whichever call fails at its
 * opening, no program is accused of having changed it. */
static void
database__opened_without_descriptors__is_not_foreign(void **state)
{
    static const int errnums[] = {EMFILE, EIO};
    struct place *const p = *state;
    struct faultos *const faults = faultos_new(p->folder);
    struct ramet_replica_options options = {
        .os = faultos_os(faults),
        .flags = RAMET_OPEN_CREATE,
        .kind = RAMET_KIND_SQLITE,
    };
    struct image *const image = place_image(11, 4 * PLACE_PAGE);
    struct ramet_session *session = NULL;
    char path[200];

    image_put_header(image, PLACE_PAGE, 1);
    snprintf(path, sizeof(path), "%s/database", p->folder);
    OK(ramet_session_open(path, &options, &session, e));
    OK(place_commit(session, image, e));
    ramet_session_close(session);
    for (size_t i = 0; i < 2; i++)
        for (long nth = 0;; nth++) {
            enum ramet_rc rc;

            faultos_fail_at(faults, FAULTOS_OPEN | FAULTOS_READ, nth,
                            errnums[i], false);
            rc = ramet_session_open(path, &options, &session, NULL);
            assert_int_not_equal(rc, RAMET_EFOREIGN);
            if (rc == RAMET_OK)
                ramet_session_close(session);
            if (!faultos_has_failed(faults))
                break;
        }
    faultos_fail_at(faults, 0, -1, 0, false);
    image_unref(image);
    faultos_free(faults);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(clean_base__written_by_others__is_foreign),
        TEST(clean_base__replaced_by_another__is_foreign),
        TEST(clean_base__that_was_moved_or_touched__is_ours),
        TEST(clean_base__is_read_at_its_opening_only_if_something_happened),
        TEST(dirty_base__that_is_another_times_copy__is_foreign),
        TEST(dirty_base__as_a_kill_leaves_it__is_ours),
        TEST(dirty_base__copied_with_its_directory__is_another_replica),
        TEST(adopted_base__replaced_after_a_kill__is_foreign),
        TEST(base__written_over_while_it_is_open__gets_nothing_of_ours),
        TEST(base__replaced_while_it_is_open__takes_no_commit_with_it),
        TEST(base__adopted_unasked__gives_up_no_commit),
        TEST(base__that_is_corrupt__is_not_adopted_unasked),
        TEST(mark__that_is_corrupt__is_no_edit),
        TEST(database__opened_without_descriptors__is_not_foreign),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
