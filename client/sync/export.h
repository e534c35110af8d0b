/*
 * export.h - a snapshot as a plain file, whole or not at all.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_EXPORT_H
#define RAMET_CLIENT_SYNC_EXPORT_H

#include "client/sync/sync.h"
#include "core/rights.h"

/* Reads `len` bytes at `offset`, which lie within the length. */
typedef enum ramet_rc ramet_export_read(void *ctx, uint64_t offset, void *buf,
                                        size_t len, struct ramet_err *err);

/*
 * Write `byte_length` bytes to `path` (relative to `dirfd`), `at_once` of them at a
 * time, a multiple of 4096: a temporary file
 * beside it, synced, renamed over it, the directory synced. Zeros become
 * holes. It gets `rights`; NULL: that of the file which it replaces, and where
 * it replaces none, as the umask has it. On failure what stood there still
 * does; but where the directory alone can't be synced, and something stood there,
 * the new file does, whole.
 */
RAMET_NODISCARD enum ramet_rc
ramet_export_write(const struct ramet_os *os, int dirfd, const char *path,
                   const struct ramet_rights *rights, uint64_t byte_length,
                   size_t at_once, ramet_export_read *read, void *ctx,
                   struct ramet_err *err);
/* What is read at once (bytes) where nothing speaks for more. */
#define RAMET_EXPORT_AT_ONCE (256u << 10)

/* The snapshot that the run's state is of into <file>-ramet/lost/, under a name
 * that is not taken: *out_path (ramet_free). RAMET_ESNAPSHOT: it is not the
 * newest any more. */
RAMET_NODISCARD enum ramet_rc
ramet_export_lost(struct ramet_sync *sync, char **out_path,
                  struct ramet_err *err);
/* Remove one of those: it was not given up after all. */
void ramet_export_forget_lost(struct ramet_sync *sync, const char *path);

#endif
