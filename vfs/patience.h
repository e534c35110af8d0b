/*
 * patience.h - how long a verb waits for what others hold: as its connection
 * waits for everything else.
 *
 * Where a verb meets a lock of somebody else's, SQLite's busy handler is asked
 * (busy_timeout, or the application's own), and sqlite3_interrupt() ends the
 * verb. The handler came with SQLITE_FCNTL_BUSYHANDLER, and belongs to the
 * pager: it calls that of the connection which holds the database's shared
 * cache. So a verb that waits must run inside a file control of its database,
 * where SQLite holds that lock for the very connection (verbs.h).
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_PATIENCE_H
#define RAMET_VFS_PATIENCE_H

#include <stdbool.h>

#include "vfs/dbfile.h"

struct ramet_verb_patience {
    struct ramet_waiter base;
    const struct ramet_busy_handler *busy;
    sqlite3 *connection;
    const char *schema; /* of the database; NULL: interrupts can't be seen */
    sqlite3_stmt *hold;
    uint64_t looked_ns;
    bool is_interrupted;
};

/* For a verb of `connection` on `db`; until _end. */
void ramet_verb_patience_begin(struct ramet_verb_patience *patience,
                               struct ramet_dbfile *db, sqlite3 *connection);
void ramet_verb_patience_end(struct ramet_verb_patience *patience);
/* RAMET_FCNTL_INTERRUPTED: look whether the connection is. */
void ramet_verb_patience_look(struct ramet_verb_patience *patience);

#endif
