/*
 * link.c - see link.h.
 *
 * Layer: client.
 */
#include "client/sync/link.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/process.h"
#include "client/remote/source.h"
#include "client/store/store.h"
#include "client/sync/background.h"
#include "client/sync/fetcher.h"
#include "core/alloc.h"

static struct ramet_link *links; /* under the process lock */

/* Needs the process lock. */
static struct ramet_link *
find_link(const struct ramet_replica *replica)
{
    const unsigned fork_count = ramet_os_fork_count();

    for (struct ramet_link *l = links; l != NULL; l = l->next)
        if (l->fork_count == fork_count && l->replica == replica)
            return l;
    return NULL;
}

static void
link_free(struct ramet_link *link)
{
    if (link == NULL)
        return;
    ramet_session_close(link->session);
    ramet_replica_state_done(&link->state);
    ramet_page_fetcher_free(link->fetcher);
    ramet_source_close(link->source);
    ramet_mutex_done(&link->mutex);
    ramet_mutex_done(&link->sync_mutex);
    ramet_free(link->path);
    ramet_free(link);
}

static struct ramet_link *
link_new(struct ramet_replica *replica, const char *path,
         const struct ramet_os *os, uint64_t fetch_timeout_ms)
{
    struct ramet_link *const link = ramet_calloc(1, sizeof(*link));

    if (link == NULL)
        return NULL;
    link->refs = 1;
    link->fork_count = ramet_os_fork_count();
    link->replica = replica;
    link->os = os;
    link->fetch_timeout_ms = fetch_timeout_ms;
    ramet_mutex_init(&link->mutex);
    ramet_mutex_init(&link->sync_mutex);
    link->path = ramet_strdup(path);
    link->fetcher = ramet_page_fetcher_new(link);
    if (link->path == NULL || link->fetcher == NULL) {
        link_free(link);
        return NULL;
    }
    return link;
}

enum ramet_rc
ramet_link_open(struct ramet_session *session, const char *path,
                const struct ramet_os *os, uint64_t fetch_timeout_ms,
                struct ramet_link **out_link, struct ramet_err *err)
{
    struct ramet_replica *const replica = ramet_session_replica(session);
    struct ramet_link *fresh = link_new(replica, path, os, fetch_timeout_ms);
    struct ramet_link *found;

    if (fresh == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", path);
    ramet_process_lock();
    found = find_link(replica);
    if (found != NULL) {
        found->refs++;
    } else {
        found = fresh;
        fresh->next = links;
        links = fresh;
        ramet_replica_set_fetcher(replica, ramet_page_fetcher_run,
                                  fresh->fetcher);
        fresh = NULL;
    }
    ramet_process_unlock();
    link_free(fresh);
    *out_link = found;
    return RAMET_OK;
}

/* One reference less; true if it was the last and the link is out of the
 * list. Its background thread may still run. */
static bool
let_go(struct ramet_link *link)
{
    bool last;

    ramet_process_lock();
    assert(link->refs > 0);
    last = --link->refs == 0;
    if (last) {
        for (struct ramet_link **l = &links; *l != NULL; l = &(*l)->next)
            if (*l == link) {
                *l = link->next;
                break;
            }
        /* Whoever opens the replica from here on makes a link and installs a
         * fetcher of its own; ours serves the background thread to its end. */
    }
    ramet_process_unlock();
    return last;
}

void
ramet_link_close(struct ramet_link *link)
{
    if (link == NULL || link->fork_count != ramet_os_fork_count())
        return;
    if (!let_go(link))
        return;
    ramet_background_stop(link->background);
    ramet_process_lock();
    if (find_link(link->replica) == NULL) /* invariant (4) */
        ramet_replica_set_fetcher(link->replica, NULL, NULL);
    ramet_process_unlock();
    link_free(link);
}

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
    assert(session != NULL);
    return ramet_session_clone(session, &link->session, err);
}
