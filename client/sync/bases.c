/*
 * bases.c - see bases.h.
 *
 * Layer: client.
 */
#include "client/sync/bases.h"

#include <assert.h>

#include "client/store/exchange.h"
#include "client/store/keep.h"
#include "client/sync/bases_file.h"
#include "core/alloc.h"
#include "core/hash.h"
#include "pagestore/frame.h"
#include "pagestore/pack.h"

#define NEAR_COMMITS 4096u /* what others did is asked for as far as this */
/* An image is packed over its page's newest version where that leaves this part
 * of it at most. */
#define BACK_PART 2u

struct ramet_bases {
    struct ramet_bases_file file;
    struct ramet_packer *packer;
    uint8_t *packed; /* a packed page */
    uint8_t *page;   /* what it is packed over */
    bool is_usable;  /* file.at is the commit that is being built on */
};

enum ramet_rc
ramet_bases_new(const struct ramet_os *os, struct ramet_replica *replica,
                struct ramet_bases **out_bases, struct ramet_err *err)
{
    struct ramet_bases *const bases = ramet_calloc(1, sizeof(*bases));
    enum ramet_rc rc;

    assert(replica != NULL);
    if (bases == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for bases");
    ramet_bases_file_init(&bases->file, os, replica);
    rc = ramet_packer_new(&bases->packer, err);
    if (rc == RAMET_OK) {
        bases->packed = ramet_alloc(RAMET_BASES_PACKED_MAX);
        bases->page = ramet_alloc(RAMET_PAGE_SIZE_MAX);
        if (bases->packed == NULL || bases->page == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "no memory for bases");
    }
    if (rc != RAMET_OK) {
        ramet_bases_free(bases);
        return rc;
    }
    *out_bases = bases;
    return RAMET_OK;
}

void
ramet_bases_free(struct ramet_bases *bases)
{
    if (bases == NULL)
        return;
    ramet_bases_file_done(&bases->file);
    ramet_packer_free(bases->packer);
    ramet_free(bases->packed);
    ramet_free(bases->page);
    ramet_free(bases);
}

uint64_t
ramet_bases_size(struct ramet_replica *replica)
{
    uint64_t size = 0;

    return ramet_keep_size(replica, RAMET_BASES_NAME, &size, NULL) == RAMET_OK
               ? size
               : 0;
}

/* ---- begin ----------------------------------------------------------------- */

/* Move on to `base`, of whose line the file's commit is: what changed since is
 * not known. */
static enum ramet_rc
catch_up(struct ramet_bases_file *file, struct ramet_history *history,
         const struct ramet_head *base)
{
    const struct ramet_point to = ramet_head_point(base);
    struct ramet_pageset changed;
    enum ramet_rc rc;

    assert(file->fd >= 0 && file->at.lsn > 0); /* invariant (1) */
    if (file->at.lsn >= to.lsn || to.lsn - file->at.lsn > NEAR_COMMITS)
        return RAMET_EWENTBACK;
    ramet_pageset_init(&changed);
    rc = ramet_history_changed(history, &file->at, &to, &changed, NULL);
    if (rc == RAMET_OK) {
        ramet_bases_file_begin(file);
        for (size_t i = 0; i < changed.run_count; i++) {
            const struct ramet_run run = changed.runs[i];
            const struct ramet_base_note gone = {.kind = RAMET_BASE_NOTE_FORGET,
                                                 .pgno = run.first,
                                                 .count =
                                                     run.last - run.first + 1};

            ramet_bases_step_note(&file->step, &gone);
        }
        rc = ramet_bases_file_end(file, &file->at, &to, base->page_count);
    }
    ramet_pageset_done(&changed);
    return rc;
}

/* Stand on `base`, whatever has to be forgotten for that. */
static enum ramet_rc
stand_on(struct ramet_bases_file *file, struct ramet_history *history,
         const struct ramet_vid *volume, const struct ramet_head *base,
         uint32_t page_size)
{
    static const struct ramet_point none = {.lsn = 0};
    const struct ramet_point to = ramet_head_point(base);
    enum ramet_rc rc = RAMET_OK;

    assert(file->fd >= 0 && page_size != 0);
    if (ramet_point_equal(&file->at, &to))
        return RAMET_OK;
    if (file->at.lsn > 0)
        rc = base->page_size == page_size ? catch_up(file, history, base)
                                          : RAMET_EWENTBACK;
    if (file->at.lsn > 0 && rc != RAMET_EWENTBACK)
        return rc;
    rc = ramet_bases_file_forget(file, volume, page_size);
    if (rc == RAMET_OK && to.lsn > 0) {
        ramet_bases_file_begin(file);
        rc = ramet_bases_file_end(file, &none, &to, base->page_count);
    }
    return rc;
}

void
ramet_bases_begin(struct ramet_bases *bases, const struct ramet_vid *volume,
                  struct ramet_history *history, const struct ramet_head *base,
                  uint32_t page_size, uint64_t bytes_max)
{
    enum ramet_rc rc;

    assert(bases->file.fd < 0);
    rc = ramet_bases_file_open(&bases->file, volume, page_size, bytes_max);
    if (rc == RAMET_OK)
        rc = stand_on(&bases->file, history, volume, base, page_size);
    bases->is_usable = rc == RAMET_OK;
    if (rc == RAMET_OK)
        ramet_bases_file_begin(&bases->file);
    else
        ramet_bases_end(bases);
}

void
ramet_bases_end(struct ramet_bases *bases)
{
    ramet_bases_file_close(&bases->file);
    assert(bases->file.fd == -1);
    bases->is_usable = false;
}

/* ---- one page -------------------------------------------------------------- */

static uint32_t
page_size_of(const struct ramet_bases *bases)
{
    return bases->file.header.page_size;
}

static bool
get_packed(struct ramet_bases *bases, struct ramet_session *session,
           struct ramet_pos remote_tail, const struct ramet_base_packed *packed,
           uint8_t *out_image)
{
    const uint32_t page_size = page_size_of(bases);
    const uint8_t *over = NULL;

    assert(bases->is_usable && ramet_base_note_has_page(packed->kind));
    if (packed->kind == RAMET_BASE_NOTE_BACK) {
        if (!ramet_session_read_before(session, remote_tail, packed->pgno,
                                       bases->page))
            return false;
        over = bases->page;
    }
    return packed->length <= RAMET_BASES_PACKED_MAX &&
           ramet_bases_file_read(&bases->file, bases->packed, packed->length,
                                 packed->offset) == RAMET_OK &&
           ramet_unpack(bases->packer, over, bases->packed, packed->length,
                        packed->sum, out_image, page_size);
}

bool
ramet_bases_get(struct ramet_bases *bases, struct ramet_session *session,
                struct ramet_pos remote_tail, uint32_t pgno, uint8_t *out_image,
                struct ramet_base *out_base)
{
    const struct ramet_base_packed *packed;
    uint64_t sum;

    assert(pgno >= 1);
    if (!bases->is_usable || bases->file.at.lsn == 0)
        return false;
    *out_base = (struct ramet_base){.deltas = 0};
    ramet_bases_file_need(&bases->file, pgno);
    if (ramet_base_table_image(&bases->file.table, pgno, &sum)) {
        if (!ramet_session_read_before(session, remote_tail, pgno, out_image))
            return false;
        out_base->sum = ramet_hash64(out_image, page_size_of(bases));
        return ramet_base_sum_is(sum, out_base->sum);
    }
    packed = ramet_base_table_packed(&bases->file.table, pgno);
    if (packed == NULL ||
        !get_packed(bases, session, remote_tail, packed, out_image))
        return false;
    *out_base =
        (struct ramet_base){.stays = packed->kind == RAMET_BASE_NOTE_PACKED,
                            .deltas = packed->deltas,
                            .delta_bytes = packed->delta_bytes,
                            .sum = packed->sum};
    return true;
}

void
ramet_bases_note_image(struct ramet_bases *bases, uint32_t pgno,
                       const uint8_t *page)
{
    const bool is_on = bases->file.step.is_on;
    const struct ramet_base_note image = {
        .kind = RAMET_BASE_NOTE_IMAGE,
        .pgno = pgno,
        .count = 1,
        .sum = is_on ? ramet_hash64(page, page_size_of(bases)) : 0};

    assert(pgno >= 1);
    ramet_bases_step_note(&bases->file.step, &image);
}

/* Pack the image over the page that it is the base of, or alone; *io_note tells
 * which. What a page lost is in the way back, and not what it gained. False: without
 * room, or memory. */
static bool
pack_image(struct ramet_bases *bases, const uint8_t *image, const uint8_t *page,
           const struct ramet_delta *made, struct ramet_base_note *io_note)
{
    const uint32_t page_size = page_size_of(bases);
    const uint32_t most = page_size / BACK_PART;
    struct ramet_bases_step *const step = &bases->file.step;

    assert(bases->file.step.is_on);
    if (step->packed_length > bases->file.bytes_max / 8 * 3)
        return false;
    ramet_bases_step_at(step, io_note->pgno);
    io_note->kind = RAMET_BASE_NOTE_BACK;
    if (ramet_pack_back(bases->packer, made, image, page, page_size, most,
                        &step->body, &io_note->length, NULL) != RAMET_OK)
        return false;
    if (io_note->length > 0)
        return true;
    io_note->kind = RAMET_BASE_NOTE_PACKED;
    return ramet_pack(bases->packer, image, page_size, &step->body,
                      &io_note->length, NULL) == RAMET_OK;
}

void
ramet_bases_note_delta(struct ramet_bases *bases, uint32_t pgno,
                       const uint8_t *page, const struct ramet_delta *made,
                       uint32_t length, const struct ramet_base *own,
                       const uint8_t *image)
{
    struct ramet_base_note delta = {.kind = RAMET_BASE_NOTE_DELTA,
                                    .pgno = pgno,
                                    .count = 1,
                                    .deltas = 1,
                                    .delta_bytes = length,
                                    .sum = own != NULL ? own->sum : 0};

    assert(pgno >= 1 && length >= 1 && image != NULL);
    if (!bases->file.step.is_on || pgno > RAMET_BASES_PAGES_MAX)
        return;
    if (own == NULL || !own->stays) {
        if (own != NULL) {
            delta.deltas += own->deltas;
            delta.delta_bytes += own->delta_bytes;
        } else {
            delta.sum = ramet_hash64(image, page_size_of(bases));
        }
        if (!pack_image(bases, image, page, made, &delta))
            delta.kind = RAMET_BASE_NOTE_FORGET;
    }
    ramet_bases_step_note(&bases->file.step, &delta);
}

void
ramet_bases_landed(struct ramet_bases *bases, const struct ramet_point *point,
                   uint32_t least_page_count)
{
    assert(!bases->file.step.is_on || bases->is_usable); /* invariant (2) */
    if (bases->file.step.is_on)
        (void)!ramet_bases_file_end(&bases->file, &bases->file.at, point,
                                    least_page_count);
}
