/*
 * dbfile_open.c - opening and closing, and the methods that SQLite calls.
 */
#include "vfs/dbfile_open.h"

#include <assert.h>

#include "client/store/replicas.h"
#include "core/alloc.h"
#include "core/os.h"
#include "vfs/dbfile_parts.h"
#include "vfs/names.h"
#include "vfs/options.h"

int
ramet_dbfile_handle_size(void)
{
    return (int)sizeof(struct ramet_dbfile_handle);
}

static int
dbfile_close(sqlite3_file *file)
{
    struct ramet_dbfile *db = ramet_dbfile_of(file);
    const bool is_parents = ramet_file_is_parents(db->file);

    (void)ramet_dbfile_unlock(file, SQLITE_LOCK_NONE);
    assert(db->lock == SQLITE_LOCK_NONE);
    if (db->writing)
        ramet_dbfile_end_write(db);
    ramet_names_remove(db, db->journal_name, db->wal_name);
    ramet_file_close(db->file);
    if (db->delete_on_close && !is_parents &&
        ramet_replica_delete(ramet_os_system(), db->name, &db->err) != RAMET_OK)
        ramet_vfs_report(SQLITE_IOERR_DELETE, db->name, &db->err);
    ramet_journal_done(&db->journal);
    ramet_counter_done(&db->counter);
    ramet_free(db);
    file->pMethods = NULL;
    return SQLITE_OK;
}

static int
sector_size(sqlite3_file *file)
{
    (void)file;
    return 4096; /* as "unix": the journal's layout stays the usual one */
}

/* Never SAFE_APPEND or SEQUENTIAL: with either the private journal is synced
 * less, and journal.h could not tell FULL from NORMAL. */
static int
characteristics(sqlite3_file *file)
{
    return ramet_dbfile_of(file)->powersafe ? SQLITE_IOCAP_POWERSAFE_OVERWRITE
                                            : 0;
}

/* Version 1: no shared memory, so no WAL; no memory mapping. */
static const sqlite3_io_methods dbfile_methods = {
    .iVersion = 1,
    .xClose = dbfile_close,
    .xRead = ramet_dbfile_read,
    .xWrite = ramet_dbfile_write,
    .xTruncate = ramet_dbfile_truncate,
    .xSync = ramet_dbfile_sync,
    .xFileSize = ramet_dbfile_size,
    .xLock = ramet_dbfile_lock,
    .xUnlock = ramet_dbfile_unlock,
    .xCheckReservedLock = ramet_dbfile_check_reserved,
    .xFileControl = ramet_dbfile_control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
};

/* As "unix": what may not be written is opened for reading. */
static enum ramet_rc
open_file(const char *name, int flags, struct ramet_file **out_file,
          struct ramet_err *err)
{
    struct ramet_file_options options;
    enum ramet_rc rc;

    assert(name != NULL && out_file != NULL);
    if ((flags & SQLITE_OPEN_EXCLUSIVE) != 0 &&
        ramet_replica_exists(ramet_os_system(), name))
        return RAMET_FAIL(err, RAMET_EEXIST, "is there already");
    rc = ramet_options_parse(name, flags, &options, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_file_open(name, &options, out_file, err);
    if ((rc != RAMET_EAUTH && rc != RAMET_EREADONLY) ||
        (options.flags & RAMET_OPEN_READONLY) != 0 ||
        (flags & SQLITE_OPEN_EXCLUSIVE) != 0)
        return rc;
    options.flags &= ~(unsigned)RAMET_OPEN_CREATE;
    options.flags |= RAMET_OPEN_READONLY;
    return ramet_file_open(name, &options, out_file, err);
}

static void
name_companions(struct ramet_dbfile *db, const char *name)
{
    assert(name != NULL);
    db->name = name;
    db->journal_name = sqlite3_filename_journal(name);
    assert(db->journal_name != NULL);
    db->wal_name = sqlite3_filename_wal(name);
    if (db->wal_name == NULL) /* SQLite without WAL */
        db->wal_name = db->journal_name;
}

int
ramet_dbfile_open(const char *vfs_name, sqlite3_vfs *under, const char *name,
                  sqlite3_file *file, int flags, int *out_flags,
                  struct ramet_err *err)
{
    struct ramet_dbfile_handle *handle = (struct ramet_dbfile_handle *)file;
    struct ramet_dbfile *db = ramet_calloc(1, sizeof(*db));
    enum ramet_rc rc;

    if (db == NULL)
        return SQLITE_NOMEM;
    rc = ramet_options_locking(name, &db->waits_for_readers, err);
    if (rc == RAMET_OK)
        rc = ramet_options_functions(name, &db->functions_off, err);
    if (rc == RAMET_OK)
        rc = open_file(name, flags, &db->file, err);
    if (rc != RAMET_OK)
        goto done;

    assert(db->file != NULL);
    db->session = ramet_file_session(db->file);
    db->readonly = ramet_file_is_readonly(db->file);
    db->vfs_name = vfs_name;
    db->under = under;
    db->powersafe = sqlite3_uri_boolean(name, "psow", 1) != 0;
    db->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    db->may_pull = ramet_options_may_pull(name);
    name_companions(db, name);
    if (ramet_options_lockless(name)) {
        db->lockless = true;
        rc = ramet_dbfile_pin_lockless(db);
        if (rc != RAMET_OK) {
            *err = db->err;
            goto done;
        }
    }
    rc = ramet_names_add(db, name, db->journal_name, db->wal_name);
    if (rc != RAMET_OK) {
        rc = RAMET_FAIL(err, rc, "no memory for its name");
        goto done;
    }
    if (out_flags != NULL) {
        *out_flags = flags;
        if (db->readonly)
            *out_flags =
                (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) |
                SQLITE_OPEN_READONLY;
    }
    handle->db = db;
    handle->base.pMethods = &dbfile_methods;
    db = NULL; /* now the handle's */

done:
    if (db != NULL) {
        ramet_file_close(db->file);
        ramet_free(db);
    }
    return ramet_vfs_code(RAMET_OP_OPEN, rc, err->sys_errno);
}
