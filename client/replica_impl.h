/*
 * replica_impl.h - what the files of the local store share; nobody else
 * includes it. docs/replica.md explains, replica.h is the contract.
 *
 * Who guards what:
 *   (1) fields of struct ramet_replica above `mutex` are fixed once it is open;
 *       those below it are guarded by it
 *   (2) index words are atomics; who may store which is said beside each
 *   (3) a session is used by one thread at a time; only `era` is read by others
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REPLICA_IMPL_H
#define RAMET_CLIENT_REPLICA_IMPL_H

#include <assert.h>
#include <stdatomic.h>

#include "client/logfile.h"
#include "client/presence.h"
#include "client/replica.h"
#include "client/state.h"
#include "client/writeset.h"
#include "core/thread.h"

/* ---- the index file ------------------------------------------------------ */

#define RAMET_RING_SLOTS 64u
#define RAMET_RING_WORDS 32u
#define RAMET_PIN_SLOTS 1024u
#define RAMET_CHUNK_BITS 18 /* entries a mapping: 2 MiB */
#define RAMET_CHUNK_ENTRIES (1u << RAMET_CHUNK_BITS)
#define RAMET_CHUNK_COUNT (1u << (33 - RAMET_CHUNK_BITS)) /* of both kinds */
#define RAMET_BLOCK_BITS 13 /* entries allocated at a time: 64 KiB */
#define RAMET_BLOCK_WORDS (1u << (33 - RAMET_BLOCK_BITS - 6))
#define RAMET_LOAD_BLOCK 4096u /* entries loaded from presence at a time */

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

/* One file of the log or of the fills, open in this process. */
struct ramet_gen {
    struct ramet_gen *_Atomic next; /* in its bucket */
    struct ramet_gen *limbo_next;
    uint64_t gen;
    enum ramet_gen_type type;
    int fd;
    uint64_t salt;
    uint32_t page_size;
    uint64_t limbo_era;
};
#define RAMET_GEN_BUCKETS 64u

struct ramet_scan;        /* logscan.h */
struct ramet_maintenance; /* checkpoint_thread.c */

struct ramet_replica {
    const struct ramet_os *os;
    unsigned fork_count;
    char *path; /* as opened, for texts */
    char *name; /* of the base, in parent_fd */
    int parent_fd;
    int dir_fd;
    int base_fd; /* -1: a private index on a base that can't be opened */
    int index_fd;
    bool is_readonly;       /* nothing of it can be written by this process */
    bool is_private;        /* the index is in this process's memory alone */
    uint64_t device, inode; /* of `lock`: who we are in this process */
    struct ramet_id base_id;
    enum ramet_volume_kind kind;
    bool default_held;        /* presence 0 means held */
    bool presence_is_checked; /* its words have check bits */
    uint64_t cache_limit_bytes;
    struct ramet_index_head *head;
    _Atomic(_Atomic uint64_t *) *chunks; /* RAMET_CHUNK_COUNT */
    struct ramet_mutex base_mutex;       /* with the base lock, always */
    struct ramet_mutex life_mutex;       /* sessions opening and closing */

    struct ramet_mutex mutex;
    uint32_t chunk_end; /* no chunk is mapped from there on */
    struct ramet_gen *_Atomic gens[RAMET_GEN_BUCKETS]; /* stores under mutex */
    struct ramet_gen *limbo;
    _Atomic uint64_t era;         /* of descriptors' lives; see gens.c */
    _Atomic uint64_t seen_oldest; /* log generations trimmed up to */
    _Atomic uint64_t seen_fill_oldest;
    _Atomic uint64_t seen_supers; /* when they were last looked at */
    struct ramet_session *sessions;
    unsigned live_count; /* sessions that count for opening and closing */
    ramet_fetcher *fetcher;
    void *fetcher_ctx;
    struct ramet_maintenance *maintenance;
    bool maintenance_starts;
    int presence_fd; /* -1: not open */

    unsigned refs;              /* registry's mutex */
    struct ramet_replica *next; /* registry's list */
    bool is_ready;              /* life_mutex: opened, indexed */
};

/* ---- sessions ------------------------------------------------------------ */

#define RAMET_NO_SLOT UINT32_MAX
/* Of generations: a record begins in the next one past this. */
#define RAMET_GEN_SIZE (4u << 20)
#define RAMET_BUFFER_MAX (1u << 20)    /* then it is spilled */
#define RAMET_BUFFER_KEEP (160u << 10) /* an idle session's */
#define RAMET_CLOSED_MAX 8u /* then committers checkpoint themselves */

/* Where a complete record stands, and what makes it void. */
struct ramet_record_place {
    uint64_t start;
    uint64_t trailer_pos;
    uint64_t tail;
    uint64_t void_offset; /* of the void word, in the trailer */
    uint64_t void_value;
};

static inline struct ramet_record_place
ramet_record_place_of(const struct ramet_trailer *trailer)
{
    return (struct ramet_record_place){
        .start = trailer->start,
        .trailer_pos = trailer->pos,
        .tail = trailer->tail,
        .void_offset = ramet_trailer_void_offset(trailer),
        .void_value = ramet_trailer_void_value(trailer),
    };
}

struct ramet_prepared {
    bool is_set;    /* a record is in the log, not published */
    bool is_synced; /* and on disk */
    struct ramet_record_place place;
    struct ramet_published after;
    uint32_t least_page_count; /* the record's */
    bool gate_shut; /* for a change of page size; to be opened again */
    bool sets_lsn;
};

struct ramet_session {
    struct ramet_replica *replica;
    struct ramet_session *next; /* replica's list */
    int lock_fd;
    uint32_t slot;
    bool is_internal; /* the maintenance thread's: no live lock, no slot */
    bool is_readonly;
    const struct ramet_waiter *patience; /* NULL: its own */
    _Atomic uint64_t era;                /* 0: in no read */

    bool is_pinned;
    bool is_reserved;
    bool has_gate;
    bool has_push;
    bool has_unlisted;
    bool is_closing; /* the last one: no file is made for the next */
    uint64_t number; /* of `pin` in the ring; 0: none copied yet */
    struct ramet_published pin;
    struct ramet_published peek;
    _Atomic uint64_t *pin_word;
    _Atomic uint64_t own_word; /* stands in for the slot if there is none */
    uint8_t *scratch;          /* RAMET_PAGE_SIZE_MAX, made when needed */
    struct ramet_ahead *ahead; /* read ahead of a scan, while pinned */
    uint32_t scan_next;        /* the page that would continue the scan */
    uint32_t scan_count;       /* pages that were read at once last */

    /* A transaction: valid while is_reserved. */
    bool has_writes;
    bool must_compare;  /* pages equal to the snapshot's may be among them */
    bool has_record;    /* rec_start and buf_pos are set */
    uint32_t page_size; /* of the writes; 0: not chosen */
    uint64_t size;      /* bytes, as this session sees it */
    uint32_t least_page_count;
    struct ramet_cid doubt; /* the commit will be in doubt, as that; or nil */
    uint32_t own_high;      /* highest page written since reserve */
    uint64_t rec_start;
    uint64_t buf_pos; /* position of buf[0] */
    uint8_t *buf;
    size_t buf_len;
    size_t buf_capacity;
    uint64_t spilled_count; /* frames before buf_pos, and their sum */
    uint64_t spilled_sum;
    struct ramet_writeset writes;
    struct ramet_prepared prepared;
    bool prepared_is_stale; /* there are writes that it does not have */
    bool truncated_after;   /* ... the record was prepared */
    uint64_t extended_to;   /* position; the log's file is that long at least */
};

/* Has it written what is not published? Then what it reads is no snapshot's, and
 * says nothing of the base. */
static inline bool
ramet_session_has_own(const struct ramet_session *session)
{
    return session->has_writes || session->prepared.is_set;
}

#define RAMET_PAGE_SIZE_MAX 65536u

static inline uint32_t
ramet_pages_of(uint64_t bytes, uint32_t page_size)
{
    return page_size == 0 ? 0 : (uint32_t)((bytes + page_size - 1) / page_size);
}

/* ---- locks.c ------------------------------------------------------------- */

enum ramet_lock_byte {
    RAMET_LOCK_OPEN = 0,
    RAMET_LOCK_LIVE = 1,
    RAMET_LOCK_WRITE = 2,
    RAMET_LOCK_BASE = 3,
    RAMET_LOCK_PUSH = 4,
    RAMET_LOCK_CHECKPOINT = 5,
    RAMET_LOCK_UNLISTED = 6,
    RAMET_LOCK_MARK = 7,
    RAMET_LOCK_SLOTS = 64,
};
#define RAMET_LOCK_WAIT_MS 10000u

/* Try once: RAMET_EBUSY if it is held; `what` names the holder in the text. */
RAMET_NODISCARD enum ramet_rc
ramet_lock_try(const struct ramet_os *os, int fd, unsigned byte,
               enum ramet_lock_mode mode, const char *what,
               struct ramet_err *err);
/* Poll until `wait_ms` have passed, then RAMET_EBUSY. */
RAMET_NODISCARD enum ramet_rc
ramet_lock_wait(const struct ramet_os *os, int fd, unsigned byte,
                enum ramet_lock_mode mode, uint64_t wait_ms, const char *what,
                struct ramet_err *err);
void ramet_lock_drop(const struct ramet_os *os, int fd, unsigned byte);
/* The write lock for a moment, for what is no transaction of a user's: who
 * wants to begin one waits for it instead of failing. */
RAMET_NODISCARD enum ramet_rc
ramet_write_lock_briefly(struct ramet_session *session, uint64_t wait_ms,
                         struct ramet_err *err);
void ramet_write_unlock_briefly(struct ramet_session *session);
/* The write lock for a transaction: RAMET_EBUSY at once, but for the above. */
RAMET_NODISCARD enum ramet_rc
ramet_write_lock(struct ramet_session *session, struct ramet_err *err);
/* The base lock, among threads and processes. */
RAMET_NODISCARD enum ramet_rc
ramet_base_lock(struct ramet_session *session, uint64_t wait_ms,
                struct ramet_err *err);
void ramet_base_unlock(struct ramet_session *session);
RAMET_NODISCARD enum ramet_rc
ramet_fail_forked(const struct ramet_session *session, struct ramet_err *err);
/* RAMET_ENOTFOUND: nothing is there, or (`is_file`) a plain file. */
enum ramet_rc
ramet_fail_no_replica(const char *path, bool is_file, struct ramet_err *err);
/* The base can't be opened: gone from a replica, or not permitted. */
enum ramet_rc ramet_fail_base(const struct ramet_replica *replica, int errnum,
                              struct ramet_err *err);
/* The state file; where it is damaged, the text says what is left to do. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_read_state(const struct ramet_replica *replica,
                         struct ramet_state_file *out_state,
                         struct ramet_err *err);
/* A child of fork() has no business with its parent's sessions: whatever of
 * replica.h acts on one asks this first. */
static inline bool
ramet_session_is_parents(const struct ramet_session *session)
{
    return session->replica->fork_count != ramet_os_fork_count();
}
RAMET_NODISCARD static inline enum ramet_rc
ramet_session_check_fork(const struct ramet_session *session,
                         struct ramet_err *err)
{
    return ramet_session_is_parents(session) ? ramet_fail_forked(session, err)
                                             : RAMET_OK;
}

/* ---- index.c ------------------------------------------------------------- */

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
/* The raw entry, loading it if need be. RAMET_ENTRY_NONE never comes back. */
RAMET_NODISCARD enum ramet_rc
ramet_index_load(struct ramet_session *session, uint32_t pgno,
                 uint64_t *out_entry, struct ramet_err *err);
/* As above; the base lock is held already. */
RAMET_NODISCARD enum ramet_rc
ramet_index_load_locked(struct ramet_session *session, uint32_t pgno,
                        uint64_t *out_entry, struct ramet_err *err);
/* Set an entry for which there is room; keeps the count of absent pages. */
void
ramet_index_set(struct ramet_replica *replica, uint32_t pgno, uint64_t entry);
bool ramet_index_swap(struct ramet_replica *replica, uint32_t pgno,
                      uint64_t expected, uint64_t entry);
/* One page less of those that are absent. */
void ramet_index_uncount_absent(struct ramet_replica *replica);
void ramet_index_raise(_Atomic uint64_t *word, uint64_t value);
/* Least tail >= `from` pinned by a live session but `session`; dead ones are
 * cleared. UINT64_MAX: none. */
uint64_t ramet_index_least_pin(struct ramet_session *session, uint64_t from);
/* Tails < `below` pinned by live sessions, this one too: each once, descending,
 * at most RAMET_PIN_SLOTS + 1. Returns how many. */
unsigned ramet_index_pins(struct ramet_session *session, uint64_t below,
                          uint64_t *out_tails);

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

/* ---- gens.c -------------------------------------------------------------- */

/* The open file of a generation. The caller is in an era, or holds a lock
 * that keeps the generation from being retired. RAMET_ENOTFOUND: retired, or
 * never made. */
RAMET_NODISCARD enum ramet_rc
ramet_gen_get(struct ramet_replica *replica, enum ramet_gen_type type,
              uint64_t gen, struct ramet_gen **out_gen, struct ramet_err *err);
/* Make the file of generation `gen` (write lock or base lock). An existing
 * one with a right header and page size is taken. */
RAMET_NODISCARD enum ramet_rc
ramet_gen_create(struct ramet_replica *replica, enum ramet_gen_type type,
                 uint64_t gen, uint32_t page_size, struct ramet_gen **out_gen,
                 struct ramet_err *err);
/* In an era no descriptor that was looked up is closed. True: entered here,
 * to be left by ramet_era_leave(). */
bool ramet_era_enter(struct ramet_session *session);
void ramet_era_leave(struct ramet_session *session, bool entered);
/* Forget generations before the index's oldest; close what nobody reads. */
void ramet_gens_trim(struct ramet_replica *replica);
/* ... and those of the past, whose readers are gone: opened again if need be. */
void ramet_gens_trim_past(struct ramet_replica *replica);
void ramet_gens_close_all(struct ramet_replica *replica);
/* Make the next generation's file ahead of time, from a retired one if
 * `recycle` is not 0. Needs the checkpoint lock. */
RAMET_NODISCARD enum ramet_rc
ramet_gen_make_ahead(struct ramet_replica *replica, uint64_t gen,
                     uint32_t page_size, uint64_t recycle,
                     struct ramet_err *err);

/* ---- session_read.c ------------------------------------------------------ */

struct ramet_version {
    enum ramet_entry_kind kind; /* where it was found; ABSENT or REMOTE: not
                                   here, nothing was read */
    uint64_t top;   /* the page's newest entry when it was looked at */
    uint64_t found; /* the entry that the version is; 0: it is in the past */
    bool has_hash;
    uint64_t hash; /* of the page, where it is known */
};
/* The version of page `pgno` at `tail`; the whole page into `out`, unless NULL.
 * The caller is in an era, and pinned or alone with the checkpoint lock. */
RAMET_NODISCARD enum ramet_rc
ramet_read_version(struct ramet_session *session, uint64_t tail,
                   uint32_t page_size, uint32_t pgno, uint8_t *out,
                   struct ramet_version *out_version, struct ramet_err *err);
/* As ramet_session_read() but without own writes: whole page `pgno`. */
RAMET_NODISCARD enum ramet_rc
ramet_read_page(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                struct ramet_err *err);
/* The remote's page at the pinned LSN, whatever is here, and kept nowhere. */
RAMET_NODISCARD enum ramet_rc
ramet_fetch_alone(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                  struct ramet_err *err);
/* Page as this session sees it, own writes included. */
RAMET_NODISCARD enum ramet_rc
ramet_read_own_page(struct ramet_session *session, uint32_t pgno, uint8_t *out,
                    struct ramet_err *err);
uint8_t *
ramet_session_scratch(struct ramet_session *session, struct ramet_err *err);

/* ---- shortcut.c ---------------------------------------------------------- */

/* The whole page, up to the snapshot's last, if the base has it; false: what
 * is in `out` means nothing, and there is more to it. */
bool
ramet_shortcut_read(struct ramet_session *session, uint32_t pgno, uint8_t *out);

/* ---- record.c: building one record --------------------------------------- */

/* Begin at the log's end, in a generation with this page size. */
RAMET_NODISCARD enum ramet_rc
ramet_record_begin(struct ramet_session *session, uint32_t page_size,
                   struct ramet_err *err);
/* Room for a frame at the end of the buffer, spilling first if it is full.
 * Its header has page and kind; the page, if it has one, is the caller's to
 * fill in at *out_page. */
RAMET_NODISCARD enum ramet_rc
ramet_record_add(struct ramet_session *session, uint32_t pgno,
                 enum ramet_logframe_kind kind, uint8_t **out_page,
                 uint64_t *out_pos, struct ramet_err *err);
/* Write frames and trailer. The prepared mark is set; session->prepared has
 * what publish needs. `trailer` has all but positions, counts and sums. */
RAMET_NODISCARD enum ramet_rc
ramet_record_finish(struct ramet_session *session,
                    struct ramet_trailer *trailer, struct ramet_err *err);
void ramet_record_reset(struct ramet_session *session);
/* The trailer of a record that changes nothing about newest's size and LSN. */
void
ramet_record_trailer(const struct ramet_published *newest,
                     enum ramet_record_type type, struct ramet_trailer *out);
/* What a record makes of the snapshot before it; they may be the same struct. */
void ramet_trailer_to_published(const struct ramet_trailer *trailer,
                                const struct ramet_snapshot *before,
                                struct ramet_published *out);
void ramet_fill_trailer_point(struct ramet_trailer *trailer,
                              const struct ramet_remote_point *point);

/* ---- schema.c ------------------------------------------------------------ */

/* Does the schema stay as it was over a pull or reset to `point`, for certain?
 * The writer stands at the snapshot before. */
bool ramet_pull_keeps_schema(struct ramet_session *writer,
                             const struct ramet_remote_point *point,
                             const struct ramet_pageset *changed,
                             const uint8_t *page1);

/* ---- session_write.c ----------------------------------------------------- */

/* RAMET_EBUSY while a live session but this one holds the exclusive gate. */
RAMET_NODISCARD enum ramet_rc
ramet_gate_check(struct ramet_session *session, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_finish_truncate(struct ramet_session *session, struct ramet_err *err);
/* The session holds the write lock: settle, take the newest snapshot as its
 * pin, take the header off the base, begin. */
RAMET_NODISCARD enum ramet_rc
ramet_reserve_locked(struct ramet_session *session, struct ramet_err *err);
/* Of a writer without a slot: `holder`, not pinned, shuts the gate for it. */
RAMET_NODISCARD enum ramet_rc
ramet_wait_alone_as(struct ramet_session *writer, struct ramet_session *holder,
                    struct ramet_err *err);
/* Shut the gate and wait until no other session is pinned; RAMET_ESNAPSHOT
 * after ten seconds. */
RAMET_NODISCARD enum ramet_rc
ramet_wait_alone(struct ramet_session *session, struct ramet_err *err);

/* ---- commit.c ------------------------------------------------------------ */

/* Sync the log's generations before `number` that were not. */
RAMET_NODISCARD enum ramet_rc
ramet_log_sync_before(struct ramet_session *session, uint64_t number,
                      struct ramet_err *err);
/* The record from `start` to `tail` is void, and its place used again: what
 * stands there then is not on disk yet. Needs the write lock. */
void
ramet_log_unsync(struct ramet_replica *replica, uint64_t start, uint64_t tail);
/* Sync one generation's file, whatever is said of it to be on disk. */
RAMET_NODISCARD enum ramet_rc
ramet_log_flush(struct ramet_replica *replica, const struct ramet_gen *gen,
                struct ramet_err *err);
/* Finish what a dead writer prepared, and what a living one could not take
 * back. Needs the write lock. */
RAMET_NODISCARD enum ramet_rc
ramet_settle(struct ramet_session *session, struct ramet_err *err);
static inline bool
ramet_is_settled(const struct ramet_replica *replica)
{
    return atomic_load(&replica->head->header.prepared) == 0 &&
           atomic_load(&replica->head->header.condemned) == 0;
}
/* Apply the record in scan->trailer to the index entries. */
RAMET_NODISCARD enum ramet_rc
ramet_apply_record(struct ramet_session *session, struct ramet_scan *scan,
                   struct ramet_err *err);
/* Pin moves to the newest snapshot. */
void ramet_session_move_pin(struct ramet_session *session);
RAMET_NODISCARD enum ramet_rc
ramet_wait_alone(struct ramet_session *session, struct ramet_err *err);

/* ---- void.c -------------------------------------------------------------- */

/* The record counts no more, whatever becomes of this: it stays condemned in
 * the index if it fails, until ramet_settle() has made it void. Needs the write
 * lock. */
RAMET_NODISCARD enum ramet_rc
ramet_void_record(struct ramet_replica *replica,
                  const struct ramet_record_place *place,
                  struct ramet_err *err);
/* The word in the trailer; not synced. */
RAMET_NODISCARD enum ramet_rc
ramet_record_write_word(struct ramet_replica *replica,
                        const struct ramet_gen *gen,
                        const struct ramet_record_place *place, uint64_t value,
                        struct ramet_err *err);
/* What is condemned is not complete any more: when that is on disk, forget
 * it. */
RAMET_NODISCARD enum ramet_rc
ramet_void_flush(struct ramet_replica *replica, struct ramet_err *err);
static inline bool
ramet_is_condemned(const struct ramet_replica *replica,
                   const struct ramet_trailer *trailer)
{
    return atomic_load(&replica->head->header.condemned) ==
           ramet_trailer_void_value(trailer);
}

/* ---- doubt.c ------------------------------------------------------------- */

static inline bool
ramet_is_in_doubt(const struct ramet_replica *replica)
{
    return atomic_load(&replica->head->header.doubt) != 0;
}
/* RAMET_ESNAPSHOT while a record is in doubt: nothing may follow it. Needs the
 * write lock, and that the log is settled. */
RAMET_NODISCARD enum ramet_rc
ramet_doubt_check(const struct ramet_replica *replica, struct ramet_err *err);

/* ---- reslice.c ----------------------------------------------------------- */

/* Write the whole new file anew in pages of `page_size`, into a generation of
 * its own. */
RAMET_NODISCARD enum ramet_rc
ramet_reslice(struct ramet_session *session, uint32_t page_size,
              struct ramet_err *err);

/* ---- super.c ------------------------------------------------------------- */

/* May this record of a dead writer be applied? With a super-journal that is
 * still there it may not. */
RAMET_NODISCARD enum ramet_rc
ramet_super_decide(struct ramet_replica *replica,
                   const struct ramet_trailer *trailer, bool *out_apply,
                   struct ramet_err *err);
/* The record is void now: delete the super-journal unless a journal that it
 * lists still needs it. */
RAMET_NODISCARD enum ramet_rc
ramet_super_forget(struct ramet_replica *replica,
                   const struct ramet_trailer *trailer, struct ramet_err *err);
/* Remove <base>-journal if it is exactly the trailer that goes with a prepared
 * record, and the super-journal that it names if nobody needs that any more.
 * Needs the write lock, and nothing prepared. */
RAMET_NODISCARD enum ramet_rc
ramet_super_clean(struct ramet_replica *replica, struct ramet_err *err);
/* Where some were made and not deleted: delete the super-journals beside the
 * base that nobody needs. Needs the write lock; `is_alone`: nobody else has the
 * file open. */
void ramet_super_sweep(struct ramet_replica *replica, bool is_alone);

/* ---- fill.c -------------------------------------------------------------- */

/* Keep a fetched page if its entry is still `entry`. */
RAMET_NODISCARD enum ramet_rc
ramet_fill_keep(struct ramet_session *session, uint32_t pgno, uint64_t entry,
                const struct ramet_point *at, uint32_t page_size,
                const uint8_t *page, uint64_t wait_ms, struct ramet_err *err);
/* A fill whose page had replaced a version in the log: that version instead.
 * RAMET_ENOTFOUND: its file is gone, and it is no entry any more. */
RAMET_NODISCARD enum ramet_rc
ramet_fill_see_through(struct ramet_replica *replica, uint64_t *io_entry,
                       struct ramet_err *err);
/* Enough was fetched to be worth a checkpoint. */
bool ramet_fill_is_much(struct ramet_replica *replica);
/* A checkpoint has been over all of it. */
void ramet_fill_was_seen(struct ramet_replica *replica);
/* Apply the fill files after a crash; alone. */
RAMET_NODISCARD enum ramet_rc
ramet_fill_recover(struct ramet_session *session, struct ramet_err *err);

/* ---- checkpoint.c -------------------------------------------------------- */

RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_run(struct ramet_session *session, bool all,
                     struct ramet_err *err);
/* As a committer does when the log has grown long; errors are for later. */
void ramet_checkpoint_inline(struct ramet_session *session);
/* ... when much was fetched: with the pull that it belongs to, by closing the
 * generation of that. */
void ramet_checkpoint_fills(struct ramet_session *session);
/* Only make the next generation's file, if it is not there. */
void ramet_checkpoint_make_ahead(struct ramet_session *session);
/* A generation was closed: have it looked after. */
void ramet_maintenance_wake(struct ramet_replica *replica);
/* A session was opened: have missing checksums computed, if there are any. */
void ramet_maintenance_begin(struct ramet_replica *replica);
void ramet_maintenance_stop(struct ramet_replica *replica);
/* The process's last session is about to close: stop, and do a little of what
 * would not be done. */
void ramet_maintenance_close(struct ramet_session *session);

/* ---- private.c ----------------------------------------------------------- */

/* A session whose index is its process's own reads on in the log. */
RAMET_NODISCARD enum ramet_rc
ramet_private_catch_up(struct ramet_session *session, struct ramet_err *err);

/* ---- open.c -------------------------------------------------------------- */

/* In the replica's list, whose eras keep descriptors open. */
void ramet_session_enter(struct ramet_session *session);
void ramet_session_leave(struct ramet_session *session);
RAMET_NODISCARD enum ramet_rc
ramet_session_new(struct ramet_replica *replica, bool is_internal,
                  struct ramet_session **out_session, struct ramet_err *err);
void ramet_session_free(struct ramet_session *session);
/* Bring a replica to order whose only session this is; state is read. Lenient:
 * see ramet_base_compare(). */
RAMET_NODISCARD enum ramet_rc
ramet_recover(struct ramet_session *session, struct ramet_state_file *state,
              bool is_lenient, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_clean_close(struct ramet_session *session, struct ramet_err *err);

#endif
