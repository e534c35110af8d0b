/*
 * api_pages.c - page reads: the frames of any set of pages of any snapshot, as
 * stored, in one answer.
 *
 * Three ways, from fast to slow: everything in memory, answered in the event
 * thread; what fits into a piece, answered by a worker at once; a stream, made
 * piece by piece as the client takes it (pages_answer.h).
 */
#include <assert.h>
#include <string.h>

#include "server/pages_answer.h"

/* Asked for in the event thread: at most this many pages. */
#define NOW_PAGES_MAX 16u
#define NOW_BYTES_MAX RAMET_HTTP_SHORT_BYTES

/* ---- in a worker ---------------------------------------------------------------- */

void
ramet_api_reply_pages(struct call *call, struct ramet_answer *answer,
                      struct ramet_buf *first)
{
    struct ramet_err err;
    bool done, cut;
    enum ramet_rc rc;

    assert(answer != NULL && first != NULL);
    rc = ramet_answer_piece(answer, first, &done, &cut, &err);
    ramet_http_set_header(call->rq, "Cache-Control", "no-store");
    if (rc == RAMET_OK && !done) {
        const struct ramet_http_stream stream = {
            .ops = &ramet_answer_ops,
            .state = answer,
            .state_bytes = ramet_answer_held(answer),
            .begun = first,
            .trailer = ramet_answer_trailer};

        ramet_http_reply_stream(call->rq, 200, RAMET_TYPE_FRAMES, UINT64_MAX,
                                &stream);
        return;
    }
    if (rc == RAMET_OK) {
        ramet_render_reply(call->rq, 200, RAMET_TYPE_FRAMES, first);
    } else {
        ramet_buf_done(first);
        ramet_answer_note_loss(answer, &rc, &err);
        ramet_api_failed(call, NULL, rc, &err);
    }
    ramet_answer_free(answer);
}

void
ramet_api_reply_after(struct call *call, struct ramet_buf *first,
                      struct ramet_open_volume *vol,
                      struct ramet_pages_request *request,
                      const struct ramet_head *head)
{
    struct ramet_answer *answer = NULL;
    struct ramet_err err;
    enum ramet_rc rc;

    assert(vol != NULL && first != NULL);
    if (request == NULL) {
        ramet_open_volume_put(vol);
        ramet_range_end(first, 0);
        ramet_http_set_header(call->rq, "Cache-Control", "no-store");
        ramet_render_reply(call->rq, 200, RAMET_TYPE_FRAMES, first);
        return;
    }
    rc = ramet_answer_new(call->server, vol, request, head, &answer, &err);
    if (rc == RAMET_OK) {
        ramet_api_reply_pages(call, answer, first);
        return;
    }
    ramet_buf_done(first);
    ramet_api_failed(call, &call->volume, rc, &err);
}

void
ramet_api_pages(struct call *call)
{
    struct ramet_pages_request request;
    struct ramet_answer *answer = NULL;
    struct ramet_open_volume *vol;
    struct ramet_head head;
    struct ramet_buf first;
    struct ramet_err err;
    size_t len;
    const uint8_t *body = ramet_http_body(call->rq, &len);
    enum ramet_rc rc;

    rc = ramet_pages_decode(body, len, &request, &err);
    if (rc != RAMET_OK) {
        ramet_api_refused(call, rc, &err);
        return;
    }
    rc = ramet_pages_decode_known(ramet_http_query(call->rq, "has"),
                                  ramet_http_query(call->rq, "comes"), &request,
                                  &err);
    if (rc != RAMET_OK) {
        ramet_pages_request_done(&request);
        ramet_api_refused(call, rc, &err);
        return;
    }
    vol = ramet_api_open_volume(call);
    if (vol == NULL) {
        ramet_pages_request_done(&request);
        return;
    }
    rc = (request.flags & RAMET_PAGES_HASH) != 0
             ? ramet_history_head_of(ramet_open_volume_history(vol),
                                     &request.at, &head, &err)
             : ramet_history_head(ramet_open_volume_history(vol),
                                  request.at.lsn, &head, &err);
    if (rc != RAMET_OK) {
        ramet_pages_request_done(&request);
        ramet_open_volume_put(vol);
    } else {
        rc =
            ramet_answer_new(call->server, vol, &request, &head, &answer, &err);
    }
    if (rc == RAMET_EWENTBACK) /* by what the client says: nothing ends */
        ramet_api_refused(call, rc, &err);
    else if (rc != RAMET_OK)
        ramet_api_failed(call, &call->volume, rc, &err);
    else {
        ramet_buf_init(&first, RAMET_HTTP_STREAM_BYTES);
        ramet_api_reply_pages(call, answer, &first);
    }
}

/* ---- in the event thread ---------------------------------------------------------- */

/* Frames of a few pages, all placed, all in memory and all right; else false, and
 * the worker finds what is wrong, and says so. */
static bool
append_now(struct call *call, const struct ramet_pages_request *request,
           struct ramet_buf *out)
{
    struct ramet_server *server = call->server;
    struct ramet_extent last = {.length_bytes = 0};
    uint64_t sent = 0;

    assert(request->page_count <= NOW_PAGES_MAX);
    for (uint32_t i = 0; i < request->run_count; i++) {
        for (uint64_t pgno = request->runs[i].first;
             pgno <= request->runs[i].last; pgno++) {
            struct ramet_object_range range = {.volume = call->volume};
            struct ramet_frame frame;
            char key[RAMET_KEY_MAX];
            uint8_t *room;

            if (!ramet_frame_locations_get(server->locations, &call->volume,
                                           &request->at, (uint32_t)pgno,
                                           &frame))
                return false;
            if (frame.page_count == 0 ||
                (last.length_bytes > 0 &&
                 last.offset_bytes == frame.extent.offset_bytes &&
                 last.lsn == frame.extent.lsn &&
                 ramet_id_compare(&last.segment.id, &frame.extent.segment.id) ==
                     0))
                continue;
            if (frame.page_count > 1 && request->run_count > 1)
                return false; /* let invariant (1) be the worker's */
            range.object = frame.extent.kind == RAMET_IN_COMMIT ? 1 : 0;
            range.id = frame.extent.segment.id;
            range.lsn = frame.extent.lsn;
            range.offset = frame.extent.offset_bytes;
            ramet_range_begin(out, &call->volume, &range, false,
                              frame.extent.length_bytes);
            room = ramet_buf_extend(out, frame.extent.length_bytes);
            ramet_extent_key(&frame.extent, key);
            if (room == NULL ||
                !ramet_cache_try(server->cache, key, range.offset, room,
                                 frame.extent.length_bytes) ||
                !ramet_extent_matches(&frame.extent, room))
                return false;
            last = frame.extent;
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
    if ((request.flags & ~(unsigned)(RAMET_PAGES_HASH | RAMET_PAGES_APART)) ==
            0 &&
        request.page_count <= NOW_PAGES_MAX)
        done = append_now(call, &request, &out);
    if (done) {
        struct ramet_metrics *metrics = &call->server->metrics;

        atomic_fetch_add_explicit(&metrics->pages, request.page_count,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&metrics->pages_from_memory,
                                  request.page_count, memory_order_relaxed);
        ramet_render_reply(call->rq, 200, RAMET_TYPE_FRAMES, &out);
    }
    ramet_buf_done(&out);
    ramet_pages_request_done(&request);
    return done;
}
