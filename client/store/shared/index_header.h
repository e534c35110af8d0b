/*
 * index_header.h - what stands at the head of the shared index.
 *
 * Words are atomics, in groups by who may store them.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_INDEX_HEADER_H
#define RAMET_CLIENT_STORE_SHARED_INDEX_HEADER_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "client/snapshot.h"
#include "client/store/format/pos.h"

#define RAMET_RING_SLOTS 64u
#define RAMET_RING_WORDS 32u
#define RAMET_PIN_SLOTS 1024u
#define RAMET_CHUNK_BITS 18 /* entries a mapping: 2 MiB */
#define RAMET_CHUNK_ENTRIES (1u << RAMET_CHUNK_BITS)
#define RAMET_CHUNK_COUNT (1u << (33 - RAMET_CHUNK_BITS)) /* of both kinds */
#define RAMET_BITS_STEP 4096u /* bytes of `blocks` allocated at a time */
#define RAMET_BLOCK_BITS 13   /* entries allocated at a time: 64 KiB */
#define RAMET_BLOCK_WORDS (1u << (33 - RAMET_BLOCK_BITS - 6))
#define RAMET_LOAD_BLOCK 4096u      /* entries loaded from presence at a time */
#define RAMET_BASE_HEADER_WORDS 13u /* 100 bytes and four of padding */
#define RAMET_MARK_IN_DOUBT UINT64_MAX /* no token: those have 32 bits */

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
        _Atomic uint64_t void_pending; /* void word of a record that counts no
                                       more, and may be without it on disk; see
                                       void.c */
        struct ramet_pos_word
            doubt; /* start of a record in doubt; see doubt.c */
        struct ramet_pos_word write_pos; /* the next record's place */
        struct ramet_pos_word lsn_tail;  /* of the newest with a new LSN */
        struct ramet_pos_word sync_tail; /* of the newest that has an intent, or
                                            tells what became of one */
        _Atomic uint64_t high_water;     /* highest page that ever was */
        struct ramet_pos_word used; /* past each frame that was ever written;
                                       see record.c */
    } log;
    /* The holder of the checkpoint lock. */
    struct {
        _Alignas(64) struct ramet_pos_word target; /* no pin before it is valid;
                                                      drop_pages.c raises it, too */
        /* With the base lock, too: */
        _Atomic uint64_t oldest;     /* log file that is not in the base */
        _Atomic uint64_t page_count; /* of the base */
        _Atomic uint64_t page_size;
    } checkpoint;
    /* The holder of the checkpoint lock: what retained.c keeps. */
    struct {
        struct ramet_pos_word tail; /* snapshots before it look there */
        struct ramet_pos_word pos;  /* the next frame's place */
        _Atomic uint64_t oldest;    /* file number */
        _Atomic uint64_t size;      /* bytes, about */
        _Atomic uint64_t packed; /* ... when last only what counts was there */
    } retained;
    /* The holder of the base lock. */
    struct {
        _Alignas(64) struct ramet_pos_word pos; /* the next frame's place */
        _Atomic uint64_t oldest;                /* file number */
    } fetched;
    /* The holder of the base lock; those of the mark also who has the mark lock. */
    struct {
        _Alignas(64) _Atomic uint64_t stamp; /* of entries; any grows it */
        _Atomic uint64_t absent; /* 0: an entry that is not loaded means held */
        _Atomic uint64_t is_recounting; /* presence was changed, `absent` may
                                           not be yet */
        _Atomic uint64_t is_unsummed;   /* see sums.h */
        _Atomic uint64_t is_unsynced;   /* words that the state carries are not
                                           in the file: presence.h */
        _Atomic uint64_t is_marked;     /* the base has the replica mark */
        _Atomic uint64_t mark_synced;
        _Atomic uint64_t mark_token;   /* the base's, or in doubt */
        _Atomic uint64_t mark_next;    /* see base_check.h */
        _Atomic uint64_t failed_syncs; /* of the base, so many; see placed.c */
        /* What its inode said when we were last done with it; all 0: we may be
         * at it. */
        _Atomic uint64_t seen_size, seen_mtime, seen_ctime;
        /* The true first 100 bytes of its page 1, if that is held. */
        _Atomic uint64_t header[RAMET_BASE_HEADER_WORDS];
    } base;
    /* A session with a slot, where nobody alive has it. */
    struct {
        _Alignas(64) _Atomic uint64_t raised_by; /* 1 + slot; 0: it is down */
    } barrier;
    /* Anybody. */
    struct {
        _Alignas(64) struct ramet_pos_word synced; /* the log is on disk up to
                                                      there */
        _Atomic uint64_t sync_failed;  /* what is past `synced` may be lost
                                         though a later sync succeeds */
        _Atomic uint64_t named_log;    /* directory entries synced up to it */
        _Atomic uint64_t fetched_seen; /* bytes of that file that a checkpoint
                                         was over, and left there */
        _Atomic uint64_t was_written;  /* something since the clean state */
        _Atomic uint64_t supers; /* super-journals beside the base, of those who
                                    live or died; outlives them */
        _Atomic uint64_t absent_now; /* about so many pages are absent */
        _Atomic uint64_t slot_hint;  /* slots ever used */
        /* How often who held the write lock internally gave it back. */
        _Atomic uint64_t internal_ends;
    } all;
};

/* Where an older build left it, too: it outlives those who map it. */
static_assert(offsetof(struct ramet_index_header, log.void_pending) == 80,
              "the third word of the log's");

struct ramet_index_pin {
    _Alignas(64) struct ramet_pos_word tail; /* none: not pinned */
};

struct ramet_index_head {
    struct ramet_index_header header;
    _Alignas(4096) _Atomic uint64_t ring[RAMET_RING_SLOTS][RAMET_RING_WORDS];
    struct ramet_index_pin pins[RAMET_PIN_SLOTS];
    /* Which blocks of entries have disk blocks behind them; anybody. The first
     * RAMET_BITS_STEP of them, for a terabyte of pages of 4 KiB, have their own
     * from the beginning. */
    _Alignas(RAMET_BITS_STEP) _Atomic uint64_t blocks[RAMET_BLOCK_WORDS];
};

/* What has disk blocks from the beginning. */
#define RAMET_INDEX_FRONT                                                      \
    (offsetof(struct ramet_index_head, blocks) + RAMET_BITS_STEP)

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

#endif
