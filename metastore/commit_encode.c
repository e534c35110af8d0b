/*
 * commit_encode.c - commits as bytes. Byte layout: docs/format.md, "Commits".
 *
 *   (1) A commit of its own map writes no tables.
 */
#include "metastore/commit.h"

#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/commit_impl.h"

static_assert(RAMET_COMMIT_CORE_SIZE == COMMIT_AT_HASH + RAMET_HASH_SIZE,
              "the core ends with its hash");

static void
encode_chunks(const struct ramet_segment_info *seg, struct ramet_buf *out)
{
    uint32_t next_pgno = seg->first_pgno;
    uint64_t end = 0;

    assert(seg->chunk_count > 0 && seg->chunks != NULL);
    ramet_buf_varint(out, seg->chunk_count);
    for (uint32_t i = 0; i < seg->chunk_count; i++) {
        const struct ramet_table_chunk *const chunk = &seg->chunks[i];

        assert(chunk->first_pgno >= next_pgno && chunk->offset_bytes >= end);
        ramet_buf_varint(out, chunk->first_pgno - next_pgno);
        ramet_buf_varint(out, chunk->last_pgno - chunk->first_pgno);
        ramet_buf_varint(out, chunk->offset_bytes - end);
        ramet_buf_varint(out, chunk->length_bytes);
        ramet_buf_bytes(out, &chunk->hash, RAMET_HASH_SIZE);
        next_pgno = chunk->last_pgno + 1;
        end = chunk->offset_bytes + chunk->length_bytes;
    }
}

static uint8_t
segment_flags(const struct ramet_commit_object *c, uint32_t index)
{
    const struct ramet_segment_info *const seg = &c->segments[index];
    unsigned flags = 0;

    assert(index < c->segment_count);
    if (ramet_commit_is_inline(c, index))
        flags |= SEGMENT_INLINE;
    if (seg->has_dict)
        flags |= SEGMENT_DICT;
    if (!ramet_commit_has_own_map(c)) /* invariant (1) */
        flags |= seg->chunk_count > 0 ? SEGMENT_CHUNKS : SEGMENT_TABLE;
    return (uint8_t)flags;
}

static enum ramet_rc
encode_segment(const struct ramet_commit_object *c, uint32_t index,
               uint32_t last_pgno, struct ramet_buf *out, struct ramet_err *err)
{
    const struct ramet_segment_info *const seg = &c->segments[index];
    const uint8_t flags = segment_flags(c, index);

    assert(index < c->segment_count);
    if (seg->first_pgno <= last_pgno || seg->last_pgno < seg->first_pgno ||
        seg->last_pgno > c->page_count || seg->frame_count == 0)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "commit %" PRIu64 ": segment %u out of order", c->lsn,
                          index);
    ramet_buf_u8(out, flags);
    if (!(flags & SEGMENT_INLINE)) {
        ramet_buf_bytes(out, &seg->id, RAMET_ID_SIZE);
        ramet_buf_varint(out, seg->size_bytes);
    }
    ramet_buf_varint(out, seg->frame_count);
    ramet_buf_varint(out, seg->first_pgno - last_pgno - 1);
    ramet_buf_varint(out, seg->last_pgno - seg->first_pgno);
    if (flags & SEGMENT_DICT)
        ramet_commit_encode_dict(&seg->dict, out);
    if (flags & SEGMENT_CHUNKS)
        encode_chunks(seg, out);
    if (flags & SEGMENT_TABLE) {
        const enum ramet_rc rc =
            ramet_frame_table_encode(seg->frames, seg->frame_count, out);

        if (rc != RAMET_OK && out->failed == RAMET_OK)
            return RAMET_FAIL(err, rc,
                              "commit %" PRIu64 ": table of segment %u", c->lsn,
                              index);
    }
    return RAMET_OK;
}

static void
encode_blocks(const struct ramet_commit_deltas *deltas, struct ramet_buf *out)
{
    uint32_t next = 0;

    assert(deltas->extent.block_count > 0 && deltas->extent.blocks != NULL);
    for (uint32_t i = 0; i < deltas->extent.block_count; i++) {
        const struct ramet_delta_block *const block = &deltas->extent.blocks[i];

        ramet_buf_varint(out, block->page_count - 1);
        ramet_buf_varint(out, block->length_bytes - 1);
        ramet_buf_bytes(out, &block->hash, RAMET_HASH_SIZE);
    }
    ramet_buf_varint(out, deltas->name_count);
    for (uint32_t i = 0; i < deltas->name_count; i++) {
        assert(deltas->names[i].position >= next);
        ramet_buf_varint(out, deltas->names[i].position - next);
        ramet_buf_varint(out, deltas->names[i].pgno);
        next = deltas->names[i].position + 1;
    }
}

static void
encode_deltas(const struct ramet_commit_object *c, struct ramet_buf *out)
{
    const struct ramet_commit_deltas *const deltas = &c->deltas;

    assert(deltas->pages.run_count == 0 || deltas->extent.block_count > 0);
    if (deltas->pages.run_count == 0)
        return;
    ramet_buf_u8(out, deltas->extent.is_inline ? DELTAS_INLINE : 0);
    if (!deltas->extent.is_inline) {
        ramet_buf_bytes(out, &deltas->extent.id, RAMET_ID_SIZE);
        ramet_buf_varint(out, deltas->extent.size_bytes);
    }
    ramet_buf_varint(out, deltas->extent.offset_bytes);
    ramet_buf_varint(out, deltas->extent.block_count);
    if (!ramet_commit_has_own_map(c)) /* invariant (1) */
        encode_blocks(deltas, out);
}

static enum ramet_rc
encode_body(const struct ramet_commit_object *c, struct ramet_buf *out,
            struct ramet_err *err)
{
    uint32_t last_pgno = 0;
    enum ramet_rc rc;

    ramet_commit_encode_first_page(c, out);
    rc = ramet_pageset_encode(&c->changed, out);
    if (rc == RAMET_OK)
        rc = ramet_pageset_encode(&c->deltas.pages, out);
    if (rc != RAMET_OK && out->failed == RAMET_OK)
        return RAMET_FAIL(err, rc, "commit %" PRIu64 ": page set", c->lsn);
    ramet_buf_varint(out, c->segment_count);
    for (uint32_t i = 0; i < c->segment_count; i++) {
        rc = encode_segment(c, i, last_pgno, out, err);
        if (rc != RAMET_OK)
            return rc;
        last_pgno = c->segments[i].last_pgno;
    }
    encode_deltas(c, out);
    assert(last_pgno <= c->page_count);
    return RAMET_OK;
}

static uint8_t
log2_of(uint32_t power_of_two)
{
    uint8_t log = 0;

    assert(ramet_page_size_valid(power_of_two));
    while (power_of_two >> log != 1)
        log++;
    return log;
}

static void
encode_core(const struct ramet_commit_object *c, size_t head_length,
            const struct ramet_hash *body_hash,
            uint8_t core[RAMET_COMMIT_CORE_SIZE])
{
    struct ramet_hash hash;

    assert(head_length >= RAMET_COMMIT_CORE_SIZE &&
           head_length <= RAMET_COMMIT_HEAD_MAX);
    assert(ramet_commit_flaw(c) == NULL); /* as of all: commit.c */
    memset(core, 0, RAMET_COMMIT_CORE_SIZE);
    memcpy(core, RAMET_COMMIT_MAGIC, 8);
    ramet_put_le32(core + COMMIT_AT_HEAD_LENGTH, (uint32_t)head_length);
    ramet_put_le32(core + COMMIT_AT_INLINE_LENGTH, c->inline_length_bytes);
    ramet_put_le64(core + COMMIT_AT_LSN, c->lsn);
    ramet_put_le16(
        core + COMMIT_AT_FLAGS,
        (uint16_t)(c->role |
                   (c->says_first_page ? COMMIT_SAYS_FIRST_PAGE : 0)));
    core[COMMIT_AT_PAGE_SIZE] = log2_of(c->page_size);
    core[COMMIT_AT_KIND] = (uint8_t)c->kind;
    core[COMMIT_AT_ALGO] = RAMET_HASH_XXH3_128;
    core[COMMIT_AT_DISTANCE] = (uint8_t)c->commits_since_map;
    ramet_put_le16(core + COMMIT_AT_HEAD_BYTES,
                   (uint16_t)c->head_bytes_since_map);
    memcpy(core + COMMIT_AT_VOLUME, &c->volume.id, RAMET_ID_SIZE);
    memcpy(core + COMMIT_AT_ID, &c->id.id, RAMET_ID_SIZE);
    memcpy(core + COMMIT_AT_WRITER, &c->writer.id, RAMET_ID_SIZE);
    memcpy(core + COMMIT_AT_PREDECESSOR, &c->predecessor, RAMET_HASH_SIZE);
    ramet_put_le64(core + COMMIT_AT_TIME, c->time_ms);
    ramet_put_le32(core + COMMIT_AT_PAGE_COUNT, c->page_count);
    ramet_put_le32(core + COMMIT_AT_LEAST, c->least_page_count);
    ramet_put_le64(core + COMMIT_AT_BYTE_LENGTH, c->byte_length);
    memcpy(core + COMMIT_AT_MAP_ID, &c->map.id.id, RAMET_ID_SIZE);
    ramet_put_le64(core + COMMIT_AT_ROOT_OFFSET, c->map.root_offset_bytes);
    ramet_put_le32(core + COMMIT_AT_ROOT_LENGTH, c->map.root_length_bytes);
    memcpy(core + COMMIT_AT_ROOT_HASH, &c->map.root_hash, RAMET_HASH_SIZE);
    ramet_put_le64(core + COMMIT_AT_FLOOR, c->floor);
    memcpy(core + COMMIT_AT_CUTOFF, &c->cutoff, RAMET_ID_SIZE);
    ramet_put_le64(core + COMMIT_AT_CONTENT_LSN, c->content.lsn);
    memcpy(core + COMMIT_AT_CONTENT_HASH, &c->content.hash, RAMET_HASH_SIZE);
    memcpy(core + COMMIT_AT_BODY_HASH, body_hash, RAMET_HASH_SIZE);
    hash = ramet_hash128(core, COMMIT_AT_HASH);
    memcpy(core + COMMIT_AT_HASH, &hash, RAMET_HASH_SIZE);
}

static enum ramet_rc
check_own(const struct ramet_commit_object *c, struct ramet_err *err)
{
    const char *const flaw = ramet_commit_flaw(c);

    assert(c->segment_count == 0 || c->segments != NULL);
    if (flaw != NULL)
        return RAMET_FAIL(err, RAMET_EINVAL, "commit %" PRIu64 ": %s", c->lsn,
                          flaw);
    if (c->segment_count > RAMET_COMMIT_SEGMENTS_MAX)
        return RAMET_FAIL(err, RAMET_ETOOBIG, "commit %" PRIu64 ": %u segments",
                          c->lsn, c->segment_count);
    if (c->has_inline != (c->inline_length_bytes > 0) ||
        c->inline_length_bytes > RAMET_SEGMENT_INLINE_MAX ||
        c->has_inline !=
            (ramet_commit_is_inline(c, 0) || c->deltas.extent.is_inline))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "commit %" PRIu64 ": inline segment of %u bytes",
                          c->lsn, c->inline_length_bytes);
    if (c->changed.run_count > 0 &&
        (c->segment_count == 0 ||
         c->changed.runs[c->changed.run_count - 1].last > c->page_count))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "commit %" PRIu64
                          ": changed pages without a frame, or past the end",
                          c->lsn);
    if ((c->deltas.pages.run_count == 0) !=
            (c->deltas.extent.block_count == 0) ||
        ramet_pageset_intersects(&c->changed, &c->deltas.pages) ||
        !ramet_commit_new_deltas_are_named(c))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "commit %" PRIu64
                          ": deltas without blocks, of pages with an image, or "
                          "of pages that were cut off",
                          c->lsn);
    return RAMET_OK;
}

enum ramet_rc
ramet_commit_head_size(const struct ramet_commit_object *commit, size_t max,
                       uint32_t *out_head_length, struct ramet_err *err)
{
    struct ramet_buf body;
    enum ramet_rc rc;

    assert(max > RAMET_COMMIT_CORE_SIZE && max <= RAMET_COMMIT_HEAD_MAX);
    ramet_buf_init(&body, max - RAMET_COMMIT_CORE_SIZE);
    rc = encode_body(commit, &body, err);
    if (rc == RAMET_OK && body.failed != RAMET_OK)
        rc = RAMET_FAIL(err, body.failed,
                        "commit %" PRIu64 ": head of more than %zu bytes",
                        commit->lsn, max);
    if (rc == RAMET_OK)
        *out_head_length = (uint32_t)(RAMET_COMMIT_CORE_SIZE + body.len);
    ramet_buf_done(&body);
    return rc;
}

enum ramet_rc
ramet_commit_encode(const struct ramet_commit_object *commit,
                    const uint8_t *inline_bytes, struct ramet_buf *out,
                    struct ramet_err *err)
{
    const size_t start = out->len;
    struct ramet_hash body_hash;
    uint8_t *core;
    size_t head_length;
    enum ramet_rc rc;

    assert((inline_bytes != NULL) == commit->has_inline);
    rc = check_own(commit, err);
    if (rc != RAMET_OK)
        return rc;
    (void)ramet_buf_extend(out, RAMET_COMMIT_CORE_SIZE);
    rc = encode_body(commit, out, err);
    if (rc != RAMET_OK)
        return rc;
    head_length = out->len - start;
    if (out->failed == RAMET_OK &&
        (head_length > RAMET_COMMIT_HEAD_MAX ||
         (!ramet_commit_has_own_map(commit) &&
          commit->head_bytes_since_map + head_length > COMMIT_HEAD_BYTES_MAX)))
        out->failed = RAMET_ETOOBIG;
    if (commit->has_inline)
        ramet_buf_bytes(out, inline_bytes, commit->inline_length_bytes);
    if (out->failed != RAMET_OK)
        return RAMET_FAIL(err, out->failed, "commit %" PRIu64 ": encoding",
                          commit->lsn);
    assert(head_length >= RAMET_COMMIT_CORE_SIZE);
    core = out->data + start;
    body_hash = ramet_hash128(core + RAMET_COMMIT_CORE_SIZE,
                              head_length - RAMET_COMMIT_CORE_SIZE);
    encode_core(commit, head_length, &body_hash, core);
    return RAMET_OK;
}
