/*
 * pin.h - pinning a snapshot.
 *
 * Layer: client, store/session.
 */
#ifndef RAMET_CLIENT_STORE_SESSION_PIN_H
#define RAMET_CLIENT_STORE_SESSION_PIN_H

#include "client/store/shared/session.h"

/* Pin moves to the newest snapshot. */
void ramet_session_move_pin(struct ramet_session *session);

#endif
