/*
 * bases_format.h - the bytes of the file `bases`: docs/replica.md, "bases".
 *
 * A header, and records: each leads from what is known at one commit to what is
 * known at a later one, in *notes* about pages, ascending. Pure, and strict: what
 * is not as it was written is refused.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_BASES_FORMAT_H
#define RAMET_CLIENT_SYNC_BASES_FORMAT_H

#include "client/snapshot.h"
#include "core/bytes.h"
#include "core/id.h"

#define RAMET_BASES_NAME "bases"
#define RAMET_BASES_HEADER_SIZE 48u
#define RAMET_BASES_RECORD_SIZE 72u
#define RAMET_BASES_NOTES_MAX (48u << 20) /* bytes of one record's */
#define RAMET_BASES_PACKED_MAX (1u << 17) /* of a packed page */

struct ramet_bases_header {
    uint64_t salt; /* another for each file that ever was */
    uint32_t page_size;
    struct ramet_vid volume;
};
void ramet_bases_header_encode(const struct ramet_bases_header *header,
                               uint8_t out[RAMET_BASES_HEADER_SIZE]);
bool ramet_bases_header_decode(const uint8_t in[RAMET_BASES_HEADER_SIZE],
                               struct ramet_bases_header *out);

/* A record: its head, then packed pages, then the notes. */
struct ramet_bases_record {
    uint32_t notes_length;
    uint64_t pages_length;     /* bytes of packed pages */
    uint32_t least_page_count; /* nothing is known of pages above it */
    struct ramet_point before; /* zeros: nothing was known before */
    struct ramet_point after;
};
/* The checksum is over the head and the notes, for this file and place alone. */
void
ramet_bases_record_encode(const struct ramet_bases_record *record,
                          const uint8_t *notes, uint64_t salt, uint64_t offset,
                          uint8_t out[RAMET_BASES_RECORD_SIZE]);
void ramet_bases_record_decode(const uint8_t in[RAMET_BASES_RECORD_SIZE],
                               struct ramet_bases_record *out);
bool ramet_bases_record_is_right(const uint8_t in[RAMET_BASES_RECORD_SIZE],
                                 const uint8_t *notes, size_t len,
                                 uint64_t salt, uint64_t offset);

enum ramet_base_note_kind {
    RAMET_BASE_NOTE_FORGET = 0, /* nothing is known of `count` pages */
    RAMET_BASE_NOTE_IMAGE = 1,  /* the page itself, an image in the remote */
    RAMET_BASE_NOTE_DELTA = 2,  /* one more delta over what was packed before */
    RAMET_BASE_NOTE_PACKED = 3, /* deltas over what is packed here */
    RAMET_BASE_NOTE_BACK = 4,   /* the same, packed over the page's version at
                                   this commit */
};
/* Is a packed page noted? */
static inline bool
ramet_base_note_has_page(enum ramet_base_note_kind kind)
{
    return kind == RAMET_BASE_NOTE_PACKED || kind == RAMET_BASE_NOTE_BACK;
}

struct ramet_base_note {
    enum ramet_base_note_kind kind;
    uint32_t pgno;
    uint32_t count;       /* FORGET; 1 otherwise */
    uint64_t sum;         /* IMAGE, PACKED, BACK: XXH3-64 of the image */
    uint32_t length;      /* PACKED, BACK: bytes of the packed page */
    uint32_t deltas;      /* PACKED, BACK: since the image; DELTA: 1 */
    uint64_t delta_bytes; /* PACKED, BACK, DELTA: of these */
};
/* `*io_last`: the page of the note before, 0 at first. */
void ramet_bases_note_encode(const struct ramet_base_note *note,
                             uint32_t *io_last, struct ramet_buf *out);
/* Such a note of an image whose page is right behind that of the note before: two bytes,
 * and its sum. */
#define RAMET_BASES_IMAGE_SIZE 10u
/* How many of these come next, which are most of all notes. */
size_t ramet_bases_note_images(const struct ramet_reader *in);
/* False at the end, and where in->bad. */
bool ramet_bases_note_decode(struct ramet_reader *in, uint32_t *io_last,
                             struct ramet_base_note *out);

#endif
