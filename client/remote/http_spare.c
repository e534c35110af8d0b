/*
 * http_spare.c - see http_spare.h.
 *
 * Layer: client.
 */
#include "client/remote/http_spare.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "core/os.h"
#include "core/thread.h"

/* Less than a server waits for the first request on a connection. */
#define AGE_MAX_MS 8000u

struct spare {
    struct ramet_http_peer peer;
    uint64_t born_ms;
    int fd;
};

static struct {
    struct ramet_mutex mutex;
    unsigned fork_count;
    struct spare all[RAMET_HTTP_SPARES]; /* the oldest first */
    unsigned count;
} spares = {.mutex = RAMET_MUTEX_INIT};

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&spares.mutex);
}

static void
remove_at(unsigned at)
{
    assert(at < spares.count);
    spares.count--;
    memmove(&spares.all[at], &spares.all[at + 1],
            (spares.count - at) * sizeof(spares.all[0]));
}

static void
close_at(unsigned at)
{
    (void)close(spares.all[at].fd); /* nothing was sent over it */
    remove_at(at);
}

/* Invariant (4): a child closes its descriptors, and the connections stay the
 * parent's. */
static void
lock(void)
{
    ramet_mutex_lock(&spares.mutex);
    if (spares.fork_count == ramet_os_fork_count())
        return;
    spares.fork_count = ramet_os_fork_count();
    while (spares.count > 0)
        close_at(0);
}

/* Invariant (2). */
static void
close_old(uint64_t now_ms)
{
    while (spares.count > 0 && spares.all[0].born_ms + AGE_MAX_MS < now_ms)
        close_at(0);
}

static bool
is_to(const struct spare *spare, const void *address, socklen_t length)
{
    return spare->peer.length == length &&
           memcmp(&spare->peer.address, address, length) == 0;
}

void
ramet_http_peer_learn(struct ramet_http_peer *peer, CURL *curl)
{
    struct ramet_http_peer found = {.length = sizeof(found.address)};
    curl_socket_t fd = CURL_SOCKET_BAD;

    if (curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd) == CURLE_OK &&
        fd != CURL_SOCKET_BAD &&
        getpeername(fd, (struct sockaddr *)&found.address, &found.length) ==
            0 &&
        found.length > 0 && found.length <= sizeof(found.address))
        *peer = found;
}

/* On its way to being connected; -1: not even that. */
static int
begin_connect(const struct ramet_http_peer *peer)
{
    const int fd = socket(peer->address.ss_family,
                          SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert(peer->length > 0);
    if (fd >= 0 &&
        connect(fd, (const struct sockaddr *)&peer->address, peer->length) !=
            0 &&
        errno != EINPROGRESS) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

void
ramet_http_spares_prepare(const struct ramet_http_peer *peer, unsigned count,
                          uint64_t now_ms)
{
    unsigned there = 0;

    if (peer->length == 0)
        return;
    lock();
    close_old(now_ms);
    for (unsigned i = 0; i < spares.count; i++)
        there += is_to(&spares.all[i], &peer->address, peer->length);
    for (; there < count && spares.count < RAMET_HTTP_SPARES; there++) {
        const int fd = begin_connect(peer);

        if (fd < 0)
            break;
        spares.all[spares.count++] =
            (struct spare){.peer = *peer, .born_ms = now_ms, .fd = fd};
    }
    assert(spares.count <= RAMET_HTTP_SPARES); /* invariant 1 */
    ramet_mutex_unlock(&spares.mutex);
}

void
ramet_http_spares_drop(const struct ramet_http_peer *peer)
{
    lock();
    for (unsigned i = spares.count; peer->length > 0 && i-- > 0;)
        if (is_to(&spares.all[i], &peer->address, peer->length))
            close_at(i);
    ramet_mutex_unlock(&spares.mutex);
}

int
ramet_http_spares_take(const struct sockaddr *address, socklen_t length,
                       uint64_t now_ms)
{
    int taken = -1;

    lock();
    close_old(now_ms);
    /* In the order in which the server meets them: it may be one that serves a few
     * connections at a time, and waits for what those say. */
    for (unsigned i = 0; taken < 0 && i < spares.count;) {
        struct pollfd looked = {.fd = spares.all[i].fd,
                                .events = POLLIN | POLLOUT};

        if (!is_to(&spares.all[i], address, length) ||
            poll(&looked, 1, 0) <= 0) {
            i++; /* another server's, or still on its way */
        } else if (looked.revents == POLLOUT) {
            taken = looked.fd;
            remove_at(i);
        } else {
            close_at(i); /* invariant (2) */
        }
    }
    ramet_mutex_unlock(&spares.mutex);
    return taken;
}

static curl_socket_t
open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct ramet_http_spare_use *const use = ctx;
    const struct ramet_os *const os = ramet_os_system();

    use->fd = CURL_SOCKET_BAD;
    if (purpose == CURLSOCKTYPE_IPCXN && to->socktype == SOCK_STREAM)
        use->fd = ramet_http_spares_take(&to->addr, to->addrlen,
                                         os->mono_ns(os->ctx) / 1000000);
    return use->fd != CURL_SOCKET_BAD
               ? use->fd
               : socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

static int
tell_connected(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
    const struct ramet_http_spare_use *const use = ctx;

    (void)purpose;
    return fd == use->fd ? CURL_SOCKOPT_ALREADY_CONNECTED : CURL_SOCKOPT_OK;
}

void
ramet_http_spares_offer(CURL *curl, struct ramet_http_spare_use *use)
{
    use->fd = CURL_SOCKET_BAD;
    (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, use);
    (void)curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, tell_connected);
    (void)curl_easy_setopt(curl, CURLOPT_SOCKOPTDATA, use);
}
