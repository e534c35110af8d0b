/*
 * clean_close.h - the last close of a whole replica.
 *
 * Layer: client, store/upkeep.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_CLEAN_CLOSE_H
#define RAMET_CLIENT_STORE_UPKEEP_CLEAN_CLOSE_H

#include "client/store/shared/session.h"

RAMET_NODISCARD enum ramet_rc
ramet_clean_close(struct ramet_session *session, struct ramet_err *err);

#endif
