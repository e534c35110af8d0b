/*
 * test_under.c - ramet.so on a VFS of which the n-th call fails (under.h), and in a
 * program in which SQLite's n-th allocation does.
 *
 * usage: test_under RAMET_SO IVERSION
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"
#include "tests/vfs/place.h"

#define ROWS 500 /* of such a transaction the journal spills: vfs/journal.h */

/* ---- the n-th call fails ------------------------------------------------------ */

/* A transaction whose journal spills, with a savepoint that is rolled back out of
 * the spill; false: it failed, and was rolled back as far as it can be. */
static bool
rewrite_all(sqlite3 *db, const char *value)
{
    char sql[128];
    bool done;

    snprintf(sql, sizeof(sql), "UPDATE t SET v = %s", value);
    done = place_run(db, "BEGIN") == SQLITE_OK &&
           place_run(db, sql) == SQLITE_OK &&
           place_run(db, "SAVEPOINT s") == SQLITE_OK &&
           place_run(db, "UPDATE t SET v = randomblob(3000)") == SQLITE_OK &&
           place_run(db, "ROLLBACK TO s") == SQLITE_OK &&
           place_run(db, "COMMIT") == SQLITE_OK;
    if (!done)
        (void)place_run(db, "ROLLBACK");
    return done;
}

static long
rows_with(const char *value)
{
    sqlite3 *const db = place_open("a.db", "");
    char sql[128];
    long count;

    assert_non_null(db);
    assert_int_equal(place_number(db,
                                  "SELECT count(*) FROM pragma_integrity_check "
                                  "WHERE integrity_check = 'ok'"),
                     1);
    snprintf(sql, sizeof(sql), "SELECT count(*) FROM t WHERE v = %s", value);
    count = place_number(db, sql);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return count;
}

static void
a_journal_that_spills__each_call_below_fails(void **state)
{
    static const int codes[] = {SQLITE_IOERR, SQLITE_FULL};
    int met = 0;

    (void)state;
    place_make("a.db", ROWS);
    for (int nth = 0;; nth += nth < 8 ? 1 : 29) {
        const char *const old = nth % 2 == 0 ? "x'00'" : "x'01'";
        const char *const new = nth % 2 == 0 ? "x'02'" : "x'03'";
        sqlite3 *db = place_open("a.db", "");
        bool done, fired;

        assert_non_null(db);
        place_must(db, "PRAGMA cache_size=10");
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
    sqlite3 *const db = place_open("a.db", "");
    char sql[256];
    bool done = db != NULL;

    snprintf(sql, sizeof(sql),
             "ATTACH 'file:%s/b.db?vfs=ramet&sync=manual' AS b", place_folder);
    done = done && place_run(db, sql) == SQLITE_OK &&
           place_run(db, "BEGIN") == SQLITE_OK;
    snprintf(sql, sizeof(sql),
             "INSERT INTO main.t VALUES(%d, 1); INSERT INTO b.t VALUES(%d, 1)",
             row, row);
    done = done && place_run(db, sql) == SQLITE_OK &&
           place_run(db, "COMMIT") == SQLITE_OK;
    sqlite3_close(db);
    return done;
}

static void
a_commit_of_two_databases__each_call_below_fails(void **state)
{
    int row = 10;

    (void)state;
    place_make("a.db", 1);
    place_make("b.db", 1);
    for (int nth = 0;; nth++, row++) {
        const long before = place_rows("a.db");
        bool done, fired;

        assert_int_equal(place_rows("b.db"), before);
        under_fail_at(nth, SQLITE_IOERR);
        done = add_to_both(row);
        fired = under_disarm();
        assert_true(done || fired);
        assert_int_equal(under_open_files(), 0);
        assert_int_equal(place_rows("a.db"), place_rows("b.db"));
        if (done)
            assert_int_equal(place_rows("a.db"), before + 1);
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
    place_make("a.db", 3);
    place_path("a.db", path);
    place_path("link.db", link);
    assert_int_equal(symlink(path, link), 0);
    for (int nth = 0;; nth++) {
        sqlite3 *db;
        bool fired;

        under_fail_at(nth, SQLITE_IOERR);
        db = place_open(nth % 2 == 0 ? "a.db" : "link.db", "");
        fired = under_disarm();
        assert_true(db != NULL || fired);
        if (db != NULL)
            assert_int_equal(place_number(db, "SELECT count(*) FROM t"), 3);
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
        {"\0\0\0\1 but no magic at the end of it", 34, true},
        {"\0\4\0\1x\0\0\0\1\0\0\0\x78\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 21,
         false},
        {"\0\4\0\1x\0\0\0\2\0\0\0\x78\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 21,
         true},
        {"\1\4\0\1x\0\0\0\1\0\0\0\x78\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 21,
         true},
    };
    char journal[128];

    (void)state;
    place_make("a.db", 1);
    place_path("a.db-journal", journal);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sqlite3 *const db = place_open("a.db", "");
        const int fd = open(journal, O_CREAT | O_TRUNC | O_WRONLY, 0644);

        assert_non_null(db);
        assert_int_equal(write(fd, cases[i].bytes, cases[i].len),
                         (ssize_t)cases[i].len);
        close(fd);
        place_must(db, "INSERT INTO t(v) VALUES(1)");
        assert_int_equal(access(journal, F_OK), cases[i].stays ? 0 : -1);
        (void)unlink(journal);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
    }
    assert_int_equal(place_rows("a.db"), 7);
}

static void
a_stale_journal__is_left_where_it_cannot_be_read(void **state)
{
    char journal[128];

    (void)state;
    place_make("a.db", 1);
    place_path("a.db-journal", journal);
    for (int nth = 0;; nth++) {
        sqlite3 *const db = place_open("a.db", "");
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
        place_must(
            db, "INSERT INTO t(v) VALUES(1)"); /* no reason to fail a commit */
        fired = under_disarm();
        assert_int_equal(access(journal, F_OK), fired ? 0 : -1);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        if (!fired)
            break;
    }
    assert_int_equal(under_open_files(), 0);
}

/* ---- SQLite has no memory --------------------------------------------------- */

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
    sqlite3 *const db = place_open("a.db", "");
    bool done = db != NULL;

    for (size_t i = 0; done && i < sizeof(questions) / sizeof(questions[0]);
         i++)
        done = place_run(db, questions[i]) == SQLITE_OK;
    sqlite3_close(db);
    return done;
}

static void
all_that_is_asked__each_allocation_of_sqlite_fails(void **state)
{
    sqlite3 *db;
    char sql[64 + sizeof(place_folder)];
    int failed = 0;

    (void)state;
    place_make("a.db", 3);
    snprintf(sql, sizeof(sql), "&remote=file://%s/store/a", place_folder);
    db = place_open("a.db", sql);
    place_must(db, "SELECT ramet_push()");
    sqlite3_close(db);
    for (int nth = 0;; nth += nth < 40 ? 1 : 7) {
        bool done, fired;

        place_allocations_left = nth;
        done = ask_all();
        fired = place_allocations_left < 0;
        place_allocations_left = -1;
        assert_true(done || fired);
        failed += !done;
        assert_int_equal(under_open_files(), 0);
        assert_true(place_rows("a.db") == 3 || place_rows("a.db") == 4);
        db = place_open("a.db", "");
        place_must(db, "DELETE FROM t WHERE v = 1");
        sqlite3_close(db);
        if (!fired)
            break;
    }
    assert_true(failed > 50);
}

int
main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
#define WITH(test)                                                             \
    cmocka_unit_test_setup_teardown(test, place_set_up, place_tear_down)
        WITH(a_journal_that_spills__each_call_below_fails),
        WITH(a_commit_of_two_databases__each_call_below_fails),
        WITH(an_opening__each_call_below_fails),
        WITH(a_journal_beside_it__goes_if_it_is_stale),
        WITH(a_stale_journal__is_left_where_it_cannot_be_read),
        WITH(all_that_is_asked__each_allocation_of_sqlite_fails),
    };

    if (!place_begin(argc, argv))
        return 2;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
