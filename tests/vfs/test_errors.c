/*
 * test_errors.c - what SQLite is told of each failure, as docs/errors.md says.
 */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RAMET_VFS_DEFINE_API
#include "vfs/api.h"
#include "vfs/errors.h"

#define OPS (RAMET_OP_VERB + 1)

/* By operation. */
static const int io_codes[OPS] = {
    [RAMET_OP_OPEN] = SQLITE_CANTOPEN,
    [RAMET_OP_READ] = SQLITE_IOERR_READ,
    [RAMET_OP_WRITE] = SQLITE_IOERR_WRITE,
    [RAMET_OP_TRUNCATE] = SQLITE_IOERR_TRUNCATE,
    [RAMET_OP_COMMIT] = SQLITE_IOERR_FSYNC,
    [RAMET_OP_LOCK] = SQLITE_IOERR_LOCK,
    [RAMET_OP_DELETE] = SQLITE_IOERR_DELETE,
    [RAMET_OP_VERB] = SQLITE_IOERR,
};

#define AS_IO (-1) /* io_codes */

/* Of most operations; and of those that differ. */
static const struct {
    enum ramet_rc rc;
    int usual, open, commit, verb;
} table[] = {
    {RAMET_OK, SQLITE_OK, SQLITE_OK, SQLITE_OK, SQLITE_OK},
    {RAMET_ENOMEM, SQLITE_NOMEM, SQLITE_NOMEM, SQLITE_NOMEM, SQLITE_NOMEM},
    {RAMET_EIO, AS_IO, AS_IO, AS_IO, AS_IO},
    {RAMET_ECORRUPT, SQLITE_CORRUPT, SQLITE_CORRUPT, SQLITE_CORRUPT,
     SQLITE_CORRUPT},
    {RAMET_EINVAL, AS_IO, AS_IO, SQLITE_ERROR, SQLITE_ERROR},
    {RAMET_ENOTFOUND, AS_IO, AS_IO, AS_IO, SQLITE_ERROR},
    {RAMET_EEXIST, AS_IO, AS_IO, AS_IO, SQLITE_ERROR},
    {RAMET_EBUSY, SQLITE_BUSY, SQLITE_BUSY, SQLITE_BUSY_SNAPSHOT, SQLITE_BUSY},
    {RAMET_ESNAPSHOT, SQLITE_BUSY_SNAPSHOT, SQLITE_BUSY_SNAPSHOT,
     SQLITE_BUSY_SNAPSHOT, SQLITE_BUSY_SNAPSHOT},
    {RAMET_ECONFLICT, SQLITE_BUSY_SNAPSHOT, SQLITE_BUSY_SNAPSHOT,
     SQLITE_BUSY_SNAPSHOT, SQLITE_BUSY_SNAPSHOT},
    {RAMET_EDIVERGED, SQLITE_BUSY_SNAPSHOT, SQLITE_BUSY_SNAPSHOT,
     SQLITE_BUSY_SNAPSHOT, SQLITE_ERROR},
    {RAMET_EUNREACHABLE, AS_IO, AS_IO, AS_IO, AS_IO},
    {RAMET_ETIMEOUT, AS_IO, AS_IO, AS_IO, AS_IO},
    {RAMET_EFULL, SQLITE_FULL, SQLITE_FULL, SQLITE_FULL, SQLITE_FULL},
    {RAMET_EREADONLY, SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_READONLY,
     SQLITE_READONLY},
    {RAMET_ETOOBIG, SQLITE_FULL, SQLITE_FULL, SQLITE_FULL, SQLITE_FULL},
    {RAMET_EVERSION, AS_IO, AS_IO, AS_IO, AS_IO},
    {RAMET_EUNKNOWN, AS_IO, AS_IO, SQLITE_IOERR_COMMIT_ATOMIC, AS_IO},
    {RAMET_EFOREIGN, AS_IO, AS_IO, AS_IO, SQLITE_ERROR},
    {RAMET_ECANCELLED, SQLITE_INTERRUPT, SQLITE_INTERRUPT, SQLITE_INTERRUPT,
     SQLITE_INTERRUPT},
    {RAMET_EFORKED, SQLITE_MISUSE, SQLITE_MISUSE, SQLITE_MISUSE, SQLITE_MISUSE},
    {RAMET_ECLOCK, AS_IO, AS_IO, AS_IO, SQLITE_ERROR},
    {RAMET_EWENTBACK, AS_IO, AS_IO, AS_IO, SQLITE_ERROR},
    {RAMET_EREFUSED, AS_IO, AS_IO, AS_IO, SQLITE_ERROR},
};

static void
each_failure__has_the_code_of_the_documents(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (int op = 0; op < OPS; op++) {
            int wanted = op == RAMET_OP_OPEN     ? table[i].open
                         : op == RAMET_OP_COMMIT ? table[i].commit
                         : op == RAMET_OP_VERB   ? table[i].verb
                                                 : table[i].usual;

            if (wanted == AS_IO)
                wanted = io_codes[op];
            if (ramet_vfs_code((enum ramet_vfs_op)op, table[i].rc, 0) != wanted)
                fail_msg("%s of operation %d", ramet_rc_name(table[i].rc), op);
        }
}

/* By the system, which has an errno, or by the remote. */
static void
not_permitted__by_whom_decides(void **state)
{
    (void)state;
    for (int op = 0; op < OPS; op++) {
        assert_int_equal(
            ramet_vfs_code((enum ramet_vfs_op)op, RAMET_EAUTH, EACCES),
            io_codes[op]);
        assert_int_equal(ramet_vfs_code((enum ramet_vfs_op)op, RAMET_EAUTH, 0),
                         op == RAMET_OP_READ ? SQLITE_IOERR_AUTH : SQLITE_AUTH);
    }
}

/* SQLite asserts that a commit is never plainly busy; and none is "internal". */
static void
no_code__is_one_that_sqlite_does_not_bear(void **state)
{
    (void)state;
    for (int rc = RAMET_RC_LEAST; rc < RAMET_OK; rc++)
        for (int op = 0; op < OPS; op++) {
            const int code =
                ramet_vfs_code((enum ramet_vfs_op)op, (enum ramet_rc)rc, 0);

            assert_int_not_equal(code, SQLITE_OK);
            assert_int_not_equal(code, SQLITE_INTERNAL);
            assert_true(op != RAMET_OP_COMMIT || code != SQLITE_BUSY);
        }
    assert_int_equal(ramet_vfs_code(RAMET_OP_READ, (enum ramet_rc)77, 0),
                     SQLITE_INTERNAL);
}

static int logged_code;
static char logged[200];

static void
keep_log(int code, const char *format, ...)
{
    va_list more;

    va_start(more, format);
    (void)vsnprintf(logged, sizeof(logged), format, more);
    va_end(more);
    logged_code = code;
}

static void
a_report__reaches_sqlites_log_with_path_and_text(void **state)
{
    static sqlite3_api_routines routines = {.log = keep_log};
    struct ramet_err err = {.code = RAMET_OK};

    (void)state;
    sqlite3_api = &routines;
    (void)RAMET_FAIL(&err, RAMET_EIO, "cannot write it");
    ramet_vfs_report(SQLITE_IOERR_WRITE, "/x/y.db", &err);
    assert_int_equal(logged_code, SQLITE_IOERR_WRITE);
    assert_string_equal(logged, "ramet: /x/y.db: cannot write it");
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_failure__has_the_code_of_the_documents),
        cmocka_unit_test(not_permitted__by_whom_decides),
        cmocka_unit_test(no_code__is_one_that_sqlite_does_not_bear),
        cmocka_unit_test(a_report__reaches_sqlites_log_with_path_and_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
