/*
 * test_xml.c - the documents that S3 services answer with.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagestore/s3/xml.h"

static const char page[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
    "<Name>bucket</Name><IsTruncated>true</IsTruncated>"
    "<NextContinuationToken>a/b+c==</NextContinuationToken>\n"
    " <Contents><Key>p/one</Key><Owner><ID>x</ID></Owner><Size>1</Size>"
    "</Contents>"
    "<Contents><Key>p/t&amp;wo</Key><Size>4294967296</Size></Contents>"
    "<CommonPrefixes><Prefix>q</Prefix></CommonPrefixes>"
    "</ListBucketResult>";

struct seen {
    char keys[8][64];
    uint64_t sizes[8];
    unsigned count, stop_at;
};

static bool
see(void *ctx, const char *key, uint64_t size_bytes)
{
    struct seen *const seen = ctx;

    snprintf(seen->keys[seen->count], sizeof(seen->keys[0]), "%s", key);
    seen->sizes[seen->count++] = size_bytes;
    return seen->count != seen->stop_at;
}

static void
listing__gives_keys_sizes_and_how_it_goes_on(void **state)
{
    struct seen seen = {.count = 0};
    struct ramet_s3_listing *l = calloc(1, sizeof(*l));

    (void)state;
    l->visit = see;
    l->ctx = &seen;
    assert_int_equal(ramet_s3_listing_parse(page, strlen(page), l, NULL),
                     RAMET_OK);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.keys[0], "p/one");
    assert_string_equal(seen.keys[1], "p/t&wo");
    assert_true(seen.sizes[1] == UINT64_C(4294967296));
    assert_true(l->more);
    assert_string_equal(l->token, "a/b+c==");
    /* Who has what he wants ends it. */
    seen = (struct seen){.stop_at = 1};
    l->visit = see;
    assert_int_equal(ramet_s3_listing_parse(page, strlen(page), l, NULL),
                     RAMET_OK);
    assert_int_equal(seen.count, 1);
    assert_false(l->more);
    free(l);
}

static void
listing__cut_anywhere_is_none(void **state)
{
    struct ramet_s3_listing *l = calloc(1, sizeof(*l));

    (void)state;
    for (size_t len = 0; len < strlen(page); len++) {
        struct seen seen = {.count = 0};
        char *const exact = malloc(len > 0 ? len : 1);

        memcpy(exact, page, len);
        l->visit = see;
        l->ctx = &seen;
        assert_int_equal(ramet_s3_listing_parse(exact, len, l, NULL),
                         RAMET_ECORRUPT);
        free(exact);
    }
    free(l);
}

static void
listing__that_lacks_what_it_must_have_is_none(void **state)
{
    static const char *const bad[] = {
        "<ListBucketResult/>",
        "<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents>"
        "<Key>a</Key></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents>"
        "<Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>false</IsTruncated><Contents>"
        "<Key>a</Key><Size>99999999999999999999</Size></Contents>"
        "</ListBucketResult>",
        "<Error><Code>x</Code></Error>",
        "<html><body>It works!</body></html>",
        "{}",
    };
    struct ramet_s3_listing *l = calloc(1, sizeof(*l));

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct seen seen = {.count = 0};

        l->visit = see;
        l->ctx = &seen;
        assert_int_equal(
            ramet_s3_listing_parse(bad[i], strlen(bad[i]), l, NULL),
            RAMET_ECORRUPT);
    }
    free(l);
}

static bool
any(void *ctx, const char *path, const char *text)
{
    (void)ctx;
    (void)path;
    (void)text;
    return true;
}

static void
xml__that_could_grow_is_refused(void **state)
{
    static const char doctype[] = "<!DOCTYPE a [<!ENTITY b \"x\">]><a>&b;</a>";
    static const char external[] =
        "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>";
    char deep[400] = "", *long_text = malloc(20000);

    (void)state;
    assert_int_equal(ramet_xml_parse(doctype, strlen(doctype), any, NULL, NULL),
                     RAMET_ECORRUPT);
    assert_int_equal(
        ramet_xml_parse(external, strlen(external), any, NULL, NULL),
        RAMET_ECORRUPT);
    for (int i = 0; i < 20; i++)
        strcat(deep, "<a>");
    for (int i = 0; i < 20; i++)
        strcat(deep, "</a>");
    assert_int_equal(ramet_xml_parse(deep, strlen(deep), any, NULL, NULL),
                     RAMET_ECORRUPT);
    memset(long_text, 'x', 20000);
    memcpy(long_text, "<a>", 3);
    memcpy(long_text + 19996, "</a>", 4);
    assert_int_equal(ramet_xml_parse(long_text, 20000, any, NULL, NULL),
                     RAMET_ECORRUPT);
    free(long_text);
}

static void
error__is_told_from_other_documents(void **state)
{
    static const char text[] =
        "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Reduce "
        "your rate</Message><RequestId>R1</RequestId></Error>";
    struct ramet_s3_error error;

    (void)state;
    assert_true(ramet_s3_error_parse(text, strlen(text), &error));
    assert_string_equal(error.code, "SlowDown");
    assert_string_equal(error.message, "Reduce your rate");
    assert_string_equal(error.request_id, "R1");
    assert_false(ramet_s3_error_parse(page, strlen(page), &error));
    assert_false(ramet_s3_error_parse("", 0, &error));
    assert_false(ramet_s3_error_parse("<Error/>", 8, &error));
}

static void
field__is_found_by_its_path(void **state)
{
    static const char text[] =
        "<s:InitiateMultipartUploadResult xmlns:s=\"x\">"
        "<s:UploadId>id</s:UploadId></s:InitiateMultipartUploadResult>";
    char out[8];

    (void)state;
    assert_true(ramet_s3_field(text, strlen(text),
                               "InitiateMultipartUploadResult/UploadId", out,
                               sizeof(out)));
    assert_string_equal(out, "id");
    assert_false(ramet_s3_field(text, strlen(text),
                                "InitiateMultipartUploadResult/UploadId", out,
                                2)); /* no room */
    assert_true(ramet_s3_field(text, strlen(text), "Other", out, sizeof(out)));
    assert_string_equal(out, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listing__gives_keys_sizes_and_how_it_goes_on),
        cmocka_unit_test(listing__cut_anywhere_is_none),
        cmocka_unit_test(listing__that_lacks_what_it_must_have_is_none),
        cmocka_unit_test(xml__that_could_grow_is_refused),
        cmocka_unit_test(error__is_told_from_other_documents),
        cmocka_unit_test(field__is_found_by_its_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
