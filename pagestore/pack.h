/*
 * pack.h - pages as a replica keeps them for itself: compressed fast, each alone.
 *
 * Nobody else reads them, so there is no format but zstd's own; whoever keeps one
 * keeps its checksum beside it.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_PACK_H
#define RAMET_PAGESTORE_PACK_H

#include "core/bytes.h"
#include "core/err.h"

struct ramet_packer; /* one thread's */

RAMET_NODISCARD enum ramet_rc
ramet_packer_new(struct ramet_packer **out_packer, struct ramet_err *err);
void ramet_packer_free(struct ramet_packer *packer);

/* Append the packed page to `out`: *out_length bytes. `over`: another page, which
 * it takes to get it back; NULL: none. */
RAMET_NODISCARD enum ramet_rc
ramet_pack(struct ramet_packer *packer, const uint8_t *over,
           const uint8_t *page, uint32_t page_size, struct ramet_buf *out,
           uint32_t *out_length, struct ramet_err *err);
/* False: these bytes (hostile) are not exactly one page. With another `over` than
 * it was packed with it may be another page. */
bool ramet_unpack(struct ramet_packer *packer, const uint8_t *over,
                  const uint8_t *bytes, size_t len, uint8_t *out_page,
                  uint32_t page_size);

#endif
