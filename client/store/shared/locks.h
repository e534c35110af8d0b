/*
 * locks.h - the byte-range locks of docs/replica.md, "Locks".
 *
 * Layer: client, store/shared.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_LOCKS_H
#define RAMET_CLIENT_STORE_SHARED_LOCKS_H

#include "client/store/shared/session.h"

enum ramet_lock_byte {
    RAMET_LOCK_OPEN = 0,
    RAMET_LOCK_LIVE = 1,
    RAMET_LOCK_WRITE = 2,
    RAMET_LOCK_BASE = 3,
    RAMET_LOCK_PUSH = 4,
    RAMET_LOCK_CHECKPOINT = 5,
    RAMET_LOCK_UNLISTED = 6,
    RAMET_LOCK_MARK = 7,
    RAMET_LOCK_SLOTS = 64,
};

#define RAMET_LOCK_WAIT_MS 10000u

/* Try once: RAMET_EBUSY if it is held; `what` names the holder in the text. */
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
ramet_write_lock_briefly(struct ramet_session *session, uint64_t wait_ms,
                         struct ramet_err *err);
void ramet_write_unlock_briefly(struct ramet_session *session);
/* The write lock for a transaction: RAMET_EBUSY at once, but for the above. */
RAMET_NODISCARD enum ramet_rc
ramet_write_lock(struct ramet_session *session, struct ramet_err *err);
/* The base lock, among threads and processes. */
RAMET_NODISCARD enum ramet_rc
ramet_base_lock(struct ramet_session *session, uint64_t wait_ms,
                struct ramet_err *err);
void ramet_base_unlock(struct ramet_session *session);

#endif
