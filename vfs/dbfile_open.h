/*
 * dbfile_open.h - opening a main database.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_DBFILE_OPEN_H
#define RAMET_VFS_DBFILE_OPEN_H

#include "core/err.h"
#include "vfs/api.h"

/*
 * Open the main database `name` into `file`, whose pMethods is set on success
 * only. `flags` as for xOpen; `*out_flags` gains SQLITE_OPEN_READONLY where
 * the file can't be written. On failure `*err` tells why.
 */
int ramet_dbfile_open(const char *vfs_name, sqlite3_vfs *under,
                      const char *name, sqlite3_file *file, int flags,
                      int *out_flags, struct ramet_err *err);
/* What a file handle on a database takes. */
int ramet_dbfile_handle_size(void);

#endif
