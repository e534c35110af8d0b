/*
 * file_wait.h - reading what was written elsewhere: tokens of commits, waiting for
 * them, and how old an answer may be.
 *
 *   (1) A token names a commit for good: volume, LSN and hash. Where another commit has
 *       that LSN, whoever waits for it is told so.
 *   (2) A read that may be no older than some time is answered from a snapshot in
 *       which nothing was lacking at a moment no longer ago, by a clock that sleep
 *       does not stop; or not at all.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_VOLUME_FILE_WAIT_H
#define RAMET_CLIENT_VOLUME_FILE_WAIT_H

#include "client/volume/file.h"

/* "<volume>:<LSN>:<hash>" */
#define RAMET_COMMIT_TOKEN_SIZE 100u
#define RAMET_WAIT_DEFAULT_MS 10000u

/*
 * Push what was committed here so far, and say where it is then. Blocks, for
 * `timeout_ms` at most: RAMET_ETIMEOUT. Others as ramet_file_push(). *out_token is
 * empty where there is no commit yet.
 */
RAMET_NODISCARD enum ramet_rc
ramet_file_wait_durable(struct ramet_file *file, uint64_t timeout_ms,
                        char out_token[RAMET_COMMIT_TOKEN_SIZE],
                        struct ramet_err *err);
/*
 * Until the file stands on this commit or a later one: a token, or an LSN in decimal.
 * Blocks, for `timeout_ms` at most: RAMET_ETIMEOUT. RAMET_EINVAL: no token, or
 * one of another volume; RAMET_EWENTBACK: invariant (1). Others as
 * ramet_file_pull(); out of reach is waited out.
 */
RAMET_NODISCARD enum ramet_rc
ramet_file_wait(struct ramet_file *file, const char *token, uint64_t timeout_ms,
                uint64_t *out_lsn, struct ramet_err *err);

#endif
