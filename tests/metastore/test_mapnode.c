/*
 * test_mapnode.c - nodes of page maps as bytes. Their hashes stand with their
 * parents, so that here every change of a byte is well-hashed nonsense.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "metastore/mapnode.h"
#include "pagestore/delta.h"

static const struct ramet_vid volume = {.id = {{7}}};

static void
fill(void *out, int byte, size_t len)
{
    memset(out, byte, len);
}

/* The leaf of docs/format.md, "Page maps", test vector. */
static void
make_leaf(struct ramet_leaf *leaf)
{
    memset(leaf, 0, sizeof(*leaf));
    for (uint32_t i = 0; i < 2; i++) {
        struct ramet_frame *const f = &leaf->pages[i].image;

        leaf->pages[i].image_pgno = i + 1;
        leaf->pages[i].lsn = 7;
        f->kind = RAMET_FRAME_PLAIN;
        f->first_pgno = 1;
        f->page_count = 2;
        f->extent.volume = volume;
        f->extent.kind = RAMET_IN_SEGMENT;
        fill(&f->extent.segment, 0x22, 16);
        f->extent.offset_bytes = 32;
        f->extent.length_bytes = 100;
        f->extent.hash_algo = RAMET_HASH_XXH3_128;
        fill(&f->extent.hash, 0xaa, 16);
    }
    leaf->pages[5] = leaf->pages[0]; /* over the image of page 1 */
    leaf->pages[5].lsn = 8;
    leaf->pages[5].block.kind = RAMET_FRAME_DELTAS;
    leaf->pages[5].block.extent.volume = volume;
    leaf->pages[5].block.extent.kind = RAMET_IN_COMMIT;
    leaf->pages[5].block.extent.lsn = 8;
    leaf->pages[5].block.extent.offset_bytes = 400;
    leaf->pages[5].block.extent.length_bytes = 50;
    leaf->pages[5].block.extent.hash_algo = RAMET_HASH_FRONT;
    fill(&leaf->pages[5].block.extent.hash, 0xcc, 16);
    leaf->pages[5].position = 2;
    leaf->pages[4] = leaf->pages[0];
    leaf->pages[4].image_pgno = 5;
    leaf->pages[4].lsn = 9;
    leaf->pages[4].image.kind = RAMET_FRAME_DICT;
    leaf->pages[4].image.first_pgno = 5;
    leaf->pages[4].image.page_count = 1;
    leaf->pages[4].image.extent.offset_bytes = 132;
    leaf->pages[4].image.extent.length_bytes = 200;
    fill(&leaf->pages[4].image.extent.hash, 0xbb, 16);
    leaf->pages[4].image.base.volume = volume;
    leaf->pages[4].image.base.hash_algo = RAMET_HASH_XXH3_128;
    fill(&leaf->pages[4].image.base.segment, 0x33, 16);
    leaf->pages[4].image.base.offset_bytes = 32;
    leaf->pages[4].image.base.length_bytes = 1000;
    fill(&leaf->pages[4].image.base.hash, 0xdd, 16);
}

#define X16(b) b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b
static const uint8_t leaf_vector[] = {
    0x00,      0x01,      0x00,      0x00, 0x09, 0x00,      /* front */
    0x01,      X16(0x33), 0x20,      0xe8, 0x07, X16(0xdd), /* dictionaries */
    0x02,      0x00,      X16(0x22), 0x01, 0x08,            /* objects */
    0x01,      0x01,      0x90,      0x03, 0x31, X16(0xcc), /* blocks */
    0x03,                                                   /* runs */
    0x00,      0x01,      0x00,      0x02, 0x20, 0x63,
    X16(0xaa), /* pages 1, 2 */
    0x02,      0x00,      0x05,      0x00, 0x00, 0xc7,
    0x01,      X16(0xbb), /* page 5 */
    0x00,      0x00,      0x0a,      0x01, 0x00, 0x02,
    0x01,      0x00,      0x01, /* page 6 */
    0x20,      0x63,      X16(0xaa),
};
static const uint8_t inner_vector[] = {
    0x01, 0x01, 0x00, 0x00,      0x09,      0x04,      /* front */
    0x01, 0x02, 0x09, X16(0x44),                       /* objects */
    0x02,                                              /* children */
    0x00, 0x00, 0x00, 0x28,      0x32,      X16(0xaa), /* child 0 */
    0x02, 0x01, 0x05, 0x3c,      X16(0xbb),            /* child 3 */
};

static void
make_inner(struct ramet_inner *inner)
{
    memset(inner, 0, sizeof(*inner));
    inner->level = 1;
    inner->gone = 6;
    inner->children[0].latest = 9;
    inner->children[0].lsn = 9;
    fill(&inner->children[0].id, 0x44, 16);
    inner->children[0].offset_bytes = 40;
    inner->children[0].length_bytes = 50;
    fill(&inner->children[0].hash, 0xaa, 16);
    inner->children[3] = inner->children[0];
    inner->children[3].latest = 4;
    inner->children[3].offset_bytes = 90;
    inner->children[3].length_bytes = 60;
    fill(&inner->children[3].hash, 0xbb, 16);
}

static void
node_encode__gives_the_vectors(void **state)
{
    struct ramet_leaf leaf;
    struct ramet_inner inner;
    struct ramet_buf out;

    (void)state;
    ramet_buf_init(&out, RAMET_NODE_BYTES_MAX);
    make_leaf(&leaf);
    assert_int_equal(ramet_leaf_encode(&leaf, &out, NULL), RAMET_OK);
    assert_int_equal(out.len, sizeof(leaf_vector));
    assert_memory_equal(out.data, leaf_vector, out.len);
    ramet_buf_clear(&out);
    make_inner(&inner);
    ramet_inner_encode(&inner, &out);
    assert_int_equal(out.len, sizeof(inner_vector));
    assert_memory_equal(out.data, inner_vector, out.len);
    ramet_buf_done(&out);
}

/* Header and trailer around the leaf. */
static void
map_object__has_the_vector(void **state)
{
    static const uint8_t vector[] = {
        0x52, 0x41, 0x4d, 0x54, 0x4d, 0x41, 0x50, 0x03, 0x11, 0x11, 0x11,
        0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
        0x11, 0x11, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* the trailer */
        0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44,
        0x44, 0x44, 0x44, 0x44, 0x44, 0x28, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x9c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x71,
        0xbf, 0x3c, 0x86, 0x88, 0x76, 0x3a, 0xc4, 0x57, 0x37, 0xe6, 0xfd,
        0xd2, 0x56, 0x6a, 0xdd, 0x2c, 0xec, 0xd8, 0x34, 0x2f, 0x2c, 0xab,
        0xc4, 0x4d, 0x54, 0xb4, 0x73, 0xb6, 0xc3, 0x02, 0xb7};
    struct ramet_map_trailer trailer = {
        .root = {.offset_bytes = RAMET_MAP_HEADER_SIZE,
                 .length_bytes = sizeof(leaf_vector),
                 .hash = ramet_hash128(leaf_vector, sizeof(leaf_vector))}};
    uint8_t out[RAMET_MAP_HEADER_SIZE + RAMET_MAP_TRAILER_SIZE];
    struct ramet_vid vid;

    (void)state;
    fill(&vid, 0x11, sizeof(vid));
    fill(&trailer.commit_hash, 0x44, sizeof(trailer.commit_hash));
    ramet_map_header_encode(&vid, 9, out);
    ramet_map_trailer_encode(out, &trailer, out + RAMET_MAP_HEADER_SIZE);
    assert_int_equal(sizeof(vector), sizeof(out));
    assert_memory_equal(out, vector, sizeof(out));
}

static void
check_same(const struct ramet_located *a, const struct ramet_located *b)
{
    assert_true(ramet_frame_same(&a->image, &b->image));
    if (b->image.page_count == 0)
        return;
    assert_int_equal(a->lsn, b->lsn);
    assert_int_equal(a->image_pgno, b->image_pgno);
    assert_int_equal(a->block.extent.length_bytes,
                     b->block.extent.length_bytes);
    if (!ramet_located_has_delta(b))
        return;
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->block.kind, RAMET_FRAME_DELTAS);
    assert_int_equal(a->block.extent.kind, b->block.extent.kind);
    assert_int_equal(a->block.extent.lsn, b->block.extent.lsn);
    assert_memory_equal(&a->block.extent.segment, &b->block.extent.segment,
                        sizeof(b->block.extent.segment));
    assert_int_equal(a->block.extent.offset_bytes,
                     b->block.extent.offset_bytes);
    assert_true(ramet_hash_equal(&a->block.extent.hash, &b->block.extent.hash));
}

static void
node_decode__takes_the_vectors_apart(void **state)
{
    struct ramet_leaf leaf, expected;
    struct ramet_inner inner, expected_inner;

    (void)state;
    make_leaf(&expected);
    assert_int_equal(ramet_leaf_decode(leaf_vector, sizeof(leaf_vector),
                                       &volume, 0, &leaf, NULL),
                     RAMET_OK);
    for (unsigned i = 0; i < RAMET_LEAF_PAGES; i++)
        check_same(&leaf.pages[i], &expected.pages[i]);
    assert_int_equal(leaf.pages[4].image.base.length_bytes, 1000);
    assert_memory_equal(&leaf.pages[4].image.extent.volume, &volume,
                        sizeof(volume));
    make_inner(&expected_inner);
    assert_int_equal(ramet_inner_decode(inner_vector, sizeof(inner_vector), 1,
                                        0, &inner, NULL),
                     RAMET_OK);
    assert_int_equal(inner.gone, 6);
    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
        assert_true(ramet_node_ref_equal(&inner.children[i],
                                         &expected_inner.children[i]));
        assert_int_equal(inner.children[i].latest,
                         expected_inner.children[i].latest);
    }
}

static void
node_decode__refuses_another_place_in_the_tree(void **state)
{
    struct ramet_leaf leaf;
    struct ramet_inner inner;

    (void)state;
    assert_int_equal(ramet_leaf_decode(leaf_vector, sizeof(leaf_vector),
                                       &volume, 1, &leaf, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(ramet_leaf_decode(inner_vector, sizeof(inner_vector),
                                       &volume, 0, &leaf, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(ramet_inner_decode(inner_vector, sizeof(inner_vector), 2,
                                        0, &inner, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(ramet_inner_decode(leaf_vector, sizeof(leaf_vector), 1, 0,
                                        &inner, NULL),
                     RAMET_ECORRUPT);
}

static void
check_leaf(const struct ramet_leaf *leaf)
{
    for (uint32_t i = 0; i < RAMET_LEAF_PAGES; i++) {
        const struct ramet_frame *const f = &leaf->pages[i].image;
        const uint32_t pgno = leaf->pages[i].image_pgno;

        if (f->page_count == 0)
            continue;
        if (!ramet_located_has_delta(&leaf->pages[i]))
            assert_int_equal(pgno, leaf->index * RAMET_LEAF_PAGES + i + 1);
        assert_true(leaf->pages[i].lsn >= 1);
        assert_true(leaf->pages[i].block.extent.length_bytes <=
                    RAMET_DELTA_BLOCK_MAX);
        assert_true(f->first_pgno >= 1 && f->first_pgno <= pgno);
        assert_true(pgno - f->first_pgno < f->page_count);
        assert_true(f->page_count <= RAMET_FRAME_PAGES_MAX);
        assert_true(f->extent.length_bytes >= 1 &&
                    f->extent.length_bytes <= RAMET_FRAME_BYTES_MAX);
        assert_true(f->extent.offset_bytes <= INT64_MAX);
        assert_true(f->kind == RAMET_FRAME_PLAIN || f->base.length_bytes > 0);
    }
}

/* The vector's leaf, said to be another one: `index` as four bytes of a varint. */
static enum ramet_rc
decode_as(uint32_t index, const uint8_t varint[4], struct ramet_leaf *out)
{
    uint8_t bytes[sizeof(leaf_vector) + 3];

    assert_int_equal(leaf_vector[3], 0); /* its own index */
    memcpy(bytes, leaf_vector, 3);
    memcpy(bytes + 3, varint, 4);
    memcpy(bytes + 7, leaf_vector + 4, sizeof(leaf_vector) - 4);
    return ramet_leaf_decode(bytes, sizeof(bytes), &volume, index, out, NULL);
}

static void
leaf_decode__beyond_the_last_page_is_refused(void **state)
{
    static const uint8_t last[4] = {0xff, 0xff, 0xff, 0x1f};
    static const uint8_t beyond[4] = {0x80, 0x80, 0x80, 0x20};
    static struct ramet_leaf leaf;

    (void)state;
    assert_int_equal(decode_as((1u << 26) - 1, last, &leaf), RAMET_OK);
    assert_int_equal(leaf.pages[0].image_pgno, (1u << 26) * 64 - 63);
    /* Its pages' numbers would begin again at 1. */
    assert_int_equal(decode_as(1u << 26, beyond, &leaf), RAMET_ECORRUPT);
}

/* Decode bytes of either kind; whatever they are, what comes out is sound. */
static void
try_node(const uint8_t *bytes, size_t len)
{
    uint8_t *const exact = malloc(len + 1);
    static struct ramet_leaf leaf;
    static struct ramet_inner inner;
    enum ramet_rc rc;

    memcpy(exact, bytes, len);
    rc = ramet_leaf_decode(exact, len, &volume, 0, &leaf, NULL);
    assert_true(rc == RAMET_OK || rc == RAMET_ECORRUPT || rc == RAMET_EVERSION);
    if (rc == RAMET_OK)
        check_leaf(&leaf);
    rc = ramet_inner_decode(exact, len, 1, 0, &inner, NULL);
    assert_true(rc == RAMET_OK || rc == RAMET_ECORRUPT || rc == RAMET_EVERSION);
    for (unsigned i = 0; rc == RAMET_OK && i < RAMET_INNER_CHILDREN; i++)
        assert_true(inner.children[i].length_bytes <= RAMET_NODE_BYTES_MAX);
    for (uint32_t i = 0; i < RAMET_LEAF_PAGES; i++) {
        struct ramet_located one;
        struct ramet_node_ref child;

        rc = ramet_leaf_find(exact, len, &volume, i + 1, &one, NULL);
        if (rc == RAMET_OK && one.image.page_count > 0)
            assert_true(one.image_pgno - one.image.first_pgno <
                        one.image.page_count);
        rc = ramet_inner_find(exact, len, 1, 0, i, &child, NULL);
        if (rc == RAMET_OK)
            assert_true(child.length_bytes <= RAMET_NODE_BYTES_MAX);
    }
    free(exact);
}

static void
node_decode__survives_every_byte_and_every_truncation(void **state)
{
    static const struct {
        const uint8_t *bytes;
        size_t len;
    } vectors[2] = {{leaf_vector, sizeof(leaf_vector)},
                    {inner_vector, sizeof(inner_vector)}};
    struct ramet_leaf leaf;
    uint8_t bytes[256];

    (void)state;
    for (size_t v = 0; v < 2; v++) {
        for (size_t at = 0; at < vectors[v].len; at++) {
            for (unsigned value = 0; value < 256; value++) {
                memcpy(bytes, vectors[v].bytes, vectors[v].len);
                bytes[at] = (uint8_t)value;
                try_node(bytes, vectors[v].len);
            }
        }
        for (size_t len = 0; len < vectors[v].len; len++)
            try_node(vectors[v].bytes, len);
    }
    for (size_t len = 0; len < sizeof(leaf_vector); len++)
        assert_int_equal(
            ramet_leaf_decode(leaf_vector, len, &volume, 0, &leaf, NULL),
            RAMET_ECORRUPT);
}

/* Random leaves and inner nodes, the fullest ones among them. */
static void
node__comes_back_as_it_was(void **state)
{
    static struct ramet_leaf leaf, leaf_back;
    static struct ramet_inner inner, inner_back;
    struct ramet_buf out, again;

    (void)state;
    srand(1);
    ramet_buf_init(&out, RAMET_NODE_BYTES_MAX);
    ramet_buf_init(&again, RAMET_NODE_BYTES_MAX);
    for (int round = 0; round < 300; round++) {
        const int kind = round % 3; /* 2: every field as large as can be */
        const uint32_t index =
            kind == 2 ? (1u << 26) - 2 : (uint32_t)rand() % 9;

        memset(&leaf, 0, sizeof(leaf));
        leaf.index = index;
        leaf.gone = kind == 0 ? 0 : (uint64_t)rand();
        for (uint32_t i = 0; i < RAMET_LEAF_PAGES; i++) {
            struct ramet_located *const page = &leaf.pages[i];
            struct ramet_frame *const f = &page->image;

            if (i > 0 && kind != 2 && rand() % 4 == 0)
                continue;
            page->lsn = kind == 2 ? UINT64_MAX - 1 - i : (uint64_t)rand() + 1;
            page->image_pgno = index * RAMET_LEAF_PAGES + i + 1;
            if (kind == 2 || rand() % 2 == 0) {
                page->block.kind = RAMET_FRAME_DELTAS;
                page->block.extent.kind = RAMET_IN_SEGMENT;
                page->block.extent.hash_algo = RAMET_HASH_FRONT;
                fill(&page->block.extent.segment,
                     128 + (kind == 2 ? (int)i : rand() % 2), 16);
                page->block.extent.offset_bytes =
                    kind == 2 ? INT64_MAX : 32 + (uint64_t)rand() % 3;
                page->block.extent.length_bytes = RAMET_DELTA_BLOCK_MAX;
                page->position = kind == 2 ? RAMET_DELTA_BLOCK_PAGES_MAX - 1
                                           : (uint32_t)rand() % 60;
                if (kind == 2 || rand() % 2 == 0)
                    page->image_pgno = UINT32_MAX - (uint32_t)i;
            }
            f->first_pgno = page->image_pgno;
            f->page_count = 1;
            f->extent.volume = volume;
            f->extent.kind = kind == 0 ? RAMET_IN_COMMIT : RAMET_IN_SEGMENT;
            f->extent.lsn = kind == 0 ? (uint64_t)rand() % 4 + 1 : 0;
            if (kind != 0)
                fill(&f->extent.segment, kind == 2 ? (int)i : rand() % 5, 16);
            f->extent.offset_bytes =
                kind == 2 ? INT64_MAX - i : 32 + (uint64_t)rand();
            f->extent.length_bytes = RAMET_FRAME_BYTES_MAX;
            f->extent.hash_algo = RAMET_HASH_XXH3_128;
            fill(&f->extent.hash, rand(), 16);
            if (kind == 2) {
                f->kind = RAMET_FRAME_DICT;
                f->base.volume = volume;
                f->base.offset_bytes = INT64_MAX;
                f->base.length_bytes = RAMET_FRAME_BYTES_MAX;
                f->base.hash_algo = RAMET_HASH_XXH3_128;
                fill(&f->base.segment, (int)i + 64, 16);
            }
        }
        ramet_buf_clear(&out);
        ramet_buf_clear(&again);
        assert_int_equal(ramet_leaf_encode(&leaf, &out, NULL), RAMET_OK);
        assert_int_equal(out.failed, RAMET_OK);
        assert_int_equal(ramet_leaf_decode(out.data, out.len, &volume, index,
                                           &leaf_back, NULL),
                         RAMET_OK);
        for (uint32_t i = 0; i < RAMET_LEAF_PAGES; i++)
            check_same(&leaf_back.pages[i], &leaf.pages[i]);
        assert_int_equal(leaf_back.gone, leaf.gone);
        for (uint32_t i = 0; i < RAMET_LEAF_PAGES; i++) {
            struct ramet_located one;

            assert_int_equal(ramet_leaf_find(out.data, out.len, &volume,
                                             index * RAMET_LEAF_PAGES + i + 1,
                                             &one, NULL),
                             RAMET_OK);
            check_same(&one, &leaf.pages[i]);
        }
        assert_int_equal(ramet_leaf_encode(&leaf_back, &again, NULL), RAMET_OK);
        assert_int_equal(out.len, again.len);
        assert_memory_equal(out.data, again.data, out.len);

        memset(&inner, 0, sizeof(inner));
        inner.level = 1 + (unsigned)round % 4;
        inner.index = index;
        inner.gone = kind == 0 ? 0 : (uint64_t)rand();
        for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
            struct ramet_node_ref *const child = &inner.children[i];

            if (i > 0 && kind != 2 && rand() % 3 == 0)
                continue;
            child->latest = kind == 2 ? UINT64_MAX - i : (uint64_t)rand() + 1;
            child->lsn = kind == 2 ? UINT64_MAX - i : (uint64_t)rand() % 3 + 1;
            fill(&child->id, kind == 2 ? (int)i : rand() % 2, 16);
            child->offset_bytes =
                kind == 2 ? INT64_MAX - i : 40 + (uint64_t)rand();
            child->length_bytes = RAMET_NODE_BYTES_MAX;
            fill(&child->hash, rand(), 16);
        }
        ramet_buf_clear(&out);
        ramet_inner_encode(&inner, &out);
        assert_int_equal(out.failed, RAMET_OK);
        assert_int_equal(ramet_inner_decode(out.data, out.len, inner.level,
                                            index, &inner_back, NULL),
                         RAMET_OK);
        for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
            struct ramet_node_ref one;

            assert_true(ramet_node_ref_equal(&inner.children[i],
                                             &inner_back.children[i]));
            assert_int_equal(ramet_inner_find(out.data, out.len, inner.level,
                                              index, i, &one, NULL),
                             RAMET_OK);
            assert_true(ramet_node_ref_equal(&one, &inner.children[i]));
        }
    }
    ramet_buf_done(&again);
    ramet_buf_done(&out);
}

static void
map_trailer__notices_every_flipped_bit(void **state)
{
    const struct ramet_mid id = {.id = {{5}}};
    uint8_t header[RAMET_MAP_HEADER_SIZE], end[RAMET_MAP_TRAILER_SIZE];
    struct ramet_map_trailer trailer = {
        .root = {.offset_bytes = 40, .length_bytes = 100}};
    struct ramet_map_trailer back;
    const uint64_t size = 40 + 100 + 64;

    (void)state;
    ramet_map_header_encode(&volume, 3, header);
    ramet_map_trailer_encode(header, &trailer, end);
    assert_int_equal(ramet_map_trailer_decode(&volume, 3, &id, header, end,
                                              size, &back, NULL),
                     RAMET_OK);
    assert_int_equal(back.root.length_bytes, 100);
    assert_int_equal(ramet_map_trailer_decode(&volume, 4, &id, header, end,
                                              size, &back, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(ramet_map_trailer_decode(&volume, 3, &id, header, end,
                                              size + 1, &back, NULL),
                     RAMET_ECORRUPT);
    for (size_t bit = 0; bit < (sizeof(header) + sizeof(end)) * 8; bit++) {
        uint8_t *const byte = bit / 8 < sizeof(header)
                                  ? &header[bit / 8]
                                  : &end[bit / 8 - sizeof(header)];
        enum ramet_rc rc;

        *byte ^= (uint8_t)(1u << bit % 8);
        rc = ramet_map_trailer_decode(&volume, 3, &id, header, end, size, &back,
                                      NULL);
        assert_true(rc == RAMET_ECORRUPT || rc == RAMET_EVERSION);
        *byte ^= (uint8_t)(1u << bit % 8);
    }
}

static void
map_level_for__is_the_least_that_covers(void **state)
{
    (void)state;
    assert_int_equal(ramet_map_level_for(0), 0);
    assert_int_equal(ramet_map_level_for(64), 0);
    assert_int_equal(ramet_map_level_for(65), 1);
    assert_int_equal(ramet_map_level_for(16384), 1);
    assert_int_equal(ramet_map_level_for(16385), 2);
    assert_int_equal(ramet_map_level_for(1u << 22), 2);
    assert_int_equal(ramet_map_level_for((1u << 22) + 1), 3);
    assert_int_equal(ramet_map_level_for(1u << 30), 3);
    assert_int_equal(ramet_map_level_for(UINT32_MAX), 4);
    assert_int_equal(ramet_node_index_of(UINT32_MAX, 0), (1u << 26) - 1);
    assert_int_equal(ramet_node_index_of(UINT32_MAX, 4), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node_encode__gives_the_vectors),
        cmocka_unit_test(map_object__has_the_vector),
        cmocka_unit_test(leaf_decode__beyond_the_last_page_is_refused),
        cmocka_unit_test(node_decode__takes_the_vectors_apart),
        cmocka_unit_test(node_decode__refuses_another_place_in_the_tree),
        cmocka_unit_test(node_decode__survives_every_byte_and_every_truncation),
        cmocka_unit_test(node__comes_back_as_it_was),
        cmocka_unit_test(map_trailer__notices_every_flipped_bit),
        cmocka_unit_test(map_level_for__is_the_least_that_covers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
