/*
 * test_answer.c - what an answer, or none, means: is it done, may it be, is it
 * worth another try.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "pagestore/s3/answer.h"

struct answer {
    const char *method;
    unsigned status;
    const char *body; /* an S3 code, or a document that begins with '<' */
    enum ramet_rc rc;
    bool again, maybe_done;
};

static struct ramet_s3_verdict
judge(const struct answer *a)
{
    struct ramet_s3_exchange x = {
        .method = a->method, .status = a->status, .done = true};
    struct ramet_s3_verdict v;
    char text[300] = "";

    if (a->body != NULL && a->body[0] == '<')
        snprintf(text, sizeof(text), "%s", a->body);
    else if (a->body != NULL)
        snprintf(text, sizeof(text), "<Error><Code>%s</Code></Error>", a->body);
    x.answer.data = (uint8_t *)text;
    x.answer.len = strlen(text);
    ramet_s3_judge(&x, &v);
    return v;
}

static void
answer__means_what_its_code_or_status_says(void **state)
{
    static const struct answer cases[] = {
        {"GET", 200, NULL, RAMET_OK, false, false},
        {"GET", 206, NULL, RAMET_OK, false, false},
        {"GET", 416, "InvalidRange", RAMET_OK, false, false},
        {"PUT", 412, "PreconditionFailed", RAMET_EEXIST, false, false},
        {"PUT", 412, NULL, RAMET_EEXIST, false, false},
        {"PUT", 409, "ConditionalRequestConflict", RAMET_EUNREACHABLE, true,
         false},
        {"GET", 404, "NoSuchKey", RAMET_ENOTFOUND, false, false},
        {"HEAD", 404, NULL, RAMET_ENOTFOUND, false, false},
        {"GET", 404, "SomethingNew", RAMET_ENOTFOUND, false, false},
        {"GET", 404, "NoSuchBucket", RAMET_EUNREACHABLE, false, false},
        /* No S3 said that. */
        {"GET", 404, "<html>nginx</html>", RAMET_EUNREACHABLE, false, false},
        {"GET", 403, "AccessDenied", RAMET_EAUTH, false, false},
        {"GET", 403, "RequestTimeTooSkewed", RAMET_ECLOCK, false, false},
        {"PUT", 400, "XAmzContentSHA256Mismatch", RAMET_EIO, true, false},
        {"PUT", 400, "RequestTimeout", RAMET_EUNREACHABLE, true, false},
        {"PUT", 501, "NotImplemented", RAMET_EREFUSED, false, false},
        {"PUT", 507, NULL, RAMET_EFULL, false, false},
        {"GET", 429, "SomethingNew", RAMET_EUNREACHABLE, true, false},
        /* Told before anything was done. */
        {"PUT", 503, "SlowDown", RAMET_EUNREACHABLE, true, false},
        /* By a proxy perhaps, after it was done. */
        {"PUT", 503, "<html>", RAMET_EUNREACHABLE, true, true},
        {"PUT", 500, "InternalError", RAMET_EUNREACHABLE, true, true},
        {"PUT", 504, "SomethingNew", RAMET_EUNREACHABLE, true, true},
        {"GET", 500, "InternalError", RAMET_EUNREACHABLE, true, false},
        {"GET", 301, "PermanentRedirect", RAMET_EINVAL, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct ramet_s3_verdict v = judge(&cases[i]);

        if (v.rc != cases[i].rc || v.again != cases[i].again ||
            v.maybe_done != cases[i].maybe_done)
            print_error("%s %u %s: %s, again %d, maybe %d\n", cases[i].method,
                        cases[i].status, cases[i].body, ramet_rc_name(v.rc),
                        v.again, v.maybe_done);
        assert_int_equal(v.rc, cases[i].rc);
        assert_int_equal(v.again, cases[i].again);
        assert_int_equal(v.maybe_done, cases[i].maybe_done);
    }
}

static struct ramet_s3_verdict
judge_none(const char *method, CURLcode code, bool connected, bool sent_all)
{
    const struct ramet_s3_exchange x = {.method = method,
                                        .code = code,
                                        .connected = connected,
                                        .sent_all = sent_all,
                                        .done = true};
    struct ramet_s3_verdict v;

    ramet_s3_judge(&x, &v);
    return v;
}

/* The line between "not done" and "may be": did the whole request go out? */
static void
no_answer__may_be_done_only_if_all_was_sent(void **state)
{
    struct ramet_s3_verdict v =
        judge_none("PUT", CURLE_COULDNT_CONNECT, false, false);

    (void)state;
    assert_int_equal(v.rc, RAMET_EUNREACHABLE);
    assert_true(v.again && !v.maybe_done);
    v = judge_none("PUT", CURLE_SEND_ERROR, true, false);
    assert_true(v.again && !v.maybe_done);
    v = judge_none("PUT", CURLE_RECV_ERROR, true, true);
    assert_true(v.again && v.maybe_done);
    v = judge_none("GET", CURLE_PARTIAL_FILE, true, true);
    assert_true(v.again && !v.maybe_done);
    v = judge_none("PUT", CURLE_OPERATION_TIMEDOUT, true, true);
    assert_int_equal(v.rc, RAMET_ETIMEOUT);
    assert_true(v.maybe_done);
    v = judge_none("GET", CURLE_PEER_FAILED_VERIFICATION, false, false);
    assert_int_equal(v.rc, RAMET_EUNREACHABLE);
    assert_false(v.again);
}

static void
expired_keys__are_worth_others(void **state)
{
    static const struct answer expired = {
        .method = "GET", .status = 400, .body = "ExpiredToken"};
    static const struct answer denied = {
        .method = "GET", .status = 403, .body = "AccessDenied"};

    (void)state;
    assert_true(judge(&expired).renew);
    assert_int_equal(judge(&expired).rc, RAMET_EAUTH);
    assert_false(judge(&denied).renew);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answer__means_what_its_code_or_status_says),
        cmocka_unit_test(no_answer__may_be_done_only_if_all_was_sent),
        cmocka_unit_test(expired_keys__are_worth_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
