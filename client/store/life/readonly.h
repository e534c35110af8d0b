/*
 * readonly.h - a replica that can only be read.
 *
 * Layer: client, store/life.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_READONLY_H
#define RAMET_CLIENT_STORE_LIFE_READONLY_H

#include "client/store/shared/session.h"

/* A session on a directory that can't be written. */
RAMET_NODISCARD enum ramet_rc
ramet_readonly_open(struct ramet_session *session, struct ramet_err *err);

#endif
