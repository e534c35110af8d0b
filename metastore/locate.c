/*
 * locate.c - from page numbers to where they lie; read.c goes on from there.
 *
 * A page is looked for in the heads past the map first, newest first, then in
 * the map's roll-ups, newest first, then in its tree, level by level, so that
 * nodes that lie together are read together. Where its last change is a delta, the
 * base image is looked for on the same way, from there on.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "metastore/first_page.h"
#include "metastore/head_cache.h"
#include "metastore/mapnode.h"
#include "metastore/maproot.h"
#include "metastore/node_cache.h"
#include "metastore/overlay.h"
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
    struct ramet_map_root root; /* of the map, once it is asked */
    bool has_root;
    struct pending pending[BATCH_PAGES]; /* ascending when it is walked */
    struct ramet_located found[BATCH_PAGES];
    size_t count;
    struct visit now[BATCH_PAGES];
    struct visit next[BATCH_PAGES];
    size_t now_count, next_count;
    union {
        struct ramet_inner inner;
        struct ramet_leaf leaf;
        struct ramet_piece_walk piece;
    } node;
};

/* ---- the tree ------------------------------------------------------------ */

static enum ramet_rc
walk_leaf(struct walk *walk, const struct visit *visit,
          const struct ramet_loaded_node *node, struct ramet_err *err)
{
    struct ramet_leaf *const leaf = &walk->node.leaf;
    enum ramet_rc rc;

    assert(visit->low < visit->high && visit->high <= BATCH_PAGES);
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

    assert(level >= 1 && walk->next_count < BATCH_PAGES);
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

    assert(level >= 1 && visit->low < visit->high);
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

    assert(level <= RAMET_MAP_LEVEL_MAX && walk->now_count <= BATCH_PAGES);
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
    assert(walk->next_count <= BATCH_PAGES);
    memcpy(walk->now, walk->next, walk->next_count * sizeof(walk->now[0]));
    walk->now_count = walk->next_count;
    return rc;
}

/* Find the first `count` of the pending pages in the tree; absent ones stay
 * zero. */
static enum ramet_rc
walk_tree(struct walk *walk, size_t count, struct ramet_err *err)
{
    const struct ramet_node_ref *const root = &walk->root.top.tree;
    unsigned level = walk->root.level;

    assert(count <= BATCH_PAGES && level <= RAMET_MAP_LEVEL_MAX);
    while (count > 0 && walk->pending[count - 1].pgno > ramet_node_span(level))
        count--; /* beyond what the root covers: zeros */
    if (root->length_bytes == 0 || count == 0)
        return RAMET_OK;
    walk->now[0] = (struct visit){*root, 0, 0, count};
    walk->now_count = 1;
    for (;; level--) {
        const enum ramet_rc rc = walk_level(walk, level, err);

        if (rc != RAMET_OK || level == 0)
            return rc;
    }
}

static int
compare_pending(const void *left, const void *right)
{
    const uint32_t a = ((const struct pending *)left)->pgno;
    const uint32_t b = ((const struct pending *)right)->pgno;

    assert(left != NULL && right != NULL);
    return a < b ? -1 : a > b;
}

/* Pages ascend, but for the names of bases among them. */
static void
sort_pending(struct walk *walk)
{
    assert(walk->count <= BATCH_PAGES);
    qsort(walk->pending, walk->count, sizeof(walk->pending[0]),
          compare_pending);
}

static enum ramet_rc
no_base(const struct pending *pending, struct ramet_err *err)
{
    assert(ramet_located_has_delta(pending->out));
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "a delta of LSN %" PRIu64 " is based on page %" PRIu32
                      ", which had no image",
                      pending->out->lsn, pending->pgno);
}

/* Give each pending page what the tree has of it. */
static enum ramet_rc
ask_tree(struct walk *walk, struct ramet_err *err)
{
    const size_t count = walk->count;
    enum ramet_rc rc;

    assert(count <= BATCH_PAGES && walk->has_root);
    sort_pending(walk);
    walk->count = 0;
    memset(walk->found, 0, count * sizeof(walk->found[0]));
    rc = walk_tree(walk, count, err);
    if (rc != RAMET_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        struct ramet_located *const out = walk->pending[i].out;

        if (!ramet_located_has_delta(out)) {
            *out = walk->found[i];
            continue;
        }
        if (walk->found[i].image.page_count == 0)
            return no_base(&walk->pending[i], err);
        out->image = walk->found[i].image;
        out->image_pgno = walk->found[i].image_pgno;
    }
    return RAMET_OK;
}

/* ---- roll-ups ------------------------------------------------------------- */

/* Keep `pending`, which may have another page now, for what is further down. */
static void
keep_pending(struct walk *walk, const struct pending *pending)
{
    assert(walk->count < BATCH_PAGES && pending->pgno >= 1);
    walk->pending[walk->count++] = *pending;
}

static void
take_run(struct walk *walk, struct pending pending,
         const struct ramet_located *said)
{
    struct ramet_located *const out = pending.out;

    assert(said->image.page_count > 0 || ramet_located_has_delta(said));
    if (!ramet_located_has_delta(out)) {
        *out = *said;
    } else {
        out->image = said->image;
        out->image_pgno = said->image_pgno;
    }
    pending.pgno = said->image_pgno;
    if (said->image.page_count == 0)
        keep_pending(walk, &pending);
}

static enum ramet_rc
take_absent(struct walk *walk, const struct ramet_rollup *rollup,
            const struct pending *pending, struct ramet_err *err)
{
    assert(pending->pgno >= 1);
    if (pending->pgno <= rollup->least)
        keep_pending(walk, pending);
    else if (ramet_located_has_delta(pending->out))
        return no_base(pending, err);
    return RAMET_OK; /* zeros, as it stands */
}

/* What a piece says of the pending pages [low, high), ascending. They are taken
 * out, and those that stay put in again at the front. */
static enum ramet_rc
ask_piece(struct walk *walk, const struct ramet_rollup *rollup,
          const struct ramet_piece_ref *piece,
          const struct ramet_lru_entry *entry, size_t low, size_t high,
          struct ramet_err *err)
{
    struct ramet_piece_walk *const at = &walk->node.piece;
    bool more = true;
    enum ramet_rc rc;

    assert(low < high && walk->count <= low);
    rc = ramet_piece_start(at, ramet_loaded_node(entry)->bytes,
                           &walk->history->volume, piece, err);
    for (size_t i = low; rc == RAMET_OK && i < high; i++) {
        const struct pending pending = walk->pending[i];

        while (rc == RAMET_OK && more &&
               (!at->runs.any || at->runs.next <= pending.pgno))
            rc = ramet_piece_next(at, &more, err);
        if (rc != RAMET_OK)
            return rc;
        if (more && at->runs.start <= pending.pgno) {
            const struct ramet_located said =
                ramet_runs_page(&at->runs, pending.pgno);

            take_run(walk, pending, &said);
        } else {
            rc = take_absent(walk, rollup, &pending, err);
        }
    }
    return rc;
}

/* The pieces of a roll-up that may have pending pages, which are sorted. */
static size_t
pieces_wanted(const struct walk *walk, const struct ramet_rollup *rollup,
              const struct ramet_piece_ref **pieces)
{
    size_t count = 0;

    for (size_t i = 0; i < walk->count; i++) {
        const struct ramet_piece_ref *const piece =
            ramet_rollup_piece(rollup, walk->pending[i].pgno);

        if (piece != NULL && (count == 0 || pieces[count - 1] != piece))
            pieces[count++] = piece;
    }
    assert(count <= walk->count);
    return count;
}

static enum ramet_rc
ask_rollup(struct walk *walk, const struct ramet_rollup *rollup,
           struct ramet_err *err)
{
    const struct ramet_piece_ref *pieces[BATCH_PAGES];
    const struct ramet_node_ref *refs[BATCH_PAGES];
    struct ramet_lru_entry *entries[BATCH_PAGES];
    const size_t count = walk->count;
    size_t wanted, piece = 0;
    enum ramet_rc rc;

    assert(count > 0 && count <= BATCH_PAGES);
    sort_pending(walk);
    wanted = pieces_wanted(walk, rollup, pieces);
    for (size_t i = 0; i < wanted; i++)
        refs[i] = &pieces[i]->node;
    rc = ramet_history_load_nodes(walk->history, refs, wanted, entries, err);
    if (rc != RAMET_OK)
        return rc;
    walk->count = 0;
    for (size_t low = 0; rc == RAMET_OK && low < count;) {
        const uint32_t pgno = walk->pending[low].pgno;
        size_t high = low + 1;

        while (piece < wanted && pieces[piece]->last < pgno)
            piece++;
        if (piece == wanted || pieces[piece]->first > pgno) {
            const struct pending absent = walk->pending[low];

            rc = take_absent(walk, rollup, &absent, err);
        } else {
            while (high < count &&
                   walk->pending[high].pgno <= pieces[piece]->last)
                high++;
            rc = ask_piece(walk, rollup, pieces[piece], entries[piece], low,
                           high, err);
        }
        low = high;
    }
    ramet_history_release_nodes(walk->history, entries, wanted);
    return rc;
}

/* ---- all of it ------------------------------------------------------------ */

/* Of each pending page what is missing on its way down the tree, if it goes through
 * it: added to `refs`, which has room for as many as are read at once. */
static enum ramet_rc
add_missing(const struct walk *walk, struct ramet_node_ref *missing,
            const struct ramet_node_ref **refs, size_t *count,
            struct ramet_err *err)
{
    size_t found = 0;
    enum ramet_rc rc = RAMET_OK;

    assert(*count <= RAMET_NODES_AT_ONCE);
    for (size_t i = 0;
         rc == RAMET_OK && i < walk->count && *count < RAMET_NODES_AT_ONCE &&
         walk->pending[i].pgno <= ramet_node_span(walk->root.level);
         i++) {
        struct ramet_node_ref *const next = &missing[found];

        rc = ramet_map_root_missing(walk->history, &walk->root,
                                    walk->pending[i].pgno, next, err);
        if (rc != RAMET_OK || next->length_bytes == 0 ||
            (found > 0 && ramet_node_ref_equal(next, next - 1)))
            continue;
        refs[(*count)++] = &missing[found++];
    }
    return rc;
}

/* A cold reader waits once, not once a roll-up, where a request takes its time:
 * what the pending pages, which are sorted, may need of all roll-ups and next of the
 * tree is read at once. */
static enum ramet_rc
read_ahead(struct walk *walk, struct ramet_err *err)
{
    const struct ramet_top *const top = &walk->root.top;
    const struct ramet_piece_ref *pieces[BATCH_PAGES];
    struct ramet_node_ref missing[RAMET_NODES_AT_ONCE];
    const struct ramet_node_ref *refs[RAMET_NODES_AT_ONCE];
    struct ramet_lru_entry *entries[RAMET_NODES_AT_ONCE];
    size_t count = 0;
    enum ramet_rc rc;

    assert(top->count > 0 && top->count <= RAMET_ROLLUPS_MAX);
    for (unsigned r = 0; r < top->count; r++) {
        const size_t wanted = pieces_wanted(walk, &top->rollups[r], pieces);

        for (size_t i = 0; i < wanted && count < RAMET_NODES_AT_ONCE; i++)
            refs[count++] = &pieces[i]->node;
    }
    rc = add_missing(walk, missing, refs, &count, err);
    if (rc == RAMET_OK)
        rc = ramet_history_load_nodes(walk->history, refs, count, entries, err);
    if (rc == RAMET_OK)
        ramet_history_release_nodes(walk->history, entries, count);
    return rc;
}

/* Give each pending page what the map has of it, its first `depth` roll-ups only
 * where that is less than all. */
static enum ramet_rc
ask_map(struct walk *walk, const struct ramet_map_ref *map, unsigned depth,
        struct ramet_err *err)
{
    const struct ramet_top *const top = &walk->root.top;
    enum ramet_rc rc = RAMET_OK;

    assert(walk->count > 0 && walk->count <= BATCH_PAGES);
    if (!walk->has_root)
        rc = ramet_map_root_open(walk->history, map, &walk->root, err);
    if (rc != RAMET_OK)
        return rc;
    walk->has_root = true;
    if (depth == RAMET_WHOLE_MAP && top->count > 0 &&
        (walk->history->store->traits & RAMET_STORE_IS_PAID) != 0) {
        sort_pending(walk);
        rc = read_ahead(walk, err);
    }
    for (unsigned r = 0;
         rc == RAMET_OK && r < top->count && r < depth && walk->count > 0; r++)
        rc = ask_rollup(walk, &top->rollups[r], err);
    if (rc != RAMET_OK || walk->count == 0)
        return rc;
    if (depth == RAMET_WHOLE_MAP)
        return ask_tree(walk, err);
    for (size_t i = 0; i < walk->count; i++)
        walk->pending[i].out->image_pgno = walk->pending[i].pgno;
    walk->count = 0;
    return RAMET_OK;
}

enum ramet_rc
ramet_overlay_check_wanted(const struct ramet_overlay *overlay,
                           const uint32_t *pgnos, size_t count,
                           struct ramet_err *err)
{
    assert(pgnos != NULL || count == 0);
    for (size_t i = 0; i < count; i++) {
        if (pgnos[i] == 0 || pgnos[i] > overlay->page_count)
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "page %u: this snapshot has %u pages", pgnos[i],
                              overlay->page_count);
        assert(i == 0 || pgnos[i] > pgnos[i - 1]);
    }
    return RAMET_OK;
}

/* Give each page that a commit past the map has its frame: commits[i] is that of
 * pgnos[i], or NULL. */
static enum ramet_rc
ask_tables(const struct ramet_overlay *overlay, uint32_t last_wanted,
           const struct ramet_commit_object *const *commits, size_t count,
           struct ramet_located *io_located, struct ramet_err *err)
{
    struct ramet_table_cursor cursor;
    enum ramet_rc rc =
        ramet_table_bring(overlay->history, commits, io_located, count, err);

    assert(commits != NULL);
    ramet_table_cursor_init(&cursor, overlay->history, last_wanted);
    for (size_t i = 0; i < count && rc == RAMET_OK; i++)
        if (commits[i] != NULL)
            rc = ramet_table_find(&cursor, commits[i], io_located[i].image_pgno,
                                  &io_located[i].image, err);
    ramet_table_cursor_done(&cursor);
    return rc;
}

/* Go through the pages; commits[i] says afterwards which has pgnos[i]. */
static enum ramet_rc
ask_heads_and_map(const struct ramet_overlay *overlay, struct walk *walk,
                  unsigned depth, const uint32_t *pgnos, size_t count,
                  struct ramet_located *out_located,
                  const struct ramet_commit_object **commits,
                  struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(walk->count == 0 && !walk->has_root);
    for (size_t i = 0; i < count && rc == RAMET_OK; i++) {
        struct ramet_located *const out = &out_located[i];
        enum ramet_overlay_answer answer;

        if (pgnos[i] == 1 && depth == RAMET_WHOLE_MAP &&
            !overlay->passes_over_first_page &&
            ramet_overlay_first_page(overlay, out))
            continue;
        rc = ramet_overlay_find(overlay, pgnos[i], &answer, out, &commits[i],
                                err);
        if (rc == RAMET_OK && answer == RAMET_OVERLAY_OLDER)
            walk->pending[walk->count++] =
                (struct pending){out->image_pgno, out};
        if (rc == RAMET_OK && walk->count == BATCH_PAGES)
            rc = ask_map(walk, &overlay->map, depth, err);
    }
    if (rc == RAMET_OK && walk->count > 0)
        rc = ask_map(walk, &overlay->map, depth, err);
    if (walk->has_root)
        ramet_map_root_close(&walk->root);
    return rc;
}

enum ramet_rc
ramet_overlay_locate_above(const struct ramet_overlay *overlay, unsigned depth,
                           const uint32_t *pgnos, size_t count,
                           struct ramet_located *out_located,
                           struct ramet_err *err)
{
    const struct ramet_commit_object **commits;
    struct walk *walk;
    enum ramet_rc rc;

    assert(out_located != NULL || count == 0);
    if (count == 0)
        return RAMET_OK;
    commits = ramet_calloc(count, sizeof(*commits));
    walk = ramet_alloc(sizeof(*walk));
    if (commits != NULL && walk != NULL) {
        walk->history = overlay->history;
        walk->has_root = false;
        walk->count = 0;
        rc = ask_heads_and_map(overlay, walk, depth, pgnos, count, out_located,
                               commits, err);
        if (rc == RAMET_OK)
            rc = ask_tables(overlay, pgnos[count - 1], commits, count,
                            out_located, err);
    } else {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "search of %zu pages", count);
    }
    ramet_free(walk);
    ramet_free(commits);
    return rc;
}

enum ramet_rc
ramet_overlay_locate(const struct ramet_overlay *overlay, const uint32_t *pgnos,
                     size_t count, struct ramet_located *out_located,
                     struct ramet_err *err)
{
    assert(overlay->history != NULL);
    return ramet_overlay_locate_above(overlay, RAMET_WHOLE_MAP, pgnos, count,
                                      out_located, err);
}

enum ramet_rc
ramet_history_locate(struct ramet_history *history,
                     const struct ramet_point *at, const uint32_t *pgnos,
                     size_t pgno_count, struct ramet_located *out_located,
                     struct ramet_err *err)
{
    struct ramet_overlay overlay;
    enum ramet_rc rc;

    assert(pgnos != NULL || pgno_count == 0);
    rc = ramet_overlay_open(history, at, &overlay, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_overlay_check_wanted(&overlay, pgnos, pgno_count, err);
    if (rc == RAMET_OK)
        rc =
            ramet_overlay_locate(&overlay, pgnos, pgno_count, out_located, err);
    ramet_overlay_close(&overlay);
    return ramet_history_blame(history, at, rc, err);
}
