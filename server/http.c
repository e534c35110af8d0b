/*
 * http.c - the life of a request between libmicrohttpd and the application;
 * see http.h for the contract.
 *
 *   (1) A connection is suspended before the job that resumes it is queued.
 *   (2) A request struct lives from the first call of answer() to completed();
 *       no worker touches it while its connection is not suspended. (Sinks and
 *       streams, which do run beside it, have reference counts of their own.)
 */
#include "server/http_impl.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/log.h"

#define CONNECTION_POOL_BYTES (8u << 10)
/* A body that nobody asked for, or that was refused, is read and dropped up
 * to here, so that the client gets to see the answer. */
#define DISCARD_MAX (1u << 20)

static enum ramet_http_method
method_of(const char *name)
{
    static const struct {
        const char *name;
        enum ramet_http_method method;
    } methods[] = {
        {"GET", RAMET_HTTP_GET},       {"POST", RAMET_HTTP_POST},
        {"HEAD", RAMET_HTTP_HEAD},     {"PUT", RAMET_HTTP_PUT},
        {"DELETE", RAMET_HTTP_DELETE},
    };

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(name, methods[i].name) == 0)
            return methods[i].method;
    }
    return RAMET_HTTP_OTHER;
}

/* Whose request it is where there are no tokens: an IPv4 address, or the network
 * that one customer gets of IPv6. */
static uint32_t
address_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *addr = info != NULL ? info->client_addr : NULL;
    const struct sockaddr_in *in = (const void *)addr;
    const struct sockaddr_in6 *in6 = (const void *)addr;

    if (addr != NULL && addr->sa_family == AF_INET)
        return (uint32_t)ramet_hash64(&in->sin_addr, sizeof(in->sin_addr));
    if (addr != NULL && addr->sa_family == AF_INET6)
        return (uint32_t)ramet_hash64(&in6->sin6_addr, 8);
    return 0;
}

static struct ramet_http_request *
make_request(struct ramet_http *http, struct MHD_Connection *mhd,
             const char *url, const char *method)
{
    struct ramet_http_request *rq = ramet_calloc(1, sizeof(*rq));
    const union MHD_ConnectionInfo *info;

    assert(url != NULL && method != NULL);
    if (rq == NULL)
        return NULL;
    rq->http = http;
    rq->mhd = mhd;
    rq->path = url;
    rq->method_name = method;
    rq->method = method_of(method);
    info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    rq->conn = info != NULL ? info->socket_context : NULL;
    rq->client = address_of(mhd);
    (void)clock_gettime(CLOCK_MONOTONIC, &rq->began);
    atomic_fetch_add_explicit(&http->requests, 1, memory_order_relaxed);
    ramet_http_conn_enter(rq->conn, CONN_RECEIVING);
    return rq;
}

static void
release_body(struct ramet_http_request *rq)
{
    ramet_budget_let_go(&rq->http->memory, RAMET_HOLD_LONG, rq->client,
                        rq->body_accounted);
    rq->body_accounted = 0;
    ramet_buf_done(&rq->body);
}

static enum MHD_Result
queue_response(struct ramet_http_request *rq)
{
    enum MHD_Result result;

    assert(rq->response != NULL && !rq->queued);
    rq->queued = true;
    if (rq->last)
        (void)MHD_add_response_header(rq->response, "Connection", "close");
    ramet_http_conn_enter(rq->conn, rq->is_feed ? CONN_FEED : CONN_SENDING);
    result = MHD_queue_response(rq->mhd, rq->status, rq->response);
    MHD_destroy_response(rq->response);
    rq->response = NULL;
    return result;
}

static void
refuse_body(struct ramet_http_request *rq)
{
    assert(rq->body_mode == BODY_BUFFER);
    rq->body_refused = true;
    release_body(rq);
}

/* Invariant (2) of http.h: a buffer grows with what came, never with what
 * Content-Length claims. */
static void
keep_body(struct ramet_http_request *rq, const char *data, size_t len)
{
    struct ramet_http *http = rq->http;
    size_t grown;

    assert(rq->body_mode == BODY_BUFFER && len > 0);
    if (rq->body_refused)
        return;
    ramet_buf_bytes(&rq->body, data, len);
    if (rq->body.failed != RAMET_OK) {
        refuse_body(rq);
        return;
    }
    grown =
        rq->body_accounted + RAMET_HTTP_SMALL_BYTES < rq->body.capacity
            ? rq->body.capacity - rq->body_accounted - RAMET_HTTP_SMALL_BYTES
            : 0;
    if (ramet_budget_hold(&http->memory, RAMET_HOLD_LONG, rq->client, grown))
        rq->body_accounted += grown;
    else
        refuse_body(rq);
}

static enum MHD_Result
take_data(struct ramet_http_request *rq, const char *data, size_t *len)
{
    assert(*len > 0);

    ramet_http_conn_took(rq->conn, CONN_RECEIVING, *len);
    if (rq->body_mode == BODY_SINK)
        return ramet_http_sink_data(rq, data, len);
    rq->body_seen += *len;
    if (rq->body_mode == BODY_BUFFER)
        keep_body(rq, data, *len);
    else
        rq->body_refused = true;
    if (rq->body_refused && rq->body_seen > rq->body_max + DISCARD_MAX)
        return MHD_NO;
    *len = 0;
    return MHD_YES;
}

static void
reply_body_refused(struct ramet_http_request *rq)
{
    assert(rq->body_refused && rq->response == NULL);
    if (rq->body_mode == BODY_NONE || rq->body_seen > rq->body_max) {
        ramet_http_reply_too_large(rq);
        return;
    }
    ramet_http_reply_no_room(rq, "too many bodies at once");
}

static void
body_done(struct ramet_http_request *rq)
{
    assert(!rq->queued);
    rq->ready_called = true;
    ramet_http_conn_enter(rq->conn, CONN_WORKING);
    if (rq->body_mode == BODY_SINK)
        ramet_http_sink_end(rq);
    else if (rq->body_refused)
        reply_body_refused(rq);
    else
        rq->http->app.ready(rq->http->app.ctx, rq);
}

/* Only what is vital is answered then, until there are fewer. */
static bool
is_past_the_limit(const struct ramet_http_request *rq)
{
    assert(rq->http != NULL);
    return rq->conn != NULL && rq->conn->spare &&
           atomic_load_explicit(&rq->http->connections, memory_order_relaxed) >
               rq->http->options.connections_max;
}

/* The first callback: the headers are there. */
static enum MHD_Result
begin_request(struct ramet_http *http, struct MHD_Connection *mhd,
              const char *url, const char *method, const char *version,
              void **con_cls)
{
    struct ramet_http_request *rq = make_request(http, mhd, url, method);
    const char *fault;

    assert(*con_cls == NULL);
    if (rq == NULL)
        return MHD_NO;
    *con_cls = rq;
    fault = ramet_http_framing_fault(mhd, method, version, &rq->last);
    if (fault != NULL) {
        rq->last = true;
        ramet_http_reply_malformed(rq, fault);
    } else if (is_past_the_limit(rq) &&
               !http->app.is_vital(http->app.ctx, url)) {
        rq->last = true;
        ramet_http_reply_no_room(rq, "too many connections at once");
    } else {
        http->app.begin(http->app.ctx, rq);
    }
    return rq->response != NULL ? queue_response(rq) : MHD_YES;
}

static enum MHD_Result
answer(void *cls, struct MHD_Connection *mhd, const char *url,
       const char *method, const char *version, const char *data, size_t *len,
       void **con_cls)
{
    struct ramet_http *http = cls;
    struct ramet_http_request *rq = *con_cls;

    if (rq == NULL)
        return begin_request(http, mhd, url, method, version, con_cls);
    rq->suspended = false;
    if (rq->queued)
        return MHD_YES;
    if (*len > 0)
        return take_data(rq, data, len);
    if (!rq->ready_called)
        body_done(rq);
    /* While suspended a worker may be writing the response. */
    return !rq->suspended && rq->response != NULL ? queue_response(rq)
                                                  : MHD_YES;
}

static uint64_t
elapsed_us(const struct timespec *from)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)(now.tv_sec - from->tv_sec) * 1000000u +
           (uint64_t)(now.tv_nsec / 1000) - (uint64_t)(from->tv_nsec / 1000);
}

static void
completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
          enum MHD_RequestTerminationCode code)
{
    struct ramet_http *http = cls;
    struct ramet_http_request *rq = *con_cls;
    uint64_t bytes;
    unsigned status;

    (void)mhd;
    if (rq == NULL)
        return;
    *con_cls = NULL;
    status = rq->queued && (code == MHD_REQUEST_TERMINATED_COMPLETED_OK ||
                            rq->is_feed)
                 ? rq->status
                 : 0;
    bytes = rq->response_bytes +
            atomic_load_explicit(&rq->streamed, memory_order_relaxed);
    http->app.finished(http->app.ctx, rq, status, bytes,
                       elapsed_us(&rq->began));
    if (rq->sink != NULL)
        ramet_http_sink_gone(rq);
    if (rq->response != NULL)
        MHD_destroy_response(rq->response);
    ramet_http_request_headers_done(rq);
    release_body(rq);
    ramet_budget_let_go(&http->memory, rq->reply_holding, rq->client,
                        rq->reply_accounted);
    ramet_http_conn_enter(rq->conn, CONN_IDLE);
    atomic_fetch_sub_explicit(&http->requests, 1, memory_order_relaxed);
    ramet_free(rq);
}

static void log_library(void *cls, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void
log_library(void *cls, const char *fmt, va_list ap)
{
    char text[256];
    size_t len;

    (void)cls;
    if (!ramet_log_enabled(RAMET_LOG_DEBUG))
        return;
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    len = strlen(text);
    if (len > 0 && text[len - 1] == '\n')
        text[len - 1] = '\0';
    ramet_log(RAMET_LOG_DEBUG, "http", "text", text, NULL);
}

static size_t
unescape(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls;
    (void)mhd;
    return ramet_http_unescape(text);
}

static struct MHD_Daemon *
start_daemon(struct ramet_http *http, const char *cert, const char *key)
{
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
                     MHD_USE_TURBO | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[3] = {{MHD_OPTION_END, 0, NULL}};

    assert((cert == NULL) == (key == NULL));
    if (cert != NULL) {
        flags |= MHD_USE_TLS;
        tls[0] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0,
                                         (void *)(uintptr_t)cert};
        tls[1] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0,
                                         (void *)(uintptr_t)key};
        tls[2] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    return MHD_start_daemon(
        flags, 0, NULL, NULL, answer, http, MHD_OPTION_EXTERNAL_LOGGER,
        log_library, NULL, MHD_OPTION_LISTEN_SOCKET, http->listen_fd,
        MHD_OPTION_THREAD_POOL_SIZE, http->options.event_threads,
        MHD_OPTION_CONNECTION_LIMIT,
        http->options.connections_max + RAMET_HTTP_SPARE_CONNECTIONS,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, http->options.per_ip_max,
        MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(http->options.idle_timeout_ms / 1000u),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_POOL_BYTES,
        MHD_OPTION_NOTIFY_COMPLETED, completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, ramet_http_notify_connection, http,
        MHD_OPTION_UNESCAPE_CALLBACK, unescape, http,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

/* Of which feeds get seven eighths: three quarters of the connections. */
static size_t
feed_places(const struct ramet_http_options *options)
{
    assert(options->connections_max > 0);
    return ((size_t)options->connections_max * 6 + 6) / 7;
}

enum ramet_rc
ramet_http_start(const struct ramet_http_options *options,
                 const struct ramet_http_app *app, struct ramet_work *work,
                 struct ramet_http **out_http, struct ramet_err *err)
{
    struct ramet_http *http = ramet_calloc(1, sizeof(*http));

    if (http == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "http: out of memory");
    assert((options->tls_cert_pem == NULL) == (options->tls_key_pem == NULL));
    http->app = *app;
    http->work = work;
    http->options = *options;
    http->listen_fd = options->listen_fd;
    http->quiesced[0] = MHD_INVALID_SOCKET;
    ramet_mutex_init(&http->conns_lock);
    ramet_mutex_init(&http->feeds_lock);
    ramet_budget_init(&http->memory, options->memory_budget_bytes);
    ramet_budget_init(&http->feed_places, feed_places(options));
    *out_http = http; /* the first request may ask for it */
    http->daemons[0] =
        start_daemon(http, options->tls_cert_pem, options->tls_key_pem);
    if (http->daemons[0] == NULL) {
        const int errnum = errno;

        *out_http = NULL;

        http->listen_fd = -1; /* stays the caller's */
        ramet_http_free(http);
        if (options->tls_cert_pem != NULL)
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "http: can't begin to listen: are certificate "
                              "and key PEM, and do they belong together?");
        return RAMET_FAIL_SYS(err, RAMET_EIO, errnum,
                              "http: can't begin to listen");
    }
    http->daemon_count = 1;
    return RAMET_OK;
}

/* A daemon that was quiesced takes its socket out of its epoll set in its own
 * time, and ends the process if that is not there any more: the socket stays open
 * as long as the daemon runs. */
static void
stop_daemon(struct ramet_http *http, unsigned i)
{
    assert(i < http->daemon_count && http->daemons[i] != NULL);
    MHD_stop_daemon(http->daemons[i]);
    if (http->quiesced[i] != MHD_INVALID_SOCKET)
        (void)close(http->quiesced[i]);
}

/* Those that were replaced and have no connection any more. */
static void
reap_daemons(struct ramet_http *http)
{
    assert(http->daemon_count <= RAMET_HTTP_DAEMONS_MAX);
    for (unsigned i = 1; i < http->daemon_count;) {
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(
            http->daemons[i], MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

        if (info == NULL || info->num_connections > 0) {
            i++;
            continue;
        }
        stop_daemon(http, i);
        http->daemons[i] = http->daemons[--http->daemon_count];
        http->quiesced[i] = http->quiesced[http->daemon_count];
    }
}

enum ramet_rc
ramet_http_reload_tls(struct ramet_http *http, const char *cert_pem,
                      const char *key_pem, struct ramet_err *err)
{
    struct MHD_Daemon *fresh;
    MHD_socket fd;
    int twin;

    assert(http->daemon_count > 0 && cert_pem != NULL && key_pem != NULL);
    reap_daemons(http);
    if (http->daemon_count == RAMET_HTTP_DAEMONS_MAX)
        return RAMET_FAIL(err, RAMET_EBUSY,
                          "tls: %u certificates are still in use by open "
                          "connections; try again later",
                          RAMET_HTTP_DAEMONS_MAX);
    /* A second descriptor of the same socket: whichever daemon is stopped
     * closes its own. The old one accepts until the new one stands. */
    twin = dup(http->listen_fd);
    if (twin < 0)
        return RAMET_FAIL_SYS(err, RAMET_EIO, errno, "tls: dup");
    fd = http->listen_fd;
    http->listen_fd = twin;
    fresh = start_daemon(http, cert_pem, key_pem);
    if (fresh == NULL) {
        http->listen_fd = fd;
        (void)close(twin);
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "tls: certificate and key can't be used; the old "
                          "ones stay");
    }
    http->quiesced[http->daemon_count] = MHD_quiesce_daemon(http->daemons[0]);
    http->daemons[http->daemon_count++] = http->daemons[0];
    http->daemons[0] = fresh;
    return RAMET_OK;
}

void
ramet_http_stop(struct ramet_http *http, uint64_t drain_ms)
{
    const uint64_t until_ms = ramet_http_now_ms() + drain_ms;

    assert(http->daemon_count > 0);
    atomic_store(&http->stopping, true);
    http->quiesced[0] = MHD_quiesce_daemon(http->daemons[0]);
    if (http->quiesced[0] != MHD_INVALID_SOCKET)
        (void)shutdown(http->quiesced[0],
                       SHUT_RDWR); /* refuses who comes now */
    http->listen_fd = -1;
    /* A request that becomes a feed meanwhile is ended by the next round. */
    while (atomic_load(&http->requests) > 0 && ramet_http_now_ms() < until_ms) {
        ramet_http_recheck(http);
        (void)usleep(5000);
    }
    ramet_http_cut_all(http);
    /* MHD_stop_daemon() does not allow suspended connections: those that
     * workers hold are resumed by them, streams by their producers. */
    while (atomic_load(&http->requests) > 0) {
        ramet_http_recheck(http);
        (void)usleep(5000);
        if (ramet_http_now_ms() >= until_ms + 30000u)
            break;
    }
    for (unsigned i = 0; i < http->daemon_count; i++)
        stop_daemon(http, i);
    http->daemon_count = 0;
}

void
ramet_http_free(struct ramet_http *http)
{
    if (http == NULL)
        return;
    assert(http->daemon_count == 0 && http->conns == NULL);
    if (http->listen_fd >= 0)
        (void)close(http->listen_fd);
    ramet_budget_done(&http->feed_places);
    ramet_budget_done(&http->memory);
    ramet_mutex_done(&http->feeds_lock);
    ramet_mutex_done(&http->conns_lock);
    ramet_free(http);
}

void
ramet_http_get_stats(struct ramet_http *http,
                     struct ramet_http_stats *out_stats)
{
    *out_stats = (struct ramet_http_stats){
        .connections = atomic_load(&http->connections),
        .accepted = atomic_load(&http->accepted),
        .killed = atomic_load(&http->killed),
        .held_bytes = ramet_budget_held(&http->memory),
        .feeds = ramet_budget_held(&http->feed_places),
        .requests = atomic_load(&http->requests),
    };
}
