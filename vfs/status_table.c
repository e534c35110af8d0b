/*
 * status_table.c - ramet_status: where each replica of a connection stands.
 */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "vfs/dbfile.h"
#include "vfs/tables.h"

enum column {
    COLUMN_SCHEMA,
    COLUMN_PATH,
    COLUMN_REMOTE,
    COLUMN_VOLUME,
    COLUMN_REPLICA,
    COLUMN_STATE,
    COLUMN_SYNC,
    COLUMN_LOCAL_COMMITS,
    COLUMN_DURABLE_LSN,
    COLUMN_REMOTE_LSN,
    COLUMN_PAGE_SIZE,
    COLUMN_PAGES,
    COLUMN_CACHED_PAGES,
    COLUMN_DIRTY_PAGES,
    COLUMN_LAG_MS,
    COLUMN_LAST_CONTACT_MS,
    COLUMN_FETCHED_PAGES,
    COLUMN_FETCHED_BYTES,
    COLUMN_REQUESTS,
    COLUMN_LAST_ERROR,
    COLUMN_UNPUSHED_SINCE_MS,
    COLUMN_IN_DOUBT,
    COLUMN_PREFETCHED_PAGES,
    COLUMN_PREFETCH_USED,
    COLUMN_PREFETCH_VAIN,
    COLUMN_LAG_LSNS,
    COLUMN_AGE_MS,
    COLUMN_ARGUMENT,
};

static const char declaration[] =
    "CREATE TABLE x(schema TEXT, path TEXT, remote TEXT, volume TEXT, "
    "replica TEXT, state TEXT, sync TEXT, local_commits INTEGER, "
    "durable_lsn INTEGER, remote_lsn INTEGER, page_size INTEGER, "
    "pages INTEGER, cached_pages INTEGER, dirty_pages INTEGER, "
    "lag_ms INTEGER, last_contact_ms INTEGER, fetched_pages INTEGER, "
    "fetched_bytes INTEGER, requests INTEGER, last_error TEXT, "
    "unpushed_since_ms INTEGER, in_doubt INTEGER, "
    "prefetched_pages INTEGER, prefetch_used INTEGER, prefetch_vain INTEGER, "
    "lag_lsns INTEGER, age_ms INTEGER, "
    "argument HIDDEN)";

struct cursor {
    sqlite3_vtab_cursor base;
    sqlite3_stmt *schemas; /* rows: names of schemas yet to look at */
    bool at_end;
    char schema[256];
    struct ramet_file_status status;
};

static int
status_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    return ramet_table_best_index(info, COLUMN_ARGUMENT, 2);
}

static int
status_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out_cursor)
{
    struct cursor *cursor = ramet_calloc(1, sizeof(*cursor));

    (void)table;
    if (cursor == NULL)
        return SQLITE_NOMEM;
    *out_cursor = &cursor->base;
    return SQLITE_OK;
}

static int
status_close(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;

    sqlite3_finalize(cursor->schemas);
    ramet_free(cursor);
    return SQLITE_OK;
}

static int
set_error(sqlite3_vtab_cursor *base, const char *text)
{
    sqlite3_free(base->pVtab->zErrMsg);
    base->pVtab->zErrMsg = sqlite3_mprintf("%s", text);
    return SQLITE_ERROR;
}

/* The status of the schema that `schemas` is at; *out_is_one false where that
 * is no replica. */
static int
look_at(struct cursor *cursor, sqlite3 *connection, bool *out_is_one)
{
    const char *schema = (const char *)sqlite3_column_text(cursor->schemas, 0);
    struct ramet_err err = {.code = RAMET_OK};
    struct ramet_dbfile *db;

    assert(cursor->schemas != NULL && connection != NULL);
    *out_is_one = false;
    if (schema == NULL || strlen(schema) >= sizeof(cursor->schema))
        return SQLITE_OK;
    db = ramet_dbfile_find(connection, schema);
    if (db == NULL)
        return SQLITE_OK;
    memcpy(cursor->schema, schema, strlen(schema) + 1);
    if (ramet_file_status(db->file, &cursor->status, &err) != RAMET_OK)
        return set_error(&cursor->base, err.text);
    if (cursor->status.last_error[0] == '\0' && db->failure.code != RAMET_OK)
        memcpy(cursor->status.last_error, db->failure.text,
               sizeof(db->failure.text));
    *out_is_one = true;
    return SQLITE_OK;
}

static int
status_next(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;
    sqlite3 *connection = ((struct ramet_table *)base->pVtab)->connection;
    bool is_one = false;
    int code = SQLITE_ROW;

    assert(cursor->schemas != NULL && !cursor->at_end);
    while (!is_one && (code = sqlite3_step(cursor->schemas)) == SQLITE_ROW) {
        const int looked = look_at(cursor, connection, &is_one);

        if (looked != SQLITE_OK)
            return looked;
    }
    if (code == SQLITE_ROW)
        return SQLITE_OK;
    cursor->at_end = true;
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int
status_filter(sqlite3_vtab_cursor *base, int index, const char *index_text,
              int arg_count, sqlite3_value **args)
{
    struct cursor *cursor = (struct cursor *)base;
    sqlite3 *connection = ((struct ramet_table *)base->pVtab)->connection;
    const char *sql =
        index == 1 ? "SELECT ?1" : "SELECT name FROM pragma_database_list";
    int code;

    assert(index == 0 || index == 1);
    (void)index_text;
    sqlite3_finalize(cursor->schemas);
    cursor->schemas = NULL;
    cursor->at_end = false;
    code = sqlite3_prepare_v2(connection, sql, -1, &cursor->schemas, NULL);
    if (code == SQLITE_OK && index == 1 && arg_count == 1)
        code = sqlite3_bind_value(cursor->schemas, 1, args[0]);
    return code == SQLITE_OK ? status_next(base) : code;
}

static int
status_eof(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->at_end;
}

static const char *
sync_name(enum ramet_sync_mode sync)
{
    switch (sync) {
    case RAMET_SYNC_DEFAULT:
    case RAMET_SYNC_MANUAL:
        return "manual";
    case RAMET_SYNC_AUTO:
        return "auto";
    case RAMET_SYNC_COMMIT:
        return "commit";
    }
    return "?";
}

/* "" is NULL to SQL. */
static void
result_text(sqlite3_context *context, const char *text)
{
    assert(text != NULL);
    if (text[0] != '\0')
        sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static uint64_t
number_of(const struct ramet_file_status *status, enum column column)
{
    switch (column) {
    case COLUMN_LOCAL_COMMITS:
        return status->local_commits;
    case COLUMN_DURABLE_LSN:
        return status->durable_lsn;
    case COLUMN_REMOTE_LSN:
        return status->remote_lsn;
    case COLUMN_PAGE_SIZE:
        return status->page_size;
    case COLUMN_PAGES:
        return status->pages;
    case COLUMN_CACHED_PAGES:
        return status->cached_pages;
    case COLUMN_DIRTY_PAGES:
        return status->dirty_pages;
    case COLUMN_LAG_MS:
        return status->lag_ms;
    case COLUMN_LAST_CONTACT_MS:
        return status->last_contact_ms;
    case COLUMN_UNPUSHED_SINCE_MS:
        return status->unpushed_since_ms;
    case COLUMN_IN_DOUBT:
        return status->in_doubt;
    case COLUMN_PREFETCHED_PAGES:
        return status->prefetched.asked;
    case COLUMN_PREFETCH_USED:
        return status->prefetched.used;
    case COLUMN_PREFETCH_VAIN:
        return status->prefetched.vain;
    case COLUMN_LAG_LSNS:
        return status->lag_lsns;
    case COLUMN_FETCHED_PAGES:
        return status->fetched_pages;
    case COLUMN_FETCHED_BYTES:
        return status->fetched_bytes;
    default:
        return status->requests;
    }
}

static int
status_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int number)
{
    const struct cursor *cursor = (const struct cursor *)base;
    const struct ramet_file_status *status = &cursor->status;
    const enum column column = (enum column)number;

    assert(!cursor->at_end && number >= 0 && number <= COLUMN_ARGUMENT);
    switch (column) {
    case COLUMN_SCHEMA:
    case COLUMN_ARGUMENT:
        result_text(context, cursor->schema);
        break;
    case COLUMN_AGE_MS:
        if (status->has_age)
            sqlite3_result_int64(context, (sqlite3_int64)status->age_ms);
        break;
    case COLUMN_PATH:
        result_text(context, status->path);
        break;
    case COLUMN_REMOTE:
        result_text(context, status->remote);
        break;
    case COLUMN_VOLUME:
        ramet_table_result_id(context, &status->volume.id);
        break;
    case COLUMN_REPLICA:
        ramet_table_result_id(context, &status->replica.id);
        break;
    case COLUMN_STATE:
        result_text(context, ramet_sync_state_name(status->state));
        break;
    case COLUMN_SYNC:
        result_text(context, sync_name(status->sync));
        break;
    case COLUMN_LAST_ERROR:
        result_text(context, status->last_error);
        break;
    default:
        sqlite3_result_int64(context, (sqlite3_int64)number_of(status, column));
        break;
    }
    return SQLITE_OK;
}

static int
status_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out_rowid)
{
    (void)base;
    *out_rowid = 0;
    return SQLITE_OK;
}

static const sqlite3_module status_module = {
    .iVersion = 0,
    .xConnect = ramet_table_connect, /* no xCreate: eponymous only */
    .xBestIndex = status_best_index,
    .xDisconnect = ramet_table_disconnect,
    .xOpen = status_open,
    .xClose = status_close,
    .xFilter = status_filter,
    .xNext = status_next,
    .xEof = status_eof,
    .xColumn = status_column,
    .xRowid = status_rowid,
};

int
ramet_status_table_register(sqlite3 *connection)
{
    return sqlite3_create_module(connection, "ramet_status", &status_module,
                                 (void *)(uintptr_t)declaration);
}
