/*
 * test_err.c - what a failure says, and where its text is cut.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "core/err.h"

static void
fail__records_code_and_text_and_yields_the_code(void **state)
{
    struct ramet_err err = {0};

    (void)state;
    assert_int_equal(
        RAMET_FAIL(&err, RAMET_ECORRUPT, "segment %s: page %d", "x", 7),
        RAMET_ECORRUPT);
    assert_int_equal(err.code, RAMET_ECORRUPT);
    assert_int_equal(err.sys_errno, 0);
    assert_string_equal(err.text, "segment x: page 7");
}

static void
fail__takes_no_place_to_write_to(void **state)
{
    (void)state;
    assert_int_equal(RAMET_FAIL(NULL, RAMET_EBUSY, "busy"), RAMET_EBUSY);
    assert_int_equal(RAMET_FAIL_SYS(NULL, RAMET_EIO, EIO, "x"), RAMET_EIO);
}

static void
fail_sys__appends_the_reason_and_keeps_errno(void **state)
{
    struct ramet_err err;

    (void)state;
    errno = 77;
    RAMET_FAIL_SYS(&err, RAMET_EFULL, ENOSPC, "write %s", "log");
    assert_int_equal(err.sys_errno, ENOSPC);
    assert_string_equal(err.text, "write log: No space left on device");
    assert_int_equal(errno, 77);
}

static void
fail__may_quote_the_text_that_it_replaces(void **state)
{
    struct ramet_err err;

    (void)state;
    RAMET_FAIL(&err, RAMET_EIO, "inner");
    RAMET_FAIL(&err, RAMET_EIO, "outer: %s", err.text);
    assert_string_equal(err.text, "outer: inner");
}

/* Every length around the limit, with characters of 1 to 4 bytes. */
static void
fail__cuts_long_text_between_characters(void **state)
{
    static const char *const characters[] = {"a", "é", "€", "😀"};

    (void)state;
    for (size_t kind = 0; kind < 4; kind++) {
        const size_t width = strlen(characters[kind]);

        for (size_t pad = 0; pad < 5; pad++) {
            char text[2048] = "";
            struct ramet_err err;
            size_t len = pad;

            memset(text, 'x', pad);
            while (len < 1000) {
                memcpy(text + len, characters[kind], width);
                len += width;
            }
            RAMET_FAIL(&err, RAMET_EIO, "%s", text);
            len = strlen(err.text);
            assert_true(len < RAMET_ERR_TEXT_MAX);
            assert_true(len + width >= RAMET_ERR_TEXT_MAX);
            assert_int_equal((len - pad) % width, 0);
            assert_memory_equal(err.text, text, len);

            /* The reason is kept whole, the text before it is cut. */
            RAMET_FAIL_SYS(&err, RAMET_EIO, EIO, "%s", text);
            len = strlen(err.text);
            assert_true(len < RAMET_ERR_TEXT_MAX);
            assert_string_equal(err.text + len - 20, ": Input/output error");
            assert_int_equal((len - 20 - pad) % width, 0);
        }
    }
}

static void
rc_of_errno__maps_what_callers_tell_apart(void **state)
{
    static const struct {
        int errnum;
        enum ramet_rc rc;
    } cases[] = {
        {ENOSPC, RAMET_EFULL},     {EDQUOT, RAMET_EFULL},
        {EACCES, RAMET_EAUTH},     {EPERM, RAMET_EAUTH},
        {EROFS, RAMET_EREADONLY},  {ENOENT, RAMET_ENOTFOUND},
        {EEXIST, RAMET_EEXIST},    {ENOMEM, RAMET_ENOMEM},
        {EIO, RAMET_EIO},          {ENOTDIR, RAMET_EIO},
        {ECONNREFUSED, RAMET_EIO}, {0, RAMET_EIO},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(ramet_rc_of_errno(cases[i].errnum), cases[i].rc);
}

static void
rc_name__is_distinct_for_every_code(void **state)
{
    (void)state;
    for (int a = 0; a >= RAMET_RC_LEAST; a--) {
        assert_string_not_equal(ramet_rc_name((enum ramet_rc)a), "unlisted");
        for (int b = 0; b > a; b--)
            assert_string_not_equal(ramet_rc_name((enum ramet_rc)a),
                                    ramet_rc_name((enum ramet_rc)b));
    }
    assert_string_equal(ramet_rc_name((enum ramet_rc)(RAMET_RC_LEAST - 1)),
                        "unlisted");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail__records_code_and_text_and_yields_the_code),
        cmocka_unit_test(fail__takes_no_place_to_write_to),
        cmocka_unit_test(fail_sys__appends_the_reason_and_keeps_errno),
        cmocka_unit_test(fail__may_quote_the_text_that_it_replaces),
        cmocka_unit_test(fail__cuts_long_text_between_characters),
        cmocka_unit_test(rc_of_errno__maps_what_callers_tell_apart),
        cmocka_unit_test(rc_name__is_distinct_for_every_code),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
