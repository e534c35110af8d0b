/*
 * base_sum.c - see base_sum.h.
 */
#include "client/store/shared/base_sum.h"

#include <assert.h>
#include <string.h>

#include "client/store/shared/holes.h"
#include "client/store/shared/presence.h"
#include "client/store/shared/replica.h"

/* All of them zeros: the first page is never among them (holes.c). */
static void
sum_hole(uint32_t page_size, uint32_t count, uint8_t *block, uint64_t *out_sums)
{
    uint64_t zeros;

    assert(count >= 1 && count <= RAMET_BASE_BLOCK_PAGES);
    memset(block, 0, page_size);
    zeros = ramet_presence_of_hash(ramet_hash64(block, page_size));
    for (uint32_t i = 0; i < count; i++)
        out_sums[i] = zeros;
}

enum ramet_rc
ramet_base_sums(const struct ramet_replica *replica, uint32_t page_size,
                uint32_t first, uint32_t count, uint8_t *block,
                uint64_t *out_sums, struct ramet_err *err)
{
    const size_t len = (size_t)count * page_size;
    size_t got = 0;
    enum ramet_rc rc;

    assert(first != 0 && count != 0);
    assert(count <= ramet_base_block_pages(page_size));
    if (ramet_base_hole(replica, page_size, first, count) == count) {
        sum_hole(page_size, count, block, out_sums);
        return RAMET_OK;
    }
    rc = ramet_os_read_some(replica->os, replica->base_fd, block, len,
                            (uint64_t)(first - 1) * page_size, &got,
                            replica->path, err);
    if (rc != RAMET_OK)
        return rc;
    memset(block + got, 0, len - got);
    for (uint32_t i = 0; i < count; i++)
        out_sums[i] = ramet_presence_sum(
            first + i, block + (size_t)i * page_size, page_size);
    return RAMET_OK;
}
