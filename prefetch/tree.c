/*
 * tree.c - the trees that are being read: which tree a page is of.
 *
 * Trees are found by their root, and the one not used for longest makes room.
 *
 * Layer: prefetch.
 */
#include <assert.h>

#include "prefetch/predictor.h"

struct ramet_tree *
ramet_tree_of(struct ramet_prefetch *p, uint32_t pgno, unsigned *out_level)
{
    const uint32_t root = ramet_forest_root(&p->forest, pgno, out_level);

    assert(pgno != 0);
    for (unsigned i = 0; i < RAMET_TREES; i++)
        if (ramet_tree_is(&p->trees[i], root)) {
            p->trees[i].used = p->forest.turn;
            return &p->trees[i];
        }
    return NULL;
}

/* Nothing refers to it any more. */
static void
clear_tree(struct ramet_prefetch *p, struct ramet_tree *tree)
{
    struct ramet_run run;

    assert(tree >= p->trees && tree < p->trees + RAMET_TREES);
    ramet_link_drop_tree(p, tree);
    for (unsigned i = 0; i < RAMET_RECENT; i++)
        if (p->recent[i].tree == tree)
            p->recent[i].tree = NULL;
    ramet_asks_end_run(&p->asks, &tree->run);
    run = tree->run;
    *tree = (struct ramet_tree){.depth = -1,
                                .direction = 1,
                                .run = run,
                                .contiguity = 1,
                                .row_pages = 1};
}

struct ramet_tree *
ramet_tree_make(struct ramet_prefetch *p, uint32_t root)
{
    struct ramet_tree *tree = &p->trees[0];

    assert(root != 0);
    for (unsigned i = 1; i < RAMET_TREES; i++)
        if (p->trees[i].used < tree->used)
            tree = &p->trees[i];
    clear_tree(p, tree);
    tree->root = root;
    tree->used = p->forest.turn;
    return tree;
}
