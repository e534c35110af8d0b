/*
 * test_show.c - what is shown of the text of others.
 */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "core/err.h"
#include "core/show.h"

static const char *
shown(enum ramet_show how, const char *text)
{
    static char out[400];
    const size_t len =
        ramet_show_text(how, text, strlen(text), out, sizeof(out));

    assert_int_equal(len, strlen(out));
    return out;
}

static void
show__leaves_what_can_be_read(void **state)
{
    static const char *const texts[] = {
        "",
        "plain text, with = and /",
        "Gr\xc3\xbc\xc3\x9f"
        "e",
        "\xe2\x82\xac \xf0\x9f\x98\x80 \xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d",
        "back\\slash and \"quotes\"",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_string_equal(shown(RAMET_SHOW_PLAIN, texts[i]), texts[i]);
    assert_string_equal(shown(RAMET_SHOW_QUOTED, texts[4]),
                        "back\\\\slash and \\\"quotes\\\"");
}

static void
show__escapes_what_would_be_obeyed(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"\x1b[2J", "\\u001b[2J"},
        {"a\rb\x7f", "a\\u000db\\u007f"},
        {"\xc2\x9b"
         "31m",
         "\\u009b31m"}, /* C1: CSI */
        {"\xe2\x80\xae"
         "cod",
         "\\u202ecod"}, /* right-to-left override */
        {"\xe2\x81\xa6"
         "x",
         "\\u2066x"},                              /* isolate */
        {"\xd8\x9c", "\\u061c"},                   /* Arabic letter mark */
        {"\xe2\x80\xa8", "\\u2028"},               /* line separator */
        {"\xef\xbb\xbf", "\\ufeff"},               /* byte order mark */
        {"\xf3\xa0\x81\x81", "\\udb40\\udc41"},    /* a tag */
        {"\xff\xfe", "\\ufffd\\ufffd"},            /* no UTF-8 */
        {"\xc3", "\\ufffd"},                       /* cut off */
        {"\xc0\xaf", "\\ufffd\\ufffd"},            /* overlong */
        {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"}, /* a surrogate */
        {"\x9b", "\\ufffd"},                       /* C1 as one byte */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_string_equal(shown(RAMET_SHOW_PLAIN, cases[i].text),
                            cases[i].shown);
        assert_string_equal(shown(RAMET_SHOW_QUOTED, cases[i].text),
                            cases[i].shown);
    }
    assert_string_equal(shown(RAMET_SHOW_QUOTED, "a\nb"), "a\\nb");
    assert_string_equal(shown(RAMET_SHOW_PLAIN, "a\nb"), "a\\u000ab");
}

static void
show__is_cut_before_a_character(void **state)
{
    static const char text[] = "ab\x1b\xe2\x82\xac\xf0\x9f\x98\x80";
    static const size_t ends[] = {0, 1, 2, 8, 11, 15};

    (void)state;
    for (size_t size = 1; size < 20; size++) {
        char out[20];
        size_t len, want = 0;

        memset(out, 'x', sizeof(out));
        len = ramet_show_text(RAMET_SHOW_PLAIN, text, strlen(text), out, size);
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
            want = ends[i] < size ? ends[i] : want;
        assert_int_equal(len, want);
        assert_int_equal(out[len], 0);
        if (size < sizeof(out))
            assert_int_equal(out[size], 'x');
    }
}

static void
show__of_any_bytes_has_no_control_character(void **state)
{
    (void)state;
    for (unsigned a = 1; a < 256; a++) {
        for (unsigned b = 1; b < 256; b++) {
            const char text[] = {(char)a, (char)b, 0};
            const char *out = shown(RAMET_SHOW_QUOTED, text);

            for (const char *c = out; *c != '\0'; c++) {
                assert_true((unsigned char)*c >= ' ' && *c != 127);
                assert_true((unsigned char)c[0] != 0xc2 ||
                            (unsigned char)c[1] >= 0xa0);
            }
        }
    }
}

static void
error_text__can_always_be_shown(void **state)
{
    struct ramet_err err;

    (void)state;
    (void)RAMET_FAIL(&err, RAMET_EIO, "%s",
                     "server says \x1b[31m\xe2\x80\xae\xff");
    assert_string_equal(err.text, "server says \\u001b[31m\\u202e\\ufffd");
    (void)RAMET_FAIL(&err, RAMET_EIO, "again: %s", err.text);
    assert_string_equal(err.text,
                        "again: server says \\u001b[31m\\u202e\\ufffd");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(show__leaves_what_can_be_read),
        cmocka_unit_test(show__escapes_what_would_be_obeyed),
        cmocka_unit_test(show__is_cut_before_a_character),
        cmocka_unit_test(show__of_any_bytes_has_no_control_character),
        cmocka_unit_test(error_text__can_always_be_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
