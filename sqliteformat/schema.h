/*
 * schema.h - does a pull or reset leave a database's schema as it was?
 *
 * SQLite parses the schema once, and again where the cookie in the header is
 * another. Two lines of history may have the same cookie with different
 * schemas; to say "changed" at each pull would have every statement prepared
 * anew. So it is looked at: the schema is the table whose root is page 1, and
 * is the same if its header fields are, its root is, and no page of its tree is
 * among those that changed.
 *
 *   (1) "the same" is certain; what can't be read here, or makes no sense, is
 *       another
 *   (2) the bytes are foreign: any of them gives an answer, in bounded time
 *
 * Layer: sqliteformat.
 */
#ifndef RAMET_SQLITEFORMAT_SCHEMA_H
#define RAMET_SQLITEFORMAT_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "core/pageset.h"

/* Give page `pgno` as it was before, if it is here without the network. */
typedef bool ramet_schema_read(void *ctx, uint32_t pgno, uint8_t *out);

/*
 * `before` and `after` are page 1, whole and as stored; `changed` the pages
 * that are others now (page 1 may be in it and counts by its bytes). Both files
 * have pages of `page_size`.
 */
bool
ramet_schema_is_same(const uint8_t *before, const uint8_t *after,
                     uint32_t page_size, const struct ramet_pageset *changed,
                     ramet_schema_read *read, void *ctx);

#endif
