/*
 * http_request.c - what a handler may ask of a request; see http.h.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/decimal.h"
#include "core/show.h"
#include "server/http_impl.h"

/* Decodes in place. What is no escape, or one of NUL, '/' or a control
 * character, stays as it is: no name can look like that, so it is refused. */
size_t
ramet_http_unescape(char *text)
{
    char *out = text;

    for (const char *in = text; *in != '\0';) {
        if (in[0] == '%' && ramet_hex_digit(in[1]) >= 0 &&
            ramet_hex_digit(in[2]) >= 0) {
            const int c = ramet_hex_digit(in[1]) * 16 + ramet_hex_digit(in[2]);

            if (c >= ' ' && c != '/' && c != 127) {
                *out++ = (char)c;
                in += 3;
                continue;
            }
        }
        *out++ = *in++;
    }
    *out = '\0';
    assert(*out == '\0' && out >= text);
    return (size_t)(out - text);
}

enum ramet_http_method
ramet_http_method_of(const struct ramet_http_request *rq)
{
    return rq->method;
}

const char *
ramet_http_method_name(const struct ramet_http_request *rq)
{
    return rq->method_name;
}

const char *
ramet_http_path(const struct ramet_http_request *rq)
{
    return rq->path;
}

const char *
ramet_http_header(const struct ramet_http_request *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->mhd, MHD_HEADER_KIND, name);
}

const char *
ramet_http_query(const struct ramet_http_request *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->mhd, MHD_GET_ARGUMENT_KIND, name);
}

void
ramet_http_peer(const struct ramet_http_request *rq, char *out, size_t out_size)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(rq->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *addr = info != NULL ? info->client_addr : NULL;
    const void *bytes = NULL;

    assert(out_size > 0);
    out[0] = '\0';
    if (addr != NULL && addr->sa_family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)addr)->sin_addr;
    else if (addr != NULL && addr->sa_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
    if (bytes != NULL)
        (void)inet_ntop(addr->sa_family, bytes, out, (socklen_t)out_size);
}

void
ramet_http_set_client(struct ramet_http_request *rq, uint32_t client)
{
    assert(rq->body_accounted == 0 && rq->reply_accounted == 0);
    rq->client = client;
}

void
ramet_http_set_user(struct ramet_http_request *rq, void *user)
{
    assert(rq->user == NULL);
    rq->user = user;
}

void *
ramet_http_user(const struct ramet_http_request *rq)
{
    return rq->user;
}

uint64_t
ramet_http_received(const struct ramet_http_request *rq)
{
    return rq->body_seen;
}

uint64_t
ramet_http_content_length(const struct ramet_http_request *rq)
{
    const char *text = ramet_http_header(rq, "Content-Length");
    char *end;
    unsigned long long value;

    if (text == NULL || text[0] < '0' || text[0] > '9')
        return UINT64_MAX;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0')
        return UINT64_MAX;
    return value;
}

void
ramet_http_suspend(struct ramet_http_request *rq)
{
    assert(!rq->suspended);
    rq->suspended = true;
    MHD_suspend_connection(rq->mhd);
}

void
ramet_http_reply_too_large(struct ramet_http_request *rq)
{
    ramet_http_reply_text(rq, 413, "application/problem+json",
                          "{\"type\":\"about:blank\",\"title\":\"Content Too "
                          "Large\",\"status\":413,\"code\":\"toobig\","
                          "\"detail\":\"the body is larger than this request "
                          "may have\"}");
}

void
ramet_http_reply_malformed(struct ramet_http_request *rq, const char *detail)
{
    char quoted[200], text[400];

    (void)ramet_show_text(RAMET_SHOW_QUOTED, detail, strlen(detail), quoted,
                          sizeof(quoted));
    (void)snprintf(text, sizeof(text),
                   "{\"type\":\"about:blank\",\"title\":\"Bad Request\","
                   "\"status\":400,\"code\":\"invalid\",\"detail\":\"%s\"}",
                   quoted);
    ramet_http_reply_text(rq, 400, "application/problem+json", text);
}

void
ramet_http_want_body(struct ramet_http_request *rq, size_t max)
{
    assert(rq->body_mode == BODY_NONE && max > 0);
    rq->body_mode = BODY_BUFFER;
    rq->body_max = max;
    ramet_buf_init(&rq->body, max);
    if (ramet_http_content_length(rq) != UINT64_MAX &&
        ramet_http_content_length(rq) > max)
        ramet_http_reply_too_large(rq);
}

const uint8_t *
ramet_http_body(const struct ramet_http_request *rq, size_t *out_len)
{
    *out_len = rq->body.len;
    return rq->body.data;
}

static void
run_deferred(struct ramet_job *job)
{
    struct ramet_http_request *rq =
        (void *)((char *)job - offsetof(struct ramet_http_request, job));
    struct MHD_Connection *mhd = rq->mhd;

    assert(rq->deferred != NULL && rq->response == NULL);
    rq->deferred(rq);
    assert(rq->response != NULL);
    MHD_resume_connection(mhd);
}

void
ramet_http_defer(struct ramet_http_request *rq,
                 void (*fn)(struct ramet_http_request *rq))
{
    assert(rq->response == NULL);
    rq->deferred = fn;
    rq->job.run = run_deferred;
    ramet_http_suspend(rq);
    if (ramet_work_admit(rq->http->work, &rq->job))
        return;
    ramet_http_set_header(rq, "Retry-After", "1");
    ramet_http_reply_text(rq, 429, "application/problem+json",
                          "{\"type\":\"about:blank\",\"title\":\"Too Many "
                          "Requests\",\"status\":429,\"code\":\"busy\","
                          "\"detail\":\"the server's queue is full\","
                          "\"hint\":\"try again in a second\"}");
    MHD_resume_connection(rq->mhd);
}
