/*
 * test_retained_deaths.c - whoever passes readers, or writes beside them, dies.
 */
#define _GNU_SOURCE
#include "tests/client/store/long_readers.h"
#include "tests/client/store/store_mortal.h"

#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "client/store/shared/locks.h"
#include "core/os.h"

/* ---- whoever passes dies ------------------------------------------------ */

/* In a child: a checkpoint that is cut off. Status 1: it was not. */
static bool
checkpoint_cut_off(struct place *p, long moments)
{
    pid_t child;

    child = child_fork();
    if (child == 0) {
        struct ramet_session *const session =
            place_open_on(p, 0, store_mortal_os());

        store_dies_after(moments);
        child_require(ramet_session_checkpoint(session, true, NULL) == RAMET_OK,
                      "checkpoint", NULL);
        _exit(1);
    }
    return child_status(child) == 0;
}

static void
expect_all(const struct long_reader *readers, unsigned count, int line)
{
    for (unsigned i = 0; i < count; i++)
        store_expect(readers[i].session, readers[i].seen, line);
}

/* Readers are to be passed by a process that dies after `changes`, then by
 * another, while the file goes on; false: the first did not die. */
static bool
play_dying(struct place *p, long changes)
{
    static const unsigned pages[] = {24, 10, 30, 20, 28, 16, 18};
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct image *const image = place_image(7, 20 * PLACE_PAGE);
    struct long_reader readers[3];
    uint64_t rng = 7 + (uint64_t)changes;
    bool died;

    long_commit_log_file(writer, image);
    for (unsigned i = 0; i < LOG_FILES; i++) {
        if (i < 2)
            readers[i] = long_pin_newest(p, image);
        image_resize(image, (uint64_t)pages[i] * PLACE_PAGE);
        long_change_pages(image, &rng, 4);
        if (i < LOG_FILES - 2)
            long_commit_log_file(writer, image);
        else
            OK(place_commit(writer, image, e));
    }
    died = checkpoint_cut_off(p, changes);
    expect_all(readers, 2, __LINE__);
    readers[2] = long_pin_newest(p, image);
    image_resize(image, 22 * PLACE_PAGE);
    long_change_pages(image, &rng, 4);
    if (changes % 2 == 0)
        long_end_reader(&readers[0]);
    long_commit_log_files(writer, image, &rng, 2);
    expect_all(readers + (changes % 2 == 0), 3 - (changes % 2 == 0), __LINE__);
    place_expect(writer, image, __LINE__);
    for (unsigned i = changes % 2 == 0; i < 3; i++)
        long_end_reader(&readers[i]);
    ramet_session_close(writer);
    assert_int_equal(long_usage_of(p, "past-").files, 0);
    image_unref(image);
    return died;
}

static void
checkpoint__that_passes_readers__may_die_anywhere(void **state)
{
    struct place *const p = *state;
    long changes = 0;
    bool died = true;

    for (; died; changes++) {
        died = play_dying(p, changes);
        OK(ramet_replica_delete(NULL, p->path, e));
    }
    assert_true(changes > 40);
}

/* A process that has a reader, passes it, and dies: what was kept for that one no
 * other has open. */
static void
leave_retained_versions(struct place *p, const struct image *before)
{
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_session *const writer = place_open_in_child(p);
        struct image *const image = image_copy(before);
        uint64_t rng = 5;

        (void)long_pin_newest(p, image);
        long_commit_log_files(writer, image, &rng, 20);
        long_change_pages(image, &rng, 8);
        OK(place_commit(writer, image, e));
        _exit(0);
    }
    assert_int_equal(child_status(child), 0);
    assert_true(long_usage_of(p, "past-").files > 0);
}

/* Until what is returned is closed. */
static int
hold_off_checkpoints(const struct place *p)
{
    const struct ramet_os *const os = ramet_os_system();
    char path[300];
    int fd;

    snprintf(path, sizeof(path), "%s/lock", p->dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    while (os->lock(os->ctx, fd, RAMET_LOCK_CHECKPOINT, 1,
                    RAMET_LOCK_EXCLUSIVE) != 0)
        usleep(1000); /* the maintenance thread may be at one */
    return fd;
}

/* A new first page, in a log file of its own; a checkpoint only closes that now. */
static void
commit_first_page(struct ramet_session *session, struct image *image,
                  uint64_t *rng)
{
    store_random_bytes(rng, image->bytes, PLACE_PAGE);
    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    OK(ramet_session_write(session, 0, image->bytes, PLACE_PAGE, e));
    OK(ramet_session_prepare(session, NULL, e));
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
    OK(ramet_session_checkpoint(session, true, e));
}

/* That goes by a process that dies, too; then the first checkpoint passes another
 * reader. False: that process did not die. */
static bool
play_dying_where_it_goes(struct place *p, long changes)
{
    struct ramet_session *const writer = place_open(p, RAMET_OPEN_CREATE);
    struct image *const image = place_image(5, 30 * PLACE_PAGE);
    struct long_reader reader;
    uint64_t rng = 6;
    bool died;
    int lock;

    long_commit_log_file(writer, image);
    leave_retained_versions(p, image);
    died = checkpoint_cut_off(p, changes);
    OK(place_commit(writer, image, e));
    reader = long_pin_newest(p, image);
    lock = hold_off_checkpoints(p);
    for (unsigned i = 0; i <= LOG_FILES; i++)
        commit_first_page(writer, image, &rng);
    close(lock);
    OK(ramet_session_checkpoint(writer, true, e));
    store_expect(reader.session, reader.seen, __LINE__);
    place_expect(writer, image, __LINE__);
    long_end_reader(&reader);
    ramet_session_close(writer);
    assert_int_equal(long_usage_of(p, "past-").files, 0);
    image_unref(image);
    return died;
}

static void
retained_versions__that_go__whoever_removes_them_may_die_anywhere(void **state)
{
    struct place *const p = *state;
    long changes = 0;
    bool died = true;

    for (; died; changes++) {
        died = play_dying_where_it_goes(p, changes);
        OK(ramet_replica_delete(NULL, p->path, e));
    }
    assert_true(changes > 15);
}

/* ---- processes that are killed ------------------------------------------ */

/* The file's n-th version: page 1 tells n, others change now and then. */
static struct image *
version_of(uint64_t n)
{
    const uint64_t pages = 4 + n * 7 % 23;
    struct image *const image = image_new(pages * PLACE_PAGE, PLACE_PAGE);

    for (uint64_t i = 0; i < pages; i++) {
        uint64_t seed = i << 32 | n / (1 + i % 5);

        store_random_bytes(&seed, image->bytes + i * PLACE_PAGE, PLACE_PAGE);
    }
    memcpy(image->bytes, &n, sizeof(n));
    return image;
}

static uint64_t
read_version(struct ramet_session *session)
{
    uint64_t n = 0;
    size_t got;

    OK(ramet_session_pin(session, e));
    OK(ramet_session_read(session, 0, &n, sizeof(n), &got, e));
    return n;
}

static pid_t
start_writer(struct place *p)
{
    pid_t pid;

    pid = child_fork();
    if (pid == 0) {
        struct ramet_session *const session = place_open_in_child(p);

        for (;;) {
            struct ramet_err err = {.text = ""};
            struct image *const next = version_of(read_version(session) + 1);

            ramet_session_unpin(session);
            child_require(place_commit(session, next, &err) == RAMET_OK,
                          "commit", &err);
            child_require(ramet_session_checkpoint(session, true, &err) ==
                              RAMET_OK,
                          "checkpoint", &err);
            image_unref(next);
        }
    }
    return pid;
}

static void
writer__killed_again_and_again__readers_see_what_was(void **state)
{
    struct place *const p = *state;
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
    struct image *const first = version_of(1);
    const double end = store_now() + store_seconds(4);
    struct long_reader readers[6];
    const unsigned count = sizeof(readers) / sizeof(readers[0]);
    uint64_t rng = store_seed("test_store_retained");
    uint64_t newest;
    unsigned kills = 0;

    OK(place_commit(session, first, e));
    for (unsigned i = 0; i < count; i++)
        readers[i] = long_pin_newest(p, first);
    for (; store_now() < end; kills++) {
        struct long_reader *const r = &readers[store_below(&rng, count)];
        const pid_t writer = start_writer(p);

        usleep((useconds_t)store_below(&rng, 30000));
        child_kill(writer);
        expect_all(readers, count, __LINE__);
        if (!store_chance(&rng, 30))
            continue;
        ramet_session_unpin(r->session);
        image_unref(r->seen);
        r->seen = version_of(read_version(r->session));
        store_expect(r->session, r->seen, __LINE__);
    }
    newest = read_version(session);
    ramet_session_unpin(session);
    printf("%u writers killed, %llu versions\n", kills,
           (unsigned long long)newest);
    for (unsigned i = 0; i < count; i++)
        long_end_reader(&readers[i]);
    ramet_session_close(session);
    assert_int_equal(long_usage_of(p, "past-").files, 0);
    image_unref(first);
}

#define PLACE_TEST(f)                                                          \
    cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(checkpoint__that_passes_readers__may_die_anywhere),
        PLACE_TEST(
            retained_versions__that_go__whoever_removes_them_may_die_anywhere),
        PLACE_TEST(writer__killed_again_and_again__readers_see_what_was),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
