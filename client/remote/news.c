/*
 * news.c - see news.h.
 */
#include "client/remote/news.h"

#include <assert.h>
#include <string.h>

/* All of a record but its object is shorter. */
#define HEADER_MAX 64u

void
ramet_watch_begin(struct ramet_buf *out, uint32_t count)
{
    assert(count > 0 && count <= RAMET_NEWS_VOLUMES_MAX);
    ramet_buf_u8(out, 1);
    ramet_buf_u8(out, 0);
    ramet_buf_varint(out, count);
}

void
ramet_watch_add(struct ramet_buf *out, const struct ramet_vid *volume,
                uint64_t known_lsn)
{
    ramet_buf_bytes(out, &volume->id, sizeof(volume->id));
    ramet_buf_varint(out, known_lsn);
}

void
ramet_news_stream_init(struct ramet_news_stream *stream, uint32_t volume_count,
                       ramet_news_visit *visit, void *ctx)
{
    assert(volume_count > 0 && volume_count <= RAMET_NEWS_VOLUMES_MAX);
    stream->volume_count = volume_count;
    stream->visit = visit;
    stream->ctx = ctx;
    stream->begun = false;
    stream->len = 0;
}

static void
read_point(struct ramet_reader *in, struct ramet_point *out)
{
    const uint8_t *hash;

    out->lsn = ramet_read_varint_max(in, UINT64_MAX - 1);
    hash = ramet_read_bytes(in, sizeof(out->hash.bytes));
    if (hash != NULL)
        memcpy(out->hash.bytes, hash, sizeof(out->hash.bytes));
}

/* `in` is bad where the record is truncated or malformed. */
static void
read_record(const struct ramet_news_stream *stream, struct ramet_reader *in,
            struct ramet_news *out)
{
    const uint8_t type = ramet_read_u8(in);

    assert(stream->volume_count > 0);
    memset(out, 0, sizeof(*out));
    out->type = (enum ramet_news_type)type;
    if (type == RAMET_NEWS_BEGIN) {
        out->time_ms = ramet_read_varint(in);
        return;
    }
    out->volume = (uint32_t)ramet_read_varint_max(in, stream->volume_count - 1);
    if (type == RAMET_NEWS_GONE || type == RAMET_NEWS_UNKNOWN)
        return;
    read_point(in, &out->at);
    out->time_ms = ramet_read_varint(in);
    if (type == RAMET_NEWS_BEAT)
        return;
    out->object_len = (size_t)ramet_read_varint_max(in, RAMET_NEWS_OBJECT_MAX);
    if (out->object_len > 0)
        out->object = ramet_read_bytes(in, out->object_len);
}

/* Can what stands at the beginning still become a record? */
static bool
may_become_one(const struct ramet_news_stream *stream)
{
    struct ramet_reader in;
    struct ramet_news news;

    assert(stream->len > 0);
    if (stream->buf[0] > RAMET_NEWS_UNKNOWN)
        return false;
    if (stream->len < HEADER_MAX)
        return true;
    /* All but the object is there. */
    ramet_reader_init(&in, stream->buf, stream->len);
    read_record(stream, &in, &news);
    return news.type == RAMET_NEWS_COMMIT && news.object_len > 0;
}

/* One record off the front; *out_more false: none is complete. */
static enum ramet_rc
take_record(struct ramet_news_stream *stream, bool *out_more,
            struct ramet_err *err)
{
    struct ramet_reader in;
    struct ramet_news news;
    enum ramet_rc rc;

    assert(stream->len <= sizeof(stream->buf));
    *out_more = false;
    if (stream->len == 0)
        return RAMET_OK;
    ramet_reader_init(&in, stream->buf, stream->len);
    read_record(stream, &in, &news);
    if (in.bad && may_become_one(stream))
        return RAMET_OK;
    if (in.bad || stream->buf[0] > RAMET_NEWS_UNKNOWN ||
        (news.type == RAMET_NEWS_BEGIN) == stream->begun ||
        (news.type == RAMET_NEWS_COMMIT && news.at.lsn == 0))
        return RAMET_FAIL(err, RAMET_ECORRUPT, "news: not a record");
    stream->begun = true;
    rc = stream->visit(stream->ctx, &news, err);
    assert(in.pos > 0 && in.pos <= stream->len);
    stream->len -= in.pos;
    memmove(stream->buf, stream->buf + in.pos, stream->len);
    *out_more = rc == RAMET_OK;
    return rc;
}

enum ramet_rc
ramet_news_stream_feed(struct ramet_news_stream *stream, const void *data,
                       size_t len, struct ramet_err *err)
{
    const uint8_t *from = data;
    enum ramet_rc rc = RAMET_OK;

    while (len > 0 && rc == RAMET_OK) {
        const size_t room = sizeof(stream->buf) - stream->len;
        const size_t n = len < room ? len : room;
        bool more = true;

        assert(room > 0);
        memcpy(stream->buf + stream->len, from, n);
        stream->len += n;
        from += n;
        len -= n;
        while (more && rc == RAMET_OK)
            rc = take_record(stream, &more, err);
    }
    return rc;
}
