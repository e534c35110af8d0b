/*
 * codec.c - see codec.h.
 *
 * Decompression is in one pass into memory that we own: a hostile window size
 * allocates nothing, and nothing is written past page_bytes.
 *
 * Layer: pagestore.
 */
#include "pagestore/codec.h"

#include <assert.h>
#include <inttypes.h>

#include "core/alloc.h"
#include "core/bytes.h"

static void *
codec_alloc(void *opaque, size_t size)
{
    assert(size > 0);
    (void)opaque;
    return ramet_alloc(size);
}

static void
codec_free(void *opaque, void *block)
{
    (void)opaque;
    ramet_free(block);
}

const ZSTD_customMem ramet_codec_mem = {codec_alloc, codec_free, NULL};

const ZSTD_CDict *
ramet_codec_cdict(const uint8_t *dict, size_t len, int level,
                  size_t frame_bytes, void **out_block)
{
    const ZSTD_compressionParameters params =
        ZSTD_getCParams(level, frame_bytes, len);
    const size_t size =
        ZSTD_estimateCDictSize_advanced(len, params, ZSTD_dlm_byCopy);
    void *block = ramet_alloc(size);
    const ZSTD_CDict *cdict = NULL;

    assert(dict != NULL && len > 0 && out_block != NULL);
    if (block != NULL)
        cdict = ZSTD_initStaticCDict(block, size, dict, len, ZSTD_dlm_byCopy,
                                     ZSTD_dct_fullDict, params);
    if (cdict == NULL) {
        ramet_free(block);
        return NULL;
    }
    *out_block = block;
    return cdict;
}

bool
ramet_codec_is_one_frame(const uint8_t *body, size_t len)
{
    assert(body != NULL || len == 0);
    return len >= 4 && ramet_get_le32(body) == ZSTD_MAGICNUMBER &&
           ZSTD_findFrameCompressedSize(body, len) == len;
}

enum ramet_rc
ramet_codec_verify(const struct ramet_extent *extent, const uint8_t *body,
                   const char *what, struct ramet_err *err)
{
    assert(body != NULL && extent->length_bytes > 0);
    if (extent->hash_algo != RAMET_HASH_XXH3_128 &&
        extent->hash_algo != RAMET_HASH_FRONT)
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "%s: hash algorithm %u is of a later version", what,
                          extent->hash_algo);
    if (!ramet_extent_matches(extent, body))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: wrong checksum of the %" PRIu32
                          " bytes at %" PRIu64,
                          what, extent->length_bytes, extent->offset_bytes);
    return RAMET_OK;
}

enum ramet_rc
ramet_codec_verify_read(struct ramet_objstore *store,
                        const struct ramet_extent *extent, uint8_t *body,
                        const char *key, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_codec_verify(extent, body, key, err);

    assert(extent->length_bytes > 0);
    if (rc == RAMET_ECORRUPT) {
        rc = ramet_objstore_read_anew(store, key, extent->offset_bytes, body,
                                      extent->length_bytes, err);
        if (rc == RAMET_OK)
            rc = ramet_codec_verify(extent, body, key, err);
    }
    return rc;
}

enum ramet_rc
ramet_codec_decode(ZSTD_DCtx *dctx, const ZSTD_DDict *ddict,
                   const struct ramet_frame *frame, size_t front,
                   const uint8_t *body, size_t page_bytes, uint8_t *out,
                   const char *what, struct ramet_err *err)
{
    const size_t len = frame->extent.length_bytes - front;
    size_t got;

    assert(front <= frame->extent.length_bytes);
    assert((frame->kind == RAMET_FRAME_DICT) == (ddict != NULL));
    assert(page_bytes > 0);
    if (!ramet_codec_is_one_frame(body + front, len))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: page %" PRIu32 " is not one zstd frame", what,
                          frame->first_pgno);
    got = ZSTD_decompress_usingDDict(dctx, out, page_bytes, body + front, len,
                                     ddict);
    if (ZSTD_isError(got))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: page %" PRIu32 " does not decompress: %s", what,
                          frame->first_pgno, ZSTD_getErrorName(got));
    if (got != page_bytes)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: page %" PRIu32
                          " decompresses to %zu bytes, not %zu",
                          what, frame->first_pgno, got, page_bytes);
    return RAMET_OK;
}
