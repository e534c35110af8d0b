/*
 * httpd.c - in the place of libmicrohttpd: those of its calls that the server
 * makes, over the simulated network. A connection has one request.
 *
 * Each connection is one event thread's, as in a pool of them; others suspend and
 * resume it.
 */
#include <microhttpd.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "tests/sim/image/play.h"
#include "tests/sim/net.h"

#define THREADS_MAX 4u
#define VALUES_MAX 16u
#define PIECE_BYTES (16u << 10)
#define FD_MIN 100000

static struct MHD_Daemon *daemon_of_process;

struct MHD_Response {
    unsigned refs;
    uint8_t *data; /* NULL: made as it goes */
    size_t len;
    bool is_own; /* data */
    MHD_ContentReaderFreeCallback free_data;
    MHD_ContentReaderCallback read;
    void *read_ctx;
    uint64_t size;
    size_t block_bytes;
    struct sim_field fields[SIM_FIELDS_MAX];
    size_t field_count;
};

struct MHD_Connection {
    struct MHD_Connection *next; /* of its thread */
    struct MHD_Daemon *daemon;
    struct sim_exchange *exchange;
    int fd;
    void *socket_ctx, *request_ctx;
    char *path;
    struct sim_field values[VALUES_MAX]; /* of the query */
    size_t value_count;
    bool has_begun, has_all, is_suspended;
    struct MHD_Response *response;
    unsigned status;
    bool has_header; /* of the reply, sent */
    uint64_t sent;
    union MHD_ConnectionInfo info;
};

struct event_thread {
    struct MHD_Daemon *daemon;
    struct ramet_thread thread;
    struct MHD_Connection *connections;
};

struct MHD_Daemon {
    struct sim_listener listener;
    MHD_AccessHandlerCallback answer;
    MHD_RequestCompletedCallback completed;
    MHD_NotifyConnectionCallback notify;
    size_t (*unescape)(void *cls, struct MHD_Connection *mhd, char *text);
    void *ctx;
    unsigned thread_count;
    struct event_thread threads[THREADS_MAX];
    int last_fd;
    bool stops;
    union MHD_DaemonInfo info;
};

const char *
MHD_get_version(void)
{
    return "1.0.0"; /* not one that shows its buffer (server/http_framing.c) */
}

/* ---- responses ---------------------------------------------------------------- */

static struct MHD_Response *
response_new(void)
{
    struct MHD_Response *const r = ramet_calloc(1, sizeof(*r));

    if (r != NULL)
        r->refs = 1;
    return r;
}

struct MHD_Response *
MHD_create_response_from_buffer(size_t size, void *buffer,
                                enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *const r = response_new();

    if (r == NULL)
        return NULL;
    r->len = size;
    r->data = buffer;
    r->is_own = mode == MHD_RESPMEM_MUST_COPY;
    if (r->is_own) {
        r->data = ramet_alloc(size + 1);
        if (r->data != NULL)
            memcpy(r->data, buffer, size);
    }
    return r;
}

struct MHD_Response *
MHD_create_response_from_buffer_with_free_callback(
    size_t size, void *buffer, MHD_ContentReaderFreeCallback free_data)
{
    struct MHD_Response *const r = response_new();

    if (r == NULL)
        return NULL;
    r->len = size;
    r->data = buffer;
    r->free_data = free_data;
    return r;
}

struct MHD_Response *
MHD_create_response_from_callback(uint64_t size, size_t block_size,
                                  MHD_ContentReaderCallback read, void *ctx,
                                  MHD_ContentReaderFreeCallback free_ctx)
{
    struct MHD_Response *const r = response_new();

    if (r == NULL)
        return NULL;
    r->size = size;
    r->block_bytes = block_size;
    r->read = read;
    r->read_ctx = ctx;
    r->free_data = free_ctx;
    return r;
}

enum MHD_Result
MHD_add_response_header(struct MHD_Response *r, const char *name,
                        const char *value)
{
    if (r->field_count == SIM_FIELDS_MAX)
        return MHD_NO;
    r->fields[r->field_count].name = ramet_strdup(name);
    r->fields[r->field_count++].value = ramet_strdup(value);
    return MHD_YES;
}

void
MHD_destroy_response(struct MHD_Response *r)
{
    if (--r->refs > 0)
        return;
    for (size_t i = 0; i < r->field_count; i++) {
        ramet_free(r->fields[i].name);
        ramet_free(r->fields[i].value);
    }
    if (r->free_data != NULL)
        r->free_data(r->read != NULL ? r->read_ctx : r->data);
    else if (r->is_own)
        ramet_free(r->data);
    ramet_free(r);
}

enum MHD_Result
MHD_queue_response(struct MHD_Connection *c, unsigned status,
                   struct MHD_Response *response)
{
    if (c->response != NULL)
        sim_fail("a second answer to %s", c->exchange->target);
    response->refs++;
    c->response = response;
    c->status = status;
    return MHD_YES;
}

/* As shutdown(2) of its socket. */
void
sim_httpd_shut(int fd)
{
    struct MHD_Daemon *const daemon = daemon_of_process;

    for (unsigned i = 0; daemon != NULL && i < THREADS_MAX; i++)
        for (struct MHD_Connection *c = daemon->threads[i].connections;
             c != NULL; c = c->next)
            if (c->fd == fd)
                sim_net_cut(c->exchange);
}

/* ---- what is asked of a connection ---------------------------------------------- */

const char *
MHD_lookup_connection_value(struct MHD_Connection *c, enum MHD_ValueKind kind,
                            const char *key)
{
    const bool is_header = kind == MHD_HEADER_KIND;
    const struct sim_field *const fields =
        is_header ? c->exchange->fields : c->values;
    const size_t count = is_header ? c->exchange->field_count : c->value_count;

    for (size_t i = 0; i < count; i++)
        if ((is_header ? strcasecmp : strcmp)(fields[i].name, key) == 0)
            return fields[i].value;
    return NULL;
}

int
MHD_get_connection_values_n(struct MHD_Connection *c, enum MHD_ValueKind kind,
                            MHD_KeyValueIteratorN visit, void *ctx)
{
    size_t i = 0;

    for (; i < c->exchange->field_count; i++) {
        const struct sim_field *const f = &c->exchange->fields[i];

        if (visit(ctx, kind, f->name, strlen(f->name), f->value,
                  strlen(f->value)) != MHD_YES)
            break;
    }
    return (int)i;
}

const union MHD_ConnectionInfo *
MHD_get_connection_info(struct MHD_Connection *c,
                        enum MHD_ConnectionInfoType type, ...)
{
    memset(&c->info, 0, sizeof(c->info));
    if (type == MHD_CONNECTION_INFO_SOCKET_CONTEXT)
        c->info.socket_context = c->socket_ctx;
    else if (type == MHD_CONNECTION_INFO_CONNECTION_FD)
        c->info.connect_fd = c->fd;
    else
        return NULL;
    return &c->info;
}

const union MHD_DaemonInfo *
MHD_get_daemon_info(struct MHD_Daemon *daemon, enum MHD_DaemonInfoType type,
                    ...)
{
    (void)type;
    return &daemon->info;
}

void
MHD_suspend_connection(struct MHD_Connection *c)
{
    c->is_suspended = true;
}

void
MHD_resume_connection(struct MHD_Connection *c)
{
    sim_yield();
    c->is_suspended = false;
    sim_net_poke(&c->daemon->listener);
}

/* ---- the life of a connection ------------------------------------------------------ */

static void
take_query(struct MHD_Connection *c, char *query)
{
    while (query != NULL && *query != '\0' && c->value_count < VALUES_MAX) {
        char *const next = strchr(query, '&');
        char *value;

        if (next != NULL)
            *next = '\0';
        value = strchr(query, '=');
        if (value != NULL)
            *value++ = '\0';
        c->daemon->unescape(NULL, c, query);
        if (value != NULL)
            c->daemon->unescape(NULL, c, value);
        c->values[c->value_count].name = query;
        c->values[c->value_count++].value = value;
        query = next != NULL ? next + 1 : NULL;
    }
}

static void
accept_one(struct event_thread *t, struct sim_exchange *ex)
{
    struct MHD_Connection *const c = ramet_calloc(1, sizeof(*c));
    char *query;

    if (c == NULL)
        sim_fail("no memory for a connection");
    c->daemon = t->daemon;
    c->exchange = ex;
    c->fd = FD_MIN + t->daemon->last_fd++;
    c->path = ramet_strdup(ex->target);
    query = strchr(c->path, '?');
    if (query != NULL)
        *query++ = '\0';
    t->daemon->unescape(NULL, c, c->path);
    take_query(c, query);
    c->next = t->connections;
    t->connections = c;
    t->daemon->notify(t->daemon->ctx, c, &c->socket_ctx,
                      MHD_CONNECTION_NOTIFY_STARTED);
}

static void
close_connection(struct event_thread *t, struct MHD_Connection *c,
                 enum MHD_RequestTerminationCode code)
{
    struct MHD_Connection **at = &t->connections;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
        sim_net_end_down(c->exchange);
    sim_net_hang_up(c->exchange, false);
    if (c->has_begun)
        t->daemon->completed(t->daemon->ctx, c, &c->request_ctx, code);
    if (c->response != NULL)
        MHD_destroy_response(c->response);
    t->daemon->notify(t->daemon->ctx, c, &c->socket_ctx,
                      MHD_CONNECTION_NOTIFY_CLOSED);
    ramet_free(c->path);
    ramet_free(c);
}

/* The product is called with `len` bytes of body; how many it took, or -1. */
static ssize_t
call_up(struct MHD_Connection *c, const uint8_t *data, size_t len)
{
    size_t left = len;

    c->has_begun = true;
    if (c->daemon->answer(c->daemon->ctx, c, c->path, c->exchange->method,
                          "HTTP/1.1", (const char *)data, &left,
                          &c->request_ctx) != MHD_YES)
        return -1;
    return (ssize_t)(len - left);
}

/* What has come of the request. False: nothing is to be done now. */
static bool
receive(struct MHD_Connection *c, bool *out_failed)
{
    struct sim_flow *const up = &c->exchange->up;
    size_t len = up->len - up->taken;
    uint8_t piece[PIECE_BYTES];
    ssize_t took;

    if (!c->has_begun) {
        *out_failed = call_up(c, NULL, 0) < 0;
        return true;
    }
    if (len == 0 && (!up->has_ended || c->has_all))
        return false;
    if (len > sizeof(piece))
        len = sizeof(piece);
    memcpy(piece, up->data + up->taken, len);
    c->has_all = len == 0;
    took = call_up(c, len == 0 ? NULL : piece, len);
    *out_failed = took < 0;
    up->taken += took > 0 ? (size_t)took : 0;
    return true;
}

static void
send_header(struct MHD_Connection *c)
{
    char number[24];

    for (size_t i = 0; i < c->response->field_count; i++)
        sim_net_reply_field(c->exchange, c->response->fields[i].name,
                            c->response->fields[i].value);
    snprintf(
        number, sizeof(number), "%llu",
        (unsigned long long)(sim_env->os->wall_ms(sim_env->os->ctx) / 1000));
    sim_net_reply_field(c->exchange, "Date", number);
    if (c->response->read == NULL || c->response->size != MHD_SIZE_UNKNOWN) {
        snprintf(number, sizeof(number), "%llu",
                 (unsigned long long)(c->response->read == NULL
                                          ? c->response->len
                                          : c->response->size));
        sim_net_reply_field(c->exchange, "Content-Length", number);
    }
    sim_net_reply(c->exchange, c->status);
    c->has_header = true;
}

/* True: all of it is sent. */
static bool
send_some(struct MHD_Connection *c, bool *out_failed)
{
    struct MHD_Response *const r = c->response;
    char piece[64u << 10];
    ssize_t got;

    if (!c->has_header)
        send_header(c);
    if (strcmp(c->exchange->method, "HEAD") == 0)
        return true;
    if (r->read == NULL) {
        sim_net_send_down(c->exchange, r->data, r->len);
        return true;
    }
    if (r->size != MHD_SIZE_UNKNOWN && c->sent >= r->size)
        return true;
    got = r->read(r->read_ctx, c->sent, piece,
                  r->block_bytes < sizeof(piece) ? r->block_bytes
                                                 : sizeof(piece));
    *out_failed = got == MHD_CONTENT_READER_END_WITH_ERROR ||
                  (got == MHD_CONTENT_READER_END_OF_STREAM &&
                   r->size != MHD_SIZE_UNKNOWN);
    if (got > 0) {
        sim_net_send_down(c->exchange, piece, (size_t)got);
        c->sent += (size_t)got;
    }
    return got == MHD_CONTENT_READER_END_OF_STREAM;
}

/* False: it waits for something. */
static bool
serve(struct event_thread *t, struct MHD_Connection *c)
{
    bool failed = false;
    bool moved = true;

    if (c->is_suspended)
        return false;
    sim_yield();
    if (c->exchange->is_cut &&
        (c->response != NULL || !c->exchange->up.has_ended)) {
        close_connection(t, c, MHD_REQUEST_TERMINATED_CLIENT_ABORT);
        return true;
    }
    if (c->response == NULL) {
        moved = receive(c, &failed);
        if (!moved && c->has_all) /* it was resumed */
            failed = call_up(c, NULL, 0) < 0;
        moved |= c->response != NULL;
    } else if (send_some(c, &failed) && !failed) {
        close_connection(t, c, MHD_REQUEST_TERMINATED_COMPLETED_OK);
        return true;
    } else {
        moved = !c->is_suspended;
    }
    if (failed)
        close_connection(t, c, MHD_REQUEST_TERMINATED_WITH_ERROR);
    return moved || failed;
}

static void *
run_events(void *arg)
{
    struct event_thread *const t = arg;

    while (!t->daemon->stops) {
        const uint64_t changes = t->daemon->listener.changes;
        uint64_t next_ns;
        struct sim_exchange *const ex =
            sim_net_accept(&t->daemon->listener, &next_ns);
        bool moved = ex != NULL;

        if (ex != NULL)
            accept_one(t, ex);
        for (struct MHD_Connection *c = t->connections, *next; c != NULL;
             c = next) {
            next = c->next;
            moved |= serve(t, c);
        }
        if (!moved && changes == t->daemon->listener.changes)
            sim_wait(&t->daemon->listener, next_ns);
    }
    while (t->connections != NULL)
        close_connection(t, t->connections,
                         MHD_REQUEST_TERMINATED_DAEMON_SHUTDOWN);
    return NULL;
}

/* ---- daemons ------------------------------------------------------------------------ */

static void
take_options(struct MHD_Daemon *daemon, va_list args)
{
    for (;;) {
        switch (va_arg(args, int)) {
        case MHD_OPTION_END:
            return;
        case MHD_OPTION_EXTERNAL_LOGGER:
            (void)va_arg(args, void *);
            (void)va_arg(args, void *);
            break;
        case MHD_OPTION_LISTEN_SOCKET:
        case MHD_OPTION_STRICT_FOR_CLIENT:
            (void)va_arg(args, int);
            break;
        case MHD_OPTION_THREAD_POOL_SIZE:
            daemon->thread_count = va_arg(args, unsigned);
            break;
        case MHD_OPTION_CONNECTION_LIMIT:
        case MHD_OPTION_PER_IP_CONNECTION_LIMIT:
        case MHD_OPTION_CONNECTION_TIMEOUT:
            (void)va_arg(args, unsigned);
            break;
        case MHD_OPTION_CONNECTION_MEMORY_LIMIT:
            (void)va_arg(args, size_t);
            break;
        case MHD_OPTION_NOTIFY_COMPLETED:
            daemon->completed = va_arg(args, MHD_RequestCompletedCallback);
            (void)va_arg(args, void *);
            break;
        case MHD_OPTION_NOTIFY_CONNECTION:
            daemon->notify = va_arg(args, MHD_NotifyConnectionCallback);
            (void)va_arg(args, void *);
            break;
        case MHD_OPTION_UNESCAPE_CALLBACK:
            daemon->unescape = va_arg(
                args, size_t(*)(void *, struct MHD_Connection *, char *));
            (void)va_arg(args, void *);
            break;
        case MHD_OPTION_ARRAY:
            (void)va_arg(args, struct MHD_OptionItem *);
            break;
        default:
            sim_fail("an option of libmicrohttpd is not simulated");
        }
    }
}

struct MHD_Daemon *
MHD_start_daemon(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback accept,
                 void *accept_ctx, MHD_AccessHandlerCallback answer, void *ctx,
                 ...)
{
    struct MHD_Daemon *const daemon = ramet_calloc(1, sizeof(*daemon));
    va_list args;

    (void)flags;
    (void)port;
    (void)accept;
    (void)accept_ctx;
    if (daemon == NULL)
        return NULL;
    daemon_of_process = daemon;
    daemon->answer = answer;
    daemon->ctx = ctx;
    va_start(args, ctx);
    take_options(daemon, args);
    va_end(args);
    sim_net_listen(sim_env->process, &daemon->listener);
    for (unsigned i = 0; i < daemon->thread_count && i < THREADS_MAX; i++) {
        daemon->threads[i].daemon = daemon;
        (void)!ramet_thread_start(&daemon->threads[i].thread, "events",
                                  run_events, &daemon->threads[i], NULL);
    }
    return daemon;
}

MHD_socket
MHD_quiesce_daemon(struct MHD_Daemon *daemon)
{
    sim_net_stop_listening(&daemon->listener);
    return MHD_INVALID_SOCKET;
}

void
MHD_stop_daemon(struct MHD_Daemon *daemon)
{
    sim_net_stop_listening(&daemon->listener);
    daemon->stops = true;
    sim_net_poke(&daemon->listener);
    for (unsigned i = 0; i < THREADS_MAX; i++)
        ramet_thread_join(&daemon->threads[i].thread);
    daemon_of_process = NULL;
    ramet_free(daemon);
}
