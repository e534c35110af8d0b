/*
 * chain.c - see chain.h.
 *
 *   (1) A chain is at most 64 heads and 32 KiB; a writer that made a longer
 *       one broke the format, and its volume is not read past that.
 *   (2) Chains of the snapshots that were read last stay open; each is freed by
 *       whoever lets go of it last.
 */
#include "metastore/chain.h"

#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/head_cache.h"

/* Add the head of the commit that `point` names. */
static enum ramet_rc
chain_add(struct ramet_chain *chain, const struct ramet_point *point,
          uint64_t *head_bytes, struct ramet_err *err)
{
    const uint64_t lsn = point->lsn;
    struct ramet_lru_entry *entry;
    const struct ramet_loaded_head *head;
    enum ramet_rc rc;

    assert(chain->entry_count < RAMET_MAP_EVERY_COMMITS);
    assert(point->lsn > chain->map.lsn);
    rc = ramet_history_load_slot(chain->history, point, true, &entry, err);
    if (rc == RAMET_ENOTFOUND)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64 " is missing from the history", lsn);
    if (rc != RAMET_OK)
        return rc;
    chain->entries[chain->entry_count++] = entry;
    head = ramet_loaded_head(entry);
    chain->layers[chain->layer_count++] = &head->commit;
    *head_bytes += head->head_length;
    if (!ramet_hash_equal(&point->hash, &head->hash))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64 " is not the commit that LSN %" PRIu64
                          " was based on",
                          lsn, lsn + 1);
    if (ramet_commit_has_own_map(&head->commit) && chain->layer_count > 1)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64 " refers to a map older than that of "
                          "LSN %" PRIu64,
                          lsn + 1, lsn);
    if (*head_bytes > RAMET_MAP_EVERY_HEAD_BYTES) /* invariant (1) */
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "more than %u bytes of heads after the map of LSN "
                          "%" PRIu64,
                          RAMET_MAP_EVERY_HEAD_BYTES, chain->map.lsn);
    assert(chain->entry_count == chain->layer_count && head->commit.lsn == lsn);
    return RAMET_OK;
}

static enum ramet_rc
chain_fill(struct ramet_chain *chain, const struct ramet_point *at,
           struct ramet_err *err)
{
    struct ramet_point point = *at;
    uint64_t head_bytes = 0;

    assert(chain->entry_count == 0 && chain->layer_count == 0);
    ramet_history_bring_heads(chain->history, chain->map.lsn + 1, at->lsn);
    for (; point.lsn > chain->map.lsn; point.lsn--) {
        const enum ramet_rc rc = chain_add(chain, &point, &head_bytes, err);

        if (rc != RAMET_OK)
            return rc;
        point.hash = chain->layers[chain->layer_count - 1]->predecessor;
    }
    return RAMET_OK;
}

static enum ramet_rc
chain_load(struct ramet_history *history, const struct ramet_point *at,
           struct ramet_chain *out_chain, struct ramet_err *err)
{
    struct ramet_chain chain = {.history = history};
    struct ramet_lru_entry *top;
    enum ramet_rc rc;

    assert(at->lsn >= 1);
    rc = ramet_history_load_point(history, at, false, &top, err);
    if (rc != RAMET_OK)
        return rc;
    chain.map = ramet_loaded_head(top)->commit.map;
    chain.page_size = ramet_loaded_head(top)->commit.page_size;
    chain.page_count = ramet_loaded_head(top)->commit.page_count;
    ramet_history_release(history, top);
    rc = chain_fill(&chain, at, err);
    if (rc != RAMET_OK) {
        ramet_chain_close(&chain);
        return rc;
    }
    assert(chain.layer_count <= RAMET_MAP_EVERY_COMMITS &&
           at->lsn - chain.map.lsn == chain.layer_count); /* invariant (1) */
    *out_chain = chain;
    return RAMET_OK;
}

/* ---- chains that are kept ------------------------------------------------ */

struct ramet_shared_chain {
    struct ramet_chain chain; /* its `shared` is NULL: it holds the entries */
    struct ramet_point at;
    unsigned holders; /* the history's slot is one */
};

/* Under the history's mutex. True: free it, outside. */
static bool
let_go(struct ramet_shared_chain *shared)
{
    assert(shared == NULL || shared->holders > 0); /* invariant (2) */
    return shared != NULL && --shared->holders == 0;
}

static void
free_shared(struct ramet_shared_chain *shared)
{
    assert(shared->chain.shared == NULL);
    assert(shared->holders == 0); /* invariant (2) */
    ramet_chain_close(&shared->chain);
    ramet_free(shared);
}

static bool
take_kept(struct ramet_history *history, const struct ramet_point *at,
          struct ramet_chain *out_chain)
{
    struct ramet_shared_chain *shared;

    assert(at->lsn >= 1);
    ramet_mutex_lock(&history->mutex);
    shared = history->chains[at->lsn % RAMET_CHAINS_KEPT];
    if (shared != NULL && shared->at.lsn == at->lsn &&
        ramet_hash_equal(&shared->at.hash, &at->hash))
        shared->holders++;
    else
        shared = NULL;
    ramet_mutex_unlock(&history->mutex);
    if (shared == NULL)
        return false;
    *out_chain = shared->chain;
    out_chain->shared = shared;
    return true;
}

/* Keep a chain that was just loaded; without memory it is only used. */
static void
keep_chain(struct ramet_history *history, const struct ramet_point *at,
           struct ramet_chain *chain)
{
    struct ramet_shared_chain *const shared = ramet_alloc(sizeof(*shared));
    struct ramet_shared_chain **const slot =
        &history->chains[at->lsn % RAMET_CHAINS_KEPT];
    struct ramet_shared_chain *old;
    bool unused;

    assert(chain->shared == NULL);
    if (shared == NULL)
        return;
    *shared =
        (struct ramet_shared_chain){.chain = *chain, .at = *at, .holders = 2};
    chain->shared = shared;
    ramet_mutex_lock(&history->mutex);
    old = *slot;
    *slot = shared;
    unused = let_go(old);
    ramet_mutex_unlock(&history->mutex);
    if (unused)
        free_shared(old);
}

enum ramet_rc
ramet_chain_open(struct ramet_history *history, const struct ramet_point *at,
                 struct ramet_chain *out_chain, struct ramet_err *err)
{
    struct ramet_chain chain = {.history = history};
    enum ramet_rc rc;

    assert(history != NULL && out_chain != NULL);
    chain.map.volume = history->volume;
    if (at->lsn > 0 && !take_kept(history, at, &chain)) {
        rc = chain_load(history, at, &chain, err);
        if (rc != RAMET_OK)
            return ramet_history_blame(history, at, rc, err);
        keep_chain(history, at, &chain);
    }
    *out_chain = chain;
    return RAMET_OK;
}

void
ramet_chain_close(struct ramet_chain *chain)
{
    struct ramet_shared_chain *const shared = chain->shared;

    assert(chain->entry_count <= RAMET_MAP_EVERY_COMMITS);
    if (shared != NULL) {
        bool unused;

        ramet_mutex_lock(&chain->history->mutex);
        unused = let_go(shared);
        ramet_mutex_unlock(&chain->history->mutex);
        if (unused)
            free_shared(shared);
    } else {
        for (unsigned i = 0; i < chain->entry_count; i++)
            ramet_history_release(chain->history, chain->entries[i]);
    }
    chain->shared = NULL;
    chain->entry_count = 0;
    chain->layer_count = 0;
}

void
ramet_history_forget_chains(struct ramet_history *history)
{
    for (unsigned i = 0; i < RAMET_CHAINS_KEPT; i++) {
        struct ramet_shared_chain *shared;
        bool unused;

        ramet_mutex_lock(&history->mutex);
        shared = history->chains[i];
        history->chains[i] = NULL;
        unused = let_go(shared);
        ramet_mutex_unlock(&history->mutex);
        if (unused)
            free_shared(shared);
    }
}

void
ramet_history_drop_chains(struct ramet_history *history)
{
    for (unsigned i = 0; i < RAMET_CHAINS_KEPT; i++)
        assert(history->chains[i] == NULL || history->chains[i]->holders == 1);
    ramet_history_forget_chains(history);
}

uint32_t
ramet_chain_least(const struct ramet_chain *chain)
{
    uint32_t least = UINT32_MAX;

    assert(chain->layer_count <= RAMET_MAP_EVERY_COMMITS + 1);
    for (unsigned i = 0; i < chain->layer_count; i++) {
        if (chain->layers[i]->least_page_count < least)
            least = chain->layers[i]->least_page_count;
    }
    return least;
}

/* The base image of page `pgno` in the layers from `first` on: the page's last
 * image, or the base of its last delta. */
static enum ramet_rc
find_base(const struct ramet_chain *chain, struct ramet_table_cursor *cursor,
          unsigned first, uint32_t pgno, enum ramet_layer_answer *out_answer,
          struct ramet_located *out, struct ramet_err *err)
{
    assert(first <= chain->layer_count);
    assert(pgno >= 1);
    for (unsigned i = first; i < chain->layer_count; i++) {
        const struct ramet_commit_object *const commit = chain->layers[i];

        if (ramet_pageset_contains(&commit->changed, pgno)) {
            *out_answer = RAMET_LAYER_FOUND;
            out->image_pgno = pgno;
            return ramet_table_find(cursor, commit, pgno, &out->image, err);
        }
        if (ramet_pageset_contains(&commit->deltas.pages, pgno)) {
            uint32_t block, position;

            ramet_commit_find_delta(commit, pgno, &block, &position, &pgno);
        } else if (pgno > commit->least_page_count) {
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "a delta after LSN %" PRIu64 " is based on page "
                              "%" PRIu32 ", which was cut off then",
                              commit->lsn, pgno);
        }
    }
    *out_answer = RAMET_LAYER_OLDER;
    out->image_pgno = pgno;
    return RAMET_OK;
}

static enum ramet_rc
find_delta(const struct ramet_chain *chain, struct ramet_table_cursor *cursor,
           unsigned layer, uint32_t pgno, enum ramet_layer_answer *out_answer,
           struct ramet_located *out, struct ramet_err *err)
{
    const struct ramet_commit_object *const commit = chain->layers[layer];
    uint32_t block, base;

    assert(layer < chain->layer_count);
    assert(ramet_pageset_contains(&commit->deltas.pages, pgno));
    ramet_commit_find_delta(commit, pgno, &block, &out->position, &base);
    out->block = ramet_commit_delta_block(commit, block);
    out->lsn = commit->lsn;
    return find_base(chain, cursor, layer + 1, base, out_answer, out, err);
}

enum ramet_rc
ramet_chain_find(const struct ramet_chain *chain,
                 struct ramet_table_cursor *cursor, uint32_t pgno,
                 enum ramet_layer_answer *out_answer,
                 struct ramet_located *out_located, struct ramet_err *err)
{
    assert(pgno >= 1);
    assert(cursor->history == chain->history);
    *out_located = (struct ramet_located){.image_pgno = pgno};
    for (unsigned i = 0; i < chain->layer_count; i++) {
        const struct ramet_commit_object *const commit = chain->layers[i];

        if (ramet_pageset_contains(&commit->changed, pgno)) {
            *out_answer = RAMET_LAYER_FOUND;
            out_located->lsn = commit->lsn;
            return ramet_table_find(cursor, commit, pgno, &out_located->image,
                                    err);
        }
        if (ramet_pageset_contains(&commit->deltas.pages, pgno))
            return find_delta(chain, cursor, i, pgno, out_answer, out_located,
                              err);
        if (pgno > commit->least_page_count) {
            *out_answer = RAMET_LAYER_ZERO;
            return RAMET_OK;
        }
    }
    *out_answer = RAMET_LAYER_OLDER;
    return RAMET_OK;
}
