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
    RAMET_VERB_WAIT,
    RAMET_VERB_WAIT_DURABLE,
    RAMET_VERB_PREFETCH,
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
#define RAMET_VERB_COUNT 12
const char *ramet_verb_name(enum ramet_verb verb);
/* It takes other arguments than a schema's name. */
bool ramet_verb_waits(enum ramet_verb verb);
/* It changes or fetches something, so that it must not come from a schema
 * (a view or trigger of a foreign database). */
bool ramet_verb_acts(enum ramet_verb verb);

/*
 * A verb that is to be run, and what came of it: the argument of the file
 * control RAMET_FCNTL_VERB, by which functions run it. Pragmas are in a file
 * control as they are. So SQLite holds the database for the connection
 * throughout (patience.h).
 */
struct ramet_verb_call {
    enum ramet_verb verb;
    const char *token;   /* RAMET_VERB_WAIT: for what */
    uint64_t timeout_ms; /* of what waits; 0: RAMET_WAIT_DEFAULT_MS */
    const struct ramet_question *question; /* RAMET_VERB_PREFETCH */
    sqlite3 *connection;                   /* whose statement asks */
    bool was_run; /* false: the database is none of ours */
    enum ramet_rc rc;
    struct ramet_err err; /* kept for ramet_errmsg(), too */
    struct ramet_verb_result result;
};

/*
 * Run a verb on `db`. Blocks: network, and what others hold, for as long as
 * the connection's busy handler says; RAMET_ECANCELLED by sqlite3_interrupt().
 * RAMET_EINVAL inside a transaction, RAMET_EREADONLY for who may only read:
 * opened so, or PRAGMA query_only; RAMET_EAUTH with functions=off.
 */
void ramet_verb_call(struct ramet_dbfile *db, struct ramet_verb_call *call);

#endif
