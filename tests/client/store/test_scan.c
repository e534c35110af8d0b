/*
 * test_scan.c - pages that are read ahead of a scan: few reads, and never
 * a page as it was before it changed.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/alloc.h"
#include "core/os.h"

#define PAGES 256u

/* ---- reads are counted ----------------------------------------------------- */

/* Those of the base: other threads read other files. */
static atomic_ullong base; /* its inode */
static atomic_uint reads;
static atomic_ullong bytes_read;
/* Drops all pages before the next of them. */
static struct ramet_session *_Atomic evictor;

static ssize_t
count_preadv(void *ctx, int fd, const struct iovec *iov, int iovcnt,
             uint64_t offset)
{
    struct ramet_session *session;
    struct stat st;
    ssize_t got;

    if (fstat(fd, &st) != 0 || st.st_ino != atomic_load(&base))
        return ramet_os_system()->preadv(ctx, fd, iov, iovcnt, offset);
    session = atomic_exchange(&evictor, NULL);
    if (session != NULL)
        OK(ramet_session_evict(session, 0, e));
    got = ramet_os_system()->preadv(ctx, fd, iov, iovcnt, offset);
    atomic_fetch_add(&reads, 1);
    atomic_fetch_add(&bytes_read, (unsigned long long)(got > 0 ? got : 0));
    return got;
}

static void
watch_base(const struct place *p)
{
    struct stat st;

    assert_int_equal(stat(p->path, &st), 0);
    atomic_store(&base, st.st_ino);
    atomic_store(&reads, 0);
    atomic_store(&bytes_read, 0);
}

/* ---- a replica whose log is empty ------------------------------------------ */

static void
commit(struct ramet_session *session, const struct image *image)
{
    OK(place_commit(session, image, e));
}

static void
commit_to_base(struct ramet_session *session, const struct image *image)
{
    commit(session, image);
    OK(ramet_session_checkpoint(session, true, e));
}

static void
expect_page(struct ramet_session *session, const struct image *image,
            uint32_t pgno)
{
    uint8_t right[PLACE_PAGE];
    uint8_t page[PLACE_PAGE];
    size_t got;

    image_page(image, pgno, right);
    OK(ramet_session_read(session, (uint64_t)(pgno - 1) * PLACE_PAGE, page,
                          PLACE_PAGE, &got, e));
    assert_memory_equal(page, right, PLACE_PAGE);
}

static void
expect_pages(struct ramet_session *session, const struct image *image,
             uint32_t first, uint32_t last)
{
    for (uint32_t pgno = first; pgno <= last; pgno++)
        expect_page(session, image, pgno);
}

/* ---- tests ----------------------------------------------------------------- */

static void
scan__takes_few_reads_and_none_twice(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *session;

    os.preadv = count_preadv;
    session = place_open_on(p, RAMET_OPEN_CREATE, &os);
    commit_to_base(session, image);
    OK(ramet_session_pin(session, e));

    watch_base(p);
    expect_pages(session, image, 1, PAGES);
    assert_in_range(atomic_load(&reads), 1, PAGES / 16 + 8);
    assert_int_equal(atomic_load(&bytes_read), PAGES * PLACE_PAGE);

    watch_base(p);
    for (uint32_t pgno = PAGES; pgno >= 1; pgno--) /* this is no scan */
        expect_page(session, image, pgno);
    assert_in_range(atomic_load(&bytes_read), 1, PAGES * PLACE_PAGE);

    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
}

/* As SQLite does it after it has read: the pin stays, and moves on. */
static void
commit_on(struct ramet_session *session, const struct image *image)
{
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, image->bytes, image->size, e));
    OK(ramet_session_truncate(session, image->size, e));
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    OK(ramet_session_checkpoint(session, true, e));
}

static void
page_read_ahead__changes__is_read_again(void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, PAGES * PLACE_PAGE);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    commit_to_base(session, first);
    OK(ramet_session_pin(session, e));
    expect_pages(session, first, 1, 20);
    commit_on(session, second);
    expect_pages(session, second, 21, PAGES);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

static void
page_read_ahead__changes_for_others__stays_what_the_snapshot_has(void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, PAGES * PLACE_PAGE);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, 0);

    commit_to_base(writer, first);
    OK(ramet_session_pin(reader, e));
    expect_pages(reader, first, 1, 20);
    commit_to_base(writer, second);
    expect_pages(reader, first, 21, PAGES);
    ramet_session_unpin(reader);
    OK(ramet_session_pin(reader, e));
    expect_pages(reader, second, 21, PAGES);
    ramet_session_unpin(reader);
    ramet_session_close(reader);
    ramet_session_close(writer);
    image_unref(first);
    image_unref(second);
}

/* Checkpoints don't wait for a reader for ever: the base is too new for it then,
 * and was too short in between. */
static void
page_read_ahead__passed_by_checkpoints__stays_what_the_snapshot_has(
    void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, PAGES * PLACE_PAGE);
    struct image *const image = image_copy(first);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, 0);

    commit_to_base(writer, first);
    OK(ramet_session_pin(reader, e));
    expect_pages(reader, first, 1, 20);
    for (unsigned i = 0; i < 8; i++) {
        image_resize(image, 8 * PLACE_PAGE);
        commit_to_base(writer, image);
        image_resize(image, PAGES * PLACE_PAGE);
        commit_to_base(writer, image);
    }
    expect_pages(reader, first, 21, PAGES);
    ramet_session_unpin(reader);
    OK(ramet_session_pin(reader, e));
    expect_pages(reader, image, 21, PAGES);
    ramet_session_unpin(reader);
    ramet_session_close(reader);
    ramet_session_close(writer);
    image_unref(first);
    image_unref(image);
}

static void
page_read_ahead__is_cut_off_and_grows_again__is_zero(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    commit_to_base(session, image);
    OK(ramet_session_pin(session, e));
    expect_pages(session, image, 1, 20);
    image_resize(image, 8 * PLACE_PAGE);
    commit_on(session, image);
    image_resize(image, PAGES * PLACE_PAGE);
    commit_on(session, image);
    expect_pages(session, image, 21, PAGES);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
}

/* All pages fetched, and moved to the base. */
static void
pull_to_base(struct place *p, struct ramet_session *session,
             const struct image *image)
{
    const struct ramet_remote_point point = remote_point(&p->remote, 1);
    struct ramet_pageset all;

    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    ramet_pageset_init(&all);
    OK(ramet_pageset_add_run(&all, (struct ramet_run){1, PAGES}));
    OK(ramet_session_pull(session, ramet_session_snapshot(session), &point,
                          &all, NULL, false, e));
    ramet_pageset_done(&all);
    OK(ramet_session_pin(session, e));
    store_expect(session, image, __LINE__);
    ramet_session_unpin(session);
    OK(ramet_session_checkpoint(session, true, e));
}

/* Evict while page `pgno` is read: its bytes are gone then, and those of the
 * pages that are read ahead with it. */
static void
read_while_evicting(struct place *p, uint32_t pgno)
{
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *other;
    struct ramet_session *reader;

    os.preadv = count_preadv;
    remote_add(&p->remote, image_ref(image));
    reader = place_open_on(p, RAMET_OPEN_CREATE, &os);
    other = place_open(p, 0);
    pull_to_base(p, reader, image);
    OK(ramet_session_pin(reader, e));
    expect_pages(reader, image, 2, pgno - 1);
    watch_base(p);
    atomic_store(&evictor, other);
    expect_page(reader, image, pgno);
    assert_null(atomic_load(&evictor));
    expect_pages(reader, image, pgno + 1, PAGES);
    ramet_session_unpin(reader);
    ramet_session_close(other);
    ramet_session_close(reader);
    image_unref(image);
}

static void
page__is_evicted_while_it_is_read__is_fetched_again(void **state)
{
    read_while_evicting(*state, 3);
}

static void
pages__are_evicted_while_they_are_read_ahead__are_fetched_again(void **state)
{
    read_while_evicting(*state, 5);
}

static void
scan__to_the_end_of_an_odd_file__is_right(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 21 * PLACE_PAGE + 100);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    commit_to_base(session, image);
    OK(ramet_session_pin(session, e));
    expect_pages(session, image, 1, 22);
    store_expect(session, image, __LINE__);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
}

static void
scan__without_memory__is_right(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    commit_to_base(session, image);
    OK(ramet_session_pin(session, e));
    expect_page(session, image, 2);
    ramet_alloc_fail_at(0);
    expect_page(session, image, 3);
    ramet_alloc_fail_at(-1);
    expect_pages(session, image, 4, 40);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
}

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(scan__takes_few_reads_and_none_twice),
        TEST(page_read_ahead__changes__is_read_again),
        TEST(page_read_ahead__changes_for_others__stays_what_the_snapshot_has),
        TEST(
            page_read_ahead__passed_by_checkpoints__stays_what_the_snapshot_has),
        TEST(page_read_ahead__is_cut_off_and_grows_again__is_zero),
        TEST(page__is_evicted_while_it_is_read__is_fetched_again),
        TEST(pages__are_evicted_while_they_are_read_ahead__are_fetched_again),
        TEST(scan__to_the_end_of_an_odd_file__is_right),
        TEST(scan__without_memory__is_right),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
