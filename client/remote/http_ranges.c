/*
 * http_ranges.c - see http_ranges.h.
 */
#include "client/remote/http_ranges.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/lru_table.h"
#include "core/thread.h"

#define BUCKETS 4096u
#define MALLOC_COST 16u

struct piece {
    struct ramet_lru_link link; /* first */
    struct ramet_hash key;
    uint64_t offset;
    size_t len;
    bool ends_object;
    bool read; /* what comes again then replaces it */
    uint8_t data[];
};

struct ramet_ranges {
    struct ramet_mutex lock;
    size_t max_bytes;
    struct ramet_lru_table table;
    struct ramet_lru_link *buckets[BUCKETS];
};

struct ramet_ranges *
ramet_ranges_new(size_t max_bytes)
{
    struct ramet_ranges *ranges = ramet_calloc(1, sizeof(*ranges));

    assert(max_bytes > 0);
    if (ranges == NULL)
        return NULL;
    ranges->max_bytes = max_bytes;
    ramet_lru_table_init(&ranges->table, ranges->buckets, BUCKETS);
    ramet_mutex_init(&ranges->lock);
    return ranges;
}

static uint64_t
hash_of(const struct ramet_hash *key, uint64_t offset)
{
    uint64_t h;

    memcpy(&h, key->bytes, sizeof(h));
    return (h ^ offset) * 0x9e3779b97f4a7c15u;
}

static struct piece *
find_piece(const struct ramet_ranges *ranges, const struct ramet_hash *key,
           uint64_t offset)
{
    struct piece *p = (struct piece *)ramet_lru_table_first(
        &ranges->table, hash_of(key, offset));

    while (p != NULL &&
           (p->offset != offset || !ramet_hash_equal(&p->key, key)))
        p = (struct piece *)ramet_lru_table_next(&p->link);
    return p;
}

static struct piece *
oldest(const struct ramet_ranges *ranges)
{
    return (struct piece *)ranges->table.oldest;
}

static void
drop_piece(struct ramet_ranges *ranges, struct piece *p)
{
    assert(ranges->table.bytes >= sizeof(*p));
    ramet_lru_table_remove(&ranges->table, &p->link);
    ramet_free(p);
}

void
ramet_ranges_clear(struct ramet_ranges *ranges)
{
    ramet_mutex_lock(&ranges->lock);
    while (oldest(ranges) != NULL)
        drop_piece(ranges, oldest(ranges));
    assert(ranges->table.bytes == 0);
    ramet_mutex_unlock(&ranges->lock);
}

void
ramet_ranges_free(struct ramet_ranges *ranges)
{
    if (ranges == NULL)
        return;
    ramet_ranges_clear(ranges);
    ramet_mutex_done(&ranges->lock);
    ramet_free(ranges);
}

void
ramet_ranges_put(struct ramet_ranges *ranges, const char *key, uint64_t offset,
                 const void *data, size_t len, bool ends_object)
{
    struct piece *p, *old;

    assert(data != NULL || len == 0);
    if (len > ranges->max_bytes / 4)
        return;
    p = ramet_alloc(sizeof(*p) + len);
    if (p == NULL)
        return; /* a cache may forget */
    p->key = ramet_hash128(key, strlen(key));
    p->offset = offset;
    p->len = len;
    p->ends_object = ends_object;
    p->read = false;
    if (len > 0)
        memcpy(p->data, data, len);
    ramet_mutex_lock(&ranges->lock);
    old = find_piece(ranges, &p->key, offset);
    if (old != NULL && !old->read && old->len >= len &&
        old->ends_object >= ends_object) {
        ramet_mutex_unlock(&ranges->lock);
        ramet_free(p);
        return;
    }
    if (old != NULL)
        drop_piece(ranges, old);
    ramet_lru_table_add(&ranges->table, &p->link, hash_of(&p->key, offset),
                        sizeof(*p) + len + MALLOC_COST);
    assert(p->len == len && p->offset == offset);
    while (ranges->table.bytes > ranges->max_bytes && oldest(ranges) != p)
        drop_piece(ranges, oldest(ranges));
    ramet_mutex_unlock(&ranges->lock);
}

/* The piece that begins there; or the whole object, from its midst on (*out_skip):
 * who comes back for that is not told apart from who never came. */
static struct piece *
piece_at(struct ramet_ranges *ranges, const struct ramet_hash *key,
         uint64_t offset, size_t *out_skip)
{
    struct piece *p = find_piece(ranges, key, offset);

    *out_skip = 0;
    if (p != NULL || offset == 0)
        return p;
    p = find_piece(ranges, key, 0);
    if (p == NULL || !p->ends_object || offset > p->len)
        return NULL;
    assert(p->offset == 0 && offset <= p->len);
    *out_skip = (size_t)offset;
    return p;
}

/* With the lock held; `buf` NULL only looks. */
static bool
collect(struct ramet_ranges *ranges, const struct ramet_hash *key,
        uint64_t offset, void *buf, size_t len, bool unread, size_t *out_got)
{
    bool ended = false;
    size_t done = 0;

    while (done < len && !ended) {
        size_t skip, n;
        struct piece *const p = piece_at(ranges, key, offset + done, &skip);

        if (p == NULL || (p->len == 0 && !p->ends_object) ||
            (unread && p->read && skip == 0))
            break;
        n = p->len - skip < len - done ? p->len - skip : len - done;
        if (buf != NULL && n > 0)
            memcpy((uint8_t *)buf + done, p->data + skip, n);
        p->read = p->read || buf != NULL;
        done += n;
        ended = p->ends_object;
        ramet_lru_table_use(&ranges->table, &p->link);
    }
    *out_got = done;
    return done == len || ended;
}

bool
ramet_ranges_get(struct ramet_ranges *ranges, const char *key, uint64_t offset,
                 void *buf, size_t len, size_t *out_got)
{
    const struct ramet_hash hash = ramet_hash128(key, strlen(key));
    size_t got;
    bool found;

    assert(buf != NULL);
    ramet_mutex_lock(&ranges->lock);
    found = collect(ranges, &hash, offset, buf, len, false, &got);
    ramet_mutex_unlock(&ranges->lock);
    if (found)
        *out_got = got;
    return found;
}

bool
ramet_ranges_has(struct ramet_ranges *ranges, const char *key, uint64_t offset,
                 size_t len, bool unread)
{
    const struct ramet_hash hash = ramet_hash128(key, strlen(key));
    size_t got;
    bool found;

    ramet_mutex_lock(&ranges->lock);
    found = collect(ranges, &hash, offset, NULL, len, unread, &got);
    ramet_mutex_unlock(&ranges->lock);
    return found;
}

bool
ramet_ranges_has_at(struct ramet_ranges *ranges, const struct ramet_hash *key,
                    uint64_t offset, size_t len)
{
    size_t got;
    bool found;

    ramet_mutex_lock(&ranges->lock);
    found = collect(ranges, key, offset, NULL, len, false, &got);
    ramet_mutex_unlock(&ranges->lock);
    return found;
}
