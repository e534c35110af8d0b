/*
 * test_frame_ranges.c - many frames at once: which of them are one read, in which order
 * they come, and where it ends.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "core/alloc.h"
#include "tests/pagestore/frame_fixture.h"

/* Pages first_pgno.. as one body at `out`, made with `dict` unless that is NULL. */
static size_t
compress_pages(const struct frame_fixture *f, const uint8_t *dict, uint8_t *out,
               size_t room, uint32_t first_pgno, uint32_t count)
{
    uint8_t *const pages = malloc((size_t)count * PAGE);
    ZSTD_CCtx *const cctx = ZSTD_createCCtx();
    size_t len;

    for (uint32_t i = 0; i < count; i++)
        fill_page(pages + (size_t)i * PAGE, first_pgno + i);
    len = ZSTD_compress_usingDict(cctx, out, room, pages, (size_t)count * PAGE,
                                  dict, dict == NULL ? 0 : f->dict_len, 3);
    assert_false(ZSTD_isError(len));
    ZSTD_freeCCtx(cctx);
    free(pages);
    return len;
}

/* A segment of frames of `pages` pages each, `gap` bytes between them; with the
 * dictionary at `base`, whose bytes are `dict`, unless that is NULL. */
static void
put_frames(struct frame_fixture *f, uint8_t id, struct ramet_frame *out,
           size_t count, size_t gap, uint32_t first_pgno, uint32_t pages,
           const uint8_t *dict, const struct ramet_extent *base)
{
    const size_t room = 32 + count * (2 * pages * PAGE + gap);
    uint8_t *object = calloc(1, room);
    struct ramet_extent extent;
    size_t at = 32;

    for (size_t i = 0; i < count; i++) {
        const uint32_t pgno = first_pgno + (uint32_t)i * pages;
        const size_t len =
            compress_pages(f, dict, object + at, room - at, pgno, pages);

        out[i] = (struct ramet_frame){
            .extent = {.offset_bytes = at,
                       .length_bytes = (uint32_t)len,
                       .hash_algo = RAMET_HASH_XXH3_128,
                       .hash = ramet_hash128(object + at, len)},
            .kind = base == NULL ? RAMET_FRAME_PLAIN : RAMET_FRAME_DICT,
            .first_pgno = pgno,
            .page_count = pages};
        if (base != NULL)
            out[i].base = *base;
        at += len + gap;
    }
    extent = place_bytes(f, id, object, at, 0);
    for (size_t i = 0; i < count; i++) {
        out[i].extent.kind = extent.kind;
        out[i].extent.segment = extent.segment;
    }
    free(object);
}

/* A segment of frames of one page each, without a dictionary. */
static void
put_many(struct frame_fixture *f, uint8_t id, struct ramet_frame *out,
         size_t count, size_t gap, uint32_t first_pgno)
{
    put_frames(f, id, out, count, gap, first_pgno, 1, NULL, NULL);
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

/* Another dictionary than the fixture's: its entropy tables, with other bytes. */
static struct ramet_extent
put_other_dict(struct frame_fixture *f, uint8_t id, uint8_t dict[DICT_SIZE])
{
    uint8_t body[2 * DICT_SIZE];
    size_t len;

    memcpy(dict, f->dict, f->dict_len);
    for (size_t i = f->dict_len - 2048; i < f->dict_len; i++)
        dict[i] = f->dict[f->dict_len - 1 - (i - (f->dict_len - 2048))];
    len = ZSTD_compress(body, sizeof(body), dict, f->dict_len, 3);
    assert_false(ZSTD_isError(len));
    return place_bytes(f, id, body, len, 32);
}

/* As many of one dictionary as are worth a window, of another, fewer than that, larger
 * ones, and of none. */
#define OF_DICTS 62u
static void
put_all_kinds(struct frame_fixture *f, struct ramet_frame frames[OF_DICTS])
{
    uint8_t other[DICT_SIZE];
    const struct ramet_extent base = put_dict(f, 90);
    const struct ramet_extent other_base = put_other_dict(f, 91, other);

    put_frames(f, 1, frames, 18, 0, 100, 1, f->dict, &base);
    put_frames(f, 2, frames + 18, 18, 0, 200, 1, other, &other_base);
    put_frames(f, 3, frames + 36, 2, 0, 300, 1, f->dict, &base);
    put_frames(f, 4, frames + 38, 2, 0, 310, 1, other, &other_base);
    put_frames(f, 5, frames + 40, 16, 0, 400, 4, f->dict, &base);
    put_frames(f, 6, frames + 56, 3, 0, 500, 1, f->dict, &base);
    put_many(f, 7, frames + 59, 3, 0, 600);
}

static void
read_many__with_dictionaries__gives_each_frame_its_own(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[OF_DICTS];
    struct visited visited = {0};

    put_all_kinds(f, frames);
    assert_int_equal(read_many(f, frames, OF_DICTS, &visited), RAMET_OK);
    assert_int_equal(visited.count, OF_DICTS);
    /* Seven ranges, and each dictionary once. */
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 9);
}

/* A well hashed one that makes something else, in the midst of a window's. */
static void
read_many__with_a_dictionary__refuses_a_bad_body(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[20];
    struct visited visited = {0};
    const struct ramet_extent base = put_dict(f, 90);

    put_frames(f, 1, frames, 20, 0, 100, 1, f->dict, &base);
    frames[11].page_count = 2; /* of which the body makes one */
    assert_int_equal(read_many(f, frames, 20, &visited), RAMET_ECORRUPT);
    assert_int_equal(visited.count, 11);
}

static void
read_many__with_a_dictionary__survives_failure_of_each_allocation(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[OF_DICTS];
    enum ramet_rc rc = RAMET_ENOMEM;
    long nth;

    put_all_kinds(f, frames);
    for (nth = 0; rc == RAMET_ENOMEM; nth++) {
        struct ramet_frame_reader *reader = NULL;
        struct visited visited = {0};

        assert_true(nth < 200);
        assert_int_equal(ramet_frame_reader_new(f->store, &reader, NULL),
                         RAMET_OK);
        ramet_alloc_fail_at(nth);
        rc = ramet_frame_read_many(reader, frames, OF_DICTS, PAGE, visit,
                                   &visited, NULL);
        ramet_alloc_fail_at(-1);
        ramet_frame_reader_free(reader);
    }
    assert_int_equal(rc, RAMET_OK);
    assert_true(nth > 15);
}

/* Bytes of an object that came with something else: from where it begins to after the
 * first `count` of its frames, one of them `wrong`. */
static void
keep_start(struct frame_fixture *f, const struct ramet_frame *frames,
           size_t count, bool wrong)
{
    const struct ramet_extent *const last = &frames[count - 1].extent;
    struct ramet_extent place = frames[0].extent;
    uint8_t bytes[10 * 2 * PAGE];
    char key[RAMET_KEY_MAX];

    place.length_bytes =
        (uint32_t)(last->offset_bytes + last->length_bytes) - 32;
    ramet_extent_key(&place, key);
    assert_true(place.length_bytes <= sizeof(bytes));
    assert_int_equal(ramet_objstore_read_full(f->store, key, 32, bytes,
                                              place.length_bytes, NULL),
                     RAMET_OK);
    bytes[place.length_bytes - 1] ^= wrong;
    ramet_frame_reader_keep(f->reader, &place, bytes);
    ramet_faultstore_reset_counts(f->store);
}

static void
read_many__of_what_came_along_reads_nothing(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[10];
    struct visited visited = {0};

    f->store->traits |= RAMET_STORE_READS_PARTS;
    put_many(f, 1, frames, 10, 5000, 100);
    keep_start(f, frames, 3, false);
    assert_int_equal(read_many(f, frames, 3, &visited), RAMET_OK);
    assert_int_equal(visited.count, 3);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 0);
    assert_int_equal(read_many(f, frames + 1, 5, &visited), RAMET_OK);
    assert_int_equal(visited.count, 3 + 5);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 3);
    ramet_frame_reader_trim(f->reader);
    assert_int_equal(read_many(f, frames, 3, &visited), RAMET_OK);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 3 + 3);
}

static void
read_many__of_what_came_along_and_is_wrong_reads_it(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[10];
    struct visited visited = {0};

    f->store->traits |= RAMET_STORE_READS_PARTS;
    put_many(f, 1, frames, 10, 5000, 100);
    keep_start(f, frames, 3, true);
    assert_int_equal(read_many(f, frames + 2, 1, &visited), RAMET_OK);
    assert_int_equal(visited.count, 1);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 1);
    assert_int_equal(read_many(f, frames, 1, &visited), RAMET_OK);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 2);
}

/* A store whose answers come last first. */
struct backwards {
    struct ramet_objstore base;
    struct ramet_objstore *inner;
    unsigned waits; /* calls */
};

static enum ramet_rc
backwards_read(struct ramet_objstore *store, const char *key, uint64_t offset,
               void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct backwards *const b = (struct backwards *)store;

    b->waits++;
    return ramet_objstore_read(b->inner, key, offset, buf, len, out_got, err);
}

static enum ramet_rc
backwards_read_parts(struct ramet_objstore *store,
                     const struct ramet_part *parts, size_t count,
                     ramet_part_visit *take, void *ctx, struct ramet_err *err)
{
    struct backwards *const b = (struct backwards *)store;
    enum ramet_rc rc = RAMET_OK;

    b->waits++;
    for (size_t i = count; rc == RAMET_OK && i > 0; i--) {
        size_t got;

        rc = ramet_objstore_read_part(b->inner, &parts[i - 1], &got, err);
        if (rc == RAMET_OK)
            rc = take(ctx, &parts[i - 1], got, err);
    }
    return rc;
}

/* Dictionaries come with the frames, which wait for them where they are here first. */
static void
read_many__in_parts__waits_once_for_frames_and_dictionaries(void **state)
{
    static const struct ramet_objstore_ops ops = {
        .read = backwards_read, .read_parts = backwards_read_parts};
    struct frame_fixture *f = *state;
    struct backwards b = {.base = {.ops = &ops,
                                   .traits = RAMET_STORE_READS_PARTS,
                                   .name = "backwards"},
                          .inner = f->store};
    struct ramet_frame frames[OF_DICTS];
    struct ramet_frame_reader *reader = NULL;
    struct visited visited = {0};

    put_all_kinds(f, frames);
    assert_int_equal(ramet_frame_reader_new(&b.base, &reader, NULL), RAMET_OK);
    assert_int_equal(ramet_frame_read_many(reader, frames, OF_DICTS, PAGE,
                                           visit, &visited, NULL),
                     RAMET_OK);
    assert_int_equal(visited.count, OF_DICTS);
    assert_int_equal(b.waits, 1);
    ramet_frame_reader_free(reader);
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
        TEST(read_many__with_dictionaries__gives_each_frame_its_own),
        TEST(read_many__with_a_dictionary__refuses_a_bad_body),
        TEST(read_many__with_a_dictionary__survives_failure_of_each_allocation),
        TEST(read_many__in_parts__waits_once_for_frames_and_dictionaries),
        TEST(read_many__of_what_came_along_reads_nothing),
        TEST(read_many__of_what_came_along_and_is_wrong_reads_it),
    };
    return cmocka_run_group_tests_name("frame_ranges", tests, NULL, NULL);
}
