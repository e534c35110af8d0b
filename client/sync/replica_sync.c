/*
 * replica_sync.c - see replica_sync.h.
 *
 * Layer: client.
 */
#include "client/sync/replica_sync.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/remote_client.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/bases.h"

enum ramet_rc
ramet_replica_sync_attach(struct ramet_replica_sync *replica_sync,
                          struct ramet_remote_client *client,
                          const struct ramet_vid *volume, struct ramet_err *err)
{
    struct ramet_remote_client *mine = ramet_remote_client_ref(client);
    enum ramet_rc rc = RAMET_OK;

    assert(client != NULL);
    ramet_mutex_lock(&replica_sync->mutex);
    if (replica_sync->client == NULL) {
        replica_sync->client = mine;
        replica_sync->volume = *volume;
        mine = NULL;
    } else if (replica_sync->client != client) {
        rc = RAMET_FAIL(err, RAMET_EEXIST,
                        "%s: this process has it open with remote %.200s "
                        "already",
                        replica_sync->path,
                        ramet_remote_client_text(replica_sync->client));
    }
    ramet_mutex_unlock(&replica_sync->mutex);
    ramet_remote_client_close(mine);
    return rc;
}

struct ramet_remote_client *
ramet_replica_sync_client(struct ramet_replica_sync *replica_sync)
{
    struct ramet_remote_client *client;

    ramet_mutex_lock(&replica_sync->mutex);
    client = replica_sync->client;
    ramet_mutex_unlock(&replica_sync->mutex);
    return client;
}

bool
ramet_replica_sync_volume(struct ramet_replica_sync *replica_sync,
                          struct ramet_vid *out_volume)
{
    ramet_mutex_lock(&replica_sync->mutex);
    *out_volume = replica_sync->volume;
    ramet_mutex_unlock(&replica_sync->mutex);
    return !ramet_id_is_nil(&out_volume->id);
}

void
ramet_replica_sync_set_volume(struct ramet_replica_sync *replica_sync,
                              const struct ramet_vid *volume)
{
    assert(!ramet_id_is_nil(&volume->id));
    ramet_mutex_lock(&replica_sync->mutex);
    assert(ramet_id_is_nil(&replica_sync->volume.id) ||
           ramet_id_compare(&replica_sync->volume.id, &volume->id) ==
               0); /* (2) */
    replica_sync->volume = *volume;
    ramet_mutex_unlock(&replica_sync->mutex);
}

void
ramet_replica_sync_learn(struct ramet_replica_sync *replica_sync,
                         const struct ramet_replica_state *state)
{
    ramet_mutex_lock(&replica_sync->mutex);
    if (ramet_id_is_nil(&replica_sync->volume.id) &&
        replica_sync->client != NULL &&
        strcmp(state->remote, ramet_remote_client_text(replica_sync->client)) ==
            0)
        replica_sync->volume = state->volume;
    ramet_mutex_unlock(&replica_sync->mutex);
}

void
ramet_replica_sync_note_remote(struct ramet_replica_sync *replica_sync,
                               uint64_t remote_lsn, uint64_t behind_since_ms)
{
    ramet_mutex_lock(&replica_sync->mutex);
    replica_sync->remote_lsn = remote_lsn;
    replica_sync->behind_since_ms = behind_since_ms;
    replica_sync->lacking_lsn = 0;
    ramet_mutex_unlock(&replica_sync->mutex);
}

void
ramet_replica_sync_confirm(struct ramet_replica_sync *replica_sync,
                           uint64_t lsn, uint64_t asked_ms)
{
    ramet_mutex_lock(&replica_sync->mutex);
    replica_sync->confirmed_lsn = lsn;
    replica_sync->confirmed_ms = asked_ms;
    ramet_mutex_unlock(&replica_sync->mutex);
}

uint64_t
ramet_replica_sync_confirmed(struct ramet_replica_sync *replica_sync,
                             uint64_t lsn)
{
    uint64_t ms;

    ramet_mutex_lock(&replica_sync->mutex);
    ms = lsn >= replica_sync->confirmed_lsn ? replica_sync->confirmed_ms : 0;
    ramet_mutex_unlock(&replica_sync->mutex);
    return ms;
}

void
ramet_replica_sync_wait_moved(struct ramet_replica_sync *replica_sync,
                              uint64_t timeout_ms)
{
    ramet_mutex_lock(&replica_sync->mutex);
    ramet_cond_wait_ms(&replica_sync->moved, &replica_sync->mutex, timeout_ms);
    ramet_mutex_unlock(&replica_sync->mutex);
}

void
ramet_replica_sync_note_lacking(struct ramet_replica_sync *replica_sync,
                                const struct ramet_replica_state *state)
{
    ramet_mutex_lock(&replica_sync->mutex);
    replica_sync->lacking_lsn = state->newest.lsn;
    replica_sync->lacking_hash = state->newest.lsn_hash;
    ramet_mutex_unlock(&replica_sync->mutex);
}

static bool
lacks(const struct ramet_replica_sync *replica_sync,
      const struct ramet_point *at)
{
    return replica_sync->lacking_lsn != 0 &&
           replica_sync->lacking_lsn == at->lsn &&
           ramet_hash_equal(&replica_sync->lacking_hash, &at->hash);
}

bool
ramet_replica_sync_lacks(const struct ramet_replica_sync *replica_sync,
                         const struct ramet_replica_state *state)
{
    const struct ramet_point at = ramet_snapshot_point(&state->newest);

    return lacks(replica_sync, &at);
}

bool
ramet_replica_sync_lacks_point(struct ramet_replica_sync *replica_sync,
                               const struct ramet_point *at)
{
    bool is_lacking;

    ramet_mutex_lock(&replica_sync->mutex);
    is_lacking = lacks(replica_sync, at);
    ramet_mutex_unlock(&replica_sync->mutex);
    return is_lacking;
}

/* Does the success of `verb` show that what made `failed` fail is over? */
static bool
mends(const char *verb, const char *failed)
{
    assert(verb != NULL);
    return failed == NULL || strcmp(verb, failed) == 0 ||
           strcmp(verb, "sync") == 0 || strcmp(verb, "reset") == 0;
}

void
ramet_replica_sync_note_result(struct ramet_replica_sync *replica_sync,
                               const char *verb, enum ramet_rc rc,
                               const struct ramet_err *err)
{
    assert(verb != NULL);
    ramet_mutex_lock(&replica_sync->mutex);
    if (rc != RAMET_OK) {
        replica_sync->failed_verb = verb;
        snprintf(replica_sync->last_error, sizeof(replica_sync->last_error),
                 "%s", err != NULL ? err->text : ramet_rc_name(rc));
    } else if (mends(verb, replica_sync->failed_verb)) {
        replica_sync->failed_verb = NULL;
        replica_sync->last_error[0] = '\0';
    }
    ramet_mutex_unlock(&replica_sync->mutex);
}

enum ramet_rc
ramet_replica_sync_need_session(struct ramet_replica_sync *replica_sync,
                                struct ramet_session *session,
                                struct ramet_err *err)
{
    assert(replica_sync->replica != NULL);
    if (replica_sync->session != NULL)
        return RAMET_OK;
    return session != NULL
               ? ramet_session_clone(session, &replica_sync->session, err)
               : ramet_replica_session(replica_sync->replica,
                                       &replica_sync->session, err);
}

void
ramet_replica_sync_park(struct ramet_replica_sync *replica_sync)
{
    if (replica_sync->session == NULL || !ramet_replica_should_park())
        return;
    ramet_session_park(replica_sync->session);
    ramet_session_close(replica_sync->session);
    replica_sync->session = NULL;
}

struct ramet_bases *
ramet_replica_sync_begin_bases(struct ramet_replica_sync *replica_sync,
                               struct ramet_remote_client *client,
                               const struct ramet_vid *volume,
                               struct ramet_history *history,
                               const struct ramet_head *base,
                               uint32_t page_size)
{
    const uint64_t bytes_max = atomic_load(&replica_sync->bases_bytes);

    assert(page_size != 0);
    if (bytes_max == 0 || ramet_remote_client_store(client)->traits == 0)
        return NULL;
    if (replica_sync->bases == NULL &&
        ramet_bases_new(replica_sync->os, replica_sync->replica,
                        &replica_sync->bases, NULL) != RAMET_OK)
        return NULL; /* without memory images are sent */
    ramet_bases_begin(replica_sync->bases, volume, history, base, page_size,
                      bytes_max);
    return replica_sync->bases;
}
