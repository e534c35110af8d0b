/*
 * replica_syncs.c - see replica_syncs.h.
 *
 * Layer: client, sync.
 */
#include "client/sync/replica_syncs.h"

#include <assert.h>

#include "client/remote/process.h"
#include "client/store/exchange.h"
#include "client/sync/background.h"
#include "client/sync/bases.h"
#include "client/sync/fetcher.h"
#include "client/sync/recent_bases.h"
#include "core/alloc.h"

static struct ramet_replica_sync *replica_syncs; /* under the process lock */

/* Needs the process lock. */
static struct ramet_replica_sync *
find_replica_sync(const struct ramet_replica *replica)
{
    const unsigned fork_count = ramet_os_fork_count();

    assert(replica != NULL);
    for (struct ramet_replica_sync *l = replica_syncs; l != NULL; l = l->next)
        if (l->fork_count == fork_count && l->replica == replica)
            return l;
    return NULL;
}

static void
replica_sync_free(struct ramet_replica_sync *replica_sync)
{
    if (replica_sync == NULL)
        return;
    assert(replica_sync->fetcher != NULL || replica_sync->client == NULL);
    ramet_session_close(replica_sync->session);
    ramet_bases_free(replica_sync->bases);
    ramet_recent_bases_free(replica_sync->recent_bases);
    ramet_replica_state_done(&replica_sync->state);
    ramet_page_fetcher_free(replica_sync->fetcher);
    ramet_remote_client_close(replica_sync->client);
    ramet_cond_done(&replica_sync->moved);
    ramet_mutex_done(&replica_sync->mutex);
    ramet_mutex_done(&replica_sync->sync_mutex);
    ramet_free(replica_sync->path);
    ramet_free(replica_sync);
}

static struct ramet_replica_sync *
replica_sync_new(struct ramet_replica *replica, const char *path,
                 const struct ramet_os *os, uint64_t fetch_timeout_ms)
{
    struct ramet_replica_sync *const replica_sync =
        ramet_calloc(1, sizeof(*replica_sync));

    assert(replica != NULL && os != NULL);
    if (replica_sync == NULL)
        return NULL;
    replica_sync->refs = 1;
    replica_sync->fork_count = ramet_os_fork_count();
    replica_sync->replica = replica;
    replica_sync->os = os;
    replica_sync->fetch_timeout_ms = fetch_timeout_ms;
    atomic_init(&replica_sync->bases_bytes, RAMET_BASES_BYTES);
    ramet_mutex_init(&replica_sync->mutex);
    ramet_cond_init(&replica_sync->moved);
    ramet_mutex_init(&replica_sync->sync_mutex);
    replica_sync->path = ramet_strdup(path);
    replica_sync->fetcher = ramet_page_fetcher_new(replica_sync);
    if (replica_sync->path == NULL || replica_sync->fetcher == NULL) {
        replica_sync_free(replica_sync);
        return NULL;
    }
    return replica_sync;
}

enum ramet_rc
ramet_replica_sync_open(struct ramet_session *session, const char *path,
                        const struct ramet_os *os, uint64_t fetch_timeout_ms,
                        struct ramet_replica_sync **out_replica_sync,
                        struct ramet_err *err)
{
    struct ramet_replica *const replica = ramet_session_replica(session);
    struct ramet_replica_sync *fresh =
        replica_sync_new(replica, path, os, fetch_timeout_ms);
    struct ramet_replica_sync *found;

    if (fresh == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", path);
    ramet_process_lock();
    found = find_replica_sync(replica);
    if (found != NULL) {
        found->refs++;
    } else {
        found = fresh;
        fresh->next = replica_syncs;
        replica_syncs = fresh;
        ramet_replica_set_fetcher(replica, ramet_page_fetcher_run,
                                  fresh->fetcher);
        ramet_replica_set_watcher(replica, ramet_page_fetcher_was_read,
                                  fresh->fetcher);
        fresh = NULL;
    }
    assert(found->refs > 0 && found->replica == replica);
    ramet_process_unlock();
    replica_sync_free(fresh);
    *out_replica_sync = found;
    return RAMET_OK;
}

/* One reference less; true if it was the last and it is out of the
 * list. Its background thread may still run. */
static bool
let_go(struct ramet_replica_sync *replica_sync)
{
    bool last;

    ramet_process_lock();
    assert(replica_sync->refs > 0);
    last = --replica_sync->refs == 0;
    if (last) {
        for (struct ramet_replica_sync **l = &replica_syncs; *l != NULL;
             l = &(*l)->next)
            if (*l == replica_sync) {
                *l = replica_sync->next;
                break;
            }
        /* Whoever opens the replica from here on makes another and installs a
         * fetcher of its own; ours serves the background thread to its end. */
    }
    ramet_process_unlock();
    return last;
}

void
ramet_replica_sync_close(struct ramet_replica_sync *replica_sync)
{
    if (replica_sync == NULL ||
        replica_sync->fork_count != ramet_os_fork_count())
        return;
    if (!let_go(replica_sync))
        return;
    ramet_background_stop(replica_sync->background);
    ramet_process_lock();
    if (find_replica_sync(replica_sync->replica) == NULL) { /* invariant (4) */
        ramet_replica_set_fetcher(replica_sync->replica, NULL, NULL);
        ramet_replica_set_watcher(replica_sync->replica, NULL, NULL);
        ramet_replica_watch(replica_sync->replica, false);
    }
    ramet_process_unlock();
    assert(replica_sync->refs == 0);
    replica_sync_free(replica_sync);
}
