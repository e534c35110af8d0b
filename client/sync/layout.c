/*
 * layout.c - see layout.h.
 *
 * Layer: client.
 */
#include "client/sync/layout.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/store/exchange.h"
#include "core/alloc.h"
#include "pagestore/segment.h"
#include "sqliteformat/tree_order.h"

/* Fewer are a handful of each tree: nothing is gained, and trees are read for it. */
#define PAGES_MIN 256u
#define SHARE_MIN 8u
#define PAGES_MAX (UINT32_C(1) << 24) /* of a volume: 64 MiB of ranks */
#define ONE_PAGE_FRAMES_FROM 4096u    /* bytes a page */

struct ramet_layout {
    ramet_layout_put *put;
    void *ctx;
    uint32_t page_size, page_count;
    uint32_t *ranks; /* of each page: 0 last */
    uint32_t group;  /* of the pages that follow */
    uint32_t count, capacity;
    uint32_t *pgnos; /* ascending */
    uint64_t *keys;  /* rank and place in `pgnos` */
    uint8_t *pages;
};

/* ---- the order ------------------------------------------------------------ */

struct reading {
    const struct ramet_builder *job;
    uint32_t page_size;
    bool is_whole; /* no page of the volume is absent */
};

/* Invariant (2). */
static bool
read_page(void *ctx, uint32_t pgno, uint8_t *out)
{
    const struct reading *const reading = ctx;
    size_t got = 0;

    if (!reading->is_whole &&
        !ramet_pageset_contains(reading->job->pages, pgno))
        return false;
    return ramet_session_read(reading->job->session,
                              (uint64_t)(pgno - 1) * reading->page_size, out,
                              reading->page_size, &got, NULL) == RAMET_OK &&
           got == reading->page_size;
}

static enum ramet_rc
look_for_absent(struct reading *reading, struct ramet_err *err)
{
    struct ramet_pageset absent;
    enum ramet_rc rc;

    ramet_pageset_init(&absent);
    rc = ramet_session_absent(reading->job->session, 0, 1, &absent, err);
    reading->is_whole = rc == RAMET_OK && absent.run_count == 0;
    ramet_pageset_done(&absent);
    return rc;
}

static enum ramet_rc
find_order(struct ramet_layout *layout, const struct ramet_builder *job,
           uint64_t total, struct ramet_err *err)
{
    struct reading reading = {.job = job, .page_size = layout->page_size};
    const struct ramet_tree_order order = {.read = read_page,
                                           .ctx = &reading,
                                           .page_size = layout->page_size,
                                           .page_count = layout->page_count,
                                           .reads_max = 2 * total};
    const enum ramet_rc rc = look_for_absent(&reading, err);

    assert(layout->ranks != NULL);
    return rc == RAMET_OK ? ramet_tree_order_find(&order, layout->ranks, err)
                          : rc;
}

/* ---- making and freeing ---------------------------------------------------- */

static bool
is_worth_it(const struct ramet_commit_object *commit, uint64_t total)
{
    return commit->kind == RAMET_KIND_SQLITE &&
           commit->page_size >= ONE_PAGE_FRAMES_FROM && total >= PAGES_MIN &&
           commit->page_count <= PAGES_MAX &&
           total >= commit->page_count / SHARE_MIN;
}

enum ramet_rc
ramet_layout_new(const struct ramet_builder *job,
                 const struct ramet_commit_object *commit, uint64_t total,
                 ramet_layout_put *put, void *ctx,
                 struct ramet_layout **out_layout, struct ramet_err *err)
{
    const uint32_t group = ramet_segment_group_pages(commit->page_size);
    struct ramet_layout *layout;
    enum ramet_rc rc;

    *out_layout = NULL;
    if (!is_worth_it(commit, total))
        return RAMET_OK;
    layout = ramet_calloc(1, sizeof(*layout));
    if (layout == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory");
    layout->put = put;
    layout->ctx = ctx;
    layout->page_size = commit->page_size;
    layout->page_count = commit->page_count;
    layout->capacity = total < group ? (uint32_t)total : group;
    layout->ranks = ramet_alloc(commit->page_count * sizeof(*layout->ranks));
    layout->pgnos = ramet_alloc(layout->capacity * sizeof(*layout->pgnos));
    layout->keys = ramet_alloc(layout->capacity * sizeof(*layout->keys));
    layout->pages = ramet_alloc((size_t)layout->capacity * commit->page_size);
    rc = layout->ranks == NULL || layout->pgnos == NULL ||
                 layout->keys == NULL || layout->pages == NULL
             ? RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory")
             : find_order(layout, job, total, err);
    if (rc != RAMET_OK)
        ramet_layout_free(layout);
    else
        *out_layout = layout;
    return rc;
}

void
ramet_layout_free(struct ramet_layout *layout)
{
    if (layout == NULL)
        return;
    assert(layout->count <= layout->capacity);
    ramet_free(layout->pages);
    ramet_free(layout->keys);
    ramet_free(layout->pgnos);
    ramet_free(layout->ranks);
    ramet_free(layout);
}

/* ---- pages ------------------------------------------------------------------ */

static int
compare_keys(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;

    assert(left == right || a != b);
    return (a > b) - (a < b);
}

enum ramet_rc
ramet_layout_end(struct ramet_layout *layout, struct ramet_err *err)
{
    bool is_sorted = true;
    enum ramet_rc rc = RAMET_OK;

    for (uint32_t i = 0; i < layout->count; i++) {
        const uint32_t rank = layout->ranks[layout->pgnos[i] - 1];

        layout->keys[i] = (uint64_t)(rank > 0 ? rank : UINT32_MAX) << 32 | i;
        is_sorted =
            is_sorted && (i == 0 || layout->keys[i - 1] < layout->keys[i]);
    }
    if (!is_sorted)
        qsort(layout->keys, layout->count, sizeof(layout->keys[0]),
              compare_keys);
    for (uint32_t i = 0; rc == RAMET_OK && i < layout->count; i++) {
        const uint32_t at = (uint32_t)layout->keys[i];

        assert(at < layout->count);
        rc = layout->put(layout->ctx, layout->pgnos[at],
                         layout->pages + (size_t)at * layout->page_size, i == 0,
                         err);
    }
    layout->count = 0;
    return rc;
}

enum ramet_rc
ramet_layout_add(struct ramet_layout *layout, uint32_t pgno,
                 const uint8_t *page, struct ramet_err *err)
{
    const uint32_t group = ramet_segment_group(pgno, layout->page_size);
    enum ramet_rc rc = RAMET_OK;

    assert(pgno >= 1 && pgno <= layout->page_count);
    assert(layout->count == 0 || pgno > layout->pgnos[layout->count - 1]);
    if (layout->count > 0 && group != layout->group) /* invariant (1) */
        rc = ramet_layout_end(layout, err);
    if (rc != RAMET_OK)
        return rc;
    assert(layout->count < layout->capacity);
    layout->group = group;
    layout->pgnos[layout->count] = pgno;
    memcpy(layout->pages + (size_t)layout->count * layout->page_size, page,
           layout->page_size);
    layout->count++;
    return RAMET_OK;
}
