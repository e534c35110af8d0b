/*
 * api_content.c - a volume as one file for any HTTP client.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "server/conditional.h"
#include "server/server_impl.h"

/* ---- content -------------------------------------------------------------------- */

#define CONTENT_HELD 1024u

struct content {
    struct ramet_server *server;
    struct ramet_open_volume *vol;
    struct ramet_head head;
    uint64_t offset, left;
};

struct filling {
    const struct content *content;
    uint8_t *room;
    size_t len;
};

static enum ramet_rc
place_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct filling *filling = ctx;
    const struct content *content = filling->content;
    const uint32_t page_size = content->head.page_size;
    const uint64_t begin = (uint64_t)(pgno - 1) * page_size;
    const uint64_t end = content->offset + filling->len;
    const uint64_t from = begin > content->offset ? begin : content->offset;
    const uint64_t to = begin + page_size < end ? begin + page_size : end;

    assert(pgno > 0);
    (void)err;
    assert(from < to);
    memcpy(filling->room + (from - content->offset), page + (from - begin),
           (size_t)(to - from));
    return RAMET_OK;
}

static enum ramet_rc
produce_content(void *state, struct ramet_buf *out, bool *out_done,
                struct ramet_err *err)
{
    struct content *content = state;
    const struct ramet_point at = ramet_head_point(&content->head);
    const uint32_t page_size = content->head.page_size;
    const size_t len = content->left < RAMET_HTTP_STREAM_BYTES
                           ? (size_t)content->left
                           : RAMET_HTTP_STREAM_BYTES;
    uint32_t pgnos[RAMET_HTTP_STREAM_BYTES / RAMET_PAGE_SIZE_MIN + 1];
    struct filling filling = {.content = content, .len = len};
    const uint64_t first = content->offset / page_size;
    const uint64_t last = (content->offset + len - 1) / page_size;
    size_t count = 0;
    enum ramet_rc rc;

    assert(len > 0);
    filling.room = ramet_buf_extend(out, len);
    if (filling.room == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "content: out of memory");
    for (uint64_t page = first; page <= last; page++)
        pgnos[count++] = (uint32_t)(page + 1);
    rc = ramet_history_read_pages(ramet_open_volume_history(content->vol), &at,
                                  pgnos, count, false, place_page, &filling,
                                  err);
    if (rc != RAMET_OK)
        (void)ramet_api_note_loss(content->server,
                                  ramet_open_volume_id(content->vol), &rc, err);
    content->offset += len;
    content->left -= len;
    *out_done = content->left == 0;
    return rc;
}

static void
free_content(void *state)
{
    struct content *content = state;

    ramet_open_volume_put(content->vol);
    ramet_free(content);
}

static const struct ramet_http_stream_ops content_ops = {
    .produce = produce_content, .free = free_content};

/* "2026-11-23T10:00:00Z", fractions allowed. */
static bool
parse_time(const char *text, uint64_t *out_unix_ms)
{
    struct tm tm = {.tm_isdst = 0};
    int used = 0;
    unsigned ms = 0;
    time_t seconds;

    assert(text != NULL && out_unix_ms != NULL);
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon,
               &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &used) != 6)
        return false;
    text += used;
    if (*text == '.') {
        unsigned scale = 100;

        for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10)
            ms += (unsigned)(*text - '0') * scale;
    }
    if (strcmp(text, "Z") != 0 || tm.tm_year < 1970 || tm.tm_mon < 1 ||
        tm.tm_mon > 12)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    seconds = timegm(&tm);
    if (seconds < 0)
        return false;
    *out_unix_ms = (uint64_t)seconds * 1000u + ms;
    return true;
}

/* What `at` says: an LSN, a time, or the newest. */
static enum ramet_rc
find_snapshot(struct call *call, struct ramet_history *history,
              struct ramet_head *out_head, bool *out_fixed,
              struct ramet_err *err)
{
    const char *at = ramet_http_query(call->rq, "at");
    uint64_t value;
    const char *end = at;
    enum ramet_rc rc;

    assert(out_head != NULL && out_fixed != NULL);
    *out_fixed = false;
    if (at == NULL)
        rc = ramet_history_newest(history, out_head, err);
    else if (ramet_api_offset(&end, &value) && *end == '\0') {
        *out_fixed = true;
        rc = value == 0 ? RAMET_FAIL(err, RAMET_ENOTFOUND, "LSN 0 is empty")
                        : ramet_history_head(history, value, out_head, err);
    } else if (parse_time(at, &value))
        rc = ramet_history_at_time(history, value, out_head, err);
    else
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "at: an LSN, or a time like 2026-11-23T10:00:00Z");
    if (rc == RAMET_OK && out_head->lsn == 0)
        rc = RAMET_FAIL(err, RAMET_ENOTFOUND, "\"%s\" has no commit %s",
                        call->name, at != NULL ? "so early" : "yet");
    return rc;
}

static void
describe(struct call *call, const struct ramet_head *head, bool fixed,
         char etag[40])
{
    char hash[33], text[32];

    assert(head->lsn > 0);
    ramet_render_hash(&head->hash, hash);
    (void)snprintf(etag, 40, "\"%s\"", hash);
    if (fixed) {
        ramet_api_immutable(call, etag);
    } else {
        ramet_http_set_header(call->rq, "Cache-Control", "no-cache");
        ramet_http_set_header(call->rq, "ETag", etag);
    }
    ramet_render_date(head->time_ms, text);
    ramet_http_set_header(call->rq, "Last-Modified", text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, head->lsn);
    ramet_http_set_header(call->rq, "Ramet-Lsn", text);
}

static void
send_content(struct call *call, struct content *content, unsigned status)
{
    const char *type = content->head.kind == RAMET_KIND_SQLITE
                           ? "application/vnd.sqlite3"
                           : RAMET_TYPE_OBJECT;
    const uint64_t length = content->left;
    struct ramet_buf buf;
    struct ramet_err err;
    bool done = length == 0;
    enum ramet_rc rc = RAMET_OK;

    assert(content->vol != NULL);
    assert(content->offset + content->left <= content->head.byte_length);
    if (length > RAMET_HTTP_STREAM_BYTES ||
        ramet_http_method_of(call->rq) == RAMET_HTTP_HEAD) {
        const struct ramet_http_stream stream = {
            .ops = &content_ops, .state = content, .state_bytes = CONTENT_HELD};

        ramet_http_reply_stream(call->rq, status, type, length, &stream);
        return;
    }
    /* In one piece, so that a failure still has its own status. */
    ramet_buf_init(&buf, RAMET_HTTP_STREAM_BYTES);
    if (!done)
        rc = produce_content(content, &buf, &done, &err);
    if (rc == RAMET_OK) {
        ramet_render_reply(call->rq, status, type, &buf);
    } else {
        ramet_buf_done(&buf);
        ramet_api_failed(call, NULL, rc, &err);
    }
    free_content(content);
}

void
ramet_api_content(struct call *call)
{
    struct content *content = ramet_calloc(1, sizeof(*content));
    struct ramet_open_volume *vol = ramet_api_open_volume(call);
    struct byte_range range;
    struct ramet_err err;
    unsigned status;
    char etag[40];
    bool fixed;
    enum ramet_rc rc;

    if (vol == NULL || content == NULL) {
        if (vol != NULL)
            ramet_render_problem(call->rq, 503, RAMET_ENOMEM, "out of memory",
                                 NULL);
        ramet_free(content);
        ramet_open_volume_put(vol);
        return;
    }
    content->server = call->server;
    content->vol = vol;
    rc = find_snapshot(call, ramet_open_volume_history(vol), &content->head,
                       &fixed, &err);
    if (rc != RAMET_OK) {
        ramet_api_failed(call, &call->volume, rc, &err);
        free_content(content);
        return;
    }
    describe(call, &content->head, fixed, etag);
    if (!ramet_api_select(call, etag, content->head.time_ms,
                          content->head.byte_length, &range, &status)) {
        free_content(content);
        return;
    }
    content->offset = range.offset;
    content->left = range.length;
    send_content(call, content, status);
}
