/*
 * exchange.c - see exchange.h.
 */
#include "pagestore/s3/exchange.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "core/decimal.h"
#include "core/os.h"
#include "core/waiting.h"

/* Shorter than servers keep idle connections. */
#define IDLE_REUSE_S 20L
#define ERROR_BODY_MAX (64u << 10)

/* ---- bodies ------------------------------------------------------------------ */

/* Room for all of the body at once, where its length is said: growing by doubling
 * would copy it once more. */
static void
make_room(struct ramet_s3_exchange *x)
{
    curl_off_t length = 0;

    assert(x->easy != NULL && x->answer.failed == RAMET_OK);
    if (x->answer.capacity == 0 &&
        curl_easy_getinfo(x->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T,
                          &length) == CURLE_OK &&
        length > 0 && (uint64_t)length <= x->answer.max &&
        ramet_buf_extend(&x->answer, (size_t)length) != NULL)
        x->answer.len = 0;
}

static bool
goes_into(const struct ramet_s3_exchange *x)
{
    long status = 0;

    assert(x->into_len == 0 || x->answer.len == 0);
    if (x->into == NULL || x->answer.len > 0)
        return false;
    return x->into_len > 0 ||
           (curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status) ==
                CURLE_OK &&
            status == 206);
}

static size_t
take_body(char *data, size_t size, size_t count, void *ctx)
{
    struct ramet_s3_exchange *const x = ctx;

    if (goes_into(x)) {
        x->too_big = size * count > x->answer_max - x->into_len;
        if (x->too_big)
            return 0;
        memcpy((char *)x->into + x->into_len, data, size * count);
        x->into_len += size * count;
        return size * count;
    }
    make_room(x);
    ramet_buf_bytes(&x->answer, data, size * count);
    assert(x->answer.len <= x->answer.max);
    x->too_big = x->answer.failed == RAMET_ETOOBIG;
    return x->answer.failed == RAMET_OK ? size * count : 0;
}

static size_t
give_body(char *out, size_t size, size_t count, void *ctx)
{
    struct ramet_s3_exchange *const x = ctx;
    size_t room = size * count, n = 0;

    assert(x->part <= x->part_count && x->sent <= x->body_bytes);
    while (room > 0 && x->part < x->part_count) {
        const struct iovec *const part = &x->parts[x->part];
        const size_t left = part->iov_len - x->part_pos;
        const size_t len = left < room ? left : room;

        if (len > 0)
            memcpy(out + n, (const char *)part->iov_base + x->part_pos, len);
        n += len;
        room -= len;
        x->part_pos += len;
        if (x->part_pos == part->iov_len) {
            x->part++;
            x->part_pos = 0;
        }
    }
    assert(n <= size * count);
    x->sent += n;
    return n;
}

/* From the start only: a connection that had died is replaced. */
static int
rewind_body(void *ctx, curl_off_t offset, int origin)
{
    struct ramet_s3_exchange *const x = ctx;

    assert(x->part <= x->part_count);
    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    x->part = 0;
    x->part_pos = 0;
    x->sent = 0;
    return CURL_SEEKFUNC_OK;
}

/* ---- headers ----------------------------------------------------------------- */

/* The value of a header line if it is `name`'s, without blanks around. */
static bool
header_is(const char *line, size_t len, const char *name, char *out,
          size_t out_size)
{
    const size_t name_len = strlen(name);
    const char *from = line + name_len + 1;

    assert(name_len > 0 && out_size > 0);
    if (len <= name_len || strncasecmp(line, name, name_len) != 0 ||
        line[name_len] != ':')
        return false;
    while (from < line + len && (*from == ' ' || *from == '\t'))
        from++;
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n' ||
                       line[len - 1] == ' '))
        len--;
    if (from > line + len || (size_t)(line + len - from) >= out_size)
        return false;
    memcpy(out, from, (size_t)(line + len - from));
    out[line + len - from] = '\0';
    return true;
}

static void
take_retry_after(struct ramet_s3_exchange *x, const char *value)
{
    const struct ramet_os *const os = ramet_os_system();
    uint64_t seconds;
    time_t when;

    if (ramet_decimal_parse(value, &seconds)) {
        x->retry_after_ms = seconds < 3600 ? seconds * 1000 : 3600000;
        return;
    }
    when = curl_getdate(value, NULL);
    if (when > 0 && (uint64_t)when * 1000 > os->wall_ms(os->ctx))
        x->retry_after_ms = (uint64_t)when * 1000 - os->wall_ms(os->ctx);
}

static size_t
take_header(char *line, size_t size, size_t count, void *ctx)
{
    struct ramet_s3_exchange *const x = ctx;
    const size_t len = size * count;
    char value[RAMET_S3_HEADER_MAX];
    const char *slash;

    if (header_is(line, len, "content-range", value, sizeof(value))) {
        slash = strchr(value, '/');
        x->has_total =
            slash != NULL && ramet_decimal_parse(slash + 1, &x->total);
    } else if (strcmp(x->method, "HEAD") == 0 &&
               header_is(line, len, "content-length", value, sizeof(value))) {
        x->has_total = ramet_decimal_parse(value, &x->total);
    } else if (header_is(line, len, "retry-after", value, sizeof(value))) {
        take_retry_after(x, value);
    } else if (header_is(line, len, "date", value, sizeof(value))) {
        const time_t seconds = curl_getdate(value, NULL);

        x->date_ms = seconds > 0 ? (int64_t)seconds * 1000 : 0;
    } else if (!header_is(line, len, "etag", x->etag, sizeof(x->etag)) &&
               !header_is(line, len, "x-amz-bucket-region", x->region,
                          sizeof(x->region))) {
        (void)header_is(line, len, "x-amz-request-id", x->request_id,
                        sizeof(x->request_id));
    }
    return len;
}

/* ---- begin and end ----------------------------------------------------------- */

static void
set_up_body(struct ramet_s3_exchange *x, CURL *easy)
{
    const bool has_body =
        strcmp(x->method, "PUT") == 0 || strcmp(x->method, "POST") == 0;

    assert(x->body_bytes == 0 && x->part_count >= 0);
    for (int i = 0; i < x->part_count; i++)
        x->body_bytes += x->parts[i].iov_len;
    if (!has_body)
        return;
    (void)curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                           (curl_off_t)x->body_bytes);
    (void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
    (void)curl_easy_setopt(easy, CURLOPT_READDATA, x);
    (void)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, rewind_body);
    (void)curl_easy_setopt(easy, CURLOPT_SEEKDATA, x);
    (void)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
}

void
ramet_s3_exchange_set_up(struct ramet_s3_exchange *x, CURL *easy)
{
    const size_t answer_max =
        x->answer_max > ERROR_BODY_MAX ? x->answer_max : ERROR_BODY_MAX;

    assert(x->method != NULL && x->url != NULL && x->easy == NULL);
    ramet_buf_init(&x->answer, answer_max);
    set_up_body(x, easy);
    (void)curl_easy_setopt(easy, CURLOPT_URL, x->url);
    (void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, x->method);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, x->headers);
    if (strcmp(x->method, "HEAD") == 0)
        (void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, x);
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS);
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "ramet/0.1");
    (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                           (long)x->connect_timeout_ms);
    (void)curl_easy_setopt(
        easy, CURLOPT_TIMEOUT_MS,
        (long)ramet_patience_total_ms(x->stall_timeout_ms,
                                      x->body_bytes + x->answer_max));
    (void)curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, IDLE_REUSE_S);
    (void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 256L << 10);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
    if (x->ca_file != NULL)
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, x->ca_file);
    if (x->direct)
        (void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
}

void
ramet_s3_exchange_note_end(struct ramet_s3_exchange *x, CURLcode code,
                           uint64_t now_ms)
{
    curl_off_t connected = 0;
    long status = 0;

    assert(x->easy != NULL && !x->done);
    assert(now_ms >= atomic_load(&x->began_ms));
    x->code = code;
    (void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(x->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
    x->status = (unsigned)status;
    x->connected = connected > 0;
    x->sent_all = x->connected && x->sent == x->body_bytes;
    x->duration_ms = now_ms - atomic_load(&x->began_ms);
}

bool
ramet_s3_exchange_only_reads(const struct ramet_s3_exchange *x)
{
    assert(x->method != NULL);
    return strcmp(x->method, "GET") == 0 || strcmp(x->method, "HEAD") == 0;
}

size_t
ramet_s3_exchange_received(const struct ramet_s3_exchange *x)
{
    assert(x->into_len == 0 || x->answer.len == 0);
    return x->into_len + x->answer.len;
}

uint64_t
ramet_s3_exchange_moved(const struct ramet_s3_exchange *x)
{
    curl_off_t up = 0, down = 0;

    assert(x->easy != NULL);
    (void)curl_easy_getinfo(x->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    (void)curl_easy_getinfo(x->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    return (uint64_t)up + (uint64_t)down;
}
