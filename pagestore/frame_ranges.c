/*
 * frame_ranges.c - many frames by few reads: those that lie together in one object
 * are one range, and ranges are read several at a time where the store can.
 *
 *   (1) A range is of one object, and spans all of its frames' bodies.
 *   (2) Ranges come in the order in which the caller gave their first frames.
 *   (3) RANGE_MAX bounds a range, AT_ONCE_BYTES what is read at a time; but a frame
 *       alone, and a range alone, may be larger.
 *   (4) What lies between two frames is read along where that is no more than
 *       ramet_objstore_gap().
 *   (5) Where many are read at a time a dictionary that they need and that is not here
 *       is one of these reads, beside what (3) bounds, DICTS_AT_ONCE of them at most:
 *       ranges that come before it wait for it.
 *
 * Layer: pagestore.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/delta.h"
#include "pagestore/dict_window.h"
#include "pagestore/frame_impl.h"
#include "pagestore/segment.h"

/* A MiB is what clients ask for at a time; the pages may take a little more. */
#define RANGE_MAX (9u << 17)
/* Ranges that are read at a time take at most this, unless one takes more. */
#define AT_ONCE_BYTES (4u << 20)
/* Frames of a range that are worth a window for their dictionary. */
#define WINDOW_FRAMES 16u
#define DICTS_AT_ONCE 4u

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
    struct ramet_scratch *scratch;
    struct ramet_dict_window window;
    uint32_t page_size;
    ramet_frame_visit *visit;
    void *ctx;
    struct range *ranges;
    size_t range_count;
    struct ramet_part *parts; /* of those that are read at once, as the store */
    char (*keys)[RAMET_KEY_MAX]; /* knows them, after those of dictionaries */
    bool *waits; /* those of ranges that are here: invariant (5) */
};

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
    assert(order != 0 || ramet_extent_same_object(x, y));
    return order;
}

/* The longest range of frames from sorted[0] on that is worth one read. */
static struct range
find_range(const struct ramet_frame **sorted, size_t count, uint64_t gap)
{
    const struct ramet_extent *first = &sorted[0]->extent;
    struct range range = {first->offset_bytes,
                          first->offset_bytes + first->length_bytes, sorted, 1};

    assert(count >= 1);
    for (; range.count < count; range.count++) {
        const struct ramet_extent *extent = &sorted[range.count]->extent;
        const uint64_t end = extent->offset_bytes + extent->length_bytes;

        if (!ramet_extent_same_object(first, extent))
            break;
        if (extent->offset_bytes > range.end &&
            extent->offset_bytes - range.end > gap)
            break;
        if (end > range.end && end - range.offset > RANGE_MAX)
            break;
        range.end = end > range.end ? end : range.end;
    }
    assert(range.count >= 1 && range.end > range.offset); /* invariant (1) */
    return range;
}

/* The place in the caller's order of the first of a range's frames there. */
static const struct ramet_frame *
wanted_first(const struct range *range)
{
    const struct ramet_frame *first = range->frames[0];

    assert(range->count >= 1);
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

/* How many bytes a frame's body makes: known beforehand of pages, named by the
 * body itself of deltas, whose front is kept. */
static enum ramet_rc
content_size(const struct ramet_frame *frame, const uint8_t *body,
             uint32_t page_size, const char *key, size_t *out_len,
             struct ramet_err *err)
{
    const size_t len = frame->extent.length_bytes;
    unsigned long long size;
    struct ramet_delta_front front;

    assert(body != NULL);
    *out_len = (size_t)frame->page_count * page_size;
    if (frame->kind != RAMET_FRAME_DELTAS)
        return RAMET_OK;
    if (ramet_delta_front_read(body, len, &front)) {
        size = ZSTD_getFrameContentSize(body + front.length_bytes,
                                        len - front.length_bytes);
        if (size > 0 && size <= RAMET_DELTA_BLOCK_MAX) { /* and it is named */
            *out_len = front.length_bytes + (size_t)size;
            return RAMET_OK;
        }
    }
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "%s: block of deltas at %" PRIu64
                      " has an impossible size",
                      key, frame->extent.offset_bytes);
}

/* What a body makes, `size` bytes: in the window or the scratch. */
static enum ramet_rc
decode(struct many *many, const struct range *range,
       const struct ramet_frame *frame, const uint8_t *body, size_t size,
       const char *key, const uint8_t **out, struct ramet_err *err)
{
    struct ramet_frame_reader *const reader = many->reader;
    struct ramet_scratch *const scratch = many->scratch;
    struct ramet_dict_window *const window = &many->window;
    enum ramet_rc rc = RAMET_OK;

    if (frame->kind == RAMET_FRAME_DICT && range->count >= WINDOW_FRAMES &&
        !ramet_dict_window_is(window, &frame->base, size))
        rc = ramet_dict_window_make(window, &reader->dicts, reader->store,
                                    &frame->base, size, err);
    if (rc != RAMET_OK)
        return rc;
    if (frame->kind == RAMET_FRAME_DICT &&
        ramet_dict_window_is(window, &frame->base, size)) {
        *out = ramet_dict_window_out(window);
        return ramet_codec_decode(scratch->dctx, window->ddict, frame, 0, body,
                                  size, ramet_dict_window_out(window), key,
                                  err);
    }
    if (!ramet_scratch_reserve(&scratch->pages, &scratch->pages_capacity, size))
        return RAMET_FAIL(err, RAMET_ENOMEM, "page %" PRIu32,
                          frame->first_pgno);
    *out = scratch->pages;
    return ramet_frame_decode_body(reader, scratch, frame, body, size,
                                   scratch->pages, key, err);
}

/* A range is here. */
static enum ramet_rc
take_range(struct many *many, const struct range *range, uint8_t *bytes,
           const char *key, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    for (size_t i = 0; i < range->count && rc == RAMET_OK; i++) {
        const struct ramet_frame *frame = range->frames[i];
        const size_t at = (size_t)(frame->extent.offset_bytes - range->offset);
        assert(frame->extent.offset_bytes >= range->offset &&
               at + frame->extent.length_bytes <=
                   range->end - range->offset); /* invariant (1) */
        const uint8_t *content = NULL;
        size_t size = 0;

        rc = ramet_codec_verify_read(many->reader->store, &frame->extent,
                                     bytes + at, key, err);
        if (rc == RAMET_OK)
            rc = content_size(frame, bytes + at, many->page_size, key, &size,
                              err);
        if (rc == RAMET_OK)
            rc = decode(many, range, frame, bytes + at, size, key, &content,
                        err);
        if (rc == RAMET_OK)
            rc = many->visit(many->ctx, frame, content, size, err);
    }
    return rc;
}

/* Blocks of deltas have pages that others will read soon. */
static void
keep_blocks(struct many *many, const struct range *range, const uint8_t *bytes)
{
    if ((many->reader->store->traits & RAMET_STORE_READS_PARTS) == 0)
        return;
    for (size_t i = 0; i < range->count; i++) {
        const struct ramet_extent *const place = &range->frames[i]->extent;

        if (range->frames[i]->kind == RAMET_FRAME_DELTAS)
            ramet_kept_add(&many->reader->kept, place,
                           bytes + (place->offset_bytes - range->offset));
    }
}

/* A range was read. */
static enum ramet_rc
take_read(struct many *many, const struct range *range, uint8_t *bytes,
          const char *key, struct ramet_err *err)
{
    const enum ramet_rc rc = take_range(many, range, bytes, key, err);

    if (rc == RAMET_OK)
        keep_blocks(many, range, bytes);
    return rc;
}

/* Ranges that are read at once: those of many->parts. */
struct at_once {
    struct many *many;
    const struct range *ranges;
    size_t count;
    const struct ramet_extent
        *dicts[DICTS_AT_ONCE]; /* their parts come first */
    bool has_come[DICTS_AT_ONCE];
    size_t dict_count;
};

/* Has a frame of this range a dictionary that is under way? */
static bool
waits_for_dict(const struct at_once *at_once, const struct range *range)
{
    for (size_t i = 0; i < range->count; i++) {
        const struct ramet_frame *const frame = range->frames[i];

        for (size_t d = 0;
             frame->kind == RAMET_FRAME_DICT && d < at_once->dict_count; d++)
            if (!at_once->has_come[d] &&
                ramet_extent_equal(at_once->dicts[d], &frame->base))
                return true;
    }
    return false;
}

/* Ranges that were waiting for what came now; `all`: for what never came. */
static enum ramet_rc
take_waiting(struct at_once *at_once, bool all, struct ramet_err *err)
{
    struct many *const many = at_once->many;
    enum ramet_rc rc = RAMET_OK;

    for (size_t i = 0; i < at_once->count && rc == RAMET_OK; i++) {
        const struct ramet_part *const part =
            &many->parts[at_once->dict_count + i];

        if (!many->waits[i] ||
            (!all && waits_for_dict(at_once, &at_once->ranges[i])))
            continue;
        many->waits[i] = false;
        rc = take_read(many, &at_once->ranges[i], part->buf, part->key, err);
    }
    return rc;
}

static enum ramet_rc
take_part(void *ctx, const struct ramet_part *part, size_t got,
          struct ramet_err *err)
{
    struct at_once *const at_once = ctx;
    struct many *const many = at_once->many;
    const size_t index = (size_t)(part - many->parts);
    size_t range;

    assert(got == part->len);
    assert(index < at_once->dict_count + at_once->count);
    (void)got;
    if (index < at_once->dict_count) {
        ramet_frame_reader_keep_dict(many->reader, at_once->dicts[index],
                                     part->buf);
        at_once->has_come[index] = true;
        return take_waiting(at_once, false, err);
    }
    range = index - at_once->dict_count;
    many->waits[range] = waits_for_dict(at_once, &at_once->ranges[range]);
    return many->waits[range] ? RAMET_OK
                              : take_read(many, &at_once->ranges[range],
                                          part->buf, part->key, err);
}

static bool
is_noted(const struct at_once *at_once, const struct ramet_extent *dict)
{
    for (size_t d = 0; d < at_once->dict_count; d++)
        if (ramet_extent_equal(at_once->dicts[d], dict))
            return true;
    return false;
}

/* Invariant (5); what there is more of, or of an impossible size, is read when it is
 * needed. Their bytes. */
static size_t
find_dicts(struct at_once *at_once)
{
    struct ramet_frame_reader *const reader = at_once->many->reader;
    const struct ramet_extent *last = NULL; /* that was looked at */
    size_t bytes = 0;

    if ((reader->store->traits & RAMET_STORE_READS_PARTS) == 0)
        return 0;
    for (size_t i = 0; i < at_once->count; i++) {
        for (size_t j = 0; j < at_once->ranges[i].count; j++) {
            const struct ramet_frame *const frame =
                at_once->ranges[i].frames[j];
            const struct ramet_extent *const dict = &frame->base;

            if (frame->kind != RAMET_FRAME_DICT ||
                (last != NULL && ramet_extent_equal(last, dict)))
                continue;
            last = dict;
            if (at_once->dict_count == DICTS_AT_ONCE ||
                dict->length_bytes == 0 ||
                dict->length_bytes > RAMET_DICT_STORED_MAX ||
                is_noted(at_once, dict) ||
                ramet_frame_reader_has_dict(reader, dict))
                continue;
            at_once->dicts[at_once->dict_count++] = dict;
            bytes += dict->length_bytes;
        }
    }
    return bytes;
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
    while (many_at_once && n < count) {
        const size_t len = (size_t)(ranges[n].end - ranges[n].offset);

        if (bytes + len > AT_ONCE_BYTES)
            break;
        bytes += len;
        n++;
    }
    assert(n == 1 || bytes <= AT_ONCE_BYTES); /* invariant (3) */
    *out_bytes = bytes;
    return n;
}

static enum ramet_rc
read_at_once(struct many *many, const struct range *ranges, size_t count,
             size_t bytes, struct ramet_err *err)
{
    struct ramet_scratch *const scratch = many->scratch;
    struct at_once at_once = {.many = many, .ranges = ranges, .count = count};
    const size_t all = bytes + find_dicts(&at_once);
    const size_t dicts = at_once.dict_count;
    size_t used = 0;
    enum ramet_rc rc;

    assert(count >= 1 && count <= many->range_count);
    if (!ramet_scratch_reserve(&scratch->body, &scratch->body_capacity, all))
        return RAMET_FAIL(err, RAMET_ENOMEM, "ranges of %zu bytes", all);
    for (size_t i = 0; i < dicts + count; i++) {
        const struct ramet_extent *const in =
            i < dicts ? at_once.dicts[i] : &ranges[i - dicts].frames[0]->extent;
        const uint64_t offset =
            i < dicts ? in->offset_bytes : ranges[i - dicts].offset;
        const size_t len = i < dicts ? in->length_bytes
                                     : (size_t)(ranges[i - dicts].end - offset);

        ramet_extent_key(in, many->keys[i]);
        many->parts[i] = (struct ramet_part){.key = many->keys[i],
                                             .offset = offset,
                                             .len = len,
                                             .buf = scratch->body + used};
        used += len;
    }
    assert(used == all);
    memset(many->waits, 0, count * sizeof(*many->waits));
    rc = ramet_objstore_read_parts(many->reader->store, many->parts,
                                   dicts + count, take_part, &at_once, err);
    return rc == RAMET_OK ? take_waiting(&at_once, true, err) : rc;
}

/* True: all of the range's bytes were here, and it was taken. What was kept and is
 * wrong is read. */
static bool
take_kept(struct many *many, const struct range *range, enum ramet_rc *rc,
          struct ramet_err *err)
{
    struct ramet_scratch *const scratch = many->scratch;
    const struct ramet_extent *const in = &range->frames[0]->extent;
    const size_t len = (size_t)(range->end - range->offset);
    char key[RAMET_KEY_MAX];

    if (len > RAMET_KEPT_BYTES ||
        !ramet_scratch_reserve(&scratch->body, &scratch->body_capacity, len) ||
        !ramet_kept_find(&many->reader->kept, in, range->offset, len,
                         scratch->body))
        return false;
    for (size_t i = 0; i < range->count; i++) {
        const struct ramet_extent *const extent = &range->frames[i]->extent;

        if (!ramet_extent_matches(extent,
                                  scratch->body +
                                      (extent->offset_bytes - range->offset))) {
            ramet_kept_drop(&many->reader->kept, in);
            return false;
        }
    }
    ramet_extent_key(in, key);
    *rc = take_range(many, range, scratch->body, key, err);
    return true;
}

/* Ranges that are here need no read; the others move up. */
static enum ramet_rc
take_all_kept(struct many *many, struct ramet_err *err)
{
    size_t left = 0;
    enum ramet_rc rc = RAMET_OK;

    if ((many->reader->store->traits & RAMET_STORE_READS_PARTS) == 0)
        return RAMET_OK; /* nothing is kept of such a one */
    for (size_t i = 0; i < many->range_count && rc == RAMET_OK; i++)
        if (!take_kept(many, &many->ranges[i], &rc, err))
            many->ranges[left++] = many->ranges[i];
    assert(left <= many->range_count);
    many->range_count = left;
    return rc;
}

/* Blocks that are here are taken one by one, and go into no range; how many frames
 * are left of those in `sorted`. */
static size_t
take_kept_blocks(struct many *many, const struct ramet_frame **sorted,
                 size_t count, enum ramet_rc *rc, struct ramet_err *err)
{
    size_t left = 0;

    for (size_t i = 0; i < count && *rc == RAMET_OK; i++) {
        const struct ramet_extent *const place = &sorted[i]->extent;
        const struct range one = {place->offset_bytes,
                                  place->offset_bytes + place->length_bytes,
                                  &sorted[i], 1};

        if (sorted[i]->kind != RAMET_FRAME_DELTAS ||
            !take_kept(many, &one, rc, err))
            sorted[left++] = sorted[i];
    }
    return left;
}

static enum ramet_rc
read_ranges(struct many *many, struct ramet_err *err)
{
    const size_t most = many->range_count + DICTS_AT_ONCE;
    enum ramet_rc rc = take_all_kept(many, err);

    if (rc != RAMET_OK || many->range_count == 0)
        return rc;
    many->parts = ramet_alloc(most * sizeof(*many->parts));
    many->keys = ramet_alloc(most * sizeof(*many->keys));
    many->waits = ramet_alloc(most * sizeof(*many->waits));
    if (many->parts == NULL || many->keys == NULL || many->waits == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%zu ranges: no memory",
                        many->range_count);
    for (size_t i = 0; rc == RAMET_OK && i < many->range_count;) {
        size_t bytes;
        const size_t n = count_at_once(many, many->ranges + i,
                                       many->range_count - i, &bytes);

        rc = read_at_once(many, many->ranges + i, n, bytes, err);
        i += n;
    }
    ramet_free(many->waits);
    ramet_free(many->keys);
    ramet_free(many->parts);
    return rc;
}

static void
find_ranges(struct many *many, const struct ramet_frame **sorted, size_t count)
{
    const uint64_t gap = ramet_objstore_gap(many->reader->store);

    assert(many->range_count == 0);
    qsort(sorted, count, sizeof(*sorted), compare_places);
    for (size_t i = 0; i < count;) {
        many->ranges[many->range_count] =
            find_range(sorted + i, count - i, gap);
        i += many->ranges[many->range_count++].count;
    }
    assert(many->range_count >= 1 && many->range_count <= count);
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
    assert(visit != NULL && (frames != NULL || frame_count == 0));
    if (frame_count == 0)
        return RAMET_OK;
    if (frame_count <= SIZE_MAX / sizeof(*many.ranges)) {
        sorted = ramet_alloc(frame_count * sizeof(*sorted));
        many.ranges = ramet_alloc(frame_count * sizeof(*many.ranges));
    }
    many.scratch = ramet_scratch_get(reader);
    if (sorted == NULL || many.ranges == NULL || many.scratch == NULL) {
        rc =
            RAMET_FAIL(err, RAMET_ENOMEM, "%zu frames: no memory", frame_count);
        goto done;
    }
    for (size_t i = 0; i < frame_count && rc == RAMET_OK; i++) {
        rc = ramet_frame_check(&frames[i], err);
        sorted[i] = &frames[i];
    }
    if (rc == RAMET_OK)
        frame_count = take_kept_blocks(&many, sorted, frame_count, &rc, err);
    if (rc == RAMET_OK && frame_count > 0) {
        find_ranges(&many, sorted, frame_count);
        rc = read_ranges(&many, err);
    }
done:
    ramet_dict_window_done(&many.window, &reader->dicts);
    if (many.scratch != NULL)
        ramet_scratch_put(reader, many.scratch);
    ramet_free(many.ranges);
    ramet_free(sorted);
    return rc;
}
