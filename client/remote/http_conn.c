/*
 * http_conn.c - see http_conn.h for the contract.
 */
#include "client/remote/http_conn.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/remote/http_shelf.h"
#include "client/remote/remote.h"
#include "core/alloc.h"
#include "core/origin.h"
#include "core/os.h"
#include "core/patience.h"
#include "core/thread.h"
#include "core/waiting.h"
#include "pagestore/s3/engine.h"

#define TRIES 3u
#define PROBLEM_MAX (64u << 10)
/* Shorter than a server keeps idle connections. */
#define IDLE_REUSE_S 45L

struct ramet_http_pool {
    char *root;
    char *authorization; /* lock: "Authorization: Bearer …", or NULL */
    const char *_Atomic withheld_why; /* why it is NULL, if there is a token */
    char *ca_file;                    /* RAMET_CA_FILE, or NULL: the system's */
    bool direct;                      /* loopback: no proxy */
    uint64_t connect_timeout_ms, stall_timeout_ms;
    struct ramet_mutex lock;
    uint64_t date_ms, dated_ms; /* lock: the server's clock, and when by ours
                                   that only goes forward; 0: not known */
    struct ramet_cond freed;
    atomic_uint_least64_t requests;
    struct ramet_pace pace;
    unsigned busy_count; /* lock */
};

static bool
is_token(const char *token)
{
    for (const char *c = token; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 127)
            return false;
    }
    return true;
}

enum ramet_rc
ramet_http_authorize(struct ramet_http_pool *pool, const char *token,
                     struct ramet_err *err)
{
    char *line;

    if (!is_token(token))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "the token for %s has a space or a control character",
                          pool->root);
    line = ramet_asprintf("Authorization: Bearer %s", token);
    if (line == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", pool->root);
    ramet_mutex_lock(&pool->lock);
    ramet_free(pool->authorization);
    pool->authorization = line;
    pool->withheld_why = NULL;
    ramet_mutex_unlock(&pool->lock);
    return RAMET_OK;
}

enum ramet_rc
ramet_http_pool_new(const char *root,
                    const struct ramet_remote_options *options,
                    struct ramet_http_pool **out_pool, struct ramet_err *err)
{
    const bool has_token = options->token != NULL && options->token[0] != '\0';
    const char *ca_file = getenv("RAMET_CA_FILE");
    struct ramet_origin origin = {.is_loopback = false};
    struct ramet_http_pool *pool;
    enum ramet_rc rc = RAMET_OK;

    ramet_curl_ready();
    pool = ramet_calloc(1, sizeof(*pool));
    if (pool == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", root);
    ramet_mutex_init(&pool->lock);
    ramet_cond_init(&pool->freed);
    ramet_pace_init(&pool->pace);
    ramet_http_shelf_join();
    pool->root = ramet_strdup(root);
    pool->withheld_why = options->withheld_why;
    if (ca_file != NULL && ca_file[0] != '\0')
        pool->ca_file = ramet_strdup(ca_file);
    pool->direct = ramet_origin_of(root, &origin) && origin.is_loopback;
    pool->connect_timeout_ms = options->connect_timeout_ms;
    pool->stall_timeout_ms = options->stall_timeout_ms;
    if (pool->root == NULL ||
        (ca_file != NULL && ca_file[0] != '\0' && pool->ca_file == NULL))
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", root);
    else if (has_token)
        rc = ramet_http_authorize(pool, options->token, err);
    if (rc != RAMET_OK) {
        ramet_http_pool_free(pool);
        return rc;
    }
    *out_pool = pool;
    return RAMET_OK;
}

void
ramet_http_pool_free(struct ramet_http_pool *pool)
{
    if (pool == NULL)
        return;
    assert(pool->busy_count == 0);
    ramet_http_shelf_leave();
    ramet_pace_done(&pool->pace);
    ramet_cond_done(&pool->freed);
    ramet_mutex_done(&pool->lock);
    ramet_free(pool->ca_file);
    ramet_free(pool->authorization);
    ramet_free(pool->root);
    ramet_free(pool);
}

const char *
ramet_http_pool_root(const struct ramet_http_pool *pool)
{
    return pool->root;
}

uint64_t
ramet_http_requests(const struct ramet_http_pool *pool)
{
    return atomic_load_explicit(&pool->requests, memory_order_relaxed);
}

struct ramet_pace *
ramet_http_pace(struct ramet_http_pool *pool)
{
    return &pool->pace;
}

uint64_t
ramet_http_stall_ms(const struct ramet_http_pool *pool)
{
    return pool->stall_timeout_ms;
}

CURL *
ramet_http_take(struct ramet_http_pool *pool)
{
    CURL *curl;

    ramet_mutex_lock(&pool->lock);
    while (pool->busy_count == RAMET_HTTP_PARALLEL)
        ramet_cond_wait(&pool->freed, &pool->lock);
    pool->busy_count++;
    ramet_mutex_unlock(&pool->lock);
    curl = ramet_http_shelf_take(pool->root);
    if (curl == NULL)
        ramet_http_give_back(pool, NULL);
    return curl;
}

void
ramet_http_give_back(struct ramet_http_pool *pool, CURL *curl)
{
    if (curl != NULL)
        ramet_http_shelf_put(pool->root, curl);
    ramet_mutex_lock(&pool->lock);
    assert(pool->busy_count > 0);
    pool->busy_count--;
    ramet_cond_signal(&pool->freed);
    ramet_mutex_unlock(&pool->lock);
}

static bool
add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *grown = curl_slist_append(*list, text);

    if (grown == NULL)
        return false;
    *list = grown;
    return true;
}

struct curl_slist *
ramet_http_prepare(struct ramet_http_pool *pool, CURL *curl, const char *path,
                   const char *const *extra)
{
    struct curl_slist *headers = NULL;
    char *url = ramet_asprintf("%s%s", pool->root, path);
    bool ok = url != NULL && add_header(&headers, "Expect:");

    ramet_mutex_lock(&pool->lock);
    if (ok && pool->authorization != NULL)
        ok = add_header(&headers, pool->authorization);
    ramet_mutex_unlock(&pool->lock);
    for (; ok && extra != NULL && *extra != NULL; extra++)
        ok = add_header(&headers, *extra);
    ok = ok && curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK;
    ramet_free(url); /* libcurl has a copy */
    if (!ok) {
        curl_slist_free_all(headers);
        return NULL;
    }
    atomic_fetch_add_explicit(&pool->requests, 1, memory_order_relaxed);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "ramet/0.1");
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                           (long)pool->connect_timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, IDLE_REUSE_S);
    (void)curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
    if (pool->ca_file != NULL)
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, pool->ca_file);
    if (pool->direct)
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    return headers;
}

/* ---- failures ------------------------------------------------------------------ */

enum ramet_rc
ramet_http_curl_failure(const struct ramet_http_pool *pool, CURL *curl,
                        CURLcode code, bool changes, bool sent_all,
                        struct ramet_err *err)
{
    const char *why = curl_easy_strerror(code);
    curl_off_t connected = 0;
    enum ramet_rc rc = RAMET_EUNREACHABLE;

    (void)curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
    if (code == CURLE_OUT_OF_MEMORY)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", pool->root);
    if (code == CURLE_ABORTED_BY_CALLBACK && ramet_waiting_is_over())
        why = "waiting for it was given up";
    else if (code == CURLE_ABORTED_BY_CALLBACK)
        why = "nothing came for too long, or too slowly";
    else if (code == CURLE_UNSUPPORTED_PROTOCOL ||
             code == CURLE_WEIRD_SERVER_REPLY)
        why = "what answers there does not speak HTTP; check the URL";
    else if (code == CURLE_SSL_CONNECT_ERROR)
        why = "no TLS connection (is it https:// there?); check the URL";
    if (changes && connected > 0 && sent_all)
        rc = RAMET_EUNKNOWN; /* invariant (2) */
    else if (code == CURLE_ABORTED_BY_CALLBACK && ramet_waiting_is_over())
        rc = RAMET_ECANCELLED;
    else if (code == CURLE_OPERATION_TIMEDOUT ||
             code == CURLE_ABORTED_BY_CALLBACK)
        rc = connected > 0 ? RAMET_ETIMEOUT : RAMET_EUNREACHABLE;
    if (changes && rc == RAMET_ETIMEOUT)
        rc = RAMET_EUNREACHABLE;
    return RAMET_FAIL(err, rc, "server %s: %s", pool->root, why);
}

static enum ramet_rc
rc_of_status(unsigned status, bool changes)
{
    switch (status) {
    case 401:
    case 403:
        return RAMET_EAUTH;
    case 404:
        return RAMET_ENOTFOUND;
    case 409:
        return RAMET_ECONFLICT;
    case 412:
        return RAMET_EEXIST;
    case 413:
        return RAMET_ETOOBIG;
    case 422:
        return changes ? RAMET_EREFUSED : RAMET_ECORRUPT;
    case 408: /* somebody in between lost patience, and did nothing */
    case 425:
    case 429:
        return RAMET_EUNREACHABLE;
    case 501:
        return RAMET_EVERSION;
    case 507:
        return RAMET_EFULL;
    default:
        break;
    }
    if (status < 500)
        return RAMET_EINVAL;
    /* Somebody between us and the server may have lost its answer. */
    return changes ? RAMET_EUNKNOWN : RAMET_EUNREACHABLE;
}

/* The result code that has this name, RAMET_OK if none has. */
static enum ramet_rc
rc_of_name(const char *name)
{
    for (int code = RAMET_RC_LEAST; code < 0; code++) {
        if (strcmp(name, ramet_rc_name((enum ramet_rc)code)) == 0)
            return (enum ramet_rc)code;
    }
    return RAMET_OK;
}

/* What the server says about itself, in our terms. */
static enum ramet_rc
rc_of_code(const char *name, unsigned status, bool changes)
{
    const enum ramet_rc said = rc_of_name(name);

    if (said == RAMET_EBUSY && status == 429)
        return RAMET_EUNREACHABLE;
    if (said == RAMET_ENOMEM) /* the server's, not ours */
        return RAMET_EUNREACHABLE;
    if (said == RAMET_ETIMEOUT && changes)
        return RAMET_EUNKNOWN;
    /* Its word on what we sent is no proof that something here is damaged. */
    if (said == RAMET_ECORRUPT && status == 422 && changes)
        return RAMET_EREFUSED;
    return said;
}

enum ramet_rc
ramet_http_not_ramet(const struct ramet_http_pool *pool, const char *path,
                     unsigned status, struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                      "server %s is not a Ramet server, nor a proxy to one "
                      "(%.*s: status %u, and none of its answers); check the "
                      "URL",
                      pool->root, (int)strcspn(path, "?"), path, status);
}

/* What a proxy says of its own, in front of a server of ours as well. */
static bool
is_a_proxys(unsigned status)
{
    return status == 401 || status == 403 || status == 408 || status == 413 ||
           status == 425 || status == 429 || status >= 500;
}

/* A server of ours says why in JSON; these may be anybody's. */
static bool
is_anybodys(unsigned status, size_t len, const json_t *json)
{
    return json == NULL && len > 0 && !is_a_proxys(status);
}

/* In words, where nobody said it. */
static const char *
meaning_of(unsigned status)
{
    switch (status) {
    case 404:
        return "not there, ";
    case 413:
        return "larger than it, or a proxy before it, takes, ";
    case 507:
        return "it has no room, ";
    default:
        return status < 400
                   ? "redirects, and none is followed: name the server itself, "
                   : "";
    }
}

/* What says that it went well, and not as a server of ours says it. */
static enum ramet_rc
strange_success(const struct ramet_http_pool *pool, const char *path,
                unsigned status, bool changes, struct ramet_err *err)
{
    return changes
               ? RAMET_FAIL(err, RAMET_EUNKNOWN,
                            "server %s: %.200s: answered with status %u, which "
                            "is none of a Ramet server's: it may have acted on "
                            "it",
                            pool->root, path, status)
               : ramet_http_not_ramet(pool, path, status, err);
}

enum ramet_rc
ramet_http_failure(const struct ramet_http_pool *pool, const char *path,
                   unsigned status, const uint8_t *body, size_t len,
                   bool changes, struct ramet_err *err)
{
    json_t *json = len > 0 && len <= PROBLEM_MAX
                       ? json_loadb((const char *)body, len, 0, NULL)
                       : NULL;
    const char *code = json_string_value(json_object_get(json, "code"));
    const char *detail = json_string_value(json_object_get(json, "detail"));
    const char *why = NULL;
    enum ramet_rc rc = RAMET_OK;

    if (status < 300) {
        json_decref(json);
        return strange_success(pool, path, status, changes, err);
    }
    if (is_anybodys(status, len, json))
        return ramet_http_not_ramet(pool, path, status, err);
    if (code != NULL && status >= 400)
        rc = rc_of_code(code, status, changes);
    if (rc == RAMET_OK)
        rc = rc_of_status(status, changes);
    if (status == 401)
        why = atomic_load(&pool->withheld_why);
    if (detail != NULL) {
        rc = RAMET_FAIL(err, rc, "server %s: %.300s%s%s", pool->root, detail,
                        why != NULL ? "; " : "", why != NULL ? why : "");
    } else {
        rc = RAMET_FAIL(err, rc, "server %s: %.200s: %sHTTP status %u%s%s",
                        pool->root, path, meaning_of(status), status,
                        why != NULL ? "; " : "", why != NULL ? why : "");
    }
    json_decref(json);
    return rc;
}

/* ---- one exchange ---------------------------------------------------------------- */

struct transfer {
    struct ramet_http_pool *pool;
    struct ramet_http_call *call;
    uint64_t sent, body_bytes;
    int part;
    size_t part_pos;
    struct ramet_patience patience;
    struct ramet_pace_run pace_run;
    uint64_t body_ns; /* when the last of the body was given away; 0: never */
    CURL *curl;
    bool too_big;
    enum ramet_rc take_rc; /* of call->take */
    struct ramet_err take_err;
};

static uint64_t
now_ns(void)
{
    const struct ramet_os *os = ramet_os_system();

    return os->mono_ns(os->ctx);
}

static uint64_t
now_ms(void)
{
    return now_ns() / 1000000u;
}

static bool
is_for_taking(const struct transfer *t)
{
    long status = 0;

    if (t->call->take == NULL)
        return false;
    (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    return status == 200;
}

static size_t
hand_on(struct transfer *t, const char *data, size_t len)
{
    struct ramet_http_call *call = t->call;

    t->too_big = len > call->body.max - call->taken;
    if (t->too_big)
        return 0;
    call->taken += len;
    t->take_rc =
        call->take(call->take_ctx, (const uint8_t *)data, len, &t->take_err);
    return t->take_rc == RAMET_OK ? len : 0;
}

static size_t
take_body(char *data, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    const size_t len = size * count;

    ramet_pace_bytes(&t->pool->pace, &t->pace_run, len, now_ns());
    if (is_for_taking(t))
        return hand_on(t, data, len);
    ramet_buf_bytes(&t->call->body, data, len);
    if (t->call->body.failed == RAMET_OK)
        return len;
    t->too_big = t->call->body.failed == RAMET_ETOOBIG;
    return 0;
}

static size_t
give_body(char *out, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    size_t room = size * count, n = 0;

    while (room > 0 && t->part < t->call->part_count) {
        const struct iovec *part = &t->call->parts[t->part];
        const size_t left = part->iov_len - t->part_pos;
        const size_t len = left < room ? left : room;

        memcpy(out + n, (const char *)part->iov_base + t->part_pos, len);
        n += len;
        room -= len;
        t->part_pos += len;
        if (t->part_pos == part->iov_len) {
            t->part++;
            t->part_pos = 0;
        }
    }
    t->sent += n;
    if (n > 0)
        t->body_ns = now_ns();
    return n;
}

/* From the start only: a connection that had died is replaced. */
static int
rewind_body(void *ctx, curl_off_t offset, int origin)
{
    struct transfer *t = ctx;

    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    t->part = 0;
    t->part_pos = 0;
    t->sent = 0;
    return CURL_SEEKFUNC_OK;
}

static int
watch_progress(void *ctx, curl_off_t down_total, curl_off_t down,
               curl_off_t up_total, curl_off_t up)
{
    struct transfer *t = ctx;

    (void)down_total;
    (void)up_total;
    return ramet_waiting_is_over() ||
           ramet_patience_is_lost(&t->patience, now_ms(),
                                  (uint64_t)down + (uint64_t)up);
}

static bool
parse_total(const char *text, size_t len, uint64_t *out)
{
    uint64_t value = 0;

    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || value > UINT64_MAX / 10 - 10)
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return true;
}

/* What the server's clock says. Of an answer that a cache on the way may have
 * kept it would be what the clock said then. */
static void
take_date(struct transfer *t, const char *value, size_t len)
{
    char text[64];
    time_t seconds;

    if (!t->call->fresh || len >= sizeof(text))
        return;
    memcpy(text, value, len);
    text[len] = '\0';
    seconds = curl_getdate(text, NULL);
    if (seconds <= 0)
        return;
    ramet_mutex_lock(&t->pool->lock);
    t->pool->date_ms = (uint64_t)seconds * 1000;
    t->pool->dated_ms = now_ms();
    ramet_mutex_unlock(&t->pool->lock);
}

bool
ramet_http_clock_ahead(struct ramet_http_pool *pool, int64_t *out_ms)
{
    const struct ramet_os *os = ramet_os_system();
    uint64_t date_ms, dated_ms;

    ramet_mutex_lock(&pool->lock);
    date_ms = pool->date_ms;
    dated_ms = pool->dated_ms;
    ramet_mutex_unlock(&pool->lock);
    if (date_ms == 0)
        return false;
    *out_ms = (int64_t)os->wall_ms(os->ctx) -
              (int64_t)(date_ms + (now_ms() - dated_ms));
    return true;
}

/* Content-Range: bytes 0-15/1000, and for HEAD Content-Length; Date. */
static size_t
take_header(char *line, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    size_t len = size * count;
    const char *slash;

    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        len--;
    if (len > 5 && strncasecmp(line, "Date:", 5) == 0) {
        take_date(t, line + 5, len - 5);
    } else if (len > 14 && strncasecmp(line, "Content-Range:", 14) == 0) {
        slash = memchr(line, '/', len);
        if (slash != NULL)
            t->call->has_total = parse_total(
                slash + 1, (size_t)(line + len - slash - 1), &t->call->total);
    } else if (strcmp(t->call->method, "HEAD") == 0 && len > 15 &&
               strncasecmp(line, "Content-Length:", 15) == 0) {
        const char *value = line + 15;

        while (*value == ' ' && value < line + len)
            value++;
        t->call->has_total =
            parse_total(value, (size_t)(line + len - value), &t->call->total);
    }
    return size * count;
}

static void
set_up(struct transfer *t, CURL *curl)
{
    const struct ramet_http_call *call = t->call;
    const uint64_t window_ms = t->pool->stall_timeout_ms;
    const uint64_t total_ms =
        call->total_ms > 0
            ? call->total_ms
            : ramet_patience_total_ms(window_ms,
                                      t->body_bytes +
                                          (call->changes ? 0 : call->body.max));

    ramet_patience_begin(&t->patience, window_ms, now_ms(), 0);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)total_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch_progress);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (strcmp(call->method, "HEAD") == 0)
        (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (strcmp(call->method, "GET") != 0)
        (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    if (call->part_count == 0)
        return;
    (void)curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE,
                           (curl_off_t)t->body_bytes);
    (void)curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_body);
    (void)curl_easy_setopt(curl, CURLOPT_READDATA, t);
    (void)curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, rewind_body);
    (void)curl_easy_setopt(curl, CURLOPT_SEEKDATA, t);
}

/* From when the request was sent to the first byte of its answer. For curl the
 * transfer of one with a body starts with the body, which is too early. */
static uint64_t
delay_of(const struct transfer *t)
{
    const uint64_t first_ns = t->pace_run.first_ns;
    curl_off_t sent_us = 0, began_us = 0;

    if (t->body_ns != 0)
        return first_ns > t->body_ns ? first_ns - t->body_ns : 0;
    (void)curl_easy_getinfo(t->curl, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
    (void)curl_easy_getinfo(t->curl, CURLINFO_STARTTRANSFER_TIME_T, &began_us);
    return began_us > sent_us && sent_us > 0
               ? (uint64_t)(began_us - sent_us) * 1000
               : 0;
}

static enum ramet_rc
try_once(struct ramet_http_pool *pool, struct ramet_http_call *call,
         struct ramet_err *err)
{
    struct transfer t = {.pool = pool, .call = call, .take_rc = RAMET_OK};
    char range[64], type[128];
    const char *extra[4];
    struct curl_slist *headers;
    unsigned n = 0;
    CURL *curl = ramet_http_take(pool);
    long status = 0;
    CURLcode code;
    enum ramet_rc rc = RAMET_OK;

    if (curl == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", pool->root);
    t.curl = curl;
    if (call->has_range) {
        (void)snprintf(range, sizeof(range),
                       "Range: bytes=%" PRIu64 "-%" PRIu64, call->range_offset,
                       call->range_offset + call->range_length - 1);
        extra[n++] = range;
    }
    if (call->content_type != NULL) {
        (void)snprintf(type, sizeof(type), "Content-Type: %s",
                       call->content_type);
        extra[n++] = type;
    }
    if (call->if_none_match)
        extra[n++] = "If-None-Match: *";
    extra[n] = NULL;
    for (int i = 0; i < call->part_count; i++)
        t.body_bytes += call->parts[i].iov_len;
    ramet_buf_clear(&call->body);
    call->has_total = false;
    headers = ramet_http_prepare(pool, curl, call->path, extra);
    if (headers == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", pool->root);
        goto done;
    }
    set_up(&t, curl);
    ramet_pace_begin(&pool->pace, &t.pace_run);
    code = curl_easy_perform(curl);
    ramet_pace_end(&pool->pace, &t.pace_run, delay_of(&t), now_ns());
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    call->status = (unsigned)status;
    if (t.too_big)
        rc = RAMET_FAIL(err, RAMET_ETOOBIG,
                        "server %s: %.200s: more than %zu bytes", pool->root,
                        call->path, call->body_max);
    else if (t.take_rc != RAMET_OK) {
        rc = t.take_rc;
        if (err != NULL)
            *err = t.take_err;
    } else if (code != CURLE_OK)
        rc = ramet_http_curl_failure(pool, curl, code, call->changes,
                                     t.sent == t.body_bytes, err);

done:
    ramet_http_give_back(pool, curl);
    curl_slist_free_all(headers);
    return rc;
}

/* 50 to 150 ms, then 100 to 300. */
static void
pause_before_retry(unsigned tries)
{
    const struct ramet_os *os = ramet_os_system();
    uint16_t jitter = 0;

    (void)os->random(os->ctx, &jitter, sizeof(jitter));
    os->sleep_us(os->ctx, (50000u + jitter % 100000u) * (tries + 1));
}

enum ramet_rc
ramet_http_perform(struct ramet_http_pool *pool, struct ramet_http_call *call,
                   struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    ramet_buf_init(&call->body,
                   call->body_max > 0 ? call->body_max : PROBLEM_MAX);
    call->taken = 0;
    for (unsigned tries = 0; tries < TRIES; tries++) {
        if (tries > 0)
            pause_before_retry(tries - 1);
        rc = try_once(pool, call, err);
        if (call->changes || call->taken > 0)
            break;
        if (rc == RAMET_OK && call->status != 429 && call->status != 502 &&
            call->status != 503 && call->status != 504)
            break;
        /* A stall took its whole time-out already. */
        if (rc != RAMET_OK && rc != RAMET_EUNREACHABLE)
            break;
    }
    return rc;
}
