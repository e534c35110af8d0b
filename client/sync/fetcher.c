/*
 * fetcher.c - see fetcher.h.
 *
 *   (1) pages come on the pipeline's threads, so they are kept by a session that
 *       is nobody else's, under `keeping`; the read that asked for it may be over by then
 *   (2) a page is in the replica before the pipeline tells that it came
 *
 * Locks: the pipeline holds none when it calls; keeping < those of the store.
 *
 * Layer: client.
 */
#include "client/sync/fetcher.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>

#include "client/remote/meter.h"
#include "client/remote/pipeline.h"
#include "client/remote/remote_client.h"
#include "client/remote/warm.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/replica_sync.h"
#include "client/sync/rest.h"
#include "core/alloc.h"

struct ramet_page_fetcher {
    struct ramet_replica_sync *replica_sync;
    struct ramet_mutex mutex;
    struct ramet_pipeline *pipeline; /* set once, under mutex */
    struct ramet_keeper keeper;      /* joined if there is one */
    struct ramet_head head;          /* at which a page was missed last */
    atomic_bool places; /* what comes in bulk goes straight into the base */
    struct ramet_mutex keeping;
    struct ramet_session *session; /* under keeping; NULL: none could be had */
    enum ramet_rc failed;          /* under keeping: to keep a page, and why */
    struct ramet_err failure;
    struct ramet_rest *rest;
};

struct ramet_page_fetcher *
ramet_page_fetcher_new(struct ramet_replica_sync *replica_sync)
{
    struct ramet_page_fetcher *const fetcher =
        ramet_calloc(1, sizeof(*fetcher));

    assert(replica_sync != NULL);
    if (fetcher == NULL)
        return NULL;
    fetcher->replica_sync = replica_sync;
    fetcher->rest = ramet_rest_new(replica_sync);
    if (fetcher->rest == NULL) {
        ramet_free(fetcher);
        return NULL;
    }
    ramet_mutex_init(&fetcher->mutex);
    ramet_mutex_init(&fetcher->keeping);
    return fetcher;
}

void
ramet_page_fetcher_free(struct ramet_page_fetcher *fetcher)
{
    if (fetcher == NULL)
        return;
    assert(fetcher->rest != NULL);
    ramet_rest_stop(fetcher->rest);
    if (fetcher->pipeline != NULL)
        ramet_pipeline_leave(fetcher->pipeline, &fetcher->keeper);
    ramet_rest_free(fetcher->rest);
    ramet_session_close(fetcher->session);
    ramet_mutex_done(&fetcher->keeping);
    ramet_mutex_done(&fetcher->mutex);
    ramet_free(fetcher);
}

/* ---- what comes --------------------------------------------------------------- */

static bool
has_page(void *ctx, const struct ramet_point *at, uint32_t pgno)
{
    struct ramet_page_fetcher *const fetcher = ctx;
    bool has;

    ramet_mutex_lock(&fetcher->keeping);
    has = fetcher->session != NULL &&
          ramet_session_holds(fetcher->session, at, pgno);
    ramet_mutex_unlock(&fetcher->keeping);
    return has;
}

static bool
peek_page(void *ctx, const struct ramet_point *at, uint32_t pgno,
          uint8_t *out_page, size_t page_size)
{
    struct ramet_page_fetcher *const fetcher = ctx;
    bool found;

    assert(out_page != NULL && page_size > 0);
    ramet_mutex_lock(&fetcher->keeping);
    found = fetcher->session != NULL &&
            ramet_session_peek(fetcher->session, at, pgno, out_page, page_size);
    ramet_mutex_unlock(&fetcher->keeping);
    return found;
}

/* Invariant (1). */
static bool
keep_pages(void *ctx, const struct ramet_point *at, const uint32_t *pgnos,
           size_t count, const uint8_t *pages, size_t page_size, bool in_bulk)
{
    struct ramet_page_fetcher *const fetcher = ctx;
    const bool in_place = in_bulk && atomic_load(&fetcher->places);
    struct ramet_err err;
    enum ramet_rc rc = RAMET_EUNREACHABLE;

    assert(count > 0 && pages != NULL);
    atomic_fetch_add(&fetcher->replica_sync->fetched_pages, count);
    ramet_mutex_lock(&fetcher->keeping);
    if (fetcher->session != NULL && ramet_session_can_keep(fetcher->session) &&
        ramet_session_stands_on(fetcher->session, at)) {
        rc = in_place
                 ? ramet_session_place_fetched_run(fetcher->session, at, pgnos,
                                                   count, pages,
                                                   (uint32_t)page_size, &err)
                 : ramet_session_keep_fetched_run(fetcher->session, at, pgnos,
                                                  count, pages,
                                                  (uint32_t)page_size, &err);
        if (rc != RAMET_OK && fetcher->failed == RAMET_OK) {
            fetcher->failed = rc;
            fetcher->failure = err;
        }
        for (size_t i = 0; rc == RAMET_OK && i < count; i++)
            ramet_rest_kept(fetcher->rest, fetcher->session);
    }
    ramet_mutex_unlock(&fetcher->keeping);
    return rc == RAMET_OK;
}

void
ramet_page_fetcher_bring_rest(struct ramet_page_fetcher *fetcher,
                              uint64_t max_bytes)
{
    assert(fetcher->rest != NULL && max_bytes > 0);
    ramet_rest_want(fetcher->rest, max_bytes);
}

void
ramet_page_fetcher_place(struct ramet_page_fetcher *fetcher, bool places)
{
    atomic_store(&fetcher->places, places);
}

enum ramet_rc
ramet_page_fetcher_failure(struct ramet_page_fetcher *fetcher,
                           struct ramet_err *err)
{
    enum ramet_rc rc;

    ramet_mutex_lock(&fetcher->keeping);
    rc = fetcher->failed;
    if (rc != RAMET_OK && err != NULL)
        *err = fetcher->failure;
    fetcher->failed = RAMET_OK;
    ramet_mutex_unlock(&fetcher->keeping);
    return rc;
}

static enum ramet_rc
join(struct ramet_page_fetcher *fetcher, struct ramet_err *err)
{
    struct ramet_remote_client *const client =
        ramet_replica_sync_client(fetcher->replica_sync);
    struct ramet_pipeline *pipeline = NULL;
    struct ramet_vid volume;
    enum ramet_rc rc;

    assert(fetcher->pipeline == NULL); /* set once */
    if (client == NULL ||
        !ramet_replica_sync_volume(fetcher->replica_sync, &volume))
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "%s: a page is not here, and no remote is known to "
                          "have it",
                          fetcher->replica_sync->path);
    rc = ramet_remote_client_pipeline(client, &volume, &pipeline, err);
    if (rc != RAMET_OK)
        return rc;
    fetcher->keeper = (struct ramet_keeper){
        .has = has_page, .keep = keep_pages, .peek = peek_page, .ctx = fetcher};
    ramet_pipeline_join(pipeline, &fetcher->keeper);
    fetcher->pipeline = pipeline;
    return RAMET_OK;
}

/* Without a session, what is brought ahead stays in memory. */
static enum ramet_rc
need_session(struct ramet_page_fetcher *fetcher, struct ramet_session *session,
             struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(session != NULL);
    ramet_mutex_lock(&fetcher->keeping);
    if (fetcher->session == NULL)
        rc = ramet_session_clone(session, &fetcher->session, err);
    if (rc != RAMET_OK)
        fetcher->session = NULL;
    ramet_mutex_unlock(&fetcher->keeping);
    return rc;
}

enum ramet_rc
ramet_page_fetcher_pipeline(struct ramet_page_fetcher *fetcher,
                            struct ramet_session *session, bool must_stay,
                            struct ramet_pipeline **out_pipeline,
                            struct ramet_err *err)
{
    enum ramet_rc rc;

    ramet_mutex_lock(&fetcher->mutex);
    rc = need_session(fetcher, session, must_stay ? err : NULL);
    if (!must_stay)
        rc = RAMET_OK;
    if (rc == RAMET_OK && fetcher->pipeline == NULL)
        rc = join(fetcher, err);
    if (rc == RAMET_OK)
        *out_pipeline = fetcher->pipeline;
    assert(rc != RAMET_OK || fetcher->pipeline != NULL);
    ramet_mutex_unlock(&fetcher->mutex);
    return rc;
}

/* ---- what is missed --------------------------------------------------------------- */

static enum ramet_rc
name_page(const struct ramet_page_fetcher *fetcher, uint64_t lsn, uint32_t pgno,
          enum ramet_rc rc, const struct ramet_err *cause,
          struct ramet_err *err)
{
    assert(rc != RAMET_OK && pgno >= 1);
    return RAMET_FAIL(err, rc,
                      "%.120s: page %" PRIu32 " is not here, and remote %.120s "
                      "(LSN %" PRIu64 "): %.200s",
                      fetcher->replica_sync->path, pgno,
                      ramet_remote_client_text(
                          ramet_replica_sync_client(fetcher->replica_sync)),
                      lsn, cause->text);
}

/* What the remote says of `at`, unless the breaker is open. *out_timeout_ms: how
 * long the page is to be waited for. */
static enum ramet_rc
look_at(struct ramet_page_fetcher *fetcher, const struct ramet_point *at,
        struct ramet_vid *out_volume, struct ramet_head *out_head,
        uint64_t *out_timeout_ms, struct ramet_err *err)
{
    struct ramet_remote_client *const client =
        ramet_replica_sync_client(fetcher->replica_sync);
    struct ramet_history *history = NULL;
    bool probes = false;
    enum ramet_rc rc;

    if (client == NULL ||
        !ramet_replica_sync_volume(fetcher->replica_sync, out_volume))
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "%s: a page is not here, and no remote is known to "
                          "have it",
                          fetcher->replica_sync->path);
    rc = ramet_meter_check(ramet_remote_client_meter(client), &probes, err);
    *out_timeout_ms = fetcher->replica_sync->fetch_timeout_ms;
    if (probes && *out_timeout_ms > RAMET_PROBE_WAIT_MS)
        *out_timeout_ms = RAMET_PROBE_WAIT_MS;
    if (rc == RAMET_OK)
        rc = ramet_remote_client_history(client, out_volume, &history, err);
    if (rc == RAMET_OK)
        rc = ramet_history_head_of(history, at, out_head, err);
    return rc;
}

static enum ramet_rc
look_here(void *ctx, uint8_t *out_page, bool *out_here, struct ramet_err *err)
{
    return ramet_fetch_look_again(ctx, out_page, out_here, err);
}

static enum ramet_rc
fetch_page(struct ramet_page_fetcher *fetcher, const struct ramet_head *head,
           uint32_t pgno, uint64_t timeout_ms, struct ramet_page_request *sink,
           struct ramet_err *err)
{
    struct ramet_pipeline *pipeline = NULL;
    uint8_t *const page = ramet_alloc(head->page_size);
    bool here = false;
    enum ramet_rc rc;

    assert(pgno >= 1 && pgno <= head->page_count);
    if (page == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory");
    rc = ramet_page_fetcher_pipeline(fetcher, ramet_fetch_session(sink), false,
                                     &pipeline, err);
    if (rc == RAMET_OK) {
        ramet_rest_missed(fetcher->rest, pipeline);
        rc =
            ramet_pipeline_read(pipeline, ramet_fetch_session(sink), head, pgno,
                                page, &here, timeout_ms, look_here, sink, err);
    }
    if (rc == RAMET_OK && !here)
        rc = ramet_fetch_deliver(sink, pgno, page, err);
    ramet_free(page);
    return rc;
}

struct ramet_warm *
ramet_page_fetcher_warm(struct ramet_page_fetcher *fetcher,
                        struct ramet_session *session,
                        const struct ramet_point *at, const char *name,
                        bool may_keep)
{
    struct ramet_pipeline *pipeline = NULL;
    struct ramet_vid volume;
    struct ramet_head head;
    uint64_t timeout_ms;

    if (at->lsn == 0 ||
        look_at(fetcher, at, &volume, &head, &timeout_ms, NULL) != RAMET_OK ||
        ramet_page_fetcher_pipeline(fetcher, session, false, &pipeline, NULL) !=
            RAMET_OK)
        return NULL;
    assert(pipeline != NULL);
    ramet_mutex_lock(&fetcher->mutex);
    fetcher->head = head;
    ramet_mutex_unlock(&fetcher->mutex);
    ramet_replica_watch(fetcher->replica_sync->replica, true);
    return ramet_warm_begin(ramet_replica_sync_client(fetcher->replica_sync),
                            pipeline, &volume, &head, name, may_keep);
}

enum ramet_rc
ramet_page_fetcher_prefetch(struct ramet_page_fetcher *fetcher,
                            struct ramet_session *session,
                            const struct ramet_point *at,
                            const struct ramet_question *question,
                            uint64_t *out_pages, struct ramet_err *err)
{
    struct ramet_pipeline *pipeline = NULL;
    struct ramet_vid volume;
    struct ramet_head head;
    uint64_t timeout_ms;
    enum ramet_rc rc = look_at(fetcher, at, &volume, &head, &timeout_ms, err);

    if (rc == RAMET_OK)
        rc = ramet_page_fetcher_pipeline(fetcher, session, false, &pipeline,
                                         err);
    if (rc != RAMET_OK)
        return rc;
    assert(pipeline != NULL);
    return ramet_warm_ask(ramet_replica_sync_client(fetcher->replica_sync),
                          pipeline, &volume, &head, question, out_pages, err);
}

/* Another process may have bound the replica, and pulled, since it was opened
 * here. */
static enum ramet_rc
learn_binding(struct ramet_page_fetcher *fetcher, struct ramet_session *session,
              struct ramet_err *err)
{
    struct ramet_replica_state state = {.volume = {{{0}}}};
    struct ramet_vid volume;
    enum ramet_rc rc;

    assert(session != NULL);
    if (ramet_replica_sync_volume(fetcher->replica_sync, &volume))
        return RAMET_OK;
    rc = ramet_session_state(session, &state, err);
    if (rc == RAMET_OK)
        ramet_replica_sync_learn(fetcher->replica_sync, &state);
    ramet_replica_state_done(&state);
    return rc;
}

static enum ramet_rc
fetch(struct ramet_page_fetcher *fetcher, const struct ramet_point *at,
      uint32_t pgno, struct ramet_page_request *sink, struct ramet_err *err)
{
    struct ramet_vid volume;
    struct ramet_head head;
    uint64_t timeout_ms = 0;
    enum ramet_rc rc = learn_binding(fetcher, ramet_fetch_session(sink), err);

    assert(pgno >= 1);
    if (rc == RAMET_OK)
        rc = look_at(fetcher, at, &volume, &head, &timeout_ms, err);
    if (rc != RAMET_OK)
        return rc;
    if (pgno > head.page_count)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "there are only %" PRIu32 " pages", head.page_count);
    ramet_mutex_lock(&fetcher->mutex);
    fetcher->head = head;
    ramet_mutex_unlock(&fetcher->mutex);
    ramet_replica_watch(fetcher->replica_sync->replica, true);
    return fetch_page(fetcher, &head, pgno, timeout_ms, sink, err);
}

void
ramet_page_fetcher_was_read(void *ctx, const struct ramet_session *session,
                            const struct ramet_point *at, uint32_t pgno,
                            const uint8_t *page)
{
    struct ramet_page_fetcher *const fetcher = ctx;
    struct ramet_pipeline *pipeline;
    struct ramet_point missed_at;
    struct ramet_head head;

    assert(pgno >= 1 && page != NULL);
    ramet_mutex_lock(&fetcher->mutex);
    pipeline = fetcher->pipeline;
    head = fetcher->head;
    ramet_mutex_unlock(&fetcher->mutex);
    missed_at = ramet_head_point(&head);
    if (pipeline == NULL || !ramet_point_equal(&missed_at, at) ||
        pgno > head.page_count)
        return;
    if (!ramet_pipeline_note_read(pipeline, session, &head, pgno, page))
        ramet_replica_watch(fetcher->replica_sync->replica, false);
}

enum ramet_rc
ramet_page_fetcher_run(void *ctx, const struct ramet_point *at, uint32_t pgno,
                       struct ramet_page_request *sink, struct ramet_err *err)
{
    struct ramet_page_fetcher *const fetcher = ctx;
    struct ramet_err cause = {.code = RAMET_OK};
    enum ramet_rc rc;

    assert(pgno >= 1);
    if (ramet_replica_sync_client(fetcher->replica_sync) == NULL)
        return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                          "%s: page %" PRIu32 " is not here, and the remote is "
                          "not known",
                          fetcher->replica_sync->path, pgno);
    rc = fetch(fetcher, at, pgno, sink, &cause);
    return rc == RAMET_OK ? rc
                          : name_page(fetcher, at->lsn, pgno, rc, &cause, err);
}
