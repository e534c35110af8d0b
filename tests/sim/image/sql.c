/*
 * sql.c - a handle that is a connection of SQLite's, through the VFS.
 *
 * The "pages" of the model are rows: row k of a version has the bytes of page k,
 * and row 1 tells the version. An index follows the rows, and a table comes and
 * goes with what row 2 was last written by. Besides, some keep books, as others test
 * databases by: a bank, whose balances come to the same sum in each snapshot, and a
 * list to which each transaction appends its version, so that it is the line of those
 * that the snapshot comes from; and some write a second database, attached, in each
 * transaction.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "client/store/exchange.h"
#include "tests/sim/image/behind.h"
#include "tests/sim/image/native.h"
#include "tests/sim/image/play.h"

#define BUSY_MS 150
#define ACCOUNTS 8u
#define BALANCE 100u

int sqlite3_ramet_init(sqlite3 *connection, char **out_error,
                       const sqlite3_api_routines *api);

/* ---- errors ------------------------------------------------------------------- */

static enum ramet_rc
translate(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return RAMET_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return code == SQLITE_BUSY_SNAPSHOT ? RAMET_ESNAPSHOT : RAMET_EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return RAMET_ECORRUPT;
    case SQLITE_FULL:
        return RAMET_EFULL;
    case SQLITE_NOMEM:
        return RAMET_ENOMEM;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return RAMET_EIO;
    default:
        return RAMET_EINVAL;
    }
}

/* What SQLite's code stands for: the VFS knows more than it can say. */
static enum ramet_rc
result_of(sqlite3 *db, int code, struct ramet_err *err)
{
    const enum ramet_rc rc = translate(code);

    if (rc == RAMET_OK || (rc != RAMET_EBUSY && rc != RAMET_ECORRUPT &&
                           sim_error_behind(db, err) != RAMET_OK))
        return rc == RAMET_OK ? rc : err->code;
    return RAMET_FAIL(err, rc, "%s (%d)", sqlite3_errmsg(db), code);
}

static enum ramet_rc
run(sqlite3 *db, const char *sql, struct ramet_err *err)
{
    sim_error_forget(db);
    return result_of(db, sqlite3_exec(db, sql, NULL, NULL, NULL), err);
}

/* ---- opening -------------------------------------------------------------------- */

/* As the first connection that loads the extension. */
static int
load(sqlite3 *db, char **out_error, const sqlite3_api_routines *api)
{
    return sqlite3_ramet_init(db, out_error, api) == SQLITE_OK_LOAD_PERMANENTLY
               ? SQLITE_OK
               : SQLITE_ERROR;
}

/* Of the process's first thread. */
static void
sql_begin(void)
{
    sqlite3 *first = NULL;

    sim_native_begin();
    if (sqlite3_auto_extension((void (*)(void))load) != SQLITE_OK ||
        sqlite3_open(":memory:", &first) != SQLITE_OK ||
        sqlite3_cancel_auto_extension((void (*)(void))load) != 1)
        sim_fail("the extension can't be loaded: %s", sqlite3_errmsg(first));
    sqlite3_close(first);
}

static const char *
sync_word(void)
{
    return sim_env->sync == RAMET_SYNC_COMMIT ? "commit"
           : sim_env->sync == RAMET_SYNC_AUTO ? "auto"
                                              : "manual";
}

/* A refusal has words, and no number but CANTOPEN. */
static enum ramet_rc
refused(sqlite3 *db, int code, struct ramet_err *err)
{
    const char *const text = sqlite3_errmsg(db);
    enum ramet_rc rc = translate(code);

    if (strstr(text, "out of reach") != NULL ||
        strstr(text, "no answer") != NULL ||
        strstr(text, "server http://") != NULL)
        rc = RAMET_EUNREACHABLE;
    else if (strstr(text, "went back in time") != NULL)
        rc = RAMET_EWENTBACK;
    else if (strstr(text, "there is no LSN") != NULL)
        rc = RAMET_ENOTFOUND;
    return RAMET_FAIL(err, rc, "%s (%d)", text, code);
}

/* A replica that was never bound to a remote. */
static enum ramet_rc
attach(sqlite3 *db, struct ramet_err *err)
{
    char sql[120];
    int code;

    snprintf(sql, sizeof(sql), "ATTACH 'file:%s?vfs=ramet' AS other",
             sim_env->other);
    code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? RAMET_OK : refused(db, code, err);
}

static enum ramet_rc
sql_open(struct sim_handle *h, const char *at, void **out_file,
         struct ramet_err *err)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                      SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX;
    sqlite3 *db = NULL;
    const bool follows = at != NULL && strcmp(at, SIM_NEWEST) == 0;
    char name[300];
    char pragmas[120];
    enum ramet_rc rc;
    int code;

    snprintf(name, sizeof(name),
             "file:%s?vfs=ramet%s%s&sync=%s&cache_limit=%llu%s%s%s%s%s",
             sim_env->path, sim_env->url != NULL ? "&remote=" : "",
             sim_env->url != NULL ? sim_env->url : "",
             at == NULL ? sync_word() : "manual",
             (unsigned long long)sim_env->cache_limit,
             follows      ? "&replica=none"
             : at != NULL ? "&at="
                          : "",
             at != NULL && !follows ? at : "",
             at == NULL && sim_env->hydrates_auto ? "&hydrate=auto" : "",
             sim_env->profile != NULL ? "&profile=" : "",
             sim_env->profile != NULL ? sim_env->profile : "");
    code = sqlite3_open_v2(name, &db, flags, NULL);
    if (code != SQLITE_OK) {
        rc = refused(db, code, err);
        sqlite3_close(db);
        return rc;
    }
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    snprintf(pragmas, sizeof(pragmas),
             "PRAGMA page_size = %u; PRAGMA cache_size = %d", sim_page_size(),
             sim_chance(&h->rng, 30) ? 5 : 200);
    rc = run(db, pragmas, err);
    if (rc == RAMET_OK && at == NULL && sim_env->other != NULL)
        rc = attach(db, err);
    if (rc != RAMET_OK)
        sqlite3_close(db);
    else
        *out_file = db;
    return rc;
}

static void
sql_close(void *file)
{
    if (sqlite3_close(file) != SQLITE_OK)
        sim_fail("a connection can't be closed: %s", sqlite3_errmsg(file));
}

static enum ramet_rc
sql_pin(void *file, struct ramet_err *err)
{
    return run(file, "BEGIN", err);
}

static void
sql_unpin(void *file)
{
    if (!sqlite3_get_autocommit(file))
        sqlite3_exec(file, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- reading -------------------------------------------------------------------- */

static enum ramet_rc
prepare(sqlite3 *db, const char *sql, sqlite3_stmt **out_stmt,
        struct ramet_err *err)
{
    sim_error_forget(db);
    return result_of(db, sqlite3_prepare_v2(db, sql, -1, out_stmt, NULL), err);
}

/* The row that a statement stands on is row `k` of the version. */
static void
check_row(struct sim_handle *h, sqlite3_stmt *stmt, uint32_t version,
          uint32_t k)
{
    if ((uint32_t)sqlite3_column_int(stmt, 0) != k ||
        (uint32_t)sqlite3_column_bytes(stmt, 1) != sim_page_size())
        sim_fail("%s: version %u has row %d of %d bytes where it should have "
                 "%u",
                 h->name, version, sqlite3_column_int(stmt, 0),
                 sqlite3_column_bytes(stmt, 1), k);
    sim_page_check(version, k, sqlite3_column_blob(stmt, 1), h->name);
}

/* A number that a statement answers; -1: no row. */
static enum ramet_rc
ask(sqlite3 *db, const char *sql, int64_t *out, struct ramet_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum ramet_rc rc = prepare(db, sql, &stmt, err);

    *out = -1;
    if (rc != RAMET_OK)
        return rc;
    rc = result_of(db, sqlite3_step(stmt), err);
    if (rc == RAMET_OK && sqlite3_column_count(stmt) > 0 &&
        sqlite3_data_count(stmt) > 0)
        *out = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return rc;
}

static enum ramet_rc
read_rows(struct sim_handle *h, sqlite3 *db, uint32_t version,
          struct ramet_err *err)
{
    const uint32_t pages = sim_version_pages(version);
    sqlite3_stmt *stmt = NULL;
    uint32_t k = 0;
    enum ramet_rc rc =
        prepare(db, "SELECT k, data FROM rows ORDER BY k", &stmt, err);
    int code = SQLITE_DONE;

    while (rc == RAMET_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        k++;
        while (k <= pages && sim_version_stamp(version, k) == 0)
            k++;
        check_row(h, stmt, version, k);
    }
    if (rc == RAMET_OK)
        rc = result_of(db, code, err);
    sqlite3_finalize(stmt);
    for (k++; rc == RAMET_OK && k <= pages; k++)
        if (sim_version_stamp(version, k) != 0)
            sim_fail("%s: version %u lacks row %u", h->name, version, k);
    return rc;
}

/* What else follows from the version: the index, and the table that comes and
 * goes. */
static enum ramet_rc
read_schema(struct sim_handle *h, sqlite3 *db, uint32_t version,
            struct ramet_err *err)
{
    const uint32_t second = sim_version_stamp(version, 2);
    int64_t by_table, by_index, extra;
    enum ramet_rc rc;

    rc = ask(db, "SELECT sum(stamp) FROM rows NOT INDEXED", &by_table, err);
    if (rc == RAMET_OK)
        rc = ask(db, "SELECT sum(stamp) FROM rows INDEXED BY by_stamp",
                 &by_index, err);
    if (rc == RAMET_OK && by_table != by_index)
        sim_fail("%s: version %u: the index says %lld, the table %lld", h->name,
                 version, (long long)by_index, (long long)by_table);
    if (rc == RAMET_OK)
        rc = ask(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'extra'",
                 &extra, err);
    if (rc == RAMET_OK && extra != (second % 2))
        sim_fail("%s: version %u: %lld tables 'extra', by row 2 of %u", h->name,
                 version, (long long)extra, second);
    if (rc == RAMET_OK && extra == 1) {
        rc = ask(db, "SELECT x FROM extra", &extra, err);
        if (rc == RAMET_OK && extra != second)
            sim_fail("%s: version %u: 'extra' is of %lld, not of %u", h->name,
                     version, (long long)extra, second);
    }
    return rc;
}

/* Newest first, and each stands on the one before it. */
static enum ramet_rc
read_list(struct sim_handle *h, sqlite3 *db, uint32_t version,
          struct ramet_err *err)
{
    sqlite3_stmt *stmt = NULL;
    uint32_t next = version;
    int64_t pos = -1;
    int code = SQLITE_DONE;
    enum ramet_rc rc = prepare(
        db, "SELECT pos, version FROM list ORDER BY pos DESC", &stmt, err);

    while (rc == RAMET_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        if ((uint32_t)sqlite3_column_int(stmt, 1) != next ||
            (pos != -1 && sqlite3_column_int64(stmt, 0) != pos - 1))
            sim_fail("%s: version %u's list has %d at %lld, and %u should be "
                     "before %lld",
                     h->name, version, sqlite3_column_int(stmt, 1),
                     (long long)sqlite3_column_int64(stmt, 0), next,
                     (long long)pos);
        pos = sqlite3_column_int64(stmt, 0);
        next = sim_version_parent(next);
    }
    if (rc == RAMET_OK)
        rc = result_of(db, code, err);
    sqlite3_finalize(stmt);
    if (rc == RAMET_OK && (next != 0 || pos != 1))
        sim_fail("%s: version %u's list begins behind %u, at %lld", h->name,
                 version, next, (long long)pos);
    return rc;
}

static enum ramet_rc
read_books(struct sim_handle *h, sqlite3 *db, uint32_t version,
           struct ramet_err *err)
{
    int64_t sum = 0;
    enum ramet_rc rc = ask(db, "SELECT sum(balance) FROM bank", &sum, err);

    if (rc == RAMET_OK && sum != ACCOUNTS * BALANCE)
        sim_fail("%s: version %u: the accounts come to %lld", h->name, version,
                 (long long)sum);
    return rc == RAMET_OK ? read_list(h, db, version, err) : rc;
}

/* 0: nothing was written there yet. */
static enum ramet_rc
read_other(sqlite3 *db, uint32_t *out_version, struct ramet_err *err)
{
    int64_t number = 0;
    enum ramet_rc rc =
        ask(db, "SELECT count(*) FROM other.sqlite_schema WHERE name = 'last'",
            &number, err);

    if (rc == RAMET_OK && number == 1)
        rc = ask(db, "SELECT version FROM other.last", &number, err);
    *out_version = number < 0 ? 0 : (uint32_t)number;
    return rc;
}

static enum ramet_rc
check_integrity(struct sim_handle *h, sqlite3 *db, struct ramet_err *err)
{
    sqlite3_stmt *stmt = NULL;
    const char *answer;
    enum ramet_rc rc = prepare(db, "PRAGMA integrity_check", &stmt, err);

    if (rc == RAMET_OK)
        rc = result_of(db, sqlite3_step(stmt), err);
    if (rc != RAMET_OK) {
        sqlite3_finalize(stmt);
        return rc;
    }
    answer = (const char *)sqlite3_column_text(stmt, 0);
    if (strcmp(answer, "ok") != 0) {
        rc = sim_error_behind(db, err); /* a page that it could not read? */
        if (rc == RAMET_OK ||
            (strstr(answer, "failed to get page") == NULL &&
             strstr(answer, "unable to get the page") == NULL))
            sim_fail("%s: integrity_check: %s", h->name, answer);
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* The newest, and no view of it. */
static bool
has_attached(sqlite3 *db)
{
    return sim_env->other != NULL && sqlite3_db_filename(db, "other") != NULL;
}

static enum ramet_rc
sql_read(struct sim_handle *h, void *file, bool all, uint32_t *out_version,
         struct ramet_err *err)
{
    const struct sim_look look = sim_look_begin(sim_env->place);
    /* Only what is pinned now is as new as what was acknowledged by now. */
    const bool looks_at_other =
        has_attached(file) &&
        sqlite3_txn_state(file, "other") == SQLITE_TXN_NONE;
    sqlite3_stmt *stmt = NULL;
    uint32_t other = 0;
    int64_t tables = 0;
    enum ramet_rc rc = RAMET_OK;
    int code;

    *out_version = 0;
    if (looks_at_other) /* before the other one is pinned */
        rc = read_other(file, &other, err);
    if (rc == RAMET_OK)
        rc = ask(file, "SELECT count(*) FROM sqlite_schema", &tables, err);
    if (rc != RAMET_OK || tables == 0)
        return rc;
    rc = prepare(file, "SELECT k, data FROM rows WHERE k = 1", &stmt, err);
    if (rc != RAMET_OK)
        return rc;
    code = sqlite3_step(stmt);
    rc = result_of(file, code, err);
    if (rc == RAMET_OK && code != SQLITE_ROW)
        sim_fail("%s: there is no row 1", h->name);
    if (rc == RAMET_OK) {
        *out_version = sim_page1_version(sqlite3_column_blob(stmt, 1), h->name);
        check_row(h, stmt, *out_version, 1);
    }
    sqlite3_finalize(stmt);
    if (rc == RAMET_OK && all)
        rc = read_rows(h, file, *out_version, err);
    if (rc == RAMET_OK && looks_at_other)
        sim_other_seen(sim_env->place, &look, other, *out_version, h->name);
    if (rc == RAMET_OK && all)
        rc = read_schema(h, file, *out_version, err);
    if (rc == RAMET_OK && all && sim_env->keeps_books)
        rc = read_books(h, file, *out_version, err);
    if (rc == RAMET_OK && all && sim_chance(&h->rng, 20))
        rc = check_integrity(h, file, err);
    return rc;
}

void
sim_sql_read_plain(struct sim_handle *h, const char *path)
{
    struct ramet_err err = {.text = ""};
    sqlite3 *db = NULL;
    uint32_t version = 0;

    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, "simulated") ==
            SQLITE_OK &&
        sql_read(h, db, true, &version, &err) == RAMET_OK && version != 0)
        sim_kept_version(version);
    sim_env->found = version;
    sim_trace("%s is version %u %s", path, version, err.text);
    sqlite3_close(db);
}

/* ---- writing -------------------------------------------------------------------- */

static enum ramet_rc
open_books(sqlite3 *db, struct ramet_err *err)
{
    char sql[400];

    snprintf(sql, sizeof(sql),
             "CREATE TABLE IF NOT EXISTS list(pos INTEGER PRIMARY KEY, version "
             "UNIQUE);"
             "CREATE TABLE IF NOT EXISTS bank(id INTEGER PRIMARY KEY, balance);"
             "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n "
             "WHERE i < %u)"
             "INSERT OR IGNORE INTO bank SELECT i, %u FROM n",
             ACCOUNTS, BALANCE);
    return run(db, sql, err);
}

static enum ramet_rc
sql_reserve(void *file, struct ramet_err *err)
{
    enum ramet_rc rc = run(file,
                           "CREATE TABLE IF NOT EXISTS rows(k INTEGER PRIMARY "
                           "KEY, stamp, data)",
                           err);

    if (rc == RAMET_OK)
        rc = run(file,
                 "CREATE INDEX IF NOT EXISTS by_stamp ON rows(stamp, k);"
                 "DELETE FROM rows WHERE k = 0",
                 err);
    if (rc == RAMET_OK && sim_env->keeps_books)
        rc = open_books(file, err);
    if (rc == RAMET_OK && has_attached(file))
        rc = run(file,
                 "CREATE TABLE IF NOT EXISTS other.last(one INTEGER PRIMARY "
                 "KEY, version)",
                 err);
    return rc;
}

/* What each transaction does to the bank, to the list, and in the other database. */
static enum ramet_rc
write_books(struct sim_handle *h, uint32_t version, struct ramet_err *err)
{
    char sql[400];
    enum ramet_rc rc = RAMET_OK;

    if (sim_env->keeps_books) {
        const unsigned amount = (unsigned)sim_below(&h->rng, 50);

        snprintf(sql, sizeof(sql),
                 "INSERT OR IGNORE INTO list(version) VALUES(%u);"
                 "UPDATE bank SET balance = balance - %u WHERE id = %u;"
                 "UPDATE bank SET balance = balance + %u WHERE id = %u",
                 version, amount, (unsigned)sim_below(&h->rng, ACCOUNTS) + 1,
                 amount, (unsigned)sim_below(&h->rng, ACCOUNTS) + 1);
        rc = run(h->file, sql, err);
    }
    if (rc == RAMET_OK && has_attached(h->file)) {
        snprintf(sql, sizeof(sql), "REPLACE INTO other.last VALUES(1, %u)",
                 version);
        rc = run(h->file, sql, err);
    }
    return rc;
}

static enum ramet_rc
write_extra(sqlite3 *db, uint32_t version, struct ramet_err *err)
{
    char sql[160];

    snprintf(sql, sizeof(sql),
             version % 2 == 1 ? "DROP TABLE IF EXISTS extra;"
                                "CREATE TABLE extra(x);"
                                "INSERT INTO extra VALUES(%u)"
                              : "DROP TABLE IF EXISTS extra -- %u",
             version);
    return run(db, sql, err);
}

static enum ramet_rc
sql_write(struct sim_handle *h, uint32_t version, uint32_t pgno,
          struct ramet_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum ramet_rc rc =
        prepare(h->file, "REPLACE INTO rows VALUES(?, ?, ?)", &stmt, err);

    if (rc != RAMET_OK)
        return rc;
    sim_page_fill(version, pgno, h->bytes);
    sqlite3_bind_int(stmt, 1, (int)pgno);
    sqlite3_bind_int64(stmt, 2, version);
    sqlite3_bind_blob(stmt, 3, h->bytes, (int)sim_page_size(), SQLITE_STATIC);
    rc = result_of(h->file, sqlite3_step(stmt), err);
    sqlite3_finalize(stmt);
    if (rc == RAMET_OK && pgno == 2)
        rc = write_extra(h->file, version, err);
    return rc == RAMET_OK && pgno == 1 ? write_books(h, version, err) : rc;
}

static enum ramet_rc
sql_resize(struct sim_handle *h, uint32_t page_count, struct ramet_err *err)
{
    char sql[80];
    enum ramet_rc rc;

    snprintf(sql, sizeof(sql), "DELETE FROM rows WHERE k > %u", page_count);
    rc = run(h->file, sql, err);
    return rc == RAMET_OK && page_count < 2
               ? run(h->file, "DROP TABLE IF EXISTS extra", err)
               : rc;
}

/* One call: others may see it before it returns, and nobody if it fails. */
static enum ramet_rc
sql_commit(struct sim_handle *h, uint32_t version, bool syncs,
           struct ramet_err *err)
{
    enum ramet_rc rc;

    (void)syncs;
    sim_version_is(version, SIM_UNCERTAIN);
    rc = run(h->file, "COMMIT", err);
    if (rc == RAMET_OK)
        sim_version_is(version, SIM_COMMITTED);
    return rc;
}

static void
sql_rollback(void *file)
{
    sql_unpin(file);
}

/* ---- verbs ---------------------------------------------------------------------- */

static enum ramet_rc
sql_verb(struct sim_handle *h, enum sim_verb verb, uint64_t *out_lsn,
         struct ramet_err *err)
{
    struct ramet_session *const session = sim_session_behind(h->file);
    int64_t number = 0;
    uint64_t checked = 0;
    char sql[60];
    enum ramet_rc rc;

    if (session == NULL)
        return RAMET_FAIL(err, RAMET_EINVAL, "no replica is behind it");
    if (verb == SIM_CHECKPOINT)
        return ramet_session_checkpoint(session, sim_chance(&h->rng, 60), err);
    if (verb == SIM_EVICT)
        return ramet_session_evict(
            session, sim_below(&h->rng, 8) * sim_page_size(), err);
    if (verb == SIM_VERIFY)
        return ramet_session_verify(session, &checked, out_lsn, err);
    if (verb == SIM_DISCARD)
        return ramet_file_reset(sim_file_behind(h->file), true, NULL, 0, NULL,
                                err);
    snprintf(sql, sizeof(sql), "SELECT ramet_%s()", sim_verb_name(verb));
    rc = ask(h->file, sql, &number, err);
    *out_lsn = (uint64_t)number;
    return rc;
}

static void
sql_end(void)
{
    sqlite3_shutdown();
}

const struct sim_driver sim_sql_driver = {
    .begin = sql_begin,
    .open = sql_open,
    .close = sql_close,
    .pin = sql_pin,
    .unpin = sql_unpin,
    .read = sql_read,
    .reserve = sql_reserve,
    .write = sql_write,
    .resize = sql_resize,
    .commit = sql_commit,
    .rollback = sql_rollback,
    .verb = sql_verb,
    .end = sql_end,
};
