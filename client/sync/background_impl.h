/*
 * background_impl.h - one replica's background work: who joined it and wakes it
 * (background.c), and what it does in a turn (background_turn.c).
 *
 *   (1) the pacer and the back-offs belong to the turn that is being taken: the
 *       crew (core/crew.h) sees to it that there is one at a time
 *   (2) `armed` is true only between turns with nothing to push: a commit that
 *       finds it true, and it alone, wakes the crew
 *   (3) `closing` and the flushes are under the mutex
 *   (4) nothing is pushed, resolved or bound but while somebody who may push
 *       has joined; a push that was begun for one may outlast it
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_BACKGROUND_IMPL_H
#define RAMET_CLIENT_SYNC_BACKGROUND_IMPL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/remote/remote.h"
#include "client/sync/background.h"
#include "client/sync/backoff.h"
#include "client/sync/pacer.h"
#include "client/sync/replica_sync.h"
#include "core/crew.h"
#include "core/os.h"

#define RAMET_POLL_MIN_MS 200u

struct ramet_background {
    struct ramet_replica_sync *replica_sync;
    unsigned fork_count;
    struct ramet_crew_member member;
    struct ramet_follower follower;
    atomic_uint_least64_t commits;
    atomic_bool armed;   /* invariant (2) */
    atomic_bool retry;   /* forget the back-offs */
    atomic_uint pushers; /* who joined; changed under the mutex */
    atomic_uint_least64_t push_interval_ms;
    atomic_bool stop;
    struct ramet_mutex mutex;
    struct ramet_cond cond;
    bool closing;     /* invariant (3) */
    atomic_bool hint; /* there may be something to pull */
    /* Pushes of what is left, one for each last pusher that leaves. */
    uint64_t flushes_asked, flushes_done;
    uint64_t flush_wait_ms;

    struct ramet_pacer pacer; /* invariant (1), as all below */
    uint64_t commits_seen;
    struct ramet_backoff push_backoff;
    struct ramet_backoff pull_backoff;
    uint64_t poll_at_ms;
    uint64_t poll_every_ms;
    uint64_t told_lsn;             /* of the divergence that was logged */
    struct ramet_backoff doubt;    /* of news that did not come true */
    struct ramet_remote *followed; /* NULL: it tells nothing */
    struct ramet_vid volume;       /* that is followed there */
};

static inline uint64_t
ramet_background_now_ms(const struct ramet_background *bg)
{
    const struct ramet_os *const os = bg->replica_sync->os;

    return os->mono_ns(os->ctx) / 1000000 + 1; /* the pacer knows no 0 */
}

static inline bool
ramet_background_may_push(const struct ramet_background *bg)
{
    return atomic_load(&bg->pushers) > 0;
}

/* All that can be done now, by the invariants above; returns how long there is
 * nothing to do, unless somebody says so. For the crew: `ctx` is the background. */
uint64_t ramet_background_turn(void *ctx);

#endif
