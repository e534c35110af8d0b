/*
 * news.h - the wire form of the stream of news, as a client reads it;
 * docs/protocol.md, "News". Hostile bytes.
 *
 *   (1) Memory: one record, with an object of RAMET_NEWS_OBJECT_MAX at most.
 *   (2) What is passed on is of the form of the document, and names a volume that was
 *       asked for; nothing more is known of it.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_NEWS_H
#define RAMET_CLIENT_REMOTE_NEWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/bytes.h"
#include "core/err.h"
#include "metastore/commit.h"

#define RAMET_WATCH_TYPE "application/vnd.ramet.watch"
#define RAMET_NEWS_OBJECT_MAX 8192u
#define RAMET_NEWS_VOLUMES_MAX 1024u
#define RAMET_NEWS_RECORD_MAX (64u + RAMET_NEWS_OBJECT_MAX)

enum ramet_news_type {
    RAMET_NEWS_BEGIN = 0,
    RAMET_NEWS_COMMIT = 1,
    RAMET_NEWS_BEAT = 2,
    RAMET_NEWS_GONE = 3,
    RAMET_NEWS_UNKNOWN = 4
};

struct ramet_news {
    enum ramet_news_type type;
    uint32_t volume;       /* its number; not of begin */
    struct ramet_point at; /* commit, beat */
    uint64_t time_ms;      /* begin, commit, beat; 0: not known */
    const uint8_t *object; /* commit; NULL: without */
    size_t object_len;
};

/* RAMET_ECORRUPT and others end the stream. */
typedef enum ramet_rc ramet_news_visit(void *ctx, const struct ramet_news *news,
                                       struct ramet_err *err);

struct ramet_news_stream {
    uint32_t volume_count;
    ramet_news_visit *visit;
    void *ctx;
    bool begun;
    size_t len;
    uint8_t buf[RAMET_NEWS_RECORD_MAX];
};

void
ramet_news_stream_init(struct ramet_news_stream *stream, uint32_t volume_count,
                       ramet_news_visit *visit, void *ctx);
/* The next bytes. RAMET_ECORRUPT: they are no news. */
RAMET_NODISCARD enum ramet_rc
ramet_news_stream_feed(struct ramet_news_stream *stream, const void *data,
                       size_t len, struct ramet_err *err);

/* The request: begun, then each volume. */
void ramet_watch_begin(struct ramet_buf *out, uint32_t count);
void ramet_watch_add(struct ramet_buf *out, const struct ramet_vid *volume,
                     uint64_t known_lsn);

#endif
