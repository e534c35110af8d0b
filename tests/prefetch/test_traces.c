/*
 * test_traces.c - what programs that exist cost over a modelled link: statements that
 * Django's admin, Datasette and our demo sent (traces/), each page of theirs opened with
 * nothing here. docs/prefetch.md has the figures.
 *
 * A file has "-- page: NAME" before the statements of each. Bounds are those of the
 * day they were written, and a tenth.
 */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/prefetch/databases.h"
#include "tests/prefetch/link_model.h"

#define TEXT_MAX (256u << 10)
#define PAGE_MARK "-- page: "

struct bound {
    unsigned needed_min; /* pages: else the page is not what it was */
    unsigned trips_max;
    unsigned vain_max;
};

static char *
read_text(const char *name)
{
    char *const text = calloc(1, TEXT_MAX);
    char path[512];
    FILE *file;
    size_t len;

    (void)snprintf(path, sizeof(path), "%s/%s.sql", RAMET_TRACES, name);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(text);
    len = fread(text, 1, TEXT_MAX - 1, file);
    assert_true(len > 0 && len < TEXT_MAX - 1);
    (void)fclose(file);
    return text;
}

/* The statements of the next page; NULL: there is none. *out_name: its name. */
static char *
next_page(char **rest, const char **out_name)
{
    char *const mark = *rest != NULL ? strstr(*rest, PAGE_MARK) : NULL;
    char *statements;

    if (mark == NULL)
        return NULL;
    *out_name = mark + strlen(PAGE_MARK);
    statements = strchr(mark, '\n');
    assert_non_null(statements);
    *statements++ = '\0';
    *rest = strstr(statements, PAGE_MARK);
    if (*rest != NULL)
        (*rest)[-1] = '\0'; /* the end of the line before */
    if (*rest != NULL)
        assert_true(*rest > statements);
    return statements;
}

static bool
play_page(const char *database, const char *name, const char *statements,
          const struct bound *bound)
{
    struct link_model model = link_usual();
    struct trace trace = trace_statements(database, statements);
    const struct played r = link_play(&model, database, &trace);
    struct played without;
    bool is_good;

    model.budget = 0;
    without = link_play(&model, database, &trace);
    trace_done(&trace);
    is_good = r.needed >= bound->needed_min &&
              r.round_trips <= bound->trips_max && r.vain <= bound->vain_max;
    print_message("%-52.52s needs %5u; %3u trips (%u) for %5u, %4u in vain "
                  "(%u), %.3f s%s\n",
                  name, r.needed, r.round_trips, bound->trips_max,
                  without.round_trips, r.vain, bound->vain_max, r.seconds,
                  is_good ? "" : "  <- out of bounds");
    return is_good;
}

/* All pages of a trace, each by a reader that has nothing. */
static void
check(const char *trace, const char *recipe, const struct bound *bounds,
      size_t count)
{
    char *const text = read_text(trace);
    char *rest = text;
    const char *name;
    char database[DATABASE_PATH_MAX];
    char *statements;
    size_t pages = 0;
    unsigned bad = 0;

    database_path(recipe, database);
    if (access(database, F_OK) != 0)
        database_make(recipe, recipe, "");
    while ((statements = next_page(&rest, &name)) != NULL) {
        assert_true(pages < count);
        bad += !play_page(database, name, statements, &bounds[pages]);
        pages++;
    }
    free(text);
    assert_int_equal(pages, count);
    assert_int_equal(bad, 0);
}

#define CHECK(trace, recipe, bounds)                                           \
    check(trace, recipe, bounds, sizeof(bounds) / sizeof(*(bounds)))

static void
trace__of_the_demo_keeps_to_its_bounds(void **state)
{
    static const struct bound bounds[] = {
        {1, 3, 2},  {2, 4, 2},     {493, 13, 9}, {108, 83, 181},
        {50, 6, 2}, {251, 18, 62}, {12, 16, 9},  {8, 10, 9},
    };

    (void)state;
    CHECK("demo", "packages", bounds);
}

static void
trace__of_djangos_admin_keeps_to_its_bounds(void **state)
{
    static const struct bound bounds[] = {
        {0, 0, 2},       {174, 24, 197}, {1521, 32, 2}, {1521, 58, 2},
        {1344, 123, 58}, {3, 5, 2},      {68, 10, 39},  {1103, 138, 41},
        {3, 5, 2},       {10, 14, 2},
    };

    (void)state;
    CHECK("django_admin", "library", bounds);
}

static void
trace__of_a_dashboard_keeps_to_its_bounds(void **state)
{
    static const struct bound bounds[] = {
        {2124, 50, 2}, {676, 23, 2}, {676, 23, 2}, {3, 5, 2},
        {506, 14, 16}, {2, 4, 2},    {81, 87, 33},
    };

    (void)state;
    CHECK("datasette", "packages", bounds);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trace__of_the_demo_keeps_to_its_bounds),
        cmocka_unit_test(trace__of_djangos_admin_keeps_to_its_bounds),
        cmocka_unit_test(trace__of_a_dashboard_keeps_to_its_bounds),
    };

    return cmocka_run_group_tests_name("traces", tests, databases_begin,
                                       databases_end);
}
