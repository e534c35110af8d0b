/*
 * extension.c - the entry point of ramet.so.
 *
 * Loading registers the two VFSs and, on this connection and on each that is
 * opened later, the SQL functions. The library stays for the life of the
 * process (SQLITE_OK_LOAD_PERMANENTLY): its VFSs do.
 *
 *   (1) One SQLite library a process: SQLite's calls go through one table.
 *   (2) Nothing here keeps memory of SQLite's allocator between connections,
 *       but for SQLite's own list of automatic extensions.
 */
#define RAMET_VFS_DEFINE_API
#include "vfs/api.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "vfs/connection.h"
#include "vfs/dbfile.h"
#include "vfs/functions.h"
#include "vfs/options.h"
#include "vfs/refusal.h"
#include "vfs/tables.h"
#include "vfs/vfs.h"

#define PUBLIC __attribute__((visibility("default")))

PUBLIC int sqlite3_ramet_init(sqlite3 *connection, char **out_error,
                              const sqlite3_api_routines *api);

/* None of it where the main database was opened with functions=off; nor once
 * more where it is there: SQLite refuses to replace functions while a statement
 * is at work, such as SELECT load_extension(…) is. */
static int
register_sql(sqlite3 *connection)
{
    const struct ramet_dbfile *const db = ramet_dbfile_find(connection, "main");
    int code;

    assert(connection != NULL);
    if ((db != NULL ? db->functions_off : ramet_options_functions_off()) ||
        ramet_connection_is_known(connection))
        return SQLITE_OK;
    code = ramet_functions_register(connection);
    if (code == SQLITE_OK)
        code = ramet_status_table_register(connection);
    if (code == SQLITE_OK)
        code = ramet_log_table_register(connection);
    return code;
}

/* Called for each new connection: also for one whose main database could not
 * be opened, which ends here, and in words (refusal.h). */
static int
on_connection(sqlite3 *connection, char **out_error,
              const sqlite3_api_routines *api)
{
    sqlite3_file *file = NULL;
    const char *text;
    int code;

    assert(connection != NULL && out_error != NULL);
    if (api != sqlite3_api)
        return SQLITE_OK; /* invariant (1): not the library that we serve */
    if (sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER,
                             &file) != SQLITE_OK)
        file = NULL;
    code = ramet_refusal_of(file, &text);
    if (code == SQLITE_OK)
        return register_sql(connection);
    *out_error = sqlite3_mprintf("%s: %s", sqlite3_errstr(code & 0xff), text);
    return code;
}

static int
fail(const sqlite3_api_routines *api, char **out_error, const char *text)
{
    assert(text != NULL);
    if (out_error != NULL)
        *out_error = api->mprintf("ramet: %s", text);
    return SQLITE_ERROR;
}

static bool
wants_default(void)
{
    const char *value = getenv("RAMET_DEFAULT_VFS");

    return value != NULL && strcmp(value, "1") == 0;
}

int
sqlite3_ramet_init(sqlite3 *connection, char **out_error,
                   const sqlite3_api_routines *api)
{
    const char *text = "cannot register";
    int code;

    assert(connection != NULL && api != NULL);
    if (sqlite3_api != NULL && sqlite3_api != api) /* invariant (1) */
        return fail(api, out_error,
                    "another SQLite library of this process has loaded it");
    if (api->libversion_number() < RAMET_SQLITE_OLDEST)
        return fail(api, out_error, "needs SQLite 3.34 or later");
    SQLITE_EXTENSION_INIT2(api);
    ramet_log_init_from_env(false);

    code = ramet_vfs_register(wants_default(), &text);
    if (code == SQLITE_ERROR)
        return fail(api, out_error, text);
    if (code == SQLITE_OK)
        code = register_sql(connection);
    if (code == SQLITE_OK)
        code = sqlite3_auto_extension((void (*)(void))on_connection);
    return code == SQLITE_OK ? SQLITE_OK_LOAD_PERMANENTLY : code;
}
