/*
 * curl.c - in the place of libcurl: those of its calls that the client makes of
 * a server, over the simulated network. An exchange is a connection.
 */
#include <curl/curl.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "tests/sim/image/image.h"
#include "tests/sim/net.h"

#undef curl_easy_setopt
#undef curl_easy_getinfo

#define MS UINT64_C(1000000)
#define PIECE_BYTES (16u << 10)
#define LOOK_AROUND_NS (200 * MS) /* libcurl asks its callbacks so often */

struct easy {
    /* As it was set up. */
    char url[600];
    const struct curl_slist *headers;
    const char *method;
    bool is_upload, is_post, has_no_body, is_quiet;
    int64_t body_size; /* -1: in chunks */
    const void *post_data;
    uint64_t timeout_ns, connect_timeout_ns;
    curl_read_callback read;
    curl_write_callback write, take_header;
    curl_xferinfo_callback progress;
    void *read_ctx, *write_ctx, *header_ctx, *progress_ctx;
    /* The transfer. */
    struct easy *next; /* of a multi handle */
    struct multi *multi;
    struct sim_exchange *exchange;
    uint64_t begun_ns;
    uint64_t changes; /* of the exchange, that were seen */
    bool is_under_way, is_paused, has_ended, was_told;
    bool has_sent_all, has_header;
    uint64_t reply_at_ns; /* when the header was there; 0: not yet */
    CURLcode code;
    long status;
};

struct multi {
    struct easy *first;
    bool was_woken;
    CURLMsg message;
};

/* ---- handles ---------------------------------------------------------------- */

CURLcode
curl_global_init(long flags)
{
    (void)flags;
    return CURLE_OK;
}

static void
forget_options(struct easy *e)
{
    struct easy fresh = {.method = NULL, .body_size = -1};

    fresh.multi = e->multi;
    fresh.next = e->next;
    *e = fresh;
}

CURL *
curl_easy_init(void)
{
    struct easy *const e = ramet_calloc(1, sizeof(*e));

    if (e != NULL)
        forget_options(e);
    return e;
}

static void
hang_up(struct easy *e)
{
    if (e->exchange != NULL)
        sim_net_hang_up(e->exchange, true);
    e->exchange = NULL;
}

void
curl_easy_reset(CURL *curl)
{
    hang_up(curl);
    forget_options(curl);
}

void
curl_easy_cleanup(CURL *curl)
{
    if (curl == NULL)
        return;
    hang_up(curl);
    ramet_free(curl);
}

static void
set_callback(struct easy *e, CURLoption option, va_list args)
{
    switch (option) {
    case CURLOPT_READFUNCTION:
        e->read = va_arg(args, curl_read_callback);
        break;
    case CURLOPT_WRITEFUNCTION:
        e->write = va_arg(args, curl_write_callback);
        break;
    case CURLOPT_HEADERFUNCTION:
        e->take_header = va_arg(args, curl_write_callback);
        break;
    case CURLOPT_XFERINFOFUNCTION:
        e->progress = va_arg(args, curl_xferinfo_callback);
        break;
    case CURLOPT_READDATA:
        e->read_ctx = va_arg(args, void *);
        break;
    case CURLOPT_WRITEDATA:
        e->write_ctx = va_arg(args, void *);
        break;
    case CURLOPT_HEADERDATA:
        e->header_ctx = va_arg(args, void *);
        break;
    case CURLOPT_XFERINFODATA:
        e->progress_ctx = va_arg(args, void *);
        break;
    default: /* of no meaning where there are no sockets */
        break;
    }
}

CURLcode
curl_easy_setopt(CURL *curl, CURLoption option, ...)
{
    struct easy *const e = curl;
    va_list args;

    va_start(args, option);
    switch (option) {
    case CURLOPT_URL:
        snprintf(e->url, sizeof(e->url), "%s", va_arg(args, const char *));
        break;
    case CURLOPT_HTTPHEADER:
        e->headers = va_arg(args, struct curl_slist *);
        break;
    case CURLOPT_CUSTOMREQUEST:
        e->method = va_arg(args, const char *);
        break;
    case CURLOPT_NOBODY:
        e->has_no_body = va_arg(args, long) != 0;
        break;
    case CURLOPT_NOPROGRESS:
        e->is_quiet = va_arg(args, long) != 0;
        break;
    case CURLOPT_UPLOAD:
        e->is_upload = va_arg(args, long) != 0;
        break;
    case CURLOPT_POST:
        e->is_post = va_arg(args, long) != 0;
        break;
    case CURLOPT_INFILESIZE_LARGE:
        e->body_size = va_arg(args, curl_off_t);
        break;
    case CURLOPT_POSTFIELDS:
        e->post_data = va_arg(args, const void *);
        break;
    case CURLOPT_POSTFIELDSIZE:
        e->body_size = va_arg(args, long);
        break;
    case CURLOPT_TIMEOUT_MS:
        e->timeout_ns = (uint64_t)va_arg(args, long) * MS;
        break;
    case CURLOPT_CONNECTTIMEOUT_MS:
        e->connect_timeout_ns = (uint64_t)va_arg(args, long) * MS;
        break;
    default:
        set_callback(e, option, args);
        break;
    }
    va_end(args);
    return CURLE_OK;
}

CURLcode
curl_easy_getinfo(CURL *curl, CURLINFO info, ...)
{
    const struct easy *const e = curl;
    const bool is_connected = e->exchange != NULL;
    va_list args;

    va_start(args, info);
    switch (info) {
    case CURLINFO_RESPONSE_CODE:
        *va_arg(args, long *) = e->status;
        break;
    case CURLINFO_PRETRANSFER_TIME_T:
        *va_arg(args, curl_off_t *) = is_connected;
        break;
    case CURLINFO_STARTTRANSFER_TIME_T:
        *va_arg(args, curl_off_t *) =
            e->reply_at_ns > e->begun_ns
                ? (curl_off_t)((e->reply_at_ns - e->begun_ns) / 1000)
                : 0;
        break;
    case CURLINFO_SIZE_UPLOAD_T:
        *va_arg(args, curl_off_t *) =
            is_connected ? (curl_off_t)e->exchange->up.len : 0;
        break;
    case CURLINFO_NUM_CONNECTS:
        *va_arg(args, long *) = 0;
        break;
    case CURLINFO_ACTIVESOCKET: /* there are no sockets */
        *va_arg(args, curl_socket_t *) = CURL_SOCKET_BAD;
        break;
    default:
        sim_fail("curl_easy_getinfo: %d is not simulated", (int)info);
    }
    va_end(args);
    return CURLE_OK;
}

const char *
curl_easy_strerror(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        return "couldn't connect";
    case CURLE_OPERATION_TIMEDOUT:
        return "timed out";
    case CURLE_RECV_ERROR:
        return "the connection was reset";
    default:
        return "no exchange";
    }
}

struct curl_slist *
curl_slist_append(struct curl_slist *list, const char *text)
{
    struct curl_slist *const item = ramet_calloc(1, sizeof(*item));
    struct curl_slist *last = list;

    if (item == NULL)
        return NULL;
    item->data = ramet_strdup(text);
    while (last != NULL && last->next != NULL)
        last = last->next;
    if (last != NULL)
        last->next = item;
    return list != NULL ? list : item;
}

void
curl_slist_free_all(struct curl_slist *list)
{
    while (list != NULL) {
        struct curl_slist *const item = list;

        list = list->next;
        ramet_free(item->data);
        ramet_free(item);
    }
}

/* Dates are numbers here (image/httpd.c). */
time_t
curl_getdate(const char *text, const time_t *now)
{
    (void)now;
    return (time_t)strtoll(text, NULL, 10);
}

/* ---- a transfer --------------------------------------------------------------- */

static void
end(struct easy *e, CURLcode code)
{
    e->code = code;
    e->has_ended = true;
}

static void
send_header(struct easy *e)
{
    char size[24];

    for (const struct curl_slist *h = e->headers; h != NULL; h = h->next) {
        char name[64];
        const char *const colon = strchr(h->data, ':');
        const size_t len = (size_t)(colon - h->data);

        if (colon[1] == '\0' || len >= sizeof(name))
            continue; /* it is to be left out */
        memcpy(name, h->data, len);
        name[len] = '\0';
        sim_net_field(e->exchange, name, colon + 2);
    }
    if (e->body_size >= 0) {
        snprintf(size, sizeof(size), "%lld", (long long)e->body_size);
        sim_net_field(e->exchange, "Content-Length", size);
    }
}

static void
begin(struct easy *e)
{
    const char *const host = strstr(e->url, "://");
    const char *const target = host != NULL ? strchr(host + 3, '/') : NULL;
    const char *const method = e->method != NULL ? e->method
                               : e->has_no_body  ? "HEAD"
                               : e->is_post      ? "POST"
                               : e->is_upload    ? "PUT"
                                                 : "GET";

    e->is_under_way = true;
    e->begun_ns = sim_now_ns();
    if (target == NULL)
        sim_fail("%s is no URL", e->url);
    e->exchange =
        sim_net_ask(sim_env->process, sim_env->weather, method, target);
    if (e->exchange == NULL) {
        end(e, CURLE_COULDNT_CONNECT);
        return;
    }
    send_header(e);
    if (e->is_post)
        sim_net_send_up(e->exchange, e->post_data, (size_t)e->body_size);
    if (!e->is_upload) {
        sim_net_end_up(e->exchange);
        e->has_sent_all = true;
    }
}

/* False: there was nothing to be done. */
static bool
send_piece(struct easy *e)
{
    char piece[PIECE_BYTES];
    size_t room = sizeof(piece);
    size_t len;

    if (e->has_sent_all || e->is_paused || e->status >= 300)
        return false;
    if (e->body_size >= 0 &&
        (uint64_t)e->body_size - e->exchange->up.len < room)
        room = (size_t)e->body_size - e->exchange->up.len;
    len = room == 0 ? 0 : e->read(piece, 1, room, e->read_ctx);
    if (len == CURL_READFUNC_PAUSE) {
        e->is_paused = true;
        return true;
    }
    sim_yield();
    if (len == 0) {
        e->has_sent_all = true;
        sim_net_end_up(e->exchange);
    } else {
        sim_net_send_up(e->exchange, piece, len);
    }
    return true;
}

static bool
take_header(struct easy *e)
{
    const struct sim_exchange *const ex = e->exchange;

    if (e->has_header || ex->status == 0)
        return false;
    e->has_header = true;
    e->status = (long)ex->status;
    e->reply_at_ns = sim_now_ns();
    for (size_t i = 0; e->take_header != NULL && i < ex->reply_field_count;
         i++) {
        char line[400];
        const int len =
            snprintf(line, sizeof(line), "%s: %s\r\n", ex->reply_fields[i].name,
                     ex->reply_fields[i].value);

        e->take_header(line, 1, (size_t)len, e->header_ctx);
    }
    return true;
}

static bool
take_piece(struct easy *e)
{
    struct sim_flow *const down = &e->exchange->down;
    size_t len = down->len - down->taken;
    char piece[PIECE_BYTES];

    if (!e->has_header || len == 0)
        return false;
    if (len > sizeof(piece))
        len = sizeof(piece);
    memcpy(piece, down->data + down->taken, len);
    down->taken += len;
    sim_yield();
    if (e->write != NULL && e->write(piece, 1, len, e->write_ctx) != len)
        end(e, CURLE_WRITE_ERROR);
    return true;
}

static bool
look_around(struct easy *e)
{
    const struct sim_exchange *const ex = e->exchange;
    const uint64_t took_ns = sim_now_ns() - e->begun_ns;

    if (ex->down.has_ended && ex->down.taken == ex->down.len && e->has_header)
        end(e, CURLE_OK);
    else if (ex->is_cut && ex->down.taken == ex->down.len)
        end(e, e->has_sent_all ? CURLE_RECV_ERROR : CURLE_SEND_ERROR);
    else if (e->timeout_ns != 0 && took_ns > e->timeout_ns)
        end(e, CURLE_OPERATION_TIMEDOUT);
    else if (e->progress != NULL && !e->is_quiet &&
             e->progress(e->progress_ctx, 0, (curl_off_t)ex->down.taken, 0,
                         (curl_off_t)ex->up.len) != 0)
        end(e, CURLE_ABORTED_BY_CALLBACK);
    return e->has_ended;
}

/* As far as it goes without waiting. */
static void
advance(struct easy *e)
{
    bool goes_on = true;

    if (!e->is_under_way)
        begin(e);
    while (goes_on && !e->has_ended) {
        e->changes = e->exchange->changes;
        goes_on = take_header(e);
        goes_on |= take_piece(e);
        if (!e->has_ended)
            goes_on |= send_piece(e);
        if (!e->has_ended)
            goes_on |= look_around(e);
    }
}

CURLcode
curl_easy_perform(CURL *curl)
{
    struct easy *const e = curl;

    advance(e);
    while (!e->has_ended) {
        if (e->changes == e->exchange->changes)
            sim_wait(e->exchange, sim_now_ns() + LOOK_AROUND_NS);
        advance(e);
    }
    return e->code;
}

CURLcode
curl_easy_pause(CURL *curl, int bitmask)
{
    struct easy *const e = curl;

    e->is_paused = bitmask != CURLPAUSE_CONT;
    return CURLE_OK;
}

/* ---- several at a time ---------------------------------------------------------- */

CURLM *
curl_multi_init(void)
{
    return ramet_calloc(1, sizeof(struct multi));
}

CURLMcode
curl_multi_cleanup(CURLM *multi)
{
    ramet_free(multi);
    return CURLM_OK;
}

CURLMcode
curl_multi_add_handle(CURLM *multi, CURL *curl)
{
    struct multi *const m = multi;
    struct easy *const e = curl;

    e->multi = m;
    e->next = m->first;
    m->first = e;
    return CURLM_OK;
}

CURLMcode
curl_multi_remove_handle(CURLM *multi, CURL *curl)
{
    struct multi *const m = multi;
    struct easy **at = &m->first;

    while (*at != NULL && *at != curl)
        at = &(*at)->next;
    if (*at != NULL)
        *at = (*at)->next;
    return CURLM_OK;
}

CURLMcode
curl_multi_perform(CURLM *multi, int *out_running)
{
    struct multi *const m = multi;

    *out_running = 0;
    sim_yield();
    for (struct easy *e = m->first; e != NULL; e = e->next) {
        if (!e->has_ended)
            advance(e);
        *out_running += !e->has_ended;
    }
    return CURLM_OK;
}

CURLMsg *
curl_multi_info_read(CURLM *multi, int *out_queued)
{
    struct multi *const m = multi;

    *out_queued = 0;
    for (struct easy *e = m->first; e != NULL; e = e->next)
        if (e->has_ended && !e->was_told) {
            e->was_told = true;
            m->message.msg = CURLMSG_DONE;
            m->message.easy_handle = e;
            m->message.data.result = e->code;
            return &m->message;
        }
    return NULL;
}

/* Whoever has several waits for the first of them: the client has one each. */
CURLMcode
curl_multi_poll(CURLM *multi, struct curl_waitfd extra[], unsigned extra_count,
                int timeout_ms, int *out_count)
{
    struct multi *const m = multi;
    const struct easy *const e = m->first;
    const struct sim_exchange *const ex = e != NULL ? e->exchange : NULL;
    const void *const object = ex != NULL ? (const void *)ex : (const void *)m;

    (void)extra;
    (void)extra_count;
    (void)out_count;
    if (!m->was_woken && (ex == NULL || e->changes == ex->changes))
        sim_wait(object, sim_now_ns() + (uint64_t)timeout_ms * MS);
    m->was_woken = false;
    return CURLM_OK;
}

CURLMcode
curl_multi_wakeup(CURLM *multi)
{
    struct multi *const m = multi;

    m->was_woken = true;
    if (m->first != NULL && m->first->exchange != NULL)
        sim_wake(m->first->exchange, true);
    sim_wake(m, true);
    return CURLM_OK;
}
