/*
 * scan.c - a tree whose leaves are read one after the other.
 *
 * The second leaf in a row begins a scan. How many leaves it has ahead grows
 * with how many it has read, so that a short one brings little in vain and a
 * long one fills the link. What is ahead is asked for again when a quarter of
 * it was read: one request for many leaves, and the link never idle.
 *
 * Layer: prefetch.
 */
#include "prefetch/predictor.h"

#include <assert.h>

#define GAP_FIRST 1u /* leaves that a young scan may be apart from the last */
#define GAP_LATER 3u
#define GAP_LATER_FROM 4u /* steps */
#define END_NEAR 3u       /* leaves */
#define INTERIORS_FROM 16u
#define SPARSE_GAP_MAX 24u
#define SPARSE_FROM 3u
#define SPARSE_AHEAD_MAX 64u

/* The pages beside an interior page, `count` of them. */
static void
ask_beside(struct ramet_prefetch *p, const struct ramet_tree *tree,
           uint32_t pgno, uint32_t count)
{
    uint32_t gap;

    assert(tree->direction == 1 || tree->direction == -1);
    for (uint32_t n = 0; n < count; n++) {
        pgno = ramet_forest_beside(&p->forest, pgno, tree->direction, &gap);
        (void)ramet_predictor_ask(p, pgno != 0 ? pgno : gap, &p->loose, true);
        if (pgno == 0)
            break;
    }
}

/* Interior pages that two more windows need come first; those above these, a
 * window earlier for each level, or what they lead to would be late: while the
 * link is full, an answer takes as long as a window. */
static void
ask_interiors(struct ramet_prefetch *p, struct ramet_tree *tree)
{
    const struct ramet_node *node;
    uint64_t leaves = 1; /* below a child of `node` */
    uint64_t left = 0;   /* below those of its children that are to come */
    uint64_t reach = (tree->is_range ? 1 : 2) * (uint64_t)tree->window;
    uint32_t pgno = tree->last;
    uint32_t index;

    assert(tree->window > 0 && tree->last != 0);
    for (unsigned level = 1; level <= RAMET_BTREE_DEPTH_MAX; level++) {
        node = ramet_forest_parent(&p->forest, pgno, &index);
        if (node == NULL)
            return;
        assert(index <= node->page.cell_count && leaves > 0);
        left += leaves *
                (tree->direction > 0 ? node->page.cell_count - index : index);
        if (left > reach && (level > 1 || tree->window < INTERIORS_FROM))
            return;
        if (leaves <=
            UINT32_MAX) /* past that none counts; a hostile tree has any */
            leaves *= node->page.cell_count + 1u;
        ask_beside(p, tree, node->pgno,
                   (uint32_t)(reach / leaves) + (level == 1 ? 2 : 1));
        reach += tree->window;
        pgno = node->pgno;
    }
}

void
ramet_scan_continue(struct ramet_prefetch *p, struct ramet_tree *tree)
{
    uint32_t at = tree->last;
    uint32_t asked = 0;
    uint32_t gap;
    uint32_t n;

    assert(tree->root != 0);
    if (tree->window == 0 || tree->run.ahead > tree->window * 3 / 4 ||
        p->asks.queued > p->budget)
        return;
    ask_interiors(p, tree);
    for (n = 0; n < tree->window; n++) {
        at = ramet_forest_beside(&p->forest, at, tree->direction, &gap);
        if (at == 0) {
            (void)ramet_predictor_ask(p, gap, &p->loose, true);
            break;
        }
        if (ramet_predictor_ask(p, at, &tree->run, false))
            asked++;
        else if (ramet_overflow_is_read(tree))
            ramet_overflow_expand_once(p, tree, at);
    }
    /* All of it is here, as far as is known: to where that ends, at most. */
    if (asked == 0)
        tree->rest = n < tree->window / 4 ? n : tree->window / 4;
}

static void
end_scan(struct ramet_prefetch *p, struct ramet_tree *tree)
{
    assert(tree->run.taken <= tree->run.ahead);
    tree->length = 0;
    tree->window = 0;
    tree->rest = 0;
    ramet_asks_end_run(&p->asks, &tree->run);
}

/* A tree of a root and leaves, read forward with gaps (FTS5 reads the sizes of
 * its documents so): some of what follows. */
static void
look_for_sparse(struct ramet_prefetch *p, struct ramet_tree *tree,
                uint32_t leaf)
{
    struct ramet_node *root;
    uint32_t before;
    uint32_t now;
    uint32_t child;
    uint32_t ahead;

    assert(leaf != 0 && tree->last != leaf);
    if (tree->depth != 1 ||
        ramet_forest_parent(&p->forest, tree->last, &before) == NULL)
        return;
    root = ramet_forest_parent(&p->forest, leaf, &now);
    if (root == NULL)
        return;
    tree->ascents =
        now > before && now - before <= SPARSE_GAP_MAX ? tree->ascents + 1 : 0;
    if (tree->ascents < SPARSE_FROM)
        return;
    ahead = 8 * tree->ascents;
    if (ahead > SPARSE_AHEAD_MAX)
        ahead = SPARSE_AHEAD_MAX;
    for (uint32_t i = now + 1; i <= root->page.cell_count && i <= now + ahead;
         i++)
        if (ramet_btpage_child(&root->page, i, &child))
            (void)ramet_predictor_ask(p, child, &p->loose, false);
}

/* Is `leaf` where the scan would go on, or one begin? */
static int
steps_to(struct ramet_prefetch *p, struct ramet_tree *tree, uint32_t leaf)
{
    const uint32_t gap = tree->length < GAP_LATER_FROM ? GAP_FIRST : GAP_LATER;

    assert(tree->last != 0 && tree->last != leaf);
    if (ramet_link_feeds(p, tree))
        return 0; /* a link's rows, which happen to be near */
    return ramet_forest_distance(&p->forest, tree->last, leaf, gap);
}

/* Did a scan that reached this leaf begin at an end of the tree, or so near to one
 * that its first steps may have gone by as a link's? */
static bool
is_from_end(struct ramet_prefetch *p, uint32_t leaf, int direction)
{
    uint32_t gap = 0;

    assert(direction == 1 || direction == -1);
    for (unsigned n = 0; leaf != 0 && n <= END_NEAR; n++)
        leaf = ramet_forest_beside(&p->forest, leaf, -direction, &gap);
    return leaf == 0 && gap == 0;
}

/* In leaves: with their chains they are no more pages than there is room for. */
static uint32_t
window_of(const struct ramet_prefetch *p, const struct ramet_tree *tree)
{
    const uint32_t window =
        ramet_predictor_scan_window(p, tree->length, tree->is_range);
    const double most = p->room / (1 + tree->row_pages);

    assert(tree->length > 0 && tree->row_pages >= 0);
    return ramet_overflow_is_read(tree) && window > most ? (uint32_t)most
                                                         : window;
}

void
ramet_scan_step(struct ramet_prefetch *p, struct ramet_tree *tree,
                uint32_t leaf)
{
    assert(leaf != 0 && tree->depth > 0);
    if (tree->last != 0 && tree->last != leaf) {
        const int steps = steps_to(p, tree, leaf);
        const int direction = steps > 0 ? 1 : -1;

        if (steps != 0 && (tree->length == 0 || direction == tree->direction)) {
            if (tree->length == 0)
                tree->is_range = !is_from_end(p, tree->last, direction);
            tree->direction = direction;
            tree->length++;
            tree->window = window_of(p, tree);
        } else {
            end_scan(p, tree);
            look_for_sparse(p, tree, leaf);
        }
    }
    tree->last = leaf;
    if (tree->rest > 0)
        tree->rest--;
    else
        ramet_scan_continue(p, tree);
}
