/*
 * locks.h - the byte-range locks of docs/replica.md, "Locks".
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_LOCKS_H
#define RAMET_CLIENT_STORE_SHARED_LOCKS_H

#include <assert.h>
#include <stdatomic.h>

#include "client/store/shared/replica.h"
#include "client/store/shared/session.h"

enum ramet_lock_byte {
    RAMET_LOCK_OPEN = 0,
    RAMET_LOCK_LIVE = 1,
    RAMET_LOCK_WRITE = 2,
    RAMET_LOCK_BASE = 3,
    RAMET_LOCK_PUSH = 4,
    RAMET_LOCK_CHECKPOINT = 5,
    RAMET_LOCK_UNPINNED = 6,
    RAMET_LOCK_MARK = 7,
    RAMET_LOCK_INTERNAL = 8,
    RAMET_LOCK_SLOTS = 64,
};

#define RAMET_LOCK_WAIT_MS 10000u

/*
 * A session's locks: which it has is a mask in the session and one in the
 * replica, that this file's functions alone set, and that assertions ask. Who
 * waits for one holds none that comes after it in the order of all: open < push
 * < write < checkpoint < unpinned < base < mark.
 *
 * RAMET_EBUSY where it is held still when `wait_ms` have passed (0: tried once);
 * `what` tells in the text who holds it.
 */
RAMET_NODISCARD enum ramet_rc
ramet_lock(struct ramet_session *session, enum ramet_lock_byte byte,
           enum ramet_lock_mode mode, uint64_t wait_ms, const char *what,
           struct ramet_err *err);
void ramet_unlock(struct ramet_session *session, enum ramet_lock_byte byte);
/* With the session's descriptor all its locks go. */
void ramet_locks_gone(struct ramet_session *session);

/* Has the session the lock, exclusively? */
static inline bool
ramet_holds(const struct ramet_session *session, enum ramet_lock_byte byte)
{
    assert((unsigned)byte < 32); /* a slot's is no bit of the mask */
    return (session->held >> byte & 1u) != 0;
}

/*
 * Has any session of this process it, exclusively? For assertions in functions
 * that know no session. It is not exact: another thread's session may be the
 * holder, and a session (so its locks) may go from thread to thread, so no thread
 * can be asked. What it finds is whoever comes without the lock while nobody in
 * this process has it; the tests' many processes and single-threaded runs are
 * where that shows. Nothing but an assertion and a hint may go by it.
 */
static inline bool
ramet_is_held(const struct ramet_replica *replica, enum ramet_lock_byte byte)
{
    assert((unsigned)byte < 32);
    return (atomic_load_explicit(&replica->held, memory_order_relaxed) >> byte &
            1u) != 0;
}

/* Does nobody else have it open: it is being opened by the first, or closed by
 * the last? */
static inline bool
ramet_is_alone(const struct ramet_replica *replica)
{
    return ramet_is_held(replica, RAMET_LOCK_LIVE) || !replica->is_ready;
}

/* May presence and base be read, or written? Under an index of its own none of its
 * process is shut out, and others by the unpinned readers' lock; and whoever has
 * the mark lock over a base without a mark shuts all out who would write. */
static inline bool
ramet_may_read_base(const struct ramet_replica *replica)
{
    return replica->has_own_index || ramet_is_held(replica, RAMET_LOCK_BASE) ||
           ramet_is_held(replica, RAMET_LOCK_MARK) || ramet_is_alone(replica);
}

static inline bool
ramet_may_write_base(const struct ramet_replica *replica)
{
    return !replica->is_readonly &&
           (ramet_is_held(replica, RAMET_LOCK_BASE) || ramet_is_alone(replica));
}

/* May snapshots be published? */
static inline bool
ramet_may_publish(const struct ramet_replica *replica)
{
    return replica->has_own_index || ramet_is_held(replica, RAMET_LOCK_WRITE) ||
           ramet_is_alone(replica);
}

/*
 * The same bytes by whoever has no session: what is opened, made or removed.
 * Try once: RAMET_EBUSY if it is held; `what` names the holder in the text.
 */
RAMET_NODISCARD enum ramet_rc
ramet_lock_try(const struct ramet_os *os, int fd, unsigned byte,
               enum ramet_lock_mode mode, const char *what,
               struct ramet_err *err);
/* Poll until `wait_ms` have passed, then RAMET_EBUSY. */
RAMET_NODISCARD enum ramet_rc
ramet_lock_wait(const struct ramet_os *os, int fd, unsigned byte,
                enum ramet_lock_mode mode, uint64_t wait_ms, const char *what,
                struct ramet_err *err);
void ramet_lock_drop(const struct ramet_os *os, int fd, unsigned byte);
/* The write lock for a moment, for what is no transaction of a user's: who
 * wants to begin one waits for it instead of failing. */
RAMET_NODISCARD enum ramet_rc
ramet_write_lock_internally(struct ramet_session *session, uint64_t wait_ms,
                            struct ramet_err *err);
/* The write lock for a transaction: RAMET_EBUSY at once, but for the above. */
RAMET_NODISCARD enum ramet_rc
ramet_write_lock(struct ramet_session *session, struct ramet_err *err);
/* Had by either. */
void ramet_write_unlock(struct ramet_session *session);
/* The base lock, among threads and processes. */
RAMET_NODISCARD enum ramet_rc
ramet_base_lock(struct ramet_session *session, uint64_t wait_ms,
                struct ramet_err *err);
void ramet_base_unlock(struct ramet_session *session);

#endif
