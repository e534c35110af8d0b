/*
 * segment_writer.c - from pages to a segment, inline or uploaded.
 *
 *   (1) Without an upload, all output is in body[0, body_len), header first,
 *       and nothing has been cut into chunks; with one, body is NULL and the
 *       first body_len bytes of the object were handed to the upload.
 *   (2) frames[0, pending_count) are those not yet in a chunk, ascending; table
 *       holds the chunks cut so far, chunks[i].offset_bytes counts from the
 *       table's start until finish.
 *   (3) After a failure `failed` is set, and nothing but abort (or finish,
 *       which then only frees) happens.
 *   (4) laid[0, laid_count) are frames of one group, in the order in which they
 *       lie, and no frame of it is among `frames`: they go there, sorted, once
 *       one of a later group comes, or none.
 *
 * Memory: the compressor's ring, 128 KiB of body, 40 bytes for each frame of a
 * group, and the table: about 20
 * bytes a frame, at most 1/16 of RAMET_SEGMENT_BYTES_MAX while the caller
 * heeds ramet_segment_writer_size().
 *
 * Layer: pagestore.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/compressor.h"
#include "pagestore/segment.h"
#include "pagestore/segment_header.h"

/* The most frames a chunk can hold. */
#define PENDING_MAX (RAMET_TABLE_CHUNK_BYTES / RAMET_FRAME_ENTRY_MIN + 1)
/* An entry with everything in it: gap, kind, page count, shift, length, hash. A
 * group's frames are back to back. */
#define SHIFT_MAX 5u
#define ENTRY_MAX (5u + 1u + 1u + SHIFT_MAX + 4u + RAMET_HASH_SIZE)
#define TABLE_HEAD_MAX (RAMET_VARINT_MAX + 3u + RAMET_VARINT_MAX)
#define TABLE_WEIGHT 16u
#define TABLE_BYTES_MAX (RAMET_SEGMENT_BYTES_MAX / 4)

static_assert(PENDING_MAX * ENTRY_MAX + TABLE_HEAD_MAX <=
                  RAMET_TABLE_CHUNK_BYTES_MAX,
              "readers accept the largest chunk that is written");
static_assert(RAMET_SEGMENT_GROUP_BYTES / RAMET_PAGE_SIZE_MIN *
                      (uint64_t)(RAMET_PAGE_SIZE_MIN + 128u) <
                  UINT64_C(1) << (7u * SHIFT_MAX - 1),
              "a shift within a group has its bytes");

/* A frame whose place in the table is not known yet. */
struct laid_frame {
    uint64_t offset;
    struct ramet_packed_frame packed;
};

struct ramet_segment_writer {
    struct ramet_objstore *store;
    struct ramet_vid volume;
    struct ramet_sid id; /* nil until the upload begins */
    uint32_t page_size;
    bool has_dict;
    struct ramet_extent dict_extent;
    struct ramet_compressor *compressor;
    struct ramet_upload *upload;
    enum ramet_rc failed; /* invariant (3) */

    uint8_t *body; /* RAMET_SEGMENT_INLINE_MAX bytes; invariant (1) */
    uint64_t body_len;
    struct ramet_frame *frames; /* PENDING_MAX; invariant (2) */
    uint32_t pending_count;
    size_t pending_bytes;    /* about the size of their table */
    uint64_t pending_end;    /* of the last of them */
    struct laid_frame *laid; /* invariant (4) */
    uint32_t laid_count, laid_capacity;
    size_t laid_bytes; /* as pending_bytes */
    bool is_ascending; /* they are */
    struct ramet_buf table;
    struct ramet_table_chunk *chunks;
    uint32_t chunk_count;
    uint32_t chunk_capacity;

    uint32_t last_added; /* page number */
    uint32_t frame_count;
    uint32_t first_pgno;
    uint32_t last_pgno;
};

/* ---- the table ------------------------------------------------------------ */

static enum ramet_rc
grow_chunks(struct ramet_segment_writer *writer)
{
    const uint32_t capacity =
        writer->chunk_capacity == 0 ? 16 : writer->chunk_capacity * 2;
    struct ramet_table_chunk *grown;

    assert(writer->chunk_count <= writer->chunk_capacity);
    if (writer->chunk_count < writer->chunk_capacity)
        return RAMET_OK;
    grown = ramet_realloc(writer->chunks, capacity * sizeof(*grown));
    if (grown == NULL)
        return RAMET_ENOMEM;
    writer->chunks = grown;
    writer->chunk_capacity = capacity;
    return RAMET_OK;
}

/* Turn the pending frames into a chunk. */
static enum ramet_rc
cut_chunk(struct ramet_segment_writer *writer, struct ramet_err *err)
{
    const struct ramet_frame *last = &writer->frames[writer->pending_count - 1];
    const size_t start = writer->table.len;
    enum ramet_rc rc = grow_chunks(writer);

    assert(writer->pending_count > 0);
    assert(last->first_pgno >= writer->frames[0].first_pgno);
    ramet_buf_varint(&writer->table, writer->pending_count);
    if (rc == RAMET_OK)
        rc = ramet_frame_table_encode(writer->frames, writer->pending_count,
                                      &writer->table);
    if (rc != RAMET_OK)
        return RAMET_FAIL(err, rc, "segment: its frame table is too large");
    writer->chunks[writer->chunk_count++] = (struct ramet_table_chunk){
        .first_pgno = writer->frames[0].first_pgno,
        .last_pgno = last->first_pgno + (last->page_count - 1),
        .offset_bytes = start,
        .length_bytes = (uint32_t)(writer->table.len - start),
        .hash = ramet_hash128(writer->table.data + start,
                              writer->table.len - start),
    };
    assert(writer->table.len > start); /* invariant (2) */
    writer->pending_count = 0;
    writer->pending_bytes = 0;
    return RAMET_OK;
}

static size_t
varint_len(uint64_t value)
{
    uint8_t out[RAMET_VARINT_MAX];

    return ramet_put_varint(out, value);
}

/* Bytes that a frame will take as an entry behind page `last` and byte `end`, or a few
 * more or less: which page count is the usual one is not known yet. */
static size_t
entry_estimate(const struct laid_frame *frame, uint32_t last, uint64_t end)
{
    const struct ramet_packed_frame *const packed = &frame->packed;
    const uint64_t gap =
        packed->first_pgno > last ? packed->first_pgno - last - 1 : 0;
    const uint64_t by =
        frame->offset > end ? frame->offset - end : end - frame->offset;
    const size_t extra = packed->page_count == 1 ? 0 : 2;

    assert(packed->page_count >= 1 && packed->length_bytes >= 1);
    return varint_len(gap << 2) + extra + (by > 0 ? varint_len(by << 1) : 0) +
           varint_len(packed->length_bytes) + RAMET_HASH_SIZE;
}

/* The next frame of the table. */
static enum ramet_rc
add_frame(struct ramet_segment_writer *writer, const struct laid_frame *frame,
          struct ramet_err *err)
{
    const struct ramet_packed_frame *const packed = &frame->packed;
    const size_t estimate = entry_estimate(
        frame, writer->last_pgno,
        writer->pending_count > 0 ? writer->pending_end : frame->offset);

    assert(frame->offset >= RAMET_SEGMENT_HEADER_SIZE);
    assert(packed->first_pgno > writer->last_pgno);
    if (writer->pending_bytes + estimate > RAMET_TABLE_CHUNK_BYTES) {
        const enum ramet_rc rc = cut_chunk(writer, err);

        if (rc != RAMET_OK)
            return rc;
    }
    assert(writer->pending_count < PENDING_MAX);
    writer->frames[writer->pending_count++] = (struct ramet_frame){
        .extent.offset_bytes = frame->offset,
        .extent.length_bytes = packed->length_bytes,
        .extent.hash_algo = RAMET_HASH_XXH3_128,
        .extent.hash = packed->hash,
        .kind = writer->has_dict ? RAMET_FRAME_DICT : RAMET_FRAME_PLAIN,
        .first_pgno = packed->first_pgno,
        .page_count = packed->page_count,
    };
    writer->pending_bytes += estimate;
    writer->pending_end = frame->offset + packed->length_bytes;
    if (writer->first_pgno == 0)
        writer->first_pgno = packed->first_pgno;
    writer->last_pgno = packed->first_pgno + (packed->page_count - 1);
    return RAMET_OK;
}

static int
compare_laid(const void *left, const void *right)
{
    const uint32_t a = ((const struct laid_frame *)left)->packed.first_pgno;
    const uint32_t b = ((const struct laid_frame *)right)->packed.first_pgno;

    assert(left == right || a != b);
    return (a > b) - (a < b);
}

/* The group is whole: invariant (4). */
static enum ramet_rc
end_group(struct ramet_segment_writer *writer, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    if (!writer->is_ascending)
        qsort(writer->laid, writer->laid_count, sizeof(writer->laid[0]),
              compare_laid);
    for (uint32_t i = 0; rc == RAMET_OK && i < writer->laid_count; i++)
        rc = add_frame(writer, &writer->laid[i], err);
    writer->laid_count = 0;
    writer->laid_bytes = 0;
    writer->is_ascending = true;
    return rc;
}

/* Note a frame that begins at `offset`. */
static enum ramet_rc
note_frame(struct ramet_segment_writer *writer,
           const struct ramet_packed_frame *packed, uint64_t offset,
           struct ramet_err *err)
{
    const struct laid_frame frame = {offset, *packed};
    const struct laid_frame *before =
        writer->laid_count > 0 ? &writer->laid[writer->laid_count - 1] : NULL;
    enum ramet_rc rc = RAMET_OK;

    if (before != NULL &&
        ramet_segment_group(before->packed.first_pgno, writer->page_size) !=
            ramet_segment_group(packed->first_pgno, writer->page_size)) {
        rc = end_group(writer, err);
        before = NULL;
    }
    if (rc == RAMET_OK && writer->laid_count == writer->laid_capacity) {
        const uint32_t capacity =
            writer->laid_capacity > 0 ? 2 * writer->laid_capacity : 64;
        struct laid_frame *const laid =
            ramet_realloc(writer->laid, capacity * sizeof(*laid));

        if (laid == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "segment: no memory");
        before = before != NULL ? &laid[writer->laid_count - 1] : NULL;
        writer->laid = laid;
        writer->laid_capacity = capacity;
    }
    if (rc != RAMET_OK)
        return rc;
    if (before != NULL && before->packed.first_pgno > packed->first_pgno)
        writer->is_ascending = false;
    writer->laid_bytes += entry_estimate(
        &frame, before != NULL ? before->packed.first_pgno : writer->last_pgno,
        offset);
    if (before != NULL && before->packed.first_pgno + 1 != packed->first_pgno)
        writer->laid_bytes += SHIFT_MAX - 1;
    writer->laid[writer->laid_count++] = frame;
    writer->frame_count++;
    return RAMET_OK;
}

/* ---- the body ------------------------------------------------------------- */

/* From memory to an upload: from now on the segment has an id. */
static enum ramet_rc
begin_upload(struct ramet_segment_writer *writer, struct ramet_err *err)
{
    struct ramet_extent extent = {.volume = writer->volume,
                                  .kind = RAMET_IN_SEGMENT};
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(writer->upload == NULL && writer->body != NULL);
    if (writer->store == NULL)
        return RAMET_FAIL(err, RAMET_ETOOBIG,
                          "segment: too large to be inlined in a commit");
    rc = ramet_id_new(&extent.segment.id, err);
    if (rc != RAMET_OK)
        return rc;
    assert(ramet_id_is_nil(&writer->id.id)); /* until now */
    assert(writer->body_len <= RAMET_SEGMENT_INLINE_MAX);
    ramet_segment_header_put(writer->body, &extent.segment, writer->page_size);
    ramet_extent_key(&extent, key);
    rc = ramet_objstore_upload_begin(writer->store, key, &writer->upload, err);
    if (rc == RAMET_OK)
        rc = ramet_objstore_upload_write(writer->upload, writer->body,
                                         (size_t)writer->body_len, err);
    if (rc != RAMET_OK)
        return rc;
    writer->id = extent.segment;
    ramet_free(writer->body);
    writer->body = NULL;
    return RAMET_OK;
}

/* ramet_compressor_sink: frames in the order of pages, on the caller's thread. */
static enum ramet_rc
take_packed(void *ctx, const struct ramet_packed *packed, struct ramet_err *err)
{
    struct ramet_segment_writer *writer = ctx;
    uint64_t offset = writer->body_len;
    enum ramet_rc rc = RAMET_OK;

    assert((writer->upload == NULL) ==
           (writer->body != NULL)); /* invariant (1) */
    for (uint32_t i = 0; i < packed->frame_count && rc == RAMET_OK; i++) {
        rc = note_frame(writer, &packed->frames[i], offset, err);
        offset += packed->frames[i].length_bytes;
    }
    if (rc == RAMET_OK && writer->upload == NULL &&
        (offset > RAMET_SEGMENT_INLINE_MAX || writer->chunk_count > 0))
        rc = begin_upload(writer, err);
    if (rc != RAMET_OK)
        return rc;
    assert(writer->upload != NULL || offset <= RAMET_SEGMENT_INLINE_MAX);
    if (writer->upload == NULL)
        memcpy(writer->body + writer->body_len, packed->bodies, packed->len);
    else
        rc = ramet_objstore_upload_write(writer->upload, packed->bodies,
                                         packed->len, err);
    assert(offset == writer->body_len + packed->len);
    writer->body_len = offset;
    return rc;
}

/* ---- the interface -------------------------------------------------------- */

enum ramet_rc
ramet_segment_writer_new(struct ramet_objstore *store,
                         const struct ramet_vid *volume, uint32_t page_size,
                         const struct ramet_codec *codec,
                         struct ramet_segment_writer **out_writer,
                         struct ramet_err *err)
{
    static const struct ramet_codec usual = {0};
    struct ramet_segment_writer *writer = ramet_calloc(1, sizeof(*writer));
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_page_size_valid(page_size));
    codec = codec != NULL ? codec : &usual;
    if (writer != NULL) {
        ramet_buf_init(&writer->table, TABLE_BYTES_MAX);
        writer->body = ramet_alloc(RAMET_SEGMENT_INLINE_MAX);
        writer->frames = ramet_alloc(PENDING_MAX * sizeof(*writer->frames));
    }
    if (writer == NULL || writer->body == NULL || writer->frames == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "segment: no memory");
        goto done;
    }
    writer->store = store;
    writer->volume = *volume;
    writer->page_size = page_size;
    writer->has_dict = codec->dict != NULL;
    writer->dict_extent = codec->dict_extent;
    writer->body_len = RAMET_SEGMENT_HEADER_SIZE;
    writer->is_ascending = true;
    ramet_segment_header_put(writer->body, &writer->id, page_size);
    rc = ramet_compressor_new(page_size, codec, take_packed, writer,
                              &writer->compressor, err);
    if (rc != RAMET_OK)
        goto done;
    *out_writer = writer;
    writer = NULL; /* now the caller's */
done:
    ramet_segment_writer_abort(writer);
    return rc;
}

enum ramet_rc
ramet_segment_writer_add(struct ramet_segment_writer *writer, uint32_t pgno,
                         const uint8_t *page, struct ramet_err *err)
{
    assert(pgno >= 1 && page != NULL);
    assert(writer->last_added == 0 ||
           ramet_segment_group(pgno, writer->page_size) >=
               ramet_segment_group(writer->last_added, writer->page_size));
    if (writer->failed != RAMET_OK)
        return RAMET_FAIL(err, writer->failed, "segment: failed earlier");
    writer->last_added = pgno;
    writer->failed = ramet_compressor_add(writer->compressor, pgno, page, err);
    return writer->failed;
}

uint64_t
ramet_segment_writer_size(const struct ramet_segment_writer *writer)
{
    const uint64_t table =
        writer->table.len + writer->pending_bytes + writer->laid_bytes;
    const uint64_t bytes = writer->body_len + table;

    assert(writer->table.len <= TABLE_BYTES_MAX);
    return table * TABLE_WEIGHT > bytes ? table * TABLE_WEIGHT : bytes;
}

/* Write what stands behind the frames, and make the object appear. */
static enum ramet_rc
finish_upload(struct ramet_segment_writer *writer, struct ramet_err *err)
{
    struct ramet_upload *upload;
    enum ramet_rc rc = RAMET_OK;

    assert(writer->frame_count > 0);
    if (writer->chunk_count > 0 && writer->pending_count > 0)
        rc = cut_chunk(writer, err);
    if (rc == RAMET_OK && writer->upload == NULL)
        rc = begin_upload(writer, err);
    if (rc == RAMET_OK && writer->table.len > 0)
        rc = ramet_objstore_upload_write(writer->upload, writer->table.data,
                                         writer->table.len, err);
    if (rc != RAMET_OK)
        return rc;
    assert(writer->chunk_count == 0 || writer->pending_count == 0);
    for (uint32_t i = 0; i < writer->chunk_count; i++)
        writer->chunks[i].offset_bytes += writer->body_len;
    upload = writer->upload;
    writer->upload = NULL; /* finish frees it, whatever it returns */
    return ramet_objstore_upload_finish(upload, err);
}

/* Complete the places of the frames that the caller gets. */
static void
complete_frames(struct ramet_segment_writer *writer, bool in_commit)
{
    assert(in_commit == ramet_id_is_nil(&writer->id.id));
    for (uint32_t i = 0; i < writer->pending_count; i++) {
        struct ramet_frame *frame = &writer->frames[i];

        frame->extent.volume = writer->volume;
        frame->extent.kind = in_commit ? RAMET_IN_COMMIT : RAMET_IN_SEGMENT;
        frame->extent.segment = writer->id;
        if (writer->has_dict)
            frame->base = writer->dict_extent;
    }
}

/* Move frames, chunks and figures into *out_info. */
static void
hand_over(struct ramet_segment_writer *writer,
          struct ramet_segment_info *out_info)
{
    assert(writer->first_pgno >= 1 && writer->first_pgno <= writer->last_pgno);
    assert(writer->chunk_count > 0 ||
           writer->pending_count == writer->frame_count); /* invariant (2) */
    *out_info = (struct ramet_segment_info){
        .id = writer->id,
        .size_bytes = writer->body_len + writer->table.len,
        .frame_count = writer->frame_count,
        .first_pgno = writer->first_pgno,
        .last_pgno = writer->last_pgno,
        .has_dict = writer->has_dict,
        .chunk_count = writer->chunk_count,
    };
    if (writer->has_dict)
        out_info->dict = writer->dict_extent;
    if (writer->chunk_count > 0) {
        out_info->chunks = writer->chunks;
        writer->chunks = NULL;
    } else {
        out_info->frames = writer->frames;
        writer->frames = NULL;
    }
}

/* In a commit the frames stand without a header. */
static void
give_inline(struct ramet_segment_writer *writer, uint8_t **out_inline,
            size_t *out_inline_len)
{
    *out_inline_len = (size_t)writer->body_len - RAMET_SEGMENT_HEADER_SIZE;
    memmove(writer->body, writer->body + RAMET_SEGMENT_HEADER_SIZE,
            *out_inline_len);
    *out_inline = writer->body;
    writer->body = NULL; /* now the caller's */
}

enum ramet_rc
ramet_segment_writer_finish(struct ramet_segment_writer *writer,
                            bool allow_inline,
                            struct ramet_segment_info *out_info,
                            uint8_t **out_inline, size_t *out_inline_len,
                            struct ramet_err *err)
{
    enum ramet_rc rc = writer->failed;
    bool in_commit;

    assert(out_info != NULL && out_inline != NULL && out_inline_len != NULL);
    if (rc != RAMET_OK)
        rc = RAMET_FAIL(err, rc, "segment: failed earlier");
    else
        rc = ramet_compressor_flush(writer->compressor, err);
    if (rc == RAMET_OK)
        rc = end_group(writer, err);
    if (rc != RAMET_OK)
        goto done;
    if (writer->frame_count == 0) {
        memset(out_info, 0, sizeof(*out_info));
        *out_inline = NULL;
        *out_inline_len = 0;
        goto done;
    }
    in_commit =
        allow_inline && writer->upload == NULL && writer->chunk_count == 0;
    if (!in_commit)
        rc = finish_upload(writer, err);
    if (rc != RAMET_OK)
        goto done;
    complete_frames(writer, in_commit);
    hand_over(writer, out_info);
    *out_inline = NULL;
    *out_inline_len = 0;
    if (in_commit)
        give_inline(writer, out_inline, out_inline_len);
done:
    ramet_segment_writer_abort(writer);
    return rc;
}

void
ramet_segment_writer_abort(struct ramet_segment_writer *writer)
{
    if (writer == NULL)
        return;
    assert(writer->upload == NULL || writer->store != NULL);
    ramet_compressor_free(writer->compressor);
    ramet_objstore_upload_abort(writer->upload);
    ramet_buf_done(&writer->table);
    ramet_free(writer->body);
    ramet_free(writer->laid);
    ramet_free(writer->frames);
    ramet_free(writer->chunks);
    ramet_free(writer);
}
