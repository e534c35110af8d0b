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
#ifndef RAMET_CLIENT_FETCHER_H
#define RAMET_CLIENT_FETCHER_H

#include "client/replica.h"

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
ramet_page_fetcher_run(void *fetcher, uint64_t lsn, uint32_t pgno,
                       struct ramet_fetch *sink, struct ramet_err *err);

/*
 * The guess at how many pages a miss should bring: streams of ascending
 * misses, a few at a time, the one not used for longest replaced.
 */
#define RAMET_STREAMS 8u
struct ramet_readahead {
    struct {
        uint32_t next;  /* the miss that would continue it; 0: unused */
        uint32_t count; /* pages that it brought last */
        uint64_t used;
    } streams[RAMET_STREAMS];
    uint64_t clock;
};
uint32_t ramet_readahead_miss(struct ramet_readahead *readahead, uint32_t pgno,
                              uint32_t max);

#endif
