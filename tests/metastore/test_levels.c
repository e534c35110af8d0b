/*
 * test_levels.c - how often a reader has to wait where a store takes many reads at a
 * time: what does not depend on another read is asked for with it.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "tests/metastore/model.h"
#include "tests/support/point.h"

/* A store as a bucket is one: `waits` are calls that had to end before their caller went
 * on, `reads` the requests in them. */
struct far_store {
    struct ramet_objstore base;
    struct ramet_objstore *inner;
    unsigned waits, reads;
    uint64_t bytes;
};

static enum ramet_rc
far_read(struct ramet_objstore *store, const char *key, uint64_t offset,
         void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct far_store *const far = (struct far_store *)store;

    far->waits++;
    far->reads++;
    far->bytes += len;
    return ramet_objstore_read(far->inner, key, offset, buf, len, out_got, err);
}

static enum ramet_rc
far_read_parts(struct ramet_objstore *store, const struct ramet_part *parts,
               size_t count, ramet_part_visit *visit, void *ctx,
               struct ramet_err *err)
{
    struct far_store *const far = (struct far_store *)store;

    far->waits++;
    far->reads += (unsigned)count;
    for (size_t i = 0; i < count; i++)
        far->bytes += parts[i].len;
    return ramet_objstore_read_parts(far->inner, parts, count, visit, ctx, err);
}

static enum ramet_rc
far_list(struct ramet_objstore *store, const char *prefix, const char *after,
         ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    struct far_store *const far = (struct far_store *)store;

    far->waits++;
    far->reads++;
    return ramet_objstore_list(far->inner, prefix, after, visit, ctx, err);
}

struct fixture {
    struct ramet_objstore *memory;
    struct model model;
    struct far_store far;
    struct ramet_history *history; /* cold, over `far` */
    const struct ramet_point *at;
};

/* `count` pages in one commit, with a map, or without; then a reader that knows the newest,
 * and nothing else. */
static void
fixture_open(struct fixture *f, uint32_t count, bool has_map)
{
    static const struct ramet_objstore_ops ops = {
        .read = far_read, .read_parts = far_read_parts, .list = far_list};
    struct ramet_history_options options = {.os = NULL};
    struct ramet_head head;

    memset(f, 0, sizeof(*f));
    assert_int_equal(ramet_memstore_open(&f->memory, NULL), RAMET_OK);
    model_init(&f->model, f->memory, 4);
    f->model.never_inline = true;
    model_write(&f->model, 1, count);
    do { /* until a commit names a map */
        if (has_map)
            model_write(&f->model, 1, 1);
        assert_int_equal(
            ramet_history_make_map(f->model.history, f->model.lsn, NULL),
            RAMET_OK);
        assert_int_equal(ramet_history_newest(f->model.history, &head, NULL),
                         RAMET_OK);
    } while (has_map && head.commits_since_map == head.lsn);
    f->far.base = (struct ramet_objstore){.ops = &ops,
                                          .traits = RAMET_STORE_READS_PARTS |
                                                    RAMET_STORE_LISTS_CHEAPLY |
                                                    RAMET_STORE_IS_PAID,
                                          .name = "far"};
    f->far.inner = f->memory;
    assert_int_equal(ramet_history_open(&f->far.base, &f->model.volume,
                                        &options, &f->history, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_history_newest(f->history, &head, NULL), RAMET_OK);
    f->at = point_at(f->history, head.lsn);
}

static void
fixture_close(struct fixture *f)
{
    ramet_history_close(f->history);
    model_done(&f->model);
    ramet_objstore_close(f->memory);
}

static enum ramet_rc
count_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    (void)pgno;
    (void)page;
    (void)err;
    ++*(unsigned *)ctx;
    return RAMET_OK;
}

/* How often it waits. */
static unsigned
read_pages(struct fixture *f, const uint32_t *pgnos, size_t count)
{
    unsigned seen = 0;

    f->far.waits = f->far.reads = 0;
    f->far.bytes = 0;
    assert_int_equal(ramet_history_read_pages(f->history, f->at, pgnos, count,
                                              false, count_page, &seen, NULL),
                     RAMET_OK);
    assert_int_equal(seen, count);
    return f->far.waits;
}

static unsigned
read_page(struct fixture *f, uint32_t pgno)
{
    return read_pages(f, &pgno, 1);
}

/* Page 1 is where the frames of its segment begin: that part of the segment comes with
 * the part of the table that says so. */
static void
page_1__waits_once_behind_the_head(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 12000, false);
    assert_int_equal(read_page(&f, 1), 1);
    assert_int_equal(f.far.reads, 2);
    fixture_close(&f);
}

/* A volume of a map of three levels, which one of up to 16 GiB has. */
static void
level__waits_thrice_cold_and_twice_with_the_inner_node_here(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 20000, true);
    (void)read_page(&f, 5); /* the root is here from now on */
    assert_true(read_page(&f, 18000) <= 3);
    assert_true(read_page(&f, 19000) <= 2); /* another leaf of the map */
    assert_int_equal(read_page(&f, 19001), 1);
    fixture_close(&f);
}

/* However many leaves of the map they need. */
static void
scattered_pages__wait_as_often_as_one(void **state)
{
    enum { COUNT = 120 };
    uint32_t pgnos[COUNT];
    struct fixture f;

    (void)state;
    fixture_open(&f, 20000, true);
    (void)read_page(&f, 5);
    for (uint32_t i = 0; i < COUNT; i++)
        pgnos[i] = 101 + i * 150;
    assert_true(read_pages(&f, pgnos, COUNT) <= 3);
    fixture_close(&f);
}

/* Before there is a map: where the parts of a segment's table are stands in the
 * commit. */
static void
scattered_pages__without_a_map_wait_twice(void **state)
{
    enum { COUNT = 40 };
    uint32_t pgnos[COUNT];
    struct fixture f;

    (void)state;
    fixture_open(&f, 12000, false);
    for (uint32_t i = 0; i < COUNT; i++)
        pgnos[i] = 17 + i * 299;
    assert_true(read_pages(&f, pgnos, COUNT) <= 3); /* with the head */
    for (uint32_t i = 0; i < COUNT; i++)
        pgnos[i] = 117 + i * 297;
    assert_true(read_pages(&f, pgnos, COUNT) <= 2);
    fixture_close(&f);
}

/* Who comes back to a small table has all of it, and waits for pages alone. */
static void
points__without_a_map_soon_wait_once_each(void **state)
{
    struct fixture f;
    unsigned waits = 0;

    (void)state;
    fixture_open(&f, 12000, false);
    for (uint32_t i = 0; i < 5; i++)
        (void)read_page(&f, 100 + 2000 * i);
    for (uint32_t i = 0; i < 20; i++)
        waits += read_page(&f, 50 + 577 * i);
    assert_int_equal(waits, 20);
    fixture_close(&f);
}

/* As the same, but what a cache has no room for is not read for each page. */
static void
points__with_little_memory_read_no_more_than_they_need(void **state)
{
    const struct ramet_history_options options = {.cache_bytes = 64u << 10};
    struct ramet_head head;
    struct fixture f;
    uint64_t bytes = 0;

    (void)state;
    fixture_open(&f, 12000, false);
    ramet_history_close(f.history);
    assert_int_equal(ramet_history_open(&f.far.base, &f.model.volume, &options,
                                        &f.history, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_history_newest(f.history, &head, NULL), RAMET_OK);
    for (uint32_t i = 0; i < 200; i++) {
        (void)read_page(&f, 1 + (i * 7919) % 12000);
        bytes += f.far.bytes;
    }
    print_message("%llu bytes a page\n", (unsigned long long)bytes / 200);
    assert_true(bytes / 200 < 16u << 10);
    fixture_close(&f);
}

/* What is read to be sent ahead is sent as it was read, and found by where each part of a
 * table begins: neighbours are not one read. */
static void
scattered_pages__of_what_is_sent_ahead_are_read_part_by_part(void **state)
{
    enum { COUNT = 60 };
    uint32_t pgnos[COUNT];
    struct ramet_located located[COUNT];
    struct fixture f;
    unsigned joined, alone;

    (void)state;
    for (uint32_t i = 0; i < COUNT; i++)
        pgnos[i] = 17 + i * 199;
    fixture_open(&f, 12000, false);
    assert_int_equal(
        ramet_history_locate(f.history, f.at, pgnos, COUNT, located, NULL),
        RAMET_OK);
    joined = f.far.reads;
    fixture_close(&f);
    fixture_open(&f, 12000, false);
    f.far.base.traits |= RAMET_STORE_SENDS_AHEAD;
    assert_int_equal(
        ramet_history_locate(f.history, f.at, pgnos, COUNT, located, NULL),
        RAMET_OK);
    alone = f.far.reads;
    fixture_close(&f);
    print_message("%u reads, %u part by part\n", joined, alone);
    assert_true(alone > 2 * joined);
}

/* A page alone is a read; two that are far apart are two, and what lies between them
 * does not come. */
static void
pages_far_apart__are_reads_of_their_own(void **state)
{
    const uint32_t pgnos[] = {100, 125};
    struct fixture f;
    uint64_t bytes;

    (void)state;
    fixture_open(&f, 20000, true);
    (void)read_page(&f, 101); /* nodes are here */
    assert_int_equal(read_page(&f, 120), 1);
    bytes = f.far.bytes;
    assert_int_equal(read_pages(&f, pgnos, 2), 1);
    assert_int_equal(f.far.reads, 2);
    assert_true(f.far.bytes < 4 * bytes);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_1__waits_once_behind_the_head),
        cmocka_unit_test(
            level__waits_thrice_cold_and_twice_with_the_inner_node_here),
        cmocka_unit_test(scattered_pages__wait_as_often_as_one),
        cmocka_unit_test(scattered_pages__without_a_map_wait_twice),
        cmocka_unit_test(points__without_a_map_soon_wait_once_each),
        cmocka_unit_test(
            points__with_little_memory_read_no_more_than_they_need),
        cmocka_unit_test(
            scattered_pages__of_what_is_sent_ahead_are_read_part_by_part),
        cmocka_unit_test(pages_far_apart__are_reads_of_their_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
