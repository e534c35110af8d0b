/*
 * open_volume_events.c - the newest commits of a volume as events, for those who wait
 * for them; see open_volume.h.
 *
 * A volume that somebody listens to keeps its newest events once for all, as
 * text and as the object that was committed; a subscriber is an LSN and what is
 * half sent.
 */
#include <assert.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "core/os.h"
#include "server/open_volume_impl.h"
#include "server/render.h"

/* Objects of all volumes, those half sent among them. */
#define OBJECTS_MAX_BYTES (16u << 20)

uint64_t
ramet_open_volume_clock_ms(void)
{
    const struct ramet_os *const os = ramet_os_system();

    return os->boot_ns(os->ctx) / 1000000u;
}

/* ---- objects ------------------------------------------------------------------ */

static size_t
cost_of(size_t len)
{
    return sizeof(struct ramet_told_object) + len;
}

void
ramet_told_unref(struct ramet_told_object *object)
{
    if (object == NULL || atomic_fetch_sub(&object->refs, 1) > 1)
        return;
    assert(atomic_load(object->held) >= cost_of(object->len));
    atomic_fetch_sub(object->held, cost_of(object->len));
    ramet_free(object);
}

/* NULL: too large, or there is no room. */
static struct ramet_told_object *
keep_object(struct ramet_volume_table *table, const void *bytes, size_t len)
{
    _Atomic uint64_t *const held = &table->metrics->told_bytes;
    struct ramet_told_object *object = NULL;

    if (bytes == NULL || len == 0 || len > RAMET_NEWS_OBJECT_MAX)
        return NULL;
    if (atomic_fetch_add(held, cost_of(len)) + cost_of(len) <=
        OBJECTS_MAX_BYTES)
        object = ramet_alloc(cost_of(len));
    if (object == NULL) {
        atomic_fetch_sub(held, cost_of(len));
        return NULL;
    }
    atomic_init(&object->refs, 1);
    object->held = held;
    object->len = len;
    memcpy(object->bytes, bytes, len);
    return object;
}

/* As the store has it; NULL also where it can't be read: who needs it asks. */
static struct ramet_told_object *
load_object(struct ramet_open_volume *vol, uint64_t lsn)
{
    uint8_t *const bytes = ramet_alloc(RAMET_NEWS_OBJECT_MAX + 1);
    struct ramet_told_object *object = NULL;
    char key[RAMET_KEY_MAX];
    size_t got = 0;

    assert(lsn > 0);
    if (bytes == NULL)
        return NULL;
    ramet_commit_key(&vol->volume, lsn, key);
    if (ramet_objstore_read(vol->table->store, key, 0, bytes,
                            RAMET_NEWS_OBJECT_MAX + 1, &got, NULL) == RAMET_OK)
        object = keep_object(vol->table, bytes, got);
    ramet_free(bytes);
    return object;
}

/* ---- the ring ------------------------------------------------------------------ */

static struct ramet_event *
event_at(struct ramet_open_volume *vol, uint64_t lsn)
{
    assert(vol->ring != NULL && lsn > 0);
    return &vol->ring[lsn % RAMET_OPEN_VOLUME_EVENTS];
}

/* Takes `object`. */
static void
set_event(struct ramet_event *event, const struct ramet_head *head,
          uint64_t true_ms, struct ramet_told_object *object)
{
    struct ramet_buf buf;

    assert(head->lsn > 0);
    ramet_told_unref(event->object);
    event->object = object;
    event->at = ramet_head_point(head);
    event->true_ms = true_ms;
    event->len = 0;
    ramet_buf_init(&buf, RAMET_EVENT_BYTES_MAX);
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

void
ramet_open_volume_free_events(struct ramet_open_volume *vol)
{
    if (vol->ring == NULL)
        return;
    for (unsigned i = 0; i < RAMET_OPEN_VOLUME_EVENTS; i++)
        ramet_told_unref(vol->ring[i].object);
    ramet_free(vol->ring);
    vol->ring = NULL;
}

/* With vol->lock held; takes `object`. Only the next LSN extends the ring; a gap
 * begins it anew. Events older than what is held are known already. */
static void
add_event(struct ramet_open_volume *vol, const struct ramet_head *head,
          uint64_t true_ms, struct ramet_told_object *object)
{
    assert(vol->ring_first <= vol->ring_next);
    if (vol->ring == NULL)
        vol->ring = ramet_calloc(RAMET_OPEN_VOLUME_EVENTS, sizeof(*vol->ring));
    if (vol->ring == NULL || head->lsn < vol->ring_next) {
        ramet_told_unref(object);
        return;
    }
    if (head->lsn != vol->ring_next)
        vol->ring_first = head->lsn;
    set_event(event_at(vol, head->lsn), head, true_ms, object);
    vol->ring_next = head->lsn + 1;
    if (vol->ring_next - vol->ring_first > RAMET_OPEN_VOLUME_EVENTS)
        vol->ring_first = vol->ring_next - RAMET_OPEN_VOLUME_EVENTS;
}

/* Put an event before the oldest one, if it is the one before and there is
 * room. With vol->lock held; takes `object`. */
static bool
add_older_event(struct ramet_open_volume *vol, const struct ramet_head *head,
                struct ramet_told_object *object)
{
    assert(vol->ring_first <= vol->ring_next);
    if (vol->ring == NULL || head->lsn + 1 != vol->ring_first ||
        vol->ring_next - head->lsn > RAMET_OPEN_VOLUME_EVENTS) {
        ramet_told_unref(object);
        return false;
    }
    set_event(event_at(vol, head->lsn), head, 0, object);
    vol->ring_first = head->lsn;
    return true;
}

const struct ramet_event *
ramet_open_volume_next(struct ramet_subscriber *sub)
{
    struct ramet_open_volume *const vol = sub->vol;
    uint64_t lsn = sub->sent_lsn + 1;

    assert(vol->ring_next - vol->ring_first <= RAMET_OPEN_VOLUME_EVENTS);
    if (lsn < vol->ring_first)
        lsn = vol->ring_first;
    if (vol->ring == NULL || lsn >= vol->ring_next || lsn == 0)
        return NULL;
    assert(event_at(vol, lsn)->at.lsn == lsn);
    sub->sent_lsn = lsn;
    return event_at(vol, lsn);
}

/* ---- telling --------------------------------------------------------------------- */

static void
count_event(struct ramet_open_volume *vol, const struct ramet_head *head)
{
    struct ramet_metrics *metrics = vol->table->metrics;
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

/* Takes `object`. */
static void
publish(struct ramet_open_volume *vol, const struct ramet_head *head,
        uint64_t true_ms, struct ramet_told_object *object)
{
    assert(head->lsn > 0);
    ramet_mutex_lock(&vol->lock);
    if (vol->subscribers != NULL && head->lsn >= vol->ring_next) {
        add_event(vol, head, true_ms, object);
        object = NULL;
        count_event(vol, head);
        vol->moved_ms = 0;
        vol->poll_due_ms = 0;
        for (struct ramet_subscriber *s = vol->subscribers; s != NULL;
             s = s->next)
            ramet_http_feed_poke(s->feed);
    }
    ramet_mutex_unlock(&vol->lock);
    ramet_told_unref(object);
}

/* That `newest` was so at `true_ms` is what beats say. */
static void
note_look(struct ramet_open_volume *vol, const struct ramet_head *newest,
          uint64_t true_ms)
{
    ramet_mutex_lock(&vol->lock);
    if (newest->lsn >= vol->newest.lsn) {
        vol->newest = ramet_head_point(newest);
        if (true_ms > vol->looked_ms)
            vol->looked_ms = true_ms;
    }
    ramet_mutex_unlock(&vol->lock);
}

/* 64 at most. */
void
ramet_open_volume_publish(struct ramet_open_volume *vol,
                          const struct ramet_head *newest, uint64_t true_ms,
                          const void *object, size_t len)
{
    uint64_t lsn;
    bool known;

    assert(newest->lsn > 0);
    note_look(vol, newest, true_ms);
    ramet_mutex_lock(&vol->lock);
    lsn = vol->ring_next;
    known = newest->lsn < lsn || vol->subscribers == NULL;
    ramet_mutex_unlock(&vol->lock);
    if (known)
        return;
    if (lsn + RAMET_OPEN_VOLUME_EVENTS <= newest->lsn)
        lsn = newest->lsn - RAMET_OPEN_VOLUME_EVENTS + 1;
    for (; lsn > 0 && lsn < newest->lsn; lsn++) {
        struct ramet_head head;

        /* That it was the newest is not known of one that others made. */
        if (ramet_history_head(vol->history, lsn, &head, NULL) == RAMET_OK)
            publish(vol, &head, 0, load_object(vol, lsn));
    }
    publish(vol, newest, true_ms,
            object != NULL ? keep_object(vol->table, object, len)
                           : load_object(vol, newest->lsn));
}

/* ---- who comes and goes ------------------------------------------------------------ */

void
ramet_open_volume_attach(struct ramet_subscriber *sub,
                         struct ramet_http_feed *feed)
{
    struct ramet_open_volume *vol = sub->vol;

    assert(vol != NULL && sub->feed == NULL && feed != NULL);
    ramet_mutex_lock(&vol->lock);
    sub->feed = feed;
    sub->next = vol->subscribers;
    sub->link = &vol->subscribers;
    if (sub->next != NULL)
        sub->next->link = &sub->next;
    vol->subscribers = sub;
    vol->moved_ms = 0; /* whoever comes expects something to happen */
    vol->poll_due_ms = 0;
    ramet_mutex_unlock(&vol->lock);
}

void
ramet_open_volume_detach(struct ramet_subscriber *sub)
{
    struct ramet_open_volume *const vol = sub->vol;

    if (sub->feed == NULL)
        return;
    ramet_mutex_lock(&vol->lock);
    assert(*sub->link == sub);
    *sub->link = sub->next;
    if (sub->next != NULL)
        sub->next->link = sub->link;
    sub->feed = NULL;
    ramet_mutex_unlock(&vol->lock);
}

/* Make the ring reach from after + 1 (or as far back as it can) to the newest,
 * from the newest on backwards. */
static void
fill_ring(struct ramet_open_volume *vol, uint64_t after, bool with_objects,
          const struct ramet_head *newest, uint64_t true_ms)
{
    struct ramet_told_object *object =
        with_objects ? load_object(vol, newest->lsn) : NULL;
    uint64_t lsn;
    bool more = true;

    assert(newest->lsn > after);
    ramet_mutex_lock(&vol->lock);
    add_event(vol, newest, true_ms, object);
    lsn = vol->ring_first;
    ramet_mutex_unlock(&vol->lock);
    while (more && --lsn > after) {
        struct ramet_head head;

        if (ramet_history_head(vol->history, lsn, &head, NULL) != RAMET_OK)
            return;
        object = with_objects ? load_object(vol, lsn) : NULL;
        ramet_mutex_lock(&vol->lock);
        more = add_older_event(vol, &head, object);
        ramet_mutex_unlock(&vol->lock);
    }
}

enum ramet_rc
ramet_open_volume_prepare(struct ramet_open_volume *vol, uint64_t *after,
                          bool with_objects, struct ramet_err *err)
{
    const uint64_t true_ms = ramet_open_volume_clock_ms();
    struct ramet_head newest;
    enum ramet_rc rc = ramet_history_newest(vol->history, &newest, err);

    if (rc != RAMET_OK)
        return rc;
    if (newest.lsn > 0) /* who listens already is told first */
        ramet_open_volume_publish(vol, &newest, true_ms, NULL, 0);
    else
        note_look(vol, &newest, true_ms);
    if (*after > newest.lsn) /* from now on; or the store was set back */
        *after = newest.lsn;
    if (newest.lsn > *after)
        fill_ring(vol, *after, with_objects, &newest, true_ms);
    ramet_mutex_lock(&vol->lock);
    if (vol->ring_next <= newest.lsn) /* nobody was told for a while */
        vol->ring_first = vol->ring_next = newest.lsn + 1;
    ramet_mutex_unlock(&vol->lock);
    return RAMET_OK;
}

void
ramet_open_volume_catch_up(struct ramet_open_volume *vol)
{
    const uint64_t true_ms = ramet_open_volume_clock_ms();
    struct ramet_head newest;

    if (ramet_history_newest(vol->history, &newest, NULL) == RAMET_OK &&
        newest.lsn > 0)
        ramet_open_volume_publish(vol, &newest, true_ms, NULL, 0);
}
