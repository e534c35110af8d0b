/*
 * pack.c - see pack.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/pack.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "pagestore/codec.h"
#include "pagestore/delta_steps.h"

#define LEVEL (-3) /* half of level 1's time, a quarter more in size */

struct ramet_packer {
    ZSTD_CCtx *cctx;
    ZSTD_DCtx *dctx;
    struct ramet_buf steps, literals; /* of the last page packed over another */
    uint8_t *made;                    /* a page, of any size */
};

enum ramet_rc
ramet_packer_new(struct ramet_packer **out_packer, struct ramet_err *err)
{
    struct ramet_packer *const packer = ramet_calloc(1, sizeof(*packer));

    assert(out_packer != NULL);
    if (packer != NULL) {
        ramet_buf_init(&packer->steps, RAMET_DELTA_BLOCK_MAX);
        ramet_buf_init(&packer->literals, RAMET_DELTA_BLOCK_MAX);
        packer->made = ramet_alloc(RAMET_PAGE_SIZE_MAX);
        packer->cctx = ZSTD_createCCtx_advanced(ramet_codec_mem);
        packer->dctx = ZSTD_createDCtx_advanced(ramet_codec_mem);
    }
    if (packer == NULL || packer->cctx == NULL || packer->dctx == NULL ||
        packer->made == NULL ||
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
    ramet_buf_done(&packer->steps);
    ramet_buf_done(&packer->literals);
    ramet_free(packer->made);
    ramet_free(packer);
}

enum ramet_rc
ramet_pack(struct ramet_packer *packer, const uint8_t *page, uint32_t page_size,
           struct ramet_buf *out, uint32_t *out_length, struct ramet_err *err)
{
    assert(ramet_page_size_valid(page_size));
    assert(page != NULL);
    const size_t bound = ZSTD_compressBound(page_size);
    const size_t start = out->len;
    uint8_t *const body = ramet_buf_extend(out, bound);
    size_t got;

    if (body == NULL)
        return RAMET_FAIL(err, out->failed, "no memory to pack a page");
    got = ZSTD_compress2(packer->cctx, body, bound, page, page_size);
    out->len = start;
    if (ZSTD_isError(got))
        return RAMET_FAIL(err, RAMET_ENOMEM, "pack a page: %s",
                          ZSTD_getErrorName(got));
    assert(got > 0 && got <= bound);
    out->len += got;
    *out_length = (uint32_t)got;
    return RAMET_OK;
}

/* ---- over another page ----------------------------------------------------- */

/* Invariant (1). */
static bool
make_steps(struct ramet_packer *packer, const struct ramet_delta *delta,
           const uint8_t *image, const uint8_t *page, uint32_t page_size,
           struct ramet_delta *out_back)
{
    if (!ramet_delta_invert(delta, image, page, page_size, &packer->steps,
                            &packer->literals))
        return false;
    *out_back = (struct ramet_delta){
        .steps = packer->steps.data,
        .steps_len = (uint32_t)packer->steps.len,
        .literals = packer->literals.data,
        .literals_len = (uint32_t)packer->literals.len,
    };
    return ramet_delta_makes(out_back, page, image, page_size, packer->made);
}

enum ramet_rc
ramet_pack_back(struct ramet_packer *packer, const struct ramet_delta *delta,
                const uint8_t *image, const uint8_t *page, uint32_t page_size,
                uint32_t most, struct ramet_buf *out, uint32_t *out_length,
                struct ramet_err *err)
{
    const size_t start = out->len;
    struct ramet_delta back;

    assert(image != page && most <= RAMET_DELTA_BLOCK_MAX);
    *out_length = 0;
    if (!make_steps(packer, delta, image, page, page_size, &back) ||
        back.steps_len + back.literals_len > most)
        return RAMET_OK;
    ramet_buf_varint(out, back.steps_len);
    ramet_buf_bytes(out, back.steps, back.steps_len);
    if (back.literals_len > 0)
        ramet_buf_bytes(out, back.literals, back.literals_len);
    if (out->failed != RAMET_OK) {
        out->len = start; /* nobody counts a part of it */
        return RAMET_FAIL(err, out->failed, "no memory to pack a page");
    }
    *out_length = (uint32_t)(out->len - start);
    return RAMET_OK;
}

static bool
follow(const uint8_t *over, const uint8_t *bytes, size_t len, uint64_t sum,
       uint8_t *out_page, uint32_t page_size)
{
    struct ramet_delta delta = {.sum = sum};
    struct ramet_reader in;

    ramet_reader_init(&in, bytes, len);
    delta.steps_len =
        (uint32_t)ramet_read_varint_max(&in, RAMET_DELTA_BLOCK_MAX);
    delta.steps = ramet_read_bytes(&in, delta.steps_len);
    if (in.bad || ramet_reader_left(&in) > RAMET_DELTA_BLOCK_MAX)
        return false;
    delta.literals_len = (uint32_t)ramet_reader_left(&in);
    delta.literals = ramet_read_bytes(&in, delta.literals_len);
    return ramet_delta_apply(&delta, over, page_size, out_page, NULL) ==
           RAMET_OK;
}

bool
ramet_unpack(struct ramet_packer *packer, const uint8_t *over,
             const uint8_t *bytes, size_t len, uint64_t sum, uint8_t *out_page,
             uint32_t page_size)
{
    assert(ramet_page_size_valid(page_size));
    assert(out_page != NULL && over != out_page);
    if (over != NULL)
        return follow(over, bytes, len, sum, out_page, page_size);
    return ramet_codec_is_one_frame(bytes, len) &&
           ZSTD_decompressDCtx(packer->dctx, out_page, page_size, bytes, len) ==
               page_size &&
           ramet_hash64(out_page, page_size) == sum;
}
