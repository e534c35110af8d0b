/*
 * pages.c - see pages.h.
 */
#include "server/pages.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"

static enum ramet_rc
decode_runs(struct ramet_reader *in, struct ramet_pages_request *out,
            struct ramet_err *err)
{
    int64_t previous = 0;

    for (uint32_t i = 0; i < out->run_count; i++) {
        const uint64_t zigzag = ramet_read_varint_max(in, UINT64_C(1) << 34);
        const uint64_t extra = ramet_read_varint_max(in, RAMET_PAGES_MAX - 1);
        const int64_t delta = (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
        const int64_t first = previous + 1 + delta;

        if (in->bad || first < 1 || first + (int64_t)extra > UINT32_MAX)
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "pages: run %" PRIu32 " is not a run", i);
        if (extra + 1 > RAMET_PAGES_MAX - out->page_count)
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "pages: more than %u pages at once",
                              RAMET_PAGES_MAX);
        out->runs[i].first = (uint32_t)first;
        out->runs[i].last = (uint32_t)(first + (int64_t)extra);
        out->page_count += (uint32_t)extra + 1;
        previous = first + (int64_t)extra;
    }
    return RAMET_OK;
}

static void
read_hash(struct ramet_reader *in, struct ramet_hash *out)
{
    const uint8_t *bytes = ramet_read_bytes(in, RAMET_HASH_SIZE);

    if (bytes != NULL)
        memcpy(out->bytes, bytes, RAMET_HASH_SIZE);
}

enum ramet_rc
ramet_pages_decode(const uint8_t *data, size_t len,
                   struct ramet_pages_request *out, struct ramet_err *err)
{
    struct ramet_pages_request request = {.flags = 0};
    struct ramet_reader in;
    uint8_t version;
    enum ramet_rc rc;

    ramet_reader_init(&in, data, len);
    version = ramet_read_u8(&in);
    request.flags = ramet_read_u8(&in);
    request.at.lsn = ramet_read_varint(&in);
    if ((request.flags & RAMET_PAGES_HASH) != 0)
        read_hash(&in, &request.at.hash);
    request.run_count =
        (uint32_t)ramet_read_varint_max(&in, RAMET_PAGES_RUNS_MAX);
    /* A run takes two bytes at least. */
    if (in.bad || version != 1 || request.flags > 31 || request.at.lsn == 0 ||
        request.run_count == 0 ||
        request.run_count > ramet_reader_left(&in) / 2)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "pages: the request does not begin as version 1");
    request.runs = ramet_calloc(request.run_count, sizeof(*request.runs));
    if (request.runs == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    rc = decode_runs(&in, &request, err);
    if (rc == RAMET_OK && (request.flags & RAMET_PAGES_METADATA) != 0 &&
        request.page_count > RAMET_PAGES_WITH_METADATA_MAX)
        rc = RAMET_FAIL(err, RAMET_EINVAL,
                        "pages: at most %u at once with metadata",
                        RAMET_PAGES_WITH_METADATA_MAX);
    if (rc == RAMET_OK && ramet_reader_left(&in) > 0)
        rc = RAMET_FAIL(err, RAMET_EINVAL, "pages: bytes after the last run");
    if (rc == RAMET_OK)
        *out = request;
    else
        ramet_free(request.runs);
    return rc;
}

/* A page number at *text, which is moved behind it; 0: there is none. */
static uint32_t
read_pgno(const char **text)
{
    uint64_t value = 0;

    while (**text >= '0' && **text <= '9' && value <= UINT32_MAX)
        value = value * 10 + (uint64_t)(*(*text)++ - '0');
    return value <= UINT32_MAX ? (uint32_t)value : 0;
}

/* "3-5,9" */
static bool
read_known(const char *text, uint32_t *out, uint32_t *out_count)
{
    *out_count = 0;
    if (text == NULL || *text == '\0')
        return true;
    for (;; text++) {
        const uint32_t first = read_pgno(&text);
        uint32_t last = first;

        if (*text == '-') {
            text++;
            last = read_pgno(&text);
        }
        if (first == 0 || last < first ||
            last - first >= RAMET_PAGES_KNOWN_MAX - *out_count ||
            (*text != ',' && *text != '\0'))
            return false;
        for (uint32_t i = 0; i <= last - first; i++)
            out[(*out_count)++] = first + i;
        if (*text == '\0')
            return true;
    }
}

enum ramet_rc
ramet_pages_decode_known(const char *has, const char *comes,
                         struct ramet_pages_request *request,
                         struct ramet_err *err)
{
    struct ramet_pages_known *known;

    assert(request->known == NULL);
    if (has == NULL && comes == NULL)
        return RAMET_OK;
    known = ramet_alloc(sizeof(*known));
    if (known == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    request->known = known;
    if (read_known(has, known->here, &known->here_count) &&
        read_known(comes, known->coming, &known->coming_count))
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_EINVAL,
                      "query parameters has and comes: runs of at most %u "
                      "pages, as in 3-5,9",
                      RAMET_PAGES_KNOWN_MAX);
}

void
ramet_pages_request_done(struct ramet_pages_request *request)
{
    ramet_free(request->runs);
    ramet_free(request->known);
    request->runs = NULL;
    request->known = NULL;
}

static bool
parse_hex16(const char *text, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 16; i++) {
        const char c = text[i];
        unsigned digit;

        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (unsigned)(c - 'a') + 10;
        else
            return false;
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

/* volumes/<36>/commits/<16>, …/maps/<16>.<36>, …/segments/<36> */
bool
ramet_range_of_key(const char *key, uint64_t offset,
                   struct ramet_object_range *out)
{
    char id[RAMET_ID_TEXT_SIZE];
    const char *rest;

    *out = (struct ramet_object_range){.offset = offset};
    if (strncmp(key, "volumes/", 8) != 0 || strlen(key) < 8 + 37)
        return false;
    memcpy(id, key + 8, 36);
    id[36] = '\0';
    rest = key + 8 + 36;
    if (!ramet_id_parse(id, &out->volume.id))
        return false;
    if (strncmp(rest, "/segments/", 10) == 0)
        return ramet_id_parse(rest + 10, &out->id);
    if (strncmp(rest, "/commits/", 9) == 0 && strlen(rest) == 9 + 16) {
        out->object = 1;
        if (!parse_hex16(rest + 9, &out->lsn))
            return false;
        out->lsn = UINT64_MAX - out->lsn;
        return true;
    }
    if (strncmp(rest, "/maps/", 6) == 0 && strlen(rest) == 6 + 16 + 1 + 36) {
        out->object = 2;
        return parse_hex16(rest + 6, &out->lsn) && rest[22] == '.' &&
               ramet_id_parse(rest + 23, &out->id);
    }
    return false;
}

void
ramet_range_key(const struct ramet_object_range *range, char out[RAMET_KEY_MAX])
{
    char volume[RAMET_ID_TEXT_SIZE], id[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&range->volume.id, volume);
    ramet_id_format(&range->id, id);
    if (range->object == 0)
        (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/segments/%s", volume,
                       id);
    else if (range->object == 1)
        (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/commits/%016" PRIx64,
                       volume, UINT64_MAX - range->lsn);
    else
        (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/maps/%016" PRIx64 ".%s",
                       volume, range->lsn, id);
}

void
ramet_range_begin(struct ramet_buf *out, const struct ramet_vid *volume,
                  const struct ramet_object_range *range, bool ends_object,
                  size_t length)
{
    const bool other = memcmp(&range->volume, volume, sizeof(*volume)) != 0;

    ramet_buf_u8(out, 1);
    ramet_buf_u8(out, (uint8_t)(range->object | (ends_object ? 16u : 0u) |
                                (other ? 32u : 0u)));
    if (other)
        ramet_buf_bytes(out, range->volume.id.bytes, RAMET_ID_SIZE);
    if (range->object != 0)
        ramet_buf_varint(out, range->lsn);
    if (range->object != 1)
        ramet_buf_bytes(out, range->id.bytes, RAMET_ID_SIZE);
    ramet_buf_varint(out, range->offset);
    ramet_buf_varint(out, length);
}

void
ramet_range_opened(struct ramet_buf *out, const struct ramet_vid *volume,
                   uint64_t seq, const struct ramet_head *head)
{
    ramet_buf_u8(out, 3);
    ramet_buf_bytes(out, volume->id.bytes, RAMET_ID_SIZE);
    ramet_buf_varint(out, seq);
    ramet_buf_varint(out, head->lsn);
    if (head->lsn > 0)
        ramet_buf_bytes(out, head->hash.bytes, RAMET_HASH_SIZE);
}

void
ramet_range_profile(struct ramet_buf *out, const uint8_t *object, size_t len)
{
    ramet_buf_u8(out, 4);
    ramet_buf_varint(out, len);
    ramet_buf_bytes(out, object, len);
}

void
ramet_range_loose(struct ramet_buf *out, const uint8_t *record, size_t len)
{
    ramet_buf_u8(out, 5);
    ramet_buf_varint(out, len);
    ramet_buf_bytes(out, record, len);
}

void
ramet_range_end(struct ramet_buf *out, uint64_t count)
{
    ramet_buf_u8(out, 0);
    ramet_buf_varint(out, count);
}

void
ramet_range_error(struct ramet_buf *out, enum ramet_rc rc, const char *text)
{
    const size_t len = strlen(text);
    const size_t kept = len < 500 ? len : 500;

    ramet_buf_u8(out, 2);
    ramet_buf_u8(out, (uint8_t)-rc);
    ramet_buf_varint(out, kept);
    ramet_buf_bytes(out, text, kept);
}
