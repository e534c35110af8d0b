/*
 * test_bases.c - deltas to a remote that is asked by requests: made with the base
 * images that a replica keeps, whatever becomes of those.
 *
 * Pages are of random bytes: an image takes most of a page, a delta some bytes.
 */
#define _GNU_SOURCE
#include "client/store/exchange.h"
#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/sync/bases_step.h"
#include "client/sync/bases_table.h"
#include "client/sync/finder.h"
#include "client/sync/recent_bases.h"
#include "tests/client/sync/world.h"
#include "tests/support/faultstore.h"

enum { PAGE = 4096, PAGES = 60, SIZE = PAGES * PAGE };
/* Bytes of a commit without any image, at most; and of one with one, at least. */
enum { SMALL = 1500, IMAGE = 3000 };

static uint8_t bytes[SIZE];
static uint64_t lsn;

static void
change_at(struct ramet_file *file, uint32_t page, uint64_t place, uint64_t seed)
{
    const size_t at = (size_t)page * PAGE + place * 37 % (PAGE - 20);

    world_fill(bytes + at, 20, seed + 100);
    world_write(file, at, bytes + at, 20);
}

static void
change(struct ramet_file *file, uint32_t page, uint64_t seed)
{
    change_at(file, page, seed, seed);
}

/* So much that its base is packed alone, and stays: the way back to it is more than half
 * of the page, and the delta less than three quarters. */
static void
change_much(struct ramet_file *file, uint32_t page, uint64_t seed)
{
    enum { LARGE = 2500 };
    uint8_t *const at = bytes + (size_t)page * PAGE;

    world_fill(at, LARGE, seed);
    world_write(file, (uint64_t)page * PAGE, at, LARGE);
}

static struct ramet_file *
make_volume(struct world *world)
{
    struct ramet_file *const file = world_open(world, 0, "a");

    ramet_remote_client_store(world->clients[0])->traits |=
        RAMET_STORE_CHECKS_COMMITS;
    world_fill(bytes, SIZE, 1);
    world_write(file, 0, bytes, SIZE);
    OK(ramet_file_push(file, NULL, e));
    lsn = 1;
    return file;
}

/* Push, and say how many bytes that wrote. */
static uint64_t
push(struct world *world, struct ramet_file *file)
{
    ramet_faultstore_reset_counts(world->faults[0]);
    OK(ramet_file_push(file, NULL, e));
    lsn++;
    return ramet_faultstore_counts(world->faults[0]).bytes_written;
}

static struct ramet_file *
reopen(struct world *world, struct ramet_file *file)
{
    ramet_file_close(file);
    return world_open(world, 0, "a");
}

static void
push__of_a_small_change_is_small_and_one_request(void **state)
{
    struct world *const world = *state;
    struct ramet_file *file = make_volume(world);

    for (uint64_t i = 0; i < 12; i++) {
        struct ramet_store_counts counts;

        change(file, 7, i);
        change(file, 8 + (uint32_t)i % 3, i);
        assert_in_range(push(world, file), 1, SMALL);
        counts = ramet_faultstore_counts(world->faults[0]);
        assert_int_equal(counts.puts, 1);
        if (i % 4 != 0) /* a process that was there before */
            assert_int_equal(counts.reads + counts.lists + counts.sizes, 0);
        world_expect_remote(world, lsn, bytes, SIZE);
        if (i % 4 == 3)
            file = reopen(world, file);
    }
    ramet_file_close(file);
}

static void
push__of_many_commits_knows_what_the_remote_has(void **state)
{
    struct world *const world = *state;
    struct ramet_file *file = make_volume(world);

    for (uint64_t i = 0; i < 10; i++) {
        for (uint64_t j = 0; j < 5; j++)
            change_at(file, 20, j, i * 5 + j);
        assert_in_range(push(world, file), 1, SMALL);
        world_expect_remote(world, lsn, bytes, SIZE);
    }
    ramet_file_close(file);
}

/* What a checkpoint took is not what the remote has: an image goes. */
static void
push__of_what_a_checkpoint_passed_sends_images(void **state)
{
    struct world *const world = *state;
    struct ramet_file *file = make_volume(world);

    change(file, 3, 1);
    OK(ramet_session_checkpoint(ramet_file_session(file), true, e));
    change(file, 3, 2);
    change(file, 4, 2);
    assert_in_range(push(world, file), IMAGE, PAGE + SMALL);
    world_expect_remote(world, lsn, bytes, SIZE);
    change(file, 3, 3); /* of which the next is a delta */
    assert_in_range(push(world, file), 1, SMALL);
    world_expect_remote(world, lsn, bytes, SIZE);
    ramet_file_close(file);
}

static void
push__after_a_pull_sends_images_of_what_others_changed(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_file *const b = world_clone(world, 1, "b", true);

    change(a, 1, 1);
    change(a, 2, 1);
    push(world, a);
    OK(ramet_file_pull(b, NULL, e));
    change(b, 1, 2);
    OK(ramet_file_push(b, NULL, e));
    lsn++;
    OK(ramet_file_pull(a, NULL, e));
    change(a, 1, 3);
    change(a, 2, 3);
    assert_in_range(push(world, a), IMAGE, PAGE + SMALL);
    world_expect_remote(world, lsn, bytes, SIZE);
    change(a, 1, 4);
    change(a, 2, 4);
    assert_in_range(push(world, a), 1, SMALL);
    world_expect_remote(world, lsn, bytes, SIZE);
    ramet_file_close(a);
    ramet_file_close(b);
}

/* A base that is packed alone stays, whatever its page becomes: until somebody else
 * sends an image. */
static void
bases__that_others_replaced_are_forgotten(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_file *const b = world_clone(world, 1, "b", true);

    for (uint64_t i = 0; i < 3; i++) {
        change_much(a, 12, 40 + i);
        assert_in_range(push(world, a), SMALL / 4, IMAGE);
        OK(ramet_file_pull(b, NULL, e));
        if (i == 1) {
            world_fill(bytes + 12 * PAGE + 2000, 900, 50);
            world_write(b, 12 * PAGE + 2000, bytes + 12 * PAGE + 2000, 900);
            OK(ramet_file_push(b, NULL, e));
            lsn++;
            OK(ramet_file_pull(a, NULL, e));
            change(a, 12, 51);
            push(world, a);
            OK(ramet_file_pull(b, NULL, e));
        }
        world_expect_remote(world, lsn, bytes, SIZE);
    }
    ramet_file_close(a);
    ramet_file_close(b);
}

/* A page as it was before others changed it is no small delta: its base is theirs. */
static void
bases__that_others_replaced_are_not_taken_back(void **state)
{
    enum { AT = 12 * PAGE, THEIRS = PAGE / 2 };
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_file *const b = world_clone(world, 1, "b", true);
    uint8_t before[PAGE];

    change_much(a, 12, 1);
    push(world, a);
    memcpy(before, bytes + AT, PAGE);
    for (uint64_t i = 0; i < 3; i++) {
        OK(ramet_file_pull(b, NULL, e));
        world_fill(bytes + AT + THEIRS, THEIRS, 60 + i);
        world_write(b, AT + THEIRS, bytes + AT + THEIRS, THEIRS);
        OK(ramet_file_push(b, NULL, e));
        lsn++;
        OK(ramet_file_pull(a, NULL, e));
        memcpy(bytes + AT, before, PAGE);
        world_write(a, AT, bytes + AT, PAGE);
        push(world, a);
        world_expect_remote(world, lsn, bytes, SIZE);
    }
    ramet_file_close(a);
    ramet_file_close(b);
}

/* What was cut off, and is there again, has no base: not even with the content that
 * it had. */
static void
bases__of_what_was_cut_off_are_forgotten(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const file = make_volume(world);
    const size_t kept = SIZE - 5 * PAGE;
    uint8_t before[5 * PAGE];

    for (uint32_t page = PAGES - 5; page < PAGES; page++)
        change_much(file, page, page);
    memcpy(before, bytes + kept, sizeof(before));
    push(world, file);
    world_truncate(file, kept);
    push(world, file);
    world_expect_remote(world, lsn, bytes, kept);
    memset(bytes + kept, 0, SIZE - kept);
    world_truncate(file, SIZE);
    push(world, file);
    for (uint64_t i = 2; i < 5; i++) {
        change(file, PAGES - 2, i);
        change(file, PAGES - 3, i);
        push(world, file);
        world_expect_remote(world, lsn, bytes, SIZE);
    }
    memcpy(bytes + kept, before, sizeof(before));
    world_write(file, kept, before, sizeof(before));
    push(world, file);
    world_expect_remote(world, lsn, bytes, SIZE);
    ramet_file_close(file);
}

/* What was sent and did not land is no base. */
static void
bases__of_a_commit_that_did_not_land_are_not_used(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const a = make_volume(world);
    struct ramet_file *const b = world_clone(world, 1, "b", true);
    uint8_t before[SIZE];
    struct ramet_err err;

    change(a, 5, 1);
    push(world, a);
    OK(ramet_file_pull(b, NULL, e));
    memcpy(before, bytes, SIZE);
    change(a, 5, 2);
    change(a, 6, 2);
    memcpy(bytes, before, SIZE);
    change(b, 40, 9);
    OK(ramet_file_push(b, NULL, e));
    lsn++;
    assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EDIVERGED);
    OK(ramet_file_reset(a, true, NULL, 0, NULL, e));
    for (uint64_t i = 3; i < 6; i++) {
        change(a, 5, i);
        change(a, 6, i);
        push(world, a);
        world_expect_remote(world, lsn, bytes, SIZE);
    }
    ramet_file_close(a);
    ramet_file_close(b);
}

/* An answer that is lost: another process resolves, and notes nothing. */
static void
bases__are_right_after_an_answer_that_was_lost(void **state)
{
    struct world *const world = *state;
    struct ramet_file *a = make_volume(world);
    struct ramet_err err;

    for (uint64_t i = 0; i < 4; i++) {
        change(a, 5, 2 * i);
        ramet_faultstore_arm(world->faults[0], RAMET_FAULT_LOSE_REPLY, 0,
                             RAMET_OK);
        assert_int_equal(ramet_file_push(a, NULL, &err), RAMET_EUNKNOWN);
        a = reopen(world, a);
        change(a, 5, 2 * i + 1);
        OK(ramet_file_push(a, NULL, e));
        lsn += 2;
        world_expect_remote(world, lsn, bytes, SIZE);
    }
    ramet_file_close(a);
}

/* ---- the file ---------------------------------------------------------------- */

static const char *
bases_path(const struct world *world)
{
    static char path[300];

    snprintf(path, sizeof(path), "%s-ramet/bases", world_path(world, "a"));
    return path;
}

static uint64_t
bases_size(const struct world *world)
{
    struct stat st;

    assert_int_equal(stat(bases_path(world), &st), 0);
    return (uint64_t)st.st_size;
}

#define FLIPPED 0x10u

static void
flip(const struct world *world, uint64_t at)
{
    const int fd = open(bases_path(world), O_RDWR);
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= FLIPPED;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* In the first page that is packed in the file's last record: how much its first step
 * copies of the page that it is over. */
static uint64_t
last_packed(const struct world *world)
{
    const uint64_t size = bases_size(world);
    const int fd = open(bases_path(world), O_RDONLY);
    uint64_t at = RAMET_BASES_HEADER_SIZE, next = 0;
    struct ramet_bases_record record;

    assert_true(fd >= 0);
    while (next != size) {
        uint8_t head[RAMET_BASES_RECORD_SIZE];

        at = next > 0 ? next : at;
        assert_int_equal(pread(fd, head, sizeof(head), (off_t)at),
                         sizeof(head));
        ramet_bases_record_decode(head, &record);
        next = at + sizeof(head) + record.body_length + record.directory_length;
    }
    close(fd);
    assert_true(record.body_length >= 8);
    return at + RAMET_BASES_RECORD_SIZE + 2;
}

/* Damage in a packed page costs that page's image. A record that is not right ends what is
 * believed, and notes that are not right what is known of their chunk, which here are six pages. They are
 * sent once more, page 9 in the next push and the others one by one in five; then deltas
 * follow again. */
static void
bases__that_are_damaged_cost_bytes_and_no_page(void **state)
{
    enum { EVERY = 8, ROUND = 5, PUSHES = 7 * EVERY };
    struct world *const world = *state;
    struct ramet_file *file = make_volume(world);
    unsigned images = 0;

    for (uint64_t i = 0; i < PUSHES; i++) {
        const unsigned since = i % EVERY;
        uint64_t written;

        if (since == 0) {
            ramet_file_close(file);
            if (i > 0)
                flip(world, i / EVERY % 2 == 0
                                ? last_packed(world)
                                : i * 2654435761u % bases_size(world));
            file = world_open(world, 0, "a");
        }
        change_at(file, 9, 1 + i % 3, i);
        change_at(file, 10 + (uint32_t)i % ROUND, 0, i);
        written = push(world, file);
        if (since >= ROUND)
            assert_in_range(written, 1, SMALL - 1);
        images += written > IMAGE;
        world_expect_remote(world, lsn, bytes, SIZE);
    }
    assert_true(images > 0);
    ramet_file_close(file);
}

static void
bases__that_are_cut_or_old_cost_bytes_and_no_page(void **state)
{
    struct world *const world = *state;
    struct ramet_file *file = make_volume(world);
    char old[300], command[1000];

    snprintf(old, sizeof(old), "%s", world_path(world, "old"));
    for (uint64_t i = 0; i < 25; i++) {
        ramet_file_close(file);
        if (i % 5 == 1) {
            snprintf(command, sizeof(command), "cp '%s' '%s'",
                     bases_path(world), old);
            assert_int_equal(system(command), 0);
        } else if (i % 5 == 3) {
            snprintf(command, sizeof(command), "cp '%s' '%s'", old,
                     bases_path(world));
            assert_int_equal(system(command), 0);
        } else if (i % 5 == 4) {
            assert_int_equal(
                truncate(bases_path(world),
                         (off_t)(i * 97 % (bases_size(world) + 1))),
                0);
        }
        file = world_open(world, 0, "a");
        change(file, 9, i);
        change(file, 10 + (uint32_t)i % 5, i);
        push(world, file);
        world_expect_remote(world, lsn, bytes, SIZE);
    }
    ramet_file_close(file);
}

static void
bases__keep_to_their_bound(void **state)
{
    enum { BOUND = 20 * PAGE };
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_file *file = make_volume(world);
    uint64_t written = 0;

    ramet_file_close(file);
    world_options(world, 0, &options);
    options.bases_limit_bytes = BOUND;
    OK(ramet_file_open(world_path(world, "a"), &options, &file, e));
    for (uint64_t i = 0; i < 120; i++) {
        change(file, (uint32_t)i * 7 % PAGES, i);
        change(file, 11, i); /* hot: it need not be evicted for good */
        written += push(world, file);
        assert_in_range(bases_size(world), 1, BOUND + 3 * PAGE);
    }
    world_expect_remote(world, lsn, bytes, SIZE);
    /* Half of all pages at most are images: they come round after 60. */
    assert_in_range(written, 1, 120 * (PAGE + SMALL));
    ramet_file_close(file);
}

static uint64_t
read_salt(struct world *world)
{
    uint8_t raw[RAMET_BASES_HEADER_SIZE];
    struct ramet_bases_header header;
    const int fd = open(bases_path(world), O_RDONLY);

    assert_int_equal(pread(fd, raw, sizeof(raw), 0), sizeof(raw));
    close(fd);
    assert_true(ramet_bases_header_decode(raw, &header));
    return header.salt;
}

/* What is known of 60 images takes more than the bound leaves, and each push adds
 * one. A file that is written anew has another salt. */
static void
bases__that_are_full_of_what_stays_are_not_written_anew_by_each_push(
    void **state)
{
    enum { BOUND = 900, PUSHES = 10 };
    static uint8_t grown[SIZE + PUSHES * PAGE];
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_file *file = make_volume(world);
    unsigned files = 0;

    ramet_file_close(file);
    memcpy(grown, bytes, SIZE);
    world_fill(grown + SIZE, sizeof(grown) - SIZE, 500);
    world_options(world, 0, &options);
    options.bases_limit_bytes = BOUND;
    OK(ramet_file_open(world_path(world, "a"), &options, &file, e));
    for (uint64_t at = SIZE; at < sizeof(grown); at += PAGE) {
        const uint64_t before = read_salt(world);

        world_write(file, at, grown + at, PAGE);
        push(world, file);
        files += read_salt(world) != before;
    }
    assert_in_range(files, 1, PUSHES / 2 + 1);
    world_expect_remote(world, lsn, grown, sizeof(grown));
    ramet_file_close(file);
}

static void
bases__without_room_send_images(void **state)
{
    struct world *const world = *state;
    struct ramet_file_options options;
    struct ramet_file *file = make_volume(world);

    ramet_file_close(file);
    world_options(world, 0, &options);
    options.bases_limit_bytes = 0;
    OK(ramet_file_open(world_path(world, "a"), &options, &file, e));
    for (uint64_t i = 0; i < 3; i++) {
        change(file, 3, i);
        assert_in_range(push(world, file), IMAGE, PAGE + SMALL);
    }
    world_expect_remote(world, lsn, bytes, SIZE);
    ramet_file_close(file);
}

/* Content that moves from one page to another is found there. */
static void
push__of_content_that_moved_names_the_page_that_had_it(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const file = make_volume(world);
    uint8_t page[PAGE];

    for (uint64_t i = 0; i < 4; i++) {
        /* 30 and 31 change places. */
        memcpy(page, bytes + 30 * PAGE, PAGE);
        memcpy(bytes + 30 * PAGE, bytes + 31 * PAGE, PAGE);
        memcpy(bytes + 31 * PAGE, page, PAGE);
        world_write(file, 30 * PAGE, bytes + 30 * PAGE, 2 * PAGE);
        change(file, 30, i);
        assert_in_range(push(world, file), 1, SMALL);
        world_expect_remote(world, lsn, bytes, SIZE);
    }
    ramet_file_close(file);
}

/* More changes than there are bases in memory at a time: what pages have from others that
 * come much later is found as well. */
static void
push__of_content_that_moved_far_names_the_page_that_had_it(void **state)
{
    enum { MANY = 4200, MOVED = 60, FAR = MANY - MOVED };
    const size_t size = (size_t)MANY * PAGE, moved = (size_t)MOVED * PAGE;
    struct world *const world = *state;
    struct ramet_file *file = world_open(world, 0, "a");
    uint8_t *const all = malloc(size), *const some = malloc(moved);

    assert_true(all != NULL && some != NULL);
    ramet_remote_client_store(world->clients[0])->traits |=
        RAMET_STORE_CHECKS_COMMITS;
    world_fill(all, size, 1);
    world_write(file, 0, all, size);
    OK(ramet_file_push(file, NULL, e));
    lsn = 1;
    file = reopen(world, file); /* all of it is in the file */
    for (size_t i = 0; i < MANY; i++)
        all[i * PAGE + 5] ^= 1;
    memcpy(some, all + 10 * PAGE, moved);
    memcpy(all + 10 * PAGE, all + (size_t)FAR * PAGE, moved);
    memcpy(all + (size_t)FAR * PAGE, some, moved);
    world_write(file, 0, all, size);
    /* Images of so many pages would be twice that. */
    assert_in_range(push(world, file), 1, (size_t)MOVED * IMAGE / 2);
    world_expect_remote(world, lsn, all, size);
    ramet_file_close(file);
    free(all);
    free(some);
}

/* ---- in memory --------------------------------------------------------------- */

static void
finder__finds_the_page_whose_content_moved(void **state)
{
    enum { COUNT = 50 };
    static const struct ramet_delta_shape no_cells;
    struct ramet_finder *finder;
    bool worse = false;
    uint8_t page[PAGE];

    (void)state;
    world_fill(bytes, SIZE, 7);
    assert_int_equal(ramet_finder_new(PAGE, COUNT, &finder, NULL), RAMET_OK);
    for (uint32_t i = 0; i < COUNT; i++)
        ramet_finder_add(finder, i, bytes + (size_t)i * PAGE, &no_cells);
    for (uint32_t i = 0; i < COUNT; i++) { /* a half of it, elsewhere */
        world_fill(page, PAGE, 1000 + i);
        memcpy(page + 100 + i, bytes + (size_t)i * PAGE + 1500, PAGE / 2);
        assert_int_equal(ramet_finder_ask(finder, page, &no_cells,
                                          RAMET_FINDER_NONE, &worse),
                         i);
        assert_int_equal(ramet_finder_ask(finder, page, &no_cells, i, &worse),
                         RAMET_FINDER_NONE);
    }
    world_fill(page, PAGE, 2000);
    assert_int_equal(ramet_finder_ask(finder, page, &no_cells, 0, &worse),
                     RAMET_FINDER_NONE);
    memset(page, 0, PAGE); /* free space is in every page */
    ramet_finder_add(finder, 3, page, &no_cells);
    assert_int_equal(ramet_finder_ask(finder, page, &no_cells, 0, &worse),
                     RAMET_FINDER_NONE);
    ramet_finder_clear(finder);
    assert_int_equal(
        ramet_finder_ask(finder, bytes, &no_cells, RAMET_FINDER_NONE, &worse),
        RAMET_FINDER_NONE);
    ramet_finder_free(finder);
}

static void
finder__tells_whether_the_own_page_has_far_less(void **state)
{
    static const struct ramet_delta_shape no_cells;
    struct ramet_finder *finder;
    uint8_t page[PAGE];
    bool worse = false;

    (void)state;
    world_fill(bytes, (size_t)2 * PAGE, 8);
    assert_int_equal(ramet_finder_new(PAGE, 2, &finder, NULL), RAMET_OK);
    ramet_finder_add(finder, 1, bytes, &no_cells);
    ramet_finder_add(finder, 2, bytes + PAGE, &no_cells);
    memcpy(page, bytes, PAGE); /* an eighth of the other */
    memcpy(page, bytes + PAGE, PAGE / 8);
    assert_int_equal(ramet_finder_ask(finder, page, &no_cells, 1, &worse), 2);
    assert_false(worse);
    assert_int_equal(ramet_finder_ask(finder, page, &no_cells, 2, &worse), 1);
    assert_true(worse);
    ramet_finder_free(finder);
}

static void
recent_bases__are_those_that_were_put_last(void **state)
{
    const uint32_t places = RAMET_RECENT_BASES_BYTES / PAGE;
    struct ramet_recent_bases *recent = NULL;
    const uint8_t *image;

    (void)state;
    world_fill(bytes, SIZE, 8);
    assert_null(ramet_recent_bases_get(recent, 5, PAGE));
    ramet_recent_bases_put(&recent, 5, bytes, PAGE);
    ramet_recent_bases_put(&recent, 6, bytes + PAGE, PAGE);
    image = ramet_recent_bases_get(recent, 5, PAGE);
    assert_memory_equal(image, bytes, PAGE);
    assert_null(ramet_recent_bases_get(recent, 5, 2 * PAGE));
    ramet_recent_bases_put(&recent, 5, image, PAGE); /* itself */
    assert_memory_equal(ramet_recent_bases_get(recent, 5, PAGE), bytes, PAGE);
    ramet_recent_bases_put(&recent, 5 + places, bytes + 2 * PAGE, PAGE);
    assert_null(ramet_recent_bases_get(recent, 5, PAGE));
    assert_memory_equal(ramet_recent_bases_get(recent, 6, PAGE), bytes + PAGE,
                        PAGE);
    ramet_recent_bases_put(&recent, 7, bytes, 512); /* another page size */
    assert_null(ramet_recent_bases_get(recent, 6, PAGE));
    assert_memory_equal(ramet_recent_bases_get(recent, 7, 512), bytes, 512);
    ramet_recent_bases_free(recent);
}

/* ---- bytes ------------------------------------------------------------------- */

/* docs/replica.md, "bases". */
static void
notes__are_as_documented(void **state)
{
    static const uint8_t expected[] = {
        0x01, 0x01, 0x01,                         /* images */
        8,    7,    6,    5,    4, 3, 2, 1,       /* ... */
        8,    7,    6,    5,    4, 3, 2, 0,       /* ... */
        0x00, 0x02, 0x32,                         /* delta */
        0x05, 0x03, 8,    7,    6, 5, 4, 3, 2, 1, /* packed */
        0xac, 0x02, 0x02, 0x64,                   /* ... */
        0x00, 0x00, 0x04,                         /* forget */
    };
    static const struct ramet_base_note notes[] = {
        {.kind = RAMET_BASE_NOTE_IMAGE,
         .pgno = 2,
         .count = 2,
         .sums = expected + 3},
        {.kind = RAMET_BASE_NOTE_DELTA,
         .pgno = 4,
         .count = 1,
         .deltas = 1,
         .delta_bytes = 50},
        {.kind = RAMET_BASE_NOTE_PACKED,
         .pgno = 10,
         .count = 1,
         .sum = UINT64_C(0x0102030405060708),
         .length = 300,
         .deltas = 2,
         .delta_bytes = 100},
        {.kind = RAMET_BASE_NOTE_FORGET, .pgno = 11, .count = 5},
    };
    struct ramet_base_note note;
    struct ramet_reader in;
    struct ramet_buf out;
    uint32_t last = 0;

    (void)state;
    ramet_buf_init(&out, 1000);
    for (size_t i = 0; i < 4; i++)
        ramet_bases_note_encode(&notes[i], &last, &out);
    assert_int_equal(out.len, sizeof(expected));
    assert_memory_equal(out.data, expected, sizeof(expected));
    ramet_reader_init(&in, out.data, out.len);
    last = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_true(ramet_bases_note_decode(&in, 0, &last, &note));
        assert_int_equal(note.pgno, notes[i].pgno);
        assert_int_equal(note.count, notes[i].count);
        assert_int_equal(note.length, notes[i].length);
        assert_int_equal(note.delta_bytes, notes[i].delta_bytes);
    }
    assert_false(ramet_bases_note_decode(&in, 0, &last, &note));
    assert_false(in.bad);
    ramet_buf_done(&out);
}

/* docs/replica.md, "bases". */
static void
sections__are_as_documented(void **state)
{
    static const uint8_t expected[] = {
        0x00, 0x26, 0xac, 0x02, 8, 7,
        6,    5,    4,    3,    2, 1, /* notes, a packed page */
        0x02, 0x00,                   /* nothing known */
    };
    static const struct ramet_bases_section sections[] = {
        {.chunk = 0,
         .notes_length = 38,
         .packed_length = 300,
         .sum = UINT64_C(0x0102030405060708)},
        {.chunk = 3},
    };
    struct ramet_bases_section section;
    struct ramet_reader in;
    struct ramet_buf out;
    uint32_t next = 0;

    (void)state;
    ramet_buf_init(&out, 1000);
    for (size_t i = 0; i < 2; i++)
        ramet_bases_section_encode(&sections[i], &next, &out);
    assert_int_equal(out.len, sizeof(expected));
    assert_memory_equal(out.data, expected, sizeof(expected));
    ramet_reader_init(&in, out.data, out.len);
    next = 0;
    for (size_t i = 0; i < 2; i++) {
        assert_true(ramet_bases_section_decode(&in, &next, &section));
        assert_memory_equal(&section, &sections[i], sizeof(section));
    }
    assert_false(ramet_bases_section_decode(&in, &next, &section));
    assert_false(in.bad);
    ramet_buf_done(&out);
}

/* What is noted of pages above those that nothing is known of is not written. */
static void
notes__of_pages_too_far_are_left_out(void **state)
{
    struct ramet_bases_step step;
    struct ramet_base_note note = {.kind = RAMET_BASE_NOTE_IMAGE,
                                   .pgno = RAMET_BASES_PAGES_MAX,
                                   .count = 1};
    const int fd = memfd_create("step", 0);

    (void)state;
    assert_in_range(fd, 0, 1 << 20);
    ramet_bases_step_init(&step);
    ramet_bases_step_begin(&step, ramet_os_system(), fd, 72);
    ramet_bases_step_note(&step, &note);
    note.pgno++;
    ramet_bases_step_note(&step, &note);
    note = (struct ramet_base_note){.kind = RAMET_BASE_NOTE_FORGET,
                                    .pgno = RAMET_BASES_PAGES_MAX + 2,
                                    .count = 5000000};
    ramet_bases_step_note(&step, &note);
    ramet_bases_step_end(&step);
    assert_true(step.is_on);
    /* Gap (varint of 511), kind, count, sum. */
    assert_int_equal(step.body_length, 2 + 1 + 1 + 8);
    ramet_bases_step_done(&step);
    close(fd);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(push__of_a_small_change_is_small_and_one_request),
        T(push__of_many_commits_knows_what_the_remote_has),
        T(push__of_what_a_checkpoint_passed_sends_images),
        T(push__after_a_pull_sends_images_of_what_others_changed),
        T(bases__that_others_replaced_are_forgotten),
        T(bases__that_others_replaced_are_not_taken_back),
        T(bases__of_what_was_cut_off_are_forgotten),
        T(bases__of_a_commit_that_did_not_land_are_not_used),
        T(bases__are_right_after_an_answer_that_was_lost),
        T(bases__that_are_damaged_cost_bytes_and_no_page),
        T(bases__that_are_cut_or_old_cost_bytes_and_no_page),
        T(bases__keep_to_their_bound),
        T(bases__that_are_full_of_what_stays_are_not_written_anew_by_each_push),
        T(bases__without_room_send_images),
        T(push__of_content_that_moved_names_the_page_that_had_it),
        T(push__of_content_that_moved_far_names_the_page_that_had_it),
        cmocka_unit_test(finder__finds_the_page_whose_content_moved),
        cmocka_unit_test(finder__tells_whether_the_own_page_has_far_less),
        cmocka_unit_test(recent_bases__are_those_that_were_put_last),
        cmocka_unit_test(notes__are_as_documented),
        cmocka_unit_test(sections__are_as_documented),
        cmocka_unit_test(notes__of_pages_too_far_are_left_out),
    };

    return cmocka_run_group_tests_name("bases", tests, NULL, NULL);
}
