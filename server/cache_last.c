/*
 * cache_last.c - what a thread read last of a cache, so that what turns out wrong can
 * go, and nothing else.
 *
 *   (1) Whoever finds bytes wrong has read them on his own thread, and a moment ago:
 *       among the last LAST_MAX spans. A span is of one object, however long.
 *   (2) What is not found again is forgotten as soon as it is read, and found wrong,
 *       once more.
 */
#include <assert.h>

#include "core/hash.h"
#include "server/cache_impl.h"

#define LAST_MAX 128u /* more than are brought at a time: cache_parts.c */

/* Blocks of one object, one behind the other. */
struct span {
    struct block_id first;
    uint64_t last; /* index */
};

static _Thread_local struct {
    const struct ramet_cache *cache; /* of which all of them are */
    struct span spans[LAST_MAX];     /* a ring */
    unsigned next, count;
} last_read;

static bool
goes_on(const struct span *span, const struct block_id *id)
{
    return ramet_hash_equal(&span->first.object, &id->object) &&
           id->index >= span->first.index && id->index <= span->last + 1;
}

void
ramet_cache_note_read(const struct ramet_cache *cache,
                      const struct block_id *first, uint64_t last_index)
{
    struct span *newest;

    assert(last_index >= first->index);
    if (last_read.cache != cache) {
        last_read.cache = cache;
        last_read.next = last_read.count = 0;
    }
    newest = &last_read.spans[(last_read.next + LAST_MAX - 1) % LAST_MAX];
    if (last_read.count > 0 && goes_on(newest, first)) {
        if (last_index > newest->last)
            newest->last = last_index;
        return;
    }
    last_read.spans[last_read.next] = (struct span){*first, last_index};
    last_read.next = (last_read.next + 1) % LAST_MAX;
    if (last_read.count < LAST_MAX)
        last_read.count++;
}

uint64_t
ramet_cache_volume_hash(const struct ramet_vid *volume)
{
    char text[RAMET_ID_TEXT_SIZE];

    ramet_id_format(&volume->id, text);
    return ramet_hash64(text, 36);
}

void
ramet_cache_forget_last(struct ramet_cache *cache,
                        const struct ramet_vid *volume)
{
    const uint64_t hash = ramet_cache_volume_hash(volume);

    if (last_read.cache != cache)
        return;
    for (unsigned i = 0; i < last_read.count; i++) {
        const struct span *const span = &last_read.spans[i];

        for (struct block_id id = span->first;
             id.volume == hash && id.index <= span->last; id.index++) {
            ramet_memcache_drop(cache->mem, &id);
            if (cache->disk != NULL)
                ramet_diskcache_drop(cache->disk, &id);
        }
    }
    last_read.next = last_read.count = 0;
}
