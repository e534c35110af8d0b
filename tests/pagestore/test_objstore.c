/*
 * test_objstore.c - key validity, and what every store must do: the same tests
 * run on memory, on a directory, on memory behind the fault store, and on the
 * S3 gateway that RAMET_TEST_S3 and RAMET_TEST_S3_BUCKET name, if any.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "pagestore/objstore.h"
#include "pagestore/s3/s3store.h"
#include "tests/support/faultstore.h"

#define KEYS_MAX 64

struct fixture {
    struct ramet_objstore *store;
    struct ramet_objstore *inner; /* of the fault store */
    char path[64];                /* of the directory */
    bool is_s3;
};

static int
setup_memory(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    return ramet_memstore_open(&f->store, NULL) == RAMET_OK ? 0 : -1;
}

static int
setup_directory(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->path, "/tmp/ramet-test-store-XXXXXX");
    *state = f;
    if (mkdtemp(f->path) == NULL)
        return -1;
    return ramet_dirstore_open(NULL, f->path, true, &f->store, NULL) == RAMET_OK
               ? 0
               : -1;
}

static int
setup_fault(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    *state = f;
    if (ramet_memstore_open(&f->inner, NULL) != RAMET_OK)
        return -1;
    f->store = ramet_faultstore_new(f->inner);
    return f->store != NULL ? 0 : -1;
}

/* A prefix of its own in the gateway's bucket. */
static int
setup_s3(void **state)
{
    static unsigned count;
    const struct ramet_s3_options options = {
        .connect_timeout_ms = 240000, /* the machine may be busy */
        .stall_timeout_ms = 240000};
    struct fixture *f = calloc(1, sizeof(*f));
    struct ramet_err err = {.text = ""};
    char root[256], query[256];

    *state = f;
    f->is_s3 = true;
    snprintf(root, sizeof(root), "s3://%s/objstore-%ld-%u",
             getenv("RAMET_TEST_S3_BUCKET"), (long)getpid(), count++);
    snprintf(query, sizeof(query), "endpoint=%s", getenv("RAMET_TEST_S3"));
    if (ramet_s3store_open(root, query, &options, &f->store, &err) == RAMET_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static bool
clear(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)size_bytes;
    return ramet_objstore_remove(ctx, key, NULL) == RAMET_OK;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    if (f->is_s3 && ramet_objstore_list(f->store, "", NULL, clear, f->store,
                                        NULL) != RAMET_OK)
        return -1;
    ramet_objstore_close(f->store);
    ramet_objstore_close(f->inner);
    if (f->path[0] != '\0') {
        snprintf(command, sizeof(command), "rm -rf '%s'", f->path);
        if (system(command) != 0)
            return -1;
    }
    free(f);
    return 0;
}

static enum ramet_rc
put_text(struct ramet_objstore *store, const char *key, const char *text)
{
    const struct iovec part = {(void *)(uintptr_t)text, strlen(text)};

    return ramet_objstore_put(store, key, &part, 1, NULL);
}

static void
assert_holds(struct ramet_objstore *store, const char *key, const char *text)
{
    char buf[64] = "";
    uint64_t size = 0;
    size_t got = 0;

    assert_int_equal(
        ramet_objstore_read(store, key, 0, buf, sizeof(buf), &got, NULL),
        RAMET_OK);
    assert_int_equal(got, strlen(text));
    assert_memory_equal(buf, text, got);
    assert_int_equal(ramet_objstore_size(store, key, &size, NULL), RAMET_OK);
    assert_int_equal(size, got);
}

static void
key_valid__accepts_relative_paths_only(void **state)
{
    char longest[RAMET_KEY_MAX + 1];

    (void)state;
    assert_true(ramet_key_valid("a"));
    assert_true(ramet_key_valid("ramet.json"));
    assert_true(ramet_key_valid("volumes/0-1/commits/ff_F.x"));
    assert_false(ramet_key_valid(""));
    assert_false(ramet_key_valid("/"));
    assert_false(ramet_key_valid("/a"));
    assert_false(ramet_key_valid("a/"));
    assert_false(ramet_key_valid("a//b"));
    assert_false(ramet_key_valid("."));
    assert_false(ramet_key_valid(".."));
    assert_false(ramet_key_valid("a/../b"));
    assert_false(ramet_key_valid("a/.b"));
    assert_false(ramet_key_valid("a b"));
    assert_false(ramet_key_valid("a\nb"));
    assert_false(ramet_key_valid("a\\b"));
    assert_false(ramet_key_valid("\xc3\xa4"));
    assert_false(ramet_key_valid("a~"));

    memset(longest, 'a', sizeof(longest));
    longest[RAMET_KEY_MAX - 1] = '\0';
    assert_true(ramet_key_valid(longest));
    longest[RAMET_KEY_MAX - 1] = 'a';
    longest[RAMET_KEY_MAX] = '\0';
    assert_false(ramet_key_valid(longest));
}

static void
put__stores_all_parts_once(void **state)
{
    struct fixture *f = *state;
    const struct iovec parts[] = {{(void *)(uintptr_t) "one ", 4},
                                  {NULL, 0},
                                  {(void *)(uintptr_t) "two", 3}};

    assert_int_equal(ramet_objstore_put(f->store, "k/a", parts, 3, NULL),
                     RAMET_OK);
    assert_holds(f->store, "k/a", "one two");
    assert_int_equal(put_text(f->store, "k/a", "other"), RAMET_EEXIST);
    assert_holds(f->store, "k/a", "one two");
    assert_int_equal(ramet_objstore_put(f->store, "empty", NULL, 0, NULL),
                     RAMET_OK);
    assert_holds(f->store, "empty", "");
    assert_int_equal(put_text(f->store, "empty", "more"), RAMET_EEXIST);
}

static void
put__takes_more_parts_than_one_system_call(void **state)
{
    struct fixture *f = *state;
    struct iovec parts[50];
    char expected[51] = "";

    for (size_t i = 0; i < 50; i++) {
        expected[i] = (char)('a' + i % 26);
        parts[i] = (struct iovec){&expected[i], 1};
    }
    assert_int_equal(ramet_objstore_put(f->store, "many", parts, 50, NULL),
                     RAMET_OK);
    assert_holds(f->store, "many", expected);
}

static void
read__gives_ranges_up_to_the_end(void **state)
{
    struct fixture *f = *state;
    struct ramet_err err = {0};
    char buf[8] = "........";
    size_t got = 99;

    assert_int_equal(put_text(f->store, "k", "0123456789"), RAMET_OK);
    assert_int_equal(ramet_objstore_read(f->store, "k", 3, buf, 4, &got, NULL),
                     RAMET_OK);
    assert_int_equal(got, 4);
    assert_memory_equal(buf, "3456....", 8);
    assert_int_equal(ramet_objstore_read(f->store, "k", 8, buf, 4, &got, NULL),
                     RAMET_OK);
    assert_int_equal(got, 2);
    assert_int_equal(ramet_objstore_read(f->store, "k", 10, buf, 4, &got, NULL),
                     RAMET_OK);
    assert_int_equal(got, 0);
    got = 99;
    assert_int_equal(
        ramet_objstore_read(f->store, "k", UINT64_MAX, buf, 4, &got, NULL),
        RAMET_OK);
    assert_int_equal(got, 0);
    assert_int_equal(ramet_objstore_read(f->store, "k", 0, buf, 0, &got, NULL),
                     RAMET_OK);
    assert_int_equal(got, 0);

    assert_int_equal(ramet_objstore_read_full(f->store, "k", 2, buf, 8, &err),
                     RAMET_OK);
    assert_memory_equal(buf, "23456789", 8);
    assert_int_equal(ramet_objstore_read_full(f->store, "k", 3, buf, 8, &err),
                     RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "/k: ends at byte 10"));
}

static void
read__of_what_is_not_there_says_so(void **state)
{
    struct fixture *f = *state;
    uint64_t size = 7;
    size_t got = 7;
    char buf[4];

    assert_int_equal(put_text(f->store, "a/b", "x"), RAMET_OK);
    assert_int_equal(ramet_objstore_read(f->store, "c", 0, buf, 4, &got, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(ramet_objstore_size(f->store, "c", &size, NULL),
                     RAMET_ENOTFOUND);
    /* a part of another key, or a key below one, is no key */
    assert_int_equal(ramet_objstore_read(f->store, "a", 0, buf, 4, &got, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(ramet_objstore_size(f->store, "a", &size, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(
        ramet_objstore_read(f->store, "a/b/c", 0, buf, 4, &got, NULL),
        RAMET_ENOTFOUND);
    assert_int_equal(ramet_objstore_size(f->store, "a/b/c", &size, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(got, 7); /* untouched */
    assert_int_equal(size, 7);
}

#define PARTS 40u

struct visited {
    const struct ramet_part *first;
    unsigned times[PARTS];
    size_t got[PARTS];
    unsigned stop_after, count;
};

static enum ramet_rc
note_part(void *ctx, const struct ramet_part *part, size_t got,
          struct ramet_err *err)
{
    struct visited *const v = ctx;

    v->times[part - v->first]++;
    v->got[part - v->first] = got;
    return ++v->count == v->stop_after
               ? RAMET_FAIL(err, RAMET_ECANCELLED, "enough")
               : RAMET_OK;
}

static void
read_parts__visits_each_once_with_its_bytes(void **state)
{
    struct fixture *f = *state;
    char text[2 * PARTS + 1], bufs[PARTS][2];
    struct ramet_part parts[PARTS + 1];
    struct visited v = {.first = parts};

    for (unsigned i = 0; i < PARTS; i++)
        snprintf(text + 2 * i, 3, "%02u", i);
    assert_int_equal(put_text(f->store, "even", text), RAMET_OK);
    assert_int_equal(put_text(f->store, "odd", text), RAMET_OK);
    for (unsigned i = 0; i < PARTS; i++)
        parts[i] = (struct ramet_part){.key = i % 2 == 0 ? "even" : "odd",
                                       .offset = 2 * i,
                                       .len = 2,
                                       .buf = bufs[i]};
    assert_int_equal(
        ramet_objstore_read_parts(f->store, parts, PARTS, note_part, &v, NULL),
        RAMET_OK);
    for (unsigned i = 0; i < PARTS; i++) {
        assert_int_equal(v.times[i], 1);
        assert_int_equal(v.got[i], 2);
        assert_memory_equal(bufs[i], text + 2 * i, 2);
    }
    /* Its visitor may end it; then no more are visited. */
    v = (struct visited){.first = parts, .stop_after = 3};
    assert_int_equal(
        ramet_objstore_read_parts(f->store, parts, PARTS, note_part, &v, NULL),
        RAMET_ECANCELLED);
    assert_int_equal(v.count, 3);
    assert_int_equal(
        ramet_objstore_read_parts(f->store, parts, 0, note_part, &v, NULL),
        RAMET_OK);
}

static void
read_parts__of_what_is_not_there_fails(void **state)
{
    struct fixture *f = *state;
    char bufs[3][4];
    struct ramet_part parts[3] = {{"k", 0, 4, bufs[0], false},
                                  {"k", 8, 4, bufs[1], false},
                                  {"k", 4, 4, bufs[2], false}};
    struct visited v = {.first = parts};

    assert_int_equal(put_text(f->store, "k", "0123456789"), RAMET_OK);
    assert_int_equal(
        ramet_objstore_read_parts(f->store, parts, 3, note_part, &v, NULL),
        RAMET_ECORRUPT); /* the second ends past the end */
    assert_int_equal(v.times[1], 0);
    parts[1].key = "none";
    assert_int_equal(
        ramet_objstore_read_parts(f->store, parts, 3, note_part, &v, NULL),
        RAMET_ENOTFOUND);
    assert_int_equal(v.times[1], 0);
}

static void
read_parts__to_the_end_give_what_there_is(void **state)
{
    struct fixture *f = *state;
    char bufs[3][8];
    struct ramet_part parts[3] = {{"k", 0, 4, bufs[0], true},
                                  {"k", 8, 4, bufs[1], true},
                                  {"k", 10, 4, bufs[2], true}};
    struct visited v = {.first = parts};

    assert_int_equal(put_text(f->store, "k", "0123456789"), RAMET_OK);
    assert_int_equal(
        ramet_objstore_read_parts(f->store, parts, 3, note_part, &v, NULL),
        RAMET_OK);
    assert_int_equal(v.got[0], 4);
    assert_memory_equal(bufs[0], "0123", 4);
    assert_int_equal(v.got[1], 2);
    assert_memory_equal(bufs[1], "89", 2);
    assert_int_equal(v.got[2], 0);
    parts[2].key = "none";
    assert_int_equal(
        ramet_objstore_read_parts(f->store, parts, 3, note_part, &v, NULL),
        RAMET_ENOTFOUND);
}

static void
upload__appears_whole_at_finish(void **state)
{
    struct fixture *f = *state;
    struct ramet_upload *upload;
    uint64_t size;

    assert_int_equal(ramet_objstore_upload_begin(f->store, "u", &upload, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_upload_write(upload, "abc", 3, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_upload_write(upload, NULL, 0, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_size(f->store, "u", &size, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(ramet_objstore_upload_write(upload, "def", 3, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_upload_finish(upload, NULL), RAMET_OK);
    assert_holds(f->store, "u", "abcdef");

    assert_int_equal(ramet_objstore_upload_begin(f->store, "u", &upload, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_upload_finish(upload, NULL), RAMET_EEXIST);
    assert_holds(f->store, "u", "abcdef");

    assert_int_equal(ramet_objstore_upload_begin(f->store, "v", &upload, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_upload_finish(upload, NULL), RAMET_OK);
    assert_holds(f->store, "v", "");
}

static void
upload__aborted_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct ramet_upload *upload;
    uint64_t size;

    assert_int_equal(ramet_objstore_upload_begin(f->store, "u", &upload, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_upload_write(upload, "abc", 3, NULL),
                     RAMET_OK);
    ramet_objstore_upload_abort(upload);
    ramet_objstore_upload_abort(NULL);
    assert_int_equal(ramet_objstore_size(f->store, "u", &size, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(put_text(f->store, "u", "x"), RAMET_OK);
}

static void
remove__is_repeatable(void **state)
{
    struct fixture *f = *state;
    uint64_t size;

    assert_int_equal(put_text(f->store, "d/k", "x"), RAMET_OK);
    assert_int_equal(ramet_objstore_remove(f->store, "d/k", NULL), RAMET_OK);
    assert_int_equal(ramet_objstore_size(f->store, "d/k", &size, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(ramet_objstore_remove(f->store, "d/k", NULL), RAMET_OK);
    assert_int_equal(ramet_objstore_remove(f->store, "e/k", NULL), RAMET_OK);
    assert_int_equal(put_text(f->store, "d/k", "again"), RAMET_OK);
    assert_holds(f->store, "d/k", "again");
}

static void
remove_many__removes_all_and_is_repeatable(void **state)
{
    static const char *const doomed[] = {"m/a", "m/b", "m/none", "m/c"};
    struct fixture *f = *state;
    uint64_t size;

    assert_int_equal(put_text(f->store, "m/a", "x"), RAMET_OK);
    assert_int_equal(put_text(f->store, "m/b", "x"), RAMET_OK);
    assert_int_equal(put_text(f->store, "m/c", "x"), RAMET_OK);
    assert_int_equal(put_text(f->store, "m/stays", "x"), RAMET_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ramet_objstore_remove_many(f->store, doomed, 4, NULL),
                         RAMET_OK);
        for (size_t k = 0; k < 4; k++)
            assert_int_equal(
                ramet_objstore_size(f->store, doomed[k], &size, NULL),
                RAMET_ENOTFOUND);
    }
    assert_holds(f->store, "m/stays", "x");
    assert_int_equal(ramet_objstore_remove_many(f->store, doomed, 0, NULL),
                     RAMET_OK);
}

/* ---- listing -------------------------------------------------------------- */

struct seen {
    char keys[KEYS_MAX][RAMET_KEY_MAX];
    uint64_t sizes[KEYS_MAX];
    size_t count;
    size_t stop_at; /* after so many */
};

static bool
see(void *ctx, const char *key, uint64_t size_bytes)
{
    struct seen *seen = ctx;

    assert_true(seen->count < KEYS_MAX);
    strcpy(seen->keys[seen->count], key);
    seen->sizes[seen->count++] = size_bytes;
    return seen->count != seen->stop_at;
}

static const char *const keys[] = {
    /* in byte order: '-' < '.' < '/' < '0' < 'A' < '_' < 'a' */
    "a", "a-b/c", "a.b",     "a0",      "aa/b/c", "aa/b-c",  "aa/b0",
    "b", "c/d/e", "c/d/e-f", "c/d-e/f", "tmpx",   "x/tmp/y", "x/y",
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

static int
compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Compare a listing with one made from the array of keys. */
static void
check_listing(struct ramet_objstore *store, const char *prefix,
              const char *after, size_t stop_at)
{
    struct seen *seen = calloc(1, sizeof(*seen));
    const char *sorted[KEY_COUNT];
    size_t n = 0;

    memcpy(sorted, keys, sizeof(keys));
    qsort(sorted, KEY_COUNT, sizeof(sorted[0]), compare_text);
    seen->stop_at = stop_at;
    assert_int_equal(ramet_objstore_list(store, prefix, after, see, seen, NULL),
                     RAMET_OK);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strncmp(sorted[i], prefix, strlen(prefix)) != 0 ||
            (after != NULL && strcmp(sorted[i], after) <= 0) ||
            (stop_at != 0 && n == stop_at))
            continue;
        assert_true(n < seen->count);
        assert_string_equal(seen->keys[n], sorted[i]);
        assert_int_equal(seen->sizes[n], strlen(sorted[i]));
        n++;
    }
    assert_int_equal(seen->count, n);
    free(seen);
}

static void
list__is_ascending_and_bounded(void **state)
{
    static const char *const prefixes[] = {
        "",       "a",  "a/", "a-",    "aa/", "aa/b", "c/d",
        "c/d/e-", "zz", "x/", "q/r/s", "t",   "b"};
    struct fixture *f = *state;

    for (size_t i = 0; i < KEY_COUNT; i++) /* in some other order */
        assert_int_equal(put_text(f->store, keys[i * 5 % KEY_COUNT],
                                  keys[i * 5 % KEY_COUNT]),
                         RAMET_OK);
    for (size_t p = 0; p < sizeof(prefixes) / sizeof(prefixes[0]); p++) {
        check_listing(f->store, prefixes[p], NULL, 0);
        check_listing(f->store, prefixes[p], "", 1);
        for (size_t k = 0; k < KEY_COUNT; k++) {
            check_listing(f->store, prefixes[p], keys[k], 0);
            check_listing(f->store, prefixes[p], keys[k], 2);
        }
        check_listing(f->store, prefixes[p], "aa/", 0);
        check_listing(f->store, prefixes[p], "c/d/", 0);
        check_listing(f->store, prefixes[p], "zzz", 0);
    }
}

static bool
remove_seen(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)size_bytes;
    assert_int_equal(ramet_objstore_remove(ctx, key, NULL), RAMET_OK);
    return true;
}

static void
list__lets_its_visitor_use_the_store(void **state)
{
    struct fixture *f = *state;
    struct seen *seen = calloc(1, sizeof(*seen));

    for (size_t i = 0; i < KEY_COUNT; i++)
        assert_int_equal(put_text(f->store, keys[i], keys[i]), RAMET_OK);
    assert_int_equal(
        ramet_objstore_list(f->store, "", NULL, remove_seen, f->store, NULL),
        RAMET_OK);
    assert_int_equal(ramet_objstore_list(f->store, "", NULL, see, seen, NULL),
                     RAMET_OK);
    assert_int_equal(seen->count, 0);
    free(seen);
}

/* ---- races ---------------------------------------------------------------- */

#define RACERS 8
#define ROUNDS 50

struct racer {
    struct ramet_objstore *store;
    struct ramet_thread thread;
    char name;
    unsigned won;
    bool broken;
};

static void *
race(void *arg)
{
    struct racer *racer = arg;

    for (unsigned round = 0; round < ROUNDS; round++) {
        const char text[2] = {racer->name, '\0'};
        char key[32];
        char seen = '?';
        size_t got = 0;
        enum ramet_rc rc;

        snprintf(key, sizeof(key), "race/%u/%u", round % 5, round);
        rc = put_text(racer->store, key, text);
        racer->won += rc == RAMET_OK ? 1 : 0;
        /* "written" and "exists" both mean that it is there, whole */
        if ((rc != RAMET_OK && rc != RAMET_EEXIST) ||
            ramet_objstore_read(racer->store, key, 0, &seen, 1, &got, NULL) !=
                RAMET_OK ||
            got != 1 || (seen == racer->name) != (rc == RAMET_OK))
            racer->broken = true;
    }
    return NULL;
}

static void
put__lets_exactly_one_of_many_threads_win(void **state)
{
    struct fixture *f = *state;
    struct racer racers[RACERS] = {0};
    unsigned won = 0;

    for (size_t i = 0; i < RACERS; i++) {
        racers[i].store = f->store;
        racers[i].name = (char)('a' + i);
        assert_int_equal(ramet_thread_start(&racers[i].thread, "racer", race,
                                            &racers[i], NULL),
                         RAMET_OK);
    }
    for (size_t i = 0; i < RACERS; i++) {
        ramet_thread_join(&racers[i].thread);
        assert_false(racers[i].broken);
        won += racers[i].won;
    }
    assert_int_equal(won, ROUNDS);
}

/* Every call, with every allocation failing in turn: an error or success,
 * never a leak (the sanitizer looks), and a store that goes on working. */
static void
store__survives_failure_of_each_allocation(void **state)
{
    struct fixture *f = *state;
    enum ramet_rc rc = RAMET_ENOMEM;
    long nth;

    /* What is done once, and can do without memory, is done. */
    assert_int_equal(put_text(f->store, "before", "x"), RAMET_OK);
    for (nth = 0; rc == RAMET_ENOMEM; nth++) {
        struct ramet_upload *upload = NULL;
        struct seen *seen = calloc(1, sizeof(*seen));

        assert_true(nth < 200);
        assert_int_equal(ramet_objstore_remove(f->store, "x/y/z", NULL),
                         RAMET_OK);
        assert_int_equal(ramet_objstore_remove(f->store, "u", NULL), RAMET_OK);
        ramet_alloc_fail_at(nth);
        rc = put_text(f->store, "x/y/z", "x");
        if (rc == RAMET_OK)
            rc = ramet_objstore_upload_begin(f->store, "u", &upload, NULL);
        if (rc == RAMET_OK) {
            rc = ramet_objstore_upload_write(upload, "abc", 3, NULL);
            if (rc == RAMET_OK)
                rc = ramet_objstore_upload_finish(upload, NULL);
            else
                ramet_objstore_upload_abort(upload);
        }
        if (rc == RAMET_OK)
            rc = ramet_objstore_list(f->store, "", NULL, see, seen, NULL);
        ramet_alloc_fail_at(-1);
        if (rc == RAMET_EUNKNOWN) /* no memory for the answer */
            rc = RAMET_ENOMEM;
        assert_true(rc == RAMET_OK || rc == RAMET_ENOMEM);
        free(seen);
    }
    assert_true(nth > 2);
    assert_int_equal(put_text(f->store, "after", "x"), RAMET_OK);
    assert_holds(f->store, "after", "x");
}

#define ON(setup, test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define ALL_ON(setup)                                                          \
    ON(setup, put__stores_all_parts_once),                                     \
        ON(setup, put__takes_more_parts_than_one_system_call),                 \
        ON(setup, read__gives_ranges_up_to_the_end),                           \
        ON(setup, read__of_what_is_not_there_says_so),                         \
        ON(setup, read_parts__visits_each_once_with_its_bytes),                \
        ON(setup, read_parts__of_what_is_not_there_fails),                     \
        ON(setup, read_parts__to_the_end_give_what_there_is),                  \
        ON(setup, upload__appears_whole_at_finish),                            \
        ON(setup, upload__aborted_leaves_nothing),                             \
        ON(setup, remove__is_repeatable),                                      \
        ON(setup, remove_many__removes_all_and_is_repeatable),                 \
        ON(setup, list__is_ascending_and_bounded),                             \
        ON(setup, list__lets_its_visitor_use_the_store),                       \
        ON(setup, put__lets_exactly_one_of_many_threads_win),                  \
        ON(setup, store__survives_failure_of_each_allocation)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_valid__accepts_relative_paths_only),
        ALL_ON(setup_memory),
        ALL_ON(setup_directory),
        ALL_ON(setup_fault),
    };
    const struct CMUnitTest s3_tests[] = {ALL_ON(setup_s3)};
    int failed = cmocka_run_group_tests_name("objstore", tests, NULL, NULL);

    if (getenv("RAMET_TEST_S3") != NULL)
        failed +=
            cmocka_run_group_tests_name("objstore on S3", s3_tests, NULL, NULL);
    else
        print_message("S3 is skipped: RAMET_TEST_S3 names no gateway\n");
    return failed;
}
