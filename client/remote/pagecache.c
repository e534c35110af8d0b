/*
 * pagecache.c - see pagecache.h.
 *
 *   (1) an entry is right for the commits `first` and `last`, and all between
 *       them; but whether a commit is between them only its line could tell
 *   (2) bytes <= limit_bytes, or there are at most ENTRIES_MIN entries
 *   (3) a page that was brought ahead outlasts those that were read once, which their
 *       reader has behind him; one that is read again and again outlasts both
 *
 * Layer: client.
 */
#include "client/remote/pagecache.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/lru_table.h"
#include "core/thread.h"

#define BUCKETS 4096u
#define ENTRIES_MIN 16u
#define STAYS_ONCE 1u
#define STAYS_UNREAD 2u
#define STAYS_AGAIN 3u

struct entry {
    struct ramet_lru_link link; /* first */
    struct ramet_point first;
    struct ramet_point last;
    uint32_t pgno;
    bool was_read;
    uint8_t stays; /* times that the clock passes it by: invariant (3) */
    uint8_t page[];
};

struct ramet_pagecache {
    struct ramet_mutex mutex;
    size_t limit_bytes;
    uint32_t count;
    struct ramet_lru_table table; /* by when they came, or were passed by */
    struct ramet_lru_link *buckets[BUCKETS];
};

struct ramet_pagecache *
ramet_pagecache_new(size_t limit_bytes)
{
    struct ramet_pagecache *const cache = ramet_calloc(1, sizeof(*cache));

    if (cache == NULL)
        return NULL;
    ramet_mutex_init(&cache->mutex);
    cache->limit_bytes = limit_bytes;
    ramet_lru_table_init(&cache->table, cache->buckets, BUCKETS);
    return cache;
}

void
ramet_pagecache_free(struct ramet_pagecache *cache)
{
    if (cache == NULL)
        return;
    ramet_pagecache_clear(cache);
    ramet_mutex_done(&cache->mutex);
    ramet_free(cache);
}

void
ramet_pagecache_grow(struct ramet_pagecache *cache, size_t limit_bytes)
{
    ramet_mutex_lock(&cache->mutex);
    if (limit_bytes > cache->limit_bytes)
        cache->limit_bytes = limit_bytes;
    ramet_mutex_unlock(&cache->mutex);
}

static uint64_t
hash_of(uint32_t pgno)
{
    return pgno * UINT64_C(0x9e3779b97f4a7c15);
}

static bool
is_right(const struct entry *e, const struct ramet_point *at)
{
    return ramet_point_equal(&e->first, at) || ramet_point_equal(&e->last, at);
}

static struct entry *
find(struct ramet_pagecache *cache, const struct ramet_point *at, uint32_t pgno)
{
    struct entry *e =
        (struct entry *)ramet_lru_table_first(&cache->table, hash_of(pgno));

    assert(pgno >= 1);
    while (e != NULL && (e->pgno != pgno || !is_right(e, at)))
        e = (struct entry *)ramet_lru_table_next(&e->link);
    return e;
}

bool
ramet_pagecache_get(struct ramet_pagecache *cache, const struct ramet_point *at,
                    uint32_t pgno, size_t offset, void *out, size_t len)
{
    struct entry *entry;

    assert(out != NULL || len == 0);
    ramet_mutex_lock(&cache->mutex);
    entry = find(cache, at, pgno);
    if (entry != NULL) {
        assert(offset <= entry->link.cost && len <= entry->link.cost - offset);
        if (len > 0) { /* else it is only asked for */
            memcpy(out, entry->page + offset, len);
            entry->stays = entry->was_read ? STAYS_AGAIN : STAYS_ONCE;
            entry->was_read = true;
        }
    }
    ramet_mutex_unlock(&cache->mutex);
    return entry != NULL;
}

static void
drop(struct ramet_pagecache *cache, struct entry *entry)
{
    assert(cache->count > 0);
    ramet_lru_table_remove(&cache->table, &entry->link);
    cache->count--;
    ramet_free(entry);
}

void
ramet_pagecache_clear(struct ramet_pagecache *cache)
{
    ramet_mutex_lock(&cache->mutex);
    while (cache->table.oldest != NULL)
        drop(cache, (struct entry *)cache->table.oldest);
    assert(cache->count == 0 && cache->table.bytes == 0);
    ramet_mutex_unlock(&cache->mutex);
}

/* By the clock: who is passed by comes again when all others have been. */
static void
make_room(struct ramet_pagecache *cache, size_t size)
{
    while (cache->count >= ENTRIES_MIN &&
           cache->table.bytes + size > cache->limit_bytes) {
        struct entry *const entry = (struct entry *)cache->table.oldest;

        assert(entry->stays <= STAYS_AGAIN); /* invariant (3) */
        if (entry->stays == 0) {
            drop(cache, entry);
            continue;
        }
        entry->stays--;
        ramet_lru_table_use(&cache->table, &entry->link);
    }
}

static void
put(struct ramet_pagecache *cache, struct entry *entry, size_t size)
{
    make_room(cache, size);
    assert(cache->table.bytes + size <= cache->limit_bytes ||
           cache->count < ENTRIES_MIN); /* invariant (2) */
    ramet_lru_table_add(&cache->table, &entry->link, hash_of(entry->pgno),
                        size);
    cache->count++;
}

void
ramet_pagecache_put(struct ramet_pagecache *cache, const struct ramet_point *at,
                    uint32_t pgno, const uint8_t *page, size_t page_size)
{
    struct entry *const entry = ramet_alloc(sizeof(*entry) + page_size);

    if (entry == NULL)
        return;
    assert(page_size > 0 && page_size <= UINT32_MAX);
    *entry = (struct entry){
        .first = *at, .last = *at, .pgno = pgno, .stays = STAYS_UNREAD};
    memcpy(entry->page, page, page_size);
    ramet_mutex_lock(&cache->mutex);
    if (find(cache, at, pgno) == NULL)
        put(cache, entry, page_size);
    else
        ramet_free(entry);
    ramet_mutex_unlock(&cache->mutex);
}

void
ramet_pagecache_advance(struct ramet_pagecache *cache,
                        const struct ramet_point *from,
                        const struct ramet_point *to,
                        const struct ramet_pageset *changed)
{
    assert(from->lsn < to->lsn);
    ramet_mutex_lock(&cache->mutex);
    for (struct ramet_lru_link *link = cache->table.newest; link != NULL;
         link = link->older) {
        struct entry *const e = (struct entry *)link;

        if (is_right(e, from) && e->last.lsn < to->lsn &&
            !ramet_pageset_contains(changed, e->pgno))
            e->last = *to;
    }
    ramet_mutex_unlock(&cache->mutex);
}
