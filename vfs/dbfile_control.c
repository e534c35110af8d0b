/*
 * dbfile_control.c - xFileControl, and the pragmas among it.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/store/replicas.h"
#include "core/os.h"
#include "vfs/dbfile_parts.h"
#include "vfs/patience.h"
#include "vfs/verbs.h"

/* Whether the file was moved is looked at when SQLite asks, at the start of a
 * journal, but not more often than this: it costs a system call. */
#define MOVED_INTERVAL_NS 20000000u

static bool
has_moved(struct ramet_dbfile *db)
{
    const struct ramet_os *os = ramet_os_system();
    const uint64_t now_ns = os->mono_ns(os->ctx);

    if (db->session == NULL ||
        now_ns - db->moved_checked_ns < MOVED_INTERVAL_NS)
        return false;
    if (ramet_session_has_moved(db->session))
        return true; /* asked again next time: the answer stays */
    db->moved_checked_ns = now_ns;
    return false;
}

/* As "unix": negative asks, else sets. */
static void
get_or_set(bool *flag, int *arg)
{
    assert(flag != NULL && arg != NULL);
    if (*arg < 0)
        *arg = *flag;
    else
        *flag = *arg != 0;
}

/* ---- pragmas --------------------------------------------------------------
 */

/*
 * SQLite refuses WAL on a VFS without shared memory, and answers with the
 * mode that stays; but in exclusive mode it would try all the same
 * (sqlite3PagerWalSupported() in pager.c). There the answer is given here.
 */
static int
pragma_journal_mode(struct ramet_dbfile *db, char **args)
{
    char answer[32];

    assert(args[1] != NULL);
    if (args[2] == NULL || sqlite3_stricmp(args[2], "wal") != 0)
        return SQLITE_NOTFOUND;
    ramet_dbfile_ask_pragma(db, "locking_mode", answer, sizeof(answer));
    if (strcmp(answer, "exclusive") != 0)
        return SQLITE_NOTFOUND;
    ramet_dbfile_ask_pragma(db, "journal_mode", answer, sizeof(answer));
    args[0] = sqlite3_mprintf("%s", answer[0] != '\0' ? answer : "delete");
    return args[0] != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

static int
pragma_locking_mode(struct ramet_dbfile *db, char **args)
{
    assert(args[1] != NULL);
    if (args[2] != NULL)
        ramet_dbfile_mode_said();
    if (args[2] != NULL && sqlite3_stricmp(args[2], "exclusive") == 0)
        db->exclusive_mode = true;
    else if (args[2] != NULL && sqlite3_stricmp(args[2], "normal") == 0)
        db->exclusive_mode = false;
    return SQLITE_NOTFOUND; /* SQLite does it */
}

static int
pragma_verb(struct ramet_dbfile *db, enum ramet_verb verb, char **args)
{
    struct ramet_verb_call call = {.verb = verb, .token = args[2]};
    const struct ramet_verb_result *const result = &call.result;

    assert(verb < RAMET_VERB_COUNT);
    if (db->connection == NULL || *db->connection == NULL || db->functions_off)
        return SQLITE_NOTFOUND; /* as a pragma that nobody knows */
    call.connection = *db->connection;
    ramet_verb_call(db, &call);
    if (call.rc != RAMET_OK) {
        args[0] = sqlite3_mprintf("%s", call.err.text);
        return ramet_vfs_code(RAMET_OP_VERB, call.rc, call.err.sys_errno);
    }
    if (result->is_number)
        args[0] = sqlite3_mprintf("%lld", result->number);
    else
        args[0] = sqlite3_mprintf("%s", result->is_text ? result->text : "");
    return args[0] != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

/* args: [0] the answer, [1] the pragma's name, [2] its argument or NULL. */
static int
pragma(struct ramet_dbfile *db, char **args)
{
    assert(args[1] != NULL);
    if (sqlite3_stricmp(args[1], "journal_mode") == 0)
        return pragma_journal_mode(db, args);
    if (sqlite3_stricmp(args[1], "locking_mode") == 0)
        return pragma_locking_mode(db, args);
    if (sqlite3_strnicmp(args[1], "ramet_", 6) != 0)
        return SQLITE_NOTFOUND;
    for (int verb = 0; verb < RAMET_VERB_COUNT; verb++)
        if (sqlite3_stricmp(args[1] + 6,
                            ramet_verb_name((enum ramet_verb)verb)) == 0)
            return pragma_verb(db, (enum ramet_verb)verb, args);
    return SQLITE_NOTFOUND;
}

/* ---- all others -----------------------------------------------------------
 */

int
ramet_dbfile_control(sqlite3_file *file, int op, void *arg)
{
    struct ramet_dbfile *db = ramet_dbfile_of(file);
    bool persist_wal = false;

    switch (op) {
    case SQLITE_FCNTL_SYNC:
        return ramet_dbfile_prepare(db, arg);
    case SQLITE_FCNTL_COMMIT_PHASETWO:
        return ramet_dbfile_publish(db);
    case SQLITE_FCNTL_PDB:
        db->connection = arg;
        return SQLITE_OK;
    case SQLITE_FCNTL_PRAGMA:
        return pragma(db, arg);
    case RAMET_FCNTL_VERB:
        ramet_verb_call(db, arg);
        return SQLITE_OK;
    case RAMET_FCNTL_INTERRUPTED:
        ramet_verb_patience_look(arg);
        return SQLITE_OK;
    case SQLITE_FCNTL_BUSYHANDLER: /* two words: the function, its argument */
        memcpy(&db->busy.call, arg, sizeof(db->busy.call));
        db->busy.ctx = ((void **)arg)[1];
        return SQLITE_OK;
    case SQLITE_FCNTL_HAS_MOVED:
        *(int *)arg = has_moved(db);
        return SQLITE_OK;
    case SQLITE_FCNTL_LOCKSTATE:
        *(int *)arg = db->lock;
        return SQLITE_OK;
    case SQLITE_FCNTL_LAST_ERRNO:
        *(int *)arg = db->failure.sys_errno;
        return SQLITE_OK;
    case SQLITE_FCNTL_VFSNAME:
        *(char **)arg = sqlite3_mprintf("%s", db->vfs_name);
        return SQLITE_OK;
    case SQLITE_FCNTL_POWERSAFE_OVERWRITE:
        get_or_set(&db->powersafe, arg);
        return SQLITE_OK;
    case SQLITE_FCNTL_PERSIST_WAL: /* there is none to persist */
        get_or_set(&persist_wal, arg);
        return SQLITE_OK;
    case SQLITE_FCNTL_SIZE_HINT:
    case SQLITE_FCNTL_CHUNK_SIZE:
        return SQLITE_OK; /* the log decides how it grows */
    default:
        return SQLITE_NOTFOUND;
    }
}
