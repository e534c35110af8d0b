/*
 * vfs.c - see vfs.h.
 */
#include "vfs/vfs.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/os.h"
#include "vfs/dbfile.h"
#include "vfs/names.h"
#include "vfs/options.h"
#include "vfs/verbs.h"

/* The VFS below both of ours. Set once, before either is registered. */
static sqlite3_vfs *under;

static sqlite3_vfs ramet_vfs;
static sqlite3_vfs ramet_auto_vfs;

static bool
ends_with(const char *text, const char *end)
{
    const size_t text_length = strlen(text);
    const size_t end_length = strlen(end);

    return text_length > end_length &&
           strcmp(text + text_length - end_length, end) == 0;
}

static bool
is_companion_name(const char *name)
{
    return ends_with(name, "-journal") || ends_with(name, "-wal");
}

static bool
is_replica(const char *name)
{
    return ramet_replica_exists(ramet_os_system(), name);
}

/* ---- opening --------------------------------------------------------------
 */

static int
open_database(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
              int *out_flags)
{
    struct ramet_err err = {.code = RAMET_OK};
    int code;

    /* A plain database that is only read stays what it is. */
    if (!ramet_options_name_remote(name) &&
        (vfs == &ramet_auto_vfs || (flags & SQLITE_OPEN_READONLY) != 0) &&
        !is_replica(name))
        return under->xOpen(under, name, file, flags, out_flags);

    code = ramet_dbfile_open(vfs->zName, under, name, file, flags, out_flags,
                             &err);
    if (code != SQLITE_OK && err.code != RAMET_OK) {
        ramet_verb_note_open_failure(name, &err);
        if (code != SQLITE_BUSY)
            ramet_vfs_report(code, name, &err);
    }
    return code;
}

/* A wrapper above us handed on a copy of the name: whose journal it is can't
 * be told, only that nobody else may see it. */
static int
open_stray_journal(sqlite3_file *file)
{
    struct ramet_journal *journal = ramet_calloc(1, sizeof(*journal));

    if (journal == NULL)
        return SQLITE_NOMEM;
    ramet_journal_open(journal, under, file, true);
    return SQLITE_OK;
}

static int
open_journal(const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    struct ramet_dbfile *owner = ramet_names_owner(name);

    if (owner == NULL && !ramet_names_is_private(name))
        return under->xOpen(under, name, file, flags, out_flags);
    if (out_flags != NULL)
        *out_flags = flags;
    if (owner == NULL)
        return open_stray_journal(file);
    if (owner->journal.is_open)
        return SQLITE_CANTOPEN; /* SQLite has one at a time */
    ramet_journal_open(&owner->journal, under, file, false);
    return SQLITE_OK;
}

static int
vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
         int *out_flags)
{
    file->pMethods = NULL;
    if (name != NULL && (flags & SQLITE_OPEN_MAIN_DB) != 0)
        return open_database(vfs, name, file, flags, out_flags);
    if (name != NULL && (flags & SQLITE_OPEN_MAIN_JOURNAL) != 0)
        return open_journal(name, file, flags, out_flags);
    if (name != NULL && (flags & SQLITE_OPEN_WAL) != 0 &&
        (ramet_names_owner(name) != NULL || ramet_names_is_private(name)))
        return SQLITE_CANTOPEN;
    return under->xOpen(under, name, file, flags, out_flags);
}

/* ---- files by name --------------------------------------------------------
 */

static int
delete_replica(const char *name)
{
    struct ramet_err err = {.code = RAMET_OK};
    const enum ramet_rc rc =
        ramet_replica_delete(ramet_os_system(), name, &err);
    const int code = ramet_vfs_code(RAMET_OP_DELETE, rc, err.sys_errno);

    if (code != SQLITE_OK && code != SQLITE_BUSY)
        ramet_vfs_report(code, name, &err);
    return code;
}

static int
vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    (void)vfs;
    if (ramet_names_owner(name) != NULL)
        return SQLITE_OK; /* a private journal goes when it is closed */
    if (is_companion_name(name)) {
        if (ramet_names_is_private(name))
            return SQLITE_OK;
    } else if (is_replica(name)) {
        return delete_replica(name);
    }
    return under->xDelete(under, name, sync_directory);
}

static int
vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out_result)
{
    int code;

    (void)vfs;
    if (ramet_names_owner(name) != NULL) {
        *out_result = 0;
        return SQLITE_OK;
    }
    code = under->xAccess(under, name, flags, out_result);
    if (code == SQLITE_OK && *out_result == 0 &&
        flags == SQLITE_ACCESS_EXISTS && !is_companion_name(name))
        *out_result = is_replica(name);
    return code;
}

static int
vfs_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    (void)vfs;
    return under->xFullPathname(under, name, size, out);
}

/* ---- what has nothing to do with files ------------------------------------
 */

static void *
vfs_dl_open(sqlite3_vfs *vfs, const char *path)
{
    (void)vfs;
    return under->xDlOpen(under, path);
}

static void
vfs_dl_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    under->xDlError(under, size, out);
}

static void (*vfs_dl_sym(sqlite3_vfs *vfs, void *library,
                         const char *symbol))(void)
{
    (void)vfs;
    return under->xDlSym(under, library, symbol);
}

static void
vfs_dl_close(sqlite3_vfs *vfs, void *library)
{
    (void)vfs;
    under->xDlClose(under, library);
}

static int
vfs_randomness(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    return under->xRandomness(under, size, out);
}

static int
vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return under->xSleep(under, microseconds);
}

static int
vfs_current_time(sqlite3_vfs *vfs, double *out)
{
    (void)vfs;
    return under->xCurrentTime(under, out);
}

static int
vfs_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs;
    return under->xGetLastError(under, size, out);
}

static int
vfs_current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    double days;
    int code;

    (void)vfs;
    if (under->iVersion >= 2 && under->xCurrentTimeInt64 != NULL)
        return under->xCurrentTimeInt64(under, out);
    code = under->xCurrentTime(under, &days);
    *out = (sqlite3_int64)(days * 86400000.0);
    return code;
}

static int
vfs_set_system_call(sqlite3_vfs *vfs, const char *name,
                    sqlite3_syscall_ptr call)
{
    (void)vfs;
    return under->xSetSystemCall(under, name, call);
}

static sqlite3_syscall_ptr
vfs_get_system_call(sqlite3_vfs *vfs, const char *name)
{
    (void)vfs;
    return under->xGetSystemCall(under, name);
}

static const char *
vfs_next_system_call(sqlite3_vfs *vfs, const char *name)
{
    (void)vfs;
    return under->xNextSystemCall(under, name);
}

/* ---- registering ----------------------------------------------------------
 */

static int
largest(int a, int b)
{
    return a > b ? a : b;
}

static void
fill(sqlite3_vfs *vfs, const char *name)
{
    *vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile =
            largest(largest(under->szOsFile, ramet_dbfile_handle_size()),
                    ramet_journal_handle_size()),
        .mxPathname = under->mxPathname,
        .zName = name,
        .pAppData = &ramet_vfs, /* how a second load knows the first */
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_pathname,
        .xDlOpen = vfs_dl_open,
        .xDlError = vfs_dl_error,
        .xDlSym = vfs_dl_sym,
        .xDlClose = vfs_dl_close,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_current_time,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_current_time_int64,
    };
    if (under->iVersion >= 3) {
        vfs->iVersion = 3;
        vfs->xSetSystemCall = vfs_set_system_call;
        vfs->xGetSystemCall = vfs_get_system_call;
        vfs->xNextSystemCall = vfs_next_system_call;
    }
}

int
ramet_vfs_register(bool as_default, const char **out_text)
{
    sqlite3_vfs *registered = sqlite3_vfs_find("ramet");
    int code;

    if (registered != NULL && registered != &ramet_vfs) {
        *out_text = "another copy of the Ramet extension is loaded";
        return SQLITE_ERROR;
    }
    if (registered == NULL) {
        if (under == NULL) {
            under = sqlite3_vfs_find(NULL);
            if (under == NULL) {
                *out_text = "SQLite has no VFS to stand on";
                return SQLITE_ERROR;
            }
            fill(&ramet_vfs, "ramet");
            fill(&ramet_auto_vfs, "ramet-auto");
        }
        code = sqlite3_vfs_register(&ramet_vfs, 0);
        if (code != SQLITE_OK)
            return code;
    } else if (!as_default && sqlite3_vfs_find("ramet-auto") != NULL) {
        return SQLITE_OK; /* registering again would unmake the default */
    }
    return sqlite3_vfs_register(&ramet_auto_vfs, as_default);
}
