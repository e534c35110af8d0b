/*
 * path.h - which file a path leads to: one answer for the command, the VFS and
 * the library.
 *
 * The rule is that of SQLite's own VFS (xFullPathname of "unix", since 3.39):
 * the path is made absolute, "." and ".." are taken out, and every symbolic
 * link is followed, the last element's too and also where nothing is at its
 * end. A replica's directory stands beside the file that is found, whatever
 * name it was opened by.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_PATH_H
#define RAMET_CLIENT_STORE_PATH_H

#include <stdbool.h>

#include "core/os.h"

/*
 * The file that `path` leads to, absolute (ramet_free). What is not there, or
 * may not be looked at, is taken as it is named: opening it will tell.
 * One system call an element. *out_is_link (may be NULL): the last element of
 * `path` is a link.
 *
 *   RAMET_EINVAL   no name at all, links that lead in a circle, or too long.
 *   RAMET_EEXIST   beside a link that was followed stands the directory of a
 *                  replica: Ramet once kept it there, and using it from here
 *                  too would make two replicas over one file. The text tells
 *                  what to move.
 */
RAMET_NODISCARD enum ramet_rc
ramet_path_resolve(const struct ramet_os *os, const char *path, char **out_path,
                   bool *out_is_link, struct ramet_err *err);

#endif
