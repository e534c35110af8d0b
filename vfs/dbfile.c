/*
 * dbfile.c - a database and its connection: results, and what SQLite can be asked
 * of it; see dbfile.h.
 */
#include "vfs/dbfile.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>

#include "vfs/connection.h"
#include "vfs/names.h"

struct ramet_dbfile *
ramet_dbfile_find(sqlite3 *connection, const char *schema)
{
    const char *const name = sqlite3_db_filename(connection, schema);

    assert(connection != NULL && schema != NULL);
    if (name == NULL || name[0] == '\0')
        return NULL;
    return ramet_names_owner(sqlite3_filename_journal(name));
}

int
ramet_dbfile_result(struct ramet_dbfile *db, enum ramet_vfs_op op,
                    enum ramet_rc rc)
{
    int code;

    if (rc == RAMET_OK)
        return SQLITE_OK;
    db->failure = db->err; /* calls that go well may write into err, too */
    code = ramet_vfs_code(op, rc, db->err.sys_errno);
    assert(code != SQLITE_OK);
    if (db->connection != NULL)
        ramet_connection_note(*db->connection, db->err.text);
    if ((code & 0xff) != SQLITE_BUSY && code != SQLITE_NOMEM)
        ramet_vfs_report(code, db->name, &db->err);
    return code;
}

int
ramet_dbfile_check_fork(struct ramet_dbfile *db)
{
    assert(db->file != NULL);
    if (!ramet_file_is_parents(db->file))
        return SQLITE_OK;
    return ramet_dbfile_result(
        db, RAMET_OP_LOCK,
        RAMET_FAIL(&db->err, RAMET_EFORKED,
                   "this connection belongs to the process that forked; open "
                   "the database again"));
}

const char *
ramet_dbfile_schema(const struct ramet_dbfile *db)
{
    sqlite3 *connection = db->connection != NULL ? *db->connection : NULL;
    const char *schema;

    assert(db->name != NULL);
    if (connection == NULL ||
        sqlite3_libversion_number() < RAMET_SQLITE_DB_NAME)
        return NULL;
    for (int i = 0; (schema = sqlite3_db_name(connection, i)) != NULL; i++)
        if (sqlite3_db_filename(connection, schema) == db->name)
            return schema;
    return NULL;
}

void
ramet_dbfile_ask_pragma(const struct ramet_dbfile *db, const char *pragma,
                        char *out, size_t out_size)
{
    const char *schema = ramet_dbfile_schema(db);
    sqlite3_stmt *stmt = NULL;
    const char *text = NULL;
    char *sql;

    assert(pragma != NULL && out_size > 0);
    out[0] = '\0';
    if (schema == NULL)
        return;
    sql = sqlite3_mprintf("PRAGMA \"%w\".%s", schema, pragma);
    if (sql != NULL &&
        sqlite3_prepare_v2(*db->connection, sql, -1, &stmt, NULL) ==
            SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        text = (const char *)sqlite3_column_text(stmt, 0);
    if (text != NULL) /* NULL on no memory, too */
        (void)snprintf(out, out_size, "%s", text);
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
}

static atomic_uint modes_said;

unsigned
ramet_dbfile_modes_said(void)
{
    return atomic_load_explicit(&modes_said, memory_order_relaxed);
}

void
ramet_dbfile_mode_said(void)
{
    atomic_fetch_add_explicit(&modes_said, 1, memory_order_relaxed);
}
