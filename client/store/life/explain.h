/*
 * explain.h - why what is there can't be opened, in words that name the way out.
 *
 * Layer: client, store/life.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_EXPLAIN_H
#define RAMET_CLIENT_STORE_LIFE_EXPLAIN_H

#include "client/store/shared/session.h"

/* RAMET_ENOTFOUND: nothing is there, or (`is_file`) a plain file. */
enum ramet_rc
ramet_fail_no_replica(const char *path, bool is_file, struct ramet_err *err);
/* The base can't be opened: gone from a replica, or not permitted. */
enum ramet_rc ramet_fail_base(const struct ramet_replica *replica, int errnum,
                              struct ramet_err *err);
/* The state file; where it is damaged, the text says what is left to do. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_read_state(const struct ramet_replica *replica,
                         struct ramet_state_file *out_state,
                         struct ramet_err *err);

/* Nobody else has it open, and nobody comes: takes open and live. A failure may
 * leave open held; the close of the session gives up live. */
RAMET_NODISCARD enum ramet_rc
ramet_session_be_alone(struct ramet_session *session, struct ramet_err *err);

#endif
