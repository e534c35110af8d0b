/*
 * play.c - plays statements on a database through the predictor, by hand:
 *
 *   prefetch_play DATABASE "name|SQL" …
 *
 * and prints for each what it costs without and with it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/prefetch/link_model.h"

int
main(int argc, char **argv)
{
    struct link_model none = link_usual();
    struct link_model usual = link_usual();

    if (argc < 3) {
        fprintf(stderr, "usage: prefetch_play DATABASE \"name|SQL\" ...\n");
        return 2;
    }
    none.budget = 0;
    if (getenv("OPEN_PAGES") != NULL)
        none.open_pages = usual.open_pages =
            (uint32_t)atoi(getenv("OPEN_PAGES"));
    printf("%-16s %7s %7s | %7s %5s %7s %6s %6s %6s\n", "query", "needed", "s",
           "trips", "", "s", "reqs", "vain", "peak");
    for (int i = 2; i < argc; i++) {
        const char *const bar = strchr(argv[i], '|');
        const char *const sql = bar != NULL ? bar + 1 : argv[i];
        struct trace trace = trace_statements(argv[1], sql);
        const struct played a = link_play(&none, argv[1], &trace);
        const struct played b = link_play(&usual, argv[1], &trace);

        printf("%-16.*s %7u %7.2f | %7u %5s %7.3f %6u %6u %6u\n",
               bar != NULL ? (int)(bar - argv[i]) : 16, argv[i], b.needed,
               a.seconds, b.round_trips, "", b.seconds, b.requests, b.vain,
               b.peak);
        trace_done(&trace);
    }
    return 0;
}
