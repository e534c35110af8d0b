/*
 * fetcher.h - brings pages that a replica does not hold, when they are read.
 *
 * Threads that miss the same page at the same time cause one request: the
 * first of them (the *leader* of a flight) asks, the others wait for what it
 * brings. Misses that ascend page by page are taken for a scan: each further
 * flight brings twice as many pages, up to RAMET_FLIGHT_PAGES.
 *
 * A remote that does not answer opens the meter's breaker: for a second every
 * miss fails at once instead of after a time-out each.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_FETCHER_H
#define RAMET_CLIENT_SYNC_FETCHER_H

#include "client/store/store.h"

#define RAMET_FLIGHT_PAGES 64u
#define RAMET_FLIGHT_BYTES (1u << 20)

struct ramet_link;
struct ramet_page_fetcher;

/* No I/O. NULL on no memory. `link` outlives it. */
struct ramet_page_fetcher *ramet_page_fetcher_new(struct ramet_link *link);
/* No fetch may be under way. NULL is fine. */
void ramet_page_fetcher_free(struct ramet_page_fetcher *fetcher);

/* A ramet_fetcher, with the fetcher as its context. */
enum ramet_rc
ramet_page_fetcher_run(void *fetcher, const struct ramet_point *at,
                       uint32_t pgno, struct ramet_fetch *sink,
                       struct ramet_err *err);

#endif
