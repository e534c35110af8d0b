/*
 * names.h - which names belong to databases that this process has open.
 *
 * SQLite asks for `app.db-journal` and `app.db-wal` each time it takes a
 * SHARED lock, and passes the strings that its pager made when it opened the
 * database (sqlite3_filename_journal(), _wal()). So the *address* of such a
 * string tells whose it is: a look-up without lock, system call or hashing of
 * text. Anybody else who asks for such a name, by another string (another
 * database's recovery, looking for children of a super-journal), is answered
 * by what is on disk.
 *
 *   (1) An address is in the table from before its database's xOpen returns
 *       until its xClose: whoever passes a live one finds it.
 *   (2) A look-up takes no lock and sees each entry whole or not at all.
 *   (3) Memory is only ever added; it is bounded by the largest number of
 *       databases open at once.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_NAMES_H
#define RAMET_VFS_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

struct ramet_dbfile;

/* Enter a database that was opened as `name`, and the addresses of its
 * journal's and WAL's names. RAMET_ENOMEM. */
RAMET_NODISCARD enum ramet_rc
ramet_names_add(struct ramet_dbfile *db, const char *name,
                const char *journal_name, const char *wal_name);
void ramet_names_remove(struct ramet_dbfile *db, const char *journal_name,
                        const char *wal_name);

/* Whose journal or WAL has its name at this address? NULL: nobody's. */
struct ramet_dbfile *ramet_names_owner(const char *address);

/* Call `visit` for one of the databases whose name is the first `len` bytes of
 * `name`, under the mutex: it stays open meanwhile. */
void
ramet_names_visit(const char *name, size_t len,
                  void (*visit)(struct ramet_dbfile *db, bool flag), bool flag);

/* Is `name`, by its text, the journal or WAL of a database that is open here?
 * Takes a mutex: for wrappers that hand on copies of names. */
bool ramet_names_is_private(const char *name);

#endif
