/*
 * test_validate.c - what is checked of commits that others made, and what may
 * follow an end.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "metastore/catalog.h"
#include "tests/metastore/line.h"
#include "tests/support/faultstore.h"

/* ---- foreign commits ----------------------------------------------------- */

static void
validate__refuses_what_does_not_fit(void **state)
{
    struct line *const f = *state;
    static const struct {
        unsigned at; /* byte of the object that is changed */
        uint8_t value;
        enum ramet_rc rc;
    } cases[] = {
        {0, 0, RAMET_OK},          /* unchanged */
        {80, 1, RAMET_ECONFLICT},  /* predecessor */
        {16, 9, RAMET_ECONFLICT},  /* an LSN past a gap */
        {16, 3, RAMET_OK},         /* unchanged */
        {102, 1, RAMET_ECLOCK},    /* far in the future */
        {101, 0, RAMET_ECORRUPT},  /* before its predecessor */
        {30, 77, RAMET_ECORRUPT},  /* counts heads wrong */
        {29, 2, RAMET_ECORRUPT},   /* a map that is not there */
        {104, 11, RAMET_ECORRUPT}, /* page count and byte length */
        {48, 1, RAMET_OK},         /* another id is as good */
        {164, 2, RAMET_ECORRUPT},  /* a floor that nobody raised */
        {172, 1, RAMET_ECORRUPT},  /* nor a cutoff */
        {188, 1, RAMET_ECORRUPT},  /* another last content commit */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ramet_buf object;
        struct ramet_cid id;
        uint8_t value = cases[i].value;
        enum ramet_rc rc;

        line_encode_one(f, &id, &object);
        if (cases[i].rc != RAMET_OK && /* a hash's byte, by chance */
            object.data[cases[i].at] == value)
            value ^= 0x80;
        if (cases[i].at > 0)
            object.data[cases[i].at] = value;
        if (cases[i].at == 80) /* the last content commit is the same */
            object.data[196] = value;
        if (cases[i].at == 16) /* the map's distance grows with it */
            object.data[29] = value;
        line_seal(&object);
        rc = ramet_history_validate(f->model.history, object.data, object.len,
                                    NULL);
        if (rc != cases[i].rc)
            fail_msg("case %u: %s", (unsigned)i, ramet_rc_name(rc));
        ramet_buf_done(&object);
    }
}

static void
decode(const struct line *f, const struct ramet_buf *object,
       struct ramet_commit_object *out_commit)
{
    struct ramet_hash hash;

    assert_int_equal(ramet_commit_decode(object->data,
                                         ramet_get_le32(object->data + 8),
                                         &f->model.volume, 3, object->len,
                                         out_commit, &hash, NULL),
                     RAMET_OK);
}

/* A commit that names an object is refused if that is not there, or not as large as it
 * is said to be. */
static void
check_looks_for(struct line *f, const struct ramet_buf *object,
                const struct ramet_sid *id)
{
    const struct ramet_extent extent = {.volume = f->model.volume,
                                        .segment = *id};
    struct iovec part = {"x", 1};
    char key[RAMET_KEY_MAX];

    ramet_extent_key(&extent, key);
    assert_int_equal(ramet_history_validate(f->model.history, object->data,
                                            object->len, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_objstore_remove(f->inner, key, NULL), RAMET_OK);
    assert_int_equal(ramet_history_validate(f->model.history, object->data,
                                            object->len, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(ramet_objstore_put(f->inner, key, &part, 1, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_history_validate(f->model.history, object->data,
                                            object->len, NULL),
                     RAMET_ECORRUPT);
}

static void
validate__looks_at_inline_frames_and_segments(void **state)
{
    struct line *const f = *state;
    struct ramet_buf object;
    struct ramet_commit_object commit;
    struct ramet_cid id;

    line_encode_one(f, &id, &object);
    object.data[object.len - 1] ^= 1;
    assert_int_equal(
        ramet_history_validate(f->model.history, object.data, object.len, NULL),
        RAMET_ECORRUPT);
    assert_int_equal(ramet_history_validate(f->model.history, object.data,
                                            object.len - 1, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(
        ramet_history_validate(f->model.history, object.data, 100, NULL),
        RAMET_ECORRUPT);
    ramet_buf_done(&object);

    f->model.never_inline = true;
    line_encode_one(f, &id, &object);
    decode(f, &object, &commit);
    check_looks_for(f, &object, &commit.segments[0].id);
    ramet_commit_done(&commit);
    ramet_buf_done(&object);
}

/* No two commits of a line are of one moment. */
static void
validate__refuses_the_time_of_the_predecessor(void **state)
{
    struct line *const f = *state;
    struct ramet_head base;
    struct ramet_buf object;
    struct ramet_cid id;

    line_encode_one(f, &id, &object);
    assert_int_equal(ramet_history_newest(f->model.history, &base, NULL),
                     RAMET_OK);
    for (uint64_t later = 0; later < 2; later++) {
        ramet_put_le64(object.data + 96, base.time_ms + later);
        line_seal(&object);
        assert_int_equal(ramet_history_validate(f->model.history, object.data,
                                                object.len, NULL),
                         later == 0 ? RAMET_ECORRUPT : RAMET_OK);
    }
    ramet_buf_done(&object);
}

static void
validate__looks_at_inline_blocks_of_deltas(void **state)
{
    struct line *const f = *state;
    struct ramet_commit_object commit;
    struct ramet_err err = {.text = ""};
    struct ramet_buf object;
    struct ramet_cid id;

    f->model.delta_percent = 100;
    line_encode_one(f, &id, &object);
    decode(f, &object, &commit);
    assert_true(commit.deltas.extent.is_inline);
    assert_int_equal(ramet_pageset_count(&commit.deltas.pages), 1);
    ramet_commit_done(&commit);
    assert_int_equal(
        ramet_history_validate(f->model.history, object.data, object.len, NULL),
        RAMET_OK);
    object.data[object.len - 1] ^= 1;
    assert_int_equal(
        ramet_history_validate(f->model.history, object.data, object.len, &err),
        RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "block of deltas"));
    ramet_buf_done(&object);
}

/* Of blocks that have an object of their own: it is there, and as large as it is said
 * to be. */
static void
validate__looks_for_blocks_of_deltas_in_the_store(void **state)
{
    struct line *const f = *state;
    struct ramet_commit_object commit;
    struct ramet_buf object;
    struct ramet_cid id;

    f->model.delta_percent = 100;
    f->model.never_inline = true;
    line_encode_one(f, &id, &object);
    decode(f, &object, &commit);
    assert_int_equal(ramet_pageset_count(&commit.deltas.pages), 1);
    assert_false(commit.deltas.extent.is_inline);
    check_looks_for(f, &object, &commit.deltas.extent.id);
    ramet_commit_done(&commit);
    ramet_buf_done(&object);
}

/* A map of another line lies about in the store; a commit names it. */
static void
validate__refuses_the_map_of_another_line(void **state)
{
    struct line *const f = *state;
    struct ramet_err err = {.text = ""};
    struct ramet_buf object;
    struct ramet_cid id;

    /* The commit that follows will name a map of LSN 65 or so: make it, let
     * the store go back, and let history take another course. */
    while (f->model.lsn < 64)
        model_write(&f->model, 1, 1);
    line_encode_one(f, &id, &object);
    assert_int_equal(line_append(f, &object, NULL), RAMET_OK);
    line_remove_commit(f, 65);
    line_remove_commit(f, 64);
    model_drop_newest(&f->model);
    model_reopen(&f->model);
    model_write(&f->model, 2, 1);         /* another LSN 64 */
    assert_int_equal(object.data[29], 1); /* its map is of LSN 64 */
    {
        struct ramet_head head;

        assert_int_equal(ramet_history_newest(f->model.history, &head, NULL),
                         RAMET_OK);
        memcpy(object.data + 80, &head.hash, 16); /* now based on that one */
        memcpy(object.data + 196, &head.hash, 16);
        ramet_put_le64(object.data + 96, head.time_ms + 1);
    }
    line_seal(&object);
    assert_int_equal(
        ramet_history_validate(f->model.history, object.data, object.len, &err),
        RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "of another history"));
    ramet_buf_done(&object);
}

/* The map of a commit is its predecessor's, or a newer one: another of the same LSN,
 * and none of its fields is another. */
static void
validate__refuses_another_map_of_the_same_commit(void **state)
{
    static const size_t fields[] = {120, 136, 144, 148}; /* of the map */
    struct line *const f = *state;
    struct ramet_buf object;
    struct ramet_cid id;

    while (f->model.lsn < 66)
        model_write(&f->model, 1, 1);
    line_encode_one(f, &id, &object);
    assert_in_range(object.data[29], 2, 64); /* not made for this commit */
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        struct ramet_err err = {.text = ""};

        object.data[fields[i]] ^= 2;
        line_seal(&object);
        assert_int_equal(ramet_history_validate(f->model.history, object.data,
                                                object.len, &err),
                         RAMET_ECORRUPT);
        assert_non_null(strstr(err.text, "its map is another one"));
        object.data[fields[i]] ^= 2;
    }
    line_seal(&object);
    assert_int_equal(
        ramet_history_validate(f->model.history, object.data, object.len, NULL),
        RAMET_OK);
    ramet_buf_done(&object);
}

/* ---- the end ------------------------------------------------------------- */

static bool
count_key(void *ctx, const char *key, uint64_t size_bytes)
{
    (void)key;
    (void)size_bytes;
    ++*(unsigned *)ctx;
    return true;
}

static unsigned
keys_of(struct line *f, const char *kind)
{
    char vid[RAMET_ID_TEXT_SIZE], prefix[RAMET_KEY_MAX];
    unsigned count = 0;

    ramet_id_format(&f->model.volume.id, vid);
    (void)snprintf(prefix, sizeof(prefix), "volumes/%s/%s", vid, kind);
    assert_int_equal(
        ramet_objstore_list(f->inner, prefix, "", count_key, &count, NULL),
        RAMET_OK);
    return count;
}

static bool
note_volume(void *ctx, const char *name, const struct ramet_vid *volume)
{
    (void)name;
    (void)volume;
    *(bool *)ctx = true;
    return true;
}

/* Deleted while a writer had a commit in hand, on any base: none lands, nor does
 * a new commit 1, and a newcomer finds no volume. */
static void
catalog_delete__leaves_an_end_that_nothing_follows(void **state)
{
    struct line *const f = *state;
    struct ramet_buf late, first;
    struct ramet_head head = {.lsn = 0};
    struct ramet_cid id;
    struct model other;
    bool seen = false, exists = true;
    char key[RAMET_KEY_MAX];
    size_t len = 0;

    line_encode_one(f, &id, &late); /* for the slot that the end takes */
    ramet_buf_init(&first, 1u << 20);
    ramet_commit_key(&f->model.volume, 1, key);
    assert_non_null(ramet_buf_extend(&first, 1u << 20));
    assert_int_equal(ramet_objstore_read(f->inner, key, 0, first.data,
                                         first.len, &len, NULL),
                     RAMET_OK);
    first.len = len;
    assert_int_equal(ramet_catalog_delete(f->store, &f->model.volume, NULL),
                     RAMET_OK);
    assert_int_equal(keys_of(f, ""), 1);
    assert_int_equal(keys_of(f, "commits/"), 1);
    assert_int_equal(line_append(f, &late, NULL), RAMET_EWENTBACK);
    model_reopen(&f->model);
    assert_int_equal(ramet_history_newest(f->model.history, &head, NULL),
                     RAMET_EWENTBACK);
    assert_int_equal(line_append(f, &first, NULL), RAMET_EWENTBACK);
    assert_int_equal(
        ramet_catalog_exists(f->store, &f->model.volume, &exists, NULL),
        RAMET_OK);
    assert_false(exists);
    assert_int_equal(ramet_catalog_list(f->store, note_volume, &seen, NULL),
                     RAMET_OK);
    assert_false(seen);
    /* Once more changes nothing. */
    assert_int_equal(ramet_catalog_delete(f->store, &f->model.volume, NULL),
                     RAMET_OK);
    assert_int_equal(keys_of(f, ""), 1);
    /* Other volumes are none of its business. */
    model_init(&other, f->store, 77);
    model_write(&other, 1, 3);
    assert_int_equal(ramet_catalog_list(f->store, note_volume, &seen, NULL),
                     RAMET_OK);
    assert_true(seen);
    model_done(&other);
    ramet_buf_done(&first);
    ramet_buf_done(&late);
}

static void
delete_too(void *ctx)
{
    struct line *const f = ctx;

    assert_int_equal(ramet_catalog_delete(f->inner, &f->model.volume, NULL),
                     RAMET_OK);
}

/* Somebody else deletes it as well, from beginning to end, at any moment: both
 * succeed, and the end is there. */
static void
catalog_delete__of_two_at_once_leaves_one_end(void **state)
{
    (void)state;
    for (unsigned traits = 0; traits < 2; traits++) {
        uint64_t calls = 1;

        for (uint64_t moment = 0; moment < calls; moment++) {
            struct ramet_store_counts c;
            struct ramet_buf late;
            struct ramet_cid id;
            struct line *f;
            void *line;

            assert_int_equal(line_setup(&line), 0);
            f = line;
            line_encode_one(f, &id, &late);
            f->store->traits = traits == 0 ? 0 : RAMET_STORE_LISTS_CHEAPLY;
            f->inner->traits = f->store->traits;
            ramet_faultstore_reset_counts(f->store);
            ramet_faultstore_meanwhile(f->store, moment, delete_too, f);
            assert_int_equal(
                ramet_catalog_delete(f->store, &f->model.volume, NULL),
                RAMET_OK);
            c = ramet_faultstore_counts(f->store);
            calls = c.puts + c.reads + c.sizes + c.lists + c.removes;
            ramet_faultstore_meanwhile(f->store, 0, NULL, NULL);
            assert_int_equal(keys_of(f, ""), 1);
            assert_int_equal(keys_of(f, "commits/"), 1);
            assert_int_equal(line_append(f, &late, NULL), RAMET_EWENTBACK);
            assert_int_equal(keys_of(f, ""), 1);
            ramet_buf_done(&late);
            assert_int_equal(line_teardown(&line), 0);
        }
    }
}

/* What is put on top of an end by hand is refused by the guard as well. */
static void
validate__refuses_what_follows_an_end(void **state)
{
    struct line *const f = *state;
    struct ramet_buf end, next;
    struct ramet_head base;
    struct ramet_cid id;

    assert_int_equal(ramet_history_newest(f->model.history, &base, NULL),
                     RAMET_OK);
    line_encode_one(f, &id, &next);
    ramet_buf_init(&end, 1u << 20);
    assert_int_equal(
        ramet_history_encode_end(f->model.history, &base, &end, NULL),
        RAMET_OK);
    assert_int_equal(line_append(f, &end, NULL), RAMET_OK);
    /* As if it had been based on the end. */
    ramet_put_le64(next.data + 16, base.lsn + 2);
    next.data[29]++;
    ramet_put_le16(next.data + 30,
                   (uint16_t)(ramet_get_le16(next.data + 30) + 309));
    memcpy(next.data + 80, end.data + 292, 16);
    ramet_put_le64(next.data + 96, base.time_ms + 5);
    line_seal(&next);
    assert_int_equal(
        ramet_history_validate(f->model.history, next.data, next.len, NULL),
        RAMET_EWENTBACK);
    assert_int_equal(line_append(f, &next, NULL), RAMET_EWENTBACK);
    ramet_buf_done(&end);
    ramet_buf_done(&next);
}

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, line_setup, line_teardown)
    const struct CMUnitTest tests[] = {
        TEST(validate__refuses_what_does_not_fit),
        TEST(validate__looks_at_inline_frames_and_segments),
        TEST(validate__refuses_the_time_of_the_predecessor),
        TEST(validate__looks_at_inline_blocks_of_deltas),
        TEST(validate__looks_for_blocks_of_deltas_in_the_store),
        TEST(validate__refuses_the_map_of_another_line),
        TEST(validate__refuses_another_map_of_the_same_commit),
        TEST(catalog_delete__leaves_an_end_that_nothing_follows),
        cmocka_unit_test(catalog_delete__of_two_at_once_leaves_one_end),
        TEST(validate__refuses_what_follows_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
