/*
 * test_torn.c - a record of which a crash left a part, where something else lay
 * before: all of it is there, or none.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/store/format/frames.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"

#define PAGES 3u

static void
write_and_prepare(struct ramet_session *session, const struct image *image)
{
    for (uint64_t at = 0; at < image->size; at += PLACE_PAGE)
        OK(ramet_session_write(session, at, image->bytes + at, PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
}

/* The log file of the replica at `dir`, opened. */
static int
open_log(const char *dir, uint64_t number)
{
    char name[32];
    char path[300];
    int fd;

    ramet_frame_file_name(RAMET_FRAMES_LOG, number, name);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Another page's frame for that place, as a writer makes it. */
static void
put_frame(int fd, struct ramet_pos pos, const uint8_t *page)
{
    uint8_t raw[RAMET_FRAME_FILE_HEADER_SIZE];
    uint8_t frame[RAMET_LOGFRAME_HEADER_SIZE + PLACE_PAGE];
    struct ramet_frame_file_header header;
    struct ramet_logframe was;
    const off_t at = (off_t)ramet_pos_offset(pos);

    assert_int_equal(pread(fd, raw, sizeof(raw), 0), sizeof(raw));
    assert_true(ramet_frame_file_header_decode(raw, &header));
    assert_int_equal(pread(fd, frame, sizeof(frame), at), sizeof(frame));
    assert_true(ramet_logframe_decode(frame, pos, &was));
    ramet_logframe_encode(frame, was.pgno, was.kind, was.replaced, pos,
                          header.salt, ramet_hash64(page, PLACE_PAGE));
    memcpy(frame + RAMET_LOGFRAME_HEADER_SIZE, page, PLACE_PAGE);
    assert_int_equal(pwrite(fd, frame, sizeof(frame), at), sizeof(frame));
}

/* A frame in its place is of another record, as earlier versions wrote one over the
 * other: each has a checksum that is right. */
static void
record__with_a_frame_of_another__is_none(void **state)
{
    struct place *const p = *state;
    struct image *const before = place_image(1, PAGES * PLACE_PAGE);
    struct image *const other = place_image(2, PAGES * PLACE_PAGE);
    struct image *const last = place_image(3, PAGES * PLACE_PAGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    struct place copy = *p;
    struct ramet_pos start;
    int fd;

    snprintf(copy.path, sizeof(copy.path), "%s/copy", p->folder);
    snprintf(copy.dir, sizeof(copy.dir), "%s-ramet", copy.path);
    OK(place_commit(session, before, e));
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    write_and_prepare(session, last);
    start = session->rec_start;
    OK(ramet_session_sync(session, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    place_copy(p, copy.path); /* as a kill leaves it */
    ramet_session_close(session);

    fd = open_log(copy.dir, ramet_pos_file(start));
    put_frame(fd, start, other->bytes);
    close(fd);
    session = place_open(&copy, 0);
    place_expect(session, before, __LINE__);
    ramet_session_close(session);
    image_unref(last);
    image_unref(other);
    image_unref(before);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(record__with_a_frame_of_another__is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
