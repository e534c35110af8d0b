/*
 * test_methods.c - what SQLite never asks of a file of ours, or only in ways of its own;
 * and the VFS that was the default, in whose place ours is.
 *
 * usage: test_methods RAMET_SO IVERSION
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"
#include "tests/vfs/place.h"

static sqlite3_file *
file_of(sqlite3 *db, int op)
{
    sqlite3_file *file = NULL;

    assert_int_equal(sqlite3_file_control(db, "main", op, &file), SQLITE_OK);
    assert_non_null(file);
    return file;
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
    place_make("a.db", 1);
    db = place_open("a.db", "&psow=0");
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

    place_must(db, "BEGIN IMMEDIATE");
    assert_int_equal(
        sqlite3_file_control(db, "main", SQLITE_FCNTL_LOCKSTATE, &value),
        SQLITE_OK);
    assert_int_equal(value, 2); /* RESERVED */
    assert_int_equal(file->pMethods->xCheckReservedLock(file, &value),
                     SQLITE_OK);
    assert_int_equal(value, 1);
    place_must(db, "ROLLBACK");
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
    place_make("a.db", 1);
    db = place_open("a.db", "");
    place_must(db, "PRAGMA journal_mode=PERSIST");
    place_must(db, "BEGIN");
    place_must(db, "INSERT INTO t(v) VALUES(1)");
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
    place_must(db, "COMMIT");
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(place_rows("a.db"), 2);
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
    place_make("a.db", 1);
    place_path("a.db-journal", journal);
    place_path("a.db-wal", wal);
    place_path("other", plain);
    place_path("other-journal", other);
    close(open(plain, O_CREAT | O_WRONLY, 0644));
    db = place_open("a.db", "");
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
    place_make("a.db", 1);
    place_path("a.db", path);
    place_path("missing", missing);
    assert_int_equal(vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &is_there),
                     SQLITE_OK);
    assert_true(is_there);
    assert_int_equal(
        vfs->xAccess(vfs, missing, SQLITE_ACCESS_EXISTS, &is_there), SQLITE_OK);
    assert_false(is_there);
    assert_int_equal(vfs->xDelete(vfs, missing, 0), SQLITE_IOERR_DELETE_NOENT);

    /* As a file's name goes from a folder, whoever has it open. */
    db = place_open("a.db", "");
    assert_int_equal(place_number(db, "SELECT count(*) FROM t"), 1);
    assert_int_equal(vfs->xDelete(vfs, path, 1), SQLITE_OK);
    assert_int_not_equal(place_run(db, "INSERT INTO t(v) VALUES(1)"),
                         SQLITE_OK);
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
    place_path("gone.db", path);
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
    place_path("refused.db", path);
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
    library = plain->xDlOpen(plain, place_extension);
    assert_non_null(library);
    assert_non_null(plain->xDlSym(plain, library, "sqlite3_ramet_init"));
    plain->xDlClose(plain, library);
    if (place_under_version < 3)
        return;
    assert_non_null(plain->xGetSystemCall(plain, "open"));
    assert_non_null(plain->xNextSystemCall(plain, NULL));
    assert_int_equal(plain->xSetSystemCall(plain, "open", NULL), SQLITE_OK);
}

int
main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
#define WITH(test)                                                             \
    cmocka_unit_test_setup_teardown(test, place_set_up, place_tear_down)
        WITH(file_controls__answer_as_those_of_a_plain_file),
        WITH(a_journal__has_no_locks_and_is_the_only_one),
        WITH(companions_by_other_strings__are_seen_by_nobody),
        WITH(a_replica__is_there_and_can_be_deleted_by_name),
        WITH(a_file_that_goes_with_its_handle__is_gone),
        WITH(a_refused_file__does_nothing),
        WITH(the_default_of_before__still_does_all_it_did),
    };

    if (!place_begin(argc, argv))
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
