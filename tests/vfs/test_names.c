/*
 * test_names.c - the table of journal names, against a model and in threads.
 */
#include "tests/support/cmocka_all.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "vfs/names.h"

enum { DATABASES = 3000 };

struct names {
    char name[32];
    char journal[32];
    char wal[32];
    bool is_open;
};

/* Any distinct pointers do; the table never looks behind them. */
static struct ramet_dbfile *
db_at(struct names *names)
{
    return (struct ramet_dbfile *)(void *)names;
}

static void
open_one(struct names *n)
{
    assert_int_equal(ramet_names_add(db_at(n), n->name, n->journal, n->wal),
                     RAMET_OK);
    n->is_open = true;
}

static void
close_one(struct names *n)
{
    ramet_names_remove(db_at(n), n->journal, n->wal);
    n->is_open = false;
}

static struct names *
make_names(int count)
{
    struct names *all = calloc((size_t)count, sizeof(*all));

    for (int i = 0; i < count; i++) {
        snprintf(all[i].name, 32, "/d/%d.db", i);
        snprintf(all[i].journal, 32, "/d/%d.db-journal", i);
        snprintf(all[i].wal, 32, "/d/%d.db-wal", i);
    }
    return all;
}

static void
owner__is_found_by_address_only(void **state)
{
    struct names *all = make_names(DATABASES);
    char copy[32];

    (void)state;
    srand(7);
    for (int step = 0; step < 60000; step++) {
        struct names *n = &all[rand() % DATABASES];

        if (n->is_open)
            close_one(n);
        else
            open_one(n);
        n = &all[rand() % DATABASES];
        assert_ptr_equal(ramet_names_owner(n->journal),
                         n->is_open ? db_at(n) : NULL);
        assert_ptr_equal(ramet_names_owner(n->wal),
                         n->is_open ? db_at(n) : NULL);
        assert_null(ramet_names_owner(n->name));
        if (step % 100 == 0) {
            memcpy(copy, n->journal, sizeof(copy));
            assert_null(ramet_names_owner(copy));
            assert_int_equal(ramet_names_is_private(copy), n->is_open);
        }
    }
    for (int i = 0; i < DATABASES; i++)
        if (all[i].is_open)
            close_one(&all[i]);
    assert_null(ramet_names_owner(all[0].journal));
    assert_false(ramet_names_is_private(all[0].journal));
    free(all);
}

static void
is_private__knows_both_companions_and_no_more(void **state)
{
    struct names *all = make_names(2);

    (void)state;
    open_one(&all[0]);
    assert_true(ramet_names_is_private("/d/0.db-journal"));
    assert_true(ramet_names_is_private("/d/0.db-wal"));
    assert_false(ramet_names_is_private("/d/0.db"));
    assert_false(ramet_names_is_private("/d/0.db-mj12345678"));
    assert_false(ramet_names_is_private("/d/1.db-journal"));
    assert_false(ramet_names_is_private("0.db-journal"));
    close_one(&all[0]);
    free(all);
}

static atomic_bool stop;

static void *
look_at_own(void *arg)
{
    struct names *n = arg;
    long looked = 0;

    while (!atomic_load(&stop) || looked < 1000) {
        open_one(n);
        for (int i = 0; i < 50; i++, looked++) {
            assert_ptr_equal(ramet_names_owner(n->journal), db_at(n));
            assert_ptr_equal(ramet_names_owner(n->wal), db_at(n));
        }
        close_one(n);
        assert_null(ramet_names_owner(n->journal));
    }
    return NULL;
}

static void
owner__finds_its_own_while_others_come_and_go(void **state)
{
    enum { THREADS = 4 };
    struct names *all = make_names(DATABASES);
    struct ramet_thread threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(ramet_thread_start(&threads[i], "names", look_at_own,
                                            &all[i], NULL),
                         RAMET_OK);
    for (int turn = 0; turn < 3; turn++) {
        for (int i = THREADS; i < DATABASES; i++)
            open_one(&all[i]);
        for (int i = THREADS; i < DATABASES; i++)
            close_one(&all[i]);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        ramet_thread_join(&threads[i]);
    free(all);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owner__is_found_by_address_only),
        cmocka_unit_test(is_private__knows_both_companions_and_no_more),
        cmocka_unit_test(owner__finds_its_own_while_others_come_and_go),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
