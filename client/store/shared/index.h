/*
 * index.h - the shared index: page -> where its newest version is.
 *
 * Words are atomics; who may store which is said beside each: W the holder of
 * the write lock, B of the base lock, C of the checkpoint lock (with B), * anybody.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_INDEX_H
#define RAMET_CLIENT_STORE_SHARED_INDEX_H

#include <assert.h>
#include <stdatomic.h>

#include "client/store/format/logfile.h"
#include "client/store/shared/replica.h"

struct ramet_state_file;

/* Fill the fresh index's header from the state. */
void ramet_index_begin(struct ramet_replica *replica,
                       const struct ramet_state_file *state);

#define RAMET_RING_SLOTS 64u
#define RAMET_RING_WORDS 32u
#define RAMET_PIN_SLOTS 1024u
#define RAMET_CHUNK_BITS 18 /* entries a mapping: 2 MiB */
#define RAMET_CHUNK_ENTRIES (1u << RAMET_CHUNK_BITS)
#define RAMET_CHUNK_COUNT (1u << (33 - RAMET_CHUNK_BITS)) /* of both kinds */
#define RAMET_BLOCK_BITS 13 /* entries allocated at a time: 64 KiB */
#define RAMET_BLOCK_WORDS (1u << (33 - RAMET_BLOCK_BITS - 6))
#define RAMET_LOAD_BLOCK 4096u      /* entries loaded from presence at a time */
#define RAMET_BASE_HEADER_WORDS 13u /* 100 bytes and four of padding */

/* Who stores: W the holder of the write lock, B of the base lock, C of the
 * checkpoint lock (with B), * anybody. */
struct ramet_index_header {
    uint8_t magic[8];
    uint64_t layout; /* of this struct; another build must not map it */
    uint8_t base_id[16];
    uint64_t base_device, base_inode;
    _Alignas(64) _Atomic uint64_t newest; /* W: number of the newest snapshot */
    _Atomic uint64_t prepared;  /* W: start of a record that may be complete */
    _Atomic uint64_t condemned; /* W: void word of one that counts no more, and
                                   may be without it on disk; see void.c */
    _Atomic uint64_t gate;      /* *: 1 + the slot that shut the gate */
    _Atomic uint64_t target;    /* C: no pin below it is valid */
    _Atomic uint64_t oldest;    /* C: oldest log generation not in the base */
    _Atomic uint64_t fill_oldest; /* B */
    _Atomic uint64_t is_marked;   /* W/B: the base bears the replica mark */
    _Alignas(64) _Atomic uint64_t write_pos; /* W: the next record's place */
    _Atomic uint64_t high_water;             /* W: highest page that ever was */
    _Atomic uint64_t synced;      /* *: the log is on disk up to there */
    _Atomic uint64_t sync_failed; /* *: what is past `synced` may be lost though
                                     a later sync succeeds */
    _Atomic uint64_t named_gen;   /* *: directory entries synced up to it */
    _Atomic uint64_t lsn_tail; /* W: tail of the newest record with a new LSN */
    _Atomic uint64_t doubt;    /* W: start of a record in doubt; see doubt.c */
    _Alignas(64) _Atomic uint64_t fill_pos; /* B: the next fill's place */
    _Atomic uint64_t fill_seen;   /* *: bytes of that file that a checkpoint was
                                   over, and left there */
    _Atomic uint64_t stamp;       /* B: of base entries */
    _Atomic uint64_t base_absent; /* B: 0: entries 0 mean held */
    _Atomic uint64_t is_recounting; /* B: presence was changed, base_absent may
                                       not be yet */
    _Atomic uint64_t base_page_count; /* C */
    _Atomic uint64_t base_page_size;  /* C */
    _Atomic uint64_t is_unsummed;     /* B: see sums.h */
    _Atomic uint64_t mark_synced;     /* B */
    _Atomic uint64_t mark_token;      /* B: that the base bears */
    _Atomic uint64_t mark_next;       /* B: see base_check.h */
    /* B: what the base's inode said when we were last done with it; all 0: we
     * may be at it. */
    _Atomic uint64_t seen_size, seen_mtime, seen_ctime;
    _Atomic uint64_t was_written; /* *: something since the clean state */
    /* *: super-journals beside the base, of those who live or died; outlives
     * them. */
    _Atomic uint64_t supers;
    _Atomic uint64_t absent_now; /* *: about so many pages are absent */
    _Atomic uint64_t slot_hint;  /* *: slots ever used */
    /* *: until then (monotonic ns) the write lock may be held briefly. */
    _Atomic uint64_t brief_until;
    /* C: what past.c keeps. Snapshots before `past_tail` look there. */
    _Atomic uint64_t past_tail;
    _Atomic uint64_t past_pos;    /* the next frame's place */
    _Atomic uint64_t past_oldest; /* generation */
    _Atomic uint64_t past_size;   /* bytes, about */
    _Atomic uint64_t past_packed; /* ... when last only what counts was there */
    /* B: the true first 100 bytes of the base's page 1, if it is held. */
    _Atomic uint64_t base_header[RAMET_BASE_HEADER_WORDS];
};

struct ramet_index_pin {
    _Alignas(64) _Atomic uint64_t tail; /* 0: none */
};

struct ramet_index_head {
    struct ramet_index_header header;
    _Alignas(4096) _Atomic uint64_t ring[RAMET_RING_SLOTS][RAMET_RING_WORDS];
    struct ramet_index_pin pins[RAMET_PIN_SLOTS];
    /* *: which blocks of entries have disk blocks behind them. */
    _Atomic uint64_t blocks[RAMET_BLOCK_WORDS];
};

#define RAMET_INDEX_ENTRIES_OFFSET (256u * 1024)

static_assert(sizeof(struct ramet_index_head) <= RAMET_INDEX_ENTRIES_OFFSET,
              "the entries begin past the head");

/* A published snapshot and what its successor needs to know. */
struct ramet_published {
    struct ramet_snapshot snapshot;
    uint64_t sum; /* of its record's trailer */
    uint64_t lsn_time_ms;
};

static_assert(sizeof(struct ramet_published) <= RAMET_RING_WORDS * 8 &&
                  sizeof(struct ramet_published) % 8 == 0,
              "a ring slot holds one, in whole words");
/* *out_seen_ctime: as the index before it had it; 0: there was none. */
RAMET_NODISCARD enum ramet_rc
ramet_index_create(struct ramet_replica *replica, int *out_fd,
                   int64_t *out_seen_ctime, struct ramet_err *err);
/* `condemned` as the file has it, mapped or not: it outlives those who map it.
 */
uint64_t ramet_index_condemned(const struct ramet_replica *replica);
/* When the base last changed, as the file has it; 0: not known. */
int64_t ramet_index_seen_ctime(const struct ramet_replica *replica);
/* Map what another process made. RAMET_ENOTFOUND: there is none that fits. */
RAMET_NODISCARD enum ramet_rc
ramet_index_map(struct ramet_replica *replica, bool writable,
                struct ramet_err *err);
void ramet_index_unmap(struct ramet_replica *replica);
/* Room for the entry of `pgno`. */
RAMET_NODISCARD enum ramet_rc
ramet_index_reserve(struct ramet_replica *replica, uint32_t pgno,
                    struct ramet_err *err);
/* ... and for where its pasts are. */
RAMET_NODISCARD enum ramet_rc
ramet_index_reserve_past(struct ramet_replica *replica, uint32_t pgno,
                         struct ramet_err *err);
/* The chunk's memory; NULL: can't be mapped. */
_Atomic uint64_t *
ramet_index_map_chunk(struct ramet_replica *replica, uint32_t chunk);
void ramet_index_copy(const struct ramet_replica *replica, uint64_t number,
                      struct ramet_published *out);
/* Newest snapshot; returns its number. */
uint64_t ramet_index_newest(const struct ramet_replica *replica,
                            struct ramet_published *out);
/* Is all in the base, and nothing in a log or fill file? */
bool ramet_log_is_empty(const struct ramet_replica *replica);
/* Publish as the next one; needs the write lock. */
void ramet_index_publish(struct ramet_replica *replica,
                         const struct ramet_published *next);
/* Set an entry for which there is room; keeps the count of absent pages. */
void
ramet_index_set(struct ramet_replica *replica, uint32_t pgno, uint64_t entry);
bool ramet_index_swap(struct ramet_replica *replica, uint32_t pgno,
                      uint64_t expected, uint64_t entry);
/* One page less of those that are absent. */
void ramet_index_uncount_absent(struct ramet_replica *replica);
void ramet_index_raise(_Atomic uint64_t *word, uint64_t value);

/* Entries, and where pages' pasts are, take turns chunk by chunk, so that the
 * file is no longer than its pages need. */
static inline uint64_t
ramet_index_place(uint32_t pgno)
{
    const uint64_t at = pgno - 1;

    return at + (at & ~(uint64_t)(RAMET_CHUNK_ENTRIES - 1));
}

static inline uint64_t
ramet_index_past_place(uint32_t pgno)
{
    return ramet_index_place(pgno) + RAMET_CHUNK_ENTRIES;
}

static inline bool
ramet_index_has_room(const struct ramet_replica *replica, uint64_t at)
{
    const uint64_t block = at >> RAMET_BLOCK_BITS;
    const uint64_t word = atomic_load_explicit(
        &replica->head->blocks[block / 64], memory_order_acquire);

    return (word >> (block % 64) & 1) != 0;
}

/* NULL where there is no room for such an entry (it reads as "not loaded"). */
static inline _Atomic uint64_t *
ramet_index_slot_at(struct ramet_replica *replica, uint64_t at)
{
    const uint32_t chunk_at = (uint32_t)(at >> RAMET_CHUNK_BITS);
    _Atomic uint64_t *chunk;

    if (!ramet_index_has_room(replica, at))
        return NULL;
    chunk =
        atomic_load_explicit(&replica->chunks[chunk_at], memory_order_acquire);
    if (chunk == NULL)
        chunk = ramet_index_map_chunk(replica, chunk_at);
    return chunk == NULL ? NULL : &chunk[at & (RAMET_CHUNK_ENTRIES - 1)];
}

static inline _Atomic uint64_t *
ramet_index_slot(struct ramet_replica *replica, uint32_t pgno)
{
    return ramet_index_slot_at(replica, ramet_index_place(pgno));
}

uint64_t ramet_index_peek_again(struct ramet_replica *replica, uint32_t pgno);

/* The entry as it stands, not loaded; RAMET_ENTRY_UNSEEN if it can't be had. */
static inline uint64_t
ramet_index_peek(struct ramet_replica *replica, uint32_t pgno)
{
    _Atomic uint64_t *const slot = ramet_index_slot(replica, pgno);

    return slot == NULL ? ramet_index_peek_again(replica, pgno)
                        : atomic_load_explicit(slot, memory_order_acquire);
}

/* What a page that nobody loaded is, where no page of the base is absent. */
static inline uint64_t
ramet_index_default(struct ramet_replica *replica, uint32_t pgno)
{
    return ramet_entry_make(
        pgno <= atomic_load_explicit(&replica->head->header.base_page_count,
                                     memory_order_relaxed)
            ? RAMET_ENTRY_HELD
            : RAMET_ENTRY_ZERO,
        0);
}

/* The entry, where it can be told without a look into presence; else 0. */
static inline uint64_t
ramet_index_known(struct ramet_replica *replica, uint32_t pgno)
{
    const uint64_t entry = ramet_index_peek(replica, pgno);

    if (entry != 0 || atomic_load_explicit(&replica->head->header.base_absent,
                                           memory_order_acquire) != 0)
        return entry;
    return ramet_index_default(replica, pgno);
}

static inline bool
ramet_is_in_doubt(const struct ramet_replica *replica)
{
    return atomic_load(&replica->head->header.doubt) != 0;
}

static inline bool
ramet_is_unsummed(const struct ramet_replica *replica)
{
    return atomic_load_explicit(&replica->head->header.is_unsummed,
                                memory_order_relaxed) != 0;
}

#endif
