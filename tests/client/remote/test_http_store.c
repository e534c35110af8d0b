/*
 * test_http_store.c - what is asked for anew: who found something wrong says so with his
 * next request for it, however many others do the same meanwhile.
 */
#include "tests/support/cmocka_all.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/remote/http_store.h"

#define VOLUME "volumes/00000000-0000-4000-8000-000000000001/segments/"
#define ONE VOLUME "00000000-0000-4000-8000-000000000002"
#define OTHER VOLUME "00000000-0000-4000-8000-000000000003"
#define RANGES_BYTES 65536u

/* A server that has "xxxx" wherever it is asked, one request a connection. */
struct setup {
    int listener;
    pthread_t thread;
    bool was_anew; /* the last request; its answer is behind it */
    struct ramet_http_pool *pool;
    struct ramet_ranges *ranges;
    struct ramet_objstore *store;
};

static void *
serve(void *arg)
{
    static const char answer[] = "HTTP/1.1 206 Partial Content\r\n"
                                 "Content-Length: 4\r\n"
                                 "Connection: close\r\n\r\nxxxx";
    struct setup *const s = arg;
    int fd;

    while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
        char request[2000] = "";
        size_t len = 0;
        ssize_t got = 1;

        while (got > 0 && strstr(request, "\r\n\r\n") == NULL) {
            got = recv(fd, request + len, sizeof(request) - 1 - len, 0);
            len += got > 0 ? (size_t)got : 0;
            request[len] = '\0';
        }
        s->was_anew = strstr(request, "no-cache") != NULL;
        (void)send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
        (void)close(fd);
    }
    return NULL;
}

static void
begin(struct setup *s)
{
    const struct ramet_remote_options options = {.connect_timeout_ms = 60000,
                                                 .stall_timeout_ms = 60000};
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    char root[64];

    memset(s, 0, sizeof(*s));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->listener, 64), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(root, sizeof(root), "http://127.0.0.1:%u",
                   (unsigned)ntohs(at.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    assert_int_equal(ramet_http_pool_new(root, &options, &s->pool, NULL),
                     RAMET_OK);
    s->ranges = ramet_ranges_new(RANGES_BYTES);
    assert_non_null(s->ranges);
    assert_int_equal(
        ramet_http_store_new(s->pool, s->ranges, "a server", &s->store, NULL),
        RAMET_OK);
}

static void
end(struct setup *s)
{
    ramet_objstore_close(s->store);
    ramet_ranges_free(s->ranges);
    ramet_http_pool_free(s->pool);
    (void)shutdown(s->listener, SHUT_RDWR);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    (void)close(s->listener);
}

static bool
is_read_anew(struct setup *s, const char *key, uint64_t offset)
{
    char buf[4];
    struct ramet_err err = {.text = ""};

    if (ramet_objstore_read_full(s->store, key, offset, buf, sizeof(buf),
                                 &err) != RAMET_OK)
        fail_msg("%s", err.text);
    assert_memory_equal(buf, "xxxx", 4);
    return s->was_anew;
}

static void
what_is_doubted__is_asked_for_anew_once(void **state)
{
    struct setup s;

    (void)state;
    begin(&s);
    assert_false(is_read_anew(&s, ONE, 8));
    ramet_objstore_doubt(s.store, ONE, 8, 4);
    assert_false(is_read_anew(&s, ONE, 12)); /* another place */
    assert_false(is_read_anew(&s, OTHER, 8));
    assert_true(is_read_anew(&s, ONE, 8));
    assert_false(is_read_anew(&s, ONE, 8));
    ramet_objstore_refresh(s.store, ONE);
    assert_false(is_read_anew(&s, OTHER, 12));
    assert_true(is_read_anew(&s, ONE, 12));
    assert_false(is_read_anew(&s, ONE, 12));
    end(&s);
}

static void
what_several_doubt__is_asked_for_anew_by_each(void **state)
{
    struct setup s;

    (void)state;
    begin(&s);
    ramet_objstore_doubt(s.store, ONE, 8, 4);
    ramet_objstore_refresh(s.store, OTHER);
    for (uint64_t at = 12; at < 12 + 10; at++)
        ramet_objstore_doubt(s.store, ONE, at, 4);
    ramet_objstore_doubt(s.store, ONE, 8, 4); /* by another thread */
    assert_true(is_read_anew(&s, OTHER, 100));
    for (unsigned i = 0; i < 2; i++)
        assert_true(is_read_anew(&s, ONE, 8));
    for (uint64_t at = 12; at < 12 + 10; at++)
        assert_true(is_read_anew(&s, ONE, at));
    assert_false(is_read_anew(&s, ONE, 8));
    end(&s);
}

/* That nobody came back to them does no harm. */
static void
doubts_of_many__end(void **state)
{
    struct setup s;

    (void)state;
    begin(&s);
    for (uint64_t at = 0; at < 1000; at++)
        ramet_objstore_doubt(s.store, ONE, at, 4);
    ramet_objstore_doubt(s.store, OTHER, 8, 4);
    assert_true(is_read_anew(&s, OTHER, 8));
    assert_false(is_read_anew(&s, OTHER, 8));
    end(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_doubted__is_asked_for_anew_once),
        cmocka_unit_test(what_several_doubt__is_asked_for_anew_by_each),
        cmocka_unit_test(doubts_of_many__end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
