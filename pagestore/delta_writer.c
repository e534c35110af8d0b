/*
 * delta_writer.c - see delta_writer.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/delta_writer.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/codec.h"
#include "pagestore/delta_steps.h"
#include "pagestore/segment.h"
#include "pagestore/segment_header.h"

/* A delta is counted as this part of its bytes, which is what is left of most of them
 * once their block is compressed. */
#define LEFT_NUMERATOR 5u
#define LEFT_DENOMINATOR 8u
/* What the first block may hold; each further one as much as leaves
 * RAMET_DELTA_BODY_BYTES if it is like the one before. */
#define FIRST_CONTENT (RAMET_DELTA_BODY_BYTES / 2 * 3)
/* The frame of so little takes no time whatever the level, and some bytes less. */
#define LITTLE 512u
#define LITTLE_LEVEL 12
#define AGEING 8u /* see note_image() */
#define USED_UNIT 4096u
/* Of zstd, to see what something takes: a few hundredths more than it will. */
#define SCALE_LEVEL 1
/* What a delta may take beyond a page before it is compressed. */
#define STEPS_ROOM 64u

static_assert(RAMET_DELTA_CONTENT_BYTES_MAX + 2 * RAMET_PAGE_SIZE_MAX <=
                  RAMET_DELTA_BLOCK_MAX,
              "readers accept the largest block that is written");

struct ramet_delta_writer {
    uint32_t page_size;
    int level;           /* of blocks that are not little */
    ZSTD_CCtx *cctx;     /* of blocks */
    ZSTD_CCtx *scale;    /* to see what deltas and images take */
    const uint8_t *dict; /* of images; NULL: none */
    size_t dict_len;
    const ZSTD_CDict *cdict; /* made of it for the first image asked about */
    void *cdict_block;       /* which it lives in */
    struct ramet_delta_maker *maker;
    uint8_t *made;       /* a page */
    uint8_t *image;      /* ZSTD_compressBound() of two pages */
    uint32_t usual_part; /* of USED_UNIT used bytes, what images take; 0: none
                             was compressed, or to nearly nothing */
    uint8_t *tried;      /* copy of the delta that is kept; NULL: none is */
    struct ramet_delta kept;
    struct ramet_buf sums, steps, literals; /* of the block that is open */
    uint32_t content_pages;
    size_t content_most;
    struct ramet_buf content, bodies;
    struct ramet_delta_block *blocks;
    uint32_t block_count, block_capacity;
};

enum ramet_rc
ramet_delta_writer_new(uint32_t page_size, int level, size_t max_bytes,
                       struct ramet_delta_writer **out_writer,
                       struct ramet_err *err)
{
    struct ramet_delta_writer *const writer = ramet_calloc(1, sizeof(*writer));

    assert(ramet_page_size_valid(page_size));
    if (writer != NULL) {
        writer->page_size = page_size;
        writer->level = level;
        writer->content_most = FIRST_CONTENT;
        ramet_buf_init(&writer->sums, RAMET_DELTA_BLOCK_MAX);
        ramet_buf_init(&writer->steps, RAMET_DELTA_BLOCK_MAX);
        ramet_buf_init(&writer->literals, RAMET_DELTA_BLOCK_MAX);
        ramet_buf_init(&writer->content, RAMET_DELTA_BLOCK_MAX);
        ramet_buf_init(&writer->bodies, max_bytes);
        writer->cctx = ZSTD_createCCtx_advanced(ramet_codec_mem);
        writer->scale = ZSTD_createCCtx_advanced(ramet_codec_mem);
        writer->maker = ramet_delta_maker_new(page_size);
        writer->made = ramet_alloc(page_size);
        writer->image = ramet_alloc(ZSTD_compressBound(2 * (size_t)page_size));
    }
    if (writer == NULL || writer->cctx == NULL || writer->scale == NULL ||
        writer->maker == NULL || writer->made == NULL ||
        writer->image == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(
            writer->scale, ZSTD_c_compressionLevel, SCALE_LEVEL))) {
        ramet_delta_writer_free(writer);
        return RAMET_FAIL(err, RAMET_ENOMEM, "deltas: no memory");
    }
    *out_writer = writer;
    return RAMET_OK;
}

void
ramet_delta_writer_free(struct ramet_delta_writer *writer)
{
    if (writer == NULL)
        return;
    ZSTD_freeCCtx(writer->cctx);
    ZSTD_freeCCtx(writer->scale);
    ramet_delta_maker_free(writer->maker);
    ramet_buf_done(&writer->sums);
    ramet_buf_done(&writer->steps);
    ramet_buf_done(&writer->literals);
    ramet_buf_done(&writer->content);
    ramet_buf_done(&writer->bodies);
    ramet_free(writer->cdict_block);
    ramet_free(writer->made);
    ramet_free(writer->image);
    ramet_free(writer->tried);
    ramet_free(writer->blocks);
    ramet_free(writer);
}

void
ramet_delta_writer_set_dict(struct ramet_delta_writer *writer,
                            const uint8_t *dict, size_t len)
{
    assert(writer->dict == NULL);
    assert(dict != NULL && len > 0);
    writer->dict = dict;
    writer->dict_len = len;
}

void
ramet_delta_writer_forget(struct ramet_delta_writer *writer)
{
    assert(writer != NULL);
    ramet_free(writer->tried);
    writer->tried = NULL;
}

/* ---- one page ------------------------------------------------------------- */

/* Make a delta that gives the page back: invariant (1). With the tables, or if what they
 * point to is not as they say, without. */
static bool
make_checked(struct ramet_delta_writer *writer, const uint8_t *base,
             const struct ramet_delta_shape *base_shape, const uint8_t *page,
             const struct ramet_delta_shape *shape, uint32_t most,
             struct ramet_delta *out_delta)
{
    static const struct ramet_delta_shape nothing;
    const struct ramet_delta_shape *const shapes[2][2] = {{base_shape, shape},
                                                          {&nothing, &nothing}};
    struct ramet_delta delta;

    assert(base != page);
    for (unsigned i = 0; i < 2; i++) {
        if (!ramet_delta_make(writer->maker, base, shapes[i][0], page,
                              shapes[i][1], most, &delta)) {
            if (ramet_delta_maker_is_over(writer->maker))
                break; /* without the tables it is hardly ever less: not worth
                          another look */
            continue;
        }
        if (ramet_delta_makes(&delta, base, page, writer->page_size,
                              writer->made)) {
            delta.sum = ramet_hash64(page, writer->page_size);
            *out_delta = delta;
            return true;
        }
    }
    return false;
}

/* What a delta of so many bytes takes in a block, about. */
static uint32_t
count_delta(size_t len)
{
    assert(len > 0 && len <= RAMET_DELTA_BLOCK_MAX);
    return (uint32_t)(len * LEFT_NUMERATOR / LEFT_DENOMINATOR) +
           RAMET_DELTA_SUM_SIZE;
}

/* The other way about: how many bytes one may have that takes at most `most`. */
static uint32_t
most_bytes(const struct ramet_delta_writer *writer, uint32_t most)
{
    const uint32_t room = writer->page_size + STEPS_ROOM;
    const uint64_t left =
        most > RAMET_DELTA_SUM_SIZE ? most - RAMET_DELTA_SUM_SIZE : 0;
    const uint64_t bytes = ((left + 1) * LEFT_DENOMINATOR - 1) / LEFT_NUMERATOR;

    return bytes < room ? (uint32_t)bytes : room;
}

enum ramet_rc
ramet_delta_writer_try(struct ramet_delta_writer *writer, const uint8_t *base,
                       const struct ramet_delta_shape *base_shape,
                       const uint8_t *page,
                       const struct ramet_delta_shape *shape, uint32_t most,
                       uint32_t *out_length, struct ramet_err *err)
{
    const size_t room = writer->bodies.max - writer->bodies.len;
    const uint32_t page_size = writer->page_size;
    struct ramet_delta delta, kept;
    uint32_t length;
    uint8_t *copy;

    assert(writer->bodies.len <= writer->bodies.max);
    *out_length = 0;
    /* An open block and this one may come out a little larger than they are. */
    if (room < 2 * (RAMET_DELTA_CONTENT_BYTES_MAX + 2 * (size_t)page_size) ||
        !make_checked(writer, base, base_shape, page, shape,
                      most_bytes(writer, most), &delta))
        return RAMET_OK;
    copy = ramet_delta_copy(&delta, &kept);
    if (copy == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "delta: no memory");
    length = count_delta((size_t)kept.steps_len + kept.literals_len);
    ramet_delta_writer_forget(writer);
    writer->tried = copy;
    writer->kept = kept;
    assert(length > 0 && length <= most);
    *out_length = length;
    return RAMET_OK;
}

/* The dictionary is made ready where an image is first asked about: most small commits
 * ask about none. */
static void
open_dict(struct ramet_delta_writer *writer)
{
    if (writer->cdict != NULL || writer->dict == NULL)
        return;
    writer->cdict =
        ramet_codec_cdict(writer->dict, writer->dict_len, SCALE_LEVEL,
                          writer->page_size, &writer->cdict_block);
    if (writer->cdict == NULL)
        writer->dict = NULL; /* it is done without */
}

/* What `len` bytes take, by themselves or with the dictionary of images; what can't be
 * compressed takes what it is. */
static uint32_t
weigh(struct ramet_delta_writer *writer, const uint8_t *bytes, size_t len,
      const ZSTD_CDict *cdict)
{
    const size_t bound = ZSTD_compressBound(2 * (size_t)writer->page_size);
    size_t got;

    assert(bytes != NULL && len <= 2 * (size_t)writer->page_size);
    if (cdict != NULL)
        got = ZSTD_compress_usingCDict(writer->scale, writer->image, bound,
                                       bytes, len, cdict);
    else
        got = ZSTD_compress2(writer->scale, writer->image, bound, bytes, len);
    return ZSTD_isError(got) || got > len ? (uint32_t)len : (uint32_t)got;
}

/* What images take of their pages' used bytes is taken to be the least of late: it falls
 * at once, and rises slowly. What lies about in the rest of a page, as rows that were
 * deleted do, may take more than they: that tells nothing of other pages. */
static void
note_image(struct ramet_delta_writer *writer, uint32_t size, uint32_t used)
{
    const uint32_t part =
        size < used ? (uint32_t)((uint64_t)size * USED_UNIT / used) : USED_UNIT;

    assert(used > 0 && used <= writer->page_size);
    if (part > writer->usual_part && writer->usual_part > 0)
        writer->usual_part += (part - writer->usual_part) / AGEING;
    else
        writer->usual_part = part;
}

/* The bytes of a page that are not between its table and what that points to. */
static uint32_t
count_used(const struct ramet_delta_writer *writer, const uint8_t *page,
           const struct ramet_delta_shape *shape)
{
    const uint32_t end = shape->table + 2 * shape->count;
    uint32_t lone;

    if (shape->count == 0)
        return writer->page_size;
    lone = ramet_get_be16(page + shape->lone);
    assert(end <= writer->page_size);
    return lone > end && lone <= writer->page_size
               ? writer->page_size - (lone - end)
               : writer->page_size;
}

/* The same, if it is compressed no better than images are: what of a page is new may be
 * as they are. */
static uint32_t
count_as_image(const struct ramet_delta_writer *writer, size_t len)
{
    const uint32_t usual = (uint32_t)(len * writer->usual_part / USED_UNIT);
    const uint32_t most = count_delta(len);

    return usual > most ? usual : most;
}

bool
ramet_delta_writer_is_less(struct ramet_delta_writer *writer,
                           const uint8_t *page,
                           const struct ramet_delta_shape *shape,
                           uint32_t quarters, uint32_t *out_image)
{
    const size_t len =
        (size_t)writer->kept.steps_len + writer->kept.literals_len;
    const uint32_t used = count_used(writer, page, shape);
    uint32_t image =
        (uint32_t)((uint64_t)writer->usual_part * used / USED_UNIT);

    assert(writer->tried != NULL && quarters <= 4);
    *out_image = image;
    if (image > 0 && count_as_image(writer, len) <= image / 4 * quarters)
        return true; /* without a look at its image */
    open_dict(writer);
    image = weigh(writer, page, writer->page_size, writer->cdict);
    note_image(writer, image, used);
    *out_image = image;
    if (len > image / 4 * quarters &&
        weigh(writer, writer->tried, len, NULL) > image / 4 * quarters)
        return false;
    return true;
}

static enum ramet_rc
grow_blocks(struct ramet_delta_writer *writer)
{
    const uint32_t capacity =
        writer->block_capacity == 0 ? 8 : writer->block_capacity * 2;
    struct ramet_delta_block *grown;

    assert(writer->block_count <= writer->block_capacity);
    if (writer->block_count < writer->block_capacity)
        return RAMET_OK;
    grown = ramet_realloc(writer->blocks, capacity * sizeof(*grown));
    if (grown == NULL)
        return RAMET_ENOMEM;
    writer->blocks = grown;
    writer->block_capacity = capacity;
    return RAMET_OK;
}

/* The content of the open block's frame, and its front, with room for the frame's sum. */
static bool
put_content(struct ramet_delta_writer *writer)
{
    assert(writer->content_pages > 0 &&
           writer->content_pages <= RAMET_DELTA_BLOCK_PAGES_MAX);
    assert(writer->sums.len ==
           (size_t)writer->content_pages * RAMET_DELTA_SUM_SIZE);
    ramet_buf_clear(&writer->content);
    ramet_buf_varint(&writer->content, writer->steps.len);
    ramet_buf_bytes(&writer->content, writer->steps.data, writer->steps.len);
    if (writer->literals.len > 0)
        ramet_buf_bytes(&writer->content, writer->literals.data,
                        writer->literals.len);
    ramet_buf_varint(&writer->bodies, writer->content_pages);
    ramet_buf_bytes(&writer->bodies, writer->sums.data, writer->sums.len);
    (void)ramet_buf_extend(&writer->bodies, RAMET_DELTA_SUM_SIZE);
    return writer->content.failed == RAMET_OK &&
           writer->bodies.failed == RAMET_OK;
}

static size_t
content_size(const struct ramet_delta_writer *writer)
{
    assert((writer->content_pages == 0) == (writer->sums.len == 0));
    return writer->sums.len + writer->steps.len + writer->literals.len;
}

/* A block of `content` bytes came out as `body`: what may the next one hold? */
static void
aim(struct ramet_delta_writer *writer, size_t content, size_t body)
{
    const size_t most = content * RAMET_DELTA_BODY_BYTES / body;

    assert(content > 0 && body > 0);
    writer->content_most =
        most < RAMET_DELTA_BODY_BYTES          ? RAMET_DELTA_BODY_BYTES
        : most > RAMET_DELTA_CONTENT_BYTES_MAX ? RAMET_DELTA_CONTENT_BYTES_MAX
                                               : most;
}

static enum ramet_rc
end_block(struct ramet_delta_writer *writer, struct ramet_err *err)
{
    const size_t start = writer->bodies.len;
    size_t bound, got, length, front;
    uint8_t *body;

    if (writer->content_pages == 0)
        return RAMET_OK;
    if (!put_content(writer) || grow_blocks(writer) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "deltas: no memory");
    front = writer->bodies.len - start;
    bound = ZSTD_compressBound(writer->content.len);
    body = ramet_buf_extend(&writer->bodies, bound);
    if (body == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "deltas: no memory");
    got = ZSTD_CCtx_setParameter(writer->cctx, ZSTD_c_compressionLevel,
                                 writer->content.len > LITTLE ? writer->level
                                                              : LITTLE_LEVEL);
    if (!ZSTD_isError(got))
        got = ZSTD_compress2(writer->cctx, body, bound, writer->content.data,
                             writer->content.len);
    if (ZSTD_isError(got))
        return RAMET_FAIL(err, RAMET_ENOMEM, "block of deltas: %s",
                          ZSTD_getErrorName(got));
    writer->bodies.len -= bound - got;
    ramet_put_be64(body - RAMET_DELTA_SUM_SIZE, ramet_hash64(body, got));
    length = front + got;
    assert(length > 0 && length <= RAMET_DELTA_BLOCK_MAX);
    writer->blocks[writer->block_count++] = (struct ramet_delta_block){
        .page_count = writer->content_pages,
        .length_bytes = (uint32_t)length,
        .hash = ramet_hash128(writer->bodies.data + start, front),
    };
    aim(writer, content_size(writer), length);
    ramet_buf_clear(&writer->sums);
    ramet_buf_clear(&writer->steps);
    ramet_buf_clear(&writer->literals);
    writer->content_pages = 0;
    return RAMET_OK;
}

const struct ramet_delta *
ramet_delta_writer_kept(const struct ramet_delta_writer *writer)
{
    assert(writer->tried != NULL);
    return &writer->kept;
}

enum ramet_rc
ramet_delta_writer_take(struct ramet_delta_writer *writer,
                        struct ramet_err *err)
{
    const struct ramet_delta *const kept = &writer->kept;
    uint8_t *sum;

    assert(writer->tried != NULL);
    assert(kept->steps == writer->tried); /* in the copy that is kept */
    if (writer->content_pages > 0 &&
        content_size(writer) + kept->steps_len + kept->literals_len >
            writer->content_most) {
        const enum ramet_rc rc = end_block(writer, err);

        if (rc != RAMET_OK)
            return rc;
    }
    sum = ramet_buf_extend(&writer->sums, RAMET_DELTA_SUM_SIZE);
    if (sum != NULL)
        ramet_put_be64(sum, kept->sum);
    ramet_buf_bytes(&writer->steps, kept->steps, kept->steps_len);
    if (kept->literals_len > 0)
        ramet_buf_bytes(&writer->literals, kept->literals, kept->literals_len);
    if (sum == NULL || writer->steps.failed != RAMET_OK ||
        writer->literals.failed != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "deltas: no memory");
    writer->content_pages++;
    ramet_delta_writer_forget(writer);
    return RAMET_OK;
}

size_t
ramet_delta_writer_size(const struct ramet_delta_writer *writer)
{
    return writer->bodies.len + (writer->content_pages > 0
                                     ? ZSTD_compressBound(content_size(writer))
                                     : 0);
}

static enum ramet_rc
append_inline(const struct ramet_delta_writer *writer, uint8_t **io_inline,
              size_t *io_inline_len, struct ramet_delta_extent *out,
              struct ramet_err *err)
{
    const size_t start = *io_inline_len;
    uint8_t *const grown =
        ramet_realloc(*io_inline, start + writer->bodies.len);

    assert(start + writer->bodies.len <= RAMET_SEGMENT_INLINE_MAX);
    if (grown == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "deltas: no memory");
    memcpy(grown + start, writer->bodies.data, writer->bodies.len);
    *io_inline = grown;
    *io_inline_len = start + writer->bodies.len;
    out->is_inline = true;
    out->offset_bytes = start + RAMET_SEGMENT_HEADER_SIZE;
    return RAMET_OK;
}

static enum ramet_rc
put_segment(const struct ramet_delta_writer *writer,
            struct ramet_objstore *store, const struct ramet_vid *volume,
            struct ramet_delta_extent *out, struct ramet_err *err)
{
    struct ramet_extent extent = {.volume = *volume, .kind = RAMET_IN_SEGMENT};
    uint8_t header[RAMET_SEGMENT_HEADER_SIZE];
    const struct iovec parts[] = {{header, sizeof(header)},
                                  {writer->bodies.data, writer->bodies.len}};
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc = ramet_id_new(&extent.segment.id, err);

    assert(store != NULL && writer->bodies.len > 0);
    if (rc != RAMET_OK)
        return rc;
    ramet_segment_header_put(header, &extent.segment, writer->page_size);
    ramet_extent_key(&extent, key);
    rc = ramet_objstore_put(store, key, parts, 2, err);
    if (rc != RAMET_OK)
        return rc;
    out->id = extent.segment;
    out->size_bytes = sizeof(header) + writer->bodies.len;
    out->offset_bytes = sizeof(header);
    return RAMET_OK;
}

enum ramet_rc
ramet_delta_writer_extent(struct ramet_delta_writer *writer,
                          struct ramet_objstore *store,
                          const struct ramet_vid *volume, bool allow_inline,
                          uint8_t **io_inline, size_t *io_inline_len,
                          struct ramet_delta_extent *out_extent,
                          struct ramet_err *err)
{
    struct ramet_delta_extent extent = {.is_inline = false};
    enum ramet_rc rc = end_block(writer, err);

    assert((*io_inline != NULL) == (*io_inline_len > 0));
    if (rc != RAMET_OK)
        return rc;
    assert(writer->block_count > 0);
    if (allow_inline &&
        *io_inline_len + writer->bodies.len <= RAMET_SEGMENT_INLINE_MAX)
        rc = append_inline(writer, io_inline, io_inline_len, &extent, err);
    else
        rc = put_segment(writer, store, volume, &extent, err);
    if (rc != RAMET_OK)
        return rc;
    extent.block_count = writer->block_count;
    extent.blocks = writer->blocks;
    writer->blocks = NULL; /* now the caller's */
    writer->block_count = writer->block_capacity = 0;
    *out_extent = extent;
    return RAMET_OK;
}
