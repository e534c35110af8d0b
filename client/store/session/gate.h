/*
 * gate.h - the exclusive gate.
 *
 * Layer: client, store/session.
 */
#ifndef RAMET_CLIENT_STORE_SESSION_GATE_H
#define RAMET_CLIENT_STORE_SESSION_GATE_H

#include "client/store/shared/session.h"

/* RAMET_EBUSY while a live session but this one holds the exclusive gate. */
RAMET_NODISCARD enum ramet_rc
ramet_gate_check(struct ramet_session *session, struct ramet_err *err);
/* Of a writer without a slot: `holder`, not pinned, shuts the gate for it. */
RAMET_NODISCARD enum ramet_rc
ramet_wait_alone_as(struct ramet_session *writer, struct ramet_session *holder,
                    struct ramet_err *err);
/* Shut the gate and wait until no other session is pinned; RAMET_ESNAPSHOT
 * after ten seconds. */
RAMET_NODISCARD enum ramet_rc
ramet_wait_alone(struct ramet_session *session, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_wait_alone(struct ramet_session *session, struct ramet_err *err);

#endif
