/*
 * follow.h - `ramet sync --follow`: a sidecar for short-lived writers.
 *
 * Follows all files and directories that were named, in one process; one that
 * fails holds up no other.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_FOLLOW_H
#define RAMET_CLI_FOLLOW_H

#include "cli/verb.h"

/* Stays until SIGTERM or SIGINT; gives the exit code. */
int cli_follow(const struct cli_args *args);

#endif
