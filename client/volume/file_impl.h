/*
 * file_impl.h - what file*.c share of struct ramet_file.
 *
 *   (1) either `session` and `replica_sync`, or `stateless`
 *   (2) all of it belongs to the thread that uses the file
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_VOLUME_FILE_IMPL_H
#define RAMET_CLIENT_VOLUME_FILE_IMPL_H

#include "client/remote/token.h"
#include "client/remote/warm.h"
#include "client/store/exchange.h"
#include "client/sync/background.h"
#include "client/sync/durable.h"
#include "client/sync/replica_sync.h"
#include "client/sync/sync.h"
#include "client/volume/file.h"
#include "client/volume/stateless.h"

struct ramet_file {
    struct ramet_session *session; /* NULL: a stateless reader; invariant (1) */
    struct ramet_replica_sync *replica_sync;  /* NULL: a stateless reader */
    struct ramet_stateless_reader *stateless; /* NULL: a replica */
    struct ramet_warm *warm;                  /* NULL: it names no profile */
    const struct ramet_os *os;
    unsigned fork_count;
    char *path; /* absolute */
    unsigned flags;
    enum ramet_sync_mode sync; /* never RAMET_SYNC_DEFAULT */
    uint64_t close_wait_ms;
    uint64_t commit_timeout_ms;
    uint64_t fetch_timeout_ms;
    bool bounds_age; /* of what a read is answered with: */
    uint64_t max_stale_ms;
    bool pushes; /* counted by the replica_sync's background thread */
    bool wrote;  /* since it was pinned */
    const struct ramet_waiter *patience; /* NULL: by time */
    ramet_progress_fn *progress;
    void *progress_ctx;
    struct ramet_replica_state state; /* of `session`, for status */
    struct ramet_durable durable;     /* sync=commit */
};

/* Invariant (1): not while it is opened, nor while it is closed. */
static inline bool
ramet_file_is_whole(const struct ramet_file *file)
{
    return (file->session != NULL) == (file->stateless == NULL) &&
           (file->session != NULL) == (file->replica_sync != NULL);
}

/* How long a verb waits for what another process holds. */
#define RAMET_VERB_WAIT_MS 10000u

RAMET_NODISCARD enum ramet_rc
ramet_file_check_fork(const struct ramet_file *file, struct ramet_err *err);
/* The file as a replica that may be synced just now, else why not. */
RAMET_NODISCARD enum ramet_rc
ramet_file_check_verb(struct ramet_file *file, const char *verb,
                      struct ramet_err *err);
/* Pin a snapshot that lacks nothing that was in the remote `file->max_stale_ms` ago:
 * waits for it as long as for a page. RAMET_ETIMEOUT, with nothing pinned. For
 * ramet_file_pin(). */
RAMET_NODISCARD enum ramet_rc
ramet_file_pin_fresh(struct ramet_file *file, struct ramet_err *err);
/* How long ago (ms) the file was certainly not behind; UINT64_MAX: never. */
uint64_t
ramet_file_age_ms(struct ramet_file *file, const struct ramet_point *at);
/* The client for a URL, with the token that is for it: client/token.h. */
RAMET_NODISCARD enum ramet_rc
ramet_file_open_client(const struct ramet_file_options *options,
                       const struct ramet_url *url, enum ramet_naming naming,
                       struct ramet_remote_client **out_client,
                       struct ramet_err *err);
/* What the file at `path` is, by its first bytes; blobs get a page size that
 * fits their length. Left alone where the options say it, or where there is
 * not a regular file. */
void ramet_file_guess_kind(const struct ramet_os *os, const char *path,
                           struct ramet_replica_options *options);
/* The volume that the client's URL names, and its newest commit.
 * RAMET_ENOTFOUND: no volume, or no commit in it. */
RAMET_NODISCARD enum ramet_rc
ramet_file_find_newest(struct ramet_remote_client *client,
                       struct ramet_vid *out_volume,
                       struct ramet_head *out_head, struct ramet_err *err);
/* A lazy replica at `path` of the volume as found. */
RAMET_NODISCARD enum ramet_rc
ramet_file_clone_lazily(const char *path, struct ramet_remote_client *client,
                        const struct ramet_vid *volume,
                        const struct ramet_head *head,
                        const struct ramet_replica_options *options,
                        struct ramet_err *err);

#endif
