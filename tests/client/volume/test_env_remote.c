/*
 * test_env_remote.c - what RAMET_REMOTE names, and for which file.
 */
#define _GNU_SOURCE
#include "tests/support/cmocka_all.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/volume/env_remote.h"

static char root[4096];

/* The name of the volume for the file, "" if there is none; its error text. */
static const char *
named(const char *file, enum ramet_rc expected)
{
    static char out[RAMET_ERR_TEXT_MAX];
    struct ramet_err err = {.code = RAMET_OK};
    struct ramet_url url;
    char path[4200];
    bool found = false;
    enum ramet_rc rc;

    snprintf(path, sizeof(path), "%s/%s", root, file);
    rc = ramet_env_remote(ramet_os_system(), NULL, path, &url, &found, &err);
    if (rc != expected)
        fail_msg("%s: %d: %s", file, rc, err.text);
    if (rc != RAMET_OK)
        snprintf(out, sizeof(out), "%s", err.text);
    else
        snprintf(out, sizeof(out), "%s", found ? url.name : "");
    return out;
}

static void
is_named(const char *file, const char *volume)
{
    assert_string_equal(named(file, RAMET_OK), volume);
}

static void
url_alone__is_for_the_file_that_is_named_like_it(void **state)
{
    static const char *const alike[] = {"a/app", "b/app.db", "c/app.db3",
                                        "d/app.sqlite", "e/app.sqlite3"};
    static const char *const others[] = {
        "app.bak", "app.db.bak", "app.db-copy", "app2.db", "myapp.db",
        "app.old", "cache.db",   "App.db",      "app.",    "x/app/data.db"};

    (void)state;
    setenv("RAMET_REMOTE", "file:///store/of/app", 1);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        is_named(others[i], "");
    for (size_t i = 0; i < sizeof(alike) / sizeof(alike[0]); i++) {
        /* Each by itself: no file has it while no replica is there. */
        is_named(alike[i], "app");
    }
    setenv("RAMET_REMOTE", "https://host:7411/team/app.db", 1);
    is_named("app.db", "app.db");
    is_named("app", "");
    setenv("RAMET_REMOTE", "s3://bucket/deep/app?endpoint=http://h:1", 1);
    is_named("app.db", "app");
}

static void
list__names_each_file_its_own(void **state)
{
    char list[3 * sizeof(root)];

    (void)state;
    assert_int_equal(symlink("real.db", "link.db"), 0);
    assert_int_equal(mkdir("sub", 0777), 0);
    snprintf(list, sizeof(list),
             " one.db=file:///s/first\t%s/two.db=s3://b/second?region=x\n"
             "link.db=http://h/third file:///s/app  sub/app.db=file:///s/sub ",
             root);
    setenv("RAMET_REMOTE", list, 1);
    is_named("one.db", "first");
    is_named("two.db", "second");
    is_named("real.db", "third");
    is_named("app.db", "app");
    is_named("sub/app.db", "sub");
    is_named("sub/one.db", "");
    is_named("three.db", "");
    unsetenv("RAMET_REMOTE");
    is_named("app.db", "");
    setenv("RAMET_REMOTE", " \t", 1);
    is_named("app.db", "");
}

static void
url_alone__belongs_to_the_first_file_while_its_replica_is_there(void **state)
{
    (void)state;
    setenv("RAMET_REMOTE", "file:///s/one-for-two", 1);
    is_named("one-for-two.db", "one-for-two");
    assert_int_equal(mkdir("one-for-two.db-ramet", 0777), 0);
    assert_int_equal(fclose(fopen("one-for-two.db-ramet/state", "w")), 0);
    is_named("backups/one-for-two.db", "");
    is_named("one-for-two.db", "one-for-two");
    assert_int_equal(remove("one-for-two.db-ramet/state"), 0);
    is_named("backups/one-for-two.db", "one-for-two");
}

static void
names_of_the_configuration__stand_for_urls(void **state)
{
    FILE *const conf = fopen("ramet.conf", "w");

    (void)state;
    assert_non_null(conf);
    fputs("[remote work]\nurl = file:///srv/store\n"
          "[remote one]\nurl = file:///srv/single\n",
          conf);
    assert_int_equal(fclose(conf), 0);
    setenv("RAMET_REMOTE", "work:orders one x.db=work:other", 1);
    is_named("orders.db", "orders");
    is_named("single.db", "single");
    is_named("one.db", "");
    is_named("x.db", "other");
    setenv("RAMET_REMOTE", "home:orders", 1);
    assert_non_null(strstr(named("orders.db", RAMET_ENOTFOUND), "home"));
}

static void
list__that_is_malformed__is_reported(void **state)
{
    (void)state;
    setenv("RAMET_REMOTE", "app.db=", 1);
    assert_non_null(strstr(named("x.db", RAMET_EINVAL), "FILE=URL"));
    setenv("RAMET_REMOTE", "=file:///s/app", 1);
    assert_non_null(strstr(named("x.db", RAMET_EINVAL), "FILE=URL"));
    setenv("RAMET_REMOTE", "http://host:7411/", 1);
    assert_non_null(strstr(named("x.db", RAMET_EINVAL), "names a store"));
    setenv("RAMET_REMOTE", "gopher://host/app", 1);
    assert_non_null(strstr(named("x.db", RAMET_EINVAL), "gopher"));
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int
enter(void **state)
{
    char made[] = "/tmp/ramet-env-XXXXXX";

    (void)state;
    unsetenv("RAMET_CONFIG");
    return mkdtemp(made) != NULL && chdir(made) == 0 &&
                   getcwd(root, sizeof(root)) != NULL
               ? 0
               : -1;
}

static int
leave(void **state)
{
    (void)state;
    unsetenv("RAMET_REMOTE");
    if (chdir("/") != 0)
        return -1;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            url_alone__is_for_the_file_that_is_named_like_it, enter, leave),
        cmocka_unit_test_setup_teardown(list__names_each_file_its_own, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(
            url_alone__belongs_to_the_first_file_while_its_replica_is_there,
            enter, leave),
        cmocka_unit_test_setup_teardown(
            names_of_the_configuration__stand_for_urls, enter, leave),
        cmocka_unit_test_setup_teardown(list__that_is_malformed__is_reported,
                                        enter, leave),
    };
    return cmocka_run_group_tests_name("env_remote", tests, NULL, NULL);
}
