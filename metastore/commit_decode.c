/*
 * commit_decode.c - commits from bytes, which are hostile until checked; what they
 * say of deltas is in commit_decode_deltas.c.
 *
 * Order of checks: magic and version, the core's hash, the core's fields, the
 * body's hash, the body. So a text about fields points at the writer, one
 * about a hash at the store.
 *
 *   (1) No array is made before the bytes left could hold that many.
 *   (2) Segments ascend, and every extent lies inside its object.
 *       Heads with tables are at most 32 KiB, so decoding one is bounded.
 *   (3) Where all tables stand in the commit, they name exactly the pages in
 *       `changed`.
 */
#include "metastore/commit.h"

#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "metastore/commit_impl.h"

/* Bytes that an element takes at least. */
#define SEGMENT_BYTES_MIN 4u
#define CHUNK_BYTES_MIN 20u
#define FRAME_BYTES_MIN 18u

enum ramet_rc
ramet_commit_head_length(const uint8_t prefix[RAMET_COMMIT_PREFIX_SIZE],
                         uint32_t *out_head_length, struct ramet_err *err)
{
    const uint32_t length = ramet_get_le32(prefix + COMMIT_AT_HEAD_LENGTH);

    if (memcmp(prefix, RAMET_COMMIT_MAGIC, 7) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "commit: not a commit");
    if (prefix[7] != RAMET_COMMIT_MAGIC[7])
        return RAMET_FAIL(
            err, RAMET_EVERSION,
            "commit: format version %u is not known to this program",
            prefix[7]);
    if (length < RAMET_COMMIT_CORE_SIZE || length > RAMET_COMMIT_HEAD_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "commit: head of %u bytes",
                          length);
    *out_head_length = length;
    return RAMET_OK;
}

uint64_t
ramet_commit_object_size(const uint8_t *core)
{
    assert(core != NULL);
    return (uint64_t)ramet_get_le32(core + COMMIT_AT_HEAD_LENGTH) +
           ramet_get_le32(core + COMMIT_AT_INLINE_LENGTH);
}

static void
take_fields(const uint8_t *core, struct ramet_commit_object *c)
{
    assert(core[COMMIT_AT_PAGE_SIZE] <= 16);
    c->lsn = ramet_get_le64(core + COMMIT_AT_LSN);
    c->role = (enum ramet_commit_role)(ramet_get_le16(core + COMMIT_AT_FLAGS) &
                                       COMMIT_ROLES);
    c->says_first_page =
        (ramet_get_le16(core + COMMIT_AT_FLAGS) & COMMIT_SAYS_FIRST_PAGE) != 0;
    c->head_length_bytes = ramet_get_le32(core + COMMIT_AT_HEAD_LENGTH);
    c->floor = ramet_get_le64(core + COMMIT_AT_FLOOR);
    memcpy(&c->cutoff, core + COMMIT_AT_CUTOFF, RAMET_ID_SIZE);
    c->content.lsn = ramet_get_le64(core + COMMIT_AT_CONTENT_LSN);
    memcpy(&c->content.hash, core + COMMIT_AT_CONTENT_HASH, RAMET_HASH_SIZE);
    c->page_size = 1u << core[COMMIT_AT_PAGE_SIZE];
    c->kind = (enum ramet_volume_kind)core[COMMIT_AT_KIND];
    c->commits_since_map = core[COMMIT_AT_DISTANCE];
    c->head_bytes_since_map = ramet_get_le16(core + COMMIT_AT_HEAD_BYTES);
    memcpy(&c->volume.id, core + COMMIT_AT_VOLUME, RAMET_ID_SIZE);
    memcpy(&c->id.id, core + COMMIT_AT_ID, RAMET_ID_SIZE);
    memcpy(&c->writer.id, core + COMMIT_AT_WRITER, RAMET_ID_SIZE);
    memcpy(&c->predecessor, core + COMMIT_AT_PREDECESSOR, RAMET_HASH_SIZE);
    c->time_ms = ramet_get_le64(core + COMMIT_AT_TIME);
    c->page_count = ramet_get_le32(core + COMMIT_AT_PAGE_COUNT);
    c->least_page_count = ramet_get_le32(core + COMMIT_AT_LEAST);
    c->byte_length = ramet_get_le64(core + COMMIT_AT_BYTE_LENGTH);
    c->map.volume = c->volume;
    c->map.lsn = c->lsn - c->commits_since_map;
    memcpy(&c->map.id.id, core + COMMIT_AT_MAP_ID, RAMET_ID_SIZE);
    c->map.root_offset_bytes = ramet_get_le64(core + COMMIT_AT_ROOT_OFFSET);
    c->map.root_length_bytes = ramet_get_le32(core + COMMIT_AT_ROOT_LENGTH);
    c->map.hash_algo = core[COMMIT_AT_ALGO];
    memcpy(&c->map.root_hash, core + COMMIT_AT_ROOT_HASH, RAMET_HASH_SIZE);
    c->inline_length_bytes = ramet_get_le32(core + COMMIT_AT_INLINE_LENGTH);
    c->has_inline = c->inline_length_bytes > 0;
}

static enum ramet_rc
check_core(const uint8_t *core, const struct ramet_vid *volume, uint64_t lsn,
           struct ramet_err *err)
{
    struct ramet_hash hash;
    uint32_t head_length;
    enum ramet_rc rc;

    assert(core != NULL && volume != NULL);
    rc = ramet_commit_head_length(core, &head_length, err);
    if (rc != RAMET_OK)
        return rc;
    if (core[COMMIT_AT_ALGO] != RAMET_HASH_XXH3_128)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "commit %" PRIu64 ": hash algorithm %u is not known",
                          lsn, core[COMMIT_AT_ALGO]);
    hash = ramet_hash128(core, COMMIT_AT_HASH);
    if (memcmp(&hash, core + COMMIT_AT_HASH, RAMET_HASH_SIZE) != 0)
        return ramet_commit_damaged(lsn, "hash of the head does not match",
                                    err);
    if (ramet_get_le64(core + COMMIT_AT_LSN) != lsn)
        return ramet_commit_damaged(
            lsn, "the object under its key has another LSN", err);
    if (memcmp(core + COMMIT_AT_VOLUME, &volume->id, RAMET_ID_SIZE) != 0)
        return ramet_commit_damaged(
            lsn, "the object under its key is of another volume", err);
    if ((ramet_get_le16(core + COMMIT_AT_FLAGS) & ~COMMIT_FLAGS) != 0 ||
        !ramet_bytes_are_zero(core + COMMIT_AT_RESERVED, COMMIT_RESERVED_SIZE))
        return RAMET_FAIL(
            err, RAMET_EVERSION,
            "commit %" PRIu64 ": flags or fields of a later version", lsn);
    if (core[COMMIT_AT_PAGE_SIZE] > 16 || core[COMMIT_AT_DISTANCE] > lsn)
        return ramet_commit_damaged(
            lsn, "page size or map distance out of range", err);
    return RAMET_OK;
}

enum ramet_rc
ramet_commit_decode_core(const uint8_t *core, const struct ramet_vid *volume,
                         uint64_t lsn, struct ramet_commit_object *out_commit,
                         struct ramet_hash *out_hash, struct ramet_err *err)
{
    struct ramet_commit_object c;
    const char *flaw;
    enum ramet_rc rc;

    rc = check_core(core, volume, lsn, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_commit_init(&c);
    take_fields(core, &c);
    flaw = ramet_commit_flaw(&c);
    if (flaw != NULL)
        return ramet_commit_damaged(lsn, flaw, err);
    if (c.inline_length_bytes > RAMET_SEGMENT_INLINE_MAX)
        return ramet_commit_damaged(
            lsn, "inline segment of an impossible length", err);
    memcpy(out_hash, core + COMMIT_AT_HASH, RAMET_HASH_SIZE);
    assert(c.lsn == lsn && c.segments == NULL);
    *out_commit = c;
    return RAMET_OK;
}

/* ---- the body ------------------------------------------------------------ */

/* One chunk; `next_pgno` and `end` are what the one before left. */
static bool
decode_chunk(struct ramet_reader *in, const struct ramet_segment_info *seg,
             uint64_t next_pgno, uint64_t end, struct ramet_table_chunk *out)
{
    const uint64_t first = next_pgno + ramet_read_varint_max(in, UINT32_MAX);
    const uint64_t last = first + ramet_read_varint_max(in, UINT32_MAX);
    const uint64_t offset = end + ramet_read_varint_max(in, INT64_MAX);
    const uint64_t length = ramet_read_varint_max(in, COMMIT_CHUNK_BYTES_MAX);
    const uint8_t *const hash = ramet_read_bytes(in, RAMET_HASH_SIZE);

    assert(next_pgno >= seg->first_pgno);
    if (in->bad || last > seg->last_pgno || length == 0 ||
        offset < RAMET_SEGMENT_HEADER_SIZE || offset > seg->size_bytes ||
        length > seg->size_bytes - offset)
        return false;
    assert(first >= next_pgno && offset >= end); /* invariant (2) */
    *out = (struct ramet_table_chunk){.first_pgno = (uint32_t)first,
                                      .last_pgno = (uint32_t)last,
                                      .offset_bytes = offset,
                                      .length_bytes = (uint32_t)length};
    memcpy(&out->hash, hash, RAMET_HASH_SIZE);
    return true;
}

static enum ramet_rc
decode_chunks(struct ramet_reader *in, uint64_t lsn,
              struct ramet_segment_info *seg, struct ramet_err *err)
{
    const uint64_t count = ramet_read_varint_max(
        in, ramet_reader_left(in) / CHUNK_BYTES_MIN); /* invariant (1) */
    uint64_t next_pgno = seg->first_pgno;
    uint64_t end = 0;

    assert(seg->chunks == NULL && seg->first_pgno >= 1);
    if (in->bad || count == 0)
        return ramet_commit_damaged(lsn, "bad count of table chunks", err);
    seg->chunks = ramet_calloc((size_t)count, sizeof(seg->chunks[0]));
    if (seg->chunks == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "commit: %" PRIu64 " chunks",
                          count);
    seg->chunk_count = (uint32_t)count;
    for (uint32_t i = 0; i < seg->chunk_count; i++) {
        struct ramet_table_chunk *const chunk = &seg->chunks[i];

        if (!decode_chunk(in, seg, next_pgno, end, chunk))
            return ramet_commit_damaged(lsn, "table chunk out of place", err);
        next_pgno = (uint64_t)chunk->last_pgno + 1;
        end = chunk->offset_bytes + chunk->length_bytes;
    }
    if (seg->chunks[0].first_pgno != seg->first_pgno ||
        next_pgno != (uint64_t)seg->last_pgno + 1)
        return ramet_commit_damaged(
            lsn, "table chunks do not cover their segment", err);
    return RAMET_OK;
}

static enum ramet_rc
decode_table(struct ramet_reader *in, const struct ramet_commit_object *c,
             uint32_t head_length, struct ramet_segment_info *seg,
             bool is_inline, struct ramet_err *err)
{
    const struct ramet_extent context = {
        .volume = c->volume,
        .kind = is_inline ? RAMET_IN_COMMIT : RAMET_IN_SEGMENT,
        .segment = seg->id,
        .lsn = is_inline ? c->lsn : 0,
    };
    const struct ramet_frame *last;
    enum ramet_rc rc;

    assert(seg->frames == NULL && seg->frame_count >= 1);
    if (seg->frame_count > ramet_reader_left(in) / FRAME_BYTES_MIN)
        return ramet_commit_damaged(c->lsn, "frame count beyond its bytes",
                                    err);
    seg->frames = ramet_calloc(seg->frame_count, sizeof(seg->frames[0]));
    if (seg->frames == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "commit: %u frames",
                          seg->frame_count);
    rc = ramet_frame_table_decode(in, seg->frame_count, &context,
                                  seg->has_dict ? &seg->dict : NULL,
                                  seg->size_bytes, seg->frames, err);
    if (rc != RAMET_OK)
        return rc;
    last = &seg->frames[seg->frame_count - 1];
    if (seg->frames[0].first_pgno != seg->first_pgno ||
        last->first_pgno + (last->page_count - 1) != seg->last_pgno)
        return ramet_commit_damaged(
            c->lsn, "frame table and page range do not agree", err);
    for (uint32_t i = 0; is_inline && i < seg->frame_count; i++)
        seg->frames[i].extent.offset_bytes +=
            ramet_commit_inline_start(head_length);
    return RAMET_OK;
}

static bool
flags_fit(const struct ramet_commit_object *c, uint32_t index, unsigned flags)
{
    const unsigned tables = flags & (SEGMENT_TABLE | SEGMENT_CHUNKS);
    const bool is_inline = (flags & SEGMENT_INLINE) != 0;

    assert(index < RAMET_COMMIT_SEGMENTS_MAX);
    if (is_inline && !(c->has_inline && index == 0))
        return false;
    if (is_inline && tables == SEGMENT_CHUNKS)
        return false;
    if (ramet_commit_has_own_map(c))
        return tables == 0;
    return tables == SEGMENT_TABLE || tables == SEGMENT_CHUNKS;
}

/* Id, size, counts and range of a segment. */
static enum ramet_rc
decode_segment_front(struct ramet_reader *in,
                     const struct ramet_commit_object *c, bool is_inline,
                     uint32_t last_pgno, struct ramet_segment_info *seg,
                     struct ramet_err *err)
{
    uint64_t first, last;

    if (is_inline) {
        seg->size_bytes = ramet_commit_inline_end(c);
    } else {
        const uint8_t *const id = ramet_read_bytes(in, RAMET_ID_SIZE);

        if (id != NULL)
            memcpy(&seg->id.id, id, RAMET_ID_SIZE);
        seg->size_bytes = ramet_read_varint_max(in, INT64_MAX);
        if (ramet_id_is_nil(&seg->id.id))
            in->bad = true; /* the inline one's alone */
    }
    seg->frame_count = (uint32_t)ramet_read_varint_max(in, UINT32_MAX);
    first = (uint64_t)last_pgno + 1 + ramet_read_varint_max(in, UINT32_MAX);
    last = first + ramet_read_varint_max(in, UINT32_MAX);
    if (in->bad || last > c->page_count || seg->frame_count == 0 ||
        seg->frame_count > last - first + 1 ||
        seg->size_bytes <= RAMET_SEGMENT_HEADER_SIZE)
        return ramet_commit_damaged(c->lsn, "bad segment",
                                    err);       /* invariant (2) */
    assert(first > last_pgno && first <= last); /* invariant (2) */
    seg->first_pgno = (uint32_t)first;
    seg->last_pgno = (uint32_t)last;
    return RAMET_OK;
}

static enum ramet_rc
decode_segment(struct ramet_reader *in, const struct ramet_commit_object *c,
               uint32_t head_length, uint32_t index, uint32_t last_pgno,
               struct ramet_segment_info *seg, struct ramet_err *err)
{
    const unsigned flags = ramet_read_u8(in);
    const bool is_inline = (flags & SEGMENT_INLINE) != 0;
    enum ramet_rc rc;

    assert(seg->frames == NULL && seg->chunks == NULL);
    if (flags > 15)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "commit %" PRIu64 ": segment flags %u of a later "
                          "version",
                          c->lsn, flags);
    if (!flags_fit(c, index, flags))
        return ramet_commit_damaged(c->lsn, "segment flags do not fit", err);
    rc = decode_segment_front(in, c, is_inline, last_pgno, seg, err);
    if (rc != RAMET_OK)
        return rc;
    if (flags & SEGMENT_DICT) {
        seg->has_dict = true;
        if (!ramet_commit_decode_dict(in, &c->volume, &seg->dict))
            return ramet_commit_damaged(c->lsn, "bad dictionary", err);
    }
    if (flags & SEGMENT_CHUNKS)
        return decode_chunks(in, c->lsn, seg, err);
    if (flags & SEGMENT_TABLE)
        return decode_table(in, c, head_length, seg, is_inline, err);
    return RAMET_OK;
}

/* Invariant (3): both ascend, so one walk over the runs is enough. */
static enum ramet_rc
check_coverage(const struct ramet_commit_object *c, struct ramet_err *err)
{
    uint64_t in_tables = 0;
    bool all = !ramet_commit_has_own_map(c);
    size_t run = 0;

    assert(c->segments != NULL);
    for (uint32_t i = 0; i < c->segment_count; i++) {
        const struct ramet_segment_info *const seg = &c->segments[i];

        all = all && seg->frames != NULL;
        for (uint32_t j = 0; seg->frames != NULL && j < seg->frame_count; j++) {
            const struct ramet_frame *const frame = &seg->frames[j];
            const uint32_t last = frame->first_pgno + (frame->page_count - 1);

            while (run < c->changed.run_count &&
                   c->changed.runs[run].last < frame->first_pgno)
                run++;
            if (run == c->changed.run_count ||
                c->changed.runs[run].first > frame->first_pgno ||
                c->changed.runs[run].last < last)
                return ramet_commit_damaged(
                    c->lsn, "a frame of pages not changed", err);
            in_tables += frame->page_count;
        }
    }
    if (all && in_tables != ramet_pageset_count(&c->changed))
        return ramet_commit_damaged(c->lsn, "changed pages without a frame",
                                    err);
    if (c->changed.run_count > 0 && c->segment_count == 0)
        return ramet_commit_damaged(c->lsn, "changed pages without a segment",
                                    err);
    return RAMET_OK;
}

/* ---- all of it ----------------------------------------------------------- */

/* What the parts of a body must agree on. */
static const char *
body_flaw(const struct ramet_commit_object *c)
{
    assert(c->segments != NULL);
    if (ramet_pageset_intersects(&c->changed, &c->deltas.pages))
        return "a page with an image and a delta";
    if (c->has_inline !=
        (ramet_commit_is_inline(c, 0) || c->deltas.extent.is_inline))
        return "inline bytes that nothing uses, or that are not there";
    return ramet_commit_flaw(c);
}

static enum ramet_rc
decode_body(struct ramet_reader *in, uint32_t head_length,
            struct ramet_commit_object *c, struct ramet_err *err)
{
    uint32_t last_pgno = 0;
    uint64_t count;
    const char *flaw;
    enum ramet_rc rc;

    assert(c->segments == NULL && c->segment_count == 0);
    rc = ramet_commit_decode_first_page(in, c, err);
    if (rc == RAMET_OK)
        rc = ramet_pageset_decode(&c->changed, in, c->page_count,
                                  ramet_reader_left(in) / 2, err);
    if (rc == RAMET_OK)
        rc = ramet_pageset_decode(&c->deltas.pages, in, c->page_count,
                                  ramet_reader_left(in) / 2, err);
    if (rc != RAMET_OK)
        return rc;
    count = ramet_read_varint_max(in, RAMET_COMMIT_SEGMENTS_MAX);
    if (in->bad || count > ramet_reader_left(in) / SEGMENT_BYTES_MIN)
        return ramet_commit_damaged(c->lsn, "bad count of segments", err);
    c->segments = ramet_calloc((size_t)count + 1, sizeof(c->segments[0]));
    if (c->segments == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "commit: %" PRIu64 " segments",
                          count);
    c->segment_count = (uint32_t)count;
    for (uint32_t i = 0; i < c->segment_count; i++) {
        rc = decode_segment(in, c, head_length, i, last_pgno, &c->segments[i],
                            err);
        if (rc != RAMET_OK)
            return rc;
        last_pgno = c->segments[i].last_pgno;
    }
    rc = ramet_commit_decode_deltas(in, c, err);
    if (rc != RAMET_OK)
        return rc;
    if (!ramet_commit_new_deltas_are_named(c))
        return ramet_commit_damaged(c->lsn, "a delta over what was cut off",
                                    err);
    if (in->bad || ramet_reader_left(in) != 0)
        return ramet_commit_damaged(c->lsn, "bytes after its end", err);
    flaw = body_flaw(c);
    if (flaw == NULL)
        flaw = ramet_commit_take_first_page(c);
    if (flaw != NULL)
        return ramet_commit_damaged(c->lsn, flaw, err);
    return check_coverage(c, err);
}

enum ramet_rc
ramet_commit_decode(const uint8_t *head, size_t head_length,
                    const struct ramet_vid *volume, uint64_t lsn,
                    uint64_t object_size,
                    struct ramet_commit_object *out_commit,
                    struct ramet_hash *out_hash, struct ramet_err *err)
{
    struct ramet_reader in;
    struct ramet_commit_object c;
    struct ramet_hash hash, body_hash;
    enum ramet_rc rc;

    assert(head != NULL);
    if (head_length < RAMET_COMMIT_CORE_SIZE)
        return ramet_commit_damaged(lsn, "shorter than a head", err);
    rc = ramet_commit_decode_core(head, volume, lsn, &c, &hash, err);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_get_le32(head + COMMIT_AT_HEAD_LENGTH) != head_length)
        return ramet_commit_damaged(lsn, "head of another length", err);
    if (!ramet_commit_has_own_map(&c) &&
        c.head_bytes_since_map + head_length > COMMIT_HEAD_BYTES_MAX)
        return ramet_commit_damaged(
            lsn, "too many bytes of heads after the map", err);
    if (object_size != 0 && ramet_commit_object_size(head) != object_size)
        return ramet_commit_damaged(lsn, "object of another length", err);
    ramet_reader_init(&in, head + RAMET_COMMIT_CORE_SIZE,
                      head_length - RAMET_COMMIT_CORE_SIZE);
    body_hash = ramet_hash128(in.data, in.len);
    if (memcmp(&body_hash, head + COMMIT_AT_BODY_HASH, RAMET_HASH_SIZE) != 0)
        return ramet_commit_damaged(
            lsn, "hash of the head's body does not match", err);
    rc = decode_body(&in, (uint32_t)head_length, &c, err);
    if (rc != RAMET_OK) {
        ramet_commit_done(&c);
        return rc;
    }
    *out_commit = c;
    *out_hash = hash;
    return RAMET_OK;
}
