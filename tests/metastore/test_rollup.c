/*
 * test_rollup.c - pieces of roll-ups and tops as bytes. Their hashes stand with
 * their parents, so that here every change of a byte is well-hashed nonsense.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "metastore/rollup.h"
#include "pagestore/delta.h"

static const struct ramet_vid volume = {.id = {{7}}};

static void
fill(void *out, int byte, size_t len)
{
    memset(out, byte, len);
}

#define X16(b) b, b, b, b, b, b, b, b, b, b, b, b, b, b, b, b

/* Those of docs/format.md, "Page maps", test vectors. */
static const uint8_t piece_vector[] = {
    0x05, 0x01, 0x00,      0x05, 0x09,      0x00,            /* front */
    0x00,                                                    /* dictionaries */
    0x02, 0x01, 0x09,      0x00, X16(0x22),                  /* objects */
    0x01, 0x00, 0x90,      0x03, 0x31,      X16(0xcc),       /* blocks */
    0x03,                                                    /* runs */
    0x00, 0x00, 0x18,      0x00, 0x00,      0x02,      0x00, /* page 5 */
    0x02, 0x00, 0x20,      0x02, 0x20,      0x63,      X16(0xaa), /* page 8 */
    0x00, 0x00, 0x2c,      0x00, 0x00,      0x03,      0x01,      /* page 9 */
    0xc7, 0x01, X16(0xbb),
};
static const uint8_t top_head[] = {
    0x06, 0x01, 0x00,                  /* front */
    0x01, 0x02, 0x06, X16(0x55),       /* objects */
    0x02,                              /* roll-ups */
    0x03, 0x09, 0x00, 0x01,            /* the newest */
    0x04, 0x04, 0x02, 0x00,      0x67, /* and its piece */
};
static const uint8_t top_tail[] = {
    0x02, 0x04, 0x01, 0x02,                             /* the older */
    0x01, 0x08, 0x00, 0x00, 0x28, 0x32,      X16(0xaa), /* pages 2 to 10 */
    0x09, 0x00, 0x01, 0x01, 0x3c, X16(0xbb),            /* page 20 */
    0x04, 0xdd, 0xdd, 0xdd, 0xdd,                       /* the tree's root */
};
#define TOP_SIZE (sizeof(top_head) + sizeof(piece_vector) + sizeof(top_tail))

static void
make_top_vector(uint8_t out[TOP_SIZE])
{
    memcpy(out, top_head, sizeof(top_head));
    memcpy(out + sizeof(top_head), piece_vector, sizeof(piece_vector));
    memcpy(out + sizeof(top_head) + sizeof(piece_vector), top_tail,
           sizeof(top_tail));
}

static const struct ramet_node_ref top_ref = {
    .lsn = 9, .id = {{{0x44}}}, .offset_bytes = 1000, .length_bytes = TOP_SIZE};

static void
make_image(struct ramet_located *page, uint32_t pgno, uint64_t lsn,
           uint64_t offset, uint32_t length, int hash)
{
    *page = (struct ramet_located){.image_pgno = pgno, .lsn = lsn};
    page->image.first_pgno = pgno;
    page->image.page_count = 1;
    page->image.extent.volume = volume;
    fill(&page->image.extent.segment, 0x22, 16);
    page->image.extent.offset_bytes = offset;
    page->image.extent.length_bytes = length;
    page->image.extent.hash_algo = RAMET_HASH_XXH3_128;
    fill(&page->image.extent.hash, hash, 16);
}

static void
add_delta(struct ramet_located *page, uint64_t lsn, uint32_t position)
{
    page->lsn = lsn;
    page->position = position;
    page->block.kind = RAMET_FRAME_DELTAS;
    page->block.extent.volume = volume;
    page->block.extent.kind = RAMET_IN_COMMIT;
    page->block.extent.lsn = lsn;
    page->block.extent.offset_bytes = 400;
    page->block.extent.length_bytes = 50;
    page->block.extent.hash_algo = RAMET_HASH_FRONT;
    fill(&page->block.extent.hash, 0xcc, 16);
}

static void
piece_encode__gives_the_vector(void **state)
{
    struct ramet_located pages[3];
    struct ramet_run_page list[3] = {
        {5, &pages[0]}, {8, &pages[1]}, {9, &pages[2]}};
    struct ramet_buf out;
    uint64_t latest;

    (void)state;
    pages[0] = (struct ramet_located){.image_pgno = 5}; /* under */
    add_delta(&pages[0], 9, 2);
    make_image(&pages[1], 8, 7, 32, 100, 0xaa);
    make_image(&pages[2], 1, 9, 132, 200, 0xbb);
    add_delta(&pages[2], 9, 3);
    ramet_buf_init(&out, RAMET_NODE_BYTES_MAX);
    assert_int_equal(ramet_piece_encode(list, 3, &latest, &out, NULL),
                     RAMET_OK);
    assert_int_equal(latest, 9);
    assert_int_equal(out.len, sizeof(piece_vector));
    assert_memory_equal(out.data, piece_vector, out.len);
    ramet_buf_done(&out);
}

static void
top_encode__gives_the_vector(void **state)
{
    struct ramet_piece_ref pieces[3] = {
        {.first = 5,
         .last = 9,
         .inside = true,
         .node.latest = 9,
         .node.length_bytes = sizeof(piece_vector)},
        {.first = 2, .last = 10},
        {.first = 20, .last = 20},
    };
    struct ramet_top top = {
        .count = 2,
        .rollups = {{.from = 6,
                     .to = 9,
                     .least = 9,
                     .piece_count = 1,
                     .pieces = pieces},
                    {.from = 4,
                     .to = 6,
                     .least = 4,
                     .gone = 6,
                     .piece_count = 2,
                     .pieces = pieces + 1}},
    };
    static const uint8_t root[] = {0xdd, 0xdd, 0xdd, 0xdd};
    uint8_t expected[TOP_SIZE];
    struct ramet_buf inside, out;

    (void)state;
    for (unsigned i = 1; i < 3; i++) {
        struct ramet_node_ref *const node = &pieces[i].node;

        node->latest = 7 - i;
        node->lsn = 6;
        fill(&node->id, 0x55, 16);
        node->offset_bytes = i == 1 ? 40 : 90;
        node->length_bytes = i == 1 ? 50 : 60;
        fill(&node->hash, i == 1 ? 0xaa : 0xbb, 16);
    }
    make_top_vector(expected);
    ramet_buf_init(&inside, RAMET_NODE_BYTES_MAX);
    ramet_buf_init(&out, RAMET_NODE_BYTES_MAX);
    ramet_buf_bytes(&inside, piece_vector, sizeof(piece_vector));
    ramet_top_encode(&top, &inside, root, sizeof(root), &out);
    assert_int_equal(out.failed, RAMET_OK);
    assert_int_equal(out.len, sizeof(expected));
    assert_memory_equal(out.data, expected, out.len);
    ramet_buf_done(&out);
    ramet_buf_done(&inside);
}

static void
top_decode__takes_the_vector_apart(void **state)
{
    uint8_t bytes[TOP_SIZE];
    struct ramet_hash hash;
    struct ramet_top top;

    (void)state;
    make_top_vector(bytes);
    assert_int_equal(
        ramet_top_decode(bytes, sizeof(bytes), &top_ref, &top, NULL), RAMET_OK);
    assert_int_equal(top.count, 2);
    assert_int_equal(top.rollups[0].from, 6);
    assert_int_equal(top.rollups[0].to, 9);
    assert_int_equal(top.rollups[0].least, 9);
    assert_int_equal(top.rollups[0].gone, 0);
    assert_int_equal(top.rollups[1].from, 4);
    assert_int_equal(top.rollups[1].gone, 6);
    assert_int_equal(top.tree_lsn, 4);
    /* What lies in the top has a place in the object, and a hash. */
    hash = ramet_hash128(piece_vector, sizeof(piece_vector));
    assert_int_equal(top.rollups[0].pieces[0].node.lsn, 9);
    assert_int_equal(top.rollups[0].pieces[0].node.offset_bytes,
                     1000 + sizeof(top_head));
    assert_int_equal(top.rollups[0].pieces[0].node.latest, 9);
    assert_memory_equal(&top.rollups[0].pieces[0].node.hash, &hash, 16);
    assert_int_equal(top.tree.length_bytes, 4);
    assert_int_equal(top.tree.offset_bytes, 1000 + TOP_SIZE - 4);
    assert_int_equal(top.rollups[1].pieces[1].node.offset_bytes, 90);
    assert_int_equal(top.rollups[1].pieces[1].node.latest, 5);
    assert_ptr_equal(ramet_rollup_piece(&top.rollups[1], 1), NULL);
    assert_ptr_equal(ramet_rollup_piece(&top.rollups[1], 2),
                     &top.rollups[1].pieces[0]);
    assert_ptr_equal(ramet_rollup_piece(&top.rollups[1], 10),
                     &top.rollups[1].pieces[0]);
    assert_ptr_equal(ramet_rollup_piece(&top.rollups[1], 11), NULL);
    assert_ptr_equal(ramet_rollup_piece(&top.rollups[1], 20),
                     &top.rollups[1].pieces[1]);
    assert_ptr_equal(ramet_rollup_piece(&top.rollups[1], 21), NULL);
    ramet_top_done(&top);
}

static enum ramet_rc
walk_piece(const uint8_t *bytes, const struct ramet_piece_ref *ref,
           unsigned *out_runs)
{
    static struct ramet_piece_walk walk;
    bool more = true;
    enum ramet_rc rc = ramet_piece_start(&walk, bytes, &volume, ref, NULL);

    *out_runs = 0;
    while (rc == RAMET_OK && more) {
        rc = ramet_piece_next(&walk, &more, NULL);
        if (rc == RAMET_OK && more) {
            const struct ramet_located page =
                ramet_runs_page(&walk.runs, walk.runs.start);

            assert_true(walk.runs.start >= ref->first);
            assert_true(walk.runs.next <= (uint64_t)ref->last + 1);
            assert_true(page.lsn >= 1 && page.lsn <= ref->node.latest);
            assert_true(page.image.page_count > 0 ||
                        ramet_located_has_delta(&page));
            assert_true(page.image.page_count <= RAMET_FRAME_PAGES_MAX);
            if (page.image.page_count > 0)
                assert_true(page.image_pgno - page.image.first_pgno <
                            page.image.page_count);
            (*out_runs)++;
        }
    }
    return rc;
}

/* Of a piece that says other than its top, nothing is believed. */
static void
piece__that_is_not_what_its_top_says__is_damage(void **state)
{
    const struct ramet_piece_ref right = {.first = 5,
                                          .last = 9,
                                          .node.latest = 9,
                                          .node.length_bytes =
                                              sizeof(piece_vector)};
    struct ramet_piece_ref wrong;
    unsigned runs;

    (void)state;
    assert_int_equal(walk_piece(piece_vector, &right, &runs), RAMET_OK);
    assert_int_equal(runs, 3);
    for (unsigned i = 0; i < 4; i++) {
        wrong = right;
        wrong.first += i == 0;
        wrong.last += i == 1;
        wrong.last -= i == 2;
        wrong.node.latest += i == 3;
        assert_int_equal(walk_piece(piece_vector, &wrong, &runs),
                         RAMET_ECORRUPT);
    }
}

static void
rollup__survives_every_byte_and_every_truncation(void **state)
{
    struct ramet_piece_ref ref = {.first = 5, .last = 9, .node.latest = 9};
    uint8_t bytes[TOP_SIZE], vector[TOP_SIZE];
    unsigned runs;

    (void)state;
    make_top_vector(vector);
    for (size_t at = 0; at < TOP_SIZE; at++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t *const exact = malloc(TOP_SIZE);
            struct ramet_top top;

            memcpy(exact, vector, TOP_SIZE);
            exact[at] = (uint8_t)value;
            if (ramet_top_decode(exact, TOP_SIZE, &top_ref, &top, NULL) ==
                RAMET_OK) {
                assert_true(top.count >= 1 && top.count <= RAMET_ROLLUPS_MAX);
                assert_true(top.tree_lsn < 9);
                ramet_top_done(&top);
            }
            free(exact);
        }
    }
    for (size_t len = 0; len < TOP_SIZE; len++) {
        uint8_t *const exact = malloc(len + 1);
        struct ramet_top top;

        memcpy(exact, vector, len);
        if (ramet_top_decode(exact, len, &top_ref, &top, NULL) == RAMET_OK)
            fail_msg("a top of %u bytes was taken", (unsigned)len);
        free(exact);
    }
    ref.node.length_bytes = sizeof(piece_vector);
    for (size_t at = 0; at < sizeof(piece_vector); at++) {
        for (unsigned value = 0; value < 256; value++) {
            memcpy(bytes, piece_vector, sizeof(piece_vector));
            bytes[at] = (uint8_t)value;
            (void)walk_piece(bytes, &ref, &runs);
        }
    }
    for (uint32_t len = 0; len < sizeof(piece_vector); len++) {
        uint8_t *const exact = malloc(len + 1);

        memcpy(exact, piece_vector, len);
        ref.node.length_bytes = len;
        assert_true(walk_piece(exact, &ref, &runs) != RAMET_OK);
        free(exact);
    }
}

static struct ramet_located
random_page(uint32_t pgno)
{
    struct ramet_located page;

    make_image(&page, pgno, (uint64_t)rand() + 1, 32 + (uint64_t)rand(),
               1 + (uint32_t)rand() % RAMET_FRAME_BYTES_MAX, rand());
    page.image.extent.kind = rand() % 2 ? RAMET_IN_SEGMENT : RAMET_IN_COMMIT;
    page.image.extent.lsn = (uint64_t)rand() % 9 + 1;
    if (rand() % 3 == 0) {
        page.image.kind = RAMET_FRAME_DICT;
        page.image.base = page.image.extent;
        page.image.base.kind = RAMET_IN_SEGMENT;
    }
    if (rand() % 2 == 0)
        add_delta(&page, (uint64_t)rand() + 1, (uint32_t)rand() % 4096);
    if (ramet_located_has_delta(&page) && rand() % 2 == 0)
        memset(&page.image, 0, sizeof(page.image));
    if (ramet_located_has_delta(&page) && page.image.page_count == 0 &&
        rand() % 2 == 0)
        page.image_pgno = (uint32_t)rand() + 1;
    return page;
}

/* Up to as many pages as a piece takes; the fullest are longer than a node. */
static void
piece__comes_back_as_it_was(void **state)
{
    static struct ramet_located pages[RAMET_PIECE_RUNS_MAX];
    static struct ramet_run_page list[RAMET_PIECE_RUNS_MAX];
    static struct ramet_piece_walk walk;
    struct ramet_buf out;

    (void)state;
    srand(2);
    ramet_buf_init(&out, 2 * RAMET_NODE_BYTES_MAX);
    for (int round = 0; round < 100; round++) {
        const unsigned count =
            1 + (unsigned)rand() % (round % 10 == 0 ? 3 : RAMET_PIECE_RUNS_MAX);
        struct ramet_piece_ref ref = {.first = 1 + (uint32_t)rand() % 9};
        uint32_t pgno = ref.first;
        bool more = true;

        for (unsigned i = 0; i < count; i++) {
            pages[i] = random_page(pgno);
            list[i] = (struct ramet_run_page){pgno, &pages[i]};
            ref.last = pgno;
            pgno += 1 + (uint32_t)rand() % 9;
        }
        ramet_buf_clear(&out);
        assert_int_equal(
            ramet_piece_encode(list, count, &ref.node.latest, &out, NULL),
            RAMET_OK);
        ref.node.length_bytes = (uint32_t)out.len;
        if (out.len > RAMET_NODE_BYTES_MAX)
            continue;
        assert_int_equal(
            ramet_piece_start(&walk, out.data, &volume, &ref, NULL), RAMET_OK);
        for (unsigned i = 0; i < count; i++) {
            struct ramet_located page;

            assert_int_equal(ramet_piece_next(&walk, &more, NULL), RAMET_OK);
            assert_true(more);
            page = ramet_runs_page(&walk.runs, walk.runs.start);
            assert_int_equal(walk.runs.start, list[i].pgno);
            assert_true(ramet_frame_same(&page.image, &pages[i].image));
            assert_int_equal(page.image_pgno, pages[i].image_pgno);
            assert_int_equal(page.lsn, pages[i].lsn);
            assert_int_equal(page.position, pages[i].position);
            assert_int_equal(page.block.extent.length_bytes,
                             pages[i].block.extent.length_bytes);
        }
        assert_int_equal(ramet_piece_next(&walk, &more, NULL), RAMET_OK);
        assert_false(more);
    }
    ramet_buf_done(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(piece_encode__gives_the_vector),
        cmocka_unit_test(top_encode__gives_the_vector),
        cmocka_unit_test(top_decode__takes_the_vector_apart),
        cmocka_unit_test(piece__that_is_not_what_its_top_says__is_damage),
        cmocka_unit_test(rollup__survives_every_byte_and_every_truncation),
        cmocka_unit_test(piece__comes_back_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
