/*
 * pin.c - pins: which snapshot a session reads.
 *
 *   (1) a pin is stored, then a full fence, then the checkpoint target and the
 *       reader barrier are looked at; the checkpointer and whoever raises that store
 *       theirs, fence, and then look at the pins: one of two sees the other
 */
#include "client/store/session/pin.h"

#include <assert.h>

#include "client/snapshot.h"
#include "client/store/log/follow.h"
#include "client/store/log/publish.h"
#include "client/store/page/retained.h"
#include "client/store/session/barrier.h"
#include "client/store/shared/frame_files.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/alloc.h"
#include "core/bytes.h"

struct ramet_replica *
ramet_session_replica(struct ramet_session *session)
{
    return session->replica;
}

bool
ramet_replica_is_readonly(const struct ramet_replica *replica)
{
    return replica->is_readonly;
}

void
ramet_replica_set_fetcher(struct ramet_replica *replica, ramet_fetcher *fetcher,
                          void *ctx)
{
    ramet_mutex_lock(&replica->mutex);
    replica->fetcher = fetcher;
    replica->fetcher_ctx = ctx;
    ramet_mutex_unlock(&replica->mutex);
}

void
ramet_replica_set_watcher(struct ramet_replica *replica, ramet_watcher *watcher,
                          void *ctx)
{
    ramet_mutex_lock(&replica->mutex);
    replica->watcher = watcher;
    replica->watcher_ctx = ctx;
    ramet_mutex_unlock(&replica->mutex);
}

void
ramet_replica_watch(struct ramet_replica *replica, bool is_on)
{
    atomic_store_explicit(&replica->is_watched, is_on, memory_order_relaxed);
}

static void
drop_pin(struct ramet_session *session)
{
    assert(!session->is_reserved);
    assert(session->pin_word != NULL);
    atomic_store_explicit(&session->pin_word->raw, 0, memory_order_release);
}

/* What makes a pin more than a few stores. */
static enum ramet_rc
look_around(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_index_header *const header = &replica->head->header;
    enum ramet_rc rc = RAMET_OK;

    assert(!session->is_pinned);
    if (!ramet_pos_is_none(ramet_pos_load(&header->log.prepared)) &&
        !session->is_reserved && !session->is_readonly &&
        ramet_write_lock_internally(session, 0, NULL) == RAMET_OK) {
        /* Its writer is dead, or was done just now. */
        rc = ramet_recover_prepared(session, err);
        ramet_write_unlock(session);
    }
    if (atomic_load(&replica->seen_oldest) !=
            atomic_load(&header->checkpoint.oldest) ||
        atomic_load(&replica->seen_fetched_oldest) !=
            atomic_load(&header->fetched.oldest))
        ramet_frame_files_trim(replica);
    return rc == RAMET_OK ? ramet_barrier_check(session, err) : rc;
}

static bool
is_quiet(const struct ramet_session *session)
{
    const struct ramet_replica *const replica = session->replica;
    const struct ramet_index_header *const header = &replica->head->header;

    return atomic_load_explicit(&header->barrier.raised_by,
                                memory_order_relaxed) == 0 &&
           atomic_load_explicit(&header->log.prepared.raw,
                                memory_order_relaxed) == 0 &&
           atomic_load_explicit(&header->checkpoint.oldest,
                                memory_order_relaxed) ==
               atomic_load_explicit(&replica->seen_oldest,
                                    memory_order_relaxed) &&
           atomic_load_explicit(&header->fetched.oldest,
                                memory_order_relaxed) ==
               atomic_load_explicit(&replica->seen_fetched_oldest,
                                    memory_order_relaxed);
}

/* Copy the newest snapshot, store the pin, fence; false: to be done again. */
static bool
store_pin(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_index_header *const header = &replica->head->header;

    assert(!session->is_pinned);
    if (atomic_load_explicit(&header->log.newest, memory_order_acquire) !=
        session->number)
        session->number = ramet_index_newest(replica, &session->pin);
    atomic_store_explicit(&session->pin_word->raw,
                          session->pin.snapshot.tail.raw, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* invariant (1) */
    return atomic_load_explicit(&header->checkpoint.target.raw,
                                memory_order_relaxed) <=
           session->pin.snapshot.tail.raw;
}

enum ramet_rc
ramet_session_pin(struct ramet_session *session, struct ramet_err *err)
{
    const struct ramet_index_header *const header =
        &session->replica->head->header;
    bool has_looked = false;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc == RAMET_OK && session->replica->has_own_index &&
        !session->is_pinned)
        rc = ramet_readonly_catch_up(session, err);
    if (rc != RAMET_OK || session->is_pinned)
        return rc;
    for (;;) {
        uint64_t barrier;

        if (!store_pin(session))
            continue;
        if (is_quiet(session))
            break;
        barrier = atomic_load(&header->barrier.raised_by);
        if (has_looked && (barrier == 0 || barrier == session->slot + 1u))
            break;
        drop_pin(session);
        rc = look_around(session, err);
        if (rc != RAMET_OK)
            return rc;
        has_looked = true;
    }
    assert(session->number != 0);
    session->is_pinned = true;
    return RAMET_OK;
}

void
ramet_session_unpin(struct ramet_session *session)
{
    if (!session->is_pinned || ramet_session_is_parents(session))
        return;
    assert(!session->is_reserved);
    drop_pin(session);
    session->is_pinned = false;
    if (session->ahead != NULL) { /* idle sessions are small */
        ramet_free(session->ahead);
        session->ahead = NULL;
    }
    if (ramet_retained_counts(session->replica, session->pin.snapshot.tail))
        ramet_frame_files_trim_retained(session->replica);
}

bool
ramet_session_is_pinned(const struct ramet_session *session)
{
    return session->is_pinned;
}

const struct ramet_snapshot *
ramet_session_snapshot(struct ramet_session *session)
{
    if (session->is_pinned)
        return &session->pin.snapshot;
    if (!ramet_session_is_parents(session))
        ramet_index_newest(session->replica, &session->peek);
    return &session->peek.snapshot;
}

void
ramet_session_move_pin(struct ramet_session *session)
{
    assert(session->is_pinned);
    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    session->number = ramet_index_newest(session->replica, &session->pin);
    atomic_store_explicit(&session->pin_word->raw,
                          session->pin.snapshot.tail.raw, memory_order_release);
}
