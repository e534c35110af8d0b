/*
 * test_log.c - the lines that come out. Each case runs in a child of its own,
 * since the environment is read once a process.
 */
#include "tests/support/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "tests/support/child.h"

#define OUTPUT_MAX 65536u

struct setting {
    const char *log;
    const char *level;
    const char *format;
    bool default_on;
};

static void
set_or_unset(const char *name, const char *value)
{
    if (value != NULL)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

/* What `body` writes to standard error under the settings, in `out`. */
static void
capture(const struct setting *setting, void (*body)(void), char out[OUTPUT_MAX])
{
    size_t len = 0;
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = child_fork();
    if (pid == 0) {
        close(fds[0]);
        dup2(fds[1], STDERR_FILENO);
        set_or_unset("RAMET_LOG", setting->log);
        set_or_unset("RAMET_LOG_LEVEL", setting->level);
        set_or_unset("RAMET_LOG_FORMAT", setting->format);
        ramet_log_init_from_env(setting->default_on);
        body();
        _exit(0);
    }
    close(fds[1]);
    while (len < OUTPUT_MAX - 1) {
        const ssize_t got = read(fds[0], out + len, OUTPUT_MAX - 1 - len);

        if (got <= 0)
            break;
        len += (size_t)got;
    }
    out[len] = '\0';
    close(fds[0]);
    child_await(pid);
}

static void
log_some(void)
{
    char number[RAMET_LOG_NUM_SIZE];

    ramet_log(RAMET_LOG_DEBUG, "low", NULL);
    ramet_log(RAMET_LOG_INFO, "pushed", "volume", "v1", "lsn",
              ramet_log_num(number, UINT64_MAX), "empty", "", "path", "a b",
              NULL);
    ramet_log(RAMET_LOG_ERROR, "bad thing", NULL);
}

static void
log_hostile(void)
{
    ramet_log(RAMET_LOG_WARN, "x", "v",
              "a\nb\x1b[31m\"\\\x7f\xc2\x9b\xff\xe2\x80\xae\xe2", NULL);
}

static void
log_long(void)
{
    char *const value = malloc(20001);

    memset(value, 'y', 20000);
    value[20000] = '\0';
    ramet_log(RAMET_LOG_INFO, "long", "v", value, "after", "1", NULL);
    memset(value, '\n', 20000);
    ramet_log(RAMET_LOG_INFO, "long", "v", value, NULL);
    free(value);
}

static void
log__is_logfmt_with_levels(void **state)
{
    static const struct setting setting = {"stderr", NULL, NULL, false};
    char out[OUTPUT_MAX];

    (void)state;
    capture(&setting, log_some, out);
    assert_null(strstr(out, "low"));
    assert_int_equal(strncmp(out, "ts=20", 5), 0);
    assert_non_null(strstr(
        out, "Z level=info msg=pushed volume=v1 lsn=18446744073709551615 "
             "empty=\"\" path=\"a b\"\n"));
    assert_non_null(strstr(out, "Z level=error msg=\"bad thing\"\n"));
}

static void
log__is_json_on_request(void **state)
{
    static const struct setting setting = {"stderr", "debug", "json", false};
    char out[OUTPUT_MAX];

    (void)state;
    capture(&setting, log_some, out);
    assert_int_equal(strncmp(out, "{\"ts\":\"20", 8), 0);
    assert_non_null(strstr(out, ",\"level\":\"debug\",\"msg\":\"low\"}\n{"));
    assert_non_null(strstr(out, "\"lsn\":\"18446744073709551615\""));
}

static void
log__is_off_unless_asked_for(void **state)
{
    static const struct setting off = {NULL, NULL, NULL, false};
    static const struct setting on = {NULL, "error", NULL, true};
    char out[OUTPUT_MAX];

    (void)state;
    capture(&off, log_some, out);
    assert_string_equal(out, "");
    capture(&on, log_some, out);
    assert_null(strstr(out, "pushed"));
    assert_non_null(strstr(out, "bad thing"));
}

static void
log_some_as_a_server(void)
{
    ramet_log_init_from_env(true);
    log_some();
}

/* A command begins with the log off; the server in it has it on, unless the
 * environment says where to. */
static void
log__of_a_server_is_on_in_any_program(void **state)
{
    static const struct setting off = {NULL, NULL, NULL, false};
    static const struct setting elsewhere = {"/dev/null", NULL, NULL, false};
    char out[OUTPUT_MAX];

    (void)state;
    capture(&off, log_some_as_a_server, out);
    assert_non_null(strstr(out, "level=error msg=\"bad thing\""));
    assert_null(strstr(out, "low"));
    capture(&elsewhere, log_some_as_a_server, out);
    assert_string_equal(out, "");
}

static void
log__lets_no_control_character_out(void **state)
{
    static const char expected[] =
        "a\\nb\\u001b[31m\\\"\\\\\\u007f\\u009b\\ufffd\\u202e\\ufffd\"";
    static const struct setting text = {"stderr", NULL, NULL, false};
    static const struct setting json = {"stderr", NULL, "json", false};
    char out[OUTPUT_MAX];

    (void)state;
    capture(&text, log_hostile, out);
    assert_non_null(strstr(out, expected));
    capture(&json, log_hostile, out);
    assert_non_null(strstr(out, expected));
}

/* Lines stay under 4 KiB, whole, and closed, whatever was cut. */
static void
log__cuts_what_is_too_long(void **state)
{
    static const char *const formats[] = {NULL, "json"};
    char out[OUTPUT_MAX];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct setting setting = {"stderr", NULL, formats[i], false};
        int lines = 0;

        capture(&setting, log_long, out);
        for (char *line = out; *line != '\0'; lines++) {
            char *const end = strchr(line, '\n');

            assert_non_null(end);
            assert_true(end - line > 3000 && end - line < 4096);
            if (i == 1)
                assert_memory_equal(end - 2, "\"}", 2);
            line = end + 1;
        }
        assert_int_equal(lines, 2);
    }
}

static size_t cut_pad;

static void
log_escapes(void)
{
    char value[3000];

    memset(value, 'a', cut_pad);
    memset(value + cut_pad, '"', sizeof(value) - cut_pad - 1);
    value[sizeof(value) - 1] = '\0';
    ramet_log(RAMET_LOG_INFO, "m", "v", value, "w", "1", NULL);
}

/* A cut falls before or after an escape, not into it: the quote that closes
 * the value has an even number of backslashes before it. */
static void
log__closes_a_value_that_was_cut_among_escapes(void **state)
{
    static const struct setting setting = {"stderr", NULL, "json", false};
    char out[OUTPUT_MAX];

    (void)state;
    for (cut_pad = 0; cut_pad < 8; cut_pad++) {
        size_t len;
        size_t backslashes = 0;

        capture(&setting, log_escapes, out);
        len = strlen(out);
        assert_true(len > 4000 && len <= 4096);
        assert_string_equal(out + len - 3, "\"}\n");
        while (out[len - 4 - backslashes] == '\\')
            backslashes++;
        assert_int_equal(backslashes % 2, 0);
    }
}

static void
log__appends_to_a_file(void **state)
{
    char path[] = "/tmp/ramet-test-log-XXXXXX";
    struct setting setting = {path, NULL, NULL, false};
    char out[OUTPUT_MAX];
    FILE *file;
    size_t len;

    (void)state;
    close(mkstemp(path));
    capture(&setting, log_some, out);
    assert_string_equal(out, "");
    capture(&setting, log_some, out);
    file = fopen(path, "r");
    assert_non_null(file);
    len = fread(out, 1, OUTPUT_MAX - 1, file);
    out[len] = '\0';
    fclose(file);
    unlink(path);
    assert_non_null(strstr(out, "pushed"));
    assert_non_null(strstr(strstr(out, "bad thing"), "pushed"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log__is_logfmt_with_levels),
        cmocka_unit_test(log__is_json_on_request),
        cmocka_unit_test(log__is_off_unless_asked_for),
        cmocka_unit_test(log__of_a_server_is_on_in_any_program),
        cmocka_unit_test(log__lets_no_control_character_out),
        cmocka_unit_test(log__cuts_what_is_too_long),
        cmocka_unit_test(log__closes_a_value_that_was_cut_among_escapes),
        cmocka_unit_test(log__appends_to_a_file),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
