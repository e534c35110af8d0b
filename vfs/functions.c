/*
 * functions.c - see functions.h; docs/sqlite.md describes them to users.
 */
#include "vfs/functions.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "client/ramet.h"
#include "client/remote/question.h"
#include "vfs/connection.h"
#include "vfs/verbs.h"

#define PREFETCH_VALUES_MAX 100u

static void
answer(sqlite3_context *context, const struct ramet_verb_result *result)
{
    assert(!(result->is_number && result->is_text));
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
    assert(rc != RAMET_OK);

    sqlite3_result_error(context, err->text, -1);
    sqlite3_result_error_code(
        context, ramet_vfs_code(RAMET_OP_VERB, rc, err->sys_errno));
}

static void
run_call(sqlite3_context *context, const char *schema,
         struct ramet_verb_call *call)
{
    assert(schema != NULL && !call->was_run);
    (void)sqlite3_file_control(call->connection, schema, RAMET_FCNTL_VERB,
                               call);
    if (!call->was_run) {
        call->rc = RAMET_FAIL(&call->err, RAMET_EINVAL,
                              "not a Ramet replica: open it with vfs=ramet");
        ramet_connection_note(call->connection, call->err.text);
    }
    if (call->rc == RAMET_OK)
        answer(context, &call->result);
    else
        fail(context, call->rc, &call->err);
}

/* A text that is there, or `otherwise`; NULL: no memory. */
static const char *
text_of(int arg_count, sqlite3_value **args, int index, const char *otherwise)
{
    assert(index >= 0);
    return index < arg_count && sqlite3_value_type(args[index]) != SQLITE_NULL
               ? (const char *)sqlite3_value_text(args[index])
               : otherwise;
}

static void
run_verb(sqlite3_context *context, int arg_count, sqlite3_value **args)
{
    struct ramet_verb_call call = {
        .verb = (enum ramet_verb)(intptr_t)sqlite3_user_data(context),
        .connection = sqlite3_context_db_handle(context),
    };
    const char *const schema = text_of(arg_count, args, 0, "main");

    assert(call.verb < RAMET_VERB_COUNT);
    if (schema == NULL)
        sqlite3_result_error_nomem(context);
    else
        run_call(context, schema, &call);
}

/* Milliseconds: without an argument, or with NULL, *out stays. */
static bool
get_timeout(int arg_count, sqlite3_value **args, int index, uint64_t *out_ms)
{
    sqlite3_int64 ms;
    int type;

    assert(index >= 0 && out_ms != NULL);
    if (index >= arg_count || sqlite3_value_type(args[index]) == SQLITE_NULL)
        return true;
    type = sqlite3_value_numeric_type(args[index]);
    if (type != SQLITE_INTEGER && type != SQLITE_FLOAT)
        return false;
    ms = sqlite3_value_int64(args[index]);
    *out_ms = ms > 0 ? (uint64_t)ms : 1; /* 1: a look, and no more */
    return true;
}

/* What waits: its time-out, and a schema's name; before them, for what. */
static void
run_wait(sqlite3_context *context, int arg_count, sqlite3_value **args)
{
    struct ramet_verb_call call = {
        .verb = (enum ramet_verb)(intptr_t)sqlite3_user_data(context),
        .connection = sqlite3_context_db_handle(context),
    };
    const int after = call.verb == RAMET_VERB_WAIT ? 1 : 0;
    const char *const schema = text_of(arg_count, args, after + 1, "main");

    assert(ramet_verb_waits(call.verb));
    if (after == 1)
        call.token = text_of(arg_count, args, 0, "");
    if (!get_timeout(arg_count, args, after, &call.timeout_ms)) {
        (void)RAMET_FAIL(&call.err, RAMET_EINVAL,
                         "timeout_ms must be a number of milliseconds");
        ramet_connection_note(call.connection, call.err.text);
        fail(context, RAMET_EINVAL, &call.err);
    } else if (schema == NULL || (after == 1 && call.token == NULL))
        sqlite3_result_error_nomem(context);
    else
        run_call(context, schema, &call);
}

/* ---- prefetch by question -------------------------------------------------------- */

static struct ramet_question_value
value_of(sqlite3_value *arg)
{
    struct ramet_question_value value = {.type = RAMET_VALUE_IS_NULL};

    switch (sqlite3_value_type(arg)) {
    case SQLITE_INTEGER:
        value.type = RAMET_VALUE_IS_INTEGER;
        value.integer = sqlite3_value_int64(arg);
        break;
    case SQLITE_FLOAT:
        value.type = RAMET_VALUE_IS_REAL;
        value.real = sqlite3_value_double(arg);
        break;
    case SQLITE_TEXT:
        value.type = RAMET_VALUE_IS_TEXT;
        value.bytes = sqlite3_value_text(arg);
        value.len = (size_t)sqlite3_value_bytes(arg);
        break;
    case SQLITE_BLOB:
        value.type = RAMET_VALUE_IS_BLOB;
        value.bytes = sqlite3_value_blob(arg);
        value.len = (size_t)sqlite3_value_bytes(arg);
        break;
    }
    return value;
}

/* Behind blanks and comments. */
static const char *
first_word(const char *sql)
{
    assert(sql != NULL);
    for (;;) {
        const char *end;

        sql += strspn(sql, " \t\n\f\r");
        if (sql[0] == '-' && sql[1] == '-')
            sql += strcspn(sql, "\n");
        else if (sql[0] == '/' && sql[1] == '*' &&
                 (end = strstr(sql + 2, "*/")) != NULL)
            sql = end + 2;
        else
            return sql;
    }
}

/* Does it begin as one that reads? A pragma acts when it is prepared, and BEGIN,
 * ROLLBACK or ATTACH are read-only to sqlite3_stmt_readonly(). */
static bool
is_query(const char *sql)
{
    static const char *const words[] = {"SELECT", "VALUES", "WITH"};
    const char *const word = first_word(sql);
    const size_t len = strcspn(word, " \t\n\f\r(*-+/'\"`[.0123456789?:@$~");

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (len == strlen(words[i]) &&
            sqlite3_strnicmp(word, words[i], (int)len) == 0)
            return true;
    return false;
}

/* Why a server would not run it, or NULL. */
static const char *
refusal(sqlite3_stmt *statement, const char *tail, int value_count)
{
    assert(value_count >= 0 && tail != NULL);
    if (statement == NULL || !sqlite3_stmt_readonly(statement))
        return "it is not a statement that reads";
    if (tail[strspn(tail, " \t\r\n;")] != '\0')
        return "it is more than one statement";
    if (value_count > sqlite3_bind_parameter_count(statement))
        return "it has fewer parameters than were given";
    return NULL;
}

static void
run_statement(sqlite3_context *context, const char *sql, int value_count,
              sqlite3_value **values)
{
    sqlite3 *const connection = sqlite3_context_db_handle(context);
    sqlite3_stmt *statement = NULL;
    const char *tail = "";
    int code = sqlite3_prepare_v2(connection, sql, -1, &statement, &tail);
    const char *const why =
        code == SQLITE_OK ? refusal(statement, tail, value_count) : NULL;

    assert(value_count >= 0 && sql != NULL);
    if (why != NULL) {
        (void)sqlite3_finalize(statement);
        sqlite3_result_error(context, why, -1);
        return;
    }
    for (int i = 0; code == SQLITE_OK && i < value_count; i++)
        code = sqlite3_bind_value(statement, i + 1, values[i]);
    if (code == SQLITE_OK)
        do
            code = sqlite3_step(statement);
        while (code == SQLITE_ROW);
    if (code != SQLITE_DONE) {
        sqlite3_result_error(context, sqlite3_errmsg(connection), -1);
        sqlite3_result_error_code(context, code);
    }
    (void)sqlite3_finalize(statement);
}

/* Where no server does it: the pages come as those of any statement. */
static void
run_here(sqlite3_context *context, const char *sql, int value_count,
         sqlite3_value **values)
{
    sqlite3 *const connection = sqlite3_context_db_handle(context);

    assert(value_count >= 0 && sql != NULL);
    if (!is_query(sql)) {
        sqlite3_result_error(context, "it is not a statement that reads", -1);
    } else if (!ramet_connection_begin_question(connection)) {
        sqlite3_result_error(context, "a question can't ask another", -1);
    } else {
        run_statement(context, sql, value_count, values);
        ramet_connection_end_question(connection);
    }
}

static void
run_prefetch(sqlite3_context *context, int arg_count, sqlite3_value **args)
{
    struct ramet_question_value values[PREFETCH_VALUES_MAX];
    struct ramet_question question = {.values = values};
    struct ramet_verb_call call = {
        .verb = RAMET_VERB_PREFETCH,
        .question = &question,
        .connection = sqlite3_context_db_handle(context),
    };

    if (arg_count < 1 || arg_count > 1 + (int)PREFETCH_VALUES_MAX) {
        sqlite3_result_error(context,
                             "ramet_prefetch(sql, parameter, …) takes a "
                             "statement and at most 100 parameters",
                             -1);
        return;
    }
    question.sql = text_of(arg_count, args, 0, "");
    if (question.sql == NULL) {
        sqlite3_result_error_nomem(context);
        return;
    }
    for (int i = 1; i < arg_count; i++)
        values[question.value_count++] = value_of(args[i]);
    (void)sqlite3_file_control(call.connection, "main", RAMET_FCNTL_VERB,
                               &call);
    if (call.was_run && call.rc == RAMET_OK)
        answer(context, &call.result);
    else if (call.was_run &&
             (call.rc == RAMET_EINVAL || call.rc == RAMET_EAUTH))
        fail(context, call.rc, &call.err);
    else
        run_here(context, question.sql, arg_count - 1, args + 1);
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

    assert(sqlite3_user_data(context) != NULL);
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

    assert(verb < RAMET_VERB_COUNT && arg_count >= 0);
    (void)snprintf(name, sizeof(name), "ramet_%s", ramet_verb_name(verb));
    return sqlite3_create_function_v2(
        connection, name, arg_count, flags, (void *)(intptr_t)verb,
        ramet_verb_waits(verb) ? run_wait : run_verb, NULL, NULL, NULL);
}

/* With and without what has a default. */
static int
register_wait(sqlite3 *connection, enum ramet_verb verb)
{
    const int least = verb == RAMET_VERB_WAIT ? 1 : 0;
    int code = SQLITE_OK;

    assert(ramet_verb_waits(verb));
    for (int count = least; code == SQLITE_OK && count <= least + 2; count++)
        code = register_verb(connection, verb, count);
    return code;
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

    assert(connection != NULL);
    if (code == SQLITE_OK)
        code = sqlite3_create_function_v2(connection, "ramet_version", 0,
                                          SQLITE_UTF8, NULL, run_version, NULL,
                                          NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_create_function_v2(connection, "ramet_prefetch", -1,
                                          SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL,
                                          run_prefetch, NULL, NULL, NULL);
    for (int v = 0; v < RAMET_VERB_COUNT && code == SQLITE_OK; v++) {
        const enum ramet_verb verb = (enum ramet_verb)v;

        if (verb == RAMET_VERB_VERSION || verb == RAMET_VERB_PREFETCH)
            continue;
        if (ramet_verb_waits(verb))
            code = register_wait(connection, verb);
        else
            code = register_verb(connection, verb, 1);
        if (code == SQLITE_OK && verb != RAMET_VERB_ERRMSG &&
            !ramet_verb_waits(verb))
            code = register_verb(connection, verb, 0);
    }
    return code;
}
