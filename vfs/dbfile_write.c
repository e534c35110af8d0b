/*
 * dbfile_write.c - xWrite and xTruncate: into the transaction, and page 1 as it
 * is to be stored.
 */
#include <assert.h>

#include "vfs/dbfile_parts.h"

#define WAL_VERSIONS_AT 18u /* file format write and read version */

static int
may_write(struct ramet_dbfile *db)
{
    assert(!db->writing || !db->readonly); /* invariant (2) */
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
    assert(at + len <= RAMET_DBHEADER_SIZE && db->dirty);
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

    assert(db->dirty && db->unprepared);
    return rc == RAMET_OK ? patch(db, again_at, stored + again_at, 4) : rc;
}

/* page1.h, invariant (4). */
static enum ramet_rc
store_cookie(struct ramet_dbfile *db, const uint8_t *page)
{
    uint8_t bytes[4];

    assert(db->dirty && db->unprepared);
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

    assert(db->dirty && db->unprepared);
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

    assert(len >= RAMET_DBHEADER_SIZE && db->dirty);
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
    assert(db->dirty);

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
        ramet_dbfile_is_page1(len, offset) &&
        ramet_counter_only_counts(&db->counter, snapshot, buf, len);
    enum ramet_rc rc;

    assert(db->lock >= SQLITE_LOCK_RESERVED || db->writing);
    db->only_counts = counts && (!db->dirty || db->only_counts);
    db->dirty = true;
    db->unprepared = true;
    db->puts_back = ramet_journal_take_read(&db->journal);
    db->rolls_back = false;
    if (counts && snapshot->header_pends) /* counter.h, invariant (2) */
        return RAMET_OK;
    assert(!db->only_counts || counts); /* invariant (5) */
    rc = ramet_file_write(db->file, offset, buf, len, &db->err);
    if (rc == RAMET_OK && ramet_dbfile_is_page1(len, offset))
        return mend_page1(db, buf, len);
    if (offset < db->counter.page_length || offset < RAMET_DBHEADER_SIZE)
        note_part(db, len, offset);
    return rc;
}

int
ramet_dbfile_write(sqlite3_file *file, const void *buf, int len,
                   sqlite3_int64 offset)
{
    struct ramet_dbfile *db = ramet_dbfile_of(file);
    enum ramet_rc rc;
    int code;

    assert(len >= 0 && offset >= 0);
    if (ramet_dbfile_is_page1((size_t)len,
                              (uint64_t)offset)) /* even if this fails */
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

int
ramet_dbfile_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct ramet_dbfile *db = ramet_dbfile_of(file);
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
