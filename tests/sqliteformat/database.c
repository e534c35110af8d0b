/*
 * database.c - see database.h.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>

#include "sqliteformat/dbheader.h"
#include "tests/sqliteformat/database.h"

struct database
database_make(uint32_t page_size, const char *sql)
{
    struct database d = {.db = NULL};
    sqlite3_int64 size = 0;
    char pragma[64];

    (void)snprintf(pragma, sizeof(pragma), "PRAGMA page_size = %u", page_size);
    assert_int_equal(sqlite3_open(":memory:", &d.db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(d.db, pragma, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(d.db, sql, NULL, NULL, NULL), SQLITE_OK);
    d.bytes = sqlite3_serialize(d.db, "main", &size, 0);
    assert_non_null(d.bytes);
    assert_true(ramet_dbheader_is(d.bytes, (uint64_t)size));
    d.page_size = ramet_dbheader_page_size(d.bytes);
    assert_int_equal(d.page_size, page_size);
    d.page_count = (uint32_t)(size / page_size);
    assert_int_equal(ramet_dbheader_page_count(d.bytes), d.page_count);
    d.usable = ramet_dbheader_usable(d.bytes, page_size);
    return d;
}

void
database_done(struct database *database)
{
    sqlite3_free(database->bytes);
    assert_int_equal(sqlite3_close(database->db), SQLITE_OK);
}

const uint8_t *
database_page(const struct database *database, uint32_t pgno)
{
    assert_in_range(pgno, 1, database->page_count);
    return database->bytes + (size_t)(pgno - 1) * database->page_size;
}

int64_t
database_number(const struct database *database, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int64_t number;

    assert_int_equal(
        sqlite3_prepare_v2(database->db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    number = sqlite3_column_int64(statement, 0);
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    return number;
}
