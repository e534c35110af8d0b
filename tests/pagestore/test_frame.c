/*
 * test_frame.c - from places to pages: damage, nonsense under a right hash,
 * dictionaries, failing memory and stores.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "tests/pagestore/frame_fixture.h"

/* Read; on RAMET_OK the pages are checked, else that there is a text. */
static enum ramet_rc
read_frame(struct frame_fixture *f, const struct ramet_frame *frame)
{
    uint8_t *out = calloc(RAMET_FRAME_PAGES_MAX + 1, PAGE);
    uint8_t page[PAGE];
    struct ramet_err err = {0};
    const enum ramet_rc rc =
        ramet_frame_read(f->reader, frame, PAGE, out, &err);

    for (uint32_t i = 0; rc == RAMET_OK && i < frame->page_count; i++) {
        fill_page(page, frame->first_pgno + i);
        assert_memory_equal(out + (size_t)i * PAGE, page, PAGE);
    }
    if (rc != RAMET_OK) {
        assert_int_equal(err.code, rc);
        assert_true(err.text[0] != '\0');
    }
    free(out);
    return rc;
}

static void
place_key__names_objects(void **state)
{
    struct ramet_extent extent = {.kind = RAMET_IN_COMMIT, .lsn = 2};
    char key[RAMET_KEY_MAX];

    (void)state;
    extent.volume.id.bytes[0] = 0xab;
    ramet_extent_key(&extent, key);
    assert_string_equal(key, "volumes/ab000000-0000-0000-0000-000000000000/"
                             "commits/fffffffffffffffd");
    extent.kind = RAMET_IN_SEGMENT;
    extent.segment.id.bytes[15] = 0xcd;
    ramet_extent_key(&extent, key);
    assert_string_equal(key, "volumes/ab000000-0000-0000-0000-000000000000/"
                             "segments/00000000-0000-0000-0000-0000000000cd");
    assert_true(ramet_key_valid(key));
}

static void
page_size_valid__is_a_power_of_two_in_range(void **state)
{
    unsigned count = 0;

    (void)state;
    for (uint64_t size = 0; size <= 200000; size++)
        count += ramet_page_size_valid(size) ? 1 : 0;
    assert_int_equal(count, 8);
    assert_true(ramet_page_size_valid(512));
    assert_true(ramet_page_size_valid(65536));
    assert_false(ramet_page_size_valid(131072));
    assert_false(ramet_page_size_valid(1ull << 32));
}

static void
read__gives_pages(void **state)
{
    struct frame_fixture *f = *state;
    const struct ramet_frame one = put_frame(f, 1, 5, 1);
    const struct ramet_frame many = put_frame(f, 2, 100, RAMET_FRAME_PAGES_MAX);

    assert_int_equal(read_frame(f, &one), RAMET_OK);
    assert_int_equal(read_frame(f, &many), RAMET_OK);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 2);
}

static void
read__rejects_every_single_bit_flip(void **state)
{
    struct frame_fixture *f = *state;
    const struct ramet_frame good = put_frame(f, 1, 5, 1);
    uint8_t body[PAGE];
    char key[RAMET_KEY_MAX];

    ramet_extent_key(&good.extent, key);
    assert_int_equal(ramet_objstore_read_full(f->memory, key, 32, body,
                                              good.extent.length_bytes, NULL),
                     RAMET_OK);
    for (size_t bit = 0; bit < (size_t)good.extent.length_bytes * 8; bit++) {
        struct ramet_frame bad = good;

        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
        bad.extent = place_bytes(f, 2, body, good.extent.length_bytes, 32);
        bad.extent.hash = good.extent.hash;
        assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
        /* sealed again: zstd may or may not notice, but nothing breaks */
        bad.extent.hash = ramet_hash128(body, good.extent.length_bytes);
        {
            uint8_t out[PAGE];
            const enum ramet_rc rc =
                ramet_frame_read(f->reader, &bad, PAGE, out, NULL);

            assert_true(rc == RAMET_OK || rc == RAMET_ECORRUPT);
        }
        ramet_extent_key(&bad.extent, key);
        assert_int_equal(ramet_objstore_remove(f->memory, key, NULL), RAMET_OK);
        body[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void
read__rejects_every_truncation(void **state)
{
    struct frame_fixture *f = *state;
    const struct ramet_frame good = put_frame(f, 1, 5, 1);
    const uint32_t len = good.extent.length_bytes;
    uint8_t body[PAGE];
    char key[RAMET_KEY_MAX];

    ramet_extent_key(&good.extent, key);
    assert_int_equal(
        ramet_objstore_read_full(f->memory, key, 32, body, len, NULL),
        RAMET_OK);
    for (uint32_t cut = 1; cut < len; cut++) {
        struct ramet_frame bad = good;

        /* the object ends early */
        bad.extent = place_bytes(f, 2, body, cut, 32);
        bad.extent.length_bytes = len;
        bad.extent.hash = good.extent.hash;
        assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
        /* and the parent agrees with it */
        bad.extent.length_bytes = cut;
        bad.extent.hash = ramet_hash128(body, cut);
        assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
        ramet_extent_key(&bad.extent, key);
        assert_int_equal(ramet_objstore_remove(f->memory, key, NULL), RAMET_OK);
    }
}

static void
expect_sealed(struct frame_fixture *f, uint8_t id, const uint8_t *body,
              size_t len, enum ramet_rc expected, const char *what)
{
    struct ramet_frame frame = {.first_pgno = 1, .page_count = 1};
    enum ramet_rc rc;

    frame.extent = place_bytes(f, id, body, len, 32);
    rc = read_frame(f, &frame);
    if (rc != expected)
        fail_msg("%s: %d", what, rc);
}

static void
read__rejects_well_hashed_nonsense(void **state)
{
    static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9};
    struct frame_fixture *f = *state;
    const struct ramet_extent base = put_dict(f, 90);
    const struct ramet_frame with_dict = put_dict_frame(f, 91, 1, &base);
    struct ramet_frame plain = with_dict;
    uint8_t page[2 * PAGE];
    uint8_t body[4 * PAGE];
    uint8_t both[8 * PAGE];
    size_t len;

    fill_page(page, 1);
    fill_page(page + PAGE, 2);
    len = ZSTD_compress(body, sizeof(body), page, PAGE, 3);
    expect_sealed(f, 1, body, len, RAMET_OK, "as it should be");
    memcpy(both, body, len);
    both[len] = 0;
    expect_sealed(f, 2, both, len + 1, RAMET_ECORRUPT, "a byte behind");
    memcpy(both + len, skippable, sizeof(skippable));
    expect_sealed(f, 3, both, len + sizeof(skippable), RAMET_ECORRUPT,
                  "a skippable frame behind");
    memcpy(both, skippable, sizeof(skippable));
    memcpy(both + sizeof(skippable), body, len);
    expect_sealed(f, 4, both, len + sizeof(skippable), RAMET_ECORRUPT,
                  "a skippable frame before");
    expect_sealed(f, 5, skippable, sizeof(skippable), RAMET_ECORRUPT,
                  "only a skippable frame");
    len = ZSTD_compress(both, sizeof(both), page, PAGE / 2, 3);
    len += ZSTD_compress(both + len, sizeof(both) - len, page + PAGE / 2,
                         PAGE / 2, 3);
    expect_sealed(f, 6, both, len, RAMET_ECORRUPT, "two frames for one");
    len = ZSTD_compress(body, sizeof(body), page, PAGE - 1, 3);
    expect_sealed(f, 7, body, len, RAMET_ECORRUPT, "a byte less");
    len = ZSTD_compress(body, sizeof(body), page, PAGE + 1, 3);
    expect_sealed(f, 8, body, len, RAMET_ECORRUPT, "a byte more");
    len = ZSTD_compress(body, sizeof(body), page, 0, 3);
    expect_sealed(f, 9, body, len, RAMET_ECORRUPT, "nothing");
    expect_sealed(f, 10, page, PAGE, RAMET_ECORRUPT, "not zstd");
    expect_sealed(f, 11, body, 3, RAMET_ECORRUPT, "not even a magic number");
    plain.kind = RAMET_FRAME_PLAIN;
    assert_int_equal(read_frame(f, &plain), RAMET_ECORRUPT);
}

static void
read__refuses_what_a_parent_must_not_say(void **state)
{
    struct frame_fixture *f = *state;
    const struct ramet_frame good = put_frame(f, 1, 5, 1);
    struct ramet_frame bad = good;

    bad.kind = (enum ramet_frame_kind)3;
    assert_int_equal(read_frame(f, &bad), RAMET_EVERSION);
    bad = good;
    bad.extent.hash_algo = 2;
    assert_int_equal(read_frame(f, &bad), RAMET_EVERSION);
    bad = good;
    bad.page_count = 0;
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
    bad.page_count = RAMET_FRAME_PAGES_MAX + 1;
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
    bad = good;
    bad.extent.length_bytes = 0;
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
    bad.extent.length_bytes = RAMET_FRAME_BYTES_MAX + 1;
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
    bad = good;
    bad.extent.offset_bytes = UINT64_MAX;
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
    bad = good;
    bad.extent.segment.id.bytes[3] = 1;
    assert_int_equal(read_frame(f, &bad), RAMET_ENOTFOUND);
}

/* ---- dictionaries --------------------------------------------------------- */

static void
dict__is_read_once(void **state)
{
    struct frame_fixture *f = *state;
    const struct ramet_extent base = put_dict(f, 90);
    const struct ramet_frame a = put_dict_frame(f, 1, 7, &base);
    const struct ramet_frame b = put_dict_frame(f, 2, 8, &base);

    assert_int_equal(read_frame(f, &a), RAMET_OK);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 2);
    assert_int_equal(read_frame(f, &b), RAMET_OK);
    assert_int_equal(read_frame(f, &a), RAMET_OK);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, 4);
}

static void
dict__cache_is_bounded_and_keeps_what_is_used(void **state)
{
    struct frame_fixture *f = *state;
    const struct ramet_extent first = put_dict(f, 90);
    const struct ramet_frame a = put_dict_frame(f, 1, 7, &first);
    uint64_t reads;

    for (uint8_t i = 0; i < 20; i++) {
        const struct ramet_extent base = put_dict(f, (uint8_t)(100 + i));
        const struct ramet_frame frame =
            put_dict_frame(f, (uint8_t)(10 + i), 9, &base);

        assert_int_equal(read_frame(f, &a), RAMET_OK); /* used each time */
        reads = ramet_faultstore_counts(f->store).reads;
        assert_int_equal(read_frame(f, &frame), RAMET_OK);
        assert_int_equal(ramet_faultstore_counts(f->store).reads, reads + 2);
        assert_int_equal(read_frame(f, &frame), RAMET_OK);
    }
    reads = ramet_faultstore_counts(f->store).reads;
    assert_int_equal(read_frame(f, &a), RAMET_OK);
    assert_int_equal(ramet_faultstore_counts(f->store).reads, reads + 1);
}

static void
dict__damaged_or_another_is_refused(void **state)
{
    struct frame_fixture *f = *state;
    const struct ramet_extent base = put_dict(f, 90);
    const struct ramet_frame good = put_dict_frame(f, 1, 7, &base);
    struct ramet_frame bad = good;
    uint8_t big[RAMET_DICT_BYTES_MAX + 1] = {0};
    uint8_t body[PAGE];
    size_t len;

    /* a cached dictionary does not stand in for another hash or place */
    assert_int_equal(read_frame(f, &good), RAMET_OK);
    bad.base.hash.bytes[0] ^= 1;
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
    bad = good;
    bad.base.segment.id.bytes[0] = 1;
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
    bad = good;
    bad.base.hash_algo = 3;
    assert_int_equal(read_frame(f, &bad), RAMET_EVERSION);
    bad = good;
    bad.base.length_bytes = 0;
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
    bad.base.length_bytes = UINT32_MAX;
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);

    /* well hashed, and no dictionary */
    len = ZSTD_compress(body, sizeof(body), "not a dictionary", 16, 3);
    bad = good;
    bad.base = place_bytes(f, 91, body, len, 32);
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
    len = ZSTD_compress(body, sizeof(body), big, sizeof(big), 3);
    bad.base = place_bytes(f, 92, body, len, 32); /* larger than may be */
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
    bad.base = place_bytes(f, 93, f->dict, f->dict_len, 32); /* bare */
    assert_int_equal(read_frame(f, &bad), RAMET_ECORRUPT);
}

/* ---- faults --------------------------------------------------------------- */

static void
read__notices_what_the_store_does_wrong(void **state)
{
    static const enum ramet_fault faults[] = {
        RAMET_FAULT_FLIP_BIT, RAMET_FAULT_SHORT, RAMET_FAULT_OTHER_KEY};
    struct frame_fixture *f = *state;
    const struct ramet_extent base = put_dict(f, 90);
    const struct ramet_frame frame = put_dict_frame(f, 1, 7, &base);
    struct visited visited = {0};

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        for (uint64_t nth = 0; nth < 2; nth++) { /* body, dictionary */
            ramet_faultstore_arm(f->store, faults[i], nth, RAMET_OK);
            assert_int_equal(read_frame(f, &frame), RAMET_ECORRUPT);
            assert_true(ramet_faultstore_fired(f->store));
            ramet_faultstore_arm(f->store, faults[i], nth, RAMET_OK);
            assert_int_equal(read_many(f, &frame, 1, &visited), RAMET_ECORRUPT);
        }
    ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, 0, RAMET_EUNREACHABLE);
    assert_int_equal(read_frame(f, &frame), RAMET_EUNREACHABLE);
    ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, 1, RAMET_ETIMEOUT);
    assert_int_equal(read_frame(f, &frame), RAMET_ETIMEOUT);
    assert_int_equal(read_frame(f, &frame), RAMET_OK);
}

/* A store behind somebody who keeps one object wrong until he is told. */
struct keeper {
    struct ramet_objstore store;
    struct ramet_objstore *inner;
    char wrong[RAMET_KEY_MAX]; /* "": nothing is */
    bool learns;
    unsigned reads, refreshes;
};

static enum ramet_rc
keeper_read(struct ramet_objstore *store, const char *key, uint64_t offset,
            void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct keeper *const k = (struct keeper *)store;
    const enum ramet_rc rc =
        ramet_objstore_read(k->inner, key, offset, buf, len, out_got, err);

    k->reads++;
    if (rc == RAMET_OK && *out_got > 0 && strcmp(key, k->wrong) == 0)
        ((uint8_t *)buf)[*out_got / 2] ^= 8;
    return rc;
}

static void
keeper_refresh(struct ramet_objstore *store, const char *key)
{
    struct keeper *const k = (struct keeper *)store;

    assert_string_equal(key, k->wrong);
    k->refreshes++;
    if (k->learns)
        k->wrong[0] = '\0';
}

static void
read__of_what_somebody_kept_wrong_is_anew_and_once(void **state)
{
    static const struct ramet_objstore_ops ops = {.read = keeper_read,
                                                  .refresh = keeper_refresh};
    struct frame_fixture *f = *state;
    const struct ramet_extent base = put_dict(f, 90);
    const struct ramet_frame frame = put_dict_frame(f, 1, 7, &base);
    const struct ramet_extent *const places[] = {&frame.extent, &base};

    for (unsigned kind = 0; kind < 8; kind++) {
        struct keeper k = {.store = {.ops = &ops,
                                     .traits = RAMET_STORE_IS_KEPT,
                                     .name = "kept"},
                           .inner = f->memory,
                           .learns = (kind & 4) == 0};
        struct ramet_frame_reader *reader;
        struct visited visited = {0};
        uint8_t page[PAGE], expected[PAGE];
        enum ramet_rc rc;

        fill_page(expected, 7);
        ramet_extent_key(places[kind & 1], k.wrong);
        assert_int_equal(ramet_frame_reader_new(&k.store, &reader, NULL),
                         RAMET_OK);
        rc = (kind & 2) != 0
                 ? ramet_frame_read_many(reader, &frame, 1, PAGE, visit,
                                         &visited, NULL)
                 : ramet_frame_read(reader, &frame, PAGE, page, NULL);
        assert_int_equal(rc, k.learns ? RAMET_OK : RAMET_ECORRUPT);
        assert_int_equal(k.refreshes, 1);
        /* Frame and dictionary, and what was wrong once more. */
        assert_int_equal(k.reads, k.learns || (kind & 1) != 0 ? 3 : 2);
        if (rc == RAMET_OK && (kind & 2) == 0)
            assert_memory_equal(page, expected, PAGE);
        ramet_frame_reader_free(reader);
    }
}

static void
read__survives_failure_of_each_allocation(void **state)
{
    struct frame_fixture *f = *state;
    const struct ramet_extent base = put_dict(f, 90);
    const struct ramet_frame frame = put_dict_frame(f, 1, 7, &base);
    enum ramet_rc rc = RAMET_ENOMEM;
    long nth;

    for (nth = 0; rc == RAMET_ENOMEM; nth++) {
        struct ramet_frame_reader *reader = NULL;
        struct visited visited = {0};
        uint8_t out[PAGE];

        assert_true(nth < 50);
        ramet_alloc_fail_at(nth);
        rc = ramet_frame_reader_new(f->store, &reader, NULL);
        if (rc == RAMET_OK)
            rc = ramet_frame_read(reader, &frame, PAGE, out, NULL);
        if (rc == RAMET_OK)
            rc = ramet_frame_read_many(reader, &frame, 1, PAGE, visit, &visited,
                                       NULL);
        ramet_alloc_fail_at(-1);
        ramet_frame_reader_free(reader);
    }
    assert_int_equal(rc, RAMET_OK);
    assert_true(nth > 5);
}

struct thread {
    struct frame_fixture *f;
    const struct ramet_frame *frames;
    struct ramet_thread thread;
    unsigned failed;
};

static void *
read_all(void *arg)
{
    struct thread *thread = arg;

    for (unsigned i = 0; i < 2000; i++) {
        const struct ramet_frame *frame = &thread->frames[i * 7 % 12];
        uint8_t out[PAGE];
        uint8_t page[PAGE];

        fill_page(page, frame->first_pgno);
        if (ramet_frame_read(thread->f->reader, frame, PAGE, out, NULL) !=
                RAMET_OK ||
            memcmp(out, page, PAGE) != 0)
            thread->failed++;
    }
    return NULL;
}

/* Twelve dictionaries in a cache of eight, so that they come and go. */
static void
read__works_from_many_threads(void **state)
{
    struct frame_fixture *f = *state;
    struct ramet_frame frames[12];
    struct thread threads[4];

    for (uint8_t i = 0; i < 12; i++) {
        const struct ramet_extent base = put_dict(f, (uint8_t)(100 + i));

        frames[i] = put_dict_frame(f, (uint8_t)(1 + i), i + 1u, &base);
    }
    for (size_t i = 0; i < 4; i++) {
        threads[i] = (struct thread){.f = f, .frames = frames};
        assert_int_equal(ramet_thread_start(&threads[i].thread, "reader",
                                            read_all, &threads[i], NULL),
                         RAMET_OK);
    }
    for (size_t i = 0; i < 4; i++) {
        ramet_thread_join(&threads[i].thread);
        assert_int_equal(threads[i].failed, 0);
    }
}

#define TEST(test)                                                             \
    cmocka_unit_test_setup_teardown(test, frame_setup, frame_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(place_key__names_objects),
        cmocka_unit_test(page_size_valid__is_a_power_of_two_in_range),
        TEST(read__gives_pages),
        TEST(read__rejects_every_single_bit_flip),
        TEST(read__rejects_every_truncation),
        TEST(read__rejects_well_hashed_nonsense),
        TEST(read__refuses_what_a_parent_must_not_say),
        TEST(dict__is_read_once),
        TEST(dict__cache_is_bounded_and_keeps_what_is_used),
        TEST(dict__damaged_or_another_is_refused),
        TEST(read__notices_what_the_store_does_wrong),
        TEST(read__of_what_somebody_kept_wrong_is_anew_and_once),
        TEST(read__survives_failure_of_each_allocation),
        TEST(read__works_from_many_threads),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
