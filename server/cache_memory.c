/*
 * cache_memory.c - blocks in memory: shards, each a hash table and a list in
 * order of use.
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/lru_table.h"
#include "core/thread.h"
#include "server/cache_impl.h"

#define SHARDS 16u
#define MALLOC_COST 16u

struct entry {
    struct ramet_lru_link link; /* first */
    struct block_id id;
    uint32_t len;
    uint8_t data[];
};

struct shard {
    struct ramet_mutex lock;
    struct ramet_lru_link **buckets;
    struct ramet_lru_table table;
};

struct memcache {
    size_t shard_max_bytes;
    struct shard shards[SHARDS];
};

struct memcache *
ramet_memcache_new(size_t max_bytes)
{
    struct memcache *mem = ramet_calloc(1, sizeof(*mem));
    size_t bucket_count = 16;
    bool ok = mem != NULL;

    if (!ok)
        return NULL;
    mem->shard_max_bytes = max_bytes / SHARDS;
    while (bucket_count < mem->shard_max_bytes / 4096u)
        bucket_count *= 2;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *const s = &mem->shards[i];

        ramet_mutex_init(&s->lock);
        s->buckets =
            ramet_calloc(bucket_count, sizeof(struct ramet_lru_link *));
        ramet_lru_table_init(&s->table, s->buckets, bucket_count);
        ok = ok && s->buckets != NULL;
    }
    if (ok)
        return mem;
    ramet_memcache_free(mem);
    return NULL;
}

static struct entry *
find(const struct shard *s, const struct block_id *id, uint64_t hash)
{
    struct entry *e = (struct entry *)ramet_lru_table_first(&s->table, hash);

    while (e != NULL && !block_id_equal(&e->id, id))
        e = (struct entry *)ramet_lru_table_next(&e->link);
    return e;
}

static struct entry *
oldest(const struct shard *s)
{
    return (struct entry *)s->table.oldest;
}

static void
drop(struct shard *s, struct entry *e)
{
    assert(s->table.bytes > 0);
    ramet_lru_table_remove(&s->table, &e->link);
    ramet_free(e);
}

void
ramet_memcache_free(struct memcache *mem)
{
    if (mem == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &mem->shards[i];

        while (oldest(s) != NULL)
            drop(s, oldest(s));
        ramet_free(s->buckets);
        ramet_mutex_done(&s->lock);
    }
    ramet_free(mem);
}

bool
ramet_memcache_get(struct memcache *mem, const struct block_id *id,
                   size_t offset, void *buf, size_t len, size_t *out_got)
{
    const uint64_t hash = block_id_hash(id);
    struct shard *s = &mem->shards[hash % SHARDS];
    struct entry *e;

    ramet_mutex_lock(&s->lock);
    e = find(s, id, hash);
    if (e != NULL) {
        const size_t left = offset < e->len ? e->len - offset : 0;

        *out_got = len < left ? len : left;
        assert(e->len <= RAMET_CACHE_BLOCK_BYTES);
        memcpy(buf, e->data + offset, *out_got);
        ramet_lru_table_use(&s->table, &e->link);
    }
    ramet_mutex_unlock(&s->lock);
    return e != NULL;
}

void
ramet_memcache_put(struct memcache *mem, const struct block_id *id,
                   const void *data, size_t len)
{
    const uint64_t hash = block_id_hash(id);
    struct shard *s = &mem->shards[hash % SHARDS];
    struct entry *e = ramet_alloc(sizeof(*e) + len);

    assert(len <= RAMET_CACHE_BLOCK_BYTES);
    if (e == NULL)
        return; /* a cache may forget */
    e->id = *id;
    e->len = (uint32_t)len;
    memcpy(e->data, data, len);
    ramet_mutex_lock(&s->lock);
    if (find(s, id, hash) != NULL) {
        ramet_mutex_unlock(&s->lock);
        ramet_free(e);
        return;
    }
    ramet_lru_table_add(&s->table, &e->link, hash,
                        sizeof(*e) + len + MALLOC_COST);
    while (s->table.bytes > mem->shard_max_bytes && oldest(s) != e)
        drop(s, oldest(s));
    ramet_mutex_unlock(&s->lock);
}

void
ramet_memcache_drop(struct memcache *mem, const struct block_id *id)
{
    const uint64_t hash = block_id_hash(id);
    struct shard *const s = &mem->shards[hash % SHARDS];
    struct entry *e;

    ramet_mutex_lock(&s->lock);
    e = find(s, id, hash);
    if (e != NULL)
        drop(s, e);
    ramet_mutex_unlock(&s->lock);
}

void
ramet_memcache_forget(struct memcache *mem, uint64_t volume)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &mem->shards[i];

        ramet_mutex_lock(&s->lock);
        for (struct entry *e = oldest(s), *next; e != NULL; e = next) {
            next = (struct entry *)e->link.newer;
            if (e->id.volume == volume)
                drop(s, e);
        }
        ramet_mutex_unlock(&s->lock);
    }
}

uint64_t
ramet_memcache_bytes(struct memcache *mem)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < SHARDS; i++) {
        ramet_mutex_lock(&mem->shards[i].lock);
        bytes += mem->shards[i].table.bytes;
        ramet_mutex_unlock(&mem->shards[i].lock);
    }
    return bytes;
}
