/*
 * pull.c - remote commits come here.
 *
 * A pull brings no pages but the first one: the others become "remote at that
 * LSN" and are fetched when something reads them. A blob is a plain file for
 * programs that know nothing of us, so its pages are brought at once and
 * moved into the base.
 *
 * Layer: client.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/bind.h"
#include "client/sync/durable.h"
#include "client/sync/durable_resolve.h"
#include "client/sync/export.h"
#include "client/sync/fence.h"
#include "client/sync/intent.h"
#include "client/sync/news_pages.h"
#include "client/sync/point.h"
#include "client/sync/refusal.h"
#include "client/sync/replica_sync.h"
#include "client/sync/sync.h"
#include "core/alloc.h"

/* What a pull or reset needs to know of the remote's newest commit. */
struct target {
    struct ramet_snapshot base; /* what `changed` is the difference from */
    struct ramet_remote_point point;
    enum ramet_volume_kind kind;
    struct ramet_pageset changed;
    uint8_t *page1; /* SQLite only, and only if there is one */
    struct ramet_news_pages news;
};

struct page1_sink {
    uint8_t *out;
    uint32_t page_size;
};

static enum ramet_rc
take_page1(void *ctx, uint32_t pgno, const uint8_t *page, struct ramet_err *err)
{
    const struct page1_sink *const sink = ctx;

    assert(sink->out != NULL);
    (void)err;
    if (pgno == 1)
        memcpy(sink->out, page, sink->page_size);
    return RAMET_OK;
}

enum ramet_rc
ramet_sync_page1(struct ramet_remote_client *client,
                 const struct ramet_vid *volume, const struct ramet_head *head,
                 uint8_t **out_page, struct ramet_err *err)
{
    static const uint32_t first = 1;
    const struct ramet_point at = ramet_head_point(head);
    struct page1_sink sink = {.page_size = head->page_size};
    enum ramet_rc rc;

    assert(head->page_count == 0 || head->page_size != 0);
    if (head->kind != RAMET_KIND_SQLITE || head->page_count == 0) {
        *out_page = NULL;
        return RAMET_OK;
    }
    sink.out = ramet_calloc(1, head->page_size);
    if (sink.out == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "pull: no memory");
    rc = ramet_remote_client_read_pages(client, volume, &at, &first, 1, false,
                                        take_page1, &sink, err);
    if (rc != RAMET_OK) {
        ramet_free(sink.out);
        return rc;
    }
    *out_page = sink.out;
    return RAMET_OK;
}

static void
target_done(struct target *target)
{
    ramet_pageset_done(&target->changed);
    ramet_free(target->page1);
    ramet_news_pages_done(&target->news);
}

static enum ramet_rc
add_run(struct ramet_pageset *set, uint32_t first, uint32_t last,
        struct ramet_err *err)
{
    const struct ramet_run run = {first, last};

    assert(first >= 1);
    if (first > last || ramet_pageset_add_run(set, run) == RAMET_OK)
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ENOMEM, "pull: no memory");
}

/* Size, first page and the pages that differ from LSN `from`; `all`: every
 * page counts as different. */
static enum ramet_rc
read_target(struct ramet_sync *sync, const struct ramet_head *head, bool all,
            struct target *out, struct ramet_err *err)
{
    const struct ramet_snapshot *const own = &out->base;
    const struct ramet_point to = ramet_head_point(head);
    struct ramet_point from;
    enum ramet_rc rc;

    assert(sync->history != NULL && out->page1 == NULL);
    out->base = sync->state->newest;
    ramet_sync_point_of(head, &out->point);
    out->kind = head->kind;
    if (sync->state->kind != 0 && head->kind != sync->state->kind)
        return RAMET_FAIL(
            err, RAMET_EINVAL,
            "%s: is no longer the same kind of file in the remote (a database "
            "there, a plain file here, or the other way round): clone it again",
            sync->replica_sync->path);
    if (!all && own->lsn > 0 && own->page_size == head->page_size)
        ramet_news_pages_collect(&out->news, sync, own->lsn, head);
    if (head->kind == RAMET_KIND_SQLITE)
        out->page1 = ramet_news_pages_copy(&out->news, 1);
    rc = out->page1 == NULL ? ramet_sync_page1(sync->client, &sync->volume,
                                               head, &out->page1, err)
                            : RAMET_OK;
    if (rc != RAMET_OK)
        return rc;
    if (all || own->lsn == 0 || own->page_size != head->page_size)
        return add_run(&out->changed, 1, head->page_count, err);
    from = ramet_snapshot_point(own);
    return ramet_history_changed(sync->history, &from, &to, &out->changed, err);
}

static enum ramet_rc
adopt(struct ramet_sync *sync, const struct target *target, bool reset,
      struct ramet_err *err)
{
    uint64_t spent_ms = 0;
    enum ramet_rc rc;

    assert(!reset || sync->has_push_lock);
    do
        rc = ramet_session_pull(sync->session, &target->base, &target->point,
                                &target->changed, target->page1, reset, err);
    while (rc == RAMET_EBUSY && ramet_sync_retry(sync, &spent_ms));
    return rc == RAMET_OK ? ramet_sync_look(sync, err) : rc;
}

/* A blob becomes a plain file again as soon as possible, unless it is a lazy one. */
static enum ramet_rc
make_blob_whole(struct ramet_sync *sync, struct ramet_err *err)
{
    bool is_lazy;
    enum ramet_rc rc;

    assert(sync->session != NULL);
    if (sync->state->kind != RAMET_KIND_BLOB)
        return RAMET_OK;
    rc = ramet_session_is_lazy(sync->session, &is_lazy, err);
    if (rc != RAMET_OK || is_lazy)
        return rc;
    rc = ramet_sync_hydrate(sync, err);
    return rc == RAMET_OK ? ramet_session_checkpoint(sync->session, true, err)
                          : rc;
}

/* A replica that was opened before its volume came into being. */
static enum ramet_rc
bind_if_there(struct ramet_sync *sync, struct ramet_err *err)
{
    struct ramet_vid volume;
    enum ramet_rc rc;

    assert(sync->history == NULL && !sync->follows);
    rc = ramet_remote_client_resolve(sync->client, &volume, err);
    if (rc == RAMET_OK)
        rc = ramet_sync_lock_push(sync, err);
    return rc == RAMET_OK ? ramet_sync_bind(sync, err) : rc;
}

/*
 * Our own commit that is under way must not be taken for a stranger's: with
 * local commits pending, the push lock comes first, and an intent is resolved. That
 * there are any may show only as the replica is bound: another process did it.
 * `binds`: else what is not bound is left so, and has no history.
 */
static enum ramet_rc
prepare(struct ramet_sync *sync, bool binds, struct ramet_err *err)
{
    enum ramet_rc rc;

    rc = ramet_sync_connect(sync, err);
    if (rc != RAMET_OK || sync->follows)
        return rc;
    if (sync->history == NULL && binds)
        rc = bind_if_there(sync, err);
    if (rc != RAMET_OK || sync->history == NULL || !ramet_sync_pending(sync))
        return rc;
    rc = ramet_sync_lock_push(sync, err);
    return rc == RAMET_OK ? ramet_intent_resolve(sync, err) : rc;
}

static enum ramet_rc
pull(struct ramet_sync *sync, void *ctx, struct ramet_err *err)
{
    struct target target = {.page1 = NULL};
    struct ramet_head head;
    uint64_t from;
    enum ramet_rc rc;

    (void)ctx;
    rc = prepare(sync, true, err);
    if (rc == RAMET_OK && sync->history == NULL && sync->follows)
        return RAMET_OK; /* bound to nothing that could be followed */
    if (rc == RAMET_OK)
        rc = ramet_sync_newest(sync, &head, err);
    if (rc == RAMET_OK && ramet_sync_pending(sync) && sync->has_push_lock)
        rc = ramet_fence_pass(sync, head.lsn, err);
    if (rc != RAMET_OK)
        return rc;
    if (head.lsn == sync->state->newest.lsn)
        return ramet_sync_pending(sync) ? RAMET_OK : make_blob_whole(sync, err);
    if (ramet_sync_pending(sync))
        return sync->follows ? RAMET_OK /* for who may push to resolve */
                             : ramet_sync_diverged(sync, head.lsn, err);
    assert(!ramet_sync_pending(sync));
    from = sync->state->newest.lsn;
    rc = read_target(sync, &head, false, &target, err);
    if (rc == RAMET_OK)
        rc = adopt(sync, &target, false, err);
    if (rc == RAMET_OK) {
        const struct ramet_point at = ramet_head_point(&head);

        ramet_news_pages_keep(&target.news, sync, &at);
        sync->result.pulled_commits += head.lsn - from;
        sync->result.pages += ramet_pageset_count(&target.changed);
        rc = make_blob_whole(sync, err);
    }
    target_done(&target);
    return rc;
}

enum ramet_rc
ramet_sync_pull(struct ramet_sync *sync, struct ramet_err *err)
{
    assert(sync->session != NULL);
    return ramet_sync_act(sync, pull, NULL, err);
}

/* ---- reset ---------------------------------------------------------------- */

/* Is the commit on which the replica stands still in the remote's line? */
static enum ramet_rc
newest_for_reset(struct ramet_sync *sync, struct ramet_head *out_head,
                 bool *out_same_line, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_sync_newest(sync, out_head, err);

    assert(sync->has_push_lock);
    *out_same_line = rc == RAMET_OK;
    if (rc == RAMET_EWENTBACK)
        rc = ramet_remote_client_newest(sync->client, &sync->volume, out_head,
                                        err);
    return rc;
}

/* What is there is copied, and then given up as it was copied: a commit that
 * comes in between makes both begin anew. */
static enum ramet_rc
give_up(struct ramet_sync *sync, const struct ramet_head *head, bool same_line,
        bool discard, char **out_kept, struct ramet_err *err)
{
    struct target target = {.page1 = NULL};
    char *kept = NULL;
    enum ramet_rc rc = RAMET_OK;

    assert(sync->has_push_lock);
    if (!discard && (ramet_sync_pending(sync) || !same_line))
        rc = ramet_export_lost(sync, &kept, err);
    if (rc == RAMET_EWENTBACK)
        rc = RAMET_FAIL(err, rc,
                        "%s: has pages neither here nor in the remote, which "
                        "went another way: no whole copy can be kept; `ramet "
                        "reset --discard` adopts the remote without one",
                        sync->replica_sync->path);
    if (rc == RAMET_OK)
        rc = read_target(sync, head, !same_line, &target, err);
    if (rc == RAMET_OK)
        rc = adopt(sync, &target, true, err);
    if (rc == RAMET_OK) {
        ramet_replica_sync_note_remote(sync->replica_sync, head->lsn, 0);
        sync->result.pages += ramet_pageset_count(&target.changed);
        rc = make_blob_whole(sync, err);
    } else if (rc == RAMET_ESNAPSHOT && kept != NULL) {
        ramet_export_forget_lost(sync, kept);
        ramet_free(kept);
        kept = NULL;
    }
    target_done(&target);
    *out_kept = kept;
    return rc;
}

struct reset {
    bool discard;
    char *kept; /* NULL: nothing had to be */
};

static enum ramet_rc
reset(struct ramet_sync *sync, void *ctx, struct ramet_err *err)
{
    struct reset *const r = ctx;
    struct ramet_head head;
    bool same_line = true;
    enum ramet_rc rc;

    rc = prepare(sync, false, err);
    if (ramet_refusal_is_one(rc))
        rc = ramet_refusal_fence(sync, err);
    /* That lines parted is what a reset is for; and nobody may send what it gives
     * up. */
    if (rc == RAMET_OK || rc == RAMET_EDIVERGED || rc == RAMET_EWENTBACK)
        rc = ramet_sync_lock_push(sync, err);
    if (rc == RAMET_OK)
        rc = ramet_durable_give_up(sync, err);
    if (rc == RAMET_OK && sync->history == NULL)
        rc = RAMET_FAIL(err, RAMET_EINVAL,
                        "%s: was never pushed: there is nothing to adopt",
                        sync->replica_sync->path);
    if (rc == RAMET_OK)
        rc = newest_for_reset(sync, &head, &same_line, err);
    if (rc != RAMET_OK)
        return rc;
    if (head.lsn == 0)
        return RAMET_FAIL(err, RAMET_ENOTFOUND,
                          "%s: the remote has no commit to adopt",
                          sync->replica_sync->path);
    if (same_line && !ramet_sync_pending(sync) &&
        head.lsn == sync->state->newest.lsn)
        return RAMET_OK;
    assert(head.lsn > 0 && sync->has_push_lock);
    return give_up(sync, &head, same_line, r->discard, &r->kept, err);
}

enum ramet_rc
ramet_sync_reset(struct ramet_sync *sync, bool discard, char *out_kept,
                 size_t out_kept_size, struct ramet_err *err)
{
    struct reset r = {.discard = discard};
    const enum ramet_rc rc = ramet_sync_act(sync, reset, &r, err);

    assert(out_kept == NULL || out_kept_size > 0);
    if (r.kept != NULL && out_kept != NULL)
        snprintf(out_kept, out_kept_size, "%s", r.kept);
    ramet_free(r.kept);
    return rc;
}
