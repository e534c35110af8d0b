/*
 * test_catalog.c - names, the store's version, listing and deleting volumes.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "metastore/catalog.h"
#include "metastore/name_object.h"
#include "tests/support/faultstore.h"

static int
setup(void **state)
{
    struct ramet_objstore *store;

    if (ramet_memstore_open(&store, NULL) != RAMET_OK)
        return -1;
    *state = store;
    return 0;
}

static int
teardown(void **state)
{
    ramet_objstore_close(*state);
    return 0;
}

static struct ramet_vid
vid(uint8_t byte)
{
    struct ramet_vid v;

    memset(&v, byte, sizeof(v));
    return v;
}

static void
put_text(struct ramet_objstore *store, const char *key, const char *text)
{
    const struct iovec part = {(void *)(uintptr_t)text, strlen(text)};

    assert_int_equal(ramet_objstore_put(store, key, &part, 1, NULL), RAMET_OK);
}

/* docs/format.md, "Names". */
static void
name_object__has_the_vector(void **state)
{
    static const uint8_t vector[RAMET_NAME_OBJECT_SIZE] = {
        0x52, 0x41, 0x4d, 0x54, 0x4e, 0x41, 0x4d, 0x01, 0x02, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
        0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x91, 0x5e, 0x95, 0xdd,
        0xaa, 0xd4, 0xe2, 0x22, 0xf5, 0x3a, 0xb9, 0x4e, 0xbc, 0x9c, 0xd1, 0x96};
    const struct ramet_vid volume = vid(0x11);
    uint8_t out[RAMET_NAME_OBJECT_SIZE];
    char key[RAMET_KEY_MAX];

    (void)state;
    ramet_name_key("app", 2, key);
    assert_string_equal(key, "names/app/fffffffffffffffd");
    ramet_name_encode("app", 2, &volume, out);
    assert_memory_equal(out, vector, sizeof(out));
}

static void
name_valid__knows_names(void **state)
{
    char longest[RAMET_NAME_MAX + 2];

    (void)state;
    assert_true(ramet_name_valid("a"));
    assert_true(ramet_name_valid("Az09._-"));
    assert_true(ramet_name_valid("-x"));
    assert_false(ramet_name_valid(""));
    assert_false(ramet_name_valid(".a"));
    assert_false(ramet_name_valid("a/b"));
    assert_false(ramet_name_valid("a b"));
    assert_false(ramet_name_valid("caf\xc3\xa9"));
    memset(longest, 'x', sizeof(longest));
    longest[RAMET_NAME_MAX + 1] = '\0';
    assert_false(ramet_name_valid(longest));
    longest[RAMET_NAME_MAX] = '\0';
    assert_true(ramet_name_valid(longest));
}

static void
catalog_check__makes_and_knows_the_version(void **state)
{
    struct ramet_objstore *const store = *state;

    assert_int_equal(ramet_catalog_check(store, false, NULL), RAMET_ENOTFOUND);
    assert_int_equal(ramet_catalog_check(store, true, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_check(store, true, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_check(store, false, NULL), RAMET_OK);
}

/* It may be under way: that is no word on what stands there. */
static void
catalog_check__without_an_answer_to_its_write__says_so(void **state)
{
    struct ramet_objstore *const store = ramet_faultstore_new(*state);

    assert_non_null(store);
    ramet_faultstore_arm(store, RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(ramet_catalog_check(store, true, NULL),
                     RAMET_EUNREACHABLE);
    ramet_faultstore_land(store);
    assert_int_equal(ramet_catalog_check(store, false, NULL), RAMET_OK);
    ramet_objstore_close(store);
}

static void
catalog_check__refuses_what_it_does_not_know(void **state)
{
    static const struct {
        const char *text;
        enum ramet_rc rc;
    } cases[] = {
        {"{\"format\":\"ramet\",\"version\":5}\n", RAMET_OK},
        {"{\"format\":\"ramet\",\"version\":5,\"later\":true}", RAMET_OK},
        {"{\"format\":\"ramet\",\"version\":1}\n", RAMET_EVERSION},
        {"{\"format\":\"ramet\",\"version\":2}\n", RAMET_EVERSION},
        {"{\"format\":\"ramet\",\"version\":3}\n", RAMET_EVERSION},
        {"{\"format\":\"ramet\",\"version\":4}\n", RAMET_EVERSION},
        {"{\"format\":\"ramet\",\"version\":6}\n", RAMET_EVERSION},
        {"{\"format\":\"ramet\",\"version\":}", RAMET_ECORRUPT},
        {"{\"format\":\"ramet\",\"version\":5", RAMET_ECORRUPT},
        {"hello", RAMET_ECORRUPT},
        {"", RAMET_ECORRUPT},
    };
    struct ramet_objstore *const store = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        put_text(store, "ramet.json", cases[i].text);
        assert_int_equal(ramet_catalog_check(store, true, NULL), cases[i].rc);
        assert_int_equal(ramet_objstore_remove(store, "ramet.json", NULL),
                         RAMET_OK);
    }
}

static void
catalog_claim__gives_a_name_that_means_nothing_and_leaves_others(void **state)
{
    struct ramet_objstore *const store = *state;
    const struct ramet_vid a = vid(1), b = vid(2);
    struct ramet_vid found;
    char text[RAMET_ID_TEXT_SIZE];

    assert_int_equal(ramet_catalog_claim(store, "x", &a, &found, NULL),
                     RAMET_OK);
    assert_memory_equal(&found, &a, sizeof(a));
    assert_int_equal(ramet_catalog_claim(store, "x", &b, &found, NULL),
                     RAMET_OK);
    assert_memory_equal(&found, &a, sizeof(a));
    assert_int_equal(ramet_catalog_resolve(store, "x", &found, NULL), RAMET_OK);
    assert_memory_equal(&found, &a, sizeof(a));
    assert_int_equal(ramet_catalog_unbind(store, "x", NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_claim(store, "x", &b, &found, NULL),
                     RAMET_OK);
    assert_memory_equal(&found, &b, sizeof(b));
    /* An id stands for itself. */
    ramet_id_format(&a.id, text);
    assert_int_equal(ramet_catalog_claim(store, text, &b, &found, NULL),
                     RAMET_OK);
    assert_memory_equal(&found, &a, sizeof(a));
    assert_int_equal(ramet_catalog_claim(store, "../x", &a, &found, NULL),
                     RAMET_EINVAL);
}

/* One write for a name that means nothing, where a LIST is paid; what it means or
 * meant is found all the same. */
static void
catalog_claim__of_a_new_name_is_one_write_where_a_list_is_paid(void **state)
{
    struct ramet_objstore *const store = ramet_faultstore_new(*state);
    const struct ramet_vid a = vid(1), b = vid(2);
    struct ramet_store_counts counts;
    struct ramet_vid found;
    uint64_t seq;

    assert_non_null(store);
    store->traits = RAMET_STORE_LISTS_CHEAPLY | RAMET_STORE_IS_PAID;
    assert_int_equal(ramet_catalog_claim(store, "x", &a, &found, NULL),
                     RAMET_OK);
    assert_memory_equal(&found, &a, sizeof(a));
    counts = ramet_faultstore_counts(store);
    assert_int_equal(counts.puts, 1);
    assert_int_equal(counts.lists + counts.reads, 0);
    assert_int_equal(ramet_catalog_claim(store, "x", &b, &found, NULL),
                     RAMET_OK);
    assert_memory_equal(&found, &a, sizeof(a));
    /* Taken away: the next number gives it anew. */
    assert_int_equal(ramet_catalog_unbind(store, "x", NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_claim(store, "x", &b, &found, NULL),
                     RAMET_OK);
    assert_memory_equal(&found, &b, sizeof(b));
    assert_int_equal(ramet_catalog_newest_name(store, "x", &seq, &found, NULL),
                     RAMET_OK);
    assert_int_equal(seq, 3);
    /* An answer that was lost: the name is the caller's. */
    ramet_faultstore_arm(store, RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    assert_int_equal(ramet_catalog_claim(store, "y", &a, &found, NULL),
                     RAMET_OK);
    assert_memory_equal(&found, &a, sizeof(a));
    ramet_objstore_close(store);
}

static void
catalog_bind__gives_moves_and_takes_names(void **state)
{
    struct ramet_objstore *const store = *state;
    const struct ramet_vid a = vid(1), b = vid(2);
    struct ramet_vid found;
    char text[RAMET_ID_TEXT_SIZE];

    assert_int_equal(ramet_catalog_resolve(store, "x", &found, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(ramet_catalog_bind(store, "x", &a, false, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_bind(store, "x", &a, false, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_bind(store, "x", &b, false, NULL),
                     RAMET_EEXIST);
    assert_int_equal(ramet_catalog_resolve(store, "x", &found, NULL), RAMET_OK);
    assert_memory_equal(&found, &a, sizeof(a));
    assert_int_equal(ramet_catalog_bind(store, "x", &b, true, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_resolve(store, "x", &found, NULL), RAMET_OK);
    assert_memory_equal(&found, &b, sizeof(b));
    assert_int_equal(ramet_catalog_unbind(store, "x", NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_unbind(store, "x", NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_resolve(store, "x", &found, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(ramet_catalog_bind(store, "x", &a, false, NULL), RAMET_OK);
    /* An id stands for itself, and is no name. */
    ramet_id_format(&b.id, text);
    assert_int_equal(ramet_catalog_resolve(store, text, &found, NULL),
                     RAMET_OK);
    assert_memory_equal(&found, &b, sizeof(b));
    assert_int_equal(ramet_catalog_bind(store, text, &a, false, NULL),
                     RAMET_EINVAL);
    assert_int_equal(ramet_catalog_bind(store, "../x", &a, false, NULL),
                     RAMET_EINVAL);
    assert_int_equal(ramet_catalog_resolve(store, "a/b", &found, NULL),
                     RAMET_EINVAL);
}

/* From afar what the name said first is read beside the look at what it says now. */
static void
catalog_bind__gives_moves_and_takes_names_from_afar(void **state)
{
    struct ramet_objstore *const store = *state;

    store->traits |= RAMET_STORE_READS_PARTS;
    catalog_bind__gives_moves_and_takes_names(state);
}

static void
catalog_bind__survives_lost_replies(void **state)
{
    struct ramet_objstore *const store = ramet_faultstore_new(*state);
    const struct ramet_vid a = vid(1);
    struct ramet_vid found;

    ramet_faultstore_arm(store, RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    assert_int_equal(ramet_catalog_check(store, true, NULL), RAMET_OK);
    assert_true(ramet_faultstore_fired(store));
    ramet_faultstore_arm(store, RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    assert_int_equal(ramet_catalog_bind(store, "x", &a, false, NULL), RAMET_OK);
    assert_true(ramet_faultstore_fired(store));
    assert_int_equal(ramet_catalog_resolve(store, "x", &found, NULL), RAMET_OK);
    assert_memory_equal(&found, &a, sizeof(a));
    ramet_objstore_close(store);
}

static void
name_object__notices_every_flipped_bit(void **state)
{
    static const char key[] = "names/x/fffffffffffffffe";
    struct ramet_objstore *const store = *state;
    const struct ramet_vid a = vid(1);
    struct ramet_vid found;
    uint8_t object[48];

    assert_int_equal(ramet_catalog_bind(store, "x", &a, false, NULL), RAMET_OK);
    assert_int_equal(
        ramet_objstore_read_full(store, key, 0, object, sizeof(object), NULL),
        RAMET_OK);
    for (size_t bit = 0; bit < sizeof(object) * 8; bit++) {
        const struct iovec part = {object, sizeof(object)};
        enum ramet_rc rc;

        object[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(ramet_objstore_remove(store, key, NULL), RAMET_OK);
        assert_int_equal(ramet_objstore_put(store, key, &part, 1, NULL),
                         RAMET_OK);
        rc = ramet_catalog_resolve(store, "x", &found, NULL);
        assert_true(rc == RAMET_ECORRUPT || rc == RAMET_EVERSION);
        object[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < sizeof(object); len++) {
        const struct iovec part = {object, len};

        assert_int_equal(ramet_objstore_remove(store, key, NULL), RAMET_OK);
        assert_int_equal(ramet_objstore_put(store, key, &part, 1, NULL),
                         RAMET_OK);
        assert_int_equal(ramet_catalog_resolve(store, "x", &found, NULL),
                         RAMET_ECORRUPT);
    }
}

/* An object that is right, but of another number or name: what the name meant once is
 * not what it means. */
static void
name_object__under_the_key_of_another__is_none(void **state)
{
    static const char *const others[] = {"names/x/fffffffffffffffd",
                                         "names/y/fffffffffffffffe"};
    struct ramet_objstore *const store = *state;
    const struct ramet_vid a = vid(1), b = vid(2);
    struct ramet_vid found;
    uint8_t object[48];

    assert_int_equal(ramet_catalog_bind(store, "x", &a, false, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_bind(store, "x", &b, true, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_resolve(store, "x", &found, NULL), RAMET_OK);
    assert_memory_equal(&found, &b, sizeof(b));
    assert_int_equal(ramet_objstore_read_full(store, "names/x/fffffffffffffffe",
                                              0, object, sizeof(object), NULL),
                     RAMET_OK);
    for (size_t i = 0; i < 2; i++) {
        const struct iovec part = {object, sizeof(object)};

        if (i == 0)
            assert_int_equal(ramet_objstore_remove(store, others[i], NULL),
                             RAMET_OK);
        assert_int_equal(ramet_objstore_put(store, others[i], &part, 1, NULL),
                         RAMET_OK);
        assert_int_equal(
            ramet_catalog_resolve(store, i == 0 ? "x" : "y", &found, NULL),
            RAMET_ECORRUPT);
    }
}

struct seen {
    char text[1024];
};

static bool
note_volume(void *ctx, const char *name, const struct ramet_vid *volume)
{
    struct seen *const seen = ctx;
    const size_t len = strlen(seen->text);

    snprintf(seen->text + len, sizeof(seen->text) - len, "%s=%u ", name,
             volume->id.bytes[0]);
    return true;
}

static void
put_object(struct ramet_objstore *store, const struct ramet_vid *volume,
           const char *rest)
{
    char text[RAMET_ID_TEXT_SIZE], key[RAMET_KEY_MAX];

    ramet_id_format(&volume->id, text);
    snprintf(key, sizeof(key), "volumes/%s/%s", text, rest);
    put_text(store, key, "x");
}

static void
catalog_list__has_names_in_order_then_the_nameless(void **state)
{
    struct ramet_objstore *const store = *state;
    const struct ramet_vid ids[] = {vid(1), vid(2), vid(3), vid(4)};
    struct seen seen = {.text = ""};

    for (size_t i = 0; i < 4; i++) {
        put_object(store, &ids[i], "commits/fffffffffffffffe");
        put_object(store, &ids[i], "segments/y");
    }
    /* '-' and '.' sort before the '/' that ends a name in a key. */
    assert_int_equal(ramet_catalog_bind(store, "a", &ids[0], false, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_catalog_bind(store, "a-b", &ids[1], false, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_catalog_bind(store, "gone", &ids[1], false, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_catalog_unbind(store, "gone", NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_list(store, note_volume, &seen, NULL),
                     RAMET_OK);
    assert_string_equal(seen.text, "a=1 a-b=2 =3 =4 ");
}

static bool
stop_at_three(void *ctx, const char *name, const struct ramet_vid *volume)
{
    (void)name;
    (void)volume;
    return ++*(unsigned *)ctx < 3;
}

static void
catalog_list__is_not_led_in_circles_by_a_foreign_key(void **state)
{
    struct ramet_objstore *const store = *state;
    const struct ramet_vid id = vid(1);
    char text[RAMET_ID_TEXT_SIZE], key[RAMET_KEY_MAX];
    unsigned seen = 0;
    struct ramet_err err;

    /* It begins like a volume's, and sorts after all of its objects. */
    ramet_id_format(&id.id, text);
    snprintf(key, sizeof(key), "volumes/%sx/commits/y", text);
    put_text(store, key, "x");
    assert_int_equal(ramet_catalog_list(store, stop_at_three, &seen, &err),
                     RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "foreign"));
    assert_int_equal(seen, 0);
}

static bool
count_keys(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    (*(unsigned *)ctx)++;
    return true;
}

static void
catalog_delete__takes_all_but_forked_volumes(void **state)
{
    struct ramet_objstore *const store = *state;
    const struct ramet_vid a = vid(1), b = vid(2);
    unsigned count = 0;
    char rest[64];
    struct ramet_vid found;

    for (unsigned i = 0; i < 600; i++) { /* more than one batch */
        snprintf(rest, sizeof(rest), "commits/%016x", i);
        put_object(store, &a, rest);
    }
    put_object(store, &a, "maps/m");
    put_object(store, &a, "segments/s");
    put_object(store, &b, "commits/c");
    put_object(store, &b, "forks/f");
    assert_int_equal(ramet_catalog_bind(store, "a", &a, false, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_bind(store, "b", &b, false, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_delete(store, &b, NULL), RAMET_EBUSY);
    assert_int_equal(ramet_catalog_delete(store, &a, NULL), RAMET_OK);
    assert_int_equal(ramet_catalog_delete(store, &a, NULL), RAMET_OK);
    assert_int_equal(
        ramet_objstore_list(store, "volumes/", "", count_keys, &count, NULL),
        RAMET_OK);
    assert_int_equal(count, 2);
    assert_int_equal(ramet_catalog_resolve(store, "a", &found, NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(ramet_catalog_resolve(store, "b", &found, NULL), RAMET_OK);
}

struct namer {
    struct ramet_objstore *store;
    struct ramet_vid volume;
    unsigned objects; /* that were left when it was named */
};

/* Who resolved it before, and names it now. */
static void
name_meanwhile(void *ctx)
{
    struct namer *const namer = ctx;

    assert_int_equal(ramet_objstore_list(namer->store, "volumes/", "",
                                         count_keys, &namer->objects, NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_catalog_bind(namer->store, "late", &namer->volume, false, NULL),
        RAMET_OK);
}

/* At any moment before the last of it goes. */
static void
catalog_delete__of_what_is_named_meanwhile__leaves_no_name(void **state)
{
    const struct ramet_vid a = vid(1);
    unsigned named = 0;
    struct namer namer;

    (void)state;
    do {
        struct ramet_objstore *inner, *store;
        struct ramet_vid found;

        assert_int_equal(ramet_memstore_open(&inner, NULL), RAMET_OK);
        store = ramet_faultstore_new(inner);
        put_object(inner, &a, "commits/1");
        put_object(inner, &a, "segments/s");
        namer = (struct namer){inner, a, 0};
        ramet_faultstore_meanwhile(store, named++, name_meanwhile, &namer);
        assert_int_equal(ramet_catalog_delete(store, &a, NULL), RAMET_OK);
        if (namer.objects > 0)
            assert_int_equal(ramet_catalog_resolve(inner, "late", &found, NULL),
                             RAMET_ENOTFOUND);
        ramet_objstore_close(store);
        ramet_objstore_close(inner);
    } while (namer.objects > 0);
    assert_true(named > 5);
}

/* Delete stopped at the n-th request: doing it again ends it. */
static void
catalog_delete__can_be_repeated_after_any_failure(void **state)
{
    const struct ramet_vid a = vid(1);
    bool fired = true;

    (void)state;
    for (uint64_t n = 0; fired; n++) {
        struct ramet_objstore *inner, *store;
        unsigned count = 0;
        enum ramet_rc rc;

        assert_int_equal(ramet_memstore_open(&inner, NULL), RAMET_OK);
        store = ramet_faultstore_new(inner);
        put_object(inner, &a, "commits/1");
        put_object(inner, &a, "commits/2");
        put_object(inner, &a, "segments/s");
        assert_int_equal(ramet_catalog_bind(inner, "a", &a, false, NULL),
                         RAMET_OK);
        ramet_faultstore_arm(store, RAMET_FAULT_FAIL, n, RAMET_EUNREACHABLE);
        rc = ramet_catalog_delete(store, &a, NULL);
        fired = ramet_faultstore_fired(store);
        assert_int_equal(rc, fired ? RAMET_EUNREACHABLE : RAMET_OK);
        ramet_faultstore_arm(store, RAMET_FAULT_NONE, 0, RAMET_OK);
        assert_int_equal(ramet_catalog_delete(store, &a, NULL), RAMET_OK);
        assert_int_equal(ramet_objstore_list(inner, "volumes/", "", count_keys,
                                             &count, NULL),
                         RAMET_OK);
        assert_int_equal(count, 0);
        ramet_objstore_close(store);
        ramet_objstore_close(inner);
        assert_true(n < 50);
    }
}

static void
catalog__survives_every_failed_allocation(void **state)
{
    struct ramet_objstore *const store = *state;
    const struct ramet_vid a = vid(1);
    enum ramet_rc rc = RAMET_ENOMEM;

    put_object(store, &a, "commits/1");
    for (long n = 0; rc != RAMET_OK; n++) {
        struct seen seen = {.text = ""};

        assert_true(n < 200);
        ramet_alloc_fail_at(n);
        rc = ramet_catalog_bind(store, "a", &a, true, NULL);
        if (rc == RAMET_OK)
            rc = ramet_catalog_list(store, note_volume, &seen, NULL);
        ramet_alloc_fail_at(-1);
        assert_true(rc == RAMET_OK || rc == RAMET_ENOMEM);
    }
}

struct racer {
    struct ramet_objstore *store;
    struct ramet_vid volume;
    enum ramet_rc rc;
};

static void *
race_bind(void *arg)
{
    struct racer *const racer = arg;

    racer->rc =
        ramet_catalog_bind(racer->store, "prize", &racer->volume, false, NULL);
    return NULL;
}

static void
catalog_bind__has_one_winner(void **state)
{
    struct racer racers[8];
    struct ramet_thread threads[8];
    unsigned winners = 0;

    for (unsigned i = 0; i < 8; i++) {
        racers[i] = (struct racer){*state, vid((uint8_t)(i + 1)), RAMET_OK};
        assert_int_equal(ramet_thread_start(&threads[i], "race", race_bind,
                                            &racers[i], NULL),
                         RAMET_OK);
    }
    for (unsigned i = 0; i < 8; i++) {
        ramet_thread_join(&threads[i]);
        winners += racers[i].rc == RAMET_OK;
        assert_true(racers[i].rc == RAMET_OK || racers[i].rc == RAMET_EEXIST);
    }
    assert_int_equal(winners, 1);
}

/* A store that is far, and in which the first read of a name comes before it is
 * given, and the list after. */
struct late {
    struct ramet_objstore store;
    struct ramet_objstore *inner;
    unsigned reads; /* of names; a read is over before the next begins */
};

static enum ramet_rc
late_read(struct ramet_objstore *store, const char *key, uint64_t offset,
          void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct late *const late = (struct late *)store;

    if (strncmp(key, "names/", 6) == 0 && late->reads++ == 0)
        return RAMET_FAIL(err, RAMET_ENOTFOUND, "%s", key);
    return ramet_objstore_read(late->inner, key, offset, buf, len, out_got,
                               err);
}

static enum ramet_rc
late_list(struct ramet_objstore *store, const char *prefix, const char *after,
          ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    return ramet_objstore_list(((struct late *)store)->inner, prefix, after,
                               visit, ctx, err);
}

static void
name__that_is_given_while_it_is_looked_for_is_found(void **state)
{
    static const struct ramet_objstore_ops ops = {.read = late_read,
                                                  .list = late_list};
    struct late late = {.store = {.ops = &ops,
                                  .traits = RAMET_STORE_READS_PARTS,
                                  .name = "late"},
                        .inner = *state};
    const struct ramet_vid given = vid(7);
    struct ramet_vid found;

    assert_int_equal(ramet_catalog_bind(*state, "app", &given, false, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_catalog_resolve(&late.store, "app", &found, NULL),
                     RAMET_OK);
    assert_memory_equal(&found, &given, sizeof(given));
    assert_int_equal(late.reads, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name_object__has_the_vector),
        cmocka_unit_test(name_valid__knows_names),
        cmocka_unit_test_setup_teardown(
            name__that_is_given_while_it_is_looked_for_is_found, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            catalog_check__makes_and_knows_the_version, setup, teardown),
        cmocka_unit_test_setup_teardown(
            catalog_check__without_an_answer_to_its_write__says_so, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            catalog_check__refuses_what_it_does_not_know, setup, teardown),
        cmocka_unit_test_setup_teardown(
            catalog_claim__gives_a_name_that_means_nothing_and_leaves_others,
            setup, teardown),
        cmocka_unit_test_setup_teardown(
            catalog_claim__of_a_new_name_is_one_write_where_a_list_is_paid,
            setup, teardown),
        cmocka_unit_test_setup_teardown(
            catalog_bind__gives_moves_and_takes_names, setup, teardown),
        cmocka_unit_test_setup_teardown(
            catalog_bind__gives_moves_and_takes_names_from_afar, setup,
            teardown),
        cmocka_unit_test_setup_teardown(catalog_bind__survives_lost_replies,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(name_object__notices_every_flipped_bit,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            name_object__under_the_key_of_another__is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(
            catalog_list__has_names_in_order_then_the_nameless, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            catalog_list__is_not_led_in_circles_by_a_foreign_key, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            catalog_delete__takes_all_but_forked_volumes, setup, teardown),
        cmocka_unit_test(
            catalog_delete__of_what_is_named_meanwhile__leaves_no_name),
        cmocka_unit_test(catalog_delete__can_be_repeated_after_any_failure),
        cmocka_unit_test_setup_teardown(
            catalog__survives_every_failed_allocation, setup, teardown),
        cmocka_unit_test_setup_teardown(catalog_bind__has_one_winner, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
