/*
 * ahead.c - see ahead.h.
 *
 * Locks: mutex < the pipeline's, and those of whoever keeps pages.
 */
#include "client/remote/ahead.h"

#include <assert.h>
#include <stdatomic.h>

#include "core/alloc.h"
#include "core/thread.h"

#define STREAMS 8u /* readers at a time; the one idle for longest makes room */

/* What one reader reads, at one commit at a time. */
struct stream {
    const struct ramet_ahead_view *view;
    const void *reader;
    struct ramet_head head;
    struct ramet_point at;
    struct ramet_prefetch *predictor; /* NULL: free */
    uint64_t used;
};

struct ramet_ahead {
    struct ramet_mutex mutex;
    struct ramet_ahead_view view;
    struct stream streams[STREAMS];
    uint64_t clock;
    struct ramet_prefetch_counts gone; /* of streams that ended */
};

/* Of this process; each by itself, for who prints them when all is done. */
static struct {
    _Atomic uint64_t asked, used, vain;
} process;

struct ramet_ahead *
ramet_ahead_new(const struct ramet_ahead_view *view)
{
    struct ramet_ahead *const ahead = ramet_calloc(1, sizeof(*ahead));

    assert(view->is_here != NULL && view->peek != NULL);
    if (ahead == NULL)
        return NULL;
    ahead->view = *view;
    ramet_mutex_init(&ahead->mutex);
    return ahead;
}

static void
add_counts(struct ramet_prefetch_counts *sum,
           const struct ramet_prefetch_counts *counts)
{
    assert(counts->used <= counts->asked);
    sum->asked += counts->asked;
    sum->used += counts->used;
    sum->vain += counts->vain;
}

/* What was asked for and not read by now was in vain. */
static void
end_stream(struct ramet_ahead *ahead, struct stream *stream)
{
    struct ramet_prefetch_counts counts;

    if (stream->predictor == NULL)
        return;
    counts = ramet_prefetch_counts(stream->predictor);
    assert(counts.used <= counts.asked);
    counts.vain = counts.asked - counts.used;
    add_counts(&ahead->gone, &counts);
    atomic_fetch_add(&process.asked, counts.asked);
    atomic_fetch_add(&process.used, counts.used);
    atomic_fetch_add(&process.vain, counts.vain);
    ramet_prefetch_free(stream->predictor);
    assert(stream->view == &ahead->view);
    *stream = (struct stream){.predictor = NULL};
}

void
ramet_ahead_clear(struct ramet_ahead *ahead)
{
    ramet_mutex_lock(&ahead->mutex);
    for (unsigned i = 0; i < STREAMS; i++)
        end_stream(ahead, &ahead->streams[i]);
    ramet_mutex_unlock(&ahead->mutex);
}

void
ramet_ahead_free(struct ramet_ahead *ahead)
{
    if (ahead == NULL)
        return;
    ramet_ahead_clear(ahead);
    ramet_mutex_done(&ahead->mutex);
    ramet_free(ahead);
}

static bool
is_here(void *ctx, uint32_t pgno)
{
    const struct stream *const stream = ctx;

    assert(stream->view != NULL);
    return stream->view->is_here(stream->view->ctx, &stream->at, pgno);
}

static bool
peek(void *ctx, uint32_t pgno, uint8_t *out_page)
{
    const struct stream *const stream = ctx;

    assert(stream->view != NULL && out_page != NULL);
    return stream->view->peek(stream->view->ctx, &stream->at, pgno, out_page,
                              stream->head.page_size);
}

/* Under the mutex, as all below. */
static void
begin_stream(struct ramet_ahead *ahead, struct stream *stream,
             const void *reader, const struct ramet_head *head)
{
    const struct ramet_prefetch_options options = {
        .page_size = head->page_size,
        .page_count = head->page_count,
        .is_database = head->kind == RAMET_KIND_SQLITE,
        .view = {is_here, peek, stream},
    };

    assert(head->page_size != 0);
    end_stream(ahead, stream);
    assert(stream->predictor == NULL);
    *stream = (struct stream){
        .view = &ahead->view,
        .reader = reader,
        .head = *head,
        .at = ramet_head_point(head),
        .predictor = ramet_prefetch_new(&options),
    };
}

/* The stream of `reader` at `head`, or NULL on no memory. */
static struct stream *
stream_of(struct ramet_ahead *ahead, const void *reader,
          const struct ramet_head *head)
{
    const struct ramet_point at = ramet_head_point(head);
    struct stream *stream = &ahead->streams[0];

    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *const s = &ahead->streams[i];

        if (s->predictor != NULL && s->reader == reader) {
            stream = s;
            break;
        }
        if (s->used < stream->used)
            stream = s;
    }
    if (stream->predictor == NULL || stream->reader != reader ||
        stream->head.page_size != head->page_size) {
        begin_stream(ahead, stream, reader, head);
    } else if (!ramet_point_equal(&stream->at, &at)) {
        stream->head = *head;
        stream->at = at;
        ramet_prefetch_move(stream->predictor, head->page_count);
    }
    assert(stream->predictor == NULL ||
           (stream->reader == reader && ramet_point_equal(&stream->at, &at)));
    stream->used = ++ahead->clock;
    return stream->predictor != NULL ? stream : NULL;
}

static void
take(struct stream *stream, struct ramet_ahead_list *list)
{
    assert(stream->predictor != NULL);
    assert(list->count <= list->max);
    list->head = stream->head;
    ramet_prefetch_set_budget(stream->predictor, list->budget);
    ramet_prefetch_set_room(stream->predictor, list->room);
    list->count += ramet_prefetch_take(
        stream->predictor, list->pgnos + list->count, list->max - list->count);
}

/* The reader goes on: it `wants` the page, if it did not say so before, and has
 * it, unless `page` is NULL. */
static void
follow(struct ramet_ahead *ahead, const void *reader,
       const struct ramet_head *head, uint32_t pgno, bool wants,
       const uint8_t *page, struct ramet_ahead_list *list)
{
    struct stream *stream;

    assert(wants || page != NULL);
    ramet_mutex_lock(&ahead->mutex);
    stream = stream_of(ahead, reader, head);
    if (stream != NULL) {
        if (wants)
            ramet_prefetch_want(stream->predictor, pgno, page != NULL);
        if (page != NULL)
            ramet_prefetch_read(stream->predictor, pgno, page);
        take(stream, list);
    }
    ramet_mutex_unlock(&ahead->mutex);
}

void
ramet_ahead_missed(struct ramet_ahead *ahead, const void *reader,
                   const struct ramet_head *head, uint32_t pgno,
                   struct ramet_ahead_list *list)
{
    assert(pgno > 0);
    follow(ahead, reader, head, pgno, true, NULL, list);
}

void
ramet_ahead_got(struct ramet_ahead *ahead, const void *reader,
                const struct ramet_head *head, uint32_t pgno,
                const uint8_t *page, struct ramet_ahead_list *list)
{
    assert(page != NULL);
    follow(ahead, reader, head, pgno, false, page, list);
}

void
ramet_ahead_was_read(struct ramet_ahead *ahead, const void *reader,
                     const struct ramet_head *head, uint32_t pgno,
                     const uint8_t *page, struct ramet_ahead_list *list)
{
    assert(page != NULL);
    follow(ahead, reader, head, pgno, true, page, list);
}

void
ramet_ahead_came(struct ramet_ahead *ahead, const struct ramet_point *at,
                 uint32_t pgno, const uint8_t *page,
                 struct ramet_ahead_list *list)
{
    assert(page != NULL);
    ramet_mutex_lock(&ahead->mutex);
    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *const stream = &ahead->streams[i];

        if (stream->predictor == NULL || !ramet_point_equal(&stream->at, at))
            continue;
        ramet_prefetch_arrived(stream->predictor, pgno, page);
        take(stream, list);
    }
    ramet_mutex_unlock(&ahead->mutex);
}

void
ramet_ahead_lost(struct ramet_ahead *ahead, const struct ramet_point *at,
                 const uint32_t *pgnos, size_t count)
{
    assert(pgnos != NULL || count == 0);
    ramet_mutex_lock(&ahead->mutex);
    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *const stream = &ahead->streams[i];

        if (stream->predictor == NULL || !ramet_point_equal(&stream->at, at))
            continue;
        for (size_t k = 0; k < count; k++)
            ramet_prefetch_lost(stream->predictor, pgnos[k]);
    }
    ramet_mutex_unlock(&ahead->mutex);
}

struct ramet_prefetch_counts
ramet_ahead_counts(struct ramet_ahead *ahead)
{
    struct ramet_prefetch_counts sum;

    ramet_mutex_lock(&ahead->mutex);
    sum = ahead->gone;
    for (unsigned i = 0; i < STREAMS; i++)
        if (ahead->streams[i].predictor != NULL) {
            const struct ramet_prefetch_counts counts =
                ramet_prefetch_counts(ahead->streams[i].predictor);

            add_counts(&sum, &counts);
        }
    ramet_mutex_unlock(&ahead->mutex);
    assert(sum.used <= sum.asked);
    return sum;
}

struct ramet_prefetch_counts
ramet_ahead_counts_process(void)
{
    return (struct ramet_prefetch_counts){atomic_load(&process.asked),
                                          atomic_load(&process.used),
                                          atomic_load(&process.vain)};
}
