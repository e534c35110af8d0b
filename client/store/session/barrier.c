/*
 * barrier.c - the reader barrier: no new pins but one session's, and older ones gone.
 */
#include "client/store/session/barrier.h"

#include <assert.h>

#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/pins.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/bytes.h"

#define ALONE_WAIT_MS 10000u
#define BARRIER_POLL_US 500u

enum ramet_rc
ramet_session_raise_barrier(struct ramet_session *session,
                            struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    _Atomic uint64_t *const barrier = &replica->head->header.barrier.raised_by;
    uint64_t seen = 0;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK)
        return rc;
    if (session->slot == RAMET_NO_SLOT)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s is open for reading only",
                          replica->path);
    if (!session->has_barrier) {
        if (!atomic_compare_exchange_strong(barrier, &seen,
                                            session->slot + 1u)) {
            rc = ramet_barrier_check(session, err);
            seen = 0;
            if (rc == RAMET_OK && !atomic_compare_exchange_strong(
                                      barrier, &seen, session->slot + 1u))
                rc = RAMET_EBUSY;
            if (rc != RAMET_OK)
                return RAMET_FAIL(
                    err, RAMET_EBUSY,
                    "%s is locked exclusively by another connection",
                    replica->path);
        }
        session->has_barrier = true;
    }
    assert(session->has_barrier);
    if (ramet_index_least_pin(session, RAMET_NO_POS).raw != UINT64_MAX)
        return RAMET_FAIL(err, RAMET_EBUSY, "%s is being read by others",
                          replica->path);
    return RAMET_OK;
}

void
ramet_session_lower_barrier(struct ramet_session *session)
{
    uint64_t own = session->slot + 1u;

    assert(session->slot != RAMET_NO_SLOT || !session->has_barrier);
    if (!session->has_barrier || ramet_session_is_parents(session))
        return;
    atomic_compare_exchange_strong(
        &session->replica->head->header.barrier.raised_by, &own, 0);
    session->has_barrier = false;
}

enum ramet_rc
ramet_barrier_check(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    _Atomic uint64_t *const barrier = &replica->head->header.barrier.raised_by;
    uint64_t holder = atomic_load(barrier);

    assert(session->lock_fd >= 0);
    if (holder == 0 || holder == session->slot + 1u)
        return RAMET_OK;
    if (holder <= RAMET_PIN_SLOTS &&
        os->lock_held(os->ctx, session->lock_fd, RAMET_LOCK_SLOTS + holder - 1,
                      1, RAMET_LOCK_SHARED) == 1)
        return RAMET_FAIL(err, RAMET_EBUSY, "%s is locked exclusively",
                          replica->path);
    atomic_compare_exchange_strong(barrier, &holder, 0); /* a dead session's */
    return RAMET_OK;
}

enum ramet_rc
ramet_wait_alone(struct ramet_session *session, struct ramet_err *err)
{
    const struct ramet_os *const os = session->replica->os;
    const uint64_t give_up_at =
        os->mono_ns(os->ctx) + ALONE_WAIT_MS * UINT64_C(1000000);
    const bool had_barrier = session->has_barrier;
    const bool is_empty = session->pin.snapshot.page_count == 0;

    assert(!session->is_internal); /* its slot is what the barrier stands on */
    for (;;) {
        enum ramet_rc rc = RAMET_EBUSY;

        /* A reader of an empty file does not care about its pages. */
        if (is_empty && session->is_reserved &&
            !ramet_pos_before(ramet_index_least_pin(session, RAMET_NO_POS),
                              session->pin.snapshot.tail))
            return RAMET_OK;
        if (!is_empty || !session->is_reserved)
            rc = ramet_session_raise_barrier(session, err);
        if (rc == RAMET_OK)
            session->prepared.raised_barrier = !had_barrier;
        if (rc != RAMET_EBUSY)
            return rc;
        if (os->mono_ns(os->ctx) >= give_up_at)
            break;
        os->sleep_us(os->ctx, BARRIER_POLL_US);
    }
    if (!had_barrier)
        ramet_session_lower_barrier(session);
    return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                      "%s: a change of page size waits for older readers",
                      session->replica->path);
}

enum ramet_rc
ramet_wait_alone_as(struct ramet_session *writer, struct ramet_session *holder,
                    struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(!holder->is_reserved || holder == writer);
    assert(ramet_holds(writer, RAMET_LOCK_WRITE));
    if (holder->is_pinned)
        return RAMET_FAIL(err, RAMET_ESNAPSHOT,
                          "%s: a change of page size waits for this reader",
                          holder->replica->path);
    rc = ramet_wait_alone(holder, err);
    holder->prepared.raised_barrier = false; /* the caller lowers it */
    writer->prepared.raised_barrier = false;
    return rc;
}
