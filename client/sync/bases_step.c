/*
 * bases_step.c - see bases_step.h.
 *
 * Layer: client.
 */
#include "client/sync/bases_step.h"

#include <assert.h>

#include "core/hash.h"

#define FLUSH_BYTES (1u << 20)
#define SUM_SIZE 8u

void
ramet_bases_step_init(struct ramet_bases_step *step)
{
    *step = (struct ramet_bases_step){.is_on = false};
    ramet_buf_init(&step->body, FLUSH_BYTES + 2 * RAMET_PAGE_SIZE_MAX +
                                    RAMET_BASES_SECTION_MAX);
    ramet_buf_init(&step->directory, RAMET_BASES_DIRECTORY_MAX);
    ramet_buf_init(&step->notes, RAMET_BASES_SECTION_MAX);
    ramet_buf_init(&step->images, RAMET_BASES_CHUNK_PAGES * SUM_SIZE);
}

void
ramet_bases_step_done(struct ramet_bases_step *step)
{
    ramet_buf_done(&step->body);
    ramet_buf_done(&step->directory);
    ramet_buf_done(&step->notes);
    ramet_buf_done(&step->images);
}

void
ramet_bases_step_begin(struct ramet_bases_step *step, const struct ramet_os *os,
                       int fd, uint64_t offset)
{
    assert(fd >= 0 && offset >= RAMET_BASES_HEADER_SIZE);
    ramet_buf_clear(&step->body);
    ramet_buf_clear(&step->directory);
    ramet_buf_clear(&step->notes);
    ramet_buf_clear(&step->images);
    step->os = os;
    step->fd = fd;
    step->is_on = true;
    step->offset = offset;
    step->body_length = step->packed_length = step->section_packed = 0;
    step->chunk = RAMET_BASES_CHUNKS_MAX;
    step->next_chunk = 0;
}

/* What waits of the body goes to its place behind the record's head. */
static void
flush(struct ramet_bases_step *step)
{
    const uint64_t at = step->offset + RAMET_BASES_RECORD_SIZE +
                        step->body_length - step->body.len;

    assert(!step->is_on || step->body.len <= step->body_length);
    if (step->is_on && step->body.len > 0 &&
        ramet_os_write_full(step->os, step->fd, step->body.data, step->body.len,
                            at, RAMET_BASES_NAME, NULL) != RAMET_OK)
        step->is_on = false;
    ramet_buf_clear(&step->body);
}

/* Images that are still to be noted. */
static void
note_images(struct ramet_bases_step *step)
{
    const struct ramet_base_note images = {
        .kind = RAMET_BASE_NOTE_IMAGE,
        .pgno = step->first_image,
        .count = (uint32_t)(step->images.len / SUM_SIZE),
        .sums = step->images.data};

    assert(step->images.len <= RAMET_BASES_CHUNK_PAGES * SUM_SIZE);
    if (images.count > 0)
        ramet_bases_note_encode(&images, &step->last, &step->notes);
    ramet_buf_clear(&step->images);
}

static void
end_section(struct ramet_bases_step *step)
{
    struct ramet_bases_section section = {
        .chunk = step->chunk, .packed_length = step->section_packed};

    if (step->chunk == RAMET_BASES_CHUNKS_MAX)
        return;
    note_images(step);
    section.notes_length = (uint32_t)step->notes.len;
    if (section.notes_length > 0) {
        section.sum = ramet_hash64(step->notes.data, step->notes.len);
        ramet_bases_section_encode(&section, &step->next_chunk,
                                   &step->directory);
        ramet_buf_bytes(&step->body, step->notes.data, step->notes.len);
        step->body_length += step->notes.len;
    }
    if (step->notes.failed != RAMET_OK || step->body.failed != RAMET_OK ||
        step->directory.failed != RAMET_OK)
        step->is_on = false;
    ramet_buf_clear(&step->notes);
    step->chunk = RAMET_BASES_CHUNKS_MAX;
    step->section_packed = 0;
}

void
ramet_bases_step_at(struct ramet_bases_step *step, uint32_t pgno)
{
    const uint32_t chunk = ramet_bases_chunk_of(pgno);

    assert(pgno >= 1);
    if (!step->is_on || step->chunk == chunk || pgno > RAMET_BASES_PAGES_MAX)
        return;
    end_section(step);
    step->chunk = chunk;
    step->last = ramet_bases_chunk_start(chunk);
}

/* Nothing is known of the pages: chunk by chunk. */
static void
note_gone(struct ramet_bases_step *step, struct ramet_base_note gone)
{
    const uint64_t end = (uint64_t)gone.pgno + gone.count;

    for (uint64_t p = gone.pgno; p < end && p <= RAMET_BASES_PAGES_MAX;) {
        const uint32_t chunk = ramet_bases_chunk_of((uint32_t)p);
        const uint64_t next = ramet_bases_chunk_start(chunk + 1) + 1;

        ramet_bases_step_at(step, (uint32_t)p);
        gone.pgno = (uint32_t)p;
        gone.count = (uint32_t)((end < next ? end : next) - p);
        if (gone.count < RAMET_BASES_CHUNK_PAGES) {
            note_images(step);
            ramet_bases_note_encode(&gone, &step->last, &step->notes);
        } else {
            const struct ramet_bases_section none = {.chunk = chunk};

            ramet_bases_section_encode(&none, &step->next_chunk,
                                       &step->directory);
        }
        p = next;
    }
}

void
ramet_bases_step_note(struct ramet_bases_step *step,
                      const struct ramet_base_note *note)
{
    const uint32_t images = (uint32_t)(step->images.len / SUM_SIZE);

    if (!step->is_on || note->pgno > RAMET_BASES_PAGES_MAX)
        return;
    if (note->kind == RAMET_BASE_NOTE_FORGET) {
        note_gone(step, *note);
        return;
    }
    assert(note->count == 1);
    ramet_bases_step_at(step, note->pgno);
    if (note->kind == RAMET_BASE_NOTE_IMAGE) {
        if (step->images.len > 0 && note->pgno != step->first_image + images)
            note_images(step);
        if (step->images.len == 0)
            step->first_image = note->pgno;
        ramet_buf_le64(&step->images, note->sum);
    } else {
        note_images(step);
        ramet_bases_note_encode(note, &step->last, &step->notes);
    }
    if (step->images.failed != RAMET_OK)
        step->is_on = false;
    if (ramet_base_note_has_page(note->kind)) {
        step->body_length += note->length;
        step->packed_length += note->length;
        step->section_packed += note->length;
    }
    if (step->body.len >= FLUSH_BYTES)
        flush(step);
}

void
ramet_bases_step_end(struct ramet_bases_step *step)
{
    end_section(step);
    flush(step);
    assert(!step->is_on || step->packed_length <= step->body_length);
}
