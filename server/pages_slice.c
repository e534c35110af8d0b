/*
 * pages_slice.c - what the next pages of an answer need: the ranges that lead to them, as
 * somebody who knows nothing has to read them, and the frames of their images. Their deltas:
 * pages_deltas.c.
 *
 * Layer: server.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "server/pages_answer_impl.h"
#include "server/recorder.h"

#define METADATA_MAX (RAMET_SLICE_RANGES_MAX - 4 * RAMET_SLICE_PAGES)
#define FRESH_CACHE_BYTES (1u << 20)

/* ---- the next slice ------------------------------------------------------------ */

static int
compare_pgno(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

/* The next pages in the order asked, and sorted. */
static enum ramet_rc
take_slice(struct ramet_answer *answer, struct ramet_slice *slice,
           struct ramet_err *err)
{
    const struct ramet_pages_request *request = &answer->request;

    slice->count = 0;
    while (slice->count < RAMET_SLICE_PAGES &&
           answer->run < request->run_count) {
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
set_add(struct ramet_answer *answer, const struct ramet_answer_range *range)
{
    return ramet_range_set_add(&answer->set, &range->object, range->length);
}

/* What somebody who knows nothing has to read in order to locate these pages; `is_here`:
 * the client has that. */
static enum ramet_rc
locate_afresh(struct ramet_answer *answer, struct ramet_slice *slice,
              bool is_here, struct ramet_err *err)
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
        struct ramet_answer_range range = {.length = (uint32_t)record->got,
                                           .ends_object =
                                               record->got < record->asked};

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
            ramet_answer_add_range(answer, &range);
    }
    ramet_history_close(fresh);
    ramet_recorder_done(&recorder);
    return rc;
}

/* The frame of a page's image, or of its delta's base. */
static void
add_image(struct ramet_answer *answer, const struct ramet_located *located)
{
    const struct ramet_frame *frame = &located->image;
    const struct ramet_answer_range body =
        ramet_answer_range_of(&frame->extent);

    /* Invariant (1); of one page that has no delta it is met once. */
    if ((frame->page_count > 1 || ramet_located_has_delta(located)) &&
        !set_add(answer, &body))
        return;
    if ((answer->request.flags & RAMET_PAGES_DICTS) != 0 &&
        frame->kind == RAMET_FRAME_DICT) {
        const struct ramet_answer_range dict =
            ramet_answer_range_of(&frame->base);

        if (set_add(answer, &dict))
            ramet_answer_add_range(answer, &dict);
    }
    ramet_answer_add_range(answer, &body);
}

static enum ramet_rc
fill_slice(struct ramet_answer *answer, struct ramet_slice *slice,
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
    answer->images_at = answer->range_count;
    for (size_t i = 0; rc == RAMET_OK && i < slice->count; i++) {
        const uint32_t *at = bsearch(&slice->asked[i], slice->sorted,
                                     slice->count, sizeof(*at), compare_pgno);
        const struct ramet_located *located =
            &slice->located[at - slice->sorted];

        if (!ramet_located_has_delta(located))
            ramet_frame_locations_put(
                answer->server->locations, ramet_open_volume_id(answer->vol),
                &answer->request.at, slice->asked[i], &located->image);
        if (located->image.page_count > 0) /* else zeros */
            add_image(answer, located);
    }
    return rc;
}

/* ---- what the client has, or waits for ------------------------------------------ */

/* The blocks of deltas of these pages are not to be sent; `is_here`: nor is what leads to
 * those of the first slice. Dictionaries are, if they are asked for: who knows a page's way
 * may lack what it is decoded with. It is a hint: what can't be found is sent. */
static void
pass_over(struct ramet_answer *answer, struct ramet_slice *slice, bool is_here,
          bool is_first)
{
    const bool leads = is_here && is_first &&
                       (answer->request.flags & RAMET_PAGES_METADATA) != 0;
    const enum ramet_rc rc =
        leads ? locate_afresh(answer, slice, true, NULL)
              : ramet_history_locate(ramet_open_volume_history(answer->vol),
                                     &answer->at, slice->sorted, slice->count,
                                     slice->located, NULL);

    assert(slice->count > 0 && slice->count <= RAMET_SLICE_PAGES);
    for (size_t i = 0; rc == RAMET_OK && i < slice->count; i++) {
        const struct ramet_located *const located = &slice->located[i];

        if (ramet_located_has_delta(located))
            ramet_answer_pass_over_block(answer, &located->block.extent);
    }
}

static void
pass_over_all(struct ramet_answer *answer, struct ramet_slice *slice,
              const uint32_t *pgnos, size_t count, bool is_here)
{
    assert(count <= RAMET_PAGES_KNOWN_MAX);
    for (size_t at = 0; at < count; at += RAMET_SLICE_PAGES) {
        const size_t n =
            count - at < RAMET_SLICE_PAGES ? count - at : RAMET_SLICE_PAGES;

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
take_known(struct ramet_answer *answer, struct ramet_slice *slice)
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
bring_ranges(const struct ramet_answer *answer,
             const struct ramet_answer_range *ranges, size_t count)
{
    struct ramet_part parts[RAMET_SLICE_PAGES];
    char keys[RAMET_SLICE_PAGES][RAMET_KEY_MAX];

    for (size_t done = 0; done < count;) {
        size_t n = 0;

        for (; n < RAMET_SLICE_PAGES && done < count; done++) {
            const struct ramet_answer_range *const range = &ranges[done];

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

/* With the blocks of deltas that are to be looked into, or sent. */
static void
bring_slice(struct ramet_answer *answer, const struct ramet_slice *slice)
{
    const size_t count = answer->range_count;

    for (size_t i = 0; i < slice->count; i++)
        if (ramet_located_has_delta(&slice->located[i])) {
            const struct ramet_answer_range block =
                ramet_answer_range_of(&slice->located[i].block.extent);

            if (!ramet_range_set_has(&answer->set, &block.object, block.length))
                ramet_answer_add_range(answer, &block);
        }
    bring_ranges(answer, answer->ranges, answer->range_count);
    answer->range_count = count;
}

/* Deltas come before the images that they are over, for whoever takes them loose, so that
 * each page is made as its image comes. Without memory they come after them. */
static void
add_deltas(struct ramet_answer *answer, const struct ramet_slice *slice)
{
    struct ramet_answer_range *const images =
        answer->ranges + answer->images_at;
    const size_t image_count = answer->range_count - answer->images_at;
    struct ramet_answer_range *copy;
    size_t count;

    ramet_answer_add_deltas(answer, slice);
    count = answer->range_count - answer->images_at - image_count;
    copy = count > 0 && image_count > 0 &&
                   (answer->request.flags & RAMET_PAGES_APART) != 0
               ? ramet_alloc(image_count * sizeof(*copy))
               : NULL;
    if (copy != NULL) {
        memcpy(copy, images, image_count * sizeof(*copy));
        memmove(images, images + image_count, count * sizeof(*images));
        memcpy(images + count, copy, image_count * sizeof(*copy));
        answer->images_at += count;
    } else if (count > 0) {
        answer->images_at = answer->range_count;
    }
    ramet_free(copy);
}

enum ramet_rc
ramet_answer_next_slice(struct ramet_answer *answer, struct ramet_err *err)
{
    struct ramet_slice *slice = ramet_alloc(sizeof(*slice));
    enum ramet_rc rc;

    if (slice == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "pages: out of memory");
    assert(answer->range_next == answer->range_count);
    answer->range_next = answer->range_count = 0;
    ramet_buf_done(
        &answer->records); /* which they keep no memory between slices */
    answer->records_copied = 0;
    take_known(answer, slice);
    rc = fill_slice(answer, slice, err);
    if (rc == RAMET_OK) {
        atomic_fetch_add_explicit(&answer->server->metrics.pages, slice->count,
                                  memory_order_relaxed);
        if ((answer->server->store->traits & RAMET_STORE_READS_PARTS) != 0)
            bring_slice(answer, slice);
        add_deltas(answer, slice);
    }
    ramet_free(slice);
    return rc;
}
