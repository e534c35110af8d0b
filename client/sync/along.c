/*
 * along.c - see along.h.
 */
#include "client/sync/along.h"

#include <assert.h>
#include <string.h>

#include "client/remote/source.h"
#include "core/alloc.h"

/* What of one commit is looked at at a time. */
#define PAGES_MAX 256u

/* From the newest commit back to the oldest. */
struct walk {
    struct ramet_along *along;
    struct ramet_history *history;
    struct ramet_remote *remote;
    struct ramet_pageset seen; /* changed by a later one */
    uint32_t least;            /* what later ones left: pages above it went */
};

static bool
holds(const struct walk *walk, const struct ramet_located *located)
{
    struct ramet_remote *const remote = walk->remote;

    return (located->image.page_count == 0 ||
            remote->ops->holds(remote, &located->image.place)) &&
           (!ramet_located_has_delta(located) ||
            remote->ops->holds(remote, &located->block.place));
}

static enum ramet_rc
take_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct ramet_along *const along = ctx;

    (void)err;
    if (along->count == along->max)
        return RAMET_ETOOBIG;
    along->pgnos[along->count] = pgno;
    memcpy(along->pages + (size_t)along->count * along->page_size, page,
           along->page_size);
    along->count++;
    return RAMET_OK;
}

/* Pages of the commit that no later one changed or cut off, ascending. */
static size_t
list_own(const struct walk *walk, const struct ramet_commit *commit,
         uint32_t *out)
{
    uint32_t image = ramet_pageset_next(&commit->changed, 0);
    uint32_t delta = ramet_pageset_next(&commit->deltas.pages, 0);
    size_t count = 0;

    while ((image != 0 || delta != 0) && count < PAGES_MAX) {
        const bool is_image = delta == 0 || (image != 0 && image < delta);
        const uint32_t pgno = is_image ? image : delta;

        if (pgno <= walk->least && !ramet_pageset_contains(&walk->seen, pgno))
            out[count++] = pgno;
        if (image == pgno)
            image = ramet_pageset_next(&commit->changed, pgno);
        if (delta == pgno)
            delta = ramet_pageset_next(&commit->deltas.pages, pgno);
    }
    return count;
}

/* Those that can be had without a request. */
static size_t
keep_those_here(const struct walk *walk, const struct ramet_point *at,
                uint32_t *pgnos, size_t count)
{
    struct ramet_located located[PAGES_MAX];
    size_t kept = 0;

    assert(count <= PAGES_MAX);
    if (ramet_history_locate(walk->history, at, pgnos, count, located, NULL) !=
        RAMET_OK)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (holds(walk, &located[i]))
            pgnos[kept++] = pgnos[i];
    return kept;
}

static bool
note_seen(struct walk *walk, const struct ramet_commit *commit)
{
    if (commit->least_page_count < walk->least)
        walk->least = commit->least_page_count;
    return ramet_pageset_add_set(&walk->seen, &commit->changed) == RAMET_OK &&
           ramet_pageset_add_set(&walk->seen, &commit->deltas.pages) ==
               RAMET_OK;
}

/* One commit; false: no further. */
static bool
walk_commit(struct walk *walk, struct ramet_point *io_at)
{
    struct ramet_commit commit;
    uint32_t pgnos[PAGES_MAX];
    size_t count;
    bool go_on;

    if (ramet_history_commit(walk->history, io_at->lsn, &commit, NULL) !=
        RAMET_OK)
        return false;
    go_on = commit.page_size == walk->along->page_size && commit.has_inline &&
            !ramet_commit_has_own_map(&commit);
    if (go_on) {
        count =
            keep_those_here(walk, io_at, pgnos, list_own(walk, &commit, pgnos));
        go_on = count == 0 || ramet_history_read_pages(
                                  walk->history, io_at, pgnos, count, false,
                                  take_page, walk->along, NULL) == RAMET_OK;
    } else if (commit.role != RAMET_COMMIT_CONTENT) {
        go_on = true; /* it changes nothing */
    }
    go_on = go_on && note_seen(walk, &commit);
    *io_at = (struct ramet_point){io_at->lsn - 1, commit.predecessor};
    ramet_commit_done(&commit);
    return go_on;
}

void
ramet_along_collect(struct ramet_along *along, const struct ramet_sync *sync,
                    uint64_t from, const struct ramet_head *head)
{
    struct walk walk = {.along = along,
                        .history = sync->history,
                        .remote = ramet_source_remote(sync->source),
                        .least = head->page_count};
    struct ramet_point at = ramet_head_point(head);
    unsigned commits = 0;

    memset(along, 0, sizeof(*along));
    if (!sync->believes || walk.remote->ops->holds == NULL ||
        !ramet_session_can_keep(sync->session))
        return;
    along->page_size = head->page_size;
    along->max = RAMET_ALONG_BYTES / head->page_size;
    along->pgnos = ramet_alloc(along->max * sizeof(*along->pgnos));
    along->pages = ramet_alloc((size_t)along->max * along->page_size);
    ramet_pageset_init(&walk.seen);
    while (along->pgnos != NULL && along->pages != NULL && at.lsn > from &&
           commits++ < RAMET_ALONG_COMMITS && walk_commit(&walk, &at))
        ;
    ramet_pageset_done(&walk.seen);
}

void
ramet_along_done(struct ramet_along *along)
{
    ramet_free(along->pgnos);
    ramet_free(along->pages);
    memset(along, 0, sizeof(*along));
}

uint8_t *
ramet_along_copy(const struct ramet_along *along, uint32_t pgno)
{
    for (uint32_t i = 0; i < along->count; i++) {
        uint8_t *copy;

        if (along->pgnos[i] != pgno)
            continue;
        copy = ramet_alloc(along->page_size);
        if (copy != NULL)
            memcpy(copy, along->pages + (size_t)i * along->page_size,
                   along->page_size);
        return copy;
    }
    return NULL;
}

void
ramet_along_keep(const struct ramet_along *along, const struct ramet_sync *sync,
                 const struct ramet_point *at)
{
    for (uint32_t i = 0; i < along->count; i++)
        if (ramet_session_fill(sync->session, at, along->pgnos[i],
                               along->pages + (size_t)i * along->page_size,
                               NULL) != RAMET_OK)
            return; /* whoever reads it fetches it */
}
