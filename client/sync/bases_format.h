/*
 * bases_format.h - the bytes of the file `bases`: docs/replica.md, "bases".
 *
 * A header, and records: each leads from what is known at one commit to what is
 * known at a later one, in *notes* about pages, ascending. Those of a chunk of pages are a
 * section, and a record's directory says where its sections are: so a page is found
 * without reading what is said of others. Pure, and strict: what is not as it was written
 * is refused.
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
#define RAMET_BASES_PAGES_MAX (4u << 20) /* nothing is known of those behind */
#define RAMET_BASES_CHUNK_PAGES 512u
#define RAMET_BASES_CHUNKS_MAX (RAMET_BASES_PAGES_MAX / RAMET_BASES_CHUNK_PAGES)
#define RAMET_BASES_DIRECTORY_MAX (256u << 10) /* bytes */
#define RAMET_BASES_SECTION_MAX (16u << 10)    /* bytes of its notes */
#define RAMET_BASES_PACKED_MAX (1u << 17)      /* of a packed page */

struct ramet_bases_header {
    uint64_t salt; /* another for each file that ever was */
    uint32_t page_size;
    struct ramet_vid volume;
};
void ramet_bases_header_encode(const struct ramet_bases_header *header,
                               uint8_t out[RAMET_BASES_HEADER_SIZE]);
bool ramet_bases_header_decode(const uint8_t in[RAMET_BASES_HEADER_SIZE],
                               struct ramet_bases_header *out);

/* A record: its head, then its sections, then the directory of these. */
struct ramet_bases_record {
    uint32_t directory_length;
    uint64_t body_length;      /* bytes of all sections */
    uint32_t least_page_count; /* nothing is known of pages above it */
    struct ramet_point before; /* zeros: nothing was known before */
    struct ramet_point after;
};
/* The checksum is over the head and the directory, for this file and place alone. */
void ramet_bases_record_encode(const struct ramet_bases_record *record,
                               const uint8_t *directory, uint64_t salt,
                               uint64_t offset,
                               uint8_t out[RAMET_BASES_RECORD_SIZE]);
void ramet_bases_record_decode(const uint8_t in[RAMET_BASES_RECORD_SIZE],
                               struct ramet_bases_record *out);
bool ramet_bases_record_is_right(const uint8_t in[RAMET_BASES_RECORD_SIZE],
                                 const uint8_t *directory, size_t len,
                                 uint64_t salt, uint64_t offset);

/* What a record says of one chunk of pages: packed pages, back to back, and then the
 * notes. */
struct ramet_bases_section {
    uint32_t chunk; /* pages chunk * RAMET_BASES_CHUNK_PAGES + 1 and so on */
    uint32_t notes_length; /* 0: nothing is known of the chunk */
    uint64_t packed_length;
    uint64_t sum; /* XXH3-64 of the notes */
};
/* `*io_next`: the chunk behind that of the section before, 0 at first. */
void ramet_bases_section_encode(const struct ramet_bases_section *section,
                                uint32_t *io_next, struct ramet_buf *out);
/* False at the end, and where in->bad. */
bool ramet_bases_section_decode(struct ramet_reader *in, uint32_t *io_next,
                                struct ramet_bases_section *out);
static inline uint32_t
ramet_bases_chunk_of(uint32_t pgno)
{
    return (pgno - 1) / RAMET_BASES_CHUNK_PAGES;
}
/* The page before its first one. */
static inline uint32_t
ramet_bases_chunk_start(uint32_t chunk)
{
    return chunk * RAMET_BASES_CHUNK_PAGES;
}

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
    uint32_t count;       /* FORGET, IMAGE: pages; 1 otherwise */
    const uint8_t *sums;  /* IMAGE: XXH3-64 of each, little-endian */
    uint64_t sum;         /* PACKED, BACK: XXH3-64 of the image */
    uint32_t length;      /* PACKED, BACK: bytes of the packed page */
    uint32_t deltas;      /* PACKED, BACK: since the image; DELTA: 1 */
    uint64_t delta_bytes; /* PACKED, BACK, DELTA: of these */
};
/* `*io_last`: the last page of the note before; at first the one before the chunk. */
void ramet_bases_note_encode(const struct ramet_base_note *note,
                             uint32_t *io_last, struct ramet_buf *out);
/* The next note of a chunk's section; its `sums` are in what is read. False at the end,
 * and where in->bad. */
bool ramet_bases_note_decode(struct ramet_reader *in, uint32_t chunk,
                             uint32_t *io_last, struct ramet_base_note *out);

#endif
