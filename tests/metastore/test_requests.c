/*
 * test_requests.c - how many requests things cost. These are limits that must
 * not grow: a request is 20 ms and money where a store is far away.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "tests/metastore/model.h"
#include "tests/support/faultstore.h"
#include "tests/support/point.h"

struct fixture {
    struct ramet_objstore *inner, *store;
    struct model model;
};

static void
fixture_open(struct fixture *f, bool lists_cheaply)
{
    assert_int_equal(ramet_memstore_open(&f->inner, NULL), RAMET_OK);
    f->store = ramet_faultstore_new(f->inner);
    assert_non_null(f->store);
    f->store->traits = lists_cheaply ? RAMET_STORE_LISTS_CHEAPLY : 0;
    model_init(&f->model, f->store, 4);
}

static void
fixture_close(struct fixture *f)
{
    model_done(&f->model);
    ramet_objstore_close(f->store);
    ramet_objstore_close(f->inner);
}

static uint64_t
all_requests(struct fixture *f)
{
    const struct ramet_store_counts c = ramet_faultstore_counts(f->store);

    return c.puts + c.upload_begins + c.upload_writes + c.reads + c.sizes +
           c.lists + c.removes;
}

static enum ramet_rc
ignore_page(void *ctx, uint32_t pgno, const uint8_t *page,
            struct ramet_err *err)
{
    (void)ctx;
    (void)pgno;
    (void)page;
    (void)err;
    return RAMET_OK;
}

static void
read_page(struct fixture *f, uint32_t pgno)
{
    struct ramet_head head;

    assert_int_equal(ramet_history_newest(f->model.history, &head, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_history_read_pages(
                         f->model.history, point_at(f->model.history, head.lsn),
                         &pgno, 1, false, ignore_page, NULL, NULL),
                     RAMET_OK);
}

/* A LIST and a GET, however long the history and however large the volume;
 * and no more bytes. */
static void
opening__is_two_requests_at_any_age_and_size(void **state)
{
    static const struct {
        uint32_t pages;
        unsigned commits;
    } cases[] = {{1, 0}, {20, 10}, {20000, 1}, {200, 500}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ramet_store_counts counts;
        struct fixture f;
        struct ramet_head head;

        fixture_open(&f, true);
        model_write(&f.model, 1, cases[i].pages);
        for (unsigned n = 0; n < cases[i].commits; n++)
            model_write_random(&f.model, 1);
        model_reopen(&f.model);
        ramet_faultstore_reset_counts(f.store);
        assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                         RAMET_OK);
        counts = ramet_faultstore_counts(f.store);
        assert_int_equal(counts.lists, 1);
        assert_int_equal(counts.reads, 1);
        assert_int_equal(all_requests(&f), 2);
        assert_true(counts.bytes_read <= 8192);
        fixture_close(&f);
    }
}

/* Without a cheap LIST: gallop and bisect, twice the logarithm; then, where
 * nothing is new, two. */
static void
opening__on_a_directory_is_logarithmic_then_two(void **state)
{
    struct fixture f;
    struct ramet_head head;

    (void)state;
    fixture_open(&f, false);
    model_write(&f.model, 1, 5);
    for (int i = 0; i < 999; i++)
        model_write_random(&f.model, 1);
    model_reopen(&f.model);
    ramet_faultstore_reset_counts(f.store);
    assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                     RAMET_OK);
    assert_int_equal(head.lsn, 1000);
    assert_true(all_requests(&f) <= 21);
    ramet_faultstore_reset_counts(f.store);
    assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                     RAMET_OK);
    assert_int_equal(all_requests(&f), 2);
    fixture_close(&f);
}

static void
polling__is_one_list_where_nothing_is_new(void **state)
{
    struct fixture f;
    struct ramet_head head;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 5);
    assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                     RAMET_OK);
    ramet_faultstore_reset_counts(f.store);
    assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                     RAMET_OK);
    assert_int_equal(all_requests(&f), 1);
    fixture_close(&f);
}

static void
small_commit__is_one_put(void **state)
{
    struct fixture f;
    struct model_change change = {
        .page_size = 512, .page_count = 100, .least = 100};
    struct ramet_store_counts counts;
    struct ramet_head base;
    struct ramet_cid id;
    struct ramet_buf out;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 100);
    assert_int_equal(ramet_history_newest(f.model.history, &base, NULL),
                     RAMET_OK);
    id = model_new_cid();
    ramet_pageset_init(&change.changed);
    assert_int_equal(ramet_pageset_add(&change.changed, 1), RAMET_OK);
    assert_int_equal(ramet_pageset_add(&change.changed, 50), RAMET_OK);
    ramet_buf_init(&out, 1u << 20);
    ramet_faultstore_reset_counts(f.store);
    assert_int_equal(
        model_encode(&f.model, &base, &change, &id, 1000, &out, NULL),
        RAMET_OK);
    assert_int_equal(
        ramet_history_append(f.model.history, out.data, out.len, NULL, NULL),
        RAMET_OK);
    counts = ramet_faultstore_counts(f.store);
    assert_int_equal(counts.puts, 1);
    assert_int_equal(all_requests(&f), 1);
    /* Two pages of 512 bytes, and a head of less than 365. */
    assert_true(ramet_get_le32(out.data + 8) < 365);
    ramet_buf_done(&out);
    ramet_pageset_done(&change.changed);
    fixture_close(&f);
}

/* Cold, right after a map: LIST, head, root, inner, leaf, frame. */
static void
cold_read__costs_what_the_tree_is_deep(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 20000); /* level 2, a map of its own */
    model_reopen(&f.model);
    ramet_faultstore_reset_counts(f.store);
    read_page(&f, 12345);
    assert_true(all_requests(&f) <= 6);
    ramet_faultstore_reset_counts(f.store);
    read_page(&f, 12346); /* the same leaf: LIST and frame */
    assert_true(all_requests(&f) <= 2);
    fixture_close(&f);
}

/* The worst of cold reads: all heads that a map may lag behind. */
static void
cold_read__never_needs_more_than_64_heads(void **state)
{
    struct fixture f;
    uint64_t most = 0;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 500);
    for (int i = 0; i < 150; i++) {
        uint64_t requests;

        model_write(&f.model, 1, 1);
        model_reopen(&f.model);
        ramet_faultstore_reset_counts(f.store);
        read_page(&f, 300);
        requests = all_requests(&f);
        most = requests > most ? requests : most;
    }
    print_message("at most %u requests\n", (unsigned)most);
    assert_true(most <= 1 + RAMET_MAP_EVERY_COMMITS + 4);
    fixture_close(&f);
}

/* A scan reads nodes and frames in long ranges. */
static void
scan__costs_few_requests(void **state)
{
    struct fixture f;
    uint32_t *const pgnos = malloc(20000 * sizeof(pgnos[0]));
    struct ramet_head head;

    (void)state;
    fixture_open(&f, true);
    f.model.never_inline = true;
    model_write(&f.model, 1, 20000);
    model_reopen(&f.model);
    for (uint32_t i = 0; i < 20000; i++)
        pgnos[i] = i + 1;
    assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                     RAMET_OK);
    ramet_faultstore_reset_counts(f.store);
    assert_int_equal(ramet_history_read_pages(
                         f.model.history, point_at(f.model.history, head.lsn),
                         pgnos, 20000, false, ignore_page, NULL, NULL),
                     RAMET_OK);
    print_message("scan of 20000 pages: %u requests\n",
                  (unsigned)all_requests(&f));
    assert_true(all_requests(&f) <= 20);
    free(pgnos);
    fixture_close(&f);
}

/* Who was away for long compares maps: far fewer requests than commits. */
static void
catching_up__after_a_thousand_commits_walks_one_map(void **state)
{
    struct fixture f;
    struct ramet_pageset set;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 2000);
    for (int i = 0; i < 1000; i++)
        model_write(&f.model, 100 + (uint32_t)i % 50, 1);
    model_reopen(&f.model);
    ramet_pageset_init(&set);
    ramet_faultstore_reset_counts(f.store);
    assert_int_equal(ramet_history_changed(
                         f.model.history, point_at(f.model.history, 1),
                         point_at(f.model.history, f.model.lsn), &set, NULL),
                     RAMET_OK);
    print_message("%u requests\n", (unsigned)all_requests(&f));
    assert_true(all_requests(&f) <= 1 + RAMET_MAP_EVERY_COMMITS + 8);
    assert_int_equal(ramet_pageset_count(&set), 50);
    ramet_pageset_done(&set);
    model_check_changed(&f.model, 1, f.model.lsn);
    fixture_close(&f);
}

/* Maps made in the background are found by those who did not make them. */
static void
map__of_somebody_else_is_found_and_used(void **state)
{
    struct fixture f;
    struct ramet_history *other;
    struct ramet_head head;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 100);
    for (int i = 0; i < 60; i++)
        model_write(&f.model, 1, 1);
    assert_int_equal(
        ramet_history_open(f.store, &f.model.volume, NULL, &other, NULL),
        RAMET_OK);
    assert_int_equal(ramet_history_make_map(other, 50, NULL), RAMET_OK);
    ramet_history_close(other);
    ramet_faultstore_reset_counts(f.store);
    for (int i = 0; i < 10; i++)
        model_write(&f.model, 1, 1);
    assert_int_equal(ramet_faultstore_counts(f.store).puts, 10); /* no map */
    assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                     RAMET_OK);
    assert_int_equal(head.map_lsn, 50);
    for (uint64_t lsn = 1; lsn <= f.model.lsn; lsn++)
        model_check_lsn(&f.model, lsn);
    fixture_close(&f);
}

/* A map of a line that a restore made undone lies about: it is passed over. */
static void
map__of_a_lost_line_is_not_used(void **state)
{
    struct fixture f;
    struct ramet_history *other;
    struct ramet_head head;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 100);
    for (int i = 0; i < 50; i++)
        model_write(&f.model, 1, 1);
    assert_int_equal(
        ramet_history_open(f.store, &f.model.volume, NULL, &other, NULL),
        RAMET_OK);
    assert_int_equal(ramet_history_make_map(other, 50, NULL), RAMET_OK);
    ramet_history_close(other);
    while (f.model.lsn > 40) { /* the store goes back to LSN 40 */
        char key[RAMET_KEY_MAX];

        ramet_commit_key(&f.model.volume, f.model.lsn, key);
        assert_int_equal(ramet_objstore_remove(f.inner, key, NULL), RAMET_OK);
        model_drop_newest(&f.model);
    }
    model_reopen(&f.model);
    for (int i = 0; i < 40; i++)
        model_write(&f.model, 2, 1);
    assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                     RAMET_OK);
    assert_true(head.map_lsn > 50);
    model_reopen(&f.model);
    for (uint64_t lsn = 1; lsn <= f.model.lsn; lsn++)
        model_check_lsn(&f.model, lsn);
    fixture_close(&f);
}

/* ---- a store that is paid by the request ------------------------------------ */

static uint64_t clock_ns;

static uint64_t
read_clock(void *ctx)
{
    (void)ctx;
    return clock_ns;
}

/* A second history of the model's volume, on a clock of its own. */
static struct ramet_history *
open_paid(struct fixture *f)
{
    static struct ramet_os os;
    struct ramet_history_options options = {.os = &os};
    struct ramet_history *history;

    os = *ramet_os_system();
    os.mono_ns = read_clock;
    clock_ns = UINT64_C(1000000000);
    f->store->traits |= RAMET_STORE_IS_PAID;
    assert_int_equal(ramet_history_open(f->store, &f->model.volume, &options,
                                        &history, NULL),
                     RAMET_OK);
    return history;
}

/* Requests of ramet_history_newest(): reads, and LISTs times 100. */
static uint64_t
cost_of_newest(struct fixture *f, struct ramet_history *history, uint64_t lsn)
{
    struct ramet_store_counts counts;
    struct ramet_head head;

    ramet_faultstore_reset_counts(f->store);
    assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
    assert_int_equal(head.lsn, lsn);
    counts = ramet_faultstore_counts(f->store);
    assert_int_equal(all_requests(f), counts.reads + counts.lists);
    return counts.reads + 100 * counts.lists;
}

static void
paid_store__is_looked_at_by_the_next_slot(void **state)
{
    struct ramet_history *history;
    struct fixture f;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 20);
    history = open_paid(&f);
    assert_int_equal(cost_of_newest(&f, history, 1), 101);
    for (int i = 0; i < 5; i++)
        assert_int_equal(cost_of_newest(&f, history, 1), 1);
    model_write_random(&f.model, 1);
    assert_int_equal(cost_of_newest(&f, history, 2), 2);
    for (int i = 0; i < 10; i++) /* many: two reads, then a LIST */
        model_write_random(&f.model, 1);
    assert_int_equal(cost_of_newest(&f, history, 12), 103);
    /* A minute later it must show that what was seen is there. */
    clock_ns += UINT64_C(61000000000);
    assert_int_equal(cost_of_newest(&f, history, 12), 2);
    assert_int_equal(cost_of_newest(&f, history, 12), 1);
    ramet_history_close(history);
    fixture_close(&f);
}

static void
paid_store__that_went_back_is_noticed_within_a_minute(void **state)
{
    struct ramet_history *history;
    struct ramet_head head;
    char key[RAMET_KEY_MAX];
    struct fixture f;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 20);
    model_write_random(&f.model, 1);
    history = open_paid(&f);
    assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
    ramet_commit_key(&f.model.volume, 2, key);
    assert_int_equal(ramet_objstore_remove(f.inner, key, NULL), RAMET_OK);
    clock_ns += UINT64_C(61000000000);
    assert_int_equal(ramet_history_newest(history, &head, NULL),
                     RAMET_EWENTBACK);
    ramet_history_close(history);
    fixture_close(&f);
}

/* Another commit of the same number stands there: somebody went on from what the
 * store was set back to. */
static void
paid_store__that_went_another_way_is_noticed_within_a_minute(void **state)
{
    struct model_change change = {.page_size = 512, .page_count = 20};
    const struct ramet_cid id = model_new_cid();
    struct ramet_history *history;
    struct ramet_head head;
    char key[RAMET_KEY_MAX];
    struct ramet_buf other;
    struct fixture f;
    struct iovec part;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 20);
    assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                     RAMET_OK);
    change.page_size = head.page_size;
    change.page_count = change.least = head.page_count;
    ramet_pageset_init(&change.changed);
    assert_int_equal(ramet_pageset_add(&change.changed, 3), RAMET_OK);
    ramet_buf_init(&other, 1u << 20);
    assert_int_equal(
        model_encode(&f.model, &head, &change, &id, 77, &other, NULL),
        RAMET_OK);
    model_write_random(&f.model, 1);
    history = open_paid(&f);
    assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
    assert_int_equal(head.lsn, 2);
    ramet_commit_key(&f.model.volume, 2, key);
    assert_int_equal(ramet_objstore_remove(f.inner, key, NULL), RAMET_OK);
    part = (struct iovec){other.data, other.len};
    assert_int_equal(ramet_objstore_put(f.inner, key, &part, 1, NULL),
                     RAMET_OK);
    clock_ns += UINT64_C(61000000000);
    assert_int_equal(ramet_history_newest(history, &head, NULL),
                     RAMET_EWENTBACK);
    ramet_history_close(history);
    ramet_pageset_done(&change.changed);
    ramet_buf_done(&other);
    fixture_close(&f);
}

/* Read before the store was set back: that it was there makes it no news. */
static void
paid_store__that_went_back__is_asked_for_the_next_slot(void **state)
{
    struct ramet_history *history;
    struct ramet_head head;
    char key[RAMET_KEY_MAX];
    struct fixture f;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 20);
    model_write_random(&f.model, 1);
    history = open_paid(&f);
    assert_int_equal(ramet_history_head(history, 2, &head, NULL), RAMET_OK);
    ramet_commit_key(&f.model.volume, 2, key);
    assert_int_equal(ramet_objstore_remove(f.inner, key, NULL), RAMET_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
        assert_int_equal(head.lsn, 1);
    }
    ramet_history_close(history);
    fixture_close(&f);
}

/* Where a store was set back, and others committed: what a cache has from before, by
 * the number of what is passed over, is not of this line. */
static void
what_others_committed__after_a_store_went_back__is_read_from_it(void **state)
{
    for (unsigned paid = 0; paid < 2; paid++) {
        struct ramet_history *history;
        struct ramet_head head, known;
        char key[RAMET_KEY_MAX];
        struct fixture f;

        (void)state;
        fixture_open(&f, true);
        model_write(&f.model, 1, 20);
        model_write_random(&f.model, 1);
        history = open_paid(&f);
        if (paid == 0)
            f.store->traits &= ~(unsigned)RAMET_STORE_IS_PAID;
        assert_int_equal(ramet_history_head(history, 2, &head, NULL), RAMET_OK);
        ramet_commit_key(&f.model.volume, 2, key);
        assert_int_equal(ramet_objstore_remove(f.inner, key, NULL), RAMET_OK);
        model_drop_newest(&f.model);
        model_reopen(&f.model);
        assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
        assert_int_equal(head.lsn, 1);
        for (unsigned i = 0; i < 20; i++)
            model_write_random(&f.model, 1);
        assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
        assert_int_equal(head.lsn, 21);
        assert_int_equal(ramet_history_head(f.model.history, 2, &known, NULL),
                         RAMET_OK);
        assert_int_equal(ramet_history_head(history, 2, &head, NULL), RAMET_OK);
        assert_memory_equal(&head.hash, &known.hash, sizeof(head.hash));
        ramet_history_close(history);
        fixture_close(&f);
    }
}

/* What a commit goes on top of: read once a minute, and then believed. */
static void
base_of_a_commit__is_proven_once_a_minute(void **state)
{
    struct ramet_history *history;
    struct ramet_point point;
    struct ramet_head head;
    char key[RAMET_KEY_MAX];
    struct fixture f;

    (void)state;
    fixture_open(&f, true);
    model_write(&f.model, 1, 20);
    model_write_random(&f.model, 1);
    point = *point_at(f.model.history, 2);
    history = open_paid(&f);
    for (unsigned minute = 0; minute < 2; minute++) {
        ramet_faultstore_reset_counts(f.store);
        for (int i = 0; i < 3; i++)
            assert_int_equal(ramet_history_base(history, &point, &head, NULL),
                             RAMET_OK);
        assert_int_equal(head.lsn, 2);
        assert_int_equal(ramet_faultstore_counts(f.store).reads, 1);
        assert_int_equal(all_requests(&f), 1);
        clock_ns += UINT64_C(61000000000);
    }
    ramet_commit_key(&f.model.volume, 2, key);
    assert_int_equal(ramet_objstore_remove(f.inner, key, NULL), RAMET_OK);
    assert_int_equal(ramet_history_base(history, &point, &head, NULL),
                     RAMET_EWENTBACK);
    ramet_history_close(history);
    fixture_close(&f);
}

/* Commits, of which each is followed by a map if it is time for one. */
static void
write_and_map(struct fixture *f, unsigned commits, bool fresh)
{
    for (unsigned i = 0; i < commits; i++) {
        if (fresh)
            model_reopen(&f->model);
        model_write(&f->model, 1, 1);
        assert_int_equal(
            ramet_history_make_map(f->model.history, f->model.lsn, NULL),
            RAMET_OK);
    }
}

/* Where each head is a request a map is made at every 16th commit, after it; who
 * begins anew for each commit finds it by a LIST at the next eighth. */
static void
paid_store__has_a_map_at_every_16th_commit(void **state)
{
    static const unsigned most_heads[] = {16, 24};

    (void)state;
    for (unsigned fresh = 0; fresh < 2; fresh++) {
        struct ramet_store_counts counts;
        struct ramet_head head;
        struct fixture f;

        fixture_open(&f, true);
        f.store->traits |= RAMET_STORE_IS_PAID;
        model_write(&f.model, 1, 500);
        write_and_map(&f, 24, fresh != 0);
        ramet_faultstore_reset_counts(f.store);
        for (unsigned i = 0; i < 96; i++) {
            write_and_map(&f, 1, fresh != 0);
            assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                             RAMET_OK);
            assert_true(head.commits_since_map <= most_heads[fresh]);
        }
        counts = ramet_faultstore_counts(f.store);
        assert_int_equal(counts.puts + counts.upload_begins, 96 + 96 / 16);
        assert_true(counts.lists <= (fresh != 0 ? 2 * 96 + 96 / 16 : 1));
        for (uint64_t lsn = 1; lsn <= f.model.lsn; lsn += 7)
            model_check_lsn(&f.model, lsn);
        fixture_close(&f);
    }
}

/* Beyond a few commits a map is compared, not heads. */
static void
catching_up__where_heads_are_paid_walks_a_map_soon(void **state)
{
    struct ramet_pageset set;
    struct fixture f;

    (void)state;
    fixture_open(&f, true);
    f.store->traits |= RAMET_STORE_IS_PAID;
    model_write(&f.model, 1, 2000);
    for (unsigned i = 0; i < 60; i++)
        write_and_map(&f, 1, false);
    model_reopen(&f.model);
    ramet_pageset_init(&set);
    ramet_faultstore_reset_counts(f.store);
    assert_int_equal(ramet_history_changed(
                         f.model.history, point_at(f.model.history, 2),
                         point_at(f.model.history, f.model.lsn), &set, NULL),
                     RAMET_OK);
    assert_true(all_requests(&f) <= 16 + 4);
    assert_int_equal(ramet_pageset_count(&set), 1);
    ramet_pageset_done(&set);
    for (uint64_t from = 1; from < f.model.lsn; from++)
        model_check_changed(&f.model, from, f.model.lsn);
    fixture_close(&f);
}

/* What the history asks for to bring who stands at `lsn` to the newest commit:
 * reads, and LISTs times 100; *out_changed pages. */
static uint64_t
cost_of_pull(struct fixture *f, uint64_t lsn, uint64_t *out_changed)
{
    const struct ramet_point from = *point_at(f->model.history, lsn);
    struct ramet_history *const history = open_paid(f);
    struct ramet_store_counts counts;
    struct ramet_pageset set;
    struct ramet_point to;
    struct ramet_head head;

    ramet_pageset_init(&set);
    ramet_faultstore_reset_counts(f->store);
    assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
    to = ramet_head_point(&head);
    assert_int_equal(ramet_history_changed(history, &from, &to, &set, NULL),
                     RAMET_OK);
    counts = ramet_faultstore_counts(f->store);
    *out_changed = ramet_pageset_count(&set);
    assert_int_equal(all_requests(f), counts.reads + counts.lists);
    ramet_pageset_done(&set);
    ramet_history_close(history);
    return counts.reads + 100 * counts.lists;
}

/* By a process that begins: of one commit the newest and its head; of ten thousand
 * the heads since the newest map, 16 at most, and what differs between two maps. */
static void
pull__of_one_and_of_ten_thousand_commits_has_its_number(void **state)
{
    struct fixture f;
    uint64_t changed;

    (void)state;
    fixture_open(&f, true);
    f.store->traits |= RAMET_STORE_IS_PAID;
    model_write(&f.model, 1, 2000);
    write_and_map(&f, 1, false);
    assert_int_equal(cost_of_pull(&f, 1, &changed), 100 + 1);
    assert_int_equal(changed, 1);
    while (f.model.lsn < 10001) {
        model_write_random(&f.model, 1);
        assert_int_equal(
            ramet_history_make_map(f.model.history, f.model.lsn, NULL),
            RAMET_OK);
    }
    assert_int_equal(cost_of_pull(&f, 10000, &changed), 100 + 1);
    assert_int_equal(changed, 1);
    /* The newest and its head; the map of LSN 10000, and what it stands on. */
    assert_int_equal(cost_of_pull(&f, 1, &changed), 100 + 1 + 4);
    assert_true(changed > 1900);
    write_and_map(&f, 14, false);
    assert_true(cost_of_pull(&f, 1, &changed) <= 100 + 16 + 4);
    fixture_close(&f);
}

/* Nobody looks for the end of what was made just now; a minute later it is
 * looked for. */
static void
first_commit__of_a_new_volume_is_one_put(void **state)
{
    (void)state;
    for (unsigned minutes = 0; minutes < 2; minutes++) {
        static const struct ramet_rid nobody;
        const struct ramet_head none = {.lsn = 0};
        struct ramet_history *history;
        struct ramet_buf object;
        struct ramet_cid id;
        struct fixture f;

        fixture_open(&f, true);
        history = open_paid(&f);
        ramet_history_made(history);
        clock_ns += minutes * UINT64_C(61000000000);
        ramet_buf_init(&object, RAMET_COMMIT_HEAD_MAX);
        assert_int_equal(ramet_history_fence(history, &none, &nobody,
                                             RAMET_KIND_SQLITE, &object, &id,
                                             NULL),
                         RAMET_OK);
        ramet_faultstore_reset_counts(f.store);
        assert_int_equal(
            ramet_history_append(history, object.data, object.len, NULL, NULL),
            RAMET_OK);
        assert_int_equal(ramet_faultstore_counts(f.store).puts, 1);
        assert_int_equal(ramet_faultstore_counts(f.store).lists, minutes);
        assert_int_equal(all_requests(&f), 1 + minutes);
        ramet_buf_done(&object);
        ramet_history_close(history);
        fixture_close(&f);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening__is_two_requests_at_any_age_and_size),
        cmocka_unit_test(opening__on_a_directory_is_logarithmic_then_two),
        cmocka_unit_test(polling__is_one_list_where_nothing_is_new),
        cmocka_unit_test(small_commit__is_one_put),
        cmocka_unit_test(cold_read__costs_what_the_tree_is_deep),
        cmocka_unit_test(cold_read__never_needs_more_than_64_heads),
        cmocka_unit_test(scan__costs_few_requests),
        cmocka_unit_test(catching_up__after_a_thousand_commits_walks_one_map),
        cmocka_unit_test(map__of_somebody_else_is_found_and_used),
        cmocka_unit_test(map__of_a_lost_line_is_not_used),
        cmocka_unit_test(paid_store__is_looked_at_by_the_next_slot),
        cmocka_unit_test(paid_store__that_went_back_is_noticed_within_a_minute),
        cmocka_unit_test(
            paid_store__that_went_another_way_is_noticed_within_a_minute),
        cmocka_unit_test(
            paid_store__that_went_back__is_asked_for_the_next_slot),
        cmocka_unit_test(
            what_others_committed__after_a_store_went_back__is_read_from_it),
        cmocka_unit_test(base_of_a_commit__is_proven_once_a_minute),
        cmocka_unit_test(paid_store__has_a_map_at_every_16th_commit),
        cmocka_unit_test(catching_up__where_heads_are_paid_walks_a_map_soon),
        cmocka_unit_test(
            pull__of_one_and_of_ten_thousand_commits_has_its_number),
        cmocka_unit_test(first_commit__of_a_new_volume_is_one_put),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
