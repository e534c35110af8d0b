/*
 * http_pages.c - see http_pages.h.
 */
#include "client/remote/http_pages.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "metastore/profile.h"
#include "pagestore/delta_loose.h"

#define RANGE_MAX (4u << 20)
#define TEXT_MAX 500u

/* The run of consecutive pages that begins at `from`. */
static size_t
run_length(const uint32_t *pgnos, size_t from, size_t count)
{
    size_t n = 1;

    assert(from < count);
    while (from + n < count && pgnos[from + n] == pgnos[from] + n)
        n++;
    assert(from + n <= count);
    return n;
}

void
ramet_pages_encode(struct ramet_buf *out, const struct ramet_point *at,
                   unsigned flags, const uint32_t *pgnos, size_t count)
{
    uint64_t runs = 0;
    int64_t previous = 0;

    assert(flags <= UINT8_MAX);
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

/* ---- an answer as it comes ---------------------------------------------------- */

/* What stands in a record besides a range's bytes or an error's text. */
#define RECORD_HEAD_MAX 64u
#define RECORD_MAX (RANGE_MAX + RECORD_HEAD_MAX)

void
ramet_pages_stream_init(struct ramet_pages_stream *stream,
                        const struct ramet_vid *volume,
                        ramet_pages_range *visit, void *ctx)
{
    assert(visit != NULL);
    *stream = (struct ramet_pages_stream){
        .volume = *volume, .visit = visit, .ctx = ctx};
    ramet_buf_init(&stream->buf, 2 * RECORD_MAX);
}

void
ramet_pages_stream_done(struct ramet_pages_stream *stream)
{
    ramet_buf_done(&stream->buf);
}

/* A record's head could not be read: is more of it to come, or is it none? */
static enum ramet_rc
want_more(struct ramet_pages_stream *stream, size_t have, struct ramet_err *err)
{
    assert(have > 0);
    if (have >= RECORD_HEAD_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "pages: what follows range %" PRIu64
                          " is not a record",
                          stream->ranges);
    stream->needed = have + 1;
    return RAMET_OK;
}

static enum ramet_rc
take_error(struct ramet_pages_stream *stream, struct ramet_reader *in,
           size_t have, struct ramet_err *err)
{
    const uint8_t code = ramet_read_u8(in);
    const size_t len = (size_t)ramet_read_varint_max(in, TEXT_MAX);
    const uint8_t *bytes;
    char text[TEXT_MAX + 1];

    if (in->bad)
        return want_more(stream, have, err);
    if (ramet_reader_left(in) < len) {
        stream->needed = in->pos + len;
        return RAMET_OK;
    }
    assert(len <= TEXT_MAX);
    bytes = ramet_read_bytes(in, len);
    if (bytes == NULL || code == 0 || code > -RAMET_RC_LEAST)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "pages: the error record is malformed");
    for (size_t i = 0; i < len; i++)
        text[i] = (char)(bytes[i] < ' ' || bytes[i] == 127 ? '?' : bytes[i]);
    text[len] = '\0';
    return RAMET_FAIL(err, (enum ramet_rc) - code, "%.*s", (int)len, text);
}

static enum ramet_rc
take_range(struct ramet_pages_stream *stream, struct ramet_reader *in,
           size_t have, struct ramet_err *err)
{
    const uint8_t kind = ramet_read_u8(in);
    char key[RAMET_KEY_MAX];
    const bool is_key = read_key(in, kind, &stream->volume, key);
    uint64_t offset;
    size_t len;

    if (!is_key && !in->bad)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "pages: range %" PRIu64 " is of no object",
                          stream->ranges);
    offset = ramet_read_varint(in);
    len = (size_t)ramet_read_varint_max(in, RANGE_MAX);
    if (in->bad)
        return want_more(stream, have, err);
    if (offset > INT64_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "pages: range %" PRIu64 " at %" PRIu64,
                          stream->ranges, offset);
    if (ramet_reader_left(in) < len) {
        stream->needed = in->pos + len;
        return RAMET_OK;
    }
    assert(len <= RANGE_MAX);
    stream->visit(stream->ctx, key, offset, ramet_read_bytes(in, len), len,
                  (kind & 16u) != 0);
    stream->ranges++;
    return RAMET_OK;
}

static enum ramet_rc
take_opened(struct ramet_pages_stream *stream, struct ramet_reader *in,
            size_t have, struct ramet_err *err)
{
    const uint8_t *const volume = ramet_read_bytes(in, RAMET_ID_SIZE);
    struct ramet_opened opened = {.name_seq = ramet_read_varint(in)};
    const uint8_t *hash = NULL;

    opened.head.lsn = ramet_read_varint(in);
    if (opened.head.lsn > 0)
        hash = ramet_read_bytes(in, RAMET_HASH_SIZE);
    if (in->bad)
        return want_more(stream, have, err);
    if (stream->opened == NULL || stream->ranges > 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "pages: an opening that was not asked for");
    memcpy(opened.volume.id.bytes, volume, RAMET_ID_SIZE);
    if (hash != NULL)
        memcpy(opened.head.hash.bytes, hash, RAMET_HASH_SIZE);
    stream->volume = opened.volume;
    stream->opened(stream->ctx, &opened);
    return RAMET_OK;
}

static enum ramet_rc
take_profile(struct ramet_pages_stream *stream, struct ramet_reader *in,
             size_t have, struct ramet_err *err)
{
    const size_t len =
        (size_t)ramet_read_varint_max(in, RAMET_PROFILE_OBJECT_MAX);

    if (in->bad)
        return want_more(stream, have, err);
    /* Of an opening it comes first; a question has one for each piece. */
    if (stream->profile == NULL ||
        (stream->opened != NULL && stream->ranges > 0))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "pages: a profile that was not asked for");
    if (ramet_reader_left(in) < len) {
        stream->needed = in->pos + len;
        return RAMET_OK;
    }
    stream->profile(stream->ctx, ramet_read_bytes(in, len), len);
    return RAMET_OK;
}

static enum ramet_rc
take_loose(struct ramet_pages_stream *stream, struct ramet_reader *in,
           size_t have, struct ramet_err *err)
{
    const size_t len =
        (size_t)ramet_read_varint_max(in, RAMET_LOOSE_RECORD_MAX);

    if (in->bad)
        return want_more(stream, have, err);
    if (stream->loose == NULL)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "pages: deltas that were not asked for");
    if (ramet_reader_left(in) < len) {
        stream->needed = in->pos + len;
        return RAMET_OK;
    }
    stream->loose(stream->ctx, ramet_read_bytes(in, len), len);
    return RAMET_OK;
}

static enum ramet_rc
take_end(struct ramet_pages_stream *stream, struct ramet_reader *in,
         size_t have, struct ramet_err *err)
{
    const uint64_t ranges = ramet_read_varint(in);

    assert(!stream->ended);
    if (in->bad)
        return want_more(stream, have, err);
    if (ranges != stream->ranges || ramet_reader_left(in) > 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "pages: the end record is malformed");
    stream->ended = true;
    return RAMET_OK;
}

/* The record at `data`, if it is whole: *out_used bytes, else 0. */
static enum ramet_rc
take_record(struct ramet_pages_stream *stream, const uint8_t *data, size_t len,
            size_t *out_used, struct ramet_err *err)
{
    struct ramet_reader in;
    enum ramet_rc rc;
    uint8_t type;

    assert(len > 0 && !stream->ended);
    ramet_reader_init(&in, data, len);
    type = ramet_read_u8(&in);
    stream->needed = 0;
    if (type == 0)
        rc = take_end(stream, &in, len, err);
    else if (type == 1)
        rc = take_range(stream, &in, len, err);
    else if (type == 2)
        rc = take_error(stream, &in, len, err);
    else if (type == 3)
        rc = take_opened(stream, &in, len, err);
    else if (type == 4)
        rc = take_profile(stream, &in, len, err);
    else if (type == 5)
        rc = take_loose(stream, &in, len, err);
    else
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "pages: a record of type %u after range %" PRIu64, type,
                        stream->ranges);
    *out_used = stream->needed == 0 ? in.pos : 0;
    assert(*out_used <= len);
    assert(stream->needed <= len + RECORD_MAX);
    return rc;
}

/* All whole records; *out_used: where they end. */
static enum ramet_rc
take_records(struct ramet_pages_stream *stream, const uint8_t *data, size_t len,
             size_t *out_used, struct ramet_err *err)
{
    *out_used = 0;
    while (*out_used < len) {
        size_t used;
        const enum ramet_rc rc =
            take_record(stream, data + *out_used, len - *out_used, &used, err);

        if (rc != RAMET_OK)
            return rc;
        if (used == 0)
            break;
        assert(used <= len - *out_used);
        *out_used += used;
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_pages_stream_feed(struct ramet_pages_stream *stream, const uint8_t *data,
                        size_t len, struct ramet_err *err)
{
    struct ramet_buf *const buf = &stream->buf;
    size_t used;
    enum ramet_rc rc;

    if (len > 0 && stream->ended)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "pages: bytes after the end");
    if (buf->len == 0) { /* mostly: nothing is copied but the last one's rest */
        rc = take_records(stream, data, len, &used, err);
        if (rc != RAMET_OK)
            return rc;
        data += used;
        len -= used;
    }
    while (len > 0) {
        const size_t room = buf->max - buf->len;
        const size_t n = len < room ? len : room;

        assert(n > 0);
        ramet_buf_bytes(buf, data, n);
        if (buf->failed != RAMET_OK)
            return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
        data += n;
        len -= n;
        if (buf->len < stream->needed)
            continue;
        rc = take_records(stream, buf->data, buf->len, &used, err);
        if (rc != RAMET_OK)
            return rc;
        assert(used <= buf->len);
        if (used > 0)
            memmove(buf->data, buf->data + used, buf->len - used);
        buf->len -= used;
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_pages_stream_end(const struct ramet_pages_stream *stream,
                       struct ramet_err *err)
{
    if (stream->ended)
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ECORRUPT, "pages: the stream was cut off");
}

enum ramet_rc
ramet_pages_parse(const uint8_t *data, size_t len,
                  const struct ramet_vid *volume, ramet_pages_range *visit,
                  void *ctx, struct ramet_err *err)
{
    struct ramet_pages_stream stream;
    enum ramet_rc rc;

    ramet_pages_stream_init(&stream, volume, visit, ctx);
    rc = ramet_pages_stream_feed(&stream, data, len, err);
    if (rc == RAMET_OK)
        rc = ramet_pages_stream_end(&stream, err);
    ramet_pages_stream_done(&stream);
    return rc;
}
