/*
 * test_deltas.c - commits with deltas, made by hand: what a reader makes of them,
 * what a store refuses, and what a wrong base costs.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/awaited.h"
#include "pagestore/delta_writer.h"
#include "tests/metastore/model.h"
#include "tests/support/faultstore.h"
#include "tests/support/point.h"

#define PAGE 512u

struct fixture {
    struct ramet_objstore *store;
    struct model model;
};

/* LSN 1 has images of pages 1 to 10, of contents 1 to 10. */
static int
setup(void **state)
{
    struct fixture *const f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(ramet_memstore_open(&f->store, NULL), RAMET_OK);
    model_init(&f->model, f->store, 5);
    model_write(&f->model, 1, 10);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *const f = *state;

    model_done(&f->model);
    ramet_objstore_close(f->store);
    free(f);
    return 0;
}

/* A commit that is a delta of one page, or, with `content` 0, changes nothing but
 * the sizes. */
struct hand {
    uint32_t least, page_count;
    uint32_t pgno;
    uint32_t named;        /* 0: its own */
    uint64_t base_content; /* what the delta is made with */
    uint64_t content;
};

/* Another version of a base: what is particular to that stays in it. */
static void
fill_made(uint8_t page[PAGE], uint64_t base_content, uint64_t content)
{
    model_fill(page, PAGE, base_content);
    ramet_put_le64(page, content);
}

static const struct ramet_delta_shape no_shape;

static void
make_delta(struct fixture *f, const struct hand *hand,
           struct ramet_commit_object *commit, uint8_t **out_inline)
{
    struct ramet_delta_writer *writer;
    uint8_t base[PAGE], page[PAGE];
    uint32_t length;
    size_t len = 0;

    model_fill(base, PAGE, hand->base_content);
    fill_made(page, hand->base_content, hand->content);
    assert_int_equal(ramet_delta_writer_new(PAGE, 1, 1u << 20, &writer, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_delta_writer_try(writer, base, &no_shape, page,
                                            &no_shape, PAGE, &length, NULL),
                     RAMET_OK);
    assert_true(length > 0);
    assert_int_equal(ramet_delta_writer_take(writer, NULL), RAMET_OK);
    assert_int_equal(ramet_delta_writer_extent(
                         writer, f->store, &f->model.volume, true, out_inline,
                         &len, &commit->deltas.extent, NULL),
                     RAMET_OK);
    ramet_delta_writer_free(writer);
    commit->has_inline = true;
    commit->inline_length_bytes = (uint32_t)len;
    assert_int_equal(ramet_pageset_add(&commit->deltas.pages, hand->pgno),
                     RAMET_OK);
    if (hand->named == 0)
        return;
    commit->deltas.names = ramet_calloc(1, sizeof(commit->deltas.names[0]));
    assert_non_null(commit->deltas.names);
    commit->deltas.names[0].pgno = hand->named;
    commit->deltas.name_count = 1;
}

/* Append it; what the store's guard says of it. */
static enum ramet_rc
commit_hand(struct fixture *f, const struct hand *hand)
{
    const struct ramet_cid id = model_new_cid();
    uint8_t *inline_bytes = NULL;
    struct ramet_commit_object commit;
    struct ramet_head base;
    struct ramet_buf out;
    enum ramet_rc rc;

    ramet_commit_init(&commit);
    ramet_buf_init(&out, 1u << 20);
    commit.id = id;
    commit.kind = RAMET_KIND_SQLITE;
    commit.page_size = PAGE;
    commit.page_count = hand->page_count;
    commit.byte_length = (uint64_t)hand->page_count * PAGE;
    commit.least_page_count = hand->least;
    if (hand->content != 0)
        make_delta(f, hand, &commit, &inline_bytes);
    assert_int_equal(ramet_history_newest(f->model.history, &base, NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_history_prepare(f->model.history, &base, &commit, NULL),
        RAMET_OK);
    rc = ramet_commit_encode(&commit, inline_bytes, &out, NULL);
    if (rc == RAMET_OK)
        rc = ramet_history_validate(f->model.history, out.data, out.len, NULL);
    if (rc == RAMET_OK)
        assert_int_equal(ramet_history_append(f->model.history, out.data,
                                              out.len, NULL, NULL),
                         RAMET_OK);
    ramet_buf_done(&out);
    ramet_free(inline_bytes);
    ramet_commit_done(&commit);
    model_reopen(&f->model);
    return rc;
}

struct seen {
    uint32_t wanted;
    uint8_t page[PAGE];
    unsigned count;
};

static enum ramet_rc
take_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct seen *const seen = ctx;

    (void)err;
    if (pgno != seen->wanted)
        return RAMET_OK; /* came along in the frame */
    memcpy(seen->page, page, PAGE);
    seen->count++;
    return RAMET_OK;
}

static enum ramet_rc
read_one(struct fixture *f, uint64_t lsn, uint32_t pgno, struct seen *seen)
{
    *seen = (struct seen){.wanted = pgno};
    return ramet_history_read_pages(f->model.history,
                                    point_at(f->model.history, lsn), &pgno, 1,
                                    true, take_page, seen, NULL);
}

static void
check_one(struct fixture *f, uint64_t lsn, uint32_t pgno, uint64_t base,
          uint64_t content)
{
    uint8_t expected[PAGE];
    struct seen seen;

    assert_int_equal(read_one(f, lsn, pgno, &seen), RAMET_OK);
    assert_int_equal(seen.count, 1);
    fill_made(expected, base, content);
    assert_memory_equal(seen.page, expected, PAGE);
}

static void
note_damage(void *ctx, bool damaged, const char *text, uint64_t done,
            uint64_t total)
{
    (void)text;
    (void)done;
    (void)total;
    *(unsigned *)ctx += damaged;
}

static unsigned
damages(struct fixture *f)
{
    unsigned count = 0;
    const enum ramet_rc rc =
        ramet_history_verify(f->model.history, note_damage, &count, NULL, NULL);

    assert_int_equal(rc, count > 0 ? RAMET_ECORRUPT : RAMET_OK);
    return count;
}

static void
delta__is_made_with_the_last_image_whatever_lies_between(void **state)
{
    struct fixture *const f = *state;

    /* Twice over the image of LSN 1, not over each other. */
    assert_int_equal(commit_hand(f, &(struct hand){10, 10, 3, 0, 3, 100}),
                     RAMET_OK);
    assert_int_equal(commit_hand(f, &(struct hand){10, 10, 3, 0, 3, 101}),
                     RAMET_OK);
    /* Named: over the base of page 3, which has become a delta; and over that of
     * page 5 by way of page 7, whose delta is over it. */
    assert_int_equal(commit_hand(f, &(struct hand){10, 10, 4, 3, 3, 102}),
                     RAMET_OK);
    assert_int_equal(commit_hand(f, &(struct hand){10, 10, 7, 5, 5, 103}),
                     RAMET_OK);
    assert_int_equal(commit_hand(f, &(struct hand){10, 10, 8, 7, 5, 104}),
                     RAMET_OK);
    for (unsigned maps = 0; maps < 2; maps++) {
        check_one(f, 2, 3, 3, 100);
        check_one(f, 3, 3, 3, 101);
        check_one(f, 6, 3, 3, 101);
        check_one(f, 6, 4, 3, 102);
        check_one(f, 6, 7, 5, 103);
        check_one(f, 6, 8, 5, 104);
        check_one(f, 1, 4, 4, 4);
        assert_int_equal(damages(f), 0);
        /* The same through a map, over which a delta lies. */
        for (uint64_t lsn = 7; maps == 0 && lsn < 100; lsn++)
            assert_int_equal(
                commit_hand(f, &(struct hand){.least = 10, .page_count = 10}),
                RAMET_OK);
    }
    check_one(f, 99, 8, 5, 104);
    assert_int_equal(commit_hand(f, &(struct hand){10, 10, 9, 8, 5, 105}),
                     RAMET_OK);
    check_one(f, 100, 9, 5, 105);
    assert_int_equal(damages(f), 0);
}

static void
delta__over_a_wrong_base_is_an_error_and_never_a_page(void **state)
{
    struct fixture *const f = *state;
    struct seen seen;

    assert_int_equal(commit_hand(f, &(struct hand){10, 10, 3, 0, 4, 100}),
                     RAMET_OK);
    assert_int_equal(read_one(f, 2, 3, &seen), RAMET_ECORRUPT);
    assert_int_equal(seen.count, 0);
    check_one(f, 2, 4, 4, 4);
    assert_int_equal(damages(f), 1);
}

static void
delta__of_what_was_cut_off_is_refused(void **state)
{
    struct fixture *const f = *state;
    struct seen seen;

    /* By the encoder, the decoder and the guard: page 9 was cut off in it. */
    assert_int_equal(commit_hand(f, &(struct hand){8, 10, 9, 0, 9, 100}),
                     RAMET_EINVAL);
    /* Cut off before: the guard does not look, and readers find no base. */
    assert_int_equal(
        commit_hand(f, &(struct hand){.least = 8, .page_count = 10}), RAMET_OK);
    assert_int_equal(commit_hand(f, &(struct hand){10, 10, 9, 0, 9, 100}),
                     RAMET_OK);
    assert_int_equal(read_one(f, 3, 9, &seen), RAMET_ECORRUPT);
    assert_int_equal(seen.count, 0);
    check_one(f, 3, 8, 8, 8);
    assert_true(damages(f) > 0);
}

static void
delta__of_a_name_that_never_was_is_refused(void **state)
{
    struct fixture *const f = *state;

    assert_int_equal(commit_hand(f, &(struct hand){10, 10, 3, 11, 3, 100}),
                     RAMET_ECORRUPT);
}

/* Whatever bit of a commit with deltas is flipped: the page, or an error. */
static void
delta__with_a_flipped_bit_is_noticed(void **state)
{
    struct fixture *const f = *state;
    char key[RAMET_KEY_MAX];
    uint8_t bytes[1024];
    size_t len = 0;

    assert_int_equal(commit_hand(f, &(struct hand){10, 10, 3, 0, 3, 100}),
                     RAMET_OK);
    ramet_commit_key(&f->model.volume, 2, key);
    assert_int_equal(
        ramet_objstore_read(f->store, key, 0, bytes, sizeof(bytes), &len, NULL),
        RAMET_OK);
    for (size_t at = 276; at < len; at++) {
        const struct ramet_point point = *point_at(f->model.history, 2);
        const struct iovec part = {bytes, len};
        const uint32_t pgno = 3;
        struct seen seen = {.wanted = pgno};

        bytes[at] ^= 1;
        assert_int_equal(ramet_objstore_remove(f->store, key, NULL), RAMET_OK);
        assert_int_equal(ramet_objstore_put(f->store, key, &part, 1, NULL),
                         RAMET_OK);
        model_reopen(&f->model);
        /* The inline segment's header alone is of no use for reading. */
        if (ramet_history_read_pages(f->model.history, &point, &pgno, 1, false,
                                     take_page, &seen, NULL) == RAMET_OK) {
            uint8_t expected[PAGE];

            fill_made(expected, 3, 100);
            assert_memory_equal(seen.page, expected, PAGE);
            assert_true(damages(f) > 0);
        } else {
            assert_int_equal(seen.count, 0);
        }
        bytes[at] ^= 1;
        assert_int_equal(ramet_objstore_remove(f->store, key, NULL), RAMET_OK);
        assert_int_equal(ramet_objstore_put(f->store, key, &part, 1, NULL),
                         RAMET_OK);
        model_reopen(&f->model);
    }
    check_one(f, 2, 3, 3, 100);
}

static enum ramet_rc
visit_nothing(void *ctx, uint32_t pgno, const uint8_t *page,
              struct ramet_err *err)
{
    (void)ctx;
    (void)page;
    (void)err;
    fail_msg("page %u was given out", pgno);
    return RAMET_OK;
}

static bool
is_part(const struct ramet_awaited *awaited, const struct ramet_extent *extent,
        uint64_t past)
{
    char key[RAMET_KEY_MAX];

    ramet_extent_key(extent, key);
    return ramet_awaited_is_part(awaited, key, extent->offset_bytes + past);
}

/* So that who waits for them need not try what else the bytes could be for. */
static void
awaited__knows_what_a_page_with_a_delta_is_made_of(void **state)
{
    static const struct hand hand = {10, 10, 7, 3, 3, 77};
    static const uint32_t pgnos[] = {6, 7};
    struct fixture *const f = *state;
    const struct ramet_located *located;
    struct ramet_awaited *awaited;
    struct ramet_head head;
    struct ramet_point at;

    assert_int_equal(commit_hand(f, &hand), RAMET_OK);
    assert_int_equal(ramet_history_newest(f->model.history, &head, NULL),
                     RAMET_OK);
    at = ramet_head_point(&head);
    assert_int_equal(ramet_awaited_new(f->model.history, &at, false,
                                       visit_nothing, NULL, &awaited, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_awaited_add(awaited, pgnos, 2, NULL), RAMET_OK);
    located = ramet_awaited_located(awaited, 7);
    assert_non_null(located);
    assert_true(ramet_located_has_delta(located));
    assert_int_equal(located->image_pgno, 3);
    assert_true(is_part(awaited, &located->image.extent, 0));
    assert_true(is_part(awaited, &located->block.extent, 0));
    assert_false(is_part(awaited, &located->block.extent, 1));
    located = ramet_awaited_located(awaited, 6); /* an image: it is taken */
    assert_non_null(located);
    assert_false(is_part(awaited, &located->image.extent, 0));
    ramet_awaited_free(awaited);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            delta__is_made_with_the_last_image_whatever_lies_between, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            delta__over_a_wrong_base_is_an_error_and_never_a_page, setup,
            teardown),
        cmocka_unit_test_setup_teardown(delta__of_what_was_cut_off_is_refused,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            delta__of_a_name_that_never_was_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(
            awaited__knows_what_a_page_with_a_delta_is_made_of, setup,
            teardown),
        cmocka_unit_test_setup_teardown(delta__with_a_flipped_bit_is_noticed,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
