/*
 * test_auth.c - token files: what is a token, and that nothing else becomes
 * one.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "server/auth.h"

static enum ramet_rc
parse(const char *text, struct ramet_token *list, unsigned *out_count,
      struct ramet_err *err)
{
    return ramet_tokens_parse("tokens", text, strlen(text), list, out_count,
                              err);
}

static void
token_file__says_who_may_what(void **state)
{
    static const char text[] = "# for the tests\n"
                               "\n"
                               "Az09-._~+/==\n"
                               "ro:reader\r\n"
                               "#ro:not-this\n"
                               "writer";
    struct ramet_token list[RAMET_TOKENS_MAX];
    struct ramet_err err;
    unsigned count;

    (void)state;
    assert_int_equal(parse(text, list, &count, &err), RAMET_OK);
    assert_int_equal(count, 3);
    assert_string_equal((char *)list[0].bytes, "Az09-._~+/==");
    assert_false(list[0].readonly);
    assert_string_equal((char *)list[1].bytes, "reader");
    assert_true(list[1].readonly);
    assert_string_equal((char *)list[2].bytes, "writer");
    assert_false(list[2].readonly);
}

/* What a slip of the hand makes is refused, with the line's number and without
 * the token. */
static void
token_file__odd_lines_are_refused(void **state)
{
    static const char *const lines[] = {
        "ro:",
        "ro: secret",
        "ro:ro:secret",
        "RO:secret",
        "Ro:secret",
        "ro :secret",
        " ro:secret",
        "rw:secret",
        ":secret",
        "secret:",
        "two secrets",
        " secret",
        "secret ",
        "\tsecret",
        "sec\"ret",
        "secret\\",
        "ro;secret",
        "ro=:secret",
        "=",
        "==secret",
        "sec=ret",
        "s\xc3\xa9"
        "cret",
        "secret\x01",
        "secret\x7f",
        "\xef\xbb\xbfsecret",
        "\r\r",
        "Bearer secret",
        "secret,other",
        "first",
        "ro:first",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct ramet_token list[RAMET_TOKENS_MAX];
        struct ramet_err err;
        char text[100];
        unsigned count;

        (void)snprintf(text, sizeof(text), "first\n\n%s\nlast\n", lines[i]);
        assert_int_equal(parse(text, list, &count, &err), RAMET_EINVAL);
        assert_non_null(strstr(err.text, "tokens: line 3: "));
        assert_null(strstr(err.text, "secret"));
    }
}

static void
token_file__with_a_nul_is_refused(void **state)
{
    static const char text[] = "first\nsec\0ret\n";
    struct ramet_token list[RAMET_TOKENS_MAX];
    struct ramet_err err;
    unsigned count;

    (void)state;
    assert_int_equal(ramet_tokens_parse("tokens", text, sizeof(text) - 1, list,
                                        &count, &err),
                     RAMET_EINVAL);
    assert_non_null(strstr(err.text, "line 2"));
}

static void
token_file__has_limits(void **state)
{
    struct ramet_token list[RAMET_TOKENS_MAX];
    struct ramet_err err;
    char text[2000] = "";
    size_t len = 0;
    unsigned count;

    (void)state;
    assert_int_equal(parse("", list, &count, &err), RAMET_EINVAL);
    assert_int_equal(parse("# none\n\n\r\n", list, &count, &err), RAMET_EINVAL);
    memset(text, 'x', 201);
    assert_int_equal(parse(text, list, &count, &err), RAMET_EINVAL);
    text[200] = '\0';
    assert_int_equal(parse(text, list, &count, &err), RAMET_OK);
    for (unsigned i = 0; i < RAMET_TOKENS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "token%u\n", i);
    assert_int_equal(parse(text, list, &count, &err), RAMET_OK);
    assert_int_equal(count, RAMET_TOKENS_MAX);
    (void)snprintf(text + len, sizeof(text) - len, "one-more\n");
    assert_int_equal(parse(text, list, &count, &err), RAMET_EINVAL);
    assert_non_null(strstr(err.text, "line 65"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_file__says_who_may_what),
        cmocka_unit_test(token_file__odd_lines_are_refused),
        cmocka_unit_test(token_file__with_a_nul_is_refused),
        cmocka_unit_test(token_file__has_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
