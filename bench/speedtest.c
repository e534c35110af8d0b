/*
 * speedtest.c - for SQLite's speedtest1.c, which is linked with it: makes the
 * VFS `ramet` known before main(), from the extension that RAMET_EXTENSION
 * names. Without that it does nothing.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void
load_extension(void)
{
    const char *const extension = getenv("RAMET_EXTENSION");
    char *text = NULL;
    sqlite3 *db;

    if (extension == NULL)
        return;
    if (sqlite3_open(":memory:", &db) != SQLITE_OK ||
        sqlite3_enable_load_extension(db, 1) != SQLITE_OK ||
        sqlite3_load_extension(db, extension, NULL, &text) != SQLITE_OK) {
        fprintf(stderr, "speedtest: %s: %s\n", extension,
                text != NULL ? text : "can't be loaded");
        _Exit(1);
    }
    sqlite3_close(db); /* the VFS stays for the process */
}
