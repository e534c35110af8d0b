/*
 * functions.h - the SQL functions ramet_push() and so on.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_FUNCTIONS_H
#define RAMET_VFS_FUNCTIONS_H

#include "vfs/api.h"

/* Register them on a connection. An SQLITE_* code. */
int ramet_functions_register(sqlite3 *connection);

#endif
