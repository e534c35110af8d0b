/*
 * durable_resolve.h - ending what a commit with sync=commit left in doubt.
 *
 * Layer: client, sync.
 */
#ifndef RAMET_CLIENT_SYNC_DURABLE_RESOLVE_H
#define RAMET_CLIENT_SYNC_DURABLE_RESOLVE_H

#include "client/store/exchange.h"
#include "client/sync/sync.h"

/* Is there nothing in doubt, and nothing kept that nobody is at committing? One
 * small read. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_is_resolved(const struct ramet_replica_sync *replica_sync,
                          struct ramet_session *session,
                          const struct ramet_replica_state *state,
                          bool *out_resolved, struct ramet_err *err);
/* For push and pull: end what is in doubt, fence what was kept and rolled back.
 * Needs the push lock, a history, and no intent. Afterwards there may be one, or
 * another doubt: of somebody who committed meanwhile. RAMET_EBUSY: somebody is
 * committing. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_resolve(struct ramet_sync *sync, struct ramet_err *err);
/* For reset: make void what is in doubt. Needs the push lock. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_give_up(struct ramet_sync *sync, struct ramet_err *err);
/* A transaction of another mode wants to begin: what is in doubt is made void,
 * if there is anything, and the next push fences it. Nothing is sent. `session`
 * may be pinned, and holds no lock. RAMET_EBUSY: somebody is asking the remote
 * about it. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_take_back(struct ramet_session *session, struct ramet_err *err);

#endif
