/*
 * diff.c - which pages differ between two LSNs.
 *
 * Near LSNs: the sets of the commits between, united. Far ones: the newer one's
 * map says of each page, node and piece of a roll-up when it changed last, and the
 * sets of the heads past that map are added.
 *
 *   (1) The answer may hold pages that are equal after all, never lacks one
 *       that differs.
 *   (2) Depth is bounded by the level of a map, 4; work by the difference.
 */
#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/head_cache.h"
#include "metastore/mapnode.h"
#include "metastore/maproot.h"
#include "metastore/node_cache.h"
#include "metastore/overlay.h"

/* Pieces of a roll-up that are held in memory, 32 KiB each at most. */
#define PIECES_AT_ONCE 32u

static enum ramet_rc
add_run(struct ramet_pageset *set, uint64_t first, uint64_t last,
        struct ramet_err *err)
{
    const struct ramet_run run = {(uint32_t)first, (uint32_t)last};

    assert(first >= 1 && last <= UINT32_MAX);
    if (first > last)
        return RAMET_OK;
    if (ramet_pageset_add_run(set, run) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "set of changed pages");
    return RAMET_OK;
}

/* What one commit changed, pages cut off and grown again included. */
static enum ramet_rc
add_commit(struct ramet_pageset *set, const struct ramet_commit_object *commit,
           struct ramet_err *err)
{
    assert(commit->least_page_count <= commit->page_count);
    if (ramet_pageset_add_set(set, &commit->changed) != RAMET_OK ||
        ramet_pageset_add_set(set, &commit->deltas.pages) != RAMET_OK)
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
    struct ramet_point point = *to;

    assert(from->lsn <= to->lsn);
    ramet_history_bring_heads(history, from->lsn + 1, to->lsn, NULL);
    for (; point.lsn > from->lsn; point.lsn--) {
        struct ramet_lru_entry *entry;
        const struct ramet_loaded_head *head;
        enum ramet_rc rc;

        rc = ramet_history_load_slot(history, &point, true, &entry, err);
        if (rc != RAMET_OK)
            return rc;
        head = ramet_loaded_head(entry);
        if (!ramet_hash_equal(&point.hash, &head->hash))
            rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                            "LSN %" PRIu64 " is not the commit that LSN "
                            "%" PRIu64 " was based on",
                            point.lsn, point.lsn + 1);
        point.hash = head->commit.predecessor;
        if (rc == RAMET_OK)
            rc = add_commit(set, &head->commit, err);
        ramet_history_release(history, entry);
        if (rc != RAMET_OK)
            return rc;
    }
    if (ramet_hash_equal(&point.hash, &from->hash))
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "LSN %" PRIu64 " was not based on the LSN %" PRIu64
                      " that is asked for",
                      from->lsn + 1, from->lsn);
}

/* ---- far: one map -------------------------------------------------------- */

struct descent {
    struct ramet_history *history;
    struct ramet_pageset *set;
    uint64_t since;
    struct ramet_inner inner[RAMET_MAP_LEVEL_MAX + 1];
    struct ramet_leaf leaf;
    struct ramet_piece_walk piece;
};

static enum ramet_rc
add_leaf(struct descent *d, const struct ramet_lru_entry *entry, uint32_t index,
         struct ramet_err *err)
{
    const struct ramet_loaded_node *const node = ramet_loaded_node(entry);
    const uint64_t first = (uint64_t)index * RAMET_LEAF_PAGES + 1;
    enum ramet_rc rc;

    assert(ramet_loaded_node(entry) != NULL);
    rc = ramet_leaf_decode(node->bytes, node->ref.length_bytes,
                           &d->history->volume, index, &d->leaf, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < RAMET_LEAF_PAGES &&
                         first + i <= UINT32_MAX; /* the last leaf has 63 */
         i++) {
        const struct ramet_located *const page = &d->leaf.pages[i];
        const uint64_t when =
            page->image.page_count > 0 ? page->lsn : d->leaf.gone;

        if (when > d->since)
            rc = add_run(d->set, first + i, first + i, err);
    }
    return rc;
}

/* The leaves below a node of level 1 that have something later, all at once. */
static enum ramet_rc
add_leaves(struct descent *d, const struct ramet_inner *node,
           struct ramet_err *err)
{
    const struct ramet_node_ref *refs[RAMET_INNER_CHILDREN];
    struct ramet_lru_entry *entries[RAMET_INNER_CHILDREN];
    uint32_t indexes[RAMET_INNER_CHILDREN];
    size_t count = 0;
    enum ramet_rc rc;

    assert(node->level == 1);
    for (uint32_t i = 0; i < RAMET_INNER_CHILDREN; i++) {
        if (node->children[i].length_bytes == 0 ||
            node->children[i].latest <= d->since)
            continue;
        refs[count] = &node->children[i];
        indexes[count++] = node->index * RAMET_INNER_CHILDREN + i;
    }
    assert(count <= RAMET_NODES_AT_ONCE);
    rc = ramet_history_load_nodes(d->history, refs, count, entries, err);
    if (rc != RAMET_OK)
        return rc;
    for (size_t i = 0; rc == RAMET_OK && i < count; i++)
        rc = add_leaf(d, entries[i], indexes[i], err);
    ramet_history_release_nodes(d->history, entries, count);
    return rc;
}

/* Pages of children that are not there, where any were cut off since. */
static enum ramet_rc
add_absent(struct descent *d, const struct ramet_inner *node,
           struct ramet_err *err)
{
    const uint64_t span = ramet_node_span(node->level - 1);
    enum ramet_rc rc = RAMET_OK;

    assert(node->level >= 1);
    if (node->gone <= d->since)
        return RAMET_OK;
    for (uint32_t i = 0; rc == RAMET_OK && i < RAMET_INNER_CHILDREN; i++) {
        const uint64_t before =
            ((uint64_t)node->index * RAMET_INNER_CHILDREN + i) * span;

        if (node->children[i].length_bytes == 0 && before < UINT32_MAX)
            rc = add_run(
                d->set, before + 1,
                before + span < UINT32_MAX ? before + span : UINT32_MAX, err);
    }
    return rc;
}

/* Invariant (2) bounds the depth. */
static enum ramet_rc
add_node(struct descent *d, const struct ramet_node_ref *ref, unsigned level,
         uint32_t index, struct ramet_err *err)
{
    struct ramet_inner *const node = &d->inner[level];
    enum ramet_rc rc;

    assert(level >= 1 && level <= RAMET_MAP_LEVEL_MAX);
    rc = ramet_history_load_inner(d->history, ref, level, index, node, err);
    if (rc == RAMET_OK)
        rc = add_absent(d, node, err);
    if (rc == RAMET_OK && level == 1)
        return add_leaves(d, node, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < RAMET_INNER_CHILDREN; i++) {
        if (node->children[i].length_bytes > 0 &&
            node->children[i].latest > d->since)
            rc = add_node(d, &node->children[i], level - 1,
                          index * RAMET_INNER_CHILDREN + i, err);
    }
    return rc;
}

/* A tree may be of an LSN at which there were fewer pages: what its root says of
 * pages that are not there goes for those beyond it, too. */
static enum ramet_rc
add_beyond(struct descent *d, const struct ramet_map_root *root,
           const struct ramet_loaded_node *node, struct ramet_err *err)
{
    uint64_t latest, gone;
    const enum ramet_rc rc =
        ramet_node_times(node->bytes, node->ref.length_bytes, root->level, 0,
                         &latest, &gone, err);

    assert(root->level <= RAMET_MAP_LEVEL_MAX);
    if (rc != RAMET_OK || gone <= d->since)
        return rc;
    return add_run(d->set, ramet_node_span(root->level) + 1, UINT32_MAX, err);
}

static enum ramet_rc
add_tree(struct descent *d, const struct ramet_map_root *root,
         struct ramet_err *err)
{
    const struct ramet_node_ref *const refs[1] = {&root->top.tree};
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(root->level <= RAMET_MAP_LEVEL_MAX);
    if (root->top.tree_lsn <= d->since)
        return RAMET_OK;
    if (root->top.tree.length_bytes == 0) /* it can't say what was cut off */
        return add_run(d->set, 1, UINT32_MAX, err);
    rc = ramet_history_load_nodes(d->history, refs, 1, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    rc = add_beyond(d, root, ramet_loaded_node(entry), err);
    if (rc == RAMET_OK && root->level == 0)
        rc = add_leaf(d, entry, 0, err);
    ramet_history_release(d->history, entry);
    if (rc == RAMET_OK && root->level > 0)
        rc = add_node(d, &root->top.tree, root->level, 0, err);
    return rc;
}

static enum ramet_rc
add_piece(struct descent *d, const struct ramet_lru_entry *entry,
          const struct ramet_piece_ref *ref, struct ramet_err *err)
{
    struct ramet_run_walk *const runs = &d->piece.runs;
    bool more = true;
    enum ramet_rc rc;

    assert(ref->first >= 1 && ref->first <= ref->last);
    rc = ramet_piece_start(&d->piece, ramet_loaded_node(entry)->bytes,
                           &d->history->volume, ref, err);
    while (rc == RAMET_OK && more) {
        rc = ramet_piece_next(&d->piece, &more, err);
        if (rc == RAMET_OK && more && runs->lsn > d->since)
            rc = add_run(d->set, runs->start, runs->next - 1, err);
    }
    return rc;
}

/* The pieces of a roll-up that have something later, many at once. */
static enum ramet_rc
add_rollup(struct descent *d, const struct ramet_rollup *rollup,
           struct ramet_err *err)
{
    const struct ramet_piece_ref *pieces[PIECES_AT_ONCE];
    const struct ramet_node_ref *refs[PIECES_AT_ONCE];
    struct ramet_lru_entry *entries[PIECES_AT_ONCE];
    enum ramet_rc rc = RAMET_OK;

    assert(rollup->from < rollup->to && rollup->to > d->since);
    for (unsigned i = 0; rc == RAMET_OK && i < rollup->piece_count;) {
        size_t count = 0;

        for (; i < rollup->piece_count && count < PIECES_AT_ONCE; i++) {
            if (rollup->pieces[i].node.latest <= d->since)
                continue;
            pieces[count] = &rollup->pieces[i];
            refs[count++] = &rollup->pieces[i].node;
        }
        rc = ramet_history_load_nodes(d->history, refs, count, entries, err);
        if (rc != RAMET_OK)
            return rc;
        for (size_t n = 0; rc == RAMET_OK && n < count; n++)
            rc = add_piece(d, entries[n], pieces[n], err);
        ramet_history_release_nodes(d->history, entries, count);
    }
    if (rc == RAMET_OK && rollup->gone > d->since)
        rc = add_run(d->set, (uint64_t)rollup->least + 1, UINT32_MAX, err);
    return rc;
}

static enum ramet_rc
add_map(struct descent *d, const struct ramet_map_ref *map,
        struct ramet_err *err)
{
    struct ramet_map_root root;
    enum ramet_rc rc;

    assert(map->lsn >= d->since);
    rc = ramet_map_root_open(d->history, map, &root, err);
    if (rc != RAMET_OK)
        return rc;
    for (unsigned r = 0; rc == RAMET_OK && r < root.top.count; r++) {
        if (root.top.rollups[r].to > d->since)
            rc = add_rollup(d, &root.top.rollups[r], err);
    }
    if (rc == RAMET_OK)
        rc = add_tree(d, &root, err);
    ramet_map_root_close(&root);
    return rc;
}

/* What the heads between a map and its LSN changed. */
static enum ramet_rc
add_commits(struct ramet_pageset *set, const struct ramet_overlay *overlay,
            struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(overlay->commit_count <= RAMET_MAP_EVERY_COMMITS);
    for (unsigned i = 0; rc == RAMET_OK && i < overlay->commit_count; i++)
        rc = add_commit(set, overlay->commits[i], err);
    return rc;
}

/* All that changed since `from`, which is not past the map of `to`. */
static enum ramet_rc
collect_far(const struct ramet_overlay *to, const struct ramet_head *from,
            struct ramet_pageset *set, struct ramet_err *err)
{
    struct descent *const d = ramet_calloc(1, sizeof(*d));
    enum ramet_rc rc;

    assert(from->lsn >= 1);
    if (d == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "walking a map");
    assert(from->lsn <= to->map.lsn);
    d->history = to->history;
    d->set = set;
    d->since = from->lsn;
    rc = add_map(d, &to->map, err);
    ramet_free(d);
    if (rc == RAMET_OK)
        rc = add_commits(set, to, err);
    return rc == RAMET_OK
               ? add_run(set, (uint64_t)from->page_count + 1, UINT32_MAX, err)
               : rc;
}

static enum ramet_rc
compare_far(struct ramet_history *history, const struct ramet_point *from,
            const struct ramet_point *to, struct ramet_pageset *set,
            struct ramet_err *err)
{
    struct ramet_head base;
    struct ramet_overlay overlay;
    enum ramet_rc rc;

    assert(from->lsn >= 1 && from->lsn < to->lsn);
    rc = ramet_history_head_of(history, from, &base, err);
    if (rc == RAMET_OK)
        rc = ramet_overlay_open(history, to, &overlay, err);
    if (rc != RAMET_OK)
        return rc;
    if (base.page_size != overlay.page_size)
        rc = add_run(set, 1, UINT32_MAX, err);
    else
        rc = collect_far(&overlay, &base, set, err);
    ramet_overlay_close(&overlay);
    return rc;
}

/* Is `rc` because one of the two is not of the store's line any more? */
static enum ramet_rc
blame_ends(struct ramet_history *history, const struct ramet_point *from,
           const struct ramet_point *to, enum ramet_rc rc,
           struct ramet_err *err)
{
    assert(from->lsn <= to->lsn);
    if (from->lsn > 0)
        rc = ramet_history_blame(history, from, rc, err);
    return to->lsn > from->lsn ? ramet_history_blame(history, to, rc, err) : rc;
}

/* Are the heads between fewer requests than a map, or the only ones to tell? */
static bool
is_near(const struct ramet_history *history, const struct ramet_point *from,
        const struct ramet_head *to)
{
    const bool is_paid = (history->store->traits & RAMET_STORE_IS_PAID) != 0;
    const unsigned dear = is_paid ? RAMET_HEADS_DEAR : RAMET_MAP_EVERY_COMMITS;

    assert(from->lsn <= to->lsn && to->map_lsn <= to->lsn);
    return from->lsn > to->map_lsn || to->lsn - from->lsn <= dear;
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

    assert(out_set != NULL);
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
    else if (is_near(history, from, &head))
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
