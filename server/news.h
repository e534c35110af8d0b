/*
 * news.h - one stream of what happens to several volumes, with the objects of
 * small commits; docs/protocol.md, "News".
 *
 *   (1) A subscriber takes memory for its volumes and for what is half sent; objects
 *       are shared, and bounded for all together.
 *   (2) Whoever is slow is sent the newest events when it can take them: nothing
 *       is queued for it.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_NEWS_H
#define RAMET_SERVER_NEWS_H

#include "server/open_volume.h"

#define RAMET_NEWS_VOLUMES_MAX 1024u
/* A request of so many volumes, each with its LSN. */
#define RAMET_NEWS_BODY_MAX (8u + RAMET_NEWS_VOLUMES_MAX * (16u + 10u))
#define RAMET_NEWS_TYPE "application/vnd.ramet.news"

struct ramet_watched {
    struct ramet_vid volume;
    uint64_t known_lsn;
};

/* Hostile bytes. RAMET_EINVAL. */
RAMET_NODISCARD enum ramet_rc
ramet_news_decode(const uint8_t *data, size_t len,
                  struct ramet_watched out[RAMET_NEWS_VOLUMES_MAX],
                  unsigned *out_count, struct ramet_err *err);

/* Answer with the stream; on failure there is no answer yet. Worker. */
RAMET_NODISCARD enum ramet_rc
ramet_news_reply(struct ramet_volume_table *table,
                 const struct ramet_watched *watched, unsigned count,
                 struct ramet_http_request *rq, struct ramet_err *err);

#endif
