/*
 * recover.h - bringing a replica to order, or into being; for open.c.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_RECOVER_H
#define RAMET_CLIENT_RECOVER_H

#include "client/base_check.h"

/* No state file: make a replica of what is there, if the options say so. Fills
 * `state`, which is on disk then. Alone, under the open byte. */
RAMET_NODISCARD enum ramet_rc
ramet_make_replica(struct ramet_replica *replica,
                   const struct ramet_replica_options *options,
                   struct ramet_state_file *state, struct ramet_err *err);
/* Does a file of this size begin as a SQLite database does? */
bool ramet_is_database(const uint8_t *header, uint64_t size,
                       uint32_t *out_page_size);
/* What the plain file is, and that all its pages pend, into `state`. */
RAMET_NODISCARD enum ramet_rc
ramet_state_describe_file(const struct ramet_replica_options *options,
                          const struct ramet_stat *st, const uint8_t *header,
                          struct ramet_state_file *state,
                          struct ramet_err *err);
/* RAMET_EBUSY if a program that knows nothing of us works in the file;
 * RAMET_EFOREIGN if one died at it and SQLite has yet to finish its work. */
RAMET_NODISCARD enum ramet_rc
ramet_base_look_for_users(struct ramet_replica *replica, int fd,
                          struct ramet_err *err);
/* Take ids and defaults from the state. */
void ramet_replica_adopt_state(struct ramet_replica *replica,
                               const struct ramet_state_file *state);
/* What tells this machine from a copy of it; 0 if nothing does. */
uint64_t ramet_host_hash(const struct ramet_os *os);
/* Who the replica is on this disk, into `state`. */
RAMET_NODISCARD enum ramet_rc
ramet_state_stamp_place(struct ramet_replica *replica,
                        struct ramet_state_file *state, struct ramet_err *err);
/* Fill the fresh index's header from the state. */
void ramet_index_begin(struct ramet_replica *replica,
                       const struct ramet_state_file *state);
/* Read the log from where the state ends into the index. */
RAMET_NODISCARD enum ramet_rc
ramet_recover_log(struct ramet_session *session, bool may_write,
                  struct ramet_err *err);

/* A session on a directory that can't be written. */
RAMET_NODISCARD enum ramet_rc
ramet_private_open(struct ramet_session *session, struct ramet_err *err);

#endif
