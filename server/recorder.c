/*
 * recorder.c - see recorder.h. Reads only: nothing else goes through it.
 */
#include "server/recorder.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"

static enum ramet_rc
note(struct ramet_recorder *recorder, const char *key, uint64_t offset,
     size_t asked, size_t got, struct ramet_err *err)
{
    struct ramet_record *record;

    assert(recorder->count <= recorder->capacity);
    if (recorder->count == recorder->capacity) {
        const size_t capacity =
            recorder->capacity > 0 ? recorder->capacity * 2 : 64;
        struct ramet_record *grown;

        if (recorder->count == RAMET_RECORDS_MAX)
            return RAMET_FAIL(err, RAMET_ETOOBIG,
                              "these pages need more than %u ranges: ask for "
                              "fewer at once",
                              RAMET_RECORDS_MAX);
        grown = ramet_realloc(recorder->records,
                              capacity * sizeof(*recorder->records));
        if (grown == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "recorder: out of memory");
        recorder->records = grown;
        recorder->capacity = capacity;
    }
    record = &recorder->records[recorder->count++];
    assert(strlen(key) < sizeof(record->key));
    strcpy(record->key, key);
    record->offset = offset;
    record->asked = asked;
    record->got = got;
    return RAMET_OK;
}

static enum ramet_rc
record_read(struct ramet_objstore *store, const char *key, uint64_t offset,
            void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct ramet_recorder *recorder = (struct ramet_recorder *)store;
    enum ramet_rc rc;
    size_t got;

    rc = ramet_objstore_read(recorder->inner, key, offset, buf, len, &got, err);
    if (rc == RAMET_OK)
        rc = note(recorder, key, offset, len, got, err);
    if (rc == RAMET_OK)
        *out_got = got;
    return rc;
}

struct recording {
    struct ramet_recorder *recorder;
    ramet_part_visit *visit;
    void *ctx;
};

static enum ramet_rc
record_part(void *ctx, const struct ramet_part *part, size_t got,
            struct ramet_err *err)
{
    struct recording *const recording = ctx;
    const enum ramet_rc rc =
        note(recording->recorder, part->key, part->offset, part->len, got, err);

    return rc == RAMET_OK ? recording->visit(recording->ctx, part, got, err)
                          : rc;
}

static enum ramet_rc
record_read_parts(struct ramet_objstore *store, const struct ramet_part *parts,
                  size_t count, ramet_part_visit *visit, void *ctx,
                  struct ramet_err *err)
{
    struct recording recording = {(struct ramet_recorder *)store, visit, ctx};

    return ramet_objstore_read_parts(recording.recorder->inner, parts, count,
                                     record_part, &recording, err);
}

static enum ramet_rc
record_size(struct ramet_objstore *store, const char *key, uint64_t *out,
            struct ramet_err *err)
{
    return ramet_objstore_size(((struct ramet_recorder *)store)->inner, key,
                               out, err);
}

static enum ramet_rc
record_list(struct ramet_objstore *store, const char *prefix, const char *after,
            ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    return ramet_objstore_list(((struct ramet_recorder *)store)->inner, prefix,
                               after, visit, ctx, err);
}

static void
record_refresh(struct ramet_objstore *store, const char *key)
{
    ramet_objstore_refresh(((struct ramet_recorder *)store)->inner, key);
}

static void
record_doubt(struct ramet_objstore *store, const char *key, uint64_t offset,
             uint64_t len)
{
    ramet_objstore_doubt(((struct ramet_recorder *)store)->inner, key, offset,
                         len);
}

static void
record_close(struct ramet_objstore *store)
{
    (void)store;
}

static const struct ramet_objstore_ops record_ops = {
    .read = record_read,
    .read_parts = record_read_parts,
    .size = record_size,
    .list = record_list,
    .refresh = record_refresh,
    .doubt = record_doubt,
    .close = record_close,
};

void
ramet_recorder_init(struct ramet_recorder *recorder,
                    struct ramet_objstore *inner)
{
    assert(inner != NULL);
    *recorder = (struct ramet_recorder){
        .store = {.ops = &record_ops,
                  .traits = inner->traits | RAMET_STORE_SENDS_AHEAD,
                  .name = inner->name},
        .inner = inner,
    };
}

void
ramet_recorder_done(struct ramet_recorder *recorder)
{
    ramet_free(recorder->records);
    recorder->records = NULL;
}
