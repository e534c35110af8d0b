/*
 * replicas.h - the replicas in a directory, for verbs that take one.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_REPLICAS_H
#define RAMET_CLI_REPLICAS_H

#include <stdbool.h>

#include "core/err.h"

bool cli_is_directory(const char *path);
/* Called with the path of each; false ends it. */
typedef bool cli_replica_visit(void *ctx, const char *path);
/* Those whose files lie in the directory itself, by name. Only looks. */
RAMET_NODISCARD enum ramet_rc
cli_replicas_in(const char *directory, cli_replica_visit *visit, void *ctx,
                struct ramet_err *err);

#endif
