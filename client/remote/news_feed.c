/*
 * news_feed.c - see news_feed.h.
 */
#include "client/remote/news_feed_impl.h"

#include <assert.h>
#include <string.h>

#include "client/remote/process.h"
#include "core/alloc.h"

#define SLICE_MS 100u /* how soon a waiter's cancel is seen */

static struct ramet_news_feed *feeds; /* under the process lock */

/* ---- feeds --------------------------------------------------------------- */

static bool
is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
free_feed(struct ramet_news_feed *feed)
{
    if (feed == NULL)
        return;
    assert(feed->refs <= 1);
    if (feed->thread.running) {
        ramet_mutex_lock(&feed->lock);
        feed->stop = true;
        ramet_news_feed_wake(feed);
        ramet_mutex_unlock(&feed->lock);
        ramet_thread_join(&feed->thread);
    }
    assert(feed->curl == NULL);
    ramet_subscription_free(feed);
    if (feed->multi != NULL)
        (void)curl_multi_cleanup(feed->multi);
    ramet_http_pool_free(feed->pool);
    ramet_cond_done(&feed->changed);
    ramet_mutex_done(&feed->lock);
    ramet_free(feed->volumes);
    ramet_free(feed->stream);
    ramet_free(feed->root);
    ramet_free(feed->token);
    ramet_free(feed);
}

static struct ramet_news_feed *
new_feed(const char *root, const struct ramet_remote_options *options,
         struct ramet_err *err)
{
    struct ramet_news_feed *const feed = ramet_calloc(1, sizeof(*feed));

    assert(root != NULL);
    if (feed == NULL)
        goto failed;
    feed->refs = 1;
    feed->fork_count = ramet_os_fork_count();
    ramet_mutex_init(&feed->lock);
    ramet_cond_init(&feed->changed);
    if (ramet_http_pool_new(root, options, &feed->pool, err) != RAMET_OK) {
        free_feed(feed);
        return NULL;
    }
    feed->root = ramet_strdup(root);
    if (options->token != NULL)
        feed->token = ramet_strdup(options->token);
    feed->volumes =
        ramet_calloc(RAMET_NEWS_VOLUMES_MAX, sizeof(*feed->volumes));
    feed->stream = ramet_calloc(1, sizeof(*feed->stream));
    feed->multi = curl_multi_init();
    if (feed->root != NULL && feed->volumes != NULL && feed->stream != NULL &&
        feed->multi != NULL && (options->token == NULL || feed->token != NULL))
        return feed;
    free_feed(feed);

failed:
    (void)RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    return NULL;
}

/* Needs the process lock. */
static struct ramet_news_feed *
find_feed(const struct ramet_news_feed *like)
{
    assert(like->root != NULL);
    for (struct ramet_news_feed *r = feeds; r != NULL; r = r->next)
        if (r->fork_count == like->fork_count &&
            strcmp(r->root, like->root) == 0 &&
            is_same_text(r->token, like->token))
            return r;
    return NULL;
}

enum ramet_rc
ramet_news_feed_join(const char *root,
                     const struct ramet_remote_options *options,
                     struct ramet_news_feed **out_feed, struct ramet_err *err)
{
    struct ramet_err own = {.code = RAMET_ENOMEM};
    struct ramet_news_feed *const fresh =
        new_feed(root, options, err != NULL ? err : &own);
    struct ramet_news_feed *found;

    if (fresh == NULL)
        return err != NULL ? err->code : own.code;
    ramet_process_lock();
    found = find_feed(fresh);
    if (found != NULL) {
        found->refs++;
    } else {
        fresh->next = feeds;
        feeds = fresh;
    }
    ramet_process_unlock();
    if (found != NULL)
        free_feed(fresh);
    *out_feed = found != NULL ? found : fresh;
    return RAMET_OK;
}

void
ramet_news_feed_leave(struct ramet_news_feed *feed, const void *owner)
{
    bool last;

    if (feed == NULL || feed->fork_count != ramet_os_fork_count())
        return;
    ramet_mutex_lock(&feed->lock);
    ramet_subscription_clear(feed, owner);
    ramet_mutex_unlock(&feed->lock);
    ramet_process_lock();
    assert(feed->refs > 0);
    last = --feed->refs == 0;
    for (struct ramet_news_feed **r = &feeds; last && *r != NULL;
         r = &(*r)->next)
        if (*r == feed) {
            *r = feed->next;
            break;
        }
    ramet_process_unlock();
    if (last)
        free_feed(feed);
}

/* ---- following ----------------------------------------------------------- */

/* With the lock held. */
static enum ramet_rc
need_thread(struct ramet_news_feed *feed, struct ramet_err *err)
{
    if (feed->thread.running)
        return RAMET_OK;
    return ramet_thread_start(&feed->thread, "ramet-news", ramet_news_feed_run,
                              feed, err);
}

/* The subscription of a volume, and the thread that serves all of them. With the lock. */
static enum ramet_rc
need_subscription(struct ramet_news_feed *feed, const void *owner,
                  const struct ramet_news_taker *taker,
                  const struct ramet_vid *volume, uint64_t after,
                  struct subscription **out_subscription, struct ramet_err *err)
{
    const enum ramet_rc rc = need_thread(feed, err);

    assert(owner != NULL && taker != NULL);
    if (rc != RAMET_OK)
        return rc;
    *out_subscription =
        ramet_subscription_need(feed, owner, taker, volume, after);
    return *out_subscription != NULL
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
}

enum ramet_rc
ramet_news_feed_follow(struct ramet_news_feed *feed, const void *owner,
                       const struct ramet_news_taker *taker,
                       const struct ramet_vid *volume, uint64_t after,
                       const struct ramet_follower *follower,
                       struct ramet_err *err)
{
    struct listener *const listener = ramet_calloc(1, sizeof(*listener));
    struct subscription *subscription = NULL;
    enum ramet_rc rc;

    if (listener == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    assert(follower != NULL);
    listener->follower = follower;
    ramet_mutex_lock(&feed->lock);
    rc = need_subscription(feed, owner, taker, volume, after, &subscription,
                           err);
    if (subscription != NULL) {
        listener->next = subscription->listeners;
        subscription->listeners = listener;
    }
    assert((rc == RAMET_OK) == (subscription != NULL));
    ramet_mutex_unlock(&feed->lock);
    if (rc != RAMET_OK)
        ramet_free(listener);
    return rc;
}

void
ramet_news_feed_unfollow(struct ramet_news_feed *feed, const void *owner,
                         const struct ramet_vid *volume,
                         const struct ramet_follower *follower)
{
    struct listener **link;
    struct listener *gone = NULL;
    struct subscription *subscription;

    assert(follower != NULL);
    ramet_mutex_lock(&feed->lock);
    subscription = ramet_subscription_find(feed, owner, volume);
    for (link = subscription != NULL ? &subscription->listeners : NULL;
         link != NULL && *link != NULL; link = &(*link)->next)
        if ((*link)->follower == follower) {
            gone = *link;
            *link = gone->next;
            subscription->idle_since_ms = ramet_news_now_ms();
            break;
        }
    ramet_mutex_unlock(&feed->lock);
    ramet_free(gone);
}

void
ramet_news_feed_move(struct ramet_news_feed *from, struct ramet_news_feed *to,
                     const void *owner)
{
    struct subscription *moved = NULL;

    ramet_mutex_lock(&from->lock);
    for (struct subscription **link = &from->subscriptions; *link != NULL;) {
        struct subscription *const d = *link;

        if (d->owner == owner && d->waiters == 0) {
            *link = d->next;
            d->next = moved;
            d->is_asked_for = false;
            moved = d;
        } else {
            link = &d->next;
        }
    }
    ramet_mutex_unlock(&from->lock);
    ramet_mutex_lock(&to->lock);
    while (moved != NULL) {
        struct subscription *const d = moved;

        moved = d->next;
        d->next = to->subscriptions;
        to->subscriptions = d;
        to->grown = true;
        (void)!need_thread(to, NULL); /* without, it is polled */
        ramet_news_feed_wake(to);
    }
    ramet_mutex_unlock(&to->lock);
}

bool
ramet_news_feed_heard(struct ramet_news_feed *feed, const void *owner,
                      const struct ramet_vid *volume, struct ramet_heard *out)
{
    const struct subscription *subscription;
    bool is_there;

    ramet_mutex_lock(&feed->lock);
    subscription = ramet_subscription_find(feed, owner, volume);
    is_there = subscription != NULL && subscription->told.lsn > 0;
    if (is_there)
        *out = (struct ramet_heard){
            .is_alive = feed->alive && subscription->is_asked_for &&
                        !subscription->is_gone && !subscription->is_unknown,
            .newest = subscription->told,
            .confirmed = subscription->confirmed,
            .confirmed_ms = subscription->confirmed_ms};
    ramet_mutex_unlock(&feed->lock);
    return is_there;
}

void
ramet_news_feed_forget(struct ramet_news_feed *feed, const void *owner,
                       const struct ramet_vid *volume)
{
    struct subscription *subscription;

    ramet_mutex_lock(&feed->lock);
    subscription = ramet_subscription_find(feed, owner, volume);
    if (subscription != NULL) {
        subscription->after = 0;
        memset(&subscription->told, 0, sizeof(subscription->told));
        memset(&subscription->confirmed, 0, sizeof(subscription->confirmed));
        subscription->confirmed_ms = 0;
        subscription->is_asked_for = false;
        feed->anew = true;
        ramet_news_feed_wake(feed);
    }
    ramet_mutex_unlock(&feed->lock);
}

/* With the lock held. */
static enum ramet_rc
wait_at(struct ramet_news_feed *feed, const struct subscription *subscription,
        uint64_t after, uint64_t until_ms, const volatile bool *cancel,
        struct ramet_err *err)
{
    const uint64_t breaks = feed->breaks;

    assert(subscription->waiters > 0);
    for (;;) {
        const uint64_t now = ramet_news_now_ms();

        if (subscription->told.lsn > after)
            return RAMET_OK;
        if (subscription->is_gone)
            return RAMET_FAIL(err, RAMET_ENOTFOUND,
                              "server %s: the volume was deleted", feed->root);
        if (subscription->is_unknown)
            return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                              "server %s: can't read the volume", feed->root);
        if (cancel != NULL && *cancel)
            return RAMET_ECANCELLED;
        if (feed->breaks != breaks) {
            if (err != NULL)
                *err = feed->why;
            return feed->why.code;
        }
        if (now >= until_ms)
            return RAMET_ETIMEOUT;
        ramet_cond_wait_ms(&feed->changed, &feed->lock,
                           until_ms - now < SLICE_MS || cancel == NULL
                               ? until_ms - now
                               : SLICE_MS);
    }
}

enum ramet_rc
ramet_news_feed_wait(struct ramet_news_feed *feed, const void *owner,
                     const struct ramet_news_taker *taker,
                     const struct ramet_vid *volume, uint64_t after,
                     uint64_t timeout_ms, const volatile bool *cancel,
                     struct ramet_err *err)
{
    struct subscription *subscription = NULL;
    enum ramet_rc rc;

    ramet_mutex_lock(&feed->lock);
    rc = need_subscription(feed, owner, taker, volume, after, &subscription,
                           err);
    if (subscription != NULL) {
        subscription->waiters++;
        rc = wait_at(feed, subscription, after,
                     ramet_news_now_ms() + timeout_ms, cancel, err);
        assert(subscription->waiters > 0);
        subscription->waiters--;
        subscription->idle_since_ms = ramet_news_now_ms();
    }
    ramet_mutex_unlock(&feed->lock);
    return rc;
}
