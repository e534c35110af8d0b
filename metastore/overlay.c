/*
 * overlay.c - see overlay.h.
 *
 *   (1) An overlay is at most 64 heads and 32 KiB; a writer that made a longer
 *       one broke the format, and its volume is not read past that.
 *   (2) Overlays of the snapshots that were read last stay open; each is freed by
 *       whoever lets go of it last.
 */
#include "metastore/overlay.h"

#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/first_page.h"
#include "metastore/head_cache.h"
#include "metastore/maproot.h"

/* Add the head of the commit that `point` names. */
static enum ramet_rc
overlay_add(struct ramet_overlay *overlay, const struct ramet_point *point,
            uint64_t *head_bytes, struct ramet_err *err)
{
    const uint64_t lsn = point->lsn;
    struct ramet_lru_entry *entry;
    const struct ramet_loaded_head *head;
    enum ramet_rc rc;

    assert(overlay->entry_count < RAMET_MAP_EVERY_COMMITS);
    assert(point->lsn > overlay->map.lsn);
    rc = ramet_history_load_slot(overlay->history, point, true, &entry, err);
    if (rc == RAMET_ENOTFOUND)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64 " is missing from the history", lsn);
    if (rc != RAMET_OK)
        return rc;
    overlay->entries[overlay->entry_count++] = entry;
    head = ramet_loaded_head(entry);
    overlay->commits[overlay->commit_count++] = &head->commit;
    *head_bytes += head->head_length;
    if (!ramet_hash_equal(&point->hash, &head->hash))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64 " is not the commit that LSN %" PRIu64
                          " was based on",
                          lsn, lsn + 1);
    if (ramet_commit_has_own_map(&head->commit) && overlay->commit_count > 1)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64 " refers to a map older than that of "
                          "LSN %" PRIu64,
                          lsn + 1, lsn);
    if (*head_bytes > RAMET_MAP_EVERY_HEAD_BYTES) /* invariant (1) */
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "more than %u bytes of heads after the map of LSN "
                          "%" PRIu64,
                          RAMET_MAP_EVERY_HEAD_BYTES, overlay->map.lsn);
    assert(overlay->entry_count == overlay->commit_count &&
           head->commit.lsn == lsn);
    return RAMET_OK;
}

/* Does somebody open the volume to read it, and has not read yet? */
static bool
opens(struct ramet_history *history)
{
    bool does;

    ramet_mutex_lock(&history->mutex);
    does = history->opens;
    history->opens = false;
    ramet_mutex_unlock(&history->mutex);
    return does;
}

/* With the heads comes what follows them: the map's root, and page 1. */
static void
bring(struct ramet_overlay *overlay, const struct ramet_point *at)
{
    const struct ramet_node_ref root = ramet_map_root_node(&overlay->map);
    struct ramet_located page;
    struct ramet_beside_heads beside = {.root = &root};

    assert(overlay->map.lsn <= at->lsn);
    if (opens(overlay->history) &&
        ramet_first_page_known(overlay->history, at, &page))
        beside.page = &page;
    ramet_history_bring_heads(overlay->history, overlay->map.lsn + 1, at->lsn,
                              &beside);
}

static enum ramet_rc
overlay_fill(struct ramet_overlay *overlay, const struct ramet_point *at,
             struct ramet_err *err)
{
    struct ramet_point point = *at;
    uint64_t head_bytes = 0;

    assert(overlay->entry_count == 0 && overlay->commit_count == 0);
    bring(overlay, at);
    for (; point.lsn > overlay->map.lsn; point.lsn--) {
        const enum ramet_rc rc = overlay_add(overlay, &point, &head_bytes, err);

        if (rc != RAMET_OK)
            return rc;
        point.hash = overlay->commits[overlay->commit_count - 1]->predecessor;
    }
    return RAMET_OK;
}

static enum ramet_rc
overlay_load(struct ramet_history *history, const struct ramet_point *at,
             struct ramet_overlay *out_overlay, struct ramet_err *err)
{
    struct ramet_overlay overlay = {.history = history};
    struct ramet_lru_entry *top;
    enum ramet_rc rc;

    assert(at->lsn >= 1);
    rc = ramet_history_load_point(history, at, false, &top, err);
    if (rc != RAMET_OK)
        return rc;
    overlay.map = ramet_loaded_head(top)->commit.map;
    overlay.page_size = ramet_loaded_head(top)->commit.page_size;
    overlay.page_count = ramet_loaded_head(top)->commit.page_count;
    ramet_history_release(history, top);
    rc = overlay_fill(&overlay, at, err);
    if (rc != RAMET_OK) {
        ramet_overlay_close(&overlay);
        return rc;
    }
    assert(overlay.commit_count <= RAMET_MAP_EVERY_COMMITS &&
           at->lsn - overlay.map.lsn ==
               overlay.commit_count); /* invariant (1) */
    *out_overlay = overlay;
    return RAMET_OK;
}

/* ---- overlays that are kept ------------------------------------------------ */

struct ramet_shared_overlay {
    struct ramet_overlay
        overlay; /* its `shared` is NULL: it holds the entries */
    struct ramet_point at;
    unsigned holders; /* the history's slot is one */
};

/* Under the history's mutex. True: free it, outside. */
static bool
let_go(struct ramet_shared_overlay *shared)
{
    assert(shared == NULL || shared->holders > 0); /* invariant (2) */
    return shared != NULL && --shared->holders == 0;
}

static void
free_shared(struct ramet_shared_overlay *shared)
{
    assert(shared->overlay.shared == NULL);
    assert(shared->holders == 0); /* invariant (2) */
    ramet_overlay_close(&shared->overlay);
    ramet_free(shared);
}

static bool
take_kept(struct ramet_history *history, const struct ramet_point *at,
          struct ramet_overlay *out_overlay)
{
    struct ramet_shared_overlay *shared;

    assert(at->lsn >= 1);
    ramet_mutex_lock(&history->mutex);
    shared = history->overlays[at->lsn % RAMET_OVERLAYS_KEPT];
    if (shared != NULL && shared->at.lsn == at->lsn &&
        ramet_hash_equal(&shared->at.hash, &at->hash))
        shared->holders++;
    else
        shared = NULL;
    ramet_mutex_unlock(&history->mutex);
    if (shared == NULL)
        return false;
    *out_overlay = shared->overlay;
    out_overlay->shared = shared;
    return true;
}

/* Keep an overlay that was just loaded; without memory it is only used. */
static void
keep_overlay(struct ramet_history *history, const struct ramet_point *at,
             struct ramet_overlay *overlay)
{
    struct ramet_shared_overlay *const shared = ramet_alloc(sizeof(*shared));
    struct ramet_shared_overlay **const slot =
        &history->overlays[at->lsn % RAMET_OVERLAYS_KEPT];
    struct ramet_shared_overlay *old;
    bool unused;

    assert(overlay->shared == NULL);
    if (shared == NULL)
        return;
    *shared = (struct ramet_shared_overlay){
        .overlay = *overlay, .at = *at, .holders = 2};
    overlay->shared = shared;
    ramet_mutex_lock(&history->mutex);
    old = *slot;
    *slot = shared;
    unused = let_go(old);
    ramet_mutex_unlock(&history->mutex);
    if (unused)
        free_shared(old);
}

enum ramet_rc
ramet_overlay_open(struct ramet_history *history, const struct ramet_point *at,
                   struct ramet_overlay *out_overlay, struct ramet_err *err)
{
    struct ramet_overlay overlay = {.history = history};
    enum ramet_rc rc;

    assert(history != NULL && out_overlay != NULL);
    overlay.map.volume = history->volume;
    if (at->lsn > 0 && !take_kept(history, at, &overlay)) {
        rc = overlay_load(history, at, &overlay, err);
        if (rc != RAMET_OK)
            return ramet_history_blame(history, at, rc, err);
        keep_overlay(history, at, &overlay);
    }
    *out_overlay = overlay;
    return RAMET_OK;
}

void
ramet_overlay_close(struct ramet_overlay *overlay)
{
    struct ramet_shared_overlay *const shared = overlay->shared;

    assert(overlay->entry_count <= RAMET_MAP_EVERY_COMMITS);
    if (shared != NULL) {
        bool unused;

        ramet_mutex_lock(&overlay->history->mutex);
        unused = let_go(shared);
        ramet_mutex_unlock(&overlay->history->mutex);
        if (unused)
            free_shared(shared);
    } else {
        for (unsigned i = 0; i < overlay->entry_count; i++)
            ramet_history_release(overlay->history, overlay->entries[i]);
    }
    overlay->shared = NULL;
    overlay->entry_count = 0;
    overlay->commit_count = 0;
}

void
ramet_history_forget_overlays(struct ramet_history *history)
{
    for (unsigned i = 0; i < RAMET_OVERLAYS_KEPT; i++) {
        struct ramet_shared_overlay *shared;
        bool unused;

        ramet_mutex_lock(&history->mutex);
        shared = history->overlays[i];
        history->overlays[i] = NULL;
        unused = let_go(shared);
        ramet_mutex_unlock(&history->mutex);
        if (unused)
            free_shared(shared);
    }
}

void
ramet_history_drop_overlays(struct ramet_history *history)
{
    for (unsigned i = 0; i < RAMET_OVERLAYS_KEPT; i++)
        assert(history->overlays[i] == NULL ||
               history->overlays[i]->holders == 1);
    ramet_history_forget_overlays(history);
}

uint32_t
ramet_overlay_least(const struct ramet_overlay *overlay)
{
    uint32_t least = UINT32_MAX;

    assert(overlay->commit_count <= RAMET_MAP_EVERY_COMMITS + 1);
    for (unsigned i = 0; i < overlay->commit_count; i++) {
        if (overlay->commits[i]->least_page_count < least)
            least = overlay->commits[i]->least_page_count;
    }
    return least;
}

/* The base image of page `pgno` in the commits from `first` on: the page's last
 * image, or the base of its last delta. */
static enum ramet_rc
find_base(const struct ramet_overlay *overlay, unsigned first, uint32_t pgno,
          enum ramet_overlay_answer *out_answer, struct ramet_located *out,
          const struct ramet_commit_object **out_commit, struct ramet_err *err)
{
    assert(first <= overlay->commit_count);
    assert(pgno >= 1);
    for (unsigned i = first; i < overlay->commit_count; i++) {
        const struct ramet_commit_object *const commit = overlay->commits[i];

        if (ramet_pageset_contains(&commit->changed, pgno)) {
            *out_answer = RAMET_OVERLAY_FOUND;
            out->image_pgno = pgno;
            *out_commit = commit;
            return RAMET_OK;
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
    *out_answer = RAMET_OVERLAY_OLDER;
    out->image_pgno = pgno;
    return RAMET_OK;
}

static enum ramet_rc
find_delta(const struct ramet_overlay *overlay, unsigned at, uint32_t pgno,
           enum ramet_overlay_answer *out_answer, struct ramet_located *out,
           const struct ramet_commit_object **out_commit, struct ramet_err *err)
{
    const struct ramet_commit_object *const commit = overlay->commits[at];
    uint32_t block, base;

    assert(at < overlay->commit_count);
    assert(ramet_pageset_contains(&commit->deltas.pages, pgno));
    ramet_commit_find_delta(commit, pgno, &block, &out->position, &base);
    out->block = ramet_commit_delta_block(commit, block);
    out->lsn = commit->lsn;
    return find_base(overlay, at + 1, base, out_answer, out, out_commit, err);
}

enum ramet_rc
ramet_overlay_find(const struct ramet_overlay *overlay, uint32_t pgno,
                   enum ramet_overlay_answer *out_answer,
                   struct ramet_located *out_located,
                   const struct ramet_commit_object **out_commit,
                   struct ramet_err *err)
{
    assert(pgno >= 1);
    *out_located = (struct ramet_located){.image_pgno = pgno};
    *out_commit = NULL;
    for (unsigned i = 0; i < overlay->commit_count; i++) {
        const struct ramet_commit_object *const commit = overlay->commits[i];

        if (ramet_pageset_contains(&commit->changed, pgno)) {
            *out_answer = RAMET_OVERLAY_FOUND;
            out_located->lsn = commit->lsn;
            *out_commit = commit;
            return RAMET_OK;
        }
        if (ramet_pageset_contains(&commit->deltas.pages, pgno))
            return find_delta(overlay, i, pgno, out_answer, out_located,
                              out_commit, err);
        if (pgno > commit->least_page_count) {
            *out_answer = RAMET_OVERLAY_ZERO;
            return RAMET_OK;
        }
    }
    *out_answer = RAMET_OVERLAY_OLDER;
    return RAMET_OK;
}
