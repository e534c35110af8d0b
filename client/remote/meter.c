/*
 * meter.c - see meter.h.
 *
 * Layer: client.
 */
#include "client/remote/meter.h"

#include <assert.h>
#include <stdio.h>

#include "core/alloc.h"

struct meter_upload {
    struct ramet_upload base;
    struct ramet_upload *inner;
};

/* An error of our own when the caller wants none: its text is needed here. */
struct noted {
    struct ramet_err own;
    struct ramet_err *err;
};

static struct ramet_meter *
meter_of(struct ramet_objstore *store)
{
    return (struct ramet_meter *)store;
}

static struct ramet_err *
begin(struct ramet_meter *meter, struct noted *noted, struct ramet_err *err)
{
    atomic_fetch_add_explicit(&meter->requests, 1, memory_order_relaxed);
    noted->err = err != NULL ? err : &noted->own;
    assert(noted->err != NULL);
    return noted->err;
}

static enum ramet_rc
end(struct ramet_meter *meter, const struct noted *noted, enum ramet_rc rc)
{
    assert(noted->err != NULL);
    ramet_meter_note(meter, rc, noted->err);
    return rc;
}

void
ramet_meter_note(struct ramet_meter *meter, enum ramet_rc rc,
                 const struct ramet_err *err)
{
    const struct ramet_os *const os = meter->os;

    assert(meter->os != NULL);
    if (rc == RAMET_EUNKNOWN) { /* one answer was lost: others may come */
        atomic_store(&meter->offline, true);
        return;
    }
    if (rc == RAMET_EUNREACHABLE || rc == RAMET_ETIMEOUT) {
        ramet_mutex_lock(&meter->mutex);
        snprintf(meter->cause, sizeof(meter->cause), "%s",
                 err != NULL ? err->text : ramet_rc_name(rc));
        ramet_mutex_unlock(&meter->mutex);
        atomic_store(&meter->broken_until_ns,
                     os->mono_ns(os->ctx) + RAMET_BREAKER_MS * 1000000ull);
        atomic_store(&meter->offline, true);
        return;
    }
    if (rc == RAMET_ENOMEM || rc == RAMET_ECANCELLED)
        return; /* says nothing about the remote */
    atomic_store_explicit(&meter->last_answer_ms, os->wall_ms(os->ctx),
                          memory_order_relaxed);
    atomic_store(&meter->offline, false);
    atomic_store(&meter->broken_until_ns, 0);
}

enum ramet_rc
ramet_meter_check(struct ramet_meter *meter, bool *out_probes,
                  struct ramet_err *err)
{
    const uint64_t now = meter->os->mono_ns(meter->os->ctx);
    uint_least64_t until = atomic_load(&meter->broken_until_ns);
    char cause[RAMET_ERR_TEXT_MAX];

    *out_probes = until != 0 && now >= until &&
                  atomic_compare_exchange_strong(
                      &meter->broken_until_ns, &until,
                      now + RAMET_PROBE_MS * UINT64_C(1000000));
    if (until == 0 || *out_probes)
        return RAMET_OK;
    ramet_mutex_lock(&meter->mutex);
    snprintf(cause, sizeof(cause), "%s", meter->cause);
    ramet_mutex_unlock(&meter->mutex);
    return RAMET_FAIL(err, RAMET_EUNREACHABLE, "%s (a moment ago)", cause);
}

static enum ramet_rc
meter_put(struct ramet_objstore *store, const char *key,
          const struct iovec *parts, int part_count, struct ramet_err *err)
{
    struct ramet_meter *const meter = meter_of(store);
    struct noted noted;
    uint64_t bytes = 0;

    assert(meter->inner != NULL);
    for (int i = 0; i < part_count; i++)
        bytes += parts[i].iov_len;
    atomic_fetch_add_explicit(&meter->bytes_written, bytes,
                              memory_order_relaxed);
    err = begin(meter, &noted, err);
    return end(meter, &noted,
               ramet_objstore_put(meter->inner, key, parts, part_count, err));
}

static enum ramet_rc
meter_upload_begin(struct ramet_objstore *store, const char *key,
                   struct ramet_upload **out_upload, struct ramet_err *err)
{
    struct ramet_meter *const meter = meter_of(store);
    struct meter_upload *const upload = ramet_calloc(1, sizeof(*upload));
    struct noted noted;
    enum ramet_rc rc;

    assert(meter->inner != NULL);
    if (upload == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "upload of %s: no memory", key);
    err = begin(meter, &noted, err);
    rc = end(
        meter, &noted,
        ramet_objstore_upload_begin(meter->inner, key, &upload->inner, err));
    if (rc != RAMET_OK) {
        ramet_free(upload);
        return rc;
    }
    assert(upload->inner != NULL);
    upload->base.store = store;
    *out_upload = &upload->base;
    return RAMET_OK;
}

static enum ramet_rc
meter_upload_write(struct ramet_upload *base, const void *data, size_t len,
                   struct ramet_err *err)
{
    struct meter_upload *const upload = (struct meter_upload *)base;

    assert(upload->inner != NULL);
    atomic_fetch_add_explicit(&meter_of(base->store)->bytes_written, len,
                              memory_order_relaxed);
    return ramet_objstore_upload_write(upload->inner, data, len, err);
}

static enum ramet_rc
meter_upload_finish(struct ramet_upload *base, struct ramet_err *err)
{
    struct meter_upload *const upload = (struct meter_upload *)base;
    struct ramet_meter *const meter = meter_of(base->store);
    struct noted noted;
    enum ramet_rc rc;

    assert(upload->inner != NULL);
    err = begin(meter, &noted, err);
    rc = end(meter, &noted, ramet_objstore_upload_finish(upload->inner, err));
    ramet_free(upload);
    return rc;
}

static void
meter_upload_abort(struct ramet_upload *base)
{
    struct meter_upload *const upload = (struct meter_upload *)base;

    assert(upload->inner != NULL);
    ramet_objstore_upload_abort(upload->inner);
    ramet_free(upload);
}

static enum ramet_rc
meter_read(struct ramet_objstore *store, const char *key, uint64_t offset,
           void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct ramet_meter *const meter = meter_of(store);
    struct noted noted;
    enum ramet_rc rc;

    assert(meter->inner != NULL);
    err = begin(meter, &noted, err);
    rc = end(
        meter, &noted,
        ramet_objstore_read(meter->inner, key, offset, buf, len, out_got, err));
    if (rc == RAMET_OK)
        atomic_fetch_add_explicit(&meter->bytes_read, *out_got,
                                  memory_order_relaxed);
    assert(rc != RAMET_OK || *out_got <= len);
    return rc;
}

/* Of parts on their way to the caller. */
struct meter_parts {
    struct ramet_meter *meter;
    ramet_part_visit *visit;
    void *ctx;
    bool caller_failed;
};

static enum ramet_rc
meter_part(void *ctx, const struct ramet_part *part, size_t got,
           struct ramet_err *err)
{
    struct meter_parts *const parts = ctx;
    enum ramet_rc rc;

    atomic_fetch_add_explicit(&parts->meter->requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&parts->meter->bytes_read, got,
                              memory_order_relaxed);
    rc = parts->visit(parts->ctx, part, got, err);
    parts->caller_failed = rc != RAMET_OK;
    return rc;
}

static enum ramet_rc
meter_read_parts(struct ramet_objstore *store, const struct ramet_part *parts,
                 size_t count, ramet_part_visit *visit, void *ctx,
                 struct ramet_err *err)
{
    struct ramet_meter *const meter = meter_of(store);
    struct meter_parts through = {meter, visit, ctx, false};
    struct ramet_err own;
    enum ramet_rc rc;

    assert(meter->inner != NULL);
    if (err == NULL)
        err = &own;
    rc = ramet_objstore_read_parts(meter->inner, parts, count, meter_part,
                                   &through, err);
    if (!through.caller_failed)
        ramet_meter_note(meter, rc, err);
    return rc;
}

static enum ramet_rc
meter_size(struct ramet_objstore *store, const char *key,
           uint64_t *out_size_bytes, struct ramet_err *err)
{
    struct ramet_meter *const meter = meter_of(store);
    struct noted noted;

    assert(meter->inner != NULL);
    err = begin(meter, &noted, err);
    return end(meter, &noted,
               ramet_objstore_size(meter->inner, key, out_size_bytes, err));
}

static enum ramet_rc
meter_list(struct ramet_objstore *store, const char *prefix, const char *after,
           ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    struct ramet_meter *const meter = meter_of(store);
    struct noted noted;

    assert(meter->inner != NULL && visit != NULL);
    err = begin(meter, &noted, err);
    return end(
        meter, &noted,
        ramet_objstore_list(meter->inner, prefix, after, visit, ctx, err));
}

static enum ramet_rc
meter_first(struct ramet_objstore *store, const char *prefix,
            char out_key[RAMET_KEY_MAX], struct ramet_hash *out_told,
            struct ramet_err *err)
{
    struct ramet_meter *const meter = meter_of(store);
    struct noted noted;

    assert(meter->inner != NULL);
    err = begin(meter, &noted, err);
    return end(
        meter, &noted,
        ramet_objstore_first(meter->inner, prefix, out_key, out_told, err));
}

static enum ramet_rc
meter_remove(struct ramet_objstore *store, const char *key,
             struct ramet_err *err)
{
    struct ramet_meter *const meter = meter_of(store);
    struct noted noted;

    assert(meter->inner != NULL);
    err = begin(meter, &noted, err);
    return end(meter, &noted, ramet_objstore_remove(meter->inner, key, err));
}

static void
meter_refresh(struct ramet_objstore *store, const char *key)
{
    ramet_objstore_refresh(meter_of(store)->inner, key);
}

static void
meter_doubt(struct ramet_objstore *store, const char *key, uint64_t offset,
            uint64_t len)
{
    ramet_objstore_doubt(meter_of(store)->inner, key, offset, len);
}

static void
meter_expect(struct ramet_objstore *store, unsigned count)
{
    ramet_objstore_expect(meter_of(store)->inner, count);
}

static void
meter_close(struct ramet_objstore *store)
{
    (void)store; /* `inner` is borrowed, and we are our owner's */
}

static const struct ramet_objstore_ops meter_ops = {
    .put = meter_put,
    .upload_begin = meter_upload_begin,
    .upload_write = meter_upload_write,
    .upload_finish = meter_upload_finish,
    .upload_abort = meter_upload_abort,
    .read = meter_read,
    .read_parts = meter_read_parts,
    .size = meter_size,
    .list = meter_list,
    .first = meter_first,
    .remove = meter_remove,
    .refresh = meter_refresh,
    .doubt = meter_doubt,
    .expect = meter_expect,
    .close = meter_close,
};

void
ramet_meter_init(struct ramet_meter *meter, const struct ramet_os *os)
{
    assert(os != NULL);
    *meter = (struct ramet_meter){.base.ops = &meter_ops, .os = os};
    ramet_mutex_init(&meter->mutex);
}

void
ramet_meter_attach(struct ramet_meter *meter, struct ramet_objstore *inner)
{
    assert(inner != NULL && inner->ops != &meter_ops);
    meter->base.traits = inner->traits;
    meter->base.name = inner->name;
    meter->inner = inner;
}

void
ramet_meter_done(struct ramet_meter *meter)
{
    ramet_mutex_done(&meter->mutex);
}
