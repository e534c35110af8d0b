/*
 * store.h - the local store of a replica: base, log, index, pins.
 *
 * A *replica* is a file and the directory beside it (docs/replica.md). A
 * *session* is one handle on it: what a SQLite connection, a library handle or
 * a command holds. Sessions of one process share a replica object, sessions
 * of other processes share its index file; nothing below knows the
 * difference. A session is used by one thread at a time; different sessions
 * run in parallel.
 *
 * The file is addressed in bytes here; pages are the replica's own affair.
 *
 *   (1) A session that is pinned sees one snapshot, plus its own writes.
 *   (2) Readers never wait for writers, nor writers for readers.
 *   (3) What prepare() made is durable as asked and invisible until publish();
 *       after a crash in between it is found and applied, unless voided.
 *   (4) A warm read makes no system call but for reading the page.
 *
 * Layer: client.
 */
#ifndef RAMET_CLIENT_STORE_STORE_H
#define RAMET_CLIENT_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/snapshot.h"
#include "core/err.h"
#include "core/hash.h"
#include "core/id.h"
#include "core/os.h"
#include "core/pageset.h"
#include "core/waiting.h"
#include "metastore/commit.h" /* enum ramet_volume_kind */

struct ramet_replica;
struct ramet_session;

/* The remote commit that a snapshot stands on. */
static inline struct ramet_point
ramet_snapshot_point(const struct ramet_snapshot *snapshot)
{
    return (struct ramet_point){snapshot->lsn, snapshot->lsn_hash};
}

enum ramet_replica_flags {
    RAMET_OPEN_CREATE = 1 << 0, /* make an empty file if there is none */
    RAMET_OPEN_READONLY = 1
                          << 1, /* no writes; works on a read-only directory */
    /* A plain file without a replica directory becomes a replica in place
     * (adoption); without it that is RAMET_ENOTFOUND "not a replica". */
    RAMET_OPEN_ADOPT = 1 << 2,
    RAMET_OPEN_EXCLUSIVE = 1 << 3, /* only if no other session is live */
    RAMET_OPEN_NOFOLLOW = 1 << 4,  /* the name itself must be no link */
    RAMET_OPEN_PULL = 1 << 5,      /* file.h: with READONLY, may pull */
    RAMET_OPEN_UNASKED = 1 << 7,   /* adopt a base only if no commit in the log
                                      is given up by that */
    RAMET_OPEN_RESOLVED = 1 << 8,  /* the path is as path.h has it */
    RAMET_OPEN_VERIFY = 1 << 6,    /* open though pages fail their checksums, if
                                      nothing else says that somebody wrote */
};

/*
 * Pages that the replica does not hold come from here, as the commit `at` has
 * them, and no other of that LSN. Called without any replica lock held, by
 * several threads at once. Deliver `pgno`, and any others that came along,
 * through ramet_fetch_deliver(); RAMET_EUNREACHABLE or RAMET_ETIMEOUT where the
 * remote did not answer.
 */
struct ramet_page_request; /* one call's sink */
typedef enum ramet_rc
ramet_fetcher(void *ctx, const struct ramet_point *at, uint32_t pgno,
              struct ramet_page_request *sink, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_fetch_deliver(struct ramet_page_request *sink, uint32_t pgno,
                    const uint8_t *page, struct ramet_err *err);
/* Look again for the page that the call is about: *out_here if it came
 * meanwhile, and then the call has it, and so has `out_page`. No I/O but reading
 * it here. */
RAMET_NODISCARD enum ramet_rc
ramet_fetch_look_again(struct ramet_page_request *sink, uint8_t *out_page,
                       bool *out_here, struct ramet_err *err);
/* Whose read it is: to be cloned, for pages that come when it is over. */
struct ramet_session *
ramet_fetch_session(const struct ramet_page_request *sink);
/*
 * A page that was here was read, as the commit `at` has it unless it was changed
 * here. Called as a fetcher is, while somebody watches: ramet_replica_watch().
 */
typedef void
ramet_watcher(void *ctx, const struct ramet_session *session,
              const struct ramet_point *at, uint32_t pgno, const uint8_t *page);

struct ramet_replica_options {
    const struct ramet_os *os;   /* NULL: the system */
    unsigned flags;              /* enum ramet_replica_flags */
    enum ramet_volume_kind kind; /* for a new replica; 0: SQLite */
    uint32_t page_size;          /* for a new, empty one; 0: the first write
                                    decides (SQLite) or 4096 */
    uint64_t cache_limit_bytes;  /* clean pages kept; 0: no limit */
};

/*
 * Open `path`. Brings the replica to order first: finishes a deletion,
 * recovers after a crash, builds the index when nobody else has it open,
 * notices a copy (new replica id) and foreign edits.
 *
 *   RAMET_ENOTFOUND  no such file (without CREATE), or no replica (without
 *                    ADOPT).
 *   RAMET_EFOREIGN   the base was edited, replaced or deleted behind our back.
 *   RAMET_EBUSY      another program has the plain file open, or EXCLUSIVE
 *                    was asked for and others are live.
 *   RAMET_ECORRUPT   state or log are damaged beyond what a crash does.
 */
RAMET_NODISCARD enum ramet_rc
ramet_session_open(const char *path,
                   const struct ramet_replica_options *options,
                   struct ramet_session **out_session, struct ramet_err *err);
/* Another session on a replica this process has open: for its threads. It may
 * write where the replica can be written, also if `session` may not: whoever
 * has something done by it sees to who may ask for that. */
RAMET_NODISCARD enum ramet_rc
ramet_session_clone(struct ramet_session *session,
                    struct ramet_session **out_session, struct ramet_err *err);
/* The same for who has no session of it, and knows that this process has it open.
 * RAMET_EFOREIGN: another one is there by now. */
RAMET_NODISCARD enum ramet_rc
ramet_replica_session(const struct ramet_replica *replica,
                      struct ramet_session **out_session,
                      struct ramet_err *err);
/* Voids what is prepared, unpins, lets go of everything; the last session of
 * all processes leaves a clean file behind where docs/replica.md says so.
 * Safe in a child of fork(): there it only frees. NULL is fine. */
void ramet_session_close(struct ramet_session *session);
struct ramet_replica *ramet_session_replica(struct ramet_session *session);
/* Nothing of it can be written by this process, whatever a session was opened
 * for. */
bool ramet_replica_is_readonly(const struct ramet_replica *replica);

/* For the write lock of the records that a session's push, pull and reset
 * make. NULL: up to ten seconds. Borrowed, until the next call. */
void ramet_session_set_waiter(struct ramet_session *session,
                              const struct ramet_waiter *patience);
/* Install the source of missing pages for all sessions of this process. */
void ramet_replica_set_fetcher(struct ramet_replica *replica,
                               ramet_fetcher *fetcher, void *ctx);
/* Who is told of reads of what is here, from now on or not any more. */
void ramet_replica_set_watcher(struct ramet_replica *replica,
                               ramet_watcher *watcher, void *ctx);
void ramet_replica_watch(struct ramet_replica *replica, bool is_on);
/* The page as a read would have it now, if that is of `at`, and it is here.
 * Nothing is fetched. The session must not be pinned. */
bool
ramet_session_peek(struct ramet_session *session, const struct ramet_point *at,
                   uint32_t pgno, uint8_t *out_page, size_t page_size);

/* ---- reading ------------------------------------------------------------ */

/* Pin the newest snapshot. RAMET_EBUSY while somebody holds the exclusive
 * barrier. No system call in the usual case. */
RAMET_NODISCARD enum ramet_rc
ramet_session_pin(struct ramet_session *session, struct ramet_err *err);
void ramet_session_unpin(struct ramet_session *session);
bool ramet_session_is_pinned(const struct ramet_session *session);
/* The pinned snapshot; after writes of one's own, still as pinned. Valid
 * until unpin. Without a pin: the newest, by value at the time of the call. */
const struct ramet_snapshot *
ramet_session_snapshot(struct ramet_session *session);

/*
 * Read bytes; own unpublished writes included. Past the end: zeros, and
 * *out_got < len. Needs a pin. Pages that are not here are fetched (up to
 * the time-out that the fetcher keeps).
 */
RAMET_NODISCARD enum ramet_rc
ramet_session_read(struct ramet_session *session, uint64_t offset, void *buf,
                   size_t len, size_t *out_got, struct ramet_err *err);
/* How many pages from `pgno` on, `most` at most, are zeros of the pinned
 * snapshot for certain, without reading: they are in a hole of the base, and were
 * zeros. There may be more; 0 of a session with writes of its own. Takes the base
 * lock if there are any. */
RAMET_NODISCARD enum ramet_rc
ramet_session_hole(struct ramet_session *session, uint32_t pgno, uint32_t most,
                   uint32_t *out_count, struct ramet_err *err);
/* Size in bytes, own unpublished writes included. */
uint64_t ramet_session_size(struct ramet_session *session);

/* ---- writing ------------------------------------------------------------ */

/* Take the write lock. RAMET_EBUSY: another writer. RAMET_ESNAPSHOT: the pin
 * is no longer the newest snapshot. Needs a pin. */
RAMET_NODISCARD enum ramet_rc
ramet_session_reserve(struct ramet_session *session, struct ramet_err *err);
bool ramet_session_is_reserved(const struct ramet_session *session);
/* Somebody, this session included, holds the write lock. */
bool ramet_session_write_locked(struct ramet_session *session);

/*
 * The reader barrier (SQLite's BEGIN EXCLUSIVE): raised, it keeps new pins of other
 * sessions out; it is complete when no other session is pinned. RAMET_EBUSY:
 * others still are; the barrier stays up, call again or lower it. A dead
 * session's barrier is down.
 */
RAMET_NODISCARD enum ramet_rc
ramet_session_raise_barrier(struct ramet_session *session,
                            struct ramet_err *err);
void ramet_session_lower_barrier(struct ramet_session *session);

/* Buffered, spilled to the log when large; any offset and length. A hole is
 * zeros. Needs the write lock. */
RAMET_NODISCARD enum ramet_rc
ramet_session_write(struct ramet_session *session, uint64_t offset,
                    const void *buf, size_t len, struct ramet_err *err);
RAMET_NODISCARD enum ramet_rc
ramet_session_truncate(struct ramet_session *session, uint64_t byte_length,
                       struct ramet_err *err);

/*
 * Make all writes since the last publish or discard one complete record.
 * Nothing pending: nothing is done, and publish() has nothing to do either.
 * Pages that equal the snapshot's are left out. A second prepare without a
 * publish supersedes the first. `super_journal`: absolute path, or NULL.
 * On failure the pending writes are dropped (as SQLite rolls back then) and
 * an earlier prepared record is voided. Never RAMET_EBUSY, but RAMET_ESNAPSHOT
 * where a change of page size has to wait for older pins.
 */
RAMET_NODISCARD enum ramet_rc
ramet_session_prepare(struct ramet_session *session, const char *super_journal,
                      struct ramet_err *err);
/* The same for a commit that counts once the remote has it, as `commit`: until
 * ramet_session_confirm(), and where this process dies before it, it is *in
 * doubt*: invisible, for as long as nobody ends that. */
RAMET_NODISCARD enum ramet_rc
ramet_session_prepare_in_doubt(struct ramet_session *session,
                               const struct ramet_cid *commit,
                               struct ramet_err *err);
/* It is in the remote: it counts from now on, whoever publishes it. Synced. */
RAMET_NODISCARD enum ramet_rc
ramet_session_confirm(struct ramet_session *session, struct ramet_err *err);
/* fdatasync what prepare() wrote. */
RAMET_NODISCARD enum ramet_rc
ramet_session_sync(struct ramet_session *session, struct ramet_err *err);
/* Pages of the prepared record that have an image, the file after it, and the
 * least page count since the snapshot: pages above that without an image are
 * zeros. For sync=commit. */
RAMET_NODISCARD enum ramet_rc
ramet_session_prepared_pages(struct ramet_session *session,
                             struct ramet_pageset *out_set,
                             struct ramet_snapshot *out_after,
                             uint32_t *out_least, struct ramet_err *err);
bool ramet_session_has_prepared(const struct ramet_session *session);
/* Make the prepared record visible; the session's pin moves to it. Can't
 * fail: all that could was done by prepare. A truncation since prepare only
 * lowers the size that is published. */
void ramet_session_publish(struct ramet_session *session);
#define RAMET_SUPER_SUFFIX                                                     \
    12u /* "-mj" and nine digits behind the file's name */
/* A super-journal beside the file is about to be made / is gone: one whose
 * maker dies is looked for. */
void ramet_session_note_super(struct ramet_session *session, bool is_there);
/* Void the prepared record (durably, if it was synced) and drop pending
 * writes. An I/O error here is kept and returned by the next prepare. */
void ramet_session_discard(struct ramet_session *session);
/* Give up the write lock: discards what is not published. */
void ramet_session_release(struct ramet_session *session);

#endif
