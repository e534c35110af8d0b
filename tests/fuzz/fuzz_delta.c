/*
 * fuzz_delta.c - hostile bytes as a block of deltas, under a right hash, through
 * the reader that the product uses, and its parts over a base.
 *
 * The first byte chooses the page size, and whether the bytes are the block's
 * body or its content. Nothing is written beyond the page, and a page that is
 * made is the one that its sum names.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagestore/delta.h"

#define GUARD 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_delta: %s\n", what);
        abort();
    }
}

struct run {
    struct ramet_frame_reader *reader;
    uint32_t page_size;
};

static enum ramet_rc
try_content(void *ctx, const struct ramet_frame *frame, const uint8_t *content,
            size_t len, struct ramet_err *err)
{
    const struct run *const run = ctx;
    uint8_t *const base = calloc(1, run->page_size);
    uint8_t *const out = malloc(run->page_size + GUARD);
    struct ramet_delta_cursor cursor;

    (void)frame;
    (void)err;
    require(base != NULL && out != NULL, "no memory");
    memset(out, 0xa5, run->page_size + GUARD);
    if (ramet_delta_cursor_open(&cursor, content, len, run->page_size, NULL) !=
        RAMET_OK)
        goto done;
    for (uint32_t i = 0; i < 16; i++) {
        struct ramet_delta delta;

        /* On, back, and on again. */
        if (ramet_delta_cursor_find(&cursor, i % 3 == 2 ? i / 3 : i / 2, &delta,
                                    NULL) != RAMET_OK)
            break;
        require(delta.steps >= content &&
                    delta.steps + delta.steps_len <= content + len,
                "steps outside their block");
        require(delta.literals_len == 0 ||
                    (delta.literals >= content &&
                     delta.literals + delta.literals_len <= content + len),
                "literals outside their block");
        if (ramet_delta_apply(&delta, base, run->page_size, out, NULL) ==
            RAMET_OK)
            require(ramet_hash64(out, run->page_size) == delta.sum, "sum");
        for (size_t k = 0; k < GUARD; k++)
            require(out[run->page_size + k] == 0xa5, "beyond the page");
    }
done:
    free(base);
    free(out);
    return RAMET_OK;
}

/* The frame gets its sum, and the front its hash. */
static void
seal(uint8_t *block, size_t len, struct ramet_hash *out_hash)
{
    const uint32_t front = ramet_delta_front_length(block, len);

    memset(out_hash, 0, sizeof(*out_hash));
    if (front == 0 || front > len)
        return;
    ramet_put_be64(block + front - RAMET_DELTA_SUM_SIZE,
                   ramet_hash64(block + front, len - front));
    *out_hash = ramet_hash128(block, front);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ramet_frame frame = {.kind = RAMET_FRAME_DELTAS};
    struct ramet_objstore *store = NULL;
    struct run run = {.reader = NULL};
    struct iovec part;
    uint8_t *block;
    char key[RAMET_KEY_MAX];
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (size < 2 || size > 1u << 18)
        return 0;
    block = malloc(size - 1);
    require(block != NULL, "no memory");
    memcpy(block, data + 1, size - 1);
    run.page_size = RAMET_PAGE_SIZE_MIN << (data[0] & 7);
    frame.extent = (struct ramet_extent){
        .kind = RAMET_IN_SEGMENT,
        .length_bytes = (uint32_t)(size - 1),
        .hash_algo = RAMET_HASH_FRONT,
    };
    seal(block, size - 1, &frame.extent.hash);
    part = (struct iovec){block, size - 1};
    ramet_extent_key(&frame.extent, key);
    require(ramet_memstore_open(&store, NULL) == RAMET_OK &&
                ramet_objstore_put(store, key, &part, 1, NULL) == RAMET_OK &&
                ramet_frame_reader_new(store, &run.reader, NULL) == RAMET_OK,
            "no memory");
    if ((data[0] & 8) != 0) {
        (void)!try_content(&run, &frame, block, size - 1, &err);
    } else {
        rc = ramet_frame_read_many(run.reader, &frame, 1, run.page_size,
                                   try_content, &run, &err);
        require(rc == RAMET_OK || rc == RAMET_ECORRUPT || rc == RAMET_ENOMEM,
                "odd code");
        require(rc == RAMET_OK || err.text[0] != '\0', "no text");
    }
    ramet_frame_reader_free(run.reader);
    ramet_objstore_close(store);
    free(block);
    return 0;
}
