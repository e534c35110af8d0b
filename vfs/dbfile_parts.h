/*
 * dbfile_parts.h - what the files that serve SQLite's calls on a database have of
 * each other: dbfile_open.c makes a table of it.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_DBFILE_PARTS_H
#define RAMET_VFS_DBFILE_PARTS_H

#include "vfs/dbfile.h"

#include <assert.h>

/* What SQLite holds of a database. */
struct ramet_dbfile_handle {
    sqlite3_file base; /* first: SQLite knows no more */
    struct ramet_dbfile *db;
};

/* The database that SQLite calls for. */
static inline struct ramet_dbfile *
ramet_dbfile_of(sqlite3_file *file)
{
    assert(((struct ramet_dbfile_handle *)file)->db != NULL);
    return ((struct ramet_dbfile_handle *)file)->db;
}

/* The whole of page 1: SQLite has no smaller page than 512 bytes. */
static inline bool
ramet_dbfile_is_page1(size_t len, uint64_t offset)
{
    return offset == 0 && len >= RAMET_DBHEADER_SIZE;
}

/* ---- dbfile_write_lock.c -------------------------------------------------- */
/* Take the write lock, for handles that never lock. */
int ramet_dbfile_begin_write(struct ramet_dbfile *db);
/* Give it up, voiding what is not published. */
void ramet_dbfile_end_write(struct ramet_dbfile *db);
/* Remove the trailer if there is one, invariant (7). */
void ramet_dbfile_drop_trailer(struct ramet_dbfile *db);

/* ---- dbfile_lock.c: xLock, xUnlock, xCheckReservedLock -------------------- */
int ramet_dbfile_lock(sqlite3_file *file, int level);
int ramet_dbfile_unlock(sqlite3_file *file, int level);
int ramet_dbfile_check_reserved(sqlite3_file *file, int *out_reserved);

/* ---- dbfile_read.c: xRead, xFileSize -------------------------------------- */
int
ramet_dbfile_read(sqlite3_file *file, void *buf, int len, sqlite3_int64 offset);
int ramet_dbfile_size(sqlite3_file *file, sqlite3_int64 *out_size);
/* Pin the newest snapshot, for a handle that never locks. */
RAMET_NODISCARD enum ramet_rc
ramet_dbfile_pin_lockless(struct ramet_dbfile *db);

/* ---- dbfile_write.c: xWrite, xTruncate ------------------------------------ */
int ramet_dbfile_write(sqlite3_file *file, const void *buf, int len,
                       sqlite3_int64 offset);
int ramet_dbfile_truncate(sqlite3_file *file, sqlite3_int64 size);

/* ---- dbfile_commit.c ------------------------------------------------------ */
/* SQLITE_FCNTL_SYNC; `super_journal` may be NULL. */
int ramet_dbfile_prepare(struct ramet_dbfile *db, const char *super_journal);
/* xSync. */
int ramet_dbfile_sync(sqlite3_file *file, int flags);
/* SQLITE_FCNTL_COMMIT_PHASETWO. */
int ramet_dbfile_publish(struct ramet_dbfile *db);

/* ---- dbfile_control.c: xFileControl --------------------------------------- */
int ramet_dbfile_control(sqlite3_file *file, int op, void *arg);

#endif
