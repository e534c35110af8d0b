/*
 * clean_base.h - a base that has all of a whole replica becomes a plain file.
 *
 *   (1) `state`, which says that the base is clean, is durable before the true
 *       header goes on: it knows both forms of the header
 *
 * Layer: client, store/upkeep.
 */
#ifndef RAMET_CLIENT_STORE_UPKEEP_CLEAN_BASE_H
#define RAMET_CLIENT_STORE_UPKEEP_CLEAN_BASE_H

#include "client/store/shared/session.h"

struct ramet_state_file;

/* `state`, of which all is in the base, becomes that of a clean one, and the base
 * as long as it has to be. `last_log`: the log's last file, which the next session
 * may write over; 0: there is none. */
RAMET_NODISCARD enum ramet_rc
ramet_clean_describe(struct ramet_session *session,
                     struct ramet_state_file *state, uint64_t last_log,
                     struct ramet_err *err);
/* ... once it is durable, invariant (1). */
RAMET_NODISCARD enum ramet_rc
ramet_clean_put_header_on(struct ramet_replica *replica,
                          const struct ramet_state_file *state,
                          struct ramet_err *err);

#endif
