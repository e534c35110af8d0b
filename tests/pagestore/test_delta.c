/*
 * test_delta.c - deltas of pages, and blocks of them.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/delta_writer.h"
#include "pagestore/pack.h"
#include "pagestore/segment.h"
#include "tests/support/faultstore.h"

#define PAGE 4096u

static const struct ramet_vid volume = {.id = {{7}}};

static void
fill_page(uint8_t *page, size_t len, unsigned seed)
{
    uint32_t x = seed * 2654435761u + 1;

    for (size_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u;
        page[i] = (uint8_t)(x >> 24);
    }
}

static struct ramet_frame_reader *
open_reader(struct ramet_objstore **out_store)
{
    struct ramet_frame_reader *reader;

    assert_int_equal(ramet_memstore_open(out_store, NULL), RAMET_OK);
    assert_int_equal(ramet_frame_reader_new(*out_store, &reader, NULL),
                     RAMET_OK);
    return reader;
}

static enum ramet_rc
find_delta(const uint8_t *content, size_t len, uint32_t page_size,
           uint32_t position, struct ramet_delta *out_delta)
{
    struct ramet_delta_cursor cursor;
    const enum ramet_rc rc =
        ramet_delta_cursor_open(&cursor, content, len, page_size, NULL);

    return rc == RAMET_OK
               ? ramet_delta_cursor_find(&cursor, position, out_delta, NULL)
               : rc;
}

/* What stands before the frame of docs/format.md's test vector, and its content. */
static const uint8_t vector[] = {
    0x02,                                           /* pages */
    0xf0, 0x8e, 0xf1, 0x4f, 0x2f, 0x53, 0x8e, 0x17, /* sums */
    0xea, 0xfa, 0xcd, 0x8e, 0x34, 0xc2, 0x88, 0x1b, /* */
    0xf9, 0x9a, 0xfa, 0x8d, 0x36, 0xdf, 0xa1, 0xe7, /* the frame's */
    0x0f,                                           /* length of the steps */
    0x00, 0x8c, 0x03, 0x00, 0x01, 0x00, 0x00,       /* the first page's */
    0x00, 0x09, 0x00, 0x00, 0x22, 0x00, 0x00, 0x0f, /* the second's */
    0x62,                                           /* literals */
};

/* The vector's base, and its pages. */
static void
fill_vector(uint8_t base[512], uint8_t pages[2][512])
{
    for (uint32_t i = 0; i < 512; i++)
        pages[0][i] = base[i] = (uint8_t)(i * i / 3);
    pages[0][99] = 0x62;
    memset(pages[1], 0, 12);
    pages[1][1] = 8;
    pages[1][2] = 1;
    pages[1][3] = 11;
    memcpy(pages[1] + 12, base + 4, 500);
}

static void
delta__of_the_vector_makes_its_pages(void **state)
{
    uint8_t base[512], pages[2][512], out[512];
    struct ramet_delta delta;
    unsigned noticed = 0;

    (void)state;
    fill_vector(base, pages);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(find_delta(vector, sizeof(vector), 512, i, &delta),
                         RAMET_OK);
        assert_int_equal(delta.literals_len, 1 - i);
        assert_int_equal(ramet_delta_apply(&delta, base, 512, out, NULL),
                         RAMET_OK);
        assert_memory_equal(out, pages[i], sizeof(out));
    }
    /* Nothing but the sum minds another base, where it matters. */
    for (size_t i = 0; i < sizeof(base); i++) {
        base[i] ^= 0x3c;
        if (ramet_delta_apply(&delta, base, 512, out, NULL) == RAMET_OK)
            assert_memory_equal(out, pages[1], sizeof(out));
        else
            noticed++;
        base[i] ^= 0x3c;
    }
    assert_int_equal(noticed, 504);
}

static void
delta__survives_every_bit_and_every_truncation(void **state)
{
    uint8_t base[512], pages[2][512], out[512];
    struct ramet_delta delta;

    (void)state;
    fill_vector(base, pages);
    for (size_t len = 0; len < sizeof(vector); len++) {
        uint8_t *const bytes = malloc(len + 1);

        memcpy(bytes, vector, len);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(find_delta(bytes, len, 512, i, &delta),
                             RAMET_ECORRUPT);
        free(bytes);
    }
    assert_int_equal(find_delta(vector, sizeof(vector), 512, 2, &delta),
                     RAMET_ECORRUPT);
    for (size_t bit = 0; bit < sizeof(vector) * 8; bit++) {
        uint8_t *const bytes = malloc(sizeof(vector));

        memcpy(bytes, vector, sizeof(vector));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        /* Accepted only as the very page: another encoding of it. */
        for (uint32_t i = 0; i < 2; i++)
            if (find_delta(bytes, sizeof(vector), 512, i, &delta) == RAMET_OK &&
                ramet_delta_apply(&delta, base, 512, out, NULL) == RAMET_OK)
                assert_memory_equal(out, pages[i], sizeof(out));
        free(bytes);
    }
}

/* The document: a block's steps and literals are used up. */
static void
block__with_more_than_its_pages_take_is_refused(void **state)
{
    uint8_t more[sizeof(vector) + 1];
    struct ramet_delta delta;

    (void)state;
    memcpy(more, vector, sizeof(vector)); /* a literal */
    more[sizeof(vector)] = 0;
    assert_int_equal(find_delta(more, sizeof(more), 512, 1, &delta),
                     RAMET_ECORRUPT);
    memcpy(more, vector, sizeof(vector) - 1); /* a step */
    more[25]++;
    more[sizeof(vector) - 1] = 0;
    more[sizeof(vector)] = 0x62;
    assert_int_equal(find_delta(more, sizeof(more), 512, 1, &delta),
                     RAMET_ECORRUPT);
}

static void
cursor__finds_the_same_in_any_order(void **state)
{
    struct ramet_delta_cursor cursor;
    struct ramet_delta alone, found;

    (void)state;
    assert_int_equal(
        ramet_delta_cursor_open(&cursor, vector, sizeof(vector), 512, NULL),
        RAMET_OK);
    for (uint32_t i = 0; i < 16; i++) {
        const uint32_t position = 0x3b46u >> i & 1; /* on, back, and again */

        assert_int_equal(
            find_delta(vector, sizeof(vector), 512, position, &alone),
            RAMET_OK);
        assert_int_equal(
            ramet_delta_cursor_find(&cursor, position, &found, NULL), RAMET_OK);
        assert_ptr_equal(found.steps, alone.steps);
        assert_int_equal(found.steps_len, alone.steps_len);
        assert_ptr_equal(found.literals, alone.literals);
        assert_int_equal(found.literals_len, alone.literals_len);
        assert_true(found.sum == alone.sum);
        assert_int_equal(ramet_delta_cursor_find(&cursor, 2, &found, NULL),
                         RAMET_ECORRUPT);
    }
}

/* Steps that are refused, whatever the sum says: of one page of 512 bytes. */
static void
steps__that_leave_page_or_base_are_refused(void **state)
{
    static const struct {
        uint8_t len, steps[8];
    } cases[] = {
        {3, {0x00, 0x00, 0x01}},       /* the base from byte -1 on */
        {3, {0x00, 0x00, 0x02}},       /* or to its end and one more */
        {4, {0x00, 0x84, 0x10, 0x00}}, /* 513 bytes */
        {2, {0x81, 0x04}},             /* 513 literals */
        {3, {0x00, 0x03, 0x00}},       /* a kind that there is not */
        {3, {0x00, 0x01, 0x00}},       /* no numbers */
        {4, {0x00, 0x85, 0x08, 0x00}}, /* 514 bytes of them */
        {4, {0x00, 0x00, 0x00, 0x00}}, /* something behind the last */
        {4, {0x80, 0x00, 0x00, 0x00}}, /* a long varint */
        {3, {0x00, 0x8a, 0x10}},       /* 514 zeros */
    };
    uint8_t base[512] = {0}, out[512];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct ramet_delta delta = {.steps = cases[i].steps,
                                          .steps_len = cases[i].len,
                                          .sum = ramet_hash64(base, 512)};

        assert_int_equal(ramet_delta_apply(&delta, base, 512, out, NULL),
                         RAMET_ECORRUPT);
    }
}

/* Numbers go with the first copy that has what they point to, with the next one
 * behind it, or stay; and with more copies than 256 they are refused. */
static void
numbers__follow_the_copies(void **state)
{
    struct ramet_delta delta = {.sum = 0};
    uint8_t base[512], page[512], out[512];
    uint8_t steps[2048];
    size_t len = 0;

    (void)state;
    for (unsigned i = 0; i < 512; i++)
        page[i] = base[i] = (uint8_t)(i * 7 + 1);
    /* 100 is in the copy from 100, 99 goes with it, 400 stays. */
    memcpy(base, "\0\x64\0\x63\1\x90", 6);
    memcpy(page, "\0\x6e\0\x6d\1\x90", 6);
    memset(page + 6, 0, 104);
    memcpy(page + 110, base + 100, 100);
    memset(page + 210, 0, 302);
    delta.steps =
        (const uint8_t[]){0, 3 * 4 + 1, 0,     /* 3 numbers from 0 */
                          0, 0xa2,      3,     /* 104 zeros */
                          0, 0x90,      3, 19, /* 100 bytes from 10 before */
                          0, 2};               /* zeros */
    delta.steps_len = 12;
    delta.sum = ramet_hash64(page, 512);
    assert_int_equal(ramet_delta_apply(&delta, base, 512, out, NULL), RAMET_OK);
    assert_memory_equal(out, page, 512);

    for (unsigned copies = 256; copies <= 257; copies++) {
        len = 0;
        memcpy(steps + len, "\0\x05\0", 3); /* one number */
        len += 3;
        for (unsigned i = 0; i < copies - 1; i++, len += 3)
            memcpy(steps + len, "\0\x04\0", 3); /* a byte */
        memcpy(steps + len, "\0\0\0", 3);
        len += 3;
        delta.steps = steps;
        delta.steps_len = (uint32_t)len;
        delta.sum = ramet_hash64(base, 512);
        assert_int_equal(ramet_delta_apply(&delta, base, 512, out, NULL),
                         copies == 256 ? RAMET_OK : RAMET_ECORRUPT);
    }
}

static const struct ramet_delta_shape no_shape;

static enum ramet_rc
try_plain(struct ramet_delta_writer *writer, const uint8_t *base,
          const uint8_t *page, uint32_t most, uint32_t *out_length)
{
    return ramet_delta_writer_try(writer, base, &no_shape, page, &no_shape,
                                  most, out_length, NULL);
}

/* ---- the way back ------------------------------------------------------------ */

enum { CELLS = 20 };

static void
put_be16(uint8_t *p, size_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* A page of cells, from its end on, with a table of where they are. */
static struct ramet_delta_shape
fill_cells(uint8_t *page, unsigned seed, unsigned longer)
{
    size_t at = PAGE;

    memset(page, 0, PAGE);
    for (unsigned i = 0; i < CELLS; i++) {
        const size_t len = 90 + i * 3 + (i == longer ? 25 : 0);

        at -= len;
        fill_page(page + at, len, seed + i);
        put_be16(page + 8 + 2 * i, at);
    }
    page[0] = 13;
    put_be16(page + 5, at);
    return (struct ramet_delta_shape){.lone = 5, .table = 8, .count = CELLS};
}

/* The base comes back from the page and what was packed; with a bit of that or of the
 * page another it does not, or is the same all the same. */
static void
check_way_back(const uint8_t *base, const struct ramet_delta_shape *base_shape,
               uint8_t *page, const struct ramet_delta_shape *shape,
               uint32_t most)
{
    const uint64_t sum = ramet_hash64(base, PAGE);
    struct ramet_delta_writer *writer;
    struct ramet_packer *packer;
    struct ramet_buf packed;
    uint32_t length = 0;
    uint8_t out[PAGE];

    ramet_buf_init(&packed, 1u << 16);
    assert_int_equal(ramet_delta_writer_new(PAGE, 1, 1u << 20, &writer, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_packer_new(&packer, NULL), RAMET_OK);
    assert_int_equal(ramet_delta_writer_try(writer, base, base_shape, page,
                                            shape, UINT32_MAX, &length, NULL),
                     RAMET_OK);
    assert_true(length > 0);
    assert_int_equal(ramet_pack_back(packer, ramet_delta_writer_kept(writer),
                                     base, page, PAGE, PAGE, &packed, &length,
                                     NULL),
                     RAMET_OK);
    assert_in_range(length, 1, most);
    assert_int_equal(packed.len, length);
    assert_true(
        ramet_unpack(packer, page, packed.data, length, sum, out, PAGE));
    assert_memory_equal(out, base, PAGE);
    assert_false(
        ramet_unpack(packer, page, packed.data, length, sum + 1, out, PAGE));
    for (uint32_t bit = 0; bit < 8 * length; bit += 3) {
        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (ramet_unpack(packer, page, packed.data, length, sum, out, PAGE))
            assert_memory_equal(out, base, PAGE);
        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (uint32_t len = 0; len < length; len++)
        assert_false(
            ramet_unpack(packer, page, packed.data, len, sum, out, PAGE));
    ramet_buf_done(&packed);
    ramet_packer_free(packer);
    ramet_delta_writer_free(writer);
}

static void
way_back__of_what_was_moved_left_out_or_put_in_is_short(void **state)
{
    uint8_t base[PAGE], page[PAGE];

    (void)state;
    fill_page(base, PAGE, 1);
    memcpy(page, base, PAGE); /* nothing */
    check_way_back(base, &no_shape, page, &no_shape, 10);
    fill_page(page + 1000, 50, 2); /* other bytes */
    check_way_back(base, &no_shape, page, &no_shape, 80);
    memcpy(page, base, PAGE); /* 30 more: the last are lost */
    fill_page(page + 500, 30, 3);
    memcpy(page + 530, base + 500, PAGE - 530);
    check_way_back(base, &no_shape, page, &no_shape, 60);
    memcpy(page + 500, base + 600, PAGE - 600); /* 100 fewer */
    check_way_back(base, &no_shape, page, &no_shape, 140);
    memcpy(page, base + 2000, PAGE - 2000); /* halves that change places */
    memcpy(page + PAGE - 2000, base, 2000);
    check_way_back(base, &no_shape, page, &no_shape, 40);
    memset(page, 0, PAGE); /* next to nothing left */
    memcpy(page + 3000, base + 100, 200);
    check_way_back(base, &no_shape, page, &no_shape, PAGE);
}

/* What points to the cells goes with them on the way back as well. */
static void
way_back__has_no_numbers(void **state)
{
    uint8_t base[PAGE], page[PAGE];

    (void)state;
    for (unsigned i = 0; i < CELLS; i++) {
        const struct ramet_delta_shape a = fill_cells(base, 7, CELLS);
        const struct ramet_delta_shape b = fill_cells(page, 7, i);

        check_way_back(base, &a, page, &b, 2 * CELLS + 20);
        check_way_back(page, &b, base, &a, 2 * CELLS + 45);
    }
}

struct pages {
    uint8_t (*base)[PAGE];
    uint8_t (*page)[PAGE];
    uint32_t seen;
    struct ramet_frame_reader *reader;
    const struct ramet_delta_extent *extent;
};

/* Bases at random, and each page another version of its own. */
static void
make_pages(struct pages *p, uint32_t count)
{
    p->base = malloc(count * PAGE);
    p->page = malloc(count * PAGE);
    assert_true(p->base != NULL && p->page != NULL);
    for (uint32_t i = 0; i < count; i++) {
        fill_page(p->base[i], PAGE, i + 1);
        memcpy(p->page[i], p->base[i], PAGE);
        fill_page(p->page[i] + i * 37 % 3000, 20 + i % 90, i + 1000);
    }
}

static enum ramet_rc
write_pages(const struct pages *p, uint32_t count, struct ramet_objstore *store,
            bool allow_inline, uint8_t **io_inline, size_t *io_len,
            struct ramet_delta_extent *out_extent)
{
    struct ramet_delta_writer *writer;
    enum ramet_rc rc;

    rc = ramet_delta_writer_new(PAGE, 1, 8u << 20, &writer, NULL);
    if (rc != RAMET_OK)
        return rc;
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++) {
        uint32_t length = 0;

        rc = ramet_delta_writer_try(writer, p->base[i], &no_shape, p->page[i],
                                    &no_shape, UINT32_MAX, &length, NULL);
        if (rc == RAMET_OK) {
            assert_in_range(length, 10, 300);
            rc = ramet_delta_writer_take(writer, NULL);
        }
    }
    if (rc == RAMET_OK)
        rc = ramet_delta_writer_extent(writer, store, &volume, allow_inline,
                                       io_inline, io_len, out_extent, NULL);
    ramet_delta_writer_free(writer);
    return rc;
}

static enum ramet_rc
check_block(void *ctx, const struct ramet_frame *frame, const uint8_t *content,
            size_t len, struct ramet_err *err)
{
    struct pages *const p = ctx;
    uint8_t out[PAGE];

    (void)err;
    assert_int_equal(frame->kind, RAMET_FRAME_DELTAS);
    assert_true(len <= RAMET_DELTA_CONTENT_BYTES_MAX + 8);
    for (uint32_t i = 0;; i++) {
        struct ramet_delta delta;

        if (find_delta(content, len, PAGE, i, &delta) != RAMET_OK)
            break;
        assert_int_equal(
            ramet_delta_apply(&delta, p->base[p->seen], PAGE, out, NULL),
            RAMET_OK);
        assert_memory_equal(out, p->page[p->seen], PAGE);
        p->seen++;
    }
    return RAMET_OK;
}

static void
check_blocks(struct pages *p, const struct ramet_delta_extent *extent,
             uint64_t lsn)
{
    uint64_t at = extent->offset_bytes -
                  (extent->is_inline ? RAMET_SEGMENT_HEADER_SIZE : 0);
    uint32_t pages = 0;

    for (uint32_t i = 0; i < extent->block_count; i++) {
        const struct ramet_frame frame = {
            .extent.volume = volume,
            .extent.kind =
                extent->is_inline ? RAMET_IN_COMMIT : RAMET_IN_SEGMENT,
            .extent.segment = extent->id,
            .extent.lsn = lsn,
            .extent.offset_bytes = at,
            .extent.length_bytes = extent->blocks[i].length_bytes,
            .extent.hash_algo = RAMET_HASH_FRONT,
            .extent.hash = extent->blocks[i].hash,
            .kind = RAMET_FRAME_DELTAS,
        };

        if (i > 0 && i + 1 < extent->block_count) /* like the one before */
            assert_in_range(frame.extent.length_bytes,
                            RAMET_DELTA_BODY_BYTES / 8 * 7,
                            RAMET_DELTA_BODY_BYTES / 8 * 9);
        pages += extent->blocks[i].page_count;
        assert_int_equal(ramet_frame_read_many(p->reader, &frame, 1, PAGE,
                                               check_block, p, NULL),
                         RAMET_OK);
        assert_int_equal(p->seen, pages);
        at += extent->blocks[i].length_bytes;
    }
}

static void
blocks__in_a_segment_or_inline_give_the_pages_back(void **state)
{
    struct pages p = {.seen = 0};
    struct ramet_delta_extent extent;
    struct ramet_objstore *store;
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct iovec part;
    char key[RAMET_KEY_MAX];

    (void)state;
    p.reader = open_reader(&store);
    make_pages(&p, 500);
    assert_int_equal(write_pages(&p, 500, store, false, &bytes, &len, &extent),
                     RAMET_OK);
    assert_null(bytes);
    assert_false(extent.is_inline);
    assert_in_range(extent.block_count, 5, 60);
    check_blocks(&p, &extent, 0);
    assert_int_equal(p.seen, 500);
    ramet_free(extent.blocks);

    /* Inline, behind what is there. */
    bytes = ramet_calloc(1, 100);
    len = 100;
    assert_int_equal(write_pages(&p, 500, store, true, &bytes, &len, &extent),
                     RAMET_OK);
    assert_true(extent.is_inline);
    assert_int_equal(extent.offset_bytes, 100 + RAMET_SEGMENT_HEADER_SIZE);
    part = (struct iovec){bytes, len};
    ramet_extent_key(&(struct ramet_extent){.volume = volume,
                                            .kind = RAMET_IN_COMMIT,
                                            .lsn = 3},
                     key);
    assert_int_equal(ramet_objstore_put(store, key, &part, 1, NULL), RAMET_OK);
    p.seen = 0;
    check_blocks(&p, &extent, 3);
    assert_int_equal(p.seen, 500);
    ramet_free(extent.blocks);
    ramet_free(bytes);
    free(p.base);
    free(p.page);
    ramet_frame_reader_free(p.reader);
    ramet_objstore_close(store);
}

static void
try__gives_up_where_a_delta_does_not_pay(void **state)
{
    struct ramet_delta_writer *writer;
    uint8_t base[PAGE], page[PAGE];
    uint32_t length = 1;

    (void)state;
    fill_page(base, PAGE, 1);
    fill_page(page, PAGE, 2);
    assert_int_equal(ramet_delta_writer_new(PAGE, 1, 1u << 20, &writer, NULL),
                     RAMET_OK);
    assert_int_equal(try_plain(writer, base, page, 1000, &length), RAMET_OK);
    assert_int_equal(length, 0);
    memcpy(page, base, PAGE);
    page[7]++;
    assert_int_equal(try_plain(writer, base, page, 1000, &length), RAMET_OK);
    assert_in_range(length, 1, 40);
    ramet_delta_writer_free(writer);
    /* No room in all. */
    assert_int_equal(ramet_delta_writer_new(PAGE, 1, PAGE, &writer, NULL),
                     RAMET_OK);
    assert_int_equal(try_plain(writer, base, page, 1000, &length), RAMET_OK);
    assert_int_equal(length, 0);
    ramet_delta_writer_free(writer);
}

/* A page that can't be compressed, and a writer that keeps a delta of it. */
static struct ramet_delta_writer *
keep_one(uint8_t *out_page)
{
    struct ramet_delta_writer *writer;
    uint8_t base[PAGE];
    uint32_t length = 0;

    fill_page(base, PAGE, 1);
    memcpy(out_page, base, PAGE);
    fill_page(out_page + 1000, 300, 2);
    assert_int_equal(ramet_delta_writer_new(PAGE, 1, 1u << 20, &writer, NULL),
                     RAMET_OK);
    assert_int_equal(try_plain(writer, base, out_page, PAGE, &length),
                     RAMET_OK);
    assert_true(length > 0);
    return writer;
}

/* What can't be compressed takes more than a page, in a frame. */
static void
image__that_is_larger_than_its_page_is_no_fault(void **state)
{
    struct ramet_delta_writer *writer;
    uint8_t page[PAGE];
    uint32_t image = 0;

    (void)state;
    writer = keep_one(page);
    assert_true(ramet_delta_writer_is_less(writer, page, &no_shape, 3, &image));
    assert_int_equal(image, PAGE);
    ramet_delta_writer_free(writer);
}

/* What images take is told by their used bytes, once one was compressed. */
static void
image__of_a_page_that_is_half_empty_takes_half(void **state)
{
    static const struct ramet_delta_shape shape = {5, 8, 4};
    struct ramet_delta_writer *writer;
    uint8_t page[PAGE];
    uint32_t image = 0;

    (void)state;
    writer = keep_one(page);
    assert_true(ramet_delta_writer_is_less(writer, page, &no_shape, 3, &image));
    assert_int_equal(image, PAGE);
    page[5] = PAGE / 2 >> 8;
    page[6] = 0;
    assert_true(ramet_delta_writer_is_less(writer, page, &shape, 3, &image));
    assert_int_equal(image, PAGE / 2 + 16);
    page[5] = page[6] = 0; /* nonsense is a full page */
    assert_true(ramet_delta_writer_is_less(writer, page, &shape, 3, &image));
    assert_int_equal(image, PAGE);
    ramet_delta_writer_free(writer);
}

/* Of a page that is nearly empty its image may still have all that was deleted. */
static void
image__takes_no_more_than_its_page_after_one_of_rests(void **state)
{
    static const struct ramet_delta_shape shape = {5, 8, 4};
    struct ramet_delta_writer *writer;
    uint8_t page[PAGE];
    uint32_t image = 0;

    (void)state;
    writer = keep_one(page);
    page[5] = (PAGE - 8) >> 8;
    page[6] = (PAGE - 8) & 0xff;
    assert_true(ramet_delta_writer_is_less(writer, page, &shape, 3, &image));
    assert_int_equal(image, PAGE);
    assert_true(ramet_delta_writer_is_less(writer, page, &no_shape, 3, &image));
    assert_int_equal(image, PAGE);
    ramet_delta_writer_free(writer);
}

/* A delta that is all literals takes no less than its image where these can't be
 * compressed, also of pages that nobody looked at. */
static void
delta__of_what_can_t_be_compressed_is_not_less_than_its_image(void **state)
{
    struct ramet_delta_writer *writer;
    uint8_t base[PAGE], page[PAGE];
    uint32_t length, image = 0;

    (void)state;
    fill_page(base, PAGE, 1);
    assert_int_equal(ramet_delta_writer_new(PAGE, 1, 1u << 20, &writer, NULL),
                     RAMET_OK);
    for (unsigned i = 0; i < 3; i++) {
        fill_page(page, PAGE, 2 + i);
        assert_int_equal(try_plain(writer, base, page, PAGE, &length),
                         RAMET_OK);
        assert_true(length > 0);
        assert_false(
            ramet_delta_writer_is_less(writer, page, &no_shape, 3, &image));
        assert_int_equal(image, PAGE);
    }
    memcpy(page, base, PAGE);
    fill_page(page + 1000, PAGE / 2, 2);
    assert_int_equal(try_plain(writer, base, page, PAGE, &length), RAMET_OK);
    assert_true(ramet_delta_writer_is_less(writer, page, &no_shape, 3, &image));
    ramet_delta_writer_free(writer);
}

static void
writer__survives_every_failed_allocation(void **state)
{
    struct pages p = {.seen = 0};
    struct ramet_objstore *store;
    struct ramet_delta_extent extent = {.blocks = NULL};
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum ramet_rc rc = RAMET_ENOMEM;

    (void)state;
    assert_int_equal(ramet_memstore_open(&store, NULL), RAMET_OK);
    make_pages(&p, 120);
    for (long n = 0; rc != RAMET_OK; n++) {
        assert_true(n < 200);
        ramet_alloc_fail_at(n);
        rc = write_pages(&p, 120, store, true, &bytes, &len, &extent);
        ramet_alloc_fail_at(-1);
        assert_true(rc == RAMET_OK || rc == RAMET_ENOMEM);
    }
    ramet_free(extent.blocks);
    ramet_free(bytes);
    free(p.base);
    free(p.page);
    ramet_objstore_close(store);
}

/* What is not packed to its end leaves nothing behind: others follow in the buffer. */
static void
way_back__survives_every_failed_allocation(void **state)
{
    static const struct ramet_delta_shape none = {.count = 0};
    struct ramet_delta_writer *writer;
    struct ramet_packer *packer;
    struct ramet_buf packed;
    uint8_t base[PAGE], page[PAGE];
    uint32_t length = 0;
    enum ramet_rc rc = RAMET_ENOMEM;

    (void)state;
    fill_page(base, PAGE, 1);
    fill_page(page, PAGE, 1);
    fill_page(page + 1000, 300, 2);
    assert_int_equal(ramet_delta_writer_new(PAGE, 1, 1u << 20, &writer, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_packer_new(&packer, NULL), RAMET_OK);
    assert_int_equal(ramet_delta_writer_try(writer, base, &none, page, &none,
                                            UINT32_MAX, &length, NULL),
                     RAMET_OK);
    assert_true(length > 0);
    /* First none fails: then all memory of the packer's own is there. */
    for (long n = -1; n <= 0 || rc != RAMET_OK; n++) {
        assert_true(n < 20);
        ramet_buf_init(&packed, 1u << 16);
        ramet_alloc_fail_at(n);
        rc = ramet_pack_back(packer, ramet_delta_writer_kept(writer), base,
                             page, PAGE, PAGE, &packed, &length, NULL);
        ramet_alloc_fail_at(-1);
        assert_int_equal(rc, n == -1 || n > 1 ? RAMET_OK : RAMET_ENOMEM);
        assert_int_equal(packed.len, rc == RAMET_OK ? length : 0);
        ramet_buf_done(&packed);
    }
    ramet_packer_free(packer);
    ramet_delta_writer_free(writer);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delta__of_the_vector_makes_its_pages),
        cmocka_unit_test(delta__survives_every_bit_and_every_truncation),
        cmocka_unit_test(block__with_more_than_its_pages_take_is_refused),
        cmocka_unit_test(cursor__finds_the_same_in_any_order),
        cmocka_unit_test(steps__that_leave_page_or_base_are_refused),
        cmocka_unit_test(numbers__follow_the_copies),
        cmocka_unit_test(
            way_back__of_what_was_moved_left_out_or_put_in_is_short),
        cmocka_unit_test(way_back__has_no_numbers),
        cmocka_unit_test(way_back__survives_every_failed_allocation),
        cmocka_unit_test(blocks__in_a_segment_or_inline_give_the_pages_back),
        cmocka_unit_test(try__gives_up_where_a_delta_does_not_pay),
        cmocka_unit_test(image__that_is_larger_than_its_page_is_no_fault),
        cmocka_unit_test(image__of_a_page_that_is_half_empty_takes_half),
        cmocka_unit_test(image__takes_no_more_than_its_page_after_one_of_rests),
        cmocka_unit_test(
            delta__of_what_can_t_be_compressed_is_not_less_than_its_image),
        cmocka_unit_test(writer__survives_every_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
