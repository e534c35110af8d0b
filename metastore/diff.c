/*
 * diff.c - which pages differ between two LSNs.
 *
 * Near LSNs: the sets of the commits between, united. Far ones: the maps that
 * the two refer to, compared by pointer (the same place in the same object is
 * the same subtree), and the sets of the heads between each map and its LSN.
 *
 *   (1) The answer may hold pages that are equal after all, never lacks one
 *       that differs.
 *   (2) Depth is bounded by the level of a map, 4; work by the difference.
 */
#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/chain.h"
#include "metastore/head_cache.h"
#include "metastore/mapnode.h"
#include "metastore/node_cache.h"

/* From here on comparing maps costs fewer requests than reading heads. */
#define NEAR_COMMITS RAMET_MAP_EVERY_COMMITS
#define REFINE_PAGES_MAX 65536u

static enum ramet_rc
add_run(struct ramet_pageset *set, uint64_t first, uint64_t last,
        struct ramet_err *err)
{
    const struct ramet_run run = {(uint32_t)first, (uint32_t)last};

    if (first > last)
        return RAMET_OK;
    if (ramet_pageset_add_run(set, run) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "set of changed pages");
    return RAMET_OK;
}

/* What one commit changed, pages cut off and grown again included. */
static enum ramet_rc
add_commit(struct ramet_pageset *set, const struct ramet_commit *commit,
           struct ramet_err *err)
{
    if (ramet_pageset_add_set(set, &commit->changed) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "set of changed pages");
    return add_run(set, (uint64_t)commit->least_page_count + 1, UINT32_MAX,
                   err);
}

/* ---- near ---------------------------------------------------------------- */

static enum ramet_rc
unite_commits(struct ramet_history *history, const struct ramet_point *from,
              const struct ramet_point *to, struct ramet_pageset *set,
              struct ramet_err *err)
{
    struct ramet_hash expected = to->hash;

    for (uint64_t lsn = to->lsn; lsn > from->lsn; lsn--) {
        struct ramet_lru_entry *entry;
        const struct ramet_loaded_head *head;
        enum ramet_rc rc;

        rc = ramet_history_load_head(history, lsn, true, &entry, err);
        if (rc != RAMET_OK)
            return rc;
        head = ramet_loaded_head(entry);
        if (!ramet_hash_equal(&expected, &head->hash))
            rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                            "LSN %" PRIu64 " is not the commit that LSN "
                            "%" PRIu64 " was based on",
                            lsn, lsn + 1);
        expected = head->commit.predecessor;
        if (rc == RAMET_OK)
            rc = add_commit(set, &head->commit, err);
        ramet_history_release(history, entry);
        if (rc != RAMET_OK)
            return rc;
    }
    if (ramet_hash_equal(&expected, &from->hash))
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "LSN %" PRIu64 " was not based on the LSN %" PRIu64
                      " that is asked for",
                      from->lsn + 1, from->lsn);
}

/* ---- far: two maps ------------------------------------------------------- */

/* A node of one tree, or, above its root, the place that its root hangs in. */
struct side {
    struct ramet_node_ref ref;
    bool above_root;
};

struct tree {
    struct ramet_node_ref root;
    unsigned level;
};

struct diff {
    struct ramet_history *history;
    struct ramet_pageset *set;
    struct tree trees[2];
    struct ramet_inner inner[2][RAMET_MAP_LEVEL_MAX + 1];
    struct ramet_leaf leaves[2];
};

static struct side
top_of(const struct tree *tree, unsigned level)
{
    return tree->level == level ? (struct side){tree->root, false}
                                : (struct side){.above_root = true};
}

static struct side
child_of(const struct diff *d, unsigned which, const struct side *parent,
         unsigned level, unsigned i)
{
    const struct tree *const tree = &d->trees[which];

    if (!parent->above_root)
        return (struct side){d->inner[which][level].children[i], false};
    if (i != 0)
        return (struct side){.above_root = false};
    return top_of(tree, level - 1);
}

static bool
sides_equal(const struct side *a, const struct side *b)
{
    return a->above_root == b->above_root &&
           (a->above_root || ramet_node_ref_equal(&a->ref, &b->ref));
}

static enum ramet_rc
decode_leaf(struct diff *d, unsigned which, const struct ramet_lru_entry *entry,
            uint32_t index, struct ramet_err *err)
{
    struct ramet_leaf *const leaf = &d->leaves[which];

    if (entry == NULL) {
        memset(leaf, 0, sizeof(*leaf));
        return RAMET_OK;
    }
    return ramet_leaf_decode(ramet_loaded_node(entry)->bytes,
                             ramet_loaded_node(entry)->ref.length_bytes,
                             &d->history->volume, index, leaf, err);
}

static enum ramet_rc
diff_leaf(struct diff *d, const struct ramet_lru_entry *const entries[2],
          uint32_t index, struct ramet_err *err)
{
    enum ramet_rc rc;

    for (unsigned which = 0; which < 2; which++) {
        rc = decode_leaf(d, which, entries[which], index, err);
        if (rc != RAMET_OK)
            return rc;
    }
    for (uint32_t i = 0; i < RAMET_LEAF_PAGES; i++) {
        const uint64_t pgno = (uint64_t)index * RAMET_LEAF_PAGES + i + 1;

        if (ramet_frame_same(&d->leaves[0].pages[i], &d->leaves[1].pages[i]))
            continue;
        rc = add_run(d->set, pgno, pgno, err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

/* Pairs of leaves that differ: their places and indexes. */
struct leaf_pairs {
    const struct ramet_node_ref *refs[2][RAMET_NODES_AT_ONCE];
    uint32_t index[RAMET_NODES_AT_ONCE];
    size_t count;
};

static enum ramet_rc
diff_leaves(struct diff *d, const struct leaf_pairs *pairs,
            struct ramet_err *err)
{
    struct ramet_lru_entry *entries[2][RAMET_NODES_AT_ONCE];
    enum ramet_rc rc;

    rc = ramet_history_load_nodes(d->history, pairs->refs[0], pairs->count,
                                  entries[0], err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_history_load_nodes(d->history, pairs->refs[1], pairs->count,
                                  entries[1], err);
    for (size_t i = 0; rc == RAMET_OK && i < pairs->count; i++) {
        const struct ramet_lru_entry *const pair[2] = {entries[0][i],
                                                       entries[1][i]};

        rc = diff_leaf(d, pair, pairs->index[i], err);
    }
    ramet_history_release_nodes(d->history, entries[0], pairs->count);
    ramet_history_release_nodes(d->history, entries[1], pairs->count);
    return rc;
}

static enum ramet_rc
load_sides(struct diff *d, const struct side sides[2], unsigned level,
           uint32_t index, struct ramet_err *err)
{
    for (unsigned which = 0; which < 2; which++) {
        struct ramet_inner *const inner = &d->inner[which][level];
        enum ramet_rc rc = RAMET_OK;

        memset(inner, 0, sizeof(*inner));
        if (!sides[which].above_root && sides[which].ref.length_bytes > 0)
            rc = ramet_history_load_inner(d->history, &sides[which].ref, level,
                                          index, inner, err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

static const struct ramet_node_ref absent;

/* The children of a node of level 1 that differ, all at once. */
static enum ramet_rc
diff_level_1(struct diff *d, const struct side sides[2], uint32_t index,
             struct ramet_err *err)
{
    struct leaf_pairs *const pairs = ramet_alloc(sizeof(*pairs));
    struct side children[2];
    enum ramet_rc rc;

    if (pairs == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "comparing maps");
    pairs->count = 0;
    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
        for (unsigned which = 0; which < 2; which++)
            children[which] = child_of(d, which, &sides[which], 1, i);
        if (sides_equal(&children[0], &children[1]))
            continue;
        for (unsigned which = 0; which < 2; which++) {
            const bool in_node = !sides[which].above_root;

            pairs->refs[which][pairs->count] =
                in_node  ? &d->inner[which][1].children[i]
                : i == 0 ? &d->trees[which].root
                         : &absent;
        }
        pairs->index[pairs->count++] = index * RAMET_INNER_CHILDREN + i;
    }
    rc = pairs->count > 0 ? diff_leaves(d, pairs, err) : RAMET_OK;
    ramet_free(pairs);
    return rc;
}

/* Compare two nodes of `level`; invariant (2) bounds the depth. */
static enum ramet_rc
diff_nodes(struct diff *d, const struct side sides[2], unsigned level,
           uint32_t index, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(level >= 1 && level <= RAMET_MAP_LEVEL_MAX);
    rc = load_sides(d, sides, level, index, err);
    if (rc != RAMET_OK)
        return rc;
    if (level == 1)
        return diff_level_1(d, sides, index, err);
    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
        const struct side children[2] = {
            child_of(d, 0, &sides[0], level, i),
            child_of(d, 1, &sides[1], level, i),
        };

        if (sides_equal(&children[0], &children[1]))
            continue;
        rc = diff_nodes(d, children, level - 1,
                        index * RAMET_INNER_CHILDREN + i, err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

static enum ramet_rc
diff_maps(struct ramet_history *history, const struct ramet_map_ref *from,
          const struct ramet_map_ref *to, struct ramet_pageset *set,
          struct ramet_err *err)
{
    struct diff *const d = ramet_calloc(1, sizeof(*d));
    const struct ramet_map_ref *const maps[2] = {from, to};
    struct side tops[2];
    unsigned level = 1; /* a lone leaf hangs below a place of level 1 */
    enum ramet_rc rc = RAMET_OK;

    if (d == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "comparing maps");
    d->history = history;
    d->set = set;
    for (unsigned which = 0; rc == RAMET_OK && which < 2; which++) {
        rc =
            ramet_history_load_root(history, maps[which], &d->trees[which].root,
                                    &d->trees[which].level, err);
        if (d->trees[which].level > level)
            level = d->trees[which].level;
    }
    for (unsigned which = 0; which < 2; which++)
        tops[which] = top_of(&d->trees[which], level);
    if (rc == RAMET_OK && !sides_equal(&tops[0], &tops[1]))
        rc = diff_nodes(d, tops, level, 0, err);
    else if (rc == RAMET_OK && tops[0].above_root)
        rc = diff_nodes(d, tops, level, 0, err); /* two lone leaves */
    ramet_free(d);
    return rc;
}

/* What the heads between a map and its LSN changed. */
static enum ramet_rc
add_layers(struct ramet_pageset *set, const struct ramet_chain *chain,
           struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    for (unsigned i = 0; rc == RAMET_OK && i < chain->layer_count; i++)
        rc = add_commit(set, chain->layers[i], err);
    return rc;
}

/* Take pages out of `set` that lie at the same place in both. */
static enum ramet_rc
drop_same(const struct ramet_chain chains[2], const uint32_t *pgnos,
          size_t count, struct ramet_frame *frames, struct ramet_pageset *set,
          struct ramet_err *err)
{
    for (unsigned which = 0; which < 2; which++) {
        const enum ramet_rc rc = ramet_chain_locate(
            &chains[which], pgnos, count, frames + which * count, err);

        if (rc != RAMET_OK)
            return rc;
    }
    for (size_t i = 0; i < count; i++) {
        const struct ramet_run page = {pgnos[i], pgnos[i]};

        if (ramet_frame_same(&frames[i], &frames[count + i]) &&
            ramet_pageset_remove_run(set, page) != RAMET_OK)
            return RAMET_FAIL(err, RAMET_ENOMEM, "set of changed pages");
    }
    return RAMET_OK;
}

/* Pages that only the heads of `from` put into `set` are equal at `to` if
 * nobody changed them since: look. Too many: leave them, invariant (1). */
static enum ramet_rc
refine(const struct ramet_chain chains[2], const struct ramet_pageset *doubtful,
       struct ramet_pageset *set, struct ramet_err *err)
{
    const uint64_t most = ramet_pageset_count(doubtful);
    uint32_t pgnos[RAMET_NODES_AT_ONCE];
    struct ramet_frame *frames;
    uint32_t pgno = 0;
    enum ramet_rc rc = RAMET_OK;

    if (most > REFINE_PAGES_MAX)
        return RAMET_OK;
    /* Each page that goes may make two runs of one. */
    if (set->run_max != 0 && set->run_count + most > set->run_max)
        return RAMET_OK;
    frames = ramet_calloc(2 * RAMET_NODES_AT_ONCE, sizeof(frames[0]));
    if (frames == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "comparing maps");
    do {
        size_t count = 0;

        while (count < RAMET_NODES_AT_ONCE &&
               (pgno = ramet_pageset_next(doubtful, pgno)) != 0)
            pgnos[count++] = pgno;
        rc = drop_same(chains, pgnos, count, frames, set, err);
    } while (rc == RAMET_OK && pgno != 0);
    ramet_free(frames);
    return rc;
}

/* Invariant (1), for two chains of one page size. */
static enum ramet_rc
compare_chains(const struct ramet_chain chains[2], struct ramet_pageset *set,
               struct ramet_err *err)
{
    const uint32_t from_count = chains[0].page_count;
    const uint32_t to_count = chains[1].page_count;
    struct ramet_pageset old, recent;
    enum ramet_rc rc;

    ramet_pageset_init(&old);
    ramet_pageset_init(&recent);
    old.run_max = recent.run_max = set->run_max;
    rc = add_layers(&old, &chains[0], err);
    if (rc == RAMET_OK)
        rc = diff_maps(chains[0].history, &chains[0].map, &chains[1].map, set,
                       err);
    if (rc == RAMET_OK)
        rc = add_layers(&recent, &chains[1], err);
    if (rc == RAMET_OK)
        rc = add_run(&recent, (uint64_t)from_count + 1, UINT32_MAX, err);
    ramet_pageset_truncate(&old, to_count);
    ramet_pageset_truncate(&recent, to_count);
    if (rc == RAMET_OK && (ramet_pageset_add_set(set, &old) != RAMET_OK ||
                           ramet_pageset_add_set(set, &recent) != RAMET_OK ||
                           ramet_pageset_remove_set(&old, &recent) != RAMET_OK))
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "set of changed pages");
    if (rc == RAMET_OK)
        rc = refine(chains, &old, set, err);
    ramet_pageset_done(&recent);
    ramet_pageset_done(&old);
    return rc;
}

static enum ramet_rc
compare_far(struct ramet_history *history, const struct ramet_point *from,
            const struct ramet_point *to, struct ramet_pageset *set,
            struct ramet_err *err)
{
    struct ramet_chain chains[2];
    enum ramet_rc rc;

    rc = ramet_chain_open(history, from, &chains[0], err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_chain_open(history, to, &chains[1], err);
    if (rc != RAMET_OK) {
        ramet_chain_close(&chains[0]);
        return rc;
    }
    if (chains[0].page_size != chains[1].page_size)
        rc = add_run(set, 1, UINT32_MAX, err);
    else
        rc = compare_chains(chains, set, err);
    ramet_chain_close(&chains[0]);
    ramet_chain_close(&chains[1]);
    return rc;
}

/* Is `rc` because one of the two is not of the store's line any more? */
static enum ramet_rc
blame_ends(struct ramet_history *history, const struct ramet_point *from,
           const struct ramet_point *to, enum ramet_rc rc,
           struct ramet_err *err)
{
    if (from->lsn > 0)
        rc = ramet_history_blame(history, from, rc, err);
    return to->lsn > from->lsn ? ramet_history_blame(history, to, rc, err) : rc;
}

enum ramet_rc
ramet_history_changed(struct ramet_history *history,
                      const struct ramet_point *from,
                      const struct ramet_point *to,
                      struct ramet_pageset *out_set, struct ramet_err *err)
{
    struct ramet_pageset set;
    struct ramet_head head;
    enum ramet_rc rc;

    if (from->lsn > to->lsn)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "changes from LSN %" PRIu64 " back to %" PRIu64,
                          from->lsn, to->lsn);
    rc = ramet_history_head_of(history, to, &head, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_pageset_init(&set);
    set.run_max = out_set->run_max;
    if (from->lsn == 0)
        rc = add_run(&set, 1, head.page_count, err);
    else if (to->lsn - from->lsn <= NEAR_COMMITS)
        rc = unite_commits(history, from, to, &set, err);
    else
        rc = compare_far(history, from, to, &set, err);
    if (rc == RAMET_OK) {
        ramet_pageset_truncate(&set, head.page_count);
        ramet_pageset_swap(out_set, &set);
    }
    ramet_pageset_done(&set);
    return blame_ends(history, from, to, rc, err);
}
