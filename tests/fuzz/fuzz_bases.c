/*
 * fuzz_bases.c - hostile bytes as the parts of a replica's file `bases`: header,
 * record, notes, and these in the table.
 *
 * Notes ascend, and what the decoder takes the encoder gives back. In the table
 * nothing is known but what was noted, and nothing is lost of it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/sync/bases_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_bases: %s\n", what);
        abort();
    }
}

static void
try_head(const uint8_t *data)
{
    struct ramet_bases_header header;
    struct ramet_bases_record record;
    uint8_t again[RAMET_BASES_RECORD_SIZE];

    if (ramet_bases_header_decode(data, &header)) {
        ramet_bases_header_encode(&header, again);
        require(memcmp(data, again, RAMET_BASES_HEADER_SIZE) == 0, "header");
    }
    ramet_bases_record_decode(data, &record);
    if (record.directory_length == 0 && record.before.lsn <= record.after.lsn) {
        ramet_bases_record_encode(&record, NULL, 1, 72, again);
        require(memcmp(data + 8, again + 8, sizeof(again) - 8) == 0, "record");
        require(ramet_bases_record_is_right(again, NULL, 0, 1, 72), "its sum");
        require(!ramet_bases_record_is_right(again, NULL, 0, 1, 73),
                "elsewhere");
    }
}

static void
check_noted(const struct ramet_base_table *table,
            const struct ramet_base_note *note, uint64_t offset)
{
    const struct ramet_base_packed *const packed =
        ramet_base_table_packed(table, note->pgno);
    uint64_t sum;

    switch (note->kind) {
    case RAMET_BASE_NOTE_FORGET:
        require(packed == NULL &&
                    !ramet_base_table_image(table, note->pgno, &sum),
                "forgotten");
        break;
    case RAMET_BASE_NOTE_IMAGE:
        for (uint32_t i = 0; i < note->count; i++)
            require(ramet_base_table_image(table, note->pgno + i, &sum) &&
                        ramet_base_sum_is(
                            sum, ramet_get_le64(note->sums + 8 * (size_t)i)),
                    "image");
        break;
    case RAMET_BASE_NOTE_PACKED:
    case RAMET_BASE_NOTE_BACK:
        require(packed != NULL && packed->sum == note->sum &&
                    packed->kind == note->kind && packed->offset == offset &&
                    packed->pgno == note->pgno,
                "packed");
        break;
    case RAMET_BASE_NOTE_DELTA:
        break;
    }
}

static void
check_table(const struct ramet_base_table *table)
{
    uint64_t bytes = 0;
    uint32_t packed = 0;

    for (uint32_t p = 0; (p = ramet_base_table_next(table, p)) != 0;) {
        const struct ramet_base_packed *const one =
            ramet_base_table_packed(table, p);

        if (one != NULL) {
            require(one->pgno == p, "a packed page of another");
            bytes += one->length;
            packed++;
        }
    }
    require(packed == table->packed_count && bytes == table->packed_bytes,
            "what is packed is not what is counted");
}

/* A directory: what is taken is given back, and waits in the table. */
static void
try_directory(const uint8_t *data, size_t size)
{
    struct ramet_base_table table;
    struct ramet_bases_section section;
    struct ramet_reader in;
    struct ramet_buf out;
    uint32_t next = 0, next_out = 0;
    bool more;
    size_t before = 0;

    ramet_base_table_init(&table);
    ramet_buf_init(&out, 64);
    ramet_reader_init(&in, data, size);
    while (ramet_bases_section_decode(&in, &next, &section)) {
        ramet_buf_clear(&out);
        ramet_bases_section_encode(&section, &next_out, &out);
        require(next == next_out && out.len == in.pos - before &&
                    memcmp(out.data, data + before, out.len) == 0,
                "another encoding of a section");
        before = in.pos;
        require(ramet_base_table_add(&table, &section, 72) == RAMET_OK,
                "no memory");
        require(ramet_base_table_has_waiting(&table, section.chunk, &more) ==
                        (section.notes_length > 0) &&
                    !more,
                "what waits");
    }
    if (next > 1) {
        require(ramet_base_table_cut(
                    &table, (next - 1) * RAMET_BASES_CHUNK_PAGES) == RAMET_OK,
                "no memory");
        require(!ramet_base_table_has_waiting(&table, next - 1, &more),
                "cut off");
    }
    ramet_base_table_clear(&table);
    ramet_buf_done(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_base_table table;
    struct ramet_base_note note;
    struct ramet_reader in;
    struct ramet_buf out;
    uint32_t chunk = 0, last = 0, last_out = 0;

    if (size > 1u << 16)
        return 0;
    if (size >= RAMET_BASES_RECORD_SIZE)
        try_head(data);
    try_directory(data, size);
    ramet_buf_init(&out, 1u << 18);
    ramet_base_table_init(&table);
    ramet_reader_init(&in, data, size);
    while (in.pos < size) {
        const size_t before = in.pos;

        if (!ramet_bases_note_decode(&in, chunk, &last, &note)) {
            /* What comes next is another section's notes: from anywhere. */
            in.bad = false;
            in.pos = before + 1;
            chunk = data[before] % 3u; /* some of a chunk that has some */
            last = last_out = ramet_bases_chunk_start(chunk);
            continue;
        }
        require(last >= note.pgno && note.count >= 1, "order");
        ramet_buf_clear(&out);
        ramet_bases_note_encode(&note, &last_out, &out);
        require(out.len == in.pos - before &&
                    memcmp(out.data, data + before, out.len) == 0,
                "another encoding");
        require(last == last_out, "where it ends");
        require(ramet_base_table_note(&table, &note, before) == RAMET_OK,
                "no memory");
        check_noted(&table, &note, before);
    }
    check_table(&table);
    ramet_base_table_clear(&table);
    ramet_buf_done(&out);
    return 0;
}
