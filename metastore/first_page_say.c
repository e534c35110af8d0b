/*
 * first_page_say.c - commits that are to say where page 1 lies, and whether it lies
 * where they do.
 *
 * Layer: metastore.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "metastore/first_page.h"
#include "metastore/head_cache.h"

/* ---- saying it -------------------------------------------------------------- */

static bool
same_map(const struct ramet_map_ref *a, const struct ramet_map_ref *b)
{
    return a->lsn == b->lsn && ramet_id_compare(&a->id.id, &b->id.id) == 0;
}

bool
ramet_first_page_is_due(const struct ramet_commit_object *commit,
                        const struct ramet_map_ref *base_map)
{
    assert(commit->lsn >= 1);
    if (commit->page_count == 0)
        return false;
    if (!ramet_commit_has_own_map(commit) &&
        ramet_pageset_contains(&commit->changed, 1))
        return false;
    return !same_map(&commit->map, base_map) ||
           commit->commits_since_map % RAMET_FIRST_PAGE_HEADS == 0;
}

/* Where page 1, or its base image, lies at `base`. */
static bool
find_at(struct ramet_history *history, const struct ramet_point *base,
        struct ramet_located *out)
{
    const uint64_t first = base->lsn > RAMET_FIRST_PAGE_HEADS
                               ? base->lsn - RAMET_FIRST_PAGE_HEADS + 1
                               : 1;
    const uint32_t pgno = 1;

    if (base->lsn == 0)
        return false;
    ramet_history_bring_heads(history, first, base->lsn, NULL);
    return ramet_first_page_known(history, base, out) ||
           ramet_history_locate(history, base, &pgno, 1, out, NULL) == RAMET_OK;
}

static bool
find_image(struct ramet_history *history,
           const struct ramet_commit_object *commit, struct ramet_located *out)
{
    struct ramet_table_cursor cursor;
    enum ramet_rc rc;

    ramet_table_cursor_init(&cursor, history, 1);
    rc = ramet_table_find(&cursor, commit, 1, &out->image, NULL);
    ramet_table_cursor_done(&cursor);
    out->lsn = commit->lsn;
    if (ramet_commit_is_inline(commit, 0)) { /* the first segment has page 1 */
        out->image.extent.kind = RAMET_IN_COMMIT;
        out->image.extent.lsn = commit->lsn;
    }
    return rc == RAMET_OK;
}

/* The commit's own delta, its place as the encoder wants it. */
static bool
find_own_delta(struct ramet_commit_object *commit, struct ramet_located *out)
{
    bool found;

    ramet_commit_index_deltas(commit);
    found = ramet_first_page_delta(commit, out);
    if (commit->deltas.extent.is_inline)
        out->block.extent.offset_bytes -=
            ramet_commit_inline_start(commit->head_length_bytes);
    return found;
}

void
ramet_first_page_say(struct ramet_history *history,
                     const struct ramet_point *base,
                     struct ramet_commit_object *commit)
{
    struct ramet_located said = {.image_pgno = 1}, before;
    bool known;

    assert(!commit->says_first_page && commit->lsn == base->lsn + 1);
    if (ramet_pageset_contains(&commit->changed, 1)) {
        known = find_image(history, commit, &said);
    } else {
        known = commit->least_page_count > 0 && find_at(history, base, &before);
        if (known && ramet_pageset_contains(&commit->deltas.pages, 1))
            known = find_own_delta(commit, &said);
        if (known && before.image.page_count > 0)
            ramet_first_page_take(&said, &before);
    }
    if (!known || said.image.page_count == 0 || said.image_pgno != 1 ||
        said.image.first_pgno != 1)
        return;
    commit->says_first_page = true;
    commit->first_page = said;
}

/* ---- checking it ------------------------------------------------------------ */

static bool
same_place(const struct ramet_extent *a, const struct ramet_extent *b)
{
    return a->length_bytes == b->length_bytes &&
           (a->length_bytes == 0 || (ramet_extent_same_object(a, b) &&
                                     a->offset_bytes == b->offset_bytes &&
                                     a->hash_algo == b->hash_algo &&
                                     ramet_hash_equal(&a->hash, &b->hash)));
}

static bool
same_located(const struct ramet_located *a, const struct ramet_located *b)
{
    return a->image.page_count == b->image.page_count &&
           a->image.first_pgno == b->image.first_pgno &&
           a->image.kind == b->image.kind && a->image_pgno == b->image_pgno &&
           same_place(&a->image.extent, &b->image.extent) &&
           same_place(&a->image.base, &b->image.base) &&
           same_place(&a->block.extent, &b->block.extent) &&
           a->position == b->position && a->lsn == b->lsn;
}

enum ramet_rc
ramet_first_page_check(const struct ramet_overlay *overlay,
                       const struct ramet_commit_object *commit,
                       struct ramet_err *err)
{
    struct ramet_overlay plain = *overlay;
    struct ramet_located found;
    const uint32_t pgno = 1;
    enum ramet_rc rc;

    if (!commit->says_first_page)
        return RAMET_OK;
    plain.passes_over_first_page = true;
    rc = ramet_overlay_locate(&plain, &pgno, 1, &found, err);
    if (rc == RAMET_OK && !same_located(&found, &commit->first_page))
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "commit %" PRIu64 ": page 1 does not lie where it says",
                        commit->lsn);
    return rc;
}
