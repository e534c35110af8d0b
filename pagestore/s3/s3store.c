/*
 * s3store.c - see s3store.h.
 */
#include "pagestore/s3/s3store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "core/os.h"
#include "pagestore/s3/s3store_impl.h"
#include "pagestore/s3/xml.h"

#define LIST_FIRST 100u /* most lists are short, or are not read to their end */
#define LIST_MORE 1000u
/* Up to 1,000 keys of up to 1,024 bytes, every byte of them escaped. */
#define LIST_ANSWER_MAX (8u << 20)

/* ---- write ------------------------------------------------------------------------ */

static enum ramet_rc
s3_put(struct ramet_objstore *store, const char *key, const struct iovec *parts,
       int part_count, struct ramet_err *err)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;
    const enum ramet_rc rc = ramet_s3store_prove(s3, err);

    assert(s3->caller.bucket != NULL);
    return rc != RAMET_OK
               ? rc
               : ramet_s3store_put_now(s3, key, parts, part_count, err);
}

static enum ramet_rc
s3_remove(struct ramet_objstore *store, const char *key, struct ramet_err *err)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;
    char full[RAMET_S3_KEY_MAX];
    struct ramet_s3_request request = {
        .method = "DELETE", .kind = RAMET_REQUEST_DELETE, .key = full};
    enum ramet_rc rc;

    assert(ramet_key_valid(key));
    ramet_s3store_key(s3, key, full);
    rc = ramet_s3_perform(&s3->caller, &request, err);
    ramet_buf_done(&request.answer);
    return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
}

/* ---- list ------------------------------------------------------------------------- */

struct listing {
    struct ramet_s3store *s3;
    ramet_objstore_visit *visit;
    void *ctx;
    const char *prefix;       /* that was asked for */
    char last[RAMET_KEY_MAX]; /* that came */
    bool out_of_order, of_others;
};

/* Keys are the store's own without the prefix. What is none of Ramet's keys is
 * somebody else's. */
static bool
take_key(void *ctx, const char *key, uint64_t size_bytes)
{
    struct listing *const l = ctx;
    const size_t prefix_len = strlen(l->s3->prefix);

    assert(l->visit != NULL);
    if (strncmp(key, l->s3->prefix, prefix_len) != 0)
        return true;
    key += prefix_len;
    if (strlen(key) >= RAMET_KEY_MAX || !ramet_key_valid(key))
        return true;
    /* Whoever asked takes what comes for what he asked for, and may remove it. */
    if (strncmp(key, l->prefix, strlen(l->prefix)) != 0) {
        l->of_others = true;
        return false;
    }
    if (strcmp(key, l->last) <= 0) {
        l->out_of_order = true;
        return false;
    }
    assert(strlen(key) < sizeof(l->last));
    strcpy(l->last, key);
    return l->visit(l->ctx, key, size_bytes);
}

/* Sorted by name, as it is signed. */
static enum ramet_rc
list_query(const struct ramet_s3store *s3, const char *prefix,
           const char *after, const char *token, unsigned max_keys,
           struct ramet_buf *out, struct ramet_err *err)
{
    char full[RAMET_S3_KEY_MAX], number[64];

    assert(out->len == 0 && max_keys > 0);
    if (token[0] != '\0') {
        ramet_buf_bytes(out, "continuation-token=", 19);
        ramet_sigv4_escape(out, token, false);
        ramet_buf_u8(out, '&');
    }
    (void)snprintf(number, sizeof(number),
                   "list-type=2&max-keys=%u&prefix=", max_keys);
    ramet_buf_bytes(out, number, strlen(number));
    ramet_s3store_key(s3, prefix, full);
    ramet_sigv4_escape(out, full, false);
    if (token[0] == '\0' && after[0] != '\0') {
        ramet_buf_bytes(out, "&start-after=", 13);
        ramet_s3store_key(s3, after, full);
        ramet_sigv4_escape(out, full, false);
    }
    ramet_buf_u8(out, 0);
    return out->failed == RAMET_OK
               ? RAMET_OK
               : RAMET_FAIL(err, out->failed, "%s: a list's query", s3->name);
}

static enum ramet_rc
list_page(struct ramet_s3store *s3, const char *query,
          struct ramet_s3_listing *page, struct ramet_err *err)
{
    struct ramet_s3_request request = {
        .method = "GET",
        .kind = RAMET_REQUEST_LIST,
        .key = "",
        .query = query,
        .answer_max = LIST_ANSWER_MAX,
    };
    struct ramet_err why;
    enum ramet_rc rc = ramet_s3_perform(&s3->caller, &request, err);

    assert(page->visit == take_key && query != NULL);
    if (rc == RAMET_OK) {
        rc = ramet_s3_listing_parse(request.answer.data, request.answer.len,
                                    page, &why);
        if (rc != RAMET_OK)
            rc = RAMET_FAIL(err, rc, "%s: a list: %s", s3->name, why.text);
    }
    ramet_buf_done(&request.answer);
    return rc;
}

static enum ramet_rc
list(struct ramet_s3store *s3, const char *prefix, const char *after,
     unsigned first_keys, struct listing *l, struct ramet_err *err)
{
    struct ramet_s3_listing *const page = ramet_calloc(1, sizeof(*page));
    unsigned max_keys = first_keys;
    char asked[RAMET_S3_TOKEN_MAX], before[RAMET_KEY_MAX];
    struct ramet_buf query;
    enum ramet_rc rc = RAMET_OK;

    assert(after != NULL && strlen(after) < RAMET_KEY_MAX);
    if (page == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", s3->name);
    ramet_buf_init(&query, 16u << 10);
    l->prefix = prefix;
    (void)snprintf(l->last, sizeof(l->last), "%s", after);
    do {
        memcpy(asked, page->token, sizeof(asked));
        memcpy(before, l->last, sizeof(before));
        ramet_buf_clear(&query);
        rc = list_query(s3, prefix, after, page->token, max_keys, &query, err);
        page->visit = take_key;
        page->ctx = l;
        if (rc == RAMET_OK)
            rc = list_page(s3, (const char *)query.data, page, err);
        if (rc == RAMET_OK && page->more && strcmp(page->token, asked) == 0 &&
            strcmp(l->last, before) == 0)
            rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                            "%s: the list of %s repeats itself", s3->name,
                            prefix);
        max_keys = LIST_MORE;
    } while (rc == RAMET_OK && page->more);
    if (rc == RAMET_OK && l->out_of_order)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "%s: the list of %s is not in order, as S3's lists are",
                        s3->name, prefix);
    if (rc == RAMET_OK && l->of_others)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT,
                        "%s: the list of %s has keys outside of its prefix: "
                        "the service ignores the prefix",
                        s3->name, prefix);
    ramet_buf_done(&query);
    ramet_free(page);
    return rc;
}

static enum ramet_rc
s3_list(struct ramet_objstore *store, const char *prefix, const char *after,
        ramet_objstore_visit *visit, void *ctx, struct ramet_err *err)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;
    struct listing l = {.s3 = s3, .visit = visit, .ctx = ctx};

    assert(visit != NULL);
    return list(s3, prefix, after, LIST_FIRST, &l, err);
}

/* A list of one. */
static enum ramet_rc
s3_first(struct ramet_objstore *store, const char *prefix,
         char out_key[RAMET_KEY_MAX], struct ramet_hash *out_told,
         struct ramet_err *err)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;
    struct listing l = {
        .s3 = s3, .visit = ramet_objstore_take_key, .ctx = out_key};

    assert(out_key[0] == '\0');
    (void)out_told; /* a list says nothing of what is in them */
    return list(s3, prefix, "", 1, &l, err);
}

/* ---- its life --------------------------------------------------------------------- */

static void
s3_requests(const struct ramet_objstore *store,
            struct ramet_store_requests *out)
{
    assert(out != NULL);

    ramet_s3_tally_read(&((const struct ramet_s3store *)store)->tally, out);
}

static void
s3_expect(struct ramet_objstore *store, unsigned count)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;

    assert(count > 0);
    ramet_s3_expect(s3->caller.bucket->engine, count);
}

static void
s3_close(struct ramet_objstore *store)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;

    assert(store->ops->close == s3_close);
    ramet_s3_bucket_close(s3->caller.bucket);
    ramet_free(s3->name);
    ramet_free(s3);
}

static const struct ramet_objstore_ops s3_ops = {
    .put = s3_put,
    .upload_begin = ramet_s3_upload_begin,
    .upload_write = ramet_s3_upload_write,
    .upload_finish = ramet_s3_upload_finish,
    .upload_abort = ramet_s3_upload_abort,
    .read = ramet_s3store_read,
    .read_parts = ramet_s3_read_parts,
    .size = ramet_s3store_size,
    .list = s3_list,
    .first = s3_first,
    .remove = s3_remove,
    .remove_many = ramet_s3_remove_many,
    .expect = s3_expect,
    .requests = s3_requests,
    .close = s3_close,
};

/* Reads are asked twice where that helps, unless RAMET_S3_HEDGE is "off". */
static bool
may_hedge(void)
{
    const char *const value = getenv("RAMET_S3_HEDGE");

    return value == NULL || strcmp(value, "off") != 0;
}

static char *
name_of(const struct ramet_s3_target *target, const char *root, bool hide)
{
    assert(root != NULL);
    if (hide)
        return ramet_strdup("store");
    return ramet_asprintf("%.200s at %.200s", root, target->origin.text);
}

enum ramet_rc
ramet_s3store_open(const char *root, const char *query,
                   const struct ramet_s3_options *options,
                   struct ramet_objstore **out_store, struct ramet_err *err)
{
    struct ramet_s3store *s3;
    struct ramet_s3_place place;
    const char *const why = ramet_s3_place_parse(root, query, &place);
    struct ramet_s3_bucket *bucket;
    enum ramet_rc rc;

    if (why != NULL)
        return RAMET_FAIL(err, RAMET_EINVAL, "%.200s: %s", root, why);
    rc = ramet_s3_bucket_open(&place, options->configured, &bucket, err);
    if (rc != RAMET_OK)
        return rc;
    s3 = ramet_calloc(1, sizeof(*s3));
    if (s3 != NULL)
        s3->name = name_of(&bucket->target, root, options->hide_place);
    if (s3 == NULL || s3->name == NULL) {
        ramet_free(s3);
        ramet_s3_bucket_close(bucket);
        return RAMET_FAIL(err, RAMET_ENOMEM, "S3: out of memory");
    }
    s3->base = (struct ramet_objstore){.ops = &s3_ops,
                                       .traits = RAMET_STORE_LISTS_CHEAPLY |
                                                 RAMET_STORE_READS_PARTS |
                                                 RAMET_STORE_IS_PAID,
                                       .name = s3->name};
    s3->caller = (struct ramet_s3_caller){
        .bucket = bucket,
        .tally = &s3->tally,
        .connect_timeout_ms = options->connect_timeout_ms > 0
                                  ? options->connect_timeout_ms
                                  : 5000,
        .stall_timeout_ms =
            options->stall_timeout_ms > 0 ? options->stall_timeout_ms : 10000,
        .where = s3->name,
    };
    (void)snprintf(s3->prefix, sizeof(s3->prefix), "%s%s", place.prefix,
                   place.prefix[0] != '\0' ? "/" : "");
    s3->caller.prefix_len = strlen(s3->prefix);
    s3->hedge = may_hedge();
    assert(s3->caller.prefix_len < RAMET_S3_PREFIX_MAX + 1);
    *out_store = &s3->base;
    return RAMET_OK;
}

bool
ramet_s3store_clock_ahead(struct ramet_objstore *store, int64_t *out_ms)
{
    struct ramet_s3_bucket *const bucket =
        ((struct ramet_s3store *)store)->caller.bucket;
    const struct ramet_os *const os = ramet_os_system();
    const uint64_t now = os->mono_ns(os->ctx) / 1000000u;
    int64_t date_ms;
    uint64_t dated_ms;

    assert(store->ops == &s3_ops);
    ramet_mutex_lock(&bucket->mutex);
    date_ms = bucket->date_ms;
    dated_ms = bucket->dated_ms;
    ramet_mutex_unlock(&bucket->mutex);
    if (date_ms == 0)
        return false;
    *out_ms =
        (int64_t)os->wall_ms(os->ctx) - (date_ms + (int64_t)(now - dated_ms));
    return true;
}
