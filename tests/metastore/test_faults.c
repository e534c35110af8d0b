/*
 * test_faults.c - history when memory or the store fails at call n, and when
 * somebody on the way keeps what is wrong.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "metastore/copy.h"
#include "metastore/node_cache.h"
#include "tests/metastore/line.h"
#include "tests/support/faultstore.h"
#include "tests/support/point.h"

/* A small volume with everything in it: inline and separate segments, chunks, deltas,
 * maps, a map of a commit's own, holes. Ends at LSN 8. */
static void
make_volume(struct model *model)
{
    model_write(model, 1, 20);
    model->delta_percent = 50;
    model->never_inline = true;
    model_write(model, 5, 10);    /* deltas in a segment of their own */
    model_write(model, 100, 260); /* table chunks */
    model->never_inline = false;
    model_write_random(model, 3);
    for (int i = 0; i < 3; i++)
        model_write_random(model, 60);
    model_write(model, 2, 1);
    model->delta_percent = 0;
}

/* A commit on top, with all that belongs to it; with small segments its
 * tables are too large for its head, so that it has a map of its own. */
static enum ramet_rc
commit_once(struct model *model, const struct ramet_cid *id,
            struct ramet_err *err)
{
    struct model_change change = {.page_size = 512, .page_count = 600};
    struct ramet_head base;
    struct ramet_buf out;
    enum ramet_rc rc;

    ramet_pageset_init(&change.changed);
    ramet_buf_init(&out, 16u << 20);
    rc = ramet_history_newest(model->history, &base, err);
    change.least = 300;
    if (rc == RAMET_OK)
        rc = ramet_pageset_add_run(
            &change.changed,
            (struct ramet_run){1, model->segment_pages > 0 ? 600 : 300});
    if (rc == RAMET_OK)
        rc = model_encode(model, &base, &change, id, 5000, &out, err);
    if (rc == RAMET_OK)
        rc = ramet_history_validate(model->history, out.data, out.len, err);
    if (rc == RAMET_OK)
        rc = ramet_history_make_map(model->history, base.lsn, err);
    if (rc == RAMET_OK)
        rc = ramet_history_append(model->history, out.data, out.len, NULL, err);
    ramet_buf_done(&out);
    ramet_pageset_done(&change.changed);
    return rc;
}

/* What comes is right, whatever failed. */
static enum ramet_rc
check_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    const struct model *const model = ctx;
    uint8_t expected[512];

    (void)err;
    model_fill(expected, sizeof(expected),
               model->versions[model->lsn].pages[pgno - 1]);
    assert_memory_equal(page, expected, sizeof(expected));
    return RAMET_OK;
}

static void
ignore_report(void *ctx, bool damaged, const char *text, uint64_t done,
              uint64_t total)
{
    (void)text;
    (void)done;
    (void)total;
    if (damaged)
        (*(unsigned *)ctx)++;
}

/* What pages, changes and times are read by. */
static enum ramet_rc
read_history(struct ramet_history *history, struct model *model,
             struct ramet_err *err)
{
    const uint32_t pgnos[] = {1, 2, 64, 65, 130, 200, 359};
    struct ramet_pageset set;
    struct ramet_extent dict;
    struct ramet_head head;
    enum ramet_rc rc = ramet_history_newest(history, &head, err);

    ramet_pageset_init(&set);
    if (rc == RAMET_OK)
        rc = ramet_history_read_pages(history, point_at(history, head.lsn),
                                      pgnos, 7, true, check_page, model, err);
    if (rc == RAMET_OK)
        rc = ramet_history_changed(history, point_at(history, 1),
                                   point_at(history, head.lsn), &set, err);
    if (rc == RAMET_OK)
        rc = ramet_history_dict(history, &head, &dict, err);
    if (rc == RAMET_OK)
        rc = ramet_history_at_time(history, head.time_ms - 1, &head, err);
    ramet_pageset_done(&set);
    return rc;
}

/* All kinds of reading, from a cold history. */
static enum ramet_rc
read_all(struct model *model, struct ramet_err *err)
{
    struct ramet_history *history;
    struct ramet_commit_object commit;
    unsigned damaged = 0;
    enum ramet_rc rc;

    rc = ramet_history_open(model->store, &model->volume, NULL, &history, err);
    if (rc != RAMET_OK)
        return rc;
    rc = read_history(history, model, err);
    if (rc == RAMET_OK)
        rc = ramet_history_verify(history, ignore_report, &damaged, NULL, err);
    if (rc == RAMET_OK) {
        rc = ramet_history_commit(history, 3, &commit, err);
        if (rc == RAMET_OK)
            ramet_commit_done(&commit);
    }
    ramet_history_close(history);
    return rc;
}

static void
open_filled(struct line *f)
{
    line_open(f, 9);
    make_volume(&f->model);
}

static void
history__survives_every_failed_allocation(void **state)
{
    struct line f;
    enum ramet_rc rc = RAMET_ENOMEM;
    const struct ramet_cid id = model_new_cid();
    long n;

    (void)state;
    open_filled(&f);
    f.model.segment_pages = 12;
    for (n = 0; rc != RAMET_OK; n++) {
        struct ramet_err err = {.text = ""};

        ramet_alloc_fail_at(n);
        rc = read_all(&f.model, &err);
        ramet_alloc_fail_at(-1);
        if (rc != RAMET_OK && rc != RAMET_ENOMEM)
            fail_msg("reading, allocation %ld: %s", n, err.text);
        assert_true(n < 5000);
    }
    rc = RAMET_ENOMEM;
    for (n = 0; rc != RAMET_OK; n++) {
        struct ramet_err err = {.text = ""};

        model_reopen(&f.model);
        ramet_alloc_fail_at(n);
        rc = commit_once(&f.model, &id, &err);
        ramet_alloc_fail_at(-1);
        if (rc != RAMET_OK && rc != RAMET_ENOMEM)
            fail_msg("commit, allocation %ld: %s", n, err.text);
        assert_true(n < 5000);
    }
    line_close(&f);
}

static bool
go_on(void *ctx, const struct ramet_copy_progress *progress)
{
    (void)ctx;
    (void)progress;
    return true;
}

/* Also of one who wants no text. */
static void
copy__survives_every_failed_allocation(void **state)
{
    struct line f;
    struct ramet_objstore *target;
    struct ramet_history *from, *to;
    struct ramet_head newest;
    struct ramet_copy_progress progress;
    enum ramet_rc rc = RAMET_ENOMEM;

    (void)state;
    open_filled(&f);
    assert_int_equal(ramet_memstore_open(&target, NULL), RAMET_OK);
    for (long n = 0; rc != RAMET_OK; n++) {
        assert_int_equal(
            ramet_history_open(f.inner, &f.model.volume, NULL, &from, NULL),
            RAMET_OK);
        assert_int_equal(
            ramet_history_open(target, &f.model.volume, NULL, &to, NULL),
            RAMET_OK);
        assert_int_equal(ramet_history_newest(from, &newest, NULL), RAMET_OK);
        ramet_alloc_fail_at(n);
        rc =
            ramet_history_copy(from, &newest, to, go_on, NULL, &progress, NULL);
        ramet_alloc_fail_at(-1);
        assert_true(rc == RAMET_OK || rc == RAMET_ENOMEM);
        assert_true(n < 5000);
        ramet_history_close(from);
        ramet_history_close(to);
    }
    assert_int_equal(progress.lsn, newest.lsn);
    ramet_objstore_close(target);
    line_close(&f);
}

static enum ramet_rc
copy_all(struct line *f, struct ramet_objstore *target)
{
    struct ramet_history *from, *to;
    struct ramet_copy_progress progress;
    struct ramet_head newest;
    enum ramet_rc rc;

    assert_int_equal(
        ramet_history_open(f->inner, &f->model.volume, NULL, &from, NULL),
        RAMET_OK);
    assert_int_equal(
        ramet_history_open(target, &f->model.volume, NULL, &to, NULL),
        RAMET_OK);
    assert_int_equal(ramet_history_newest(from, &newest, NULL), RAMET_OK);
    rc = ramet_history_copy(from, &newest, to, go_on, NULL, &progress, NULL);
    ramet_history_close(from);
    ramet_history_close(to);
    return rc;
}

/* Whichever write hangs in the network: that is told, and not that something is not
 * there; the next try goes through, whether it lands meanwhile or not. */
static void
copy__of_what_did_not_arrive__says_so_and_goes_on(void **state)
{
    unsigned told = 0;
    bool fired = true;
    struct line f;

    (void)state;
    open_filled(&f);
    for (uint64_t n = 0; fired; n++) {
        struct ramet_objstore *inner, *target;
        enum ramet_rc rc;

        assert_int_equal(ramet_memstore_open(&inner, NULL), RAMET_OK);
        target = ramet_faultstore_new(inner);
        ramet_faultstore_arm(target, RAMET_FAULT_LATE, n, RAMET_OK);
        rc = copy_all(&f, target);
        fired = ramet_faultstore_fired(target);
        assert_true(rc == RAMET_OK || rc == RAMET_EUNREACHABLE);
        told += rc == RAMET_EUNREACHABLE;
        if (n % 2 == 0)
            ramet_faultstore_land(target);
        assert_int_equal(copy_all(&f, target), RAMET_OK);
        ramet_faultstore_land(target);
        ramet_objstore_close(target);
        ramet_objstore_close(inner);
    }
    assert_true(told > 0);
    line_close(&f);
}

/* Whatever request fails, the history stays a line, and a new try succeeds. */
static void
commit__can_be_retried_after_any_failed_request(void **state)
{
    static const enum ramet_fault faults[] = {RAMET_FAULT_FAIL,
                                              RAMET_FAULT_LOSE_REPLY};

    (void)state;
    for (size_t kind = 0; kind < 4; kind++) {
        bool fired = true;

        for (uint64_t n = 0; fired; n++) {
            const struct ramet_cid id = model_new_cid();
            struct line f;
            struct ramet_err err = {.text = ""};
            struct ramet_head head;
            uint64_t before;
            enum ramet_rc rc;

            open_filled(&f);
            before = f.model.lsn;
            model_reopen(&f.model);
            f.model.segment_pages = kind < 2 ? 0 : 12;
            ramet_faultstore_arm(f.store, faults[kind % 2], n,
                                 RAMET_EUNREACHABLE);
            rc = commit_once(&f.model, &id, &err);
            fired = ramet_faultstore_fired(f.store);
            ramet_faultstore_arm(f.store, RAMET_FAULT_NONE, 0, RAMET_OK);
            if (kind % 2 == 0)
                assert_int_equal(rc, fired ? RAMET_EUNREACHABLE : RAMET_OK);
            assert_int_equal(ramet_history_newest(f.model.history, &head, &err),
                             RAMET_OK);
            /* Either in, and found by its id, or not at all. */
            if (head.lsn == before + 1)
                assert_memory_equal(&head.id, &id, sizeof(id));
            else
                assert_int_equal(head.lsn, before);
            if (rc == RAMET_OK)
                assert_int_equal(head.lsn, before + 1);
            if (head.lsn == before)
                assert_int_equal(commit_once(&f.model, &id, &err), RAMET_OK);
            model_reopen(&f.model);
            for (uint64_t lsn = 1; lsn <= before; lsn++)
                model_check_lsn(&f.model, lsn);
            line_close(&f);
            assert_true(n < 300);
        }
    }
}

/* The store flips a bit once: so it is with what a cache kept wrong, and is asked
 * for anew. */
static void
reading__of_what_somebody_kept_wrong_is_right(void **state)
{
    struct line f;
    bool fired = true;
    unsigned n = 0;

    (void)state;
    open_filled(&f);
    f.store->traits |= RAMET_STORE_IS_KEPT;
    for (; fired; n++) {
        struct ramet_history *history;
        struct ramet_err err = {.text = ""};

        ramet_faultstore_arm(f.store, RAMET_FAULT_FLIP_BIT, n, RAMET_OK);
        assert_int_equal(ramet_history_open(f.model.store, &f.model.volume,
                                            NULL, &history, NULL),
                         RAMET_OK);
        if (read_history(history, &f.model, &err) != RAMET_OK)
            fail_msg("read %u: %s", n, err.text);
        ramet_history_close(history);
        fired = ramet_faultstore_fired(f.store);
        assert_true(n < 2000);
    }
    assert_true(n > 10);
    line_close(&f);
}

/* A store behind somebody who keeps one byte wrong until the read of its place is told to
 * be anew: all of an object is doubted by its next read alone, as over HTTP. */
struct keeper {
    struct ramet_objstore base;
    struct ramet_objstore *inner;
    unsigned reads, turn; /* which of them is kept wrong */
    char key[RAMET_KEY_MAX], doubted[RAMET_KEY_MAX];
    uint64_t at, doubted_at; /* doubted_at: UINT64_MAX: anywhere */
    bool is_wrong;
};

static enum ramet_rc
keeper_read(struct ramet_objstore *store, const char *key, uint64_t offset,
            void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct keeper *const k = (struct keeper *)store;
    const enum ramet_rc rc =
        ramet_objstore_read(k->inner, key, offset, buf, len, out_got, err);
    bool is_there;

    if (rc != RAMET_OK || *out_got == 0)
        return rc;
    if (k->reads++ == k->turn) {
        (void)snprintf(k->key, sizeof(k->key), "%s", key);
        k->at = offset + *out_got / 2;
        k->is_wrong = true;
    }
    is_there = strcmp(key, k->key) == 0 && k->at >= offset &&
               k->at < offset + *out_got;
    if (strcmp(key, k->doubted) == 0 &&
        (k->doubted_at == offset || k->doubted_at == UINT64_MAX)) {
        k->doubted[0] = '\0';
        k->is_wrong = k->is_wrong && !is_there;
    }
    if (k->is_wrong && is_there)
        ((uint8_t *)buf)[k->at - offset] ^= 16;
    return rc;
}

static void
keeper_doubt(struct ramet_objstore *store, const char *key, uint64_t offset,
             uint64_t len)
{
    struct keeper *const k = (struct keeper *)store;

    assert_true(len > 0);
    (void)snprintf(k->doubted, sizeof(k->doubted), "%s", key);
    k->doubted_at = offset;
}

static void
keeper_refresh(struct ramet_objstore *store, const char *key)
{
    keeper_doubt(store, key, UINT64_MAX, 1);
}

static enum ramet_rc
keeper_size(struct ramet_objstore *store, const char *key, uint64_t *out_size,
            struct ramet_err *err)
{
    return ramet_objstore_size(((struct keeper *)store)->inner, key, out_size,
                               err);
}

static enum ramet_rc
keeper_list(struct ramet_objstore *store, const char *prefix, const char *after,
            ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    return ramet_objstore_list(((struct keeper *)store)->inner, prefix, after,
                               visit, ctx, err);
}

/* Commits, until one names a map. */
static void
write_until_mapped(struct model *model)
{
    struct ramet_head head;

    do {
        model_write(model, 1, 1);
        assert_int_equal(
            ramet_history_make_map(model->history, model->lsn, NULL), RAMET_OK);
        assert_int_equal(ramet_history_newest(model->history, &head, NULL),
                         RAMET_OK);
        assert_true(head.lsn < 1000);
    } while (head.commits_since_map == head.lsn);
}

/* The beginning and the end of its map, as who writes and who verifies reads them. */
static enum ramet_rc
read_map_ends(struct ramet_history *history, struct model *model,
              struct ramet_err *err)
{
    struct ramet_commit_object commit;
    struct ramet_map_trailer trailer;
    char key[RAMET_KEY_MAX];
    uint64_t size;
    enum ramet_rc rc = ramet_history_commit(history, model->lsn, &commit, err);

    if (rc != RAMET_OK)
        return rc;
    assert_true(commit.map.lsn > 0);
    ramet_map_key(&model->volume, commit.map.lsn, &commit.map.id, key);
    rc = ramet_objstore_size(history->store, key, &size, err);
    if (rc == RAMET_OK)
        rc = ramet_history_read_trailer(history, commit.map.lsn, &commit.map.id,
                                        size, &trailer, err);
    ramet_commit_done(&commit);
    return rc;
}

/* Whichever place it is: the end of a map, say, that begins right. */
static void
reading__of_a_place_that_is_kept_wrong_names_it(void **state)
{
    static const struct ramet_objstore_ops ops = {.read = keeper_read,
                                                  .size = keeper_size,
                                                  .list = keeper_list,
                                                  .doubt = keeper_doubt,
                                                  .refresh = keeper_refresh};
    struct keeper k = {
        .base = {.ops = &ops,
                 .traits = RAMET_STORE_IS_KEPT | RAMET_STORE_LISTS_CHEAPLY,
                 .name = "kept"}};
    struct line f;

    (void)state;
    open_filled(&f);
    write_until_mapped(&f.model);
    k.inner = f.inner;
    for (k.turn = 0; k.reads >= k.turn; k.turn++) {
        struct ramet_history *history;
        struct ramet_err err = {.text = ""};

        k.reads = 0;
        k.is_wrong = false;
        k.doubted[0] = '\0';
        assert_int_equal(
            ramet_history_open(&k.base, &f.model.volume, NULL, &history, NULL),
            RAMET_OK);
        if (read_history(history, &f.model, &err) != RAMET_OK ||
            read_map_ends(history, &f.model, &err) != RAMET_OK)
            fail_msg("read %u, of %s at %u: %s", k.turn, k.key, (unsigned)k.at,
                     err.text);
        ramet_history_close(history);
        assert_true(k.turn < 2000);
    }
    assert_true(k.turn > 10);
    line_close(&f);
}

static void
reading__fails_or_is_right_whatever_request_fails(void **state)
{
    static const enum ramet_fault faults[] = {
        RAMET_FAULT_FAIL, RAMET_FAULT_FLIP_BIT, RAMET_FAULT_SHORT,
        RAMET_FAULT_OTHER_KEY};
    struct line f;

    (void)state;
    open_filled(&f);
    for (size_t kind = 0; kind < 4; kind++) {
        bool fired = true;
        unsigned noticed = 0;

        for (uint64_t n = 0; fired; n++) {
            struct ramet_err err = {.text = ""};
            enum ramet_rc rc;

            ramet_faultstore_arm(f.store, faults[kind], n, RAMET_EUNREACHABLE);
            rc = read_all(&f.model, &err);
            fired = ramet_faultstore_fired(f.store);
            if (rc == RAMET_OK)
                assert_true(!fired || kind > 0);
            else
                assert_true(err.text[0] != '\0');
            noticed += rc != RAMET_OK;
            assert_true(n < 2000);
        }
        /* The others hit bytes that were read along and not looked at. */
        print_message("fault %u: noticed %u\n", (unsigned)kind, noticed);
        assert_true(noticed > 15);
    }
    ramet_faultstore_arm(f.store, RAMET_FAULT_NONE, 0, RAMET_OK);
    line_close(&f);
}

/* A map too large for one buffer is streamed; whatever fails, it is there
 * whole, and the same, or not at all. */
static void
make_map__streams_and_can_be_repeated(void **state)
{
    static const enum ramet_fault faults[] = {RAMET_FAULT_FAIL,
                                              RAMET_FAULT_LOSE_REPLY};
    struct ramet_objstore *inner;
    struct ramet_objstore *store;
    struct model model;
    struct ramet_head head;
    uint64_t writes = 0;

    (void)state;
    assert_int_equal(ramet_memstore_open(&inner, NULL), RAMET_OK);
    store = ramet_faultstore_new(inner);
    model_init(&model, store, 3);
    model.never_inline = true;
    model_write(&model, 1, 20000);
    for (int i = 0; i < 33; i++)
        model_write_random(&model, 1);
    for (size_t kind = 0; kind < 2; kind++) {
        bool fired = true;

        for (uint64_t n = 0; fired; n++) {
            struct ramet_err err = {.text = ""};
            enum ramet_rc rc;

            model_reopen(&model);
            ramet_faultstore_reset_counts(store);
            ramet_faultstore_arm(store, faults[kind], n, RAMET_EUNREACHABLE);
            rc = ramet_history_make_map(model.history, model.lsn, &err);
            fired = ramet_faultstore_fired(store);
            ramet_faultstore_arm(store, RAMET_FAULT_NONE, 0, RAMET_OK);
            /* A lost reply is resolved by looking. */
            assert_int_equal(rc, fired && kind == 0 ? RAMET_EUNREACHABLE
                                                    : RAMET_OK);
            writes = ramet_faultstore_counts(store).upload_writes;
        }
    }
    assert_true(writes >= 2);
    model_write_random(&model, 1);
    assert_int_equal(ramet_history_newest(model.history, &head, NULL),
                     RAMET_OK);
    assert_int_equal(head.map_lsn, model.lsn - 1);
    model_reopen(&model);
    model_check_lsn(&model, model.lsn);
    model_check_changed(&model, 1, model.lsn);
    model_done(&model);
    ramet_objstore_close(store);
    ramet_objstore_close(inner);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(make_map__streams_and_can_be_repeated),
        cmocka_unit_test(history__survives_every_failed_allocation),
        cmocka_unit_test(copy__survives_every_failed_allocation),
        cmocka_unit_test(copy__of_what_did_not_arrive__says_so_and_goes_on),
        cmocka_unit_test(commit__can_be_retried_after_any_failed_request),
        cmocka_unit_test(reading__fails_or_is_right_whatever_request_fails),
        cmocka_unit_test(reading__of_what_somebody_kept_wrong_is_right),
        cmocka_unit_test(reading__of_a_place_that_is_kept_wrong_names_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
