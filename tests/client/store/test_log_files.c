/*
 * test_log_files.c - files of the log that a checkpoint has no more need of: they
 * go on as those to come, and not beyond the last close.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/store.h"

#define CLOSED 7u /* of those at which a checkpoint begins */
#define WAITING_MAX 8u
#define LARGE (1100u * PLACE_PAGE) /* more than a log file */

/* The file's inode; 0: there is none. */
static ino_t
inode_of(const struct place *p, uint64_t number)
{
    struct stat st;
    char name[32];
    int fd = open(p->dir, O_RDONLY | O_DIRECTORY);
    int result;

    assert_true(fd >= 0);
    ramet_frame_file_name(RAMET_FRAMES_LOG, number, name);
    result = fstatat(fd, name, &st, 0);
    close(fd);
    return result == 0 ? st.st_ino : 0;
}

/* Whoever is at work, the process's own thread or this one: until it is done. */
static void
checkpoint_all(struct ramet_session *session)
{
    while (!ramet_log_is_empty(session->replica)) {
        OK(ramet_session_checkpoint(session, true, e));
        usleep(1000);
    }
    /* ... with the files, too. */
    OK(ramet_lock(session, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE, 120000,
                  "", e));
    ramet_unlock(session, RAMET_LOCK_CHECKPOINT);
}

static void
commit_log_files(struct ramet_session *session, struct image *image,
                 unsigned count)
{
    uint64_t rng = 5;

    for (unsigned i = 0; i < count; i++) {
        store_random_bytes(&rng, image->bytes, image->size);
        OK(place_commit(session, image, e));
    }
}

static void
files__that_a_checkpoint_has_moved__go_on_as_those_to_come(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, LARGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct ramet_session *const keeper = place_open(p, RAMET_OPEN_CREATE);
    const struct ramet_index_header *const header =
        &session->replica->head->header;
    ino_t before[CLOSED];
    uint64_t first, next;
    unsigned found = 0;

    /* Nobody checkpoints while they are filled. */
    OK(ramet_lock(keeper, RAMET_LOCK_CHECKPOINT, RAMET_LOCK_EXCLUSIVE, 120000,
                  "", e));
    commit_log_files(session, image, CLOSED);
    first = atomic_load(&header->checkpoint.oldest);
    for (unsigned i = 0; i < CLOSED; i++) {
        before[i] = inode_of(p, first + i);
        assert_int_not_equal(before[i], 0);
    }
    ramet_unlock(keeper, RAMET_LOCK_CHECKPOINT);
    checkpoint_all(session);
    next = ramet_pos_file(ramet_pos_load(&header->log.write_pos));
    for (uint64_t g = next; g < next + WAITING_MAX; g++)
        for (unsigned i = 0; i < CLOSED; i++)
            found += before[i] == inode_of(p, g);
    assert_int_equal(found, CLOSED);
    for (unsigned i = 0; i < CLOSED; i++)
        assert_int_equal(inode_of(p, first + i), 0);
    /* Their names last already, and what is written to them is found again. */
    assert_true(atomic_load(&header->all.named_log) >= next + CLOSED - 1);
    commit_log_files(session, image, 2);
    place_expect(keeper, image, __LINE__);
    ramet_session_close(keeper);
    ramet_session_close(session);
    image_unref(image);
}

static void
files__however_often_there_is_a_checkpoint__few_wait(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(2, LARGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    const struct ramet_index_header *const header =
        &session->replica->head->header;
    uint64_t next;

    for (unsigned i = 0; i < 3; i++) {
        commit_log_files(session, image, CLOSED);
        checkpoint_all(session);
        next = ramet_pos_file(ramet_pos_load(&header->log.write_pos));
        for (uint64_t g = next + WAITING_MAX; g < next + 16; g++)
            assert_int_equal(inode_of(p, g), 0);
    }
    ramet_session_close(session);
    image_unref(image);
}

static void
files_that_wait__all_have_closed_it__are_one_at_most(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(3, LARGE);
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);
    unsigned left = 0;
    uint64_t next;

    commit_log_files(session, image, CLOSED);
    checkpoint_all(session);
    next = ramet_pos_file(
        ramet_pos_load(&session->replica->head->header.log.write_pos));
    assert_int_not_equal(inode_of(p, next + 1), 0);
    commit_log_files(session, image, 1);
    ramet_session_close(session);
    for (uint64_t g = 1; g < next + 16; g++)
        left += inode_of(p, g) != 0;
    assert_in_range(left, 0, 1);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* Of folders: how many syncs there were, and whether they fail. */
static unsigned folder_syncs;
static bool folders_fail;

static int
sync_counting_folders(void *ctx, int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    if (!S_ISDIR(st.st_mode))
        return ramet_os_system()->sync(ctx, fd);
    folder_syncs++;
    return folders_fail ? -EIO : ramet_os_system()->sync(ctx, fd);
}

/* The file is there, and was made ahead of time, but its name may not last: who
 * commits into it sees to that. */
static void
file_made_ahead__name_was_not_synced__is_synced_with_its_first_record(
    void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(4, 3 * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *session;
    uint64_t next;

    os.sync = sync_counting_folders;
    session = place_open_on(p, RAMET_OPEN_CREATE, &os);
    OK(place_commit(session, image, e));
    OK(ramet_session_checkpoint(session, true, e));
    image->bytes[0] ^= 1;
    OK(place_commit(session, image, e));
    folders_fail = true;
    OK(ramet_session_checkpoint(session, true, e));
    folders_fail = false;
    next = ramet_pos_file(
        ramet_pos_load(&session->replica->head->header.log.write_pos));
    assert_int_not_equal(inode_of(p, next), 0);
    folder_syncs = 0;
    image->bytes[0] ^= 1;
    OK(place_commit(session, image, e));
    assert_int_not_equal(folder_syncs, 0);
    ramet_session_close(session);
    image_unref(image);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(files__that_a_checkpoint_has_moved__go_on_as_those_to_come),
        T(files__however_often_there_is_a_checkpoint__few_wait),
        T(files_that_wait__all_have_closed_it__are_one_at_most),
        T(file_made_ahead__name_was_not_synced__is_synced_with_its_first_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
