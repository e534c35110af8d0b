/*
 * fold.h - the state of a replica as all records make it.
 *
 * Layer: client, store/log.
 */
#ifndef RAMET_CLIENT_STORE_LOG_FOLD_H
#define RAMET_CLIENT_STORE_LOG_FOLD_H

#include "client/store/exchange.h"

struct ramet_replica;

/* As ramet_session_state(), for who is alone and has just read `fold` from the
 * file: *state gets it, if no record came after it; else false. */
bool ramet_fold_take(const struct ramet_replica *replica,
                     struct ramet_replica_state *fold,
                     struct ramet_replica_state *state);

#endif
