/*
 * test_frame_files.c - the files of log, fetched pages and old versions: made,
 * found, retired.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <unistd.h>

#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/store.h"

#define FAR 1000u

static void
file__that_is_there__is_taken_if_its_pages_are_as_wanted(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_replica *const replica = session->replica;
    struct ramet_frame_file *first, *again;

    OK(ramet_base_lock(session, 0, e));
    OK(ramet_frame_file_create(replica, RAMET_FRAMES_FETCHED, FAR, 4096, &first,
                               e));
    OK(ramet_frame_file_create(replica, RAMET_FRAMES_FETCHED, FAR, 4096, &again,
                               e));
    assert_ptr_equal(first, again);
    assert_int_equal(ramet_frame_file_create(replica, RAMET_FRAMES_FETCHED, FAR,
                                             8192, &again, NULL),
                     RAMET_EEXIST);
    assert_int_equal(ramet_frame_file_get(replica, RAMET_FRAMES_FETCHED,
                                          FAR + 1, &again, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(
        ramet_frame_file_get(replica, RAMET_FRAMES_LOG, FAR, &again, NULL),
        RAMET_ENOTFOUND);
    ramet_base_unlock(session);
    ramet_session_close(session);
}

static void
end__in_pages_of_another_size__moves_to_the_next_file(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_replica *const replica = session->replica;
    struct ramet_pos_word *const end = &replica->head->header.fetched.pos;
    const uint64_t number = ramet_pos_file(ramet_pos_load(end));
    struct ramet_frame_file *file;
    struct ramet_pos pos;

    OK(ramet_base_lock(session, 0, e));
    OK(ramet_frame_file_at_end(replica, RAMET_FRAMES_FETCHED, end, 4096, &pos,
                               &file, e));
    assert_int_equal(file->number, number);
    OK(ramet_frame_file_at_end(replica, RAMET_FRAMES_FETCHED, end, 8192, &pos,
                               &file, e));
    assert_int_equal(file->number, number + 1);
    assert_int_equal(file->page_size, 8192);
    assert_true(ramet_pos_same(pos, ramet_pos_first(number + 1)));
    assert_true(ramet_pos_same(ramet_pos_load(end), pos));
    ramet_pos_store(end, ramet_pos_make(number + 1, RAMET_FRAME_OFFSET_MAX));
    OK(ramet_frame_file_at_end(replica, RAMET_FRAMES_FETCHED, end, 8192, &pos,
                               &file, e));
    assert_int_equal(file->number, number + 2); /* full */
    ramet_base_unlock(session);
    ramet_session_close(session);
}

static void
descriptor__of_a_retired_file__stays_open_while_it_may_be_read(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const reader = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_replica *const replica = session->replica;
    struct ramet_frame_file *file;
    char name[32];
    int fd;

    OK(ramet_base_lock(session, 0, e));
    OK(ramet_frame_file_create(replica, RAMET_FRAMES_FETCHED, FAR, 4096, &file,
                               e));
    ramet_base_unlock(session);
    assert_true(ramet_epoch_enter(reader));
    OK(ramet_frame_file_get(replica, RAMET_FRAMES_FETCHED, FAR, &file, e));
    fd = file->fd;
    ramet_frame_file_name(RAMET_FRAMES_FETCHED, FAR, name);
    assert_int_equal(unlinkat(replica->dir_fd, name, 0), 0);
    atomic_store(&replica->head->header.fetched.oldest, FAR + 1);
    ramet_frame_files_trim(replica);
    assert_true(fcntl(fd, F_GETFD) >= 0);
    assert_int_equal(
        ramet_frame_file_get(replica, RAMET_FRAMES_FETCHED, FAR, &file, NULL),
        RAMET_ENOTFOUND);
    ramet_epoch_leave(reader, true);
    ramet_frame_files_trim(replica);
    assert_true(fcntl(fd, F_GETFD) < 0);
    ramet_session_close(reader);
    ramet_session_close(session);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(file__that_is_there__is_taken_if_its_pages_are_as_wanted),
        T(end__in_pages_of_another_size__moves_to_the_next_file),
        T(descriptor__of_a_retired_file__stays_open_while_it_may_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
