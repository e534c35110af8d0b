/*
 * dbfile_commit.c - the two steps of a commit.
 *
 * SQLITE_FCNTL_SYNC comes with every `synchronous` setting, but also on
 * rollback after a spill, and before an auto-vacuum's truncation; only
 * SQLITE_FCNTL_COMMIT_PHASETWO means commit (pager.c). So SYNC makes a record
 * that nobody sees yet, and PHASETWO shows it.
 *
 * A rollback's SYNC is told by what came before it: pages were put back from the
 * journal, and the change counter is where it was; or the file has no page, as
 * before, and what was prepared for it is taken back. Then nothing is prepared, and
 * with sync=commit nothing is sent. (Pages that were free before are not put back:
 * the record would not be empty.) Should it be a commit after all, as one within
 * locking_mode=EXCLUSIVE after ROLLBACK TO may look, PHASETWO prepares.
 *
 * Order under a super-journal, so that no crash can take half of a
 * transaction: trailer (durable), record (durable), [SQLite deletes the
 * super-journal: committed], publish, trailer removed. Back: void (durable),
 * trailer removed.
 */
#include <assert.h>

#include "vfs/dbfile_parts.h"
#include "vfs/trailer.h"

/* Is there a write transaction whose changes SYNC could be about? */
static bool
has_changes(const struct ramet_dbfile *db)
{
    assert(!db->dirty || db->lock >= SQLITE_LOCK_RESERVED || db->writing);
    return db->dirty && (db->lock >= SQLITE_LOCK_RESERVED || db->writing);
}

static int
write_trailer(struct ramet_dbfile *db, const char *super_journal)
{
    const int code =
        ramet_trailer_write(db->under, db->journal_name, super_journal);

    assert(super_journal != NULL && db->trailer_checked);
    if (code == SQLITE_OK) {
        db->has_trailer = true;
        return SQLITE_OK;
    }
    (void)RAMET_FAIL(&db->err, RAMET_EIO, "cannot write %s", db->journal_name);
    ramet_vfs_report(code, db->name, &db->err);
    return code == SQLITE_BUSY ? SQLITE_IOERR : code;
}

static bool
has_prepared(const struct ramet_dbfile *db)
{
    return db->session != NULL && ramet_session_has_prepared(db->session);
}

/* Of a database without a page there is nothing to be put back. */
static bool
stays_empty(const struct ramet_dbfile *db)
{
    return ramet_file_snapshot(db->file)->page_count == 0 &&
           ramet_file_size(db->file) == 0;
}

/* In other journal modes than those with a file there is none to be read, and
 * within locking_mode=EXCLUSIVE a commit need not count. */
static bool
is_rolling_back(const struct ramet_dbfile *db)
{
    assert(has_changes(db));
    if (stays_empty(db))
        return true;
    return !ramet_page1_has_moved(&db->page1) &&
           (db->journal.is_open ? db->puts_back : !db->exclusive_mode) &&
           !has_prepared(db);
}

static int
prepare(struct ramet_dbfile *db, const char *super_journal)
{
    enum ramet_rc rc;
    int code = SQLITE_OK;

    assert(has_changes(db));
    if (!db->trailer_checked) {
        ramet_trailer_remove_stale(db->under, db->journal_name);
        db->trailer_checked = true;
    }
    if (super_journal != NULL) {
        code = write_trailer(db, super_journal);
        if (code != SQLITE_OK)
            return code;
    }
    db->unprepared = false;
    db->rolls_back = false;
    if (db->only_counts && super_journal == NULL) /* there is nothing to do */
        ramet_file_discard(db->file);
    rc = ramet_file_prepare(db->file, super_journal, &db->err);
    if (rc == RAMET_OK && super_journal != NULL)
        rc = ramet_file_sync_local(db->file, &db->err);
    return ramet_dbfile_result(db, RAMET_OP_COMMIT, rc);
}

int
ramet_dbfile_prepare(struct ramet_dbfile *db, const char *super_journal)
{
    const int code = ramet_dbfile_check_fork(db);

    if (code != SQLITE_OK || !has_changes(db))
        return code;
    db->rolls_back = super_journal == NULL && is_rolling_back(db);
    if (db->rolls_back && has_prepared(db))
        ramet_file_discard(db->file);
    return db->rolls_back ? SQLITE_OK : prepare(db, super_journal);
}

/* Durable, unless `synchronous` asks for less. */
static int
sync_prepared(struct ramet_dbfile *db)
{
    assert(!db->unprepared); /* invariant (6) */
    if (ramet_journal_says_normal(&db->journal))
        return SQLITE_OK;
    return ramet_dbfile_result(db, RAMET_OP_COMMIT,
                               ramet_file_sync_local(db->file, &db->err));
}

int
ramet_dbfile_sync(sqlite3_file *file, int flags)
{
    struct ramet_dbfile *db = ramet_dbfile_of(file);
    int code = ramet_dbfile_check_fork(db);

    (void)flags; /* they do not tell FULL from NORMAL (pager.c) */
    if (code != SQLITE_OK || !has_changes(db) || db->rolls_back)
        return code;
    if (db->unprepared) /* invariant (6): a wrapper's, between SYNC and here */
        code = prepare(db, NULL);
    return code == SQLITE_OK ? sync_prepared(db) : code;
}

int
ramet_dbfile_publish(struct ramet_dbfile *db)
{
    int code = ramet_dbfile_check_fork(db);

    if (code == SQLITE_OK && has_changes(db) && db->unprepared) {
        code = prepare(db, NULL);
        if (code == SQLITE_OK)
            code = sync_prepared(db);
    }
    if (code != SQLITE_OK)
        return code; /* SQLite rolls back; the unlock voids the rest */
    if (has_changes(db)) {
        const uint64_t base = ramet_file_snapshot(db->file)->pages_seq;
        const struct ramet_snapshot *published;

        assert(!db->unprepared); /* invariant (6) */
        ramet_file_publish(db->file);
        published = ramet_file_snapshot(db->file);
        ramet_page1_published(&db->page1, base, published);
        ramet_counter_published(&db->counter, base, published);
    }
    db->dirty = false;
    db->only_counts = false;
    ramet_dbfile_drop_trailer(db);
    assert(!db->has_trailer); /* invariant (7) */
    ramet_journal_end(&db->journal);
    if (db->writing && db->lock < SQLITE_LOCK_RESERVED)
        ramet_dbfile_end_write(db); /* no unlock will come */
    return SQLITE_OK;
}
