/*
 * stats.h - what a command asked of buckets, and what that costs; what it brought
 * ahead of what it read: `--stats`, and members of what verbs print as JSON.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_STATS_H
#define RAMET_CLI_STATS_H

#include <jansson.h>

/* {"put": 2, …, "nano_usd": 10400}; NULL where no bucket was asked. */
json_t *cli_stats_json(void);
/* {"pages": 314, "used": 300, "vain": 14}; NULL where nothing was brought ahead. */
json_t *cli_stats_prefetch_json(void);
/* A line to stderr for each; nothing where there is nothing to tell. */
void cli_stats_print(void);

#endif
