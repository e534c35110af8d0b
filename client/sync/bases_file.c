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
#include "core/hash.h"

#define TEMPORARY_NAME RAMET_BASES_NAME ".tmp"
#define WINDOW_BYTES (64u << 10)
#define RECORDS_MAX 4096u /* then they become one */

void
ramet_bases_file_init(struct ramet_bases_file *file, const struct ramet_os *os,
                      struct ramet_replica *replica)
{
    assert(os != NULL && replica != NULL);
    *file = (struct ramet_bases_file){.os = os, .replica = replica, .fd = -1};
    ramet_base_table_init(&file->table);
    ramet_bases_step_init(&file->step);
}

void
ramet_bases_file_done(struct ramet_bases_file *file)
{
    ramet_bases_file_close(file);
    assert(file->fd == -1);
    ramet_base_table_clear(&file->table);
    ramet_bases_step_done(&file->step);
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

/* The file as it is gone through: records and sections are small and many. */
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

    if (window == NULL || len > sizeof(window->bytes))
        return ramet_bases_file_read(file, buf, len, offset);
    assert(window->len <= sizeof(window->bytes));
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

/* A record is read: its sections wait to be. */
static enum ramet_rc
apply(struct ramet_bases_file *file, const struct ramet_bases_record *record,
      const uint8_t *directory, uint64_t offset)
{
    const uint64_t end = offset + record->body_length;
    struct ramet_bases_section section;
    struct ramet_reader in;
    uint32_t next = 0;

    assert(offset >= RAMET_BASES_HEADER_SIZE);
    if (ramet_base_table_cut(&file->table, record->least_page_count) !=
        RAMET_OK)
        return RAMET_ENOMEM;
    ramet_reader_init(&in, directory, record->directory_length);
    while (ramet_bases_section_decode(&in, &next, &section)) {
        const uint64_t length = section.packed_length + section.notes_length;

        if (length > end - offset)
            return RAMET_ECORRUPT;
        if (ramet_base_table_add(&file->table, &section, offset) != RAMET_OK)
            return RAMET_ENOMEM;
        offset += length;
    }
    if (in.bad || offset != end)
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
    uint8_t *directory;
    uint64_t body_at;
    bool right;

    assert(file->end >= RAMET_BASES_HEADER_SIZE && file->end <= size);
    if (left < sizeof(head) ||
        read_by(file, window, head, sizeof(head), file->end) != RAMET_OK)
        return false;
    ramet_bases_record_decode(head, &record);
    if (record.directory_length > RAMET_BASES_DIRECTORY_MAX ||
        record.body_length > left - sizeof(head) ||
        record.directory_length > left - sizeof(head) - record.body_length ||
        !ramet_point_equal(&record.before, &file->at))
        return false;
    directory = ramet_alloc(record.directory_length + 1);
    body_at = file->end + sizeof(head);
    right =
        directory != NULL &&
        read_by(file, window, directory, record.directory_length,
                body_at + record.body_length) == RAMET_OK &&
        ramet_bases_record_is_right(head, directory, record.directory_length,
                                    file->header.salt, file->end);
    if (right && apply(file, &record, directory, body_at) != RAMET_OK) {
        forget_all(file); /* it may be there in part */
        right = false;
    }
    ramet_free(directory);
    if (right)
        end_at(file, body_at + record.body_length + record.directory_length);
    return right;
}

/* See what the file has. A file that is none, of another volume
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

/* ---- a section ------------------------------------------------------------- */

/* What waits of a chunk is noted, one after the other. */
static enum ramet_rc
note_section(struct ramet_bases_file *file, struct window *window,
             const struct ramet_base_waiting *waiting)
{
    const struct ramet_bases_section *const section = &waiting->section;
    const uint64_t notes_at = waiting->offset + section->packed_length;
    uint32_t last = ramet_bases_chunk_start(section->chunk);
    uint8_t notes[RAMET_BASES_SECTION_MAX];
    uint64_t offset = waiting->offset;
    struct ramet_base_note note;
    struct ramet_reader in;

    assert(section->notes_length > 0 && section->notes_length <= sizeof(notes));
    if (read_by(file, window, notes, section->notes_length, notes_at) !=
            RAMET_OK ||
        ramet_hash64(notes, section->notes_length) != section->sum)
        return RAMET_ECORRUPT;
    ramet_reader_init(&in, notes, section->notes_length);
    while (ramet_bases_note_decode(&in, section->chunk, &last, &note)) {
        if (ramet_base_note_has_page(note.kind) &&
            note.length > notes_at - offset)
            return RAMET_ECORRUPT;
        if (ramet_base_table_note(&file->table, &note, offset) != RAMET_OK)
            return RAMET_ENOMEM;
        if (ramet_base_note_has_page(note.kind))
            offset += note.length;
    }
    return in.bad ? RAMET_ECORRUPT : RAMET_OK;
}

void
ramet_bases_file_need(struct ramet_bases_file *file, uint32_t pgno)
{
    const uint32_t chunk = ramet_bases_chunk_of(pgno);
    const uint32_t start = ramet_bases_chunk_start(chunk);
    const uint32_t end = start + RAMET_BASES_CHUNK_PAGES;
    struct ramet_base_waiting waiting;
    struct window *window = NULL;
    bool more;

    assert(file->fd >= 0 && pgno >= 1);
    if (!ramet_base_table_has_waiting(&file->table, chunk, &more))
        return;
    if (more)
        window = ramet_alloc(sizeof(*window)); /* NULL: slower */
    if (window != NULL)
        window->offset = window->len = 0;
    while (ramet_base_table_next_waiting(&file->table, chunk, &waiting)) {
        if (waiting.is_cut)
            ramet_base_table_forget(&file->table, waiting.least + 1, end);
        else if (note_section(file, window, &waiting) != RAMET_OK)
            ramet_base_table_forget(&file->table, start + 1, end);
    }
    ramet_free(window);
}

/* ---- a record -------------------------------------------------------------- */

void
ramet_bases_file_begin(struct ramet_bases_file *file)
{
    assert(file->fd >= 0 && file->end >= RAMET_BASES_HEADER_SIZE);
    ramet_bases_step_begin(&file->step, file->os, file->fd, file->end);
}

enum ramet_rc
ramet_bases_file_end(struct ramet_bases_file *file,
                     const struct ramet_point *before,
                     const struct ramet_point *after, uint32_t least_page_count)
{
    struct ramet_bases_step *const step = &file->step;
    const uint64_t body_at = step->offset + RAMET_BASES_RECORD_SIZE;
    struct ramet_bases_record record = {.least_page_count = least_page_count,
                                        .before = *before,
                                        .after = *after};
    uint8_t head[RAMET_BASES_RECORD_SIZE];
    enum ramet_rc rc = RAMET_EIO;
    uint64_t end;

    assert(file->fd >= 0 && before->lsn <= after->lsn);
    ramet_bases_step_end(step);
    record.directory_length = (uint32_t)step->directory.len;
    record.body_length = step->body_length;
    end = body_at + record.body_length + record.directory_length;
    if (step->is_on)
        rc = write_at(file, step->directory.data, record.directory_length,
                      body_at + record.body_length);
    step->is_on = false;
    /* What may lie behind is of a record that never came to be. */
    if (rc == RAMET_OK && file->os->truncate(file->os->ctx, file->fd, end) < 0)
        rc = RAMET_EIO;
    if (rc == RAMET_OK) {
        ramet_bases_record_encode(&record, step->directory.data,
                                  file->header.salt, step->offset, head);
        rc = write_at(file, head, sizeof(head), step->offset);
    }
    if (rc == RAMET_OK)
        rc = apply(file, &record, step->directory.data, body_at);
    if (rc != RAMET_OK) {
        forget_all(file); /* as the file has it, at the next begin */
        return rc;
    }
    end_at(file, end);
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
            ramet_bases_step_note(step, &copy);
            continue;
        }
        if (packed->offset < oldest)
            continue;
        ramet_bases_step_at(step, p);
        room = ramet_buf_extend(&step->body, packed->length);
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
        ramet_bases_step_note(step, &copy);
    }
}

/* A new file with what is known, without what is old. */
static enum ramet_rc
rewrite(struct ramet_bases_file *file)
{
    static const struct ramet_point none = {.lsn = 0};
    const struct ramet_os *const os = file->os;
    const struct ramet_point at = file->at;
    const struct ramet_bases_header header = file->header;
    const int before = file->fd;
    uint64_t oldest;
    enum ramet_rc rc;

    assert(file->fd >= 0 && !file->step.is_on);
    for (uint32_t i = 0; i < file->table.chunk_count; i++)
        ramet_bases_file_need(file, ramet_bases_chunk_start(i) + 1);
    oldest = oldest_kept(file);
    rc = ramet_keep_open(file->replica, TEMPORARY_NAME, true, &file->fd, NULL);
    if (rc != RAMET_OK) {
        file->fd = before;
        return rc;
    }
    rc = write_header(file, &header.volume, header.page_size);
    if (rc == RAMET_OK) {
        ramet_bases_file_begin(file);
        copy_known(file, before, oldest);
        ramet_base_table_clear(&file->table);
        file->record_count = 0;
        rc = ramet_bases_file_end(file, &none, &at, UINT32_MAX);
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
