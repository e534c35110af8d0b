/*
 * verbs.c - see verbs.h.
 */
#include "vfs/verbs.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/ramet.h"
#include "client/volume/file_wait.h"
#include "vfs/connection.h"
#include "vfs/patience.h"

const char *
ramet_verb_name(enum ramet_verb verb)
{
    switch (verb) {
    case RAMET_VERB_PUSH:
        return "push";
    case RAMET_VERB_PULL:
        return "pull";
    case RAMET_VERB_FETCH:
        return "fetch";
    case RAMET_VERB_SYNC:
        return "sync";
    case RAMET_VERB_HYDRATE:
        return "hydrate";
    case RAMET_VERB_RESET:
        return "reset";
    case RAMET_VERB_WAIT:
        return "wait";
    case RAMET_VERB_WAIT_DURABLE:
        return "wait_durable";
    case RAMET_VERB_PREFETCH:
        return "prefetch";
    case RAMET_VERB_LSN:
        return "lsn";
    case RAMET_VERB_ERRMSG:
        return "errmsg";
    case RAMET_VERB_VERSION:
        return "version";
    }
    return "?";
}

bool
ramet_verb_acts(enum ramet_verb verb)
{
    return verb <= RAMET_VERB_WAIT_DURABLE;
}

bool
ramet_verb_waits(enum ramet_verb verb)
{
    return verb == RAMET_VERB_WAIT || verb == RAMET_VERB_WAIT_DURABLE;
}

static void
set_text(struct ramet_verb_result *out, const char *text)
{
    assert(!out->is_number);
    out->is_text = true;
    (void)snprintf(out->text, sizeof(out->text), "%s", text);
}

static void
set_number(struct ramet_verb_result *out, uint64_t number)
{
    assert(!out->is_text);
    out->is_number = true;
    out->number = (sqlite3_int64)number;
}

static enum ramet_rc
reset(struct ramet_file *file, struct ramet_verb_result *out,
      struct ramet_err *err)
{
    struct ramet_sync_result result = {0};
    char kept[sizeof(out->text)] = "";
    enum ramet_rc rc;

    rc = ramet_file_reset(file, false, kept, sizeof(kept), &result, err);
    if (rc == RAMET_OK && kept[0] != '\0')
        set_text(out, kept);
    return rc;
}

static enum ramet_rc
wait_durable(struct ramet_file *file, uint64_t timeout_ms,
             struct ramet_verb_result *out, struct ramet_err *err)
{
    char token[RAMET_COMMIT_TOKEN_SIZE];
    const enum ramet_rc rc =
        ramet_file_wait_durable(file, timeout_ms, token, err);

    if (rc == RAMET_OK && token[0] != '\0')
        set_text(out, token);
    return rc;
}

static enum ramet_rc
act(struct ramet_verb_call *call, struct ramet_file *file)
{
    const uint64_t timeout_ms =
        call->timeout_ms > 0 ? call->timeout_ms : RAMET_WAIT_DEFAULT_MS;
    const enum ramet_verb verb = call->verb;
    struct ramet_verb_result *const out = &call->result;
    struct ramet_err *const err = &call->err;
    struct ramet_sync_result result = {0};
    enum ramet_rc rc = RAMET_EINVAL;
    uint64_t number = 0;

    assert(call->was_run && verb < RAMET_VERB_COUNT);
    switch (verb) {
    case RAMET_VERB_PUSH:
        rc = ramet_file_push(file, &result, err);
        number = result.durable_lsn;
        break;
    case RAMET_VERB_PULL:
        rc = ramet_file_pull(file, &result, err);
        number = result.durable_lsn;
        break;
    case RAMET_VERB_FETCH:
        rc = ramet_file_fetch(file, &result, err);
        number = result.remote_lsn;
        break;
    case RAMET_VERB_SYNC:
        rc = ramet_file_sync(file, &result, err);
        number = result.durable_lsn;
        break;
    case RAMET_VERB_HYDRATE:
        rc = ramet_file_hydrate(file, &result, err);
        number = result.pages;
        break;
    case RAMET_VERB_RESET:
        return reset(file, out, err);
    case RAMET_VERB_WAIT:
        rc = call->token != NULL
                 ? ramet_file_wait(file, call->token, timeout_ms, &number, err)
                 : RAMET_FAIL(err, RAMET_EINVAL, "no token or LSN to wait for");
        break;
    case RAMET_VERB_WAIT_DURABLE:
        return wait_durable(file, timeout_ms, out, err);
    case RAMET_VERB_PREFETCH:
        rc = call->question != NULL
                 ? ramet_file_prefetch(file, call->question, &number, err)
                 : RAMET_FAIL(err, RAMET_EINVAL,
                              "no statement; call the function");
        break;
    case RAMET_VERB_LSN:
        rc = RAMET_OK;
        number = ramet_file_snapshot(file)->lsn;
        break;
    case RAMET_VERB_ERRMSG:
    case RAMET_VERB_VERSION:
        assert(!"answered before");
        break;
    }
    if (rc == RAMET_OK)
        set_number(out, number);
    return rc;
}

/* PRAGMA query_only; where that can't be told (an authorizer keeps it back),
 * the statement is somebody's who is not trusted. */
static bool
may_only_query(sqlite3 *connection)
{
    sqlite3_stmt *stmt = NULL;
    bool may_only = true;

    assert(connection != NULL);
    if (sqlite3_prepare_v2(connection, "PRAGMA query_only", -1, &stmt, NULL) ==
            SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW)
        may_only = sqlite3_column_int(stmt, 0) != 0;
    (void)sqlite3_finalize(stmt);
    return may_only;
}

/* What the file does not see to by itself (client/file.h). */
static enum ramet_rc
check(const struct ramet_dbfile *db, const struct ramet_verb_call *call,
      struct ramet_err *err)
{
    assert(call->connection != NULL);
    if (db->functions_off)
        return RAMET_FAIL(err, RAMET_EAUTH,
                          "cannot %s: it was opened with functions=off",
                          ramet_verb_name(call->verb));
    if (!ramet_verb_acts(call->verb))
        return RAMET_OK;
    if (ramet_connection_has_question(call->connection))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "cannot %s: a statement that ramet_prefetch() runs "
                          "only reads",
                          ramet_verb_name(call->verb));
    if (!sqlite3_get_autocommit(call->connection) ||
        db->lock > SQLITE_LOCK_NONE)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "cannot %s inside a transaction, nor with "
                          "locking_mode=exclusive",
                          ramet_verb_name(call->verb));
    return RAMET_OK;
}

static enum ramet_rc
check_query_only(const struct ramet_dbfile *db, struct ramet_verb_call *call)
{
    const bool only_pulls = call->verb == RAMET_VERB_PULL ||
                            call->verb == RAMET_VERB_FETCH ||
                            call->verb == RAMET_VERB_WAIT;

    assert(ramet_verb_acts(call->verb));
    if ((only_pulls && db->may_pull) || !may_only_query(call->connection))
        return RAMET_OK;
    return RAMET_FAIL(&call->err, RAMET_EREADONLY,
                      "cannot %s: PRAGMA query_only is on",
                      ramet_verb_name(call->verb));
}

static enum ramet_rc
act_patiently(struct ramet_dbfile *db, struct ramet_verb_call *call)
{
    struct ramet_verb_patience patience;
    enum ramet_rc rc = RAMET_ECANCELLED;

    assert(ramet_verb_acts(call->verb) && db->lock == SQLITE_LOCK_NONE);
    ramet_verb_patience_begin(&patience, db, call->connection);
    if (!patience.is_interrupted)
        rc = check_query_only(db, call);
    if (rc == RAMET_OK)
        rc = act(call, db->file);
    if (rc != RAMET_OK && patience.is_interrupted)
        rc = RAMET_FAIL(&call->err, RAMET_ECANCELLED, "%s was interrupted",
                        ramet_verb_name(call->verb));
    ramet_file_set_waiter(db->file, NULL);
    ramet_verb_patience_end(&patience);
    return rc;
}

void
ramet_verb_call(struct ramet_dbfile *db, struct ramet_verb_call *call)
{
    assert(!call->was_run && call->verb < RAMET_VERB_COUNT);
    call->was_run = true;
    if (call->verb == RAMET_VERB_VERSION) {
        set_text(&call->result, RAMET_VERSION_STRING);
        return;
    }
    if (call->verb == RAMET_VERB_ERRMSG) {
        if (db->failure.code != RAMET_OK && !db->functions_off)
            set_text(&call->result, db->failure.text);
        return;
    }
    call->rc = check(db, call, &call->err);
    if (call->rc == RAMET_OK)
        call->rc = ramet_verb_acts(call->verb) ? act_patiently(db, call)
                                               : act(call, db->file);
    if (call->rc == RAMET_OK)
        return;
    db->failure = call->err;
    ramet_connection_note(call->connection, call->err.text);
}
