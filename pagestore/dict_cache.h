/*
 * dict_cache.h - the dictionaries that a reader used last, ready for decompressing.
 *
 *   (1) A dictionary is found by all of its extent, hash included, so that another
 *       object's bytes never stand in for it.
 *   (2) dicts[] and what it holds are touched under `mutex` only; a dictionary lives
 *       as long as the cache or a call refers to it (refs).
 *
 * Layer: pagestore, internal.
 */
#ifndef RAMET_PAGESTORE_DICT_CACHE_H
#define RAMET_PAGESTORE_DICT_CACHE_H

#include "core/thread.h"
#include "pagestore/codec.h"
#include "pagestore/extent.h"

#define RAMET_DICT_CACHE_MAX 8u

struct ramet_cached_dict {
    struct ramet_extent extent;
    uint8_t *bytes; /* of which the next one is made */
    size_t len;
    ZSTD_DDict *ddict; /* refers to them */
    unsigned refs;
    uint64_t used; /* cache->clock of the last use */
};

struct ramet_dict_cache {
    struct ramet_mutex mutex;
    struct ramet_cached_dict *dicts[RAMET_DICT_CACHE_MAX];
    uint64_t clock;
};

void ramet_dict_cache_init(struct ramet_dict_cache *cache);
void ramet_dict_cache_done(struct ramet_dict_cache *cache);
/* The dictionary at `extent`, from `store` if it is not here: one ranged read, and
 * errors as ramet_dict_load(). *out_dict is to be released. */
RAMET_NODISCARD enum ramet_rc
ramet_dict_cache_get(struct ramet_dict_cache *cache,
                     struct ramet_objstore *store,
                     const struct ramet_extent *extent,
                     struct ramet_cached_dict **out_dict,
                     struct ramet_err *err);
bool ramet_dict_cache_has(struct ramet_dict_cache *cache,
                          const struct ramet_extent *extent);
/* Its body is here already, extent->length_bytes of it. What is none, or another, is
 * not kept. */
void
ramet_dict_cache_put(struct ramet_dict_cache *cache,
                     const struct ramet_extent *extent, const uint8_t *body);
void ramet_dict_cache_release(struct ramet_dict_cache *cache,
                              struct ramet_cached_dict *dict);

#endif
