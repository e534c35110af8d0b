/*
 * mapbuild.c - the tree of a page map: that below an overlay of heads and roll-ups,
 * changed by what they say.
 *
 * The leaves that may differ are walked in order; of the inner nodes only the
 * path to the current leaf is open. A node that comes out as it was is
 * pointed at where it already is; the others are streamed out, children
 * first, the root last.
 *
 *   (1) Memory: one node a level, and what the overlay and the sets of pages take.
 *   (2) The root is always written anew, so that a map is one object by which
 *       it can be found, unless no page lies anywhere.
 *   (3) Pages above `cut`, the least page count of overlay and roll-ups, are not
 *       taken from the old tree.
 *   (4) A page that is in no node, and was somewhere at an LSN that the old map
 *       or the overlay knows, lies below a node whose `gone` is the new LSN; and a
 *       node that is made where there was none takes over its parent's.
 */
#include "metastore/mapbuild.h"

#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/head_cache.h"
#include "metastore/mapnode.h"
#include "metastore/node_cache.h"
#include "metastore/overlay.h"

/* ---- the tree ------------------------------------------------------------ */

struct open_node {
    bool open;
    struct ramet_node_ref old; /* what stood in this place */
    struct ramet_inner inner;
};

struct builder {
    const struct ramet_overlay *overlay;
    const struct ramet_map_root *old;
    const struct ramet_pageset *rolled; /* pages that its roll-ups have */
    struct ramet_map_writer *writer;
    struct ramet_pageset touched; /* pages whose leaves are made again */
    struct ramet_buf scratch;
    uint64_t lsn;
    uint64_t cut;       /* invariant (3) */
    uint32_t end;       /* the last page, if any were cut off; else 0 */
    bool rolled_cut;    /* a roll-up cut pages off, which no set here has */
    uint64_t root_gone; /* the least that the root's `gone` may be */
    struct ramet_node_ref old_root;
    unsigned old_level, top_level;
    struct ramet_node_ref root;
    struct open_node nodes[RAMET_MAP_LEVEL_MAX + 1]; /* [0] is not used */
    struct ramet_leaf leaf;
    struct ramet_located found[RAMET_LEAF_PAGES];
};

static void
raise_gone(uint64_t *gone, uint64_t lsn)
{
    assert(gone != NULL);
    if (*gone < lsn)
        *gone = lsn;
}

/* The old tree's node 0 of `level`, which is not above its root. */
static enum ramet_rc
descend_old(struct builder *b, unsigned level, struct ramet_node_ref *out,
            struct ramet_err *err)
{
    struct ramet_node_ref ref = b->old_root;

    assert(level <= b->old_level && level <= RAMET_MAP_LEVEL_MAX);
    for (unsigned at = b->old_level; at > level && ref.length_bytes > 0; at--) {
        const enum ramet_rc rc = ramet_history_load_inner(
            b->overlay->history, &ref, at, 0, &b->nodes[level].inner, err);

        if (rc != RAMET_OK)
            return rc;
        ref = b->nodes[level].inner.children[0];
    }
    *out = ref;
    return RAMET_OK;
}

/* What the old map has in the place of a node whose parent is open. */
static enum ramet_rc
find_old(struct builder *b, unsigned level, uint32_t index,
         struct ramet_node_ref *out, struct ramet_err *err)
{
    assert(level <= b->top_level);
    memset(out, 0, sizeof(*out));
    if (b->old_root.length_bytes == 0 ||
        (uint64_t)index * ramet_node_span(level) >= b->cut)
        return RAMET_OK;
    if (level == b->top_level) {
        if (level <= b->old_level)
            return descend_old(b, level, out, err);
        return RAMET_OK; /* above the old root: open_inner() puts it in */
    }
    assert(b->nodes[level + 1].open);
    *out = b->nodes[level + 1].inner.children[index % RAMET_INNER_CHILDREN];
    return RAMET_OK;
}

static void
drop_cut_children(struct builder *b, struct ramet_inner *inner)
{
    const uint64_t span = ramet_node_span(inner->level - 1);

    assert(inner->level >= 1 && inner->level <= RAMET_MAP_LEVEL_MAX);
    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++) {
        const uint64_t before =
            ((uint64_t)inner->index * RAMET_INNER_CHILDREN + i) * span;

        if (before < b->cut || inner->children[i].length_bytes == 0)
            continue;
        memset(&inner->children[i], 0, sizeof(inner->children[i]));
        raise_gone(&inner->gone, b->lsn);
    }
}

/* Invariant (4), of a node that was just opened; `made`: there was none. */
static void
inherit_gone(const struct builder *b, unsigned level, uint32_t index, bool made,
             uint64_t *gone)
{
    assert(level <= b->top_level);
    assert(level == b->top_level || !made || b->nodes[level + 1].open);
    if (level == b->top_level)
        raise_gone(gone, b->root_gone);
    else if (made)
        raise_gone(gone, b->nodes[level + 1].inner.gone);
    if ((b->end != 0 && ramet_node_index_of(b->end, level) == index) ||
        (b->rolled_cut &&
         ((uint64_t)index + 1) * ramet_node_span(level) > b->cut))
        raise_gone(gone, b->lsn);
}

static enum ramet_rc
open_inner(struct builder *b, unsigned level, uint32_t index,
           struct ramet_err *err)
{
    struct open_node *const node = &b->nodes[level];
    enum ramet_rc rc;

    assert(!node->open);
    assert(level >= 1 && level <= b->top_level);
    rc = find_old(b, level, index, &node->old, err);
    if (rc != RAMET_OK)
        return rc;
    if (node->old.length_bytes > 0) {
        rc = ramet_history_load_inner(b->overlay->history, &node->old, level,
                                      index, &node->inner, err);
        if (rc != RAMET_OK)
            return rc;
    } else {
        memset(&node->inner, 0, sizeof(node->inner));
        node->inner.level = level;
        node->inner.index = index;
        if (index == 0 && level == b->old_level + 1)
            node->inner.children[0] = b->old_root; /* the tree grew */
    }
    drop_cut_children(b, &node->inner);
    inherit_gone(b, level, index, node->old.length_bytes == 0,
                 &node->inner.gone);
    node->open = true;
    return RAMET_OK;
}

/* Put the node in `scratch` into its parent, as the old one if it is equal. Of
 * one that is empty the parent keeps when its pages were lost. */
static enum ramet_rc
place_node(struct builder *b, unsigned level, uint32_t index,
           const struct ramet_node_ref *old, uint64_t latest, uint64_t gone,
           struct ramet_err *err)
{
    struct ramet_node_ref ref = {.length_bytes = 0};
    const bool is_root = level == b->top_level;

    assert(is_root || b->nodes[level + 1].open);
    if (b->scratch.len > 0) {
        const struct ramet_hash hash =
            ramet_hash128(b->scratch.data, b->scratch.len);

        if (!is_root && old->length_bytes == b->scratch.len &&
            ramet_hash_equal(&old->hash, &hash)) {
            ref = *old;
        } else {
            const enum ramet_rc rc =
                ramet_map_writer_add(b->writer, &b->scratch, &ref, err);

            if (rc != RAMET_OK)
                return rc;
            ref.latest = latest;
        }
    }
    if (ref.length_bytes == 0 && !is_root)
        raise_gone(&b->nodes[level + 1].inner.gone, gone);
    if (is_root)
        b->root = ref;
    else
        b->nodes[level + 1].inner.children[index % RAMET_INNER_CHILDREN] = ref;
    return RAMET_OK;
}

static enum ramet_rc
close_inner(struct builder *b, unsigned level, struct ramet_err *err)
{
    struct open_node *const node = &b->nodes[level];
    bool empty = true;

    assert(node->open && node->inner.level == level);
    for (unsigned i = 0; i < RAMET_INNER_CHILDREN; i++)
        empty = empty && node->inner.children[i].length_bytes == 0;
    ramet_buf_clear(&b->scratch);
    if (!empty)
        ramet_inner_encode(&node->inner, &b->scratch);
    if (b->scratch.failed != RAMET_OK)
        return RAMET_FAIL(err, b->scratch.failed, "page map: inner node");
    node->open = false;
    return place_node(b, level, node->inner.index, &node->old,
                      ramet_inner_latest(&node->inner), node->inner.gone, err);
}

/* Open the path to a leaf, closing what lies off it. */
static enum ramet_rc
open_path(struct builder *b, uint32_t leaf_index, struct ramet_err *err)
{
    unsigned stale = 0; /* the highest open level that lies off the path */
    enum ramet_rc rc;

    assert(b->top_level <= RAMET_MAP_LEVEL_MAX);
    for (unsigned level = 1; level <= b->top_level; level++) {
        if (b->nodes[level].open &&
            b->nodes[level].inner.index !=
                (uint32_t)((uint64_t)leaf_index >> (8 * level)))
            stale = level;
    }
    for (unsigned level = 1; level <= stale; level++) {
        rc = close_inner(b, level, err);
        if (rc != RAMET_OK)
            return rc;
    }
    for (unsigned level = b->top_level; level >= 1; level--) {
        if (b->nodes[level].open)
            continue;
        rc = open_inner(b, level,
                        (uint32_t)((uint64_t)leaf_index >> (8 * level)), err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

static enum ramet_rc
load_old_leaf(struct builder *b, const struct ramet_node_ref *old,
              uint32_t index, struct ramet_err *err)
{
    struct ramet_history *const history = b->overlay->history;
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(b->top_level == 0 || b->nodes[1].open);
    memset(&b->leaf, 0, sizeof(b->leaf));
    b->leaf.index = index;
    if (old->length_bytes == 0) {
        inherit_gone(b, 0, index, true, &b->leaf.gone);
        return RAMET_OK;
    }
    rc = ramet_history_load_nodes(history, &old, 1, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_leaf_decode(ramet_loaded_node(entry)->bytes, old->length_bytes,
                           &history->volume, index, &b->leaf, err);
    ramet_history_release(history, entry);
    if (rc != RAMET_OK)
        return rc;
    for (unsigned i = 0; i < RAMET_LEAF_PAGES; i++) {
        if ((uint64_t)index * RAMET_LEAF_PAGES + i < b->cut ||
            b->leaf.pages[i].image.page_count == 0)
            continue;
        memset(&b->leaf.pages[i], 0, sizeof(b->leaf.pages[i]));
        raise_gone(&b->leaf.gone, b->lsn);
    }
    inherit_gone(b, 0, index, false, &b->leaf.gone);
    return RAMET_OK;
}

/* Did any commit of the overlay, or any roll-up, have something of this page? */
static bool
had(const struct builder *b, uint32_t pgno)
{
    const struct ramet_overlay *const overlay = b->overlay;

    assert(pgno >= 1);
    for (unsigned i = 0; i < overlay->commit_count; i++) {
        if (ramet_pageset_contains(&overlay->commits[i]->changed, pgno) ||
            ramet_pageset_contains(&overlay->commits[i]->deltas.pages, pgno))
            return true;
    }
    return ramet_pageset_contains(b->rolled, pgno);
}

/* Apply the overlay to the leaf of `pgno`; *out_next is the first touched page
 * after it. */
static enum ramet_rc
apply_overlay(struct builder *b, uint32_t pgno, uint32_t *out_next,
              struct ramet_err *err)
{
    uint32_t pgnos[RAMET_LEAF_PAGES];
    size_t count = 0;
    enum ramet_rc rc;

    assert(pgno >= 1);
    while (pgno != 0 && (pgno - 1) / RAMET_LEAF_PAGES == b->leaf.index) {
        pgnos[count++] = pgno;
        assert(count <= RAMET_LEAF_PAGES);
        pgno = ramet_pageset_next(&b->touched, pgno);
    }
    *out_next = pgno;
    rc = ramet_overlay_locate(b->overlay, pgnos, count, b->found, err);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++) {
        struct ramet_located *const page =
            &b->leaf.pages[(pgnos[i] - 1) % RAMET_LEAF_PAGES];

        if (b->found[i].image.page_count == 0 &&
            (page->image.page_count > 0 || had(b, pgnos[i])))
            raise_gone(&b->leaf.gone, b->lsn); /* invariant (4) */
        *page = b->found[i];
    }
    return rc;
}

static enum ramet_rc
make_leaf(struct builder *b, uint32_t pgno, uint32_t *out_next,
          struct ramet_err *err)
{
    const uint32_t index = (pgno - 1) / RAMET_LEAF_PAGES;
    struct ramet_node_ref old;
    bool empty = true;
    enum ramet_rc rc;

    assert(pgno >= 1);
    rc = open_path(b, index, err);
    if (rc != RAMET_OK)
        return rc;
    rc = find_old(b, 0, index, &old, err);
    if (rc != RAMET_OK)
        return rc;
    rc = load_old_leaf(b, &old, index, err);
    if (rc != RAMET_OK)
        return rc;
    rc = apply_overlay(b, pgno, out_next, err);
    if (rc != RAMET_OK)
        return rc;
    for (unsigned i = 0; i < RAMET_LEAF_PAGES; i++)
        empty = empty && b->leaf.pages[i].image.page_count == 0;
    ramet_buf_clear(&b->scratch);
    if (!empty) {
        rc = ramet_leaf_encode(&b->leaf, &b->scratch, err);
        if (rc != RAMET_OK)
            return rc;
    }
    if (b->scratch.failed != RAMET_OK)
        return RAMET_FAIL(err, b->scratch.failed, "page map: leaf");
    return place_node(b, 0, index, &old, ramet_leaf_latest(&b->leaf),
                      b->leaf.gone, err);
}

/* The pages whose leaves may differ: what overlay and roll-ups changed, the border
 * of the cut, the end if anything was cut off, and page 1, so that the root is made
 * in any case. */
static enum ramet_rc
collect_touched(struct builder *b, struct ramet_err *err)
{
    const struct ramet_overlay *const overlay = b->overlay;
    enum ramet_rc rc = ramet_pageset_add_set(&b->touched, b->rolled);

    assert(b->end == 0 || b->end == overlay->page_count);
    for (unsigned i = 0; rc == RAMET_OK && i < overlay->commit_count; i++)
        rc = ramet_pageset_add_set(&b->touched, &overlay->commits[i]->changed);
    for (unsigned i = 0; rc == RAMET_OK && i < overlay->commit_count; i++)
        rc = ramet_pageset_add_set(&b->touched,
                                   &overlay->commits[i]->deltas.pages);
    if (rc == RAMET_OK && overlay->page_count > 0)
        rc = ramet_pageset_add(&b->touched, 1);
    if (rc == RAMET_OK && b->cut > 0 && b->cut <= overlay->page_count)
        rc = ramet_pageset_add(&b->touched, (uint32_t)b->cut);
    if (rc == RAMET_OK && b->end != 0)
        rc = ramet_pageset_add(&b->touched, b->end);
    if (rc != RAMET_OK)
        return RAMET_FAIL(err, rc, "page map: set of changed pages");
    ramet_pageset_truncate(&b->touched, overlay->page_count);
    return RAMET_OK;
}

/* Did a commit of the overlay cut off what an older one of it, or a roll-up, had? */
static bool
anything_cut(const struct builder *b)
{
    const struct ramet_overlay *const overlay = b->overlay;

    assert(b->overlay->commit_count <= RAMET_MAP_EVERY_COMMITS + 1);
    for (unsigned i = 1; i < overlay->commit_count; i++) {
        if (overlay->commits[i - 1]->least_page_count <
            overlay->commits[i]->page_count)
            return true;
    }
    return overlay->commit_count > 0 &&
           ramet_pageset_next(b->rolled, ramet_overlay_least(overlay)) != 0;
}

/* The least page count of the overlay and the roll-ups; all, if there are none. */
static uint64_t
least_of_all(const struct builder *b)
{
    uint64_t least = b->overlay->commit_count > 0
                         ? ramet_overlay_least(b->overlay)
                         : UINT64_MAX;

    assert(b->old->top.count <= RAMET_ROLLUPS_MAX);
    for (unsigned i = 0; i < b->old->top.count; i++) {
        if (b->old->top.rollups[i].least < least)
            least = b->old->top.rollups[i].least;
    }
    return least;
}

/* The old tree's root, and what is lost of its tree as a whole. */
static enum ramet_rc
load_old_root(struct builder *b, struct ramet_err *err)
{
    const struct ramet_overlay *const overlay = b->overlay;
    const struct ramet_node_ref *const root = &b->old_root;
    struct ramet_lru_entry *entry;
    enum ramet_rc rc;

    assert(b->old->level <= RAMET_MAP_LEVEL_MAX);
    b->old_root = b->old->top.tree;
    b->old_level = b->old->level;
    b->root_gone =
        b->old->top.tree_lsn; /* an empty tree has no room to say it */
    if (root->length_bytes == 0)
        return RAMET_OK;
    rc = ramet_history_load_nodes(overlay->history, &root, 1, &entry, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_node_times(ramet_loaded_node(entry)->bytes, root->length_bytes,
                          b->old_level, 0, &b->old_root.latest, &b->root_gone,
                          err);
    ramet_history_release(overlay->history, entry);
    if (b->cut == 0 || b->top_level < b->old_level)
        b->root_gone = b->lsn;
    return rc;
}

static enum ramet_rc
build_tree(struct builder *b, struct ramet_err *err)
{
    const struct ramet_overlay *const overlay = b->overlay;
    uint32_t pgno;
    enum ramet_rc rc;

    b->cut = least_of_all(b);
    for (unsigned i = 0; i < b->old->top.count; i++)
        b->rolled_cut = b->rolled_cut || b->old->top.rollups[i].gone != 0;
    b->end = anything_cut(b) ? overlay->page_count : 0;
    b->top_level = ramet_map_level_for(overlay->page_count);
    rc = load_old_root(b, err);
    if (rc == RAMET_OK)
        rc = collect_touched(b, err);
    if (rc != RAMET_OK)
        return rc;
    pgno = ramet_pageset_next(&b->touched, 0);
    while (pgno != 0) {
        rc = make_leaf(b, pgno, &pgno, err);
        if (rc != RAMET_OK)
            return rc;
    }
    for (unsigned level = 1; level <= b->top_level; level++) {
        if (!b->nodes[level].open)
            continue;
        rc = close_inner(b, level, err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_tree_build(const struct ramet_overlay *overlay,
                 const struct ramet_map_root *old,
                 const struct ramet_pageset *rolled,
                 struct ramet_map_writer *writer,
                 struct ramet_node_ref *out_root, struct ramet_err *err)
{
    struct builder *const b = ramet_calloc(1, sizeof(*b));
    enum ramet_rc rc;

    assert(writer->lsn >= 1 && rolled != NULL);
    if (b == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "page map of LSN %" PRIu64,
                          writer->lsn);
    b->overlay = overlay;
    b->old = old;
    b->rolled = rolled;
    b->writer = writer;
    b->lsn = writer->lsn;
    ramet_pageset_init(&b->touched);
    ramet_buf_init(&b->scratch, RAMET_NODE_BYTES_MAX);
    rc = build_tree(b, err);
    if (rc == RAMET_OK)
        *out_root = b->root;
    ramet_buf_done(&b->scratch);
    ramet_pageset_done(&b->touched);
    ramet_free(b);
    return rc;
}
