/*
 * news_feed_impl.h - a feed and its subscriptions: what news_feed.c (feeds, and
 * who follows), news_feed_stream.c (the thread and its stream) and
 * news_feed_subscriptions.c (what is heard of a volume) share.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_NEWS_FEED_IMPL_H
#define RAMET_CLIENT_REMOTE_NEWS_FEED_IMPL_H

#include <curl/curl.h>

#include "client/remote/http_conn.h"
#include "client/remote/news.h"
#include "client/remote/news_feed.h"
#include "core/bytes.h"
#include "core/os.h"
#include "core/thread.h"

struct listener {
    struct listener *next;
    const struct ramet_follower *follower;
};

/* A volume that somebody follows; all under the feed's lock. */
struct subscription {
    struct subscription *next;
    const void *owner;
    struct ramet_news_taker taker;
    struct ramet_vid volume;
    struct listener *listeners;
    unsigned waiters;
    uint64_t idle_since_ms;
    uint64_t after;          /* what is known of it otherwise */
    bool is_asked_for;       /* the stream that runs has it */
    bool is_gone;            /* the server says so */
    bool is_unknown;         /* the server can't read it: to be asked for */
    struct ramet_point told; /* the newest that was heard of; LSN 0: none */
    struct ramet_point confirmed;
    uint64_t confirmed_ms; /* by CLOCK_BOOTTIME; 0: never */
};

struct ramet_news_feed {
    struct ramet_news_feed *next; /* under the process lock, as refs */
    unsigned refs;
    unsigned fork_count;
    char *root;
    char *token; /* NULL: none */
    struct ramet_http_pool *pool;
    struct ramet_mutex lock;
    struct ramet_cond changed;
    struct ramet_thread thread;
    struct subscription *subscriptions; /* lock, as all that follows */
    bool stop, grown, anew, alive;
    uint64_t breaks; /* how often a stream ended */
    struct ramet_err why;
    CURLM *multi; /* made with the feed: a wake-up may always be sent */

    /* The thread's. */
    CURL *curl;
    struct curl_slist *headers;
    struct ramet_buf body;
    struct ramet_vid *volumes; /* by their number in the stream */
    struct ramet_news_stream *stream;
    enum ramet_rc read_rc;
    struct ramet_err read_err;
    uint64_t opened_ms, heard_ms, flood_ms, flood_bytes;
    uint64_t asked_boot_ms, begin_time_ms;
    bool begun;
};

/* Of the clock for waits, and of the one that runs in suspend. */
static inline uint64_t
ramet_news_now_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

static inline uint64_t
ramet_news_boot_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->boot_ns(os->ctx) / 1000000u;
}

/* news_feed_subscriptions.c; all but the last with the lock held. */
struct subscription *
ramet_subscription_find(struct ramet_news_feed *feed, const void *owner,
                        const struct ramet_vid *volume);
/* Made if it is not there. NULL: no memory. */
struct subscription *
ramet_subscription_need(struct ramet_news_feed *feed, const void *owner,
                        const struct ramet_news_taker *taker,
                        const struct ramet_vid *volume, uint64_t after);
/* Those of `owner`, or (NULL) those that nobody came back to. */
void ramet_subscription_clear(struct ramet_news_feed *feed, const void *owner);
void ramet_subscription_free(struct ramet_news_feed *feed);
void ramet_subscription_tell(const struct subscription *d);
/* Its thread has something to look at. */
void ramet_news_feed_wake(struct ramet_news_feed *feed);
/* A ramet_news_visit: takes the lock. */
enum ramet_rc ramet_news_feed_hear(void *ctx, const struct ramet_news *news,
                                   struct ramet_err *err);

/* news_feed_stream.c: the thread's body, of a feed. */
void *ramet_news_feed_run(void *feed);

#endif
