/*
 * http_impl.h - what the http*.c files share. Nobody else includes this.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_HTTP_IMPL_H
#define RAMET_SERVER_HTTP_IMPL_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "core/thread.h"
#include "server/http.h"
#include "server/http_budget.h"

#define RAMET_HTTP_DAEMONS_MAX 8u
/* Connections past connections_max, for what is vital. */
#define RAMET_HTTP_SPARE_CONNECTIONS 32u

/* What a connection is at; the watcher's rules differ by it. */
enum conn_state {
    CONN_NEW,       /* accepted; no complete header yet */
    CONN_IDLE,      /* between requests */
    CONN_RECEIVING, /* a body */
    CONN_WORKING,   /* it is our turn */
    CONN_SENDING,
    CONN_FEED, /* an event stream: it may be silent */
};

/* One socket. Made and freed by its event thread; the watcher looks at it
 * under http->conns_lock. */
struct conn {
    struct conn *next, **link;
    int fd;
    _Atomic int state; /* enum conn_state */
    _Atomic uint64_t since_ms;
    _Atomic uint64_t bytes; /* moved in this state */
    bool spare;             /* past connections_max */
    bool killed;            /* the watcher's, as is what follows */
    /* The window over which its rate is measured. */
    uint64_t window_since_ms, window_began_ms, window_bytes;
};

struct feed_list {
    struct ramet_http_feed *first;
};

struct ramet_http {
    struct ramet_http_app app;
    struct ramet_work *work;
    struct ramet_http_options options;
    char *tls_cert, *tls_key;
    struct MHD_Daemon *daemons[RAMET_HTTP_DAEMONS_MAX]; /* [0] is accepting */
    /* The socket that daemons[i] accepted at, once it does not any more. */
    MHD_socket quiesced[RAMET_HTTP_DAEMONS_MAX];
    unsigned daemon_count;
    int listen_fd;
    struct ramet_mutex conns_lock;
    struct conn *conns;
    struct ramet_mutex feeds_lock;
    struct feed_list feeds;
    _Atomic bool stopping;
    struct ramet_budget memory;
    struct ramet_budget feed_places; /* 1 each */
    _Atomic uint64_t connections, accepted, killed, requests;
};

/* Replies never change once set; header list before. */
#define HEADERS_MAX 16u

enum body_mode { BODY_NONE, BODY_BUFFER, BODY_SINK };

struct sink;

struct ramet_http_request {
    struct ramet_http *http;
    struct MHD_Connection *mhd;
    struct conn *conn;
    struct ramet_job job; /* of a deferred request */
    void (*deferred)(struct ramet_http_request *rq);
    void *user;
    const char *path;
    const char *method_name;
    enum ramet_http_method method;
    enum body_mode body_mode;
    size_t body_max;
    uint64_t body_seen;
    struct ramet_buf body;
    uint32_t client;       /* whose it is, for the budgets */
    size_t body_accounted; /* of http->memory */
    size_t reply_accounted;
    enum ramet_holding reply_holding;
    bool body_refused;
    bool ready_called;
    bool suspended; /* event thread: a resume will call us again */
    struct sink *sink;
    /* The answer: set once, by whoever replies; read by the event thread after
     * a resume, which orders the two. */
    struct MHD_Response *response;
    unsigned status;
    uint64_t response_bytes;
    bool is_feed;
    bool queued;
    bool last; /* of its connection */
    unsigned header_count;
    struct {
        const char *name;
        char *value;
    } headers[HEADERS_MAX];
    struct timespec began;
    _Atomic uint64_t streamed; /* bytes that a stream has given */
};

uint64_t ramet_http_now_ms(void);
bool ramet_http_allowed(struct ramet_http_request *rq);
void ramet_http_conn_enter(struct conn *conn, enum conn_state state);
/* Bytes moved in a state, which it may have left while it waited for us. */
void
ramet_http_conn_took(struct conn *conn, enum conn_state state, size_t bytes);

/* http_framing.c: NULL, or why nobody can be sure where this request ends. */
const char *
ramet_http_framing_fault(struct MHD_Connection *mhd, const char *method,
                         const char *version, bool *out_chunked);

/* http_sink.c; all in event threads. */
enum MHD_Result ramet_http_sink_data(struct ramet_http_request *rq,
                                     const char *data, size_t *len);
void ramet_http_sink_end(struct ramet_http_request *rq);
void ramet_http_sink_gone(struct ramet_http_request *rq);

/* http_request.c */
void ramet_http_suspend(struct ramet_http_request *rq);
void ramet_http_reply_too_large(struct ramet_http_request *rq);
void
ramet_http_reply_malformed(struct ramet_http_request *rq, const char *detail);

/* http_reply.c */
/* Takes the response; NULL: none could be made. */
void ramet_http_set_response(struct ramet_http_request *rq, unsigned status,
                             const char *content_type,
                             struct MHD_Response *response);
void ramet_http_reply_no_room(struct ramet_http_request *rq, const char *what);
void ramet_http_request_headers_done(struct ramet_http_request *rq);

/* http_watch.c */
void ramet_http_notify_connection(void *cls, struct MHD_Connection *mhd,
                                  void **socket_context,
                                  enum MHD_ConnectionNotificationCode code);
void ramet_http_cut_all(struct ramet_http *http);

#endif
