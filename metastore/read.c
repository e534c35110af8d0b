/*
 * read.c - from where pages lie to their bytes.
 *
 * A batch of pages is located, the frames and blocks that they need are read,
 * each once and in few ranges, and each page is made as soon as its parts are
 * here: the image, or the base's image and the delta.
 *
 *   (1) A frame is offered for a page only if this LSN finds the page in it:
 *       a frame may hold neighbours that were overwritten since.
 *   (2) Memory: a batch's places, one range, and of each page with a delta the
 *       part that came first.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/head_cache.h"
#include "metastore/mapnode.h"
#include "metastore/node_cache.h"
#include "metastore/overlay.h"
#include "metastore/place_order.h"
#include "pagestore/delta.h"

/* As many as a request of the client is for: each costs a store something. Where
 * ranges are read as many as lie together, which is a group of pages of 4 KiB. */
#define BATCH_PAGES 512u
#define BATCH_PAGES_MAX 4096u

/* Which page needs the image of which. */
struct need {
    uint32_t image_pgno;
    uint32_t index; /* of found[] */
};

/* Of a page with a delta: what came, until the other is here too. */
struct part {
    uint8_t *block; /* of the delta's bytes */
    struct ramet_delta delta;
    uint8_t *base;
};

/* One batch of pages on its way: the wanted ones and, if asked for, those
 * that share their frames. */
struct reading {
    const struct ramet_overlay *overlay;
    const uint32_t *wanted; /* all that the caller asked for */
    size_t wanted_count;
    uint32_t *pgnos; /* what is looked for in this batch, ascending */
    struct ramet_located *found;
    struct part *parts;
    struct need *needs; /* of the pages that lie somewhere, ascending */
    size_t count, need_count, capacity;
    struct ramet_frame *unique; /* the frames and blocks to read */
    size_t unique_count;
    bool bases;    /* images alone are wanted, not what deltas make of them */
    uint8_t *page; /* one, made of a delta */
    ramet_page_visit *visit;
    void *ctx;
};

static int
compare_pgno(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    assert(left != NULL && right != NULL);
    return a < b ? -1 : a > b;
}

static bool
is_wanted(const struct reading *r, uint32_t pgno)
{
    assert(pgno >= 1);
    return bsearch(&pgno, r->wanted, r->wanted_count, sizeof(r->wanted[0]),
                   compare_pgno) != NULL;
}

/* ---- room ---------------------------------------------------------------- */

/* An array gets longer: what is new in it is zeros. NULL: it is as it was. */
static void *
lengthen(void *array, size_t size, size_t from, size_t to)
{
    uint8_t *const longer = ramet_realloc(array, to * size);

    assert(from < to && size > 0);
    if (longer != NULL)
        memset(longer + from * size, 0, (to - from) * size);
    return longer;
}

/* Room for so many pages in a batch. Few frames have as many pages as one may. */
static enum ramet_rc
reserve(struct reading *r, size_t capacity, struct ramet_err *err)
{
    const size_t from = r->capacity;
    uint32_t *pgnos;
    struct ramet_located *found;
    struct part *parts;
    struct need *needs;

    if (capacity <= from)
        return RAMET_OK;
    pgnos = lengthen(r->pgnos, sizeof(*pgnos), from, capacity);
    if (pgnos != NULL)
        r->pgnos = pgnos;
    found = lengthen(r->found, sizeof(*found), from, capacity);
    if (found != NULL)
        r->found = found;
    parts = lengthen(r->parts, sizeof(*parts), from, capacity);
    if (parts != NULL)
        r->parts = parts;
    needs = lengthen(r->needs, sizeof(*needs), from, capacity);
    if (needs != NULL)
        r->needs = needs;
    if (pgnos == NULL || found == NULL || parts == NULL || needs == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "reading %zu pages", capacity);
    assert(capacity > r->capacity);
    r->capacity = capacity;
    return RAMET_OK;
}

/* ---- what to read -------------------------------------------------------- */

/* By place, then by all else that says what a frame is, the bytes' hash included:
 * 0 is the same. */
static int
compare_frames(const void *left, const void *right)
{
    const struct ramet_frame *const a = left;
    const struct ramet_frame *const b = right;
    const int by_segment =
        ramet_id_compare(&a->extent.segment.id, &b->extent.segment.id);

    assert(left != NULL && right != NULL);
    if (a->extent.kind != b->extent.kind)
        return a->extent.kind < b->extent.kind ? -1 : 1;
    if (by_segment != 0)
        return by_segment;
    if (a->extent.lsn != b->extent.lsn)
        return a->extent.lsn < b->extent.lsn ? -1 : 1;
    if (a->extent.offset_bytes != b->extent.offset_bytes)
        return a->extent.offset_bytes < b->extent.offset_bytes ? -1 : 1;
    if (a->first_pgno != b->first_pgno)
        return a->first_pgno < b->first_pgno ? -1 : 1;
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->page_count != b->page_count)
        return a->page_count < b->page_count ? -1 : 1;
    if (a->extent.length_bytes != b->extent.length_bytes)
        return a->extent.length_bytes < b->extent.length_bytes ? -1 : 1;
    return memcmp(&a->extent.hash, &b->extent.hash, sizeof(a->extent.hash));
}

static bool
same_frame(const struct ramet_frame *a, const struct ramet_frame *b)
{
    return compare_frames(a, b) == 0;
}

static void
collect_frames(struct reading *r)
{
    size_t kept = 0;

    assert(r->count <= BATCH_PAGES_MAX);
    r->unique_count = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (r->found[i].image.page_count > 0)
            r->unique[r->unique_count++] = r->found[i].image;
        if (ramet_located_has_delta(&r->found[i]))
            r->unique[r->unique_count++] = r->found[i].block;
    }
    if (r->unique_count == 0)
        return;
    qsort(r->unique, r->unique_count, sizeof(r->unique[0]), compare_frames);
    for (size_t i = 1; i < r->unique_count; i++) {
        if (!same_frame(&r->unique[kept], &r->unique[i]))
            r->unique[++kept] = r->unique[i];
    }
    assert(kept < r->unique_count);
    r->unique_count = kept + 1;
}

/* Add the pages that share a frame with a wanted one, lie in [low, high), and
 * are not wanted themselves; look them up too. One with a delta would need more
 * than is read anyway, and is left out again. */
static enum ramet_rc
add_neighbours(struct reading *r, uint32_t low, uint64_t high,
               struct ramet_err *err)
{
    const size_t batch = r->count;
    size_t capacity = batch;
    size_t kept = 0;
    enum ramet_rc rc;

    assert(batch >= 1 && low >= 1);
    for (size_t i = 0; i < batch; i++)
        capacity += r->found[i].image.page_count;
    rc = reserve(r, capacity, err);
    if (rc != RAMET_OK)
        return rc;
    for (size_t i = 0; i < batch; i++) {
        const struct ramet_frame *const frame = &r->found[i].image;

        for (uint32_t j = 0; j < frame->page_count; j++) {
            const uint32_t pgno = frame->first_pgno + j;

            if (pgno < low || pgno >= high || pgno > r->overlay->page_count ||
                is_wanted(r, pgno))
                continue;
            assert(r->count < r->capacity);
            r->pgnos[r->count++] = pgno;
        }
    }
    if (r->count == batch) /* frames of one page each, mostly */
        return RAMET_OK;
    qsort(r->pgnos, r->count, sizeof(r->pgnos[0]), compare_pgno);
    for (size_t i = 1; i < r->count; i++) {
        if (r->pgnos[i] != r->pgnos[kept])
            r->pgnos[++kept] = r->pgnos[i];
    }
    r->count = kept + 1;
    rc = ramet_overlay_locate(r->overlay, r->pgnos, r->count, r->found, err);
    if (rc != RAMET_OK)
        return rc;
    kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (ramet_located_has_delta(&r->found[i]) && !is_wanted(r, r->pgnos[i]))
            continue;
        r->pgnos[kept] = r->pgnos[i];
        r->found[kept++] = r->found[i];
    }
    assert(kept <= r->count);
    r->count = kept;
    return RAMET_OK;
}

static int
compare_needs(const void *left, const void *right)
{
    const struct need *const a = left;
    const struct need *const b = right;

    assert(left != NULL && right != NULL);
    if (a->image_pgno != b->image_pgno)
        return a->image_pgno < b->image_pgno ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static void
collect_needs(struct reading *r)
{
    r->need_count = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (r->found[i].image.page_count > 0)
            r->needs[r->need_count++] =
                (struct need){r->found[i].image_pgno, (uint32_t)i};
    }
    assert(r->need_count <= r->count && r->count <= r->capacity);
    qsort(r->needs, r->need_count, sizeof(r->needs[0]), compare_needs);
}

/* ---- what comes ---------------------------------------------------------- */

/* Make a page whose delta and base are both here. */
static enum ramet_rc
make_page(struct reading *r, size_t index, struct ramet_err *err)
{
    const uint32_t page_size = r->overlay->page_size;
    struct part *const part = &r->parts[index];
    struct ramet_err own;
    enum ramet_rc rc;

    assert(index < r->count);
    if (part->block == NULL || part->base == NULL)
        return RAMET_OK;
    rc = ramet_delta_apply(&part->delta, part->base, page_size, r->page, &own);
    ramet_free(part->block);
    ramet_free(part->base);
    *part = (struct part){.block = NULL};
    if (rc != RAMET_OK)
        return RAMET_FAIL(err, rc, "page %" PRIu32 " of LSN %" PRIu64 ": %s",
                          r->pgnos[index], r->found[index].lsn, own.text);
    return r->visit(r->ctx, r->pgnos[index], r->page, err);
}

static enum ramet_rc
keep_base(struct reading *r, size_t index, const uint8_t *page,
          struct ramet_err *err)
{
    struct part *const part = &r->parts[index];

    assert(part->base == NULL);
    assert(index < r->count && ramet_located_has_delta(&r->found[index]));
    part->base = ramet_alloc(r->overlay->page_size);
    if (part->base == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "base of page %" PRIu32,
                          r->pgnos[index]);
    memcpy(part->base, page, r->overlay->page_size);
    return make_page(r, index, err);
}

/* Every page with a delta in this block takes it. */
static enum ramet_rc
take_block(struct reading *r, const struct ramet_frame *block,
           const uint8_t *content, size_t len, struct ramet_err *err)
{
    struct ramet_delta_cursor cursor;
    enum ramet_rc rc = ramet_delta_cursor_open(&cursor, content, len,
                                               r->overlay->page_size, err);

    assert(block->kind == RAMET_FRAME_DELTAS);
    if (rc != RAMET_OK)
        return rc;
    for (size_t i = 0; i < r->count; i++) {
        struct part *const part = &r->parts[i];
        struct ramet_delta delta;

        if (!ramet_located_has_delta(&r->found[i]) ||
            !same_frame(&r->found[i].block, block))
            continue;
        rc =
            ramet_delta_cursor_find(&cursor, r->found[i].position, &delta, err);
        if (rc != RAMET_OK)
            return rc;
        assert(part->block == NULL);
        part->block = ramet_delta_copy(&delta, &part->delta);
        if (part->block == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "delta of page %" PRIu32,
                              r->pgnos[i]);
        rc = make_page(r, i, err);
        if (rc != RAMET_OK)
            return rc;
    }
    return RAMET_OK;
}

/* The first of the needs of an image of page `pgno` or a later one. */
static size_t
find_need(const struct reading *r, uint32_t pgno)
{
    size_t low = 0, high = r->need_count;

    assert(pgno >= 1);
    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (r->needs[middle].image_pgno < pgno)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static enum ramet_rc
take_frame(void *ctx, const struct ramet_frame *frame, const uint8_t *content,
           size_t len, struct ramet_err *err)
{
    struct reading *const r = ctx;
    enum ramet_rc rc = RAMET_OK;

    assert(frame->kind == RAMET_FRAME_DELTAS ||
           len == (size_t)frame->page_count * r->overlay->page_size);
    if (frame->kind == RAMET_FRAME_DELTAS)
        return take_block(r, frame, content, len, err);
    for (size_t i = find_need(r, frame->first_pgno);
         rc == RAMET_OK && i < r->need_count &&
         r->needs[i].image_pgno - frame->first_pgno < frame->page_count;
         i++) {
        const size_t index = r->needs[i].index;
        const uint8_t *const page =
            content + (size_t)(r->needs[i].image_pgno - frame->first_pgno) *
                          r->overlay->page_size;

        if (!same_frame(&r->found[index].image, frame))
            continue; /* invariant (1) */
        rc = ramet_located_has_delta(&r->found[index])
                 ? keep_base(r, index, page, err)
                 : r->visit(r->ctx, r->pgnos[index], page, err);
    }
    return rc;
}

static enum ramet_rc
offer_zeros(const struct reading *r, struct ramet_err *err)
{
    uint8_t *zeros = NULL;
    enum ramet_rc rc = RAMET_OK;

    assert(r->count >= 1);
    for (size_t i = 0; rc == RAMET_OK && i < r->count; i++) {
        if (r->found[i].image.page_count > 0)
            continue;
        if (zeros == NULL)
            zeros = ramet_calloc(1, r->overlay->page_size);
        if (zeros == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "a page of zeros");
        rc = r->visit(r->ctx, r->pgnos[i], zeros, err);
    }
    ramet_free(zeros);
    return rc;
}

/* ---- a batch ------------------------------------------------------------- */

static void
drop_parts(struct reading *r)
{
    assert(r->count <= r->capacity);
    for (size_t i = 0; i < r->count; i++) {
        ramet_free(r->parts[i].block);
        ramet_free(r->parts[i].base);
        r->parts[i] = (struct part){.block = NULL};
    }
}

/* Read the wanted pages from `start` on, `count` of them. */
static enum ramet_rc
read_batch(struct reading *r, size_t start, size_t count, bool want_extra,
           struct ramet_err *err)
{
    const uint32_t low = start == 0 ? 1 : r->wanted[start];
    const uint64_t high =
        start + count < r->wanted_count ? r->wanted[start + count] : UINT64_MAX;
    enum ramet_rc rc;

    assert(count >= 1);
    assert(start + count <= r->wanted_count && count <= r->capacity);
    memcpy(r->pgnos, r->wanted + start, count * sizeof(r->pgnos[0]));
    r->count = count;
    rc = ramet_overlay_locate(r->overlay, r->pgnos, count, r->found, err);
    if (rc != RAMET_OK)
        return rc;
    for (size_t i = 0; r->bases && i < count; i++)
        memset(&r->found[i].block, 0, sizeof(r->found[i].block));
    collect_frames(r);
    if (want_extra) {
        rc = add_neighbours(r, low, high, err);
        if (rc != RAMET_OK)
            return rc;
    }
    collect_needs(r);
    rc = r->bases ? RAMET_OK : offer_zeros(r, err);
    if (rc != RAMET_OK || r->unique_count == 0)
        return rc;
    rc = ramet_frame_read_many(ramet_history_frame_reader(r->overlay->history),
                               r->unique, r->unique_count,
                               r->overlay->page_size, take_frame, r, err);
    drop_parts(r);
    return rc;
}

static enum ramet_rc
allocate(struct reading *r, size_t batch, struct ramet_err *err)
{
    assert(batch >= 1 && batch <= BATCH_PAGES_MAX);
    r->unique = ramet_calloc(2 * batch, sizeof(r->unique[0]));
    r->page = ramet_alloc(r->overlay->page_size);
    return r->unique == NULL || r->page == NULL
               ? RAMET_FAIL(err, RAMET_ENOMEM, "reading %zu pages", batch)
               : reserve(r, batch, err);
}

static enum ramet_rc
read_pages(struct ramet_history *history, const struct ramet_point *at,
           const uint32_t *pgnos, size_t pgno_count, bool want_extra,
           bool bases, ramet_page_visit *visit, void *ctx,
           struct ramet_err *err)
{
    const size_t most =
        ramet_history_reads_ranges(history) ? BATCH_PAGES_MAX : BATCH_PAGES;
    const size_t batch = pgno_count < most ? pgno_count : most;
    struct ramet_overlay overlay;
    struct reading r = {.overlay = &overlay,
                        .wanted = pgnos,
                        .wanted_count = pgno_count,
                        .bases = bases,
                        .visit = visit,
                        .ctx = ctx};
    enum ramet_rc rc;

    assert(visit != NULL);
    if (pgno_count == 0)
        return RAMET_OK;
    rc = ramet_overlay_open(history, at, &overlay, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_overlay_check_wanted(&overlay, pgnos, pgno_count, err);
    if (rc == RAMET_OK)
        rc = allocate(&r, batch, err);
    for (size_t i = 0; rc == RAMET_OK && i < pgno_count; i += batch) {
        const size_t n = pgno_count - i < batch ? pgno_count - i : batch;

        rc = read_batch(&r, i, n, want_extra, err);
    }
    ramet_free(r.page);
    ramet_free(r.unique);
    ramet_free(r.needs);
    ramet_free(r.parts);
    ramet_free(r.found);
    ramet_free(r.pgnos);
    ramet_overlay_close(&overlay);
    return ramet_history_blame(history, at, rc, err);
}

enum ramet_rc
ramet_history_read_pages(struct ramet_history *history,
                         const struct ramet_point *at, const uint32_t *pgnos,
                         size_t pgno_count, bool want_extra,
                         ramet_page_visit *visit, void *ctx,
                         struct ramet_err *err)
{
    return read_pages(history, at, pgnos, pgno_count, want_extra, false, visit,
                      ctx, err);
}

enum ramet_rc
ramet_history_read_bases(struct ramet_history *history,
                         const struct ramet_point *at, const uint32_t *pgnos,
                         size_t pgno_count, ramet_page_visit *visit, void *ctx,
                         struct ramet_err *err)
{
    return read_pages(history, at, pgnos, pgno_count, false, true, visit, ctx,
                      err);
}
