/*
 * memstore.c - an object store in memory, for tests and stateless work.
 *
 * (1) objects[] is sorted by key, without doubles; (2) an object's bytes never
 * change once it is in objects[]; (3) everything is touched under `mutex`
 * only, and no visitor runs under it.
 *
 * Layer: pagestore.
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"
#include "pagestore/objstore.h"

struct object {
    char *key;
    uint8_t *data;
    size_t len;
};

struct memstore {
    struct ramet_objstore base;
    struct ramet_mutex mutex;
    struct object *objects; /* invariant (1) */
    size_t count;
    size_t capacity;
};

struct mem_upload {
    struct ramet_upload base;
    char *key;
    uint8_t *data;
    size_t len;
    size_t capacity;
};

/* Index of the first object whose key is >= `key`. */
static size_t
find_slot(const struct memstore *mem, const char *key, bool *out_found)
{
    size_t low = 0;
    size_t high = mem->count;

    assert(mem->count <= mem->capacity);
    while (low < high) { /* before low: < key; from high on: >= key */
        const size_t middle = low + (high - low) / 2;

        if (strcmp(mem->objects[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    assert(low == high && low <= mem->count);
    *out_found = low < mem->count && strcmp(mem->objects[low].key, key) == 0;
    return low;
}

static enum ramet_rc
grow_objects(struct memstore *mem)
{
    const size_t capacity = mem->capacity == 0 ? 16 : mem->capacity * 2;
    struct object *objects;

    assert(mem->count <= mem->capacity);
    if (mem->count < mem->capacity)
        return RAMET_OK;
    objects = ramet_realloc(mem->objects, capacity * sizeof(*objects));
    if (objects == NULL)
        return RAMET_ENOMEM;
    mem->objects = objects;
    mem->capacity = capacity;
    return RAMET_OK;
}

/* Takes object.key and object.data over on RAMET_OK only. */
static enum ramet_rc
insert_object(struct memstore *mem, struct object object, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;
    bool found;
    size_t at;

    assert(object.key != NULL);
    ramet_mutex_lock(&mem->mutex);
    at = find_slot(mem, object.key, &found);
    if (found) {
        rc = RAMET_FAIL(err, RAMET_EEXIST, "memory/%s: exists", object.key);
        goto done;
    }
    rc = grow_objects(mem);
    if (rc != RAMET_OK) {
        rc = RAMET_FAIL(err, rc, "memory/%s: no memory", object.key);
        goto done;
    }
    assert(mem->count < mem->capacity && at <= mem->count);
    memmove(mem->objects + at + 1, mem->objects + at,
            (mem->count - at) * sizeof(*mem->objects));
    mem->objects[at] = object;
    mem->count++;
done:
    ramet_mutex_unlock(&mem->mutex);
    return rc;
}

static enum ramet_rc
mem_put(struct ramet_objstore *store, const char *key,
        const struct iovec *parts, int part_count, struct ramet_err *err)
{
    struct object object = {.key = ramet_strdup(key)};
    enum ramet_rc rc;

    for (int i = 0; i < part_count; i++)
        object.len += parts[i].iov_len;
    object.data = ramet_alloc(object.len);
    if (object.key == NULL || object.data == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "memory/%s: %zu bytes", key,
                        object.len);
        goto done;
    }
    for (size_t i = 0, at = 0; i < (size_t)part_count; i++) {
        if (parts[i].iov_len > 0)
            memcpy(object.data + at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    assert(object.key != NULL && object.data != NULL);
    rc = insert_object((struct memstore *)store, object, err);
    if (rc == RAMET_OK)
        object = (struct object){0}; /* now the store's */
done:
    ramet_free(object.key);
    ramet_free(object.data);
    return rc;
}

static void
mem_upload_abort(struct ramet_upload *base)
{
    struct mem_upload *upload = (struct mem_upload *)base;

    assert(upload->len <= upload->capacity);
    ramet_free(upload->key);
    ramet_free(upload->data);
    ramet_free(upload);
}

static enum ramet_rc
mem_upload_begin(struct ramet_objstore *store, const char *key,
                 struct ramet_upload **out_upload, struct ramet_err *err)
{
    struct mem_upload *upload = ramet_calloc(1, sizeof(*upload));

    assert(key != NULL);
    if (upload != NULL)
        upload->key = ramet_strdup(key);
    if (upload == NULL || upload->key == NULL) {
        ramet_free(upload);
        return RAMET_FAIL(err, RAMET_ENOMEM, "memory/%s: no memory", key);
    }
    upload->base.store = store;
    *out_upload = &upload->base;
    return RAMET_OK;
}

static enum ramet_rc
mem_upload_write(struct ramet_upload *base, const void *data, size_t len,
                 struct ramet_err *err)
{
    struct mem_upload *upload = (struct mem_upload *)base;
    size_t capacity = upload->capacity == 0 ? 4096 : upload->capacity;
    uint8_t *grown;

    assert(upload->len <= upload->capacity);
    if (len > SIZE_MAX / 4 - upload->len)
        return RAMET_FAIL(err, RAMET_ENOMEM, "memory/%s: %zu more bytes",
                          upload->key, len);
    while (capacity - upload->len < len)
        capacity *= 2;
    if (capacity != upload->capacity) {
        grown = ramet_realloc(upload->data, capacity);
        if (grown == NULL)
            return RAMET_FAIL(err, RAMET_ENOMEM, "memory/%s: %zu bytes",
                              upload->key, capacity);
        upload->data = grown;
        upload->capacity = capacity;
    }
    assert(len <= upload->capacity - upload->len);
    if (len > 0)
        memcpy(upload->data + upload->len, data, len);
    upload->len += len;
    return RAMET_OK;
}

static enum ramet_rc
mem_upload_finish(struct ramet_upload *base, struct ramet_err *err)
{
    struct mem_upload *upload = (struct mem_upload *)base;
    const struct object object = {upload->key, upload->data, upload->len};
    const enum ramet_rc rc =
        insert_object((struct memstore *)base->store, object, err);

    assert(upload->key != NULL);
    if (rc == RAMET_OK) {
        upload->key = NULL; /* now the store's */
        upload->data = NULL;
    }
    mem_upload_abort(base);
    return rc;
}

static enum ramet_rc
mem_read(struct ramet_objstore *store, const char *key, uint64_t offset,
         void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct memstore *mem = (struct memstore *)store;
    size_t got = 0;
    size_t at;
    bool found;

    ramet_mutex_lock(&mem->mutex);
    at = find_slot(mem, key, &found);
    if (found && offset < mem->objects[at].len) {
        got = mem->objects[at].len - (size_t)offset;
        got = got < len ? got : len;
        if (got > 0)
            memcpy(buf, mem->objects[at].data + offset, got);
    }
    ramet_mutex_unlock(&mem->mutex);
    assert(got <= len);
    if (!found)
        return RAMET_FAIL(err, RAMET_ENOTFOUND, "memory/%s: not there", key);
    *out_got = got;
    return RAMET_OK;
}

static enum ramet_rc
mem_size(struct ramet_objstore *store, const char *key,
         uint64_t *out_size_bytes, struct ramet_err *err)
{
    struct memstore *mem = (struct memstore *)store;
    uint64_t size = 0;
    size_t at;
    bool found;

    assert(out_size_bytes != NULL);
    ramet_mutex_lock(&mem->mutex);
    at = find_slot(mem, key, &found);
    if (found)
        size = mem->objects[at].len;
    ramet_mutex_unlock(&mem->mutex);
    if (!found)
        return RAMET_FAIL(err, RAMET_ENOTFOUND, "memory/%s: not there", key);
    *out_size_bytes = size;
    return RAMET_OK;
}

/* Copy out the first key > `last` (or >= where `or_equal`), with its size. */
static bool
next_key(struct memstore *mem, const char *last, bool or_equal,
         char out_key[RAMET_KEY_MAX], uint64_t *out_size)
{
    bool found;
    bool any;
    size_t at;

    assert(out_key != NULL && last != NULL);
    ramet_mutex_lock(&mem->mutex);
    at = find_slot(mem, last, &found);
    if (found && !or_equal)
        at++;
    any = at < mem->count;
    if (any) {
        assert(strcmp(mem->objects[at].key, last) >=
               (or_equal ? 0 : 1)); /* invariant (1) */
        memcpy(out_key, mem->objects[at].key, strlen(mem->objects[at].key) + 1);
        *out_size = mem->objects[at].len;
    }
    ramet_mutex_unlock(&mem->mutex);
    return any;
}

static enum ramet_rc
mem_list(struct ramet_objstore *store, const char *prefix, const char *after,
         ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    const size_t prefix_len = strlen(prefix);
    const bool from_prefix = strcmp(prefix, after) > 0;
    const char *from = from_prefix ? prefix : after;
    bool or_equal = from_prefix;
    char key[RAMET_KEY_MAX];
    uint64_t size;

    assert(visit != NULL);
    (void)err;
    while (next_key((struct memstore *)store, from, or_equal, key, &size) &&
           strncmp(key, prefix, prefix_len) == 0 && visit(ctx, key, size)) {
        from = key;
        or_equal = false;
    }
    return RAMET_OK;
}

static enum ramet_rc
mem_remove(struct ramet_objstore *store, const char *key, struct ramet_err *err)
{
    struct memstore *mem = (struct memstore *)store;
    struct object object = {0};
    bool found;
    size_t at;

    (void)err;
    ramet_mutex_lock(&mem->mutex);
    at = find_slot(mem, key, &found);
    if (found) {
        object = mem->objects[at];
        assert(mem->count > 0 && at < mem->count);
        mem->count--;
        memmove(mem->objects + at, mem->objects + at + 1,
                (mem->count - at) * sizeof(*mem->objects));
    }
    ramet_mutex_unlock(&mem->mutex);
    ramet_free(object.key);
    ramet_free(object.data);
    return RAMET_OK;
}

static void
mem_close(struct ramet_objstore *store)
{
    struct memstore *mem = (struct memstore *)store;

    assert(mem->count <= mem->capacity);
    for (size_t i = 0; i < mem->count; i++) {
        ramet_free(mem->objects[i].key);
        ramet_free(mem->objects[i].data);
    }
    ramet_free(mem->objects);
    ramet_mutex_done(&mem->mutex);
    ramet_free(mem);
}

enum ramet_rc
ramet_memstore_open(struct ramet_objstore **out_store, struct ramet_err *err)
{
    static const struct ramet_objstore_ops ops = {
        .put = mem_put,
        .upload_begin = mem_upload_begin,
        .upload_write = mem_upload_write,
        .upload_finish = mem_upload_finish,
        .upload_abort = mem_upload_abort,
        .read = mem_read,
        .size = mem_size,
        .list = mem_list,
        .remove = mem_remove,
        .close = mem_close,
    };
    struct memstore *mem = ramet_calloc(1, sizeof(*mem));

    if (mem == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "memory store: no memory");
    mem->base.ops = &ops;
    mem->base.traits = RAMET_STORE_LISTS_CHEAPLY;
    mem->base.name = "memory";
    ramet_mutex_init(&mem->mutex);
    *out_store = &mem->base;
    return RAMET_OK;
}
