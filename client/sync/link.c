/*
 * link.c - see link.h.
 *
 * Layer: client.
 */
#include "client/sync/link.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/source.h"
#include "client/store/exchange.h"
#include "client/store/store.h"

enum ramet_rc
ramet_link_attach(struct ramet_link *link, struct ramet_source *source,
                  const struct ramet_vid *volume, struct ramet_err *err)
{
    struct ramet_source *mine = ramet_source_ref(source);
    enum ramet_rc rc = RAMET_OK;

    ramet_mutex_lock(&link->mutex);
    if (link->source == NULL) {
        link->source = mine;
        link->volume = *volume;
        mine = NULL;
    } else if (link->source != source) {
        rc = RAMET_FAIL(err, RAMET_EEXIST,
                        "%s: this process has it open with remote %.200s "
                        "already",
                        link->path, ramet_source_text(link->source));
    }
    ramet_mutex_unlock(&link->mutex);
    ramet_source_close(mine);
    return rc;
}

struct ramet_source *
ramet_link_source(struct ramet_link *link)
{
    struct ramet_source *source;

    ramet_mutex_lock(&link->mutex);
    source = link->source;
    ramet_mutex_unlock(&link->mutex);
    return source;
}

bool
ramet_link_volume(struct ramet_link *link, struct ramet_vid *out_volume)
{
    ramet_mutex_lock(&link->mutex);
    *out_volume = link->volume;
    ramet_mutex_unlock(&link->mutex);
    return !ramet_id_is_nil(&out_volume->id);
}

void
ramet_link_set_volume(struct ramet_link *link, const struct ramet_vid *volume)
{
    ramet_mutex_lock(&link->mutex);
    link->volume = *volume;
    ramet_mutex_unlock(&link->mutex);
}

void
ramet_link_learn(struct ramet_link *link,
                 const struct ramet_replica_state *state)
{
    ramet_mutex_lock(&link->mutex);
    if (ramet_id_is_nil(&link->volume.id) && link->source != NULL &&
        strcmp(state->remote, ramet_source_text(link->source)) == 0)
        link->volume = state->volume;
    ramet_mutex_unlock(&link->mutex);
}

void
ramet_link_note_remote(struct ramet_link *link, uint64_t remote_lsn,
                       uint64_t behind_since_ms)
{
    ramet_mutex_lock(&link->mutex);
    link->remote_lsn = remote_lsn;
    link->behind_since_ms = behind_since_ms;
    link->lacking_lsn = 0;
    ramet_mutex_unlock(&link->mutex);
}

void
ramet_link_confirm(struct ramet_link *link, uint64_t lsn, uint64_t asked_ms)
{
    ramet_mutex_lock(&link->mutex);
    link->confirmed_lsn = lsn;
    link->confirmed_ms = asked_ms;
    ramet_mutex_unlock(&link->mutex);
}

uint64_t
ramet_link_confirmed(struct ramet_link *link, uint64_t lsn)
{
    uint64_t ms;

    ramet_mutex_lock(&link->mutex);
    ms = lsn >= link->confirmed_lsn ? link->confirmed_ms : 0;
    ramet_mutex_unlock(&link->mutex);
    return ms;
}

void
ramet_link_wait_moved(struct ramet_link *link, uint64_t timeout_ms)
{
    ramet_mutex_lock(&link->mutex);
    ramet_cond_wait_ms(&link->moved, &link->mutex, timeout_ms);
    ramet_mutex_unlock(&link->mutex);
}

void
ramet_link_note_lacking(struct ramet_link *link,
                        const struct ramet_replica_state *state)
{
    ramet_mutex_lock(&link->mutex);
    link->lacking_lsn = state->newest.lsn;
    link->lacking_hash = state->newest.lsn_hash;
    ramet_mutex_unlock(&link->mutex);
}

bool
ramet_link_lacks(const struct ramet_link *link,
                 const struct ramet_replica_state *state)
{
    return link->lacking_lsn != 0 && link->lacking_lsn == state->newest.lsn &&
           ramet_hash_equal(&link->lacking_hash, &state->newest.lsn_hash);
}

/* Does the success of `verb` show that what made `failed` fail is over? */
static bool
mends(const char *verb, const char *failed)
{
    return failed == NULL || strcmp(verb, failed) == 0 ||
           strcmp(verb, "sync") == 0 || strcmp(verb, "reset") == 0;
}

void
ramet_link_note_result(struct ramet_link *link, const char *verb,
                       enum ramet_rc rc, const struct ramet_err *err)
{
    ramet_mutex_lock(&link->mutex);
    if (rc != RAMET_OK) {
        link->failed_verb = verb;
        snprintf(link->last_error, sizeof(link->last_error), "%s",
                 err != NULL ? err->text : ramet_rc_name(rc));
    } else if (mends(verb, link->failed_verb)) {
        link->failed_verb = NULL;
        link->last_error[0] = '\0';
    }
    ramet_mutex_unlock(&link->mutex);
}

enum ramet_rc
ramet_link_need_session(struct ramet_link *link, struct ramet_session *session,
                        struct ramet_err *err)
{
    if (link->session != NULL)
        return RAMET_OK;
    return session != NULL
               ? ramet_session_clone(session, &link->session, err)
               : ramet_replica_session(link->replica, &link->session, err);
}

void
ramet_link_rest(struct ramet_link *link)
{
    if (link->session == NULL || !ramet_replica_should_rest())
        return;
    ramet_session_rest(link->session);
    ramet_session_close(link->session);
    link->session = NULL;
}
