/*
 * native.c - see native.h.
 *
 *   (1) `found` is called with `self`, the object that it was found in: a VFS
 *       may keep more behind it than SQLite knows
 */
#include "vfs/native.h"

#include <assert.h>
#include <string.h>

static sqlite3_vfs found; /* its methods; invariant (1) */
static sqlite3_vfs *self;
static sqlite3_vfs plain_vfs;

static int
plain_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
           int *out_flags)
{
    assert(self != NULL);
    (void)vfs;
    return found.xOpen(self, name, file, flags, out_flags);
}

static int
plain_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    assert(self != NULL && name != NULL);
    (void)vfs;
    return found.xDelete(self, name, sync_directory);
}

static int
plain_access(sqlite3_vfs *vfs, const char *name, int flags, int *out_result)
{
    assert(self != NULL && out_result != NULL);
    (void)vfs;
    return found.xAccess(self, name, flags, out_result);
}

static int
plain_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    assert(self != NULL && out != NULL);
    (void)vfs;
    return found.xFullPathname(self, name, size, out);
}

static void *
plain_dl_open(sqlite3_vfs *vfs, const char *path)
{
    (void)vfs;
    return found.xDlOpen(self, path);
}

static void
plain_dl_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    found.xDlError(self, size, out);
}

static void (*plain_dl_sym(sqlite3_vfs *vfs, void *library,
                           const char *symbol))(void)
{
    (void)vfs;
    return found.xDlSym(self, library, symbol);
}

static void
plain_dl_close(sqlite3_vfs *vfs, void *library)
{
    (void)vfs;
    found.xDlClose(self, library);
}

static int
plain_randomness(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    return found.xRandomness(self, size, out);
}

static int
plain_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return found.xSleep(self, microseconds);
}

static int
plain_current_time(sqlite3_vfs *vfs, double *out)
{
    (void)vfs;
    return found.xCurrentTime(self, out);
}

static int
plain_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    return found.xGetLastError(self, size, out);
}

static int
plain_current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    double days;
    int code;

    (void)vfs;
    if (found.iVersion >= 2 && found.xCurrentTimeInt64 != NULL)
        return found.xCurrentTimeInt64(self, out);
    code = found.xCurrentTime(self, &days);
    *out = (sqlite3_int64)(days * 86400000.0);
    return code;
}

static int
plain_set_system_call(sqlite3_vfs *vfs, const char *name,
                      sqlite3_syscall_ptr call)
{
    assert(found.iVersion >= 3);
    (void)vfs;
    return found.xSetSystemCall(self, name, call);
}

static sqlite3_syscall_ptr
plain_get_system_call(sqlite3_vfs *vfs, const char *name)
{
    assert(found.iVersion >= 3);
    (void)vfs;
    return found.xGetSystemCall(self, name);
}

static const char *
plain_next_system_call(sqlite3_vfs *vfs, const char *name)
{
    assert(found.iVersion >= 3);
    (void)vfs;
    return found.xNextSystemCall(self, name);
}

static void
fill_plain(void)
{
    assert(self != NULL && plain_vfs.xOpen != self->xOpen);
    plain_vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = found.szOsFile,
        .mxPathname = found.mxPathname,
        .zName = found.zName,
        .xOpen = plain_open,
        .xDelete = plain_delete,
        .xAccess = plain_access,
        .xFullPathname = plain_full_pathname,
        .xDlOpen = plain_dl_open,
        .xDlError = plain_dl_error,
        .xDlSym = plain_dl_sym,
        .xDlClose = plain_dl_close,
        .xRandomness = plain_randomness,
        .xSleep = plain_sleep,
        .xCurrentTime = plain_current_time,
        .xGetLastError = plain_last_error,
        .xCurrentTimeInt64 = plain_current_time_int64,
    };
    if (found.iVersion >= 3) {
        plain_vfs.iVersion = 3;
        plain_vfs.xSetSystemCall = plain_set_system_call;
        plain_vfs.xGetSystemCall = plain_get_system_call;
        plain_vfs.xNextSystemCall = plain_next_system_call;
    }
}

bool
ramet_native_find(void)
{
    self = sqlite3_vfs_find(NULL);
    if (self == NULL)
        return false;
    found = *self;
    fill_plain();
    return true;
}

sqlite3_vfs *
ramet_native(void)
{
    assert(self != NULL);
    return &plain_vfs;
}

bool
ramet_native_take_over(const sqlite3_vfs *ours)
{
    assert(self != NULL && self->xOpen != ours->xOpen);
    if (sqlite3_vfs_find(NULL) != self || found.szOsFile < ours->szOsFile ||
        strcmp(found.zName, "unix-excl") == 0 ||
        sqlite3_vfs_register(&plain_vfs, 0) != SQLITE_OK)
        return false;
    self->xOpen = ours->xOpen;
    self->xDelete = ours->xDelete;
    self->xAccess = ours->xAccess;
    self->xFullPathname = ours->xFullPathname;
    self->zName = ours->zName;
    return true;
}
