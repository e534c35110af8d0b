/*
 * http_pages.c - see http_pages.h.
 */
#include "client/remote/http_pages.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RANGE_MAX (4u << 20)
#define TEXT_MAX 500u

/* The run of consecutive pages that begins at `from`. */
static size_t
run_length(const uint32_t *pgnos, size_t from, size_t count)
{
    size_t n = 1;

    while (from + n < count && pgnos[from + n] == pgnos[from] + n)
        n++;
    return n;
}

void
ramet_pages_encode(struct ramet_buf *out, const struct ramet_point *at,
                   unsigned flags, const uint32_t *pgnos, size_t count)
{
    uint64_t runs = 0;
    int64_t previous = 0;

    for (size_t i = 0; i < count; i += run_length(pgnos, i, count))
        runs++;
    ramet_buf_u8(out, 1);
    ramet_buf_u8(out, (uint8_t)flags);
    ramet_buf_varint(out, at->lsn);
    if ((flags & RAMET_PAGES_HASH) != 0)
        ramet_buf_bytes(out, at->hash.bytes, RAMET_HASH_SIZE);
    ramet_buf_varint(out, runs);
    for (size_t i = 0; i < count;) {
        const size_t n = run_length(pgnos, i, count);
        const int64_t delta = (int64_t)pgnos[i] - previous - 1;
        const uint64_t twice = (uint64_t)delta << 1;

        ramet_buf_varint(out, delta < 0 ? ~twice : twice);
        ramet_buf_varint(out, n - 1);
        previous = (int64_t)pgnos[i] + (int64_t)n - 1;
        i += n;
    }
}

/* The key of the object that a range record names. */
static bool
read_key(struct ramet_reader *in, unsigned kind, const struct ramet_vid *volume,
         char out[RAMET_KEY_MAX])
{
    struct ramet_id vid = volume->id, id;
    char vid_text[RAMET_ID_TEXT_SIZE], id_text[RAMET_ID_TEXT_SIZE] = "";
    uint64_t lsn = 0;

    memset(&id, 0, sizeof(id));
    if ((kind & 32u) != 0) {
        const uint8_t *bytes = ramet_read_bytes(in, RAMET_ID_SIZE);

        if (bytes != NULL)
            memcpy(vid.bytes, bytes, RAMET_ID_SIZE);
    }
    if ((kind & 3u) != 0)
        lsn = ramet_read_varint(in);
    if ((kind & 3u) != 1) {
        const uint8_t *bytes = ramet_read_bytes(in, RAMET_ID_SIZE);

        if (bytes != NULL)
            memcpy(id.bytes, bytes, RAMET_ID_SIZE);
    }
    if (in->bad || (kind & 3u) == 3 || (kind & ~51u) != 0)
        return false;
    ramet_id_format(&vid, vid_text);
    ramet_id_format(&id, id_text);
    if ((kind & 3u) == 0)
        (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/segments/%s", vid_text,
                       id_text);
    else if ((kind & 3u) == 1)
        (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/commits/%016" PRIx64,
                       vid_text, UINT64_MAX - lsn);
    else
        (void)snprintf(out, RAMET_KEY_MAX, "volumes/%s/maps/%016" PRIx64 ".%s",
                       vid_text, lsn, id_text);
    return true;
}

static enum ramet_rc
parse_error(struct ramet_reader *in, struct ramet_err *err)
{
    const uint8_t code = ramet_read_u8(in);
    const size_t len = (size_t)ramet_read_varint_max(in, TEXT_MAX);
    const uint8_t *bytes = ramet_read_bytes(in, len);
    char text[TEXT_MAX + 1];

    if (in->bad || bytes == NULL || code == 0 || code > -RAMET_RC_LEAST)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "pages: the error record is not one");
    for (size_t i = 0; i < len; i++)
        text[i] = bytes[i] < ' ' || bytes[i] == 127 ? '?' : (char)bytes[i];
    text[len] = '\0';
    return RAMET_FAIL(err, (enum ramet_rc) - code, "%.*s", (int)len, text);
}

static enum ramet_rc
parse_range(struct ramet_reader *in, const struct ramet_vid *volume,
            ramet_pages_range *visit, void *ctx, struct ramet_err *err)
{
    const uint8_t kind = ramet_read_u8(in);
    char key[RAMET_KEY_MAX];
    const uint8_t *data;
    uint64_t offset;
    size_t len;

    if (!read_key(in, kind, volume, key))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "pages: byte %zu is not a range record", in->pos);
    offset = ramet_read_varint(in);
    len = (size_t)ramet_read_varint_max(in, RANGE_MAX);
    data = ramet_read_bytes(in, len);
    if (in->bad || offset > INT64_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "pages: the stream was cut off");
    visit(ctx, key, offset, data, len, (kind & 16u) != 0);
    return RAMET_OK;
}

enum ramet_rc
ramet_pages_parse(const uint8_t *data, size_t len,
                  const struct ramet_vid *volume, ramet_pages_range *visit,
                  void *ctx, struct ramet_err *err)
{
    struct ramet_reader in;
    uint64_t ranges = 0;

    ramet_reader_init(&in, data, len);
    for (;;) {
        const uint8_t type = ramet_read_u8(&in);
        enum ramet_rc rc;

        if (in.bad)
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "pages: the stream was cut off");
        if (type == 0) {
            if (ramet_read_varint(&in) != ranges || in.bad ||
                ramet_reader_left(&in) > 0)
                return RAMET_FAIL(err, RAMET_ECORRUPT,
                                  "pages: the stream's end is not one");
            return RAMET_OK;
        }
        if (type == 2)
            return parse_error(&in, err);
        if (type != 1)
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "pages: record of type %u at byte %zu", type,
                              in.pos - 1);
        rc = parse_range(&in, volume, visit, ctx, err);
        if (rc != RAMET_OK)
            return rc;
        ranges++;
    }
}
