/*
 * http_remote.c - a Ramet server as a remote: its store, many pages in one
 * request, being told of commits.
 */
#include <assert.h>
#include <stdio.h>

#include "client/remote/http_bring.h"
#include "client/remote/http_conn.h"
#include "client/remote/http_ranges.h"
#include "client/remote/http_shadow.h"
#include "client/remote/http_store.h"
#include "client/remote/news_feed.h"
#include "client/remote/remote.h"
#include "core/alloc.h"
#include "core/thread.h"

#define RANGES_BYTES (24u << 20)
#define DELETE_ANSWER_MAX (64u << 10)

struct http_remote {
    struct ramet_remote remote;
    char name[1100]; /* for error texts */
    struct ramet_http_pool *pool;
    struct ramet_ranges *ranges;
    struct ramet_shadows *shadows;
    struct ramet_remote_options options; /* for a feed; `token` is of another */
    struct ramet_mutex lock;
    struct ramet_news_feed *feed;   /* lock: of the token that it has now */
    struct ramet_news_feed *former; /* of none, before it got one; or NULL */
};

static enum ramet_rc
http_bring(struct ramet_remote *remote, const struct ramet_vid *volume,
           const struct ramet_point *at, const uint32_t *pgnos,
           size_t pgno_count, bool want_extra, ramet_page_visit *visit,
           void *ctx, struct ramet_err *err)
{
    const struct http_remote *hr = (const struct http_remote *)remote;
    const struct ramet_http_bring with = {hr->pool, hr->ranges, hr->shadows};

    return ramet_http_bring(&with, volume, at, pgnos, pgno_count, want_extra,
                            visit, ctx, err);
}

/* ---- news ------------------------------------------------------------------------- */

static struct ramet_news_feed *
feed_of(struct http_remote *hr)
{
    struct ramet_news_feed *feed;

    ramet_mutex_lock(&hr->lock);
    feed = hr->feed;
    ramet_mutex_unlock(&hr->lock);
    return feed;
}

/* A commit object that came by itself: where the store's reads find it, and to
 * whoever knows what it ought to follow. */
static bool
take_news(void *ctx, const struct ramet_vid *volume,
          const struct ramet_point *at, const uint8_t *object, size_t len)
{
    struct http_remote *const hr = ctx;
    char key[RAMET_KEY_MAX];

    ramet_commit_key(volume, at->lsn, key);
    ramet_ranges_put(hr->ranges, key, 0, object, len, true);
    return hr->remote.offer != NULL &&
           hr->remote.offer(hr->remote.offer_ctx, volume, at, object, len);
}

static struct ramet_news_taker
taker_of(struct http_remote *hr)
{
    return (struct ramet_news_taker){.take = take_news, .ctx = hr};
}

static enum ramet_rc
http_wait(struct ramet_remote *remote, const struct ramet_vid *volume,
          uint64_t after, uint64_t timeout_ms, const volatile bool *cancel,
          struct ramet_err *err)
{
    struct http_remote *const hr = (struct http_remote *)remote;
    const struct ramet_news_taker taker = taker_of(hr);

    return ramet_news_feed_wait(feed_of(hr), hr, &taker, volume, after,
                                timeout_ms, cancel, err);
}

static enum ramet_rc
http_follow(struct ramet_remote *remote, const struct ramet_vid *volume,
            uint64_t after, const struct ramet_follower *follower,
            struct ramet_err *err)
{
    struct http_remote *const hr = (struct http_remote *)remote;
    const struct ramet_news_taker taker = taker_of(hr);
    enum ramet_rc rc;

    /* Not into a feed that is being left: nobody would be taken out of it. */
    ramet_mutex_lock(&hr->lock);
    rc = ramet_news_feed_follow(hr->feed, hr, &taker, volume, after, follower,
                                err);
    ramet_mutex_unlock(&hr->lock);
    return rc;
}

static void
http_unfollow(struct ramet_remote *remote, const struct ramet_vid *volume,
              const struct ramet_follower *follower)
{
    struct http_remote *const hr = (struct http_remote *)remote;

    assert(follower != NULL);
    ramet_news_feed_unfollow(feed_of(hr), hr, volume, follower);
}

static bool
http_heard(struct ramet_remote *remote, const struct ramet_vid *volume,
           struct ramet_heard *out)
{
    struct http_remote *const hr = (struct http_remote *)remote;

    return ramet_news_feed_heard(feed_of(hr), hr, volume, out);
}

static bool
http_holds(struct ramet_remote *remote, const struct ramet_extent *place)
{
    char key[RAMET_KEY_MAX];

    ramet_extent_key(place, key);
    return ramet_ranges_has(((struct http_remote *)remote)->ranges, key,
                            place->offset_bytes, place->length_bytes, false);
}

static void
http_disbelieve(struct ramet_remote *remote, const struct ramet_vid *volume)
{
    struct http_remote *const hr = (struct http_remote *)remote;

    ramet_news_feed_forget(feed_of(hr), hr, volume);
}

static void
http_forget(struct ramet_remote *remote, const struct ramet_vid *volume)
{
    struct http_remote *hr = (struct http_remote *)remote;

    ramet_ranges_clear(hr->ranges);
    ramet_shadows_forget(hr->shadows, volume);
    ramet_news_feed_forget(feed_of(hr), hr, volume);
}

/* The server has more to do than its store: it ends streams, and forgets. */
static enum ramet_rc
http_delete_volume(struct ramet_remote *remote, const struct ramet_vid *volume,
                   struct ramet_err *err)
{
    struct http_remote *hr = (struct http_remote *)remote;
    char id[RAMET_ID_TEXT_SIZE], path[128];
    struct ramet_http_call call = {
        .method = "DELETE",
        .path = path,
        .changes = true,
        .body_max = DELETE_ANSWER_MAX,
    };
    enum ramet_rc rc;

    ramet_id_format(&volume->id, id);
    (void)snprintf(path, sizeof(path), "/v1/volumes/%s", id);
    rc = ramet_http_perform(hr->pool, &call, err);
    if (rc == RAMET_OK && call.status != 204)
        rc = ramet_http_failure(hr->pool, path, call.status, call.body.data,
                                call.body.len, true, err);
    ramet_buf_done(&call.body);
    http_forget(remote, volume);
    return rc;
}

static bool
http_clock_ahead(struct ramet_remote *remote, int64_t *out_ms)
{
    return ramet_http_clock_ahead(((struct http_remote *)remote)->pool, out_ms);
}

static enum ramet_rc
http_authorize(struct ramet_remote *remote, const char *token,
               struct ramet_err *err)
{
    struct http_remote *const hr = (struct http_remote *)remote;
    struct ramet_remote_options options = hr->options;
    struct ramet_news_feed *feed = NULL;
    enum ramet_rc rc;

    assert(token != NULL);
    assert(hr->options.token == NULL);
    options.token = token;
    options.withheld_why = NULL;
    rc = ramet_http_authorize(hr->pool, token, err);
    if (rc == RAMET_OK && hr->former == NULL)
        rc = ramet_news_feed_join(remote->url.root, &options, &feed, err);
    if (feed == NULL)
        return rc;
    ramet_mutex_lock(&hr->lock);
    hr->former = hr->feed;
    hr->feed = feed;
    ramet_news_feed_move(hr->former, feed, hr);
    ramet_mutex_unlock(&hr->lock);
    return rc;
}

static void
http_rest(struct ramet_remote *remote)
{
    ramet_http_spare_none(((struct http_remote *)remote)->pool);
}

static uint64_t
http_requests(const struct ramet_remote *remote)
{
    return ramet_http_requests(((const struct http_remote *)remote)->pool);
}

static enum ramet_rc
http_open(struct ramet_remote *remote,
          const struct ramet_opening_question *question, struct ramet_err *err)
{
    const struct http_remote *hr = (const struct http_remote *)remote;
    const struct ramet_http_bring with = {hr->pool, hr->ranges, hr->shadows};

    assert(question != NULL && remote->store != NULL);
    return ramet_http_open(&with, remote->store, question, err);
}

static void
http_begin(struct ramet_remote *remote)
{
    assert(remote->store != NULL);
    ramet_http_store_untell(remote->store);
}

static enum ramet_rc
http_ask(struct ramet_remote *remote, const struct ramet_vid *volume,
         const struct ramet_point *at, const struct ramet_question *question,
         ramet_question_visit *visit, void *ctx, struct ramet_err *err)
{
    const struct http_remote *hr = (const struct http_remote *)remote;
    const struct ramet_http_bring with = {hr->pool, hr->ranges, hr->shadows};

    assert(question != NULL && visit != NULL);
    return ramet_http_ask(&with, volume, at, question, visit, ctx, err);
}

static struct ramet_pace *
http_pace(struct ramet_remote *remote)
{
    return ramet_http_pace(((struct http_remote *)remote)->pool);
}

/* ---- open and close ------------------------------------------------------ */

static void
http_close(struct ramet_remote *remote)
{
    struct http_remote *hr = (struct http_remote *)remote;

    ramet_shadows_free(hr->shadows);
    ramet_news_feed_leave(hr->feed, hr);
    ramet_news_feed_leave(hr->former, hr);
    ramet_mutex_done(&hr->lock);
    ramet_objstore_close(hr->remote.store);
    ramet_ranges_free(hr->ranges);
    ramet_http_pool_free(hr->pool);
    ramet_free(hr);
}

static const struct ramet_remote_ops http_remote_ops = {
    .open = http_open,
    .ask = http_ask,
    .bring = http_bring,
    .pace = http_pace,
    .wait = http_wait,
    .follow = http_follow,
    .unfollow = http_unfollow,
    .begin = http_begin,
    .heard = http_heard,
    .holds = http_holds,
    .disbelieve = http_disbelieve,
    .forget = http_forget,
    .authorize = http_authorize,
    .clock_ahead = http_clock_ahead,
    .delete_volume = http_delete_volume,
    .rest = http_rest,
    .requests = http_requests,
    .close = http_close,
};

static enum ramet_rc
open_parts(struct http_remote *hr, const struct ramet_remote_options *options,
           struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(hr->pool == NULL && hr->feed == NULL);
    assert(options->connect_timeout_ms > 0 && options->stall_timeout_ms > 0);
    rc = ramet_http_pool_new(hr->remote.url.root, options, &hr->pool, err);
    if (rc != RAMET_OK)
        return rc;
    hr->ranges = ramet_ranges_new(RANGES_BYTES);
    if (hr->ranges != NULL)
        hr->shadows = ramet_shadows_new(hr->ranges, hr->name);
    if (hr->shadows == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", hr->name);
    rc = ramet_news_feed_join(hr->remote.url.root, options, &hr->feed, err);
    if (rc == RAMET_OK)
        rc = ramet_http_store_new(hr->pool, hr->ranges, hr->name,
                                  &hr->remote.store, err);
    return rc;
}

/* No I/O: a server that is out of reach shows at the first request. */
enum ramet_rc
ramet_remote_open_http(const struct ramet_url *url,
                       const struct ramet_remote_options *options,
                       struct ramet_remote **out_remote, struct ramet_err *err)
{
    struct http_remote *hr = ramet_calloc(1, sizeof(*hr));
    struct ramet_remote_options filled = *options;
    enum ramet_rc rc;

    if (hr == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", url->root);
    if (filled.connect_timeout_ms == 0)
        filled.connect_timeout_ms = 5000;
    if (filled.stall_timeout_ms == 0)
        filled.stall_timeout_ms = 10000;
    hr->remote.ops = &http_remote_ops;
    ramet_mutex_init(&hr->lock);
    hr->options = filled;
    hr->options.token = NULL;
    hr->remote.url = *url;
    (void)snprintf(hr->name, sizeof(hr->name), "%s", url->root);
    rc = open_parts(hr, &filled, err);
    if (rc == RAMET_OK)
        *out_remote = &hr->remote;
    else
        http_close(&hr->remote);
    return rc;
}
