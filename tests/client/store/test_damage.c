/*
 * test_damage.c - bits that flip in the files of a replica.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "tests/client/store/store_place.h"

#include "tests/support/cmocka_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMITS 5u /* each of one page, the first ones of the file; synced */

/* A replica that was left in the midst: a log, fetched pages, pages in the base. */
static struct image *
leave_unclean(struct place *p)
{
    const struct ramet_replica_options options = {.kind = RAMET_KIND_BLOB};
    struct image *const first = place_image(5, 20 * PLACE_PAGE);
    struct image *image = image_copy(first);
    struct ramet_remote_point point;
    pid_t pid;

    remote_add(&p->remote, first);
    point = remote_point(&p->remote, 1);
    OK(ramet_replica_create_clone(p->path, &options, STORE_REMOTE_URL,
                                  &store_volume, &point, NULL, e));
    memset(image->bytes, 7, COMMITS * PLACE_PAGE);
    pid = child_fork();
    if (pid == 0) {
        struct ramet_session *session = place_open_in_child(p);
        uint8_t buf[4 * PLACE_PAGE];
        size_t got;

        p->remote.brings_neighbours = false;
        child_require(ramet_session_pin(session, NULL) == RAMET_OK, "pin",
                      NULL);
        child_require(ramet_session_read(session, 6 * PLACE_PAGE, buf,
                                         sizeof(buf), &got, NULL) == RAMET_OK,
                      "read", NULL);
        ramet_session_unpin(session);
        child_require(ramet_session_checkpoint(session, true, NULL) == RAMET_OK,
                      "checkpoint", NULL);
        child_require(ramet_session_pin(session, NULL) == RAMET_OK, "pin",
                      NULL);
        child_require(ramet_session_read(session, 12 * PLACE_PAGE, buf,
                                         sizeof(buf), &got, NULL) == RAMET_OK,
                      "read", NULL);
        ramet_session_unpin(session);
        for (unsigned i = 0; i < COMMITS; i++) {
            memset(buf, 7, PLACE_PAGE);
            child_require(
                ramet_session_pin(session, NULL) == RAMET_OK &&
                    ramet_session_reserve(session, NULL) == RAMET_OK &&
                    ramet_session_write(session, i * PLACE_PAGE, buf,
                                        PLACE_PAGE, NULL) == RAMET_OK &&
                    ramet_session_prepare(session, NULL, NULL) == RAMET_OK &&
                    ramet_session_sync(session, NULL) == RAMET_OK,
                "commit", NULL);
            ramet_session_publish(session);
            ramet_session_release(session);
            ramet_session_unpin(session);
        }
        kill(getpid(), SIGKILL);
    }
    child_await_signal(pid, SIGKILL);
    return image;
}

static void
flip_bit(const char *path, uint64_t at, unsigned bit)
{
    const int fd = open(path, O_RDWR);
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= (uint8_t)(1u << bit);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* What can be opened and read is right; what can't says so, and counts in
 * `*errors`. Of the commits `kept` must be there; one after them may be lost,
 * since damage to the last record can't be told from a crash at it. */
static void
read_damaged(struct place *p, const struct image *image,
             const struct image *first, unsigned kept, const char *what,
             unsigned *errors)
{
    const struct ramet_replica_options options = {.flags = 0};
    struct ramet_err err = {.text = ""};
    struct ramet_session *session;
    uint8_t page[PLACE_PAGE];
    size_t got;

    if (ramet_session_open(p->path, &options, &session, &err) != RAMET_OK) {
        assert_true(err.text[0] != '\0');
        (*errors)++;
        return;
    }
    ramet_replica_set_fetcher(ramet_session_replica(session), remote_fetch,
                              &p->remote);
    OK(ramet_session_pin(session, e));
    assert_int_equal(ramet_session_size(session), image->size);
    for (uint64_t at = 0; at < image->size; at += PLACE_PAGE) {
        const uint64_t index = at / PLACE_PAGE;

        if (ramet_session_read(session, at, page, PLACE_PAGE, &got, &err) !=
            RAMET_OK) {
            assert_true(err.text[0] != '\0');
            (*errors)++;
            continue;
        }
        if (memcmp(page, image->bytes + at, PLACE_PAGE) == 0)
            continue;
        if (index < kept || index >= COMMITS ||
            memcmp(page, first->bytes + at, PLACE_PAGE) != 0)
            fail_msg("%s: page %u is wrong", what, (unsigned)index + 1);
    }
    ramet_session_unpin(session);
    ramet_session_close(session);
}

static void
damage_file(struct place *p, const struct image *image, const char *name,
            uint64_t limit, uint64_t step, unsigned kept)
{
    struct place copy = *p;
    char path[500];
    char command[1000];
    struct stat st;
    unsigned errors = 0;
    unsigned flips = 0;
    uint64_t rng = 9;

    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    assert_int_equal(stat(path, &st), 0);
    snprintf(copy.path, sizeof(copy.path), "%s/damaged.db", p->folder);
    for (uint64_t at = 0; at < (uint64_t)st.st_size && at < limit;
         at += 1 + store_below(&rng, step)) {
        place_copy(p, copy.path);
        snprintf(path, sizeof(path), "%s-ramet/%s", copy.path, name);
        flip_bit(path, at, (unsigned)store_below(&rng, 8));
        snprintf(command, sizeof(command), "%s, bit flipped in byte %llu", name,
                 (unsigned long long)at);
        read_damaged(&copy, image, p->remote.at[1], kept, command, &errors);
        flips++;
        snprintf(command, sizeof(command), "rm -rf '%s' '%s-ramet'", copy.path,
                 copy.path);
        assert_int_equal(system(command), 0);
    }
    printf("%s: %u flips, %u errors\n", name, flips, errors);
    assert_true(flips > 0);
}

/* The first file of the directory whose name begins like this. */
static void
find_file(const struct place *p, const char *prefix, char out[256])
{
    struct dirent **entries;
    const int count = scandir(p->dir, &entries, NULL, alphasort);

    assert_true(count > 0);
    out[0] = '\0';
    for (int i = 0; i < count; i++) {
        if (out[0] == '\0' &&
            !strncmp(entries[i]->d_name, prefix, strlen(prefix)))
            snprintf(out, 256, "%s", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (out[0] == '\0')
        fail_msg("there is no %s*", prefix);
}

static void
bit_flips__anywhere__error_or_right_data(void **state)
{
    struct place *const p = *state;
    struct image *const image = leave_unclean(p);
    char name[256];

    damage_file(p, image, "state", 4096, 12, COMMITS);
    find_file(p, "log-", name);
    damage_file(p, image, name, 24000, 900, COMMITS - 1);
    find_file(p, "fill-", name);
    damage_file(p, image, name, 20000, 900, COMMITS);
    damage_file(p, image, "index", 200000, 9000, COMMITS);
    image_unref(image);
}

/* ---- the middle of the log ------------------------------------------------ */

/* The first page becomes the image's; the record was written once before, with
 * other bytes, and synced. */
static void
commit_written_twice(struct ramet_session *session, const struct image *image)
{
    const uint8_t before[PLACE_PAGE] = {1};

    OK(ramet_session_pin(session, e));
    OK(ramet_session_reserve(session, e));
    for (unsigned i = 0; i < 2; i++) {
        OK(ramet_session_write(session, 0, i == 0 ? before : image->bytes,
                               PLACE_PAGE, e));
        OK(ramet_session_prepare(session, NULL, e));
        OK(ramet_session_sync(session, e));
    }
    ramet_session_publish(session);
    ramet_session_release(session);
    ramet_session_unpin(session);
}

/* Three synced commits, of which the second is of `pages`; and the third stands in
 * a file of its own, or behind the second. It dies. */
static void
leave_three_commits(struct place *p, uint32_t pages, bool apart)
{
    const pid_t child = child_fork();
    if (child == 0) {
        struct ramet_session *const reader = place_open(p, RAMET_OPEN_CREATE);
        struct ramet_session *const writer = place_open(p, 0);
        struct image *image = place_image(1, 2 * PLACE_PAGE);

        OK(ramet_session_pin(reader, e)); /* all stays in the log */
        OK(place_commit(writer, image, e));
        image_resize(image, pages * PLACE_PAGE);
        memset(image->bytes, 'b', image->size);
        OK(place_commit(writer, image, e));
        if (apart)
            OK(ramet_session_checkpoint(writer, true, e));
        memset(image->bytes, 'c', PLACE_PAGE);
        commit_written_twice(writer, image);
        _exit(0);
    }
    child_await(child);
}

/* The first page of these bytes in a file of the log. */
static void
spoil_page_of(const struct place *p, const char *name, uint8_t byte)
{
    uint8_t wanted[64];
    char path[500];
    struct image *file;
    const uint8_t *at;

    memset(wanted, byte, sizeof(wanted));
    snprintf(path, sizeof(path), "%s/%s", p->dir, name);
    file = store_read_plain(path, 512);
    at = memmem(file->bytes, file->size, wanted, sizeof(wanted));
    assert_non_null(at);
    flip_bit(path, (uint64_t)(at - file->bytes) + 9, 3);
    image_unref(file);
}

/* Synced commits are never left out in silence. */
static void
expect_damage_is_told(struct place *p, uint32_t pages, bool apart)
{
    struct ramet_err err = {.text = ""};
    char name[256];

    leave_three_commits(p, pages, apart);
    find_file(p, "log-", name);
    spoil_page_of(p, name, 'b');
    assert_int_equal(place_try_open(p->path, 0, &err), RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "damaged"));
}

static void
middle_of_the_log__damaged__is_noticed_by_the_next_file(void **state)
{
    expect_damage_is_told(*state, 2, true);
}

static void
middle_of_the_log__damaged__is_noticed_by_records_far_behind(void **state)
{
    expect_damage_is_told(*state, 100, false);
}

/* The trailer that proves it may lie across the edge of what is read at once: the
 * search reads 64 KiB at a time. */
static void
middle_of_the_log__damaged__is_noticed_wherever_the_proof_lies(void **state)
{
    for (uint32_t pages = 96; pages < 128; pages++) {
        struct place p = *(struct place *)*state;
        struct ramet_err err = {.text = ""};
        pid_t child;

        snprintf(p.path, sizeof(p.path), "%s/%u.db", p.folder, pages);
        snprintf(p.dir, sizeof(p.dir), "%s-ramet", p.path);
        child = child_fork();
        if (child == 0) {
            struct ramet_session *const session =
                place_open(&p, RAMET_OPEN_CREATE);
            struct image *const image =
                place_image(1, (uint64_t)pages * PLACE_PAGE);

            memset(image->bytes, 'b', image->size);
            OK(place_commit(session, image, e));
            image_resize(image, PLACE_PAGE);
            OK(place_commit(session, image, e));
            _exit(0);
        }
        child_await(child);
        spoil_page_of(&p, "log-0000000000000001", 'b');
        assert_int_equal(place_try_open(p.path, 0, &err), RAMET_ECORRUPT);
        assert_non_null(strstr(err.text, "damaged"));
    }
}

/* Commits of this byte, in a process that dies. */
static void
leave_commits(struct place *p, uint8_t byte, unsigned count, bool are_synced)
{
    const pid_t child = child_fork();

    if (child == 0) {
        struct ramet_session *const session = place_open(p, RAMET_OPEN_CREATE);
        struct image *const image = place_image(1, 2 * PLACE_PAGE);

        for (unsigned i = 0; i < count; i++) {
            memset(image->bytes, byte + (int)i, image->size);
            OK(ramet_session_pin(session, e));
            OK(ramet_session_reserve(session, e));
            OK(ramet_session_write(session, 0, image->bytes, image->size, e));
            OK(ramet_session_prepare(session, NULL, e));
            if (are_synced)
                OK(ramet_session_sync(session, e));
            ramet_session_publish(session);
            ramet_session_release(session);
            ramet_session_unpin(session);
        }
        _exit(0);
    }
    child_await(child);
}

/* Of a life each, of which neither knows what the other synced. */
static void
middle_of_the_log__damaged__is_noticed_by_the_record_after_a_crash(void **state)
{
    struct place *const p = *state;
    struct ramet_err err = {.text = ""};

    leave_commits(p, 'b', 1, true);
    leave_commits(p, 'c', 1, true);
    spoil_page_of(p, "log-0000000000000001", 'b');
    assert_int_equal(place_try_open(p->path, 0, &err), RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "damaged"));
}

/* Two more commits, unsynced; the power takes the first of them. */
static void
records_after_a_crash__the_first_is_lost__read_as_a_crash(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 2 * PLACE_PAGE);
    struct ramet_session *session;

    memset(image->bytes, 'b', image->size);
    leave_commits(p, 'b', 1, true);
    leave_commits(p, 'c', 2, false);
    spoil_page_of(p, "log-0000000000000002", 'c');
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* So it is where damage to the state's newest slot, with the power gone before it
 * had its copy, leads back to a file that was used again since. */
static void
first_of_the_log_files__missing__is_noticed_by_the_next(void **state)
{
    struct place *const p = *state;
    struct ramet_err err = {.text = ""};
    char path[500];

    leave_three_commits(p, 2, true);
    snprintf(path, sizeof(path), "%s/log-0000000000000001", p->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(place_try_open(p->path, 0, &err), RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "log 1 is damaged"));
}

/* The last record can't be told from one that the power took, or that its
 * transaction was about to write anew. */
static void
last_record__damaged_in_a_file_of_its_own__reads_as_a_crash(void **state)
{
    struct place *const p = *state;
    struct image *const image = place_image(1, 2 * PLACE_PAGE);
    struct ramet_session *session;

    leave_three_commits(p, 2, true);
    spoil_page_of(p, "log-0000000000000002", 'c');
    memset(image->bytes, 'b', image->size);
    session = place_open(p, 0);
    place_expect(session, image, __LINE__);
    ramet_session_close(session);
    image_unref(image);
}

/* `size` bytes of 0xff in the place of the index; from `kept` on, so that it
 * may look like one of ours. */
static void
spoil_index(const struct place *p, uint64_t kept, uint64_t size)
{
    uint8_t ones[4096];
    char path[500];
    int fd;

    memset(ones, 0xff, sizeof(ones));
    snprintf(path, sizeof(path), "%s-ramet/index", p->path);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    while (kept < size) {
        const uint64_t left = size - kept;
        const size_t step = left < sizeof(ones) ? (size_t)left : sizeof(ones);

        assert_int_equal(pwrite(fd, ones, step, (off_t)kept), step);
        kept += step;
    }
    close(fd);
}

static void
index__whose_processes_died__is_not_trusted(void **state)
{
    static const uint64_t sizes[] = {0,       1,       4096,   196607,
                                     196608,  196609,  262144, 327680,
                                     1048576, 2293760, 4390912};
    struct place *const p = *state;
    struct image *const image = leave_unclean(p);
    struct image *const next = place_image(11, 30 * PLACE_PAGE);
    struct place copy = *p;
    char command[1000];

    snprintf(copy.path, sizeof(copy.path), "%s/spoilt.db", p->folder);
    snprintf(command, sizeof(command), "rm -rf '%s' '%s-ramet'", copy.path,
             copy.path);
    for (unsigned i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct ramet_session *session;

        place_copy(p, copy.path);
        spoil_index(&copy, i % 2 * 64, sizes[i / 2]);
        session = place_open(&copy, 0);
        place_expect(session, image, __LINE__);
        OK(place_commit(session, next, e));
        place_expect(session, next, __LINE__);
        ramet_session_close(session);
        assert_int_equal(system(command), 0);
    }
    image_unref(image);
    image_unref(next);
}

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        TEST(bit_flips__anywhere__error_or_right_data),
        TEST(middle_of_the_log__damaged__is_noticed_by_the_next_file),
        TEST(middle_of_the_log__damaged__is_noticed_by_records_far_behind),
        TEST(middle_of_the_log__damaged__is_noticed_wherever_the_proof_lies),
        TEST(
            middle_of_the_log__damaged__is_noticed_by_the_record_after_a_crash),
        TEST(records_after_a_crash__the_first_is_lost__read_as_a_crash),
        TEST(first_of_the_log_files__missing__is_noticed_by_the_next),
        TEST(last_record__damaged_in_a_file_of_its_own__reads_as_a_crash),
        TEST(index__whose_processes_died__is_not_trusted),
    };

    cmocka_set_test_filter(getenv("RAMET_TEST_ONLY"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
