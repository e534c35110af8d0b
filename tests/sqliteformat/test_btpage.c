/*
 * test_btpage.c - pages that SQLite made, read as it reads them; and any other
 * bytes, read without harm.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "sqliteformat/btpage.h"
#include "sqliteformat/record.h"
#include "tests/sqliteformat/database.h"

static const uint32_t page_sizes[] = {512, 1024, 4096, 65536};

static const char rows_sql[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, body BLOB);"
    "CREATE INDEX t_name ON t(name);"
    "CREATE TABLE w(k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID;"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
    "3000)"
    "INSERT INTO t SELECT i * 7 - 5000, printf('name %05d', i * 7919 % 3000),"
    " zeroblob(i * i % 5000) FROM n;"
    "INSERT INTO w SELECT name, zeroblob(length(body) / 3) FROM t;";

/* What a walk over a tree has found. */
struct sums {
    int64_t cells; /* with a payload, or in a leaf */
    int64_t rowids;
    int64_t payload; /* bytes of the last column */
    int64_t overflow_pages;
    unsigned depth;
};

static void
add_cell(const struct database *d, const struct ramet_btpage *page, uint32_t i,
         struct sums *sums)
{
    struct ramet_btcell cell;
    uint32_t pgno;

    assert_true(ramet_btpage_cell(page, i, &cell));
    if (page->kind == RAMET_TABLE_INTERIOR)
        return;
    sums->cells++;
    if (page->kind == RAMET_TABLE_LEAF)
        sums->rowids += cell.rowid;
    sums->payload += (int64_t)cell.payload_len;
    pgno = cell.overflow;
    for (uint32_t n = ramet_btcell_chain_length(&cell, d->usable); n > 0; n--) {
        sums->overflow_pages++;
        pgno = ramet_get_be32(database_page(d, pgno));
    }
    assert_int_equal(pgno, 0); /* the chain ends where it should */
}

/* Pages of one level at a time. */
static struct sums
walk(const struct database *d, uint32_t root)
{
    uint32_t *const pages = calloc(d->page_count + 1, sizeof(*pages));
    struct sums sums = {.depth = 0};
    size_t count = 1;
    size_t begin = 0;

    assert_non_null(pages);
    pages[0] = root;
    for (size_t end = 1; begin < end; sums.depth++, end = count)
        for (; begin < end; begin++) {
            struct ramet_btpage page;

            assert_true(ramet_btpage_open(&page, database_page(d, pages[begin]),
                                          pages[begin], d->usable));
            for (uint32_t i = 0; i < page.cell_count; i++)
                add_cell(d, &page, i, &sums);
            for (uint32_t i = 0;
                 !ramet_btpage_is_leaf(&page) && i <= page.cell_count; i++) {
                assert_true(count <= d->page_count);
                assert_true(ramet_btpage_child(&page, i, &pages[count++]));
            }
        }
    free(pages);
    return sums;
}

static uint32_t
root_of(const struct database *d, const char *name)
{
    char sql[100];

    (void)snprintf(sql, sizeof(sql),
                   "SELECT rootpage FROM sqlite_schema WHERE name = '%s'",
                   name);
    return (uint32_t)database_number(d, sql);
}

static void
pages__are_read_as_sqlite_wrote_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(page_sizes) / sizeof(*page_sizes); i++) {
        struct database d = database_make(page_sizes[i], rows_sql);
        const struct sums schema = walk(&d, 1);
        const struct sums t = walk(&d, root_of(&d, "t"));
        const struct sums index = walk(&d, root_of(&d, "t_name"));
        const struct sums w = walk(&d, root_of(&d, "w"));

        assert_int_equal(
            schema.cells,
            database_number(&d, "SELECT count(*) FROM sqlite_schema"));
        assert_int_equal(t.cells, 3000);
        assert_int_equal(t.rowids,
                         database_number(&d, "SELECT sum(id) FROM t"));
        assert_true(t.payload >=
                    database_number(&d, "SELECT sum(length(body)) FROM t"));
        assert_int_equal(index.cells, 3000); /* interior ones included */
        assert_int_equal(w.cells, 3000);
        assert_true(page_sizes[i] > 4096 || w.overflow_pages > 100);
        assert_true(page_sizes[i] > 4096 || t.overflow_pages > 100);
        database_done(&d);
    }
}

static void
page__of_another_kind_is_none(void **state)
{
    struct ramet_btpage page;
    uint8_t bytes[512] = {0};

    (void)state;
    for (unsigned kind = 0; kind < 256; kind++) {
        bytes[0] = (uint8_t)kind;
        assert_int_equal(ramet_btpage_open(&page, bytes, 2, sizeof(bytes)),
                         kind == 2 || kind == 5 || kind == 10 || kind == 13);
    }
    bytes[0] = 13;
    assert_false(ramet_btpage_open(&page, bytes, 2, 479));
    bytes[4] = 252; /* cell pointers to the very end */
    assert_true(ramet_btpage_open(&page, bytes, 2, sizeof(bytes)));
    bytes[4] = 253;
    assert_false(ramet_btpage_open(&page, bytes, 2, sizeof(bytes)));
}

/* Every cell and child, whatever it says: in the page, or false. */
static void
read_all(const uint8_t *bytes, uint32_t pgno, uint32_t usable)
{
    struct ramet_btpage page;
    struct ramet_btcell cell;
    struct ramet_value value;
    uint32_t child;

    if (!ramet_btpage_open(&page, bytes, pgno, usable))
        return;
    for (uint32_t i = 0; i < page.cell_count; i++) {
        if (!ramet_btpage_cell(&page, i, &cell))
            continue;
        assert_true(cell.local >= bytes);
        assert_true(cell.local + cell.local_len <= bytes + usable);
        for (uint32_t c = 0; c < 4; c++)
            if (ramet_record_column(cell.local, cell.local_len, c, &value) &&
                value.len > 0)
                assert_true(value.bytes + value.len <= bytes + usable);
        (void)ramet_btcell_chain_length(&cell, usable);
    }
    for (uint32_t i = 0; !ramet_btpage_is_leaf(&page) && i <= page.cell_count;
         i++)
        (void)ramet_btpage_child(&page, i, &child);
}

/* The page ends where the memory does, so that a sanitizer sees more. */
static void
page__with_any_byte_changed_is_read_within_its_bounds(void **state)
{
    struct database d = database_make(512, rows_sql);
    uint8_t *const copy = malloc(d.page_size);

    (void)state;
    assert_non_null(copy);
    for (uint32_t pgno = 1; pgno <= d.page_count; pgno += 41)
        for (uint32_t at = 0; at < d.page_size; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                memcpy(copy, database_page(&d, pgno), d.page_size);
                copy[at] ^= (uint8_t)(1u << bit);
                read_all(copy, pgno, d.page_size);
            }
    free(copy);
    database_done(&d);
}

static void
page__of_made_up_bytes_is_read_within_its_bounds(void **state)
{
    static const uint8_t kinds[] = {2, 5, 10, 13};
    uint8_t *const bytes = malloc(512);
    uint64_t random = 7;

    (void)state;
    assert_non_null(bytes);
    for (int turn = 0; turn < 20000; turn++) {
        for (size_t i = 0; i < 512; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (uint8_t)(random >> 56);
        }
        bytes[0] = kinds[turn % 4];
        bytes[3] = 0;
        read_all(bytes, 2, 512 - (uint32_t)turn % 33);
    }
    free(bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages__are_read_as_sqlite_wrote_them),
        cmocka_unit_test(page__of_another_kind_is_none),
        cmocka_unit_test(page__with_any_byte_changed_is_read_within_its_bounds),
        cmocka_unit_test(page__of_made_up_bytes_is_read_within_its_bounds),
    };
    return cmocka_run_group_tests_name("btpage", tests, NULL, NULL);
}
