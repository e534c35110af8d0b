/*
 * cache.h - a store in front of a store, that remembers.
 *
 * Objects are immutable, so what was read of one once is right for ever: it
 * is kept in blocks of 16 KiB, in memory and (if asked for) in one file on
 * disk. Only commits, maps and segments are kept; names are not, and that
 * something is *not* there is never remembered.
 *
 *   (1) Bounded: memory_bytes and disk_bytes, whatever is read.
 *   (2) A block from disk was verified against its key, length and checksum;
 *       one that fails is a miss.
 *   (3) ramet_cache_try() does no I/O and waits for nothing but a short lock.
 *   (4) Commits are found by a number, which is given to another one where a store is set
 *       back and written again. So one that an earlier process left on disk is a miss:
 *       nobody may have looked at the store between. Maps and segments have ids.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_CACHE_H
#define RAMET_SERVER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/hash.h"
#include "core/id.h"
#include "pagestore/objstore.h"

#define RAMET_CACHE_BLOCK_BYTES (16u << 10)

struct ramet_cache;

struct ramet_cache_options {
    size_t memory_bytes;  /* at least 1 MiB */
    const char *disk_dir; /* NULL: none */
    uint64_t disk_bytes;
};

struct ramet_cache_stats {
    uint64_t memory_hits, disk_hits, misses; /* blocks */
    uint64_t memory_bytes;                   /* held now */
    uint64_t disk_bytes;
    uint64_t disk_refused; /* blocks that failed their checksum */
    uint64_t store_reads, store_writes, store_lists, store_errors;
    uint64_t store_read_bytes, store_write_bytes;
};

/* `store` is borrowed. RAMET_EBUSY: another process uses the directory. */
RAMET_NODISCARD enum ramet_rc
ramet_cache_open(struct ramet_objstore *store,
                 const struct ramet_cache_options *options,
                 struct ramet_cache **out_cache, struct ramet_err *err);
void ramet_cache_close(struct ramet_cache *cache);
/* The caching store; closed with the cache, never by ramet_objstore_close. */
struct ramet_objstore *ramet_cache_store(struct ramet_cache *cache);

/* True if all of [offset, offset+len) was in memory and is now in `buf`. */
bool ramet_cache_try(struct ramet_cache *cache, const char *key,
                     uint64_t offset, void *buf, size_t len);
/* What is missing of these is brought, with many requests under way at a time, if
 * the store behind takes them so (RAMET_STORE_READS_PARTS); else it is left to who
 * reads, and so is what can't be brought. `buf` is not looked at. */
void ramet_cache_bring(struct ramet_cache *cache,
                       const struct ramet_part *parts, size_t count);
/* Who was sent that range found it wrong: where the store has other bytes, all that is
 * kept of the volume goes. A read of the store, of 1 MiB at most. */
void ramet_cache_doubt(struct ramet_cache *cache, const char *key,
                       uint64_t offset, uint64_t len);
/* What this thread read just now of the volume, in memory or from the store, is damaged:
 * what was read last goes, and is read of the store again. */
void ramet_cache_forget_last(struct ramet_cache *cache,
                             const struct ramet_vid *volume);
/* Forget a volume: it was deleted, its store went back, or its metadata is damaged. */
void
ramet_cache_forget(struct ramet_cache *cache, const struct ramet_vid *volume);
void ramet_cache_get_stats(struct ramet_cache *cache,
                           struct ramet_cache_stats *out_stats);

#endif
