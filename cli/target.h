/*
 * target.h - what a verb works on: a replica here, or a volume at a remote.
 *
 * Layer: cli.
 */
#ifndef RAMET_CLI_TARGET_H
#define RAMET_CLI_TARGET_H

#include <stdbool.h>

#include "cli/verb.h"
#include "client/remote/remote.h"
#include "client/remote/token.h"
#include "client/volume/file.h"

/* An operand that may be a file or a URL: "scheme://…", or "name:volume" of
 * ramet.conf where no file of that name is here. */
bool cli_is_url(const char *operand);

/*
 * Open the remote that `text` names: a URL, or "name:volume" of ramet.conf,
 * with the token that is for it (client/token.h). Gives the parsed URL as
 * well. RAMET_EINVAL, RAMET_ENOTFOUND (no such remote is configured), or what
 * ramet_remote_open() says.
 */
RAMET_NODISCARD enum ramet_rc
cli_remote_open(const struct cli_args *args, const char *text,
                enum ramet_naming naming, struct ramet_url *out_url,
                struct ramet_remote **out_remote, struct ramet_err *err);
/* The same, to write there: a directory that is not there is made. */
RAMET_NODISCARD enum ramet_rc
cli_remote_make(const struct cli_args *args, const char *text,
                struct ramet_url *out_url, struct ramet_remote **out_remote,
                struct ramet_err *err);

/* Defaults of the command: nothing happens in the background. */
void cli_file_options(const struct cli_args *args,
                      struct ramet_file_options *out_options);
/* Open a replica that is here; a plain file is RAMET_ENOTFOUND. An edited
 * blob is adopted first, since for blobs the edit is the point. */
RAMET_NODISCARD enum ramet_rc
cli_file_open(const struct cli_args *args, const char *path,
              struct ramet_file **out_file, struct ramet_err *err);
/* A read-only snapshot of a volume, straight from its remote. */
RAMET_NODISCARD enum ramet_rc
cli_stateless_open(const struct cli_args *args, const char *url,
                   struct ramet_file **out_file, struct ramet_err *err);

/* A volume's history at its remote. Zeroed is closed. */
struct cli_volume {
    struct ramet_url url;
    struct ramet_remote *remote;
    struct ramet_history *history;
    struct ramet_vid id;
};
RAMET_NODISCARD enum ramet_rc
cli_volume_open(const struct cli_args *args, const char *url,
                enum ramet_naming naming, struct cli_volume *out_volume,
                struct ramet_err *err);
void cli_volume_close(struct cli_volume *volume);
/* The head that the URL means: of its LSN, of its time, or the newest.
 * RAMET_ENOTFOUND where the volume has no such commit. */
RAMET_NODISCARD enum ramet_rc
cli_volume_head(struct cli_volume *volume, struct ramet_head *out_head,
                struct ramet_err *err);

#endif
