/*
 * test_rules.c - which lifecycle rules of a bucket take a store's objects.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pagestore/s3/rules.h"

#define BEGIN                                                                  \
    "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/"  \
    "\">"
#define END "</LifecycleConfiguration>"

static const struct {
    const char *rule, *prefix, *found;
} cases[] = {
    {"", "a/", ""},
    {"<Rule><ID>by age</ID><Filter><Prefix></Prefix></Filter>"
     "<Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>",
     "a/", "by age"},
    {"<Rule><ID>old form</ID><Prefix>a/</Prefix><Status>Enabled</Status>"
     "<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration></Rule>",
     "a/b/", "old form"},
    {"<Rule><ID>a part of it</ID><Filter><And><Prefix>a/volumes/</Prefix>"
     "<Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>"
     "<Status>Enabled</Status><Transition><Days>1</Days>"
     "<StorageClass>GLACIER</StorageClass></Transition></Rule>",
     "a/", "a part of it"},
    {"<Rule><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>"
     "</Rule>",
     "", "(without a name)"},
    {"<Rule><ID>off</ID><Prefix></Prefix><Status>Disabled</Status>"
     "<Expiration><Days>1</Days></Expiration></Rule>",
     "a/", ""},
    {"<Rule><ID>elsewhere</ID><Prefix>logs/</Prefix><Status>Enabled</Status>"
     "<Expiration><Days>1</Days></Expiration></Rule>",
     "a/", ""},
    {"<Rule><ID>uploads</ID><Prefix></Prefix><Status>Enabled</Status>"
     "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1"
     "</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>",
     "a/", ""},
    {"<Rule><ID>versions</ID><Prefix></Prefix><Status>Enabled</Status>"
     "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>"
     "</NoncurrentVersionExpiration><Expiration><ExpiredObjectDeleteMarker>"
     "true</ExpiredObjectDeleteMarker></Expiration></Rule>",
     "a/", ""},
    {"<Rule><ID>off</ID><Prefix></Prefix><Status>Disabled</Status>"
     "<Expiration><Days>1</Days></Expiration></Rule>"
     "<Rule><ID>second</ID><Prefix></Prefix><Status>Enabled</Status>"
     "<Expiration><Days>1</Days></Expiration></Rule>",
     "a/", "second"},
};

static void
rules__are_found_by_what_they_take_and_where(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[2048], rule[RAMET_S3_RULE_MAX] = "?";
        struct ramet_err err;

        snprintf(text, sizeof(text), BEGIN "%s" END, cases[i].rule);
        assert_int_equal(ramet_s3_rules_parse(text, strlen(text),
                                              cases[i].prefix, rule, &err),
                         RAMET_OK);
        assert_string_equal(rule, cases[i].found);
    }
}

static void
rules__that_are_none_are_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "x",
        "<html></html>",
        "<Error><Code>X</Code></Error>",
        BEGIN,
        "<!DOCTYPE x [<!ENTITY e \"e\">]>" BEGIN END};
    char rule[RAMET_S3_RULE_MAX] = "?";

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(
            ramet_s3_rules_parse(texts[i], strlen(texts[i]), "", rule, NULL),
            RAMET_ECORRUPT);
    assert_string_equal(rule, "?");
}

/* None is taken for less than it was. */
static void
rules__that_are_cut_are_refused(void **state)
{
    char whole[2048], rule[RAMET_S3_RULE_MAX];

    (void)state;
    snprintf(whole, sizeof(whole), BEGIN "%s" END, cases[1].rule);
    for (size_t len = 0; len < strlen(whole); len++) {
        char *const part = malloc(len + 1); /* so that a sanitizer sees */

        memcpy(part, whole, len);
        assert_int_equal(ramet_s3_rules_parse(part, len, "", rule, NULL),
                         RAMET_ECORRUPT);
        free(part);
    }
}

/* A key may be as long as S3 allows: what does not fit meets too much. */
static void
rules__with_a_long_prefix_are_rather_told(void **state)
{
    char prefix[1025], text[2048], rule[RAMET_S3_RULE_MAX];

    (void)state;
    memset(prefix, 'a', sizeof(prefix) - 1);
    prefix[sizeof(prefix) - 1] = '\0';
    snprintf(text, sizeof(text),
             BEGIN
             "<Rule><ID>long</ID><Prefix>%s</Prefix><Status>Enabled"
             "</Status><Expiration><Days>1</Days></Expiration></Rule>" END,
             prefix);
    assert_int_equal(
        ramet_s3_rules_parse(text, strlen(text), "aaa/", rule, NULL), RAMET_OK);
    assert_string_equal(rule, "");
    assert_int_equal(
        ramet_s3_rules_parse(text, strlen(text), "aaa", rule, NULL), RAMET_OK);
    assert_string_equal(rule, "long");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules__are_found_by_what_they_take_and_where),
        cmocka_unit_test(rules__that_are_none_are_refused),
        cmocka_unit_test(rules__that_are_cut_are_refused),
        cmocka_unit_test(rules__with_a_long_prefix_are_rather_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
