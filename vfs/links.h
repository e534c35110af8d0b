/*
 * links.h - names by which SQLite was asked for a database, where they matter.
 *
 * SQLite resolves links before it opens a file (xFullPathname), and xOpen is
 * given the file that they lead to. A link beside which a replica's directory
 * stands (client/path.h) would be forgotten by then, and the file become a
 * second replica. So such links are kept, and looked at again when their file
 * is opened.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_LINKS_H
#define RAMET_VFS_LINKS_H

#include "core/err.h"

/* SQLite resolved `link` to `file`. Keeps it only if it has to be refused. */
void ramet_links_saw(const char *link, const char *file);
/* RAMET_EEXIST, with what to do: `file` was reached by such a link, and it is
 * one still. */
RAMET_NODISCARD enum ramet_rc
ramet_links_check(const char *file, struct ramet_err *err);

#endif
