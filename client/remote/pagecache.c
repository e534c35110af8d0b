/*
 * pagecache.c - see pagecache.h.
 *
 * A hash table with chains over an array of entries; the clock's hand walks
 * the array.
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
#include "core/thread.h"

#define BUCKETS 4096u /* a power of two */
#define ENTRIES_MIN 16u
#define NONE UINT32_MAX
#define STAYS_ONCE 1u
#define STAYS_UNREAD 2u
#define STAYS_AGAIN 3u

struct entry {
    struct ramet_point first;
    struct ramet_point last;
    uint32_t pgno; /* 0: free */
    uint32_t next; /* in its chain, or in the list of free ones */
    uint32_t size;
    bool was_read;
    uint8_t stays; /* times that the hand passes it by: invariant (3) */
    uint8_t *page;
};

struct ramet_pagecache {
    struct ramet_mutex mutex;
    size_t limit_bytes;
    size_t bytes;
    uint32_t buckets[BUCKETS];
    struct entry *entries;
    uint32_t capacity; /* of entries */
    uint32_t count;    /* ever used */
    uint32_t live;
    uint32_t free_list;
    uint32_t hand;
};

struct ramet_pagecache *
ramet_pagecache_new(size_t limit_bytes)
{
    struct ramet_pagecache *const cache = ramet_calloc(1, sizeof(*cache));

    if (cache == NULL)
        return NULL;
    ramet_mutex_init(&cache->mutex);
    cache->limit_bytes = limit_bytes;
    cache->free_list = NONE;
    for (uint32_t i = 0; i < BUCKETS; i++)
        cache->buckets[i] = NONE;
    return cache;
}

void
ramet_pagecache_free(struct ramet_pagecache *cache)
{
    if (cache == NULL)
        return;
    for (uint32_t i = 0; i < cache->count; i++)
        ramet_free(cache->entries[i].page);
    assert(cache->live <= cache->count);
    ramet_free(cache->entries);
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

static uint32_t *
bucket_of(struct ramet_pagecache *cache, uint32_t pgno)
{
    return &cache->buckets[(pgno * 2654435761u >> 16) & (BUCKETS - 1)];
}

static bool
is_right(const struct entry *e, const struct ramet_point *at)
{
    return ramet_point_equal(&e->first, at) || ramet_point_equal(&e->last, at);
}

static struct entry *
find(struct ramet_pagecache *cache, const struct ramet_point *at, uint32_t pgno)
{
    for (uint32_t i = *bucket_of(cache, pgno); i != NONE;
         i = cache->entries[i].next) {
        struct entry *const e = &cache->entries[i];

        if (e->pgno == pgno && is_right(e, at))
            return e;
    }
    return NULL;
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
        assert(offset <= entry->size && len <= entry->size - offset);
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
drop(struct ramet_pagecache *cache, uint32_t index)
{
    struct entry *const entry = &cache->entries[index];
    uint32_t *link = bucket_of(cache, entry->pgno);

    assert(entry->pgno != 0 && cache->live > 0);
    assert(cache->bytes >= entry->size);
    while (*link != index)
        link = &cache->entries[*link].next;
    *link = entry->next;
    cache->bytes -= entry->size;
    cache->live--;
    ramet_free(entry->page);
    *entry = (struct entry){.next = cache->free_list};
    cache->free_list = index;
}

void
ramet_pagecache_clear(struct ramet_pagecache *cache)
{
    ramet_mutex_lock(&cache->mutex);
    for (uint32_t i = 0; i < cache->count; i++)
        if (cache->entries[i].pgno != 0)
            drop(cache, i);
    assert(cache->live == 0 && cache->bytes == 0);
    ramet_mutex_unlock(&cache->mutex);
}

static void
make_room(struct ramet_pagecache *cache, size_t size)
{
    assert(cache->live <= cache->count && cache->count <= cache->capacity);
    while (cache->live >= ENTRIES_MIN &&
           cache->bytes + size > cache->limit_bytes) {
        struct entry *const entry = &cache->entries[cache->hand];

        assert(cache->hand < cache->count);
        assert(entry->stays <= STAYS_AGAIN); /* invariant 3 */
        if (entry->pgno != 0 && entry->stays == 0)
            drop(cache, cache->hand);
        else if (entry->pgno != 0)
            entry->stays--;
        cache->hand = cache->hand + 1 < cache->count ? cache->hand + 1 : 0;
    }
}

/* A free entry's index, or NONE on no memory. */
static uint32_t
take_entry(struct ramet_pagecache *cache)
{
    uint32_t index = cache->free_list;

    if (index != NONE) {
        assert(index < cache->count && cache->entries[index].pgno == 0);
        cache->free_list = cache->entries[index].next;
        return index;
    }
    if (cache->count == cache->capacity) {
        const uint32_t capacity =
            cache->capacity > 0 ? cache->capacity * 2 : 64;
        struct entry *const entries =
            ramet_realloc(cache->entries, capacity * sizeof(*entries));

        if (entries == NULL)
            return NONE;
        cache->entries = entries;
        cache->capacity = capacity;
    }
    assert(cache->count < cache->capacity);
    index = cache->count++;
    cache->entries[index] = (struct entry){.pgno = 0};
    return index;
}

static void
put(struct ramet_pagecache *cache, const struct ramet_point *at, uint32_t pgno,
    uint8_t *page, size_t size)
{
    uint32_t *bucket;
    uint32_t index;

    make_room(cache, size);
    index = take_entry(cache);
    if (index == NONE) {
        ramet_free(page);
        return;
    }
    assert(cache->bytes + size <= cache->limit_bytes ||
           cache->live < ENTRIES_MIN); /* invariant 2 */
    assert(cache->entries[index].pgno == 0);
    bucket = bucket_of(cache, pgno);
    cache->entries[index] = (struct entry){
        .first = *at,
        .last = *at,
        .pgno = pgno,
        .next = *bucket,
        .size = (uint32_t)size,
        .stays = STAYS_UNREAD,
        .page = page,
    };
    *bucket = index;
    cache->bytes += size;
    cache->live++;
}

void
ramet_pagecache_put(struct ramet_pagecache *cache, const struct ramet_point *at,
                    uint32_t pgno, const uint8_t *page, size_t page_size)
{
    uint8_t *const copy = ramet_alloc(page_size);

    if (copy == NULL)
        return;
    assert(page_size > 0 && page_size <= UINT32_MAX);
    memcpy(copy, page, page_size);
    ramet_mutex_lock(&cache->mutex);
    if (find(cache, at, pgno) == NULL)
        put(cache, at, pgno, copy, page_size);
    else
        ramet_free(copy);
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
    for (uint32_t i = 0; i < cache->count; i++) {
        struct entry *const e = &cache->entries[i];

        if (e->pgno != 0 && is_right(e, from) && e->last.lsn < to->lsn &&
            !ramet_pageset_contains(changed, e->pgno))
            e->last = *to;
    }
    ramet_mutex_unlock(&cache->mutex);
}
