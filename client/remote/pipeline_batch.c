/*
 * pipeline_batch.c - what the next request is for: from which queue, which pages, and
 * how many. All of it under the mutex.
 *
 * Layer: client, remote.
 */
#include <assert.h>

#include "client/remote/pipeline_impl.h"
#include "core/alloc.h"

/* Requests for what somebody will read that have no answer yet. */
#define AHEAD_BATCHES 7u

/* Invariant (3) of pipeline.h. */
enum ramet_urgency
ramet_batch_next_queue(struct ramet_pipeline *pipeline)
{
    assert(pipeline->asked_count <= pipeline->batch_count);
    if (pipeline->queues[RAMET_WANT_READ].first != NULL)
        return RAMET_WANT_READ;
    if (pipeline->batch_count >= RAMET_AHEAD_BATCHES_ALL)
        return RAMET_URGENCIES; /* the other threads are for readers */
    if (pipeline->queues[RAMET_WANT_WARM].first != NULL)
        return RAMET_WANT_WARM;
    if (pipeline->queues[RAMET_WANT_AHEAD].first != NULL &&
        pipeline->asked_count >= AHEAD_BATCHES)
        return RAMET_URGENCIES;
    for (unsigned q = RAMET_WANT_AHEAD; q <= RAMET_WANT_BULK; q++) {
        const struct ramet_want *const first = pipeline->queues[q].first;

        if (first == NULL)
            continue;
        if (pipeline->left == 0 ||
            (pipeline->left +
             ramet_pipeline_share(pipeline, first->urgency, first->page_size)) *
                    ramet_pipeline_page_cost(pipeline, first->page_size) <=
                ramet_pipeline_budget(pipeline, first->urgency))
            return (enum ramet_urgency)q;
        break;
    }
    return RAMET_URGENCIES;
}

static void
add_to_batch(struct ramet_batch *batch, struct ramet_want *want)
{
    assert(batch->count < RAMET_BATCH_PAGES);
    assert(want->batch == NULL && ramet_point_equal(&want->at, &batch->at));
    ramet_want_dequeue(batch->pipeline, want);
    want->batch = batch;
    batch->pgnos[batch->count++] = want->pgno;
}

/* Fill up with what is queued for the same commit, the most urgent first; `with_warm`:
 * with all that was named at once. */
static void
fill_batch(struct ramet_batch *batch, enum ramet_urgency from, size_t most,
           bool with_warm)
{
    assert(from < RAMET_WANT_HELD && batch->count > 0);
    assert(most <= RAMET_BATCH_PAGES);
    for (unsigned q = from; q <= RAMET_WANT_BULK; q++) {
        struct ramet_want *want = batch->pipeline->queues[q].first;

        if (q == RAMET_WANT_WARM && !with_warm)
            continue;
        while (want != NULL && batch->count < most) {
            struct ramet_want *const next = want->next;

            if (!want->alone && ramet_point_equal(&want->at, &batch->at))
                add_to_batch(batch, want);
            want = next;
        }
        /* What bulk reads bring along makes readers wait longer; and what is to come
         * at once has a request of its own. */
        if ((from == RAMET_WANT_READ && q == RAMET_WANT_AHEAD) ||
            (q == RAMET_WANT_WARM && with_warm))
            break;
    }
}

/* A share, and what would be too little for a request of its own. */
static size_t
batch_size(struct ramet_pipeline *pipeline, enum ramet_urgency urgency,
           uint32_t page_size, bool with_warm)
{
    const size_t pages =
        with_warm ? RAMET_BATCH_PAGES
                  : ramet_pipeline_share(pipeline, urgency, page_size);
    const size_t queued = pipeline->queues[urgency].count + 1;

    assert(page_size != 0);
    assert(urgency < RAMET_WANT_HELD);
    return queued > pages && queued - pages <= pages / 4 &&
                   queued <= RAMET_BATCH_PAGES
               ? queued
               : pages;
}

/* A reader may want one of the pages that were named before a thread came to ask for
 * them: then they go in one request, his page first. */
static bool
takes_warm(const struct ramet_pipeline *pipeline,
           const struct ramet_want *first)
{
    return first->is_warm && !first->alone &&
           pipeline->batch_count < RAMET_AHEAD_BATCHES_ALL;
}

/* What to ask for next, or NULL. Under the mutex. */
struct ramet_batch *
ramet_batch_take(struct ramet_pipeline *pipeline)
{
    const enum ramet_urgency urgency = ramet_batch_next_queue(pipeline);
    struct ramet_want *first;
    struct ramet_batch *batch;
    bool with_warm;

    if (urgency == RAMET_URGENCIES)
        return NULL;
    batch = ramet_calloc(1, sizeof(*batch));
    if (batch == NULL)
        return NULL; /* once there is memory */
    assert(pipeline->queues[urgency].first != NULL);
    first = pipeline->queues[urgency].first;
    with_warm = takes_warm(pipeline, first);
    batch->pipeline = pipeline;
    batch->at = first->at;
    batch->page_size = first->page_size;
    add_to_batch(batch, first);
    if (!first->alone)
        fill_batch(batch, urgency,
                   batch_size(pipeline, urgency, first->page_size, with_warm),
                   with_warm);
    batch->left = batch->count;
    batch->next = pipeline->batches;
    pipeline->batches = batch;
    pipeline->batch_count++;
    pipeline->asked_count++;
    pipeline->left += batch->left;
    assert(batch->count > 0 && batch->left == batch->count);
    assert(pipeline->asked_count <= pipeline->batch_count);
    return batch;
}
