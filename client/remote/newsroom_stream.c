/*
 * newsroom_stream.c - the thread of a room: it reads the stream of news, and begins
 * it anew. By the invariants of newsroom.h.
 */
#include "client/remote/newsroom_impl.h"

#include <assert.h>

#define SILENCE_MS 40000u /* a server says something every 15 s */
#define HOUR_MS 3600000u  /* a stream's life: its clocks run apart */
#define ADD_MS 200u       /* volumes are added to it no more often */
#define BACKOFF_MIN_MS 200u
#define BACKOFF_MAX_MS 30000u
#define LASTING_MS 10000u /* one that was no failure */
#define FLOOD_MS 60000u   /* newsroom_desk.c bounds what is of no use in it */

static size_t
read_bytes(char *data, size_t size, size_t count, void *ctx)
{
    struct ramet_newsroom *const room = ctx;
    long status = 0;

    assert(room->curl != NULL);
    (void)curl_easy_getinfo(room->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return size * count; /* words of a refusal */
    room->heard_ms = ramet_news_now_ms();
    if (room->heard_ms - room->flood_ms > FLOOD_MS) {
        room->flood_ms = room->heard_ms;
        room->flood_bytes = 0;
    }
    room->read_rc = ramet_news_stream_feed(room->stream, data, size * count,
                                           &room->read_err);
    return room->read_rc == RAMET_OK ? size * count : 0;
}

/* ---- the stream ------------------------------------------------------------------------ */

static void
close_stream(struct ramet_newsroom *room)
{
    if (room->curl != NULL) {
        (void)curl_multi_remove_handle(room->multi, room->curl);
        curl_easy_cleanup(room->curl);
    }
    curl_slist_free_all(room->headers);
    ramet_buf_done(&room->body);
    assert(room->curl != NULL || room->headers == NULL);
    room->curl = NULL;
    room->headers = NULL;
    room->begun = false;
}

/* With the lock held: the volumes of all desks, each once. */
static uint32_t
list_volumes(struct ramet_newsroom *room)
{
    uint32_t count = 0;

    for (struct desk *d = room->desks; d != NULL; d = d->next) {
        const struct desk *before = room->desks;

        while (before != d &&
               ramet_id_compare(&before->volume.id, &d->volume.id) != 0)
            before = before->next;
        d->is_asked_for =
            before != d ? before->is_asked_for : count < RAMET_NEWS_VOLUMES_MAX;
        if (before == d && count < RAMET_NEWS_VOLUMES_MAX)
            room->volumes[count++] = d->volume;
    }
    assert(count <= RAMET_NEWS_VOLUMES_MAX);
    return count;
}

/* What all who follow it know already; with the lock held. */
static uint64_t
known_of(const struct ramet_newsroom *room, const struct ramet_vid *volume)
{
    uint64_t least = UINT64_MAX - 1;

    for (const struct desk *d = room->desks; d != NULL; d = d->next) {
        const uint64_t own = d->told.lsn > d->after ? d->told.lsn : d->after;

        if (ramet_id_compare(&d->volume.id, &volume->id) == 0 && own < least)
            least = own;
    }
    return least;
}

/* With the lock held, under which there was a desk: it may be gone once that is
 * given back. */
static void
write_request(struct ramet_newsroom *room)
{
    const uint32_t count = list_volumes(room);

    assert(count > 0);
    assert(room->curl == NULL && !room->begun);
    ramet_buf_init(&room->body, 64u << 10);
    ramet_watch_begin(&room->body, count);
    for (uint32_t i = 0; i < count; i++)
        ramet_watch_add(&room->body, &room->volumes[i],
                        known_of(room, &room->volumes[i]));
    room->grown = room->anew = false;
    ramet_news_stream_init(room->stream, count, ramet_newsroom_hear, room);
}

static enum ramet_rc
open_stream(struct ramet_newsroom *room, struct ramet_err *err)
{
    static const char *const extra[] = {"Content-Type: " RAMET_WATCH_TYPE,
                                        "Accept: application/vnd.ramet.news",
                                        NULL};

    assert(room->curl == NULL && room->headers == NULL);
    if (room->body.failed == RAMET_OK)
        room->curl = curl_easy_init();
    if (room->curl != NULL)
        room->headers =
            ramet_http_prepare(room->pool, room->curl, "/v1/news", extra);
    if (room->headers == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    assert(room->body.failed == RAMET_OK && room->body.len > 0);
    (void)curl_easy_setopt(room->curl, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(room->curl, CURLOPT_POSTFIELDS, room->body.data);
    (void)curl_easy_setopt(room->curl, CURLOPT_POSTFIELDSIZE,
                           (long)room->body.len);
    (void)curl_easy_setopt(room->curl, CURLOPT_WRITEFUNCTION, read_bytes);
    (void)curl_easy_setopt(room->curl, CURLOPT_WRITEDATA, room);
    (void)curl_easy_setopt(room->curl, CURLOPT_BUFFERSIZE, 16384L);
    room->read_rc = RAMET_OK;
    room->opened_ms = room->heard_ms = room->flood_ms = ramet_news_now_ms();
    room->flood_bytes = 0;
    room->asked_boot_ms = ramet_news_boot_ms();
    (void)curl_multi_add_handle(room->multi, room->curl);
    return RAMET_OK;
}

/* Why it ended. */
static enum ramet_rc
why_over(struct ramet_newsroom *room, CURLcode code, struct ramet_err *err)
{
    long status = 0;

    assert(room->curl != NULL && err != NULL);
    (void)curl_easy_getinfo(room->curl, CURLINFO_RESPONSE_CODE, &status);
    if (room->read_rc != RAMET_OK) {
        *err = room->read_err;
        return RAMET_FAIL(err, RAMET_EUNREACHABLE, "server %s: %.300s",
                          room->root, room->read_err.text);
    }
    if (status >= 300)
        return ramet_http_failure(room->pool, "/v1/news", (unsigned)status,
                                  NULL, 0, false, err);
    if (code != CURLE_OK)
        return ramet_http_curl_failure(room->pool, room->curl, code, false,
                                       true, err);
    return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                      "server %s: ended the stream of news", room->root);
}

/* Let it run for up to `wait_ms`; other than RAMET_OK: it is over. */
static enum ramet_rc
step_stream(struct ramet_newsroom *room, uint64_t wait_ms,
            struct ramet_err *err)
{
    const uint64_t patience_ms =
        room->begun ? SILENCE_MS : ramet_http_stall_ms(room->pool);
    const CURLMsg *message;
    int running, queued;

    assert(room->curl != NULL);
    if (curl_multi_perform(room->multi, &running) != CURLM_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    while ((message = curl_multi_info_read(room->multi, &queued)) != NULL)
        if (message->msg == CURLMSG_DONE)
            return why_over(room, message->data.result, err);
    if (ramet_news_now_ms() - room->heard_ms > patience_ms)
        return RAMET_FAIL(err, RAMET_ETIMEOUT,
                          "server %s: its stream of news is silent (is there a "
                          "proxy that buffers it?)",
                          room->root);
    (void)curl_multi_poll(room->multi, NULL, 0, (int)wait_ms, NULL);
    return RAMET_OK;
}

/* ---- the thread -------------------------------------------------------------------------- */

/* With the lock held: is it to be begun anew? */
static bool
is_to_begin_anew(const struct ramet_newsroom *room)
{
    const uint64_t age_ms = ramet_news_now_ms() - room->opened_ms;

    return room->anew || age_ms > HOUR_MS || (room->grown && age_ms >= ADD_MS);
}

/* One stream, of the request that was written, until it ends or ought to; RAMET_OK:
 * it ought to. */
static enum ramet_rc
run_stream(struct ramet_newsroom *room, struct ramet_err *err)
{
    enum ramet_rc rc = open_stream(room, err);
    bool go_on = true;

    while (rc == RAMET_OK && go_on) {
        uint64_t wait_ms;

        ramet_mutex_lock(&room->lock);
        wait_ms = room->grown ? ADD_MS : 1000u;
        ramet_mutex_unlock(&room->lock);
        rc = step_stream(room, wait_ms, err);
        ramet_mutex_lock(&room->lock);
        ramet_desks_clear(room, NULL);
        go_on = !room->stop && room->desks != NULL && !is_to_begin_anew(room);
        ramet_mutex_unlock(&room->lock);
    }
    close_stream(room);
    assert(room->curl == NULL && !room->begun);
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
pause_thread(struct ramet_newsroom *room, uint64_t ms)
{
    const uint64_t until_ms = ramet_news_now_ms() + ms;

    assert(ms <= BACKOFF_MAX_MS * 5 / 4);
    for (uint64_t now = ramet_news_now_ms(); !room->stop && now < until_ms;
         now = ramet_news_now_ms())
        ramet_cond_wait_ms(&room->changed, &room->lock, until_ms - now);
}

void *
ramet_newsroom_run(void *arg)
{
    struct ramet_newsroom *const room = arg;
    uint64_t pause_ms = 0;

    ramet_mutex_lock(&room->lock);
    while (!room->stop) {
        struct ramet_err err = {.code = RAMET_OK};
        enum ramet_rc rc;
        bool lasted;

        if (room->desks == NULL) {
            ramet_cond_wait(&room->changed, &room->lock);
            continue;
        }
        write_request(room);
        ramet_mutex_unlock(&room->lock);
        rc = run_stream(room, &err);
        ramet_mutex_lock(&room->lock);
        lasted =
            room->alive && ramet_news_now_ms() - room->opened_ms > LASTING_MS;
        if (rc != RAMET_OK && room->alive) /* until it is back, they ask */
            for (const struct desk *d = room->desks; d != NULL; d = d->next)
                ramet_desk_tell(d);
        room->alive = false;
        if (rc != RAMET_OK) {
            room->breaks++;
            room->why = err;
            ramet_cond_broadcast(&room->changed);
            pause_ms = longer_pause(lasted ? 0 : pause_ms);
            pause_thread(room, spread(pause_ms));
        }
    }
    ramet_mutex_unlock(&room->lock);
    return NULL;
}
