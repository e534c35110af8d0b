/*
 * test_versions.c - bits that flip in a version which is not read, only
 * gone by: a reader of an older snapshot steps over it, a checkpoint or a
 * commit asks what it is of. It is believed no more than one that is read.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_world.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/format/frames.h"

#define PAGE 4096u
#define PAGES 4u

struct place {
    char folder[128];
    char path[160];
    struct remote remote;
};

static int
setup(void **state)
{
    struct place *const p = calloc(1, sizeof(*p));

    store_folder_make(p->folder);
    snprintf(p->path, sizeof(p->path), "%s/app.db", p->folder);
    remote_init(&p->remote, 1);
    *state = p;
    return 0;
}

static int
teardown(void **state)
{
    struct place *const p = *state;

    store_folder_remove(p->folder);
    remote_done(&p->remote);
    free(p);
    return 0;
}

static struct ramet_session *
open_session_of(struct place *p, enum ramet_volume_kind kind)
{
    const struct ramet_replica_options options = {
        .flags = RAMET_OPEN_CREATE,
        .kind = kind,
        .page_size = PAGE,
    };
    struct ramet_session *session;

    OK(ramet_session_open(p->path, &options, &session, e));
    ramet_replica_set_fetcher(ramet_session_replica(session), remote_fetch,
                              &p->remote);
    return session;
}

static struct ramet_session *
open_session(struct place *p)
{
    return open_session_of(p, RAMET_KIND_BLOB);
}

static struct image *
random_image(uint64_t seed)
{
    struct image *const image = image_new(PAGES * PAGE, PAGE);

    store_random_bytes(&seed, image->bytes, image->size);
    return image;
}

static void
commit_image(struct ramet_session *session, const struct image *image)
{
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, image->bytes, image->size, e));
    OK(ramet_session_prepare(session, NULL, e));
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* ---- frames on the disk ---------------------------------------------------- */

struct frame_place {
    char path[300];
    uint64_t offset;
};

/* The last frame of a page in a file. */
static struct frame_place
find_frame(const struct place *p, enum ramet_frames_type type, uint64_t number,
           uint32_t pgno)
{
    struct frame_place found = {.offset = 0};
    struct ramet_logframe frame;
    struct image *file;
    char name[32];

    ramet_frame_file_name(type, number, name);
    snprintf(found.path, sizeof(found.path), "%s-ramet/%s", p->path, name);
    file = store_read_plain(found.path, PAGE);
    for (uint64_t at = 0; at + RAMET_LOGFRAME_HEADER_SIZE <= file->size;
         at += RAMET_POS_UNIT)
        if (ramet_logframe_decode(file->bytes + at, ramet_pos_make(number, at),
                                  &frame) &&
            frame.pgno == pgno)
            found.offset = at;
    image_unref(file);
    assert_true(found.offset != 0);
    return found;
}

static void
flip_bit(const struct frame_place *frame, uint64_t bit)
{
    const off_t at = (off_t)(frame->offset + bit / 8);
    const int fd = open(frame->path, O_RDWR);
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= (uint8_t)(1u << (bit % 8));
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static enum ramet_rc
read_page(struct ramet_session *session, uint32_t pgno, uint8_t *out)
{
    size_t got;

    return ramet_session_read(session, (uint64_t)(pgno - 1) * PAGE, out, PAGE,
                              &got, NULL);
}

/* With any bit of `len` bytes of the frame flipped the read fails, and with
 * none it is right. */
static void
expect_told(struct ramet_session *session, const struct frame_place *frame,
            uint64_t len, uint32_t pgno, const struct image *image)
{
    uint8_t right[PAGE];
    uint8_t page[PAGE];

    image_page(image, pgno, right);
    for (uint64_t bit = 0; bit < len * 8; bit++) {
        flip_bit(frame, bit);
        if (read_page(session, pgno, page) != RAMET_ECORRUPT)
            fail_msg("page %u, bit %u of byte %u: not told", pgno,
                     (unsigned)(bit % 8), (unsigned)(bit / 8));
        flip_bit(frame, bit);
    }
    assert_int_equal(read_page(session, pgno, page), RAMET_OK);
    assert_memory_equal(page, right, PAGE);
}

/* ---- tests ----------------------------------------------------------------- */

static void
newer_commit__with_a_flipped_bit__is_reported_to_older_readers(void **state)
{
    struct place *const p = *state;
    struct image *const first = random_image(1);
    struct image *const second = random_image(2);
    struct ramet_session *const writer = open_session(p);
    struct ramet_session *const reader = open_session(p);
    struct frame_place frame;

    memset(second->bytes + 2 * PAGE, 0, PAGE); /* a frame without a page */
    commit_image(writer, first);
    OK(ramet_session_pin(reader, e));
    commit_image(writer, second);

    frame = find_frame(p, RAMET_FRAMES_LOG, 1, 2);
    expect_told(reader, &frame, RAMET_LOGFRAME_HEADER_SIZE + 64, 2, first);
    frame = find_frame(p, RAMET_FRAMES_LOG, 1, 3);
    expect_told(reader, &frame, RAMET_LOGFRAME_HEADER_SIZE, 3, first);

    ramet_session_unpin(reader);
    ramet_session_close(reader);
    ramet_session_close(writer);
    image_unref(first);
    image_unref(second);
}

/* Pull LSN `lsn`, where those pages changed. */
static void
pull(struct place *p, struct ramet_session *session, uint64_t lsn,
     struct ramet_run changed)
{
    const struct ramet_remote_point point = remote_point(&p->remote, lsn);
    struct ramet_pageset pages;

    ramet_pageset_init(&pages);
    OK(ramet_pageset_add_run(&pages, changed));
    OK(ramet_session_pull(session, ramet_session_snapshot(session), &point,
                          &pages, NULL, false, e));
    ramet_pageset_done(&pages);
}

static void
newer_pull__with_a_flipped_bit__is_reported_to_older_readers(void **state)
{
    struct place *const p = *state;
    struct image *const first = random_image(1);
    struct image *const second = image_copy(first);
    struct ramet_session *const puller = open_session(p);
    struct ramet_session *const reader = open_session(p);
    struct frame_place frame;
    struct ramet_point at;
    uint8_t page[PAGE];

    image_write(second, PAGE, "another", 7);
    remote_add(&p->remote, image_ref(first));
    remote_add(&p->remote, image_ref(second));
    OK(ramet_session_bind(puller, STORE_REMOTE_URL, &store_volume, e));
    pull(p, puller, 1, (struct ramet_run){1, PAGES});
    OK(ramet_session_pin(reader, e));
    store_expect(reader, first, __LINE__);
    pull(p, puller, 2, (struct ramet_run){2, 2});
    frame = find_frame(p, RAMET_FRAMES_LOG, 1, 2);
    expect_told(reader, &frame, RAMET_LOGFRAME_HEADER_SIZE, 2, first);

    image_page(second, 2, page);
    at = remote_at(&p->remote, 2);
    OK(ramet_session_keep_fetched(puller, &at, 2, page, e));
    frame = find_frame(p, RAMET_FRAMES_FETCHED, 1, 2);
    expect_told(reader, &frame, RAMET_FETCHED_HEADER_SIZE + 64, 2, first);

    ramet_session_unpin(reader);
    ramet_session_close(reader);
    ramet_session_close(puller);
    image_unref(first);
    image_unref(second);
}

/* A page of zeros has no page in its frame: the header is all there is. */
static void
fetched_zeros__with_a_flipped_bit__is_reported(void **state)
{
    struct place *const p = *state;
    struct image *const image = random_image(1);
    struct ramet_session *const session = open_session_of(p, RAMET_KIND_SQLITE);
    struct frame_place frame;

    image_put_header(image, PAGE, 1);
    memset(image->bytes + PAGE, 0, PAGE);
    remote_add(&p->remote, image_ref(image));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    pull(p, session, 1, (struct ramet_run){1, PAGES});
    OK(ramet_session_pin(session, e));
    store_expect(session, image, __LINE__);
    frame = find_frame(p, RAMET_FRAMES_FETCHED, 1, 2);
    expect_told(session, &frame, RAMET_FETCHED_HEADER_SIZE, 2, image);
    frame = find_frame(p, RAMET_FRAMES_FETCHED, 1, 3);
    expect_told(session, &frame, RAMET_FETCHED_HEADER_SIZE + 64, 3, image);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(image);
}

static enum ramet_rc
try_to_write(struct ramet_session *session, const struct image *image)
{
    enum ramet_rc rc;

    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, image->bytes, image->size, e));
    rc = ramet_session_prepare(session, NULL, NULL);
    if (rc == RAMET_OK)
        ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    return rc;
}

/* The commit's frame will say what the fetched page had replaced. (Of a blob
 * the page itself would be read, to compare it.) */
static void
fetched_page__with_a_flipped_bit__is_reported_to_who_overwrites_it(void **state)
{
    struct place *const p = *state;
    struct image *const first = random_image(1);
    struct image *const second = random_image(2);
    struct ramet_session *const session = open_session_of(p, RAMET_KIND_SQLITE);
    struct ramet_session *const reader = open_session_of(p, RAMET_KIND_SQLITE);
    struct frame_place frame;

    image_put_header(first, PAGE, 1);
    image_put_header(second, PAGE, 2);
    remote_add(&p->remote, image_ref(first));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    pull(p, session, 1, (struct ramet_run){1, PAGES});
    OK(ramet_session_pin(reader, e));
    store_expect(reader, first, __LINE__);
    frame = find_frame(p, RAMET_FRAMES_FETCHED, 1, 2);
    for (uint64_t bit = 0; bit < RAMET_FETCHED_HEADER_SIZE * 8; bit++) {
        flip_bit(&frame, bit);
        if (try_to_write(session, second) != RAMET_ECORRUPT)
            fail_msg("bit %u of byte %u: not told", (unsigned)(bit % 8),
                     (unsigned)(bit / 8));
        flip_bit(&frame, bit);
    }
    OK(try_to_write(session, second));
    store_expect(reader, first, __LINE__);
    ramet_session_unpin(reader);
    ramet_session_close(reader);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

/* A commit is over it: to older readers it is the page that was absent. */
static void
fetched_page__under_a_commit__with_a_flipped_bit__is_fetched_anew(void **state)
{
    struct place *const p = *state;
    struct image *const first = random_image(1);
    struct image *const second = random_image(2);
    struct ramet_session *const session = open_session_of(p, RAMET_KIND_SQLITE);
    struct ramet_session *const reader = open_session_of(p, RAMET_KIND_SQLITE);
    struct frame_place frame;

    image_put_header(first, PAGE, 1);
    image_put_header(second, PAGE, 2);
    remote_add(&p->remote, image_ref(first));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    pull(p, session, 1, (struct ramet_run){1, PAGES});
    OK(ramet_session_checkpoint(session, true, e)); /* absent in the base */
    OK(ramet_session_pin(reader, e));
    store_expect(reader, first, __LINE__);
    frame = find_frame(p, RAMET_FRAMES_FETCHED, 1, 2);
    OK(try_to_write(session, second));
    for (uint64_t bit = 0; bit < (RAMET_FETCHED_HEADER_SIZE + 8) * 8; bit++) {
        flip_bit(&frame, bit);
        store_expect(reader, first, __LINE__);
        flip_bit(&frame, bit);
    }
    ramet_session_unpin(reader);
    ramet_session_close(reader);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

static void
commit__with_a_flipped_bit__is_not_taken_for_another_pages(void **state)
{
    struct place *const p = *state;
    struct image *const first = random_image(1);
    struct image *const second = image_copy(first);
    struct ramet_session *const session = open_session(p);
    struct frame_place frame;

    commit_image(session, first);
    OK(ramet_session_checkpoint(session, true, e));
    image_write(second, PAGE, "another", 7);
    commit_image(session, second);
    frame = find_frame(p, RAMET_FRAMES_LOG, 2, 2);
    for (uint64_t bit = 0; bit < RAMET_LOGFRAME_HEADER_SIZE * 8; bit++) {
        flip_bit(&frame, bit);
        if (ramet_session_checkpoint(session, true, NULL) != RAMET_ECORRUPT)
            fail_msg("bit %u of byte %u: not told", (unsigned)(bit % 8),
                     (unsigned)(bit / 8));
        flip_bit(&frame, bit);
    }
    OK(ramet_session_checkpoint(session, true, e));
    OK(ramet_session_pin(session, e));
    store_expect(session, second, __LINE__);
    ramet_session_unpin(session);
    ramet_session_close(session);
    image_unref(first);
    image_unref(second);
}

/* A remote that is away: what is not here can't be read. */
static enum ramet_rc
fetch_nothing(void *ctx, const struct ramet_point *at, uint32_t pgno,
              struct ramet_page_request *sink, struct ramet_err *err)
{
    (void)ctx;
    (void)at;
    (void)sink;
    return RAMET_FAIL(err, RAMET_EUNREACHABLE, "page %u is not here", pgno);
}

static void
expect_pages(struct ramet_session *session, const struct image *image,
             uint32_t first, uint32_t last)
{
    for (uint32_t pgno = first; pgno <= last; pgno++) {
        uint8_t page[PAGE], expected[PAGE];
        size_t got;

        OK(ramet_session_read(session, (uint64_t)(pgno - 1) * PAGE, page, PAGE,
                              &got, e));
        image_page(image, pgno, expected);
        assert_int_equal(got, PAGE);
        assert_memory_equal(page, expected, PAGE);
    }
}

/* Pages that come together: one was written here since, one comes twice, one is
 * zeros. What is kept of them outlives a checkpoint, and what was written stays. */
static void
fetched_pages__that_come_together__leave_alone_what_moved_on(void **state)
{
    static const uint32_t pgnos[] = {4, 3, 2, 4};
    struct place *const p = *state;
    struct image *const first = random_image(1);
    struct ramet_session *const session = open_session(p);
    struct image *here;
    struct ramet_point at;
    uint8_t pages[4 * PAGE];

    memset(first->bytes + 3 * PAGE, 0, PAGE); /* page 4 */
    here = image_copy(first);
    image_write(here, 2 * PAGE, "ours", 4); /* page 3 */
    remote_add(&p->remote, image_ref(first));
    OK(ramet_session_bind(session, STORE_REMOTE_URL, &store_volume, e));
    pull(p, session, 1, (struct ramet_run){1, PAGES});
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 2 * PAGE, here->bytes + 2 * PAGE, PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);

    at = remote_at(&p->remote, 1);
    for (unsigned i = 0; i < 4; i++)
        image_page(first, pgnos[i], pages + i * PAGE);
    OK(ramet_session_keep_fetched_run(session, &at, pgnos, 4, pages, PAGE, e));
    ramet_replica_set_fetcher(ramet_session_replica(session), fetch_nothing,
                              NULL);
    for (unsigned i = 0; i < 2; i++) {
        OK(ramet_session_pin(session, e));
        expect_pages(session, here, 2, PAGES);
        ramet_session_unpin(session);
        OK(ramet_session_checkpoint(session, true, e));
    }
    ramet_session_close(session);
    image_unref(here);
    image_unref(first);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(newer_commit__with_a_flipped_bit__is_reported_to_older_readers),
        TEST(newer_pull__with_a_flipped_bit__is_reported_to_older_readers),
        TEST(fetched_zeros__with_a_flipped_bit__is_reported),
        TEST(
            fetched_page__with_a_flipped_bit__is_reported_to_who_overwrites_it),
        TEST(commit__with_a_flipped_bit__is_not_taken_for_another_pages),
        TEST(fetched_page__under_a_commit__with_a_flipped_bit__is_fetched_anew),
        TEST(fetched_pages__that_come_together__leave_alone_what_moved_on),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
