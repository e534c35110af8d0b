/*
 * listen.c - see listen.h.
 */
#include "server/listen.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 1024

static bool
is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;

        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;

        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    return false;
}

/* "[::1]:80" without its brackets; the port's begin. */
static bool
split_address(const char *text, char *host, size_t host_size,
              const char **out_port)
{
    const char *colon = strrchr(text, ':');
    size_t len;

    assert(host_size > 0);
    if (colon == NULL || colon[1] == '\0')
        return false;
    len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len) != NULL) {
        return false; /* IPv6 wants its brackets */
    }
    if (len == 0 || len >= host_size)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    *out_port = colon + 1;
    return true;
}

enum ramet_rc
ramet_listen_parse(const char *text, struct ramet_listen_address *out,
                   struct ramet_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[256];
    const char *port;
    int rc;

    if (!split_address(text, host, sizeof(host), &port))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "listen %s: HOST:PORT is wanted, such as "
                          "127.0.0.1:7411 or [::1]:7411",
                          text);
    rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        return RAMET_FAIL(err, RAMET_EINVAL, "listen %s: %s", text,
                          gai_strerror(rc));
    assert(found != NULL && found->ai_addrlen <= sizeof(out->address));
    memset(out, 0, sizeof(*out));
    memcpy(&out->address, found->ai_addr, found->ai_addrlen);
    out->length = found->ai_addrlen;
    out->loopback = is_loopback(&out->address);
    (void)snprintf(out->text, sizeof(out->text), "%s", text);
    freeaddrinfo(found);
    return RAMET_OK;
}

static unsigned
port_of(int fd)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof(bound);

    if (getsockname(fd, (struct sockaddr *)&bound, &length) != 0)
        return 0;
    if (bound.ss_family == AF_INET)
        return ntohs(
            ((const struct sockaddr_in *)(const void *)&bound)->sin_port);
    return ntohs(
        ((const struct sockaddr_in6 *)(const void *)&bound)->sin6_port);
}

enum ramet_rc
ramet_listen_open(const struct ramet_listen_address *address, int *out_fd,
                  unsigned *out_port, struct ramet_err *err)
{
    const int on = 1;
    int fd = socket(address->address.ss_family,
                    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert(address->length > 0);
    if (fd < 0)
        return RAMET_FAIL_SYS(err, RAMET_EIO, errno, "listen %s",
                              address->text);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&address->address, address->length) !=
            0 ||
        listen(fd, BACKLOG) != 0) {
        const int errnum = errno;

        (void)close(fd);
        return RAMET_FAIL_OS(err, -errnum, "listen %s", address->text);
    }
    *out_fd = fd;
    *out_port = port_of(fd);
    return RAMET_OK;
}
