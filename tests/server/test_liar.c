/*
 * test_liar.c - a server that lies: whatever it answers, a client gets the
 * right pages or an error.
 *
 * The lies are told by a proxy that flips a bit in what the server sends, or
 * cuts it off, at a place that differs each time.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/thread.h"
#include "tests/server/fixture.h"
#include "tests/support/point.h"

#define TRIES 100u
#define PAGES 64u

struct liar {
    int fd;
    unsigned port; /* ours */
    unsigned server_port;
    _Atomic long lie_at; /* byte of the server's bytes, counted from here on */
    _Atomic bool cut;    /* instead of a flipped bit */
    _Atomic unsigned lies; /* told so far */
    struct ramet_thread thread;
};

static int
connect_to(unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    return fd;
}

/* False: this connection is over. */
static bool
pass_on(struct liar *liar, int from, int to, bool lies)
{
    char buf[16384];
    const ssize_t n = recv(from, buf, sizeof(buf), 0);

    if (n <= 0)
        return false;
    if (lies) {
        const long at = atomic_fetch_sub(&liar->lie_at, n);

        if (at >= 0 && at < n)
            atomic_fetch_add(&liar->lies, 1);
        if (at >= 0 && at < n && atomic_load(&liar->cut)) {
            (void)send(to, buf, (size_t)at, MSG_NOSIGNAL);
            return false;
        }
        if (at >= 0 && at < n)
            buf[at] ^= (char)(1 << (at % 8));
    }
    return send(to, buf, (size_t)n, MSG_NOSIGNAL) == n;
}

static void *
relay(void *arg)
{
    struct liar *liar = arg;

    for (;;) {
        const int client = accept(liar->fd, NULL, NULL);
        int server;

        if (client < 0)
            return NULL;
        server = connect_to(liar->server_port);
        for (;;) {
            struct pollfd fds[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};

            if (poll(fds, 2, 10000) <= 0 ||
                (fds[0].revents != 0 &&
                 !pass_on(liar, client, server, false)) ||
                (fds[1].revents != 0 && !pass_on(liar, server, client, true)))
                break;
        }
        (void)close(server);
        (void)close(client);
    }
}

static void
start_liar(struct liar *liar, unsigned server_port)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof(in);
    struct ramet_err err;

    memset(liar, 0, sizeof(*liar));
    liar->server_port = server_port;
    liar->fd = socket(AF_INET, SOCK_STREAM, 0);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(liar->fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(liar->fd, 16), 0);
    assert_int_equal(getsockname(liar->fd, (struct sockaddr *)&in, &len), 0);
    liar->port = ntohs(in.sin_port);
    assert_int_equal(
        ramet_thread_start(&liar->thread, "liar", relay, liar, &err), RAMET_OK);
}

static void
stop_liar(struct liar *liar)
{
    (void)shutdown(liar->fd, SHUT_RDWR);
    ramet_thread_join(&liar->thread);
    (void)close(liar->fd);
}

struct reading {
    const struct model_version *want;
    unsigned seen;
    bool is_seen[PAGES];
    bool wrong;
};

static enum ramet_rc
compare_page(void *ctx, uint32_t pgno, const uint8_t *page,
             struct ramet_err *err)
{
    struct reading *r = ctx;
    uint8_t want[512];

    (void)err;
    model_fill(want, sizeof(want), r->want->pages[pgno - 1]);
    r->wrong = r->wrong || memcmp(page, want, sizeof(want)) != 0;
    assert_false(r->is_seen[pgno - 1]);
    r->is_seen[pgno - 1] = true;
    r->seen++;
    return RAMET_OK;
}

/* Open the volume from nothing and read all of it. True: all was right; false:
 * there was an error. Anything else is a failed test. */
static bool
read_all(unsigned port, const struct model *model, bool prefetch,
         uint64_t *out_requests)
{
    struct ramet_remote *remote = fixture_connect_hasty(port);
    struct reading r = {.want = &model->versions[model->lsn]};
    struct ramet_history *history;
    struct ramet_head head = {.lsn = 0};
    uint32_t pgnos[PAGES];
    struct ramet_err err;
    size_t left = 0;
    enum ramet_rc rc;

    for (uint32_t i = 0; i < PAGES; i++)
        pgnos[i] = i + 1;
    assert_int_equal(
        ramet_history_open(remote->store, &model->volume, NULL, &history, &err),
        RAMET_OK);
    rc = ramet_history_newest(history, &head, &err);
    /* A lie about which LSN is the newest can't be told from an older truth;
     * that is what a replica's own memory is for. */
    if (rc == RAMET_OK && head.lsn != model->lsn)
        rc = RAMET_ECORRUPT;
    if (rc == RAMET_OK && prefetch)
        rc = remote->ops->bring(remote, &model->volume,
                                point_at(history, head.lsn), pgnos, PAGES,
                                false, compare_page, &r, &err);
    for (uint32_t i = 0; i < PAGES; i++)
        if (!r.is_seen[i])
            pgnos[left++] = i + 1;
    if (rc == RAMET_OK)
        rc = ramet_history_read_pages(history, point_at(history, head.lsn),
                                      pgnos, left, false, compare_page, &r,
                                      &err);
    assert_false(r.wrong);
    if (rc == RAMET_OK)
        assert_int_equal(r.seen, PAGES);
    ramet_history_close(history);
    *out_requests = remote->ops->requests(remote);
    remote->ops->close(remote);
    return rc == RAMET_OK;
}

static void
lie_everywhere(bool prefetch, bool cut, bool deltas)
{
    unsigned right = 0, refused = 0, noticed = 0, lies;
    uint64_t honest, requests;
    struct fixture f;
    struct model model;
    struct liar liar;

    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 21);
    model_write(&model, 1, PAGES);
    model.delta_percent = deltas ? 90 : 0;
    for (unsigned i = 0; i < (deltas ? 12 : 40); i++)
        model_write_random(&model, deltas ? 20 : 2);
    start_liar(&liar, ramet_server_port(f.server));
    atomic_store(&liar.cut, cut);
    atomic_store(&liar.lie_at, -1);
    assert_true(read_all(liar.port, &model, prefetch, &honest));
    assert_int_equal(atomic_load(&liar.lies), 0);
    for (unsigned i = 0; i < TRIES; i++) {
        atomic_store(&liar.lie_at, (long)i * 149 % 15000);
        if (read_all(liar.port, &model, prefetch, &requests))
            right++;
        else
            refused++;
        noticed += requests != honest;
    }
    lies = atomic_load(&liar.lies);
    printf("%u lies, %u right, %u refused\n", lies, right, refused);
    /* It was really lied to, and not only in headers that don't matter: it was
     * refused, or asked for again what came damaged or was cut off. */
    assert_true(lies > TRIES / 2);
    assert_true(cut ? right > TRIES / 2 : refused + noticed > TRIES / 20);
    stop_liar(&liar);
    model_done(&model);
    fixture_stop(&f);
}

static void
liar__flipped_bits_are_noticed(void **state)
{
    (void)state;
    lie_everywhere(false, false, false);
}

static void
liar__flipped_bits_in_pages_sent_ahead_are_noticed(void **state)
{
    (void)state;
    lie_everywhere(true, false, false);
}

static void
liar__cut_answers_are_noticed(void **state)
{
    (void)state;
    lie_everywhere(true, true, false);
}

/* Fronts, loose deltas and their bases: what does not fit is read by itself. */
static void
liar__flipped_bits_in_loose_deltas_are_noticed(void **state)
{
    (void)state;
    lie_everywhere(true, false, true);
}

static void
liar__cut_loose_deltas_are_noticed(void **state)
{
    (void)state;
    lie_everywhere(true, true, true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(liar__flipped_bits_are_noticed),
        cmocka_unit_test(liar__flipped_bits_in_pages_sent_ahead_are_noticed),
        cmocka_unit_test(liar__cut_answers_are_noticed),
        cmocka_unit_test(liar__flipped_bits_in_loose_deltas_are_noticed),
        cmocka_unit_test(liar__cut_loose_deltas_are_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
