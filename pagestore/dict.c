/*
 * dict.c - dictionaries: trained from pages, kept as a segment of their own.
 *
 * What one page of a database shares with the others (names, types, words) is
 * most of what larger frames would find, and a dictionary gives it to frames
 * of one page. docs/decisions/0001-frames-and-dictionary.md has the figures
 * behind the constants.
 *
 * Layer: pagestore.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ZDICT_STATIC_LINKING_ONLY
#include <zdict.h>

#include "core/alloc.h"
#include "pagestore/codec.h"
#include "pagestore/segment.h"
#include "pagestore/segment_header.h"

/* What training aims at, and looks at. */
#define DICT_BYTES (32u << 10)
#define TRAIN_BYTES_MAX (4u << 20)
#define TEST_BYTES_MAX (1u << 20)
#define SAMPLES_MIN 16u /* fewer pages teach nothing */
#define SAVING_MIN_PERCENT 3u

/* ---- training ------------------------------------------------------------- */

/* Pages to learn from, one after the other, and pages to judge by. */
struct samples {
    uint8_t *train;
    size_t *train_sizes;
    uint32_t train_count;
    const uint8_t *all;
    uint32_t all_count;
    uint32_t test_count;
    uint32_t page_size;
};

/* Evenly spread, so that no table of the database is left out. */
static const uint8_t *
spread_page(const struct samples *samples, uint32_t i, uint32_t of)
{
    const uint64_t at = (uint64_t)i * samples->all_count / of;

    assert(i < of && of <= samples->all_count);
    return samples->all + at * samples->page_size;
}

static bool
gather(struct samples *samples)
{
    const uint32_t most = TRAIN_BYTES_MAX / samples->page_size;
    const uint32_t tests = TEST_BYTES_MAX / samples->page_size;
    const uint32_t used =
        samples->all_count < most + tests ? samples->all_count : most + tests;
    uint32_t n = 0;

    assert(samples->all_count >= SAMPLES_MIN && samples->train == NULL);
    samples->train = ramet_alloc((size_t)used * samples->page_size);
    samples->train_sizes = ramet_alloc(used * sizeof(*samples->train_sizes));
    if (samples->train == NULL || samples->train_sizes == NULL)
        return false;
    for (uint32_t i = 0; i < used; i++) {
        if (i % 5 == 4)
            continue; /* for the test */
        memcpy(samples->train + (size_t)n * samples->page_size,
               spread_page(samples, i, used), samples->page_size);
        samples->train_sizes[n++] = samples->page_size;
    }
    assert(n > 0 && n <= used);
    samples->train_count = n;
    samples->test_count = used;
    return true;
}

/* Compressed size of the pages kept back, 0 on no memory. */
static uint64_t
measure(const struct samples *samples, const uint8_t *dict, size_t dict_len)
{
    const size_t bound = ZSTD_compressBound(samples->page_size);
    uint8_t *out = ramet_alloc(bound);
    ZSTD_CCtx *cctx = ZSTD_createCCtx_advanced(ramet_codec_mem);
    const ZSTD_CDict *cdict = NULL;
    void *block = NULL;
    uint64_t total = 0;

    assert(samples->test_count > 4 && (dict == NULL) == (dict_len == 0));
    if (dict != NULL)
        cdict = ramet_codec_cdict(dict, dict_len, RAMET_CODEC_LEVEL_DEFAULT,
                                  samples->page_size, &block);
    if (out == NULL || cctx == NULL || (dict != NULL && cdict == NULL))
        goto done;
    ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel,
                           RAMET_CODEC_LEVEL_DEFAULT);
    if (ZSTD_isError(ZSTD_CCtx_refCDict(cctx, cdict)))
        goto done;
    for (uint32_t i = 4; i < samples->test_count; i += 5) {
        const size_t got = ZSTD_compress2(
            cctx, out, bound, spread_page(samples, i, samples->test_count),
            samples->page_size);

        if (ZSTD_isError(got)) {
            total = 0;
            break;
        }
        total += got;
    }
done:
    ZSTD_freeCCtx(cctx);
    ramet_free(block);
    ramet_free(out);
    return total;
}

/* A dictionary must shrink the pages kept back by enough per cent, and over
 * all samples by more than its own size: a small volume is better off without
 * it, and every cold reader has to load it. */
static bool
is_worth(const struct samples *samples, uint64_t without, uint64_t with,
         size_t dict_len)
{
    const uint32_t tested = samples->test_count / 5;

    assert(dict_len > 0 && without > 0);
    return with * 100 <= without * (100 - SAVING_MIN_PERCENT) &&
           (without - with) * samples->all_count >= (uint64_t)dict_len * tested;
}

/* Fill `dict`; 0 if these samples teach nothing (all alike, say). */
static size_t
train(const struct samples *samples, uint8_t *dict)
{
    const ZDICT_fastCover_params_t params = {
        .k = 512,
        .d = 8,
        .f = 18,
        .accel = 4,
        .zParams.compressionLevel = RAMET_CODEC_LEVEL_DEFAULT,
    };
    const size_t got = ZDICT_trainFromBuffer_fastCover(
        dict, DICT_BYTES, samples->train, samples->train_sizes,
        samples->train_count, params);

    assert(samples->train_count > 0);
    return ZDICT_isError(got) ? 0 : got;
}

enum ramet_rc
ramet_dict_train(const uint8_t *pages, uint32_t page_count, uint32_t page_size,
                 bool *out_worth, uint8_t **out_dict, size_t *out_len,
                 struct ramet_err *err)
{
    struct samples samples = {
        .all = pages, .all_count = page_count, .page_size = page_size};
    uint8_t *dict = NULL;
    uint64_t without;
    uint64_t with = 0;
    size_t len;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_page_size_valid(page_size));
    assert(pages != NULL || page_count == 0);
    if (page_count < SAMPLES_MIN) {
        *out_worth = false;
        return RAMET_OK;
    }
    dict = ramet_alloc(DICT_BYTES);
    if (dict == NULL || !gather(&samples)) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "dictionary: no memory");
        goto done;
    }
    len = train(&samples, dict);
    without = measure(&samples, NULL, 0);
    if (len > 0)
        with = measure(&samples, dict, len);
    if (without == 0 || (len > 0 && with == 0)) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "dictionary: no memory");
        goto done;
    }
    *out_worth = len > 0 && is_worth(&samples, without, with, len);
    if (*out_worth) {
        *out_dict = dict;
        *out_len = len;
        dict = NULL; /* now the caller's */
    }
done:
    ramet_free(samples.train);
    ramet_free(samples.train_sizes);
    ramet_free(dict);
    return rc;
}

/* ---- keeping -------------------------------------------------------------- */

/* Header and compressed dictionary in one block; 0 on no memory. */
static size_t
build_object(const struct ramet_sid *id, const uint8_t *dict, size_t len,
             uint8_t **out_object)
{
    const size_t bound = ZSTD_compressBound(len);
    uint8_t *object = ramet_alloc(RAMET_SEGMENT_HEADER_SIZE + bound);
    ZSTD_CCtx *cctx = ZSTD_createCCtx_advanced(ramet_codec_mem);
    size_t got = 0;

    assert(!ramet_id_is_nil(&id->id));
    if (object != NULL && cctx != NULL) {
        ramet_segment_header_put(object, id, 0);
        got = ZSTD_compressCCtx(cctx, object + RAMET_SEGMENT_HEADER_SIZE, bound,
                                dict, len, 19);
    }
    ZSTD_freeCCtx(cctx);
    if (got == 0 || ZSTD_isError(got)) {
        ramet_free(object);
        return 0;
    }
    *out_object = object;
    return RAMET_SEGMENT_HEADER_SIZE + got;
}

enum ramet_rc
ramet_dict_pack(const struct ramet_vid *volume, const uint8_t *dict, size_t len,
                struct ramet_dict_object *out_object, struct ramet_err *err)
{
    struct ramet_extent extent = {.volume = *volume,
                                  .kind = RAMET_IN_SEGMENT,
                                  .offset_bytes = RAMET_SEGMENT_HEADER_SIZE,
                                  .hash_algo = RAMET_HASH_XXH3_128};
    uint8_t *object = NULL;
    size_t size;
    enum ramet_rc rc;

    assert(len > 0 && len <= RAMET_DICT_BYTES_MAX);
    assert(!ramet_id_is_nil(&volume->id));
    rc = ramet_id_new(&extent.segment.id, err);
    if (rc != RAMET_OK)
        return rc;
    size = build_object(&extent.segment, dict, len, &object);
    if (size == 0)
        return RAMET_FAIL(err, RAMET_ENOMEM, "dictionary: no memory");
    extent.length_bytes = (uint32_t)(size - RAMET_SEGMENT_HEADER_SIZE);
    extent.hash =
        ramet_hash128(object + RAMET_SEGMENT_HEADER_SIZE, extent.length_bytes);
    *out_object = (struct ramet_dict_object){extent, object, size};
    return RAMET_OK;
}

enum ramet_rc
ramet_dict_put(struct ramet_objstore *store,
               const struct ramet_dict_object *object, struct ramet_err *err)
{
    const struct iovec part = {object->bytes, object->len};
    char key[RAMET_KEY_MAX];

    assert(object->bytes != NULL && object->len > RAMET_SEGMENT_HEADER_SIZE);
    ramet_extent_key(&object->extent, key);
    return ramet_objstore_put(store, key, &part, 1, err);
}

enum ramet_rc
ramet_dict_store(struct ramet_objstore *store, const struct ramet_vid *volume,
                 const uint8_t *dict, size_t len,
                 struct ramet_extent *out_extent, struct ramet_err *err)
{
    struct ramet_dict_object object;
    enum ramet_rc rc = ramet_dict_pack(volume, dict, len, &object, err);

    if (rc != RAMET_OK)
        return rc;
    rc = ramet_dict_put(store, &object, err);
    ramet_free(object.bytes);
    if (rc == RAMET_OK)
        *out_extent = object.extent;
    return rc;
}

/* Decompress a verified body into *out_dict. */
static enum ramet_rc
unpack(const uint8_t *body, size_t body_len, const char *key,
       uint8_t **out_dict, size_t *out_len, struct ramet_err *err)
{
    const unsigned long long size =
        ramet_codec_is_one_frame(body, body_len)
            ? ZSTD_getFrameContentSize(body, body_len)
            : ZSTD_CONTENTSIZE_ERROR;
    ZSTD_DCtx *dctx = NULL;
    uint8_t *dict = NULL;
    enum ramet_rc rc = RAMET_OK;
    size_t got;

    assert(body != NULL && body_len > 0);
    if (size == 0 || size > RAMET_DICT_BYTES_MAX) /* errors are huge */
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s: not a dictionary", key);
    dict = ramet_alloc((size_t)size);
    dctx = ZSTD_createDCtx_advanced(ramet_codec_mem);
    if (dict == NULL || dctx == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", key);
        goto done;
    }
    got = ZSTD_decompressDCtx(dctx, dict, (size_t)size, body, body_len);
    if (got != size || ZDICT_isError(ZDICT_getDictHeaderSize(dict, got))) {
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "%s: not a dictionary", key);
        goto done;
    }
    *out_dict = dict;
    *out_len = got;
    dict = NULL; /* now the caller's */
done:
    ZSTD_freeDCtx(dctx);
    ramet_free(dict);
    return rc;
}

enum ramet_rc
ramet_dict_unpack(const struct ramet_extent *extent, const uint8_t *body,
                  uint8_t **out_dict, size_t *out_len, struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    enum ramet_rc rc;

    assert(out_dict != NULL && out_len != NULL);
    ramet_extent_key(extent, key);
    rc = ramet_codec_verify(extent, body, key, err);
    return rc == RAMET_OK
               ? unpack(body, extent->length_bytes, key, out_dict, out_len, err)
               : rc;
}

enum ramet_rc
ramet_dict_load(struct ramet_objstore *store, const struct ramet_extent *extent,
                uint8_t **out_dict, size_t *out_len, struct ramet_err *err)
{
    char key[RAMET_KEY_MAX];
    uint8_t *body;
    enum ramet_rc rc;

    assert(out_dict != NULL && out_len != NULL);
    ramet_extent_key(extent, key);
    if (extent->length_bytes == 0 ||
        extent->length_bytes > RAMET_DICT_STORED_MAX)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: a dictionary of %" PRIu32 " bytes", key,
                          extent->length_bytes);
    body = ramet_alloc(extent->length_bytes);
    if (body == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", key);
    rc = ramet_objstore_read_full(store, key, extent->offset_bytes, body,
                                  extent->length_bytes, err);
    if (rc == RAMET_OK)
        rc = ramet_codec_verify_read(store, extent, body, key, err);
    if (rc == RAMET_OK)
        rc = unpack(body, extent->length_bytes, key, out_dict, out_len, err);
    ramet_free(body);
    return rc;
}
