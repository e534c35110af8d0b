/*
 * tables.c - what ramet_status and ramet_log have in common; see tables.h.
 */
#include "vfs/tables.h"

#include <assert.h>
#include <string.h>

int
ramet_table_connect(sqlite3 *connection, void *aux, int arg_count,
                    const char *const *args, sqlite3_vtab **out_table,
                    char **out_error)
{
    const char *const declaration = aux;
    struct ramet_table *table;
    int code;

    assert(declaration != NULL);
    (void)arg_count;
    (void)args;
    (void)out_error;
    code = sqlite3_declare_vtab(connection, declaration);
    if (code != SQLITE_OK)
        return code;
    /* Not for triggers and views of a foreign schema: they could leak where
     * a database came from. */
    code = sqlite3_vtab_config(connection, SQLITE_VTAB_DIRECTONLY);
    if (code != SQLITE_OK)
        return code;
    table = sqlite3_malloc(sizeof(*table)); /* freed with the connection */
    if (table == NULL)
        return SQLITE_NOMEM;
    memset(table, 0, sizeof(*table));
    table->connection = connection;
    *out_table = &table->base;
    return SQLITE_OK;
}

int
ramet_table_disconnect(sqlite3_vtab *table)
{
    sqlite3_free(table);
    return SQLITE_OK;
}

int
ramet_table_best_index(sqlite3_index_info *info, int hidden_column, double rows)
{
    assert(hidden_column > 0 && rows > 0);
    info->idxNum = 0;
    info->estimatedCost = rows * 10;
    info->estimatedRows = (sqlite3_int64)rows;
    for (int i = 0; i < info->nConstraint; i++) {
        if (info->aConstraint[i].iColumn != hidden_column ||
            info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
            continue;
        if (!info->aConstraint[i].usable)
            return SQLITE_CONSTRAINT; /* another order of the join will do */
        info->aConstraintUsage[i].argvIndex = 1;
        info->aConstraintUsage[i].omit = 1;
        info->idxNum = 1;
        break;
    }
    return SQLITE_OK;
}

void
ramet_table_result_id(sqlite3_context *context, const struct ramet_id *id)
{
    char text[RAMET_ID_TEXT_SIZE];

    if (ramet_id_is_nil(id))
        return;
    ramet_id_format(id, text);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}
