/*
 * write.h - writing in a transaction.
 *
 * Layer: client, store/session.
 */
#ifndef RAMET_CLIENT_STORE_SESSION_WRITE_H
#define RAMET_CLIENT_STORE_SESSION_WRITE_H

#include "client/store/shared/session.h"

RAMET_NODISCARD enum ramet_rc
ramet_finish_truncate(struct ramet_session *session, struct ramet_err *err);
/* The session holds the write lock: recover, take the newest snapshot as its
 * pin, take the header off the base, begin. */
RAMET_NODISCARD enum ramet_rc
ramet_reserve_locked(struct ramet_session *session, struct ramet_err *err);

#endif
