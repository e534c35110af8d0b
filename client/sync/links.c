/*
 * links.c - see links.h.
 *
 * Layer: client, sync.
 */
#include "client/sync/links.h"

#include <assert.h>

#include "client/remote/process.h"
#include "client/store/exchange.h"
#include "client/sync/background.h"
#include "client/sync/bases.h"
#include "client/sync/fetcher.h"
#include "client/sync/recent_bases.h"
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
    ramet_bases_free(link->bases);
    ramet_recent_bases_free(link->recent_bases);
    ramet_replica_state_done(&link->state);
    ramet_page_fetcher_free(link->fetcher);
    ramet_source_close(link->source);
    ramet_cond_done(&link->moved);
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
    atomic_init(&link->bases_bytes, RAMET_BASES_BYTES);
    ramet_mutex_init(&link->mutex);
    ramet_cond_init(&link->moved);
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
        ramet_replica_set_watcher(replica, ramet_page_fetcher_was_read,
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
    if (find_link(link->replica) == NULL) { /* invariant (4) */
        ramet_replica_set_fetcher(link->replica, NULL, NULL);
        ramet_replica_set_watcher(link->replica, NULL, NULL);
        ramet_replica_watch(link->replica, false);
    }
    ramet_process_unlock();
    link_free(link);
}
