/*
 * test_history.c - a volume's history against a model of it.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "tests/metastore/line.h"
#include "tests/support/faultstore.h"
#include "tests/support/point.h"

static struct ramet_objstore *
new_store(void)
{
    struct ramet_objstore *store;

    assert_int_equal(ramet_memstore_open(&store, NULL), RAMET_OK);
    return store;
}

/* Several hundred commits that grow, shrink, leave holes and change the page
 * size; then every page at every LSN, with a cold cache. */
static void
history__every_page_at_every_lsn_is_the_models(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct ramet_objstore *const store = new_store();
        struct model model;

        print_message("seed %u\n", (unsigned)seed);
        model_init(&model, store, seed);
        for (int i = 0; i < 150; i++) {
            model_random_commit(&model);
            if (model_random(&model, 20) == 0)
                assert_int_equal(
                    ramet_history_make_map(model.history, model.lsn, NULL),
                    RAMET_OK);
            if (model_random(&model, 30) == 0)
                model_reopen(&model);
            if (i % 7 == 0)
                model_check_lsn(&model, model.lsn);
        }
        model_reopen(&model);
        for (uint64_t lsn = 1; lsn <= model.lsn; lsn++)
            model_check_lsn(&model, lsn);
        for (int i = 0; i < 200; i++) {
            const uint64_t to = model_random(&model, model.lsn) + 1;

            model_check_changed(&model, model_random(&model, to + 1), to);
        }
        model_done(&model);
        ramet_objstore_close(store);
    }
}

static enum ramet_rc
note_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    uint64_t *const sum = ctx;

    (void)err;
    *sum += pgno * (ramet_get_le64(page) + 1);
    return RAMET_OK;
}

/* A commit by hand, for volumes too sparse for the model's arrays. */
static void
commit_sparse(struct model *model, uint32_t least, uint32_t page_count,
              const uint32_t *pgnos, size_t count, uint64_t content)
{
    struct model_change change = {
        .page_size = 512, .least = least, .page_count = page_count};
    const struct ramet_cid id = model_new_cid();
    struct ramet_err err = {.text = ""};
    struct ramet_head base;
    struct ramet_buf out;
    enum ramet_rc rc;

    ramet_pageset_init(&change.changed);
    ramet_buf_init(&out, 1u << 20);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ramet_pageset_add(&change.changed, pgnos[i]),
                         RAMET_OK);
    rc = ramet_history_newest(model->history, &base, &err);
    if (rc == RAMET_OK)
        rc = model_encode(model, &base, &change, &id, content, &out, &err);
    if (rc == RAMET_OK)
        rc = ramet_history_validate(model->history, out.data, out.len, &err);
    if (rc == RAMET_OK)
        rc =
            ramet_history_append(model->history, out.data, out.len, NULL, &err);
    if (rc != RAMET_OK)
        fail_msg("%s", err.text);
    ramet_buf_done(&out);
    ramet_pageset_done(&change.changed);
}

/* Commits that change nothing, until the map is past `lsn`. */
static void
make_map_of_newest(struct model *model)
{
    struct ramet_head head;
    uint64_t lsn;

    assert_int_equal(ramet_history_newest(model->history, &head, NULL),
                     RAMET_OK);
    lsn = head.lsn;
    while (head.map_lsn < lsn) {
        commit_sparse(model, head.page_count, head.page_count, NULL, 0, 0);
        assert_int_equal(ramet_history_newest(model->history, &head, NULL),
                         RAMET_OK);
    }
}

static void
expect_pages(struct model *model, const uint32_t *pgnos, size_t count,
             uint64_t expected)
{
    struct ramet_head head;
    struct ramet_err err = {.text = ""};
    uint64_t sum = 0;

    model_reopen(model);
    assert_int_equal(ramet_history_newest(model->history, &head, NULL),
                     RAMET_OK);
    if (ramet_history_read_pages(
            model->history, point_at(model->history, head.lsn), pgnos, count,
            false, note_page, &sum, &err) != RAMET_OK)
        fail_msg("%s", err.text);
    assert_true(sum == expected);
}

/* Trees of every height, made taller and lower again, up to page 2^32 - 1. */
static void
map__reaches_to_the_last_page_and_shrinks_again(void **state)
{
    static const uint32_t all[] = {1,     64,      65,      16384,
                                   16385, 4194304, 4194305, UINT32_MAX};
    struct ramet_objstore *const store = new_store();
    struct model model;
    uint64_t sum = 0;
    struct ramet_pageset set;
    uint64_t tall_lsn;
    struct ramet_head head;

    (void)state;
    model_init(&model, store, 1);
    for (size_t i = 0; i < 8; i++) { /* content 100 + i */
        commit_sparse(&model, i == 0 ? 0 : all[i - 1], all[i], &all[i], 1,
                      100 + i);
        make_map_of_newest(&model);
        sum += (uint64_t)all[i] * (101 + i);
        expect_pages(&model, all, i + 1, sum);
    }
    assert_int_equal(ramet_history_newest(model.history, &head, NULL),
                     RAMET_OK);
    tall_lsn = head.lsn;
    for (size_t i = 7; i > 0; i--) {
        sum -= (uint64_t)all[i] * (101 + i);
        commit_sparse(&model, all[i] - 1, all[i] - 1, NULL, 0, 0);
        if (i % 2 == 0)
            make_map_of_newest(&model);
        expect_pages(&model, all, i, sum);
    }
    make_map_of_newest(&model);
    assert_int_equal(ramet_history_newest(model.history, &head, NULL),
                     RAMET_OK);
    ramet_pageset_init(&set); /* page 1 is as it was */
    assert_int_equal(
        ramet_history_changed(model.history, point_at(model.history, tall_lsn),
                              point_at(model.history, head.lsn), &set, NULL),
        RAMET_OK);
    assert_false(ramet_pageset_contains(&set, 1));
    /* Grown again: what was cut off is zeros, and is said to have changed. */
    commit_sparse(&model, head.page_count, UINT32_MAX, NULL, 0, 0);
    make_map_of_newest(&model);
    for (size_t i = 1; i < 8; i++)
        sum += all[i];
    expect_pages(&model, all, 8, sum);
    assert_int_equal(ramet_history_newest(model.history, &head, NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_history_changed(model.history, point_at(model.history, tall_lsn),
                              point_at(model.history, head.lsn), &set, NULL),
        RAMET_OK);
    for (size_t i = 1; i < 8; i++)
        assert_true(ramet_pageset_contains(&set, all[i]));
    ramet_pageset_done(&set);
    model_done(&model);
    ramet_objstore_close(store);
}

/* Cut to nothing and made anew: the map is empty in between. */
static void
map__of_an_empty_volume_has_no_object(void **state)
{
    static const uint32_t one = 1;
    struct ramet_objstore *const store = new_store();
    struct model model;
    struct ramet_commit_object commit;
    struct ramet_head head;

    (void)state;
    model_init(&model, store, 1);
    commit_sparse(&model, 0, 1, &one, 1, 7);
    commit_sparse(&model, 0, 0, NULL, 0, 0);
    make_map_of_newest(&model);
    assert_int_equal(ramet_history_newest(model.history, &head, NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_history_commit(model.history, head.lsn, &commit, NULL), RAMET_OK);
    assert_true(commit.map.lsn >= 2);
    assert_int_equal(commit.map.root_length_bytes, 0);
    ramet_commit_done(&commit);
    commit_sparse(&model, 0, 1, NULL, 0, 0);
    expect_pages(&model, &one, 1, 1); /* a page of zeros */
    commit_sparse(&model, 1, 1, &one, 1, 8);
    make_map_of_newest(&model);
    expect_pages(&model, &one, 1, 9);
    model_done(&model);
    ramet_objstore_close(store);
}

/* Volumes of one leaf: their roots are leaves. */
static void
changed__between_lone_leaves(void **state)
{
    struct ramet_objstore *const store = new_store();
    struct ramet_pageset set;
    struct model model;

    (void)state;
    model_init(&model, store, 5);
    model_write(&model, 1, 10);
    for (int i = 0; i < 70; i++)
        model_write(&model, 4, 1);
    for (int i = 0; i < 200; i++)
        model_write(&model, 8, 1);
    model_reopen(&model);
    for (uint64_t lsn = 1; lsn < model.lsn; lsn += 9)
        model_check_changed(&model, lsn, model.lsn);
    ramet_pageset_init(&set);
    assert_int_equal(
        ramet_history_changed(model.history, point_at(model.history, 71),
                              point_at(model.history, model.lsn), &set, NULL),
        RAMET_OK);
    assert_int_equal(ramet_pageset_count(&set), 1);
    assert_true(ramet_pageset_contains(&set, 8));
    assert_int_equal(
        ramet_history_changed(model.history, point_at(model.history, 9),
                              point_at(model.history, 8), &set, NULL),
        RAMET_EINVAL);
    ramet_pageset_done(&set);
    model_done(&model);
    ramet_objstore_close(store);
}

static void
locate__refuses_pages_past_the_end(void **state)
{
    static const uint32_t pgnos[] = {0, 11};
    struct ramet_objstore *const store = new_store();
    struct ramet_located frame;
    struct ramet_head head;
    struct model model;

    (void)state;
    model_init(&model, store, 1);
    model_write(&model, 1, 10);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(ramet_history_locate(model.history,
                                              point_at(model.history, 1),
                                              &pgnos[i], 1, &frame, NULL),
                         RAMET_EINVAL);
    assert_int_equal(ramet_history_locate(model.history,
                                          point_at(model.history, 2), &pgnos[1],
                                          1, &frame, NULL),
                     RAMET_EWENTBACK);
    assert_int_equal(ramet_history_head(model.history, 2, &head, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(ramet_history_locate(model.history,
                                          point_at(model.history, 1), NULL, 0,
                                          NULL, NULL),
                     RAMET_OK);
    model_done(&model);
    ramet_objstore_close(store);
}

/* Readers in threads share one small cache while it evicts all the time. */
struct reader {
    struct model *model;
    struct ramet_history *history;
    uint64_t seed;
};

static void *
read_for_a_while(void *arg)
{
    struct reader *const reader = arg;
    struct model mine = *reader->model; /* its own generator */

    mine.history = reader->history;
    mine.random = reader->seed;
    for (int i = 0; i < 40; i++) {
        const uint64_t lsn = model_random(&mine, mine.lsn) + 1;

        model_check_lsn(&mine, lsn);
        model_check_changed(&mine, model_random(&mine, lsn + 1), lsn);
    }
    return NULL;
}

static void
history__is_shared_by_threads_with_a_tiny_cache(void **state)
{
    const struct ramet_history_options options = {.cache_bytes = 20000};
    struct ramet_objstore *const store = new_store();
    struct ramet_thread threads[4];
    struct reader readers[4];
    struct ramet_history *history;
    struct model model;

    (void)state;
    model_init(&model, store, 11);
    for (int i = 0; i < 120; i++)
        model_random_commit(&model);
    assert_int_equal(
        ramet_history_open(store, &model.volume, &options, &history, NULL),
        RAMET_OK);
    for (unsigned i = 0; i < 4; i++) {
        readers[i] = (struct reader){&model, history, i * 2 + 1};
        assert_int_equal(ramet_thread_start(&threads[i], "reader",
                                            read_for_a_while, &readers[i],
                                            NULL),
                         RAMET_OK);
    }
    for (unsigned i = 0; i < 4; i++)
        ramet_thread_join(&threads[i]);
    ramet_history_close(history);
    model_done(&model);
    ramet_objstore_close(store);
}

/* A writer is told of its own commits: nobody floods it with nothing. */
static void
offer__of_what_was_committed_here_is_of_use(void **state)
{
    struct ramet_objstore *const store = new_store();
    struct model model;

    (void)state;
    model_init(&model, store, 5);
    for (int i = 0; i < 3; i++)
        model_write(&model, 1, 4);
    for (uint64_t lsn = 1; lsn <= 3; lsn++) {
        struct ramet_head head;
        struct ramet_point at;

        assert_int_equal(ramet_history_head(model.history, lsn, &head, NULL),
                         RAMET_OK);
        at = ramet_head_point(&head);
        assert_true(ramet_history_offer(model.history, &at, NULL, 0));
        at.hash.bytes[0] ^= 1; /* another one of that number */
        assert_false(ramet_history_offer(model.history, &at, NULL, 0));
    }
    model_done(&model);
    ramet_objstore_close(store);
}

/* What is offered stands on another commit than the newest that was seen, as it is
 * after the store went back and another way: it is not followed. */
static void
offer__on_another_base_is_of_no_use(void **state)
{
    struct ramet_objstore *const store = new_store();
    struct model_change change = {
        .page_size = 512, .least = 4, .page_count = 4};
    const struct ramet_cid id = model_new_cid();
    struct ramet_head base, newest;
    struct ramet_buf object;
    struct ramet_point at;
    struct model model;

    (void)state;
    model_init(&model, store, 7);
    model_write(&model, 1, 4);
    model_write(&model, 1, 4);
    assert_int_equal(ramet_history_newest(model.history, &base, NULL),
                     RAMET_OK);
    ramet_buf_init(&object, 1u << 20);
    ramet_pageset_init(&change.changed);
    assert_int_equal(ramet_pageset_add(&change.changed, 2), RAMET_OK);
    assert_int_equal(
        model_encode(&model, &base, &change, &id, 777, &object, NULL),
        RAMET_OK);
    for (unsigned another = 2; another-- > 0;) {
        object.data[80] ^= 1; /* of its predecessor; then as it was */
        object.data[196] ^= 1;
        line_seal(&object);
        at = (struct ramet_point){.lsn = 3};
        memcpy(at.hash.bytes, object.data + 292, sizeof(at.hash.bytes));
        assert_int_equal(
            ramet_history_offer(model.history, &at, object.data, object.len),
            another == 0);
        assert_true(ramet_history_seen(model.history, &newest, NULL) ==
                    RAMET_OK);
        assert_int_equal(newest.lsn, another == 0 ? 3 : 2);
    }
    ramet_buf_done(&object);
    ramet_pageset_done(&change.changed);
    model_done(&model);
    ramet_objstore_close(store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(history__every_page_at_every_lsn_is_the_models),
        cmocka_unit_test(map__reaches_to_the_last_page_and_shrinks_again),
        cmocka_unit_test(map__of_an_empty_volume_has_no_object),
        cmocka_unit_test(changed__between_lone_leaves),
        cmocka_unit_test(locate__refuses_pages_past_the_end),
        cmocka_unit_test(history__is_shared_by_threads_with_a_tiny_cache),
        cmocka_unit_test(offer__of_what_was_committed_here_is_of_use),
        cmocka_unit_test(offer__on_another_base_is_of_no_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
