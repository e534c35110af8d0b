/*
 * newsroom.c - see newsroom.h.
 */
#include "client/remote/newsroom.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/http_conn.h"
#include "client/remote/news.h"
#include "client/remote/process.h"
#include "core/alloc.h"
#include "core/os.h"
#include "core/thread.h"

#define SLICE_MS 100u     /* how soon a waiter's cancel is seen */
#define SILENCE_MS 40000u /* a server says something every 15 s */
#define HOUR_MS 3600000u  /* a stream's life: its clocks run apart */
#define DRIFT_PARTS 2000u /* by 1/2000 at most */
#define ADD_MS 200u       /* volumes are added to it no more often */
#define IDLE_MS 30000u    /* one that nobody follows any more */
#define BACKOFF_MIN_MS 200u
#define BACKOFF_MAX_MS 30000u
#define LASTING_MS 10000u /* one that was no failure */
/* What a stream may bring in so long that is of no use. */
#define FLOOD_BYTES (16u << 20)
#define FLOOD_MS 60000u

struct attendant {
    struct attendant *next;
    const struct ramet_follower *follower;
};

/* A volume that somebody follows; all under the room's lock. */
struct desk {
    struct desk *next;
    const void *owner;
    struct ramet_news_taker taker;
    struct ramet_vid volume;
    struct attendant *attendants;
    unsigned waiters;
    uint64_t idle_since_ms;
    uint64_t after;          /* what is known of it otherwise */
    bool is_asked_for;       /* the stream that runs has it */
    bool is_gone;            /* the server says so */
    struct ramet_point told; /* the newest that was heard of; LSN 0: none */
    struct ramet_point confirmed;
    uint64_t confirmed_ms; /* by CLOCK_BOOTTIME; 0: never */
};

struct ramet_newsroom {
    struct ramet_newsroom *next; /* under the process lock, as refs */
    unsigned refs;
    unsigned fork_count;
    char *root;
    char *token; /* NULL: none */
    struct ramet_http_pool *pool;
    struct ramet_mutex lock;
    struct ramet_cond changed;
    struct ramet_thread thread;
    struct desk *desks; /* lock, as all that follows */
    bool stop, grown, anew, alive;
    uint64_t breaks; /* how often a stream ended */
    struct ramet_err why;
    CURLM *multi; /* made with the room: a wake-up may always be sent */

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

static struct ramet_newsroom *rooms; /* under the process lock */

static uint64_t
now_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

static uint64_t
boot_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->boot_ns(os->ctx) / 1000000u;
}

/* ---- desks; with the lock held ----------------------------------------------------- */

static struct desk *
find_desk(struct ramet_newsroom *room, const void *owner,
          const struct ramet_vid *volume)
{
    struct desk *d = room->desks;

    while (d != NULL && (d->owner != owner ||
                         ramet_id_compare(&d->volume.id, &volume->id) != 0))
        d = d->next;
    return d;
}

static void
wake_thread(struct ramet_newsroom *room)
{
    ramet_cond_broadcast(&room->changed);
    (void)curl_multi_wakeup(room->multi);
}

/* NULL: no memory. */
static struct desk *
need_desk(struct ramet_newsroom *room, const void *owner,
          const struct ramet_news_taker *taker, const struct ramet_vid *volume,
          uint64_t after)
{
    struct desk *d = find_desk(room, owner, volume);

    if (d == NULL) {
        d = ramet_calloc(1, sizeof(*d));
        if (d == NULL)
            return NULL;
        d->owner = owner;
        d->taker = *taker;
        d->volume = *volume;
        d->next = room->desks;
        room->desks = d;
        room->grown = true;
        wake_thread(room);
    }
    if (after > d->after)
        d->after = after;
    return d;
}

static bool
is_idle(const struct desk *d)
{
    return d->attendants == NULL && d->waiters == 0;
}

static void
free_desk(struct desk *d)
{
    while (d->attendants != NULL) {
        struct attendant *const a = d->attendants;

        d->attendants = a->next;
        ramet_free(a);
    }
    ramet_free(d);
}

/* Those of `owner`, or (NULL) those that nobody came back to. */
static void
clear_desks(struct ramet_newsroom *room, const void *owner)
{
    for (struct desk **link = &room->desks; *link != NULL;) {
        struct desk *const d = *link;
        const bool goes =
            owner != NULL ? d->owner == owner
                          : is_idle(d) && now_ms() - d->idle_since_ms > IDLE_MS;

        if (goes) {
            assert(owner == NULL || d->waiters == 0);
            *link = d->next;
            free_desk(d);
        } else {
            link = &d->next;
        }
    }
}

static void
tell_attendants(const struct desk *d)
{
    for (const struct attendant *a = d->attendants; a != NULL; a = a->next)
        a->follower->heard(a->follower->ctx);
}

/* ---- what is heard -------------------------------------------------------------------- */

/* Invariant (3): when by our clock that was so. */
static uint64_t
true_at_ms(const struct ramet_newsroom *room, uint64_t time_ms)
{
    const bool later = time_ms >= room->begin_time_ms;
    const uint64_t t =
        later ? time_ms - room->begin_time_ms : room->begin_time_ms - time_ms;

    if (later)
        return room->asked_boot_ms + (t - t / DRIFT_PARTS);
    return t + t / DRIFT_PARTS < room->asked_boot_ms
               ? room->asked_boot_ms - t - t / DRIFT_PARTS
               : 0;
}

static void
confirm(const struct ramet_newsroom *room, struct desk *d,
        const struct ramet_news *news)
{
    const uint64_t at_ms = true_at_ms(room, news->time_ms);

    if (news->time_ms == 0 || news->at.lsn < d->confirmed.lsn ||
        at_ms > boot_ms()) /* clocks that run so far apart say nothing */
        return;
    d->confirmed = news->at;
    if (at_ms > d->confirmed_ms)
        d->confirmed_ms = at_ms;
}

/* What is the newest there now is not what was told of: the store went back in
 * time. Nothing of it is kept, and who follows asks. */
static bool
contradicts(const struct desk *d, const struct ramet_news *news)
{
    return news->type == RAMET_NEWS_BEAT &&
           (news->at.lsn < d->told.lsn ||
            (news->at.lsn == d->told.lsn &&
             !ramet_hash_equal(&news->at.hash, &d->told.hash)));
}

static void
contradict(struct desk *d, const struct ramet_news *news)
{
    d->told = news->at;
    memset(&d->confirmed, 0, sizeof(d->confirmed));
    d->confirmed_ms = 0;
    tell_attendants(d);
}

/* Whether it was of use. */
static bool
take_news(struct ramet_newsroom *room, struct desk *d,
          const struct ramet_news *news)
{
    const bool is_new = news->at.lsn > d->told.lsn;
    bool useful = false;

    if (news->type == RAMET_NEWS_GONE) {
        useful = !d->is_gone;
        d->is_gone = true;
        tell_attendants(d);
        return useful;
    }
    d->is_gone = false; /* it may come back: a store that is mended, say */
    if (contradicts(d, news)) {
        contradict(d, news);
        return false;
    }
    if (news->object != NULL && is_new && d->taker.take != NULL)
        useful = d->taker.take(d->taker.ctx, &d->volume, &news->at,
                               news->object, news->object_len);
    if (is_new || d->told.lsn == 0)
        d->told = news->at;
    confirm(room, d, news);
    if (is_new && news->at.lsn > d->after)
        tell_attendants(d);
    return useful;
}

static enum ramet_rc
hear(void *ctx, const struct ramet_news *news, struct ramet_err *err)
{
    struct ramet_newsroom *const room = ctx;
    bool useful = false;

    ramet_mutex_lock(&room->lock);
    if (news->type == RAMET_NEWS_BEGIN) {
        room->begin_time_ms = news->time_ms;
        room->begun = room->alive = true;
    } else {
        for (struct desk *d = room->desks; d != NULL; d = d->next)
            if (d->is_asked_for &&
                ramet_id_compare(&d->volume.id,
                                 &room->volumes[news->volume].id) == 0)
                useful = take_news(room, d, news) || useful;
        ramet_cond_broadcast(&room->changed);
    }
    ramet_mutex_unlock(&room->lock);
    if (!useful)
        room->flood_bytes += 32u + news->object_len;
    return room->flood_bytes <= FLOOD_BYTES
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_EUNREACHABLE,
                            "server %s: floods with news of nothing",
                            room->root);
}

static size_t
read_bytes(char *data, size_t size, size_t count, void *ctx)
{
    struct ramet_newsroom *const room = ctx;
    long status = 0;

    (void)curl_easy_getinfo(room->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return size * count; /* words of a refusal */
    room->heard_ms = now_ms();
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

static enum ramet_rc
write_request(struct ramet_newsroom *room, struct ramet_err *err)
{
    uint32_t count;

    ramet_buf_init(&room->body, 64u << 10);
    ramet_mutex_lock(&room->lock);
    count = list_volumes(room);
    ramet_watch_begin(&room->body, count);
    for (uint32_t i = 0; i < count; i++)
        ramet_watch_add(&room->body, &room->volumes[i],
                        known_of(room, &room->volumes[i]));
    room->grown = room->anew = false;
    ramet_mutex_unlock(&room->lock);
    assert(count > 0);
    ramet_news_stream_init(room->stream, count, hear, room);
    return room->body.failed == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
}

static enum ramet_rc
open_stream(struct ramet_newsroom *room, struct ramet_err *err)
{
    static const char *const extra[] = {"Content-Type: " RAMET_WATCH_TYPE,
                                        "Accept: application/vnd.ramet.news",
                                        NULL};
    enum ramet_rc rc = write_request(room, err);

    if (rc != RAMET_OK)
        return rc;
    room->curl = curl_easy_init();
    if (room->curl != NULL)
        room->headers =
            ramet_http_prepare(room->pool, room->curl, "/v1/news", extra);
    if (room->headers == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    (void)curl_easy_setopt(room->curl, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(room->curl, CURLOPT_POSTFIELDS, room->body.data);
    (void)curl_easy_setopt(room->curl, CURLOPT_POSTFIELDSIZE,
                           (long)room->body.len);
    (void)curl_easy_setopt(room->curl, CURLOPT_WRITEFUNCTION, read_bytes);
    (void)curl_easy_setopt(room->curl, CURLOPT_WRITEDATA, room);
    (void)curl_easy_setopt(room->curl, CURLOPT_BUFFERSIZE, 16384L);
    room->read_rc = RAMET_OK;
    room->opened_ms = room->heard_ms = room->flood_ms = now_ms();
    room->flood_bytes = 0;
    room->asked_boot_ms = boot_ms();
    (void)curl_multi_add_handle(room->multi, room->curl);
    return RAMET_OK;
}

/* Why it ended. */
static enum ramet_rc
why_over(struct ramet_newsroom *room, CURLcode code, struct ramet_err *err)
{
    long status = 0;

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

    if (curl_multi_perform(room->multi, &running) != CURLM_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    while ((message = curl_multi_info_read(room->multi, &queued)) != NULL)
        if (message->msg == CURLMSG_DONE)
            return why_over(room, message->data.result, err);
    if (now_ms() - room->heard_ms > patience_ms)
        return RAMET_FAIL(err, RAMET_ETIMEOUT,
                          "server %s: its stream of news is silent (is there a "
                          "proxy that keeps it back?)",
                          room->root);
    (void)curl_multi_poll(room->multi, NULL, 0, (int)wait_ms, NULL);
    return RAMET_OK;
}

/* ---- the thread -------------------------------------------------------------------------- */

/* With the lock held: is it to be begun anew? */
static bool
is_to_begin_anew(const struct ramet_newsroom *room)
{
    const uint64_t age_ms = now_ms() - room->opened_ms;

    return room->anew || age_ms > HOUR_MS || (room->grown && age_ms >= ADD_MS);
}

/* One stream, until it ends or ought to; RAMET_OK: it ought to. */
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
        clear_desks(room, NULL);
        go_on = !room->stop && room->desks != NULL && !is_to_begin_anew(room);
        ramet_mutex_unlock(&room->lock);
    }
    close_stream(room);
    return rc;
}

static uint64_t
longer_pause(uint64_t before_ms)
{
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

    (void)os->random(os->ctx, &random, sizeof(random));
    return ms * 3 / 4 + ms / 2 * random / UINT16_MAX;
}

/* With the lock held; whoever comes meanwhile does not make the server better. */
static void
pause_thread(struct ramet_newsroom *room, uint64_t ms)
{
    const uint64_t until_ms = now_ms() + ms;

    for (uint64_t now = now_ms(); !room->stop && now < until_ms; now = now_ms())
        ramet_cond_wait_ms(&room->changed, &room->lock, until_ms - now);
}

static void *
run_room(void *arg)
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
        ramet_mutex_unlock(&room->lock);
        rc = run_stream(room, &err);
        ramet_mutex_lock(&room->lock);
        lasted = room->alive && now_ms() - room->opened_ms > LASTING_MS;
        if (rc != RAMET_OK && room->alive) /* until it is back, they ask */
            for (const struct desk *d = room->desks; d != NULL; d = d->next)
                tell_attendants(d);
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

/* ---- rooms --------------------------------------------------------------------------------- */

static bool
is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
free_room(struct ramet_newsroom *room)
{
    if (room == NULL)
        return;
    if (room->thread.running) {
        ramet_mutex_lock(&room->lock);
        room->stop = true;
        wake_thread(room);
        ramet_mutex_unlock(&room->lock);
        ramet_thread_join(&room->thread);
    }
    clear_desks(room, NULL);
    assert(room->desks == NULL || room->curl == NULL);
    while (room->desks != NULL) {
        struct desk *const d = room->desks;

        room->desks = d->next;
        free_desk(d);
    }
    if (room->multi != NULL)
        (void)curl_multi_cleanup(room->multi);
    ramet_http_pool_free(room->pool);
    ramet_cond_done(&room->changed);
    ramet_mutex_done(&room->lock);
    ramet_free(room->volumes);
    ramet_free(room->stream);
    ramet_free(room->root);
    ramet_free(room->token);
    ramet_free(room);
}

static struct ramet_newsroom *
new_room(const char *root, const struct ramet_remote_options *options,
         struct ramet_err *err)
{
    struct ramet_newsroom *const room = ramet_calloc(1, sizeof(*room));

    if (room == NULL)
        goto failed;
    room->refs = 1;
    room->fork_count = ramet_os_fork_count();
    ramet_mutex_init(&room->lock);
    ramet_cond_init(&room->changed);
    if (ramet_http_pool_new(root, options, &room->pool, err) != RAMET_OK) {
        free_room(room);
        return NULL;
    }
    room->root = ramet_strdup(root);
    if (options->token != NULL)
        room->token = ramet_strdup(options->token);
    room->volumes =
        ramet_calloc(RAMET_NEWS_VOLUMES_MAX, sizeof(*room->volumes));
    room->stream = ramet_calloc(1, sizeof(*room->stream));
    room->multi = curl_multi_init();
    if (room->root != NULL && room->volumes != NULL && room->stream != NULL &&
        room->multi != NULL && (options->token == NULL || room->token != NULL))
        return room;
    free_room(room);

failed:
    (void)RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    return NULL;
}

/* Needs the process lock. */
static struct ramet_newsroom *
find_room(const struct ramet_newsroom *like)
{
    for (struct ramet_newsroom *r = rooms; r != NULL; r = r->next)
        if (r->fork_count == like->fork_count &&
            strcmp(r->root, like->root) == 0 &&
            is_same_text(r->token, like->token))
            return r;
    return NULL;
}

enum ramet_rc
ramet_newsroom_join(const char *root,
                    const struct ramet_remote_options *options,
                    struct ramet_newsroom **out_room, struct ramet_err *err)
{
    struct ramet_err own = {.code = RAMET_ENOMEM};
    struct ramet_newsroom *const fresh =
        new_room(root, options, err != NULL ? err : &own);
    struct ramet_newsroom *found;

    if (fresh == NULL)
        return err != NULL ? err->code : own.code;
    ramet_process_lock();
    found = find_room(fresh);
    if (found != NULL) {
        found->refs++;
    } else {
        fresh->next = rooms;
        rooms = fresh;
    }
    ramet_process_unlock();
    if (found != NULL)
        free_room(fresh);
    *out_room = found != NULL ? found : fresh;
    return RAMET_OK;
}

void
ramet_newsroom_leave(struct ramet_newsroom *room, const void *owner)
{
    bool last;

    if (room == NULL || room->fork_count != ramet_os_fork_count())
        return;
    ramet_mutex_lock(&room->lock);
    clear_desks(room, owner);
    ramet_mutex_unlock(&room->lock);
    ramet_process_lock();
    assert(room->refs > 0);
    last = --room->refs == 0;
    for (struct ramet_newsroom **r = &rooms; last && *r != NULL;
         r = &(*r)->next)
        if (*r == room) {
            *r = room->next;
            break;
        }
    ramet_process_unlock();
    if (last)
        free_room(room);
}

/* ---- following ------------------------------------------------------------------------------- */

/* With the lock held. */
static enum ramet_rc
need_thread(struct ramet_newsroom *room, struct ramet_err *err)
{
    if (room->thread.running)
        return RAMET_OK;
    return ramet_thread_start(&room->thread, "ramet-news", run_room, room, err);
}

enum ramet_rc
ramet_newsroom_follow(struct ramet_newsroom *room, const void *owner,
                      const struct ramet_news_taker *taker,
                      const struct ramet_vid *volume, uint64_t after,
                      const struct ramet_follower *follower,
                      struct ramet_err *err)
{
    struct attendant *const attendant = ramet_calloc(1, sizeof(*attendant));
    struct desk *desk = NULL;
    enum ramet_rc rc;

    if (attendant == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    attendant->follower = follower;
    ramet_mutex_lock(&room->lock);
    rc = need_thread(room, err);
    if (rc == RAMET_OK) {
        desk = need_desk(room, owner, taker, volume, after);
        if (desk == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    }
    if (desk != NULL) {
        attendant->next = desk->attendants;
        desk->attendants = attendant;
    }
    ramet_mutex_unlock(&room->lock);
    if (rc != RAMET_OK)
        ramet_free(attendant);
    return rc;
}

void
ramet_newsroom_unfollow(struct ramet_newsroom *room, const void *owner,
                        const struct ramet_vid *volume,
                        const struct ramet_follower *follower)
{
    struct attendant **link;
    struct attendant *gone = NULL;
    struct desk *desk;

    ramet_mutex_lock(&room->lock);
    desk = find_desk(room, owner, volume);
    for (link = desk != NULL ? &desk->attendants : NULL;
         link != NULL && *link != NULL; link = &(*link)->next)
        if ((*link)->follower == follower) {
            gone = *link;
            *link = gone->next;
            desk->idle_since_ms = now_ms();
            break;
        }
    ramet_mutex_unlock(&room->lock);
    ramet_free(gone);
}

void
ramet_newsroom_move(struct ramet_newsroom *from, struct ramet_newsroom *to,
                    const void *owner)
{
    struct desk *moved = NULL;

    ramet_mutex_lock(&from->lock);
    for (struct desk **link = &from->desks; *link != NULL;) {
        struct desk *const d = *link;

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
        struct desk *const d = moved;

        moved = d->next;
        d->next = to->desks;
        to->desks = d;
        to->grown = true;
        (void)!need_thread(to, NULL); /* without, it is polled */
        wake_thread(to);
    }
    ramet_mutex_unlock(&to->lock);
}

bool
ramet_newsroom_heard(struct ramet_newsroom *room, const void *owner,
                     const struct ramet_vid *volume, struct ramet_heard *out)
{
    const struct desk *desk;
    bool is_there;

    ramet_mutex_lock(&room->lock);
    desk = find_desk(room, owner, volume);
    is_there = desk != NULL && desk->told.lsn > 0;
    if (is_there)
        *out = (struct ramet_heard){
            .is_alive = room->alive && desk->is_asked_for && !desk->is_gone,
            .newest = desk->told,
            .confirmed = desk->confirmed,
            .confirmed_ms = desk->confirmed_ms};
    ramet_mutex_unlock(&room->lock);
    return is_there;
}

void
ramet_newsroom_forget(struct ramet_newsroom *room, const void *owner,
                      const struct ramet_vid *volume)
{
    struct desk *desk;

    ramet_mutex_lock(&room->lock);
    desk = find_desk(room, owner, volume);
    if (desk != NULL) {
        desk->after = 0;
        memset(&desk->told, 0, sizeof(desk->told));
        memset(&desk->confirmed, 0, sizeof(desk->confirmed));
        desk->confirmed_ms = 0;
        desk->is_asked_for = false;
        room->anew = true;
        wake_thread(room);
    }
    ramet_mutex_unlock(&room->lock);
}

/* With the lock held. */
static enum ramet_rc
wait_at(struct ramet_newsroom *room, const struct desk *desk, uint64_t after,
        uint64_t until_ms, const volatile bool *cancel, struct ramet_err *err)
{
    const uint64_t breaks = room->breaks;

    for (;;) {
        const uint64_t now = now_ms();

        if (desk->told.lsn > after)
            return RAMET_OK;
        if (desk->is_gone)
            return RAMET_FAIL(err, RAMET_ENOTFOUND,
                              "server %s: the volume was deleted", room->root);
        if (cancel != NULL && *cancel)
            return RAMET_ECANCELLED;
        if (room->breaks != breaks) {
            if (err != NULL)
                *err = room->why;
            return room->why.code;
        }
        if (now >= until_ms)
            return RAMET_ETIMEOUT;
        ramet_cond_wait_ms(&room->changed, &room->lock,
                           until_ms - now < SLICE_MS || cancel == NULL
                               ? until_ms - now
                               : SLICE_MS);
    }
}

enum ramet_rc
ramet_newsroom_wait(struct ramet_newsroom *room, const void *owner,
                    const struct ramet_news_taker *taker,
                    const struct ramet_vid *volume, uint64_t after,
                    uint64_t timeout_ms, const volatile bool *cancel,
                    struct ramet_err *err)
{
    struct desk *desk = NULL;
    enum ramet_rc rc;

    ramet_mutex_lock(&room->lock);
    rc = need_thread(room, err);
    if (rc == RAMET_OK) {
        desk = need_desk(room, owner, taker, volume, after);
        if (desk == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    }
    if (desk != NULL) {
        desk->waiters++;
        rc = wait_at(room, desk, after, now_ms() + timeout_ms, cancel, err);
        desk->waiters--;
        desk->idle_since_ms = now_ms();
    }
    ramet_mutex_unlock(&room->lock);
    return rc;
}
