/*
 * render.c - see render.h.
 */
#include "server/render.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "core/alloc.h"

void
ramet_render_text(struct ramet_buf *out, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    int len;

    va_start(ap, fmt);
    len = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    assert(len >= 0 && (size_t)len < sizeof(text));
    ramet_buf_bytes(out, text, (size_t)len);
}

void
ramet_render_hash(const struct ramet_hash *hash, char out[33])
{
    static const char hex[] = "0123456789abcdef";

    for (unsigned i = 0; i < RAMET_HASH_SIZE; i++) {
        out[2 * i] = hex[hash->bytes[i] >> 4];
        out[2 * i + 1] = hex[hash->bytes[i] & 15];
    }
    out[32] = '\0';
}

void
ramet_render_head(struct ramet_buf *out, const struct ramet_head *head)
{
    char id[RAMET_ID_TEXT_SIZE], hash[33];

    if (head->lsn == 0) {
        ramet_render_text(out, "{\"lsn\":0}");
        return;
    }
    ramet_id_format(&head->id.id, id);
    ramet_render_hash(&head->hash, hash);
    ramet_render_text(
        out,
        "{\"lsn\":%" PRIu64
        ",\"id\":\"%s\",\"hash\":\"%s\",\"time_ms\":%" PRIu64
        ",\"kind\":\"%s\",\"page_size\":%" PRIu32 ",\"page_count\":%" PRIu32
        ",\"byte_length\":%" PRIu64 ",\"map_lsn\":%" PRIu64 "}",
        head->lsn, id, hash, head->time_ms,
        head->kind == RAMET_KIND_SQLITE ? "sqlite" : "blob", head->page_size,
        head->page_count, head->byte_length, head->map_lsn);
}

/* strftime() would use the locale's names. */
static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

void
ramet_render_date(uint64_t unix_ms, char out[32])
{
    const time_t seconds = (time_t)(unix_ms / 1000u);
    struct tm tm;

    if (gmtime_r(&seconds, &tm) == NULL) {
        out[0] = '\0';
        return;
    }
    (void)snprintf(
        out, 32, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
        day_names + 3 * ((unsigned)tm.tm_wday % 7), (unsigned)tm.tm_mday % 100,
        month_names + 3 * ((unsigned)tm.tm_mon % 12),
        ((unsigned)tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
        (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

bool
ramet_parse_date(const char *text, uint64_t *out_unix_ms)
{
    struct tm tm = {.tm_isdst = 0};
    char month[4] = "";
    const char *at;
    time_t seconds;

    if (sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &tm.tm_mday, month,
               &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6 ||
        strlen(month) != 3)
        return false;
    at = strstr(month_names, month);
    if (at == NULL || (at - month_names) % 3 != 0 || tm.tm_year < 1970)
        return false;
    tm.tm_mon = (int)(at - month_names) / 3;
    tm.tm_year -= 1900;
    seconds = timegm(&tm);
    if (seconds < 0)
        return false;
    *out_unix_ms = (uint64_t)seconds * 1000u;
    return true;
}

void
ramet_render_reply(struct ramet_http_request *rq, unsigned status,
                   const char *content_type, struct ramet_buf *buf)
{
    if (buf->failed != RAMET_OK) {
        ramet_buf_done(buf);
        ramet_render_problem(rq, buf->failed == RAMET_ETOOBIG ? 413 : 503,
                             buf->failed, "the answer does not fit into memory",
                             NULL);
        return;
    }
    ramet_http_reply(rq, status, content_type, buf->data, buf->len);
    ramet_buf_init(buf, 1); /* its block was taken */
}

static const char *
title_of(unsigned status)
{
    assert(status >= 400);
    static const struct {
        unsigned status;
        const char *title;
    } titles[] = {
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {422, "Unprocessable Content"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++) {
        if (titles[i].status == status)
            return titles[i].title;
    }
    return "Error";
}

static void
reply_json(struct ramet_http_request *rq, unsigned status, json_t *json)
{
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;

    if (text != NULL)
        ramet_http_reply_text(rq, status, RAMET_TYPE_PROBLEM, text);
    else
        ramet_http_reply(rq, 503, NULL, NULL, 0);
    free(text); /* jansson's */
    json_decref(json);
}

/* Whoever wrote the text may have quoted bytes that are no UTF-8. */
static json_t *
text_value(const char *text)
{
    char clean[RAMET_ERR_TEXT_MAX];
    json_t *value = json_string(text);
    size_t n = 0;

    assert(text != NULL);
    if (value != NULL)
        return value;
    for (; text[n] != '\0' && n + 1 < sizeof(clean); n++)
        clean[n] = (char)((unsigned char)text[n] < 128 ? text[n] : '?');
    clean[n] = '\0';
    return json_string(clean);
}

static json_t *
problem(unsigned status, enum ramet_rc rc, const char *detail, const char *hint)
{
    json_t *json =
        json_pack("{s:s, s:s, s:i, s:s, s:o}", "type", "about:blank", "title",
                  title_of(status), "status", (int)status, "code",
                  ramet_rc_name(rc), "detail", text_value(detail));

    assert(detail != NULL);
    if (json != NULL && hint != NULL)
        (void)json_object_set_new(json, "hint", json_string(hint));
    return json;
}

void
ramet_render_problem(struct ramet_http_request *rq, unsigned status,
                     enum ramet_rc rc, const char *detail, const char *hint)
{
    if (status == 429 || status == 503)
        ramet_http_set_header(rq, "Retry-After", "1");
    if (status == 401)
        ramet_http_set_header(rq, "WWW-Authenticate", "Bearer realm=\"ramet\"");
    ramet_http_set_header(rq, "Cache-Control", "no-store");
    reply_json(rq, status, problem(status, rc, detail, hint));
}

void
ramet_render_conflict(struct ramet_http_request *rq, const char *detail,
                      const struct ramet_head *head)
{
    json_t *json = problem(409, RAMET_ECONFLICT, detail,
                           "pull, then commit on top of the newest LSN");
    struct ramet_buf buf;

    assert(head != NULL);
    ramet_buf_init(&buf, 1024);
    ramet_render_head(&buf, head);
    if (json != NULL && buf.failed == RAMET_OK)
        (void)json_object_set_new(
            json, "head", json_loadb((const char *)buf.data, buf.len, 0, NULL));
    ramet_buf_done(&buf);
    ramet_http_set_header(rq, "Cache-Control", "no-store");
    reply_json(rq, 409, json);
}

unsigned
ramet_status_of(enum ramet_rc rc, bool from_client)
{
    switch (rc) {
    case RAMET_OK:
        return 200;
    case RAMET_EINVAL:
        return 400;
    case RAMET_EAUTH:
    case RAMET_EREADONLY:
        return 403;
    case RAMET_ENOTFOUND:
        return 404;
    case RAMET_EEXIST:
    case RAMET_EBUSY:
    case RAMET_ESNAPSHOT:
    case RAMET_ECONFLICT:
    case RAMET_EDIVERGED:
    case RAMET_EFOREIGN:
        return 409;
    case RAMET_ETOOBIG:
        return 413;
    case RAMET_ECORRUPT:
        return from_client ? 422 : 500;
    case RAMET_EIO:
    case RAMET_EFORKED:
        return 500;
    case RAMET_EWENTBACK: /* a client may know more than there is here */
        return from_client ? 409 : 500;
    case RAMET_ECLOCK:
    case RAMET_EREFUSED:
        return 422;
    case RAMET_EVERSION:
        return 501;
    case RAMET_ENOMEM:
    case RAMET_EUNREACHABLE:
    case RAMET_ECANCELLED:
        return 503;
    case RAMET_ETIMEOUT:
    case RAMET_EUNKNOWN:
        return 504;
    case RAMET_EFULL:
        return 507;
    }
    return 500;
}

static const char *
hint_for(enum ramet_rc rc, bool from_client)
{
    if (rc == RAMET_ECORRUPT && !from_client)
        return "the store holds damaged bytes: run `ramet verify` on it";
    if (rc == RAMET_EUNKNOWN || rc == RAMET_ETIMEOUT)
        return "it may have landed: send the very same bytes again";
    if (rc == RAMET_EFULL)
        return "the server's store is full; nothing was written";
    if (rc == RAMET_EVERSION)
        return "a later version of Ramet wrote this: upgrade the server";
    return NULL;
}

void
ramet_render_failure(struct ramet_http_request *rq, enum ramet_rc rc,
                     const struct ramet_err *err, bool from_client)
{
    assert(rc != RAMET_OK);
    ramet_render_problem(rq, ramet_status_of(rc, from_client), rc, err->text,
                         hint_for(rc, from_client));
}
