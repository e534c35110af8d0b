/*
 * request.c - see request.h.
 */
#include "pagestore/s3/request.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/os.h"
#include "core/waiting.h"
#include "pagestore/s3/answer.h"

#define URL_MAX_BYTES 8192u
#define SLEEP_SLICE_MS 50u
#define HEDGED_BYTES_MAX (256u << 10)

static uint64_t
now_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

/* ---- one try ------------------------------------------------------------- */

/* "/bucket/key", escaped as it is signed and sent. */
static void
add_path(struct ramet_buf *out, const struct ramet_s3_target *target,
         const char *key)
{
    assert(target->bucket[0] != '\0');
    ramet_buf_u8(out, '/');
    if (target->path_style) {
        ramet_sigv4_escape(out, target->bucket, false);
        if (key[0] != '\0')
            ramet_buf_u8(out, '/');
    }
    ramet_sigv4_escape(out, key, true);
}

static bool
add_header(struct curl_slist **list, const char *name, const char *value)
{
    char *const line = ramet_asprintf("%s: %s", name, value);
    struct curl_slist *const grown =
        line != NULL ? curl_slist_append(*list, line) : NULL;

    assert(name != NULL && value != NULL);
    ramet_free(line);
    if (grown == NULL)
        return false;
    *list = grown;
    return true;
}

/* The headers that are signed, sorted by name; Host is libcurl's to send. */
struct signed_headers {
    struct ramet_sigv4_header list[8];
    size_t count;
    char time[RAMET_SIGV4_TIME], sha256[RAMET_SHA256_HEX], range[64];
};

static void
gather(struct signed_headers *h, const struct ramet_s3_target *target,
       const struct ramet_s3_request *request, const struct ramet_s3_keys *keys)
{
    const struct ramet_os *const os = ramet_os_system();

    assert(h->count == 0 && (!request->has_range || request->range_length > 0));
    ramet_sigv4_time(os->wall_ms(os->ctx), h->time);
    if (request->content_md5 != NULL)
        h->list[h->count++] =
            (struct ramet_sigv4_header){"content-md5", request->content_md5};
    h->list[h->count++] = (struct ramet_sigv4_header){"host", target->host};
    if (request->if_none_match)
        h->list[h->count++] = (struct ramet_sigv4_header){"if-none-match", "*"};
    if (request->has_range) {
        (void)snprintf(h->range, sizeof(h->range), "bytes=%" PRIu64 "-%" PRIu64,
                       request->range_offset,
                       request->range_offset + request->range_length - 1);
        h->list[h->count++] = (struct ramet_sigv4_header){"range", h->range};
    }
    h->list[h->count++] =
        (struct ramet_sigv4_header){"x-amz-content-sha256", h->sha256};
    h->list[h->count++] = (struct ramet_sigv4_header){"x-amz-date", h->time};
    if (keys->session[0] != '\0')
        h->list[h->count++] =
            (struct ramet_sigv4_header){"x-amz-security-token", keys->session};
}

static enum ramet_rc
make_headers(const struct ramet_s3_target *target,
             const struct ramet_s3_request *request, const char *path,
             const struct ramet_s3_keys *keys, bool sign,
             struct curl_slist **out_headers, struct ramet_err *err)
{
    struct signed_headers h = {.count = 0};
    char authorization[RAMET_SIGV4_AUTH];
    struct curl_slist *headers = NULL;
    bool ok = ramet_sha256_hex(request->parts, request->part_count, h.sha256);
    enum ramet_rc rc = RAMET_OK;

    if (ok) {
        const struct ramet_sigv4_request what = {
            .method = request->method,
            .path = path,
            .query = request->query != NULL ? request->query : "",
            .headers = h.list,
            .payload_sha256 = h.sha256};
        const struct ramet_sigv4_scope scope = {.access_key = keys->access,
                                                .secret_key = keys->secret,
                                                .region = target->region,
                                                .service = "s3",
                                                .time = h.time};
        struct ramet_sigv4_request counted = what;

        gather(&h, target, request, keys);
        counted.header_count = h.count;
        if (sign)
            rc = ramet_sigv4_authorize(&counted, &scope, authorization, err);
    }
    if (rc != RAMET_OK)
        return rc;
    assert(h.count <= sizeof(h.list) / sizeof(h.list[0]));
    for (size_t i = 0; ok && i < h.count; i++)
        if (strcmp(h.list[i].name, "host") != 0)
            ok = add_header(&headers, h.list[i].name, h.list[i].value);
    ok = ok && (!sign || add_header(&headers, "authorization", authorization));
    /* Nothing is sent twice to save a body that is small. */
    ok = ok && (*out_headers = curl_slist_append(headers, "Expect:")) != NULL;
    if (ok)
        return RAMET_OK;
    curl_slist_free_all(headers);
    *out_headers = NULL;
    return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
}

/* The URL, and the path alone for the signature. */
static enum ramet_rc
make_url(const struct ramet_s3_target *target,
         const struct ramet_s3_request *request, struct ramet_buf *url,
         struct ramet_buf *path, struct ramet_err *err)
{
    const char *const scheme = target->origin.is_plain ? "http://" : "https://";

    assert(url->len == 0 && path->len == 0);
    add_path(path, target, request->key);
    ramet_buf_bytes(url, scheme, strlen(scheme));
    ramet_buf_bytes(url, target->host, strlen(target->host));
    ramet_buf_bytes(url, path->data, path->len);
    if (request->query != NULL) {
        ramet_buf_u8(url, '?');
        ramet_buf_bytes(url, request->query, strlen(request->query));
    }
    ramet_buf_u8(url, 0);
    ramet_buf_u8(path, 0);
    if (url->failed == RAMET_ENOMEM || path->failed == RAMET_ENOMEM)
        return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    return url->failed == RAMET_OK && path->failed == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_EINVAL,
                            "S3: %.200s: the key is too long", request->key);
}

static void
set_exchange(const struct ramet_s3_caller *caller,
             const struct ramet_s3_request *request, struct ramet_s3_try *t)
{
    struct ramet_s3_bucket *const bucket = caller->bucket;

    assert(t->url.data != NULL && t->headers != NULL);
    t->exchange = (struct ramet_s3_exchange){
        .method = request->method,
        .url = (const char *)t->url.data,
        .headers = t->headers,
        .parts = request->parts,
        .part_count = request->part_count,
        .answer_max = request->answer_max,
        .into = request->into,
        .throttle = &bucket->throttle,
        .ca_file = bucket->ca_file,
        .direct = bucket->target.origin.is_loopback,
        .connect_timeout_ms = caller->connect_timeout_ms,
        .stall_timeout_ms = caller->stall_timeout_ms,
        .rank = request->rank,
    };
}

static void
free_try(struct ramet_s3_try *t)
{
    assert(t->url.failed != RAMET_OK || t->url.len == 0 || t->url.data != NULL);
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    ramet_buf_done(&t->url);
}

enum ramet_rc
ramet_s3_try_start(const struct ramet_s3_caller *caller,
                   const struct ramet_s3_request *request,
                   struct ramet_s3_try *out_try, struct ramet_err *err)
{
    struct ramet_s3_bucket *const bucket = caller->bucket;
    struct ramet_s3_try *const t = out_try;
    const bool sign = bucket->credentials != NULL;
    struct ramet_buf path;
    enum ramet_rc rc = ramet_s3_engine_check(bucket->engine, err);

    assert(request->method != NULL && request->key != NULL);
    assert(request->part_count == 0 || request->parts != NULL);
    t->headers = NULL;
    t->keys.access[0] = t->keys.session[0] = '\0';
    ramet_buf_init(&t->url, URL_MAX_BYTES);
    ramet_buf_init(&path, URL_MAX_BYTES);
    if (rc == RAMET_OK && sign)
        rc = ramet_s3_credentials_get(bucket->credentials, &t->keys, err);
    if (rc == RAMET_OK)
        rc = make_url(&bucket->target, request, &t->url, &path, err);
    if (rc == RAMET_OK)
        rc = make_headers(&bucket->target, request, (const char *)path.data,
                          &t->keys, sign, &t->headers, err);
    ramet_buf_done(&path);
    if (rc == RAMET_OK) {
        set_exchange(caller, request, t);
        rc = ramet_s3_start(bucket->engine, &t->exchange, err);
    }
    if (rc != RAMET_OK) {
        free_try(t);
        ramet_s3_keys_wipe(&t->keys);
    }
    return rc;
}

/* RAMET_LOG_LEVEL=debug shows each request. */
static void
log_exchange(const struct ramet_s3_request *request,
             const struct ramet_s3_exchange *x)
{
    char status[RAMET_LOG_NUM_SIZE], ms[RAMET_LOG_NUM_SIZE];
    char offset[RAMET_LOG_NUM_SIZE], len[RAMET_LOG_NUM_SIZE];

    assert(x->done);
    if (!ramet_log_enabled(RAMET_LOG_DEBUG))
        return;
    ramet_log(RAMET_LOG_DEBUG, "bucket", "kind",
              ramet_request_kind_name(request->kind), "key", request->key,
              "offset", ramet_log_num(offset, request->range_offset),
              "received", ramet_log_num(len, ramet_s3_exchange_received(x)),
              "status", ramet_log_num(status, x->status), "ms",
              ramet_log_num(ms, x->duration_ms), NULL);
}

/* It is done: what it teaches. */
static void
note(const struct ramet_s3_caller *caller,
     const struct ramet_s3_request *request, const struct ramet_s3_exchange *x)
{
    struct ramet_s3_bucket *const bucket = caller->bucket;

    assert(x->done);
    log_exchange(request, x);
    ramet_s3_tally_add(caller->tally, request->kind, x->sent,
                       ramet_s3_exchange_received(x));
    if (x->status == 503 || x->status == 429)
        ramet_s3_tally_slowdown(caller->tally);
    ramet_mutex_lock(&bucket->mutex);
    if (x->date_ms != 0) {
        bucket->date_ms = x->date_ms;
        bucket->dated_ms = now_ms();
    }
    if (ramet_s3_may_hedge(request) && x->code == CURLE_OK && x->status == 206)
        ramet_s3_hedge_note(&bucket->hedge, x->duration_ms);
    ramet_mutex_unlock(&bucket->mutex);
}

void
ramet_s3_try_end(const struct ramet_s3_caller *caller,
                 const struct ramet_s3_request *request,
                 struct ramet_s3_try *a_try)
{
    struct ramet_s3_engine *const engine = caller->bucket->engine;
    struct ramet_s3_exchange *x = &a_try->exchange;

    if (ramet_s3_wait(engine, &x, 1, UINT32_MAX) == NULL)
        ramet_s3_cancel(engine, x);
    assert(x->done);
    note(caller, request, x);
    free_try(a_try);
}

/* ---- hedged -------------------------------------------------------------- */

bool
ramet_s3_may_hedge(const struct ramet_s3_request *request)
{
    assert(!request->hedge || request->has_range);
    return request->hedge && request->range_length <= HEDGED_BYTES_MAX;
}

uint64_t
ramet_s3_hedge_wait_ms(const struct ramet_s3_caller *caller,
                       const struct ramet_s3_request *request)
{
    struct ramet_s3_bucket *const bucket = caller->bucket;
    uint64_t after = UINT64_MAX;

    if (!ramet_s3_may_hedge(request))
        return UINT64_MAX;
    ramet_mutex_lock(&bucket->mutex);
    after = ramet_s3_hedge_after_ms(&bucket->hedge);
    ramet_mutex_unlock(&bucket->mutex);
    return after;
}

uint64_t
ramet_s3_late_in_ms(const struct ramet_s3_try *a_try, uint64_t after_ms)
{
    const uint64_t ran_ms = ramet_s3_ran_ms(&a_try->exchange);

    return ran_ms < after_ms ? after_ms - ran_ms : 0;
}

static void
drop(const struct ramet_s3_caller *caller,
     const struct ramet_s3_request *request, struct ramet_s3_try *t)
{
    assert(t->headers != NULL); /* it has not ended */
    ramet_s3_cancel(caller->bucket->engine, &t->exchange);
    ramet_s3_try_end(caller, request, t);
    ramet_buf_done(&t->exchange.answer);
}

struct ramet_s3_try *
ramet_s3_hedge_start(const struct ramet_s3_caller *caller,
                     const struct ramet_s3_request *request)
{
    struct ramet_s3_bucket *const bucket = caller->bucket;
    struct ramet_s3_try *const second = ramet_alloc(sizeof(*second));

    assert(request->hedge &&
           request->into == NULL); /* both would write there */
    if (second == NULL ||
        ramet_s3_is_throttled(bucket->engine, &bucket->throttle) ||
        ramet_s3_try_start(caller, request, second, NULL) != RAMET_OK) {
        ramet_free(second);
        return NULL;
    }
    ramet_mutex_lock(&bucket->mutex);
    ramet_s3_hedge_spend(&bucket->hedge);
    ramet_mutex_unlock(&bucket->mutex);
    ramet_s3_tally_hedge(caller->tally);
    return second;
}

void
ramet_s3_hedge_end(const struct ramet_s3_caller *caller,
                   const struct ramet_s3_request *request,
                   struct ramet_s3_try *first, struct ramet_s3_try *second,
                   const struct ramet_s3_exchange *done)
{
    assert(done == NULL || done == &first->exchange ||
           done == &second->exchange);
    if (done == &second->exchange && done->code == CURLE_OK &&
        done->status == 206) {
        struct ramet_s3_try slow;

        ramet_s3_cancel(caller->bucket->engine, &first->exchange);
        slow = *first; /* the engine is done with both */
        *first = *second;
        *second = slow;
    }
    drop(caller, request, second);
    ramet_s3_keys_wipe(&second->keys);
    ramet_free(second);
}

/* If `first` is late by `after_ms`, whichever of two comes first is it. */
static void
race(const struct ramet_s3_caller *caller,
     const struct ramet_s3_request *request, struct ramet_s3_try *first,
     uint64_t after_ms)
{
    struct ramet_s3_exchange *both[2] = {&first->exchange};
    struct ramet_s3_try *second;
    uint64_t left_ms;

    while ((left_ms = ramet_s3_late_in_ms(first, after_ms)) > 0)
        if (ramet_s3_wait(caller->bucket->engine, both, 1, left_ms) != NULL ||
            ramet_waiting_is_over())
            return;
    second = ramet_s3_hedge_start(caller, request);
    if (second == NULL)
        return;
    both[1] = &second->exchange;
    ramet_s3_hedge_end(
        caller, request, first, second,
        ramet_s3_wait(caller->bucket->engine, both, 2, UINT32_MAX));
}

/* ---- all tries ----------------------------------------------------------- */

/* False: the caller of the verb has had enough. */
static bool
pause_ms(uint64_t ms)
{
    const struct ramet_os *const os = ramet_os_system();

    assert(ms <= UINT32_MAX);
    while (ms > 0 && !ramet_waiting_is_over()) {
        const uint64_t slice = ms < SLEEP_SLICE_MS ? ms : SLEEP_SLICE_MS;

        os->sleep_us(os->ctx, slice * 1000);
        ms -= slice;
    }
    return ms == 0;
}

static uint64_t
next_pause_ms(uint64_t last_ms)
{
    const struct ramet_os *const os = ramet_os_system();
    uint16_t random = 0;

    assert(last_ms <= UINT32_MAX);
    (void)os->random(os->ctx, &random, sizeof(random));
    return ramet_s3_jitter_ms(last_ms, random);
}

/* RAMET_OK: an answer is there, or why there is none. */
static enum ramet_rc
try_once(const struct ramet_s3_caller *caller,
         const struct ramet_s3_request *request, struct ramet_s3_try *t,
         struct ramet_err *err)
{
    const uint64_t after_ms = ramet_s3_hedge_wait_ms(caller, request);
    const enum ramet_rc rc = ramet_s3_try_start(caller, request, t, err);

    assert(after_ms == UINT64_MAX || request->hedge);
    if (rc != RAMET_OK)
        return rc;
    if (after_ms != UINT64_MAX)
        race(caller, request, t, after_ms);
    ramet_s3_try_end(caller, request, t);
    return RAMET_OK;
}

static void
take(struct ramet_s3_request *request, struct ramet_s3_exchange *x)
{
    assert(x->done);
    ramet_buf_done(&request->answer);
    request->answer = x->answer;
    memset(&x->answer, 0, sizeof(x->answer));
    request->status = x->status;
    request->has_total = x->has_total;
    request->total = x->total;
    memcpy(request->etag, x->etag, sizeof(request->etag));
}

/* Is it worth another try, and safe? Invariants (1) and (3). */
static bool
is_worth_it(const struct ramet_s3_caller *caller,
            const struct ramet_s3_request *request,
            const struct ramet_s3_verdict *v, const struct ramet_s3_try *t,
            unsigned tries, bool *io_renewed)
{
    assert(tries >= 1 && tries <= RAMET_S3_TRIES + 1);
    if (v->renew && !*io_renewed && caller->bucket->credentials != NULL) {
        *io_renewed = true;
        return ramet_s3_credentials_refused(caller->bucket->credentials,
                                            &t->keys);
    }
    return v->again && tries < RAMET_S3_TRIES &&
           !(request->once && v->maybe_done);
}

enum ramet_rc
ramet_s3_perform(const struct ramet_s3_caller *caller,
                 struct ramet_s3_request *request, struct ramet_err *err)
{
    const uint64_t until = now_ms() + 2 * caller->stall_timeout_ms;
    struct ramet_s3_try *t;
    struct ramet_s3_verdict v = {.rc = RAMET_OK};
    uint64_t pause = 0;
    bool renewed = false;
    char what[300];
    enum ramet_rc rc = ramet_s3_engine_check(caller->bucket->engine, err);

    assert(request->answer.data == NULL && !request->maybe_done);
    assert(request->into == NULL);
    if (rc != RAMET_OK)
        return rc;
    t = ramet_alloc(sizeof(*t));
    if (t == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    (void)snprintf(what, sizeof(what), "%s %.280s", request->method,
                   request->key[0] != '\0' ? request->key + caller->prefix_len
                                           : "");
    for (unsigned tries = 1;; tries++) {
        bool again;

        rc = try_once(caller, request, t, err);
        if (rc != RAMET_OK)
            break;
        ramet_s3_judge(&t->exchange, &v);
        request->maybe_done = request->maybe_done || v.maybe_done;
        again = is_worth_it(caller, request, &v, t, tries, &renewed);
        if (v.again && again)
            pause = next_pause_ms(pause);
        again = again && now_ms() + pause < until;
        if (!again)
            rc = v.rc == RAMET_OK
                     ? RAMET_OK
                     : ramet_s3_explain(&t->exchange, &v, caller->where, what,
                                        caller->bucket->target.why_not, err);
        take(request, &t->exchange);
        if (!again || !pause_ms(v.again ? pause : 0))
            break;
        ramet_s3_tally_repeat(caller->tally);
    }
    if (rc == RAMET_OK && v.rc != RAMET_OK) /* not waited for any longer */
        rc = RAMET_FAIL(err, RAMET_ECANCELLED, "%s: %s: cancelled",
                        caller->where, what);
    if (rc != RAMET_OK && rc != RAMET_EEXIST && request->maybe_done &&
        (request->if_none_match || request->once)) {
        rc = RAMET_EUNKNOWN; /* invariant (2) */
        if (err != NULL)
            err->code = rc;
    }
    ramet_s3_keys_wipe(&t->keys);
    ramet_free(t);
    return rc;
}
