/*
 * pipeline.c - the threads that bring pages: see pipeline.h.
 *
 * A thread takes a batch of what is queued, asks for it, and hands on what
 * comes while it comes: a page is kept, handed to those who wait for it, and
 * shown to the predictor, in this order. How many requests are under way
 * follows from what they are for and from the link's room; threads that find
 * nothing to do for a while end.
 *
 * To keep a page costs locks, a write and a look at the index, most of which
 * serve several as well as one. So pages of a bulk read, for which nobody
 * waits, are kept some at a time:
 *
 *   (1) until then they are on the list, and on their way: who comes to wait
 *       for one has it from here
 *   (2) they wait for others of their answer alone: where that ends, or breaks
 *       off, they are kept
 */
#include "client/remote/pipeline.h"

#include <assert.h>
#include <string.h>

#include "client/remote/meter.h"
#include "client/remote/pipeline_impl.h"
#include "client/remote/remote_client.h"
#include "core/alloc.h"
#include "core/waiting.h"

#define IDLE_MS 5000u

/* ---- new, and gone ------------------------------------------------------- */

struct ramet_pipeline *
ramet_pipeline_new(struct ramet_remote_client *client,
                   const struct ramet_vid *volume)
{
    struct ramet_pipeline *const pipeline = ramet_calloc(1, sizeof(*pipeline));
    const struct ramet_ahead_view view = {ramet_keepers_have,
                                          ramet_keepers_peek, pipeline};

    if (pipeline == NULL)
        return NULL;
    pipeline->client = client;
    pipeline->volume = *volume;
    pipeline->os = ramet_os_system();
    pipeline->fork_count = ramet_os_fork_count();
    pipeline->ahead = ramet_ahead_new(&view);
    ramet_mutex_init(&pipeline->mutex);
    ramet_cond_init(&pipeline->work);
    ramet_cond_init(&pipeline->keeper_left);
    if (pipeline->ahead == NULL) {
        ramet_pipeline_free(pipeline);
        return NULL;
    }
    return pipeline;
}

void
ramet_pipeline_free(struct ramet_pipeline *pipeline)
{
    if (pipeline == NULL)
        return;
    ramet_mutex_lock(&pipeline->mutex);
    assert(pipeline->keepers == NULL);
    atomic_store(&pipeline->is_closing, true);
    ramet_wants_abandon(pipeline);
    ramet_cond_broadcast(&pipeline->work);
    ramet_mutex_unlock(&pipeline->mutex);
    for (unsigned i = 0; i < RAMET_PIPELINE_THREADS; i++)
        ramet_thread_join(&pipeline->workers[i].thread);
    /* What the last batches brought may have led to more, that nobody fetches. */
    ramet_wants_abandon(pipeline);
    ramet_ahead_free(pipeline->ahead);
    ramet_cond_done(&pipeline->keeper_left);
    ramet_cond_done(&pipeline->work);
    ramet_mutex_done(&pipeline->mutex);
    ramet_free(pipeline);
}

/* ---- what comes ---------------------------------------------------------- */

struct ramet_ahead_list
ramet_pipeline_list(struct ramet_pipeline *pipeline, uint32_t page_size,
                    bool is_miss, uint32_t pgnos[RAMET_BATCH_PAGES])
{
    struct ramet_ahead_list list = {.pgnos = pgnos};
    size_t budget_pages;

    assert(page_size != 0);
    ramet_mutex_lock(&pipeline->mutex);
    list.max = ramet_pipeline_room(pipeline, page_size);
    budget_pages = ramet_pipeline_ahead_pages(pipeline, page_size);
    list.room = (uint32_t)ramet_pipeline_kept_pages(pipeline, page_size);
    ramet_mutex_unlock(&pipeline->mutex);
    /* Few requests, each for many pages; but one is made now for a miss. */
    if (!is_miss && list.max < budget_pages / 4)
        list.max = 0;
    if (atomic_load_explicit(&pipeline->is_warm, memory_order_relaxed))
        list.max = 0;
    if (list.max > RAMET_BATCH_PAGES)
        list.max = RAMET_BATCH_PAGES;
    /* The predictor takes all of it for what is read in order alone. */
    budget_pages /= 2;
    list.budget =
        budget_pages < UINT32_MAX ? (uint32_t)budget_pages : UINT32_MAX;
    assert(list.max <= RAMET_BATCH_PAGES && list.count == 0);
    return list;
}

static void
queue_list(struct ramet_pipeline *pipeline, const struct ramet_ahead_list *list,
           enum ramet_urgency urgency, bool is_now)
{
    const struct ramet_point at = ramet_head_point(&list->head);

    assert(list->count <= RAMET_BATCH_PAGES);
    if (list->count == 0)
        return;
    ramet_mutex_lock(&pipeline->mutex);
    for (size_t i = 0; i < list->count; i++) {
        struct ramet_want *const want =
            ramet_want_find(pipeline, &at, list->pgnos[i]);

        if (want != NULL)
            ramet_want_hasten(pipeline, want, urgency);
        else
            (void)ramet_want_add(pipeline, &list->head, list->pgnos[i],
                                 urgency);
    }
    if (is_now)
        (void)!ramet_pipeline_wake(pipeline, NULL);
    ramet_mutex_unlock(&pipeline->mutex);
}

void
ramet_pipeline_expect(struct ramet_pipeline *pipeline,
                      const struct ramet_ahead_list *list, bool is_now)
{
    queue_list(pipeline, list, RAMET_WANT_AHEAD, is_now);
}

size_t
ramet_pipeline_bring_ahead(struct ramet_pipeline *pipeline,
                           const struct ramet_head *head,
                           const struct ramet_pageset *pages,
                           size_t brought_before)
{
    const struct ramet_point at = ramet_head_point(head);
    uint32_t pgnos[RAMET_BATCH_PAGES];
    struct ramet_ahead_list list = {.head = *head, .pgnos = pgnos};
    const size_t most = ramet_keepers_room(pipeline, head->page_size);
    const size_t all = brought_before < most ? most - brought_before : 0;
    size_t room = all;

    for (uint32_t p = ramet_pageset_next(pages, 0); p != 0 && room > 0;
         p = ramet_pageset_next(pages, p)) {
        if (ramet_keepers_have(pipeline, &at, p))
            continue;
        pgnos[list.count++] = p;
        room--;
        if (list.count < RAMET_BATCH_PAGES)
            continue;
        assert(list.count == RAMET_BATCH_PAGES);
        queue_list(pipeline, &list, RAMET_WANT_WARM, true);
        list.count = 0;
    }
    if (room < all)
        atomic_store(&pipeline->is_warm, true);
    queue_list(pipeline, &list, RAMET_WANT_WARM, true);
    return all - room;
}

bool
ramet_pipeline_touches(struct ramet_pipeline *pipeline,
                       struct ramet_touched *touched, bool is_on)
{
    struct ramet_touched *expected = is_on ? NULL : touched;

    assert(touched != NULL);
    return atomic_compare_exchange_strong(&pipeline->touched, &expected,
                                          is_on ? touched : NULL);
}

struct ramet_prefetch_counts
ramet_pipeline_counts(struct ramet_pipeline *pipeline)
{
    return ramet_ahead_counts(pipeline->ahead);
}

/* Its answer has begun, or will not: the next one may be sent. Under the mutex. */
static void
note_begun(struct ramet_batch *batch)
{
    if (batch->has_begun)
        return;
    batch->has_begun = true;
    assert(batch->pipeline->asked_count > 0);
    batch->pipeline->asked_count--;
}

/* It is kept: off the list with it. Under the mutex. */
static void
end_want(struct ramet_batch *batch, uint32_t pgno, const uint8_t *page)
{
    struct ramet_pipeline *const pipeline = batch->pipeline;
    struct ramet_want *const want = ramet_want_find(pipeline, &batch->at, pgno);

    pipeline->landings++;
    if (want != NULL && want->batch != NULL) { /* or in that of another */
        assert(want->batch->left > 0);
        want->batch->left--;
        pipeline->left--;
    }
    if (want != NULL)
        ramet_want_end(pipeline, want, page, RAMET_OK, NULL);
}

/* Show the predictor a page that came. */
static void
show(struct ramet_pipeline *pipeline, const struct ramet_batch *batch,
     uint32_t pgno, const uint8_t *page)
{
    uint32_t pgnos[RAMET_BATCH_PAGES];
    struct ramet_ahead_list list =
        ramet_pipeline_list(pipeline, batch->page_size, false, pgnos);

    assert(batch->page_size != 0);
    atomic_store_explicit(&pipeline->quiet, 0, memory_order_relaxed);
    ramet_ahead_came(pipeline->ahead, &batch->at, pgno, page, &list);
    ramet_pipeline_expect(pipeline, &list, true);
}

/* Those at `pages` are what is landed, or one page that is not. */
static void
take(struct ramet_batch *batch, const uint32_t *pgnos, size_t count,
     const uint8_t *pages)
{
    struct ramet_pipeline *const pipeline = batch->pipeline;

    assert(count > 0 && count <= RAMET_LANDED_PAGES);
    ramet_keepers_keep(pipeline, &batch->at, pgnos, count, pages,
                       batch->page_size, pages == batch->landed);
    ramet_mutex_lock(&pipeline->mutex);
    pipeline->landed_ns = pipeline->os->mono_ns(pipeline->os->ctx);
    for (size_t i = 0; i < count; i++)
        end_want(batch, pgnos[i], pages + i * batch->page_size);
    if (pages == batch->landed)
        batch->landed_count = 0;
    (void)!ramet_pipeline_wake(pipeline,
                               NULL); /* invariant (2) of pipeline.h */
    ramet_mutex_unlock(&pipeline->mutex);
    for (size_t i = 0; i < count; i++)
        show(pipeline, batch, pgnos[i], pages + i * batch->page_size);
}

void
ramet_batch_keep_landed(struct ramet_batch *batch)
{
    assert(batch->landed_count <= RAMET_LANDED_PAGES);
    assert(batch->landed_count == 0 || batch->landed != NULL);
    if (batch->landed_count > 0)
        take(batch, batch->landed_pgnos, batch->landed_count, batch->landed);
}

static size_t
landed_max(const struct ramet_batch *batch)
{
    const size_t fits = RAMET_LANDED_BYTES / batch->page_size;

    return fits < RAMET_LANDED_PAGES ? fits : RAMET_LANDED_PAGES;
}

/* May it wait for others? Under the mutex. */
static bool
may_wait(const struct ramet_batch *batch, uint32_t pgno)
{
    const struct ramet_want *const want =
        ramet_want_find(batch->pipeline, &batch->at, pgno);
    bool is_landed = false;

    assert(batch->landed_count < landed_max(batch));
    for (size_t i = 0; i < batch->landed_count; i++)
        is_landed = is_landed || batch->landed_pgnos[i] == pgno;
    return want != NULL && want->batch == batch && want->waits == NULL &&
           want->urgency == RAMET_WANT_BULK && !is_landed;
}

/* With what landed before. False: it is to be kept now. Without the mutex, but
 * for the count, which readers look at. */
static bool
lay_by(struct ramet_batch *batch, uint32_t pgno, const uint8_t *page)
{
    struct ramet_pipeline *const pipeline = batch->pipeline;
    bool may;

    if (batch->landed == NULL) {
        batch->landed = ramet_alloc(landed_max(batch) * batch->page_size);
        if (batch->landed == NULL)
            return false;
    }
    assert(batch->landed_count < landed_max(batch));
    memcpy(batch->landed + batch->landed_count * batch->page_size, page,
           batch->page_size);
    ramet_mutex_lock(&pipeline->mutex);
    may = may_wait(batch, pgno);
    if (may) {
        pipeline->landed_ns = pipeline->os->mono_ns(pipeline->os->ctx);
        batch->landed_pgnos[batch->landed_count++] = pgno;
    }
    ramet_mutex_unlock(&pipeline->mutex);
    return may;
}

bool
ramet_want_has_landed(const struct ramet_want *want, uint8_t *out)
{
    const struct ramet_batch *const batch = want->batch;

    if (batch == NULL)
        return false;
    assert(ramet_point_equal(&want->at, &batch->at));
    assert(batch->landed_count == 0 || batch->landed != NULL);
    for (size_t i = 0; i < batch->landed_count; i++)
        if (batch->landed_pgnos[i] == want->pgno) {
            memcpy(out, batch->landed + i * batch->page_size, batch->page_size);
            return true;
        }
    return false;
}

enum ramet_rc
ramet_batch_land(void *ctx, uint32_t pgno, const uint8_t *page,
                 struct ramet_err *err)
{
    struct ramet_batch *const batch = ctx;
    struct ramet_pipeline *const pipeline = batch->pipeline;

    (void)err;
    if (!batch->has_begun) { /* none but this thread sets it */
        ramet_mutex_lock(&pipeline->mutex);
        note_begun(batch);
        (void)!ramet_pipeline_wake(pipeline, NULL);
        ramet_mutex_unlock(&pipeline->mutex);
    }
    if (!lay_by(batch, pgno, page))
        take(batch, &pgno, 1, page);
    else if (batch->landed_count == landed_max(batch))
        ramet_batch_keep_landed(batch);
    return RAMET_OK;
}

/* Is that a failure of one page, which others of its request need not share? */
static bool
is_of_a_page(enum ramet_rc rc)
{
    return rc == RAMET_ECORRUPT || rc == RAMET_ENOTFOUND ||
           rc == RAMET_EVERSION || rc == RAMET_ENOMEM;
}

/* What did not come. Under the mutex; invariant (5). */
static void
fail_rest(struct ramet_batch *batch, enum ramet_rc rc,
          const struct ramet_err *err)
{
    struct ramet_pipeline *const pipeline = batch->pipeline;

    for (size_t i = 0; i < batch->count; i++) {
        struct ramet_want *const want =
            ramet_want_find(pipeline, &batch->at, batch->pgnos[i]);

        if (want == NULL || want->batch != batch)
            continue;
        assert(batch->left > 0 && pipeline->left > 0);
        batch->left--;
        pipeline->left--;
        if (is_of_a_page(rc) && batch->count > 1 && want->waits != NULL) {
            want->alone = true;
            ramet_want_requeue(pipeline, want);
        } else {
            ramet_want_end(pipeline, want, NULL, rc, err);
        }
    }
}

static void
end_batch(struct ramet_batch *batch, enum ramet_rc rc,
          const struct ramet_err *err)
{
    struct ramet_pipeline *const pipeline = batch->pipeline;
    struct ramet_batch **link = &pipeline->batches;

    fail_rest(batch, rc, err);
    assert(batch->left == 0);
    while (*link != batch)
        link = &(*link)->next;
    *link = batch->next;
    note_begun(batch);
    assert(pipeline->batch_count > 0);
    assert(batch->landed_count == 0); /* invariant 2 */
    pipeline->batch_count--;
    ramet_free(batch->landed);
    ramet_free(batch);
}

/* ---- threads ------------------------------------------------------------- */

static bool
is_vain(void *ctx)
{
    const struct ramet_batch *const batch = ctx;

    return atomic_load(&batch->is_vain) ||
           atomic_load(&batch->pipeline->is_closing);
}

/* Without the mutex. */
static enum ramet_rc
fly(struct ramet_batch *batch, struct ramet_err *err)
{
    struct ramet_pipeline *const pipeline = batch->pipeline;
    const struct ramet_waiter waiter = {.is_over = is_vain, .ctx = batch};
    enum ramet_rc rc;

    assert(batch->count > 0 && batch->count <= RAMET_BATCH_PAGES);
    ramet_waiting_set(&waiter);
    rc = ramet_remote_client_read_pages(pipeline->client, &pipeline->volume,
                                        &batch->at, batch->pgnos, batch->count,
                                        true, ramet_batch_land, batch, err);
    ramet_waiting_set(NULL);
    ramet_batch_keep_landed(batch);
    assert(batch->landed_count == 0); /* invariant 2 */
    if (rc ==
        RAMET_OK) /* all of them came, unless the code below us is wrong */
        rc = RAMET_FAIL(err, RAMET_EUNREACHABLE, "the page did not come");
    return rc;
}

/* Wait for something to do; false: for long enough, or not at all, since too many
 * threads do. Under the mutex. */
static bool
wait_for_work(struct ramet_pipeline *pipeline)
{
    const bool may = ramet_pipeline_may_idle();
    bool was_told;

    if (!may && ramet_batch_next_queue(pipeline) == RAMET_URGENCIES)
        return false; /* else there is something to do, and no memory for it */
    pipeline->idle_count++;
    was_told = ramet_cond_wait_ms(&pipeline->work, &pipeline->mutex, IDLE_MS);
    pipeline->idle_count--;
    assert(pipeline->idle_count < RAMET_PIPELINE_THREADS);
    if (may)
        ramet_pipeline_idled();
    return was_told;
}

/* The predictor need not wait for what did not come. */
static void
tell_lost(struct ramet_batch *batch)
{
    struct ramet_pipeline *const pipeline = batch->pipeline;
    size_t left;

    assert(batch->landed_count == 0); /* invariant 2 */
    ramet_mutex_lock(&pipeline->mutex);
    left = batch->left;
    ramet_mutex_unlock(&pipeline->mutex);
    if (left > 0)
        ramet_ahead_lost(pipeline->ahead, &batch->at, batch->pgnos,
                         batch->count);
}

static void *
work(void *arg)
{
    struct ramet_worker *const worker = arg;
    struct ramet_pipeline *const pipeline = worker->pipeline;
    bool had_enough = false;

    ramet_mutex_lock(&pipeline->mutex);
    pipeline->idle_count--; /* as which it began */
    assert(worker->runs);
    while (!atomic_load(&pipeline->is_closing) && !had_enough) {
        struct ramet_batch *const batch = ramet_batch_take(pipeline);
        const uint32_t page_size = batch != NULL ? batch->page_size : 0;
        struct ramet_err err;
        enum ramet_rc rc;

        if (batch == NULL) {
            /* What came in the last moment is not left lying. */
            had_enough = !wait_for_work(pipeline) &&
                         ramet_batch_next_queue(pipeline) == RAMET_URGENCIES;
            continue;
        }
        assert(page_size != 0);
        (void)!ramet_pipeline_wake(pipeline, NULL); /* for the next one */
        ramet_mutex_unlock(&pipeline->mutex);
        rc = fly(batch, &err);
        tell_lost(batch);
        ramet_mutex_lock(&pipeline->mutex);
        end_batch(batch, rc, &err);
        ramet_pipeline_note_cost(
            pipeline, page_size,
            ramet_remote_client_received(pipeline->client));
    }
    worker->runs = false;
    ramet_mutex_unlock(&pipeline->mutex);
    if (had_enough)
        ramet_remote_client_rest(pipeline->client);
    return NULL;
}

enum ramet_rc
ramet_pipeline_wake(struct ramet_pipeline *pipeline, struct ramet_err *err)
{
    struct ramet_worker *worker = NULL;
    enum ramet_rc rc;

    if (ramet_batch_next_queue(pipeline) == RAMET_URGENCIES)
        return RAMET_OK;
    if (atomic_load(&pipeline->is_closing))
        return RAMET_OK;
    if (pipeline->idle_count > 0) {
        ramet_cond_signal(&pipeline->work);
        return RAMET_OK;
    }
    for (unsigned i = 0; i < RAMET_PIPELINE_THREADS && worker == NULL; i++)
        if (!pipeline->workers[i].runs)
            worker = &pipeline->workers[i];
    if (worker == NULL)
        return RAMET_OK;                /* whoever is done first takes it */
    ramet_thread_join(&worker->thread); /* it has nothing more to do */
    assert(!worker->runs);
    worker->pipeline = pipeline;
    worker->runs = true;
    pipeline->idle_count++; /* until it looks what there is to do */
    rc = ramet_thread_start(&worker->thread, "ramet-pages", work, worker, err);
    if (rc == RAMET_OK)
        return rc;
    assert(pipeline->idle_count > 0);
    pipeline->idle_count--;
    worker->runs = false;
    return pipeline->batch_count > 0 ? RAMET_OK : rc;
}
