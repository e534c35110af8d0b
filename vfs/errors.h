/*
 * errors.h - what SQLite is told when something of ours fails.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_ERRORS_H
#define RAMET_VFS_ERRORS_H

#include "core/err.h"

/* What was being done; the extended code of an I/O error depends on it. */
enum ramet_vfs_op {
    RAMET_OP_OPEN,
    RAMET_OP_READ,
    RAMET_OP_WRITE,
    RAMET_OP_TRUNCATE,
    RAMET_OP_COMMIT, /* prepare and sync: never plain SQLITE_BUSY */
    RAMET_OP_LOCK,
    RAMET_OP_DELETE,
    RAMET_OP_VERB, /* an SQL function or a pragma of ours */
};

/*
 * The SQLITE_* code for `rc`, docs/errors.md. `sys_errno` tells a local
 * "permission denied" (not 0) from a remote one. Never SQLITE_BUSY for
 * RAMET_OP_COMMIT: SQLite asserts that there.
 */
int ramet_vfs_code(enum ramet_vfs_op op, enum ramet_rc rc, int sys_errno);

/* Tell sqlite3_log() and RAMET_LOG of a failure that SQLite would reduce to
 * "unable to open database file" and the like. Not for SQLITE_BUSY. */
void ramet_vfs_report(int code, const char *path, const struct ramet_err *err);

#endif
