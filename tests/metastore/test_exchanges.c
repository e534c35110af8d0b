/*
 * test_exchanges.c - how many exchanges wait for one another where a store reads
 * several ranges at a time (a bucket): who opens a volume, and who reads on. Each is
 * a round trip; the one that asks what a name stands for comes before these.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>

#include "metastore/head_cache.h"
#include "tests/metastore/line.h"
#include "tests/support/faultstore.h"
#include "tests/support/point.h"

struct reader {
    struct line *line;
    struct ramet_history *history;
    struct ramet_point at;
};

static void
line_of(struct line *f, uint32_t pages, unsigned delta_percent)
{
    line_open(f, 3);
    f->store->traits = RAMET_STORE_LISTS_CHEAPLY | RAMET_STORE_READS_PARTS |
                       RAMET_STORE_IS_PAID;
    model_write(&f->model, 1, pages);
    f->model.delta_percent = delta_percent;
    f->model.own_bases = true;
}

/* Page 1 and another, as SQLite commits, and a map where it is time for one. */
static void
commit_rows(struct line *f, unsigned commits)
{
    for (unsigned i = 0; i < commits; i++) {
        const struct model_version *const now =
            &f->model.versions[f->model.lsn];
        struct model_change change = {.page_size = now->page_size,
                                      .least = now->page_count,
                                      .page_count = now->page_count};

        ramet_pageset_init(&change.changed);
        assert_int_equal(ramet_pageset_add(&change.changed, 1), RAMET_OK);
        assert_int_equal(
            ramet_pageset_add(
                &change.changed,
                2 + (uint32_t)model_random(&f->model, now->page_count - 1)),
            RAMET_OK);
        model_commit(&f->model, &change);
        ramet_pageset_done(&change.changed);
        assert_int_equal(
            ramet_history_make_map(f->model.history, f->model.lsn, NULL),
            RAMET_OK);
    }
}

static enum ramet_rc
compare_page(void *ctx, uint32_t pgno, const uint8_t *page,
             struct ramet_err *err)
{
    const struct reader *const r = ctx;
    const struct model_version *const now = &r->line->model.versions[r->at.lsn];
    uint8_t *const expected = malloc(now->page_size);

    (void)err;
    assert_non_null(expected);
    model_fill(expected, now->page_size, now->pages[pgno - 1]);
    assert_memory_equal(page, expected, now->page_size);
    free(expected);
    return RAMET_OK;
}

/* Exchanges of reading a page. */
static uint64_t
read_page(struct reader *r, uint32_t pgno)
{
    struct ramet_err err = {.text = ""};

    ramet_faultstore_reset_counts(r->line->store);
    if (ramet_history_read_pages(r->history, &r->at, &pgno, 1, false,
                                 compare_page, r, &err) != RAMET_OK)
        fail_msg("page %u: %s", (unsigned)pgno, err.text);
    return ramet_faultstore_counts(r->line->store).exchanges;
}

/* Exchanges of a process that begins, up to page 1. */
static uint64_t
open_volume(struct line *f, struct reader *r)
{
    struct ramet_head head;
    uint64_t exchanges;

    r->line = f;
    assert_int_equal(
        ramet_history_open(f->store, &f->model.volume, NULL, &r->history, NULL),
        RAMET_OK);
    ramet_history_expect_reads(r->history);
    ramet_faultstore_reset_counts(f->store);
    assert_int_equal(ramet_history_newest(r->history, &head, NULL), RAMET_OK);
    exchanges = ramet_faultstore_counts(f->store).exchanges;
    r->at = ramet_head_point(&head);
    return exchanges + read_page(r, 1);
}

/* With a map or without, whatever its age and the depth of its tree: the newest
 * commit; heads; and page 1, with what else is known by then. */
static void
opening__takes_three_exchanges_after_the_name(void **state)
{
    static const uint32_t pages[] = {20, 3000, 20000};

    (void)state;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        for (unsigned percent = 0; percent <= 100; percent += 100) {
            struct line f;

            line_of(&f, pages[i], percent);
            for (unsigned age = 0; age < 60; age++) {
                struct reader r;

                assert_in_range(open_volume(&f, &r), 2, 3);
                ramet_history_close(r.history);
                commit_rows(&f, 1);
            }
            line_close(&f);
        }
    }
}

/* The same where each commit is another process's, which knows less. */
static void
opening__after_commits_of_fresh_processes_takes_as_many(void **state)
{
    struct line f;

    (void)state;
    line_of(&f, 20000, 100);
    for (unsigned age = 0; age < 60; age++) {
        struct reader r;

        assert_in_range(open_volume(&f, &r), 2, 3);
        ramet_history_close(r.history);
        model_reopen(&f.model);
        commit_rows(&f, 1);
    }
    line_close(&f);
}

/* After that a page costs three with nothing of the way to it here: two nodes (of a
 * tree of three levels, whose root came with the opening), and all roll-ups with the
 * first; and the page. With the inner node here two. */
static void
page__costs_three_exchanges_then_two(void **state)
{
    struct ramet_map_sizes sizes = ramet_map_sizes;
    struct line f;

    (void)state;
    line_of(&f, 20000, 100);
    sizes.inside_bytes = 0; /* and no roll-up stands in its map's top */
    sizes.pages_a_piece = 2;
    f.model.map_sizes = &sizes;
    model_reopen(&f.model);
    for (unsigned age = 0; age < 60; age++) {
        struct reader r;

        (void)open_volume(&f, &r);
        assert_in_range(read_page(&r, 17000), 1, 3);
        assert_in_range(read_page(&r, 18000), 1, 2);
        assert_in_range(read_page(&r, 5000), 1, 3);
        assert_in_range(read_page(&r, 9000), 1, 2);
        assert_in_range(read_page(&r, 9001), 1, 1);
        ramet_history_close(r.history);
        commit_rows(&f, 1);
    }
    line_close(&f);
}

/* A block of deltas has pages of several reads: it comes once. */
static void
block_of_deltas__is_read_once(void **state)
{
    struct model_change change = {
        .page_size = 512, .least = 3000, .page_count = 3000};
    struct reader r;
    struct line f;

    (void)state;
    line_of(&f, 3000, 100);
    f.model.never_inline = true; /* else it comes with its head */
    change.page_size = f.model.versions[f.model.lsn].page_size;
    ramet_pageset_init(&change.changed);
    assert_int_equal(ramet_pageset_add(&change.changed, 10), RAMET_OK);
    assert_int_equal(ramet_pageset_add(&change.changed, 2500), RAMET_OK);
    model_commit(&f.model, &change);
    ramet_pageset_done(&change.changed);
    (void)open_volume(&f, &r);
    (void)read_page(&r, 10);
    (void)read_page(&r, 2500);
    for (unsigned i = 0; i < 2; i++) {
        (void)read_page(&r, i == 0 ? 10 : 2500);
        assert_int_equal(ramet_faultstore_counts(f.store).reads, 1);
    }
    ramet_history_close(r.history);
    line_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening__takes_three_exchanges_after_the_name),
        cmocka_unit_test(
            opening__after_commits_of_fresh_processes_takes_as_many),
        cmocka_unit_test(page__costs_three_exchanges_then_two),
        cmocka_unit_test(block_of_deltas__is_read_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
