/*
 * test_append.c - the commit point: conflicts, exactly once, fences, a store
 * that went back in time, foreign commits, and races.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "metastore/catalog.h"
#include "tests/metastore/model.h"
#include "tests/support/faultstore.h"
#include "tests/support/point.h"

struct fixture {
    struct ramet_objstore *inner;
    struct ramet_objstore *store; /* a faultstore over it */
    struct model model;
};

static int
setup(void **state)
{
    struct fixture *const f = calloc(1, sizeof(*f));

    if (f == NULL || ramet_memstore_open(&f->inner, NULL) != RAMET_OK)
        return -1;
    f->store = ramet_faultstore_new(f->inner);
    model_init(&f->model, f->store, 1);
    model_write(&f->model, 1, 10);
    model_write(&f->model, 3, 2);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *const f = *state;

    model_done(&f->model);
    ramet_objstore_close(f->store);
    ramet_objstore_close(f->inner);
    free(f);
    return 0;
}

/* A commit of page 2 on top of the newest, not yet appended. */
static void
encode_one(struct fixture *f, struct ramet_cid *out_id, struct ramet_buf *out)
{
    struct model_change change = {
        .page_size = 512, .least = 10, .page_count = 10};
    struct ramet_head base;

    *out_id = model_new_cid();
    ramet_buf_init(out, 1u << 20);
    ramet_pageset_init(&change.changed);
    assert_int_equal(ramet_pageset_add(&change.changed, 2), RAMET_OK);
    assert_int_equal(ramet_history_newest(f->model.history, &base, NULL),
                     RAMET_OK);
    assert_int_equal(
        model_encode(&f->model, &base, &change, out_id, 777, out, NULL),
        RAMET_OK);
    ramet_pageset_done(&change.changed);
}

static enum ramet_rc
append(struct fixture *f, const struct ramet_buf *object,
       struct ramet_head *out_winner)
{
    return ramet_history_append(f->model.history, object->data, object->len,
                                out_winner, NULL);
}

static uint64_t
newest_lsn(struct fixture *f)
{
    struct ramet_head head;

    assert_int_equal(ramet_history_newest(f->model.history, &head, NULL),
                     RAMET_OK);
    return head.lsn;
}

/* A store says that the slot is taken, and then that nothing is there. */
static void
append__to_a_store_whose_reads_lag_is_not_decided(void **state)
{
    struct fixture *const f = *state;
    struct ramet_buf object;
    struct ramet_cid id;

    encode_one(f, &id, &object);
    ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, 0, RAMET_EEXIST);
    assert_int_equal(append(f, &object, NULL), RAMET_EUNKNOWN);
    assert_true(ramet_faultstore_fired(f->store));
    assert_int_equal(append(f, &object, NULL), RAMET_OK);
    assert_int_equal(newest_lsn(f), 3);
    ramet_buf_done(&object);
}

static void
append__has_one_winner_per_slot(void **state)
{
    struct fixture *const f = *state;
    struct ramet_buf first, second;
    struct ramet_cid first_id, second_id;
    struct ramet_head winner = {.lsn = 0};

    encode_one(f, &first_id, &first);
    encode_one(f, &second_id, &second);
    assert_int_equal(append(f, &first, NULL), RAMET_OK);
    assert_int_equal(append(f, &second, &winner), RAMET_ECONFLICT);
    assert_int_equal(winner.lsn, 3);
    assert_memory_equal(&winner.id, &first_id, sizeof(first_id));
    assert_int_equal(append(f, &first, &winner), RAMET_OK); /* once more */
    assert_int_equal(newest_lsn(f), 3);
    ramet_buf_done(&second);
    ramet_buf_done(&first);
}

static void
append__with_a_lost_reply_is_settled_by_the_same_bytes(void **state)
{
    struct fixture *const f = *state;
    struct ramet_buf object;
    struct ramet_cid id;

    encode_one(f, &id, &object);
    ramet_faultstore_arm(f->store, RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    assert_int_equal(append(f, &object, NULL), RAMET_EUNKNOWN);
    assert_int_equal(append(f, &object, NULL), RAMET_OK);
    model_reopen(&f->model);
    assert_int_equal(newest_lsn(f), 3);
    assert_int_equal(append(f, &object, NULL), RAMET_OK);
    assert_int_equal(newest_lsn(f), 3);
    ramet_buf_done(&object);
}

static void
fence__keeps_out_a_request_that_hangs_in_the_network(void **state)
{
    struct fixture *const f = *state;
    const struct ramet_rid writer = {.id = {{5}}};
    struct ramet_buf object, fence;
    struct ramet_cid id, fence_id;
    struct ramet_head base, winner;
    struct ramet_commit commit;

    encode_one(f, &id, &object);
    ramet_faultstore_arm(f->store, RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(append(f, &object, NULL), RAMET_EUNKNOWN);
    assert_int_equal(newest_lsn(f), 2); /* an empty slot proves nothing */
    assert_int_equal(ramet_history_head(f->model.history, 2, &base, NULL),
                     RAMET_OK);
    ramet_buf_init(&fence, 1u << 20);
    assert_int_equal(ramet_history_fence(f->model.history, &base, &writer,
                                         RAMET_KIND_SQLITE, &fence, &fence_id,
                                         NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_history_validate(f->model.history, fence.data, fence.len, NULL),
        RAMET_OK);
    assert_int_equal(append(f, &fence, NULL), RAMET_OK);
    ramet_faultstore_land(f->store);
    assert_int_equal(append(f, &object, &winner), RAMET_ECONFLICT);
    assert_memory_equal(&winner.id, &fence_id, sizeof(fence_id));
    assert_int_equal(ramet_history_commit(f->model.history, 3, &commit, NULL),
                     RAMET_OK);
    assert_int_equal(commit.role, RAMET_COMMIT_FENCE);
    assert_int_equal(commit.time_ms, base.time_ms + 1);
    assert_int_equal(ramet_pageset_count(&commit.changed), 0);
    assert_int_equal(commit.page_count, 10);
    ramet_commit_done(&commit);
    ramet_buf_done(&fence);
    ramet_buf_done(&object);
}

static void
fence__learns_that_the_commit_had_landed(void **state)
{
    struct fixture *const f = *state;
    const struct ramet_rid writer = {.id = {{5}}};
    struct ramet_buf object, fence;
    struct ramet_cid id, fence_id;
    struct ramet_head base, winner;

    assert_int_equal(ramet_history_head(f->model.history, 2, &base, NULL),
                     RAMET_OK);
    encode_one(f, &id, &object);
    ramet_faultstore_arm(f->store, RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(append(f, &object, NULL), RAMET_EUNKNOWN);
    ramet_buf_init(&fence, 1u << 20);
    assert_int_equal(ramet_history_fence(f->model.history, &base, &writer,
                                         RAMET_KIND_SQLITE, &fence, &fence_id,
                                         NULL),
                     RAMET_OK);
    ramet_faultstore_land(f->store);
    assert_int_equal(append(f, &fence, &winner), RAMET_ECONFLICT);
    assert_memory_equal(&winner.id, &id, sizeof(id));
    ramet_buf_done(&fence);
    ramet_buf_done(&object);
}

static void
fence__can_be_the_first_commit(void **state)
{
    struct fixture *const f = *state;
    const struct ramet_rid writer = {.id = {{5}}};
    const struct ramet_head base = {.lsn = 0};
    struct ramet_vid volume = {.id = {{9}}};
    struct ramet_history *history;
    struct ramet_buf fence;
    struct ramet_cid id;
    struct ramet_head head;

    assert_int_equal(
        ramet_history_open(f->store, &volume, NULL, &history, NULL), RAMET_OK);
    ramet_buf_init(&fence, 1u << 20);
    assert_int_equal(ramet_history_fence(history, &base, &writer,
                                         RAMET_KIND_BLOB, &fence, &id, NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_history_validate(history, fence.data, fence.len, NULL), RAMET_OK);
    assert_int_equal(
        ramet_history_append(history, fence.data, fence.len, NULL, NULL),
        RAMET_OK);
    assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
    assert_int_equal(head.lsn, 1);
    assert_int_equal(head.kind, RAMET_KIND_BLOB);
    assert_int_equal(head.page_count, 0);
    ramet_buf_done(&fence);
    ramet_history_close(history);
}

/* ---- a store that went back in time -------------------------------------- */

static void
remove_commit(struct fixture *f, uint64_t lsn)
{
    char key[RAMET_KEY_MAX];

    ramet_commit_key(&f->model.volume, lsn, key);
    assert_int_equal(ramet_objstore_remove(f->inner, key, NULL), RAMET_OK);
}

static void
newest__notices_that_a_commit_is_gone(void **state)
{
    struct fixture *const f = *state;
    struct ramet_head head;

    for (unsigned cheap = 0; cheap < 2; cheap++) {
        struct ramet_err err = {.text = ""};

        f->store->traits = cheap ? RAMET_STORE_LISTS_CHEAPLY : 0;
        model_reopen(&f->model);
        model_write(&f->model, 1, 1);
        assert_int_equal(newest_lsn(f), f->model.lsn);
        remove_commit(f, f->model.lsn);
        for (int i = 0; i < 2; i++) { /* and goes on saying so */
            assert_int_equal(
                ramet_history_newest(f->model.history, &head, &err),
                RAMET_EWENTBACK);
            assert_non_null(strstr(err.text, "back in time"));
        }
        ramet_history_forget(f->model.history);
        assert_int_equal(newest_lsn(f), f->model.lsn - 1);
        model_drop_newest(&f->model);
    }
}

static void
newest__notices_that_a_commit_is_another(void **state)
{
    struct fixture *const f = *state;
    struct ramet_buf one, other, next;
    struct ramet_cid id;
    struct ramet_head head;
    struct ramet_history *old;

    encode_one(f, &id, &one);
    encode_one(f, &id, &other);
    assert_int_equal(append(f, &one, NULL), RAMET_OK);
    assert_int_equal(newest_lsn(f), 3);
    remove_commit(f, 3);
    old = f->model.history;
    f->model.history = NULL;
    model_reopen(&f->model); /* another machine, after the restore */
    assert_int_equal(append(f, &other, NULL), RAMET_OK);
    f->store->traits = 0;
    assert_int_equal(ramet_history_newest(old, &head, NULL), RAMET_EWENTBACK);
    encode_one(f, &id, &next);
    assert_int_equal(append(f, &next, NULL), RAMET_OK);
    assert_int_equal(ramet_history_newest(old, &head, NULL), RAMET_EWENTBACK);
    f->store->traits = RAMET_STORE_LISTS_CHEAPLY;
    assert_int_equal(ramet_history_newest(old, &head, NULL), RAMET_EWENTBACK);
    ramet_history_forget(old);
    assert_int_equal(ramet_history_newest(old, &head, NULL), RAMET_OK);
    assert_int_equal(head.lsn, 4);
    ramet_history_close(old);
    ramet_buf_done(&next);
    ramet_buf_done(&other);
    ramet_buf_done(&one);
}

static void
append__leaves_no_gap_in_a_store_that_went_back(void **state)
{
    struct fixture *const f = *state;
    struct ramet_buf object;
    struct ramet_cid id;

    encode_one(f, &id, &object);
    remove_commit(f, 2);
    model_reopen(&f->model);
    assert_int_equal(append(f, &object, NULL), RAMET_EWENTBACK);
    assert_int_equal(newest_lsn(f), 1);
    ramet_buf_done(&object);
}

static void
read__notices_a_head_that_is_not_its_successors_base(void **state)
{
    struct fixture *const f = *state;
    const uint32_t pgno = 1;
    struct ramet_buf one, other, next;
    struct ramet_cid id;
    struct ramet_located frame;
    struct ramet_pageset set;
    char key[RAMET_KEY_MAX];
    struct iovec part;

    encode_one(f, &id, &one);
    encode_one(f, &id, &other);
    assert_int_equal(append(f, &one, NULL), RAMET_OK);
    encode_one(f, &id, &next);
    assert_int_equal(append(f, &next, NULL), RAMET_OK);
    remove_commit(f, 3);
    ramet_commit_key(&f->model.volume, 3, key);
    part = (struct iovec){other.data, other.len};
    assert_int_equal(ramet_objstore_put(f->inner, key, &part, 1, NULL),
                     RAMET_OK);
    model_reopen(&f->model);
    assert_int_equal(ramet_history_locate(f->model.history,
                                          point_at(f->model.history, 4), &pgno,
                                          1, &frame, NULL),
                     RAMET_ECORRUPT);
    ramet_pageset_init(&set);
    assert_int_equal(
        ramet_history_changed(f->model.history, point_at(f->model.history, 1),
                              point_at(f->model.history, 4), &set, NULL),
        RAMET_ECORRUPT);
    ramet_pageset_done(&set);
    ramet_buf_done(&next);
    ramet_buf_done(&other);
    ramet_buf_done(&one);
}

/* ---- foreign commits ----------------------------------------------------- */

static void
seal(struct ramet_buf *object)
{
    const uint32_t head_length = ramet_get_le32(object->data + 8);
    const struct ramet_hash body =
        ramet_hash128(object->data + 308, head_length - 308);
    struct ramet_hash hash;

    memcpy(object->data + 276, &body, 16);
    hash = ramet_hash128(object->data, 292);
    memcpy(object->data + 292, &hash, 16);
}

static void
validate__refuses_what_does_not_fit(void **state)
{
    struct fixture *const f = *state;
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
        enum ramet_rc rc;

        encode_one(f, &id, &object);
        if (cases[i].at > 0)
            object.data[cases[i].at] = cases[i].value;
        if (cases[i].at == 80) /* the last content commit is the same */
            object.data[196] = cases[i].value;
        if (cases[i].at == 16) /* the map's distance grows with it */
            object.data[29] = cases[i].value;
        seal(&object);
        rc = ramet_history_validate(f->model.history, object.data, object.len,
                                    NULL);
        if (rc != cases[i].rc)
            fail_msg("case %u: %s", (unsigned)i, ramet_rc_name(rc));
        ramet_buf_done(&object);
    }
}

static void
validate__looks_at_inline_frames_and_segments(void **state)
{
    struct fixture *const f = *state;
    struct ramet_buf object;
    struct ramet_commit commit;
    struct ramet_hash hash;
    struct ramet_place place = {.volume = f->model.volume};
    char key[RAMET_KEY_MAX];
    struct ramet_cid id;
    struct iovec part = {"x", 1};

    encode_one(f, &id, &object);
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
    encode_one(f, &id, &object);
    assert_int_equal(
        ramet_history_validate(f->model.history, object.data, object.len, NULL),
        RAMET_OK);
    assert_int_equal(ramet_commit_decode(
                         object.data, ramet_get_le32(object.data + 8),
                         &f->model.volume, 3, object.len, &commit, &hash, NULL),
                     RAMET_OK);
    place.segment = commit.segments[0].id;
    ramet_place_key(&place, key);
    ramet_commit_done(&commit);
    assert_int_equal(ramet_objstore_remove(f->inner, key, NULL), RAMET_OK);
    assert_int_equal(
        ramet_history_validate(f->model.history, object.data, object.len, NULL),
        RAMET_ECORRUPT);
    assert_int_equal(ramet_objstore_put(f->inner, key, &part, 1, NULL),
                     RAMET_OK);
    assert_int_equal(
        ramet_history_validate(f->model.history, object.data, object.len, NULL),
        RAMET_ECORRUPT);
    ramet_buf_done(&object);
}

/* A map of another line lies about in the store; a commit names it. */
static void
validate__refuses_the_map_of_another_line(void **state)
{
    struct fixture *const f = *state;
    struct ramet_err err = {.text = ""};
    struct ramet_buf object;
    struct ramet_cid id;

    /* The commit that follows will name a map of LSN 65 or so: make it, let
     * the store go back, and let history take another course. */
    while (f->model.lsn < 64)
        model_write(&f->model, 1, 1);
    encode_one(f, &id, &object);
    assert_int_equal(append(f, &object, NULL), RAMET_OK);
    remove_commit(f, 65);
    remove_commit(f, 64);
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
    seal(&object);
    assert_int_equal(
        ramet_history_validate(f->model.history, object.data, object.len, &err),
        RAMET_ECORRUPT);
    assert_non_null(strstr(err.text, "of another history"));
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
keys_of(struct fixture *f, const char *kind)
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
    struct fixture *const f = *state;
    struct ramet_buf late, first;
    struct ramet_head head = {.lsn = 0};
    struct ramet_cid id;
    struct model other;
    bool seen = false, exists = true;
    char key[RAMET_KEY_MAX];
    size_t len = 0;

    encode_one(f, &id, &late); /* for the slot that the end takes */
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
    assert_int_equal(append(f, &late, NULL), RAMET_EWENTBACK);
    model_reopen(&f->model);
    assert_int_equal(ramet_history_newest(f->model.history, &head, NULL),
                     RAMET_EWENTBACK);
    assert_int_equal(append(f, &first, NULL), RAMET_EWENTBACK);
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

/* What is put on top of an end by hand is refused by the guard as well. */
static void
validate__refuses_what_follows_an_end(void **state)
{
    struct fixture *const f = *state;
    struct ramet_buf end, next;
    struct ramet_head base;
    struct ramet_cid id;

    assert_int_equal(ramet_history_newest(f->model.history, &base, NULL),
                     RAMET_OK);
    encode_one(f, &id, &next);
    ramet_buf_init(&end, 1u << 20);
    assert_int_equal(
        ramet_history_encode_end(f->model.history, &base, &end, NULL),
        RAMET_OK);
    assert_int_equal(append(f, &end, NULL), RAMET_OK);
    /* As if it had been based on the end. */
    ramet_put_le64(next.data + 16, base.lsn + 2);
    next.data[29]++;
    ramet_put_le16(next.data + 30,
                   (uint16_t)(ramet_get_le16(next.data + 30) + 309));
    memcpy(next.data + 80, end.data + 292, 16);
    ramet_put_le64(next.data + 96, base.time_ms + 5);
    seal(&next);
    assert_int_equal(
        ramet_history_validate(f->model.history, next.data, next.len, NULL),
        RAMET_EWENTBACK);
    assert_int_equal(append(f, &next, NULL), RAMET_EWENTBACK);
    ramet_buf_done(&end);
    ramet_buf_done(&next);
}

/* ---- time ---------------------------------------------------------------- */

static uint64_t fake_now_ms;

static uint64_t
fake_wall_ms(void *ctx)
{
    (void)ctx;
    return fake_now_ms;
}

static void
at_time__finds_the_newest_not_later(void **state)
{
    struct fixture *const f = *state;
    struct ramet_os os = *ramet_os_system();
    const struct ramet_history_options options = {.os = &os};
    struct ramet_head head;
    uint64_t start;

    os.wall_ms = fake_wall_ms;
    ramet_history_close(f->model.history);
    assert_int_equal(ramet_history_open(f->store, &f->model.volume, &options,
                                        &f->model.history, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_history_head(f->model.history, 2, &head, NULL),
                     RAMET_OK);
    start = head.time_ms;
    for (uint64_t i = 1; i <= 20; i++) { /* LSN 2 + i at start + 1000 i */
        fake_now_ms = start + 1000 * i;
        model_write(&f->model, 1, 1);
    }
    fake_now_ms = 5; /* a clock that goes back does not take time with it */
    model_write(&f->model, 1, 1);
    assert_int_equal(ramet_history_head(f->model.history, 23, &head, NULL),
                     RAMET_OK);
    assert_int_equal(head.time_ms, start + 20001);
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(ramet_history_at_time(f->model.history,
                                               start + 1000 * i, &head, NULL),
                         RAMET_OK);
        assert_int_equal(head.lsn, 2 + i);
        assert_int_equal(ramet_history_at_time(f->model.history,
                                               start + 1000 * i - 1, &head,
                                               NULL),
                         RAMET_OK);
        assert_int_equal(head.lsn, 1 + i);
    }
    assert_int_equal(
        ramet_history_at_time(f->model.history, UINT64_MAX, &head, NULL),
        RAMET_OK);
    assert_int_equal(head.lsn, 23);
    assert_int_equal(ramet_history_at_time(f->model.history, 1, &head, NULL),
                     RAMET_ENOTFOUND);
}

/* ---- races --------------------------------------------------------------- */

enum { RACERS = 4, WINS_EACH = 25 };

/* Commits WINS_EACH times to one volume; ids of what was acknowledged. */
struct racer {
    struct ramet_objstore *store;
    struct ramet_vid volume;
    struct ramet_cid ids[WINS_EACH];
    uint64_t seed;
};

static void *
race(void *arg)
{
    struct racer *const racer = arg;
    struct model model;
    unsigned wins = 0;

    model_init(&model, racer->store, racer->seed);
    model.volume = racer->volume;
    model_reopen(&model);
    while (wins < WINS_EACH) {
        struct model_change change = {.page_size = 512, .page_count = 50};
        const struct ramet_cid id = model_new_cid();
        struct ramet_head base;
        struct ramet_buf out;
        enum ramet_rc rc;

        ramet_pageset_init(&change.changed);
        assert_int_equal(ramet_history_newest(model.history, &base, NULL),
                         RAMET_OK);
        change.least = base.page_count;
        assert_int_equal(
            ramet_pageset_add(&change.changed,
                              (uint32_t)model_random(&model, 50) + 1),
            RAMET_OK);
        ramet_buf_init(&out, 1u << 20);
        assert_int_equal(
            model_encode(&model, &base, &change, &id, base.lsn + 1, &out, NULL),
            RAMET_OK);
        do
            rc = ramet_history_append(model.history, out.data, out.len, NULL,
                                      NULL);
        while (rc == RAMET_EUNKNOWN);
        assert_true(rc == RAMET_OK || rc == RAMET_ECONFLICT);
        if (rc == RAMET_OK)
            racer->ids[wins++] = id;
        ramet_buf_done(&out);
        ramet_pageset_done(&change.changed);
    }
    model_done(&model);
    return NULL;
}

/* LSNs without a gap, and each acknowledged id exactly once. */
static void
check_race(struct ramet_objstore *store, const struct ramet_vid *volume,
           const struct racer *racers)
{
    unsigned found = 0;
    struct ramet_history *history;
    struct ramet_head head;
    struct ramet_pageset set;
    struct ramet_err err = {.text = ""};

    assert_int_equal(ramet_history_open(store, volume, NULL, &history, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_history_newest(history, &head, NULL), RAMET_OK);
    assert_int_equal(head.lsn, RACERS * WINS_EACH);
    for (unsigned r = 0; r < RACERS; r++) {
        for (unsigned i = 0; i < WINS_EACH; i++) {
            unsigned times = 0;

            for (uint64_t lsn = 1; lsn <= RACERS * WINS_EACH; lsn++) {
                assert_int_equal(ramet_history_head(history, lsn, &head, NULL),
                                 RAMET_OK);
                times +=
                    ramet_id_compare(&head.id.id, &racers[r].ids[i].id) == 0;
            }
            assert_int_equal(times, 1);
            found++;
        }
    }
    assert_int_equal(found, RACERS * WINS_EACH);
    ramet_pageset_init(&set); /* walks the line, and checks each hash */
    if (ramet_history_changed(
            history, point_at(history, RACERS * WINS_EACH / 2),
            point_at(history, RACERS * WINS_EACH), &set, &err) != RAMET_OK)
        fail_msg("%s", err.text);
    ramet_pageset_done(&set);
    ramet_history_close(history);
}

static void
open_directory(char path[32], struct ramet_objstore **out_store)
{
    strcpy(path, "/tmp/ramet-append-XXXXXX");
    assert_non_null(mkdtemp(path));
    assert_int_equal(ramet_dirstore_open(NULL, path, true, out_store, NULL),
                     RAMET_OK);
}

static void
remove_directory(const char *path)
{
    char command[64];

    snprintf(command, sizeof(command), "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
}

static void
append__threads_make_one_line(void **state)
{
    struct racer racers[RACERS];
    struct ramet_thread threads[RACERS];
    struct ramet_objstore *store;
    struct ramet_vid volume;
    char path[32];

    (void)state;
    open_directory(path, &store);
    assert_int_equal(ramet_id_new(&volume.id, NULL), RAMET_OK);
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.store = store, .volume = volume, .seed = i};
        assert_int_equal(
            ramet_thread_start(&threads[i], "race", race, &racers[i], NULL),
            RAMET_OK);
    }
    for (unsigned i = 0; i < RACERS; i++)
        ramet_thread_join(&threads[i]);
    check_race(store, &volume, racers);
    ramet_objstore_close(store);
    remove_directory(path);
}

static void
run_process(const char *path, const struct ramet_vid *volume, uint64_t seed,
            int result_fd)
{
    struct racer racer = {.volume = *volume, .seed = seed};

    if (ramet_dirstore_open(NULL, path, false, &racer.store, NULL) != RAMET_OK)
        _exit(1);
    race(&racer);
    ramet_objstore_close(racer.store);
    if (write(result_fd, racer.ids, sizeof(racer.ids)) != sizeof(racer.ids))
        _exit(1);
    _exit(0);
}

static void
append__processes_make_one_line(void **state)
{
    struct racer racers[RACERS];
    struct ramet_objstore *store;
    struct ramet_vid volume;
    int pipes[RACERS][2];
    char path[32];

    (void)state;
    open_directory(path, &store);
    assert_int_equal(ramet_id_new(&volume.id, NULL), RAMET_OK);
    for (unsigned i = 0; i < RACERS; i++) {
        pid_t pid;

        assert_int_equal(pipe(pipes[i]), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            run_process(path, &volume, i + 100, pipes[i][1]);
    }
    for (unsigned i = 0; i < RACERS; i++) {
        int status;

        assert_int_equal(
            read(pipes[i][0], racers[i].ids, sizeof(racers[i].ids)),
            sizeof(racers[i].ids));
        close(pipes[i][0]);
        close(pipes[i][1]);
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    check_race(store, &volume, racers);
    ramet_objstore_close(store);
    remove_directory(path);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(append__has_one_winner_per_slot),
        TEST(append__to_a_store_whose_reads_lag_is_not_decided),
        TEST(append__with_a_lost_reply_is_settled_by_the_same_bytes),
        TEST(fence__keeps_out_a_request_that_hangs_in_the_network),
        TEST(fence__learns_that_the_commit_had_landed),
        TEST(fence__can_be_the_first_commit),
        TEST(newest__notices_that_a_commit_is_gone),
        TEST(newest__notices_that_a_commit_is_another),
        TEST(append__leaves_no_gap_in_a_store_that_went_back),
        TEST(read__notices_a_head_that_is_not_its_successors_base),
        TEST(validate__refuses_what_does_not_fit),
        TEST(validate__looks_at_inline_frames_and_segments),
        TEST(validate__refuses_the_map_of_another_line),
        TEST(catalog_delete__leaves_an_end_that_nothing_follows),
        TEST(validate__refuses_what_follows_an_end),
        TEST(at_time__finds_the_newest_not_later),
        cmocka_unit_test(append__threads_make_one_line),
        cmocka_unit_test(append__processes_make_one_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
