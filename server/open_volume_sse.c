/*
 * open_volume_sse.c - a volume's commits as server-sent events; docs/protocol.md,
 * "Events".
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "server/open_volume_impl.h"

struct reader {
    struct ramet_subscriber sub;
    size_t out_pos, out_len;
    char out[RAMET_EVENT_BYTES_MAX];
};

static void
feed_attached(void *state, struct ramet_http_feed *feed)
{
    struct reader *const reader = state;

    atomic_fetch_add_explicit(&reader->sub.vol->table->metrics->subscribers, 1,
                              memory_order_relaxed);
    ramet_open_volume_attach(&reader->sub, feed);
}

static bool
say(struct reader *reader, const char *text, size_t len)
{
    assert(len <= sizeof(reader->out));
    memcpy(reader->out, text, len);
    reader->out_len = len;
    return true;
}

/* Puts the next thing to say into reader->out; false: nothing; *out_end: the
 * stream is over. With vol->lock held. */
static bool
next_event(struct reader *reader, bool *out_end)
{
    static const char gone[] = "event: gone\ndata: {}\n\n";
    struct ramet_subscriber *const sub = &reader->sub;
    const struct ramet_open_volume *const vol = sub->vol;
    const struct ramet_event *const event = ramet_open_volume_next(sub);

    reader->out_pos = reader->out_len = 0;
    if (event != NULL)
        return say(reader, event->text, event->len);
    if (vol->deleted && (sub->said_gone || !vol->say_gone)) {
        *out_end = true;
        return false;
    }
    if (vol->deleted) {
        sub->said_gone = true;
        return say(reader, gone, sizeof(gone) - 1);
    }
    if (!sub->heartbeat)
        return false;
    sub->heartbeat = false;
    return say(reader, ":\n\n", 3);
}

static ssize_t
feed_pull(void *state, uint8_t *out, size_t max)
{
    struct reader *const reader = state;
    struct ramet_open_volume *const vol = reader->sub.vol;
    bool end = false;
    size_t n = 0;

    while (n < max) {
        size_t len;

        if (reader->out_pos == reader->out_len) {
            bool more;

            ramet_mutex_lock(&vol->lock);
            more = next_event(reader, &end);
            ramet_mutex_unlock(&vol->lock);
            if (!more)
                break;
        }
        assert(reader->out_pos <= reader->out_len);
        len = reader->out_len - reader->out_pos;
        if (len > max - n)
            len = max - n;
        memcpy(out + n, reader->out + reader->out_pos, len);
        reader->out_pos += len;
        n += len;
    }
    return n == 0 && end ? -1 : (ssize_t)n;
}

static void
feed_free(void *state)
{
    struct reader *const reader = state;
    struct ramet_open_volume *const vol = reader->sub.vol;

    if (reader->sub.feed != NULL)
        atomic_fetch_sub_explicit(&vol->table->metrics->subscribers, 1,
                                  memory_order_relaxed);
    ramet_open_volume_detach(&reader->sub);
    ramet_open_volume_put(vol);
    ramet_free(reader);
}

static const struct ramet_http_feed_ops feed_ops = {
    .attached = feed_attached, .pull = feed_pull, .free = feed_free};

enum ramet_rc
ramet_open_volume_subscribe(struct ramet_open_volume *vol, uint64_t after,
                            struct ramet_http_request *rq,
                            struct ramet_err *err)
{
    struct reader *const reader = ramet_calloc(1, sizeof(*reader));
    enum ramet_rc rc;

    if (reader == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "out of memory");
    rc = ramet_open_volume_prepare(vol, &after, false, err);
    if (rc != RAMET_OK) {
        ramet_free(reader);
        return rc;
    }
    reader->sub.vol = vol;
    reader->sub.sent_lsn = after;
    ramet_mutex_lock(&vol->table->lock);
    ramet_open_volume_ref(vol);
    ramet_mutex_unlock(&vol->table->lock);
    /* Commits before `attached` are in the ring only if somebody subscribed
     * already: look once more when this one is in the list. */
    ramet_http_set_header(rq, "Cache-Control", "no-store");
    ramet_http_set_header(rq, "X-Accel-Buffering", "no");
    ramet_http_reply_feed(rq, "text/event-stream", &feed_ops, reader);
    ramet_open_volume_catch_up(vol);
    return RAMET_OK;
}
