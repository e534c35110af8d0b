/*
 * background.c - see background.h: who joins, wakes and ends it. The invariants
 * are in background_impl.h.
 *
 * Layer: client, sync.
 */
#include "client/sync/background.h"

#include <assert.h>
#include <stdatomic.h>

#include "client/remote/remote.h"
#include "client/sync/background_impl.h"
#include "client/sync/pacer.h"
#include "client/sync/replica_sync.h"
#include "core/alloc.h"
#include "core/crew.h"

/* Something was said that the next turn has to see, and whoever waits here too. */
static void
tell_all(struct ramet_background *bg)
{
    ramet_cond_broadcast(&bg->cond);
    ramet_crew_wake(&bg->member);
}

/* ---- start and stop ------------------------------------------------------- */

static void
background_free(struct ramet_background *bg)
{
    assert(bg->followed == NULL || bg->closing);
    ramet_pacer_done(&bg->pacer);
    ramet_cond_done(&bg->cond);
    ramet_mutex_done(&bg->mutex);
    ramet_free(bg);
}

static enum ramet_rc
start(struct ramet_background *bg, struct ramet_err *err)
{
    assert(bg->member.work == NULL);
    bg->member.work = ramet_background_turn;
    bg->member.ctx = bg;
    return ramet_crew_join(&bg->member, err);
}

static struct ramet_background *
background_new(struct ramet_replica_sync *replica_sync)
{
    struct ramet_background *const bg = ramet_calloc(1, sizeof(*bg));

    assert(replica_sync->fork_count == ramet_os_fork_count());
    if (bg == NULL)
        return NULL;
    bg->replica_sync = replica_sync;
    bg->fork_count = ramet_os_fork_count();
    ramet_mutex_init(&bg->mutex);
    ramet_cond_init(&bg->cond);
    ramet_pacer_init(&bg->pacer, 0);
    bg->poll_every_ms = RAMET_POLL_MIN_MS;
    return bg;
}

/* Under the mutex, but for one that was not started yet. True: it is the first. */
static bool
join_pushers(struct ramet_background *bg, uint64_t push_interval_ms)
{
    if (push_interval_ms == RAMET_ONLY_FOLLOWS ||
        atomic_fetch_add(&bg->pushers, 1) > 0)
        return false;
    assert(atomic_load(&bg->pushers) > 0);
    atomic_store(&bg->push_interval_ms, push_interval_ms);
    atomic_store(&bg->hint, true); /* to look for what was committed before */
    return true;
}

static void
join_running(struct ramet_background *bg, uint64_t push_interval_ms)
{
    assert(bg->fork_count == ramet_os_fork_count());
    ramet_mutex_lock(&bg->mutex);
    if (join_pushers(bg, push_interval_ms))
        tell_all(bg);
    ramet_mutex_unlock(&bg->mutex);
}

enum ramet_rc
ramet_background_start(struct ramet_replica_sync *replica_sync,
                       struct ramet_session *session, uint64_t push_interval_ms,
                       struct ramet_err *err)
{
    struct ramet_background *bg = atomic_load(&replica_sync->background);
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_replica_sync_client(replica_sync) != NULL);
    if (bg != NULL) { /* without waiting for what it is at */
        join_running(bg, push_interval_ms);
        return RAMET_OK;
    }
    ramet_mutex_lock(&replica_sync->sync_mutex);
    bg = atomic_load(&replica_sync->background);
    if (bg != NULL) {
        join_running(bg, push_interval_ms);
        goto done;
    }
    rc = ramet_replica_sync_need_session(replica_sync, session, err);
    if (rc != RAMET_OK)
        goto done;
    bg = background_new(replica_sync);
    if (bg == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", replica_sync->path);
        goto done;
    }
    (void)join_pushers(bg, push_interval_ms);
    assert(atomic_load(&replica_sync->background) == NULL);
    rc = start(bg, err);
    if (rc == RAMET_OK)
        atomic_store(&replica_sync->background, bg);
    else
        background_free(bg);

done:
    ramet_mutex_unlock(&replica_sync->sync_mutex);
    return rc;
}

void
ramet_background_leave(struct ramet_background *bg, uint64_t wait_ms)
{
    const uint64_t deadline_ms = ramet_background_now_ms(bg) + wait_ms;
    uint64_t mine = 0;

    if (bg->fork_count != ramet_os_fork_count())
        return;
    ramet_mutex_lock(&bg->mutex);
    assert(ramet_background_may_push(bg));
    if (atomic_fetch_sub(&bg->pushers, 1) == 1 && wait_ms > 0) {
        mine = ++bg->flushes_asked;
        bg->flush_wait_ms = wait_ms;
        tell_all(bg);
    }
    for (uint64_t now = ramet_background_now_ms(bg);
         bg->flushes_done < mine && now < deadline_ms;
         now = ramet_background_now_ms(bg))
        ramet_cond_wait_ms(&bg->cond, &bg->mutex, deadline_ms - now);
    ramet_mutex_unlock(&bg->mutex);
}

void
ramet_background_wake(struct ramet_background *bg)
{
    if (bg == NULL || bg->fork_count != ramet_os_fork_count())
        return;
    atomic_fetch_add(&bg->commits, 1);
    if (atomic_load(&bg->armed) && atomic_exchange(&bg->armed, false))
        ramet_crew_wake(&bg->member);
}

void
ramet_background_retry(struct ramet_background *bg)
{
    if (bg == NULL || bg->fork_count != ramet_os_fork_count())
        return;
    atomic_store(&bg->retry, true);
    ramet_mutex_lock(&bg->mutex);
    tell_all(bg);
    ramet_mutex_unlock(&bg->mutex);
}

void
ramet_background_stop(struct ramet_background *bg)
{
    if (bg == NULL)
        return;
    ramet_mutex_lock(&bg->mutex);
    bg->closing = true;
    atomic_store(&bg->stop, true);
    ramet_cond_broadcast(&bg->cond);
    ramet_mutex_unlock(&bg->mutex);
    ramet_crew_leave(&bg->member);
    if (bg->followed != NULL)
        bg->followed->ops->unfollow(bg->followed, &bg->volume, &bg->follower);
    background_free(bg);
}
