/*
 * api_pages.c - page reads: the frames of any set of pages of any snapshot, as
 * stored, in one answer.
 *
 * Three ways, from fast to slow: everything in memory, answered in the event
 * thread; a small set, answered by a worker in one piece; a stream, made slice
 * by slice as the client takes it.
 *
 *   (1) A frame is sent once in an answer.
 *   (2) Memory of an answer: the request's runs, one slice of frames, and the
 *       stream's buffers; while a worker is at it, with metadata, a history
 *       and a list of ranges besides.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "server/pages.h"
#include "server/recorder.h"
#include "server/server_impl.h"

#define TYPE_FRAMES "application/vnd.ramet.frames"
#define SLICE_PAGES 256u
/* Asked for in the event thread: at most this many pages. */
#define NOW_PAGES_MAX 16u
#define NOW_BYTES_MAX (128u << 10)
#define WHOLE_PAGES_MAX 64u
#define WHOLE_BYTES_MAX (12u << 20)

/* ---- frames that were sent --------------------------------------------------- */

/* Only frames of several pages can be met twice: open addressing by hash. */
struct sent_set {
    uint64_t *slots; /* 0: empty */
    size_t mask, count;
};

static uint64_t
place_hash(const struct ramet_place *place)
{
    uint8_t text[48] = {0};
    uint64_t hash;

    memcpy(text, place->segment.id.bytes, RAMET_ID_SIZE);
    ramet_put_le64(text + 16, place->lsn);
    ramet_put_le64(text + 24, place->offset_bytes);
    text[32] = (uint8_t)place->kind;
    memcpy(text + 33, place->volume.id.bytes + 1, RAMET_ID_SIZE - 1);
    hash = ramet_hash64(text, sizeof(text));
    return hash != 0 ? hash : 1;
}

static bool
grow_set(struct sent_set *set)
{
    const size_t capacity = set->slots == NULL ? 256 : (set->mask + 1) * 2;
    uint64_t *slots = ramet_calloc(capacity, sizeof(*slots));

    if (slots == NULL)
        return false;
    for (size_t i = 0; set->slots != NULL && i <= set->mask; i++) {
        size_t at = (size_t)set->slots[i] & (capacity - 1);

        if (set->slots[i] == 0)
            continue;
        while (slots[at] != 0)
            at = (at + 1) & (capacity - 1);
        slots[at] = set->slots[i];
    }
    ramet_free(set->slots);
    set->slots = slots;
    set->mask = capacity - 1;
    return true;
}

/* True if it was not there; on no memory it is sent again, which is allowed. */
static bool
set_add(struct sent_set *set, const struct ramet_place *place)
{
    const uint64_t hash = place_hash(place);
    size_t at;

    if ((set->slots == NULL || set->count * 2 > set->mask) && !grow_set(set))
        return true;
    at = (size_t)hash & set->mask;
    while (set->slots[at] != 0) {
        if (set->slots[at] == hash)
            return false;
        at = (at + 1) & set->mask;
    }
    set->slots[at] = hash;
    set->count++;
    return true;
}

/* ---- an answer under way ------------------------------------------------------ */

struct answer {
    struct ramet_server *server;
    struct ramet_live *live;
    struct ramet_pages_request request;
    struct ramet_point at; /* where the pages are looked for */
    uint32_t run, next;    /* the next page: runs[run].first + next */
    uint32_t slice;        /* pages at a time, at most SLICE_PAGES */
    uint64_t sent;         /* range records */
    struct sent_set set;
    struct ramet_recorder recorder;
    struct ramet_history *fresh; /* over the recorder; NULL: not asked for */
    size_t records_sent;
    struct ramet_frame *frames; /* SLICE_PAGES, by ascending page */
    uint32_t asked[SLICE_PAGES];
    uint32_t sorted[SLICE_PAGES];
};

static void
free_answer(void *state)
{
    struct answer *answer = state;

    if (answer == NULL)
        return;
    ramet_history_close(answer->fresh);
    ramet_recorder_done(&answer->recorder);
    ramet_pages_request_done(&answer->request);
    ramet_free(answer->set.slots);
    ramet_free(answer->frames);
    ramet_live_put(answer->live);
    ramet_free(answer);
}

static enum ramet_rc
append_range(struct answer *answer, const struct ramet_range_place *place,
             const char *key, size_t len, bool ends_object,
             struct ramet_buf *out, struct ramet_err *err)
{
    uint8_t *room;

    ramet_range_begin(out, ramet_live_volume(answer->live), place, ends_object,
                      len);
    room = ramet_buf_extend(out, len);
    if (room == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    answer->sent++;
    if (len == 0)
        return RAMET_OK;
    return ramet_objstore_read_full(answer->server->store, key, place->offset,
                                    room, len, err);
}

static enum ramet_rc
append_place(struct answer *answer, const struct ramet_place *place,
             struct ramet_buf *out, struct ramet_err *err)
{
    const struct ramet_range_place range = {
        .object = place->kind == RAMET_IN_COMMIT ? 1 : 0,
        .volume = place->volume,
        .id = place->segment.id,
        .lsn = place->lsn,
        .offset = place->offset_bytes,
    };
    char key[RAMET_KEY_MAX];

    ramet_place_key(place, key);
    return append_range(answer, &range, key, place->length_bytes, false, out,
                        err);
}

/* What the fresh history had to read since the last slice. */
static enum ramet_rc
append_metadata(struct answer *answer, struct ramet_buf *out,
                struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    for (; rc == RAMET_OK && answer->records_sent < answer->recorder.count;
         answer->records_sent++) {
        const struct ramet_record *record =
            &answer->recorder.records[answer->records_sent];
        struct ramet_range_place place;

        if (ramet_range_of_key(record->key, record->offset, &place))
            rc = append_range(answer, &place, record->key, record->got,
                              record->got < record->asked, out, err);
    }
    return rc;
}

static enum ramet_rc
append_frame(struct answer *answer, const struct ramet_frame *frame,
             struct ramet_buf *out, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    if (frame->page_count == 0)
        return RAMET_OK; /* zeros */
    if (frame->page_count > 1 && !set_add(&answer->set, &frame->place))
        return RAMET_OK; /* invariant (1) */
    if ((answer->request.flags & RAMET_PAGES_DICTS) != 0 &&
        frame->kind == RAMET_FRAME_DICT && set_add(&answer->set, &frame->base))
        rc = append_place(answer, &frame->base, out, err);
    if (rc == RAMET_OK)
        rc = append_place(answer, &frame->place, out, err);
    return rc;
}

static int
compare_pgno(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

/* The next pages in the order asked, and sorted. */
static size_t
take_slice(struct answer *answer, struct ramet_err *err, enum ramet_rc *out_rc)
{
    const struct ramet_pages_request *request = &answer->request;
    size_t count = 0;

    while (count < answer->slice && answer->run < request->run_count) {
        const struct ramet_pages_run *run = &request->runs[answer->run];

        answer->asked[count++] = run->first + answer->next++;
        if (run->first + (answer->next - 1) == run->last) {
            answer->run++;
            answer->next = 0;
        }
    }
    memcpy(answer->sorted, answer->asked, count * sizeof(uint32_t));
    qsort(answer->sorted, count, sizeof(uint32_t), compare_pgno);
    *out_rc = RAMET_OK;
    for (size_t i = 1; i < count; i++) {
        if (answer->sorted[i] == answer->sorted[i - 1])
            *out_rc = RAMET_FAIL(err, RAMET_EINVAL,
                                 "pages: page %" PRIu32 " is asked for twice",
                                 answer->sorted[i]);
    }
    return count;
}

static enum ramet_rc
answer_slice(struct answer *answer, struct ramet_buf *out,
             struct ramet_err *err)
{
    struct ramet_history *history = answer->fresh != NULL
                                        ? answer->fresh
                                        : ramet_live_history(answer->live);
    enum ramet_rc rc;
    const size_t count = take_slice(answer, err, &rc);

    if (rc == RAMET_OK)
        rc = ramet_history_locate(history, &answer->at, answer->sorted, count,
                                  answer->frames, err);
    if (rc == RAMET_OK)
        rc = append_metadata(answer, out, err);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++) {
        const uint32_t *at = bsearch(&answer->asked[i], answer->sorted, count,
                                     sizeof(uint32_t), compare_pgno);
        const struct ramet_frame *frame = &answer->frames[at - answer->sorted];

        ramet_placed_put(answer->server->placed,
                         ramet_live_volume(answer->live), &answer->request.at,
                         answer->asked[i], frame);
        rc = append_frame(answer, frame, out, err);
    }
    if (rc == RAMET_OK)
        atomic_fetch_add_explicit(&answer->server->metrics.pages, count,
                                  memory_order_relaxed);
    return rc;
}

/* A failure becomes a record, so that the client learns why. */
static enum ramet_rc
produce_pages(void *state, struct ramet_buf *out, bool *out_done,
              struct ramet_err *err)
{
    struct answer *answer = state;
    enum ramet_rc rc = RAMET_OK;

    while (rc == RAMET_OK && answer->run < answer->request.run_count &&
           out->len < RAMET_HTTP_STREAM_BYTES) {
        const size_t before = out->len;

        rc = answer_slice(answer, out, err);
        if (rc != RAMET_OK && out->failed == RAMET_OK) {
            (void)ramet_api_note_failure(
                answer->server, ramet_live_volume(answer->live), &rc, err);
            out->len = before; /* whole records only */
            ramet_log(RAMET_LOG_WARN, "page read failed", "detail", err->text,
                      NULL);
            ramet_range_error(out, rc, err->text);
            *out_done = true;
            return RAMET_OK;
        }
    }
    *out_done = answer->run == answer->request.run_count;
    if (*out_done && rc == RAMET_OK)
        ramet_range_end(out, answer->sent);
    return rc;
}

static const struct ramet_http_stream_ops pages_ops = {.produce = produce_pages,
                                                       .free = free_answer};

/* ---- in a worker ---------------------------------------------------------------- */

static enum ramet_rc
open_fresh(struct answer *answer, struct ramet_err *err)
{
    const struct ramet_history_options options = {.cache_bytes = 1u << 20};

    ramet_recorder_init(&answer->recorder, answer->server->store);
    return ramet_history_open(&answer->recorder.store,
                              ramet_live_volume(answer->live), &options,
                              &answer->fresh, err);
}

/* Pages of a slice: about what a stream takes at a time. */
static uint32_t
slice_pages(uint32_t page_size)
{
    const uint32_t pages = 2u * RAMET_HTTP_STREAM_BYTES / page_size;

    return pages > SLICE_PAGES ? SLICE_PAGES : pages;
}

/* Takes over `live` and the request, whatever happens. */
static enum ramet_rc
make_answer(struct call *call, struct ramet_live *live,
            struct ramet_pages_request *request, const struct ramet_head *head,
            struct answer **out_answer, struct ramet_err *err)
{
    struct answer *answer = ramet_calloc(1, sizeof(*answer));
    enum ramet_rc rc = RAMET_OK;

    if (answer == NULL) {
        ramet_pages_request_done(request);
        ramet_live_put(live);
        return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    }
    answer->server = call->server;
    answer->live = live;
    answer->request = *request;
    answer->at = ramet_head_point(head);
    answer->slice = slice_pages(head->page_size);
    answer->frames = ramet_calloc(SLICE_PAGES, sizeof(*answer->frames));
    if (answer->frames == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    if (rc == RAMET_OK && (request->flags & RAMET_PAGES_METADATA) != 0)
        rc = open_fresh(answer, err);
    if (rc == RAMET_OK)
        *out_answer = answer;
    else
        free_answer(answer);
    return rc;
}

/* In one piece: a small set, so that a failure still has its own status; and
 * one with metadata, whose bookkeeping then lives no longer than this call, and
 * so as often as there are workers. */
static void
reply_whole(struct call *call, struct answer *answer)
{
    struct ramet_buf out;
    struct ramet_err err;
    enum ramet_rc rc;

    ramet_buf_init(&out, WHOLE_BYTES_MAX);
    do
        rc = answer_slice(answer, &out, &err);
    while (rc == RAMET_OK && answer->run < answer->request.run_count);
    if (out.failed == RAMET_ETOOBIG)
        rc = RAMET_FAIL(&err, RAMET_ETOOBIG,
                        "these pages are too large: ask for fewer at once");
    if (rc != RAMET_OK) {
        ramet_buf_done(&out);
        ramet_api_failed(call, ramet_live_volume(answer->live), rc, &err);
    } else {
        ramet_range_end(&out, answer->sent);
        ramet_render_reply(call->rq, 200, TYPE_FRAMES, &out);
    }
    free_answer(answer);
}

void
ramet_api_pages(struct call *call)
{
    struct ramet_pages_request request;
    struct answer *answer = NULL;
    struct ramet_live *live;
    struct ramet_head head;
    struct ramet_err err;
    size_t len;
    const uint8_t *body = ramet_http_body(call->rq, &len);
    enum ramet_rc rc;

    rc = ramet_pages_decode(body, len, &request, &err);
    if (rc != RAMET_OK) {
        ramet_api_refused(call, rc, &err);
        return;
    }
    live = ramet_api_live(call);
    if (live == NULL) {
        ramet_pages_request_done(&request);
        return;
    }
    rc = (request.flags & RAMET_PAGES_HASH) != 0
             ? ramet_history_head_of(ramet_live_history(live), &request.at,
                                     &head, &err)
             : ramet_history_head(ramet_live_history(live), request.at.lsn,
                                  &head, &err);
    if (rc != RAMET_OK) {
        ramet_pages_request_done(&request);
        ramet_live_put(live);
    } else {
        rc = make_answer(call, live, &request, &head, &answer, &err);
    }
    if (rc == RAMET_EWENTBACK) { /* by what the client says: nothing ends */
        ramet_render_failure(call->rq, rc, &err, true);
        return;
    }
    if (rc != RAMET_OK) {
        ramet_api_failed(call, &call->volume, rc, &err);
        return;
    }
    ramet_http_set_header(call->rq, "Cache-Control", "no-store");
    if (answer->fresh != NULL || answer->request.page_count <= WHOLE_PAGES_MAX)
        reply_whole(call, answer);
    else
        ramet_http_reply_stream(call->rq, 200, TYPE_FRAMES, UINT64_MAX,
                                &pages_ops, answer);
}

/* ---- in the event thread ---------------------------------------------------------- */

/* Frames of a few pages, all placed and all in memory; else false. */
static bool
append_now(struct call *call, const struct ramet_pages_request *request,
           struct ramet_buf *out)
{
    struct ramet_server *server = call->server;
    struct ramet_place last = {.length_bytes = 0};
    uint64_t sent = 0;

    for (uint32_t i = 0; i < request->run_count; i++) {
        for (uint64_t pgno = request->runs[i].first;
             pgno <= request->runs[i].last; pgno++) {
            struct ramet_range_place range = {.volume = call->volume};
            struct ramet_frame frame;
            char key[RAMET_KEY_MAX];
            uint8_t *room;

            if (!ramet_placed_get(server->placed, &call->volume, &request->at,
                                  (uint32_t)pgno, &frame))
                return false;
            if (frame.page_count == 0 ||
                (last.length_bytes > 0 &&
                 last.offset_bytes == frame.place.offset_bytes &&
                 last.lsn == frame.place.lsn &&
                 ramet_id_compare(&last.segment.id, &frame.place.segment.id) ==
                     0))
                continue;
            if (frame.page_count > 1 && request->run_count > 1)
                return false; /* let invariant (1) be the worker's */
            range.object = frame.place.kind == RAMET_IN_COMMIT ? 1 : 0;
            range.id = frame.place.segment.id;
            range.lsn = frame.place.lsn;
            range.offset = frame.place.offset_bytes;
            ramet_range_begin(out, &call->volume, &range, false,
                              frame.place.length_bytes);
            room = ramet_buf_extend(out, frame.place.length_bytes);
            ramet_place_key(&frame.place, key);
            if (room == NULL ||
                !ramet_cache_try(server->cache, key, range.offset, room,
                                 frame.place.length_bytes))
                return false;
            last = frame.place;
            sent++;
        }
    }
    ramet_range_end(out, sent);
    return out->failed == RAMET_OK;
}

bool
ramet_api_pages_now(struct call *call)
{
    struct ramet_pages_request request;
    struct ramet_buf out;
    size_t len;
    const uint8_t *body = ramet_http_body(call->rq, &len);
    bool done = false;

    if (!call->has_id || len > 128 ||
        ramet_gone_has(call->server->gone, &call->volume) ||
        ramet_pages_decode(body, len, &request, NULL) != RAMET_OK)
        return false;
    ramet_buf_init(&out, NOW_BYTES_MAX);
    if ((request.flags & ~(unsigned)RAMET_PAGES_HASH) == 0 &&
        request.page_count <= NOW_PAGES_MAX)
        done = append_now(call, &request, &out);
    if (done) {
        struct ramet_metrics *metrics = &call->server->metrics;

        atomic_fetch_add_explicit(&metrics->pages, request.page_count,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&metrics->pages_from_memory,
                                  request.page_count, memory_order_relaxed);
        ramet_render_reply(call->rq, 200, TYPE_FRAMES, &out);
    }
    ramet_buf_done(&out);
    ramet_pages_request_done(&request);
    return done;
}
