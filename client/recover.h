/*
 * recover.h - bringing a replica to order, or into being; for open.c.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_RECOVER_H
#define RAMET_CLIENT_RECOVER_H

#include "client/base_check.h"

struct ramet_replica_place;

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

/* Make the base of a replica of which no page is here: the mark, and the length
 * that `state` has. Alone, under the open byte. */
RAMET_NODISCARD enum ramet_rc
ramet_make_absent_base(struct ramet_replica *replica,
                       const struct ramet_state_file *state,
                       struct ramet_err *err);

/* ---- the end -------------------------------------------------------------- */

/* In the directory of a replica that is being removed. */
#define RAMET_TOMBSTONE "deleted"
/* The folder in it whose files nobody but the user removes. */
#define RAMET_LOST "lost"

/* Remove file and directory, but for what is in lost/. The open byte is held;
 * others may have it open, and what they have open goes on until they close it. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_remove(struct ramet_replica_place *place, struct ramet_err *err);
/* A directory was just made or entered: bring into its lost/ what a crash left
 * beside it (orphan.c). */
RAMET_NODISCARD enum ramet_rc
ramet_orphan_finish(const struct ramet_replica_place *place,
                    struct ramet_err *err);

#endif
