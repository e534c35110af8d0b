/*
 * verify_objects.c - the objects that one commit names, byte by byte; see verify.h.
 *
 * A segment is gone through from its first byte to its last: header, frames, in the order
 * in which they lie, and table chunks, or blocks of deltas, without a gap. Where a commit has its own map,
 * its frames are found through it.
 *
 *   (1) Damage is reported and counted, and the walk goes on; only what hinders it
 *       (no memory, a store out of reach) ends it.
 *   (2) No byte before a sweep's `at` was left unread.
 *   (3) Memory: 32 bytes a frame of one segment.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "metastore/maproot.h"
#include "metastore/node_cache.h"
#include "metastore/verify.h"

#define SEGMENT_MAGIC "RAMTSEG\x02"
#define WINDOW_BYTES (256u << 10)

enum ramet_rc
ramet_verify_begin(struct ramet_verify *v, struct ramet_history *line,
                   struct ramet_history *history, ramet_verify_report *report,
                   void *ctx, struct ramet_err *err)
{
    assert(line != NULL && history != NULL && report != NULL);
    *v = (struct ramet_verify){
        .line = line, .history = history, .report = report, .ctx = ctx};
    ramet_table_cursor_init(&v->cursor, history, UINT32_MAX);
    v->hasher = ramet_hasher_new();
    v->window.bytes = ramet_alloc(WINDOW_BYTES);
    if (v->hasher == NULL || v->window.bytes == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "verify");
    return RAMET_OK;
}

void
ramet_verify_done(struct ramet_verify *v)
{
    ramet_free(v->window.bytes);
    ramet_hasher_free(v->hasher);
    ramet_table_cursor_done(&v->cursor);
}

enum ramet_rc
ramet_verify_note(struct ramet_verify *v, enum ramet_rc rc,
                  const struct ramet_err *found, struct ramet_err *err)
{
    if (rc == RAMET_OK)
        return RAMET_OK;
    if (rc != RAMET_ECORRUPT && rc != RAMET_ENOTFOUND && rc != RAMET_EVERSION) {
        if (err != NULL)
            *err = *found;
        return rc;
    }
    assert(found != NULL);
    v->damaged++;
    v->report(v->ctx, true, found->text, v->done, v->total);
    return RAMET_OK;
}

/* ---- bytes of one object, in order --------------------------------------- */

/* Let the window hold `length` bytes at `offset`, at most its size; what comes
 * after them is read along, since it is asked for next. */
static enum ramet_rc
fill_window(struct ramet_verify *v, const char *key, uint64_t offset,
            size_t length, const uint8_t **out_bytes, struct ramet_err *err)
{
    struct ramet_verify_window *const w = &v->window;
    enum ramet_rc rc;

    assert(length <= WINDOW_BYTES && w->len <= WINDOW_BYTES);
    if (strcmp(w->key, key) != 0 || offset < w->offset ||
        offset - w->offset > w->len || length > w->len - (offset - w->offset)) {
        w->key[0] = '\0';
        rc = ramet_objstore_read(v->history->store, key, offset, w->bytes,
                                 WINDOW_BYTES, &w->len, err);
        if (rc != RAMET_OK)
            return rc;
        if (w->len < length)
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "%s: ends at %" PRIu64 ", should go on", key,
                              offset + w->len);
        w->offset = offset;
        memcpy(w->key, key, strlen(key) + 1);
    }
    assert(offset >= w->offset && offset - w->offset + length <= w->len);
    *out_bytes = w->bytes + (offset - w->offset);
    return RAMET_OK;
}

/* Hash `length` bytes at `offset` of an object, in pieces. */
static enum ramet_rc
hash_range(struct ramet_verify *v, const char *key, uint64_t offset,
           uint64_t length, struct ramet_hash *out_hash, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(length > 0);
    ramet_hasher_reset(v->hasher);
    while (rc == RAMET_OK && length > 0) {
        const size_t n = length < WINDOW_BYTES ? (size_t)length : WINDOW_BYTES;
        const uint8_t *bytes = NULL;

        rc = fill_window(v, key, offset, n, &bytes, err);
        if (rc == RAMET_OK)
            ramet_hasher_update(v->hasher, bytes, n);
        offset += n;
        length -= n;
    }
    if (rc == RAMET_OK)
        *out_hash = ramet_hasher_digest(v->hasher);
    return rc;
}

static enum ramet_rc
not_its_hash(const char *key, uint64_t offset, struct ramet_err *err)
{
    assert(key[0] != '\0');
    return RAMET_FAIL(err, RAMET_ECORRUPT,
                      "%s: bytes at %" PRIu64 " do not match their hash", key,
                      offset);
}

static enum ramet_rc
check_range(struct ramet_verify *v, const char *key, uint64_t offset,
            uint64_t length, const struct ramet_hash *expected,
            struct ramet_err *err)
{
    struct ramet_hash hash;
    const enum ramet_rc rc = hash_range(v, key, offset, length, &hash, err);

    assert(length > 0);
    if (rc != RAMET_OK)
        return rc;
    return ramet_hash_equal(&hash, expected) ? RAMET_OK
                                             : not_its_hash(key, offset, err);
}

enum ramet_rc
ramet_verify_size(struct ramet_verify *v, const char *key, uint64_t expected,
                  struct ramet_err *err)
{
    uint64_t size;
    const enum ramet_rc rc =
        ramet_objstore_size(v->history->store, key, &size, err);

    assert(ramet_key_valid(key));
    if (rc == RAMET_OK && size != expected)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: %" PRIu64 " bytes, should be %" PRIu64, key,
                          size, expected);
    return rc;
}

/* The 32 bytes before the frames; no parent has their hash, but every bit of
 * them is known. */
static enum ramet_rc
check_segment_header(struct ramet_verify *v, const char *key,
                     const struct ramet_sid *id, uint32_t page_size,
                     struct ramet_err *err)
{
    uint8_t expected[RAMET_SEGMENT_HEADER_SIZE] = {0};
    uint8_t found[RAMET_SEGMENT_HEADER_SIZE];
    enum ramet_rc rc;

    memcpy(expected, SEGMENT_MAGIC, 8);
    memcpy(expected + 8, &id->id, RAMET_ID_SIZE);
    ramet_put_le32(expected + 24, page_size);
    rc = ramet_objstore_read_full(v->history->store, key, 0, found,
                                  sizeof(found), err);
    if (rc == RAMET_OK && memcmp(expected, found, sizeof(found)) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: header of the segment",
                          key);
    return rc;
}

/* ---- segments ------------------------------------------------------------ */

/* Goes through a segment's bytes; all before `at` is accounted for. */
struct sweep {
    struct ramet_verify *v;
    const struct ramet_commit_object *commit;
    struct ramet_point point; /* the commit's */
    const struct ramet_segment_info *segment;
    char key[RAMET_KEY_MAX];
    uint64_t at;
    struct piece *pieces; /* noted, and not gone through yet: its frames */
    size_t piece_count, piece_capacity;
    bool
        has_gaps; /* a part of its table is damaged: what that names is unknown */
};

/* Of the object's bytes. */
struct piece {
    uint64_t offset;
    struct ramet_hash hash;
    uint32_t length;
};

/* The next piece lies there. */
static enum ramet_rc
sweep_to(struct sweep *s, uint64_t offset, uint64_t length,
         struct ramet_err *err)
{
    assert(length > 0);
    if (offset != s->at && (offset < s->at || !s->has_gaps))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: nothing refers to the bytes at %" PRIu64, s->key,
                          s->at);
    s->at = offset + length;
    return RAMET_OK;
}

static enum ramet_rc
sweep_piece(struct sweep *s, uint64_t offset, uint64_t length,
            const struct ramet_hash *hash, struct ramet_err *err)
{
    const enum ramet_rc rc = sweep_to(s, offset, length, err);

    return rc == RAMET_OK ? check_range(s->v, s->key, offset, length, hash, err)
                          : rc;
}

/* Where the next frame lies, which may be anywhere. */
static enum ramet_rc
note_piece(struct sweep *s, const struct ramet_extent *extent,
           struct ramet_err *err)
{
    assert(s->piece_count <= s->piece_capacity);
    if (s->piece_count == s->piece_capacity) {
        const size_t capacity =
            s->piece_capacity > 0 ? 2 * s->piece_capacity : 64;
        struct piece *const pieces =
            ramet_realloc(s->pieces, capacity * sizeof(*pieces));

        if (pieces == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "%s: its frames", s->key);
        s->pieces = pieces;
        s->piece_capacity = capacity;
    }
    s->pieces[s->piece_count++] = (struct piece){
        extent->offset_bytes, extent->hash, extent->length_bytes};
    return RAMET_OK;
}

static int
compare_pieces(const void *left, const void *right)
{
    const struct piece *const a = left;
    const struct piece *const b = right;

    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* All that was noted, from the first byte to the last. */
static enum ramet_rc
sweep_noted(struct sweep *s, struct ramet_err *err)
{
    struct ramet_err found;
    enum ramet_rc rc = RAMET_OK;

    if (s->piece_count > 1)
        qsort(s->pieces, s->piece_count, sizeof(s->pieces[0]), compare_pieces);
    for (size_t i = 0; rc == RAMET_OK && i < s->piece_count; i++)
        rc = ramet_verify_note(s->v,
                               sweep_piece(s, s->pieces[i].offset,
                                           s->pieces[i].length,
                                           &s->pieces[i].hash, &found),
                               &found, err);
    s->piece_count = 0;
    return rc;
}

static enum ramet_rc
note_frames(struct sweep *s, const struct ramet_frame *frames, uint32_t count,
            struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(frames != NULL && count > 0);
    for (uint32_t i = 0; rc == RAMET_OK && i < count; i++)
        rc = note_piece(s, &frames[i].extent, err);
    return rc;
}

/* The frames that the chunks name, then the chunks themselves, which were read for
 * that: it remains that nothing lies between them. */
static enum ramet_rc
sweep_chunks(struct sweep *s, struct ramet_err *err)
{
    struct ramet_table_cursor *const cursor = &s->v->cursor;
    const struct ramet_segment_info *const segment = s->segment;
    struct ramet_err found;
    enum ramet_rc rc = RAMET_OK;

    assert(segment->chunk_count > 0);
    for (uint32_t i = 0; i < segment->chunk_count; i++) {
        rc = ramet_table_cursor_load(cursor, s->commit, segment, i, &found);
        s->has_gaps = s->has_gaps || rc != RAMET_OK;
        rc = rc == RAMET_OK
                 ? note_frames(s, cursor->frames, cursor->frame_count, err)
                 : ramet_verify_note(s->v, rc, &found, err);
        if (rc != RAMET_OK)
            return rc;
    }
    rc = sweep_noted(s, err);
    for (uint32_t i = 0;
         rc == RAMET_OK && !s->has_gaps && i < segment->chunk_count; i++) {
        const struct ramet_table_chunk *const chunk = &segment->chunks[i];

        rc = ramet_verify_note(s->v,
                               sweep_piece(s, chunk->offset_bytes,
                                           chunk->length_bytes, &chunk->hash,
                                           &found),
                               &found, err);
    }
    return rc;
}

static bool
lies_in(const struct sweep *s, const struct ramet_frame *frame)
{
    assert(s->segment != NULL);
    if (frame->extent.kind == RAMET_IN_COMMIT)
        return ramet_id_is_nil(&s->segment->id.id) &&
               frame->extent.lsn == s->commit->lsn;
    return ramet_id_compare(&frame->extent.segment.id, &s->segment->id.id) == 0;
}

/* The next frame of a commit of its own map, by the map. */
static enum ramet_rc
note_page(struct sweep *s, uint32_t pgno, struct ramet_frame *last,
          struct ramet_err *err)
{
    struct ramet_located located;
    const struct ramet_frame *const frame = &located.image;
    enum ramet_rc rc;

    assert(pgno >= 1);
    assert(s->segment != NULL);
    rc = ramet_history_locate(s->v->line, &s->point, &pgno, 1, &located, err);
    if (rc != RAMET_OK || ramet_frame_same(frame, last))
        return rc;
    *last = *frame;
    if (frame->page_count == 0 || ramet_located_has_delta(&located) ||
        !lies_in(s, frame))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64 ": its map has page %u elsewhere",
                          s->commit->lsn, pgno);
    return note_piece(s, &frame->extent, err);
}

static enum ramet_rc
sweep_by_map(struct sweep *s, struct ramet_err *err)
{
    struct ramet_frame last = {.page_count = 0};
    uint32_t pgno = s->segment->first_pgno - 1;
    struct ramet_err found;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_commit_has_own_map(s->commit));
    while (rc == RAMET_OK) {
        pgno = ramet_pageset_next(&s->commit->changed, pgno);
        if (pgno == 0 || pgno > s->segment->last_pgno)
            break;
        rc = note_page(s, pgno, &last, &found);
        s->has_gaps = s->has_gaps || rc != RAMET_OK;
        rc = ramet_verify_note(s->v, rc, &found, err);
    }
    return rc == RAMET_OK ? sweep_noted(s, err) : rc;
}

enum ramet_rc
ramet_verify_dict(struct ramet_verify *v, const struct ramet_extent *dict,
                  struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(dict->kind == RAMET_IN_SEGMENT && dict->length_bytes > 0);
    ramet_extent_key(dict, key);
    rc =
        ramet_verify_size(v, key, dict->offset_bytes + dict->length_bytes, err);
    if (rc == RAMET_OK)
        rc = check_segment_header(v, key, &dict->segment, 0, err);
    if (rc == RAMET_OK)
        rc = check_range(v, key, dict->offset_bytes, dict->length_bytes,
                         &dict->hash, err);
    return rc;
}

enum ramet_rc
ramet_verify_segment(struct ramet_verify *v,
                     const struct ramet_loaded_head *head, uint32_t index,
                     struct ramet_err *err)
{
    const struct ramet_commit_object *const commit = &head->commit;
    const struct ramet_segment_info *const segment = &commit->segments[index];
    const bool is_inline = ramet_commit_is_inline(commit, index);
    const uint64_t end = is_inline && commit->deltas.extent.is_inline
                             ? commit->deltas.extent.offset_bytes
                             : segment->size_bytes;
    const struct ramet_extent extent = {.volume = commit->volume,
                                        .segment = segment->id};
    struct sweep s = {.v = v,
                      .commit = commit,
                      .point = {commit->lsn, head->hash},
                      .segment = segment};
    const uint64_t start =
        is_inline ? ramet_commit_inline_start(head->head_length) : 0;
    bool has_table = true;
    struct ramet_err found;
    enum ramet_rc rc;

    assert(index < commit->segment_count);
    if (is_inline)
        ramet_commit_key(&commit->volume, commit->lsn, s.key);
    else
        ramet_extent_key(&extent, s.key);
    rc = ramet_verify_size(v, s.key, start + segment->size_bytes, &found);
    if (rc == RAMET_ENOTFOUND) /* one finding, not one a frame */
        return ramet_verify_note(v, rc, &found, err);
    if (rc == RAMET_OK && !is_inline)
        rc = check_segment_header(v, s.key, &segment->id, commit->page_size,
                                  &found);
    rc = ramet_verify_note(v, rc, &found, err);
    s.at = start + RAMET_SEGMENT_HEADER_SIZE;
    if (rc != RAMET_OK)
        return rc;
    if (segment->frames != NULL) {
        rc = note_frames(&s, segment->frames, segment->frame_count, err);
        rc = rc == RAMET_OK ? sweep_noted(&s, err) : rc;
    } else if (segment->chunk_count > 0) {
        rc = sweep_chunks(&s, err);
    } else {
        rc = sweep_by_map(&s, err); /* its chunks are needed no more */
        has_table = false;
    }
    ramet_free(s.pieces);
    if (rc == RAMET_OK && has_table && !s.has_gaps && s.at != start + end)
        rc = ramet_verify_note(
            v,
            RAMET_FAIL(&found, RAMET_ECORRUPT,
                       "%s: nothing refers to the bytes at %" PRIu64, s.key,
                       s.at),
            &found, err);
    return rc;
}

/* ---- deltas -------------------------------------------------------------- */

/* A block of deltas: its front has the hash, and vouches for the rest. */
static enum ramet_rc
sweep_block(struct sweep *s, const struct ramet_extent *block,
            struct ramet_err *err)
{
    const uint8_t *bytes = NULL;
    enum ramet_rc rc;

    assert(block->hash_algo == RAMET_HASH_FRONT);
    rc = sweep_to(s, block->offset_bytes, block->length_bytes, err);
    if (rc == RAMET_OK)
        rc = fill_window(s->v, s->key, block->offset_bytes, block->length_bytes,
                         &bytes, err);
    if (rc == RAMET_OK && !ramet_extent_matches(block, bytes))
        rc = not_its_hash(s->key, block->offset_bytes, err);
    return rc;
}

/* The blocks of a commit, by its own table. */
static enum ramet_rc
sweep_blocks(struct sweep *s, struct ramet_err *err)
{
    struct ramet_err found;
    enum ramet_rc rc = RAMET_OK;

    assert(s->commit->deltas.extent.blocks != NULL);
    for (uint32_t i = 0;
         rc == RAMET_OK && i < s->commit->deltas.extent.block_count; i++) {
        const struct ramet_frame block = ramet_commit_delta_block(s->commit, i);

        rc = ramet_verify_note(s->v, sweep_block(s, &block.extent, &found),
                               &found, err);
    }
    return rc;
}

/* The next block of a commit of its own map, by the map. */
static enum ramet_rc
sweep_block_of(struct sweep *s, uint32_t pgno, struct ramet_err *err)
{
    struct ramet_located located;
    const struct ramet_extent *const block = &located.block.extent;
    enum ramet_rc rc;

    assert(pgno >= 1);
    rc = ramet_history_locate(s->v->line, &s->point, &pgno, 1, &located, err);
    if (rc != RAMET_OK)
        return rc;
    if (!ramet_located_has_delta(&located) || located.lsn != s->commit->lsn)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "LSN %" PRIu64 ": its map lacks the delta of page %u",
                          s->commit->lsn, pgno);
    if (block->offset_bytes + block->length_bytes == s->at)
        return RAMET_OK; /* as the page before */
    return sweep_block(s, block, err);
}

static enum ramet_rc
sweep_blocks_by_map(struct sweep *s, struct ramet_err *err)
{
    struct ramet_err found;
    uint32_t pgno = 0;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_commit_has_own_map(s->commit));
    while (rc == RAMET_OK &&
           (pgno = ramet_pageset_next(&s->commit->deltas.pages, pgno)) != 0)
        rc = ramet_verify_note(s->v, sweep_block_of(s, pgno, &found), &found,
                               err);
    return rc;
}

enum ramet_rc
ramet_verify_deltas(struct ramet_verify *v,
                    const struct ramet_loaded_head *head, struct ramet_err *err)
{
    const struct ramet_commit_object *const commit = &head->commit;
    const struct ramet_commit_deltas *const deltas = &commit->deltas;
    const struct ramet_extent extent = {.volume = commit->volume,
                                        .segment = deltas->extent.id};
    struct sweep s = {
        .v = v, .commit = commit, .point = {commit->lsn, head->hash}};
    const uint64_t start = deltas->extent.is_inline
                               ? ramet_commit_inline_start(head->head_length)
                               : 0;
    struct ramet_err found;
    enum ramet_rc rc = RAMET_OK;

    assert(head->raw != NULL);
    if (deltas->pages.run_count == 0)
        return RAMET_OK;
    if (deltas->extent.is_inline)
        ramet_commit_key(&commit->volume, commit->lsn, s.key);
    else
        ramet_extent_key(&extent, s.key);
    if (!deltas->extent.is_inline)
        rc = ramet_verify_size(v, s.key, deltas->extent.size_bytes, &found);
    if (rc == RAMET_OK && !deltas->extent.is_inline)
        rc = check_segment_header(v, s.key, &deltas->extent.id,
                                  commit->page_size, &found);
    if (rc == RAMET_OK && !ramet_commit_is_inline(commit, 0) &&
        deltas->extent.offset_bytes != RAMET_SEGMENT_HEADER_SIZE)
        rc = RAMET_FAIL(&found, RAMET_ECORRUPT,
                        "%s: nothing refers to the bytes at %u", s.key,
                        RAMET_SEGMENT_HEADER_SIZE);
    if (rc != RAMET_OK) /* one finding, not one a page */
        return ramet_verify_note(v, rc, &found, err);
    s.at = start + deltas->extent.offset_bytes;
    return deltas->extent.blocks != NULL ? sweep_blocks(&s, err)
                                         : sweep_blocks_by_map(&s, err);
}
