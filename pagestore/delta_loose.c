/*
 * delta_loose.c - see delta_loose.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/delta_loose.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/pageset.h"
#include "pagestore/codec.h"

/* A slice of pages has some kilobytes of deltas, in time that counts. */
#define LEVEL 1
/* The varint before the steps. */
#define STEPS_LENGTH_MAX 3u

struct ramet_loose_writer {
    ZSTD_CCtx *cctx;            /* made for the first record */
    struct ramet_pageset pages; /* of the record that is open */
    struct ramet_buf steps, literals;
    struct ramet_buf before; /* content of the record before it */
};

struct ramet_loose_reader {
    ZSTD_DCtx *dctx;
    struct ramet_pageset pages;
    uint8_t *before; /* content of the record before, or NULL */
    size_t before_len;
    bool is_lost; /* a record could not be read: no other can */
};

/* ---- writing -------------------------------------------------------------- */

struct ramet_loose_writer *
ramet_loose_writer_new(void)
{
    struct ramet_loose_writer *const writer = ramet_calloc(1, sizeof(*writer));

    if (writer == NULL)
        return NULL;
    ramet_pageset_init(&writer->pages);
    ramet_buf_init(&writer->steps, RAMET_LOOSE_CONTENT_MAX);
    ramet_buf_init(&writer->literals, RAMET_LOOSE_CONTENT_MAX);
    ramet_buf_init(&writer->before, RAMET_LOOSE_CONTENT_MAX);
    return writer;
}

void
ramet_loose_writer_free(struct ramet_loose_writer *writer)
{
    if (writer == NULL)
        return;
    ZSTD_freeCCtx(writer->cctx);
    ramet_pageset_done(&writer->pages);
    ramet_buf_done(&writer->steps);
    ramet_buf_done(&writer->literals);
    ramet_buf_done(&writer->before);
    ramet_free(writer);
}

size_t
ramet_loose_writer_pages(const struct ramet_loose_writer *writer)
{
    return (size_t)ramet_pageset_count(&writer->pages);
}

size_t
ramet_loose_writer_bytes(const struct ramet_loose_writer *writer)
{
    return writer->steps.len + writer->literals.len;
}

bool
ramet_loose_writer_add(struct ramet_loose_writer *writer, uint32_t pgno,
                       const struct ramet_delta *delta)
{
    const size_t steps = writer->steps.len, literals = writer->literals.len;
    const size_t more = (size_t)delta->steps_len + delta->literals_len;

    assert(pgno >= 1 && delta->steps_len > 0);
    assert(writer->pages.run_count == 0 ||
           writer->pages.runs[writer->pages.run_count - 1].last < pgno);
    if (ramet_loose_writer_pages(writer) == RAMET_LOOSE_PAGES_MAX ||
        more > RAMET_LOOSE_CONTENT_MAX - STEPS_LENGTH_MAX - steps - literals)
        return false;
    ramet_buf_bytes(&writer->steps, delta->steps, delta->steps_len);
    if (delta->literals_len > 0)
        ramet_buf_bytes(&writer->literals, delta->literals,
                        delta->literals_len);
    if (writer->steps.failed == RAMET_OK &&
        writer->literals.failed == RAMET_OK &&
        ramet_pageset_add(&writer->pages, pgno) == RAMET_OK)
        return true;
    writer->steps.len = steps;
    writer->literals.len = literals;
    writer->steps.failed = writer->literals.failed = RAMET_OK;
    return false;
}

static bool
make_context(struct ramet_loose_writer *writer)
{
    if (writer->cctx != NULL)
        return true;
    writer->cctx = ZSTD_createCCtx_advanced(ramet_codec_mem);
    return writer->cctx != NULL &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(
               writer->cctx, ZSTD_c_compressionLevel, LEVEL));
}

static enum ramet_rc
compress(struct ramet_loose_writer *writer, const struct ramet_buf *content,
         struct ramet_buf *out)
{
    const struct ramet_buf *const before = &writer->before;
    const size_t bound = ZSTD_compressBound(content->len);
    uint8_t *const to = ramet_buf_extend(out, bound);
    size_t got = 0;

    if (to == NULL)
        return RAMET_ENOMEM;
    out->len -= bound;
    if (!make_context(writer))
        return RAMET_ENOMEM;
    if (before->len > 0)
        got = ZSTD_CCtx_refPrefix(writer->cctx, before->data, before->len);
    if (!ZSTD_isError(got))
        got = ZSTD_compress2(writer->cctx, to, bound, content->data,
                             content->len);
    if (ZSTD_isError(got))
        return RAMET_ENOMEM;
    out->len += got;
    return RAMET_OK;
}

enum ramet_rc
ramet_loose_writer_end(struct ramet_loose_writer *writer, struct ramet_buf *out,
                       struct ramet_err *err)
{
    const size_t start = out->len;
    struct ramet_buf content;
    enum ramet_rc rc = ramet_pageset_encode(&writer->pages, out);

    assert(writer->pages.run_count > 0 && writer->steps.len > 0);
    ramet_buf_init(&content, RAMET_LOOSE_CONTENT_MAX);
    ramet_buf_varint(&content, writer->steps.len);
    ramet_buf_bytes(&content, writer->steps.data, writer->steps.len);
    if (writer->literals.len > 0)
        ramet_buf_bytes(&content, writer->literals.data, writer->literals.len);
    if (rc == RAMET_OK)
        rc = content.failed;
    if (rc == RAMET_OK)
        rc = compress(writer, &content, out);
    if (rc != RAMET_OK) {
        out->len = start;
        ramet_buf_done(&content);
        return RAMET_FAIL(err, RAMET_ENOMEM, "loose deltas: no memory");
    }
    ramet_buf_done(&writer->before);
    writer->before = content;
    ramet_pageset_clear(&writer->pages);
    ramet_buf_done(&writer->steps); /* which keep no memory between records */
    ramet_buf_done(&writer->literals);
    return RAMET_OK;
}

/* ---- reading -------------------------------------------------------------- */

struct ramet_loose_reader *
ramet_loose_reader_new(void)
{
    struct ramet_loose_reader *const reader = ramet_calloc(1, sizeof(*reader));

    if (reader == NULL)
        return NULL;
    ramet_pageset_init(&reader->pages);
    reader->dctx = ZSTD_createDCtx_advanced(ramet_codec_mem);
    if (reader->dctx != NULL)
        return reader;
    ramet_loose_reader_free(reader);
    return NULL;
}

void
ramet_loose_reader_free(struct ramet_loose_reader *reader)
{
    if (reader == NULL)
        return;
    ZSTD_freeDCtx(reader->dctx);
    ramet_pageset_done(&reader->pages);
    ramet_free(reader->before);
    ramet_free(reader);
}

/* The content of a record's frame, which takes the place of the one before. */
static enum ramet_rc
decompress(struct ramet_loose_reader *reader, const uint8_t *frame, size_t len,
           size_t *out_len, struct ramet_err *err)
{
    const unsigned long long size = ZSTD_getFrameContentSize(frame, len);
    uint8_t *content;
    size_t got = 0;

    if (size == 0 || size > RAMET_LOOSE_CONTENT_MAX || /* or is not named */
        !ramet_codec_is_one_frame(frame, len))
        return RAMET_FAIL(err, RAMET_ECORRUPT, "loose deltas: not one frame");
    content = ramet_alloc((size_t)size);
    if (content == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "loose deltas: no memory");
    if (reader->before != NULL)
        got = ZSTD_DCtx_refPrefix(reader->dctx, reader->before,
                                  reader->before_len);
    if (!ZSTD_isError(got))
        got = ZSTD_decompressDCtx(reader->dctx, content, (size_t)size, frame,
                                  len);
    if (ZSTD_isError(got) || got != size) {
        ramet_free(content);
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "loose deltas: they don't decompress");
    }
    ramet_free(reader->before);
    reader->before = content;
    *out_len = reader->before_len = (size_t)size;
    return RAMET_OK;
}

/* A walk over all of them: with `visit` NULL it says whether they are used up. */
static enum ramet_rc
walk(const struct ramet_loose_reader *reader, uint32_t page_size,
     ramet_loose_visit *visit, void *ctx, struct ramet_err *err)
{
    const uint32_t count = (uint32_t)ramet_pageset_count(&reader->pages);
    struct ramet_delta_cursor cursor;
    enum ramet_rc rc = ramet_delta_cursor_open_loose(
        &cursor, count, reader->before, reader->before_len, page_size, err);
    uint32_t position = 0;

    for (size_t i = 0; rc == RAMET_OK && i < reader->pages.run_count; i++) {
        const struct ramet_run *const run = &reader->pages.runs[i];

        for (uint64_t pgno = run->first; rc == RAMET_OK && pgno <= run->last;
             pgno++) {
            struct ramet_delta delta;

            rc = ramet_delta_cursor_find(&cursor, position++, &delta, err);
            if (rc == RAMET_OK && visit != NULL)
                visit(ctx, (uint32_t)pgno, &delta);
        }
    }
    assert(rc != RAMET_OK || position == count);
    return rc;
}

static enum ramet_rc
read_record(struct ramet_loose_reader *reader, const uint8_t *record,
            size_t len, uint32_t page_size, struct ramet_err *err)
{
    struct ramet_reader in;
    size_t content_len;
    uint64_t count;
    enum ramet_rc rc;

    ramet_reader_init(&in, record, len);
    rc = ramet_pageset_decode(&reader->pages, &in, UINT32_MAX,
                              RAMET_LOOSE_PAGES_MAX, err);
    if (rc != RAMET_OK)
        return rc;
    count = ramet_pageset_count(&reader->pages);
    if (count == 0 || count > RAMET_LOOSE_PAGES_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "loose deltas: of no pages, or too many");
    rc = decompress(reader, record + in.pos, len - in.pos, &content_len, err);
    return rc == RAMET_OK ? walk(reader, page_size, NULL, NULL, err) : rc;
}

enum ramet_rc
ramet_loose_read(struct ramet_loose_reader *reader, const uint8_t *record,
                 size_t len, uint32_t page_size, ramet_loose_visit *visit,
                 void *ctx, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(visit != NULL && (record != NULL || len == 0));
    if (reader->is_lost)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "loose deltas: the record before was damaged");
    rc = read_record(reader, record, len, page_size, err);
    if (rc == RAMET_OK)
        rc = walk(reader, page_size, visit, ctx, err);
    reader->is_lost = rc != RAMET_OK;
    return rc;
}
