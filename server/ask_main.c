/*
 * ask_main.c - `ramet-ask`: runs one statement for a server, on a database that it
 * has no more of than the pages it asks for.
 *
 * Statement and database are hostile, both: so before either is looked at the
 * process gives up all rights (ask_sandbox.h), and SQLite is told to read and to
 * do nothing else. What it says to the server is taken for hostile there.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/ask_sandbox.h"
#include "server/ask_vfs.h"
#include "server/ask_wire.h"

#define HEAP_BYTES (96 << 20)
#define CACHE_KIB "24576"
/* Steps of SQLite's machine; each of some ten nanoseconds. */
#define STEPS_AT_ONCE 10000
#define STEPS_MAX (50000000 / STEPS_AT_ONCE)

static char sql[RAMET_ASK_SQL_MAX + 1];
static uint8_t params[RAMET_ASK_BYTES_MAX];

static void
end(enum ramet_ask_outcome outcome, const char *text)
{
    const uint32_t none = 0;
    struct ramet_ask_end last = {.outcome = outcome};
    size_t len = strlen(text);

    assert(text != NULL);
    if (len > RAMET_ASK_TEXT_MAX)
        len = RAMET_ASK_TEXT_MAX;
    last.text_len = (uint32_t)len;
    (void)!(ramet_ask_write(&none, sizeof(none)) &&
            ramet_ask_write(&last, sizeof(last)) && ramet_ask_write(text, len));
    _exit(0);
}

static bool
is_one_of(const char *name, const char *const *names)
{
    for (; name != NULL && *names != NULL; names++)
        if (sqlite3_stricmp(name, *names) == 0)
            return true;
    return false;
}

/* To read what is in the database, and no more. */
static int
authorize(void *ctx, int action, const char *first, const char *second,
          const char *schema, const char *trigger)
{
    static const char *const tables[] = {"sqlite_dbpage", "dbstat",
                                         "sqlite_stmt",   "bytecode",
                                         "tables_used",   NULL};
    static const char *const functions[] = {"load_extension", "fts3_tokenizer",
                                            "zeroblob", "randomblob", NULL};

    (void)ctx;
    (void)schema;
    (void)trigger;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        return is_one_of(first, tables) ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_FUNCTION:
        return is_one_of(second, functions) ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_PRAGMA: /* full text asks for it */
        return sqlite3_stricmp(first, "data_version") == 0 ? SQLITE_OK
                                                           : SQLITE_DENY;
    case SQLITE_UPDATE: /* SQLite itself, to connect a virtual table: nobody can
                           write, and the statement is one that reads */
        return sqlite3_stricmp(first, "sqlite_master") == 0 ? SQLITE_OK
                                                            : SQLITE_DENY;
    default:
        return SQLITE_DENY;
    }
}

static int
count_steps(void *ctx)
{
    return ++*(unsigned *)ctx > STEPS_MAX;
}

static void
set_limits(sqlite3 *db)
{
    assert(db != NULL);
    static const struct {
        int id, most;
    } limits[] = {
        {SQLITE_LIMIT_LENGTH, 16 << 20},
        {SQLITE_LIMIT_SQL_LENGTH, RAMET_ASK_SQL_MAX},
        {SQLITE_LIMIT_COLUMN, 500},
        {SQLITE_LIMIT_EXPR_DEPTH, 100},
        {SQLITE_LIMIT_COMPOUND_SELECT, 50},
        {SQLITE_LIMIT_VDBE_OP, 50000},
        {SQLITE_LIMIT_FUNCTION_ARG, 32},
        {SQLITE_LIMIT_ATTACHED, 0},
        {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
        {SQLITE_LIMIT_VARIABLE_NUMBER, RAMET_ASK_PARAMS_MAX},
        {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
        {SQLITE_LIMIT_WORKER_THREADS, 0},
    };

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        (void)sqlite3_limit(db, limits[i].id, limits[i].most);
}

static sqlite3 *
open_database(void)
{
    static unsigned steps;
    sqlite3 *db = NULL;

    (void)sqlite3_hard_heap_limit64(HEAP_BYTES);
    if (sqlite3_open_v2("file:db?immutable=1", &db,
                        SQLITE_OPEN_READONLY | SQLITE_OPEN_URI |
                            SQLITE_OPEN_NOMUTEX,
                        "ask") != SQLITE_OK)
        end(RAMET_ASK_STOPPED, "SQLite could not be set up");
    set_limits(db);
    sqlite3_progress_handler(db, STEPS_AT_ONCE, count_steps, &steps);
    if (sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) !=
            SQLITE_OK ||
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL) !=
            SQLITE_OK ||
        sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL) !=
            SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA temp_store = memory; PRAGMA cell_size_check = 1; "
                     "PRAGMA cache_size = -" CACHE_KIB,
                     NULL, NULL, NULL) != SQLITE_OK)
        end(RAMET_ASK_STOPPED, sqlite3_errmsg(db));
    (void)sqlite3_set_authorizer(db, authorize, NULL);
    return db;
}

static void
bind(sqlite3_stmt *statement, const struct ramet_ask_begin *begin)
{
    const uint8_t *at = params;
    const uint8_t *const stop = at + begin->param_bytes;

    assert(statement != NULL && begin->param_bytes <= sizeof(params));
    for (uint32_t i = 1; i <= begin->param_count; i++) {
        uint32_t len;
        sqlite3_int64 integer = 0;
        double real = 0;
        uint8_t type;

        if (stop - at < 5)
            end(RAMET_ASK_REFUSED, "a parameter is cut off");
        type = at[0];
        memcpy(&len, at + 1, sizeof(len));
        at += 5;
        if ((size_t)(stop - at) < len ||
            ((type == SQLITE_INTEGER || type == SQLITE_FLOAT) && len != 8))
            end(RAMET_ASK_REFUSED, "a parameter is cut off");
        if (type == SQLITE_INTEGER) {
            memcpy(&integer, at, 8);
            (void)sqlite3_bind_int64(statement, (int)i, integer);
        } else if (type == SQLITE_FLOAT) {
            memcpy(&real, at, 8);
            (void)sqlite3_bind_double(statement, (int)i, real);
        } else if (type == SQLITE_TEXT)
            (void)sqlite3_bind_text(statement, (int)i, (const char *)at,
                                    (int)len, SQLITE_STATIC);
        else if (type == SQLITE_BLOB)
            (void)sqlite3_bind_blob(statement, (int)i, at, (int)len,
                                    SQLITE_STATIC);
        at += len;
    }
}

static bool
is_blank(const char *text)
{
    assert(text != NULL);
    return text[strspn(text, " \t\r\n;")] == '\0';
}

/* Is it the statement's fault, or the database's and the limits'? */
static enum ramet_ask_outcome
blame(int code)
{
    assert(code != SQLITE_OK);
    return code == SQLITE_ERROR || code == SQLITE_AUTH ? RAMET_ASK_REFUSED
                                                       : RAMET_ASK_STOPPED;
}

int
main(void)
{
    struct ramet_ask_begin begin;
    sqlite3_stmt *statement = NULL;
    const char *tail = "";
    sqlite3 *db;
    int code;

    if (!ramet_ask_read(&begin, sizeof(begin)) ||
        begin.magic != RAMET_ASK_MAGIC || begin.page_size < 512 ||
        begin.page_size > 65536 || begin.sql_len > RAMET_ASK_SQL_MAX ||
        begin.param_bytes > RAMET_ASK_BYTES_MAX - begin.sql_len ||
        !ramet_ask_read(sql, begin.sql_len) ||
        !ramet_ask_read(params, begin.param_bytes))
        return 1;
    if (!ramet_ask_lock_down()) {
        end(RAMET_ASK_STOPPED, "the kernel can't lock a process down");
        return 1;
    }
    if (ramet_ask_vfs_register(begin.page_size, begin.page_count) != SQLITE_OK)
        end(RAMET_ASK_STOPPED, "SQLite could not be set up");
    db = open_database();
    code = sqlite3_prepare_v2(db, sql, (int)begin.sql_len, &statement, &tail);
    if (code != SQLITE_OK)
        end(blame(code & 0xff), sqlite3_errmsg(db));
    if (statement == NULL || !sqlite3_stmt_readonly(statement))
        end(RAMET_ASK_REFUSED, "it is not a statement that reads");
    if (!is_blank(tail))
        end(RAMET_ASK_REFUSED, "it is more than one statement");
    bind(statement, &begin);
    do
        code = sqlite3_step(statement);
    while (code == SQLITE_ROW);
    if (code != SQLITE_DONE)
        end(blame(code & 0xff), sqlite3_errmsg(db));
    end(RAMET_ASK_DONE, "");
    return 0;
}
