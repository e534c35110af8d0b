/*
 * dbfile_write_lock.c - the write lock of a transaction, and all that goes with
 * it when it goes.
 */
#include <assert.h>

#include "vfs/dbfile_parts.h"
#include "vfs/trailer.h"

/* Invariant (7): after the publish or the void. */
void
ramet_dbfile_drop_trailer(struct ramet_dbfile *db)
{
    assert(!db->has_trailer || db->trailer_checked);
    if (!db->has_trailer)
        return;
    ramet_trailer_remove(db->under, db->journal_name);
    db->has_trailer = false;
}

int
ramet_dbfile_begin_write(struct ramet_dbfile *db)
{
    enum ramet_rc rc;

    assert(!db->dirty);
    assert(!db->raised_barrier && !db->has_trailer);
    if (db->readonly)
        return SQLITE_READONLY;
    rc = ramet_file_reserve(db->file, &db->err);
    if (rc != RAMET_OK)
        return ramet_dbfile_result(db, RAMET_OP_LOCK, rc);
    db->writing = true;
    return SQLITE_OK;
}

void
ramet_dbfile_end_write(struct ramet_dbfile *db)
{
    assert(!db->raised_barrier || db->session != NULL);
    if (db->raised_barrier) {
        ramet_session_lower_barrier(db->session);
        db->raised_barrier = false;
    }
    if (db->has_trailer && !ramet_file_is_parents(db->file)) {
        ramet_file_discard(db->file); /* void first, invariant (7) */
        ramet_dbfile_drop_trailer(db);
    }
    ramet_file_release(db->file);
    ramet_journal_end(&db->journal);
    ramet_counter_dropped(&db->counter);
    if (db->dirty && !db->rolls_back) /* else its cache is as before */
        ramet_page1_forget(&db->page1);
    db->writing = false;
    db->dirty = false;
    db->only_counts = false;
    db->unprepared = false;
    db->rolls_back = false;
}
