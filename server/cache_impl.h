/*
 * cache_impl.h - the two halves of the cache: memory and disk.
 *
 * Layer: server.
 */
#ifndef RAMET_SERVER_CACHE_IMPL_H
#define RAMET_SERVER_CACHE_IMPL_H

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

/* ---- memory ---- */
struct memcache;
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
void ramet_memcache_forget(struct memcache *mem, uint64_t volume);
uint64_t ramet_memcache_bytes(struct memcache *mem);

/* ---- disk ---- */
struct diskcache;
RAMET_NODISCARD enum ramet_rc
ramet_diskcache_open(const char *dir, uint64_t max_bytes,
                     struct diskcache **out_disk, struct ramet_err *err);
void ramet_diskcache_close(struct diskcache *disk);
/* `buf` holds RAMET_CACHE_BLOCK_BYTES; *out_len is the block's length. */
bool ramet_diskcache_get(struct diskcache *disk, const struct block_id *id,
                         uint8_t *buf, size_t *out_len);
void ramet_diskcache_put(struct diskcache *disk, const struct block_id *id,
                         const uint8_t *data, size_t len);
void ramet_diskcache_forget(struct diskcache *disk, uint64_t volume);
uint64_t ramet_diskcache_bytes(struct diskcache *disk);
uint64_t ramet_diskcache_refused(struct diskcache *disk);

#endif
