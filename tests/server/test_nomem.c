/*
 * test_nomem.c - the n-th allocation fails, for n = 0, 1, 2 …, in the server or
 * in the remote that talks to it: an error at worst, and all is well again
 * with the next request.
 */
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "tests/server/fixture.h"
#include "tests/support/point.h"

#define PAGES 40u
#define CALLS 500

static enum ramet_rc
ignore_page(void *ctx, uint32_t pgno, const uint8_t *page,
            struct ramet_err *err)
{
    (void)ctx;
    (void)pgno;
    (void)page;
    (void)err;
    return RAMET_OK;
}

/* A little of everything; what comes back does not matter. */
static void
try_all(struct ramet_remote *remote, const struct model *model)
{
    struct ramet_history *history = NULL;
    struct ramet_upload *upload = NULL;
    struct ramet_head head;
    struct ramet_vid found;
    uint32_t pgnos[PAGES];
    struct ramet_err err;
    char key[RAMET_KEY_MAX], id[RAMET_ID_TEXT_SIZE];

    for (uint32_t i = 0; i < PAGES; i++)
        pgnos[i] = i + 1;
    if (ramet_history_open(remote->store, &model->volume, NULL, &history,
                           &err) != RAMET_OK)
        return;
    if (ramet_history_newest(history, &head, &err) == RAMET_OK &&
        head.lsn > 0) {
        (void)!remote->ops->bring(remote, &model->volume,
                                  point_at(history, head.lsn), pgnos, PAGES,
                                  true, ignore_page, NULL, &err);
        (void)!ramet_history_read_pages(history, point_at(history, head.lsn),
                                        pgnos, PAGES, false, ignore_page, NULL,
                                        &err);
    }
    ramet_history_close(history);
    (void)!ramet_catalog_resolve(remote->store, "nobody", &found, &err);
    ramet_id_format(&model->volume.id, id);
    (void)snprintf(key, sizeof(key), "volumes/%s/segments/%s", id, id);
    if (ramet_objstore_upload_begin(remote->store, key, &upload, &err) ==
        RAMET_OK) {
        (void)!ramet_objstore_upload_write(upload, key, sizeof(key), &err);
        (void)!ramet_objstore_upload_finish(upload, &err);
    }
    (void)!remote->ops->wait(remote, &model->volume, 0, 10, NULL, &err);
}

static void
nomem__at_any_call_is_survived(void **state)
{
    struct fixture f;
    struct model model;

    (void)state;
    fixture_start(&f, NULL);
    model_init(&model, f.remote->store, 31);
    model_write(&model, 1, PAGES);
    for (unsigned i = 0; i < 10; i++)
        model_write_random(&model, 2);
    for (long n = 0; n < CALLS; n++) {
        struct ramet_remote *remote =
            fixture_connect_hasty(ramet_server_port(f.server));

        ramet_alloc_fail_at(n);
        try_all(remote, &model);
        ramet_alloc_fail_at(-1);
        remote->ops->close(remote);
        if (n % 25 == 0) {
            model_reopen(&model);
            model_check_lsn(&model, model.lsn);
        }
    }
    model_write_random(&model, 2);
    model_reopen(&model);
    model_check_lsn(&model, model.lsn);
    model_done(&model);
    fixture_stop(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nomem__at_any_call_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
