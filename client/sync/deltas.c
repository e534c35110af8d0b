/*
 * deltas.c - see deltas.h.
 *
 * Layer: client.
 */
#include "client/sync/deltas.h"

#include <assert.h>
#include <string.h>

#include "client/remote/remote_client.h"
#include "client/sync/bases.h"
#include "client/sync/finder.h"
#include "core/alloc.h"
#include "pagestore/delta_writer.h"
#include "sqliteformat/btpage.h"

#define LEVEL 3
#define BYTES_MAX (32u << 20)    /* of one commit's deltas, in memory */
#define WINDOW_BYTES (16u << 20) /* of bases */
/* A delta up to this part of a page is worth it without a look at the image. */
#define SMALL_PART 8u
/* Of a base of which no more is known the delta must be this part of a page: one
 * that is larger grew old with its base. */
#define OLD_PART 4u
/* What an image takes where it is not compressed to see. */
#define IMAGE_PART 3u
/* A delta is this many quarters of its image at most: who reads it reads its base as
 * well. */
#define IMAGE_QUARTERS 3u
#define OTHER_FROM                                                             \
    200u /* bytes of a delta; then other pages' bases are tried */
/* Of a page, at most, for the first try with its own base: what is more may have come
 * from elsewhere. */
#define FIRST_PART 4u
#define PLACES_STEP 128u /* bytes between places that are compared */
#define PLACES_PART 4u /* of them that is the same where the page is in place */
#define NAME_OVERHEAD 6u /* bytes that a name costs */

struct slot {
    uint32_t pgno;
    bool has_image;
    struct ramet_base base;
};

struct ramet_deltas {
    const struct ramet_builder *job;
    struct ramet_commit_object *commit;
    uint32_t page_size;
    struct ramet_delta_writer *writer; /* NULL: images alone are sent */
    /* The window: pages to come, and their base images; and behind it one slot more,
     * for the base of a page that is not in it. */
    struct slot *slots;
    uint8_t *images;
    uint32_t slot_count, slots_max;
    uint32_t next_slot;   /* pages come in ascending order */
    uint32_t window_last; /* the last page that was looked for */
    struct ramet_finder *finder;
    bool is_indexed; /* the finder has the window's */
    bool has_all;    /* it has those of all windows */
    uint32_t name_capacity;
    uint32_t position; /* of the next delta in the commit's set */
};

/* A base for one page. */
struct choice {
    uint32_t length; /* of the delta; 0: none */
    uint32_t slot;
    bool is_own;
};

/* Could any page have a base? Invariant (2). */
static bool
can_write(const struct ramet_builder *job,
          const struct ramet_commit_object *commit)
{
    assert(commit->page_size != 0);
    return job->base->lsn > 0 && job->base->page_size == commit->page_size &&
           commit->least_page_count > 0 &&
           (job->bases != NULL ||
            ramet_remote_client_store(job->client)->traits == 0);
}

enum ramet_rc
ramet_deltas_new(const struct ramet_builder *job,
                 struct ramet_commit_object *commit, const uint8_t *dict,
                 size_t dict_len, struct ramet_deltas **out_deltas,
                 struct ramet_err *err)
{
    struct ramet_deltas *const deltas = ramet_calloc(1, sizeof(*deltas));
    const uint64_t pages = ramet_pageset_count(job->pages);
    enum ramet_rc rc = RAMET_OK;

    assert(commit->page_size <= WINDOW_BYTES);
    if (deltas == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory");
    deltas->job = job;
    deltas->commit = commit;
    deltas->page_size = commit->page_size;
    deltas->slots_max = WINDOW_BYTES / commit->page_size;
    if (deltas->slots_max > pages)
        deltas->slots_max = (uint32_t)pages;
    if (deltas->slots_max > 0 && can_write(job, commit)) {
        deltas->slots =
            ramet_calloc(deltas->slots_max + 1, sizeof(*deltas->slots));
        deltas->images =
            ramet_alloc(((size_t)deltas->slots_max + 1) * commit->page_size);
        rc = deltas->slots == NULL || deltas->images == NULL
                 ? RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory")
                 : ramet_delta_writer_new(commit->page_size, LEVEL, BYTES_MAX,
                                          &deltas->writer, err);
        if (rc == RAMET_OK && dict != NULL)
            ramet_delta_writer_set_dict(deltas->writer, dict, dict_len);
    }
    if (rc != RAMET_OK) {
        ramet_deltas_free(deltas);
        return rc;
    }
    *out_deltas = deltas;
    return RAMET_OK;
}

void
ramet_deltas_free(struct ramet_deltas *deltas)
{
    if (deltas == NULL)
        return;
    ramet_delta_writer_free(deltas->writer);
    ramet_finder_free(deltas->finder);
    ramet_free(deltas->slots);
    ramet_free(deltas->images);
    ramet_free(deltas);
}

/* ---- the window ------------------------------------------------------------ */

static uint8_t *
image_of(const struct ramet_deltas *deltas, uint32_t slot)
{
    assert(slot <= deltas->slots_max);
    return deltas->images + (size_t)slot * deltas->page_size;
}

static uint32_t
find_slot(const struct ramet_deltas *deltas, uint32_t pgno)
{
    uint32_t low = 0, high = deltas->slot_count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;

        if (deltas->slots[middle].pgno < pgno)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low <= deltas->slot_count);
    return low;
}

static enum ramet_rc
take_image(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct ramet_deltas *const deltas = ctx;
    uint32_t slot = find_slot(deltas, pgno);

    (void)err;
    if (slot == deltas->slot_count || deltas->slots[slot].pgno != pgno)
        slot = deltas->slots_max;
    assert(deltas->slots[slot].pgno == pgno);
    memcpy(image_of(deltas, slot), page, deltas->page_size);
    deltas->slots[slot].has_image = true;
    return RAMET_OK;
}

/* The base images of some slots, as far as they are at hand: a base that can't be read
 * is no reason not to push. */
static void
gather(struct ramet_deltas *deltas, uint32_t first, uint32_t end)
{
    const struct ramet_builder *const job = deltas->job;
    const struct ramet_point at = ramet_head_point(job->base);
    uint32_t pgnos[64];

    assert(first <= end && end <= deltas->slots_max + 1);
    for (uint32_t i = first; i < end;) {
        struct slot *const slot = &deltas->slots[i];
        size_t count = 0;

        if (job->bases != NULL) {
            slot->has_image =
                ramet_bases_get(job->bases, job->session, job->remote_tail,
                                slot->pgno, image_of(deltas, i++), &slot->base);
            continue;
        }
        while (count < 64 && i < end)
            pgnos[count++] = deltas->slots[i++].pgno;
        (void)!ramet_history_read_bases(job->history, &at, pgnos, count,
                                        take_image, deltas, NULL);
    }
}

/* The slot of a page that was looked for before. */
static uint32_t
slot_again(struct ramet_deltas *deltas, uint32_t pgno)
{
    const uint32_t slot = find_slot(deltas, pgno);
    const uint32_t spare = deltas->slots_max;

    assert(pgno >= 1 && pgno <= deltas->commit->least_page_count);
    if (slot < deltas->slot_count && deltas->slots[slot].pgno == pgno)
        return slot;
    deltas->slots[spare] = (struct slot){.pgno = pgno};
    gather(deltas, spare, spare + 1);
    return spare;
}

/* The pages from `pgno` on that may have bases, as many as there is room for. */
static void
list_pages(struct ramet_deltas *deltas, uint32_t pgno)
{
    const struct ramet_pageset *const pages = deltas->job->pages;
    uint32_t last = deltas->job->base->page_count;

    assert(pgno >= 1 && deltas->slots_max > 0);
    if (last > deltas->commit->least_page_count) /* invariant (2) */
        last = deltas->commit->least_page_count;
    deltas->slot_count = 0;
    deltas->window_last = UINT32_MAX;
    for (size_t i = 0; i < pages->run_count && pages->runs[i].first <= last;
         i++) {
        const struct ramet_run run = pages->runs[i];

        if (run.last < pgno)
            continue;
        for (uint64_t p = run.first < pgno ? pgno : run.first;
             p <= run.last && p <= last; p++) {
            if (deltas->slot_count == deltas->slots_max) {
                deltas->window_last =
                    deltas->slots[deltas->slot_count - 1].pgno;
                return;
            }
            deltas->slots[deltas->slot_count++] =
                (struct slot){.pgno = (uint32_t)p};
        }
    }
}

static void
open_window(struct ramet_deltas *deltas, uint32_t pgno)
{
    assert(deltas->writer != NULL);
    list_pages(deltas, pgno);
    gather(deltas, 0, deltas->slot_count);
    deltas->next_slot = 0;
    deltas->is_indexed = false;
}

/* ---- choosing -------------------------------------------------------------- */

/* A page of a b-tree has a table of where its cells are. */
static struct ramet_delta_shape
shape_of(const struct ramet_deltas *deltas, uint32_t pgno, const uint8_t *page)
{
    struct ramet_btpage bt;

    assert(pgno >= 1);
    if (deltas->commit->kind != RAMET_KIND_SQLITE ||
        !ramet_btpage_open(&bt, page, pgno, deltas->page_size))
        return (struct ramet_delta_shape){.count = 0};
    return (struct ramet_delta_shape){.lone = ramet_btpage_content_at(&bt),
                                      .table = bt.cells_at,
                                      .count = bt.cell_count};
}

/* Try a delta of `page` over the image in a slot. */
static enum ramet_rc
try_slot(struct ramet_deltas *deltas, uint32_t slot, uint32_t pgno,
         const uint8_t *page, uint32_t most, uint32_t *out_length,
         struct ramet_err *err)
{
    const uint8_t *const base = image_of(deltas, slot);
    const struct ramet_delta_shape base_shape =
        shape_of(deltas, deltas->slots[slot].pgno, base);
    const struct ramet_delta_shape shape = shape_of(deltas, pgno, page);

    assert(deltas->slots[slot].has_image);
    return ramet_delta_writer_try(deltas->writer, base, &base_shape, page,
                                  &shape, most, out_length, err);
}

/* The finder is made where it is first asked, and has the windows from then on. */
static enum ramet_rc
index_window(struct ramet_deltas *deltas, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(deltas->slot_count <= deltas->slots_max);
    if (deltas->is_indexed || deltas->has_all)
        return RAMET_OK;
    if (deltas->finder == NULL)
        rc = ramet_finder_new(deltas->page_size,
                              (uint32_t)ramet_pageset_count(deltas->job->pages),
                              &deltas->finder, err);
    if (rc != RAMET_OK)
        return rc;
    for (uint32_t i = 0; i < deltas->slot_count; i++) {
        const struct slot *const slot = &deltas->slots[i];
        const struct ramet_delta_shape shape =
            shape_of(deltas, slot->pgno, image_of(deltas, i));

        if (slot->has_image)
            ramet_finder_add(deltas->finder, slot->pgno, image_of(deltas, i),
                             &shape);
    }
    deltas->is_indexed = true;
    return RAMET_OK;
}

/* The finder, which has the window, has the images of all other windows as well. They are
 * read for that one by one, and again as their windows come. */
static void
index_others(struct ramet_deltas *deltas)
{
    const struct ramet_pageset *const pages = deltas->job->pages;
    const uint32_t spare = deltas->slots_max;
    const uint32_t most = deltas->commit->least_page_count;
    const uint32_t last = deltas->job->base->page_count < most
                              ? deltas->job->base->page_count
                              : most;

    assert(deltas->finder != NULL && deltas->is_indexed);
    deltas->has_all = true;
    for (size_t i = 0; i < pages->run_count; i++) {
        const struct ramet_run run = pages->runs[i];

        for (uint64_t p = run.first; p <= run.last && p <= last; p++) {
            const uint32_t slot = find_slot(deltas, (uint32_t)p);
            struct ramet_delta_shape shape;

            if (slot < deltas->slot_count && deltas->slots[slot].pgno == p)
                continue;
            deltas->slots[spare] = (struct slot){.pgno = (uint32_t)p};
            gather(deltas, spare, spare + 1);
            if (!deltas->slots[spare].has_image)
                continue;
            shape = shape_of(deltas, (uint32_t)p, image_of(deltas, spare));
            ramet_finder_add(deltas->finder, (uint32_t)p,
                             image_of(deltas, spare), &shape);
        }
    }
}

/* The slot of another page's image that has much of `page`; RAMET_FINDER_NONE: none
 * has. `all`: it may be of any window. *out_is_own_worse: the page's own has much less. */
static enum ramet_rc
find_other(struct ramet_deltas *deltas, uint32_t pgno, const uint8_t *page,
           bool all, uint32_t *out_slot, bool *out_is_own_worse,
           struct ramet_err *err)
{
    const struct ramet_delta_shape shape = shape_of(deltas, pgno, page);
    const enum ramet_rc rc = index_window(deltas, err);
    uint32_t other;

    assert(deltas->finder != NULL || rc != RAMET_OK);
    *out_slot = RAMET_FINDER_NONE;
    *out_is_own_worse = false;
    if (rc != RAMET_OK)
        return rc;
    if (all && !deltas->has_all)
        index_others(deltas);
    other =
        ramet_finder_ask(deltas->finder, page, &shape, pgno, out_is_own_worse);
    if (other == RAMET_FINDER_NONE)
        return RAMET_OK;
    other = slot_again(deltas, other);
    if (deltas->slots[other].has_image)
        *out_slot = other;
    return RAMET_OK;
}

/* Invariant (1). */
static bool
is_worth_it(struct ramet_deltas *deltas, const struct choice *choice,
            uint32_t pgno, const uint8_t *page)
{
    static const struct ramet_base fresh;
    const struct ramet_base *const base =
        choice->is_own ? &deltas->slots[choice->slot].base : &fresh;
    const struct ramet_delta_shape shape = shape_of(deltas, pgno, page);
    const uint64_t spent = (uint64_t)choice->length * (base->deltas + 1);
    uint32_t image = deltas->page_size / IMAGE_PART;

    assert(choice->length == 0 || deltas->slots[choice->slot].has_image);
    if (choice->length == 0)
        return false;
    if (deltas->job->bases == NULL && choice->is_own &&
        choice->length > deltas->page_size / OLD_PART)
        return false;
    if (choice->length > deltas->page_size / SMALL_PART &&
        !ramet_delta_writer_is_less(deltas->writer, page, &shape,
                                    IMAGE_QUARTERS, &image))
        return false;
    return base->deltas == 0 || spent <= image + base->delta_bytes;
}

static enum ramet_rc
add_name(struct ramet_deltas *deltas, uint32_t pgno, struct ramet_err *err)
{
    struct ramet_commit_deltas *const out = &deltas->commit->deltas;

    assert(deltas->commit->deltas.name_count <= deltas->name_capacity);
    if (out->name_count == deltas->name_capacity) {
        const uint32_t capacity =
            deltas->name_capacity == 0 ? 16 : deltas->name_capacity * 2;
        struct ramet_delta_name *const grown =
            ramet_realloc(out->names, capacity * sizeof(*grown));

        if (grown == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory");
        out->names = grown;
        deltas->name_capacity = capacity;
    }
    out->names[out->name_count++] =
        (struct ramet_delta_name){.position = deltas->position, .pgno = pgno};
    return RAMET_OK;
}

static enum ramet_rc
write_delta(struct ramet_deltas *deltas, uint32_t pgno, const uint8_t *page,
            const struct choice *choice, struct ramet_err *err)
{
    const struct slot *const slot = &deltas->slots[choice->slot];
    enum ramet_rc rc;

    assert(choice->length != 0 && slot->has_image);
    if (deltas->job->bases != NULL)
        ramet_bases_note_delta(deltas->job->bases, pgno, page,
                               ramet_delta_writer_kept(deltas->writer),
                               choice->length,
                               choice->is_own ? &slot->base : NULL,
                               image_of(deltas, choice->slot));
    rc = ramet_delta_writer_take(deltas->writer, err);
    if (rc == RAMET_OK && !choice->is_own)
        rc = add_name(deltas, slot->pgno, err);
    if (rc == RAMET_OK &&
        ramet_pageset_add(&deltas->commit->deltas.pages, pgno) != RAMET_OK)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory");
    if (rc != RAMET_OK)
        return rc;
    deltas->position++;
    return RAMET_OK;
}

/* The image in a slot (RAMET_FINDER_NONE: none), if the delta is less than what was
 * chosen so far, or takes `most` bytes at most. */
static enum ramet_rc
try_base(struct ramet_deltas *deltas, uint32_t slot, uint32_t pgno,
         const uint8_t *page, uint32_t most, struct choice *io_best,
         struct ramet_err *err)
{
    uint32_t length = 0;
    enum ramet_rc rc;

    if (slot == RAMET_FINDER_NONE || !deltas->slots[slot].has_image)
        return RAMET_OK;
    if (io_best->length > NAME_OVERHEAD && io_best->length <= most)
        most = io_best->length - NAME_OVERHEAD;
    rc = try_slot(deltas, slot, pgno, page, most, &length, err);
    if (rc == RAMET_OK && length > 0)
        *io_best = (struct choice){.length = length,
                                   .slot = slot,
                                   .is_own = deltas->slots[slot].pgno == pgno};
    return rc;
}

/* Does a fair part of a page stand where it stood? Told by some places that are not
 * zeros. */
static bool
is_in_place(const struct ramet_deltas *deltas, uint32_t slot,
            const uint8_t *page)
{
    const uint8_t *const base = image_of(deltas, slot);
    uint32_t asked = 0, same = 0;

    assert(deltas->slots[slot].has_image);
    for (uint32_t at = PLACES_STEP / 2; at < deltas->page_size;
         at += PLACES_STEP) {
        const uint64_t word = ramet_get_le64(page + at);

        if (word == 0)
            continue;
        asked++;
        same += word == ramet_get_le64(base + at);
    }
    return same * PLACES_PART >= asked;
}

/* The page's own base, if that does at once; else what has most of it, and the own one
 * unless it has much less. */
static enum ramet_rc
try_page(struct ramet_deltas *deltas, uint32_t own, uint32_t pgno,
         const uint8_t *page, struct choice *out_choice, struct ramet_err *err)
{
    const uint32_t most = deltas->page_size, first = most / FIRST_PART;
    const bool has_own =
        own != RAMET_FINDER_NONE && deltas->slots[own].has_image;
    bool is_own_worse, was_tried;
    uint32_t other;
    enum ramet_rc rc = RAMET_OK;

    assert(own == RAMET_FINDER_NONE || deltas->slots[own].pgno == pgno);
    ramet_delta_writer_forget(deltas->writer);
    *out_choice = (struct choice){.length = 0};
    if (has_own && is_in_place(deltas, own, page))
        rc = try_base(deltas, own, pgno, page, first, out_choice, err);
    was_tried = out_choice->length > 0;
    if (rc != RAMET_OK || (was_tried && out_choice->length <= OTHER_FROM))
        return rc;
    /* What came from elsewhere may come from a page of a later window. */
    rc = find_other(deltas, pgno, page, !was_tried, &other, &is_own_worse, err);
    if (rc == RAMET_OK && !was_tried && !is_own_worse)
        rc = try_base(deltas, own, pgno, page, most, out_choice, err);
    if (rc == RAMET_OK)
        rc = try_base(deltas, other, pgno, page, most, out_choice, err);
    if (rc == RAMET_OK && out_choice->length == 0 && is_own_worse)
        rc = try_base(deltas, own, pgno, page, most, out_choice, err);
    return rc;
}

/* The page's slot; RAMET_FINDER_NONE for one that is new. */
static uint32_t
slot_of(struct ramet_deltas *deltas, uint32_t pgno)
{
    assert(deltas->next_slot <= deltas->slot_count);
    if (pgno > deltas->window_last || deltas->window_last == 0)
        open_window(deltas, pgno);
    while (deltas->next_slot < deltas->slot_count &&
           deltas->slots[deltas->next_slot].pgno < pgno)
        deltas->next_slot++;
    return deltas->next_slot < deltas->slot_count &&
                   deltas->slots[deltas->next_slot].pgno == pgno
               ? deltas->next_slot
               : RAMET_FINDER_NONE;
}

enum ramet_rc
ramet_deltas_take(struct ramet_deltas *deltas, uint32_t pgno,
                  const uint8_t *page, bool *out_taken, struct ramet_err *err)
{
    struct choice choice;
    enum ramet_rc rc = RAMET_OK;

    assert(pgno >= 1 && pgno <= deltas->commit->page_count);
    *out_taken = false;
    if (deltas->writer != NULL) {
        rc = try_page(deltas, slot_of(deltas, pgno), pgno, page, &choice, err);
        if (rc == RAMET_OK && is_worth_it(deltas, &choice, pgno, page)) {
            *out_taken = true;
            return write_delta(deltas, pgno, page, &choice, err);
        }
    }
    if (rc == RAMET_OK && deltas->job->bases != NULL)
        ramet_bases_note_image(deltas->job->bases, pgno, page);
    return rc;
}

enum ramet_rc
ramet_deltas_finish(struct ramet_deltas *deltas, uint8_t **io_inline,
                    size_t *io_inline_len, struct ramet_err *err)
{
    if (deltas->commit->deltas.pages.run_count == 0)
        return RAMET_OK;
    assert(deltas->writer != NULL);
    return ramet_delta_writer_extent(
        deltas->writer, ramet_remote_client_store(deltas->job->client),
        &deltas->job->volume, true, io_inline, io_inline_len,
        &deltas->commit->deltas.extent, err);
}
