/*
 * fuzz_frame.c - hostile bytes as a frame's body or as a stored dictionary,
 * under a right hash, through the reader that the product uses.
 *
 * The first byte chooses: bits 0-2 the page size, bit 3 the input is the
 * dictionary of a frame (and the body too), bits 4-7 the pages of the frame.
 * Nothing may be written beyond the pages, and what is accepted is a zstd
 * frame of exactly that length.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/frame.h"

#define GUARD 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_frame: %s\n", what);
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_frame frame = {.first_pgno = 1};
    struct ramet_frame_reader *reader = NULL;
    struct ramet_objstore *store = NULL;
    struct iovec part;
    char key[RAMET_KEY_MAX];
    struct ramet_err err = {0};
    uint32_t page_size;
    size_t page_bytes;
    uint8_t *out;
    enum ramet_rc rc;

    if (size < 2 || size > 1u << 20)
        return 0;
    page_size = RAMET_PAGE_SIZE_MIN << (data[0] & 7);
    frame.page_count = (uint32_t)(data[0] >> 4) + 1;
    frame.extent = (struct ramet_extent){
        .kind = RAMET_IN_SEGMENT,
        .length_bytes = (uint32_t)(size - 1),
        .hash_algo = RAMET_HASH_XXH3_128,
        .hash = ramet_hash128(data + 1, size - 1),
    };
    if ((data[0] & 8) != 0) {
        frame.kind = RAMET_FRAME_DICT;
        frame.base = frame.extent;
    }
    page_bytes = (size_t)frame.page_count * page_size;
    out = malloc(page_bytes + GUARD);
    require(out != NULL, "no memory");
    memset(out, 0xa5, page_bytes + GUARD);
    part = (struct iovec){(void *)(uintptr_t)(data + 1), size - 1};
    ramet_extent_key(&frame.extent, key);
    require(ramet_memstore_open(&store, NULL) == RAMET_OK &&
                ramet_objstore_put(store, key, &part, 1, NULL) == RAMET_OK &&
                ramet_frame_reader_new(store, &reader, NULL) == RAMET_OK,
            "no memory");
    rc = ramet_frame_read(reader, &frame, page_size, out, &err);
    if (rc != RAMET_OK) {
        require(rc == RAMET_ECORRUPT || rc == RAMET_ENOMEM, "odd code");
        require(err.code == rc && err.text[0] != '\0', "no text");
    }
    for (size_t i = 0; i < GUARD; i++)
        require(out[page_bytes + i] == 0xa5, "written beyond the pages");
    ramet_frame_reader_free(reader);
    ramet_objstore_close(store);
    free(out);
    return 0;
}
