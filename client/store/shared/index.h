/*
 * index.h - the shared index: page -> where its newest version is.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_INDEX_H
#define RAMET_CLIENT_STORE_SHARED_INDEX_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

#include "client/store/format/frames.h"
#include "client/store/shared/index_header.h"
#include "client/store/shared/replica.h"

struct ramet_state_file;

/* Fill the fresh index's header from the state. */
void ramet_index_begin(struct ramet_replica *replica,
                       const struct ramet_state_file *state);

/* *out_seen_ctime: as the index before it had it; 0: there was none. */
RAMET_NODISCARD enum ramet_rc
ramet_index_create(struct ramet_replica *replica, int *out_fd,
                   int64_t *out_seen_ctime, struct ramet_err *err);
/* `void_pending` as the file has it, mapped or not: it outlives those who map it.
 */
uint64_t ramet_index_void_pending(const struct ramet_replica *replica);
/* When the base last changed, as the file has it; 0: not known. */
int64_t ramet_index_seen_ctime(const struct ramet_replica *replica);
/* Map what another process made. RAMET_ENOTFOUND: there is none that fits. */
RAMET_NODISCARD enum ramet_rc
ramet_index_map(struct ramet_replica *replica, bool writable,
                struct ramet_err *err);
void ramet_index_unmap(struct ramet_replica *replica);
/* Close its descriptor, which is needed again when the index grows. The caller has
 * the write and base locks. */
void ramet_index_let_go(struct ramet_replica *replica);
/* Its file to disk, as far as there is one. */
void ramet_index_sync(struct ramet_replica *replica);
/* Room for the entry of `pgno`. */
RAMET_NODISCARD enum ramet_rc
ramet_index_reserve(struct ramet_replica *replica, uint32_t pgno,
                    struct ramet_err *err);
/* ... and for where its retained versions are. */
RAMET_NODISCARD enum ramet_rc
ramet_index_reserve_retained(struct ramet_replica *replica, uint32_t pgno,
                             struct ramet_err *err);
/* The chunk's memory; NULL: can't be mapped. */
_Atomic uint64_t *
ramet_index_map_chunk(struct ramet_replica *replica, uint32_t chunk);
void ramet_index_copy(const struct ramet_replica *replica, uint64_t number,
                      struct ramet_published *out);
/* Newest snapshot; returns its number. */
uint64_t ramet_index_newest(const struct ramet_replica *replica,
                            struct ramet_published *out);
/* Is all in the base, and nothing in a log or fetch file? */
bool ramet_log_is_empty(const struct ramet_replica *replica);
/* Publish as the next one; needs the write lock. */
void ramet_index_publish(struct ramet_replica *replica,
                         const struct ramet_published *next);
/* Words that only grow. */
static inline void
ramet_index_raise(_Atomic uint64_t *word, uint64_t value)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);

    while (seen < value &&
           !atomic_compare_exchange_weak_explicit(
               word, &seen, value, memory_order_acq_rel, memory_order_relaxed))
        continue;
}
static inline void
ramet_pos_raise(struct ramet_pos_word *word, struct ramet_pos pos)
{
    ramet_index_raise(&word->raw, pos.raw);
}

/* Entries, and where pages' retained versions are, take turns chunk by chunk, so that the
 * file is no longer than its pages need. */
static inline uint64_t
ramet_index_entry_slot(uint32_t pgno)
{
    const uint64_t at = pgno - 1;

    assert(pgno >= 1);
    return at + (at & ~(uint64_t)(RAMET_CHUNK_ENTRIES - 1));
}

static inline uint64_t
ramet_index_retained_slot(uint32_t pgno)
{
    return ramet_index_entry_slot(pgno) + RAMET_CHUNK_ENTRIES;
}

static inline bool
ramet_index_has_room(const struct ramet_replica *replica, uint64_t at)
{
    const uint64_t block = at >> RAMET_BLOCK_BITS;
    const uint64_t word = atomic_load_explicit(
        &replica->head->blocks[block / 64], memory_order_acquire);

    assert(at >> RAMET_CHUNK_BITS < RAMET_CHUNK_COUNT);
    return (word >> (block % 64) & 1) != 0;
}

_Atomic uint64_t *
ramet_index_far_chunk(const struct ramet_replica *replica, uint32_t chunk);

/* NULL: not mapped yet. */
static inline _Atomic uint64_t *
ramet_index_chunk(const struct ramet_replica *replica, uint32_t chunk)
{
    assert(chunk < RAMET_CHUNK_COUNT);
    return chunk < RAMET_NEAR_CHUNKS
               ? atomic_load_explicit(&replica->near_chunks[chunk],
                                      memory_order_acquire)
               : ramet_index_far_chunk(replica, chunk);
}

/* Where there is room for it; NULL: can't be mapped. */
static inline _Atomic uint64_t *
ramet_index_slot_with_room(struct ramet_replica *replica, uint64_t at)
{
    const uint32_t chunk_at = (uint32_t)(at >> RAMET_CHUNK_BITS);
    _Atomic uint64_t *chunk = ramet_index_chunk(replica, chunk_at);

    if (chunk == NULL)
        chunk = ramet_index_map_chunk(replica, chunk_at);
    return chunk == NULL ? NULL : &chunk[at & (RAMET_CHUNK_ENTRIES - 1)];
}

/* NULL also where there is no room for such an entry (it reads as "not loaded"). */
static inline _Atomic uint64_t *
ramet_index_slot_at(struct ramet_replica *replica, uint64_t at)
{
    return ramet_index_has_room(replica, at)
               ? ramet_index_slot_with_room(replica, at)
               : NULL;
}

static inline _Atomic uint64_t *
ramet_index_slot(struct ramet_replica *replica, uint32_t pgno)
{
    return ramet_index_slot_at(replica, ramet_index_entry_slot(pgno));
}

/* The entry as it stands, not loaded, and none where there is no room for it yet;
 * RAMET_ENTRY_UNSEEN if it can't be had: of that nothing may be concluded. */
static inline struct ramet_entry
ramet_index_peek(struct ramet_replica *replica, uint32_t pgno)
{
    const uint64_t at = ramet_index_entry_slot(pgno);
    _Atomic uint64_t *slot;

    if (!ramet_index_has_room(replica, at))
        return RAMET_NO_ENTRY;
    slot = ramet_index_slot_with_room(replica, at);
    return slot == NULL ? RAMET_ENTRY_UNSEEN
                        : (struct ramet_entry){
                              atomic_load_explicit(slot, memory_order_acquire)};
}

/* What a page that nobody loaded is, where no page of the base is absent. */
static inline struct ramet_entry
ramet_index_default(struct ramet_replica *replica, uint32_t pgno)
{
    return ramet_entry_of_stamp(
        pgno <= atomic_load_explicit(
                    &replica->head->header.checkpoint.page_count,
                    memory_order_relaxed)
            ? RAMET_ENTRY_HELD
            : RAMET_ENTRY_ZERO,
        0);
}

/* The entry, where it can be told without a look into presence; else 0. */
static inline struct ramet_entry
ramet_index_known(struct ramet_replica *replica, uint32_t pgno)
{
    const struct ramet_entry entry = ramet_index_peek(replica, pgno);

    if (!ramet_entry_is_none(entry) ||
        atomic_load_explicit(&replica->head->header.base.absent,
                             memory_order_acquire) != 0)
        return entry;
    return ramet_index_default(replica, pgno);
}

static inline bool
ramet_is_in_doubt(const struct ramet_replica *replica)
{
    return !ramet_pos_is_none(ramet_pos_load(&replica->head->header.log.doubt));
}

static inline bool
ramet_is_unsummed(const struct ramet_replica *replica)
{
    return atomic_load_explicit(&replica->head->header.base.is_unsummed,
                                memory_order_relaxed) != 0;
}

#endif
