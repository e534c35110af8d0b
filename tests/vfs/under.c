/*
 * under.c - see under.h. A file's handle has the real one behind it.
 */
#include "tests/vfs/under.h"

#include <limits.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

struct under_file {
    sqlite3_file base; /* first: SQLite knows no more */
    sqlite3_file *real;
};

static sqlite3_vfs under;
static sqlite3_vfs *native;
static int calls;
static int fails_at = INT_MAX;
static int fails_with;
static int open_files;

void
under_fail_at(int nth, int code)
{
    calls = 0;
    fails_at = nth;
    fails_with = code;
}

bool
under_disarm(void)
{
    const bool happened = calls > fails_at;

    fails_at = INT_MAX;
    return happened;
}

int
under_calls(void)
{
    return calls;
}

int
under_open_files(void)
{
    return open_files;
}

static bool
fails(void)
{
    return calls++ == fails_at;
}

/* ---- files ----------------------------------------------------------------- */

static sqlite3_file *
real(sqlite3_file *file)
{
    return ((struct under_file *)file)->real;
}

static int
file_close(sqlite3_file *file)
{
    open_files--;
    return real(file)->pMethods->xClose(real(file));
}

static int
file_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 at)
{
    return fails() ? fails_with
                   : real(file)->pMethods->xRead(real(file), buf, len, at);
}

static int
file_write(sqlite3_file *file, const void *buf, int len, sqlite3_int64 at)
{
    return fails() ? fails_with
                   : real(file)->pMethods->xWrite(real(file), buf, len, at);
}

static int
file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return fails() ? fails_with
                   : real(file)->pMethods->xTruncate(real(file), size);
}

static int
file_sync(sqlite3_file *file, int flags)
{
    return fails() ? fails_with
                   : real(file)->pMethods->xSync(real(file), flags);
}

static int
file_size(sqlite3_file *file, sqlite3_int64 *out_size)
{
    return fails() ? fails_with
                   : real(file)->pMethods->xFileSize(real(file), out_size);
}

static int
file_lock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xLock(real(file), level);
}

static int
file_unlock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}

static int
file_check_reserved(sqlite3_file *file, int *out)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), out);
}

static int
file_control(sqlite3_file *file, int op, void *arg)
{
    return real(file)->pMethods->xFileControl(real(file), op, arg);
}

static int
file_sector_size(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

static int
file_characteristics(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

/* ---- names ----------------------------------------------------------------- */

static int
under_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
           int *out_flags)
{
    struct under_file *const mine = (struct under_file *)file;
    int code;

    assert_ptr_equal(vfs, &under); /* as SQLite calls it */
    file->pMethods = NULL;
    if (fails())
        return fails_with;
    mine->real = (sqlite3_file *)(mine + 1);
    code = native->xOpen(native, name, mine->real, flags, out_flags);
    if (mine->real->pMethods != NULL) {
        file->pMethods = &methods;
        open_files++;
    }
    return code;
}

static int
under_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    assert_ptr_equal(vfs, &under);
    return fails() ? fails_with : native->xDelete(native, name, sync_directory);
}

static int
under_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    assert_ptr_equal(vfs, &under);
    return fails() ? fails_with : native->xAccess(native, name, flags, out);
}

static int
under_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    assert_ptr_equal(vfs, &under);
    return fails() ? fails_with
                   : native->xFullPathname(native, name, size, out);
}

void
under_register(int version)
{
    native = sqlite3_vfs_find(NULL);
    assert_non_null(native);
    under = *native;
    under.iVersion = version;
    under.zName = UNDER_NAME;
    under.szOsFile = (int)sizeof(struct under_file) + native->szOsFile;
    under.pNext = NULL;
    under.xOpen = under_open;
    under.xDelete = under_delete;
    under.xAccess = under_access;
    under.xFullPathname = under_full_pathname;
    assert_int_equal(sqlite3_vfs_register(&under, 1), SQLITE_OK);
}
