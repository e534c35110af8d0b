/*
 * test_copy.c - what a copy of a volume says of what arrived.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/thread.h"
#include "metastore/copy.h"
#include "tests/metastore/model.h"

static int
setup(void **state)
{
    struct model *const model = calloc(1, sizeof(*model));
    struct ramet_objstore *store;

    assert_non_null(model);
    assert_int_equal(ramet_memstore_open(&store, NULL), RAMET_OK);
    model_init(model, store, 9);
    *state = model;
    return 0;
}

static int
teardown(void **state)
{
    struct model *const model = *state;
    struct ramet_objstore *const store = model->store;

    model_done(model);
    ramet_objstore_close(store);
    free(model);
    return 0;
}

/* Inline and separate segments, chunks of tables, deltas, maps. */
static void
model_mix(struct model *model)
{
    model_write(model, 1, 20);
    model->delta_percent = 50;
    model->never_inline = true;
    model_write(model, 5, 10);
    model_write(model, 100, 260);
    model->never_inline = false;
    for (int i = 0; i < 4; i++)
        model_write_random(model, 60);
}

static bool
go_on(void *ctx, const struct ramet_copy_progress *progress)
{
    (void)ctx;
    (void)progress;
    return true;
}

static enum ramet_rc
copy_all(struct model *model, struct ramet_objstore *target)
{
    struct ramet_copy_progress progress;
    struct ramet_history *from, *to;
    struct ramet_head newest;
    enum ramet_rc rc;

    assert_int_equal(
        ramet_history_open(model->store, &model->volume, NULL, &from, NULL),
        RAMET_OK);
    assert_int_equal(
        ramet_history_open(target, &model->volume, NULL, &to, NULL), RAMET_OK);
    assert_int_equal(ramet_history_newest(from, &newest, NULL), RAMET_OK);
    rc = ramet_history_copy(from, &newest, to, go_on, NULL, &progress, NULL);
    ramet_history_close(from);
    ramet_history_close(to);
    return rc;
}

/* A store on the way to which a byte of the nth object of a kind that is put changes,
 * `from_end` bytes before its end at most. */
struct changing {
    struct ramet_objstore store;
    struct ramet_objstore *inner;
    const char *kind; /* a part of its key */
    struct ramet_mutex mutex;
    uint64_t nth, from_end;
    bool changed;
};

static enum ramet_rc
changing_put(struct ramet_objstore *store, const char *key,
             const struct iovec *parts, int part_count, struct ramet_err *err)
{
    struct changing *const self = (struct changing *)store;
    uint8_t *const bytes = malloc(parts[0].iov_len);
    const size_t len = parts[0].iov_len;
    struct iovec part = {bytes, len};
    enum ramet_rc rc;

    assert_int_equal(part_count, 1);
    assert_non_null(bytes);
    memcpy(bytes, parts[0].iov_base, len);
    ramet_mutex_lock(&self->mutex);
    if (strstr(key, self->kind) != NULL && self->nth-- == 0) {
        bytes[len - 1 - (self->from_end < len ? self->from_end : len - 1)] ^= 4;
        self->changed = true;
    }
    ramet_mutex_unlock(&self->mutex);
    rc = ramet_objstore_put(self->inner, key, &part, 1, err);
    free(bytes);
    return rc;
}

/* What goes in parts, a large map, arrives as it is. */
static enum ramet_rc
changing_upload_begin(struct ramet_objstore *store, const char *key,
                      struct ramet_upload **out_upload, struct ramet_err *err)
{
    return ramet_objstore_upload_begin(((struct changing *)store)->inner, key,
                                       out_upload, err);
}

static enum ramet_rc
changing_read(struct ramet_objstore *store, const char *key, uint64_t offset,
              void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    return ramet_objstore_read(((struct changing *)store)->inner, key, offset,
                               buf, len, out_got, err);
}

static enum ramet_rc
changing_size(struct ramet_objstore *store, const char *key,
              uint64_t *out_size_bytes, struct ramet_err *err)
{
    return ramet_objstore_size(((struct changing *)store)->inner, key,
                               out_size_bytes, err);
}

static enum ramet_rc
changing_list(struct ramet_objstore *store, const char *prefix,
              const char *after, ramet_objstore_visit *visit, void *ctx,
              struct ramet_err *err)
{
    return ramet_objstore_list(((struct changing *)store)->inner, prefix, after,
                               visit, ctx, err);
}

static enum ramet_rc
changing_remove(struct ramet_objstore *store, const char *key,
                struct ramet_err *err)
{
    return ramet_objstore_remove(((struct changing *)store)->inner, key, err);
}

/* Does a copy to a store to which that happens say so? *out_changed: it happened. */
static void
expect_told(struct model *model, const char *kind, uint64_t nth,
            uint64_t from_end, bool *out_changed)
{
    static const struct ramet_objstore_ops ops = {.put = changing_put,
                                                  .upload_begin =
                                                      changing_upload_begin,
                                                  .read = changing_read,
                                                  .size = changing_size,
                                                  .list = changing_list,
                                                  .remove = changing_remove};
    struct changing target = {.store = {.ops = &ops, .name = "changing"},
                              .kind = kind,
                              .nth = nth,
                              .from_end = from_end};
    enum ramet_rc rc;

    ramet_mutex_init(&target.mutex);
    assert_int_equal(ramet_memstore_open(&target.inner, NULL), RAMET_OK);
    rc = copy_all(model, &target.store);
    assert_int_equal(rc, target.changed ? RAMET_ECORRUPT : RAMET_OK);
    *out_changed = target.changed;
    ramet_objstore_close(target.inner);
    ramet_mutex_done(&target.mutex);
}

/* Whichever object arrives otherwise than it was sent, and wherever it changed: a copy
 * that says that it is done is whole. */
static void
copy__of_what_changed_on_the_way__says_so(void **state)
{
    static const uint64_t places[] = {0, 40, 1000, UINT64_MAX};

    model_mix(*state);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        bool changed = true;

        for (uint64_t n = 0; changed; n++)
            expect_told(*state, "", n, places[i], &changed);
    }
}

/* A commit of so many segments that its head is compared in pieces. */
static void
copy__of_a_large_head_that_changed_on_the_way__says_so(void **state)
{
    enum { SEGMENTS = 50000 };
    struct model *const model = *state;
    bool changed;

    model->segment_pages = 1;
    model->never_inline = true;
    model_write(model, 1, SEGMENTS);
    assert_true(model->last_head_bytes > 1u << 20);
    expect_told(model, "/commits/", 0, 0, &changed);
    assert_true(changed);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(copy__of_what_changed_on_the_way__says_so),
        T(copy__of_a_large_head_that_changed_on_the_way__says_so),
    };
    return cmocka_run_group_tests_name("copy", tests, NULL, NULL);
}
