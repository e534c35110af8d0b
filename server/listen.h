/*
 * listen.h - "host:port" to a listening socket.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_LISTEN_H
#define RAMET_SERVER_LISTEN_H

#include <stdbool.h>
#include <sys/socket.h>

#include "core/err.h"

struct ramet_listen_address {
    struct sockaddr_storage address;
    socklen_t length;
    bool loopback; /* cannot be reached from another machine */
    char text[256];
};

/* "127.0.0.1:7411", "[::1]:7411", "localhost:0", "0.0.0.0:7411". */
RAMET_NODISCARD enum ramet_rc
ramet_listen_parse(const char *text, struct ramet_listen_address *out,
                   struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_listen_open(const struct ramet_listen_address *address, int *out_fd,
                  unsigned *out_port, struct ramet_err *err);

#endif
