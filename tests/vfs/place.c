/*
 * place.c - see place.h.
 */
#include "tests/vfs/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#define BLOB 3000

char place_folder[80];
const char *place_extension;
int place_under_version;
int place_allocations_left = -1;

/* ---- memory ---- */

static sqlite3_mem_methods memory;

static bool
is_last_allocation(void)
{
    return place_allocations_left >= 0 && place_allocations_left-- == 0;
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

/* ---- connections ---- */

sqlite3 *
place_open(const char *name, const char *parameters)
{
    sqlite3 *db = NULL;
    char uri[256];

    snprintf(uri, sizeof(uri), "file:%s/%s?vfs=ramet&sync=manual%s",
             place_folder, name, parameters);
    if (sqlite3_open_v2(uri, &db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                            SQLITE_OPEN_URI,
                        NULL) != SQLITE_OK) {
        sqlite3_close(db);
        db = NULL;
    }
    return db;
}

int
place_run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

void
place_must(sqlite3 *db, const char *sql)
{
    if (place_run(db, sql) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

long
place_number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    long value;

    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    value = (long)sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return value;
}

void
place_path(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", place_folder, name);
}

void
place_make(const char *name, int rows)
{
    sqlite3 *const db = place_open(name, "");
    char sql[200];

    assert_non_null(db);
    place_must(db, "CREATE TABLE t(n INTEGER PRIMARY KEY, v)");
    snprintf(sql, sizeof(sql),
             "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c "
             "WHERE i < %d) INSERT INTO t SELECT i, zeroblob(%d) FROM c",
             rows, BLOB);
    place_must(db, sql);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void
remove_all(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", place_folder);
    assert_int_equal(system(command), 0);
}

int
place_set_up(void **state)
{
    const char *const base = getenv("RAMET_TEST_TMP");

    (void)state;
    snprintf(place_folder, sizeof(place_folder), "%s/ramet-under-XXXXXX",
             base != NULL                    ? base
             : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                             : "/tmp");
    assert_non_null(mkdtemp(place_folder));
    return 0;
}

int
place_tear_down(void **state)
{
    (void)state;
    (void)under_disarm();
    remove_all();
    return 0;
}

long
place_rows(const char *name)
{
    sqlite3 *const db = place_open(name, "");
    long count;

    assert_non_null(db);
    count = place_number(db, "SELECT count(*) FROM t");
    sqlite3_close(db);
    return count;
}

bool
place_begin(int argc, char **argv)
{
    sqlite3 *loader = NULL;
    char *text = NULL;

    if (argc != 3) {
        fprintf(stderr, "usage: %s RAMET_SO IVERSION\n", argv[0]);
        return false;
    }
    place_extension = argv[1];
    place_under_version = atoi(argv[2]);
    keep_memory();
    under_register(place_under_version);
    setenv("RAMET_DEFAULT_VFS", "1", 1);
    if (sqlite3_open(":memory:", &loader) != SQLITE_OK ||
        sqlite3_enable_load_extension(loader, 1) != SQLITE_OK ||
        sqlite3_load_extension(loader, place_extension, NULL, &text) !=
            SQLITE_OK) {
        fprintf(stderr, "%s\n", text);
        return false;
    }
    sqlite3_close(loader); /* the extension stays */
    return true;
}
