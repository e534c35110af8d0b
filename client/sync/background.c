/*
 * background.c - see background.h.
 *
 *   (1) the pacer and both back-offs belong to the turn that is being taken: the
 *       crew (core/crew.h) sees to it that there is one at a time
 *   (2) `armed` is true only between turns with nothing to push: a commit that
 *       finds it true, and it alone, wakes the crew
 *   (3) `closing`, `hint` and the flushes are under the mutex
 *   (4) nothing is pushed, settled or bound but while somebody who may push
 *       has joined; a push that was begun for one may outlast it
 *
 * Layer: client.
 */
#include "client/sync/background.h"

#include <assert.h>
#include <stdatomic.h>

#include "client/remote/remote.h"
#include "client/remote/source.h"
#include "client/sync/link.h"
#include "client/sync/pacer.h"
#include "client/sync/sync.h"
#include "core/alloc.h"
#include "core/crew.h"
#include "core/log.h"

#define POLL_MIN_MS 200u
#define POLL_MAX_MS 5000u
#define POLL_PAID_MS 10000u /* a bucket: docs/s3.md has the price */
#define POLL_TOLD_MS 30000u /* where the remote tells of commits by itself */
#define BACKOFF_MIN_MS 200u
#define BACKOFF_MAX_MS 30000u
#define LISTEN_MS 30000u
#define OWN_NEWS_MS 50u /* after being told of our own commit, perhaps */
#define LOCK_WAIT_MS 100u

struct backoff {
    uint64_t until_ms; /* 0: none */
    uint64_t delay_ms;
};

struct ramet_background {
    struct ramet_link *link;
    unsigned fork_count;
    struct ramet_crew_member member;
    struct ramet_thread listener;
    atomic_uint_least64_t commits;
    atomic_bool armed;   /* invariant (2) */
    atomic_bool retry;   /* forget the back-offs */
    atomic_uint pushers; /* who joined; changed under the mutex */
    atomic_uint_least64_t push_interval_ms;
    atomic_bool stop;
    volatile bool stop_listening; /* what the remote's hook is given */
    struct ramet_mutex mutex;
    struct ramet_cond cond;
    bool closing; /* invariant (3) */
    bool hint;
    bool connected; /* written under the mutex by turns alone */
    /* Pushes of what is left, one for each last pusher that leaves. */
    uint64_t flushes_asked, flushes_done;
    uint64_t flush_wait_ms;

    struct ramet_pacer pacer; /* invariant (1), as all below */
    uint64_t commits_seen;
    struct backoff push_backoff;
    struct backoff pull_backoff;
    uint64_t poll_at_ms;
    uint64_t poll_every_ms;
    uint64_t told_lsn; /* of the divergence that was logged */
};

static uint64_t
now_ms(const struct ramet_background *bg)
{
    const struct ramet_os *const os = bg->link->os;

    return os->mono_ns(os->ctx) / 1000000 + 1; /* the pacer knows no 0 */
}

static bool
may_push(const struct ramet_background *bg)
{
    return atomic_load(&bg->pushers) > 0;
}

/* ---- back-off ------------------------------------------------------------- */

static void
backoff_fail(const struct ramet_background *bg, struct backoff *backoff,
             bool for_long)
{
    const struct ramet_os *const os = bg->link->os;
    uint16_t random = 0;

    backoff->delay_ms =
        backoff->delay_ms == 0 ? BACKOFF_MIN_MS : backoff->delay_ms * 2;
    if (backoff->delay_ms > BACKOFF_MAX_MS || for_long)
        backoff->delay_ms = BACKOFF_MAX_MS;
    if (os->random(os->ctx, &random, sizeof(random)) < 0)
        random = UINT16_MAX / 2;
    /* 3/4 to 5/4 of it: replicas that lost a remote together don't come back
     * together. */
    backoff->until_ms = now_ms(bg) + backoff->delay_ms * 3 / 4 +
                        backoff->delay_ms / 2 * random / UINT16_MAX;
}

static uint64_t
backoff_left(const struct backoff *backoff, uint64_t now)
{
    return backoff->until_ms > now ? backoff->until_ms - now : 0;
}

/* Does waiting longer make sense at once, since only a user can mend it? */
static bool
needs_a_user(enum ramet_rc rc)
{
    return rc == RAMET_EDIVERGED || rc == RAMET_EWENTBACK ||
           rc == RAMET_EEXIST || rc == RAMET_EAUTH || rc == RAMET_ECLOCK ||
           rc == RAMET_EREFUSED || rc == RAMET_EREADONLY ||
           rc == RAMET_ECORRUPT || rc == RAMET_EVERSION || rc == RAMET_EINVAL;
}

static void
tell(struct ramet_background *bg, const char *what, enum ramet_rc rc,
     const struct ramet_err *err)
{
    struct ramet_link *const link = bg->link;
    const bool parted = rc == RAMET_EDIVERGED || rc == RAMET_EWENTBACK;
    uint64_t remote_lsn;

    ramet_mutex_lock(&link->mutex);
    remote_lsn = link->remote_lsn;
    ramet_mutex_unlock(&link->mutex);
    if (parted && bg->told_lsn == remote_lsn)
        return; /* once for each commit that makes it worse */
    if (parted)
        bg->told_lsn = remote_lsn;
    ramet_log(parted ? RAMET_LOG_ERROR : RAMET_LOG_WARN, what, "file",
              link->path, "code", ramet_rc_name(rc), "error", err->text, NULL);
}

static void
judge(struct ramet_background *bg, struct backoff *backoff, const char *what,
      enum ramet_rc rc, const struct ramet_err *err)
{
    if (rc == RAMET_OK) {
        *backoff = (struct backoff){.until_ms = 0};
        return;
    }
    /* Somebody else was at it: soon again. */
    if (rc == RAMET_EBUSY || rc == RAMET_ESNAPSHOT || rc == RAMET_ECANCELLED) {
        backoff->until_ms = now_ms(bg) + bg->pacer.interval_ms;
        return;
    }
    backoff_fail(bg, backoff, needs_a_user(rc));
    tell(bg, what, rc, err);
}

/* ---- push and pull -------------------------------------------------------- */

static void
sync_init(const struct ramet_background *bg, struct ramet_sync *sync,
          const char *verb)
{
    *sync = (struct ramet_sync){
        .verb = verb,
        .cancel = &bg->stop,
        .wait_ms = LOCK_WAIT_MS,
        .follows = !may_push(bg),
    };
}

/* Needs a begun run. */
static enum ramet_rc
copy_pending(const struct ramet_sync *sync, struct ramet_pageset *out,
             struct ramet_err *err)
{
    enum ramet_rc rc;

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
    const uint64_t began_ms = now_ms(bg);
    struct ramet_pageset pending;
    enum ramet_rc rc;

    ramet_pageset_init(&pending);
    rc = copy_pending(sync, &pending, err);
    if (rc == RAMET_OK && !at_once)
        *out_wait_ms = ramet_pacer_due(&bg->pacer, began_ms, &pending);
    if (rc == RAMET_OK && (at_once || *out_wait_ms == 0)) {
        const uint64_t commits = atomic_load(&bg->commits);

        rc = ramet_sync_push(sync, err);
        if (rc == RAMET_OK) {
            const uint64_t after = atomic_load(&bg->commits);

            ramet_pacer_pushed(&bg->pacer, began_ms, now_ms(bg), &pending,
                               sync->result.bytes, after != commits);
            bg->commits_seen = after;
            bg->poll_every_ms = POLL_MIN_MS;
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

    sync_init(bg, &sync, "push");
    if (at_once)
        sync.wait_ms = bg->flush_wait_ms;
    rc = ramet_sync_begin(&sync, bg->link, NULL, &err);
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
    rc = ramet_sync_begin(&sync, bg->link, NULL, &err);
    if (rc == RAMET_OK) {
        before = sync.state->newest.lsn;
        rc = ramet_sync_pull(&sync, &err);
        if (rc == RAMET_ENOTFOUND && sync.history == NULL)
            rc = RAMET_OK; /* no such volume yet: our first push makes it */
        moved = sync.state->newest.lsn != before;
        /* Commits of other processes, and of a life before this one. */
        if (!sync.follows && ramet_sync_pending(&sync) &&
            bg->pacer.dirty_since_ms == 0)
            ramet_pacer_commit(&bg->pacer, now_ms(bg));
    }
    ramet_sync_end(&sync, rc, &err);
    judge(bg, &bg->pull_backoff, "pull failed", rc, &err);
    bg->poll_every_ms = moved ? POLL_MIN_MS : bg->poll_every_ms * 2;
}

/* ---- a turn ------------------------------------------------------------------- */

static bool
take_hint(struct ramet_background *bg)
{
    bool hint;

    ramet_mutex_lock(&bg->mutex);
    hint = bg->hint;
    ramet_mutex_unlock(&bg->mutex);
    return hint;
}

static void
drop_hint(struct ramet_background *bg)
{
    ramet_mutex_lock(&bg->mutex);
    bg->hint = false;
    ramet_cond_broadcast(&bg->cond);
    ramet_mutex_unlock(&bg->mutex);
}

static uint64_t
least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Push if it is time to; returns how long it is not. */
static uint64_t
work_on_push(struct ramet_background *bg)
{
    const uint64_t now = now_ms(bg);
    uint64_t wait_ms;

    bg->pacer.interval_ms = atomic_load(&bg->push_interval_ms);
    wait_ms = ramet_pacer_due(&bg->pacer, now, NULL);
    if (wait_ms == 0)
        wait_ms = backoff_left(&bg->push_backoff, now);
    return wait_ms > 0 ? wait_ms : push(bg, false);
}

static void
note_commits(struct ramet_background *bg)
{
    const uint64_t commits = atomic_load(&bg->commits);

    if (commits != bg->commits_seen && may_push(bg))
        ramet_pacer_commit(&bg->pacer, now_ms(bg));
    bg->commits_seen = commits;
}

static void
note_connection(struct ramet_background *bg)
{
    struct ramet_vid volume;

    if (bg->connected || !ramet_link_volume(bg->link, &volume) ||
        ramet_source_remote(ramet_link_source(bg->link)) == NULL)
        return;
    ramet_mutex_lock(&bg->mutex);
    bg->connected = true;
    ramet_cond_broadcast(&bg->cond);
    ramet_mutex_unlock(&bg->mutex);
}

static uint64_t
longest_poll(const struct ramet_background *bg)
{
    if (bg->listener.running)
        return POLL_TOLD_MS;
    return ramet_source_url(bg->link->source)->scheme == RAMET_REMOTE_S3
               ? POLL_PAID_MS
               : POLL_MAX_MS;
}

/* What can be done now; returns how long nothing will be to be done. */
static uint64_t
work(struct ramet_background *bg)
{
    const uint64_t poll_max = longest_poll(bg);
    const bool pushes = may_push(bg);
    const bool hint = take_hint(bg);
    uint64_t wait_ms = UINT64_MAX;
    uint64_t now;

    if (atomic_exchange(&bg->retry, false)) {
        bg->push_backoff = (struct backoff){.until_ms = 0};
        bg->pull_backoff = (struct backoff){.until_ms = 0};
    }
    note_commits(bg);
    if (pushes)
        wait_ms = work_on_push(bg);
    now = now_ms(bg);
    if ((hint || now >= bg->poll_at_ms) &&
        backoff_left(&bg->pull_backoff, now) == 0) {
        pull(bg);
        if (bg->poll_every_ms > poll_max)
            bg->poll_every_ms = poll_max;
        now = now_ms(bg);
        bg->poll_at_ms = now + bg->poll_every_ms;
        if (pushes) /* it may have found commits */
            wait_ms = least_of(wait_ms, ramet_pacer_due(&bg->pacer, now, NULL));
    }
    note_connection(bg);
    if (hint)
        drop_hint(bg);
    if (pushes && bg->push_backoff.until_ms > now && wait_ms < UINT64_MAX)
        wait_ms = backoff_left(&bg->push_backoff, now);
    wait_ms =
        least_of(wait_ms, bg->poll_at_ms > now ? bg->poll_at_ms - now : 1);
    if (backoff_left(&bg->pull_backoff, now) > wait_ms &&
        (!pushes || bg->pacer.dirty_since_ms == 0))
        wait_ms = backoff_left(&bg->pull_backoff, now);
    return wait_ms > 0 ? wait_ms : 1;
}

/* How long there is nothing to do, unless somebody says so. */
static uint64_t
rest(struct ramet_background *bg, uint64_t wait_ms)
{
    ramet_mutex_lock(&bg->mutex);
    if (bg->pacer.dirty_since_ms == 0) {
        atomic_store(&bg->armed, true); /* before the look at `commits` */
        if (atomic_load(&bg->commits) != bg->commits_seen)
            wait_ms = 0;
    }
    if (bg->flushes_asked != bg->flushes_done || bg->hint)
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

static uint64_t
take_turn(void *ctx)
{
    struct ramet_background *const bg = ctx;

    atomic_store(&bg->armed, false);
    if (is_closing(bg)) /* it will be called no more */
        return POLL_MAX_MS;
    flush_if_asked(bg);
    return rest(bg, work(bg));
}

/* Something was said that the next turn has to see, and whoever waits here too. */
static void
tell_all(struct ramet_background *bg)
{
    ramet_cond_broadcast(&bg->cond);
    ramet_crew_wake(&bg->member);
}

/* ---- the listener --------------------------------------------------------- */

/* Hand the news over, and wait until they were looked at. */
static void
pass_hint(struct ramet_background *bg)
{
    ramet_mutex_lock(&bg->mutex);
    bg->hint = true;
    tell_all(bg);
    while (bg->hint && !bg->closing)
        ramet_cond_wait_ms(&bg->cond, &bg->mutex, LISTEN_MS);
    ramet_mutex_unlock(&bg->mutex);
}

/* Whoever signals for other reasons does not end it: that a program commits
 * does not make a remote that fails a better one. */
static void
listener_sleep(struct ramet_background *bg, uint64_t ms)
{
    const uint64_t until_ms = now_ms(bg) + ms;

    ramet_mutex_lock(&bg->mutex);
    for (uint64_t now = now_ms(bg); !bg->closing && now < until_ms;
         now = now_ms(bg))
        ramet_cond_wait_ms(&bg->cond, &bg->mutex, until_ms - now);
    ramet_mutex_unlock(&bg->mutex);
}

/* A turn connects, and finds the volume. */
static bool
wait_for_connection(struct ramet_background *bg)
{
    bool connected;

    ramet_mutex_lock(&bg->mutex);
    while (!bg->connected && !bg->closing)
        ramet_cond_wait_ms(&bg->cond, &bg->mutex, LISTEN_MS);
    connected = bg->connected;
    ramet_mutex_unlock(&bg->mutex);
    return connected;
}

/* After `before`, once more of the same. */
static uint64_t
longer_pause(uint64_t before_ms)
{
    return least_of(before_ms == 0 ? BACKOFF_MIN_MS : before_ms * 2,
                    BACKOFF_MAX_MS);
}

/*
 * One wait for news; returns for how long not to ask again. News that don't
 * come true are believed less and less, and nothing of them is kept, so that
 * the next true ones are heard.
 */
static uint64_t
listen_once(struct ramet_background *bg, uint64_t pause_ms)
{
    struct ramet_link *const link = bg->link;
    struct ramet_source *const source = ramet_link_source(link);
    struct ramet_remote *const remote = ramet_source_remote(source);
    struct ramet_vid volume;
    uint64_t known, news;
    bool came_true, moved;
    enum ramet_rc rc;

    (void)ramet_link_volume(link, &volume);
    if (remote->ops->wait == NULL)
        return POLL_TOLD_MS;
    ramet_mutex_lock(&link->mutex);
    known = link->remote_lsn;
    news = link->news;
    ramet_mutex_unlock(&link->mutex);
    rc = remote->ops->wait(remote, &volume, known, LISTEN_MS,
                           &bg->stop_listening, NULL);
    if (rc == RAMET_ETIMEOUT || rc == RAMET_ECANCELLED)
        return 0;
    if (rc != RAMET_OK)
        return longer_pause(pause_ms);
    pass_hint(bg);
    ramet_mutex_lock(&link->mutex);
    came_true = link->news != news;
    moved = link->remote_lsn != known;
    ramet_mutex_unlock(&link->mutex);
    if (came_true || moved)
        return came_true ? 0 : OWN_NEWS_MS;
    if (remote->ops->disbelieve != NULL)
        remote->ops->disbelieve(remote, &volume);
    return longer_pause(pause_ms);
}

static void *
listen(void *arg)
{
    struct ramet_background *const bg = arg;
    uint64_t pause_ms = 0;

    if (!wait_for_connection(bg))
        return NULL;
    while (!atomic_load(&bg->stop) && !bg->stop_listening) {
        pause_ms = listen_once(bg, pause_ms);
        if (pause_ms > 0)
            listener_sleep(bg, pause_ms);
    }
    return NULL;
}

/* Neither a directory nor a bucket can. */
static bool
can_tell(const struct ramet_link *link)
{
    const enum ramet_remote_scheme scheme =
        ramet_source_url(link->source)->scheme;

    return scheme == RAMET_REMOTE_HTTP || scheme == RAMET_REMOTE_HTTPS;
}

/* ---- start and stop ------------------------------------------------------- */

static void
background_free(struct ramet_background *bg)
{
    ramet_pacer_done(&bg->pacer);
    ramet_cond_done(&bg->cond);
    ramet_mutex_done(&bg->mutex);
    ramet_free(bg);
}

static enum ramet_rc
start(struct ramet_background *bg, struct ramet_err *err)
{
    enum ramet_rc rc;

    bg->member.work = take_turn;
    bg->member.ctx = bg;
    rc = ramet_crew_join(&bg->member, err);
    if (rc != RAMET_OK || !can_tell(bg->link))
        return rc;
    /* Without it, it polls. */
    if (ramet_thread_start(&bg->listener, "ramet-listen", listen, bg, NULL) !=
        RAMET_OK)
        ramet_log(RAMET_LOG_WARN, "no thread to listen", "file", bg->link->path,
                  NULL);
    return RAMET_OK;
}

static struct ramet_background *
background_new(struct ramet_link *link)
{
    struct ramet_background *const bg = ramet_calloc(1, sizeof(*bg));

    if (bg == NULL)
        return NULL;
    bg->link = link;
    bg->fork_count = ramet_os_fork_count();
    ramet_mutex_init(&bg->mutex);
    ramet_cond_init(&bg->cond);
    ramet_pacer_init(&bg->pacer, 0);
    bg->poll_every_ms = POLL_MIN_MS;
    return bg;
}

/* Under the mutex, but for one that was not started yet. True: it is the first. */
static bool
join_pushers(struct ramet_background *bg, uint64_t push_interval_ms)
{
    if (push_interval_ms == 0 || atomic_fetch_add(&bg->pushers, 1) > 0)
        return false;
    atomic_store(&bg->push_interval_ms, push_interval_ms);
    bg->hint = true; /* to look for what was committed before */
    return true;
}

static void
join_running(struct ramet_background *bg, uint64_t push_interval_ms)
{
    ramet_mutex_lock(&bg->mutex);
    if (join_pushers(bg, push_interval_ms))
        tell_all(bg);
    ramet_mutex_unlock(&bg->mutex);
}

enum ramet_rc
ramet_background_start(struct ramet_link *link, struct ramet_session *session,
                       uint64_t push_interval_ms, struct ramet_err *err)
{
    struct ramet_background *bg = atomic_load(&link->background);
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_link_source(link) != NULL);
    if (bg != NULL) { /* without waiting for what it is at */
        join_running(bg, push_interval_ms);
        return RAMET_OK;
    }
    ramet_mutex_lock(&link->sync_mutex);
    bg = atomic_load(&link->background);
    if (bg != NULL) {
        join_running(bg, push_interval_ms);
        goto done;
    }
    rc = ramet_link_need_session(link, session, err);
    if (rc != RAMET_OK)
        goto done;
    bg = background_new(link);
    if (bg == NULL) {
        rc = RAMET_FAIL(err, RAMET_ENOMEM, "%s: no memory", link->path);
        goto done;
    }
    (void)join_pushers(bg, push_interval_ms);
    rc = start(bg, err);
    if (rc == RAMET_OK)
        atomic_store(&link->background, bg);
    else
        background_free(bg);

done:
    ramet_mutex_unlock(&link->sync_mutex);
    return rc;
}

void
ramet_background_leave(struct ramet_background *bg, uint64_t wait_ms)
{
    const uint64_t deadline_ms = now_ms(bg) + wait_ms;
    uint64_t mine = 0;

    if (bg->fork_count != ramet_os_fork_count())
        return;
    ramet_mutex_lock(&bg->mutex);
    assert(may_push(bg));
    if (atomic_fetch_sub(&bg->pushers, 1) == 1 && wait_ms > 0) {
        mine = ++bg->flushes_asked;
        bg->flush_wait_ms = wait_ms;
        tell_all(bg);
    }
    for (uint64_t now = now_ms(bg);
         bg->flushes_done < mine && now < deadline_ms; now = now_ms(bg))
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
    bg->stop_listening = true;
    atomic_store(&bg->stop, true);
    ramet_cond_broadcast(&bg->cond);
    ramet_mutex_unlock(&bg->mutex);
    ramet_crew_leave(&bg->member);
    ramet_thread_join(&bg->listener);
    background_free(bg);
}
