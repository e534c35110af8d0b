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
#include <inttypes.h>

#include "client/remote/remote.h"
#include "client/remote/source.h"
#include "client/snapshot.h"
#include "client/store/store.h"
#include "client/sync/builder.h"
#include "client/sync/durable.h"
#include "client/sync/fence.h"
#include "client/sync/link.h"
#include "client/sync/refusal.h"
#include "client/sync/sync.h"
#include "core/alloc.h"

/* What is sent in vain if somebody else was first, at most. */
#define UNSEEN_BYTES_MAX (1u << 20)
/* A commit must name a page size, also of a file that has no page yet. */
#define EMPTY_PAGE_SIZE 4096u

enum ramet_rc
ramet_sync_point(const uint8_t *object, size_t len,
                 const struct ramet_vid *volume,
                 struct ramet_remote_point *out_point, struct ramet_cid *out_id,
                 struct ramet_err *err)
{
    struct ramet_commit commit;
    struct ramet_hash hash;
    uint32_t head_len;
    enum ramet_rc rc;

    if (len < RAMET_COMMIT_PREFIX_SIZE)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "intent: ends at %zu", len);
    rc = ramet_commit_head_length(object, &head_len, err);
    if (rc != RAMET_OK)
        return rc;
    if (head_len > len)
        return RAMET_FAIL(err, RAMET_ECORRUPT, "intent: ends at %zu", len);
    /* The LSN is at a fixed place in the prefix: docs/format.md. */
    ramet_commit_init(&commit);
    rc = ramet_commit_decode(object, head_len, volume,
                             ramet_get_le64(object + 16), len, &commit, &hash,
                             err);
    if (rc != RAMET_OK)
        return rc;
    *out_point = (struct ramet_remote_point){
        .lsn = commit.lsn,
        .hash = hash,
        .time_ms = commit.time_ms,
        .page_size = commit.page_size,
        .page_count = commit.page_count,
        .byte_length = commit.byte_length,
    };
    *out_id = commit.id;
    ramet_commit_done(&commit);
    return RAMET_OK;
}

/*
 * The intent was refused: for `winner`, or, where its LSN is 0, for whoever is
 * there. Only what is in the slot settles it; with nothing there the same bytes
 * may land yet, and the intent stays. RAMET_ESNAPSHOT: a fence is there, which
 * changed nothing; what is pending goes after it.
 */
static enum ramet_rc
lose_slot(struct ramet_sync *sync, const struct ramet_remote_point *point,
          struct ramet_head *winner, const struct ramet_err *refusal,
          struct ramet_err *err)
{
    const struct ramet_snapshot *const now = &sync->state->newest;
    enum ramet_rc rc = RAMET_OK;

    if (winner->lsn == 0)
        rc = ramet_sync_newest(sync, winner, err);
    if (rc == RAMET_OK && winner->lsn < point->lsn) {
        if (err != NULL)
            *err = *refusal;
        return RAMET_ECONFLICT;
    }
    if (rc == RAMET_OK)
        rc = ramet_fence_conclude(sync, point, err);
    if (rc != RAMET_OK)
        return rc;
    if (now->lsn == point->lsn &&
        ramet_hash_equal(&now->lsn_hash, &point->hash))
        return RAMET_OK; /* it was ours */
    if (now->lsn >= winner->lsn)
        return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                          "%s: LSN %" PRIu64 " is a fence, and the replica "
                          "moved on to it",
                          sync->link->path, now->lsn);
    ramet_link_note_remote(sync->link, winner->lsn, winner->time_ms);
    return ramet_sync_diverged(sync, winner->lsn, err);
}

/* The remote says that it lacks what the intent is based on: our own look tells
 * whether it does. The intent stays; it goes on where the remote has its base
 * again. */
static enum ramet_rc
look_for_base(struct ramet_sync *sync, const struct ramet_err *refusal,
              struct ramet_err *err)
{
    struct ramet_head newest;
    const enum ramet_rc rc = ramet_sync_newest(sync, &newest, err);

    if (rc == RAMET_OK && err != NULL)
        *err = *refusal;
    return rc == RAMET_OK ? RAMET_EWENTBACK : rc;
}

/* Send the kept object (again), and tell the replica what became of it. */
static enum ramet_rc
send_intent(struct ramet_sync *sync, const uint8_t *object, size_t len,
            struct ramet_err *err)
{
    const struct ramet_snapshot base = sync->state->newest;
    struct ramet_remote_point point;
    struct ramet_cid id;
    struct ramet_head winner = {.lsn = 0};
    struct ramet_err refusal;
    enum ramet_rc rc;

    rc = ramet_sync_point(object, len, &sync->volume, &point, &id, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_history_append(sync->history, object, len, &winner, &refusal);
    if (rc == RAMET_OK)
        return ramet_session_mark_durable(sync->session, &base, &point, err);
    if (rc == RAMET_ECONFLICT)
        return lose_slot(sync, &point, &winner, &refusal, err);
    if (rc == RAMET_EWENTBACK)
        return look_for_base(sync, &refusal, err);
    if (err != NULL) /* RAMET_EUNKNOWN and others: invariant (1) */
        *err = refusal;
    return rc;
}

static enum ramet_rc
send_again(struct ramet_sync *sync, const uint8_t *object, size_t len,
           struct ramet_err *err)
{
    struct ramet_head newest;
    struct ramet_err refusal;
    enum ramet_rc rc;

    /* Into a gap, into a remote that went back, nothing is sent. */
    rc = ramet_sync_newest(sync, &newest, err);
    if (rc != RAMET_OK)
        return rc;
    rc = send_intent(sync, object, len, &refusal);
    if (ramet_refusal_is_one(rc))
        rc = ramet_refusal_settle(sync, object, len, &refusal);
    else if (rc == RAMET_ESNAPSHOT && ramet_id_is_nil(&sync->state->intent.id))
        rc = RAMET_OK; /* behind a fence: settled */
    if (rc != RAMET_OK && err != NULL)
        *err = refusal;
    return rc;
}

/* The bytes of the state's intent (ramet_free); RAMET_ENOTFOUND: not kept. What
 * may lie there are those of an intent before it, which landed. */
static enum ramet_rc
load_intent(struct ramet_sync *sync, uint8_t **out_object, size_t *out_len,
            struct ramet_err *err)
{
    const struct ramet_cid *const intent = &sync->state->intent;
    uint8_t *object = NULL;
    size_t len = 0;
    struct ramet_remote_point point;
    struct ramet_cid id;
    enum ramet_rc rc;

    rc = ramet_session_load_intent(sync->session, &object, &len, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_point(object, len, &sync->volume, &point, &id, err);
    if (rc == RAMET_OK && ramet_id_compare(&id.id, &intent->id) == 0) {
        *out_object = object;
        *out_len = len;
        return rc;
    }
    ramet_free(object);
    return rc == RAMET_OK || rc == RAMET_ENOTFOUND
               ? ramet_durable_kept(sync->link, intent, out_object, out_len,
                                    err)
               : rc;
}

/* The intent that there is: send it, or drop one of which nothing was sent. */
static enum ramet_rc
settle_intent(struct ramet_sync *sync, struct ramet_err *err)
{
    uint8_t *object = NULL;
    size_t len = 0;
    enum ramet_rc rc;

    rc = load_intent(sync, &object, &len, err);
    if (rc == RAMET_ENOTFOUND) {
        /* Killed before this intent's bytes were kept, so none were sent. */
        rc = ramet_session_abandon_intent(sync->session, err);
    } else if (rc == RAMET_OK) {
        rc = send_again(sync, object, len, err);
    }
    ramet_free(object);
    return rc == RAMET_OK ? ramet_sync_look(sync, err) : rc;
}

enum ramet_rc
ramet_sync_settle(struct ramet_sync *sync, struct ramet_err *err)
{
    enum ramet_rc rc = RAMET_OK;

    assert(sync->has_push_lock);
    if (!ramet_id_is_nil(&sync->state->intent.id))
        rc = settle_intent(sync, err);
    return rc == RAMET_OK ? ramet_durable_settle(sync, err) : rc;
}

/* ---- the first push gives the volume its name ----------------------------- */

static enum ramet_rc
bind_name(struct ramet_sync *sync, struct ramet_vid *out_volume,
          struct ramet_err *err)
{
    const struct ramet_url *const url = ramet_source_url(sync->source);
    struct ramet_vid volume;
    enum ramet_rc rc;

    rc = ramet_source_resolve(sync->source, &volume, err);
    if (rc == RAMET_OK) {
        *out_volume = volume;
        return RAMET_OK;
    }
    if (rc != RAMET_ENOTFOUND || !atomic_load(&sync->link->may_create))
        return rc;
    rc = ramet_id_new(&volume.id, err);
    if (rc == RAMET_OK)
        rc = ramet_catalog_bind(ramet_source_store(sync->source), url->name,
                                &volume, false, err);
    if (rc == RAMET_OK)
        *out_volume = volume;
    return rc;
}

/*
 * The name goes to the volume first, then the replica to the volume. A crash
 * in between leaves a name for a volume without commits, and such a one
 * belongs to whoever makes its first commit.
 */
static enum ramet_rc
bind_replica(struct ramet_sync *sync, struct ramet_err *err)
{
    const struct ramet_snapshot base = sync->state->newest;
    struct ramet_vid volume;
    struct ramet_head head;
    const char *text;
    enum ramet_rc rc;

    rc = bind_name(sync, &volume, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_source_newest(sync->source, &volume, &head, err);
    if (rc != RAMET_OK)
        return rc;
    if (head.lsn > 0 &&
        (ramet_sync_pending(sync) || sync->state->newest.byte_length > 0))
        return RAMET_FAIL(err, RAMET_EEXIST,
                          "%s: %.200s is there already (at LSN %" PRIu64
                          "), and this file does not come from it; choose "
                          "another name, or clone it",
                          sync->link->path, ramet_source_text(sync->source),
                          head.lsn);
    if (head.lsn > 0 && head.kind != sync->state->kind)
        return RAMET_FAIL(err, RAMET_EINVAL,
                          "%s: %.200s is %s, this file is not; clone it to "
                          "another name",
                          sync->link->path, ramet_source_text(sync->source),
                          head.kind == RAMET_KIND_SQLITE ? "a database"
                                                         : "a plain file");
    text = ramet_source_text(sync->source);
    rc = head.lsn > 0 ? ramet_session_bind_unchanged(sync->session, &base, text,
                                                     &volume, err)
                      : ramet_session_bind(sync->session, text, &volume, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_link_set_volume(sync->link, &volume);
    return ramet_sync_look(sync, err);
}

enum ramet_rc
ramet_sync_bind(struct ramet_sync *sync, struct ramet_err *err)
{
    enum ramet_rc rc;

    if (sync->history != NULL)
        return RAMET_OK;
    rc = bind_replica(sync, err);
    return rc == RAMET_OK ? ramet_sync_connect(sync, err) : rc;
}

/* ---- push ----------------------------------------------------------------- */

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
    return sync->state->page_size_changed ||
           (base->lsn > 0 && snap->page_size != base->page_size);
}

static void
describe(const struct ramet_sync *sync, const struct ramet_snapshot *snap,
         const struct ramet_head *base, struct ramet_commit *commit)
{
    const struct ramet_replica_state *const state = sync->state;
    uint32_t least = state->least_page_count_in_flight;

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

/* The frozen snapshot as a commit object in the intent file. */
static enum ramet_rc
build_intent(struct ramet_sync *sync, const struct ramet_cid *id,
             const struct ramet_head *base, struct ramet_buf *object,
             struct ramet_err *err)
{
    const struct ramet_snapshot snap = *ramet_session_snapshot(sync->session);
    struct ramet_builder builder = {
        .source = sync->source,
        .history = sync->history,
        .volume = sync->volume,
        .session = sync->session,
        .base = base,
        .step = step,
        .step_ctx = sync,
    };
    struct ramet_pageset pages;
    struct ramet_commit commit;
    enum ramet_rc rc;

    ramet_pageset_init(&pages);
    ramet_commit_init(&commit);
    rc = pages_to_send(sync->state, &snap, is_resized(sync, &snap, base),
                       &pages, err);
    if (rc != RAMET_OK)
        goto done;
    commit.id = *id;
    describe(sync, &snap, base, &commit);
    builder.pages = &pages;
    sync->report.pages_total = ramet_pageset_count(&pages);
    rc = ramet_builder_run(&builder, &commit, object, err);
    if (rc != RAMET_OK)
        goto done;
    sync->result.pages += ramet_pageset_count(&commit.changed);
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
    enum ramet_rc rc;

    rc = ramet_id_new(&id.id, err);
    if (rc == RAMET_OK)
        rc =
            ramet_session_freeze(sync->session, &sync->state->newest, &id, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_sync_look(sync, err);
    if (rc == RAMET_OK)
        rc = build_intent(sync, &id, base, &object, err);
    ramet_session_unpin(sync->session);
    if (rc == RAMET_OK)
        rc = send_intent(sync, object.data, object.len, err);
    ramet_buf_done(&object);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_sync_look(sync, err);
    if (rc == RAMET_OK)
        ramet_link_note_remote(sync->link, sync->state->newest.lsn, 0);
    return rc;
}

static bool
wants_push(const struct ramet_sync *sync)
{
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
 * The commit to push onto: the remote's newest. Who stands on the newest that
 * this process saw need not ask for it, if the remote takes a commit on top of
 * its newest only: that somebody was first shows when it is sent.
 */
static enum ramet_rc
find_base(struct ramet_sync *sync, struct ramet_head *out_base,
          struct ramet_err *err)
{
    const struct ramet_replica_state *const state = sync->state;
    const unsigned traits = ramet_source_store(sync->source)->traits;

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

    if (ramet_refusal_by_clock(sync->link, sync->source, io_base, NULL) ==
        RAMET_OK)
        return RAMET_OK;
    rc = ramet_sync_newest(sync, io_base, err);
    return rc == RAMET_OK
               ? ramet_refusal_by_clock(sync->link, sync->source, io_base, err)
               : rc;
}

static enum ramet_rc
push(struct ramet_sync *sync, void *ctx, struct ramet_err *err)
{
    struct ramet_head base;
    bool settled = true;
    enum ramet_rc rc;

    (void)ctx;
    rc = ramet_sync_connect(sync, err);
    if (rc == RAMET_OK)
        rc = ramet_durable_is_settled(sync->link, sync->session, sync->state,
                                      &settled, err);
    if (rc != RAMET_OK || (settled && !wants_push(sync)))
        return rc;
    rc = ramet_sync_lock_push(sync, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_bind(sync, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_settle(sync, err);
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
    return push_pending(sync, &base, err);
}

enum ramet_rc
ramet_sync_push(struct ramet_sync *sync, struct ramet_err *err)
{
    return ramet_sync_act(sync, push, NULL, err);
}
