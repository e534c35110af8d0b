/*
 * intent.h - the kept bytes of a commit that may have been sent.
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_INTENT_H
#define RAMET_CLIENT_SYNC_INTENT_H

#include "client/sync/sync.h"

/* Send the kept object (again), and tell the replica what became of it. */
RAMET_NODISCARD enum ramet_rc
ramet_intent_send(struct ramet_sync *sync, const uint8_t *object, size_t len,
                  struct ramet_err *err);
/* What was sent of an intent and is not resolved yet: finish it. Needs the
 * push lock and a connection. No intent: nothing. */
RAMET_NODISCARD enum ramet_rc
ramet_intent_resolve(struct ramet_sync *sync, struct ramet_err *err);

#endif
