/*
 * verbs.h - what can be told to a database in SQL: push, pull and so on, for
 * the functions and for the pragmas alike.
 *
 * Layer: vfs.
 */
#ifndef RAMET_VFS_VERBS_H
#define RAMET_VFS_VERBS_H

#include <stdbool.h>

#include "vfs/dbfile.h"

enum ramet_verb {
    RAMET_VERB_PUSH,
    RAMET_VERB_PULL,
    RAMET_VERB_FETCH,
    RAMET_VERB_SYNC,
    RAMET_VERB_HYDRATE,
    RAMET_VERB_RESET,
    RAMET_VERB_LSN,
    RAMET_VERB_ERRMSG,
    RAMET_VERB_VERSION,
};

/* A number, or a text, or neither (NULL). */
struct ramet_verb_result {
    bool is_number;
    sqlite3_int64 number;
    bool is_text;
    char text[1024];
};

/* "push" for RAMET_VERB_PUSH, with the number of known verbs as the bound. */
#define RAMET_VERB_COUNT 9
const char *ramet_verb_name(enum ramet_verb verb);
/* It changes or fetches something, so that it must not come from a schema
 * (a view or trigger of a foreign database). */
bool ramet_verb_acts(enum ramet_verb verb);

/*
 * Run `verb` on `db` (NULL: not a database of ours) for `connection`.
 * Blocks: network. RAMET_EINVAL inside a transaction for verbs that act.
 * The text of a failure is in `*err`, and kept for ramet_errmsg().
 */
RAMET_NODISCARD enum ramet_rc
ramet_verb_run(enum ramet_verb verb, sqlite3 *connection,
               struct ramet_dbfile *db, struct ramet_verb_result *out,
               struct ramet_err *err);

/* Why the last open of any database failed, for who has no handle to ask:
 * what ramet_errmsg() falls back on. "" if none did. */
void
ramet_verb_note_open_failure(const char *path, const struct ramet_err *err);

#endif
