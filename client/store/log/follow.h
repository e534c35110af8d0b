/*
 * follow.h - reading on in a log that others write.
 *
 * Layer: client, store/log.
 */
#ifndef RAMET_CLIENT_STORE_LOG_FOLLOW_H
#define RAMET_CLIENT_STORE_LOG_FOLLOW_H

#include "client/store/shared/session.h"

/* A session whose index is its process's own reads on in the log. */
RAMET_NODISCARD enum ramet_rc
ramet_readonly_catch_up(struct ramet_session *session, struct ramet_err *err);

#endif
