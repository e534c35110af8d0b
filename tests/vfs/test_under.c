/*
 * test_under.c - ramet.so on a VFS of which the n-th call fails (under.h), and what
 * SQLite never asks of a file of ours, or only in ways of its own.
 *
 * usage: test_under RAMET_SO IVERSION
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"
#include "tests/vfs/under.h"

#define BLOB 3000
#define ROWS 500 /* of such a transaction the journal spills: vfs/journal.h */

static const char *extension;
static int version;
static char folder[80];

/* ---- connections ----------------------------------------------------------- */

static sqlite3 *
open_name(const char *name, const char *parameters)
{
    sqlite3 *db = NULL;
    char uri[256];

    snprintf(uri, sizeof(uri), "file:%s/%s?vfs=ramet&sync=manual%s", folder,
             name, parameters);
    if (sqlite3_open_v2(uri, &db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                            SQLITE_OPEN_URI,
                        NULL) != SQLITE_OK) {
        sqlite3_close(db);
        db = NULL;
    }
    return db;
}

static int
run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static void
must(sqlite3 *db, const char *sql)
{
    if (run(db, sql) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

static long
number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    long value;

    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    value = (long)sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

static void
path_of(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", folder, name);
}

static void
make(const char *name, int rows)
{
    sqlite3 *const db = open_name(name, "");
    char sql[200];

    assert_non_null(db);
    must(db, "CREATE TABLE t(n INTEGER PRIMARY KEY, v)");
    snprintf(sql, sizeof(sql),
             "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c "
             "WHERE i < %d) INSERT INTO t SELECT i, zeroblob(%d) FROM c",
             rows, BLOB);
    must(db, sql);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void
remove_all(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static int
set_up(void **state)
{
    const char *const base = getenv("RAMET_TEST_TMP");

    (void)state;
    snprintf(folder, sizeof(folder), "%s/ramet-under-XXXXXX",
             base != NULL                    ? base
             : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                             : "/tmp");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    (void)under_disarm();
    remove_all();
    return 0;
}

static sqlite3_file *
file_of(sqlite3 *db, int op)
{
    sqlite3_file *file = NULL;

    assert_int_equal(sqlite3_file_control(db, "main", op, &file), SQLITE_OK);
    assert_non_null(file);
    return file;
}

/* ---- the n-th call fails ------------------------------------------------------ */

/* A transaction whose journal spills, with a savepoint that is rolled back out of
 * the spill; false: it failed, and was rolled back as far as it can be. */
static bool
rewrite_all(sqlite3 *db, const char *value)
{
    char sql[128];
    bool done;

    snprintf(sql, sizeof(sql), "UPDATE t SET v = %s", value);
    done = run(db, "BEGIN") == SQLITE_OK && run(db, sql) == SQLITE_OK &&
           run(db, "SAVEPOINT s") == SQLITE_OK &&
           run(db, "UPDATE t SET v = randomblob(3000)") == SQLITE_OK &&
           run(db, "ROLLBACK TO s") == SQLITE_OK &&
           run(db, "COMMIT") == SQLITE_OK;
    if (!done)
        (void)run(db, "ROLLBACK");
    return done;
}

static long
rows_with(const char *value)
{
    sqlite3 *const db = open_name("a.db", "");
    char sql[128];
    long count;

    assert_non_null(db);
    assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check "
                                "WHERE integrity_check = 'ok'"),
                     1);
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM t WHERE v = %s", value);
    count = number(db, sql);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return count;
}

static void
a_journal_that_spills__each_call_below_fails(void **state)
{
    static const int codes[] = {SQLITE_IOERR, SQLITE_FULL};
    int met = 0;

    (void)state;
    make("a.db", ROWS);
    for (int nth = 0;; nth += nth < 8 ? 1 : 29) {
        const char *const old = nth % 2 == 0 ? "x'00'" : "x'01'";
        const char *const new = nth % 2 == 0 ? "x'02'" : "x'03'";
        sqlite3 *db = open_name("a.db", "");
        bool done, fired;

        assert_non_null(db);
        must(db, "PRAGMA cache_size=10");
        assert_true(rewrite_all(db, old));
        under_fail_at(nth, codes[nth % 2]);
        done = rewrite_all(db, new);
        fired = under_disarm();
        met += fired;
        assert_true(done || fired);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_int_equal(under_open_files(), 0);
        assert_int_equal(rows_with(done ? new : old), ROWS);
        if (!fired)
            break;
    }
    assert_true(met > 10);
}

/* One more row in each of two databases. */
static bool
add_to_both(int row)
{
    sqlite3 *const db = open_name("a.db", "");
    char sql[256];
    bool done = db != NULL;

    snprintf(sql, sizeof(sql),
             "ATTACH 'file:%s/b.db?vfs=ramet&sync=manual' AS b", folder);
    done = done && run(db, sql) == SQLITE_OK && run(db, "BEGIN") == SQLITE_OK;
    snprintf(sql, sizeof(sql),
             "INSERT INTO main.t VALUES(%d, 1); INSERT INTO b.t VALUES(%d, 1)",
             row, row);
    done = done && run(db, sql) == SQLITE_OK && run(db, "COMMIT") == SQLITE_OK;
    sqlite3_close(db);
    return done;
}

static long
rows_of(const char *name)
{
    sqlite3 *const db = open_name(name, "");
    long count;

    assert_non_null(db);
    count = number(db, "SELECT count(*) FROM t");
    sqlite3_close(db);
    return count;
}

static void
a_commit_of_two_databases__each_call_below_fails(void **state)
{
    int row = 10;

    (void)state;
    make("a.db", 1);
    make("b.db", 1);
    for (int nth = 0;; nth++, row++) {
        const long before = rows_of("a.db");
        bool done, fired;

        assert_int_equal(rows_of("b.db"), before);
        under_fail_at(nth, SQLITE_IOERR);
        done = add_to_both(row);
        fired = under_disarm();
        assert_true(done || fired);
        assert_int_equal(under_open_files(), 0);
        assert_int_equal(rows_of("a.db"), rows_of("b.db"));
        if (done)
            assert_int_equal(rows_of("a.db"), before + 1);
        if (!fired)
            break;
    }
    assert_true(row > 15);
}

static void
an_opening__each_call_below_fails(void **state)
{
    char link[128], path[128];

    (void)state;
    make("a.db", 3);
    path_of("a.db", path);
    path_of("link.db", link);
    assert_int_equal(symlink(path, link), 0);
    for (int nth = 0;; nth++) {
        sqlite3 *db;
        bool fired;

        under_fail_at(nth, SQLITE_IOERR);
        db = open_name(nth % 2 == 0 ? "a.db" : "link.db", "");
        fired = under_disarm();
        assert_true(db != NULL || fired);
        if (db != NULL)
            assert_int_equal(number(db, "SELECT count(*) FROM t"), 3);
        sqlite3_close(db);
        assert_int_equal(under_open_files(), 0);
        if (!fired && nth % 2 == 1)
            break;
    }
}

/* What lies where the journal of a replica would: SQLite's own hot one stays. */
static void
a_journal_beside_it__goes_if_it_is_stale(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool stays;
    } cases[] = {
        {"", 0, false},
        {"no trailer, too short", 16, true},
        {"\0\0\0\1 but no magic at the end of it", 36, true},
        {"\0\4\0\1x\0\0\0\1\0\0\0\x78\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 21,
         false},
        {"\0\4\0\1x\0\0\0\2\0\0\0\x78\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 21,
         true},
        {"\1\4\0\1x\0\0\0\1\0\0\0\x78\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 21,
         true},
    };
    char journal[128];

    (void)state;
    make("a.db", 1);
    path_of("a.db-journal", journal);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sqlite3 *const db = open_name("a.db", "");
        const int fd = open(journal, O_CREAT | O_TRUNC | O_WRONLY, 0644);

        assert_non_null(db);
        assert_int_equal(write(fd, cases[i].bytes, cases[i].len),
                         (ssize_t)cases[i].len);
        close(fd);
        must(db, "INSERT INTO t(v) VALUES(1)");
        assert_int_equal(access(journal, F_OK), cases[i].stays ? 0 : -1);
        (void)unlink(journal);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
    }
    assert_int_equal(rows_of("a.db"), 7);
}

static void
a_stale_journal__is_left_where_it_cannot_be_read(void **state)
{
    char journal[128];

    (void)state;
    make("a.db", 1);
    path_of("a.db-journal", journal);
    for (int nth = 0;; nth++) {
        sqlite3 *const db = open_name("a.db", "");
        const int fd = open(journal, O_CREAT | O_TRUNC | O_WRONLY, 0644);
        bool fired;

        assert_non_null(db);
        assert_int_equal(
            write(fd,
                  "\0\4\0\1x\0\0\0\1\0\0\0\x78\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",
                  21),
            21);
        close(fd);
        under_fail_at(nth, SQLITE_IOERR);
        must(db, "INSERT INTO t(v) VALUES(1)"); /* no reason to fail a commit */
        fired = under_disarm();
        assert_int_equal(access(journal, F_OK), fired ? 0 : -1);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        if (!fired)
            break;
    }
    assert_int_equal(under_open_files(), 0);
}

/* ---- SQLite has no memory --------------------------------------------------- */

static sqlite3_mem_methods memory;
static int allocations_left = -1; /* < 0: as many as are asked for */

static bool
is_last_allocation(void)
{
    return allocations_left >= 0 && allocations_left-- == 0;
}

static void *
allocate(int size)
{
    return is_last_allocation() ? NULL : memory.xMalloc(size);
}

static void *
reallocate(void *block, int size)
{
    return is_last_allocation() ? NULL : memory.xRealloc(block, size);
}

static void
keep_memory(void)
{
    sqlite3_mem_methods counted;

    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory),
                     SQLITE_OK);
    counted = memory;
    counted.xMalloc = allocate;
    counted.xRealloc = reallocate;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &counted), SQLITE_OK);
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
}

/* Asks all that can be asked; false: it failed. */
static bool
ask_all(void)
{
    static const char *const questions[] = {
        "SELECT * FROM ramet_status",
        "SELECT * FROM ramet_status('main')",
        "SELECT * FROM ramet_log('main') ORDER BY lsn DESC",
        "SELECT ramet_lsn('main'), ramet_version(), ramet_errmsg()",
        "SELECT ramet_prefetch('SELECT * FROM t WHERE n = ?', 1)",
        "SELECT ramet_push()",
        "SELECT ramet_wait(1, 1000, 'main')",
        "PRAGMA ramet_version",
        "PRAGMA ramet_lsn",
        "PRAGMA ramet_errmsg",
        "PRAGMA ramet_wait=1",
        "PRAGMA locking_mode=exclusive",
        "PRAGMA journal_mode=wal",
        "PRAGMA locking_mode=normal",
        "INSERT INTO t(v) VALUES(1)",
        "DELETE FROM t WHERE v = 1",
    };
    sqlite3 *const db = open_name("a.db", "");
    bool done = db != NULL;

    for (size_t i = 0; done && i < sizeof(questions) / sizeof(questions[0]);
         i++)
        done = run(db, questions[i]) == SQLITE_OK;
    sqlite3_close(db);
    return done;
}

static void
all_that_is_asked__each_allocation_of_sqlite_fails(void **state)
{
    sqlite3 *db;
    char sql[64 + sizeof(folder)];
    int failed = 0;

    (void)state;
    make("a.db", 3);
    snprintf(sql, sizeof(sql), "&remote=file://%s/store/a", folder);
    db = open_name("a.db", sql);
    must(db, "SELECT ramet_push()");
    sqlite3_close(db);
    for (int nth = 0;; nth += nth < 40 ? 1 : 7) {
        bool done, fired;

        allocations_left = nth;
        done = ask_all();
        fired = allocations_left < 0;
        allocations_left = -1;
        assert_true(done || fired);
        failed += !done;
        assert_int_equal(under_open_files(), 0);
        assert_true(rows_of("a.db") == 3 || rows_of("a.db") == 4);
        db = open_name("a.db", "");
        must(db, "DELETE FROM t WHERE v = 1");
        sqlite3_close(db);
        if (!fired)
            break;
    }
    assert_true(failed > 50);
}

/* ---- methods --------------------------------------------------------------------- */

static void
file_controls__answer_as_those_of_a_plain_file(void **state)
{
    sqlite3 *db;
    sqlite3_file *file;
    char *name = NULL;
    int value;

    (void)state;
    make("a.db", 1);
    db = open_name("a.db", "&psow=0");
    assert_non_null(db);
    file = file_of(db, SQLITE_FCNTL_FILE_POINTER);

    value = -1;
    assert_int_equal(file->pMethods->xFileControl(
                         file, SQLITE_FCNTL_POWERSAFE_OVERWRITE, &value),
                     SQLITE_OK);
    assert_int_equal(value, 0); /* as the URI says */
    assert_int_equal(file->pMethods->xDeviceCharacteristics(file), 0);
    value = 1;
    assert_int_equal(file->pMethods->xFileControl(
                         file, SQLITE_FCNTL_POWERSAFE_OVERWRITE, &value),
                     SQLITE_OK);
    assert_int_equal(file->pMethods->xDeviceCharacteristics(file),
                     SQLITE_IOCAP_POWERSAFE_OVERWRITE);

    value = 1;
    assert_int_equal(
        sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &value),
        SQLITE_OK);
    value = -1;
    assert_int_equal(
        sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &value),
        SQLITE_OK);
    assert_int_equal(value, 0); /* there is none to persist */

    must(db, "BEGIN IMMEDIATE");
    assert_int_equal(
        sqlite3_file_control(db, "main", SQLITE_FCNTL_LOCKSTATE, &value),
        SQLITE_OK);
    assert_int_equal(value, 2); /* RESERVED */
    assert_int_equal(file->pMethods->xCheckReservedLock(file, &value),
                     SQLITE_OK);
    assert_int_equal(value, 1);
    must(db, "ROLLBACK");
    assert_int_equal(file->pMethods->xCheckReservedLock(file, &value),
                     SQLITE_OK);
    assert_int_equal(value, 0);

    assert_int_equal(
        sqlite3_file_control(db, "main", SQLITE_FCNTL_HAS_MOVED, &value),
        SQLITE_OK);
    assert_int_equal(value, 0);
    assert_int_equal(
        sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &value),
        SQLITE_OK);
    assert_int_equal(value, 0);
    value = 1 << 20;
    assert_int_equal(
        sqlite3_file_control(db, "main", SQLITE_FCNTL_CHUNK_SIZE, &value),
        SQLITE_OK);
    assert_int_equal(
        sqlite3_file_control(db, "main", SQLITE_FCNTL_VFSNAME, &name),
        SQLITE_OK);
    assert_string_equal(name, "ramet");
    sqlite3_free(name);
    assert_int_equal(sqlite3_file_control(db, "main", 4711, &value),
                     SQLITE_NOTFOUND);
    assert_int_equal(file->pMethods->xSectorSize(file), 4096);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void
a_journal__has_no_locks_and_is_the_only_one(void **state)
{
    sqlite3_vfs *const vfs = sqlite3_vfs_find("ramet");
    sqlite3_file *journal, *second = calloc(1, (size_t)vfs->szOsFile);
    sqlite3 *db;
    int value = 1;

    (void)state;
    make("a.db", 1);
    db = open_name("a.db", "");
    must(db, "PRAGMA journal_mode=PERSIST");
    must(db, "BEGIN");
    must(db, "INSERT INTO t(v) VALUES(1)");
    journal = file_of(db, SQLITE_FCNTL_JOURNAL_POINTER);
    assert_int_equal(journal->pMethods->xLock(journal, 1), SQLITE_OK);
    assert_int_equal(journal->pMethods->xCheckReservedLock(journal, &value),
                     SQLITE_OK);
    assert_int_equal(value, 0);
    assert_int_equal(journal->pMethods->xUnlock(journal, 0), SQLITE_OK);
    assert_int_equal(journal->pMethods->xFileControl(journal, 4711, NULL),
                     SQLITE_NOTFOUND);
    assert_int_equal(journal->pMethods->xDeviceCharacteristics(journal), 0);

    assert_int_equal(
        vfs->xOpen(vfs,
                   sqlite3_filename_journal(sqlite3_db_filename(db, "main")),
                   second,
                   SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_READWRITE |
                       SQLITE_OPEN_CREATE,
                   &value),
        SQLITE_CANTOPEN);
    must(db, "COMMIT");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(rows_of("a.db"), 2);
    free(second);
}

/* By copies of names, which a VFS above ours may make. */
static void
companions_by_other_strings__are_seen_by_nobody(void **state)
{
    sqlite3_vfs *const vfs = sqlite3_vfs_find("ramet");
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    char journal[128], wal[128], plain[128], other[128], byte = 7;
    sqlite3 *db;
    int out = 0;

    (void)state;
    make("a.db", 1);
    path_of("a.db-journal", journal);
    path_of("a.db-wal", wal);
    path_of("other", plain);
    path_of("other-journal", other);
    close(open(plain, O_CREAT | O_WRONLY, 0644));
    db = open_name("a.db", "");
    assert_int_equal(
        vfs->xOpen(vfs, journal, file, flags | SQLITE_OPEN_MAIN_JOURNAL, &out),
        SQLITE_OK);
    assert_int_equal(file->pMethods->xWrite(file, &byte, 1, 0), SQLITE_OK);
    assert_int_equal(access(journal, F_OK), -1);
    assert_int_equal(vfs->xDelete(vfs, journal, 0), SQLITE_OK);
    byte = 0;
    assert_int_equal(file->pMethods->xRead(file, &byte, 1, 0), SQLITE_OK);
    assert_int_equal(byte, 7);
    assert_int_equal(file->pMethods->xClose(file), SQLITE_OK);

    assert_int_equal(vfs->xOpen(vfs, wal, file, flags | SQLITE_OPEN_WAL, &out),
                     SQLITE_CANTOPEN);
    assert_int_equal(
        vfs->xOpen(vfs, other, file, flags | SQLITE_OPEN_MAIN_JOURNAL, &out),
        SQLITE_OK); /* of a plain file */
    assert_int_equal(file->pMethods->xClose(file), SQLITE_OK);
    assert_int_equal(access(other, F_OK), 0);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(under_open_files(), 0);
    free(file);
}

static void
a_replica__is_there_and_can_be_deleted_by_name(void **state)
{
    sqlite3_vfs *const vfs = sqlite3_vfs_find("ramet");
    char path[128], missing[128];
    sqlite3 *db;
    int is_there = 0;

    (void)state;
    make("a.db", 1);
    path_of("a.db", path);
    path_of("missing", missing);
    assert_int_equal(vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &is_there),
                     SQLITE_OK);
    assert_true(is_there);
    assert_int_equal(
        vfs->xAccess(vfs, missing, SQLITE_ACCESS_EXISTS, &is_there), SQLITE_OK);
    assert_false(is_there);
    assert_int_equal(vfs->xDelete(vfs, missing, 0), SQLITE_IOERR_DELETE_NOENT);

    /* As a file's name goes from a folder, whoever has it open. */
    db = open_name("a.db", "");
    assert_int_equal(number(db, "SELECT count(*) FROM t"), 1);
    assert_int_equal(vfs->xDelete(vfs, path, 1), SQLITE_OK);
    assert_int_not_equal(run(db, "INSERT INTO t(v) VALUES(1)"), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &is_there),
                     SQLITE_OK);
    assert_false(is_there);
}

static void
a_file_that_goes_with_its_handle__is_gone(void **state)
{
    sqlite3_vfs *const vfs = sqlite3_vfs_find("ramet");
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    char path[128];
    const char *name;
    int out = 0;
    int is_there = 0;

    (void)state;
    path_of("gone.db", path);
    name = sqlite3_create_filename(path, "", "", 0, NULL);
    assert_int_equal(vfs->xOpen(vfs, name, file,
                                SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE |
                                    SQLITE_OPEN_CREATE | SQLITE_OPEN_EXCLUSIVE |
                                    SQLITE_OPEN_DELETEONCLOSE,
                                &out),
                     SQLITE_OK);
    assert_int_equal(vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &is_there),
                     SQLITE_OK);
    assert_true(is_there);
    assert_int_equal(file->pMethods->xClose(file), SQLITE_OK);
    assert_int_equal(vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &is_there),
                     SQLITE_OK);
    assert_false(is_there);
    sqlite3_free_filename(name);
    free(file);
}

/* An open that is refused is one with words (refusal.h). */
static void
a_refused_file__does_nothing(void **state)
{
    sqlite3_vfs *const vfs = sqlite3_vfs_find("ramet");
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    const char *const parameters[] = {"sync", "sometimes"};
    char path[128], bytes[100];
    const sqlite3_io_methods *methods;
    sqlite3_int64 size = 1;
    const char *name;
    int out = 0;

    (void)state;
    path_of("refused.db", path);
    name = sqlite3_create_filename(path, "", "", 1, (const char **)parameters);
    assert_int_equal(vfs->xOpen(vfs, name, file,
                                SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE |
                                    SQLITE_OPEN_CREATE,
                                &out),
                     SQLITE_OK);
    methods = file->pMethods;
    assert_int_equal(methods->xRead(file, bytes, sizeof(bytes), 0),
                     SQLITE_IOERR_SHORT_READ);
    assert_int_equal(methods->xFileSize(file, &size), SQLITE_OK);
    assert_int_equal(size, 0);
    assert_int_equal(methods->xWrite(file, bytes, 1, 0), SQLITE_CANTOPEN);
    assert_int_equal(methods->xTruncate(file, 0), SQLITE_CANTOPEN);
    assert_int_equal(methods->xSync(file, 0), SQLITE_CANTOPEN);
    assert_int_equal(methods->xLock(file, 1), SQLITE_CANTOPEN);
    assert_int_equal(methods->xUnlock(file, 0), SQLITE_OK);
    assert_int_equal(methods->xCheckReservedLock(file, &out), SQLITE_CANTOPEN);
    assert_int_equal(methods->xFileControl(file, 4711, NULL), SQLITE_NOTFOUND);
    assert_int_equal(methods->xSectorSize(file), 4096);
    assert_int_equal(methods->xDeviceCharacteristics(file), 0);
    assert_int_equal(methods->xClose(file), SQLITE_OK);
    assert_int_equal(access(path, F_OK), -1);
    sqlite3_free_filename(name);
    free(file);
}

/* ---- in the place of the default -------------------------------------------------- */

static void
the_default_of_before__still_does_all_it_did(void **state)
{
    sqlite3_vfs *const plain = sqlite3_vfs_find(UNDER_NAME);
    sqlite3_int64 now_ms = 0;
    double days = 0;
    char bytes[64];
    void *library;

    (void)state;
    assert_non_null(plain);
    assert_string_equal(sqlite3_vfs_find(NULL)->zName, "ramet-auto");
    assert_int_equal(plain->xCurrentTime(plain, &days), SQLITE_OK);
    assert_int_equal(plain->xCurrentTimeInt64(plain, &now_ms), SQLITE_OK);
    assert_true((double)now_ms >= days * 86400000.0 - 1000);
    assert_true((double)now_ms < days * 86400000.0 + 600000);
    assert_true(plain->xRandomness(plain, sizeof(bytes), bytes) > 0);
    assert_true(plain->xSleep(plain, 1) >= 1);
    assert_true(plain->xGetLastError(plain, sizeof(bytes), bytes) >= 0);
    library = plain->xDlOpen(plain, "/nowhere/at/all.so");
    assert_null(library);
    plain->xDlError(plain, sizeof(bytes), bytes);
    assert_non_null(strstr(bytes, "nowhere"));
    library = plain->xDlOpen(plain, extension);
    assert_non_null(library);
    assert_non_null(plain->xDlSym(plain, library, "sqlite3_ramet_init"));
    plain->xDlClose(plain, library);
    if (version < 3)
        return;
    assert_non_null(plain->xGetSystemCall(plain, "open"));
    assert_non_null(plain->xNextSystemCall(plain, NULL));
    assert_int_equal(plain->xSetSystemCall(plain, "open", NULL), SQLITE_OK);
}

int
main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        WITH(a_journal_that_spills__each_call_below_fails),
        WITH(a_commit_of_two_databases__each_call_below_fails),
        WITH(an_opening__each_call_below_fails),
        WITH(a_journal_beside_it__goes_if_it_is_stale),
        WITH(a_stale_journal__is_left_where_it_cannot_be_read),
        WITH(all_that_is_asked__each_allocation_of_sqlite_fails),
        WITH(file_controls__answer_as_those_of_a_plain_file),
        WITH(a_journal__has_no_locks_and_is_the_only_one),
        WITH(companions_by_other_strings__are_seen_by_nobody),
        WITH(a_replica__is_there_and_can_be_deleted_by_name),
        WITH(a_file_that_goes_with_its_handle__is_gone),
        WITH(a_refused_file__does_nothing),
        WITH(the_default_of_before__still_does_all_it_did),
    };
    sqlite3 *loader = NULL;
    char *text = NULL;
    int failed;

    if (argc != 3) {
        fprintf(stderr, "usage: test_under RAMET_SO IVERSION\n");
        return 2;
    }
    extension = argv[1];
    version = atoi(argv[2]);
    keep_memory();
    under_register(version);
    setenv("RAMET_DEFAULT_VFS", "1", 1);
    if (sqlite3_open(":memory:", &loader) != SQLITE_OK ||
        sqlite3_enable_load_extension(loader, 1) != SQLITE_OK ||
        sqlite3_load_extension(loader, extension, NULL, &text) != SQLITE_OK) {
        fprintf(stderr, "%s\n", text);
        return 2;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    sqlite3_close(loader);
    return failed != 0;
}
