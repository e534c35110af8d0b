/*
 * schema.c - see schema.h.
 *
 * Layer: sqliteformat.
 */
#include "sqliteformat/schema.h"

#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "sqliteformat/btpage.h"
#include "sqliteformat/dbheader.h"

#define PAGES_MAX 4096u /* of one tree; a larger schema counts as another */
/* What tells how a schema is read: cookie, format, …, encoding. */
#define FIELDS_AT 40u
#define FIELDS_LEN 20u

struct walk {
    const struct ramet_pageset *changed;
    ramet_schema_read *read;
    void *ctx;
    uint32_t page_size;
    uint32_t usable; /* but for what each page keeps free at its end */
    uint32_t left;   /* pages that may yet be looked at */
};

/* A page of the tree but its root: it must be there, unchanged, in `out`. */
static bool
load(struct walk *w, uint32_t pgno, uint8_t *out)
{
    if (pgno < 2 || w->left == 0 || ramet_pageset_contains(w->changed, pgno))
        return false;
    w->left--;
    return w->read(w->ctx, pgno, out);
}

/* The chain of pages that has the rest of a payload. */
static bool
is_chain_same(struct walk *w, uint32_t pgno, uint64_t rest, uint8_t *page)
{
    while (rest != 0) {
        if (!load(w, pgno, page))
            return false;
        pgno = ramet_get_be32(page);
        rest -= rest < w->usable - 4 ? rest : w->usable - 4;
    }
    return true;
}

static bool
is_leaf_same(struct walk *w, const struct ramet_btpage *page)
{
    uint8_t *const scratch = ramet_alloc(w->page_size);
    struct ramet_btcell cell;
    bool same = scratch != NULL;

    for (uint32_t i = 0; same && i < page->cell_count; i++) {
        same = ramet_btpage_cell(page, i, &cell);
        if (same && cell.overflow != 0)
            same = is_chain_same(w, cell.overflow,
                                 cell.payload_len - cell.local_len, scratch);
    }
    ramet_free(scratch);
    return same;
}

/* Page `pgno` and what is below it. */
static bool
is_tree_same(struct walk *w, const uint8_t *bytes, uint32_t pgno,
             unsigned depth)
{
    struct ramet_btpage page;
    uint32_t child;
    uint8_t *below;
    bool same;

    if (!ramet_btpage_open(&page, bytes, pgno, w->usable) ||
        !ramet_btpage_is_table(&page))
        return false;
    if (ramet_btpage_is_leaf(&page))
        return is_leaf_same(w, &page);
    if (depth == RAMET_BTREE_DEPTH_MAX)
        return false;
    below = ramet_alloc(w->page_size);
    same = below != NULL;
    for (uint32_t i = 0; same && i <= page.cell_count; i++)
        same = ramet_btpage_child(&page, i, &child) && load(w, child, below) &&
               is_tree_same(w, below, child, depth + 1);
    ramet_free(below);
    return same;
}

bool
ramet_schema_is_same(const uint8_t *before, const uint8_t *after,
                     uint32_t page_size, const struct ramet_pageset *changed,
                     ramet_schema_read *read, void *ctx)
{
    struct walk w = {
        .changed = changed,
        .read = read,
        .ctx = ctx,
        .page_size = page_size,
        .left = PAGES_MAX,
    };

    if (!ramet_dbheader_is(before, page_size) ||
        !ramet_dbheader_is(after, page_size) || before[20] != after[20] ||
        memcmp(before + FIELDS_AT, after + FIELDS_AT, FIELDS_LEN) != 0 ||
        memcmp(before + RAMET_DBHEADER_SIZE, after + RAMET_DBHEADER_SIZE,
               page_size - RAMET_DBHEADER_SIZE) != 0)
        return false;
    w.usable = ramet_dbheader_usable(before, page_size);
    return is_tree_same(&w, before, 1, 0);
}
