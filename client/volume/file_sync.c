/*
 * file_sync.c - the sync verbs of file.h.
 *
 * Layer: client.
 */
#include <assert.h>
#include <string.h>

#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/replicas.h"
#include "client/store/store.h"
#include "client/sync/background.h"
#include "client/sync/progress.h"
#include "client/sync/replica_sync.h"
#include "client/sync/sync.h"
#include "client/volume/file.h"
#include "client/volume/file_impl.h"
#include "client/volume/stateless.h"

typedef enum ramet_rc verb_run(struct ramet_sync *sync, struct ramet_err *err);

/* Push, pull and their like act for all who have the replica open: who asks
 * must be allowed to. */
static enum ramet_rc
check_right(const struct ramet_file *file, const char *verb,
            struct ramet_err *err)
{
    const bool only_pulls =
        strcmp(verb, "pull") == 0 || strcmp(verb, "fetch") == 0;

    assert(file->stateless == NULL); /* invariant 1 */
    if ((file->flags & RAMET_OPEN_READONLY) == 0 ||
        ((file->flags & RAMET_OPEN_PULL) != 0 && only_pulls))
        return RAMET_OK;
    return RAMET_FAIL(
        err, RAMET_EREADONLY, "%s: is open for reading only: no %s from here%s",
        file->path, verb, only_pulls ? " (allow=pull permits it)" : "");
}

enum ramet_rc
ramet_file_check_verb(struct ramet_file *file, const char *verb,
                      struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_file_check_fork(file, err);

    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (rc != RAMET_OK)
        return rc;
    if (file->stateless != NULL)
        return RAMET_FAIL(
            err, RAMET_EREADONLY,
            "%.200s: a snapshot without a replica can't %s",
            ramet_remote_client_text(ramet_stateless_client(file->stateless)),
            verb);
    if (ramet_session_is_reserved(file->session))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: %s inside a write transaction; commit first",
                          file->path, verb);
    return check_right(file, verb, err);
}

static struct ramet_sync
sync_of(const struct ramet_file *file, const char *verb)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    return (struct ramet_sync){
        .verb = verb,
        .progress = file->progress,
        .progress_ctx = file->progress_ctx,
        .wait_ms = RAMET_VERB_WAIT_MS,
        .patience = file->patience,
        .follows = (file->flags & RAMET_OPEN_READONLY) != 0,
    };
}

/* `sync` as of sync_of(). */
static enum ramet_rc
run_with(struct ramet_file *file, struct ramet_sync *sync, verb_run *run,
         struct ramet_sync_result *out, struct ramet_err *err)
{
    struct ramet_err own = {.code = RAMET_OK};
    enum ramet_rc rc = ramet_file_check_verb(file, sync->verb, err);

    assert(sync->verb != NULL && sync->session == NULL);
    if (rc != RAMET_OK)
        return rc;
    assert(file->stateless == NULL); /* invariant 1 */
    assert(!ramet_session_is_reserved(file->session));
    rc = ramet_sync_begin(sync, file->replica_sync, file->session, &own);
    if (rc == RAMET_OK)
        rc = run(sync, &own);
    ramet_sync_end(sync, rc, &own);
    if (rc == RAMET_OK)
        ramet_background_retry(file->replica_sync->background);
    else if (err != NULL)
        *err = own;
    if (rc == RAMET_OK && out != NULL)
        *out = sync->result;
    return rc;
}

static enum ramet_rc
run_verb(struct ramet_file *file, const char *verb, verb_run *run,
         struct ramet_sync_result *out, struct ramet_err *err)
{
    struct ramet_sync sync = sync_of(file, verb);

    return run_with(file, &sync, run, out, err);
}

static enum ramet_rc
run_push(struct ramet_sync *sync, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(sync->session != NULL);
    sync->make_volume = true;
    rc = ramet_sync_push(sync, err);
    /* So that a later edit of the plain file can be told. */
    if (rc == RAMET_OK && sync->state->kind == RAMET_KIND_BLOB)
        rc = ramet_session_sum(sync->session, err);
    return rc;
}

static enum ramet_rc
run_sync(struct ramet_sync *sync, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_sync_pull(sync, err);

    assert(!sync->make_volume);
    if (rc == RAMET_ENOTFOUND && sync->history == NULL &&
        atomic_load(&sync->replica_sync->may_create))
        rc = RAMET_OK; /* the push makes the volume */
    return rc == RAMET_OK ? run_push(sync, err) : rc;
}

static enum ramet_rc
run_hydrate(struct ramet_sync *sync, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_sync_hydrate(sync, err);

    assert(sync->session != NULL);
    if (rc == RAMET_OK && sync->state->kind == RAMET_KIND_BLOB)
        rc = ramet_session_end_lazy(sync->session, err);
    return rc == RAMET_OK ? ramet_session_checkpoint(sync->session, true, err)
                          : rc;
}

enum ramet_rc
ramet_file_push(struct ramet_file *file, struct ramet_sync_result *out,
                struct ramet_err *err)
{
    return run_verb(file, "push", run_push, out, err);
}

static enum ramet_rc
fetch_stateless(struct ramet_file *file, struct ramet_sync_result *out,
                struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_stateless_fetch(file->stateless, err);

    assert(file->stateless != NULL && file->session == NULL); /* invariant 1 */
    if (rc == RAMET_OK && out != NULL)
        *out = (struct ramet_sync_result){
            .durable_lsn = ramet_stateless_head(file->stateless)->lsn,
            .remote_lsn = ramet_stateless_remote_lsn(file->stateless),
        };
    return rc;
}

enum ramet_rc
ramet_file_fetch(struct ramet_file *file, struct ramet_sync_result *out,
                 struct ramet_err *err)
{
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (file->stateless != NULL)
        return fetch_stateless(file, out, err);
    return run_verb(file, "fetch", ramet_sync_fetch, out, err);
}

enum ramet_rc
ramet_file_fetch_deltas(struct ramet_file *file, struct ramet_sync_result *out,
                        struct ramet_err *err)
{
    assert(file->stateless == NULL); /* invariant 1 */
    return run_verb(file, "fetch", ramet_sync_fetch_deltas, out, err);
}

enum ramet_rc
ramet_file_pull(struct ramet_file *file, struct ramet_sync_result *out,
                struct ramet_err *err)
{
    return run_verb(file, "pull", ramet_sync_pull, out, err);
}

enum ramet_rc
ramet_file_sync(struct ramet_file *file, struct ramet_sync_result *out,
                struct ramet_err *err)
{
    return run_verb(file, "sync", run_sync, out, err);
}

enum ramet_rc
ramet_file_hydrate(struct ramet_file *file, struct ramet_sync_result *out,
                   struct ramet_err *err)
{
    return run_verb(file, "hydrate", run_hydrate, out, err);
}

struct resetting {
    struct ramet_sync sync; /* first */
    bool discard;
    char *out_kept;
    size_t out_kept_size;
};

static enum ramet_rc
run_reset(struct ramet_sync *sync, struct ramet_err *err)
{
    const struct resetting *const r = (const struct resetting *)sync;

    assert(r->out_kept != NULL || r->out_kept_size == 0);
    return ramet_sync_reset(sync, r->discard, r->out_kept, r->out_kept_size,
                            err);
}

enum ramet_rc
ramet_file_reset(struct ramet_file *file, bool discard, char *out_kept,
                 size_t out_kept_size, struct ramet_sync_result *out,
                 struct ramet_err *err)
{
    struct resetting r = {sync_of(file, "reset"), discard, out_kept,
                          out_kept_size};

    assert(ramet_file_is_whole(file)); /* invariant 1 */
    if (out_kept != NULL && out_kept_size > 0)
        out_kept[0] = '\0';
    return run_with(file, &r.sync, run_reset, out, err);
}
