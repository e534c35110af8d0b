/*
 * test_fetcher.c - pages that come when they are read: one request for many
 * who miss the same one, few for a scan, and clear errors.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/pipeline.h"
#include "client/remote/pipeline_impl.h"
#include "client/remote/remote_client.h"
#include "client/sync/fetcher.h"
#include "client/sync/rest.h"
#include "client/volume/file_impl.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "core/thread.h"
#include "tests/client/sync/world.h"
#include "tests/support/faultstore.h"

enum { PAGE = 4096, PAGES = 1000, SIZE = PAGES * PAGE, THREADS = 8 };

static uint8_t *bytes;

/* A database's volume on machine 0, and a lazy clone of it on machine 1. */
static int
setup(void **state)
{
    struct ramet_file_options options;
    struct ramet_file *a = NULL;
    struct world *world;

    if (world_setup(state) != 0)
        return -1;
    world = *state;
    bytes = malloc(SIZE);
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++) /* does not compress to nothing */
        bytes[i] = (uint8_t)(i * 2654435761u >> 13 ^ i / PAGE);
    memcpy(bytes, "SQLite format 3", 16);
    bytes[16] = PAGE >> 8;
    bytes[17] = 0;
    world_options(world, 0, &options);
    options.kind = RAMET_KIND_SQLITE;
    OK(ramet_file_open(world_path(world, "a"), &options, &a, e));
    world_write(a, 0, bytes, SIZE);
    OK(ramet_file_push(a, NULL, e));
    ramet_file_close(a);
    ramet_file_close(world_clone(world, 1, "b", false));
    world_restart(world, 1);
    return 0;
}

static int
teardown(void **state)
{
    free(bytes);
    return world_teardown(state);
}

static void
expect_page(struct ramet_file *file, uint32_t pgno)
{
    uint8_t page[PAGE];
    size_t got;

    OK(ramet_file_pin(file, e));
    OK(ramet_file_read(file, (uint64_t)(pgno - 1) * PAGE, page, PAGE, &got, e));
    ramet_file_unpin(file);
    assert_int_equal(got, PAGE);
    assert_memory_equal(page, bytes + (size_t)(pgno - 1) * PAGE, PAGE);
}

struct reader {
    struct ramet_file *file;
    struct ramet_thread thread;
    uint32_t first;
    uint32_t step;
};

static void *
read_pages(void *arg)
{
    const struct reader *const reader = arg;

    for (uint32_t pgno = reader->first; pgno <= PAGES; pgno += reader->step)
        expect_page(reader->file, pgno);
    return NULL;
}

static void
run_readers(struct world *world, uint32_t first, uint32_t step)
{
    struct reader readers[THREADS];

    for (unsigned i = 0; i < THREADS; i++)
        readers[i] = (struct reader){
            .file = world_open(world, 1, "b"), .first = first, .step = step};
    for (unsigned i = 0; i < THREADS; i++)
        OK(ramet_thread_start(&readers[i].thread, "reader", read_pages,
                              &readers[i], e));
    for (unsigned i = 0; i < THREADS; i++)
        ramet_thread_join(&readers[i].thread);
    for (unsigned i = 0; i < THREADS; i++)
        ramet_file_close(readers[i].file);
}

/* However eight threads meet, a page is asked for once. */
static void
fetch__of_one_page_by_many_is_one_request(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const b = world_open(world, 1, "b");
    uint64_t before;
    uint64_t fetched;

    expect_page(b, 450); /* heads and nodes are known from here on */
    before = world_status(b).fetched_pages;
    run_readers(world, 17, 97);
    fetched = world_status(b).fetched_pages - before;
    assert_int_equal(fetched, (PAGES - 17) / 97 + 1);
    ramet_file_close(b);
}

/* Stands before the fetcher of a replica and lets another go first. */
struct overtaking {
    struct ramet_page_fetcher *fetcher;
    struct ramet_file *other;
    bool is_done;
};

static enum ramet_rc
fetch_overtaken(void *ctx, const struct ramet_point *at, uint32_t pgno,
                struct ramet_page_request *sink, struct ramet_err *err)
{
    struct overtaking *const overtaking = ctx;

    if (!overtaking->is_done) {
        overtaking->is_done = true;
        for (uint32_t i = 0; i < 10; i++)
            expect_page(overtaking->other, pgno + 30 * i);
    }
    return ramet_page_fetcher_run(overtaking->fetcher, at, pgno, sink, err);
}

/* A reader is kept off the processor between its miss and its fetch, for as
 * long as others take to bring that page and many more. */
static void
fetch__of_a_page_that_came_meanwhile_asks_for_nothing(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const b = world_open(world, 1, "b");
    struct overtaking overtaking = {.fetcher = b->replica_sync->fetcher,
                                    .other = world_open(world, 1, "b")};
    uint64_t before;

    expect_page(b, 450);
    before = world_status(b).fetched_pages;
    ramet_replica_set_fetcher(b->replica_sync->replica, fetch_overtaken,
                              &overtaking);
    expect_page(b, 20);
    ramet_replica_set_fetcher(b->replica_sync->replica, ramet_page_fetcher_run,
                              b->replica_sync->fetcher);
    assert_int_equal(world_status(b).fetched_pages - before, 10);
    ramet_file_close(overtaking.other);
    ramet_file_close(b);
}

/* The page came between the reader's miss and his call. */
static enum ramet_rc
look_it_came(void *ctx, uint8_t *out_page, bool *out_here,
             struct ramet_err *err)
{
    (void)ctx;
    (void)err;
    memset(out_page, 1, PAGE);
    *out_here = true;
    return RAMET_OK;
}

static void
head_of(struct ramet_file *file, struct ramet_head *out)
{
    struct ramet_history *history;
    struct ramet_vid volume;

    assert_true(ramet_replica_sync_volume(file->replica_sync, &volume));
    OK(ramet_remote_client_history(
        ramet_replica_sync_client(file->replica_sync), &volume, &history, e));
    OK(ramet_history_head(history, 1, out, e)); /* its only commit */
}

/* On a processor that is quick to bring and slow to read that is most pages:
 * they count for what is brought ahead. */
static void
fetch__that_is_overtaken_goes_on_with_its_scan(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const b = world_open(world, 1, "b");
    struct ramet_pipeline *pipeline;
    struct ramet_head head;
    uint8_t page[PAGE];
    uint64_t before;
    bool here;

    expect_page(b, 450);
    head_of(b, &head);
    head.kind = RAMET_KIND_BLOB; /* whose pages are read by number */
    OK(ramet_page_fetcher_pipeline(b->replica_sync->fetcher, b->session, false,
                                   &pipeline, e));
    before = ramet_pipeline_counts(pipeline).asked;
    for (uint32_t pgno = 100; pgno < 120; pgno++)
        OK(ramet_pipeline_read(pipeline, &head, &head, pgno, page, &here, 0,
                               look_it_came, NULL, e));
    assert_in_range(ramet_pipeline_counts(pipeline).asked - before, 8, 64);
    ramet_file_close(b);
}

static void
fetch__of_a_scan_takes_few_requests(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const b = world_open(world, 1, "b");

    ramet_faultstore_reset_counts(world->faults[1]);
    for (uint32_t pgno = 1; pgno <= PAGES; pgno++)
        expect_page(b, pgno);
    assert_in_range(ramet_faultstore_counts(world->faults[1]).reads, 5, 60);
    assert_in_range(world_status(b).fetched_pages, PAGES - 1, PAGES + 64);
    ramet_file_close(b);
}

static void
fetch__by_many_scans_brings_each_page_about_once(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const b = world_open(world, 1, "b");

    run_readers(world, 1, 1);
    assert_in_range(world_status(b).fetched_pages, PAGES - 1, PAGES * 5 / 4);
    ramet_faultstore_set_down(world->faults[1], RAMET_EUNREACHABLE);
    world_expect(b, bytes, SIZE); /* all of it is here now */
    ramet_file_close(b);
}

static void
fetch__without_the_remote_says_which_and_fails_fast(void **state)
{
    struct world *const world = *state;
    struct ramet_file *const b = world_open(world, 1, "b");
    struct ramet_err err;
    uint8_t page[PAGE];
    size_t got;

    expect_page(b, 10);
    ramet_faultstore_set_down(world->faults[1], RAMET_EUNREACHABLE);
    ramet_faultstore_reset_counts(world->faults[1]);
    OK(ramet_file_pin(b, e));
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(
            ramet_file_read(b, 700u * PAGE, page, PAGE, &got, &err),
            RAMET_EUNREACHABLE);
    ramet_file_unpin(b);
    assert_non_null(strstr(err.text, "/b"));
    assert_non_null(strstr(err.text, "page 701"));
    assert_non_null(strstr(err.text, world->urls[1]));
    /* The breaker: far fewer than one request a miss, however slow we are. */
    assert_in_range(ramet_faultstore_counts(world->faults[1]).reads, 1, 20);
    expect_page(b, 10);
    assert_int_equal(world_status(b).state, RAMET_STATE_OFFLINE);
    ramet_file_close(b);
}

static void
fetch__of_a_damaged_page_is_an_error_and_keeps_nothing(void **state)
{
    static const enum ramet_fault faults[] = {
        RAMET_FAULT_FLIP_BIT, RAMET_FAULT_SHORT, RAMET_FAULT_OTHER_KEY};
    struct world *const world = *state;
    struct ramet_file *const b = world_open(world, 1, "b");

    expect_page(b, 10);
    for (size_t i = 0; i < 3; i++) {
        const uint32_t pgno = 100 + 200 * (uint32_t)i;
        struct ramet_err err;
        uint8_t page[PAGE];
        size_t got;

        ramet_faultstore_arm(world->faults[1], faults[i], 0, RAMET_OK);
        OK(ramet_file_pin(b, e));
        assert_int_equal(ramet_file_read(b, (uint64_t)(pgno - 1) * PAGE, page,
                                         PAGE, &got, &err),
                         RAMET_ECORRUPT);
        ramet_file_unpin(b);
        assert_true(ramet_faultstore_fired(world->faults[1]));
        expect_page(b, pgno);
    }
    ramet_file_close(b);
}

/* Keeps nothing, and counts. */
struct counting {
    unsigned calls;
    size_t pages;
};

static bool
has_none(void *ctx, const struct ramet_point *at, uint32_t pgno)
{
    (void)ctx;
    (void)at;
    (void)pgno;
    return false;
}

static bool
count_pages(void *ctx, const struct ramet_point *at, const uint32_t *pgnos,
            size_t count, const uint8_t *pages, size_t page_size, bool in_bulk)
{
    struct counting *const counting = ctx;

    (void)at;
    (void)in_bulk;
    counting->calls++;
    counting->pages += count;
    for (size_t i = 0; i < count; i++)
        assert_memory_equal(pages + i * page_size,
                            bytes + (size_t)(pgnos[i] - 1) * PAGE, PAGE);
    return true;
}

static bool
peek_none(void *ctx, const struct ramet_point *at, uint32_t pgno,
          uint8_t *out_page, size_t page_size)
{
    (void)out_page;
    (void)page_size;
    return has_none(ctx, at, pgno);
}

static enum ramet_rc
look_in_vain(void *ctx, uint8_t *out_page, bool *out_here,
             struct ramet_err *err)
{
    (void)ctx;
    (void)out_page;
    (void)err;
    *out_here = false;
    return RAMET_OK;
}

/* A request of a bulk read that is on its way, without a thread that flies it. */
static void
begin_batch(struct ramet_pipeline *pipeline, const struct ramet_head *head,
            uint32_t first, uint32_t count, struct ramet_batch *batch)
{
    *batch = (struct ramet_batch){.pipeline = pipeline,
                                  .at = ramet_head_point(head),
                                  .page_size = PAGE,
                                  .count = count,
                                  .left = count,
                                  .has_begun = true};
    ramet_mutex_lock(&pipeline->mutex);
    for (uint32_t i = 0; i < count; i++) {
        struct ramet_want *const want =
            ramet_want_add(pipeline, head, first + i, RAMET_WANT_BULK);

        assert_non_null(want);
        ramet_want_dequeue(pipeline, want);
        want->batch = batch;
        batch->pgnos[i] = first + i;
    }
    pipeline->left += count;
    ramet_mutex_unlock(&pipeline->mutex);
}

static void
land(struct ramet_batch *batch, uint32_t pgno)
{
    OK(ramet_batch_land(batch, pgno, bytes + (size_t)(pgno - 1) * PAGE, e));
}

static void
bulk_read__keeps_several_at_once_and_serves_who_waits(void **state)
{
    enum { FIRST = 100, COUNT = RAMET_LANDED_PAGES + 3 };
    struct world *const world = *state;
    struct ramet_file *const b = world_open(world, 1, "b");
    struct counting counting = {0};
    struct ramet_keeper keeper = {.has = has_none,
                                  .keep = count_pages,
                                  .peek = peek_none,
                                  .ctx = &counting};
    struct ramet_pipeline *pipeline;
    struct ramet_batch batch;
    struct ramet_head head;
    struct ramet_vid volume;
    uint8_t page[PAGE];
    bool here;

    head_of(b, &head);
    assert_true(ramet_replica_sync_volume(b->replica_sync, &volume));
    pipeline =
        ramet_pipeline_new(ramet_replica_sync_client(b->replica_sync), &volume);
    assert_non_null(pipeline);
    ramet_pipeline_join(pipeline, &keeper);
    begin_batch(pipeline, &head, FIRST, COUNT, &batch);

    land(&batch, FIRST);
    assert_int_equal(counting.calls, 0);
    OK(ramet_pipeline_read(pipeline, &head, &head, FIRST, page, &here, 0,
                           look_in_vain, NULL, e)); /* and waits for nothing */
    assert_false(here);
    assert_memory_equal(page, bytes + (FIRST - 1) * PAGE, PAGE);
    land(&batch, FIRST); /* again: its bytes were asked for twice */
    assert_int_equal(counting.calls, 1);
    for (uint32_t pgno = FIRST + 1; pgno < FIRST + RAMET_LANDED_PAGES; pgno++)
        land(&batch, pgno);
    assert_int_equal(counting.calls, 2);
    assert_int_equal(counting.pages, 1 + RAMET_LANDED_PAGES);
    for (uint32_t pgno = FIRST + RAMET_LANDED_PAGES; pgno < FIRST + COUNT;
         pgno++)
        land(&batch, pgno);
    assert_int_equal(counting.calls, 2);
    ramet_batch_keep_landed(&batch); /* the answer broke off */
    assert_int_equal(counting.calls, 3);
    assert_int_equal(counting.pages, 1 + COUNT);
    assert_int_equal(batch.left, 0);

    ramet_free(batch.landed);
    ramet_pipeline_leave(pipeline, &keeper);
    ramet_pipeline_free(pipeline);
    ramet_file_close(b);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* An eighth of what is absent, but so much at least that a small file is not brought
 * for a look at it. */
static void
rest__waits_for_an_eighth(void **state)
{
    (void)state;
    assert_int_equal(ramet_rest_threshold(0), 256);
    assert_int_equal(ramet_rest_threshold(8 * 256), 256);
    assert_int_equal(ramet_rest_threshold(8 * 257), 257);
    assert_int_equal(ramet_rest_threshold(UINT32_MAX), UINT32_MAX / 8);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rest__waits_for_an_eighth),
        T(fetch__of_one_page_by_many_is_one_request),
        T(fetch__of_a_page_that_came_meanwhile_asks_for_nothing),
        T(fetch__that_is_overtaken_goes_on_with_its_scan),
        T(fetch__of_a_scan_takes_few_requests),
        T(bulk_read__keeps_several_at_once_and_serves_who_waits),
        T(fetch__by_many_scans_brings_each_page_about_once),
        T(fetch__without_the_remote_says_which_and_fails_fast),
        T(fetch__of_a_damaged_page_is_an_error_and_keeps_nothing),
    };
    return cmocka_run_group_tests_name("fetcher", tests, NULL, NULL);
}
