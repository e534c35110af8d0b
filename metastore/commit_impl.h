/*
 * commit_impl.h - what the encoder and the decoder of commits share: offsets
 * of docs/format.md, "Commits", and the rules that hold for both.
 *
 * Layer: metastore, private.
 */
#ifndef RAMET_METASTORE_COMMIT_IMPL_H
#define RAMET_METASTORE_COMMIT_IMPL_H

#include "metastore/commit.h"

#define RAMET_COMMIT_MAGIC "RAMTCMT\x04"

/* Offsets of the core's fields. */
enum {
    COMMIT_AT_HEAD_LENGTH = 8,
    COMMIT_AT_INLINE_LENGTH = 12,
    COMMIT_AT_LSN = 16,
    COMMIT_AT_FLAGS = 24,
    COMMIT_AT_PAGE_SIZE = 26,
    COMMIT_AT_KIND = 27,
    COMMIT_AT_ALGO = 28,
    COMMIT_AT_DISTANCE = 29,
    COMMIT_AT_HEAD_BYTES = 30,
    COMMIT_AT_VOLUME = 32,
    COMMIT_AT_ID = 48,
    COMMIT_AT_WRITER = 64,
    COMMIT_AT_PREDECESSOR = 80,
    COMMIT_AT_TIME = 96,
    COMMIT_AT_PAGE_COUNT = 104,
    COMMIT_AT_LEAST = 108,
    COMMIT_AT_BYTE_LENGTH = 112,
    COMMIT_AT_MAP_ID = 120,
    COMMIT_AT_ROOT_OFFSET = 136,
    COMMIT_AT_ROOT_LENGTH = 144,
    COMMIT_AT_ROOT_HASH = 148,
    COMMIT_AT_FLOOR = 164,
    COMMIT_AT_CUTOFF = 172,
    COMMIT_AT_CONTENT_LSN = 188,
    COMMIT_AT_CONTENT_HASH = 196,
    COMMIT_AT_RESERVED = 212,
    COMMIT_AT_BODY_HASH = 276,
    COMMIT_AT_HASH = 292,
};

#define COMMIT_RESERVED_SIZE 64u
#define COMMIT_ROLES                                                           \
    (RAMET_COMMIT_FENCE | RAMET_COMMIT_END | RAMET_COMMIT_UPKEEP)
#define COMMIT_SAYS_FIRST_PAGE 8u
#define COMMIT_FLAGS (COMMIT_ROLES | COMMIT_SAYS_FIRST_PAGE)

enum {
    SEGMENT_INLINE = 1,
    SEGMENT_DICT = 2,
    SEGMENT_TABLE = 4,
    SEGMENT_CHUNKS = 8,
};

enum { DELTAS_INLINE = 1 };

#define COMMIT_DISTANCE_MAX 64u
#define COMMIT_HEAD_BYTES_MAX 32768u
#define COMMIT_CHUNK_BYTES_MAX 16384u
/* Nodes of page maps; docs/format.md, "Page maps". */
#define COMMIT_MAP_NODE_MAX 32768u
#define COMMIT_MAP_HEADER_SIZE 40u

/* RAMET_ECORRUPT, in words. */
RAMET_NODISCARD enum ramet_rc
ramet_commit_damaged(uint64_t lsn, const char *what, struct ramet_err *err);
/* `deltas.pages` are known. */
RAMET_NODISCARD enum ramet_rc
ramet_commit_decode_deltas(struct ramet_reader *in,
                           struct ramet_commit_object *c,
                           struct ramet_err *err);

/* A dictionary's place, as a segment and page 1 have it. */
void ramet_commit_encode_dict(const struct ramet_extent *dict,
                              struct ramet_buf *out);
/* False: malformed. */
bool ramet_commit_decode_dict(struct ramet_reader *in,
                              const struct ramet_vid *volume,
                              struct ramet_extent *out);
/* Where page 1 lies, if the commit says so. */
void ramet_commit_encode_first_page(const struct ramet_commit_object *c,
                                    struct ramet_buf *out);
RAMET_NODISCARD enum ramet_rc
ramet_commit_decode_first_page(struct ramet_reader *in,
                               struct ramet_commit_object *c,
                               struct ramet_err *err);
/* All else is decoded: what does not agree with it, in words, or NULL. A delta that
 * the commit's own blocks name is taken from there. */
const char *ramet_commit_take_first_page(struct ramet_commit_object *c);

/* What is wrong with the core's fields, in words, or NULL. */
const char *ramet_commit_flaw(const struct ramet_commit_object *commit);

/* Is each delta of a page above the least page count, which has no base of its own, over
 * another page's, which is not? */
bool ramet_commit_new_deltas_are_named(const struct ramet_commit_object *c);

#endif
