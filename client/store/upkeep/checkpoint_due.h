/*
 * checkpoint_due.h - when there is a checkpoint without anybody asking for one. What
 * fails is tried again at the next occasion, or at the last close.
 *
 * Layer: client, store/upkeep.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_CHECKPOINT_DUE_H
#define RAMET_CLIENT_STORE_UPKEEP_CHECKPOINT_DUE_H

#include "client/store/shared/session.h"

/* Log files: so many closed ones make a checkpoint worth it, and a pin so far back does
 * not hold it up. The latter are fewer, so that there is something to move whoever
 * reads, and for how long. */
#define RAMET_CLOSED_ENOUGH 8u
#define RAMET_OLD_AFTER 6u

/* What can be moved now. */
void ramet_checkpoint_inline(struct ramet_session *session);
/* The same by a committer, with the write lock, if the log has grown long: and if
 * it has grown longer still, it waits for whoever is at it. */
void ramet_checkpoint_keep_up(struct ramet_session *session);
/* ... when much was fetched: with the pull that it belongs to, by closing the
 * log file of that. */
void ramet_checkpoint_fetched(struct ramet_session *session);
/* Only make the next log file, if it is not there. */
void ramet_checkpoint_make_ahead(struct ramet_session *session);

#endif
