/*
 * pagecache.h - pages of one volume in bounded memory, for stateless readers.
 *
 * An entry holds a page for the commit at which it came and for the newest one
 * until which it did not change, so that a stateless reader that moves on keeps what is
 * still right. Replacement is by clock. Thread-safe.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_REMOTE_PAGECACHE_H
#define RAMET_CLIENT_REMOTE_PAGECACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/pageset.h"
#include "metastore/commit.h"

struct ramet_pagecache;

/* NULL on no memory. Takes memory as pages come, up to about `limit_bytes`,
 * but for 16 pages at least. */
struct ramet_pagecache *ramet_pagecache_new(size_t limit_bytes);
void ramet_pagecache_free(struct ramet_pagecache *cache);
void ramet_pagecache_clear(struct ramet_pagecache *cache);
/* Never less than it is: stateless readers that share it agree on the most. */
void ramet_pagecache_grow(struct ramet_pagecache *cache, size_t limit_bytes);

/* Copy `len` bytes at `offset` of the page at `at` to `out`, if it is here. */
bool
ramet_pagecache_get(struct ramet_pagecache *cache, const struct ramet_point *at,
                    uint32_t pgno, size_t offset, void *out, size_t len);
/* Keep a page of `at`; on no memory it is simply not kept. */
void
ramet_pagecache_put(struct ramet_pagecache *cache, const struct ramet_point *at,
                    uint32_t pgno, const uint8_t *page, size_t page_size);
/* What is right at `from` and not in `changed` is right at `to`, which comes
 * after it, as well. */
void ramet_pagecache_advance(struct ramet_pagecache *cache,
                             const struct ramet_point *from,
                             const struct ramet_point *to,
                             const struct ramet_pageset *changed);

#endif
