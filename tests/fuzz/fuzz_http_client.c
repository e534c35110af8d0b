/*
 * fuzz_http_client.c - a client whose server answers what the input says: status
 * lines, headers, JSON, objects, streams, cut off or too long.
 *
 * The input is answers, each with its length before it; a thread gives them to one
 * request after another, and closes each connection behind it. Where a client waits
 * before it tries again no time passes.
 * Whatever comes, each call ends with a result, and errors have words.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/remote/remote.h"
#include "core/bytes.h"
#include "metastore/catalog.h"
#include "metastore/history.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ANSWERS_MAX 24u

struct answer {
    const uint8_t *data;
    size_t len;
};

static struct {
    pthread_mutex_t mutex;
    struct answer answers[ANSWERS_MAX];
    unsigned count, next;
    int listener;
    unsigned port;
} server = {.mutex = PTHREAD_MUTEX_INITIALIZER, .listener = -1};

static void
require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_http_client: %s\n", what);
        abort();
    }
}

/* A pause before a request is sent again takes no time here. */
int
clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
                struct timespec *left)
{
    (void)clock;
    (void)flags;
    (void)time;
    (void)left;
    return 0;
}

/* ---- the server --------------------------------------------------------------- */

/* Up to the end of the request's head, and what came with it. */
static bool
read_request(int fd)
{
    char head[8192];
    size_t len = 0;

    while (len < sizeof(head) - 1) {
        const ssize_t got = recv(fd, head + len, sizeof(head) - 1 - len, 0);

        if (got <= 0)
            return false;
        len += (size_t)got;
        head[len] = '\0';
        if (strstr(head, "\r\n\r\n") != NULL)
            return true;
    }
    return true;
}

static void
send_all(int fd, const void *data, size_t len)
{
    const uint8_t *at = data;

    while (len > 0) {
        const ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        at += sent;
        len -= (size_t)sent;
    }
}

/* Where the input has no more: 404. */
static void
give_answer(int fd)
{
    static const char none[] = "HTTP/1.1 404 Not Found\r\n"
                               "Content-Length: 0\r\n\r\n";
    struct answer answer = {(const uint8_t *)none, sizeof(none) - 1};
    uint8_t *copy; /* the input may be gone before all is sent */

    pthread_mutex_lock(&server.mutex);
    if (server.next < server.count)
        answer = server.answers[server.next++];
    copy = malloc(answer.len + 1);
    require(copy != NULL, "no memory");
    memcpy(copy, answer.data, answer.len);
    pthread_mutex_unlock(&server.mutex);
    send_all(fd, copy, answer.len);
    free(copy);
}

static void *
serve(void *arg)
{
    (void)arg;
    for (;;) {
        const int fd = accept(server.listener, NULL, NULL);

        if (fd < 0)
            continue;
        if (read_request(fd))
            give_answer(fd);
        shutdown(fd, SHUT_WR);
        close(fd);
    }
    return NULL;
}

static void
start_server(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    pthread_t thread;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(server.listener >= 0 &&
                bind(server.listener, (struct sockaddr *)&at, len) == 0 &&
                listen(server.listener, 64) == 0 &&
                getsockname(server.listener, (struct sockaddr *)&at, &len) == 0,
            "no socket");
    server.port = ntohs(at.sin_port);
    require(pthread_create(&thread, NULL, serve, NULL) == 0, "no thread");
    pthread_detach(thread);
}

/* ---- the client --------------------------------------------------------------- */

static void
expect_words(enum ramet_rc rc, struct ramet_err *err, const char *what)
{
    require(rc == RAMET_OK || err->text[0] != '\0', what);
    err->text[0] = '\0';
}

static bool
see(void *ctx, const char *name, const struct ramet_vid *volume)
{
    (void)ctx;
    (void)volume;
    require(name[0] == '\0' || ramet_name_valid(name), "a name that is none");
    return true;
}

static enum ramet_rc
ignore_page(void *ctx, uint32_t pgno, const uint8_t *page,
            struct ramet_err *err)
{
    (void)ctx;
    (void)pgno;
    (void)page;
    (void)err;
    return RAMET_OK;
}

static void
read_volume(struct ramet_remote *remote, const struct ramet_vid *volume)
{
    struct ramet_history *history = NULL;
    struct ramet_err err = {.text = ""};
    struct ramet_head head;
    const uint32_t pgnos[3] = {1, 2, 3};
    enum ramet_rc rc =
        ramet_history_open(remote->store, volume, NULL, &history, &err);

    expect_words(rc, &err, "opened");
    if (rc != RAMET_OK)
        return;
    rc = ramet_history_newest(history, &head, &err);
    expect_words(rc, &err, "the newest");
    if (rc == RAMET_OK && head.page_count >= 3) {
        const struct ramet_point at = ramet_head_point(&head);

        expect_words(remote->ops->bring(remote, volume, &at, pgnos, 3, true,
                                        ignore_page, NULL, &err),
                     &err, "brought");
        expect_words(ramet_history_read_pages(history, &at, pgnos, 3, false,
                                              ignore_page, NULL, &err),
                     &err, "read");
    }
    ramet_history_close(history);
}

static void
use_remote(struct ramet_remote *remote)
{
    const struct ramet_vid fresh = {.id = {{7}}};
    struct ramet_vid volume = fresh;
    struct ramet_err err = {.text = ""};
    const struct iovec part = {(void *)(uintptr_t) "abc", 3};

    expect_words(ramet_catalog_list(remote->store, see, NULL, &err), &err,
                 "listed");
    expect_words(ramet_catalog_resolve(remote->store, "app", &volume, &err),
                 &err, "resolved");
    read_volume(remote, &volume);
    expect_words(
        ramet_objstore_put(remote->store, "names/app/1", &part, 1, &err), &err,
        "put");
    expect_words(ramet_remote_delete(remote, &volume, &err), &err, "deleted");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ramet_remote_options options = {
        .token = "", .connect_timeout_ms = 500, .stall_timeout_ms = 500};
    struct ramet_url url = {.scheme = RAMET_REMOTE_HTTP};
    struct ramet_remote *remote;
    struct ramet_reader in;

    if (server.listener < 0)
        start_server();
    ramet_reader_init(&in, data, size);
    pthread_mutex_lock(&server.mutex);
    server.next = server.count = 0;
    while (ramet_reader_left(&in) > 2 && server.count < ANSWERS_MAX) {
        size_t len = ramet_read_le16(&in);

        if (len > ramet_reader_left(&in))
            len = ramet_reader_left(&in);
        server.answers[server.count++] = (struct answer){in.data + in.pos, len};
        in.pos += len;
    }
    pthread_mutex_unlock(&server.mutex);
    (void)snprintf(url.root, sizeof(url.root), "http://127.0.0.1:%u",
                   server.port);
    if (ramet_remote_open_http(&url, &options, &remote, NULL) != RAMET_OK)
        return 0;
    use_remote(remote);
    ramet_remote_close(remote);
    pthread_mutex_lock(
        &server.mutex); /* of the input nothing is used any more */
    server.count = 0;
    pthread_mutex_unlock(&server.mutex);
    return 0;
}
