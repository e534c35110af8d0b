/*
 * test_bring.c - pages from a server by the client's HTTP remote: how many requests,
 * what comes in them and in which order, and what those have in common.
 */
#include <stdlib.h>
#include <string.h>

#include "client/remote/pace.h"
#include "core/alloc.h"
#include "core/thread.h"
#include "tests/server/fixture.h"
#include "tests/support/point.h"

/* Pages as they come. */
struct coming {
    uint32_t pgnos[256];
    unsigned count;
};

static enum ramet_rc
note_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    struct coming *coming = ctx;

    (void)page;
    (void)err;
    assert_true(coming->count < 256);
    coming->pgnos[coming->count++] = pgno;
    return RAMET_OK;
}

/* Who knows nothing of the volume but a commit's LSN and hash. */
static void
remote__brings_pages_in_one_request_and_in_the_order_asked(void **state)
{
    struct coming coming = {.count = 0};
    struct ramet_remote *fresh;
    uint32_t pgnos[120];
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 4);
    model.never_inline = true;
    model_write(&model, 1, 2000);
    for (unsigned i = 0; i < 100; i++)
        model_write_random(&model, 5);
    for (uint32_t i = 0; i < 120; i++)
        pgnos[i] = 1 + (i * 77 % 120) * 16;

    fresh = fixture_connect(&f, NULL);
    assert_int_equal(fresh->ops->bring(fresh, &model.volume,
                                       point_at(model.history, model.lsn),
                                       pgnos, 120, false, note_page, &coming,
                                       &err),
                     RAMET_OK);
    assert_int_equal(coming.count, 120);
    assert_memory_equal(coming.pgnos, pgnos, sizeof(pgnos));
    assert_int_equal(fresh->ops->requests(fresh), 1);
    /* The way to others of the same nodes is known: frames alone. */
    coming.count = 0;
    for (uint32_t i = 0; i < 120; i++)
        pgnos[i]++;
    assert_int_equal(fresh->ops->bring(fresh, &model.volume,
                                       point_at(model.history, model.lsn),
                                       pgnos, 120, false, note_page, &coming,
                                       &err),
                     RAMET_OK);
    assert_int_equal(coming.count, 120);
    assert_int_equal(fresh->ops->requests(fresh), 2);
    fresh->ops->close(fresh);
    model_done(&model);
    fixture_stop(&f);
}

/* Of each both parts come in the answer: nothing of it is left to be read later. */
static void
remote__gives_out_pages_with_deltas_as_both_parts_came(void **state)
{
    struct coming coming = {.count = 0};
    struct ramet_remote *fresh;
    uint32_t pgnos[240];
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 4);
    model.delta_percent = 90;
    model_write(&model, 1, 2000);
    for (unsigned i = 0; i < 20; i++)
        model_write(&model, 1 + i * 90, 150);
    for (uint32_t i = 0; i < 240; i++)
        pgnos[i] = 1 + i * 7;
    fresh = fixture_connect(&f, NULL);
    assert_int_equal(fresh->ops->bring(fresh, &model.volume,
                                       point_at(model.history, model.lsn),
                                       pgnos, 120, false, note_page, &coming,
                                       &err),
                     RAMET_OK);
    assert_int_equal(coming.count, 120);
    assert_int_equal(fresh->ops->requests(fresh), 1);
    /* Blocks that came are not sent again, and serve others all the same. */
    assert_int_equal(fresh->ops->bring(fresh, &model.volume,
                                       point_at(model.history, model.lsn),
                                       pgnos + 120, 120, false, note_page,
                                       &coming, &err),
                     RAMET_OK);
    assert_int_equal(coming.count, 240);
    assert_true(fresh->ops->requests(fresh) <= 3);
    for (unsigned i = 0; i < 240; i++) {
        bool is_in = false;

        for (unsigned k = 0; k < 240; k++)
            is_in = is_in || coming.pgnos[k] == pgnos[i];
        assert_true(is_in);
    }
    fresh->ops->close(fresh);
    model_done(&model);
    fixture_stop(&f);
}

/* Pages until one can't be kept. */
static enum ramet_rc
take_some(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    unsigned *const left = ctx;

    (void)page;
    if (*left == 0)
        return RAMET_FAIL(err, RAMET_EFULL, "page %u", (unsigned)pgno);
    --*left;
    return RAMET_OK;
}

/* Also those that are made once the answer is here. */
static void
remote__says_that_a_page_could_not_be_kept(void **state)
{
    struct ramet_err err;
    uint32_t pgnos[120];
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 4);
    model.delta_percent = 90;
    model_write(&model, 1, 2000);
    for (unsigned i = 0; i < 20; i++)
        model_write(&model, 1 + i * 90, 150);
    for (uint32_t i = 0; i < 120; i++)
        pgnos[i] = 1 + i * 7;
    for (unsigned n = 0; n < 120; n += 17) {
        struct ramet_remote *const fresh = fixture_connect(&f, NULL);
        unsigned left = n;

        err = (struct ramet_err){.code = RAMET_OK};
        assert_int_equal(fresh->ops->bring(fresh, &model.volume,
                                           point_at(model.history, model.lsn),
                                           pgnos, 120, false, take_some, &left,
                                           &err),
                         RAMET_EFULL);
        assert_int_equal(err.code, RAMET_EFULL);
        assert_int_equal(left, 0);
        fresh->ops->close(fresh);
    }
    model_done(&model);
    fixture_stop(&f);
}

/* Pages that are located are named to the server as such whose way is here; it sends
 * the dictionary all the same that they are asked for with. */
static void
remote__brings_the_dictionary_of_pages_that_it_located(void **state)
{
    struct coming coming = {.count = 0};
    uint32_t pgnos[] = {1009, 970, 971};
    struct ramet_remote *fresh;
    uint8_t *dicts[2] = {NULL};
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 4);
    model.never_inline = true;
    model_use_dict(&model, 1, &dicts[0]);
    model_write(&model, 1, 2000);
    model_use_dict(&model, 70000, &dicts[1]);
    model_write(&model, 1009, 16);
    fresh = fixture_connect(&f, NULL);
    /* Of the second one, the newest dictionary is another. */
    for (unsigned i = 0; i < 3; i++) {
        coming.count = 0;
        assert_int_equal(fresh->ops->bring(fresh, &model.volume,
                                           point_at(model.history, model.lsn),
                                           &pgnos[i], 1, false, note_page,
                                           &coming, &err),
                         RAMET_OK);
        assert_true(i == 1 || coming.count == 1);
    }
    fresh->ops->close(fresh);
    model_done(&model);
    ramet_free(dicts[0]);
    ramet_free(dicts[1]);
    fixture_stop(&f);
}

/* Who reads by the same remote as others do, in requests of 40 pages. */
struct sharer {
    struct ramet_remote *remote;
    const struct model *model;
    struct ramet_point at;
    uint32_t first;
    unsigned came, wrong;
    enum ramet_rc rc;
};

static enum ramet_rc
compare_page(void *ctx, uint32_t pgno, const uint8_t *page,
             struct ramet_err *err)
{
    struct sharer *const sharer = ctx;
    const struct model_version *const version =
        &sharer->model->versions[sharer->at.lsn];
    uint8_t expected[4096];

    (void)err;
    if (version->page_size > sizeof(expected) || pgno > version->page_count) {
        sharer->wrong++;
        return RAMET_OK;
    }
    model_fill(expected, version->page_size, version->pages[pgno - 1]);
    sharer->came++;
    sharer->wrong += memcmp(expected, page, version->page_size) != 0;
    return RAMET_OK;
}

static void *
share(void *arg)
{
    struct sharer *const sharer = arg;
    uint32_t pgnos[40];
    struct ramet_err err;

    for (uint32_t k = 0; k < 8 && sharer->rc == RAMET_OK; k++) {
        for (uint32_t i = 0; i < 40; i++)
            pgnos[i] = sharer->first + (k * 40 + i) * 6;
        sharer->rc = sharer->remote->ops->bring(
            sharer->remote, &sharer->model->volume, &sharer->at, pgnos, 40,
            false, compare_page, sharer, &err);
    }
    return NULL;
}

/* Blocks that one asks for and others wait for, some of them at another commit: nothing is
 * left out, though who waits may see the other one end at any time. */
static void
remote__shares_blocks_of_deltas_among_threads(void **state)
{
    enum { THREADS = 6 };
    struct ramet_thread threads[THREADS] = {{.running = false}};
    struct sharer sharers[THREADS];
    struct ramet_remote *fresh;
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 4);
    model.delta_percent = 90;
    model_write(&model, 1, 2000);
    for (unsigned i = 0; i < 20; i++)
        model_write(&model, 1 + i * 90, 150);
    fresh = fixture_connect(&f, NULL);
    for (uint32_t i = 0; i < THREADS; i++) {
        sharers[i] = (struct sharer){
            .remote = fresh,
            .model = &model,
            .at = *point_at(model.history, model.lsn - (i == THREADS - 1)),
            .first = i + 1};
        assert_int_equal(
            ramet_thread_start(&threads[i], "share", share, &sharers[i], &err),
            RAMET_OK);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        ramet_thread_join(&threads[i]);
        assert_int_equal(sharers[i].rc, RAMET_OK);
        assert_int_equal(sharers[i].wrong, 0);
        /* All of them, but for who waited for two seconds in vain. */
        assert_in_range(sharers[i].came, 1, 8 * 40);
    }
    fresh->ops->close(fresh);
    model_done(&model);
    fixture_stop(&f);
}

/* Who has the heads is not sent them once more. */
static void
remote__asks_for_no_heads_that_it_has(void **state)
{
    struct coming coming = {.count = 0};
    struct ramet_remote *fresh;
    uint32_t pgnos[64];
    uint64_t before, first = 0, second;
    struct ramet_err err;
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 4);
    model.never_inline = true;
    model_write(&model, 1, 9000);
    for (unsigned i = 0; i < 8; i++)
        model_write_random(&model, 40);
    fresh = fixture_connect(&f, NULL);
    before = ramet_pace_moved(fresh->ops->pace(fresh));
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 64; i++) /* other nodes each time */
            pgnos[i] = 1 + round * 6000 + i;
        assert_int_equal(fresh->ops->bring(fresh, &model.volume,
                                           point_at(model.history, model.lsn),
                                           pgnos, 64, false, note_page, &coming,
                                           &err),
                         RAMET_OK);
        assert_int_equal(coming.count, 64 * (round + 1));
        if (round == 0)
            first = ramet_pace_moved(fresh->ops->pace(fresh)) - before;
    }
    second = ramet_pace_moved(fresh->ops->pace(fresh)) - before - first;
    assert_in_range(fresh->ops->requests(fresh), 2, 3);
    assert_true(second < first - 3000);
    fresh->ops->close(fresh);
    model_done(&model);
    fixture_stop(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            remote__brings_pages_in_one_request_and_in_the_order_asked),
        cmocka_unit_test(
            remote__gives_out_pages_with_deltas_as_both_parts_came),
        cmocka_unit_test(remote__says_that_a_page_could_not_be_kept),
        cmocka_unit_test(
            remote__brings_the_dictionary_of_pages_that_it_located),
        cmocka_unit_test(remote__shares_blocks_of_deltas_among_threads),
        cmocka_unit_test(remote__asks_for_no_heads_that_it_has),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
