/*
 * cache_impl.h - the two halves of the cache, memory and disk, and what its own
 * files share.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_CACHE_IMPL_H
#define RAMET_SERVER_CACHE_IMPL_H

#include <stdatomic.h>

#include "core/os.h"
#include "server/cache.h"

/* Which block: the object by the hash of its key. */
struct block_id {
    struct ramet_hash object;
    uint64_t volume; /* hash of the volume's id */
    uint64_t index;  /* offset / RAMET_CACHE_BLOCK_BYTES */
};

static inline bool
block_id_equal(const struct block_id *a, const struct block_id *b)
{
    return a->index == b->index && ramet_hash_equal(&a->object, &b->object);
}

static inline uint64_t
block_id_hash(const struct block_id *id)
{
    uint64_t h = 0;

    for (unsigned i = 0; i < 8; i++)
        h = h << 8 | id->object.bytes[i];
    return (h ^ id->index * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
}

/* ---- the cache ---- */
struct memcache;
struct diskcache;
struct ramet_cache {
    struct ramet_objstore store; /* what others see */
    struct ramet_objstore *inner;
    struct memcache *mem;
    struct diskcache *disk; /* NULL: none */
    uint64_t life;          /* of this process: invariant (4) of cache.h */
    _Atomic uint64_t memory_hits, disk_hits, misses;
    _Atomic uint64_t reads, writes, lists, errors, read_bytes, write_bytes;
};
/* cache_blocks.c. What a request of the inner store came to, counted. */
enum ramet_rc ramet_cache_count(struct ramet_cache *cache,
                                _Atomic uint64_t *requests, enum ramet_rc rc);
/* Past all blocks. */
RAMET_NODISCARD enum ramet_rc
ramet_cache_read_inner(struct ramet_cache *cache, const char *key,
                       uint64_t offset, void *buf, size_t len, size_t *out_got,
                       struct ramet_err *err);
/* In blocks, the first of which is `id`'s object's. */
RAMET_NODISCARD enum ramet_rc
ramet_cache_read_blocks(struct ramet_cache *cache, const char *key,
                        struct block_id id, uint64_t offset, uint8_t *buf,
                        size_t len, size_t *out_got, struct ramet_err *err);
/* The first block of an object; false: it is none of those that are kept. */
bool ramet_cache_block_of(const struct ramet_cache *cache, const char *key,
                          struct block_id *out);
/* Is a block in memory now? From disk it is taken there. */
bool ramet_cache_holds(struct ramet_cache *cache, const struct block_id *id);
/* `got` bytes of the inner store, from the block `id` on. */
void ramet_cache_keep(struct ramet_cache *cache, struct block_id id,
                      const uint8_t *bytes, size_t got);
/* Requests to the inner store, and what came of them. */
void ramet_cache_count_reads(struct ramet_cache *cache, size_t requests,
                             size_t bytes, enum ramet_rc rc);
/* cache_last.c. By which a volume's blocks are known. */
uint64_t ramet_cache_volume_hash(const struct ramet_vid *volume);
/* This thread reads blocks of an object, the first of which is `first`. */
void ramet_cache_note_read(const struct ramet_cache *cache,
                           const struct block_id *first, uint64_t last_index);
/* cache_parts.c: as ramet_objstore_read_parts(). */
RAMET_NODISCARD enum ramet_rc
ramet_cache_read_parts(struct ramet_objstore *store,
                       const struct ramet_part *parts, size_t count,
                       ramet_part_visit *visit, void *ctx,
                       struct ramet_err *err);

/* ---- memory ---- */
struct memcache *ramet_memcache_new(size_t max_bytes);
void ramet_memcache_free(struct memcache *mem);
/*
 * Copy from a block, at most `len` bytes from `offset`. False: not held. A
 * block shorter than its full size ends its object: *out_got may be less.
 */
bool ramet_memcache_get(struct memcache *mem, const struct block_id *id,
                        size_t offset, void *buf, size_t len, size_t *out_got);
void ramet_memcache_put(struct memcache *mem, const struct block_id *id,
                        const void *data, size_t len);
void ramet_memcache_drop(struct memcache *mem, const struct block_id *id);
void ramet_memcache_forget(struct memcache *mem, uint64_t volume);
uint64_t ramet_memcache_bytes(struct memcache *mem);

/* ---- disk ---- */
RAMET_NODISCARD enum ramet_rc
ramet_diskcache_open(const char *dir, uint64_t max_bytes,
                     struct diskcache **out_disk, struct ramet_err *err);
void ramet_diskcache_close(struct diskcache *disk);
/* `buf` holds RAMET_CACHE_BLOCK_BYTES; *out_len is the block's length. */
bool ramet_diskcache_get(struct diskcache *disk, const struct block_id *id,
                         uint8_t *buf, size_t *out_len);
void ramet_diskcache_put(struct diskcache *disk, const struct block_id *id,
                         const uint8_t *data, size_t len);
void ramet_diskcache_drop(struct diskcache *disk, const struct block_id *id);
void ramet_diskcache_forget(struct diskcache *disk, uint64_t volume);
uint64_t ramet_diskcache_bytes(struct diskcache *disk);
uint64_t ramet_diskcache_refused(struct diskcache *disk);

#endif
