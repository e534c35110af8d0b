/*
 * test_first_page.c - where page 1 lies, as commits say it: vectors, and commits that
 * say something else than is so.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "metastore/commit_impl.h"
#include "metastore/first_page.h"
#include "metastore/head_cache.h"
#include "metastore/verify.h"
#include "tests/metastore/line.h"
#include "tests/support/point.h"

enum { EVERY = RAMET_FIRST_PAGE_HEADS };

static struct ramet_extent
place(enum ramet_object_kind kind, uint64_t offset, uint32_t length,
      uint8_t hash)
{
    struct ramet_extent extent = {.kind = kind,
                                  .lsn = kind == RAMET_IN_COMMIT ? 1 : 0,
                                  .offset_bytes = offset,
                                  .length_bytes = length,
                                  .hash_algo = RAMET_HASH_XXH3_128};

    if (kind == RAMET_IN_SEGMENT)
        memset(&extent.segment, 0x55, sizeof(extent.segment));
    memset(&extent.hash, hash, sizeof(extent.hash));
    return extent;
}

#define H(byte)                                                                \
    byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte,    \
        byte, byte, byte, byte

/* What docs/format.md has: at LSN 2, of a commit that does not change page 1. */
static const uint8_t in_segment[] = {1,       1, H(0x33), 0x20, 0xe8, 7,
                                     H(0xee), 0, H(0x55), 0x20, 0x63, H(0xdd)};
static const uint8_t in_commit[] = {6, 1, 1, 1,    0x90, 3,    0x63,    H(0xdd),
                                    3, 1, 1, 0xf4, 3,    0x31, H(0xcc), 2};

static void
check_vector(const struct ramet_located *first, const uint8_t *bytes,
             size_t len)
{
    struct ramet_commit_object c = {
        .lsn = 2, .map.lsn = 1, .says_first_page = true, .first_page = *first};
    struct ramet_reader in;
    struct ramet_buf out;

    ramet_buf_init(&out, 1000);
    ramet_commit_encode_first_page(&c, &out);
    assert_int_equal(out.len, len);
    assert_memory_equal(out.data, bytes, len);
    memset(&c.first_page, 0, sizeof(c.first_page));
    ramet_reader_init(&in, out.data, out.len);
    assert_int_equal(ramet_commit_decode_first_page(&in, &c, NULL), RAMET_OK);
    assert_int_equal(ramet_reader_left(&in), 0);
    assert_int_equal(c.first_page.lsn, 1);
    assert_int_equal(c.first_page.image.page_count, first->image.page_count);
    assert_true(
        ramet_extent_equal(&c.first_page.image.extent, &first->image.extent));
    assert_memory_equal(&c.first_page.block.extent.hash,
                        &first->block.extent.hash, RAMET_HASH_SIZE);
    assert_int_equal(c.first_page.position, first->position);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *const part = malloc(cut + 1);

        memcpy(part, bytes, cut);
        ramet_reader_init(&in, part, cut);
        memset(&c.first_page, 0, sizeof(c.first_page));
        assert_int_not_equal(ramet_commit_decode_first_page(&in, &c, NULL) ==
                                     RAMET_OK &&
                                 !in.bad,
                             true);
        free(part);
    }
    ramet_buf_done(&out);
}

static void
first_page__has_the_vectors(void **state)
{
    struct ramet_located first = {.image_pgno = 1, .lsn = 1};

    (void)state;
    first.image =
        (struct ramet_frame){.extent = place(RAMET_IN_SEGMENT, 32, 100, 0xdd),
                             .kind = RAMET_FRAME_DICT,
                             .first_pgno = 1,
                             .page_count = 1,
                             .base = place(RAMET_IN_SEGMENT, 32, 1000, 0xee)};
    memset(&first.image.base.segment, 0x33, sizeof(first.image.base.segment));
    check_vector(&first, in_segment, sizeof(in_segment));
    first.image =
        (struct ramet_frame){.extent = place(RAMET_IN_COMMIT, 400, 100, 0xdd),
                             .kind = RAMET_FRAME_PLAIN,
                             .first_pgno = 1,
                             .page_count = 4};
    first.block =
        (struct ramet_frame){.extent = place(RAMET_IN_COMMIT, 500, 50, 0xcc),
                             .kind = RAMET_FRAME_DELTAS};
    first.position = 2;
    check_vector(&first, in_commit, sizeof(in_commit));
}

/* A line whose next commit says where page 1 lies; pages of `first` on, `count` of
 * them, are in each. */
static void
line_up_to(struct line *f, uint32_t pages, unsigned delta_percent,
           uint32_t first, unsigned commits)
{
    line_open(f, 5);
    model_write(&f->model, 1, pages);
    f->model.delta_percent = delta_percent;
    f->model.own_bases = true;
    for (unsigned i = 0; i < commits; i++)
        model_write(&f->model, i == 0 ? 1 : first, 1);
}

static void
encode_pages(struct line *f, uint32_t first, uint32_t count,
             struct ramet_buf *out)
{
    const struct model_version *const now = &f->model.versions[f->model.lsn];
    struct model_change change = {.page_size = now->page_size,
                                  .least = now->page_count,
                                  .page_count = now->page_count};
    const struct ramet_cid id = model_new_cid();
    struct ramet_head base;

    ramet_buf_init(out, 1u << 20);
    ramet_pageset_init(&change.changed);
    for (uint32_t pgno = first; pgno < first + count; pgno++)
        assert_int_equal(ramet_pageset_add(&change.changed, pgno), RAMET_OK);
    assert_int_equal(ramet_history_newest(f->model.history, &base, NULL),
                     RAMET_OK);
    assert_int_equal(
        model_encode(&f->model, &base, &change, &id, 1000, out, NULL),
        RAMET_OK);
    ramet_pageset_done(&change.changed);
}

static void
encode_next(struct line *f, uint32_t pgno, struct ramet_buf *out)
{
    encode_pages(f, pgno, 1, out);
}

static bool
says(const struct line *f, const struct ramet_buf *object,
     struct ramet_commit_object *out)
{
    struct ramet_hash hash;

    assert_int_equal(ramet_commit_decode(object->data,
                                         ramet_get_le32(object->data + 8),
                                         &f->model.volume, f->model.lsn + 1,
                                         object->len, out, &hash, NULL),
                     RAMET_OK);
    return out->says_first_page;
}

/* Bytes of what a commit says. */
static size_t
said_bytes(const struct ramet_commit_object *c)
{
    struct ramet_buf out;
    size_t len;

    ramet_buf_init(&out, 1000);
    ramet_commit_encode_first_page(c, &out);
    len = out.len;
    ramet_buf_done(&out);
    return len;
}

/* Each bit of it that is another is refused, by the parser or since page 1 does not
 * lie there. */
static void
check_refuses_lies(struct line *f, struct ramet_buf *object, size_t len)
{
    for (size_t bit = 0; bit < 8 * len; bit++) {
        uint8_t *const byte = object->data + RAMET_COMMIT_CORE_SIZE + bit / 8;
        enum ramet_rc rc;

        *byte ^= (uint8_t)(1u << bit % 8);
        line_seal(object);
        rc = ramet_history_validate(f->model.history, object->data, object->len,
                                    NULL);
        if (rc != RAMET_ECORRUPT && rc != RAMET_EVERSION)
            fail_msg("bit %u: %s", (unsigned)bit, ramet_rc_name(rc));
        *byte ^= (uint8_t)(1u << bit % 8);
    }
    line_seal(object);
    assert_int_equal(ramet_history_validate(f->model.history, object->data,
                                            object->len, NULL),
                     RAMET_OK);
}

/* With a delta of its own, with an earlier one's, with none. */
static void
validate__refuses_another_place_of_page_1(void **state)
{
    static const struct {
        uint32_t pages, first;
        unsigned delta_percent;
    } cases[] = {{20, 1, 100}, {20, 2, 100}, {20, 2, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ramet_commit_object commit;
        struct ramet_buf object;
        struct line f;

        line_up_to(&f, cases[i].pages, cases[i].delta_percent, cases[i].first,
                   EVERY - 2);
        encode_next(&f, cases[i].first, &object);
        assert_true(says(&f, &object, &commit));
        assert_int_equal(commit.lsn, EVERY);
        check_refuses_lies(&f, &object, said_bytes(&commit));
        ramet_commit_done(&commit);
        ramet_buf_done(&object);
        line_close(&f);
    }
}

/* The same of commits with their own map: page 1 with an image and with a delta of
 * theirs, and as it was before. */
static void
validate__knows_page_1_beside_an_own_map(void **state)
{
    static const struct {
        uint32_t first;
        unsigned delta_percent;
    } cases[] = {{1, 0}, {1, 75}, {2, 0}, {2, 75}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ramet_commit_object commit;
        struct ramet_buf object;
        struct line f;

        line_up_to(&f, 6000, 100, cases[i].first, 1);
        f.model.delta_percent = cases[i].delta_percent;
        f.model.segment_pages = 2;
        encode_pages(&f, cases[i].first, 5900, &object);
        (void)says(&f, &object, &commit);
        assert_true(ramet_commit_has_own_map(&commit));
        assert_true(commit.says_first_page);
        assert_int_equal(ramet_pageset_contains(&commit.deltas.pages, 1),
                         i == 1);
        check_refuses_lies(&f, &object, said_bytes(&commit));
        ramet_commit_done(&commit);
        ramet_buf_done(&object);
        line_close(&f);
    }
}

/* Whoever has an image of page 1 in his tables does not say it, nor does one between. */
static void
commit__says_it_where_it_is_due_alone(void **state)
{
    struct ramet_commit_object commit;
    struct line f;

    (void)state;
    line_up_to(&f, 20, 100, 1, 0);
    for (unsigned lsn = 2; lsn <= 3 * EVERY; lsn++) {
        struct ramet_buf object;

        f.model.delta_percent = lsn == 2 * EVERY ? 0 : 100;
        encode_next(&f, 1, &object);
        assert_int_equal(says(&f, &object, &commit),
                         lsn == EVERY || lsn == 3 * EVERY);
        ramet_commit_done(&commit);
        ramet_buf_done(&object);
        model_write(&f.model, 1, 1);
    }
    for (uint64_t lsn = 1; lsn <= f.model.lsn; lsn++)
        model_check_lsn(&f.model, lsn);
    line_close(&f);
}

static void
count_damaged(void *ctx, bool damaged, const char *text, uint64_t done,
              uint64_t total)
{
    (void)text;
    (void)done;
    (void)total;
    *(unsigned *)ctx += damaged;
}

/* What a writer says whom no server looks at: page 1 at another commit. */
static void
verify__finds_another_place_of_page_1(void **state)
{
    struct ramet_buf object;
    unsigned damaged = 0;
    struct line f;

    (void)state;
    line_up_to(&f, 20, 0, 2, EVERY - 2);
    encode_next(&f, 2, &object);
    assert_int_equal(object.data[RAMET_COMMIT_CORE_SIZE + 1], EVERY - 2);
    object.data[RAMET_COMMIT_CORE_SIZE + 1]--; /* its age */
    line_seal(&object);
    assert_int_equal(line_append(&f, &object, NULL), RAMET_OK);
    assert_int_equal(ramet_history_verify(f.model.history, count_damaged,
                                          &damaged, NULL, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(damaged, 1);
    ramet_buf_done(&object);
    line_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_page__has_the_vectors),
        cmocka_unit_test(validate__refuses_another_place_of_page_1),
        cmocka_unit_test(validate__knows_page_1_beside_an_own_map),
        cmocka_unit_test(commit__says_it_where_it_is_due_alone),
        cmocka_unit_test(verify__finds_another_place_of_page_1),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
