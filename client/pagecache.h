/*
 * pagecache.h - pages of one volume in bounded memory, for views.
 *
 * An entry holds a page for a range of LSNs in which it did not change, so
 * that a view that moves on keeps what is still right. Replacement is by
 * clock. Thread-safe.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_PAGECACHE_H
#define RAMET_CLIENT_PAGECACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/pageset.h"

struct ramet_pagecache;

/* NULL on no memory. Takes memory as pages come, up to about `limit_bytes`,
 * but for 16 pages at least. */
struct ramet_pagecache *ramet_pagecache_new(size_t limit_bytes);
void ramet_pagecache_free(struct ramet_pagecache *cache);
void ramet_pagecache_clear(struct ramet_pagecache *cache);
/* Never less than it is: views that share it agree on the most. */
void ramet_pagecache_grow(struct ramet_pagecache *cache, size_t limit_bytes);

/* Copy `len` bytes at `offset` of the page at `lsn` to `out`, if it is here. */
bool ramet_pagecache_get(struct ramet_pagecache *cache, uint64_t lsn,
                         uint32_t pgno, size_t offset, void *out, size_t len);
/* Keep a page of `lsn`; on no memory it is simply not kept. */
void ramet_pagecache_put(struct ramet_pagecache *cache, uint64_t lsn,
                         uint32_t pgno, const uint8_t *page, size_t page_size);
/* What is right at `from` and not in `changed` is right at `to` as well. */
void ramet_pagecache_advance(struct ramet_pagecache *cache, uint64_t from,
                             uint64_t to, const struct ramet_pageset *changed);

#endif
