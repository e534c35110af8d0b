/*
 * segment.c - a segment's header, and the description that commits carry.
 *
 * Layer: pagestore.
 */
#include "pagestore/segment.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/segment_header.h"

static const uint8_t magic[8] = {'R', 'A', 'M', 'T', 'S', 'E', 'G', 2};

bool
ramet_page_size_valid(uint64_t page_size)
{
    return page_size >= RAMET_PAGE_SIZE_MIN &&
           page_size <= RAMET_PAGE_SIZE_MAX &&
           (page_size & (page_size - 1)) == 0;
}

void
ramet_segment_header_put(uint8_t out[RAMET_SEGMENT_HEADER_SIZE],
                         const struct ramet_sid *id, uint32_t page_size)
{
    assert(page_size == 0 || ramet_page_size_valid(page_size));
    memcpy(out, magic, sizeof(magic));
    memcpy(out + 8, id->id.bytes, RAMET_ID_SIZE);
    ramet_put_le32(out + 24, page_size);
    ramet_put_le32(out + 28, 0);
}

enum ramet_rc
ramet_segment_header_check(const uint8_t header[RAMET_SEGMENT_HEADER_SIZE],
                           const struct ramet_sid *id, uint32_t *out_page_size,
                           struct ramet_err *err)
{
    const uint32_t page_size = ramet_get_le32(header + 24);

    assert(out_page_size != NULL);
    if (memcmp(header, magic, sizeof(magic) - 1) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "segment: not a segment");
    if (header[7] != magic[7])
        return RAMET_FAIL(err, RAMET_EVERSION,
                          "segment: format version %u, this program knows %u",
                          header[7], magic[7]);
    if (memcmp(header + 8, id->id.bytes, RAMET_ID_SIZE) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "segment: has the id of another");
    if (page_size != 0 && !ramet_page_size_valid(page_size))
        return RAMET_FAIL(err, RAMET_ECORRUPT, "segment: page size %" PRIu32,
                          page_size);
    if (ramet_get_le32(header + 28) != 0)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "segment: reserved field set");
    *out_page_size = page_size;
    return RAMET_OK;
}

void
ramet_segment_info_done(struct ramet_segment_info *info)
{
    assert(info->frames == NULL || info->chunks == NULL); /* one or the other */
    ramet_free(info->frames);
    ramet_free(info->chunks);
    memset(info, 0, sizeof(*info));
}

uint32_t
ramet_segment_group_pages(uint32_t page_size)
{
    assert(ramet_page_size_valid(page_size));
    return RAMET_SEGMENT_GROUP_BYTES / page_size;
}

uint32_t
ramet_segment_group(uint32_t pgno, uint32_t page_size)
{
    assert(pgno >= 1);
    return (pgno - 1) / ramet_segment_group_pages(page_size);
}
