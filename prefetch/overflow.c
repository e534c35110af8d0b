/*
 * overflow.c - chains of overflow pages.
 *
 * A row's cell names the first page of its chain, each page the next. So the
 * first is asked for exactly; what follows is asked for as p + 1, p + 2 … as
 * long as chains of this tree mostly are contiguous, and each page that arrives
 * tells whether that was right. Many queries never look at the long columns:
 * nothing is asked for until two chains of the tree were read.
 *
 *   (1) only what a pointer leads to is a member of a chain; a guess is none
 *       until then
 *
 * Layer: prefetch.
 */
#include <assert.h>

#include "core/bytes.h"
#include "prefetch/predictor.h"

#define READ_MIN 2u
#define CONTIGUOUS .5
#define CONTIGUITY_STEP .02
#define ROW_PAGES_STEP .2
#define LENGTH_MAX 0xffffffu /* what fits beside the tree's slot */
#define HOPS_MAX 256u        /* pages of a chain that are here, at a time */

bool
ramet_overflow_is_read(const struct ramet_tree *tree)
{
    return tree->chains_read >= READ_MIN;
}

static void
note_member(struct ramet_prefetch *p, const struct ramet_tree *tree,
            uint32_t pgno, uint32_t left)
{
    const uint32_t slot = (uint32_t)(tree - p->trees);

    assert(slot < RAMET_TREES);
    if (pgno == 0 || pgno > p->forest.page_count)
        return;
    if (p->chain_of.count >= RAMET_CHAINS_MAX)
        ramet_pagemap_clear(&p->chain_of);
    if (left > LENGTH_MAX)
        left = LENGTH_MAX;
    (void)ramet_pagemap_put(&p->chain_of, pgno, slot << 24 | left);
}

/* The `count` pages behind `pgno`, where chains lie like this. */
static void
guess(struct ramet_prefetch *p, const struct ramet_tree *tree, uint32_t pgno,
      uint32_t count)
{
    assert(tree->contiguity >= 0 && tree->contiguity <= 1);
    if (tree->contiguity <= CONTIGUOUS || p->asks.queued > 2 * p->budget)
        return;
    if (count > p->budget)
        count = p->budget;
    for (uint32_t i = 1; i <= count && pgno <= UINT32_MAX - i; i++)
        (void)ramet_predictor_ask(p, pgno + i, &p->loose, false);
}

/* Page `pgno` of a chain, with its number of pages yet to come behind it. False:
 * it is the last, or not one. */
static bool
take_member(struct ramet_prefetch *p, uint32_t pgno,
            struct ramet_tree **out_tree, uint32_t *out_left)
{
    uint32_t value;

    if (!ramet_pagemap_get(&p->chain_of, pgno, &value))
        return false;
    ramet_pagemap_erase(&p->chain_of, pgno);
    assert(value >> 24 < RAMET_TREES);
    *out_tree = &p->trees[value >> 24];
    *out_left = value & LENGTH_MAX;
    return *out_left > 0;
}

/* From `page`, which is here, to the page that it names. 0: no more. */
static uint32_t
hop(struct ramet_prefetch *p, struct ramet_tree *tree, uint32_t pgno,
    const uint8_t *page, uint32_t left)
{
    const uint32_t next = ramet_get_be32(page);
    const double step = next == pgno + 1 ? 1 : 0;

    assert(left > 0);
    tree->contiguity += (step - tree->contiguity) * CONTIGUITY_STEP;
    if (next < 2 || next > p->forest.page_count)
        return 0;
    note_member(p, tree, next, left - 1);
    return next;
}

void
ramet_overflow_follow(struct ramet_prefetch *p, uint32_t pgno,
                      const uint8_t *page)
{
    struct ramet_tree *tree;
    uint8_t next_page[4];
    uint32_t left;

    assert(pgno != 0);
    for (unsigned hops = 0; hops < HOPS_MAX; hops++) {
        uint32_t next;

        if (!take_member(p, pgno, &tree, &left))
            return;
        next = hop(p, tree, pgno, page, left);
        if (next == 0)
            return;
        if (ramet_predictor_lacks(p, next)) {
            (void)ramet_predictor_ask(p, next, &p->loose, false);
            guess(p, tree, next, left - 1);
            return;
        }
        if (!ramet_forest_first_bytes(&p->forest, next, next_page))
            return; /* it is under way: its arrival goes on */
        pgno = next;
        page = next_page;
    }
}

/* A cell's chain: its first page, and what may follow it. */
static void
expand_cell(struct ramet_prefetch *p, struct ramet_tree *tree,
            const struct ramet_btcell *cell)
{
    const uint32_t length = ramet_btcell_chain_length(cell, p->forest.usable);
    uint8_t page[4];

    assert(p->forest.usable <= p->forest.page_size);
    if (cell->overflow < 2 || cell->overflow > p->forest.page_count)
        return;
    note_member(p, tree, cell->overflow, length - 1);
    if (ramet_predictor_lacks(p, cell->overflow))
        (void)ramet_predictor_ask(p, cell->overflow, &p->loose, false);
    else if (ramet_forest_first_bytes(&p->forest, cell->overflow, page))
        ramet_overflow_follow(p, cell->overflow, page);
    guess(p, tree, cell->overflow, length - 1);
}

static void
expand(struct ramet_prefetch *p, struct ramet_tree *tree, uint32_t leaf,
       const int64_t *only)
{
    struct ramet_btpage page;
    struct ramet_btcell cell;

    if (!ramet_forest_glance(&p->forest, leaf, &page))
        return;
    for (uint32_t i = 0; i < page.cell_count; i++)
        if (ramet_btpage_cell(&page, i, &cell) && cell.overflow != 0 &&
            (only == NULL || cell.rowid == *only))
            expand_cell(p, tree, &cell);
}

void
ramet_overflow_expand_once(struct ramet_prefetch *p, struct ramet_tree *tree,
                           uint32_t leaf)
{
    uint32_t value;

    assert(leaf != 0);
    if (ramet_pagemap_get(&p->expanded, leaf, &value))
        return;
    if (p->expanded.count >= RAMET_EXPANDED_MAX)
        ramet_pagemap_clear(&p->expanded);
    (void)ramet_pagemap_put(&p->expanded, leaf, 1);
    expand(p, tree, leaf, NULL);
}

void
ramet_overflow_expand_row(struct ramet_prefetch *p, struct ramet_tree *tree,
                          uint32_t leaf, int64_t rowid)
{
    struct ramet_btpage page;

    assert(leaf != 0 && p->wish_hand < RAMET_WISHES);
    if (ramet_forest_leaf(&p->forest, leaf, &page)) {
        expand(p, tree, leaf, &rowid);
        return;
    }
    for (unsigned i = 0; i < RAMET_WISHES; i++)
        if (p->wishes[i].leaf == leaf && p->wishes[i].rowid == rowid)
            return;
    p->wishes[p->wish_hand] = (struct ramet_wish){leaf, rowid};
    p->wish_hand = (p->wish_hand + 1) % RAMET_WISHES;
}

void
ramet_overflow_arrived(struct ramet_prefetch *p, struct ramet_tree *tree,
                       uint32_t leaf)
{
    assert(leaf != 0); /* that of a wish that is none */
    for (unsigned i = 0; i < RAMET_WISHES; i++)
        if (p->wishes[i].leaf == leaf) {
            p->wishes[i].leaf = 0;
            expand(p, tree, leaf, &p->wishes[i].rowid);
        }
}

/* The cell of a leaf whose chain begins with `pgno`. */
static bool
find_chain(struct ramet_prefetch *p, uint32_t leaf, uint32_t pgno,
           struct ramet_btcell *out_cell)
{
    struct ramet_btpage page;

    assert(leaf != 0 && pgno != 0);
    if (!ramet_forest_leaf(&p->forest, leaf, &page))
        return false;
    for (uint32_t i = 0; i < page.cell_count; i++)
        if (ramet_btpage_cell(&page, i, out_cell) && out_cell->overflow == pgno)
            return true;
    return false;
}

bool
ramet_overflow_want(struct ramet_prefetch *p, uint32_t pgno)
{
    for (unsigned i = 0; i < RAMET_RECENT; i++) {
        struct ramet_tree *const tree = p->recent[i].tree;
        struct ramet_btcell cell;
        uint32_t length;

        if (tree == NULL || !find_chain(p, p->recent[i].leaf, pgno, &cell))
            continue;
        length = ramet_btcell_chain_length(&cell, p->forest.usable);
        if (tree->chains_read < UINT32_MAX)
            tree->chains_read++;
        assert(tree->row_pages >= 0);
        tree->row_pages += (1. + length - tree->row_pages) * ROW_PAGES_STEP;
        note_member(p, tree, pgno, length - 1);
        guess(p, tree, pgno, length - 1);
        if (tree->length > 0 && tree->chains_read == READ_MIN)
            expand(p, tree, p->recent[i].leaf, NULL);
        return true;
    }
    return false;
}
