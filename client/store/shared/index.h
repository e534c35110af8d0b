/*
 * index.h - the shared index: page -> where its newest version is.
 *
 * Words are atomics, in groups by who may store them.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_INDEX_H
#define RAMET_CLIENT_STORE_SHARED_INDEX_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

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

/* Words that sessions of all processes share, in groups by who may store them;
 * everybody reads. */
struct ramet_index_header {
    uint8_t magic[8];
    uint64_t layout; /* of this struct; another build must not map it */
    uint8_t base_id[16];
    uint64_t base_device, base_inode;
    uint64_t first_seq; /* of the snapshot with which it was made */
    struct ramet_pos first_tail;
    /* The holder of the write lock. */
    struct {
        _Alignas(64) _Atomic uint64_t newest; /* number of that snapshot */
        struct ramet_pos_word prepared;       /* start of a record that may be
                                           complete, or none */
        _Atomic uint64_t condemned; /* void word of a record that counts no
                                       more, and may be without it on disk; see
                                       void.c */
        struct ramet_pos_word
            doubt; /* start of a record in doubt; see doubt.c */
        struct ramet_pos_word write_pos; /* the next record's place */
        struct ramet_pos_word lsn_tail;  /* of the newest with a new LSN */
        _Atomic uint64_t high_water;     /* highest page that ever was */
    } log;
    /* The holder of the checkpoint lock. */
    struct {
        _Alignas(64) struct ramet_pos_word target; /* no pin before it is valid;
                                                      letgo.c raises it, too */
        /* With the base lock, too: */
        _Atomic uint64_t oldest; /* log generation that is not in the base */
        _Atomic uint64_t page_count; /* of the base */
        _Atomic uint64_t page_size;
    } checkpoint;
    /* The holder of the checkpoint lock: what past.c keeps. */
    struct {
        struct ramet_pos_word tail; /* snapshots before it look there */
        struct ramet_pos_word pos;  /* the next frame's place */
        _Atomic uint64_t oldest;    /* generation */
        _Atomic uint64_t size;      /* bytes, about */
        _Atomic uint64_t packed; /* ... when last only what counts was there */
    } past;
    /* The holder of the base lock. */
    struct {
        _Alignas(64) struct ramet_pos_word pos; /* the next frame's place */
        _Atomic uint64_t oldest;                /* generation */
    } fill;
    /* The holder of the base lock; those of the mark also who has the mark lock. */
    struct {
        _Alignas(64) _Atomic uint64_t stamp; /* of entries; any grows it */
        _Atomic uint64_t absent;        /* 0: entries that are none mean held */
        _Atomic uint64_t is_recounting; /* presence was changed, `absent` may
                                           not be yet */
        _Atomic uint64_t is_unsummed;   /* see sums.h */
        _Atomic uint64_t is_marked;     /* the base bears the replica mark */
        _Atomic uint64_t mark_synced;
        _Atomic uint64_t mark_token; /* that the base bears */
        _Atomic uint64_t mark_next;  /* see base_check.h */
        /* What its inode said when we were last done with it; all 0: we may be
         * at it. */
        _Atomic uint64_t seen_size, seen_mtime, seen_ctime;
        /* The true first 100 bytes of its page 1, if that is held. */
        _Atomic uint64_t header[RAMET_BASE_HEADER_WORDS];
    } base;
    /* A session with a slot, where nobody alive has it. */
    struct {
        _Alignas(64) _Atomic uint64_t shut_by; /* 1 + slot; 0: it is open */
    } gate;
    /* Anybody. */
    struct {
        _Alignas(64) struct ramet_pos_word synced; /* the log is on disk up to
                                                      there */
        _Atomic uint64_t sync_failed; /* what is past `synced` may be lost
                                         though a later sync succeeds */
        _Atomic uint64_t named_gen;   /* directory entries synced up to it */
        _Atomic uint64_t fill_seen;   /* bytes of that file that a checkpoint
                                         was over, and left there */
        _Atomic uint64_t was_written; /* something since the clean state */
        _Atomic uint64_t supers; /* super-journals beside the base, of those who
                                    live or died; outlives them */
        _Atomic uint64_t absent_now; /* about so many pages are absent */
        _Atomic uint64_t slot_hint;  /* slots ever used */
        /* Until then (monotonic ns) the write lock may be held briefly. */
        _Atomic uint64_t brief_until;
    } all;
};

/* Where an older build left it, too: it outlives those who map it. */
static_assert(offsetof(struct ramet_index_header, log.condemned) == 80,
              "the third word of the log's");

struct ramet_index_pin {
    _Alignas(64) struct ramet_pos_word tail; /* none: not pinned */
};

struct ramet_index_head {
    struct ramet_index_header header;
    _Alignas(4096) _Atomic uint64_t ring[RAMET_RING_SLOTS][RAMET_RING_WORDS];
    struct ramet_index_pin pins[RAMET_PIN_SLOTS];
    /* Which blocks of entries have disk blocks behind them; anybody. */
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
void ramet_index_set(struct ramet_replica *replica, uint32_t pgno,
                     struct ramet_entry entry);
bool ramet_index_swap(struct ramet_replica *replica, uint32_t pgno,
                      struct ramet_entry expected, struct ramet_entry entry);
/* One page less of those that are absent. */
void ramet_index_uncount_absent(struct ramet_replica *replica);
/* Words that only grow. */
void ramet_index_raise(_Atomic uint64_t *word, uint64_t value);
static inline void
ramet_pos_raise(struct ramet_pos_word *word, struct ramet_pos pos)
{
    ramet_index_raise(&word->raw, pos.raw);
}

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

struct ramet_entry
ramet_index_peek_again(struct ramet_replica *replica, uint32_t pgno);

/* The entry as it stands, not loaded; RAMET_ENTRY_UNSEEN if it can't be had. */
static inline struct ramet_entry
ramet_index_peek(struct ramet_replica *replica, uint32_t pgno)
{
    _Atomic uint64_t *const slot = ramet_index_slot(replica, pgno);

    return slot == NULL ? ramet_index_peek_again(replica, pgno)
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
