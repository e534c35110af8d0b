/*
 * pipeline_wants.c - the list of pages that are to come: a table, to find them
 * by, and a queue for each urgency.
 */
#include <assert.h>
#include <string.h>

#include "client/remote/pipeline_impl.h"
#include "core/alloc.h"

static struct ramet_want **
bucket_of(const struct ramet_pipeline *pipeline, const struct ramet_point *at,
          uint32_t pgno)
{
    const uint32_t number = pgno * 2654435761u ^ (uint32_t)at->lsn;

    /* The table is the caller's to change, as the pipeline is. */
    return (struct ramet_want **)&pipeline
        ->buckets[(number >> 8) % RAMET_WANT_BUCKETS];
}

struct ramet_want *
ramet_want_find(const struct ramet_pipeline *pipeline,
                const struct ramet_point *at, uint32_t pgno)
{
    struct ramet_want *want = *bucket_of(pipeline, at, pgno);

    while (want != NULL &&
           (want->pgno != pgno || !ramet_point_equal(&want->at, at)))
        want = want->chain;
    return want;
}

static void
enqueue(struct ramet_pipeline *pipeline, struct ramet_want *want)
{
    struct ramet_want_queue *const queue = &pipeline->queues[want->urgency];

    assert(want->batch == NULL && want->urgency < RAMET_URGENCIES);
    assert((queue->first == NULL) == (queue->count == 0));
    want->previous = queue->last;
    want->next = NULL;
    *(queue->last != NULL ? &queue->last->next : &queue->first) = want;
    queue->last = want;
    queue->count++;
}

void
ramet_want_dequeue(struct ramet_pipeline *pipeline, struct ramet_want *want)
{
    struct ramet_want_queue *const queue = &pipeline->queues[want->urgency];

    assert(want->batch == NULL && queue->count > 0);
    *(want->previous != NULL ? &want->previous->next : &queue->first) =
        want->next;
    *(want->next != NULL ? &want->next->previous : &queue->last) =
        want->previous;
    want->next = want->previous = NULL;
    assert((queue->first == NULL) == (queue->last == NULL));
    queue->count--;
}

struct ramet_want *
ramet_want_add(struct ramet_pipeline *pipeline, const struct ramet_head *head,
               uint32_t pgno, enum ramet_urgency urgency)
{
    const struct ramet_point at = ramet_head_point(head);
    struct ramet_want **const bucket = bucket_of(pipeline, &at, pgno);
    struct ramet_want *const want = ramet_calloc(1, sizeof(*want));

    assert(ramet_want_find(pipeline, &at, pgno) == NULL);
    if (want == NULL)
        return NULL;
    want->at = at;
    assert(head->page_size != 0 && urgency < RAMET_URGENCIES);
    want->page_size = head->page_size;
    want->pgno = pgno;
    want->urgency = urgency;
    want->is_warm = urgency == RAMET_WANT_WARM;
    want->chain = *bucket;
    *bucket = want;
    enqueue(pipeline, want);
    return want;
}

void
ramet_want_hasten(struct ramet_pipeline *pipeline, struct ramet_want *want,
                  enum ramet_urgency urgency)
{
    assert(urgency < RAMET_URGENCIES);
    want->is_warm = want->is_warm || urgency == RAMET_WANT_WARM;
    if (urgency >= want->urgency)
        return;
    if (want->batch == NULL)
        ramet_want_dequeue(pipeline, want);
    want->urgency = urgency;
    if (want->batch == NULL)
        enqueue(pipeline, want);
}

void
ramet_want_requeue(struct ramet_pipeline *pipeline, struct ramet_want *want)
{
    assert(want->batch != NULL);
    want->batch = NULL;
    enqueue(pipeline, want);
}

static void
tell_reader(struct ramet_page_wait *wait, const uint8_t *page, enum ramet_rc rc,
            const struct ramet_err *err)
{
    assert(!wait->done);
    assert((page != NULL) == (rc == RAMET_OK));
    if (page != NULL)
        memcpy(wait->out, page, wait->size);
    wait->rc = rc;
    if (rc != RAMET_OK)
        wait->err = *err;
    wait->done = true;
    ramet_cond_signal(&wait->ended);
}

static void
tell_bulk(struct ramet_bulk_read *bulk, enum ramet_rc rc,
          const struct ramet_err *err)
{
    assert(bulk->pending > 0);
    bulk->pending--;
    if (rc == RAMET_OK)
        bulk->came++;
    else if (bulk->rc == RAMET_OK) {
        bulk->rc = rc;
        bulk->err = *err;
    }
    assert(rc != RAMET_OK || bulk->came > 0);
    if (bulk->rc != RAMET_OK || bulk->pending <= bulk->waits_for)
        ramet_cond_signal(&bulk->some_came);
}

void
ramet_want_end(struct ramet_pipeline *pipeline, struct ramet_want *want,
               const uint8_t *page, enum ramet_rc rc,
               const struct ramet_err *err)
{
    struct ramet_want **link = bucket_of(pipeline, &want->at, want->pgno);

    assert(rc == RAMET_OK || err != NULL);
    while (*link != want)
        link = &(*link)->chain;
    *link = want->chain;
    if (want->batch == NULL)
        ramet_want_dequeue(pipeline, want);
    for (struct ramet_page_wait *w = want->waits; w != NULL;) {
        struct ramet_page_wait *const next =
            w->next; /* it goes once it is told */

        tell_reader(w, page, rc, err);
        w = next;
    }
    if (want->bulk != NULL)
        tell_bulk(want->bulk, rc, err);
    ramet_free(want);
}

static bool
is_waited_for(const struct ramet_want *want)
{
    return want->waits != NULL || want->bulk != NULL;
}

void
ramet_wants_abandon(struct ramet_pipeline *pipeline)
{
    struct ramet_err err;
    const enum ramet_rc rc =
        RAMET_FAIL(&err, RAMET_ECANCELLED, "the wait was cancelled");

    for (unsigned q = 0; q < RAMET_URGENCIES; q++) {
        struct ramet_want *want = pipeline->queues[q].first;

        while (want != NULL) {
            struct ramet_want *const next = want->next;

            if (!is_waited_for(want))
                ramet_want_end(pipeline, want, NULL, rc, &err);
            want = next;
        }
    }
    for (struct ramet_batch *b = pipeline->batches; b != NULL; b = b->next) {
        bool needed = false;

        for (size_t i = 0; i < b->count && !needed; i++) {
            const struct ramet_want *const want =
                ramet_want_find(pipeline, &b->at, b->pgnos[i]);

            needed = want != NULL && want->batch == b && is_waited_for(want);
        }
        atomic_store(&b->is_vain, !needed);
    }
}
