/*
 * vfs.c - see vfs.h.
 */
#include "vfs/vfs.h"

#include "client/store/replicas.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/os.h"
#include "core/thread.h"
#include "vfs/dbfile.h"
#include "vfs/dbfile_open.h"
#include "vfs/links.h"
#include "vfs/names.h"
#include "vfs/native.h"
#include "vfs/options.h"
#include "vfs/refusal.h"

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
    assert(name != NULL);
    return ends_with(name, "-journal") || ends_with(name, "-wal");
}

static bool
is_replica(const char *name)
{
    return ramet_replica_exists(ramet_os_system(), name);
}

static int
open_native(const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    sqlite3_vfs *const native = ramet_native();

    return native->xOpen(native, name, file, flags, out_flags);
}

/* ---- opening --------------------------------------------------------------
 */

static bool
access_says(const char *name, int flags)
{
    sqlite3_vfs *const native = ramet_native();
    int result = 0;

    return native->xAccess(native, name, flags, &result) == SQLITE_OK &&
           result != 0;
}

static bool
is_folder_writable(const char *name)
{
    const char *const slash = strrchr(name, '/');
    const char *const end = slash == name ? slash + 1 : slash;
    char *const folder = slash == NULL
                             ? ramet_strdup(".")
                             : ramet_asprintf("%.*s", (int)(end - name), name);
    /* Without memory: whoever goes on is told so. */
    const bool is_writable =
        folder == NULL || access_says(folder, SQLITE_ACCESS_READWRITE);

    ramet_free(folder);
    return is_writable;
}

/* A file that is there, where this user can make no replica of it: a disk for
 * reading, another's file or folder. */
static bool
is_for_reading(const char *name)
{
    return access_says(name, SQLITE_ACCESS_READWRITE)
               ? !is_folder_writable(name)
               : access_says(name, SQLITE_ACCESS_EXISTS);
}

/* How a plain database that stays what it is is opened; 0: it does not stay. */
static int
flags_of_plain(const sqlite3_vfs *vfs, const char *name, int flags)
{
    const bool is_asked_for = vfs == &ramet_vfs &&
                              (flags & SQLITE_OPEN_READONLY) == 0 &&
                              !sqlite3_uri_boolean(name, "immutable", 0);

    assert((flags & SQLITE_OPEN_MAIN_DB) != 0);
    /* Most by far is told by the first two, without a look for a replica. */
    if (ramet_options_name_remote(name) ||
        (is_asked_for && !is_for_reading(name)) || is_replica(name))
        return 0;
    if (!is_asked_for)
        return flags;
    return (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) |
           SQLITE_OPEN_READONLY;
}

/* Whether SQLite's own words for it say all: no such file. */
static bool
is_plainly_missing(const char *name, const struct ramet_err *err)
{
    return (err->sys_errno == ENOENT || err->code == RAMET_ENOTFOUND) &&
           !ramet_options_name_remote(name) &&
           !access_says(name, SQLITE_ACCESS_EXISTS);
}

static int
refuse(const char *name, sqlite3_file *file, int flags, int *out_flags,
       int code, const struct ramet_err *err)
{
    char text[RAMET_ERR_TEXT_MAX + 512];

    assert(code != SQLITE_OK);
    if (is_plainly_missing(name, err))
        return code;
    /* Most texts begin with the name of what they are about. */
    if (strncmp(err->text, name, strlen(name)) == 0)
        (void)snprintf(text, sizeof(text), "%s", err->text);
    else
        (void)snprintf(text, sizeof(text), "%.480s: %s", name, err->text);
    if (out_flags != NULL)
        *out_flags = flags;
    return ramet_refusal_open(file, code, text);
}

static int
open_database(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
              int *out_flags)
{
    struct ramet_err err = {.code = RAMET_OK};
    int plain_flags;
    int code;

    assert(name != NULL && file->pMethods == NULL);
    /* Also of what stays plain: perhaps only since `remote` was mistyped, or the
     * replica is beside the link by which it was asked for. */
    if (ramet_options_check_names(name, &err) != RAMET_OK ||
        ramet_links_check(name, &err) != RAMET_OK) {
        ramet_vfs_report(SQLITE_CANTOPEN, name, &err);
        return refuse(name, file, flags, out_flags, SQLITE_CANTOPEN, &err);
    }
    plain_flags = flags_of_plain(vfs, name, flags);
    if (plain_flags != 0)
        return open_native(name, file, plain_flags, out_flags);
    code = ramet_dbfile_open(vfs->zName, ramet_native(), name, file, flags,
                             out_flags, &err);
    if (code == SQLITE_OK || err.code == RAMET_OK)
        return code;
    if (code != SQLITE_BUSY)
        ramet_vfs_report(code, name, &err);
    return refuse(name, file, flags, out_flags, code, &err);
}

/* A wrapper above us handed on a copy of the name: whose journal it is can't
 * be told, only that nobody else may see it. */
static int
open_stray_journal(sqlite3_file *file)
{
    struct ramet_journal *journal = ramet_calloc(1, sizeof(*journal));

    if (journal == NULL)
        return SQLITE_NOMEM;
    ramet_journal_open(journal, ramet_native(), file, true);
    return SQLITE_OK;
}

static int
open_journal(const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    struct ramet_dbfile *owner = ramet_names_owner(name);

    assert(name != NULL && file->pMethods == NULL);
    if (owner == NULL && !ramet_names_is_private(name))
        return open_native(name, file, flags, out_flags);
    if (out_flags != NULL)
        *out_flags = flags;
    if (owner == NULL)
        return open_stray_journal(file);
    if (owner->journal.is_open)
        return SQLITE_CANTOPEN; /* SQLite has one at a time */
    ramet_journal_open(&owner->journal, ramet_native(), file, false);
    return SQLITE_OK;
}

/* Of a transaction over several databases, beside the main one. The name of one
 * says so by its end alone. */
static bool
is_super_name(const char *name)
{
    const size_t length = strlen(name);

    return length > RAMET_SUPER_SUFFIX &&
           memcmp(name + length - RAMET_SUPER_SUFFIX, "-mj", 3) == 0;
}

static void
note_super_of(struct ramet_dbfile *db, bool is_there)
{
    if (db->session != NULL)
        ramet_session_note_super(db->session, is_there);
}

/* A process that dies before it is gone leaves word of it. */
static void
note_super(const char *name, bool is_there)
{
    assert(name != NULL);
    if (is_super_name(name))
        ramet_names_visit(name, strlen(name) - RAMET_SUPER_SUFFIX,
                          note_super_of, is_there);
}

static int
open_super(const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    int code;

    note_super(name, true);
    code = open_native(name, file, flags, out_flags);
    if (code != SQLITE_OK)
        note_super(name, false);
    return code;
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
    if (name != NULL && (flags & SQLITE_OPEN_SUPER_JOURNAL) != 0 &&
        (flags & SQLITE_OPEN_CREATE) != 0)
        return open_super(name, file, flags, out_flags);
    if (name != NULL && (flags & SQLITE_OPEN_WAL) != 0 &&
        (ramet_names_owner(name) != NULL || ramet_names_is_private(name)))
        return SQLITE_CANTOPEN;
    return open_native(name, file, flags, out_flags);
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
    int code;

    assert(name != NULL);
    (void)vfs;
    if (ramet_names_owner(name) != NULL)
        return SQLITE_OK; /* a private journal goes when it is closed */
    if (is_companion_name(name)) {
        if (ramet_names_is_private(name))
            return SQLITE_OK;
    } else if (is_replica(name)) {
        return delete_replica(name);
    }
    code = ramet_native()->xDelete(ramet_native(), name, sync_directory);
    if (code == SQLITE_OK)
        note_super(name, false);
    return code;
}

static int
vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out_result)
{
    int code;

    assert(name != NULL && out_result != NULL);
    (void)vfs;
    if (ramet_names_owner(name) != NULL) {
        *out_result = 0;
        return SQLITE_OK;
    }
    code = ramet_native()->xAccess(ramet_native(), name, flags, out_result);
    if (code == SQLITE_OK && *out_result == 0 &&
        flags == SQLITE_ACCESS_EXISTS && !is_companion_name(name))
        *out_result = is_replica(name);
    return code;
}

static int
vfs_full_pathname(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    sqlite3_vfs *const native = ramet_native();
    const int code = native->xFullPathname(native, name, size, out);

    assert(name != NULL && size > 0);
    (void)vfs;
    if (code == SQLITE_OK_SYMLINK)
        ramet_links_saw(name, out);
    return code;
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
    assert(name != NULL);
    *vfs = *ramet_native();
    vfs->szOsFile = largest(vfs->szOsFile, ramet_dbfile_handle_size());
    vfs->szOsFile = largest(vfs->szOsFile, ramet_journal_handle_size());
    vfs->szOsFile = largest(vfs->szOsFile, ramet_refusal_handle_size());
    vfs->zName = name;
    vfs->xOpen = vfs_open;
    vfs->xDelete = vfs_delete;
    vfs->xAccess = vfs_access;
    vfs->xFullPathname = vfs_full_pathname;
}

static int
become_default(void)
{
    static bool done; /* whoever came after us stays the default */
    int code = SQLITE_OK;

    if (done)
        return SQLITE_OK;
    if (ramet_native_take_over(&ramet_auto_vfs))
        (void)sqlite3_vfs_unregister(&ramet_auto_vfs); /* has a successor */
    else
        code = sqlite3_vfs_register(&ramet_auto_vfs, 1);
    done = code == SQLITE_OK;
    return code;
}

/* One at a time. */
static int
register_all(bool as_default, const char **out_text)
{
    sqlite3_vfs *registered = sqlite3_vfs_find("ramet");
    int code = SQLITE_OK;

    assert(out_text != NULL);
    if (registered != NULL && registered != &ramet_vfs) {
        *out_text = "another copy of the Ramet extension is loaded";
        return SQLITE_ERROR;
    }
    if (registered == NULL && !ramet_native_find()) {
        *out_text = "SQLite has no VFS to stand on";
        return SQLITE_ERROR;
    }
    if (registered == NULL) {
        fill(&ramet_vfs, "ramet");
        fill(&ramet_auto_vfs, "ramet-auto");
        code = sqlite3_vfs_register(&ramet_vfs, 0);
        if (code == SQLITE_OK)
            code = sqlite3_vfs_register(&ramet_auto_vfs, 0);
    }
    return code == SQLITE_OK && as_default ? become_default() : code;
}

int
ramet_vfs_register(bool as_default, const char **out_text)
{
    static struct ramet_mutex mutex = RAMET_MUTEX_INIT;
    int code;

    ramet_mutex_lock(&mutex);
    code = register_all(as_default, out_text);
    ramet_mutex_unlock(&mutex);
    return code;
}
