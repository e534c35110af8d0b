/*
 * pipeline_read.c - those who wait for pages: readers, and bulk reads.
 */
#include <assert.h>
#include <inttypes.h>

#include "client/remote/pagecache.h"
#include "client/remote/pipeline_impl.h"
#include "client/remote/remote_client.h"
#include "core/waiting.h"
#include "metastore/profile.h"

/* How often a thread looks whether its caller has had enough. */
#define LOOK_MS 50u
/* Reads of what is here after which nothing is expected to be missed. */
#define QUIET_READS 8192u

static uint64_t
now_ns(const struct ramet_pipeline *pipeline)
{
    return pipeline->os->mono_ns(pipeline->os->ctx);
}

/* A warm profile is being recorded: tell it. */
static bool
tell_touched(struct ramet_pipeline *pipeline, const struct ramet_head *head,
             uint32_t pgno, bool was_missed)
{
    struct ramet_touched *const touched =
        atomic_load_explicit(&pipeline->touched, memory_order_acquire);

    assert(head->page_size != 0 && pgno > 0);
    if (touched != NULL)
        ramet_touched_note(touched, head->lsn, head->page_size,
                           ramet_profile_pages_max(head->page_size), pgno,
                           was_missed);
    return touched != NULL;
}

/* ---- readers ---------------------------------------------------------------------- */

/* Which pages the predictor would have with this one. Without the mutex. */
static void
expect_after_miss(struct ramet_pipeline *pipeline, const void *reader,
                  const struct ramet_head *head, uint32_t pgno)
{
    uint32_t pgnos[RAMET_BATCH_PAGES];
    struct ramet_ahead_list list =
        ramet_pipeline_list(pipeline, head->page_size, true, pgnos);

    assert(pgno > 0 && pgno <= head->page_count);
    atomic_store_explicit(&pipeline->quiet, 0, memory_order_relaxed);
    ramet_ahead_missed(pipeline->ahead, reader, head, pgno, &list);
    ramet_pipeline_expect(pipeline, &list, false); /* as the page is */
}

/* And now that it is here: or it will not be (`page` is NULL). */
static void
expect_after_all(struct ramet_pipeline *pipeline, const void *reader,
                 const struct ramet_head *head, uint32_t pgno,
                 const uint8_t *page)
{
    const struct ramet_point at = ramet_head_point(head);
    uint32_t pgnos[RAMET_BATCH_PAGES];
    struct ramet_ahead_list list =
        ramet_pipeline_list(pipeline, head->page_size, false, pgnos);

    if (page != NULL)
        ramet_ahead_got(pipeline->ahead, reader, head, pgno, page, &list);
    else
        ramet_ahead_lost(pipeline->ahead, &at, &pgno, 1);
    ramet_pipeline_expect(pipeline, &list, true);
}

/* The page if it came meanwhile, or the want that brings it; if neither, the
 * caller is the first to miss it: invariant (2). Under the mutex, of which it
 * lets go to look. */
static enum ramet_rc
look_again(struct ramet_pipeline *pipeline, const struct ramet_point *at,
           uint32_t pgno, uint8_t *out, ramet_pipeline_look *look,
           void *look_ctx, bool *out_here, struct ramet_want **out_want,
           struct ramet_err *err)
{
    uint64_t looked_at = UINT64_MAX;
    enum ramet_rc rc = RAMET_OK;

    assert(look != NULL);
    *out_here = false;
    *out_want = ramet_want_find(pipeline, at, pgno);
    while (rc == RAMET_OK && !*out_here && *out_want == NULL &&
           looked_at != pipeline->landings) {
        looked_at = pipeline->landings;
        ramet_mutex_unlock(&pipeline->mutex);
        rc = look(look_ctx, out, out_here, err);
        ramet_mutex_lock(&pipeline->mutex);
        *out_want = ramet_want_find(pipeline, at, pgno);
    }
    assert(rc != RAMET_OK || *out_here || *out_want != NULL ||
           looked_at == pipeline->landings); /* invariant 2 */
    return rc;
}

static void
stop_waiting(struct ramet_pipeline *pipeline, const struct ramet_point *at,
             uint32_t pgno, struct ramet_page_wait *wait)
{
    struct ramet_want *const want = ramet_want_find(pipeline, at, pgno);
    struct ramet_page_wait **link;

    if (want == NULL)
        return;
    for (link = &want->waits; *link != NULL; link = &(*link)->next)
        if (*link == wait) {
            *link = wait->next;
            break;
        }
    /* Invariant (4): what is on its way comes, and is kept. */
    if (want->waits == NULL && want->bulk == NULL && want->batch == NULL) {
        struct ramet_err err = {.code = RAMET_ECANCELLED};

        ramet_want_end(pipeline, want, NULL, RAMET_ECANCELLED, &err);
    }
}

/* Under the mutex. */
static enum ramet_rc
wait_for(struct ramet_pipeline *pipeline, const struct ramet_point *at,
         uint32_t pgno, struct ramet_page_wait *wait, uint64_t timeout_ms,
         struct ramet_err *err)
{
    const uint64_t began_ns = now_ns(pipeline);
    enum ramet_rc rc = RAMET_OK;

    while (!wait->done && rc == RAMET_OK) {
        const uint64_t since_ns =
            pipeline->landed_ns > began_ns ? pipeline->landed_ns : began_ns;

        (void)ramet_cond_wait_ms(&wait->ended, &pipeline->mutex, LOOK_MS);
        if (wait->done)
            break;
        if (ramet_waiting_is_over())
            rc = RAMET_FAIL(err, RAMET_ECANCELLED, "the wait was cancelled");
        else if (timeout_ms > 0 &&
                 (now_ns(pipeline) - since_ns) / 1000000 >= timeout_ms)
            rc = RAMET_FAIL(err, RAMET_ETIMEOUT,
                            "no page came in %" PRIu64 " ms", timeout_ms);
    }
    if (rc != RAMET_OK) {
        stop_waiting(pipeline, at, pgno, wait);
        return rc;
    }
    if (wait->rc != RAMET_OK && err != NULL)
        *err = wait->err;
    return wait->rc;
}

/* A page that came for a commit on which nobody here stands. */
static bool
take_from_cache(struct ramet_pipeline *pipeline, const struct ramet_head *head,
                uint32_t pgno, uint8_t *out)
{
    const struct ramet_point at = ramet_head_point(head);
    struct ramet_pagecache *const cache =
        ramet_remote_client_cache(pipeline->client, &pipeline->volume, 0);

    assert(head->page_size != 0);
    return cache != NULL &&
           ramet_pagecache_get(cache, &at, pgno, 0, out, head->page_size);
}

/* Queue what brings the page, unless it is `want`, with what will be needed
 * next behind it, and wait for it. Under the mutex, of which it lets go to ask
 * the predictor's pages whether they are here. */
static enum ramet_rc
await(struct ramet_pipeline *pipeline, const void *reader,
      const struct ramet_head *head, uint32_t pgno, struct ramet_want *want,
      struct ramet_page_wait *wait, uint64_t timeout_ms, struct ramet_err *err)
{
    const struct ramet_point at = ramet_head_point(head);
    enum ramet_rc rc;

    if (want == NULL) {
        atomic_store(&pipeline->is_warm, false);
        want = ramet_want_add(pipeline, head, pgno, RAMET_WANT_HELD);
    }
    if (want == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory");
    assert(want->pgno == pgno && ramet_point_equal(&want->at, &at));
    ramet_cond_init(&wait->ended);
    wait->next = want->waits;
    want->waits = wait;
    ramet_mutex_unlock(&pipeline->mutex);
    expect_after_miss(pipeline, reader, head, pgno);
    ramet_mutex_lock(&pipeline->mutex);
    if (!wait->done)
        ramet_want_hasten(pipeline, want, RAMET_WANT_READ);
    rc = ramet_pipeline_wake(pipeline, err);
    if (rc == RAMET_OK)
        rc = wait_for(pipeline, &at, pgno, wait, timeout_ms, err);
    else
        stop_waiting(pipeline, &at, pgno, wait);
    ramet_cond_done(&wait->ended);
    return rc;
}

enum ramet_rc
ramet_pipeline_read(struct ramet_pipeline *pipeline, const void *reader,
                    const struct ramet_head *head, uint32_t pgno, uint8_t *out,
                    bool *out_here, uint64_t timeout_ms,
                    ramet_pipeline_look *look, void *look_ctx,
                    struct ramet_err *err)
{
    const struct ramet_point at = ramet_head_point(head);
    struct ramet_page_wait wait = {.out = out, .size = head->page_size};
    struct ramet_want *want;
    enum ramet_rc rc;

    *out_here = false;
    assert(pgno >= 1 && pgno <= head->page_count);
    if (take_from_cache(pipeline, head, pgno, out)) {
        (void)ramet_pipeline_note_read(pipeline, reader, head, pgno, out);
        return RAMET_OK;
    }
    ramet_mutex_lock(&pipeline->mutex);
    rc = look_again(pipeline, &at, pgno, out, look, look_ctx, out_here, &want,
                    err);
    if (rc == RAMET_OK && !*out_here &&
        (want == NULL || !ramet_want_has_landed(want, out)))
        rc = await(pipeline, reader, head, pgno, want, &wait, timeout_ms, err);
    ramet_mutex_unlock(&pipeline->mutex);
    if (*out_here) { /* invariant (6) */
        (void)ramet_pipeline_note_read(pipeline, reader, head, pgno, out);
        return rc;
    }
    if (rc == RAMET_OK)
        (void)tell_touched(pipeline, head, pgno, true);
    expect_after_all(pipeline, reader, head, pgno, rc == RAMET_OK ? out : NULL);
    return rc;
}

bool
ramet_pipeline_note_read(struct ramet_pipeline *pipeline, const void *reader,
                         const struct ramet_head *head, uint32_t pgno,
                         const uint8_t *page)
{
    uint32_t pgnos[RAMET_BATCH_PAGES];
    struct ramet_ahead_list list;
    const bool is_recorded = tell_touched(pipeline, head, pgno, false);

    assert(page != NULL);
    if (atomic_fetch_add_explicit(&pipeline->quiet, 1, memory_order_relaxed) >=
        QUIET_READS)
        return is_recorded;
    list = ramet_pipeline_list(pipeline, head->page_size, false, pgnos);
    ramet_ahead_was_read(pipeline->ahead, reader, head, pgno, page, &list);
    ramet_pipeline_expect(pipeline, &list, true);
    return true;
}

/* ---- bulk reads ---------------------------------------------------------- */

void
ramet_bulk_begin(struct ramet_bulk_read *bulk, struct ramet_pipeline *pipeline,
                 const struct ramet_head *head)
{
    assert(head->lsn > 0);
    *bulk = (struct ramet_bulk_read){
        .pipeline = pipeline, .head = *head, .rc = RAMET_OK};
    ramet_cond_init(&bulk->some_came);
}

enum ramet_rc
ramet_bulk_add(struct ramet_bulk_read *bulk, const uint32_t *pgnos,
               size_t count, struct ramet_err *err)
{
    struct ramet_pipeline *const pipeline = bulk->pipeline;
    const struct ramet_point at = ramet_head_point(&bulk->head);
    enum ramet_rc rc = RAMET_OK;

    assert(bulk->pipeline != NULL);
    ramet_mutex_lock(&pipeline->mutex);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++) {
        struct ramet_want *want = ramet_want_find(pipeline, &at, pgnos[i]);

        if (want == NULL)
            want = ramet_want_add(pipeline, &bulk->head, pgnos[i],
                                  RAMET_WANT_BULK);
        if (want == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "%zu pages: no memory", count);
        else if (want->bulk == NULL) { /* else it comes for somebody else */
            want->bulk = bulk;
            bulk->pending++;
        }
    }
    if (rc == RAMET_OK)
        rc = ramet_pipeline_wake(pipeline, err);
    ramet_mutex_unlock(&pipeline->mutex);
    return rc;
}

enum ramet_rc
ramet_bulk_wait(struct ramet_bulk_read *bulk, size_t most, uint64_t ms,
                size_t *out_pending, uint64_t *out_came, struct ramet_err *err)
{
    struct ramet_pipeline *const pipeline = bulk->pipeline;
    const uint64_t until_ns = now_ns(pipeline) + ms * 1000000;
    enum ramet_rc rc = RAMET_OK;

    ramet_mutex_lock(&pipeline->mutex);
    bulk->waits_for = most;
    while (bulk->rc == RAMET_OK && rc == RAMET_OK && bulk->pending > most &&
           now_ns(pipeline) < until_ns) {
        (void)ramet_cond_wait_ms(&bulk->some_came, &pipeline->mutex, LOOK_MS);
        if (ramet_waiting_is_over())
            rc = RAMET_FAIL(err, RAMET_ECANCELLED, "the wait was cancelled");
    }
    if (bulk->rc != RAMET_OK) {
        rc = bulk->rc;
        if (err != NULL)
            *err = bulk->err;
    }
    *out_pending = bulk->pending;
    *out_came = bulk->came;
    ramet_mutex_unlock(&pipeline->mutex);
    return rc;
}

void
ramet_bulk_end(struct ramet_bulk_read *bulk)
{
    struct ramet_pipeline *const pipeline = bulk->pipeline;
    struct ramet_err err = {.code = RAMET_ECANCELLED};

    ramet_mutex_lock(&pipeline->mutex);
    for (unsigned b = 0; bulk->pending > 0 && b < RAMET_WANT_BUCKETS; b++) {
        struct ramet_want *want = pipeline->buckets[b];

        while (want != NULL) {
            struct ramet_want *const next = want->chain;

            if (want->bulk == bulk) {
                want->bulk = NULL;
                assert(bulk->pending > 0);
                bulk->pending--;
                if (want->batch == NULL && want->waits == NULL)
                    ramet_want_end(pipeline, want, NULL, RAMET_ECANCELLED,
                                   &err);
            }
            want = next;
        }
    }
    ramet_mutex_unlock(&pipeline->mutex);
    assert(bulk->pending == 0);
    ramet_cond_done(&bulk->some_came);
}

size_t
ramet_bulk_depth(struct ramet_bulk_read *bulk)
{
    size_t depth;

    ramet_mutex_lock(&bulk->pipeline->mutex);
    depth = ramet_pipeline_bulk_pages(bulk->pipeline, bulk->head.page_size);
    ramet_mutex_unlock(&bulk->pipeline->mutex);
    return depth > RAMET_BATCH_PAGES ? depth : RAMET_BATCH_PAGES;
}
