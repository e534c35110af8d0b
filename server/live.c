/*
 * live.c - see live.h for the contract.
 *
 * Order of locks: lives->lock, then live->lock, then a feed's.
 */
#include "server/live.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/thread.h"
#include "server/render.h"

#define HISTORY_CACHE_BYTES (512u << 10)
#define HEARTBEAT_MS 15000u
#define EVENT_BYTES_MAX 640u
/* A map is waited for where the limits are this near. */
#define MAP_URGENT_COMMITS 60u
#define MAP_URGENT_BYTES (30u << 10)
#define BUCKETS 256u

struct event {
    uint64_t lsn;
    size_t len;
    char text[EVENT_BYTES_MAX];
};

struct subscriber {
    struct subscriber *next, **link; /* live->lock */
    struct ramet_live *live;         /* a reference */
    struct ramet_http_feed *feed;
    uint64_t sent_lsn; /* live->lock */
    bool heartbeat;    /* live->lock: one is due */
    bool said_gone;
    size_t out_pos, out_len;
    char out[EVENT_BYTES_MAX];
};

struct ramet_live {
    struct ramet_live *chain;         /* lives->lock */
    struct ramet_live *newer, *older; /* lives->lock; idle ones only */
    struct ramet_lives *lives;
    struct ramet_vid volume;
    struct ramet_history *history;
    unsigned refs; /* lives->lock */
    bool orphan;   /* lives->lock: not in the table any more */
    struct ramet_mutex lock;
    struct subscriber *subscribers; /* lock */
    bool deleted, say_gone;         /* lock */
    struct event *ring;             /* lock; RAMET_LIVE_EVENTS, or NULL */
    uint64_t ring_first, ring_next; /* lock; LSNs held: [first, next) */
    /* Jobs hold a reference while queued. */
    struct ramet_job map_job;
    bool map_busy;    /* lock */
    uint64_t map_lsn; /* lock: make one of this, 0: done */
    struct ramet_job poll_job;
    bool poll_busy; /* lock */
};

struct ramet_lives {
    struct ramet_objstore *store;
    struct ramet_work *work;
    struct ramet_metrics *metrics;
    struct ramet_mutex lock;
    struct ramet_live *buckets[BUCKETS];
    struct ramet_live *newest, *oldest; /* idle */
    unsigned idle_count, count;
    uint64_t heartbeat_ms; /* ticker only */
};

enum ramet_rc
ramet_lives_new(struct ramet_objstore *store, struct ramet_work *work,
                struct ramet_metrics *metrics, struct ramet_lives **out,
                struct ramet_err *err)
{
    struct ramet_lives *lives = ramet_calloc(1, sizeof(*lives));

    if (lives == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "volumes: out of memory");
    lives->store = store;
    lives->work = work;
    lives->metrics = metrics;
    ramet_mutex_init(&lives->lock);
    *out = lives;
    return RAMET_OK;
}

/* ---- the table ------------------------------------------------------------- */

static struct ramet_live **
find_live(struct ramet_lives *lives, const struct ramet_vid *volume)
{
    const uint64_t hash = ramet_hash64(volume, sizeof(*volume));
    struct ramet_live **link = &lives->buckets[hash % BUCKETS];

    while (*link != NULL &&
           ramet_id_compare(&(*link)->volume.id, &volume->id) != 0)
        link = &(*link)->chain;
    return link;
}

static void
free_live(struct ramet_live *live)
{
    assert(live->subscribers == NULL && !live->map_busy && !live->poll_busy);
    ramet_history_close(live->history);
    ramet_mutex_done(&live->lock);
    ramet_free(live->ring);
    ramet_free(live);
}

static void
unlist_idle(struct ramet_lives *lives, struct ramet_live *live)
{
    *(live->newer != NULL ? &live->newer->older : &lives->newest) = live->older;
    *(live->older != NULL ? &live->older->newer : &lives->oldest) = live->newer;
    lives->idle_count--;
}

/* With lives->lock held: takes it out of the table. */
static void
remove_idle(struct ramet_lives *lives, struct ramet_live *live)
{
    struct ramet_live **link = find_live(lives, &live->volume);

    assert(live->refs == 0 && *link == live);
    *link = live->chain;
    unlist_idle(lives, live);
    lives->count--;
}

void
ramet_lives_free(struct ramet_lives *lives)
{
    if (lives == NULL)
        return;
    while (lives->oldest != NULL) {
        struct ramet_live *live = lives->oldest;

        remove_idle(lives, live);
        free_live(live);
    }
    assert(lives->count == 0);
    ramet_mutex_done(&lives->lock);
    ramet_free(lives);
}

static struct ramet_live *
make_live(struct ramet_lives *lives, const struct ramet_vid *volume,
          struct ramet_err *err)
{
    const struct ramet_history_options options = {.cache_bytes =
                                                      HISTORY_CACHE_BYTES};
    struct ramet_live *live = ramet_calloc(1, sizeof(*live));
    enum ramet_rc rc;

    if (live == NULL) {
        (void)RAMET_FAIL(err, RAMET_ENOMEM, "volume: out of memory");
        return NULL;
    }
    rc =
        ramet_history_open(lives->store, volume, &options, &live->history, err);
    if (rc != RAMET_OK) {
        ramet_free(live);
        return NULL;
    }
    live->lives = lives;
    live->volume = *volume;
    ramet_mutex_init(&live->lock);
    return live;
}

/* Takes one more reference; with lives->lock held. */
static void
ref_live(struct ramet_live *live)
{
    if (live->refs++ == 0)
        unlist_idle(live->lives, live);
}

enum ramet_rc
ramet_live_get(struct ramet_lives *lives, const struct ramet_vid *volume,
               struct ramet_live **out_live, struct ramet_err *err)
{
    struct ramet_live *spare = NULL;
    struct ramet_live **link;

    ramet_mutex_lock(&lives->lock);
    link = find_live(lives, volume);
    if (*link == NULL) {
        struct ramet_err why = {.code = RAMET_ENOMEM};

        ramet_mutex_unlock(&lives->lock);
        spare = make_live(lives, volume, &why);
        if (spare == NULL)
            return RAMET_FAIL(err, why.code, "%s", why.text);
        ramet_mutex_lock(&lives->lock);
        link = find_live(lives, volume);
    }
    if (*link == NULL) {
        spare->refs = 1;
        *link = spare;
        lives->count++;
        *out_live = spare;
        spare = NULL;
    } else {
        ref_live(*link);
        *out_live = *link;
    }
    ramet_mutex_unlock(&lives->lock);
    if (spare != NULL) /* somebody else made it meanwhile */
        free_live(spare);
    return RAMET_OK;
}

void
ramet_live_put(struct ramet_live *live)
{
    struct ramet_lives *lives;
    struct ramet_live *evicted = NULL;

    if (live == NULL)
        return;
    lives = live->lives;
    ramet_mutex_lock(&lives->lock);
    assert(live->refs > 0);
    if (--live->refs == 0 && live->orphan) {
        evicted = live;
        lives->count--;
    } else if (live->refs == 0) {
        live->newer = NULL;
        live->older = lives->newest;
        *(lives->newest != NULL ? &lives->newest->newer : &lives->oldest) =
            live;
        lives->newest = live;
        if (++lives->idle_count > RAMET_LIVE_IDLE_MAX) {
            evicted = lives->oldest;
            remove_idle(lives, evicted);
        }
    }
    ramet_mutex_unlock(&lives->lock);
    if (evicted != NULL)
        free_live(evicted);
}

struct ramet_history *
ramet_live_history(struct ramet_live *live)
{
    return live->history;
}

const struct ramet_vid *
ramet_live_volume(const struct ramet_live *live)
{
    return &live->volume;
}

/* ---- events ---------------------------------------------------------------- */

static void
render_event(struct event *event, const struct ramet_head *head)
{
    struct ramet_buf buf;

    event->lsn = head->lsn;
    event->len = 0;
    ramet_buf_init(&buf, EVENT_BYTES_MAX);
    ramet_render_text(
        &buf, "id: %llu\nevent: commit\ndata: ", (unsigned long long)head->lsn);
    ramet_render_head(&buf, head);
    ramet_render_text(&buf, "\n\n");
    assert(buf.failed == RAMET_OK || buf.failed == RAMET_ENOMEM);
    if (buf.failed == RAMET_OK) {
        memcpy(event->text, buf.data, buf.len);
        event->len = buf.len;
    }
    ramet_buf_done(&buf);
}

/* With live->lock held. Only the next LSN extends the ring; a gap begins it
 * anew. Events older than what is held are known already. */
static void
add_event(struct ramet_live *live, const struct ramet_head *head)
{
    if (live->ring == NULL)
        live->ring = ramet_calloc(RAMET_LIVE_EVENTS, sizeof(struct event));
    if (live->ring == NULL || head->lsn < live->ring_next)
        return;
    if (head->lsn != live->ring_next)
        live->ring_first = head->lsn;
    render_event(&live->ring[head->lsn % RAMET_LIVE_EVENTS], head);
    live->ring_next = head->lsn + 1;
    if (live->ring_next - live->ring_first > RAMET_LIVE_EVENTS)
        live->ring_first = live->ring_next - RAMET_LIVE_EVENTS;
}

static void
count_event(struct ramet_live *live, const struct ramet_head *head)
{
    struct ramet_metrics *metrics = live->lives->metrics;
    struct timespec now;
    uint64_t now_ms;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    now_ms = (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
    atomic_fetch_add_explicit(&metrics->events, 1, memory_order_relaxed);
    if (now_ms > head->time_ms)
        atomic_fetch_add_explicit(&metrics->event_lag_us_sum,
                                  (now_ms - head->time_ms) * 1000u,
                                  memory_order_relaxed);
}

static void
publish(struct ramet_live *live, const struct ramet_head *head)
{
    ramet_mutex_lock(&live->lock);
    if (live->subscribers != NULL && head->lsn >= live->ring_next) {
        add_event(live, head);
        count_event(live, head);
        for (struct subscriber *s = live->subscribers; s != NULL; s = s->next)
            ramet_http_feed_poke(s->feed);
    }
    ramet_mutex_unlock(&live->lock);
}

/* Publish all from the last published one to `newest`, 64 at most. */
static void
publish_up_to(struct ramet_live *live, const struct ramet_head *newest)
{
    uint64_t lsn;

    ramet_mutex_lock(&live->lock);
    lsn = live->ring_next;
    ramet_mutex_unlock(&live->lock);
    if (lsn + RAMET_LIVE_EVENTS <= newest->lsn)
        lsn = newest->lsn - RAMET_LIVE_EVENTS + 1;
    for (; lsn > 0 && lsn < newest->lsn; lsn++) {
        struct ramet_head head;

        if (ramet_history_head(live->history, lsn, &head, NULL) == RAMET_OK)
            publish(live, &head);
    }
    publish(live, newest);
}

static void
feed_attached(void *state, struct ramet_http_feed *feed)
{
    struct subscriber *sub = state;
    struct ramet_live *live = sub->live;

    sub->feed = feed;
    atomic_fetch_add_explicit(&live->lives->metrics->subscribers, 1,
                              memory_order_relaxed);
    ramet_mutex_lock(&live->lock);
    sub->next = live->subscribers;
    sub->link = &live->subscribers;
    if (sub->next != NULL)
        sub->next->link = &sub->next;
    live->subscribers = sub;
    ramet_mutex_unlock(&live->lock);
}

/* Puts the next thing to say into sub->out; false: nothing; *out_end: the
 * stream is over. With live->lock held. */
static bool
next_event(struct subscriber *sub, bool *out_end)
{
    static const char gone[] = "event: gone\ndata: {}\n\n";
    struct ramet_live *live = sub->live;
    uint64_t lsn = sub->sent_lsn + 1;

    sub->out_pos = sub->out_len = 0;
    if (lsn < live->ring_first)
        lsn = live->ring_first;
    if (live->ring != NULL && lsn < live->ring_next && lsn > 0) {
        const struct event *event = &live->ring[lsn % RAMET_LIVE_EVENTS];

        assert(event->lsn == lsn);
        memcpy(sub->out, event->text, event->len);
        sub->out_len = event->len;
        sub->sent_lsn = lsn;
        return true;
    }
    if (live->deleted && (sub->said_gone || !live->say_gone)) {
        *out_end = true;
        return false;
    }
    if (live->deleted) {
        sub->said_gone = true;
        memcpy(sub->out, gone, sizeof(gone) - 1);
        sub->out_len = sizeof(gone) - 1;
        return true;
    }
    if (sub->heartbeat) {
        sub->heartbeat = false;
        memcpy(sub->out, ":\n\n", 3);
        sub->out_len = 3;
        return true;
    }
    return false;
}

static ssize_t
feed_pull(void *state, uint8_t *out, size_t max)
{
    struct subscriber *sub = state;
    bool end = false;
    size_t n = 0;

    while (n < max) {
        size_t len;

        if (sub->out_pos == sub->out_len) {
            bool more;

            ramet_mutex_lock(&sub->live->lock);
            more = next_event(sub, &end);
            ramet_mutex_unlock(&sub->live->lock);
            if (!more)
                break;
        }
        len = sub->out_len - sub->out_pos;
        if (len > max - n)
            len = max - n;
        memcpy(out + n, sub->out + sub->out_pos, len);
        sub->out_pos += len;
        n += len;
    }
    return n == 0 && end ? -1 : (ssize_t)n;
}

static void
feed_free(void *state)
{
    struct subscriber *sub = state;
    struct ramet_live *live = sub->live;

    if (sub->feed != NULL) {
        ramet_mutex_lock(&live->lock);
        *sub->link = sub->next;
        if (sub->next != NULL)
            sub->next->link = sub->link;
        ramet_mutex_unlock(&live->lock);
        atomic_fetch_sub_explicit(&live->lives->metrics->subscribers, 1,
                                  memory_order_relaxed);
    }
    ramet_live_put(live);
    ramet_free(sub);
}

static const struct ramet_http_feed_ops feed_ops = {
    .attached = feed_attached, .pull = feed_pull, .free = feed_free};

/* Put an event before the oldest one, if it is the one before and there is
 * room. With live->lock held. */
static bool
add_older_event(struct ramet_live *live, const struct ramet_head *head)
{
    if (live->ring == NULL || head->lsn + 1 != live->ring_first ||
        live->ring_next - head->lsn > RAMET_LIVE_EVENTS)
        return false;
    render_event(&live->ring[head->lsn % RAMET_LIVE_EVENTS], head);
    live->ring_first = head->lsn;
    return true;
}

/* Make the ring reach from after + 1 (or as far back as it can) to the newest,
 * from the newest on backwards. */
static void
fill_ring(struct ramet_live *live, uint64_t after,
          const struct ramet_head *newest)
{
    uint64_t lsn;
    bool more = true;

    ramet_mutex_lock(&live->lock);
    add_event(live, newest);
    lsn = live->ring_first;
    ramet_mutex_unlock(&live->lock);
    while (more && --lsn > after) {
        struct ramet_head head;

        if (ramet_history_head(live->history, lsn, &head, NULL) != RAMET_OK)
            return;
        ramet_mutex_lock(&live->lock);
        more = add_older_event(live, &head);
        ramet_mutex_unlock(&live->lock);
    }
}

void
ramet_live_subscribe(struct ramet_live *live, uint64_t after,
                     struct ramet_http_request *rq)
{
    struct subscriber *sub = ramet_calloc(1, sizeof(*sub));
    struct ramet_head newest;
    struct ramet_err err;
    enum ramet_rc rc;

    if (sub == NULL) {
        ramet_render_problem(rq, 503, RAMET_ENOMEM, "out of memory", NULL);
        return;
    }
    rc = ramet_history_newest(live->history, &newest, &err);
    if (rc != RAMET_OK) {
        ramet_free(sub);
        ramet_render_failure(rq, rc, &err, false);
        return;
    }
    if (after == UINT64_MAX) /* from now on */
        after = newest.lsn;
    if (newest.lsn > after)
        fill_ring(live, after, &newest);
    ramet_mutex_lock(&live->lock);
    if (live->ring_next <= newest.lsn) /* nobody was told for a while */
        live->ring_first = live->ring_next = newest.lsn + 1;
    ramet_mutex_unlock(&live->lock);
    sub->live = live;
    sub->sent_lsn = after;
    ramet_mutex_lock(&live->lives->lock);
    ref_live(live);
    ramet_mutex_unlock(&live->lives->lock);
    /* Commits before `attached` are in the ring only if somebody subscribed
     * already: look once more when this one is in the list. */
    ramet_http_set_header(rq, "Cache-Control", "no-store");
    ramet_http_set_header(rq, "X-Accel-Buffering", "no");
    ramet_http_reply_feed(rq, "text/event-stream", &feed_ops, sub);
    if (ramet_history_newest(live->history, &newest, NULL) == RAMET_OK &&
        newest.lsn > 0)
        publish_up_to(live, &newest);
}

/* ---- maps and polling, in workers ------------------------------------------ */

static void
make_maps(struct ramet_job *job)
{
    struct ramet_live *live =
        (void *)((char *)job - offsetof(struct ramet_live, map_job));
    struct ramet_metrics *metrics = live->lives->metrics;

    for (;;) {
        struct ramet_err err;
        enum ramet_rc rc;
        uint64_t lsn;

        ramet_mutex_lock(&live->lock);
        lsn = live->map_lsn;
        live->map_lsn = 0;
        if (lsn == 0)
            live->map_busy = false;
        ramet_mutex_unlock(&live->lock);
        if (lsn == 0)
            break;
        rc = ramet_history_make_map(live->history, lsn, &err);
        atomic_fetch_add_explicit(rc == RAMET_OK ? &metrics->maps
                                                 : &metrics->map_failures,
                                  1, memory_order_relaxed);
        if (rc != RAMET_OK)
            ramet_log(RAMET_LOG_ERROR, "no page map could be made", "detail",
                      err.text, NULL);
    }
    ramet_live_put(live);
}

static void
want_map(struct ramet_live *live, const struct ramet_head *head)
{
    bool start;

    if (head->commits_since_map < RAMET_MAP_EVERY_COMMITS / 2 &&
        head->head_bytes_since_map < RAMET_MAP_EVERY_HEAD_BYTES / 2)
        return;
    ramet_mutex_lock(&live->lock);
    start = !live->map_busy;
    live->map_busy = true;
    live->map_lsn = head->lsn;
    ramet_mutex_unlock(&live->lock);
    if (!start)
        return;
    ramet_mutex_lock(&live->lives->lock);
    live->refs++; /* the caller has one */
    ramet_mutex_unlock(&live->lives->lock);
    live->map_job.run = make_maps;
    if (head->commits_since_map >= MAP_URGENT_COMMITS ||
        head->head_bytes_since_map >= MAP_URGENT_BYTES)
        make_maps(&live->map_job);
    else
        ramet_work_continue(live->lives->work, &live->map_job);
}

void
ramet_live_committed(struct ramet_live *live, const struct ramet_head *head)
{
    bool watched;

    ramet_mutex_lock(&live->lock);
    watched = live->subscribers != NULL;
    ramet_mutex_unlock(&live->lock);
    if (watched)
        publish_up_to(live, head);
    want_map(live, head);
}

static void
poll_volume(struct ramet_job *job)
{
    struct ramet_live *live =
        (void *)((char *)job - offsetof(struct ramet_live, poll_job));
    struct ramet_head newest;

    if (ramet_history_newest(live->history, &newest, NULL) == RAMET_OK &&
        newest.lsn > 0)
        publish_up_to(live, &newest);
    ramet_mutex_lock(&live->lock);
    live->poll_busy = false;
    ramet_mutex_unlock(&live->lock);
    ramet_live_put(live);
}

/* With lives->lock held. */
static void
tick_live(struct ramet_live *live, bool heartbeat)
{
    bool poll = false;

    ramet_mutex_lock(&live->lock);
    if (live->subscribers != NULL && !live->poll_busy && !live->deleted)
        poll = live->poll_busy = true;
    for (struct subscriber *s = live->subscribers; heartbeat && s != NULL;
         s = s->next) {
        s->heartbeat = true;
        ramet_http_feed_poke(s->feed);
    }
    ramet_mutex_unlock(&live->lock);
    if (!poll)
        return;
    assert(live->refs > 0); /* its subscriber's */
    live->refs++;
    live->poll_job.run = poll_volume;
    ramet_work_continue(live->lives->work, &live->poll_job);
}

void
ramet_lives_tick(struct ramet_lives *lives, uint64_t now_ms)
{
    const bool heartbeat = now_ms - lives->heartbeat_ms >= HEARTBEAT_MS;

    if (heartbeat)
        lives->heartbeat_ms = now_ms;
    ramet_mutex_lock(&lives->lock);
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct ramet_live *l = lives->buckets[i]; l != NULL; l = l->chain)
            if (l->refs > 0)
                tick_live(l, heartbeat);
    }
    ramet_mutex_unlock(&lives->lock);
}

void
ramet_lives_drop(struct ramet_lives *lives, const struct ramet_vid *volume,
                 bool deleted)
{
    struct ramet_live *evicted = NULL;
    struct ramet_live **link, *live;

    ramet_mutex_lock(&lives->lock);
    link = find_live(lives, volume);
    live = *link;
    if (live != NULL && live->refs == 0) {
        remove_idle(lives, live);
        evicted = live;
    } else if (live != NULL) {
        *link = live->chain;
        live->orphan = true;
        ramet_mutex_lock(&live->lock);
        live->deleted = true; /* its streams end: who listens comes again */
        live->say_gone = deleted;
        for (struct subscriber *s = live->subscribers; s != NULL; s = s->next)
            ramet_http_feed_poke(s->feed);
        ramet_mutex_unlock(&live->lock);
    }
    ramet_mutex_unlock(&lives->lock);
    if (evicted != NULL)
        free_live(evicted);
}

void
ramet_lives_get_stats(struct ramet_lives *lives, struct ramet_lives_stats *out)
{
    ramet_mutex_lock(&lives->lock);
    out->volumes = lives->count;
    ramet_mutex_unlock(&lives->lock);
    out->subscribers = atomic_load_explicit(&lives->metrics->subscribers,
                                            memory_order_relaxed);
}
