/*
 * news_feed_stream.c - the thread of a feed: it reads the stream of news, and begins
 * it anew. By the invariants of news_feed.h.
 */
#include "client/remote/news_feed_impl.h"

#include <assert.h>

#define SILENCE_MS 40000u /* a server says something every 15 s */
#define HOUR_MS 3600000u  /* a stream's life: its clocks run apart */
#define ADD_MS 200u       /* volumes are added to it no more often */
#define BACKOFF_MIN_MS 200u
#define BACKOFF_MAX_MS 30000u
#define LASTING_MS 10000u /* one that was no failure */
#define FLOOD_MS                                                               \
    60000u /* news_feed_subscriptions.c bounds what is of no use in it */

static size_t
read_bytes(char *data, size_t size, size_t count, void *ctx)
{
    struct ramet_news_feed *const feed = ctx;
    long status = 0;

    assert(feed->curl != NULL);
    (void)curl_easy_getinfo(feed->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return size * count; /* words of a refusal */
    feed->heard_ms = ramet_news_now_ms();
    if (feed->heard_ms - feed->flood_ms > FLOOD_MS) {
        feed->flood_ms = feed->heard_ms;
        feed->flood_bytes = 0;
    }
    feed->read_rc = ramet_news_stream_feed(feed->stream, data, size * count,
                                           &feed->read_err);
    return feed->read_rc == RAMET_OK ? size * count : 0;
}

/* ---- the stream ---------------------------------------------------------- */

static void
close_stream(struct ramet_news_feed *feed)
{
    if (feed->curl != NULL) {
        (void)curl_multi_remove_handle(feed->multi, feed->curl);
        curl_easy_cleanup(feed->curl);
    }
    curl_slist_free_all(feed->headers);
    ramet_buf_done(&feed->body);
    assert(feed->curl != NULL || feed->headers == NULL);
    feed->curl = NULL;
    feed->headers = NULL;
    feed->begun = false;
}

/* With the lock held: the volumes of all subscriptions, each once. */
static uint32_t
list_volumes(struct ramet_news_feed *feed)
{
    uint32_t count = 0;

    for (struct subscription *d = feed->subscriptions; d != NULL; d = d->next) {
        const struct subscription *before = feed->subscriptions;

        while (before != d &&
               ramet_id_compare(&before->volume.id, &d->volume.id) != 0)
            before = before->next;
        d->is_asked_for =
            before != d ? before->is_asked_for : count < RAMET_NEWS_VOLUMES_MAX;
        if (before == d && count < RAMET_NEWS_VOLUMES_MAX)
            feed->volumes[count++] = d->volume;
    }
    assert(count <= RAMET_NEWS_VOLUMES_MAX);
    return count;
}

/* What all who follow it know already; with the lock held. */
static uint64_t
known_of(const struct ramet_news_feed *feed, const struct ramet_vid *volume)
{
    uint64_t least = UINT64_MAX - 1;

    for (const struct subscription *d = feed->subscriptions; d != NULL;
         d = d->next) {
        const uint64_t own = d->told.lsn > d->after ? d->told.lsn : d->after;

        if (ramet_id_compare(&d->volume.id, &volume->id) == 0 && own < least)
            least = own;
    }
    return least;
}

/* With the lock held, under which there was a subscription: it may be gone once that is
 * given back. */
static void
write_request(struct ramet_news_feed *feed)
{
    const uint32_t count = list_volumes(feed);

    assert(count > 0);
    assert(feed->curl == NULL && !feed->begun);
    ramet_buf_init(&feed->body, 64u << 10);
    ramet_watch_begin(&feed->body, count);
    for (uint32_t i = 0; i < count; i++)
        ramet_watch_add(&feed->body, &feed->volumes[i],
                        known_of(feed, &feed->volumes[i]));
    feed->grown = feed->anew = false;
    ramet_news_stream_init(feed->stream, count, ramet_news_feed_hear, feed);
}

static enum ramet_rc
open_stream(struct ramet_news_feed *feed, struct ramet_err *err)
{
    static const char *const extra[] = {"Content-Type: " RAMET_WATCH_TYPE,
                                        "Accept: application/vnd.ramet.news",
                                        NULL};

    assert(feed->curl == NULL && feed->headers == NULL);
    if (feed->body.failed == RAMET_OK)
        feed->curl = curl_easy_init();
    if (feed->curl != NULL)
        feed->headers =
            ramet_http_prepare(feed->pool, feed->curl, "/v1/news", extra);
    if (feed->headers == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    assert(feed->body.failed == RAMET_OK && feed->body.len > 0);
    (void)curl_easy_setopt(feed->curl, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(feed->curl, CURLOPT_POSTFIELDS, feed->body.data);
    (void)curl_easy_setopt(feed->curl, CURLOPT_POSTFIELDSIZE,
                           (long)feed->body.len);
    (void)curl_easy_setopt(feed->curl, CURLOPT_WRITEFUNCTION, read_bytes);
    (void)curl_easy_setopt(feed->curl, CURLOPT_WRITEDATA, feed);
    (void)curl_easy_setopt(feed->curl, CURLOPT_BUFFERSIZE, 16384L);
    feed->read_rc = RAMET_OK;
    feed->opened_ms = feed->heard_ms = feed->flood_ms = ramet_news_now_ms();
    feed->flood_bytes = 0;
    feed->asked_boot_ms = ramet_news_boot_ms();
    (void)curl_multi_add_handle(feed->multi, feed->curl);
    return RAMET_OK;
}

/* Why it ended. */
static enum ramet_rc
why_over(struct ramet_news_feed *feed, CURLcode code, struct ramet_err *err)
{
    long status = 0;

    assert(feed->curl != NULL && err != NULL);
    (void)curl_easy_getinfo(feed->curl, CURLINFO_RESPONSE_CODE, &status);
    if (feed->read_rc != RAMET_OK) {
        *err = feed->read_err;
        return RAMET_FAIL(err, RAMET_EUNREACHABLE, "server %s: %.300s",
                          feed->root, feed->read_err.text);
    }
    if (status >= 300)
        return ramet_http_failure(feed->pool, "/v1/news", (unsigned)status,
                                  NULL, 0, false, err);
    if (code != CURLE_OK)
        return ramet_http_curl_failure(feed->pool, feed->curl, code, false,
                                       true, err);
    return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                      "server %s: ended the stream of news", feed->root);
}

/* Let it run for up to `wait_ms`; other than RAMET_OK: it is over. */
static enum ramet_rc
step_stream(struct ramet_news_feed *feed, uint64_t wait_ms,
            struct ramet_err *err)
{
    const uint64_t patience_ms =
        feed->begun ? SILENCE_MS : ramet_http_stall_ms(feed->pool);
    const CURLMsg *message;
    int running, queued;

    assert(feed->curl != NULL);
    if (curl_multi_perform(feed->multi, &running) != CURLM_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    while ((message = curl_multi_info_read(feed->multi, &queued)) != NULL)
        if (message->msg == CURLMSG_DONE)
            return why_over(feed, message->data.result, err);
    if (ramet_news_now_ms() - feed->heard_ms > patience_ms)
        return RAMET_FAIL(err, RAMET_ETIMEOUT,
                          "server %s: its stream of news is silent (is there a "
                          "proxy that buffers it?)",
                          feed->root);
    (void)curl_multi_poll(feed->multi, NULL, 0, (int)wait_ms, NULL);
    return RAMET_OK;
}

/* ---- the thread ---------------------------------------------------------- */

/* With the lock held: is it to be begun anew? */
static bool
is_to_begin_anew(const struct ramet_news_feed *feed)
{
    const uint64_t age_ms = ramet_news_now_ms() - feed->opened_ms;

    return feed->anew || age_ms > HOUR_MS || (feed->grown && age_ms >= ADD_MS);
}

/* One stream, of the request that was written, until it ends or ought to; RAMET_OK:
 * it ought to. */
static enum ramet_rc
run_stream(struct ramet_news_feed *feed, struct ramet_err *err)
{
    enum ramet_rc rc = open_stream(feed, err);
    bool go_on = true;

    while (rc == RAMET_OK && go_on) {
        uint64_t wait_ms;

        ramet_mutex_lock(&feed->lock);
        wait_ms = feed->grown ? ADD_MS : 1000u;
        ramet_mutex_unlock(&feed->lock);
        rc = step_stream(feed, wait_ms, err);
        ramet_mutex_lock(&feed->lock);
        ramet_subscription_clear(feed, NULL);
        go_on = !feed->stop && feed->subscriptions != NULL &&
                !is_to_begin_anew(feed);
        ramet_mutex_unlock(&feed->lock);
    }
    close_stream(feed);
    assert(feed->curl == NULL && !feed->begun);
    return rc;
}

static uint64_t
longer_pause(uint64_t before_ms)
{
    assert(before_ms <= BACKOFF_MAX_MS);
    if (before_ms == 0)
        return BACKOFF_MIN_MS;
    return before_ms * 2 < BACKOFF_MAX_MS ? before_ms * 2 : BACKOFF_MAX_MS;
}

/* 3/4 to 5/4 of it: those that lost a server together don't come back together. */
static uint64_t
spread(uint64_t ms)
{
    const struct ramet_os *const os = ramet_os_system();
    uint16_t random = UINT16_MAX / 2;

    assert(ms <= BACKOFF_MAX_MS);
    (void)os->random(os->ctx, &random, sizeof(random));
    return ms * 3 / 4 + ms / 2 * random / UINT16_MAX;
}

/* With the lock held; whoever comes meanwhile does not make the server better. */
static void
pause_thread(struct ramet_news_feed *feed, uint64_t ms)
{
    const uint64_t until_ms = ramet_news_now_ms() + ms;

    assert(ms <= BACKOFF_MAX_MS * 5 / 4);
    for (uint64_t now = ramet_news_now_ms(); !feed->stop && now < until_ms;
         now = ramet_news_now_ms())
        ramet_cond_wait_ms(&feed->changed, &feed->lock, until_ms - now);
}

void *
ramet_news_feed_run(void *arg)
{
    struct ramet_news_feed *const feed = arg;
    uint64_t pause_ms = 0;

    ramet_mutex_lock(&feed->lock);
    while (!feed->stop) {
        struct ramet_err err = {.code = RAMET_OK};
        enum ramet_rc rc;
        bool lasted;

        if (feed->subscriptions == NULL) {
            ramet_cond_wait(&feed->changed, &feed->lock);
            continue;
        }
        write_request(feed);
        ramet_mutex_unlock(&feed->lock);
        rc = run_stream(feed, &err);
        ramet_mutex_lock(&feed->lock);
        lasted =
            feed->alive && ramet_news_now_ms() - feed->opened_ms > LASTING_MS;
        if (rc != RAMET_OK && feed->alive) /* until it is back, they ask */
            for (const struct subscription *d = feed->subscriptions; d != NULL;
                 d = d->next)
                ramet_subscription_tell(d);
        feed->alive = false;
        if (rc != RAMET_OK) {
            feed->breaks++;
            feed->why = err;
            ramet_cond_broadcast(&feed->changed);
            pause_ms = longer_pause(lasted ? 0 : pause_ms);
            pause_thread(feed, spread(pause_ms));
        }
    }
    ramet_mutex_unlock(&feed->lock);
    return NULL;
}
