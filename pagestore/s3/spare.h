/*
 * spare.h - connections that are set up before an exchange needs them.
 *
 * Exchanges side by side have a connection each, and the first on it waits for a round
 * trip more than it has to. So where it is known that many are to come, or more
 * of them come at a time than before, sockets are connected beside them, to the
 * address at which libcurl reached the service, and libcurl is given one of these in
 * place of a new one. (With TLS the handshake is still to come.)
 *
 *   (1) There are RAMET_S3_SPARES at most.
 *   (2) One that is older than a service waits for a first request is given to nobody,
 *       nor is one that the service has closed or on which it said something.
 *   (3) Nothing that changes something goes over one: if the service closes it at that
 *       moment, what became of the request can't be told.
 *
 * The engine's thread's alone. No call waits. Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_S3_SPARE_H
#define RAMET_PAGESTORE_S3_SPARE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <curl/curl.h>

#define RAMET_S3_SPARES 32u
#define RAMET_S3_SPARE_AGE_MS 8000u

struct ramet_s3_address {
    struct sockaddr_storage bytes;
    socklen_t length; /* 0: none */
};

struct ramet_s3_spares {
    struct ramet_s3_spare {
        struct ramet_s3_address address;
        uint64_t born_ms;
        int fd;
    } all[RAMET_S3_SPARES]; /* the oldest first */
    unsigned count;
    struct ramet_s3_address last; /* that a connection went to */
    curl_socket_t given; /* the spare one that libcurl was given last */
};

void ramet_s3_spares_done(struct ramet_s3_spares *spares);
/* Close those that are too old; how many there are then. */
unsigned ramet_s3_spares_trim(struct ramet_s3_spares *spares, uint64_t now_ms);
/* See to it that there are `count` for the address that was reached last. */
void ramet_s3_spares_prepare(struct ramet_s3_spares *spares, unsigned count,
                             uint64_t now_ms);
/* One to this address that is connected; -1: none. The caller's. */
int ramet_s3_spares_take(struct ramet_s3_spares *spares,
                         const struct sockaddr *address, socklen_t length,
                         uint64_t now_ms);
/* If this transfer needs a new connection it may have a spare one, and one more is
 * set up for it if it `is_of_many`. Invariant (3) is the caller's. */
void ramet_s3_spares_offer(struct ramet_s3_spares *spares, CURL *easy,
                           bool is_of_many);

#endif
