/*
 * test_deaths.c - what the death of a process leaves to the living.
 *
 * A process dies at a chosen operation while others live, or leaves what only
 * its death at that moment leaves.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/os.h"

static struct ramet_session *
open_with(struct place *p, const struct ramet_os *os)
{
    return place_open_on(p, RAMET_OPEN_CREATE, os);
}

/* ---- dying at an operation ------------------------------------------------ */

/* Once the state was written so many times the process ends; or before it is
 * written at all; or the truncation to that size is the first thing that it does
 * not do. */
static unsigned states_left;
static uint64_t fatal_size;
static bool state_is_refused;
static int state_fd = -1; /* written to, and not synced */

static bool
is_state(const struct iovec *iov)
{
    return iov->iov_len > 7 && memcmp(iov->iov_base, "RAMTSTA", 7) == 0;
}

static ssize_t
write_and_note(void *ctx, int fd, const struct iovec *iov, int iovcnt,
               uint64_t offset)
{
    if (is_state(iov))
        state_fd = fd;
    return ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

static int
sync_and_die(void *ctx, int fd)
{
    const int result = ramet_os_system()->datasync(ctx, fd);

    if (fd == state_fd && --states_left == 0)
        _exit(0);
    if (fd == state_fd)
        state_fd = -1;
    return result;
}

static ssize_t
write_or_die(void *ctx, int fd, const struct iovec *iov, int iovcnt,
             uint64_t offset)
{
    if (is_state(iov))
        _exit(0);
    return ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

static ssize_t
write_or_refuse(void *ctx, int fd, const struct iovec *iov, int iovcnt,
                uint64_t offset)
{
    if (state_is_refused && is_state(iov))
        return -ENOSPC;
    return ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

static void
die_after_states(struct ramet_os *os, unsigned count)
{
    states_left = count;
    os->pwritev = write_and_note;
    os->datasync = sync_and_die;
}

static int
die_or_truncate(void *ctx, int fd, uint64_t size)
{
    if (size == fatal_size)
        _exit(0);
    return ramet_os_system()->truncate(ctx, fd, size);
}

/* ---- tests ----------------------------------------------------------------- */

static void
barrier__of_the_dead__is_lowered_though_its_slot_is_taken(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const first = open_with(p, NULL);
    struct ramet_session *next;
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_session *const session = open_with(p, NULL);

        OK(ramet_session_raise_barrier(session, e));
        _exit(0);
    }
    child_await(child);
    next = open_with(p, NULL); /* takes the slot of the dead */
    OK(ramet_session_pin(first, e));
    ramet_session_unpin(first);
    ramet_session_close(next);
    ramet_session_close(first);
}

static void
clean_close__of_a_tiny_file_cut_off__opens(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(3, 50);
    struct image *plain;
    struct ramet_session *session;
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_os os = *ramet_os_system();

        fatal_size = image->size;
        session = open_with(p, &os);
        OK(place_commit(session, image, e));
        os.truncate = die_or_truncate;
        ramet_session_close(session);
        _exit(1);
    }
    child_await(child);
    session = open_with(p, NULL);
    OK(ramet_session_pin(session, e));
    store_expect(session, image, __LINE__);
    ramet_session_unpin(session);
    ramet_session_close(session);
    plain = store_read_plain(p->path, PLACE_PAGE);
    assert_int_equal(plain->size, image->size);
    assert_memory_equal(plain->bytes, image->bytes, image->size);
    image_unref(plain);
    image_unref(image);
}

static void
checkpoint__dies_before_entries_are_swapped__fetched_pages_stay(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(5, 4 * PLACE_PAGE);
    struct ramet_session *const session = open_with(p, NULL);
    struct ramet_remote_point point;
    struct ramet_pageset all;
    uint8_t page[PLACE_PAGE];
    struct ramet_point at;
    pid_t child;

    remote_add(&p->remote, image_ref(image));
    point = remote_point(&p->remote, 1);
    ramet_pageset_init(&all);
    OK(ramet_pageset_add_run(&all, (struct ramet_run){1, 4}));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    OK(ramet_session_pull(session, ramet_session_snapshot(session), &point,
                          &all, NULL, false, e));
    ramet_pageset_done(&all);
    child = child_fork();
    if (child == 0) {
        struct ramet_os os = *ramet_os_system();
        struct ramet_session *other;

        other = open_with(p, &os);
        die_after_states(&os, 1);
        OK(ramet_session_checkpoint(other, true, e));
        _exit(1);
    }
    child_await(child);
    image_page(image, 2, page);
    at = remote_at(&p->remote, 1);
    OK(ramet_session_keep_fetched(session, &at, 2, page, e));
    OK(ramet_session_checkpoint(session, true, e));
    OK(ramet_session_pin(session, e));
    store_expect(session, image, __LINE__);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
}

/* The file's length, in one synced transaction, and nothing written. */
static void
resize(struct ramet_session *session, uint64_t size)
{
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_truncate(session, size, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

static void
checkpoint__dies_over_growth__stale_presence_is_discarded(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(21, 10 * PLACE_PAGE);
    struct ramet_session *session = open_with(p, NULL);
    uint64_t checked;
    uint64_t bad;
    pid_t child;

    OK(place_commit(session, image, e));
    ramet_session_close(session);
    child = child_fork();
    if (child == 0) {
        struct ramet_os os = *ramet_os_system();

        session = open_with(p, &os);
        OK(place_commit(session, place_image(22, 15 * PLACE_PAGE), e));
        os.pwritev = write_or_die;
        OK(ramet_session_checkpoint(session, true, e));
        _exit(1);
    }
    child_await(child);
    for (uint64_t pages = 11; pages <= 15; pages += 4) {
        session = open_with(p, NULL);
        resize(session, pages * PLACE_PAGE);
        ramet_session_close(session);
    }
    session = open_with(p, NULL);
    OK(ramet_session_verify(session, &checked, &bad, e));
    assert_int_equal(bad, 0);
    image_unref(image);
    ramet_session_close(session);
}

static void
checkpoint__refused_twice__fetched_pages_of_later_are_found(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(6, 4 * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *const session = open_with(p, &os);
    struct ramet_remote_point point;
    struct ramet_pageset all;
    uint8_t page[PLACE_PAGE];
    struct ramet_point at;

    os.pwritev = write_or_refuse;
    remote_add(&p->remote, image_ref(image));
    point = remote_point(&p->remote, 1);
    ramet_pageset_init(&all);
    OK(ramet_pageset_add_run(&all, (struct ramet_run){1, 4}));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    OK(ramet_session_pull(session, ramet_session_snapshot(session), &point,
                          &all, NULL, false, e));
    ramet_pageset_done(&all);
    OK(ramet_session_checkpoint(session, true, e));
    image_page(image, 2, page);
    at = remote_at(&p->remote, 1);
    OK(ramet_session_keep_fetched(session, &at, 2, page, e));
    state_is_refused = true;
    for (unsigned i = 0; i < 2;
         i++) /* each begins a new file for fetched pages */
        assert_int_not_equal(ramet_session_checkpoint(session, true, NULL),
                             RAMET_OK);
    state_is_refused = false;
    image_page(image, 3, page);
    at = remote_at(&p->remote, 1);
    OK(ramet_session_keep_fetched(session, &at, 3, page, e));
    OK(ramet_session_checkpoint(session, true, e));
    OK(ramet_session_pin(session, e));
    store_expect(session, image, __LINE__);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
}

/* The remote has `image` as its next LSN, which differs in these pages. */
static void
pull_image(struct place *p, struct ramet_session *session, struct image *image,
           struct ramet_run run)
{
    const uint64_t lsn = remote_add(&p->remote, image_ref(image));
    const struct ramet_remote_point point = remote_point(&p->remote, lsn);
    struct ramet_pageset changed;

    if (lsn == 1)
        OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    ramet_pageset_init(&changed);
    OK(ramet_pageset_add_run(&changed, run));
    OK(ramet_session_pull(session, ramet_session_snapshot(session), &point,
                          &changed, NULL, false, e));
    ramet_pageset_done(&changed);
}

/* Bring these pages, and move them into the base. */
static void
bring(struct ramet_session *session, struct ramet_run run)
{
    static uint8_t page[PLACE_PAGE];
    size_t got;

    OK(ramet_session_pin(session, e));
    for (uint64_t p = run.first; p <= run.last; p++)
        OK(ramet_session_read(session, (p - 1) * PLACE_PAGE, page, sizeof(page),
                              &got, e));
    ramet_session_unpin(session);
    OK(ramet_session_checkpoint(session, true, e));
}

/* In a child: the state is never written. */
static void
die_in(struct place *p, enum ramet_rc (*act)(struct ramet_session *session))
{
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_os os = *ramet_os_system();
        struct ramet_session *session;

        session = open_with(p, &os);
        os.pwritev = write_or_die;
        for (unsigned i = 0; i < 100000; i++) /* the parent may be at it */
            (void)!act(session);
        _exit(1);
    }
    child_await(child);
}

/* In a child: once the state is written and synced. */
static void
die_with_state(struct place *p)
{
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_os os = *ramet_os_system();
        struct ramet_session *session;

        session = open_with(p, &os);
        die_after_states(&os, 1);
        for (unsigned i = 0; i < 100000; i++) /* the parent may be at it */
            (void)!ramet_session_checkpoint(session, true, NULL);
        _exit(1);
    }
    child_await(child);
}

static enum ramet_rc
evict_all(struct ramet_session *session)
{
    return ramet_session_evict(session, 0, NULL);
}

static enum ramet_rc
checkpoint_all(struct ramet_session *session)
{
    return ramet_session_checkpoint(session, true, NULL);
}

static void
eviction__of_a_clean_file_dies__evicted_pages_are_fetched_again(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(8, 8 * PLACE_PAGE);
    const struct ramet_run all = {1, 8};
    struct ramet_session *session = open_with(p, NULL);
    struct image *plain;

    pull_image(p, session, image, all);
    bring(session, all);
    ramet_session_close(session);
    die_in(p, evict_all);
    session = open_with(p, NULL);
    bring(session, all);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    plain = store_read_plain(p->path, PLACE_PAGE); /* whole, and so clean */
    assert_int_equal(plain->size, image->size);
    assert_memory_equal(plain->bytes, image->bytes, image->size);
    image_unref(plain);
    image_unref(image);
}

static void
commit_first_page(struct ramet_session *session, const struct image *image)
{
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, image->bytes, PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* Dies with the state written; a reader that came then keeps what was moved in
 * the log, past another checkpoint. */
static void
checkpoint__dies_before_a_reader_comes__fetched_pages_are_moved_all_the_same(
    void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(11, 4 * PLACE_PAGE);
    struct image *const next = image_copy(image);
    struct ramet_session *const session = open_with(p, NULL);
    struct ramet_session *const reader = open_with(p, NULL);
    uint8_t page[PLACE_PAGE];
    struct ramet_point at;

    pull_image(p, session, image, (struct ramet_run){1, 4});
    image_page(image, 2, page);
    at = remote_at(&p->remote, 1);
    OK(ramet_session_keep_fetched(session, &at, 2, page, e));
    die_with_state(p);
    OK(ramet_session_pin(reader, e));
    image_write(next, 0, "next", 4);
    commit_first_page(session, next);
    OK(ramet_session_checkpoint(session, true, e));
    image_page(image, 3, page);
    OK(ramet_session_keep_fetched(session, &at, 3, page, e));
    store_expect(reader, image, __LINE__);
    ramet_session_unpin(reader);
    OK(ramet_session_checkpoint(session, true, e));
    place_expect(session, next, __LINE__);
    ramet_session_close(reader);
    ramet_session_close(session);
    image_unref(image);
    image_unref(next);
}

/* More pages than are looked up at a time: of the last ones nothing is known
 * but how many are absent. */
static void
checkpoint__dies_over_pulled_pages__they_are_counted(void **state)
{
    struct place *const p = *state;
    const uint32_t known = 4096;
    struct image *const image = place_image(9, (known + 10) * PLACE_PAGE);
    struct image *const next = image_copy(image);
    struct ramet_session *session = open_with(p, NULL);

    pull_image(p, session, image, (struct ramet_run){1, known + 10});
    OK(ramet_session_checkpoint(session, true, e));
    ramet_session_close(session);
    session = open_with(p, NULL); /* ten are absent after this */
    bring(session, (struct ramet_run){1, known});
    image_write(next, PLACE_PAGE, image->bytes, 10 * PLACE_PAGE);
    pull_image(p, session, next, (struct ramet_run){2, 11});
    die_in(p, checkpoint_all); /* now twenty are */
    bring(session, (struct ramet_run){2, 11});
    place_expect(session, next, __LINE__);
    ramet_session_close(session);
    image_unref(image);
    image_unref(next);
}

/* A clone of `image`, which is LSN 1: nothing is here but its first page. */
static struct ramet_session *
open_clone(struct place *p, struct image *image)
{
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    const uint64_t lsn = remote_add(&p->remote, image_ref(image));
    const struct ramet_remote_point point = remote_point(&p->remote, lsn);

    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, image->bytes, e));
    return open_with(p, NULL);
}

/* Zeros by a local commit in the base, where the remote has something else. */
static void
checkpoint__dies_over_a_cut__what_is_zero_stays_so(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(10, 20 * PLACE_PAGE);
    struct image *const next = image_copy(image);
    struct ramet_session *session = open_clone(p, image);

    bring(session, (struct ramet_run){1, 20});
    image_resize(next, 10 * PLACE_PAGE);
    resize(session, next->size);
    image_resize(next, image->size);
    resize(session, next->size);
    OK(ramet_session_checkpoint(session, true, e));
    resize(session, 10 * PLACE_PAGE);
    die_in(p, checkpoint_all);
    resize(session, next->size);
    OK(ramet_session_checkpoint(session, true, e));
    ramet_session_close(session);
    session = open_with(p, NULL);
    place_expect(session, next, __LINE__);
    ramet_session_close(session);
    image_unref(image);
    image_unref(next);
}

/* ---- two at the first write ----------------------------------------------- */

static int arrived[2]; /* pipes */
static int refused[2];

/* The first stays where it keeps natives out until the other was refused. */
static int
lock_and_stay(void *ctx, int fd, uint64_t start, uint64_t len,
              enum ramet_lock_mode mode)
{
    const int result = ramet_os_system()->lock(ctx, fd, start, len, mode);
    char byte = 0;

    if (start > 0x40000000u && len > 100 && mode == RAMET_LOCK_EXCLUSIVE &&
        (result != 0 || write(arrived[1], &byte, 1) != 1 ||
         read(refused[0], &byte, 1) != 1))
        _exit(1);
    return result;
}

static int
lock_and_tell(void *ctx, int fd, uint64_t start, uint64_t len,
              enum ramet_lock_mode mode)
{
    static bool told;
    const int result = ramet_os_system()->lock(ctx, fd, start, len, mode);

    if (result == -EAGAIN && !told) {
        told = true;
        assert_int_equal(write(refused[1], "", 1), 1);
    }
    return result;
}

static void
damage(const char *path, off_t at)
{
    const int fd = open(path, O_RDWR);
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void
first_write__of_two_processes__neither_is_a_native_reader(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(10, 4 * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *session = open_with(p, NULL);
    uint64_t checked = 0;
    uint64_t bad = 0;
    pid_t child;
    char byte;

    pull_image(p, session, image, (struct ramet_run){1, 4});
    bring(session, (struct ramet_run){1, 4});
    ramet_session_close(session); /* clean */
    assert_int_equal(pipe(arrived), 0);
    assert_int_equal(pipe(refused), 0);
    session = open_with(p, &os);
    child = child_fork();
    if (child == 0) {
        struct ramet_os staying = *ramet_os_system();
        struct ramet_session *const other = open_with(p, &staying);

        staying.lock = lock_and_stay;
        OK(ramet_session_pin(other, e)); /* under the write lock */
        OK(ramet_session_reserve(other, e));
        _exit(0);
    }
    assert_int_equal(read(arrived[0], &byte, 1), 1);
    os.lock = lock_and_tell;
    damage(p->path, PLACE_PAGE + 7);
    OK(ramet_session_verify(session, &checked, &bad, e)); /* base lock */
    assert_int_equal(bad, 1);
    child_await(child);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

static void
adoption__interrupted_with_a_long_log__can_be_done_again(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(7, 5u << 20);
    struct image *const other = place_image(8, 9 * PLACE_PAGE);
    struct ramet_session *session;
    uint64_t changed = 0;
    pid_t child = child_fork();

    if (child == 0) {
        session = open_with(p, NULL);
        OK(place_commit(session, image, e));
        OK(place_commit(session, other, e)); /* in the next log file */
        _exit(0);
    }
    child_await(child);
    image_write(other, 0, "edited", 6);
    store_write_plain(p->path, other);
    child = child_fork();
    if (child == 0) {
        struct ramet_os os = *ramet_os_system();
        const struct ramet_replica_options options = {.os = &os};

        die_after_states(&os, 1);
        OK(ramet_replica_adopt_base(p->path, &options, &changed, e));
        _exit(1);
    }
    child_await(child);
    OK(ramet_replica_adopt_base(p->path, NULL, &changed, e));
    session = open_with(p, NULL);
    OK(ramet_session_pin(session, e));
    store_expect(session, other, __LINE__);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
    image_unref(other);
}

/* Killed when presence knew of the pages and state did not; then between the
 * clean state and the header. */
static void
clean_close__cut_off_after_a_cut_off_checkpoint__ends_whole(void **state)
{
    struct place *const p = *state;
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *const image = place_image(9, 20 * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_remote_point point;
    struct ramet_session *session;
    struct image *plain;
    pid_t child;

    remote_add(&p->remote, image_ref(image));
    point = remote_point(&p->remote, 1);
    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    child = child_fork();
    if (child == 0) {
        session = place_open_on(p, 0, &os);
        place_expect(session, image, __LINE__);
        os.pwritev = write_or_die;
        OK(ramet_session_checkpoint(session, true, e));
        _exit(1);
    }
    child_await(child);
    child = child_fork();
    if (child == 0) {
        session = place_open_on(p, 0, &os);
        die_after_states(&os, 1); /* the header is to follow */
        ramet_session_close(session);
        _exit(1);
    }
    child_await(child);
    session = place_open(p, 0);
    ramet_session_close(session);
    plain = store_read_plain(p->path, PLACE_PAGE);
    assert_int_equal(plain->size, image->size);
    assert_memory_equal(plain->bytes, image->bytes, image->size);
    image_unref(plain);
    image_unref(image);
}

#define CHUNK_SIZE (2u << 20) /* of the index, mapped at once */

static int
map_no_chunk(void *ctx, int fd, uint64_t offset, size_t len, bool writable,
             void **out)
{
    return len == CHUNK_SIZE
               ? -ENOMEM
               : ramet_os_system()->map(ctx, fd, offset, len, writable, out);
}

/* The base has another version of the page than the log. */
static void
index__that_cannot_be_mapped__is_not_taken_for_empty(void **state)
{
    struct place *const p = *state;
    struct image *const old = place_image(31, 10 * PLACE_PAGE);
    struct image *const image = place_image(32, 10 * PLACE_PAGE);
    struct ramet_session *const session = open_with(p, NULL);
    pid_t child;

    OK(place_commit(session, old, e));
    OK(ramet_session_checkpoint(session, true, e));
    OK(place_commit(session, image, e));
    child = child_fork();
    if (child == 0) {
        struct ramet_os os = *ramet_os_system();
        struct ramet_session *other;
        uint8_t page[PLACE_PAGE];
        struct ramet_err err = {.text = ""};
        size_t got;

        os.map = map_no_chunk;
        other = open_with(p, &os);
        OK(ramet_session_pin(other, e));
        for (unsigned i = 0; i < 10; i++)
            child_require(ramet_session_read(other, i * PLACE_PAGE, page,
                                             PLACE_PAGE, &got,
                                             &err) == RAMET_ENOMEM,
                          "a page without its entry is no error", &err);
        _exit(0);
    }
    child_await(child);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(old);
    image_unref(image);
}

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(barrier__of_the_dead__is_lowered_though_its_slot_is_taken),
        TEST(clean_close__of_a_tiny_file_cut_off__opens),
        TEST(checkpoint__dies_before_entries_are_swapped__fetched_pages_stay),
        TEST(checkpoint__dies_over_growth__stale_presence_is_discarded),
        TEST(checkpoint__refused_twice__fetched_pages_of_later_are_found),
        TEST(eviction__of_a_clean_file_dies__evicted_pages_are_fetched_again),
        TEST(
            checkpoint__dies_before_a_reader_comes__fetched_pages_are_moved_all_the_same),
        TEST(checkpoint__dies_over_pulled_pages__they_are_counted),
        TEST(checkpoint__dies_over_a_cut__what_is_zero_stays_so),
        TEST(first_write__of_two_processes__neither_is_a_native_reader),
        TEST(adoption__interrupted_with_a_long_log__can_be_done_again),
        TEST(clean_close__cut_off_after_a_cut_off_checkpoint__ends_whole),
        TEST(index__that_cannot_be_mapped__is_not_taken_for_empty),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
