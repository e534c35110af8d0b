/*
 * locks.c - the bytes of `lock`; docs/replica.md, "Locks".
 */
#include "client/store/shared/locks.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "client/store/exchange.h"
#include "client/store/shared/index.h"
#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"
#include "client/store/store.h"
#include "core/bytes.h"

#define POLL_FIRST_US 20u
#define POLL_MAX_US 2000u
#define INTERNAL_MS 2000u

enum ramet_rc
ramet_lock_try(const struct ramet_os *os, int fd, unsigned byte,
               enum ramet_lock_mode mode, const char *what,
               struct ramet_err *err)
{
    const int result = os->lock(os->ctx, fd, byte, 1, mode);

    assert(fd >= 0 && mode != RAMET_UNLOCK);
    if (result == 0)
        return RAMET_OK;
    if (result == -EAGAIN)
        return RAMET_FAIL(err, RAMET_EBUSY, "%s", what);
    return RAMET_FAIL_OS(err, result, "lock byte %u of the replica", byte);
}

enum ramet_rc
ramet_lock_wait(const struct ramet_os *os, int fd, unsigned byte,
                enum ramet_lock_mode mode, uint64_t wait_ms, const char *what,
                struct ramet_err *err)
{
    uint64_t pause_us = POLL_FIRST_US;
    uint64_t give_up_at = 0;

    assert(fd >= 0 && mode != RAMET_UNLOCK);
    for (;;) {
        const int result = os->lock(os->ctx, fd, byte, 1, mode);
        uint64_t now;

        if (result != -EAGAIN)
            return result == 0
                       ? RAMET_OK
                       : RAMET_FAIL_OS(err, result,
                                       "lock byte %u of the replica", byte);
        now = os->mono_ns(os->ctx);
        if (give_up_at == 0)
            give_up_at = now + wait_ms * UINT64_C(1000000);
        if (now >= give_up_at)
            return RAMET_FAIL(err, RAMET_EBUSY, "%s", what);
        os->sleep_us(os->ctx, pause_us);
        if (pause_us < POLL_MAX_US)
            pause_us *= 2;
    }
}

void
ramet_lock_drop(const struct ramet_os *os, int fd, unsigned byte)
{
    assert(fd >= 0);
    os->lock(os->ctx, fd, byte, 1, RAMET_UNLOCK);
}

/* ---- those of a session --------------------------------------------------- */

static void
note_held(struct ramet_session *session, enum ramet_lock_byte byte, bool holds)
{
    const uint32_t bit = UINT32_C(1) << byte;

    assert((unsigned)byte < 32);
    if (holds) {
        session->held |= bit;
        atomic_fetch_or_explicit(&session->replica->held, bit,
                                 memory_order_relaxed);
    } else if ((session->held & bit) != 0) {
        session->held &= ~bit;
        atomic_fetch_and_explicit(&session->replica->held, ~bit,
                                  memory_order_relaxed);
    }
}

/* Would waiting for it keep the order? What is tried once waits for nobody. */
static inline bool
is_in_order(const struct ramet_session *session, enum ramet_lock_byte byte)
{
    static const enum ramet_lock_byte order[] = {
        RAMET_LOCK_OPEN,       RAMET_LOCK_PUSH,     RAMET_LOCK_WRITE,
        RAMET_LOCK_CHECKPOINT, RAMET_LOCK_UNPINNED, RAMET_LOCK_BASE,
        RAMET_LOCK_MARK,
    };
    size_t at = sizeof(order) / sizeof(order[0]);

    while (at > 0 && order[at - 1] != byte)
        if (ramet_holds(session, order[--at]))
            return false;
    return true;
}

enum ramet_rc
ramet_lock(struct ramet_session *session, enum ramet_lock_byte byte,
           enum ramet_lock_mode mode, uint64_t wait_ms, const char *what,
           struct ramet_err *err)
{
    enum ramet_rc rc;

    assert(mode != RAMET_UNLOCK);
    assert(byte == RAMET_LOCK_LIVE || !ramet_holds(session, byte));
    assert(wait_ms == 0 || is_in_order(session, byte));
    rc = ramet_lock_wait(session->replica->os, session->lock_fd, byte, mode,
                         wait_ms, what, err);
    if (rc == RAMET_OK)
        note_held(session, byte, mode == RAMET_LOCK_EXCLUSIVE);
    return rc;
}

void
ramet_unlock(struct ramet_session *session, enum ramet_lock_byte byte)
{
    note_held(session, byte, false);
    ramet_lock_drop(session->replica->os, session->lock_fd, byte);
}

void
ramet_locks_gone(struct ramet_session *session)
{
    atomic_fetch_and_explicit(&session->replica->held, ~session->held,
                              memory_order_relaxed);
    session->held = 0;
}

/* Both, or neither. */
static enum ramet_rc
try_both(struct ramet_session *session, struct ramet_err *err)
{
    static const char what[] = "a local transaction is open";
    enum ramet_rc rc = ramet_lock(session, RAMET_LOCK_INTERNAL,
                                  RAMET_LOCK_EXCLUSIVE, 0, what, err);

    assert(!ramet_holds(session, RAMET_LOCK_WRITE));
    if (rc != RAMET_OK)
        return rc;
    rc = ramet_lock(session, RAMET_LOCK_WRITE, RAMET_LOCK_EXCLUSIVE, 0, what,
                    err);
    if (rc != RAMET_OK)
        ramet_unlock(session, RAMET_LOCK_INTERNAL);
    return rc;
}

enum ramet_rc
ramet_write_lock_internally(struct ramet_session *session, uint64_t wait_ms,
                            struct ramet_err *err)
{
    const struct ramet_os *const os = session->replica->os;
    const uint64_t give_up_at =
        os->mono_ns(os->ctx) + wait_ms * UINT64_C(1000000);
    uint64_t pause_us = POLL_FIRST_US;

    assert(!ramet_holds(session, RAMET_LOCK_WRITE));
    for (;;) {
        const enum ramet_rc rc = try_both(session, err);

        if (rc != RAMET_EBUSY || os->mono_ns(os->ctx) >= give_up_at)
            return rc;
        os->sleep_us(os->ctx, pause_us);
        if (pause_us < POLL_MAX_US)
            pause_us *= 2;
    }
}

void
ramet_write_unlock(struct ramet_session *session)
{
    struct ramet_index_header *const header = &session->replica->head->header;

    assert(ramet_holds(session, RAMET_LOCK_WRITE));
    ramet_unlock(session, RAMET_LOCK_WRITE);
    if (!ramet_holds(session, RAMET_LOCK_INTERNAL))
        return;
    atomic_fetch_add(&header->all.internal_ends, 1);
    ramet_unlock(session, RAMET_LOCK_INTERNAL);
}

/* Was it held internally when it was tried? `ends` was read before. Its holder
 * counts between giving back the one and the other. */
static bool
was_internal(struct ramet_session *session, uint64_t ends)
{
    const struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;

    assert(!ramet_holds(session, RAMET_LOCK_WRITE));
    return os->lock_held(os->ctx, session->lock_fd, RAMET_LOCK_INTERNAL, 1,
                         RAMET_LOCK_SHARED) == 1 ||
           atomic_load(&replica->head->header.all.internal_ends) != ends;
}

enum ramet_rc
ramet_write_lock(struct ramet_session *session, struct ramet_err *err)
{
    const struct ramet_replica *const replica = session->replica;
    const struct ramet_os *const os = replica->os;
    uint64_t pause_us = POLL_FIRST_US;
    uint64_t give_up_at = 0;

    assert(!ramet_holds(session, RAMET_LOCK_WRITE));
    for (;;) {
        const uint64_t ends =
            atomic_load(&replica->head->header.all.internal_ends);
        const enum ramet_rc rc =
            ramet_lock(session, RAMET_LOCK_WRITE, RAMET_LOCK_EXCLUSIVE, 0,
                       "another writer is at work", err);
        uint64_t now;

        if (rc != RAMET_EBUSY || !was_internal(session, ends))
            return rc;
        now = os->mono_ns(os->ctx);
        if (give_up_at == 0)
            give_up_at = now + INTERNAL_MS * UINT64_C(1000000);
        if (now >= give_up_at)
            return rc;
        os->sleep_us(os->ctx, pause_us);
        if (pause_us < POLL_MAX_US)
            pause_us *= 2;
    }
}

enum ramet_rc
ramet_base_lock(struct ramet_session *session, uint64_t wait_ms,
                struct ramet_err *err)
{
    struct ramet_replica *const replica = session->replica;
    enum ramet_rc rc;

    assert(!replica->is_readonly && !ramet_holds(session, RAMET_LOCK_BASE));
    ramet_mutex_lock(&replica->base_mutex);
    rc = ramet_lock(session, RAMET_LOCK_BASE, RAMET_LOCK_EXCLUSIVE, wait_ms,
                    "the base is being written by another process", err);
    if (rc != RAMET_OK)
        ramet_mutex_unlock(&replica->base_mutex);
    return rc;
}

void
ramet_base_unlock(struct ramet_session *session)
{
    struct ramet_replica *const replica = session->replica;

    assert(ramet_holds(session, RAMET_LOCK_BASE));
    ramet_unlock(session, RAMET_LOCK_BASE);
    ramet_mutex_unlock(&replica->base_mutex);
}

enum ramet_rc
ramet_session_lock_push(struct ramet_session *session, struct ramet_err *err)
{
    enum ramet_rc rc = ramet_session_check_fork(session, err);

    if (rc != RAMET_OK || ramet_holds(session, RAMET_LOCK_PUSH))
        return rc;
    if (session->replica->is_readonly)
        return RAMET_FAIL(err, RAMET_EREADONLY, "%s can't be written",
                          session->replica->path);
    return ramet_lock(session, RAMET_LOCK_PUSH, RAMET_LOCK_EXCLUSIVE, 0,
                      "another session pushes", err);
}

void
ramet_session_unlock_push(struct ramet_session *session)
{
    if (!ramet_holds(session, RAMET_LOCK_PUSH) ||
        ramet_session_is_parents(session))
        return;
    ramet_unlock(session, RAMET_LOCK_PUSH);
}

enum ramet_rc
ramet_session_lock_write(struct ramet_session *session, struct ramet_err *err)
{
    const enum ramet_rc rc = ramet_session_check_fork(session, err);

    assert(!session->is_reserved);
    if (rc != RAMET_OK)
        return rc;
    return ramet_write_lock_internally(session, 0, err);
}

void
ramet_session_unlock_write(struct ramet_session *session)
{
    assert(!session->is_reserved);
    ramet_write_unlock(session);
}
