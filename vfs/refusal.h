/*
 * refusal.h - a database that could not be opened, until SQLite can be told
 * why.
 *
 * All that xOpen may answer is a code, which SQLite turns into "unable to open
 * database file"; of the connection it knows nothing yet. So a failure that
 * has more to say opens a file in which nothing works, and waits for the
 * connection: in sqlite3_open() SQLite runs the automatic extensions next, and
 * ours ends the call with the code and the text (extension.c). ATTACH looks at
 * the schema next, which fails with the code; the text is the connection's
 * last failure then, for ramet_errmsg().
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_REFUSAL_H
#define RAMET_VFS_REFUSAL_H

#include "vfs/api.h"

/* What a file handle on a refusal takes. */
int ramet_refusal_handle_size(void);
/* "Open" `file`: `code` is what everything answers. SQLITE_OK, or SQLITE_NOMEM
 * with nothing open. */
int ramet_refusal_open(sqlite3_file *file, int code, const char *text);
/* The code of the refusal behind a handle, with its text (which lives as long
 * as the handle); SQLITE_OK if it is none. */
int ramet_refusal_of(sqlite3_file *file, const char **out_text);

#endif
