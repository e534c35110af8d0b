/*
 * test_frame_table.c - frame tables against byte vectors, damage and nonsense.
 *
 * The vectors are written by hand from docs/format.md, not by the encoder.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "core/alloc.h"
#include "pagestore/segment.h"
#include "pagestore/segment_header.h"

#define H16(b) b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b

/* docs/format.md, "Frame table", test vector. */
static const uint8_t vector[] = {
    0x01, 0x00, 0x00,      0x20,                       /* head */
    0x00, 0x63, H16(0xaa),                             /* page 1 */
    0x00, 0xc7, 0x01,      H16(0xbb),                  /* page 2 */
    0x1d, 0x00, 0x01,      0xab,      0x02, H16(0xcc), /* pages 10, 11 */
};
/* The same where page 2 lies first and page 1 last. */
static const uint8_t shifted[] = {
    0x01, 0x00, 0x00,      0x94, 0x04,            /* head */
    0x00, 0x63, H16(0xaa),                        /* page 1 */
    0x02, 0xaf, 0x09,      0xc7, 0x01, H16(0xbb), /* page 2 */
    0x1d, 0x00, 0x01,      0xab, 0x02, H16(0xcc), /* pages 10, 11 */
};
#define VECTOR_FRAMES 3u
#define VECTOR_END 632u /* 32 + 100 + 200 + 300 */

static const struct ramet_extent dict = {.kind = RAMET_IN_SEGMENT,
                                         .offset_bytes = 32,
                                         .length_bytes = 1000,
                                         .hash_algo = RAMET_HASH_XXH3_128};

static struct ramet_frame
frame(uint32_t first_pgno, uint32_t page_count, uint64_t offset,
      uint32_t length, uint8_t hash)
{
    struct ramet_frame f = {
        .extent = {.offset_bytes = offset,
                   .length_bytes = length,
                   .hash_algo = RAMET_HASH_XXH3_128},
        .kind = RAMET_FRAME_PLAIN,
        .first_pgno = first_pgno,
        .page_count = page_count,
    };

    memset(f.extent.hash.bytes, hash, RAMET_HASH_SIZE);
    return f;
}

static enum ramet_rc
decode(const uint8_t *bytes, size_t len, uint32_t count, uint64_t object_size,
       const struct ramet_extent *with_dict, struct ramet_frame *out,
       size_t *out_left)
{
    const struct ramet_extent context = {.kind = RAMET_IN_COMMIT, .lsn = 7};
    struct ramet_reader in;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    ramet_reader_init(&in, bytes, len);
    rc = ramet_frame_table_decode(&in, count, &context, with_dict, object_size,
                                  out, &err);
    if (rc != RAMET_OK) {
        assert_int_equal(err.code, rc);
        assert_true(err.text[0] != '\0');
    }
    if (out_left != NULL)
        *out_left = ramet_reader_left(&in);
    return rc;
}

static void
assert_frames_equal(const struct ramet_frame *a, const struct ramet_frame *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->first_pgno, b->first_pgno);
    assert_int_equal(a->page_count, b->page_count);
    assert_int_equal(a->extent.offset_bytes, b->extent.offset_bytes);
    assert_int_equal(a->extent.length_bytes, b->extent.length_bytes);
    assert_int_equal(a->extent.hash_algo, b->extent.hash_algo);
    assert_true(ramet_hash_equal(&a->extent.hash, &b->extent.hash));
}

/* docs/format.md, "Segments". */
static void
header_put__gives_the_vector(void **state)
{
    static const uint8_t header[RAMET_SEGMENT_HEADER_SIZE] = {
        0x52, 0x41, 0x4d, 0x54, 0x53, 0x45, 0x47, 0x02, 0x22, 0x22, 0x22,
        0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22,
        0x22, 0x22, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    uint8_t out[RAMET_SEGMENT_HEADER_SIZE];
    struct ramet_sid id;

    (void)state;
    memset(&id, 0x22, sizeof(id));
    ramet_segment_header_put(out, &id, 4096);
    assert_memory_equal(out, header, sizeof(out));
}

static void
encode__gives_the_vector(void **state)
{
    const struct ramet_frame frames[] = {frame(1, 1, 32, 100, 0xaa),
                                         frame(2, 1, 132, 200, 0xbb),
                                         frame(10, 2, 332, 300, 0xcc)};
    struct ramet_buf out;

    (void)state;
    ramet_buf_init(&out, 1000);
    assert_int_equal(ramet_frame_table_encode(frames, VECTOR_FRAMES, &out),
                     RAMET_OK);
    assert_int_equal(out.len, sizeof(vector));
    assert_memory_equal(out.data, vector, sizeof(vector));
    ramet_buf_done(&out);
}

static void
decode__reads_the_vector(void **state)
{
    const struct ramet_frame expected[] = {frame(1, 1, 32, 100, 0xaa),
                                           frame(2, 1, 132, 200, 0xbb),
                                           frame(10, 2, 332, 300, 0xcc)};
    struct ramet_frame frames[VECTOR_FRAMES];
    size_t left = 99;

    (void)state;
    assert_int_equal(decode(vector, sizeof(vector), VECTOR_FRAMES, VECTOR_END,
                            NULL, frames, &left),
                     RAMET_OK);
    assert_int_equal(left, 0);
    for (size_t i = 0; i < VECTOR_FRAMES; i++) {
        assert_frames_equal(&frames[i], &expected[i]);
        assert_int_equal(frames[i].extent.kind, RAMET_IN_COMMIT);
        assert_int_equal(frames[i].extent.lsn, 7);
    }
}

static void
table__has_frames_in_any_order(void **state)
{
    const struct ramet_frame frames[] = {frame(1, 1, 532, 100, 0xaa),
                                         frame(2, 1, 32, 200, 0xbb),
                                         frame(10, 2, 232, 300, 0xcc)};
    struct ramet_frame back[VECTOR_FRAMES];
    struct ramet_buf out;
    size_t left = 99;

    (void)state;
    ramet_buf_init(&out, 1000);
    assert_int_equal(ramet_frame_table_encode(frames, VECTOR_FRAMES, &out),
                     RAMET_OK);
    assert_int_equal(out.len, sizeof(shifted));
    assert_memory_equal(out.data, shifted, sizeof(shifted));
    ramet_buf_done(&out);
    assert_int_equal(decode(shifted, sizeof(shifted), VECTOR_FRAMES, VECTOR_END,
                            NULL, back, &left),
                     RAMET_OK);
    assert_int_equal(left, 0);
    for (size_t i = 0; i < VECTOR_FRAMES; i++)
        assert_frames_equal(&back[i], &frames[i]);
}

static void
decode__adds_where_the_object_begins(void **state)
{
    const struct ramet_extent context = {.offset_bytes = 1000};
    const struct ramet_extent far = {.offset_bytes = UINT64_MAX - 631};
    struct ramet_frame frames[VECTOR_FRAMES];
    struct ramet_reader in;

    (void)state;
    ramet_reader_init(&in, vector, sizeof(vector));
    assert_int_equal(ramet_frame_table_decode(&in, VECTOR_FRAMES, &context,
                                              NULL, VECTOR_END, frames, NULL),
                     RAMET_OK);
    assert_int_equal(frames[2].extent.offset_bytes, 1332);
    ramet_reader_init(&in, vector, sizeof(vector));
    assert_int_equal(ramet_frame_table_decode(&in, VECTOR_FRAMES, &far, NULL,
                                              VECTOR_END, frames, NULL),
                     RAMET_ECORRUPT);
}

static void
table__of_no_frames_has_no_bytes(void **state)
{
    struct ramet_buf out;

    (void)state;
    ramet_buf_init(&out, 10);
    assert_int_equal(ramet_frame_table_encode(NULL, 0, &out), RAMET_OK);
    assert_int_equal(out.len, 0);
    ramet_buf_done(&out);
    assert_int_equal(decode(NULL, 0, 0, 0, NULL, NULL, NULL), RAMET_OK);
}

/* Extremes come back as they were, dictionary and gaps included. */
static void
table__keeps_extremes(void **state)
{
    struct ramet_frame frames[] = {
        frame(1, 64, 32, 1, 1),
        frame(65, 64, 33, RAMET_FRAME_BYTES_MAX, 2),
        frame(200, 1, INT64_MAX - 100, 99, 3),
        frame(UINT32_MAX - 63, 64, 32, 1, 4),
    };
    struct ramet_frame back[4];
    struct ramet_buf out;

    (void)state;
    frames[1].kind = RAMET_FRAME_DICT;
    frames[1].base = dict;
    ramet_buf_init(&out, 1000);
    assert_int_equal(ramet_frame_table_encode(frames, 4, &out), RAMET_OK);
    assert_int_equal(
        decode(out.data, out.len, 4, UINT64_MAX, &dict, back, NULL), RAMET_OK);
    for (size_t i = 0; i < 4; i++)
        assert_frames_equal(&back[i], &frames[i]);
    assert_int_equal(back[1].base.length_bytes, 1000);
    assert_int_equal(back[0].base.length_bytes, 0);
    ramet_buf_done(&out);
}

static void
table__takes_about_twenty_bytes_a_frame(void **state)
{
    enum { COUNT = 200 };
    struct ramet_frame frames[COUNT];
    struct ramet_buf out;

    (void)state;
    /* a scan: neighbours of about 1.8 KB */
    for (uint32_t i = 0; i < COUNT; i++)
        frames[i] = frame(1000 + i, 1, 32 + 1800ull * i, 1800, (uint8_t)i);
    ramet_buf_init(&out, 1u << 20);
    assert_int_equal(ramet_frame_table_encode(frames, COUNT, &out), RAMET_OK);
    assert_true(out.len <= COUNT * 19 + 8);
    /* random pages, one in five hundred */
    ramet_buf_clear(&out);
    for (uint32_t i = 0; i < COUNT; i++)
        frames[i].first_pgno = 1 + i * 500;
    assert_int_equal(ramet_frame_table_encode(frames, COUNT, &out), RAMET_OK);
    assert_true(out.len <= COUNT * 20 + 8);
    ramet_buf_done(&out);
}

static void
encode__refuses_frames_that_do_not_ascend(void **state)
{
    static const struct {
        uint32_t first;
        uint32_t pages;
        uint64_t offset;
        uint32_t length;
    } cases[] = {
        {1, 1, 132, 10},                        /* page again */
        {2, 0, 132, 10},                        /* no pages */
        {2, 65, 132, 10},                       /* too many */
        {2, 1, 31, 10},                         /* in the header */
        {2, 1, 132, 0},                         /* no bytes */
        {2, 1, 132, RAMET_FRAME_BYTES_MAX + 1}, /* too many */
        {2, 1, UINT64_MAX, 1},                  /* wraps */
        {2, 1, INT64_MAX, 1},                   /* has no shift */
        {UINT32_MAX, 2, 132, 10},               /* wraps */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct ramet_frame frames[] = {
            frame(1, 1, 32, 100, 1),
            frame(cases[i].first, cases[i].pages, cases[i].offset,
                  cases[i].length, 2)};
        struct ramet_buf out;

        ramet_buf_init(&out, 1000);
        assert_int_equal(ramet_frame_table_encode(frames, 2, &out),
                         RAMET_EINVAL);
        assert_int_equal(out.len, 0);
        ramet_buf_done(&out);
    }
}

static void
encode__refuses_what_it_has_no_form_for(void **state)
{
    struct ramet_frame frames[] = {frame(1, 1, 32, 100, 1),
                                   frame(2, 1, 132, 100, 1)};
    struct ramet_buf out;

    (void)state;
    ramet_buf_init(&out, 1000);
    frames[1].kind = RAMET_FRAME_DELTAS;
    assert_int_equal(ramet_frame_table_encode(frames, 2, &out), RAMET_EINVAL);
    frames[1].kind = RAMET_FRAME_PLAIN;
    frames[1].extent.hash_algo = 9;
    assert_int_equal(ramet_frame_table_encode(frames, 2, &out), RAMET_EINVAL);
    frames[1].extent.hash_algo = RAMET_HASH_XXH3_128;
    frames[0].extent.offset_bytes = 31; /* inside the header */
    assert_int_equal(ramet_frame_table_encode(frames, 2, &out), RAMET_EINVAL);
    ramet_buf_done(&out);
    ramet_buf_init(&out, 30);
    frames[0].extent.offset_bytes = 32;
    assert_int_equal(ramet_frame_table_encode(frames, 2, &out), RAMET_ETOOBIG);
    ramet_buf_done(&out);
}

static void
decode__rejects_every_truncation(void **state)
{
    struct ramet_frame frames[VECTOR_FRAMES];

    (void)state;
    for (size_t len = 0; len < sizeof(vector); len++)
        assert_int_equal(
            decode(vector, len, VECTOR_FRAMES, VECTOR_END, NULL, frames, NULL),
            RAMET_ECORRUPT);
    for (uint64_t size = 0; size < VECTOR_END; size++)
        assert_int_equal(decode(vector, sizeof(vector), VECTOR_FRAMES, size,
                                NULL, frames, NULL),
                         RAMET_ECORRUPT);
}

/* Whatever a bit flip makes of the table: an error, or frames that still obey
 * the rules. (In its parent a table is covered by a hash.) */
static void
decode__of_every_bit_flip_obeys_the_rules(void **state)
{
    uint8_t bytes[sizeof(shifted)];

    (void)state;
    memcpy(bytes, shifted, sizeof(shifted));
    for (size_t bit = 0; bit < sizeof(shifted) * 8; bit++) {
        struct ramet_frame frames[VECTOR_FRAMES];
        uint32_t last = 0;
        enum ramet_rc rc;

        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        rc = decode(bytes, sizeof(bytes), VECTOR_FRAMES, VECTOR_END, NULL,
                    frames, NULL);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(rc == RAMET_OK || rc == RAMET_ECORRUPT ||
                    rc == RAMET_EVERSION);
        for (size_t i = 0; rc == RAMET_OK && i < VECTOR_FRAMES; i++) {
            assert_true(frames[i].first_pgno > last);
            assert_true(frames[i].extent.offset_bytes >=
                        RAMET_SEGMENT_HEADER_SIZE);
            last = frames[i].first_pgno + frames[i].page_count - 1;
            assert_true(frames[i].extent.offset_bytes +
                            frames[i].extent.length_bytes <=
                        VECTOR_END);
        }
    }
}

/* Well-formed varints that say what can't be. */
static void
decode__rejects_nonsense(void **state)
{
    static const struct {
        const char *what;
        enum ramet_rc rc;
        uint8_t bytes[48];
        size_t len;
    } cases[] = {
        {"hash algorithm 2", RAMET_EVERSION, {2, 0, 0, 32, 0, 1, H16(1)}, 22},
        {"usual kind delta", RAMET_EVERSION, {1, 2, 0, 32, 0, 1, H16(1)}, 22},
        {"usual kind 3", RAMET_EVERSION, {1, 3, 0, 32, 0, 1, H16(1)}, 22},
        {"a dictionary, and none",
         RAMET_ECORRUPT,
         {1, 1, 0, 32, 0, 1, H16(1)},
         22},
        {"65 pages", RAMET_ECORRUPT, {1, 0, 64, 32, 0, 1, H16(1)}, 22},
        {"offset in the header",
         RAMET_ECORRUPT,
         {1, 0, 0, 31, 0, 1, H16(1)},
         22},
        {"delta", RAMET_EVERSION, {1, 0, 0, 32, 1, 2, 0, 1, H16(1)}, 24},
        {"65 pages in an entry",
         RAMET_ECORRUPT,
         {1, 0, 0, 32, 1, 0, 64, 1, H16(1)},
         24},
        {"shift beyond the end", /* 968 forward, and a byte */
         RAMET_ECORRUPT,
         {1, 0, 0, 32, 2, 0x90, 0x0f, 0, H16(1)},
         24},
        {"shift into the header", /* a byte back */
         RAMET_ECORRUPT,
         {1, 0, 0, 32, 2, 1, 0, H16(1)},
         23},
        {"shift of 2^63-1",
         RAMET_ECORRUPT,
         {1, 0, 0, 32, 2, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          1, 0, H16(1)},
         32},
        {"shift of -2^63",
         RAMET_ECORRUPT,
         {1, 0, 0, 32, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          1, 0, H16(1)},
         32},
        {"length beyond the end",
         RAMET_ECORRUPT,
         {1, 0, 0, 32, 0, 0xe8, 7, H16(1)},
         23},
        {"length above 4 MiB",
         RAMET_ECORRUPT,
         {1, 0, 0, 32, 0, 0x80, 0x80, 0x80, 2, H16(1)},
         25},
        {"page 2^32",
         RAMET_ECORRUPT,
         {1, 0, 0, 32, 0xfc, 0xff, 0xff, 0xff, 0x3f, 1, H16(1)},
         26},
        {"long varint", RAMET_ECORRUPT, {1, 0, 0, 32, 0x80, 0, 1, H16(1)}, 23},
    };
    struct ramet_frame one;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const enum ramet_rc rc =
            decode(cases[i].bytes, cases[i].len, 1, 1000, NULL, &one, NULL);

        if (rc != cases[i].rc)
            fail_msg("%s: %d", cases[i].what, rc);
    }
    /* the last page number there is, is fine: 2^32-1 = 1 + gap */
    {
        static const uint8_t last[] = {1,    0,    0,    32, 0xf8,  0xff,
                                       0xff, 0xff, 0x3f, 1,  H16(1)};

        assert_int_equal(decode(last, sizeof(last), 1, 1000, NULL, &one, NULL),
                         RAMET_OK);
        assert_int_equal(one.first_pgno, UINT32_MAX);
    }
}

/* ---- chunks --------------------------------------------------------------- */

static struct ramet_table_chunk
seal(const uint8_t *bytes, size_t len, uint32_t first, uint32_t last)
{
    return (struct ramet_table_chunk){.first_pgno = first,
                                      .last_pgno = last,
                                      .offset_bytes = 632,
                                      .length_bytes = (uint32_t)len,
                                      .hash = ramet_hash128(bytes, len)};
}

static enum ramet_rc
decode_chunk(const struct ramet_table_chunk *chunk, const uint8_t *bytes,
             size_t len)
{
    const struct ramet_extent context = {.kind = RAMET_IN_SEGMENT};
    struct ramet_frame *frames = NULL;
    uint32_t count = 0;
    const enum ramet_rc rc = ramet_table_chunk_decode(
        chunk, bytes, len, &context, NULL, VECTOR_END, &frames, &count, NULL);

    if (rc == RAMET_OK) {
        assert_int_equal(count, VECTOR_FRAMES);
        assert_int_equal(frames[2].first_pgno, 10);
        ramet_free(frames);
    } else {
        assert_null(frames);
    }
    return rc;
}

static void
chunk__is_checked_against_its_parent(void **state)
{
    uint8_t bytes[1 + sizeof(vector) + 1] = {VECTOR_FRAMES};
    const size_t len = 1 + sizeof(vector);
    struct ramet_table_chunk chunk;

    (void)state;
    memcpy(bytes + 1, vector, sizeof(vector));
    chunk = seal(bytes, len, 1, 11);
    assert_int_equal(decode_chunk(&chunk, bytes, len), RAMET_OK);
    assert_int_equal(decode_chunk(&chunk, bytes, len - 1), RAMET_ECORRUPT);
    for (size_t bit = 0; bit < len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(decode_chunk(&chunk, bytes, len), RAMET_ECORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    chunk = seal(bytes, len, 2, 11); /* other pages than promised */
    assert_int_equal(decode_chunk(&chunk, bytes, len), RAMET_ECORRUPT);
    chunk = seal(bytes, len, 1, 12);
    assert_int_equal(decode_chunk(&chunk, bytes, len), RAMET_ECORRUPT);
    chunk = seal(bytes, len + 1, 1, 11); /* a byte behind the table */
    assert_int_equal(decode_chunk(&chunk, bytes, len + 1), RAMET_ECORRUPT);
    for (unsigned count = 0; count < 256; count++) { /* a wrong count */
        bytes[0] = (uint8_t)count;
        chunk = seal(bytes, len, 1, 11);
        if (count != VECTOR_FRAMES)
            assert_int_equal(decode_chunk(&chunk, bytes, len), RAMET_ECORRUPT);
    }
}

static void
chunk__survives_failure_of_each_allocation(void **state)
{
    uint8_t bytes[1 + sizeof(vector)] = {VECTOR_FRAMES};
    struct ramet_table_chunk chunk;

    (void)state;
    memcpy(bytes + 1, vector, sizeof(vector));
    chunk = seal(bytes, sizeof(bytes), 1, 11);
    ramet_alloc_fail_at(0);
    assert_int_equal(decode_chunk(&chunk, bytes, sizeof(bytes)), RAMET_ENOMEM);
    ramet_alloc_fail_at(-1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_put__gives_the_vector),
        cmocka_unit_test(encode__gives_the_vector),
        cmocka_unit_test(decode__reads_the_vector),
        cmocka_unit_test(table__has_frames_in_any_order),
        cmocka_unit_test(decode__adds_where_the_object_begins),
        cmocka_unit_test(table__of_no_frames_has_no_bytes),
        cmocka_unit_test(table__keeps_extremes),
        cmocka_unit_test(table__takes_about_twenty_bytes_a_frame),
        cmocka_unit_test(encode__refuses_frames_that_do_not_ascend),
        cmocka_unit_test(encode__refuses_what_it_has_no_form_for),
        cmocka_unit_test(decode__rejects_every_truncation),
        cmocka_unit_test(decode__of_every_bit_flip_obeys_the_rules),
        cmocka_unit_test(decode__rejects_nonsense),
        cmocka_unit_test(chunk__is_checked_against_its_parent),
        cmocka_unit_test(chunk__survives_failure_of_each_allocation),
    };
    return cmocka_run_group_tests_name("frame_table", tests, NULL, NULL);
}
