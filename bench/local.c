/*
 * local.c - one measurement of local speed: SQLite on its own VFS in WAL mode,
 * or on Ramet's, by prepared statements, so that the engine is what is
 * measured. bench/local.py runs it, interleaved, and prints ratios.
 *
 *     local MODE native|ramet EXTENSION DATABASE COUNT
 *
 * MODE: prepare commit-full commit-normal commit-normal-remote read-auto read-txn
 * scan bulk (where the database has a remote nothing is pushed meanwhile), and
 * with connections that come and go: open-read open-commit open-fresh idle.
 * idle keeps COUNT of them open and tells what memory the process has alone.
 * Prints {"ops": …, "seconds": …, "cpu_us": … (per operation)}.
 */
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define ROWS 200000
#define SCAN_ROWS 1000

static sqlite3 *db;
static bool is_native;
static bool is_full; /* synchronous */
static uint64_t random_state = 88172645463325252u;

static void
die(const char *what)
{
    fprintf(stderr, "local: %s: %s\n", what,
            db == NULL ? "no database" : sqlite3_errmsg(db));
    exit(1);
}

/* xorshift64: the same rows in each run. */
static int
random_row(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return 1 + (int)(random_state % ROWS);
}

static void
run(const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        die(sql);
}

static sqlite3_stmt *
prepare(const char *sql)
{
    sqlite3_stmt *stmt;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        die(sql);
    return stmt;
}

/* Step to the end; the number of rows. */
static int
drain(sqlite3_stmt *stmt)
{
    int rows = 0;
    int rc;

    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        rows++;
    if (rc != SQLITE_DONE)
        die("step");
    sqlite3_reset(stmt);
    return rows;
}

static void
load_extension(const char *extension)
{
    char *text = NULL;

    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        die("open");
    sqlite3_enable_load_extension(db, 1);
    if (sqlite3_load_extension(db, extension, NULL, &text) != SQLITE_OK) {
        fprintf(stderr, "local: %s\n", text);
        exit(1);
    }
    sqlite3_close(db); /* the VFS stays for the process */
}

static void
open_database(const char *path)
{
    char uri[4096];

    snprintf(uri, sizeof(uri), "file:%s%s", path,
             is_native ? "" : "?vfs=ramet&sync=manual");
    if (sqlite3_open(uri, &db) != SQLITE_OK)
        die(uri);
    sqlite3_busy_timeout(db, 10000);
    if (is_native)
        run("PRAGMA journal_mode=WAL");
    run(is_full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL");
}

static void
close_database(void)
{
    if (sqlite3_close(db) != SQLITE_OK)
        die("close");
    db = NULL;
}

/* The table that all other modes work on. */
static void
make_rows(void)
{
    sqlite3_stmt *insert;
    char text[101];

    run("CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, v TEXT)");
    run("CREATE TABLE log(id INTEGER PRIMARY KEY, k INTEGER, v TEXT)");
    run("CREATE INDEX log_k ON log(k)");
    insert = prepare("INSERT INTO t(k, v) VALUES(?1, ?2)");
    run("BEGIN");
    for (int i = 0; i < ROWS; i++) {
        snprintf(text, sizeof(text), "%0100d", random_row());
        sqlite3_bind_int(insert, 1, random_row());
        sqlite3_bind_text(insert, 2, text, -1, SQLITE_TRANSIENT);
        drain(insert);
    }
    run("COMMIT");
    sqlite3_finalize(insert);
    run("CREATE INDEX t_k ON t(k)");
}

static void
commits(long count)
{
    sqlite3_stmt *const update = prepare("UPDATE t SET v = ?2 WHERE id = ?1");
    char text[101];

    for (long i = 0; i < count; i++) {
        snprintf(text, sizeof(text), "%0100ld", i);
        sqlite3_bind_int(update, 1, random_row());
        sqlite3_bind_text(update, 2, text, -1, SQLITE_TRANSIENT);
        drain(update);
    }
    sqlite3_finalize(update);
}

static void
point_reads(long count)
{
    sqlite3_stmt *const read = prepare("SELECT v FROM t WHERE id = ?1");

    for (long i = 0; i < count; i++) {
        sqlite3_bind_int(read, 1, random_row());
        if (drain(read) != 1)
            die("a row is missing");
    }
    sqlite3_finalize(read);
}

static void
scans(long count)
{
    sqlite3_stmt *const scan =
        prepare("SELECT id, k, v FROM t WHERE id >= ?1 LIMIT 1000");

    for (long i = 0; i < count; i++) {
        sqlite3_bind_int(scan, 1, 1 + random_row() % (ROWS - SCAN_ROWS));
        if (drain(scan) != SCAN_ROWS)
            die("rows are missing");
    }
    sqlite3_finalize(scan);
}

static void
bulk(long count)
{
    sqlite3_stmt *const insert = prepare("INSERT INTO log(k, v) VALUES(?1,?2)");
    char text[101];

    for (long i = 0; i < count;) {
        run("BEGIN");
        for (long end = i + 10000; i < count && i < end; i++) {
            snprintf(text, sizeof(text), "%0100ld", i);
            sqlite3_bind_int(insert, 1, random_row());
            sqlite3_bind_text(insert, 2, text, -1, SQLITE_TRANSIENT);
            drain(insert);
        }
        run("COMMIT");
    }
    sqlite3_finalize(insert);
}

/* ---- connections that come and go ---------------------------------------- */

static void
open_and_read(const char *path, long count)
{
    for (long i = 0; i < count; i++) {
        open_database(path);
        point_reads(1);
        close_database();
    }
}

static void
open_and_commit(const char *path, long count)
{
    for (long i = 0; i < count; i++) {
        open_database(path);
        commits(1);
        close_database();
    }
}

/* What the ramet VFS deletes is more than a file. */
static void
open_fresh(const char *path, long count)
{
    sqlite3_vfs *const vfs = sqlite3_vfs_find(is_native ? NULL : "ramet");
    char fresh[4096];

    snprintf(fresh, sizeof(fresh), "%s-fresh", path);
    for (long i = 0; i < count; i++) {
        open_database(fresh);
        run("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)");
        close_database();
        if (vfs->xDelete(vfs, fresh, 0) != SQLITE_OK)
            die("delete");
    }
}

/* Memory of this process that no other shares, in KiB. */
static long
private_kib(void)
{
    FILE *const file = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    long sum = 0;
    long kib;

    if (file == NULL)
        die("smaps_rollup");
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "Private_Clean: %ld", &kib) == 1 ||
            sscanf(line, "Private_Dirty: %ld", &kib) == 1)
            sum += kib;
    fclose(file);
    return sum;
}

static void
keep_open(const char *path, long count)
{
    for (long i = 0; i < count; i++) { /* the process ends with them */
        open_database(path);
        point_reads(1);
    }
    printf("{\"connections\": %ld, \"private_kib\": %ld}\n", count,
           private_kib());
}

/* ---- measuring ------------------------------------------------------------ */

static double
seconds_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Modes that work on a connection that is open. */
static void
work(const char *mode, long count)
{
    if (strcmp(mode, "prepare") == 0)
        make_rows();
    else if (strncmp(mode, "commit-", 7) == 0)
        commits(count);
    else if (strncmp(mode, "read-", 5) == 0)
        point_reads(count);
    else if (strcmp(mode, "scan") == 0)
        scans(count);
    else if (strcmp(mode, "bulk") == 0)
        bulk(count);
    else
        die("no such mode");
}

static void
work_on_connections(const char *mode, const char *path, long count)
{
    if (strcmp(mode, "open-read") == 0)
        open_and_read(path, count);
    else if (strcmp(mode, "open-commit") == 0)
        open_and_commit(path, count);
    else if (strcmp(mode, "open-fresh") == 0)
        open_fresh(path, count);
    else
        die("no such mode");
}

int
main(int argc, char **argv)
{
    double wall, cpu;
    bool is_open;
    long count;

    if (argc != 6) {
        fprintf(stderr, "usage: local MODE native|ramet EXTENSION DATABASE "
                        "COUNT\n");
        return 2;
    }
    count = strtol(argv[5], NULL, 10);
    is_native = strcmp(argv[2], "native") == 0;
    is_full = strcmp(argv[1], "commit-full") == 0;
    is_open = strncmp(argv[1], "open-", 5) != 0;
    sqlite3_config(SQLITE_CONFIG_URI, 1);
    if (!is_native)
        load_extension(argv[3]);
    if (strcmp(argv[1], "idle") == 0) {
        keep_open(argv[4], count);
        return 0;
    }
    open_database(argv[4]);
    if (strcmp(argv[1], "read-txn") == 0)
        run("BEGIN");
    if (strcmp(argv[1], "prepare") != 0)
        point_reads(1000); /* opening and the schema are not measured */
    if (!is_open)
        close_database();

    wall = seconds_of(CLOCK_MONOTONIC);
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    if (is_open)
        work(argv[1], count);
    else
        work_on_connections(argv[1], argv[4], count);
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds_of(CLOCK_MONOTONIC) - wall;
    printf("{\"ops\": %ld, \"seconds\": %.6f, \"cpu_us\": %.3f}\n", count, wall,
           cpu * 1e6 / (double)(count > 0 ? count : 1));
    if (is_open)
        close_database();
    return 0;
}
