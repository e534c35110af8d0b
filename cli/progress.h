/*
 * progress.h - one line on stderr that tells how far long work is: pages,
 * bytes, rate, time left. Only on a terminal, and not before it has taken a
 * moment. Also hands a stop by signal to the work.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_PROGRESS_H
#define RAMET_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "client/volume/file.h"

/* Zeroed and begun by cli_progress_begin(); belongs to the caller. */
struct cli_progress {
    bool shown; /* stderr is a terminal, and --quiet was not said */
    bool drawn; /* there is a line to wipe */
    uint64_t began_ns;
    uint64_t drawn_ns;
};

void cli_progress_begin(struct cli_progress *progress, bool quiet);
/* A ramet_progress_fn; ctx is a struct cli_progress. May be called by another
 * thread, but by one at a time. */
bool cli_progress_step(void *ctx, const struct ramet_progress *step);
/* Wipe the line, so that the result or the error stands alone. */
void cli_progress_end(struct cli_progress *progress);
/* Since begin. */
uint64_t cli_progress_elapsed_ms(const struct cli_progress *progress);

#endif
