/*
 * stop.h - SIGINT and SIGTERM as a flag that long work looks at.
 *
 * The first signal asks the work to stop at its next step, and what was begun
 * is left as a crash would leave it: whole or to be resolved. A second signal
 * ends the process at once, which is as safe.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_STOP_H
#define RAMET_CLI_STOP_H

#include <stdbool.h>
#include <stdint.h>

void cli_stop_install(void);
bool cli_stop_wanted(void);
/* As a signal would. */
void cli_stop_want(void);
/* Sleep; false as soon as a stop is wanted. */
bool cli_stop_sleep(uint64_t ms);

#endif
