/*
 * test_commit.c - commits as bytes: a fixed vector, and hostile heads.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/commit.h"

enum { AT_BODY_HASH = 276, AT_HASH = 292, CORE = 308 };

static const struct ramet_vid volume = {
    .id = {{0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
            0x11, 0x11, 0x11, 0x11, 0x11}}};

static void
fill_hash(struct ramet_hash *hash, uint8_t byte)
{
    memset(hash, byte, sizeof(*hash));
}

static struct ramet_frame
make_frame(uint32_t pgno, uint64_t offset, uint32_t length, uint8_t hash)
{
    struct ramet_frame frame = {
        .kind = RAMET_FRAME_PLAIN, .first_pgno = pgno, .page_count = 1};

    frame.extent.volume = volume;
    frame.extent.kind = RAMET_IN_COMMIT;
    frame.extent.offset_bytes = offset;
    frame.extent.length_bytes = length;
    frame.extent.hash_algo = RAMET_HASH_XXH3_128;
    fill_hash(&frame.extent.hash, hash);
    return frame;
}

static void
fill_front(struct ramet_commit_object *commit)
{
    ramet_commit_init(commit);
    commit->volume = volume;
    commit->lsn = 2;
    memset(&commit->id, 0x22, sizeof(commit->id));
    memset(&commit->writer, 0x33, sizeof(commit->writer));
    fill_hash(&commit->predecessor, 0x44);
    commit->time_ms = UINT64_C(0x0199aabbccdd);
    commit->kind = RAMET_KIND_SQLITE;
    commit->page_size = 4096;
    commit->page_count = 7;
    commit->byte_length = 7 * 4096;
    commit->least_page_count = 6;
    commit->commits_since_map = 2;
    commit->head_bytes_since_map = 400;
    commit->floor = 1;
    commit->content = (struct ramet_point){1, commit->predecessor};
}

/* LSN 2, pages 1 and 7 inline, as docs/format.md has it. */
static void
make_small(struct ramet_commit_object *commit, uint8_t inline_bytes[30])
{
    struct ramet_segment_info *seg;

    fill_front(commit);
    assert_int_equal(ramet_pageset_add(&commit->changed, 1), RAMET_OK);
    assert_int_equal(ramet_pageset_add(&commit->changed, 7), RAMET_OK);
    seg = commit->segments = ramet_calloc(1, sizeof(*seg));
    commit->segment_count = 1;
    seg->frames = ramet_calloc(2, sizeof(seg->frames[0]));
    seg->frames[0] = make_frame(1, 32, 10, 0xaa);
    seg->frames[1] = make_frame(7, 42, 20, 0xbb);
    seg->frame_count = 2;
    seg->first_pgno = 1;
    seg->last_pgno = 7;
    seg->size_bytes = 62;
    commit->has_inline = true;
    commit->inline_length_bytes = 30;
    memset(inline_bytes, 0xee, 30);
}

/* LSN 2 again: page 7 has an image, pages 2 and 3 have deltas, that of page 3 over
 * the base image of page 1; docs/format.md has it, too. */
static void
make_deltas(struct ramet_commit_object *commit, uint8_t inline_bytes[30])
{
    struct ramet_commit_deltas *const deltas = &commit->deltas;

    make_small(commit, inline_bytes);
    ramet_pageset_truncate(&commit->changed, 0);
    assert_int_equal(ramet_pageset_add(&commit->changed, 7), RAMET_OK);
    commit->segments[0].frames[0] = make_frame(7, 32, 10, 0xaa);
    commit->segments[0].frame_count = 1;
    commit->segments[0].first_pgno = 7;
    assert_int_equal(
        ramet_pageset_add_run(&deltas->pages, (struct ramet_run){2, 3}),
        RAMET_OK);
    deltas->extent.is_inline = true;
    deltas->extent.offset_bytes = 42;
    deltas->extent.block_count = 1;
    deltas->extent.blocks = ramet_calloc(1, sizeof(deltas->extent.blocks[0]));
    deltas->extent.blocks[0].page_count = 2;
    deltas->extent.blocks[0].length_bytes = 20;
    fill_hash(&deltas->extent.blocks[0].hash, 0xcc);
    deltas->name_count = 1;
    deltas->names = ramet_calloc(1, sizeof(deltas->names[0]));
    deltas->names[0] = (struct ramet_delta_name){.position = 1, .pgno = 1};
}

enum { HEAD = 359, DELTA_HEAD = 365, INLINE = 30 };
static const char *const vector_text =
    "52414d54434d5404670100001e000000020000000000000000000c0101029001"
    "1111111111111111111111111111111122222222222222222222222222222222"
    "3333333333333333333333333333333344444444444444444444444444444444"
    "ddccbbaa99010000070000000600000000700000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000"
    "0000000001000000000000000000000000000000000000000000000001000000"
    "0000000044444444444444444444444444444444000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000017a421999e20b12e753ad842"
    "baccc9436a0e04916398bbe77d166b3e2eafa634020000050000010502000601"
    "0000200009aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1413bbbbbbbbbbbbbbbbbb"
    "bbbbbbbbbbbbbb";
static const char *const delta_vector_text =
    "52414d54434d54046d0100001e000000020000000000000000000c0101029001"
    "1111111111111111111111111111111122222222222222222222222222222222"
    "3333333333333333333333333333333344444444444444444444444444444444"
    "ddccbbaa99010000070000000600000000700000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000"
    "0000000001000000000000000000000000000000000000000000000001000000"
    "0000000044444444444444444444444444444444000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000047154fbc5eedfa1fc2f2d850"
    "d7a2677aa2bff7cb52d98d3829e09d256c6972a4010600010101010501060001"
    "0000201809aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa012a010113cccccccccccc"
    "cccccccccccccccccccc010101";

static void
read_hex(const char *text, uint8_t *out, size_t len)
{
    assert_int_equal(strlen(text), 2 * len);
    for (size_t i = 0; i < len; i++) {
        unsigned byte;

        assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
}

static void
read_vector(uint8_t out[HEAD])
{
    read_hex(vector_text, out, HEAD);
}

/* Make both hashes right again, however wrong the bytes now are. */
static void
seal(uint8_t *head, size_t len)
{
    const struct ramet_hash body = ramet_hash128(head + CORE, len - CORE);
    struct ramet_hash hash;

    memcpy(head + AT_BODY_HASH, &body, sizeof(body));
    hash = ramet_hash128(head, AT_HASH);
    memcpy(head + AT_HASH, &hash, sizeof(hash));
}

static enum ramet_rc
decode(const uint8_t *head, size_t len, struct ramet_commit_object *out)
{
    struct ramet_hash hash;

    return ramet_commit_decode(head, len, &volume, 2, 0, out, &hash, NULL);
}

static void
check_sane_deltas(const struct ramet_commit_object *c)
{
    const struct ramet_commit_deltas *const deltas = &c->deltas;
    uint64_t end = deltas->extent.offset_bytes, pages = 0;

    assert_false(ramet_pageset_intersects(&c->changed, &deltas->pages));
    for (uint32_t pgno = c->least_page_count;
         !ramet_commit_has_own_map(c) &&
         (pgno = ramet_pageset_next(&deltas->pages, pgno)) != 0;) {
        uint32_t block, position, base;

        ramet_commit_find_delta(c, pgno, &block, &position, &base);
        assert_in_range(base, 1, c->least_page_count);
    }
    assert_true((deltas->pages.run_count == 0) ==
                (deltas->extent.block_count == 0));
    if (deltas->extent.blocks == NULL)
        return;
    for (uint32_t i = 0; i < deltas->extent.block_count; i++) {
        end += deltas->extent.blocks[i].length_bytes;
        pages += deltas->extent.blocks[i].page_count;
    }
    assert_int_equal(end, deltas->extent.is_inline ? ramet_commit_inline_end(c)
                                                   : deltas->extent.size_bytes);
    assert_int_equal(pages, ramet_pageset_count(&deltas->pages));
    for (uint32_t i = 0; i < deltas->name_count; i++)
        assert_true(deltas->names[i].position < pages &&
                    deltas->names[i].pgno > 0);
}

/* What a reader relies on, whatever the bytes were. */
static void
check_sane(const struct ramet_commit_object *c)
{
    uint32_t last = 0;

    assert_int_equal(c->lsn, 2);
    assert_true(ramet_page_size_valid(c->page_size));
    assert_true(c->least_page_count <= c->page_count);
    assert_true(c->map.lsn <= c->lsn);
    assert_int_equal(ramet_pageset_next(&c->changed, c->page_count), 0);
    for (uint32_t i = 0; i < c->segment_count; i++) {
        const struct ramet_segment_info *const seg = &c->segments[i];

        assert_true(seg->first_pgno > last);
        assert_true(seg->last_pgno >= seg->first_pgno);
        assert_true(seg->last_pgno <= c->page_count);
        last = seg->last_pgno;
        for (uint32_t j = 0; seg->frames != NULL && j < seg->frame_count; j++) {
            const struct ramet_frame *const frame = &seg->frames[j];

            assert_in_range(frame->page_count, 1, RAMET_FRAME_PAGES_MAX);
            assert_true(ramet_pageset_contains(&c->changed, frame->first_pgno));
        }
        for (uint32_t j = 0; j < seg->chunk_count; j++)
            assert_true(seg->chunks[j].offset_bytes +
                            seg->chunks[j].length_bytes <=
                        seg->size_bytes);
    }
    check_sane_deltas(c);
}

static void
commit_encode__gives_the_vector(void **state)
{
    struct ramet_commit_object commit;
    uint8_t inline_bytes[INLINE], expected[HEAD];
    struct ramet_buf out;
    uint32_t head_length;

    (void)state;
    read_vector(expected);
    make_small(&commit, inline_bytes);
    ramet_buf_init(&out, 1u << 20);
    assert_int_equal(ramet_commit_encode(&commit, inline_bytes, &out, NULL),
                     RAMET_OK);
    assert_int_equal(out.len, HEAD + INLINE);
    assert_memory_equal(out.data, expected, HEAD);
    assert_memory_equal(out.data + HEAD, inline_bytes, INLINE);
    assert_int_equal(ramet_commit_head_size(&commit, 1024, &head_length, NULL),
                     RAMET_OK);
    assert_int_equal(head_length, HEAD);
    assert_int_equal(
        ramet_commit_head_size(&commit, HEAD - 1, &head_length, NULL),
        RAMET_ETOOBIG);
    ramet_buf_done(&out);
    ramet_commit_done(&commit);
}

static void
commit_decode__takes_the_vector_apart(void **state)
{
    uint8_t head[HEAD];
    struct ramet_commit_object c;
    struct ramet_hash hash;

    (void)state;
    read_vector(head);
    assert_int_equal(ramet_commit_decode(head, HEAD, &volume, 2, HEAD + INLINE,
                                         &c, &hash, NULL),
                     RAMET_OK);
    check_sane(&c);
    assert_memory_equal(&hash, head + AT_HASH, sizeof(hash));
    assert_memory_equal(&c.volume, &volume, sizeof(volume));
    assert_int_equal(c.time_ms, UINT64_C(0x0199aabbccdd));
    assert_int_equal(c.page_size, 4096);
    assert_int_equal(c.page_count, 7);
    assert_int_equal(c.least_page_count, 6);
    assert_int_equal(c.commits_since_map, 2);
    assert_int_equal(c.head_bytes_since_map, 400);
    assert_int_equal(c.map.lsn, 0);
    assert_int_equal(ramet_pageset_count(&c.changed), 2);
    assert_int_equal(c.segment_count, 1);
    assert_true(c.has_inline);
    /* Readers get offsets from the object's first byte. */
    assert_int_equal(c.segments[0].frames[0].extent.offset_bytes, HEAD);
    assert_int_equal(c.segments[0].frames[1].extent.offset_bytes, HEAD + 10);
    assert_int_equal(c.segments[0].frames[1].extent.kind, RAMET_IN_COMMIT);
    assert_int_equal(c.segments[0].frames[1].extent.lsn, 2);
    ramet_commit_done(&c);
}

static void
commit__has_the_vector_of_deltas(void **state)
{
    uint8_t inline_bytes[INLINE], expected[DELTA_HEAD];
    uint32_t block, position, base;
    struct ramet_commit_object commit, back;
    struct ramet_frame frame;
    struct ramet_buf out;

    (void)state;
    read_hex(delta_vector_text, expected, DELTA_HEAD);
    make_deltas(&commit, inline_bytes);
    ramet_buf_init(&out, 1u << 20);
    assert_int_equal(ramet_commit_encode(&commit, inline_bytes, &out, NULL),
                     RAMET_OK);
    assert_int_equal(out.len, DELTA_HEAD + INLINE);
    assert_memory_equal(out.data, expected, DELTA_HEAD);
    assert_int_equal(decode(expected, DELTA_HEAD, &back), RAMET_OK);
    check_sane(&back);
    ramet_commit_find_delta(&back, 2, &block, &position, &base);
    assert_int_equal(block, 0);
    assert_int_equal(position, 0);
    assert_int_equal(base, 2);
    ramet_commit_find_delta(&back, 3, &block, &position, &base);
    assert_int_equal(block, 0);
    assert_int_equal(position, 1);
    assert_int_equal(base, 1);
    frame = ramet_commit_delta_block(&back, 0);
    assert_int_equal(frame.kind, RAMET_FRAME_DELTAS);
    assert_int_equal(frame.extent.kind, RAMET_IN_COMMIT);
    assert_int_equal(frame.extent.lsn, 2);
    assert_int_equal(frame.extent.offset_bytes, DELTA_HEAD + 10);
    assert_int_equal(frame.extent.length_bytes, 20);
    ramet_buf_done(&out);
    ramet_commit_done(&back);
    ramet_commit_done(&commit);
}

/* Runs and blocks of any lengths, laid over each other. */
static void
commit_find_delta__counts_pages_as_the_blocks_hold_them(void **state)
{
    enum { BLOCKS = 60 };
    uint32_t seed = 1, pgno = 0;

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        struct ramet_delta_block blocks[BLOCKS] = {{.page_count = 0}};
        struct ramet_commit_object commit;
        uint32_t left = 0, at = 0, base = 0;
        uint64_t bytes = 0;

        ramet_commit_init(&commit);
        commit.head_length_bytes = 400;
        commit.deltas.extent.is_inline = true;
        commit.deltas.extent.offset_bytes = 32;
        commit.deltas.extent.block_count = 1 + round % BLOCKS;
        commit.deltas.extent.blocks = blocks;
        for (uint32_t i = 0; i < commit.deltas.extent.block_count; i++) {
            seed = seed * 1664525 + 1013904223;
            blocks[i].page_count = 1 + (seed >> 16) % (i % 5 == 0 ? 1 : 9);
            blocks[i].length_bytes = 1 + seed % 4096;
            left += blocks[i].page_count;
        }
        pgno = round % 3;
        for (; left > 0; left--) {
            seed = seed * 1664525 + 1013904223;
            pgno += (seed >> 20) % 3 == 0 ? 2 + (seed >> 24) : 1;
            assert_int_equal(ramet_pageset_add(&commit.deltas.pages, pgno),
                             RAMET_OK);
        }
        ramet_commit_index_deltas(&commit);
        pgno = 0;
        for (uint32_t i = 0; i < commit.deltas.extent.block_count; i++) {
            assert_int_equal(
                ramet_commit_delta_block(&commit, i).extent.offset_bytes,
                400 + bytes);
            bytes += blocks[i].length_bytes;
            for (uint32_t n = 0; n < blocks[i].page_count; n++) {
                uint32_t block = UINT32_MAX, position = UINT32_MAX;

                pgno = ramet_pageset_next(&commit.deltas.pages, pgno);
                ramet_commit_find_delta(&commit, pgno, &block, &position,
                                        &base);
                assert_int_equal(block, i);
                assert_int_equal(position, n);
                assert_int_equal(base, pgno);
                at++;
            }
        }
        assert_int_equal(at, ramet_pageset_count(&commit.deltas.pages));
        commit.deltas.extent.blocks = NULL;
        ramet_commit_done(&commit);
    }
}

/* What the core says beside the state; at which offsets, docs/format.md. */
static void
commit_decode__refuses_a_core_that_lies_about_its_line(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
        enum ramet_rc rc;
    } flaws[] = {
        {24, 3, RAMET_ECORRUPT},  /* a fence that is an end */
        {24, 1, RAMET_ECORRUPT},  /* a fence that changes pages */
        {24, 2, RAMET_ECORRUPT},  /* an end that does */
        {24, 4, RAMET_ECORRUPT},  /* upkeep that does */
        {24, 8, RAMET_ECORRUPT},  /* page 1's place, which is not there */
        {24, 16, RAMET_EVERSION}, /* a flag that is not known */
        {164, 0, RAMET_ECORRUPT}, /* floor 0 */
        {164, 3, RAMET_ECORRUPT}, /* floor past the LSN */
        {188, 2, RAMET_ECORRUPT}, /* itself the last content commit */
        {188, 0, RAMET_ECORRUPT}, /* none, with a hash */
        {196, 9, RAMET_ECORRUPT}, /* the predecessor, by another hash */
        {212, 1, RAMET_EVERSION}, /* reserved bytes */
        {275, 1, RAMET_EVERSION},
    };
    uint8_t head[HEAD];
    struct ramet_commit_object c;

    (void)state;
    for (size_t i = 0; i < sizeof(flaws) / sizeof(flaws[0]); i++) {
        read_vector(head);
        head[flaws[i].at] = flaws[i].value;
        seal(head, HEAD);
        assert_int_equal(decode(head, HEAD, &c), flaws[i].rc);
    }
}

static void
commit_decode__notices_every_flipped_bit(void **state)
{
    uint8_t head[HEAD];
    struct ramet_commit_object c;

    (void)state;
    for (size_t bit = 0; bit < HEAD * 8; bit++) {
        enum ramet_rc rc;

        read_vector(head);
        head[bit / 8] ^= (uint8_t)(1u << bit % 8);
        rc = decode(head, HEAD, &c);
        assert_true(rc == RAMET_ECORRUPT || rc == RAMET_EVERSION);
    }
}

static void
commit_decode__notices_every_truncation(void **state)
{
    uint8_t head[HEAD];
    struct ramet_commit_object c;

    (void)state;
    read_vector(head);
    for (size_t len = 0; len < HEAD; len++) {
        uint8_t *const exact = malloc(len + 1); /* for the sanitizer's sake */

        memcpy(exact, head, len);
        assert_int_equal(decode(exact, len, &c), RAMET_ECORRUPT);
        if (len >= CORE) { /* well-hashed, and cut short */
            ramet_put_le32(exact + 8, (uint32_t)len);
            seal(exact, len);
            assert_int_equal(decode(exact, len, &c), RAMET_ECORRUPT);
        }
        free(exact);
    }
}

static void
commit_decode__refuses_the_wrong_key_or_size(void **state)
{
    const struct ramet_vid other = {.id = {{9}}};
    uint8_t head[HEAD];
    struct ramet_commit_object c;
    struct ramet_hash hash;

    (void)state;
    read_vector(head);
    assert_int_equal(
        ramet_commit_decode(head, HEAD, &volume, 3, 0, &c, &hash, NULL),
        RAMET_ECORRUPT);
    assert_int_equal(
        ramet_commit_decode(head, HEAD, &other, 2, 0, &c, &hash, NULL),
        RAMET_ECORRUPT);
    assert_int_equal(ramet_commit_decode(head, HEAD, &volume, 2,
                                         HEAD + INLINE - 1, &c, &hash, NULL),
                     RAMET_ECORRUPT);
}

/* Every byte of the vectors takes every value, with right hashes. */
static void
commit_decode__survives_well_hashed_nonsense(void **state)
{
    uint8_t head[DELTA_HEAD];
    unsigned accepted = 0, refused = 0;

    (void)state;
    for (size_t at = 8; at < HEAD + DELTA_HEAD; at++) {
        const bool deltas = at >= HEAD;
        const size_t len = deltas ? DELTA_HEAD : HEAD;

        for (unsigned value = 0; value < 256; value++) {
            struct ramet_commit_object c;
            enum ramet_rc rc;

            read_hex(deltas ? delta_vector_text : vector_text, head, len);
            head[deltas ? at - HEAD : at] = (uint8_t)value;
            seal(head, len);
            rc = decode(head, len, &c);
            if (rc == RAMET_OK) {
                accepted++;
                check_sane(&c);
                ramet_commit_done(&c);
            } else {
                refused++;
                assert_true(rc == RAMET_ECORRUPT || rc == RAMET_EVERSION);
            }
        }
    }
    /* Ids, hashes and times may hold anything; lengths and flags may not. */
    assert_true(accepted > 20000);
    assert_true(refused > 16000);
}

/* A larger commit of every form: dictionary, table, chunks. */
static void
make_large(struct ramet_commit_object *commit)
{
    struct ramet_segment_info *seg;

    fill_front(commit);
    commit->page_count = 1000;
    commit->byte_length = 1000 * 4096;
    assert_int_equal(
        ramet_pageset_add_run(&commit->changed, (struct ramet_run){10, 12}),
        RAMET_OK);
    assert_int_equal(
        ramet_pageset_add_run(&commit->changed, (struct ramet_run){100, 900}),
        RAMET_OK);
    commit->segments = seg = ramet_calloc(2, sizeof(seg[0]));
    commit->segment_count = 2;
    memset(&seg[0].id, 0x55, sizeof(seg[0].id));
    seg[0].size_bytes = 500;
    seg[0].frame_count = 1;
    seg[0].first_pgno = 10;
    seg[0].last_pgno = 12;
    seg[0].has_dict = true;
    seg[0].dict.offset_bytes = 32;
    seg[0].dict.length_bytes = 1000;
    memset(&seg[0].dict.segment, 0x66, sizeof(seg[0].dict.segment));
    fill_hash(&seg[0].dict.hash, 0x77);
    seg[0].frames = ramet_calloc(1, sizeof(seg[0].frames[0]));
    seg[0].frames[0] = make_frame(10, 32, 468, 0x88);
    seg[0].frames[0].page_count = 3;
    seg[0].frames[0].kind = RAMET_FRAME_DICT;
    memset(&seg[1].id, 0x99, sizeof(seg[1].id));
    seg[1].size_bytes = 100000;
    seg[1].frame_count = 801;
    seg[1].first_pgno = 100;
    seg[1].last_pgno = 900;
    seg[1].chunk_count = 2;
    seg[1].chunks = ramet_calloc(2, sizeof(seg[1].chunks[0]));
    seg[1].chunks[0] = (struct ramet_table_chunk){.first_pgno = 100,
                                                  .last_pgno = 499,
                                                  .offset_bytes = 90000,
                                                  .length_bytes = 5000};
    seg[1].chunks[1] = (struct ramet_table_chunk){.first_pgno = 500,
                                                  .last_pgno = 900,
                                                  .offset_bytes = 95000,
                                                  .length_bytes = 5000};
}

static void
commit_decode__gives_back_what_was_encoded(void **state)
{
    struct ramet_commit_object commit, back;
    struct ramet_buf out, again;

    (void)state;
    make_large(&commit);
    ramet_buf_init(&out, 1u << 20);
    ramet_buf_init(&again, 1u << 20);
    assert_int_equal(ramet_commit_encode(&commit, NULL, &out, NULL), RAMET_OK);
    assert_int_equal(decode(out.data, out.len, &back), RAMET_OK);
    check_sane(&back);
    assert_true(back.segments[0].has_dict);
    assert_int_equal(back.segments[0].frames[0].kind, RAMET_FRAME_DICT);
    assert_int_equal(back.segments[0].frames[0].base.length_bytes, 1000);
    assert_int_equal(back.segments[1].chunk_count, 2);
    assert_int_equal(ramet_commit_encode(&back, NULL, &again, NULL), RAMET_OK);
    assert_int_equal(again.len, out.len);
    assert_memory_equal(again.data, out.data, out.len);
    for (size_t at = CORE; at < out.len; at++) { /* nonsense here, too */
        for (unsigned bit = 0; bit < 8; bit++) {
            struct ramet_commit_object c;

            memcpy(again.data, out.data, out.len);
            again.data[at] ^= (uint8_t)(1u << bit);
            seal(again.data, again.len);
            if (decode(again.data, again.len, &c) == RAMET_OK) {
                check_sane(&c);
                ramet_commit_done(&c);
            }
        }
    }
    ramet_buf_done(&again);
    ramet_buf_done(&out);
    ramet_commit_done(&back);
    ramet_commit_done(&commit);
}

static void
commit__may_have_a_delta_of_a_new_page_over_another(void **state)
{
    uint8_t inline_bytes[INLINE];
    struct ramet_commit_object c, back;
    struct ramet_buf out;

    (void)state;
    make_deltas(&c, inline_bytes);
    c.least_page_count = 2; /* page 3, over page 1 */
    ramet_buf_init(&out, 1u << 20);
    assert_int_equal(ramet_commit_encode(&c, inline_bytes, &out, NULL),
                     RAMET_OK);
    assert_int_equal(decode(out.data, out.len - INLINE, &back), RAMET_OK);
    check_sane(&back);
    ramet_commit_done(&back);
    out.data[out.len - INLINE - 1] = 3; /* over page 3, which is new */
    seal(out.data, out.len - INLINE);
    assert_int_equal(decode(out.data, out.len - INLINE, &back), RAMET_ECORRUPT);
    ramet_buf_done(&out);
    ramet_commit_done(&c);
}

static void
commit_encode__refuses_what_no_reader_would_take(void **state)
{
    uint8_t inline_bytes[INLINE];
    struct ramet_commit_object c;
    struct ramet_buf out;

    (void)state;
    for (int flaw = 0; flaw < 13; flaw++) {
        make_deltas(&c, inline_bytes);
        switch (flaw) {
        case 0:
            c.least_page_count = 8;
            break;
        case 1:
            c.byte_length--;
            break;
        case 2:
            c.page_size = 1000;
            break;
        case 3:
            c.lsn = 0;
            break;
        case 4:
            c.commits_since_map = 1;
            break;
        case 5:
            c.page_count = 6;
            c.byte_length = 6 * 4096;
            break;
        case 6:
            c.segments[0].frame_count = 0;
            break;
        case 7: /* a delta of a page that was cut off, over its own image */
            c.least_page_count = 1;
            break;
        case 11: /* and over another that was, too */
            c.least_page_count = 2;
            c.deltas.names[0].pgno = 4;
            break;
        case 8: /* a delta of a page with an image */
            assert_int_equal(ramet_pageset_add(&c.changed, 3), RAMET_OK);
            break;
        case 9:
            c.role = RAMET_COMMIT_FENCE;
            break;
        case 10:
            c.floor = 3;
            break;
        default:
            memset(&c.predecessor, 0, sizeof(c.predecessor));
            break;
        }
        ramet_buf_init(&out, 1u << 20);
        assert_int_equal(ramet_commit_encode(&c, inline_bytes, &out, NULL),
                         RAMET_EINVAL);
        ramet_buf_done(&out);
        ramet_commit_done(&c);
    }
}

static void
commit__survives_every_failed_allocation(void **state)
{
    struct ramet_commit_object commit, back;
    struct ramet_buf out;
    enum ramet_rc rc = RAMET_ENOMEM;

    (void)state;
    make_large(&commit);
    for (long n = 0; rc != RAMET_OK; n++) {
        assert_true(n < 100);
        ramet_buf_init(&out, 1u << 20);
        ramet_alloc_fail_at(n);
        rc = ramet_commit_encode(&commit, NULL, &out, NULL);
        if (rc == RAMET_OK)
            rc = decode(out.data, out.len, &back);
        ramet_alloc_fail_at(-1);
        assert_true(rc == RAMET_OK || rc == RAMET_ENOMEM);
        ramet_buf_done(&out);
    }
    ramet_commit_done(&back);
    ramet_commit_done(&commit);
}

static void
commit_head_length__knows_its_own(void **state)
{
    uint8_t head[HEAD];
    uint32_t length;

    (void)state;
    read_vector(head);
    assert_int_equal(ramet_commit_head_length(head, &length, NULL), RAMET_OK);
    assert_int_equal(length, HEAD);
    ramet_put_le32(head + 8, RAMET_COMMIT_HEAD_MAX + 1);
    assert_int_equal(ramet_commit_head_length(head, &length, NULL),
                     RAMET_ECORRUPT);
    head[7] = 1; /* before the first release */
    assert_int_equal(ramet_commit_head_length(head, &length, NULL),
                     RAMET_EVERSION);
    head[0] = 0;
    assert_int_equal(ramet_commit_head_length(head, &length, NULL),
                     RAMET_ECORRUPT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit_encode__gives_the_vector),
        cmocka_unit_test(commit_decode__takes_the_vector_apart),
        cmocka_unit_test(commit__has_the_vector_of_deltas),
        cmocka_unit_test(
            commit_find_delta__counts_pages_as_the_blocks_hold_them),
        cmocka_unit_test(
            commit_decode__refuses_a_core_that_lies_about_its_line),
        cmocka_unit_test(commit_decode__notices_every_flipped_bit),
        cmocka_unit_test(commit_decode__notices_every_truncation),
        cmocka_unit_test(commit_decode__refuses_the_wrong_key_or_size),
        cmocka_unit_test(commit_decode__survives_well_hashed_nonsense),
        cmocka_unit_test(commit_decode__gives_back_what_was_encoded),
        cmocka_unit_test(commit__may_have_a_delta_of_a_new_page_over_another),
        cmocka_unit_test(commit_encode__refuses_what_no_reader_would_take),
        cmocka_unit_test(commit__survives_every_failed_allocation),
        cmocka_unit_test(commit_head_length__knows_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
