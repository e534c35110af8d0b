/*
 * test_queries.c - what queries cost over a modelled link: round trips that had
 * to wait for one another, and pages that were brought in vain.
 *
 * Each database is made by SQLite, each query traced by running it, and the
 * trace played through the predictor. Nothing depends on a clock. A bound is
 * the figure of the day it was written and a tenth; docs/prefetch.md has the
 * figures for larger databases.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>

#include "tests/prefetch/databases.h"
#include "tests/prefetch/link_model.h"

struct query {
    const char *name;
    const char *sql;
    unsigned needed_min; /* pages: else the query is not what it should be */
    unsigned trips_max;
    unsigned vain_max;
};

static struct played
play(const char *name, const char *sql, const struct link_model *model)
{
    struct played result;
    struct trace trace;
    char path[DATABASE_PATH_MAX];

    database_path(name, path);
    trace = trace_statements(path, sql);
    result = link_play(model, path, &trace);
    trace_done(&trace);
    return result;
}

static void
check(const char *name, const struct query *queries, size_t count)
{
    const struct link_model model = link_usual();
    unsigned bad = 0;

    for (size_t i = 0; i < count; i++) {
        const struct query *const q = &queries[i];
        const struct played r = play(name, q->sql, &model);
        const bool is_good = r.needed >= q->needed_min &&
                             r.round_trips <= q->trips_max &&
                             r.vain <= q->vain_max;

        print_message("%s %-16s needs %5u; %4u trips (%u), %4u in vain (%u), "
                      "%4u requests, %.3f s%s\n",
                      name, q->name, r.needed, r.round_trips, q->trips_max,
                      r.vain, q->vain_max, r.requests, r.seconds,
                      is_good ? "" : "  <- out of bounds");
        bad += !is_good;
    }
    assert_int_equal(bad, 0);
}

#define CHECK(name, queries)                                                   \
    check(name, queries, sizeof(queries) / sizeof(*(queries)))

static const struct query people[] = {
    {"point", "SELECT bio FROM people WHERE id = 54321", 1, 2, 0},
    {"by index", "SELECT bio FROM people WHERE name = '9e3779b1'", 2, 3, 0},
    {"covered",
     "SELECT name FROM people WHERE name > '8' ORDER BY name LIMIT 1000", 6, 3,
     9},
    {"looked up",
     "SELECT bio FROM people WHERE city = 'city07' AND created > 100000 ORDER "
     "BY created LIMIT 1000",
     800, 10, 335},
    {"looked up, 20",
     "SELECT bio FROM people WHERE city = 'city07' AND created > 100000 ORDER "
     "BY created LIMIT 20",
     18, 6, 45},
    {"descending", "SELECT bio FROM people ORDER BY name DESC LIMIT 500", 400,
     12, 300},
    {"range of rowids",
     "SELECT bio FROM people WHERE id BETWEEN 30000 AND 30999", 25, 6, 23},
    {"count", "SELECT count(*) FROM people", 300, 9, 0},
    {"scan", "SELECT sum(length(bio)) FROM people", 2500, 15, 0},
};

static void
query__of_a_fresh_database_keeps_to_its_bounds(void **state)
{
    (void)state;
    database_make("fresh", "people", "");
    CHECK("fresh", people);
}

static void
query__of_a_fragmented_database_costs_no_more(void **state)
{
    (void)state;
    database_make("fragmented", "fragmented", "");
    CHECK("fragmented", people);
}

/* Pages of the pointer map are among them. */
static void
query__of_a_database_that_vacuums_itself_costs_no_more(void **state)
{
    (void)state;
    database_make("vacuumed", "people", "PRAGMA auto_vacuum = incremental;");
    CHECK("vacuumed", people);
}

static void
query__of_a_keyed_table_keeps_to_its_bounds(void **state)
{
    static const struct query queries[] = {
        {"by key", "SELECT v FROM kv WHERE k > '8' LIMIT 1", 1, 4, 0},
        {"1,000 by key", "SELECT v FROM kv WHERE k > '8' ORDER BY k LIMIT 1000",
         40, 8, 43},
        {"by another index", "SELECT v FROM kv WHERE kind = 77", 150, 9, 75},
        {"descending", "SELECT v FROM kv ORDER BY kind DESC LIMIT 500", 400, 16,
         355},
        {"scan", "SELECT sum(length(v)) FROM kv", 2400, 15, 0},
    };

    (void)state;
    database_make("keyed", "keyed", "");
    CHECK("keyed", queries);
}

static void
query__of_long_documents_keeps_to_its_bounds(void **state)
{
    static const struct query queries[] = {
        {"point", "SELECT body FROM docs WHERE id = 345", 2, 2, 0},
        {"scan", "SELECT sum(length(body)) FROM docs", 2000, 20, 0},
        {"scan, torn", "SELECT sum(length(body)) FROM torn", 2000, 28, 0},
        {"by index", "SELECT body FROM docs WHERE kind = 7", 50, 12, 5},
        {"not read", "SELECT sum(kind) FROM docs NOT INDEXED", 600, 10, 0},
    };

    (void)state;
    database_make("documents", "documents", "");
    CHECK("documents", queries);
}

static void
query__of_full_text_keeps_to_its_bounds(void **state)
{
    static const struct query queries[] = {
        {"rank",
         "SELECT title FROM search WHERE search MATCH 'w5 w7' ORDER BY rank "
         "LIMIT 10",
         20, 25, 20},
        {"rank, rare",
         "SELECT title FROM search WHERE search MATCH 'w3999' ORDER BY rank "
         "LIMIT 10",
         8, 17, 30},
        {"count", "SELECT count(*) FROM search WHERE search MATCH 'w11'", 5, 7,
         7},
    };

    (void)state;
    database_make("search", "search", "");
    CHECK("search", queries);
}

static void
join__keeps_to_its_bounds(void **state)
{
    static const struct query queries[] = {
        {"by date",
         "SELECT c.name, o.created, i.sku FROM customers c JOIN orders o ON "
         "o.customer = c.id JOIN items i ON i.order_id = o.id WHERE o.created "
         "BETWEEN 10000000 AND 10100000",
         100, 17, 230},
        {"of one",
         "SELECT c.name, o.created, i.sku FROM customers c JOIN orders o ON "
         "o.customer = c.id JOIN items i ON i.order_id = o.id WHERE c.id = "
         "4321",
         8, 21, 25},
        {"subquery",
         "SELECT c.id, (SELECT max(created) FROM orders o WHERE o.customer = "
         "c.id) FROM customers c WHERE c.id BETWEEN 1000 AND 1199",
         300, 15, 295},
        {"sums",
         "SELECT c.city, sum(i.price) FROM customers c JOIN orders o ON "
         "o.customer = c.id JOIN items i ON i.order_id = o.id WHERE o.created "
         "> 15000000 GROUP BY 1",
         800, 40, 2},
    };

    (void)state;
    database_make("shop", "shop", "");
    CHECK("shop", queries);
}

/* A predictor with next to no memory, or that may not look at pages again,
 * predicts less, and asks for nothing odd. */
/* What was read before leads by chance to the first rows of what is scanned now:
 * a rowid is a number like others. */
static void
scan__after_other_questions_begins_as_soon(void **state)
{
    static const struct query queries[] = {
        {"after a point",
         "SELECT bio FROM people WHERE name >= '9' LIMIT 1; "
         "SELECT sum(length(bio)) FROM people",
         2500, 19, 0},
        {"after a range",
         "SELECT bio FROM people WHERE city = 'city07' AND created > 100000 "
         "ORDER BY created LIMIT 20; SELECT sum(length(bio)) FROM people",
         2500, 21, 10},
        {"twice",
         "SELECT count(*) FROM people; SELECT sum(length(bio)) FROM people",
         2800, 24, 0},
    };

    (void)state;
    database_make("mixed", "people", "");
    CHECK("mixed", queries);
}

/* A link that holds much is no reason to bring what nobody may read. */
static void
rows__over_a_long_link_bring_two_fifths_and_six_in_vain_at_most(void **state)
{
    struct link_model model = link_usual();
    struct played r;

    (void)state;
    model.budget = 4000;
    database_make("long", "people", "");
    r = play("long", people[3].sql, &model); /* looked up */
    assert_true(r.needed > 800);
    assert_in_range(r.vain, 1, r.needed * 2 / 5);
    r = play("long", people[6].sql, &model); /* a range of rowids */
    assert_true(r.needed > 25);
    assert_in_range(r.vain, 1, r.needed * 2 / 5 + 6);
}

static void
query__with_little_memory_costs_more_and_no_harm(void **state)
{
    struct link_model model = link_usual();
    const struct query *const scan = &people[8];
    struct played r;

    (void)state;
    model.memory_bytes = 1;
    r = play("fragmented", scan->sql, &model);
    assert_in_range(r.round_trips, 1, 40);
    model.is_blind = true;
    r = play("fragmented", scan->sql, &model);
    assert_in_range(r.round_trips, 1, 40);
    r = play("keyed", "SELECT v FROM kv WHERE kind = 77", &model);
    assert_true(r.vain < r.needed);
}

/* Interior pages that are here, and that SQLite has in its cache, are never
 * shown: they are looked at. */
static void
query__whose_interior_pages_are_cached_elsewhere_is_predicted(void **state)
{
    static const unsigned chosen[] = {3, 5, 7, 8};
    struct link_model model = link_usual();

    (void)state;
    model.open_pages = 1000;
    model.is_restarted = true;
    for (size_t i = 0; i < sizeof(chosen) / sizeof(*chosen); i++) {
        const struct played r =
            play("fragmented", people[chosen[i]].sql, &model);

        assert_true(r.needed > 200);
        assert_in_range(r.round_trips, 1, 25);
    }
}

static void
query__of_any_page_size_is_predicted(void **state)
{
    static const unsigned sizes[] = {512, 8192, 65536};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        const struct link_model model = link_usual();
        char pragmas[64];
        char name[32];
        struct played r;

        (void)snprintf(pragmas, sizeof(pragmas), "PRAGMA page_size = %u;",
                       sizes[i]);
        (void)snprintf(name, sizeof(name), "pages-%u", sizes[i]);
        database_make(name, "people", pragmas);
        r = play(name, people[8].sql, &model);
        assert_true(r.needed > 40);
        assert_true(r.round_trips < 40 + r.needed / 150);
        assert_true(r.vain < 20);
    }
}

/* What is random stays unpredicted: hardly anything is brought in vain. */
static void
points__in_no_order_bring_little_in_vain(void **state)
{
    struct link_model model = link_usual();
    static char sql[100 * 600];
    struct played r;
    size_t len = 0;

    (void)state;
    for (unsigned i = 1; i <= 600; i++)
        len += (size_t)snprintf(sql + len, sizeof(sql) - len,
                                "SELECT bio FROM people WHERE id = %u;",
                                i * 40503u % 80000u + 1);
    model.open_pages = 1000; /* all interior pages */
    r = play("fragmented", sql, &model);
    assert_true(r.needed > 400);
    assert_true(r.vain <= r.needed / 50);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query__of_a_fresh_database_keeps_to_its_bounds),
        cmocka_unit_test(query__of_a_fragmented_database_costs_no_more),
        cmocka_unit_test(
            query__of_a_database_that_vacuums_itself_costs_no_more),
        cmocka_unit_test(query__of_a_keyed_table_keeps_to_its_bounds),
        cmocka_unit_test(query__of_long_documents_keeps_to_its_bounds),
        cmocka_unit_test(query__of_full_text_keeps_to_its_bounds),
        cmocka_unit_test(join__keeps_to_its_bounds),
        cmocka_unit_test(scan__after_other_questions_begins_as_soon),
        cmocka_unit_test(
            rows__over_a_long_link_bring_two_fifths_and_six_in_vain_at_most),
        cmocka_unit_test(query__with_little_memory_costs_more_and_no_harm),
        cmocka_unit_test(
            query__whose_interior_pages_are_cached_elsewhere_is_predicted),
        cmocka_unit_test(query__of_any_page_size_is_predicted),
        cmocka_unit_test(points__in_no_order_bring_little_in_vain),
    };
    return cmocka_run_group_tests_name("queries", tests, databases_begin,
                                       databases_end);
}
