/*
 * pipeline_room.c - how much may be under way: what pages take on the link, what
 * it has room for, and how that is parted among requests. All of it under the
 * mutex.
 */
#include <assert.h>

#include "client/remote/pace.h"
#include "client/remote/pipeline_impl.h"
#include "client/remote/remote_client.h"

/* Of a remote whose link is not measured. */
#define BUDGET_UNMEASURED (1u << 20)
/* A request is a part of the budget, so that several share it. */
#define SHARES 3u
#define SHARE_MIN (64u << 10)
#define SHARE_MAX (1u << 20)
/* Of bulk reads, at least: else a fast link would mean many small requests.
 * Where the link is not measured it may be long and wide: then as much as the
 * requests take that a bulk read may have, each of which shares the link with a
 * reader's and is before none. */
#define BUDGET_OF_BULK (1u << 20)
#define BUDGET_OF_BULK_UNMEASURED (RAMET_AHEAD_BATCHES_ALL * SHARE_MAX)
#define COST_SAMPLE 64u /* pages */

size_t
ramet_pipeline_page_cost(const struct ramet_pipeline *pipeline,
                         uint32_t page_size)
{
    return pipeline->cost > 0 ? pipeline->cost : page_size / 2;
}

/* Some pages more have come: what did they take? Other requests of the client
 * count as well; they are few where it matters. What leads to pages counts while
 * it comes, but no page is taken for more than itself: that is here soon, and the
 * link would idle meanwhile. */
void
ramet_pipeline_note_cost(struct ramet_pipeline *pipeline, uint32_t page_size,
                         uint64_t received)
{
    const uint64_t pages = pipeline->landings - pipeline->costed;
    uint64_t each;

    if (pages < COST_SAMPLE)
        return;
    each = (received - pipeline->costed_bytes) / pages;
    if (each < 64)
        each = 64;
    if (each > page_size)
        each = page_size;
    pipeline->cost = pipeline->cost == 0
                         ? (size_t)each
                         : (size_t)((pipeline->cost * 3 + each) / 4);
    pipeline->costed = pipeline->landings;
    pipeline->costed_bytes = received;
}

size_t
ramet_pipeline_budget(struct ramet_pipeline *pipeline,
                      enum ramet_urgency urgency)
{
    struct ramet_pace *const pace = ramet_remote_client_pace(pipeline->client);
    size_t bytes;

    if (pace == NULL)
        return urgency == RAMET_WANT_BULK ? BUDGET_OF_BULK_UNMEASURED
                                          : BUDGET_UNMEASURED;
    assert(urgency < RAMET_WANT_HELD);
    bytes = ramet_pace_budget(pace);
    return urgency == RAMET_WANT_BULK && bytes < BUDGET_OF_BULK ? BUDGET_OF_BULK
                                                                : bytes;
}

size_t
ramet_pipeline_kept_pages(struct ramet_pipeline *pipeline, uint32_t page_size)
{
    size_t pages = UINT32_MAX;

    assert(page_size != 0);
    for (const struct ramet_keeper *k = pipeline->keepers; k != NULL;
         k = k->next)
        if (k->ahead_max > 0 && k->ahead_max / page_size < pages)
            pages = k->ahead_max / page_size;
    return pages;
}

size_t
ramet_pipeline_ahead_pages(struct ramet_pipeline *pipeline, uint32_t page_size)
{
    const size_t pages = ramet_pipeline_budget(pipeline, RAMET_WANT_AHEAD) /
                         ramet_pipeline_page_cost(pipeline, page_size);
    const size_t kept = ramet_pipeline_kept_pages(pipeline, page_size);

    return pages < kept ? pages : kept;
}

size_t
ramet_pipeline_share(struct ramet_pipeline *pipeline,
                     enum ramet_urgency urgency, uint32_t page_size)
{
    const size_t all = ramet_pipeline_budget(pipeline, urgency);
    size_t bytes = all / SHARES;
    size_t pages;

    if (bytes < SHARE_MIN)
        bytes = SHARE_MIN < all ? SHARE_MIN : all;
    if (bytes > SHARE_MAX)
        bytes = SHARE_MAX;
    pages = bytes / ramet_pipeline_page_cost(pipeline, page_size);
    if (pages < 1)
        pages = 1;
    assert(pages >= 1);
    return pages < RAMET_BATCH_PAGES ? pages : RAMET_BATCH_PAGES;
}

size_t
ramet_pipeline_room(struct ramet_pipeline *pipeline, uint32_t page_size)
{
    const size_t pages = ramet_pipeline_ahead_pages(pipeline, page_size);
    const size_t taken = pipeline->left +
                         pipeline->queues[RAMET_WANT_READ].count +
                         pipeline->queues[RAMET_WANT_WARM].count +
                         pipeline->queues[RAMET_WANT_AHEAD].count;

    return pages > taken ? pages - taken : 0;
}

size_t
ramet_pipeline_bulk_pages(struct ramet_pipeline *pipeline, uint32_t page_size)
{
    const size_t most = RAMET_AHEAD_BATCHES_ALL * RAMET_BATCH_PAGES;
    const size_t pages = ramet_pipeline_budget(pipeline, RAMET_WANT_BULK) /
                         ramet_pipeline_page_cost(pipeline, page_size);

    return pages < most ? pages : most;
}
