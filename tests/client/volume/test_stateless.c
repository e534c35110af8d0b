/*
 * test_stateless.c - snapshots straight from a remote: any LSN, following, a remote
 * that is gone, little memory.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/pagecache.h"
#include "client/volume/stateless.h"
#include "core/alloc.h"
#include "metastore/catalog.h"
#include "tests/metastore/model.h"
#include "tests/support/faultstore.h"

struct fixture {
    struct ramet_objstore *store;
    struct ramet_objstore *faults;
    struct model model;
    struct ramet_remote_client *client;
    struct ramet_os os; /* the system's, with clocks that stand still */
};

static uint64_t clock_ns;
static uint64_t boot_ns;

static uint64_t
fake_mono_ns(void *ctx)
{
    (void)ctx;
    return clock_ns;
}

static uint64_t
fake_boot_ns(void *ctx)
{
    (void)ctx;
    return boot_ns;
}

static void
close_remote(struct ramet_remote *remote)
{
    ramet_free(remote);
}

static int
setup(void **state)
{
    static const struct ramet_remote_ops ops = {.close = close_remote};
    struct fixture *const f = calloc(1, sizeof(*f));
    struct ramet_remote *const remote = ramet_calloc(1, sizeof(*remote));

    assert_non_null(f);
    clock_ns = 1000000000000;
    f->os = *ramet_os_system();
    f->os.mono_ns = fake_mono_ns;
    boot_ns = 5000000000000;
    f->os.boot_ns = fake_boot_ns;
    assert_int_equal(ramet_memstore_open(&f->store, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_check(f->store, true, NULL), RAMET_OK);
    model_init(&f->model, f->store, 42);
    assert_int_equal(
        ramet_catalog_bind(f->store, "vol", &f->model.volume, false, NULL),
        RAMET_OK);
    f->faults = ramet_faultstore_new(f->store);
    remote->ops = &ops;
    remote->store = f->faults;
    assert_int_equal(ramet_url_parse("file:///v/vol", &remote->url, NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_remote_client_share(&f->os, remote, &f->client, NULL), RAMET_OK);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *const f = *state;

    ramet_remote_client_close(f->client);
    ramet_objstore_close(f->faults);
    model_done(&f->model);
    ramet_objstore_close(f->store);
    free(f);
    return 0;
}

static struct ramet_stateless_reader *
open_stateless(struct fixture *f, const char *at, size_t cache_bytes)
{
    struct ramet_stateless_point place = {.fixed = false};
    struct ramet_stateless_reader *stateless = NULL;
    struct ramet_err err;

    if (at != NULL)
        assert_int_equal(ramet_stateless_point_parse(at, &place, NULL),
                         RAMET_OK);
    if (ramet_stateless_open(f->client, NULL, &place, cache_bytes, &f->os,
                             &stateless, &err) != RAMET_OK)
        fail_msg("%s", err.text);
    return stateless;
}

/* Every page that the stateless reader shows is the model's at that LSN, and so is
 * what it tells of the first. */
static void
check_reader(struct fixture *f, struct ramet_stateless_reader *stateless,
             uint64_t lsn)
{
    const struct model_version *const version = &f->model.versions[lsn];
    const uint32_t size = version->page_size;
    uint8_t got[65536];
    uint8_t wanted[65536];
    size_t len;

    assert_true(ramet_stateless_snapshot(stateless)->lsn == lsn);
    assert_true(ramet_stateless_snapshot(stateless)->page_count ==
                version->page_count);
    model_fill(wanted, size, version->pages[0]);
    assert_memory_equal(ramet_stateless_snapshot(stateless)->header, wanted,
                        100);
    for (uint32_t i = 0; i < version->page_count; i++) {
        model_fill(wanted, size, version->pages[i]);
        assert_int_equal(ramet_stateless_read(stateless, (uint64_t)i * size,
                                              got, size, &len, NULL),
                         RAMET_OK);
        assert_true(len == size);
        assert_memory_equal(got, wanted, size);
    }
}

/* As an export asks for it: 3 MiB by few ranges, where each page was one. */
static void
stateless_reader__of_much_at_once_reads_few_ranges(void **state)
{
    enum { PAGES = 6000, SIZE = 512 };
    struct fixture *const f = *state;
    uint8_t *const got = malloc(PAGES * SIZE);
    uint8_t wanted[SIZE];
    struct ramet_stateless_reader *stateless;
    size_t len;

    model_write(&f->model, 1, PAGES);
    stateless = open_stateless(f, NULL, 0);
    assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
    ramet_faultstore_reset_counts(f->faults);
    assert_int_equal(
        ramet_stateless_read(stateless, 0, got, PAGES * SIZE, &len, NULL),
        RAMET_OK);
    assert_int_equal(len, PAGES * SIZE);
    assert_true(ramet_faultstore_counts(f->faults).reads <= 20);
    for (uint32_t i = 0; i < PAGES; i++) {
        model_fill(wanted, SIZE, f->model.versions[f->model.lsn].pages[i]);
        assert_memory_equal(got + (size_t)i * SIZE, wanted, SIZE);
    }
    ramet_stateless_unpin(stateless);
    ramet_stateless_close(stateless);
    free(got);
}

static void
stateless_reader__shows_every_lsn(void **state)
{
    struct fixture *const f = *state;

    for (unsigned i = 0; i < 40; i++)
        model_random_commit(&f->model);
    for (uint64_t lsn = 1; lsn <= f->model.lsn; lsn++) {
        char at[24];
        struct ramet_stateless_reader *stateless;

        snprintf(at, sizeof(at), "%llu", (unsigned long long)lsn);
        stateless = open_stateless(f, at, 0);
        assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
        check_reader(f, stateless, lsn);
        ramet_stateless_unpin(stateless);
        ramet_stateless_close(stateless);
    }
}

static void
stateless_reader__follows_but_asks_at_most_once_a_second(void **state)
{
    struct fixture *const f = *state;
    struct ramet_stateless_reader *stateless;
    uint64_t seen;

    model_write(&f->model, 1, 50);
    stateless = open_stateless(f, NULL, 0);
    for (unsigned i = 0; i < 30; i++) {
        model_random_commit(&f->model);
        seen = ramet_stateless_snapshot(stateless)->lsn;
        ramet_faultstore_reset_counts(f->faults);
        assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
        assert_true(ramet_stateless_snapshot(stateless)->lsn == seen);
        assert_int_equal(ramet_faultstore_counts(f->faults).reads, 0);
        check_reader(f, stateless, seen);
        ramet_stateless_unpin(stateless);
        clock_ns += RAMET_STATELESS_LOOK_MS * 1000000ull;
        assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
        check_reader(f, stateless, f->model.lsn);
        ramet_stateless_unpin(stateless);
    }
    ramet_stateless_close(stateless);
}

/* Moving on by a commit of one page does not fetch the other pages again. */
static void
stateless_reader__keeps_what_did_not_change(void **state)
{
    struct fixture *const f = *state;
    struct ramet_stateless_reader *stateless;

    model_write(&f->model, 1, 200);
    stateless = open_stateless(f, NULL, 0);
    assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
    check_reader(f, stateless, 1);
    ramet_stateless_unpin(stateless);
    model_write(&f->model, 7, 1);
    clock_ns += RAMET_STATELESS_LOOK_MS * 1000000ull;
    ramet_faultstore_reset_counts(f->faults);
    assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
    check_reader(f, stateless, 2);
    ramet_stateless_unpin(stateless);
    assert_in_range(ramet_faultstore_counts(f->faults).reads, 1, 6);
    ramet_stateless_close(stateless);
}

/* Where page 1 as it was is not here any more, nothing says that the schema is the same. */
static void
stateless_reader__without_the_page_before__says_that_the_schema_changed(
    void **state)
{
    struct fixture *const f = *state;
    struct ramet_stateless_reader *stateless;

    model_write(&f->model, 1, 20);
    stateless = open_stateless(f, NULL, 0);
    for (uint64_t lsn = 2; lsn < 5; lsn++) {
        ramet_pagecache_clear(
            ramet_remote_client_cache(f->client, &f->model.volume, 0));
        model_write(&f->model, 1, 1);
        clock_ns += RAMET_STATELESS_LOOK_MS * 1000000ull;
        assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
        check_reader(f, stateless, lsn);
        assert_true(ramet_stateless_snapshot(stateless)->schema_seq == lsn);
        ramet_stateless_unpin(stateless);
    }
    ramet_stateless_close(stateless);
}

static void
stateless_reader__stays_where_it_was_while_the_remote_is_gone(void **state)
{
    struct fixture *const f = *state;
    struct ramet_stateless_reader *stateless;
    struct ramet_err err;
    uint8_t page[65536];
    size_t got;
    uint64_t reads;

    model_write(&f->model, 1, 300);
    stateless = open_stateless(f, NULL, 0);
    assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
    assert_int_equal(ramet_stateless_read(stateless, 0, page, 100, &got, NULL),
                     RAMET_OK);
    ramet_stateless_unpin(stateless);
    ramet_faultstore_set_down(f->faults, RAMET_EUNREACHABLE);
    clock_ns += RAMET_STATELESS_LOOK_MS * 1000000ull;
    assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
    assert_int_equal(ramet_stateless_read(stateless, 0, page, 100, &got, NULL),
                     RAMET_OK);
    ramet_faultstore_reset_counts(f->faults);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(ramet_stateless_read(
                             stateless,
                             200u * ramet_stateless_head(stateless)->page_size,
                             page, 1, &got, &err),
                         RAMET_EUNREACHABLE);
        assert_non_null(strstr(err.text, "file:///v/vol"));
        assert_non_null(strstr(err.text, "page 201"));
    }
    /* The breaker: no request after the first that got no answer. */
    reads = ramet_faultstore_counts(f->faults).reads;
    assert_in_range(reads, 0, 1);
    ramet_faultstore_set_down(f->faults, RAMET_OK);
    clock_ns += RAMET_BREAKER_MS * 1000000ull;
    check_reader(f, stateless, 1);
    ramet_stateless_unpin(stateless);
    ramet_stateless_close(stateless);
}

static void
stateless_reader__of_what_is_not_there_is_refused(void **state)
{
    struct fixture *const f = *state;
    static const char *const places[] = {"4", "18446744073709551615",
                                         "1971-01-01T00:00:00Z"};
    struct ramet_stateless_point place;
    struct ramet_stateless_reader *stateless = NULL;
    struct ramet_err err;

    model_write(&f->model, 1, 3);
    for (size_t i = 0; i < 3; i++) {
        if (ramet_stateless_point_parse(places[i], &place, &err) != RAMET_OK)
            continue;
        assert_int_equal(ramet_stateless_open(f->client, NULL, &place, 0,
                                              &f->os, &stateless, &err),
                         RAMET_ENOTFOUND);
    }
    assert_int_equal(ramet_stateless_point_parse("", &place, &err),
                     RAMET_EINVAL);
    assert_int_equal(ramet_stateless_point_parse("0", &place, &err),
                     RAMET_EINVAL);
    assert_int_equal(ramet_stateless_point_parse("-3", &place, &err),
                     RAMET_EINVAL);
    assert_int_equal(ramet_stateless_point_parse("4x", &place, &err),
                     RAMET_EINVAL);
    assert_null(stateless);
    stateless = open_stateless(f, "9999-01-01T00:00:00Z", 0);
    assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
    check_reader(f, stateless, 1);
    ramet_stateless_unpin(stateless);
    ramet_stateless_close(stateless);
}

static void
stateless_reader__of_a_volume_without_commits_is_empty(void **state)
{
    struct fixture *const f = *state;
    struct ramet_stateless_reader *const stateless = open_stateless(f, NULL, 0);
    uint8_t bytes[10] = "0123456789";
    size_t got = 7;

    assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
    assert_int_equal(ramet_stateless_read(stateless, 5, bytes, 10, &got, NULL),
                     RAMET_OK);
    assert_int_equal(got, 0);
    assert_int_equal(bytes[9], 0);
    ramet_stateless_unpin(stateless);
    ramet_stateless_close(stateless);
}

/* A scan of 2,000 pages in few requests, with a cache of 64 of them. */
static void
stateless_reader__scans_in_few_requests_and_little_memory(void **state)
{
    struct fixture *const f = *state;
    struct ramet_stateless_reader *stateless;

    f->model.never_inline = true;
    model_write(&f->model, 1, 2000);
    stateless =
        open_stateless(f, NULL, 64u * (size_t)f->model.versions[1].page_size);
    ramet_faultstore_reset_counts(f->faults);
    assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
    check_reader(f, stateless, 1);
    ramet_stateless_unpin(stateless);
    assert_in_range(ramet_faultstore_counts(f->faults).reads, 1, 500);
    ramet_stateless_close(stateless);
}

/* The n-th request fails: an error or right bytes, and right bytes after. */
static void
stateless_reader__survives_failure_of_each_request(void **state)
{
    struct fixture *const f = *state;
    bool fired = true;

    f->model.never_inline = true;
    for (unsigned i = 0; i < 5; i++)
        model_random_commit(&f->model);
    for (uint64_t nth = 0; fired; nth++) {
        struct ramet_stateless_point place = {.fixed = false};
        struct ramet_stateless_reader *stateless = NULL;
        enum ramet_rc rc;

        assert_true(nth < 500);
        ramet_faultstore_arm(f->faults, RAMET_FAULT_FAIL, nth, RAMET_EIO);
        rc = ramet_stateless_open(f->client, NULL, &place, 20000, &f->os,
                                  &stateless, NULL);
        if (rc == RAMET_OK) {
            uint8_t byte;
            size_t got;

            assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
            for (uint64_t at = 0;
                 rc == RAMET_OK &&
                 at < ramet_stateless_head(stateless)->byte_length;
                 at += ramet_stateless_head(stateless)->page_size)
                rc = ramet_stateless_read(stateless, at, &byte, 1, &got, NULL);
            ramet_stateless_unpin(stateless);
        }
        fired = ramet_faultstore_fired(f->faults);
        if (!fired)
            assert_int_equal(rc, RAMET_OK);
        ramet_faultstore_arm(f->faults, RAMET_FAULT_NONE, 0, RAMET_OK);
        ramet_stateless_close(stateless);
    }
}

/* So does one that is to move on to a later commit: where that fails it is where it
 * was, as a whole, and what it shows is no fresher than before. */
static void
stateless_reader__whose_move_fails__stays_where_it_was(void **state)
{
    struct fixture *const f = *state;
    struct ramet_stateless_reader *stateless;
    unsigned failed = 0, moved = 0;

    f->model.never_inline = true;
    model_write(&f->model, 1, 20);
    stateless = open_stateless(f, NULL, 1u << 20);
    /* What an earlier try brought is not asked for again, so that the same request
     * is another one each time. */
    for (unsigned i = 0; i < 200; i++) {
        const uint64_t before = ramet_stateless_snapshot(stateless)->lsn;
        const uint64_t looked_ms = ramet_stateless_looked_boot_ms(stateless);
        const uint64_t nth = model_random(&f->model, 6);
        uint64_t lsn;
        enum ramet_rc rc;

        boot_ns += 1000000000;
        if (before == f->model.lsn)
            model_write(&f->model, 1, 2 + i % 5);
        ramet_faultstore_arm(f->faults, RAMET_FAULT_FAIL, nth, RAMET_EIO);
        rc = ramet_stateless_fetch(stateless, NULL);
        ramet_faultstore_arm(f->faults, RAMET_FAULT_NONE, 0, RAMET_OK);
        failed += rc != RAMET_OK;
        moved += rc == RAMET_OK;
        lsn = ramet_stateless_snapshot(stateless)->lsn;
        assert_int_equal(ramet_stateless_head(stateless)->lsn, lsn);
        assert_int_equal(lsn, rc == RAMET_OK ? f->model.lsn : before);
        assert_int_equal(ramet_stateless_looked_boot_ms(stateless),
                         rc == RAMET_OK ? boot_ns / 1000000 : looked_ms);
        assert_int_equal(ramet_stateless_pin(stateless, NULL), RAMET_OK);
        check_reader(f, stateless, lsn);
        ramet_stateless_unpin(stateless);
    }
    assert_true(failed > 20 && moved > 20);
    ramet_stateless_close(stateless);
}

static void
set_back(struct fixture *f)
{
    char key[RAMET_KEY_MAX];

    ramet_commit_key(&f->model.volume, f->model.lsn, key);
    assert_int_equal(ramet_objstore_remove(f->store, key, NULL), RAMET_OK);
    model_drop_newest(&f->model);
    model_reopen(&f->model); /* another machine */
}

/* It can't be told anew in a read, and is not moved to what it never read. */
static void
expect_went_back(struct ramet_stateless_reader *stateless, uint64_t lsn)
{
    struct ramet_err err;

    for (unsigned i = 0; i < 2; i++) {
        const uint64_t looked_ms = ramet_stateless_looked_boot_ms(stateless);

        clock_ns += RAMET_STATELESS_LOOK_MS * 1000000ull;
        boot_ns += 1000000000;
        assert_int_equal(ramet_stateless_pin(stateless, &err), RAMET_EWENTBACK);
        assert_int_equal(ramet_stateless_fetch(stateless, &err),
                         RAMET_EWENTBACK);
        assert_non_null(strstr(err.text, "went back in time"));
        assert_int_equal(ramet_stateless_snapshot(stateless)->lsn, lsn);
        assert_int_equal(ramet_stateless_looked_boot_ms(stateless), looked_ms);
    }
}

/* A store that was restored: each reader that is ahead of it, or on another line, is
 * told, though an opening by the same client made it forget what it had seen. */
static void
stateless_reader__of_a_store_that_went_back_is_told(void **state)
{
    struct fixture *const f = *state;
    struct ramet_stateless_reader *ahead, *also, *anew;

    model_write(&f->model, 1, 50);
    model_write(&f->model, 3, 2);
    ahead = open_stateless(f, NULL, 0);
    also = open_stateless(f, NULL, 0);
    set_back(f);
    expect_went_back(ahead, 2);
    ramet_remote_client_forget(f->client, &f->model.volume);
    anew = open_stateless(f, NULL, 0);
    assert_int_equal(ramet_stateless_pin(anew, NULL), RAMET_OK);
    check_reader(f, anew, 1);
    ramet_stateless_unpin(anew);
    expect_went_back(also, 2);
    expect_went_back(ahead, 2);
    model_write(&f->model, 5, 2); /* another commit 2 */
    expect_went_back(also, 2);
    model_write(&f->model, 6, 2);
    expect_went_back(ahead, 2);
    clock_ns += RAMET_STATELESS_LOOK_MS * 1000000ull;
    assert_int_equal(ramet_stateless_pin(anew, NULL), RAMET_OK);
    check_reader(f, anew, 3);
    ramet_stateless_unpin(anew);
    ramet_stateless_close(anew);
    ramet_stateless_close(also);
    ramet_stateless_close(ahead);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(stateless_reader__of_much_at_once_reads_few_ranges),
        T(stateless_reader__shows_every_lsn),
        T(stateless_reader__whose_move_fails__stays_where_it_was),
        T(stateless_reader__follows_but_asks_at_most_once_a_second),
        T(stateless_reader__keeps_what_did_not_change),
        T(stateless_reader__without_the_page_before__says_that_the_schema_changed),
        T(stateless_reader__stays_where_it_was_while_the_remote_is_gone),
        T(stateless_reader__of_what_is_not_there_is_refused),
        T(stateless_reader__of_a_volume_without_commits_is_empty),
        T(stateless_reader__scans_in_few_requests_and_little_memory),
        T(stateless_reader__survives_failure_of_each_request),
        T(stateless_reader__of_a_store_that_went_back_is_told),
    };
    return cmocka_run_group_tests_name("stateless", tests, NULL, NULL);
}
