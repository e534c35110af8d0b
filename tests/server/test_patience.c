/*
 * test_patience.c - a server that never comes to an end: every request to it
 * ends all the same.
 *
 * Each test is played by a server that does one thing for ever; that a call
 * returns at all is what is tested, so nothing looks at a clock.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/patience.h"
#include "core/thread.h"
#include "tests/server/fixture.h"

struct endless;
/* Answer a request; false: the connection is over. */
typedef bool play(struct endless *server, int client, const char *request);

struct endless {
    int fd;
    unsigned port;
    play *play;
    atomic_uint requests;
    struct ramet_thread thread;
};

static bool
send_text(int client, const char *text)
{
    const size_t len = strlen(text);

    return send(client, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* One connection at a time. */
static void *
serve(void *arg)
{
    struct endless *const server = arg;

    for (;;) {
        const int client = accept(server->fd, NULL, NULL);
        char request[4096];
        ssize_t n;

        if (client < 0)
            return NULL;
        while ((n = recv(client, request, sizeof(request) - 1, 0)) > 0) {
            request[n] = '\0';
            atomic_fetch_add(&server->requests, 1);
            if (!server->play(server, client, request))
                break;
        }
        (void)close(client);
    }
}

static struct ramet_remote *
start(struct endless *server, play *how)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof(in);
    struct ramet_err err;

    memset(server, 0, sizeof(*server));
    server->play = how;
    server->fd = socket(AF_INET, SOCK_STREAM, 0);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(server->fd, 16), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&in, &len), 0);
    server->port = ntohs(in.sin_port);
    assert_int_equal(
        ramet_thread_start(&server->thread, "endless", serve, server, &err),
        RAMET_OK);
    return fixture_connect_hasty(server->port);
}

static void
stop(struct endless *server, struct ramet_remote *remote)
{
    remote->ops->close(remote);
    (void)shutdown(server->fd, SHUT_RDWR);
    ramet_thread_join(&server->thread);
    (void)close(server->fd);
}

static void
pause_ms(unsigned ms)
{
    const struct ramet_os *const os = ramet_os_system();

    os->sleep_us(os->ctx, (uint64_t)ms * 1000);
}

/* ---- the least rate -------------------------------------------------------- */

static bool
trickle(struct endless *server, int client, const char *request)
{
    (void)server;
    (void)request;
    if (!send_text(client, "HTTP/1.1 206 Partial Content\r\n"
                           "Content-Range: bytes 0-999999/1000000\r\n"
                           "Content-Length: 1000000\r\n\r\n"))
        return false;
    while (send_text(client, "x"))
        pause_ms(10);
    return false;
}

static void
answer__that_trickles_in_for_ever__ends(void **state)
{
    static uint8_t buf[1000000];
    struct endless server;
    struct ramet_remote *const remote = start(&server, trickle);
    struct ramet_err err;
    size_t got;

    (void)state;
    assert_int_equal(ramet_objstore_read(remote->store, "names/a/b", 0, buf,
                                         sizeof(buf), &got, &err),
                     RAMET_ETIMEOUT);
    stop(&server, remote);
}

static bool
trickle_headers(struct endless *server, int client, const char *request)
{
    (void)server;
    (void)request;
    while (send_text(client, "HTTP/1.1 102 Processing\r\n\r\n"))
        pause_ms(5);
    return false;
}

static void
answer__that_is_always_about_to_come__ends(void **state)
{
    struct endless server;
    struct ramet_remote *const remote = start(&server, trickle_headers);
    struct ramet_err err;
    uint64_t size;

    (void)state;
    assert_int_equal(
        ramet_objstore_size(remote->store, "names/a/b", &size, &err),
        RAMET_ETIMEOUT);
    stop(&server, remote);
}

static void
patience__is_lost_below_the_least_rate_only(void **state)
{
    struct ramet_patience p;
    uint64_t now_ms = 5000, moved = 0;

    (void)state;
    ramet_patience_begin(&p, 1000, now_ms, moved);
    for (int i = 0; i < 100; i++) { /* at the least rate, in bursts */
        now_ms += 500;
        moved += i % 2 == 0 ? RAMET_RATE_MIN : 0;
        assert_false(ramet_patience_is_lost(&p, now_ms, moved));
    }
    now_ms += 999;
    assert_false(ramet_patience_is_lost(&p, now_ms, moved));
    now_ms += 1;
    assert_true(ramet_patience_is_lost(&p, now_ms, moved + 1));
    assert_int_equal(ramet_patience_total_ms(1000, 0), 3000);
    assert_int_equal(ramet_patience_total_ms(1000, 10 * RAMET_RATE_MIN), 13000);
}

/* ---- lists ----------------------------------------------------------------- */

/* A page of one key each, always ascending, always with more to come. */
static bool
list_for_ever(struct endless *server, int client, const char *request)
{
    char body[256], head[256];

    (void)request;
    (void)snprintf(body, sizeof(body),
                   "{\"keys\":[[\"names/a%08u/fffffffffffffffe\",48]],"
                   "\"more\":true}",
                   atomic_load(&server->requests));
    (void)snprintf(head, sizeof(head),
                   "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                   strlen(body));
    return send_text(client, head) && send_text(client, body);
}

static bool
count_key(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    ++*(unsigned *)ctx;
    return true;
}

static void
list__that_never_ends__is_no_list(void **state)
{
    struct endless server;
    struct ramet_remote *const remote = start(&server, list_for_ever);
    struct ramet_err err;
    unsigned keys = 0;

    (void)state;
    assert_int_equal(ramet_objstore_list(remote->store, "names/", "", count_key,
                                         &keys, &err),
                     RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "does not end"));
    assert_in_range(keys, 50, 100);
    stop(&server, remote);
}

/* ---- events ---------------------------------------------------------------- */

#define STREAM                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.ramet.news\r\n"          \
    "Connection: close\r\n\r\n"

/* A beat of the first volume. */
static void
put_beat(uint8_t out[20], uint8_t lsn)
{
    memset(out, 0x5a, 20);
    out[0] = 2;
    out[1] = 0;
    out[2] = lsn;
    out[19] = 0; /* the time */
}

static bool
flood(struct endless *server, int client, const char *request)
{
    uint8_t beats[20 * 400];

    (void)server;
    (void)request;
    for (size_t i = 0; i < sizeof(beats); i += 20)
        put_beat(beats + i, 1);
    if (!send_text(client, STREAM) || send(client, "\0\1", 2, MSG_NOSIGNAL) < 0)
        return false;
    while (send(client, beats, sizeof(beats), MSG_NOSIGNAL) > 0)
        ;
    return false;
}

static void
events__that_flood__are_no_stream(void **state)
{
    struct endless server;
    struct ramet_remote *const remote = start(&server, flood);
    struct ramet_vid volume;
    struct ramet_err err;

    (void)state;
    assert_int_equal(ramet_id_new(&volume.id, &err), RAMET_OK);
    /* Not RAMET_ETIMEOUT: that would be a stream in which all is well. */
    assert_int_equal(remote->ops->wait(remote, &volume, 1, 600000, NULL, &err),
                     RAMET_EUNREACHABLE);
    stop(&server, remote);
}

/* The first stream tells of a commit in the far future, others of none. */
static bool
lie_once(struct endless *server, int client, const char *request)
{
    uint8_t beat[20];
    char byte;

    (void)request;
    put_beat(beat, atomic_load(&server->requests) == 1 ? 100 : 2);
    if (!send_text(client, STREAM) ||
        send(client, "\0\1", 2, MSG_NOSIGNAL) < 0 ||
        send(client, beat, sizeof(beat), MSG_NOSIGNAL) < 0)
        return false;
    while (recv(client, &byte, 1, 0) > 0) /* until the client goes */
        ;
    return false;
}

/* A volume at LSN 5, and then at 3. */
static bool
go_back(struct endless *server, int client, const char *request)
{
    uint8_t beats[40];
    char byte;

    (void)server;
    (void)request;
    put_beat(beats, 5);
    put_beat(beats + 20, 3);
    if (!send_text(client, STREAM) ||
        send(client, "\0\1", 2, MSG_NOSIGNAL) < 0 ||
        send(client, beats, sizeof(beats), MSG_NOSIGNAL) < 0)
        return false;
    while (recv(client, &byte, 1, 0) > 0)
        ;
    return false;
}

static void
beat__of_an_earlier_commit__is_no_old_news(void **state)
{
    struct endless server;
    struct ramet_remote *const remote = start(&server, go_back);
    struct ramet_heard heard = {.is_alive = false};
    struct ramet_vid volume;
    struct ramet_err err;

    (void)state;
    assert_int_equal(ramet_id_new(&volume.id, &err), RAMET_OK);
    assert_int_equal(remote->ops->wait(remote, &volume, 1, 600000, NULL, &err),
                     RAMET_OK);
    for (unsigned i = 0; heard.newest.lsn != 3; i++) {
        assert_true(i < 2000);
        pause_ms(5);
        (void)remote->ops->heard(remote, &volume, &heard);
    }
    assert_int_equal(heard.confirmed_ms, 0);
    stop(&server, remote);
}

static void
event__that_did_not_come_true__is_forgotten(void **state)
{
    struct endless server;
    struct ramet_remote *const remote = start(&server, lie_once);
    struct ramet_vid volume;
    struct ramet_err err;

    (void)state;
    assert_int_equal(ramet_id_new(&volume.id, &err), RAMET_OK);
    assert_int_equal(remote->ops->wait(remote, &volume, 1, 600000, NULL, &err),
                     RAMET_OK);
    remote->ops->disbelieve(remote, &volume);
    /* Nothing past 2 is believed any more, but 2 is heard. */
    assert_int_equal(remote->ops->wait(remote, &volume, 2, 1, NULL, &err),
                     RAMET_ETIMEOUT);
    assert_int_equal(remote->ops->wait(remote, &volume, 1, 600000, NULL, &err),
                     RAMET_OK);
    stop(&server, remote);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answer__that_trickles_in_for_ever__ends),
        cmocka_unit_test(answer__that_is_always_about_to_come__ends),
        cmocka_unit_test(patience__is_lost_below_the_least_rate_only),
        cmocka_unit_test(list__that_never_ends__is_no_list),
        cmocka_unit_test(events__that_flood__are_no_stream),
        cmocka_unit_test(beat__of_an_earlier_commit__is_no_old_news),
        cmocka_unit_test(event__that_did_not_come_true__is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
