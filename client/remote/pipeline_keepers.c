/*
 * pipeline_keepers.c - those who keep pages: each is asked in turn, without the
 * pipeline's mutex, and held meanwhile.
 */
#include <assert.h>

#include "client/remote/pagecache.h"
#include "client/remote/pipeline_impl.h"
#include "client/remote/remote_client.h"

/* Pages that came for a commit on which nobody here stands. */
#define CACHE_BYTES (4u << 20)

/* The keeper after `keeper`, held; NULL: there is none. `keeper` is let go. */
static struct ramet_keeper *
next_keeper(struct ramet_pipeline *pipeline, struct ramet_keeper *keeper)
{
    struct ramet_keeper *next;

    ramet_mutex_lock(&pipeline->mutex);
    next = keeper != NULL ? keeper->next : pipeline->keepers;
    assert(keeper == NULL || keeper->calls > 0);
    if (keeper != NULL && --keeper->calls == 0)
        ramet_cond_broadcast(&pipeline->keeper_left);
    if (next != NULL)
        next->calls++;
    ramet_mutex_unlock(&pipeline->mutex);
    return next;
}

bool
ramet_keepers_have(void *ctx, const struct ramet_point *at, uint32_t pgno)
{
    struct ramet_pipeline *const pipeline = ctx;
    bool here = false;

    for (struct ramet_keeper *k = next_keeper(pipeline, NULL); k != NULL;
         k = next_keeper(pipeline, k))
        here = here || k->has(k->ctx, at, pgno);
    return here;
}

bool
ramet_keepers_peek(void *ctx, const struct ramet_point *at, uint32_t pgno,
                   uint8_t *out_page, size_t page_size)
{
    struct ramet_pipeline *const pipeline = ctx;
    bool found = false;

    assert(page_size > 0 && out_page != NULL);
    for (struct ramet_keeper *k = next_keeper(pipeline, NULL); k != NULL;
         k = next_keeper(pipeline, k))
        found = found || k->peek(k->ctx, at, pgno, out_page, page_size);
    return found;
}

void
ramet_keepers_keep(struct ramet_pipeline *pipeline,
                   const struct ramet_point *at, const uint32_t *pgnos,
                   size_t count, const uint8_t *pages, size_t page_size,
                   bool in_bulk)
{
    struct ramet_pagecache *cache;
    bool kept = false;

    assert(count > 0 && pages != NULL && page_size > 0);
    for (struct ramet_keeper *k = next_keeper(pipeline, NULL); k != NULL;
         k = next_keeper(pipeline, k))
        if (k->keep(k->ctx, at, pgnos, count, pages, page_size, in_bulk))
            kept = true;
    cache = kept ? NULL
                 : ramet_remote_client_cache(pipeline->client,
                                             &pipeline->volume, CACHE_BYTES);
    for (size_t i = 0; cache != NULL && i < count; i++)
        ramet_pagecache_put(cache, at, pgnos[i], pages + i * page_size,
                            page_size);
}

/* How many pages may come unasked for: more would evict what was read. */
size_t
ramet_keepers_room(struct ramet_pipeline *pipeline, uint32_t page_size)
{
    size_t pages = SIZE_MAX;

    assert(page_size > 0);
    ramet_mutex_lock(&pipeline->mutex);
    for (const struct ramet_keeper *k = pipeline->keepers; k != NULL;
         k = k->next)
        if (k->ahead_max > 0 && k->ahead_max / page_size < pages)
            pages = k->ahead_max / page_size;
    ramet_mutex_unlock(&pipeline->mutex);
    return pages;
}

void
ramet_pipeline_join(struct ramet_pipeline *pipeline,
                    struct ramet_keeper *keeper)
{
    assert(keeper->has != NULL && keeper->keep != NULL && keeper->peek != NULL);
    assert(keeper->calls == 0);
    ramet_mutex_lock(&pipeline->mutex);
    keeper->next = pipeline->keepers;
    pipeline->keepers = keeper;
    ramet_mutex_unlock(&pipeline->mutex);
}

void
ramet_pipeline_leave(struct ramet_pipeline *pipeline,
                     struct ramet_keeper *keeper)
{
    struct ramet_keeper **link = &pipeline->keepers;
    bool is_last;

    if (pipeline->fork_count != ramet_os_fork_count())
        return; /* it is the parent's, and so are the threads */
    ramet_mutex_lock(&pipeline->mutex);
    while (keeper->calls > 0)
        ramet_cond_wait(&pipeline->keeper_left, &pipeline->mutex);
    while (*link != keeper)
        link = &(*link)->next;
    assert(keeper->calls == 0);
    *link = keeper->next;
    is_last = pipeline->keepers == NULL;
    if (is_last) /* invariant (4) */
        ramet_wants_abandon(pipeline);
    ramet_mutex_unlock(&pipeline->mutex);
    if (is_last)
        ramet_ahead_clear(pipeline->ahead);
}
