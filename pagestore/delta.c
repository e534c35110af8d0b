/*
 * delta.c - see delta.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/delta.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/codec.h"
#include "pagestore/segment.h"
#include "pagestore/segment_header.h"

#define SUM_SIZE 8u
#define ENTRY_OVERHEAD_MAX (RAMET_VARINT_MAX + SUM_SIZE)

static_assert(RAMET_DELTA_BLOCK_BYTES + RAMET_PAGE_SIZE_MAX +
                      ENTRY_OVERHEAD_MAX <=
                  RAMET_DELTA_BLOCK_MAX / 2,
              "readers accept the largest block that is written");

static uint64_t
get_be64(const uint8_t *p)
{
    return (uint64_t)ramet_get_be32(p) << 32 | ramet_get_be32(p + 4);
}

static void
put_be64(uint8_t *p, uint64_t v)
{
    ramet_put_be32(p, (uint32_t)(v >> 32));
    ramet_put_be32(p + 4, (uint32_t)v);
}

/* ---- reading -------------------------------------------------------------- */

static bool
next_delta(struct ramet_reader *in, uint32_t page_size, struct ramet_delta *out)
{
    const uint64_t length = ramet_read_varint_max(in, page_size);
    const uint8_t *const sum = ramet_read_bytes(in, SUM_SIZE);
    const uint8_t *const bytes = ramet_read_bytes(in, (size_t)length);

    if (in->bad || length == 0)
        return false;
    *out = (struct ramet_delta){
        .bytes = bytes, .length_bytes = (uint32_t)length, .sum = get_be64(sum)};
    return true;
}

enum ramet_rc
ramet_delta_find(const uint8_t *content, size_t len, uint32_t page_size,
                 uint32_t position, struct ramet_delta *out_delta,
                 struct ramet_err *err)
{
    struct ramet_delta delta = {.length_bytes = 0};
    struct ramet_reader in;

    ramet_reader_init(&in, content, len);
    for (uint64_t i = 0; i <= position; i++) {
        if (!next_delta(&in, page_size, &delta))
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "block of deltas: has no whole delta %" PRIu32,
                              position);
    }
    *out_delta = delta;
    return RAMET_OK;
}

/* ---- writing -------------------------------------------------------------- */

struct ramet_delta_writer {
    uint32_t page_size;
    ZSTD_CCtx *with_base; /* magicless, for one delta */
    ZSTD_CCtx *plain;     /* for a block */
    ZSTD_DCtx *check;     /* invariant (2) */
    const ZSTD_CDict *cdict;
    void *cdict_block; /* which it lives in */
    uint8_t *tried;    /* page_size bytes, as the next three */
    uint8_t *trial;
    uint8_t *made;
    uint8_t *image;     /* ZSTD_compressBound() of a page */
    uint32_t tried_len; /* 0: nothing is */
    uint64_t tried_sum;
    struct ramet_buf content; /* of the block that is open */
    uint32_t content_pages;
    struct ramet_buf bodies;
    struct ramet_delta_block *blocks;
    uint32_t block_count, block_capacity;
};

static ZSTD_CCtx *
new_context(int level, bool magicless)
{
    ZSTD_CCtx *const cctx = ZSTD_createCCtx_advanced(ramet_codec_mem);

    if (cctx == NULL)
        return NULL;
    if (ZSTD_isError(
            ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag,
                                            magicless ? 0 : 1)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_dictIDFlag, 0)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(cctx, ZSTD_c_format,
                                            magicless ? ZSTD_f_zstd1_magicless
                                                      : ZSTD_f_zstd1))) {
        ZSTD_freeCCtx(cctx);
        return NULL;
    }
    return cctx;
}

enum ramet_rc
ramet_delta_writer_new(uint32_t page_size, int level, size_t max_bytes,
                       struct ramet_delta_writer **out_writer,
                       struct ramet_err *err)
{
    struct ramet_delta_writer *const writer = ramet_calloc(1, sizeof(*writer));

    assert(ramet_page_size_valid(page_size));
    if (writer != NULL) {
        writer->page_size = page_size;
        ramet_buf_init(&writer->content, RAMET_DELTA_BLOCK_MAX);
        ramet_buf_init(&writer->bodies, max_bytes);
        writer->with_base = new_context(level, true);
        writer->plain = new_context(level, false);
        writer->check = ZSTD_createDCtx_advanced(ramet_codec_mem);
        writer->tried = ramet_alloc(page_size);
        writer->trial = ramet_alloc(page_size);
        writer->made = ramet_alloc(page_size);
        writer->image = ramet_alloc(ZSTD_compressBound(page_size));
    }
    if (writer == NULL || writer->with_base == NULL || writer->plain == NULL ||
        writer->check == NULL || writer->tried == NULL ||
        writer->trial == NULL || writer->made == NULL ||
        writer->image == NULL) {
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
    ZSTD_freeCCtx(writer->with_base);
    ZSTD_freeCCtx(writer->plain);
    ZSTD_freeDCtx(writer->check);
    ramet_buf_done(&writer->content);
    ramet_buf_done(&writer->bodies);
    ramet_free(writer->cdict_block);
    ramet_free(writer->tried);
    ramet_free(writer->trial);
    ramet_free(writer->made);
    ramet_free(writer->image);
    ramet_free(writer->blocks);
    ramet_free(writer);
}

void
ramet_delta_writer_set_dict(struct ramet_delta_writer *writer,
                            const uint8_t *dict, size_t len)
{
    assert(writer->cdict == NULL);
    writer->cdict = ramet_codec_cdict(dict, len, RAMET_CODEC_LEVEL_DEFAULT,
                                      writer->page_size, &writer->cdict_block);
}

void
ramet_delta_writer_forget(struct ramet_delta_writer *writer)
{
    writer->tried_len = 0;
}

/* Invariant (2). */
static enum ramet_rc
check_trial(struct ramet_delta_writer *writer, const uint8_t *base,
            const uint8_t *page, uint32_t length, struct ramet_err *err)
{
    const struct ramet_delta delta = {
        .bytes = writer->trial,
        .length_bytes = length,
        .sum = ramet_hash64(page, writer->page_size)};
    const enum ramet_rc rc = ramet_codec_apply(
        writer->check, &delta, base, writer->page_size, writer->made, err);

    if (rc == RAMET_OK)
        writer->tried_sum = delta.sum;
    return rc;
}

enum ramet_rc
ramet_delta_writer_try(struct ramet_delta_writer *writer, const uint8_t *base,
                       const uint8_t *page, uint32_t most, uint32_t *out_length,
                       struct ramet_err *err)
{
    const size_t room = writer->bodies.max - writer->bodies.len;
    uint8_t *const before = writer->tried;
    size_t got;
    enum ramet_rc rc;

    *out_length = 0;
    if (most > writer->page_size)
        most = writer->page_size;
    /* An open block and this one may come out a little larger than they are. */
    if (most == 0 ||
        room < 2 * (RAMET_DELTA_BLOCK_BYTES + (size_t)writer->page_size) +
                   2 * ENTRY_OVERHEAD_MAX)
        return RAMET_OK;
    got = ZSTD_CCtx_refPrefix(writer->with_base, base, writer->page_size);
    assert(!ZSTD_isError(got));
    got = ZSTD_compress2(writer->with_base, writer->trial, most, page,
                         writer->page_size);
    if (ZSTD_getErrorCode(got) == ZSTD_error_dstSize_tooSmall) {
        (void)ZSTD_CCtx_reset(writer->with_base, ZSTD_reset_session_only);
        return RAMET_OK;
    }
    if (ZSTD_isError(got))
        return RAMET_FAIL(err, RAMET_ENOMEM, "delta: %s",
                          ZSTD_getErrorName(got));
    rc = check_trial(writer, base, page, (uint32_t)got, err);
    if (rc == RAMET_ECORRUPT) /* zstd's fault: an image then */
        return RAMET_OK;
    if (rc != RAMET_OK)
        return rc;
    writer->tried = writer->trial;
    writer->trial = before;
    writer->tried_len = (uint32_t)got;
    *out_length = writer->tried_len;
    return RAMET_OK;
}

uint32_t
ramet_delta_writer_image_size(struct ramet_delta_writer *writer,
                              const uint8_t *page)
{
    size_t got;

    if (writer->cdict != NULL)
        got = ZSTD_compress_usingCDict(writer->plain, writer->image,
                                       ZSTD_compressBound(writer->page_size),
                                       page, writer->page_size, writer->cdict);
    else
        got = ZSTD_compress2(writer->plain, writer->image,
                             ZSTD_compressBound(writer->page_size), page,
                             writer->page_size);
    return ZSTD_isError(got) ? writer->page_size : (uint32_t)got;
}

static enum ramet_rc
grow_blocks(struct ramet_delta_writer *writer)
{
    const uint32_t capacity =
        writer->block_capacity == 0 ? 8 : writer->block_capacity * 2;
    struct ramet_delta_block *grown;

    if (writer->block_count < writer->block_capacity)
        return RAMET_OK;
    grown = ramet_realloc(writer->blocks, capacity * sizeof(*grown));
    if (grown == NULL)
        return RAMET_ENOMEM;
    writer->blocks = grown;
    writer->block_capacity = capacity;
    return RAMET_OK;
}

static enum ramet_rc
end_block(struct ramet_delta_writer *writer, struct ramet_err *err)
{
    const size_t bound = ZSTD_compressBound(writer->content.len);
    const size_t start = writer->bodies.len;
    uint8_t *body;
    size_t got;

    if (writer->content_pages == 0)
        return RAMET_OK;
    body = ramet_buf_extend(&writer->bodies, bound);
    if (body == NULL || grow_blocks(writer) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_ENOMEM, "deltas: no memory");
    got = ZSTD_compress2(writer->plain, body, bound, writer->content.data,
                         writer->content.len);
    if (ZSTD_isError(got))
        return RAMET_FAIL(err, RAMET_ENOMEM, "block of deltas: %s",
                          ZSTD_getErrorName(got));
    writer->bodies.len = start + got;
    writer->blocks[writer->block_count++] = (struct ramet_delta_block){
        .page_count = writer->content_pages,
        .length_bytes = (uint32_t)got,
        .hash = ramet_hash128(body, got),
    };
    ramet_buf_clear(&writer->content);
    writer->content_pages = 0;
    return RAMET_OK;
}

enum ramet_rc
ramet_delta_writer_take(struct ramet_delta_writer *writer,
                        struct ramet_err *err)
{
    uint8_t *sum;

    assert(writer->tried_len > 0);
    if (writer->content_pages > 0 &&
        (writer->content.len + ENTRY_OVERHEAD_MAX + writer->tried_len >
             RAMET_DELTA_BLOCK_BYTES ||
         writer->content_pages == RAMET_DELTA_BLOCK_PAGES_MAX)) {
        const enum ramet_rc rc = end_block(writer, err);

        if (rc != RAMET_OK)
            return rc;
    }
    ramet_buf_varint(&writer->content, writer->tried_len);
    sum = ramet_buf_extend(&writer->content, SUM_SIZE);
    if (sum != NULL)
        put_be64(sum, writer->tried_sum);
    ramet_buf_bytes(&writer->content, writer->tried, writer->tried_len);
    if (writer->content.failed != RAMET_OK)
        return RAMET_FAIL(err, writer->content.failed, "deltas: no memory");
    writer->content_pages++;
    writer->tried_len = 0;
    return RAMET_OK;
}

size_t
ramet_delta_writer_size(const struct ramet_delta_writer *writer)
{
    return writer->bodies.len + (writer->content_pages > 0
                                     ? ZSTD_compressBound(writer->content.len)
                                     : 0);
}

static enum ramet_rc
append_inline(const struct ramet_delta_writer *writer, uint8_t **io_inline,
              size_t *io_inline_len, struct ramet_delta_extent *out,
              struct ramet_err *err)
{
    static const struct ramet_sid nil;
    const bool made = *io_inline == NULL;
    const size_t start = made ? RAMET_SEGMENT_HEADER_SIZE : *io_inline_len;
    uint8_t *const grown =
        ramet_realloc(*io_inline, start + writer->bodies.len);

    if (grown == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "deltas: no memory");
    if (made)
        ramet_segment_header_put(grown, &nil, writer->page_size);
    memcpy(grown + start, writer->bodies.data, writer->bodies.len);
    *io_inline = grown;
    *io_inline_len = start + writer->bodies.len;
    out->is_inline = true;
    out->offset_bytes = start;
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
    const size_t before =
        *io_inline != NULL ? *io_inline_len : RAMET_SEGMENT_HEADER_SIZE;
    struct ramet_delta_extent extent = {.is_inline = false};
    enum ramet_rc rc = end_block(writer, err);

    if (rc != RAMET_OK)
        return rc;
    assert(writer->block_count > 0);
    if (allow_inline && before + writer->bodies.len <= RAMET_SEGMENT_INLINE_MAX)
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
