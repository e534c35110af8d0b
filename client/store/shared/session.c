/*
 * session.c - the session object: made, entered, left, freed.
 */
#include "client/store/shared/session.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "client/store/format/state.h"
#include "client/store/format/writeset.h"
#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/replica.h"
#include "core/alloc.h"
#include "core/bytes.h"

enum ramet_rc
ramet_session_new(struct ramet_replica *replica, bool is_internal,
                  struct ramet_session **out_session, struct ramet_err *err)
{
    struct ramet_session *const session = ramet_calloc(1, sizeof(*session));

    assert(replica->os != NULL);
    if (session == NULL)
        return RAMET_FAIL(err, RAMET_ENOMEM, "no memory to open %s",
                          replica->path);
    session->replica = replica;
    session->lock_fd = -1;
    session->slot = RAMET_NO_SLOT;
    session->is_internal = is_internal;
    session->pin_word = &session->own_word;
    ramet_writeset_init(&session->writes);
    *out_session = session;
    return RAMET_OK;
}

void
ramet_session_free(struct ramet_session *session)
{
    const struct ramet_os *os;

    if (session == NULL)
        return;
    os = session->replica->os;
    ramet_locks_gone(session);
    if (session->lock_fd >= 0)
        os->close(os->ctx, session->lock_fd);
    ramet_writeset_done(&session->writes, os);
    ramet_free(session->buf);
    ramet_free(session->scratch);
    ramet_free(session->ahead);
    ramet_free(session);
}

void
ramet_session_enter(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;

    ramet_mutex_lock(&replica->mutex);
    session->next = replica->sessions;
    replica->sessions = session;
    ramet_mutex_unlock(&replica->mutex);
}

void
ramet_session_leave(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;
    struct ramet_session **from = &replica->sessions;

    ramet_mutex_lock(&replica->mutex);
    while (*from != NULL && *from != session)
        from = &(*from)->next;
    if (*from != NULL)
        *from = session->next;
    ramet_mutex_unlock(&replica->mutex);
}

enum ramet_rc
ramet_session_take_slot(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;

    assert(session->slot == RAMET_NO_SLOT);
    for (uint32_t i = 0; i < RAMET_PIN_SLOTS; i++) {
        uint64_t dead_barrier = i + 1u;
        const int result =
            os->lock(os->ctx, session->lock_fd, RAMET_LOCK_SLOTS + i, 1,
                     RAMET_LOCK_EXCLUSIVE);

        if (result == -EAGAIN)
            continue;
        if (result < 0)
            return RAMET_FAIL_OS(err, result, "lock a slot of %s",
                                 replica->path);
        ramet_pos_store(&replica->head->pins[i].tail, RAMET_NO_POS);
        /* Its barrier, if it died with it up: under our lock it would look
         * like ours. */
        atomic_compare_exchange_strong(&replica->head->header.barrier.raised_by,
                                       &dead_barrier, 0);
        ramet_index_raise(&replica->head->header.all.slot_hint, i + 1u);
        session->slot = i;
        session->pin_word = &replica->head->pins[i].tail;
        assert(ramet_pos_is_none(ramet_pos_load(session->pin_word)));
        return RAMET_OK;
    }
    return RAMET_FAIL(err, RAMET_EBUSY, "%s: %u sessions are open already",
                      replica->path, RAMET_PIN_SLOTS);
}

bool
ramet_epoch_enter(struct ramet_session *session)
{
    assert(atomic_load(&session->replica->epoch) != 0); /* 0: in no read */
    if (atomic_load_explicit(&session->epoch, memory_order_relaxed) != 0)
        return false;
    atomic_store_explicit(
        &session->epoch,
        atomic_load_explicit(&session->replica->epoch, memory_order_relaxed),
        memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return true;
}

void
ramet_epoch_leave(struct ramet_session *session, bool entered)
{
    assert(!entered || atomic_load(&session->epoch) != 0);
    if (entered)
        atomic_store_explicit(&session->epoch, 0, memory_order_release);
}

enum ramet_rc
ramet_fail_forked(const struct ramet_session *session, struct ramet_err *err)
{
    return RAMET_FAIL(err, RAMET_EFORKED,
                      "%s: this handle belongs to the process that forked; "
                      "open it again",
                      session->replica->path);
}

uint8_t *
ramet_session_scratch(struct ramet_session *session, struct ramet_err *err)
{
    if (session->scratch == NULL) {
        session->scratch = ramet_alloc(RAMET_PAGE_SIZE_MAX);
        if (session->scratch == NULL)
            (void)RAMET_FAIL(err, RAMET_ENOMEM, "no memory for a page");
    }
    return session->scratch;
}

void
ramet_replica_adopt_state(struct ramet_replica *replica,
                          const struct ramet_state_file *state)
{
    assert(state->fold.kind == RAMET_KIND_SQLITE ||
           state->fold.kind == RAMET_KIND_BLOB);
    replica->base_id = state->base_id;
    replica->kind = state->fold.kind;
    replica->default_held = state->default_held;
    replica->presence_is_checked = state->presence_is_checked;
    replica->kept_log = state->kept_log;
    replica->kept_salt = state->kept_salt;
}
