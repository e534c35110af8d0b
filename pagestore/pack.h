/*
 * pack.h - pages as a replica keeps them for itself: compressed fast, each alone; or
 * as the steps (docs/format.md, "Deltas") from another page that it has.
 *
 * Nobody else reads them; whoever keeps one keeps its checksum beside it.
 *
 *   (1) No steps are taken that were not followed, and gave the page.
 *
 * Layer: pagestore.
 */
#ifndef RAMET_PAGESTORE_PACK_H
#define RAMET_PAGESTORE_PACK_H

#include "core/bytes.h"
#include "core/err.h"
#include "pagestore/delta.h"

struct ramet_packer; /* one thread's */

RAMET_NODISCARD enum ramet_rc
ramet_packer_new(struct ramet_packer **out_packer, struct ramet_err *err);
void ramet_packer_free(struct ramet_packer *packer);

/* Append the packed page to `out`: *out_length bytes. */
RAMET_NODISCARD enum ramet_rc
ramet_pack(struct ramet_packer *packer, const uint8_t *page, uint32_t page_size,
           struct ramet_buf *out, uint32_t *out_length, struct ramet_err *err);
/* The same for the base `image` of a delta (our own) that makes `page`: as the
 * way back from that page, which it takes to get it back. *out_length is 0, and
 * nothing is appended, where that would be more than `most`. */
RAMET_NODISCARD enum ramet_rc
ramet_pack_back(struct ramet_packer *packer, const struct ramet_delta *delta,
                const uint8_t *image, const uint8_t *page, uint32_t page_size,
                uint32_t most, struct ramet_buf *out, uint32_t *out_length,
                struct ramet_err *err);
/* Back, `over` NULL or that other page. False: these bytes (hostile) are not a page with
 * the XXH3-64 `sum`. */
bool ramet_unpack(struct ramet_packer *packer, const uint8_t *over,
                  const uint8_t *bytes, size_t len, uint64_t sum,
                  uint8_t *out_page, uint32_t page_size);

#endif
