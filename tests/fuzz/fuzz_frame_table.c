/*
 * fuzz_frame_table.c - hostile bytes as a frame table, and as a chunk of one.
 *
 * The first byte chooses: bit 0 a chunk (sealed with the right hash), bit 1
 * with a dictionary; the second byte is the count of frames of a bare table.
 * What is accepted obeys the invariants of frame_table.c, and encodes to a
 * table that decodes to the same frames.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "pagestore/segment.h"

#define OBJECT_SIZE (1ull << 33)
#define BASE 1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_frame_table: %s\n", what);
        abort();
    }
}

static void
check_invariants(const struct ramet_frame *frames, uint32_t count, int has_dict)
{
    uint64_t last = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct ramet_frame *f = &frames[i];

        require(f->first_pgno > last, "pages don't ascend");
        require(f->page_count >= 1 && f->page_count <= RAMET_FRAME_PAGES_MAX,
                "page count");
        last = (uint64_t)f->first_pgno + f->page_count - 1;
        require(last <= UINT32_MAX, "page number overflows");
        require(f->extent.offset_bytes >= BASE + RAMET_SEGMENT_HEADER_SIZE,
                "in the header");
        require(f->extent.length_bytes >= 1 &&
                    f->extent.length_bytes <= RAMET_FRAME_BYTES_MAX,
                "length");
        require(f->extent.offset_bytes + f->extent.length_bytes <=
                    BASE + OBJECT_SIZE,
                "beyond the end");
        require(f->kind == RAMET_FRAME_PLAIN ||
                    (f->kind == RAMET_FRAME_DICT && has_dict),
                "kind");
    }
}

static void
check_round_trip(struct ramet_frame *frames, uint32_t count,
                 const struct ramet_extent *context,
                 const struct ramet_extent *dict)
{
    struct ramet_frame *back = calloc(count + 1u, sizeof(*back));
    struct ramet_buf out;
    struct ramet_reader in;

    for (uint32_t i = 0; i < count; i++)
        frames[i].extent.offset_bytes -= BASE;
    ramet_buf_init(&out, 1u << 20);
    require(ramet_frame_table_encode(frames, count, &out) == RAMET_OK,
            "can't be encoded");
    ramet_reader_init(&in, out.data, out.len);
    require(ramet_frame_table_decode(&in, count, context, dict, OBJECT_SIZE,
                                     back, NULL) == RAMET_OK,
            "own encoding is refused");
    require(ramet_reader_left(&in) == 0, "own encoding is not used up");
    for (uint32_t i = 0; i < count; i++)
        require(
            back[i].first_pgno == frames[i].first_pgno &&
                back[i].page_count == frames[i].page_count &&
                back[i].kind == frames[i].kind &&
                back[i].extent.offset_bytes ==
                    frames[i].extent.offset_bytes + BASE &&
                back[i].extent.length_bytes == frames[i].extent.length_bytes &&
                ramet_hash_equal(&back[i].extent.hash, &frames[i].extent.hash),
            "another frame comes back");
    ramet_buf_done(&out);
    free(back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ramet_extent context = {.offset_bytes = BASE};
    const struct ramet_extent some_dict = {.length_bytes = 1};
    const struct ramet_extent *dict;
    struct ramet_frame *frames = NULL;
    uint32_t count;
    struct ramet_err err = {0};
    enum ramet_rc rc;

    if (size < 2)
        return 0;
    dict = (data[0] & 2) != 0 ? &some_dict : NULL;
    count = data[1];
    if ((data[0] & 1) != 0) {
        struct ramet_table_chunk chunk = {
            .first_pgno = data[1],
            .last_pgno = size >= 6 ? ramet_get_le32(data + 2) : 0,
            .length_bytes = (uint32_t)(size - 2),
            .hash = ramet_hash128(data + 2, size - 2),
        };

        rc = ramet_table_chunk_decode(&chunk, data + 2, size - 2, &context,
                                      dict, OBJECT_SIZE, &frames, &count, &err);
        if (rc != RAMET_OK)
            require(frames == NULL, "frames and a failure");
    } else {
        struct ramet_reader in;

        frames = ramet_alloc((count + 1u) * sizeof(*frames));
        ramet_reader_init(&in, data + 2, size - 2);
        rc = ramet_frame_table_decode(&in, count, &context, dict, OBJECT_SIZE,
                                      frames, &err);
    }
    if (rc == RAMET_OK) {
        check_invariants(frames, count, dict != NULL);
        check_round_trip(frames, count, &context, dict);
    } else {
        require(rc == RAMET_ECORRUPT || rc == RAMET_EVERSION, "odd code");
        require(err.code == rc && err.text[0] != '\0', "no text");
    }
    ramet_free(frames);
    return 0;
}
