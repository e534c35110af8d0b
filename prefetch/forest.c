/*
 * forest.c - see forest.h.
 *
 * Layer: prefetch.
 */
#include "prefetch/forest.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"

#define NODES_MIN 16u
#define NODE_COST (size_t)4 /* for each byte of such a page, at most */
#define NODES_MAX 65535u    /* a slot is 16 bits in parent_of */
#define LEAVES_MIN 8u
#define LEAVES_MAX 64u
#define CHILD_COST                                                             \
    16u /* bytes, in a table that is a third to two thirds full */

static uint32_t
clamp(size_t value, uint32_t least, uint32_t most)
{
    assert(least <= most);
    return value < least ? least : value > most ? most : (uint32_t)value;
}

bool
ramet_forest_init(struct ramet_forest *forest,
                  const struct ramet_prefetch_options *options)
{
    const size_t memory = options->memory_bytes > 0 ? options->memory_bytes
                                                    : RAMET_PREFETCH_MEMORY;

    assert(options->page_size > 0);
    *forest = (struct ramet_forest){
        .view = options->view,
        .page_size = options->page_size,
        .usable = options->page_size,
        .page_count = options->page_count,
        .turn = 1,
        .node_max = clamp(memory / options->page_size, NODES_MIN, NODES_MAX),
        .node_bytes_max = memory,
        .scratch = ramet_alloc(options->page_size),
        .leaf_max =
            clamp(memory / 8 / options->page_size, LEAVES_MIN, LEAVES_MAX),
    };
    forest->nodes = ramet_calloc(forest->node_max, sizeof(*forest->nodes));
    forest->leaves = ramet_calloc(forest->leaf_max, sizeof(*forest->leaves));
    if (forest->node_bytes_max < NODES_MIN * NODE_COST * options->page_size)
        forest->node_bytes_max = NODES_MIN * NODE_COST * options->page_size;
    return forest->nodes != NULL && forest->leaves != NULL &&
           forest->scratch != NULL;
}

void
ramet_forest_clear(struct ramet_forest *forest)
{
    assert(forest->hand < forest->node_max);
    assert(forest->leaf_hand < forest->leaf_max);
    for (uint32_t i = 0; forest->nodes != NULL && i < forest->node_max; i++) {
        ramet_free(forest->nodes[i].bytes);
        forest->nodes[i] = (struct ramet_node){.pgno = 0};
    }
    for (uint32_t i = 0; forest->leaves != NULL && i < forest->leaf_max; i++) {
        ramet_free(forest->leaves[i].bytes);
        forest->leaves[i] = (struct ramet_kept_leaf){.pgno = 0};
    }
    ramet_pagemap_clear(&forest->node_of);
    ramet_pagemap_clear(&forest->parent_of);
    forest->node_bytes = 0;
}

void
ramet_forest_done(struct ramet_forest *forest)
{
    ramet_forest_clear(forest);
    ramet_free(forest->nodes);
    ramet_free(forest->leaves);
    ramet_free(forest->scratch);
    ramet_pagemap_done(&forest->node_of);
    ramet_pagemap_done(&forest->parent_of);
}

/* ---- interior pages ------------------------------------------------------- */

static uint32_t
slot_of(const struct ramet_forest *forest, const struct ramet_node *node)
{
    assert(node >= forest->nodes && node < forest->nodes + forest->node_max);
    return (uint32_t)(node - forest->nodes);
}

static struct ramet_node *
touch(struct ramet_forest *forest, struct ramet_node *node)
{
    assert(node->pgno != 0 && node->turn <= forest->turn);
    node->turn = forest->turn;
    node->is_warm = true;
    return node;
}

/* A kept interior page's child: there, by invariant (2). */
static uint32_t
child_of(const struct ramet_node *node, uint32_t index)
{
    uint32_t pgno = 0;
    const bool is_there = ramet_btpage_child(&node->page, index, &pgno);

    assert(is_there);
    (void)is_there;
    return pgno;
}

static size_t
cost_of(const struct ramet_forest *forest, const struct ramet_btpage *page)
{
    return forest->page_size + (size_t)CHILD_COST * (page->cell_count + 1);
}

static void
forget_node(struct ramet_forest *forest, struct ramet_node *node)
{
    const uint32_t slot = slot_of(forest, node);
    uint32_t parent;

    assert(node->pgno != 0 && node->bytes != NULL);
    for (uint32_t i = 0; i <= node->page.cell_count; i++) {
        const uint32_t child = child_of(node, i);

        if (ramet_pagemap_get(&forest->parent_of, child, &parent) &&
            parent >> 16 == slot)
            ramet_pagemap_erase(&forest->parent_of, child);
    }
    ramet_pagemap_erase(&forest->node_of, node->pgno);
    assert(forest->node_bytes >= cost_of(forest, &node->page));
    forest->node_bytes -= cost_of(forest, &node->page);
    node->pgno = 0;
}

/* A free slot, once there is room for `bytes`; NULL: this turn uses them all. */
static struct ramet_node *
take_slot(struct ramet_forest *forest, size_t bytes)
{
    const size_t max = forest->node_bytes_max;

    assert(forest->hand < forest->node_max && bytes <= max);
    for (uint32_t i = 0; i < 2 * forest->node_max; i++) {
        struct ramet_node *const node = &forest->nodes[forest->hand];

        forest->hand = (forest->hand + 1) % forest->node_max;
        if (node->pgno != 0 && node->turn == forest->turn) /* invariant (1) */
            continue;
        if (node->pgno != 0 && !node->is_warm)
            forget_node(forest, node);
        node->is_warm = false;
        if (node->pgno == 0 && forest->node_bytes + bytes <= max)
            return node;
    }
    return NULL;
}

/* Invariant (2). */
static bool
has_good_children(const struct ramet_forest *forest,
                  const struct ramet_btpage *page, uint32_t pgno)
{
    uint32_t child;

    for (uint32_t i = 0; i <= page->cell_count; i++)
        if (!ramet_btpage_child(page, i, &child) || child < 2 ||
            child > forest->page_count || child == pgno)
            return false;
    return true;
}

static struct ramet_node *
keep_node(struct ramet_forest *forest, uint32_t pgno, const uint8_t *bytes,
          const struct ramet_btpage *page)
{
    struct ramet_node *const node = take_slot(forest, cost_of(forest, page));
    uint8_t *own;

    assert(!ramet_btpage_is_leaf(page));
    if (node == NULL)
        return NULL;
    own = node->bytes != NULL ? node->bytes : ramet_alloc(forest->page_size);
    if (own == NULL)
        return NULL;
    memcpy(own, bytes, forest->page_size);
    assert(node->pgno == 0); /* take_slot() gives free ones */
    *node = (struct ramet_node){.bytes = own};
    if (!ramet_btpage_open(&node->page, own, pgno, forest->usable) ||
        !ramet_pagemap_put(&forest->node_of, pgno, slot_of(forest, node)))
        return NULL;
    node->pgno = pgno;
    forest->node_bytes += cost_of(forest, page);
    for (uint32_t i = 0; i <= node->page.cell_count; i++)
        (void)ramet_pagemap_put(&forest->parent_of, child_of(node, i),
                                slot_of(forest, node) << 16 | i);
    assert(forest->node_bytes <= forest->node_bytes_max);
    return touch(forest, node);
}

static struct ramet_node *
find_node(struct ramet_forest *forest, uint32_t pgno)
{
    uint32_t slot;

    assert(forest->node_of.count <= forest->node_max);
    return ramet_pagemap_get(&forest->node_of, pgno, &slot)
               ? touch(forest, &forest->nodes[slot])
               : NULL;
}

static struct ramet_node *
learn_node(struct ramet_forest *forest, uint32_t pgno, const uint8_t *bytes,
           const struct ramet_btpage *page)
{
    struct ramet_node *const before = find_node(forest, pgno);

    assert(before == NULL || before->pgno == pgno);
    if (before != NULL && memcmp(before->bytes, bytes, forest->page_size) == 0)
        return before;
    if (before != NULL)
        forget_node(forest, before);
    return has_good_children(forest, page, pgno)
               ? keep_node(forest, pgno, bytes, page)
               : NULL;
}

/* ---- leaves --------------------------------------------------------------- */

static struct ramet_kept_leaf *
find_leaf(struct ramet_forest *forest, uint32_t pgno)
{
    assert(pgno != 0); /* it would be a free one */
    for (uint32_t i = 0; i < forest->leaf_max; i++)
        if (forest->leaves[i].pgno == pgno)
            return &forest->leaves[i];
    return NULL;
}

static struct ramet_kept_leaf *
take_leaf(struct ramet_forest *forest)
{
    assert(forest->leaf_hand < forest->leaf_max);
    for (uint32_t i = 0; i < forest->leaf_max; i++) {
        struct ramet_kept_leaf *const leaf = &forest->leaves[forest->leaf_hand];

        forest->leaf_hand = (forest->leaf_hand + 1) % forest->leaf_max;
        if (leaf->turn == forest->turn) /* invariant (1) */
            continue;
        if (leaf->bytes == NULL)
            leaf->bytes = ramet_alloc(forest->page_size);
        leaf->pgno = 0;
        return leaf->bytes != NULL ? leaf : NULL;
    }
    return NULL;
}

/* A copy of it, or NULL where there is no room. */
static const uint8_t *
keep_leaf(struct ramet_forest *forest, uint32_t pgno, const uint8_t *bytes)
{
    struct ramet_kept_leaf *leaf = find_leaf(forest, pgno);

    if (leaf == NULL)
        leaf = take_leaf(forest);
    if (leaf == NULL)
        return NULL;
    assert(leaf->pgno == 0 || leaf->pgno == pgno);
    assert(leaf->bytes != NULL);
    memcpy(leaf->bytes, bytes, forest->page_size);
    leaf->pgno = pgno;
    leaf->turn = forest->turn;
    return leaf->bytes;
}

/* ---- pages ---------------------------------------------------------------- */

bool
ramet_forest_learn(struct ramet_forest *forest, uint32_t pgno,
                   const uint8_t *bytes, struct ramet_btpage *out_page)
{
    const struct ramet_node *node;
    const uint8_t *leaf;

    assert(pgno != 0 && pgno <= forest->page_count);
    if (!ramet_btpage_open(out_page, bytes, pgno, forest->usable))
        return false;
    if (ramet_btpage_is_leaf(out_page)) {
        leaf = keep_leaf(forest, pgno, bytes);
        if (leaf != NULL)
            out_page->bytes = leaf;
        return true;
    }
    node = learn_node(forest, pgno, bytes, out_page);
    if (node == NULL)
        return false;
    *out_page = node->page;
    return true;
}

/* Copy a page that is here. */
static bool
peek(struct ramet_forest *forest, uint32_t pgno, uint8_t *out)
{
    const struct ramet_prefetch_view *const view = &forest->view;

    assert(out != NULL);
    return view->peek != NULL && pgno != 0 && pgno <= forest->page_count &&
           view->is_here(view->ctx, pgno) && view->peek(view->ctx, pgno, out);
}

bool
ramet_forest_first_bytes(struct ramet_forest *forest, uint32_t pgno,
                         uint8_t out[4])
{
    uint8_t *const bytes = ramet_alloc(forest->page_size);
    const bool found = bytes != NULL && peek(forest, pgno, bytes);

    if (found)
        memcpy(out, bytes, 4);
    ramet_free(bytes);
    return found;
}

/* A page that is here and was not kept; false: it is not, or none of a tree. */
static bool
look(struct ramet_forest *forest, uint32_t pgno, struct ramet_btpage *out_page)
{
    uint8_t *const bytes = ramet_alloc(forest->page_size);
    const bool found = bytes != NULL && peek(forest, pgno, bytes) &&
                       ramet_forest_learn(forest, pgno, bytes, out_page) &&
                       out_page->bytes != bytes;

    ramet_free(bytes);
    return found;
}

bool
ramet_forest_glance(struct ramet_forest *forest, uint32_t pgno,
                    struct ramet_btpage *out_page)
{
    const struct ramet_kept_leaf *const leaf = find_leaf(forest, pgno);

    assert(leaf == NULL || leaf->bytes != NULL);
    if (leaf != NULL)
        return ramet_btpage_open(out_page, leaf->bytes, pgno, forest->usable);
    return peek(forest, pgno, forest->scratch) &&
           ramet_btpage_open(out_page, forest->scratch, pgno, forest->usable) &&
           ramet_btpage_is_leaf(out_page);
}

struct ramet_node *
ramet_forest_node(struct ramet_forest *forest, uint32_t pgno)
{
    struct ramet_node *const node = find_node(forest, pgno);
    struct ramet_btpage page;

    if (node != NULL)
        return node;
    return look(forest, pgno, &page) && !ramet_btpage_is_leaf(&page)
               ? find_node(forest, pgno)
               : NULL;
}

bool
ramet_forest_leaf(struct ramet_forest *forest, uint32_t pgno,
                  struct ramet_btpage *out_page)
{
    struct ramet_kept_leaf *const leaf = find_leaf(forest, pgno);

    if (leaf == NULL)
        return look(forest, pgno, out_page) && ramet_btpage_is_leaf(out_page);
    assert(leaf->bytes != NULL && leaf->turn <= forest->turn);
    leaf->turn = forest->turn;
    return ramet_btpage_open(out_page, leaf->bytes, pgno, forest->usable);
}

struct ramet_node *
ramet_forest_parent(struct ramet_forest *forest, uint32_t pgno,
                    uint32_t *out_index)
{
    uint32_t value;

    if (!ramet_pagemap_get(&forest->parent_of, pgno, &value))
        return NULL;
    assert(value >> 16 < forest->node_max); /* invariant (3) */
    *out_index = value & 0xffffu;
    assert(*out_index <= forest->nodes[value >> 16].page.cell_count);
    return touch(forest, &forest->nodes[value >> 16]);
}

uint32_t
ramet_forest_root(struct ramet_forest *forest, uint32_t pgno,
                  unsigned *out_level)
{
    const struct ramet_node *parent;
    unsigned level = 0;
    uint32_t index;

    for (; (parent = ramet_forest_parent(forest, pgno, &index)) != NULL;
         level++) {
        assert(parent->pgno != 0 && level <= RAMET_BTREE_DEPTH_MAX);
        if (level == RAMET_BTREE_DEPTH_MAX)
            return 0;
        pgno = parent->pgno;
    }
    *out_level = level;
    return pgno;
}

/* ---- walks ---------------------------------------------------------------- */

uint32_t
ramet_forest_beside(struct ramet_forest *forest, uint32_t pgno, int direction,
                    uint32_t *out_gap)
{
    const struct ramet_node *node;
    unsigned levels = 0;
    uint32_t index;

    assert(direction == 1 || direction == -1);
    *out_gap = 0;
    for (;; levels++) {
        node = ramet_forest_parent(forest, pgno, &index);
        if (node == NULL || levels == RAMET_BTREE_DEPTH_MAX)
            return 0;
        if (direction > 0 ? index < node->page.cell_count : index > 0)
            break;
        pgno = node->pgno;
    }
    assert(levels < RAMET_BTREE_DEPTH_MAX);
    pgno = child_of(node, direction > 0 ? index + 1 : index - 1);
    for (; levels > 0; levels--) {
        node = ramet_forest_node(forest, pgno);
        if (node == NULL) {
            *out_gap = pgno;
            return 0;
        }
        pgno = child_of(node, direction > 0 ? 0 : node->page.cell_count);
    }
    return pgno;
}

int
ramet_forest_distance(struct ramet_forest *forest, uint32_t from, uint32_t to,
                      uint32_t max)
{
    uint32_t here = 0;
    uint32_t there = 0;
    const struct ramet_node *const a = ramet_forest_parent(forest, from, &here);
    const struct ramet_node *const b = ramet_forest_parent(forest, to, &there);
    uint32_t gap;

    assert(max <= INT32_MAX);
    if (a == NULL || b == NULL)
        return 0;
    if (a == b) {
        const int steps = (int)there - (int)here;

        return (uint32_t)(steps < 0 ? -steps : steps) <= max ? steps : 0;
    }
    for (int direction = 1; direction >= -1; direction -= 2) {
        uint32_t at = from;

        for (uint32_t n = 1; n <= max; n++) {
            at = ramet_forest_beside(forest, at, direction, &gap);
            if (at == 0)
                break;
            if (at == to)
                return direction * (int)n;
        }
    }
    return 0;
}

bool
ramet_forest_separator(struct ramet_forest *forest, uint32_t pgno,
                       int direction, struct ramet_btpage *out_page,
                       struct ramet_btcell *out_cell)
{
    const struct ramet_node *parent;
    uint32_t index;

    assert(direction == 1 || direction == -1);
    for (unsigned level = 0; level < RAMET_BTREE_DEPTH_MAX; level++) {
        parent = ramet_forest_parent(forest, pgno, &index);
        if (parent == NULL)
            return false;
        if (direction < 0)
            index--; /* past every cell where it was the first */
        if (index < parent->page.cell_count) {
            *out_page = parent->page;
            return ramet_btpage_cell(&parent->page, index, out_cell);
        }
        pgno = parent->pgno;
    }
    return false;
}

bool
ramet_forest_key(const struct ramet_btpage *page,
                 const struct ramet_btcell *cell, struct ramet_value *out_key)
{
    if (!ramet_btpage_is_table(page))
        return ramet_record_column(cell->local, cell->local_len, 0, out_key);
    *out_key = (struct ramet_value){.type = RAMET_VALUE_INTEGER,
                                    .integer = cell->rowid};
    return true;
}

/* The child of an interior page that leads to `key`: the first of them whose
 * own key is not less. */
static uint32_t
child_for(const struct ramet_node *node, const struct ramet_value *key)
{
    uint32_t low = 0;
    uint32_t high = node->page.cell_count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        struct ramet_btcell cell;
        struct ramet_value value;
        const bool is_less = !ramet_btpage_cell(&node->page, middle, &cell) ||
                             !ramet_forest_key(&node->page, &cell, &value) ||
                             ramet_value_compare(&value, key) < 0;

        if (is_less)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low == high && low <= node->page.cell_count);
    return child_of(node, low);
}

uint32_t
ramet_forest_find(struct ramet_forest *forest, uint32_t root, int depth,
                  const struct ramet_value *key, bool *out_is_leaf)
{
    uint32_t pgno = root;

    assert(root != 0);
    *out_is_leaf = false;
    for (int level = 0; level <= (int)RAMET_BTREE_DEPTH_MAX; level++) {
        const struct ramet_node *node;

        if (level == depth) {
            *out_is_leaf = true;
            return pgno;
        }
        node = ramet_forest_node(forest, pgno);
        if (node == NULL) {
            *out_is_leaf = forest->view.is_here(forest->view.ctx, pgno);
            return pgno;
        }
        if (ramet_btpage_is_table(&node->page) &&
            key->type != RAMET_VALUE_INTEGER)
            return 0;
        pgno = child_for(node, key);
    }
    return 0;
}
