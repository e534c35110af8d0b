/*
 * pages_answer.c - see pages_answer.h for the contract.
 *
 * Pages are located a slice at a time (pages_slice.c). What a slice needs becomes a list of
 * ranges; from that list ranges are copied out of the store, into as many
 * pieces as they take, and among them loose deltas.
 */
#include "server/pages_answer_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"

/* What stands before a range's bytes, and what ends an answer, is shorter. */
#define RECORD_TEXT_MAX 64u
/* Of pages that the client has or waits for: a block each, and the way to those of a
 * slice. */
#define KNOWN_NUMBERS_MAX (2u * RAMET_PAGES_KNOWN_MAX + 8u * RAMET_SLICE_PAGES)
/* A writer of loose deltas, with what zstd takes for it. */
#define LOOSE_HELD (256u << 10)
/* Those of a slice. */
#define RECORDS_MAX (RAMET_SLICE_PAGES * RAMET_LOOSE_RECORD_MAX)

/* ---- pieces -------------------------------------------------------------------- */

static size_t
room_of(const struct ramet_buf *out)
{
    return out->max - out->len;
}

/* A part can't be told by itself. */
static bool
is_right(const struct ramet_answer_range *range, const uint8_t *bytes,
         size_t len)
{
    const struct ramet_extent extent = {.length_bytes = range->length,
                                        .hash_algo = range->hash_algo,
                                        .hash = range->hash};

    return len < range->length || ramet_extent_matches(&extent, bytes);
}

/* Part of a range. What a cache has wrong is read from the store: invariant (4). */
static enum ramet_rc
read_range(struct ramet_answer *answer, const struct ramet_answer_range *range,
           uint8_t *to, size_t len, struct ramet_err *err)
{
    struct ramet_server *const server = answer->server;
    const uint64_t offset = range->object.offset + answer->copied;
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    ramet_range_key(&range->object, key);
    rc = ramet_objstore_read_full(server->store, key, offset, to, len, err);
    if (rc != RAMET_OK || is_right(range, to, len))
        return rc;
    ramet_cache_forget_last(server->cache, ramet_open_volume_id(answer->vol));
    rc = ramet_objstore_read_full(server->store, key, offset, to, len, err);
    if (rc != RAMET_OK || is_right(range, to, len))
        return rc;
    /* So that whoever reads it over and over is the only one who waits for that. */
    ramet_cache_forget_last(server->cache, ramet_open_volume_id(answer->vol));
    answer->is_wrong = true;
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "%s: wrong checksum of the %zu bytes at %" PRIu64, key,
                      len, offset);
}

/* Begin or go on with a range; false: it is for the next piece. */
static enum ramet_rc
copy_range(struct ramet_answer *answer, struct ramet_buf *out, bool *out_more,
           struct ramet_err *err)
{
    const struct ramet_answer_range *range =
        &answer->ranges[answer->range_next];
    const struct ramet_vid *volume = ramet_open_volume_id(answer->vol);
    const uint32_t left = range->length - answer->copied;
    uint8_t *to;
    size_t len;

    *out_more = false;
    if (answer->copied == 0) {
        /* One that fits into a piece is not cut, so that whether it can be
         * read is known before its record begins. */
        if (room_of(out) < RECORD_TEXT_MAX + (out->len > 0 ? left : 0u))
            return RAMET_OK;
        ramet_range_begin(out, volume, &range->object, range->ends_object,
                          range->length);
    }
    len = left < room_of(out) ? left : room_of(out);
    to = ramet_buf_extend(out, len);
    if (to == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    if (len > 0) {
        const enum ramet_rc rc = read_range(answer, range, to, len, err);

        if (rc != RAMET_OK)
            return rc;
    }
    answer->copied += (uint32_t)len;
    if (answer->copied < range->length)
        return RAMET_OK;
    answer->sent++;
    answer->copied = 0;
    answer->range_next++;
    *out_more = true;
    return RAMET_OK;
}

/* The next pages in the place of those that are sent. */
static enum ramet_rc
ask_source(struct ramet_answer *answer, struct ramet_buf *out,
           struct ramet_err *err)
{
    struct ramet_pages_request request = {.run_count = 0};
    enum ramet_rc rc;

    assert(out->len == 0 && answer->run == answer->request.run_count);
    rc = answer->source.more(answer->source.ctx, out, &request, err);
    if (rc == RAMET_OK && request.run_count > 0) {
        ramet_pages_request_done(&answer->request);
        answer->request = request;
        answer->run = answer->next = 0;
    } else {
        ramet_pages_request_done(&request);
        answer->source.more = NULL;
    }
    return rc;
}

/* Loose deltas: behind the fronts of the slice, and before its images. */
static enum ramet_rc
copy_records(struct ramet_answer *answer, struct ramet_buf *out, bool *out_more,
             struct ramet_err *err)
{
    const size_t left = answer->records.len - answer->records_copied;
    const size_t len = left < room_of(out) ? left : room_of(out);

    assert(left > 0);
    ramet_buf_bytes(out, answer->records.data + answer->records_copied, len);
    if (out->failed != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    answer->records_copied += len;
    *out_more = len == left;
    return RAMET_OK;
}

static enum ramet_rc
append(struct ramet_answer *answer, struct ramet_buf *out, bool *out_done,
       bool *out_more, struct ramet_err *err)
{
    if (answer->range_next >= answer->images_at &&
        answer->records_copied < answer->records.len)
        return copy_records(answer, out, out_more, err);
    if (answer->range_next < answer->range_count)
        return copy_range(answer, out, out_more, err);
    *out_more = true;
    if (answer->run < answer->request.run_count)
        return ramet_answer_next_slice(answer, err);
    if (answer->source.more != NULL) {
        *out_more = out->len == 0;
        return *out_more ? ask_source(answer, out, err) : RAMET_OK;
    }
    *out_more = false;
    if (room_of(out) >= RECORD_TEXT_MAX) {
        ramet_range_end(out, answer->sent);
        *out_done = true;
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_answer_piece(struct ramet_answer *answer, struct ramet_buf *out,
                   bool *out_done, bool *out_cut, struct ramet_err *err)
{
    bool more = true;

    *out_done = *out_cut = false;
    while (more) {
        const size_t before = out->len;
        const enum ramet_rc rc = append(answer, out, out_done, &more, err);

        if (rc != RAMET_OK) {
            *out_cut = answer->copied > 0 ||
                       (answer->records_copied > 0 &&
                        answer->records_copied < answer->records.len);
            out->len = before;
            return rc;
        }
    }
    assert(*out_done || out->len > 0);
    return RAMET_OK;
}

void
ramet_answer_note_loss(struct ramet_answer *answer, enum ramet_rc *rc,
                       struct ramet_err *err)
{
    assert(*rc != RAMET_OK);
    if (answer->is_wrong && *rc == RAMET_ECORRUPT)
        ramet_api_count_damage(answer->server);
    else
        (void)ramet_api_note_loss(answer->server,
                                  ramet_open_volume_id(answer->vol), rc, err);
}

/* ---- as a stream ---------------------------------------------------------------- */

static enum ramet_rc
produce(void *state, struct ramet_buf *out, bool *out_done,
        struct ramet_err *err)
{
    struct ramet_answer *answer = state;
    bool cut;
    enum ramet_rc rc = ramet_answer_piece(answer, out, out_done, &cut, err);

    if (rc == RAMET_OK)
        return RAMET_OK;
    ramet_answer_note_loss(answer, &rc, err);
    if (cut || room_of(out) < RAMET_ERR_TEXT_MAX + RECORD_TEXT_MAX)
        return rc; /* invariant (3) */
    ramet_log(rc == RAMET_ENOTFOUND ? RAMET_LOG_WARN : RAMET_LOG_ERROR,
              "page read failed", "code", ramet_rc_name(rc), "detail",
              err->text, NULL);
    ramet_range_error(out, rc, err->text);
    *out_done = true;
    return RAMET_OK;
}

const char *
ramet_answer_trailer(void *state, const char **out_name)
{
    const struct ramet_answer_source *const source =
        &((struct ramet_answer *)state)->source;

    return source->trailer != NULL ? source->trailer(source->ctx, out_name)
                                   : NULL;
}

static void
free_state(void *state)
{
    ramet_answer_free(state);
}

const struct ramet_http_stream_ops ramet_answer_ops = {.produce = produce,
                                                       .free = free_state};

/* ---- its life -------------------------------------------------------------------- */

/* How many ranges of an answer of so many pages are remembered. */
static size_t
numbers_of(uint32_t page_count, unsigned flags)
{
    size_t numbers = page_count;

    if ((flags & RAMET_PAGES_METADATA) != 0)
        numbers *= 8; /* the way down to a page */
    if ((flags & RAMET_PAGES_APART) != 0)
        numbers += page_count; /* fronts */
    return numbers < 128 ? 128 : numbers;
}

enum ramet_rc
ramet_answer_new(struct ramet_server *server, struct ramet_open_volume *vol,
                 struct ramet_pages_request *request,
                 const struct ramet_head *head,
                 struct ramet_answer **out_answer, struct ramet_err *err)
{
    struct ramet_answer *answer = ramet_calloc(1, sizeof(*answer));

    if (answer == NULL) {
        ramet_pages_request_done(request);
        ramet_open_volume_put(vol);
        return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    }
    answer->server = server;
    answer->vol = vol;
    answer->request = *request;
    answer->at = ramet_head_point(head);
    answer->page_size = head->page_size;
    answer->page_count = head->page_count;
    ramet_buf_init(&answer->records, RECORDS_MAX);
    answer->set.most = numbers_of(request->page_count, request->flags) +
                       (request->known != NULL ? KNOWN_NUMBERS_MAX : 0);
    answer->ranges =
        ramet_calloc(RAMET_SLICE_RANGES_MAX, sizeof(*answer->ranges));
    if (answer->ranges == NULL) {
        ramet_answer_free(answer);
        return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    }
    *out_answer = answer;
    return RAMET_OK;
}

void
ramet_answer_set_source(struct ramet_answer *answer,
                        const struct ramet_answer_source *source)
{
    assert(answer->sent == 0 && answer->source.ctx == NULL);
    answer->source = *source;
    answer->set.most = numbers_of(source->pages_max, answer->request.flags);
}

void
ramet_answer_free(struct ramet_answer *answer)
{
    if (answer == NULL)
        return;
    if (answer->source.free != NULL)
        answer->source.free(answer->source.ctx);
    ramet_pages_request_done(&answer->request);
    ramet_range_set_done(&answer->set);
    ramet_free(answer->ranges);
    ramet_loose_writer_free(answer->loose);
    ramet_buf_done(&answer->records);
    ramet_open_volume_put(answer->vol);
    ramet_free(answer);
}

size_t
ramet_answer_held(const struct ramet_answer *answer)
{
    const struct ramet_pages_request *request = &answer->request;
    const size_t runs = request->run_count + answer->source.pages_max;

    return sizeof(*answer) + RAMET_SLICE_RANGES_MAX * sizeof(*answer->ranges) +
           ((request->flags & RAMET_PAGES_APART) != 0
                ? LOOSE_HELD + RAMET_SLICE_PAGES * (size_t)answer->page_size
                : 0) +
           runs * sizeof(*request->runs) +
           4 * answer->set.most * sizeof(*answer->set.slots);
}
