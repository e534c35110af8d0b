/*
 * pages_answer.c - see pages_answer.h for the contract.
 *
 * Pages are located a slice at a time. What a slice needs becomes a list of
 * ranges; from that list ranges are copied out of the store, into as many
 * pieces as they take.
 */
#include "server/pages_answer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "server/range_set.h"
#include "server/recorder.h"

#define SLICE_PAGES 64u
/* Of a slice: a frame, a dictionary and a block of deltas for each page, and
 * metadata. */
#define RANGES_MAX 1024u
#define METADATA_MAX (RANGES_MAX - 3 * SLICE_PAGES)
/* What stands before a range's bytes, and what ends an answer, is shorter. */
#define RECORD_TEXT_MAX 64u
/* Of pages that the client has or waits for: a block each, and the way to those of a
 * slice. */
#define KNOWN_NUMBERS_MAX (2u * RAMET_PAGES_KNOWN_MAX + 8u * SLICE_PAGES)
#define FRESH_CACHE_BYTES (1u << 20)

struct range {
    struct ramet_object_range object;
    uint32_t length;
    bool ends_object;
    /* 0: metadata, which the history has read and verified. */
    uint8_t hash_algo;
    struct ramet_hash hash;
};

struct ramet_answer {
    struct ramet_server *server;
    struct ramet_open_volume *vol;
    struct ramet_pages_request request;
    struct ramet_point at; /* where the pages are looked for */
    uint32_t page_count;   /* there */
    uint32_t run, next;    /* the next page: runs[run].first + next */
    uint64_t sent;         /* range records */
    struct ramet_range_set set;
    struct range *ranges; /* of this slice */
    size_t range_count, range_next;
    uint32_t copied; /* bytes of ranges[range_next]; 0: its record is to come */
    bool is_wrong;   /* that range, in the store, too */
    struct ramet_answer_source source; /* more == NULL: there are no more */
};

/* ---- the next slice ------------------------------------------------------------ */

struct slice {
    uint32_t asked[SLICE_PAGES], sorted[SLICE_PAGES];
    size_t count;
    struct ramet_located located[SLICE_PAGES]; /* by ascending page */
};

static int
compare_pgno(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

/* The next pages in the order asked, and sorted. */
static enum ramet_rc
take_slice(struct ramet_answer *answer, struct slice *slice,
           struct ramet_err *err)
{
    const struct ramet_pages_request *request = &answer->request;

    slice->count = 0;
    while (slice->count < SLICE_PAGES && answer->run < request->run_count) {
        const struct ramet_pages_run *run = &request->runs[answer->run];

        slice->asked[slice->count++] = run->first + answer->next++;
        if (run->first + (answer->next - 1) == run->last) {
            answer->run++;
            answer->next = 0;
        }
    }
    memcpy(slice->sorted, slice->asked, slice->count * sizeof(uint32_t));
    qsort(slice->sorted, slice->count, sizeof(uint32_t), compare_pgno);
    for (size_t i = 1; i < slice->count; i++) {
        if (slice->sorted[i] == slice->sorted[i - 1])
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "pages: page %" PRIu32 " is asked for twice",
                              slice->sorted[i]);
    }
    return RAMET_OK;
}

/* True: it is to be sent. */
static bool
set_add(struct ramet_answer *answer, const struct range *range)
{
    return ramet_range_set_add(&answer->set, &range->object, range->length);
}

static void
add_range(struct ramet_answer *answer, const struct range *range)
{
    assert(answer->range_count < RANGES_MAX);
    answer->ranges[answer->range_count++] = *range;
}

/* What somebody who knows nothing has to read in order to locate these pages; `is_here`:
 * the client has that. */
static enum ramet_rc
locate_afresh(struct ramet_answer *answer, struct slice *slice, bool is_here,
              struct ramet_err *err)
{
    const struct ramet_history_options options = {.cache_bytes =
                                                      FRESH_CACHE_BYTES};
    struct ramet_history *fresh = NULL;
    struct ramet_recorder recorder;
    enum ramet_rc rc;

    ramet_recorder_init(&recorder, answer->server->store);
    rc = ramet_history_open(&recorder.store, ramet_open_volume_id(answer->vol),
                            &options, &fresh, err);
    if (rc == RAMET_OK)
        rc = ramet_history_locate(fresh, &answer->at, slice->sorted,
                                  slice->count, slice->located, err);
    for (size_t i = 0; rc == RAMET_OK && i < recorder.count; i++) {
        const struct ramet_record *record = &recorder.records[i];
        struct range range = {.length = (uint32_t)record->got,
                              .ends_object = record->got < record->asked};

        if (!ramet_range_of_key(record->key, record->offset, &range.object) ||
            (range.object.object == 1 &&
             (answer->request.flags & RAMET_PAGES_NO_HEADS) != 0) ||
            !set_add(answer, &range) || is_here)
            continue;
        if (answer->range_count == METADATA_MAX)
            rc = RAMET_FAIL(err, RAMET_ETOOBIG,
                            "these pages need too many ranges: ask for fewer "
                            "at once");
        else
            add_range(answer, &range);
    }
    ramet_history_close(fresh);
    ramet_recorder_done(&recorder);
    return rc;
}

static struct range
range_of_extent(const struct ramet_extent *extent)
{
    return (struct range){
        .object = {.object = extent->kind == RAMET_IN_COMMIT ? 1 : 0,
                   .volume = extent->volume,
                   .id = extent->segment.id,
                   .lsn = extent->lsn,
                   .offset = extent->offset_bytes},
        .length = extent->length_bytes,
        .hash_algo = extent->hash_algo,
        .hash = extent->hash,
    };
}

/* The frame of a page's image, or of its delta's base. */
static void
add_image(struct ramet_answer *answer, const struct ramet_located *located)
{
    const struct ramet_frame *frame = &located->image;
    const struct range body = range_of_extent(&frame->extent);

    /* Invariant (1); of one page that has no delta it is met once. */
    if ((frame->page_count > 1 || ramet_located_has_delta(located)) &&
        !set_add(answer, &body))
        return;
    if ((answer->request.flags & RAMET_PAGES_DICTS) != 0 &&
        frame->kind == RAMET_FRAME_DICT) {
        const struct range dict = range_of_extent(&frame->base);

        if (set_add(answer, &dict))
            add_range(answer, &dict);
    }
    add_range(answer, &body);
}

static void
add_page(struct ramet_answer *answer, const struct ramet_located *located)
{
    const struct range block = range_of_extent(&located->block.extent);

    if (located->image.page_count == 0)
        return; /* zeros */
    add_image(answer, located);
    if (ramet_located_has_delta(located) && set_add(answer, &block))
        add_range(answer, &block);
}

static enum ramet_rc
fill_slice(struct ramet_answer *answer, struct slice *slice,
           struct ramet_err *err)
{
    enum ramet_rc rc = take_slice(answer, slice, err);

    if (rc != RAMET_OK)
        return rc;
    if ((answer->request.flags & RAMET_PAGES_METADATA) != 0)
        rc = locate_afresh(answer, slice, false, err);
    else
        rc = ramet_history_locate(ramet_open_volume_history(answer->vol),
                                  &answer->at, slice->sorted, slice->count,
                                  slice->located, err);
    for (size_t i = 0; rc == RAMET_OK && i < slice->count; i++) {
        const uint32_t *at = bsearch(&slice->asked[i], slice->sorted,
                                     slice->count, sizeof(*at), compare_pgno);
        const struct ramet_located *located =
            &slice->located[at - slice->sorted];

        if (!ramet_located_has_delta(located))
            ramet_frame_locations_put(
                answer->server->locations, ramet_open_volume_id(answer->vol),
                &answer->request.at, slice->asked[i], &located->image);
        add_page(answer, located);
    }
    return rc;
}

/* ---- what the client has, or waits for ------------------------------------------ */

/* The blocks of deltas of these pages are not to be sent; `is_here`: nor is what leads to
 * those of the first slice. Dictionaries are, if they are asked for: who knows a page's way
 * may lack what it is decoded with. It is a hint: what can't be found is sent. */
static void
pass_over(struct ramet_answer *answer, struct slice *slice, bool is_here,
          bool is_first)
{
    const bool leads = is_here && is_first &&
                       (answer->request.flags & RAMET_PAGES_METADATA) != 0;
    const enum ramet_rc rc =
        leads ? locate_afresh(answer, slice, true, NULL)
              : ramet_history_locate(ramet_open_volume_history(answer->vol),
                                     &answer->at, slice->sorted, slice->count,
                                     slice->located, NULL);

    assert(slice->count > 0 && slice->count <= SLICE_PAGES);
    for (size_t i = 0; rc == RAMET_OK && i < slice->count; i++) {
        const struct ramet_located *const located = &slice->located[i];
        const struct range block = range_of_extent(&located->block.extent);

        if (ramet_located_has_delta(located))
            (void)set_add(answer, &block);
    }
}

static void
pass_over_all(struct ramet_answer *answer, struct slice *slice,
              const uint32_t *pgnos, size_t count, bool is_here)
{
    assert(count <= RAMET_PAGES_KNOWN_MAX);
    for (size_t at = 0; at < count; at += SLICE_PAGES) {
        const size_t n = count - at < SLICE_PAGES ? count - at : SLICE_PAGES;

        slice->count = 0;
        memcpy(slice->sorted, pgnos + at, n * sizeof(*pgnos));
        qsort(slice->sorted, n, sizeof(*pgnos), compare_pgno);
        for (size_t i = 0; i < n; i++) { /* each once, and none past the end */
            const uint32_t pgno = slice->sorted[i];

            if (pgno <= answer->page_count &&
                (slice->count == 0 || slice->sorted[slice->count - 1] < pgno))
                slice->sorted[slice->count++] = pgno;
        }
        if (slice->count > 0)
            pass_over(answer, slice, is_here, at == 0);
    }
}

static void
take_known(struct ramet_answer *answer, struct slice *slice)
{
    struct ramet_pages_known *const known = answer->request.known;

    if (known == NULL)
        return;
    pass_over_all(answer, slice, known->here, known->here_count, true);
    pass_over_all(answer, slice, known->coming, known->coming_count, false);
    ramet_free(known);
    answer->request.known = NULL;
}

/* What of the slice is not in the cache, in as few round trips as may be: one by
 * one, each would be a round trip to the store where that is far. */
static void
bring_slice(const struct ramet_answer *answer)
{
    struct ramet_part parts[SLICE_PAGES];
    char keys[SLICE_PAGES][RAMET_KEY_MAX];

    for (size_t done = 0; done < answer->range_count;) {
        size_t n = 0;

        for (; n < SLICE_PAGES && done < answer->range_count; done++) {
            const struct range *const range = &answer->ranges[done];

            if (range->length == 0)
                continue;
            ramet_range_key(&range->object, keys[n]);
            parts[n] = (struct ramet_part){.key = keys[n],
                                           .offset = range->object.offset,
                                           .len = range->length};
            n++;
        }
        ramet_cache_bring(answer->server->cache, parts, n);
    }
}

static enum ramet_rc
next_slice(struct ramet_answer *answer, struct ramet_err *err)
{
    struct slice *slice = ramet_alloc(sizeof(*slice));
    enum ramet_rc rc;

    if (slice == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    assert(answer->range_next == answer->range_count);
    answer->range_next = answer->range_count = 0;
    take_known(answer, slice);
    rc = fill_slice(answer, slice, err);
    if (rc == RAMET_OK) {
        atomic_fetch_add_explicit(&answer->server->metrics.pages, slice->count,
                                  memory_order_relaxed);
        if ((answer->server->store->traits & RAMET_STORE_READS_PARTS) != 0)
            bring_slice(answer);
    }
    ramet_free(slice);
    return rc;
}

/* ---- pieces -------------------------------------------------------------------- */

static size_t
room_of(const struct ramet_buf *out)
{
    return out->max - out->len;
}

/* A part can't be told by itself. */
static bool
is_right(const struct range *range, const uint8_t *bytes, size_t len)
{
    const struct ramet_extent extent = {.length_bytes = range->length,
                                        .hash_algo = range->hash_algo,
                                        .hash = range->hash};

    return len < range->length || ramet_extent_matches(&extent, bytes);
}

/* Part of a range. What a cache has wrong is read from the store: invariant (4). */
static enum ramet_rc
read_range(struct ramet_answer *answer, const struct range *range, uint8_t *to,
           size_t len, struct ramet_err *err)
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
    const struct range *range = &answer->ranges[answer->range_next];
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

static enum ramet_rc
append(struct ramet_answer *answer, struct ramet_buf *out, bool *out_done,
       bool *out_more, struct ramet_err *err)
{
    if (answer->range_next < answer->range_count)
        return copy_range(answer, out, out_more, err);
    *out_more = true;
    if (answer->run < answer->request.run_count)
        return next_slice(answer, err);
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
            *out_cut = answer->copied > 0;
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
    answer->page_count = head->page_count;
    answer->set.most = numbers_of(request->page_count, request->flags) +
                       (request->known != NULL ? KNOWN_NUMBERS_MAX : 0);
    answer->ranges = ramet_calloc(RANGES_MAX, sizeof(*answer->ranges));
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
    ramet_open_volume_put(answer->vol);
    ramet_free(answer);
}

size_t
ramet_answer_held(const struct ramet_answer *answer)
{
    const struct ramet_pages_request *request = &answer->request;
    const size_t runs = request->run_count + answer->source.pages_max;

    return sizeof(*answer) + RANGES_MAX * sizeof(*answer->ranges) +
           runs * sizeof(*request->runs) +
           4 * answer->set.most * sizeof(*answer->set.slots);
}
