/*
 * news_pages.h - pages that came with news of their commits: kept by a pull, so
 * that they need not be fetched.
 *
 *   (1) No request is made for them: what is not here, or needs something that is not,
 *       is left for whoever reads it.
 *   (2) A page is what the newest of the pulled commits shows: one that was changed
 *       again, or cut off, is not taken from an earlier one.
 *   (3) Memory is bounded: RAMET_NEWS_PAGES_BYTES of pages.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_NEWS_PAGES_H
#define RAMET_CLIENT_SYNC_NEWS_PAGES_H

#include "client/sync/sync.h"

#define RAMET_NEWS_PAGES_BYTES (2u << 20)
#define RAMET_NEWS_PAGES_COMMITS 256u

struct ramet_news_pages {
    uint32_t page_size;
    uint32_t count, max;
    uint32_t *pgnos; /* in no order */
    uint8_t *pages;
};

/* Of the commits after `from` up to `head`, as far as they came by themselves. None
 * is no failure. */
void ramet_news_pages_collect(struct ramet_news_pages *news,
                              const struct ramet_sync *sync, uint64_t from,
                              const struct ramet_head *head);
void ramet_news_pages_done(struct ramet_news_pages *news);
/* A copy of the page (ramet_free); NULL: it is not among them. */
uint8_t *
ramet_news_pages_copy(const struct ramet_news_pages *news, uint32_t pgno);
/* Keep them in the replica, which stands on `at`. */
void ramet_news_pages_keep(const struct ramet_news_pages *news,
                           const struct ramet_sync *sync,
                           const struct ramet_point *at);

#endif
