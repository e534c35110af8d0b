/*
 * spare.c - see spare.h.
 */
#include "pagestore/s3/spare.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "core/os.h"

static uint64_t
clock_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

static void
remove_at(struct ramet_s3_spares *spares, unsigned at)
{
    assert(at < spares->count);
    spares->count--;
    memmove(&spares->all[at], &spares->all[at + 1],
            (spares->count - at) * sizeof(spares->all[0]));
}

static void
close_at(struct ramet_s3_spares *spares, unsigned at)
{
    (void)close(spares->all[at].fd); /* nothing was sent over it */
    remove_at(spares, at);
}

void
ramet_s3_spares_done(struct ramet_s3_spares *spares)
{
    while (spares->count > 0)
        close_at(spares, spares->count - 1);
}

unsigned
ramet_s3_spares_trim(struct ramet_s3_spares *spares, uint64_t now_ms)
{
    while (spares->count > 0 && /* invariant (2) */
           spares->all[0].born_ms + RAMET_S3_SPARE_AGE_MS < now_ms)
        close_at(spares, 0);
    return spares->count;
}

static bool
is_to(const struct ramet_s3_spare *spare, const void *address, socklen_t length)
{
    return spare->address.length == length &&
           memcmp(&spare->address.bytes, address, length) == 0;
}

/* On its way to being connected; false: not even that. */
static bool
begin_connect(struct ramet_s3_spares *spares, uint64_t now_ms)
{
    const struct ramet_s3_address *const to = &spares->last;
    const int fd = socket(to->bytes.ss_family,
                          SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert(to->length > 0 && spares->count < RAMET_S3_SPARES);
    if (fd < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)&to->bytes, to->length) != 0 &&
        errno != EINPROGRESS) {
        (void)close(fd);
        return false;
    }
    spares->all[spares->count++] =
        (struct ramet_s3_spare){.address = *to, .born_ms = now_ms, .fd = fd};
    return true;
}

void
ramet_s3_spares_prepare(struct ramet_s3_spares *spares, unsigned count,
                        uint64_t now_ms)
{
    unsigned there = 0;

    if (spares->last.length == 0)
        return;
    (void)ramet_s3_spares_trim(spares, now_ms);
    for (unsigned i = 0; i < spares->count; i++)
        there +=
            is_to(&spares->all[i], &spares->last.bytes, spares->last.length);
    while (there < count && spares->count < RAMET_S3_SPARES && /* (1) */
           begin_connect(spares, now_ms))
        there++;
}

int
ramet_s3_spares_take(struct ramet_s3_spares *spares,
                     const struct sockaddr *address, socklen_t length,
                     uint64_t now_ms)
{
    (void)ramet_s3_spares_trim(spares, now_ms);
    for (unsigned i = 0; i < spares->count;) {
        struct pollfd looked = {.fd = spares->all[i].fd,
                                .events = POLLIN | POLLOUT};

        if (!is_to(&spares->all[i], address, length) ||
            poll(&looked, 1, 0) <= 0) {
            i++; /* another's, or still on its way */
        } else if (looked.revents == POLLOUT) {
            remove_at(spares, i);
            return looked.fd;
        } else {
            close_at(spares, i); /* invariant (2) */
        }
    }
    return -1;
}

static curl_socket_t
open_socket(struct ramet_s3_spares *spares, const struct curl_sockaddr *to,
            bool is_of_many)
{
    const uint64_t now_ms = clock_ms();
    curl_socket_t fd;

    if (to->socktype != SOCK_STREAM || to->addrlen > sizeof(spares->last.bytes))
        return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    memcpy(&spares->last.bytes, &to->addr, to->addrlen);
    spares->last.length = to->addrlen;
    fd = ramet_s3_spares_take(spares, &to->addr, to->addrlen, now_ms);
    spares->given = fd >= 0 ? fd : CURL_SOCKET_BAD;
    if (fd < 0)
        fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    if (is_of_many && spares->count < RAMET_S3_SPARES) /* invariant (1) */
        (void)begin_connect(spares, now_ms);
    return fd;
}

static curl_socket_t
open_one(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    (void)purpose;
    return open_socket(ctx, to, false);
}

static curl_socket_t
open_of_many(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    (void)purpose;
    return open_socket(ctx, to, true);
}

static int
tell_connected(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
    const struct ramet_s3_spares *const spares = ctx;

    (void)purpose;
    return fd == spares->given ? CURL_SOCKOPT_ALREADY_CONNECTED
                               : CURL_SOCKOPT_OK;
}

void
ramet_s3_spares_offer(struct ramet_s3_spares *spares, CURL *easy,
                      bool is_of_many)
{
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION,
                           is_of_many ? open_of_many : open_one);
    (void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, spares);
    (void)curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, tell_connected);
    (void)curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, spares);
}
