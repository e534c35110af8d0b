/*
 * durable.h - sync=commit: a local commit is published only once it is in the
 * remote.
 *
 * The order, and what a crash after each step leaves behind:
 *
 *   prepare  a complete record in the log, invisible
 *   keep     <file>-ramet/commit: the commit object, and a hash of what it
 *            holds. Recovery publishes the record (it was not voided), and the
 *            next settle finds the pending commit to be that object's content:
 *            it becomes an ordinary intent, whose every retry is the same. So
 *            it does before a transaction of another mode begins to write
 *   append   landed: the same. Refused: void. No answer: void, and from then
 *            on the object is never sent again but *fenced*: its slot is won
 *            with an empty commit, or found taken
 *   publish  the record is visible, and marked durable
 *
 * What is not settled keeps further commits of this mode waiting. A file whose
 * LSN the replica has reached is stale and means nothing.
 *
 * Layer: client, internal.
 */
#ifndef RAMET_CLIENT_DURABLE_H
#define RAMET_CLIENT_DURABLE_H

#include "client/sync.h"

/* Of a file with sync=commit. Zeroed: nothing under way. */
struct ramet_durable {
    bool landed; /* the prepared record is in the remote as `point` */
    struct ramet_cid id;
    struct ramet_remote_point point;
    struct ramet_buf object; /* of the commit that landed */
};
void ramet_durable_done(struct ramet_durable *durable);

/* Before a transaction begins to write: settle what is not settled, push what
 * is pending. RAMET_ESNAPSHOT if that moved the replica. Called without the
 * write lock. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_ready(struct ramet_link *link, struct ramet_session *session,
                    uint64_t wait_ms, struct ramet_err *err);
/* Is there anything that ramet_durable_ready() would have to do? One small
 * read. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_is_ready(struct ramet_link *link, struct ramet_session *session,
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
/* The session's prepared record into the remote. On failure the caller
 * discards it: RAMET_ESNAPSHOT, RAMET_ECONFLICT, RAMET_EUNKNOWN, …. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_commit(struct ramet_durable *durable, struct ramet_link *link,
                     struct ramet_session *session,
                     const struct ramet_replica_state *state,
                     struct ramet_err *err);
/* After the publish: mark it durable. If that fails, it is done later. */
void
ramet_durable_published(struct ramet_durable *durable, struct ramet_link *link,
                        struct ramet_session *session);

/* When a file is opened: is there a kept commit? One small read. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_notice(struct ramet_link *link, struct ramet_session *session,
                     struct ramet_err *err);
/*
 * A transaction of another mode begins, `session` has just taken the write
 * lock: a kept commit whose record is alive becomes an intent, lest another
 * commit covers it. Nothing is sent. RAMET_EBUSY: somebody pushes.
 */
RAMET_NODISCARD enum ramet_rc
ramet_durable_claim(struct ramet_link *link, struct ramet_session *session,
                    struct ramet_replica_state *state, struct ramet_err *err);

/* For push, pull and reset: turn a kept commit whose record is alive into an
 * intent, fence one whose record was voided. Needs the push lock, a history,
 * and no intent. */
RAMET_NODISCARD enum ramet_rc
ramet_durable_settle(struct ramet_sync *sync, struct ramet_err *err);

#endif
