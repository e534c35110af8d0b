/*
 * sync_records.c - what sync writes into the log: intents, what became durable,
 * pulls and resets; and the fold that tells it what there is to do.
 *
 *   (1) such a record is built by a session of its own, that holds the write
 *       lock for it alone; or by the caller's, if that holds the lock already
 *       and has nothing pending
 *   (2) what was decided without the write lock is checked again under it: the
 *       replica must stand where whoever decided saw it, by LSN and hash, with
 *       the intent that it had, or none; where all its pages were looked at, on
 *       the very record
 *   (3) an intent comes and goes under the push lock alone. But who holds it may
 *       not see yet the last one of a holder that died: that is resolved when
 *       somebody writes
 */
#include <assert.h>
#include <fcntl.h>
#include <string.h>

#include "client/snapshot.h"
#include "client/store/exchange.h"
#include "client/store/format/dir.h"
#include "client/store/format/frames.h"
#include "client/store/format/state.h"
#include "client/store/format/writeset.h"
#include "client/store/log/publish.h"
#include "client/store/session/barrier.h"
#include "client/store/session/pin.h"
#include "client/store/session/pulled_schema.h"
#include "client/store/session/record.h"
#include "client/store/session/write.h"
#include "client/store/shared/entries.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "core/waiting.h"
#include "sqliteformat/dbheader.h"

#define INTENT_NAME "intent"
#define INTENT_MAX (72u << 20)
#define WRITE_WAIT_MS 10000u
#define PULL_WAIT_MS 20u

/* ---- writing one record -------------------------------------------------- */

/* By invariant (1). */
struct recorder {
    struct ramet_session *writer;
    bool is_own;
};

static void
end_recorder(struct recorder *r)
{
    struct ramet_session *const writer = r->writer;

    if (writer == NULL)
        return;
    if (!r->is_own) {
        if (writer->prepared.is_set || writer->has_record)
            ramet_session_discard(writer);
        return;
    }
    assert(writer->is_internal); /* invariant (1) */
    ramet_session_release(writer);
    writer->is_pinned = false;
    ramet_session_leave(writer);
    ramet_session_free(writer);
}

static enum ramet_rc
begin_own(struct ramet_session *session, uint64_t wait_ms,
          struct ramet_session *writer, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    enum ramet_rc rc;

    assert(writer->is_internal && !writer->is_reserved);
    if (writer->lock_fd < 0)
        writer->lock_fd =
            ramet_rights_open(os, replica->dir_fd, RAMET_DIR_LOCK, O_RDWR);
    if (writer->lock_fd < 0)
        return RAMET_FAIL_OS(err, writer->lock_fd, "open %s-ramet/lock",
                             replica->path);
    rc = ramet_write_lock_internally(writer, wait_ms, err);
    if (rc != RAMET_OK)
        return rc;
    writer->is_pinned = true;
    rc = ramet_reserve_locked(writer, err);
    if (rc != RAMET_OK)
        ramet_write_unlock(writer);
    return rc;
}

static enum ramet_rc
begin_recorder(struct recorder *r, struct ramet_session *session,
               uint64_t wait_ms, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_waiter *const patience = session->patience;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    r->writer = NULL;
    r->is_own = false;
    if (rc != RAMET_OK)
        return rc;
    if (replica->is_readonly)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s can't be written",
                          replica->path);
    if (session->is_reserved) {
        if (session->has_writes || session->prepared.is_set)
            return RAMET_FAIL(err, RAMET_EBUSY, "a local transaction is open");
        assert(ramet_holds(session, RAMET_LOCK_WRITE)); /* invariant (1) */
        r->writer = session;
        return RAMET_OK;
    }
    rc = ramet_session_new(replica, true, &r->writer, err);
    if (rc != RAMET_OK)
        return rc;
    r->is_own = true;
    ramet_session_enter(r->writer);
    do
        rc = begin_own(session, patience != NULL ? PULL_WAIT_MS : wait_ms,
                       r->writer, err);
    while (rc == RAMET_EBUSY && patience != NULL &&
           patience->wait(patience->ctx));
    if (rc != RAMET_OK)
        end_recorder(r);
    return rc;
}

void
ramet_session_set_waiter(struct ramet_session *session,
                         const struct ramet_waiter *patience)
{
    session->patience = patience;
}

static uint32_t
page_size_of(const struct ramet_trailer *t)
{
    return t->page_size != 0 ? t->page_size : 4096;
}

/* Finish, sync if asked for, publish. */
static enum ramet_rc
finish_recorder(struct recorder *r, struct ramet_trailer *trailer, bool sync,
                struct ramet_err *err)
{
    struct ramet_session *const writer = r->writer;
    enum ramet_rc rc = RAMET_OK;

    assert(!writer->prepared.is_set);
    assert(ramet_holds(writer, RAMET_LOCK_WRITE));
    if (!writer->has_record)
        rc = ramet_record_begin(writer, page_size_of(trailer), err);
    if (rc == RAMET_OK)
        rc = ramet_record_finish(writer, trailer, err);
    if (rc == RAMET_OK && sync)
        rc = ramet_session_sync(writer, err);
    if (rc == RAMET_OK)
        ramet_session_publish(writer);
    return rc;
}

/* Invariant (2). `exactly`: no local commit came either. */
static enum ramet_rc
check_base(const struct recorder *r, const struct ramet_snapshot *base,
           bool exactly, struct ramet_err *err)
{
    const struct ramet_snapshot *const now = &r->writer->pin.snapshot;
    const struct ramet_pos sync_tail =
        ramet_pos_load(&r->writer->replica->head->header.log.sync_tail);

    assert(ramet_holds(r->writer, RAMET_LOCK_WRITE));
    if (now->lsn == base->lsn &&
        ramet_hash_equal(&now->lsn_hash, &base->lsn_hash) &&
        !ramet_pos_before(base->tail, sync_tail) &&
        (!exactly || ramet_pos_same(now->tail, base->tail)))
        return RAMET_OK;
    return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                      "%s: was changed while a push or pull was running",
                      r->writer->replica->path);
}

/* ---- intents ------------------------------------------------------------- */

enum ramet_rc
ramet_session_keep_intent(struct ramet_session *session, const uint8_t *object,
                          size_t len, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    uint8_t *raw;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK)
        return rc;
    assert(ramet_holds(session, RAMET_LOCK_PUSH)); /* invariant (3) */
    raw = ramet_alloc(len + 8);
    if (raw == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to keep an intent");
    memcpy(raw + 8, object, len);
    ramet_put_le64(raw, ramet_hash64(object, len));
    rc = ramet_dir_replace(replica->os, replica->dir_fd, INTENT_NAME, raw,
                           len + 8, err);
    ramet_free(raw);
    return rc;
}

enum ramet_rc
ramet_session_load_intent(struct ramet_session *session, uint8_t **out_object,
                          size_t *out_len, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    uint8_t *raw = NULL;
    size_t len = 0;
    enum ramet_rc rc = ramet_os_read_own_file(
        replica->os, replica->dir_fd, INTENT_NAME, INTENT_MAX, &raw, &len, err);

    if (rc != RAMET_OK)
        return rc;
    if (len < 8 || ramet_get_le64(raw) != ramet_hash64(raw + 8, len - 8)) {
        ramet_free(raw);
        return RAMET_FAIL(err, RAMET_ECORRUPT, "%s-ramet/%s: checksum",
                          replica->path, INTENT_NAME);
    }
    memmove(raw, raw + 8, len - 8);
    *out_object = raw;
    *out_len = len - 8;
    return RAMET_OK;
}

static void
forget_intent(struct ramet_session *session)
{
    const struct ramet_os *const os = session->replica->os;

    assert(ramet_holds(session, RAMET_LOCK_PUSH)); /* invariant (3) */
    /* If it stays it is overwritten by the next one, and never sent: the log
     * says that there is none. */
    os->unlink(os->ctx, session->replica->dir_fd, INTENT_NAME, false);
}

/* Under the write lock still: this very snapshot. */
static enum ramet_rc
pin_newest(struct ramet_session *session, struct ramet_err *err)
{
    assert(ramet_is_held(session->replica, RAMET_LOCK_WRITE));
    if (session->is_pinned) {
        ramet_session_move_pin(session);
        return RAMET_OK;
    }
    session->number = 0;
    return ramet_session_pin(session, err);
}

/* What becomes of an intent: a record without pages, synced. `base` NULL: any
 * state will do; `commit` and `point` where the type has them. */
static enum ramet_rc
record_intent(struct ramet_session *session, enum ramet_record_type type,
              const struct ramet_snapshot *base, const struct ramet_cid *commit,
              const struct ramet_remote_point *point, struct ramet_err *err)
{
    const bool begins = type == RAMET_RECORD_INTENT;
    struct ramet_trailer trailer;
    struct recorder r;
    enum ramet_rc rc;

    assert(ramet_holds(session, RAMET_LOCK_PUSH)); /* invariant (3) */
    assert(begins == (commit != NULL));
    rc = begin_recorder(&r, session, WRITE_WAIT_MS, err);
    if (rc != RAMET_OK)
        return rc;
    if (base != NULL)
        rc = check_base(&r, base, false, err);
    ramet_record_trailer(&r.writer->pin, type, &trailer);
    if (commit != NULL)
        trailer.commit = *commit;
    if (point != NULL)
        ramet_trailer_set_point(&trailer, point);
    if (rc == RAMET_OK)
        rc = finish_recorder(&r, &trailer, true, err);
    if (rc == RAMET_OK && begins && r.is_own)
        rc = pin_newest(session, err);
    end_recorder(&r);
    if (rc == RAMET_OK && !begins)
        forget_intent(session);
    return rc;
}

enum ramet_rc
ramet_session_freeze(struct ramet_session *session,
                     const struct ramet_snapshot *base,
                     const struct ramet_cid *commit, struct ramet_err *err)
{
    assert(!ramet_id_is_nil(&commit->id));
    return record_intent(session, RAMET_RECORD_INTENT, base, commit, NULL, err);
}

enum ramet_rc
ramet_session_mark_durable(struct ramet_session *session,
                           const struct ramet_snapshot *base,
                           const struct ramet_remote_point *point,
                           struct ramet_err *err)
{
    return record_intent(session, RAMET_RECORD_DURABLE, base, NULL, point, err);
}

enum ramet_rc
ramet_session_abandon_intent(struct ramet_session *session,
                             struct ramet_err *err)
{
    return record_intent(session, RAMET_RECORD_ABANDON, NULL, NULL, NULL, err);
}

/* ---- pulls --------------------------------------------------------------- */

static enum ramet_rc
add_frame(struct ramet_session *writer, uint32_t pgno,
          enum ramet_logframe_kind kind, const uint8_t *page,
          struct ramet_err *err)
{
    struct ramet_replica *const replica = writer->replica;
    uint8_t *to;
    struct ramet_pos pos;
    enum ramet_rc rc = ramet_record_add(writer, pgno, kind, &to, &pos, err);

    assert(ramet_holds(writer, RAMET_LOCK_WRITE) && pgno >= 1);
    assert((page != NULL) == ramet_logframe_has_page(kind));
    if (rc != RAMET_OK)
        return rc;
    if (page != NULL)
        memcpy(to, page, writer->page_size);
    return ramet_writeset_put(
        &writer->writes, replica->os, replica->dir_fd, writer->slot, pgno,
        ramet_entry_of_pos(ramet_entry_kind_of_logframe(kind), pos), err);
}

/* A page that the record does not make remote, though the size reaches it: one
 * that grew back, or that a reset gives up. */
static enum ramet_rc
add_gap(struct ramet_session *writer, uint32_t pgno, struct ramet_err *err)
{
    struct ramet_entry entry;
    enum ramet_rc rc = ramet_index_load(writer, pgno, &entry, err);

    assert(ramet_holds(writer, RAMET_LOCK_WRITE) && pgno >= 1);
    if (rc != RAMET_OK || ramet_entry_kind(entry) == RAMET_ENTRY_ZERO ||
        ramet_entry_kind(entry) == RAMET_ENTRY_LOG_ZERO)
        return rc;
    return add_frame(writer, pgno, RAMET_LOGFRAME_ZERO, NULL, err);
}

static enum ramet_rc
add_remote_pages(struct ramet_session *writer,
                 const struct ramet_pageset *changed, uint32_t page_count,
                 const uint8_t *page1, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &writer->pin.snapshot;
    const uint64_t high =
        atomic_load(&writer->replica->head->header.log.high_water);
    uint32_t gap = s->page_size == writer->page_size ? s->page_count : 0;
    enum ramet_rc rc = RAMET_OK;

    assert(ramet_holds(writer, RAMET_LOCK_WRITE));
    if (page1 != NULL && page_count != 0)
        rc = add_frame(writer, 1, RAMET_LOGFRAME_IMAGE, page1, err);
    for (size_t i = 0; rc == RAMET_OK && i < changed->run_count; i++) {
        const struct ramet_run run = changed->runs[i];

        for (uint64_t p = run.first;
             rc == RAMET_OK && p <= run.last && p <= page_count; p++)
            if (p != 1 || page1 == NULL)
                rc = add_frame(writer, (uint32_t)p, RAMET_LOGFRAME_REMOTE, NULL,
                               err);
    }
    for (gap++; rc == RAMET_OK && gap != 0 && gap <= page_count && gap <= high;
         gap++)
        if (ramet_entry_is_none(ramet_writeset_get(&writer->writes, gap)))
            rc = add_gap(writer, gap, err);
    return rc;
}

/* What a reset gives up: pages that pend, and what was cut off and is there
 * again, all of which come from the remote. RAMET_ENOMEM. */
static enum ramet_rc
add_given_up(const struct ramet_replica_state *state, uint32_t page_count,
             struct ramet_pageset *out)
{
    uint32_t least = page_count;
    enum ramet_rc rc = ramet_pageset_add_set(out, &state->in_flight);

    if (rc == RAMET_OK)
        rc = ramet_pageset_add_set(out, &state->later);
    if (state->commits_later != 0 && state->least_page_count_later < least)
        least = state->least_page_count_later;
    if (state->commits_in_flight != 0 &&
        state->least_page_count_in_flight < least)
        least = state->least_page_count_in_flight;
    if (rc == RAMET_OK && least < page_count)
        rc = ramet_pageset_add_run(out,
                                   (struct ramet_run){least + 1, page_count});
    return rc;
}

/* All pages of the new file where its pages have another size now. */
static enum ramet_rc
pages_of_pull(struct ramet_session *writer, struct ramet_session *session,
              const struct ramet_remote_point *point,
              const struct ramet_pageset *changed, bool reset,
              struct ramet_pageset *out, struct ramet_err *err)
{
    const struct ramet_snapshot *const s = &writer->pin.snapshot;
    struct ramet_replica_state state;
    enum ramet_rc rc;

    assert(ramet_holds(writer, RAMET_LOCK_WRITE));
    memset(&state, 0, sizeof(state));
    rc = ramet_session_state(session, &state, err);
    if (rc == RAMET_OK && !reset &&
        (state.commits_in_flight != 0 || state.commits_later != 0 ||
         state.in_flight.run_count != 0 || state.later.run_count != 0 ||
         !ramet_id_is_nil(&state.intent.id)))
        rc = RAMET_FAIL(err, RAMET_EDIVERGED,
                        "%s has local commits that are not in the remote",
                        session->replica->path);
    if (rc == RAMET_OK && point->page_size != s->page_size &&
        s->page_count != 0) {
        ramet_replica_state_done(&state);
        if (point->page_count != 0 &&
            ramet_pageset_add_run(
                out, (struct ramet_run){1, point->page_count}) != RAMET_OK)
            return RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a set");
        return RAMET_OK;
    }
    if (rc == RAMET_OK)
        rc = ramet_pageset_copy(out, changed);
    if (rc == RAMET_OK && reset)
        rc = add_given_up(&state, point->page_count, out);
    if (rc == RAMET_ENOMEM)
        rc = RAMET_FAIL(err, rc, "no memory for a set of pages");
    ramet_replica_state_done(&state);
    ramet_pageset_truncate(out, point->page_count);
    return rc;
}

static void
describe_pull(const struct ramet_session *writer,
              const struct ramet_remote_point *point, const uint8_t *page1,
              bool reset, struct ramet_trailer *t)
{
    assert(ramet_holds(writer, RAMET_LOCK_WRITE));
    ramet_record_trailer(&writer->pin,
                         reset ? RAMET_RECORD_RESET : RAMET_RECORD_PULL, t);
    ramet_trailer_set_point(t, point);
    if (ramet_page_size_ok(point->page_size))
        t->page_size = point->page_size;
    t->page_count = point->page_count;
    t->byte_length = point->byte_length;
    if (t->least_page_count > t->page_count)
        t->least_page_count = t->page_count;
    if (page1 != NULL)
        memcpy(t->header, page1, RAMET_TRUE_HEADER_SIZE);
    else if (t->page_count == 0)
        memset(t->header, 0, RAMET_TRUE_HEADER_SIZE);
    t->counter = ramet_dbheader_count_on(t->counter, t->header, t->byte_length);
}

enum ramet_rc
ramet_session_pull(struct ramet_session *session,
                   const struct ramet_snapshot *base,
                   const struct ramet_remote_point *point,
                   const struct ramet_pageset *changed, const uint8_t *page1,
                   bool reset, struct ramet_err *err)
{
    const bool had_barrier = session->has_barrier;
    struct ramet_pageset pages;
    struct ramet_trailer trailer;
    struct recorder r;
    enum ramet_rc rc;

    if (point->page_count != 0 && !ramet_page_size_ok(point->page_size))
        return RAMET_FAIL(err, RAMET_EINVAL, "a page size of %u",
                          point->page_size);
    if (session->is_reserved)
        return RAMET_FAIL(err, RAMET_EBUSY, "a local transaction is open");
    assert(!reset || ramet_holds(session, RAMET_LOCK_PUSH)); /* invariant (3) */
    rc = begin_recorder(&r, session, PULL_WAIT_MS, err);
    if (rc != RAMET_OK)
        return rc;
    ramet_pageset_init(&pages);
    rc = check_base(&r, base, true, err);
    describe_pull(r.writer, point, page1, reset, &trailer);
    if (rc == RAMET_OK)
        rc = pages_of_pull(r.writer, session, point, changed, reset, &pages,
                           err);
    if (rc == RAMET_OK &&
        trailer.page_size != r.writer->pin.snapshot.page_size &&
        atomic_load(&session->replica->head->header.log.high_water) != 0)
        rc = ramet_wait_alone_as(r.writer, session, err);
    if (rc == RAMET_OK &&
        ramet_pull_keeps_schema(r.writer, point, &pages, page1))
        trailer.flags |= RAMET_RECORD_SAME_SCHEMA;
    if (rc == RAMET_OK)
        rc = ramet_record_begin(r.writer, page_size_of(&trailer), err);
    if (rc == RAMET_OK)
        rc = add_remote_pages(r.writer, &pages, point->page_count, page1, err);
    if (rc == RAMET_OK)
        rc = finish_recorder(&r, &trailer, false, err);
    if (!had_barrier)
        ramet_session_lower_barrier(session);
    ramet_pageset_done(&pages);
    end_recorder(&r);
    return rc;
}
