/*
 * first_page.c - see first_page.h.
 *
 * Heads are gone through from the newest on: a delta that was met is kept, and what
 * says where an image lies ends it. What can't be told by heads alone is not told.
 *
 * Layer: metastore.
 */
#include "metastore/first_page.h"

#include <assert.h>

#include "metastore/head_cache.h"

enum step { STEP_OLDER, STEP_FOUND, STEP_UNKNOWN };

void
ramet_first_page_take(struct ramet_located *io_found,
                      const struct ramet_located *said)
{
    assert(said->image.page_count > 0);
    if (!ramet_located_has_delta(io_found)) {
        *io_found = *said;
        return;
    }
    io_found->image = said->image;
    io_found->image_pgno = said->image_pgno;
}

bool
ramet_first_page_delta(const struct ramet_commit_object *c,
                       struct ramet_located *io_found)
{
    uint32_t block, position, base;

    if (c->deltas.extent.blocks == NULL)
        return false;
    ramet_commit_find_delta(c, 1, &block, &position, &base);
    if (!ramet_located_has_delta(io_found)) {
        io_found->block = ramet_commit_delta_block(c, block);
        io_found->position = position;
        io_found->lsn = c->lsn;
    }
    return base == 1;
}

/* What commit `c`, of which all is decoded, says beside what the later ones said. */
static enum step
step(const struct ramet_commit_object *c, struct ramet_located *io_found)
{
    if (c->says_first_page) {
        ramet_first_page_take(io_found, &c->first_page);
        return STEP_FOUND;
    }
    if (ramet_pageset_contains(&c->changed, 1))
        return STEP_UNKNOWN; /* by its tables */
    if (ramet_pageset_contains(&c->deltas.pages, 1))
        return ramet_first_page_delta(c, io_found) ? STEP_OLDER : STEP_UNKNOWN;
    return c->least_page_count == 0 ? STEP_UNKNOWN : STEP_OLDER;
}

bool
ramet_overlay_first_page(const struct ramet_overlay *overlay,
                         struct ramet_located *out_located)
{
    struct ramet_located found = {.image_pgno = 1};
    enum step last = STEP_OLDER;

    for (unsigned i = 0; i < overlay->commit_count && last == STEP_OLDER; i++)
        last = step(overlay->commits[i], &found);
    if (last != STEP_FOUND)
        return false;
    assert(found.image_pgno == 1 && found.lsn >= 1);
    *out_located = found;
    return true;
}

/* The next of the heads, which is let go of. `*io_at` goes to the one before. */
static enum step
step_known(struct ramet_history *history, struct ramet_point *io_at,
           struct ramet_located *io_found)
{
    const struct ramet_lru_key key = {.kind = LRU_HEAD, .number = io_at->lsn};
    struct ramet_lru_entry *const entry = ramet_lru_get(&history->lru, &key);
    const struct ramet_loaded_head *head;
    enum step next = STEP_UNKNOWN;

    if (entry == NULL)
        return STEP_UNKNOWN;
    head = ramet_loaded_head(entry);
    if (head->raw != NULL && ramet_hash_equal(&head->hash, &io_at->hash)) {
        next = step(&head->commit, io_found);
        *io_at = (struct ramet_point){io_at->lsn - 1, head->commit.predecessor};
    }
    ramet_history_release(history, entry);
    return next;
}

bool
ramet_first_page_known(struct ramet_history *history,
                       const struct ramet_point *at,
                       struct ramet_located *out_located)
{
    struct ramet_located found = {.image_pgno = 1};
    struct ramet_point next = *at;
    enum step last = STEP_OLDER;

    for (unsigned i = 0;
         i < RAMET_FIRST_PAGE_HEADS && next.lsn > 0 && last == STEP_OLDER; i++)
        last = step_known(history, &next, &found);
    if (last == STEP_FOUND)
        *out_located = found;
    return last == STEP_FOUND;
}
