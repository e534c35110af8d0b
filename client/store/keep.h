/*
 * keep.h - small files in a replica's directory, for what is above the local
 * store: docs/replica.md names them. Each is replaced as a whole. They go by
 * the directory that was opened, wherever that is by now.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_STORE_KEEP_H
#define RAMET_CLIENT_STORE_KEEP_H

#include "client/store/store.h"

struct ramet_rights;

/* Old or new after a crash. */
RAMET_NODISCARD enum ramet_rc
ramet_keep_write(struct ramet_replica *replica, const char *name,
                 const void *data, size_t len, struct ramet_err *err);
/* RAMET_ENOTFOUND: it is not there. */
RAMET_NODISCARD enum ramet_rc
ramet_keep_read(struct ramet_replica *replica, const char *name, size_t max,
                uint8_t **out_data, size_t *out_len, struct ramet_err *err);
/* Its first bytes, `len` at most; none: it is not there. */
RAMET_NODISCARD enum ramet_rc
ramet_keep_peek(struct ramet_replica *replica, const char *name, void *buf,
                size_t len, size_t *out_got, struct ramet_err *err);
/* Remove it, durably. What fails shows at the next look. */
void ramet_keep_forget(struct ramet_replica *replica, const char *name);
/* Its length; RAMET_ENOTFOUND: it is not there. */
RAMET_NODISCARD enum ramet_rc
ramet_keep_size(struct ramet_replica *replica, const char *name,
                uint64_t *out_size, struct ramet_err *err);
/* Open for reading and writing; `anew`: an empty one, whatever was there. The
 * caller closes it. */
RAMET_NODISCARD enum ramet_rc
ramet_keep_open(struct ramet_replica *replica, const char *name, bool anew,
                int *out_fd, struct ramet_err *err);
/* One in place of another. Not synced. */
RAMET_NODISCARD enum ramet_rc
ramet_keep_rename(struct ramet_replica *replica, const char *from,
                  const char *to, struct ramet_err *err);
/* A folder for files of the user's, made if it is not there, and the access
 * that they get. The caller closes it. */
RAMET_NODISCARD enum ramet_rc
ramet_keep_folder(struct ramet_replica *replica, const char *name, int *out_fd,
                  struct ramet_rights *out_rights, struct ramet_err *err);

#endif
