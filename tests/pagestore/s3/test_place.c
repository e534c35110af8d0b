/*
 * test_place.c - s3:// URLs, endpoints, and above all: where the environment's
 * credentials go.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "pagestore/s3/place.h"
#include "pagestore/s3/settings.h"

static void
place__has_bucket_prefix_and_parameters(void **state)
{
    struct ramet_s3_place place;

    (void)state;
    assert_null(ramet_s3_place_parse("s3://bucket", "", &place));
    assert_string_equal(place.bucket, "bucket");
    assert_string_equal(place.prefix, "");
    assert_string_equal(place.endpoint, "");
    assert_null(ramet_s3_place_parse(
        "s3://my.bucket/a/env=prod",
        "endpoint=http%3A%2F%2Fhost%3A80&region=eu-west-1&style=host", &place));
    assert_string_equal(place.bucket, "my.bucket");
    assert_string_equal(place.prefix, "a/env=prod");
    assert_string_equal(place.endpoint, "http://host:80");
    assert_string_equal(place.region, "eu-west-1");
    assert_int_equal(place.style, RAMET_S3_STYLE_HOST);
}

static void
place__refuses_what_is_wrong(void **state)
{
    static const struct {
        const char *root, *query, *why;
    } cases[] = {
        {"s3://", "", "no bucket"},
        {"s3:///a", "", "no bucket"},
        {"s3://b$b/a", "", "odd characters"},
        {"s3://-bb/a", "", "odd characters"},
        {"s3://b..b/a", "", "odd characters"},
        {"s3://bucket/a//b", "", "empty part"},
        {"s3://bucket/a/../b", "", "begin with '.'"},
        {"s3://bucket/a%20b", "", "odd characters"},
        {"s3://bucket", "acl=public", "there may be"},
        {"s3://bucket", "region", "there may be"},
        {"s3://bucket", "region=", "1 to 63"},
        {"s3://bucket", "region=a/b", "odd characters"},
        {"s3://bucket", "region=a&region=b", "twice"},
        {"s3://bucket", "style=x", "path or host"},
        {"s3://bucket", "endpoint=host:80", "http://host:port"},
        {"s3://bucket", "endpoint=http://host/path", "http://host:port"},
        {"s3://bucket", "endpoint=http://u:p@host", "http://host:port"},
        {"s3://bucket", "endpoint=http://", "http://host:port"},
        {"s3://bucket", "endpoint=http://a&endpoint=http://b", "twice"},
        {"s3://bucket", "region=%zz", "hex"},
        {"s3://bucket", "region=%0a", "odd characters"},
        {"http://bucket", "", "not an s3://"},
    };
    struct ramet_s3_place place;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *const why =
            ramet_s3_place_parse(cases[i].root, cases[i].query, &place);

        if (why == NULL || strstr(why, cases[i].why) == NULL)
            print_error("%s?%s: %s\n", cases[i].root, cases[i].query, why);
        assert_non_null(why);
        assert_non_null(strstr(why, cases[i].why));
    }
}

static bool
is_aws(const char *url)
{
    struct ramet_origin origin;

    return ramet_origin_of(url, &origin) && ramet_s3_is_aws(&origin);
}

static void
aws__is_told_by_the_whole_host(void **state)
{
    (void)state;
    assert_true(is_aws("https://s3.amazonaws.com"));
    assert_true(is_aws("https://s3.eu-west-1.amazonaws.com"));
    assert_true(is_aws("https://s3.us-gov-east-1.amazonaws.com"));
    assert_true(is_aws("https://s3.dualstack.ap-south-2.amazonaws.com"));
    assert_true(is_aws("https://s3-fips.us-east-2.amazonaws.com"));
    assert_true(is_aws("https://s3.cn-north-1.amazonaws.com.cn"));

    assert_false(is_aws("http://s3.eu-west-1.amazonaws.com"));
    assert_false(is_aws("https://s3.eu-west-1.amazonaws.com:8443"));
    assert_false(is_aws("https://s3.eu-west-1.amazonaws.com.example"));
    assert_false(is_aws("https://xs3.eu-west-1.amazonaws.com"));
    assert_false(is_aws("https://evil-s3.amazonaws.com"));
    assert_false(is_aws("https://amazonaws.com"));
    /* Machines that anybody may rent. */
    assert_false(is_aws("https://ec2-1-2-3-4.compute-1.amazonaws.com"));
    assert_false(is_aws("https://s3.abc.elb.amazonaws.com"));
    assert_false(is_aws("https://s3.x.amazonaws.com"));
    assert_false(is_aws("https://abc.execute-api.us-east-1.amazonaws.com"));
    assert_false(is_aws("https://bucket.s3.us-east-1.amazonaws.com"));
}

static struct ramet_s3_target
resolve(const char *query, const struct ramet_s3_settings *settings,
        bool configured)
{
    struct ramet_s3_target target;
    struct ramet_s3_place place;

    assert_null(ramet_s3_place_parse("s3://bucket/p", query, &place));
    assert_int_equal(
        ramet_s3_resolve(&place, settings, configured, &target, NULL),
        RAMET_OK);
    return target;
}

static void
credentials__go_to_aws_and_to_endpoints_that_were_configured(void **state)
{
    struct ramet_s3_settings none = {.profile = "default"}, by_env = none,
                             general = none;

    (void)state;
    strcpy(by_env.endpoint, "http://gateway:7480");
    strcpy(general.general_endpoint, "http://gateway:7480/");
    /* No endpoint in the URL: AWS, or what the environment says. */
    assert_true(resolve("", &none, false).trusted);
    assert_true(resolve("", &by_env, false).trusted);
    assert_string_equal(resolve("", &by_env, false).host, "gateway:7480");
    assert_string_equal(resolve("", &general, false).host, "gateway:7480");
    /* One in the URL that the environment names too. */
    assert_true(
        resolve("endpoint=http://gateway:7480", &by_env, false).trusted);
    assert_true(
        resolve("endpoint=http://GATEWAY:7480", &general, false).trusted);
    assert_true(
        resolve("endpoint=https://s3.eu-west-1.amazonaws.com", &none, false)
            .trusted);
    /* ramet.conf, or a server's operator. */
    assert_true(resolve("endpoint=http://other:1", &none, true).trusted);
}

static void
credentials__do_not_go_where_only_a_url_says(void **state)
{
    static const char *const urls[] = {
        "endpoint=http://gateway:7480",
        "endpoint=https://gateway:7481",
        "endpoint=http://127.0.0.1:7480",
        "endpoint=http://localhost:7481",
        "endpoint=http://gateway.evil:7481",
        "endpoint=http://gateway",
        "endpoint=http://s3.eu-west-1.amazonaws.com",
        "endpoint=https://s3.eu-west-1.amazonaws.com.evil",
    };
    struct ramet_s3_settings settings = {.profile = "default"};

    (void)state;
    strcpy(settings.endpoint, "http://gateway:7481");
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        const struct ramet_s3_target target =
            resolve(urls[i], &settings, false);

        if (target.trusted)
            print_error("%s\n", urls[i]);
        assert_false(target.trusted);
        assert_non_null(target.why_not);
    }
}

static void
style__is_by_host_on_aws_and_by_path_elsewhere(void **state)
{
    struct ramet_s3_settings settings = {.profile = "default",
                                         .region = "eu-north-1"};
    struct ramet_s3_target target = resolve("", &settings, false);
    struct ramet_s3_place dotted;

    (void)state;
    assert_false(target.path_style);
    assert_string_equal(target.host, "bucket.s3.eu-north-1.amazonaws.com");
    assert_string_equal(target.region, "eu-north-1");
    target = resolve("region=cn-north-1", &settings, false);
    assert_string_equal(target.host, "bucket.s3.cn-north-1.amazonaws.com.cn");
    target = resolve("style=path", &settings, false);
    assert_string_equal(target.host, "s3.eu-north-1.amazonaws.com");
    target = resolve("endpoint=https://minio.example", &settings, false);
    assert_true(target.path_style);
    assert_string_equal(target.host, "minio.example");
    target = resolve("endpoint=http://minio:9000&style=host", &settings, false);
    assert_string_equal(target.host, "bucket.minio:9000");
    /* A certificate for *.s3.… does not cover a bucket with dots. */
    assert_null(ramet_s3_place_parse("s3://a.b/p", "", &dotted));
    assert_int_equal(ramet_s3_resolve(&dotted, &settings, false, &target, NULL),
                     RAMET_OK);
    assert_true(target.path_style);
}

static void
endpoint__of_the_environment_is_an_origin(void **state)
{
    struct ramet_s3_settings settings = {.profile = "default"};
    struct ramet_s3_target target;
    struct ramet_s3_place place;
    struct ramet_err err;

    (void)state;
    assert_null(ramet_s3_place_parse("s3://bucket/p", "", &place));
    strcpy(settings.endpoint, "gateway:7480");
    assert_int_equal(ramet_s3_resolve(&place, &settings, false, &target, &err),
                     RAMET_EINVAL);
    strcpy(settings.endpoint, "http://gateway:7480/s3");
    assert_int_equal(ramet_s3_resolve(&place, &settings, false, &target, &err),
                     RAMET_EINVAL);
    assert_non_null(strstr(err.text, "http://gateway:7480/s3"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(place__has_bucket_prefix_and_parameters),
        cmocka_unit_test(place__refuses_what_is_wrong),
        cmocka_unit_test(aws__is_told_by_the_whole_host),
        cmocka_unit_test(
            credentials__go_to_aws_and_to_endpoints_that_were_configured),
        cmocka_unit_test(credentials__do_not_go_where_only_a_url_says),
        cmocka_unit_test(style__is_by_host_on_aws_and_by_path_elsewhere),
        cmocka_unit_test(endpoint__of_the_environment_is_an_origin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
