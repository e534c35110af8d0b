/*
 * make.h - making replicas.
 *
 * Layer: client, store/life.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_MAKE_H
#define RAMET_CLIENT_STORE_LIFE_MAKE_H

#include "client/store/shared/session.h"

/* No state file: make a replica of what is there, if the options say so. Fills
 * `state`, which is on disk then. Alone, under the open byte. */
RAMET_NODISCARD enum ramet_rc
ramet_make_replica(struct ramet_replica *replica,
                   const struct ramet_replica_options *options,
                   struct ramet_state_file *state, struct ramet_err *err);
/* Make the base of a replica of which no page is here: the mark, and the length
 * that `state` has. Alone, under the open byte. */
RAMET_NODISCARD enum ramet_rc
ramet_make_absent_base(struct ramet_replica *replica,
                       const struct ramet_state_file *state,
                       struct ramet_err *err);
/* Base, directory and lock file have names that last, before the state makes a
 * replica of them. */
RAMET_NODISCARD enum ramet_rc
ramet_make_names_last(struct ramet_replica *replica, struct ramet_err *err);

#endif
