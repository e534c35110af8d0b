/*
 * push.c - local commits become one remote commit.
 *
 * The steps, and what a crash after each leaves behind:
 *
 *   freeze       an intent without bytes: nothing was sent; it is abandoned
 *                and everything is begun anew
 *   segments     objects that nobody refers to
 *   keep_intent  bytes that may have been sent: the next push, pull or reset
 *                sends them again (the store knows the commit by its id)
 *   append       the same
 *   mark_durable done
 *
 * Layer: client.
 */
#include <assert.h>

#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/bases.h"
#include "client/sync/bind.h"
#include "client/sync/builder.h"
#include "client/sync/durable_resolve.h"
#include "client/sync/fence.h"
#include "client/sync/intent.h"
#include "client/sync/point.h"
#include "client/sync/refusal.h"
#include "client/sync/replica_sync.h"
#include "client/sync/sync.h"

/* What is sent in vain if somebody else was first, at most. */
#define UNSEEN_BYTES_MAX (1u << 20)
/* A commit must name a page size, also of a file that has no page yet. */
#define EMPTY_PAGE_SIZE 4096u

static enum ramet_rc
step(void *ctx, uint64_t pages, struct ramet_err *err)
{
    return ramet_sync_step(ctx, pages, err);
}

/* `all`: where the size of pages changed, none of the old ones counts. */
static enum ramet_rc
pages_to_send(const struct ramet_replica_state *state,
              const struct ramet_snapshot *snap, bool all,
              struct ramet_pageset *out, struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(out->run_count == 0);
    rc = ramet_pageset_copy(out, &state->in_flight);
    if (rc == RAMET_OK && all && snap->page_count > 0)
        rc =
            ramet_pageset_add_run(out, (struct ramet_run){1, snap->page_count});
    ramet_pageset_truncate(out, snap->page_count);
    return rc == RAMET_OK ? rc : RAMET_FAIL(err, rc, "push: no memory");
}

static bool
is_resized(const struct ramet_sync *sync, const struct ramet_snapshot *snap,
           const struct ramet_head *base)
{
    assert(sync->has_push_lock);
    return sync->state->page_size_changed ||
           (base->lsn > 0 && snap->page_size != base->page_size);
}

static void
describe(const struct ramet_sync *sync, const struct ramet_snapshot *snap,
         const struct ramet_head *base, struct ramet_commit_object *commit)
{
    const struct ramet_replica_state *const state = sync->state;
    uint32_t least = state->least_page_count_in_flight;

    assert(commit->segment_count == 0);
    if (least > base->page_count)
        least = base->page_count;
    if (least > snap->page_count)
        least = snap->page_count;
    if (is_resized(sync, snap, base))
        least = 0;
    commit->writer = state->replica;
    commit->kind = state->kind;
    commit->page_size =
        snap->page_size != 0 ? snap->page_size : EMPTY_PAGE_SIZE;
    commit->page_count = snap->page_count;
    commit->byte_length = snap->byte_length;
    commit->least_page_count = least;
}

/* What was sent landed: so readers will find the bases that it noted. */
static void
note_bases(struct ramet_sync *sync, const struct ramet_head *base,
           const struct ramet_buf *object)
{
    const struct ramet_point now = ramet_snapshot_point(&sync->state->newest);
    struct ramet_remote_point point;
    struct ramet_cid id;

    assert(sync->has_push_lock);
    if (sync->replica_sync->bases != NULL &&
        ramet_sync_point(object->data, object->len, &sync->volume, &point, &id,
                         NULL) == RAMET_OK &&
        point.lsn == base->lsn + 1 && point.lsn == now.lsn &&
        ramet_hash_equal(&point.hash, &now.hash))
        ramet_bases_landed(sync->replica_sync->bases, &now, sync->sent_least);
}

static void
count_deltas(struct ramet_delta_counts *io_sum,
             const struct ramet_commit_object *commit)
{
    const struct ramet_delta_counts counts = ramet_commit_delta_counts(commit);

    assert(io_sum->lsn == 0);
    io_sum->pages += counts.pages;
    io_sum->bytes += counts.bytes;
    io_sum->saved_bytes += counts.saved_bytes;
}

/* The frozen snapshot as a commit object in the intent file. */
static enum ramet_rc
build_intent(struct ramet_sync *sync, const struct ramet_cid *id,
             const struct ramet_head *base, struct ramet_buf *object,
             struct ramet_err *err)
{
    const struct ramet_snapshot snap = *ramet_session_snapshot(sync->session);
    struct ramet_builder builder = {
        .client = sync->client,
        .history = sync->history,
        .volume = sync->volume,
        .session = sync->session,
        .base = base,
        .remote_tail = sync->state->remote_tail,
        .step = step,
        .step_ctx = sync,
    };
    struct ramet_pageset pages;
    struct ramet_commit_object commit;
    enum ramet_rc rc;

    assert(sync->has_push_lock && ramet_session_is_pinned(sync->session));
    ramet_pageset_init(&pages);
    ramet_commit_init(&commit);
    rc = pages_to_send(sync->state, &snap, is_resized(sync, &snap, base),
                       &pages, err);
    if (rc != RAMET_OK)
        goto done;
    commit.id = *id;
    describe(sync, &snap, base, &commit);
    builder.pages = &pages;
    builder.bases = ramet_replica_sync_begin_bases(
        sync->replica_sync, sync->client, &sync->volume, sync->history, base,
        commit.page_size);
    sync->sent_least = commit.least_page_count;
    sync->report.pages_total = ramet_pageset_count(&pages);
    rc = ramet_builder_run(&builder, &commit, object, err);
    if (rc != RAMET_OK)
        goto done;
    sync->result.pages += ramet_commit_changed_pages(&commit);
    count_deltas(&sync->result.deltas, &commit);
    rc = ramet_session_keep_intent(sync->session, object->data, object->len,
                                   err);

done:
    ramet_commit_done(&commit);
    ramet_pageset_done(&pages);
    return rc;
}

static enum ramet_rc
push_pending(struct ramet_sync *sync, const struct ramet_head *base,
             struct ramet_err *err)
{
    struct ramet_buf object = {.data = NULL};
    struct ramet_cid id;
    uint64_t commits = 0;
    enum ramet_rc rc;

    assert(sync->has_push_lock && sync->history != NULL);
    assert(!sync->follows);
    rc = ramet_id_new(&id.id, err);
    if (rc == RAMET_OK)
        rc =
            ramet_session_freeze(sync->session, &sync->state->newest, &id, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_sync_look(sync, err);
    commits = sync->state->commits_in_flight;
    if (rc == RAMET_OK)
        rc = build_intent(sync, &id, base, &object, err);
    ramet_session_unpin(sync->session);
    if (rc == RAMET_OK)
        rc = ramet_intent_send(sync, object.data, object.len, err);
    if (rc == RAMET_OK) {
        sync->result.pushed_commits += commits;
        rc = ramet_sync_look(sync, err);
    }
    if (rc == RAMET_OK) {
        ramet_replica_sync_note_remote(sync->replica_sync,
                                       sync->state->newest.lsn, 0);
        note_bases(sync, base, &object);
        ramet_sync_make_map(sync->client, sync->history,
                            sync->state->newest.lsn);
    }
    if (sync->replica_sync->bases != NULL)
        ramet_bases_end(sync->replica_sync->bases);
    ramet_buf_done(&object);
    return rc;
}

static bool
wants_push(const struct ramet_sync *sync)
{
    assert(sync->session != NULL);
    return ramet_sync_pending(sync) ||
           (sync->make_volume && sync->state->newest.lsn == 0);
}

/* Little enough to be sent without a look at the remote? */
static bool
is_small(const struct ramet_replica_state *state)
{
    const uint64_t pages = ramet_pageset_count(&state->in_flight) +
                           ramet_pageset_count(&state->later);

    return pages * state->newest.page_size <= UNSEEN_BYTES_MAX;
}

/*
 * The commit to push onto: the remote's newest. A volume that was made just now has
 * none. Who stands on the newest that
 * this process saw need not ask for it, if the remote takes a commit on top of
 * its newest only, or each question costs: that somebody was first shows when it
 * is sent.
 */
static enum ramet_rc
find_base(struct ramet_sync *sync, struct ramet_head *out_base,
          struct ramet_err *err)
{
    const struct ramet_replica_state *const state = sync->state;
    const unsigned traits = ramet_remote_client_store(sync->client)->traits;
    const struct ramet_point stand = ramet_snapshot_point(&state->newest);

    assert(sync->history != NULL);
    if (sync->made_volume && stand.lsn == 0) {
        *out_base = (struct ramet_head){.lsn = 0};
        return RAMET_OK;
    }
    if ((traits & RAMET_STORE_IS_PAID) != 0 && stand.lsn > 0 &&
        is_small(state) &&
        ramet_history_base(sync->history, &stand, out_base, NULL) == RAMET_OK)
        return RAMET_OK;
    if ((traits & RAMET_STORE_CHECKS_COMMITS) != 0 && state->newest.lsn > 0 &&
        is_small(state) &&
        ramet_history_seen(sync->history, out_base, NULL) == RAMET_OK &&
        out_base->lsn == state->newest.lsn &&
        ramet_hash_equal(&out_base->hash, &state->newest.lsn_hash))
        return RAMET_OK;
    return ramet_sync_newest(sync, out_base, err);
}

/* Would the remote's clock keep the commit out? What is known of it may be old:
 * this machine may have slept. So it is asked before that is said. */
static enum ramet_rc
check_clock(struct ramet_sync *sync, struct ramet_head *io_base,
            struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(sync->client != NULL);
    if (ramet_refusal_by_clock(sync->replica_sync, sync->client, io_base,
                               NULL) == RAMET_OK)
        return RAMET_OK;
    rc = ramet_sync_newest(sync, io_base, err);
    return rc == RAMET_OK ? ramet_refusal_by_clock(sync->replica_sync,
                                                   sync->client, io_base, err)
                          : rc;
}

static enum ramet_rc
push(struct ramet_sync *sync, void *ctx, struct ramet_err *err)
{
    struct ramet_head base;
    bool resolved = true;
    enum ramet_rc rc;

    (void)ctx;
    rc = ramet_sync_connect(sync, err);
    if (rc == RAMET_OK)
        rc = ramet_durable_is_resolved(sync->replica_sync, sync->session,
                                       sync->state, &resolved, err);
    if (rc != RAMET_OK || (resolved && !wants_push(sync)))
        return rc;
    rc = ramet_sync_lock_push(sync, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_bind(sync, err);
    if (rc == RAMET_OK)
        rc = ramet_intent_resolve(sync, err);
    if (rc != RAMET_OK || !wants_push(sync))
        return rc;
    rc = find_base(sync, &base, err);
    if (rc == RAMET_OK)
        rc = ramet_fence_pass(sync, base.lsn, err);
    if (rc == RAMET_OK)
        rc = check_clock(sync, &base, err);
    if (rc != RAMET_OK)
        return rc;
    if (base.lsn > sync->state->newest.lsn)
        return ramet_sync_pending(sync)
                   ? ramet_sync_diverged(sync, base.lsn, err)
                   : RAMET_OK;
    assert(sync->has_push_lock && base.lsn <= sync->state->newest.lsn);
    return push_pending(sync, &base, err);
}

enum ramet_rc
ramet_sync_push(struct ramet_sync *sync, struct ramet_err *err)
{
    assert(sync->session != NULL);
    return ramet_sync_act(sync, push, NULL, err);
}
