/*
 * test_api.c - the public interface, compiled as C99 and with nothing but
 * ramet.h: what a program that embeds Ramet sees.
 */
#include "ramet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

char *mkdtemp(char *template);

static char dir[200];
static char url[300];

static int
setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/ramet-api-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(url, sizeof(url), "file://%s/store/vol", dir);
    return 0;
}

static int
teardown(void **state)
{
    char command[300];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static ramet_volume *
open_volume(const char *name, ramet_options *options)
{
    ramet_volume *volume = NULL;
    ramet_error error;
    char path[300];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (ramet_open(path, options, &volume, &error) != RAMET_SUCCESS) {
        fail_msg("%s: %s", path, error.text);
        return NULL;
    }
    return volume;
}

static void
check(int rc, const ramet_error *error)
{
    if (rc != RAMET_SUCCESS)
        fail_msg("%d: %s", rc, error->text);
}

static void
api__commits_pushes_and_pulls(void **state)
{
    ramet_options options = {0};
    ramet_volume *a;
    ramet_volume *b;
    ramet_error error;
    ramet_info info;
    char buf[64];
    uint64_t lsn = 0;

    (void)state;
    options.size = sizeof(options);
    options.remote = url;
    options.sync = "manual";
    options.create = 1;
    options.page_size = 512;
    a = open_volume("a", &options);
    assert_int_equal(ramet_length(a, &error), 0);
    check(ramet_begin(a, RAMET_WRITE, &error), &error);
    check(ramet_write(a, 1000, "hello", 5, &error), &error);
    assert_int_equal(ramet_read(a, 1000, buf, sizeof(buf), &error), 5);
    check(ramet_commit(a, &error), &error);
    assert_int_equal(ramet_length(a, &error), 1005);
    check(ramet_stat(a, &info, &error), &error);
    assert_string_equal(info.state, "ahead");
    assert_int_equal(info.local_commits, 1);
    assert_int_equal(info.page_size, 512);
    check(ramet_push(a, &lsn, &error), &error);
    assert_int_equal(lsn, 1);
    b = open_volume("b", &options);
    assert_int_equal(ramet_read(b, 999, buf, sizeof(buf), &error), 6);
    assert_memory_equal(buf, "\0hello", 6);
    check(ramet_begin(b, RAMET_WRITE, &error), &error);
    check(ramet_truncate(b, 3, &error), &error);
    ramet_rollback(b);
    assert_int_equal(ramet_length(b, &error), 1005);
    check(ramet_begin(b, RAMET_WRITE, &error), &error);
    check(ramet_truncate(b, 1002, &error), &error);
    check(ramet_commit(b, &error), &error);
    check(ramet_push(b, &lsn, &error), &error);
    check(ramet_fetch(a, &lsn, &error), &error);
    assert_int_equal(lsn, 2);
    check(ramet_begin(a, RAMET_READ, &error), &error);
    assert_int_equal(ramet_length(a, &error), 1005);
    assert_int_equal(ramet_pull(a, NULL, &error), RAMET_ERROR_INVALID);
    check(ramet_commit(a, &error), &error);
    check(ramet_pull(a, &lsn, &error), &error);
    assert_int_equal(lsn, 2);
    assert_int_equal(ramet_length(a, &error), 1002);
    ramet_close(a);
    ramet_close(b);
}

static void
api__waits_for_what_was_made_durable_elsewhere(void **state)
{
    ramet_options options = {0};
    ramet_volume *a;
    ramet_volume *b;
    ramet_error error;
    char token[RAMET_TOKEN_SIZE], later[RAMET_TOKEN_SIZE];
    uint64_t lsn = 0;

    (void)state;
    options.size = sizeof(options);
    options.remote = url;
    options.sync = "manual";
    options.create = 1;
    a = open_volume("a", &options);
    check(ramet_begin(a, RAMET_WRITE, &error), &error);
    check(ramet_write(a, 0, "one", 3, &error), &error);
    check(ramet_commit(a, &error), &error);
    check(ramet_wait_durable(a, 60000, token, &error), &error);
    b = open_volume("b", &options);
    check(ramet_wait(b, token, 60000, &lsn, &error), &error);
    assert_int_equal(lsn, 1);
    check(ramet_begin(a, RAMET_WRITE, &error), &error);
    check(ramet_truncate(a, 2, &error), &error);
    check(ramet_commit(a, &error), &error);
    check(ramet_wait_durable(a, 60000, later, &error), &error);
    check(ramet_wait(b, later, 60000, &lsn, &error), &error);
    assert_int_equal(ramet_length(b, &error), 2);
    check(ramet_wait(b, token, 60000, &lsn, &error), &error);
    assert_int_equal(lsn, 2);
    assert_int_equal(ramet_wait(b, "3", 1, &lsn, &error), RAMET_ERROR_TIMEOUT);
    assert_int_equal(ramet_wait(b, "x", 1, &lsn, &error), RAMET_ERROR_INVALID);
    check(ramet_begin(b, RAMET_READ, &error), &error);
    assert_int_equal(ramet_wait(b, token, 1, NULL, &error),
                     RAMET_ERROR_INVALID);
    check(ramet_commit(b, &error), &error);
    ramet_close(a);
    ramet_close(b);
}

static void
api__reads_an_older_snapshot_without_a_disk(void **state)
{
    ramet_options options = {0};
    ramet_volume *a;
    ramet_volume *stateless;
    ramet_error error;
    char buf[8];
    unsigned i;

    (void)state;
    options.size = sizeof(options);
    options.remote = url;
    options.sync = "commit";
    options.create = 1;
    a = open_volume("a", &options);
    for (i = 0; i < 3; i++) {
        check(ramet_begin(a, RAMET_WRITE, &error), &error);
        snprintf(buf, sizeof(buf), "v%u", i + 1);
        check(ramet_write(a, 0, buf, 2, &error), &error);
        check(ramet_commit(a, &error), &error);
    }
    ramet_close(a);
    options.create = 0;
    options.sync = NULL;
    options.stateless = 1;
    stateless = open_volume("nothing", &options);
    assert_int_equal(ramet_read(stateless, 0, buf, 8, &error), 2);
    assert_memory_equal(buf, "v3", 2);
    assert_int_equal(ramet_begin(stateless, RAMET_WRITE, &error),
                     RAMET_ERROR_READONLY);
    ramet_close(stateless);
    options.stateless = 0;
    options.at = "2";
    stateless = open_volume("nothing", &options);
    assert_int_equal(ramet_read(stateless, 0, buf, 8, &error), 2);
    assert_memory_equal(buf + 0, "v", 1);
    ramet_close(stateless);
    options.at = "99";
    {
        ramet_volume *none = NULL;

        assert_int_equal(ramet_open("x", &options, &none, &error),
                         RAMET_ERROR_NOT_FOUND);
        assert_null(none);
    }
}

static void
api__opened_readonly_refuses_verbs_that_write(void **state)
{
    ramet_options options = {0};
    ramet_volume *writer;
    ramet_volume *reader;
    ramet_volume *puller;
    ramet_error error;
    uint64_t lsn = 0;

    (void)state;
    options.size = sizeof(options);
    options.remote = url;
    options.sync = "manual";
    options.create = 1;
    writer = open_volume("a", &options);
    check(ramet_begin(writer, RAMET_WRITE, &error), &error);
    check(ramet_write(writer, 0, "one", 3, &error), &error);
    check(ramet_commit(writer, &error), &error);
    options.create = 0;
    options.readonly = 1;
    reader = open_volume("a", &options);
    options.allow_pull = 1;
    puller = open_volume("a", &options);
    assert_int_equal(ramet_push(reader, NULL, &error), RAMET_ERROR_READONLY);
    assert_int_equal(ramet_pull(reader, NULL, &error), RAMET_ERROR_READONLY);
    assert_int_equal(ramet_fetch(reader, NULL, &error), RAMET_ERROR_READONLY);
    assert_int_equal(ramet_hydrate(reader, NULL, &error), RAMET_ERROR_READONLY);
    assert_int_equal(ramet_reset(reader, 0, &error), RAMET_ERROR_READONLY);
    assert_int_equal(ramet_push(puller, NULL, &error), RAMET_ERROR_READONLY);
    check(ramet_push(writer, &lsn, &error), &error);
    assert_int_equal(lsn, 1);
    check(ramet_pull(puller, &lsn, &error), &error);
    assert_int_equal(lsn, 1);
    assert_int_equal(ramet_push(reader, NULL, &error), RAMET_ERROR_READONLY);
    ramet_close(puller);
    ramet_close(reader);
    ramet_close(writer);
}

static void
api__tells_what_is_wrong(void **state)
{
    ramet_options options = {0};
    ramet_volume *volume = NULL;
    ramet_error error;
    char path[300];
    char byte = 'x';

    (void)state;
    snprintf(path, sizeof(path), "%s/none", dir);
    assert_int_equal(ramet_open(NULL, NULL, &volume, &error),
                     RAMET_ERROR_INVALID);
    assert_int_equal(ramet_open(path, &options, &volume, &error),
                     RAMET_ERROR_INVALID); /* size 0 */
    options.size = sizeof(options) + 8;
    assert_int_equal(ramet_open(path, &options, &volume, &error),
                     RAMET_ERROR_INVALID);
    options.size = sizeof(options);
    assert_int_equal(ramet_open(path, &options, &volume, &error),
                     RAMET_ERROR_NOT_FOUND);
    assert_int_equal(error.code, RAMET_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.text, "none"));
    options.sync = "sometimes";
    assert_int_equal(ramet_open(path, &options, &volume, NULL),
                     RAMET_ERROR_INVALID);
    options.sync = NULL;
    options.create = 1;
    options.remote = "ftp://x/y";
    assert_int_equal(ramet_open(path, &options, &volume, &error),
                     RAMET_ERROR_INVALID);
    options.remote = NULL;
    volume = open_volume("local", &options);
    assert_int_equal(ramet_write(volume, 0, &byte, 1, &error),
                     RAMET_ERROR_INVALID);
    assert_int_equal(ramet_commit(volume, &error), RAMET_ERROR_INVALID);
    assert_int_equal(ramet_begin(volume, 7, &error), RAMET_ERROR_INVALID);
    assert_int_equal(ramet_push(volume, NULL, &error), RAMET_ERROR_INVALID);
    assert_int_equal(ramet_begin(volume, RAMET_WRITE, &error), RAMET_SUCCESS);
    assert_int_equal(ramet_begin(volume, RAMET_WRITE, &error),
                     RAMET_ERROR_INVALID);
    {
        ramet_volume *const other = open_volume("local", &options);

        assert_int_equal(ramet_begin(other, RAMET_WRITE, &error),
                         RAMET_ERROR_BUSY);
        ramet_close(other);
    }
    ramet_close(volume);
    ramet_close(NULL);
    assert_string_equal(ramet_version(), RAMET_VERSION_STRING);
}

/* Nothing but what the header says, and nothing happens. */
static void
api__what_is_asked_wrongly_is_refused(void **state)
{
    ramet_options options = {0};
    ramet_volume *volume = NULL;
    ramet_error error;
    ramet_info info;
    char path[300], token[RAMET_TOKEN_SIZE];

    (void)state;
    snprintf(path, sizeof(path), "%s/a", dir);
    assert_int_equal(ramet_open(NULL, NULL, &volume, &error),
                     RAMET_ERROR_INVALID);
    assert_int_equal(ramet_open(path, NULL, NULL, NULL), RAMET_ERROR_INVALID);
    options.size = 1;
    assert_int_equal(ramet_open(path, &options, &volume, &error),
                     RAMET_ERROR_INVALID);
    options.size = sizeof(options) + 1;
    assert_int_equal(ramet_open(path, &options, &volume, &error),
                     RAMET_ERROR_INVALID);
    options.size = sizeof(options);
    options.sync = "often";
    assert_int_equal(ramet_open(path, &options, &volume, &error),
                     RAMET_ERROR_INVALID);
    options.sync = "commit"; /* and there is none to be made */
    assert_int_equal(ramet_open(path, &options, &volume, &error),
                     RAMET_ERROR_NOT_FOUND);
    assert_null(volume);

    check(ramet_open(path, NULL, &volume, &error), &error);
    assert_int_equal(ramet_begin(volume, 7, &error), RAMET_ERROR_INVALID);
    assert_int_equal(ramet_commit(volume, &error), RAMET_ERROR_INVALID);
    assert_int_equal(ramet_write(volume, 0, "x", 1, &error),
                     RAMET_ERROR_INVALID);
    assert_int_equal(ramet_truncate(volume, 0, &error), RAMET_ERROR_INVALID);
    assert_int_equal(ramet_read(volume, 0, path, SIZE_MAX, &error),
                     RAMET_ERROR_INVALID);
    check(ramet_begin(volume, RAMET_READ, &error), &error);
    assert_int_equal(ramet_begin(volume, RAMET_READ, &error),
                     RAMET_ERROR_INVALID);
    assert_int_equal(ramet_write(volume, 0, "x", 1, &error),
                     RAMET_ERROR_INVALID);
    assert_int_equal(ramet_wait_durable(volume, 1, token, &error),
                     RAMET_ERROR_INVALID);
    ramet_rollback(volume);
    ramet_rollback(volume); /* of nothing */
    check(ramet_begin(volume, RAMET_WRITE, &error), &error);
    assert_int_not_equal(ramet_write(volume, UINT64_MAX, "x", 1, &error),
                         RAMET_SUCCESS);
    assert_int_not_equal(ramet_truncate(volume, UINT64_MAX, &error),
                         RAMET_SUCCESS);
    ramet_close(volume); /* rolls back */
    ramet_close(NULL);
    ramet_rollback(NULL);

    check(ramet_open(path, NULL, &volume, &error), &error);
    assert_int_equal(ramet_length(volume, &error), 0);
    assert_int_not_equal(ramet_push(volume, NULL, &error), RAMET_SUCCESS);
    assert_non_null(strstr(error.text, "no remote"));
    assert_int_not_equal(ramet_fetch(volume, NULL, &error), RAMET_SUCCESS);
    check(ramet_stat(volume, &info, NULL), &error);
    ramet_close(volume);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(api__commits_pushes_and_pulls, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            api__waits_for_what_was_made_durable_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(
            api__reads_an_older_snapshot_without_a_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(
            api__opened_readonly_refuses_verbs_that_write, setup, teardown),
        cmocka_unit_test_setup_teardown(api__tells_what_is_wrong, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(api__what_is_asked_wrongly_is_refused,
                                        setup, teardown),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
