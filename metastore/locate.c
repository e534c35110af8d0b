/*
 * locate.c - from page numbers to frames, and from frames to pages.
 *
 * A page is looked for in the heads past the map first, newest first, then in
 * the map, level by level, so that nodes that lie together are read together.
 *
 *   (1) A frame is offered for a page only if this LSN finds the page in it:
 *       a frame may hold neighbours that were overwritten since.
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

/* One level's nodes, and the pages of a batch; on the heap for its size. */
struct walk {
    struct ramet_history *history;
    const uint32_t *pgnos; /* of the batch, ascending */
    struct ramet_frame **frames;
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
        return ramet_leaf_find(node->bytes, node->ref.length_bytes,
                               &walk->history->volume, walk->pgnos[visit->low],
                               walk->frames[visit->low], err);
    rc = ramet_leaf_decode(node->bytes, node->ref.length_bytes,
                           &walk->history->volume, visit->index, leaf, err);

    if (rc != RAMET_OK)
        return rc;
    for (size_t i = visit->low; i < visit->high; i++)
        *walk->frames[i] = leaf->pages[(walk->pgnos[i] - 1) % RAMET_LEAF_PAGES];
    return RAMET_OK;
}

/* A visit of one page: only its child is of interest. */
static enum ramet_rc
walk_to_child(struct walk *walk, const struct visit *visit, unsigned level,
              const struct ramet_loaded_node *node, struct ramet_err *err)
{
    struct visit *const next = &walk->next[walk->next_count];
    const uint32_t index =
        ramet_node_index_of(walk->pgnos[visit->low], level - 1);
    const enum ramet_rc rc = ramet_inner_find(
        node->bytes, node->ref.length_bytes, level, visit->index,
        index % RAMET_INNER_CHILDREN, &next->ref, err);

    if (rc != RAMET_OK || next->ref.length_bytes == 0)
        return rc; /* absent: the frame stays zero */
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
        const uint32_t index = ramet_node_index_of(walk->pgnos[i], level - 1);
        const struct ramet_node_ref *const child =
            &inner->children[index % RAMET_INNER_CHILDREN];
        const size_t low = i;

        while (i < visit->high &&
               ramet_node_index_of(walk->pgnos[i], level - 1) == index)
            i++;
        if (child->length_bytes > 0) /* absent: the frames stay zero */
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

/* Frames of up to BATCH_PAGES pages from the map; absent ones stay zero. */
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
    while (count > 0 && walk->pgnos[count - 1] > ramet_node_span(level))
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

static enum ramet_rc
check_wanted(const struct ramet_chain *chain, const uint32_t *pgnos,
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
                   size_t count, struct ramet_frame *out_frames,
                   struct ramet_err *err)
{
    uint32_t pending[BATCH_PAGES];
    struct ramet_frame *frames[BATCH_PAGES];
    struct ramet_table_cursor cursor;
    struct walk *const walk = ramet_alloc(sizeof(*walk));
    size_t pending_count = 0;
    enum ramet_rc rc = RAMET_OK;

    if (walk == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "search of %zu pages", count);
    walk->history = chain->history;
    walk->pgnos = pending;
    walk->frames = frames;
    ramet_table_cursor_init(&cursor, chain->history,
                            count > 0 ? pgnos[count - 1] : 0);
    for (size_t i = 0; i < count; i++) {
        enum ramet_layer_answer answer;

        memset(&out_frames[i], 0, sizeof(out_frames[i]));
        rc = ramet_chain_find(chain, &cursor, pgnos[i], &answer, &out_frames[i],
                              err);
        if (rc != RAMET_OK)
            break;
        if (answer == RAMET_LAYER_OLDER) {
            pending[pending_count] = pgnos[i];
            frames[pending_count++] = &out_frames[i];
        }
        if (pending_count == BATCH_PAGES ||
            (i + 1 == count && pending_count > 0)) {
            rc = walk_map(walk, &chain->map, pending_count, err);
            if (rc != RAMET_OK)
                break;
            pending_count = 0;
        }
    }
    ramet_table_cursor_done(&cursor);
    ramet_free(walk);
    return rc;
}

enum ramet_rc
ramet_history_locate(struct ramet_history *history,
                     const struct ramet_point *at, const uint32_t *pgnos,
                     size_t pgno_count, struct ramet_frame *out_frames,
                     struct ramet_err *err)
{
    struct ramet_chain chain;
    enum ramet_rc rc;

    rc = ramet_chain_open(history, at, &chain, err);
    if (rc != RAMET_OK)
        return rc;
    rc = check_wanted(&chain, pgnos, pgno_count, err);
    if (rc == RAMET_OK)
        rc = ramet_chain_locate(&chain, pgnos, pgno_count, out_frames, err);
    ramet_chain_close(&chain);
    return ramet_history_blame(history, at, rc, err);
}

/* ---- reading ------------------------------------------------------------- */

/* One batch of pages on its way: the wanted ones and, if asked for, those
 * that share their frames. */
struct reading {
    const struct ramet_chain *chain;
    const uint32_t *wanted; /* all that the caller asked for */
    size_t wanted_count;
    uint32_t *pgnos; /* what is looked for in this batch, ascending */
    struct ramet_frame *found;
    size_t count, capacity;
    struct ramet_frame *unique; /* the frames to read */
    size_t unique_count;
    ramet_page_visit *visit;
    void *ctx;
};

static int
compare_pgno(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

static int
compare_frames(const void *left, const void *right)
{
    const struct ramet_frame *const a = left;
    const struct ramet_frame *const b = right;
    const int by_segment =
        ramet_id_compare(&a->place.segment.id, &b->place.segment.id);

    if (a->place.kind != b->place.kind)
        return a->place.kind < b->place.kind ? -1 : 1;
    if (by_segment != 0)
        return by_segment;
    if (a->place.lsn != b->place.lsn)
        return a->place.lsn < b->place.lsn ? -1 : 1;
    if (a->place.offset_bytes != b->place.offset_bytes)
        return a->place.offset_bytes < b->place.offset_bytes ? -1 : 1;
    if (a->first_pgno != b->first_pgno)
        return a->first_pgno < b->first_pgno ? -1 : 1;
    return 0;
}

static void
collect_frames(struct reading *r)
{
    size_t kept = 0;

    r->unique_count = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (r->found[i].page_count > 0)
            r->unique[r->unique_count++] = r->found[i];
    }
    if (r->unique_count == 0)
        return;
    qsort(r->unique, r->unique_count, sizeof(r->unique[0]), compare_frames);
    for (size_t i = 1; i < r->unique_count; i++) {
        if (!ramet_frame_same(&r->unique[kept], &r->unique[i]))
            r->unique[++kept] = r->unique[i];
    }
    r->unique_count = kept + 1;
}

static enum ramet_rc
offer_frame(void *ctx, const struct ramet_frame *frame, const uint8_t *pages,
            struct ramet_err *err)
{
    const struct reading *const r = ctx;

    for (uint32_t i = 0; i < frame->page_count; i++) {
        const uint32_t pgno = frame->first_pgno + i;
        const uint32_t *const at = bsearch(&pgno, r->pgnos, r->count,
                                           sizeof(r->pgnos[0]), compare_pgno);
        enum ramet_rc rc;

        if (at == NULL || !ramet_frame_same(&r->found[at - r->pgnos], frame))
            continue; /* invariant (1) */
        rc = r->visit(r->ctx, pgno, pages + (size_t)i * r->chain->page_size,
                      err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

static enum ramet_rc
offer_zeros(const struct reading *r, struct ramet_err *err)
{
    uint8_t *zeros = NULL;
    enum ramet_rc rc = RAMET_OK;

    for (size_t i = 0; rc == RAMET_OK && i < r->count; i++) {
        if (r->found[i].page_count > 0)
            continue;
        if (zeros == NULL)
            zeros = ramet_calloc(1, r->chain->page_size);
        if (zeros == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "a page of zeros");
        rc = r->visit(r->ctx, r->pgnos[i], zeros, err);
    }
    ramet_free(zeros);
    return rc;
}

/* Add the pages that share a frame with a wanted one, lie in [low, high), and
 * are not wanted themselves; look them up too. */
static enum ramet_rc
add_neighbours(struct reading *r, uint32_t low, uint64_t high,
               struct ramet_err *err)
{
    const size_t batch = r->count;
    size_t kept = 0;

    for (size_t i = 0; i < batch; i++) {
        const struct ramet_frame *const frame = &r->found[i];

        for (uint32_t j = 0; j < frame->page_count; j++) {
            const uint32_t pgno = frame->first_pgno + j;

            if (pgno < low || pgno >= high || pgno > r->chain->page_count ||
                bsearch(&pgno, r->wanted, r->wanted_count, sizeof(r->wanted[0]),
                        compare_pgno) != NULL)
                continue;
            assert(r->count < r->capacity);
            r->pgnos[r->count++] = pgno;
        }
    }
    qsort(r->pgnos, r->count, sizeof(r->pgnos[0]), compare_pgno);
    for (size_t i = 1; i < r->count; i++) {
        if (r->pgnos[i] != r->pgnos[kept])
            r->pgnos[++kept] = r->pgnos[i];
    }
    r->count = kept + 1;
    return ramet_chain_locate(r->chain, r->pgnos, r->count, r->found, err);
}

/* Read the wanted pages from `start` on, `count` of them. */
static enum ramet_rc
read_batch(struct reading *r, size_t start, size_t count, bool want_extra,
           struct ramet_err *err)
{
    const uint32_t low = start == 0 ? 1 : r->wanted[start];
    const uint64_t high =
        start + count < r->wanted_count ? r->wanted[start + count] : UINT64_MAX;
    enum ramet_rc rc;

    memcpy(r->pgnos, r->wanted + start, count * sizeof(r->pgnos[0]));
    r->count = count;
    rc = ramet_chain_locate(r->chain, r->pgnos, count, r->found, err);
    if (rc != RAMET_OK)
        return rc;
    collect_frames(r);
    if (want_extra) {
        rc = add_neighbours(r, low, high, err);
        if (rc != RAMET_OK)
            return rc;
    }
    rc = offer_zeros(r, err);
    if (rc != RAMET_OK || r->unique_count == 0)
        return rc;
    return ramet_frame_read_many(ramet_history_frame_reader(r->chain->history),
                                 r->unique, r->unique_count,
                                 r->chain->page_size, offer_frame, r, err);
}

enum ramet_rc
ramet_history_read_pages(struct ramet_history *history,
                         const struct ramet_point *at, const uint32_t *pgnos,
                         size_t pgno_count, bool want_extra,
                         ramet_page_visit *visit, void *ctx,
                         struct ramet_err *err)
{
    const size_t batch = pgno_count < BATCH_PAGES ? pgno_count : BATCH_PAGES;
    struct ramet_chain chain;
    struct reading r = {.chain = &chain,
                        .wanted = pgnos,
                        .wanted_count = pgno_count,
                        .visit = visit,
                        .ctx = ctx};
    enum ramet_rc rc;

    if (pgno_count == 0)
        return RAMET_OK;
    rc = ramet_chain_open(history, at, &chain, err);
    if (rc != RAMET_OK)
        return rc;
    rc = check_wanted(&chain, pgnos, pgno_count, err);
    if (rc != RAMET_OK)
        goto done;
    r.capacity = want_extra ? batch * (RAMET_FRAME_PAGES_MAX + 1) : batch;
    r.pgnos = ramet_calloc(r.capacity, sizeof(r.pgnos[0]));
    r.found = ramet_calloc(r.capacity, sizeof(r.found[0]));
    r.unique = ramet_calloc(batch, sizeof(r.unique[0]));
    if (r.pgnos == NULL || r.found == NULL || r.unique == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "reading %zu pages", pgno_count);
        goto done;
    }
    for (size_t i = 0; rc == RAMET_OK && i < pgno_count; i += batch) {
        const size_t n = pgno_count - i < batch ? pgno_count - i : batch;

        rc = read_batch(&r, i, n, want_extra, err);
    }

done:
    ramet_free(r.unique);
    ramet_free(r.found);
    ramet_free(r.pgnos);
    ramet_chain_close(&chain);
    return ramet_history_blame(history, at, rc, err);
}
