/*
 * http_watch.c - the connections, and who of them is too slow.
 *
 * libmicrohttpd ends a connection that is silent; one that drips a byte now
 * and then it would keep for ever. The watcher bounds the time of each phase,
 * and more strictly when most places or most of the memory are taken, so that
 * honest clients find some. It ends a connection by shutdown(2), which its event thread then sees;
 * the descriptor can't be closed meanwhile, since that needs conns_lock.
 */
#include <assert.h>
#include <sys/socket.h>

#include "core/alloc.h"
#include "server/http_impl.h"

#define RATE_MIN_BYTES_PER_S 1024u
#define RATE_GRACE_MS 30000u
#define CROWDED_GRACE_MS 2000u

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

        atomic_fetch_add_explicit(&http->connections, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&http->accepted, 1, memory_order_relaxed);
        conn = ramet_calloc(1, sizeof(*conn));
        if (conn == NULL)
            return; /* served, but not watched */
        conn->fd = info != NULL ? info->connect_fd : -1;
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

static bool
is_below_rate(const struct conn *conn, uint64_t age_ms)
{
    return atomic_load_explicit(&conn->bytes, memory_order_relaxed) <
           age_ms / 1000u * RATE_MIN_BYTES_PER_S;
}

static bool
is_too_slow(const struct ramet_http *http, const struct conn *conn,
            uint64_t now_ms, bool crowded)
{
    const uint64_t since =
        atomic_load_explicit(&conn->since_ms, memory_order_relaxed);
    const uint64_t age_ms = now_ms > since ? now_ms - since : 0;
    const uint64_t grace_ms = crowded ? CROWDED_GRACE_MS : RATE_GRACE_MS;

    switch ((enum conn_state)atomic_load_explicit(&conn->state,
                                                  memory_order_relaxed)) {
    case CONN_NEW:
        return age_ms >
               (crowded ? CROWDED_GRACE_MS : http->options.header_timeout_ms);
    case CONN_IDLE:
        return age_ms >
               (crowded ? CROWDED_GRACE_MS : http->options.idle_timeout_ms);
    case CONN_RECEIVING:
    case CONN_SENDING:
        return age_ms > grace_ms && is_below_rate(conn, age_ms);
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

void
ramet_http_tick(struct ramet_http *http, uint64_t now_ms)
{
    const bool crowded =
        atomic_load_explicit(&http->connections, memory_order_relaxed) >
            http->options.connections_max / 4u * 3u ||
        atomic_load_explicit(&http->held_bytes, memory_order_relaxed) >
            http->options.memory_budget_bytes / 4u * 3u;

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
