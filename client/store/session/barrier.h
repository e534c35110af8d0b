/*
 * barrier.h - the reader barrier.
 *
 * Layer: client, store/session.
 */
#ifndef RAMET_CLIENT_STORE_SESSION_BARRIER_H
#define RAMET_CLIENT_STORE_SESSION_BARRIER_H

#include "client/store/shared/session.h"

/* RAMET_EBUSY while a live session but this one holds the reader barrier. */
RAMET_NODISCARD enum ramet_rc
ramet_barrier_check(struct ramet_session *session, struct ramet_err *err);
/* Of a writer without a slot: `holder`, not pinned, raises the barrier for it. */
RAMET_NODISCARD enum ramet_rc
ramet_wait_alone_as(struct ramet_session *writer, struct ramet_session *holder,
                    struct ramet_err *err);
/* Raise the reader barrier and wait until no other session is pinned; RAMET_ESNAPSHOT
 * after ten seconds. */
RAMET_NODISCARD enum ramet_rc
ramet_wait_alone(struct ramet_session *session, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_wait_alone(struct ramet_session *session, struct ramet_err *err);

#endif
