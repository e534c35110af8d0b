/*
 * http_reply.c - answers: in one piece, or as a stream that workers fill.
 *
 * A stream has one buffer that the event thread empties (`ready`) and one that
 * a worker fills (`spare`). It is suspended while there is nothing to send.
 *
 *   (1) At most one worker is at a stream (`producing`).
 *   (2) A suspended connection has a worker coming, so somebody will resume it.
 *   (3) Who finds `done` finds all that was made in `ready` or, `producing` being
 *       over, in `spare`.
 *   (4) Two references to a stream: the response's and, while producing, the
 *       worker's.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/alloc.h"
#include "core/log.h"
#include "server/http_impl.h"

#define STREAM_BLOCK_BYTES (32u << 10) /* what the library copies from */
#define STREAM_HELD (2u * RAMET_HTTP_STREAM_BYTES + STREAM_BLOCK_BYTES)

/* ---- in one piece ---------------------------------------------------------- */

static bool
is_header_value(const char *value)
{
    assert(value != NULL);
    for (const char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 127)
            return false;
    }
    return true;
}

void
ramet_http_set_header(struct ramet_http_request *rq, const char *name,
                      const char *value)
{
    char *copy;

    assert(rq->header_count < HEADERS_MAX);
    if (rq->header_count == HEADERS_MAX || !is_header_value(value))
        return;
    copy = ramet_strdup(value);
    if (copy == NULL)
        return;
    rq->headers[rq->header_count].name = name;
    rq->headers[rq->header_count].value = copy;
    rq->header_count++;
}

void
ramet_http_request_headers_done(struct ramet_http_request *rq)
{
    for (unsigned i = 0; i < rq->header_count; i++)
        ramet_free(rq->headers[i].value);
    rq->header_count = 0;
}

void
ramet_http_set_response(struct ramet_http_request *rq, unsigned status,
                        const char *content_type, struct MHD_Response *response)
{
    static char nothing[1];

    assert(rq->response == NULL && !rq->queued);
    if (response == NULL) {
        status = 503;
        response =
            MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
    }
    if (response != NULL) {
        if (content_type != NULL)
            (void)MHD_add_response_header(response, "Content-Type",
                                          content_type);
        for (unsigned i = 0; i < rq->header_count; i++)
            (void)MHD_add_response_header(response, rq->headers[i].name,
                                          rq->headers[i].value);
    }
    rq->status = status;
    rq->response = response;
}

/* A client that does not read its answer keeps it in our memory. */
static bool
hold_reply(struct ramet_http_request *rq, size_t len)
{
    assert(rq->reply_accounted == 0);
    rq->reply_holding =
        len <= RAMET_HTTP_SHORT_BYTES ? RAMET_HOLD_SHORT : RAMET_HOLD_LONG;
    if (len <= RAMET_HTTP_SMALL_BYTES)
        return true;
    if (!ramet_budget_hold(&rq->http->memory, rq->reply_holding, rq->client,
                           len))
        return false;
    rq->reply_accounted = len;
    return true;
}

void
ramet_http_reply_no_room(struct ramet_http_request *rq, const char *what)
{
    char text[200];

    assert(rq->response == NULL);
    ramet_http_request_headers_done(rq);
    ramet_http_set_header(rq, "Retry-After", "1");
    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"about:blank\",\"title\":\"Service "
                   "Unavailable\",\"status\":503,\"code\":\"nomem\","
                   "\"detail\":\"%s\"}",
                   what);
    ramet_http_reply_text(rq, 503, "application/problem+json", text);
}

void
ramet_http_reply(struct ramet_http_request *rq, unsigned status,
                 const char *content_type, uint8_t *data, size_t len)
{
    static char nothing[1];
    struct MHD_Response *response;

    if (!hold_reply(rq, len)) {
        ramet_free(data);
        ramet_http_reply_no_room(rq, "too many answers at once");
        return;
    }
    if (data == NULL) {
        assert(len == 0);
        response =
            MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
    } else {
        response = MHD_create_response_from_buffer_with_free_callback(
            len, data, ramet_free);
        if (response == NULL)
            ramet_free(data);
    }
    rq->response_bytes = len;
    ramet_http_set_response(rq, status, content_type, response);
}

void
ramet_http_reply_copy(struct ramet_http_request *rq, unsigned status,
                      const char *content_type, const void *data, size_t len)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        len, (void *)(uintptr_t)data, MHD_RESPMEM_MUST_COPY);

    rq->response_bytes = len;
    ramet_http_set_response(rq, status, content_type, response);
}

void
ramet_http_reply_text(struct ramet_http_request *rq, unsigned status,
                      const char *content_type, const char *text)
{
    ramet_http_reply_copy(rq, status, content_type, text, strlen(text));
}

/* ---- streams --------------------------------------------------------------- */

struct stream {
    const struct ramet_http_stream_ops *ops;
    void *state;
    const char *(*trailer)(void *state, const char **out_name);
    struct ramet_http *http;
    uint32_t client;
    size_t held;
    struct ramet_http_request *rq; /* event thread, while the response lives */
    struct MHD_Connection *mhd;
    struct MHD_Response *response; /* event thread, as `rq` */
    struct ramet_job job;
    struct ramet_mutex lock;
    unsigned refs;          /* lock */
    bool producing;         /* lock */
    bool suspended;         /* lock */
    bool done;              /* lock */
    bool failed;            /* lock */
    bool gone;              /* lock */
    struct ramet_buf ready; /* lock */
    size_t ready_pos;       /* lock */
    struct ramet_buf spare; /* the worker's while producing */
};

static void
unref_stream(struct stream *s)
{
    bool last;

    ramet_mutex_lock(&s->lock);
    assert(s->refs > 0);
    last = --s->refs == 0;
    ramet_mutex_unlock(&s->lock);
    if (!last)
        return;
    s->ops->free(s->state);
    ramet_buf_done(&s->ready);
    ramet_buf_done(&s->spare);
    ramet_budget_let_go(&s->http->memory, RAMET_HOLD_LONG, s->client, s->held);
    ramet_mutex_done(&s->lock);
    ramet_free(s);
}

static void
release_stream(void *cls)
{
    struct stream *s = cls;

    ramet_mutex_lock(&s->lock);
    assert(s->refs > 0); /* invariant (4) */
    s->gone = true;
    ramet_mutex_unlock(&s->lock);
    unref_stream(s);
}

/* What was made becomes what is sent, if that is used up. That it was the last is
 * told with it: an event thread that knew it before would end the answer without
 * it. True: go on making (there is room for another round). */
static bool
hand_over(struct stream *s, enum ramet_rc rc, bool is_last)
{
    struct MHD_Connection *wake = NULL;
    bool more;

    ramet_mutex_lock(&s->lock);
    assert(s->producing); /* invariant (1) */
    s->done = is_last && rc == RAMET_OK;
    s->failed = rc != RAMET_OK || s->spare.failed != RAMET_OK;
    if (s->ready_pos == s->ready.len) {
        struct ramet_buf swap = s->ready;

        s->ready = s->spare;
        s->ready_pos = 0;
        s->spare = swap;
        ramet_buf_clear(&s->spare);
    }
    more = s->spare.len == 0 && !s->done && !s->failed && !s->gone;
    if (!more)
        s->producing = false;
    if (s->suspended && (s->ready_pos < s->ready.len || s->done || s->failed)) {
        s->suspended = false;
        wake = s->mhd;
    }
    ramet_mutex_unlock(&s->lock);
    if (wake != NULL)
        MHD_resume_connection(wake);
    return more;
}

static void
fill_stream(struct ramet_job *job)
{
    struct stream *s = (void *)((char *)job - offsetof(struct stream, job));
    enum ramet_rc rc;
    bool is_last;

    do {
        struct ramet_err err = {.code = RAMET_OK};

        is_last = false;
        rc = s->ops->produce(s->state, &s->spare, &is_last, &err);
        if (rc != RAMET_OK)
            ramet_log(rc == RAMET_ENOTFOUND ? RAMET_LOG_WARN : RAMET_LOG_ERROR,
                      "answer cut off", "code", ramet_rc_name(rc), "detail",
                      err.text, NULL);
    } while (hand_over(s, rc, is_last));
    unref_stream(s);
}

/* With s->lock held. */
static void
start_producing(struct stream *s)
{
    assert(!s->producing && !s->done && !s->failed);
    s->producing = true;
    s->refs++;
    s->job.run = fill_stream;
    ramet_work_continue(s->http->work, &s->job);
}

static size_t
take_ready(struct stream *s, char *out, size_t max)
{
    const size_t left = s->ready.len - s->ready_pos;
    const size_t len = left < max ? left : max;

    assert(s->ready_pos < s->ready.len && max > 0);
    memcpy(out, s->ready.data + s->ready_pos, len);
    s->ready_pos += len;
    atomic_fetch_add_explicit(&s->rq->streamed, len, memory_order_relaxed);
    ramet_http_conn_took(s->rq->conn, CONN_SENDING, len);
    return len;
}

/* Where the library was told of the error as it resumed the connection, it closes
 * it at that connection's next event, and there may be none: make one. */
static ssize_t
cut_off(struct stream *s)
{
    const union MHD_ConnectionInfo *const info =
        MHD_get_connection_info(s->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (info != NULL)
        (void)shutdown(info->connect_fd, SHUT_RDWR);
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* All of it was sent. */
static ssize_t
end_of_stream(struct stream *s)
{
    const char *name = NULL;
    const char *const value =
        s->trailer != NULL ? s->trailer(s->state, &name) : NULL;

    assert(s->done);
    if (value != NULL && is_header_value(value))
        (void)MHD_add_response_footer(s->response, name, value);
    return MHD_CONTENT_READER_END_OF_STREAM;
}

static ssize_t
read_stream(void *cls, uint64_t pos, char *out, size_t max)
{
    struct stream *s = cls;
    ssize_t result = 0;

    (void)pos;
    if (!ramet_http_allowed(s->rq))
        return cut_off(s);
    ramet_mutex_lock(&s->lock);
    if (s->ready_pos == s->ready.len && !s->producing && s->spare.len > 0) {
        struct ramet_buf swap = s->ready;

        s->ready = s->spare;
        s->ready_pos = 0;
        s->spare = swap;
        ramet_buf_clear(&s->spare);
    }
    assert(s->ready_pos <= s->ready.len);
    if (s->ready_pos < s->ready.len)
        result = (ssize_t)take_ready(s, out, max);
    else if (s->failed)
        result = cut_off(s);
    else if (s->done)
        result = end_of_stream(s);
    if (!s->producing && !s->done && !s->failed && s->spare.len == 0)
        start_producing(s);
    if (result == 0) {
        ramet_http_conn_enter(s->rq->conn, CONN_WORKING);
        s->suspended = true;
        MHD_suspend_connection(s->mhd);
    }
    ramet_mutex_unlock(&s->lock);
    return result;
}

/* Takes over what is begun. NULL: no memory. */
static struct stream *
make_stream(struct ramet_http_request *rq,
            const struct ramet_http_stream *stream)
{
    struct stream *s = ramet_calloc(1, sizeof(*s));

    assert(stream->ops != NULL);
    if (s == NULL)
        return NULL;
    ramet_mutex_init(&s->lock);
    s->ops = stream->ops;
    s->state = stream->state;
    s->trailer = stream->trailer;
    s->http = rq->http;
    s->client = rq->client;
    s->held = STREAM_HELD + stream->state_bytes;
    s->rq = rq;
    s->mhd = rq->mhd;
    s->refs = 1;
    ramet_buf_init(&s->ready, RAMET_HTTP_STREAM_BYTES);
    ramet_buf_init(&s->spare, RAMET_HTTP_STREAM_BYTES);
    if (stream->begun != NULL) {
        s->ready = *stream->begun;
        ramet_buf_init(stream->begun, 1); /* its block was taken */
    }
    return s;
}

void
ramet_http_reply_stream(struct ramet_http_request *rq, unsigned status,
                        const char *content_type, uint64_t size,
                        const struct ramet_http_stream *stream)
{
    const size_t held = STREAM_HELD + stream->state_bytes;
    struct MHD_Response *response;
    struct stream *s = NULL;
    const bool room =
        ramet_budget_hold(&rq->http->memory, RAMET_HOLD_LONG, rq->client, held);

    if (room)
        s = make_stream(rq, stream);
    if (s == NULL) {
        if (room)
            ramet_budget_let_go(&rq->http->memory, RAMET_HOLD_LONG, rq->client,
                                held);
        stream->ops->free(stream->state);
        if (stream->begun != NULL)
            ramet_buf_done(stream->begun);
        ramet_http_reply_no_room(rq, "too many answers at once");
        return;
    }
    response = MHD_create_response_from_callback(
        size == UINT64_MAX ? MHD_SIZE_UNKNOWN : size, STREAM_BLOCK_BYTES,
        read_stream, s, release_stream);
    if (response == NULL)
        unref_stream(s);
    else
        s->response = response;
    ramet_http_set_response(rq, status, content_type, response);
}
