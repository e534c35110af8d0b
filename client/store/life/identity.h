/*
 * identity.h - what tells a replica from others.
 *
 * Layer: client, store/life.
 */
#ifndef RAMET_CLIENT_STORE_LIFE_IDENTITY_H
#define RAMET_CLIENT_STORE_LIFE_IDENTITY_H

#include "client/store/shared/session.h"

/* Does a file of this size begin as a SQLite database does? */
bool ramet_is_database(const uint8_t *header, uint64_t size,
                       uint32_t *out_page_size);
/* What the plain file is, and that all its pages pend, into `state`. */
RAMET_NODISCARD enum ramet_rc
ramet_state_describe_file(const struct ramet_replica_options *options,
                          const struct ramet_os_stat *st, const uint8_t *header,
                          struct ramet_state_file *state,
                          struct ramet_err *err);
/* RAMET_EBUSY if a program that knows nothing of us works in the file;
 * RAMET_EFOREIGN if one died at it and SQLite has yet to finish its work. */
RAMET_NODISCARD enum ramet_rc
ramet_base_look_for_users(struct ramet_replica *replica, int fd,
                          struct ramet_err *err);
/* What tells this machine from a copy of it; 0 if nothing does. */
uint64_t ramet_host_hash(const struct ramet_os *os);
/* Who the replica is on this disk, into `state`. */
RAMET_NODISCARD enum ramet_rc
ramet_state_stamp_place(struct ramet_replica *replica,
                        struct ramet_state_file *state, struct ramet_err *err);

#endif
