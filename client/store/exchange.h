/*
 * exchange.h - what a replica exchanges with its remote: its state, what is
 * frozen, sent and adopted, and pages that come one by one; and its upkeep.
 *
 * Layer: client, a door of store/.
 */
#ifndef RAMET_CLIENT_STORE_EXCHANGE_H
#define RAMET_CLIENT_STORE_EXCHANGE_H

#include "client/store/store.h"

/* The fold over all records: docs/replica.md. Owns its sets. */
struct ramet_replica_state {
    struct ramet_rid replica;
    struct ramet_vid volume;    /* nil: no remote yet */
    char remote[RAMET_URL_MAX]; /* "" : none */
    enum ramet_volume_kind kind;
    struct ramet_snapshot newest;
    uint64_t lsn_time_ms; /* of the commit at newest.lsn */
    struct ramet_pageset in_flight;
    struct ramet_pageset later;
    struct ramet_cid intent;    /* nil: none */
    uint64_t commits_in_flight; /* number of local commits */
    uint64_t commits_later;
    uint64_t oldest_in_flight_ms; /* when the oldest of them was made, or the */
    uint64_t oldest_later_ms; /* file adopted, by this machine's clock; 0: not
                                 known, or none */
    uint32_t least_page_count_in_flight; /* least size since the durable LSN */
    uint32_t least_page_count_later;
    bool page_size_changed; /* pending commits changed it: all pages pend */
    bool whole;             /* every page is held */
    uint64_t held_pages;    /* approximate while others work */
    /* The fold's own affairs. */
    uint64_t record_sum; /* of the newest record's trailer; chains records */
    bool schema_moved;   /* since the base was clean, the stored cookie does not
                          tell */
    bool page_size_changed_in_flight;
    bool page_size_changed_later;
    /* Not in the state file; as far as the log is there that tells it: */
    struct ramet_pos frozen_tail; /* what the newest intent covers */
    struct ramet_pos remote_tail; /* what the commit at newest.lsn has */
};
void ramet_replica_state_done(struct ramet_replica_state *state);
/* Bring `state` (zeroed at first, then kept by the caller) up to the newest
 * snapshot; reads only what is new in the log. */
RAMET_NODISCARD enum ramet_rc
ramet_session_state(struct ramet_session *session,
                    struct ramet_replica_state *state, struct ramet_err *err);
/* ramet_session_open() with what ramet_session_state() says then: who brings the
 * replica to order has read it. */
RAMET_NODISCARD enum ramet_rc
ramet_session_open_state(const char *path,
                         const struct ramet_replica_options *options,
                         struct ramet_session **out_session,
                         struct ramet_replica_state *state,
                         struct ramet_err *err);

/* Is a transaction of this process under way that writes, or a checkpoint, which the next
 * one may wait for? A hint, which costs nothing: it may be over by now. */
bool ramet_replica_is_written(const struct ramet_replica *replica);

/* Where this process has many replicas open, one that nobody is at keeps few
 * descriptors: `session` did what it wanted. No wait; mostly nothing happens. */
void ramet_session_park(struct ramet_session *session);
/* Are there so many? Cheap. */
bool ramet_replica_should_park(void);

/* Bind to a remote volume, once. Rebinding elsewhere is RAMET_EEXIST. With a
 * nil volume it only notes which remote that is to be, for whoever looks at the
 * replica until its first push. */
RAMET_NODISCARD enum ramet_rc
ramet_session_bind(struct ramet_session *session, const char *remote,
                   const struct ramet_vid *volume, struct ramet_err *err);
/* The same, if nothing was written since `base`: RAMET_ESNAPSHOT. For a volume
 * that has commits, which only an empty file may be bound to. */
RAMET_NODISCARD enum ramet_rc
ramet_session_bind_unchanged(struct ramet_session *session,
                             const struct ramet_snapshot *base,
                             const char *remote, const struct ramet_vid *volume,
                             struct ramet_err *err);

/* A blob that was cloned lazily stays so, whatever is pulled: pages come as they are
 * read. Until it is hydrated: from then on it is whole after each pull. */
RAMET_NODISCARD enum ramet_rc
ramet_session_is_lazy(struct ramet_session *session, bool *out_lazy,
                      struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_session_end_lazy(struct ramet_session *session, struct ramet_err *err);

/* RAMET_EUNKNOWN, with the way out: a push was cut off, or a commit is in doubt,
 * and the remote alone knows what became of it. Brings `state` up to date. */
RAMET_NODISCARD enum ramet_rc
ramet_session_check_resolved(struct ramet_session *session,
                             struct ramet_replica_state *state,
                             struct ramet_err *err);
/*
 * Bind to another place of the same volume, which was found to have the commit
 * `point` in its line. RAMET_ESNAPSHOT: the replica stands on another by now;
 * RAMET_EBUSY: somebody else has it open; and as ramet_session_check_resolved().
 */
RAMET_NODISCARD enum ramet_rc
ramet_session_rebind(struct ramet_session *session, const char *remote,
                     const struct ramet_point *point, struct ramet_err *err);

/*
 * A commit that was sent by a process that died before it knew what became of
 * it is in doubt. Then nobody can begin to write (RAMET_ESNAPSHOT), while reads
 * go on, until it is known: its id, or nil. No I/O where there is none.
 */
RAMET_NODISCARD enum ramet_rc
ramet_session_doubt(struct ramet_session *session, struct ramet_cid *out_commit,
                    struct ramet_err *err);
/*
 * The same where nobody writes; RAMET_EBUSY: somebody does, whose commit may become
 * one. Either look publishes what a writer who died had confirmed: so the state that
 * goes with it is looked at afterwards.
 */
RAMET_NODISCARD enum ramet_rc
ramet_session_doubt_settled(struct ramet_session *session,
                            struct ramet_cid *out_commit,
                            struct ramet_err *err);
/* It landed, and is published; or it is made void: nobody was told that it is
 * there. Needs the push lock; without the write lock. RAMET_ESNAPSHOT: it is in
 * doubt no more. */
RAMET_NODISCARD enum ramet_rc
ramet_session_end_doubt(struct ramet_session *session,
                        const struct ramet_cid *commit, bool landed,
                        struct ramet_err *err);

/* The pusher's lock; RAMET_EBUSY if another session pushes. */
RAMET_NODISCARD enum ramet_rc
ramet_session_lock_push(struct ramet_session *session, struct ramet_err *err);
void ramet_session_unlock_push(struct ramet_session *session);
/* The write lock for a moment, for what lies beside the log and is of who writes;
 * RAMET_EBUSY: somebody writes. The session is not reserved, and does nothing
 * else meanwhile. */
RAMET_NODISCARD enum ramet_rc
ramet_session_lock_write(struct ramet_session *session, struct ramet_err *err);
void ramet_session_unlock_write(struct ramet_session *session);

/*
 * What follows is decided without the write lock, and written down under it.
 * So each of these takes `base`, the snapshot that the caller saw when it
 * decided: where the replica does not stand there any more, by LSN and hash,
 * nothing is done, and the answer is RAMET_ESNAPSHOT: look at the state again,
 * and decide anew.
 */

/*
 * Freeze: append an intent record that covers every local commit so far, those
 * since `base` included, pin that snapshot in this session, and give its
 * state. Needs the push lock and no intent. The caller builds the commit's
 * bytes and keeps them with ramet_session_keep_intent() before it sends any.
 */
RAMET_NODISCARD enum ramet_rc
ramet_session_freeze(struct ramet_session *session,
                     const struct ramet_snapshot *base,
                     const struct ramet_cid *commit, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_session_keep_intent(struct ramet_session *session, const uint8_t *object,
                          size_t len, struct ramet_err *err);
/* The kept bytes (ramet_free), RAMET_ENOTFOUND if there are none. */
RAMET_NODISCARD enum ramet_rc
ramet_session_load_intent(struct ramet_session *session, uint8_t **out_object,
                          size_t *out_len, struct ramet_err *err);

/* The intent landed as `point`, on top of `base` / was refused for good.
 * Synced. Need the push lock. */
RAMET_NODISCARD enum ramet_rc
ramet_session_mark_durable(struct ramet_session *session,
                           const struct ramet_snapshot *base,
                           const struct ramet_remote_point *point,
                           struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_session_abandon_intent(struct ramet_session *session,
                             struct ramet_err *err);

/*
 * Adopt `point`: pages in `changed`, which are those that differ from `base`,
 * become "remote at point.lsn", the size follows. `page1`: the first page's
 * bytes at that LSN (needed for SQLite, whose header every reader looks at;
 * else NULL). RAMET_EDIVERGED with pending local commits, unless `reset`, which
 * gives them up, and needs the push lock: nobody may be sending them. Also
 * RAMET_ESNAPSHOT if only a local commit came since `base`: nobody decided to
 * give that one up. RAMET_EBUSY: a local transaction is open.
 */
RAMET_NODISCARD enum ramet_rc
ramet_session_pull(struct ramet_session *session,
                   const struct ramet_snapshot *base,
                   const struct ramet_remote_point *point,
                   const struct ramet_pageset *changed, const uint8_t *page1,
                   bool reset, struct ramet_err *err);
/* Can pages that are fetched be kept? False in a directory for reading. */
bool ramet_session_can_keep(const struct ramet_session *session);
/* Offer a page as the commit `at` has it; dropped when not wanted, as by a
 * newest snapshot that stands on another. */
RAMET_NODISCARD enum ramet_rc
ramet_session_keep_fetched(struct ramet_session *session,
                           const struct ramet_point *at, uint32_t pgno,
                           const uint8_t *page, struct ramet_err *err);
/* The same of several, one behind the other at `pages`. */
RAMET_NODISCARD enum ramet_rc
ramet_session_keep_fetched_run(struct ramet_session *session,
                               const struct ramet_point *at,
                               const uint32_t *pgnos, size_t count,
                               const uint8_t *pages, uint32_t page_size,
                               struct ramet_err *err);
/*
 * The same of pages for which nobody waits: those that can be are placed in the base
 * at once, and are not here, for whoever asks, until ramet_session_settle() or a
 * checkpoint before it; if that never comes, they are brought again.
 */
RAMET_NODISCARD enum ramet_rc
ramet_session_place_fetched_run(struct ramet_session *session,
                                const struct ramet_point *at,
                                const uint32_t *pgnos, size_t count,
                                const uint8_t *pages, uint32_t page_size,
                                struct ramet_err *err);
/* What was placed is here, and on disk. *out_settled false: that can't be now, and
 * they are given up: keep them the other way. */
RAMET_NODISCARD enum ramet_rc
ramet_session_settle(struct ramet_session *session, bool *out_settled,
                     struct ramet_err *err);
/* Does the newest snapshot stand on that commit? Local commits on top of it
 * change nothing of that. */
bool ramet_session_stands_on(struct ramet_session *session,
                             const struct ramet_point *at);
/* It does, and need not be offered this page: it is here, or was written since. */
bool ramet_session_holds(struct ramet_session *session,
                         const struct ramet_point *at, uint32_t pgno);
/*
 * The page as it was at `tail`, not after the pinned snapshot, in pages of the same
 * size. False: it is not here any more. What is here may be a later version: a
 * checkpoint may have passed. So the caller must know the page by its checksum.
 */
bool
ramet_session_read_before(struct ramet_session *session, struct ramet_pos tail,
                          uint32_t pgno, uint8_t *out_page);
/* Pages absent at the pinned snapshot, > `after`, at most `max`. */
RAMET_NODISCARD enum ramet_rc
ramet_session_absent(struct ramet_session *session, uint32_t after, size_t max,
                     struct ramet_pageset *out_set, struct ramet_err *err);
/* Move what can be moved into the base; `all`: close the current log file
 * first. RAMET_OK also where pins kept something back. */
RAMET_NODISCARD enum ramet_rc
ramet_session_checkpoint(struct ramet_session *session, bool all,
                         struct ramet_err *err);
/* Drop clean pages until at most `limit_bytes` are held. */
RAMET_NODISCARD enum ramet_rc
ramet_session_evict(struct ramet_session *session, uint64_t limit_bytes,
                    struct ramet_err *err);
/* Blobs and `ramet adopt`: take the base as it is on disk; what differs from
 * the checksums becomes a local commit. Needs to be alone (EXCLUSIVE).
 * Opens a replica that ramet_session_open() refuses with RAMET_EFOREIGN. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_adopt_base(const char *path,
                         const struct ramet_replica_options *options,
                         uint64_t *out_changed_pages, struct ramet_err *err);
/* Compute the checksums that are not known of pages in the base: a later edit
 * by others, and bits that rot, can be told by them. Reads the base. */
RAMET_NODISCARD enum ramet_rc
ramet_session_sum(struct ramet_session *session, struct ramet_err *err);
/* These whole pages were read at the pinned snapshot: checksums that are not
 * known yet are taken from them. */
void ramet_session_note_pages(struct ramet_session *session, uint32_t first,
                              uint32_t count, const uint8_t *pages);
/* These whole pages, 512 at most, were read at the pinned snapshot, to be sent:
 * are those of them that the base has as their checksums say, where these are
 * known? RAMET_ECORRUPT: one rotted; RAMET_EFOREIGN: somebody else wrote to the
 * file. Takes the base lock, unless all are in the log; nothing to say of a session
 * with writes of its own. */
RAMET_NODISCARD enum ramet_rc
ramet_session_check_pages(struct ramet_session *session, uint32_t first,
                          uint32_t count, const uint8_t *pages,
                          struct ramet_err *err);
/* Check what is here against its checksums; *out_bad counts. What the remote has
 * is brought again, now or when it is read. */
RAMET_NODISCARD enum ramet_rc
ramet_session_verify(struct ramet_session *session, uint64_t *out_checked,
                     uint64_t *out_bad, struct ramet_err *err);

#endif
