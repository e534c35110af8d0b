/*
 * http_watch.c - the connections, and who of them is too slow.
 *
 * libmicrohttpd ends a connection that is silent; one that drips a byte now
 * and then it would keep for ever. The watcher bounds the time of a header and
 * of idleness, and asks of bodies and answers a least rate over a window, so
 * that a slow line is served and a silent one is not. What counts of an answer
 * is what the peer has acknowledged: what lies in our own socket's buffer was
 * taken by nobody. While we have nothing to send the time is ours, and does not
 * count.
 *
 * It is stricter when most places or much of the memory are taken, so that
 * honest clients find some. It ends a connection by shutdown(2), which its event
 * thread then sees; the descriptor can't be closed meanwhile, since that needs
 * conns_lock.
 */
#include <assert.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

#include "core/alloc.h"
#include "server/http_impl.h"

#define CROWDED_GRACE_MS 2000u
/* What a socket takes of an answer before the peer has room for it: little, so
 * that a silent reader holds as little of the system's memory as of ours, and
 * that a slow one is seen to move. */
#define SOCKET_BYTES (64 << 10)

void
ramet_http_notify_connection(void *cls, struct MHD_Connection *mhd,
                             void **socket_context,
                             enum MHD_ConnectionNotificationCode code)
{
    struct ramet_http *http = cls;
    struct conn *conn = *socket_context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

        const uint64_t others = atomic_fetch_add_explicit(&http->connections, 1,
                                                          memory_order_relaxed);

        atomic_fetch_add_explicit(&http->accepted, 1, memory_order_relaxed);
        conn = ramet_calloc(1, sizeof(*conn));
        if (conn == NULL)
            return; /* served, but not watched */
        conn->fd = info != NULL ? info->connect_fd : -1;
        conn->spare = others >= http->options.connections_max;
        (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
                         &(const int){SOCKET_BYTES}, sizeof(int));
        ramet_http_conn_enter(conn, CONN_NEW);
        ramet_mutex_lock(&http->conns_lock);
        conn->next = http->conns;
        conn->link = &http->conns;
        if (conn->next != NULL)
            conn->next->link = &conn->next;
        http->conns = conn;
        ramet_mutex_unlock(&http->conns_lock);
        *socket_context = conn;
        return;
    }
    atomic_fetch_sub_explicit(&http->connections, 1, memory_order_relaxed);
    if (conn == NULL)
        return;
    ramet_mutex_lock(&http->conns_lock);
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;
    ramet_mutex_unlock(&http->conns_lock);
    *socket_context = NULL;
    ramet_free(conn);
}

/* Bytes of answers that the peer has acknowledged. */
static uint64_t
acknowledged(const struct conn *conn)
{
    struct tcp_info info = {.tcpi_bytes_acked = 0};
    socklen_t len = sizeof(info);

    if (getsockopt(conn->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_bytes_acked) +
                  sizeof(info.tcpi_bytes_acked))
        return atomic_load_explicit(&conn->bytes, memory_order_relaxed);
    return info.tcpi_bytes_acked;
}

static void
begin_window(struct conn *conn, uint64_t now_ms, uint64_t moved)
{
    conn->window_began_ms = now_ms;
    conn->window_bytes = moved;
}

/* Less than the least rate over a whole window? A new one begins otherwise. */
static bool
is_below_rate(struct conn *conn, uint64_t now_ms, uint64_t since_ms,
              uint64_t moved, uint64_t window_ms)
{
    uint64_t took_ms;

    assert(window_ms > 0);
    if (conn->window_since_ms != since_ms) { /* another body or answer */
        conn->window_since_ms = since_ms;
        begin_window(conn, now_ms, moved);
    }
    took_ms = now_ms - conn->window_began_ms;
    if (took_ms < window_ms)
        return false;
    if (moved - conn->window_bytes < took_ms / 1000u * RAMET_HTTP_RATE_MIN)
        return true;
    begin_window(conn, now_ms, moved);
    return false;
}

static bool
is_too_slow(const struct ramet_http *http, struct conn *conn, uint64_t now_ms,
            bool crowded)
{
    const uint64_t since_ms =
        atomic_load_explicit(&conn->since_ms, memory_order_relaxed);
    const uint64_t age_ms = now_ms > since_ms ? now_ms - since_ms : 0;
    const uint64_t window_ms =
        crowded ? RAMET_HTTP_RATE_CROWDED_MS : RAMET_HTTP_RATE_MS;

    switch ((enum conn_state)atomic_load_explicit(&conn->state,
                                                  memory_order_relaxed)) {
    case CONN_NEW:
        return age_ms >
               (crowded ? CROWDED_GRACE_MS : http->options.header_timeout_ms);
    case CONN_IDLE:
        return age_ms >
               (crowded ? CROWDED_GRACE_MS : http->options.idle_timeout_ms);
    case CONN_RECEIVING:
        return is_below_rate(
            conn, now_ms, since_ms,
            atomic_load_explicit(&conn->bytes, memory_order_relaxed),
            window_ms);
    case CONN_SENDING:
        return is_below_rate(conn, now_ms, since_ms, acknowledged(conn),
                             window_ms);
    case CONN_WORKING:
    case CONN_FEED:
        return false;
    }
    return false;
}

static void
cut(struct ramet_http *http, struct conn *conn)
{
    if (conn->killed || conn->fd < 0)
        return;
    conn->killed = true;
    atomic_fetch_add_explicit(&http->killed, 1, memory_order_relaxed);
    (void)shutdown(conn->fd, SHUT_RDWR);
}

/* Feeds have their places; what counts is how many of the others are taken. */
static bool
is_crowded(struct ramet_http *http)
{
    const uint64_t feeds = ramet_budget_held(&http->feed_places);
    const uint64_t connections =
        atomic_load_explicit(&http->connections, memory_order_relaxed);

    return connections - (feeds < connections ? feeds : connections) >
               (http->options.connections_max - feeds) / 4u * 3u ||
           ramet_budget_is_crowded(&http->memory);
}

void
ramet_http_tick(struct ramet_http *http, uint64_t now_ms)
{
    const bool crowded = is_crowded(http);

    ramet_mutex_lock(&http->conns_lock);
    for (struct conn *c = http->conns; c != NULL; c = c->next) {
        if (is_too_slow(http, c, now_ms, crowded))
            cut(http, c);
    }
    ramet_mutex_unlock(&http->conns_lock);
}

void
ramet_http_cut_all(struct ramet_http *http)
{
    ramet_mutex_lock(&http->conns_lock);
    for (struct conn *c = http->conns; c != NULL; c = c->next)
        cut(http, c);
    ramet_mutex_unlock(&http->conns_lock);
}
