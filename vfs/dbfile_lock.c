/*
 * dbfile_lock.c - SQLite's five lock levels on pins, write lock and reader barrier.
 *
 * A commit that is not published when its lock goes is voided, and nothing else
 * is done that could fail: SQLite does not heed the result.
 */
#include <assert.h>
#include <string.h>

#include "vfs/dbfile_parts.h"

/*
 * Is EXCLUSIVE asked for by a spill or a commit? SQLite's own answer: only
 * then is the transaction a write transaction already; BEGIN EXCLUSIVE asks
 * before it becomes one. (Unknown, for an older SQLite: false. Then a commit
 * that changed nothing waits for readers, as it does on a plain file.)
 */
static bool
is_in_write_transaction(const struct ramet_dbfile *db)
{
    const char *schema = ramet_dbfile_schema(db);

    assert(db->lock >= SQLITE_LOCK_RESERVED);
    return schema != NULL &&
           sqlite3_txn_state(*db->connection, schema) == SQLITE_TXN_WRITE;
}

/*
 * `PRAGMA locking_mode=…` without a schema is for all databases of its
 * connection, and for those that are attached later (pragma.c); but SQLite tells
 * the main database's file alone, and there not whether a schema was named. So
 * when any connection has said it, each database asks SQLite for its own mode,
 * once; and always if its connection's main database is none of ours, which is
 * told nothing. Where no answer comes the mode stays what it was.
 */
static bool
is_exclusive_mode(struct ramet_dbfile *db)
{
    const unsigned said = ramet_dbfile_modes_said();
    char answer[32];

    assert(!db->main_is_ours || db->main_is_known);
    if (!db->main_is_known && db->connection != NULL &&
        *db->connection != NULL) {
        db->main_is_ours = ramet_dbfile_find(*db->connection, "main") != NULL;
        db->main_is_known = true;
    }
    if (said == db->mode_asked && (db->main_is_ours || !db->main_is_known))
        return db->exclusive_mode;
    ramet_dbfile_ask_pragma(db, "locking_mode", answer, sizeof(answer));
    if (answer[0] != '\0') {
        db->exclusive_mode = strcmp(answer, "exclusive") == 0;
        db->mode_asked = said;
    }
    return db->exclusive_mode;
}

static bool
keeps_readers_out(struct ramet_dbfile *db)
{
    assert(db->lock >= SQLITE_LOCK_RESERVED);
    if (db->waits_for_readers || is_exclusive_mode(db))
        return true;
    return !db->journal.begun && !is_in_write_transaction(db);
}

static int
lock_shared(struct ramet_dbfile *db)
{
    const enum ramet_rc rc = ramet_file_pin(db->file, &db->err);

    assert(db->lock == SQLITE_LOCK_NONE && !db->lockless);
    if (rc != RAMET_OK)
        return ramet_dbfile_result(db, RAMET_OP_LOCK, rc);
    db->lock = SQLITE_LOCK_SHARED;
    return SQLITE_OK;
}

static int
lock_reserved(struct ramet_dbfile *db)
{
    const int code = ramet_dbfile_begin_write(db);

    assert(db->lock == SQLITE_LOCK_SHARED); /* invariant (1) */
    if (code == SQLITE_OK)
        db->lock = SQLITE_LOCK_RESERVED;
    return code;
}

static int
lock_exclusive(struct ramet_dbfile *db)
{
    enum ramet_rc rc;

    assert(db->lock >= SQLITE_LOCK_RESERVED && db->writing);
    if (db->session == NULL || !keeps_readers_out(db)) {
        db->lock = SQLITE_LOCK_EXCLUSIVE;
        return SQLITE_OK;
    }
    db->raised_barrier =
        true; /* also where it fails: no new readers meanwhile */
    rc = ramet_session_raise_barrier(db->session, &db->err);
    db->lock = rc == RAMET_OK ? SQLITE_LOCK_EXCLUSIVE : SQLITE_LOCK_PENDING;
    return ramet_dbfile_result(db, RAMET_OP_LOCK, rc);
}

int
ramet_dbfile_lock(sqlite3_file *file, int level)
{
    struct ramet_dbfile *db = ramet_dbfile_of(file);
    int code = ramet_dbfile_check_fork(db);

    if (code != SQLITE_OK)
        return code;
    if (db->lock == SQLITE_LOCK_NONE && level >= SQLITE_LOCK_SHARED) {
        if (db->lockless) { /* locks after all: its pin is SHARED's now */
            ramet_file_unpin(db->file);
            db->lockless = false;
        }
        code = lock_shared(db);
    }
    if (code == SQLITE_OK && db->lock < SQLITE_LOCK_RESERVED &&
        level >= SQLITE_LOCK_RESERVED)
        code = lock_reserved(db);
    if (code == SQLITE_OK && db->lock < SQLITE_LOCK_EXCLUSIVE &&
        level > SQLITE_LOCK_RESERVED)
        code = lock_exclusive(db);
    assert(code != SQLITE_OK || db->lock >= level);
    return code;
}

int
ramet_dbfile_unlock(sqlite3_file *file, int level)
{
    struct ramet_dbfile *db = ramet_dbfile_of(file);

    assert(level <= SQLITE_LOCK_SHARED);
    assert(level >= SQLITE_LOCK_NONE);
    if (db->lock <= level)
        return SQLITE_OK;
    if (db->lock >= SQLITE_LOCK_RESERVED)
        ramet_dbfile_end_write(db);
    if (level == SQLITE_LOCK_NONE)
        ramet_file_unpin(db->file);
    assert(!db->dirty || db->lock < SQLITE_LOCK_RESERVED);
    db->lock = level;
    return SQLITE_OK;
}

int
ramet_dbfile_check_reserved(sqlite3_file *file, int *out_reserved)
{
    struct ramet_dbfile *db = ramet_dbfile_of(file);

    assert(out_reserved != NULL);
    *out_reserved =
        db->session != NULL && ramet_session_write_locked(db->session);
    return SQLITE_OK;
}
