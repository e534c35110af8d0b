/*
 * cache.c - the caching store; see cache.h for the contract.
 */
#include "server/cache.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "core/alloc.h"
#include "server/cache_impl.h"

#define BLOCK RAMET_CACHE_BLOCK_BYTES
/* One read of the store brings at most this much beyond what was asked. */
#define SPAN_MAX (4u << 20)
#define REFRESH_BYTES 4096u /* tell two commits of one LSN apart */
#define DOUBT_BYTES_MAX (1u << 20)

static enum ramet_rc
cache_read(struct ramet_objstore *store, const char *key, uint64_t offset,
           void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct ramet_cache *cache = (struct ramet_cache *)store;
    struct block_id id;

    if (len == 0 || len > SPAN_MAX || offset > UINT64_MAX - SPAN_MAX ||
        !ramet_cache_block_of(cache, key, &id))
        return ramet_cache_read_inner(cache, key, offset, buf, len, out_got,
                                      err);
    return ramet_cache_read_blocks(cache, key, id, offset, buf, len, out_got,
                                   err);
}

static enum ramet_rc
cache_put(struct ramet_objstore *store, const char *key,
          const struct iovec *parts, int part_count, struct ramet_err *err)
{
    struct ramet_cache *cache = (struct ramet_cache *)store;

    for (int i = 0; i < part_count; i++)
        atomic_fetch_add_explicit(&cache->write_bytes, parts[i].iov_len,
                                  memory_order_relaxed);
    return ramet_cache_count(
        cache, &cache->writes,
        ramet_objstore_put(cache->inner, key, parts, part_count, err));
}

struct cache_upload {
    struct ramet_upload upload;
    struct ramet_upload *inner;
};

static enum ramet_rc
cache_upload_begin(struct ramet_objstore *store, const char *key,
                   struct ramet_upload **out_upload, struct ramet_err *err)
{
    struct ramet_cache *cache = (struct ramet_cache *)store;
    struct cache_upload *up = ramet_calloc(1, sizeof(*up));
    enum ramet_rc rc;

    if (up == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "cache: out of memory");
    up->upload.store = store;
    rc = ramet_cache_count(
        cache, &cache->writes,
        ramet_objstore_upload_begin(cache->inner, key, &up->inner, err));
    if (rc == RAMET_OK)
        *out_upload = &up->upload;
    else
        ramet_free(up);
    return rc;
}

static enum ramet_rc
cache_upload_write(struct ramet_upload *upload, const void *data, size_t len,
                   struct ramet_err *err)
{
    struct cache_upload *up = (struct cache_upload *)upload;
    struct ramet_cache *cache = (struct ramet_cache *)upload->store;

    assert(up->inner != NULL);
    atomic_fetch_add_explicit(&cache->write_bytes, len, memory_order_relaxed);
    return ramet_objstore_upload_write(up->inner, data, len, err);
}

static enum ramet_rc
cache_upload_finish(struct ramet_upload *upload, struct ramet_err *err)
{
    struct cache_upload *up = (struct cache_upload *)upload;
    struct ramet_cache *cache = (struct ramet_cache *)upload->store;
    const enum ramet_rc rc = ramet_cache_count(
        cache, &cache->writes, ramet_objstore_upload_finish(up->inner, err));

    assert(up->inner != NULL);
    ramet_free(up);
    return rc;
}

static void
cache_upload_abort(struct ramet_upload *upload)
{
    struct cache_upload *up = (struct cache_upload *)upload;

    assert(up->inner != NULL);
    ramet_objstore_upload_abort(up->inner);
    ramet_free(up);
}

static enum ramet_rc
cache_size(struct ramet_objstore *store, const char *key,
           uint64_t *out_size_bytes, struct ramet_err *err)
{
    struct ramet_cache *cache = (struct ramet_cache *)store;

    return ramet_cache_count(
        cache, &cache->reads,
        ramet_objstore_size(cache->inner, key, out_size_bytes, err));
}

static enum ramet_rc
cache_list(struct ramet_objstore *store, const char *prefix, const char *after,
           ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    struct ramet_cache *cache = (struct ramet_cache *)store;

    return ramet_cache_count(
        cache, &cache->lists,
        ramet_objstore_list(cache->inner, prefix, after, visit, ctx, err));
}

static enum ramet_rc
cache_remove(struct ramet_objstore *store, const char *key,
             struct ramet_err *err)
{
    struct ramet_cache *cache = (struct ramet_cache *)store;

    return ramet_cache_count(cache, &cache->writes,
                             ramet_objstore_remove(cache->inner, key, err));
}

static enum ramet_rc
cache_remove_many(struct ramet_objstore *store, const char *const *keys,
                  size_t key_count, struct ramet_err *err)
{
    struct ramet_cache *cache = (struct ramet_cache *)store;

    return ramet_cache_count(
        cache, &cache->writes,
        ramet_objstore_remove_many(cache->inner, keys, key_count, err));
}

static bool
holds_any(struct ramet_cache *cache, struct block_id id, uint64_t offset,
          size_t len)
{
    for (id.index = offset / BLOCK; id.index * BLOCK < offset + len; id.index++)
        if (ramet_cache_holds(cache, &id))
            return true;
    return false;
}

/* Of what is kept, which names something: is it what the store has? */
static bool
is_of_store(struct ramet_cache *cache, const char *key, uint64_t offset,
            size_t len)
{
    uint8_t *const kept = ramet_alloc(2 * len);
    size_t kept_len = 0, now_len = 0;
    bool is_same = true;

    assert(len > 0 && len <= DOUBT_BYTES_MAX);
    if (kept != NULL && cache_read(&cache->store, key, offset, kept, len,
                                   &kept_len, NULL) == RAMET_OK) {
        uint8_t *const now = kept + len;
        const enum ramet_rc rc = ramet_cache_read_inner(cache, key, offset, now,
                                                        len, &now_len, NULL);

        is_same = rc != RAMET_ENOTFOUND &&
                  (rc != RAMET_OK ||
                   (kept_len == now_len && memcmp(kept, now, now_len) == 0));
    }
    ramet_free(kept);
    return is_same;
}

/* The store's own bytes decide, so that who names what was never there empties no
 * cache. Others, or none, are of another history, or were read wrong: all of the
 * volume goes. */
static void
compare(struct ramet_cache *cache, const char *key, uint64_t offset, size_t len)
{
    struct block_id id;

    if (!ramet_cache_block_of(cache, key, &id) ||
        !holds_any(cache, id, offset, len) ||
        is_of_store(cache, key, offset, len))
        return;
    ramet_memcache_forget(cache->mem, id.volume);
    if (cache->disk != NULL)
        ramet_diskcache_forget(cache->disk, id.volume);
}

static void
cache_refresh(struct ramet_objstore *store, const char *key)
{
    struct ramet_cache *cache = (struct ramet_cache *)store;

    ramet_objstore_refresh(cache->inner, key);
    compare(cache, key, 0, REFRESH_BYTES);
}

void
ramet_cache_doubt(struct ramet_cache *cache, const char *key, uint64_t offset,
                  uint64_t len)
{
    if (len > 0 && offset < UINT64_MAX - DOUBT_BYTES_MAX)
        compare(cache, key, offset,
                len < DOUBT_BYTES_MAX ? (size_t)len : DOUBT_BYTES_MAX);
}

static void
cache_doubt(struct ramet_objstore *store, const char *key, uint64_t offset,
            uint64_t len)
{
    struct ramet_cache *cache = (struct ramet_cache *)store;

    ramet_objstore_refresh(cache->inner, key);
    ramet_cache_doubt(cache, key, offset, len);
}

static void
cache_close(struct ramet_objstore *store)
{
    (void)store; /* ramet_cache_close() */
}

static const struct ramet_objstore_ops cache_ops = {
    .put = cache_put,
    .upload_begin = cache_upload_begin,
    .upload_write = cache_upload_write,
    .upload_finish = cache_upload_finish,
    .upload_abort = cache_upload_abort,
    .read = cache_read,
    .read_parts = ramet_cache_read_parts,
    .size = cache_size,
    .list = cache_list,
    .remove = cache_remove,
    .remove_many = cache_remove_many,
    .refresh = cache_refresh,
    .doubt = cache_doubt,
    .close = cache_close,
};

/* No other process has the same. */
static uint64_t
new_life(void)
{
    const struct ramet_os *const os = ramet_os_system();
    uint64_t life;

    if (os->random(os->ctx, &life, sizeof(life)) < 0)
        life = os->wall_ms(os->ctx) ^ os->mono_ns(os->ctx);
    return life;
}

enum ramet_rc
ramet_cache_open(struct ramet_objstore *store,
                 const struct ramet_cache_options *options,
                 struct ramet_cache **out_cache, struct ramet_err *err)
{
    struct ramet_cache *cache = ramet_calloc(1, sizeof(*cache));
    enum ramet_rc rc = RAMET_OK;

    if (cache == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "cache: out of memory");
    cache->store =
        (struct ramet_objstore){.ops = &cache_ops,
                                .traits = store->traits | RAMET_STORE_IS_KEPT,
                                .name = store->name};
    cache->inner = store;
    cache->life = new_life();
    cache->mem = ramet_memcache_new(options->memory_bytes);
    if (cache->mem == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "cache: out of memory");
    if (rc == RAMET_OK && options->disk_dir != NULL)
        rc = ramet_diskcache_open(options->disk_dir, options->disk_bytes,
                                  &cache->disk, err);
    if (rc == RAMET_OK)
        *out_cache = cache;
    else
        ramet_cache_close(cache);
    return rc;
}

void
ramet_cache_close(struct ramet_cache *cache)
{
    if (cache == NULL)
        return;
    ramet_memcache_free(cache->mem);
    ramet_diskcache_close(cache->disk);
    ramet_free(cache);
}

struct ramet_objstore *
ramet_cache_store(struct ramet_cache *cache)
{
    assert(cache->inner != NULL);
    return &cache->store;
}

bool
ramet_cache_try(struct ramet_cache *cache, const char *key, uint64_t offset,
                void *buf, size_t len)
{
    struct block_id id;
    size_t done = 0;

    if (len == 0 || offset > UINT64_MAX - len ||
        !ramet_cache_block_of(cache, key, &id))
        return false;
    while (done < len) {
        const size_t in_block = (size_t)((offset + done) % BLOCK);
        const size_t want =
            len - done < BLOCK - in_block ? len - done : BLOCK - in_block;
        size_t got;

        assert(want > 0 && in_block + want <= BLOCK);
        id.index = (offset + done) / BLOCK;
        if (!ramet_memcache_get(cache->mem, &id, in_block,
                                (uint8_t *)buf + done, want, &got) ||
            got < want)
            return false;
        atomic_fetch_add_explicit(&cache->memory_hits, 1, memory_order_relaxed);
        done += got;
    }
    return true;
}

void
ramet_cache_forget(struct ramet_cache *cache, const struct ramet_vid *volume)
{
    const uint64_t hash = ramet_cache_volume_hash(volume);

    ramet_memcache_forget(cache->mem, hash);
    if (cache->disk != NULL)
        ramet_diskcache_forget(cache->disk, hash);
}

void
ramet_cache_get_stats(struct ramet_cache *cache,
                      struct ramet_cache_stats *out_stats)
{
    *out_stats = (struct ramet_cache_stats){
        .memory_hits = atomic_load(&cache->memory_hits),
        .disk_hits = atomic_load(&cache->disk_hits),
        .misses = atomic_load(&cache->misses),
        .memory_bytes = ramet_memcache_bytes(cache->mem),
        .store_reads = atomic_load(&cache->reads),
        .store_writes = atomic_load(&cache->writes),
        .store_lists = atomic_load(&cache->lists),
        .store_errors = atomic_load(&cache->errors),
        .store_read_bytes = atomic_load(&cache->read_bytes),
        .store_write_bytes = atomic_load(&cache->write_bytes),
    };
    if (cache->disk != NULL) {
        out_stats->disk_bytes = ramet_diskcache_bytes(cache->disk);
        out_stats->disk_refused = ramet_diskcache_refused(cache->disk);
    }
}
