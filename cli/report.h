/*
 * report.h - what the verbs that move pages have in common: open, work under
 * a progress line, tell the result.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_REPORT_H
#define RAMET_CLI_REPORT_H

#include "cli/progress.h"
#include "cli/verb.h"
#include "client/volume/file.h"

/* "pushed 12 pages, 8.1 kB in 1 request, LSN 43 (12 ms)", or JSON. `done` is
 * the verb in the past; `path` the replica. */
int cli_report_sync(const struct cli_args *args, const char *done,
                    const char *path, const struct ramet_sync_result *result,
                    const struct cli_progress *progress);

/* "deltas    3 of LSN 43, 120 B for 12.3 kB of pages: 12.2 kB saved". */
void cli_print_deltas(const struct ramet_delta_counts *deltas);

#endif
