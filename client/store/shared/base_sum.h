/*
 * base_sum.h - checksums of the base as it is on the disk.
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_BASE_SUM_H
#define RAMET_CLIENT_STORE_SHARED_BASE_SUM_H

#include <assert.h>

#include "client/store/shared/session.h"

/* Bytes, and pages, that are read at once. */
#define RAMET_BASE_BLOCK_BYTES (256u << 10)
#define RAMET_BASE_BLOCK_PAGES 512u

static inline uint32_t
ramet_base_block_pages(uint32_t page_size)
{
    const uint32_t pages = RAMET_BASE_BLOCK_BYTES / page_size;

    assert(pages >= 1);
    return pages < RAMET_BASE_BLOCK_PAGES ? pages : RAMET_BASE_BLOCK_PAGES;
}

/*
 * What presence would say (presence.h) of pages `first` to `first` + `count` - 1
 * if they were held as they are: no more than a block. Past the end of the file
 * they are zeros; a block that is a hole is not read. `block` has
 * RAMET_BASE_BLOCK_BYTES. Takes no lock.
 */
RAMET_NODISCARD enum ramet_rc
ramet_base_sums(const struct ramet_replica *replica, uint32_t page_size,
                uint32_t first, uint32_t count, uint8_t *block,
                uint64_t *out_sums, struct ramet_err *err);

#endif
