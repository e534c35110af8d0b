/*
 * bind.c - the first push gives the volume its name.
 *
 * Layer: client, sync.
 */
#include "client/sync/bind.h"

#include <assert.h>
#include <inttypes.h>

#include "client/remote/remote.h"
#include "client/remote/remote_client.h"
#include "client/store/exchange.h"
#include "client/sync/replica_sync.h"

/* *out_is_new: the name meant nothing before, and the volume is this run's. */
static enum ramet_rc
bind_name(struct ramet_sync *sync, struct ramet_vid *out_volume,
          bool *out_is_new, struct ramet_err *err)
{
    struct ramet_vid fresh;
    enum ramet_rc rc;

    assert(sync->has_push_lock);
    *out_is_new = false;
    if (!atomic_load(&sync->replica_sync->may_create))
        return ramet_remote_client_resolve(sync->client, out_volume, err);
    rc = ramet_id_new(&fresh.id, err);
    if (rc == RAMET_OK)
        rc = ramet_remote_client_claim(sync->client, &fresh, out_volume, err);
    if (rc == RAMET_OK)
        *out_is_new = ramet_id_compare(&out_volume->id, &fresh.id) == 0;
    return rc;
}

/*
 * The name goes to the volume first, then the replica to the volume. A crash
 * in between leaves a name for a volume without commits, and such a one
 * belongs to whoever makes its first commit.
 */
static enum ramet_rc
bind_replica(struct ramet_sync *sync, struct ramet_err *err)
{
    const struct ramet_snapshot base = sync->state->newest;
    struct ramet_head head = {.lsn = 0};
    struct ramet_vid volume;
    const char *text;
    enum ramet_rc rc;

    assert(sync->has_push_lock && sync->history == NULL);
    rc = bind_name(sync, &volume, &sync->made_volume, err);
    if (rc == RAMET_OK && !sync->made_volume)
        rc = ramet_remote_client_newest(sync->client, &volume, &head, err);
    if (rc != RAMET_OK)
        return rc;
    if (head.lsn > 0 &&
        (ramet_sync_pending(sync) || sync->state->newest.byte_length > 0))
        return RAMET_FAIL(err, RAMET_EEXIST,
                          "%s: %.200s is there already (at LSN %" PRIu64
                          "), and this file does not come from it; choose "
                          "another name, or clone it",
                          sync->replica_sync->path,
                          ramet_remote_client_text(sync->client), head.lsn);
    if (head.lsn > 0 && head.kind != sync->state->kind)
        return RAMET_FAIL(
            err, RAMET_EINVAL,
            "%s: %.200s is %s, this file is not; clone it to "
            "another name",
            sync->replica_sync->path, ramet_remote_client_text(sync->client),
            head.kind == RAMET_KIND_SQLITE ? "a database" : "a plain file");
    text = ramet_remote_client_text(sync->client);
    rc = head.lsn > 0 ? ramet_session_bind_unchanged(sync->session, &base, text,
                                                     &volume, err)
                      : ramet_session_bind(sync->session, text, &volume, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_replica_sync_set_volume(sync->replica_sync, &volume);
    return ramet_sync_look(sync, err);
}

enum ramet_rc
ramet_sync_bind(struct ramet_sync *sync, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(sync->history != NULL || sync->has_push_lock);
    if (sync->history != NULL)
        return RAMET_OK;
    /* Another process may have done it while the push lock was waited for. */
    if (!ramet_replica_sync_volume(sync->replica_sync, &sync->volume))
        rc = bind_replica(sync, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_connect(sync, err);
    if (rc == RAMET_OK && sync->made_volume)
        ramet_history_made(sync->history);
    return rc;
}
