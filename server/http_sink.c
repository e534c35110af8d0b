/*
 * http_sink.c - a request body that goes to a worker as it comes.
 *
 * Two buffers: the event thread fills one while a worker writes the other. If
 * both are full the connection is suspended, so memory is bounded and a slow
 * store slows down the client, nothing else.
 *
 *   (1) At most one worker is at a sink (`busy`).
 *   (2) The request is touched by the worker only after `input_done`, when
 *       the connection is suspended until it has replied.
 *   (3) Two references: the request's and, while busy, the worker's.
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "server/http_impl.h"

#define SINK_HELD (2u * RAMET_HTTP_SINK_BYTES)

struct sink {
    const struct ramet_http_sink_ops *ops;
    void *state;
    struct ramet_http *http;
    uint32_t client;
    struct ramet_job job;
    struct ramet_http_request *rq; /* NULL once it is gone */
    uint64_t max_bytes;
    uint64_t seen_bytes; /* event thread */
    struct ramet_mutex lock;
    struct MHD_Connection *waiting; /* lock: suspended for want of room */
    unsigned refs;                  /* lock */
    bool busy;                      /* lock */
    bool input_done;                /* lock */
    bool gone;                      /* lock */
    uint8_t *fill;                  /* lock; RAMET_HTTP_SINK_BYTES */
    size_t fill_len;                /* lock */
    uint8_t *drain;                 /* the worker's while busy */
    enum ramet_rc rc;               /* lock: first failure */
    struct ramet_err err;           /* lock */
};

bool
ramet_http_want_sink(struct ramet_http_request *rq,
                     const struct ramet_http_sink_ops *ops, void *state,
                     uint64_t max_bytes)
{
    struct sink *sink;

    assert(rq->body_mode == BODY_NONE);
    if (!ramet_budget_hold(&rq->http->memory, RAMET_HOLD_LONG, rq->client,
                           SINK_HELD))
        return false;
    sink = ramet_calloc(1, sizeof(*sink));
    if (sink != NULL) {
        sink->fill = ramet_alloc(RAMET_HTTP_SINK_BYTES);
        sink->drain = ramet_alloc(RAMET_HTTP_SINK_BYTES);
    }
    if (sink == NULL || sink->fill == NULL || sink->drain == NULL) {
        if (sink != NULL) {
            ramet_free(sink->fill);
            ramet_free(sink->drain);
        }
        ramet_free(sink);
        ramet_budget_let_go(&rq->http->memory, RAMET_HOLD_LONG, rq->client,
                            SINK_HELD);
        return false;
    }
    ramet_mutex_init(&sink->lock);
    sink->ops = ops;
    sink->state = state;
    sink->http = rq->http;
    sink->client = rq->client;
    sink->rq = rq;
    sink->max_bytes = max_bytes;
    sink->refs = 1;
    rq->sink = sink;
    rq->body_mode = BODY_SINK;
    return true;
}

static void
unref(struct sink *sink)
{
    bool last;

    ramet_mutex_lock(&sink->lock);
    assert(sink->refs > 0);
    last = --sink->refs == 0;
    ramet_mutex_unlock(&sink->lock);
    if (!last)
        return;
    sink->ops->free(sink->state);
    ramet_budget_let_go(&sink->http->memory, RAMET_HOLD_LONG, sink->client,
                        SINK_HELD);
    ramet_mutex_done(&sink->lock);
    ramet_free(sink->fill);
    ramet_free(sink->drain);
    ramet_free(sink);
}

/* Takes what is filled; 0 and not busy any more if there is nothing. Sets
 * *out_finish when the body is whole and all of it is written. */
static size_t
next_drain(struct sink *sink, bool *out_finish)
{
    struct MHD_Connection *wake;
    size_t len;

    ramet_mutex_lock(&sink->lock);
    assert(sink->busy && sink->fill_len <= RAMET_HTTP_SINK_BYTES);
    len = sink->fill_len;
    *out_finish = false;
    if (len > 0 && !sink->gone) {
        uint8_t *swap = sink->drain;

        sink->drain = sink->fill;
        sink->fill = swap;
        sink->fill_len = 0;
    } else {
        len = 0;
        *out_finish = sink->input_done && !sink->gone;
        sink->busy = false;
    }
    wake = sink->waiting;
    sink->waiting = NULL;
    ramet_mutex_unlock(&sink->lock);
    if (wake != NULL)
        MHD_resume_connection(wake);
    return len;
}

static enum ramet_rc
rc_of(struct sink *sink)
{
    enum ramet_rc rc;

    ramet_mutex_lock(&sink->lock);
    rc = sink->rc;
    ramet_mutex_unlock(&sink->lock);
    return rc;
}

/* The first failure stays: the event thread may have found the body too large
 * while this was written. */
static void
note_failure(struct sink *sink, enum ramet_rc rc, const struct ramet_err *err)
{
    ramet_mutex_lock(&sink->lock);
    assert(sink->busy); /* invariant (1) */
    if (sink->rc == RAMET_OK && rc != RAMET_OK) {
        sink->rc = rc;
        sink->err = *err;
    }
    ramet_mutex_unlock(&sink->lock);
}

static void
drain_sink(struct ramet_job *job)
{
    struct sink *sink = (void *)((char *)job - offsetof(struct sink, job));
    bool finish;
    size_t len;

    while ((len = next_drain(sink, &finish)) > 0) {
        struct ramet_err err = {.code = RAMET_OK};
        enum ramet_rc rc = rc_of(sink);

        if (rc == RAMET_OK)
            rc = sink->ops->write(sink->state, sink->drain, len, &err);
        note_failure(sink, rc, &err);
    }
    if (finish) {
        struct MHD_Connection *mhd = sink->rq->mhd;

        sink->ops->finish(sink->state, sink->rq, sink->rc, &sink->err);
        assert(sink->rq->response != NULL);
        MHD_resume_connection(mhd);
    }
    unref(sink);
}

/* With sink->lock held. */
static void
start_worker(struct sink *sink)
{
    assert(!sink->busy);
    sink->busy = true;
    sink->refs++;
    sink->job.run = drain_sink;
    ramet_work_continue(sink->http->work, &sink->job);
}

enum MHD_Result
ramet_http_sink_data(struct ramet_http_request *rq, const char *data,
                     size_t *len)
{
    struct sink *sink = rq->sink;
    size_t room;

    assert(sink != NULL && *len > 0);
    ramet_mutex_lock(&sink->lock);
    assert(!sink->input_done);
    room = RAMET_HTTP_SINK_BYTES - sink->fill_len;
    if (room > *len)
        room = *len;
    if (sink->seen_bytes + room > sink->max_bytes && sink->rc == RAMET_OK)
        sink->rc = RAMET_FAIL(&sink->err, RAMET_ETOOBIG,
                              "the body is larger than %llu bytes",
                              (unsigned long long)sink->max_bytes);
    if (sink->rc == RAMET_OK) {
        memcpy(sink->fill + sink->fill_len, data, room);
        sink->fill_len += room;
    } else {
        room = *len; /* dropped */
    }
    sink->seen_bytes += room;
    if (sink->seen_bytes > 2 * sink->max_bytes) {
        ramet_mutex_unlock(&sink->lock);
        return MHD_NO;
    }
    *len -= room;
    rq->body_seen += room;
    if (sink->fill_len == RAMET_HTTP_SINK_BYTES && !sink->busy)
        start_worker(sink);
    if (*len > 0) { /* the client waits for us */
        ramet_http_conn_enter(rq->conn, CONN_WORKING);
        sink->waiting = rq->mhd;
        ramet_http_suspend(rq);
    }
    ramet_mutex_unlock(&sink->lock);
    return MHD_YES;
}

void
ramet_http_sink_end(struct ramet_http_request *rq)
{
    struct sink *sink = rq->sink;

    assert(sink != NULL);
    ramet_http_suspend(rq);
    ramet_mutex_lock(&sink->lock);
    sink->input_done = true;
    if (!sink->busy)
        start_worker(sink);
    ramet_mutex_unlock(&sink->lock);
}

void
ramet_http_sink_gone(struct ramet_http_request *rq)
{
    struct sink *sink = rq->sink;

    assert(sink != NULL);
    rq->sink = NULL;
    ramet_mutex_lock(&sink->lock);
    sink->gone = true;
    sink->rq = NULL;
    sink->waiting = NULL;
    ramet_mutex_unlock(&sink->lock);
    unref(sink);
}
