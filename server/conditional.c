/*
 * conditional.c - see conditional.h.
 */
#include "server/conditional.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

bool
ramet_api_etag_matches(const char *header, const char *etag)
{
    const size_t len = strlen(etag);

    assert(header != NULL && len > 0);
    while (*header != '\0') {
        while (*header == ' ' || *header == ',' || *header == '\t')
            header++;
        if (header[0] == '*')
            return true;
        if (header[0] == 'W' && header[1] == '/')
            header += 2;
        if (strncmp(header, etag, len) == 0 &&
            (header[len] == '\0' || header[len] == ',' || header[len] == ' '))
            return true;
        while (*header != '\0' && *header != ',')
            header++;
    }
    return false;
}

bool
ramet_api_offset(const char **text, uint64_t *out)
{
    uint64_t value = 0;
    bool any = false;

    for (; **text >= '0' && **text <= '9'; (*text)++, any = true) {
        const unsigned digit = (unsigned)(**text - '0');

        value =
            value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *out = value;
    return any;
}

enum range_answer
ramet_api_range(const char *header, uint64_t total, struct byte_range *out)
{
    uint64_t first, last = UINT64_MAX;

    *out = (struct byte_range){0, total, total};
    if (strncmp(header, "bytes=", 6) != 0)
        return RANGE_WHOLE;
    header += 6;
    if (*header == '-') { /* the last so many bytes */
        header++;
        if (!ramet_api_offset(&header, &last) || *header != '\0')
            return RANGE_WHOLE;
        if (last == 0 || total == 0)
            return RANGE_BAD;
        out->length = last < total ? last : total;
        out->offset = total - out->length;
        return RANGE_PART;
    }
    if (!ramet_api_offset(&header, &first) || *header != '-')
        return RANGE_WHOLE;
    header++;
    if (*header != '\0' && (!ramet_api_offset(&header, &last) || last < first))
        return RANGE_WHOLE;
    if (*header != '\0') /* several ranges, or nonsense: all of it */
        return RANGE_WHOLE;
    if (first >= total)
        return RANGE_BAD;
    assert(first < total && first <= last);
    out->offset = first;
    out->length = last >= total ? total - first : last - first + 1;
    return RANGE_PART;
}

static bool
is_not_modified(struct call *call, const char *etag, uint64_t modified_ms)
{
    const char *match = ramet_http_header(call->rq, "If-None-Match");
    const char *since = ramet_http_header(call->rq, "If-Modified-Since");
    uint64_t since_ms;

    assert(etag != NULL);
    if (match != NULL)
        return ramet_api_etag_matches(match, etag);
    return since != NULL && modified_ms > 0 &&
           ramet_parse_date(since, &since_ms) &&
           modified_ms / 1000u <= since_ms / 1000u;
}

/* If-Range: the range counts only if this is still what it was cut from. */
static bool
range_counts(struct call *call, const char *etag, uint64_t modified_ms)
{
    const char *condition = ramet_http_header(call->rq, "If-Range");
    uint64_t date_ms;

    assert(etag != NULL);
    if (condition == NULL)
        return true;
    if (condition[0] == '"')
        return strcmp(condition, etag) == 0;
    return modified_ms > 0 && ramet_parse_date(condition, &date_ms) &&
           date_ms / 1000u == modified_ms / 1000u;
}

bool
ramet_api_select(struct call *call, const char *etag, uint64_t modified_ms,
                 uint64_t total, struct byte_range *out, unsigned *out_status)
{
    const char *header = ramet_http_header(call->rq, "Range");
    enum range_answer answer = RANGE_WHOLE;
    char text[96];

    *out = (struct byte_range){0, total, total};
    ramet_http_set_header(call->rq, "Accept-Ranges", "bytes");
    if (is_not_modified(call, etag, modified_ms)) {
        ramet_http_reply(call->rq, 304, NULL, NULL, 0);
        return false;
    }
    if (header != NULL && range_counts(call, etag, modified_ms))
        answer = ramet_api_range(header, total, out);
    if (answer == RANGE_BAD) {
        (void)snprintf(text, sizeof(text), "bytes */%" PRIu64, total);
        ramet_http_set_header(call->rq, "Content-Range", text);
        ramet_render_problem(call->rq, 416, RAMET_EINVAL,
                             "the range begins past the end", NULL);
        return false;
    }
    assert(out->offset + out->length <= total);
    *out_status = answer == RANGE_PART ? 206 : 200;
    if (answer == RANGE_PART) {
        (void)snprintf(text, sizeof(text),
                       "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, out->offset,
                       out->offset + out->length - 1, total);
        ramet_http_set_header(call->rq, "Content-Range", text);
    }
    return true;
}

void
ramet_api_immutable(struct call *call, const char *etag)
{
    ramet_http_set_header(call->rq, "Cache-Control",
                          ramet_tokens_required(call->server->tokens)
                              ? "private, max-age=31536000, immutable"
                              : "public, max-age=31536000, immutable");
    ramet_http_set_header(call->rq, "ETag", etag);
}
