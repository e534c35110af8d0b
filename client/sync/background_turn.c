/*
 * background_turn.c - what is done in a turn: push what is due, look for commits
 * of others, and wait longer after failures; by the invariants of
 * background_impl.h.
 *
 * Layer: client, sync.
 */
#include <assert.h>
#include <stdatomic.h>

#include "client/remote/remote_client.h"
#include "client/sync/background_impl.h"
#include "client/sync/sync.h"
#include "core/log.h"

#define POLL_MAX_MS 5000u
#define POLL_PAID_MS 10000u /* a bucket: docs/s3.md has the price */
#define POLL_TOLD_MS 30000u /* where the remote tells of commits by itself */
#define LOCK_WAIT_MS 100u

/* ---- what comes of it ------------------------------------------------------ */

/* Does waiting longer make sense at once, since only a user can mend it? */
static bool
needs_a_user(enum ramet_rc rc)
{
    assert(rc != RAMET_OK);
    return rc == RAMET_EDIVERGED || rc == RAMET_EWENTBACK ||
           rc == RAMET_EEXIST || rc == RAMET_EAUTH || rc == RAMET_ECLOCK ||
           rc == RAMET_EREFUSED || rc == RAMET_EREADONLY ||
           rc == RAMET_ECORRUPT || rc == RAMET_EVERSION || rc == RAMET_EINVAL;
}

static void
tell(struct ramet_background *bg, const char *what, enum ramet_rc rc,
     const struct ramet_err *err)
{
    struct ramet_replica_sync *const replica_sync = bg->replica_sync;
    const bool parted = rc == RAMET_EDIVERGED || rc == RAMET_EWENTBACK;
    uint64_t remote_lsn;

    assert(rc != RAMET_OK);
    ramet_mutex_lock(&replica_sync->mutex);
    remote_lsn = replica_sync->remote_lsn;
    ramet_mutex_unlock(&replica_sync->mutex);
    if (parted && bg->told_lsn == remote_lsn)
        return; /* once for each commit that makes it worse */
    if (parted)
        bg->told_lsn = remote_lsn;
    ramet_log(parted ? RAMET_LOG_ERROR : RAMET_LOG_WARN, what, "file",
              replica_sync->path, "code", ramet_rc_name(rc), "error", err->text,
              NULL);
}

static void
judge(struct ramet_background *bg, struct ramet_backoff *backoff,
      const char *what, enum ramet_rc rc, const struct ramet_err *err)
{
    assert(rc == RAMET_OK || err != NULL);
    if (rc == RAMET_OK) {
        *backoff = (struct ramet_backoff){.until_ms = 0};
        return;
    }
    /* Somebody else was at it: soon again. */
    if (rc == RAMET_EBUSY || rc == RAMET_ESNAPSHOT || rc == RAMET_ECANCELLED) {
        backoff->until_ms = ramet_background_now_ms(bg) + bg->pacer.interval_ms;
        return;
    }
    ramet_backoff_fail(backoff, bg->replica_sync->os,
                       ramet_background_now_ms(bg), needs_a_user(rc));
    tell(bg, what, rc, err);
}

/* ---- push and pull -------------------------------------------------------- */

static void
sync_init(const struct ramet_background *bg, struct ramet_sync *sync,
          const char *verb)
{
    assert(bg->replica_sync != NULL);
    *sync = (struct ramet_sync){
        .verb = verb,
        .cancel = &bg->stop,
        .wait_ms = LOCK_WAIT_MS,
        .follows = !ramet_background_may_push(bg),
        .believes = true,
    };
}

/* Needs a begun run. */
static enum ramet_rc
copy_pending(const struct ramet_sync *sync, struct ramet_pageset *out,
             struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(sync->session != NULL);
    rc = ramet_pageset_copy(out, &sync->state->in_flight);
    if (rc == RAMET_OK)
        rc = ramet_pageset_add_set(out, &sync->state->later);
    return rc == RAMET_OK ? rc : RAMET_FAIL(err, rc, "push: no memory");
}

/* Push if the pacer, who gets to know the pages, still wants to. Returns how
 * long to wait if not. */
static enum ramet_rc
push_begun(struct ramet_background *bg, struct ramet_sync *sync, bool at_once,
           uint64_t *out_wait_ms, struct ramet_err *err)
{
    const uint64_t began_ms = ramet_background_now_ms(bg);
    struct ramet_pageset pending;
    enum ramet_rc rc;

    assert(sync->session != NULL && !sync->follows); /* invariant (4) */
    ramet_pageset_init(&pending);
    rc = copy_pending(sync, &pending, err);
    bg->pacer.is_writing = ramet_replica_is_written(bg->replica_sync->replica);
    if (rc == RAMET_OK && !at_once)
        *out_wait_ms = ramet_pacer_due(&bg->pacer, began_ms, &pending);
    if (rc == RAMET_OK && (at_once || *out_wait_ms == 0)) {
        const uint64_t commits = atomic_load(&bg->commits);

        rc = ramet_sync_push(sync, err);
        if (rc == RAMET_OK) {
            const uint64_t after = atomic_load(&bg->commits);

            ramet_pacer_pushed(&bg->pacer, began_ms,
                               ramet_background_now_ms(bg), &pending,
                               sync->result.bytes, after != commits);
            bg->commits_seen = after;
            bg->poll_every_ms = RAMET_POLL_MIN_MS;
        }
    }
    ramet_pageset_done(&pending);
    return rc;
}

static uint64_t
push(struct ramet_background *bg, bool at_once)
{
    struct ramet_err err = {.code = RAMET_OK};
    struct ramet_sync sync;
    uint64_t wait_ms = 0;
    enum ramet_rc rc;

    assert(!at_once || bg->flush_wait_ms > 0);
    sync_init(bg, &sync, "push");
    sync.follows = false; /* it is for one who joined, though he left since */
    if (at_once)
        sync.wait_ms = bg->flush_wait_ms;
    rc = ramet_sync_begin(&sync, bg->replica_sync, NULL, &err);
    if (rc == RAMET_OK)
        rc = push_begun(bg, &sync, at_once, &wait_ms, &err);
    ramet_sync_end(&sync, rc, &err);
    judge(bg, &bg->push_backoff, "push failed", rc, &err);
    return wait_ms;
}

static void
pull(struct ramet_background *bg)
{
    struct ramet_err err = {.code = RAMET_OK};
    struct ramet_sync sync;
    uint64_t before = 0;
    bool moved = false;
    enum ramet_rc rc;

    sync_init(bg, &sync, "pull");
    rc = ramet_sync_begin(&sync, bg->replica_sync, NULL, &err);
    if (rc == RAMET_OK) {
        before = sync.state->newest.lsn;
        rc = ramet_sync_pull(&sync, &err);
        if (rc == RAMET_ENOTFOUND && sync.history == NULL)
            rc = RAMET_OK; /* no such volume yet: our first push makes it */
        moved = sync.state->newest.lsn != before;
        /* Commits of other processes, and of a life before this one. */
        if (!sync.follows && ramet_sync_pending(&sync) &&
            bg->pacer.dirty_since_ms == 0)
            ramet_pacer_commit(&bg->pacer, ramet_background_now_ms(bg));
    }
    ramet_sync_end(&sync, rc, &err);
    assert(sync.replica_sync == NULL);
    judge(bg, &bg->pull_backoff, "pull failed", rc, &err);
    bg->poll_every_ms = moved ? RAMET_POLL_MIN_MS : bg->poll_every_ms * 2;
}

/* ---- a turn ------------------------------------------------------------------- */

static uint64_t
least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Push if it is time to; returns how long it is not. */
static uint64_t
work_on_push(struct ramet_background *bg)
{
    const uint64_t now = ramet_background_now_ms(bg);
    uint64_t wait_ms;

    bg->pacer.interval_ms = atomic_load(&bg->push_interval_ms);
    wait_ms = ramet_pacer_due(&bg->pacer, now, NULL);
    if (wait_ms == 0)
        wait_ms = ramet_backoff_left(&bg->push_backoff, now);
    return wait_ms > 0 ? wait_ms : push(bg, false);
}

static void
note_commits(struct ramet_background *bg)
{
    const uint64_t commits = atomic_load(&bg->commits);

    assert(commits >= bg->commits_seen);
    if (commits != bg->commits_seen && ramet_background_may_push(bg))
        ramet_pacer_commit(&bg->pacer, ramet_background_now_ms(bg));
    bg->commits_seen = commits;
}

/* A remote that tells of commits by itself says that there may be one. */
static void
heard(void *ctx)
{
    struct ramet_background *const bg = ctx;

    atomic_store(&bg->hint, true);
    ramet_mutex_lock(&bg->mutex);
    if (!bg->closing) /* else it may be no member any more */
        ramet_crew_wake(&bg->member);
    ramet_mutex_unlock(&bg->mutex);
}

/* Once the remote is connected and the volume known, follow it. */
static void
follow(struct ramet_background *bg)
{
    struct ramet_replica_sync *const replica_sync = bg->replica_sync;
    struct ramet_remote *const remote =
        ramet_remote_client_remote(ramet_replica_sync_client(replica_sync));
    uint64_t known;

    if (bg->followed != NULL || remote == NULL || remote->ops->follow == NULL ||
        !ramet_replica_sync_volume(replica_sync, &bg->volume))
        return;
    ramet_mutex_lock(&replica_sync->mutex);
    known = replica_sync->remote_lsn;
    ramet_mutex_unlock(&replica_sync->mutex);
    assert(bg->followed == NULL);
    bg->follower = (struct ramet_follower){.heard = heard, .ctx = bg};
    /* Without, it polls. */
    if (remote->ops->follow(remote, &bg->volume, known, &bg->follower, NULL) ==
        RAMET_OK)
        bg->followed = remote;
}

static bool
is_told(const struct ramet_background *bg)
{
    struct ramet_remote *const remote = bg->followed;
    struct ramet_heard what;

    return remote != NULL && remote->ops->heard(remote, &bg->volume, &what) &&
           what.is_alive;
}

static uint64_t
longest_poll(const struct ramet_background *bg)
{
    assert(bg->replica_sync->client != NULL);
    if (is_told(bg))
        return POLL_TOLD_MS;
    return ramet_remote_client_url(bg->replica_sync->client)->scheme ==
                   RAMET_REMOTE_S3
               ? POLL_PAID_MS
               : POLL_MAX_MS;
}

/* The LSN that was heard of; 0: none. */
static uint64_t
heard_lsn(const struct ramet_background *bg)
{
    struct ramet_heard what;

    return bg->followed != NULL &&
                   bg->followed->ops->heard(bg->followed, &bg->volume, &what)
               ? what.newest.lsn
               : 0;
}

/* What was heard before a pull has to come true, or it is believed less and less,
 * and nothing of it is kept, so that the next true news are heard. */
static void
judge_news(struct ramet_background *bg, uint64_t lsn)
{
    uint64_t known;

    assert(bg->followed != NULL);
    ramet_mutex_lock(&bg->replica_sync->mutex);
    known = bg->replica_sync->remote_lsn;
    ramet_mutex_unlock(&bg->replica_sync->mutex);
    if (lsn <= known) {
        bg->doubt = (struct ramet_backoff){.until_ms = 0};
        return;
    }
    ramet_backoff_fail(&bg->doubt, bg->replica_sync->os,
                       ramet_background_now_ms(bg), false);
    if (bg->followed->ops->disbelieve != NULL)
        bg->followed->ops->disbelieve(bg->followed, &bg->volume);
}

/* Look for commits of others, where the remote says so or it is time to. */
static bool
work_on_pull(struct ramet_background *bg)
{
    const uint64_t now = ramet_background_now_ms(bg);
    uint64_t lsn;
    bool hint = false;

    if (ramet_backoff_left(&bg->pull_backoff, now) > 0)
        return false;
    if (ramet_backoff_left(&bg->doubt, now) == 0)
        hint = atomic_exchange(&bg->hint, false);
    if (!hint && now < bg->poll_at_ms)
        return false;
    lsn = heard_lsn(bg);
    pull(bg);
    follow(bg);
    if (lsn > 0 && bg->pull_backoff.until_ms == 0)
        judge_news(bg, lsn);
    bg->poll_every_ms = least_of(bg->poll_every_ms, longest_poll(bg));
    assert(bg->poll_every_ms > 0);
    bg->poll_at_ms = ramet_background_now_ms(bg) + bg->poll_every_ms;
    return true;
}

/* How long until it is time to look again, whoever says so. */
static uint64_t
pull_due(const struct ramet_background *bg, uint64_t now)
{
    uint64_t wait_ms = bg->poll_at_ms > now ? bg->poll_at_ms - now : 1;

    if (atomic_load(&bg->hint))
        wait_ms = ramet_backoff_left(&bg->doubt, now);
    if (ramet_backoff_left(&bg->pull_backoff, now) > wait_ms)
        wait_ms = ramet_backoff_left(&bg->pull_backoff, now);
    return wait_ms;
}

/* What can be done now; returns how long nothing will be to be done. */
static uint64_t
work(struct ramet_background *bg)
{
    const bool pushes = ramet_background_may_push(bg);
    uint64_t wait_ms = UINT64_MAX;
    uint64_t now;

    if (atomic_exchange(&bg->retry, false)) {
        bg->push_backoff = (struct ramet_backoff){.until_ms = 0};
        bg->pull_backoff = (struct ramet_backoff){.until_ms = 0};
    }
    note_commits(bg);
    if (pushes)
        wait_ms = work_on_push(bg);
    if (work_on_pull(bg) && pushes) /* it may have found commits */
        wait_ms = least_of(
            wait_ms,
            ramet_pacer_due(&bg->pacer, ramet_background_now_ms(bg), NULL));
    now = ramet_background_now_ms(bg);
    if (pushes && bg->push_backoff.until_ms > now && wait_ms < UINT64_MAX)
        wait_ms = ramet_backoff_left(&bg->push_backoff, now);
    assert(now >= 1); /* the pacer knows no 0 */
    wait_ms = least_of(wait_ms, pull_due(bg, now));
    return wait_ms > 0 ? wait_ms : 1;
}

/* How long there is nothing to do, unless somebody says so. */
static uint64_t
rest(struct ramet_background *bg, uint64_t wait_ms)
{
    assert(!atomic_load(&bg->armed)); /* invariant (2) */
    ramet_mutex_lock(&bg->mutex);
    if (bg->pacer.dirty_since_ms == 0) {
        atomic_store(&bg->armed, true); /* before the look at `commits` */
        if (atomic_load(&bg->commits) != bg->commits_seen)
            wait_ms = 0;
    }
    if (bg->flushes_asked != bg->flushes_done)
        wait_ms = 0;
    ramet_mutex_unlock(&bg->mutex);
    return wait_ms;
}

/* What is left, once, at once, for the last one that may push. */
static void
flush_if_asked(struct ramet_background *bg)
{
    uint64_t asked;
    bool wanted;

    ramet_mutex_lock(&bg->mutex);
    asked = bg->flushes_asked;
    wanted = asked != bg->flushes_done;
    ramet_mutex_unlock(&bg->mutex);
    if (!wanted)
        return;
    push(bg, true);
    ramet_mutex_lock(&bg->mutex);
    assert(bg->flushes_done <= asked); /* invariant (3) */
    bg->flushes_done = asked;
    ramet_cond_broadcast(&bg->cond);
    ramet_mutex_unlock(&bg->mutex);
}

static bool
is_closing(struct ramet_background *bg)
{
    bool closing;

    ramet_mutex_lock(&bg->mutex);
    closing = bg->closing;
    ramet_mutex_unlock(&bg->mutex);
    return closing;
}

uint64_t
ramet_background_turn(void *ctx)
{
    struct ramet_background *const bg = ctx;

    atomic_store(&bg->armed, false);
    if (is_closing(bg)) /* it will be called no more */
        return POLL_MAX_MS;
    flush_if_asked(bg);
    return rest(bg, work(bg));
}
