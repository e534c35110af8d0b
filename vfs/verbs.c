/*
 * verbs.c - see verbs.h.
 */
#include "vfs/verbs.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/ramet.h"
#include "core/thread.h"

static struct {
    struct ramet_mutex mutex;
    char text[1024];
} last_open_failure = {.mutex = RAMET_MUTEX_INIT};

__attribute__((constructor)) static void
hold_across_fork(void)
{
    ramet_mutex_hold_across_fork(&last_open_failure.mutex);
}

void
ramet_verb_note_open_failure(const char *path, const struct ramet_err *err)
{
    ramet_mutex_lock(&last_open_failure.mutex);
    (void)snprintf(last_open_failure.text, sizeof(last_open_failure.text),
                   "%.480s: %s", path, err->text);
    ramet_mutex_unlock(&last_open_failure.mutex);
}

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
    return verb <= RAMET_VERB_RESET;
}

static void
set_text(struct ramet_verb_result *out, const char *text)
{
    out->is_text = true;
    (void)snprintf(out->text, sizeof(out->text), "%s", text);
}

static void
set_number(struct ramet_verb_result *out, uint64_t number)
{
    out->is_number = true;
    out->number = (sqlite3_int64)number;
}

static void
errmsg(const struct ramet_dbfile *db, struct ramet_verb_result *out)
{
    if (db != NULL && db->err.code != RAMET_OK) {
        set_text(out, db->err.text);
        return;
    }
    ramet_mutex_lock(&last_open_failure.mutex);
    if (last_open_failure.text[0] != '\0')
        set_text(out, last_open_failure.text);
    ramet_mutex_unlock(&last_open_failure.mutex);
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
act(enum ramet_verb verb, struct ramet_file *file,
    struct ramet_verb_result *out, struct ramet_err *err)
{
    struct ramet_sync_result result = {0};
    enum ramet_rc rc = RAMET_EINVAL;
    uint64_t number = 0;

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
    case RAMET_VERB_LSN:
    case RAMET_VERB_ERRMSG:
    case RAMET_VERB_VERSION:
        assert(!"answers without acting");
        break;
    }
    if (rc == RAMET_OK)
        set_number(out, number);
    return rc;
}

enum ramet_rc
ramet_verb_run(enum ramet_verb verb, sqlite3 *connection,
               struct ramet_dbfile *db, struct ramet_verb_result *out,
               struct ramet_err *err)
{
    enum ramet_rc rc;

    memset(out, 0, sizeof(*out));
    if (verb == RAMET_VERB_VERSION) {
        set_text(out, RAMET_VERSION_STRING);
        return RAMET_OK;
    }
    if (verb == RAMET_VERB_ERRMSG) {
        errmsg(db, out);
        return RAMET_OK;
    }
    if (db == NULL)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "not a Ramet replica: open it with vfs=ramet");
    if (verb == RAMET_VERB_LSN) {
        set_number(out, ramet_file_snapshot(db->file)->lsn);
        return RAMET_OK;
    }
    if (!sqlite3_get_autocommit(connection) || db->lock > SQLITE_LOCK_NONE)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "cannot %s inside a transaction, nor with "
                          "locking_mode=exclusive",
                          ramet_verb_name(verb));
    rc = act(verb, db->file, out, err);
    if (rc != RAMET_OK)
        db->err = *err;
    return rc;
}
