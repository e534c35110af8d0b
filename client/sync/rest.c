/*
 * rest.c - see rest.h.
 *
 * The thread begins when some pages came. It counts what was absent, waits
 * until an eighth of that came, and goes over the volume once, round by round.
 */
#include "client/sync/rest.h"

#include <assert.h>
#include <stdatomic.h>

#include "client/remote/pipeline.h"
#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/sync/absent_list.h"
#include "client/sync/replica_sync.h"
#include "core/alloc.h"
#include "core/log.h"
#include "core/os.h"
#include "core/waiting.h"

#define FIRST_PAGES 256u
#define SHARE 8u
#define ROUND_PAGES 4096u
#define PIECE_PAGES 256u
#define YIELD_MS 50u
#define LOOK_MS 200u

struct ramet_rest {
    struct ramet_replica_sync *replica_sync;
    atomic_uint_least64_t max_bytes; /* 0: it is not wanted */
    atomic_uint_least64_t came;      /* pages, since the last time */
    atomic_uint_least64_t misses;
    struct ramet_pipeline *_Atomic pipeline; /* NULL: nothing was missed yet */
    atomic_bool stop;
    struct ramet_mutex mutex; /* all that follows */
    struct ramet_cond changed;
    struct ramet_thread thread;
    bool runs;
    struct ramet_session
        *session; /* while it runs: the thread's, as the next */
    uint64_t misses_seen;
};

struct ramet_rest *
ramet_rest_new(struct ramet_replica_sync *replica_sync)
{
    struct ramet_rest *const rest = ramet_calloc(1, sizeof(*rest));

    assert(replica_sync != NULL);
    if (rest == NULL)
        return NULL;
    rest->replica_sync = replica_sync;
    ramet_mutex_init(&rest->mutex);
    ramet_cond_init(&rest->changed);
    return rest;
}

void
ramet_rest_stop(struct ramet_rest *rest)
{
    ramet_mutex_lock(&rest->mutex);
    atomic_store(&rest->stop, true);
    ramet_cond_broadcast(&rest->changed);
    ramet_mutex_unlock(&rest->mutex);
    ramet_thread_join(&rest->thread);
}

void
ramet_rest_free(struct ramet_rest *rest)
{
    if (rest == NULL)
        return;
    assert(atomic_load(&rest->stop) && !rest->thread.running);
    ramet_cond_done(&rest->changed);
    ramet_mutex_done(&rest->mutex);
    ramet_free(rest);
}

void
ramet_rest_want(struct ramet_rest *rest, uint64_t max_bytes)
{
    assert(max_bytes > 0);
    ramet_mutex_lock(&rest->mutex);
    if (max_bytes > atomic_load(&rest->max_bytes))
        atomic_store(&rest->max_bytes, max_bytes);
    ramet_mutex_unlock(&rest->mutex);
}

void
ramet_rest_missed(struct ramet_rest *rest, struct ramet_pipeline *pipeline)
{
    assert(pipeline != NULL);
    atomic_store(&rest->pipeline, pipeline);
    atomic_fetch_add(&rest->misses, 1);
}

uint64_t
ramet_rest_threshold(uint64_t absent)
{
    const uint64_t share = absent / SHARE;

    return share > FIRST_PAGES ? share : FIRST_PAGES;
}

/* ---- waiting ------------------------------------------------------------------ */

static bool
is_stopped(void *ctx)
{
    return atomic_load(&((struct ramet_rest *)ctx)->stop);
}

static void
rest_for(struct ramet_rest *rest, uint64_t ms)
{
    assert(ms > 0);
    ramet_mutex_lock(&rest->mutex);
    if (!is_stopped(rest))
        (void)ramet_cond_wait_ms(&rest->changed, &rest->mutex, ms);
    ramet_mutex_unlock(&rest->mutex);
}

/* While readers miss pages, the link is theirs. */
static void
yield_to_readers(struct ramet_rest *rest)
{
    uint64_t now = atomic_load(&rest->misses);

    assert(rest->session != NULL);
    while (now != rest->misses_seen && !is_stopped(rest)) {
        rest->misses_seen = now;
        rest_for(rest, YIELD_MS);
        now = atomic_load(&rest->misses);
    }
}

/* ---- what is absent ------------------------------------------------------------ */

static enum ramet_rc
pin(struct ramet_rest *rest, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_pin(rest->session, err);

    assert(rest->session != NULL);
    while (rc == RAMET_EBUSY && !is_stopped(rest)) {
        rest_for(rest, YIELD_MS);
        rc = ramet_session_pin(rest->session, err);
    }
    return rc;
}

/* The absent pages after *after, `max` at most, by one pin. */
static enum ramet_rc
count_some(struct ramet_rest *rest, uint32_t *after, uint64_t *out_count,
           struct ramet_err *err)
{
    struct ramet_pageset absent;
    enum ramet_rc rc;

    assert(ramet_session_is_pinned(rest->session));
    ramet_pageset_init(&absent);
    rc = ramet_session_absent(rest->session, *after, ROUND_PAGES, &absent, err);
    *out_count = rc == RAMET_OK ? ramet_pageset_count(&absent) : 0;
    if (*out_count > 0)
        *after = absent.runs[absent.run_count - 1].last;
    ramet_pageset_done(&absent);
    return rc;
}

/* *out_absent 0: there is nothing to bring, or too much; invariant (1). */
static enum ramet_rc
count_absent(struct ramet_rest *rest, uint64_t *out_absent,
             struct ramet_err *err)
{
    const struct ramet_snapshot *s;
    uint32_t after = 0;
    uint64_t count = 1;
    enum ramet_rc rc = pin(rest, err);

    *out_absent = 0;
    if (rc != RAMET_OK)
        return rc;
    assert(rest->session != NULL);
    s = ramet_session_snapshot(rest->session);
    if ((uint64_t)s->page_count * s->page_size <= atomic_load(&rest->max_bytes))
        while (rc == RAMET_OK && count > 0 && !is_stopped(rest)) {
            rc = count_some(rest, &after, &count, err);
            *out_absent += count;
        }
    ramet_session_unpin(rest->session);
    return rc;
}

/* ---- bringing it ------------------------------------------------------------------ */

static enum ramet_rc
wait_until(struct ramet_rest *rest, struct ramet_bulk_read *bulk, size_t most,
           struct ramet_err *err)
{
    size_t pending = most + 1;
    uint64_t came;
    enum ramet_rc rc = RAMET_OK;

    assert(bulk->pipeline != NULL);
    while (rc == RAMET_OK && pending > most && !is_stopped(rest))
        rc = ramet_bulk_wait(bulk, most, LOOK_MS, &pending, &came, err);
    return rc;
}

/* Piece by piece, so that what is asked for is little when a reader comes. */
static enum ramet_rc
bring_pieces(struct ramet_rest *rest, struct ramet_bulk_read *bulk,
             struct ramet_absent_list *absent, bool *out_more,
             struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_session_is_pinned(rest->session)); /* invariant (3) */
    for (uint32_t n = 0;
         rc == RAMET_OK && *out_more && n < ROUND_PAGES && !is_stopped(rest);
         n += PIECE_PAGES) {
        const uint32_t *pgnos = NULL;
        size_t count = 0;

        yield_to_readers(rest);
        rc = ramet_absent_list_next(absent, rest->session, PIECE_PAGES, true,
                                    &pgnos, &count, err);
        *out_more = rc == RAMET_OK && count > 0;
        if (*out_more)
            rc = ramet_bulk_add(bulk, pgnos, count, err);
        if (rc == RAMET_OK)
            rc = wait_until(rest, bulk, PIECE_PAGES, err);
    }
    return rc == RAMET_OK ? wait_until(rest, bulk, 0, err) : rc;
}

/* Invariant (3). */
static enum ramet_rc
bring_round(struct ramet_rest *rest, uint32_t *after, bool *out_more,
            struct ramet_err *err)
{
    struct ramet_remote_client *const client =
        ramet_replica_sync_client(rest->replica_sync);
    struct ramet_history *history = NULL;
    struct ramet_point at;
    struct ramet_absent_list absent = {.pgnos = NULL};
    struct ramet_bulk_read bulk;
    struct ramet_head head;
    struct ramet_vid volume;
    enum ramet_rc rc = pin(rest, err);

    assert(atomic_load(&rest->pipeline) != NULL);
    if (rc != RAMET_OK)
        return rc;
    if (client == NULL ||
        !ramet_replica_sync_volume(rest->replica_sync, &volume)) {
        ramet_session_unpin(rest->session);
        return RAMET_FAIL(err, RAMET_EUNREACHABLE, "no remote");
    }
    at = ramet_snapshot_point(ramet_session_snapshot(rest->session));
    rc = ramet_remote_client_history(client, &volume, &history, err);
    if (rc == RAMET_OK)
        rc = ramet_history_head_of(history, &at, &head, err);
    if (rc == RAMET_OK)
        rc = ramet_absent_list_begin(&absent, history, &head, *after, err);
    if (rc == RAMET_OK) {
        ramet_bulk_begin(&bulk, atomic_load(&rest->pipeline), &head);
        rc = bring_pieces(rest, &bulk, &absent, out_more, err);
        ramet_bulk_end(&bulk);
        *after = ramet_absent_list_after(&absent);
    }
    ramet_absent_list_end(&absent);
    ramet_session_unpin(rest->session);
    return rc;
}

static bool
wait_for_share(struct ramet_rest *rest, uint64_t absent)
{
    assert(absent > 0);
    /* What came before the count is not counted as absent. */
    const uint64_t most =
        ramet_rest_threshold(absent + atomic_load(&rest->came));

    ramet_mutex_lock(&rest->mutex);
    while (atomic_load(&rest->came) < most && !is_stopped(rest))
        ramet_cond_wait(&rest->changed, &rest->mutex);
    ramet_mutex_unlock(&rest->mutex);
    return !is_stopped(rest);
}

/* All pages after `after`. */
static enum ramet_rc
bring_from(struct ramet_rest *rest, uint32_t after, struct ramet_err *err)
{
    bool more = true;
    enum ramet_rc rc = RAMET_OK;

    assert(rest->session != NULL);
    while (rc == RAMET_OK && more && !is_stopped(rest))
        rc = bring_round(rest, &after, &more, err);
    return rc;
}

/* Other processes may be at it, too: each begins elsewhere, and finds here what
 * the others brought when it comes to where they began. */
static uint32_t
choose_start(const struct ramet_rest *rest)
{
    const struct ramet_os *const os = rest->replica_sync->os;
    const uint32_t count = ramet_session_snapshot(rest->session)->page_count;
    uint32_t random = 0;

    assert(rest->session != NULL);
    if (count == 0 || os->random(os->ctx, &random, sizeof(random)) < 0)
        return 0;
    return random % count;
}

static enum ramet_rc
bring_all(struct ramet_rest *rest, struct ramet_err *err)
{
    uint64_t absent;
    enum ramet_rc rc = count_absent(rest, &absent, err);

    if (rc != RAMET_OK || absent == 0 || !wait_for_share(rest, absent))
        return rc;
    rc = bring_from(rest, choose_start(rest), err);
    return rc == RAMET_OK ? bring_from(rest, 0, err) : rc;
}

static void *
run(void *arg)
{
    struct ramet_rest *const rest = arg;
    const struct ramet_waiter waiter = {.is_over = is_stopped, .ctx = rest};
    struct ramet_err err = {.code = RAMET_OK};
    enum ramet_rc rc;

    assert(rest->session != NULL);
    ramet_waiting_set(&waiter);
    rc = bring_all(rest, &err);
    ramet_waiting_set(NULL);
    if (rc != RAMET_OK && !is_stopped(rest))
        ramet_log(RAMET_LOG_WARN, "the rest was not brought", "file",
                  rest->replica_sync->path, "code", ramet_rc_name(rc), "error",
                  err.text, NULL);
    ramet_session_close(rest->session);
    ramet_mutex_lock(&rest->mutex);
    rest->session = NULL;
    rest->runs = false;
    atomic_store(&rest->came, 0); /* invariant (5) */
    ramet_mutex_unlock(&rest->mutex);
    return NULL;
}

/* Under the mutex. */
static void
start(struct ramet_rest *rest, struct ramet_session *session)
{
    assert(!rest->runs && rest->session == NULL);
    if (ramet_session_clone(session, &rest->session, NULL) != RAMET_OK) {
        rest->session = NULL;
        return;
    }
    ramet_thread_join(&rest->thread); /* it has ended */
    rest->runs = true;
    if (ramet_thread_start(&rest->thread, "ramet-rest", run, rest, NULL) ==
        RAMET_OK)
        return;
    rest->runs = false;
    ramet_session_close(rest->session);
    rest->session = NULL;
}

void
ramet_rest_kept(struct ramet_rest *rest, struct ramet_session *session)
{
    assert(session != NULL);
    if (atomic_load(&rest->max_bytes) == 0 ||
        (atomic_fetch_add(&rest->came, 1) + 1) % FIRST_PAGES != 0)
        return;
    ramet_mutex_lock(&rest->mutex);
    if (rest->runs)
        ramet_cond_broadcast(&rest->changed);
    else if (!is_stopped(rest) && atomic_load(&rest->pipeline) != NULL)
        start(rest, session);
    ramet_mutex_unlock(&rest->mutex);
}
