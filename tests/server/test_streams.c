/*
 * test_streams.c - answers that are made as they go reach the client whole,
 * whatever the order in which the worker that makes them and the event thread
 * that sends them come to them.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "core/alloc.h"
#include "core/thread.h"
#include "server/http.h"
#include "server/work.h"

#define PIECES 3u
#define PIECE_BYTES (32u << 10) /* as much as the library takes at a time */
#define CLIENTS 4u
#define ANSWERS 1500u /* each client */

struct made {
    unsigned pieces;
    unsigned
        spin; /* how long a piece takes: the order of the two varies by it */
};

static void
spin(unsigned rounds)
{
    static atomic_uint sink;

    for (unsigned i = 0; i < rounds; i++)
        atomic_fetch_add_explicit(&sink, 1, memory_order_relaxed);
}

static enum ramet_rc
make_piece(void *state, struct ramet_buf *out, bool *out_done,
           struct ramet_err *err)
{
    static const uint8_t piece[PIECE_BYTES] = {1};
    struct made *const made = state;

    (void)err;
    spin(made->spin);
    ramet_buf_bytes(out, piece, sizeof(piece));
    *out_done = ++made->pieces == PIECES;
    return RAMET_OK;
}

static void
app_begin(void *ctx, struct ramet_http_request *rq)
{
    (void)ctx;
    (void)rq;
}

/* /known tells its length, /unknown does not. */
static void
app_ready(void *ctx, struct ramet_http_request *rq)
{
    static const struct ramet_http_stream_ops ops = {make_piece, ramet_free};
    static atomic_uint spins;
    struct made *const made = ramet_calloc(1, sizeof(*made));
    const struct ramet_http_stream stream = {
        .ops = &ops, .state = made, .state_bytes = sizeof(*made)};

    (void)ctx;
    assert_non_null(made);
    made->spin = atomic_fetch_add(&spins, 7) % 4096;
    ramet_http_reply_stream(rq, 200, "application/octet-stream",
                            strcmp(ramet_http_path(rq), "/known") == 0
                                ? (uint64_t)PIECES * PIECE_BYTES
                                : UINT64_MAX,
                            &stream);
}

static void
app_finished(void *ctx, struct ramet_http_request *rq, unsigned status,
             uint64_t bytes_out, uint64_t duration_us)
{
    (void)ctx;
    (void)rq;
    (void)status;
    (void)bytes_out;
    (void)duration_us;
}

static bool
app_allowed(void *ctx, struct ramet_http_request *rq)
{
    (void)ctx;
    (void)rq;
    return true;
}

static bool
app_is_vital(void *ctx, const char *path)
{
    (void)ctx;
    (void)path;
    return false;
}

struct served {
    struct ramet_work *work;
    struct ramet_http *http;
    struct sockaddr_in at;
};

static void
start(struct served *served)
{
    const struct ramet_http_app app = {.begin = app_begin,
                                       .ready = app_ready,
                                       .finished = app_finished,
                                       .allowed = app_allowed,
                                       .is_vital = app_is_vital};
    struct ramet_http_options options = {.event_threads = 2,
                                         .connections_max = 64,
                                         .header_timeout_ms = 600000,
                                         .idle_timeout_ms = 600000,
                                         .memory_budget_bytes = 64u << 20};
    socklen_t len = sizeof(served->at);
    struct ramet_err err;

    served->at = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    options.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(options.listen_fd, (struct sockaddr *)&served->at,
                          sizeof(served->at)),
                     0);
    assert_int_equal(listen(options.listen_fd, 64), 0);
    assert_int_equal(
        getsockname(options.listen_fd, (struct sockaddr *)&served->at, &len),
        0);
    assert_int_equal(ramet_work_new(2, 64, &served->work, &err), RAMET_OK);
    assert_int_equal(
        ramet_http_start(&options, &app, served->work, &served->http, &err),
        RAMET_OK);
}

static void
stop(struct served *served)
{
    ramet_http_stop(served->http, 60000);
    ramet_work_free(served->work);
    ramet_http_free(served->http);
}

struct client {
    const struct served *served;
    const char *path;
    unsigned whole; /* answers that came so */
    struct ramet_thread thread;
};

/* To the end of the connection: the bytes of header and body. */
static size_t
read_all(int fd, char *out, size_t max)
{
    size_t got = 0;
    ssize_t n;

    while (got < max && (n = recv(fd, out + got, max - got, 0)) > 0)
        got += (size_t)n;
    return got;
}

static bool
is_whole(const char *answer, size_t len)
{
    const char *const body = memmem(answer, len, "\r\n\r\n", 4);
    const size_t size = (size_t)PIECES * PIECE_BYTES;

    if (body == NULL)
        return false;
    if (memmem(answer, (size_t)(body - answer), "chunked", 7) == NULL)
        return len - (size_t)(body + 4 - answer) == size;
    return len - (size_t)(body + 4 - answer) > size; /* its framing, too */
}

static void *
ask(void *arg)
{
    struct client *const client = arg;
    const size_t max = (size_t)(PIECES + 1) * PIECE_BYTES;
    char *const answer = malloc(max);
    char request[100];

    (void)snprintf(request, sizeof(request),
                   "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                   client->path);
    for (unsigned i = 0; answer != NULL && i < ANSWERS; i++) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (connect(fd, (const struct sockaddr *)&client->served->at,
                    sizeof(client->served->at)) == 0 &&
            send(fd, request, strlen(request), MSG_NOSIGNAL) ==
                (ssize_t)strlen(request) &&
            is_whole(answer, read_all(fd, answer, max)))
            client->whole++;
        (void)close(fd);
    }
    free(answer);
    return NULL;
}

static void
check_answers(const char *path)
{
    struct client clients[CLIENTS] = {{.served = NULL}};
    struct served served;
    struct ramet_err err;

    start(&served);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].served = &served;
        clients[i].path = path;
        assert_int_equal(ramet_thread_start(&clients[i].thread, "client", ask,
                                            &clients[i], &err),
                         RAMET_OK);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        ramet_thread_join(&clients[i].thread);
    stop(&served);
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(clients[i].whole, ANSWERS);
}

static void
stream_of_known_length__is_whole_each_time(void **state)
{
    (void)state;
    check_answers("/known");
}

static void
stream_of_unknown_length__is_whole_each_time(void **state)
{
    (void)state;
    check_answers("/unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_of_known_length__is_whole_each_time),
        cmocka_unit_test(stream_of_unknown_length__is_whole_each_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
