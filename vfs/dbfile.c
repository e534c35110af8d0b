/*
 * dbfile.c - opening, closing, reading and writing a database; see dbfile.h.
 */
#include "vfs/dbfile.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/os.h"
#include "vfs/names.h"
#include "vfs/options.h"
#include "vfs/page1.h"

#define WAL_VERSIONS_AT 18u /* file format write and read version */

struct handle {
    sqlite3_file base; /* first: SQLite knows no more */
    struct ramet_dbfile *db;
};

static const sqlite3_io_methods dbfile_methods;

int
ramet_dbfile_handle_size(void)
{
    return (int)sizeof(struct handle);
}

struct ramet_dbfile *
ramet_dbfile_of(sqlite3_file *file)
{
    if (file == NULL || file->pMethods != &dbfile_methods)
        return NULL;
    return ((struct handle *)file)->db;
}

/* Where SQLite calls through dbfile_methods there is no need to ask. */
static struct ramet_dbfile *
db_of(sqlite3_file *file)
{
    return ((struct handle *)file)->db;
}

struct ramet_dbfile *
ramet_dbfile_find(sqlite3 *connection, const char *schema)
{
    sqlite3_file *file = NULL;

    if (sqlite3_file_control(connection, schema, SQLITE_FCNTL_FILE_POINTER,
                             &file) != SQLITE_OK)
        return NULL;
    return ramet_dbfile_of(file);
}

int
ramet_dbfile_result(struct ramet_dbfile *db, enum ramet_vfs_op op,
                    enum ramet_rc rc)
{
    int code;

    if (rc == RAMET_OK)
        return SQLITE_OK;
    code = ramet_vfs_code(op, rc, db->err.sys_errno);
    if ((code & 0xff) != SQLITE_BUSY && code != SQLITE_NOMEM)
        ramet_vfs_report(code, db->name, &db->err);
    return code;
}

/* ---- reading --------------------------------------------------------------
 */

/* The header, where nothing of our own hides it: no I/O, no lock. */
static int
read_header(const struct ramet_snapshot *snapshot, uint8_t *buf, size_t len,
            uint64_t offset)
{
    assert(offset + len <= RAMET_HEADER_SIZE);
    memcpy(buf, snapshot->header + offset, len);
    ramet_page1_show(snapshot, snapshot->counter, offset, buf, len);
    return offset + len <= snapshot->byte_length ? SQLITE_OK
                                                 : SQLITE_IOERR_SHORT_READ;
}

static void
show_page1(struct ramet_dbfile *db, uint8_t *buf, size_t len, uint64_t offset)
{
    const struct ramet_snapshot *snapshot = ramet_file_snapshot(db->file);
    const uint32_t next = db->counter.is_left_out ? 1 : 0;

    if (offset == 0 && !db->dirty)
        ramet_counter_saw(&db->counter, snapshot, buf, len);
    ramet_page1_show(snapshot, snapshot->counter + next, offset, buf, len);
}

static int
read_pinned(struct ramet_dbfile *db, uint8_t *buf, size_t len, uint64_t offset)
{
    size_t got = 0;
    enum ramet_rc rc;

    if (offset + len <= RAMET_HEADER_SIZE && !db->dirty)
        return read_header(ramet_file_snapshot(db->file), buf, len, offset);
    rc = ramet_file_read(db->file, offset, buf, len, &got, &db->err);
    if (rc != RAMET_OK)
        return ramet_dbfile_result(db, RAMET_OP_READ, rc);
    if (offset < RAMET_HEADER_SIZE && !db->page1_changed)
        show_page1(db, buf, got, offset);
    return got == len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

/* SQLite looks at the header when it opens a database, before any lock. */
static int
read_unpinned(struct ramet_dbfile *db, uint8_t *buf, size_t len,
              uint64_t offset)
{
    enum ramet_rc rc;
    int code;

    if (offset + len <= RAMET_HEADER_SIZE)
        return read_header(ramet_file_snapshot(db->file), buf, len, offset);
    rc = ramet_file_pin(db->file, &db->err);
    if (rc != RAMET_OK)
        return ramet_dbfile_result(db, RAMET_OP_READ, rc);
    code = read_pinned(db, buf, len, offset);
    ramet_file_unpin(db->file);
    return code;
}

/*
 * A handle that never locks still asks at the start of each transaction
 * whether its cache is stale (16 bytes at 24, pager.c): the moment to move on
 * to the newest snapshot. With immutable=1 it never asks.
 */
static void
move_lockless_pin(struct ramet_dbfile *db)
{
    if (db->writing) /* it rolled back, and no unlock told us */
        ramet_dbfile_end_write(db);
    ramet_file_unpin(db->file);
    if (ramet_file_pin(db->file, &db->err) != RAMET_OK)
        db->lockless = false; /* unpinned: read_unpinned() from now on */
}

static int
dbfile_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 offset)
{
    struct ramet_dbfile *db = db_of(file);

    assert(len >= 0 && offset >= 0);
    if (db->lock >= SQLITE_LOCK_SHARED)
        return read_pinned(db, buf, (size_t)len, (uint64_t)offset);
    if (!db->lockless)
        return read_unpinned(db, buf, (size_t)len, (uint64_t)offset);
    if (offset == 24 && len == 16)
        move_lockless_pin(db);
    if (!db->lockless)
        return read_unpinned(db, buf, (size_t)len, (uint64_t)offset);
    return read_pinned(db, buf, (size_t)len, (uint64_t)offset);
}

static int
dbfile_size(sqlite3_file *file, sqlite3_int64 *out_size)
{
    struct ramet_dbfile *db = db_of(file);

    if (db->dirty)
        *out_size = (sqlite3_int64)ramet_file_size(db->file);
    else
        *out_size = (sqlite3_int64)ramet_file_snapshot(db->file)->byte_length;
    return SQLITE_OK;
}

/* ---- writing --------------------------------------------------------------
 */

static int
may_write(struct ramet_dbfile *db)
{
    if (db->lock >= SQLITE_LOCK_RESERVED || db->writing)
        return SQLITE_OK;
    if (db->readonly)
        return SQLITE_READONLY;
    if (!db->lockless)
        return SQLITE_IOERR_LOCK;
    return ramet_dbfile_begin_write(db);
}

/* Store the header's own counter again where SQLite wrote back what it had
 * been shown (a rollback, mostly): page1.h, invariant (4). */
static enum ramet_rc
restore_stored(struct ramet_dbfile *db, const struct ramet_snapshot *snapshot)
{
    enum ramet_rc rc;

    rc = ramet_file_write(db->file, 24, snapshot->header + 24, 4, &db->err);
    if (rc == RAMET_OK)
        rc = ramet_file_write(db->file, 92, snapshot->header + 92, 4, &db->err);
    if (rc == RAMET_OK)
        db->page1_changed = false;
    return rc;
}

/*
 * A header that asks for WAL, from a backup of such a database, could not be
 * opened here again. It is kept as rollback format, under a counter that makes
 * the writer read it anew.
 */
static enum ramet_rc
make_rollback_format(struct ramet_dbfile *db, const uint8_t *page)
{
    static const uint8_t versions[2] = {1, 1};
    uint8_t counter[4];
    enum ramet_rc rc;

    ramet_put_be32(counter, ramet_get_be32(page + 24) + 1);
    rc = ramet_file_write(db->file, WAL_VERSIONS_AT, versions, 2, &db->err);
    if (rc == RAMET_OK)
        rc = ramet_file_write(db->file, 24, counter, 4, &db->err);
    if (rc == RAMET_OK)
        rc = ramet_file_write(db->file, 92, counter, 4, &db->err);
    return rc;
}

/* After a write to the header went through as it came. */
static enum ramet_rc
mend_header(struct ramet_dbfile *db, const uint8_t *buf, size_t len,
            uint64_t offset)
{
    const struct ramet_snapshot *snapshot = ramet_file_snapshot(db->file);
    const bool is_whole = offset == 0 && len >= RAMET_HEADER_SIZE;
    const bool is_wal = is_whole && ramet_page1_wants_wal(buf, len);
    const bool is_shown = is_whole && ramet_page1_is_shown(snapshot, buf);

    ramet_counter_wrote(&db->counter,
                        is_whole && !is_wal && !is_shown ? buf : NULL, len);
    if (!ramet_page1_touches(offset, len))
        return RAMET_OK;
    db->page1_changed = true;
    if (is_wal)
        return make_rollback_format(db, buf);
    return is_shown ? restore_stored(db, snapshot) : RAMET_OK;
}

static int
dbfile_write(sqlite3_file *file, const void *buf, int len, sqlite3_int64 offset)
{
    struct ramet_dbfile *db = db_of(file);
    enum ramet_rc rc;
    int code;

    assert(len >= 0 && offset >= 0);
    code = may_write(db);
    if (code != SQLITE_OK)
        return code;
    db->dirty = true;
    db->unprepared = true;
    if (offset == 0 && !db->page1_changed &&
        ramet_counter_leaves_out(&db->counter, ramet_file_snapshot(db->file),
                                 buf, (size_t)len))
        return SQLITE_OK;
    rc = ramet_file_write(db->file, (uint64_t)offset, buf, (size_t)len,
                          &db->err);
    if (rc == RAMET_OK && offset < (sqlite3_int64)RAMET_HEADER_SIZE)
        rc = mend_header(db, buf, (size_t)len, (uint64_t)offset);
    else if ((uint64_t)offset < db->counter.page_length)
        ramet_counter_wrote(&db->counter, NULL, (size_t)len); /* a part of it */
    return ramet_dbfile_result(db, RAMET_OP_WRITE, rc);
}

static int
dbfile_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct ramet_dbfile *db = db_of(file);
    const int code = may_write(db);

    assert(size >= 0);
    if (code != SQLITE_OK)
        return code;
    db->dirty = true;
    if ((uint64_t)size < db->counter.page_length)
        ramet_counter_wrote(&db->counter, NULL, 0);
    return ramet_dbfile_result(
        db, RAMET_OP_TRUNCATE,
        ramet_file_truncate(db->file, (uint64_t)size, &db->err));
}

/* ---- opening and closing --------------------------------------------------
 */

static int
dbfile_close(sqlite3_file *file)
{
    struct ramet_dbfile *db = db_of(file);

    (void)ramet_dbfile_unlock(file, SQLITE_LOCK_NONE);
    if (db->writing)
        ramet_dbfile_end_write(db);
    ramet_names_remove(db, db->journal_name, db->wal_name);
    ramet_file_close(db->file);
    if (db->delete_on_close &&
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
    return db_of(file)->powersafe ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

/* Version 1: no shared memory, so no WAL; no memory mapping. */
static const sqlite3_io_methods dbfile_methods = {
    .iVersion = 1,
    .xClose = dbfile_close,
    .xRead = dbfile_read,
    .xWrite = dbfile_write,
    .xTruncate = dbfile_truncate,
    .xSync = ramet_dbfile_sync,
    .xFileSize = dbfile_size,
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
    db->name = name;
    db->journal_name = sqlite3_filename_journal(name);
    db->wal_name = sqlite3_filename_wal(name);
    if (db->wal_name == NULL) /* SQLite without WAL */
        db->wal_name = db->journal_name;
}

int
ramet_dbfile_open(const char *vfs_name, sqlite3_vfs *under, const char *name,
                  sqlite3_file *file, int flags, int *out_flags,
                  struct ramet_err *err)
{
    struct handle *handle = (struct handle *)file;
    struct ramet_dbfile *db = ramet_calloc(1, sizeof(*db));
    enum ramet_rc rc;

    if (db == NULL)
        return SQLITE_NOMEM;
    rc = ramet_options_locking(name, &db->waits_for_readers, err);
    if (rc == RAMET_OK)
        rc = open_file(name, flags, &db->file, err);
    if (rc != RAMET_OK)
        goto done;

    db->session = ramet_file_session(db->file);
    db->readonly = ramet_file_is_readonly(db->file);
    db->vfs_name = vfs_name;
    db->under = under;
    db->powersafe = sqlite3_uri_boolean(name, "psow", 1) != 0;
    db->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    name_companions(db, name);
    if (ramet_options_lockless(name)) {
        rc = ramet_file_pin(db->file, err);
        if (rc != RAMET_OK)
            goto done;
        db->lockless = true;
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
