/*
 * wire_client.c - see wire_client.h.
 */
#include "tests/server/wire_client.h"

#include <string.h>

#include "client/remote/http_pages.h"

struct taking {
    struct wire_range *out;
    size_t max, count;
};

static void
take(void *ctx, const char *key, uint64_t offset, const uint8_t *data,
     size_t len, bool ends_object)
{
    struct taking *taking = ctx;

    if (taking->count < taking->max) {
        struct wire_range *range = &taking->out[taking->count];

        memset(range, 0, sizeof(*range));
        strcpy(range->key, key);
        range->offset = offset;
        range->len = len;
        range->first_byte = len > 0 ? data[0] : 0;
        range->ends_object = ends_object;
    }
    taking->count++;
}

void
wire_encode(struct ramet_buf *out, uint64_t lsn, unsigned flags,
            const uint32_t *pgnos, size_t count)
{
    struct ramet_point at = {.lsn = lsn};

    memset(at.hash.bytes, 0x5a, sizeof(at.hash.bytes));
    ramet_pages_encode(out, &at, flags, pgnos, count);
}

enum ramet_rc
wire_parse(const uint8_t *data, size_t len, const struct ramet_vid *volume,
           struct wire_range *out, size_t max, size_t *out_count,
           struct ramet_err *err)
{
    struct taking taking = {.out = out, .max = max};
    const enum ramet_rc rc =
        ramet_pages_parse(data, len, volume, take, &taking, err);

    *out_count = taking.count;
    return rc;
}
