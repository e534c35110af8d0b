/*
 * functions.c - see functions.h; docs/sqlite.md describes them to users.
 */
#include "vfs/functions.h"

#include <stdint.h>
#include <stdio.h>

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
run_verb(sqlite3_context *context, int arg_count, sqlite3_value **args)
{
    const enum ramet_verb verb =
        (enum ramet_verb)(intptr_t)sqlite3_user_data(context);
    sqlite3 *connection = sqlite3_context_db_handle(context);
    const char *schema = "main";
    struct ramet_verb_result result;
    struct ramet_err err = {.code = RAMET_OK};
    enum ramet_rc rc;

    if (arg_count == 1 && sqlite3_value_type(args[0]) != SQLITE_NULL) {
        schema = (const char *)sqlite3_value_text(args[0]);
        if (schema == NULL) {
            sqlite3_result_error_nomem(context);
            return;
        }
    }
    rc = ramet_verb_run(verb, connection, ramet_dbfile_find(connection, schema),
                        &result, &err);
    if (rc == RAMET_OK) {
        answer(context, &result);
        return;
    }
    sqlite3_result_error(context, err.text, -1);
    sqlite3_result_error_code(context,
                              ramet_vfs_code(RAMET_OP_VERB, rc, err.sys_errno));
}

static int
register_verb(sqlite3 *connection, enum ramet_verb verb)
{
    const int flags =
        SQLITE_UTF8 | (ramet_verb_acts(verb) ? SQLITE_DIRECTONLY : 0);
    char name[32];
    int code;

    (void)snprintf(name, sizeof(name), "ramet_%s", ramet_verb_name(verb));
    code = sqlite3_create_function_v2(connection, name, 0, flags,
                                      (void *)(intptr_t)verb, run_verb, NULL,
                                      NULL, NULL);
    if (code == SQLITE_OK && verb != RAMET_VERB_VERSION)
        code = sqlite3_create_function_v2(connection, name, 1, flags,
                                          (void *)(intptr_t)verb, run_verb,
                                          NULL, NULL, NULL);
    return code;
}

int
ramet_functions_register(sqlite3 *connection)
{
    int code = SQLITE_OK;

    for (int verb = 0; verb < RAMET_VERB_COUNT && code == SQLITE_OK; verb++)
        code = register_verb(connection, (enum ramet_verb)verb);
    return code;
}
