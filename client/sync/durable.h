/*
 * durable.h - sync=commit: a local commit is published only once it is in the
 * remote.
 *
 * The order, and what a crash after each step leaves behind:
 *
 *   prepare  a complete record in the log, in doubt (doubt.c). Nothing was
 *            sent: it is made void
 *   keep     <file>-ramet/commit: the commit object. It may have been sent: in
 *            doubt until the same bytes were sent again, and landed (then it is
 *            published) or were refused (then it is made void)
 *   append   the same. Refused: void. No answer: void, and from then on the
 *            object is never sent again but *fenced*: its slot is won with an
 *            empty commit, or found taken
 *   confirm  the record says that it landed, and is published by whoever comes:
 *            an intent whose bytes are kept
 *   publish  the same
 *   durable  nothing is left to do
 *
 * While a commit is in doubt reads go on, and nobody begins to write: one of
 * this mode resolves it first, one of another makes it void, as if it had had no
 * answer. A file whose LSN the replica has reached is stale and means nothing.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_SYNC_DURABLE_H
#define RAMET_CLIENT_SYNC_DURABLE_H

#include "client/store/exchange.h"
#include "client/sync/sync.h"

/* Of a file with sync=commit. Zeroed: nothing under way. */
struct ramet_durable {
    bool landed; /* the prepared record is in the remote as `point` */
    struct ramet_cid id;
    struct ramet_remote_point point;
    struct ramet_buf object; /* of the commit that landed */
};
void ramet_durable_done(struct ramet_durable *durable);

/* Before a transaction begins to write: resolve what is not resolved, push what
 * is pending. RAMET_ESNAPSHOT if that moved the replica. Called without the
 * write lock. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_ready(struct ramet_replica_sync *replica_sync,
                    struct ramet_session *session, uint64_t wait_ms,
                    struct ramet_err *err);
/* Is there anything that ramet_durable_ready() would have to do? One small
 * read. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_is_ready(struct ramet_replica_sync *replica_sync,
                       struct ramet_session *session,
                       struct ramet_replica_state *state, bool *out_ready,
                       struct ramet_err *err);
/*
 * SQLite cuts an auto-vacuumed file after SYNC, when the remote has the commit
 * already. The size that it will cut to stands in the header it just wrote, so
 * the cut is made first.
 */
RAMET_NODISCARD enum ramet_rc
ramet_durable_trim(struct ramet_session *session, enum ramet_volume_kind kind,
                   struct ramet_err *err);
/* The session's record, prepared in doubt as `id`, into the remote; then it is
 * confirmed. On failure the caller discards it: RAMET_ESNAPSHOT,
 * RAMET_ECONFLICT, RAMET_EUNKNOWN, …. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_commit(struct ramet_durable *durable,
                     struct ramet_replica_sync *replica_sync,
                     struct ramet_session *session,
                     const struct ramet_replica_state *state,
                     const struct ramet_cid *id, struct ramet_err *err);
/* After the publish: mark it durable. If that fails, it is done later. */
void ramet_durable_published(struct ramet_durable *durable,
                             struct ramet_replica_sync *replica_sync,
                             struct ramet_session *session);

#endif
