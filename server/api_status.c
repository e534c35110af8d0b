/*
 * api_status.c - readiness and metrics.
 */
#include <assert.h>
#include <stdio.h>

#include "core/log.h"
#include "server/server_impl.h"

#define METRICS_MAX (1u << 20)
/* A probe a millisecond must not become a request a millisecond to a store. */
#define READY_KEEP_MS 500u

static uint64_t
now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static bool
is_fresh(const struct ramet_server *server)
{
    return now_ms() - atomic_load(&server->ready_checked_ms) < READY_KEEP_MS;
}

static void
reply_ready(struct call *call)
{
    const bool stopping = ramet_http_is_stopping(call->server->http);

    assert(call->server->http != NULL);
    if (!stopping && atomic_load(&call->server->ready))
        ramet_http_reply_text(call->rq, 200, RAMET_TYPE_JSON,
                              "{\"status\":\"ready\"}\n");
    else
        ramet_render_problem(call->rq, 503, RAMET_EUNREACHABLE,
                             stopping ? "the server is stopping"
                                      : "the store does not answer",
                             NULL);
}

bool
ramet_api_readyz_now(struct call *call)
{
    if (!is_fresh(call->server))
        return false;
    reply_ready(call);
    return true;
}

/* Ask the store; that it stopped answering, and that it does again, is told
 * once. */
static void
look_at_store(struct ramet_server *server)
{
    struct ramet_err err;
    const bool ready =
        ramet_catalog_check(server->store, false, &err) == RAMET_OK;
    const bool was = atomic_exchange(&server->ready, ready);

    if (was && !ready)
        ramet_log(RAMET_LOG_ERROR, "the store does not answer", "detail",
                  err.text, NULL);
    else if (!was && ready)
        ramet_log(RAMET_LOG_INFO, "the store answers", NULL);
    atomic_store(&server->ready_checked_ms, now_ms());
}

void
ramet_api_readyz(struct call *call)
{
    if (!is_fresh(call->server))
        look_at_store(call->server);
    reply_ready(call);
}

/* Of a bucket, which is paid by the request. */
static void
format_store_requests(const struct ramet_objstore *store, struct ramet_buf *out)
{
    struct ramet_store_requests counts;
    char name[64];

    assert(store != NULL && out != NULL);
    if (!ramet_objstore_requests(store, &counts))
        return;
    for (unsigned kind = 0; kind < RAMET_REQUEST_KINDS; kind++) {
        (void)snprintf(name, sizeof(name), "ramet_bucket_%s_total",
                       ramet_request_kind_name((enum ramet_request_kind)kind));
        ramet_metrics_line(out, name, "counter", counts.by_kind[kind]);
    }
    ramet_metrics_line(out, "ramet_bucket_sent_bytes_total", "counter",
                       counts.bytes_sent);
    ramet_metrics_line(out, "ramet_bucket_received_bytes_total", "counter",
                       counts.bytes_received);
    ramet_metrics_line(out, "ramet_bucket_repeats_total", "counter",
                       counts.repeats);
    ramet_metrics_line(out, "ramet_bucket_hedges_total", "counter",
                       counts.hedges);
    ramet_metrics_line(out, "ramet_bucket_slowdowns_total", "counter",
                       counts.slowdowns);
    ramet_metrics_line(out, "ramet_bucket_nano_usd_total", "counter",
                       counts.nano_usd);
}

void
ramet_api_metrics(struct call *call)
{
    struct ramet_server *server = call->server;
    struct ramet_cache_stats cache;
    struct ramet_http_stats http;
    struct ramet_volume_table_stats volumes;
    struct ramet_buf out;

    ramet_cache_get_stats(server->cache, &cache);
    ramet_http_get_stats(server->http, &http);
    ramet_volume_table_get_stats(server->volumes, &volumes);
    ramet_buf_init(&out, METRICS_MAX);
    ramet_metrics_format(&server->metrics, &out);
    {
        const struct {
            const char *name, *type;
            uint64_t value;
        } lines[] = {
            {"ramet_connections", "gauge", http.connections},
            {"ramet_connections_total", "counter", http.accepted},
            {"ramet_connections_cut_total", "counter", http.killed},
            {"ramet_requests_in_flight", "gauge", http.requests},
            {"ramet_held_bytes", "gauge", http.held_bytes},
            {"ramet_event_streams", "gauge", http.feeds},
            {"ramet_queue_length", "gauge", ramet_work_waiting(server->work)},
            {"ramet_volumes_open", "gauge", volumes.volumes},
            {"ramet_cache_memory_hits_total", "counter", cache.memory_hits},
            {"ramet_cache_disk_hits_total", "counter", cache.disk_hits},
            {"ramet_cache_misses_total", "counter", cache.misses},
            {"ramet_cache_memory_bytes", "gauge", cache.memory_bytes},
            {"ramet_cache_disk_bytes", "gauge", cache.disk_bytes},
            {"ramet_cache_disk_refused_total", "counter", cache.disk_refused},
            {"ramet_store_reads_total", "counter", cache.store_reads},
            {"ramet_store_writes_total", "counter", cache.store_writes},
            {"ramet_store_lists_total", "counter", cache.store_lists},
            {"ramet_store_errors_total", "counter", cache.store_errors},
            {"ramet_store_read_bytes_total", "counter", cache.store_read_bytes},
            {"ramet_store_written_bytes_total", "counter",
             cache.store_write_bytes},
        };

        for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
            ramet_metrics_line(&out, lines[i].name, lines[i].type,
                               lines[i].value);
    }
    format_store_requests(server->base, &out);
    ramet_http_set_header(call->rq, "Cache-Control", "no-store");
    ramet_render_reply(call->rq, 200, "text/plain; version=0.0.4", &out);
}
