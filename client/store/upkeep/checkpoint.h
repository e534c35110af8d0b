/*
 * checkpoint.h - what checkpoint.c and fetched.c share.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_CHECKPOINT_H
#define RAMET_CLIENT_STORE_UPKEEP_CHECKPOINT_H

#include "client/store/shared/session.h"

/* Waits so long for another checkpointer; without one, at most for disks. */
RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_run(struct ramet_session *session, bool all, uint64_t wait_ms,
                     struct ramet_err *err);

#endif
