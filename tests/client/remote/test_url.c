/*
 * test_url.c - remote URLs and points in time, right and wrong ones.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "client/remote/remote.h"
#include "client/store/store.h"

static void
parse_ok(const char *text, struct ramet_url *url)
{
    struct ramet_err err;

    memset(&err, 0, sizeof(err));
    if (ramet_url_parse(text, url, &err) != RAMET_OK)
        fail_msg("%s: %s", text, err.text);
}

static void
url__has_parts_and_a_normal_form(void **state)
{
    static const struct {
        const char *text;
        enum ramet_remote_scheme scheme;
        const char *root;
        const char *name;
        const char *normal;
    } cases[] = {
        {"file:///srv/backup/db", RAMET_REMOTE_FILE, "/srv/backup", "db",
         "file:///srv/backup/db"},
        {"file://localhost/srv/db", RAMET_REMOTE_FILE, "/srv", "db",
         "file:///srv/db"},
        {"file:///db", RAMET_REMOTE_FILE, "/", "db", "file:///db"},
        {"file:///srv/", RAMET_REMOTE_FILE, "/srv", "", "file:///srv/"},
        {"file:////srv//x///db", RAMET_REMOTE_FILE, "/srv/x", "db",
         "file:///srv/x/db"},
        {"file:///a%20b/c%25%c3%a9/db", RAMET_REMOTE_FILE, "/a b/c%\xc3\xa9",
         "db", "file:///a%20b/c%25%C3%A9/db"},
        {"file:///a@b/db", RAMET_REMOTE_FILE, "/a@b", "db", "file:///a@b/db"},
        {"http://Host.Example:7411/db", RAMET_REMOTE_HTTP,
         "http://host.example:7411", "db", "http://host.example:7411/db"},
        {"https://h/team/a/db", RAMET_REMOTE_HTTPS, "https://h/team/a", "db",
         "https://h/team/a/db"},
        {"http://[::1]:80/db", RAMET_REMOTE_HTTP, "http://[::1]:80", "db",
         "http://[::1]:80/db"},
        {"http://h", RAMET_REMOTE_HTTP, "http://h", "", "http://h/"},
        {"s3://bucket/a/b/db?endpoint=http://x:1&region=y", RAMET_REMOTE_S3,
         "s3://bucket/a/b", "db",
         "s3://bucket/a/b/db?endpoint=http://x:1&region=y"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ramet_url url;
        struct ramet_url again;
        char normal[RAMET_URL_MAX];

        parse_ok(cases[i].text, &url);
        assert_int_equal(url.scheme, cases[i].scheme);
        assert_string_equal(url.root, cases[i].root);
        assert_string_equal(url.name, cases[i].name);
        assert_false(url.has_lsn || url.has_time);
        ramet_url_format(&url, normal, sizeof(normal));
        assert_string_equal(normal, cases[i].normal);
        parse_ok(normal, &again);
        assert_memory_equal(&url, &again, sizeof(url));
    }
}

static void
url__names_a_snapshot(void **state)
{
    struct ramet_url url;
    char normal[RAMET_URL_MAX];

    (void)state;
    parse_ok("file:///srv/db@42", &url);
    assert_true(url.has_lsn);
    assert_int_equal(url.at_lsn, 42);
    assert_string_equal(url.name, "db");
    ramet_url_format(&url, normal, sizeof(normal));
    assert_string_equal(normal, "file:///srv/db");
    parse_ok("http://h/db@2026-11-23T10:00:00Z", &url);
    assert_true(url.has_time);
    assert_true(url.at_time_ms == 1795428000000u);
    parse_ok("s3://b/p/db@18446744073709551615?region=x", &url);
    assert_true(url.at_lsn == UINT64_MAX);
    assert_string_equal(url.query, "region=x");
}

static void
url__refuses_what_is_wrong_and_says_what(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "scheme"},
        {"db", "scheme"},
        {"ftp://h/db", "scheme"},
        {"file:/srv/db", "scheme"},
        {"FILE:///srv/db", "scheme"},
        {"file://srv/db", "absolute"},
        {"file://", "absolute"},
        {"file:///srv/.db", "name"},
        {"file:///srv/d%62", "name"},
        {"file:///srv/d b", "blanks"},
        {"file:///srv/d\tb", "blanks"},
        {"file:///srv/db#x", "'#'"},
        {"file:///srv/db?x=1", "'?'"},
        {"file:///s%/db", "hex"},
        {"file:///s%4/db", "hex"},
        {"file:///s%00x/db", "hex"},
        {"file:///srv/db@", "LSN or a time"},
        {"file:///srv/db@0", "LSNs begin at 1"},
        {"file:///srv/db@18446744073709551616", "LSN or a time"},
        {"file:///srv/db@-1", "LSN or a time"},
        {"file:///srv/db@2026-13-01T00:00:00Z", "LSN or a time"},
        {"file:///srv/@4", "name before"},
        {"http:///db", "no host"},
        {"http://u:p@h/db", "credentials"},
        {"http://h:0/db", "port"},
        {"http://h:65536/db", "port"},
        {"http://h:x/db", "port"},
        {"http://h:/db", "port"},
        {"http://[::1/db", "[]"},
        {"http://[]/db", "[]"},
        {"http://h<x/db", "odd"},
        {"http://h/db?x", "'?'"},
        {"s3:///db", "bucket"},
        {"s3://b$/db", "bucket"},
    };
    struct ramet_err err;
    struct ramet_url url;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        err.text[0] = '\0';
        if (ramet_url_parse(cases[i].text, &url, &err) != RAMET_EINVAL)
            fail_msg("%s was taken", cases[i].text);
        if (strstr(err.text, cases[i].says) == NULL)
            fail_msg("%s: '%s' lacks '%s'", cases[i].text, err.text,
                     cases[i].says);
    }
}

static void
url__bounds_every_length(void **state)
{
    char text[3000];
    struct ramet_url url;

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 20; len++) {
        int n = snprintf(text, sizeof(text), "file:///");

        memset(text + n, 'a', len);
        memcpy(text + n + len, "/db", 4);
        if (ramet_url_parse(text, &url, NULL) == RAMET_OK)
            assert_true(strlen(url.root) == len + 1);
        else
            assert_true(len + 2 >= sizeof(url.root));
        memcpy(text, "http://", 7);
        (void)!ramet_url_parse(text, &url, NULL);
        memcpy(text, "s3://bbb", 8);
        (void)!ramet_url_parse(text, &url, NULL);
    }
    /* 700 bytes that take three characters each in the normal form. */
    memset(text, 0xc3, sizeof(text));
    memcpy(text, "file:///", 8);
    memcpy(text + 8 + 700, "/db", 4);
    assert_int_equal(ramet_url_parse(text, &url, NULL), RAMET_EINVAL);
    memcpy(text + 8 + 600, "/db", 4);
    parse_ok(text, &url);
    memset(text, 'n', sizeof(text));
    memcpy(text, "file:///", 8);
    text[8 + 128] = '\0';
    parse_ok(text, &url);
    text[8 + 128] = 'n';
    text[8 + 129] = '\0';
    assert_int_equal(ramet_url_parse(text, &url, NULL), RAMET_EINVAL);
}

static void
time__is_read_in_every_form(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"2000-02-29T12:34:56Z", 951827696000},
        {"2026-11-23T10:00:00Z", 1795428000000},
        {"2026-11-23T12:00:00+02:00", 1795428000000},
        {"2026-11-23T04:30:00-05:30", 1795428000000},
        {"2026-11-23t10:00:00.5z", 1795428000500},
        {"2026-11-23 10:00:00.1239999Z", 1795428000123},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"9999-12-31T23:59:59.999Z", 253402300799999},
        {"@0", 0},
        {"@1795428000", 1795428000000},
        {"@1795428000.25", 1795428000250},
    };
    uint64_t ms;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ms = 7;
        if (!ramet_time_parse(cases[i].text, &ms) || ms != cases[i].ms)
            fail_msg("%s: %llu", cases[i].text, (unsigned long long)ms);
    }
}

static void
time__that_is_malformed_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "2026-11-23",
        "2026-11-23T10:00Z",
        "2026-11-23T10:00:00",
        "2026-11-23T10:00:00.Z",
        "2026-11-23T10:00:00+2:00",
        "2026-11-23T10:00:00+0200",
        "2026-11-23T10:00:00Zx",
        "2026-00-23T10:00:00Z",
        "2026-11-31T10:00:00Z",
        "2025-02-29T10:00:00Z",
        "2100-02-29T10:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T10:60:00Z",
        "2026-11-23T10:00:61Z",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "@",
        "@-1",
        "@1234567890123",
        "@1.",
        "@1x",
    };
    uint64_t ms = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (ramet_time_parse(cases[i], &ms))
            fail_msg("'%s' was taken", cases[i]);
    assert_true(ms == 7);
}

/* Every day from 1970 to 2400: written and read, and one day after the last. */
static void
time__round_trips_every_day(void **state)
{
    char text[32];
    char last[32] = "";
    uint64_t ms;

    (void)state;
    for (uint64_t day = 0; day < 157000; day++) {
        const uint64_t at = day * 86400000 + day % 86400000;

        ramet_time_format(at, text);
        assert_true(strcmp(last, text) < 0);
        assert_true(ramet_time_parse(text, &ms));
        assert_true(ms == at);
        memcpy(last, text, sizeof(last));
    }
    ramet_time_format(UINT64_MAX, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(url__has_parts_and_a_normal_form),
        cmocka_unit_test(url__names_a_snapshot),
        cmocka_unit_test(url__refuses_what_is_wrong_and_says_what),
        cmocka_unit_test(url__bounds_every_length),
        cmocka_unit_test(time__is_read_in_every_form),
        cmocka_unit_test(time__that_is_malformed_is_refused),
        cmocka_unit_test(time__round_trips_every_day),
    };
    return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
