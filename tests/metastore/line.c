/*
 * line.c - see line.h.
 */
#include "tests/metastore/line.h"

#include "tests/support/cmocka_all.h"

#include <stdlib.h>

#include "tests/support/faultstore.h"

void
line_open(struct line *f, uint64_t seed)
{
    assert_int_equal(ramet_memstore_open(&f->inner, NULL), RAMET_OK);
    f->store = ramet_faultstore_new(f->inner);
    assert_non_null(f->store);
    model_init(&f->model, f->store, seed);
}

void
line_close(struct line *f)
{
    model_done(&f->model);
    ramet_objstore_close(f->store);
    ramet_objstore_close(f->inner);
}

int
line_setup(void **state)
{
    struct line *const f = calloc(1, sizeof(*f));

    assert_non_null(f);
    line_open(f, 1);
    model_write(&f->model, 1, 10);
    model_write(&f->model, 3, 2);
    *state = f;
    return 0;
}

int
line_teardown(void **state)
{
    line_close(*state);
    free(*state);
    return 0;
}

void
line_encode_one(struct line *f, struct ramet_cid *out_id, struct ramet_buf *out)
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

void
line_seal(struct ramet_buf *object)
{
    const uint32_t head_length = ramet_get_le32(object->data + 8);
    const struct ramet_hash body =
        ramet_hash128(object->data + 308, head_length - 308);
    struct ramet_hash hash;

    memcpy(object->data + 276, &body, 16);
    hash = ramet_hash128(object->data, 292);
    memcpy(object->data + 292, &hash, 16);
}

enum ramet_rc
line_append(struct line *f, const struct ramet_buf *object,
            struct ramet_head *out_winner)
{
    return ramet_history_append(f->model.history, object->data, object->len,
                                out_winner, NULL);
}

uint64_t
line_newest_lsn(struct line *f)
{
    struct ramet_head head;

    assert_int_equal(ramet_history_newest(f->model.history, &head, NULL),
                     RAMET_OK);
    return head.lsn;
}

void
line_remove_commit(struct line *f, uint64_t lsn)
{
    char key[RAMET_KEY_MAX];

    ramet_commit_key(&f->model.volume, lsn, key);
    assert_int_equal(ramet_objstore_remove(f->inner, key, NULL), RAMET_OK);
}
