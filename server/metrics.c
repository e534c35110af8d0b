/*
 * metrics.c - see metrics.h for the contract.
 */
#include "server/metrics.h"

#include "server/render.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

static const char *const route_names[RAMET_ROUTE_COUNT] = {
    "healthz", "readyz",  "metrics",  "store",   "volumes", "volume",
    "head",    "commits", "commit",   "changes", "segment", "map",
    "pages",   "events",  "content",  "keys",    "name",    "open",
    "news",    "profile", "prefetch", "unknown",
};

/* Upper bounds in microseconds. */
static const uint32_t bounds_us[RAMET_LATENCY_BUCKETS - 1] = {
    25,   50,    100,   250,    500,    1000,    2500,
    5000, 10000, 25000, 100000, 500000, 2000000, 10000000,
};

const char *
ramet_route_name(enum ramet_route route)
{
    assert(route < RAMET_ROUTE_COUNT);
    return route_names[route];
}

static void
bump(_Atomic uint64_t *counter, uint64_t by)
{
    assert(counter != NULL);

    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

void
ramet_metrics_request(struct ramet_metrics *metrics, enum ramet_route route,
                      unsigned status, uint64_t bytes_in, uint64_t bytes_out,
                      uint64_t duration_us)
{
    unsigned bucket = 0;

    assert(route < RAMET_ROUTE_COUNT);
    bump(&metrics->requests[route]
                           [status >= 100 && status < 600 ? status - 99 : 0],
         1);
    bump(&metrics->bytes_in, bytes_in);
    bump(&metrics->bytes_out, bytes_out);
    if (route == RAMET_ROUTE_EVENTS || route == RAMET_ROUTE_NEWS)
        return; /* lives as long as its reader */
    while (bucket < RAMET_LATENCY_BUCKETS - 1 &&
           duration_us > bounds_us[bucket])
        bucket++;
    bump(&metrics->latency[route][bucket], 1);
    bump(&metrics->latency_sum_us[route], duration_us);
}

void
ramet_metrics_line(struct ramet_buf *out, const char *name, const char *type,
                   uint64_t value)
{
    assert(name != NULL && type != NULL);

    ramet_render_text(out, "# TYPE %s %s\n%s %" PRIu64 "\n", name, type, name,
                      value);
}

static void
format_requests(struct ramet_metrics *metrics, struct ramet_buf *out)
{
    ramet_render_text(
        out, "# HELP ramet_requests_total Requests by route and status; "
             "status 0: the client went away.\n"
             "# TYPE ramet_requests_total counter\n");
    for (unsigned r = 0; r < RAMET_ROUTE_COUNT; r++) {
        for (unsigned i = 0; i < 501; i++) {
            const uint64_t n = atomic_load_explicit(&metrics->requests[r][i],
                                                    memory_order_relaxed);

            if (n > 0)
                ramet_render_text(
                    out,
                    "ramet_requests_total{route=\"%s\",status=\"%u\"} "
                    "%" PRIu64 "\n",
                    route_names[r], i == 0 ? 0 : i + 99, n);
        }
    }
}

static void
format_latency(struct ramet_metrics *metrics, unsigned r, struct ramet_buf *out)
{
    static const char name[] = "ramet_request_duration_seconds";
    uint64_t sum = 0;

    assert(r < RAMET_ROUTE_COUNT);
    for (unsigned i = 0; i < RAMET_LATENCY_BUCKETS; i++)
        sum +=
            atomic_load_explicit(&metrics->latency[r][i], memory_order_relaxed);
    if (sum == 0)
        return;
    sum = 0;
    for (unsigned i = 0; i < RAMET_LATENCY_BUCKETS; i++) {
        sum +=
            atomic_load_explicit(&metrics->latency[r][i], memory_order_relaxed);
        if (i + 1 < RAMET_LATENCY_BUCKETS)
            ramet_render_text(out,
                              "%s_bucket{route=\"%s\",le=\"%g\"} %" PRIu64 "\n",
                              name, route_names[r], bounds_us[i] / 1e6, sum);
        else
            ramet_render_text(
                out, "%s_bucket{route=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name,
                route_names[r], sum);
    }
    ramet_render_text(
        out, "%s_sum{route=\"%s\"} %.6f\n%s_count{route=\"%s\"} %" PRIu64 "\n",
        name, route_names[r],
        (double)atomic_load_explicit(&metrics->latency_sum_us[r],
                                     memory_order_relaxed) /
            1e6,
        name, route_names[r], sum);
}

void
ramet_metrics_format(struct ramet_metrics *metrics, struct ramet_buf *out)
{
    const struct {
        const char *name, *type;
        _Atomic uint64_t *value;
    } lines[] = {
        {"ramet_received_bytes_total", "counter", &metrics->bytes_in},
        {"ramet_sent_bytes_total", "counter", &metrics->bytes_out},
        {"ramet_commits_total", "counter", &metrics->commits},
        {"ramet_commit_pages_total", "counter", &metrics->commit_pages},
        {"ramet_commit_delta_pages_total", "counter",
         &metrics->commit_delta_pages},
        {"ramet_commit_delta_bytes_total", "counter",
         &metrics->commit_delta_bytes},
        {"ramet_commit_delta_saved_bytes_total", "counter",
         &metrics->commit_delta_saved_bytes},
        {"ramet_conflicts_total", "counter", &metrics->conflicts},
        {"ramet_maps_total", "counter", &metrics->maps},
        {"ramet_map_failures_total", "counter", &metrics->map_failures},
        {"ramet_pages_total", "counter", &metrics->pages},
        {"ramet_pages_from_memory_total", "counter",
         &metrics->pages_from_memory},
        {"ramet_subscribers", "gauge", &metrics->subscribers},
        {"ramet_damaged_total", "counter", &metrics->damaged},
        {"ramet_events_total", "counter", &metrics->events},
        {"ramet_news_streams", "gauge", &metrics->news_streams},
        {"ramet_news_commits_total", "counter", &metrics->told},
        {"ramet_news_bare_total", "counter", &metrics->told_bare},
        {"ramet_news_object_bytes", "gauge", &metrics->told_bytes},
        {"ramet_questions_total", "counter", &metrics->questions},
        {"ramet_questions_stopped_total", "counter",
         &metrics->questions_stopped},
        {"ramet_question_pages_total", "counter", &metrics->question_pages},
        {"ramet_prefetched_pages_total", "counter", &metrics->prefetched_pages},
        {"ramet_prefetch_used_total", "counter", &metrics->prefetch_used},
        {"ramet_prefetch_vain_total", "counter", &metrics->prefetch_vain},
    };

    format_requests(metrics, out);
    ramet_render_text(
        out, "# HELP ramet_request_duration_seconds From the header to "
             "the last byte of the answer.\n"
             "# TYPE ramet_request_duration_seconds histogram\n");
    for (unsigned r = 0; r < RAMET_ROUTE_COUNT; r++)
        format_latency(metrics, r, out);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        ramet_metrics_line(
            out, lines[i].name, lines[i].type,
            atomic_load_explicit(lines[i].value, memory_order_relaxed));
    ramet_render_text(
        out,
        "# HELP ramet_event_lag_seconds From a commit's time to its "
        "event.\n# TYPE ramet_event_lag_seconds_sum counter\n"
        "ramet_event_lag_seconds_sum %.6f\n",
        (double)atomic_load_explicit(&metrics->event_lag_us_sum,
                                     memory_order_relaxed) /
            1e6);
}
