/*
 * stats.h - what a command asked of buckets, and what that costs: `--stats`, and
 * a member of what verbs print as JSON.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_STATS_H
#define RAMET_CLI_STATS_H

#include <jansson.h>

/* {"put": 2, …, "nano_usd": 10400}; NULL where no bucket was asked. */
json_t *cli_stats_json(void);
/* One line to stderr; nothing where no bucket was asked. */
void cli_stats_print(void);

#endif
