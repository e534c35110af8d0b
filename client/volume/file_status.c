/*
 * file_status.c - how it stands with a file and its remote.
 *
 * Layer: client, volume.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/meter.h"
#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/bases.h"
#include "client/sync/durable_resolve.h"
#include "client/sync/replica_sync.h"
#include "client/volume/file.h"
#include "client/volume/file_impl.h"
#include "client/volume/stateless.h"
#include "core/alloc.h"

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

    assert(client != NULL && meter != NULL);
    snprintf(out->remote, sizeof(out->remote), "%s",
             ramet_remote_client_text(client));
    out->last_contact_ms = atomic_load(&meter->last_answer_ms);
    out->fetched_bytes = ramet_remote_client_received(client);
    out->requests = ramet_remote_client_requests(client);
    out->prefetched = ramet_remote_client_prefetched(client);
}

static void
status_of_stateless(const struct ramet_file *file,
                    struct ramet_file_status *out)
{
    const struct ramet_head *const head = ramet_stateless_head(file->stateless);
    struct ramet_remote_client *const client =
        ramet_stateless_client(file->stateless);

    assert(file->stateless != NULL && file->session == NULL); /* invariant 1 */
    status_of_client(client, out);
    out->volume = *ramet_stateless_volume(file->stateless);
    out->durable_lsn = head->lsn;
    out->remote_lsn = ramet_stateless_remote_lsn(file->stateless);
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

    assert(client == NULL || ramet_remote_client_meter(client) != NULL);
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

    assert(replica_sync != NULL);
    ramet_mutex_lock(&replica_sync->mutex);
    out->remote_lsn = replica_sync->remote_lsn;
    *out_lacks = ramet_replica_sync_lacks(replica_sync, state);
    out->lag_lsns = out->remote_lsn > out->durable_lsn
                        ? out->remote_lsn - out->durable_lsn
                        : 0;
    assert(out->lag_lsns <= out->remote_lsn);
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
    bool resolved = true;
    bool lacks = false;
    enum ramet_rc rc;

    assert(ramet_file_is_whole(file) &&
           file->stateless == NULL); /* invariant 1 */
    rc = ramet_session_state(file->session, &file->state, err);
    if (rc == RAMET_OK)
        rc = ramet_durable_is_resolved(file->replica_sync, file->session, state,
                                       &resolved, err);
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
    out->in_doubt = !resolved;
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
    assert(ramet_file_is_whole(file)); /* invariant 1 */
    assert(file->sync != RAMET_SYNC_DEFAULT);
    snprintf(status->path, sizeof(status->path), "%s", file->path);
    status->sync = file->sync;
    if (rc == RAMET_OK && file->stateless != NULL)
        status_of_stateless(file, status);
    else if (rc == RAMET_OK)
        rc = status_of_replica(file, status, err);
    if (rc == RAMET_OK) {
        const struct ramet_point at = ramet_snapshot_point(&file->state.newest);

        status->age_ms = ramet_file_age_ms(file, &at);
        status->has_age = status->age_ms != UINT64_MAX;
        *out = *status;
    }
    ramet_free(status);
    return rc;
}
