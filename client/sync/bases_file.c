/*
 * bases_file.c - see bases_file.h.
 *
 * Layer: client.
 */
#include "client/sync/bases_file.h"

#include <assert.h>
#include <stdlib.h>

#include "client/store/keep.h"
#include "core/alloc.h"
#include "pagestore/frame.h"

#define TEMPORARY_NAME RAMET_BASES_NAME ".tmp"
#define FLUSH_BYTES (1u << 20)
#define WINDOW_BYTES (64u << 10)
#define RECORDS_MAX 4096u /* then they become one */

void
ramet_bases_file_init(struct ramet_bases_file *file, const struct ramet_os *os,
                      struct ramet_replica *replica)
{
    assert(os != NULL && replica != NULL);
    *file = (struct ramet_bases_file){.os = os, .replica = replica, .fd = -1};
    ramet_base_table_init(&file->table);
    ramet_buf_init(&file->step.pages, FLUSH_BYTES + 2 * RAMET_PAGE_SIZE_MAX);
    ramet_buf_init(&file->step.notes, RAMET_BASES_NOTES_MAX);
}

void
ramet_bases_file_done(struct ramet_bases_file *file)
{
    ramet_bases_file_close(file);
    assert(file->fd == -1);
    ramet_base_table_clear(&file->table);
    ramet_buf_done(&file->step.pages);
    ramet_buf_done(&file->step.notes);
}

/* ---- the file -------------------------------------------------------------- */

enum ramet_rc
ramet_bases_file_read(const struct ramet_bases_file *file, void *buf,
                      size_t len, uint64_t offset)
{
    assert(file->fd >= 0);
    return ramet_os_read_full(file->os, file->fd, buf, len, offset,
                              RAMET_BASES_NAME, NULL);
}

/* The file as it is gone through: records are small and many. */
struct window {
    uint64_t offset;
    size_t len;
    uint8_t bytes[WINDOW_BYTES];
};

static enum ramet_rc
read_by(const struct ramet_bases_file *file, struct window *window, void *buf,
        size_t len, uint64_t offset)
{
    enum ramet_rc rc;

    assert(window->len <= sizeof(window->bytes));
    if (len > sizeof(window->bytes))
        return ramet_bases_file_read(file, buf, len, offset);
    if (offset < window->offset ||
        offset + len > window->offset + window->len) {
        window->offset = offset;
        rc = ramet_os_read_some(file->os, file->fd, window->bytes,
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
write_at(const struct ramet_bases_file *file, const void *buf, size_t len,
         uint64_t offset)
{
    assert(file->fd >= 0 && (buf != NULL || len == 0));
    return ramet_os_write_full(file->os, file->fd, buf, len, offset,
                               RAMET_BASES_NAME, NULL);
}

static void
forget_all(struct ramet_bases_file *file)
{
    ramet_base_table_clear(&file->table);
    file->at = (struct ramet_point){.lsn = 0};
    file->end = file->first_end = 0;
    file->record_count = 0;
}

/* A record was applied that ends there. */
static void
end_at(struct ramet_bases_file *file, uint64_t end)
{
    assert(end > file->end && file->record_count >= 1);
    file->end = end;
    if (file->record_count == 1)
        file->first_end = end;
}

/* An empty file with a salt of its own. */
static enum ramet_rc
write_header(struct ramet_bases_file *file, const struct ramet_vid *volume,
             uint32_t page_size)
{
    const struct ramet_os *const os = file->os;
    uint8_t raw[RAMET_BASES_HEADER_SIZE];
    enum ramet_rc rc;

    assert(file->fd >= 0 && page_size != 0);
    file->header =
        (struct ramet_bases_header){.page_size = page_size, .volume = *volume};
    if (os->random(os->ctx, &file->header.salt, sizeof(file->header.salt)) <
            0 ||
        os->truncate(os->ctx, file->fd, 0) < 0)
        return RAMET_EIO;
    ramet_bases_header_encode(&file->header, raw);
    rc = write_at(file, raw, sizeof(raw), 0);
    file->end = rc == RAMET_OK ? sizeof(raw) : 0;
    return rc;
}

/* The notes of images that come next, one page behind the other. */
static enum ramet_rc
apply_images(struct ramet_bases_file *file, struct ramet_reader *in,
             uint32_t *io_last)
{
    const size_t most = UINT32_MAX - *io_last;
    size_t count = ramet_bases_note_images(in);
    const uint8_t *notes;

    count = count < most ? count : most;
    if (count == 0)
        return RAMET_OK;
    notes = ramet_read_bytes(in, count * RAMET_BASES_IMAGE_SIZE);
    assert(notes != NULL);
    *io_last += (uint32_t)count;
    return ramet_base_table_note_images(
        &file->table, (uint32_t)(*io_last - count + 1), notes, count);
}

/* What a record says, into the table. */
static enum ramet_rc
apply(struct ramet_bases_file *file, const struct ramet_bases_record *record,
      const uint8_t *notes, uint64_t offset)
{
    const uint64_t pages_end = offset + record->pages_length;
    struct ramet_base_note note;
    struct ramet_reader in;
    uint32_t last = 0;

    assert(offset >= RAMET_BASES_HEADER_SIZE);
    if (record->least_page_count < UINT32_MAX)
        ramet_base_table_forget(&file->table, record->least_page_count + 1,
                                UINT32_MAX);
    ramet_reader_init(&in, notes, record->notes_length);
    while (ramet_bases_note_decode(&in, &last, &note)) {
        if (ramet_base_note_has_page(note.kind) &&
            note.length > pages_end - offset)
            return RAMET_ECORRUPT;
        if (ramet_base_table_note(&file->table, &note, offset) != RAMET_OK)
            return RAMET_ENOMEM;
        if (ramet_base_note_has_page(note.kind))
            offset += note.length;
        if (note.kind == RAMET_BASE_NOTE_IMAGE &&
            apply_images(file, &in, &last) != RAMET_OK)
            return RAMET_ENOMEM;
    }
    if (in.bad)
        return RAMET_ECORRUPT;
    file->at = record->after;
    file->record_count++;
    return RAMET_OK;
}

/* The record at `file->end`, if there is a right one. */
static bool
load_record(struct ramet_bases_file *file, struct window *window, uint64_t size)
{
    const uint64_t left = size - file->end;
    uint8_t head[RAMET_BASES_RECORD_SIZE];
    struct ramet_bases_record record;
    uint8_t *notes;
    uint64_t pages_at;
    bool right;

    assert(file->end >= RAMET_BASES_HEADER_SIZE && file->end <= size);
    if (left < sizeof(head) ||
        read_by(file, window, head, sizeof(head), file->end) != RAMET_OK)
        return false;
    ramet_bases_record_decode(head, &record);
    if (record.notes_length > RAMET_BASES_NOTES_MAX ||
        record.pages_length > left - sizeof(head) ||
        record.notes_length > left - sizeof(head) - record.pages_length ||
        !ramet_point_equal(&record.before, &file->at))
        return false;
    notes = ramet_alloc(record.notes_length + 1);
    pages_at = file->end + sizeof(head);
    right = notes != NULL &&
            read_by(file, window, notes, record.notes_length,
                    pages_at + record.pages_length) == RAMET_OK &&
            ramet_bases_record_is_right(head, notes, record.notes_length,
                                        file->header.salt, file->end);
    if (right && apply(file, &record, notes, pages_at) != RAMET_OK) {
        forget_all(file); /* it may be there in part */
        right = false;
    }
    ramet_free(notes);
    if (right)
        end_at(file, pages_at + record.pages_length + record.notes_length);
    return right;
}

/* Bring the table to what the file has. A file that is none, of another volume
 * or of pages of another size, becomes a new one. */
static enum ramet_rc
load(struct ramet_bases_file *file, const struct ramet_vid *volume,
     uint32_t page_size)
{
    const struct ramet_os *const os = file->os;
    uint8_t raw[RAMET_BASES_HEADER_SIZE];
    struct ramet_bases_header header;
    struct window *window;
    struct ramet_os_stat st;

    assert(file->fd >= 0);
    if (os->stat(os->ctx, file->fd, &st) < 0)
        return RAMET_EIO;
    if (st.size_bytes < sizeof(raw) ||
        ramet_bases_file_read(file, raw, sizeof(raw), 0) != RAMET_OK ||
        !ramet_bases_header_decode(raw, &header) ||
        header.page_size != page_size ||
        ramet_id_compare(&header.volume.id, &volume->id) != 0) {
        forget_all(file);
        return write_header(file, volume, page_size);
    }
    if (file->end == st.size_bytes && file->header.salt == header.salt)
        return RAMET_OK; /* nobody else was at it */
    forget_all(file);
    window = ramet_alloc(sizeof(*window));
    if (window == NULL)
        return RAMET_ENOMEM;
    window->offset = window->len = 0;
    file->header = header;
    file->end = sizeof(raw);
    while (load_record(file, window, st.size_bytes))
        ;
    ramet_free(window);
    return file->end > 0 ? RAMET_OK : RAMET_ENOMEM;
}

/* ---- a record -------------------------------------------------------------- */

void
ramet_bases_step_begin(struct ramet_bases_file *file)
{
    struct ramet_bases_step *const step = &file->step;

    assert(file->fd >= 0 && file->end >= RAMET_BASES_HEADER_SIZE);
    ramet_buf_clear(&step->pages);
    ramet_buf_clear(&step->notes);
    step->is_on = true;
    step->offset = file->end;
    step->pages_length = 0;
    step->last = 0;
}

/* Packed pages that wait go to their place behind the record's head. */
static void
flush_pages(struct ramet_bases_file *file)
{
    struct ramet_bases_step *const step = &file->step;
    const uint64_t at = step->offset + RAMET_BASES_RECORD_SIZE +
                        step->pages_length - step->pages.len;

    assert(!step->is_on || step->pages.len <= step->pages_length);
    if (step->is_on && step->pages.len > 0 &&
        write_at(file, step->pages.data, step->pages.len, at) != RAMET_OK)
        step->is_on = false;
    ramet_buf_clear(&step->pages);
}

void
ramet_bases_step_note(struct ramet_bases_file *file,
                      const struct ramet_base_note *note)
{
    struct ramet_bases_step *const step = &file->step;

    if (!step->is_on)
        return;
    assert(note->pgno > step->last); /* they ascend */
    ramet_bases_note_encode(note, &step->last, &step->notes);
    if (step->notes.failed != RAMET_OK)
        step->is_on = false;
    if (ramet_base_note_has_page(note->kind))
        step->pages_length += note->length;
    if (step->pages.len >= FLUSH_BYTES)
        flush_pages(file);
}

enum ramet_rc
ramet_bases_step_end(struct ramet_bases_file *file,
                     const struct ramet_point *before,
                     const struct ramet_point *after, uint32_t least_page_count)
{
    struct ramet_bases_step *const step = &file->step;
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

    assert(file->fd >= 0 && before->lsn <= after->lsn);
    flush_pages(file);
    if (step->is_on)
        rc = write_at(file, step->notes.data, step->notes.len,
                      pages_at + step->pages_length);
    step->is_on = false;
    if (rc == RAMET_OK) {
        /* What may lie behind is of a record that never came to be. */
        if (file->os->truncate(file->os->ctx, file->fd,
                               pages_at + step->pages_length +
                                   step->notes.len) < 0)
            rc = RAMET_EIO;
    }
    if (rc == RAMET_OK) {
        ramet_bases_record_encode(&record, step->notes.data, file->header.salt,
                                  step->offset, head);
        rc = write_at(file, head, sizeof(head), step->offset);
    }
    if (rc == RAMET_OK)
        rc = apply(file, &record, step->notes.data, pages_at);
    if (rc != RAMET_OK) {
        forget_all(file); /* as the file has it, at the next begin */
        return rc;
    }
    end_at(file, pages_at + step->pages_length + step->notes.len);
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

/* The offset from which on packed pages stay, so that there is room for as much again. */
static uint64_t
oldest_kept(const struct ramet_bases_file *file)
{
    const struct ramet_base_table *const table = &file->table;
    struct ramet_base_packed *sorted;
    uint64_t bytes = 0, from = 0;

    assert(file->fd >= 0);
    if (table->packed_bytes <= file->bytes_max / 8 * 3)
        return 0;
    sorted = ramet_calloc(table->packed_count, sizeof(*sorted));
    if (sorted == NULL)
        return UINT64_MAX;
    memcpy(sorted, table->packed, table->packed_count * sizeof(*sorted));
    qsort(sorted, table->packed_count, sizeof(*sorted), compare_offsets);
    for (uint32_t i = table->packed_count; i > 0; i--) {
        bytes += sorted[i - 1].length;
        if (bytes > file->bytes_max / 8 * 3) {
            from = sorted[i - 1].offset + 1;
            break;
        }
    }
    ramet_free(sorted);
    return from;
}

/* All that stays, as one record of another file, read from `from`. */
static void
copy_known(struct ramet_bases_file *file, int from, uint64_t oldest)
{
    const struct ramet_base_table *const table = &file->table;
    struct ramet_bases_step *const step = &file->step;

    assert(from >= 0 && from != file->fd);
    for (uint32_t p = 0;
         step->is_on && (p = ramet_base_table_next(table, p)) != 0;) {
        const struct ramet_base_packed *const packed =
            ramet_base_table_packed(table, p);
        struct ramet_base_note copy = {
            .kind = RAMET_BASE_NOTE_IMAGE, .pgno = p, .count = 1};
        uint8_t *room;

        if (packed == NULL) {
            (void)ramet_base_table_image(table, p, &copy.sum);
            ramet_bases_step_note(file, &copy);
            continue;
        }
        if (packed->offset < oldest)
            continue;
        room = ramet_buf_extend(&step->pages, packed->length);
        if (room == NULL ||
            ramet_os_read_full(file->os, from, room, packed->length,
                               packed->offset, RAMET_BASES_NAME,
                               NULL) != RAMET_OK) {
            step->is_on = false;
            return;
        }
        copy.kind = packed->kind;
        copy.sum = packed->sum;
        copy.length = packed->length;
        copy.deltas = packed->deltas;
        copy.delta_bytes = packed->delta_bytes;
        ramet_bases_step_note(file, &copy);
    }
}

/* A new file with what is known, without what is old. */
static enum ramet_rc
rewrite(struct ramet_bases_file *file)
{
    static const struct ramet_point none = {.lsn = 0};
    const struct ramet_os *const os = file->os;
    const uint64_t oldest = oldest_kept(file);
    const struct ramet_point at = file->at;
    const struct ramet_bases_header header = file->header;
    const int before = file->fd;
    enum ramet_rc rc =
        ramet_keep_open(file->replica, TEMPORARY_NAME, true, &file->fd, NULL);

    assert(file->fd >= 0 && !file->step.is_on);
    if (rc != RAMET_OK) {
        file->fd = before;
        return rc;
    }
    rc = write_header(file, &header.volume, header.page_size);
    if (rc == RAMET_OK) {
        ramet_bases_step_begin(file);
        copy_known(file, before, oldest);
        ramet_base_table_clear(&file->table);
        file->record_count = 0;
        rc = ramet_bases_step_end(file, &none, &at, UINT32_MAX);
    }
    if (rc == RAMET_OK)
        rc = ramet_keep_rename(file->replica, TEMPORARY_NAME, RAMET_BASES_NAME,
                               NULL);
    os->close(os->ctx, before);
    if (rc != RAMET_OK)
        forget_all(file);
    return rc;
}

/* Notes that stay may pass the bound by themselves: what is written anew has to
 * grow before it is again. */
static bool
is_full(const struct ramet_bases_file *file)
{
    return (file->end > file->bytes_max / 8 * 5 &&
            file->end - file->first_end > file->bytes_max / 8) ||
           file->record_count > RECORDS_MAX;
}

/* ---- open ------------------------------------------------------------------ */

enum ramet_rc
ramet_bases_file_open(struct ramet_bases_file *file,
                      const struct ramet_vid *volume, uint32_t page_size,
                      uint64_t bytes_max)
{
    enum ramet_rc rc;

    assert(file->fd < 0 && page_size != 0);
    file->bytes_max = bytes_max;
    rc = ramet_keep_open(file->replica, RAMET_BASES_NAME, false, &file->fd,
                         NULL);
    if (rc == RAMET_OK)
        rc = load(file, volume, page_size);
    return rc == RAMET_OK && is_full(file) ? rewrite(file) : rc;
}

void
ramet_bases_file_close(struct ramet_bases_file *file)
{
    if (file->fd >= 0)
        file->os->close(file->os->ctx, file->fd);
    file->fd = -1;
    file->step.is_on = false;
}

enum ramet_rc
ramet_bases_file_forget(struct ramet_bases_file *file,
                        const struct ramet_vid *volume, uint32_t page_size)
{
    assert(file->fd >= 0);
    forget_all(file);
    return write_header(file, volume, page_size);
}
