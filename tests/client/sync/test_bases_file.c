/*
 * test_bases_file.c - what is believed of a file of bases: a line of records, each on
 * the one before, of one volume.
 */
#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/sync/bases_file.h"
#include "client/sync/replica_sync.h"
#include "client/volume/file_impl.h"
#include "tests/client/sync/world.h"

enum { PAGE = 4096, BYTES_MAX = 1 << 20 };

/* The file of bases of a replica, by nobody else's hands. */
struct fixture {
    struct ramet_file *owner;
    char path[300];
    struct ramet_vid volume;
    struct ramet_bases_file file;
};

static void
begin(struct fixture *f, struct world *world)
{
    f->owner = world_open(world, 0, "a");
    world_write(f->owner, 0, "x", 1);
    snprintf(f->path, sizeof(f->path), "%s-ramet/bases",
             world_path(world, "a"));
    memset(&f->volume, 7, sizeof(f->volume));
    ramet_bases_file_init(&f->file, ramet_os_system(),
                          f->owner->replica_sync->replica);
}

static void
end(struct fixture *f)
{
    ramet_bases_file_done(&f->file);
    ramet_file_close(f->owner);
}

/* As another process reads it. */
static void
load(struct fixture *f)
{
    struct ramet_replica *const replica = f->file.replica;

    ramet_bases_file_done(&f->file);
    ramet_bases_file_init(&f->file, ramet_os_system(), replica);
    assert_int_equal(
        ramet_bases_file_open(&f->file, &f->volume, PAGE, BYTES_MAX), RAMET_OK);
}

static struct ramet_point
point(uint64_t lsn, uint8_t which)
{
    struct ramet_point made = {.lsn = lsn};

    made.hash.bytes[0] = which;
    return made;
}

/* A record that page `pgno` is an image; the file's length after it. */
static uint64_t
note(struct fixture *f, uint32_t pgno, struct ramet_point to)
{
    const struct ramet_base_note image = {.kind = RAMET_BASE_NOTE_IMAGE,
                                          .pgno = pgno,
                                          .count = 1,
                                          .sum = pgno * 1001u};
    const struct ramet_point from = f->file.at;
    struct stat st;

    ramet_bases_file_begin(&f->file);
    ramet_bases_step_note(&f->file.step, &image);
    assert_int_equal(ramet_bases_file_end(&f->file, &from, &to, UINT32_MAX),
                     RAMET_OK);
    assert_int_equal(stat(f->path, &st), 0);
    return (uint64_t)st.st_size;
}

static bool
knows(struct fixture *f, uint32_t pgno)
{
    uint64_t sum;

    ramet_bases_file_need(&f->file, pgno);
    return ramet_base_table_image(&f->file.table, pgno, &sum) &&
           ramet_base_sum_is(pgno * 1001u, sum);
}

static void
bases__of_another_volume_are_none(void **state)
{
    struct fixture f;

    begin(&f, *state);
    load(&f);
    note(&f, 1, point(1, 1));
    load(&f);
    assert_true(f.file.at.lsn == 1 && knows(&f, 1));
    f.volume.id.bytes[5] ^= 1;
    load(&f);
    assert_true(f.file.at.lsn == 0 && !knows(&f, 1));
    f.volume.id.bytes[5] ^= 1;
    load(&f);
    assert_true(f.file.at.lsn == 0 && !knows(&f, 1));
    end(&f);
}

/* A record that stood behind one that was given up comes back with a power cut: it is
 * whole, at its place and of this file, but on another commit. */
static void
bases__of_a_record_on_another_commit_are_none(void **state)
{
    struct fixture f;
    uint8_t late[200];
    uint64_t first, second, third;
    int fd;

    begin(&f, *state);
    load(&f);
    first = note(&f, 1, point(1, 1));
    second = note(&f, 2, point(2, 2));
    third = note(&f, 3, point(3, 3));
    fd = open(f.path, O_RDWR);
    assert_in_range(fd, 0, 1 << 20);
    assert_in_range(third - second, 1, sizeof(late));
    assert_int_equal(pread(fd, late, third - second, (off_t)second),
                     third - second);
    assert_int_equal(ftruncate(fd, (off_t)first), 0);
    load(&f);
    assert_int_equal(note(&f, 4, point(2, 9)), second);
    assert_int_equal(pwrite(fd, late, third - second, (off_t)second),
                     third - second);
    load(&f);
    assert_int_equal(f.file.at.lsn, 2);
    assert_int_equal(f.file.at.hash.bytes[0], 9);
    assert_true(knows(&f, 1) && !knows(&f, 2) && !knows(&f, 3) && knows(&f, 4));
    /* What is noted next takes its place. */
    assert_int_equal(note(&f, 5, point(3, 10)), third);
    load(&f);
    assert_true(f.file.at.lsn == 3 && knows(&f, 5) && !knows(&f, 3));
    close(fd);
    end(&f);
}

/* Does bit `at` lie in the notes of record `which`, whose end is `end`? They are before the
 * directory of one section. */
static bool
is_in_notes(uint64_t at, uint64_t begin, uint64_t end)
{
    enum { NOTES = 3 + 8, DIRECTORY = 3 + 8 };

    assert_int_equal(end - begin, RAMET_BASES_RECORD_SIZE + NOTES + DIRECTORY);
    return at >= begin + RAMET_BASES_RECORD_SIZE && at < end - DIRECTORY;
}

/* Whichever bit rots: of a chunk is known what is behind a record whose notes of it are not
 * right, and nothing behind a record whose head is not. */
static void
bases__behind_a_bit_that_rotted_are_none(void **state)
{
    struct fixture f;
    uint8_t whole[600], *const rotten = (uint8_t[600]){0};
    uint64_t ends[4] = {0}, len;
    int fd;

    begin(&f, *state);
    load(&f);
    ends[0] = RAMET_BASES_HEADER_SIZE;
    for (uint8_t i = 1; i <= 3; i++)
        ends[i] = note(&f, i, point(i, i));
    len = ends[3];
    assert_in_range(len, 1, sizeof(whole));
    fd = open(f.path, O_RDWR);
    assert_int_equal(pread(fd, whole, len, 0), len);
    for (uint64_t at = 0; at < len; at++) {
        uint64_t left = 0;
        bool notes;

        memcpy(rotten, whole, len);
        rotten[at] ^= (uint8_t)(1u << at % 8);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, rotten, len, 0), len);
        load(&f);
        while (left < 3 && at >= ends[left + 1])
            left++;
        notes = at >= ends[0] && is_in_notes(at, ends[left], ends[left + 1]);
        if (at < RAMET_BASES_HEADER_SIZE)
            left = 0;
        assert_int_equal(f.file.at.lsn, notes ? 3 : left);
        for (uint32_t pgno = 1; pgno <= 3; pgno++)
            assert_int_equal(knows(&f, pgno),
                             notes ? pgno > left + 1 : pgno <= left);
    }
    close(fd);
    end(&f);
}

/* Two chunks in one record: what rots of one says nothing of the other. */
static void
bases__of_a_chunk_that_rotted_are_none_and_others_are(void **state)
{
    enum { FAR = 3 * RAMET_BASES_CHUNK_PAGES + 7 };
    const struct ramet_point from = {.lsn = 0}, to = point(1, 1);
    struct ramet_base_note image = {.kind = RAMET_BASE_NOTE_IMAGE, .count = 1};
    struct fixture f;
    uint8_t byte;
    int fd;

    begin(&f, *state);
    load(&f);
    ramet_bases_file_begin(&f.file);
    for (uint32_t pgno = 5; pgno <= FAR; pgno += FAR - 5) {
        image.pgno = pgno;
        image.sum = pgno * 1001u;
        ramet_bases_step_note(&f.file.step, &image);
    }
    assert_int_equal(ramet_bases_file_end(&f.file, &from, &to, UINT32_MAX),
                     RAMET_OK);
    fd = open(f.path, O_RDWR);
    assert_int_equal(
        pread(fd, &byte, 1,
              RAMET_BASES_HEADER_SIZE + RAMET_BASES_RECORD_SIZE + 5),
        1);
    byte ^= 4;
    assert_int_equal(
        pwrite(fd, &byte, 1,
               RAMET_BASES_HEADER_SIZE + RAMET_BASES_RECORD_SIZE + 5),
        1);
    close(fd);
    load(&f);
    assert_int_equal(f.file.at.lsn, 1);
    assert_true(!knows(&f, 5) && knows(&f, FAR) && !knows(&f, FAR - 1));
    end(&f);
}

/* What was cut off stays unknown when it is read later, and what came after is known. */
static void
bases__that_were_cut_off_before_they_were_read_are_none(void **state)
{
    const struct ramet_point from = {.lsn = 0}, first = point(1, 1),
                             second = point(2, 2);
    struct ramet_base_note note = {.kind = RAMET_BASE_NOTE_IMAGE, .count = 1};
    struct fixture f;

    begin(&f, *state);
    load(&f);
    ramet_bases_file_begin(&f.file);
    for (uint32_t pgno = 1; pgno <= 3 * RAMET_BASES_CHUNK_PAGES; pgno++) {
        note.pgno = pgno;
        note.sum = pgno * 1001u;
        ramet_bases_step_note(&f.file.step, &note);
    }
    assert_int_equal(ramet_bases_file_end(&f.file, &from, &first, UINT32_MAX),
                     RAMET_OK);
    ramet_bases_file_begin(&f.file);
    note.pgno = 700;
    note.sum = 700 * 1001u;
    ramet_bases_step_note(&f.file.step, &note);
    note = (struct ramet_base_note){
        .kind = RAMET_BASE_NOTE_FORGET, .pgno = 710, .count = 400};
    ramet_bases_step_note(&f.file.step, &note);
    assert_int_equal(ramet_bases_file_end(&f.file, &first, &second, 600),
                     RAMET_OK);
    for (int again = 0; again < 2; again++) {
        assert_true(knows(&f, 1) && knows(&f, 512) && knows(&f, 513) &&
                    knows(&f, 600));
        assert_true(!knows(&f, 601) && !knows(&f, 699) && knows(&f, 700) &&
                    !knows(&f, 701) && !knows(&f, 1024) && !knows(&f, 1025) &&
                    !knows(&f, 1536));
        load(&f);
    }
    end(&f);
}

#define T(name)                                                                \
    cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(bases__of_another_volume_are_none),
        T(bases__of_a_record_on_another_commit_are_none),
        T(bases__behind_a_bit_that_rotted_are_none),
        T(bases__of_a_chunk_that_rotted_are_none_and_others_are),
        T(bases__that_were_cut_off_before_they_were_read_are_none),
    };
    return cmocka_run_group_tests_name("bases_file", tests, NULL, NULL);
}
