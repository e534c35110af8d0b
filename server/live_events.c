/*
 * live_events.c - commits as events, and those who wait for them; see live.h.
 *
 * A volume that somebody listens to keeps its newest events as text, once for
 * all; a subscriber is an LSN and what is half sent.
 */
#include <assert.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "server/live_impl.h"
#include "server/render.h"

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
        live->moved_ms = 0;
        live->poll_due_ms = 0;
        for (struct subscriber *s = live->subscribers; s != NULL; s = s->next)
            ramet_http_feed_poke(s->feed);
    }
    ramet_mutex_unlock(&live->lock);
}

/* 64 at most. */
void
ramet_live_publish(struct ramet_live *live, const struct ramet_head *newest)
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
    live->moved_ms = 0; /* whoever comes expects something to happen */
    live->poll_due_ms = 0;
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

enum ramet_rc
ramet_live_subscribe(struct ramet_live *live, uint64_t after,
                     struct ramet_http_request *rq, struct ramet_err *err)
{
    struct subscriber *sub = ramet_calloc(1, sizeof(*sub));
    struct ramet_head newest;
    enum ramet_rc rc;

    if (sub == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "out of memory");
    rc = ramet_history_newest(live->history, &newest, err);
    if (rc != RAMET_OK) {
        ramet_free(sub);
        return rc;
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
    ramet_live_ref(live);
    ramet_mutex_unlock(&live->lives->lock);
    /* Commits before `attached` are in the ring only if somebody subscribed
     * already: look once more when this one is in the list. */
    ramet_http_set_header(rq, "Cache-Control", "no-store");
    ramet_http_set_header(rq, "X-Accel-Buffering", "no");
    ramet_http_reply_feed(rq, "text/event-stream", &feed_ops, sub);
    if (ramet_history_newest(live->history, &newest, NULL) == RAMET_OK &&
        newest.lsn > 0)
        ramet_live_publish(live, &newest);
    return RAMET_OK;
}
