/*
 * test_rollups.c - volumes whose maps have roll-ups in the way: against the model,
 * what they cost, and what becomes of those that lie.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/map.h"
#include "metastore/maproot.h"
#include "metastore/node_cache.h"
#include "tests/metastore/made_up.h"
#include "tests/metastore/model.h"
#include "tests/support/faultstore.h"
#include "tests/support/point.h"

/* So small that a few hundred commits go through all classes. */
static const struct ramet_map_sizes tiny = {.inside_bytes = 1500,
                                            .middle_bytes = 3500,
                                            .bytes_a_leaf = 2000,
                                            .pages_most = 300,
                                            .pages_a_piece = 25};

static struct ramet_objstore *
new_store(void)
{
    struct ramet_objstore *store;

    assert_int_equal(ramet_memstore_open(&store, NULL), RAMET_OK);
    return store;
}

/* How many roll-ups the map of the newest commit has. */
static unsigned
rollups_of_newest(struct model *model)
{
    struct ramet_map_root root;
    struct ramet_commit_object commit;
    unsigned count;

    assert_int_equal(
        ramet_history_commit(model->history, model->lsn, &commit, NULL),
        RAMET_OK);
    assert_int_equal(
        ramet_map_root_open(model->history, &commit.map, &root, NULL),
        RAMET_OK);
    count = root.top.count;
    ramet_map_root_close(&root);
    ramet_commit_done(&commit);
    return count;
}

/* Of the newest commit; the next one names it. */
static void
make_map(struct model *model)
{
    assert_int_equal(ramet_history_make_map(model->history, model->lsn, NULL),
                     RAMET_OK);
}

static void
report(void *ctx, bool damaged, const char *text, uint64_t done, uint64_t total)
{
    unsigned *const findings = ctx;

    (void)done;
    (void)total;
    (void)text;
    *findings += damaged;
}

/* Cut some pages off, grow by some, and write one. */
static void
resize(struct model *model)
{
    const struct model_version *const now = &model->versions[model->lsn];
    struct model_change change = {.page_size = now->page_size};

    change.least = now->page_count - (uint32_t)model_random(model, 60);
    change.page_count = change.least + (uint32_t)model_random(model, 60);
    ramet_pageset_init(&change.changed);
    assert_int_equal(
        ramet_pageset_add(&change.changed,
                          1 + (uint32_t)model_random(model, change.page_count)),
        RAMET_OK);
    model_commit(model, &change);
    ramet_pageset_done(&change.changed);
}

/* Commits that grow, shrink, leave holes and change the page size, and small ones
 * between them; then every page at every LSN, with a cold cache, and what changed
 * between any two. */
static void
rollups__every_page_at_every_lsn_is_the_models(void **state)
{
    unsigned seen[RAMET_ROLLUPS_MAX + 1] = {0};

    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        struct ramet_objstore *const store = new_store();
        unsigned findings = 0;
        struct model model;

        print_message("seed %u\n", (unsigned)seed);
        model_init(&model, store, seed);
        model.map_sizes = &tiny;
        model_reopen(&model);
        for (int i = 0; i < 600; i++) {
            if (model.lsn == 0 || model_random(&model, 300) == 0)
                model_random_commit(&model);
            else if (model.versions[model.lsn].page_count < 400)
                model_write(&model, 1, 600);
            else if (model_random(&model, 50) == 0)
                resize(&model);
            else
                model_write_random(&model, 1);
            if (model_random(&model, 4) == 0)
                make_map(&model);
            seen[rollups_of_newest(&model)]++;
            if (i % 31 == 0)
                model_check_lsn(&model, model.lsn);
        }
        model_reopen(&model);
        for (uint64_t lsn = 1; lsn <= model.lsn; lsn += 3)
            model_check_lsn(&model, lsn);
        for (int i = 0; i < 500; i++) {
            const uint64_t to = model_random(&model, model.lsn) + 1;

            model_check_changed(&model, model_random(&model, to + 1), to);
        }
        assert_int_equal(
            ramet_history_verify(model.history, report, &findings, NULL, NULL),
            RAMET_OK);
        assert_int_equal(findings, 0);
        model_done(&model);
        ramet_objstore_close(store);
    }
    print_message("with 0 / 1 / 2 / 3 roll-ups: %u / %u / %u / %u\n", seen[0],
                  seen[1], seen[2], seen[3]);
    assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0 && seen[3] > 0);
}

static uint64_t
map_lsn_of_newest(struct model *model)
{
    struct ramet_head head;

    assert_int_equal(
        ramet_history_head(model->history, model->lsn, &head, NULL), RAMET_OK);
    return head.map_lsn;
}

/* Commits of page 3, until one of them names a map that has all before `lsn`. */
static void
commit_until_mapped(struct model *model, uint64_t lsn)
{
    while (map_lsn_of_newest(model) < lsn) {
        make_map(model);
        model_write(model, 3, 1);
    }
}

/* A page that only a roll-up had, and that a later one cut off, is in no set that the
 * tree is made of: that it went must be said by the tree all the same. */
static void
page_cut_off_between_roll_ups__is_known_to_the_tree(void **state)
{
    struct ramet_objstore *const store = new_store();
    struct model_change change = {
        .page_size = 512, .least = 0, .page_count = 2000};
    struct model model;
    uint64_t written;

    (void)state;
    model_init(&model, store, 5);
    model.map_sizes = &tiny;
    model_reopen(&model);
    ramet_pageset_init(&change.changed);
    assert_int_equal(
        ramet_pageset_add_run(&change.changed, (struct ramet_run){1, 600}),
        RAMET_OK);
    model_commit(&model, &change);
    commit_until_mapped(&model, model.lsn);
    model_write(&model, 1500, 1);
    written = model.lsn;
    commit_until_mapped(&model, model.lsn);
    assert_int_equal(rollups_of_newest(&model), 1);
    ramet_pageset_clear(&change.changed);
    change.least = 1000;
    model_commit(&model, &change);
    commit_until_mapped(&model, model.lsn);
    assert_int_equal(rollups_of_newest(&model), 1);

    model.history->map_sizes.pages_most = 0; /* into the tree */
    commit_until_mapped(&model, written + 2 * RAMET_MAP_EVERY_COMMITS);
    assert_int_equal(rollups_of_newest(&model), 0);
    model_check_changed(&model, written, model.lsn);
    model_check_lsn(&model, model.lsn);
    ramet_pageset_done(&change.changed);
    model_done(&model);
    ramet_objstore_close(store);
}

/* A volume whose newest map has no roll-up: all goes into the tree, at once. */
static void
tree_model_init(struct model *model, struct ramet_objstore *store)
{
    model_init(model, store, 6);
    model->map_sizes = &tiny;
    model_reopen(model);
    model->history->map_sizes.pages_most = 0;
}

/* Cut to `least`, then grown to `page_count`, with what was cut off left out. */
static void
cut_and_grow(struct model *model, uint32_t least, uint32_t page_count)
{
    struct model_change change = {
        .page_size = 512, .least = least, .page_count = page_count};

    ramet_pageset_init(&change.changed);
    model_commit(model, &change);
    ramet_pageset_done(&change.changed);
}

/* Whatever level of the tree the cut falls into: in the midst of a leaf, between two
 * leaves, where a node is empty then, and where the root is of a lower level; also
 * where a leaf has nothing left that the cut does not take as a whole. */
static void
pages_cut_off__are_zeros_in_the_tree_and_told(void **state)
{
    static const struct {
        uint32_t before, least, after;
    } cases[] = {
        {600, 100, 600},     {600, 128, 600},       {600, 1, 600},
        {600, 599, 600},     {40000, 16400, 40000}, {40000, 16384, 40000},
        {40000, 30, 40000},  {40000, 30, 60},       {40000, 16000, 16100},
        {40000, 130, 17000}, {40000, 39950, 40000}, {40000, 39950, 70000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ramet_objstore *const store = new_store();
        const uint32_t more =
            cases[i].after > cases[i].before ? cases[i].after : cases[i].before;
        struct model model;
        uint64_t written;

        tree_model_init(&model, store);
        model_write(&model, 1, 600);
        cut_and_grow(&model, 600, cases[i].before);
        model_write(&model, cases[i].before - 20, 21);
        written = model.lsn;
        commit_until_mapped(&model, written);
        cut_and_grow(&model, cases[i].least, cases[i].after);
        commit_until_mapped(&model, model.lsn);
        assert_int_equal(rollups_of_newest(&model), 0);
        cut_and_grow(&model, cases[i].after, more + 100);
        commit_until_mapped(&model, model.lsn);
        commit_until_mapped(&model, written + 2 * RAMET_MAP_EVERY_COMMITS);
        model_reopen(&model);
        model_check_lsn(&model, model.lsn);
        model_check_changed(&model, written, model.lsn);
        model_done(&model);
        ramet_objstore_close(store);
    }
}

/* ---- what they cost ------------------------------------------------------- */

/* 10,000 one-row commits at random on 200 MB, and a share of those on 10 GB. */
static void
maps__of_small_commits__cost_what_changed(void **state)
{
    static const struct {
        uint32_t pages;
        unsigned commits, every;
        uint64_t most; /* bytes of maps a commit */
    } cases[] = {{50000, 10000, 64, 330},
                 {50000, 10000, 32, 500},
                 {1000000, 20000, 64, 600}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct made_up made_up;

        made_up_init(&made_up, cases[i].pages);
        for (unsigned n = 0; n < cases[i].commits; n += cases[i].every)
            made_up_commits(&made_up, cases[i].every);
        print_message("%u pages: %u bytes a commit\n", cases[i].pages,
                      (unsigned)(made_up.map_bytes / cases[i].commits));
        assert_true(made_up.map_bytes <= cases[i].most * cases[i].commits);
        made_up_done(&made_up);
    }
}

struct counted {
    struct ramet_objstore *inner, *store;
    struct model model;
};

/* A volume of 4,000 pages with all sizes of roll-ups in the way. */
static void
counted_init(struct counted *c, unsigned traits)
{
    static const struct ramet_map_sizes sizes = {.inside_bytes = 3000,
                                                 .middle_bytes = 9000,
                                                 .bytes_a_leaf = 2000,
                                                 .pages_most = 2000,
                                                 .pages_a_piece = 40};

    c->inner = new_store();
    c->store = ramet_faultstore_new(c->inner);
    assert_non_null(c->store);
    c->store->traits = traits;
    model_init(&c->model, c->store, 8);
    c->model.map_sizes = &sizes;
    model_reopen(&c->model);
    model_write(&c->model, 1, 4000);
    while (rollups_of_newest(&c->model) < 3 || c->model.lsn < 300)
        model_write_random(&c->model, 1);
}

static void
counted_done(struct counted *c)
{
    model_done(&c->model);
    ramet_objstore_close(c->store);
    ramet_objstore_close(c->inner);
}

/* Where a page lies, for a reader that knows the heads already: the map's root, a
 * piece of each roll-up that does not stand in it, a node of the tree. */
static void
cold_read__costs_a_range_more_for_each_roll_up(void **state)
{
    (void)state;
    for (unsigned traits = 0; traits < 2; traits++) {
        struct ramet_store_counts counts;
        uint64_t most = 0;
        struct counted c;

        counted_init(&c, traits == 0 ? 0 : RAMET_STORE_IS_PAID);
        assert_int_equal(rollups_of_newest(&c.model), 3);
        for (uint32_t pgno = 1; pgno <= 4000; pgno += 97) {
            struct ramet_located located;
            struct ramet_overlay overlay;
            const struct ramet_point at =
                *point_at(c.model.history, c.model.lsn);

            model_reopen(&c.model);
            assert_int_equal(
                ramet_overlay_open(c.model.history, &at, &overlay, NULL),
                RAMET_OK);
            ramet_faultstore_reset_counts(c.store);
            assert_int_equal(
                ramet_overlay_locate(&overlay, &pgno, 1, &located, NULL),
                RAMET_OK);
            counts = ramet_faultstore_counts(c.store);
            most = counts.reads > most ? counts.reads : most;
            ramet_overlay_close(&overlay);
        }
        print_message("at most %u reads of the map\n", (unsigned)most);
        assert_in_range(most, 3, 5); /* root, leaf, and two pieces */
        counted_done(&c);
    }
}

/* Who was away for long reads roll-ups, not commits; who was away for less, only
 * those that are newer. */
static void
catching_up__reads_the_roll_ups_that_are_newer(void **state)
{
    struct ramet_store_counts counts;
    uint64_t before = 0;
    struct counted c;

    (void)state;
    counted_init(&c, RAMET_STORE_LISTS_CHEAPLY);
    for (uint64_t away = 70; away < c.model.lsn; away += 110) {
        struct ramet_pageset set;

        model_reopen(&c.model);
        (void)point_at(c.model.history, c.model.lsn - away);
        ramet_pageset_init(&set);
        ramet_faultstore_reset_counts(c.store);
        assert_int_equal(
            ramet_history_changed(
                c.model.history, point_at(c.model.history, c.model.lsn - away),
                point_at(c.model.history, c.model.lsn), &set, NULL),
            RAMET_OK);
        counts = ramet_faultstore_counts(c.store);
        print_message("away for %u: %u reads, %u bytes, %u pages\n",
                      (unsigned)away, (unsigned)counts.reads,
                      (unsigned)counts.bytes_read,
                      (unsigned)ramet_pageset_count(&set));
        assert_true(counts.reads <= RAMET_MAP_EVERY_COMMITS + 12);
        assert_true(ramet_pageset_count(&set) <= away);
        assert_true(counts.bytes_read >= before);
        before = counts.bytes_read;
        ramet_pageset_done(&set);
        model_check_changed(&c.model, c.model.lsn - away, c.model.lsn);
    }
    counted_done(&c);
}

/* More pieces than a top has room for: the tree takes all in, at once. */
static void
roll_ups__that_find_no_room__go_into_the_tree(void **state)
{
    static const struct ramet_map_sizes sizes = {.inside_bytes = 100,
                                                 .middle_bytes = 200,
                                                 .bytes_a_leaf = 40000,
                                                 .pages_most = 1u << 20,
                                                 .pages_a_piece = 1};
    struct ramet_objstore *const store = new_store();
    unsigned findings = 0, with = 0;
    struct model model;

    (void)state;
    model_init(&model, store, 3);
    model.map_sizes = &sizes;
    model_reopen(&model);
    model_write(&model, 1, 4000);
    while (with == 0 || rollups_of_newest(&model) > 0) {
        model_write_random(&model, 8);
        with += rollups_of_newest(&model) > 0;
        assert_true(model.lsn < 400);
    }
    model_reopen(&model);
    for (uint64_t lsn = 1; lsn <= model.lsn; lsn += 10)
        model_check_lsn(&model, lsn);
    assert_int_equal(
        ramet_history_verify(model.history, report, &findings, NULL, NULL),
        RAMET_OK);
    model_done(&model);
    ramet_objstore_close(store);
}

/* ---- hostile stores ------------------------------------------------------- */

struct found_map {
    char key[RAMET_KEY_MAX];
    uint64_t size_bytes;
};

static bool
take_newest(void *ctx, const char *key, uint64_t size_bytes)
{
    struct found_map *const found = ctx;

    snprintf(found->key, sizeof(found->key), "%s", key);
    found->size_bytes = size_bytes;
    return true;
}

/* Any byte of the newest map, between header and trailer, is another: pages are
 * right or refused, and verify says so. */
static void
roll_up__that_lies__is_found_by_its_hash(void **state)
{
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];
    struct found_map found = {.size_bytes = 0};
    unsigned refused = 0;
    uint8_t *bytes;
    struct counted c;

    (void)state;
    counted_init(&c, 0);
    ramet_id_format(&c.model.volume.id, vid);
    snprintf(prefix, sizeof(prefix), "volumes/%s/maps/", vid);
    assert_int_equal(
        ramet_objstore_list(c.inner, prefix, "", take_newest, &found, NULL),
        RAMET_OK);
    bytes = malloc((size_t)found.size_bytes);
    assert_int_equal(ramet_objstore_read_full(c.inner, found.key, 0, bytes,
                                              (size_t)found.size_bytes, NULL),
                     RAMET_OK);
    for (uint64_t at = 40; at < found.size_bytes - 64; at += 211) {
        const struct iovec part = {bytes, (size_t)found.size_bytes};
        uint32_t pgnos[200];
        struct ramet_located located[200];
        unsigned findings = 0;
        enum ramet_rc rc;

        for (uint32_t i = 0; i < 200; i++)
            pgnos[i] = 1 + i * 20;
        assert_int_equal(ramet_objstore_remove(c.inner, found.key, NULL),
                         RAMET_OK);
        bytes[at] ^= 0x10;
        assert_int_equal(ramet_objstore_put(c.inner, found.key, &part, 1, NULL),
                         RAMET_OK);
        bytes[at] ^= 0x10;
        model_reopen(&c.model);
        rc = ramet_history_locate(c.model.history,
                                  point_at(c.model.history, c.model.lsn), pgnos,
                                  200, located, NULL);
        assert_true(rc == RAMET_OK || rc == RAMET_ECORRUPT);
        refused += rc == RAMET_ECORRUPT;
        assert_int_equal(ramet_history_verify(c.model.history, report,
                                              &findings, NULL, NULL),
                         RAMET_ECORRUPT);
    }
    assert_true(refused > 0);
    free(bytes);
    counted_done(&c);
}

/* Two that make a map of the same LSN: both are whole, and either serves. */
static void
roll_ups__made_twice__do_no_harm(void **state)
{
    struct ramet_history *other;
    unsigned findings = 0;
    struct counted c;

    (void)state;
    counted_init(&c, 0);
    assert_int_equal(
        ramet_history_open(c.store, &c.model.volume, NULL, &other, NULL),
        RAMET_OK);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(ramet_history_make_map(other, c.model.lsn, NULL),
                         RAMET_OK);
        assert_int_equal(
            ramet_history_make_map(c.model.history, c.model.lsn, NULL),
            RAMET_OK);
        model_write_random(&c.model, 1);
    }
    ramet_history_close(other);
    model_reopen(&c.model);
    for (uint64_t lsn = 1; lsn <= c.model.lsn; lsn += 23)
        model_check_lsn(&c.model, lsn);
    assert_int_equal(
        ramet_history_verify(c.model.history, report, &findings, NULL, NULL),
        RAMET_OK);
    counted_done(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rollups__every_page_at_every_lsn_is_the_models),
        cmocka_unit_test(page_cut_off_between_roll_ups__is_known_to_the_tree),
        cmocka_unit_test(pages_cut_off__are_zeros_in_the_tree_and_told),
        cmocka_unit_test(maps__of_small_commits__cost_what_changed),
        cmocka_unit_test(cold_read__costs_a_range_more_for_each_roll_up),
        cmocka_unit_test(catching_up__reads_the_roll_ups_that_are_newer),
        cmocka_unit_test(roll_ups__that_find_no_room__go_into_the_tree),
        cmocka_unit_test(roll_up__that_lies__is_found_by_its_hash),
        cmocka_unit_test(roll_ups__made_twice__do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
