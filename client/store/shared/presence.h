/*
 * presence.h - what the file `presence` says of each page of the base: 8 bytes
 * a page, with check bits of their own; docs/replica.md.
 *
 *   (1) a word that fails its check says nothing: the page is neither here nor
 *       elsewhere, and reading it is an error, until `ramet verify` mends it
 *   (2) the checksum of page 1 leaves out the first 100 bytes of the file,
 *       which stand in `state`: a clean close may change them
 *   (3) of a checksum 48 bits are kept
 *   (4) words that the state carries (unsynced.h) go into the file before
 *       anything is read there, or written; where nothing can be written, or
 *       there is no room, over what was read
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_PRESENCE_H
#define RAMET_CLIENT_STORE_SHARED_PRESENCE_H

#include "client/store/format/frames.h"
#include "client/store/format/presence_value.h"

#define RAMET_PRESENCE_NAME "presence"

struct ramet_replica;
struct ramet_state_file;
struct ramet_unsynced;

/* The value for a page other than the first, by its XXH3-64. */
static inline uint64_t
ramet_presence_of_hash(uint64_t hash)
{
    const uint64_t kept = hash & RAMET_PRESENCE_MASK;

    if (kept == RAMET_PRESENCE_MASK)
        return kept - 1;
    return kept > RAMET_PRESENCE_ABSENT ? kept : kept + 4;
}

/* ... for any page; invariant (2). */
uint64_t
ramet_presence_sum(uint32_t pgno, const uint8_t *page, uint32_t page_size);

/* NONE: it is damaged. */
static inline enum ramet_entry_kind
ramet_presence_kind(uint64_t value, bool default_held)
{
    switch (value) {
    case RAMET_PRESENCE_DEFAULT:
        return default_held ? RAMET_ENTRY_HELD : RAMET_ENTRY_ABSENT;
    case RAMET_PRESENCE_ZERO:
        return RAMET_ENTRY_ZERO;
    case RAMET_PRESENCE_ABSENT:
        return RAMET_ENTRY_ABSENT;
    case RAMET_PRESENCE_DAMAGED:
        return RAMET_ENTRY_NONE;
    default:
        return RAMET_ENTRY_HELD;
    }
}

/* A page that may not be here: it is counted as absent. */
static inline bool
ramet_presence_is_missing(uint64_t value, bool default_held)
{
    const enum ramet_entry_kind kind = ramet_presence_kind(value, default_held);

    return kind == RAMET_ENTRY_ABSENT || kind == RAMET_ENTRY_NONE;
}

/* The word on disk; without check bits (`checked` false) as replicas of
 * version 1 have it. */
uint64_t ramet_presence_encode(uint32_t pgno, uint64_t value, bool checked);
uint64_t ramet_presence_decode(uint32_t pgno, uint64_t word, bool checked);
/* All that follows needs the base lock. */
RAMET_NODISCARD enum ramet_rc
ramet_presence_read(struct ramet_replica *replica, uint32_t first,
                    uint32_t count, uint64_t *out_values,
                    struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_presence_write(struct ramet_replica *replica, uint32_t first,
                     uint32_t count, const uint64_t *values,
                     struct ramet_err *err);
/* What was written since a sync of this that succeeded is on disk, and so are the
 * words that `state` carries: it carries none from here on. */
RAMET_NODISCARD enum ramet_rc
ramet_presence_sync(struct ramet_replica *replica,
                    struct ramet_state_file *state, struct ramet_err *err);
/* ... and all others of the base's pages, though an earlier sync failed. */
RAMET_NODISCARD enum ramet_rc
ramet_presence_sync_all(struct ramet_replica *replica,
                        struct ramet_state_file *state, struct ramet_err *err);
/* Words go into the file, which has all that count from here on. */
RAMET_NODISCARD enum ramet_rc
ramet_presence_put(struct ramet_replica *replica,
                   const struct ramet_unsynced *unsynced,
                   struct ramet_err *err);
/* By invariant (4), for whoever has the state at hand: what it carries goes into
 * the file, if it is not there already. */
RAMET_NODISCARD enum ramet_rc
ramet_presence_take_up(struct ramet_replica *replica,
                       const struct ramet_state_file *state,
                       struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_presence_truncate(struct ramet_replica *replica, uint32_t page_count,
                        struct ramet_err *err);
/* Presence of the base's pages, `page_count` in all, is about to be changed;
 * *out_absent of them are absent now. Counted anew if the last one who began
 * never came to the end. */
RAMET_NODISCARD enum ramet_rc
ramet_presence_begin(struct ramet_replica *replica, uint32_t page_count,
                     uint64_t *out_absent, struct ramet_err *err);
void ramet_presence_end(struct ramet_replica *replica, uint64_t absent);
/* Absent pages among the first `page_count`. */
RAMET_NODISCARD enum ramet_rc
ramet_presence_count_absent(struct ramet_replica *replica, uint32_t page_count,
                            uint64_t *out_absent, struct ramet_err *err);

#endif
