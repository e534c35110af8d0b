/*
 * checkpoint.h - what checkpoint.c and fill.c share.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_CHECKPOINT_H
#define RAMET_CLIENT_STORE_UPKEEP_CHECKPOINT_H

#include "client/store/shared/session.h"

RAMET_NODISCARD enum ramet_rc
ramet_checkpoint_run(struct ramet_session *session, bool all,
                     struct ramet_err *err);
/* As a committer does when the log has grown long; errors are for later. */
void ramet_checkpoint_inline(struct ramet_session *session);
/* ... when much was fetched: with the pull that it belongs to, by closing the
 * generation of that. */
void ramet_checkpoint_fills(struct ramet_session *session);
/* Only make the next generation's file, if it is not there. */
void ramet_checkpoint_make_ahead(struct ramet_session *session);

#endif
