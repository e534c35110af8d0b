/*
 * fuzz_http_answers.c - what a server may send to a client: streams of frames.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/http_pages.h"
#include "client/remote/http_ranges.h"
#include "metastore/profile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
keep(void *ctx, const char *key, uint64_t offset, const uint8_t *bytes,
     size_t len, bool ends_object)
{
    if (!ramet_key_valid(key))
        abort();
    ramet_ranges_put(ctx, key, offset, bytes, len, ends_object);
}

static void
opened(void *ctx, const struct ramet_opened *what)
{
    (void)ctx;
    (void)what;
}

static void
profile(void *ctx, const uint8_t *object, size_t len)
{
    (void)ctx;
    if (len > RAMET_PROFILE_OBJECT_MAX || (len > 0 && object == NULL))
        abort();
}

/* The same as the answer to who opens a volume with a profile, in two pieces. */
static void
open_by(const uint8_t *data, size_t size, struct ramet_ranges *ranges)
{
    struct ramet_pages_stream stream;
    struct ramet_vid volume;
    const size_t half = size / 2;

    memset(&volume, 7, sizeof(volume));
    ramet_pages_stream_init(&stream, &volume, keep, ranges);
    stream.opened = opened;
    stream.profile = profile;
    if (ramet_pages_stream_feed(&stream, data, half, NULL) == RAMET_OK)
        (void)!ramet_pages_stream_feed(&stream, data + half, size - half, NULL);
    ramet_pages_stream_done(&stream);
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
    open_by(data, size, ranges);
    ramet_ranges_free(ranges);
    return 0;
}
