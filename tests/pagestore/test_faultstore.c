/*
 * test_faultstore.c - the store that goes wrong does so as it was told: tests
 * of other layers lean on it.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/faultstore.h"

struct fixture {
    struct ramet_objstore *memory;
    struct ramet_objstore *store;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    if (ramet_memstore_open(&f->memory, NULL) != RAMET_OK)
        return -1;
    f->store = ramet_faultstore_new(f->memory);
    return f->store != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    ramet_objstore_close(f->store);
    ramet_objstore_close(f->memory);
    free(f);
    return 0;
}

static enum ramet_rc
put_text(struct ramet_objstore *store, const char *key, const char *text)
{
    const struct iovec part = {(void *)(uintptr_t)text, strlen(text)};

    return ramet_objstore_put(store, key, &part, 1, NULL);
}

static bool
is_there(struct fixture *f, const char *key)
{
    uint64_t size;

    return ramet_objstore_size(f->memory, key, &size, NULL) == RAMET_OK;
}

static enum ramet_rc
upload_text(struct ramet_objstore *store, const char *key, const char *text)
{
    struct ramet_upload *upload;
    enum ramet_rc rc = ramet_objstore_upload_begin(store, key, &upload, NULL);

    if (rc != RAMET_OK)
        return rc;
    rc = ramet_objstore_upload_write(upload, text, strlen(text), NULL);
    if (rc != RAMET_OK) {
        ramet_objstore_upload_abort(upload);
        return rc;
    }
    return ramet_objstore_upload_finish(upload, NULL);
}

static void
fail__hits_the_nth_call_once(void **state)
{
    struct fixture *f = *state;

    ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, 1, RAMET_EFULL);
    assert_int_equal(put_text(f->store, "a", "1"), RAMET_OK);
    assert_false(ramet_faultstore_fired(f->store));
    assert_int_equal(put_text(f->store, "b", "2"), RAMET_EFULL);
    assert_true(ramet_faultstore_fired(f->store));
    assert_false(is_there(f, "b"));
    assert_int_equal(put_text(f->store, "b", "2"), RAMET_OK);
    for (uint64_t nth = 0; nth < 3; nth++) {
        ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, nth, RAMET_EAUTH);
        assert_int_equal(upload_text(f->store, "u", "3"), RAMET_EAUTH);
        assert_false(is_there(f, "u"));
    }
}

static void
down__refuses_everything_until_up(void **state)
{
    struct fixture *f = *state;
    uint64_t size;

    ramet_faultstore_set_down(f->store, RAMET_EUNREACHABLE);
    assert_int_equal(put_text(f->store, "a", "1"), RAMET_EUNREACHABLE);
    assert_int_equal(ramet_objstore_size(f->store, "a", &size, NULL),
                     RAMET_EUNREACHABLE);
    assert_int_equal(ramet_objstore_remove(f->store, "a", NULL),
                     RAMET_EUNREACHABLE);
    ramet_faultstore_set_down(f->store, RAMET_OK);
    assert_int_equal(put_text(f->store, "a", "1"), RAMET_OK);
}

static void
lose_reply__does_it_and_says_unknown(void **state)
{
    struct fixture *f = *state;

    ramet_faultstore_arm(f->store, RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    assert_int_equal(put_text(f->store, "a", "1"), RAMET_EUNKNOWN);
    assert_true(is_there(f, "a"));
    ramet_faultstore_arm(f->store, RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    assert_int_equal(upload_text(f->store, "u", "1"), RAMET_EUNKNOWN);
    assert_true(is_there(f, "u"));
    ramet_faultstore_arm(f->store, RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    assert_int_equal(ramet_objstore_remove(f->store, "u", NULL),
                     RAMET_EUNKNOWN);
    assert_false(is_there(f, "u"));
}

static void
late__arrives_when_told_and_may_come_second(void **state)
{
    struct fixture *f = *state;
    char got[4] = "";

    ramet_faultstore_arm(f->store, RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(put_text(f->store, "a", "1"), RAMET_EUNKNOWN);
    ramet_faultstore_arm(f->store, RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(upload_text(f->store, "u", "1"), RAMET_EUNKNOWN);
    ramet_faultstore_arm(f->store, RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(put_text(f->store, "c", "1"), RAMET_EUNKNOWN);
    assert_false(is_there(f, "a"));
    assert_false(is_there(f, "u"));
    assert_int_equal(put_text(f->store, "c", "2"), RAMET_OK);
    ramet_faultstore_land(f->store);
    assert_true(is_there(f, "a"));
    assert_true(is_there(f, "u"));
    assert_int_equal(ramet_objstore_read_full(f->store, "c", 0, got, 1, NULL),
                     RAMET_OK);
    assert_string_equal(got, "2");
    /* one that never arrives is forgotten at close */
    ramet_faultstore_arm(f->store, RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(upload_text(f->store, "x", "1"), RAMET_EUNKNOWN);
}

static void
reads__may_be_wrong_short_or_another_s(void **state)
{
    struct fixture *f = *state;
    char buf[8];
    size_t got = 0;

    assert_int_equal(put_text(f->store, "a", "1234"), RAMET_OK);
    assert_int_equal(put_text(f->store, "b", "abcd"), RAMET_OK);
    ramet_faultstore_arm(f->store, RAMET_FAULT_FLIP_BIT, 0, RAMET_OK);
    assert_int_equal(ramet_objstore_read(f->store, "a", 0, buf, 4, &got, NULL),
                     RAMET_OK);
    assert_int_not_equal(memcmp(buf, "1234", 4), 0);
    ramet_faultstore_arm(f->store, RAMET_FAULT_SHORT, 0, RAMET_OK);
    assert_int_equal(ramet_objstore_read(f->store, "a", 0, buf, 4, &got, NULL),
                     RAMET_OK);
    assert_int_equal(got, 2);
    ramet_faultstore_arm(f->store, RAMET_FAULT_OTHER_KEY, 0, RAMET_OK);
    assert_int_equal(ramet_objstore_read(f->store, "a", 0, buf, 4, &got, NULL),
                     RAMET_OK);
    assert_memory_equal(buf, "abcd", 4);
    assert_int_equal(ramet_objstore_read(f->store, "a", 0, buf, 4, &got, NULL),
                     RAMET_OK);
    assert_memory_equal(buf, "1234", 4);
}

static bool
visit_nothing(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)ctx;
    (void)key;
    (void)size_bytes;
    return true;
}

static void
counts__tell_requests_by_kind(void **state)
{
    struct fixture *f = *state;
    struct ramet_store_counts counts;
    uint64_t size;
    size_t got;
    char buf[8];

    assert_int_equal(put_text(f->store, "a", "123"), RAMET_OK);
    assert_int_equal(upload_text(f->store, "u", "4567"), RAMET_OK);
    assert_int_equal(ramet_objstore_read(f->store, "a", 1, buf, 8, &got, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_size(f->store, "a", &size, NULL), RAMET_OK);
    assert_int_equal(
        ramet_objstore_list(f->store, "", NULL, visit_nothing, NULL, NULL),
        RAMET_OK);
    assert_int_equal(ramet_objstore_remove(f->store, "a", NULL), RAMET_OK);
    counts = ramet_faultstore_counts(f->store);
    assert_int_equal(counts.puts, 2);
    assert_int_equal(counts.upload_begins, 1);
    assert_int_equal(counts.upload_writes, 1);
    assert_int_equal(counts.reads, 1);
    assert_int_equal(counts.sizes, 1);
    assert_int_equal(counts.lists, 1);
    assert_int_equal(counts.removes, 1);
    assert_int_equal(counts.bytes_written, 7);
    assert_int_equal(counts.bytes_read, 2);
    ramet_faultstore_reset_counts(f->store);
    assert_int_equal(ramet_faultstore_counts(f->store).puts, 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fail__hits_the_nth_call_once),
        TEST(down__refuses_everything_until_up),
        TEST(lose_reply__does_it_and_says_unknown),
        TEST(late__arrives_when_told_and_may_come_second),
        TEST(reads__may_be_wrong_short_or_another_s),
        TEST(counts__tell_requests_by_kind),
    };
    return cmocka_run_group_tests_name("faultstore", tests, NULL, NULL);
}
