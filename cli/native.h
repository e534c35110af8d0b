/*
 * native.h - what SQLite itself has to finish in a database before it becomes
 * a replica.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_NATIVE_H
#define RAMET_CLI_NATIVE_H

#include <stdbool.h>

#include "core/err.h"

/*
 * A program that was killed leaves commits in FILE-wal, or half of one in FILE
 * and the rest in FILE-journal: have SQLite bring them in or roll back, as the
 * next program to open FILE would. Does nothing where nothing was left, or FILE
 * is no database. RAMET_EBUSY: somebody has it open; close it there.
 */
RAMET_NODISCARD enum ramet_rc
cli_native_finish(const char *path, struct ramet_err *err);
/* Is the file a database in WAL mode? */
bool cli_native_is_wal(const char *path);

#endif
