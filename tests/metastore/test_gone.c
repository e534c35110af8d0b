/*
 * test_gone.c - what is told of a commit that was there and is not: that the volume was
 * deleted, where it was; else that the store went back in time.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "metastore/catalog.h"
#include "tests/metastore/line.h"
#include "tests/support/faultstore.h"
#include "tests/support/point.h"

/* Of stores that list for little, and of those that don't. */
static const unsigned traits[] = {0, RAMET_STORE_LISTS_CHEAPLY};

static struct line *
line_of(unsigned with_traits)
{
    void *line;

    assert_int_equal(line_setup(&line), 0);
    ((struct line *)line)->store->traits = with_traits;
    ((struct line *)line)->inner->traits = with_traits;
    return line;
}

static void
done(struct line *f)
{
    void *line = f;

    assert_int_equal(line_teardown(&line), 0);
}

static void
delete_it(void *ctx)
{
    struct line *const f = ctx;

    assert_int_equal(ramet_catalog_delete(f->inner, &f->model.volume, NULL),
                     RAMET_OK);
}

static void
expect_deleted(enum ramet_rc rc, const struct ramet_err *err)
{
    assert_int_equal(rc, RAMET_EWENTBACK);
    assert_non_null(strstr(err->text, "was deleted"));
    assert_null(strstr(err->text, "backup"));
}

static struct ramet_history *
open_history(struct line *f)
{
    struct ramet_history *history = NULL;

    assert_int_equal(
        ramet_history_open(f->store, &f->model.volume, NULL, &history, NULL),
        RAMET_OK);
    return history;
}

/* The volume is deleted before the nth request of who looks for the newest, and has
 * seen commit 2, or nothing. True: he was told. */
static bool
look_while_it_is_deleted(unsigned with_traits, bool saw_second, uint64_t nth)
{
    struct line *const f = line_of(with_traits);
    struct ramet_history *const reader = open_history(f);
    struct ramet_err err = {.text = ""};
    struct ramet_head head;
    enum ramet_rc rc;

    if (saw_second)
        assert_int_equal(ramet_history_newest(reader, &head, NULL), RAMET_OK);
    model_write(&f->model, 2, 3);
    ramet_faultstore_meanwhile(f->store, nth, delete_it, f);
    rc = ramet_history_newest(reader, &head, &err);
    ramet_faultstore_meanwhile(f->store, 0, NULL, NULL);
    if (rc != RAMET_OK)
        expect_deleted(rc, &err);
    ramet_history_close(reader);
    done(f);
    return rc != RAMET_OK;
}

/* However far above what was seen the end stands. */
static void
newest__of_a_volume_that_is_deleted__says_so(void **state)
{
    unsigned told = 0;

    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        assert_true(look_while_it_is_deleted(traits[kind % 2], kind >= 2, 0));
        for (uint64_t nth = 1; nth < 8; nth++)
            told += look_while_it_is_deleted(traits[kind % 2], kind >= 2, nth);
    }
    assert_true(told >= 4);
}

static void
append__to_a_volume_that_was_deleted__says_so(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        struct line *const f = line_of(traits[kind]);
        struct ramet_err err = {.text = ""};
        struct ramet_history *writer;
        struct ramet_buf object;
        struct ramet_cid id;

        line_encode_one(f, &id, &object);
        model_write(&f->model, 2, 3);
        delete_it(f);
        writer = open_history(f); /* that has not seen what it stands on */
        expect_deleted(
            ramet_history_append(writer, object.data, object.len, NULL, &err),
            &err);
        ramet_history_close(writer);
        ramet_buf_done(&object);
        done(f);
    }
}

struct removal {
    struct line *line;
    struct ramet_buf object; /* somebody else's LSN 3 */
    bool had_landed;         /* ours, before the volume was deleted */
};

/* What is removed leaves an empty slot below the end: to who knows the commit before
 * it, it looks like the next one. */
static void
commit_and_delete(void *ctx)
{
    struct removal *const r = ctx;
    struct ramet_history *other;

    assert_int_equal(ramet_history_open(r->line->inner, &r->line->model.volume,
                                        NULL, &other, NULL),
                     RAMET_OK);
    r->had_landed = ramet_history_append(other, r->object.data, r->object.len,
                                         NULL, NULL) != RAMET_OK;
    ramet_history_close(other);
    delete_it(r->line);
}

static bool
is_deleted(struct line *f)
{
    struct ramet_history *const reader = open_history(f);
    struct ramet_head head;
    const enum ramet_rc rc = ramet_history_newest(reader, &head, NULL);

    ramet_history_close(reader);
    return rc == RAMET_EWENTBACK;
}

/* LSN 3 is appended while somebody else commits it and deletes the volume, before call
 * `when`, and the `fails`-th call from there on fails. *out_deleted: it came to that. */
static enum ramet_rc
append_meanwhile(unsigned with_traits, uint64_t when, uint64_t fails,
                 bool *out_deleted, bool *out_had_landed)
{
    struct line *const f = line_of(with_traits);
    struct removal r = {.line = f, .had_landed = true};
    struct ramet_buf object;
    struct ramet_cid id;
    enum ramet_rc rc;

    line_encode_one(f, &id, &r.object);
    line_encode_one(f, &id, &object);
    ramet_faultstore_meanwhile(f->store, when, commit_and_delete, &r);
    ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, when + fails,
                         RAMET_EUNREACHABLE);
    rc = line_append(f, &object, NULL);
    ramet_faultstore_arm(f->store, RAMET_FAULT_NONE, 0, RAMET_OK);
    ramet_faultstore_meanwhile(f->store, 0, NULL, NULL);
    *out_deleted = is_deleted(f);
    *out_had_landed = r.had_landed;
    ramet_buf_done(&r.object);
    ramet_buf_done(&object);
    done(f);
    return rc;
}

/* It is acknowledged only if it was there before. */
static void
append__beside_a_deletion_and_a_call_that_fails__says_nothing_false(
    void **state)
{
    unsigned late = 0;

    (void)state;
    for (uint64_t when = 0; when < 6; when++) {
        for (uint64_t fails = 0; fails < 6; fails++) {
            bool deleted, had_landed;
            const enum ramet_rc rc =
                append_meanwhile(0, when, fails, &deleted, &had_landed);

            if (!deleted)
                continue;
            late += !had_landed;
            if (rc == RAMET_OK && !had_landed)
                fail_msg("deleted before call %u, call %u after it fails",
                         (unsigned)when, (unsigned)fails);
        }
    }
    assert_true(late > 0);
}

static enum ramet_rc
take_no_page(void *ctx, uint32_t pgno, const uint8_t *page,
             struct ramet_err *err)
{
    (void)ctx;
    (void)pgno;
    (void)page;
    (void)err;
    fail();
    return RAMET_OK;
}

static void
page__of_a_volume_that_was_deleted__says_so(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        struct line *const f = line_of(traits[kind]);
        const struct ramet_point at = *point_at(f->model.history, 2);
        struct ramet_err err = {.text = ""};
        struct ramet_history *const reader = open_history(f);
        const uint32_t pgno = 1;

        model_write(&f->model, 2, 3);
        delete_it(f);
        expect_deleted(ramet_history_read_pages(reader, &at, &pgno, 1, false,
                                                take_no_page, NULL, &err),
                       &err);
        ramet_history_close(reader);
        done(f);
    }
}

/* Nothing of the volume is listed: an end of it would be. */
static void
store__from_before_the_volume_was_made__went_back(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        struct line *const f = line_of(traits[kind]);
        struct ramet_history *const reader = open_history(f);
        struct ramet_err err = {.text = ""};
        struct ramet_head head;

        assert_int_equal(ramet_history_newest(reader, &head, NULL), RAMET_OK);
        line_remove_commit(f, 1);
        line_remove_commit(f, 2);
        assert_int_equal(ramet_history_newest(reader, &head, &err),
                         RAMET_EWENTBACK);
        assert_non_null(strstr(err.text, "backup"));
        ramet_history_close(reader);
        done(f);
    }
}

/* Where it can't be asked, what is known is told. */
static void
commit__that_is_gone__with_the_store_away__went_back(void **state)
{
    struct line *const f = line_of(0);
    struct ramet_history *const reader = open_history(f);
    struct ramet_err err = {.text = ""};
    struct ramet_head head;

    (void)state;
    assert_int_equal(ramet_history_newest(reader, &head, NULL), RAMET_OK);
    line_remove_commit(f, 2);
    /* The next slot, and the one that was seen, are looked at; then who lists. */
    ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, 2, RAMET_EUNREACHABLE);
    assert_int_equal(ramet_history_newest(reader, &head, &err),
                     RAMET_EWENTBACK);
    assert_true(ramet_faultstore_fired(f->store));
    assert_non_null(strstr(err.text, "went back in time"));
    ramet_history_close(reader);
    done(f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newest__of_a_volume_that_is_deleted__says_so),
        cmocka_unit_test(append__to_a_volume_that_was_deleted__says_so),
        cmocka_unit_test(
            append__beside_a_deletion_and_a_call_that_fails__says_nothing_false),
        cmocka_unit_test(page__of_a_volume_that_was_deleted__says_so),
        cmocka_unit_test(store__from_before_the_volume_was_made__went_back),
        cmocka_unit_test(commit__that_is_gone__with_the_store_away__went_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
