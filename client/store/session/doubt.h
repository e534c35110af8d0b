/*
 * doubt.h - commits that count once the remote has them.
 *
 * Layer: client, store/session.
 */
#ifndef RAMET_CLIENT_STORE_SESSION_DOUBT_H
#define RAMET_CLIENT_STORE_SESSION_DOUBT_H

#include "client/store/shared/session.h"

/* RAMET_ESNAPSHOT while a record is in doubt: nothing may follow it. Needs the
 * write lock, and that the log is recovered. */
RAMET_NODISCARD enum ramet_rc
ramet_doubt_check(const struct ramet_replica *replica, struct ramet_err *err);

#endif
