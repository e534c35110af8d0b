/*
 * test_sigv4.c - signing, against what AWS published: the examples of the S3
 * documentation ("Authenticating requests using the Authorization header") and
 * of the Signature Version 4 test suite.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "pagestore/s3/sigv4.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct ramet_sigv4_scope s3_scope = {
    .access_key = "AKIAIOSFODNN7EXAMPLE",
    .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    .region = "us-east-1",
    .service = "s3",
    .time = "20130524T000000Z",
};

static void
assert_signature(const struct ramet_sigv4_request *request,
                 const struct ramet_sigv4_scope *scope, const char *signature)
{
    char out[RAMET_SIGV4_AUTH];

    assert_int_equal(ramet_sigv4_authorize(request, scope, out, NULL),
                     RAMET_OK);
    assert_string_equal(strstr(out, "Signature=") + 10, signature);
}

static void
sign__get_object_is_the_published_one(void **state)
{
    static const struct ramet_sigv4_header headers[] = {
        {"host", "examplebucket.s3.amazonaws.com"},
        {"range", "bytes=0-9"},
        {"x-amz-content-sha256", EMPTY},
        {"x-amz-date", "20130524T000000Z"},
    };
    const struct ramet_sigv4_request request = {"GET",   "/test.txt", "",
                                                headers, 4,           EMPTY};
    char out[RAMET_SIGV4_AUTH];

    (void)state;
    assert_signature(
        &request, &s3_scope,
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    assert_int_equal(ramet_sigv4_authorize(&request, &s3_scope, out, NULL),
                     RAMET_OK);
    assert_string_equal(
        out,
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/"
        "s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;"
        "x-amz-date,Signature="
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void
sign__put_object_is_the_published_one(void **state)
{
    static const char sha256[] =
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    static const struct ramet_sigv4_header headers[] = {
        {"date", "Fri, 24 May 2013 00:00:00 GMT"},
        {"host", "examplebucket.s3.amazonaws.com"},
        {"x-amz-content-sha256", sha256},
        {"x-amz-date", "20130524T000000Z"},
        {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
    };
    const struct iovec text = {(void *)(uintptr_t) "Welcome to Amazon S3.", 21};
    struct ramet_sigv4_request request = {"PUT", NULL, "", headers, 5, sha256};
    char hex[RAMET_SHA256_HEX];
    struct ramet_buf path;

    (void)state;
    assert_true(ramet_sha256_hex(&text, 1, hex));
    assert_string_equal(hex, sha256);
    ramet_buf_init(&path, 100);
    ramet_sigv4_escape(&path, "/test$file.text", true);
    ramet_buf_u8(&path, 0);
    request.path = (const char *)path.data;
    assert_string_equal(request.path, "/test%24file.text");
    assert_signature(
        &request, &s3_scope,
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    ramet_buf_done(&path);
}

static void
sign__queries_are_the_published_ones(void **state)
{
    static const struct ramet_sigv4_header headers[] = {
        {"host", "examplebucket.s3.amazonaws.com"},
        {"x-amz-content-sha256", EMPTY},
        {"x-amz-date", "20130524T000000Z"},
    };
    struct ramet_sigv4_request request = {
        "GET", "/", "lifecycle=", headers, 3, EMPTY};

    (void)state;
    assert_signature(
        &request, &s3_scope,
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    request.query = "max-keys=2&prefix=J";
    assert_signature(
        &request, &s3_scope,
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

/* get-vanilla of the test suite: another service, no S3 header. */
static void
sign__the_test_suites_vanilla_get_matches(void **state)
{
    static const struct ramet_sigv4_header headers[] = {
        {"host", "example.amazonaws.com"},
        {"x-amz-date", "20150830T123600Z"},
    };
    const struct ramet_sigv4_request request = {"GET",   "/", "",
                                                headers, 2,   EMPTY};
    const struct ramet_sigv4_scope scope = {
        .access_key = "AKIDEXAMPLE",
        .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        .region = "us-east-1",
        .service = "service",
        .time = "20150830T123600Z",
    };

    (void)state;
    assert_signature(
        &request, &scope,
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

static void
sign__what_is_too_long_is_refused(void **state)
{
    static const struct ramet_sigv4_header headers[] = {
        {"host", "h"}, {"x-amz-date", "20150830T123600Z"}};
    const struct ramet_sigv4_request request = {"GET",   "/", "",
                                                headers, 2,   EMPTY};
    struct ramet_sigv4_scope scope = s3_scope;
    char key[1200], out[RAMET_SIGV4_AUTH];

    (void)state;
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    scope.secret_key = key;
    assert_int_equal(ramet_sigv4_authorize(&request, &scope, out, NULL),
                     RAMET_EINVAL);
    scope = s3_scope;
    scope.access_key = key;
    assert_int_equal(ramet_sigv4_authorize(&request, &scope, out, NULL),
                     RAMET_EINVAL);
}

static void
time__is_utc_to_the_second(void **state)
{
    char out[RAMET_SIGV4_TIME];

    (void)state;
    ramet_sigv4_time(UINT64_C(1369353600999), out);
    assert_string_equal(out, "20130524T000000Z");
    ramet_sigv4_time(0, out);
    assert_string_equal(out, "19700101T000000Z");
    ramet_sigv4_time(UINT64_MAX, out); /* no such year; no crash */
    assert_int_equal(strlen(out), RAMET_SIGV4_TIME - 1);
}

static void
escape__leaves_unreserved_characters_only(void **state)
{
    struct ramet_buf out;

    (void)state;
    ramet_buf_init(&out, 1000);
    ramet_sigv4_escape(&out, "aZ09-._~/ =+&?%\xc3\xa4*", false);
    ramet_buf_u8(&out, 0);
    assert_string_equal((char *)out.data,
                        "aZ09-._~%2F%20%3D%2B%26%3F%25%C3%A4%2A");
    ramet_buf_done(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sign__get_object_is_the_published_one),
        cmocka_unit_test(sign__put_object_is_the_published_one),
        cmocka_unit_test(sign__queries_are_the_published_ones),
        cmocka_unit_test(sign__the_test_suites_vanilla_get_matches),
        cmocka_unit_test(sign__what_is_too_long_is_refused),
        cmocka_unit_test(time__is_utc_to_the_second),
        cmocka_unit_test(escape__leaves_unreserved_characters_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
