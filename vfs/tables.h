/*
 * tables.h - the table-valued functions ramet_status and ramet_log.
 *
 *   SELECT * FROM ramet_status;            -- each replica of the connection
 *   SELECT * FROM ramet_status('main');
 *   SELECT * FROM ramet_log('main') LIMIT 10;   -- newest first
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_TABLES_H
#define RAMET_VFS_TABLES_H

#include "core/id.h"
#include "vfs/api.h"

/* Register both on a connection. An SQLITE_* code. */
int ramet_status_table_register(sqlite3 *connection);
int ramet_log_table_register(sqlite3 *connection);

/*
 * What the two have in common: an eponymous, read-only table whose one hidden
 * column is the schema's name, as an optional argument. xBestIndex hands that
 * argument to xFilter (idxNum 1), or none (idxNum 0).
 */
struct ramet_table {
    sqlite3_vtab base; /* first: SQLite knows no more */
    sqlite3 *connection;
};
/* xConnect: `aux` of the module is the table's CREATE TABLE. */
int ramet_table_connect(sqlite3 *connection, void *aux, int arg_count,
                        const char *const *args, sqlite3_vtab **out_table,
                        char **out_error);
int ramet_table_disconnect(sqlite3_vtab *table);
/* An id as text; NULL if it is nil. */
void ramet_table_result_id(sqlite3_context *context, const struct ramet_id *id);
/* `hidden_column`: the number of the hidden column. */
int ramet_table_best_index(sqlite3_index_info *info, int hidden_column,
                           double rows);

#endif
