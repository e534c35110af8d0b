/*
 * test_news_feed.c - what is made of a stream of news that says this or that.
 */
#include "tests/support/cmocka_all.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/remote/news.h"
#include "client/remote/news_feed.h"

enum { WAIT_MS = 120000 }; /* the machine may be busy */

/* A server of streams, one at a time: who asks for one volume is told `of_one`, who
 * asks for more `of_many`. Each is kept open until the client leaves it. */
struct server {
    int listener;
    unsigned short port;
    pthread_t thread;
    const struct ramet_buf *of_one, *of_many;
};

/* How many volumes the request asks for; 0: it broke off. */
static uint64_t
read_request(int fd)
{
    char buf[65536];
    size_t got = 0, body = 0, length = 0;
    struct ramet_reader in;

    while (body == 0 || got < body + length) {
        const ssize_t n = read(fd, buf + got, sizeof(buf) - 1 - got);
        const char *end;

        if (n <= 0)
            return 0;
        got += (size_t)n;
        buf[got] = '\0';
        end = strstr(buf, "\r\n\r\n");
        if (body > 0 || end == NULL)
            continue;
        body = (size_t)(end + 4 - buf);
        length = strtoul(strstr(buf, "Content-Length:") + 15, NULL, 10);
    }
    ramet_reader_init(&in, (const uint8_t *)buf + body, length);
    (void)ramet_read_bytes(&in, 2);
    return ramet_read_varint(&in);
}

static void *
serve(void *arg)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n"
                               "Content-Type: application/vnd.ramet.news\r\n"
                               "Connection: close\r\n\r\n";
    const struct server *const s = arg;

    for (;;) {
        const int fd = accept(s->listener, NULL, NULL);
        const struct ramet_buf *said;
        char rest[256];

        if (fd < 0)
            return NULL;
        said = read_request(fd) > 1 ? s->of_many : s->of_one;
        (void)!send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL);
        (void)!send(fd, said->data, said->len, MSG_NOSIGNAL);
        while (read(fd, rest, sizeof(rest)) > 0)
            continue;
        close(fd);
    }
}

static void
server_start(struct server *s, const struct ramet_buf *of_one,
             const struct ramet_buf *of_many)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);

    s->of_one = of_one;
    s->of_many = of_many;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &len), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void
server_stop(struct server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    close(s->listener);
}

static void
say_begin(struct ramet_buf *out)
{
    ramet_buf_init(out, 4096);
    ramet_buf_u8(out, RAMET_NEWS_BEGIN);
    ramet_buf_varint(out, 1000);
}

static void
say_gone(struct ramet_buf *out, uint32_t volume)
{
    ramet_buf_u8(out, RAMET_NEWS_GONE);
    ramet_buf_varint(out, volume);
}

static void
say_unknown(struct ramet_buf *out, uint32_t volume)
{
    ramet_buf_u8(out, RAMET_NEWS_UNKNOWN);
    ramet_buf_varint(out, volume);
}

static void
say_beat(struct ramet_buf *out, uint32_t volume, uint64_t lsn)
{
    static const uint8_t hash[16] = {1};

    ramet_buf_u8(out, RAMET_NEWS_BEAT);
    ramet_buf_varint(out, volume);
    ramet_buf_varint(out, lsn);
    ramet_buf_bytes(out, hash, sizeof(hash));
    ramet_buf_varint(out, 1001);
}

static struct ramet_news_feed *
join(const struct server *s)
{
    const struct ramet_remote_options options = {.connect_timeout_ms = WAIT_MS,
                                                 .stall_timeout_ms = WAIT_MS};
    struct ramet_news_feed *feed = NULL;
    char root[64];

    snprintf(root, sizeof(root), "http://127.0.0.1:%u", s->port);
    assert_int_equal(ramet_news_feed_join(root, &options, &feed, NULL),
                     RAMET_OK);
    return feed;
}

static void
ignore(void *ctx)
{
    (void)ctx;
}

static const struct ramet_news_taker no_taker = {.take = NULL};
static const struct ramet_follower nobody = {.heard = ignore};

static struct ramet_vid
volume_of(unsigned number)
{
    struct ramet_vid volume = {0};

    memcpy(&volume.id, &number, sizeof(number));
    return volume;
}

static void
follow(struct ramet_news_feed *feed, const void *owner, unsigned number)
{
    const struct ramet_vid volume = volume_of(number);

    assert_int_equal(ramet_news_feed_follow(feed, owner, &no_taker, &volume, 0,
                                            &nobody, NULL),
                     RAMET_OK);
}

static void
wait_for(struct ramet_news_feed *feed, const void *owner, unsigned number,
         uint64_t after)
{
    const struct ramet_vid volume = volume_of(number);

    assert_int_equal(ramet_news_feed_wait(feed, owner, &no_taker, &volume,
                                          after, WAIT_MS, NULL, NULL),
                     RAMET_OK);
}

static bool
is_alive(struct ramet_news_feed *feed, const void *owner, unsigned number)
{
    const struct ramet_vid volume = volume_of(number);
    struct ramet_heard heard;

    assert_true(ramet_news_feed_heard(feed, owner, &volume, &heard));
    return heard.is_alive;
}

static void
volume_that_was_gone_and_is_announced_again__is_alive(void **state)
{
    const int owner = 0;
    const struct ramet_vid volume = volume_of(1);
    struct ramet_buf said;
    struct ramet_news_feed *feed;
    struct server s;

    (void)state;
    say_begin(&said);
    say_gone(&said, 0);
    say_beat(&said, 0, 7);
    server_start(&s, &said, &said);
    feed = join(&s);
    follow(feed, &owner, 1);
    while (ramet_news_feed_wait(feed, &owner, &no_taker, &volume, 6, WAIT_MS,
                                NULL, NULL) == RAMET_ENOTFOUND)
        continue; /* between the two */
    assert_true(is_alive(feed, &owner, 1));
    ramet_news_feed_leave(feed, &owner);
    server_stop(&s);
    ramet_buf_done(&said);
}

/* It is asked for then, and whoever waits for it does not wait in vain. */
static void
volume_that_the_server_cannot_read__is_not_alive(void **state)
{
    const int owner = 0;
    const struct ramet_vid damaged = volume_of(1);
    struct ramet_buf of_one, of_two;
    struct ramet_news_feed *feed;
    struct server s;

    (void)state;
    say_begin(&of_one);
    say_beat(&of_one, 0, 7);
    say_begin(&of_two);
    say_beat(&of_two, 0, 7); /* the one that was followed last */
    say_beat(&of_two, 1, 7);
    say_unknown(&of_two, 1);
    server_start(&s, &of_one, &of_two);
    feed = join(&s);
    follow(feed, &owner, 1);
    follow(feed, &owner, 2);
    wait_for(feed, &owner, 2, 6);
    assert_int_equal(ramet_news_feed_wait(feed, &owner, &no_taker, &damaged, 7,
                                          WAIT_MS, NULL, NULL),
                     RAMET_EUNREACHABLE);
    assert_false(is_alive(feed, &owner, 1));
    assert_true(is_alive(feed, &owner, 2));
    ramet_news_feed_leave(feed, &owner);
    server_stop(&s);
    ramet_buf_done(&of_one);
    ramet_buf_done(&of_two);
}

/* Its store was restored from an older copy; what the second one is told comes last. */
static void
volume_that_is_announced_at_a_lower_lsn__is_there_now(void **state)
{
    const int owner = 0;
    const struct ramet_vid volume = volume_of(1);
    struct ramet_heard heard;
    struct ramet_buf of_one, of_two;
    struct ramet_news_feed *feed;
    struct server s;

    (void)state;
    say_begin(&of_one);
    say_beat(&of_one, 0, 7);
    say_begin(&of_two);
    say_beat(&of_two, 1, 7);
    say_beat(&of_two, 1, 5);
    say_beat(&of_two, 0, 7);
    server_start(&s, &of_one, &of_two);
    feed = join(&s);
    follow(feed, &owner, 1);
    follow(feed, &owner, 2);
    wait_for(feed, &owner, 2, 6);
    assert_true(ramet_news_feed_heard(feed, &owner, &volume, &heard));
    assert_int_equal(heard.newest.lsn, 5);
    ramet_news_feed_leave(feed, &owner);
    server_stop(&s);
    ramet_buf_done(&of_one);
    ramet_buf_done(&of_two);
}

/* Two follow it, and in a stream of so many there is no place for it. */
static void
volume_that_the_stream_has_no_place_for__is_not_alive(void **state)
{
    const int one = 0, other = 0;
    struct ramet_buf of_one, of_many;
    struct ramet_news_feed *feed;
    struct server s;

    (void)state;
    say_begin(&of_one);
    say_beat(&of_one, 0, 7);
    say_begin(&of_many);
    say_beat(&of_many, 0, 7); /* the one that was followed last */
    server_start(&s, &of_one, &of_many);
    feed = join(&s);
    follow(feed, &one, 1);
    follow(feed, &other, 1);
    wait_for(feed, &one, 1, 6);
    wait_for(feed, &other, 1, 6);
    assert_true(is_alive(feed, &one, 1));
    assert_true(is_alive(feed, &other, 1));
    for (unsigned i = 0; i < RAMET_NEWS_VOLUMES_MAX; i++)
        follow(feed, &one, 2 + i);
    wait_for(feed, &one, 1 + RAMET_NEWS_VOLUMES_MAX, 6);
    assert_false(is_alive(feed, &one, 1));
    assert_false(is_alive(feed, &other, 1));
    ramet_news_feed_leave(feed, &one);
    server_stop(&s);
    ramet_buf_done(&of_one);
    ramet_buf_done(&of_many);
}

/* Whoever asks what was heard takes the feed's lock, again and again. */
struct asker {
    struct ramet_news_feed *feed;
    atomic_bool stop;
    pthread_t thread;
};

static void *
ask(void *arg)
{
    struct asker *const asker = arg;
    const struct ramet_vid volume = volume_of(1);
    struct ramet_heard heard;

    while (!atomic_load(&asker->stop))
        (void)ramet_news_feed_heard(asker->feed, asker, &volume, &heard);
    return NULL;
}

/* A subscription may go in the moment in which its stream is to begin. */
static void
owner_that_leaves_at_once__leaves_a_feed_for_others(void **state)
{
    const int stays = 0, goes = 0;
    struct asker askers[2];
    struct ramet_buf said;
    struct ramet_news_feed *feed;
    struct server s;

    (void)state;
    say_begin(&said);
    say_beat(&said, 0, 7);
    server_start(&s, &said, &said);
    feed = join(&s);
    for (unsigned i = 0; i < 2; i++) {
        askers[i].feed = feed;
        atomic_init(&askers[i].stop, false);
        assert_int_equal(
            pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (unsigned i = 0; i < 20000; i++) {
        struct ramet_news_feed *const same = join(&s);

        assert_ptr_equal(same, feed);
        follow(same, &goes, 1);
        ramet_news_feed_leave(same, &goes);
    }
    for (unsigned i = 0; i < 2; i++) {
        atomic_store(&askers[i].stop, true);
        assert_int_equal(pthread_join(askers[i].thread, NULL), 0);
    }
    follow(feed, &stays, 1);
    wait_for(feed, &stays, 1, 6);
    ramet_news_feed_leave(feed, &stays);
    server_stop(&s);
    ramet_buf_done(&said);
}

/* What one token may hear is not for whoever has another, or none. */
static void
owners_with_other_tokens__have_feeds_of_their_own(void **state)
{
    static const char *const tokens[] = {"one", "two", NULL, "one"};
    struct ramet_news_feed *feeds[4];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const struct ramet_remote_options options = {
            .token = tokens[i],
            .connect_timeout_ms = WAIT_MS,
            .stall_timeout_ms = WAIT_MS};

        assert_int_equal(ramet_news_feed_join("http://127.0.0.1:9", &options,
                                              &feeds[i], NULL),
                         RAMET_OK);
    }
    assert_ptr_not_equal(feeds[0], feeds[1]);
    assert_ptr_not_equal(feeds[0], feeds[2]);
    assert_ptr_not_equal(feeds[1], feeds[2]);
    assert_ptr_equal(feeds[0], feeds[3]);
    for (unsigned i = 0; i < 4; i++)
        ramet_news_feed_leave(feeds[i], &tokens[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(volume_that_was_gone_and_is_announced_again__is_alive),
        cmocka_unit_test(volume_that_the_server_cannot_read__is_not_alive),
        cmocka_unit_test(volume_that_is_announced_at_a_lower_lsn__is_there_now),
        cmocka_unit_test(volume_that_the_stream_has_no_place_for__is_not_alive),
        cmocka_unit_test(owner_that_leaves_at_once__leaves_a_feed_for_others),
        cmocka_unit_test(owners_with_other_tokens__have_feeds_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
