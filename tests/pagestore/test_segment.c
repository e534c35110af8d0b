/*
 * test_segment.c - segments written and read back: every page size, sizes from
 * nothing to many frames, threads, limits, failing memory and stores.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/bytes.h"
#include "pagestore/segment.h"
#include "tests/support/faultstore.h"

struct fixture {
    struct ramet_objstore *memory;
    struct ramet_objstore *store; /* counts and fails; over memory */
    struct ramet_vid volume;
    uint8_t *dict;
    size_t dict_len;
    struct ramet_extent dict_extent;
};

/* What is in a page: noise, and words that other pages have too. */
static void
fill_page(uint8_t *page, uint32_t page_size, uint32_t pgno)
{
    uint64_t x = pgno * 0x9e3779b97f4a7c15u + 1;
    uint64_t word = 0;

    for (uint32_t i = 0; i < page_size; i++) {
        if (i % 16 == 0) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            word = (x >> 40) % 150 * 0xd1342543de82ef95u;
        }
        page[i] = (uint8_t)((i % 16 < 4 ? x : word) >> 8 * (i % 8));
    }
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    uint8_t *samples = malloc(2000 * 4096);
    bool worth = false;
    enum ramet_rc rc;

    *state = f;
    f->volume.id.bytes[0] = 0x11;
    if (ramet_memstore_open(&f->memory, NULL) != RAMET_OK)
        return -1;
    f->store = ramet_faultstore_new(f->memory);
    for (uint32_t i = 0; i < 2000; i++)
        fill_page(samples + (size_t)i * 4096, 4096, 9000 + i);
    rc = ramet_dict_train(samples, 2000, 4096, &worth, &f->dict, &f->dict_len,
                          NULL);
    free(samples);
    if (rc != RAMET_OK || !worth)
        return -1;
    rc = ramet_dict_store(f->memory, &f->volume, f->dict, f->dict_len,
                          &f->dict_extent, NULL);
    return rc == RAMET_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    ramet_objstore_close(f->store);
    ramet_objstore_close(f->memory);
    ramet_free(f->dict);
    free(f);
    return 0;
}

/* What to write: `count` pages; page i has the number first + i * step, but
 * every `hole`th number is left out (0: none). */
struct shape {
    uint32_t page_size;
    uint32_t count;
    uint32_t first;
    uint32_t hole;
    uint32_t pages_per_frame;
    unsigned threads;
    bool dict;
    bool allow_inline;
};

static struct ramet_codec
codec_of(const struct fixture *f, const struct shape *shape)
{
    struct ramet_codec codec = {.pages_per_frame = shape->pages_per_frame,
                                .threads = shape->threads};

    if (shape->dict) {
        codec.dict = f->dict;
        codec.dict_len = f->dict_len;
        codec.dict_extent = f->dict_extent;
    }
    return codec;
}

/* The next page number after `pgno` (0 at the start). */
static uint32_t
next_pgno(const struct shape *shape, uint32_t pgno)
{
    pgno = pgno == 0 ? shape->first : pgno + 1;
    if (shape->hole != 0 && pgno % shape->hole == 0)
        pgno++;
    return pgno;
}

struct written {
    struct ramet_segment_info info;
    uint8_t *bytes; /* inline */
    size_t len;
};

static enum ramet_rc
write_segment(struct fixture *f, struct ramet_objstore *store,
              const struct shape *shape, struct written *out)
{
    const struct ramet_codec codec = codec_of(f, shape);
    struct ramet_segment_writer *writer = NULL;
    uint8_t page[RAMET_PAGE_SIZE_MAX];
    struct ramet_err err = {0};
    uint32_t pgno = 0;
    enum ramet_rc rc = ramet_segment_writer_new(
        store, &f->volume, shape->page_size, &codec, &writer, &err);

    for (uint32_t i = 0; i < shape->count && rc == RAMET_OK; i++) {
        pgno = next_pgno(shape, pgno);
        fill_page(page, shape->page_size, pgno);
        rc = ramet_segment_writer_add(writer, pgno, page, &err);
    }
    if (rc == RAMET_OK)
        return ramet_segment_writer_finish(writer, shape->allow_inline,
                                           &out->info, &out->bytes, &out->len,
                                           &err);
    assert_int_equal(err.code, rc);
    ramet_segment_writer_abort(writer);
    return rc;
}

static void
written_done(struct written *written)
{
    ramet_segment_info_done(&written->info);
    ramet_free(written->bytes);
    written->bytes = NULL;
}

/* Store inline bytes as if in a commit, at an odd offset, and move frames. */
static void
place_inline(struct fixture *f, struct written *written, uint64_t lsn)
{
    const uint8_t filling[77] = {0};
    const struct iovec parts[] = {{(void *)(uintptr_t)filling, 77},
                                  {written->bytes, written->len}};
    char key[RAMET_KEY_MAX];

    for (uint32_t i = 0; i < written->info.frame_count; i++) {
        struct ramet_extent *extent = &written->info.frames[i].extent;

        assert_int_equal(extent->kind, RAMET_IN_COMMIT);
        extent->lsn = lsn;
        extent->offset_bytes += 77 - RAMET_SEGMENT_HEADER_SIZE;
    }
    ramet_extent_key(&written->info.frames[0].extent, key);
    assert_int_equal(ramet_objstore_put(f->memory, key, parts, 2, NULL),
                     RAMET_OK);
}

struct check {
    const struct shape *shape;
    uint32_t pgno; /* last seen */
    uint32_t pages;
    uint32_t frames;
};

static enum ramet_rc
check_frame(void *ctx, const struct ramet_frame *frame, const uint8_t *pages,
            size_t len, struct ramet_err *err)
{
    assert_true(len > 0);
    struct check *check = ctx;
    uint8_t expected[RAMET_PAGE_SIZE_MAX];

    (void)err;
    for (uint32_t i = 0; i < frame->page_count; i++) {
        check->pgno = next_pgno(check->shape, check->pgno);
        assert_int_equal(frame->first_pgno + i, check->pgno);
        fill_page(expected, check->shape->page_size, check->pgno);
        assert_memory_equal(pages + (size_t)i * check->shape->page_size,
                            expected, check->shape->page_size);
    }
    check->pages += frame->page_count;
    check->frames++;
    return RAMET_OK;
}

/* Read all pages back, through chunks if there are some. */
static void
check_segment(struct fixture *f, const struct shape *shape,
              const struct written *written)
{
    const struct ramet_segment_info *info = &written->info;
    struct check check = {.shape = shape};
    struct ramet_frame_reader *reader = NULL;

    assert_int_equal(ramet_frame_reader_new(f->store, &reader, NULL), RAMET_OK);
    if (info->chunk_count == 0)
        assert_int_equal(
            ramet_frame_read_many(reader, info->frames, info->frame_count,
                                  shape->page_size, check_frame, &check, NULL),
            RAMET_OK);
    for (uint32_t i = 0; i < info->chunk_count; i++) {
        const struct ramet_table_chunk *chunk = &info->chunks[i];
        struct ramet_frame *frames = NULL;
        uint32_t count = 0;

        assert_true(chunk->length_bytes <= RAMET_TABLE_CHUNK_BYTES + 1024);
        assert_int_equal(ramet_table_chunk_read(f->store, &f->volume, info, i,
                                                &frames, &count, NULL),
                         RAMET_OK);
        assert_int_equal(ramet_frame_read_many(reader, frames, count,
                                               shape->page_size, check_frame,
                                               &check, NULL),
                         RAMET_OK);
        assert_int_equal(check.pgno, chunk->last_pgno);
        ramet_free(frames);
    }
    ramet_frame_reader_free(reader);
    assert_int_equal(check.pages, shape->count);
    assert_int_equal(check.frames, info->frame_count);
    assert_int_equal(info->first_pgno, next_pgno(shape, 0));
    assert_int_equal(info->last_pgno, check.pgno);
    assert_int_equal(info->has_dict, shape->dict);
}

/* Check the object's size and header, which an inline one has not. */
static void
check_object(struct fixture *f, const struct shape *shape,
             const struct written *written)
{
    const struct ramet_extent extent = {.volume = f->volume,
                                        .kind = RAMET_IN_SEGMENT,
                                        .segment = written->info.id};
    uint8_t header[RAMET_SEGMENT_HEADER_SIZE];
    char key[RAMET_KEY_MAX];
    uint32_t page_size = 0;
    uint64_t size = written->len;

    if (written->bytes != NULL) {
        assert_true(ramet_id_is_nil(&written->info.id.id));
        assert_int_equal(written->info.size_bytes, size + sizeof(header));
        return;
    }
    ramet_extent_key(&extent, key);
    assert_int_equal(ramet_objstore_size(f->store, key, &size, NULL), RAMET_OK);
    assert_int_equal(ramet_objstore_read_full(f->store, key, 0, header,
                                              sizeof(header), NULL),
                     RAMET_OK);
    assert_int_equal(written->info.size_bytes, size);
    assert_int_equal(
        ramet_segment_header_check(header, &written->info.id, &page_size, NULL),
        RAMET_OK);
    assert_int_equal(page_size, shape->page_size);
}

static void
round_trip(struct fixture *f, const struct shape *shape)
{
    static uint64_t lsn;
    struct written written = {0};

    assert_int_equal(write_segment(f, f->store, shape, &written), RAMET_OK);
    if (shape->count == 0) {
        assert_int_equal(written.info.frame_count, 0);
        assert_null(written.bytes);
        assert_int_equal(written.len, 0);
        return;
    }
    assert_true(shape->allow_inline || written.bytes == NULL);
    check_object(f, shape, &written);
    if (written.bytes != NULL)
        place_inline(f, &written, ++lsn);
    check_segment(f, shape, &written);
    written_done(&written);
}

static void
segment__keeps_pages_of_every_size(void **state)
{
    static const uint32_t counts[] = {0, 1, 2, 7, 300};
    struct fixture *f = *state;

    for (uint32_t size = 512; size <= 65536; size *= 2)
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++)
            for (unsigned bits = 0; bits < 8; bits++) {
                const struct shape shape = {
                    .page_size = size,
                    .count = counts[c],
                    .first = 1,
                    .hole = (bits & 1) != 0 ? 5 : 0,
                    .threads = (bits & 2) != 0 ? 2 : 1,
                    .dict = (bits & 4) != 0,
                    .allow_inline = (counts[c] & 1) != 0,
                };

                round_trip(f, &shape);
            }
}

static void
segment__keeps_frames_of_any_length(void **state)
{
    static const uint32_t lengths[] = {1, 2, 3, 16, 63, 64, 1000};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        for (uint32_t hole = 0; hole < 12; hole += 3)
            for (uint32_t size = 512; size <= 65536; size *= 128) {
                const struct shape shape = {.page_size = size,
                                            .count = 200,
                                            .first = 12345,
                                            .hole = hole,
                                            .pages_per_frame = lengths[i],
                                            .threads = 1 + hole % 2,
                                            .dict = hole == 6};

                round_trip(f, &shape);
            }
}

static void
segment__of_many_frames_has_chunks(void **state)
{
    struct fixture *f = *state;
    struct shape shape = {.page_size = 512,
                          .count = 20000,
                          .first = UINT32_MAX - 30000,
                          .hole = 7,
                          .pages_per_frame = 1};
    struct written written = {0};

    assert_int_equal(write_segment(f, f->store, &shape, &written), RAMET_OK);
    assert_true(written.info.chunk_count >= 80);
    assert_null(written.info.frames);
    check_segment(f, &shape, &written);
    check_object(f, &shape, &written);
    for (uint32_t i = 1; i < written.info.chunk_count; i++) {
        const struct ramet_table_chunk *chunk = &written.info.chunks[i];

        assert_true(chunk->first_pgno > chunk[-1].last_pgno);
        assert_int_equal(chunk->offset_bytes,
                         chunk[-1].offset_bytes + chunk[-1].length_bytes);
    }
    written_done(&written);
}

static void
read_front(struct fixture *f, const struct written *written, uint8_t *out,
           size_t len)
{
    const struct ramet_extent extent = {.volume = f->volume,
                                        .kind = RAMET_IN_SEGMENT,
                                        .segment = written->info.id};
    char key[RAMET_KEY_MAX];

    ramet_extent_key(&extent, key);
    assert_int_equal(ramet_objstore_read_full(f->store, key, 0, out, len, NULL),
                     RAMET_OK);
}

/* The layout, from docs/format.md and not from the code. */
static void
segment__has_the_documented_bytes(void **state)
{
    static const uint8_t head[] = {0x52, 0x41, 0x4d, 0x54, 0x53, 0x45, 0x47, 2};
    struct fixture *f = *state;
    const struct shape shape = {.page_size = 1024, .count = 1, .first = 3};
    struct written written = {0};
    uint8_t bytes[37];

    assert_int_equal(write_segment(f, f->store, &shape, &written), RAMET_OK);
    read_front(f, &written, bytes, sizeof(bytes));
    assert_memory_equal(bytes, head, 8);
    assert_memory_equal(bytes + 8, &written.info.id, 16);
    assert_int_equal(ramet_get_le32(bytes + 24), 1024);
    assert_int_equal(ramet_get_le32(bytes + 28), 0);
    assert_int_equal(written.info.frames[0].extent.offset_bytes, 32);
    assert_int_equal(written.info.frames[0].extent.length_bytes,
                     written.info.size_bytes - 32);
    /* RFC 8878: magic, no content size, no checksum, no dictionary id */
    assert_int_equal(ramet_get_le32(bytes + 32), 0xfd2fb528);
    assert_int_equal(bytes[36], 0);
    written_done(&written);
}

static void
segment__has_no_header_inline_and_counts_as_if_it_had(void **state)
{
    struct fixture *f = *state;
    const struct shape shape = {
        .page_size = 1024, .count = 1, .first = 3, .allow_inline = true};
    struct written written = {0};

    assert_int_equal(write_segment(f, NULL, &shape, &written), RAMET_OK);
    assert_int_equal(written.info.frames[0].extent.offset_bytes, 32);
    assert_int_equal(written.info.frames[0].extent.length_bytes, written.len);
    assert_int_equal(written.info.size_bytes, written.len + 32);
    assert_int_equal(ramet_get_le32(written.bytes), 0xfd2fb528);
    assert_int_equal(written.bytes[4], 0);
    written_done(&written);
}

static void
segment__is_the_same_from_any_number_of_threads(void **state)
{
    struct fixture *f = *state;
    uint8_t *bytes[3] = {0};
    uint64_t size = 0;

    for (unsigned i = 0; i < 3; i++) {
        const struct shape shape = {.page_size = 4096,
                                    .count = 1000,
                                    .first = 1,
                                    .hole = 10,
                                    .threads = i * i + 1,
                                    .dict = true};
        struct ramet_extent extent = {.volume = f->volume,
                                      .kind = RAMET_IN_SEGMENT};
        struct written written = {0};
        char key[RAMET_KEY_MAX];

        assert_int_equal(write_segment(f, f->store, &shape, &written),
                         RAMET_OK);
        assert_true(i == 0 || written.info.size_bytes == size);
        size = written.info.size_bytes;
        bytes[i] = malloc((size_t)size);
        extent.segment = written.info.id;
        ramet_extent_key(&extent, key);
        assert_int_equal(ramet_objstore_read_full(f->store, key, 0, bytes[i],
                                                  (size_t)size, NULL),
                         RAMET_OK);
        if (i > 0) /* behind the id */
            assert_memory_equal(bytes[i] + 24, bytes[0] + 24, size - 24);
        written_done(&written);
    }
    for (unsigned i = 0; i < 3; i++)
        free(bytes[i]);
}

static void
inline__ends_at_its_limit(void **state)
{
    struct fixture *f = *state;
    bool was_inline = true;

    for (uint32_t count = 1; count < 400; count += 3) {
        const struct shape shape = {.page_size = 4096,
                                    .count = count,
                                    .first = 1,
                                    .allow_inline = true};
        struct written written = {0};

        assert_int_equal(write_segment(f, f->store, &shape, &written),
                         RAMET_OK);
        assert_true(written.len <= RAMET_SEGMENT_INLINE_MAX);
        assert_true(written.bytes != NULL ||
                    written.info.size_bytes > RAMET_SEGMENT_INLINE_MAX ||
                    written.info.chunk_count > 0);
        assert_true(was_inline || written.bytes == NULL); /* never again */
        was_inline = written.bytes != NULL;
        written_done(&written);
    }
    assert_false(was_inline);
}

/* Pages that shrink to nothing: it is the table that must not grow. */
static void
inline__ends_where_its_table_would_be_large(void **state)
{
    struct fixture *f = *state;
    struct ramet_segment_writer *writer = NULL;
    const uint8_t page[512] = {0};
    const struct ramet_codec codec = {.pages_per_frame = 1};
    struct written written = {0};

    assert_int_equal(ramet_segment_writer_new(f->store, &f->volume, 512, &codec,
                                              &writer, NULL),
                     RAMET_OK);
    for (uint32_t pgno = 1; pgno <= 1000; pgno++)
        assert_int_equal(ramet_segment_writer_add(writer, pgno, page, NULL),
                         RAMET_OK);
    assert_int_equal(ramet_segment_writer_finish(writer, true, &written.info,
                                                 &written.bytes, &written.len,
                                                 NULL),
                     RAMET_OK);
    assert_null(written.bytes);
    assert_true(written.info.size_bytes < RAMET_SEGMENT_INLINE_MAX);
    assert_true(written.info.chunk_count > 1);
    written_done(&written);
}

static void
inline__without_a_store_is_too_big_past_the_limit(void **state)
{
    struct fixture *f = *state;
    const struct shape small = {
        .page_size = 4096, .count = 10, .first = 1, .allow_inline = true};
    const struct shape large = {
        .page_size = 4096, .count = 400, .first = 1, .allow_inline = true};
    struct written written = {0};

    assert_int_equal(write_segment(f, NULL, &small, &written), RAMET_OK);
    assert_non_null(written.bytes);
    written_done(&written);
    assert_int_equal(write_segment(f, NULL, &large, &written), RAMET_ETOOBIG);
}

static void
size__grows_to_the_limit_by_bytes_or_by_table(void **state)
{
    struct fixture *f = *state;
    struct ramet_segment_writer *writer = NULL;
    const struct ramet_codec codec = {.pages_per_frame = 1};
    const uint8_t page[512] = {0};
    uint64_t before = 0;
    uint32_t pgno = 0;

    assert_int_equal(ramet_segment_writer_new(f->store, &f->volume, 512, &codec,
                                              &writer, NULL),
                     RAMET_OK);
    while (ramet_segment_writer_size(writer) <= RAMET_SEGMENT_BYTES_MAX) {
        assert_true(++pgno < 400000);
        assert_int_equal(ramet_segment_writer_add(writer, pgno, page, NULL),
                         RAMET_OK);
        assert_true(ramet_segment_writer_size(writer) >= before);
        before = ramet_segment_writer_size(writer);
    }
    assert_true(pgno > 100000);
    ramet_segment_writer_abort(writer);
}

static void
incompressible__frames_stay_below_their_bound(void **state)
{
    struct fixture *f = *state;
    struct ramet_segment_writer *writer = NULL;
    const struct ramet_codec codec = {.pages_per_frame = RAMET_FRAME_PAGES_MAX,
                                      .threads = 2};
    struct written written = {0};
    uint8_t *page = malloc(65536);
    uint64_t x = 88172645463325252u;

    assert_int_equal(ramet_segment_writer_new(f->store, &f->volume, 65536,
                                              &codec, &writer, NULL),
                     RAMET_OK);
    for (uint32_t pgno = 1; pgno <= 100; pgno++) {
        for (size_t i = 0; i < 65536; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            page[i] = (uint8_t)x;
        }
        assert_int_equal(ramet_segment_writer_add(writer, pgno, page, NULL),
                         RAMET_OK);
    }
    assert_int_equal(ramet_segment_writer_finish(writer, true, &written.info,
                                                 &written.bytes, &written.len,
                                                 NULL),
                     RAMET_OK);
    assert_int_equal(written.info.frame_count, 7); /* of 1 MiB */
    for (uint32_t i = 0; i < written.info.frame_count; i++)
        assert_true(written.info.frames[i].extent.length_bytes <=
                    RAMET_FRAME_BYTES_MAX / 2);
    written_done(&written);
    free(page);
}

static void
header_check__refuses_what_is_not_as_written(void **state)
{
    const struct ramet_sid id = {{{1, 2, 3}}};
    const struct ramet_sid other = {{{1, 2, 4}}};
    uint8_t header[RAMET_SEGMENT_HEADER_SIZE] = {
        0x52, 0x41, 0x4d, 0x54, 0x53, 0x45, 0x47, 2, 1, 2, 3};
    uint32_t page_size = 7;

    (void)state;
    header[25] = 0x10; /* 4096 */
    assert_int_equal(
        ramet_segment_header_check(header, &other, &page_size, NULL),
        RAMET_ECORRUPT);
    assert_int_equal(page_size, 7);
    assert_int_equal(ramet_segment_header_check(header, &id, &page_size, NULL),
                     RAMET_OK);
    assert_int_equal(page_size, 4096);
    for (size_t bit = 0; bit < sizeof(header) * 8; bit++) {
        enum ramet_rc rc;

        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
        rc = ramet_segment_header_check(header, &id, &page_size, NULL);
        header[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (bit == 25 * 8 + 4) /* page size 0: a dictionary */
            assert_int_equal(rc, RAMET_OK);
        else
            assert_int_equal(rc,
                             bit / 8 == 7 ? RAMET_EVERSION : RAMET_ECORRUPT);
    }
}

/* ---- faults --------------------------------------------------------------- */

static void
chunk_read__notices_what_the_store_does_wrong(void **state)
{
    static const enum ramet_fault faults[] = {
        RAMET_FAULT_FLIP_BIT, RAMET_FAULT_SHORT, RAMET_FAULT_OTHER_KEY};
    struct fixture *f = *state;
    const struct shape shape = {
        .page_size = 512, .count = 2000, .first = 1, .pages_per_frame = 1};
    struct written written = {0};
    struct ramet_frame *frames = NULL;
    uint32_t count = 0;

    assert_int_equal(write_segment(f, f->store, &shape, &written), RAMET_OK);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        ramet_faultstore_arm(f->store, faults[i], 0, RAMET_OK);
        assert_int_equal(ramet_table_chunk_read(f->store, &f->volume,
                                                &written.info, 1, &frames,
                                                &count, NULL),
                         RAMET_ECORRUPT);
    }
    ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, 0, RAMET_ETIMEOUT);
    assert_int_equal(ramet_table_chunk_read(f->store, &f->volume, &written.info,
                                            1, &frames, &count, NULL),
                     RAMET_ETIMEOUT);
    written.info.chunks[1].length_bytes = RAMET_TABLE_CHUNK_BYTES_MAX + 1;
    assert_int_equal(ramet_table_chunk_read(f->store, &f->volume, &written.info,
                                            1, &frames, &count, NULL),
                     RAMET_ECORRUPT);
    assert_null(frames);
    written_done(&written);
}

static bool
count_segments(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    ++*(unsigned *)ctx;
    return true;
}

static void
write__with_each_request_failing_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    for (unsigned threads = 1; threads <= 2; threads++) {
        const struct shape shape = {
            .page_size = 4096, .count = 1000, .first = 1, .threads = threads};
        enum ramet_rc rc = RAMET_EUNREACHABLE;
        uint64_t nth;

        for (nth = 0; rc == RAMET_EUNREACHABLE; nth++) {
            struct written written = {0};
            unsigned count = 0;

            assert_true(nth < 100);
            ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, nth,
                                 RAMET_EUNREACHABLE);
            rc = write_segment(f, f->store, &shape, &written);
            assert_true(rc == RAMET_OK || rc == RAMET_EUNREACHABLE);
            assert_int_equal(ramet_objstore_list(f->memory, "", NULL,
                                                 count_segments, &count, NULL),
                             RAMET_OK);
            /* the dictionary, and what was written before and now */
            assert_int_equal(count, threads + (rc == RAMET_OK ? 1 : 0));
            written_done(&written);
        }
        ramet_faultstore_arm(f->store, RAMET_FAULT_NONE, 0, RAMET_OK);
        assert_true(nth > 4);
    }
}

static void
write__with_a_lost_reply_says_unknown(void **state)
{
    struct fixture *f = *state;
    const struct shape shape = {.page_size = 4096, .count = 3, .first = 1};
    struct written written = {0};

    ramet_faultstore_arm(f->store, RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    assert_int_equal(write_segment(f, f->store, &shape, &written),
                     RAMET_EUNKNOWN);
    assert_null(written.info.frames);
}

static void
write__survives_failure_of_each_allocation(void **state)
{
    struct fixture *f = *state;

    for (unsigned bits = 0; bits < 8; bits++) {
        const struct shape shape = {.page_size = 4096,
                                    .count = (bits & 1) != 0 ? 1000 : 3,
                                    .first = 1,
                                    .threads = (bits & 2) != 0 ? 2 : 1,
                                    .dict = (bits & 4) != 0,
                                    .allow_inline = true};
        enum ramet_rc rc = RAMET_ENOMEM;
        long nth;
        long succeeded = 0;

        /* a thread that can't be had is done without: success may come early,
         * and failure after it */
        for (nth = 0; succeeded < 20; nth++) {
            struct written written = {0};

            assert_true(nth < 500);
            ramet_alloc_fail_at(nth);
            rc = write_segment(f, f->memory, &shape, &written);
            ramet_alloc_fail_at(-1);
            assert_true(rc == RAMET_OK || rc == RAMET_ENOMEM);
            succeeded = rc == RAMET_OK ? succeeded + 1 : 0;
            if (rc == RAMET_OK && written.bytes == NULL)
                check_segment(f, &shape, &written);
            written_done(&written);
        }
        assert_true(nth > 25);
    }
}

static void
write__may_be_aborted_at_any_time(void **state)
{
    struct fixture *f = *state;
    const struct ramet_codec codec = {.threads = 3};
    uint8_t page[4096];
    unsigned count = 0;

    for (uint32_t pages = 0; pages < 1000; pages = pages * 2 + 1) {
        struct ramet_segment_writer *writer = NULL;

        assert_int_equal(ramet_segment_writer_new(f->store, &f->volume, 4096,
                                                  &codec, &writer, NULL),
                         RAMET_OK);
        for (uint32_t i = 1; i <= pages; i++) {
            fill_page(page, 4096, i);
            assert_int_equal(ramet_segment_writer_add(writer, i, page, NULL),
                             RAMET_OK);
        }
        ramet_segment_writer_abort(writer);
    }
    ramet_segment_writer_abort(NULL);
    assert_int_equal(
        ramet_objstore_list(f->memory, "", NULL, count_segments, &count, NULL),
        RAMET_OK);
    assert_int_equal(count, 1); /* the dictionary */
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(segment__keeps_pages_of_every_size),
        TEST(segment__keeps_frames_of_any_length),
        TEST(segment__of_many_frames_has_chunks),
        TEST(segment__has_the_documented_bytes),
        TEST(segment__has_no_header_inline_and_counts_as_if_it_had),
        TEST(segment__is_the_same_from_any_number_of_threads),
        TEST(inline__ends_at_its_limit),
        TEST(inline__ends_where_its_table_would_be_large),
        TEST(inline__without_a_store_is_too_big_past_the_limit),
        TEST(size__grows_to_the_limit_by_bytes_or_by_table),
        TEST(incompressible__frames_stay_below_their_bound),
        cmocka_unit_test(header_check__refuses_what_is_not_as_written),
        TEST(chunk_read__notices_what_the_store_does_wrong),
        TEST(write__with_each_request_failing_leaves_nothing),
        TEST(write__with_a_lost_reply_says_unknown),
        TEST(write__survives_failure_of_each_allocation),
        TEST(write__may_be_aborted_at_any_time),
    };
    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
