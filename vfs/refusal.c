/*
 * refusal.c - see refusal.h.
 */
#include "vfs/refusal.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "vfs/connection.h"

struct refusal {
    int code;
    char text[];
};

struct handle {
    sqlite3_file base; /* first: SQLite knows no more */
    struct refusal *refusal;
};

static int
code_of(sqlite3_file *file)
{
    assert(((struct handle *)file)->refusal->code != SQLITE_OK);
    return ((struct handle *)file)->refusal->code;
}

static int
refusal_close(sqlite3_file *file)
{
    ramet_free(((struct handle *)file)->refusal);
    file->pMethods = NULL;
    return SQLITE_OK;
}

/* The header is looked at within the open, which is not to fail yet. */
static int
refusal_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 offset)
{
    assert(buf != NULL && len >= 0);
    (void)file;
    (void)offset;
    memset(buf, 0, (size_t)len);
    return SQLITE_IOERR_SHORT_READ;
}

static int
refusal_write(sqlite3_file *file, const void *buf, int len,
              sqlite3_int64 offset)
{
    (void)buf;
    (void)len;
    (void)offset;
    return code_of(file);
}

static int
refusal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    (void)size;
    return code_of(file);
}

static int
refusal_lock(sqlite3_file *file, int level)
{
    (void)level;
    return code_of(file);
}

static int
refusal_unlock(sqlite3_file *file, int level)
{
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int
refusal_size(sqlite3_file *file, sqlite3_int64 *out_size)
{
    assert(out_size != NULL);
    (void)file;
    *out_size = 0;
    return SQLITE_OK;
}

static int
refusal_check_reserved(sqlite3_file *file, int *out_reserved)
{
    assert(out_reserved != NULL);
    *out_reserved = 0;
    return code_of(file);
}

static int
refusal_control(sqlite3_file *file, int op, void *arg)
{
    const struct refusal *const refusal = ((struct handle *)file)->refusal;

    if (op == SQLITE_FCNTL_PDB) /* from ATTACH: it has our functions already */
        ramet_connection_note(*(sqlite3 **)arg, refusal->text);
    return SQLITE_NOTFOUND;
}

static int
refusal_sector_size(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int
refusal_characteristics(sqlite3_file *file)
{
    (void)file;
    return 0;
}

static const sqlite3_io_methods refusal_methods = {
    .iVersion = 1,
    .xClose = refusal_close,
    .xRead = refusal_read,
    .xWrite = refusal_write,
    .xTruncate = refusal_truncate,
    .xSync = refusal_lock,
    .xFileSize = refusal_size,
    .xLock = refusal_lock,
    .xUnlock = refusal_unlock,
    .xCheckReservedLock = refusal_check_reserved,
    .xFileControl = refusal_control,
    .xSectorSize = refusal_sector_size,
    .xDeviceCharacteristics = refusal_characteristics,
};

int
ramet_refusal_handle_size(void)
{
    return (int)sizeof(struct handle);
}

int
ramet_refusal_open(sqlite3_file *file, int code, const char *text)
{
    struct handle *const handle = (struct handle *)file;
    const size_t size = strlen(text) + 1;
    struct refusal *const refusal = ramet_alloc(sizeof(*refusal) + size);

    assert(code != SQLITE_OK);
    if (refusal == NULL)
        return SQLITE_NOMEM;
    refusal->code = code;
    memcpy(refusal->text, text, size);
    handle->refusal = refusal;
    handle->base.pMethods = &refusal_methods;
    return SQLITE_OK;
}

int
ramet_refusal_of(sqlite3_file *file, const char **out_text)
{
    const struct handle *const handle = (const struct handle *)file;

    if (file == NULL || file->pMethods != &refusal_methods)
        return SQLITE_OK;
    *out_text = handle->refusal->text;
    return handle->refusal->code;
}
