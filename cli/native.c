/*
 * native.c - see native.h.
 */
#include "cli/native.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "client/store/path.h"
#include "core/alloc.h"
#include "sqliteformat/dbheader.h"

static enum ramet_rc
look_for(const char *path, const char *suffix, bool *io_found,
         struct ramet_err *err)
{
    char *const name = ramet_asprintf("%s%s", path, suffix);
    struct stat st;

    if (name == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a name");
    *io_found |= stat(name, &st) == 0 && st.st_size != 0;
    ramet_free(name);
    return RAMET_OK;
}

/* Reading rolls back or recovers; leaving WAL mode moves what is in the WAL,
 * and fails while another connection is there. */
static int
finish(const char *path, sqlite3 **out_db)
{
    int code = sqlite3_open_v2(path, out_db, SQLITE_OPEN_READWRITE, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_exec(*out_db, "SELECT count(*) FROM sqlite_schema", NULL,
                            NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(*out_db, "PRAGMA journal_mode=DELETE", NULL, NULL,
                            NULL);
    return code;
}

/* `path` is the file itself: what belongs to it stands beside it, not beside a
 * link to it. */
static enum ramet_rc
finish_file(const char *path, struct ramet_err *err)
{
    sqlite3 *db = NULL;
    bool found = false;
    int code;
    enum ramet_rc rc = look_for(path, "-wal", &found, err);

    if (rc == RAMET_OK)
        rc = look_for(path, "-journal", &found, err);
    if (rc != RAMET_OK || !found)
        return rc;
    code = finish(path, &db);
    if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
        rc = RAMET_FAIL(err, RAMET_EBUSY,
                        "another program has %s open; close it there", path);
    else if (code != SQLITE_OK && code != SQLITE_NOTADB)
        rc = RAMET_FAIL(err, RAMET_EIO,
                        "SQLite can't finish what a program left in %s: %s",
                        path, sqlite3_errmsg(db));
    sqlite3_close(db);
    return rc;
}

enum ramet_rc
cli_native_finish(const char *path, struct ramet_err *err)
{
    char *file = NULL;
    enum ramet_rc rc =
        ramet_path_resolve(ramet_os_system(), path, &file, NULL, err);

    if (rc == RAMET_OK)
        rc = finish_file(file, err);
    ramet_free(file);
    return rc;
}

bool
cli_native_is_wal(const char *path)
{
    uint8_t header[RAMET_DBHEADER_SIZE];
    FILE *const file = fopen(path, "rb");
    bool is_wal = false;

    if (file == NULL)
        return false;
    if (fread(header, 1, sizeof(header), file) == sizeof(header))
        is_wal = ramet_dbheader_is(header, sizeof(header)) &&
                 ramet_dbheader_is_wal(header);
    (void)fclose(file);
    return is_wal;
}
