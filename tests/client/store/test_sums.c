/*
 * test_sums.c - checksums of a file that was adopted as it was: they are
 * computed while it is used, and what they are for.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/format/state.h"
#include "client/store/replicas.h"

/* More than the opening itself sums; ends within a page. */
#define LARGE ((UINT64_C(33) << 20) + 77)

static bool
is_unsummed(const struct place *p)
{
    const struct ramet_os *const os = ramet_os_system();
    struct ramet_state_file *const state = calloc(1, sizeof(*state));
    const int fd = open(p->dir, O_RDONLY | O_DIRECTORY);
    bool is;

    assert_true(fd >= 0);
    OK(ramet_state_file_read(os, fd, state, e));
    is = state->is_unsummed;
    ramet_state_file_done(state);
    free(state);
    close(fd);
    return is;
}

/* Of this process. */
static unsigned
thread_count(void)
{
    DIR *const tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    unsigned count = 0;

    assert_non_null(tasks);
    while ((entry = readdir(tasks)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(tasks);
    return count;
}

static void
await_sums(const struct place *p)
{
    for (unsigned i = 0; is_unsummed(p); i++) {
        assert_true(i < 30000);
        usleep(1000);
    }
}

static struct ramet_session *
adopt_plain(struct place *p, struct image *image)
{
    store_write_plain(p->path, image);
    return place_open(p, RAMET_OPEN_ADOPT);
}

/* One bit, and the file's times are what they were. */
static void
rot(struct place *p, off_t at)
{
    const int fd = open(p->path, O_RDWR);
    struct stat st;
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 16;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(futimens(fd, (struct timespec[]){st.st_atim, st.st_mtim}),
                     0);
    close(fd);
}

static uint64_t
verify(struct ramet_session *session)
{
    uint64_t checked = 0;
    uint64_t bad = 0;

    OK(ramet_session_verify(session, &checked, &bad, e));
    return bad;
}

static void
adopted_file__of_a_few_pages__has_its_checksums_when_it_is_open(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 700 * PLACE_PAGE + 77);
    const unsigned before = thread_count();
    struct ramet_session *const session = adopt_plain(p, image);

    assert_false(is_unsummed(p));
    assert_int_equal(thread_count(), before); /* nobody else did it */
    assert_int_equal(verify(session), 0);
    ramet_session_close(session);
    image_unref(image);
}

/* Random bytes, then zeros, which are as good as any. */
static struct image *
large_image(uint32_t random_pages)
{
    struct image *const image =
        place_image(1, (uint64_t)random_pages * PLACE_PAGE + 77);

    image_resize(image, LARGE);
    return image;
}

static void
adopted_file__gets_its_checksums_while_it_is_open(void **state)
{
    struct place *const p = *state;
    struct image *const image = large_image(700);
    struct ramet_session *const session = adopt_plain(p, image);

    await_sums(p);
    assert_int_equal(verify(session), 0);
    rot(p, 500 * PLACE_PAGE + 5);
    rot(p, LARGE - 1); /* the last page, in part */
    rot(p, 50);        /* of page 1 what is in `state` */
    assert_int_equal(verify(session), 2);
    rot(p, 150);
    assert_int_equal(verify(session), 3);
    ramet_session_close(session);
    image_unref(image);
}

static void
adopted_file__that_is_closed_at_once__has_its_checksums(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 700 * PLACE_PAGE + 77);

    ramet_session_close(adopt_plain(p, image));
    assert_false(is_unsummed(p));
    image_unref(image);
}

/* Commits, cuts and checkpoints go on beside it. */
static void
adopted_file__is_written_while_it_is_summed__no_checksum_is_wrong(void **state)
{
    struct place *const p = *state;
    struct image *image = large_image(2500);
    struct ramet_session *const session = adopt_plain(p, image);
    uint64_t rng = 1;

    for (unsigned i = 0; i < 60; i++) {
        const uint64_t at = store_below(&rng, 2400) * PLACE_PAGE;

        if (i % 20 == 19) {
            image_resize(image, (2400 - i) * PLACE_PAGE);
            image_resize(image, LARGE);
        }
        store_random_bytes(&rng, image->bytes + at, 3 * PLACE_PAGE);
        OK(place_commit(session, image, e));
        OK(ramet_session_checkpoint(session, true, e));
        assert_int_equal(verify(session), 0);
    }
    await_sums(p);
    assert_int_equal(verify(session), 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* The base as it is summed for the first time, and where it is written to then, by
 * somebody who knows nothing of us; 0: not any more. */
static ino_t summed_inode;
static const char *summed_path;

static ssize_t
preadv_after_another_wrote(void *ctx, int fd, const struct iovec *iov,
                           int count, uint64_t offset)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    if (st.st_ino == summed_inode && iov[0].iov_len > PLACE_PAGE) {
        const int other = open(summed_path, O_RDWR);

        summed_inode = 0;
        assert_int_equal(pwrite(other, "theirs", 6, 300 * PLACE_PAGE), 6);
        st.st_mtim.tv_sec++; /* a file system's clock ticks seldom */
        assert_int_equal(
            futimens(other, (struct timespec[]){st.st_atim, st.st_mtim}), 0);
        close(other);
    }
    return ramet_os_system()->preadv(ctx, fd, iov, count, offset);
}

/* What others write gets no checksum, by which it would be right ever after. */
static void
adopted_file__that_others_write_to_as_it_is_summed__gets_no_checksums(
    void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(9, 700 * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *session;
    struct stat st;

    os.preadv = preadv_after_another_wrote;
    store_write_plain(p->path, image);
    assert_int_equal(stat(p->path, &st), 0);
    summed_inode = st.st_ino;
    summed_path = p->path;
    session = place_open_on(p, RAMET_OPEN_ADOPT, &os);
    assert_int_equal(summed_inode, 0);
    assert_true(is_unsummed(p));
    ramet_session_close(session);
    assert_true(is_unsummed(p));
    image_unref(image);
}

/* What presence knows is of before the log: a pull that is in there only has
 * other pages. */
static void
adoption__over_a_pull_in_the_log__takes_what_that_changed(void **state)
{
    struct place *const p = *state;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *const old = place_image(1, 20 * PLACE_PAGE);
    struct image *const new = place_image(2, 20 * PLACE_PAGE);
    struct ramet_remote_point point;
    struct ramet_replica_state s;
    struct ramet_session *session;
    struct ramet_pageset changed;
    struct ramet_snapshot base;
    uint64_t count = 0;
    pid_t child;

    remote_add(&p->remote, image_ref(old));
    remote_add(&p->remote, image_ref(new));
    point = remote_point(&p->remote, 1);
    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    session = place_open(p, 0);
    place_expect(session, old, __LINE__);
    ramet_session_close(session); /* whole and clean */
    child = child_fork();
    if (child == 0) {
        session = place_open_in_child(p);
        point = remote_point(&p->remote, 2);
        base = store_newest(session);
        ramet_pageset_init(&changed);
        child_require(ramet_pageset_add_run(
                          &changed, (struct ramet_run){3, 8}) == RAMET_OK &&
                          ramet_session_pull(session, &base, &point, &changed,
                                             NULL, false, NULL) == RAMET_OK,
                      "pull", NULL);
        _exit(0);
    }
    child_await(child);
    store_write_plain(p->path, old); /* a backup of before the pull */
    OK(ramet_replica_adopt_base(p->path, &options, &count, e));
    session = place_open(p, 0);
    memset(&s, 0, sizeof(s));
    OK(ramet_session_state(session, &s, e));
    assert_int_equal(s.newest.lsn, 2);
    for (uint32_t pgno = 3; pgno <= 8; pgno++)
        assert_true(ramet_pageset_contains(&s.later, pgno));
    assert_int_equal(count, 6);
    place_expect(session, old, __LINE__);
    ramet_replica_state_done(&s);
    ramet_session_close(session);
    image_unref(old);
    image_unref(new);
}

/* ... or a commit that cut pages off, which the file has still. */
static void
adoption__over_a_cut_in_the_log__takes_what_was_cut_off(void **state)
{
    struct place *const p = *state;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *const old = place_image(1, 20 * PLACE_PAGE);
    struct image *const cut = image_copy(old);
    struct ramet_remote_point point;
    struct ramet_replica_state s;
    struct ramet_session *session;
    uint64_t count = 0;
    pid_t child;

    image_resize(cut, 5 * PLACE_PAGE);
    remote_add(&p->remote, image_ref(old));
    point = remote_point(&p->remote, 1);
    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    session = place_open(p, 0);
    place_expect(session, old, __LINE__);
    ramet_session_close(session); /* whole and clean */
    child = child_fork();
    if (child == 0) {
        session = place_open_in_child(p);
        child_require(place_commit(session, cut, NULL) == RAMET_OK, "cut",
                      NULL);
        _exit(0);
    }
    child_await(child);
    store_write_plain(p->path, old); /* a backup of before the cut */
    OK(ramet_replica_adopt_base(p->path, &options, &count, e));
    session = place_open(p, 0);
    memset(&s, 0, sizeof(s));
    OK(ramet_session_state(session, &s, e));
    assert_int_equal(s.least_page_count_later, 5);
    for (uint32_t pgno = 6; pgno <= 20; pgno++)
        assert_true(ramet_pageset_contains(&s.later, pgno));
    place_expect(session, old, __LINE__);
    ramet_replica_state_done(&s);
    ramet_session_close(session);
    image_unref(old);
    image_unref(cut);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(adopted_file__of_a_few_pages__has_its_checksums_when_it_is_open),
        TEST(adopted_file__gets_its_checksums_while_it_is_open),
        TEST(adopted_file__that_is_closed_at_once__has_its_checksums),
        TEST(adopted_file__is_written_while_it_is_summed__no_checksum_is_wrong),
        TEST(
            adopted_file__that_others_write_to_as_it_is_summed__gets_no_checksums),
        TEST(adoption__over_a_pull_in_the_log__takes_what_that_changed),
        TEST(adoption__over_a_cut_in_the_log__takes_what_was_cut_off),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
