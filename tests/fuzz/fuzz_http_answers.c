/*
 * fuzz_http_answers.c - what a server may send to a client: streams of frames.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/http_pages.h"
#include "client/remote/http_ranges.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
keep(void *ctx, const char *key, uint64_t offset, const uint8_t *bytes,
     size_t len, bool ends_object)
{
    if (!ramet_key_valid(key))
        abort();
    ramet_ranges_put(ctx, key, offset, bytes, len, ends_object);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_ranges *ranges = ramet_ranges_new(64u << 10);
    struct ramet_vid volume;

    if (ranges == NULL)
        return 0;
    memset(&volume, 7, sizeof(volume));
    (void)!ramet_pages_parse(data, size, &volume, keep, ranges, NULL);
    ramet_ranges_free(ranges);
    return 0;
}
