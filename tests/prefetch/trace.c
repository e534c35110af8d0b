/*
 * trace.c - see trace.h.
 */
#include "tests/prefetch/trace.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VFS_NAME "trace"
#define TEXT_MAX 65536u

struct traced_file {
    sqlite3_file base;
    sqlite3_file *inner;
    int is_main;
};

static sqlite3_vfs *inner_vfs;
static struct trace *recording; /* NULL: none */
static uint32_t page_size;

static void
require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "trace: %s\n", what);
        exit(2);
    }
}

static sqlite3_file *
inner_of(sqlite3_file *file)
{
    return ((struct traced_file *)file)->inner;
}

static int
trace_close(sqlite3_file *file)
{
    sqlite3_file *const inner = inner_of(file);
    const int rc = inner->pMethods->xClose(inner);

    sqlite3_free(inner);
    return rc;
}

static int
trace_read(sqlite3_file *file, void *out, int len, sqlite3_int64 offset)
{
    sqlite3_file *const inner = inner_of(file);

    if (recording != NULL && ((struct traced_file *)file)->is_main &&
        (uint32_t)len == page_size) {
        if ((recording->count & (recording->count - 1)) == 0)
            recording->pgnos =
                realloc(recording->pgnos,
                        (recording->count > 0 ? recording->count * 2 : 1) *
                            sizeof(*recording->pgnos));
        require(recording->pgnos != NULL, "no memory");
        recording->pgnos[recording->count++] =
            (uint32_t)(offset / page_size) + 1;
    }
    return inner->pMethods->xRead(inner, out, len, offset);
}

static int
trace_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
    return inner_of(file)->pMethods->xWrite(inner_of(file), data, len, offset);
}

static int
trace_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return inner_of(file)->pMethods->xTruncate(inner_of(file), size);
}

static int
trace_sync(sqlite3_file *file, int flags)
{
    return inner_of(file)->pMethods->xSync(inner_of(file), flags);
}

static int
trace_size(sqlite3_file *file, sqlite3_int64 *out)
{
    return inner_of(file)->pMethods->xFileSize(inner_of(file), out);
}

static int
trace_lock(sqlite3_file *file, int level)
{
    return inner_of(file)->pMethods->xLock(inner_of(file), level);
}

static int
trace_unlock(sqlite3_file *file, int level)
{
    return inner_of(file)->pMethods->xUnlock(inner_of(file), level);
}

static int
trace_reserved(sqlite3_file *file, int *out)
{
    return inner_of(file)->pMethods->xCheckReservedLock(inner_of(file), out);
}

static int
trace_control(sqlite3_file *file, int op, void *arg)
{
    return inner_of(file)->pMethods->xFileControl(inner_of(file), op, arg);
}

static int
trace_sector(sqlite3_file *file)
{
    return inner_of(file)->pMethods->xSectorSize(inner_of(file));
}

static int
trace_traits(sqlite3_file *file)
{
    return inner_of(file)->pMethods->xDeviceCharacteristics(inner_of(file));
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = trace_close,
    .xRead = trace_read,
    .xWrite = trace_write,
    .xTruncate = trace_truncate,
    .xSync = trace_sync,
    .xFileSize = trace_size,
    .xLock = trace_lock,
    .xUnlock = trace_unlock,
    .xCheckReservedLock = trace_reserved,
    .xFileControl = trace_control,
    .xSectorSize = trace_sector,
    .xDeviceCharacteristics = trace_traits,
};

static int
trace_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
           int *out_flags)
{
    struct traced_file *const traced = (struct traced_file *)file;
    int rc;

    (void)vfs;
    traced->base.pMethods = NULL;
    traced->inner = sqlite3_malloc(inner_vfs->szOsFile);
    if (traced->inner == NULL)
        return SQLITE_NOMEM;
    memset(traced->inner, 0, (size_t)inner_vfs->szOsFile);
    rc = inner_vfs->xOpen(inner_vfs, name, traced->inner, flags, out_flags);
    if (rc != SQLITE_OK) {
        sqlite3_free(traced->inner);
        return rc;
    }
    traced->is_main = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    traced->base.pMethods = &methods;
    return SQLITE_OK;
}

static void
register_vfs(void)
{
    static sqlite3_vfs vfs;

    if (inner_vfs != NULL)
        return;
    inner_vfs = sqlite3_vfs_find(NULL);
    require(inner_vfs != NULL, "no VFS");
    vfs = *inner_vfs;
    vfs.pNext = NULL;
    vfs.zName = VFS_NAME;
    vfs.szOsFile = sizeof(struct traced_file);
    vfs.xOpen = trace_open;
    require(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK, "register");
}

static void
run(sqlite3 *db, const char *sql)
{
    const char *rest = sql;

    while (*rest != '\0') {
        sqlite3_stmt *statement = NULL;
        int rc = sqlite3_prepare_v2(db, rest, -1, &statement, &rest);

        while (rc == SQLITE_OK || rc == SQLITE_ROW) {
            if (statement == NULL)
                break;
            rc = sqlite3_step(statement);
        }
        if (rc != SQLITE_OK && rc != SQLITE_DONE)
            fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
        require(rc == SQLITE_OK || rc == SQLITE_DONE, "a statement failed");
        sqlite3_finalize(statement);
    }
}

static char *
read_text(const char *path)
{
    FILE *const file = fopen(path, "r");
    char *const text = calloc(1, TEXT_MAX);

    require(file != NULL, path);
    require(text != NULL, "no memory");
    require(fread(text, 1, TEXT_MAX - 1, file) < TEXT_MAX - 1, path);
    (void)fclose(file);
    return text;
}

void
trace_prepare(const char *path, const char *pragmas, const char *sql_path)
{
    char *const sql = read_text(sql_path);
    sqlite3 *db = NULL;

    require(sqlite3_open(path, &db) == SQLITE_OK, path);
    run(db, pragmas);
    run(db, "PRAGMA journal_mode = off; PRAGMA synchronous = off;"
            "PRAGMA cache_size = -200000");
    run(db, sql);
    require(sqlite3_close(db) == SQLITE_OK, "close");
    free(sql);
}

static uint32_t
page_size_of(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    uint32_t size;

    require(sqlite3_prepare_v2(db, "PRAGMA page_size", -1, &statement, NULL) ==
                    SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_ROW,
            "page size");
    size = (uint32_t)sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return size;
}

struct trace
trace_statements(const char *path, const char *sql)
{
    struct trace trace = {.pgnos = NULL};
    sqlite3 *db = NULL;

    register_vfs();
    require(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, VFS_NAME) ==
                SQLITE_OK,
            path);
    run(db, "PRAGMA cache_size = -2000; PRAGMA journal_mode = memory; "
            "BEGIN; SELECT count(*) FROM sqlite_schema");
    page_size = page_size_of(db);
    recording = &trace;
    run(db, sql);
    recording = NULL;
    run(db, "ROLLBACK");
    require(sqlite3_close(db) == SQLITE_OK, "close");
    return trace;
}

void
trace_done(struct trace *trace)
{
    free(trace->pgnos);
    *trace = (struct trace){.pgnos = NULL};
}
