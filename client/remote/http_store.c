/*
 * http_store.c - see http_store.h.
 */
#include "client/remote/http_store.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/remote/http_conn.h"
#include "client/remote/http_early.h"
#include "client/remote/http_ranges.h"
#include "core/alloc.h"

#define PATH_MAX_BYTES 512u
#define JSON_MAX (2u << 20)
#define LIST_LIMIT 1000u
/* A list ends: no store has so many objects of a kind in one volume, and no
 * server answers with pages that are nearly empty for ever. */
#define LIST_KEYS_MAX (16u << 20)
#define LIST_KEYS_LEAST 100u /* a page, on average, past the first few */
#define LIST_PAGES_FREE 64u
/* For a small question. */
#define ASK_MS 60000u
/* What is read of heads and maps is kept up to this size. */
#define KEEP_MAX (128u << 10)
/* Found wrong by as many threads at a time; who is too many may find it again. */
#define DOUBTS 16u
/* No place in an object: all of it. */
#define ANYWHERE UINT64_MAX

struct http_store {
    struct ramet_objstore store;
    struct ramet_http_pool *pool;
    struct ramet_ranges *ranges;
    struct ramet_http_early early;
    /* What is read anew next: names, as name_of(); 0: nothing. */
    _Atomic uint64_t doubts[DOUBTS];
};

static bool
has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* "volumes/<36>/<kind>/…": where the kind begins, or NULL. */
static const char *
kind_of(const char *key)
{
    assert(key != NULL);
    return has_prefix(key, "volumes/") && strlen(key) > 8 + 37 ? key + 8 + 37
                                                               : NULL;
}

static bool
commit_lsn(const char *key, uint64_t *out_lsn)
{
    const char *kind = kind_of(key);
    char *end;

    if (kind == NULL || !has_prefix(kind, "commits/") || strlen(kind) != 8 + 16)
        return false;
    *out_lsn = UINT64_MAX - strtoull(kind + 8, &end, 16);
    return *end == '\0';
}

static void
path_of(const char *key, char out[PATH_MAX_BYTES])
{
    uint64_t lsn;

    if (commit_lsn(key, &lsn))
        (void)snprintf(out, PATH_MAX_BYTES, "/v1/%.44s/commits/%" PRIu64, key,
                       lsn);
    else
        (void)snprintf(out, PATH_MAX_BYTES, "/v1/%s", key);
}

/* ---- read ------------------------------------------------------------------------ */

/* Of an answer to a ranged GET. */
static enum ramet_rc
take_range(struct http_store *hs, const char *key,
           const struct ramet_http_call *call, void *buf, size_t *out_got,
           struct ramet_err *err)
{
    const size_t len = (size_t)call->range_length;
    const size_t got = call->body.len;

    assert(call->has_range && call->range_length > 0);
    if (call->status == 416) {
        *out_got = 0;
        return RAMET_OK;
    }
    if (call->status == 200 && call->range_offset != 0)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "server %s: does not honour ranges",
                          ramet_http_pool_root(hs->pool));
    if (call->status != 200 && call->status != 206)
        return ramet_http_failure(hs->pool, call->path, call->status,
                                  call->body.data, got, false, err);
    if (got > len ||
        (got < len && call->status == 206 &&
         (!call->has_total || call->total != call->range_offset + got)))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "server %s: %s: %zu bytes at %" PRIu64
                          " are not the range that was asked for",
                          ramet_http_pool_root(hs->pool), key, got,
                          call->range_offset);
    assert(got <= len);
    if (got > 0) /* else there is no body to copy from */
        memcpy(buf, call->body.data, got);
    *out_got = got;
    return RAMET_OK;
}

static bool
is_metadata(const char *key)
{
    const char *kind = kind_of(key);

    return kind != NULL &&
           (has_prefix(kind, "commits/") || has_prefix(kind, "maps/"));
}

/* Of what begins there; not 0. Two may share one: then what is right is read anew. */
static uint64_t
name_of(const char *key, uint64_t offset)
{
    const uint64_t name =
        ramet_hash64(key, strlen(key)) + (offset + 1) * 0x9e3779b97f4a7c15u;

    return name != 0 ? name : 1;
}

/* Each who doubts has a place of his own, also where two doubt the same. */
static void
note_doubt(struct http_store *hs, uint64_t name)
{
    assert(name != 0);
    for (unsigned i = 0; i < DOUBTS; i++) {
        uint64_t none = 0;

        if (atomic_compare_exchange_strong(&hs->doubts[i], &none, name))
            return;
    }
    atomic_store(&hs->doubts[name % DOUBTS], name);
}

/* Once for each doubt. */
static bool
take_doubt(struct http_store *hs, uint64_t name)
{
    assert(name != 0);
    for (unsigned i = 0; i < DOUBTS; i++) {
        uint64_t expected = name;

        if (atomic_load(&hs->doubts[i]) == name &&
            atomic_compare_exchange_strong(&hs->doubts[i], &expected, 0))
            return true;
    }
    return false;
}

static bool
is_doubted(struct http_store *hs, const char *key, uint64_t offset)
{
    return take_doubt(hs, name_of(key, offset)) ||
           take_doubt(hs, name_of(key, ANYWHERE));
}

static enum ramet_rc
http_read(struct ramet_objstore *store, const char *key, uint64_t offset,
          void *buf, size_t len, size_t *out_got, struct ramet_err *err)
{
    struct http_store *hs = (struct http_store *)store;
    char path[PATH_MAX_BYTES];
    struct ramet_http_call call = {
        .method = "GET",
        .path = path,
        .has_range = true,
        .range_offset = offset,
        .range_length = len,
        .body_max = len > 4096 ? len : 4096, /* room for an error's text */
    };
    enum ramet_rc rc;

    if (len == 0) {
        *out_got = 0;
        return RAMET_OK;
    }
    if (offset > INT64_MAX - len)
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: offset too large", key);
    if (ramet_ranges_get(hs->ranges, key, offset, buf, len, out_got))
        return RAMET_OK;
    assert(buf != NULL);
    path_of(key, path);
    call.is_doubted = is_doubted(hs, key, offset);
    rc = ramet_http_perform(hs->pool, &call, err);
    if (rc == RAMET_OK)
        rc = take_range(hs, key, &call, buf, out_got, err);
    if (rc == RAMET_OK && len <= KEEP_MAX && is_metadata(key))
        ramet_ranges_put(hs->ranges, key, offset, buf, *out_got,
                         *out_got < len);
    ramet_buf_done(&call.body);
    return rc;
}

static enum ramet_rc
http_size(struct ramet_objstore *store, const char *key,
          uint64_t *out_size_bytes, struct ramet_err *err)
{
    struct http_store *hs = (struct http_store *)store;
    char path[PATH_MAX_BYTES];
    struct ramet_http_call call = {
        .method = "HEAD", .path = path, .total_ms = ASK_MS};
    enum ramet_rc rc;

    assert(out_size_bytes != NULL);
    path_of(key, path);
    rc = ramet_http_perform(hs->pool, &call, err);
    if (rc == RAMET_OK && call.status != 200)
        rc = ramet_http_failure(hs->pool, path, call.status, NULL, 0, false,
                                err);
    else if (rc == RAMET_OK && !call.has_total)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "server %s: %s: gives no length",
                        ramet_http_pool_root(hs->pool), path);
    if (rc == RAMET_OK)
        *out_size_bytes = call.total;
    ramet_buf_done(&call.body);
    return rc;
}

/* ---- write ----------------------------------------------------------------------- */

/* 409: the slot is taken, or the base is not the server's, whose newest commit is then
 * older than this one would be. */
static enum ramet_rc
explain_conflict(struct http_store *hs, const struct ramet_http_call *call,
                 uint64_t lsn, struct ramet_err *err)
{
    json_t *json =
        json_loadb((const char *)call->body.data, call->body.len, 0, NULL);
    const json_t *const told =
        json_object_get(json_object_get(json, "head"), "lsn");
    const bool has_newest = json_is_integer(told);
    const json_int_t newest = json_integer_value(told);
    enum ramet_rc rc;

    assert(call->status == 409);
    rc = ramet_http_failure(hs->pool, call->path, call->status, call->body.data,
                            call->body.len, true, err);
    json_decref(json);
    if (!has_newest || newest < 0)
        return rc;
    if ((uint64_t)newest >=
        lsn) /* as put-if-absent says it: look who is there */
        return RAMET_EEXIST;
    if (rc != RAMET_ECONFLICT)
        return rc;
    if (err != NULL)
        err->code = RAMET_EWENTBACK;
    return RAMET_EWENTBACK;
}

static enum ramet_rc
post_commit(struct http_store *hs, const char *key, uint64_t lsn,
            const struct iovec *parts, int part_count, struct ramet_err *err)
{
    char path[PATH_MAX_BYTES];
    struct ramet_http_call call = {
        .method = "POST",
        .path = path,
        .content_type = "application/octet-stream",
        .parts = parts,
        .part_count = part_count,
        .changes = true,
        .fresh = true,
        .body_max = JSON_MAX,
    };
    enum ramet_rc rc;

    assert(part_count > 0);
    (void)snprintf(path, sizeof(path), "/v1/%.44s/commits", key);
    rc = ramet_http_perform(hs->pool, &call, err);
    if (rc == RAMET_OK && call.status == 409)
        rc = explain_conflict(hs, &call, lsn, err);
    else if (rc == RAMET_OK && call.status != 201 && call.status != 200)
        rc = ramet_http_failure(hs->pool, path, call.status, call.body.data,
                                call.body.len, true, err);
    else if (rc == RAMET_ETOOBIG) /* an answer, but not one to read */
        rc = RAMET_FAIL(err, RAMET_EUNKNOWN,
                        "server %s: the answer does not end",
                        ramet_http_pool_root(hs->pool));
    ramet_buf_done(&call.body);
    return rc;
}

static enum ramet_rc
http_put(struct ramet_objstore *store, const char *key,
         const struct iovec *parts, int part_count, struct ramet_err *err)
{
    struct http_store *hs = (struct http_store *)store;
    char path[PATH_MAX_BYTES];
    struct ramet_http_call call = {
        .method = "PUT",
        .path = path,
        .content_type = "application/octet-stream",
        .if_none_match = true,
        .parts = parts,
        .part_count = part_count,
        .changes = true,
        .fresh = true,
        .body_max = JSON_MAX,
    };
    uint64_t lsn;
    enum ramet_rc rc;

    assert(part_count > 0);
    if (commit_lsn(key, &lsn))
        return post_commit(hs, key, lsn, parts, part_count, err);
    path_of(key, path);
    rc = ramet_http_perform(hs->pool, &call, err);
    if (rc == RAMET_OK && call.status != 201)
        rc = ramet_http_failure(hs->pool, path, call.status, call.body.data,
                                call.body.len, true, err);
    ramet_buf_done(&call.body);
    return rc;
}

static enum ramet_rc
http_upload_begin(struct ramet_objstore *store, const char *key,
                  struct ramet_upload **out_upload, struct ramet_err *err)
{
    struct http_store *hs = (struct http_store *)store;
    char path[PATH_MAX_BYTES];

    path_of(key, path);
    return ramet_http_upload_begin(store, hs->pool, path, out_upload, err);
}

static enum ramet_rc
http_remove(struct ramet_objstore *store, const char *key,
            struct ramet_err *err)
{
    struct http_store *hs = (struct http_store *)store;
    const char *const kind = kind_of(key);
    char path[PATH_MAX_BYTES];
    struct ramet_http_call call = {
        .method = "DELETE",
        .path = path,
        .changes = true,
        .fresh = true,
        .body_max = JSON_MAX,
    };
    enum ramet_rc rc;

    if (kind == NULL || !has_prefix(kind, "profiles/"))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "server %s: %s: a server deletes whole volumes, and "
                          "profiles: DELETE /v1/volumes/NAME",
                          ramet_http_pool_root(hs->pool), key);
    path_of(key, path);
    rc = ramet_http_perform(hs->pool, &call, err);
    if (rc == RAMET_OK && call.status != 204)
        rc = ramet_http_failure(hs->pool, path, call.status, call.body.data,
                                call.body.len, true, err);
    ramet_buf_done(&call.body);
    return rc;
}

/* ---- list ------------------------------------------------------------------------ */

static enum ramet_rc
get_json(struct http_store *hs, const char *path, json_t **out_json,
         struct ramet_err *err)
{
    struct ramet_http_call call = {.method = "GET",
                                   .path = path,
                                   .body_max = JSON_MAX,
                                   .fresh = true,
                                   .total_ms = ASK_MS};
    enum ramet_rc rc = ramet_http_perform(hs->pool, &call, err);

    assert(path[0] == '/');
    if (rc == RAMET_OK && call.status != 200)
        rc = ramet_http_failure(hs->pool, path, call.status, call.body.data,
                                call.body.len, false, err);
    if (rc == RAMET_OK) {
        *out_json =
            json_loadb((const char *)call.body.data, call.body.len, 0, NULL);
        if (*out_json == NULL)
            rc = ramet_http_not_ramet(hs->pool, path, call.status, err);
    }
    ramet_buf_done(&call.body);
    return rc;
}

/* A list as it is read, page by page. */
struct listing {
    const char *prefix;
    char last[RAMET_KEY_MAX]; /* that came; how to go on */
    uint64_t pages, keys;
    bool more;
    ramet_objstore_visit *visit;
    void *ctx;
};

/* Ascending, or a hostile server could make us run in a circle. */
static bool
follows(const struct listing *l, const char *key, json_int_t size)
{
    return key != NULL && size >= 0 && strlen(key) < RAMET_KEY_MAX &&
           ramet_key_valid(key) && has_prefix(key, l->prefix) &&
           strcmp(key, l->last) > 0;
}

static enum ramet_rc
take_page(struct http_store *hs, struct listing *l, const json_t *json,
          struct ramet_err *err)
{
    const json_t *keys = json_object_get(json, "keys");
    json_t *item;
    size_t i;

    l->pages++;
    l->keys += json_array_size(keys);
    l->more = json_is_true(json_object_get(json, "more")) &&
              json_array_size(keys) > 0;
    if (l->more && (l->keys > LIST_KEYS_MAX ||
                    (l->pages > LIST_PAGES_FREE &&
                     l->keys / LIST_KEYS_LEAST < l->pages - LIST_PAGES_FREE)))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "server %s: the list of %s does not end",
                          ramet_http_pool_root(hs->pool), l->prefix);
    json_array_foreach(keys, i, item)
    {
        const char *key = json_string_value(json_array_get(item, 0));
        const json_int_t size = json_integer_value(json_array_get(item, 1));

        if (!follows(l, key, size))
            return RAMET_FAIL(err, RAMET_ECORRUPT,
                              "server %s: the list of %s is malformed",
                              ramet_http_pool_root(hs->pool), l->prefix);
        strcpy(l->last, key);
        if (!l->visit(l->ctx, key, (uint64_t)size)) {
            l->more = false;
            break;
        }
    }
    return RAMET_OK;
}

static enum ramet_rc
list_keys(struct http_store *hs, const char *prefix, const char *after,
          ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    struct listing l = {
        .prefix = prefix, .more = true, .visit = visit, .ctx = ctx};
    char path[3 * PATH_MAX_BYTES];
    enum ramet_rc rc = RAMET_OK;

    (void)snprintf(l.last, sizeof(l.last), "%s", after != NULL ? after : "");
    while (l.more && rc == RAMET_OK) {
        json_t *json = NULL;

        (void)snprintf(path, sizeof(path),
                       "/v1/keys?prefix=%s&after=%s&limit=%u", prefix, l.last,
                       LIST_LIMIT);
        rc = get_json(hs, path, &json, err);
        if (rc == RAMET_OK)
            rc = take_page(hs, &l, json, err);
        json_decref(json);
    }
    return rc;
}

void
ramet_http_store_tell(struct ramet_objstore *store, const char *prefix,
                      const char *key, const struct ramet_hash *told)
{
    struct http_store *hs = (struct http_store *)store;

    ramet_http_early_note(&hs->early, prefix, key, told);
}

void
ramet_http_store_untell(struct ramet_objstore *store)
{
    struct http_store *hs = (struct http_store *)store;

    ramet_http_early_forget(&hs->early);
}

static bool
is_commits_prefix(const char *prefix)
{
    const char *kind = strlen(prefix) == 8 + 37 + 8 ? kind_of(prefix) : NULL;

    return kind != NULL && strcmp(kind, "commits/") == 0;
}

/* The newest commit is what the head says: one request on any store. */
static enum ramet_rc
first_commit(struct http_store *hs, const char *prefix,
             char out_key[RAMET_KEY_MAX], struct ramet_hash *out_told,
             struct ramet_err *err)
{
    char path[PATH_MAX_BYTES];
    json_t *json = NULL;
    const char *hash;
    json_int_t lsn;
    enum ramet_rc rc;

    assert(is_commits_prefix(prefix));
    (void)snprintf(path, sizeof(path), "/v1/%.44s/head", prefix);
    rc = get_json(hs, path, &json, err);
    if (rc == RAMET_ENOTFOUND)
        return RAMET_OK; /* no commits, no keys */
    if (rc != RAMET_OK)
        return rc;
    lsn = json_integer_value(json_object_get(json, "lsn"));
    hash = json_string_value(json_object_get(json, "hash"));
    if (!json_is_integer(json_object_get(json, "lsn")) || lsn < 0)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "server %s: %s: no LSN in it",
                        ramet_http_pool_root(hs->pool), path);
    else if (lsn > 0)
        (void)snprintf(out_key, RAMET_KEY_MAX, "%.53s%016" PRIx64, prefix,
                       UINT64_MAX - (uint64_t)lsn);
    if (hash == NULL || !ramet_hash_parse(hash, out_told))
        memset(out_told, 0, sizeof(*out_told));
    json_decref(json);
    return rc;
}

static enum ramet_rc
http_first(struct ramet_objstore *store, const char *prefix,
           char out_key[RAMET_KEY_MAX], struct ramet_hash *out_told,
           struct ramet_err *err)
{
    struct http_store *hs = (struct http_store *)store;

    if (ramet_http_early_take(&hs->early, prefix, out_key, out_told))
        return RAMET_OK;
    out_key[0] = '\0';
    memset(out_told, 0, sizeof(*out_told));
    return is_commits_prefix(prefix)
               ? first_commit(hs, prefix, out_key, out_told, err)
               : list_keys(hs, prefix, "", ramet_objstore_take_key, out_key,
                           err);
}

static enum ramet_rc
http_list(struct ramet_objstore *store, const char *prefix, const char *after,
          ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    struct http_store *hs = (struct http_store *)store;
    char key[RAMET_KEY_MAX];
    struct ramet_hash hash;

    if (after[0] == '\0' &&
        ramet_http_early_take(&hs->early, prefix, key, &hash)) {
        if (!visit(ctx, key, 0))
            return RAMET_OK;
        return list_keys(hs, prefix, key, visit, ctx, err);
    }
    return list_keys(hs, prefix, after, visit, ctx, err);
}

/* Pieces are found by where they begin: all go, which happens once in the life
 * of a store. The server, too, is to ask its store. */
static void
http_refresh(struct ramet_objstore *store, const char *key)
{
    struct http_store *const hs = (struct http_store *)store;

    ramet_ranges_clear(hs->ranges);
    note_doubt(hs, name_of(key, ANYWHERE));
}

static void
http_doubt(struct ramet_objstore *store, const char *key, uint64_t offset,
           uint64_t len)
{
    struct http_store *const hs = (struct http_store *)store;

    assert(len > 0);
    (void)len;
    ramet_ranges_clear(hs->ranges);
    note_doubt(hs, name_of(key, offset));
}

static void
http_close(struct ramet_objstore *store)
{
    ramet_http_early_done(&((struct http_store *)store)->early);
    ramet_free(store);
}

static const struct ramet_objstore_ops http_ops = {
    .put = http_put,
    .upload_begin = http_upload_begin,
    .upload_write = ramet_http_upload_write,
    .upload_finish = ramet_http_upload_finish,
    .upload_abort = ramet_http_upload_abort,
    .read = http_read,
    .size = http_size,
    .list = http_list,
    .first = http_first,
    .remove = http_remove,
    .refresh = http_refresh,
    .doubt = http_doubt,
    .close = http_close,
};

enum ramet_rc
ramet_http_store_new(struct ramet_http_pool *pool, struct ramet_ranges *ranges,
                     const char *name, struct ramet_objstore **out_store,
                     struct ramet_err *err)
{
    struct http_store *hs = ramet_calloc(1, sizeof(*hs));

    if (hs == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", name);
    hs->store = (struct ramet_objstore){
        .ops = &http_ops,
        .traits = RAMET_STORE_IS_KEPT | RAMET_STORE_LISTS_CHEAPLY |
                  RAMET_STORE_MAKES_MAPS | RAMET_STORE_SENDS_AHEAD |
                  RAMET_STORE_CHECKS_COMMITS,
        .name = name,
    };
    hs->pool = pool;
    hs->ranges = ranges;
    ramet_http_early_init(&hs->early);
    *out_store = &hs->store;
    return RAMET_OK;
}
