/*
 * bases.c - see bases.h.
 *
 * The file is a chain of records, each from one commit to the next that is known.
 * What is not as it was written ends the chain: what follows is overwritten. It is
 * never synced: a record is believed by its checksum, a packed page by that of the
 * image.
 *
 * Layer: client.
 */
#include "client/sync/bases.h"

#include <assert.h>
#include <stdlib.h>

#include "client/store/exchange.h"
#include "client/store/keep.h"
#include "client/sync/bases_format.h"
#include "client/sync/bases_table.h"
#include "core/alloc.h"
#include "core/hash.h"
#include "core/log.h"
#include "pagestore/frame.h"
#include "pagestore/pack.h"

#define TEMPORARY_NAME RAMET_BASES_NAME ".tmp"
#define FLUSH_BYTES (1u << 20)
#define WINDOW_BYTES (64u << 10)
#define RECORDS_MAX 4096u  /* then they become one */
#define NEAR_COMMITS 4096u /* what others did is asked for as far as this */

/* A record that is being written. */
struct step {
    bool is_on;
    uint64_t offset;       /* of the record */
    uint64_t pages_length; /* written, or in `pages` */
    struct ramet_buf pages;
    struct ramet_buf notes;
    uint32_t last; /* page noted last */
};

struct ramet_bases {
    const struct ramet_os *os;
    struct ramet_replica *replica;
    uint64_t bytes_max;
    struct ramet_packer *packer;
    uint8_t *raw; /* a packed page */
    int fd;       /* -1: not between begin and end */
    /* What was read, up to `end`; kept as long as the file is that one. */
    struct ramet_bases_header header;
    uint64_t end; /* of the last record; 0: nothing was */
    uint64_t record_count;
    struct ramet_point at; /* invariant (1); lsn 0: of none */
    struct ramet_base_table table;
    bool is_usable; /* `at` is the commit that is being built on */
    struct step step;
};

enum ramet_rc
ramet_bases_new(const struct ramet_os *os, struct ramet_replica *replica,
                struct ramet_bases **out_bases, struct ramet_err *err)
{
    struct ramet_bases *const bases = ramet_calloc(1, sizeof(*bases));
    enum ramet_rc rc;

    if (bases == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for bases");
    bases->os = os;
    bases->replica = replica;
    bases->fd = -1;
    ramet_base_table_init(&bases->table);
    ramet_buf_init(&bases->step.pages, FLUSH_BYTES + 2 * RAMET_PAGE_SIZE_MAX);
    ramet_buf_init(&bases->step.notes, RAMET_BASES_NOTES_MAX);
    rc = ramet_packer_new(&bases->packer, err);
    if (rc == RAMET_OK) {
        bases->raw = ramet_alloc(2 * RAMET_PAGE_SIZE_MAX);
        if (bases->raw == NULL)
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
    assert(bases->fd < 0);
    ramet_base_table_clear(&bases->table);
    ramet_buf_done(&bases->step.pages);
    ramet_buf_done(&bases->step.notes);
    ramet_packer_free(bases->packer);
    ramet_free(bases->raw);
    ramet_free(bases);
}

/* ---- the file -------------------------------------------------------------- */

static enum ramet_rc
read_at(const struct ramet_bases *bases, void *buf, size_t len, uint64_t offset)
{
    return ramet_os_read_full(bases->os, bases->fd, buf, len, offset,
                              RAMET_BASES_NAME, NULL);
}

/* The file as it is gone through: records are small and many. */
struct window {
    uint64_t offset;
    size_t len;
    uint8_t bytes[WINDOW_BYTES];
};

static enum ramet_rc
read_by(const struct ramet_bases *bases, struct window *window, void *buf,
        size_t len, uint64_t offset)
{
    enum ramet_rc rc;

    if (len > sizeof(window->bytes))
        return read_at(bases, buf, len, offset);
    if (offset < window->offset ||
        offset + len > window->offset + window->len) {
        window->offset = offset;
        rc = ramet_os_read_some(bases->os, bases->fd, window->bytes,
                                sizeof(window->bytes), offset, &window->len,
                                RAMET_BASES_NAME, NULL);
        if (rc != RAMET_OK || window->len < len) {
            window->len = 0;
            return RAMET_EIO;
        }
    }
    memcpy(buf, window->bytes + (offset - window->offset), len);
    return RAMET_OK;
}

static enum ramet_rc
write_at(const struct ramet_bases *bases, const void *buf, size_t len,
         uint64_t offset)
{
    return ramet_os_write_full(bases->os, bases->fd, buf, len, offset,
                               RAMET_BASES_NAME, NULL);
}

static void
forget_all(struct ramet_bases *bases)
{
    ramet_base_table_clear(&bases->table);
    bases->at = (struct ramet_point){.lsn = 0};
    bases->end = 0;
    bases->record_count = 0;
    bases->is_usable = false;
}

/* An empty file with a salt of its own. */
static enum ramet_rc
write_header(struct ramet_bases *bases, const struct ramet_vid *volume,
             uint32_t page_size)
{
    const struct ramet_os *const os = bases->os;
    uint8_t raw[RAMET_BASES_HEADER_SIZE];
    enum ramet_rc rc;

    bases->header =
        (struct ramet_bases_header){.page_size = page_size, .volume = *volume};
    if (os->random(os->ctx, &bases->header.salt, sizeof(bases->header.salt)) <
            0 ||
        os->truncate(os->ctx, bases->fd, 0) < 0)
        return RAMET_EIO;
    ramet_bases_header_encode(&bases->header, raw);
    rc = write_at(bases, raw, sizeof(raw), 0);
    bases->end = rc == RAMET_OK ? sizeof(raw) : 0;
    return rc;
}

/* What a record says, into the table. */
static enum ramet_rc
apply(struct ramet_bases *bases, const struct ramet_bases_record *record,
      const uint8_t *notes, uint64_t offset)
{
    const uint64_t pages_end = offset + record->pages_length;
    struct ramet_base_note note;
    struct ramet_reader in;
    uint32_t last = 0;

    if (record->least_page_count < UINT32_MAX)
        ramet_base_table_forget(&bases->table, record->least_page_count + 1,
                                UINT32_MAX);
    ramet_reader_init(&in, notes, record->notes_length);
    while (ramet_bases_note_decode(&in, &last, &note)) {
        if (note.kind == RAMET_BASE_NOTE_PACKED &&
            note.length > pages_end - offset)
            return RAMET_ECORRUPT;
        if (ramet_base_table_note(&bases->table, &note, offset) != RAMET_OK)
            return RAMET_ENOMEM;
        if (note.kind == RAMET_BASE_NOTE_PACKED)
            offset += note.length;
    }
    if (in.bad)
        return RAMET_ECORRUPT;
    bases->at = record->after;
    bases->record_count++;
    return RAMET_OK;
}

/* The record at `bases->end`, if there is a right one. */
static bool
load_record(struct ramet_bases *bases, struct window *window, uint64_t size)
{
    const uint64_t left = size - bases->end;
    uint8_t head[RAMET_BASES_RECORD_SIZE];
    struct ramet_bases_record record;
    uint8_t *notes;
    uint64_t pages_at;
    bool right;

    if (left < sizeof(head) ||
        read_by(bases, window, head, sizeof(head), bases->end) != RAMET_OK)
        return false;
    ramet_bases_record_decode(head, &record);
    if (record.notes_length > RAMET_BASES_NOTES_MAX ||
        record.pages_length > left - sizeof(head) ||
        record.notes_length > left - sizeof(head) - record.pages_length ||
        !ramet_point_equal(&record.before, &bases->at))
        return false;
    notes = ramet_alloc(record.notes_length + 1);
    pages_at = bases->end + sizeof(head);
    right = notes != NULL &&
            read_by(bases, window, notes, record.notes_length,
                    pages_at + record.pages_length) == RAMET_OK &&
            ramet_bases_record_is_right(head, notes, record.notes_length,
                                        bases->header.salt, bases->end);
    if (right && apply(bases, &record, notes, pages_at) != RAMET_OK) {
        forget_all(bases); /* it may be there in part */
        right = false;
    }
    ramet_free(notes);
    if (right)
        bases->end = pages_at + record.pages_length + record.notes_length;
    return right;
}

/* Bring the table to what the file has. A file that is none, of another volume
 * or of pages of another size, becomes a new one. */
static enum ramet_rc
load(struct ramet_bases *bases, const struct ramet_vid *volume,
     uint32_t page_size)
{
    const struct ramet_os *const os = bases->os;
    uint8_t raw[RAMET_BASES_HEADER_SIZE];
    struct ramet_bases_header header;
    struct window *window;
    struct ramet_os_stat st;

    if (os->stat(os->ctx, bases->fd, &st) < 0)
        return RAMET_EIO;
    if (st.size_bytes < sizeof(raw) ||
        read_at(bases, raw, sizeof(raw), 0) != RAMET_OK ||
        !ramet_bases_header_decode(raw, &header) ||
        header.page_size != page_size ||
        ramet_id_compare(&header.volume.id, &volume->id) != 0) {
        forget_all(bases);
        return write_header(bases, volume, page_size);
    }
    if (bases->end == st.size_bytes && bases->header.salt == header.salt)
        return RAMET_OK; /* nobody else was at it */
    forget_all(bases);
    window = ramet_alloc(sizeof(*window));
    if (window == NULL)
        return RAMET_ENOMEM;
    window->offset = window->len = 0;
    bases->header = header;
    bases->end = sizeof(raw);
    while (load_record(bases, window, st.size_bytes))
        ;
    ramet_free(window);
    return bases->end > 0 ? RAMET_OK : RAMET_ENOMEM;
}

/* ---- a record -------------------------------------------------------------- */

static void
begin_step(struct ramet_bases *bases)
{
    struct step *const step = &bases->step;

    ramet_buf_clear(&step->pages);
    ramet_buf_clear(&step->notes);
    step->is_on = true;
    step->offset = bases->end;
    step->pages_length = 0;
    step->last = 0;
}

static void
note(struct ramet_bases *bases, const struct ramet_base_note *note)
{
    struct step *const step = &bases->step;

    if (!step->is_on)
        return;
    ramet_bases_note_encode(note, &step->last, &step->notes);
    if (step->notes.failed != RAMET_OK)
        step->is_on = false; /* invariant (4) */
}

/* Packed pages that wait go to their place behind the record's head. */
static void
flush_pages(struct ramet_bases *bases)
{
    struct step *const step = &bases->step;
    const uint64_t at = step->offset + RAMET_BASES_RECORD_SIZE +
                        step->pages_length - step->pages.len;

    if (step->is_on && step->pages.len > 0 &&
        write_at(bases, step->pages.data, step->pages.len, at) != RAMET_OK)
        step->is_on = false;
    ramet_buf_clear(&step->pages);
}

static void
add_packed(struct ramet_bases *bases, struct ramet_base_note *packed,
           const uint8_t *image)
{
    struct step *const step = &bases->step;

    if (!step->is_on)
        return;
    if (ramet_pack(bases->packer, image, bases->header.page_size, &step->pages,
                   &packed->length, NULL) != RAMET_OK) {
        step->is_on = false;
        return;
    }
    step->pages_length += packed->length;
    note(bases, packed);
    if (step->pages.len >= FLUSH_BYTES)
        flush_pages(bases);
}

/* The record is whole, and true from now on. */
static enum ramet_rc
end_step(struct ramet_bases *bases, const struct ramet_point *before,
         const struct ramet_point *after, uint32_t least_page_count)
{
    struct step *const step = &bases->step;
    const struct ramet_bases_record record = {
        .notes_length = (uint32_t)step->notes.len,
        .pages_length = step->pages_length,
        .least_page_count = least_page_count,
        .before = *before,
        .after = *after,
    };
    const uint64_t pages_at = step->offset + RAMET_BASES_RECORD_SIZE;
    uint8_t head[RAMET_BASES_RECORD_SIZE];
    enum ramet_rc rc = RAMET_EIO;

    flush_pages(bases);
    if (step->is_on)
        rc = write_at(bases, step->notes.data, step->notes.len,
                      pages_at + step->pages_length);
    step->is_on = false;
    if (rc == RAMET_OK) {
        /* What may lie behind is of a record that never came to be. */
        if (bases->os->truncate(bases->os->ctx, bases->fd,
                                pages_at + step->pages_length +
                                    step->notes.len) < 0)
            rc = RAMET_EIO;
    }
    if (rc == RAMET_OK) {
        ramet_bases_record_encode(&record, step->notes.data, bases->header.salt,
                                  step->offset, head);
        rc = write_at(bases, head, sizeof(head), step->offset);
    }
    if (rc == RAMET_OK)
        rc = apply(bases, &record, step->notes.data, pages_at);
    if (rc != RAMET_OK) {
        forget_all(bases); /* as the file has it, at the next begin */
        return rc;
    }
    bases->end = pages_at + step->pages_length + step->notes.len;
    return RAMET_OK;
}

/* ---- making room ----------------------------------------------------------- */

static int
compare_offsets(const void *left, const void *right)
{
    const struct ramet_base_packed *const a = left;
    const struct ramet_base_packed *const b = right;

    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* The offset from which on packed pages stay, so that half the bound is left. */
static uint64_t
oldest_kept(const struct ramet_bases *bases)
{
    const struct ramet_base_table *const table = &bases->table;
    struct ramet_base_packed *sorted;
    uint64_t bytes = 0, from = 0;

    if (table->packed_bytes <= bases->bytes_max / 2)
        return 0;
    sorted = ramet_calloc(table->packed_count, sizeof(*sorted));
    if (sorted == NULL)
        return UINT64_MAX;
    memcpy(sorted, table->packed, table->packed_count * sizeof(*sorted));
    qsort(sorted, table->packed_count, sizeof(*sorted), compare_offsets);
    for (uint32_t i = table->packed_count; i > 0; i--) {
        bytes += sorted[i - 1].length;
        if (bytes > bases->bytes_max / 2) {
            from = sorted[i - 1].offset + 1;
            break;
        }
    }
    ramet_free(sorted);
    return from;
}

/* All that stays, as one record of another file, read from `from`. */
static void
copy_known(struct ramet_bases *bases, int from, uint64_t oldest)
{
    const struct ramet_base_table *const table = &bases->table;
    struct step *const step = &bases->step;

    for (uint32_t p = 0;
         step->is_on && (p = ramet_base_table_next(table, p)) != 0;) {
        const struct ramet_base_packed *const packed =
            ramet_base_table_packed(table, p);
        struct ramet_base_note copy = {
            .kind = RAMET_BASE_NOTE_IMAGE, .pgno = p, .count = 1};
        uint8_t *room;

        if (packed == NULL) {
            (void)ramet_base_table_image(table, p, &copy.sum);
            note(bases, &copy);
            continue;
        }
        if (packed->offset < oldest)
            continue;
        room = ramet_buf_extend(&step->pages, packed->length);
        if (room == NULL ||
            ramet_os_read_full(bases->os, from, room, packed->length,
                               packed->offset, RAMET_BASES_NAME,
                               NULL) != RAMET_OK) {
            step->is_on = false;
            return;
        }
        copy.kind = RAMET_BASE_NOTE_PACKED;
        copy.sum = packed->sum;
        copy.length = packed->length;
        copy.deltas = packed->deltas;
        copy.delta_bytes = packed->delta_bytes;
        step->pages_length += packed->length;
        note(bases, &copy);
        if (step->pages.len >= FLUSH_BYTES)
            flush_pages(bases);
    }
}

/* A new file with what is known, without what is old. */
static enum ramet_rc
rewrite(struct ramet_bases *bases)
{
    static const struct ramet_point none = {.lsn = 0};
    const struct ramet_os *const os = bases->os;
    const uint64_t oldest = oldest_kept(bases);
    const struct ramet_point at = bases->at;
    const struct ramet_bases_header header = bases->header;
    const int before = bases->fd;
    enum ramet_rc rc =
        ramet_keep_open(bases->replica, TEMPORARY_NAME, true, &bases->fd, NULL);

    if (rc != RAMET_OK) {
        bases->fd = before;
        return rc;
    }
    rc = write_header(bases, &header.volume, header.page_size);
    if (rc == RAMET_OK) {
        begin_step(bases);
        copy_known(bases, before, oldest);
        ramet_base_table_clear(&bases->table);
        bases->record_count = 0;
        rc = end_step(bases, &none, &at, UINT32_MAX);
    }
    if (rc == RAMET_OK)
        rc = ramet_keep_rename(bases->replica, TEMPORARY_NAME, RAMET_BASES_NAME,
                               NULL);
    os->close(os->ctx, before);
    if (rc != RAMET_OK)
        forget_all(bases);
    return rc;
}

static bool
is_full(const struct ramet_bases *bases)
{
    return bases->end > bases->bytes_max / 4 * 3 ||
           bases->record_count > RECORDS_MAX;
}

/* ---- begin ----------------------------------------------------------------- */

/* Move on to `base`, of whose line `at` is: what changed since is not known. */
static enum ramet_rc
catch_up(struct ramet_bases *bases, struct ramet_history *history,
         const struct ramet_head *base)
{
    const struct ramet_point to = ramet_head_point(base);
    struct ramet_pageset changed;
    enum ramet_rc rc;

    if (bases->at.lsn >= to.lsn || to.lsn - bases->at.lsn > NEAR_COMMITS)
        return RAMET_EWENTBACK;
    ramet_pageset_init(&changed);
    rc = ramet_history_changed(history, &bases->at, &to, &changed, NULL);
    if (rc == RAMET_OK) {
        begin_step(bases);
        for (size_t i = 0; i < changed.run_count; i++) {
            const struct ramet_base_note gone = {
                .kind = RAMET_BASE_NOTE_FORGET,
                .pgno = changed.runs[i].first,
                .count = changed.runs[i].last - changed.runs[i].first + 1};

            note(bases, &gone);
        }
        rc = end_step(bases, &bases->at, &to, base->page_count);
    }
    ramet_pageset_done(&changed);
    return rc;
}

/* Stand on `base`, whatever has to be forgotten for that. */
static enum ramet_rc
stand_on(struct ramet_bases *bases, struct ramet_history *history,
         const struct ramet_vid *volume, const struct ramet_head *base,
         uint32_t page_size)
{
    const struct ramet_point to = ramet_head_point(base);
    enum ramet_rc rc = load(bases, volume, page_size);

    if (rc == RAMET_OK && is_full(bases))
        rc = rewrite(bases);
    if (rc != RAMET_OK || ramet_point_equal(&bases->at, &to))
        return rc;
    if (bases->at.lsn > 0)
        rc = base->page_size == page_size ? catch_up(bases, history, base)
                                          : RAMET_EWENTBACK;
    if (bases->at.lsn == 0 || rc == RAMET_EWENTBACK) {
        static const struct ramet_point none = {.lsn = 0};

        forget_all(bases);
        rc = write_header(bases, volume, page_size);
        if (rc == RAMET_OK && to.lsn > 0) {
            begin_step(bases);
            rc = end_step(bases, &none, &to, base->page_count);
        }
    }
    return rc;
}

void
ramet_bases_begin(struct ramet_bases *bases, const struct ramet_vid *volume,
                  struct ramet_history *history, const struct ramet_head *base,
                  uint32_t page_size, uint64_t bytes_max)
{
    enum ramet_rc rc;

    assert(bases->fd < 0);
    bases->is_usable = false;
    bases->bytes_max = bytes_max;
    rc = ramet_keep_open(bases->replica, RAMET_BASES_NAME, false, &bases->fd,
                         NULL);
    if (rc == RAMET_OK)
        rc = stand_on(bases, history, volume, base, page_size);
    if (rc != RAMET_OK) {
        ramet_bases_end(bases);
        return;
    }
    bases->is_usable = true;
    begin_step(bases);
}

void
ramet_bases_end(struct ramet_bases *bases)
{
    if (bases->fd >= 0)
        bases->os->close(bases->os->ctx, bases->fd);
    bases->fd = -1;
    bases->is_usable = false;
    bases->step.is_on = false;
}

/* ---- one page -------------------------------------------------------------- */

static bool
get_packed(struct ramet_bases *bases, const struct ramet_base_packed *packed,
           uint8_t *out_image)
{
    const uint32_t page_size = bases->header.page_size;

    return packed->length <= 2 * RAMET_PAGE_SIZE_MAX &&
           read_at(bases, bases->raw, packed->length, packed->offset) ==
               RAMET_OK &&
           ramet_unpack(bases->packer, bases->raw, packed->length, out_image,
                        page_size) &&
           ramet_hash64(out_image, page_size) == packed->sum;
}

bool
ramet_bases_get(struct ramet_bases *bases, struct ramet_session *session,
                struct ramet_pos remote_tail, uint32_t pgno, uint8_t *out_image,
                struct ramet_base *out_base)
{
    const struct ramet_base_packed *packed;
    uint64_t sum;

    if (!bases->is_usable || bases->at.lsn == 0)
        return false;
    *out_base = (struct ramet_base){.is_packed = false};
    if (ramet_base_table_image(&bases->table, pgno, &sum))
        return ramet_session_read_before(session, remote_tail, pgno,
                                         out_image) &&
               ramet_base_sum_is(
                   sum, ramet_hash64(out_image, bases->header.page_size));
    packed = ramet_base_table_packed(&bases->table, pgno);
    if (packed == NULL || !get_packed(bases, packed, out_image))
        return false;
    *out_base = (struct ramet_base){.is_packed = true,
                                    .deltas = packed->deltas,
                                    .delta_bytes = packed->delta_bytes,
                                    .size = packed->length};
    return true;
}

void
ramet_bases_note_image(struct ramet_bases *bases, uint32_t pgno,
                       const uint8_t *page)
{
    const struct ramet_base_note image = {
        .kind = RAMET_BASE_NOTE_IMAGE,
        .pgno = pgno,
        .count = 1,
        .sum = bases->step.is_on ? ramet_hash64(page, bases->header.page_size)
                                 : 0};

    note(bases, &image);
}

void
ramet_bases_note_delta(struct ramet_bases *bases, uint32_t pgno,
                       uint32_t length, const struct ramet_base *base,
                       bool is_own, const uint8_t *image)
{
    struct ramet_base_note delta = {.kind = RAMET_BASE_NOTE_DELTA,
                                    .pgno = pgno,
                                    .count = 1,
                                    .deltas = 1,
                                    .delta_bytes = length};

    if (is_own && base->is_packed) {
        note(bases, &delta);
        return;
    }
    if (bases->step.pages_length > bases->bytes_max / 4) {
        delta.kind = RAMET_BASE_NOTE_FORGET;
        note(bases, &delta);
        return;
    }
    delta.kind = RAMET_BASE_NOTE_PACKED;
    delta.sum = ramet_hash64(image, bases->header.page_size);
    add_packed(bases, &delta, image);
}

void
ramet_bases_landed(struct ramet_bases *bases, const struct ramet_point *point,
                   uint32_t least_page_count)
{
    if (bases->fd < 0 || !bases->step.is_on)
        return;
    (void)end_step(bases, &bases->at, point, least_page_count);
}
