/*
 * frame_table.c - where a segment's frames are, as few bytes; docs/format.md,
 * "Frame table" and "Table chunk".
 *
 * Decoding is the only code here that looks at foreign bytes. Past it holds:
 *   (1) frames ascend strictly by page number without overlap. Where they lie
 *       ascends in no way, and two may have bytes in common: what is in a body is
 *       vouched for by its hash, and who reads makes sure of memory and time by
 *       the frames that he asks for;
 *   (2) 1 <= page_count <= RAMET_FRAME_PAGES_MAX, no page number overflows;
 *   (3) every body is non-empty, at most RAMET_FRAME_BYTES_MAX, and lies
 *       behind the segment's header and before its end;
 *   (4) kind is PLAIN, or DICT and then the dictionary is known.
 *
 * Layer: pagestore.
 */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "pagestore/segment.h"

static_assert(RAMET_FRAME_ENTRY_MIN == 1 + 1 + RAMET_HASH_SIZE,
              "an entry is at least gap, length, hash");

/* Beside the gap: what else an entry has. */
#define HAS_SHAPE 1u /* kind and page count */
#define HAS_SHIFT 2u
#define FLAG_BITS 2u

/* What the entries of one table leave out. */
struct usual {
    uint8_t hash_algo;
    uint8_t kind;
    uint32_t page_count;
};

/* ---- encoding ------------------------------------------------------------- */

static uint32_t
commonest_page_count(const struct ramet_frame *frames, uint32_t count)
{
    uint32_t seen[RAMET_FRAME_PAGES_MAX + 1] = {0};
    uint32_t best = 1;

    assert(frames != NULL && count > 0);
    for (uint32_t i = 0; i < count; i++)
        seen[frames[i].page_count]++;
    for (uint32_t n = 2; n <= RAMET_FRAME_PAGES_MAX; n++)
        if (seen[n] > seen[best])
            best = n;
    return best;
}

/* Can `frame` follow one that ends at page `last`? */
static bool
is_encodable(const struct ramet_frame *frame, uint8_t hash_algo, uint32_t last)
{
    return frame->page_count >= 1 &&
           frame->page_count <= RAMET_FRAME_PAGES_MAX &&
           frame->first_pgno > last &&
           frame->page_count - 1 <= UINT32_MAX - frame->first_pgno &&
           frame->extent.offset_bytes >= RAMET_SEGMENT_HEADER_SIZE &&
           frame->extent.length_bytes >= 1 &&
           frame->extent.length_bytes <= RAMET_FRAME_BYTES_MAX &&
           frame->extent.offset_bytes <=
               INT64_MAX - (uint64_t)frame->extent.length_bytes &&
           frame->extent.hash_algo == hash_algo &&
           (frame->kind == RAMET_FRAME_PLAIN ||
            frame->kind == RAMET_FRAME_DICT);
}

static bool
all_encodable(const struct ramet_frame *frames, uint32_t count)
{
    uint32_t last = 0;

    assert(frames != NULL && count > 0);
    for (uint32_t i = 0; i < count; i++) {
        const struct ramet_frame *frame = &frames[i];

        if (!is_encodable(frame, frames[0].extent.hash_algo, last))
            return false;
        last = frame->first_pgno + (frame->page_count - 1);
    }
    return true;
}

/* From where the frame before ends to where this one begins, either way. */
static uint64_t
shift_code(uint64_t end, uint64_t offset)
{
    assert(end <= INT64_MAX && offset <= INT64_MAX);
    return offset >= end ? (offset - end) << 1 : ((end - offset) << 1) - 1;
}

static void
encode_entry(const struct ramet_frame *frame, const struct usual *usual,
             uint32_t last, uint64_t end, struct ramet_buf *out)
{
    const uint64_t gap = frame->first_pgno - last - 1;
    const bool has_shape = (uint8_t)frame->kind != usual->kind ||
                           frame->page_count != usual->page_count;
    const bool has_shift = frame->extent.offset_bytes != end;

    assert(frame->first_pgno > last); /* invariant (1) */
    ramet_buf_varint(out, gap << FLAG_BITS | (has_shape ? HAS_SHAPE : 0u) |
                              (has_shift ? HAS_SHIFT : 0u));
    if (has_shape) {
        ramet_buf_u8(out, (uint8_t)frame->kind);
        ramet_buf_u8(out, (uint8_t)(frame->page_count - 1));
    }
    if (has_shift)
        ramet_buf_varint(out, shift_code(end, frame->extent.offset_bytes));
    ramet_buf_varint(out, frame->extent.length_bytes - 1);
    ramet_buf_bytes(out, frame->extent.hash.bytes, RAMET_HASH_SIZE);
}

enum ramet_rc
ramet_frame_table_encode(const struct ramet_frame *frames, uint32_t count,
                         struct ramet_buf *out)
{
    struct usual usual;
    uint64_t end;
    uint32_t last = 0;

    assert(frames != NULL || count == 0);
    if (count == 0)
        return out->failed;
    if (!all_encodable(frames, count))
        return RAMET_EINVAL;
    usual.hash_algo = frames[0].extent.hash_algo;
    usual.kind = (uint8_t)frames[0].kind;
    usual.page_count = commonest_page_count(frames, count);
    end = frames[0].extent.offset_bytes;

    ramet_buf_u8(out, usual.hash_algo);
    ramet_buf_u8(out, usual.kind);
    ramet_buf_u8(out, (uint8_t)(usual.page_count - 1));
    ramet_buf_varint(out, end);
    for (uint32_t i = 0; i < count; i++) {
        encode_entry(&frames[i], &usual, last, end, out);
        last = frames[i].first_pgno + (frames[i].page_count - 1);
        end = frames[i].extent.offset_bytes + frames[i].extent.length_bytes;
    }
    return out->failed;
}

/* ---- decoding ------------------------------------------------------------- */

static enum ramet_rc
decode_usual(struct ramet_reader *in, struct usual *out, struct ramet_err *err)
{
    out->hash_algo = ramet_read_u8(in);
    out->kind = ramet_read_u8(in);
    out->page_count = (uint32_t)ramet_read_u8(in) + 1;
    if (in->bad)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "frame table: truncated");
    if (out->hash_algo != RAMET_HASH_XXH3_128)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "frame table: hash algorithm %u is of a later "
                          "version",
                          out->hash_algo);
    if (out->page_count > RAMET_FRAME_PAGES_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "frame table: %u pages a frame",
                          out->page_count);
    assert(out->page_count >= 1); /* invariant (2) */
    return RAMET_OK;
}

static enum ramet_rc
check_kind(uint8_t kind, const struct ramet_extent *dict, struct ramet_err *err)
{
    assert(dict == NULL || dict->length_bytes > 0);
    if (kind > RAMET_FRAME_DICT)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "frame table: frame kind %u is of a later version",
                          kind);
    if (kind == RAMET_FRAME_DICT && dict == NULL)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "frame table: a frame with a dictionary, and the "
                          "segment has none");
    return RAMET_OK;
}

/* Where a body of `length` bytes lies that is moved by `shift` from `end`. False: not
 * between the segment's header and its end. Invariant (3). */
static bool
find_place(uint64_t end, uint64_t shift, uint64_t length, uint64_t object_size,
           uint64_t *out_offset)
{
    const uint64_t by = (shift >> 1) + (shift & 1);

    assert(length >= 1);
    if (end < RAMET_SEGMENT_HEADER_SIZE || end > object_size)
        return false;
    if ((shift & 1) != 0 ? by > end - RAMET_SEGMENT_HEADER_SIZE
                         : by > object_size - end)
        return false;
    *out_offset = (shift & 1) != 0 ? end - by : end + by;
    return length <= object_size - *out_offset;
}

/* One entry; *last and *end move on behind it. Invariants (1) to (4). */
static enum ramet_rc
decode_entry(struct ramet_reader *in, const struct usual *usual,
             const struct ramet_extent *dict, uint64_t object_size,
             uint32_t *last, uint64_t *end, struct ramet_frame *frame,
             struct ramet_err *err)
{
    const uint64_t head =
        ramet_read_varint_max(in, ((uint64_t)UINT32_MAX << FLAG_BITS) + 3);
    const bool has_shape = (head & HAS_SHAPE) != 0;
    const uint8_t kind = has_shape ? ramet_read_u8(in) : usual->kind;
    const uint32_t page_count =
        has_shape ? (uint32_t)ramet_read_u8(in) + 1 : usual->page_count;
    const uint64_t shift = (head & HAS_SHIFT) != 0 ? ramet_read_varint(in) : 0;
    const uint64_t length =
        ramet_read_varint_max(in, RAMET_FRAME_BYTES_MAX - 1) + 1;
    const uint8_t *hash = ramet_read_bytes(in, RAMET_HASH_SIZE);
    const uint64_t first = (uint64_t)*last + 1 + (head >> FLAG_BITS);
    uint64_t offset;
    enum ramet_rc rc;

    if (in->bad)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "frame table: broken after page %" PRIu32, *last);
    rc = check_kind(kind, dict, err);
    if (rc != RAMET_OK)
        return rc;
    if (page_count > RAMET_FRAME_PAGES_MAX ||
        first + page_count - 1 > UINT32_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "frame table: %" PRIu32 " pages from %" PRIu64,
                          page_count, first);
    if (!find_place(*end, shift, length, object_size, &offset))
        return RAMET_FAIL(
            err, RAMET_ECORRUPT,
            "frame table: page %" PRIu64 " does not lie in its segment", first);
    assert(first > *last && page_count >= 1); /* invariants (1), (2) */
    assert(offset + length <= object_size);   /* (3) */
    frame->kind = (enum ramet_frame_kind)kind;
    frame->first_pgno = (uint32_t)first;
    frame->page_count = page_count;
    frame->extent.offset_bytes = offset;
    frame->extent.length_bytes = (uint32_t)length;
    frame->extent.hash_algo = usual->hash_algo;
    memcpy(frame->extent.hash.bytes, hash, RAMET_HASH_SIZE);
    *last = (uint32_t)(first + page_count - 1);
    *end = offset + length;
    return RAMET_OK;
}

enum ramet_rc
ramet_frame_table_decode(struct ramet_reader *in, uint32_t count,
                         const struct ramet_extent *context,
                         const struct ramet_extent *dict, uint64_t object_size,
                         struct ramet_frame *out_frames, struct ramet_err *err)
{
    struct usual usual;
    uint64_t end;
    uint32_t last = 0;
    enum ramet_rc rc;

    assert(out_frames != NULL || count == 0);
    if (count == 0)
        return RAMET_OK;
    if (object_size > UINT64_MAX - context->offset_bytes)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "frame table: an object of %" PRIu64 " bytes",
                          object_size);
    rc = decode_usual(in, &usual, err);
    if (rc != RAMET_OK)
        return rc;
    rc = check_kind(usual.kind, dict, err);
    if (rc != RAMET_OK)
        return rc;
    end = ramet_read_varint(in);
    if (!in->bad && end < RAMET_SEGMENT_HEADER_SIZE)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "frame table: a frame inside the header");
    for (uint32_t i = 0; i < count; i++) {
        struct ramet_frame frame = {.extent = *context};

        rc = decode_entry(in, &usual, dict, object_size, &last, &end, &frame,
                          err);
        if (rc != RAMET_OK)
            return rc;
        frame.extent.offset_bytes += context->offset_bytes;
        if (frame.kind == RAMET_FRAME_DICT)
            frame.base = *dict;
        out_frames[i] = frame;
    }
    return RAMET_OK;
}

/* ---- chunks --------------------------------------------------------------- */

static enum ramet_rc
decode_chunk_frames(const struct ramet_table_chunk *chunk,
                    struct ramet_reader *in, uint32_t count,
                    const struct ramet_extent *context,
                    const struct ramet_extent *dict, uint64_t object_size,
                    struct ramet_frame *frames, struct ramet_err *err)
{
    const struct ramet_frame *last = &frames[count - 1];
    const enum ramet_rc rc = ramet_frame_table_decode(in, count, context, dict,
                                                      object_size, frames, err);

    assert(count > 0);
    if (rc != RAMET_OK)
        return rc;
    if (ramet_reader_left(in) != 0 ||
        frames[0].first_pgno != chunk->first_pgno ||
        last->first_pgno + (last->page_count - 1) != chunk->last_pgno)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "frame table: the chunk at %" PRIu64
                          " is not the one for pages %" PRIu32 " to %" PRIu32,
                          chunk->offset_bytes, chunk->first_pgno,
                          chunk->last_pgno);
    return RAMET_OK;
}

enum ramet_rc
ramet_table_chunk_decode(const struct ramet_table_chunk *chunk,
                         const uint8_t *bytes, size_t len,
                         const struct ramet_extent *context,
                         const struct ramet_extent *dict, uint64_t object_size,
                         struct ramet_frame **out_frames, uint32_t *out_count,
                         struct ramet_err *err)
{
    const struct ramet_hash hash = ramet_hash128(bytes, len);
    struct ramet_frame *frames;
    struct ramet_reader in;
    uint64_t count;
    enum ramet_rc rc;

    assert(bytes != NULL || len == 0);
    if (len != chunk->length_bytes || !ramet_hash_equal(&hash, &chunk->hash))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "frame table: wrong checksum of the chunk at "
                          "%" PRIu64,
                          chunk->offset_bytes);
    ramet_reader_init(&in, bytes, len);
    count = ramet_read_varint_max(&in, len / RAMET_FRAME_ENTRY_MIN);
    if (in.bad || count == 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "frame table: bad count in the chunk at %" PRIu64,
                          chunk->offset_bytes);
    frames = ramet_alloc((size_t)count * sizeof(*frames));
    if (frames == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "frame table: %" PRIu64 " frames",
                          count);
    rc = decode_chunk_frames(chunk, &in, (uint32_t)count, context, dict,
                             object_size, frames, err);
    if (rc != RAMET_OK) {
        ramet_free(frames);
        return rc;
    }
    *out_frames = frames;
    *out_count = (uint32_t)count;
    return RAMET_OK;
}

enum ramet_rc
ramet_table_chunk_read(struct ramet_objstore *store,
                       const struct ramet_vid *volume,
                       const struct ramet_segment_info *info, uint32_t index,
                       struct ramet_frame **out_frames, uint32_t *out_count,
                       struct ramet_err *err)
{
    const struct ramet_table_chunk *chunk = &info->chunks[index];
    const struct ramet_extent context = {
        .volume = *volume, .kind = RAMET_IN_SEGMENT, .segment = info->id};
    char key[RAMET_KEY_MAX];
    uint8_t *bytes = NULL;
    enum ramet_rc rc;

    assert(index < info->chunk_count);
    assert(!ramet_id_is_nil(&info->id.id)); /* an inline one has none */
    ramet_extent_key(&context, key);
    if (chunk->length_bytes > RAMET_TABLE_CHUNK_BYTES_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: a frame table chunk of %" PRIu32 " bytes", key,
                          chunk->length_bytes);
    bytes = ramet_alloc(chunk->length_bytes);
    if (bytes == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: frame table", key);
    rc = ramet_objstore_read_full(store, key, chunk->offset_bytes, bytes,
                                  chunk->length_bytes, err);
    if (rc == RAMET_OK)
        rc = ramet_table_chunk_decode(
            chunk, bytes, chunk->length_bytes, &context,
            info->has_dict ? &info->dict : NULL, info->size_bytes, out_frames,
            out_count, err);
    ramet_free(bytes);
    return rc;
}
