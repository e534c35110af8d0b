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
#include "pagestore/delta.h"

#define LEVEL 1
#define BYTES_MAX (32u << 20)    /* of one commit's deltas, in memory */
#define WINDOW_BYTES (16u << 20) /* of bases */
/* A delta up to this part of a page is worth it without a look at the image. */
#define SMALL_PART 8u
/* Of a base of which no more is known the delta must be this part of a page: one
 * that is larger grew old with its base. */
#define OLD_PART 4u
/* What an image takes where it is not compressed to see. */
#define IMAGE_PART 3u
#define OTHER_FROM                                                             \
    200u /* bytes of a delta; then other pages' bases are tried */
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
    /* The window: pages to come, and their base images. */
    struct slot *slots;
    uint8_t *images;
    uint32_t slot_count, slots_max;
    uint32_t next_slot;   /* pages come in ascending order */
    uint32_t window_last; /* the last page that was looked for */
    struct ramet_finder *finder;
    bool is_indexed; /* the finder has the window's */
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

    if (deltas == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory");
    deltas->job = job;
    deltas->commit = commit;
    deltas->page_size = commit->page_size;
    deltas->slots_max = WINDOW_BYTES / commit->page_size;
    if (deltas->slots_max > pages)
        deltas->slots_max = (uint32_t)pages;
    if (deltas->slots_max > 0 && can_write(job, commit)) {
        deltas->slots = ramet_calloc(deltas->slots_max, sizeof(*deltas->slots));
        deltas->images =
            ramet_alloc((size_t)deltas->slots_max * commit->page_size);
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
    return low;
}

static enum ramet_rc
take_image(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct ramet_deltas *const deltas = ctx;
    const uint32_t slot = find_slot(deltas, pgno);

    (void)err;
    assert(slot < deltas->slot_count && deltas->slots[slot].pgno == pgno);
    memcpy(image_of(deltas, slot), page, deltas->page_size);
    deltas->slots[slot].has_image = true;
    return RAMET_OK;
}

/* A base that can't be read is no reason not to push. */
static void
gather_from_store(struct ramet_deltas *deltas)
{
    const struct ramet_point at = ramet_head_point(deltas->job->base);
    uint32_t pgnos[64];

    for (uint32_t i = 0; i < deltas->slot_count;) {
        size_t count = 0;

        while (count < 64 && i < deltas->slot_count)
            pgnos[count++] = deltas->slots[i++].pgno;
        (void)!ramet_history_read_bases(deltas->job->history, &at, pgnos, count,
                                        take_image, deltas, NULL);
    }
}

static void
gather_from_replica(struct ramet_deltas *deltas)
{
    for (uint32_t i = 0; i < deltas->slot_count; i++) {
        struct slot *const slot = &deltas->slots[i];

        slot->has_image = ramet_bases_get(
            deltas->job->bases, deltas->job->session, deltas->job->remote_tail,
            slot->pgno, image_of(deltas, i), &slot->base);
    }
}

/* The pages from `pgno` on that may have bases, as many as there is room for. */
static void
list_pages(struct ramet_deltas *deltas, uint32_t pgno)
{
    const struct ramet_pageset *const pages = deltas->job->pages;
    uint32_t last = deltas->job->base->page_count;

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
    list_pages(deltas, pgno);
    if (deltas->job->bases != NULL)
        gather_from_replica(deltas);
    else
        gather_from_store(deltas);
    deltas->next_slot = 0;
    deltas->is_indexed = false;
}

/* ---- choosing -------------------------------------------------------------- */

/* The finder is made where it is first asked. */
static enum ramet_rc
index_window(struct ramet_deltas *deltas, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    if (deltas->is_indexed)
        return RAMET_OK;
    if (deltas->finder == NULL)
        rc = ramet_finder_new(deltas->page_size, deltas->slots_max,
                              &deltas->finder, err);
    else
        ramet_finder_clear(deltas->finder);
    if (rc != RAMET_OK)
        return rc;
    for (uint32_t i = 0; i < deltas->slot_count; i++) {
        if (deltas->slots[i].has_image)
            ramet_finder_add(deltas->finder, i, image_of(deltas, i));
    }
    deltas->is_indexed = true;
    return RAMET_OK;
}

/* Another page's base, where that makes less of it. */
static enum ramet_rc
try_other(struct ramet_deltas *deltas, uint32_t own, const uint8_t *page,
          struct choice *io_best, struct ramet_err *err)
{
    const uint32_t most = io_best->length > 0 ? io_best->length - NAME_OVERHEAD
                                              : deltas->page_size;
    uint32_t other, length = 0;
    enum ramet_rc rc = index_window(deltas, err);

    if (rc != RAMET_OK)
        return rc;
    other = ramet_finder_ask(deltas->finder, page, own);
    if (other == RAMET_FINDER_NONE)
        return RAMET_OK;
    rc = ramet_delta_writer_try(deltas->writer, image_of(deltas, other), page,
                                most, &length, err);
    if (rc == RAMET_OK && length > 0)
        *io_best = (struct choice){.length = length, .slot = other};
    return rc;
}

/* Invariant (1). */
static bool
is_worth_it(struct ramet_deltas *deltas, const struct choice *choice,
            const uint8_t *page)
{
    static const struct ramet_base fresh;
    const struct ramet_base *const base =
        choice->is_own ? &deltas->slots[choice->slot].base : &fresh;
    const uint64_t spent = (uint64_t)choice->length * (base->deltas + 1);
    uint32_t image = deltas->page_size / IMAGE_PART;

    if (choice->length == 0)
        return false;
    if (deltas->job->bases == NULL && choice->is_own &&
        choice->length > deltas->page_size / OLD_PART)
        return false;
    if (choice->length > deltas->page_size / SMALL_PART)
        image = ramet_delta_writer_image_size(deltas->writer, page);
    else if (base->deltas == 0)
        return true;
    return choice->length < image && spent <= image + base->delta_bytes;
}

static enum ramet_rc
add_name(struct ramet_deltas *deltas, uint32_t pgno, struct ramet_err *err)
{
    struct ramet_commit_deltas *const out = &deltas->commit->deltas;

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
    enum ramet_rc rc = ramet_delta_writer_take(deltas->writer, err);

    if (rc == RAMET_OK && !choice->is_own)
        rc = add_name(deltas, slot->pgno, err);
    if (rc == RAMET_OK &&
        ramet_pageset_add(&deltas->commit->deltas.pages, pgno) != RAMET_OK)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "push: no memory");
    if (rc != RAMET_OK)
        return rc;
    deltas->position++;
    if (deltas->job->bases != NULL)
        ramet_bases_note_delta(deltas->job->bases, pgno, page, choice->length,
                               choice->is_own ? &slot->base : NULL,
                               image_of(deltas, choice->slot));
    return RAMET_OK;
}

static enum ramet_rc
try_page(struct ramet_deltas *deltas, uint32_t own, const uint8_t *page,
         struct choice *out_choice, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    ramet_delta_writer_forget(deltas->writer);
    *out_choice = (struct choice){.slot = own, .is_own = true};
    if (deltas->slots[own].has_image)
        rc =
            ramet_delta_writer_try(deltas->writer, image_of(deltas, own), page,
                                   deltas->page_size, &out_choice->length, err);
    if (rc == RAMET_OK &&
        (out_choice->length == 0 || out_choice->length > OTHER_FROM))
        rc = try_other(deltas, own, page, out_choice, err);
    return rc;
}

enum ramet_rc
ramet_deltas_take(struct ramet_deltas *deltas, uint32_t pgno,
                  const uint8_t *page, bool *out_taken, struct ramet_err *err)
{
    struct choice choice;
    enum ramet_rc rc = RAMET_OK;

    *out_taken = false;
    if (deltas->writer != NULL) {
        if (pgno > deltas->window_last || deltas->window_last == 0)
            open_window(deltas, pgno);
        while (deltas->next_slot < deltas->slot_count &&
               deltas->slots[deltas->next_slot].pgno < pgno)
            deltas->next_slot++;
        if (deltas->next_slot < deltas->slot_count &&
            deltas->slots[deltas->next_slot].pgno == pgno) {
            rc = try_page(deltas, deltas->next_slot, page, &choice, err);
            if (rc == RAMET_OK && is_worth_it(deltas, &choice, page)) {
                *out_taken = true;
                return write_delta(deltas, pgno, page, &choice, err);
            }
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
    return ramet_delta_writer_extent(
        deltas->writer, ramet_remote_client_store(deltas->job->client),
        &deltas->job->volume, true, io_inline, io_inline_len,
        &deltas->commit->deltas.extent, err);
}
