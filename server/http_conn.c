/*
 * http_conn.c - what a connection is at, and for how long.
 */
#include <time.h>

#include "server/http_impl.h"

uint64_t
ramet_http_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

bool
ramet_http_allowed(struct ramet_http_request *rq)
{
    return rq->http->app.allowed(rq->http->app.ctx, rq);
}

void
ramet_http_conn_enter(struct conn *conn, enum conn_state state)
{
    if (conn == NULL)
        return;
    atomic_store_explicit(&conn->state, (int)state, memory_order_relaxed);
    atomic_store_explicit(&conn->since_ms, ramet_http_now_ms(),
                          memory_order_relaxed);
    atomic_store_explicit(&conn->bytes, 0, memory_order_relaxed);
}

void
ramet_http_conn_took(struct conn *conn, enum conn_state state, size_t bytes)
{
    if (conn == NULL)
        return;
    if (atomic_load_explicit(&conn->state, memory_order_relaxed) != (int)state)
        ramet_http_conn_enter(conn, state);
    atomic_fetch_add_explicit(&conn->bytes, bytes, memory_order_relaxed);
}

bool
ramet_http_is_stopping(const struct ramet_http *http)
{
    return atomic_load_explicit(&http->stopping, memory_order_relaxed);
}
