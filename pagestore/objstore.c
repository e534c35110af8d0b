/*
 * objstore.c - key validity, and the dispatch to a store's own functions.
 *
 * Every call goes through here, so that a store may rely on: (1) keys are
 * valid (an invalid one is the caller's mistake and asserted, but where the
 * key may come from outside, callers ask ramet_key_valid() first); (2) output
 * pointers are never NULL.
 *
 * Layer: pagestore.
 */
#include "pagestore/objstore.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static bool
is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool
ramet_key_valid(const char *key)
{
    char before = '/';
    size_t len;

    assert(key != NULL);
    for (len = 0; key[len] != '\0'; len++) {
        const char c = key[len];

        if (len == RAMET_KEY_MAX - 1)
            return false;
        if (c == '/' ? before == '/' : !is_key_char(c))
            return false;
        if (c == '.' && before == '/')
            return false;
        before = c;
    }
    assert(len < RAMET_KEY_MAX);
    return before != '/'; /* neither empty nor ending in a slash */
}

enum ramet_rc
ramet_objstore_put(struct ramet_objstore *store, const char *key,
                   const struct iovec *parts, int part_count,
                   struct ramet_err *err)
{
    assert(ramet_key_valid(key));
    assert(part_count >= 0 && (parts != NULL || part_count == 0));
    return store->ops->put(store, key, parts, part_count, err);
}

enum ramet_rc
ramet_objstore_upload_begin(struct ramet_objstore *store, const char *key,
                            struct ramet_upload **out_upload,
                            struct ramet_err *err)
{
    assert(ramet_key_valid(key));
    assert(out_upload != NULL);
    return store->ops->upload_begin(store, key, out_upload, err);
}

enum ramet_rc
ramet_objstore_upload_write(struct ramet_upload *upload, const void *data,
                            size_t len, struct ramet_err *err)
{
    assert(data != NULL || len == 0);
    return upload->store->ops->upload_write(upload, data, len, err);
}

enum ramet_rc
ramet_objstore_upload_finish(struct ramet_upload *upload, struct ramet_err *err)
{
    assert(upload->store != NULL);
    return upload->store->ops->upload_finish(upload, err);
}

void
ramet_objstore_upload_abort(struct ramet_upload *upload)
{
    assert(upload == NULL || upload->store != NULL);
    if (upload != NULL)
        upload->store->ops->upload_abort(upload);
}

enum ramet_rc
ramet_objstore_read(struct ramet_objstore *store, const char *key,
                    uint64_t offset, void *buf, size_t len, size_t *out_got,
                    struct ramet_err *err)
{
    assert(ramet_key_valid(key));
    assert((buf != NULL || len == 0) && out_got != NULL);
    return store->ops->read(store, key, offset, buf, len, out_got, err);
}

enum ramet_rc
ramet_objstore_read_full(struct ramet_objstore *store, const char *key,
                         uint64_t offset, void *buf, size_t len,
                         struct ramet_err *err)
{
    size_t got = 0;
    const enum ramet_rc rc =
        ramet_objstore_read(store, key, offset, buf, len, &got, err);

    assert(ramet_key_valid(key));
    if (rc != RAMET_OK)
        return rc;
    assert(got <= len);
    if (got != len)
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s/%s: ends at byte %" PRIu64
                          ", inside the %zu bytes at %" PRIu64,
                          store->name, key, offset + got, len, offset);
    return RAMET_OK;
}

enum ramet_rc
ramet_objstore_read_part(struct ramet_objstore *store,
                         const struct ramet_part *part, size_t *out_got,
                         struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(part->len > 0 && part->buf != NULL);
    if (part->to_end)
        return ramet_objstore_read(store, part->key, part->offset, part->buf,
                                   part->len, out_got, err);
    rc = ramet_objstore_read_full(store, part->key, part->offset, part->buf,
                                  part->len, err);
    if (rc == RAMET_OK)
        *out_got = part->len;
    return rc;
}

enum ramet_rc
ramet_objstore_read_parts(struct ramet_objstore *store,
                          const struct ramet_part *parts, size_t count,
                          ramet_part_visit *visit, void *ctx,
                          struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(visit != NULL && (parts != NULL || count == 0));
    for (size_t i = 0; i < count; i++)
        assert(ramet_key_valid(parts[i].key) && parts[i].len > 0);
    if (store->ops->read_parts != NULL)
        return store->ops->read_parts(store, parts, count, visit, ctx, err);
    for (size_t i = 0; rc == RAMET_OK && i < count; i++) {
        size_t got = parts[i].len;

        rc = ramet_objstore_read_part(store, &parts[i], &got, err);
        if (rc == RAMET_OK)
            rc = visit(ctx, &parts[i], got, err);
    }
    return rc;
}

void
ramet_objstore_expect(struct ramet_objstore *store, unsigned count)
{
    assert(store != NULL && count > 0);
    if (store->ops->expect != NULL)
        store->ops->expect(store, count);
}

/* Of a directory a read more is a system call. Of a bucket it is headers of 600 bytes and
 * more, a tenth of a millisecond of a processor, and a place among those that may be in
 * flight; and at AWS's prices a GET is what 4.4 KiB are that leave it. */
#define READ_COST (32u << 10)
#define REQUEST_COST (4u << 10)

uint64_t
ramet_objstore_gap(const struct ramet_objstore *store)
{
    assert(store != NULL);
    if ((store->traits & RAMET_STORE_SENDS_AHEAD) != 0)
        return 0;
    return (store->traits & RAMET_STORE_READS_PARTS) != 0 ? REQUEST_COST
                                                          : READ_COST;
}

enum ramet_rc
ramet_objstore_size(struct ramet_objstore *store, const char *key,
                    uint64_t *out_size_bytes, struct ramet_err *err)
{
    assert(ramet_key_valid(key));
    assert(out_size_bytes != NULL);
    return store->ops->size(store, key, out_size_bytes, err);
}

enum ramet_rc
ramet_objstore_list(struct ramet_objstore *store, const char *prefix,
                    const char *after, ramet_objstore_visit *visit, void *ctx,
                    struct ramet_err *err)
{
    assert(prefix != NULL && strlen(prefix) < RAMET_KEY_MAX);
    assert(visit != NULL);
    return store->ops->list(store, prefix, after != NULL ? after : "", visit,
                            ctx, err);
}

bool
ramet_objstore_take_key(void *ctx, const char *key, uint64_t size_bytes)
{
    assert(strlen(key) < RAMET_KEY_MAX); /* as the visitor of a list is told */
    (void)size_bytes;
    memcpy(ctx, key, strlen(key) + 1);
    return false;
}

enum ramet_rc
ramet_objstore_first(struct ramet_objstore *store, const char *prefix,
                     char out_key[RAMET_KEY_MAX], struct ramet_hash *out_told,
                     struct ramet_err *err)
{
    assert(prefix != NULL && strlen(prefix) < RAMET_KEY_MAX);
    out_key[0] = '\0';
    memset(out_told, 0, sizeof(*out_told));
    if (store->ops->first != NULL)
        return store->ops->first(store, prefix, out_key, out_told, err);
    return ramet_objstore_list(store, prefix, "", ramet_objstore_take_key,
                               out_key, err);
}

enum ramet_rc
ramet_objstore_remove(struct ramet_objstore *store, const char *key,
                      struct ramet_err *err)
{
    assert(ramet_key_valid(key));
    return store->ops->remove(store, key, err);
}

enum ramet_rc
ramet_objstore_remove_many(struct ramet_objstore *store,
                           const char *const *keys, size_t count,
                           struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(keys != NULL || count == 0);
    for (size_t i = 0; i < count; i++)
        assert(ramet_key_valid(keys[i]));
    if (store->ops->remove_many != NULL)
        return store->ops->remove_many(store, keys, count, err);
    for (size_t i = 0; i < count && rc == RAMET_OK; i++)
        rc = store->ops->remove(store, keys[i], err);
    return rc;
}

void
ramet_objstore_refresh(struct ramet_objstore *store, const char *key)
{
    assert(ramet_key_valid(key));
    if (store->ops->refresh != NULL)
        store->ops->refresh(store, key);
}

void
ramet_objstore_doubt(struct ramet_objstore *store, const char *key,
                     uint64_t offset, uint64_t len)
{
    assert(ramet_key_valid(key) && len > 0);
    if (store->ops->doubt != NULL)
        store->ops->doubt(store, key, offset, len);
    else
        ramet_objstore_refresh(store, key);
}

enum ramet_rc
ramet_objstore_read_anew(struct ramet_objstore *store, const char *key,
                         uint64_t offset, void *buf, size_t len,
                         struct ramet_err *err)
{
    assert(len > 0);
    if ((store->traits & RAMET_STORE_IS_KEPT) == 0)
        return RAMET_ECORRUPT;
    ramet_objstore_doubt(store, key, offset, len);
    return ramet_objstore_read_full(store, key, offset, buf, len, err);
}

bool
ramet_objstore_requests(const struct ramet_objstore *store,
                        struct ramet_store_requests *out)
{
    assert(out != NULL);
    if (store->ops->requests == NULL)
        return false;
    store->ops->requests(store, out);
    return true;
}

const char *
ramet_request_kind_name(enum ramet_request_kind kind)
{
    switch (kind) {
    case RAMET_REQUEST_PUT:
        return "put";
    case RAMET_REQUEST_POST:
        return "post";
    case RAMET_REQUEST_LIST:
        return "list";
    case RAMET_REQUEST_GET:
        return "get";
    case RAMET_REQUEST_HEAD:
        return "head";
    case RAMET_REQUEST_DELETE:
        return "delete";
    }
    assert(!"a kind of request without a name");
    return "";
}

void
ramet_objstore_close(struct ramet_objstore *store)
{
    assert(store == NULL || store->ops != NULL);
    if (store != NULL)
        store->ops->close(store);
}
