/*
 * replicas.h - replicas as files and directories: made, taken over, found, set
 * aside, removed.
 *
 * Layer: client, a door of store/.
 */
#ifndef RAMET_CLIENT_STORE_REPLICAS_H
#define RAMET_CLIENT_STORE_REPLICAS_H

#include "client/store/store.h"

/* Is `path` (or what is left of it after a crash) a replica? Cheap. */
bool ramet_replica_exists(const struct ramet_os *os, const char *path);
/* ... at a path that is as path.h has it. */
bool ramet_replica_exists_at(const struct ramet_os *os, const char *resolved);
/* Of a replica that can't be opened as it is; 0 if that is not known. */
enum ramet_volume_kind
ramet_replica_kind(const struct ramet_os *os, const char *path);
/* Is there the directory, and not the file? Somebody deleted it. */
bool ramet_replica_is_orphan(const struct ramet_os *os, const char *path);
/* Make a replica at `out_path`, where nothing is, of what was set aside as
 * FILE-ramet/lost/`name`; that stays. RAMET_ENOTFOUND also where pages of what
 * was not pushed are gone for good. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_rescue(const struct ramet_os *os, const char *path,
                     const char *name, const char *out_path,
                     struct ramet_err *err);
/* Clear the way for a new file: what holds commits that the remote does not have
 * is set aside in FILE-ramet/lost/, all else goes. Nothing to do is fine. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_clear_orphan(const struct ramet_os *os, const char *path,
                           struct ramet_err *err);
/* Is the file at `path` what a clone that was cut off left: nothing of worth,
 * and taken away by the next clone? */
bool ramet_replica_is_leftover(const struct ramet_os *os, const char *path);
/* What a replica was when it became a plain file. */
struct ramet_detached {
    char remote[RAMET_URL_MAX]; /* "": it had none */
    uint64_t unpushed_commits;  /* ... to it; they are in the file */
    bool has_lost;              /* <file>-ramet/lost/ stays */
};
/*
 * Leave the remote: the file stays as it is, plain, and what lies beside it
 * goes, but for lost/. After a crash in the midst it is one or the other.
 * RAMET_EBUSY: somebody has it open, or pages are absent; RAMET_EUNKNOWN: a
 * commit is in doubt; else as ramet_session_open(). Nothing has changed then.
 */
RAMET_NODISCARD enum ramet_rc
ramet_replica_detach(const struct ramet_os *os, const char *path,
                     struct ramet_detached *out, struct ramet_err *err);
/* Delete all of it: tombstone, base, directory. An open after a crash in the
 * midst finishes it. RAMET_OK if there is nothing. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_delete(const struct ramet_os *os, const char *path,
                     struct ramet_err *err);
/* A new, empty-handed replica of a remote volume at `point`: every page
 * absent. `path` must not exist. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_create_clone(const char *path,
                           const struct ramet_replica_options *options,
                           const char *remote, const struct ramet_vid *volume,
                           const struct ramet_remote_point *point,
                           const uint8_t *page1, struct ramet_err *err);
/* Did the file that a session opened vanish or get replaced (HAS_MOVED)? */
bool ramet_session_has_moved(struct ramet_session *session);

#endif
