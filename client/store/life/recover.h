/*
 * recover.h - bringing a replica to order, or into being; for open.c.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_RECOVER_H
#define RAMET_CLIENT_STORE_LIFE_RECOVER_H

#include "client/store/shared/session.h"

/* Bring a replica to order whose only session this is; state is read. Lenient:
 * see ramet_base_compare(). */
RAMET_NODISCARD enum ramet_rc
ramet_recover(struct ramet_session *session, struct ramet_state_file *state,
              bool is_lenient, struct ramet_err *err);

#endif
