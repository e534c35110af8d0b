/*
 * news.c - see news.h.
 */
#include "server/news.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "core/log.h"
#include "server/open_volume_impl.h"

/* All of a record but the object. */
#define RECORD_MAX (1u + 4u * RAMET_VARINT_MAX + 16u)

enum {
    NEWS_BEGIN = 0,
    NEWS_COMMIT = 1,
    NEWS_BEAT = 2,
    NEWS_GONE = 3,
    NEWS_UNKNOWN = 4
};

struct source {
    struct ramet_watched watched;
    /* Released when all below is set, which is the feed's alone from then on: who
     * acquires it true needs no lock. */
    _Atomic bool ready;
    bool unknown;                /* it can't be read now */
    struct ramet_subscriber sub; /* vol NULL: unknown, or not there */
    bool greeted;                /* it had a record */
};

/*
 * The stream begins at once. A job looks at its volumes then, a volume each time
 * that it is run, so that many of them on a slow store keep no worker from others.
 * Two references: the feed's, and the job's while there are volumes left.
 */
struct reader {
    struct ramet_volume_table *volumes;
    struct ramet_job job;
    struct ramet_mutex lock;
    unsigned refs;                /* lock */
    struct ramet_http_feed *feed; /* lock; NULL: not attached */
    bool over;                    /* lock: it was, and is no more */
    unsigned prepared;            /* the job's: sources that are ready */
    _Atomic bool failed; /* the others never will be; set before a poke */
    /* What is being sent: a record, then its object. */
    uint8_t record[RECORD_MAX];
    size_t record_len, record_pos;
    struct ramet_told_object *object;
    size_t object_pos;
    unsigned next; /* whose turn it is */
    unsigned count;
    struct source sources[];
};

/* ---- the request ------------------------------------------------------------------ */

static bool
is_twice(const struct ramet_watched *list, unsigned count,
         const struct ramet_vid *volume)
{
    assert(count <= RAMET_NEWS_VOLUMES_MAX);
    for (unsigned i = 0; i < count; i++)
        if (ramet_id_compare(&list[i].volume.id, &volume->id) == 0)
            return true;
    return false;
}

enum ramet_rc
ramet_news_decode(const uint8_t *data, size_t len,
                  struct ramet_watched out[RAMET_NEWS_VOLUMES_MAX],
                  unsigned *out_count, struct ramet_err *err)
{
    struct ramet_reader in;
    uint8_t version, flags;
    unsigned count;

    ramet_reader_init(&in, data, len);
    version = ramet_read_u8(&in);
    flags = ramet_read_u8(&in);
    if (version != 1 || flags != 0)
        return RAMET_FAIL(err, RAMET_EINVAL, "not a request for news");
    count = (unsigned)ramet_read_varint_max(&in, RAMET_NEWS_VOLUMES_MAX);
    if (in.bad || count == 0)
        return RAMET_FAIL(err, RAMET_EINVAL, "news: 1 to %u volumes",
                          RAMET_NEWS_VOLUMES_MAX);
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *const id = ramet_read_bytes(&in, 16);

        out[i].known_lsn = ramet_read_varint_max(&in, UINT64_MAX - 1);
        if (in.bad)
            break;
        memcpy(&out[i].volume.id, id, 16);
        if (is_twice(out, i, &out[i].volume))
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "news: volume %u is named twice", i);
    }
    if (in.bad || ramet_reader_left(&in) > 0)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "news: malformed request (%zu bytes)", len);
    *out_count = count;
    return RAMET_OK;
}

/* ---- records ----------------------------------------------------------------------- */

static void
begin_record(struct reader *r, uint8_t type)
{
    assert(r->object == NULL);
    r->record_pos = 0;
    r->record[0] = type;
    r->record_len = 1;
}

static void
add_number(struct reader *r, uint64_t value)
{
    assert(r->record_len > 0);
    r->record_len += ramet_put_varint(r->record + r->record_len, value);
    assert(r->record_len <= RECORD_MAX);
}

static void
add_point(struct reader *r, const struct ramet_point *at, uint64_t true_ms)
{
    add_number(r, at->lsn);
    assert(r->record_len + 16 <= RECORD_MAX);
    memcpy(r->record + r->record_len, at->hash.bytes, 16);
    r->record_len += 16;
    add_number(r, true_ms);
}

static void
tell_commit(struct reader *r, unsigned index, const struct ramet_event *event)
{
    assert(index < r->count && r->object == NULL);
    begin_record(r, NEWS_COMMIT);
    add_number(r, index);
    add_point(r, &event->at, event->true_ms);
    add_number(r, event->object != NULL ? event->object->len : 0);
    r->object = event->object;
    r->object_pos = 0;
    if (r->object != NULL)
        atomic_fetch_add(&r->object->refs, 1);
    atomic_fetch_add_explicit(r->object != NULL
                                  ? &r->volumes->metrics->told
                                  : &r->volumes->metrics->told_bare,
                              1, memory_order_relaxed);
}

/* With vol->lock held. */
static bool
next_of_volume(struct reader *r, unsigned index)
{
    struct source *const source = &r->sources[index];
    struct ramet_subscriber *const sub = &source->sub;
    const struct ramet_open_volume *const vol = sub->vol;
    const struct ramet_event *const event = ramet_open_volume_next(sub);

    assert(index < r->count && vol != NULL);
    if (event != NULL) {
        source->greeted = true;
        tell_commit(r, index, event);
        return true;
    }
    if (vol->deleted || (source->greeted && !sub->heartbeat))
        return false;
    source->greeted = true;
    sub->heartbeat = false;
    begin_record(r, NEWS_BEAT);
    add_number(r, index);
    add_point(r, &vol->newest, vol->looked_ms);
    return true;
}

/* That there is nothing to be told of it, once. */
static bool
next_of_none(struct reader *r, unsigned index)
{
    struct source *const source = &r->sources[index];

    assert(index < r->count);
    if (source->sub.said_gone)
        return false;
    source->sub.said_gone = true;
    begin_record(r, source->unknown ? NEWS_UNKNOWN : NEWS_GONE);
    add_number(r, index);
    return true;
}

/* Of the volume's own records the next. *out_gone: it has none any more; *out_lost:
 * for it is not what it was, of which nothing is said but that the stream ends. */
static bool
next_of_source(struct reader *r, unsigned index, bool *out_gone, bool *out_lost)
{
    struct source *const source = &r->sources[index];
    struct ramet_open_volume *const vol = source->sub.vol;
    bool more, lost;

    assert(index < r->count);
    if (!atomic_load_explicit(&source->ready, memory_order_acquire))
        return false;
    *out_gone = true;
    if (vol == NULL)
        return next_of_none(r, index);
    ramet_mutex_lock(&vol->lock);
    more = next_of_volume(r, index);
    *out_gone = vol->deleted;
    lost = vol->deleted && !vol->say_gone;
    ramet_mutex_unlock(&vol->lock);
    *out_lost = *out_lost || lost;
    return more || (*out_gone && !lost && next_of_none(r, index));
}

/* The next record; false: there is none now, *out_end: nor will there be. */
static bool
next_record(struct reader *r, bool *out_end)
{
    unsigned gone_count = 0;
    bool lost = atomic_load_explicit(&r->failed, memory_order_relaxed);

    assert(r->count > 0 && r->next <= r->count);
    for (unsigned i = 0; i < r->count; i++) {
        const unsigned index = (r->next + i) % r->count;
        bool gone = false;

        if (next_of_source(r, index, &gone, &lost)) {
            r->next =
                index + 1; /* one that never stops keeps none from others */
            return true;
        }
        gone_count += gone;
    }
    *out_end = lost || gone_count == r->count;
    return false;
}

/* ---- the feed ------------------------------------------------------------ */

static size_t
take_part(uint8_t *out, size_t max, const uint8_t *from, size_t len,
          size_t *pos)
{
    const size_t n = len - *pos < max ? len - *pos : max;

    assert(*pos <= len);
    memcpy(out, from + *pos, n);
    *pos += n;
    return n;
}

static void
drop_object(struct reader *r)
{
    ramet_told_unref(r->object);
    r->object = NULL;
}

static ssize_t
feed_pull(void *state, uint8_t *out, size_t max)
{
    struct reader *const r = state;
    bool end = false;
    size_t n = 0;

    while (n < max) {
        if (r->record_pos < r->record_len) {
            n += take_part(out + n, max - n, r->record, r->record_len,
                           &r->record_pos);
        } else if (r->object != NULL) {
            n += take_part(out + n, max - n, r->object->bytes, r->object->len,
                           &r->object_pos);
            if (r->object_pos == r->object->len)
                drop_object(r);
        } else if (!next_record(r, &end)) {
            break;
        }
    }
    return n == 0 && end ? -1 : (ssize_t)n;
}

static void
feed_attached(void *state, struct ramet_http_feed *feed)
{
    struct reader *const r = state;

    atomic_fetch_add_explicit(&r->volumes->metrics->news_streams, 1,
                              memory_order_relaxed);
    ramet_mutex_lock(&r->lock);
    assert(r->feed == NULL && !r->over);
    r->feed = feed;
    for (unsigned i = 0; i < r->count; i++) {
        struct source *const source = &r->sources[i];

        if (atomic_load_explicit(&source->ready, memory_order_acquire) &&
            source->sub.vol != NULL)
            ramet_open_volume_attach(&source->sub, feed);
    }
    ramet_mutex_unlock(&r->lock);
}

static void
unref_reader(struct reader *r)
{
    bool last;

    ramet_mutex_lock(&r->lock);
    assert(r->refs > 0);
    last = --r->refs == 0;
    ramet_mutex_unlock(&r->lock);
    if (!last)
        return;
    for (unsigned i = 0; i < r->count; i++)
        ramet_open_volume_put(r->sources[i].sub.vol);
    drop_object(r);
    ramet_mutex_done(&r->lock);
    ramet_free(r);
}

static void
feed_free(void *state)
{
    struct reader *const r = state;

    ramet_mutex_lock(&r->lock);
    if (r->feed != NULL)
        atomic_fetch_sub_explicit(&r->volumes->metrics->news_streams, 1,
                                  memory_order_relaxed);
    r->feed = NULL;
    r->over = true;
    for (unsigned i = 0; i < r->count; i++)
        if (r->sources[i].sub.feed != NULL)
            ramet_open_volume_detach(&r->sources[i].sub);
    ramet_mutex_unlock(&r->lock);
    unref_reader(r);
}

static const struct ramet_http_feed_ops feed_ops = {
    .attached = feed_attached, .pull = feed_pull, .free = feed_free};

/* ---- subscribing --------------------------------------------------------- */

/* RAMET_EWENTBACK: the volume is not what it was, and was dropped; *out_deleted: nor
 * is there one any more. */
static enum ramet_rc
subscribe(struct ramet_volume_table *table, const struct ramet_watched *watched,
          struct ramet_subscriber *out, bool *out_deleted,
          struct ramet_err *err)
{
    uint64_t after = watched->known_lsn;
    struct ramet_open_volume *vol = NULL;
    enum ramet_rc rc;

    assert(out->vol == NULL);
    rc = ramet_open_volume_get(table, &watched->volume, &vol, err);
    if (rc == RAMET_OK)
        rc = ramet_open_volume_prepare(vol, &after, true, err);
    if (rc == RAMET_OK) {
        out->vol = vol;
        out->sent_lsn = after;
        return RAMET_OK;
    }
    if (rc == RAMET_EWENTBACK) {
        const enum ramet_rc dropped =
            ramet_open_volume_drop_lost(vol, out_deleted, err);

        rc = dropped == RAMET_OK ? rc : dropped;
    }
    ramet_open_volume_put(vol);
    return rc;
}

/* That a volume went away, or can't be read, is news of it, and keeps none from the
 * others. One whose store was set back is begun anew. */
static enum ramet_rc
prepare_source(struct ramet_volume_table *table, struct source *source,
               struct ramet_err *err)
{
    struct ramet_subscriber *const sub = &source->sub;
    bool deleted = false;
    enum ramet_rc rc = subscribe(table, &source->watched, sub, &deleted, err);

    if (rc == RAMET_EWENTBACK && !deleted)
        rc = subscribe(table, &source->watched, sub, &deleted, err);
    source->unknown = rc == RAMET_ECORRUPT || rc == RAMET_EVERSION;
    return deleted || rc == RAMET_ENOTFOUND || source->unknown ? RAMET_OK : rc;
}

/* From now on it is the feed's. False: the stream is over. */
static bool
hand_over(struct reader *r, struct source *source, bool failed)
{
    bool over;

    ramet_mutex_lock(&r->lock);
    if (failed)
        atomic_store_explicit(&r->failed, true, memory_order_relaxed);
    else if (source->sub.vol != NULL && r->feed != NULL)
        ramet_open_volume_attach(&source->sub, r->feed);
    if (!failed)
        atomic_store_explicit(&source->ready, true, memory_order_release);
    if (r->feed != NULL)
        ramet_http_feed_poke(r->feed);
    over = r->over;
    ramet_mutex_unlock(&r->lock);
    return !over;
}

/* A second look at the volume that was prepared last: it finds what was committed
 * between the first and its being listened to. Then the next volume; false: there
 * is none, or nobody listens. */
static bool
prepare_next(struct reader *r)
{
    struct source *const last = &r->sources[r->prepared - 1];
    struct source *const next = last + 1;
    struct ramet_err err;
    enum ramet_rc rc;

    assert(r->prepared > 0 && r->prepared <= r->count);
    if (last->sub.vol != NULL)
        ramet_open_volume_catch_up(last->sub.vol);
    if (r->prepared == r->count)
        return false;
    rc = prepare_source(r->volumes, next, &err);
    if (rc != RAMET_OK)
        ramet_log(RAMET_LOG_WARN, "a stream of news ends", "detail", err.text,
                  NULL);
    r->prepared++;
    return hand_over(r, next, rc != RAMET_OK) && rc == RAMET_OK;
}

static void
run_job(struct ramet_job *job)
{
    struct reader *const r =
        (void *)((char *)job - offsetof(struct reader, job));

    if (prepare_next(r))
        ramet_work_continue(r->volumes->work, job);
    else
        unref_reader(r);
}

static struct reader *
new_reader(struct ramet_volume_table *table,
           const struct ramet_watched *watched, unsigned count)
{
    struct reader *const r =
        ramet_calloc(1, sizeof(*r) + count * sizeof(r->sources[0]));

    assert(count > 0 && count <= RAMET_NEWS_VOLUMES_MAX);
    if (r == NULL)
        return NULL;
    r->volumes = table;
    r->job.run = run_job;
    ramet_mutex_init(&r->lock);
    r->refs = 1;
    r->count = count;
    for (unsigned i = 0; i < count; i++)
        r->sources[i].watched = watched[i];
    begin_record(r, NEWS_BEGIN);
    add_number(r, ramet_open_volume_clock_ms());
    return r;
}

enum ramet_rc
ramet_news_reply(struct ramet_volume_table *table,
                 const struct ramet_watched *watched, unsigned count,
                 struct ramet_http_request *rq, struct ramet_err *err)
{
    struct reader *const r = new_reader(table, watched, count);
    struct source *const first = r != NULL ? &r->sources[0] : NULL;
    enum ramet_rc rc;

    assert(count > 0 && count <= RAMET_NEWS_VOLUMES_MAX);
    if (r == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "news: out of memory");
    /* A store that can't be reached is told by the answer's status. */
    rc = prepare_source(table, first, err);
    if (rc != RAMET_OK) {
        unref_reader(r);
        return rc;
    }
    (void)hand_over(r, first, false);
    r->prepared = 1;
    r->refs++;
    ramet_http_set_header(rq, "Cache-Control", "no-store");
    ramet_http_set_header(rq, "X-Accel-Buffering", "no");
    ramet_http_reply_feed(rq, RAMET_NEWS_TYPE, &feed_ops, r);
    ramet_work_continue(table->work, &r->job);
    return RAMET_OK;
}
