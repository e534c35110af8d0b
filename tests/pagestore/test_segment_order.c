/*
 * test_segment_order.c - segments whose frames do not lie by page number: each is found
 * through the table, which ascends, and what lies side by side is one range.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/frame.h"
#include "pagestore/segment.h"

#define PAGE 4096u
#define GROUP (RAMET_SEGMENT_GROUP_BYTES / PAGE)

struct written {
    struct ramet_objstore *store;
    struct ramet_vid volume;
    struct ramet_segment_info info;
    uint8_t *bytes; /* inline */
    size_t len;
};

/* A page that says its number, and compresses to some 60 bytes more for each part. */
static void
fill_page(uint8_t *page, uint32_t pgno)
{
    uint64_t x = pgno * 0x9e3779b97f4a7c15u + 1;

    memset(page, 0, PAGE);
    for (uint32_t i = 0; i < 8 * (1 + pgno % 7); i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(page + i * 8, &x, sizeof(x));
    }
}

static void
write_pages(struct written *w, const uint32_t *pgnos, size_t count,
            unsigned threads, bool allow_inline)
{
    const struct ramet_codec codec = {.threads = threads};
    struct ramet_segment_writer *writer = NULL;
    uint8_t page[PAGE];

    memset(w, 0, sizeof(*w));
    w->volume.id.bytes[0] = 0x11;
    assert_int_equal(ramet_memstore_open(&w->store, NULL), RAMET_OK);
    assert_int_equal(ramet_segment_writer_new(w->store, &w->volume, PAGE,
                                              &codec, &writer, NULL),
                     RAMET_OK);
    for (size_t i = 0; i < count; i++) {
        fill_page(page, pgnos[i]);
        assert_int_equal(ramet_segment_writer_add(writer, pgnos[i], page, NULL),
                         RAMET_OK);
    }
    assert_int_equal(ramet_segment_writer_finish(writer, allow_inline, &w->info,
                                                 &w->bytes, &w->len, NULL),
                     RAMET_OK);
}

static void
written_done(struct written *w)
{
    ramet_segment_info_done(&w->info);
    ramet_free(w->bytes);
    ramet_objstore_close(w->store);
}

/* All frames of the table, which ascend. The caller frees them. */
static struct ramet_frame *
all_frames(const struct written *w)
{
    struct ramet_frame *const all =
        calloc(w->info.frame_count + 1, sizeof(*all));
    uint32_t count = 0;

    if (w->info.frames != NULL) {
        memcpy(all, w->info.frames, w->info.frame_count * sizeof(*all));
        count = w->info.frame_count;
    }
    for (uint32_t i = 0; i < w->info.chunk_count; i++) {
        struct ramet_frame *frames = NULL;
        uint32_t more = 0;

        assert_int_equal(ramet_table_chunk_read(w->store, &w->volume, &w->info,
                                                i, &frames, &more, NULL),
                         RAMET_OK);
        assert_true(w->info.chunks[i].length_bytes <=
                    RAMET_TABLE_CHUNK_BYTES + 64);
        memcpy(all + count, frames, more * sizeof(*all));
        count += more;
        ramet_free(frames);
    }
    assert_int_equal(count, w->info.frame_count);
    for (uint32_t i = 1; i < count; i++)
        assert_true(all[i].first_pgno > all[i - 1].first_pgno);
    return all;
}

static const struct ramet_frame *
frame_of(const struct ramet_frame *all, uint32_t count, uint32_t pgno)
{
    for (uint32_t i = 0; i < count; i++)
        if (all[i].first_pgno == pgno)
            return &all[i];
    fail_msg("page %u is not in the table", pgno);
    return NULL;
}

/* Frames lie back to back in the order in which pages were added, and hold them. */
static void
check_places(const struct written *w, const uint32_t *pgnos, size_t count)
{
    struct ramet_frame *const all = all_frames(w);
    struct ramet_frame_reader *reader = NULL;
    uint64_t at = RAMET_SEGMENT_HEADER_SIZE;
    uint8_t expected[PAGE], page[PAGE];

    assert_int_equal(w->info.frame_count, count);
    assert_int_equal(ramet_frame_reader_new(w->store, &reader, NULL), RAMET_OK);
    for (size_t i = 0; i < count; i++) {
        struct ramet_frame frame =
            *frame_of(all, w->info.frame_count, pgnos[i]);
        const uint64_t inside =
            frame.extent.offset_bytes - RAMET_SEGMENT_HEADER_SIZE;

        assert_int_equal(frame.extent.offset_bytes, at);
        at += frame.extent.length_bytes;
        fill_page(expected, pgnos[i]);
        frame.extent.lsn = w->bytes != NULL ? 7 : 0;
        assert_int_equal(
            w->bytes != NULL
                ? ramet_frame_decode(reader, &frame, w->bytes + inside, PAGE,
                                     page, NULL)
                : ramet_frame_read(reader, &frame, PAGE, page, NULL),
            RAMET_OK);
        assert_memory_equal(page, expected, PAGE);
    }
    ramet_frame_reader_free(reader);
    free(all);
}

/* The pages of [first, last] in an order that is no order, each once. */
static size_t
scatter(uint32_t *out, uint32_t first, uint32_t last)
{
    const uint32_t count = last - first + 1;

    for (uint32_t i = 0; i < count; i++)
        out[i] = first + (uint32_t)((uint64_t)i * 1103 % count);
    return count;
}

static void
group__is_sixteen_mib_of_pages(void **state)
{
    (void)state;
    assert_int_equal(ramet_segment_group_pages(4096), 4096);
    assert_int_equal(ramet_segment_group_pages(65536), 256);
    assert_int_equal(ramet_segment_group(1, 4096), 0);
    assert_int_equal(ramet_segment_group(4096, 4096), 0);
    assert_int_equal(ramet_segment_group(4097, 4096), 1);
    assert_int_equal(ramet_segment_group(UINT32_MAX, 512),
                     (UINT32_MAX - 1) / 32768);
}

static void
inline__has_its_frames_in_any_order(void **state)
{
    static const uint32_t pgnos[] = {7, 2, 100, 3, 99, 1};
    struct written w;

    (void)state;
    write_pages(&w, pgnos, 6, 1, true);
    assert_non_null(w.bytes);
    assert_int_equal(w.info.first_pgno, 1);
    assert_int_equal(w.info.last_pgno, 100);
    check_places(&w, pgnos, 6);
    written_done(&w);
}

/* Three groups, the last of them begun, from any number of threads. */
static void
segment__has_the_frames_of_each_group_in_any_order(void **state)
{
    static uint32_t pgnos[3 * GROUP];

    (void)state;
    for (unsigned threads = 1; threads <= 3; threads++) {
        struct written w;
        size_t count = scatter(pgnos, 3, GROUP);

        count += scatter(pgnos + count, GROUP + 1, GROUP + 900);
        count += scatter(pgnos + count, 2 * GROUP + 50, 2 * GROUP + 99);
        write_pages(&w, pgnos, count, threads, true);
        assert_null(w.bytes);
        assert_true(w.info.chunk_count > 10);
        assert_int_equal(w.info.first_pgno, 3);
        assert_int_equal(w.info.last_pgno, 2 * GROUP + 99);
        check_places(&w, pgnos, count);
        written_done(&w);
    }
}

/* A table of frames that lie nowhere near each other is not much larger. */
static void
table__of_scattered_frames_takes_23_bytes_each(void **state)
{
    static uint32_t pgnos[GROUP];
    struct written in_order, scattered;
    uint64_t one = 0, other = 0;

    (void)state;
    for (uint32_t i = 0; i < GROUP; i++)
        pgnos[i] = i + 1;
    write_pages(&in_order, pgnos, GROUP, 1, false);
    (void)scatter(pgnos, 1, GROUP);
    write_pages(&scattered, pgnos, GROUP, 1, false);
    for (uint32_t i = 0; i < in_order.info.chunk_count; i++)
        one += in_order.info.chunks[i].length_bytes;
    for (uint32_t i = 0; i < scattered.info.chunk_count; i++)
        other += scattered.info.chunks[i].length_bytes;
    assert_in_range(one, 18 * GROUP, 20 * GROUP);
    assert_in_range(other, one, 23 * GROUP);
    written_done(&in_order);
    written_done(&scattered);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(group__is_sixteen_mib_of_pages),
        cmocka_unit_test(inline__has_its_frames_in_any_order),
        cmocka_unit_test(segment__has_the_frames_of_each_group_in_any_order),
        cmocka_unit_test(table__of_scattered_frames_takes_23_bytes_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
