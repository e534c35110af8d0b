/*
 * cache_blocks.c - objects in blocks: from memory, from disk, or from the store, and
 * then kept in both.
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "server/cache_impl.h"

#define BLOCK RAMET_CACHE_BLOCK_BYTES

/* "volumes/<36>/" and then one of the immutable kinds. */
bool
ramet_cache_block_of(const struct ramet_cache *cache, const char *key,
                     struct block_id *out)
{
    static const char prefix[] = "volumes/";
    const char *kind;

    assert(key != NULL);
    if (strncmp(key, prefix, sizeof(prefix) - 1) != 0 ||
        strlen(key) < sizeof(prefix) - 1 + 37)
        return false;
    kind = key + sizeof(prefix) - 1 + 37;
    if (strncmp(kind, "commits/", 8) != 0 && strncmp(kind, "maps/", 5) != 0 &&
        strncmp(kind, "segments/", 9) != 0)
        return false;
    out->object = ramet_hash128(key, strlen(key));
    if (kind[0] == 'c') /* invariant (4) of cache.h */
        ramet_put_le64(out->object.bytes,
                       ramet_get_le64(out->object.bytes) ^ cache->life);
    out->volume = ramet_hash64(key + sizeof(prefix) - 1, 36);
    out->index = 0;
    return true;
}

enum ramet_rc
ramet_cache_count(struct ramet_cache *cache, _Atomic uint64_t *requests,
                  enum ramet_rc rc)
{
    assert(requests != NULL);

    atomic_fetch_add_explicit(requests, 1, memory_order_relaxed);
    if (rc != RAMET_OK && rc != RAMET_ENOTFOUND && rc != RAMET_EEXIST)
        atomic_fetch_add_explicit(&cache->errors, 1, memory_order_relaxed);
    return rc;
}

enum ramet_rc
ramet_cache_read_inner(struct ramet_cache *cache, const char *key,
                       uint64_t offset, void *buf, size_t len, size_t *out_got,
                       struct ramet_err *err)
{
    const enum ramet_rc rc =
        ramet_objstore_read(cache->inner, key, offset, buf, len, out_got, err);

    assert(cache->inner != NULL);
    if (rc == RAMET_OK)
        atomic_fetch_add_explicit(&cache->read_bytes, *out_got,
                                  memory_order_relaxed);
    return ramet_cache_count(cache, &cache->reads, rc);
}

/* One block from memory or disk into `buf` (len bytes from `offset` of it). */
static bool
get_block(struct ramet_cache *cache, const struct block_id *id, size_t offset,
          void *buf, size_t len, uint8_t *scratch, size_t *out_got)
{
    size_t block_len;

    assert(offset < BLOCK && len <= BLOCK - offset);
    if (ramet_memcache_get(cache->mem, id, offset, buf, len, out_got)) {
        atomic_fetch_add_explicit(&cache->memory_hits, 1, memory_order_relaxed);
        return true;
    }
    if (cache->disk == NULL ||
        !ramet_diskcache_get(cache->disk, id, scratch, &block_len))
        return false;
    atomic_fetch_add_explicit(&cache->disk_hits, 1, memory_order_relaxed);
    ramet_memcache_put(cache->mem, id, scratch, block_len);
    *out_got = offset < block_len ? block_len - offset : 0;
    if (*out_got > len)
        *out_got = len;
    memcpy(buf, scratch + offset, *out_got);
    return true;
}

bool
ramet_cache_holds(struct ramet_cache *cache, const struct block_id *id)
{
    uint8_t byte, scratch[BLOCK];
    size_t got;

    return ramet_memcache_get(cache->mem, id, 0, &byte, 1, &got) ||
           get_block(cache, id, 0, &byte, 1, scratch, &got);
}

void
ramet_cache_keep(struct ramet_cache *cache, struct block_id id,
                 const uint8_t *bytes, size_t got)
{
    assert(bytes != NULL || got == 0);
    for (size_t pos = 0; pos < got; pos += BLOCK, id.index++) {
        const size_t block_len = got - pos < BLOCK ? got - pos : BLOCK;

        atomic_fetch_add_explicit(&cache->misses, 1, memory_order_relaxed);
        ramet_memcache_put(cache->mem, &id, bytes + pos, block_len);
        if (cache->disk != NULL)
            ramet_diskcache_put(cache->disk, &id, bytes + pos, block_len);
    }
}

void
ramet_cache_count_reads(struct ramet_cache *cache, size_t requests,
                        size_t bytes, enum ramet_rc rc)
{
    assert(requests > 0);

    atomic_fetch_add_explicit(&cache->read_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&cache->reads, requests - 1,
                              memory_order_relaxed);
    (void)ramet_cache_count(cache, &cache->reads, rc);
}

/* Read [first, last] blocks with one request, keep them, copy what is asked.
 * `span` has room for them all. */
static enum ramet_rc
fetch_span(struct ramet_cache *cache, const char *key, struct block_id id,
           uint64_t last_block, uint64_t offset, uint8_t *buf, size_t len,
           uint8_t *span, size_t *out_got, struct ramet_err *err)
{
    const uint64_t span_offset = id.index * BLOCK;
    const size_t span_len = (size_t)(last_block - id.index + 1) * BLOCK;
    size_t got, skip;
    enum ramet_rc rc;

    assert(last_block >= id.index && offset >= span_offset);
    rc = ramet_cache_read_inner(cache, key, span_offset, span, span_len, &got,
                                err);
    if (rc != RAMET_OK)
        return rc;
    assert(got <= span_len);
    ramet_cache_keep(cache, id, span, got);
    skip = (size_t)(offset - span_offset);
    *out_got = got > skip ? got - skip : 0;
    if (*out_got > len)
        *out_got = len;
    memcpy(buf, span + skip, *out_got);
    return RAMET_OK;
}

enum ramet_rc
ramet_cache_read_blocks(struct ramet_cache *cache, const char *key,
                        struct block_id id, uint64_t offset, uint8_t *buf,
                        size_t len, size_t *out_got, struct ramet_err *err)
{
    const uint64_t last_block = (offset + len - 1) / BLOCK;
    uint8_t scratch[BLOCK];
    uint8_t *span = NULL;
    enum ramet_rc rc = RAMET_OK;
    size_t done = 0;

    assert(len > 0);
    id.index = offset / BLOCK;
    ramet_cache_note_read(cache, &id, last_block);
    while (done < len) {
        const uint64_t at = offset + done;
        const size_t in_block = (size_t)(at % BLOCK);
        const size_t want =
            len - done < BLOCK - in_block ? len - done : BLOCK - in_block;
        size_t got;

        assert(want > 0 && in_block + want <= BLOCK);
        id.index = at / BLOCK;
        if (get_block(cache, &id, in_block, buf + done, want, scratch, &got)) {
            done += got;
            if (got < want)
                break;
            continue;
        }
        span = ramet_alloc((size_t)(last_block - id.index + 1) * BLOCK);
        if (span == NULL) {
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "cache: out of memory");
            break;
        }
        rc = fetch_span(cache, key, id, last_block, at, buf + done, len - done,
                        span, &got, err);
        if (rc == RAMET_OK)
            done += got;
        break;
    }
    ramet_free(span);
    if (rc == RAMET_OK)
        *out_got = done;
    return rc;
}
