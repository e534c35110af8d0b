/*
 * pos.h - places in the log, and what an index entry says: two types of one
 * number each, so that neither is taken for the other, nor for an LSN.
 *
 *   (1) Everything in a log, fetch or retained file begins at a multiple of
 *       RAMET_POS_UNIT bytes, so that a position is file number << 34 | units and
 *       leaves three bits for a kind
 *   (2) positions only grow while anybody has the replica open
 *
 * Layer: client, store/format.
 */
#ifndef RAMET_CLIENT_STORE_FORMAT_POS_H
#define RAMET_CLIENT_STORE_FORMAT_POS_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/snapshot.h"

#define RAMET_POS_UNIT 32u
#define RAMET_POS_UNIT_BITS 34
#define RAMET_FRAME_FILE_MAX ((UINT64_C(1) << 27) - 1)
#define RAMET_FRAME_OFFSET_MAX                                                 \
    (((UINT64_C(1) << RAMET_POS_UNIT_BITS) - 1) * RAMET_POS_UNIT)

#define RAMET_FRAME_FILE_HEADER_SIZE 64u

#define RAMET_NO_POS ((struct ramet_pos){0})
#define RAMET_POS_MAX ((struct ramet_pos){UINT64_MAX}) /* past them all */
static inline struct ramet_pos
ramet_pos_make(uint64_t number, uint64_t offset_bytes)
{
    assert(number <= UINT64_MAX >> RAMET_POS_UNIT_BITS);
    return (struct ramet_pos){number << RAMET_POS_UNIT_BITS |
                              offset_bytes / RAMET_POS_UNIT};
}
/* Where a file's records or frames begin. */
static inline struct ramet_pos
ramet_pos_first(uint64_t number)
{
    return ramet_pos_make(number, RAMET_FRAME_FILE_HEADER_SIZE);
}
static inline uint64_t
ramet_pos_file(struct ramet_pos pos)
{
    return pos.raw >> RAMET_POS_UNIT_BITS;
}
static inline uint64_t
ramet_pos_offset(struct ramet_pos pos)
{
    return (pos.raw & ((UINT64_C(1) << RAMET_POS_UNIT_BITS) - 1)) *
           RAMET_POS_UNIT;
}
static inline struct ramet_pos
ramet_pos_add(struct ramet_pos pos, uint64_t bytes)
{
    assert(bytes % RAMET_POS_UNIT == 0); /* invariant (1) */
    return (struct ramet_pos){pos.raw + bytes / RAMET_POS_UNIT};
}
/* From `from` on to `to`, of one file. */
static inline uint64_t
ramet_pos_bytes(struct ramet_pos from, struct ramet_pos to)
{
    assert(from.raw <= to.raw && ramet_pos_file(from) == ramet_pos_file(to));
    return (to.raw - from.raw) * RAMET_POS_UNIT;
}
static inline bool
ramet_pos_before(struct ramet_pos pos, struct ramet_pos other)
{
    return pos.raw < other.raw;
}
static inline bool
ramet_pos_is_none(struct ramet_pos pos)
{
    return pos.raw == 0;
}

/* One that sessions of all processes share. */
struct ramet_pos_word {
    _Atomic uint64_t raw;
};
static inline struct ramet_pos
ramet_pos_load(const struct ramet_pos_word *word)
{
    return (struct ramet_pos){atomic_load(&word->raw)};
}
static inline void
ramet_pos_store(struct ramet_pos_word *word, struct ramet_pos pos)
{
    atomic_store(&word->raw, pos.raw);
}
/* The value of an index entry: kind in the low three bits, above them a
 * position (log and fetched kinds) or a stamp (base kinds). */
enum ramet_entry_kind {
    RAMET_ENTRY_NONE = 0, /* not loaded */
    RAMET_ENTRY_HELD = 1,
    RAMET_ENTRY_ABSENT = 2,
    RAMET_ENTRY_ZERO = 3,
    RAMET_ENTRY_IMAGE = 4,
    RAMET_ENTRY_FETCHED = 5,
    RAMET_ENTRY_LOG_ZERO = 6,
    RAMET_ENTRY_REMOTE = 7,
};
struct ramet_entry {
    uint64_t raw;
};
#define RAMET_NO_ENTRY ((struct ramet_entry){0})
/* No entry: there is one, and no memory to look at it. */
#define RAMET_ENTRY_UNSEEN ((struct ramet_entry){UINT64_C(1) << 3})
static inline struct ramet_entry
ramet_entry_of_pos(enum ramet_entry_kind kind, struct ramet_pos pos)
{
    assert(kind >= RAMET_ENTRY_IMAGE);
    assert(pos.raw != 0 && pos.raw <= UINT64_MAX >> 3); /* the kind's bits */
    return (struct ramet_entry){pos.raw << 3 | (uint64_t)kind};
}
static inline struct ramet_entry
ramet_entry_of_stamp(enum ramet_entry_kind kind, uint64_t stamp)
{
    assert(kind >= RAMET_ENTRY_HELD && kind <= RAMET_ENTRY_ZERO);
    return (struct ramet_entry){stamp << 3 | (uint64_t)kind};
}
static inline enum ramet_entry_kind
ramet_entry_kind(struct ramet_entry entry)
{
    return (enum ramet_entry_kind)(entry.raw & 7);
}
/* Of a log or fetched kind. */
static inline struct ramet_pos
ramet_entry_pos(struct ramet_entry entry)
{
    return (struct ramet_pos){entry.raw >> 3};
}
static inline bool
ramet_entry_same(struct ramet_entry entry, struct ramet_entry other)
{
    return entry.raw == other.raw;
}
static inline bool
ramet_entry_is_none(struct ramet_entry entry)
{
    return entry.raw == 0;
}
static inline bool
ramet_entry_in_log(struct ramet_entry entry)
{
    const enum ramet_entry_kind kind = ramet_entry_kind(entry);

    return kind == RAMET_ENTRY_IMAGE || kind == RAMET_ENTRY_LOG_ZERO ||
           kind == RAMET_ENTRY_REMOTE;
}
/* The page's version is that frame's of the log, or of a later record, over which
 * it may have been fetched. */
static inline bool
ramet_entry_is_from(struct ramet_entry entry, struct ramet_entry frame)
{
    return ramet_entry_kind(entry) == RAMET_ENTRY_FETCHED ||
           (ramet_entry_in_log(entry) &&
            !ramet_pos_before(ramet_entry_pos(entry), ramet_entry_pos(frame)));
}
/* The page's bytes are to be had from the remote alone. */
static inline bool
ramet_entry_is_absent(struct ramet_entry entry)
{
    const enum ramet_entry_kind kind = ramet_entry_kind(entry);

    return kind == RAMET_ENTRY_ABSENT || kind == RAMET_ENTRY_REMOTE;
}

#endif
