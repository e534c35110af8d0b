/*
 * init.c - makes a program that holds SQLite load a VFS before all else.
 *
 * sqlite3.c is compiled with -DSQLITE_EXTRA_INIT=suite_extra_init, a hook
 * that sqlite3_initialize() calls last. So no source of SQLite is changed for
 * it, and it works again after each sqlite3_shutdown() that a test does
 * (where SQLite makes "unix" the default once more).
 *
 *   SUITE_EXTENSION  path of the extension; not set: nothing is done
 *   SUITE_VFS        the VFS to make the default
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static sqlite3_vfs *vfs; /* the one under test */
static int is_loading;

int suite_extra_init(const char *unused);
sqlite3_vfs *suite_vfs(void);

sqlite3_vfs *
suite_vfs(void)
{
    return vfs;
}

static void
die(const char *what, const char *why)
{
    fprintf(stderr, "suite_init: %s: %s\n", what, why != NULL ? why : "?");
    fflush(stderr);
    _Exit(97);
}

static void
load(const char *path, const char *name)
{
    sqlite3 *db = NULL;
    char *text = NULL;

    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        die("cannot open :memory:", sqlite3_errmsg(db));
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
    if (sqlite3_load_extension(db, path, NULL, &text) != SQLITE_OK)
        die("cannot load the extension", text);
    sqlite3_close(db);
    vfs = sqlite3_vfs_find(name);
    if (vfs == NULL)
        die("the extension did not register the VFS", name);
}

int
suite_extra_init(const char *unused)
{
    const char *path = getenv("SUITE_EXTENSION");
    const char *name = getenv("SUITE_VFS");

    (void)unused;
    if (path == NULL || path[0] == '\0' || is_loading)
        return SQLITE_OK;
    if (name == NULL || name[0] == '\0')
        die("SUITE_VFS", "is not set");
    if (vfs == NULL) {
        is_loading = 1; /* opening :memory: initializes, too */
        load(path, name);
        is_loading = 0;
    }
    return sqlite3_vfs_register(vfs, 1);
}
