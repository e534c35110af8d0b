/*
 * dict_window.c - see dict_window.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/dict_window.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"

bool
ramet_dict_window_is(const struct ramet_dict_window *window,
                     const struct ramet_extent *extent, size_t len)
{
    assert(window->dict == NULL || window->ddict != NULL);
    return window->dict != NULL && len <= window->room &&
           ramet_extent_equal(&window->dict->extent, extent);
}

void
ramet_dict_window_done(struct ramet_dict_window *window,
                       struct ramet_dict_cache *cache)
{
    ZSTD_freeDDict(window->ddict);
    ramet_free(window->block);
    if (window->dict != NULL)
        ramet_dict_cache_release(cache, window->dict);
    memset(window, 0, sizeof(*window));
}

enum ramet_rc
ramet_dict_window_make(struct ramet_dict_window *window,
                       struct ramet_dict_cache *cache,
                       struct ramet_objstore *store,
                       const struct ramet_extent *extent, size_t len,
                       struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(len > 0 && len <= RAMET_FRAME_BYTES_MAX);
    ramet_dict_window_done(window, cache);
    rc = ramet_dict_cache_get(cache, store, extent, &window->dict, err);
    if (rc != RAMET_OK) {
        window->dict = NULL;
        return rc;
    }
    window->dict_len = window->dict->len;
    window->room = len;
    window->block = ramet_alloc(window->dict_len + window->room);
    if (window->block != NULL) {
        memcpy(window->block, window->dict->bytes, window->dict_len);
        window->ddict = ZSTD_createDDict_advanced(
            window->block, window->dict_len, ZSTD_dlm_byRef, ZSTD_dct_fullDict,
            ramet_codec_mem);
    }
    if (window->ddict != NULL)
        return RAMET_OK;
    ramet_dict_window_done(window, cache);
    return RAMET_FAIL(err, RAMET_ENOMEM, "dictionary: no memory");
}
