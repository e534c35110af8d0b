/*
 * test_history.c - a volume's history against a model of it.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "tests/metastore/model.h"
#include "tests/support/faultstore.h"

static struct ramet_objstore *
new_store(void)
{
    struct ramet_objstore *store;

    assert_int_equal(ramet_memstore_open(&store, NULL), RAMET_OK);
    return store;
}

/* Several hundred commits that grow, shrink, leave holes and change the page
 * size; then every page at every LSN, with a cold cache. */
static void
history__every_page_at_every_lsn_is_the_models(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct ramet_objstore *const store = new_store();
        struct model model;

        print_message("seed %u\n", (unsigned)seed);
        model_init(&model, store, seed);
        for (int i = 0; i < 150; i++) {
            model_random_commit(&model);
            if (model_random(&model, 20) == 0)
                assert_int_equal(ramet_history_make_map(model.history,
                                                        model.lsn, NULL),
                                 RAMET_OK);
            if (model_random(&model, 30) == 0)
                model_reopen(&model);
            if (i % 7 == 0)
                model_check_lsn(&model, model.lsn);
        }
        model_reopen(&model);
        for (uint64_t lsn = 1; lsn <= model.lsn; lsn++)
            model_check_lsn(&model, lsn);
        for (int i = 0; i < 200; i++) {
            const uint64_t to = model_random(&model, model.lsn) + 1;

            model_check_changed(&model, model_random(&model, to + 1), to);
        }
        model_done(&model);
        ramet_objstore_close(store);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(history__every_page_at_every_lsn_is_the_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
