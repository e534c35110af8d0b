/*
 * delta_front.c - see delta_front.h.
 *
 * Layer: pagestore.
 */
#include "pagestore/delta_front.h"

#include <assert.h>

#include "core/bytes.h"

uint32_t
ramet_delta_front_length(const uint8_t *body, size_t len)
{
    struct ramet_reader in;
    uint64_t count;

    ramet_reader_init(&in, body, len);
    count = ramet_read_varint_max(&in, RAMET_DELTA_BLOCK_PAGES_MAX);
    if (in.bad || count == 0)
        return 0;
    assert(in.pos <= 2);
    return (uint32_t)(in.pos + (count + 1) * RAMET_DELTA_SUM_SIZE);
}

bool
ramet_delta_front_read(const uint8_t *body, size_t len,
                       struct ramet_delta_front *out_front)
{
    const uint32_t length = ramet_delta_front_length(body, len);
    struct ramet_reader in;

    if (length == 0 || length > len)
        return false;
    ramet_reader_init(&in, body, length);
    out_front->page_count =
        (uint32_t)ramet_read_varint_max(&in, RAMET_DELTA_BLOCK_PAGES_MAX);
    out_front->length_bytes = length;
    out_front->sums = ramet_read_bytes(&in, (size_t)out_front->page_count *
                                                RAMET_DELTA_SUM_SIZE);
    out_front->frame_sum = ramet_get_be64(body + in.pos);
    assert(in.pos + RAMET_DELTA_SUM_SIZE == length);
    return true;
}

uint64_t
ramet_delta_front_sum(const struct ramet_delta_front *front, uint32_t position)
{
    assert(position < front->page_count);
    return ramet_get_be64(front->sums +
                          (size_t)position * RAMET_DELTA_SUM_SIZE);
}

bool
ramet_delta_front_matches(const uint8_t *body, size_t len,
                          const struct ramet_hash *hash)
{
    const uint32_t length = ramet_delta_front_length(body, len);
    struct ramet_hash found;

    if (length == 0 || length > len)
        return false;
    found = ramet_hash128(body, length);
    return ramet_hash_equal(&found, hash);
}

bool
ramet_delta_block_matches(const uint8_t *body, size_t len,
                          const struct ramet_hash *hash)
{
    struct ramet_delta_front front;

    return ramet_delta_front_read(body, len, &front) &&
           ramet_delta_front_matches(body, len, hash) &&
           ramet_hash64(body + front.length_bytes, len - front.length_bytes) ==
               front.frame_sum;
}
