/*
 * test_config.c - ramet.conf: what it says, and what is wrong with it.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/remote/config.h"
#include "client/store/store.h"
#include "core/alloc.h"

static enum ramet_rc
parse(const char *text, struct ramet_config **out, struct ramet_err *err)
{
    return ramet_config_parse("/etc/ramet/ramet.conf", text, strlen(text), out,
                              err);
}

static struct ramet_config *
parse_ok(const char *text)
{
    struct ramet_config *config = NULL;
    struct ramet_err err;

    memset(&err, 0, sizeof(err));
    if (parse(text, &config, &err) != RAMET_OK)
        fail_msg("%s", err.text);
    return config;
}

static void
config__resolves_names(void **state)
{
    struct ramet_config *const config =
        parse_ok("; a comment\n"
                 "[server]\nlisten = 127.0.0.1:7411\n"
                 "[remote work]\nurl = https://h/team/\n"
                 "[remote one-db]\nurl=file:///srv/db ; inline\n"
                 "[remote b]\nurl = s3://b/p?region=x\n");
    char url[RAMET_URL_MAX];

    (void)state;
    assert_int_equal(
        ramet_config_url(config, "work:orders@42", url, sizeof(url), NULL),
        RAMET_OK);
    assert_string_equal(url, "https://h/team/orders@42");
    assert_int_equal(ramet_config_url(config, "one-db", url, sizeof(url), NULL),
                     RAMET_OK);
    assert_string_equal(url, "file:///srv/db");
    assert_int_equal(ramet_config_url(config, "b:x", url, sizeof(url), NULL),
                     RAMET_OK);
    assert_string_equal(url, "s3://b/p/x?region=x");
    assert_int_equal(
        ramet_config_url(config, "file:///x/y", url, sizeof(url), NULL),
        RAMET_OK);
    assert_string_equal(url, "file:///x/y");
    assert_int_equal(ramet_config_url(config, "home:x", url, sizeof(url), NULL),
                     RAMET_ENOTFOUND);
    assert_int_equal(ramet_config_url(config, "work:orders", url, 10, NULL),
                     RAMET_EINVAL);
    ramet_config_free(config);
}

static void
config__refuses_what_is_wrong_and_says_where(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"[remote work]\nurl = file:///x/y\ncolour = red\n", "colour"},
        {"[remotes]\nurl = x\n", "remotes"},
        {"url = x\n", "section"},
        {"[remote work]\nurl = ftp://x/y\n", "scheme"},
        {"[remote work]\nurl = file:///x/y\nurl = file:///x/z\n", "twice"},
        {"[remote work]\ntoken_file = x\n", "no url"},
        {"[remote a b]\nurl = file:///x/y\n", "a name is"},
        {"[remote ]\nurl = file:///x/y\n", "a name is"},
        {"[remote work]\nnonsense\n", ":2:"},
        {"[remote work\n", ":1:"},
    };
    struct ramet_config *config = NULL;
    struct ramet_err err;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        err.text[0] = '\0';
        if (parse(cases[i].text, &config, &err) != RAMET_EINVAL)
            fail_msg("%s was taken", cases[i].text);
        if (strstr(err.text, cases[i].says) == NULL ||
            strstr(err.text, "/") == NULL)
            fail_msg("%s: '%s' lacks '%s'", cases[i].text, err.text,
                     cases[i].says);
        assert_null(config);
    }
}

static void
config__refuses_long_lines_and_zero_bytes(void **state)
{
    char text[400] = "[remote work]\nurl = file:///";
    struct ramet_config *config = NULL;
    struct ramet_err err;

    (void)state;
    memset(text + strlen(text), 'x', 200);
    assert_int_equal(parse(text, &config, &err), RAMET_EINVAL);
    assert_non_null(strstr(err.text, ":2: the line is longer"));
    assert_int_equal(
        ramet_config_parse("c", "[server]\n\0x", 11, &config, &err),
        RAMET_EINVAL);
}

static void
config__bounds_the_number_of_remotes(void **state)
{
    char text[8192];
    size_t n = 0;
    struct ramet_config *config = NULL;

    (void)state;
    for (unsigned i = 0; i <= RAMET_CONFIG_REMOTES_MAX; i++) {
        if (i == RAMET_CONFIG_REMOTES_MAX) {
            config = parse_ok(text);
            ramet_config_free(config);
            config = NULL;
        }
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              "[remote r%u]\nurl = file:///x/y\n", i);
    }
    assert_int_equal(parse(text, &config, NULL), RAMET_ETOOBIG);
}

/* ---- files ---------------------------------------------------------------- */

static char dir[256];

static void
write_file(const char *name, const char *text)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int
make_dir(void **state)
{
    const char *const tmp = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof(dir), "%s/ramet-config-XXXXXX",
             tmp != NULL ? tmp : "/tmp");
    unsetenv("RAMET_CONFIG");
    unsetenv("XDG_CONFIG_HOME");
    return mkdtemp(dir) != NULL && chdir(dir) == 0 ? 0 : -1;
}

static int
remove_dir(void **state)
{
    char command[300];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void
config__is_found_by_its_rules(void **state)
{
    struct ramet_config *config = NULL;
    char url[RAMET_URL_MAX];

    (void)state;
    setenv("HOME", dir, 1);
    assert_int_equal(ramet_config_load(NULL, &config, NULL), RAMET_OK);
    assert_int_equal(ramet_config_url(config, "a", url, sizeof(url), NULL),
                     RAMET_ENOTFOUND);
    ramet_config_free(config);
    assert_int_equal(system("mkdir -p .config/ramet"), 0);
    write_file(".config/ramet/ramet.conf", "[remote a]\nurl=file:///x/home\n");
    assert_int_equal(ramet_config_load(NULL, &config, NULL), RAMET_OK);
    assert_int_equal(ramet_config_url(config, "a", url, sizeof(url), NULL),
                     RAMET_OK);
    assert_string_equal(url, "file:///x/home");
    ramet_config_free(config);
    write_file("ramet.conf", "[remote a]\nurl=file:///x/here\n");
    assert_int_equal(ramet_config_load(NULL, &config, NULL), RAMET_OK);
    assert_int_equal(ramet_config_url(config, "a", url, sizeof(url), NULL),
                     RAMET_OK);
    assert_string_equal(url, "file:///x/here");
    ramet_config_free(config);
    setenv("RAMET_CONFIG", "absent.conf", 1);
    assert_int_equal(ramet_config_load(NULL, &config, NULL), RAMET_ENOTFOUND);
    unsetenv("RAMET_CONFIG");
}

static void
config__finds_the_token_of_the_longest_url(void **state)
{
    struct ramet_config *config = NULL;
    struct ramet_err err;
    char path[512];
    char *token = NULL;

    (void)state;
    write_file("t.conf", "[remote a]\nurl=http://H:1/\ntoken_file=a.token\n"
                         "[remote b]\nurl=http://h:1/team\n"
                         "token_file=b.token\n"
                         "[remote c]\nurl=http://h:1/no\ntoken_file=gone\n"
                         "[remote d]\nurl=http://h:1/odd\ntoken_file=odd\n");
    write_file("a.token", "secret-a\n");
    write_file("b.token", "secret-b");
    write_file("odd", "two words\n");
    snprintf(path, sizeof(path), "%s/t.conf", dir);
    assert_int_equal(ramet_config_load(path, &config, NULL), RAMET_OK);
    assert_int_equal(
        ramet_config_token(config, "http://h:1/team/x", &token, NULL),
        RAMET_OK);
    assert_string_equal(token, "secret-b");
    ramet_free(token);
    assert_int_equal(
        ramet_config_token(config, "http://h:1/teamwork/x", &token, NULL),
        RAMET_OK);
    assert_string_equal(token, "secret-a");
    ramet_free(token);
    assert_int_equal(ramet_config_token(config, "http://h:12/x", &token, NULL),
                     RAMET_OK);
    assert_null(token);
    assert_int_equal(
        ramet_config_token(config, "http://h:1/no/x", &token, &err),
        RAMET_ENOTFOUND);
    assert_int_equal(
        ramet_config_token(config, "http://h:1/odd/x", &token, &err),
        RAMET_EINVAL);
    assert_null(strstr(err.text, "two")); /* no secrets in errors */
    ramet_config_free(config);
}

static void
config__says_whether_a_token_may_go_over_plain_http(void **state)
{
    struct ramet_config *config = NULL;
    struct ramet_err err;

    (void)state;
    assert_int_equal(parse("[remote a]\nurl=http://h:1/\ntoken_file=a\n"
                           "token_plain=yes\n"
                           "[remote b]\nurl=http://h:1/b\ntoken_file=b\n"
                           "token_plain=no\n"
                           "[remote c]\nurl=http://h:1/c\ntoken_file=c\n"
                           "[remote d]\nurl=http://h:2/\ntoken_plain=yes\n",
                           &config, NULL),
                     RAMET_OK);
    assert_true(ramet_config_token_is_plain(config, "http://h:1/x"));
    assert_false(ramet_config_token_is_plain(config, "http://h:1/b/x"));
    assert_false(ramet_config_token_is_plain(config, "http://h:1/c/x"));
    assert_false(ramet_config_token_is_plain(config, "http://h:2/x"));
    assert_false(ramet_config_token_is_plain(config, "http://h:3/x"));
    ramet_config_free(config);
    assert_int_equal(parse("[remote a]\nurl=http://h:1/\ntoken_plain=maybe\n",
                           &config, &err),
                     RAMET_EINVAL);
    assert_non_null(strstr(err.text, "yes or no"));
}

static void
config__survives_failure_of_each_allocation(void **state)
{
    struct ramet_config *config = NULL;
    enum ramet_rc rc = RAMET_ENOMEM;

    (void)state;
    for (long nth = 0; rc == RAMET_ENOMEM; nth++) {
        assert_true(nth < 50);
        ramet_alloc_fail_at(nth);
        rc = parse("[remote a]\nurl=file:///x/y\n[remote b]\nurl=file:///x/z\n",
                   &config, NULL);
    }
    ramet_alloc_fail_at(-1);
    assert_int_equal(rc, RAMET_OK);
    ramet_config_free(config);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config__resolves_names),
        cmocka_unit_test(config__refuses_what_is_wrong_and_says_where),
        cmocka_unit_test(config__refuses_long_lines_and_zero_bytes),
        cmocka_unit_test(config__bounds_the_number_of_remotes),
        cmocka_unit_test(config__says_whether_a_token_may_go_over_plain_http),
        cmocka_unit_test(config__survives_failure_of_each_allocation),
        cmocka_unit_test_setup_teardown(config__is_found_by_its_rules, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(
            config__finds_the_token_of_the_longest_url, make_dir, remove_dir),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
