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

#define CHUNK_PAGES RAMET_BASES_CHUNK_PAGES

void
ramet_base_table_init(struct ramet_base_table *table)
{
    *table = (struct ramet_base_table){.chunk_count = 0};
}

void
ramet_base_table_clear(struct ramet_base_table *table)
{
    assert(table->packed_count <= table->packed_capacity);
    for (uint32_t i = 0; i < table->chunk_count; i++)
        ramet_free(table->chunks[i].words);
    ramet_free(table->chunks);
    ramet_free(table->waiting);
    ramet_free(table->packed);
    ramet_base_table_init(table);
}

static uint64_t *
find_word(const struct ramet_base_table *table, uint32_t pgno)
{
    const uint32_t chunk = ramet_bases_chunk_of(pgno);

    assert(pgno >= 1);
    if (chunk >= table->chunk_count || table->chunks[chunk].words == NULL)
        return NULL;
    return &table->chunks[chunk].words[(pgno - 1) % CHUNK_PAGES];
}

static struct ramet_base_chunk *
need_chunk(struct ramet_base_table *table, uint32_t chunk)
{
    assert(chunk < RAMET_BASES_CHUNKS_MAX);
    if (chunk >= table->chunk_count) {
        const uint32_t count = chunk < RAMET_BASES_CHUNKS_MAX / 2
                                   ? 2 * chunk + 1
                                   : RAMET_BASES_CHUNKS_MAX;
        struct ramet_base_chunk *const grown =
            ramet_realloc(table->chunks, count * sizeof(*grown));

        if (grown == NULL)
            return NULL;
        for (uint32_t i = table->chunk_count; i < count; i++)
            grown[i] = (struct ramet_base_chunk){.words = NULL};
        table->chunks = grown;
        table->chunk_count = count;
    }
    return &table->chunks[chunk];
}

static uint64_t *
need_word(struct ramet_base_table *table, uint32_t pgno)
{
    struct ramet_base_chunk *const chunk =
        need_chunk(table, ramet_bases_chunk_of(pgno));

    if (chunk == NULL)
        return NULL;
    if (chunk->words == NULL)
        chunk->words = ramet_calloc(CHUNK_PAGES, sizeof(uint64_t));
    return find_word(table, pgno);
}

/* ---- what waits ------------------------------------------------------------ */

/* A number that is not in use; 0: no memory. */
static uint32_t
new_waiting(struct ramet_base_table *table)
{
    const uint32_t number = table->waiting_free;

    if (number != 0) {
        table->waiting_free = table->waiting[number - 1].next;
        return number;
    }
    assert(table->waiting_count <= table->waiting_capacity);
    if (table->waiting_count == table->waiting_capacity) {
        const uint32_t capacity =
            table->waiting_capacity == 0 ? 64 : table->waiting_capacity * 2;
        struct ramet_base_waiting *const grown =
            ramet_realloc(table->waiting, capacity * sizeof(*grown));

        if (grown == NULL)
            return 0;
        table->waiting = grown;
        table->waiting_capacity = capacity;
    }
    return ++table->waiting_count;
}

static enum ramet_rc
wait_for(struct ramet_base_table *table, uint32_t at,
         const struct ramet_base_waiting *waiting)
{
    struct ramet_base_chunk *const chunk = need_chunk(table, at);
    const uint32_t number = chunk != NULL ? new_waiting(table) : 0;

    if (number == 0)
        return RAMET_ENOMEM;
    table->waiting[number - 1] = *waiting;
    assert(waiting->next == 0);
    if (chunk->last_waiting != 0)
        table->waiting[chunk->last_waiting - 1].next = number;
    else
        chunk->first_waiting = number;
    chunk->last_waiting = number;
    return RAMET_OK;
}

bool
ramet_base_table_next_waiting(struct ramet_base_table *table, uint32_t chunk,
                              struct ramet_base_waiting *out)
{
    struct ramet_base_chunk *const from =
        chunk < table->chunk_count ? &table->chunks[chunk] : NULL;
    const uint32_t number = from != NULL ? from->first_waiting : 0;

    if (number == 0)
        return false;
    assert(number <= table->waiting_count);
    *out = table->waiting[number - 1];
    from->first_waiting = out->next;
    if (out->next == 0)
        from->last_waiting = 0;
    table->waiting[number - 1].next = table->waiting_free;
    table->waiting_free = number;
    return true;
}

bool
ramet_base_table_has_waiting(const struct ramet_base_table *table,
                             uint32_t chunk, bool *out_more)
{
    const struct ramet_base_chunk *const from =
        chunk < table->chunk_count ? &table->chunks[chunk] : NULL;

    *out_more = from != NULL && from->first_waiting != from->last_waiting;
    return from != NULL && from->first_waiting != 0;
}

/* Nothing is known of a chunk, whatever waits. */
static void
forget_chunk(struct ramet_base_table *table, uint32_t chunk)
{
    const uint32_t before_first = ramet_bases_chunk_start(chunk);
    struct ramet_base_waiting gone;

    assert(chunk < table->chunk_count);
    while (ramet_base_table_next_waiting(table, chunk, &gone))
        ;
    ramet_base_table_forget(table, before_first + 1,
                            before_first + CHUNK_PAGES);
}

enum ramet_rc
ramet_base_table_add(struct ramet_base_table *table,
                     const struct ramet_bases_section *section, uint64_t offset)
{
    const struct ramet_base_waiting waiting = {.section = *section,
                                               .offset = offset};

    assert(offset >= RAMET_BASES_HEADER_SIZE);
    if (section->notes_length > 0)
        return wait_for(table, section->chunk, &waiting);
    if (section->chunk < table->chunk_count)
        forget_chunk(table, section->chunk);
    return RAMET_OK;
}

enum ramet_rc
ramet_base_table_cut(struct ramet_base_table *table, uint32_t least)
{
    const struct ramet_base_waiting cut = {.is_cut = true, .least = least};
    uint32_t at = least / CHUNK_PAGES;

    if (at < table->chunk_count && least % CHUNK_PAGES != 0) {
        const uint32_t number = table->chunks[at].last_waiting;
        const struct ramet_base_waiting *const last =
            number != 0 ? &table->waiting[number - 1] : NULL;

        at++;
        if (last == NULL)
            ramet_base_table_forget(table, least + 1,
                                    ramet_bases_chunk_start(at));
        else if (!last->is_cut || last->least > least) {
            if (wait_for(table, at - 1, &cut) != RAMET_OK)
                return RAMET_ENOMEM;
        }
    }
    for (; at < table->chunk_count; at++)
        forget_chunk(table, at);
    return RAMET_OK;
}

/* ---- what was read --------------------------------------------------------- */

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

static enum ramet_rc
note_images(struct ramet_base_table *table, const struct ramet_base_note *note)
{
    uint64_t *const words = need_word(table, note->pgno);

    assert((note->pgno - 1) % CHUNK_PAGES + note->count <= CHUNK_PAGES);
    if (words == NULL)
        return RAMET_ENOMEM;
    for (uint32_t i = 0; i < note->count; i++) {
        if (words[i] != 0)
            forget_word(table, &words[i]);
        words[i] = ramet_get_le64(note->sums + 8 * (size_t)i) | 1;
    }
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
    if (note->kind == RAMET_BASE_NOTE_IMAGE)
        return note_images(table, note);
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
    return add_packed(table, word, note, offset);
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
