/*
 * http.h - HTTP as the server's handlers see it.
 *
 * The only files that know libmicrohttpd are http*.c. A request goes through
 *
 *   begin    event thread, headers are in: authorize, route, say what body is
 *            wanted; or reply at once (an early refusal)
 *   ready    event thread, the body is in: reply, or defer to a worker
 *   finished event thread, once for each request, whatever became of it
 *
 * begin, ready and finished must not block. Work that touches a disk or a
 * store runs in a worker (ramet_http_defer, sinks and streams), while the
 * connection is suspended.
 *
 *   (1) A request is replied to exactly once.
 *   (2) Memory is bounded: a body by body_max; a sink and a stream by their
 *       buffers and what their state may hold; and all bodies, sinks, streams
 *       and answers together by memory_budget_bytes, of which no client takes
 *       all (http_budget.h). What would go past that is answered 503.
 *   (3) A slow client holds a connection, never a thread; one that takes less
 *       than RAMET_HTTP_RATE_MIN for a while holds it no longer.
 *   (4) Feeds take three quarters of the connections at most, and no client all
 *       of those. Past connections_max a few more are taken, for nothing but
 *       what `is_vital` names: that is always answered.
 *   (5) Whoever must not have an answer any more gets no more of it: `allowed`
 *       is asked before each piece.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_HTTP_H
#define RAMET_SERVER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/bytes.h"
#include "core/err.h"
#include "server/work.h"

/* A stream's piece. There are two of them, and what the library copies from. */
#define RAMET_HTTP_STREAM_BYTES (64u << 10)
#define RAMET_HTTP_SINK_BYTES (128u << 10)
/* So much of a body, and an answer of that size, belongs to its connection and is
 * not counted. */
#define RAMET_HTTP_SMALL_BYTES 4096u
/* An answer in one piece up to here is a short one (http_budget.h). */
#define RAMET_HTTP_SHORT_BYTES (64u << 10)
/* Bytes a second that a client has to take or give, over RAMET_HTTP_RATE_MS;
 * when places or memory run short, over RAMET_HTTP_RATE_CROWDED_MS. */
#define RAMET_HTTP_RATE_MIN 1024u
#define RAMET_HTTP_RATE_MS 30000u
#define RAMET_HTTP_RATE_CROWDED_MS 4000u

enum ramet_http_method {
    RAMET_HTTP_GET,
    RAMET_HTTP_HEAD,
    RAMET_HTTP_PUT,
    RAMET_HTTP_POST,
    RAMET_HTTP_DELETE,
    RAMET_HTTP_OTHER,
};

struct ramet_http;
struct ramet_http_request;

struct ramet_http_app {
    void *ctx;
    void (*begin)(void *ctx, struct ramet_http_request *rq);
    void (*ready)(void *ctx, struct ramet_http_request *rq);
    /* status 0: the client went away before an answer. */
    void (*finished)(void *ctx, struct ramet_http_request *rq, unsigned status,
                     uint64_t bytes_out, uint64_t duration_us);
    /* Event thread, before each piece of a stream or feed. */
    bool (*allowed)(void *ctx, struct ramet_http_request *rq);
    /* Event thread: is this path answered even when there is no room? */
    bool (*is_vital)(void *ctx, const char *path);
};

struct ramet_http_options {
    int listen_fd;          /* taken over; bound and listening */
    unsigned event_threads; /* 2 */
    unsigned connections_max;
    unsigned per_ip_max; /* 0: no limit */
    uint64_t header_timeout_ms;
    uint64_t idle_timeout_ms;
    size_t memory_budget_bytes;
    const char *tls_cert_pem; /* both or neither; copied */
    const char *tls_key_pem;
};

struct ramet_http_stats {
    uint64_t connections; /* now */
    uint64_t accepted;
    uint64_t killed;     /* too slow, or crowded out */
    uint64_t held_bytes; /* of the memory budget */
    uint64_t requests;   /* under way now */
    uint64_t feeds;      /* of the connections */
};

RAMET_NODISCARD enum ramet_rc
ramet_http_start(const struct ramet_http_options *options,
                 const struct ramet_http_app *app, struct ramet_work *work,
                 struct ramet_http **out_http, struct ramet_err *err);
/* A new certificate for new connections. On failure the old one stays. */
RAMET_NODISCARD enum ramet_rc
ramet_http_reload_tls(struct ramet_http *http, const char *cert_pem,
                      const char *key_pem, struct ramet_err *err);
/* Call about once a second: ends connections that are too slow. */
void ramet_http_tick(struct ramet_http *http, uint64_t now_ms);
/* No new connections, event streams end, requests under way get up to
 * drain_ms; then the rest is cut. Returns with everything ended. */
void ramet_http_stop(struct ramet_http *http, uint64_t drain_ms);
void ramet_http_free(struct ramet_http *http); /* after stop; NULL is fine */
bool ramet_http_is_stopping(const struct ramet_http *http);
/* Who may have what has changed: feeds that are not allowed any more end. */
void ramet_http_recheck(struct ramet_http *http);
void ramet_http_get_stats(struct ramet_http *http,
                          struct ramet_http_stats *out_stats);

/* ---- a request ------------------------------------------------------------ */

enum ramet_http_method
ramet_http_method_of(const struct ramet_http_request *rq);
const char *ramet_http_method_name(const struct ramet_http_request *rq);
/* Percent-decoded; a path with an encoded NUL or slash keeps the escape. */
const char *ramet_http_path(const struct ramet_http_request *rq);
/* How that is done: in place; the new length. */
size_t ramet_http_unescape(char *text);
/* NULL: not there. Valid until the request is finished. */
const char *
ramet_http_header(const struct ramet_http_request *rq, const char *name);
const char *
ramet_http_query(const struct ramet_http_request *rq, const char *name);
/* The peer's address as text. */
void ramet_http_peer(const struct ramet_http_request *rq, char *out,
                     size_t out_size);
/* In begin: whose request this is, by any number (http_budget.h). Without it,
 * its address's. */
void ramet_http_set_client(struct ramet_http_request *rq, uint32_t client);
/* Of the application, kept with the request. */
void ramet_http_set_user(struct ramet_http_request *rq, void *user);
void *ramet_http_user(const struct ramet_http_request *rq);
/* Bytes of body that came so far. */
uint64_t ramet_http_received(const struct ramet_http_request *rq);
/* UINT64_MAX: not stated (chunked, or none). */
uint64_t ramet_http_content_length(const struct ramet_http_request *rq);

/* In begin: the body goes to memory, at most `max` bytes (413 past it).
 * Without either of these two a request may have no body. */
void ramet_http_want_body(struct ramet_http_request *rq, size_t max);
const uint8_t *
ramet_http_body(const struct ramet_http_request *rq, size_t *out_len);

/* In begin: the body goes to a sink. All three run in workers, one at a time. */
struct ramet_http_sink_ops {
    enum ramet_rc (*write)(void *state, const void *data, size_t len,
                           struct ramet_err *err);
    /* The body is whole: reply. `rc` is what write returned last. */
    void (*finish)(void *state, struct ramet_http_request *rq, enum ramet_rc rc,
                   const struct ramet_err *err);
    /* Once, last, whatever happened. */
    void (*free)(void *state);
};
/* False on no memory: the caller replies, and still owns `state`. */
bool ramet_http_want_sink(struct ramet_http_request *rq,
                          const struct ramet_http_sink_ops *ops, void *state,
                          uint64_t max_bytes);

/* In ready: run `fn` in a worker; it must reply. Replies 429 when the queue is
 * full. */
void ramet_http_defer(struct ramet_http_request *rq,
                      void (*fn)(struct ramet_http_request *rq));

/* ---- replies --------------------------------------------------------------- */

/* Headers before the reply; values are copied, control characters refused. */
void ramet_http_set_header(struct ramet_http_request *rq, const char *name,
                           const char *value);

/* `data` was ramet_alloc()ed and is taken over (NULL with len 0). On no memory
 * the client gets a bare 503. */
void ramet_http_reply(struct ramet_http_request *rq, unsigned status,
                      const char *content_type, uint8_t *data, size_t len);
/* Copies. */
void
ramet_http_reply_copy(struct ramet_http_request *rq, unsigned status,
                      const char *content_type, const void *data, size_t len);
void ramet_http_reply_text(struct ramet_http_request *rq, unsigned status,
                           const char *content_type, const char *text);

/*
 * A reply whose body is made as it goes. `produce` runs in a worker, appends
 * some bytes to `out` (there is room for RAMET_HTTP_STREAM_BYTES in all, and no
 * more) and sets *out_done at the end. A failure cuts the connection, so that
 * the client notices. HEAD requests never call it.
 */
struct ramet_http_stream_ops {
    enum ramet_rc (*produce)(void *state, struct ramet_buf *out, bool *out_done,
                             struct ramet_err *err);
    void (*free)(void *state); /* any thread */
};
struct ramet_http_stream {
    const struct ramet_http_stream_ops *ops;
    void *state;
    size_t state_bytes;      /* what `state` may come to hold */
    struct ramet_buf *begun; /* the first piece, if it is made; or NULL */
    /* What is known at the end alone, for a trailer behind the last piece; NULL: there
     * is nothing to say. Event thread. NULL: there never is. */
    const char *(*trailer)(void *state, const char **out_name);
};
/* size UINT64_MAX: not known. Takes `state` and what is begun over, whatever
 * happens. */
void ramet_http_reply_stream(struct ramet_http_request *rq, unsigned status,
                             const char *content_type, uint64_t size,
                             const struct ramet_http_stream *stream);

/*
 * A reply that never ends by itself. `pull` runs in an event thread: the
 * bytes put into `out`, 0 for nothing now, -1 to end. `attached` gets the
 * handle by which to poke it, before the first pull; after `free` it must not
 * be used. Pokes may come from any thread.
 */
struct ramet_http_feed;
struct ramet_http_feed_ops {
    void (*attached)(void *state, struct ramet_http_feed *feed);
    ssize_t (*pull)(void *state, uint8_t *out, size_t max);
    void (*free)(void *state);
};
void
ramet_http_reply_feed(struct ramet_http_request *rq, const char *content_type,
                      const struct ramet_http_feed_ops *ops, void *state);
void ramet_http_feed_poke(struct ramet_http_feed *feed);

#endif
