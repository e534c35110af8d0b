/*
 * env_remote.h - the remote that RAMET_REMOTE names for a file.
 *
 * RAMET_REMOTE is a list, separated by white space, of
 *
 *   FILE=URL   for that file, and no other (client/path.h says when two names
 *              are one file; a relative FILE is one of the current directory)
 *   URL        for one file: that which is named like the volume, with `.db`,
 *              `.db3`, `.sqlite` or `.sqlite3` after it or not: `…/app` for
 *              `app` and `data/app.db`, `…/app.db` for `app.db`
 *
 * where URL may be a name from ramet.conf. An environment is for the whole
 * process, and for those that it starts: all that it opens besides, a second
 * database, the target of a backup or of VACUUM INTO, must not become a
 * replica of the same volume. So of the files that a URL alone fits, the first
 * that a process opens has it, for as long as that replica is there.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_VOLUME_ENV_REMOTE_H
#define RAMET_CLIENT_VOLUME_ENV_REMOTE_H

#include <stdbool.h>

#include "client/remote/remote.h"

/*
 * The remote for the file at `path`, resolved (client/path.h); *out_found
 * false: none is named for it. `config` as in struct ramet_file_options.
 * RAMET_EINVAL: a part of the list makes no sense; RAMET_ENOTFOUND: or stands
 * for no remote of ramet.conf. Looks at links that the list names.
 */
RAMET_NODISCARD enum ramet_rc
ramet_env_remote(const struct ramet_os *os, const char *config,
                 const char *path, struct ramet_url *out_url, bool *out_found,
                 struct ramet_err *err);

#endif
