/*
 * cache_memory.c - blocks in memory: shards, each a hash table and a list in
 * order of use.
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "server/cache_impl.h"

#define SHARDS 16u

struct entry {
    struct entry *chain;
    struct entry *newer, *older;
    struct block_id id;
    uint32_t len;
    uint8_t data[];
};

struct shard {
    struct ramet_mutex lock;
    struct entry **buckets;
    struct entry *newest, *oldest;
    size_t bytes;
};

struct memcache {
    size_t shard_max_bytes;
    size_t bucket_count; /* a shard's; a power of two */
    struct shard shards[SHARDS];
};

struct memcache *
ramet_memcache_new(size_t max_bytes)
{
    struct memcache *mem = ramet_calloc(1, sizeof(*mem));
    bool ok = mem != NULL;

    if (!ok)
        return NULL;
    mem->shard_max_bytes = max_bytes / SHARDS;
    mem->bucket_count = 16;
    while (mem->bucket_count < mem->shard_max_bytes / 4096u)
        mem->bucket_count *= 2;
    for (unsigned i = 0; i < SHARDS; i++) {
        ramet_mutex_init(&mem->shards[i].lock);
        mem->shards[i].buckets =
            ramet_calloc(mem->bucket_count, sizeof(struct entry *));
        ok = ok && mem->shards[i].buckets != NULL;
    }
    if (ok)
        return mem;
    ramet_memcache_free(mem);
    return NULL;
}

static size_t
cost_of(const struct entry *e)
{
    return sizeof(*e) + e->len + 16u; /* 16: malloc's own */
}

static struct entry **
find_slot(const struct memcache *mem, struct shard *s,
          const struct block_id *id, uint64_t hash)
{
    struct entry **slot = &s->buckets[(hash >> 8) & (mem->bucket_count - 1)];

    while (*slot != NULL && !block_id_equal(&(*slot)->id, id))
        slot = &(*slot)->chain;
    return slot;
}

static void
unlist(struct shard *s, struct entry *e)
{
    *(e->newer != NULL ? &e->newer->older : &s->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &s->oldest) = e->newer;
}

static void
list_newest(struct shard *s, struct entry *e)
{
    e->newer = NULL;
    e->older = s->newest;
    *(s->newest != NULL ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
}

static void
drop(const struct memcache *mem, struct shard *s, struct entry *e)
{
    struct entry **slot = find_slot(mem, s, &e->id, block_id_hash(&e->id));

    assert(*slot == e);
    *slot = e->chain;
    unlist(s, e);
    s->bytes -= cost_of(e);
    ramet_free(e);
}

void
ramet_memcache_free(struct memcache *mem)
{
    if (mem == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &mem->shards[i];

        while (s->oldest != NULL)
            drop(mem, s, s->oldest);
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
    e = *find_slot(mem, s, id, hash);
    if (e != NULL) {
        const size_t left = offset < e->len ? e->len - offset : 0;

        *out_got = len < left ? len : left;
        memcpy(buf, e->data + offset, *out_got);
        if (s->newest != e) {
            unlist(s, e);
            list_newest(s, e);
        }
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
    struct entry **slot;

    assert(len <= RAMET_CACHE_BLOCK_BYTES);
    if (e == NULL)
        return; /* a cache may forget */
    e->id = *id;
    e->len = (uint32_t)len;
    memcpy(e->data, data, len);
    ramet_mutex_lock(&s->lock);
    slot = find_slot(mem, s, id, hash);
    if (*slot != NULL) {
        ramet_mutex_unlock(&s->lock);
        ramet_free(e);
        return;
    }
    e->chain = NULL;
    *slot = e;
    list_newest(s, e);
    s->bytes += cost_of(e);
    while (s->bytes > mem->shard_max_bytes && s->oldest != e)
        drop(mem, s, s->oldest);
    ramet_mutex_unlock(&s->lock);
}

void
ramet_memcache_forget(struct memcache *mem, uint64_t volume)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *s = &mem->shards[i];

        ramet_mutex_lock(&s->lock);
        for (struct entry *e = s->oldest, *next; e != NULL; e = next) {
            next = e->newer;
            if (e->id.volume == volume)
                drop(mem, s, e);
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
        bytes += mem->shards[i].bytes;
        ramet_mutex_unlock(&mem->shards[i].lock);
    }
    return bytes;
}
