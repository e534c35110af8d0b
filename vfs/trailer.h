/*
 * trailer.h - a journal on disk that holds a super-journal's name, no more.
 *
 * Other databases in a transaction, native ones too, recover by asking
 * whether some journal still names the super-journal (pager_delsuper() in
 * pager.c) and delete it if none does. Ours are never on disk; so, while a
 * record is prepared under a super-journal, this file stands in for them. It
 * has no journal header: to SQLite it undoes nothing and is not hot.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_TRAILER_H
#define RAMET_VFS_TRAILER_H

#include "vfs/api.h"

/* Write it and sync file and directory. `journal_name` as SQLite gives it. */
int ramet_trailer_write(sqlite3_vfs *under, const char *journal_name,
                        const char *super_journal);
void ramet_trailer_remove(sqlite3_vfs *under, const char *journal_name);

/* Remove one that a crash left. Only for who holds the write lock: then no
 * record is prepared. A journal that holds anything else stays. */
void ramet_trailer_remove_stale(sqlite3_vfs *under, const char *journal_name);

#endif
