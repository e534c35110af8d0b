/*
 * test_frame_ranges.c - many frames at once: which of them are one read, in which order
 * they come, and where it ends.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>

#include <zstd.h>

#include "tests/pagestore/frame_fixture.h"

/* A segment of frames of one page each, `gap` bytes between them. */
static void
put_many(struct frame_fixture *f, uint8_t id, struct ramet_frame *out,
         size_t count, size_t gap, uint32_t first_pgno)
{
    const size_t room = 32 + count * (2 * PAGE + gap);
    uint8_t *object = calloc(1, room);
    struct ramet_extent extent;
    size_t at = 32;

    for (size_t i = 0; i < count; i++) {
        uint8_t page[PAGE];
        size_t len;

        fill_page(page, first_pgno + (uint32_t)i);
        len = ZSTD_compress(object + at, room - at, page, PAGE, 3);
        out[i] = (struct ramet_frame){
            .extent = {.offset_bytes = at,
                       .length_bytes = (uint32_t)len,
                       .hash_algo = RAMET_HASH_XXH3_128,
                       .hash = ramet_hash128(object + at, len)},
            .first_pgno = first_pgno + (uint32_t)i,
            .page_count = 1};
        at += len + gap;
    }
    extent = place_bytes(f, id, object, at, 0);
    for (size_t i = 0; i < count; i++) {
        out[i].extent.kind = extent.kind;
        out[i].extent.segment = extent.segment;
    }
    free(object);
}

static void
read_many__coalesces_neighbours(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[40];
    struct visited visited = {0};

    put_many(f, 1, frames, 20, 0, 100);
    put_many(f, 2, frames + 20, 20, 0, 500);
    for (size_t i = 0; i < 20; i++) { /* out of order */
        const struct ramet_frame swap = frames[i];

        frames[i] = frames[39 - i];
        frames[39 - i] = swap;
    }
    assert_int_equal(read_many(f, frames, 40, &visited), RAMET_OK);
    assert_int_equal(visited.count, 40);
    /* The range of the frame given first is the first. */
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(visited.seen[i], 500 + i);
        assert_int_equal(visited.seen[20 + i], 100 + i);
    }
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 2);
    assert_int_equal(read_many(f, frames, 0, &visited), RAMET_OK);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 2);
}

/* How many reads ten frames take with `gap` bytes between them. */
static uint64_t
reads_over(struct frame_fixture *f, uint8_t id, size_t gap)
{
    struct ramet_frame frames[10];
    struct visited visited = {0};

    put_many(f, id, frames, 10, gap, 100);
    ramet_faultstore_reset_counts(f->store);
    assert_int_equal(read_many(f, frames, 10, &visited), RAMET_OK);
    assert_int_equal(visited.count, 10);
    return ramet_faultstore_counts(f->store).reads;
}

static void
read_many__bridges_small_gaps_only(void **state)
{
    struct frame_fixture *f = *state;

    assert_int_equal(reads_over(f, 1, 32768), 1);
    assert_int_equal(reads_over(f, 2, 32769), 10);
    f->store->traits |= RAMET_STORE_READS_PARTS; /* a read is a request */
    assert_int_equal(reads_over(f, 3, 4096), 1);
    assert_int_equal(reads_over(f, 4, 4097), 10);
    f->store->traits |= RAMET_STORE_SENDS_AHEAD; /* and comes as it was asked */
    assert_int_equal(reads_over(f, 5, 0), 1);
    assert_int_equal(reads_over(f, 6, 1), 10);
}

static void
read_many__reads_a_mebibyte_or_so_at_once(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[64];
    struct visited visited = {0};

    put_many(f, 1, frames, 64, 32000, 100); /* some 2.1 MB */
    assert_int_equal(read_many(f, frames, 64, &visited), RAMET_OK);
    assert_int_equal(visited.count, 64);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 2);
    assert_true(ramet_faultstore_counts(f->store).bytes_read > 2000000);
    assert_true(ramet_faultstore_counts(f->store).bytes_read <= 2u << 20);
}

static void
read_many__takes_the_same_frame_twice(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[3];
    struct visited visited = {0};

    put_many(f, 1, frames, 2, 0, 100);
    frames[2] = frames[0];
    assert_int_equal(read_many(f, frames, 3, &visited), RAMET_OK);
    assert_int_equal(visited.count, 3);
}

/* As only a map says that lies. */
static void
read_many__of_a_frame_within_another__reads_that_as_a_whole(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[2];
    struct visited visited = {0};

    put_many(f, 1, frames, 1, 0, 100);
    assert_true(frames[0].extent.length_bytes > 20);
    frames[1] = frames[0];
    frames[1].extent.offset_bytes += 4;
    frames[1].extent.length_bytes -= 12;
    assert_int_equal(read_many(f, frames, 2, &visited), RAMET_ECORRUPT);
    assert_int_equal(visited.count, 1);
    assert_int_equal(visited.seen[0], 100);
}

static void
read_many__ends_where_the_visitor_fails(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[10];
    struct visited visited = {.fail_at = 4};

    put_many(f, 1, frames, 10, 0, 100);
    assert_int_equal(read_many(f, frames, 10, &visited), RAMET_ECANCELLED);
    assert_int_equal(visited.count, 4);
}

static void
read_many__refuses_a_bad_frame(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[10];
    struct visited visited = {0};

    put_many(f, 1, frames, 10, 0, 100);
    frames[7].extent.hash.bytes[5] ^= 1;
    assert_int_equal(read_many(f, frames, 10, &visited), RAMET_ECORRUPT);
    assert_int_equal(visited.count, 7);
    frames[7].kind = (enum ramet_frame_kind)3;
    assert_int_equal(read_many(f, frames, 10, &visited), RAMET_EVERSION);
    assert_int_equal(visited.count, 7); /* found before anything was read */
}

#define TEST(test)                                                             \
    cmocka_unit_test_setup_teardown(test, frame_setup, frame_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(read_many__coalesces_neighbours),
        TEST(read_many__bridges_small_gaps_only),
        TEST(read_many__reads_a_mebibyte_or_so_at_once),
        TEST(read_many__takes_the_same_frame_twice),
        TEST(read_many__of_a_frame_within_another__reads_that_as_a_whole),
        TEST(read_many__ends_where_the_visitor_fails),
        TEST(read_many__refuses_a_bad_frame),
    };
    return cmocka_run_group_tests_name("frame_ranges", tests, NULL, NULL);
}
