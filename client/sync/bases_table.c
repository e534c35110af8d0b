/*
 * bases_table.c - see bases_table.h.
 *
 * A word a page: 0, nothing is known; odd, the upper 63 bits of an image's
 * checksum; even, twice the number of a packed one, from 1.
 *
 * Layer: client.
 */
#include "client/sync/bases_table.h"

#include <assert.h>

#include "core/alloc.h"

#define CHUNK_PAGES 512u
#define CHUNKS_MAX (RAMET_BASES_PAGES_MAX / CHUNK_PAGES)

void
ramet_base_table_init(struct ramet_base_table *table)
{
    *table = (struct ramet_base_table){.chunks = NULL};
}

void
ramet_base_table_clear(struct ramet_base_table *table)
{
    assert(table->packed_count <= table->packed_capacity);
    for (uint32_t i = 0; i < table->chunk_count; i++)
        ramet_free(table->chunks[i]);
    ramet_free(table->chunks);
    ramet_free(table->packed);
    ramet_base_table_init(table);
}

static uint64_t *
find_word(const struct ramet_base_table *table, uint32_t pgno)
{
    const uint32_t chunk = (pgno - 1) / CHUNK_PAGES;

    assert(pgno >= 1);
    if (chunk >= table->chunk_count || table->chunks[chunk] == NULL)
        return NULL;
    return &table->chunks[chunk][(pgno - 1) % CHUNK_PAGES];
}

static uint64_t *
need_word(struct ramet_base_table *table, uint32_t pgno)
{
    const uint32_t chunk = (pgno - 1) / CHUNK_PAGES;

    assert(pgno >= 1 && pgno <= RAMET_BASES_PAGES_MAX);
    if (chunk >= table->chunk_count) {
        const uint32_t count =
            chunk < CHUNKS_MAX / 2 ? 2 * chunk + 1 : CHUNKS_MAX;
        uint64_t **const grown =
            ramet_realloc(table->chunks, count * sizeof(*grown));

        if (grown == NULL)
            return NULL;
        for (uint32_t i = table->chunk_count; i < count; i++)
            grown[i] = NULL;
        table->chunks = grown;
        table->chunk_count = count;
    }
    if (table->chunks[chunk] == NULL)
        table->chunks[chunk] = ramet_calloc(CHUNK_PAGES, sizeof(uint64_t));
    return find_word(table, pgno);
}

bool
ramet_base_table_image(const struct ramet_base_table *table, uint32_t pgno,
                       uint64_t *out_sum)
{
    const uint64_t *const word = find_word(table, pgno);

    if (word == NULL || (*word & 1) == 0)
        return false;
    *out_sum = *word;
    return true;
}

bool
ramet_base_sum_is(uint64_t known, uint64_t sum)
{
    return (known | 1) == (sum | 1);
}

struct ramet_base_packed *
ramet_base_table_packed(const struct ramet_base_table *table, uint32_t pgno)
{
    const uint64_t *const word = find_word(table, pgno);

    if (word == NULL || *word == 0 || (*word & 1) != 0)
        return NULL;
    assert(*word / 2 <= table->packed_count);
    return &table->packed[*word / 2 - 1];
}

/* The last packed one takes the place of the one that goes. */
static void
drop_packed(struct ramet_base_table *table, uint64_t word)
{
    struct ramet_base_packed *const gone = &table->packed[word / 2 - 1];
    const struct ramet_base_packed *const last =
        &table->packed[table->packed_count - 1];

    assert(word != 0 && (word & 1) == 0 && word / 2 <= table->packed_count);
    assert(table->packed_bytes >= gone->length);
    table->packed_bytes -= gone->length;
    if (gone != last) {
        *find_word(table, last->pgno) = word;
        *gone = *last;
    }
    table->packed_count--;
}

static void
forget_word(struct ramet_base_table *table, uint64_t *word)
{
    assert(word != NULL);
    if (*word != 0 && (*word & 1) == 0)
        drop_packed(table, *word);
    *word = 0;
}

void
ramet_base_table_forget(struct ramet_base_table *table, uint32_t first,
                        uint32_t last)
{
    const uint64_t end = (uint64_t)table->chunk_count * CHUNK_PAGES;

    assert(first >= 1);
    for (uint64_t p = first; p <= last && p <= end; p++) {
        uint64_t *const word = find_word(table, (uint32_t)p);

        if (word == NULL)
            p = (p - 1) / CHUNK_PAGES * CHUNK_PAGES + CHUNK_PAGES;
        else
            forget_word(table, word);
    }
}

static enum ramet_rc
add_packed(struct ramet_base_table *table, uint64_t *word,
           const struct ramet_base_note *note, uint64_t offset)
{
    assert(*word == 0 && table->packed_count <= table->packed_capacity);
    if (table->packed_count == table->packed_capacity) {
        const uint32_t capacity =
            table->packed_capacity == 0 ? 64 : table->packed_capacity * 2;
        struct ramet_base_packed *const grown =
            ramet_realloc(table->packed, capacity * sizeof(*grown));

        if (grown == NULL)
            return RAMET_ENOMEM;
        table->packed = grown;
        table->packed_capacity = capacity;
    }
    table->packed[table->packed_count++] =
        (struct ramet_base_packed){.kind = note->kind,
                                   .pgno = note->pgno,
                                   .length = note->length,
                                   .offset = offset,
                                   .sum = note->sum,
                                   .deltas = note->deltas,
                                   .delta_bytes = note->delta_bytes};
    table->packed_bytes += note->length;
    *word = (uint64_t)table->packed_count * 2;
    return RAMET_OK;
}

enum ramet_rc
ramet_base_table_note(struct ramet_base_table *table,
                      const struct ramet_base_note *note, uint64_t offset)
{
    struct ramet_base_packed *packed;
    uint64_t *word;

    assert(note->pgno >= 1 && note->count >= 1);
    if (note->kind == RAMET_BASE_NOTE_FORGET) {
        ramet_base_table_forget(table, note->pgno,
                                note->pgno + (note->count - 1));
        return RAMET_OK;
    }
    if (note->pgno > RAMET_BASES_PAGES_MAX) /* invariant (1) */
        return RAMET_OK;
    if (note->kind == RAMET_BASE_NOTE_DELTA) {
        packed = ramet_base_table_packed(table, note->pgno);
        if (packed != NULL) {
            packed->deltas += packed->deltas < UINT32_MAX;
            packed->delta_bytes += note->delta_bytes;
        }
        return RAMET_OK;
    }
    word = need_word(table, note->pgno);
    if (word == NULL)
        return RAMET_ENOMEM;
    forget_word(table, word);
    if (ramet_base_note_has_page(note->kind))
        return add_packed(table, word, note, offset);
    *word = note->sum | 1;
    return RAMET_OK;
}

enum ramet_rc
ramet_base_table_note_images(struct ramet_base_table *table, uint32_t first,
                             const uint8_t *notes, size_t count)
{
    const uint8_t *sum = notes + RAMET_BASES_IMAGE_SIZE - sizeof(uint64_t);
    uint64_t *word = NULL;

    assert(first >= 1 && count <= UINT32_MAX);
    for (uint64_t p = first; p - first < count && p <= RAMET_BASES_PAGES_MAX;
         p++, word++) {
        if (word == NULL || (p - 1) % CHUNK_PAGES == 0)
            word = need_word(table, (uint32_t)p);
        if (word == NULL)
            return RAMET_ENOMEM;
        if (*word != 0)
            forget_word(table, word);
        *word = ramet_get_le64(sum) | 1;
        sum += RAMET_BASES_IMAGE_SIZE;
    }
    return RAMET_OK;
}

uint32_t
ramet_base_table_next(const struct ramet_base_table *table, uint32_t pgno)
{
    const uint64_t end = (uint64_t)table->chunk_count * CHUNK_PAGES;

    for (uint64_t p = (uint64_t)pgno + 1; p <= end; p++) {
        const uint64_t *const word = find_word(table, (uint32_t)p);

        if (word == NULL)
            p = (p - 1) / CHUNK_PAGES * CHUNK_PAGES + CHUNK_PAGES;
        else if (*word != 0)
            return (uint32_t)p;
    }
    return 0;
}
