/*
 * object.c - one object of the store: its size, its bytes, and putting it;
 * by the invariants of s3store.h.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "pagestore/s3/s3store_impl.h"

#define COMPARE_BYTES (256u << 10)

void
ramet_s3store_key(const struct ramet_s3store *s3, const char *key,
                  char out[RAMET_S3_KEY_MAX])
{
    assert(key != NULL);
    (void)snprintf(out, RAMET_S3_KEY_MAX, "%s%s", s3->prefix, key);
}

enum ramet_rc
ramet_s3store_size(struct ramet_objstore *store, const char *key,
                   uint64_t *out_size_bytes, struct ramet_err *err)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;
    char full[RAMET_S3_KEY_MAX];
    struct ramet_s3_request request = {
        .method = "HEAD", .kind = RAMET_REQUEST_HEAD, .key = full};
    enum ramet_rc rc;

    assert(out_size_bytes != NULL);
    ramet_s3store_key(s3, key, full);
    rc = ramet_s3_perform(&s3->caller, &request, err);
    ramet_buf_done(&request.answer);
    if (rc == RAMET_OK && !request.has_total)
        rc = RAMET_FAIL(err, RAMET_ECORRUPT, "%s: %s: no Content-Length",
                        s3->name, key);
    if (rc == RAMET_OK)
        *out_size_bytes = request.total;
    return rc;
}

static enum ramet_rc
take_range(const struct ramet_s3store *s3, const char *key,
           const struct ramet_s3_request *request, void *buf, size_t *out_got,
           struct ramet_err *err)
{
    const size_t len = (size_t)request->range_length;
    const size_t got = request->answer.len;

    assert(request->has_range && len > 0);
    if (request->status == 416) {
        *out_got = 0;
        return RAMET_OK;
    }
    if (request->status == 200 && request->range_offset != 0)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: range requests are not honoured", s3->name);
    if (got > len || (got < len && request->status == 206 &&
                      (!request->has_total ||
                       request->total != request->range_offset + got)))
        return RAMET_FAIL(err, RAMET_ECORRUPT,
                          "%s: %s: %zu bytes at %" PRIu64
                          " are not the range that was asked for",
                          s3->name, key, got, request->range_offset);
    if (got > 0)
        memcpy(buf, request->answer.data, got);
    *out_got = got;
    return RAMET_OK;
}

enum ramet_rc
ramet_s3store_read(struct ramet_objstore *store, const char *key,
                   uint64_t offset, void *buf, size_t len, size_t *out_got,
                   struct ramet_err *err)
{
    struct ramet_s3store *const s3 = (struct ramet_s3store *)store;
    char full[RAMET_S3_KEY_MAX];
    struct ramet_s3_request request = {
        .method = "GET",
        .kind = RAMET_REQUEST_GET,
        .key = full,
        .has_range = true,
        .range_offset = offset,
        .range_length = len,
        .hedge = s3->hedge,
        .answer_max = len,
    };
    uint64_t size;
    enum ramet_rc rc;

    if (len == 0 || offset > INT64_MAX - len) { /* past any object's end */
        *out_got = 0;
        return ramet_s3store_size(store, key, &size, err);
    }
    ramet_s3store_key(s3, key, full);
    rc = ramet_s3_perform(&s3->caller, &request, err);
    if (rc == RAMET_OK)
        rc = take_range(s3, key, &request, buf, out_got, err);
    assert(rc != RAMET_OK || *out_got <= len);
    ramet_buf_done(&request.answer);
    return rc;
}

/* Are these `parts` what is under the key? */
static enum ramet_rc
compare(struct ramet_s3store *s3, const char *key, const struct iovec *parts,
        int part_count, bool *out_same, struct ramet_err *err)
{
    uint8_t *const buf = ramet_alloc(COMPARE_BYTES);
    uint64_t offset = 0;
    size_t got = 0;
    bool same = true;
    enum ramet_rc rc = RAMET_OK;

    assert(out_same != NULL && part_count >= 0);
    if (buf == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: out of memory", s3->name);
    for (int i = 0; i < part_count && same && rc == RAMET_OK; i++) {
        const uint8_t *bytes = parts[i].iov_base;
        size_t left = parts[i].iov_len;

        while (left > 0 && same && rc == RAMET_OK) {
            const size_t len = left < COMPARE_BYTES ? left : COMPARE_BYTES;

            rc =
                ramet_s3store_read(&s3->base, key, offset, buf, len, &got, err);
            same = rc == RAMET_OK && got == len && memcmp(buf, bytes, len) == 0;
            bytes += len;
            left -= len;
            offset += len;
        }
    }
    if (rc == RAMET_OK && same) {
        rc = ramet_s3store_read(&s3->base, key, offset, buf, 1, &got, err);
        same = got == 0; /* and no more than they */
    }
    ramet_free(buf);
    *out_same = same;
    return rc;
}

enum ramet_rc
ramet_s3store_put_now(struct ramet_s3store *s3, const char *key,
                      const struct iovec *parts, int part_count,
                      struct ramet_err *err)
{
    char full[RAMET_S3_KEY_MAX];
    struct ramet_s3_request request = {
        .method = "PUT",
        .kind = RAMET_REQUEST_PUT,
        .key = full,
        .parts = parts,
        .part_count = part_count,
        .if_none_match = true,
    };
    bool ours = false;
    enum ramet_rc rc;

    assert(parts != NULL || part_count == 0);
    ramet_s3store_key(s3, key, full);
    rc = ramet_s3_perform(&s3->caller, &request, err);
    ramet_buf_done(&request.answer);
    if (rc != RAMET_EEXIST || !request.maybe_done)
        return rc;
    /* An earlier try of ours may have been it: invariant (3). */
    if (compare(s3, key, parts, part_count, &ours, NULL) != RAMET_OK)
        return RAMET_FAIL(err, RAMET_EUNKNOWN,
                          "%s: %s: the answer was lost, and what is there "
                          "can't be read",
                          s3->name, key);
    return ours ? RAMET_OK : rc;
}
