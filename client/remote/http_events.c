/*
 * http_events.c - see http_events.h.
 *
 * A stream is driven by whoever waits on it; others that wait for the same
 * volume look at what it has learnt. Nobody waiting: nothing runs.
 */
#include "client/remote/http_events.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/http_conn.h"
#include "core/alloc.h"
#include "core/os.h"
#include "core/thread.h"

/* How soon a cancel or another thread's news is seen. */
#define SLICE_MS 100u
/* A server sends something every 15 s. */
#define SILENCE_MS 40000u
#define STREAMS_MAX 64u
/* What a stream may bring in so long; an event has some 400 bytes. */
#define FLOOD_BYTES (16u << 20)
#define FLOOD_MS 60000u

struct stream {
    struct stream *next;
    struct ramet_vid volume;
    bool driven; /* events->lock: a thread is at what follows */
    unsigned waiters;
    uint64_t last_used_ms;
    uint64_t known_lsn; /* events->lock */
    bool disbelieved;   /* events->lock: begin anew */
    CURLM *multi;
    CURL *curl;
    struct curl_slist *headers;
    struct ramet_sse sse;
    uint64_t heard_ms; /* when the last byte came */
    uint64_t flood_ms; /* since when flood_bytes are counted */
    uint64_t flood_bytes;
    bool over;
    CURLcode code;
};

struct ramet_events {
    struct ramet_http_pool *pool;
    struct ramet_mutex lock;
    struct ramet_cond changed;
    struct stream *streams; /* lock */
    unsigned count;
};

/* ---- the parser -------------------------------------------------------------------- */

static bool
field(const char *line, const char *name, const char **out_value)
{
    const size_t len = strlen(name);

    if (strncmp(line, name, len) != 0 || line[len] != ':')
        return false;
    *out_value = line + len + 1;
    if (**out_value == ' ')
        (*out_value)++;
    return true;
}

static bool
parse_id(const char *text, uint64_t *out)
{
    uint64_t value = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > (UINT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *out = value;
    return true;
}

static void
take_line(struct ramet_sse *sse)
{
    const char *value;

    sse->line[sse->len] = '\0';
    if (sse->len == 0) { /* the event is whole */
        if (sse->is_commit && sse->has_id && sse->id > sse->last_lsn)
            sse->last_lsn = sse->id;
        sse->gone = sse->gone || sse->is_gone;
        sse->is_commit = sse->is_gone = sse->has_id = false;
        return;
    }
    if (field(sse->line, "id", &value))
        sse->has_id = parse_id(value, &sse->id);
    else if (field(sse->line, "event", &value)) {
        sse->is_commit = strcmp(value, "commit") == 0;
        sse->is_gone = strcmp(value, "gone") == 0;
    }
}

void
ramet_sse_feed(struct ramet_sse *sse, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\r')
            continue;
        if (data[i] == '\n') {
            /* What is cut is `data`, which nobody needs. */
            take_line(sse);
            sse->len = 0;
            sse->overlong = false;
        } else if (sse->len + 1 < sizeof(sse->line) && !sse->overlong) {
            sse->line[sse->len++] = data[i];
        } else {
            sse->overlong = true;
        }
    }
}

/* ---- streams ------------------------------------------------------------------------- */

static uint64_t
now_ms(void)
{
    const struct ramet_os *os = ramet_os_system();

    return os->mono_ns(os->ctx) / 1000000u;
}

static size_t
take_events(char *data, size_t size, size_t count, void *ctx)
{
    struct stream *s = ctx;

    s->heard_ms = now_ms();
    if (s->heard_ms - s->flood_ms > FLOOD_MS) {
        s->flood_ms = s->heard_ms;
        s->flood_bytes = 0;
    }
    s->flood_bytes += size * count;
    if (s->flood_bytes > FLOOD_BYTES)
        return 0; /* ends it: it tells nothing that a look would not */
    ramet_sse_feed(&s->sse, data, size * count);
    return size * count;
}

static void
close_stream(struct stream *s)
{
    if (s->multi != NULL && s->curl != NULL)
        (void)curl_multi_remove_handle(s->multi, s->curl);
    if (s->curl != NULL)
        curl_easy_cleanup(s->curl);
    if (s->multi != NULL)
        (void)curl_multi_cleanup(s->multi);
    curl_slist_free_all(s->headers);
    s->multi = NULL;
    s->curl = NULL;
    s->headers = NULL;
    s->over = false;
    s->code = CURLE_OK;
}

static enum ramet_rc
open_stream(struct ramet_events *events, struct stream *s, uint64_t after,
            struct ramet_err *err)
{
    static const char *const extra[] = {"Accept: text/event-stream", NULL};
    char id[RAMET_ID_TEXT_SIZE], path[160];

    assert(s->curl == NULL && s->multi == NULL);
    ramet_id_format(&s->volume.id, id);
    (void)snprintf(path, sizeof(path), "/v1/volumes/%s/events?after=%" PRIu64,
                   id, after);
    s->curl = curl_easy_init();
    s->multi = curl_multi_init();
    if (s->curl != NULL)
        s->headers = ramet_http_prepare(events->pool, s->curl, path, extra);
    if (s->curl == NULL || s->multi == NULL || s->headers == NULL) {
        close_stream(s);
        return RAMET_FAIL(err, RAMET_ENOMEM, "events: out of memory");
    }
    memset(&s->sse, 0, sizeof(s->sse));
    s->sse.last_lsn = after;
    s->heard_ms = s->flood_ms = now_ms();
    s->flood_bytes = 0;
    (void)curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, take_events);
    (void)curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
    (void)curl_easy_setopt(s->curl, CURLOPT_BUFFERSIZE, 4096L);
    (void)curl_multi_add_handle(s->multi, s->curl);
    return RAMET_OK;
}

static void
step_stream(struct stream *s, uint64_t wait_ms)
{
    const CURLMsg *message;
    int running, queued;

    (void)curl_multi_poll(s->multi, NULL, 0, (int)wait_ms, NULL);
    if (curl_multi_perform(s->multi, &running) != CURLM_OK)
        s->over = true;
    while ((message = curl_multi_info_read(s->multi, &queued)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            s->over = true;
            s->code = message->data.result;
        }
    }
    if (now_ms() - s->heard_ms > SILENCE_MS) {
        s->over = true;
        s->code = CURLE_OPERATION_TIMEDOUT;
    }
}

static enum ramet_rc
why_over(struct ramet_events *events, struct stream *s, struct ramet_err *err)
{
    long status = 0;

    (void)curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    if (s->sse.gone)
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "server %s: the volume was deleted",
                          ramet_http_pool_root(events->pool));
    if (status >= 300)
        return ramet_http_failure(events->pool, "events", (unsigned)status,
                                  NULL, 0, false, err);
    if (s->code != CURLE_OK)
        return ramet_http_curl_failure(events->pool, s->curl, s->code, false,
                                       true, err);
    return RAMET_FAIL(err, RAMET_EUNREACHABLE,
                      "server %s: ended the event stream",
                      ramet_http_pool_root(events->pool));
}

/* ---- waiting --------------------------------------------------------------------------- */

enum ramet_rc
ramet_events_new(struct ramet_http_pool *pool, struct ramet_events **out_events,
                 struct ramet_err *err)
{
    struct ramet_events *events = ramet_calloc(1, sizeof(*events));

    if (events == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "events: out of memory");
    events->pool = pool;
    ramet_mutex_init(&events->lock);
    ramet_cond_init(&events->changed);
    *out_events = events;
    return RAMET_OK;
}

static void
free_stream(struct stream *s)
{
    assert(!s->driven && s->waiters == 0);
    close_stream(s);
    ramet_free(s);
}

void
ramet_events_free(struct ramet_events *events)
{
    if (events == NULL)
        return;
    while (events->streams != NULL) {
        struct stream *s = events->streams;

        events->streams = s->next;
        free_stream(s);
    }
    ramet_cond_done(&events->changed);
    ramet_mutex_done(&events->lock);
    ramet_free(events);
}

/* With events->lock held: the idle stream that was used longest ago goes. */
static void
make_room(struct ramet_events *events)
{
    struct stream **oldest = NULL;

    for (struct stream **link = &events->streams; *link != NULL;
         link = &(*link)->next) {
        if ((*link)->waiters == 0 &&
            (oldest == NULL || (*link)->last_used_ms < (*oldest)->last_used_ms))
            oldest = link;
    }
    if (oldest != NULL) {
        struct stream *s = *oldest;

        *oldest = s->next;
        events->count--;
        free_stream(s);
    }
}

/* With events->lock held. NULL: there is none. */
static struct stream *
find_stream(struct ramet_events *events, const struct ramet_vid *volume)
{
    struct stream *s = events->streams;

    while (s != NULL && ramet_id_compare(&s->volume.id, &volume->id) != 0)
        s = s->next;
    return s;
}

/* With events->lock held. NULL: no memory. */
static struct stream *
need_stream(struct ramet_events *events, const struct ramet_vid *volume)
{
    struct stream *s = find_stream(events, volume);

    if (s != NULL)
        return s;
    if (events->count >= STREAMS_MAX)
        make_room(events);
    s = ramet_calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->volume = *volume;
    s->next = events->streams;
    events->streams = s;
    events->count++;
    return s;
}

/* Drive the stream for one slice; without the lock. */
static enum ramet_rc
drive_stream(struct ramet_events *events, struct stream *s, uint64_t after,
             uint64_t slice_ms, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    if (s->curl == NULL)
        rc = open_stream(events, s, after, err);
    if (rc != RAMET_OK)
        return rc;
    step_stream(s, slice_ms);
    if (!s->over)
        return RAMET_OK;
    rc = why_over(events, s, err);
    close_stream(s);
    return rc;
}

/* With events->lock held; sleeps or drives for up to a slice. */
static enum ramet_rc
wait_slice(struct ramet_events *events, struct stream *s, uint64_t after,
           uint64_t slice_ms, struct ramet_err *err)
{
    enum ramet_rc rc;

    if (s->driven) {
        (void)ramet_cond_wait_ms(&events->changed, &events->lock, slice_ms);
        return RAMET_OK;
    }
    s->driven = true;
    if (s->disbelieved)
        close_stream(s);
    s->disbelieved = false;
    ramet_mutex_unlock(&events->lock);
    rc = drive_stream(events, s, after, slice_ms, err);
    ramet_mutex_lock(&events->lock);
    s->driven = false;
    if (s->sse.last_lsn > s->known_lsn && !s->disbelieved) {
        s->known_lsn = s->sse.last_lsn;
        ramet_cond_broadcast(&events->changed);
    }
    return rc;
}

void
ramet_events_forget(struct ramet_events *events, const struct ramet_vid *volume)
{
    struct stream *s;

    ramet_mutex_lock(&events->lock);
    s = find_stream(events, volume);
    if (s != NULL) {
        s->known_lsn = 0;
        s->disbelieved = true;
    }
    ramet_mutex_unlock(&events->lock);
}

enum ramet_rc
ramet_events_wait(struct ramet_events *events, const struct ramet_vid *volume,
                  uint64_t after, uint64_t timeout_ms,
                  const volatile bool *cancel, struct ramet_err *err)
{
    const uint64_t until_ms = now_ms() + timeout_ms;
    struct stream *s;
    enum ramet_rc rc = RAMET_OK;

    ramet_mutex_lock(&events->lock);
    s = need_stream(events, volume);
    if (s == NULL) {
        ramet_mutex_unlock(&events->lock);
        return RAMET_FAIL(err, RAMET_ENOMEM, "events: out of memory");
    }
    s->waiters++;
    for (;;) {
        const uint64_t now = now_ms();

        if (s->known_lsn > after)
            break;
        if (cancel != NULL && *cancel) {
            rc = RAMET_ECANCELLED;
            break;
        }
        if (now >= until_ms) {
            rc = RAMET_ETIMEOUT;
            break;
        }
        rc = wait_slice(events, s, after,
                        until_ms - now < SLICE_MS ? until_ms - now : SLICE_MS,
                        err);
        if (rc != RAMET_OK)
            break;
    }
    s->waiters--;
    s->last_used_ms = now_ms();
    ramet_mutex_unlock(&events->lock);
    return rc;
}
