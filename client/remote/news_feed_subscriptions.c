/*
 * news_feed_subscriptions.c - a subscription for each volume that an owner
 * follows: what was heard of it, as of when, and who is told. By the invariants
 * of news_feed.h.
 */
#include "client/remote/news_feed_impl.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"

#define DRIFT_PARTS 2000u /* clocks run apart by 1/2000 at most */
#define IDLE_MS 30000u    /* one that nobody follows any more */
/* What a stream may bring in FLOOD_MS that is of no use. */
#define FLOOD_BYTES (16u << 20)

struct subscription *
ramet_subscription_find(struct ramet_news_feed *feed, const void *owner,
                        const struct ramet_vid *volume)
{
    struct subscription *d = feed->subscriptions;

    while (d != NULL && (d->owner != owner ||
                         ramet_id_compare(&d->volume.id, &volume->id) != 0))
        d = d->next;
    return d;
}

void
ramet_news_feed_wake(struct ramet_news_feed *feed)
{
    ramet_cond_broadcast(&feed->changed);
    (void)curl_multi_wakeup(feed->multi);
}

struct subscription *
ramet_subscription_need(struct ramet_news_feed *feed, const void *owner,
                        const struct ramet_news_taker *taker,
                        const struct ramet_vid *volume, uint64_t after)
{
    struct subscription *d = ramet_subscription_find(feed, owner, volume);

    assert(owner != NULL);
    if (d == NULL) {
        d = ramet_calloc(1, sizeof(*d));
        if (d == NULL)
            return NULL;
        d->owner = owner;
        d->taker = *taker;
        d->volume = *volume;
        d->next = feed->subscriptions;
        feed->subscriptions = d;
        feed->grown = true;
        ramet_news_feed_wake(feed);
    }
    if (after > d->after)
        d->after = after;
    return d;
}

static bool
is_idle(const struct subscription *d)
{
    return d->listeners == NULL && d->waiters == 0;
}

static void
free_subscription(struct subscription *d)
{
    assert(d->waiters == 0);
    while (d->listeners != NULL) {
        struct listener *const a = d->listeners;

        d->listeners = a->next;
        ramet_free(a);
    }
    ramet_free(d);
}

void
ramet_subscription_clear(struct ramet_news_feed *feed, const void *owner)
{
    for (struct subscription **link = &feed->subscriptions; *link != NULL;) {
        struct subscription *const d = *link;
        const bool goes =
            owner != NULL
                ? d->owner == owner
                : is_idle(d) &&
                      ramet_news_now_ms() - d->idle_since_ms > IDLE_MS;

        if (goes) {
            assert(owner == NULL || d->waiters == 0);
            *link = d->next;
            free_subscription(d);
        } else {
            link = &d->next;
        }
    }
}

void
ramet_subscription_free(struct ramet_news_feed *feed)
{
    while (feed->subscriptions != NULL) {
        struct subscription *const d = feed->subscriptions;

        feed->subscriptions = d->next;
        free_subscription(d);
    }
}

void
ramet_subscription_tell(const struct subscription *d)
{
    assert(d->owner != NULL);
    for (const struct listener *a = d->listeners; a != NULL; a = a->next)
        a->follower->heard(a->follower->ctx);
}

/* ---- what is heard ------------------------------------------------------- */

/* Invariant (3): when by our clock that was so. */
static uint64_t
true_at_ms(const struct ramet_news_feed *feed, uint64_t time_ms)
{
    const bool later = time_ms >= feed->begin_time_ms;
    const uint64_t t =
        later ? time_ms - feed->begin_time_ms : feed->begin_time_ms - time_ms;

    if (later)
        return feed->asked_boot_ms + (t - t / DRIFT_PARTS);
    return t + t / DRIFT_PARTS < feed->asked_boot_ms
               ? feed->asked_boot_ms - t - t / DRIFT_PARTS
               : 0;
}

static void
confirm(const struct ramet_news_feed *feed, struct subscription *d,
        const struct ramet_news *news)
{
    const uint64_t at_ms = true_at_ms(feed, news->time_ms);

    if (news->time_ms == 0 || news->at.lsn < d->confirmed.lsn ||
        at_ms >
            ramet_news_boot_ms()) /* clocks that run so far apart say nothing */
        return;
    d->confirmed = news->at;
    if (at_ms > d->confirmed_ms)
        d->confirmed_ms = at_ms;
}

/* The newest there is not the one that was announced: the store went back in
 * time. Nothing of it is kept, and who follows asks. */
static bool
contradicts(const struct subscription *d, const struct ramet_news *news)
{
    return news->type == RAMET_NEWS_BEAT &&
           (news->at.lsn < d->told.lsn ||
            (news->at.lsn == d->told.lsn &&
             !ramet_hash_equal(&news->at.hash, &d->told.hash)));
}

static void
contradict(struct subscription *d, const struct ramet_news *news)
{
    d->told = news->at;
    memset(&d->confirmed, 0, sizeof(d->confirmed));
    d->confirmed_ms = 0;
    ramet_subscription_tell(d);
}

/* Whether it was of use. */
static bool
take_news(struct ramet_news_feed *feed, struct subscription *d,
          const struct ramet_news *news)
{
    const bool is_new = news->at.lsn > d->told.lsn;
    bool useful = false;

    if (news->type == RAMET_NEWS_GONE || news->type == RAMET_NEWS_UNKNOWN) {
        d->is_gone = news->type == RAMET_NEWS_GONE;
        d->is_unknown = !d->is_gone;
        ramet_subscription_tell(d);
        return false;
    }
    /* It may come back: a store that is mended, say. */
    d->is_gone = d->is_unknown = false;
    if (contradicts(d, news)) {
        contradict(d, news);
        return false;
    }
    if (news->object != NULL && is_new && d->taker.take != NULL)
        useful = d->taker.take(d->taker.ctx, &d->volume, &news->at,
                               news->object, news->object_len);
    if (is_new || d->told.lsn == 0)
        d->told = news->at;
    confirm(feed, d, news);
    if (is_new && news->at.lsn > d->after)
        ramet_subscription_tell(d);
    return useful;
}

enum ramet_rc
ramet_news_feed_hear(void *ctx, const struct ramet_news *news,
                     struct ramet_err *err)
{
    struct ramet_news_feed *const feed = ctx;
    bool useful = false;

    ramet_mutex_lock(&feed->lock);
    if (news->type == RAMET_NEWS_BEGIN) {
        feed->begin_time_ms = news->time_ms;
        feed->begun = feed->alive = true;
    } else {
        for (struct subscription *d = feed->subscriptions; d != NULL;
             d = d->next)
            if (d->is_asked_for &&
                ramet_id_compare(&d->volume.id,
                                 &feed->volumes[news->volume].id) == 0)
                useful = take_news(feed, d, news) || useful;
        ramet_cond_broadcast(&feed->changed);
    }
    ramet_mutex_unlock(&feed->lock);
    if (!useful)
        feed->flood_bytes += 32u + news->object_len;
    return feed->flood_bytes <= FLOOD_BYTES
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_EUNREACHABLE,
                            "server %s: sends a flood of empty news",
                            feed->root);
}
