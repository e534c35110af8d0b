/*
 * sync.h - push, pull, hydrate, reset: one run of one of them.
 *
 * A run holds the replica's sync_mutex from ramet_sync_begin() to
 * ramet_sync_end(), and works on the sync state's own session.
 *
 *   (1) a commit is sent only after its bytes are kept and synced, and any
 *       retry sends those bytes: one commit lands, or none
 *   (2) before anything else is sent, an old intent is resolved
 *   (3) a remote that does not have the commit on which the replica stands is
 *       never pushed to nor pulled from: it is asked first, or refuses by
 *       itself
 *   (4) memory is bounded whatever the number of pages, but for page sets
 *   (5) a run that follows pulls, and does nothing else: nothing is sent,
 *       resolved or bound, and what local commits keep back stays back. It is
 *       for those who may not write
 *   (6) what a run decides, it decides of the replica as it was when it looked;
 *       the store refuses it where the replica moved on since, and then the
 *       run looks again and decides anew
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_SYNC_H
#define RAMET_CLIENT_SYNC_SYNC_H

#include "client/store/exchange.h"
#include "client/sync/progress.h"
#include "client/sync/replica_sync.h"

struct ramet_sync {
    struct ramet_replica_sync *replica_sync;
    struct ramet_session *session;
    struct ramet_replica_state *state;
    struct ramet_remote_client *client; /* after ramet_sync_connect() */
    struct ramet_history *history; /* after ramet_sync_connect(), if bound */
    struct ramet_vid volume;       /* the same */
    const char *verb;
    ramet_progress_fn *progress;
    void *progress_ctx;
    const atomic_bool *cancel; /* NULL: none */
    uint64_t wait_ms;          /* for what others hold; 0: not at all */
    const struct ramet_waiter *patience; /* in its place; NULL: none */
    bool follows;                        /* invariant (5) */
    bool believes;    /* what the remote tells by itself; else it is asked */
    bool make_volume; /* push a first commit though there is nothing in it:
                         else nobody could clone an empty file */
    bool made_volume; /* this run named it: nobody else knows it */
    bool has_push_lock;
    uint32_t sent_least;    /* least page count of the commit that was made */
    struct ramet_cid doubt; /* the commit in doubt, as of the last look; nil */
    struct ramet_progress report;
    uint64_t requests_before, read_before, written_before;
    struct ramet_sync_result result;
};

/* Begin: `sync` zeroed but for verb, progress, cancel, wait_ms, patience and
 * follows. `from` is a session of the calling thread, or NULL if it has
 * its own. RAMET_EBUSY, RAMET_ECANCELLED: another run of this process is at
 * work, and the caller's patience ended first. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_begin(struct ramet_sync *sync,
                 struct ramet_replica_sync *replica_sync,
                 struct ramet_session *from, struct ramet_err *err);
/* Needed after ramet_sync_begin(), whatever it returned. Gives up all that
 * the run holds; keeps the error, if it is one, for status. */
void ramet_sync_end(struct ramet_sync *sync, enum ramet_rc rc,
                    const struct ramet_err *err);

/* Bring `state` and `doubt` up to date: what a commit under way leaves when its writer
 * dies, confirmed or in doubt, is in one of them or still to come. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_look(struct ramet_sync *sync, struct ramet_err *err);
/* The same where nobody writes, so that nothing is to come; else RAMET_EBUSY. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_look_settled(struct ramet_sync *sync, struct ramet_err *err);
/* Invariant (6): `decide`, and again with a new look as often as the store
 * says RAMET_ESNAPSHOT, for as long as the run may wait. */
typedef enum ramet_rc
ramet_sync_decide(struct ramet_sync *sync, void *ctx, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_sync_act(struct ramet_sync *sync, ramet_sync_decide *decide, void *ctx,
               struct ramet_err *err);
/* Reach the remote; with the volume known, open its history. RAMET_EINVAL:
 * there is no remote. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_connect(struct ramet_sync *sync, struct ramet_err *err);
/* The push lock, waiting up to wait_ms, then the state again. RAMET_EBUSY. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_lock_push(struct ramet_sync *sync, struct ramet_err *err);
/* The remote's newest commit, checked against where the replica stands:
 * invariant (3), RAMET_EWENTBACK. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_newest(struct ramet_sync *sync, struct ramet_head *out_head,
                  struct ramet_err *err);
/* Is there a local commit that is not durable, or not known to be? */
bool ramet_sync_pending(const struct ramet_sync *sync);
/* The remote, at `remote_lsn`, lacks what the replica stands on: note it, and
 * say so. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_went_back(struct ramet_replica_sync *replica_sync,
                     const struct ramet_replica_state *state,
                     uint64_t remote_lsn, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_sync_diverged(const struct ramet_sync *sync, uint64_t remote_lsn,
                    struct ramet_err *err);
/* Count `pages` more as done; RAMET_ECANCELLED if the caller had enough. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_step(struct ramet_sync *sync, uint64_t pages, struct ramet_err *err);
/* What others hold is in the way: wait a little and say whether to try again,
 * `*spent_ms` long so far. */
bool ramet_sync_retry(const struct ramet_sync *sync, uint64_t *spent_ms);

/* The first page at `head`, which SQLite's readers look at; NULL where there
 * is none, or no need. The caller's (ramet_free). */
RAMET_NODISCARD enum ramet_rc
ramet_sync_page1(struct ramet_remote_client *client,
                 const struct ramet_vid *volume, const struct ramet_head *head,
                 uint8_t **out_page, struct ramet_err *err);

/* A commit landed as `lsn`: where nobody behind the remote makes page maps and each
 * head is a request for whoever opens the volume, its map, if it is time for one.
 * What comes of it is nobody's failure: a later push makes it. */
void ramet_sync_make_map(struct ramet_remote_client *client,
                         struct ramet_history *history, uint64_t lsn);

RAMET_NODISCARD enum ramet_rc
ramet_sync_push(struct ramet_sync *sync, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_sync_fetch(struct ramet_sync *sync, struct ramet_err *err);
/* The same, and a look at what deltas the newest content commit there has, for
 * result.deltas; lsn 0: none, or it could not be read. */
RAMET_NODISCARD enum ramet_rc
ramet_sync_fetch_deltas(struct ramet_sync *sync, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_sync_pull(struct ramet_sync *sync, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_sync_hydrate(struct ramet_sync *sync, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_sync_reset(struct ramet_sync *sync, bool discard, char *out_kept,
                 size_t out_kept_size, struct ramet_err *err);

#endif
