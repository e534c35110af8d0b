/*
 * exit.h - how the command ends: exit codes and the one line of an error.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_EXIT_H
#define RAMET_CLI_EXIT_H

#include "cli/verb.h"
#include "core/err.h"

/* What scripts rely on; docs/errors.md. */
enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_CONFLICT = 3, /* diverged, or somebody else was first */
    CLI_NOT_FOUND = 4,
    CLI_NOT_PERMITTED = 5,
    CLI_UNREACHABLE = 6,
    CLI_DAMAGED = 7,
};

enum cli_exit cli_exit_of(enum ramet_rc rc);

/*
 * "ramet: VERB OBJECT: why; what to do" on one line of stderr. `object` may
 * be NULL. With --json: {"error": {"verb", "object", "code", "exit", "text",
 * "todo"}} there instead. Returns the exit code of `rc`.
 */
int cli_fail(const struct cli_args *args, const char *object, enum ramet_rc rc,
             const struct ramet_err *err);
/* Wrong usage: the text, and where the help is. Returns CLI_USAGE. */
int
cli_usage(const struct cli_verb *verb, const char *fmt, ...) RAMET_PRINTF(2, 3);
/* Flush stdout; a full disk or closed pipe there is a failure as well. */
int cli_finish(int code);

#endif
