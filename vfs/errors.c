/*
 * errors.c - see errors.h; docs/errors.md is the table in words.
 */
#include "vfs/errors.h"

#include <assert.h>

#include "core/log.h"
#include "vfs/api.h"

static int
io_code(enum ramet_vfs_op op)
{
    switch (op) {
    case RAMET_OP_OPEN:
        return SQLITE_CANTOPEN;
    case RAMET_OP_READ:
        return SQLITE_IOERR_READ;
    case RAMET_OP_WRITE:
        return SQLITE_IOERR_WRITE;
    case RAMET_OP_TRUNCATE:
        return SQLITE_IOERR_TRUNCATE;
    case RAMET_OP_COMMIT:
        return SQLITE_IOERR_FSYNC;
    case RAMET_OP_LOCK:
        return SQLITE_IOERR_LOCK;
    case RAMET_OP_DELETE:
        return SQLITE_IOERR_DELETE;
    case RAMET_OP_VERB:
        return SQLITE_IOERR;
    }
    return SQLITE_IOERR;
}

/* Somebody else holds what we need. A commit must not say so plainly. */
static int
busy_code(enum ramet_vfs_op op)
{
    return op == RAMET_OP_COMMIT ? SQLITE_BUSY_SNAPSHOT : SQLITE_BUSY;
}

/* Not permitted: by this machine (the file stays shut), or by the remote. */
static int
auth_code(enum ramet_vfs_op op, int sys_errno)
{
    if (sys_errno != 0)
        return op == RAMET_OP_OPEN ? SQLITE_CANTOPEN : io_code(op);
    return op == RAMET_OP_READ ? SQLITE_IOERR_AUTH : SQLITE_AUTH;
}

int
ramet_vfs_code(enum ramet_vfs_op op, enum ramet_rc rc, int sys_errno)
{
    switch (rc) {
    case RAMET_OK:
        return SQLITE_OK;
    case RAMET_ENOMEM:
        return SQLITE_NOMEM;
    case RAMET_EIO:
    case RAMET_EUNREACHABLE:
    case RAMET_ETIMEOUT:
    case RAMET_EVERSION:
        return io_code(op);
    /* What only a user can mend: no code after which a program tries again. */
    case RAMET_ECLOCK:
    case RAMET_EWENTBACK:
    case RAMET_EREFUSED:
        return op == RAMET_OP_VERB ? SQLITE_ERROR : io_code(op);
    case RAMET_ECORRUPT:
        return SQLITE_CORRUPT;
    case RAMET_EINVAL:
        return op == RAMET_OP_VERB || op == RAMET_OP_COMMIT ? SQLITE_ERROR
                                                            : io_code(op);
    case RAMET_ENOTFOUND:
    case RAMET_EEXIST:
    case RAMET_EFOREIGN:
        return op == RAMET_OP_VERB ? SQLITE_ERROR : io_code(op);
    case RAMET_EBUSY:
        return busy_code(op);
    case RAMET_ESNAPSHOT:
    case RAMET_ECONFLICT:
        return SQLITE_BUSY_SNAPSHOT;
    case RAMET_EDIVERGED:
        return op == RAMET_OP_VERB ? SQLITE_ERROR : SQLITE_BUSY_SNAPSHOT;
    case RAMET_EAUTH:
        return auth_code(op, sys_errno);
    case RAMET_EFULL:
    case RAMET_ETOOBIG:
        return SQLITE_FULL;
    case RAMET_EREADONLY:
        return op == RAMET_OP_OPEN ? SQLITE_CANTOPEN : SQLITE_READONLY;
    case RAMET_EUNKNOWN:
        /* Told apart from every other failure of a commit: the transaction
         * is rolled back here, and may yet arrive from the remote. */
        return op == RAMET_OP_COMMIT ? SQLITE_IOERR_COMMIT_ATOMIC : io_code(op);
    case RAMET_ECANCELLED:
        return SQLITE_INTERRUPT;
    case RAMET_EFORKED:
        return SQLITE_MISUSE;
    }
    return SQLITE_INTERNAL;
}

void
ramet_vfs_report(int code, const char *path, const struct ramet_err *err)
{
    char number[RAMET_LOG_NUM_SIZE];

    assert(code != SQLITE_OK && path != NULL);
    sqlite3_log(code, "ramet: %s: %s", path, err->text);
    ramet_log(RAMET_LOG_ERROR, err->text, "path", path, "error",
              ramet_rc_name(err->code), "sqlite",
              ramet_log_num(number, (uint64_t)(unsigned)code), NULL);
}
