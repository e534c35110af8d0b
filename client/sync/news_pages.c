/*
 * news_pages.c - see news_pages.h.
 */
#include "client/sync/news_pages.h"

#include <assert.h>
#include <string.h>

#include "client/remote/remote_client.h"
#include "client/sync/recent_bases.h"
#include "core/alloc.h"
#include "pagestore/delta.h"

/* What of one commit is looked at at a time. */
#define PAGES_MAX 256u

/* From the newest commit back to the oldest. */
struct walk {
    struct ramet_news_pages *news;
    struct ramet_history *history;
    struct ramet_remote *remote;
    struct ramet_session *session;
    struct ramet_point from;            /* on which the replica stands */
    struct ramet_recent_bases **recent; /* the replica_sync's */
    uint8_t *base, *page;               /* of one page */
    struct ramet_pageset seen;          /* changed by a later one */
    uint32_t least; /* what later ones left: pages above it went */
};

/* Does the commit itself say where its images lie? Else that had to be read. */
static bool
has_tables(const struct ramet_commit_object *commit)
{
    assert(commit->segment_count == 0 || commit->segments != NULL);
    for (uint32_t i = 0; i < commit->segment_count; i++)
        if (commit->segments[i].frames == NULL)
            return false;
    return true;
}

static enum ramet_rc
take_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct ramet_news_pages *const news = ctx;

    assert(news->count <= news->max && pgno >= 1); /* invariant (3) */
    (void)err;
    if (news->count == news->max)
        return RAMET_ETOOBIG;
    news->pgnos[news->count] = pgno;
    memcpy(news->pages + (size_t)news->count * news->page_size, page,
           news->page_size);
    news->count++;
    return RAMET_OK;
}

/* Pages of the commit that no later one changed or cut off, ascending. */
static size_t
list_own(const struct walk *walk, const struct ramet_commit_object *commit,
         uint32_t *out)
{
    uint32_t image = ramet_pageset_next(&commit->changed, 0);
    uint32_t delta = ramet_pageset_next(&commit->deltas.pages, 0);
    size_t count = 0;

    while ((image != 0 || delta != 0) && count < PAGES_MAX) {
        const bool is_image = delta == 0 || (image != 0 && image < delta);
        const uint32_t pgno = is_image ? image : delta;

        assert(pgno >= 1 && count < PAGES_MAX);
        if (pgno <= walk->least && !ramet_pageset_contains(&walk->seen, pgno))
            out[count++] = pgno;
        if (image == pgno)
            image = ramet_pageset_next(&commit->changed, pgno);
        if (delta == pgno)
            delta = ramet_pageset_next(&commit->deltas.pages, pgno);
    }
    return count;
}

/* Images of the commit that came with it. A delta that was not made of what is here
 * is over an image that only a look into the map would find. Invariant (1). */
static size_t
keep_images(const struct walk *walk, const struct ramet_commit_object *commit,
            const struct ramet_point *at, uint32_t *pgnos, size_t count)
{
    struct ramet_located located[PAGES_MAX];
    size_t images = 0, kept = 0;

    assert(walk->remote->ops->holds != NULL);
    assert(count <= PAGES_MAX);
    for (size_t i = 0; i < count; i++)
        if (ramet_pageset_contains(&commit->changed, pgnos[i]))
            pgnos[images++] = pgnos[i];
    if (images == 0 || !has_tables(commit) ||
        ramet_history_locate(walk->history, at, pgnos, images, located, NULL) !=
            RAMET_OK)
        return 0;
    for (size_t i = 0; i < images; i++)
        if (walk->remote->ops->holds(walk->remote, &located[i].image.extent))
            pgnos[kept++] = pgnos[i];
    return kept;
}

/* ---- what the replica has the base of --------------------------------------- */

/* The pages of one commit that are made of its deltas and of what is here. */
struct making {
    struct walk *walk;
    const struct ramet_commit_object *commit;
    uint32_t *pgnos; /* wanted; what is made goes out of them */
    size_t count;
    uint32_t block; /* the one that comes */
};

/* Is it the page, over this image? Its sum tells. */
static bool
apply(const struct walk *walk, const struct ramet_delta *delta,
      const uint8_t *image)
{
    assert(walk->page != NULL && walk->page != image);
    return image != NULL &&
           ramet_delta_apply(delta, image, walk->news->page_size, walk->page,
                             NULL) == RAMET_OK;
}

/* The image under the page's last delta, or the page as it is here, which is one
 * if it never had any. */
static bool
make_page(const struct walk *walk, uint32_t pgno, uint32_t base_pgno,
          const struct ramet_delta *delta, struct ramet_err *err)
{
    const uint32_t page_size = walk->news->page_size;
    const uint8_t *image =
        ramet_recent_bases_get(*walk->recent, base_pgno, page_size);

    assert(pgno >= 1);
    if (!apply(walk, delta, image)) {
        image = ramet_session_peek(walk->session, &walk->from, base_pgno,
                                   walk->base, page_size)
                    ? walk->base
                    : NULL;
        if (!apply(walk, delta, image))
            return false;
    } else if (base_pgno != pgno) { /* the next put may take its place */
        memcpy(walk->base, image, page_size);
        image = walk->base;
    }
    ramet_recent_bases_put(walk->recent, pgno, image, page_size);
    return take_page(walk->news, pgno, walk->page, err) == RAMET_OK;
}

static enum ramet_rc
take_block(void *ctx, const struct ramet_frame *frame, const uint8_t *content,
           size_t len, struct ramet_err *err)
{
    struct making *const making = ctx;
    const struct ramet_commit_object *const commit = making->commit;
    struct ramet_delta_cursor cursor;
    size_t left = 0;
    enum ramet_rc rc = ramet_delta_cursor_open(
        &cursor, content, len, making->walk->news->page_size, err);

    assert(making->block < commit->deltas.extent.block_count);
    (void)frame;
    if (rc != RAMET_OK)
        return rc;
    for (size_t i = 0; i < making->count; i++) {
        const uint32_t pgno = making->pgnos[i];
        uint32_t block, position, base_pgno;
        struct ramet_delta delta;
        bool made = false;

        if (ramet_pageset_contains(&commit->deltas.pages, pgno)) {
            ramet_commit_find_delta(commit, pgno, &block, &position,
                                    &base_pgno);
            made = block == making->block &&
                   ramet_delta_cursor_find(&cursor, position, &delta, err) ==
                       RAMET_OK &&
                   make_page(making->walk, pgno, base_pgno, &delta, err);
        }
        if (!made)
            making->pgnos[left++] = pgno;
    }
    making->count = left;
    return RAMET_OK;
}

/* Make what can be made, and leave the rest of `pgnos`: how many. */
static size_t
make_those_here(struct walk *walk, const struct ramet_commit_object *commit,
                uint32_t *pgnos, size_t count)
{
    struct making making = {walk, commit, pgnos, count, 0};
    struct ramet_err err;

    assert(count <= PAGES_MAX && walk->remote->ops->holds != NULL);
    for (; making.block < commit->deltas.extent.block_count && making.count > 0;
         making.block++) {
        const struct ramet_frame block =
            ramet_commit_delta_block(commit, making.block);

        if (!walk->remote->ops->holds(walk->remote, &block.extent) ||
            ramet_frame_read_many(ramet_history_frame_reader(walk->history),
                                  &block, 1, walk->news->page_size, take_block,
                                  &making, &err) != RAMET_OK)
            break;
    }
    return making.count;
}

static bool
note_seen(struct walk *walk, const struct ramet_commit_object *commit)
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
    struct ramet_commit_object commit;
    uint32_t pgnos[PAGES_MAX];
    size_t count;
    bool go_on;

    assert(io_at->lsn >= 1);
    if (ramet_history_commit(walk->history, io_at->lsn, &commit, NULL) !=
        RAMET_OK)
        return false;
    go_on = commit.page_size == walk->news->page_size && commit.has_inline &&
            !ramet_commit_has_own_map(&commit);
    if (go_on) {
        count = list_own(walk, &commit, pgnos);
        if (commit.deltas.pages.run_count > 0)
            count = make_those_here(walk, &commit, pgnos, count);
        count = keep_images(walk, &commit, io_at, pgnos, count);
        go_on = count == 0 || ramet_history_read_pages(
                                  walk->history, io_at, pgnos, count, false,
                                  take_page, walk->news, NULL) == RAMET_OK;
    } else if (commit.role != RAMET_COMMIT_CONTENT) {
        go_on = true; /* it changes nothing */
    }
    go_on = go_on && note_seen(walk, &commit);
    *io_at = (struct ramet_point){io_at->lsn - 1, commit.predecessor};
    ramet_commit_done(&commit);
    return go_on;
}

void
ramet_news_pages_collect(struct ramet_news_pages *news,
                         const struct ramet_sync *sync, uint64_t from,
                         const struct ramet_head *head)
{
    struct walk walk = {.news = news,
                        .history = sync->history,
                        .remote = ramet_remote_client_remote(sync->client),
                        .session = sync->session,
                        .from = ramet_snapshot_point(&sync->state->newest),
                        .recent = &sync->replica_sync->recent_bases,
                        .least = head->page_count};
    struct ramet_point at = ramet_head_point(head);
    unsigned commits = 0;

    assert(head->page_size != 0 && head->lsn >= from);
    memset(news, 0, sizeof(*news));
    if (walk.remote->ops->holds == NULL ||
        !ramet_session_can_keep(sync->session))
        return;
    news->page_size = head->page_size;
    news->max = RAMET_NEWS_PAGES_BYTES / head->page_size;
    news->pgnos = ramet_alloc(news->max * sizeof(*news->pgnos));
    news->pages = ramet_alloc((size_t)news->max * news->page_size);
    walk.base = ramet_alloc(news->page_size);
    walk.page = ramet_alloc(news->page_size);
    ramet_pageset_init(&walk.seen);
    while (news->pgnos != NULL && news->pages != NULL && walk.base != NULL &&
           walk.page != NULL && at.lsn > from &&
           commits++ < RAMET_NEWS_PAGES_COMMITS && walk_commit(&walk, &at))
        ;
    ramet_pageset_done(&walk.seen);
    ramet_free(walk.base);
    ramet_free(walk.page);
}

void
ramet_news_pages_done(struct ramet_news_pages *news)
{
    ramet_free(news->pgnos);
    ramet_free(news->pages);
    memset(news, 0, sizeof(*news));
}

uint8_t *
ramet_news_pages_copy(const struct ramet_news_pages *news, uint32_t pgno)
{
    assert(news->count <= news->max && pgno >= 1);
    for (uint32_t i = 0; i < news->count; i++) {
        uint8_t *copy;

        if (news->pgnos[i] != pgno)
            continue;
        copy = ramet_alloc(news->page_size);
        if (copy != NULL)
            memcpy(copy, news->pages + (size_t)i * news->page_size,
                   news->page_size);
        return copy;
    }
    return NULL;
}

void
ramet_news_pages_keep(const struct ramet_news_pages *news,
                      const struct ramet_sync *sync,
                      const struct ramet_point *at)
{
    assert(news->count <= news->max);
    /* What could not be kept whoever reads it fetches. */
    if (news->count == 0)
        return;
    (void)!ramet_session_keep_fetched_run(sync->session, at, news->pgnos,
                                          news->count, news->pages,
                                          news->page_size, NULL);
}
