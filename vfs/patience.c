/*
 * patience.c - see patience.h.
 *
 * sqlite3_is_interrupted() is too young (3.41) to rely on: what tells is that
 * SQLite ends the parsing of a statement with SQLITE_INTERRUPT. Two things are
 * to be heeded.
 *
 *   (1) The flag is cleared when a statement is parsed or begun while none is
 *       at work, which in a pragma none is: so one of ours stands by, half
 *       done, throughout.
 *   (2) To prepare a statement begins the count anew that the busy handler is
 *       given, and then its time never ends. A file control keeps that count
 *       (sqlite3_file_control(), main.c): so the look is made inside of one.
 */
#include "vfs/patience.h"

#include <assert.h>

#include "core/os.h"

#define LOOK_EVERY_NS 5000000u /* it is asked for every page, too */
#define KEEPS_COUNT 3040000    /* the oldest SQLite of which (2) is known */

static const char probe[] = "SELECT 1"; /* with a blank: there it looks */

void
ramet_verb_patience_look(struct ramet_verb_patience *patience)
{
    sqlite3_stmt *stmt = NULL;

    assert(patience->connection != NULL);
    patience->is_interrupted =
        sqlite3_prepare_v2(patience->connection, probe, -1, &stmt, NULL) ==
        SQLITE_INTERRUPT;
    (void)sqlite3_finalize(stmt);
}

static bool
is_over(void *ctx)
{
    struct ramet_verb_patience *const patience = ctx;
    const struct ramet_os *const os = ramet_os_system();
    const uint64_t now_ns = os->mono_ns(os->ctx);

    assert(patience->hold == NULL || patience->schema != NULL);
    if (patience->hold == NULL || patience->is_interrupted ||
        now_ns - patience->looked_ns < LOOK_EVERY_NS)
        return patience->is_interrupted;
    patience->looked_ns = now_ns;
    (void)sqlite3_file_control(patience->connection, patience->schema,
                               RAMET_FCNTL_INTERRUPTED, patience);
    return patience->is_interrupted;
}

static bool
wait(void *ctx)
{
    struct ramet_verb_patience *const patience = ctx;
    const struct ramet_busy_handler *const busy = patience->busy;

    return !is_over(patience) && busy->call != NULL &&
           busy->call(busy->ctx) != 0 && !is_over(patience);
}

/* NULL where an authorizer refuses it: then nothing can be told. */
static sqlite3_stmt *
begin_probe(sqlite3 *connection, int *out_code)
{
    sqlite3_stmt *stmt = NULL;

    assert(out_code != NULL);
    *out_code = sqlite3_prepare_v2(connection, probe, -1, &stmt, NULL);
    if (*out_code == SQLITE_OK)
        *out_code = sqlite3_step(stmt);
    if (*out_code == SQLITE_ROW)
        return stmt;
    (void)sqlite3_finalize(stmt);
    return NULL;
}

void
ramet_verb_patience_begin(struct ramet_verb_patience *patience,
                          struct ramet_dbfile *db, sqlite3 *connection)
{
    int code = SQLITE_OK;

    assert(connection != NULL && db->file != NULL);
    *patience = (struct ramet_verb_patience){
        .base = {.wait = wait, .is_over = is_over, .ctx = patience},
        .busy = &db->busy,
        .connection = connection,
    };
    if (sqlite3_libversion_number() >= KEEPS_COUNT)
        patience->schema = ramet_dbfile_schema(db);
    if (patience->schema != NULL)
        patience->hold = begin_probe(connection, &code);
    patience->is_interrupted = code == SQLITE_INTERRUPT;
    ramet_file_set_waiter(db->file, &patience->base);
}

void
ramet_verb_patience_end(struct ramet_verb_patience *patience)
{
    (void)sqlite3_finalize(patience->hold);
}
