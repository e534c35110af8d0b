/*
 * http_pages.h - the wire form of page requests and of the streams that answer
 * them, as a client writes and reads them; docs/protocol.md, "Pages".
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_PAGES_H
#define RAMET_CLIENT_REMOTE_HTTP_PAGES_H

#include "core/bytes.h"
#include "core/id.h"
#include "metastore/commit.h"
#include "pagestore/objstore.h"

#define RAMET_PAGES_TYPE "application/vnd.ramet.pages"

enum {
    RAMET_PAGES_METADATA = 1,
    RAMET_PAGES_DICTS = 2,
    RAMET_PAGES_HASH = 4,
    RAMET_PAGES_NO_HEADS = 8,
    RAMET_PAGES_APART = 16
};

/* At most 65,536 pages and 16,384 runs; pgnos in the order wanted. The hash is
 * sent with RAMET_PAGES_HASH. */
void ramet_pages_encode(struct ramet_buf *out, const struct ramet_point *at,
                        unsigned flags, const uint32_t *pgnos, size_t count);

/* Called for each range; `data` lies in the stream. */
typedef void
ramet_pages_range(void *ctx, const char *key, uint64_t offset,
                  const uint8_t *data, size_t len, bool ends_object);
/* What the answer to who opens a volume begins with. */
struct ramet_opened {
    struct ramet_vid volume;
    uint64_t name_seq;       /* 0: it was named by its id */
    struct ramet_point head; /* lsn 0: there is no commit */
};
typedef void ramet_pages_opened(void *ctx, const struct ramet_opened *opened);
/* A warm profile as it is stored, which lies in the stream. */
typedef void ramet_pages_profile(void *ctx, const uint8_t *object, size_t len);
/* A record of loose deltas (pagestore/delta_loose.h), which lies in the stream. */
typedef void ramet_pages_loose(void *ctx, const uint8_t *record, size_t len);

/*
 * An answer as it comes. Ranges before a flaw are given out all the same
 * (whoever uses them checks their hashes).
 */
struct ramet_pages_stream {
    struct ramet_vid volume; /* the path's */
    ramet_pages_range *visit;
    ramet_pages_opened *opened;   /* NULL: it is no such answer */
    ramet_pages_profile *profile; /* NULL: none was asked for */
    ramet_pages_loose *loose;     /* as well */
    void *ctx;
    struct ramet_buf buf; /* what is not a whole record yet */
    size_t needed;        /* bytes in `buf` before it may be one */
    uint64_t ranges;
    bool ended;
};
void ramet_pages_stream_init(struct ramet_pages_stream *stream,
                             const struct ramet_vid *volume,
                             ramet_pages_range *visit, void *ctx);
void ramet_pages_stream_done(struct ramet_pages_stream *stream);
/* Some more of it; hostile bytes. RAMET_ECORRUPT: not such a stream; else the
 * code that the server put into an error record. Nothing more after that. */
RAMET_NODISCARD enum ramet_rc
ramet_pages_stream_feed(struct ramet_pages_stream *stream, const uint8_t *data,
                        size_t len, struct ramet_err *err);
/* That was all. RAMET_ECORRUPT: it was cut off. */
RAMET_NODISCARD enum ramet_rc
ramet_pages_stream_end(const struct ramet_pages_stream *stream,
                       struct ramet_err *err);

/* All of an answer at once. */
RAMET_NODISCARD enum ramet_rc
ramet_pages_parse(const uint8_t *data, size_t len,
                  const struct ramet_vid *volume, ramet_pages_range *visit,
                  void *ctx, struct ramet_err *err);

#endif
