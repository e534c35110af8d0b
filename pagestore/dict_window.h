/*
 * dict_window.h - a place to decompress to that lies behind the dictionary's bytes.
 *
 * To zstd a dictionary that ends where the page begins is what came before the page:
 * what the page repeats of it is copied as from the page itself, and not, match by
 * match, from elsewhere. That saves a fifth of the time for pages of one frame each.
 *
 *   (1) block: `dict_len` bytes, those of `dict`, then `room`; ddict refers to them
 *   (2) `dict` is held, and is the one that the block was made of
 *
 * One call's; zeroed it has none.
 *
 * Layer: pagestore, internal.
 */
#ifndef RAMET_PAGESTORE_DICT_WINDOW_H
#define RAMET_PAGESTORE_DICT_WINDOW_H

#include "pagestore/dict_cache.h"

struct ramet_dict_window {
    struct ramet_cached_dict *dict; /* NULL: none */
    uint8_t *block;
    size_t dict_len, room;
    ZSTD_DDict *ddict;
};

/* Is it that dictionary's, with room for `len` bytes? */
bool ramet_dict_window_is(const struct ramet_dict_window *window,
                          const struct ramet_extent *extent, size_t len);
/* Have it so: what it was goes. To make one takes as long as some four pages of 4 KiB
 * do. Errors as ramet_dict_cache_get(); then it has none. */
RAMET_NODISCARD enum ramet_rc
ramet_dict_window_make(struct ramet_dict_window *window,
                       struct ramet_dict_cache *cache,
                       struct ramet_objstore *store,
                       const struct ramet_extent *extent, size_t len,
                       struct ramet_err *err);
/* Where to decompress to with window->ddict. */
static inline uint8_t *
ramet_dict_window_out(const struct ramet_dict_window *window)
{
    return window->block + window->dict_len;
}
void ramet_dict_window_done(struct ramet_dict_window *window,
                            struct ramet_dict_cache *cache);

#endif
