/*
 * locate.c - from page numbers to where they lie; read.c goes on from there.
 *
 * A page is looked for in the heads past the map first, newest first, then in
 * the map, level by level, so that nodes that lie together are read together.
 * Where its last change is a delta, the base image is looked for on the same
 * way, from there on.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "metastore/chain.h"
#include "metastore/head_cache.h"
#include "metastore/mapnode.h"
#include "metastore/node_cache.h"
#include "metastore/table.h"

/* Pages that are taken through the map, or read, at once. */
#define BATCH_PAGES RAMET_NODES_AT_ONCE

/* A node to visit, and which of the wanted pages it covers. */
struct visit {
    struct ramet_node_ref ref;
    uint32_t index;
    size_t low, high; /* of the batch's pages */
};

/* A page to look for in the map, and for whom. */
struct pending {
    uint32_t pgno;
    struct ramet_located *out; /* with a delta: only its base is looked for */
};

/* One level's nodes, and the pages of a batch; on the heap for its size. */
struct walk {
    struct ramet_history *history;
    struct pending pending[BATCH_PAGES]; /* ascending when it is walked */
    struct ramet_located found[BATCH_PAGES];
    size_t count;
    struct visit now[BATCH_PAGES];
    struct visit next[BATCH_PAGES];
    size_t now_count, next_count;
    union {
        struct ramet_inner inner;
        struct ramet_leaf leaf;
    } node;
};

static enum ramet_rc
walk_leaf(struct walk *walk, const struct visit *visit,
          const struct ramet_loaded_node *node, struct ramet_err *err)
{
    struct ramet_leaf *const leaf = &walk->node.leaf;
    enum ramet_rc rc;

    if (visit->high - visit->low == 1)
        return ramet_leaf_find(
            node->bytes, node->ref.length_bytes, &walk->history->volume,
            walk->pending[visit->low].pgno, &walk->found[visit->low], err);
    rc = ramet_leaf_decode(node->bytes, node->ref.length_bytes,
                           &walk->history->volume, visit->index, leaf, err);

    if (rc != RAMET_OK)
        return rc;
    for (size_t i = visit->low; i < visit->high; i++)
        walk->found[i] =
            leaf->pages[(walk->pending[i].pgno - 1) % RAMET_LEAF_PAGES];
    return RAMET_OK;
}

/* A visit of one page: only its child is of interest. */
static enum ramet_rc
walk_to_child(struct walk *walk, const struct visit *visit, unsigned level,
              const struct ramet_loaded_node *node, struct ramet_err *err)
{
    struct visit *const next = &walk->next[walk->next_count];
    const uint32_t index =
        ramet_node_index_of(walk->pending[visit->low].pgno, level - 1);
    const enum ramet_rc rc = ramet_inner_find(
        node->bytes, node->ref.length_bytes, level, visit->index,
        index % RAMET_INNER_CHILDREN, &next->ref, err);

    if (rc != RAMET_OK || next->ref.length_bytes == 0)
        return rc; /* absent: the page stays zero */
    next->index = index;
    next->low = visit->low;
    next->high = visit->high;
    walk->next_count++;
    return RAMET_OK;
}

/* Split a visit's pages among the children of its node. */
static enum ramet_rc
walk_inner(struct walk *walk, const struct visit *visit, unsigned level,
           const struct ramet_loaded_node *node, struct ramet_err *err)
{
    struct ramet_inner *const inner = &walk->node.inner;
    size_t i = visit->low;
    enum ramet_rc rc;

    if (visit->high - visit->low == 1)
        return walk_to_child(walk, visit, level, node, err);
    rc = ramet_inner_decode(node->bytes, node->ref.length_bytes, level,
                            visit->index, inner, err);
    if (rc != RAMET_OK)
        return rc;
    while (i < visit->high) {
        const uint32_t index =
            ramet_node_index_of(walk->pending[i].pgno, level - 1);
        const struct ramet_node_ref *const child =
            &inner->children[index % RAMET_INNER_CHILDREN];
        const size_t low = i;

        while (i < visit->high &&
               ramet_node_index_of(walk->pending[i].pgno, level - 1) == index)
            i++;
        if (child->length_bytes > 0) /* absent: the pages stay zero */
            walk->next[walk->next_count++] =
                (struct visit){*child, index, low, i};
    }
    return RAMET_OK;
}

static enum ramet_rc
walk_level(struct walk *walk, unsigned level, struct ramet_err *err)
{
    const struct ramet_node_ref *refs[BATCH_PAGES];
    struct ramet_lru_entry *entries[BATCH_PAGES];
    enum ramet_rc rc;

    for (size_t i = 0; i < walk->now_count; i++)
        refs[i] = &walk->now[i].ref;
    rc = ramet_history_load_nodes(walk->history, refs, walk->now_count, entries,
                                  err);
    if (rc != RAMET_OK)
        return rc;
    walk->next_count = 0;
    for (size_t i = 0; rc == RAMET_OK && i < walk->now_count; i++) {
        const struct ramet_loaded_node *const node =
            ramet_loaded_node(entries[i]);

        rc = level == 0 ? walk_leaf(walk, &walk->now[i], node, err)
                        : walk_inner(walk, &walk->now[i], level, node, err);
    }
    ramet_history_release_nodes(walk->history, entries, walk->now_count);
    memcpy(walk->now, walk->next, walk->next_count * sizeof(walk->now[0]));
    walk->now_count = walk->next_count;
    return rc;
}

/* Find the first `count` of the pending pages in the map; absent ones stay
 * zero. */
static enum ramet_rc
walk_map(struct walk *walk, const struct ramet_map_ref *map, size_t count,
         struct ramet_err *err)
{
    struct ramet_node_ref root;
    unsigned level;
    enum ramet_rc rc;

    rc = ramet_history_load_root(walk->history, map, &root, &level, err);
    if (rc != RAMET_OK)
        return rc;
    while (count > 0 && walk->pending[count - 1].pgno > ramet_node_span(level))
        count--; /* beyond what the root covers: zeros */
    if (root.length_bytes == 0 || count == 0)
        return RAMET_OK;
    walk->now[0] = (struct visit){root, 0, 0, count};
    walk->now_count = 1;
    for (;; level--) {
        rc = walk_level(walk, level, err);
        if (rc != RAMET_OK || level == 0)
            return rc;
    }
}

static int
compare_pending(const void *left, const void *right)
{
    const uint32_t a = ((const struct pending *)left)->pgno;
    const uint32_t b = ((const struct pending *)right)->pgno;

    return a < b ? -1 : a > b;
}

/* Give each pending page what the map has of it. */
static enum ramet_rc
ask_map(struct walk *walk, const struct ramet_map_ref *map,
        struct ramet_err *err)
{
    const size_t count = walk->count;
    enum ramet_rc rc;

    walk->count = 0;
    /* Pages ascend, but for the names of bases among them. */
    qsort(walk->pending, count, sizeof(walk->pending[0]), compare_pending);
    memset(walk->found, 0, count * sizeof(walk->found[0]));
    rc = walk_map(walk, map, count, err);
    if (rc != RAMET_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        struct ramet_located *const out = walk->pending[i].out;

        if (!ramet_located_has_delta(out)) {
            *out = walk->found[i];
            continue;
        }
        if (walk->found[i].image.page_count == 0)
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "a delta of LSN %" PRIu64 " is based on page "
                              "%" PRIu32 ", which had no image",
                              out->lsn, walk->pending[i].pgno);
        out->image = walk->found[i].image;
        out->image_pgno = walk->found[i].image_pgno;
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_chain_check_wanted(const struct ramet_chain *chain, const uint32_t *pgnos,
                         size_t count, struct ramet_err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (pgnos[i] == 0 || pgnos[i] > chain->page_count)
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "page %u: this snapshot has %u pages", pgnos[i],
                              chain->page_count);
        assert(i == 0 || pgnos[i] > pgnos[i - 1]);
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_chain_locate(const struct ramet_chain *chain, const uint32_t *pgnos,
                   size_t count, struct ramet_located *out_located,
                   struct ramet_err *err)
{
    struct ramet_table_cursor cursor;
    struct walk *const walk = ramet_alloc(sizeof(*walk));
    enum ramet_rc rc = RAMET_OK;

    if (walk == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "search of %zu pages", count);
    walk->history = chain->history;
    walk->count = 0;
    ramet_table_cursor_init(&cursor, chain->history,
                            count > 0 ? pgnos[count - 1] : 0);
    for (size_t i = 0; i < count && rc == RAMET_OK; i++) {
        struct ramet_located *const out = &out_located[i];
        enum ramet_layer_answer answer;

        rc = ramet_chain_find(chain, &cursor, pgnos[i], &answer, out, err);
        if (rc == RAMET_OK && answer == RAMET_LAYER_OLDER)
            walk->pending[walk->count++] =
                (struct pending){out->image_pgno, out};
        if (rc == RAMET_OK && walk->count == BATCH_PAGES)
            rc = ask_map(walk, &chain->map, err);
    }
    if (rc == RAMET_OK && walk->count > 0)
        rc = ask_map(walk, &chain->map, err);
    ramet_table_cursor_done(&cursor);
    ramet_free(walk);
    return rc;
}

enum ramet_rc
ramet_history_locate(struct ramet_history *history,
                     const struct ramet_point *at, const uint32_t *pgnos,
                     size_t pgno_count, struct ramet_located *out_located,
                     struct ramet_err *err)
{
    struct ramet_chain chain;
    enum ramet_rc rc;

    rc = ramet_chain_open(history, at, &chain, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_chain_check_wanted(&chain, pgnos, pgno_count, err);
    if (rc == RAMET_OK)
        rc = ramet_chain_locate(&chain, pgnos, pgno_count, out_located, err);
    ramet_chain_close(&chain);
    return ramet_history_blame(history, at, rc, err);
}
