/*
 * test_starved.c - a bucket where memory is short: the n-th allocation of each call
 * fails, for n = 0, 1, 2 … It says so or is done, and goes through when said again.
 *
 * usage: test_starved [CALL...], of those that are in `acts`; all unless told.
 * Needs a service: test_starved.py brings one up, and says how its keys are to be had.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/s3/rules.h"
#include "pagestore/s3/s3store.h"

#define OBJECT "volumes/v/segments/0"
#define LENGTH 5000u
#define LARGE ((11u << 20) + 7u) /* three parts */
#define OTHERS 12u
#define TRIALS_MAX 2000
#define PATIENCE_MS 240000u /* the machine may be busy */
#define CALM 4              /* so many in a row that met no failure end it */

static uint8_t bytes[LARGE];

static enum ramet_rc
open_store(struct ramet_objstore **out_store, struct ramet_err *err)
{
    const struct ramet_s3_options options = {.configured = true,
                                             .connect_timeout_ms = PATIENCE_MS,
                                             .stall_timeout_ms = PATIENCE_MS};

    return ramet_s3store_open("s3://bucket/starved", getenv("STARVED_QUERY"),
                              &options, out_store, err);
}

static enum ramet_rc
put(struct ramet_objstore *store, const char *key, uint32_t length,
    struct ramet_err *err)
{
    const struct iovec part = {bytes, length};

    return ramet_objstore_put(store, key, &part, 1, err);
}

/* ---- what is done --------------------------------------------------------------- */

/* On a store of its own, so that all of it is new. */
static enum ramet_rc
act_open(struct ramet_objstore *store, struct ramet_err *err)
{
    struct ramet_objstore *own;
    uint64_t size = 0;
    enum ramet_rc rc = open_store(&own, err);

    (void)store;
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_objstore_size(own, "others/0", &size, err);
    assert_true(rc != RAMET_OK || size == LENGTH);
    ramet_objstore_close(own);
    return rc;
}

static enum ramet_rc
act_put(struct ramet_objstore *store, struct ramet_err *err)
{
    return put(store, OBJECT, LENGTH, err);
}

static enum ramet_rc
act_put_on_a_new_store(struct ramet_objstore *store, struct ramet_err *err)
{
    struct ramet_objstore *own;
    enum ramet_rc rc = open_store(&own, err);

    (void)store;
    if (rc != RAMET_OK)
        return rc;
    rc = put(own, OBJECT, LENGTH, err);
    ramet_objstore_close(own);
    return rc;
}

static enum ramet_rc
act_read(struct ramet_objstore *store, struct ramet_err *err)
{
    static uint8_t buf[LENGTH];
    const enum ramet_rc rc = ramet_objstore_read_full(store, "others/1", 100,
                                                      buf, LENGTH - 100, err);

    if (rc == RAMET_OK)
        assert_memory_equal(buf, bytes + 100, LENGTH - 100);
    return rc;
}

static enum ramet_rc
compare_part(void *ctx, const struct ramet_part *part, size_t got,
             struct ramet_err *err)
{
    (void)err;
    assert_int_equal(got, part->len);
    assert_memory_equal(part->buf, bytes + part->offset, got);
    ++*(unsigned *)ctx;
    return RAMET_OK;
}

static enum ramet_rc
act_read_parts(struct ramet_objstore *store, struct ramet_err *err)
{
    static uint8_t bufs[OTHERS][64];
    static char keys[OTHERS][RAMET_KEY_MAX];
    struct ramet_part parts[OTHERS];
    unsigned seen = 0;
    enum ramet_rc rc;

    for (unsigned i = 0; i < OTHERS; i++) {
        snprintf(keys[i], sizeof(keys[i]), "others/%u", i);
        parts[i] = (struct ramet_part){
            .key = keys[i], .offset = 7u * i, .len = 64, .buf = bufs[i]};
    }
    rc = ramet_objstore_read_parts(store, parts, OTHERS, compare_part, &seen,
                                   err);
    assert_true(rc != RAMET_OK || seen == OTHERS);
    return rc;
}

static bool
count_key(void *ctx, const char *key, uint64_t size_bytes)
{
    assert_int_equal(strncmp(key, "others/", 7), 0);
    assert_int_equal(size_bytes, LENGTH);
    ++*(unsigned *)ctx;
    return true;
}

static enum ramet_rc
act_list(struct ramet_objstore *store, struct ramet_err *err)
{
    unsigned count = 0;
    const enum ramet_rc rc =
        ramet_objstore_list(store, "others/", "", count_key, &count, err);

    assert_true(rc != RAMET_OK || count == OTHERS);
    return rc;
}

static enum ramet_rc
act_remove(struct ramet_objstore *store, struct ramet_err *err)
{
    return ramet_objstore_remove(store, "not/there", err);
}

static enum ramet_rc
act_remove_many(struct ramet_objstore *store, struct ramet_err *err)
{
    static const char *const keys[] = {OBJECT, "not/there", "not/there/either"};

    return ramet_objstore_remove_many(store, keys, 3, err);
}

static enum ramet_rc
act_upload(struct ramet_objstore *store, struct ramet_err *err)
{
    struct ramet_upload *upload;
    enum ramet_rc rc = ramet_objstore_upload_begin(store, OBJECT, &upload, err);

    if (rc != RAMET_OK)
        return rc;
    for (size_t at = 0; rc == RAMET_OK && at < LARGE;) {
        const size_t len = LARGE - at < 1000000 ? LARGE - at : 1000000;

        rc = ramet_objstore_upload_write(upload, bytes + at, len, err);
        at += len;
    }
    if (rc == RAMET_OK)
        return ramet_objstore_upload_finish(upload, err);
    ramet_objstore_upload_abort(upload);
    return rc;
}

static enum ramet_rc
act_rules(struct ramet_objstore *store, struct ramet_err *err)
{
    char rule[RAMET_S3_RULE_MAX];
    const enum ramet_rc rc = ramet_s3store_rules(store, rule, err);

    assert_true(rc != RAMET_OK || strcmp(rule, "old things go") == 0);
    return rc;
}

/* ---- trials --------------------------------------------------------------------- */

/* How long what is there is; 0: it is not. */
static uint64_t
object_length(struct ramet_objstore *store)
{
    uint64_t size = 0;
    const enum ramet_rc rc = ramet_objstore_size(store, OBJECT, &size, NULL);

    assert_true(rc == RAMET_OK || rc == RAMET_ENOTFOUND);
    return rc == RAMET_OK ? size : 0;
}

static char **chosen; /* what the program was told */

static bool
is_chosen(const char *name)
{
    for (char **word = chosen; *word != NULL; word++)
        if (strcmp(*word, name) == 0)
            return true;
    return chosen[0] == NULL;
}

struct act {
    const char *name;
    enum ramet_rc (*run)(struct ramet_objstore *store, struct ramet_err *err);
    uint64_t length; /* of OBJECT where it was done */
};

static const struct act acts[] = {
    {"open", act_open, 0},
    {"put", act_put, LENGTH},
    {"put on a new store", act_put_on_a_new_store, LENGTH},
    {"read", act_read, 0},
    {"read parts", act_read_parts, 0},
    {"list", act_list, 0},
    {"remove", act_remove, 0},
    {"remove many", act_remove_many, 0},
    {"upload", act_upload, LARGE},
    {"rules", act_rules, 0},
};

static void
starve(struct ramet_objstore *store, const struct act *act)
{
    int calm = 0;

    for (long n = 0; calm < CALM; n++) {
        struct ramet_err err = {.text = ""};
        uint64_t length;
        enum ramet_rc rc;

        assert_true(n < TRIALS_MAX);
        assert_int_equal(ramet_objstore_remove(store, OBJECT, NULL), RAMET_OK);
        ramet_alloc_fail_at(n);
        rc = act->run(store, n % 2 == 0 ? &err : NULL);
        ramet_alloc_fail_at(-1);
        if (rc != RAMET_OK && rc != RAMET_ENOMEM && rc != RAMET_EUNKNOWN)
            fail_msg("%s, allocation %ld: %s (%s)", act->name, n,
                     ramet_rc_name(rc), err.text);
        length = object_length(store);
        assert_true(length == 0 || length == act->length);
        assert_true(rc != RAMET_OK || length == act->length);
        calm = rc == RAMET_OK ? calm + 1 : 0;
    }
}

static void
call__without_memory__says_so_or_is_done(void **state)
{
    struct ramet_objstore *store;
    char key[RAMET_KEY_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    assert_int_equal(open_store(&store, NULL), RAMET_OK);
    for (unsigned i = 0; i < OTHERS; i++) {
        enum ramet_rc rc;

        snprintf(key, sizeof(key), "others/%u", i);
        rc = put(store, key, LENGTH, NULL);
        assert_true(rc == RAMET_OK || rc == RAMET_EEXIST);
    }
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
        if (is_chosen(acts[i].name))
            starve(store, &acts[i]);
    ramet_objstore_close(store);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(call__without_memory__says_so_or_is_done),
    };

    (void)argc;
    chosen = argv + 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
