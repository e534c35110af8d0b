/*
 * pack.c - see pack.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/pack.h"

#include "core/alloc.h"
#include "pagestore/codec.h"

#define LEVEL (-3) /* a third of level 1's time, half as much again in size */

struct ramet_packer {
    ZSTD_CCtx *cctx;
    ZSTD_DCtx *dctx;
};

enum ramet_rc
ramet_packer_new(struct ramet_packer **out_packer, struct ramet_err *err)
{
    struct ramet_packer *const packer = ramet_calloc(1, sizeof(*packer));

    if (packer != NULL) {
        packer->cctx = ZSTD_createCCtx_advanced(ramet_codec_mem);
        packer->dctx = ZSTD_createDCtx_advanced(ramet_codec_mem);
    }
    if (packer == NULL || packer->cctx == NULL || packer->dctx == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(packer->cctx,
                                            ZSTD_c_compressionLevel, LEVEL))) {
        ramet_packer_free(packer);
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to pack pages");
    }
    *out_packer = packer;
    return RAMET_OK;
}

void
ramet_packer_free(struct ramet_packer *packer)
{
    if (packer == NULL)
        return;
    ZSTD_freeCCtx(packer->cctx);
    ZSTD_freeDCtx(packer->dctx);
    ramet_free(packer);
}

enum ramet_rc
ramet_pack(struct ramet_packer *packer, const uint8_t *page, uint32_t page_size,
           struct ramet_buf *out, uint32_t *out_length, struct ramet_err *err)
{
    const size_t bound = ZSTD_compressBound(page_size);
    const size_t start = out->len;
    uint8_t *const body = ramet_buf_extend(out, bound);
    size_t got;

    if (body == NULL)
        return RAMET_FAIL(err, out->failed, "no memory to pack a page");
    got = ZSTD_compress2(packer->cctx, body, bound, page, page_size);
    if (ZSTD_isError(got))
        return RAMET_FAIL(err, RAMET_ENOMEM, "pack a page: %s",
                          ZSTD_getErrorName(got));
    out->len = start + got;
    *out_length = (uint32_t)got;
    return RAMET_OK;
}

bool
ramet_unpack(struct ramet_packer *packer, const uint8_t *bytes, size_t len,
             uint8_t *out_page, uint32_t page_size)
{
    return ramet_codec_is_one_frame(bytes, len) &&
           ZSTD_decompressDCtx(packer->dctx, out_page, page_size, bytes, len) ==
               page_size;
}
