/*
 * test_tree_order.c - the order of pages, as SQLite's own dbstat tells what
 * they are; and pages that lead in circles, nowhere, or are not here.
 */
#include "tests/support/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "sqliteformat/dbheader.h"
#include "sqliteformat/tree_order.h"
#include "tests/sqliteformat/database.h"

struct reading {
    const struct database *database;
    uint32_t missing; /* 0: none */
    uint64_t reads;
};

static bool
read_page(void *ctx, uint32_t pgno, uint8_t *out)
{
    struct reading *const reading = ctx;

    reading->reads++;
    if (pgno == reading->missing)
        return false;
    memcpy(out, database_page(reading->database, pgno),
           reading->database->page_size);
    return true;
}

static uint32_t *
find_order(const struct database *d, uint32_t missing, uint64_t reads_max,
           uint64_t *out_reads)
{
    struct reading reading = {d, missing, 0};
    const struct ramet_tree_order order = {.read = read_page,
                                           .ctx = &reading,
                                           .page_size = d->page_size,
                                           .page_count = d->page_count,
                                           .reads_max = reads_max};
    uint32_t *const ranks = malloc(d->page_count * sizeof(*ranks));

    memset(ranks, 0xff, d->page_count * sizeof(*ranks));
    assert_int_equal(ramet_tree_order_find(&order, ranks, NULL), RAMET_OK);
    assert_true(reading.reads <= reads_max);
    if (out_reads != NULL)
        *out_reads = reading.reads;
    return ranks;
}

/* Each rank from 1 on is given to one page. */
static uint32_t
check_ranks(const struct database *d, const uint32_t *ranks)
{
    uint8_t *const seen = calloc(1, d->page_count + 1);
    uint32_t most = 0;

    for (uint32_t i = 0; i < d->page_count; i++) {
        assert_true(ranks[i] <= d->page_count);
        assert_true(ranks[i] == 0 || !seen[ranks[i]]);
        seen[ranks[i]] = 1;
        most = ranks[i] > most ? ranks[i] : most;
    }
    for (uint32_t rank = 1; rank <= most; rank++)
        assert_true(seen[rank]);
    free(seen);
    return most;
}

/* The pages of a tree have the ranks from *next on, in the order of the query.
 */
static void
check_pages(struct database *d, const char *sql, const char *tree,
            const uint32_t *ranks, uint32_t *next)
{
    sqlite3_stmt *statement = NULL;

    assert_int_equal(sqlite3_prepare_v2(d->db, sql, -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(
        sqlite3_bind_text(statement, 1, tree, -1, SQLITE_TRANSIENT), SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        const uint32_t pgno = (uint32_t)sqlite3_column_int64(statement, 0);

        assert_in_range(pgno, 1, d->page_count);
        assert_int_equal(ranks[pgno - 1], (*next)++);
    }
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
}

struct chain {
    char path[64]; /* of its cell */
    uint32_t pgnos[32];
    size_t count;
    bool goes_on; /* with the next number */
};

/* The chains of a tree, in the order of its cells. */
static size_t
find_chains(struct database *d, const char *tree, struct chain *chains,
            size_t most)
{
    sqlite3_stmt *statement = NULL;
    size_t count = 0;

    assert_int_equal(
        sqlite3_prepare_v2(d->db,
                           "SELECT pageno, substr(path, 1, instr(path, '+')) "
                           "FROM dbstat WHERE name = ? AND "
                           "pagetype = 'overflow' ORDER BY path",
                           -1, &statement, NULL),
        SQLITE_OK);
    assert_int_equal(
        sqlite3_bind_text(statement, 1, tree, -1, SQLITE_TRANSIENT), SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        const uint32_t pgno = (uint32_t)sqlite3_column_int64(statement, 0);
        const char *const path =
            (const char *)sqlite3_column_text(statement, 1);
        struct chain *chain = &chains[count > 0 ? count - 1 : 0];

        if (count == 0 || strcmp(chain->path, path) != 0) {
            assert_true(count < most);
            chain = &chains[count++];
            *chain = (struct chain){.goes_on = true};
            assert_true(strlen(path) < sizeof(chain->path));
            strcpy(chain->path, path);
        }
        assert_true(chain->count < 32);
        if (chain->count == 1)
            chain->goes_on = pgno == chain->pgnos[0] + 1;
        chain->pgnos[chain->count++] = pgno;
    }
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    return count;
}

/* Chains that go on come one after the other, and the first pages of others
 * among them; then the second pages of the others, and so on. True: there are
 * of both. */
static bool
check_chains(struct database *d, const char *tree, const uint32_t *ranks,
             uint32_t *next)
{
    enum { MOST = 2000 };
    struct chain *const chains = calloc(MOST, sizeof(*chains));
    const size_t count = find_chains(d, tree, chains, MOST);
    size_t whole = 0;

    for (size_t i = 0; i < count; i++) {
        const size_t n = chains[i].goes_on ? chains[i].count : 1;

        whole += chains[i].goes_on && chains[i].count > 1;
        for (size_t j = 0; j < n; j++)
            assert_int_equal(ranks[chains[i].pgnos[j] - 1], (*next)++);
    }
    for (size_t hop = 1; hop < 32; hop++)
        for (size_t i = 0; i < count; i++)
            if (!chains[i].goes_on && chains[i].count > hop)
                assert_int_equal(ranks[chains[i].pgnos[hop] - 1], (*next)++);
    free(chains);
    return whole > 0 && whole < count;
}

static bool
check_tree(struct database *d, const char *tree, const uint32_t *ranks,
           uint32_t *next)
{
    check_pages(d,
                "SELECT pageno FROM dbstat WHERE name = ? AND "
                "pagetype = 'internal' ORDER BY length(path), path",
                tree, ranks, next);
    check_pages(d,
                "SELECT pageno FROM dbstat WHERE name = ? AND "
                "pagetype = 'leaf' ORDER BY path",
                tree, ranks, next);
    return check_chains(d, tree, ranks, next);
}

/* Rows in no order, so that neighbours are none in the file, and freed pages.
 */
static const char scattered[] =
    "CREATE TABLE a (id INTEGER PRIMARY KEY, k TEXT, v BLOB);"
    "CREATE INDEX by_k ON a (k);"
    "CREATE TABLE b (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID;"
    "CREATE TABLE empty (x);"
    "CREATE TABLE gone (x);"
    "CREATE TABLE c (id INTEGER PRIMARY KEY, v BLOB);"
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
    "WHERE i < 3000) INSERT INTO a SELECT i * 7919 % 3001, "
    "hex(i * 104729 % 65536) || i, randomblob(40) FROM n;"
    "INSERT INTO b SELECT k, v FROM a ORDER BY v;"
    "INSERT INTO gone SELECT randomblob(100) FROM a;"
    "INSERT INTO c SELECT id, randomblob(300 + id % 5 * 1500) FROM a "
    "WHERE id % 5 = 2 ORDER BY v;"
    "DROP TABLE gone;"
    "INSERT INTO c SELECT id, randomblob(300 + id % 5 * 900) FROM a "
    "WHERE id % 5 = 3 ORDER BY v;";

static void
order__is_that_of_the_trees(void **state)
{
    static const char *const trees[] = {
        "sqlite_schema", "a", "by_k", "b", "empty", "c",
    };

    bool has_both = false;

    (void)state;
    for (uint32_t size = 512; size <= 8192; size *= 4) {
        struct database d = database_make(size, scattered);
        uint64_t reads;
        uint32_t *const ranks = find_order(&d, 0, UINT64_MAX, &reads);
        const uint32_t most = check_ranks(&d, ranks);
        uint32_t next = 1;

        for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++)
            has_both = check_tree(&d, trees[i], ranks, &next) || has_both;
        assert_int_equal(most, next - 1);
        assert_int_equal(ranks[0], 1);
        assert_int_equal(most + database_number(&d, "PRAGMA freelist_count"),
                         d.page_count);
        assert_true(reads < 2 * (uint64_t)d.page_count);
        free(ranks);
        database_done(&d);
    }
    assert_true(has_both); /* kinds of chains */
}

/* Leaves of a tree without overflow are not read. */
static void
order__reads_few_pages_of_trees_without_overflow(void **state)
{
    struct database d = database_make(
        1024, "CREATE TABLE a (id INTEGER PRIMARY KEY, v BLOB);"
              "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 "
              "FROM n WHERE i < 9000) INSERT INTO a SELECT i, "
              "randomblob(100) FROM n;");
    uint64_t reads;
    uint32_t *const ranks = find_order(&d, 0, UINT64_MAX, &reads);

    (void)state;
    assert_true(d.page_count > 1000);
    assert_true(reads < d.page_count / 20);
    assert_int_equal(check_ranks(&d, ranks), d.page_count);
    free(ranks);
    database_done(&d);
}

/* Whichever page is not here: what it leads to has no rank, the rest has one
 * each. */
static void
order__goes_round_what_is_not_here(void **state)
{
    struct database d = database_make(512, scattered);
    uint32_t *const whole = find_order(&d, 0, UINT64_MAX, NULL);
    const uint32_t most = check_ranks(&d, whole);

    (void)state;
    for (uint32_t missing = 1; missing <= d.page_count; missing += 7) {
        uint32_t *const ranks = find_order(&d, missing, UINT64_MAX, NULL);
        const uint32_t found = check_ranks(&d, ranks);

        assert_true(found <= most);
        assert_true(missing != 1 || found == 0);
        free(ranks);
    }
    free(whole);
    database_done(&d);
}

static void
order__ends_with_its_reads(void **state)
{
    struct database d = database_make(512, scattered);
    uint32_t before = 0;

    (void)state;
    for (uint64_t most = 0; most < 400; most += 3) {
        uint32_t *const ranks = find_order(&d, 0, most, NULL);
        const uint32_t found = check_ranks(&d, ranks);

        assert_true(found >= before);
        before = found;
        free(ranks);
    }
    free(find_order(&d, 0, 0, NULL));
    database_done(&d);
}

/* Each interior page's children are replaced, in turn, by the root, themselves,
 * page 0 and one beyond the end: each page has one place at most, and it ends.
 */
static void
order__has_a_page_once_where_pages_lead_in_circles(void **state)
{
    struct database d = database_make(512, scattered);

    (void)state;
    for (uint32_t pgno = 2; pgno <= d.page_count; pgno++) {
        uint8_t *const page = d.bytes + (size_t)(pgno - 1) * d.page_size;
        const uint32_t wrong[] = {1, 2, pgno, 0, d.page_count + 1, UINT32_MAX};
        uint8_t right[4];

        if (page[0] != 2 && page[0] != 5)
            continue;
        memcpy(right, page + 8, 4);
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
            uint32_t *ranks;

            ramet_put_be32(page + 8, wrong[i]);
            ranks = find_order(&d, 0, 4 * (uint64_t)d.page_count, NULL);
            (void)check_ranks(&d, ranks);
            free(ranks);
        }
        memcpy(page + 8, right, 4);
    }
    database_done(&d);
}

static void
order__of_no_database_is_none(void **state)
{
    struct database d = database_make(512, scattered);
    uint32_t *ranks;

    (void)state;
    d.bytes[0] ^= 1;
    ranks = find_order(&d, 0, UINT64_MAX, NULL);
    assert_int_equal(check_ranks(&d, ranks), 0);
    free(ranks);
    d.bytes[0] ^= 1;
    d.bytes[16] ^= 4; /* another page size */
    ranks = find_order(&d, 0, UINT64_MAX, NULL);
    assert_int_equal(check_ranks(&d, ranks), 0);
    free(ranks);
    database_done(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order__is_that_of_the_trees),
        cmocka_unit_test(order__reads_few_pages_of_trees_without_overflow),
        cmocka_unit_test(order__goes_round_what_is_not_here),
        cmocka_unit_test(order__ends_with_its_reads),
        cmocka_unit_test(order__has_a_page_once_where_pages_lead_in_circles),
        cmocka_unit_test(order__of_no_database_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
