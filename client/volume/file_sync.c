/*
 * file_sync.c - the sync verbs of file.h, and status.
 *
 * Layer: client.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/meter.h"
#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/path.h"
#include "client/store/store.h"
#include "client/store/whole.h"
#include "client/sync/background.h"
#include "client/sync/bases.h"
#include "client/sync/durable.h"
#include "client/sync/durable_settle.h"
#include "client/sync/export.h"
#include "client/sync/progress.h"
#include "client/sync/replica_sync.h"
#include "client/sync/sync.h"
#include "client/volume/file.h"
#include "client/volume/file_impl.h"
#include "client/volume/view.h"
#include "core/alloc.h"

#define SEND_BYTES (1u << 20)

typedef enum ramet_rc verb_run(struct ramet_sync *sync, struct ramet_err *err);

/* Push, pull and their like act for all who have the replica open: who asks
 * must be allowed to. */
static enum ramet_rc
check_right(const struct ramet_file *file, const char *verb,
            struct ramet_err *err)
{
    const bool only_pulls =
        strcmp(verb, "pull") == 0 || strcmp(verb, "fetch") == 0;

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

    if (rc != RAMET_OK)
        return rc;
    if (file->view != NULL)
        return RAMET_FAIL(
            err, RAMET_EREADONLY,
            "%.200s: a snapshot without a replica can't %s",
            ramet_remote_client_text(ramet_view_client(file->view)), verb);
    if (ramet_session_is_reserved(file->session))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: %s inside a write transaction; commit first",
                          file->path, verb);
    return check_right(file, verb, err);
}

static struct ramet_sync
sync_of(const struct ramet_file *file, const char *verb)
{
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

    if (rc != RAMET_OK)
        return rc;
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

    if (rc == RAMET_ENOTFOUND && sync->history == NULL &&
        atomic_load(&sync->replica_sync->may_create))
        rc = RAMET_OK; /* the push makes the volume */
    return rc == RAMET_OK ? run_push(sync, err) : rc;
}

static enum ramet_rc
run_hydrate(struct ramet_sync *sync, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_sync_hydrate(sync, err);

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
fetch_view(struct ramet_file *file, struct ramet_sync_result *out,
           struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_view_fetch(file->view, err);

    if (rc == RAMET_OK && out != NULL)
        *out = (struct ramet_sync_result){
            .durable_lsn = ramet_view_head(file->view)->lsn,
            .remote_lsn = ramet_view_remote_lsn(file->view),
        };
    return rc;
}

enum ramet_rc
ramet_file_fetch(struct ramet_file *file, struct ramet_sync_result *out,
                 struct ramet_err *err)
{
    if (file->view != NULL)
        return fetch_view(file, out, err);
    return run_verb(file, "fetch", ramet_sync_fetch, out, err);
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

    if (out_kept != NULL && out_kept_size > 0)
        out_kept[0] = '\0';
    return run_with(file, &r.sync, run_reset, out, err);
}

/* ---- export --------------------------------------------------------------- */

struct exporting {
    struct ramet_file *file;
    struct ramet_progress report;
    uint32_t page_size;
    bool was_pinned; /* by whoever asked: it stays so */
};

static enum ramet_rc
read_file(void *ctx, uint64_t offset, void *buf, size_t len,
          struct ramet_err *err)
{
    struct exporting *const exporting = ctx;
    struct ramet_file *const file = exporting->file;
    struct ramet_progress *const report = &exporting->report;
    size_t got = 0;
    enum ramet_rc rc;

    rc = ramet_file_read(file, offset, buf, len, &got, err);
    if (rc != RAMET_OK)
        return rc;
    assert(got == len);
    report->pages_done = (offset + len) / exporting->page_size;
    if (file->progress != NULL && !file->progress(file->progress_ctx, report))
        return RAMET_FAIL(err, RAMET_ECANCELLED, "export was cancelled");
    return RAMET_OK;
}

static enum ramet_rc
check_export(struct ramet_file *file, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_file_check_fork(file, err);

    if (rc == RAMET_OK && file->session != NULL &&
        ramet_session_is_reserved(file->session))
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: export inside a write transaction", file->path);
    return rc;
}

/* Have a snapshot pinned: the one that is, or the newest. */
static enum ramet_rc
begin_export(struct exporting *exporting, struct ramet_file *file,
             struct ramet_err *err)
{
    const struct ramet_snapshot *snap;
    enum ramet_rc rc = RAMET_OK;

    *exporting = (struct exporting){.file = file, .report.verb = "export"};
    exporting->was_pinned =
        file->session != NULL && ramet_session_is_pinned(file->session);
    if (!exporting->was_pinned)
        rc = ramet_file_pin(file, err);
    if (rc != RAMET_OK)
        return rc;
    snap = ramet_file_snapshot(file);
    exporting->page_size = snap->page_size > 0 ? snap->page_size : 1;
    exporting->report.pages_total = snap->page_count;
    return RAMET_OK;
}

static void
end_export(struct exporting *exporting)
{
    if (!exporting->was_pinned)
        ramet_file_unpin(exporting->file);
}

/* Where a replica, or a database in use, stands, nothing is written over. */
static enum ramet_rc
check_target(struct ramet_file *file, const char *out_path,
             struct ramet_err *err)
{
    static const char *const companions[] = {"-wal", "-journal"};
    enum ramet_rc rc = RAMET_OK;

    if (ramet_replica_exists(file->os, out_path))
        return RAMET_FAIL(err, RAMET_EEXIST,
                          "%s: is a replica; export to another name", out_path);
    for (size_t i = 0; rc == RAMET_OK && i < 2; i++) {
        char *const path = ramet_asprintf("%s%s", out_path, companions[i]);
        struct ramet_os_stat st;

        if (path == NULL)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "export: no memory");
        else if (file->os->stat_at(file->os->ctx, AT_FDCWD, path, &st) == 0 &&
                 st.size_bytes > 0)
            rc = RAMET_FAIL(err, RAMET_EBUSY,
                            "%s: is there: %s is in use by SQLite", path,
                            out_path);
        ramet_free(path);
    }
    return rc;
}

/* `out_path` is the file itself, not a link to it. */
static enum ramet_rc
export_to(struct ramet_file *file, const char *out_path,
          const struct ramet_rights *rights, struct ramet_err *err)
{
    struct exporting exporting;
    enum ramet_rc rc;

    rc = check_target(file, out_path, err);
    if (rc == RAMET_OK)
        rc = begin_export(&exporting, file, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_export_write(file->os, AT_FDCWD, out_path, rights,
                            ramet_file_snapshot(file)->byte_length, read_file,
                            &exporting, err);
    end_export(&exporting);
    return rc;
}

enum ramet_rc
ramet_file_export(struct ramet_file *file, const char *out_path,
                  const struct ramet_rights *rights, struct ramet_err *err)
{
    char *target = NULL;
    enum ramet_rc rc = check_export(file, err);

    if (rc == RAMET_OK)
        rc = ramet_path_resolve(file->os, out_path, &target, NULL, err);
    if (rc == RAMET_OK)
        rc = export_to(file, target, rights, err);
    ramet_free(target);
    return rc;
}

enum ramet_rc
ramet_file_send(struct ramet_file *file, ramet_file_sink *sink, void *ctx,
                struct ramet_err *err)
{
    uint8_t *const buf = ramet_alloc(SEND_BYTES);
    struct exporting exporting;
    uint64_t length = 0;
    enum ramet_rc rc = check_export(file, err);

    if (rc == RAMET_OK && buf == NULL)
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "export: no memory");
    if (rc == RAMET_OK)
        rc = begin_export(&exporting, file, err);
    if (rc != RAMET_OK)
        goto done;
    length = ramet_file_snapshot(file)->byte_length;
    for (uint64_t at = 0; rc == RAMET_OK && at < length; at += SEND_BYTES) {
        const size_t n =
            length - at < SEND_BYTES ? (size_t)(length - at) : SEND_BYTES;

        rc = read_file(&exporting, at, buf, n, err);
        if (rc == RAMET_OK)
            rc = sink(ctx, buf, n, err);
    }
    end_export(&exporting);

done:
    ramet_free(buf);
    return rc;
}

/* ---- a plain copy --------------------------------------------------------- */

struct copying {
    const struct ramet_os *os;
    int fd;
    const char *path;
};

static enum ramet_rc
read_plain(void *ctx, uint64_t offset, void *buf, size_t len,
           struct ramet_err *err)
{
    const struct copying *const copying = ctx;

    return ramet_os_read_full(copying->os, copying->fd, buf, len, offset,
                              copying->path, err);
}

enum ramet_rc
ramet_file_copy_plain(const char *from, const char *to, struct ramet_err *err)
{
    struct copying copying = {.os = ramet_os_system(), .path = from};
    const struct ramet_os *const os = copying.os;
    struct ramet_os_stat st;
    char *target = NULL;
    enum ramet_rc rc;

    if (os->stat_at(os->ctx, AT_FDCWD, to, &st) == 0)
        return RAMET_FAIL(err, RAMET_EEXIST, "%s: is there already", to);
    copying.fd = os->open(os->ctx, AT_FDCWD, from, O_RDONLY | O_NOFOLLOW, 0);
    if (copying.fd < 0)
        return RAMET_FAIL_OS(err, copying.fd, "open %s", from);
    rc = ramet_path_resolve(os, to, &target, NULL, err);
    if (rc == RAMET_OK && os->stat(os->ctx, copying.fd, &st) < 0)
        rc = RAMET_FAIL(err, RAMET_EIO, "stat %s", from);
    if (rc == RAMET_OK) {
        const struct ramet_rights rights = ramet_rights_of(&st);

        rc = ramet_export_write(os, AT_FDCWD, target, &rights, st.size_bytes,
                                read_plain, &copying, err);
    }
    ramet_free(target);
    os->close(os->ctx, copying.fd);
    return rc;
}

/* ---- status --------------------------------------------------------------- */

const char *
ramet_sync_state_name(enum ramet_sync_state state)
{
    switch (state) {
    case RAMET_STATE_LOCAL:
        return "local";
    case RAMET_STATE_CLEAN:
        return "clean";
    case RAMET_STATE_AHEAD:
        return "ahead";
    case RAMET_STATE_BEHIND:
        return "behind";
    case RAMET_STATE_DIVERGED:
        return "diverged";
    case RAMET_STATE_OFFLINE:
        return "offline";
    case RAMET_STATE_WENTBACK:
        return "wentback";
    }
    return "unknown";
}

static void
status_of_client(struct ramet_remote_client *client,
                 struct ramet_file_status *out)
{
    struct ramet_meter *const meter = ramet_remote_client_meter(client);

    snprintf(out->remote, sizeof(out->remote), "%s",
             ramet_remote_client_text(client));
    out->last_contact_ms = atomic_load(&meter->last_answer_ms);
    out->fetched_bytes = ramet_remote_client_received(client);
    out->requests = ramet_remote_client_requests(client);
    out->prefetched = ramet_remote_client_prefetched(client);
}

static void
status_of_view(const struct ramet_file *file, struct ramet_file_status *out)
{
    const struct ramet_head *const head = ramet_view_head(file->view);
    struct ramet_remote_client *const client = ramet_view_client(file->view);

    status_of_client(client, out);
    out->volume = *ramet_view_volume(file->view);
    out->durable_lsn = head->lsn;
    out->remote_lsn = ramet_view_remote_lsn(file->view);
    out->pages = head->page_count;
    out->page_size = head->page_size;
    if (atomic_load(&ramet_remote_client_meter(client)->offline))
        out->state = RAMET_STATE_OFFLINE;
    else
        out->state = out->remote_lsn > head->lsn ? RAMET_STATE_BEHIND
                                                 : RAMET_STATE_CLEAN;
}

static enum ramet_sync_state
state_of(const struct ramet_file_status *status, bool lacks,
         struct ramet_remote_client *client)
{
    const bool ahead = status->local_commits > 0 || status->never_pushed;
    const bool behind = status->remote_lsn > status->durable_lsn;

    if (client == NULL)
        return RAMET_STATE_LOCAL;
    if (lacks)
        return RAMET_STATE_WENTBACK;
    if (ahead && behind)
        return RAMET_STATE_DIVERGED;
    if (atomic_load(&ramet_remote_client_meter(client)->offline))
        return RAMET_STATE_OFFLINE;
    if (ahead)
        return RAMET_STATE_AHEAD;
    return behind ? RAMET_STATE_BEHIND : RAMET_STATE_CLEAN;
}

static void
status_of_replica_sync(struct ramet_replica_sync *replica_sync,
                       struct ramet_file_status *out,
                       const struct ramet_replica_state *state, bool *out_lacks)
{
    const uint64_t now = replica_sync->os->wall_ms(replica_sync->os->ctx);
    uint64_t since = out->unpushed_since_ms;

    ramet_mutex_lock(&replica_sync->mutex);
    out->remote_lsn = replica_sync->remote_lsn;
    *out_lacks = ramet_replica_sync_lacks(replica_sync, state);
    out->lag_lsns = out->remote_lsn > out->durable_lsn
                        ? out->remote_lsn - out->durable_lsn
                        : 0;
    if (out->remote_lsn > out->durable_lsn &&
        replica_sync->behind_since_ms > 0 &&
        (since == 0 || replica_sync->behind_since_ms < since))
        since = replica_sync->behind_since_ms;
    memcpy(out->last_error, replica_sync->last_error, sizeof(out->last_error));
    ramet_mutex_unlock(&replica_sync->mutex);
    out->lag_ms = since > 0 && now > since ? now - since : 0;
    out->fetched_pages = atomic_load(&replica_sync->fetched_pages);
}

/* A log of before times were kept tells no more than what the oldest local
 * commit was made on. */
static uint64_t
unpushed_since(const struct ramet_replica_state *state)
{
    if (state->oldest_in_flight_ms != 0)
        return state->oldest_in_flight_ms;
    if (state->oldest_later_ms != 0)
        return state->oldest_later_ms;
    return state->commits_in_flight + state->commits_later > 0
               ? state->lsn_time_ms
               : 0;
}

static enum ramet_rc
status_of_replica(struct ramet_file *file, struct ramet_file_status *out,
                  struct ramet_err *err)
{
    const struct ramet_replica_state *const state = &file->state;
    struct ramet_remote_client *const client =
        ramet_replica_sync_client(file->replica_sync);
    bool settled = true;
    bool lacks = false;
    enum ramet_rc rc;

    rc = ramet_session_state(file->session, &file->state, err);
    if (rc == RAMET_OK)
        rc = ramet_durable_is_settled(file->replica_sync, file->session, state,
                                      &settled, err);
    if (rc != RAMET_OK)
        return rc;
    snprintf(out->remote, sizeof(out->remote), "%s", state->remote);
    if (client != NULL)
        status_of_client(client, out);
    out->volume = state->volume;
    out->replica = state->replica;
    out->local_commits = state->commits_in_flight + state->commits_later;
    out->durable_lsn = state->newest.lsn;
    out->pages = state->newest.page_count;
    out->page_size = state->newest.page_size;
    out->cached_pages = state->held_pages;
    out->dirty_pages = ramet_pageset_count(&state->in_flight) +
                       ramet_pageset_count(&state->later);
    out->bases_bytes = ramet_bases_size(file->replica_sync->replica);
    out->unpushed_since_ms = unpushed_since(state);
    out->never_pushed = out->remote[0] != '\0' && out->durable_lsn == 0;
    out->in_doubt = !settled;
    status_of_replica_sync(file->replica_sync, out, state, &lacks);
    if (out->remote_lsn < out->durable_lsn && !lacks)
        out->remote_lsn = out->durable_lsn;
    out->state = state_of(out, lacks, client);
    return RAMET_OK;
}

enum ramet_rc
ramet_file_status(struct ramet_file *file, struct ramet_file_status *out,
                  struct ramet_err *err)
{
    struct ramet_file_status *const status = ramet_calloc(1, sizeof(*status));
    enum ramet_rc rc = ramet_file_check_fork(file, err);

    if (status == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "status: no memory");
    snprintf(status->path, sizeof(status->path), "%s", file->path);
    status->sync = file->sync;
    if (rc == RAMET_OK && file->view != NULL)
        status_of_view(file, status);
    else if (rc == RAMET_OK)
        rc = status_of_replica(file, status, err);
    if (rc == RAMET_OK) {
        status->age_ms = ramet_file_age_ms(file, status->durable_lsn);
        status->has_age = status->age_ms != UINT64_MAX;
        *out = *status;
    }
    ramet_free(status);
    return rc;
}
