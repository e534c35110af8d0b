/*
 * dict_cache.c - see dict_cache.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/dict_cache.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/segment.h"

void
ramet_dict_cache_init(struct ramet_dict_cache *cache)
{
    memset(cache, 0, sizeof(*cache));
    ramet_mutex_init(&cache->mutex);
}

/* Under the mutex. */
static void
drop(struct ramet_cached_dict *dict)
{
    assert(dict == NULL || dict->refs > 0); /* invariant (2) */
    if (dict == NULL || --dict->refs > 0)
        return;
    ZSTD_freeDDict(dict->ddict);
    ramet_free(dict->bytes);
    ramet_free(dict);
}

void
ramet_dict_cache_release(struct ramet_dict_cache *cache,
                         struct ramet_cached_dict *dict)
{
    assert(dict != NULL);
    ramet_mutex_lock(&cache->mutex);
    drop(dict);
    ramet_mutex_unlock(&cache->mutex);
}

/* Invariant (1). */
static struct ramet_cached_dict *
find(struct ramet_dict_cache *cache, const struct ramet_extent *extent)
{
    struct ramet_cached_dict *found = NULL;

    ramet_mutex_lock(&cache->mutex);
    for (unsigned i = 0; i < RAMET_DICT_CACHE_MAX && found == NULL; i++)
        if (cache->dicts[i] != NULL &&
            ramet_extent_equal(&cache->dicts[i]->extent, extent))
            found = cache->dicts[i];
    if (found != NULL) {
        found->refs++;
        found->used = ++cache->clock;
    }
    ramet_mutex_unlock(&cache->mutex);
    assert(found == NULL || ramet_extent_equal(&found->extent, extent));
    return found;
}

/* Keep `dict` in place of the one not used for longest. */
static void
keep(struct ramet_dict_cache *cache, struct ramet_cached_dict *dict)
{
    unsigned oldest = 0;

    assert(dict->refs == 1 && dict->ddict != NULL);
    ramet_mutex_lock(&cache->mutex);
    for (unsigned i = 0; i < RAMET_DICT_CACHE_MAX; i++) {
        if (cache->dicts[i] == NULL) {
            oldest = i;
            break;
        }
        if (cache->dicts[i]->used < cache->dicts[oldest]->used)
            oldest = i;
    }
    drop(cache->dicts[oldest]);
    dict->refs++;
    assert(dict->refs == 2); /* the cache's, and the call's */
    dict->used = ++cache->clock;
    cache->dicts[oldest] = dict;
    ramet_mutex_unlock(&cache->mutex);
}

bool
ramet_dict_cache_has(struct ramet_dict_cache *cache,
                     const struct ramet_extent *extent)
{
    struct ramet_cached_dict *const dict = find(cache, extent);

    if (dict != NULL)
        ramet_dict_cache_release(cache, dict);
    return dict != NULL;
}

/* Keep what was unpacked, which is the cache's, or freed; NULL: no memory. */
static struct ramet_cached_dict *
keep_unpacked(struct ramet_dict_cache *cache, const struct ramet_extent *extent,
              uint8_t *bytes, size_t len)
{
    struct ramet_cached_dict *dict = ramet_calloc(1, sizeof(*dict));

    assert(len > 0);
    if (dict != NULL)
        dict->ddict = ZSTD_createDDict_advanced(
            bytes, len, ZSTD_dlm_byRef, ZSTD_dct_fullDict, ramet_codec_mem);
    if (dict == NULL || dict->ddict == NULL) {
        ramet_free(bytes);
        ramet_free(dict);
        return NULL;
    }
    dict->bytes = bytes;
    dict->len = len;
    dict->extent = *extent;
    dict->refs = 1;
    keep(cache, dict);
    return dict;
}

void
ramet_dict_cache_put(struct ramet_dict_cache *cache,
                     const struct ramet_extent *extent, const uint8_t *body)
{
    struct ramet_cached_dict *dict = NULL;
    uint8_t *bytes = NULL;
    size_t len = 0;

    assert(extent->length_bytes > 0);
    if (ramet_dict_unpack(extent, body, &bytes, &len, NULL) == RAMET_OK)
        dict = keep_unpacked(cache, extent, bytes, len);
    if (dict != NULL)
        ramet_dict_cache_release(cache, dict);
}

/* Two threads may load the same one at a time: both are right, one stays. */
enum ramet_rc
ramet_dict_cache_get(struct ramet_dict_cache *cache,
                     struct ramet_objstore *store,
                     const struct ramet_extent *extent,
                     struct ramet_cached_dict **out_dict, struct ramet_err *err)
{
    struct ramet_cached_dict *dict = find(cache, extent);
    uint8_t *bytes = NULL;
    size_t len = 0;
    enum ramet_rc rc;

    if (dict != NULL) {
        *out_dict = dict;
        return RAMET_OK;
    }
    rc = ramet_dict_load(store, extent, &bytes, &len, err);
    if (rc != RAMET_OK)
        return rc;
    dict = keep_unpacked(cache, extent, bytes, len);
    if (dict == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "dictionary: no memory");
    *out_dict = dict;
    return RAMET_OK;
}

void
ramet_dict_cache_done(struct ramet_dict_cache *cache)
{
    for (unsigned i = 0; i < RAMET_DICT_CACHE_MAX; i++) {
        /* No call has one any more: invariant (2). */
        assert(cache->dicts[i] == NULL || cache->dicts[i]->refs == 1);
        drop(cache->dicts[i]);
    }
    ramet_mutex_done(&cache->mutex);
}
