/*
 * http_ranges.c - see http_ranges.h.
 */
#include "client/remote/http_ranges.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "core/thread.h"

#define BUCKETS 4096u

struct piece {
    struct piece *chain;
    struct piece *newer, *older;
    struct ramet_hash key;
    uint64_t offset;
    size_t len;
    bool ends_object;
    bool read; /* what comes again then replaces it */
    uint8_t data[];
};

struct ramet_ranges {
    struct ramet_mutex lock;
    size_t max_bytes, bytes;
    struct piece *newest, *oldest;
    struct piece *buckets[BUCKETS];
};

struct ramet_ranges *
ramet_ranges_new(size_t max_bytes)
{
    struct ramet_ranges *ranges = ramet_calloc(1, sizeof(*ranges));

    if (ranges == NULL)
        return NULL;
    ranges->max_bytes = max_bytes;
    ramet_mutex_init(&ranges->lock);
    return ranges;
}

static struct piece **
find_piece(struct ramet_ranges *ranges, const struct ramet_hash *key,
           uint64_t offset)
{
    uint64_t h;
    struct piece **link;

    memcpy(&h, key->bytes, sizeof(h));
    h = (h ^ offset) * 0x9e3779b97f4a7c15u;
    link = &ranges->buckets[(h >> 32) % BUCKETS];
    while (*link != NULL &&
           ((*link)->offset != offset || !ramet_hash_equal(&(*link)->key, key)))
        link = &(*link)->chain;
    return link;
}

static size_t
cost_of(const struct piece *piece)
{
    return sizeof(*piece) + piece->len + 16u;
}

static void
unlist(struct ramet_ranges *ranges, struct piece *p)
{
    *(p->newer != NULL ? &p->newer->older : &ranges->newest) = p->older;
    *(p->older != NULL ? &p->older->newer : &ranges->oldest) = p->newer;
}

static void
list_newest(struct ramet_ranges *ranges, struct piece *p)
{
    p->newer = NULL;
    p->older = ranges->newest;
    *(ranges->newest != NULL ? &ranges->newest->newer : &ranges->oldest) = p;
    ranges->newest = p;
}

static void
drop_piece(struct ramet_ranges *ranges, struct piece *p)
{
    struct piece **link = find_piece(ranges, &p->key, p->offset);

    assert(*link == p);
    *link = p->chain;
    unlist(ranges, p);
    ranges->bytes -= cost_of(p);
    ramet_free(p);
}

void
ramet_ranges_clear(struct ramet_ranges *ranges)
{
    ramet_mutex_lock(&ranges->lock);
    while (ranges->oldest != NULL)
        drop_piece(ranges, ranges->oldest);
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
    struct piece *p;
    struct piece **link;

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
    p->chain = NULL;
    if (len > 0)
        memcpy(p->data, data, len);
    ramet_mutex_lock(&ranges->lock);
    link = find_piece(ranges, &p->key, offset);
    if (*link != NULL && !(*link)->read && (*link)->len >= len &&
        (*link)->ends_object >= ends_object) {
        ramet_mutex_unlock(&ranges->lock);
        ramet_free(p);
        return;
    }
    if (*link != NULL) {
        drop_piece(ranges, *link);
        link = find_piece(ranges, &p->key, offset);
    }
    *link = p;
    list_newest(ranges, p);
    ranges->bytes += cost_of(p);
    while (ranges->bytes > ranges->max_bytes && ranges->oldest != p)
        drop_piece(ranges, ranges->oldest);
    ramet_mutex_unlock(&ranges->lock);
}

/* With the lock held; `buf` NULL only looks. */
static bool
collect(struct ramet_ranges *ranges, const struct ramet_hash *key,
        uint64_t offset, void *buf, size_t len, bool unread, size_t *out_got)
{
    bool ended = false;
    size_t done = 0;

    while (done < len && !ended) {
        struct piece *p = *find_piece(ranges, key, offset + done);
        size_t n;

        if (p == NULL || (p->len == 0 && !p->ends_object) ||
            (unread && p->read))
            break;
        n = p->len < len - done ? p->len : len - done;
        if (buf != NULL && n > 0)
            memcpy((uint8_t *)buf + done, p->data, n);
        p->read = p->read || buf != NULL;
        done += n;
        ended = p->ends_object;
        if (ranges->newest != p) {
            unlist(ranges, p);
            list_newest(ranges, p);
        }
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
