/*
 * validate.c - what a store can check of a commit that somebody else
 * made, before it stands in the history.
 *
 *   (1) A commit that passes can be read: its base is the history's, every
 *       segment is there with the size that it claims, every table chunk and
 *       every inline frame and block has its hash, tables name the changed pages and
 *       no others, page 1 lies where it says, and its map is of this history.
 */
#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/commit_impl.h"
#include "metastore/first_page.h"
#include "metastore/head_cache.h"
#include "metastore/mapnode.h"
#include "metastore/maproot.h"
#include "metastore/node_cache.h"
#include "metastore/table.h"

static enum ramet_rc
refuse(uint64_t lsn, const char *what, struct ramet_err *err)
{
    assert(what != NULL);
    return RAMET_FAIL(err, RAMET_ECORRUPT, "commit %" PRIu64 " refused: %s",
                      lsn, what);
}

/* What every commit carries on of its line. */
static enum ramet_rc
check_line(const struct ramet_commit_object *commit,
           const struct ramet_head *base, struct ramet_err *err)
{
    const uint64_t floor = base->lsn > 0 ? base->floor : 1;
    const int later = ramet_id_compare(&commit->cutoff, &base->cutoff);

    assert(commit->lsn == base->lsn + 1);
    if (base->role == RAMET_COMMIT_END)
        return RAMET_FAIL(err, RAMET_EWENTBACK,
                          "commit %" PRIu64 " refused: the volume was deleted",
                          commit->lsn);
    if (!ramet_point_equal(&commit->content, &base->content))
        return refuse(commit->lsn, "it names another last content commit", err);
    if (commit->role == RAMET_COMMIT_UPKEEP
            ? commit->floor < floor || later < 0
            : commit->floor != floor || later != 0)
        return refuse(commit->lsn,
                      "its floor or cutoff is not its "
                      "predecessor's",
                      err);
    if (commit->role != RAMET_COMMIT_CONTENT && base->lsn > 0 &&
        (commit->page_size != base->page_size ||
         commit->page_count != base->page_count ||
         commit->byte_length != base->byte_length ||
         commit->kind != base->kind))
        return refuse(commit->lsn, "housekeeping that changes the size", err);
    return RAMET_OK;
}

static enum ramet_rc
check_against_base(struct ramet_history *history,
                   const struct ramet_commit_object *commit,
                   const struct ramet_head *base, struct ramet_err *err)
{
    const uint64_t now_ms = history->os->wall_ms(history->os->ctx);

    assert(commit->lsn == base->lsn + 1);
    if (!ramet_hash_equal(&commit->predecessor, &base->hash))
        return RAMET_FAIL(err, RAMET_ECONFLICT,
                          "commit %" PRIu64
                          " is based on another commit %" PRIu64
                          " than the one here",
                          commit->lsn, base->lsn);
    if (commit->time_ms <= base->time_ms)
        return refuse(commit->lsn, "its time is not after its predecessor's",
                      err);
    if (commit->time_ms > now_ms + RAMET_SKEW_MAX_MS &&
        commit->time_ms > base->time_ms + 1)
        return RAMET_FAIL(err, RAMET_ECLOCK,
                          "commit %" PRIu64 " refused: its time is %" PRIu64
                          " minutes ahead of the clock here, and %u are "
                          "allowed: is the writer's clock right?",
                          commit->lsn, (commit->time_ms - now_ms) / 60000,
                          RAMET_SKEW_MAX_MS / 60000);
    if (commit->least_page_count > base->page_count)
        return refuse(commit->lsn,
                      "its least page count is above its predecessor's pages",
                      err);
    if (commit->page_size != base->page_size && commit->least_page_count != 0)
        return refuse(commit->lsn, "it keeps pages of another size", err);
    return check_line(commit, base, err);
}

static bool
same_map(const struct ramet_map_ref *a, const struct ramet_map_ref *b)
{
    assert(a != NULL && b != NULL);
    return a->lsn == b->lsn && ramet_id_compare(&a->id.id, &b->id.id) == 0 &&
           a->root_offset_bytes == b->root_offset_bytes &&
           a->root_length_bytes == b->root_length_bytes &&
           ramet_hash_equal(&a->root_hash, &b->root_hash);
}

/* A map that is new here must be of this very line: of the commit `of`, or (zero)
 * of the one that comes. */
static enum ramet_rc
check_new_map(struct ramet_history *history,
              const struct ramet_commit_object *commit,
              const struct ramet_hash *of, struct ramet_err *err)
{
    const struct ramet_map_ref *const map = &commit->map;
    struct ramet_map_trailer trailer;
    const struct ramet_node_ref root = ramet_map_root_node(map);
    char key[RAMET_KEY_MAX];
    uint64_t size = 0;
    enum ramet_rc rc;

    assert(map->lsn >= 1);
    if (map->root_length_bytes == 0)
        return RAMET_OK; /* nothing lies anywhere: there is no object */
    rc = ramet_map_root_check(history, map, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_map_key(&history->volume, map->lsn, &map->id, key);
    rc = ramet_objstore_size(history->store, key, &size, err);
    if (rc == RAMET_OK)
        rc = ramet_history_read_trailer(history, map->lsn, &map->id, size,
                                        &trailer, err);
    if (rc != RAMET_OK)
        return rc;
    if (!ramet_hash_equal(&trailer.commit_hash, of) ||
        !ramet_node_ref_equal(&trailer.root, &root))
        return refuse(commit->lsn, "its map is of another history", err);
    return RAMET_OK;
}

static enum ramet_rc
check_map(struct ramet_history *history,
          const struct ramet_commit_object *commit,
          const struct ramet_map_ref *base_map, uint64_t base_map_lsn,
          uint32_t head_length, struct ramet_err *err)
{
    static const struct ramet_hash none;
    const struct ramet_point base = {commit->lsn - 1, commit->predecessor};
    struct ramet_hash before;
    uint64_t head_bytes;
    enum ramet_rc rc;

    assert(base_map_lsn < commit->lsn);
    if (commit->map.lsn < base_map_lsn)
        return refuse(commit->lsn, "its map is older than its predecessor's",
                      err);
    rc = ramet_history_heads_length(history, commit->map.lsn, &base,
                                    &head_bytes, &before, err);
    if (rc != RAMET_OK)
        return rc;
    if (head_bytes != commit->head_bytes_since_map)
        return refuse(commit->lsn, "it miscounts the heads after its map", err);
    if (!ramet_commit_has_own_map(commit) &&
        head_bytes + head_length > RAMET_MAP_EVERY_HEAD_BYTES)
        return refuse(commit->lsn, "it lies too far past its map", err);
    if (commit->map.lsn == base_map_lsn)
        return same_map(&commit->map, base_map)
                   ? RAMET_OK
                   : refuse(commit->lsn, "its map is another one", err);
    return check_new_map(history, commit,
                         ramet_commit_has_own_map(commit) ? &none : &before,
                         err);
}

/* The frames of a chunk hold changed pages only; *io_pages counts them. */
static enum ramet_rc
check_chunk(const struct ramet_table_cursor *cursor,
            const struct ramet_commit_object *commit, uint64_t *io_pages,
            struct ramet_err *err)
{
    assert(cursor->frame_count > 0);
    for (uint32_t i = 0; i < cursor->frame_count; i++) {
        const struct ramet_frame *const frame = &cursor->frames[i];

        for (uint32_t j = 0; j < frame->page_count; j++) {
            if (!ramet_pageset_contains(&commit->changed,
                                        frame->first_pgno + j))
                return refuse(commit->lsn, "a frame of pages not changed", err);
        }
        *io_pages += frame->page_count;
    }
    return RAMET_OK;
}

/* A segment is there, and as large as the commit says. */
static enum ramet_rc
check_object(struct ramet_history *history,
             const struct ramet_commit_object *commit,
             const struct ramet_sid *id, uint64_t size_bytes,
             struct ramet_err *err)
{
    const struct ramet_extent extent = {
        .volume = commit->volume, .kind = RAMET_IN_SEGMENT, .segment = *id};
    char key[RAMET_KEY_MAX];
    uint64_t size = 0;
    enum ramet_rc rc;

    assert(size_bytes > 0);
    ramet_extent_key(&extent, key);
    rc = ramet_objstore_size(history->store, key, &size, err);
    if (rc == RAMET_ENOTFOUND)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "commit %" PRIu64 " refused: %s is not in the store",
                          commit->lsn, key);
    if (rc == RAMET_OK && size != size_bytes)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "commit %" PRIu64 " refused: %s has %" PRIu64
                          " bytes, not %" PRIu64,
                          commit->lsn, key, size, size_bytes);
    return rc;
}

static enum ramet_rc
check_segment(struct ramet_history *history, struct ramet_table_cursor *cursor,
              const struct ramet_commit_object *commit, uint32_t index,
              uint64_t *io_pages, struct ramet_err *err)
{
    const struct ramet_segment_info *const segment = &commit->segments[index];
    enum ramet_rc rc;

    assert(index < commit->segment_count &&
           !ramet_commit_is_inline(commit, index));
    rc = check_object(history, commit, &segment->id, segment->size_bytes, err);
    if (rc != RAMET_OK)
        return rc;
    for (uint32_t i = 0; i < segment->chunk_count; i++) {
        rc = ramet_table_cursor_load(cursor, commit, segment, i, err);
        if (rc == RAMET_OK)
            rc = check_chunk(cursor, commit, io_pages, err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

static enum ramet_rc
check_inline(const struct ramet_commit_object *commit, const uint8_t *object,
             struct ramet_err *err)
{
    const struct ramet_segment_info *const segment = &commit->segments[0];

    assert(ramet_commit_is_inline(commit, 0));
    for (uint32_t i = 0; segment->frames != NULL && i < segment->frame_count;
         i++) {
        const struct ramet_extent *const extent = &segment->frames[i].extent;
        const struct ramet_hash hash =
            ramet_hash128(object + extent->offset_bytes, extent->length_bytes);

        if (!ramet_hash_equal(&hash, &extent->hash))
            return refuse(commit->lsn, "an inline frame has another hash", err);
    }
    return RAMET_OK;
}

/* Blocks are there; whether a delta's base is what it says shows its sum. */
static enum ramet_rc
check_deltas(struct ramet_history *history,
             const struct ramet_commit_object *commit,
             const struct ramet_head *base, const uint8_t *object,
             struct ramet_err *err)
{
    const struct ramet_commit_deltas *const deltas = &commit->deltas;

    assert(commit->lsn == base->lsn + 1);
    if (deltas->pages.run_count == 0)
        return RAMET_OK;
    for (uint32_t i = 0; i < deltas->name_count; i++) {
        if (deltas->names[i].pgno > base->page_count)
            return refuse(commit->lsn,
                          "a delta is based on a page that never existed", err);
    }
    if (!deltas->extent.is_inline)
        return check_object(history, commit, &deltas->extent.id,
                            deltas->extent.size_bytes, err);
    for (uint32_t i = 0;
         deltas->extent.blocks != NULL && i < deltas->extent.block_count; i++) {
        const struct ramet_frame block = ramet_commit_delta_block(commit, i);

        if (!ramet_extent_matches(&block.extent,
                                  object + block.extent.offset_bytes))
            return refuse(commit->lsn,
                          "an inline block of deltas has another hash", err);
    }
    return RAMET_OK;
}

static enum ramet_rc
check_pages(struct ramet_history *history,
            const struct ramet_commit_object *commit, const uint8_t *object,
            struct ramet_err *err)
{
    struct ramet_table_cursor cursor;
    uint64_t pages = 0; /* with a frame in a table or chunk */
    enum ramet_rc rc = RAMET_OK;

    assert(object != NULL);
    ramet_table_cursor_init(&cursor, history, UINT32_MAX);
    for (uint32_t i = 0; rc == RAMET_OK && i < commit->segment_count; i++) {
        const struct ramet_segment_info *const segment = &commit->segments[i];

        for (uint32_t j = 0;
             segment->frames != NULL && j < segment->frame_count; j++)
            pages += segment->frames[j].page_count;
        if (ramet_commit_is_inline(commit, i))
            rc = check_inline(commit, object, err);
        else
            rc = check_segment(history, &cursor, commit, i, &pages, err);
    }
    ramet_table_cursor_done(&cursor);
    if (rc == RAMET_OK && !ramet_commit_has_own_map(commit) &&
        pages != ramet_pageset_count(&commit->changed))
        rc = refuse(commit->lsn, "changed pages without a frame", err);
    return rc;
}

/* In the map that is its own, or by its tables over what was before. */
static enum ramet_rc
check_first_page(struct ramet_history *history,
                 const struct ramet_commit_object *commit,
                 const struct ramet_head *base, struct ramet_err *err)
{
    const struct ramet_point at = ramet_head_point(base);
    struct ramet_overlay overlay = {.history = history};
    enum ramet_rc rc = RAMET_OK;

    assert(commit->lsn == base->lsn + 1);
    if (!commit->says_first_page)
        return RAMET_OK;
    if (!ramet_commit_has_own_map(commit))
        rc = ramet_overlay_open(history, &at, &overlay, err);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_commit_has_own_map(commit)) {
        overlay.map = commit->map;
    } else {
        memmove(&overlay.commits[1], &overlay.commits[0],
                overlay.commit_count * sizeof(overlay.commits[0]));
        overlay.commits[0] = commit;
        overlay.commit_count++;
    }
    rc = ramet_first_page_check(&overlay, commit, err);
    ramet_overlay_close(&overlay);
    return rc;
}

enum ramet_rc
ramet_history_validate(struct ramet_history *history, const uint8_t *object,
                       size_t len, struct ramet_err *err)
{
    struct ramet_lru_entry *entry = NULL;
    struct ramet_map_ref base_map = {.lsn = 0};
    struct ramet_head base = {.lsn = 0};
    struct ramet_commit_object commit;
    struct ramet_hash hash;
    uint32_t head_length;
    enum ramet_rc rc;

    assert(object != NULL || len == 0);
    if (len < RAMET_COMMIT_CORE_SIZE)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%zu bytes are no commit", len);
    rc = ramet_commit_head_length(object, &head_length, err);
    if (rc != RAMET_OK)
        return rc;
    if (head_length > len)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "truncated commit (%zu bytes)",
                          len);
    rc = ramet_commit_decode(object, head_length, &history->volume,
                             ramet_get_le64(object + COMMIT_AT_LSN), len,
                             &commit, &hash, err);
    if (rc != RAMET_OK)
        return rc;
    if (commit.lsn > 1) {
        rc = ramet_history_load_head(history, commit.lsn - 1, false, &entry,
                                     err);
        if (rc == RAMET_ENOTFOUND)
            rc = RAMET_FAIL(err, RAMET_ECONFLICT,
                            "commit %" PRIu64
                            " is based on a commit that is not here",
                            commit.lsn);
        if (rc != RAMET_OK)
            goto done;
        ramet_history_fill_head(ramet_loaded_head(entry), &base);
        base_map = ramet_loaded_head(entry)->commit.map;
    }
    rc = check_against_base(history, &commit, &base, err);
    if (rc == RAMET_OK)
        rc = check_map(history, &commit, &base_map, base.map_lsn, head_length,
                       err);
    if (rc == RAMET_OK)
        rc = check_pages(history, &commit, object, err);
    if (rc == RAMET_OK)
        rc = check_deltas(history, &commit, &base, object, err);
    if (rc == RAMET_OK)
        rc = check_first_page(history, &commit, &base, err);

done:
    ramet_history_release(history, entry);
    ramet_commit_done(&commit);
    return rc;
}
