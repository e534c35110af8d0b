/*
 * test_settings.c - AWS's files and variables, and what credential services
 * answer.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pagestore/s3/credentials.h"
#include "pagestore/s3/key_answers.h"
#include "pagestore/s3/key_services.h"
#include "pagestore/s3/settings.h"

static struct ramet_s3_settings
parse(const char *profile, const char *text, bool is_config)
{
    struct ramet_s3_settings settings = {.profile_found = false};

    snprintf(settings.profile, sizeof(settings.profile), "%s", profile);
    ramet_s3_settings_parse(&settings, text, strlen(text), is_config);
    return settings;
}

static void
file__of_credentials_gives_the_profiles_keys(void **state)
{
    static const char text[] = "# keys\n"
                               "[default]\n"
                               "aws_access_key_id = AKDEFAULT\r\n"
                               "aws_secret_access_key=se=cr/et+ # mine\n"
                               "[work]\n"
                               "aws_access_key_id = AKWORK\n"
                               "aws_secret_access_key = worksecret\n"
                               "aws_session_token = token\n"
                               "nonsense\n";
    struct ramet_s3_settings s = parse("default", text, false);

    (void)state;
    assert_true(s.profile_found);
    assert_string_equal(s.profile_keys.access, "AKDEFAULT");
    assert_string_equal(s.profile_keys.secret, "se=cr/et+");
    assert_string_equal(s.profile_keys.session, "");
    s = parse("work", text, false);
    assert_string_equal(s.profile_keys.access, "AKWORK");
    assert_string_equal(s.profile_keys.session, "token");
    s = parse("other", text, false);
    assert_false(s.profile_found);
    assert_string_equal(s.profile_keys.access, "");
}

static void
file__of_config_has_profiles_and_services(void **state)
{
    static const char text[] = "[services local]\n"
                               "sqs =\n"
                               "  endpoint_url = http://queue:1\n"
                               "s3 =\n"
                               "  addressing_style = path\n"
                               "  endpoint_url = http://gateway:7480\n"
                               "[default]\n"
                               "region = eu-west-1\n"
                               "[profile work]\n"
                               "region = eu-west-2\n"
                               "services = local\n"
                               "endpoint_url = http://all:1\n"
                               "[work]\n"
                               "region = wrong\n";
    struct ramet_s3_settings s = parse("default", text, true);

    (void)state;
    assert_string_equal(s.region, "eu-west-1");
    assert_string_equal(s.endpoint, "");
    s = parse("work", text, true);
    assert_string_equal(s.region, "eu-west-2");
    assert_string_equal(s.endpoint, "http://gateway:7480");
    assert_string_equal(s.general_endpoint, "http://all:1");
}

static void
file__ways_that_are_not_known_are_named(void **state)
{
    struct ramet_s3_settings s =
        parse("default", "[default]\ncredential_process = /bin/x\n", true);

    (void)state;
    assert_string_equal(s.unsupported, "credential_process");
}

/* Any bytes: nothing is read past their end, nothing crashes. */
static void
file__of_garbage_gives_nothing(void **state)
{
    char text[300] = "[default]\naws_access_key_id = ";
    struct ramet_s3_settings s;

    (void)state;
    memset(text + 30, 'k', sizeof(text) - 31); /* longer than a key is */
    text[sizeof(text) - 1] = '\0';
    s = parse("default", text, false);
    assert_string_equal(s.profile_keys.access, "");
    for (size_t len = 0; len < 60; len++) {
        char *const exact = malloc(len + 1);

        memcpy(exact, text, len);
        exact[len] = '\0';
        s = parse("default", exact, false);
        free(exact);
    }
    ramet_s3_settings_parse(&s, "[\0]\n=\n[default\nx", 17, true);
}

struct dir {
    char path[64];
};

static int
make_home(void **state)
{
    static const char *const variables[] = {
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_CA_BUNDLE",
        "RAMET_CA_FILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    };
    struct dir *const dir = calloc(1, sizeof(*dir));

    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    strcpy(dir->path, "/tmp/ramet-test-aws-XXXXXX");
    if (mkdtemp(dir->path) == NULL)
        return -1;
    setenv("HOME", dir->path, 1);
    *state = dir;
    return 0;
}

static int
remove_home(void **state)
{
    struct dir *const dir = *state;
    char command[128];
    int status;

    snprintf(command, sizeof(command), "rm -rf '%s'", dir->path);
    status = system(command);
    free(dir);
    return status;
}

static void
write_file(const struct dir *dir, const char *name, const char *text)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir->path, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    if (strcmp(name, "config") == 0)
        setenv("AWS_CONFIG_FILE", path, 1);
    else
        setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
}

static void
environment__comes_before_files(void **state)
{
    const struct dir *const dir = *state;
    struct ramet_s3_settings s;

    write_file(dir, "config",
               "[default]\nregion = eu-west-1\nendpoint_url = http://a:1\n");
    assert_int_equal(ramet_s3_settings_load(&s, NULL), RAMET_OK);
    assert_string_equal(s.region, "eu-west-1");
    assert_string_equal(s.general_endpoint, "http://a:1");
    setenv("AWS_REGION", "eu-west-9", 1);
    setenv("AWS_ENDPOINT_URL", "http://b:1", 1);
    setenv("AWS_ENDPOINT_URL_S3", "http://c:1", 1);
    setenv("AWS_CA_BUNDLE", "/etc/ca", 1);
    assert_int_equal(ramet_s3_settings_load(&s, NULL), RAMET_OK);
    assert_string_equal(s.region, "eu-west-9");
    assert_string_equal(s.general_endpoint, "http://b:1");
    assert_string_equal(s.endpoint, "http://c:1");
    assert_string_equal(s.ca_bundle, "/etc/ca");
    setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", 1);
    assert_int_equal(ramet_s3_settings_load(&s, NULL), RAMET_OK);
    assert_string_equal(s.endpoint, "");
    assert_string_equal(s.general_endpoint, "");
}

static void
profile__that_is_nowhere_is_refused(void **state)
{
    const struct dir *const dir = *state;
    struct ramet_s3_settings s;
    struct ramet_err err;

    write_file(dir, "credentials", "[work]\naws_access_key_id = A\n");
    setenv("AWS_PROFILE", "work", 1);
    assert_int_equal(ramet_s3_settings_load(&s, &err), RAMET_OK);
    setenv("AWS_PROFILE", "wrok", 1);
    assert_int_equal(ramet_s3_settings_load(&s, &err), RAMET_EINVAL);
    assert_non_null(strstr(err.text, "wrok"));
}

static void
services__answer_json_or_are_refused(void **state)
{
    static const char good[] =
        "{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA\",\"SecretAccessKey\":"
        "\"s\",\"Token\":\"t\",\"Expiration\":\"2026-11-23T10:00:00Z\"}";
    static const char *const bad[] = {
        "",
        "{}",
        "[]",
        "{\"AccessKeyId\":1,\"SecretAccessKey\":\"s\"}",
        "{\"AccessKeyId\":\"A\"}",
        "{\"AccessKeyId\":\"\",\"SecretAccessKey\":\"s\"}",
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Expiration\":"
        "\"x\"}",
        /* They would stand in a header. */
        "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":"
        "\"t\\r\\nx-amz-acl: public-read\"}",
        "{\"AccessKeyId\":\"A\\n\",\"SecretAccessKey\":\"s\"}",
    };
    struct ramet_s3_keys keys;

    (void)state;
    assert_int_equal(ramet_s3_keys_from_json(good, strlen(good), &keys, NULL),
                     RAMET_OK);
    assert_string_equal(keys.access, "ASIA");
    assert_string_equal(keys.session, "t");
    assert_true(keys.expires_ms == UINT64_C(1795428000000));
    for (size_t len = 0; len < strlen(good); len++)
        assert_int_equal(ramet_s3_keys_from_json(good, len, &keys, NULL),
                         RAMET_ECORRUPT);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(
            ramet_s3_keys_from_json(bad[i], strlen(bad[i]), &keys, NULL),
            RAMET_ECORRUPT);
}

static void
services__answer_xml_or_are_refused(void **state)
{
    static const char good[] =
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts\">"
        "<AssumeRoleWithWebIdentityResult><Credentials>"
        "<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        "<SessionToken>t</SessionToken>"
        "<Expiration>2026-11-23T10:00:00Z</Expiration></Credentials>"
        "</AssumeRoleWithWebIdentityResult>"
        "</AssumeRoleWithWebIdentityResponse>";
    struct ramet_s3_keys keys;

    (void)state;
    assert_int_equal(ramet_s3_keys_from_xml(good, strlen(good), &keys, NULL),
                     RAMET_OK);
    assert_string_equal(keys.access, "ASIA");
    assert_string_equal(keys.secret, "s");
    assert_true(keys.expires_ms == UINT64_C(1795428000000));
    for (size_t len = 0; len < strlen(good); len++)
        assert_int_equal(ramet_s3_keys_from_xml(good, len, &keys, NULL),
                         RAMET_ECORRUPT);
}

static void
environment__keys_with_a_lines_end_are_none(void **state)
{
    struct ramet_s3_keys keys;
    struct ramet_err err;

    (void)state;
    setenv("AWS_ACCESS_KEY_ID", "AK", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
    unsetenv("AWS_SESSION_TOKEN");
    assert_int_equal(ramet_s3_keys_from_environment(&keys, &err), RAMET_OK);
    assert_string_equal(keys.access, "AK");
    setenv("AWS_SECRET_ACCESS_KEY", "s\n", 1);
    assert_int_equal(ramet_s3_keys_from_environment(&keys, &err), RAMET_EAUTH);
    assert_non_null(strstr(err.text, "line's end"));
    setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
    setenv("AWS_SESSION_TOKEN", "t\nx-amz-acl: public-read", 1);
    assert_int_equal(ramet_s3_keys_from_environment(&keys, &err), RAMET_EAUTH);
    unsetenv("AWS_SESSION_TOKEN");
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
}

static void
containers__are_asked_over_https_or_on_this_machine(void **state)
{
    (void)state;
    assert_true(ramet_s3_is_container_host("http://169.254.170.2/v2/x"));
    assert_true(ramet_s3_is_container_host("http://169.254.170.23/v1/x"));
    assert_true(ramet_s3_is_container_host("http://localhost:80/x"));
    assert_true(ramet_s3_is_container_host("https://creds.example/x"));
    assert_false(ramet_s3_is_container_host("http://creds.example/x"));
    assert_false(ramet_s3_is_container_host("http://169.254.170.2.evil/x"));
    assert_false(ramet_s3_is_container_host("ftp://localhost/x"));
}

#define AT_HOME(test)                                                          \
    cmocka_unit_test_setup_teardown(test, make_home, remove_home)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file__of_credentials_gives_the_profiles_keys),
        cmocka_unit_test(file__of_config_has_profiles_and_services),
        cmocka_unit_test(file__ways_that_are_not_known_are_named),
        cmocka_unit_test(file__of_garbage_gives_nothing),
        AT_HOME(environment__comes_before_files),
        cmocka_unit_test(environment__keys_with_a_lines_end_are_none),
        AT_HOME(profile__that_is_nowhere_is_refused),
        cmocka_unit_test(services__answer_json_or_are_refused),
        cmocka_unit_test(services__answer_xml_or_are_refused),
        cmocka_unit_test(containers__are_asked_over_https_or_on_this_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
