/*
 * frame_fixture.c - see frame_fixture.h.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zdict.h>
#include <zstd.h>

#include "tests/pagestore/frame_fixture.h"

void
fill_page(uint8_t page[PAGE], uint32_t pgno)
{
    char *at = (char *)page;
    size_t left = PAGE;
    unsigned n = 0;

    memset(page, 0, PAGE);
    while (left > 64) {
        const int len =
            snprintf(at, left, "row %u of page %u, user%u@example.org;", n,
                     pgno, (pgno * 2654435761u + n * 40503u) % 100000u);

        at += len;
        left -= (size_t)len;
        n++;
    }
}

static size_t
train_dict(uint8_t dict[DICT_SIZE])
{
    enum { SAMPLES = 200 };
    uint8_t *pages = malloc((size_t)SAMPLES * PAGE);
    size_t sizes[SAMPLES];
    size_t len;

    for (uint32_t i = 0; i < SAMPLES; i++) {
        fill_page(pages + (size_t)i * PAGE, 1000 + i);
        sizes[i] = PAGE;
    }
    len = ZDICT_trainFromBuffer(dict, DICT_SIZE, pages, sizes, SAMPLES);
    free(pages);
    return ZDICT_isError(len) ? 0 : len;
}

int
frame_setup(void **state)
{
    struct frame_fixture *f = calloc(1, sizeof(*f));

    *state = f;
    if (ramet_memstore_open(&f->memory, NULL) != RAMET_OK)
        return -1;
    f->store = ramet_faultstore_new(f->memory);
    f->dict_len = train_dict(f->dict);
    if (f->store == NULL || f->dict_len == 0)
        return -1;
    return ramet_frame_reader_new(f->store, &f->reader, NULL) == RAMET_OK ? 0
                                                                          : -1;
}

int
frame_teardown(void **state)
{
    struct frame_fixture *f = *state;

    ramet_frame_reader_free(f->reader);
    ramet_objstore_close(f->store);
    ramet_objstore_close(f->memory);
    free(f);
    return 0;
}

struct ramet_extent
place_bytes(struct frame_fixture *f, uint8_t id, const void *bytes, size_t len,
            size_t before)
{
    struct ramet_extent extent = {.kind = RAMET_IN_SEGMENT,
                                  .segment = {{{id}}},
                                  .offset_bytes = before,
                                  .length_bytes = (uint32_t)len,
                                  .hash_algo = RAMET_HASH_XXH3_128,
                                  .hash = ramet_hash128(bytes, len)};
    uint8_t *filling = calloc(1, before + 1);
    const struct iovec parts[] = {{filling, before},
                                  {(void *)(uintptr_t)bytes, len}};
    char key[RAMET_KEY_MAX];

    ramet_extent_key(&extent, key);
    assert_int_equal(ramet_objstore_put(f->memory, key, parts, 2, NULL),
                     RAMET_OK);
    free(filling);
    return extent;
}

struct ramet_frame
put_frame(struct frame_fixture *f, uint8_t id, uint32_t first_pgno,
          uint32_t count)
{
    struct ramet_frame frame = {.first_pgno = first_pgno, .page_count = count};
    uint8_t *pages = malloc((size_t)count * PAGE);
    uint8_t *body = malloc(ZSTD_compressBound((size_t)count * PAGE));
    size_t len;

    for (uint32_t i = 0; i < count; i++)
        fill_page(pages + (size_t)i * PAGE, first_pgno + i);
    len = ZSTD_compress(body, ZSTD_compressBound((size_t)count * PAGE), pages,
                        (size_t)count * PAGE, 3);
    frame.extent = place_bytes(f, id, body, len, 32);
    free(pages);
    free(body);
    return frame;
}

struct ramet_extent
put_dict(struct frame_fixture *f, uint8_t id)
{
    uint8_t body[2 * DICT_SIZE];
    const size_t len =
        ZSTD_compress(body, sizeof(body), f->dict, f->dict_len, 3);

    return place_bytes(f, id, body, len, 32);
}

struct ramet_frame
put_dict_frame(struct frame_fixture *f, uint8_t id, uint32_t pgno,
               const struct ramet_extent *base)
{
    struct ramet_frame frame = {.kind = RAMET_FRAME_DICT,
                                .first_pgno = pgno,
                                .page_count = 1,
                                .base = *base};
    ZSTD_CCtx *cctx = ZSTD_createCCtx();
    uint8_t page[PAGE];
    uint8_t body[2 * PAGE];
    size_t len;

    fill_page(page, pgno);
    len = ZSTD_compress_usingDict(cctx, body, sizeof(body), page, PAGE, f->dict,
                                  f->dict_len, 3);
    ZSTD_freeCCtx(cctx);
    frame.extent = place_bytes(f, id, body, len, 32);
    return frame;
}

enum ramet_rc
visit(void *ctx, const struct ramet_frame *frame, const uint8_t *pages,
      size_t len, struct ramet_err *err)
{
    struct visited *visited = ctx;
    uint8_t page[PAGE];

    assert_int_equal(len, (size_t)frame->page_count * PAGE);
    assert_true(visited->count < 64);
    visited->seen[visited->count++] = frame->first_pgno;
    for (uint32_t i = 0; i < frame->page_count; i++) {
        fill_page(page, frame->first_pgno + i);
        assert_memory_equal(pages + (size_t)i * PAGE, page, PAGE);
    }
    if (visited->count == visited->fail_at)
        return RAMET_FAIL(err, RAMET_ECANCELLED, "enough");
    return RAMET_OK;
}

enum ramet_rc
read_many(struct frame_fixture *f, const struct ramet_frame *frames,
          size_t count, struct visited *visited)
{
    return ramet_frame_read_many(f->reader, frames, count, PAGE, visit, visited,
                                 NULL);
}
