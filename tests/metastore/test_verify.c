/*
 * test_verify.c - verify finds a wrong bit of any object, and an object that is
 * missing; and nothing where all is well.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "tests/metastore/line.h"
#include "tests/support/faultstore.h"

static void
count_damaged(void *ctx, bool damaged, const char *text, uint64_t done,
              uint64_t total)
{
    (void)text;
    (void)done;
    (void)total;
    if (damaged)
        (*(unsigned *)ctx)++;
}

struct keys {
    char key[64][RAMET_KEY_MAX];
    uint64_t size[64];
    unsigned count;
};

static bool
take_key(void *ctx, const char *key, uint64_t size_bytes)
{
    struct keys *const keys = ctx;

    assert_true(keys->count < 64);
    strcpy(keys->key[keys->count], key);
    keys->size[keys->count++] = size_bytes;
    return true;
}

static void
put_back(struct ramet_objstore *store, const char *key, const uint8_t *bytes,
         size_t len)
{
    const struct iovec part = {(void *)(uintptr_t)bytes, len};

    assert_int_equal(ramet_objstore_remove(store, key, NULL), RAMET_OK);
    assert_int_equal(ramet_objstore_put(store, key, &part, 1, NULL), RAMET_OK);
}

static void
damage_object(struct line *f, const char *key, size_t len, size_t step)
{
    uint8_t *const bytes = malloc(len);
    unsigned damaged;

    assert_int_equal(
        ramet_objstore_read_full(f->inner, key, 0, bytes, len, NULL), RAMET_OK);
    for (size_t at = 0; at < len; at += step) {
        bytes[at] ^= (uint8_t)(1u << at % 8);
        put_back(f->inner, key, bytes, len);
        damaged = 0;
        if (ramet_history_verify(f->model.history, count_damaged, &damaged,
                                 NULL, NULL) != RAMET_ECORRUPT ||
            damaged == 0)
            fail_msg("%s: a bit at %u went unnoticed", key, (unsigned)at);
        bytes[at] ^= (uint8_t)(1u << at % 8);
    }
    put_back(f->inner, key, bytes, len - 1);
    damaged = 0;
    assert_int_equal(ramet_history_verify(f->model.history, count_damaged,
                                          &damaged, NULL, NULL),
                     RAMET_ECORRUPT);
    put_back(f->inner, key, bytes, len);
    free(bytes);
}

static void
verify__finds_each_flipped_bit_and_each_missing_object(void **state)
{
    struct keys *const keys = calloc(1, sizeof(*keys));
    struct line f;
    unsigned damaged = 0;

    (void)state;
    line_open(&f, 9);
    model_write(&f.model, 1, 5);
    f.model.never_inline = true;
    model_write(&f.model, 1, 300); /* chunks */
    f.model.never_inline = false;
    for (int i = 0; i < 33; i++)
        model_write_random(&f.model, 1);
    assert_int_equal(ramet_history_make_map(f.model.history, f.model.lsn, NULL),
                     RAMET_OK);
    model_write_random(&f.model, 1); /* names the map */
    assert_int_equal(ramet_history_verify(f.model.history, count_damaged,
                                          &damaged, NULL, NULL),
                     RAMET_OK);
    assert_int_equal(damaged, 0);
    assert_int_equal(
        ramet_objstore_list(f.inner, "volumes/", "", take_key, keys, NULL),
        RAMET_OK);
    assert_int_equal(keys->count, 36 + 1 + 1); /* commits, map, segment */
    for (unsigned i = 0; i < keys->count; i++) {
        const bool few = strstr(keys->key[i], "commits") != NULL && i % 9 != 0;

        if (few)
            continue;
        damage_object(&f, keys->key[i], (size_t)keys->size[i],
                      keys->size[i] > 4000 ? 13 : 1);
    }
    for (unsigned i = 1; i < keys->count; i++) { /* not the newest commit */
        uint8_t *const bytes = malloc((size_t)keys->size[i]);

        assert_int_equal(ramet_objstore_read_full(f.inner, keys->key[i], 0,
                                                  bytes, (size_t)keys->size[i],
                                                  NULL),
                         RAMET_OK);
        assert_int_equal(ramet_objstore_remove(f.inner, keys->key[i], NULL),
                         RAMET_OK);
        damaged = 0;
        f.store->traits = RAMET_STORE_LISTS_CHEAPLY;
        assert_int_equal(ramet_history_verify(f.model.history, count_damaged,
                                              &damaged, NULL, NULL),
                         RAMET_ECORRUPT);
        put_back(f.inner, keys->key[i], bytes, (size_t)keys->size[i]);
        free(bytes);
    }
    line_close(&f);
    free(keys);
}

static void
flip(struct line *f, const char *key, uint64_t at)
{
    uint64_t size;
    uint8_t *bytes;

    assert_int_equal(ramet_objstore_size(f->inner, key, &size, NULL), RAMET_OK);
    assert_true(at < size);
    bytes = malloc((size_t)size);
    assert_int_equal(
        ramet_objstore_read_full(f->inner, key, 0, bytes, (size_t)size, NULL),
        RAMET_OK);
    bytes[at] ^= 1;
    put_back(f->inner, key, bytes, (size_t)size);
    free(bytes);
}

static enum ramet_rc
take_page(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    (void)pgno;
    (void)page;
    (void)err;
    ++*(unsigned *)ctx;
    return RAMET_OK;
}

/* A page that this part of the table names. */
static enum ramet_rc
read_first_of(struct line *f, const struct ramet_segment_info *segment,
              uint32_t chunk)
{
    const uint32_t pgno = segment->chunks[chunk].first_pgno;
    struct ramet_head head;
    struct ramet_point at;
    unsigned count = 0;
    enum ramet_rc rc;

    assert_int_equal(ramet_history_newest(f->model.history, &head, NULL),
                     RAMET_OK);
    at = ramet_head_point(&head);
    rc = ramet_history_read_pages(f->model.history, &at, &pgno, 1, false,
                                  take_page, &count, NULL);
    assert_int_equal(count, rc == RAMET_OK);
    return rc;
}

static unsigned
count_found(struct line *f)
{
    unsigned damaged = 0;

    model_reopen(&f->model);
    (void)!ramet_history_verify(f->model.history, count_damaged, &damaged, NULL,
                                NULL);
    return damaged;
}

/* Frames of any chunk lie anywhere: what a damaged one names is not known, and all that
 * the others do is gone through, and read. */
static void
verify__of_a_damaged_part_of_a_table__finds_what_else_is_wrong(void **state)
{
    struct ramet_commit_object commit;
    struct ramet_extent place = {.kind = RAMET_IN_SEGMENT};
    char key[RAMET_KEY_MAX];
    unsigned of_table;
    struct line f;

    (void)state;
    line_open(&f, 9);
    f.model.never_inline = true;
    model_write(&f.model, 1, 1000);
    assert_int_equal(ramet_history_commit(f.model.history, 1, &commit, NULL),
                     RAMET_OK);
    assert_true(commit.segments[0].chunk_count >= 4);
    place.volume = f.model.volume;
    place.segment = commit.segments[0].id;
    ramet_extent_key(&place, key);
    assert_int_equal(count_found(&f), 0);
    flip(&f, key, commit.segments[0].chunks[2].offset_bytes);
    of_table = count_found(&f);
    assert_int_not_equal(of_table, 0);
    assert_int_equal(read_first_of(&f, &commit.segments[0], 0), RAMET_OK);
    assert_int_equal(read_first_of(&f, &commit.segments[0], 1), RAMET_OK);
    assert_int_equal(read_first_of(&f, &commit.segments[0], 2), RAMET_ECORRUPT);
    assert_int_equal(read_first_of(&f, &commit.segments[0], 3), RAMET_OK);
    flip(&f, key, 40); /* a frame that the first part names */
    assert_int_equal(count_found(&f), of_table + 1);
    flip(&f, key, commit.segments[0].chunks[0].offset_bytes - 8); /* the last */
    assert_int_equal(count_found(&f), of_table + 2);
    ramet_commit_done(&commit);
    line_close(&f);
}

/* Dictionary, own map with inline and separate segments: bits and reading. */
static void
verify__knows_dictionaries_and_own_maps(void **state)
{
    struct keys *const keys = calloc(1, sizeof(*keys));
    struct ramet_commit_object commit;
    struct ramet_extent dict;
    struct ramet_head head;
    struct line f;
    struct ramet_err err = {.text = ""};
    uint8_t *dict_bytes = NULL;
    unsigned damaged = 0;

    (void)state;
    line_open(&f, 9);
    model_use_dict(&f.model, 100000, &dict_bytes);
    f.model.segment_pages = 40;
    model_write(&f.model, 1, 1600);
    f.model.segment_pages = 0;
    model_write(&f.model, 7, 2);
    assert_int_equal(ramet_history_commit(f.model.history, 1, &commit, NULL),
                     RAMET_OK);
    assert_int_equal(commit.map.lsn, 1);
    assert_true(commit.has_inline && commit.segments[0].has_dict);
    ramet_commit_done(&commit);
    assert_int_equal(ramet_history_newest(f.model.history, &head, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_history_dict(f.model.history, &head, &dict, NULL),
                     RAMET_OK);
    assert_memory_equal(&dict.hash, &f.model.dict_extent.hash, 16);
    model_reopen(&f.model);
    model_check_lsn(&f.model, 1);
    model_check_lsn(&f.model, 2);
    if (ramet_history_verify(f.model.history, count_damaged, &damaged, NULL,
                             &err) != RAMET_OK)
        fail_msg("%s", err.text);
    assert_int_equal(
        ramet_objstore_list(f.inner, "volumes/", "", take_key, keys, NULL),
        RAMET_OK);
    for (unsigned i = 0; i < keys->count; i++) /* a few bits of each */
        damage_object(&f, keys->key[i], (size_t)keys->size[i],
                      (size_t)keys->size[i] / 23 + 1);
    line_close(&f);
    ramet_free(dict_bytes);
    free(keys);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verify__knows_dictionaries_and_own_maps),
        cmocka_unit_test(
            verify__of_a_damaged_part_of_a_table__finds_what_else_is_wrong),
        cmocka_unit_test(
            verify__finds_each_flipped_bit_and_each_missing_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
