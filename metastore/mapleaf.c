/*
 * mapleaf.c - leaves of page maps, as bytes and back: where each of 64 pages
 * lies, and since when.
 */
#include <assert.h>

#include "metastore/mapnode_impl.h"
#include "metastore/maprun.h"

/* Of the leaf that has the last page there can be. */
#define LEAF_INDEX_MAX ((UINT32_MAX - 1) / RAMET_LEAF_PAGES)

uint64_t
ramet_leaf_latest(const struct ramet_leaf *leaf)
{
    uint64_t latest = leaf->gone;

    assert(leaf != NULL);
    for (unsigned i = 0; i < RAMET_LEAF_PAGES; i++)
        if (leaf->pages[i].image.page_count > 0 && leaf->pages[i].lsn > latest)
            latest = leaf->pages[i].lsn;
    return latest;
}

enum ramet_rc
ramet_leaf_encode(const struct ramet_leaf *leaf, struct ramet_buf *out,
                  struct ramet_err *err)
{
    const uint32_t first = leaf->index * RAMET_LEAF_PAGES + 1;
    const struct ramet_node_front front = {.index = leaf->index,
                                           .latest = ramet_leaf_latest(leaf),
                                           .gone = leaf->gone};
    struct ramet_run_page pages[RAMET_LEAF_PAGES];
    unsigned count = 0;

    for (unsigned i = 0; i < RAMET_LEAF_PAGES; i++) {
        if (leaf->pages[i].image.page_count > 0)
            pages[count++] =
                (struct ramet_run_page){first + i, &leaf->pages[i]};
    }
    assert(count > 0 && leaf->index <= LEAF_INDEX_MAX);
    ramet_node_front_encode(&front, out);
    return ramet_runs_encode(RAMET_RUNS_OF_LEAF, pages, count, first,
                             front.latest, out, err);
}

/* The front of leaf `index`, and its runs from the first on. */
static enum ramet_rc
start_leaf(struct ramet_reader *in, const struct ramet_vid *volume,
           uint32_t index, struct ramet_node_front *out_front,
           struct ramet_run_walk *walk, struct ramet_err *err)
{
    const enum ramet_rc rc =
        ramet_node_front_decode(in, 0, index, out_front, err);

    if (rc != RAMET_OK)
        return rc;
    if (index > LEAF_INDEX_MAX)
        return ramet_node_bad("lies beyond the last page", 0, index, err);
    if (!ramet_runs_start(walk, in, volume, RAMET_RUNS_OF_LEAF,
                          index * RAMET_LEAF_PAGES + 1, out_front->latest))
        return ramet_node_bad("is malformed", 0, index, err);
    return RAMET_OK;
}

enum ramet_rc
ramet_leaf_find(const uint8_t *bytes, size_t len,
                const struct ramet_vid *volume, uint32_t pgno,
                struct ramet_located *out_located, struct ramet_err *err)
{
    const uint32_t index = (pgno - 1) / RAMET_LEAF_PAGES;
    struct ramet_node_front front;
    struct ramet_run_walk walk;
    struct ramet_reader in;
    enum ramet_rc rc;

    assert(pgno >= 1);
    memset(out_located, 0, sizeof(*out_located));
    ramet_reader_init(&in, bytes, len);
    rc = start_leaf(&in, volume, index, &front, &walk, err);
    while (rc == RAMET_OK && walk.left > 0 && walk.next <= pgno) {
        if (!ramet_runs_next(&walk))
            return ramet_node_bad("is malformed", 0, index, err);
        if (walk.start <= pgno && walk.next > pgno)
            *out_located = ramet_runs_page(&walk, pgno);
    }
    return rc;
}

static bool
decode_runs(struct ramet_run_walk *walk, struct ramet_leaf *out)
{
    const uint64_t first = walk->next;

    assert(walk->left > 0 && walk->form == RAMET_RUNS_OF_LEAF);
    while (walk->left > 0) {
        if (!ramet_runs_next(walk))
            return false;
        for (uint64_t pgno = walk->start; pgno < walk->next; pgno++)
            out->pages[pgno - first] = ramet_runs_page(walk, pgno);
    }
    return ramet_reader_left(walk->in) == 0 &&
           ramet_leaf_latest(out) == walk->latest;
}

enum ramet_rc
ramet_leaf_decode(const uint8_t *bytes, size_t len,
                  const struct ramet_vid *volume, uint32_t index,
                  struct ramet_leaf *out, struct ramet_err *err)
{
    struct ramet_node_front front;
    struct ramet_run_walk walk;
    struct ramet_reader in;
    enum ramet_rc rc;

    assert(bytes != NULL || len == 0);
    ramet_reader_init(&in, bytes, len);
    rc = start_leaf(&in, volume, index, &front, &walk, err);
    if (rc != RAMET_OK)
        return rc;
    memset(out, 0, sizeof(*out));
    out->index = index;
    out->gone = front.gone;
    if (!decode_runs(&walk, out))
        return ramet_node_bad("is malformed", 0, index, err);
    return RAMET_OK;
}
