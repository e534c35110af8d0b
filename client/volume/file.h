/*
 * file.h - an open volume: a replica with its remote, or a stateless reader. What
 * the VFS, the library and the command all open.
 *
 * It chooses between the two by the options and gives them one face:
 *   a replica (client/store/store.h) with background sync,
 *   a *stateless reader*: a read-only snapshot straight from the remote, pages in bounded
 *   memory, nothing on disk (`at=`, `replica=none`).
 *
 * One thread at a time, as a session. Replicas of one process share one
 * remote connection, one fetcher and one background thread (per replica).
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_VOLUME_FILE_H
#define RAMET_CLIENT_VOLUME_FILE_H

#include "client/remote/remote.h"
#include "client/store/store.h"
#include "client/sync/progress.h"
#include "prefetch/prefetch.h"

enum ramet_sync_mode {
    RAMET_SYNC_DEFAULT = 0, /* auto with a remote, else manual */
    RAMET_SYNC_AUTO,        /* push and pull in the background; only pull, and
                               nothing else, where opened for reading only */
    RAMET_SYNC_MANUAL,      /* only when told */
    RAMET_SYNC_COMMIT,      /* prepare() returns when the commit is durable */
};

/* No time in which commits are gathered. */
#define RAMET_PUSH_AT_ONCE UINT64_MAX

/* Zeroed is a valid set of defaults. Strings are copied. */
struct ramet_file_options {
    const struct ramet_os *os;
    unsigned flags;              /* enum ramet_replica_flags */
    enum ramet_volume_kind kind; /* 0: a file that is there tells it itself */
    enum ramet_volume_kind kind_of_new; /* where kind is 0 and there is no
                                           file; 0: SQLite */
    uint32_t page_size;
    const char *remote; /* URL or ramet.conf name; NULL: what RAMET_REMOTE has
                           for the file, else the binding, else none */
    bool binding_first; /* RAMET_REMOTE counts only for what is not bound */
    const char *config; /* ramet.conf; NULL: found by its rules */
    enum ramet_sync_mode sync;
    const char *at;             /* LSN or time: a read-only snapshot */
    bool stateless;             /* replica=none */
    bool hydrate;               /* clone whole */
    bool lazy;                  /* clone lazily what plain programs read, too */
    bool hydrate_auto;          /* bring the rest by itself: sync/rest.h */
    uint64_t hydrate_max_bytes; /* of a volume of so many; 0: 1 GiB */
    uint64_t push_interval_ms;  /* 0: 50; RAMET_PUSH_AT_ONCE */
    uint64_t fetch_timeout_ms;  /* 0: 10,000 */
    uint64_t commit_timeout_ms; /* 0: 10,000 */
    int64_t close_wait_ms;      /* < 0: 2,000 in auto, else 0 */
    uint64_t cache_limit_bytes; /* 0: no limit; stateless readers: 16 MiB */
    bool bounds_age;            /* a read's answer is no older than: */
    uint64_t max_stale_ms;      /* docs/sqlite.md */
    const char *profile;        /* a warm profile's name; NULL: none */
    int64_t bases_limit_bytes;  /* base images kept for deltas; < 0: 64 MiB */
};
void ramet_file_options_init(struct ramet_file_options *options);

struct ramet_file;

/*
 * Open. An absent file with a remote is cloned lazily (the volume must have a
 * commit; if the remote has no such volume and RAMET_OPEN_CREATE is given, it
 * comes into being at the first push). A replica bound elsewhere is
 * RAMET_EEXIST. An unreachable remote does not keep a replica that is here
 * from opening. Errors as ramet_session_open(), ramet_remote_open().
 */
RAMET_NODISCARD enum ramet_rc
ramet_file_open(const char *path, const struct ramet_file_options *options,
                struct ramet_file **out_file, struct ramet_err *err);
/* In auto mode waits up to close_wait_ms for the last commits to be pushed. */
void ramet_file_close(struct ramet_file *file);

/* NULL for a stateless reader. */
struct ramet_session *ramet_file_session(struct ramet_file *file);
bool ramet_file_is_readonly(const struct ramet_file *file);
/* Was it opened before this process was forked? Then all that it can do is be
 * closed, which leaves the parent's alone; whatever else fails with
 * RAMET_EFORKED. */
bool ramet_file_is_parents(const struct ramet_file *file);

/* ---- the transaction interface: as client/store/store.h, for both kinds ------ */
RAMET_NODISCARD enum ramet_rc
ramet_file_pin(struct ramet_file *file, struct ramet_err *err);
void ramet_file_unpin(struct ramet_file *file);
const struct ramet_snapshot *ramet_file_snapshot(struct ramet_file *file);
RAMET_NODISCARD enum ramet_rc
ramet_file_read(struct ramet_file *file, uint64_t offset, void *buf, size_t len,
                size_t *out_got, struct ramet_err *err);
uint64_t ramet_file_size(struct ramet_file *file);
RAMET_NODISCARD enum ramet_rc
ramet_file_reserve(struct ramet_file *file, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_file_write(struct ramet_file *file, uint64_t offset, const void *buf,
                 size_t len, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_file_truncate(struct ramet_file *file, uint64_t byte_length,
                    struct ramet_err *err);
/*
 * As ramet_session_prepare(); with sync=commit also makes the commit durable
 * in the remote: RAMET_ECONFLICT / RAMET_ESNAPSHOT: somebody was first, it is
 * rolled back. RAMET_EUNKNOWN: no answer in commit_timeout_ms, rolled back
 * here, fenced there before anything else is committed. RAMET_EINVAL with a
 * super-journal.
 */
RAMET_NODISCARD enum ramet_rc
ramet_file_prepare(struct ramet_file *file, const char *super_journal,
                   struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_file_sync_local(struct ramet_file *file, struct ramet_err *err);
void ramet_file_publish(struct ramet_file *file); /* wakes the pusher */
void ramet_file_discard(struct ramet_file *file);
void ramet_file_release(struct ramet_file *file);

void ramet_file_set_progress(struct ramet_file *file, ramet_progress_fn *fn,
                             void *ctx); /* false from fn cancels */

/* How the verbs wait for what others hold, for RAMET_EBUSY, and when they are
 * to end, with RAMET_ECANCELLED. NULL: up to ten seconds. Borrowed. */
void ramet_file_set_waiter(struct ramet_file *file,
                           const struct ramet_waiter *patience);

/* Resolve an old intent, then make one commit of all pending pages.
 * RAMET_EDIVERGED where the remote went elsewhere. Nothing pending: OK. */
RAMET_NODISCARD enum ramet_rc
ramet_file_push(struct ramet_file *file, struct ramet_sync_result *out,
                struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_file_fetch(struct ramet_file *file, struct ramet_sync_result *out,
                 struct ramet_err *err);
/* The same of a replica, and what deltas the newest content commit there has. */
RAMET_NODISCARD enum ramet_rc
ramet_file_fetch_deltas(struct ramet_file *file, struct ramet_sync_result *out,
                        struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_file_pull(struct ramet_file *file, struct ramet_sync_result *out,
                struct ramet_err *err);
/* Pull, then push. */
RAMET_NODISCARD enum ramet_rc
ramet_file_sync(struct ramet_file *file, struct ramet_sync_result *out,
                struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_file_hydrate(struct ramet_file *file, struct ramet_sync_result *out,
                   struct ramet_err *err);
/* Adopt the remote. Unless `discard`, what is given up is kept as a plain file
 * in <file>-ramet/lost/, whose path comes back in `out_kept` (may be NULL). */
RAMET_NODISCARD enum ramet_rc
ramet_file_reset(struct ramet_file *file, bool discard, char *out_kept,
                 size_t out_kept_size, struct ramet_sync_result *out,
                 struct ramet_err *err);
/* Write the newest (or viewed) snapshot to a plain file, whole or not at all.
 * `rights` as for ramet_export_write(): NULL leaves mode and owner of what was
 * there as they are. */
struct ramet_rights;
RAMET_NODISCARD enum ramet_rc
ramet_file_export(struct ramet_file *file, const char *out_path,
                  const struct ramet_rights *rights, struct ramet_err *err);
/* Copy a plain file to where nothing is, whole or not at all, holes as holes,
 * readable by the same users. */
RAMET_NODISCARD enum ramet_rc
ramet_file_copy_plain(const char *from, const char *to, struct ramet_err *err);
/* The bytes of that snapshot in order, in pieces of 1 MiB at most; the sink's
 * failure ends it, and is returned. */
typedef enum ramet_rc ramet_file_sink(void *ctx, const void *bytes, size_t len,
                                      struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_file_send(struct ramet_file *file, ramet_file_sink *sink, void *ctx,
                struct ramet_err *err);

/* Have the pages brought that a statement reads, by one request of a server that
 * runs it there; *out_pages: how many they are. RAMET_ENOTFOUND: there is none that
 * does; RAMET_EINVAL: it is no statement that reads. */
struct ramet_question; /* client/remote/question.h */
RAMET_NODISCARD enum ramet_rc
ramet_file_prefetch(struct ramet_file *file,
                    const struct ramet_question *question, uint64_t *out_pages,
                    struct ramet_err *err);

enum ramet_sync_state {
    RAMET_STATE_LOCAL,  /* no remote */
    RAMET_STATE_CLEAN,  /* nothing pending, nothing new known there */
    RAMET_STATE_AHEAD,  /* local commits to push */
    RAMET_STATE_BEHIND, /* remote commits to pull */
    RAMET_STATE_DIVERGED,
    RAMET_STATE_OFFLINE,  /* the remote did not answer last time */
    RAMET_STATE_WENTBACK, /* the remote lacks what the replica stands on */
};
const char *ramet_sync_state_name(enum ramet_sync_state state);

struct ramet_file_status {
    char path[1024];
    char remote[RAMET_URL_MAX];
    struct ramet_vid volume;
    struct ramet_rid replica;
    enum ramet_sync_state state;
    enum ramet_sync_mode sync;
    uint64_t local_commits; /* since the durable LSN */
    uint64_t durable_lsn;
    uint64_t remote_lsn; /* newest known */
    uint64_t pages, cached_pages, dirty_pages;
    uint64_t bases_bytes; /* of base images kept for deltas */
    uint32_t page_size;
    uint64_t lag_ms; /* age of the oldest commit known but not pulled, or of
                        the oldest local commit not pushed; 0: none */
    uint64_t unpushed_since_ms; /* Unix time of the oldest local commit that is
                                   not durable; 0: none, or not known */
    uint64_t lag_lsns; /* commits of the remote that are known and not here */
    bool has_age;      /* it is known when nothing was lacking: */
    uint64_t age_ms;   /* so long ago, by a clock that sleep does not stop */
    bool never_pushed; /* there is a remote, and nothing in it */
    bool in_doubt;     /* a commit with sync=commit got no answer, and is
                                   not resolved */
    uint64_t last_contact_ms; /* Unix time of the last answer; 0: never */
    uint64_t fetched_pages, fetched_bytes, requests; /* by this process */
    struct ramet_prefetch_counts prefetched;         /* as well */
    char last_error[RAMET_ERR_TEXT_MAX];
};
RAMET_NODISCARD enum ramet_rc
ramet_file_status(struct ramet_file *file, struct ramet_file_status *out,
                  struct ramet_err *err);

/* ---- making replicas ------------------------------------------------------ */

/* `ramet init`: FILE becomes a replica of a new volume at URL, and is pushed.
 * Done already: RAMET_OK, nothing done. */
RAMET_NODISCARD enum ramet_rc
ramet_file_init(const char *path, const char *url,
                const struct ramet_file_options *options,
                ramet_progress_fn *progress, void *progress_ctx,
                struct ramet_sync_result *out, struct ramet_err *err);
/* `ramet clone`: lazy for SQLite, and for blobs with options->lazy; else whole, as
 * with options->hydrate.
 * RAMET_EEXIST if the file is there. */
RAMET_NODISCARD enum ramet_rc
ramet_file_clone(const char *url, const char *path,
                 const struct ramet_file_options *options,
                 ramet_progress_fn *progress, void *progress_ctx,
                 struct ramet_sync_result *out, struct ramet_err *err);

/* ---- leaving for a copy --------------------------------------------------- */

/* What `ramet rebind` did. */
struct ramet_rebound {
    char from[RAMET_URL_MAX];
    char to[RAMET_URL_MAX];
    uint64_t durable_lsn;
    uint64_t remote_lsn;    /* newest of the copy */
    uint64_t local_commits; /* that go to the copy with the next push */
};
/*
 * The replica at `path` goes over to `url`, a copy of its volume: that must have
 * the commit on which the replica stands, by LSN and hash. There already:
 * RAMET_OK, nothing done. RAMET_EINVAL: it was never pushed. RAMET_ECONFLICT:
 * another volume, another line, or a copy that is behind. RAMET_EDIVERGED: local
 * commits, and the copy went on. Else as ramet_session_rebind().
 */
RAMET_NODISCARD enum ramet_rc
ramet_file_rebind(const char *path, const char *url,
                  const struct ramet_file_options *options,
                  struct ramet_rebound *out, struct ramet_err *err);

#endif
