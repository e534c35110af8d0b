/*
 * replica.h - struct ramet_replica: one replica as this process has it open.
 *
 *   (1) fields above `mutex` are fixed once it is open; those below it are
 *       guarded by it.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_REPLICA_H
#define RAMET_CLIENT_STORE_SHARED_REPLICA_H

#include <stdatomic.h>

#include "client/store/store.h"
#include "core/thread.h"

struct ramet_frame_file;
struct ramet_index_head;
struct ramet_session;

#define RAMET_FRAME_FILE_BUCKETS 64u
#define RAMET_NEAR_CHUNKS 32u /* of files of 16 GiB, in pages of 4 KiB */

struct ramet_maintenance; /* maintenance.c */
struct ramet_recent;      /* log/recent.c */
struct ramet_placed;      /* page/placed.c */

struct ramet_replica {
    const struct ramet_os *os;
    unsigned fork_count;
    char *path;                           /* as opened, for texts */
    char *name;                           /* of the base, in parent_fd */
    int parent_fd;                        /* may be another's too: registry.c */
    uint64_t parent_device, parent_inode; /* 0: not looked at */
    int dir_fd;
    int base_fd;  /* -1: an index of its own on a base that can't be opened */
    int index_fd; /* -1: not open; ramet_index_file() has it. Closed and opened
                     under `mutex` */
    uint64_t index_device, index_inode; /* once it was closed */
    bool is_readonly;       /* nothing of it can be written by this process */
    bool has_own_index;     /* the index is in this process's memory alone */
    uint64_t device, inode; /* of `lock`: who we are in this process */
    struct ramet_id base_id;
    enum ramet_volume_kind kind;
    bool default_held;            /* presence 0 means held */
    uint64_t kept_log, kept_salt; /* of a log file that is not begun: state.h */
    bool presence_is_checked;     /* its words have check bits */
    uint64_t cache_limit_bytes;
    _Atomic uint32_t held; /* its sessions' exclusive locks; see locks.h */
    struct ramet_index_head *head;
    struct ramet_mutex base_mutex; /* with the base lock, always */
    struct ramet_mutex life_mutex; /* sessions opening and closing */

    struct ramet_mutex mutex;
    /* The index's chunks where they are mapped, stored under mutex: of the first
     * RAMET_NEAR_CHUNKS, and of all the others. */
    _Atomic(_Atomic uint64_t *) near_chunks[RAMET_NEAR_CHUNKS];
    _Atomic(_Atomic(_Atomic uint64_t *) *) far_chunks;
    uint32_t chunk_end; /* no chunk is mapped from there on */
    struct ramet_frame_file
        *_Atomic frame_files[RAMET_FRAME_FILE_BUCKETS]; /* stores under mutex */
    struct ramet_frame_file *retired;
    _Atomic uint64_t epoch;       /* of descriptors' lives; see frame_files.c */
    _Atomic uint64_t seen_oldest; /* log files trimmed up to */
    _Atomic uint64_t seen_fetched_oldest;
    _Atomic uint64_t seen_supers; /* when they were last looked at */
    struct ramet_session *sessions;
    unsigned live_count; /* sessions that count for opening and closing */
    ramet_fetcher *fetcher;
    void *fetcher_ctx;
    ramet_watcher *watcher;
    void *watcher_ctx;
    atomic_bool is_watched; /* reads of what is here are told */
    struct ramet_maintenance *maintenance;
    bool maintenance_starts;
    struct ramet_recent *recent;         /* NULL: nothing is noted */
    struct ramet_placed *_Atomic placed; /* NULL: none yet; see there */
    int presence_fd;                     /* -1: not open */
    bool presence_is_named;              /* ... and its name lasts; base lock */

    unsigned refs;              /* registry's mutex */
    struct ramet_replica *next; /* registry's list */
    atomic_bool is_ready;       /* opened, indexed; stored under life_mutex */
};

#define RAMET_PAGE_SIZE_MAX 65536u

static inline uint32_t
ramet_pages_of(uint64_t bytes, uint32_t page_size)
{
    return page_size == 0 ? 0 : (uint32_t)((bytes + page_size - 1) / page_size);
}

#endif
