/*
 * commit_decode_deltas.c - what a commit says of its deltas, from bytes that are
 * hostile until checked.
 *
 *   (1) Blocks of deltas fill their segment to its end, and hold as many pages
 *       as there are deltas.
 *   (2) No array is made before the bytes left could hold that many.
 */
#include "metastore/commit.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/commit_impl.h"

/* Bytes that an element takes at least. */
#define BLOCK_BYTES_MIN 18u
#define NAME_BYTES_MIN 2u

/* Where the blocks begin, and how many there are. */
static bool
decode_deltas_place(struct ramet_reader *in,
                    const struct ramet_commit_object *c,
                    struct ramet_commit_deltas *deltas)
{
    uint64_t end = ramet_commit_inline_end(c);
    uint64_t count;

    assert(deltas->pages.run_count > 0);
    if (!deltas->extent.is_inline) {
        const uint8_t *const id = ramet_read_bytes(in, RAMET_ID_SIZE);

        if (id != NULL)
            memcpy(&deltas->extent.id.id, id, RAMET_ID_SIZE);
        end = deltas->extent.size_bytes = ramet_read_varint_max(in, INT64_MAX);
    }
    deltas->extent.offset_bytes = ramet_read_varint_max(in, INT64_MAX);
    count = ramet_read_varint_max(in, UINT32_MAX);
    deltas->extent.block_count = (uint32_t)count;
    return !in->bad && count > 0 &&
           count <= ramet_pageset_count(&deltas->pages) &&
           deltas->extent.is_inline == ramet_id_is_nil(&deltas->extent.id.id) &&
           deltas->extent.offset_bytes >= RAMET_SEGMENT_HEADER_SIZE &&
           deltas->extent.offset_bytes < end;
}

/* Invariant (1). */
static enum ramet_rc
decode_blocks(struct ramet_reader *in, struct ramet_commit_object *c,
              struct ramet_commit_deltas *deltas, struct ramet_err *err)
{
    const uint64_t end = deltas->extent.is_inline ? ramet_commit_inline_end(c)
                                                  : deltas->extent.size_bytes;
    uint64_t at = deltas->extent.offset_bytes;
    uint64_t pages = 0;

    assert(deltas->extent.blocks == NULL && deltas->extent.offset_bytes < end);
    if (deltas->extent.block_count > ramet_reader_left(in) / BLOCK_BYTES_MIN)
        return ramet_commit_damaged(c->lsn, "count of blocks beyond its bytes",
                                    err);
    deltas->extent.blocks = ramet_calloc(deltas->extent.block_count,
                                         sizeof(deltas->extent.blocks[0]));
    if (deltas->extent.blocks == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "commit: %u blocks",
                          deltas->extent.block_count);
    for (uint32_t i = 0; i < deltas->extent.block_count; i++) {
        struct ramet_delta_block *const block = &deltas->extent.blocks[i];
        const uint64_t count =
            ramet_read_varint_max(in, RAMET_DELTA_BLOCK_PAGES_MAX - 1) + 1;
        const uint64_t length =
            ramet_read_varint_max(in, RAMET_DELTA_BLOCK_MAX - 1) + 1;
        const uint8_t *const hash = ramet_read_bytes(in, RAMET_HASH_SIZE);

        if (in->bad || length > end - at)
            return ramet_commit_damaged(c->lsn, "block of deltas out of place",
                                        err);
        block->page_count = (uint32_t)count;
        block->length_bytes = (uint32_t)length;
        memcpy(&block->hash, hash, RAMET_HASH_SIZE);
        at += length;
        pages += count;
    }
    if (at != end || pages != ramet_pageset_count(&deltas->pages))
        return ramet_commit_damaged(c->lsn, "blocks do not hold the deltas",
                                    err);
    ramet_commit_index_deltas(c);
    return RAMET_OK;
}

static enum ramet_rc
decode_names(struct ramet_reader *in, uint64_t lsn,
             struct ramet_commit_deltas *deltas, struct ramet_err *err)
{
    const uint64_t total = ramet_pageset_count(&deltas->pages);
    const uint64_t count =
        ramet_read_varint_max(in, ramet_reader_left(in) / NAME_BYTES_MIN);
    uint64_t next = 0;

    if (in->bad || count > total)
        return ramet_commit_damaged(lsn, "bad count of names", err);
    if (count == 0)
        return RAMET_OK;
    deltas->names = ramet_calloc((size_t)count, sizeof(deltas->names[0]));
    if (deltas->names == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "commit: %" PRIu64 " names",
                          count);
    deltas->name_count = (uint32_t)count;
    for (uint32_t i = 0; i < deltas->name_count; i++) {
        const uint64_t position = next + ramet_read_varint_max(in, UINT32_MAX);
        const uint64_t pgno = ramet_read_varint_max(in, UINT32_MAX);

        if (in->bad || position >= total || pgno == 0)
            return ramet_commit_damaged(lsn, "a delta's name is malformed",
                                        err);
        deltas->names[i] = (struct ramet_delta_name){
            .position = (uint32_t)position, .pgno = (uint32_t)pgno};
        assert(position >= next);
        next = position + 1;
    }
    return RAMET_OK;
}

enum ramet_rc
ramet_commit_decode_deltas(struct ramet_reader *in,
                           struct ramet_commit_object *c, struct ramet_err *err)
{
    struct ramet_commit_deltas *const deltas = &c->deltas;
    unsigned flags;
    enum ramet_rc rc;

    assert(deltas->extent.block_count == 0);
    if (deltas->pages.run_count == 0)
        return RAMET_OK;
    flags = ramet_read_u8(in);
    if (flags > DELTAS_INLINE)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "commit %" PRIu64 ": flags of deltas of a later "
                          "version",
                          c->lsn);
    deltas->extent.is_inline = flags == DELTAS_INLINE;
    if (!decode_deltas_place(in, c, deltas))
        return ramet_commit_damaged(c->lsn, "deltas out of place", err);
    if (ramet_commit_has_own_map(c))
        return RAMET_OK;
    rc = decode_blocks(in, c, deltas, err);
    return rc == RAMET_OK ? decode_names(in, c->lsn, deltas, err) : rc;
}
