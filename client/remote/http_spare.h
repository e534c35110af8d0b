/*
 * http_spare.h - connections that are set up before a request needs them.
 *
 * A request beside others has a connection of its own, and the first on it waits for
 * a round trip more than it has to. So where many requests for pages are to come, a few
 * sockets are connected beside the first of them, to the address at which libcurl
 * reached the server, and libcurl is given one of these in place of a new one. (With
 * TLS the handshake is still to come.)
 *
 *   (1) A process has RAMET_HTTP_SPARES at most.
 *   (2) One that is as old as a server waits for a first request is given to nobody,
 *       nor is one that the server has closed or on which it said something.
 *   (3) No request that changes something goes over one: if the server closes it at
 *       that moment, what became of the request can't be told.
 *   (4) A child of fork() has none of its parent's.
 *
 * No call waits. Thread-safe. Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_SPARE_H
#define RAMET_CLIENT_REMOTE_HTTP_SPARE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <curl/curl.h>

#define RAMET_HTTP_SPARES 12u

/* Where a server was reached. Zeroed: it was not yet. */
struct ramet_http_peer {
    struct sockaddr_storage address;
    socklen_t length;
};

/* That of the exchange which `curl` has just ended; where that can't be told, what
 * was known stays. */
void ramet_http_peer_learn(struct ramet_http_peer *peer, CURL *curl);

/* See to it that there are so many for this server, if there may be. */
void ramet_http_spares_prepare(const struct ramet_http_peer *peer,
                               unsigned count, uint64_t now_ms);
/* None for this server any more. */
void ramet_http_spares_drop(const struct ramet_http_peer *peer);
/* One to this address that is connected; -1: none. The caller's. */
int ramet_http_spares_take(const struct sockaddr *address, socklen_t length,
                           uint64_t now_ms);

/* Which socket of a transfer was a spare one. */
struct ramet_http_spare_use {
    curl_socket_t fd;
};

/* If this transfer needs a new connection, it may have a spare one. `use` outlives
 * it. Invariant (3) is the caller's. */
void ramet_http_spares_offer(CURL *curl, struct ramet_http_spare_use *use);

#endif
