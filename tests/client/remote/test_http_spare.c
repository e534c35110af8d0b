/*
 * test_http_spare.c - connections that are set up before a request needs them.
 */
#include "tests/support/cmocka_all.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/remote/http_spare.h"

struct server {
    int listener;
    struct ramet_http_peer peer;
};

static struct server
begin_server(void)
{
    struct server s = {.listener = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in any = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    assert_true(s.listener >= 0);
    assert_int_equal(
        bind(s.listener, (const struct sockaddr *)&any, sizeof(any)), 0);
    assert_int_equal(listen(s.listener, 64), 0);
    s.peer.length = sizeof(s.peer.address);
    assert_int_equal(getsockname(s.listener, (struct sockaddr *)&s.peer.address,
                                 &s.peer.length),
                     0);
    return s;
}

static void
end_server(struct server *s)
{
    ramet_http_spares_drop(&s->peer);
    close(s->listener);
}

/* The server's end of the next one, which exists once it was accepted: then it is
 * connected at the other end as well. */
static int
accept_one(const struct server *s)
{
    const int fd = accept(s->listener, NULL, NULL);

    assert_true(fd >= 0);
    return fd;
}

static int
take(const struct server *s, uint64_t now_ms)
{
    return ramet_http_spares_take((const struct sockaddr *)&s->peer.address,
                                  s->peer.length, now_ms);
}

static void
spare__is_connected_and_given_once(void **state)
{
    struct server s = begin_server();
    int fds[3], ends[3];
    char byte = 0;

    (void)state;
    ramet_http_spares_prepare(&s.peer, 3, 1000);
    for (unsigned i = 0; i < 3; i++)
        ends[i] = accept_one(&s);
    ramet_http_spares_prepare(&s.peer, 3, 1000); /* there are so many */
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = take(&s, 1000);
        assert_true(fds[i] >= 0);
    }
    assert_int_equal(take(&s, 1000), -1);
    for (unsigned i = 0; i < 3; i++) /* and each is of use */
        assert_int_equal(send(fds[i], "x", 1, MSG_NOSIGNAL), 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(recv(ends[i], &byte, 1, 0), 1);
        close(fds[i]);
        close(ends[i]);
    }
    end_server(&s);
}

static void
spare__goes_to_its_server_alone(void **state)
{
    struct server a = begin_server();
    struct server b = begin_server();
    int end, fd;

    (void)state;
    ramet_http_spares_prepare(&a.peer, 1, 1000);
    end = accept_one(&a);
    assert_int_equal(take(&b, 1000), -1);
    ramet_http_spares_drop(&b.peer);
    fd = take(&a, 1000);
    assert_true(fd >= 0);
    close(fd);
    close(end);
    end_server(&a);
    end_server(&b);
}

/* Once its end was told of the close. */
static void
close_and_wait(int end)
{
    struct tcp_info info;
    socklen_t len;

    assert_int_equal(shutdown(end, SHUT_WR), 0);
    do {
        len = sizeof(info);
        assert_int_equal(getsockopt(end, IPPROTO_TCP, TCP_INFO, &info, &len),
                         0);
        usleep(100);
    } while (info.tcpi_state != TCP_FIN_WAIT2);
    close(end);
}

static void
spare__that_the_server_closed_is_given_to_nobody(void **state)
{
    struct server s = begin_server();

    (void)state;
    ramet_http_spares_prepare(&s.peer, 1, 1000);
    close_and_wait(accept_one(&s));
    assert_int_equal(take(&s, 1000), -1);
    ramet_http_spares_prepare(&s.peer, 1, 1000); /* it is gone, so one more */
    close(accept_one(&s));
    end_server(&s);
}

/* Of two threads one may look at the clock first, and come second. */
static void
spare__that_is_younger_than_the_clock_is_no_old_one(void **state)
{
    struct server s = begin_server();
    int end, fd;

    (void)state;
    ramet_http_spares_prepare(&s.peer, 1, 1000);
    end = accept_one(&s);
    fd = take(&s, 999);
    assert_true(fd >= 0);
    close(fd);
    close(end);
    end_server(&s);
}

static void
spare__that_is_old_is_given_to_nobody(void **state)
{
    struct server s = begin_server();
    int end;

    (void)state;
    ramet_http_spares_prepare(&s.peer, 1, 1000);
    end = accept_one(&s);
    assert_int_equal(take(&s, 1000 + 10000), -1);
    close(end);
    end_server(&s);
}

static void
spares__are_no_more_than_a_process_may_have(void **state)
{
    struct server s = begin_server();
    unsigned count = 0;
    int fds[RAMET_HTTP_SPARES + 1], ends[RAMET_HTTP_SPARES];

    (void)state;
    ramet_http_spares_prepare(&s.peer, RAMET_HTTP_SPARES + 20, 1000);
    for (unsigned i = 0; i < RAMET_HTTP_SPARES; i++)
        ends[i] = accept_one(&s);
    while (count <= RAMET_HTTP_SPARES && (fds[count] = take(&s, 1000)) >= 0)
        count++;
    assert_int_equal(count, RAMET_HTTP_SPARES);
    while (count-- > 0) {
        close(fds[count]);
        close(ends[count]);
    }
    end_server(&s);
}

static void
child__has_none_and_leaves_its_parents(void **state)
{
    struct server s = begin_server();
    int status = 0, end, fd;
    pid_t child;

    (void)state;
    ramet_http_spares_prepare(&s.peer, 1, 1000);
    end = accept_one(&s);
    child = fork();
    if (child == 0)
        _exit(take(&s, 1000) == -1 ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fd = take(&s, 1000);
    assert_true(fd >= 0);
    close(fd);
    close(end);
    end_server(&s);
}

static void
nothing__is_prepared_where_no_server_was_reached(void **state)
{
    const struct ramet_http_peer nowhere = {.length = 0};

    (void)state;
    ramet_http_spares_prepare(&nowhere, 4, 1000);
    ramet_http_spares_drop(&nowhere);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spare__is_connected_and_given_once),
        cmocka_unit_test(spare__goes_to_its_server_alone),
        cmocka_unit_test(spare__that_the_server_closed_is_given_to_nobody),
        cmocka_unit_test(spare__that_is_younger_than_the_clock_is_no_old_one),
        cmocka_unit_test(spare__that_is_old_is_given_to_nobody),
        cmocka_unit_test(spares__are_no_more_than_a_process_may_have),
        cmocka_unit_test(child__has_none_and_leaves_its_parents),
        cmocka_unit_test(nothing__is_prepared_where_no_server_was_reached),
    };

    return cmocka_run_group_tests_name("http_spare", tests, NULL, NULL);
}
