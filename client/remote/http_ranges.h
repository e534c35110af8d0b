/*
 * http_ranges.h - pieces of immutable objects that a server sent ahead.
 *
 * A read is answered from here if pieces that begin where it begins, and then
 * where the last one ended, cover it; or any read of an object of which one piece is
 * the whole. Bounded; what was not used for longest
 * goes first. Nothing here was verified: whoever reads it does that.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_REMOTE_HTTP_RANGES_H
#define RAMET_CLIENT_REMOTE_HTTP_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/hash.h"

struct ramet_ranges;

struct ramet_ranges *ramet_ranges_new(size_t max_bytes);
void ramet_ranges_free(struct ramet_ranges *ranges); /* NULL is fine */
/* `ends_object`: the object has no more bytes. */
void
ramet_ranges_put(struct ramet_ranges *ranges, const char *key, uint64_t offset,
                 const void *data, size_t len, bool ends_object);
/* True: *out_got bytes are in `buf` (less than `len` only at the object's
 * end). */
bool ramet_ranges_get(struct ramet_ranges *ranges, const char *key,
                      uint64_t offset, void *buf, size_t len, size_t *out_got);
/* Whether it is there; with `unread`, and was not read yet: who comes back for
 * what was read already may have found it damaged. */
bool ramet_ranges_has(struct ramet_ranges *ranges, const char *key,
                      uint64_t offset, size_t len, bool unread);
/* The same of one who has the key's hash (XXH3-128) for it. */
bool
ramet_ranges_has_at(struct ramet_ranges *ranges, const struct ramet_hash *key,
                    uint64_t offset, size_t len);
void ramet_ranges_clear(struct ramet_ranges *ranges);

#endif
