/*
 * test_record.c - columns of records, and their order, against SQLite's own.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "sqliteformat/btpage.h"
#include "sqliteformat/record.h"
#include "tests/sqliteformat/database.h"

/* One row for each kind of value, in a table that is one leaf. */
static const char values_sql[] =
    "CREATE TABLE v(x);"
    "INSERT INTO v VALUES (NULL), (0), (1), (2), (-1), (127), (-128), (128),"
    " (-129), (32767), (-32768), (8388607), (-8388608), (2147483647),"
    " (-2147483648), (140737488355327), (-140737488355328),"
    " (9223372036854775807), (-9223372036854775808), (0.5), (-1e300), (3.25),"
    " (''), ('a'), ('ab'), ('b'), ('Z'), (x''), (x'00'), (x'ff'), (x'00ff')";

static bool
open_values(const struct database *d, struct ramet_btpage *out_page)
{
    const uint32_t root = (uint32_t)database_number(
        d, "SELECT rootpage FROM sqlite_schema WHERE name = 'v'");

    return ramet_btpage_open(out_page, database_page(d, root), root, d->usable);
}

static void
value_at(const struct ramet_btpage *page, uint32_t row, struct ramet_value *out)
{
    struct ramet_btcell cell;

    assert_true(ramet_btpage_cell(page, row, &cell));
    assert_int_equal(cell.rowid, row + 1);
    assert_int_equal(ramet_record_columns(cell.local, cell.local_len), 1);
    assert_true(ramet_record_column(cell.local, cell.local_len, 0, out));
    assert_false(ramet_record_column(cell.local, cell.local_len, 1, out));
}

static void
check_value(sqlite3_stmt *row, const struct ramet_value *value)
{
    switch (value->type) {
    case RAMET_VALUE_NULL:
        assert_int_equal(sqlite3_column_type(row, 0), SQLITE_NULL);
        break;
    case RAMET_VALUE_INTEGER:
        assert_int_equal(sqlite3_column_type(row, 0), SQLITE_INTEGER);
        assert_true(sqlite3_column_int64(row, 0) == value->integer);
        break;
    case RAMET_VALUE_REAL:
        assert_int_equal(sqlite3_column_type(row, 0), SQLITE_FLOAT);
        assert_true(sqlite3_column_double(row, 0) == value->real);
        break;
    case RAMET_VALUE_TEXT:
    case RAMET_VALUE_BLOB:
        assert_int_equal(sqlite3_column_type(row, 0),
                         value->type == RAMET_VALUE_TEXT ? SQLITE_TEXT
                                                         : SQLITE_BLOB);
        assert_int_equal(sqlite3_column_bytes(row, 0), value->len);
        if (value->len > 0)
            assert_memory_equal(sqlite3_column_blob(row, 0), value->bytes,
                                value->len);
        break;
    }
}

static void
column__is_what_sqlite_says(void **state)
{
    struct database d = database_make(4096, values_sql);
    struct ramet_btpage page;
    sqlite3_stmt *rows = NULL;

    (void)state;
    assert_true(open_values(&d, &page));
    assert_int_equal(sqlite3_prepare_v2(d.db, "SELECT x FROM v ORDER BY rowid",
                                        -1, &rows, NULL),
                     SQLITE_OK);
    for (uint32_t i = 0; i < page.cell_count; i++) {
        struct ramet_value value;

        assert_int_equal(sqlite3_step(rows), SQLITE_ROW);
        value_at(&page, i, &value);
        check_value(rows, &value);
    }
    assert_int_equal(sqlite3_step(rows), SQLITE_DONE);
    assert_int_equal(sqlite3_finalize(rows), SQLITE_OK);
    database_done(&d);
}

/* How SQLite orders two rows: -1, 0 or 1. */
static int
order_of(const struct database *d, uint32_t a, uint32_t b)
{
    char sql[300];

    (void)snprintf(
        sql, sizeof(sql),
        "WITH o AS (SELECT rowid AS i, dense_rank() OVER (ORDER BY x) AS r "
        "FROM v) SELECT sign((SELECT r FROM o WHERE i = %u) - "
        "(SELECT r FROM o WHERE i = %u))",
        a + 1, b + 1);
    return (int)database_number(d, sql);
}

static void
values__are_in_the_order_in_which_sqlite_sorts_them(void **state)
{
    struct database d = database_make(4096, values_sql);
    struct ramet_btpage page;

    (void)state;
    assert_true(open_values(&d, &page));
    for (uint32_t i = 0; i < page.cell_count; i++)
        for (uint32_t j = 0; j < page.cell_count; j++) {
            struct ramet_value a;
            struct ramet_value b;
            int order;

            value_at(&page, i, &a);
            value_at(&page, j, &b);
            order = ramet_value_compare(&a, &b);
            assert_int_equal((order > 0) - (order < 0), order_of(&d, i, j));
        }
    database_done(&d);
}

static void
record__that_is_cut_off_has_the_columns_that_are_whole(void **state)
{
    /* Header of four: an integer of one byte, a text of three, a blob of 2. */
    static const uint8_t record[] = {4, 1, 19, 16, 42, 'a', 'b', 'c', 7, 8};
    struct ramet_value value;

    (void)state;
    assert_int_equal(ramet_record_columns(record, sizeof(record)), 3);
    for (uint32_t len = 0; len <= sizeof(record); len++) {
        assert_int_equal(ramet_record_column(record, len, 0, &value), len >= 5);
        assert_int_equal(ramet_record_column(record, len, 1, &value), len >= 8);
        assert_int_equal(ramet_record_column(record, len, 2, &value),
                         len >= 10);
        assert_false(ramet_record_column(record, len, 3, &value));
    }
}

static void
record__whose_header_makes_no_sense_has_no_columns(void **state)
{
    static const uint8_t too_long[] = {9, 1, 1};
    static const uint8_t too_short[] = {0, 1, 1};
    static const uint8_t huge[] = {10,   0xff, 0xff, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 1};
    struct ramet_value value;

    (void)state;
    assert_int_equal(ramet_record_columns(too_long, sizeof(too_long)), 0);
    assert_int_equal(ramet_record_columns(too_short, sizeof(too_short)), 0);
    assert_false(ramet_record_column(huge, sizeof(huge), 0, &value));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(column__is_what_sqlite_says),
        cmocka_unit_test(values__are_in_the_order_in_which_sqlite_sorts_them),
        cmocka_unit_test(
            record__that_is_cut_off_has_the_columns_that_are_whole),
        cmocka_unit_test(record__whose_header_makes_no_sense_has_no_columns),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
