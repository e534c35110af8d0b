/*
 * frames.h - the bytes of frame files (of the log, of fetched pages, of retained
 * versions): frames, trailers, headers. Pure encoding and decoding;
 * docs/replica.md has the tables.
 *
 *   (1) Decoders are given hostile bytes; they return false or RAMET_ECORRUPT.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_FORMAT_FRAMES_H
#define RAMET_CLIENT_STORE_FORMAT_FRAMES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/store/format/pos.h"
#include "core/err.h"
#include "core/hash.h"
#include "core/id.h"
#include "metastore/commit.h"

#define RAMET_LOGFRAME_HEADER_SIZE 32u
#define RAMET_FETCHED_HEADER_SIZE 64u /* a fetched frame's: has the LSN too */
#define RAMET_RETAINED_HEADER_SIZE 64u
#define RAMET_TRAILER_FIXED 256u
#define RAMET_TRAILER_MAX (256u + 4096u + 64u)
#define RAMET_SUPER_NAME_MAX 4096u
#define RAMET_TRUE_HEADER_SIZE 100u

static inline bool
ramet_page_size_ok(uint64_t size)
{
    return size >= 512 && size <= 65536 && (size & (size - 1)) == 0;
}

/* ---- files --------------------------------------------------------------- */

enum ramet_frames_type {
    RAMET_FRAMES_LOG = 1,
    RAMET_FRAMES_FETCHED = 2,
    RAMET_FRAMES_RETAINED = 3,
};

struct ramet_frame_file_header {
    enum ramet_frames_type type;
    uint64_t salt;
    uint64_t number;
    uint32_t page_size;
    struct ramet_id base_id; /* of the replica that it belongs to */
};

void
ramet_frame_file_header_encode(const struct ramet_frame_file_header *header,
                               uint8_t out[RAMET_FRAME_FILE_HEADER_SIZE]);
RAMET_NODISCARD bool
ramet_frame_file_header_decode(const uint8_t in[RAMET_FRAME_FILE_HEADER_SIZE],
                               struct ramet_frame_file_header *out);
void ramet_frame_file_name(enum ramet_frames_type type, uint64_t number,
                           char out[32]);
/* False unless `name` is exactly what ramet_frame_file_name() writes. */
bool
ramet_frame_file_name_parse(const char *name, enum ramet_frames_type *out_type,
                            uint64_t *out_number);

/* ---- frames -------------------------------------------------------------- */

enum ramet_logframe_kind {
    RAMET_LOGFRAME_IMAGE = 1,
    RAMET_LOGFRAME_ZERO = 2,
    RAMET_LOGFRAME_REMOTE = 3,
    RAMET_LOGFRAME_TRAILER = 4,
    RAMET_LOGFRAME_DEAD = 5, /* an image that does not count any more */
};

struct ramet_logframe {
    uint32_t pgno;
    enum ramet_logframe_kind kind;
    struct ramet_entry replaced; /* the entry before this frame */
    struct ramet_pos pos;
    uint64_t sum; /* as stored: page's hash mixed with the header's */
};

static inline bool
ramet_logframe_has_page(enum ramet_logframe_kind kind)
{
    return kind == RAMET_LOGFRAME_IMAGE || kind == RAMET_LOGFRAME_DEAD;
}
static inline enum ramet_entry_kind
ramet_entry_kind_of_logframe(enum ramet_logframe_kind kind)
{
    return kind == RAMET_LOGFRAME_ZERO     ? RAMET_ENTRY_LOG_ZERO
           : kind == RAMET_LOGFRAME_REMOTE ? RAMET_ENTRY_REMOTE
                                           : RAMET_ENTRY_IMAGE;
}

/* Fill in the header; `page_hash` is ramet_hash64() of the page, 0 without
 * one. Returns the sum. */
uint64_t
ramet_logframe_encode(uint8_t out[RAMET_LOGFRAME_HEADER_SIZE], uint32_t pgno,
                      enum ramet_logframe_kind kind,
                      struct ramet_entry replaced, struct ramet_pos pos,
                      uint64_t salt, uint64_t page_hash);
/* Fields alone; false if they can't be a frame at `pos`. */
RAMET_NODISCARD bool
ramet_logframe_decode(const uint8_t in[RAMET_LOGFRAME_HEADER_SIZE],
                      struct ramet_pos pos, struct ramet_logframe *out);
/* The page's hash that the header claims (0 where it has no page). */
uint64_t ramet_logframe_page_hash(const uint8_t in[RAMET_LOGFRAME_HEADER_SIZE],
                                  uint64_t salt);
/* A fetched frame: header of 64 bytes, then the page (image) or nothing (zero,
 * `page_hash` 0). */
void
ramet_fetched_encode(uint8_t out[RAMET_FETCHED_HEADER_SIZE], uint32_t pgno,
                     enum ramet_logframe_kind kind, struct ramet_entry replaced,
                     struct ramet_pos pos, const struct ramet_point *at,
                     uint64_t salt, uint64_t page_hash);
RAMET_NODISCARD bool
ramet_fetched_decode(const uint8_t in[RAMET_FETCHED_HEADER_SIZE],
                     struct ramet_pos pos, uint64_t salt,
                     struct ramet_logframe *out, struct ramet_point *out_at,
                     uint64_t *out_page_hash);

/* A page as snapshots with tails `least` to `most` have it: retained.c. */
struct ramet_retained_frame {
    uint32_t pgno;
    enum ramet_entry_kind kind; /* IMAGE, ZERO or ABSENT */
    struct ramet_pos before;    /* the page's frame kept before, or none */
    struct ramet_pos pos;
    struct ramet_pos least, most;
    uint64_t page_hash; /* 0 without a page */
};
static inline size_t
ramet_retained_frame_size(const struct ramet_retained_frame *frame,
                          uint32_t page_size)
{
    assert(ramet_page_size_ok(page_size));
    return RAMET_RETAINED_HEADER_SIZE +
           (frame->kind == RAMET_ENTRY_IMAGE ? page_size : 0);
}
void ramet_retained_frame_encode(uint8_t out[RAMET_RETAINED_HEADER_SIZE],
                                 const struct ramet_retained_frame *frame,
                                 uint64_t salt);
/* False if it can't be the frame at `pos`. The page's hash is what the header
 * claims; without a page its being 0 is what shows that the header is right. */
RAMET_NODISCARD bool
ramet_retained_frame_decode(const uint8_t in[RAMET_RETAINED_HEADER_SIZE],
                            struct ramet_pos pos, uint64_t salt,
                            struct ramet_retained_frame *out);

/* One frame more in the checksum over a record's frames. */
static inline uint64_t
ramet_logframes_sum(uint64_t sum, uint64_t frame_sum)
{
    sum = (sum ^ frame_sum) * UINT64_C(0x9E3779B97F4A7C15);
    return sum ^ sum >> 29;
}

/* ---- trailers ------------------------------------------------------------ */

enum ramet_record_type {
    RAMET_RECORD_COMMIT = 1,
    RAMET_RECORD_PULL = 2,
    RAMET_RECORD_INTENT = 3,
    RAMET_RECORD_DURABLE = 4,
    RAMET_RECORD_ABANDON = 5,
    RAMET_RECORD_RESET = 6,
};

enum ramet_record_flags {
    /* Belongs to the commit before it: not counted as one. */
    RAMET_RECORD_TAIL = 1u << 0,
    /* Of a pull or reset: the schema is the one before, its cookie too. */
    RAMET_RECORD_SAME_SCHEMA = 1u << 1,
    /* It says when it was written. The codec's own. */
    RAMET_RECORD_TIMED = 1u << 2,
    /* Of a commit with sync=commit: it counts once its word says that the
     * remote has it (doubt.c), and is then its own intent. */
    RAMET_RECORD_DOUBT = 1u << 3,
};

struct ramet_trailer {
    enum ramet_record_type type;
    uint32_t flags;
    struct ramet_pos start; /* position of the record */
    struct ramet_pos pos;   /* of the trailer */
    struct ramet_pos tail;  /* just past it */
    uint64_t seq;
    uint64_t prev; /* sum of the trailer before */
    uint64_t sum;
    uint64_t frame_count;
    uint64_t frames_sum;
    struct ramet_pos
        synced; /* the log was on disk up to there when it was written */
    uint64_t byte_length;
    uint32_t page_size;
    uint32_t page_count;
    uint32_t least_page_count; /* since the record before */
    uint32_t counter;
    uint32_t remote_page_count;
    uint64_t lsn;
    uint64_t lsn_time_ms;
    uint64_t time_ms; /* when it was written, by this machine; 0: not known */
    struct ramet_hash lsn_hash;
    struct ramet_cid commit; /* an intent's, and that of RAMET_RECORD_DOUBT */
    uint8_t header[RAMET_TRUE_HEADER_SIZE];
    const char *super_journal; /* borrowed; NULL: none */
    uint32_t super_length;
    bool is_void;
    bool is_confirmed; /* of RAMET_RECORD_DOUBT: in the remote */
};

/* Returns its size; sets pos-derived tail and sum in `trailer`. */
size_t ramet_trailer_encode(struct ramet_trailer *trailer, uint64_t salt,
                            uint8_t *out);
/* The size that a trailer's first 32 bytes claim, or 0. */
size_t ramet_trailer_peek_size(const uint8_t in[RAMET_LOGFRAME_HEADER_SIZE]);
/* What a trailer of that size claims to know as synced when it was written, and
 * its number, its checksum unseen; false if it does not even claim to stand at `pos`. */
RAMET_NODISCARD bool
ramet_trailer_peek_synced(const uint8_t *in, size_t size, struct ramet_pos pos,
                          struct ramet_pos *out_synced, uint64_t *out_seq);
/* `in` has the peeked size. super_journal points into `in`. */
RAMET_NODISCARD bool
ramet_trailer_decode(const uint8_t *in, size_t size, struct ramet_pos pos,
                     uint64_t salt, struct ramet_trailer *out);
/* Where the void word lies from the trailer's start, and what it says of a
 * record that does not count, and of one in doubt that does. */
size_t ramet_trailer_void_offset(const struct ramet_trailer *trailer);
static inline uint64_t
ramet_trailer_void_value(const struct ramet_trailer *trailer)
{
    return ~trailer->sum;
}
static inline uint64_t
ramet_trailer_confirm_value(uint64_t void_value)
{
    return ~void_value;
}
/* Complete, and whether it counts only the remote knows. */
static inline bool
ramet_trailer_in_doubt(const struct ramet_trailer *trailer)
{
    assert(!(trailer->is_void && trailer->is_confirmed)); /* one word says it */
    return (trailer->flags & RAMET_RECORD_DOUBT) != 0 &&
           !trailer->is_confirmed && !trailer->is_void;
}

#endif
