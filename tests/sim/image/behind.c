/*
 * behind.c - see behind.h.
 */
#include "tests/sim/image/behind.h"

#include "vfs/dbfile.h"

struct ramet_session *
sim_session_behind(struct sqlite3 *connection)
{
    const struct ramet_dbfile *const db = ramet_dbfile_find(connection, "main");

    return db != NULL ? db->session : NULL;
}

struct ramet_file *
sim_file_behind(struct sqlite3 *connection)
{
    const struct ramet_dbfile *const db = ramet_dbfile_find(connection, "main");

    return db != NULL ? db->file : NULL;
}

enum ramet_rc
sim_error_behind(struct sqlite3 *connection, struct ramet_err *out)
{
    const struct ramet_dbfile *const db = ramet_dbfile_find(connection, "main");

    if (db == NULL)
        return RAMET_OK;
    *out = db->failure;
    return db->failure.code;
}

void
sim_error_forget(struct sqlite3 *connection)
{
    struct ramet_dbfile *const db = ramet_dbfile_find(connection, "main");

    if (db != NULL)
        db->failure.code = RAMET_OK;
}
