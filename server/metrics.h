/*
 * metrics.h - what the server counts, and its Prometheus text.
 *
 * Counters are relaxed atomics; taking one costs a few nanoseconds.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_METRICS_H
#define RAMET_SERVER_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/bytes.h"

enum ramet_route {
    RAMET_ROUTE_HEALTHZ,
    RAMET_ROUTE_READYZ,
    RAMET_ROUTE_METRICS,
    RAMET_ROUTE_STORE,
    RAMET_ROUTE_VOLUMES,
    RAMET_ROUTE_VOLUME,
    RAMET_ROUTE_HEAD,
    RAMET_ROUTE_COMMITS,
    RAMET_ROUTE_COMMIT,
    RAMET_ROUTE_CHANGES,
    RAMET_ROUTE_SEGMENT,
    RAMET_ROUTE_MAP,
    RAMET_ROUTE_PAGES,
    RAMET_ROUTE_EVENTS,
    RAMET_ROUTE_CONTENT,
    RAMET_ROUTE_KEYS,
    RAMET_ROUTE_NAME,
    RAMET_ROUTE_OPEN,
    RAMET_ROUTE_NEWS,
    RAMET_ROUTE_PROFILE,
    RAMET_ROUTE_PREFETCH,
    RAMET_ROUTE_UNKNOWN,
    RAMET_ROUTE_COUNT
};
const char *ramet_route_name(enum ramet_route route);

#define RAMET_LATENCY_BUCKETS 15u /* the last is +Inf */

struct ramet_metrics {
    /* By status: [0] is "the client went away", else status - 99. */
    _Atomic uint64_t requests[RAMET_ROUTE_COUNT][501];
    _Atomic uint64_t latency[RAMET_ROUTE_COUNT][RAMET_LATENCY_BUCKETS];
    _Atomic uint64_t latency_sum_us[RAMET_ROUTE_COUNT];
    _Atomic uint64_t bytes_in, bytes_out;
    _Atomic uint64_t commits, conflicts, maps, map_failures;
    /* Of the commits taken: pages, those with a delta, the bytes of these, and what
     * they saved. */
    _Atomic uint64_t commit_pages, commit_delta_pages, commit_delta_bytes,
        commit_delta_saved_bytes;
    _Atomic uint64_t pages, pages_from_memory; /* of POST pages */
    _Atomic uint64_t subscribers;              /* to server-sent events */
    /* Of news: streams, commits told with their object and without, and what
     * the objects take. */
    _Atomic uint64_t news_streams, told, told_bare, told_bytes;
    /* Prefetch by question: those that were run, those that came to a limit, and
     * the pages of all. */
    _Atomic uint64_t questions, questions_stopped, question_pages;
    /* Read ahead of them where the store is far; of these read, and in vain. */
    _Atomic uint64_t prefetched_pages, prefetch_used, prefetch_vain;
    _Atomic uint64_t damaged; /* reads that failed a checksum */
    _Atomic uint64_t event_lag_us_sum, events;
};

void
ramet_metrics_request(struct ramet_metrics *metrics, enum ramet_route route,
                      unsigned status, uint64_t bytes_in, uint64_t bytes_out,
                      uint64_t duration_us);
/* A number as one line: `ramet_x_total 5`, with its TYPE line. */
void ramet_metrics_line(struct ramet_buf *out, const char *name,
                        const char *type, uint64_t value);
void ramet_metrics_format(struct ramet_metrics *metrics, struct ramet_buf *out);

#endif
