/*
 * http_conn.h - requests to one server: connections that are kept and reused,
 * bounds on time and memory, retries where they are safe.
 *
 * At most RAMET_HTTP_PARALLEL requests of a pool run at a time; the others wait.
 * Their connections are the process's (http_idle.h).
 *
 *   (1) Only requests that change nothing are tried again.
 *   (2) For one that changes something, RAMET_EUNREACHABLE means that the
 *       server can't have acted on it, RAMET_EUNKNOWN that it may have.
 *   (3) No redirect is followed, so the token goes to the server it is for.
 *   (4) Every request ends, whatever the server does: core/patience.h.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_CONN_H
#define RAMET_CLIENT_REMOTE_HTTP_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <curl/curl.h>

#include "client/remote/pace.h"
#include "client/remote/remote.h"
#include "core/bytes.h"
#include "core/err.h"

#define RAMET_HTTP_PARALLEL 12u
#define RAMET_HTTP_TEXT_MAX 600u

struct ramet_http_pool;

/* `root` is "http://host:port[/prefix]". No I/O. */
RAMET_NODISCARD enum ramet_rc
ramet_http_pool_new(const char *root,
                    const struct ramet_remote_options *options,
                    struct ramet_http_pool **out_pool, struct ramet_err *err);
/* This token from here on. RAMET_EINVAL: it is malformed. */
RAMET_NODISCARD enum ramet_rc
ramet_http_authorize(struct ramet_http_pool *pool, const char *token,
                     struct ramet_err *err);
void ramet_http_pool_free(struct ramet_http_pool *pool);
const char *ramet_http_pool_root(const struct ramet_http_pool *pool);

/* One exchange. Zeroed but for what is wanted. */
#define RAMET_HTTP_WHY_SIZE 200u

struct ramet_http_call {
    const char *method; /* "GET", "HEAD", "PUT", "POST", "DELETE" */
    const char *path;   /* from "/v1" on, escaped */
    const char *content_type;
    bool if_none_match; /* "*" */
    bool has_range;
    uint64_t range_offset, range_length;
    const struct iovec *parts; /* body */
    int part_count;
    bool changes;      /* invariant (1) */
    bool fresh;        /* no cache may answer in the server's place */
    bool is_doubted;   /* nor the server's own: what it says was found wrong */
    bool is_of_many;   /* others go out beside it soon: http_spare.h */
    uint64_t total_ms; /* for all of it; 0: what its bytes may take */
    /* Where the body of a 200 goes as it comes, in place of `body`; anything
     * but RAMET_OK ends the exchange with it. One that was begun is not tried
     * again. NULL: nowhere. */
    enum ramet_rc (*take)(void *ctx, const uint8_t *data, size_t len,
                          struct ramet_err *err);
    void *take_ctx;
    /* Answers: a body past `body_max` is a failure. */
    size_t body_max;
    size_t taken;          /* by `take` */
    struct ramet_buf body; /* the caller's: ramet_buf_done() */
    unsigned status;
    bool has_total; /* of Content-Range, or of Content-Length */
    uint64_t total;
    char stopped_why[RAMET_HTTP_WHY_SIZE]; /* of Ramet-Stopped-Why; foreign */
};

/* RAMET_OK: an answer is there, of whatever status. RAMET_EUNREACHABLE,
 * RAMET_ETIMEOUT, RAMET_EUNKNOWN, RAMET_ETOOBIG: none. */
RAMET_NODISCARD enum ramet_rc
ramet_http_perform(struct ramet_http_pool *pool, struct ramet_http_call *call,
                   struct ramet_err *err);

/* The failure that a status stands for which is not the one that was wanted, with
 * the text of its problem+json. */
enum ramet_rc
ramet_http_failure(const struct ramet_http_pool *pool, const char *path,
                   unsigned status, const uint8_t *body, size_t len,
                   bool changes, struct ramet_err *err);

/* RAMET_EUNREACHABLE: who answered is somebody else. */
enum ramet_rc
ramet_http_not_ramet(const struct ramet_http_pool *pool, const char *path,
                     unsigned status, struct ramet_err *err);

/* A connection set up but for method and callbacks, for uploads and events;
 * the caller's: ramet_http_give_back(). `headers` must outlive its use. */
CURL *ramet_http_take(struct ramet_http_pool *pool);
void ramet_http_give_back(struct ramet_http_pool *pool, CURL *curl);
/* URL, authorization, `extra` (NULL-terminated list); NULL on no memory. */
struct curl_slist *
ramet_http_prepare(struct ramet_http_pool *pool, CURL *curl, const char *path,
                   const char *const *extra);
/* Connections for requests beside those that run, and none any more. No call waits. */
void ramet_http_spare(struct ramet_http_pool *pool);
void ramet_http_spare_none(struct ramet_http_pool *pool);
/* What a transfer's end means; `sent_all`: the whole request went out. */
enum ramet_rc ramet_http_curl_failure(const struct ramet_http_pool *pool,
                                      CURL *curl, CURLcode code, bool changes,
                                      bool sent_all, struct ramet_err *err);
/* By how much this machine's clock is ahead of the server's; false: not known. */
bool ramet_http_clock_ahead(struct ramet_http_pool *pool, int64_t *out_ms);
uint64_t ramet_http_stall_ms(const struct ramet_http_pool *pool);
/* The link's, to which all exchanges add what they find. */
struct ramet_pace *ramet_http_pace(struct ramet_http_pool *pool);
/* Made so far, each try counted. */
uint64_t ramet_http_requests(const struct ramet_http_pool *pool);

#endif
