/*
 * bases_format.c - see bases_format.h.
 *
 * Layer: client.
 */
#include "client/sync/bases_format.h"

#include <assert.h>

#include "core/hash.h"

#define SUM_SIZE 8u

static const uint8_t magic[8] = {'R', 'A', 'M', 'T', 'B', 'A', 'S', 3};

void
ramet_bases_header_encode(const struct ramet_bases_header *header,
                          uint8_t out[RAMET_BASES_HEADER_SIZE])
{
    assert(header->page_size != 0);
    memcpy(out, magic, sizeof(magic));
    ramet_put_le64(out + 8, header->salt);
    ramet_put_le32(out + 16, header->page_size);
    ramet_put_le32(out + 20, 0);
    memcpy(out + 24, header->volume.id.bytes, RAMET_ID_SIZE);
    ramet_put_le64(out + 40, ramet_hash64(out, 40));
}

bool
ramet_bases_header_decode(const uint8_t in[RAMET_BASES_HEADER_SIZE],
                          struct ramet_bases_header *out)
{
    if (memcmp(in, magic, sizeof(magic)) != 0 || ramet_get_le32(in + 20) != 0 ||
        ramet_get_le64(in + 40) != ramet_hash64(in, 40))
        return false;
    out->salt = ramet_get_le64(in + 8);
    out->page_size = ramet_get_le32(in + 16);
    memcpy(out->volume.id.bytes, in + 24, RAMET_ID_SIZE);
    return true;
}

/* ---- records --------------------------------------------------------------- */

static void
put_point(uint8_t *out, const struct ramet_point *point)
{
    ramet_put_le64(out, point->lsn);
    memcpy(out + 8, point->hash.bytes, RAMET_HASH_SIZE);
}

static void
get_point(const uint8_t *in, struct ramet_point *out)
{
    out->lsn = ramet_get_le64(in);
    memcpy(out->hash.bytes, in + 8, RAMET_HASH_SIZE);
}

static uint64_t
sum_of(const uint8_t head[RAMET_BASES_RECORD_SIZE], const uint8_t *directory,
       size_t len, uint64_t salt, uint64_t offset)
{
    assert(offset >= RAMET_BASES_HEADER_SIZE);
    return ramet_hash64_seeded(
        directory, len,
        ramet_hash64_seeded(head + SUM_SIZE, RAMET_BASES_RECORD_SIZE - SUM_SIZE,
                            salt ^ offset));
}

void
ramet_bases_record_encode(const struct ramet_bases_record *record,
                          const uint8_t *directory, uint64_t salt,
                          uint64_t offset, uint8_t out[RAMET_BASES_RECORD_SIZE])
{
    assert(record->directory_length <= RAMET_BASES_DIRECTORY_MAX);
    assert(record->before.lsn <= record->after.lsn);
    ramet_put_le32(out + 8, record->directory_length);
    ramet_put_le32(out + 12, record->least_page_count);
    ramet_put_le64(out + 16, record->body_length);
    put_point(out + 24, &record->before);
    put_point(out + 48, &record->after);
    ramet_put_le64(
        out, sum_of(out, directory, record->directory_length, salt, offset));
}

void
ramet_bases_record_decode(const uint8_t in[RAMET_BASES_RECORD_SIZE],
                          struct ramet_bases_record *out)
{
    out->directory_length = ramet_get_le32(in + 8);
    out->least_page_count = ramet_get_le32(in + 12);
    out->body_length = ramet_get_le64(in + 16);
    get_point(in + 24, &out->before);
    get_point(in + 48, &out->after);
}

bool
ramet_bases_record_is_right(const uint8_t in[RAMET_BASES_RECORD_SIZE],
                            const uint8_t *directory, size_t len, uint64_t salt,
                            uint64_t offset)
{
    return ramet_get_le64(in) == sum_of(in, directory, len, salt, offset);
}

/* ---- sections -------------------------------------------------------------- */

void
ramet_bases_section_encode(const struct ramet_bases_section *section,
                           uint32_t *io_next, struct ramet_buf *out)
{
    assert(section->chunk >= *io_next &&
           section->chunk < RAMET_BASES_CHUNKS_MAX);
    assert(section->notes_length > 0 || section->packed_length == 0);
    ramet_buf_varint(out, section->chunk - *io_next);
    ramet_buf_varint(out, section->notes_length);
    if (section->notes_length > 0) {
        ramet_buf_varint(out, section->packed_length);
        ramet_buf_le64(out, section->sum);
    }
    *io_next = section->chunk + 1;
}

bool
ramet_bases_section_decode(struct ramet_reader *in, uint32_t *io_next,
                           struct ramet_bases_section *out)
{
    struct ramet_bases_section section = {.chunk = *io_next};

    if (in->bad || ramet_reader_left(in) == 0)
        return false;
    if (section.chunk >= RAMET_BASES_CHUNKS_MAX)
        in->bad = true;
    else
        section.chunk += (uint32_t)ramet_read_varint_max(
            in, RAMET_BASES_CHUNKS_MAX - 1 - section.chunk);
    section.notes_length =
        (uint32_t)ramet_read_varint_max(in, RAMET_BASES_SECTION_MAX);
    if (section.notes_length > 0) {
        section.packed_length = ramet_read_varint_max(
            in, (uint64_t)RAMET_BASES_CHUNK_PAGES * RAMET_BASES_PACKED_MAX);
        section.sum = ramet_read_le64(in);
    }
    if (in->bad)
        return false;
    assert(section.chunk < RAMET_BASES_CHUNKS_MAX);
    *io_next = section.chunk + 1;
    *out = section;
    return true;
}

/* ---- notes ----------------------------------------------------------------- */

void
ramet_bases_note_encode(const struct ramet_base_note *note, uint32_t *io_last,
                        struct ramet_buf *out)
{
    assert(note->pgno > *io_last && note->count >= 1);
    ramet_buf_varint(out, note->pgno - *io_last - 1);
    ramet_buf_u8(out, (uint8_t)note->kind);
    switch (note->kind) {
    case RAMET_BASE_NOTE_FORGET:
        ramet_buf_varint(out, note->count - 1);
        break;
    case RAMET_BASE_NOTE_IMAGE:
        ramet_buf_varint(out, note->count - 1);
        ramet_buf_bytes(out, note->sums, (size_t)note->count * SUM_SIZE);
        break;
    case RAMET_BASE_NOTE_DELTA:
        ramet_buf_varint(out, note->delta_bytes);
        break;
    case RAMET_BASE_NOTE_PACKED:
    case RAMET_BASE_NOTE_BACK:
        ramet_buf_le64(out, note->sum);
        ramet_buf_varint(out, note->length);
        ramet_buf_varint(out, note->deltas);
        ramet_buf_varint(out, note->delta_bytes);
        break;
    }
    *io_last = note->pgno + note->count - 1;
}

bool
ramet_bases_note_decode(struct ramet_reader *in, uint32_t chunk,
                        uint32_t *io_last, struct ramet_base_note *out)
{
    const uint32_t end = ramet_bases_chunk_start(chunk + 1);
    struct ramet_base_note note = {.count = 1};
    const uint32_t room = end - *io_last;
    uint64_t gap;

    assert(chunk < RAMET_BASES_CHUNKS_MAX && *io_last <= end);
    if (in->bad || ramet_reader_left(in) == 0)
        return false;
    gap = ramet_read_varint_max(in, room > 0 ? room - 1 : 0);
    if (room == 0)
        in->bad = true;
    note.pgno = (uint32_t)(*io_last + gap + 1);
    note.kind = (enum ramet_base_note_kind)ramet_read_u8(in);
    switch (note.kind) {
    case RAMET_BASE_NOTE_FORGET:
        note.count = (uint32_t)ramet_read_varint_max(in, room) + 1;
        break;
    case RAMET_BASE_NOTE_IMAGE:
        note.count = (uint32_t)ramet_read_varint_max(in, room) + 1;
        note.sums = ramet_read_bytes(in, (size_t)note.count * SUM_SIZE);
        break;
    case RAMET_BASE_NOTE_DELTA:
        note.deltas = 1;
        note.delta_bytes = ramet_read_varint_max(in, UINT32_MAX);
        break;
    case RAMET_BASE_NOTE_PACKED:
    case RAMET_BASE_NOTE_BACK:
        note.sum = ramet_read_le64(in);
        note.length =
            (uint32_t)ramet_read_varint_max(in, RAMET_BASES_PACKED_MAX);
        note.deltas = (uint32_t)ramet_read_varint_max(in, UINT32_MAX);
        note.delta_bytes = ramet_read_varint_max(in, INT64_MAX);
        if (note.length == 0)
            in->bad = true;
        break;
    default:
        in->bad = true;
    }
    if (in->bad || note.count > end - note.pgno + 1) {
        in->bad = true;
        return false;
    }
    assert(note.pgno > *io_last && note.count >= 1);
    *io_last = note.pgno + note.count - 1;
    *out = note;
    return true;
}
