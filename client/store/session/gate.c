/*
 * gate.c - the exclusive gate: no new pins but one session's, and older ones gone.
 */
#include "client/store/session/gate.h"

#include <assert.h>
#include <string.h>

#include "client/store/shared/index.h"
#include "client/store/shared/locks.h"
#include "client/store/shared/pins.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/bytes.h"

#define ALONE_WAIT_MS 10000u
#define GATE_POLL_US 500u

enum ramet_rc
ramet_session_shut_gate(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    _Atomic uint64_t *const gate = &replica->head->header.gate.shut_by;
    uint64_t seen = 0;
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK)
        return rc;
    if (session->slot == RAMET_NO_SLOT)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s is open for reading only",
                          replica->path);
    if (!session->has_gate) {
        if (!atomic_compare_exchange_strong(gate, &seen, session->slot + 1u)) {
            rc = ramet_gate_check(session, err);
            seen = 0;
            if (rc == RAMET_OK && !atomic_compare_exchange_strong(
                                      gate, &seen, session->slot + 1u))
                rc = RAMET_EBUSY;
            if (rc != RAMET_OK)
                return RAMET_FAIL(err, RAMET_EBUSY,
                                  "%s is locked exclusively by another",
                                  replica->path);
        }
        session->has_gate = true;
    }
    assert(session->has_gate);
    if (ramet_index_least_pin(session, RAMET_NO_POS).raw != UINT64_MAX)
        return RAMET_FAIL(err, RAMET_EBUSY, "%s is being read by others",
                          replica->path);
    return RAMET_OK;
}

void
ramet_session_open_gate(struct ramet_session *session)
{
    uint64_t own = session->slot + 1u;

    assert(session->slot != RAMET_NO_SLOT || !session->has_gate);
    if (!session->has_gate || ramet_session_is_parents(session))
        return;
    atomic_compare_exchange_strong(&session->replica->head->header.gate.shut_by,
                                   &own, 0);
    session->has_gate = false;
}

enum ramet_rc
ramet_gate_check(struct ramet_session *session, struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    _Atomic uint64_t *const gate = &replica->head->header.gate.shut_by;
    uint64_t holder = atomic_load(gate);

    assert(session->lock_fd >= 0);
    if (holder == 0 || holder == session->slot + 1u)
        return RAMET_OK;
    if (holder <= RAMET_PIN_SLOTS &&
        os->lock_held(os->ctx, session->lock_fd, RAMET_LOCK_SLOTS + holder - 1,
                      1, RAMET_LOCK_SHARED) == 1)
        return RAMET_FAIL(err, RAMET_EBUSY, "%s is locked exclusively",
                          replica->path);
    atomic_compare_exchange_strong(gate, &holder, 0); /* a dead session's */
    return RAMET_OK;
}

enum ramet_rc
ramet_wait_alone(struct ramet_session *session, struct ramet_err *err)
{
    const struct ramet_os *const os = session->replica->os;
    const uint64_t give_up_at =
        os->mono_ns(os->ctx) + ALONE_WAIT_MS * UINT64_C(1000000);
    const bool had_gate = session->has_gate;
    const bool is_empty = session->pin.snapshot.page_count == 0;

    assert(!session->is_internal); /* its slot is what shuts the gate */
    for (;;) {
        enum ramet_rc rc = RAMET_EBUSY;

        /* A reader of an empty file does not care about its pages. */
        if (is_empty && session->is_reserved &&
            !ramet_pos_before(ramet_index_least_pin(session, RAMET_NO_POS),
                              session->pin.snapshot.tail))
            return RAMET_OK;
        if (!is_empty || !session->is_reserved)
            rc = ramet_session_shut_gate(session, err);
        if (rc == RAMET_OK)
            session->prepared.gate_shut = !had_gate;
        if (rc != RAMET_EBUSY)
            return rc;
        if (os->mono_ns(os->ctx) >= give_up_at)
            break;
        os->sleep_us(os->ctx, GATE_POLL_US);
    }
    if (!had_gate)
        ramet_session_open_gate(session);
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
    holder->prepared.gate_shut = false; /* the caller opens it */
    writer->prepared.gate_shut = false;
    return rc;
}
