/*
 * test_side_by_side.c - what an opening needs of a bucket is asked for at once: when memory
 * or the store fails at call n, when what came along is wrong, and when the history is
 * trimmed meanwhile.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "core/alloc.h"
#include "tests/metastore/model.h"
#include "tests/support/faultstore.h"

#define PAGE 512u
#define MANY 60u
#define TRIALS_MAX 3000
#define CALM                                                                   \
    100 /* so many in a row that met no failure, or did without, end it */

struct fixture {
    struct ramet_objstore *inner, *store;
    struct model model;
    uint8_t *dict;
};

/* A segment whose table is in chunks, a dictionary, a map perhaps, and commits behind it,
 * the newest with what it has inline. */
static void
fixture_open(struct fixture *f, bool has_map)
{
    memset(f, 0, sizeof(*f));
    assert_int_equal(ramet_memstore_open(&f->inner, NULL), RAMET_OK);
    f->store = ramet_faultstore_new(f->inner);
    assert_non_null(f->store);
    model_init(&f->model, f->store, 11);
    model_use_dict(&f->model, 1, &f->dict);
    f->model.never_inline = true;
    model_write(&f->model, 1, 1500);
    f->model.never_inline = false;
    model_write_random(&f->model, 3);
    if (has_map)
        assert_int_equal(
            ramet_history_make_map(f->model.history, f->model.lsn, NULL),
            RAMET_OK);
    for (unsigned i = 0; i < 3; i++)
        model_write_random(&f->model, 5);
    f->store->traits |= RAMET_STORE_READS_PARTS;
}

static void
fixture_close(struct fixture *f)
{
    model_done(&f->model);
    ramet_objstore_close(f->store);
    ramet_objstore_close(f->inner);
    ramet_free(f->dict);
}

/* What comes is right, whatever failed. */
static enum ramet_rc
check_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    const struct model *const model = ctx;
    uint8_t expected[PAGE];

    (void)err;
    model_fill(expected, sizeof(expected),
               model->versions[model->lsn].pages[pgno - 1]);
    assert_memory_equal(page, expected, sizeof(expected));
    return RAMET_OK;
}

/* Page 1, as an opening does, then scattered ones, then neighbours. */
static enum ramet_rc
read_some(struct fixture *f, struct ramet_history *history,
          struct ramet_err *err)
{
    uint32_t pgnos[MANY];
    struct ramet_head head = {.lsn = 0};
    struct ramet_point at;
    enum ramet_rc rc;

    ramet_history_expect_reads(history);
    rc = ramet_history_newest(history, &head, err);
    at = (struct ramet_point){.lsn = head.lsn, .hash = head.hash};
    pgnos[0] = 1;
    if (rc == RAMET_OK)
        rc = ramet_history_read_pages(history, &at, pgnos, 1, false, check_page,
                                      &f->model, err);
    for (uint32_t i = 0; i < MANY; i++)
        pgnos[i] = 3 + i * 24;
    if (rc == RAMET_OK)
        rc = ramet_history_read_pages(history, &at, pgnos, MANY, false,
                                      check_page, &f->model, err);
    for (uint32_t i = 0; i < MANY; i++)
        pgnos[i] = 700 + i;
    if (rc == RAMET_OK)
        rc = ramet_history_read_pages(history, &at, pgnos, MANY, false,
                                      check_page, &f->model, err);
    return rc;
}

static struct ramet_history *
open_cold(struct fixture *f)
{
    struct ramet_history *history;

    assert_int_equal(
        ramet_history_open(f->store, &f->model.volume, NULL, &history, NULL),
        RAMET_OK);
    return history;
}

/* The next try goes through. */
static void
opening__survives_every_failed_allocation(void **state)
{
    (void)state;
    for (int has_map = 0; has_map < 2; has_map++) {
        struct fixture f;
        enum ramet_rc rc = RAMET_ENOMEM;
        long calm = 0, failed = 0;

        fixture_open(&f, has_map);
        for (long n = 0; calm < CALM; n++) {
            struct ramet_history *const history = open_cold(&f);
            struct ramet_err err = {.text = ""};

            ramet_alloc_fail_at(n);
            rc = read_some(&f, history, &err);
            ramet_alloc_fail_at(-1);
            if (rc != RAMET_OK && rc != RAMET_ENOMEM)
                fail_msg("allocation %ld: %s", n, err.text);
            calm = rc == RAMET_OK ? calm + 1 : 0;
            failed += rc != RAMET_OK;
            assert_int_equal(read_some(&f, history, NULL), RAMET_OK);
            ramet_history_close(history);
            assert_true(n < TRIALS_MAX);
        }
        assert_true(failed > 20);
        fixture_close(&f);
    }
}

/* Whatever goes wrong with the n-th request: no page is wrong, and the next try goes
 * through, whatever was kept of the first. Of what somebody keeps the first does. */
static void
meet(enum ramet_fault fault, unsigned traits, enum ramet_rc rc_a,
     enum ramet_rc rc_b)
{
    for (int has_map = 0; has_map < 2; has_map++) {
        struct fixture f;
        bool fired = true;
        unsigned n;

        fixture_open(&f, has_map);
        f.store->traits |= traits;
        for (n = 0; fired; n++) {
            struct ramet_history *const history = open_cold(&f);
            struct ramet_err err = {.text = ""};
            enum ramet_rc rc;

            ramet_faultstore_arm(f.store, fault, n, RAMET_EUNREACHABLE);
            rc = read_some(&f, history, &err);
            fired = ramet_faultstore_fired(f.store);
            ramet_faultstore_arm(f.store, RAMET_FAULT_NONE, 0, RAMET_OK);
            if (rc != RAMET_OK && rc != rc_a && rc != rc_b)
                fail_msg("fault %d, request %u: %s: %s", (int)fault, n,
                         ramet_rc_name(rc), err.text);
            if (read_some(&f, history, &err) != RAMET_OK)
                fail_msg("fault %d, after request %u: %s", (int)fault, n,
                         err.text);
            ramet_history_close(history);
            assert_true(n < TRIALS_MAX);
        }
        assert_true(n > 10);
        fixture_close(&f);
    }
}

static void
opening__after_a_failed_request__goes_through(void **state)
{
    (void)state;
    meet(RAMET_FAULT_FAIL, 0, RAMET_EUNREACHABLE, RAMET_EUNREACHABLE);
}

static void
opening__of_wrong_bytes__gives_none_of_them(void **state)
{
    (void)state;
    meet(RAMET_FAULT_FLIP_BIT, 0, RAMET_ECORRUPT, RAMET_EVERSION);
    meet(RAMET_FAULT_SHORT, 0, RAMET_ECORRUPT, RAMET_EVERSION);
    meet(RAMET_FAULT_OTHER_KEY, 0, RAMET_ECORRUPT, RAMET_EVERSION);
}

static void
opening__of_what_somebody_kept_wrong__is_right(void **state)
{
    (void)state;
    meet(RAMET_FAULT_FLIP_BIT, RAMET_STORE_IS_KEPT, RAMET_OK, RAMET_OK);
}

static void
trim(void *history)
{
    ramet_history_trim(history);
}

static void
forget(void *history)
{
    ramet_history_forget(history);
}

static void
opening__while_the_history_is_trimmed__is_right(void **state)
{
    static void (*const happen[])(void *) = {trim, forget};

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct fixture f;

        fixture_open(&f, i % 2 == 1);
        for (uint64_t n = 0; n < 60; n++) {
            struct ramet_history *const history = open_cold(&f);
            struct ramet_err err = {.text = ""};

            ramet_faultstore_meanwhile(f.store, n, happen[i / 2], history);
            if (read_some(&f, history, &err) != RAMET_OK)
                fail_msg("request %u: %s", (unsigned)n, err.text);
            ramet_faultstore_meanwhile(f.store, UINT64_MAX, trim, history);
            ramet_history_close(history);
        }
        fixture_close(&f);
    }
}

/* As many parts of a table as are asked for at once, none next to another, and the
 * dictionary and the first frames besides. */
static void
opening__of_as_many_parts_as_go_together__is_right(void **state)
{
    enum { PARTS = 128, APART = 700 };
    uint32_t pgnos[PARTS];
    struct ramet_history *history;
    struct ramet_head head;
    struct ramet_point at;
    struct fixture f;

    (void)state;
    fixture_open(&f, false);
    f.model.never_inline = true;
    model_write(&f.model, 1, PARTS * APART);
    history = open_cold(&f);
    assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
    at = (struct ramet_point){.lsn = head.lsn, .hash = head.hash};
    for (uint32_t i = 0; i < PARTS; i++)
        pgnos[i] = 1 + i * APART;
    ramet_faultstore_reset_counts(f.store);
    assert_int_equal(ramet_history_read_pages(history, &at, pgnos, PARTS, false,
                                              check_page, &f.model, NULL),
                     RAMET_OK);
    /* Parts, the dictionary, where the frames begin, and what of the head is no
     * page's; page 1 came. */
    assert_true(ramet_faultstore_counts(f.store).reads >= 2 * PARTS + 1);
    ramet_history_close(history);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening__survives_every_failed_allocation),
        cmocka_unit_test(opening__after_a_failed_request__goes_through),
        cmocka_unit_test(opening__of_wrong_bytes__gives_none_of_them),
        cmocka_unit_test(opening__of_what_somebody_kept_wrong__is_right),
        cmocka_unit_test(opening__while_the_history_is_trimmed__is_right),
        cmocka_unit_test(opening__of_as_many_parts_as_go_together__is_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
