/*
 * sync.c - what all runs of sync.h have in common.
 *
 * Layer: client.
 */
#include "client/sync/sync.h"

#include <assert.h>
#include <inttypes.h>

#include "client/remote/meter.h"
#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/replica_sync.h"
#include "core/log.h"
#include "core/waiting.h"

#define RETRY_FIRST_US 2000u
#define RETRY_LAST_US 50000u
#define TURN_MS 1000u

/* Bytes that this run has sent, or, if it sent none, fetched. */
static uint64_t
bytes_moved(const struct ramet_sync *sync)
{
    const struct ramet_meter *const meter =
        ramet_remote_client_meter(sync->client);
    const uint64_t written =
        atomic_load(&meter->bytes_written) - sync->written_before;

    assert(sync->client != NULL);
    return written > 0
               ? written
               : ramet_remote_client_received(sync->client) - sync->read_before;
}

static bool
is_over(const struct ramet_sync *sync)
{
    const struct ramet_waiter *const patience = sync->patience;

    assert(patience == NULL || patience->is_over != NULL);
    return (sync->cancel != NULL && atomic_load(sync->cancel)) ||
           (patience != NULL && patience->is_over(patience->ctx));
}

/* Sleep the longer the more was spent; false: that was enough. */
static bool
pause_between(const struct ramet_sync *sync, const struct ramet_os *os,
              uint64_t wait_ms, uint64_t *spent_ms)
{
    uint64_t us = RETRY_FIRST_US + *spent_ms * 100;

    if (*spent_ms >= wait_ms || is_over(sync))
        return false;
    if (us > RETRY_LAST_US)
        us = RETRY_LAST_US;
    os->sleep_us(os->ctx, us);
    *spent_ms += (us + 999) / 1000;
    return true;
}

/*
 * One run at a time in a process. Whoever brings patience of its own waits for
 * a short while all the same: the runs of the background thread are many and
 * mostly short, and not what somebody thinks of who wants no waiting.
 */
static enum ramet_rc
take_turn(const struct ramet_sync *sync,
          struct ramet_replica_sync *replica_sync, struct ramet_err *err)
{
    const struct ramet_waiter *const patience = sync->patience;
    uint64_t spent_ms = 0;

    assert(sync->replica_sync == NULL);
    if (patience == NULL) {
        ramet_mutex_lock(&replica_sync->sync_mutex);
        return RAMET_OK;
    }
    while (!ramet_mutex_trylock(&replica_sync->sync_mutex))
        if (!pause_between(sync, replica_sync->os, TURN_MS, &spent_ms) &&
            (is_over(sync) || !patience->wait(patience->ctx)))
            return RAMET_FAIL(
                err, RAMET_EBUSY,
                "%s: another push or pull of this process is under way",
                replica_sync->path);
    return RAMET_OK;
}

enum ramet_rc
ramet_sync_begin(struct ramet_sync *sync,
                 struct ramet_replica_sync *replica_sync,
                 struct ramet_session *from, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(sync->replica_sync == NULL && sync->verb != NULL);
    rc = take_turn(sync, replica_sync, err);
    if (rc != RAMET_OK)
        return rc;
    sync->replica_sync = replica_sync;
    sync->state = &replica_sync->state;
    sync->report.verb = sync->verb;
    rc = ramet_replica_sync_need_session(replica_sync, from, err);
    if (rc != RAMET_OK)
        return rc;
    sync->session = replica_sync->session;
    ramet_session_set_waiter(sync->session, sync->patience);
    ramet_waiting_set(sync->patience);
    return ramet_sync_look(sync, err);
}

/* What status and the caller are told after a run. */
static void
note_result(struct ramet_sync *sync)
{
    struct ramet_replica_sync *const replica_sync = sync->replica_sync;
    const struct ramet_replica_state *const state = sync->state;

    assert(sync->session != NULL);
    ramet_mutex_lock(&replica_sync->mutex);
    if (replica_sync->remote_lsn <= state->newest.lsn)
        replica_sync->behind_since_ms = 0;
    if (replica_sync->remote_lsn < state->newest.lsn &&
        !ramet_replica_sync_lacks(replica_sync, state))
        replica_sync->remote_lsn = state->newest.lsn;
    sync->result.remote_lsn = replica_sync->remote_lsn;
    ramet_cond_broadcast(&replica_sync->moved);
    ramet_mutex_unlock(&replica_sync->mutex);
    sync->result.durable_lsn = state->newest.lsn;
    if (sync->client != NULL) {
        sync->result.requests =
            ramet_remote_client_requests(sync->client) - sync->requests_before;
        sync->result.bytes = bytes_moved(sync);
    }
}

void
ramet_sync_end(struct ramet_sync *sync, enum ramet_rc rc,
               const struct ramet_err *err)
{
    struct ramet_replica_sync *const replica_sync = sync->replica_sync;

    if (replica_sync == NULL)
        return; /* it never had its turn */
    if (sync->session != NULL) {
        ramet_session_set_waiter(sync->session, NULL);
        ramet_waiting_set(NULL);
        if (sync->has_push_lock)
            ramet_session_unlock_push(sync->session);
        ramet_session_unpin(sync->session);
        note_result(sync);
    }
    assert(sync->session != NULL || !sync->has_push_lock);
    if (rc != RAMET_EBUSY && rc != RAMET_ECANCELLED)
        ramet_replica_sync_note_result(replica_sync, sync->verb, rc, err);
    ramet_replica_sync_park(replica_sync);
    sync->replica_sync = NULL;
    ramet_mutex_unlock(&replica_sync->sync_mutex);
}

static enum ramet_rc
look_at_state(struct ramet_sync *sync, struct ramet_err *err)
{
    const enum ramet_rc rc =
        ramet_session_state(sync->session, sync->state, err);

    assert(sync->session != NULL);
    if (rc == RAMET_OK)
        ramet_replica_sync_learn(sync->replica_sync, sync->state);
    return rc;
}

enum ramet_rc
ramet_sync_look_settled(struct ramet_sync *sync, struct ramet_err *err)
{
    const enum ramet_rc rc =
        ramet_session_doubt_settled(sync->session, &sync->doubt, err);

    return rc == RAMET_OK ? look_at_state(sync, err) : rc; /* in this order */
}

enum ramet_rc
ramet_sync_look(struct ramet_sync *sync, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_sync_look_settled(sync, err);

    return rc == RAMET_EBUSY ? look_at_state(sync, err) : rc;
}

enum ramet_rc
ramet_sync_act(struct ramet_sync *sync, ramet_sync_decide *decide, void *ctx,
               struct ramet_err *err)
{
    const struct ramet_os *const os = sync->replica_sync->os;
    const uint64_t began_ns = os->mono_ns(os->ctx);
    enum ramet_rc rc = decide(sync, ctx, err);

    assert(sync->replica_sync != NULL);
    while (rc == RAMET_ESNAPSHOT) {
        uint64_t spent_ms = (os->mono_ns(os->ctx) - began_ns) / 1000000;

        if (!pause_between(sync, os, sync->wait_ms, &spent_ms))
            return rc;
        rc = ramet_sync_look(sync, err);
        if (rc == RAMET_OK)
            rc = decide(sync, ctx, err);
    }
    return rc;
}

enum ramet_rc
ramet_sync_connect(struct ramet_sync *sync, struct ramet_err *err)
{
    struct ramet_replica_sync *const replica_sync = sync->replica_sync;

    assert(sync->replica_sync != NULL);
    if (sync->client == NULL) {
        struct ramet_meter *meter;

        sync->client = ramet_replica_sync_client(replica_sync);
        if (sync->client == NULL)
            return RAMET_FAIL(err, RAMET_EINVAL,
                              "%s: has no remote; `ramet init %s --remote "
                              "URL` gives it one",
                              replica_sync->path, replica_sync->path);
        meter = ramet_remote_client_meter(sync->client);
        sync->requests_before = ramet_remote_client_requests(sync->client);
        sync->read_before = ramet_remote_client_received(sync->client);
        sync->written_before = atomic_load(&meter->bytes_written);
        ramet_remote_client_begin(sync->client);
    }
    if (!ramet_replica_sync_volume(replica_sync, &sync->volume))
        return ramet_remote_client_connect(
            sync->client,
            !sync->follows && atomic_load(&replica_sync->may_create), err);
    return ramet_remote_client_history(sync->client, &sync->volume,
                                       &sync->history, err);
}

bool
ramet_sync_retry(const struct ramet_sync *sync, uint64_t *spent_ms)
{
    const struct ramet_waiter *const patience = sync->patience;

    if (patience != NULL)
        return !is_over(sync) && patience->wait(patience->ctx);
    return pause_between(sync, sync->replica_sync->os, sync->wait_ms, spent_ms);
}

enum ramet_rc
ramet_sync_lock_push(struct ramet_sync *sync, struct ramet_err *err)
{
    uint64_t spent_ms = 0;
    enum ramet_rc rc;

    assert(!sync->follows); /* sync.h, invariant (5) */
    if (!sync->has_push_lock) {
        do
            rc = ramet_session_lock_push(sync->session, err);
        while (rc == RAMET_EBUSY && ramet_sync_retry(sync, &spent_ms));
        if (rc != RAMET_OK)
            return rc;
        sync->has_push_lock = true;
    }
    return ramet_sync_look(sync, err);
}

void
ramet_sync_make_map(struct ramet_remote_client *client,
                    struct ramet_history *history, uint64_t lsn)
{
    struct ramet_err err;

    assert(history != NULL && lsn >= 1);
    if ((ramet_remote_client_store(client)->traits & RAMET_STORE_IS_PAID) !=
            0 &&
        ramet_history_make_map(history, lsn, &err) != RAMET_OK)
        ramet_log(RAMET_LOG_INFO, "no page map could be made", "remote",
                  ramet_remote_client_text(client), "error", err.text, NULL);
}

bool
ramet_sync_pending(const struct ramet_sync *sync)
{
    const struct ramet_replica_state *const state = sync->state;

    assert(sync->state != NULL);
    return state->commits_in_flight > 0 || state->commits_later > 0 ||
           !ramet_id_is_nil(&state->intent.id) ||
           !ramet_id_is_nil(&sync->doubt.id);
}

enum ramet_rc
ramet_sync_diverged(const struct ramet_sync *sync, uint64_t remote_lsn,
                    struct ramet_err *err)
{
    assert(remote_lsn > sync->state->newest.lsn);
    return RAMET_FAIL(
        err, RAMET_EDIVERGED,
        "%s: diverged: %" PRIu64 " local commit(s) on LSN %" PRIu64
        ", and the remote went on to LSN %" PRIu64
        "; nothing is lost: `ramet export` saves a copy, `ramet "
        "reset` adopts the remote (and keeps a copy)",
        sync->replica_sync->path,
        sync->state->commits_in_flight + sync->state->commits_later,
        sync->state->newest.lsn, remote_lsn);
}

enum ramet_rc
ramet_sync_went_back(struct ramet_replica_sync *replica_sync,
                     const struct ramet_replica_state *state,
                     uint64_t remote_lsn, struct ramet_err *err)
{
    ramet_replica_sync_note_lacking(replica_sync, state);
    ramet_remote_client_forget(ramet_replica_sync_client(replica_sync),
                               &state->volume);
    if (remote_lsn == 0)
        return RAMET_FAIL(err, RAMET_EWENTBACK,
                          "%s: the remote went back in time: it has no commit "
                          "of this volume any more, and this replica stands on "
                          "LSN %" PRIu64
                          " (deleted, or another store?); nothing was changed: "
                          "`ramet export` saves a copy, of which `ramet init` "
                          "makes a new volume",
                          replica_sync->path, state->newest.lsn);
    return RAMET_FAIL(err, RAMET_EWENTBACK,
                      "%s: the remote went back in time: it is at LSN %" PRIu64
                      " and does not have LSN %" PRIu64
                      " on which this replica stands (restored from a "
                      "backup?); nothing was changed: `ramet export` saves a "
                      "copy, `ramet reset` adopts the remote",
                      replica_sync->path, remote_lsn, state->newest.lsn);
}

/* When the first commit past ours was made; one request at most. */
static uint64_t
behind_since(struct ramet_sync *sync, const struct ramet_head *newest)
{
    const uint64_t next = sync->state->newest.lsn + 1;
    struct ramet_head head = *newest;

    assert(sync->history != NULL);
    if (newest->lsn < next)
        return 0;
    if (newest->lsn > next &&
        ramet_history_head(sync->history, next, &head, NULL) != RAMET_OK)
        head = *newest;
    return head.time_ms;
}

static void
note_news(struct ramet_replica_sync *replica_sync, uint64_t lsn)
{
    ramet_mutex_lock(&replica_sync->mutex);
    replica_sync->news += lsn > replica_sync->remote_lsn;
    ramet_mutex_unlock(&replica_sync->mutex);
}

/* *out_asked_ms: when the remote was asked for it; 0: it had told by itself. */
static enum ramet_rc
find_newest(struct ramet_sync *sync, struct ramet_head *out_head,
            uint64_t *out_asked_ms, struct ramet_err *err)
{
    const struct ramet_os *const os = sync->replica_sync->os;

    assert(sync->client != NULL);
    *out_asked_ms = 0;
    /* News of less than there is here is late: another process has brought, or
     * sent, what it does not know of yet. */
    if (sync->believes &&
        ramet_remote_client_told(sync->client, &sync->volume, out_head) &&
        out_head->lsn >= sync->state->newest.lsn)
        return RAMET_OK;
    *out_asked_ms = os->boot_ns(os->ctx) / 1000000u;
    return ramet_remote_client_newest(sync->client, &sync->volume, out_head,
                                      err);
}

enum ramet_rc
ramet_sync_newest(struct ramet_sync *sync, struct ramet_head *out_head,
                  struct ramet_err *err)
{
    const struct ramet_point stand = ramet_snapshot_point(&sync->state->newest);
    struct ramet_head newest;
    struct ramet_head base;
    uint64_t asked_ms;
    enum ramet_rc rc;

    assert(sync->history != NULL);
    rc = find_newest(sync, &newest, &asked_ms, err);
    if (rc != RAMET_OK)
        return rc;
    if (newest.lsn > stand.lsn)
        note_news(sync->replica_sync, newest.lsn);
    ramet_replica_sync_note_remote(sync->replica_sync, newest.lsn,
                                   behind_since(sync, &newest));
    if (stand.lsn > 0) {
        if (newest.lsn < stand.lsn)
            return ramet_sync_went_back(sync->replica_sync, sync->state,
                                        newest.lsn, err);
        rc = ramet_history_head_of(sync->history, &stand, &base, err);
        if (rc == RAMET_EWENTBACK)
            return ramet_sync_went_back(sync->replica_sync, sync->state,
                                        newest.lsn, err);
        if (rc != RAMET_OK)
            return rc;
    }
    if (asked_ms != 0) /* of this line: a number alone confirms nothing */
        ramet_replica_sync_confirm(sync->replica_sync, newest.lsn, asked_ms);
    *out_head = newest;
    return RAMET_OK;
}

enum ramet_rc
ramet_sync_step(struct ramet_sync *sync, uint64_t pages, struct ramet_err *err)
{
    assert(sync->replica_sync != NULL);
    sync->report.pages_done += pages;
    if (sync->client != NULL)
        sync->report.bytes_done = bytes_moved(sync);
    if (is_over(sync) || (sync->progress != NULL &&
                          !sync->progress(sync->progress_ctx, &sync->report)))
        return RAMET_FAIL(err, RAMET_ECANCELLED, "%s: %s was cancelled",
                          sync->replica_sync->path, sync->verb);
    return RAMET_OK;
}

/* *out_head with LSN 0: nothing was pushed yet. */
static enum ramet_rc
fetch(struct ramet_sync *sync, struct ramet_head *out_head,
      struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(sync->replica_sync != NULL);
    out_head->lsn = 0;
    rc = ramet_sync_connect(sync, err);
    if (rc != RAMET_OK)
        return rc;
    if (sync->history == NULL) { /* not pushed yet: is the remote there? */
        struct ramet_vid volume;

        rc = ramet_remote_client_resolve(sync->client, &volume, err);
        return rc == RAMET_ENOTFOUND ? RAMET_OK : rc;
    }
    return ramet_sync_newest(sync, out_head, err);
}

enum ramet_rc
ramet_sync_fetch(struct ramet_sync *sync, struct ramet_err *err)
{
    struct ramet_head head;

    return fetch(sync, &head, err);
}

enum ramet_rc
ramet_sync_fetch_deltas(struct ramet_sync *sync, struct ramet_err *err)
{
    struct ramet_head head;
    struct ramet_commit_object commit;
    const enum ramet_rc rc = fetch(sync, &head, err);

    if (rc != RAMET_OK || head.lsn == 0 || head.content.lsn == 0)
        return rc;
    if (ramet_history_commit(sync->history, head.content.lsn, &commit, NULL) ==
        RAMET_OK) {
        sync->result.deltas = ramet_commit_delta_counts(&commit);
        ramet_commit_done(&commit);
    }
    return RAMET_OK;
}
