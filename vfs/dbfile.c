/*
 * dbfile.c - opening, closing, reading and writing a database; see dbfile.h.
 */
#include "vfs/dbfile.h"

#include "client/store/whole.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/os.h"
#include "vfs/connection.h"
#include "vfs/names.h"
#include "vfs/options.h"

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
    if (db->connection != NULL)
        ramet_connection_note(*db->connection, db->err.text);
    if ((code & 0xff) != SQLITE_BUSY && code != SQLITE_NOMEM)
        ramet_vfs_report(code, db->name, &db->err);
    return code;
}

int
ramet_dbfile_check_fork(struct ramet_dbfile *db)
{
    if (!ramet_file_is_parents(db->file))
        return SQLITE_OK;
    return ramet_dbfile_result(
        db, RAMET_OP_LOCK,
        RAMET_FAIL(&db->err, RAMET_EFORKED,
                   "this connection belongs to the process that forked; open "
                   "the database again"));
}

/* ---- reading --------------------------------------------------------------
 */

/* The whole of page 1: SQLite has no smaller page than 512 bytes. */
static bool
is_page1(size_t len, uint64_t offset)
{
    return offset == 0 && len >= RAMET_DBHEADER_SIZE;
}

/* The header, where nothing of our own hides it: no I/O, no lock. */
static int
read_header(const struct ramet_dbfile *db,
            const struct ramet_snapshot *snapshot, uint8_t *buf, size_t len,
            uint64_t offset)
{
    const uint64_t size = snapshot->byte_length;
    uint8_t header[RAMET_DBHEADER_SIZE];

    assert(offset + len <= RAMET_DBHEADER_SIZE);
    memcpy(header, snapshot->header, sizeof(header));
    ramet_page1_show(&db->page1, snapshot, header,
                     size < sizeof(header) ? (size_t)size : sizeof(header));
    memcpy(buf, header + offset, len);
    return offset + len <= size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

/* A part of page 1 that lies, or begins, in its header. */
static enum ramet_rc
show_part(struct ramet_dbfile *db, uint8_t *buf, size_t len, uint64_t offset)
{
    uint8_t header[RAMET_DBHEADER_SIZE];
    const size_t left = sizeof(header) - (size_t)offset;
    size_t got;
    const enum ramet_rc rc =
        ramet_file_read(db->file, 0, header, sizeof(header), &got, &db->err);

    if (rc != RAMET_OK)
        return rc;
    ramet_page1_show(&db->page1, ramet_file_snapshot(db->file), header, got);
    memcpy(buf, header + offset, len < left ? len : left);
    return RAMET_OK;
}

static enum ramet_rc
show_page1(struct ramet_dbfile *db, uint8_t *buf, size_t len, size_t got,
           uint64_t offset)
{
    const struct ramet_snapshot *snapshot = ramet_file_snapshot(db->file);

    if (!is_page1(len, offset))
        return show_part(db, buf, got, offset);
    ramet_page1_read(&db->page1, snapshot, db->dirty, buf, got);
    if (!db->dirty)
        ramet_counter_saw(&db->counter, snapshot, buf, len);
    return RAMET_OK;
}

static int
read_pinned(struct ramet_dbfile *db, uint8_t *buf, size_t len, uint64_t offset)
{
    size_t got = 0;
    enum ramet_rc rc;

    if (offset + len <= RAMET_DBHEADER_SIZE && !db->dirty)
        return read_header(db, ramet_file_snapshot(db->file), buf, len, offset);
    rc = ramet_file_read(db->file, offset, buf, len, &got, &db->err);
    if (rc == RAMET_OK && offset < RAMET_DBHEADER_SIZE)
        rc = show_page1(db, buf, len, got, offset);
    if (rc != RAMET_OK)
        return ramet_dbfile_result(db, RAMET_OP_READ, rc);
    return got == len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

/* SQLite looks at the header when it opens a database, before any lock. */
static int
read_unpinned(struct ramet_dbfile *db, uint8_t *buf, size_t len,
              uint64_t offset)
{
    enum ramet_rc rc;
    int code;

    if (offset + len <= RAMET_DBHEADER_SIZE)
        return read_header(db, ramet_file_snapshot(db->file), buf, len, offset);
    rc = ramet_file_pin(db->file, &db->err);
    if (rc != RAMET_OK)
        return ramet_dbfile_result(db, RAMET_OP_READ, rc);
    code = read_pinned(db, buf, len, offset);
    ramet_file_unpin(db->file);
    return code;
}

static enum ramet_rc
pin_lockless(struct ramet_dbfile *db)
{
    const enum ramet_rc rc = ramet_file_pin(db->file, &db->err);

    db->lockless_pinned = rc == RAMET_OK;
    return rc;
}

/*
 * A handle that never locks still asks at the start of each transaction
 * whether its cache is stale (16 bytes at 24, pager.c): the moment to move on
 * to the newest snapshot. With immutable=1 it never asks. Where there is no
 * pin to be had, there is no transaction either.
 */
static int
read_lockless(struct ramet_dbfile *db, uint8_t *buf, size_t len,
              uint64_t offset)
{
    const bool begins = offset == RAMET_DBHEADER_COUNTER_AT && len == 16;
    enum ramet_rc rc = RAMET_OK;

    if (begins && db->writing) /* it rolled back, and no unlock told us */
        ramet_dbfile_end_write(db);
    if (begins)
        ramet_file_unpin(db->file);
    if (begins || !db->lockless_pinned)
        rc = pin_lockless(db);
    return rc == RAMET_OK ? read_pinned(db, buf, len, offset)
                          : ramet_dbfile_result(db, RAMET_OP_READ, rc);
}

static int
dbfile_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 offset)
{
    struct ramet_dbfile *db = db_of(file);
    const int code = ramet_dbfile_check_fork(db);

    assert(len >= 0 && offset >= 0);
    if (code != SQLITE_OK)
        return code;
    if (db->lock >= SQLITE_LOCK_SHARED)
        return read_pinned(db, buf, (size_t)len, (uint64_t)offset);
    if (db->lockless)
        return read_lockless(db, buf, (size_t)len, (uint64_t)offset);
    return read_unpinned(db, buf, (size_t)len, (uint64_t)offset);
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

/* Bytes of the header, over what went through as it came. */
static enum ramet_rc
patch(struct ramet_dbfile *db, uint64_t at, const uint8_t *bytes, size_t len)
{
    return ramet_file_write(db->file, at, bytes, len, &db->err);
}

/* The stored counters again where SQLite put page 1 back (a rollback, mostly):
 * it equals what is there already. */
static enum ramet_rc
restore_counters(struct ramet_dbfile *db, const struct ramet_snapshot *snapshot)
{
    const uint8_t *const stored = snapshot->header;
    const uint64_t at = RAMET_DBHEADER_COUNTER_AT;
    const uint64_t again_at = RAMET_DBHEADER_VALID_FOR_AT;
    const enum ramet_rc rc = patch(db, at, stored + at, 4);

    return rc == RAMET_OK ? patch(db, again_at, stored + again_at, 4) : rc;
}

/* page1.h, invariant (4). */
static enum ramet_rc
store_cookie(struct ramet_dbfile *db, const uint8_t *page)
{
    uint8_t bytes[4];

    if (db->page1.shift == 0)
        return RAMET_OK;
    ramet_put_be32(bytes, ramet_page1_stored_cookie(
                              &db->page1, ramet_dbheader_cookie(page)));
    return patch(db, RAMET_DBHEADER_COOKIE_AT, bytes, sizeof(bytes));
}

/*
 * A header that asks for WAL, from a backup of such a database, could not be
 * opened here again. It is kept as rollback format, and its writer shall read
 * it anew. In exclusive mode it would not: there this is `PRAGMA
 * journal_mode=WAL` for all databases of the connection, which SQLite tries in
 * that mode, and of which the main database's file alone was told.
 */
static enum ramet_rc
make_rollback_format(struct ramet_dbfile *db)
{
    static const uint8_t versions[2] = {1, 1};

    if (db->exclusive_mode)
        return RAMET_FAIL(&db->err, RAMET_EINVAL,
                          "no journal_mode=WAL here, also not with "
                          "locking_mode=EXCLUSIVE");
    ramet_page1_forget(&db->page1);
    return patch(db, WAL_VERSIONS_AT, versions, sizeof(versions));
}

/* All of page 1 went through as it came. */
static enum ramet_rc
mend_page1(struct ramet_dbfile *db, const uint8_t *page, size_t len)
{
    const struct ramet_snapshot *snapshot = ramet_file_snapshot(db->file);
    const bool is_wal = ramet_page1_wants_wal(page, len);
    const bool is_put_back =
        ramet_page1_is_put_back(&db->page1, snapshot, page);
    enum ramet_rc rc = RAMET_OK;

    ramet_counter_wrote(&db->counter, is_wal || is_put_back ? NULL : page, len);
    if (!ramet_dbheader_is(page, len)) /* page1.h, invariant (6) */
        return RAMET_OK;
    rc = store_cookie(db, page);
    if (rc == RAMET_OK && is_put_back)
        rc = restore_counters(db, snapshot);
    if (rc == RAMET_OK && is_wal)
        rc = make_rollback_format(db);
    return rc;
}

/* A part of page 1, which SQLite itself never writes. */
static void
note_part(struct ramet_dbfile *db, size_t len, uint64_t offset)
{
    ramet_counter_wrote(&db->counter, NULL, len);
    if (ramet_page1_touches(offset, len))
        ramet_page1_forget(&db->page1);
}

static enum ramet_rc
write_bytes(struct ramet_dbfile *db, const uint8_t *buf, size_t len,
            uint64_t offset)
{
    const struct ramet_snapshot *snapshot = ramet_file_snapshot(db->file);
    const bool counts =
        is_page1(len, offset) &&
        ramet_counter_only_counts(&db->counter, snapshot, buf, len);
    enum ramet_rc rc;

    db->only_counts = counts && (!db->dirty || db->only_counts);
    db->dirty = true;
    db->unprepared = true;
    db->puts_back = ramet_journal_take_read(&db->journal);
    db->rolls_back = false;
    if (counts && snapshot->header_pends) /* counter.h, invariant (2) */
        return RAMET_OK;
    rc = ramet_file_write(db->file, offset, buf, len, &db->err);
    if (rc == RAMET_OK && is_page1(len, offset))
        return mend_page1(db, buf, len);
    if (offset < db->counter.page_length || offset < RAMET_DBHEADER_SIZE)
        note_part(db, len, offset);
    return rc;
}

static int
dbfile_write(sqlite3_file *file, const void *buf, int len, sqlite3_int64 offset)
{
    struct ramet_dbfile *db = db_of(file);
    enum ramet_rc rc;
    int code;

    assert(len >= 0 && offset >= 0);
    if (is_page1((size_t)len, (uint64_t)offset)) /* even if this fails */
        ramet_page1_wrote(&db->page1, buf);
    code = ramet_dbfile_check_fork(db);
    if (code == SQLITE_OK)
        code = may_write(db);
    if (code == SQLITE_OK) {
        rc = write_bytes(db, buf, (size_t)len, (uint64_t)offset);
        code = ramet_dbfile_result(db, RAMET_OP_WRITE, rc);
    }
    if (code != SQLITE_OK)
        ramet_page1_forget(&db->page1);
    return code;
}

static int
dbfile_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct ramet_dbfile *db = db_of(file);
    int code = ramet_dbfile_check_fork(db);

    assert(size >= 0);
    if (code == SQLITE_OK)
        code = may_write(db);
    if (code != SQLITE_OK)
        return code;
    db->dirty = true;
    db->only_counts = false;
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
    const bool is_parents = ramet_file_is_parents(db->file);

    (void)ramet_dbfile_unlock(file, SQLITE_LOCK_NONE);
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
        rc = ramet_options_functions(name, &db->functions_off, err);
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
    db->may_pull = ramet_options_may_pull(name);
    name_companions(db, name);
    if (ramet_options_lockless(name)) {
        db->lockless = true;
        rc = pin_lockless(db);
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
