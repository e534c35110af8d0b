/*
 * durable.c - see durable.h.
 *
 * Layer: client.
 */
#include "client/sync/durable.h"

#include <assert.h>
#include <inttypes.h>

#include "client/remote/remote_client.h"
#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/store.h"
#include "client/sync/bases.h"
#include "client/sync/bind.h"
#include "client/sync/builder.h"
#include "client/sync/intent.h"
#include "client/sync/kept.h"
#include "client/sync/point.h"
#include "client/sync/refusal.h"
#include "client/sync/replica_sync.h"
#include "client/sync/sync.h"
#include "sqliteformat/dbheader.h"

void
ramet_durable_done(struct ramet_durable *durable)
{
    ramet_buf_done(&durable->object);
    *durable = (struct ramet_durable){.landed = false};
}

/* A file that was there before its volume: the first commit has all of it. */
static bool
has_unsent_pages(const struct ramet_replica_state *state)
{
    assert(state->newest.page_count == 0 || state->newest.page_size != 0);
    return state->newest.lsn == 0 && state->newest.page_count > 0;
}

enum ramet_rc
ramet_durable_is_ready(struct ramet_replica_sync *replica_sync,
                       struct ramet_session *session,
                       struct ramet_replica_state *state, bool *out_ready,
                       struct ramet_err *err)
{
    struct ramet_kept kept;
    enum ramet_rc rc;

    assert(session != NULL);
    rc = ramet_session_state(session, state, err);
    if (rc == RAMET_OK)
        rc = ramet_kept_look(replica_sync, &kept, err);
    if (rc == RAMET_OK)
        *out_ready = kept.lsn <= state->newest.lsn &&
                     !ramet_id_is_nil(&state->volume.id) &&
                     ramet_id_is_nil(&state->intent.id) &&
                     state->commits_in_flight == 0 &&
                     state->commits_later == 0 && !has_unsent_pages(state);
    return rc;
}

enum ramet_rc
ramet_durable_ready(struct ramet_replica_sync *replica_sync,
                    struct ramet_session *session, uint64_t wait_ms,
                    struct ramet_err *err)
{
    struct ramet_sync sync = {.verb = "push", .wait_ms = wait_ms};
    struct ramet_err own = {.code = RAMET_OK};
    enum ramet_rc rc;

    assert(!ramet_session_is_reserved(session));
    rc = ramet_sync_begin(&sync, replica_sync, session, &own);
    if (rc == RAMET_OK) {
        sync.make_volume = has_unsent_pages(sync.state);
        rc = ramet_sync_lock_push(&sync, &own);
    }
    if (rc == RAMET_OK)
        rc = ramet_sync_connect(&sync, &own);
    if (rc == RAMET_OK)
        rc = ramet_sync_bind(&sync, &own);
    if (rc == RAMET_OK)
        rc = ramet_intent_resolve(&sync, &own);
    if (rc == RAMET_OK)
        rc = ramet_sync_push(&sync, &own);
    if (rc == RAMET_OK)
        rc = ramet_sync_pull(&sync, &own);
    ramet_sync_end(&sync, rc, &own);
    if (rc != RAMET_OK && err != NULL)
        *err = own;
    return rc;
}

/* ---- commit --------------------------------------------------------------- */

enum ramet_rc
ramet_durable_trim(struct ramet_session *session, enum ramet_volume_kind kind,
                   struct ramet_err *err)
{
    const uint64_t size = ramet_session_size(session);
    uint8_t header[RAMET_DBHEADER_SIZE];
    uint32_t page_size;
    uint64_t length;
    size_t got = 0;
    enum ramet_rc rc;

    assert(ramet_session_is_reserved(session));
    if (kind != RAMET_KIND_SQLITE || size < sizeof(header))
        return RAMET_OK;
    rc = ramet_session_read(session, 0, header, sizeof(header), &got, err);
    if (rc != RAMET_OK)
        return rc;
    if (!ramet_dbheader_is(header, size))
        return RAMET_OK;
    page_size = ramet_dbheader_page_size(header);
    length = (uint64_t)page_size * ramet_dbheader_page_count(header);
    if (length == 0 || length >= size || size % page_size != 0)
        return RAMET_OK;
    return ramet_session_truncate(session, length, err);
}

/* What is to be sent, and on what it is based. */
struct sending {
    struct ramet_replica_sync *replica_sync;
    struct ramet_session *session;
    const struct ramet_replica_state *state;
    struct ramet_remote_client *client;
    struct ramet_history *history;
    struct ramet_vid volume;
    struct ramet_pageset pages;
    struct ramet_snapshot after;
    uint32_t least_page_count;
    struct ramet_head base;
    bool holds_push;           /* sync_mutex and the push lock */
    struct ramet_bases *bases; /* begun, or NULL: images are sent */
    uint32_t sent_least;
};

/* The remote must stand where the replica does. */
static enum ramet_rc
check_base(struct sending *sending, struct ramet_err *err)
{
    const uint64_t own = sending->state->newest.lsn;
    enum ramet_rc rc;

    assert(sending->client == NULL && sending->history == NULL);
    sending->client = ramet_replica_sync_client(sending->replica_sync);
    ramet_remote_client_begin(sending->client);
    ramet_replica_sync_learn(sending->replica_sync, sending->state);
    if (!ramet_replica_sync_volume(sending->replica_sync, &sending->volume))
        return RAMET_FAIL(err, RAMET_EINVAL, "%s: has no volume",
                          sending->replica_sync->path);
    rc = ramet_remote_client_history(sending->client, &sending->volume,
                                     &sending->history, err);
    if (rc == RAMET_OK)
        rc = ramet_remote_client_newest(sending->client, &sending->volume,
                                        &sending->base, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_replica_sync_note_remote(
        sending->replica_sync, sending->base.lsn,
        sending->base.lsn > own ? sending->base.time_ms : 0);
    if (sending->base.lsn > own)
        return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                          "%s: somebody else committed LSN %" PRIu64
                          " first; `ramet pull`, and begin again",
                          sending->replica_sync->path, sending->base.lsn);
    if (sending->base.lsn < own ||
        (own > 0 && !ramet_hash_equal(&sending->base.hash,
                                      &sending->state->newest.lsn_hash)))
        return ramet_sync_went_back(sending->replica_sync, sending->state,
                                    sending->base.lsn, err);
    return ramet_refusal_by_clock(sending->replica_sync, sending->client,
                                  &sending->base, err);
}

static uint32_t
least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Deltas are made with what is kept of bases, which belongs to who pushes. Nobody waits
 * for that with the write lock held: if it is not free, images are sent. */
static void
borrow_bases(struct sending *sending, uint32_t page_size)
{
    struct ramet_replica_sync *const replica_sync = sending->replica_sync;

    assert(!sending->holds_push && sending->bases == NULL);
    if (!ramet_mutex_trylock(&replica_sync->sync_mutex))
        return;
    if (ramet_session_lock_push(sending->session, NULL) != RAMET_OK) {
        ramet_mutex_unlock(&replica_sync->sync_mutex);
        return;
    }
    sending->holds_push = true;
    sending->bases = ramet_replica_sync_begin_bases(
        replica_sync, sending->client, &sending->volume, sending->history,
        &sending->base, page_size);
}

static void
give_bases_back(struct sending *sending)
{
    if (!sending->holds_push)
        return;
    assert(sending->session != NULL);
    if (sending->bases != NULL)
        ramet_bases_end(sending->bases);
    ramet_session_unlock_push(sending->session);
    ramet_mutex_unlock(&sending->replica_sync->sync_mutex);
    sending->holds_push = false;
}

static enum ramet_rc
build(struct sending *sending, const struct ramet_cid *id,
      struct ramet_buf *object, struct ramet_err *err)
{
    const struct ramet_snapshot *const after = &sending->after;
    const struct ramet_builder builder = {
        .client = sending->client,
        .history = sending->history,
        .volume = sending->volume,
        .session = sending->session,
        .pages = &sending->pages,
        .base = &sending->base,
        .bases = sending->bases,
        .remote_tail = sending->state->remote_tail,
    };
    const bool resized =
        sending->base.lsn > 0 && sending->base.page_size != after->page_size;
    struct ramet_commit_object commit;
    enum ramet_rc rc = RAMET_OK;

    assert(sending->history != NULL && !ramet_id_is_nil(&id->id));
    ramet_commit_init(&commit);
    commit.id = *id;
    commit.writer = sending->state->replica;
    commit.kind = sending->state->kind;
    commit.page_size = after->page_size;
    commit.page_count = after->page_count;
    commit.byte_length = after->byte_length;
    commit.least_page_count =
        least(sending->least_page_count,
              least(sending->base.page_count, after->page_count));
    if (resized) {
        commit.least_page_count = 0;
        if (after->page_count > 0 &&
            ramet_pageset_add_run(&sending->pages,
                                  (struct ramet_run){1, after->page_count}) !=
                RAMET_OK)
            rc = RAMET_FAIL(err, RAMET_ENOMEM, "commit: no memory");
    }
    if (rc == RAMET_OK)
        rc = ramet_builder_run(&builder, &commit, object, err);
    sending->sent_least = commit.least_page_count;
    ramet_commit_done(&commit);
    return rc;
}

static enum ramet_rc
send_object(struct sending *sending, struct ramet_durable *durable,
            struct ramet_err *err)
{
    const struct ramet_buf *const object = &durable->object;
    struct ramet_head winner = {.lsn = 0}; /* stays so where nobody is named */
    enum ramet_rc rc;

    assert(!durable->landed && durable->object.len > 0);
    rc = ramet_sync_point(object->data, object->len, &sending->volume,
                          &durable->point, &durable->id, err);
    if (rc == RAMET_OK)
        rc = ramet_kept_write(sending->replica_sync, durable->point.lsn,
                              &durable->id, object, err);
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_history_append(sending->history, object->data, object->len,
                              &winner, err);
    if (rc == RAMET_OK) {
        durable->landed = true;
        return rc;
    }
    if (rc == RAMET_ECONFLICT && winner.lsn > 0) {
        ramet_kept_take_back(sending->replica_sync);
        ramet_replica_sync_note_remote(sending->replica_sync, winner.lsn,
                                       winner.time_ms);
        return RAMET_FAIL(err, RAMET_ECONFLICT,
                          "%s: somebody else committed LSN %" PRIu64
                          " first; rolled back: pull, and begin again",
                          sending->replica_sync->path, winner.lsn);
    }
    /* Whatever else went wrong, the object may be under way: it stays kept. */
    return rc == RAMET_ETIMEOUT ? RAMET_EUNKNOWN : rc;
}

enum ramet_rc
ramet_durable_commit(struct ramet_durable *durable,
                     struct ramet_replica_sync *replica_sync,
                     struct ramet_session *session,
                     const struct ramet_replica_state *state,
                     const struct ramet_cid *id, struct ramet_err *err)
{
    struct sending sending = {
        .replica_sync = replica_sync, .session = session, .state = state};
    enum ramet_rc rc;

    assert(ramet_session_has_prepared(session));
    if (durable->landed) /* two SYNCs and one publish: it can't be recalled */
        return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                          "%s: LSN %" PRIu64 " was committed for this "
                          "transaction already",
                          replica_sync->path, durable->point.lsn);
    ramet_pageset_init(&sending.pages);
    rc = ramet_session_prepared_pages(session, &sending.pages, &sending.after,
                                      &sending.least_page_count, err);
    if (rc == RAMET_OK)
        rc = check_base(&sending, err);
    if (rc == RAMET_OK) {
        borrow_bases(&sending, sending.after.page_size);
        rc = build(&sending, id, &durable->object, err);
    }
    if (rc == RAMET_OK)
        rc = send_object(&sending, durable, err);
    if (rc == RAMET_OK && sending.bases != NULL) {
        const struct ramet_point landed = {durable->point.lsn,
                                           durable->point.hash};

        ramet_bases_landed(sending.bases, &landed, sending.sent_least);
    }
    give_bases_back(&sending);
    if (rc == RAMET_OK) /* else it is rolled back here, and a pull brings it */
        rc = ramet_session_confirm(session, err);
    ramet_pageset_done(&sending.pages);
    if (rc != RAMET_OK)
        ramet_durable_done(durable);
    return rc;
}

void
ramet_durable_published(struct ramet_durable *durable,
                        struct ramet_replica_sync *replica_sync,
                        struct ramet_session *session)
{
    const struct ramet_snapshot base = *ramet_session_snapshot(session);
    struct ramet_remote_client *const client =
        ramet_replica_sync_client(replica_sync);
    struct ramet_history *history;
    struct ramet_vid volume;
    enum ramet_rc rc;

    assert(durable->landed && !ramet_session_has_prepared(session));
    /* Any failure here leaves an intent, whose bytes are kept: the next attempt
     * sends them again, and hears that they landed. */
    rc = ramet_session_lock_push(session, NULL);
    if (rc == RAMET_OK) {
        rc = ramet_session_mark_durable(session, &base, &durable->point, NULL);
        ramet_session_unlock_push(session);
    }
    if (rc == RAMET_OK)
        ramet_replica_sync_note_remote(replica_sync, durable->point.lsn, 0);
    if (ramet_replica_sync_volume(replica_sync, &volume) &&
        ramet_remote_client_history(client, &volume, &history, NULL) ==
            RAMET_OK)
        ramet_sync_make_map(client, history, durable->point.lsn);
    ramet_durable_done(durable);
}
