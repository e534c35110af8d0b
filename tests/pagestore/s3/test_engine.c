/*
 * test_engine.c - whose request goes next where as many are under way as may be.
 */
#include "tests/support/cmocka_all.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/os.h"
#include "pagestore/s3/engine.h"

#define DESCRIPTORS 64u /* of which a quarter may be connections */
#define LATER 3u

struct setup {
    int listener;
    char url[64];
    struct rlimit before;
    struct ramet_s3_engine *engine;
    struct ramet_s3_exchange running[(DESCRIPTORS) / 4], later[LATER];
    unsigned running_count;
};

static void
start(struct setup *s, struct ramet_s3_exchange *x, unsigned rank)
{
    *x = (struct ramet_s3_exchange){.method = "GET",
                                    .url = s->url,
                                    .answer_max = 100,
                                    .direct = true,
                                    .connect_timeout_ms = 600000,
                                    .stall_timeout_ms = 600000,
                                    .rank = rank};
    assert_int_equal(ramet_s3_start(s->engine, x, NULL), RAMET_OK);
}

static bool
has_begun(const struct ramet_s3_exchange *x)
{
    return atomic_load(&x->began_ms) != 0;
}

/* However long it takes. */
static void
wait_a_moment(void)
{
    const struct ramet_os *const os = ramet_os_system();

    os->sleep_us(os->ctx, 1000);
}

/* A service that takes requests and answers none, and as many of them as may be. */
static void
begin(struct setup *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    struct rlimit few;

    memset(s, 0, sizeof(*s));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->listener, 64), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u/",
                   (unsigned)ntohs(at.sin_port));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &s->before), 0);
    few = s->before;
    few.rlim_cur = DESCRIPTORS;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(ramet_s3_engine_open(&s->engine, NULL), RAMET_OK);
    s->running_count = DESCRIPTORS / 4;
    for (unsigned i = 0; i < s->running_count; i++)
        start(s, &s->running[i], i);
    for (unsigned i = 0; i < s->running_count; i++)
        while (!has_begun(&s->running[i]))
            wait_a_moment();
}

static void
end(struct setup *s)
{
    for (unsigned i = 0; i < s->running_count; i++)
        ramet_s3_cancel(s->engine, &s->running[i]);
    for (unsigned i = 0; i < LATER; i++)
        ramet_s3_cancel(s->engine, &s->later[i]);
    for (unsigned i = 0; i < s->running_count; i++)
        ramet_buf_done(&s->running[i].answer);
    for (unsigned i = 0; i < LATER; i++)
        ramet_buf_done(&s->later[i].answer);
    ramet_s3_engine_close(s->engine);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &s->before), 0);
    (void)close(s->listener);
}

/* One of them has its answer. */
static void
answer_one(struct setup *s)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const int fd = accept(s->listener, NULL, NULL);
    char request[1000];

    assert_true(fd >= 0);
    assert_true(recv(fd, request, sizeof(request), 0) > 0);
    assert_int_equal(send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL),
                     sizeof(answer) - 1);
    (void)close(fd);
}

static void
requests__beyond_what_may_be_in_flight_wait(void **state)
{
    struct setup s;

    (void)state;
    begin(&s);
    for (unsigned i = 0; i < LATER; i++)
        start(&s, &s.later[i], 0);
    assert_false(has_begun(&s.later[0]));
    answer_one(&s);
    while (!has_begun(&s.later[0]))
        wait_a_moment();
    assert_false(has_begun(&s.later[1])); /* in order */
    end(&s);
}

/* Who asks for one page is not behind all that another reads ahead. */
static void
requests__of_who_has_fewest_go_first(void **state)
{
    static const unsigned ranks[LATER] = {7, 2, 0};
    struct setup s;

    (void)state;
    begin(&s);
    for (unsigned i = 0; i < LATER; i++)
        start(&s, &s.later[i], ranks[i]);
    for (unsigned i = LATER; i-- > 0;) {
        answer_one(&s);
        while (!has_begun(&s.later[i]))
            wait_a_moment();
        assert_true(i == 0 || !has_begun(&s.later[i - 1]));
    }
    end(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests__beyond_what_may_be_in_flight_wait),
        cmocka_unit_test(requests__of_who_has_fewest_go_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
