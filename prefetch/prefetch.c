/*
 * prefetch.c - see prefetch.h: what is seen, and who is told of it.
 *
 * Layer: prefetch.
 */
#include "prefetch/prefetch.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "prefetch/predictor.h"

#define ASKS_MIN 1024u
#define BUDGET_FIRST 64u   /* until the link was measured */
#define COPY_LENGTH_MIN 8u /* pages by number, in a database */
#define SCAN_LENGTH 3u     /* steps after which its leaves are no jumps */
/* From here on an overflow page may begin as one of a tree does. */
#define PLAIN_PAGES_MAX 0x2000000u

struct ramet_prefetch *
ramet_prefetch_new(const struct ramet_prefetch_options *options)
{
    struct ramet_prefetch *const p = ramet_calloc(1, sizeof(*p));

    assert(options->view.is_here != NULL);
    if (p == NULL)
        return NULL;
    p->is_database = options->is_database;
    p->budget = BUDGET_FIRST;
    p->room = UINT32_MAX;
    if (!ramet_forest_init(&p->forest, options) ||
        !ramet_asks_init(&p->asks, ASKS_MIN)) {
        ramet_prefetch_free(p);
        return NULL;
    }
    return p;
}

void
ramet_prefetch_free(struct ramet_prefetch *p)
{
    if (p == NULL)
        return;
    ramet_forest_done(&p->forest);
    ramet_asks_done(&p->asks);
    ramet_pagemap_done(&p->roots);
    ramet_pagemap_done(&p->chain_of);
    ramet_pagemap_done(&p->expanded);
    ramet_free(p);
}

void
ramet_prefetch_set_budget(struct ramet_prefetch *p, uint32_t pages)
{
    if (pages < RAMET_PREFETCH_BUDGET_MIN)
        pages = RAMET_PREFETCH_BUDGET_MIN;
    if (pages > RAMET_PREFETCH_BUDGET_MAX)
        pages = RAMET_PREFETCH_BUDGET_MAX;
    p->budget = pages;
    assert(p->budget >= RAMET_PREFETCH_BUDGET_MIN);
    ramet_asks_reserve(&p->asks, 8 * pages);
}

void
ramet_prefetch_set_room(struct ramet_prefetch *p, uint32_t pages)
{
    p->room =
        pages > RAMET_PREFETCH_BUDGET_MIN ? pages : RAMET_PREFETCH_BUDGET_MIN;
}

void
ramet_prefetch_move(struct ramet_prefetch *p, uint32_t page_count)
{
    ramet_forest_clear(&p->forest);
    ramet_asks_forget(&p->asks);
    assert(p->asks.queued == 0 && p->asks.under_way == 0);
    p->is_full = false;
    ramet_pagemap_clear(&p->chain_of);
    ramet_pagemap_clear(&p->expanded);
    memset(p->wishes, 0, sizeof(p->wishes));
    p->forest.page_count = page_count;
    p->is_surveyed = false;
}

/* ---- what is wanted ------------------------------------------------------- */

void
ramet_prefetch_want(struct ramet_prefetch *p, uint32_t pgno, bool is_here)
{
    const bool is_miss =
        !is_here && ramet_asks_state(&p->asks, pgno) == RAMET_ASK_NONE;
    struct ramet_tree *tree;
    unsigned level = 0;

    if (pgno == 0 || pgno > p->forest.page_count)
        return;
    p->forest.turn++;
    if (!is_here && p->is_database && !p->is_surveyed)
        ramet_survey(p);
    p->is_fresh =
        !is_here || ramet_asks_state(&p->asks, pgno) != RAMET_ASK_NONE;
    p->wanted_by = ramet_asks_wanted(&p->asks, pgno, is_here);
    if (!p->is_database) {
        ramet_sequence_step(p, pgno, 1);
        return;
    }
    tree = ramet_tree_of(p, pgno, &level);
    if (tree == NULL && level > 0)
        tree = ramet_tree_make(p, ramet_forest_root(&p->forest, pgno, &level));
    if (tree != NULL && level > 0 && tree->depth == (int)level &&
        tree->last != pgno)
        ramet_scan_step(p, tree, pgno);
    if (tree == NULL && ramet_overflow_want(p, pgno))
        return;
    if ((is_miss && (tree == NULL || tree->window == 0)) ||
        ramet_sequence_has(&p->sequence, p->wanted_by))
        ramet_sequence_step(p, pgno, COPY_LENGTH_MIN);
}

/* ---- what was read -------------------------------------------------------- */

static void
push_recent(struct ramet_prefetch *p, struct ramet_tree *tree, uint32_t leaf)
{
    unsigned at = 0;

    assert(tree != NULL && leaf != 0);
    while (at < RAMET_RECENT - 1 && p->recent[at].tree != tree)
        at++;
    assert(at < RAMET_RECENT);
    for (; at > 0; at--)
        p->recent[at] = p->recent[at - 1];
    p->recent[0].tree = tree;
    p->recent[0].leaf = leaf;
    p->recent[0].turn = p->forest.turn;
}

static void
read_leaf(struct ramet_prefetch *p, struct ramet_tree *tree, uint32_t pgno,
          unsigned level, const struct ramet_btpage *page)
{
    assert(pgno != 0 && tree->root != 0 && ramet_btpage_is_leaf(page));
    if (tree->root == 1)
        ramet_survey_schema(p, page);
    if (tree->depth != (int)level) {
        tree->depth = (int)level;
        if (level > 0 && tree->last != pgno)
            ramet_scan_step(p, tree, pgno);
    }
    tree->last = pgno;
    if (tree->length > 0 && ramet_overflow_is_read(tree))
        ramet_overflow_expand_once(p, tree, pgno);
    ramet_pagemap_erase(&p->expanded, pgno);
    if (p->is_fresh &&
        (tree->length < SCAN_LENGTH || ramet_link_feeds(p, tree)))
        ramet_link_seen(p, tree, pgno);
    if (tree->root != 1) /* names and numbers of trees lead to no row */
        push_recent(p, tree, pgno);
}

/* May a page that nobody has for a child be a root? */
static bool
may_be_root(const struct ramet_prefetch *p, uint32_t pgno,
            const struct ramet_btpage *page)
{
    uint32_t value;

    assert(pgno != 0 && pgno <= p->forest.page_count);
    return pgno == 1 || ramet_pagemap_get(&p->roots, pgno, &value) ||
           (!ramet_btpage_is_leaf(page) &&
            p->forest.page_count < PLAIN_PAGES_MAX);
}

static void
read_tree_page(struct ramet_prefetch *p, uint32_t pgno, const uint8_t *bytes)
{
    struct ramet_tree *tree;
    struct ramet_btpage page;
    unsigned level = 0;

    assert(p->is_database);
    if (!ramet_forest_learn(&p->forest, pgno, bytes, &page))
        return;
    tree = ramet_tree_of(p, pgno, &level);
    if (tree == NULL && level == 0 && may_be_root(p, pgno, &page))
        tree = ramet_tree_make(p, pgno);
    if (tree == NULL)
        return;
    if (ramet_btpage_is_leaf(&page)) {
        read_leaf(p, tree, pgno, level, &page);
    } else {
        struct ramet_node *const node = ramet_forest_node(&p->forest, pgno);

        if (node != NULL)
            ramet_interiors_read(p, node);
    }
}

static bool
is_chained(const struct ramet_prefetch *p, uint32_t pgno)
{
    uint32_t value;

    return ramet_pagemap_get(&p->chain_of, pgno, &value);
}

void
ramet_prefetch_read(struct ramet_prefetch *p, uint32_t pgno,
                    const uint8_t *page)
{
    if (!p->is_database || pgno == 0 || pgno > p->forest.page_count)
        return;
    p->forest.turn++;
    if (pgno == 1)
        ramet_survey_page_1(p, page);
    if (is_chained(p, pgno))
        ramet_overflow_follow(p, pgno, page);
    else
        read_tree_page(p, pgno, page);
}

/* ---- what came ------------------------------------------------------------ */

static void
leaf_arrived(struct ramet_prefetch *p, struct ramet_tree *tree, uint32_t pgno,
             const uint8_t *bytes)
{
    const bool is_source = ramet_link_follows(p, tree);
    const bool is_chains = ramet_overflow_is_read(tree);
    struct ramet_btpage page;

    assert(tree->root != 0);
    if ((!is_source && !is_chains) ||
        !ramet_forest_learn(&p->forest, pgno, bytes, &page))
        return;
    if (is_chains) {
        ramet_overflow_arrived(p, tree, pgno);
        if (tree->window > 0)
            ramet_overflow_expand_once(p, tree, pgno);
    }
    if (is_source)
        ramet_link_continue(p, tree);
}

void
ramet_prefetch_arrived(struct ramet_prefetch *p, uint32_t pgno,
                       const uint8_t *bytes)
{
    struct ramet_btpage page;
    struct ramet_tree *tree;
    unsigned level = 0;

    ramet_asks_landed(&p->asks, pgno, false);
    if (!p->is_database || pgno == 0 || pgno > p->forest.page_count)
        return;
    p->forest.turn++;
    if (is_chained(p, pgno)) {
        ramet_overflow_follow(p, pgno, bytes);
        return;
    }
    tree = ramet_tree_of(p, pgno, &level);
    if (tree == NULL ||
        !ramet_btpage_open(&page, bytes, pgno, p->forest.usable))
        return;
    if (ramet_btpage_is_leaf(&page)) {
        leaf_arrived(p, tree, pgno, bytes);
    } else if (ramet_forest_learn(&p->forest, pgno, bytes, &page)) {
        ramet_scan_continue(p, tree);
        ramet_link_continue(p, tree);
    }
}

void
ramet_prefetch_lost(struct ramet_prefetch *p, uint32_t pgno)
{
    ramet_asks_landed(&p->asks, pgno, true);
}

size_t
ramet_prefetch_take(struct ramet_prefetch *p, uint32_t *out_pgnos, size_t max)
{
    const struct ramet_prefetch_view *const view = &p->forest.view;
    const uint32_t most = 2 * p->budget; /* invariant (2) */
    size_t count = 0;

    assert(out_pgnos != NULL || max == 0);
    /* Once there is no room, wait for a quarter of it: few requests, each for
     * many pages. */
    if (p->asks.under_way <= most * 3 / 4)
        p->is_full = false;
    while (count < max && !p->is_full) {
        const uint32_t pgno = ramet_asks_take(&p->asks);

        if (pgno == 0)
            break;
        if (view->is_here(view->ctx, pgno)) /* it came meanwhile */
            ramet_asks_landed(&p->asks, pgno, true);
        else
            out_pgnos[count++] = pgno;
        p->is_full = p->asks.under_way >= most;
    }
    assert(count <= max);
    return count;
}

struct ramet_prefetch_counts
ramet_prefetch_counts(const struct ramet_prefetch *p)
{
    const struct ramet_asks *const asks = &p->asks;

    assert(asks->asked >= asks->used + asks->live);
    return (struct ramet_prefetch_counts){
        .asked = asks->asked,
        .used = asks->used,
        .vain = asks->asked - asks->used - asks->live,
    };
}
