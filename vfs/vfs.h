/*
 * vfs.h - the two VFSs, "ramet" and "ramet-auto".
 *
 * "ramet" makes every main database a replica. "ramet-auto" does so only for
 * what is one already or names a remote, and is the VFS below it for all
 * else: it may be the default for programs that can't name a VFS. Journals of
 * replicas are private (journal.h); every other file is the VFS's below.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_VFS_H
#define RAMET_VFS_VFS_H

#include <stdbool.h>

#include "vfs/api.h"

/* Register both over SQLite's default VFS; `as_default` makes "ramet-auto"
 * the default. Done already: only that. SQLITE_ERROR with *out_text (static)
 * where another copy of Ramet registered them. */
int ramet_vfs_register(bool as_default, const char **out_text);

#endif
