/*
 * test_append.c - the commit point: conflicts, exactly once, fences, and a store
 * that went back in time.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "tests/metastore/line.h"
#include "tests/support/faultstore.h"
#include "tests/support/point.h"

/* A store says that the slot is taken, and then that nothing is there. */
static void
append__to_a_store_whose_reads_lag_is_not_decided(void **state)
{
    struct line *const f = *state;
    struct ramet_buf object;
    struct ramet_cid id;

    line_encode_one(f, &id, &object);
    ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, 0, RAMET_EEXIST);
    assert_int_equal(line_append(f, &object, NULL), RAMET_EUNKNOWN);
    assert_true(ramet_faultstore_fired(f->store));
    assert_int_equal(line_append(f, &object, NULL), RAMET_OK);
    assert_int_equal(line_newest_lsn(f), 3);
    ramet_buf_done(&object);
}

static void
append__has_one_winner_per_slot(void **state)
{
    struct line *const f = *state;
    struct ramet_buf first, second;
    struct ramet_cid first_id, second_id;
    struct ramet_head winner = {.lsn = 0};

    line_encode_one(f, &first_id, &first);
    line_encode_one(f, &second_id, &second);
    assert_int_equal(line_append(f, &first, NULL), RAMET_OK);
    assert_int_equal(line_append(f, &second, &winner), RAMET_ECONFLICT);
    assert_int_equal(winner.lsn, 3);
    assert_memory_equal(&winner.id, &first_id, sizeof(first_id));
    assert_int_equal(line_append(f, &first, &winner), RAMET_OK); /* once more */
    assert_int_equal(line_newest_lsn(f), 3);
    ramet_buf_done(&second);
    ramet_buf_done(&first);
}

static void
append__with_a_lost_reply_is_resolved_by_the_same_bytes(void **state)
{
    struct line *const f = *state;
    struct ramet_buf object;
    struct ramet_cid id;

    line_encode_one(f, &id, &object);
    ramet_faultstore_arm(f->store, RAMET_FAULT_LOSE_REPLY, 0, RAMET_OK);
    assert_int_equal(line_append(f, &object, NULL), RAMET_EUNKNOWN);
    assert_int_equal(line_append(f, &object, NULL), RAMET_OK);
    model_reopen(&f->model);
    assert_int_equal(line_newest_lsn(f), 3);
    assert_int_equal(line_append(f, &object, NULL), RAMET_OK);
    assert_int_equal(line_newest_lsn(f), 3);
    ramet_buf_done(&object);
}

/* Of a store behind which nobody sees to it, and that is dear to list. */
static void
append__to_what_was_deleted_meanwhile__is_taken_back(void **state)
{
    struct line *const f = *state;
    struct ramet_buf object;
    struct ramet_cid id;
    char key[RAMET_KEY_MAX];
    uint8_t byte;
    size_t got;

    f->store->traits = 0;
    model_reopen(&f->model);
    line_encode_one(f, &id, &object);
    line_remove_commit(f, 1);
    line_remove_commit(f, 2);
    assert_int_equal(line_append(f, &object, NULL), RAMET_EWENTBACK);
    ramet_commit_key(&f->model.volume, 3, key);
    assert_int_equal(
        ramet_objstore_read(f->inner, key, 0, &byte, 1, &got, NULL),
        RAMET_ENOTFOUND);
    ramet_buf_done(&object);
}

static void
fence__keeps_out_a_request_that_hangs_in_the_network(void **state)
{
    struct line *const f = *state;
    const struct ramet_rid writer = {.id = {{5}}};
    struct ramet_buf object, fence;
    struct ramet_cid id, fence_id;
    struct ramet_head base, winner;
    struct ramet_commit_object commit;

    line_encode_one(f, &id, &object);
    ramet_faultstore_arm(f->store, RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(line_append(f, &object, NULL), RAMET_EUNKNOWN);
    assert_int_equal(line_newest_lsn(f), 2); /* an empty slot proves nothing */
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
    assert_int_equal(line_append(f, &fence, NULL), RAMET_OK);
    ramet_faultstore_land(f->store);
    assert_int_equal(line_append(f, &object, &winner), RAMET_ECONFLICT);
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
    struct line *const f = *state;
    const struct ramet_rid writer = {.id = {{5}}};
    struct ramet_buf object, fence;
    struct ramet_cid id, fence_id;
    struct ramet_head base, winner;

    assert_int_equal(ramet_history_head(f->model.history, 2, &base, NULL),
                     RAMET_OK);
    line_encode_one(f, &id, &object);
    ramet_faultstore_arm(f->store, RAMET_FAULT_LATE, 0, RAMET_OK);
    assert_int_equal(line_append(f, &object, NULL), RAMET_EUNKNOWN);
    ramet_buf_init(&fence, 1u << 20);
    assert_int_equal(ramet_history_fence(f->model.history, &base, &writer,
                                         RAMET_KIND_SQLITE, &fence, &fence_id,
                                         NULL),
                     RAMET_OK);
    ramet_faultstore_land(f->store);
    assert_int_equal(line_append(f, &fence, &winner), RAMET_ECONFLICT);
    assert_memory_equal(&winner.id, &id, sizeof(id));
    ramet_buf_done(&fence);
    ramet_buf_done(&object);
}

static void
fence__can_be_the_first_commit(void **state)
{
    struct line *const f = *state;
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
newest__notices_that_a_commit_is_gone(void **state)
{
    struct line *const f = *state;
    struct ramet_head head;

    for (unsigned cheap = 0; cheap < 2; cheap++) {
        struct ramet_err err = {.text = ""};

        f->store->traits = cheap ? RAMET_STORE_LISTS_CHEAPLY : 0;
        model_reopen(&f->model);
        model_write(&f->model, 1, 1);
        assert_int_equal(line_newest_lsn(f), f->model.lsn);
        line_remove_commit(f, f->model.lsn);
        for (int i = 0; i < 2; i++) { /* and goes on saying so */
            assert_int_equal(
                ramet_history_newest(f->model.history, &head, &err),
                RAMET_EWENTBACK);
            assert_non_null(strstr(err.text, "back in time"));
        }
        ramet_history_forget(f->model.history);
        assert_int_equal(line_newest_lsn(f), f->model.lsn - 1);
        model_drop_newest(&f->model);
    }
}

static void
remove_third(void *ctx)
{
    line_remove_commit(ctx, 3);
}

/* Commit 3 goes before the nth request of who looks for the newest, and has seen
 * commit 2, or nothing. */
static enum ramet_rc
look_while_it_goes(struct line *f, bool saw_second, uint64_t nth)
{
    struct ramet_history *reader = NULL;
    struct ramet_head head;
    enum ramet_rc rc;

    assert_int_equal(
        ramet_history_open(f->store, &f->model.volume, NULL, &reader, NULL),
        RAMET_OK);
    if (saw_second)
        assert_int_equal(ramet_history_newest(reader, &head, NULL), RAMET_OK);
    model_write(&f->model, 2, 1);
    ramet_faultstore_meanwhile(f->store, nth, remove_third, f);
    rc = ramet_history_newest(reader, &head, NULL);
    ramet_history_close(reader);
    ramet_faultstore_meanwhile(f->store, 0, NULL, NULL);
    remove_third(f); /* if it did not go in so few */
    model_reopen(&f->model);
    model_drop_newest(&f->model);
    return rc;
}

/* A restore takes it as it is looked for, even as it was just found. */
static void
newest__goes_as_it_is_looked_for__is_no_error_but_that(void **state)
{
    struct line *const f = *state;
    unsigned told = 0;

    for (unsigned kind = 0; kind < 4; kind++) {
        f->store->traits = kind % 2 != 0 ? RAMET_STORE_LISTS_CHEAPLY : 0;
        for (uint64_t nth = 0; nth < 6; nth++) {
            const enum ramet_rc rc = look_while_it_goes(f, kind >= 2, nth);

            assert_true(rc == RAMET_OK || rc == RAMET_EWENTBACK);
            told += rc != RAMET_OK;
        }
    }
    assert_true(told >= 4);
}

static void
newest__notices_that_a_commit_is_another(void **state)
{
    struct line *const f = *state;
    struct ramet_buf one, other, next;
    struct ramet_cid ids[3];
    struct ramet_head head;
    struct ramet_history *old;

    line_encode_one(f, &ids[0], &one);
    line_encode_one(f, &ids[1], &other);
    assert_int_equal(line_append(f, &one, NULL), RAMET_OK);
    assert_int_equal(line_newest_lsn(f), 3);
    line_remove_commit(f, 3);
    old = f->model.history;
    f->model.history = NULL;
    model_reopen(&f->model); /* another machine, after the restore */
    assert_int_equal(line_append(f, &other, NULL), RAMET_OK);
    f->store->traits = 0;
    assert_int_equal(ramet_history_newest(old, &head, NULL), RAMET_EWENTBACK);
    line_encode_one(f, &ids[2], &next);
    assert_int_equal(line_append(f, &next, NULL), RAMET_OK);
    assert_int_equal(ramet_history_newest(old, &head, NULL), RAMET_EWENTBACK);
    f->store->traits = RAMET_STORE_LISTS_CHEAPLY;
    assert_int_equal(ramet_history_newest(old, &head, NULL), RAMET_EWENTBACK);
    ramet_history_forget(old);
    assert_int_equal(ramet_history_newest(old, &head, NULL), RAMET_OK);
    assert_int_equal(head.lsn, 4);
    /* What is asked for by its number alone is of this line as well. */
    assert_int_equal(ramet_history_head(old, 3, &head, NULL), RAMET_OK);
    assert_memory_equal(head.id.id.bytes, ids[1].id.bytes, RAMET_ID_SIZE);
    ramet_history_close(old);
    ramet_buf_done(&next);
    ramet_buf_done(&other);
    ramet_buf_done(&one);
}

static void
append__leaves_no_gap_in_a_store_that_went_back(void **state)
{
    struct line *const f = *state;
    struct ramet_buf object;
    struct ramet_cid id;

    line_encode_one(f, &id, &object);
    line_remove_commit(f, 2);
    model_reopen(&f->model);
    assert_int_equal(line_append(f, &object, NULL), RAMET_EWENTBACK);
    assert_int_equal(line_newest_lsn(f), 1);
    ramet_buf_done(&object);
}

static bool
has_commit(struct line *f, uint64_t lsn)
{
    char key[RAMET_KEY_MAX];
    uint64_t size;

    ramet_commit_key(&f->model.volume, lsn, key);
    return ramet_objstore_size(f->inner, key, &size, NULL) == RAMET_OK;
}

static void
append__on_another_base_than_is_there__puts_nothing(void **state)
{
    struct line *const f = *state;
    struct ramet_buf object;
    struct ramet_cid id;

    line_encode_one(f, &id, &object);
    object.data[80] ^= 1;
    object.data[196] ^= 1; /* the last content commit is the same */
    line_seal(&object);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(line_append(f, &object, NULL), RAMET_EWENTBACK);
        assert_false(has_commit(f, 3));
        model_reopen(&f->model);
    }
    ramet_buf_done(&object);
}

static void
append__on_a_base_that_cannot_be_looked_at__puts_nothing(void **state)
{
    struct line *const f = *state;
    struct ramet_buf object;
    struct ramet_cid id;

    line_encode_one(f, &id, &object);
    model_reopen(&f->model);
    ramet_faultstore_arm(f->store, RAMET_FAULT_FAIL, 0, RAMET_EUNREACHABLE);
    assert_int_equal(line_append(f, &object, NULL), RAMET_EUNREACHABLE);
    assert_true(ramet_faultstore_fired(f->store));
    assert_false(has_commit(f, 3));
    assert_int_equal(line_append(f, &object, NULL), RAMET_OK);
    assert_true(has_commit(f, 3));
    ramet_buf_done(&object);
}

static void
read__notices_a_head_that_is_not_its_successors_base(void **state)
{
    struct line *const f = *state;
    const uint32_t pgno = 1;
    struct ramet_buf one, other, next;
    struct ramet_cid id;
    struct ramet_located frame;
    struct ramet_pageset set;
    char key[RAMET_KEY_MAX];
    struct iovec part;

    line_encode_one(f, &id, &one);
    line_encode_one(f, &id, &other);
    assert_int_equal(line_append(f, &one, NULL), RAMET_OK);
    line_encode_one(f, &id, &next);
    assert_int_equal(line_append(f, &next, NULL), RAMET_OK);
    line_remove_commit(f, 3);
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

static void
replace_commit(struct line *f, uint64_t lsn, const struct ramet_buf *object)
{
    struct iovec part = {object->data, object->len};
    char key[RAMET_KEY_MAX];

    line_remove_commit(f, lsn);
    ramet_commit_key(&f->model.volume, lsn, key);
    assert_int_equal(ramet_objstore_put(f->inner, key, &part, 1, NULL),
                     RAMET_OK);
}

/* One that read LSN 3 before the store went back, and another commit came there. */
static struct ramet_history *
history_with_a_lost_commit(struct line *f, const struct ramet_buf *lost,
                           const struct ramet_buf *now)
{
    struct ramet_history *history;
    struct ramet_head head;

    replace_commit(f, 3, lost);
    assert_int_equal(
        ramet_history_open(f->store, &f->model.volume, NULL, &history, NULL),
        RAMET_OK);
    assert_int_equal(ramet_history_head(history, 3, &head, NULL), RAMET_OK);
    replace_commit(f, 3, now);
    return history;
}

/* A point further on says by its hash which commits are before it. */
static void
read__asks_the_store_where_the_cache_has_another_line(void **state)
{
    struct line *const f = *state;
    const uint32_t pgno = 1;
    struct ramet_buf lost, now, next;
    struct ramet_point second, fourth;
    struct ramet_located located;
    struct ramet_history *history;
    struct ramet_pageset set;
    struct ramet_cid id;

    line_encode_one(f, &id, &lost);
    line_encode_one(f, &id, &now);
    assert_int_equal(line_append(f, &now, NULL), RAMET_OK);
    line_encode_one(f, &id, &next);
    assert_int_equal(line_append(f, &next, NULL), RAMET_OK);
    second = *point_at(f->model.history, 2);
    fourth = *point_at(f->model.history, 4);

    history = history_with_a_lost_commit(f, &lost, &now);
    assert_int_equal(
        ramet_history_locate(history, &fourth, &pgno, 1, &located, NULL),
        RAMET_OK);
    assert_int_equal(located.lsn, 1);
    ramet_history_close(history);

    history = history_with_a_lost_commit(f, &lost, &now);
    ramet_pageset_init(&set);
    assert_int_equal(
        ramet_history_changed(history, &second, &fourth, &set, NULL), RAMET_OK);
    assert_true(ramet_pageset_contains(&set, 2));
    ramet_pageset_done(&set);
    ramet_history_close(history);
    ramet_buf_done(&next);
    ramet_buf_done(&now);
    ramet_buf_done(&lost);
}

/* What a reader keeps of a commit with its number is not of this one. */
static void
read__of_another_commit_of_one_number__is_of_that(void **state)
{
    struct line *const f = *state;
    const uint32_t pgno = 2;
    struct ramet_buf first, second;
    struct ramet_located before, after;
    struct ramet_point at;
    struct ramet_history *other;
    struct ramet_cid id;

    f->model.pages_per_frame = 1;
    line_encode_one(f, &id, &first);
    f->model.never_inline = true;
    line_encode_one(f, &id, &second);
    replace_commit(f, 3, &first);
    at = *point_at(f->model.history, 3);
    assert_int_equal(
        ramet_history_locate(f->model.history, &at, &pgno, 1, &before, NULL),
        RAMET_OK);
    replace_commit(f, 3, &second);
    assert_int_equal(
        ramet_history_open(f->store, &f->model.volume, NULL, &other, NULL),
        RAMET_OK);
    at = *point_at(other, 3);
    ramet_history_close(other);
    assert_int_equal(
        ramet_history_locate(f->model.history, &at, &pgno, 1, &after, NULL),
        RAMET_OK);
    assert_int_equal(before.image.extent.kind, RAMET_IN_COMMIT);
    assert_int_equal(after.image.extent.kind, RAMET_IN_SEGMENT);
    ramet_buf_done(&second);
    ramet_buf_done(&first);
}

static void
append__asks_the_store_where_the_cache_has_another_line(void **state)
{
    struct line *const f = *state;
    const struct ramet_rid writer = {.id = {{5}}};
    struct ramet_buf lost, now, next, fence;
    struct ramet_history *history;
    struct ramet_head third;
    struct ramet_cid id;

    line_encode_one(f, &id, &lost);
    line_encode_one(f, &id, &now);
    assert_int_equal(line_append(f, &now, NULL), RAMET_OK);
    line_encode_one(f, &id, &next);
    assert_int_equal(ramet_history_head(f->model.history, 3, &third, NULL),
                     RAMET_OK);

    history = history_with_a_lost_commit(f, &lost, &now);
    ramet_buf_init(&fence, 1u << 20);
    assert_int_equal(ramet_history_fence(history, &third, &writer,
                                         RAMET_KIND_SQLITE, &fence, &id, NULL),
                     RAMET_OK);
    ramet_buf_done(&fence);
    ramet_history_close(history);

    history = history_with_a_lost_commit(f, &lost, &now);
    assert_int_equal(
        ramet_history_append(history, next.data, next.len, NULL, NULL),
        RAMET_OK);
    ramet_history_close(history);
    assert_int_equal(line_newest_lsn(f), 4);
    ramet_buf_done(&next);
    ramet_buf_done(&now);
    ramet_buf_done(&lost);
}

/* That it was ours once is no success of this try. */
static void
append__of_what_was_lost__is_a_conflict_though_the_cache_has_it(void **state)
{
    struct line *const f = *state;
    struct ramet_buf lost, now;
    struct ramet_history *history;
    struct ramet_head winner = {.lsn = 0};
    struct ramet_head third;
    struct ramet_cid id;

    line_encode_one(f, &id, &lost);
    line_encode_one(f, &id, &now);
    assert_int_equal(line_append(f, &now, NULL), RAMET_OK);
    assert_int_equal(ramet_history_head(f->model.history, 3, &third, NULL),
                     RAMET_OK);
    history = history_with_a_lost_commit(f, &lost, &now);
    assert_int_equal(
        ramet_history_append(history, lost.data, lost.len, &winner, NULL),
        RAMET_ECONFLICT);
    assert_int_equal(winner.lsn, 3);
    assert_memory_equal(&winner.hash, &third.hash, sizeof(third.hash));
    ramet_history_close(history);
    ramet_buf_done(&now);
    ramet_buf_done(&lost);
}

#define MAP_AT 34u /* so far past the last one that a map is made */

/* One that read LSN MAP_AT and made a map of it, before the store went back. */
static struct ramet_history *
history_with_a_map_of_a_lost_commit(struct line *f,
                                    const struct ramet_buf *lost,
                                    const struct ramet_buf *now)
{
    struct ramet_history *history;

    replace_commit(f, MAP_AT, lost);
    assert_int_equal(
        ramet_history_open(f->store, &f->model.volume, NULL, &history, NULL),
        RAMET_OK);
    assert_int_equal(ramet_history_make_map(history, MAP_AT, NULL), RAMET_OK);
    assert_int_equal(history->known_map.ref.lsn, MAP_AT);
    replace_commit(f, MAP_AT, now);
    return history;
}

/* What it knows of the lost line says nothing of this one. */
static void
prepare__of_another_line__refers_to_no_map_of_the_lost_one(void **state)
{
    struct line *const f = *state;
    const struct ramet_rid writer = {.id = {{5}}};
    struct ramet_commit_object commit;
    struct ramet_buf lost, now, next, fence;
    struct ramet_history *history;
    struct ramet_head newest;
    struct ramet_hash hash;
    struct ramet_cid id;

    while (line_newest_lsn(f) < MAP_AT - 1) {
        line_encode_one(f, &id, &next);
        assert_int_equal(line_append(f, &next, NULL), RAMET_OK);
        ramet_buf_done(&next);
    }
    line_encode_one(f, &id, &lost);
    line_encode_one(f, &id, &now);
    assert_int_equal(line_append(f, &now, NULL), RAMET_OK);
    line_encode_one(f, &id, &next);
    assert_int_equal(line_append(f, &next, NULL), RAMET_OK);
    assert_int_equal(
        ramet_history_head(f->model.history, MAP_AT + 1, &newest, NULL),
        RAMET_OK);

    history = history_with_a_map_of_a_lost_commit(f, &lost, &now);
    ramet_buf_init(&fence, 1u << 20);
    assert_int_equal(ramet_history_fence(history, &newest, &writer,
                                         RAMET_KIND_SQLITE, &fence, &id, NULL),
                     RAMET_OK);
    assert_int_equal(ramet_commit_decode(fence.data, fence.len,
                                         &f->model.volume, MAP_AT + 2, 0,
                                         &commit, &hash, NULL),
                     RAMET_OK);
    assert_int_not_equal(commit.map.lsn, MAP_AT);
    ramet_commit_done(&commit);
    assert_int_equal(
        ramet_history_append(history, fence.data, fence.len, NULL, NULL),
        RAMET_OK);
    ramet_buf_done(&fence);
    ramet_history_close(history);
    ramet_buf_done(&next);
    ramet_buf_done(&now);
    ramet_buf_done(&lost);
}

/* A restore came between the look for the newest and what is made on it, and nothing
 * is known by a cache: the store went back, and nothing of it is damaged. */
static void
prepare__on_what_a_restore_took__says_that_it_went_back(void **state)
{
    struct line *const f = *state;
    const struct ramet_rid writer = {.id = {{5}}};
    struct ramet_buf lost, now, fence;
    struct ramet_history *history;
    struct ramet_head newest;
    struct ramet_cid id;

    line_encode_one(f, &id, &lost);
    line_encode_one(f, &id, &now);
    replace_commit(f, 3, &lost);
    assert_int_equal(
        ramet_history_open(f->store, &f->model.volume, NULL, &history, NULL),
        RAMET_OK);
    assert_int_equal(ramet_history_newest(history, &newest, NULL), RAMET_OK);
    ramet_buf_init(&fence, 1u << 20);
    for (unsigned gone = 0; gone < 2; gone++) {
        replace_commit(f, 3, &now);
        if (gone != 0)
            line_remove_commit(f, 3);
        ramet_history_forget(history);
        assert_int_equal(ramet_history_fence(history, &newest, &writer,
                                             RAMET_KIND_SQLITE, &fence, &id,
                                             NULL),
                         RAMET_EWENTBACK);
    }
    ramet_history_close(history);
    ramet_buf_done(&fence);
    ramet_buf_done(&now);
    ramet_buf_done(&lost);
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
    struct line *const f = *state;
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

int
main(void)
{
#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, line_setup, line_teardown)
    const struct CMUnitTest tests[] = {
        TEST(append__has_one_winner_per_slot),
        TEST(append__to_a_store_whose_reads_lag_is_not_decided),
        TEST(append__to_what_was_deleted_meanwhile__is_taken_back),
        TEST(append__with_a_lost_reply_is_resolved_by_the_same_bytes),
        TEST(fence__keeps_out_a_request_that_hangs_in_the_network),
        TEST(fence__learns_that_the_commit_had_landed),
        TEST(fence__can_be_the_first_commit),
        TEST(newest__notices_that_a_commit_is_gone),
        TEST(newest__notices_that_a_commit_is_another),
        TEST(newest__goes_as_it_is_looked_for__is_no_error_but_that),
        TEST(append__leaves_no_gap_in_a_store_that_went_back),
        TEST(append__on_another_base_than_is_there__puts_nothing),
        TEST(append__on_a_base_that_cannot_be_looked_at__puts_nothing),
        TEST(read__of_another_commit_of_one_number__is_of_that),
        TEST(read__notices_a_head_that_is_not_its_successors_base),
        TEST(read__asks_the_store_where_the_cache_has_another_line),
        TEST(append__asks_the_store_where_the_cache_has_another_line),
        TEST(append__of_what_was_lost__is_a_conflict_though_the_cache_has_it),
        TEST(prepare__of_another_line__refers_to_no_map_of_the_lost_one),
        TEST(prepare__on_what_a_restore_took__says_that_it_went_back),
        TEST(at_time__finds_the_newest_not_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
