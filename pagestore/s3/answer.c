/*
 * answer.c - see answer.h.
 */
#include "pagestore/s3/answer.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum hint {
    NONE,
    AGAIN = 1 << 0,
    RENEW = 1 << 1,
    UNSURE = 1 << 2, /* it may have been done all the same */
    ELSEWHERE = 1 << 3,
};

static const struct {
    const char *code;
    enum ramet_rc rc;
    unsigned hints;
} codes[] = {
    {"NoSuchKey", RAMET_ENOTFOUND, NONE},
    {"NoSuchUpload", RAMET_ENOTFOUND, NONE},
    /* A bucket that is gone must not look like one that lost its objects. */
    {"NoSuchBucket", RAMET_EUNREACHABLE, NONE},
    {"AccessDenied", RAMET_EAUTH, NONE},
    {"AllAccessDisabled", RAMET_EAUTH, NONE},
    {"AccountProblem", RAMET_EAUTH, NONE},
    {"SignatureDoesNotMatch", RAMET_EAUTH, NONE},
    {"InvalidAccessKeyId", RAMET_EAUTH, RENEW},
    {"ExpiredToken", RAMET_EAUTH, RENEW},
    {"ExpiredTokenException", RAMET_EAUTH, RENEW},
    {"InvalidToken", RAMET_EAUTH, RENEW},
    {"TokenRefreshRequired", RAMET_EAUTH, RENEW},
    {"RequestTimeTooSkewed", RAMET_ECLOCK, NONE},
    {"RequestExpired", RAMET_ECLOCK, NONE},
    {"PreconditionFailed", RAMET_EEXIST, NONE},
    {"ConditionalRequestConflict", RAMET_EUNREACHABLE, AGAIN},
    {"OperationAborted", RAMET_EUNREACHABLE, AGAIN},
    {"SlowDown", RAMET_EUNREACHABLE, AGAIN},
    {"SlowDownRead", RAMET_EUNREACHABLE, AGAIN},
    {"SlowDownWrite", RAMET_EUNREACHABLE, AGAIN},
    {"Throttling", RAMET_EUNREACHABLE, AGAIN},
    {"RequestLimitExceeded", RAMET_EUNREACHABLE, AGAIN},
    {"TooManyRequests", RAMET_EUNREACHABLE, AGAIN},
    {"RequestTimeout", RAMET_EUNREACHABLE, AGAIN},
    {"ServiceUnavailable", RAMET_EUNREACHABLE, AGAIN | UNSURE},
    {"InternalError", RAMET_EUNREACHABLE, AGAIN | UNSURE},
    /* The store got other bytes than were sent. */
    {"BadDigest", RAMET_EIO, AGAIN},
    {"InvalidDigest", RAMET_EIO, AGAIN},
    {"XAmzContentSHA256Mismatch", RAMET_EIO, AGAIN},
    {"XAmzContentChecksumMismatch", RAMET_EIO, AGAIN},
    {"IncompleteBody", RAMET_EIO, AGAIN},
    {"EntityTooLarge", RAMET_ETOOBIG, NONE},
    {"QuotaExceeded", RAMET_EFULL, NONE},
    {"XMinioStorageFull", RAMET_EFULL, NONE},
    {"NotImplemented", RAMET_EREFUSED, NONE},
    {"MethodNotAllowed", RAMET_EREFUSED, NONE},
    {"AuthorizationHeaderMalformed", RAMET_EINVAL, ELSEWHERE},
    {"PermanentRedirect", RAMET_EINVAL, ELSEWHERE},
    {"TemporaryRedirect", RAMET_EUNREACHABLE, ELSEWHERE},
    {"IllegalLocationConstraintException", RAMET_EINVAL, ELSEWHERE},
    {"InvalidBucketName", RAMET_EINVAL, NONE},
};

static bool
changes_something(const struct ramet_s3_exchange *x)
{
    assert(x->method != NULL);
    return strcmp(x->method, "GET") != 0 && strcmp(x->method, "HEAD") != 0;
}

static void
set(struct ramet_s3_verdict *v, enum ramet_rc rc, unsigned hints)
{
    assert((hints & ELSEWHERE) == 0 || rc != RAMET_OK);
    v->rc = rc;
    v->again = (hints & AGAIN) != 0;
    v->renew = (hints & RENEW) != 0;
    v->maybe_done = (hints & UNSURE) != 0;
    v->elsewhere = (hints & ELSEWHERE) != 0;
}

/* As far as a status tells; without an answer's XML it may be of somebody on the
 * way. */
static void
judge_status(struct ramet_s3_verdict *v, const struct ramet_s3_exchange *x)
{
    const bool silent = strcmp(x->method, "HEAD") == 0 || x->answer.len == 0;

    assert(x->code == CURLE_OK && (x->status < 200 || x->status >= 300));
    switch (x->status) {
    case 401:
    case 403:
        set(v, RAMET_EAUTH, NONE);
        return;
    case 404:
        set(v, silent ? RAMET_ENOTFOUND : RAMET_EUNREACHABLE, NONE);
        return;
    case 409:
    case 408:
    case 425:
    case 429:
        set(v, RAMET_EUNREACHABLE, AGAIN);
        return;
    case 412:
        set(v, RAMET_EEXIST, NONE);
        return;
    case 413:
        set(v, RAMET_ETOOBIG, NONE);
        return;
    case 501:
        set(v, RAMET_EREFUSED, NONE);
        return;
    case 507:
        set(v, RAMET_EFULL, NONE);
        return;
    default:
        break;
    }
    if (x->status >= 500)
        set(v, RAMET_EUNREACHABLE, AGAIN | UNSURE);
    else
        set(v, RAMET_EINVAL, x->status < 400 ? ELSEWHERE : NONE);
}

/* A code that is not in the table is S3's all the same: the status decides. */
static void
judge_code(struct ramet_s3_verdict *v, const struct ramet_s3_exchange *x)
{
    assert(v->error.code[0] != '\0');
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (strcmp(v->error.code, codes[i].code) == 0) {
            set(v, codes[i].rc, codes[i].hints);
            return;
        }
    }
    judge_status(v, x);
    if (x->status == 404)
        set(v, RAMET_ENOTFOUND, NONE);
}

/* No answer. */
static void
judge_transport(struct ramet_s3_verdict *v, const struct ramet_s3_exchange *x)
{
    const unsigned unsure = x->sent_all ? UNSURE : NONE;

    assert(x->code != CURLE_OK);
    if (x->cancelled)
        set(v, RAMET_ECANCELLED, unsure);
    else if (x->too_big)
        set(v, RAMET_ETOOBIG, unsure);
    else if (x->code == CURLE_OUT_OF_MEMORY || x->answer.failed == RAMET_ENOMEM)
        set(v, RAMET_ENOMEM, unsure);
    else if (x->code == CURLE_PEER_FAILED_VERIFICATION ||
             x->code == CURLE_SSL_CACERT_BADFILE ||
             x->code == CURLE_URL_MALFORMAT ||
             x->code == CURLE_UNSUPPORTED_PROTOCOL)
        set(v, RAMET_EUNREACHABLE, NONE);
    else if (x->connected &&
             (x->out_of_patience || x->code == CURLE_OPERATION_TIMEDOUT))
        set(v, RAMET_ETIMEOUT, AGAIN | unsure);
    else
        set(v, RAMET_EUNREACHABLE, AGAIN | unsure);
}

void
ramet_s3_judge(const struct ramet_s3_exchange *x,
               struct ramet_s3_verdict *out_verdict)
{
    struct ramet_s3_verdict v = {.rc = RAMET_OK};

    assert(x->done);
    if (x->code != CURLE_OK)
        judge_transport(&v, x);
    else if ((x->status >= 200 && x->status < 300) || x->status == 416)
        v.rc = RAMET_OK;
    else if (ramet_s3_error_parse(x->answer.data, x->answer.len, &v.error))
        judge_code(&v, x);
    else
        judge_status(&v, x);
    v.maybe_done = v.maybe_done && changes_something(x);
    assert(v.rc != RAMET_OK || (!v.again && !v.renew && !v.maybe_done));
    *out_verdict = v;
}

/* ---- in words --------------------------------------------------------------------- */

static const char *
why_no_answer(const struct ramet_s3_exchange *x)
{
    assert(x->code != CURLE_OK);
    if (x->cancelled)
        return "the wait was cancelled";
    if (x->too_big)
        return "an answer without end";
    if (x->out_of_patience)
        return "nothing came for too long, or too slowly";
    if (x->code == CURLE_WEIRD_SERVER_REPLY)
        return "what answers there does not speak HTTP; check the endpoint";
    if (x->code == CURLE_SSL_CONNECT_ERROR)
        return "no TLS connection (is it https:// there?); check the endpoint";
    if (x->code == CURLE_PEER_FAILED_VERIFICATION)
        return "its certificate is not trusted (AWS_CA_BUNDLE names other "
               "authorities)";
    return curl_easy_strerror(x->code);
}

/* What to do about it, where that is known. */
static const char *
advice(const struct ramet_s3_exchange *x, const struct ramet_s3_verdict *v,
       const char *withheld_why)
{
    const bool denied = v->rc == RAMET_EAUTH;

    assert(v->rc != RAMET_OK);
    if (denied && withheld_why != NULL)
        return withheld_why;
    if (strcmp(v->error.code, "SignatureDoesNotMatch") == 0)
        return "check the secret key, and the region";
    if (denied && strcmp(v->error.code, "AccessDenied") != 0)
        return "check the keys: AWS_ACCESS_KEY_ID, or the profile";
    if (denied && strcmp(x->method, "GET") == 0)
        return "check the rights of these keys to read and to list (without "
               "the latter S3 says this of what is not there, too)";
    if (denied)
        return "check the rights of these keys";
    if (v->rc == RAMET_ECLOCK)
        return "S3 takes no request that is off by 15 minutes";
    if (strcmp(v->error.code, "NoSuchBucket") == 0)
        return "make the bucket, or check the name and the endpoint";
    if (v->rc == RAMET_EREFUSED)
        return "it lacks what Ramet needs of a store: check the list in "
               "docs/stores.md";
    if (v->error.code[0] == '\0' && x->status == 404)
        return "who answers there is no S3 service; check the endpoint";
    return NULL;
}

enum ramet_rc
ramet_s3_explain(const struct ramet_s3_exchange *x,
                 const struct ramet_s3_verdict *v, const char *where,
                 const char *what, const char *withheld_why,
                 struct ramet_err *err)
{
    const char *const todo = advice(x, v, withheld_why);
    const char *const region =
        x->region[0] != '\0' ? x->region : v->error.region;
    char said[RAMET_S3_CODE_MAX + RAMET_S3_MESSAGE_MAX + 32];

    assert(v->rc != RAMET_OK);
    assert(where != NULL && what != NULL);
    if (x->code != CURLE_OK)
        return RAMET_FAIL(err, v->rc, "%s: %s: %s", where, what,
                          why_no_answer(x));
    if (v->elsewhere && region[0] != '\0')
        return RAMET_FAIL(err, v->rc,
                          "%s: the bucket is in region %s: say "
                          "?region=%s, or AWS_REGION",
                          where, region, region);
    if (v->error.code[0] != '\0')
        (void)snprintf(said, sizeof(said), "%s%s%.160s", v->error.code,
                       v->error.message[0] != '\0' ? ": " : "",
                       v->error.message);
    else
        (void)snprintf(said, sizeof(said), "HTTP status %u", x->status);
    return RAMET_FAIL(err, v->rc, "%s: %s: %s%s%s", where, what, said,
                      todo != NULL ? "; " : "", todo != NULL ? todo : "");
}
