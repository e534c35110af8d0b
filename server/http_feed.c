/*
 * http_feed.c - answers that never end by themselves, and are poked when there
 * is more to say.
 *
 *   (1) A suspended connection is in http->feeds, so somebody will resume it.
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "server/http_impl.h"

struct ramet_http_feed {
    const struct ramet_http_feed_ops *ops;
    void *state;
    struct ramet_http *http;
    uint32_t client;
    struct ramet_http_request *rq;
    struct MHD_Connection *mhd;
    struct ramet_mutex lock;
    bool suspended;                       /* lock */
    bool poked;                           /* lock: since the last pull */
    struct ramet_http_feed *next, **link; /* http->feeds_lock */
};

static void
free_feed(void *cls)
{
    struct ramet_http_feed *feed = cls;

    ramet_mutex_lock(&feed->http->feeds_lock);
    assert(*feed->link == feed); /* invariant (1) */
    *feed->link = feed->next;
    if (feed->next != NULL)
        feed->next->link = feed->link;
    ramet_mutex_unlock(&feed->http->feeds_lock);
    feed->ops->free(feed->state);
    ramet_budget_let_go(&feed->http->feed_places, RAMET_HOLD_LONG, feed->client,
                        1);
    ramet_mutex_done(&feed->lock);
    ramet_free(feed);
}

static ssize_t
read_feed(void *cls, uint64_t pos, char *out, size_t max)
{
    struct ramet_http_feed *feed = cls;
    ssize_t got;

    assert(feed->rq != NULL);
    (void)pos;
    for (;;) {
        ramet_mutex_lock(&feed->lock);
        feed->poked = false;
        ramet_mutex_unlock(&feed->lock);
        if (ramet_http_is_stopping(feed->http) || !ramet_http_allowed(feed->rq))
            return MHD_CONTENT_READER_END_OF_STREAM;
        got = feed->ops->pull(feed->state, (uint8_t *)out, max);
        if (got < 0)
            return MHD_CONTENT_READER_END_OF_STREAM;
        assert((size_t)(got > 0 ? got : 0) <= max);
        if (got > 0) {
            atomic_fetch_add_explicit(&feed->rq->streamed, (uint64_t)got,
                                      memory_order_relaxed);
            return got;
        }
        ramet_mutex_lock(&feed->lock);
        if (!feed->poked) {
            feed->suspended = true;
            MHD_suspend_connection(feed->mhd);
            ramet_mutex_unlock(&feed->lock);
            return 0;
        }
        ramet_mutex_unlock(&feed->lock);
    }
}

void
ramet_http_feed_poke(struct ramet_http_feed *feed)
{
    ramet_mutex_lock(&feed->lock);
    feed->poked = true;
    if (feed->suspended) {
        feed->suspended = false;
        MHD_resume_connection(feed->mhd);
    }
    ramet_mutex_unlock(&feed->lock);
}

/* Each looks whether it may go on. */
void
ramet_http_recheck(struct ramet_http *http)
{
    ramet_mutex_lock(&http->feeds_lock);
    for (struct ramet_http_feed *f = http->feeds.first; f != NULL; f = f->next)
        ramet_http_feed_poke(f);
    ramet_mutex_unlock(&http->feeds_lock);
}

void
ramet_http_reply_feed(struct ramet_http_request *rq, const char *content_type,
                      const struct ramet_http_feed_ops *ops, void *state)
{
    struct ramet_http_feed *feed = NULL;
    struct ramet_http *http = rq->http;
    struct MHD_Response *response;
    const bool room =
        ramet_budget_hold(&http->feed_places, RAMET_HOLD_LONG, rq->client, 1);

    assert(ops != NULL && rq->response == NULL);
    if (room)
        feed = ramet_calloc(1, sizeof(*feed));
    if (feed == NULL) {
        if (room)
            ramet_budget_let_go(&http->feed_places, RAMET_HOLD_LONG, rq->client,
                                1);
        ops->free(state);
        ramet_http_reply_no_room(rq, "too many event streams");
        return;
    }
    ramet_mutex_init(&feed->lock);
    feed->ops = ops;
    feed->state = state;
    feed->http = http;
    feed->client = rq->client;
    feed->rq = rq;
    feed->mhd = rq->mhd;
    ramet_mutex_lock(&http->feeds_lock);
    feed->next = http->feeds.first;
    feed->link = &http->feeds.first;
    if (feed->next != NULL)
        feed->next->link = &feed->next;
    http->feeds.first = feed;
    ramet_mutex_unlock(&http->feeds_lock);
    ops->attached(state, feed);
    response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096,
                                                 read_feed, feed, free_feed);
    if (response == NULL)
        free_feed(feed);
    rq->is_feed = response != NULL;
    ramet_http_set_response(rq, 200, content_type, response);
}
