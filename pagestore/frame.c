/*
 * frame.c - from a place to pages.
 *
 * (1) A body is used only after its hash was checked against its place.
 * (2) A cached dictionary is found by all of its place, hash included, so that
 *     another object's bytes never stand in for it.
 * (3) dicts[] and idle are touched under `mutex` only; a dictionary lives as
 *     long as the cache or a call refers to it (refs).
 *
 * Layer: pagestore.
 */
#include "pagestore/frame.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "pagestore/codec.h"
#include "pagestore/delta.h"
#include "pagestore/segment.h"

#define DICTS_MAX 8u
#define IDLE_MAX 4u
#define KEEP_BYTES (64u << 10) /* buffers up to this size are kept */
#define GAP_MAX (32u << 10)
#define RANGE_MAX (1u << 20)

struct dict {
    struct ramet_extent extent;
    ZSTD_DDict *ddict;
    unsigned refs;
    uint64_t used; /* reader->clock of the last use */
};

/* What one call works with. */
struct scratch {
    struct scratch *next;
    ZSTD_DCtx *dctx;
    uint8_t *body;
    size_t body_capacity;
    uint8_t *pages;
    size_t pages_capacity;
};

struct ramet_frame_reader {
    struct ramet_objstore *store;
    struct ramet_mutex mutex;
    struct dict *dicts[DICTS_MAX];
    uint64_t clock;
    struct scratch *idle;
    unsigned idle_count;
};

/* ---- scratch -------------------------------------------------------------- */

static void
scratch_free(struct scratch *scratch)
{
    if (scratch == NULL)
        return;
    ZSTD_freeDCtx(scratch->dctx);
    ramet_free(scratch->body);
    ramet_free(scratch->pages);
    ramet_free(scratch);
}

static struct scratch *
scratch_get(struct ramet_frame_reader *reader)
{
    struct scratch *scratch;

    ramet_mutex_lock(&reader->mutex);
    scratch = reader->idle;
    if (scratch != NULL) {
        reader->idle = scratch->next;
        reader->idle_count--;
    }
    ramet_mutex_unlock(&reader->mutex);
    if (scratch != NULL)
        return scratch;

    scratch = ramet_calloc(1, sizeof(*scratch));
    if (scratch == NULL)
        return NULL;
    scratch->dctx = ZSTD_createDCtx_advanced(ramet_codec_mem);
    if (scratch->dctx == NULL) {
        ramet_free(scratch);
        return NULL;
    }
    return scratch;
}

static void
shed(uint8_t **buf, size_t *capacity)
{
    if (*capacity <= KEEP_BYTES)
        return;
    ramet_free(*buf);
    *buf = NULL;
    *capacity = 0;
}

static void
scratch_put(struct ramet_frame_reader *reader, struct scratch *scratch)
{
    shed(&scratch->body, &scratch->body_capacity);
    shed(&scratch->pages, &scratch->pages_capacity);
    ramet_mutex_lock(&reader->mutex);
    if (reader->idle_count < IDLE_MAX) {
        scratch->next = reader->idle;
        reader->idle = scratch;
        reader->idle_count++;
        scratch = NULL;
    }
    ramet_mutex_unlock(&reader->mutex);
    scratch_free(scratch);
}

static bool
reserve(uint8_t **buf, size_t *capacity, size_t len)
{
    uint8_t *grown;

    if (len <= *capacity)
        return true;
    grown = ramet_alloc(len);
    if (grown == NULL)
        return false;
    ramet_free(*buf);
    *buf = grown;
    *capacity = len;
    return true;
}

/* ---- dictionaries --------------------------------------------------------- */

static bool
same_object(const struct ramet_extent *a, const struct ramet_extent *b)
{
    return a->kind == b->kind &&
           ramet_id_compare(&a->volume.id, &b->volume.id) == 0 &&
           (a->kind == RAMET_IN_COMMIT
                ? a->lsn == b->lsn
                : ramet_id_compare(&a->segment.id, &b->segment.id) == 0);
}

/* Invariant (2). */
static bool
same_place(const struct ramet_extent *a, const struct ramet_extent *b)
{
    return same_object(a, b) && a->offset_bytes == b->offset_bytes &&
           a->length_bytes == b->length_bytes && a->hash_algo == b->hash_algo &&
           ramet_hash_equal(&a->hash, &b->hash);
}

/* Under the mutex. */
static void
dict_drop(struct dict *dict)
{
    if (dict == NULL || --dict->refs > 0)
        return;
    ZSTD_freeDDict(dict->ddict);
    ramet_free(dict);
}

static void
dict_release(struct ramet_frame_reader *reader, struct dict *dict)
{
    ramet_mutex_lock(&reader->mutex);
    dict_drop(dict);
    ramet_mutex_unlock(&reader->mutex);
}

static struct dict *
dict_find(struct ramet_frame_reader *reader, const struct ramet_extent *extent)
{
    struct dict *found = NULL;

    ramet_mutex_lock(&reader->mutex);
    for (unsigned i = 0; i < DICTS_MAX && found == NULL; i++)
        if (reader->dicts[i] != NULL &&
            same_place(&reader->dicts[i]->extent, extent))
            found = reader->dicts[i];
    if (found != NULL) {
        found->refs++;
        found->used = ++reader->clock;
    }
    ramet_mutex_unlock(&reader->mutex);
    return found;
}

/* Keep `dict` in place of the one not used for longest. */
static void
dict_keep(struct ramet_frame_reader *reader, struct dict *dict)
{
    unsigned oldest = 0;

    ramet_mutex_lock(&reader->mutex);
    for (unsigned i = 0; i < DICTS_MAX; i++) {
        if (reader->dicts[i] == NULL) {
            oldest = i;
            break;
        }
        if (reader->dicts[i]->used < reader->dicts[oldest]->used)
            oldest = i;
    }
    dict_drop(reader->dicts[oldest]);
    dict->refs++;
    dict->used = ++reader->clock;
    reader->dicts[oldest] = dict;
    ramet_mutex_unlock(&reader->mutex);
}

/* Two threads may load the same one at a time: both are right, one stays. */
static enum ramet_rc
dict_get(struct ramet_frame_reader *reader, const struct ramet_extent *extent,
         struct dict **out_dict, struct ramet_err *err)
{
    struct dict *dict = dict_find(reader, extent);
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum ramet_rc rc;

    if (dict != NULL) {
        *out_dict = dict;
        return RAMET_OK;
    }
    rc = ramet_dict_load(reader->store, extent, &bytes, &len, err);
    if (rc != RAMET_OK)
        return rc;
    dict = ramet_calloc(1, sizeof(*dict));
    if (dict != NULL)
        dict->ddict = ZSTD_createDDict_advanced(
            bytes, len, ZSTD_dlm_byCopy, ZSTD_dct_fullDict, ramet_codec_mem);
    ramet_free(bytes);
    if (dict == NULL || dict->ddict == NULL) {
        ramet_free(dict);
        return RAMET_FAIL(err, RAMET_ENOMEM, "dictionary: no memory");
    }
    dict->extent = *extent;
    dict->refs = 1;
    dict_keep(reader, dict);
    *out_dict = dict;
    return RAMET_OK;
}

/* ---- the reader ----------------------------------------------------------- */

enum ramet_rc
ramet_frame_reader_new(struct ramet_objstore *store,
                       struct ramet_frame_reader **out_reader,
                       struct ramet_err *err)
{
    struct ramet_frame_reader *reader = ramet_calloc(1, sizeof(*reader));

    if (reader == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "frame reader: no memory");
    reader->store = store;
    ramet_mutex_init(&reader->mutex);
    *out_reader = reader;
    return RAMET_OK;
}

void
ramet_frame_reader_free(struct ramet_frame_reader *reader)
{
    if (reader == NULL)
        return;
    while (reader->idle != NULL) {
        struct scratch *scratch = reader->idle;

        reader->idle = scratch->next;
        scratch_free(scratch);
    }
    for (unsigned i = 0; i < DICTS_MAX; i++)
        dict_drop(reader->dicts[i]);
    ramet_mutex_done(&reader->mutex);
    ramet_free(reader);
}

/* What a parent said of a frame is foreign too. */
static enum ramet_rc
check_frame(const struct ramet_frame *frame, struct ramet_err *err)
{
    const bool deltas = frame->kind == RAMET_FRAME_DELTAS;
    const uint32_t most =
        deltas ? RAMET_DELTA_BLOCK_MAX : RAMET_FRAME_BYTES_MAX;

    if (frame->kind > RAMET_FRAME_DELTAS)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "page %" PRIu32
                          ": frame kind %u is of a later version",
                          frame->first_pgno, (unsigned)frame->kind);
    if ((frame->page_count == 0) != deltas ||
        frame->page_count > RAMET_FRAME_PAGES_MAX ||
        frame->extent.length_bytes == 0 || frame->extent.length_bytes > most ||
        frame->extent.offset_bytes > UINT64_MAX - frame->extent.length_bytes)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "page %" PRIu32 ": a frame of %" PRIu32
                          " pages in %" PRIu32 " bytes",
                          frame->first_pgno, frame->page_count,
                          frame->extent.length_bytes);
    return RAMET_OK;
}

/* How many bytes a frame's body makes: known beforehand of pages, named by the
 * body itself, which was not verified yet, of deltas, whose front is kept. */
static enum ramet_rc
content_size(const struct ramet_frame *frame, const uint8_t *body,
             uint32_t page_size, const char *key, size_t *out_len,
             struct ramet_err *err)
{
    const size_t len = frame->extent.length_bytes;
    unsigned long long size;
    size_t front;

    *out_len = (size_t)frame->page_count * page_size;
    if (frame->kind != RAMET_FRAME_DELTAS)
        return RAMET_OK;
    if (ramet_delta_front(body, len, &front, NULL) == RAMET_OK) {
        size = ZSTD_getFrameContentSize(body + front, len - front);
        if (size > 0 && size <= RAMET_DELTA_BLOCK_MAX) { /* and it is named */
            *out_len = front + (size_t)size;
            return RAMET_OK;
        }
    }
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "%s: block of deltas at %" PRIu64
                      " names no size that it could have",
                      key, frame->extent.offset_bytes);
}

/* Decode a body that was read, with its dictionary if it has one. */
static enum ramet_rc
decode_body(struct ramet_frame_reader *reader, struct scratch *scratch,
            const struct ramet_frame *frame, const uint8_t *body,
            size_t content_bytes, uint8_t *out, const char *key,
            struct ramet_err *err)
{
    struct dict *dict = NULL;
    size_t front = 0;
    enum ramet_rc rc = ramet_codec_verify(&frame->extent, body, key, err);

    if (rc == RAMET_OK && frame->kind == RAMET_FRAME_DICT)
        rc = dict_get(reader, &frame->base, &dict, err);
    if (rc == RAMET_OK && frame->kind == RAMET_FRAME_DELTAS)
        rc = ramet_delta_front(body, frame->extent.length_bytes, &front, err);
    if (rc != RAMET_OK)
        return rc;
    memcpy(out, body, front);
    rc = ramet_codec_decode(scratch->dctx, dict != NULL ? dict->ddict : NULL,
                            frame, front, body, content_bytes - front,
                            out + front, key, err);
    if (dict != NULL)
        dict_release(reader, dict);
    return rc;
}

enum ramet_rc
ramet_frame_read(struct ramet_frame_reader *reader,
                 const struct ramet_frame *frame, uint32_t page_size,
                 uint8_t *out, struct ramet_err *err)
{
    const uint32_t length = frame->extent.length_bytes;
    char key[RAMET_KEY_MAX];
    struct scratch *scratch;
    enum ramet_rc rc;

    assert(ramet_page_size_valid(page_size));
    assert(frame->kind != RAMET_FRAME_DELTAS);
    rc = check_frame(frame, err);
    if (rc != RAMET_OK)
        return rc;
    scratch = scratch_get(reader);
    if (scratch == NULL ||
        !reserve(&scratch->body, &scratch->body_capacity, length)) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "page %" PRIu32 ": no memory",
                        frame->first_pgno);
        goto done;
    }
    ramet_extent_key(&frame->extent, key);
    rc =
        ramet_objstore_read_full(reader->store, key, frame->extent.offset_bytes,
                                 scratch->body, length, err);
    if (rc == RAMET_OK)
        rc = decode_body(reader, scratch, frame, scratch->body,
                         (size_t)frame->page_count * page_size, out, key, err);
done:
    if (scratch != NULL)
        scratch_put(reader, scratch);
    return rc;
}

enum ramet_rc
ramet_frame_decode(struct ramet_frame_reader *reader,
                   const struct ramet_frame *frame, const uint8_t *body,
                   uint32_t page_size, uint8_t *out, struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    struct scratch *scratch;
    enum ramet_rc rc;

    assert(ramet_page_size_valid(page_size));
    rc = check_frame(frame, err);
    if (rc != RAMET_OK)
        return rc;
    scratch = scratch_get(reader);
    if (scratch == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "page %" PRIu32 ": no memory",
                          frame->first_pgno);
    ramet_extent_key(&frame->extent, key);
    rc = decode_body(reader, scratch, frame, body,
                     (size_t)frame->page_count * page_size, out, key, err);
    scratch_put(reader, scratch);
    return rc;
}

/* ---- many ----------------------------------------------------------------- */

/* By object, then by offset. */
static int
compare_places(const void *a, const void *b)
{
    const struct ramet_extent *x =
        &(*(const struct ramet_frame *const *)a)->extent;
    const struct ramet_extent *y =
        &(*(const struct ramet_frame *const *)b)->extent;
    int order = ramet_id_compare(&x->volume.id, &y->volume.id);

    if (order == 0)
        order = (int)x->kind - (int)y->kind;
    if (order == 0 && x->kind == RAMET_IN_SEGMENT)
        order = ramet_id_compare(&x->segment.id, &y->segment.id);
    if (order == 0 && x->kind == RAMET_IN_COMMIT)
        order = (x->lsn > y->lsn) - (x->lsn < y->lsn);
    if (order == 0)
        order = (x->offset_bytes > y->offset_bytes) -
                (x->offset_bytes < y->offset_bytes);
    return order;
}

/* Ranges that are read at a time take at most this, unless one takes more. */
#define AT_ONCE_BYTES (4u << 20)
#define AT_ONCE_RANGES 64u

/* One ranged read: frames that lie together. */
struct range {
    uint64_t offset;
    uint64_t end;
    const struct ramet_frame **frames; /* in the sorted list */
    size_t count;
};

/* One call's work. */
struct many {
    struct ramet_frame_reader *reader;
    struct scratch *scratch;
    uint32_t page_size;
    ramet_frame_visit *visit;
    void *ctx;
    struct range *ranges;
    size_t range_count;
};

/* The longest range of frames from sorted[0] on that is worth one read. */
static struct range
find_range(const struct ramet_frame **sorted, size_t count, uint64_t gap_max)
{
    const struct ramet_extent *first = &sorted[0]->extent;
    struct range range = {first->offset_bytes,
                          first->offset_bytes + first->length_bytes, sorted, 1};

    assert(count >= 1);
    for (; range.count < count; range.count++) {
        const struct ramet_extent *extent = &sorted[range.count]->extent;
        const uint64_t end = extent->offset_bytes + extent->length_bytes;

        if (!same_object(first, extent))
            break;
        if (extent->offset_bytes > range.end &&
            extent->offset_bytes - range.end > gap_max)
            break;
        if (end > range.end && end - range.offset > RANGE_MAX)
            break;
        range.end = end > range.end ? end : range.end;
    }
    return range;
}

/* The place in the caller's order of the first of a range's frames there. */
static const struct ramet_frame *
wanted_first(const struct range *range)
{
    const struct ramet_frame *first = range->frames[0];

    for (size_t i = 1; i < range->count; i++)
        if (range->frames[i] < first) /* both in the caller's array */
            first = range->frames[i];
    return first;
}

static int
compare_wanted(const void *a, const void *b)
{
    const struct ramet_frame *const x = wanted_first(a);
    const struct ramet_frame *const y = wanted_first(b);

    return (x > y) - (x < y);
}

/* A range is here. */
static enum ramet_rc
take_range(struct many *many, const struct range *range, const uint8_t *bytes,
           const char *key, struct ramet_err *err)
{
    struct scratch *const scratch = many->scratch;
    enum ramet_rc rc = RAMET_OK;

    for (size_t i = 0; i < range->count && rc == RAMET_OK; i++) {
        const struct ramet_frame *frame = range->frames[i];
        const size_t at = (size_t)(frame->extent.offset_bytes - range->offset);
        size_t size = 0;

        rc = content_size(frame, bytes + at, many->page_size, key, &size, err);
        if (rc != RAMET_OK)
            return rc;
        if (!reserve(&scratch->pages, &scratch->pages_capacity, size))
            return RAMET_FAIL(err, RAMET_ENOMEM, "page %" PRIu32,
                              frame->first_pgno);
        rc = decode_body(many->reader, scratch, frame, bytes + at, size,
                         scratch->pages, key, err);
        if (rc == RAMET_OK)
            rc = many->visit(many->ctx, frame, scratch->pages, size, err);
    }
    return rc;
}

/* Ranges that are read at once, as the store knows them. */
struct at_once {
    struct many *many;
    const struct range *ranges;
    struct ramet_part parts[AT_ONCE_RANGES];
    char keys[AT_ONCE_RANGES][RAMET_KEY_MAX];
};

static enum ramet_rc
take_part(void *ctx, const struct ramet_part *part, size_t got,
          struct ramet_err *err)
{
    struct at_once *const at_once = ctx;

    assert(got == part->len);
    (void)got;

    return take_range(at_once->many, &at_once->ranges[part - at_once->parts],
                      part->buf, part->key, err);
}

/* How many of the ranges, and bytes of them, are read at once. */
static size_t
count_at_once(const struct many *many, const struct range *ranges, size_t count,
              size_t *out_bytes)
{
    const bool many_at_once =
        (many->reader->store->traits & RAMET_STORE_READS_PARTS) != 0;
    size_t bytes = (size_t)(ranges[0].end - ranges[0].offset);
    size_t n = 1;

    assert(count >= 1);
    while (many_at_once && n < count && n < AT_ONCE_RANGES) {
        const size_t len = (size_t)(ranges[n].end - ranges[n].offset);

        if (bytes + len > AT_ONCE_BYTES)
            break;
        bytes += len;
        n++;
    }
    *out_bytes = bytes;
    return n;
}

static enum ramet_rc
read_at_once(struct many *many, struct at_once *at_once,
             const struct range *ranges, size_t count, size_t bytes,
             struct ramet_err *err)
{
    struct scratch *const scratch = many->scratch;
    size_t used = 0;

    if (!reserve(&scratch->body, &scratch->body_capacity, bytes))
        return RAMET_FAIL(err, RAMET_ENOMEM, "ranges of %zu bytes", bytes);
    at_once->many = many;
    at_once->ranges = ranges;
    for (size_t i = 0; i < count; i++) {
        const size_t len = (size_t)(ranges[i].end - ranges[i].offset);

        ramet_extent_key(&ranges[i].frames[0]->extent, at_once->keys[i]);
        at_once->parts[i] = (struct ramet_part){.key = at_once->keys[i],
                                                .offset = ranges[i].offset,
                                                .len = len,
                                                .buf = scratch->body + used};
        used += len;
    }
    return ramet_objstore_read_parts(many->reader->store, at_once->parts, count,
                                     take_part, at_once, err);
}

static enum ramet_rc
read_ranges(struct many *many, struct ramet_err *err)
{
    struct at_once *const at_once = ramet_alloc(sizeof(*at_once));
    enum ramet_rc rc = RAMET_OK;

    if (at_once == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%zu ranges: no memory",
                          many->range_count);
    for (size_t i = 0; rc == RAMET_OK && i < many->range_count;) {
        size_t bytes;
        const size_t n = count_at_once(many, many->ranges + i,
                                       many->range_count - i, &bytes);

        rc = read_at_once(many, at_once, many->ranges + i, n, bytes, err);
        i += n;
    }
    ramet_free(at_once);
    return rc;
}

static void
find_ranges(struct many *many, const struct ramet_frame **sorted, size_t count)
{
    const uint64_t gap_max =
        (many->reader->store->traits & RAMET_STORE_SENDS_AHEAD) != 0 ? 0
                                                                     : GAP_MAX;

    qsort(sorted, count, sizeof(*sorted), compare_places);
    for (size_t i = 0; i < count;) {
        many->ranges[many->range_count] =
            find_range(sorted + i, count - i, gap_max);
        i += many->ranges[many->range_count++].count;
    }
    qsort(many->ranges, many->range_count, sizeof(*many->ranges),
          compare_wanted);
}

enum ramet_rc
ramet_frame_read_many(struct ramet_frame_reader *reader,
                      const struct ramet_frame *frames, size_t frame_count,
                      uint32_t page_size, ramet_frame_visit *visit, void *ctx,
                      struct ramet_err *err)
{
    struct many many = {
        .reader = reader, .page_size = page_size, .visit = visit, .ctx = ctx};
    const struct ramet_frame **sorted = NULL;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_page_size_valid(page_size));
    if (frame_count == 0)
        return RAMET_OK;
    if (frame_count <= SIZE_MAX / sizeof(*many.ranges)) {
        sorted = ramet_alloc(frame_count * sizeof(*sorted));
        many.ranges = ramet_alloc(frame_count * sizeof(*many.ranges));
    }
    many.scratch = scratch_get(reader);
    if (sorted == NULL || many.ranges == NULL || many.scratch == NULL) {
        rc =
            RAMET_FAIL(err, RAMET_ENOMEM, "%zu frames: no memory", frame_count);
        goto done;
    }
    for (size_t i = 0; i < frame_count && rc == RAMET_OK; i++) {
        rc = check_frame(&frames[i], err);
        sorted[i] = &frames[i];
    }
    if (rc == RAMET_OK) {
        find_ranges(&many, sorted, frame_count);
        rc = read_ranges(&many, err);
    }
done:
    if (many.scratch != NULL)
        scratch_put(reader, many.scratch);
    ramet_free(many.ranges);
    ramet_free(sorted);
    return rc;
}
