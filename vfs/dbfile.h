/*
 * dbfile.h - a main database that SQLite has open: locks, reads, writes and
 * the two steps of a commit, on top of client/file.h.
 *
 * SQLite sees a rollback-mode database. SHARED pins a snapshot, RESERVED
 * takes the write lock, SQLITE_FCNTL_SYNC prepares a record,
 * SQLITE_FCNTL_COMMIT_PHASETWO publishes it, and an unlock without that voids
 * it. Readers and writers do not wait for each other, but for BEGIN EXCLUSIVE
 * and locking_mode=EXCLUSIVE, which raise the reader barrier.
 *
 *   (1) lock >= SQLITE_LOCK_SHARED: the file is pinned.
 *   (2) lock >= SQLITE_LOCK_RESERVED: the write lock is held. Without locks
 *       (nolock=1, immutable=1) `writing` alone says so.
 *   (3) `dirty`: there are writes that are not published.
 *   (4) `page1` knows which snapshot SQLite's cache stands for; where writes
 *       are given up, or fail, that is none.
 *   (5) `only_counts`: all that is written is a page 1 that only counts
 *       (counter.h): there is nothing to commit.
 *   (6) `unprepared`: among them are some that came after the last prepare.
 *       Where SQLite itself calls us there are none when it publishes; a
 *       wrapper between us may hold writes back until xSync. And where the last
 *       SYNC was that of a rollback: it prepares nothing.
 *   (7) `has_trailer`: a journal on disk names the super-journal of a record
 *       that is prepared; it goes after the publish or the void, not before.
 *   (8) In a child of fork() nothing is done but to forget: no file of the
 *       parent's is written or deleted, and calls that SQLite heeds fail with
 *       SQLITE_MISUSE.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_DBFILE_H
#define RAMET_VFS_DBFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/volume/file.h"
#include "vfs/api.h"
#include "vfs/counter.h"
#include "vfs/errors.h"
#include "vfs/journal.h"
#include "vfs/page1.h"

/* SQLITE_FCNTL_BUSYHANDLER: `call` says whether to try again, having slept. */
struct ramet_busy_handler {
    int (*call)(void *ctx); /* NULL: none came */
    void *ctx;
};

/* A file control of ours: run a verb, arg: struct ramet_verb_call (verbs.h). */
#define RAMET_FCNTL_VERB 0x52414d01
/* Another: see patience.c; arg: struct ramet_verb_patience. */
#define RAMET_FCNTL_INTERRUPTED 0x52414d02

struct ramet_dbfile {
    struct ramet_file *file;
    struct ramet_session *session; /* of `file`; NULL for a stateless reader */
    int lock;                      /* SQLITE_LOCK_* */
    bool readonly;
    bool lockless;        /* nolock or immutable: pinned from open to close */
    bool lockless_pinned; /* ... but where a pin could not be moved */
    bool writing;
    bool dirty;
    bool only_counts;
    bool unprepared;
    bool puts_back;  /* the last write followed on a read of the journal */
    bool rolls_back; /* ... and the SYNC after it was a rollback's */
    bool raised_barrier;
    bool has_trailer;
    bool trailer_checked; /* no stale one was left by a crash */
    bool exclusive_mode;  /* as SQLite said when it was last asked */
    unsigned mode_asked;  /* ramet_dbfile_modes_said() at that time */
    bool main_is_known;
    bool main_is_ours;      /* the connection's main database */
    bool waits_for_readers; /* locking=rollback */
    bool powersafe;
    bool delete_on_close;
    bool functions_off; /* functions=off */
    bool may_pull;      /* allow=pull */
    struct ramet_busy_handler busy;
    const char *name; /* SQLite's own string, with its URI parameters */
    const char *journal_name;
    const char *wal_name;
    const char *vfs_name;
    sqlite3 **connection; /* SQLITE_FCNTL_PDB: whose call this is; or NULL */
    sqlite3_vfs *under;   /* the VFS for all that is no database of ours */
    struct ramet_journal journal;
    struct ramet_page1 page1;
    struct ramet_counter counter;
    uint64_t moved_checked_ns;
    struct ramet_err err;     /* of the call that is made now */
    struct ramet_err failure; /* the last that was told: for ramet_errmsg() */
};

/* The database called `schema` in a connection; NULL if it is none of ours. */
struct ramet_dbfile *ramet_dbfile_find(sqlite3 *connection, const char *schema);

/* SQLITE_MISUSE in a child of fork(), by invariant (8). */
int ramet_dbfile_check_fork(struct ramet_dbfile *db);
/* The SQLITE_* code of `rc`, reported unless somebody merely was first. */
int ramet_dbfile_result(struct ramet_dbfile *db, enum ramet_vfs_op op,
                        enum ramet_rc rc);

/* The schema by which this call's connection knows the database, or NULL. */
const char *ramet_dbfile_schema(const struct ramet_dbfile *db);
/* What `PRAGMA schema.pragma` answers now, asked of SQLite itself; "" if it
 * can't be had (an authorizer, an interrupt, an older SQLite). */
void ramet_dbfile_ask_pragma(const struct ramet_dbfile *db, const char *pragma,
                             char *out, size_t out_size);
/* How often a locking mode was chosen, by any connection of this process. */
unsigned ramet_dbfile_modes_said(void);
/* ... once more now. */
void ramet_dbfile_mode_said(void);

#endif
