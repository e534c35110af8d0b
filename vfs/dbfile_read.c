/*
 * dbfile_read.c - xRead and xFileSize: pages of the snapshot that is pinned, with
 * page 1 as page1.h has it shown.
 */
#include <assert.h>
#include <string.h>

#include "vfs/dbfile_parts.h"

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

    assert(offset < RAMET_DBHEADER_SIZE);
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

    assert(offset < RAMET_DBHEADER_SIZE && got <= len);
    if (!ramet_dbfile_is_page1(len, offset))
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

    assert(db->lock != SQLITE_LOCK_NONE || !db->dirty || db->writing);
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

    assert(db->lock == SQLITE_LOCK_NONE && !db->lockless);
    if (offset + len <= RAMET_DBHEADER_SIZE)
        return read_header(db, ramet_file_snapshot(db->file), buf, len, offset);
    rc = ramet_file_pin(db->file, &db->err);
    if (rc != RAMET_OK)
        return ramet_dbfile_result(db, RAMET_OP_READ, rc);
    code = read_pinned(db, buf, len, offset);
    ramet_file_unpin(db->file);
    return code;
}

enum ramet_rc
ramet_dbfile_pin_lockless(struct ramet_dbfile *db)
{
    const enum ramet_rc rc = ramet_file_pin(db->file, &db->err);

    assert(db->lockless && db->lock == SQLITE_LOCK_NONE);
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

    assert(db->lockless && db->lock == SQLITE_LOCK_NONE);
    if (begins && db->writing) /* it rolled back, and no unlock told us */
        ramet_dbfile_end_write(db);
    if (begins)
        ramet_file_unpin(db->file);
    if (begins || !db->lockless_pinned)
        rc = ramet_dbfile_pin_lockless(db);
    return rc == RAMET_OK ? read_pinned(db, buf, len, offset)
                          : ramet_dbfile_result(db, RAMET_OP_READ, rc);
}

/* Nearly every read: of pages behind the first, by who has a lock. The session
 * finds out itself whose process this is. */
static int
read_page(struct ramet_dbfile *db, uint8_t *buf, size_t len, uint64_t offset)
{
    size_t got = 0;
    const enum ramet_rc rc =
        ramet_session_read(db->session, offset, buf, len, &got, &db->err);

    assert(db->lock >= SQLITE_LOCK_SHARED && offset >= RAMET_DBHEADER_SIZE);
    if (rc != RAMET_OK)
        return ramet_dbfile_result(db, RAMET_OP_READ, rc);
    return got == len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

int
ramet_dbfile_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 offset)
{
    struct ramet_dbfile *db = ramet_dbfile_of(file);
    int code;

    assert(len >= 0 && offset >= 0);
    if (db->lock >= SQLITE_LOCK_SHARED && db->session != NULL &&
        offset >= RAMET_DBHEADER_SIZE)
        return read_page(db, buf, (size_t)len, (uint64_t)offset);
    code = ramet_dbfile_check_fork(db);
    if (code != SQLITE_OK)
        return code;
    if (db->lock >= SQLITE_LOCK_SHARED)
        return read_pinned(db, buf, (size_t)len, (uint64_t)offset);
    if (db->lockless)
        return read_lockless(db, buf, (size_t)len, (uint64_t)offset);
    return read_unpinned(db, buf, (size_t)len, (uint64_t)offset);
}

int
ramet_dbfile_size(sqlite3_file *file, sqlite3_int64 *out_size)
{
    struct ramet_dbfile *db = ramet_dbfile_of(file);

    assert(out_size != NULL);
    if (db->dirty)
        *out_size = (sqlite3_int64)ramet_file_size(db->file);
    else
        *out_size = (sqlite3_int64)ramet_file_snapshot(db->file)->byte_length;
    return SQLITE_OK;
}
