/*
 * pack.c - see pack.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/pack.h"

#include <assert.h>

#include "core/alloc.h"
#include "pagestore/codec.h"

#define LEVEL_ALONE (-3) /* half of level 1's time, a quarter more in size */
#define LEVEL_OVER 1

struct ramet_packer {
    ZSTD_CCtx *alone, *over;
    ZSTD_DCtx *dctx;
};

static ZSTD_CCtx *
new_context(int level)
{
    ZSTD_CCtx *const cctx = ZSTD_createCCtx_advanced(ramet_codec_mem);

    assert(level == LEVEL_ALONE || level == LEVEL_OVER);
    if (cctx != NULL && ZSTD_isError(ZSTD_CCtx_setParameter(
                            cctx, ZSTD_c_compressionLevel, level))) {
        ZSTD_freeCCtx(cctx);
        return NULL;
    }
    return cctx;
}

enum ramet_rc
ramet_packer_new(struct ramet_packer **out_packer, struct ramet_err *err)
{
    struct ramet_packer *const packer = ramet_calloc(1, sizeof(*packer));

    assert(out_packer != NULL);
    if (packer != NULL) {
        packer->alone = new_context(LEVEL_ALONE);
        packer->over = new_context(LEVEL_OVER);
        packer->dctx = ZSTD_createDCtx_advanced(ramet_codec_mem);
    }
    if (packer == NULL || packer->alone == NULL || packer->over == NULL ||
        packer->dctx == NULL) {
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
    ZSTD_freeCCtx(packer->alone);
    ZSTD_freeCCtx(packer->over);
    ZSTD_freeDCtx(packer->dctx);
    ramet_free(packer);
}

enum ramet_rc
ramet_pack(struct ramet_packer *packer, const uint8_t *over,
           const uint8_t *page, uint32_t page_size, struct ramet_buf *out,
           uint32_t *out_length, struct ramet_err *err)
{
    assert(ramet_page_size_valid(page_size));
    assert(page != NULL && over != page);
    ZSTD_CCtx *const cctx = over != NULL ? packer->over : packer->alone;
    const size_t bound = ZSTD_compressBound(page_size);
    const size_t start = out->len;
    uint8_t *const body = ramet_buf_extend(out, bound);
    size_t got = 0;

    if (body == NULL)
        return RAMET_FAIL(err, out->failed, "no memory to pack a page");
    if (over != NULL)
        got = ZSTD_CCtx_refPrefix(cctx, over, page_size);
    if (!ZSTD_isError(got))
        got = ZSTD_compress2(cctx, body, bound, page, page_size);
    out->len = start;
    if (ZSTD_isError(got))
        return RAMET_FAIL(err, RAMET_ENOMEM, "pack a page: %s",
                          ZSTD_getErrorName(got));
    assert(got > 0 && got <= bound);
    out->len += got;
    *out_length = (uint32_t)got;
    return RAMET_OK;
}

bool
ramet_unpack(struct ramet_packer *packer, const uint8_t *over,
             const uint8_t *bytes, size_t len, uint8_t *out_page,
             uint32_t page_size)
{
    bool done;

    assert(ramet_page_size_valid(page_size));
    assert(out_page != NULL && over != out_page);
    if (!ramet_codec_is_one_frame(bytes, len) ||
        (over != NULL &&
         ZSTD_isError(ZSTD_DCtx_refPrefix(packer->dctx, over, page_size))))
        return false;
    done = ZSTD_decompressDCtx(packer->dctx, out_page, page_size, bytes, len) ==
           page_size;
    (void)ZSTD_DCtx_reset(packer->dctx, ZSTD_reset_session_and_parameters);
    return done;
}
