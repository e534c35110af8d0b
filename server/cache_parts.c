/*
 * cache_parts.c - several ranged reads through the cache, of which those that it
 * lacks are under way at the same time.
 *
 * Blocks that are missing are brought first, neighbours as one range, and then
 * each part is read as any other: by then it is in memory. That they can't be
 * brought is told by whichever read goes without.
 */
#include "core/alloc.h"

#include "server/cache_impl.h"
#include <assert.h>

#define BLOCK RAMET_CACHE_BLOCK_BYTES
#define SPANS_MAX 64u
#define BYTES_MAX (1u << 20) /* brought at a time: a cache holds as much */

/* Missing blocks, one after the other. */
struct span {
    struct block_id id;
    uint64_t last; /* index */
};

struct bringing {
    struct ramet_cache *cache;
    struct ramet_part parts[SPANS_MAX];
    struct span spans[SPANS_MAX]; /* of these parts */
    size_t count;
    size_t bytes; /* of them all */
    size_t got;
};

/* False: it is for the next time. */
static bool
add_block(struct bringing *b, const char *key, const struct block_id *id)
{
    struct span *const last = b->count > 0 ? &b->spans[b->count - 1] : NULL;

    assert(b->count <= SPANS_MAX && b->bytes <= BYTES_MAX);
    for (size_t i = 0; i < b->count; i++)
        if (ramet_hash_equal(&b->spans[i].id.object, &id->object) &&
            id->index >= b->spans[i].id.index && id->index <= b->spans[i].last)
            return true;
    if (b->bytes + BLOCK > BYTES_MAX)
        return false;
    if (last != NULL && ramet_hash_equal(&last->id.object, &id->object) &&
        id->index == last->last + 1) {
        last->last++;
    } else if (b->count == SPANS_MAX) {
        return false;
    } else {
        b->spans[b->count] = (struct span){.id = *id, .last = id->index};
        b->parts[b->count++] = (struct ramet_part){
            .key = key, .offset = id->index * BLOCK, .to_end = true};
    }
    b->bytes += BLOCK;
    return true;
}

/* What is missing of a part, unless there is no room for all of it. */
static bool
add_part(struct bringing *b, const struct ramet_part *part)
{
    struct block_id id;
    uint64_t last;

    if (part->len == 0 || part->len > BYTES_MAX ||
        part->offset > UINT64_MAX - BYTES_MAX ||
        !ramet_cache_block_of(b->cache, part->key, &id))
        return true; /* it is not kept in blocks */
    last = (part->offset + part->len - 1) / BLOCK;
    for (id.index = part->offset / BLOCK; id.index <= last; id.index++)
        if (!ramet_cache_holds(b->cache, &id) && !add_block(b, part->key, &id))
            return false;
    return true;
}

static enum ramet_rc
keep(void *ctx, const struct ramet_part *part, size_t got,
     struct ramet_err *err)
{
    struct bringing *const b = ctx;

    assert(part >= b->parts && part < b->parts + b->count);
    (void)err;
    b->got += got;
    ramet_cache_keep(b->cache, b->spans[part - b->parts].id, part->buf, got);
    return RAMET_OK;
}

static void
bring(struct bringing *b)
{
    uint8_t *const bytes = ramet_alloc(b->bytes);
    size_t used = 0;
    enum ramet_rc rc;

    assert(b->count > 0 && b->count <= SPANS_MAX);
    if (bytes == NULL)
        return;
    for (size_t i = 0; i < b->count; i++) {
        b->parts[i].buf = bytes + used;
        b->parts[i].len =
            (size_t)(b->spans[i].last - b->spans[i].id.index + 1) * BLOCK;
        used += b->parts[i].len;
    }
    assert(used == b->bytes);
    b->got = 0;
    rc = ramet_objstore_read_parts(b->cache->inner, b->parts, b->count, keep, b,
                                   NULL);
    ramet_cache_count_reads(b->cache, b->count, b->got, rc);
    ramet_free(bytes);
}

/* Into `b` from parts[done] on, as many as there is room for, and brought; where
 * the next ones begin. */
static size_t
bring_some(struct bringing *b, const struct ramet_part *parts, size_t done,
           size_t count)
{
    size_t end = done;

    assert(done < count);
    b->count = b->bytes = 0;
    while (end < count && add_part(b, &parts[end]))
        end++;
    if (b->count > 1) /* one is read as well by whoever asks for it */
        bring(b);
    return end > done ? end : done + 1;
}

void
ramet_cache_bring(struct ramet_cache *cache, const struct ramet_part *parts,
                  size_t count)
{
    struct bringing *const b =
        (cache->store.traits & RAMET_STORE_READS_PARTS) != 0
            ? ramet_alloc(sizeof(*b))
            : NULL;

    if (b == NULL)
        return;
    b->cache = cache;
    for (size_t done = 0; done < count;)
        done = bring_some(b, parts, done, count);
    ramet_free(b);
}

enum ramet_rc
ramet_cache_read_parts(struct ramet_objstore *store,
                       const struct ramet_part *parts, size_t count,
                       ramet_part_visit *visit, void *ctx,
                       struct ramet_err *err)
{
    struct bringing *const b = ramet_alloc(sizeof(*b));
    enum ramet_rc rc = RAMET_OK;

    if (b != NULL)
        b->cache = (struct ramet_cache *)store;
    for (size_t done = 0; rc == RAMET_OK && done < count;) {
        const size_t end =
            b != NULL ? bring_some(b, parts, done, count) : done + 1;

        for (; rc == RAMET_OK && done < end; done++) {
            size_t got = 0;

            rc = ramet_objstore_read_part(store, &parts[done], &got, err);
            if (rc == RAMET_OK)
                rc = visit(ctx, &parts[done], got, err);
        }
    }
    ramet_free(b);
    return rc;
}
