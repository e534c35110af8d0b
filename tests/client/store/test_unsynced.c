/*
 * test_unsynced.c - words of presence that a clean close leaves to the state: the
 * power takes the file's, and nothing is missed.
 */
#define _GNU_SOURCE
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/store/exchange.h"
#include "client/store/format/state.h"
#include "client/store/format/unsynced.h"
#include "client/store/replicas.h"

#define PAGES 20u

/* ---- the set --------------------------------------------------------------- */

static void
unsynced__takes_final_words_in_order__as_many_as_fit(void **state)
{
    struct ramet_unsynced *const u = calloc(1, sizeof(*u));

    (void)state;
    assert_false(ramet_unsynced_put(u, 1, 0)); /* nobody knows, it is held, */
    assert_false(ramet_unsynced_put(u, 1, 1));
    assert_false(ramet_unsynced_put(u, 1, 3));          /* it is absent, */
    assert_false(ramet_unsynced_put(u, 1, UINT64_MAX)); /* it is damaged */
    for (uint32_t i = 0; i < RAMET_UNSYNCED_MAX; i++)
        assert_true(ramet_unsynced_put(u, 1 + i * 37 % 128, 4 + i));
    assert_false(ramet_unsynced_put(u, 129, 4));
    assert_true(ramet_unsynced_put(u, 128, 2)); /* in the old one's place */
    assert_int_equal(u->count, RAMET_UNSYNCED_MAX);
    for (uint32_t i = 0; i < u->count; i++)
        assert_int_equal(u->pgnos[i], i + 1);
    assert_int_equal(u->values[127], 2);
    assert_int_equal(u->values[37], 5);
    ramet_unsynced_truncate(u, 50);
    assert_int_equal(u->count, 50);
    ramet_unsynced_truncate(u, 0);
    assert_int_equal(u->count, 0);
    free(u);
}

static void
unsynced__bytes__are_as_documented_and_nonsense_is_told(void **state)
{
    static const uint8_t bytes[] = {2, 0, 7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0,
                                    0, 9, 1, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0};
    struct ramet_unsynced *const u = calloc(1, sizeof(*u));
    struct ramet_reader in;
    struct ramet_buf out;
    uint8_t wrong[sizeof(bytes)];

    (void)state;
    ramet_reader_init(&in, bytes, sizeof(bytes));
    ramet_unsynced_decode(&in, u);
    assert_false(in.bad);
    assert_int_equal(ramet_reader_left(&in), 0);
    assert_int_equal(u->count, 2);
    assert_int_equal(u->pgnos[1], 0x109);
    assert_int_equal(u->values[1], UINT64_C(0x060504030201));
    ramet_buf_init(&out, 1000);
    ramet_unsynced_encode(u, &out);
    assert_int_equal(out.len, sizeof(bytes));
    assert_memory_equal(out.data, bytes, sizeof(bytes));
    ramet_buf_done(&out);
    for (size_t len = 0; len < sizeof(bytes); len++) {
        ramet_reader_init(&in, bytes, len);
        ramet_unsynced_decode(&in, u);
        assert_true(in.bad);
    }
    /* Too many; a page that is none, or comes again; words that are not final. */
    for (unsigned i = 0; i < 5; i++) {
        static const struct {
            uint8_t at, value;
        } changes[] = {{0, 129}, {2, 0}, {15, 0}, {6, 1}, {25, 1}};

        memcpy(wrong, bytes, sizeof(wrong));
        wrong[changes[i].at] = changes[i].value;
        if (i == 2)
            wrong[14] = 7;
        ramet_reader_init(&in, wrong, sizeof(wrong));
        ramet_unsynced_decode(&in, u);
        assert_true(in.bad);
    }
    free(u);
}

/* ---- in a replica ---------------------------------------------------------- */

struct bytes {
    uint8_t data[1u << 16];
    size_t size;
};

static void
name_presence(const struct place *p, char path[300])
{
    snprintf(path, 300, "%s/presence", p->dir);
}

static struct bytes *
save_presence(const struct place *p)
{
    struct bytes *const saved = calloc(1, sizeof(*saved));
    char path[300];
    ssize_t got;
    int fd;

    name_presence(p, path);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    got = pread(fd, saved->data, sizeof(saved->data), 0);
    assert_true(got >= 0 && (size_t)got < sizeof(saved->data));
    close(fd);
    saved->size = (size_t)got;
    return saved;
}

/* As it was then; and the base's times have changed, so that it is compared. */
static void
lose_presence(const struct place *p, struct bytes *saved)
{
    char path[300];
    int fd;

    name_presence(p, path);
    fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, saved->data, saved->size, 0),
                     (ssize_t)saved->size);
    close(fd);
    free(saved);
    place_await_tick(p);
    assert_int_equal(utimensat(AT_FDCWD, p->path, NULL, 0), 0);
}

static uint32_t
count_carried(const struct place *p)
{
    struct ramet_state_file *const state = calloc(1, sizeof(*state));
    const int fd = open(p->dir, O_RDONLY | O_DIRECTORY);
    uint32_t count;

    assert_true(fd >= 0);
    OK(ramet_state_file_read(ramet_os_system(), fd, state, e));
    count = state->unsynced.count;
    ramet_state_file_done(state);
    free(state);
    close(fd);
    return count;
}

static void
expect_whole(struct place *p, const struct image *image)
{
    struct ramet_session *const session = place_open(p, 0);
    uint64_t checked = 0;
    uint64_t bad = 0;

    place_expect(session, image, __LINE__);
    OK(ramet_session_verify(session, &checked, &bad, e));
    assert_int_equal(bad, 0);
    assert_int_equal(checked, image_pages(image));
    ramet_session_close(session);
}

static struct image *
make(struct place *p)
{
    struct image *const image = place_image(1, PAGES * PLACE_PAGE);
    struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, image, e));
    ramet_session_close(session);
    return image;
}

static void
change_page(struct image *image, uint32_t pgno)
{
    image->bytes[(pgno - 1) * PLACE_PAGE + 300] ^= 1;
}

static void
commit_alone(struct place *p, const struct image *image)
{
    struct ramet_session *const session = place_open(p, 0);

    OK(place_commit(session, image, e));
    ramet_session_close(session);
}

/* Some change, one grows, one shrinks the file; what one life left to the state
 * the next ones carry on. */
static void
words__lost_with_the_power__come_with_the_state(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p);

    for (unsigned life = 0; life < 6; life++) {
        struct bytes *const saved = save_presence(p);

        change_page(image, 1 + life * 3);
        if (life == 2)
            image_resize(image, (PAGES + 3) * PLACE_PAGE - 77);
        if (life == 4)
            image_resize(image, (PAGES - 1) * PLACE_PAGE);
        commit_alone(p, image);
        assert_true(count_carried(p) > life);
        lose_presence(p, saved);
        expect_whole(p, image);
    }
    image_unref(image);
}

/* ... of several lives, none of which synced the file. */
static void
words__of_several_lives__are_all_carried(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p);
    struct bytes *const saved = save_presence(p);

    for (unsigned life = 0; life < 6; life++) {
        change_page(image, 1 + life * 3);
        commit_alone(p, image);
    }
    lose_presence(p, saved);
    expect_whole(p, image);
    image_unref(image);
}

/* Whoever is killed after that left the log: the base is compared with words of
 * the state, but for pages of the log. */
static void
words__lost_under_a_killed_writer__come_with_the_state(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p);
    struct bytes *const saved = save_presence(p);
    pid_t child;

    change_page(image, 5);
    commit_alone(p, image);
    change_page(image, 5);
    change_page(image, 9);
    child = child_fork();
    if (child == 0) {
        struct ramet_session *const session = place_open_in_child(p);

        OK(place_commit(session, image, e));
        _exit(0);
    }
    child_await(child);
    lose_presence(p, saved);
    expect_whole(p, image);
    image_unref(image);
}

/* A checkpoint of somebody who stays syncs the file, and the state that it writes
 * carries none: what the one before carried is old, and must not come back. */
static void
checkpoint__over_carried_words__ends_them(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p);
    struct ramet_session *session;
    pid_t child;

    change_page(image, 5);
    commit_alone(p, image);
    assert_true(count_carried(p) > 0);
    change_page(image, 5);
    child = child_fork();
    if (child == 0) {
        session = place_open_in_child(p);
        OK(place_commit(session, image, e));
        OK(ramet_session_checkpoint(session, true, e));
        _exit(0);
    }
    child_await(child);
    assert_int_equal(count_carried(p), 0);
    expect_whole(p, image);
    image_unref(image);
}

static unsigned presence_syncs;
static unsigned word_writes; /* of page 5 */
static bool fails;
static bool is_full; /* the disk, for words */

static bool
is_presence(int fd)
{
    char link[64], name[300];
    ssize_t length;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    length = readlink(link, name, sizeof(name) - 1);
    name[length < 0 ? 0 : length] = '\0';
    return strstr(name, "/presence") != NULL;
}

static int
count_datasync(void *ctx, int fd)
{
    if (is_presence(fd)) {
        presence_syncs++;
        if (fails)
            return -EIO;
    }
    return ramet_os_system()->datasync(ctx, fd);
}

static ssize_t
count_pwritev(void *ctx, int fd, const struct iovec *iov, int iovcnt,
              uint64_t offset)
{
    if (is_presence(fd) && is_full)
        return -ENOSPC;
    if (is_presence(fd) && offset <= 32 && offset + iov->iov_len > 32)
        word_writes++;
    return ramet_os_system()->pwritev(ctx, fd, iov, iovcnt, offset);
}

static void
words__more_than_the_state_may_carry__are_synced(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 140 * PLACE_PAGE);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *session = place_open(p, RAMET_OPEN_CREATE);

    OK(place_commit(session, image, e));
    ramet_session_close(session);
    os.datasync = count_datasync;
    presence_syncs = 0;
    for (uint32_t pgno = 1; pgno <= 140; pgno += 10) {
        for (uint32_t i = pgno; i < pgno + 10; i++)
            change_page(image, i);
        session = place_open_on(p, 0, &os);
        OK(place_commit(session, image, e));
        ramet_session_close(session);
        assert_int_equal(presence_syncs, pgno < 121 ? 0 : 1);
    }
    expect_whole(p, image);
    image_unref(image);
}

/* A sync that failed may have lost what it was to make last, though the next one
 * succeeds. */
static void
words__whose_sync_failed__are_written_again(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *session;

    change_page(image, 5);
    commit_alone(p, image);
    os.datasync = count_datasync;
    os.pwritev = count_pwritev;
    session = place_open_on(p, 0, &os);
    change_page(image, PAGES);
    OK(place_commit(session, image, e));
    fails = true;
    assert_int_not_equal(ramet_session_checkpoint(session, true, NULL),
                         RAMET_OK);
    fails = false;
    assert_true(count_carried(p) > 0);
    word_writes = 0;
    OK(ramet_session_checkpoint(session, true, e));
    assert_int_equal(count_carried(p), 0);
    assert_int_equal(word_writes, 1);
    ramet_session_close(session);
    expect_whole(p, image);
    image_unref(image);
}

/* They find no room in the file: that keeps nobody from reading. */
static void
words__that_find_no_room__are_seen(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p);
    struct bytes *const saved = save_presence(p);
    struct ramet_os os = *ramet_os_system();
    struct ramet_session *session;

    change_page(image, 5);
    commit_alone(p, image);
    lose_presence(p, saved);
    os.pwritev = count_pwritev;
    is_full = true;
    session = place_open_on(p, 0, &os); /* the base is compared */
    place_expect(session, image, __LINE__);
    assert_true(count_carried(p) > 0);
    is_full = false;
    change_page(image, 6);
    OK(place_commit(session, image, e));
    OK(ramet_session_checkpoint(session, true, e));
    ramet_session_close(session);
    assert_int_equal(count_carried(p), 0);
    expect_whole(p, image);
    image_unref(image);
}

static int
read_as_nobody(const struct place *p, const struct image *image)
{
    const struct ramet_replica_options options = {.flags = RAMET_OPEN_READONLY};
    struct ramet_err err = {.text = ""};
    struct ramet_session *session;
    bool equal = false;

    if (geteuid() == 0 &&
        (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        return 77;
    child_require(ramet_session_open(p->path, &options, &session, &err) ==
                      RAMET_OK,
                  "open", &err);
    child_require(ramet_session_pin(session, &err) == RAMET_OK, "pin", &err);
    child_require(store_compare(session, image, &equal, &err) == RAMET_OK,
                  "read", &err);
    child_require(equal, "what was read", NULL);
    ramet_session_unpin(session);
    ramet_session_close(session);
    return 0;
}

static void
words__lost_with_the_power__are_seen_where_nothing_can_be_written(void **state)
{
    struct place *const p = *state;
    struct image *const image = make(p);
    struct bytes *const saved = save_presence(p);
    char command[1000];
    int status;
    pid_t child;

    change_page(image, 5);
    image_resize(image, (PAGES + 3) * PLACE_PAGE);
    change_page(image, PAGES + 2);
    commit_alone(p, image);
    lose_presence(p, saved);
    snprintf(command, sizeof(command),
             "chmod -R a+rX,go-w '%s' && chmod a-w '%s' '%s'", p->folder,
             p->folder, p->dir);
    assert_int_equal(system(command), 0);
    child = child_fork();
    if (child == 0)
        _exit(read_as_nobody(p, image));
    assert_int_equal(waitpid(child, &status, 0), child);
    snprintf(command, sizeof(command), "chmod -R u+w '%s'", p->folder);
    assert_int_equal(system(command), 0);
    image_unref(image);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsynced__takes_final_words_in_order__as_many_as_fit),
        cmocka_unit_test(
            unsynced__bytes__are_as_documented_and_nonsense_is_told),
        TEST(words__lost_with_the_power__come_with_the_state),
        TEST(words__of_several_lives__are_all_carried),
        TEST(words__lost_under_a_killed_writer__come_with_the_state),
        TEST(checkpoint__over_carried_words__ends_them),
        TEST(words__more_than_the_state_may_carry__are_synced),
        TEST(words__whose_sync_failed__are_written_again),
        TEST(words__that_find_no_room__are_seen),
        TEST(words__lost_with_the_power__are_seen_where_nothing_can_be_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
