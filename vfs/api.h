/*
 * api.h - SQLite as an extension sees it: every call goes through the table
 * of the library that loaded us, never through a symbol of our own process.
 *
 * Exactly one source file (extension.c) defines RAMET_VFS_DEFINE_API before
 * it includes this and so holds the table's pointer.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_API_H
#define RAMET_VFS_API_H

#include <sqlite3ext.h>

#ifdef RAMET_VFS_DEFINE_API
SQLITE_EXTENSION_INIT1
#else
SQLITE_EXTENSION_INIT3
#endif

/* The oldest SQLite that has all that is called unconditionally
 * (sqlite3_filename_journal(), 3.32, and sqlite3_txn_state(), 3.34). */
#define RAMET_SQLITE_OLDEST 3034000
/* sqlite3_db_name() */
#define RAMET_SQLITE_DB_NAME 3039000

#endif
