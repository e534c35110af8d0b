/*
 * test_races.c - two sessions that meet at one place, in a fixed order: what
 * seldom happens there is made to happen.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/shared/index.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"

#define PAGES 6u

/* ---- a pin and a checkpoint ------------------------------------------------- */

static void *
pin(void *arg)
{
    struct ramet_session *const reader = arg;

    return (void *)(intptr_t)ramet_session_pin(reader, NULL);
}

/* The reader copied the newest snapshot; before its pin can be seen somebody commits,
 * and a checkpoint looks for pins and finds none. */
static void
pin__stored_after_a_checkpoint_looked__is_of_a_snapshot_that_is_there(
    void **state)
{
    struct place *const p = *state;
    struct image *const first = place_image(1, PAGES * PLACE_PAGE);
    struct image *const second = place_image(2, PAGES * PLACE_PAGE);
    struct image *const third = place_image(3, PAGES * PLACE_PAGE);
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, 0);
    struct ramet_index_header *const header = &writer->replica->head->header;
    struct ramet_pos copied;
    pthread_t thread;
    void *rc;

    OK(place_commit(writer, first, e));
    place_expect(reader, first, __LINE__);
    copied = reader->pin.snapshot.tail;
    OK(place_commit(writer, second, e));
    OK(ramet_session_checkpoint(writer, true, e));
    assert_true(ramet_log_is_empty(writer->replica));
    reader->number =
        atomic_load(&header->log.newest); /* it looked before that */
    assert_int_equal(pthread_create(&thread, NULL, pin, reader), 0);
    while (atomic_load(&reader->pin_word->raw) != copied.raw)
        usleep(100);
    OK(place_commit(writer, third,
                    e)); /* so that there is another to be copied */
    assert_int_equal(pthread_join(thread, &rc), 0);
    assert_int_equal((intptr_t)rc, RAMET_OK);
    store_expect(reader, third, __LINE__);
    ramet_session_unpin(reader);
    ramet_session_close(reader);
    ramet_session_close(writer);
    image_unref(third);
    image_unref(second);
    image_unref(first);
}

/* ---- a read and a checkpoint ------------------------------------------------ */

/* Before the first read of the log a checkpoint is done by this session, and what is
 * read is of the file's next life. */
static struct ramet_session *checkpointer;

static bool
is_of_log(int fd)
{
    char link[64];
    char path[512];
    ssize_t got;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    got = readlink(link, path, sizeof(path) - 1);
    if (got < 0)
        return false;
    path[got] = '\0';
    return strstr(path, "/log-") != NULL;
}

static ssize_t
preadv_too_late(void *ctx, int fd, const struct iovec *iov, int count,
                uint64_t offset)
{
    struct ramet_session *const session = checkpointer;
    ssize_t got = ramet_os_system()->preadv(ctx, fd, iov, count, offset);

    if (session == NULL || !is_of_log(fd))
        return got;
    checkpointer = NULL;
    OK(ramet_session_checkpoint(session, true, e));
    assert_true(ramet_log_is_empty(session->replica));
    for (int i = 0; i < count; i++)
        memset(iov[i].iov_base, 0xa5, iov[i].iov_len);
    return got;
}

static void
log_file__retired_while_it_is_read__page_is_looked_for_again(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct image *const newer = image_copy(image);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *reader, *writer;

    os.preadv = preadv_too_late;
    checkpointer = NULL;
    writer = place_open_on(p, RAMET_OPEN_CREATE, &os);
    reader = place_open_on(p, 0, &os);
    OK(place_commit(writer, image, e));
    OK(ramet_session_pin(reader, e));
    checkpointer = writer;
    store_expect(reader, image, __LINE__);
    assert_null(checkpointer);
    ramet_session_unpin(reader);

    newer->bytes[3 * PLACE_PAGE] ^= 1;
    OK(place_commit(writer, newer, e));
    place_expect(reader, newer, __LINE__);
    ramet_session_close(reader);
    ramet_session_close(writer);
    image_unref(newer);
    image_unref(image);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(pin__stored_after_a_checkpoint_looked__is_of_a_snapshot_that_is_there),
        T(log_file__retired_while_it_is_read__page_is_looked_for_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
