/*
 * test_path.c - which file a path leads to.
 */
#define _GNU_SOURCE
#include "tests/support/cmocka_all.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/path.h"
#include "core/alloc.h"

static void
must(int result)
{
    if (result != 0)
        fail_msg("a call of the fixture failed");
}

/* Both relative to the current directory, which is `root`. */
static void
leads_to(const char *base, const char *path, const char *expected)
{
    char full[4096];
    char *found = NULL;
    struct ramet_err err = {.code = RAMET_OK};

    snprintf(full, sizeof(full), "%s/%s", base, expected);
    if (ramet_path_resolve(ramet_os_system(), path, &found, NULL, &err) !=
        RAMET_OK)
        fail_msg("%s: %s", path, err.text);
    assert_string_equal(found, full);
    ramet_free(found);
}

static void
is_refused(const char *path, enum ramet_rc expected, const char *says)
{
    char *found = NULL;
    struct ramet_err err = {.code = RAMET_OK};

    assert_int_equal(
        ramet_path_resolve(ramet_os_system(), path, &found, NULL, &err),
        expected);
    assert_non_null(strstr(err.text, says));
}

static void
path__follows_every_link_also_to_what_is_not_there(void **state)
{
    const char *const here = *state;
    bool is_link = false;
    char *found = NULL;

    must(mkdir("disk", 0777));
    must(mkdir("disk/deep", 0777));
    must(symlink("disk", "folder"));
    must(symlink("folder/deep", "deep"));
    must(symlink("deep/app.db", "one.db"));
    must(symlink("one.db", "two.db"));
    must(symlink("../new.db", "disk/new.db"));
    leads_to(here, "app.db", "app.db");
    leads_to(here, "./x/..//app.db/", "app.db");
    leads_to(here, "two.db", "disk/deep/app.db");
    leads_to(here, "folder/deep/../a.db", "disk/a.db");
    leads_to(here, "deep/../a.db", "disk/a.db");
    leads_to(here, "disk/new.db", "new.db");
    leads_to(here, "no/such/folder/a.db", "no/such/folder/a.db");
    assert_int_equal(
        ramet_path_resolve(ramet_os_system(), "two.db", &found, &is_link, NULL),
        RAMET_OK);
    assert_true(is_link);
    ramet_free(found);
    assert_int_equal(ramet_path_resolve(ramet_os_system(), "deep/app.db",
                                        &found, &is_link, NULL),
                     RAMET_OK);
    assert_false(is_link); /* its folder is one */
    ramet_free(found);
    leads_to("", "/", "");
    leads_to("", "/../../etc/.//x", "etc/x");
}

static void
path__that_leads_nowhere__is_refused(void **state)
{
    char *const long_name = malloc(5000);

    (void)state;
    must(symlink("b.db", "a.db"));
    must(symlink("a.db", "b.db"));
    is_refused("a.db", RAMET_EINVAL, "circle");
    is_refused("", RAMET_EINVAL, "name is empty");
    memset(long_name, 'x', 4999);
    long_name[4999] = '\0';
    is_refused(long_name, RAMET_EINVAL, "too long");
    long_name[4080] = '\0'; /* fits alone, not behind the directory */
    is_refused(long_name, RAMET_EINVAL, "too long");
    free(long_name);
}

static void
path__of_a_link_with_a_replica_beside_it__is_refused(void **state)
{
    (void)state;
    must(mkdir("disk", 0777));
    must(symlink("disk/app.db", "app.db"));
    must(symlink("app.db", "more.db"));
    must(mkdir("app.db-ramet", 0777));
    must(fclose(fopen("app.db-ramet/state", "w")));
    is_refused("app.db", RAMET_EEXIST, "beside the link");
    is_refused("more.db", RAMET_EEXIST, "beside the link");
    must(mkdir("disk/app.db-ramet", 0777));
    must(fclose(fopen("disk/app.db-ramet/state", "w")));
    is_refused("more.db", RAMET_EEXIST, "two replicas over one file");
}

static char root[4096];

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
    char made[] = "/tmp/ramet-path-XXXXXX";

    if (mkdtemp(made) == NULL || chdir(made) != 0 ||
        getcwd(root, sizeof(root)) == NULL)
        return -1;
    *state = root;
    return 0;
}

static int
leave(void **state)
{
    if (chdir("/") != 0)
        return -1;
    return nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            path__follows_every_link_also_to_what_is_not_there, enter, leave),
        cmocka_unit_test_setup_teardown(path__that_leads_nowhere__is_refused,
                                        enter, leave),
        cmocka_unit_test_setup_teardown(
            path__of_a_link_with_a_replica_beside_it__is_refused, enter, leave),
    };
    return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
