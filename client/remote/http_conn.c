/*
 * http_conn.c - an exchange with a server; see http_conn.h for the contract.
 *
 * Layer: client.
 */
#include "client/remote/http_conn_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/os.h"
#include "core/patience.h"
#include "core/thread.h"
#include "core/waiting.h"

#define TRIES 3u

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
    struct ramet_http_spare_use spare_use;
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

    assert(call->take != NULL);
    assert(call->taken <= call->body.max);
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

    assert(t->part <= t->call->part_count);
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
    assert(t->sent <= t->body_bytes);
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

/* Why a question was stopped, for people. */
static void
take_why(struct ramet_http_call *call, const char *value, size_t len)
{
    while (len > 0 && *value == ' ') {
        value++;
        len--;
    }
    if (len >= sizeof(call->stopped_why))
        len = sizeof(call->stopped_why) - 1;
    assert(len < sizeof(call->stopped_why));
    for (size_t i = 0; i < len; i++)
        call->stopped_why[i] =
            (char)(value[i] >= ' ' && value[i] < 127 ? value[i] : '?');
    call->stopped_why[len] = '\0';
}

/* Content-Range: bytes 0-15/1000, and for HEAD Content-Length; Date; and our own. */
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
    } else if (len > 18 && strncasecmp(line, "Ramet-Stopped-Why:", 18) == 0) {
        take_why(t->call, line + 18, len - 18);
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

    assert(t->curl == curl);
    assert(call->part_count >= 0 &&
           (call->part_count > 0 || t->body_bytes == 0));
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

    assert(t->curl != NULL);
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
    assert(call->path[0] == '/');
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
    if (call->is_doubted)
        extra[n++] = "Cache-Control: no-cache";
    assert(n < sizeof(extra) / sizeof(extra[0]));
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
    assert(!call->has_range || call->range_length > 0);
    assert(call->part_count == 0 || call->parts != NULL);
    set_up(&t, curl);
    if (!call->changes) /* invariant (3) of http_spare.h */
        ramet_http_spares_offer(curl, &t.spare_use);
    if (call->is_of_many)
        ramet_http_spare(pool);
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
    else
        ramet_http_reached(pool, curl);

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

    assert(tries < TRIES);
    (void)os->random(os->ctx, &jitter, sizeof(jitter));
    os->sleep_us(os->ctx, (50000u + jitter % 100000u) * (tries + 1));
}

enum ramet_rc
ramet_http_perform(struct ramet_http_pool *pool, struct ramet_http_call *call,
                   struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(call->method != NULL && call->path != NULL);
    assert(call->take == NULL || !call->changes);
    ramet_buf_init(&call->body, call->body_max > 0 ? call->body_max
                                                   : RAMET_HTTP_PROBLEM_MAX);
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
