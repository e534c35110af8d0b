/*
 * functions.c - see functions.h; docs/sqlite.md describes them to users.
 */
#include "vfs/functions.h"

#include <stdint.h>
#include <stdio.h>

#include "client/ramet.h"
#include "vfs/connection.h"
#include "vfs/verbs.h"

static void
answer(sqlite3_context *context, const struct ramet_verb_result *result)
{
    if (result->is_number)
        sqlite3_result_int64(context, result->number);
    else if (result->is_text)
        sqlite3_result_text(context, result->text, -1, SQLITE_TRANSIENT);
    else
        sqlite3_result_null(context);
}

static void
fail(sqlite3_context *context, enum ramet_rc rc, const struct ramet_err *err)
{
    sqlite3_result_error(context, err->text, -1);
    sqlite3_result_error_code(
        context, ramet_vfs_code(RAMET_OP_VERB, rc, err->sys_errno));
}

static void
run_verb(sqlite3_context *context, int arg_count, sqlite3_value **args)
{
    struct ramet_verb_call call = {
        .verb = (enum ramet_verb)(intptr_t)sqlite3_user_data(context),
        .connection = sqlite3_context_db_handle(context),
    };
    const char *schema = "main";

    if (arg_count == 1 && sqlite3_value_type(args[0]) != SQLITE_NULL) {
        schema = (const char *)sqlite3_value_text(args[0]);
        if (schema == NULL) {
            sqlite3_result_error_nomem(context);
            return;
        }
    }
    (void)sqlite3_file_control(call.connection, schema, RAMET_FCNTL_VERB,
                               &call);
    if (!call.was_run) {
        call.rc = RAMET_FAIL(&call.err, RAMET_EINVAL,
                             "not a Ramet replica: open it with vfs=ramet");
        ramet_connection_note(call.connection, call.err.text);
    }
    if (call.rc == RAMET_OK)
        answer(context, &call.result);
    else
        fail(context, call.rc, &call.err);
}

static void
run_version(sqlite3_context *context, int arg_count, sqlite3_value **args)
{
    (void)arg_count;
    (void)args;
    sqlite3_result_text(context, RAMET_VERSION_STRING, -1, SQLITE_STATIC);
}

/* Of the connection, whichever of its databases it was about. */
static void
run_errmsg(sqlite3_context *context, int arg_count, sqlite3_value **args)
{
    char text[RAMET_ERR_TEXT_MAX];

    (void)arg_count;
    (void)args;
    ramet_connection_last(sqlite3_user_data(context), text, sizeof(text));
    if (text[0] != '\0')
        sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static int
register_verb(sqlite3 *connection, enum ramet_verb verb, int arg_count)
{
    const int flags =
        SQLITE_UTF8 | (ramet_verb_acts(verb) ? SQLITE_DIRECTONLY : 0);
    char name[32];

    (void)snprintf(name, sizeof(name), "ramet_%s", ramet_verb_name(verb));
    return sqlite3_create_function_v2(connection, name, arg_count, flags,
                                      (void *)(intptr_t)verb, run_verb, NULL,
                                      NULL, NULL);
}

static int
register_errmsg(sqlite3 *connection)
{
    struct ramet_connection *const mine = ramet_connection_get(connection);

    /* Where it fails SQLite has dropped `mine`. */
    return mine == NULL
               ? SQLITE_NOMEM
               : sqlite3_create_function_v2(connection, "ramet_errmsg", 0,
                                            SQLITE_UTF8, mine, run_errmsg, NULL,
                                            NULL, ramet_connection_drop);
}

int
ramet_functions_register(sqlite3 *connection)
{
    int code = register_errmsg(connection);

    if (code == SQLITE_OK)
        code = sqlite3_create_function_v2(connection, "ramet_version", 0,
                                          SQLITE_UTF8, NULL, run_version, NULL,
                                          NULL, NULL);
    for (int v = 0; v < RAMET_VERB_COUNT && code == SQLITE_OK; v++) {
        const enum ramet_verb verb = (enum ramet_verb)v;

        if (verb == RAMET_VERB_VERSION)
            continue;
        code = register_verb(connection, verb, 1);
        if (code == SQLITE_OK && verb != RAMET_VERB_ERRMSG)
            code = register_verb(connection, verb, 0);
    }
    return code;
}
