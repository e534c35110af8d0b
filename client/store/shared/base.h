/*
 * base.h - the plain file that a replica stands on: its mark, and writing to it.
 * Whether it is still ours is base_check.h's.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_STORE_SHARED_BASE_H
#define RAMET_CLIENT_STORE_SHARED_BASE_H

#include "client/store/format/frames.h"
#include "client/store/shared/session.h"

/* Of SQLite's locks on a database file (os.h of SQLite). */
#define RAMET_PENDING_BYTE UINT64_C(0x40000000)

void ramet_base_mark(const struct ramet_id *base_id, uint32_t token,
                     uint8_t out[RAMET_TRUE_HEADER_SIZE]);
/* Is it this replica's mark, and with which token? */
bool ramet_base_mark_parse(const uint8_t first[RAMET_TRUE_HEADER_SIZE],
                           const struct ramet_id *base_id, uint32_t *out_token);
RAMET_NODISCARD enum ramet_rc
ramet_mark_token_new(const struct ramet_os *os, uint32_t *out_token,
                     struct ramet_err *err);
/* The mark of some replica, whichever. */
bool ramet_base_is_any_mark(const uint8_t first[RAMET_TRUE_HEADER_SIZE]);
/* This replica's mark, or what is left of one of which bits rotted or bytes were
 * written over: at least half of it is there. */
bool ramet_base_is_spoilt_mark(const uint8_t first[RAMET_TRUE_HEADER_SIZE],
                               const struct ramet_id *base_id);
/* Which of the files that native SQLite keeps beside a database has a
 * transaction in it that is not finished; NULL: none. */
RAMET_NODISCARD enum ramet_rc
ramet_base_leftover(struct ramet_replica *replica, const char **out_suffix,
                    struct ramet_err *err);
/* Its bytes and its length; and what else its inode says, where checksums can't
 * tell whose it is. */
RAMET_NODISCARD enum ramet_rc
ramet_base_datasync(const struct ramet_replica *replica, struct ramet_err *err);
/* ... always with what its inode says. */
RAMET_NODISCARD enum ramet_rc
ramet_base_sync(const struct ramet_replica *replica, struct ramet_err *err);
/* Nobody is at the base now: what its inode says is what it should. */
void ramet_base_rest(struct ramet_replica *replica);
/* ... as it was seen just now. */
void ramet_base_rest_as(struct ramet_replica *replica,
                        const struct ramet_os_stat *st);
/* Whole pages, neighbours; leaves the first 100 bytes of the file alone. */
RAMET_NODISCARD enum ramet_rc
ramet_base_write(struct ramet_replica *replica, uint32_t page_size,
                 uint32_t first, uint32_t count, const uint8_t *pages,
                 struct ramet_err *err);
/* Zeros instead of a page, as a hole where the system can. */
RAMET_NODISCARD enum ramet_rc
ramet_base_punch(struct ramet_replica *replica, uint32_t page_size,
                 uint32_t pgno, struct ramet_err *err);
void ramet_base_header_get(struct ramet_replica *replica,
                           uint8_t out[RAMET_TRUE_HEADER_SIZE]);
void ramet_base_header_set(struct ramet_replica *replica,
                           const uint8_t in[RAMET_TRUE_HEADER_SIZE]);
/* A whole page, past the end zeros, page 1 with its true header. */
RAMET_NODISCARD enum ramet_rc
ramet_base_read(struct ramet_replica *replica, uint32_t page_size,
                uint32_t pgno, uint8_t *out, struct ramet_err *err);
/* All that the next checkpoint writes is written, but the state: what the inode
 * says, and which token the mark has, goes into it. */
RAMET_NODISCARD enum ramet_rc
ramet_base_leave(struct ramet_replica *replica, struct ramet_state_file *state,
                 struct ramet_err *err);

#endif
