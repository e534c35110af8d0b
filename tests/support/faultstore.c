/*
 * faultstore.c - see faultstore.h.
 */
#include "tests/support/faultstore.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/thread.h"

/* A write that is still on its way. */
struct late {
    struct late *next;
    struct ramet_upload *upload; /* the inner store's, or NULL: a put */
    char key[RAMET_KEY_MAX];
    uint8_t *data;
    size_t len;
};

struct faultstore {
    struct ramet_objstore base;
    struct ramet_objstore *inner;
    struct ramet_mutex mutex;
    struct ramet_store_counts counts;
    enum ramet_fault fault;
    uint64_t countdown;
    enum ramet_rc rc;
    enum ramet_rc down;
    bool fired;
    void (*happen)(void *ctx); /* NULL: nothing is to */
    void *happen_ctx;
    uint64_t happen_countdown;
    struct late *late;
};

struct fault_upload {
    struct ramet_upload base;
    struct ramet_upload *inner;
    char key[RAMET_KEY_MAX];
};

enum call { CALL_WRITE, CALL_REMOVE, CALL_READ, CALL_ELSE };

static bool
applies(enum ramet_fault fault, enum call call)
{
    switch (fault) {
    case RAMET_FAULT_NONE:
        return false;
    case RAMET_FAULT_FAIL:
        return true;
    case RAMET_FAULT_LOSE_REPLY:
        return call == CALL_WRITE || call == CALL_REMOVE;
    case RAMET_FAULT_LATE:
        return call == CALL_WRITE;
    case RAMET_FAULT_FLIP_BIT:
    case RAMET_FAULT_SHORT:
    case RAMET_FAULT_OTHER_KEY:
        return call == CALL_READ;
    }
    return false;
}

/* Count a call; *out_fault is what it meets. Not RAMET_OK: it is refused. */
static enum ramet_rc
enter(struct faultstore *self, enum call call, uint64_t *counter,
      uint64_t bytes, enum ramet_fault *out_fault, const char *key,
      struct ramet_err *err)
{
    void (*happen)(void *ctx) = NULL;
    enum ramet_rc rc;

    ramet_mutex_lock(&self->mutex);
    if (self->happen != NULL && self->happen_countdown-- == 0) {
        happen = self->happen;
        self->happen = NULL;
    }
    ramet_mutex_unlock(&self->mutex);
    if (happen != NULL)
        happen(self->happen_ctx);
    ramet_mutex_lock(&self->mutex);
    *out_fault = RAMET_FAULT_NONE;
    if (counter != NULL)
        (*counter)++;
    self->counts.exchanges++;
    if (call != CALL_READ)
        self->counts.bytes_written += bytes;
    if (applies(self->fault, call) && self->countdown-- == 0) {
        *out_fault = self->fault;
        self->fault = RAMET_FAULT_NONE;
        self->fired = true;
    }
    rc = self->down;
    if (rc == RAMET_OK && *out_fault == RAMET_FAULT_FAIL)
        rc = self->rc;
    ramet_mutex_unlock(&self->mutex);
    if (rc != RAMET_OK)
        return RAMET_FAIL(err, rc, "fault/%s: told to fail", key);
    return RAMET_OK;
}

static enum ramet_rc
lost(const char *key, struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_EUNKNOWN, "fault/%s: no answer", key);
}

static void
add_late(struct faultstore *self, struct late *late)
{
    struct late **end = &self->late;

    ramet_mutex_lock(&self->mutex);
    while (*end != NULL)
        end = &(*end)->next;
    *end = late;
    ramet_mutex_unlock(&self->mutex);
}

static enum ramet_rc
keep_late_put(struct faultstore *self, const char *key,
              const struct iovec *parts, int part_count, struct ramet_err *err)
{
    struct late *late = ramet_calloc(1, sizeof(*late));

    assert(late != NULL);
    strcpy(late->key, key);
    for (int i = 0; i < part_count; i++)
        late->len += parts[i].iov_len;
    late->data = ramet_alloc(late->len);
    assert(late->data != NULL);
    for (size_t i = 0, at = 0; i < (size_t)part_count; i++) {
        if (parts[i].iov_len > 0)
            memcpy(late->data + at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    add_late(self, late);
    return lost(key, err);
}

static enum ramet_rc
fault_put(struct ramet_objstore *store, const char *key,
          const struct iovec *parts, int part_count, struct ramet_err *err)
{
    struct faultstore *self = (struct faultstore *)store;
    enum ramet_fault fault;
    uint64_t bytes = 0;
    enum ramet_rc rc;

    for (int i = 0; i < part_count; i++)
        bytes += parts[i].iov_len;
    rc = enter(self, CALL_WRITE, &self->counts.puts, bytes, &fault, key, err);
    if (rc != RAMET_OK)
        return rc;
    if (fault == RAMET_FAULT_LATE)
        return keep_late_put(self, key, parts, part_count, err);
    rc = ramet_objstore_put(self->inner, key, parts, part_count, err);
    return fault == RAMET_FAULT_LOSE_REPLY ? lost(key, err) : rc;
}

static enum ramet_rc
fault_upload_begin(struct ramet_objstore *store, const char *key,
                   struct ramet_upload **out_upload, struct ramet_err *err)
{
    struct faultstore *self = (struct faultstore *)store;
    struct fault_upload *upload;
    enum ramet_fault fault;
    enum ramet_rc rc = enter(self, CALL_ELSE, &self->counts.upload_begins, 0,
                             &fault, key, err);

    if (rc != RAMET_OK)
        return rc;
    upload = ramet_calloc(1, sizeof(*upload));
    if (upload == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "fault/%s: no memory", key);
    rc = ramet_objstore_upload_begin(self->inner, key, &upload->inner, err);
    if (rc != RAMET_OK) {
        ramet_free(upload);
        return rc;
    }
    upload->base.store = store;
    strcpy(upload->key, key);
    *out_upload = &upload->base;
    return RAMET_OK;
}

static enum ramet_rc
fault_upload_write(struct ramet_upload *base, const void *data, size_t len,
                   struct ramet_err *err)
{
    struct faultstore *self = (struct faultstore *)base->store;
    struct fault_upload *upload = (struct fault_upload *)base;
    enum ramet_fault fault;
    const enum ramet_rc rc = enter(self, CALL_ELSE, &self->counts.upload_writes,
                                   len, &fault, upload->key, err);

    if (rc != RAMET_OK)
        return rc;
    return ramet_objstore_upload_write(upload->inner, data, len, err);
}

static void
fault_upload_abort(struct ramet_upload *base)
{
    struct fault_upload *upload = (struct fault_upload *)base;

    ramet_objstore_upload_abort(upload->inner);
    ramet_free(upload);
}

static enum ramet_rc
fault_upload_finish(struct ramet_upload *base, struct ramet_err *err)
{
    struct faultstore *self = (struct faultstore *)base->store;
    struct fault_upload *upload = (struct fault_upload *)base;
    enum ramet_fault fault;
    enum ramet_rc rc = enter(self, CALL_WRITE, &self->counts.puts, 0, &fault,
                             upload->key, err);

    if (rc != RAMET_OK) {
        fault_upload_abort(base);
        return rc;
    }
    if (fault == RAMET_FAULT_LATE) {
        struct late *late = ramet_calloc(1, sizeof(*late));

        assert(late != NULL);
        strcpy(late->key, upload->key);
        late->upload = upload->inner;
        add_late(self, late);
        rc = lost(upload->key, err);
    } else {
        rc = ramet_objstore_upload_finish(upload->inner, err);
        if (fault == RAMET_FAULT_LOSE_REPLY)
            rc = lost(upload->key, err);
    }
    ramet_free(upload);
    return rc;
}

struct other {
    const char *key;
    char found[RAMET_KEY_MAX];
};

static bool
visit_other(void *ctx, const char *key, uint64_t size)
{
    struct other *other = ctx;

    (void)size;
    if (strcmp(key, other->key) == 0)
        return true;
    strcpy(other->found, key);
    return false;
}

/* Some object that is not `key`; `key` itself if it is alone. */
static void
find_other(struct faultstore *self, const char *key, char out[RAMET_KEY_MAX])
{
    struct other other = {.key = key};

    if (ramet_objstore_list(self->inner, "", NULL, visit_other, &other, NULL) !=
            RAMET_OK ||
        other.found[0] == '\0')
        strcpy(other.found, key);
    strcpy(out, other.found);
}

static enum ramet_rc
fault_read(struct ramet_objstore *store, const char *key, uint64_t offset,
           void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct faultstore *self = (struct faultstore *)store;
    char other[RAMET_KEY_MAX];
    enum ramet_fault fault;
    enum ramet_rc rc =
        enter(self, CALL_READ, &self->counts.reads, 0, &fault, key, err);

    if (rc != RAMET_OK)
        return rc;
    if (fault == RAMET_FAULT_OTHER_KEY) {
        find_other(self, key, other);
        key = other;
    }
    rc = ramet_objstore_read(self->inner, key, offset, buf, len, out_got, err);
    if (rc != RAMET_OK)
        return rc;
    if (fault == RAMET_FAULT_FLIP_BIT && *out_got > 0)
        ((uint8_t *)buf)[*out_got / 2] ^= 0x10;
    if (fault == RAMET_FAULT_SHORT)
        *out_got /= 2;
    ramet_mutex_lock(&self->mutex);
    self->counts.bytes_read += *out_got;
    ramet_mutex_unlock(&self->mutex);
    return RAMET_OK;
}

/* Each part a read of its own, and all of them one exchange. */
static enum ramet_rc
fault_read_parts(struct ramet_objstore *store, const struct ramet_part *parts,
                 size_t count, ramet_part_visit *visit, void *ctx,
                 struct ramet_err *err)
{
    struct faultstore *const self = (struct faultstore *)store;
    enum ramet_rc rc = RAMET_OK;
    size_t tried = 0;

    while (rc == RAMET_OK && tried < count) {
        const struct ramet_part *const part = &parts[tried++];
        size_t got = part->len;

        rc = ramet_objstore_read_part(store, part, &got, err);
        if (rc == RAMET_OK)
            rc = visit(ctx, part, got, err);
    }
    ramet_mutex_lock(&self->mutex);
    self->counts.exchanges -= tried > 1 ? tried - 1 : 0;
    ramet_mutex_unlock(&self->mutex);
    return rc;
}

static enum ramet_rc
fault_size(struct ramet_objstore *store, const char *key,
           uint64_t *out_size_bytes, struct ramet_err *err)
{
    struct faultstore *self = (struct faultstore *)store;
    enum ramet_fault fault;
    const enum ramet_rc rc =
        enter(self, CALL_ELSE, &self->counts.sizes, 0, &fault, key, err);

    if (rc != RAMET_OK)
        return rc;
    return ramet_objstore_size(self->inner, key, out_size_bytes, err);
}

static enum ramet_rc
fault_list(struct ramet_objstore *store, const char *prefix, const char *after,
           ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    struct faultstore *self = (struct faultstore *)store;
    enum ramet_fault fault;
    const enum ramet_rc rc =
        enter(self, CALL_ELSE, &self->counts.lists, 0, &fault, prefix, err);

    if (rc != RAMET_OK)
        return rc;
    return ramet_objstore_list(self->inner, prefix, after, visit, ctx, err);
}

static enum ramet_rc
fault_remove(struct ramet_objstore *store, const char *key,
             struct ramet_err *err)
{
    struct faultstore *self = (struct faultstore *)store;
    enum ramet_fault fault;
    enum ramet_rc rc =
        enter(self, CALL_REMOVE, &self->counts.removes, 0, &fault, key, err);

    if (rc != RAMET_OK)
        return rc;
    rc = ramet_objstore_remove(self->inner, key, err);
    return fault == RAMET_FAULT_LOSE_REPLY ? lost(key, err) : rc;
}

/* Deliver (or, with `drop`, forget) what is on its way. */
static void
deliver(struct faultstore *self, bool drop)
{
    struct late *late;

    ramet_mutex_lock(&self->mutex);
    late = self->late;
    self->late = NULL;
    ramet_mutex_unlock(&self->mutex);
    while (late != NULL) {
        struct late *next = late->next;
        const struct iovec part = {late->data, late->len};
        enum ramet_rc rc = RAMET_OK;

        if (drop)
            ramet_objstore_upload_abort(late->upload);
        else if (late->upload != NULL)
            rc = ramet_objstore_upload_finish(late->upload, NULL);
        else
            rc = ramet_objstore_put(self->inner, late->key, &part, 1, NULL);
        (void)rc; /* its sender is long gone */
        ramet_free(late->data);
        ramet_free(late);
        late = next;
    }
}

static void
fault_refresh(struct ramet_objstore *store, const char *key)
{
    ramet_objstore_refresh(((struct faultstore *)store)->inner, key);
}

static void
fault_close(struct ramet_objstore *store)
{
    struct faultstore *self = (struct faultstore *)store;

    deliver(self, true);
    ramet_mutex_done(&self->mutex);
    ramet_free(self);
}

struct ramet_objstore *
ramet_faultstore_new(struct ramet_objstore *inner)
{
    static const struct ramet_objstore_ops ops = {
        .put = fault_put,
        .upload_begin = fault_upload_begin,
        .upload_write = fault_upload_write,
        .upload_finish = fault_upload_finish,
        .upload_abort = fault_upload_abort,
        .read = fault_read,
        .read_parts = fault_read_parts,
        .size = fault_size,
        .list = fault_list,
        .remove = fault_remove,
        .refresh = fault_refresh,
        .close = fault_close,
    };
    struct faultstore *self = ramet_calloc(1, sizeof(*self));

    if (self == NULL)
        return NULL;
    self->base.ops = &ops;
    self->base.traits = inner->traits;
    self->base.name = "fault";
    self->inner = inner;
    ramet_mutex_init(&self->mutex);
    return &self->base;
}

void
ramet_faultstore_arm(struct ramet_objstore *store, enum ramet_fault fault,
                     uint64_t nth, enum ramet_rc rc)
{
    struct faultstore *self = (struct faultstore *)store;

    ramet_mutex_lock(&self->mutex);
    self->fault = fault;
    self->countdown = nth;
    self->rc = rc;
    self->fired = false;
    ramet_mutex_unlock(&self->mutex);
}

void
ramet_faultstore_meanwhile(struct ramet_objstore *store, uint64_t nth,
                           void (*happen)(void *ctx), void *ctx)
{
    struct faultstore *self = (struct faultstore *)store;

    ramet_mutex_lock(&self->mutex);
    self->happen = happen;
    self->happen_ctx = ctx;
    self->happen_countdown = nth;
    ramet_mutex_unlock(&self->mutex);
}

bool
ramet_faultstore_fired(struct ramet_objstore *store)
{
    struct faultstore *self = (struct faultstore *)store;
    bool fired;

    ramet_mutex_lock(&self->mutex);
    fired = self->fired;
    ramet_mutex_unlock(&self->mutex);
    return fired;
}

void
ramet_faultstore_set_down(struct ramet_objstore *store, enum ramet_rc rc)
{
    struct faultstore *self = (struct faultstore *)store;

    ramet_mutex_lock(&self->mutex);
    self->down = rc;
    ramet_mutex_unlock(&self->mutex);
}

void
ramet_faultstore_land(struct ramet_objstore *store)
{
    deliver((struct faultstore *)store, false);
}

struct ramet_store_counts
ramet_faultstore_counts(struct ramet_objstore *store)
{
    struct faultstore *self = (struct faultstore *)store;
    struct ramet_store_counts counts;

    ramet_mutex_lock(&self->mutex);
    counts = self->counts;
    ramet_mutex_unlock(&self->mutex);
    return counts;
}

void
ramet_faultstore_reset_counts(struct ramet_objstore *store)
{
    struct faultstore *self = (struct faultstore *)store;

    ramet_mutex_lock(&self->mutex);
    memset(&self->counts, 0, sizeof(self->counts));
    ramet_mutex_unlock(&self->mutex);
}
