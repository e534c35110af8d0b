/*
 * test_checkpoint.c - what a checkpoint leaves in the base, and what it
 * leaves alone.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"
#include "tests/support/faultos.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/store.h"

/* All of the image, cut to a page before anybody sees it, as a VACUUM does; then
 * as long as before, and nothing written. */
static void
commit_and_cut(struct ramet_session *session, const struct image *image)
{
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, image->bytes, image->size, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    OK(ramet_session_truncate(session, PLACE_PAGE, e));
    ramet_session_publish(session);
    OK(ramet_session_truncate(session, image->size, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* What was written before it was cut off lies in the log all the same: for whoever
 * reads that after a crash, and for the checkpoint. */
static void
pages__that_were_cut_off_and_grew_again__are_zeros(void **state)
{
    struct place *const p = *state;
    struct place copy = *p;
    struct image *const image = place_image(8, 30 * PLACE_PAGE);
    struct image *const expected = image_copy(image);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *recovered;

    memset(expected->bytes + PLACE_PAGE, 0, expected->size - PLACE_PAGE);
    commit_and_cut(session, image);
    place_expect(session, expected, __LINE__);

    snprintf(copy.path, sizeof(copy.path), "%s/copy", p->folder);
    snprintf(copy.dir, sizeof(copy.dir), "%s-ramet", copy.path);
    place_copy(p, copy.path);
    recovered = place_open(&copy, 0);
    place_expect(recovered, expected, __LINE__);
    ramet_session_close(recovered);

    OK(ramet_session_checkpoint(session, true, e));
    assert_true(ramet_log_is_empty(session->replica));
    place_expect(session, expected, __LINE__);
    ramet_session_close(session);
    session = place_open(p, 0);
    place_expect(session, expected, __LINE__);
    ramet_session_close(session);
    image_unref(expected);
    image_unref(image);
}

static void
base__after_it__has_the_newest_bytes_behind_the_mark(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(8, 30 * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    static uint8_t have[30 * PLACE_PAGE];
    static uint8_t want[30 * PLACE_PAGE];
    size_t got = 0;
    int fd;

    OK(place_commit(session, image, e));
    assert_false(ramet_log_is_empty(session->replica));
    OK(ramet_session_checkpoint(session, true, e));
    assert_true(ramet_log_is_empty(session->replica));
    place_expect(session, image, __LINE__);
    OK(ramet_session_pin(session, e));
    OK(ramet_session_read(session, 0, want, sizeof(want), &got, e));
    ramet_session_unpin(session);
    fd = open(p->path, O_RDONLY);
    assert_int_equal(pread(fd, have, sizeof(have), 0), sizeof(have));
    close(fd);
    assert_memory_equal(have + 100, want + 100, sizeof(have) - 100);
    assert_memory_equal(have, "This is a Ramet replica", 23);
    ramet_session_close(session);
    image_unref(image);
}

static void
older_reader__is_passed__and_keeps_its_bytes(void **state)
{
    struct place *const p = *state;
    struct image *const old = place_image(1, 12 * PLACE_PAGE);
    struct image *const new = place_image(2, 12 * PLACE_PAGE);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, RAMET_OPEN_CREATE);
    static uint8_t have[12 * PLACE_PAGE];
    static uint8_t want[12 * PLACE_PAGE];
    size_t got = 0;

    OK(place_commit(writer, old, e));
    OK(ramet_session_pin(reader, e));
    OK(ramet_session_read(reader, 0, want, sizeof(want), &got, e));
    for (unsigned i = 0; i < 8; i++) {
        OK(place_commit(writer, i % 2 == 0 ? new : old, e));
        OK(ramet_session_checkpoint(writer, true, e));
    }
    OK(place_commit(writer, new, e));
    OK(ramet_session_checkpoint(writer, true, e));
    OK(ramet_session_read(reader, 0, have, sizeof(have), &got, e));
    assert_memory_equal(have, want, sizeof(have));
    ramet_session_unpin(reader);
    place_expect(reader, new, __LINE__);
    ramet_session_close(reader);
    ramet_session_close(writer);
    image_unref(old);
    image_unref(new);
}

static void
another_one__is_at_it__nothing_is_done(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(4, 5 * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const other = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, image, e));
    OK(ramet_lock(other, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE, 0, "",
                  e));
    OK(ramet_session_checkpoint(session, true, e));
    assert_false(ramet_log_is_empty(session->replica));
    ramet_unlock(other, RAMET_LOCK_CHECKPOINT);
    /* Nor under who reads state and base without a pin. */
    OK(ramet_lock(other, RAMET_LOCK_UNPINNED, RAMET_LOCK_SHARED, 0, "", e));
    OK(ramet_session_checkpoint(session, true, e));
    assert_false(ramet_log_is_empty(session->replica));
    assert_false(ramet_holds(session, RAMET_LOCK_CHECKPOINT));
    ramet_unlock(other, RAMET_LOCK_UNPINNED);
    OK(ramet_session_checkpoint(session, true, e));
    assert_true(ramet_log_is_empty(session->replica));
    place_expect(session, image, __LINE__);
    ramet_session_close(other);
    ramet_session_close(session);
    image_unref(image);
}

/* ---- absent pages --------------------------------------------------------- */

/* Read these pages of the newest snapshot, which brings those that are absent. */
static void
bring(struct ramet_session *session, uint32_t first, uint32_t last)
{
    static uint8_t page[PLACE_PAGE];
    size_t got;

    OK(ramet_session_pin(session, e));
    for (uint32_t p = first; p <= last; p++)
        OK(ramet_session_read(session, (uint64_t)(p - 1) * PLACE_PAGE, page,
                              sizeof(page), &got, e));
    ramet_session_unpin(session);
}

/* A clone of the remote's first image that has all pages; closed. */
static void
make_whole_clone(struct place *p)
{
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    const struct ramet_remote_point point = remote_point(&p->remote, 1);
    struct ramet_session *session;

    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    session = place_open(p, 0);
    bring(session, 1, 12);
    ramet_session_close(session);
}

/* Of the pages that a pull changed some are brought and move into the base along
 * with the one that is not: it is a hole, whatever the others were before. */
static void
page__absent_before_some_that_came__base_is_not_taken_for_whole(void **state)
{
    struct place *const p = *state;
    struct image *const old = place_image(11, 12 * PLACE_PAGE);
    struct image *const new = image_new(9 * PLACE_PAGE, PLACE_PAGE);
    struct ramet_remote_point point;
    struct ramet_pageset changed;
    struct ramet_session *session;

    /* Shorter: so the close does not know beforehand what is absent in the end. */
    memcpy(new->bytes, old->bytes, new->size);
    memset(new->bytes + 2 * PLACE_PAGE, 0x5a, 4 * PLACE_PAGE); /* 3 to 6 */
    remote_add(&p->remote, image_ref(old));
    remote_add(&p->remote, image_ref(new));
    make_whole_clone(p);
    session = place_open(p, 0);
    point = remote_point(&p->remote, 2);
    ramet_pageset_init(&changed);
    OK(ramet_pageset_add_run(&changed, (struct ramet_run){3, 6}));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_pull(session, ramet_session_snapshot(session), &point,
                          &changed, NULL, false, e));
    ramet_session_unpin(session);
    ramet_pageset_done(&changed);
    bring(session, 4, 6);
    ramet_session_close(session);
    session = place_open(p, 0);
    place_expect(session, new, __LINE__);
    ramet_session_close(session);
    image_unref(new);
    image_unref(old);
}

/* The remote's next commit, which changes this page, is pulled. */
static void
pull_page(struct place *p, struct ramet_session *session, uint32_t pgno)
{
    struct image *const image = image_copy(p->remote.at[p->remote.newest]);
    struct ramet_remote_point point;
    struct ramet_pageset changed;

    image->bytes[(pgno - 1) * PLACE_PAGE] ^= (uint8_t)(p->remote.newest + 1);
    remote_add(&p->remote, image);
    point = remote_point(&p->remote, p->remote.newest);
    ramet_pageset_init(&changed);
    OK(ramet_pageset_add(&changed, pgno));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_pull(session, ramet_session_snapshot(session), &point,
                          &changed, NULL, false, e));
    ramet_session_unpin(session);
    ramet_pageset_done(&changed);
}

/* The next record begins a log file, and nothing is moved. */
static void
begin_log_file(struct place *p, struct ramet_session *session,
               const struct ramet_os *os)
{
    struct ramet_session *const keeper = place_open_on(p, 0, os);

    OK(ramet_lock(keeper, RAMET_LOCK_UNPINNED, RAMET_LOCK_SHARED, 0, "", e));
    OK(ramet_session_checkpoint(session, true, e));
    assert_false(ramet_log_is_empty(session->replica));
    ramet_unlock(keeper, RAMET_LOCK_UNPINNED);
    ramet_session_close(keeper);
}

/* A reader keeps the second pull in the log, which a power cut may take. Of the page
 * that both changed there is only what was fetched after it: that is nothing of the
 * base, where the first goes. */
static void
fetched_page__of_a_pull_that_stays_in_the_log__stays_out_of_the_base(
    void **state)
{
    struct place *const p = *state;
    struct ramet_session *session, *reader;
    struct faultos *f;

    remote_add(&p->remote, place_image(12, 12 * PLACE_PAGE));
    make_whole_clone(p);
    f = faultos_new(p->folder);
    session = place_open_on(p, 0, faultos_os(f));
    reader = place_open_on(p, 0, faultos_os(f));
    pull_page(p, session, 6);
    begin_log_file(p, session, faultos_os(f));
    pull_page(p, session, 8);
    OK(ramet_session_pin(reader, e));
    pull_page(p, session, 6);
    bring(session, 6, 6);
    OK(ramet_session_checkpoint(session, true, e));
    assert_false(ramet_log_is_empty(session->replica));
    store_expect(reader, p->remote.at[3], __LINE__);
    ramet_session_unpin(reader);
    place_expect(reader, p->remote.at[4], __LINE__);

    faultos_stop_at(f, 0);
    ramet_session_close(reader);
    ramet_session_close(session);
    faultos_crash(f, 0);
    faultos_free(f);
    session = place_open(p, 0);
    assert_int_equal(store_newest(session).lsn, 2);
    place_expect(session, p->remote.at[2], __LINE__);
    ramet_session_close(session);
}

/* ---- how it goes about it ------------------------------------------------ */

static struct {
    unsigned log_reads;
    unsigned base_writes;
    unsigned presence_writes;
    /* Committed by `committer` before the base is written for the first time. */
    struct ramet_session *committer;
    struct image *image;
} watch;

static bool
is_file(int fd, const char *end)
{
    char link[64];
    char path[512];
    ssize_t got;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    got = readlink(link, path, sizeof(path) - 1);
    if (got < (ssize_t)strlen(end))
        return false;
    path[got] = '\0';
    return strcmp(path + got - strlen(end), end) == 0 ||
           (end[strlen(end) - 1] == '-' && strstr(path, end) != NULL);
}

static ssize_t
watch_preadv(void *ctx, int fd, const struct iovec *iov, int iovcnt,
             uint64_t offset)
{
    watch.log_reads += is_file(fd, "/log-");
    return ramet_os_system()->preadv(ctx, fd, iov, iovcnt, offset);
}

static ssize_t
watch_pwritev(void *ctx, int fd, const struct iovec *iov, int iovcnt,
              uint64_t offset)
{
    struct ramet_session *const committer = watch.committer;

    watch.presence_writes += is_file(fd, "/presence");
    if (is_file(fd, "/app.db")) {
        watch.base_writes++;
        watch.committer = NULL;
        if (committer != NULL)
            OK(place_commit(committer, watch.image, e));
    }
    return ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

static struct ramet_os
watching_os(void)
{
    struct ramet_os os = *ramet_os_system();

    memset(&watch, 0, sizeof(watch));
    os.preadv = watch_preadv;
    os.pwritev = watch_pwritev;
    return os;
}

static void
neighbours__in_the_log_and_in_the_base__are_moved_at_once(void **state)
{
    struct place *const p = *state;
    const struct ramet_os os = watching_os();
    struct image *const image = place_image(5, 320 * PLACE_PAGE);
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, &os);

    OK(place_commit(session, image, e));
    watch.log_reads = watch.base_writes = watch.presence_writes = 0;
    OK(ramet_session_checkpoint(session, true, e));
    assert_true(ramet_log_is_empty(session->replica));
    /* 320 pages: twice in pieces of 256 KiB, and 16 at a time. */
    assert_in_range(watch.log_reads, 1, 40);
    assert_in_range(watch.base_writes, 1, 20);
    assert_in_range(watch.presence_writes, 1, 2);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

static void
pages__scattered_over_the_file__presence_is_written_once(void **state)
{
    struct place *const p = *state;
    const struct ramet_os os = watching_os();
    struct image *const image = place_image(6, 400 * PLACE_PAGE);
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, &os);

    OK(place_commit(session, image, e));
    OK(ramet_session_checkpoint(session, true, e));
    for (size_t i = 3; i < 400; i += 7)
        image->bytes[i * PLACE_PAGE + 9] ^= 1;
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    for (size_t i = 3; i < 400; i += 7)
        OK(ramet_session_write(session, i * PLACE_PAGE,
                               image->bytes + i * PLACE_PAGE, PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    watch.presence_writes = 0;
    OK(ramet_session_checkpoint(session, true, e));
    assert_in_range(watch.presence_writes, 1, 2);
    place_expect(session, image, __LINE__);
    /* What lay between them is still known to be right. */
    ramet_session_close(session);
    image->bytes[8] ^= 1;
    {
        const int fd = open(p->path, O_RDWR);

        assert_int_equal(pwrite(fd, image->bytes, PLACE_PAGE, 5 * PLACE_PAGE),
                         PLACE_PAGE);
        close(fd);
    }
    assert_int_equal(place_try_open(p->path, 0, NULL), RAMET_EFOREIGN);
    image_unref(image);
}

static void
page__overtaken_while_it_is_moved__base_has_that_of_the_checkpoint(void **state)
{
    struct place *const p = *state;
    const struct ramet_os os = watching_os();
    struct image *const old = place_image(7, 40 * PLACE_PAGE);
    struct ramet_session *const session =
        place_open_on(p, RAMET_OPEN_CREATE, &os);
    struct ramet_session *const other = place_open(p, RAMET_OPEN_CREATE);
    static uint8_t have[40 * PLACE_PAGE];
    unsigned reads;
    int fd;

    watch.image = place_image(8, 40 * PLACE_PAGE);
    OK(place_commit(session, old, e));
    watch.committer = other;
    watch.log_reads = 0;
    OK(ramet_session_checkpoint(session, true, e));
    assert_null(watch.committer);
    reads = watch.log_reads;
    fd = open(p->path, O_RDONLY);
    assert_int_equal(pread(fd, have, sizeof(have), 0), sizeof(have));
    close(fd);
    assert_memory_equal(have + 100, old->bytes + 100, sizeof(have) - 100);
    assert_in_range(reads, 1, 12); /* nobody searches for what is overtaken */
    place_expect(session, watch.image, __LINE__);
    ramet_session_close(other);
    ramet_session_close(session);
    image_unref(watch.image);
    image_unref(old);
}

static bool is_full;

static int
allocate_or_full(void *ctx, int fd, uint64_t offset, uint64_t len)
{
    return is_full ? -ENOSPC
                   : ramet_os_system()->allocate(ctx, fd, offset, len);
}

/* So many that where they are takes a file. */
static void
pages__and_no_room_to_note_where_they_are__are_moved_all_the_same(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(9, 5000 * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *session, *keeper;

    os.allocate = allocate_or_full;
    session = place_open_on(p, RAMET_OPEN_CREATE, &os);
    keeper = place_open(p, RAMET_OPEN_CREATE);
    /* Until the disk is full nobody else checkpoints. */
    OK(ramet_lock(keeper, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE, 120000,
                  "", e));
    OK(place_commit(session, image, e));
    is_full = true;
    ramet_unlock(keeper, RAMET_LOCK_CHECKPOINT);
    while (!ramet_log_is_empty(session->replica)) {
        OK(ramet_session_checkpoint(session, true, e));
        usleep(1000);
    }
    is_full = false;
    place_expect(keeper, image, __LINE__);
    ramet_session_close(keeper);
    ramet_session_close(session);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(pages__that_were_cut_off_and_grew_again__are_zeros),
        T(base__after_it__has_the_newest_bytes_behind_the_mark),
        T(older_reader__is_passed__and_keeps_its_bytes),
        T(another_one__is_at_it__nothing_is_done),
        T(page__absent_before_some_that_came__base_is_not_taken_for_whole),
        T(fetched_page__of_a_pull_that_stays_in_the_log__stays_out_of_the_base),
        T(neighbours__in_the_log_and_in_the_base__are_moved_at_once),
        T(pages__scattered_over_the_file__presence_is_written_once),
        T(pages__and_no_room_to_note_where_they_are__are_moved_all_the_same),
        T(page__overtaken_while_it_is_moved__base_has_that_of_the_checkpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
