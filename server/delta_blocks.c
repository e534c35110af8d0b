/*
 * delta_blocks.c - see delta_blocks.h.
 */
#include "server/delta_blocks.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"

#define BUCKETS 1024u

struct ramet_delta_blocks {
    struct ramet_mutex lock;
    size_t max_bytes;
    struct ramet_lru_table table;
    struct ramet_lru_link *buckets[BUCKETS];
};

struct ramet_delta_blocks *
ramet_delta_blocks_new(size_t max_bytes)
{
    struct ramet_delta_blocks *const blocks = ramet_calloc(1, sizeof(*blocks));

    if (blocks == NULL)
        return NULL;
    blocks->max_bytes = max_bytes;
    ramet_lru_table_init(&blocks->table, blocks->buckets, BUCKETS);
    ramet_mutex_init(&blocks->lock);
    return blocks;
}

static uint64_t
number_of(const struct ramet_hash *hash)
{
    uint64_t number;

    memcpy(&number, hash->bytes, sizeof(number));
    return number;
}

static void
release(struct ramet_decoded_block *block)
{
    assert(block->users > 0);
    if (--block->users == 0)
        ramet_free(block);
}

static struct ramet_decoded_block *
oldest(const struct ramet_delta_blocks *blocks)
{
    return (struct ramet_decoded_block *)blocks->table.oldest;
}

static void
drop(struct ramet_delta_blocks *blocks, struct ramet_decoded_block *block)
{
    ramet_lru_table_remove(&blocks->table, &block->link);
    release(block);
}

void
ramet_delta_blocks_free(struct ramet_delta_blocks *blocks)
{
    if (blocks == NULL)
        return;
    while (oldest(blocks) != NULL) {
        assert(oldest(blocks)->users == 1);
        drop(blocks, oldest(blocks));
    }
    ramet_mutex_done(&blocks->lock);
    ramet_free(blocks);
}

static bool
is_of(const struct ramet_decoded_block *block,
      const struct ramet_extent *extent, uint32_t page_size)
{
    return ramet_hash_equal(&block->hash, &extent->hash) &&
           ramet_id_compare(&block->volume.id, &extent->volume.id) == 0 &&
           block->page_size == page_size;
}

static struct ramet_decoded_block *
find(const struct ramet_delta_blocks *blocks, const struct ramet_extent *extent,
     uint32_t page_size)
{
    struct ramet_decoded_block *block =
        (struct ramet_decoded_block *)ramet_lru_table_first(
            &blocks->table, number_of(&extent->hash));

    while (block != NULL && !is_of(block, extent, page_size))
        block =
            (struct ramet_decoded_block *)ramet_lru_table_next(&block->link);
    return block;
}

struct ramet_decoded_block *
ramet_delta_blocks_get(struct ramet_delta_blocks *blocks,
                       const struct ramet_extent *extent, uint32_t page_size)
{
    struct ramet_decoded_block *block;

    ramet_mutex_lock(&blocks->lock);
    block = find(blocks, extent, page_size);
    if (block != NULL) {
        block->users++;
        ramet_lru_table_use(&blocks->table, &block->link);
    }
    ramet_mutex_unlock(&blocks->lock);
    return block;
}

void
ramet_delta_blocks_put(struct ramet_delta_blocks *blocks,
                       struct ramet_decoded_block *block)
{
    ramet_mutex_lock(&blocks->lock);
    release(block);
    ramet_mutex_unlock(&blocks->lock);
}

/* One block of memory: the block, its deltas, and the content that they point into. */
static enum ramet_rc
decode(const uint8_t *content, size_t len, uint32_t page_size,
       struct ramet_decoded_block **out_block, size_t *out_cost,
       struct ramet_err *err)
{
    struct ramet_delta_cursor cursor;
    struct ramet_decoded_block *block;
    enum ramet_rc rc =
        ramet_delta_cursor_open(&cursor, content, len, page_size, err);
    uint8_t *copy;

    if (rc != RAMET_OK)
        return rc;
    *out_cost = sizeof(*block) + len +
                cursor.front.page_count * sizeof(struct ramet_delta);
    block = ramet_alloc(*out_cost);
    if (block == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "block of deltas: no memory");
    *block = (struct ramet_decoded_block){
        .page_count = cursor.front.page_count,
        .front_bytes = cursor.front.length_bytes,
        .deltas = (struct ramet_delta *)(void *)(block + 1)};
    copy = (uint8_t *)(block->deltas + block->page_count);
    memcpy(copy, content, len);
    rc = ramet_delta_cursor_open(&cursor, copy, len, page_size, err);
    for (uint32_t i = 0; rc == RAMET_OK && i < block->page_count; i++)
        rc = ramet_delta_cursor_find(&cursor, i, &block->deltas[i], err);
    if (rc == RAMET_OK)
        *out_block = block;
    else
        ramet_free(block);
    return rc;
}

enum ramet_rc
ramet_delta_blocks_add(struct ramet_delta_blocks *blocks,
                       const struct ramet_extent *extent,
                       const uint8_t *content, size_t len, uint32_t page_size,
                       struct ramet_decoded_block **out_block,
                       struct ramet_err *err)
{
    struct ramet_decoded_block *block = NULL, *old;
    size_t cost = 0;
    const enum ramet_rc rc =
        decode(content, len, page_size, &block, &cost, err);

    if (rc != RAMET_OK)
        return rc;
    block->volume = extent->volume;
    block->page_size = page_size;
    block->hash = extent->hash;
    block->users = 1;
    ramet_mutex_lock(&blocks->lock);
    old = find(blocks, extent, page_size); /* somebody else's meanwhile */
    if (old != NULL)
        drop(blocks, old);
    if (cost <= blocks->max_bytes / 4) {
        block->users++;
        ramet_lru_table_add(&blocks->table, &block->link,
                            number_of(&extent->hash), cost);
    }
    while (blocks->table.bytes > blocks->max_bytes && oldest(blocks) != block)
        drop(blocks, oldest(blocks));
    ramet_mutex_unlock(&blocks->lock);
    *out_block = block;
    return RAMET_OK;
}
