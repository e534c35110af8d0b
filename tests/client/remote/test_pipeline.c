/*
 * test_pipeline.c - what is brought for later, and who waits now.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/remote/pipeline_impl.h"
#include "client/remote/remote_client.h"
#include "client/remote/warm.h"
#include "core/alloc.h"
#include "metastore/catalog.h"
#include "tests/metastore/model.h"
#include "tests/support/point.h"

#define PAGE_SIZE 512u
/* Of those that are named, more than threads could ask for at once. */
#define NAMED_PAGES ((RAMET_PIPELINE_THREADS + 1u) * RAMET_BATCH_PAGES)
#define READ_PAGES 16u
#define READ_WAIT_MS 60000u

/* A volume behind a remote, and one who keeps pages: of those that were named no
 * call returns while the gate is shut. */
struct fixture {
    struct ramet_remote remote;
    struct model model;
    struct ramet_remote_client *client;
    struct ramet_pipeline *pipeline;
    struct ramet_head head;
    struct ramet_keeper keeper;
    uint32_t here;            /* pages up to this one are; set first */
    struct ramet_mutex mutex; /* guards what follows */
    struct ramet_cond changed;
    bool is_open;
    unsigned held; /* calls of keep() */
    unsigned requests;
    uint32_t asked[RAMET_BATCH_PAGES]; /* by the last one */
    size_t asked_count;
};

static void
close_remote(struct ramet_remote *remote)
{
    ramet_objstore_close(remote->store);
}

/* Brings nothing: pages come from the store. */
static enum ramet_rc
count_request(struct ramet_remote *remote, const struct ramet_vid *volume,
              const struct ramet_point *at, const uint32_t *pgnos, size_t count,
              bool want_extra, ramet_page_visit *visit, void *ctx,
              struct ramet_err *err)
{
    struct fixture *const f = (struct fixture *)remote;

    (void)volume;
    (void)at;
    (void)want_extra;
    (void)visit;
    (void)ctx;
    (void)err;
    assert_true(count <= RAMET_BATCH_PAGES);
    ramet_mutex_lock(&f->mutex);
    f->requests++;
    memcpy(f->asked, pgnos, count * sizeof(pgnos[0]));
    f->asked_count = count;
    ramet_mutex_unlock(&f->mutex);
    return RAMET_OK;
}

/* A statement reads pages 1 to 40, which are told a few at a time. */
static enum ramet_rc
name_pages(struct ramet_remote *remote, const struct ramet_vid *volume,
           const struct ramet_point *at, const struct ramet_question *question,
           ramet_question_visit *visit, void *ctx, struct ramet_err *err)
{
    (void)remote;
    (void)volume;
    (void)at;
    (void)question;
    for (uint32_t p = 1; p <= 40; p += 8) {
        struct ramet_pageset some;

        ramet_pageset_init(&some);
        assert_int_equal(
            ramet_pageset_add_run(&some, (struct ramet_run){p, p + 7}),
            RAMET_OK);
        assert_int_equal(visit(ctx, &some, err), RAMET_OK);
        ramet_pageset_done(&some);
    }
    return RAMET_OK;
}

static const struct ramet_remote_ops remote_ops = {
    .bring = count_request, .ask = name_pages, .close = close_remote};

static bool
has(void *ctx, const struct ramet_point *at, uint32_t pgno)
{
    const struct fixture *const f = ctx;

    (void)at;
    return pgno <= f->here;
}

static bool
peek_none(void *ctx, const struct ramet_point *at, uint32_t pgno,
          uint8_t *out_page, size_t page_size)
{
    (void)ctx;
    (void)at;
    (void)pgno;
    (void)out_page;
    (void)page_size;
    return false;
}

static bool
keep(void *ctx, const struct ramet_point *at, const uint32_t *pgnos,
     size_t count, const uint8_t *pages, size_t page_size, bool in_bulk)
{
    struct fixture *const f = ctx;

    (void)at;
    (void)count;
    (void)pages;
    (void)page_size;
    (void)in_bulk;
    if (pgnos[0] > NAMED_PAGES)
        return true;
    ramet_mutex_lock(&f->mutex);
    f->held++;
    ramet_cond_broadcast(&f->changed);
    while (!f->is_open)
        ramet_cond_wait(&f->changed, &f->mutex);
    f->held--;
    ramet_mutex_unlock(&f->mutex);
    return true;
}

static unsigned
held(struct fixture *f, unsigned at_least)
{
    unsigned count;

    ramet_mutex_lock(&f->mutex);
    while (f->held < at_least)
        ramet_cond_wait(&f->changed, &f->mutex);
    count = f->held;
    ramet_mutex_unlock(&f->mutex);
    return count;
}

static void
fixture_open(struct fixture *f)
{
    struct model_change change = {.page_size = PAGE_SIZE,
                                  .page_count = NAMED_PAGES + READ_PAGES};
    struct ramet_history *history;

    memset(f, 0, sizeof(*f));
    f->remote.ops = &remote_ops;
    ramet_mutex_init(&f->mutex);
    ramet_cond_init(&f->changed);
    assert_int_equal(ramet_memstore_open(&f->remote.store, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_check(f->remote.store, true, NULL),
                     RAMET_OK);
    model_init(&f->model, f->remote.store, 1);
    ramet_pageset_init(&change.changed);
    assert_int_equal(
        ramet_pageset_add_run(&change.changed,
                              (struct ramet_run){1, change.page_count}),
        RAMET_OK);
    model_commit(&f->model, &change);
    ramet_pageset_done(&change.changed);
    assert_int_equal(
        ramet_url_parse("http://nowhere.invalid/vol", &f->remote.url, NULL),
        RAMET_OK);
    assert_int_equal(
        ramet_remote_client_share(NULL, &f->remote, &f->client, NULL),
        RAMET_OK);
    assert_int_equal(ramet_remote_client_history(f->client, &f->model.volume,
                                                 &history, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_history_newest(history, &f->head, NULL), RAMET_OK);
    assert_int_equal(ramet_remote_client_pipeline(f->client, &f->model.volume,
                                                  &f->pipeline, NULL),
                     RAMET_OK);
    f->keeper = (struct ramet_keeper){
        .has = has, .keep = keep, .peek = peek_none, .ctx = f};
    ramet_pipeline_join(f->pipeline, &f->keeper);
}

static void
fixture_close(struct fixture *f)
{
    ramet_mutex_lock(&f->mutex);
    f->is_open = true;
    ramet_cond_broadcast(&f->changed);
    ramet_mutex_unlock(&f->mutex);
    ramet_pipeline_leave(f->pipeline, &f->keeper);
    model_done(&f->model);
    ramet_remote_client_close(f->client);
    ramet_cond_done(&f->changed);
    ramet_mutex_done(&f->mutex);
}

static enum ramet_rc
look_nowhere(void *ctx, uint8_t *out_page, bool *out_here,
             struct ramet_err *err)
{
    (void)ctx;
    (void)out_page;
    (void)err;
    *out_here = false;
    return RAMET_OK;
}

/* However many pages were named to come at once. */
static void
reader__does_not_wait_behind_what_was_named(void **state)
{
    struct fixture f;
    struct ramet_pageset named;
    uint8_t page[PAGE_SIZE];

    (void)state;
    fixture_open(&f);
    ramet_pageset_init(&named);
    assert_int_equal(
        ramet_pageset_add_run(&named, (struct ramet_run){1, NAMED_PAGES}),
        RAMET_OK);
    assert_int_equal(ramet_pipeline_bring_ahead(f.pipeline, &f.head, &named, 0),
                     NAMED_PAGES);
    ramet_pageset_done(&named);
    assert_int_equal(held(&f, RAMET_AHEAD_BATCHES_ALL),
                     RAMET_AHEAD_BATCHES_ALL);
    for (uint32_t i = 1; i <= READ_PAGES; i++) {
        bool here = true;

        assert_int_equal(
            ramet_pipeline_read(f.pipeline, &f, &f.head, NAMED_PAGES + i, page,
                                &here, READ_WAIT_MS, look_nowhere, NULL, NULL),
            RAMET_OK);
        assert_false(here);
        assert_int_equal(held(&f, 0), RAMET_AHEAD_BATCHES_ALL);
    }
    fixture_close(&f);
}

/* A page that comes for one commit is no page of another with the same number: the
 * store went back, and another way. */
static void
page__that_comes_for_another_line_is_not_taken(void **state)
{
    struct fixture f;
    struct ramet_pageset named;
    struct ramet_head other;
    uint8_t page[PAGE_SIZE];
    bool here = true;

    (void)state;
    fixture_open(&f);
    ramet_pageset_init(&named);
    assert_int_equal(
        ramet_pageset_add_run(&named, (struct ramet_run){1, NAMED_PAGES}),
        RAMET_OK);
    assert_int_equal(ramet_pipeline_bring_ahead(f.pipeline, &f.head, &named, 0),
                     NAMED_PAGES);
    ramet_pageset_done(&named);
    other = f.head;
    other.hash.bytes[0] ^= 1;
    assert_int_equal(ramet_pipeline_read(f.pipeline, &f, &other, NAMED_PAGES,
                                         page, &here, READ_WAIT_MS,
                                         look_nowhere, NULL, NULL),
                     RAMET_EWENTBACK);
    fixture_close(&f);
}

/* Also where they are told some at a time: more would push out what was read. Those
 * that are here already need none. */
static void
pages_of_a_question__are_brought_as_far_as_there_is_room(void **state)
{
    const struct ramet_question question = {.sql = "SELECT 1"};
    struct fixture f;
    struct ramet_point at;
    uint64_t named = 0;

    (void)state;
    fixture_open(&f);
    at = ramet_head_point(&f.head);
    f.here = 12;
    f.keeper.ahead_max = (size_t)20 * PAGE_SIZE; /* nothing runs yet */
    assert_int_equal(ramet_warm_ask(f.client, f.pipeline, &f.model.volume,
                                    &f.head, &question, &named, NULL),
                     RAMET_OK);
    assert_int_equal(named, 40);
    ramet_mutex_lock(
        &f.pipeline->mutex); /* none is kept while the gate is shut */
    for (uint32_t p = 1; p <= 40; p++)
        assert_int_equal(ramet_want_find(f.pipeline, &at, p) != NULL,
                         p > 12 && p <= 12 + 20);
    ramet_mutex_unlock(&f.pipeline->mutex);
    fixture_close(&f);
}

/* He may want one before a thread has come to ask for them. */
static void
reader__of_what_was_named_has_it_with_the_rest_in_one_request(void **state)
{
    struct fixture f;
    struct ramet_want *want;
    struct ramet_point at;
    struct ramet_page_wait wait = {.done = false};
    uint8_t page[PAGE_SIZE];

    (void)state;
    fixture_open(&f);
    at = ramet_head_point(&f.head);
    f.is_open = true; /* nothing runs yet */
    wait.out = page;
    wait.size = sizeof(page);
    ramet_cond_init(&wait.ended);
    ramet_mutex_lock(&f.pipeline->mutex);
    for (uint32_t p = 1; p <= 300; p++)
        assert_non_null(
            ramet_want_add(f.pipeline, &f.head, p, RAMET_WANT_WARM));
    want = ramet_want_find(f.pipeline, &at, 77);
    assert_non_null(want);
    want->waits = &wait;
    ramet_want_hasten(f.pipeline, want, RAMET_WANT_READ);
    assert_int_equal(ramet_pipeline_wake(f.pipeline, NULL), RAMET_OK);
    while (!wait.done)
        ramet_cond_wait(&wait.ended, &f.pipeline->mutex);
    while (f.pipeline->batch_count > 0 ||
           f.pipeline->queues[RAMET_WANT_WARM].count > 0) {
        ramet_mutex_unlock(&f.pipeline->mutex);
        usleep(100);
        ramet_mutex_lock(&f.pipeline->mutex);
    }
    ramet_mutex_unlock(&f.pipeline->mutex);
    assert_int_equal(wait.rc, RAMET_OK);
    assert_int_equal(f.requests, 1);
    assert_int_equal(f.asked_count, 300);
    assert_int_equal(f.asked[0], 77);
    ramet_cond_done(&wait.ended);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            pages_of_a_question__are_brought_as_far_as_there_is_room),
        cmocka_unit_test(reader__does_not_wait_behind_what_was_named),
        cmocka_unit_test(page__that_comes_for_another_line_is_not_taken),
        cmocka_unit_test(
            reader__of_what_was_named_has_it_with_the_rest_in_one_request),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
