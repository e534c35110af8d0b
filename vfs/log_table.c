/*
 * log_table.c - ramet_log: the commits of a replica's remote, newest first.
 *
 * Read from the remote as it is asked for, a head a row, so that LIMIT costs
 * what it shows, or twice that.
 */
#include <assert.h>
#include <string.h>

#include "client/remote/token.h"
#include "core/alloc.h"
#include "metastore/go_back.h"
#include "vfs/dbfile.h"
#include "vfs/tables.h"

enum column {
    COLUMN_LSN,
    COLUMN_COMMIT_ID,
    COLUMN_WRITER,
    COLUMN_TIME,
    COLUMN_PAGE_SIZE,
    COLUMN_PAGES,
    COLUMN_CHANGED_PAGES,
    COLUMN_BYTES,
    COLUMN_FENCE,
    COLUMN_ARGUMENT,
};

static const char declaration[] =
    "CREATE TABLE x(lsn INTEGER PRIMARY KEY, commit_id TEXT, writer TEXT, "
    "time TEXT, page_size INTEGER, pages INTEGER, changed_pages INTEGER, "
    "bytes INTEGER, fence INTEGER, argument HIDDEN)";

struct cursor {
    sqlite3_vtab_cursor base;
    struct ramet_remote *remote;
    struct ramet_history *history;
    struct ramet_history_back back;
    uint64_t lsn; /* of `commit`; 0: at the end */
    struct ramet_commit_object commit;
};

static int
log_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    (void)table;
    if (info->nOrderBy == 1 && info->aOrderBy[0].desc &&
        info->aOrderBy[0].iColumn == COLUMN_LSN)
        info->orderByConsumed = 1;
    return ramet_table_best_index(info, COLUMN_ARGUMENT, 1000);
}

static int
log_open(sqlite3_vtab *table, sqlite3_vtab_cursor **out_cursor)
{
    struct cursor *cursor = ramet_calloc(1, sizeof(*cursor));

    (void)table;
    if (cursor == NULL)
        return SQLITE_NOMEM;
    ramet_commit_init(&cursor->commit);
    *out_cursor = &cursor->base;
    return SQLITE_OK;
}

static void
let_go(struct cursor *cursor)
{
    ramet_commit_done(&cursor->commit);
    ramet_commit_init(&cursor->commit);
    ramet_history_close(cursor->history);
    cursor->history = NULL;
    ramet_remote_close(cursor->remote);
    cursor->remote = NULL;
    memset(&cursor->back, 0, sizeof(cursor->back));
    cursor->lsn = 0;
}

static int
log_close(sqlite3_vtab_cursor *base)
{
    let_go((struct cursor *)base);
    ramet_free(base);
    return SQLITE_OK;
}

static int
set_error(sqlite3_vtab_cursor *base, enum ramet_rc rc,
          const struct ramet_err *err)
{
    assert(rc != RAMET_OK);
    sqlite3_free(base->pVtab->zErrMsg);
    base->pVtab->zErrMsg = sqlite3_mprintf("%s", err->text);
    return ramet_vfs_code(RAMET_OP_VERB, rc, err->sys_errno);
}

/* Load the commit at `lsn`; 0 is the end. */
static int
go_to(struct cursor *cursor, uint64_t lsn)
{
    struct ramet_err err = {.code = RAMET_OK};
    enum ramet_rc rc;

    assert(lsn == 0 || cursor->history != NULL);
    ramet_commit_done(&cursor->commit);
    ramet_commit_init(&cursor->commit);
    cursor->lsn = lsn;
    if (lsn == 0)
        return SQLITE_OK;
    rc = ramet_history_go_back(cursor->history, &cursor->back, lsn, 1,
                               &cursor->commit, &err);
    return rc == RAMET_OK ? SQLITE_OK : set_error(&cursor->base, rc, &err);
}

static int
log_next(sqlite3_vtab_cursor *base)
{
    struct cursor *cursor = (struct cursor *)base;

    assert(cursor->lsn > 0);
    return go_to(cursor, cursor->lsn - 1);
}

/* Open the history of a replica's remote; *out_newest 0: no commit there. */
static enum ramet_rc
open_history(struct cursor *cursor, struct ramet_dbfile *db,
             uint64_t *out_newest, struct ramet_err *err)
{
    struct ramet_remote_options remote_options = {0};
    struct ramet_token token = {.text = NULL};
    struct ramet_history_options history_options = {0};
    struct ramet_file_status status;
    struct ramet_head head;
    struct ramet_url url;
    enum ramet_rc rc;

    assert(cursor->history == NULL && cursor->remote == NULL);
    *out_newest = 0;
    rc = ramet_file_status(db->file, &status, err);
    if (rc != RAMET_OK)
        return rc;
    if (status.remote[0] == '\0' || ramet_id_is_nil(&status.volume.id))
        return RAMET_OK; /* no remote, or nothing was ever pushed there */
    rc = ramet_url_parse(status.remote, &url, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_token_for(&url, RAMET_NAMED_BY_REPLICA, NULL, &token, err);
    if (rc != RAMET_OK)
        return rc;
    remote_options.token = token.text;
    remote_options.withheld_why = token.withheld_why;
    remote_options.s3_configured = token.s3_configured;
    rc = ramet_remote_open(&url, &remote_options, &cursor->remote, err);
    ramet_free(token.text);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_history_open(cursor->remote->store, &status.volume,
                            &history_options, &cursor->history, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_history_newest(cursor->history, &head, err);
    if (rc == RAMET_OK)
        *out_newest = head.lsn;
    return rc;
}

static int
log_filter(sqlite3_vtab_cursor *base, int index, const char *index_text,
           int arg_count, sqlite3_value **args)
{
    struct cursor *cursor = (struct cursor *)base;
    sqlite3 *connection = ((struct ramet_table *)base->pVtab)->connection;
    struct ramet_err err = {.code = RAMET_OK};
    const char *schema = "main";
    struct ramet_dbfile *db;
    uint64_t newest;
    enum ramet_rc rc;

    assert(index == 0 || index == 1);
    (void)index_text;
    let_go(cursor);
    if (index == 1 && arg_count == 1)
        schema = (const char *)sqlite3_value_text(args[0]);
    db = schema != NULL ? ramet_dbfile_find(connection, schema) : NULL;
    if (db == NULL)
        return SQLITE_OK;
    rc = open_history(cursor, db, &newest, &err);
    return rc == RAMET_OK ? go_to(cursor, newest) : set_error(base, rc, &err);
}

static int
log_eof(sqlite3_vtab_cursor *base)
{
    return ((struct cursor *)base)->lsn == 0;
}

static int
log_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int number)
{
    const struct cursor *cursor = (const struct cursor *)base;
    const struct ramet_commit_object *commit = &cursor->commit;
    uint64_t value = 0;
    char time[32];

    assert(cursor->lsn > 0 && number >= 0 && number <= COLUMN_ARGUMENT);
    switch ((enum column)number) {
    case COLUMN_COMMIT_ID:
        ramet_table_result_id(context, &commit->id.id);
        return SQLITE_OK;
    case COLUMN_WRITER:
        ramet_table_result_id(context, &commit->writer.id);
        return SQLITE_OK;
    case COLUMN_TIME:
        ramet_time_format(commit->time_ms, time);
        sqlite3_result_text(context, time, -1, SQLITE_TRANSIENT);
        return SQLITE_OK;
    case COLUMN_ARGUMENT:
        return SQLITE_OK;
    case COLUMN_LSN:
        value = commit->lsn;
        break;
    case COLUMN_PAGE_SIZE:
        value = commit->page_size;
        break;
    case COLUMN_PAGES:
        value = commit->page_count;
        break;
    case COLUMN_CHANGED_PAGES:
        value = ramet_commit_changed_pages(commit);
        break;
    case COLUMN_BYTES:
        value = ramet_commit_stored_bytes(commit);
        break;
    case COLUMN_FENCE:
        value = commit->role == RAMET_COMMIT_FENCE;
        break;
    }
    sqlite3_result_int64(context, (sqlite3_int64)value);
    return SQLITE_OK;
}

static int
log_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out_rowid)
{
    assert(out_rowid != NULL);
    *out_rowid = (sqlite3_int64)((struct cursor *)base)->lsn;
    return SQLITE_OK;
}

static const sqlite3_module log_module = {
    .iVersion = 0,
    .xConnect = ramet_table_connect, /* no xCreate: eponymous only */
    .xBestIndex = log_best_index,
    .xDisconnect = ramet_table_disconnect,
    .xOpen = log_open,
    .xClose = log_close,
    .xFilter = log_filter,
    .xNext = log_next,
    .xEof = log_eof,
    .xColumn = log_column,
    .xRowid = log_rowid,
};

int
ramet_log_table_register(sqlite3 *connection)
{
    return sqlite3_create_module(connection, "ramet_log", &log_module,
                                 (void *)(uintptr_t)declaration);
}
